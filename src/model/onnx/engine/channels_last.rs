//! Convolutions and matrix products of tensors whose channels lie side by side (N x places x C), over wide registers.
//!
//! A convolution is a matrix product, places times channels, whose left factor is gathered tap by tap: every tap of every place is a pointer into the input, or to
//! zeros outside of it. No patch is unrolled, and the way back to the input is the same loop over other taps. Where each channel has its own kernel, the lanes
//! are the channels. Each number is one sum, over taps and then channels: neither the batch, nor the tile, nor the number of threads changes a bit of it.

#![allow(clippy::needless_range_loop)]

use super::{kernel::Window, rooms::Rooms};
#[cfg(target_arch = "x86_64")]
use crate::model::lanes::{Avx2, Avx512};
use crate::model::lanes::{Lanes, Plain, Task};
use rayon::prelude::*;
use std::{mem::MaybeUninit, ptr, sync::OnceLock};

/// Multiplications from which on a step is split over threads.
const SPLIT: usize = 1 << 19;
/// Floats of the input that one task goes through.
const CHUNK: usize = 1 << 16;

/// What is done to a sum before it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    None,
    Relu,
    /// Between two bounds.
    Clip(f32, f32),
}

/// The registers that the loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Width {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Evaluates an expression with `$lanes` as the type of the registers.
macro_rules! with {
    ($width:expr, $lanes:ident => $body:expr) => {
        match $width {
            Width::Plain => {
                type $lanes = Plain;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => {
                type $lanes = Avx2;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => {
                type $lanes = Avx512;
                $body
            }
        }
    };
}

impl Width {
    /// The widest that the processor knows.
    pub(super) fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if Avx512::available() {
                return Self::Avx512;
            }
            if Avx2::available() {
                return Self::Avx2;
            }
        }
        Self::Plain
    }
    fn count(self) -> usize {
        with!(self, L => L::COUNT)
    }
    /// Vectors of a tile.
    fn vectors(self) -> usize {
        with!(self, L => L::BLOCK.1)
    }
}

/// Weights in the order in which the sums run: a group, a block of a few vectors of outputs, a tap, an input, the outputs of the block.
#[derive(Debug)]
struct Panels {
    /// Of one group.
    inputs: usize,
    outputs: usize,
    taps: usize,
    /// First vector and number of vectors.
    blocks: Vec<(usize, usize)>,
    lanes: usize,
    /// Outputs of a group with those that fill the last vector.
    padded: usize,
    values: Vec<f32>,
    bias: Vec<f32>,
}

impl Panels {
    /// `of` is the weight of a group, output, tap and input; `bias` has one value an output of every group.
    fn new(
        width: Width,
        groups: usize,
        [outputs, taps, inputs]: [usize; 3],
        of: impl Fn(usize, usize, usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Self {
        let (lanes, most) = (width.count(), width.vectors());
        let vectors = outputs.div_ceil(lanes);
        let (mut blocks, mut first) = (Vec::new(), 0);
        while first < vectors {
            // Two and two rather than three and one.
            let rest = vectors - first;
            let own = if rest == most + 1 && most > 2 { rest / 2 } else { rest.min(most) };
            blocks.push((first, own));
            first += own;
        }
        let padded = vectors * lanes;
        let mut values = Vec::with_capacity(groups * taps * inputs * padded);
        let mut starts = vec![0.0; groups * padded];
        for group in 0..groups {
            for (first, own) in &blocks {
                for tap in 0..taps {
                    for input in 0..inputs {
                        let own = first * lanes..(first + own) * lanes;
                        values.extend(own.map(|o| if o < outputs { of(group, o, tap, input) } else { 0.0 }));
                    }
                }
            }
            if let Some(bias) = bias {
                starts[group * padded..][..outputs].copy_from_slice(&bias[group * outputs..][..outputs]);
            }
        }
        Self { inputs, outputs, taps, blocks, lanes, padded, values, bias: starts }
    }

    /// The weight of a group, output, tap and input.
    fn at(&self, group: usize, output: usize, tap: usize, input: usize) -> f32 {
        let vector = output / self.lanes;
        let block = self.blocks.iter().rev().find(|(first, _)| *first <= vector);
        let (first, own) = block.copied().unwrap_or((0, 1));
        let start = self.start(group, first) + (tap * self.inputs + input) * own * self.lanes;
        self.values[start + output - first * self.lanes]
    }
    /// Where the block whose first vector is `first` starts.
    fn start(&self, group: usize, first: usize) -> usize {
        (group * self.padded + first * self.lanes) * self.taps * self.inputs
    }
}

/// Constant weights made ready, with what is done to the sums.
#[derive(Debug)]
pub(super) struct Filter {
    /// Of the weights, as a file has them: outputs, inputs of a group, kernel.
    pub(super) shape: Vec<usize>,
    pub(super) groups: usize,
    pub(super) activation: Activation,
    width: Width,
    ready: Ready,
}

#[derive(Debug)]
enum Ready {
    /// Tap x channel, and the bias.
    Depthwise(Vec<f32>, Vec<f32>),
    /// Forward, and back once that is asked for.
    Dense(Box<Panels>, OnceLock<Panels>),
}

/// The most taps of a kernel.
const MOST_TAPS: usize = 1 << 10;

impl Filter {
    /// From weights `[outputs, inputs of a group, kernel...]`; `None` where the plain loops are the better ones, or the sizes do not fit.
    pub(super) fn new(
        width: Width,
        shape: &[usize],
        weights: &[f32],
        bias: Option<&[f32]>,
        groups: usize,
        activation: Activation,
    ) -> Option<Self> {
        let (outputs, inputs) = (*shape.first()?, *shape.get(1)?);
        let taps: usize = shape[2..].iter().product();
        let fits = groups > 0 && outputs.is_multiple_of(groups) && outputs * inputs * taps == weights.len() && !weights.is_empty();
        if !fits || taps > MOST_TAPS || bias.is_some_and(|b| b.len() != outputs) {
            return None;
        }
        let ready = if groups > 1 && inputs == 1 && outputs == groups {
            if taps > 256 || outputs < 8 {
                return None;
            }
            let turned = (0..taps).flat_map(|tap| (0..outputs).map(move |o| weights[o * taps + tap])).collect();
            Ready::Depthwise(turned, bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec))
        } else {
            let own = outputs / groups;
            // Few outputs leave most lanes empty; the marks of a group start at a whole byte.
            if own < 8 || inputs < 2 && taps > 64 || groups > 1 && !own.is_multiple_of(16) {
                return None;
            }
            let of = |g: usize, o: usize, tap: usize, i: usize| weights[((g * own + o) * inputs + i) * taps + tap];
            Ready::Dense(Box::new(Panels::new(width, groups, [own, taps, inputs], of, bias)), OnceLock::new())
        };
        Some(Self { shape: shape.to_vec(), groups, activation, width, ready })
    }
    /// Numbers held.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product::<usize>() + self.shape[0]
    }

