//! Convolutions over planes of lanes, with what follows and precedes them: ReLU, the maximum of 2 x 2 places, and the ways back.
//!
//! The loops use ranges and slices alone: without optimisation across the parts of a crate an iterator's adapter or a closure may stay a call, outside the
//! wide registers. A call that is given the address of a tile's sums (even `copy_from_slice`, after the loop) costs more still: the sums then live in
//! memory, and every product is stored. The inner loops are of constant lengths, and check slices once a kernel row.
//!
//! A plane is `rows x stride` places with a border of zeros as wide as the kernel needs; the planes of the channels follow one another. Sums run
//! over input channel, kernel row and kernel column in that order, whatever the registers.

// A copy by `copy_from_slice` may stay a call: see above.
#![allow(clippy::needless_range_loop, clippy::manual_memcpy)]

use super::lanes::{Lanes, Task};

/// Channels that are computed together.
pub(super) const TOGETHER: usize = 4;

/// Where the planes of a feature map lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Planes {
    pub channels: usize,
    pub rows: usize,
    pub columns: usize,
    /// Zeros on each side.
    border: usize,
    /// Vectors from channel to channel.
    plane: usize,
}

impl Planes {
    /// One after the other, without borders.
    pub fn dense([channels, rows, columns]: [usize; 3]) -> Self {
        Self { channels, rows, columns, border: 0, plane: rows * columns }
    }
    /// With `border` zeros on each side. The distance of two channels is odd, so that the same place of all of them does not fall into the same
    /// part of a cache.
    pub fn bordered([channels, rows, columns]: [usize; 3], border: usize) -> Self {
        Self { channels, rows, columns, border, plane: ((rows + 2 * border) * (columns + 2 * border)) | 1 }
    }
    /// Vectors from row to row.
    pub fn stride(&self) -> usize {
        self.columns + 2 * self.border
    }
    /// Vectors in all.
    pub fn len(&self) -> usize {
        self.channels * self.plane
    }
    /// Of the place `(row, 0)` of a channel.
    pub fn at(&self, channel: usize, row: usize) -> usize {
        channel * self.plane + (row + self.border) * self.stride() + self.border
    }
}

/// Weights in the order in which the sums run: for each group of output channels, `[input channel, kernel row, kernel column, output channel]`.
#[derive(Debug, Clone)]
pub(super) struct Kernels {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Kernels {
    /// From `[output, input, kernel, kernel]`, as they stand.
    pub fn forward(weights: &[f32], bias: &[f32], inputs: usize, outputs: usize, kernel: usize) -> Self {
        let taps = kernel * kernel;
        let of = |o: usize, i: usize, tap: usize| weights[(o * inputs + i) * taps + tap];
        Self { weights: packed(outputs, inputs, taps, of), bias: bias.to_vec(), inputs, outputs, kernel }
    }
    /// The transpose: from gradients of the outputs to gradients of the inputs, that is with exchanged channels and turned kernels.
    pub fn backward(weights: &[f32], inputs: usize, outputs: usize, kernel: usize) -> Self {
        let taps = kernel * kernel;
        let of = |o: usize, i: usize, tap: usize| weights[(i * inputs + o) * taps + taps - 1 - tap];
        Self { weights: packed(inputs, outputs, taps, of), bias: vec![0.0; inputs], inputs: outputs, outputs: inputs, kernel }
    }
}

fn packed(outputs: usize, inputs: usize, taps: usize, of: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let mut all = Vec::with_capacity(outputs * inputs * taps);
    for first in (0..outputs).step_by(TOGETHER) {
        let group = first..(first + TOGETHER).min(outputs);
        for i in 0..inputs {
            for tap in 0..taps {
                all.extend(group.clone().map(|o| of(o, i, tap)));
            }
        }
    }
    all
}

/// What becomes of finished rows: first channel, first row, and the sums `[channels, rows, columns]`.
pub(super) trait Finish<V> {
    fn rows(&mut self, channel: usize, row: usize, sums: &[V], shape: [usize; 3]);
}

/// Convolves `input`, of the shape `planes` with a border of half the kernel, and hands over the sums two rows at a time. `scratch` is room for them.
pub(super) fn convolve<V: Lanes>(kernels: &Kernels, input: &[V], planes: &Planes, scratch: &mut Vec<V>, finish: &mut impl Finish<V>) {
    let taps = kernels.inputs * kernels.kernel * kernels.kernel;
    scratch.resize(TOGETHER * 2 * planes.columns, V::splat(0.0));
    for row in (0..planes.rows).step_by(2) {
        let rows = 2.min(planes.rows - row);
        for first in (0..kernels.outputs).step_by(TOGETHER) {
            let channels = TOGETHER.min(kernels.outputs - first);
            let sums = &mut scratch[..channels * rows * planes.columns];
            let (weights, bias) = (&kernels.weights[first * taps..(first + channels) * taps], &kernels.bias[first..first + channels]);
            for at in 0..rows {
                let start = (row + at) * planes.stride();
                let of = (input, *planes, start, weights, bias);
                let to = (&mut *sums, at * planes.columns, rows * planes.columns);
                match kernels.kernel {
                    1 => one_row::<V, 1>(channels, of, to),
                    3 => one_row::<V, 3>(channels, of, to),
                    5 => one_row::<V, 5>(channels, of, to),
                    _ => one_row::<V, 7>(channels, of, to),
                }
            }
            finish.rows(first, row, sums, [channels, rows, planes.columns]);
        }
    }
}

/// Input, its planes, where the row starts, weights and bias.
type RowOf<'a, V> = (&'a [V], Planes, usize, &'a [f32], &'a [f32]);
/// The sums, the first place of the row and the distance of two channels.
type RowTo<'a, V> = (&'a mut [V], usize, usize);

