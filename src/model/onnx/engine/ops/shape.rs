//! Shapes: what moves numbers or tells sizes, and makes none.

use super::{
    super::{
        plan::Attribute,
        value::{Kind, Value, elements, strides},
    },
    Inputs, Node, Tape,
    elementwise::one,
    reduce::axes,
    table,
};
use crate::error::{Error, Result};

table! {
    "Reshape" Exact reshape,
    "Flatten" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let axis = n.int("axis", 1);
        let axis = if axis == v.rank() as i64 { v.rank() } else { v.axis(axis)? };
        let (a, b) = (v.shape[..axis].iter().product(), v.shape[axis..].iter().product());
        one(t.reshape(v, vec![a, b]))
    },
    "Transpose" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let order = match n.ints("perm") {
            Some(order) => order.iter().map(|a| v.axis(*a)).collect::<Result<Vec<_>>>()?,
            None => (0..v.rank()).rev().collect(),
        };
        one(t.transpose(&v, &order))
    },
    "Squeeze" Exact |n, t, mut x| {
        let (v, given) = (x.take(0)?, x.opt(1));
        let axes = axes(n, given, v.rank())?.unwrap_or_else(|| (0..v.rank()).filter(|i| v.shape[*i] == 1).collect());
        if let Some(axis) = axes.iter().find(|a| v.shape[**a] != 1) {
            return Err(Error::model(format!("axis {axis} of {:?} has more than one element", v.shape)));
        }
        let shape: Vec<usize> = v.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, n)| *n).collect();
        one(t.reshape(v, shape))
    },
    "Unsqueeze" Exact |n, t, mut x| {
        let (v, given) = (x.take(0)?, x.opt(1));
        let count = given.as_ref().map_or_else(|| n.ints("axes").map_or(0, <[i64]>::len), Value::len);
        let axes = axes(n, given, v.rank() + count)?.unwrap_or_default();
        let mut own = v.shape.iter();
        let shape: Vec<usize> = (0..v.rank() + count).map(|i| if axes.contains(&i) { 1 } else { own.next().copied().unwrap_or(1) }).collect();
        one(t.reshape(v, shape))
    },
    "Shape" Ends |n, _, mut x| {
        let v = x.take(0)?;
        let rank = v.rank() as i64;
        let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (start, end) = (bound(n.int("start", 0)), bound(n.int("end", rank)));
        one(Value::vector(v.shape[start..end.max(start)].iter().map(|n| *n as i64).collect()))
    },
    "Size" Ends |_, _, mut x| one(Value::ints(Kind::Int64, [], vec![x.take(0)?.len() as i64])),
    "Concat" Exact |n, t, mut x| {
        let parts = x.all();
        let axis = parts.first().ok_or_else(|| Error::model("nothing to join"))?.axis(n.int("axis", 0))?;
        one(t.concat(&parts, axis))
    },
    "Split" Exact split,
    "Slice" Exact slice,
    "Expand" Exact |_, t, mut x| {
        let (v, shape) = (x.take(0)?, sizes(&x.take(1)?)?);
        let shape = super::super::value::broadcast(&v.shape, &shape)?;
        one(t.expand(&v, &shape))
    },
    "Tile" Exact |_, t, mut x| { let (v, times) = (x.take(0)?, sizes(&x.take(1)?)?); one(tile(t, &v, &times)) },
    "Pad" Exact pad,
    "CenterCropPad" Exact centre,
    "Constant" Ends constant,
    "ConstantOfShape" Ends |n, t, mut x| {
        let shape = sizes(&x.take(0)?)?;
        let count = elements(&shape)?;
        t.spend(count)?;
        match n.attribute("value") {
            Some(Attribute::Tensor(v)) if v.kind.is_float() => one(Ok(Value::floats(shape, vec![v.number()?; count])?.like(v.kind))),
            Some(Attribute::Tensor(v)) => one(Value::ints(v.kind, shape, vec![v.int()?; count])),
            _ => one(Value::floats(shape, vec![0.0; count])),
        }
    },
    "Range" Ends range,
    "EyeLike" Ends |n, _, mut x| {
        let v = x.take(0)?;
        let &[rows, columns] = v.shape.as_slice() else { return Err(Error::model("expected a matrix")) };
        let kind = match n.int("dtype", 0) { 0 => v.kind, code => Kind::from_code(code)? };
        let k = n.int("k", 0);
        let values: Vec<i64> = (0..rows * columns).map(|i| i64::from((i % columns) as i64 - (i / columns) as i64 == k)).collect();
        if kind.is_float() {
            return one(Ok(Value::floats([rows, columns], values.iter().map(|v| *v as f32).collect())?.like(kind)));
        }
        one(Value::ints(kind, [rows, columns], values))
    },
    "DepthToSpace" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let b = n.sizes_one("blocksize")?;
        let &[batch, c, h, w] = v.shape.as_slice() else { return Err(Error::model("expected four dimensions")) };
        let d = c / (b * b);
        let columns_first = n.text("mode", "DCR") == "CRD";
        let (shape, order) = if columns_first { ([batch, d, b, b, h, w], [0, 1, 4, 2, 5, 3]) } else { ([batch, b, b, d, h, w], [0, 3, 4, 1, 5, 2]) };
        let apart = t.reshape(v, shape)?;
        let turned = t.transpose(&apart, &order)?;
        one(t.reshape(turned, [batch, d, h * b, w * b]))
    },
    "SpaceToDepth" Exact |n, t, mut x| {
        let v = x.take(0)?;
        let b = n.sizes_one("blocksize")?;
        let &[batch, c, h, w] = v.shape.as_slice() else { return Err(Error::model("expected four dimensions")) };
        let apart = t.reshape(v, [batch, c, h / b, b, w / b, b])?;
        let turned = t.transpose(&apart, &[0, 3, 5, 1, 2, 4])?;
        one(t.reshape(turned, [batch, c * b * b, h / b, w / b]))
    },
    "Trilu" Exact triangle,
    "ReverseSequence" Exact reverse,
}

