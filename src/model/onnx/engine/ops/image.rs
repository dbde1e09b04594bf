//! Images brought to other sizes and places: `Resize`, `GridSample`, `RoiAlign`, `DeformConv`, and their kin.

use super::{
    super::value::{Kind, Value, elements},
    Inputs, Node, Tape,
    elementwise::one,
    matrix::matmul,
    shape::sizes,
    table,
};
use crate::error::{Error, Result};

table! {
    "Resize" Exact resize,
    "Upsample" Exact resize,
    "GridSample" Exact grid_sample,
    "AffineGrid" Exact affine_grid,
    "RoiAlign" Exact roi_align,
    "DeformConv" Exact deform,
    "Col2Im" Exact col2im,
    "NonMaxSuppression" Ends suppress,
}

/// Weights of the cubic kernel at the four neighbours of a place `f` past the second.
fn cubic(f: f32, a: f32) -> [f32; 4] {
    let near = |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [far(f + 1.0), near(f), near(1.0 - f), far(2.0 - f)]
}

/// How one axis is resized.
struct Axis<'n> {
    from: usize,
    to: usize,
    scale: f32,
    region: (f32, f32),
    mode: &'n str,
    place: &'n str,
    nearest: &'n str,
    a: f32,
    exclude: bool,
    smooth: bool,
}

impl Axis<'_> {
    /// Where output `i` lies in the input.
    fn origin(&self, i: usize) -> f32 {
        let (x, n, m, s) = (i as f32, self.from as f32, self.to as f32, self.scale);
        match self.place {
            "align_corners" if self.to == 1 => 0.0,
            "align_corners" => x * (n - 1.0) / (n * s - 1.0),
            "asymmetric" => x / s,
            "pytorch_half_pixel" if self.to == 1 => -0.5,
            "tf_half_pixel_for_nn" => (x + 0.5) / s,
            "half_pixel_symmetric" => {
                let adjust = m / (s * n);
                n / 2.0 * (1.0 - adjust) + (x + 0.5) / s - 0.5
            }
            "tf_crop_and_resize" => {
                let (start, end) = self.region;
                if self.to > 1 { start * (n - 1.0) + x * (end - start) * (n - 1.0) / (m - 1.0) } else { 0.5 * (start + end) * (n - 1.0) }
            }
            _ => (x + 0.5) / s - 0.5,
        }
    }

    /// Weighted inputs of output `i`; none where it lies outside a cropped region.
    fn row(&self, i: usize) -> Vec<(usize, f32)> {
        let (x, last) = (self.origin(i), self.from as f32 - 1.0);
        if self.place == "tf_crop_and_resize" && !(0.0..=last).contains(&x) {
            return Vec::new();
        }
        let clamp = |v: f32| v.clamp(0.0, last) as usize;
        if self.mode == "nearest" {
            let whole = match self.nearest {
                "round_prefer_ceil" => (x + 0.5).floor(),
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                _ => (x - 0.5).ceil(),
            };
            return vec![(clamp(whole), 1.0)];
        }
        let wide = if self.smooth && self.scale < 1.0 { self.scale } else { 1.0 };
        let reach = if self.mode == "linear" { 1.0 } else { 2.0 };
        let kernel = |d: f32| {
            let d = (d * wide).abs();
            match (self.mode, d) {
                ("linear", d) => (1.0 - d).max(0.0),
                (_, d) if d < 1.0 => cubic(d, self.a)[1],
                (_, d) if d < 2.0 => cubic(d - 1.0, self.a)[0],
                _ => 0.0,
            }
        };
        let (first, end) = ((x - reach / wide).floor() as i64 + 1, (x + reach / wide).ceil() as i64 - 1);
        let taps = (first.min(x.floor() as i64)..=end.max(x.floor() as i64)).take(1 << 16);
        let outside = |j: i64| j < 0 || j as f32 > last;
        let weighted = taps.map(|j| (j, if self.exclude && outside(j) { 0.0 } else { kernel(x - j as f32) }));
        let weighted: Vec<(i64, f32)> = weighted.filter(|(_, w)| *w != 0.0).collect();
        let sum: f32 = weighted.iter().map(|(_, w)| w).sum();
        let norm = if self.exclude || wide < 1.0 { sum } else { 1.0 };
        weighted.into_iter().map(|(j, w)| (clamp(j as f32), w / norm)).collect()
    }
}