fn one_row<V: Lanes, const K: usize>(channels: usize, of: RowOf<'_, V>, to: RowTo<'_, V>) {
    match channels {
        1 => V::run(Row::<V, 1, K>::new(of, to)),
        2 => V::run(Row::<V, 2, K>::new(of, to)),
        3 => V::run(Row::<V, 3, K>::new(of, to)),
        _ => V::run(Row::<V, TOGETHER, K>::new(of, to)),
    }
}

/// One row of `C` output channels, kernels of side `K`.
struct Row<'a, V, const C: usize, const K: usize> {
    input: &'a [V],
    planes: Planes,
    /// Of the row in its plane, border included.
    start: usize,
    weights: &'a [f32],
    bias: &'a [f32],
    sums: &'a mut [V],
    first: usize,
    step: usize,
}

impl<'a, V: Lanes, const C: usize, const K: usize> Row<'a, V, C, K> {
    /// Most places of a tile. In registers: its sums, a line of cells as long as a kernel of three asks for, and a weight.
    const WIDEST: usize = {
        let widest = (V::REGISTERS - 3) / (C + 1);
        // One channel alone has room for twice as many sums, and needs them: each waits for the one before.
        let most = if C == 1 { 12 } else { 6 };
        if widest < most { widest } else { most }
    };

    fn new((input, planes, start, weights, bias): RowOf<'a, V>, (sums, first, step): RowTo<'a, V>) -> Self {
        Self { input, planes, start, weights, bias, sums, first, step }
    }

    #[inline(always)]
    fn tile<const X: usize>(&mut self, column: usize) {
        let mut sums = [[V::splat(0.0); X]; C];
        for c in 0..C {
            sums[c] = [V::splat(self.bias[c]); X];
        }
        let (stride, plane) = (self.planes.stride(), self.planes.plane);
        let rows = self.weights.as_chunks::<C>().0.as_chunks::<K>().0;
        let (mut start, mut next) = (self.start + column, 0);
        for _ in 0..self.planes.channels {
            let mut at = start;
            for _ in 0..K {
                let (line, weights) = (&self.input[at..][..X + K - 1], &rows[next]);
                for kx in 0..K {
                    for c in 0..C {
                        let weight = V::splat(weights[kx][c]);
                        for x in 0..X {
                            sums[c][x] = sums[c][x].plus_product(weight, line[kx + x]);
                        }
                    }
                }
                next += 1;
                at += stride;
            }
            start += plane;
        }
        for c in 0..C {
            let at = self.first + c * self.step + column;
            let to = &mut self.sums[at..at + X];
            for x in 0..X {
                to[x] = sums[c][x];
            }
        }
    }
}

