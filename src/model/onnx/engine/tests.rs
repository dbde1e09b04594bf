//! Every operator that promises a gradient against finite differences, and files that mean no good.

use super::{Session, Tape, Value};
use crate::model::onnx::write::*;
use proptest::prelude::*;

/// Numbers without a pattern in `low..high`.
fn numbers(n: usize, salt: u64, low: f32, high: f32) -> Vec<f32> {
    let unit = |i: u64| ((i + salt * 977).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 16_777_216.0;
    (0..n as u64).map(|i| low + (high - low) * unit(i)).collect()
}

fn float(name: &str, v: f32) -> Vec<u8> {
    let bits = [2 << 3 | 5u8].into_iter().chain(v.to_le_bytes()).collect::<Vec<u8>>();
    [text(1, name), bits, int(20, 1)].concat()
}

pub(super) fn whole(name: &str, v: i64) -> Vec<u8> {
    [text(1, name), int(3, v), int(20, 2)].concat()
}

fn word(name: &str, v: &str) -> Vec<u8> {
    [text(1, name), bytes(4, v.as_bytes()), int(20, 3)].concat()
}

pub(super) fn integers(name: &str, dims: &[i64], values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    dims.iter().flat_map(|d| int(1, *d)).chain(int(2, 7)).chain(text(8, name)).chain(bytes(9, &raw)).collect()
}

/// One node whose first inputs are asked for their gradients, and whose others are constants.
struct Case {
    op: &'static str,
    inputs: Vec<(Vec<i64>, f32, f32)>,
    constants: Vec<(&'static str, Vec<u8>)>,
    /// Names of all inputs in order; `x0`, `x1` are the first.
    order: Vec<&'static str>,
    attributes: Vec<Vec<u8>>,
    outputs: usize,
}

fn case(op: &'static str, inputs: &[(&[i64], f32, f32)], attributes: &[Vec<u8>]) -> Case {
    let order = ["x0", "x1", "x2", "x3", "x4"][..inputs.len()].to_vec();
    let inputs = inputs.iter().map(|(s, l, h)| (s.to_vec(), *l, *h)).collect();
    Case { op, inputs, constants: Vec::new(), order, attributes: attributes.to_vec(), outputs: 1 }
}

impl Case {
    fn with(mut self, name: &'static str, tensor: impl Fn(&str) -> Vec<u8>) -> Self {
        self.constants.push((name, tensor(name)));
        self.order.push(name);
        self
    }
    fn without(mut self) -> Self {
        self.order.push("");
        self
    }
    fn giving(mut self, outputs: usize) -> Self {
        self.outputs = outputs;
        self
    }

    fn check(&self) {
        let names = ["y0", "y1", "y2", "y3"];
        let node = node(self.op, &self.order, &names[..self.outputs], &self.attributes);
        let inputs: Vec<Vec<u8>> = self.inputs.iter().zip(["x0", "x1", "x2", "x3", "x4"]).map(|((s, _, _), n)| info(n, 1, s)).collect();
        let constants: Vec<Vec<u8>> = self.constants.iter().map(|(_, t)| t.clone()).collect();
        let outputs: Vec<Vec<u8>> = names[..self.outputs].iter().map(|n| [text(1, n)].concat()).collect();
        let session = Session::load(&model(&[node], &constants, &inputs, &outputs), None, None).unwrap();
        let values: Vec<Vec<f32>> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(i, (s, low, high))| numbers(s.iter().product::<i64>() as usize, i as u64 + 3, *low, *high))
            .collect();
        let shape = |i: usize| self.inputs[i].0.iter().map(|n| *n as usize).collect::<Vec<_>>();
        // A weighted sum of all outputs.
        let weights = |k: usize, n: usize| numbers(n, 50 + k as u64, -1.0, 1.0);
        let run = |values: &[Vec<f32>]| {
            let inputs = values.iter().enumerate().map(|(i, v)| Value::floats(shape(i), v.clone()).unwrap()).collect();
            let out = session.run(inputs, &mut Tape::default()).unwrap();
            let sum = |(k, v): (usize, &Value)| v.f().unwrap().iter().zip(weights(k, v.len())).map(|(v, w)| f64::from(v * w)).sum::<f64>();
            out.iter().enumerate().map(sum).sum::<f64>()
        };
        let mut tape = Tape::default();
        let (mut inputs, mut leaves) = (Vec::new(), Vec::new());
        for (i, v) in values.iter().enumerate() {
            let mut value = Value::floats(shape(i), v.clone()).unwrap();
            leaves.push(tape.leaf(&mut value));
            inputs.push(value);
        }
        let out = session.run(inputs, &mut tape).unwrap();
        let seeds = out.iter().enumerate().filter_map(|(k, v)| Some((v.place_on_tape()?, weights(k, v.len())))).collect();
        let slopes = tape.backward(seeds, &leaves).unwrap();
        for (i, slope) in slopes.iter().enumerate() {
            let slope = slope.as_ref().unwrap_or_else(|| panic!("{}: no gradient of input {i}", self.op));
            let n = values[i].len();
            for k in (0..n).step_by(n.div_ceil(6)) {
                let h = 5e-3;
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[i][k] += by;
                    run(&values)
                };
                let by_steps = ((moved(h) - moved(-h)) / f64::from(2.0 * h)) as f32;
                let close = (slope[k] - by_steps).abs() <= 1e-2 + 1e-2 * by_steps.abs();
                assert!(close, "{} input {i} place {k}: {} by steps {by_steps}", self.op, slope[k]);
            }
        }
    }
}

