//! The tape: what a pass through the graph did, so that it can be gone back along. Every operator is made of the steps of `tape` and its
//! neighbours, each of which knows its own way back; a pass that wants no gradient records nothing.

use super::rooms::Rooms;
use super::value::{Data, Kind, Value, broadcast, elements, stretched, strides, walk, walk2};
use crate::error::{Error, Result};
use std::sync::Arc;

/// From the gradient of a step's result to the gradients of what it was made of, in the order they were named.
pub(in crate::model::onnx) type Back = Box<dyn FnOnce(Vec<f32>) -> Result<Vec<Option<Vec<f32>>>>>;

struct Entry {
    parents: Vec<Option<usize>>,
    back: Option<Back>,
}

/// Units of work (about a multiplication each) that one pass may cost.
const MAX_WORK: u64 = 1 << 38;
/// The most elements that the steps of one pass may make, all together.
const MAX_MADE: u64 = 1 << 31;

/// The record of one pass.
pub struct Tape {
    entries: Vec<Entry>,
    work: u64,
    made: u64,
    /// The most of both.
    most: (u64, u64),
    /// Multiplications with an addition, of convolutions and matrix products alone.
    pub(super) products: u64,
    /// Where it is asked for: what is alive at once.
    pub(super) meter: Option<Meter>,
    pub(super) rooms: Arc<Rooms>,
}

impl Default for Tape {
    fn default() -> Self {
        Self::limited(MAX_WORK, MAX_MADE)
    }
}

/// Bytes of the values that are alive at once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    /// Of the graphs around the one that runs; none at the outermost.
    pub(super) around: Option<u64>,
    /// The most so far.
    pub(super) most: u64,
}

impl Tape {
    /// A pass that may cost no more than this.
    pub(super) fn limited(work: u64, made: u64) -> Self {
        Self { entries: Vec::new(), work: 0, made: 0, most: (work, made), products: 0, meter: None, rooms: Arc::default() }
    }

    /// Counts multiplications with an addition; eight of them are a unit of work.
    pub(super) fn multiply(&mut self, count: usize) -> Result<()> {
        self.products = self.products.saturating_add(count as u64);
        self.spend(count / 8)
    }
    /// Counts work; an error when a pass costs more than any honest one.
    pub(super) fn spend(&mut self, work: usize) -> Result<()> {
        self.work = self.work.saturating_add(work as u64);
        if self.work > self.most.0 {
            return Err(Error::model("the graph costs more work than it may"));
        }
        Ok(())
    }
    /// Counts what a step made.
    pub(super) fn made(&mut self, values: &[Value]) -> Result<()> {
        self.made = self.made.saturating_add(values.iter().map(|v| v.len() as u64).sum());
        if self.made > self.most.1 {
            return Err(Error::model("the graph makes more numbers than it may"));
        }
        Ok(())
    }

    /// Keeps the buffer of a value that is not needed any more, where nothing else holds it.
    pub(super) fn give(&self, value: Value) {
        if let Data::Float(values) = value.data
            && let Ok(values) = Arc::try_unwrap(values)
        {
            self.rooms.give(values);
        }
    }

    /// Marks an input whose gradient is wanted; its place on the tape.
    pub fn leaf(&mut self, value: &mut Value) -> usize {
        self.entries.push(Entry { parents: Vec::new(), back: None });
        value.node = Some(self.entries.len() - 1);
        self.entries.len() - 1
    }

    /// Puts the way back of `out` on the tape, where one of `parents` wants a gradient.
    pub(in crate::model::onnx) fn record(&mut self, mut out: Value, parents: &[Option<usize>], back: impl FnOnce() -> Back) -> Value {
        if parents.iter().any(Option::is_some) {
            self.entries.push(Entry { parents: parents.to_vec(), back: Some(back()) });
            out.node = Some(self.entries.len() - 1);
        }
        out
    }