    /// The output for an input `N x places x C`, and with `marks` a bit a value: whether a gradient passes its activation.
    /// The caller has checked the window against the input.
    pub(super) fn forward(&self, of: &Window, x: &[f32], rooms: &Rooms, marks: bool) -> (Vec<f32>, Vec<u8>) {
        let sides = Sides::new(of, false);
        let channels = of.channels.1;
        let mut bits =
            if marks && self.activation != Activation::None { vec![0u8; sides.places() * mark_bytes(channels)] } else { Vec::new() };
        let (low, high) = match self.activation {
            Activation::Clip(low, high) => (low, high),
            _ => (0.0, f32::INFINITY),
        };
        let mut y = rooms.take(sides.places() * channels);
        let end = End {
            to: y.as_mut_ptr(),
            channels,
            low,
            high,
            bounded: self.activation != Activation::None,
            strict: self.activation == Activation::Relu,
            marks: if bits.is_empty() { ptr::null_mut() } else { bits.as_mut_ptr() },
            mark_bytes: mark_bytes(channels),
        };
        match &self.ready {
            Ready::Depthwise(weights, bias) => deep(self.width, of, &sides, x, weights, Some(bias), end),
            Ready::Dense(panels, _) => dense(self.width, of, &sides, x, panels, end),
        }
        // SAFETY: every channel of every place was written, and there is room for them.
        unsafe { y.set_len(sides.places() * channels) };
        (y, bits)
    }

    /// The gradient of the input, from that of the output, which is used up.
    pub(super) fn backward(&self, of: &Window, g: &mut [f32], marks: &[u8], rooms: &Rooms) -> Vec<f32> {
        if !marks.is_empty() {
            masked(self.width, g, of.channels.1, marks);
        }
        let sides = Sides::new(of, true);
        let channels = of.channels.0;
        let mut x = rooms.take(sides.places() * channels);
        let end =
            End { to: x.as_mut_ptr(), channels, low: 0.0, high: 0.0, bounded: false, strict: false, marks: ptr::null_mut(), mark_bytes: 0 };
        match &self.ready {
            Ready::Depthwise(weights, _) => deep(self.width, of, &sides, g, weights, None, end),
            Ready::Dense(forward, back) => {
                let back = back.get_or_init(|| {
                    let of = |group: usize, o: usize, tap: usize, i: usize| forward.at(group, i, tap, o);
                    Panels::new(self.width, self.groups, [forward.inputs, forward.taps, forward.outputs], of, None)
                });
                dense(self.width, of, &sides, g, back, end);
            }
        }
        // SAFETY: as above.
        unsafe { x.set_len(sides.places() * channels) };
        x
    }
}

/// Bytes of the marks of one place.
fn mark_bytes(channels: usize) -> usize {
    channels.div_ceil(16) * 2
}

/// One of the interleaved runs of places along an axis that see the same taps: all places on the way forward; on the way back, with the stride `s`,
/// every `s`-th.
#[derive(Debug, Clone)]
struct Phase {
    first: usize,
    step: usize,
    count: usize,
    /// A tap, and the source of the run's place 0 (outside where negative).
    taps: Vec<(usize, isize)>,
    /// How far the source moves from place to place of the run.
    ahead: usize,
}