#[test]
fn gradients_of_elementwise_operators_agree_with_differences() {
    let smooth = [
        "Neg",
        "Exp",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Acos",
        "Atan",
        "Sinh",
        "Cosh",
        "Tanh",
        "Asinh",
        "Atanh",
        "Erf",
        "Sigmoid",
        "Softplus",
        "Mish",
        "Gelu",
        "Swish",
        "Identity",
        "HardSigmoid",
        "HardSwish",
    ];
    for op in smooth {
        case(op, &[(&[2, 7], -0.8, 0.8)], &[]).check();
    }
    for op in ["Abs", "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Softsign", "Log", "Sqrt", "Reciprocal"] {
        case(op, &[(&[2, 7], 0.4, 2.0)], &[]).check();
    }
    for op in ["Abs", "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Softsign", "Reciprocal"] {
        case(op, &[(&[2, 7], -2.0, -0.4)], &[]).check();
    }
    case("Acosh", &[(&[6], 1.3, 3.0)], &[]).check();
    case("Gelu", &[(&[6], -2.0, 2.0)], &[word("approximate", "tanh")]).check();
    case("ThresholdedRelu", &[(&[6], 1.2, 3.0)], &[]).check();
    case("Shrink", &[(&[6], 0.7, 2.0)], &[float("bias", 0.2)]).check();
    case("Clip", &[(&[8], -1.0, 1.0)], &[]).with("l", |n| tensor(n, &[], &[-2.0])).with("h", |n| tensor(n, &[], &[2.0])).check();
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu"] {
        case(op, &[(&[2, 3, 4], 0.5, 1.0), (&[3, 1], 1.2, 2.0)], &[]).check();
        case(op, &[(&[3, 4], 0.5, 1.0), (&[3, 4], 1.2, 2.0)], &[]).check();
    }
    case("Sub", &[(&[3, 1], 0.5, 1.0), (&[2, 3, 4], 1.2, 2.0)], &[]).check();
    case("Div", &[(&[1, 4], 0.5, 1.0), (&[3, 1], 1.2, 2.0)], &[]).check();
    case("PRelu", &[(&[2, 3], -1.0, -0.5), (&[3], 0.1, 0.4)], &[]).check();
    case("Mod", &[(&[6], 2.1, 2.4), (&[6], 0.9, 0.95)], &[whole("fmod", 1)]).check();
}

