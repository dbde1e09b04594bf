//! Recurrent layers, unrolled step by step: `RNN`, `GRU`, `LSTM`.

use super::{
    super::value::Value,
    Inputs, Node, Tape,
    elementwise::{hard_sigmoid, relu, sigmoid, tanh},
    matrix::matmul,
    shape::sizes,
    table,
};
use crate::error::{Error, Result};

table! {
    "RNN" Exact |n, t, x| layer(n, t, x, 1, rnn),
    "GRU" Exact |n, t, x| layer(n, t, x, 3, gru),
    "LSTM" Exact |n, t, x| layer(n, t, x, 4, lstm),
}

/// One direction's weights, each as it is multiplied from the right.
struct Cell<'n> {
    w: Value,
    r: Value,
    /// Biases of the input and of the recurrence, `[gates * hidden]` each.
    bias: Option<(Value, Value)>,
    peepholes: Option<Value>,
    hidden: usize,
    activations: Vec<(String, f32, f32)>,
    clip: f32,
    node: &'n Node,
}

impl Cell<'_> {
    fn activate(&self, t: &mut Tape, which: usize, x: Value) -> Result<Value> {
        let clip = self.clip;
        let x =
            if clip.is_finite() { t.map_in(x, move |v| v.clamp(-clip, clip), move |x| f32::from(u8::from(x.abs() <= clip)))? } else { x };
        let (name, a, b) = self.activations.get(which).ok_or_else(|| Error::model("an activation is missing"))?;
        let (a, b) = (*a, *b);
        match name.to_lowercase().as_str() {
            "sigmoid" => sigmoid(t, x),
            "tanh" => tanh(t, x),
            "relu" => relu(t, x),
            "hardsigmoid" => hard_sigmoid(t, x, a, b),
            "affine" => t.affine(x, a, b),
            "leakyrelu" => t.map_in(x, move |v| if v < 0.0 { a * v } else { v }, move |x| if x < 0.0 { a } else { 1.0 }),
            "scaledtanh" => t.map_in(x, move |v| a * (b * v).tanh(), move |x| a * b * (1.0 - (b * x).tanh().powi(2))),
            "softsign" => t.map_in(x, |v| v / (1.0 + v.abs()), |x| 1.0 / (1.0 + x.abs()).powi(2)),
            other => Err(Error::model(format!("the activation `{other}` is not supported"))),
        }
    }
    /// Gate `i` of a row of gates.
    fn gate(&self, t: &mut Tape, of: &Value, i: usize) -> Result<Value> {
        t.slice(of, 1, i * self.hidden, self.hidden, 1)
    }
}

/// A step: the input's share of the gates, the state; the new state (its first part is the output).
type Step = fn(&Cell, &mut Tape, Value, &[Value]) -> Result<Vec<Value>>;

fn rnn(c: &Cell, t: &mut Tape, x: Value, state: &[Value]) -> Result<Vec<Value>> {
    let mut r = matmul(t, state[0].clone(), c.r.clone())?;
    if let Some((_, b)) = &c.bias {
        r = t.add(r, b.clone())?;
    }
    let sum = t.add(x, r)?;
    Ok(vec![c.activate(t, 0, sum)?])
}

fn gru(c: &Cell, t: &mut Tape, x: Value, state: &[Value]) -> Result<Vec<Value>> {
    let h = state[0].clone();
    let late = c.node.int("linear_before_reset", 0) != 0;
    let mut r = matmul(t, h.clone(), c.r.clone())?;
    if let Some((_, b)) = &c.bias {
        r = t.add(r, b.clone())?;
    }
    let mut gates = Vec::new();
    for i in 0..2 {
        let (a, b) = (c.gate(t, &x, i)?, c.gate(t, &r, i)?);
        let sum = t.add(a, b)?;
        gates.push(c.activate(t, 0, sum)?);
    }
    let (z, reset) = (gates[0].clone(), gates[1].clone());
    let own = c.gate(t, &x, 2)?;
    let past = if late {
        let past = c.gate(t, &r, 2)?;
        t.mul(reset, past)?
    } else {
        let kept = t.mul(reset, h.clone())?;
        let weights = t.slice(&c.r, 1, 2 * c.hidden, c.hidden, 1)?;
        let past = matmul(t, kept, weights)?;
        match &c.bias {
            Some((_, b)) => {
                let b = t.slice(b, 0, 2 * c.hidden, c.hidden, 1)?;
                t.add(past, b)?
            }
            None => past,
        }
    };
    let sum = t.add(own, past)?;
    let new = c.activate(t, 1, sum)?;
    // (1 - z) * new + z * h
    let away = t.sub(h, new.clone())?;
    let moved = t.mul(z, away)?;
    Ok(vec![t.add(new, moved)?])
}

