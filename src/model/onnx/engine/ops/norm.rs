//! Normalizations and softmaxes.

use super::{super::value::Value, Inputs, Node, Tape, elementwise::one, table};
use crate::error::{Error, Result};

table! {
    "BatchNormalization" Exact batch,
    "InstanceNormalization" Exact |n, t, mut x| {
        let (v, scale, shift) = (x.take(0)?, x.take(1)?, x.take(2)?);
        let (rows, c) = (v.dim(0)? * v.dim(1)?, v.dim(1)?);
        let own = normal(t, v, rows, n.float("epsilon", 1e-5), true)?.0;
        let rank = own.rank();
        one(affine(t, own, scale, shift, c, rank))
    },
    "GroupNormalization" Exact group,
    "LayerNormalization" Exact layer,
    "RMSNormalization" Exact |n, t, mut x| {
        let (v, scale) = (x.take(0)?, x.take(1)?);
        let axis = v.axis(n.int("axis", -1))?;
        let rows = v.shape[..axis].iter().product();
        let own = normal(t, v, rows, n.float("epsilon", 1e-5), false)?.0;
        one(t.mul(own, scale))
    },
    "MeanVarianceNormalization" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let axes = match n.ints("axes") {
            Some(axes) => axes.iter().map(|a| v.axis(*a)).collect::<Result<Vec<_>>>()?,
            None => vec![0, 2, 3],
        };
        let keep: Vec<usize> = (0..v.rank()).filter(|i| !axes.contains(i)).collect();
        let order: Vec<usize> = keep.iter().chain(&axes).copied().collect();
        let turned = t.transpose(&v, &order)?;
        let rows = keep.iter().map(|i| v.dim(*i)).product::<Result<usize>>()?;
        let own = normal(t, turned, rows, 1e-9, true)?.0;
        one(t.transpose(&own, &inverse(&order)))
    },
    "LpNormalization" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let (axis, p) = (v.axis(n.int("axis", -1))?, n.int("p", 2));
        let size = if p == 1 { t.map_in(v.clone(), f32::abs, f32::signum)? } else { t.map_in(v.clone(), |v| v * v, |x| 2.0 * x)? };
        let mut size = t.sum(&size, &[axis])?;
        if p != 1 {
            size = t.map_out(size, f32::sqrt, |y| if y == 0.0 { 0.0 } else { 0.5 / y })?;
        }
        one(t.div(v, size))
    },
    "LRN" Exact lrn,
    "Softmax" Exact |n, t, x| soft(n, t, x, softmax),
    "LogSoftmax" Exact |n, t, x| soft(n, t, x, log_softmax),
    "Hardmax" Ends |n, t, x| soft(n, t, x, hardmax),
}

/// The order that undoes an order.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, a)| back[*a] = i);
    back
}

/// `x * scale + shift` a channel (the second dimension).
fn affine(t: &mut Tape, x: Value, scale: Value, shift: Value, channels: usize, rank: usize) -> Result<Value> {
    let mut shape = vec![1; rank.saturating_sub(1).max(1)];
    shape[0] = channels;
    let (scale, shift) = (t.reshape(scale, shape.clone())?, t.reshape(shift, shape)?);
    let x = t.mul(x, scale)?;
    t.add(x, shift)
}

fn batch(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    if node.int("training_mode", 0) != 0 {
        return Err(Error::model("batch normalisation in training mode mixes the rows of a batch; export the model in evaluation mode"));
    }
    let (v, scale, shift, mean, variance) = (x.take(0)?, x.take(1)?, x.take(2)?, x.take(3)?, x.take(4)?);
    let (channels, rank, epsilon) = (v.dim(1)?, v.rank(), node.float("epsilon", 1e-5));
    let root = t.map_out(variance, move |v| 1.0 / (v + epsilon).sqrt(), |y| -0.5 * y * y * y)?;
    let scale = t.mul(scale, root)?;
    let away = t.mul(mean, scale.clone())?;
    let shift = t.sub(shift, away)?;
    one(affine(t, v, scale, shift, channels, rank))
}