impl<V: Lanes, const C: usize, const K: usize> Task for Row<'_, V, C, K> {
    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.columns;
        let tiles = columns.div_ceil(Self::WIDEST);
        for tile in 0..tiles {
            let (from, to) = (columns * tile / tiles, columns * (tile + 1) / tiles);
            match to - from {
                12 if Self::WIDEST >= 12 => self.tile::<12>(from),
                11 if Self::WIDEST >= 11 => self.tile::<11>(from),
                10 if Self::WIDEST >= 10 => self.tile::<10>(from),
                9 if Self::WIDEST >= 9 => self.tile::<9>(from),
                8 if Self::WIDEST >= 8 => self.tile::<8>(from),
                7 if Self::WIDEST >= 7 => self.tile::<7>(from),
                6 if Self::WIDEST >= 6 => self.tile::<6>(from),
                5 if Self::WIDEST >= 5 => self.tile::<5>(from),
                4 if Self::WIDEST >= 4 => self.tile::<4>(from),
                3 if Self::WIDEST >= 3 => self.tile::<3>(from),
                2 if Self::WIDEST >= 2 => self.tile::<2>(from),
                _ => self.tile::<1>(from),
            }
        }
    }
}

/// ReLU, then the maximum of every 2 x 2 places: into the next planes, with four masks a place that say where it came from (none where ReLU cut it).
pub(super) struct Pool<'a, V> {
    pub to: &'a mut [V],
    pub planes: Planes,
    pub masks: &'a mut [[u16; 4]],
}

impl<V: Lanes> Finish<V> for Pool<'_, V> {
    #[inline(always)]
    fn rows(&mut self, channel: usize, row: usize, sums: &[V], [channels, rows, columns]: [usize; 3]) {
        if rows < 2 || row / 2 >= self.planes.rows {
            return;
        }
        for at in 0..channels {
            let (upper, lower) = sums[at * 2 * columns..(at + 1) * 2 * columns].split_at(columns);
            let start = self.planes.at(channel + at, row / 2);
            let to = &mut self.to[start..start + self.planes.columns];
            let start = ((channel + at) * self.planes.rows + row / 2) * self.planes.columns;
            let masks = &mut self.masks[start..start + self.planes.columns];
            V::run(PoolRow { upper, lower, to, masks });
        }
    }
}

struct PoolRow<'a, V> {
    upper: &'a [V],
    lower: &'a [V],
    to: &'a mut [V],
    masks: &'a mut [[u16; 4]],
}

impl<V: Lanes> Task for PoolRow<'_, V> {
    #[inline(always)]
    fn run(self) {
        let count = self.to.len().min(self.masks.len()).min(self.upper.len() / 2).min(self.lower.len() / 2);
        for at in 0..count {
            let (a, b, c, d) = (self.upper[2 * at], self.upper[2 * at + 1], self.lower[2 * at], self.lower[2 * at + 1]);
            let most = a.max(b).max(c.max(d));
            let alive = most.above(V::splat(0.0));
            // The first of equals, as the usual frameworks do.
            let first = alive & !most.above(a);
            let second = alive & !most.above(b) & !first;
            let third = alive & !most.above(c) & !first & !second;
            self.masks[at] = [first, second, third, alive & !first & !second & !third];
            self.to[at] = V::splat(0.0).max(most);
        }
    }
}

/// ReLU alone, with one mask a place.
pub(super) struct Relu<'a, V> {
    pub to: &'a mut [V],
    pub planes: Planes,
    pub masks: &'a mut [u16],
}

impl<V: Lanes> Finish<V> for Relu<'_, V> {
    #[inline(always)]
    fn rows(&mut self, channel: usize, row: usize, sums: &[V], [_, rows, columns]: [usize; 3]) {
        for (line, from) in sums.chunks_exact(columns).enumerate() {
            let (channel, row) = (channel + line / rows, row + line % rows);
            let start = self.planes.at(channel, row);
            let to = &mut self.to[start..start + columns];
            let start = (channel * self.planes.rows + row) * columns;
            V::run(ReluRow { from, to, masks: &mut self.masks[start..start + columns] });
        }
    }
}

