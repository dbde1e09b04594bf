//! The inner loops that take the time: matrix products and convolutions with their ways back.

use crate::error::{Error, Result};
use gemm::Parallelism;

/// Defines a function whose loops are compiled for AVX2 and AVX-512, too, and that calls the widest version the processor knows.
macro_rules! wide {
    ($(#[$meta:meta])* fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn plain($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2,avx512f,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    plain($($arg),*)
                }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                    // SAFETY: the processor has the features that the function was compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

/// A matrix inside a slice: distance of neighbouring rows and of neighbouring columns.
pub(super) type Steps = (usize, usize);

/// `out = a b`, or `out += a b`: `m x k` times `k x n`.
#[allow(clippy::too_many_arguments)]
pub(super) fn product(
    (m, n, k): (usize, usize, usize),
    a: &[f32],
    a_steps: Steps,
    b: &[f32],
    b_steps: Steps,
    out: &mut [f32],
    out_steps: Steps,
    add: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let last = |rows: usize, columns: usize, (r, c): Steps| (rows - 1) * r + (columns - 1) * c;
    assert!(last(m, n, out_steps) < out.len() && (n == 1 || m == 1 || out_steps.0 >= n || out_steps.1 >= m));
    if k == 0 {
        if !add {
            (0..m).for_each(|i| (0..n).for_each(|j| out[i * out_steps.0 + j * out_steps.1] = 0.0));
        }
        return;
    }
    assert!(last(m, k, a_steps) < a.len() && last(k, n, b_steps) < b.len());
    let step = |s: usize| s as isize;
    // SAFETY: the last element of each matrix lies inside its slice, and `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            step(out_steps.1),
            step(out_steps.0),
            add,
            a.as_ptr(),
            step(a_steps.1),
            step(a_steps.0),
            b.as_ptr(),
            step(b_steps.1),
            step(b_steps.0),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// A convolution of up to three spatial dimensions (those that are not there have size 1).
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of the input and of the output.
    pub(super) channels: (usize, usize),
    pub(super) input: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) dilation: [usize; 3],
    pub(super) pad: [usize; 3],
}

/// Floats of one strip of unrolled patches.
const STRIP: usize = 1 << 17;

impl Window {
    fn size(of: [usize; 3]) -> usize {
        of.iter().product()
    }
    /// Values of one patch in one group.
    fn patch(&self) -> usize {
        self.channels.0 / self.groups * Self::size(self.kernel)
    }
    /// Multiplications of one pass.
    pub(super) fn work(&self) -> usize {
        let outputs = self.batch.saturating_mul(self.channels.1).saturating_mul(Self::size(self.output));
        outputs.saturating_mul(self.patch())
    }
    /// An error unless the numbers of values fit.
    pub(super) fn check(&self, x: usize, w: usize, y: usize) -> Result<()> {
        let fits = self.groups > 0
            && self.channels.0.is_multiple_of(self.groups)
            && self.channels.1.is_multiple_of(self.groups)
            && x == self.batch * self.channels.0 * Self::size(self.input)
            && w == self.channels.1 * self.patch()
            && y == self.batch * self.channels.1 * Self::size(self.output)
            && self.stride.iter().chain(&self.dilation).all(|s| *s > 0)
            && self.patch().saturating_mul(self.output[2]) <= super::value::MAX_ELEMENTS;
        if fits {
            Ok(())
        } else {
            Err(Error::model("the weights of a convolution do not fit its channels, groups and kernel, or its window is too large"))
        }
    }
    /// One channel a group on both sides, in at most two dimensions.
    fn is_depthwise(&self) -> bool {
        let plain = self.input[0] == 1 && self.output[0] == 1 && self.kernel[0] == 1 && self.pad[0] == 0;
        // Both padded planes stay small, whatever the padding and the strides.
        let reach = |axis: usize| self.kernel[axis].saturating_mul(self.dilation[axis]);
        let wide = |axis: usize| {
            let seen = self.output[axis].saturating_mul(self.stride[axis]);
            seen.max(self.input[axis]).saturating_add(reach(axis))
        };
        self.channels.0 == self.groups && self.channels.1 == self.groups && plain && wide(1).saturating_mul(wide(2)) <= 1 << 24
    }
    /// Every patch is one value.
    pub(super) fn is_pointwise(&self) -> bool {
        Self::size(self.kernel) == 1 && self.input == self.output && self.pad == [0; 3] && self.stride == [1; 3]
    }
    /// Rows of the output (of its last dimension) that one strip holds.
    fn rows_a_strip(&self) -> usize {
        (STRIP / (self.patch() * self.output[2]).max(1)).clamp(1, (self.output[0] * self.output[1]).max(1))
    }
    /// The outputs whose tap `k` of the last dimension lies inside the input.
    fn inside(&self, axis: usize, k: usize) -> (usize, usize) {
        let shift = k * self.dilation[axis];
        let (stride, pad, size) = (self.stride[axis], self.pad[axis], self.input[axis]);
        let first = pad.saturating_sub(shift).div_ceil(stride);
        let end = (size + pad).saturating_sub(shift).div_ceil(stride);
        (first.min(self.output[axis]), end.clamp(first.min(self.output[axis]), self.output[axis]))
    }
    /// The input row that output row `row` sees through the taps `(d, h)`.
    fn row(&self, row: usize, d: usize, h: usize) -> Option<usize> {
        let (od, oh) = (row / self.output[1], row % self.output[1]);
        let id = (od * self.stride[0] + d * self.dilation[0]).checked_sub(self.pad[0]).filter(|i| *i < self.input[0])?;
        let ih = (oh * self.stride[1] + h * self.dilation[1]).checked_sub(self.pad[1]).filter(|i| *i < self.input[1])?;
        Some(id * self.input[1] + ih)
    }
    /// Visits each tap of a strip as `(line of the unrolled matrix, channel, tap of the last dimension, row taps)`.
    fn taps(&self, mut visit: impl FnMut(usize, usize, (usize, usize, usize))) {
        let mut line = 0;
        for channel in 0..self.channels.0 / self.groups {
            for d in 0..self.kernel[0] {
                for h in 0..self.kernel[1] {
                    for w in 0..self.kernel[2] {
                        visit(line, channel, (d, h, w));
                        line += 1;
                    }
                }
            }
        }
    }
    /// Unrolls the patches of the output rows `from..to` of one group: `patch x (rows * columns)`.
    fn unroll(&self, x: &[f32], (from, to): (usize, usize), strip: &mut Vec<f32>) {
        let (plane, columns, stride) = (Self::size(self.input), self.output[2], self.stride[2]);
        strip.clear();
        strip.resize(self.patch() * (to - from) * columns, 0.0);
        self.taps(|line, channel, (d, h, w)| {
            let (first, end) = self.inside(2, w);
            if first == end {
                return;
            }
            for row in from..to {
                let Some(seen) = self.row(row, d, h) else { continue };
                let source = channel * plane + seen * self.input[2] + first * stride + w * self.dilation[2] - self.pad[2];
                let out = &mut strip[(line * (to - from) + row - from) * columns..][first..end];
                if stride == 1 {
                    out.copy_from_slice(&x[source..source + end - first]);
                } else {
                    out.iter_mut().enumerate().for_each(|(i, o)| *o = x[source + i * stride]);
                }
            }
        });
    }
    /// The way back of `unroll`: adds every patch to where it came from.
    fn roll(&self, strip: &[f32], (from, to): (usize, usize), x: &mut [f32]) {
        let (plane, columns, stride) = (Self::size(self.input), self.output[2], self.stride[2]);
        self.taps(|line, channel, (d, h, w)| {
            let (first, end) = self.inside(2, w);
            if first == end {
                return;
            }
            for row in from..to {
                let Some(seen) = self.row(row, d, h) else { continue };
                let target = channel * plane + seen * self.input[2] + first * stride + w * self.dilation[2] - self.pad[2];
                let own = &strip[(line * (to - from) + row - from) * columns..][first..end];
                if stride == 1 {
                    x[target..target + end - first].iter_mut().zip(own).for_each(|(x, v)| *x += v);
                } else {
                    own.iter().enumerate().for_each(|(i, v)| x[target + i * stride] += v);
                }
            }
        });
    }
    /// Visits samples and groups as the starts of input, weights and output.
    fn parts(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (x, y) = (self.channels.0 / self.groups * Self::size(self.input), self.channels.1 / self.groups * Self::size(self.output));
        for sample in 0..self.batch {
            for group in 0..self.groups {
                visit(
                    (sample * self.groups + group) * x,
                    group * (self.channels.1 / self.groups) * self.patch(),
                    (sample * self.groups + group) * y,
                );
            }
        }
    }
    /// Visits strips of output rows.
    fn strips(&self, mut visit: impl FnMut(usize, usize)) {
        let (rows, step) = (self.output[0] * self.output[1], self.rows_a_strip());
        (0..rows).step_by(step).for_each(|from| visit(from, rows.min(from + step)));
    }

    /// `y += w * x`, `y` given with its start values (the bias).
    pub(super) fn forward(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        if self.is_depthwise() {
            let mut room = Room::default();
            return self.each_plane(w, |plane, w| depthwise(self, &x[plane.0..plane.1], w, &mut y[plane.2..plane.3], &mut room));
        }
        let (m, k, size) = (self.channels.1 / self.groups, self.patch(), Self::size(self.output));
        let mut strip = Vec::new();
        self.parts(|ax, aw, ay| {
            let (x, w, y) = (&x[ax..], &w[aw..], &mut y[ay..]);
            if self.is_pointwise() {
                return product((m, size, k), w, (k, 1), x, (size, 1), y, (size, 1), true);
            }
            self.strips(|from, to| {
                self.unroll(x, (from, to), &mut strip);
                let n = (to - from) * self.output[2];
                product((m, n, k), w, (k, 1), &strip, (n, 1), &mut y[from * self.output[2]..], (size, 1), true);
            });
        });
    }
    /// The gradient of the input: `x += w' * y`.
    pub(super) fn backward(&self, y: &[f32], w: &[f32], x: &mut [f32]) {
        if self.is_depthwise() {
            let mut room = Room::default();
            return self.each_plane(w, |plane, w| depthwise_back(self, &y[plane.2..plane.3], w, &mut x[plane.0..plane.1], &mut room));
        }
        let (m, k, size) = (self.channels.1 / self.groups, self.patch(), Self::size(self.output));
        let mut strip = Vec::new();
        self.parts(|ax, aw, ay| {
            let (x, w, y) = (&mut x[ax..], &w[aw..], &y[ay..]);
            if self.is_pointwise() {
                return product((k, size, m), w, (1, k), y, (size, 1), x, (size, 1), true);
            }
            self.strips(|from, to| {
                let n = (to - from) * self.output[2];
                strip.resize(k * n, 0.0);
                product((k, n, m), w, (1, k), &y[from * self.output[2]..], (size, 1), &mut strip, (n, 1), false);
                self.roll(&strip, (from, to), x);
            });
        });
    }
    /// The gradient of the weights: `w += y * x'`.
    pub(super) fn weights(&self, x: &[f32], y: &[f32], w: &mut [f32]) {
        let (m, k, size) = (self.channels.1 / self.groups, self.patch(), Self::size(self.output));
        let mut strip = Vec::new();
        self.parts(|ax, aw, ay| {
            self.strips(|from, to| {
                self.unroll(&x[ax..], (from, to), &mut strip);
                let n = (to - from) * self.output[2];
                product((m, k, n), &y[ay + from * self.output[2]..], (size, 1), &strip, (1, n), &mut w[aw..], (k, 1), true);
            });
        });
    }
    fn each_plane(&self, w: &[f32], mut visit: impl FnMut((usize, usize, usize, usize), &[f32])) {
        let (x, y, k) = (Self::size(self.input), Self::size(self.output), Self::size(self.kernel));
        for plane in 0..self.batch * self.groups {
            let group = plane % self.groups;
            visit((plane * x, (plane + 1) * x, plane * y, (plane + 1) * y), &w[group * k..(group + 1) * k]);
        }
    }
}

/// Floats of one block of `taps`.
const BLOCK: usize = 64;

wide! {
    /// `out[i] = sum over k of weights[k] * plane[i + offsets[k]]`; `plane` goes on for a block after the last place.
    fn taps(plane: &[f32], offsets: &[usize], weights: &[f32], out: &mut [f32]) {
        for (b, part) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0.0f32; BLOCK];
            for (offset, weight) in offsets.iter().zip(weights) {
                if let Some(seen) = plane.get(b * BLOCK + offset..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
                    sums.iter_mut().zip(seen).for_each(|(s, v)| *s += weight * v);
                }
            }
            part.copy_from_slice(&sums[..part.len()]);
        }
    }
}