fn resize(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let (region, scales, wanted) =
        if node.version < 11 || node.operator.name == "Upsample" { (None, x.opt(1), None) } else { (x.opt(1), x.opt(2), x.opt(3)) };
    let scales = match scales.filter(|s| !s.is_empty()) {
        Some(s) => Some(s.f()?.to_vec()),
        None => node.floats("scales").map(<[f32]>::to_vec),
    };
    let axes = match node.ints("axes") {
        Some(axes) => axes.iter().map(|a| v.axis(*a)).collect::<Result<Vec<_>>>()?,
        None => (0..v.rank()).collect(),
    };
    let policy = node.text("keep_aspect_ratio_policy", "stretch").to_owned();
    let (mut factors, mut target) = (vec![1.0f32; v.rank()], v.shape.clone());
    match (wanted.filter(|w| !w.is_empty()), scales) {
        (Some(wanted), _) => {
            let wanted = sizes(&wanted)?;
            if wanted.len() != axes.len() {
                return Err(Error::model("as many sizes as axes are needed"));
            }
            let each: Vec<f32> = axes.iter().zip(&wanted).map(|(a, w)| *w as f32 / v.shape[*a] as f32).collect();
            let common = match policy.as_str() {
                "not_larger" => Some(each.iter().copied().fold(f32::INFINITY, f32::min)),
                "not_smaller" => Some(each.iter().copied().fold(0.0, f32::max)),
                _ => None,
            };
            for ((a, w), own) in axes.iter().zip(&wanted).zip(each) {
                factors[*a] = common.unwrap_or(own);
                target[*a] = common.map_or(*w, |c| (v.shape[*a] as f32 * c + 0.5).floor() as usize);
            }
        }
        (None, Some(scales)) => {
            if scales.len() != axes.len() || scales.iter().any(|s| !s.is_finite() || *s <= 0.0 || *s > 1e6) {
                return Err(Error::model(format!("no scales for {} axes: {scales:?}", axes.len())));
            }
            for (a, s) in axes.iter().zip(scales) {
                factors[*a] = s;
                target[*a] = (v.shape[*a] as f32 * s).floor() as usize;
            }
        }
        (None, None) => return Err(Error::model("neither sizes nor scales are given")),
    }
    elements(&target)?;
    let region = region.filter(|r| r.len() == 2 * axes.len()).map(|r| r.to_floats()).unwrap_or_default();
    let legacy =
        if node.version < 11 || node.operator.name == "Upsample" { ("asymmetric", "floor") } else { ("half_pixel", "round_prefer_floor") };
    let mut out = v.clone();
    for (k, &a) in axes.iter().enumerate() {
        let axis = Axis {
            from: v.shape[a],
            to: target[a],
            scale: factors[a],
            region: (region.get(k).copied().unwrap_or(0.0), region.get(k + axes.len()).copied().unwrap_or(1.0)),
            mode: match node.text("mode", "nearest") {
                "bilinear" => "linear",
                other => other,
            },
            place: node.text("coordinate_transformation_mode", legacy.0),
            nearest: node.text("nearest_mode", legacy.1),
            a: node.float("cubic_coeff_a", -0.75),
            exclude: node.int("exclude_outside", 0) != 0,
            smooth: node.int("antialias", 0) != 0,
        };
        if axis.from == axis.to && axis.scale == 1.0 && axis.place != "tf_crop_and_resize" {
            continue;
        }
        if axis.from == 0 {
            return Err(Error::model("an empty image cannot be resized"));
        }
        let rows: Vec<Vec<(usize, f32)>> = (0..axis.to).map(|i| axis.row(i)).collect();
        let empty: Vec<bool> = rows.iter().map(Vec::is_empty).collect();
        let floats = if out.kind.is_float() { out } else { t.cast(out, Kind::Float)? };
        out = t.along(&floats, a, rows)?;
        if empty.contains(&true) {
            let mut shape = vec![1; v.rank()];
            shape[a] = axis.to;
            let fill = node.float("extrapolation_value", 0.0);
            let keep = Value::floats(shape.clone(), empty.iter().map(|e| if *e { 0.0 } else { 1.0 }).collect())?;
            let value = Value::floats(shape, empty.iter().map(|e| if *e { fill } else { 0.0 }).collect())?;
            out = t.mul(out, keep)?;
            out = t.add(out, value)?;
        }
    }
    one(t.cast(out, v.kind))
}