struct ReluRow<'a, V> {
    from: &'a [V],
    to: &'a mut [V],
    masks: &'a mut [u16],
}

impl<V: Lanes> Task for ReluRow<'_, V> {
    #[inline(always)]
    fn run(self) {
        for at in 0..self.from.len().min(self.to.len()).min(self.masks.len()) {
            self.masks[at] = self.from[at].above(V::splat(0.0));
            self.to[at] = V::splat(0.0).max(self.from[at]);
        }
    }
}

/// The way back through [`Pool`] or [`Relu`]: gradients of their results become gradients of the convolution's sums.
pub(super) struct Back<'a, V> {
    pub to: &'a mut [V],
    /// Of the sums.
    pub planes: Planes,
    pub masks: Masks<'a>,
}

impl<V: Lanes> Back<'_, V> {
    /// All planes at once, `[channels, rows, columns]` of them.
    pub fn all(&mut self, from: &[V], shape: [usize; 3]) {
        self.rows(0, 0, from, shape);
    }
}

/// The masks of one of the two.
#[derive(Clone, Copy)]
pub(super) enum Masks<'a> {
    Pool(&'a [[u16; 4]]),
    Relu(&'a [u16]),
}

impl<V: Lanes> Finish<V> for Back<'_, V> {
    #[inline(always)]
    fn rows(&mut self, channel: usize, row: usize, sums: &[V], [_, rows, columns]: [usize; 3]) {
        for (line, from) in sums.chunks_exact(columns).enumerate() {
            let (channel, row) = (channel + line / rows, row + line % rows);
            match self.masks {
                Masks::Relu(masks) => {
                    let start = (channel * self.planes.rows + row) * columns;
                    let masks = &masks[start..start + columns];
                    let start = self.planes.at(channel, row);
                    V::run(MaskRow { from, to: &mut self.to[start..start + columns], masks });
                }
                Masks::Pool(masks) => {
                    let start = (channel * (self.planes.rows / 2) + row) * columns;
                    let masks = &masks[start..start + columns];
                    let (upper, lower) = (self.planes.at(channel, 2 * row), self.planes.at(channel, 2 * row + 1));
                    let (before, after) = self.to.split_at_mut(lower);
                    let (upper, lower) = (&mut before[upper..upper + 2 * columns], &mut after[..2 * columns]);
                    V::run(SpreadRow { from, upper, lower, masks });
                }
            }
        }
    }
}

struct MaskRow<'a, V> {
    from: &'a [V],
    to: &'a mut [V],
    masks: &'a [u16],
}

impl<V: Lanes> Task for MaskRow<'_, V> {
    #[inline(always)]
    fn run(self) {
        for at in 0..self.from.len().min(self.to.len()).min(self.masks.len()) {
            self.to[at] = self.from[at].keep(self.masks[at]);
        }
    }
}

struct SpreadRow<'a, V> {
    from: &'a [V],
    upper: &'a mut [V],
    lower: &'a mut [V],
    masks: &'a [[u16; 4]],
}

impl<V: Lanes> Task for SpreadRow<'_, V> {
    #[inline(always)]
    fn run(self) {
        let count = self.from.len().min(self.masks.len()).min(self.upper.len() / 2).min(self.lower.len() / 2);
        for at in 0..count {
            let (from, masks) = (self.from[at], self.masks[at]);
            self.upper[2 * at] = from.keep(masks[0]);
            self.upper[2 * at + 1] = from.keep(masks[1]);
            self.lower[2 * at] = from.keep(masks[2]);
            self.lower[2 * at + 1] = from.keep(masks[3]);
        }
    }
}

/// Copies rows as they are: the gradient of the image.
pub(super) struct Copy<'a, V> {
    pub to: &'a mut [V],
    pub planes: Planes,
}

impl<V: Lanes> Finish<V> for Copy<'_, V> {
    #[inline(always)]
    fn rows(&mut self, channel: usize, row: usize, sums: &[V], [_, rows, columns]: [usize; 3]) {
        for (line, from) in sums.chunks_exact(columns).enumerate() {
            let start = self.planes.at(channel + line / rows, row + line % rows);
            self.to[start..start + columns].copy_from_slice(from);
        }
    }
}

