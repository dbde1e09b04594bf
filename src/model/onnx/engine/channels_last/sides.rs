//! Which places a convolution sees, forward and back.

use crate::model::onnx::engine::kernel::Window;

/// One of the interleaved runs of places along an axis that see the same taps: all places on the way forward; on the way back, with the stride `s`,
/// every `s`-th.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    /// A tap, and the source of the run's place 0 (outside where negative).
    pub(super) taps: Vec<(usize, isize)>,
    /// How far the source moves from place to place of the run.
    pub(super) ahead: usize,
}

impl Phase {
    /// The places of the run, `from..to`, whose tap lies inside a source of `size` places.
    pub(super) fn inside(&self, base: isize, size: usize) -> (usize, usize) {
        let ahead = self.ahead as isize;
        let below = |bound: isize| if bound <= base { 0 } else { ((bound - base + ahead - 1) / ahead) as usize };
        let from = below(0).min(self.count);
        (from, below(size as isize).clamp(from, self.count))
    }
    pub(super) fn source(&self, base: isize, place: usize, size: usize) -> Option<usize> {
        usize::try_from(base + (place * self.ahead) as isize).ok().filter(|s| *s < size)
    }
}

/// What is computed (`target`) from what (`source`): output from input, or on the way back input from output.
pub(super) struct Sides {
    pub(super) batch: usize,
    pub(super) target: [usize; 3],
    pub(super) source: [usize; 3],
    pub(super) phases: [Vec<Phase>; 3],
}

impl Sides {
    pub(super) fn new(of: &Window, back: bool) -> Self {
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
    pub(super) fn places(&self) -> usize {
        self.batch * self.target.iter().product::<usize>()
    }
}

/// Places of one combination of phases.
pub(super) struct Share<'a> {
    pub(super) phases: [&'a Phase; 3],
    pub(super) places: usize,
    /// Each tap's number and its tap of each phase.
    pub(super) taps: Vec<usize>,
}

/// All combinations of phases.
pub(super) fn shares<'a>(of: &Window, sides: &'a Sides) -> Vec<Share<'a>> {
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

/// The pointers of some places of a share, `[tap][place]`, and where the places lie in the target. `of` makes a pointer of a place of the source, `usize::MAX` for one outside.
pub(super) fn gather(
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

/// A run of places of the last axis that see the same taps, all inside.
pub(super) struct Run {
    pub(super) first: usize,
    pub(super) count: usize,
    /// A tap and the source of the run's first place.
    pub(super) taps: Vec<(usize, usize)>,
}

/// Cuts a phase where a tap enters or leaves the source.
pub(super) fn runs(phase: &Phase, size: usize) -> Vec<Run> {
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