fn lstm(c: &Cell, t: &mut Tape, x: Value, state: &[Value]) -> Result<Vec<Value>> {
    let (h, cell) = (state[0].clone(), state[1].clone());
    let mut sum = matmul(t, h, c.r.clone())?;
    sum = t.add(x, sum)?;
    if let Some((_, b)) = &c.bias {
        sum = t.add(sum, b.clone())?;
    }
    let peep = |t: &mut Tape, gate: Value, i: usize, cell: &Value| match &c.peepholes {
        Some(p) => {
            let p = t.slice(p, 0, i * c.hidden, c.hidden, 1)?;
            let seen = t.mul(cell.clone(), p)?;
            t.add(gate, seen)
        }
        None => Ok(gate),
    };
    let (i, o, f, g) = (c.gate(t, &sum, 0)?, c.gate(t, &sum, 1)?, c.gate(t, &sum, 2)?, c.gate(t, &sum, 3)?);
    let i = peep(t, i, 0, &cell)?;
    let i = c.activate(t, 0, i)?;
    let f = if c.node.int("input_forget", 0) != 0 {
        t.affine(i.clone(), -1.0, 1.0)?
    } else {
        let f = peep(t, f, 2, &cell)?;
        c.activate(t, 0, f)?
    };
    let g = c.activate(t, 1, g)?;
    let (kept, new) = (t.mul(f, cell)?, t.mul(i, g)?);
    let cell = t.add(kept, new)?;
    let o = peep(t, o, 1, &cell)?;
    let o = c.activate(t, 0, o)?;
    let shown = c.activate(t, 2, cell.clone())?;
    Ok(vec![t.mul(o, shown)?, cell])
}

/// Part `i` of the first dimension, without it.
fn part(t: &mut Tape, of: &Value, i: usize) -> Result<Value> {
    let rest = of.shape.get(1..).unwrap_or_default().to_vec();
    let one = t.slice(of, 0, i, 1, 1)?;
    t.reshape(one, rest)
}