    /// The gradients of `leaves`, given those of some results. Uses the tape up.
    pub fn backward(self, seeds: Vec<(usize, Vec<f32>)>, leaves: &[usize]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut slopes: Vec<Option<Vec<f32>>> = self.entries.iter().map(|_| None).collect();
        let give = |slopes: &mut Vec<Option<Vec<f32>>>, to: usize, slope: Vec<f32>| match slopes.get_mut(to) {
            Some(Some(own)) if own.len() == slope.len() => {
                own.iter_mut().zip(&slope).for_each(|(o, s)| *o += s);
                Ok(())
            }
            Some(own @ None) => {
                *own = Some(slope);
                Ok(())
            }
            _ => Err(Error::internal("a gradient of another size than its tensor")),
        };
        for (at, slope) in seeds {
            give(&mut slopes, at, slope)?;
        }
        for (at, entry) in self.entries.into_iter().enumerate().rev() {
            let Some(back) = entry.back else { continue };
            let Some(slope) = slopes[at].take() else { continue };
            for (parent, slope) in entry.parents.into_iter().zip(back(slope)?) {
                if let (Some(parent), Some(slope)) = (parent, slope) {
                    give(&mut slopes, parent, slope)?;
                }
            }
        }
        Ok(leaves.iter().map(|leaf| slopes.get_mut(*leaf).and_then(Option::take)).collect())
    }

    /// `f` of each float, in place where nothing else needs them; `slope` is its derivative from the result alone.
    pub(in crate::model::onnx) fn map_out(
        &mut self,
        x: Value,
        f: impl Fn(f32) -> f32,
        slope: impl Fn(f32) -> f32 + 'static,
    ) -> Result<Value> {
        let (shape, kind, node) = (x.shape.clone(), x.kind, x.node);
        let mut values = x.into_floats()?;
        values.iter_mut().for_each(|v| *v = f(*v));
        let out = Value { shape, kind, data: Data::Float(Arc::new(values)), node: None };
        let y = out.arc()?;
        Ok(self.record(out, &[node], || {
            Box::new(move |mut g| {
                g.iter_mut().zip(y.iter()).for_each(|(g, y)| *g *= slope(*y));
                Ok(vec![Some(g)])
            })
        }))
    }

    /// `f` of each float; `slope` is its derivative from the input alone.
    pub(super) fn map_in(&mut self, x: Value, f: impl Fn(f32) -> f32, slope: impl Fn(f32) -> f32 + 'static) -> Result<Value> {
        let (shape, kind, node) = (x.shape.clone(), x.kind, x.node);
        let input = if node.is_some() { Some(x.arc()?) } else { None };
        let mut values = x.into_floats()?;
        values.iter_mut().for_each(|v| *v = f(*v));
        let out = Value { shape, kind, data: Data::Float(Arc::new(values)), node: None };
        Ok(self.record(out, &[node], || {
            Box::new(move |mut g| {
                let input = input.unwrap_or_default();
                g.iter_mut().zip(input.iter()).for_each(|(g, x)| *g *= slope(*x));
                Ok(vec![Some(g)])
            })
        }))
    }

