//! Reductions along axes, places of extremes, running sums.

use super::{
    super::value::{Kind, Value, axis_of, elements, strides, walk},
    Inputs, Node, Tape,
    elementwise::one,
    table,
};
use crate::error::{Error, Result};

table! {
    "ReduceSum" Exact |n, t, x| reduce(n, t, x, |t, v, a| t.sum(&v, a)),
    "ReduceMean" Exact |n, t, x| reduce(n, t, x, mean),
    "ReduceMax" Exact |n, t, x| reduce(n, t, x, |t, v, a| extreme(t, &v, a, true)),
    "ReduceMin" Exact |n, t, x| reduce(n, t, x, |t, v, a| extreme(t, &v, a, false)),
    "ReduceProd" Exact |n, t, x| reduce(n, t, x, |t, v, a| multiply(t, &v, a)),
    "ReduceL1" Exact |n, t, x| reduce(n, t, x, |t, v, a| { let v = t.map_in(v, f32::abs, f32::signum)?; t.sum(&v, a) }),
    "ReduceL2" Exact |n, t, x| reduce(n, t, x, |t, v, a| {
        let v = t.map_in(v, |v| v * v, |x| 2.0 * x)?;
        let s = t.sum(&v, a)?;
        // At 0 the gradient is 0, not infinite.
        t.map_out(s, f32::sqrt, |y| if y == 0.0 { 0.0 } else { 0.5 / y })
    }),
    "ReduceSumSquare" Exact |n, t, x| reduce(n, t, x, |t, v, a| { let v = t.map_in(v, |v| v * v, |x| 2.0 * x)?; t.sum(&v, a) }),
    "ReduceLogSum" Exact |n, t, x| reduce(n, t, x, |t, v, a| { let s = t.sum(&v, a)?; t.map_in(s, f32::ln, |x| 1.0 / x) }),
    "ReduceLogSumExp" Exact |n, t, x| reduce(n, t, x, |t, v, a| {
        let top = extreme(t, &v.detached(), a, true)?;
        let top = t.map_in(top, |v| if v.is_finite() { v } else { 0.0 }, |_| 0.0)?;
        let v = t.sub(v, top.clone())?;
        let e = t.map_out(v, f32::exp, |y| y)?;
        let s = t.sum(&e, a)?;
        let l = t.map_in(s, f32::ln, |x| 1.0 / x)?;
        t.add(l, top)
    }),
    "ArgMax" Ends |n, _, mut x| one(place(n, &x.take(0)?, true)),
    "ArgMin" Ends |n, _, mut x| one(place(n, &x.take(0)?, false)),
    "CumSum" Exact cumulative,
    "TopK" Exact top,
}

fn reduce(node: &Node, t: &mut Tape, mut x: Inputs, f: impl FnOnce(&mut Tape, Value, &[usize]) -> Result<Value>) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let given = match (x.opt(1), node.ints("axes")) {
        (Some(axes), _) => axes.i()?.to_vec(),
        (None, Some(axes)) => axes.to_vec(),
        (None, None) => Vec::new(),
    };
    if given.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
        return one(Ok(v));
    }
    let axes: Vec<usize> =
        if given.is_empty() { (0..v.rank()).collect() } else { given.iter().map(|a| v.axis(*a)).collect::<Result<_>>()? };
    let mut shape = v.shape.clone();
    axes.iter().for_each(|a| shape[*a] = 1);
    let (kind, keep) = (v.kind, node.int("keepdims", 1) != 0);
    // Integers are reduced as doubles would be: exactly up to 2^24.
    let floats = if kind.is_float() { v } else { t.cast(v, Kind::Float)? };
    let mut out = f(t, floats, &axes)?;
    if !kind.is_float() {
        out = t.cast(out, kind)?;
    }
    if !keep {
        shape = shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, n)| *n).collect();
    }
    one(t.reshape(out, shape))
}

fn mean(t: &mut Tape, v: Value, axes: &[usize]) -> Result<Value> {
    let n: usize = axes.iter().map(|a| v.shape[*a]).product();
    let sum = t.sum(&v, axes)?;
    t.affine(sum, 1.0 / n as f32, 0.0)
}

/// For each reduced place the places of `v` that go into it, in order.
fn groups(v: &Value, axes: &[usize], mut visit: impl FnMut(usize, usize)) -> Vec<usize> {
    let mut kept = v.shape.clone();
    axes.iter().for_each(|a| kept[*a] = 1);
    let own = strides(&kept);
    let steps: Vec<isize> = (0..v.rank()).map(|i| if axes.contains(&i) { 0 } else { own[i] as isize }).collect();
    walk(&v.shape, &steps, 0, |at, to, n, s| (0..n).for_each(|i| visit(at + i, (to + s * i as isize) as usize)));
    kept
}

/// The largest or smallest along axes; the gradient goes to the first such place.
pub(super) fn extreme(t: &mut Tape, v: &Value, axes: &[usize], largest: bool) -> Result<Value> {
    let values = v.f()?;
    let n: usize = v.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, n)| *n).product();
    let mut best = vec![usize::MAX; n];
    let shape = groups(v, axes, |from, to| {
        let own = values[from];
        let better = |old: f32| own.is_nan() || if largest { own > old } else { own < old };
        if best[to] == usize::MAX || better(values[best[to]]) {
            best[to] = from;
        }
    });
    t.select(v, shape, best, if largest { f32::NEG_INFINITY } else { f32::INFINITY })
}