/// Rows brought to mean 0 (where `centred`) and mean square 1; also each row's mean and inverse deviation.
pub(in crate::model::onnx) fn normal(
    t: &mut Tape,
    x: Value,
    rows: usize,
    epsilon: f32,
    centred: bool,
) -> Result<(Value, Vec<f32>, Vec<f32>)> {
    let n = x.len().checked_div(rows).unwrap_or(0);
    if n == 0 || n * rows != x.len() {
        return Err(Error::model("nothing to normalise"));
    }
    let (shape, kind, node) = (x.shape.clone(), x.kind, x.node);
    t.spend(x.len() * 2)?;
    let mut values = x.into_floats()?;
    let (mut means, mut roots) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in values.chunks_exact_mut(n) {
        let mean = if centred { super::super::tape::lanes(row) / n as f32 } else { 0.0 };
        row.iter_mut().for_each(|v| *v -= mean);
        let squares: f64 = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        let root = (1.0 / (squares / n as f64 + f64::from(epsilon)).sqrt()) as f32;
        row.iter_mut().for_each(|v| *v *= root);
        means.push(mean);
        roots.push(root);
    }
    let out = Value::floats(shape, values)?.like(kind);
    let (y, back_roots) = (out.arc()?, roots.clone());
    let out = t.record(out, &[node], || {
        Box::new(move |mut g| {
            for ((g, y), root) in g.chunks_exact_mut(n).zip(y.chunks_exact(n)).zip(back_roots) {
                let mean = if centred { super::super::tape::lanes(g) / n as f32 } else { 0.0 };
                let along = g.iter().zip(y).map(|(g, y)| g * y).sum::<f32>() / n as f32;
                g.iter_mut().zip(y).for_each(|(g, y)| *g = root * (*g - mean - y * along));
            }
            Ok(vec![Some(g)])
        })
    });
    Ok((out, means, roots))
}

fn layer(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, scale, shift) = (x.take(0)?, x.opt(1), x.opt(2));
    let axis = v.axis(node.int("axis", -1))?;
    let mut shape = v.shape.clone();
    shape[axis..].fill(1);
    let rows = v.shape[..axis].iter().product();
    let (mut y, means, roots) = normal(t, v, rows, node.float("epsilon", 1e-5), true)?;
    if let Some(scale) = scale {
        y = t.mul(y, scale)?;
    }
    if let Some(shift) = shift {
        y = t.add(y, shift)?;
    }
    Ok(vec![y, Value::floats(shape.clone(), means)?, Value::floats(shape, roots)?])
}

fn group(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, scale, shift) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let (channels, rank, shape) = (v.dim(1)?, v.rank(), v.shape.clone());
    let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|g| *g > 0 && channels.is_multiple_of(*g));
    let groups = groups.ok_or_else(|| Error::model("the groups do not divide the channels"))?;
    let y = normal(t, v, shape[0] * groups, node.float("epsilon", 1e-5), true)?.0;
    if scale.len() == channels {
        return one(affine(t, y, scale, shift, channels, rank));
    }
    // Up to version 20 there is one scale a group.
    let inner = y.len() / (shape[0] * groups).max(1);
    let apart = t.reshape(y, [shape[0], groups, inner])?;
    let y = affine(t, apart, scale, shift, groups, 3)?;
    one(t.reshape(y, shape))
}

fn lrn(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let (alpha, beta, bias) = (node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0));
    let size = node.sizes_of("size")?;
    let c = v.dim(1)?;
    if c.saturating_mul(size.min(c)) > 1 << 26 {
        return Err(Error::model("the window of a normalisation is too large"));
    }
    let rows = (0..c).map(|i| (i.saturating_sub((size - 1) / 2)..(i + size / 2 + 1).min(c)).map(|j| (j, 1.0)).collect()).collect();
    let squares = t.map_in(v.clone(), |v| v * v, |x| 2.0 * x)?;
    let sums = t.along(&squares, 1, rows)?;
    let scale = t.affine(sums, alpha / size as f32, bias)?;
    let scale = t.map_in(scale, move |v| v.powf(-beta), move |x| -beta * x.powf(-beta - 1.0))?;
    one(t.mul(v, scale))
}