/// A place outside `0..n` by the rule of a mode; `None` is zero.
fn inside(i: i64, n: i64, mode: &str, corners: bool) -> Option<usize> {
    let at = match mode {
        _ if (0..n).contains(&i) => i,
        "border" => i.clamp(0, n - 1),
        "reflection" if corners && n == 1 => 0,
        "reflection" if corners => {
            let at = i.rem_euclid(2 * (n - 1));
            at.min(2 * (n - 1) - at)
        }
        "reflection" => {
            let at = i.rem_euclid(2 * n);
            if at < n { at } else { 2 * n - 1 - at }
        }
        _ => return None,
    };
    Some(at as usize)
}

/// The neighbours of a real place along one axis with their weights and the derivatives of these.
fn neighbours(x: f32, mode: &str) -> Vec<(i64, f32, f32)> {
    if !x.is_finite() || x.abs() > 1e8 {
        return Vec::new();
    }
    let (whole, f) = (x.floor(), x - x.floor());
    match mode {
        "nearest" => vec![(x.round_ties_even() as i64, 1.0, 0.0)],
        "cubic" | "bicubic" => {
            let (w, up, down) = (cubic(f, -0.75), cubic(f + 1e-3, -0.75), cubic(f - 1e-3, -0.75));
            (0..4).map(|k| (whole as i64 + k - 1, w[k as usize], (up[k as usize] - down[k as usize]) / 2e-3)).collect()
        }
        _ => vec![(whole as i64, 1.0 - f, -1.0), (whole as i64 + 1, f, 1.0)],
    }
}

/// What one output of a sampler is made of: places with weights, and the derivative of each weight by each coordinate.
type Taps = Vec<(usize, f32, [f32; 3])>;

/// Samples of `planes` planes of `size` values each, `taps` per sample; gradients go to the values and to the coordinates.
fn sampled(
    t: &mut Tape,
    x: &Value,
    at: Option<&Value>,
    shape: Vec<usize>,
    taps: Vec<Taps>,
    planes: (usize, usize),
    rank: usize,
) -> Result<Value> {
    if x.is_empty() {
        return Err(Error::model("nothing to sample from"));
    }
    // `taps` are per batch and place; each batch has `channels` planes.
    let (channels, size) = planes;
    let places = taps.len().checked_div(x.len().checked_div(channels * size).unwrap_or(0)).unwrap_or(0);
    let n = elements(&shape)?;
    t.spend(n.saturating_mul(16))?;
    let values = x.arc()?;
    let mut out = vec![0.0; n];
    let plane = move |i: usize| (i / places, i % places);
    for (i, taps) in taps.iter().enumerate() {
        let (b, p) = plane(i);
        for c in 0..channels {
            let from = (b * channels + c) * size;
            out[(b * channels + c) * places + p] = taps.iter().map(|(j, w, _)| w * values[from + j]).sum();
        }
    }
    let out = Value::floats(shape, out)?.like(x.kind);
    let (nx, ng) = (x.node, at.and_then(|a| a.node));
    Ok(t.record(out, &[nx, ng], || {
        Box::new(move |g| {
            let mut own = vec![0.0; values.len()];
            let mut moved = vec![0.0; taps.len() * rank];
            for (i, taps) in taps.iter().enumerate() {
                let (b, p) = plane(i);
                for c in 0..channels {
                    let (from, g) = ((b * channels + c) * size, g[(b * channels + c) * places + p]);
                    for (j, w, d) in taps {
                        own[from + j] += w * g;
                        (0..rank).for_each(|k| moved[i * rank + k] += d[k] * values[from + j] * g);
                    }
                }
            }
            Ok(vec![nx.map(|_| own), ng.map(|_| moved)])
        })
    }))
}

