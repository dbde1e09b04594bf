//! Choosing and placing by index.

use super::{
    super::value::{Data, Kind, Value, elements, strides},
    Inputs, Node, Tape,
    elementwise::one,
    table,
};
use crate::error::{Error, Result};

table! {
    "Gather" Exact gather,
    "GatherElements" Exact |n, t, mut x| {
        let (v, index) = (x.take(0)?, x.take(1)?);
        let axis = v.axis(n.int("axis", 0))?;
        let places = along(&v, &index, axis)?;
        one(t.select(&v, index.shape.clone(), places, 0.0))
    },
    "GatherND" Exact gather_nd,
    "Scatter" Exact scatter_elements,
    "ScatterElements" Exact scatter_elements,
    "ScatterND" Exact scatter_nd,
    "OneHot" Ends one_hot,
    "NonZero" Ends |_, _, mut x| {
        let v = x.take(0)?;
        let found: Vec<usize> = v.to_floats().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
        let own = strides(&v.shape);
        let rows = own.iter().zip(&v.shape).flat_map(|(s, n)| found.iter().map(move |i| (i / s % n) as i64));
        one(Value::ints(Kind::Int64, [v.rank(), found.len()], rows.collect()))
    },
    "Compress" Exact |n, t, mut x| {
        let (v, keep) = (x.take(0)?, x.take(1)?);
        let (v, axis) = match n.attribute("axis") {
            Some(_) => { let axis = v.axis(n.int("axis", 0))?; (v, axis) }
            None => { let n = v.len(); (t.reshape(v, [n])?, 0) }
        };
        let kept: Vec<i64> = keep.i()?.iter().enumerate().filter(|(i, k)| **k != 0 && *i < v.shape[axis]).map(|(i, _)| i as i64).collect();
        let kept = Value::vector(kept)?;
        one(pick(t, &v, &kept, axis))
    },
    "Unique" Ends unique,
}

/// An index counted from the end where negative.
fn wrap(i: i64, n: usize) -> Result<usize> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    usize::try_from(at).ok().filter(|a| *a < n).ok_or_else(|| Error::model(format!("the index {i} lies outside 0..{n}")))
}

fn gather(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, index) = (x.take(0)?, x.take(1)?);
    let axis = v.axis(node.int("axis", 0))?;
    one(pick(t, &v, &index, axis))
}

/// Slices of an axis by index.
pub(in crate::model::onnx) fn pick(t: &mut Tape, v: &Value, index: &Value, axis: usize) -> Result<Value> {
    let n = v.dim(axis)?;
    let places: Vec<usize> = index.i()?.iter().map(|i| wrap(*i, n)).collect::<Result<_>>()?;
    let shape = [&v.shape[..axis], &index.shape, &v.shape[axis + 1..]].concat();
    let count = elements(&shape)?;
    t.spend(count)?;
    let (outer, inner): (usize, usize) = (v.shape[..axis].iter().product(), v.shape[axis + 1..].iter().product());
    fn copied<T: Copy>(v: &[T], places: &[usize], (outer, n, inner): (usize, usize, usize), count: usize) -> Vec<T> {
        let mut out = Vec::with_capacity(count);
        for o in 0..outer {
            places.iter().for_each(|p| out.extend_from_slice(&v[(o * n + p) * inner..][..inner]));
        }
        out
    }
    let size = (outer, n, inner);
    let data = match &v.data {
        Data::Float(v) => Data::Float(copied(v, &places, size, count).into()),
        Data::Int(v) => Data::Int(copied(v, &places, size, count).into()),
    };
    let out = Value::shared(shape, v.kind, data)?;
    let len = v.len();
    Ok(t.record(out, &[v.node], || {
        Box::new(move |g| {
            let mut own = vec![0.0; len];
            if inner > 0 {
                for (i, g) in g.chunks_exact(inner).enumerate() {
                    let (o, p) = (i / places.len(), places[i % places.len()]);
                    own[(o * n + p) * inner..][..inner].iter_mut().zip(g).for_each(|(o, g)| *o += g);
                }
            }
            Ok(vec![Some(own)])
        })
    }))
}

