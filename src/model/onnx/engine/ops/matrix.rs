//! Matrix products: `MatMul`, `Gemm`, `Einsum`.

use super::{
    super::{
        kernel::{Steps, product},
        value::{Value, broadcast, stretched, strides, walk2},
    },
    Inputs, Node, Tape,
    elementwise::one,
    table,
};
use crate::error::{Error, Result};

table! {
    "MatMul" Exact |_, t, mut x| { let (a, b) = (x.take(0)?, x.take(1)?); one(matmul(t, a, b)) },
    "Gemm" Exact gemm,
    "Einsum" Exact einsum,
    "Det" Ends |_, _, mut x| one(determinant(&x.take(0)?)),
}

/// Products of matrices that lie inside two tensors at the given starts (`a`, `b`).
struct Stack {
    size: (usize, usize, usize),
    a: Steps,
    b: Steps,
    starts: Vec<(usize, usize)>,
}

fn stack(t: &mut Tape, a: &Value, b: &Value, of: Stack, shape: Vec<usize>) -> Result<Value> {
    let (m, n, k) = of.size;
    t.multiply(of.starts.len().saturating_mul(m.saturating_mul(n).saturating_mul(k)))?;
    let mut out = vec![0.0; super::super::value::elements(&shape)?];
    let (va, vb) = (a.arc()?, b.arc()?);
    for (i, (sa, sb)) in of.starts.iter().enumerate() {
        product(of.size, &va[*sa..], of.a, &vb[*sb..], of.b, &mut out[i * m * n..], (n, 1), false);
    }
    let out = Value::floats(shape, out)?.like(a.kind);
    let (na, nb) = (a.node, b.node);
    Ok(t.record(out, &[na, nb], || {
        Box::new(move |g| {
            let turned = |s: Steps| (s.1, s.0);
            let ga = na.map(|_| {
                let mut own = vec![0.0; va.len()];
                for (i, (sa, sb)) in of.starts.iter().enumerate() {
                    product((m, k, n), &g[i * m * n..], (n, 1), &vb[*sb..], turned(of.b), &mut own[*sa..], of.a, true);
                }
                own
            });
            let gb = nb.map(|_| {
                let mut own = vec![0.0; vb.len()];
                for (i, (sa, sb)) in of.starts.iter().enumerate() {
                    product((k, n, m), &va[*sa..], turned(of.a), &g[i * m * n..], (n, 1), &mut own[*sb..], of.b, true);
                }
                own
            });
            Ok(vec![ga, gb])
        })
    }))
}

/// The matrix product of `numpy.matmul`.
pub(in crate::model::onnx) fn matmul(t: &mut Tape, a: Value, b: Value) -> Result<Value> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Error::model("a matrix product needs at least one dimension on each side"));
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let (ka, kb) = (a.len(), b.len());
    let a = if row { t.reshape(a, [1, ka])? } else { a };
    let b = if column { t.reshape(b, [kb, 1])? } else { b };
    let (outer_a, m, k) = (&a.shape[..a.rank() - 2], a.shape[a.rank() - 2], a.shape[a.rank() - 1]);
    let (outer_b, n) = (&b.shape[..b.rank() - 2], b.shape[b.rank() - 1]);
    if b.shape[b.rank() - 2] != k {
        return Err(Error::model(format!("the matrices {:?} and {:?} do not fit", a.shape, b.shape)));
    }
    let outer = broadcast(outer_a, outer_b)?;
    let mut shape = outer.clone();
    shape.extend((!row).then_some(m));
    shape.extend((!column).then_some(n));
    let of = if outer_b.is_empty() {
        // One matrix for all: the rows of the left side are one tall matrix.
        Stack { size: (outer.iter().product::<usize>() * m, n, k), a: (k, 1), b: (n, 1), starts: vec![(0, 0)] }
    } else {
        let (sa, sb) = (stretched(outer_a, &outer), stretched(outer_b, &outer));
        let mut starts = Vec::new();
        walk2(&outer, &sa, &sb, |_, oa, ob, count, da, db| {
            starts.extend((0..count as isize).map(|i| ((oa + da * i) as usize * m * k, (ob + db * i) as usize * k * n)));
        });
        Stack { size: (m, n, k), a: (k, 1), b: (n, 1), starts }
    };
    stack(t, &a, &b, of, shape)
}

