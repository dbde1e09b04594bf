//! A graph whose steps were put together against the same graph node by node.

use super::{Session, Tape, Value};
use crate::model::onnx::write::*;

fn numbers(n: usize, salt: u64, low: f32, high: f32) -> Vec<f32> {
    let unit = |i: u64| ((i + salt * 977).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 16_777_216.0;
    (0..n as u64).map(|i| low + (high - low) * unit(i)).collect()
}

fn whole(name: &str, v: i64) -> Vec<u8> {
    [text(1, name), int(3, v), int(20, 2)].concat()
}

fn constant(name: &str, dims: &[i64], low: f32, high: f32) -> Vec<u8> {
    let salt = name.bytes().map(u64::from).sum();
    tensor(name, dims, &numbers(dims.iter().product::<i64>() as usize, salt, low, high))
}

/// Outputs and the gradient of the first input.
fn run(session: &Session, shape: &[i64]) -> (Vec<Value>, Vec<f32>) {
    let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
    let n = shape.iter().product();
    let mut tape = Tape::default();
    let mut x = Value::floats(shape, numbers(n, 7, -1.0, 1.0)).unwrap();
    let leaf = tape.leaf(&mut x);
    let out = session.run(vec![x], &mut tape).unwrap();
    let seeds = out.iter().enumerate().map(|(k, v)| (v.place_on_tape().unwrap(), numbers(v.len(), 50 + k as u64, -1.0, 1.0))).collect();
    let slope = tape.backward(seeds, &[leaf]).unwrap().remove(0).unwrap();
    (out, slope)
}

/// Both ways agree; gives back the steps of both graphs.
fn agree(nodes: &[Vec<u8>], constants: &[Vec<u8>], input: &[i64], outputs: &[&str]) -> (usize, usize) {
    let names: Vec<String> = outputs.iter().map(|n| (*n).to_owned()).collect();
    let file = model(nodes, constants, &[info("x", 1, input)], &[text(1, outputs[0])]);
    let open = |fused| Session::open(&file, None, Some(&names), fused).unwrap();
    let (plain, fused) = (open(false), open(true));
    let ((a, ga), (b, gb)) = (run(&plain, input), run(&fused, input));
    let close = |a: &[f32], b: &[f32]| {
        let scale = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        scale > 0.0 && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * scale)
    };
    for ((a, b), name) in a.iter().zip(&b).zip(outputs) {
        assert_eq!(a.shape, b.shape, "{name}");
        assert!(close(a.f().unwrap(), b.f().unwrap()), "{name}");
    }
    assert!(close(&ga, &gb));
    (plain.steps(), fused.steps())
}

fn normalisation(name: &str, channels: i64) -> [Vec<u8>; 4] {
    let own = |part: &str, low, high| constant(&format!("{name}{part}"), &[channels], low, high);
    [own("s", 0.5, 1.5), own("b", -0.5, 0.5), own("m", -0.5, 0.5), own("v", 0.5, 1.5)]
}

#[test]
fn an_inverted_residual_is_the_same_fused() {
    let pads = ints("pads", &[1, 1, 1, 1]);
    let nodes = [
        node("Conv", &["x", "w0", "b0"], &["c0"], &[pads.clone(), ints("strides", &[2, 2])]),
        node("Clip", &["c0", "zero", "six"], &["a0"], &[]),
        node("Conv", &["a0", "w1"], &["c1"], &[]),
        node("BatchNormalization", &["c1", "ns", "nb", "nm", "nv"], &["n1"], &[]),
        node("Relu", &["n1"], &["a1"], &[]),
        node("Conv", &["a1", "w2"], &["c2"], &[pads, whole("group", 24)]),
        node("BatchNormalization", &["c2", "os", "ob", "om", "ov"], &["n2"], &[]),
        node("HardSwish", &["n2"], &["a2"], &[]),
        node("Conv", &["a2", "w3", "b3"], &["c3"], &[]),
        node("Add", &["a0", "c3"], &["r"], &[]),
        node("GlobalAveragePool", &["r"], &["p"], &[]),
        node("Flatten", &["p"], &["f"], &[]),
        node("Gemm", &["f", "w4", "b4"], &["y"], &[whole("transB", 1)]),
    ];
    let mut constants = vec![
        tensor("zero", &[], &[0.0]),
        tensor("six", &[1], &[0.4]),
        constant("w0", &[8, 3, 3, 3], -0.5, 0.5),
        constant("b0", &[8], -0.5, 0.5),
        constant("w1", &[24, 8, 1, 1], -1.0, 1.0),
        constant("w2", &[24, 1, 3, 3], -1.0, 1.0),
        constant("w3", &[8, 24, 1, 1], -1.0, 1.0),
        constant("b3", &[8], -1.0, 1.0),
        constant("w4", &[10, 8], -1.0, 1.0),
        constant("b4", &[10], -1.0, 1.0),
    ];
    constants.extend(normalisation("n", 24));
    constants.extend(normalisation("o", 24));
    let (plain, fused) = agree(&nodes, &constants, &[2, 3, 9, 11], &["y"]);
    // In: one turn. Out: a mean and a flat row; nothing is turned back.
    assert_eq!((plain, fused), (13, 10));
    // Any value in between can be asked for.
    agree(&nodes, &constants, &[1, 3, 8, 6], &["y", "c1", "n2", "r", "a0"]);
}

