//! Files that would cost more than they are worth: the limits of a load hold for all of it.

use super::{
    Cost, Session, Tape, Value,
    tests::{integers, whole},
};
use crate::model::onnx::write::*;
use std::collections::BTreeMap;

fn told(bytes: &[u8]) -> String {
    Session::load(bytes, None, None).unwrap_err().to_string()
}

fn graph(name: &str, body: &[Vec<u8>]) -> Vec<u8> {
    [text(1, name), bytes(6, &body.concat()), int(20, 5)].concat()
}

#[test]
fn constants_are_counted_over_the_whole_file() {
    // Each is within the limit of one tensor, all of them are not.
    let names: Vec<String> = (0..12).map(|i| format!("y{i}")).collect();
    let nodes: Vec<Vec<u8>> = names.iter().map(|name| node("Expand", &["x", "s"], &[name], &[])).collect();
    let constants = [tensor("x", &[1], &[1.0]), integers("s", &[1], &[1 << 26])];
    assert!(told(&model(&nodes, &constants, &[], &[info("y11", 1, &[1 << 26])])).contains("makes more numbers than it may"));
    // The same inside branches, each of which is a graph of its own.
    let branch = |i: usize| {
        let inner = node("Expand", &["x", "s"], &["z"], &[]);
        let body = [bytes(1, &inner), bytes(5, &constants[0]), bytes(5, &constants[1]), bytes(12, &info("z", 1, &[1 << 26]))];
        let (yes, no) = (graph("then_branch", &body), graph("else_branch", &body));
        node("If", &["c"], &[&names[i]], &[yes, no])
    };
    let condition = [int(2, 9), text(8, "c"), bytes(9, &[1])].concat();
    let nodes: Vec<Vec<u8>> = (0..6).map(branch).collect();
    assert!(told(&model(&nodes, &[condition], &[], &[info("y5", 1, &[1 << 26])])).contains("makes more numbers than it may"));
}

#[test]
fn huge_results_are_refused_before_they_are_made() {
    let out = [info("y", 1, &[1])];
    let huge = |op: &str, inputs: &[&str], constants: &[Vec<u8>], attributes: &[Vec<u8>]| {
        let found = told(&model(&[node(op, inputs, &["y"], attributes)], constants, &[], &out));
        assert!(found.contains("more than") || found.contains("too"), "{op}: {found}");
    };
    let x = tensor("x", &[1], &[1.0]);
    huge("Tile", &["x", "s"], &[x.clone(), integers("s", &[1], &[1 << 60])], &[]);
    huge("Expand", &["x", "s"], &[x.clone(), integers("s", &[3], &[1 << 21, 1 << 21, 1 << 22])], &[]);
    huge("ConstantOfShape", &["s"], &[integers("s", &[4], &[i64::MAX, i64::MAX, i64::MAX, 2])], &[]);
    huge("Range", &["a", "b", "c"], &[integers("a", &[], &[0]), integers("b", &[], &[i64::MAX]), integers("c", &[], &[1])], &[]);
    huge("Pad", &["x", "p"], &[x.clone(), integers("p", &[2], &[1 << 40, 1 << 40])], &[]);
    huge("EyeLike", &["x"], &[tensor("x", &[1 << 20, 0, 1 << 20], &[])], &[]);
    huge("OneHot", &["i", "d", "v"], &[integers("i", &[1], &[0]), integers("d", &[], &[1 << 50]), tensor("v", &[2], &[0.0, 1.0])], &[]);
}

#[test]
fn what_is_of_the_wrong_type_or_shape_is_an_error() {
    let out = [info("y", 1, &[1])];
    let wrong = |op: &str, inputs: &[&str], constants: &[Vec<u8>]| told(&model(&[node(op, inputs, &["y"], &[])], constants, &[], &out));
    let (x, i) = (tensor("x", &[1, 1, 3], &[1.0; 3]), integers("i", &[1, 1, 3], &[1, 2, 3]));
    assert!(wrong("Conv", &["i", "i"], std::slice::from_ref(&i)).contains("expected floats"));
    assert!(wrong("Gather", &["x", "x"], std::slice::from_ref(&x)).contains("expected integers"));
    assert!(wrong("Add", &["x", "i"], &[x.clone(), i.clone()]).contains("expected"));
    assert!(wrong("MatMul", &["x", "x"], std::slice::from_ref(&x)).contains("do not fit"));
    assert!(wrong("Reshape", &["x", "x"], &[x]).contains("expected integers"));
}