fn grid_sample(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, grid) = (x.take(0)?, x.take(1)?);
    let rank = v.rank().saturating_sub(2);
    if !(1..=3).contains(&rank) || grid.rank() != v.rank() || grid.shape[v.rank() - 1] != rank || grid.shape[0] != v.shape[0] {
        return Err(Error::model(format!("the grid {:?} does not fit {:?}", grid.shape, v.shape)));
    }
    let (mode, pad) = (node.text("mode", "linear").to_owned(), node.text("padding_mode", "zeros").to_owned());
    let corners = node.int("align_corners", 0) != 0;
    let space = v.shape[2..].to_vec();
    let size: usize = space.iter().product();
    if (grid.len() / rank).saturating_mul(if mode.ends_with("cubic") { 4usize } else { 2 }.pow(rank as u32)) > 1 << 26 {
        return Err(Error::model("the grid has too many places"));
    }
    let mut taps = Vec::with_capacity(grid.len() / rank);
    for place in grid.f()?.chunks_exact(rank) {
        let mut all: Taps = vec![(0, 1.0, [0.0; 3])];
        for (axis, n) in space.iter().enumerate() {
            // The grid names the last axis first.
            let k = rank - 1 - axis;
            let n_f = *n as f32;
            let (mut at, slope) = if corners {
                ((place[k] + 1.0) / 2.0 * (n_f - 1.0), (n_f - 1.0) / 2.0)
            } else {
                ((place[k] + 1.0) * n_f / 2.0 - 0.5, n_f / 2.0)
            };
            let mut slope = slope;
            if pad == "border" && mode != "cubic" && mode != "bicubic" {
                if !(0.0..=n_f - 1.0).contains(&at) {
                    slope = 0.0;
                }
                at = at.clamp(0.0, n_f - 1.0);
            }
            let mut next = Vec::new();
            for (i, w, d) in neighbours(at, &mode) {
                let Some(i) = inside(i, *n as i64, &pad, corners) else { continue };
                for (j, own, slopes) in &all {
                    let mut slopes = slopes.map(|s| s * w);
                    slopes[k] = own * d * slope;
                    next.push((j * n + i, own * w, slopes));
                }
            }
            all = next;
        }
        taps.push(all);
    }
    let shape = [&v.shape[..2], &grid.shape[1..grid.rank() - 1]].concat();
    one(sampled(t, &v, Some(&grid), shape, taps, (v.shape[1], size), rank))
}

fn affine_grid(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (theta, size) = (x.take(0)?, sizes(&x.take(1)?)?);
    let corners = node.int("align_corners", 0) != 0;
    let (space, batch) = (size.get(2..).unwrap_or_default(), size.first().copied().unwrap_or(0));
    let rank = space.len();
    if !(2..=3).contains(&rank) || theta.shape != [batch, rank, rank + 1] {
        return Err(Error::model(format!("the matrices {:?} do not fit the size {size:?}", theta.shape)));
    }
    let n = elements(space)?;
    let coordinate = |i: usize, n: usize| match (corners, n) {
        (true, 1) => 0.0,
        (true, n) => 2.0 * i as f32 / (n - 1) as f32 - 1.0,
        (false, n) => (2.0 * i as f32 + 1.0) / n as f32 - 1.0,
    };
    let mut rows = Vec::with_capacity(n * (rank + 1));
    for p in 0..n {
        let mut rest = p;
        let mut at = Vec::new();
        for size in space.iter().rev() {
            at.push(coordinate(rest % size, *size));
            rest /= size;
        }
        rows.extend(at);
        rows.push(1.0);
    }
    let base = Value::floats([n, rank + 1], rows)?;
    let turned = t.transpose(&theta, &[0, 2, 1])?;
    let grid = matmul(t, base, turned)?;
    one(t.reshape(grid, [&[batch], space, &[rank]].concat()))
}