/// For each element of `index`, the place in `v` whose coordinate along `axis` is that element.
fn along(v: &Value, index: &Value, axis: usize) -> Result<Vec<usize>> {
    let fits = index.rank() == v.rank() && index.shape.iter().zip(&v.shape).enumerate().all(|(i, (a, b))| i == axis || a <= b);
    if !fits {
        return Err(Error::model(format!("indices of the shape {:?} do not fit {:?}", index.shape, v.shape)));
    }
    let (own, from) = (strides(&v.shape), strides(&index.shape));
    let place = |(i, at): (usize, &i64)| {
        let mut place = wrap(*at, v.shape[axis])? * own[axis];
        for a in (0..v.rank()).filter(|a| *a != axis) {
            place += i / from[a] % index.shape[a] * own[a];
        }
        Ok(place)
    };
    index.i()?.iter().enumerate().map(place).collect()
}

/// Places that tuples of indices (the last dimension of `index`) name, after `batch` common dimensions; how many dimensions they fix.
fn tuples(v: &Value, index: &Value, batch: usize) -> Result<(Vec<usize>, usize)> {
    let Some((&depth, lead)) = index.shape.split_last() else { return Err(Error::model("indices of no dimension")) };
    if batch + depth > v.rank() || batch > lead.len() || lead[..batch] != v.shape[..batch] {
        return Err(Error::model(format!("indices of the shape {:?} do not fit {:?}", index.shape, v.shape)));
    }
    let own = strides(&v.shape);
    let (outer, a_batch): (usize, usize) = (lead[..batch].iter().product(), lead[batch..].iter().product());
    let block: usize = v.shape[batch..].iter().product();
    let mut starts = Vec::with_capacity(outer * a_batch);
    let index = index.i()?;
    for b in 0..outer {
        for i in 0..a_batch {
            let mut at = b * block;
            for d in 0..depth {
                at += wrap(index[(b * a_batch + i) * depth + d], v.shape[batch + d])? * own[batch + d];
            }
            starts.push(at);
        }
    }
    Ok((starts, depth))
}

fn gather_nd(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, index) = (x.take(0)?, x.take(1)?);
    let batch = usize::try_from(node.int("batch_dims", 0)).map_err(|_| Error::model("`batch_dims` is negative"))?;
    let (starts, depth) = tuples(&v, &index, batch)?;
    let rest = &v.shape[batch + depth..];
    let run: usize = rest.iter().product();
    let shape = [&index.shape[..index.rank() - 1], rest].concat();
    elements(&shape)?;
    let places = starts.iter().flat_map(|s| *s..*s + run).collect();
    one(t.select(&v, shape, places, 0.0))
}

/// Numbers placed into a copy of `v`; `reduction` says what becomes of those that meet.
fn place(node: &Node, t: &mut Tape, v: Value, updates: Value, places: Vec<usize>) -> Result<Vec<Value>> {
    let shape = v.shape.clone();
    let reduction = node.text("reduction", "none").to_owned();
    if places.len() != updates.len() {
        return Err(Error::model(format!("{} updates for {} places", updates.len(), places.len())));
    }
    if reduction == "none" {
        // The result is a choice from old and new; the last one written stays.
        let mut index: Vec<usize> = (0..v.len()).collect();
        places.iter().enumerate().for_each(|(i, p)| index[*p] = v.len() + i);
        let (n, m) = (v.len(), updates.len());
        let (flat, new) = (t.reshape(v, [n])?, t.reshape(updates, [m])?);
        let all = t.concat(&[flat, new], 0)?;
        return one(t.select(&all, shape, index, 0.0));
    }
    if reduction == "add" && v.kind.is_float() {
        let added = t.spread(&updates, shape, places)?;
        return one(t.add(v, added));
    }
    if v.node.is_some() || updates.node.is_some() {
        return Err(Error::model(format!("there is no gradient for the reduction `{reduction}`")));
    }
    let merge = |old: f64, new: f64| match reduction.as_str() {
        "add" => old + new,
        "mul" => old * new,
        "max" => old.max(new),
        _ => old.min(new),
    };
    if v.kind.is_float() {
        let (kind, mut values) = (v.kind, v.into_floats()?);
        places.iter().zip(updates.f()?).for_each(|(p, u)| values[*p] = merge(f64::from(values[*p]), f64::from(*u)) as f32);
        return one(Ok(Value::floats(shape, values)?.like(kind)));
    }
    let mut values = v.i()?.to_vec();
    places.iter().zip(updates.i()?).for_each(|(p, u)| values[*p] = merge(values[*p] as f64, *u as f64) as i64);
    one(Value::ints(v.kind, shape, values))
}

