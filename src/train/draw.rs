//! What the batches of an epoch are drawn from, and how.

use super::{objective::Teaching, thin::Dropout};
use crate::{model::Target, random::SeedTree, sample::Sample};
use rand::{RngExt, seq::SliceRandom};
use std::collections::BTreeMap;

/// What the batches of an epoch are drawn from.
#[derive(Clone, Copy)]
pub struct Mix<'a> {
    /// Originals in use: index into the split and weight of the loss.
    pub originals: &'a [(usize, f32)],
    /// Targets that stand in for the labels of originals, by index into the split.
    pub relabelled: &'a BTreeMap<usize, Target>,
    /// Weights of the sampler beside each original, for the share that is not drawn uniformly; `None` draws all uniformly.
    pub sampler: Option<&'a [f32]>,
    /// Positions in `originals` that the memory bank gives, with the weight that makes up for it: `remembered_a_step` for each step, one step after
    /// another. They come behind the uniform share and before the sampler's.
    pub remembered: &'a [(usize, f32)],
    /// How many of each batch are remembered.
    pub remembered_a_step: usize,
    /// Least share of each batch that is drawn uniformly from the originals, `0..=1`; at most what replay leaves.
    pub uniform_floor: f64,
    /// Samples to replay.
    pub replay: &'a [Sample],
    /// Share of each batch that is replayed, `0..1`.
    pub replay_share: f64,
    /// How modalities of a sample are left out; none are without.
    pub dropout: Option<Dropout<'a>>,
    /// What is learnt; the cross entropy without.
    pub teaching: Option<Teaching<'a>>,
    /// How strongly the leading encoder is held back, and whether with noise ([`crate::model::Balance`]); not at all without.
    pub balance: Option<(f64, bool)>,
    /// Samples a step.
    pub batch_size: usize,
    /// Steps of the epoch.
    pub steps: usize,
}

#[cfg(test)]
impl<'a> Mix<'a> {
    /// Originals drawn alike, and the cross entropy of their labels.
    pub(super) fn uniform(originals: &'a [(usize, f32)], batch_size: usize, steps: usize) -> Self {
        static AS_LABELLED: BTreeMap<usize, Target> = BTreeMap::new();
        Self {
            originals,
            relabelled: &AS_LABELLED,
            sampler: None,
            remembered: &[],
            remembered_a_step: 0,
            uniform_floor: 1.0,
            replay: &[],
            replay_share: 0.0,
            dropout: None,
            teaching: None,
            balance: None,
            batch_size,
            steps,
        }
    }
}

/// An original for a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    /// Position in `mix.originals`.
    pub at: usize,
    /// What its loss is multiplied by, besides its own weight.
    pub weight: f32,
    /// Whether the memory bank gave it.
    pub remembered: bool,
}

/// The originals of an epoch: in each step the uniform share first, then what the memory bank gives, then the weighted one.
pub(super) fn draw(mix: &Mix<'_>, fresh: usize, seeds: &SeedTree) -> Vec<Pick> {
    let mut uniform = Endless::new(mix.originals.len(), seeds.child("order"));
    let cumulative: Option<Vec<f64>> = mix.sampler.map(|weights| {
        let mut sum = 0.0;
        weights
            .iter()
            .map(|w| {
                sum += f64::from(w.max(0.0));
                sum
            })
            .collect()
    });
    let total = cumulative.as_ref().and_then(|c| c.last().copied()).unwrap_or(0.0);
    let floor = ((mix.uniform_floor * mix.batch_size as f64).ceil() as usize).min(fresh);
    let remembered = mix.remembered_a_step.min(fresh - floor);
    let floor = if total > 0.0 { floor } else { fresh - remembered };
    let mut rng = seeds.child("weighted").rng();
    let mut picks = Vec::with_capacity(mix.steps * fresh);
    let plain = |at| Pick { at, weight: 1.0, remembered: false };
    let mut from_bank = mix.remembered.chunks(mix.remembered_a_step.max(1));
    for _ in 0..mix.steps {
        picks.extend((0..floor).map(|_| plain(uniform.next_index())));
        let given = from_bank.next().unwrap_or_default();
        let given = given.iter().take(remembered).map(|(at, weight)| Pick { at: *at, weight: *weight, remembered: true });
        let before = picks.len();
        picks.extend(given);
        // A bank that gave too little leaves its place to the uniform draw.
        let missing = remembered - (picks.len() - before);
        picks.extend((0..missing).map(|_| plain(uniform.next_index())));
        if let Some(cumulative) = &cumulative {
            picks.extend((floor + remembered..fresh).map(|_| {
                let at = rng.random::<f64>() * total;
                plain(cumulative.partition_point(|c| *c <= at).min(mix.originals.len() - 1))
            }));
        }
    }
    picks
}