impl Node {
    fn sizes_one(&self, name: &str) -> Result<usize> {
        usize::try_from(self.int(name, 0))
            .ok()
            .filter(|b| (1..=4096).contains(b))
            .ok_or_else(|| Error::model(format!("`{name}` should be 1..=4096")))
    }
}

/// A tensor of sizes.
pub(super) fn sizes(v: &Value) -> Result<Vec<usize>> {
    v.i()?.iter().map(|v| usize::try_from(*v).map_err(|_| Error::model(format!("a negative size {v}")))).collect()
}

fn reshape(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let asked = match x.opt(1) {
        Some(shape) => shape.i()?.to_vec(),
        None => node.ints("shape").unwrap_or_default().to_vec(),
    };
    let keep_zero = node.int("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(asked.len());
    let mut open = None;
    for (i, n) in asked.iter().enumerate() {
        shape.push(match *n {
            0 if !keep_zero => v.dim(i)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            n => usize::try_from(n).map_err(|_| Error::model(format!("no shape: {asked:?}")))?,
        });
    }
    if let Some(at) = open {
        let rest = elements(&shape)?;
        shape[at] = v.len().checked_div(rest).unwrap_or(0);
    }
    one(t.reshape(v, shape))
}

fn split(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, given) = (x.take(0)?, x.opt(1));
    let axis = v.axis(node.int("axis", 0))?;
    let n = v.shape[axis];
    let parts = match (given, node.ints("split")) {
        (Some(given), _) => sizes(&given)?,
        (None, Some(given)) => {
            given.iter().map(|v| usize::try_from(*v).map_err(|_| Error::model("a negative size"))).collect::<Result<_>>()?
        }
        (None, None) => {
            let count = usize::try_from(node.int("num_outputs", node.wanted() as i64)).ok().filter(|c| (1..=1 << 16).contains(c));
            let count = count.ok_or_else(|| Error::model("a split into no parts"))?;
            let size = n.div_ceil(count);
            (0..count).map(|i| size.min(n.saturating_sub(i * size))).collect()
        }
    };
    if parts.iter().try_fold(0usize, |s, p| s.checked_add(*p)) != Some(n) {
        return Err(Error::model(format!("{n} cannot be split into {parts:?}")));
    }
    let mut start = 0;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        out.push(t.slice(&v, axis, start, part, 1)?);
        start += part;
    }
    Ok(out)
}