#[test]
fn what_lies_between_convolutions_is_the_same_with_channels_last() {
    let nodes = [
        node("Conv", &["x", "w0"], &["c0"], &[ints("pads", &[1, 0, 0, 1]), ints("dilations", &[2, 1])]),
        node("BatchNormalization", &["c0", "ns", "nb", "nm", "nv"], &["n0"], &[]),
        node("PRelu", &["c0", "slope"], &["a0"], &[]),
        node("Concat", &["n0", "a0"], &["both"], &[whole("axis", 1)]),
        node("MaxPool", &["both"], &["m"], &[ints("kernel_shape", &[3, 2]), ints("strides", &[2, 1]), ints("pads", &[1, 0, 1, 1])]),
        node("AveragePool", &["m"], &["v"], &[ints("kernel_shape", &[2, 2]), ints("pads", &[0, 1, 0, 0])]),
        node("BatchNormalization", &["v", "os", "ob", "om", "ov"], &["n1"], &[]),
        node("Conv", &["n1", "w1"], &["c1"], &[whole("group", 2)]),
        node("Mul", &["c1", "scale"], &["s"], &[]),
        node("Transpose", &["s"], &["t"], &[ints("perm", &[0, 3, 2, 1])]),
        node("MatMul", &["t", "w2"], &["q"], &[]),
        node("Add", &["q", "b2"], &["y"], &[]),
    ];
    let mut constants = vec![
        constant("w0", &[16, 2, 2, 3], -1.0, 1.0),
        constant("slope", &[16, 1, 1], 0.1, 0.5),
        constant("w1", &[32, 16, 1, 1], -1.0, 1.0),
        constant("scale", &[1, 32, 1, 1], 0.5, 1.5),
        constant("w2", &[32, 9], -1.0, 1.0),
        constant("b2", &[9], -1.0, 1.0),
    ];
    constants.extend(normalisation("n", 16));
    constants.extend(normalisation("o", 32));
    agree(&nodes, &constants, &[2, 2, 9, 8], &["y"]);
}

#[test]
fn convolutions_over_one_and_three_axes_are_the_same_fused() {
    let one = [node("Conv", &["x", "w"], &["c"], &[ints("strides", &[2]), ints("pads", &[2, 1])]), node("Relu", &["c"], &["y"], &[])];
    agree(&one, &[constant("w", &[12, 3, 5], -1.0, 1.0)], &[2, 3, 17], &["y"]);
    let solid = [node("Conv", &["x", "w"], &["c"], &[ints("pads", &[1, 0, 1, 0, 1, 1])]), node("Sigmoid", &["c"], &["y"], &[])];
    agree(&solid, &[constant("w", &[8, 2, 2, 3, 2], -1.0, 1.0)], &[1, 2, 4, 5, 6], &["y"]);
    let same = [node(
        "Conv",
        &["x", "w"],
        &["y"],
        &[[text(1, "auto_pad"), bytes(4, b"SAME_UPPER"), int(20, 3)].concat(), ints("strides", &[3, 2])],
    )];
    agree(&same, &[constant("w", &[9, 1, 3, 4], -1.0, 1.0)], &[2, 1, 10, 9], &["y"]);
}

#[test]
fn errors_of_a_fused_step_name_its_node() {
    let file = model(
        &[node("Conv", &["x", "w"], &["y"], &[])],
        &[constant("w", &[8, 3, 3, 3], -1.0, 1.0)],
        &[info("x", 1, &[1, 3, 8, 8])],
        &[text(1, "y")],
    );
    let session = Session::load(&file, None, None).unwrap();
    let tried = |shape: &[usize]| {
        let x = Value::floats(shape, vec![1.0; shape.iter().product()]).unwrap();
        session.run(vec![x], &mut Tape::default()).map(|y| y[0].shape.clone()).map_err(|e| e.to_string())
    };
    assert_eq!(tried(&[1, 3, 8, 8]), Ok(vec![1, 8, 6, 6]));
    assert!(tried(&[1, 4, 8, 8]).unwrap_err().contains("do not fit its channels"));
    assert!(tried(&[1, 3, 8, 2]).unwrap_err().contains("a window of 3 does not fit into 2"));
    assert!(tried(&[3, 8, 8]).unwrap_err().contains("expected 4 dimensions"));
    // A gradient of another size is an error.
    let mut tape = Tape::default();
    let mut x = Value::floats([1, 3, 8, 8], vec![1.0; 192]).unwrap();
    let leaf = tape.leaf(&mut x);
    let y = session.run(vec![x], &mut tape).unwrap().remove(0);
    assert!(tape.backward(vec![(y.place_on_tape().unwrap(), vec![1.0; 3])], &[leaf]).is_err());
}
