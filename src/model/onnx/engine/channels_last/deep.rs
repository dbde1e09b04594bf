//! Convolutions in which every channel has a kernel of its own: the lanes are channels.

#![allow(clippy::needless_range_loop)]

use super::{
    CHUNK, End, Width, each,
    sides::{Phase, Run, Sides, runs},
};
use crate::model::{lanes::*, onnx::engine::kernel::Window};
use std::mem::MaybeUninit;

/// Every channel through its own kernel.
pub(super) fn deep(width: Width, of: &Window, sides: &Sides, x: &[f32], weights: &[f32], bias: Option<&[f32]>, end: End) {
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

pub(super) struct Deep<'a, V> {
    /// Source of the run's first place, and weights.
    pub(super) taps: &'a [(*const f32, *const f32)],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) channels: usize,
    /// The first place in the target, and how far it is to the next one.
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    /// Floats from a place's source to that of the next one.
    pub(super) ahead: usize,
    pub(super) end: End,
    pub(super) lanes: std::marker::PhantomData<V>,
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