    /// `f` of two float tensors under broadcasting; `da` and `db` are its partial derivatives.
    pub(in crate::model::onnx) fn zip(
        &mut self,
        a: Value,
        b: Value,
        f: impl Fn(f32, f32) -> f32,
        da: impl Fn(f32, f32) -> f32 + 'static,
        db: impl Fn(f32, f32) -> f32 + 'static,
    ) -> Result<Value> {
        let shape = broadcast(&a.shape, &b.shape)?;
        let (na, nb, kind) = (a.node, b.node, a.kind);
        let (sa, sb) = (a.shape.clone(), b.shape.clone());
        let saved = if na.is_some() || nb.is_some() { Some((a.arc()?, b.arc()?)) } else { None };
        let values = if a.shape == shape {
            let mut values = a.into_floats()?;
            let b = b.f()?;
            merge(&mut values, &shape, b, &sb, |x, y| *x = f(*x, y));
            values
        } else if b.shape == shape {
            let mut values = b.into_floats()?;
            let a = a.f()?;
            merge(&mut values, &shape, a, &sa, |y, x| *y = f(x, *y));
            values
        } else {
            zip_to(&shape, a.f()?, &sa, b.f()?, &sb, &f)
        };
        self.spend(values.len())?;
        let out = Value { shape: shape.clone(), kind, data: Data::Float(Arc::new(values)), node: None };
        Ok(self.record(out, &[na, nb], || {
            Box::new(move |g| {
                let (a, b) = saved.unwrap_or_default();
                let part = |own: &[usize], d: &dyn Fn(&[f32]) -> Vec<f32>| narrow(d(&g), &shape, own);
                let ga = na.map(|_| {
                    part(&sa, &|g| {
                        let mut d = zip_to(&shape, &a, &sa, &b, &sb, &da);
                        d.iter_mut().zip(g).for_each(|(d, g)| *d *= g);
                        d
                    })
                });
                let gb = nb.map(|_| {
                    part(&sb, &|g| {
                        let mut d = zip_to(&shape, &a, &sa, &b, &sb, &db);
                        d.iter_mut().zip(g).for_each(|(d, g)| *d *= g);
                        d
                    })
                });
                Ok(vec![ga, gb])
            })
        }))
    }

    /// The sum under broadcasting; `sign` of the second is 1 or -1. Keeps nothing for the way back.
    fn plus(&mut self, a: Value, b: Value, sign: f32) -> Result<Value> {
        let shape = broadcast(&a.shape, &b.shape)?;
        let (na, nb, kind) = (a.node, b.node, a.kind);
        let (sa, sb) = (a.shape.clone(), b.shape.clone());
        let values = if a.shape == shape {
            let mut values = a.into_floats()?;
            merge(&mut values, &shape, b.f()?, &sb, |x, y| *x += sign * y);
            values
        } else {
            let mut values = zip_to(&shape, &[0.0], &[], b.f()?, &sb, &|_, y| sign * y);
            merge(&mut values, &shape, a.f()?, &sa, |y, x| *y += x);
            values
        };
        self.spend(values.len())?;
        let out = Value { shape: shape.clone(), kind, data: Data::Float(Arc::new(values)), node: None };
        Ok(self.record(out, &[na, nb], || {
            Box::new(move |g| {
                let gb = nb.map(|_| {
                    let mut g = narrow(g.clone(), &shape, &sb);
                    if sign != 1.0 {
                        g.iter_mut().for_each(|g| *g *= sign);
                    }
                    g
                });
                Ok(vec![na.map(|_| narrow(g, &shape, &sa)), gb])
            })
        }))
    }
    pub(in crate::model::onnx) fn add(&mut self, a: Value, b: Value) -> Result<Value> {
        self.plus(a, b, 1.0)
    }
    pub(in crate::model::onnx) fn sub(&mut self, a: Value, b: Value) -> Result<Value> {
        self.plus(a, b, -1.0)
    }
    pub(in crate::model::onnx) fn mul(&mut self, a: Value, b: Value) -> Result<Value> {
        self.zip(a, b, |a, b| a * b, |_, b| b, |a, _| a)
    }
    pub(super) fn div(&mut self, a: Value, b: Value) -> Result<Value> {
        self.zip(a, b, |a, b| a / b, |_, b| 1.0 / b, |a, b| -a / (b * b))
    }
    /// `x * scale + shift`.
    pub(in crate::model::onnx) fn affine(&mut self, x: Value, scale: f32, shift: f32) -> Result<Value> {
        self.map_out(x, move |v| v * scale + shift, move |_| scale)
    }

    /// The same numbers in another shape.
    pub(in crate::model::onnx) fn reshape(&mut self, x: Value, shape: impl Into<Vec<usize>>) -> Result<Value> {
        let shape = shape.into();
        if elements(&shape)? != x.len() {
            return Err(Error::model(format!("{:?} does not fit into the shape {shape:?}", x.shape)));
        }
        Ok(Value { shape, ..x })
    }