wide! {
    /// Brings values between two bounds; NaN stays.
    fn clamp_all(values: &mut [f32], low: f32, high: f32) {
        for v in values.iter_mut() {
            let raised = if *v < low { low } else { *v };
            *v = if raised > high { high } else { raised };
        }
    }
}

/// Brings values between two bounds; NaN stays.
pub(super) fn clamp(values: &mut [f32], low: f32, high: f32) {
    clamp_all(values, low, high);
}

/// Room that is used again from one channel to the next.
#[derive(Default)]
struct Room {
    plane: Vec<f32>,
    sums: Vec<f32>,
    offsets: Vec<usize>,
    weights: Vec<f32>,
}

impl Room {
    /// An empty plane of rows of `width`, and where the kernel's taps lie in it.
    fn clear(&mut self, of: &Window, rows: usize, width: usize) {
        self.plane.clear();
        self.plane.resize(rows * width + BLOCK, 0.0);
        self.offsets.clear();
        for h in 0..of.kernel[1] {
            self.offsets.extend((0..of.kernel[2]).map(|k| h * of.dilation[1] * width + k * of.dilation[2]));
        }
    }
}

/// One channel through its own kernel: the padded plane is one long signal, so that narrow planes fill the registers, too.
fn depthwise(of: &Window, x: &[f32], w: &[f32], y: &mut [f32], room: &mut Room) {
    let ([_, rows, columns], [_, height, across]) = (of.output, of.input);
    if rows == 0 || columns == 0 {
        return;
    }
    let reach = |axis: usize| (of.output[axis] - 1) * of.stride[axis] + (of.kernel[axis] - 1) * of.dilation[axis] + 1;
    let (tall, wide) = (reach(1), reach(2));
    room.clear(of, tall, wide);
    let copied = across.min(wide.saturating_sub(of.pad[2]));
    for row in 0..if copied == 0 { 0 } else { height.min(tall.saturating_sub(of.pad[1])) } {
        room.plane[(row + of.pad[1]) * wide + of.pad[2]..][..copied].copy_from_slice(&x[row * across..][..copied]);
    }
    let together = of.stride == [1; 3];
    let run = if together { (rows - 1) * wide + columns } else { (columns - 1) * of.stride[2] + 1 };
    room.sums.resize(run, 0.0);
    for row in 0..if together { 1 } else { rows } {
        taps(&room.plane[row * of.stride[1] * wide..], &room.offsets, w, &mut room.sums);
        if together {
            let sums = room.sums.chunks(wide);
            y.chunks_exact_mut(columns).zip(sums).for_each(|(y, s)| y.iter_mut().zip(s).for_each(|(y, s)| *y += s));
        } else {
            let sums = room.sums.iter().step_by(of.stride[2]);
            y[row * columns..][..columns].iter_mut().zip(sums).for_each(|(y, s)| *y += s);
        }
    }
}