#[test]
fn a_loop_that_does_nothing_costs_something() {
    // Its condition comes back as it went in.
    let body = [
        bytes(11, &info("i", 7, &[])),
        bytes(11, &info("c", 9, &[])),
        bytes(11, &info("s", 1, &[1])),
        bytes(12, &info("c", 9, &[])),
        bytes(12, &info("s", 1, &[1])),
    ];
    let nodes = [node("Loop", &["", "", "x"], &["y"], &[graph("body", &body)])];
    let session = Session::load(&model(&nodes, &[], &[info("x", 1, &[1])], &[info("y", 1, &[1])]), None, None).unwrap();
    let x = Value::floats([1], vec![1.0]).unwrap();
    let found = session.run(vec![x.clone()], &mut Tape::limited(1 << 26, 1 << 31)).unwrap_err().to_string();
    assert!(found.contains("more work than it may"), "{found}");
    // And so do many places that nobody looks at.
    let idle: Vec<String> = (0..5000).map(|i| format!("v{i}")).collect();
    let idle = idle.iter().map(|name| bytes(1, &node("Relu", &["s"], &[name], &[])));
    let body: Vec<Vec<u8>> = idle.chain(body).collect();
    let nodes = [node("Loop", &["n", "", "x"], &["y"], &[graph("body", &body)])];
    let constants = [integers("n", &[], &[1 << 10])];
    let session = Session::load(&model(&nodes, &constants, &[info("x", 1, &[1])], &[info("y", 1, &[1])]), None, None).unwrap();
    assert!(session.run(vec![x.clone()], &mut Tape::limited(1 << 26, 1 << 31)).is_err());
    assert!(session.run(vec![x], &mut Tape::limited(1 << 28, 1 << 31)).is_ok());
}

#[test]
fn operators_of_the_file_do_not_multiply_without_end() {
    // Each calls the next one ten times.
    let function = |depth: usize| {
        let (own, next) = (format!("f{depth}"), format!("f{}", depth + 1));
        let calls = (0..10).flat_map(|i| {
            let out = format!("t{i}");
            let call =
                [text(1, "a"), text(2, &out), text(4, if depth < 7 { &next } else { "Relu" }), text(7, if depth < 7 { "own" } else { "" })];
            bytes(7, &call.concat())
        });
        [text(1, &own), text(4, "a"), text(5, "t9"), calls.collect(), text(10, "own")].concat()
    };
    let call = [text(1, "x"), text(2, "y"), text(4, "f0"), text(7, "own")].concat();
    let mut file = model(&[call], &[], &[info("x", 1, &[1])], &[info("y", 1, &[1])]);
    (0..8).for_each(|depth| file.extend(bytes(25, &function(depth))));
    assert!(told(&file).contains("call each other without end"));
}

#[test]
fn a_long_chain_of_constants_is_no_matter() {
    let name = |i: usize| format!("c{i}");
    let nodes: Vec<Vec<u8>> = (0..5000).map(|i| node("Neg", &[&name(i)], &[&name(i + 1)], &[])).collect();
    let file = model(&nodes, &[tensor("c0", &[2], &[1.0, -2.0])], &[], &[info("c5000", 1, &[2])]);
    let session = Session::load(&file, None, None).unwrap();
    assert_eq!((session.steps(), session.run(vec![], &mut Tape::default()).unwrap()[0].f().unwrap()), (0, [1.0, -2.0].as_slice()));
}

#[test]
fn external_data_of_another_size_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.bin"), vec![0u8; 4096]).unwrap();
    let location = bytes(13, &[text(1, "location"), text(2, "w.bin")].concat());
    let w = [int(1, 2), int(2, 1), text(8, "w"), location, int(14, 1)].concat();
    let file = model(&[node("Relu", &["w"], &["y"], &[])], &[w], &[], &[info("y", 1, &[2])]);
    let found = Session::load(&file, Some(folder.path()), None).unwrap_err().to_string();
    assert!(found.contains("needs 8 bytes, found 4096"), "{found}");
}