    /// A strided view, copied: transposes, slices, flips, stretches.
    pub(super) fn view(&mut self, x: &Value, shape: Vec<usize>, strides: Vec<isize>, offset: isize) -> Result<Value> {
        let n = elements(&shape)?;
        self.spend(n)?;
        let len = x.len();
        // The first and the last place that is looked at.
        let reach = |sign: isize| {
            let far = shape.iter().zip(&strides).map(|(n, s)| (*n as isize - 1).saturating_mul(*s)).filter(|s| s.signum() == sign);
            offset.saturating_add(far.fold(0, isize::saturating_add))
        };
        if n > 0 && (reach(-1) < 0 || reach(1) >= len as isize) {
            return Err(Error::internal("a view past the end of its tensor"));
        }
        let data = match &x.data {
            Data::Float(v) => Data::Float(Arc::new(gathered(v, n, &shape, &strides, offset))),
            Data::Int(v) => Data::Int(Arc::new(gathered(v, n, &shape, &strides, offset))),
        };
        let out = Value { shape: shape.clone(), kind: x.kind, data, node: None };
        Ok(self.record(out, &[x.node], || {
            Box::new(move |g| {
                let mut own = vec![0.0; len];
                walk(&shape, &strides, offset, |at, from, n, s| {
                    let g = &g[at..at + n];
                    if s == 1 {
                        own[from as usize..from as usize + n].iter_mut().zip(g).for_each(|(o, g)| *o += g);
                    } else {
                        g.iter().enumerate().for_each(|(i, g)| own[(from + s * i as isize) as usize] += g);
                    }
                });
                Ok(vec![Some(own)])
            })
        }))
    }

    /// Dimensions in another order.
    pub(in crate::model::onnx) fn transpose(&mut self, x: &Value, order: &[usize]) -> Result<Value> {
        let mut seen = vec![false; x.rank()];
        let fits = order.len() == x.rank() && order.iter().all(|&a| seen.get_mut(a).is_some_and(|s| !std::mem::replace(s, true)));
        if !fits {
            return Err(Error::model(format!("{order:?} is no order of {} dimensions", x.rank())));
        }
        if order.iter().filter(|a| x.shape[**a] != 1).is_sorted() {
            // Only dimensions of one element move.
            let shape: Vec<usize> = order.iter().map(|a| x.shape[*a]).collect();
            return self.reshape(x.clone(), shape);
        }
        let own = strides(&x.shape);
        let shape = order.iter().map(|a| x.shape[*a]).collect();
        self.view(x, shape, order.iter().map(|a| own[*a] as isize).collect(), 0)
    }

    /// Stretched to a larger shape under broadcasting.
    pub(super) fn expand(&mut self, x: &Value, shape: &[usize]) -> Result<Value> {
        if x.shape == shape {
            return Ok(x.clone());
        }
        if broadcast(&x.shape, shape)? != shape {
            return Err(Error::model(format!("{:?} does not stretch to {shape:?}", x.shape)));
        }
        self.view(x, shape.to_vec(), stretched(&x.shape, shape), 0)
    }

    /// `len` places of an axis from `start` on, `step` apart (may be negative). Everything must lie inside.
    pub(in crate::model::onnx) fn slice(&mut self, x: &Value, axis: usize, start: usize, len: usize, step: isize) -> Result<Value> {
        let mut shape = x.shape.clone();
        let mut own: Vec<isize> = strides(&x.shape).into_iter().map(|s| s as isize).collect();
        let offset = start as isize * own.get(axis).copied().unwrap_or(0);
        x.dim(axis)?;
        shape[axis] = len;
        own[axis] *= step;
        self.view(x, shape, own, offset)
    }