#[test]
fn gradients_of_products_and_convolutions_agree_with_differences() {
    let r = |s: &'static [i64]| (s, -1.0, 1.0);
    case("MatMul", &[r(&[2, 3, 4]), r(&[4, 5])], &[]).check();
    case("MatMul", &[r(&[2, 1, 3, 4]), r(&[3, 4, 2])], &[]).check();
    case("MatMul", &[r(&[4]), r(&[4])], &[]).check();
    case("Gemm", &[r(&[4, 3]), r(&[5, 4]), r(&[5])], &[whole("transA", 1), whole("transB", 1), float("alpha", 0.5), float("beta", 2.0)])
        .check();
    case("Einsum", &[r(&[2, 3, 4]), r(&[2, 4, 5])], &[word("equation", "bij, bjk -> kb")]).check();
    case("Einsum", &[r(&[3, 3])], &[word("equation", "ii->i")]).check();
    case("Einsum", &[r(&[2, 3]), r(&[3]), r(&[3, 4])], &[word("equation", "...i,i,ij->...j")]).check();
    let pads = ints("pads", &[1, 0, 1, 2]);
    case("Conv", &[r(&[2, 4, 5, 6]), r(&[6, 2, 3, 2]), r(&[6])], &[whole("group", 2), pads.clone(), ints("strides", &[2, 1])]).check();
    case("Conv", &[r(&[1, 3, 6, 6]), r(&[3, 1, 3, 3])], &[whole("group", 3), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])])
        .check();
    case("Conv", &[r(&[2, 3, 9]), r(&[4, 3, 3])], &[ints("dilations", &[2])]).check();
    case("ConvTranspose", &[r(&[2, 3, 4, 3]), r(&[3, 2, 3, 3]), r(&[2])], &[ints("strides", &[2, 1]), ints("pads", &[1, 0, 0, 1])]).check();
    case("DeformConv", &[r(&[1, 2, 4, 4]), r(&[2, 2, 2, 2]), (&[1, 8, 3, 3], 0.1, 0.4)], &[]).check();
    case("AveragePool", &[r(&[1, 2, 5, 5])], &[ints("kernel_shape", &[2, 3]), ints("strides", &[2, 1]), pads]).check();
    case("MaxPool", &[r(&[1, 2, 6, 6])], &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]).check();
    case("LpPool", &[(&[1, 2, 6], 0.3, 1.0)], &[ints("kernel_shape", &[2])]).check();
    for op in ["GlobalAveragePool", "GlobalMaxPool"] {
        case(op, &[r(&[2, 2, 3, 3])], &[]).check();
    }
}

#[test]
fn gradients_of_normalizations_and_reductions_agree_with_differences() {
    let r = |s: &'static [i64]| (s, -1.0, 1.0);
    case("BatchNormalization", &[r(&[2, 3, 4]), r(&[3]), r(&[3]), r(&[3]), (&[3], 0.5, 1.5)], &[]).check();
    case("InstanceNormalization", &[r(&[2, 3, 5]), r(&[3]), r(&[3])], &[]).check();
    case("LayerNormalization", &[r(&[2, 3, 5]), r(&[5]), r(&[5])], &[]).check();
    case("GroupNormalization", &[r(&[2, 4, 5]), r(&[2]), r(&[2])], &[whole("num_groups", 2)]).check();
    case("MeanVarianceNormalization", &[r(&[2, 3, 3, 2])], &[]).check();
    case("LpNormalization", &[r(&[2, 5])], &[]).check();
    case("LRN", &[r(&[2, 5, 3])], &[whole("size", 3), float("alpha", 0.5)]).check();
    for axis in [-1, 1] {
        case("Softmax", &[r(&[2, 4, 3])], &[whole("axis", axis)]).check();
        case("LogSoftmax", &[r(&[2, 4, 3])], &[whole("axis", axis)]).check();
    }
    for op in
        ["ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceMax", "ReduceMin"]
    {
        case(op, &[(&[2, 3, 4], 0.4, 2.0)], &[ints("axes", &[0, 2]), whole("keepdims", 0)]).check();
    }
    case("ReduceSum", &[r(&[2, 3, 4])], &[]).with("a", |n| integers(n, &[1], &[1])).check();
    case("CumSum", &[r(&[2, 5])], &[whole("exclusive", 1), whole("reverse", 1)]).with("a", |n| integers(n, &[], &[1])).check();
    case("TopK", &[r(&[2, 6])], &[]).with("k", |n| integers(n, &[1], &[3])).check();
    case("NegativeLogLikelihoodLoss", &[r(&[3, 4])], &[]).with("t", |n| integers(n, &[3], &[1, 3, 0])).check();
    case("SoftmaxCrossEntropyLoss", &[r(&[2, 4, 2])], &[]).with("t", |n| integers(n, &[2, 2], &[1, 3, 0, 2])).check();
}