impl Node {
    fn sizes_of(&self, name: &str) -> Result<usize> {
        usize::try_from(self.int(name, 0)).ok().filter(|n| *n > 0).ok_or_else(|| Error::model(format!("`{name}` should be at least 1")))
    }
}

/// Applies `f` to the rows of the asked axis.
fn soft(node: &Node, t: &mut Tape, mut x: Inputs, f: impl FnOnce(&mut Tape, Value) -> Result<Value>) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let shape = v.shape.clone();
    if node.version < 13 {
        // All dimensions from the axis on are one.
        let axis = v.axis(node.int("axis", 1))?;
        let (a, b): (usize, usize) = (shape[..axis].iter().product(), shape[axis..].iter().product());
        let flat = t.reshape(v, [a, b])?;
        let y = f(t, flat)?;
        return one(t.reshape(y, shape));
    }
    let axis = v.axis(node.int("axis", -1))?;
    if axis + 1 == v.rank() {
        return one(f(t, v));
    }
    let mut order: Vec<usize> = (0..v.rank()).collect();
    order.remove(axis);
    order.push(axis);
    let turned = t.transpose(&v, &order)?;
    let y = f(t, turned)?;
    one(t.transpose(&y, &inverse(&order)))
}

fn row_length(v: &Value) -> usize {
    v.shape.last().copied().unwrap_or(1).max(1)
}

pub(in crate::model::onnx) fn softmax(t: &mut Tape, x: Value) -> Result<Value> {
    let (shape, kind, node, n) = (x.shape.clone(), x.kind, x.node, row_length(&x));
    t.spend(x.len() * 4)?;
    let mut values = x.into_floats()?;
    for row in values.chunks_exact_mut(n) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|v| *v = (*v - top).exp());
        let sum = super::super::tape::lanes(row);
        row.iter_mut().for_each(|v| *v /= sum);
    }
    let out = Value::floats(shape, values)?.like(kind);
    let y = out.arc()?;
    Ok(t.record(out, &[node], || {
        Box::new(move |mut g| {
            for (g, y) in g.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
                let along: f32 = g.iter().zip(y).map(|(g, y)| g * y).sum();
                g.iter_mut().zip(y).for_each(|(g, y)| *g = y * (*g - along));
            }
            Ok(vec![Some(g)])
        })
    }))
}

pub(in crate::model::onnx) fn log_softmax(t: &mut Tape, x: Value) -> Result<Value> {
    let (shape, kind, node, n) = (x.shape.clone(), x.kind, x.node, row_length(&x));
    t.spend(x.len() * 4)?;
    let mut values = x.into_floats()?;
    for row in values.chunks_exact_mut(n) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log = row.iter().map(|v| (*v - top).exp()).sum::<f32>().ln() + top;
        row.iter_mut().for_each(|v| *v -= log);
    }
    let out = Value::floats(shape, values)?.like(kind);
    let y = out.arc()?;
    Ok(t.record(out, &[node], || {
        Box::new(move |mut g| {
            for (g, y) in g.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
                let sum: f32 = g.iter().sum();
                g.iter_mut().zip(y).for_each(|(g, y)| *g -= y.exp() * sum);
            }
            Ok(vec![Some(g)])
        })
    }))
}

fn hardmax(_: &mut Tape, x: Value) -> Result<Value> {
    let (shape, kind, n) = (x.shape.clone(), x.kind, row_length(&x));
    let mut values = x.into_floats()?;
    for row in values.chunks_exact_mut(n) {
        let mut best = 0;
        (1..n).for_each(|i| {
            if row[i] > row[best] {
                best = i
            }
        });
        row.iter_mut().enumerate().for_each(|(i, v)| *v = f32::from(u8::from(i == best)));
    }
    Ok(Value::floats(shape, values)?.like(kind))
}
