//! Convolutions and matrix products of tensors whose channels lie side by side (N x places x C), over wide registers.
//!
//! A convolution is a matrix product, places times channels, whose left factor is gathered tap by tap: every tap of every place is a pointer into the input, or to
//! zeros outside of it. No patch is unrolled, and the way back to the input is the same loop over other taps. Where each channel has its own kernel, the lanes
//! are the channels. Each number is one sum, over taps and then channels: neither the batch, nor the tile, nor the number of threads changes a bit of it.

use super::{kernel::Window, rooms::Rooms};
#[cfg(target_arch = "x86_64")]
use crate::model::lanes::{Avx2, Avx512};
use crate::model::lanes::{Lanes, Plain, Task};
use rayon::prelude::*;
use std::{ptr, sync::OnceLock};

/// Multiplications from which on a step is split over threads.
const SPLIT: usize = 1 << 19;
/// Floats of a cache line.
const LINE: usize = 16;
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

mod deep;
mod dense;
mod sides;
#[cfg(test)]
mod tests;

use deep::deep;
use dense::{Panels, dense};
use sides::Sides;

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
