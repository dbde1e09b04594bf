//! Branches and loops.

use super::{
    super::value::{Value, axis_of},
    Inputs, Node, Tape, table,
};
use crate::error::{Error, Result};

table! {
    "If" Exact |n, t, mut x| {
        let branch = if x.take(0)?.int()? != 0 { "then_branch" } else { "else_branch" };
        n.graph(branch)?.run(Vec::new(), &seen(&x, branch), t)
    },
    "Loop" Exact repeat,
    "Scan" Exact scan,
}

fn seen(x: &Inputs, body: &str) -> Vec<(usize, Value)> {
    x.seen.iter().filter(|(name, _, _)| name == body).map(|(_, at, value)| (*at, value.clone())).collect()
}

/// Slices stacked along a new first axis.
fn stacked(t: &mut Tape, rows: Vec<Value>) -> Result<Value> {
    let rows = rows.into_iter().map(|v| {
        let shape = [&[1], v.shape.as_slice()].concat();
        t.reshape(v, shape)
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        return Value::floats([0], Vec::new());
    }
    t.concat(&rows, 0)
}

fn repeat(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let body = node.graph("body")?;
    let outside = seen(&x, "body");
    let most = x.opt(0).map_or(Ok(i64::MAX), |v| v.int())?;
    let mut going = x.opt(1).map_or(Ok(true), |v| v.int().map(|v| v != 0))?;
    let mut state = x.all();
    let carried = state.len();
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); node.wanted().saturating_sub(carried)];
    let mut i = 0;
    while going && i < most {
        let mut inputs = vec![Value::ints(super::super::Kind::Int64, [], vec![i])?, Value::bools([], [true])?];
        inputs.extend(state);
        let mut outputs = body.run(inputs, &outside, t)?.into_iter();
        going = outputs.next().ok_or_else(|| Error::model("the body of a loop gives no condition"))?.int()? != 0;
        state = outputs.by_ref().take(carried).collect();
        rows.iter_mut().zip(outputs).for_each(|(rows, v)| rows.push(v));
        i += 1;
    }
    for rows in rows {
        state.push(stacked(t, rows)?);
    }
    Ok(state)
}

fn scan(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let body = node.graph("body")?;
    let outside = seen(&x, "body");
    if node.version < 9 {
        return scan8(node, t, x, &outside);
    }
    let count = usize::try_from(node.int("num_scan_inputs", 1)).map_err(|_| Error::model("a negative number of inputs"))?;
    let mut state = x.all();
    let carried = state.len().checked_sub(count).ok_or_else(|| Error::model("fewer inputs than `num_scan_inputs`"))?;
    let scanned = state.split_off(carried);
    let list = |name: &str, i: usize| node.ints(name).and_then(|v| v.get(i)).copied().unwrap_or(0);
    let axes = scanned.iter().enumerate().map(|(i, v)| axis_of(list("scan_input_axes", i), v.rank())).collect::<Result<Vec<_>>>()?;
    let length = scanned.first().map_or(0, |v| v.shape[axes[0]]);
    if scanned.iter().zip(&axes).any(|(v, a)| v.shape[*a] != length) {
        return Err(Error::model("the scanned inputs are of different lengths"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); node.wanted().saturating_sub(carried)];
    for i in 0..length {
        let mut inputs = state;
        for (k, (v, a)) in scanned.iter().zip(&axes).enumerate() {
            let at = if list("scan_input_directions", k) != 0 { length - 1 - i } else { i };
            let slice = t.slice(v, *a, at, 1, 1)?;
            let mut shape = slice.shape.clone();
            shape.remove(*a);
            inputs.push(t.reshape(slice, shape)?);
        }
        let mut outputs = body.run(inputs, &outside, t)?.into_iter();
        state = outputs.by_ref().take(carried).collect();
        rows.iter_mut().zip(outputs).for_each(|(rows, v)| rows.push(v));
    }
    for (k, mut rows) in rows.into_iter().enumerate() {
        if list("scan_output_directions", k) != 0 {
            rows.reverse();
        }
        let out = stacked(t, rows)?;
        let axis = axis_of(list("scan_output_axes", k), out.rank())?;
        let mut order: Vec<usize> = (1..out.rank()).collect();
        order.insert(axis, 0);
        state.push(t.transpose(&out, &order)?);
    }
    Ok(state)
}

/// The first version: a batch in front, sequences in the second dimension.
fn scan8(node: &Node, t: &mut Tape, mut x: Inputs, outside: &[(usize, Value)]) -> Result<Vec<Value>> {
    let body = node.graph("body")?;
    if x.opt(0).is_some() {
        return Err(Error::model("sequence lengths of a scan are not supported"));
    }
    let count = usize::try_from(node.int("num_scan_inputs", 1)).map_err(|_| Error::model("a negative number of inputs"))?;
    let all = x.all();
    let carried = all.len().checked_sub(count).ok_or_else(|| Error::model("fewer inputs than `num_scan_inputs`"))?;
    let batch = all.first().map_or(Ok(0), |v| v.dim(0))?;
    let mut done: Vec<Vec<Value>> = vec![Vec::new(); node.wanted()];
    for b in 0..batch {
        let mut own = Vec::new();
        for v in &all {
            let row = t.slice(v, 0, b, 1, 1)?;
            let shape = row.shape[1..].to_vec();
            own.push(t.reshape(row, shape)?);
        }
        let scanned = own.split_off(carried);
        let length = scanned.first().map_or(Ok(0), |v| v.dim(0))?;
        let mut rows: Vec<Vec<Value>> = vec![Vec::new(); node.wanted().saturating_sub(carried)];
        for i in 0..length {
            let mut inputs = own;
            for v in &scanned {
                let row = t.slice(v, 0, i, 1, 1)?;
                let shape = row.shape[1..].to_vec();
                inputs.push(t.reshape(row, shape)?);
            }
            let mut outputs = body.run(inputs, outside, t)?.into_iter();
            own = outputs.by_ref().take(carried).collect();
            rows.iter_mut().zip(outputs).for_each(|(rows, v)| rows.push(v));
        }
        for rows in rows {
            own.push(stacked(t, rows)?);
        }
        done.iter_mut().zip(own).for_each(|(d, v)| d.push(v));
    }
    done.into_iter().map(|rows| stacked(t, rows)).collect()
}
