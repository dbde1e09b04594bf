//! Quantization: straight through on the way back, products of integers forward only.

use super::{
    super::value::{Data, Kind, Value},
    Inputs, Node, Tape,
    conv::{convolve, framed},
    elementwise::one,
    matrix::matmul,
    table,
};
use crate::error::{Error, Result};
use std::sync::Arc;

table! {
    "QuantizeLinear" Straight |n, t, mut x| { let (v, s, z) = (x.take(0)?, x.take(1)?, x.opt(2)); one(quantize(n, t, v, s, z)) },
    "DequantizeLinear" Straight |n, t, mut x| { let (v, s, z) = (x.take(0)?, x.take(1)?, x.opt(2)); one(dequantize(n, t, v, s, z)) },
    "DynamicQuantizeLinear" Ends dynamic,
    "MatMulInteger" Ends |_, t, mut x| {
        let (a, b, za, zb) = (x.take(0)?, x.take(1)?, x.opt(2), x.opt(3));
        let za = za.map(|z| column(t, z)).transpose()?;
        let (a, b) = (shifted(t, a, za)?, shifted(t, b, zb)?);
        let y = matmul(t, a, b)?;
        one(t.cast(y, Kind::Int32))
    },
    "QLinearMatMul" Ends |n, t, mut x| {
        let (a, sa, za, b, sb, zb) = (x.take(0)?, x.take(1)?, x.take(2)?, x.take(3)?, x.take(4)?, x.take(5)?);
        let (sy, zy) = (x.take(6)?, x.take(7)?);
        let (sa, za) = (column(t, sa)?, column(t, za)?);
        let (a, b) = (shifted(t, a, Some(za))?, shifted(t, b, Some(zb))?);
        let y = matmul(t, a, b)?;
        let scale = t.mul(sa, sb)?;
        let y = t.mul(y, scale)?;
        one(quantize(n, t, y, sy, Some(zy)))
    },
    "ConvInteger" Ends |n, t, mut x| {
        let (v, w, zv, zw) = (x.take(0)?, x.take(1)?, x.opt(2), x.opt(3));
        let zw = zw.map(|z| per_filter(t, z, w.rank())).transpose()?;
        let (v, w) = (shifted(t, v, zv)?, shifted(t, w, zw)?);
        let (of, shape) = framed(n, &v, &w)?;
        let y = convolve(t, &v, &w, None, of, shape)?;
        one(t.cast(y, Kind::Int32))
    },
    "QLinearConv" Ends |n, t, mut x| {
        let (v, sv, zv, w, sw, zw) = (x.take(0)?, x.take(1)?, x.take(2)?, x.take(3)?, x.take(4)?, x.take(5)?);
        let (sy, zy, bias) = (x.take(6)?, x.take(7)?, x.opt(8));
        let zw = per_filter(t, zw, w.rank())?;
        let (v, w) = (shifted(t, v, Some(zv))?, shifted(t, w, Some(zw))?);
        let (of, shape) = framed(n, &v, &w)?;
        let bias = bias.map(|b| t.cast(b, Kind::Float)).transpose()?;
        let y = convolve(t, &v, &w, bias.as_ref(), of, shape)?;
        let scale = t.mul(sv, sw)?;
        let scale = if scale.len() > 1 { let (n, mut s) = (scale.len(), vec![1; y.rank() - 1]); s[0] = n; t.reshape(scale, s)? } else { scale };
        let y = t.mul(y, scale)?;
        one(quantize(n, t, y, sy, Some(zy)))
    },
}

/// Zero points of rows stand under each other.
fn column(t: &mut Tape, z: Value) -> Result<Value> {
    if z.rank() != 1 || z.len() == 1 {
        return Ok(z);
    }
    let n = z.len();
    t.reshape(z, [n, 1])
}