#[test]
fn the_cost_is_that_of_one_sample() {
    let cost = |file: &[u8], sizes: &[(&str, usize)]| {
        let sizes: BTreeMap<String, usize> = sizes.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Session::cost(file, None, &sizes)
    };
    // 4 x 3 products; 4 numbers go in while 3 come out, and the ReLU works in their place.
    let dense = model(
        &[node("MatMul", &["x", "w"], &["h"], &[]), node("Relu", &["h"], &["y"], &[])],
        &[tensor("w", &[4, 3], &[0.5; 12])],
        &[info("x", 1, &[0, 4])],
        &[info("y", 1, &[0, 3])],
    );
    assert_eq!(cost(&dense, &[]).unwrap(), Cost { samples: 1, products: 12, memory: 28, assumed: vec![] });
    let session = Session::load(&dense, None, None).unwrap();
    assert_eq!((session.weights(), session.weight_bytes()), (12, 48));
    // A kernel of 3 x 3 over 2 channels, 3 x 3 places of 3 channels: 2 * 9 * 9 * 3.
    let planes = model(
        &[node("Conv", &["x", "w"], &["y"], &[])],
        &[tensor("w", &[3, 2, 3, 3], &[0.1; 54])],
        &[info("x", 1, &[1, 2, 5, 5])],
        &[info("y", 1, &[1, 3, 3, 3])],
    );
    assert_eq!(cost(&planes, &[]).unwrap().products, 486);
    // A length that is the only axis: two buffers of 16,000 numbers, or of what is given.
    let sound = model(&[node("Add", &["x", "x"], &["y"], &[])], &[], &[info("x", 1, &[0])], &[info("y", 1, &[0])]);
    let found = cost(&sound, &[]).unwrap();
    assert_eq!((found.samples, found.memory, found.assumed), (1, 2 * 4 * 16_000, vec![("n".to_owned(), 16_000)]));
    let found = cost(&sound, &[("n", 10)]).unwrap();
    assert_eq!((found.memory, found.assumed.len()), (80, 0));
    // Ids alone have no length that could be a sound's: one of them.
    let ids = model(
        &[node("Gather", &["w", "x"], &["y"], &[])],
        &[tensor("w", &[3, 2], &[0.5; 6])],
        &[info("x", 7, &[0])],
        &[info("y", 1, &[0, 2])],
    );
    let found = cost(&ids, &[]).unwrap();
    // An id of eight bytes, and its two numbers.
    assert_eq!((found.samples, found.memory, found.assumed), (1, 16, vec![]));
    // Sizes that are free beside the first.
    let free = model(
        &[node("Conv", &["x", "w"], &["y"], &[whole("group", 1)])],
        &[tensor("w", &[3, 2, 3, 3], &[0.1; 54])],
        &[[
            text(1, "x"),
            bytes(
                2,
                &bytes(
                    1,
                    &[
                        int(1, 1),
                        bytes(2, &[bytes(1, &text(2, "n")), bytes(1, &int(1, 2)), bytes(1, &text(2, "h")), bytes(1, &[])].concat()),
                    ]
                    .concat(),
                ),
            ),
        ]
        .concat()],
        &[info("y", 1, &[])],
    );
    assert!(cost(&free, &[]).unwrap_err().to_string().contains("leaves sizes free: h, x.3"));
    assert_eq!(cost(&free, &[("h", 5), ("x.3", 5)]).unwrap().products, 486);
    assert_eq!(cost(&free, &[("h", 5), ("x.3", 5), ("n", 3)]).unwrap().samples, 3);
    assert!(cost(&free, &[("h", 5), ("x.3", 5), ("q", 1)]).unwrap_err().to_string().contains("no free size `q`; it has h, n, x.3"));
}

#[test]
fn a_mobile_net_costs_what_its_paper_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/mobilenet_v2/mobilenet_v2.onnx");
    let Ok(file) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    // Sandler et al. 2018, table 4: 300 million multiply-adds, 3.4 million parameters.
    let found = Session::cost(&file, path.parent(), &BTreeMap::new()).unwrap();
    assert!(found.samples == 1 && (290e6..310e6).contains(&(found.products as f64)), "{found:?}");
    let weights = Session::load(&file, path.parent(), None).unwrap().weights();
    assert!((3_400_000..3_600_000).contains(&weights), "{weights}");
}