    /// Any choice of elements: `index[i]` is the place of output `i` in `x`, `usize::MAX` for `fill`.
    pub(super) fn select(&mut self, x: &Value, shape: Vec<usize>, index: Vec<usize>, fill: f32) -> Result<Value> {
        self.spend(index.len())?;
        let len = x.len();
        if index.iter().any(|i| *i >= len && *i != usize::MAX) {
            return Err(Error::model("an index lies outside its tensor"));
        }
        let data = match &x.data {
            Data::Float(v) => Data::Float(Arc::new(index.iter().map(|i| v.get(*i).copied().unwrap_or(fill)).collect())),
            Data::Int(v) => Data::Int(Arc::new(index.iter().map(|i| v.get(*i).copied().unwrap_or(fill as i64)).collect())),
        };
        let out = Value::shared(shape, x.kind, data)?;
        Ok(self.record(out, &[x.node], || {
            Box::new(move |g| {
                let mut own = vec![0.0; len];
                index.iter().zip(g).filter(|(i, _)| **i != usize::MAX).for_each(|(i, g)| own[*i] += g);
                Ok(vec![Some(own)])
            })
        }))
    }

    /// The other way round: every float is added to its place in a new tensor of zeros; `usize::MAX` drops it.
    pub(super) fn spread(&mut self, x: &Value, shape: Vec<usize>, index: Vec<usize>) -> Result<Value> {
        let n = elements(&shape)?;
        self.spend(n + index.len())?;
        if index.len() != x.len() || index.iter().any(|i| *i >= n && *i != usize::MAX) {
            return Err(Error::model("an index lies outside its tensor"));
        }
        let mut values = vec![0.0; n];
        index.iter().zip(x.f()?).filter(|(i, _)| **i != usize::MAX).for_each(|(i, v)| values[*i] += v);
        let out = Value::floats(shape, values)?.like(x.kind);
        Ok(self.record(out, &[x.node], || {
            Box::new(move |g| Ok(vec![Some(index.iter().map(|i| g.get(*i).copied().unwrap_or(0.0)).collect())]))
        }))
    }

    /// Tensors one after another along an axis; all other sizes are equal.
    pub(in crate::model::onnx) fn concat(&mut self, parts: &[Value], axis: usize) -> Result<Value> {
        let Some(first) = parts.first() else { return Err(Error::model("nothing to join")) };
        first.dim(axis)?;
        let same = |v: &Value| {
            v.rank() == first.rank()
                && v.kind.is_float() == first.kind.is_float()
                && v.shape.iter().zip(&first.shape).enumerate().all(|(i, (a, b))| i == axis || a == b)
        };
        if let Some(other) = parts.iter().find(|v| !same(v)) {
            return Err(Error::model(format!("{:?} and {:?} cannot be joined along axis {axis}", first.shape, other.shape)));
        }
        let mut shape = first.shape.clone();
        shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
        let n = elements(&shape)?;
        self.spend(n)?;
        let runs: Vec<usize> = parts.iter().map(|p| p.shape[axis..].iter().product()).collect();
        let outer: usize = first.shape[..axis].iter().product();
        let data = if first.kind.is_float() {
            let own = parts.iter().map(Value::f).collect::<Result<Vec<_>>>()?;
            Data::Float(Arc::new(joined(&own, &runs, outer, n)))
        } else {
            let own = parts.iter().map(Value::i).collect::<Result<Vec<_>>>()?;
            Data::Int(Arc::new(joined(&own, &runs, outer, n)))
        };
        let out = Value::shared(shape, first.kind, data)?;
        let nodes: Vec<Option<usize>> = parts.iter().map(|p| p.node).collect();
        Ok(self.record(out, &nodes.clone(), || {
            Box::new(move |g| {
                let mut own: Vec<Vec<f32>> = runs.iter().map(|run| Vec::with_capacity(run * outer)).collect();
                let mut at = 0;
                for _ in 0..outer {
                    for (own, run) in own.iter_mut().zip(&runs) {
                        own.extend_from_slice(&g[at..at + run]);
                        at += run;
                    }
                }
                Ok(own.into_iter().zip(nodes).map(|(own, node)| node.map(|_| own)).collect())
            })
        }))
    }