/// Permutations of `0..n`, one after another: every index once before any comes again.
pub(super) struct Endless {
    order: Vec<usize>,
    at: usize,
    turn: usize,
    seeds: SeedTree,
}

impl Endless {
    pub fn new(n: usize, seeds: SeedTree) -> Self {
        Self { order: (0..n).collect(), at: n, turn: 0, seeds }
    }
    pub fn next_index(&mut self) -> usize {
        if self.at >= self.order.len() {
            self.order.sort_unstable();
            self.order.shuffle(&mut self.seeds.variant(self.turn).rng());
            self.turn += 1;
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix<'a>(originals: &'a [(usize, f32)], sampler: Option<&'a [f32]>) -> Mix<'a> {
        Mix { sampler, uniform_floor: 0.5, ..Mix::uniform(originals, 4, 5) }
    }

    fn picks(mix: &Mix<'_>, fresh: usize) -> Vec<usize> {
        draw(mix, fresh, &SeedTree::new(1)).into_iter().map(|pick| pick.at).collect()
    }

    #[test]
    fn uniform_draws_use_every_sample_before_any_again() {
        let originals: Vec<(usize, f32)> = (0..10).map(|i| (i, 1.0)).collect();
        let all = picks(&mix(&originals, None), 4);
        assert_eq!(all.len(), 20);
        let mut first: Vec<_> = all[..10].to_vec();
        first.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn weighted_draws_follow_the_weights_and_keep_the_floor() {
        let originals: Vec<(usize, f32)> = (0..10).map(|i| (i, 1.0)).collect();
        let weights = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let all = picks(&mix(&originals, Some(&weights)), 4);
        // Two of four are uniform: in five steps each of the ten exactly once; the other ten are all of index 9.
        assert_eq!(all.iter().filter(|&&p| p == 9).count(), 11);
        // The floor is a share of the batch: with one of four replayed, two of the other three are uniform.
        let beside_replay = picks(&mix(&originals, Some(&weights)), 3);
        assert_eq!(beside_replay.iter().filter(|&&p| p == 9).count(), 6);
        let flat = picks(&mix(&originals, Some(&[0.0; 10])), 4);
        assert_eq!(flat.len(), 20);
    }

    #[test]
    fn the_memory_bank_has_its_share_of_each_batch() {
        let originals: Vec<(usize, f32)> = (0..10).map(|i| (i, 1.0)).collect();
        let bank: Vec<(usize, f32)> = (0..10).map(|i| (i, 0.25)).collect();
        // Half of four is the floor, so that at most two are remembered; five steps of three ask for more than is given.
        let of = |remembered_a_step, sampler| Mix { remembered: &bank, remembered_a_step, ..mix(&originals, sampler) };
        let drawn = draw(&of(2, None), 4, &SeedTree::new(1));
        let from_bank = |drawn: &[Pick]| drawn.iter().filter(|pick| pick.remembered).map(|pick| pick.at).collect::<Vec<_>>();
        assert_eq!((drawn.len(), from_bank(&drawn)), (20, (0..10).collect()));
        assert!(drawn.iter().all(|pick| pick.weight == if pick.remembered { 0.25 } else { 1.0 }));
        assert_eq!(from_bank(&draw(&of(3, None), 4, &SeedTree::new(1))), [0, 1, 3, 4, 6, 7, 9]);
        let weights = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let beside = draw(&of(1, Some(&weights)), 4, &SeedTree::new(1));
        assert_eq!((beside.len(), from_bank(&beside)), (20, vec![0, 1, 2, 3, 4]));
        // Two uniform, one remembered, one of the sampler: the last of each step.
        assert!(beside.chunks(4).all(|step| step[3].at == 9 && step[2].remembered));
    }
}