/// Adds the gradient of a convolution's weights, `[output, input, kernel, kernel]`, and of its bias, summed over the samples of the lanes.
/// `input` and `slopes` are the planes that went in and the gradients of the sums that came out, each with its border.
pub(super) fn weight_slopes<V: Lanes>(
    kernel: usize,
    (input, from): (&[V], &Planes),
    (slopes, to): (&[V], &Planes),
    weights: &mut [f32],
    bias: &mut [f32],
) {
    // The sums of a group stay in registers, beside the cells and slopes they come from.
    let groups = to.channels.div_ceil(((V::REGISTERS - 6) / kernel).clamp(1, TOGETHER));
    for group in 0..groups {
        let first = to.channels * group / groups;
        let channels = to.channels * (group + 1) / groups - first;
        for i in 0..from.channels {
            for line in 0..kernel {
                let of = (&input[i * from.plane..], *from, line, &slopes[first * to.plane..], *to);
                let out = (&mut *weights, ((first * from.channels + i) * kernel + line) * kernel, from.channels * kernel * kernel);
                let bias = (i == 0 && line == 0).then(|| &mut bias[first..first + channels]);
                match channels {
                    1 => slope_row::<V, 1>(kernel, of, out, bias),
                    2 => slope_row::<V, 2>(kernel, of, out, bias),
                    3 => slope_row::<V, 3>(kernel, of, out, bias),
                    _ => slope_row::<V, TOGETHER>(kernel, of, out, bias),
                }
            }
        }
    }
}

type SlopeOf<'a, V> = (&'a [V], Planes, usize, &'a [V], Planes);
type SlopeTo<'a> = (&'a mut [f32], usize, usize);

fn slope_row<V: Lanes, const C: usize>(kernel: usize, of: SlopeOf<'_, V>, to: SlopeTo<'_>, bias: Option<&mut [f32]>) {
    match kernel {
        1 => V::run(Slope::<V, C, 1> { of, to, bias }),
        3 => V::run(Slope::<V, C, 3> { of, to, bias }),
        5 => V::run(Slope::<V, C, 5> { of, to, bias }),
        _ => V::run(Slope::<V, C, 7> { of, to, bias }),
    }
}

/// One input channel, one kernel row, `K` kernel columns, `C` output channels.
struct Slope<'a, V, const C: usize, const K: usize> {
    of: SlopeOf<'a, V>,
    to: SlopeTo<'a>,
    bias: Option<&'a mut [f32]>,
}

impl<V: Lanes, const C: usize, const K: usize> Task for Slope<'_, V, C, K> {
    #[inline(always)]
    fn run(self) {
        let (input, from, line, slopes, planes) = self.of;
        let mut sums = [[V::splat(0.0); K]; C];
        let mut totals = [V::splat(0.0); C];
        let (stride, columns) = (from.stride(), planes.columns);
        for row in 0..planes.rows {
            let start = (row + line) * stride;
            let mut cells = [&input[..0]; K];
            for k in 0..K {
                cells[k] = &input[start + k..][..columns];
            }
            let mut rows = [&slopes[..0]; C];
            for c in 0..C {
                rows[c] = &slopes[planes.at(c, row)..][..columns];
            }
            for column in 0..columns {
                for c in 0..C {
                    let slope = rows[c][column];
                    for k in 0..K {
                        sums[c][k] = sums[c][k].plus_product(slope, cells[k][column]);
                    }
                }
            }
            if self.bias.is_some() {
                for c in 0..C {
                    for column in 0..columns {
                        totals[c] = totals[c].plus_product(rows[c][column], V::splat(1.0));
                    }
                }
            }
        }
        let (weights, at, step) = self.to;
        for c in 0..C {
            for k in 0..K {
                weights[at + c * step + k] += over_lanes(sums[c][k]);
            }
        }
        if let Some(bias) = self.bias {
            for c in 0..C {
                bias[c] += over_lanes(totals[c]);
            }
        }
    }
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn over_lanes<V: Lanes>(vector: V) -> f32 {
    let mut lanes = [0.0; 16];
    vector.write(&mut lanes);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}