#[test]
fn gradients_of_shapes_and_indices_agree_with_differences() {
    let r = |s: &'static [i64]| (s, -1.0, 1.0);
    case("Reshape", &[r(&[2, 6])], &[]).with("s", |n| integers(n, &[2], &[3, -1])).check();
    case("Transpose", &[r(&[2, 3, 4])], &[ints("perm", &[2, 0, 1])]).check();
    case("Concat", &[r(&[2, 3]), r(&[2, 1])], &[whole("axis", 1)]).check();
    case("Split", &[r(&[2, 5])], &[whole("axis", 1)]).with("s", |n| integers(n, &[2], &[2, 3])).giving(2).check();
    let list = |v: &'static [i64]| move |n: &str| integers(n, &[v.len() as i64], v);
    case("Slice", &[r(&[4, 5])], &[])
        .with("s", list(&[3, 0]))
        .with("e", list(&[-9, 5]))
        .with("a", list(&[0, 1]))
        .with("t", list(&[-2, 2]))
        .check();
    case("Expand", &[r(&[3, 1])], &[]).with("s", list(&[2, 3, 4])).check();
    case("Tile", &[r(&[2, 3])], &[]).with("s", list(&[2, 2])).check();
    for mode in ["constant", "reflect", "edge", "wrap"] {
        case("Pad", &[r(&[3, 4])], &[word("mode", mode)]).with("p", list(&[1, 0, 2, 1])).check();
    }
    case("Gather", &[r(&[4, 3])], &[whole("axis", 1)]).with("i", |n| integers(n, &[2, 2], &[0, 2, -1, 0])).check();
    case("GatherElements", &[r(&[3, 3])], &[whole("axis", 1)]).with("i", |n| integers(n, &[2, 2], &[0, 2, 1, 1])).check();
    case("GatherND", &[r(&[3, 2, 2])], &[]).with("i", |n| integers(n, &[2, 2], &[0, 1, 2, 0])).check();
    case("Trilu", &[r(&[3, 4])], &[]).check();
    case("DepthToSpace", &[r(&[1, 8, 2, 2])], &[whole("blocksize", 2)]).check();
    case("SpaceToDepth", &[r(&[1, 2, 4, 4])], &[whole("blocksize", 2)]).check();
    for op in ["ScatterElements", "Scatter"] {
        let mut scatter = case(op, &[r(&[4]), r(&[2])], &[]).with("i", |n| integers(n, &[2], &[3, 1]));
        scatter.order = vec!["x0", "i", "x1"];
        scatter.check();
    }
    let mut scatter =
        case("ScatterND", &[r(&[4, 2]), r(&[2, 2])], &[word("reduction", "add")]).with("i", |n| integers(n, &[2, 1], &[3, 1]));
    scatter.order = vec!["x0", "i", "x1"];
    scatter.check();
    let mut which = case("Where", &[r(&[3, 2]), r(&[2])], &[]);
    which.constants.push(("c", [int(1, 3), int(1, 1), int(2, 9), text(8, "c"), bytes(9, &[1, 0, 1])].concat()));
    which.order = vec!["c", "x0", "x1"];
    which.check();
    for mode in ["linear", "cubic", "nearest"] {
        case("Resize", &[r(&[1, 1, 4, 5])], &[word("mode", mode)]).without().with("s", |n| tensor(n, &[4], &[1.0, 1.0, 1.5, 0.6])).check();
    }
    case("GridSample", &[r(&[1, 2, 4, 4]), (&[1, 3, 3, 2], -0.2, 0.2)], &[word("mode", "bilinear")]).check();
    case("AffineGrid", &[r(&[1, 2, 3])], &[]).with("s", list(&[1, 1, 2, 3])).check();
    case("Col2Im", &[r(&[1, 8, 4])], &[]).with("i", list(&[3, 3])).with("b", list(&[2, 2])).check();
}

