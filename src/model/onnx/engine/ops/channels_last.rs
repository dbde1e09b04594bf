//! The steps that `fuse` puts in the place of a file's own: convolutions and products with constant weights, pools and turned tensors, with the channels
//! side by side (N x places x C). They are in no table: no file can name them.

use super::{
    super::{
        channels_last::Filter,
        kernel::Window,
        plan::Attribute,
        value::{Value, elements},
    },
    Inputs, Node, Operator, Slope, Tape,
    conv::{Frame, three, window},
    elementwise::one,
    pool,
};
use crate::error::{Error, Result};
use std::sync::Arc;

const fn step(name: &'static str, run: super::Run) -> Operator {
    Operator { domain: "", name, slope: Slope::Exact, run }
}

/// A convolution, with normalisation and activation folded in.
pub(in super::super) static CONV: Operator = step("Conv", conv);
/// The last dimension times a matrix.
pub(in super::super) static PRODUCT: Operator = step("Gemm", product);
/// N x C x places to N x places x C.
pub(in super::super) static TO_LAST: Operator = step("Transpose", |n, t, x| turned(n, t, x, true));
/// And back.
pub(in super::super) static TO_FIRST: Operator = step("Transpose", |n, t, x| turned(n, t, x, false));
/// The mean of all places: N x C x 1..., in the order of the file again.
pub(in super::super) static MEAN: Operator = step("GlobalAveragePool", mean);
/// The mean of windows.
pub(in super::super) static AVERAGE: Operator = step("AveragePool", |n, t, mut x| {
    let v = x.take(0)?;
    one(pool::average(n, t, &v, 1))
});
/// The largest of windows.
pub(in super::super) static LARGEST: Operator = step("MaxPool", largest);

impl Node {
    fn filter(&self) -> Result<&Arc<Filter>> {
        match self.attributes.get("filter") {
            Some(Attribute::Filter(filter)) => Ok(filter),
            _ => Err(Error::internal("a step without its weights")),
        }
    }
}

fn conv(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, filter) = (x.take(0)?, node.filter()?);
    let (rank, kernel) = (filter.shape.len(), filter.shape[2..].to_vec());
    if v.rank() != rank {
        return Err(Error::model(format!("expected {rank} dimensions, found {:?}", v.shape)));
    }
    let (input, channels) = (&v.shape[1..rank - 1], v.shape[rank - 1]);
    let frame = Frame::new(node, input, kernel)?;
    let of = window(&frame, v.shape[0], (channels, filter.shape[0]), filter.groups, input)?;
    let shape = [&[v.shape[0]], frame.output.as_slice(), &[filter.shape[0]]].concat();
    one(apply(t, v, filter, of, shape))
}

fn product(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, filter) = (x.take(0)?, node.filter()?);
    let (last, outer) = v.shape.split_last().ok_or_else(|| Error::model("expected at least one dimension"))?;
    let shape = [outer, &[filter.shape[0]]].concat();
    let places = [1, 1, outer.iter().product()];
    let of = Window {
        batch: 1,
        groups: 1,
        channels: (*last, filter.shape[0]),
        input: places,
        kernel: [1; 3],
        output: places,
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    one(apply(t, v, filter, of, shape))
}

fn apply(t: &mut Tape, x: Value, filter: &Arc<Filter>, of: Window, shape: Vec<usize>) -> Result<Value> {
    let n = elements(&shape)?;
    of.check(x.len(), filter.shape.iter().product(), n)?;
    t.multiply(of.work())?;
    let (node, kind) = (x.node, x.kind);
    let (y, marks) = filter.forward(&of, x.f()?, &t.rooms, node.is_some());
    t.give(x);
    let out = Value::floats(shape, y)?.like(kind);
    let (filter, rooms) = (filter.clone(), t.rooms.clone());
    Ok(t.record(out, &[node], || {
        Box::new(move |mut g| {
            if g.len() != n {
                return Err(Error::internal("a gradient of another size than its tensor"));
            }
            let own = filter.backward(&of, &mut g, &marks, &rooms);
            rooms.give(g);
            Ok(vec![Some(own)])
        })
    }))
}

/// `batch` matrices of `rows x columns`, transposed.
fn transposed(x: &[f32], [batch, rows, columns]: [usize; 3], mut out: Vec<f32>) -> Vec<f32> {
    const SIDE: usize = 16;
    out.clear();
    out.resize(x.len(), 0.0);
    let size = rows * columns;
    for (x, out) in x.chunks_exact(size.max(1)).zip(out.chunks_exact_mut(size.max(1))).take(batch) {
        if let (3, Some((a, rest))) = (rows, x.split_at_checked(columns)) {
            // A picture: three streams into one.
            let (b, c) = rest.split_at(columns);
            let (out, _) = out.as_chunks_mut::<3>();
            for (((out, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
                *out = [*a, *b, *c];
            }
            continue;
        }
        if columns == 3 {
            let (x, _) = x.as_chunks::<3>();
            let (a, rest) = out.split_at_mut(rows);
            let (b, c) = rest.split_at_mut(rows);
            for (((x, a), b), c) in x.iter().zip(a).zip(b).zip(c) {
                (*a, *b, *c) = (x[0], x[1], x[2]);
            }
            continue;
        }
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                for r in row..rows.min(row + SIDE) {
                    let own = &x[r * columns..][column..columns.min(column + SIDE)];
                    own.iter().enumerate().for_each(|(c, v)| out[(column + c) * rows + r] = *v);
                }
            }
        }
    }
    out
}