impl Phase {
    /// The places of the run, `from..to`, whose tap lies inside a source of `size` places.
    fn inside(&self, base: isize, size: usize) -> (usize, usize) {
        let ahead = self.ahead as isize;
        let below = |bound: isize| if bound <= base { 0 } else { ((bound - base + ahead - 1) / ahead) as usize };
        let from = below(0).min(self.count);
        (from, below(size as isize).clamp(from, self.count))
    }
    fn source(&self, base: isize, place: usize, size: usize) -> Option<usize> {
        usize::try_from(base + (place * self.ahead) as isize).ok().filter(|s| *s < size)
    }
}

/// What is computed (`target`) from what (`source`): output from input, or on the way back input from output.
struct Sides {
    batch: usize,
    target: [usize; 3],
    source: [usize; 3],
    phases: [Vec<Phase>; 3],
}

impl Sides {
    fn new(of: &Window, back: bool) -> Self {
        let phases = |axis: usize| {
            let (stride, dilation, pad) = (of.stride[axis] as isize, of.dilation[axis] as isize, of.pad[axis] as isize);
            let taps = |first: isize| (0..of.kernel[axis]).map(move |k| (k, first - k as isize * dilation));
            if !back {
                let taps = taps(0).map(|(k, base)| (k, -base - pad)).collect();
                return vec![Phase { first: 0, step: 1, count: of.output[axis], taps, ahead: of.stride[axis] }];
            }
            let own = |first: usize| {
                let taps = taps(first as isize + pad)
                    .filter(|(_, base)| base.rem_euclid(stride) == 0)
                    .map(|(k, base)| (k, base.div_euclid(stride)));
                Phase {
                    first,
                    step: of.stride[axis],
                    count: (of.input[axis] - first).div_ceil(of.stride[axis]),
                    taps: taps.collect(),
                    ahead: 1,
                }
            };
            (0..of.stride[axis].min(of.input[axis])).map(own).collect()
        };
        let (target, source) = if back { (of.input, of.output) } else { (of.output, of.input) };
        Self { batch: of.batch, target, source, phases: [phases(0), phases(1), phases(2)] }
    }
    fn places(&self) -> usize {
        self.batch * self.target.iter().product::<usize>()
    }
}

/// Where sums go, and what is done to them.
#[derive(Clone, Copy)]
struct End {
    to: *mut f32,
    channels: usize,
    low: f32,
    high: f32,
    bounded: bool,
    /// The gradient ends at the lower bound, too.
    strict: bool,
    marks: *mut u8,
    mark_bytes: usize,
}
// SAFETY: tasks that run beside each other write different places or channels.
unsafe impl Send for End {}
unsafe impl Sync for End {}

impl End {
    /// Writes `count` sums of a place from a channel on.
    #[inline(always)]
    unsafe fn write<V: Lanes>(&self, sum: V, place: usize, channel: usize, count: usize) {
        // SAFETY: the place and its channels lie inside the target.
        unsafe {
            let mut sum = sum;
            if self.bounded {
                let (low, high) = (V::splat(self.low), V::splat(self.high));
                if !self.marks.is_null() {
                    let bits = if self.strict { sum.above(low) } else { sum.within(low, high) };
                    let at = self.marks.add(place.wrapping_mul(self.mark_bytes).wrapping_add(channel / 8));
                    if V::COUNT == 16 { at.cast::<u16>().write_unaligned(bits.to_le()) } else { at.write(bits as u8) }
                }
                sum = high.min(low.max(sum));
            }
            sum.store(self.to.add(place.wrapping_mul(self.channels).wrapping_add(channel)), count);
        }
    }
}

/// Runs tasks, beside each other where there is enough to do.
fn each(tasks: usize, work: usize, run: impl Fn(usize) + Send + Sync) {
    if tasks > 1 && work >= SPLIT && rayon::current_num_threads() > 1 {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    } else {
        (0..tasks).for_each(run);
    }
}

/// Values whose mark is 0 become 0.
fn masked(width: Width, g: &mut [f32], channels: usize, marks: &[u8]) {
    let row = mark_bytes(channels);
    let rows = (1 << 14) / channels.max(1) + 1;
    let work = |(g, marks): (&mut [f32], &[u8])| with!(width, L => L::run(Masked::<L> { g, marks, channels, row, lanes: std::marker::PhantomData }));
    if g.len() >= SPLIT / 4 && rayon::current_num_threads() > 1 {
        g.par_chunks_mut(rows * channels).zip(marks.par_chunks(rows * row)).for_each(work);
    } else {
        work((g, marks));
    }
}

struct Masked<'a, V> {
    g: &'a mut [f32],
    marks: &'a [u8],
    channels: usize,
    row: usize,
    lanes: std::marker::PhantomData<V>,
}