    /// The sum over axes, which stay as dimensions of one element.
    pub(in crate::model::onnx) fn sum(&mut self, x: &Value, axes: &[usize]) -> Result<Value> {
        let shape = x.shape.clone();
        let mut kept = shape.clone();
        axes.iter().for_each(|a| kept.get_mut(*a).into_iter().for_each(|n| *n = 1));
        if x.rank() == 0 || (kept == shape && !shape.contains(&0)) {
            return Ok(x.clone());
        }
        self.spend(x.len())?;
        let out = Value::floats(kept.clone(), reduced(x.f()?, &shape, &kept))?.like(x.kind);
        Ok(self.record(out, &[x.node], || {
            Box::new(move |g| Ok(vec![Some(gathered(&g, shape.iter().product(), &shape, &stretched(&kept, &shape), 0))]))
        }))
    }

    /// A sparse linear map along one axis: output place `i` is the weighted sum of the places in `rows[i]`.
    pub(super) fn along(&mut self, x: &Value, axis: usize, rows: Vec<Vec<(usize, f32)>>) -> Result<Value> {
        let from = x.dim(axis)?;
        if rows.iter().flatten().any(|(j, _)| *j >= from) {
            return Err(Error::internal("a map along an axis past its end"));
        }
        let mut shape = x.shape.clone();
        shape[axis] = rows.len();
        let n = elements(&shape)?;
        let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        self.spend(rows.iter().map(Vec::len).sum::<usize>().saturating_mul(outer.saturating_mul(inner)))?;
        let values = x.f()?;
        let mut out = vec![0.0; n];
        for o in 0..outer {
            for (i, row) in rows.iter().enumerate() {
                let to = &mut out[(o * rows.len() + i) * inner..][..inner];
                for (j, w) in row {
                    let from = &values[(o * from + j) * inner..][..inner];
                    to.iter_mut().zip(from).for_each(|(t, f)| *t += w * f);
                }
            }
        }
        let len = x.len();
        let out = Value::floats(shape, out)?.like(x.kind);
        Ok(self.record(out, &[x.node], || {
            Box::new(move |g| {
                let mut own = vec![0.0; len];
                for o in 0..outer {
                    for (i, row) in rows.iter().enumerate() {
                        let g = &g[(o * rows.len() + i) * inner..][..inner];
                        for (j, w) in row {
                            own[(o * from + j) * inner..][..inner].iter_mut().zip(g).for_each(|(t, g)| *t += w * g);
                        }
                    }
                }
                Ok(vec![Some(own)])
            })
        }))
    }

    /// Numbers of another type. Floats to floats keep the gradient; to integers it ends.
    pub(super) fn cast(&mut self, x: Value, to: Kind) -> Result<Value> {
        let (shape, node) = (x.shape.clone(), x.node);
        let data = match (x.data, to.is_float()) {
            (Data::Float(v), true) if matches!(to, Kind::Half | Kind::BFloat) => {
                Data::Float(Arc::new(v.iter().map(|v| to.round(*v)).collect()))
            }
            (Data::Float(v), true) => Data::Float(v),
            (Data::Float(v), false) => {
                let whole = |v: &f32| match to {
                    Kind::Bool => i64::from(*v != 0.0),
                    // Four bits saturate.
                    Kind::Int4 => (v.round_ties_even() as i64).clamp(-8, 7),
                    Kind::Uint4 => (v.round_ties_even() as i64).clamp(0, 15),
                    _ => to.wrap(*v as i64),
                };
                Data::Int(Arc::new(v.iter().map(whole).collect()))
            }
            (Data::Int(v), true) => {
                let unsigned = x.kind == Kind::Uint64;
                let wide = |v: &i64| if unsigned { *v as u64 as f32 } else { *v as f32 };
                Data::Float(Arc::new(v.iter().map(|v| to.round(wide(v))).collect()))
            }
            (Data::Int(v), false) if to.range().is_none() => Data::Int(v),
            (Data::Int(v), false) => Data::Int(Arc::new(v.iter().map(|v| to.wrap(*v)).collect())),
        };
        let node = node.filter(|_| to.is_float() && x.kind.is_float());
        Ok(Value { shape, kind: to, data, node })
    }
}