fn turned(node: &Node, t: &mut Tape, mut x: Inputs, to_last: bool) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let rank = usize::try_from(node.int("rank", 0)).unwrap_or(0);
    if v.rank() != rank || rank < 2 {
        return Err(Error::model(format!("expected {rank} dimensions, found {:?}", v.shape)));
    }
    let mut shape = v.shape.clone();
    if to_last {
        shape[1..].rotate_left(1);
    } else {
        shape[1..].rotate_right(1);
    }
    let places: usize = if to_last { v.shape[2..].iter().product() } else { v.shape[1..rank - 1].iter().product() };
    let channels = if to_last { v.shape[1] } else { v.shape[rank - 1] };
    let sides = if to_last { [v.shape[0], channels, places] } else { [v.shape[0], places, channels] };
    if places <= 1 || channels <= 1 || v.is_empty() {
        return one(t.reshape(v, shape));
    }
    t.spend(v.len())?;
    let values = transposed(v.f()?, sides, t.rooms.take(v.len()));
    let (own, kind) = (v.node, v.kind);
    t.give(v);
    let out = Value::floats(shape, values)?.like(kind);
    let rooms = t.rooms.clone();
    one(Ok(t.record(out, &[own], || {
        Box::new(move |g| {
            let back = transposed(&g, [sides[0], sides[2], sides[1]], rooms.take(g.len()));
            rooms.give(g);
            Ok(vec![Some(back)])
        })
    })))
}

fn mean(_: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let (rank, batch, channels) = (v.rank(), v.dim(0)?, v.shape.last().copied().unwrap_or(0));
    let mut shape = vec![1; rank];
    (shape[0], shape[1]) = (batch, channels);
    let places = v.len().checked_div(batch * channels).unwrap_or(0);
    t.spend(v.len())?;
    let share = 1.0 / places as f32;
    let mut means = vec![0.0f32; batch * channels];
    if !v.is_empty() {
        for (means, own) in means.chunks_exact_mut(channels).zip(v.f()?.chunks_exact(places * channels)) {
            own.chunks_exact(channels).for_each(|own| means.iter_mut().zip(own).for_each(|(m, v)| *m += v));
            means.iter_mut().for_each(|m| *m *= share);
        }
    }
    let (own, kind, rooms) = (v.node, v.kind, t.rooms.clone());
    t.give(v);
    let out = Value::floats(shape, means)?.like(kind);
    one(Ok(t.record(out, &[own], || {
        Box::new(move |mut g| {
            let mut all = rooms.take(g.len() * places);
            g.iter_mut().for_each(|g| *g *= share);
            g.chunks_exact(channels.max(1)).for_each(|g| (0..places).for_each(|_| all.extend_from_slice(g)));
            Ok(vec![Some(all)])
        })
    })))
}

fn largest(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let rank = v.rank();
    let of = pool::frame(node, &v, 1)?;
    let channels = v.shape[rank - 1];
    let shape = [&v.shape[..1], of.output.as_slice(), &[channels]].concat();
    let n = elements(&shape)?;
    t.spend(n.saturating_mul(of.kernel.iter().product()))?;
    let (input, output) = (three(&v.shape[1..rank - 1], 1)?, three(&of.output, 1)?);
    let axes = pool::places(&of, input)?;
    let (values, wanted) = (v.f()?, v.node.is_some());
    let mut y = t.rooms.take(n);
    y.resize(n, f32::NEG_INFINITY);
    // Places in the input, where a gradient comes back.
    let mut from = if wanted { vec![u32::MAX; n] } else { Vec::new() };
    let mut lines = y.chunks_exact_mut(channels.max(1)).enumerate();
    for sample in 0..v.shape[0] {
        for d in &axes[0] {
            for h in &axes[1] {
                for w in &axes[2] {
                    let Some((at, line)) = lines.next() else { continue };
                    let mut first = true;
                    for (id, ih, iw) in d.iter().flat_map(|d| h.iter().flat_map(move |h| w.iter().map(move |w| (d, h, w)))) {
                        let start = (((sample * input[0] + id) * input[1] + ih) * input[2] + iw) * channels;
                        let seen = &values[start..][..channels];
                        if wanted {
                            let from = &mut from[at * channels..][..channels];
                            for (c, ((y, from), v)) in line.iter_mut().zip(from).zip(seen).enumerate() {
                                if first || *v > *y || v.is_nan() {
                                    (*y, *from) = (*v, (start + c) as u32);
                                }
                            }
                        } else {
                            line.iter_mut().zip(seen).for_each(|(y, v)| *y = if *v > *y || v.is_nan() { *v } else { *y });
                        }
                        first = false;
                    }
                }
            }
        }
    }
    debug_assert_eq!(output.iter().product::<usize>() * v.shape[0] * channels, n);
    let (own, kind, len, rooms) = (v.node, v.kind, v.len(), t.rooms.clone());
    t.give(v);
    let out = Value::floats(shape, y)?.like(kind);
    one(Ok(t.record(out, &[own], || {
        Box::new(move |g| {
            let mut all = rooms.take(len);
            all.resize(len, 0.0);
            for (from, g) in from.iter().zip(&g) {
                if let Some(to) = all.get_mut(*from as usize) {
                    *to += g;
                }
            }
            rooms.give(g);
            Ok(vec![Some(all)])
        })
    })))
}