fn roi_align(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, regions, batches) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let &[batch, channels, height, width] = v.shape.as_slice() else { return Err(Error::model("expected four dimensions")) };
    let count = |name: &str, default: i64| {
        usize::try_from(node.int(name, default))
            .ok()
            .filter(|n| *n <= 4096)
            .ok_or_else(|| Error::model(format!("`{name}` is out of range")))
    };
    let (rows, columns, ratio) = (count("output_height", 1)?, count("output_width", 1)?, count("sampling_ratio", 0)?);
    let scale = node.float("spatial_scale", 1.0);
    let half = node.text("coordinate_transformation_mode", "half_pixel") == "half_pixel" && node.version >= 16;
    let largest = node.text("mode", "avg") == "max";
    let r = batches.len();
    if regions.shape != [r, 4] {
        return Err(Error::model(format!("expected {r} regions of four numbers, found {:?}", regions.shape)));
    }
    let shape = vec![r, channels, rows, columns];
    let n = elements(&shape)?;
    let values = v.arc()?;
    let (mut out, mut made): (Vec<f32>, Vec<Vec<(usize, f32)>>) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let shift = if half { 0.5 } else { 0.0 };
    for (region, b) in regions.f()?.chunks_exact(4).zip(batches.i()?) {
        let b = usize::try_from(*b).ok().filter(|b| *b < batch).ok_or_else(|| Error::model("a region of a batch that is not there"))?;
        let edge = |k: usize| region[k] * scale - shift;
        let span = |d: f32| if half { d } else { d.max(1.0) };
        let (w, h) = (span(edge(2) - edge(0)), span(edge(3) - edge(1)));
        let (bin_w, bin_h) = (w / columns as f32, h / rows as f32);
        let steps = |bin: f32| if ratio > 0 { ratio } else { bin.ceil().clamp(1.0, 64.0) as usize };
        let (sy, sx) = (steps(bin_h), steps(bin_w));
        let taps = n.saturating_mul(sx * sy * 4);
        t.spend(taps)?;
        if taps > super::super::value::MAX_ELEMENTS {
            return Err(Error::model("a region is sampled too finely"));
        }
        let taps = |y: f32, x: f32| -> Vec<(usize, f32)> {
            if y < -1.0 || y > height as f32 || x < -1.0 || x > width as f32 || !(x + y).is_finite() {
                return Vec::new();
            }
            let near = |v: f32, n: usize| {
                let v = v.max(0.0);
                let low = (v as usize).min(n - 1);
                if low + 1 >= n { [(n - 1, 1.0), (n - 1, 0.0)] } else { [(low, 1.0 - (v - low as f32)), (low + 1, v - low as f32)] }
            };
            near(y, height).iter().flat_map(|(i, a)| near(x, width).map(|(j, b)| (i * width + j, a * b))).collect()
        };
        for c in 0..channels {
            let plane = (b * channels + c) * height * width;
            for row in 0..rows {
                for column in 0..columns {
                    let mut all: Vec<(usize, f32)> = Vec::new();
                    let mut best: Option<(usize, f32)> = None;
                    for iy in 0..sy {
                        for ix in 0..sx {
                            let y = edge(1) + (row as f32 + (iy as f32 + 0.5) / sy as f32) * bin_h;
                            let x = edge(0) + (column as f32 + (ix as f32 + 0.5) / sx as f32) * bin_w;
                            for (at, w) in taps(y, x) {
                                let value = w * values[plane + at];
                                if best.is_none_or(|(k, w)| value > w * values[k]) {
                                    best = Some((plane + at, w));
                                }
                                all.push((plane + at, w / (sx * sy) as f32));
                            }
                        }
                    }
                    let made_of = if largest { best.into_iter().collect() } else { all };
                    out.push(made_of.iter().map(|(at, w)| w * values[*at]).sum());
                    made.push(made_of);
                }
            }
        }
    }
    let out = Value::floats(shape, out)?.like(v.kind);
    one(Ok(t.record(out, &[v.node], || {
        Box::new(move |g| {
            let mut own = vec![0.0; values.len()];
            made.iter().zip(g).for_each(|(taps, g)| taps.iter().for_each(|(at, w)| own[*at] += w * g));
            Ok(vec![Some(own)])
        })
    })))
}

