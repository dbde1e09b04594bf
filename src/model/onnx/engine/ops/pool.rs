//! Pools: the largest, the mean or a norm of each window.

use super::{
    super::value::{Value, elements},
    Inputs, Node, Tape,
    conv::{Frame, three},
    elementwise::one,
    table,
};
use crate::error::{Error, Result};

table! {
    "MaxPool" Exact max_pool,
    "AveragePool" Exact |n, t, mut x| { let v = x.take(0)?; one(average(n, t, &v, 2)) },
    "LpPool" Exact lp_pool,
    "GlobalAveragePool" Exact |_, t, mut x| { let v = x.take(0)?; one(whole(t, &v, true)) },
    "GlobalMaxPool" Exact |_, t, mut x| {
        let v = x.take(0)?;
        let axes: Vec<usize> = (2..v.rank()).collect();
        one(super::reduce::extreme(t, &v, &axes, true))
    },
    "GlobalLpPool" Exact |n, t, mut x| {
        let (v, p) = (x.take(0)?, n.int("p", 2) as f32);
        let raised = t.map_in(v, move |v| v.abs().powf(p), move |v| p * v.abs().powf(p - 1.0) * v.signum())?;
        let sum = whole(t, &raised, false)?;
        one(t.map_out(sum, move |v| v.powf(1.0 / p), move |y| y.powf(1.0 - p) / p))
    },
    "MaxUnpool" Exact unpool,
}

/// Windows over the dimensions from `first` on.
pub(super) fn frame(node: &Node, v: &Value, first: usize) -> Result<Frame> {
    if v.rank() < 3 {
        return Err(Error::model(format!("a pool needs at least three dimensions, found {:?}", v.shape)));
    }
    if node.ints("kernel_shape").is_none() {
        return Err(Error::model("a pool without `kernel_shape`"));
    }
    let of = Frame::new(node, &v.shape[first..first + v.rank() - 2], node.sizes("kernel_shape", v.rank() - 2, 1, 1)?)?;
    if of.kernel.iter().zip(&of.output).any(|(k, n)| k.saturating_mul(*n) > 1 << 26) {
        return Err(Error::model("the window of a pool is too large"));
    }
    Ok(of)
}

fn whole(t: &mut Tape, v: &Value, mean: bool) -> Result<Value> {
    let axes: Vec<usize> = (2..v.rank()).collect();
    let n: usize = v.shape.iter().skip(2).product();
    let sum = t.sum(v, &axes)?;
    if mean { t.affine(sum, 1.0 / n as f32, 0.0) } else { Ok(sum) }
}

/// Each window's places along one axis.
fn rows(of: &Frame, axis: usize, size: usize) -> Vec<Vec<usize>> {
    let place = |i: usize, k: usize| (i * of.stride[axis] + k * of.dilation[axis]).checked_sub(of.begin[axis]).filter(|p| *p < size);
    (0..of.output[axis]).map(|i| (0..of.kernel[axis]).filter_map(|k| place(i, k)).collect()).collect()
}

/// Each window's places along all three axes.
pub(super) fn places(of: &Frame, input: [usize; 3]) -> Result<[Vec<Vec<usize>>; 3]> {
    let lift = |of: &[usize], fill| three(of, fill).map(|v| v.to_vec());
    let wide = Frame {
        kernel: lift(&of.kernel, 1)?,
        stride: lift(&of.stride, 1)?,
        dilation: lift(&of.dilation, 1)?,
        begin: lift(&of.begin, 0)?,
        end: lift(&of.end, 0)?,
        output: lift(&of.output, 1)?,
    };
    Ok([0, 1, 2].map(|a| rows(&wide, a, input[a])))
}

/// The mean of every window, one axis after another; `first` is the first one.
pub(super) fn average(node: &Node, t: &mut Tape, v: &Value, first: usize) -> Result<Value> {
    let of = frame(node, v, first)?;
    let padded = node.int("count_include_pad", 0) != 0;
    let mut out = v.clone();
    for axis in 0..of.output.len() {
        let size = v.shape[axis + first];
        let weighted = rows(&of, axis, size).into_iter().enumerate().map(|(i, row)| {
            // A window counts its padding, but never what lies beyond it.
            let inside = |k: &usize| i * of.stride[axis] + k * of.dilation[axis] < of.begin[axis] + size + of.end[axis];
            let n = if padded { (0..of.kernel[axis]).filter(inside).count() } else { row.len() };
            row.into_iter().map(|j| (j, 1.0 / n as f32)).collect()
        });
        out = t.along(&out, axis + first, weighted.collect())?;
    }
    Ok(out)
}