impl<V: Lanes> Task for Masked<'_, V> {
    #[inline(always)]
    fn run(self) {
        for place in 0..self.g.len() / self.channels {
            let g = &mut self.g[place * self.channels..][..self.channels];
            let marks = &self.marks[place * self.row..][..self.row];
            let mut channel = 0;
            while channel < self.channels {
                let count = (self.channels - channel).min(V::COUNT);
                let low = u16::from(marks[channel / 8]);
                let bits = if V::COUNT == 16 { low | u16::from(marks[channel / 8 + 1]) << 8 } else { low };
                // SAFETY: `count` values are there.
                unsafe {
                    let at = g.as_mut_ptr().add(channel);
                    V::load(at, count).keep(bits).store(at, count);
                }
                channel += V::COUNT;
            }
        }
    }
}

/// Places of one combination of phases.
struct Share<'a> {
    phases: [&'a Phase; 3],
    places: usize,
    /// Each tap's number and its tap of each phase.
    taps: Vec<usize>,
}

/// All combinations of phases.
fn shares<'a>(of: &Window, sides: &'a Sides) -> Vec<Share<'a>> {
    let mut all = Vec::new();
    for a in &sides.phases[0] {
        for b in &sides.phases[1] {
            for c in &sides.phases[2] {
                let mut taps = Vec::with_capacity(a.taps.len() * b.taps.len() * c.taps.len());
                for (d, _) in &a.taps {
                    for (h, _) in &b.taps {
                        taps.extend(c.taps.iter().map(|(w, _)| (d * of.kernel[1] + h) * of.kernel[2] + w));
                    }
                }
                all.push(Share { phases: [a, b, c], places: sides.batch * a.count * b.count * c.count, taps });
            }
        }
    }
    all.retain(|share| share.places > 0);
    all
}

/// A product over gathered places.
fn dense(width: Width, of: &Window, sides: &Sides, x: &[f32], panels: &Panels, end: End) {
    let groups = of.groups;
    let all = panels.inputs * groups;
    let pointwise = of.is_pointwise();
    let (shares, rows) = (shares(of, sides), with!(width, L => L::BLOCK.0));
    // Zeros that no pointer into the input is next to.
    let zeros = vec![0.0f32; all + 32];
    let mut tasks = Vec::new();
    for share in &shares {
        let most = (CHUNK / all.max(1)).min(CHUNK / share.taps.len().max(1)).clamp(8, 512);
        let chunks = share.places.div_ceil(most);
        let own = share.places.div_ceil(chunks).next_multiple_of(rows);
        for first in (0..share.places).step_by(own) {
            tasks.extend((0..groups).map(|group| (share, first, own.min(share.places - first), group, (0, panels.blocks.len()))));
        }
    }
    let threads = rayon::current_num_threads();
    if threads > 1 && tasks.len() < 2 * threads && of.work() >= SPLIT {
        // Too few: each is split by its outputs, too.
        let parts = (2 * threads).div_ceil(tasks.len().max(1)).min(panels.blocks.len());
        let each = panels.blocks.len().div_ceil(parts);
        let split = |(share, first, count, group, _)| {
            (0..panels.blocks.len()).step_by(each).map(move |b| (share, first, count, group, (b, panels.blocks.len().min(b + each))))
        };
        tasks = tasks.into_iter().flat_map(split).collect();
    }
    each(tasks.len(), of.work(), |task| {
        let (share, first, count, group, blocks) = tasks[task];
        let shift = group * panels.inputs;
        let (mut seen, mut places) = (Vec::new(), Vec::new());
        if pointwise {
            seen.extend((first..first + count).map(|p| x[p * all + shift..].as_ptr()));
            places.extend(first..first + count);
        } else {
            gather(
                sides,
                share,
                (first, count),
                |s| if s == usize::MAX { zeros.as_ptr() } else { x[s * all + shift..].as_ptr() },
                &mut seen,
                &mut places,
            );
        }
        with!(width, L => L::run(Dense { panels, group, blocks, seen: &seen, places: &places, taps: &share.taps, end, lanes: std::marker::PhantomData::<L> }));
    });
}

/// The pointers of some places of a share, `[tap][place]`, and where the places lie in the target. `of` makes a pointer of a place of the source, `usize::MAX` for one outside.
fn gather(
    sides: &Sides,
    share: &Share,
    (first, count): (usize, usize),
    of: impl Fn(usize) -> *const f32,
    seen: &mut Vec<*const f32>,
    places: &mut Vec<usize>,
) {
    let [a, b, c] = share.phases;
    seen.resize(share.taps.len() * count, of(usize::MAX));
    let mut done = 0;
    while done < count {
        // One row of the target, or what is left of it.
        let at = first + done;
        let (w, h, d) = (at % c.count, at / c.count % b.count, at / (c.count * b.count) % a.count);
        let sample = at / (c.count * b.count * a.count);
        let run = (c.count - w).min(count - done);
        let line = ((sample * sides.target[0] + a.first + d * a.step) * sides.target[1] + b.first + h * b.step) * sides.target[2] + c.first;
        places.extend((w..w + run).map(|w| line + w * c.step));
        let mut tap = 0;
        for (_, base_d) in &a.taps {
            for (_, base_h) in &b.taps {
                let row = a.source(*base_d, d, sides.source[0]).zip(b.source(*base_h, h, sides.source[1]));
                let Some((row_d, row_h)) = row else {
                    tap += c.taps.len();
                    continue;
                };
                let row = ((sample * sides.source[0] + row_d) * sides.source[1] + row_h) * sides.source[2];
                for (_, base) in &c.taps {
                    let (from, to) = c.inside(*base, sides.source[2]);
                    let line = &mut seen[tap * count + done..][..run];
                    for i in from.max(w)..to.min(w + run) {
                        line[i - w] = of((row as isize + *base + (i * c.ahead) as isize) as usize);
                    }
                    tap += 1;
                }
            }
        }
        done += run;
    }
}