#[test]
fn gradients_of_recurrent_layers_and_spectra_agree_with_differences() {
    let r = |s: &'static [i64]| (s, -1.0, 1.0);
    let hidden = whole("hidden_size", 3);
    let both = [hidden.clone(), word("direction", "bidirectional")];
    case("LSTM", &[r(&[3, 2, 4]), r(&[2, 12, 4]), r(&[2, 12, 3]), r(&[2, 24])], &both).giving(3).check();
    case("GRU", &[r(&[3, 2, 4]), r(&[1, 9, 4]), r(&[1, 9, 3]), r(&[1, 18])], &[hidden.clone(), whole("linear_before_reset", 1)])
        .giving(2)
        .check();
    case("GRU", &[r(&[3, 2, 4]), r(&[1, 9, 4]), r(&[1, 9, 3])], std::slice::from_ref(&hidden)).giving(2).check();
    case("RNN", &[r(&[3, 2, 4]), r(&[1, 3, 4]), r(&[1, 3, 3])], &[hidden, word("direction", "reverse")]).giving(2).check();
    case("DFT", &[r(&[2, 6, 1])], &[whole("axis", 1), whole("onesided", 1)]).check();
    let framed = case("STFT", &[r(&[1, 12, 1])], &[]).with("s", |n| integers(n, &[], &[4]));
    framed.without().with("n", |n| integers(n, &[], &[8])).check();
}

/// A small graph with a branch, a convolution and integers.
fn honest() -> Vec<u8> {
    model(
        &[
            node("Conv", &["x", "w"], &["c"], &[ints("pads", &[1, 1, 1, 1])]),
            node("Shape", &["c"], &["s"], &[]),
            node("Reshape", &["c", "t"], &["f"], &[]),
            node("Relu", &["f"], &["y"], &[]),
        ],
        &[tensor("w", &[8, 1, 3, 3], &numbers(72, 1, -1.0, 1.0)), integers("t", &[2], &[1, -1])],
        &[info("x", 1, &[1, 1, 4, 4])],
        &[info("y", 1, &[1, 128])],
    )
}

