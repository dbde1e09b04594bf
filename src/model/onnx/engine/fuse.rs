//! Rewrites a graph at load, so that it costs less: normalisation and activation become part of the convolution before them, and what lies between
//! convolutions keeps its channels side by side (see `channels_last`). Values are turned only where a step knows the file's order alone.

use super::{
    channels_last::{Activation, Filter, Width},
    ops::{Operator, channels_last as steps},
    plan::{Attribute, Node},
    value::{Value, strides},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Operators of one input that give each number what they give it alone.
const ONE: [&str; 20] = [
    "Relu",
    "LeakyRelu",
    "Elu",
    "Celu",
    "Selu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Swish",
    "Tanh",
    "Mish",
    "Gelu",
    "Softplus",
    "Softsign",
    "Erf",
    "Exp",
    "Sqrt",
    "Abs",
    "Neg",
    "ThresholdedRelu",
];
/// Operators of two or more inputs that do so under broadcasting.
const MORE: [&str; 9] = ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Sum", "Mean"];
/// The most phases of a way back (the product of the strides).
const MOST_PHASES: i64 = 64;

/// The same graph in other steps. `known` are the constants, `wanted` the places that are asked for, `places` how many there are.
pub(super) fn fuse(nodes: Vec<Node>, known: &mut HashMap<usize, Value>, wanted: &[usize], places: &mut usize) -> Vec<Node> {
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut pinned: HashSet<usize> = wanted.iter().copied().collect();
    for (i, node) in nodes.iter().enumerate() {
        node.inputs.iter().flatten().for_each(|at| readers.entry(*at).or_default().push(i));
        pinned.extend(node.captures.iter().map(|(_, here, _)| *here));
    }
    let mut all =
        Fuser { known, places, width: Width::widest(), readers, pinned, turned: HashMap::new(), absent: HashSet::new(), out: Vec::new() };
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    for i in 0..nodes.len() {
        if let Some(node) = nodes[i].take() {
            all.step(node, &mut nodes);
        }
    }
    wanted.iter().for_each(|at| all.plain(*at));
    all.out
}

/// The steps that something wanted is made of.
pub(super) fn needed(steps: Vec<Node>, wanted: &[usize]) -> Vec<Node> {
    let mut needed: HashSet<usize> = wanted.iter().copied().collect();
    let mut kept: Vec<Node> = Vec::new();
    for step in steps.into_iter().rev() {
        if step.outputs.iter().flatten().any(|at| needed.contains(at)) {
            needed.extend(step.inputs.iter().flatten().copied().chain(step.captures.iter().map(|(_, here, _)| *here)));
            kept.push(step);
        }
    }
    kept.reverse();
    kept
}

struct Fuser<'k> {
    known: &'k mut HashMap<usize, Value>,
    places: &'k mut usize,
    width: Width,
    readers: HashMap<usize, Vec<usize>>,
    /// Places that are asked for or seen by a branch.
    pinned: HashSet<usize>,
    /// The place of the same value with its channels last, and its number of dimensions.
    turned: HashMap<usize, (usize, usize)>,
    /// Places whose value exists with its channels last alone.
    absent: HashSet<usize>,
    out: Vec<Node>,
}