fn multiply(t: &mut Tape, v: &Value, axes: &[usize]) -> Result<Value> {
    let input = v.arc()?;
    let n: usize = v.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, n)| *n).product();
    let mut out = vec![1.0f32; n];
    let mut home = vec![0; v.len()];
    let shape = groups(v, axes, |from, to| {
        out[to] *= input[from];
        home[from] = to;
    });
    let out = Value::floats(shape, out)?.like(v.kind);
    Ok(t.record(out, &[v.node], || {
        Box::new(move |g| {
            // The product of the others, from both sides, so that zeros do no harm.
            let (mut left, mut right) = (vec![1.0f32; n], vec![1.0f32; n]);
            let mut own = vec![0.0; input.len()];
            for (i, to) in home.iter().enumerate() {
                own[i] = g[*to] * left[*to];
                left[*to] *= input[i];
            }
            for (i, to) in home.iter().enumerate().rev() {
                own[i] *= right[*to];
                right[*to] *= input[i];
            }
            Ok(vec![Some(own)])
        })
    }))
}

fn place(node: &Node, v: &Value, largest: bool) -> Result<Value> {
    let axis = v.axis(node.int("axis", 0))?;
    let last = node.int("select_last_index", 0) != 0;
    let values = v.to_floats();
    let n: usize = v.shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, n)| *n).product();
    if v.shape[axis] == 0 {
        return Err(Error::model("the extreme of no values"));
    }
    let mut best: Vec<Option<usize>> = vec![None; n];
    let mut shape = groups(v, &[axis], |from, to| {
        let better = best[to].is_none_or(|old| {
            let (a, b) = (values[from], values[old]);
            (a == b && last) || if largest { a > b } else { a < b }
        });
        if better {
            best[to] = Some(from);
        }
    });
    let step = strides(&v.shape)[axis];
    if node.int("keepdims", 1) == 0 {
        shape.remove(axis);
    }
    Value::ints(Kind::Int64, shape, best.into_iter().map(|b| (b.unwrap_or(0) / step % v.shape[axis]) as i64).collect())
}

fn cumulative(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, axis) = (x.take(0)?, x.take(1)?.int()?);
    let axis = v.axis(axis)?;
    let (kind, n) = (v.kind, v.shape[axis]);
    let (exclusive, reverse) = (node.int("exclusive", 0) != 0, node.int("reverse", 0) != 0);
    let floats = if kind.is_float() { v } else { t.cast(v, Kind::Float)? };
    let inner: usize = floats.shape[axis + 1..].iter().product();
    let run = move |values: &mut [f32], backwards: bool| {
        for block in values.chunks_exact_mut((n * inner).max(1)) {
            for c in 0..inner {
                let mut sum = 0.0;
                for i in 0..n {
                    let at = if backwards { n - 1 - i } else { i } * inner + c;
                    let own = block[at];
                    block[at] = if exclusive { sum } else { sum + own };
                    sum += own;
                }
            }
        }
    };
    let (shape, node) = (floats.shape.clone(), floats.node);
    t.spend(floats.len())?;
    let mut values = floats.into_floats()?;
    run(&mut values, reverse);
    let out = Value::floats(shape, values)?.like(kind);
    let out = t.record(out, &[node], || {
        Box::new(move |mut g| {
            run(&mut g, !reverse);
            Ok(vec![Some(g)])
        })
    });
    one(t.cast(out, kind))
}

fn top(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let k = match x.opt(1) {
        Some(k) => k.int()?,
        None => node.int("k", 0),
    };
    let axis = v.axis(node.int("axis", -1))?;
    let n = v.shape[axis];
    let k = usize::try_from(k).ok().filter(|k| *k <= n).ok_or_else(|| Error::model(format!("cannot take the top {k} of {n}")))?;
    let largest = node.int("largest", 1) != 0;
    let values = v.to_floats();
    let step = strides(&v.shape)[axis];
    let mut shape = v.shape.clone();
    shape[axis] = k;
    let count = elements(&shape)?;
    let (mut index, mut named) = (vec![0usize; count], vec![0i64; count]);
    let outer: usize = v.shape[..axis].iter().product();
    t.spend(v.len().saturating_mul(8))?;
    for o in 0..outer {
        for i in 0..step {
            let start = o * n * step + i;
            let mut order: Vec<usize> = (0..n).collect();
            let of = |j: usize| values[start + j * step];
            order.sort_by(|a, b| if largest { of(*b).total_cmp(&of(*a)) } else { of(*a).total_cmp(&of(*b)) });
            for (r, j) in order.into_iter().take(k).enumerate() {
                let at = (o * k + r) * step + i;
                (index[at], named[at]) = (start + j * step, j as i64);
            }
        }
    }
    let indices = Value::ints(Kind::Int64, shape.clone(), named)?;
    Ok(vec![t.select(&v, shape, index, 0.0)?, indices])
}

/// Axes of an input or an attribute.
pub(super) fn axes(node: &Node, given: Option<Value>, rank: usize) -> Result<Option<Vec<usize>>> {
    let found = match (given, node.ints("axes")) {
        (Some(axes), _) => axes.i()?.to_vec(),
        (None, Some(axes)) => axes.to_vec(),
        (None, None) => return Ok(None),
    };
    found.iter().map(|a| axis_of(*a, rank)).collect::<Result<_>>().map(Some)
}
