//! Matrix products over gathered places.

#![allow(clippy::needless_range_loop)]

use super::{
    CHUNK, End, LINE, SPLIT, Width, each,
    sides::{Sides, gather, shares},
};
use crate::model::{lanes::*, onnx::engine::kernel::Window};
use std::{mem::MaybeUninit, ptr};

/// Weights in the order in which the sums run: a group, a block of a few vectors of outputs, a tap, an input, the outputs of the block.
#[derive(Debug)]
pub(super) struct Panels {
    /// Of one group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) taps: usize,
    /// First vector and number of vectors.
    pub(super) blocks: Vec<(usize, usize)>,
    pub(super) lanes: usize,
    /// Outputs of a group with those that fill the last vector.
    pub(super) padded: usize,
    /// Floats in front of the first whole cache line.
    pub(super) skip: usize,
    pub(super) values: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Panels {
    /// `of` is the weight of a group, output, tap and input; `bias` has one value an output of every group.
    pub(super) fn new(
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
        let mut values: Vec<f32> = Vec::with_capacity(groups * taps * inputs * padded + LINE);
        // Vectors that lie across two cache lines take twice as long to load.
        let skip = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        values.resize(skip, 0.0);
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
        Self { inputs, outputs, taps, blocks, lanes, padded, skip, values, bias: starts }
    }

    /// The weight of a group, output, tap and input.
    pub(super) fn at(&self, group: usize, output: usize, tap: usize, input: usize) -> f32 {
        let vector = output / self.lanes;
        let block = self.blocks.iter().rev().find(|(first, _)| *first <= vector);
        let (first, own) = block.copied().unwrap_or((0, 1));
        let start = self.start(group, first) + (tap * self.inputs + input) * own * self.lanes;
        self.values[start + output - first * self.lanes]
    }
    /// Where the block whose first vector is `first` starts.
    pub(super) fn start(&self, group: usize, first: usize) -> usize {
        self.skip + (group * self.padded + first * self.lanes) * self.taps * self.inputs
    }
}

/// A product over gathered places.
pub(super) fn dense(width: Width, of: &Window, sides: &Sides, x: &[f32], panels: &Panels, end: End) {
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

pub(super) struct Dense<'a, V> {
    pub(super) panels: &'a Panels,
    pub(super) group: usize,
    pub(super) blocks: (usize, usize),
    /// `[tap][place]`.
    pub(super) seen: &'a [*const f32],
    pub(super) places: &'a [usize],
    pub(super) taps: &'a [usize],
    pub(super) end: End,
    pub(super) lanes: std::marker::PhantomData<V>,
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
