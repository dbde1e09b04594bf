//! Spectra and windows.

use super::{
    super::value::{Kind, Value, elements},
    Inputs, Node, Tape,
    elementwise::one,
    matrix::matmul,
    table,
};
use crate::error::{Error, Result};
use std::f64::consts::TAU;

table! {
    "DFT" Exact dft,
    "STFT" Exact stft,
    "HannWindow" Ends |n, _, mut x| window(n, &x.take(0)?, &[0.5, 0.5]),
    "HammingWindow" Ends |n, _, mut x| window(n, &x.take(0)?, &[25.0 / 46.0, 21.0 / 46.0]),
    "BlackmanWindow" Ends |n, _, mut x| window(n, &x.take(0)?, &[0.42, 0.5, 0.08]),
    "MelWeightMatrix" Ends mel,
}

/// `a_0 - a_1 cos(w) + a_2 cos(2 w)`.
fn window(node: &Node, size: &Value, a: &[f64]) -> Result<Vec<Value>> {
    let n = usize::try_from(size.int()?).ok().filter(|n| *n <= 1 << 24).ok_or_else(|| Error::model("a window of no size"))?;
    let span = if node.int("periodic", 1) != 0 { n } else { n.saturating_sub(1).max(1) };
    let at = |i: usize| {
        let w = TAU * i as f64 / span as f64;
        a.iter().enumerate().map(|(k, a)| if k % 2 == 0 { 1.0 } else { -1.0 } * a * (k as f64 * w).cos()).sum::<f64>() as f32
    };
    let kind = Kind::from_code(node.int("output_datatype", 1))?;
    one(Ok(Value::floats([n], (0..n).map(at).collect())?.like(kind)))
}

/// The matrix of a transform of `n` values of which `given` are there to `bins` frequencies: columns are real and imaginary parts in turn,
/// rows those of the input (`parts` is 1 for a real input).
fn matrix(given: usize, n: usize, bins: usize, parts: usize, inverse: bool) -> Result<Value> {
    elements(&[given * parts, bins * 2])?;
    let mut rows = Vec::with_capacity(given * parts * bins * 2);
    let (sign, scale) = if inverse { (1.0, 1.0 / n as f64) } else { (-1.0, 1.0) };
    for i in 0..given {
        for part in 0..parts {
            for k in 0..bins {
                let w = sign * TAU * ((i as u64 * k as u64) % n as u64) as f64 / n as f64;
                // e^{iw} times 1, or times i.
                let (re, im) = if part == 0 { (w.cos(), w.sin()) } else { (-w.sin(), w.cos()) };
                rows.extend([(re * scale) as f32, (im * scale) as f32]);
            }
        }
    }
    Value::floats([given * parts, bins * 2], rows)
}

fn dft(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, length, given) = (x.take(0)?, x.opt(1), x.opt(2));
    if v.rank() < 2 {
        return Err(Error::model("expected at least two dimensions"));
    }
    let axis = match given {
        Some(axis) => axis.int()?,
        None => node.int("axis", if node.version < 20 { 1 } else { -2 }),
    };
    let axis = v.axis(axis)?;
    let (parts, last) = (v.shape[v.rank() - 1], v.rank() - 1);
    if axis == last || !(1..=2).contains(&parts) {
        return Err(Error::model(format!("expected real and imaginary parts in the last dimension, found {:?}", v.shape)));
    }
    let n = match length {
        Some(n) => usize::try_from(n.int()?).map_err(|_| Error::model("a negative length"))?,
        None => v.shape[axis],
    };
    let (inverse, one_sided) = (node.int("inverse", 0) != 0, node.int("onesided", 0) != 0);
    if n == 0 || (inverse && one_sided) {
        return Err(Error::model("this transform is not supported"));
    }
    let bins = if one_sided { n / 2 + 1 } else { n };
    let used = v.shape[axis].min(n);
    let v = if used < v.shape[axis] { t.slice(&v, axis, 0, used, 1)? } else { v };
    // The axis goes to the end, before the parts.
    let mut order: Vec<usize> = (0..v.rank()).filter(|a| *a != axis && *a != last).collect();
    order.extend([axis, last]);
    let turned = t.transpose(&v, &order)?;
    let outer = turned.shape[..last - 1].to_vec();
    let rows = turned.len() / (used * parts).max(1);
    let flat = t.reshape(turned, [rows, used * parts])?;
    t.spend(used * parts * bins * 2)?;
    let y = matmul(t, flat, matrix(used, n, bins, parts, inverse)?)?;
    let y = t.reshape(y, [outer.as_slice(), &[bins, 2]].concat())?;
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, a)| back[*a] = i);
    one(t.transpose(&y, &back))
}