fn layer(node: &Node, t: &mut Tape, mut x: Inputs, gates: usize, step: Step) -> Result<Vec<Value>> {
    let (mut v, w, r, bias, lengths) = (x.take(0)?, x.take(1)?, x.take(2)?, x.opt(3), x.opt(4));
    let mut starts = [x.opt(5), x.opt(6)];
    let peepholes = x.opt(7);
    let by_batch = node.int("layout", 0) != 0;
    if v.rank() != 3 || w.rank() != 3 || r.rank() != 3 {
        return Err(Error::model(format!("expected three dimensions, found {:?}, {:?} and {:?}", v.shape, w.shape, r.shape)));
    }
    if by_batch {
        v = t.transpose(&v, &[1, 0, 2])?;
        for start in starts.iter_mut().flatten() {
            *start = t.transpose(start, &[1, 0, 2])?;
        }
    }
    let (time, batch, hidden) = (v.shape[0], v.shape[1], r.shape[2]);
    let direction = node.text("direction", "forward").to_owned();
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    if w.shape[0] != directions || r.shape[0] != directions || w.shape[1] != gates * hidden || r.shape[1] != gates * hidden {
        return Err(Error::model(format!("weights of the shapes {:?} and {:?} do not fit {directions} directions", w.shape, r.shape)));
    }
    let lengths = match &lengths {
        Some(l) => sizes(l)?,
        None => vec![time; batch],
    };
    if lengths.len() != batch || lengths.iter().any(|l| *l > time) {
        return Err(Error::model("the lengths of the sequences do not fit"));
    }
    let states = if gates == 4 { 2 } else { 1 };
    let defaults: &[&str] = match gates {
        4 => &["Sigmoid", "Tanh", "Tanh"],
        3 => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let (mut outputs, mut last): (Vec<Value>, Vec<Vec<Value>>) = Default::default();
    for d in 0..directions {
        let (w, r) = (part(t, &w, d)?, part(t, &r, d)?);
        let (w, r) = (t.transpose(&w, &[1, 0])?, t.transpose(&r, &[1, 0])?);
        let bias = match &bias {
            Some(b) => {
                let b = part(t, b, d)?;
                Some((t.slice(&b, 0, 0, gates * hidden, 1)?, t.slice(&b, 0, gates * hidden, gates * hidden, 1)?))
            }
            None => None,
        };
        let peepholes = match &peepholes {
            Some(p) => Some(part(t, p, d)?),
            None => None,
        };
        let activations = (0..defaults.len()).map(|i| node.activation(d * defaults.len() + i, defaults[i])).collect();
        let cell = Cell { w, r, bias, peepholes, hidden, activations, clip: node.float("clip", f32::INFINITY), node };
        let mut state = Vec::new();
        for start in starts.iter().take(states) {
            state.push(match start {
                Some(s) => part(t, s, d)?,
                None => Value::floats([batch, hidden], vec![0.0; batch * hidden])?,
            });
        }
        let mut gated = matmul(t, v.clone(), cell.w.clone())?;
        if let Some((b, _)) = &cell.bias {
            gated = t.add(gated, b.clone())?;
        }
        let backward = d == 1 || direction == "reverse";
        let mut shown: Vec<Option<Value>> = vec![None; time];
        for i in 0..time {
            let at = if backward { time - 1 - i } else { i };
            let own = part(t, &gated, at)?;
            let mut new = step(&cell, t, own, &state)?;
            let mut output = new[0].clone();
            if lengths.iter().any(|l| *l <= at) {
                // Sequences that are over keep their state and show zeros.
                let going = lengths.iter().map(|l| f32::from(u8::from(*l > at))).collect();
                let going = Value::floats([batch, 1], going)?;
                for (new, old) in new.iter_mut().zip(&state) {
                    let moved = t.sub(new.clone(), old.clone())?;
                    let moved = t.mul(moved, going.clone())?;
                    *new = t.add(old.clone(), moved)?;
                }
                output = t.mul(output, going)?;
            }
            shown[at] = Some(t.reshape(output, [1, 1, batch, hidden])?);
            state = new;
        }
        let shown: Vec<Value> = shown.into_iter().flatten().collect();
        outputs.push(t.concat(&shown, 0)?);
        last.push(state);
    }
    let mut all = vec![t.concat(&outputs, 1)?];
    for s in 0..states {
        let ends = last.iter().map(|l| t.reshape(l[s].clone(), [1, batch, hidden])).collect::<Result<Vec<_>>>()?;
        all.push(t.concat(&ends, 0)?);
    }
    if by_batch {
        all[0] = t.transpose(&all[0], &[2, 0, 1, 3])?;
        for state in all.iter_mut().skip(1) {
            *state = t.transpose(state, &[1, 0, 2])?;
        }
    }
    Ok(all)
}

impl Node {
    /// Activation `i` with its two numbers.
    fn activation(&self, i: usize, default: &str) -> (String, f32, f32) {
        let name = match self.attribute("activations") {
            Some(super::super::plan::Attribute::Texts(names)) => names.get(i).cloned(),
            _ => None,
        };
        let name = name.unwrap_or_else(|| default.to_owned());
        let (a, b) = match name.to_lowercase().as_str() {
            "hardsigmoid" => (0.2, 0.5),
            "leakyrelu" => (0.01, 0.0),
            _ => (1.0, 1.0),
        };
        let number = |list: &str, default: f32| self.floats(list).and_then(|v| v.get(i)).copied().unwrap_or(default);
        (name, number("activation_alpha", a), number("activation_beta", b))
    }
}