struct Dense<'a, V> {
    panels: &'a Panels,
    group: usize,
    blocks: (usize, usize),
    /// `[tap][place]`.
    seen: &'a [*const f32],
    places: &'a [usize],
    taps: &'a [usize],
    end: End,
    lanes: std::marker::PhantomData<V>,
}

impl<V: Lanes> Task for Dense<'_, V> {
    #[inline(always)]
    fn run(self) {
        for block in self.blocks.0..self.blocks.1 {
            let (vector, vectors) = self.panels.blocks[block];
            let (count, mut first) = (self.places.len(), 0);
            let tiles = count.div_ceil(V::BLOCK.0);
            for tile in 0..tiles {
                let rows = (count - first).div_ceil(tiles - tile);
                match vectors {
                    1 => self.rows::<1>(rows, first, vector),
                    2 => self.rows::<2>(rows, first, vector),
                    _ => self.rows::<3>(rows, first, vector),
                }
                first += rows;
            }
        }
    }
}

impl<V: Lanes> Dense<'_, V> {
    #[inline(always)]
    fn rows<const C: usize>(&self, rows: usize, first: usize, vector: usize) {
        match rows {
            1 => self.tile::<1, C>(first, vector),
            2 => self.tile::<2, C>(first, vector),
            3 => self.tile::<3, C>(first, vector),
            4 => self.tile::<4, C>(first, vector),
            5 => self.tile::<5, C>(first, vector),
            6 => self.tile::<6, C>(first, vector),
            7 => self.tile::<7, C>(first, vector),
            _ => self.tile::<8, C>(first, vector),
        }
    }

    /// `R` places times `C` vectors of channels: the sums stay in registers.
    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&self, first: usize, vector: usize) {
        if R > V::BLOCK.0 || C > V::BLOCK.1 {
            return;
        }
        let (count, inputs) = (self.places.len(), self.panels.inputs);
        let start = self.panels.start(self.group, vector);
        let bias = self.group * self.panels.padded + vector * V::COUNT;
        assert!(first + R <= count && self.seen.len() == count * self.taps.len());
        assert!(
            start + self.panels.taps * inputs * C * V::COUNT <= self.panels.values.len() && bias + C * V::COUNT <= self.panels.bias.len()
        );
        // SAFETY: every pointer of `seen` has the inputs of a group before it, the block's weights and biases were checked, and `places` lie in the target.
        unsafe {
            let weights = self.panels.values.as_ptr().add(start);
            let mut sums = [[V::splat(0.0); C]; R];
            for c in 0..C {
                let bias = V::load(self.panels.bias.as_ptr().add(bias + c * V::COUNT), V::COUNT);
                for r in 0..R {
                    sums[r][c] = bias;
                }
            }
            let mut tap = 0;
            while tap < self.taps.len() {
                let mut from = [ptr::null::<f32>(); R];
                for r in 0..R {
                    from[r] = *self.seen.get_unchecked(tap * count + first + r);
                }
                let mut weight = weights.add(*self.taps.get_unchecked(tap) * inputs * C * V::COUNT);
                // Taps whose inputs lie one after the other are one run.
                let mut run = 1;
                'more: while tap + run < self.taps.len() && *self.taps.get_unchecked(tap + run) == *self.taps.get_unchecked(tap) + run {
                    for r in 0..R {
                        if *self.seen.get_unchecked((tap + run) * count + first + r) != from[r].wrapping_add(run * inputs) {
                            break 'more;
                        }
                    }
                    run += 1;
                }
                tap += run;
                for i in 0..run * inputs {
                    let mut row = [V::splat(0.0); C];
                    for c in 0..C {
                        row[c] = V::load(weight.add(c * V::COUNT), V::COUNT);
                    }
                    weight = weight.add(C * V::COUNT);
                    for r in 0..R {
                        let x = V::splat(*from[r].add(i));
                        for c in 0..C {
                            sums[r][c] = sums[r][c].plus_product(x, row[c]);
                        }
                    }
                }
            }
            // `sums` is indexed by constants alone, so that it stays in registers; what follows is no unrolled loop.
            let mut done = MaybeUninit::<[[V; C]; R]>::uninit();
            for r in 0..R {
                for c in 0..C {
                    done.as_mut_ptr().cast::<V>().add(r * C + c).write(sums[r][c]);
                }
            }
            let done = done.assume_init();
            for c in 0..C {
                let channel = (vector + c) * V::COUNT;
                let valid = (self.panels.outputs - channel).min(V::COUNT);
                for r in 0..R {
                    let place = *self.places.get_unchecked(first + r);
                    self.end.write(done[r][c], place, self.group * self.panels.outputs + channel, valid);
                }
            }
        }
    }
}