fn deform(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, w, offset, bias, mask) = (x.take(0)?, x.take(1)?, x.take(2)?, x.opt(3), x.opt(4));
    let (&[batch, channels, height, width], &[outputs, per_group, kh, kw]) = (v.shape.as_slice(), w.shape.as_slice()) else {
        return Err(Error::model("expected images and kernels of four dimensions"));
    };
    let frame = super::conv::Frame::new(node, &v.shape[2..], vec![kh, kw])?;
    let (oh, ow) = (frame.output[0], frame.output[1]);
    let count = |name: &str| {
        usize::try_from(node.int(name, 1)).ok().filter(|n| *n > 0).ok_or_else(|| Error::model(format!("`{name}` is out of range")))
    };
    let (groups, moved) = (count("group")?, count("offset_group")?);
    let (taps, places) = (kh * kw, oh * ow);
    if offset.shape != [batch, moved * taps * 2, oh, ow] || channels % moved != 0 || per_group * groups != channels || outputs % groups != 0
    {
        return Err(Error::model(format!("the offsets {:?} do not fit", offset.shape)));
    }
    if offset.len() > 1 << 25 {
        return Err(Error::model("the kernel has too many taps"));
    }
    // Every tap of every place is sampled, then weighted as a product of matrices.
    let offsets = offset.f()?;
    let mut all = Vec::new();
    for b in 0..batch {
        for m in 0..moved {
            for k in 0..taps {
                for p in 0..places {
                    let shift = |axis: usize| offsets[((b * moved + m) * taps * 2 + k * 2 + axis) * places + p];
                    let y = (p / ow * frame.stride[0] + k / kw * frame.dilation[0]) as f32 - frame.begin[0] as f32 + shift(0);
                    let x = (p % ow * frame.stride[1] + k % kw * frame.dilation[1]) as f32 - frame.begin[1] as f32 + shift(1);
                    let mut own: Taps = Vec::new();
                    for (i, a, da) in neighbours(y, "linear") {
                        for (j, c, dc) in neighbours(x, "linear") {
                            if let (Some(i), Some(j)) = (inside(i, height as i64, "zeros", false), inside(j, width as i64, "zeros", false))
                            {
                                own.push((i * width + j, a * c, [da * c, a * dc, 0.0]));
                            }
                        }
                    }
                    all.push(own);
                }
            }
        }
    }
    let c = channels / moved;
    let apart = t.reshape(v, [batch * moved, c, height * width])?;
    // Coordinates as pairs, for their gradient.
    let pairs = t.reshape(offset, [batch * moved, taps, 2, places])?;
    let pairs = t.transpose(&pairs, &[0, 1, 3, 2])?;
    let seen = sampled(t, &apart, Some(&pairs), vec![batch * moved, c, taps, places], all, (c, height * width), 2)?;
    let seen = match mask {
        Some(mask) => {
            let mask = t.reshape(mask, [batch * moved, 1, taps, places])?;
            t.mul(seen, mask)?
        }
        None => seen,
    };
    let seen = t.reshape(seen, [batch, groups, per_group * taps, places])?;
    let w = t.reshape(w, [1, groups, outputs / groups, per_group * taps])?;
    let y = matmul(t, w, seen)?;
    let y = t.reshape(y, [batch, outputs, oh, ow])?;
    let Some(bias) = bias else { return one(Ok(y)) };
    let bias = t.reshape(bias, [outputs, 1, 1])?;
    one(t.add(y, bias))
}