fn slice(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let mut part = |i: usize, name: &str| match x.opt(i) {
        Some(given) => given.i().map(|v| Some(v.to_vec())),
        None => Ok(node.ints(name).map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (part(1, "starts")?, part(2, "ends")?);
    let (Some(starts), Some(ends)) = (starts, ends) else { return Err(Error::model("a slice without start or end")) };
    let axes = part(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = part(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(Error::model("starts, ends, axes and steps of a slice should be as many"));
    }
    let mut shape = v.shape.clone();
    let own = strides(&v.shape);
    let mut walk: Vec<isize> = own.iter().map(|s| *s as isize).collect();
    let mut offset = 0isize;
    for i in 0..starts.len() {
        let axis = v.axis(axes[i])?;
        let (n, step) = (v.shape[axis] as i64, steps[i]);
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (start, len) = match step {
            0 => return Err(Error::model("a slice with step 0")),
            _ if n == 0 => (0, 0),
            1.. => {
                let (start, end) = (from_end(starts[i]).clamp(0, n), from_end(ends[i]).clamp(0, n));
                (start, (end - start).max(0).div_ceil_by(step))
            }
            _ => {
                let (start, end) = (from_end(starts[i]).clamp(0, n - 1), from_end(ends[i]).clamp(-1, n - 1));
                (start, (start - end).max(0).div_ceil_by(step.saturating_neg()))
            }
        };
        shape[axis] = len as usize;
        if len > 0 {
            offset += start as isize * own[axis] as isize;
        }
        walk[axis] = (own[axis] as isize).saturating_mul(step as isize);
    }
    if shape.contains(&0) {
        offset = 0;
    }
    if shape == v.shape && steps.iter().all(|s| *s == 1) {
        return one(Ok(v));
    }
    one(t.view(&v, shape, walk, offset))
}

/// Division that rounds up.
trait DivCeil {
    fn div_ceil_by(self, by: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: Self) -> Self {
        self / by + i64::from(self % by != 0)
    }
}

pub(super) fn tile(t: &mut Tape, v: &Value, times: &[usize]) -> Result<Value> {
    if times.len() != v.rank() {
        return Err(Error::model(format!("expected {} repeats, found {}", v.rank(), times.len())));
    }
    // Stretched along a new axis before each repeated one.
    let (mut apart, mut wide, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for (n, r) in v.shape.iter().zip(times) {
        apart.extend([1, *n]);
        wide.extend([*r, *n]);
        out.push(n.saturating_mul(*r));
    }
    elements(&out)?;
    let (apart, own) = (t.reshape(v.clone(), apart)?, strides(&v.shape));
    let steps = own.iter().flat_map(|s| [0, *s as isize]).collect();
    let stretched = t.view(&apart, wide, steps, 0)?;
    t.reshape(stretched, out)
}

fn pad(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, given, fill, which) = (x.take(0)?, x.opt(1), x.opt(2), x.opt(3));
    let pads = match &given {
        Some(pads) => pads.i()?.to_vec(),
        None => node.ints("pads").or_else(|| node.ints("paddings")).unwrap_or_default().to_vec(),
    };
    let axes = match which {
        Some(axes) => axes.i()?.iter().map(|a| v.axis(*a)).collect::<Result<Vec<_>>>()?,
        None => (0..v.rank()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Error::model(format!("expected {} sizes of padding, found {}", 2 * axes.len(), pads.len())));
    }
    let fill = match &fill {
        Some(fill) if !fill.is_empty() => fill.number()?,
        _ => node.float("value", 0.0),
    };
    let mode = node.text("mode", "constant").to_owned();
    let (mut shape, mut starts) = (v.shape.clone(), vec![0i64; v.rank()]);
    for (i, axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        let size = (v.shape[*axis] as i64).saturating_add(before).saturating_add(after);
        shape[*axis] = usize::try_from(size).map_err(|_| Error::model("a padding that leaves nothing"))?;
        starts[*axis] = before;
    }
    let n = elements(&shape)?;
    t.spend(n)?;
    let sources: Vec<Vec<Option<usize>>> = (0..v.rank())
        .map(|a| (0..shape[a] as i64).map(|i| source(i.saturating_sub(starts[a]), v.shape[a] as i64, &mode)).collect())
        .collect();
    let own = strides(&v.shape);
    let mut index: Vec<usize> = vec![0];
    for (axis, places) in sources.iter().enumerate() {
        let step = own[axis];
        let place = |at: usize, p: &Option<usize>| p.filter(|_| at != usize::MAX).map_or(usize::MAX, |p| at + p * step);
        index = index.iter().flat_map(|at| places.iter().map(move |p| place(*at, p))).collect();
    }
    if mode != "constant" && index.contains(&usize::MAX) {
        return Err(Error::model(format!("cannot pad {:?} by {pads:?} with the mode `{mode}`", v.shape)));
    }
    one(t.select(&v, shape, index, fill))
}

/// Where a padded place comes from.
fn source(i: i64, n: i64, mode: &str) -> Option<usize> {
    let inside = (0..n).contains(&i);
    let at = match mode {
        _ if inside => i,
        _ if n == 0 => return None,
        "edge" => i.clamp(0, n - 1),
        "wrap" => i.rem_euclid(n),
        "reflect" if n == 1 => 0,
        "reflect" => {
            let period = 2 * (n - 1);
            let at = i.rem_euclid(period);
            at.min(period - at)
        }
        _ => return None,
    };
    Some(at as usize)
}

fn centre(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, wanted) = (x.take(0)?, sizes(&x.take(1)?)?);
    let axes = axes(node, None, v.rank())?.unwrap_or_else(|| (0..v.rank()).collect());
    if axes.len() != wanted.len() {
        return Err(Error::model("as many sizes as axes are needed"));
    }
    let mut out = v;
    for (axis, wanted) in axes.into_iter().zip(wanted) {
        let n = out.shape[axis];
        if wanted <= n {
            out = t.slice(&out, axis, (n - wanted) / 2, wanted, 1)?;
            continue;
        }
        let mut shape = out.shape.clone();
        shape[axis] = wanted;
        let before = (wanted - n) / 2;
        let inner: usize = shape[axis + 1..].iter().product();
        let index = (0..elements(&shape)?).map(|i| {
            let (outer, at) = (i / (wanted * inner), i / inner % wanted);
            let own = at.checked_sub(before).filter(|a| *a < n);
            own.map_or(usize::MAX, |a| (outer * n + a) * inner + i % inner)
        });
        out = t.select(&out, shape.clone(), index.collect(), 0.0)?;
    }
    one(Ok(out))
}

fn constant(node: &Node, _: &mut Tape, _: Inputs) -> Result<Vec<Value>> {
    let found = ["value", "value_float", "value_floats", "value_int", "value_ints"].into_iter().find_map(|name| node.attribute(name));
    one(match found {
        Some(Attribute::Tensor(v)) => Ok(v.clone()),
        Some(Attribute::Float(v)) => Value::floats([], vec![*v]),
        Some(Attribute::Floats(v)) => Value::floats([v.len()], v.clone()),
        Some(Attribute::Int(v)) => Value::ints(Kind::Int64, [], vec![*v]),
        Some(Attribute::Ints(v)) => Value::vector(v.clone()),
        _ => Err(Error::model("a constant without a supported value")),
    })
}

fn range(_: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (start, limit, step) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let count = ((f64::from(limit.number()?) - f64::from(start.number()?)) / f64::from(step.number()?)).ceil().max(0.0);
    let n = elements(&[if count.is_finite() { count as usize } else { usize::MAX }])?;
    t.spend(n)?;
    if start.kind.is_float() {
        let (a, d) = (start.number()?, step.number()?);
        return one(Ok(Value::floats([n], (0..n).map(|i| a + i as f32 * d).collect())?.like(start.kind)));
    }
    let (a, d) = (start.int()?, step.int()?);
    one(Value::ints(start.kind, [n], (0..n as i64).map(|i| a.wrapping_add(i.wrapping_mul(d))).collect()))
}

fn triangle(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, k) = (x.take(0)?, x.opt(1));
    let k = k.map_or(Ok(0), |k| k.int())?;
    let upper = node.int("upper", 1) != 0;
    let &[.., rows, columns] = v.shape.as_slice() else { return Err(Error::model("expected a matrix")) };
    let keep = |i: usize| {
        let (r, c) = (i / columns % rows, i % columns);
        let d = (c as i64 - r as i64).saturating_sub(k);
        if upper { d >= 0 } else { d <= 0 }
    };
    let index = (0..v.len()).map(|i| if keep(i) { i } else { usize::MAX }).collect();
    one(t.select(&v, v.shape.clone(), index, 0.0))
}

fn reverse(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, lengths) = (x.take(0)?, sizes(&x.take(1)?)?);
    let (time, batch) = (v.axis(node.int("time_axis", 0))?, v.axis(node.int("batch_axis", 1))?);
    let own = strides(&v.shape);
    if lengths.len() != v.shape[batch] || lengths.iter().any(|l| *l > v.shape[time]) {
        return Err(Error::model("the lengths of the sequences do not fit"));
    }
    let place = |i: usize| {
        let (at, n) = (i / own[time] % v.shape[time], lengths[i / own[batch] % v.shape[batch]]);
        if at < n { i - at * own[time] + (n - 1 - at) * own[time] } else { i }
    };
    one(t.select(&v, v.shape.clone(), (0..v.len()).map(place).collect(), 0.0))
}