/// The gradient of one channel's input: the same with the kernel turned round, over gradients set `stride` apart.
fn depthwise_back(of: &Window, y: &[f32], w: &[f32], x: &mut [f32], room: &mut Room) {
    let ([_, rows, columns], [_, height, across]) = (of.output, of.input);
    if height == 0 || across == 0 {
        return;
    }
    let margin = |axis: usize| (of.kernel[axis] - 1) * of.dilation[axis];
    let (tall, wide) = (height + margin(1), across + margin(2));
    room.clear(of, tall, wide);
    let place = |i: usize, axis: usize, n: usize| (i * of.stride[axis] + margin(axis)).checked_sub(of.pad[axis]).filter(|p| *p < n);
    for row in 0..rows {
        let Some(to) = place(row, 1, tall) else { continue };
        for column in 0..columns {
            if let Some(at) = place(column, 2, wide) {
                room.plane[to * wide + at] = y[row * columns + column];
            }
        }
    }
    room.weights.clear();
    room.weights.extend(w.iter().rev());
    room.sums.resize((height - 1) * wide + across, 0.0);
    taps(&room.plane, &room.offsets, &room.weights, &mut room.sums);
    x.chunks_exact_mut(across).zip(room.sums.chunks(wide)).for_each(|(x, s)| x.iter_mut().zip(s).for_each(|(x, s)| *x += s));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few numbers without a pattern.
    fn numbers(n: usize, salt: u64) -> Vec<f32> {
        (0..n as u64).map(|i| ((i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
    }

    fn by_hand(of: &Window, x: &[f32], w: &[f32]) -> Vec<f32> {
        let (cin, cout) = (of.channels.0 / of.groups, of.channels.1 / of.groups);
        let (size_x, size_y, size_k) = (Window::size(of.input), Window::size(of.output), Window::size(of.kernel));
        let at = |i: usize, s: [usize; 3]| [i / (s[1] * s[2]), i / s[2] % s[1], i % s[2]];
        let mut y = vec![0.0f32; of.batch * of.channels.1 * size_y];
        for (i, y) in y.iter_mut().enumerate() {
            let (sample, channel, place) = (i / size_y / of.channels.1, i / size_y % of.channels.1, at(i % size_y, of.output));
            for c in 0..cin {
                for k in 0..size_k {
                    let tap = at(k, of.kernel);
                    let seen: Option<Vec<usize>> = (0..3)
                        .map(|a| (place[a] * of.stride[a] + tap[a] * of.dilation[a]).checked_sub(of.pad[a]).filter(|v| *v < of.input[a]))
                        .collect();
                    let Some(seen) = seen else { continue };
                    let from = (sample * of.channels.0 + channel / cout * cin + c) * size_x;
                    *y += x[from + (seen[0] * of.input[1] + seen[1]) * of.input[2] + seen[2]] * w[(channel * cin + c) * size_k + k];
                }
            }
        }
        y
    }

    #[test]
    fn convolutions_are_the_sums_of_their_definition_and_adjoint_to_their_ways_back() {
        let base = Window {
            batch: 2,
            groups: 1,
            channels: (4, 6),
            input: [1, 7, 9],
            kernel: [1, 3, 2],
            output: [1, 4, 10],
            stride: [1, 2, 1],
            dilation: [1, 1, 1],
            pad: [0, 1, 1],
        };
        let depth = Window { groups: 4, channels: (4, 4), ..base.clone() };
        let wide = Window { stride: [1, 2, 2], output: [1, 4, 5], ..depth.clone() };
        let three = Window { stride: [1, 2, 3], output: [1, 4, 4], ..depth.clone() };
        let grouped = Window { groups: 2, dilation: [1, 1, 2], output: [1, 4, 9], ..base.clone() };
        let point = Window { kernel: [1; 3], stride: [1; 3], pad: [0; 3], output: base.input, ..base.clone() };
        let solid = Window { input: [3, 7, 9], kernel: [2, 3, 2], output: [4, 4, 10], pad: [1, 1, 1], ..base.clone() };
        for of in [base, depth, wide, three, grouped, point, solid] {
            let x = numbers(of.batch * of.channels.0 * Window::size(of.input), 1);
            let w = numbers(of.channels.1 * of.patch(), 2);
            let g = numbers(of.batch * of.channels.1 * Window::size(of.output), 3);
            assert!(of.check(x.len(), w.len(), g.len()).is_ok());
            let (mut y, wanted) = (vec![0.0; g.len()], by_hand(&of, &x, &w));
            of.forward(&x, &w, &mut y);
            assert!(y.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{of:?}");
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let (mut gx, mut gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            of.backward(&g, &w, &mut gx);
            of.weights(&x, &g, &mut gw);
            let (one, two, three) = (dot(&y, &g), dot(&x, &gx), dot(&w, &gw));
            assert!((one - two).abs() < 1e-3 && (one - three).abs() < 1e-3, "{one} {two} {three} {of:?}");
        }
    }
}