fn tried(bytes: &[u8]) {
    if let Ok(session) = Session::load(bytes, None, None) {
        let inputs = session.inputs().iter().map(|_| Value::floats([1, 1, 4, 4], vec![0.5; 16]).unwrap()).collect();
        drop(session.run(inputs, &mut Tape::default()));
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let whole = honest();
    assert!(Session::load(&whole, None, None).is_ok());
    for n in 0..whole.len() {
        tried(&whole[..n]);
    }
    assert!(Session::load(&whole[..whole.len() / 2], None, None).is_err());
    assert!(Session::load(b"", None, None).unwrap_err().to_string().contains("it has no graph"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_byte_makes_it_panic(at in 0usize..900, to in any::<u8>(), second in 0usize..900, too in any::<u8>()) {
        let mut bytes = honest();
        let n = bytes.len();
        bytes[at % n] = to;
        bytes[second % n] = too;
        tried(&bytes);
    }
}

fn refused(bytes: &[u8]) -> String {
    match Session::load(bytes, None, None) {
        Err(error) => error.to_string(),
        Ok(session) => {
            session.run(vec![Value::floats([1], vec![1.0]).unwrap(); session.inputs().len()], &mut Tape::default()).unwrap_err().to_string()
        }
    }
}

#[test]
fn hostile_graphs_are_refused_with_a_reason() {
    let out = [info("y", 1, &[1])];
    let x = [info("x", 1, &[1])];
    let circle = model(
        &[node("Add", &["x", "b"], &["a"], &[]), node("Relu", &["a"], &["b"], &[]), node("Relu", &["b"], &["y"], &[])],
        &[],
        &x,
        &out,
    );
    assert!(refused(&circle).contains("round in a circle"), "{}", refused(&circle));
    let own = model(&[node("Add", &["y", "x"], &["y"], &[])], &[], &x, &out);
    assert!(refused(&own).contains("circle"), "{}", refused(&own));
    let unknown = model(&[node("Frobnicate", &["x"], &["y"], &[]), node("Blub", &["x"], &["z"], &[])], &[], &x, &out);
    assert!(refused(&unknown).contains("not supported: Frobnicate (1), Blub (1)"));
    let nowhere = model(&[node("Relu", &["q"], &["y"], &[])], &[], &x, &out);
    assert!(refused(&nowhere).contains("its input `q` is never computed"));
    let twice = model(&[node("Relu", &["x"], &["y"], &[]), node("Relu", &["x"], &["y"], &[])], &[], &x, &out);
    assert!(refused(&twice).contains("computed twice"));
    let huge = model(&[node("Expand", &["x", "s"], &["y"], &[])], &[integers("s", &[2], &[1 << 40, 1 << 40])], &x, &out);
    assert!(refused(&huge).contains("more than"), "{}", refused(&huge));
    let lying = model(&[node("Add", &["x", "w"], &["y"], &[])], &[tensor("w", &[1 << 20], &[1.0])], &x, &out);
    assert!(refused(&lying).contains("needs 4194304 bytes, found 4"));
    let negative = model(&[node("Add", &["x", "w"], &["y"], &[])], &[tensor("w", &[-1], &[1.0])], &x, &out);
    assert!(refused(&negative).contains("a negative size"));
    let pads = model(&[node("Conv", &["x", "x"], &["y"], &[ints("pads", &[i64::MAX, i64::MAX])])], &[], &x, &out);
    assert!(refused(&pads).contains("three to five dimensions"));
    let zero = model(&[node("Div", &["a", "b"], &["y"], &[])], &[integers("a", &[1], &[i64::MIN]), integers("b", &[1], &[0])], &[], &out);
    assert!(refused(&zero).contains("divided by 0"));
    let overflow =
        model(&[node("Div", &["a", "b"], &["y"], &[])], &[integers("a", &[1], &[i64::MIN]), integers("b", &[1], &[-1])], &[], &out);
    assert!(Session::load(&overflow, None, None).is_ok());
    let text = model(&[node("Identity", &["w"], &["y"], &[])], &[[int(1, 1), int(2, 8), text(8, "w")].concat()], &[], &out);
    assert!(refused(&text).contains("strings are not supported"));
    let weave = model(&[node("Gather", &["x", "i"], &["y"], &[])], &[integers("i", &[1], &[7])], &x, &out);
    assert!(refused(&weave).contains("lies outside 0..1"));
}

#[test]
fn data_outside_the_folder_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("model");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 4]).unwrap();
    std::fs::write(inner.join("w.bin"), 2.5f32.to_le_bytes()).unwrap();
    let load = |location: &str, length: &str| {
        let entry = |key: &str, value: &str| bytes(13, &[text(1, key), text(2, value)].concat());
        let w = [int(1, 1), int(2, 1), text(8, "w"), entry("location", location), entry("length", length), int(14, 1)].concat();
        Session::load(&model(&[node("Identity", &["w"], &["y"], &[])], &[w], &[], &[info("y", 1, &[1])]), Some(&inner), None)
    };
    assert_eq!(load("w.bin", "4").unwrap().run(vec![], &mut Tape::default()).unwrap()[0].f().unwrap(), [2.5]);
    for outside in ["../secret", "/etc/passwd", "a/../../secret"] {
        assert!(load(outside, "4").unwrap_err().to_string().contains("in the folder of the file"), "{outside}");
    }
    assert!(load("w.bin", "400").unwrap_err().to_string().contains("after the end"));
    assert!(load("none.bin", "4").is_err());
}