impl Fuser<'_> {
    fn fresh(&mut self) -> usize {
        *self.places += 1;
        *self.places - 1
    }

    /// Sees to it that a value exists in the file's order.
    fn plain(&mut self, at: usize) {
        if let (true, Some(&(last, rank))) = (self.absent.remove(&at), self.turned.get(&at)) {
            self.out.push(turn(&steps::TO_FIRST, last, at, rank));
        }
    }
    /// The place of a value with its channels last.
    fn last(&mut self, at: usize, rank: usize) -> usize {
        if let Some((last, _)) = self.turned.get(&at) {
            return *last;
        }
        let last = self.fresh();
        self.out.push(turn(&steps::TO_LAST, at, last, rank));
        self.turned.insert(at, (last, rank));
        last
    }
    /// A place for a result that exists with its channels last alone.
    fn made(&mut self, at: usize, rank: usize) -> usize {
        let last = self.fresh();
        self.turned.insert(at, (last, rank));
        self.absent.insert(at);
        last
    }
    /// The step that alone reads a value, as its first input.
    fn sole<'n>(&self, at: usize, nodes: &'n [Option<Node>]) -> Option<(usize, &'n Node)> {
        let &[reader] = self.readers.get(&at)?.as_slice() else { return None };
        let node = nodes.get(reader)?.as_ref()?;
        (!self.pinned.contains(&at) && node.inputs.first() == Some(&Some(at)) && node.captures.is_empty()).then_some((reader, node))
    }
    /// Input `i`, where it is constant floats.
    fn floats(&self, node: &Node, i: usize) -> Option<&Value> {
        let value = self.known.get(node.inputs.get(i)?.as_ref()?)?;
        value.f().is_ok().then_some(value)
    }
    fn missing(node: &Node, i: usize) -> bool {
        node.inputs.get(i).is_none_or(Option::is_none)
    }

    fn step(&mut self, node: Node, nodes: &mut [Option<Node>]) {
        let Some(node) = self.weighted(node, nodes) else { return };
        let Some(mut node) = self.between(node) else { return };
        let seen: Vec<usize> = node.inputs.iter().flatten().copied().chain(node.captures.iter().map(|(_, here, _)| *here)).collect();
        seen.into_iter().for_each(|at| self.plain(at));
        node.release.clear();
        self.out.push(node);
    }

    /// A convolution or product with constant weights, and what follows it. Gives the node back where it stays as it is.
    fn weighted(&mut self, node: Node, nodes: &mut [Option<Node>]) -> Option<Node> {
        let found = match node.operator.name {
            "Conv" => self.conv(&node),
            "Gemm" => self.gemm(&node),
            "MatMul" => self.matmul(&node),
            _ => None,
        };
        let Some(mut found) = found else { return Some(node) };
        let (Some(Some(input)), &[Some(mut end)]) = (node.inputs.first().copied(), node.outputs.as_slice()) else { return Some(node) };
        let mut absorbed = Vec::new();
        while let Some((at, next)) = self.sole(end, nodes) {
            let &[Some(output)] = next.outputs.as_slice() else { break };
            if !self.absorb(&mut found, next) {
                break;
            }
            absorbed.push(at);
            end = output;
        }
        let Weighted { shape, weights, bias, groups, activation, conv } = found;
        let Some(filter) = Filter::new(self.width, &shape, &weights, bias.as_deref(), groups, activation) else { return Some(node) };
        absorbed.into_iter().for_each(|at| nodes[at] = None);
        let (operator, input, output) = if conv {
            let rank = shape.len();
            (&steps::CONV, self.last(input, rank), self.made(end, rank))
        } else {
            self.plain(input);
            (&steps::PRODUCT, input, end)
        };
        let mut attributes = node.attributes;
        attributes.insert("filter".to_owned(), Attribute::Filter(Arc::new(filter)));
        self.out.push(Node { operator, inputs: vec![Some(input)], outputs: vec![Some(output)], attributes, ..node });
        None
    }

    fn conv(&self, node: &Node) -> Option<Weighted> {
        let w = self.floats(node, 1)?;
        if !(3..=5).contains(&w.rank())
            || node.ints("strides").is_some_and(|s| s.iter().try_fold(1i64, |p, s| p.checked_mul(*s)).is_none_or(|p| p > MOST_PHASES))
        {
            return None;
        }
        let kernel = node.ints("kernel_shape").is_none_or(|k| k.iter().map(|k| *k as usize).eq(w.shape[2..].iter().copied()));
        let groups = usize::try_from(node.int("group", 1)).ok()?;
        let bias = if Self::missing(node, 2) { None } else { Some(self.floats(node, 2)?.f().ok()?.to_vec()) };
        let weights = w.f().ok()?.to_vec();
        kernel.then(|| Weighted { shape: w.shape.clone(), weights, bias, groups, activation: Activation::None, conv: true })
    }

    fn gemm(&self, node: &Node) -> Option<Weighted> {
        let w = self.floats(node, 1)?;
        if w.rank() != 2 || node.int("transA", 0) != 0 {
            return None;
        }
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let turned = node.int("transB", 0) != 0;
        let outputs = w.shape[usize::from(!turned)];
        let bias = if Self::missing(node, 2) {
            None
        } else {
            let bias = self.floats(node, 2)?;
            let row = bias.shape.last().copied().unwrap_or(1);
            if bias.len() != row || row != outputs && row != 1 {
                return None;
            }
            let bias = bias.f().ok()?;
            Some((0..outputs).map(|o| beta * bias[if row == 1 { 0 } else { o }]).collect())
        };
        Weighted::matrix(w, turned, alpha, bias)
    }

    fn matmul(&self, node: &Node) -> Option<Weighted> {
        Weighted::matrix(self.floats(node, 1).filter(|w| w.rank() == 2)?, false, 1.0, None)
    }

    /// Takes a following step in, where that can be.
    fn absorb(&self, of: &mut Weighted, next: &Node) -> bool {
        if of.activation != Activation::None {
            return false;
        }
        let outputs = of.shape[0];
        match next.operator.name {
            "BatchNormalization" if of.conv && next.int("training_mode", 0) == 0 => {
                let parameter = |i: usize| self.floats(next, i).and_then(|v| v.f().ok()).filter(|v| v.len() == outputs);
                let (Some(scale), Some(shift), Some(mean), Some(variance)) = (parameter(1), parameter(2), parameter(3), parameter(4))
                else {
                    return false;
                };
                let epsilon = next.float("epsilon", 1e-5);
                let per = of.weights.len() / outputs.max(1);
                let mut bias = of.bias.take().filter(|b| b.len() == outputs).unwrap_or_else(|| vec![0.0; outputs]);
                for o in 0..outputs {
                    let scale = scale[o] / (variance[o] + epsilon).sqrt();
                    of.weights[o * per..(o + 1) * per].iter_mut().for_each(|w| *w *= scale);
                    bias[o] = (bias[o] - mean[o]) * scale + shift[o];
                }
                of.bias = Some(bias);
                true
            }
            "Add" if !of.conv && of.bias.is_none() => {
                let row = self.floats(next, 1).filter(|v| v.shape == [outputs]).and_then(|v| v.f().ok());
                of.bias = row.map(<[f32]>::to_vec);
                of.bias.is_some()
            }
            "Relu" => {
                of.activation = Activation::Relu;
                true
            }
            "Clip" => {
                let bound = |i: usize, name: &str, other: f32| {
                    if Self::missing(next, i) { Some(next.float(name, other)) } else { self.floats(next, i).and_then(|v| v.number().ok()) }
                };
                let (Some(low), Some(high)) = (bound(1, "min", f32::NEG_INFINITY), bound(2, "max", f32::INFINITY)) else { return false };
                of.activation = Activation::Clip(low, high);
                true
            }
            _ => false,
        }
    }

    /// A step between convolutions, with the channels last where that is how its input lies. Gives the node back where it stays as it is.
    fn between(&mut self, mut node: Node) -> Option<Node> {
        let rank = node
            .inputs
            .iter()
            .flatten()
            .find_map(|at| self.absent.contains(at).then(|| self.turned.get(at).map(|(_, rank)| *rank)).flatten());
        let (Some(rank), &[Some(output)]) = (rank, node.outputs.as_slice()) else { return Some(node) };
        let name = node.operator.name;
        let inputs = match name {
            "Clip" if (1..node.inputs.len()).all(|i| Self::missing(&node, i) || self.floats(&node, i).is_some()) => 1,
            "Concat" => node.inputs.len(),
            _ if ONE.contains(&name) => 1,
            _ if MORE.contains(&name) => node.inputs.len(),
            "BatchNormalization" => return self.normalised(node, rank, output),
            "GlobalAveragePool" | "AveragePool" | "MaxPool" => {
                let last = self.last(node.inputs[0]?, rank);
                node.operator = match name {
                    "GlobalAveragePool" => &steps::MEAN,
                    "AveragePool" => &steps::AVERAGE,
                    _ => &steps::LARGEST,
                };
                node.outputs = vec![Some(if name == "GlobalAveragePool" { output } else { self.made(output, rank) })];
                node.inputs = vec![Some(last)];
                self.out.push(node);
                return None;
            }
            _ => return Some(node),
        };
        // Each input is turned, or a constant.
        let ready = |at: &Option<usize>| {
            let Some(at) = at else { return false };
            let like = self.turned.get(at).is_some_and(|(_, own)| *own == rank);
            like || name != "Concat" && self.known.get(at).is_some_and(|v| v.f().is_ok() && v.rank() <= rank)
        };
        if !node.inputs[..inputs].iter().all(ready) {
            return Some(node);
        }
        if name == "Concat" {
            let axis = node.int("axis", 1);
            let axis = if axis < 0 { axis + rank as i64 } else { axis };
            let turned = match axis {
                0 => 0,
                1 => rank as i64 - 1,
                other => other - 1,
            };
            node.attributes.insert("axis".to_owned(), Attribute::Int(turned));
        }
        for i in 0..inputs {
            let at = node.inputs[i]?;
            node.inputs[i] = Some(match self.turned.get(&at) {
                Some((last, _)) => *last,
                None => self.constant(at, rank)?,
            });
        }
        node.outputs = vec![Some(self.made(output, rank))];
        self.out.push(node);
        None
    }

    /// A constant whose channels are last, for broadcasting against `rank` dimensions.
    fn constant(&mut self, at: usize, rank: usize) -> Option<usize> {
        let value = self.known.get(&at)?;
        let mut shape = vec![1; rank - value.rank()];
        shape.extend_from_slice(&value.shape);
        let own = strides(&shape);
        let order: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        let turned: Vec<usize> = order.iter().map(|a| shape[*a]).collect();
        let steps: Vec<isize> = order.iter().map(|a| own[*a] as isize).collect();
        let values = super::tape::gathered(value.f().ok()?, value.len(), &turned, &steps, 0);
        let value = Value::floats(turned, values).ok()?.like(value.kind);
        let last = self.fresh();
        self.known.insert(last, value);
        Some(last)
    }

    /// A normalisation that no convolution takes in: a product and a sum.
    fn normalised(&mut self, node: Node, rank: usize, output: usize) -> Option<Node> {
        let parameter = |i: usize| self.floats(&node, i).filter(|v| v.rank() == 1).and_then(|v| v.f().ok());
        let (Some(scale), Some(shift), Some(mean), Some(variance)) = (parameter(1), parameter(2), parameter(3), parameter(4)) else {
            return Some(node);
        };
        let n = scale.len();
        if node.int("training_mode", 0) != 0 || [shift, mean, variance].iter().any(|v| v.len() != n) {
            return Some(node);
        }
        let epsilon = node.float("epsilon", 1e-5);
        let scale: Vec<f32> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shift: Vec<f32> = shift.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        let (Some(mul), Some(add)) = (super::ops::find("", "Mul"), super::ops::find("", "Add")) else { return Some(node) };
        let (Ok(scale), Ok(shift)) = (Value::floats([n], scale), Value::floats([n], shift)) else { return Some(node) };
        let input = self.last(node.inputs[0]?, rank);
        let (a, b, between) = (self.fresh(), self.fresh(), self.fresh());
        self.known.extend([(a, scale), (b, shift)]);
        let last = self.made(output, rank);
        let make = |operator: &'static Operator, inputs: [usize; 2], output: usize| Node {
            operator,
            name: node.name.clone(),
            version: node.version,
            attributes: HashMap::new(),
            inputs: inputs.map(Some).to_vec(),
            outputs: vec![Some(output)],
            captures: Vec::new(),
            release: Vec::new(),
        };
        self.out.push(make(mul, [input, a], between));
        self.out.push(make(add, [between, b], last));
        None
    }
}

/// What a convolution or product with constant weights comes to.
struct Weighted {
    shape: Vec<usize>,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    groups: usize,
    activation: Activation,
    conv: bool,
}

impl Weighted {
    /// `[inputs, outputs]`, or `turned`, as weights of places.
    fn matrix(w: &Value, turned: bool, scale: f32, bias: Option<Vec<f32>>) -> Option<Self> {
        let values = w.f().ok()?;
        let (inputs, outputs) = if turned { (w.shape[1], w.shape[0]) } else { (w.shape[0], w.shape[1]) };
        let at = |o: usize, i: usize| scale * values[if turned { o * inputs + i } else { i * outputs + o }];
        let weights = (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))).map(|(o, i)| at(o, i)).collect();
        Some(Self { shape: vec![outputs, inputs], weights, bias, groups: 1, activation: Activation::None, conv: false })
    }
}

fn turn(operator: &'static Operator, from: usize, to: usize, rank: usize) -> Node {
    Node {
        operator,
        name: String::new(),
        version: 1,
        attributes: HashMap::from([("rank".to_owned(), Attribute::Int(rank as i64))]),
        inputs: vec![Some(from)],
        outputs: vec![Some(to)],
        captures: Vec::new(),
        release: Vec::new(),
    }
}