fn lp_pool(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, p) = (x.take(0)?, node.int("p", 2) as f32);
    let of = frame(node, &v, 2)?;
    let sizes = v.shape.clone();
    let mut out = t.map_in(v, move |v| v.abs().powf(p), move |v| p * v.abs().powf(p - 1.0) * v.signum())?;
    for axis in 0..of.output.len() {
        let ones = rows(&of, axis, sizes[axis + 2]).into_iter().map(|row| row.into_iter().map(|j| (j, 1.0)).collect());
        out = t.along(&out, axis + 2, ones.collect())?;
    }
    one(t.map_out(out, move |v| v.powf(1.0 / p), move |y| y.powf(1.0 - p) / p))
}

fn max_pool(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let of = frame(node, &v, 2)?;
    let shape = [&v.shape[..2], of.output.as_slice()].concat();
    let n = elements(&shape)?;
    t.spend(n.saturating_mul(of.kernel.iter().product()))?;
    let input = three(&v.shape[2..], 1)?;
    let places = places(&of, input)?;
    let (plane_in, planes) = (input.iter().product::<usize>(), v.shape[0] * v.shape[1]);
    let mut index = Vec::with_capacity(n);
    // Integers up to 2^24 are exact as floats, and pools of integers are of bytes.
    let floats = if v.kind.is_float() { v.arc()? } else { std::sync::Arc::new(v.to_floats()) };
    for plane in 0..planes {
        let values = &floats[plane * plane_in..(plane + 1) * plane_in];
        for d in &places[0] {
            for h in &places[1] {
                for w in &places[2] {
                    let (mut best, mut largest) = (usize::MAX, f32::NEG_INFINITY);
                    for id in d {
                        for ih in h {
                            let line = (id * input[1] + ih) * input[2];
                            for iw in w {
                                let value = values[line + iw];
                                if value > largest || best == usize::MAX || value.is_nan() {
                                    (best, largest) = (line + iw, value);
                                }
                            }
                        }
                    }
                    index.push(if best == usize::MAX { best } else { plane * plane_in + best });
                }
            }
        }
    }
    drop(floats);
    let column_major = node.int("storage_order", 0) != 0;
    let named = index.iter().map(|i| {
        let (plane, at) = (i / plane_in.max(1), i % plane_in.max(1));
        let swapped = (at / (input[1] * input[2]) * input[2] + at % input[2]) * input[1] + at / input[2] % input[1];
        (plane * plane_in + if column_major { swapped } else { at }) as i64
    });
    let indices = Value::ints(super::super::Kind::Int64, shape.clone(), named.collect())?;
    let y = t.select(&v, shape, index, f32::NEG_INFINITY)?;
    Ok(vec![y, indices])
}

fn unpool(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, index, asked) = (x.take(0)?, x.take(1)?, x.opt(2));
    if v.rank() < 3 {
        return Err(Error::model("expected at least three dimensions"));
    }
    let n = v.rank() - 2;
    let (kernel, stride) = (node.sizes("kernel_shape", n, 1, 1)?, node.sizes("strides", n, 1, 1)?);
    let pads = node.sizes("pads", 2 * n, 0, 0)?;
    let mut own = v.shape[..2].to_vec();
    for i in 0..n {
        let full = (v.shape[i + 2].saturating_sub(1) * stride[i] + kernel[i]).checked_sub(pads[i] + pads[i + n]);
        own.push(full.ok_or_else(|| Error::model("the padding is larger than the output"))?);
    }
    let asked = asked.map(|s| s.i()?.iter().map(|v| usize::try_from(*v).map_err(|_| Error::model("a negative size"))).collect());
    let shape: Vec<usize> = asked.unwrap_or_else(|| Ok(own.clone()))?;
    if shape.len() != own.len() {
        return Err(Error::model(format!("`output_shape` should have {} sizes", own.len())));
    }
    // Places are those of the shape that the pool looked at; a larger output keeps rows and columns.
    let (from, to) = (super::super::value::strides(&own), super::super::value::strides(&shape));
    let place = |i: &i64| {
        let i = usize::try_from(*i).ok()?;
        let at = from.iter().zip(&own).map(|(s, n)| i / s % n.max(&1));
        let at: Vec<usize> = at.collect();
        at.iter().zip(&shape).all(|(a, n)| a < n).then(|| at.iter().zip(&to).map(|(a, s)| a * s).sum())
    };
    let index: Option<Vec<usize>> = index.i()?.iter().map(place).collect();
    one(t.spread(&v, shape, index.ok_or_else(|| Error::model("an index lies outside the output"))?))
}