fn scatter_elements(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, index, updates) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let axis = v.axis(node.int("axis", 0))?;
    let places = along(&v, &index, axis)?;
    place(node, t, v, updates, places)
}

fn scatter_nd(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, index, updates) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let (starts, depth) = tuples(&v, &index, 0)?;
    let run: usize = v.shape[depth..].iter().product();
    let places = starts.iter().flat_map(|s| *s..*s + run).collect();
    place(node, t, v, updates, places)
}

fn one_hot(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (index, depth, values) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let depth = depth.number()?;
    let depth = if depth >= 0.0 { elements(&[depth as usize])? } else { return Err(Error::model("a negative depth")) };
    let axis = super::super::value::axis_of(node.int("axis", -1), index.rank() + 1)?;
    let mut shape = index.shape.clone();
    shape.insert(axis, depth);
    let n = elements(&shape)?;
    t.spend(n)?;
    let inner: usize = index.shape[axis..].iter().product();
    let hot = values.to_floats();
    let &[off, on] = hot.as_slice() else { return Err(Error::model("expected two values, off and on")) };
    let mut out = vec![off; n];
    for (i, at) in index.to_floats().iter().enumerate() {
        let at = if *at < 0.0 { at + depth as f32 } else { *at };
        if at >= 0.0 && (at as usize) < depth {
            out[(i / inner * depth + at as usize) * inner + i % inner] = on;
        }
    }
    let out = Value::floats(shape, out)?;
    one(if values.kind.is_float() { Ok(out.like(values.kind)) } else { t.cast(out, values.kind) })
}

fn unique(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let (v, axis) = match node.attribute("axis") {
        Some(_) => {
            let axis = v.axis(node.int("axis", 0))?;
            (v, axis)
        }
        None => {
            let n = v.len();
            (t.reshape(v, [n])?, 0)
        }
    };
    let n = v.shape[axis];
    let mut order: Vec<usize> = (0..v.rank()).collect();
    order.remove(axis);
    order.insert(0, axis);
    let rows = t.transpose(&v, &order)?.to_floats();
    let width = rows.len().checked_div(n).unwrap_or(0);
    let row = |i: usize| &rows[i * width..(i + 1) * width];
    let compare = |a: usize, b: usize| {
        row(a).iter().zip(row(b)).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    };
    t.spend(rows.len().saturating_mul(16))?;
    let mut sorted: Vec<usize> = (0..n).collect();
    sorted.sort_by(|a, b| compare(*a, *b).then(a.cmp(b)));
    // Groups of equal rows, each by its first row.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in sorted {
        match groups.last_mut() {
            Some(group) if compare(group[0], i).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if node.int("sorted", 1) == 0 {
        groups.sort_by_key(|g| g[0]);
    }
    let mut home = vec![0i64; n];
    groups.iter().enumerate().for_each(|(g, members)| members.iter().for_each(|i| home[*i] = g as i64));
    let first = Value::vector(groups.iter().map(|g| g[0] as i64).collect())?;
    let counts = Value::vector(groups.iter().map(|g| g.len() as i64).collect())?;
    Ok(vec![pick(t, &v, &first, axis)?, first, Value::vector(home)?, counts])
}