fn gemm(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (a, b, c) = (x.take(0)?, x.take(1)?, x.opt(2));
    let (&[ra, ca], &[rb, cb]) = (a.shape.as_slice(), b.shape.as_slice()) else {
        return Err(Error::model(format!("expected two matrices, found {:?} and {:?}", a.shape, b.shape)));
    };
    let (m, k, steps_a) = if node.int("transA", 0) != 0 { (ca, ra, (1, ca)) } else { (ra, ca, (ca, 1)) };
    let (n, kb, steps_b) = if node.int("transB", 0) != 0 { (rb, cb, (1, cb)) } else { (cb, rb, (cb, 1)) };
    if k != kb {
        return Err(Error::model(format!("the matrices {:?} and {:?} do not fit", a.shape, b.shape)));
    }
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    let mut y = stack(t, &a, &b, Stack { size: (m, n, k), a: steps_a, b: steps_b, starts: vec![(0, 0)] }, vec![m, n])?;
    if alpha != 1.0 {
        y = t.affine(y, alpha, 0.0)?;
    }
    let Some(mut c) = c else { return one(Ok(y)) };
    if beta != 1.0 {
        c = t.affine(c, beta, 0.0)?;
    }
    one(t.add(y, c))
}

/// Letters of one side of an equation; dimensions of the ellipsis are numbered from the right.
fn letters(text: &str, rank: usize) -> Result<Vec<u32>> {
    let named = text.chars().filter(|c| c.is_alphabetic()).count();
    let free = rank.checked_sub(named).ok_or_else(|| Error::model(format!("`{text}` names more than {rank} dimensions")))?;
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            out.extend((0..free).rev().map(|i| i as u32));
            rest = after;
        } else if c.is_alphabetic() {
            out.push(c as u32 + 1000);
            rest = &rest[c.len_utf8()..];
        } else {
            return Err(Error::model(format!("`{text}` is no term of an equation")));
        }
    }
    if out.len() != rank {
        return Err(Error::model(format!("`{text}` names {} of {rank} dimensions", out.len())));
    }
    Ok(out)
}

/// One term, each letter once: repeated letters are a diagonal, letters that nothing else needs are summed.
fn term(t: &mut Tape, x: &Value, own: &[u32], needed: &dyn Fn(u32) -> bool) -> Result<(Value, Vec<u32>)> {
    let (mut once, mut shape, mut steps): (Vec<u32>, Vec<usize>, Vec<isize>) = Default::default();
    for ((letter, n), s) in own.iter().zip(&x.shape).zip(strides(&x.shape)) {
        match once.iter().position(|l| l == letter) {
            Some(at) if shape[at] == *n => steps[at] += s as isize,
            Some(_) => return Err(Error::model("a repeated letter of two sizes")),
            None => {
                once.push(*letter);
                shape.push(*n);
                steps.push(s as isize);
            }
        }
    }
    let x = if once.len() == own.len() { x.clone() } else { t.view(x, shape, steps, 0)? };
    let axes: Vec<usize> = (0..once.len()).filter(|i| !needed(once[*i])).collect();
    let summed = t.sum(&x, &axes)?;
    let keep: Vec<usize> = (0..once.len()).filter(|i| needed(once[*i])).collect();
    let shape: Vec<usize> = keep.iter().map(|i| summed.shape[*i]).collect();
    Ok((t.reshape(summed, shape)?, keep.iter().map(|i| once[*i]).collect()))
}

fn einsum(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let equation: String = node.text("equation", "").split_whitespace().collect();
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(l, r)| (l, Some(r)));
    let values = x.all();
    let texts: Vec<&str> = left.split(',').collect();
    if texts.len() != values.len() {
        return Err(Error::model(format!("`{equation}` has {} terms for {} inputs", texts.len(), values.len())));
    }
    let sides: Vec<Vec<u32>> = texts.iter().zip(&values).map(|(text, v)| letters(text, v.rank())).collect::<Result<_>>()?;
    let free = sides.iter().flatten().filter(|l| **l < 1000).map(|l| *l as usize + 1).max().unwrap_or(0);
    let out = match right {
        Some(text) => letters(text, free * usize::from(text.contains("...")) + text.chars().filter(|c| c.is_alphabetic()).count())?,
        None => {
            let mut once: Vec<u32> = sides.iter().flatten().copied().filter(|l| *l >= 1000).collect();
            once.sort_unstable();
            let single: Vec<u32> = once.iter().copied().filter(|l| once.iter().filter(|o| *o == l).count() == 1).collect();
            (0..free as u32).rev().chain(single).collect()
        }
    };
    let mut parts: Vec<(Value, Vec<u32>)> = Vec::new();
    for (i, (v, own)) in values.iter().zip(&sides).enumerate() {
        let needed = |l: u32| out.contains(&l) || sides.iter().enumerate().any(|(j, s)| j != i && s.contains(&l));
        parts.push(term(t, v, own, &needed)?);
    }
    let mut parts = parts.into_iter();
    let (mut result, mut own) = parts.next().ok_or_else(|| Error::model("an equation without terms"))?;
    let rest: Vec<(Value, Vec<u32>)> = parts.collect();
    for (i, (v, letters)) in rest.iter().enumerate() {
        let needed = |l: u32| out.contains(&l) || rest[i + 1..].iter().any(|(_, s)| s.contains(&l));
        (result, own) = contract(t, (&result, &own), (v, letters), &needed)?;
        (result, own) = term(t, &result, &own, &needed)?;
    }
    let order: Option<Vec<usize>> = out.iter().map(|l| own.iter().position(|o| o == l)).collect();
    let order = order.ok_or_else(|| Error::model(format!("`{equation}` asks for a letter that no term has")))?;
    one(t.transpose(&result, &order))
}