fn per_filter(t: &mut Tape, z: Value, rank: usize) -> Result<Value> {
    if z.len() == 1 {
        return t.reshape(z, Vec::new());
    }
    let mut shape = vec![1; rank];
    shape[0] = z.len();
    t.reshape(z, shape)
}

/// Integers less their zero point, as floats (exact: they have 8 bits).
fn shifted(t: &mut Tape, x: Value, zero: Option<Value>) -> Result<Value> {
    let x = t.cast(x, Kind::Float)?;
    match zero {
        Some(zero) => {
            let zero = t.cast(zero, Kind::Float)?;
            t.sub(x, zero)
        }
        None => Ok(x),
    }
}

/// A scale or zero point laid along its axis, or repeated a block.
fn laid(node: &Node, t: &mut Tape, of: Value, x: &Value) -> Result<Value> {
    if of.len() == 1 {
        return t.reshape(of, Vec::new());
    }
    let axis = x.axis(node.int("axis", 1))?;
    let block = node.int("block_size", 0);
    if block > 0 && of.rank() == x.rank() {
        let n = of.dim(axis)?;
        let index = Value::vector((0..x.shape[axis]).map(|i| (i as i64 / block).min(n as i64 - 1)).collect())?;
        return super::index::pick(t, &of, &index, axis);
    }
    let mut shape = vec![1; x.rank()];
    shape[axis] = of.len();
    t.reshape(of, shape)
}

fn quantize(node: &Node, t: &mut Tape, x: Value, scale: Value, zero: Option<Value>) -> Result<Value> {
    let kind = match &zero {
        Some(zero) => zero.kind,
        None => match node.int("output_dtype", 0) {
            0 => Kind::Uint8,
            code => Kind::from_code(code)?,
        },
    };
    let (low, high) = kind.range().ok_or_else(|| Error::model(format!("cannot quantize to {kind:?}")))?;
    let x = t.cast(x, Kind::Float)?;
    let scale = t.cast(scale, Kind::Float)?;
    let scale = laid(node, t, scale, &x)?;
    let zero = match zero {
        Some(zero) => laid(node, t, zero, &x)?.to_floats_value()?,
        None => Value::floats([], vec![0.0])?,
    };
    let y = t.div(x, scale)?;
    let y = t.map_out(y, f32::round_ties_even, |_| 1.0)?;
    let y = t.add(y, zero)?;
    let (low, high) = (low as f32, high as f32);
    let y = t.map_in(y, move |v| v.clamp(low, high), move |v| f32::from(u8::from(v >= low && v <= high)))?;
    let ints = Data::Int(Arc::new(y.f()?.iter().map(|v| *v as i64).collect()));
    Ok(Value { shape: y.shape, kind, data: ints, node: y.node })
}

impl Value {
    fn to_floats_value(&self) -> Result<Self> {
        Self::floats(self.shape.clone(), self.to_floats())
    }
}

fn dequantize(node: &Node, t: &mut Tape, x: Value, scale: Value, zero: Option<Value>) -> Result<Value> {
    // The place on the tape stays: the gradient goes straight through the integers.
    let mut floats = x.to_floats_value()?;
    floats.node = x.node;
    let kind = scale.kind;
    let scale = laid(node, t, scale, &x)?;
    let floats = match zero {
        Some(zero) => {
            let zero = laid(node, t, zero, &x)?.to_floats_value()?;
            t.sub(floats, zero)?
        }
        None => floats,
    };
    Ok(t.mul(floats, scale)?.like(kind))
}

fn dynamic(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?.detached();
    let (low, high) = v.f()?.iter().fold((0.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
    let scale = (high - low) / 255.0;
    let zero = if scale > 0.0 { (-low / scale).clamp(0.0, 255.0).round_ties_even() } else { 0.0 };
    let scale = Value::floats([], vec![scale])?;
    let zero = Value::ints(Kind::Uint8, [], vec![zero as i64])?;
    Ok(vec![quantize(node, t, v, scale.clone(), Some(zero.clone()))?, scale, zero])
}