/// A run of places of the last axis that see the same taps, all inside.
struct Run {
    first: usize,
    count: usize,
    /// A tap and the source of the run's first place.
    taps: Vec<(usize, usize)>,
}

/// Cuts a phase where a tap enters or leaves the source.
fn runs(phase: &Phase, size: usize) -> Vec<Run> {
    let inside: Vec<(usize, usize)> = phase.taps.iter().map(|(_, base)| phase.inside(*base, size)).collect();
    let mut cuts: Vec<usize> = inside.iter().flat_map(|(from, to)| [*from, *to]).chain([0, phase.count]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let run = |cut: &[usize]| {
        let own = phase.taps.iter().zip(&inside).filter(|(_, (from, to))| *from <= cut[0] && cut[0] < *to);
        let taps = own.map(|((k, base), _)| (*k, (*base + (cut[0] * phase.ahead) as isize) as usize)).collect();
        Run { first: cut[0], count: cut[1] - cut[0], taps }
    };
    cuts.windows(2).map(run).collect()
}

/// Every channel through its own kernel.
fn deep(width: Width, of: &Window, sides: &Sides, x: &[f32], weights: &[f32], bias: Option<&[f32]>, end: End) {
    let channels = end.channels;
    let cut: Vec<(&Phase, Vec<Run>)> = sides.phases[2].iter().map(|p| (p, runs(p, sides.source[2]))).collect();
    let rows: Vec<(usize, usize, &Phase, &Phase)> = {
        let pair = |a| sides.phases[1].iter().map(move |b| (a, b));
        let pairs = sides.phases[0].iter().flat_map(pair);
        pairs.flat_map(|(a, b)| (0..a.count).flat_map(move |d| (0..b.count).map(move |h| (d, h, a, b)))).collect()
    };
    let mut rows = rows;
    // From the top: neighbouring rows see the same source.
    rows.sort_by_key(|(d, h, a, b)| (a.first + d * a.step, b.first + h * b.step));
    let all = sides.batch * rows.len();
    let together = (CHUNK / (sides.target[2] * channels).max(1)).max(1);
    let together =
        if rayon::current_num_threads() > 1 { together.min(all.div_ceil(4 * rayon::current_num_threads())) } else { together }.max(1);
    each(all.div_ceil(together), of.work().saturating_mul(8), |task| {
        let mut taps = Vec::new();
        for at in task * together..all.min((task + 1) * together) {
            let (sample, (d, h, a, b)) = (at / rows.len(), rows[at % rows.len()]);
            let target = ((sample * sides.target[0] + a.first + d * a.step) * sides.target[1] + b.first + h * b.step) * sides.target[2];
            for (phase, runs) in &cut {
                for run in runs {
                    taps.clear();
                    for (kd, base_d) in &a.taps {
                        for (kh, base_h) in &b.taps {
                            let Some((sd, sh)) = a.source(*base_d, d, sides.source[0]).zip(b.source(*base_h, h, sides.source[1])) else {
                                continue;
                            };
                            let row = ((sample * sides.source[0] + sd) * sides.source[1] + sh) * sides.source[2];
                            taps.extend(run.taps.iter().map(|(kw, first)| {
                                let tap = (kd * of.kernel[1] + kh) * of.kernel[2] + kw;
                                // The whole run is read from here on.
                                let seen = &x[(row + first) * channels..][..((run.count - 1) * phase.ahead + 1) * channels];
                                (seen.as_ptr(), weights[tap * channels..][..channels].as_ptr())
                            }));
                        }
                    }
                    let first = target + phase.first + run.first * phase.step;
                    with!(width, L => L::run(Deep::<L> {
                        taps: &taps, bias, channels, first, step: phase.step, count: run.count, ahead: phase.ahead * channels, end,
                        lanes: std::marker::PhantomData,
                    }));
                }
            }
        }
    });
}

struct Deep<'a, V> {
    /// Source of the run's first place, and weights.
    taps: &'a [(*const f32, *const f32)],
    bias: Option<&'a [f32]>,
    channels: usize,
    /// The first place in the target, and how far it is to the next one.
    first: usize,
    step: usize,
    count: usize,
    /// Floats from a place's source to that of the next one.
    ahead: usize,
    end: End,
    lanes: std::marker::PhantomData<V>,
}

impl<V: Lanes> Task for Deep<'_, V> {
    #[inline(always)]
    fn run(self) {
        let tiles = self.count.div_ceil(V::BLOCK.0);
        let mut first = 0;
        for tile in 0..tiles {
            let rows = (self.count - first).div_ceil(tiles - tile);
            match rows {
                1 => self.tile::<1>(first),
                2 => self.tile::<2>(first),
                3 => self.tile::<3>(first),
                4 => self.tile::<4>(first),
                5 => self.tile::<5>(first),
                6 => self.tile::<6>(first),
                7 => self.tile::<7>(first),
                _ => self.tile::<8>(first),
            }
            first += rows;
        }
    }
}