fn contract(t: &mut Tape, a: (&Value, &[u32]), b: (&Value, &[u32]), needed: &dyn Fn(u32) -> bool) -> Result<(Value, Vec<u32>)> {
    let size = |of: (&Value, &[u32]), l: u32| of.1.iter().position(|o| *o == l).map(|at| of.0.shape[at]);
    let shared: Vec<u32> = a.1.iter().copied().filter(|l| b.1.contains(l)).collect();
    if shared.iter().any(|l| size(a, *l) != size(b, *l)) {
        return Err(Error::model("one letter of two sizes"));
    }
    let (batch, inner): (Vec<u32>, Vec<u32>) = shared.iter().partition(|l| needed(**l));
    let only = |of: &[u32], other: &[u32]| of.iter().copied().filter(|l| !other.contains(l)).collect::<Vec<u32>>();
    let (rows, columns) = (only(a.1, b.1), only(b.1, a.1));
    let count = |of: (&Value, &[u32]), ls: &[u32]| ls.iter().filter_map(|l| size(of, *l)).product::<usize>();
    let (g, m, n, k) = (count(a, &batch), count(a, &rows), count(b, &columns), count(a, &inner));
    let mut arrange = |of: (&Value, &[u32]), order: [&[u32]; 3], shape: [usize; 3]| {
        let order: Vec<usize> = order.into_iter().flatten().filter_map(|l| of.1.iter().position(|o| o == l)).collect();
        let turned = t.transpose(of.0, &order)?;
        t.reshape(turned, shape)
    };
    let left = arrange(a, [&batch, &rows, &inner], [g, m, k])?;
    let right = arrange(b, [&batch, &inner, &columns], [g, k, n])?;
    let letters: Vec<u32> = [batch, rows, columns].concat();
    let shape: Vec<usize> = letters.iter().filter_map(|l| size(a, *l).or_else(|| size(b, *l))).collect();
    let y = matmul(t, left, right)?;
    Ok((t.reshape(y, shape)?, letters))
}

/// Determinants of the last two dimensions, by elimination with pivots.
fn determinant(x: &Value) -> Result<Value> {
    let (outer, n) = match x.shape.as_slice() {
        [outer @ .., a, b] if a == b => (outer.to_vec(), *a),
        other => return Err(Error::model(format!("expected square matrices, found {other:?}"))),
    };
    let one = |matrix: &[f32]| {
        let mut a: Vec<f64> = matrix.iter().map(|v| f64::from(*v)).collect();
        let mut product = 1.0;
        for i in 0..n {
            let pivot = (i..n).max_by(|p, q| a[p * n + i].abs().total_cmp(&a[q * n + i].abs())).unwrap_or(i);
            if a[pivot * n + i] == 0.0 {
                return 0.0;
            }
            if pivot != i {
                (0..n).for_each(|j| a.swap(i * n + j, pivot * n + j));
                product = -product;
            }
            product *= a[i * n + i];
            for r in i + 1..n {
                let factor = a[r * n + i] / a[i * n + i];
                (i..n).for_each(|j| a[r * n + j] -= factor * a[i * n + j]);
            }
        }
        product as f32
    };
    let values = if n == 0 { vec![1.0; outer.iter().product()] } else { x.f()?.chunks_exact(n * n).map(one).collect() };
    Ok(Value::floats(outer, values)?.like(x.kind))
}