/// The elements of a strided view.
pub(super) fn gathered<T: Copy>(v: &[T], n: usize, shape: &[usize], strides: &[isize], offset: isize) -> Vec<T> {
    let mut out = Vec::with_capacity(n);
    walk(shape, strides, offset, |_, from, n, s| match s {
        1 => out.extend_from_slice(&v[from as usize..from as usize + n]),
        0 => out.extend(std::iter::repeat_n(v[from as usize], n)),
        _ => out.extend((0..n as isize).map(|i| v[(from + s * i) as usize])),
    });
    out
}

fn joined<T: Copy>(parts: &[&[T]], runs: &[usize], outer: usize, n: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(n);
    for o in 0..outer {
        parts.iter().zip(runs).for_each(|(part, run)| out.extend_from_slice(&part[o * run..(o + 1) * run]));
    }
    out
}

/// Works `from` into `to`, stretched to its shape.
fn merge<T: Copy>(to: &mut [f32], shape: &[usize], from: &[T], own: &[usize], f: impl Fn(&mut f32, T)) {
    if own == shape {
        return to.iter_mut().zip(from).for_each(|(t, v)| f(t, *v));
    }
    if let [one] = from {
        return to.iter_mut().for_each(|t| f(t, *one));
    }
    walk(shape, &stretched(own, shape), 0, |at, start, n, s| {
        let to = &mut to[at..at + n];
        match s {
            0 => to.iter_mut().for_each(|t| f(t, from[start as usize])),
            1 => to.iter_mut().zip(&from[start as usize..]).for_each(|(t, v)| f(t, *v)),
            _ => to.iter_mut().enumerate().for_each(|(i, t)| f(t, from[(start + s * i as isize) as usize])),
        }
    });
}

/// `f` of two tensors stretched to `shape`.
pub(super) fn zip_to<T: Copy, U>(shape: &[usize], a: &[T], sa: &[usize], b: &[T], sb: &[usize], f: &impl Fn(T, T) -> U) -> Vec<U> {
    if sa == shape && sb == shape {
        return a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    walk2(shape, &stretched(sa, shape), &stretched(sb, shape), |_, oa, ob, n, da, db| {
        out.extend((0..n as isize).map(|i| f(a[(oa + da * i) as usize], b[(ob + db * i) as usize])));
    });
    out
}

/// A gradient of the stretched shape summed to the tensor's own.
pub(super) fn narrow(g: Vec<f32>, shape: &[usize], own: &[usize]) -> Vec<f32> {
    if own == shape || own.iter().product::<usize>() == g.len() {
        return g;
    }
    reduced(&g, shape, own)
}

/// The sum over the dimensions along which `own` is stretched to `shape`.
fn reduced(values: &[f32], shape: &[usize], own: &[usize]) -> Vec<f32> {
    let mut out = vec![0.0f32; own.iter().product()];
    walk(shape, &stretched(own, shape), 0, |at, to, n, s| {
        let from = &values[at..at + n];
        match s {
            0 => out[to as usize] += lanes(from),
            1 => out[to as usize..to as usize + n].iter_mut().zip(from).for_each(|(o, v)| *o += v),
            _ => from.iter().enumerate().for_each(|(i, v)| out[(to + s * i as isize) as usize] += v),
        }
    });
    out
}

/// A sum in sixteen lanes: quick, and rounded less than one after another.
pub(super) fn lanes(values: &[f32]) -> f32 {
    let (head, tail) = values.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for chunk in head {
        sums.iter_mut().zip(chunk).for_each(|(s, v)| *s += v);
    }
    sums.iter().sum::<f32>() + tail.iter().sum::<f32>()
}