impl<V: Lanes> Deep<'_, V> {
    #[inline(always)]
    fn tile<const R: usize>(&self, first: usize) {
        if R > V::BLOCK.0 {
            return;
        }
        let mut channel = 0;
        while channel + V::COUNT <= self.channels {
            self.vector::<R>(first, channel, V::COUNT);
            channel += V::COUNT;
        }
        if channel < self.channels {
            self.vector::<R>(first, channel, self.channels - channel);
        }
    }

    #[inline(always)]
    fn vector<const R: usize>(&self, first: usize, channel: usize, count: usize) {
        // SAFETY: the source of the whole run and the weights of all channels were checked where their pointers were made.
        unsafe {
            let start = match self.bias {
                Some(bias) => V::load(bias.as_ptr().add(channel), count),
                None => V::splat(0.0),
            };
            let mut sums = [start; R];
            for tap in 0..self.taps.len() {
                let (from, weight) = *self.taps.get_unchecked(tap);
                let weight = V::load(weight.add(channel), count);
                let mut from = from.add(channel.wrapping_add(first.wrapping_mul(self.ahead)));
                for r in 0..R {
                    sums[r] = sums[r].plus_product(V::load(from, count), weight);
                    from = from.wrapping_add(self.ahead);
                }
            }
            let mut done = MaybeUninit::<[V; R]>::uninit();
            for r in 0..R {
                done.as_mut_ptr().cast::<V>().add(r).write(sums[r]);
            }
            let done = done.assume_init();
            for r in 0..R {
                let place = self.first.wrapping_add((first + r).wrapping_mul(self.step));
                self.end.write(done[r], place, channel, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, salt: u64) -> Vec<f32> {
        (0..n as u64).map(|i| ((i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
    }

    /// `batch` matrices transposed.
    fn turned(x: &[f32], batch: usize, rows: usize, columns: usize) -> Vec<f32> {
        let at = |i: usize| (i / (rows * columns), i / rows % columns, i % rows);
        (0..batch * rows * columns).map(at).map(|(b, c, r)| x[(b * rows + r) * columns + c]).collect()
    }

    fn widths() -> Vec<Width> {
        let mut all = vec![Width::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx2::available().then_some(Width::Avx2));
            all.extend(Avx512::available().then_some(Width::Avx512));
        }
        all
    }

    /// `output` from the other sizes, with `end` more padding behind than in front.
    fn window(
        channels: (usize, usize),
        groups: usize,
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        dilation: [usize; 3],
        end: usize,
    ) -> Window {
        let pad = [0, 1, 2].map(|a| if kernel[a] > 1 { kernel[a] / 2 } else { 0 });
        let room = |a: usize| input[a] + 2 * pad[a] + if kernel[a] > 1 { end } else { 0 } - (kernel[a] - 1) * dilation[a] - 1;
        let output = [0, 1, 2].map(|a| room(a) / stride[a] + 1);
        Window { batch: 2, groups, channels, input, kernel, output, stride, dilation, pad }
    }

    fn all() -> Vec<Window> {
        let one = [1; 3];
        vec![
            window((5, 9), 1, [1, 7, 9], [1, 3, 3], one, one, 0),
            window((3, 33), 1, [1, 9, 11], [1, 3, 3], [1, 2, 2], one, 0),
            window((17, 24), 1, [1, 5, 7], one, one, one, 0),
            window((17, 70), 1, [1, 5, 7], one, [1, 2, 3], one, 0),
            window((8, 16), 1, [1, 11, 8], [1, 4, 2], [1, 3, 1], [1, 2, 3], 1),
            window((6, 32), 2, [1, 6, 6], [1, 3, 3], one, one, 0),
            window((4, 12), 1, [1, 1, 23], [1, 1, 5], [1, 1, 2], [1, 1, 2], 2),
            window((4, 19), 1, [4, 5, 6], [2, 3, 2], [2, 1, 2], one, 0),
            window((24, 24), 24, [1, 9, 13], [1, 3, 3], one, one, 0),
            window((19, 19), 19, [1, 9, 10], [1, 3, 3], [1, 2, 2], one, 0),
            window((19, 19), 19, [1, 9, 10], [1, 5, 4], [1, 3, 2], [1, 1, 2], 1),
            window((16, 16), 16, [1, 1, 20], [1, 1, 3], [1, 1, 3], one, 0),
            window((9, 9), 9, [3, 4, 5], [3, 2, 3], [1, 2, 1], one, 0),
            window((40, 100), 1, [1, 1, 600], one, one, one, 0),
        ]
    }

    fn filter(width: Width, of: &Window, activation: Activation) -> (Filter, Vec<f32>, Vec<f32>) {
        let shape = [&[of.channels.1, of.channels.0 / of.groups], of.kernel.as_slice()].concat();
        let (w, b) = (numbers(shape.iter().product(), 2), numbers(of.channels.1, 4));
        let filter = Filter::new(width, &shape, &w, Some(&b), of.groups, activation);
        (filter.unwrap_or_else(|| panic!("{of:?}")), w, b)
    }

    #[test]
    fn both_ways_are_those_of_the_plain_loops() {
        for (of, width) in all().iter().flat_map(|of| widths().into_iter().map(move |w| (of, w))) {
            let (plane_x, plane_y) = (of.input.iter().product::<usize>(), of.output.iter().product::<usize>());
            let x = numbers(of.batch * of.channels.0 * plane_x, 1);
            let rooms = Rooms::default();
            for activation in [Activation::None, Activation::Relu, Activation::Clip(-0.5, 0.25)] {
                let (own, w, b) = filter(width, of, activation);
                let mut wanted: Vec<f32> = (0..of.batch).flat_map(|_| b.iter().flat_map(|b| std::iter::repeat_n(*b, plane_y))).collect();
                of.forward(&x, &w, &mut wanted);
                let passes = |v: f32| match activation {
                    Activation::None => true,
                    Activation::Relu => v > 0.0,
                    Activation::Clip(low, high) => v >= low && v <= high,
                };
                // Where a sum is at a bound but for its rounding either slope is right: none is asked for.
                let clear = |v: f32| [0.0, -0.5, 0.25].iter().all(|edge| (v - edge).abs() > 1e-5);
                let mut g = numbers(wanted.len(), 3);
                g.iter_mut().zip(&wanted).for_each(|(g, v)| *g = if clear(*v) { *g } else { 0.0 });
                let slope: Vec<f32> = g.iter().zip(&wanted).map(|(g, v)| if passes(*v) { *g } else { 0.0 }).collect();
                match activation {
                    Activation::None => {}
                    Activation::Relu => wanted.iter_mut().for_each(|v| *v = v.max(0.0)),
                    Activation::Clip(low, high) => wanted.iter_mut().for_each(|v| *v = v.clamp(low, high)),
                }
                let mut back = vec![0.0; x.len()];
                of.backward(&slope, &w, &mut back);
                let (y, marks) = own.forward(of, &turned(&x, of.batch, of.channels.0, plane_x), &rooms, true);
                let y = turned(&y, of.batch, plane_y, of.channels.1);
                let mut g = turned(&g, of.batch, of.channels.1, plane_y);
                let gx = turned(&own.backward(of, &mut g, &marks, &rooms), of.batch, plane_x, of.channels.0);
                let close =
                    |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs()));
                assert!(close(&y, &wanted), "{width:?} {activation:?} {of:?}");
                assert!(close(&gx, &back), "{width:?} {activation:?} {of:?}");
            }
        }
    }

    #[test]
    fn neither_threads_nor_neighbours_change_a_bit() {
        let big = [
            Window { batch: 3, ..window((33, 65), 1, [1, 19, 21], [1, 3, 3], [1, 1, 1], [1; 3], 0) },
            Window { batch: 3, ..window((64, 200), 1, [1, 17, 19], [1; 3], [1; 3], [1; 3], 0) },
            Window { batch: 3, ..window((160, 160), 160, [1, 23, 29], [1, 3, 3], [1, 2, 2], [1; 3], 0) },
        ];
        for of in big {
            let rooms = Rooms::default();
            let (own, ..) = filter(Width::widest(), &of, Activation::Relu);
            let x = numbers(of.batch * of.channels.0 * of.input.iter().product::<usize>(), 1);
            let n = of.batch * of.channels.1 * of.output.iter().product::<usize>();
            let pass = |of: &Window, x: &[f32], n: usize| {
                let (y, marks) = own.forward(of, x, &rooms, true);
                let mut g = numbers(n, 3);
                (y, own.backward(of, &mut g, &marks, &rooms))
            };
            let run =
                |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().map(|pool| pool.install(|| pass(&of, &x, n)));
            let (one, two, five) = (run(1).ok(), run(2).ok(), run(5).ok());
            assert!(one.is_some() && one == two && one == five, "{of:?}");
            // The first sample alone.
            let (alone, back) = pass(&Window { batch: 1, ..of.clone() }, &x[..x.len() / 3], n / 3);
            let all = one.unwrap_or_default();
            assert!(all.0.starts_with(&alone) && all.1.starts_with(&back), "{of:?}");
        }
    }

    #[test]
    fn what_the_plain_loops_do_better_is_left_to_them() {
        let ready = |shape: &[usize], groups: usize| {
            let n = shape.iter().product();
            Filter::new(Width::widest(), shape, &vec![1.0; n], None, groups, Activation::None).is_some()
        };
        assert!(ready(&[8, 2, 3, 3], 1) && ready(&[8, 1, 3, 3], 8) && ready(&[16, 4], 1));
        // Few outputs, groups that do not divide, empty and overlong kernels.
        assert!(!ready(&[3, 16, 3, 3], 1) && !ready(&[9, 2, 3, 3], 2) && !ready(&[8, 0, 3, 3], 1) && !ready(&[8, 1, 2000], 1));
        assert!(Filter::new(Width::widest(), &[8, 2], &[1.0; 15], None, 1, Activation::None).is_none());
    }
}