#[test]
fn loops_without_end_and_graphs_without_bottom_are_stopped() {
    // while (true) { }: the body gives its condition back.
    let body = [
        bytes(1, &node("Identity", &["c"], &["go"], &[])),
        bytes(11, &info("i", 7, &[])),
        bytes(11, &info("c", 9, &[])),
        bytes(12, &info("go", 9, &[])),
    ]
    .concat();
    let graph = [text(1, "body"), bytes(6, &body), int(20, 5)].concat();
    let endless = model(
        &[node("Loop", &["", ""], &[], &[graph]), node("Relu", &["x"], &["y"], &[])],
        &[],
        &[info("x", 1, &[1])],
        &[info("y", 1, &[1])],
    );
    // Nothing needs it, so it is not run; what is needed would cost more work than a pass may.
    assert!(Session::load(&endless, None, None).is_ok());
    let mut deep = bytes(1, &node("Identity", &["x"], &["z"], &[]));
    for _ in 0..40 {
        let inner = [text(1, "then_branch"), bytes(6, &deep), int(20, 5)].concat();
        deep = bytes(1, &node("If", &["x"], &["z"], &[inner]));
    }
    let nested = [int(1, 8), bytes(7, &deep)].concat();
    assert!(refused(&nested).contains("deep inside graphs"), "{}", refused(&nested));
}

#[test]
fn a_branch_sees_the_graph_around_it_and_passes_gradients() {
    let branch = |name: &str, op: &str| {
        let graph = [bytes(1, &node(op, &["x"], &["z"], &[])), bytes(12, &info("z", 1, &[2]))].concat();
        [text(1, name), bytes(6, &graph), int(20, 5)].concat()
    };
    let condition = [int(2, 9), text(8, "c"), bytes(9, &[1])].concat();
    let graph = model(
        &[node("If", &["c"], &["y"], &[branch("then_branch", "Exp"), branch("else_branch", "Neg")])],
        &[condition],
        &[info("x", 1, &[2])],
        &[info("y", 1, &[2])],
    );
    let session = Session::load(&graph, None, None).unwrap();
    let mut tape = Tape::default();
    let mut x = Value::floats([2], vec![0.0, 1.0]).unwrap();
    let leaf = tape.leaf(&mut x);
    let y = session.run(vec![x], &mut tape).unwrap().remove(0);
    assert_eq!(y.f().unwrap(), [1.0, 1f32.exp()]);
    let slope = tape.backward(vec![(y.place_on_tape().unwrap(), vec![1.0, 2.0])], &[leaf]).unwrap().remove(0).unwrap();
    assert_eq!(slope, [1.0, 2.0 * 1f32.exp()]);
}

#[test]
fn gradients_go_straight_through_quantization() {
    let nodes = [node("QuantizeLinear", &["x", "s", "z"], &["q"], &[]), node("DequantizeLinear", &["q", "s", "z"], &["y"], &[])];
    let zero = [int(2, 3), text(8, "z"), bytes(9, &[3])].concat();
    let graph = model(&nodes, &[tensor("s", &[], &[0.5]), zero], &[info("x", 1, &[3])], &[info("y", 1, &[3])]);
    let session = Session::load(&graph, None, None).unwrap();
    let mut tape = Tape::default();
    let mut x = Value::floats([3], vec![0.3, -1.2, 1e4]).unwrap();
    let leaf = tape.leaf(&mut x);
    let y = session.run(vec![x], &mut tape).unwrap().remove(0);
    assert_eq!(y.f().unwrap(), [0.5, -1.0, 62.0]);
    let slope = tape.backward(vec![(y.place_on_tape().unwrap(), vec![1.0; 3])], &[leaf]).unwrap().remove(0).unwrap();
    assert_eq!(slope, [1.0, 1.0, 0.0]);
}