fn col2im(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, image, block) = (x.take(0)?, sizes(&x.take(1)?)?, sizes(&x.take(2)?)?);
    if v.rank() != 3 || image.len() != block.len() {
        return Err(Error::model(format!("expected three dimensions, found {:?}", v.shape)));
    }
    let frame = super::conv::Frame::new(node, &image, block)?;
    let (taps, places, size): (usize, usize, usize) =
        (frame.kernel.iter().product(), frame.output.iter().product(), image.iter().product());
    if taps == 0 || v.shape[1] % taps != 0 || v.shape[2] != places {
        return Err(Error::model(format!("the columns {:?} do not fit {taps} taps at {places} places", v.shape)));
    }
    let planes = v.shape[0] * v.shape[1] / taps;
    let place = |tap: usize, p: usize| {
        let (mut tap, mut p, mut step, mut at) = (tap, p, 1, 0);
        for a in (0..image.len()).rev() {
            let i = p % frame.output[a] * frame.stride[a] + tap % frame.kernel[a] * frame.dilation[a];
            at += i.checked_sub(frame.begin[a]).filter(|i| *i < image[a])? * step;
            step *= image[a];
            tap /= frame.kernel[a];
            p /= frame.output[a];
        }
        Some(at)
    };
    let index = (0..v.len()).map(|i| place(i / places % taps, i % places).map_or(usize::MAX, |at| i / (taps * places) * size + at));
    let shape = [&[v.shape[0], planes / v.shape[0].max(1)], image.as_slice()].concat();
    one(t.spread(&v, shape, index.collect()))
}

/// Boxes kept in order of their scores, none overlapping a better one of its class by more than the threshold.
fn suppress(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (boxes, scores, most, overlap, least) = (x.take(0)?, x.take(1)?, x.opt(2), x.opt(3), x.opt(4));
    let most = most.map_or(Ok(0), |v| v.int())?;
    let overlap = overlap.map_or(Ok(0.0), |v| v.number())?;
    let least = least.map_or(Ok(f32::NEG_INFINITY), |v| v.number())?;
    let (&[batch, count, 4], &[sb, classes, sn]) = (boxes.shape.as_slice(), scores.shape.as_slice()) else {
        return Err(Error::model(format!("expected boxes and scores, found {:?} and {:?}", boxes.shape, scores.shape)));
    };
    if sb != batch || sn != count {
        return Err(Error::model("boxes and scores do not fit"));
    }
    let centred = node.int("center_point_box", 0) != 0;
    let corners = |b: &[f32]| {
        let (y1, x1, y2, x2) =
            if centred { (b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0) } else { (b[0], b[1], b[2], b[3]) };
        [y1.min(y2), x1.min(x2), y1.max(y2), x1.max(x2)]
    };
    let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let shared = |a: &[f32; 4], b: &[f32; 4]| {
        let inner = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
        inner / (area(a) + area(b) - inner)
    };
    let corner: Vec<[f32; 4]> = boxes.f()?.chunks_exact(4).map(corners).collect();
    let mut out = Vec::new();
    for b in 0..batch {
        for c in 0..classes {
            let own = &scores.f()?[(b * classes + c) * count..][..count];
            let mut order: Vec<usize> = (0..count).filter(|i| own[*i] > least).collect();
            order.sort_by(|i, j| own[*j].total_cmp(&own[*i]).then(i.cmp(j)));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() as i64 >= most {
                    break;
                }
                t.spend(kept.len())?;
                if kept.iter().all(|k| shared(&corner[b * count + i], &corner[b * count + k]) <= overlap) {
                    kept.push(i);
                }
            }
            out.extend(kept.into_iter().flat_map(|i| [b as i64, c as i64, i as i64]));
        }
    }
    one(Value::ints(Kind::Int64, [out.len() / 3, 3], out))
}