fn stft(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, hop, window, frame) = (x.take(0)?, x.take(1)?.int()?, x.opt(2), x.opt(3));
    let v = if v.rank() == 2 {
        let shape = [v.shape.as_slice(), &[1]].concat();
        t.reshape(v, shape)?
    } else {
        v
    };
    let &[batch, samples, parts] = v.shape.as_slice() else { return Err(Error::model("expected two or three dimensions")) };
    let n = match (&frame, &window) {
        (Some(n), _) => usize::try_from(n.int()?).unwrap_or(0),
        (None, Some(w)) => w.len(),
        (None, None) => return Err(Error::model("neither a window nor a frame length is given")),
    };
    let hop = usize::try_from(hop).ok().filter(|h| *h > 0).ok_or_else(|| Error::model("a step of no length"))?;
    if n == 0 || n > samples || !(1..=2).contains(&parts) {
        return Err(Error::model(format!("a frame of {n} does not fit into {samples} samples")));
    }
    let frames = (samples - n) / hop + 1;
    let bins = if node.int("onesided", 1) != 0 { n / 2 + 1 } else { n };
    elements(&[batch, frames, n, parts])?;
    // Overlapping frames are a strided view.
    let step = |s: usize| s as isize;
    let cut = t.view(&v, vec![batch, frames, n, parts], vec![step(samples * parts), step(hop * parts), step(parts), 1], 0)?;
    let cut = match window {
        Some(w) if w.len() == n => {
            let w = t.reshape(w, [n, 1])?;
            t.mul(cut, w)?
        }
        Some(w) => return Err(Error::model(format!("a window of {} for frames of {n}", w.len()))),
        None => cut,
    };
    let flat = t.reshape(cut, [batch * frames, n * parts])?;
    t.spend(n * parts * bins * 2)?;
    let y = matmul(t, flat, matrix(n, n, bins, parts, false)?)?;
    one(t.reshape(y, [batch, frames, bins, 2]))
}

/// Triangles evenly spaced on the mel scale (HTK's), as the standard defines them.
fn mel(node: &Node, _: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let whole =
        |v: Value| v.int().and_then(|v| usize::try_from(v).ok().filter(|v| *v <= 1 << 20).ok_or_else(|| Error::model("a negative size")));
    let (bands, length, rate) = (whole(x.take(0)?)?, whole(x.take(1)?)?, x.take(2)?.number()?);
    let (low, high) = (x.take(3)?.number()?, x.take(4)?.number()?);
    let bins = length / 2 + 1;
    elements(&[bins, bands])?;
    let mel = |hz: f32| 2595.0 * (1.0 + f64::from(hz) / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bands + 2) as f64;
    let place = |i: usize| {
        let hz = 700.0 * (10f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
        ((length + 1) as f64 * hz / f64::from(rate)).floor().max(0.0) as usize
    };
    let mut out = vec![0.0f32; bins * bands];
    for band in 0..bands {
        let (lower, centre, upper) = (place(band), place(band + 1), place(band + 2));
        if lower == centre && centre < bins {
            out[centre * bands + band] = 1.0;
        }
        for j in lower..=centre.min(bins.saturating_sub(1)) {
            if centre > lower {
                out[j * bands + band] = (j - lower) as f32 / (centre - lower) as f32;
            }
        }
        for j in centre..upper.min(bins) {
            out[j * bands + band] = (upper - j) as f32 / (upper - centre) as f32;
        }
    }
    let kind = Kind::from_code(node.int("output_datatype", 1))?;
    one(Ok(Value::floats([bins, bands], out)?.like(kind)))
}
