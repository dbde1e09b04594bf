//! Prioritized replay from the bank.

use super::memory::Memory;
use crate::{
    error::{Error, Result},
    mine::{SumTree, importance_weights},
    pipeline::Stale,
    sample::SampleId,
};
use rand::Rng;
use std::collections::{HashMap, VecDeque};

/// What a sample's priority is made of, and what is done about one that was not seen for long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Priorities {
    /// Exponent of the priorities, at least 0; 0 draws uniformly.
    pub alpha: f64,
    /// Deviations of the mean loss that are added to it, at least 0: a loss that few presentations vouch for may be higher than it looks.
    pub optimism: f64,
    /// Steps after which a sample is stale; 0 for never.
    pub max_age: u64,
    /// What happens to a stale one.
    pub stale: Stale,
}

impl Default for Priorities {
    fn default() -> Self {
        Self { alpha: 0.6, optimism: 1.0, max_age: 0, stale: Stale::default() }
    }
}

/// A drawn sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Which.
    pub id: SampleId,
    /// Weight that makes up for its being drawn more often than others, in `0..=1`; the largest of a draw is 1.
    pub weight: f32,
    /// Whether it was drawn because it is stale, and not by its priority.
    pub stale: bool,
}

/// Draws samples of a bank with `P(i) = p_i^alpha / sum p^alpha`. The priorities are those of the moment it was made; what is drawn and
/// trained on is brought up to date by [`ReplaySampler::update`]. A sample that was never seen whole has the highest priority of all; one
/// that was set aside is never drawn.
///
/// Source: Schaul et al., "Prioritized Experience Replay", 2016, section 3.3 and algorithm 1.
#[derive(Debug, Clone)]
pub struct ReplaySampler {
    rules: Priorities,
    ids: Vec<SampleId>,
    at: HashMap<SampleId, usize>,
    tree: SumTree,
    /// The stale ones, the longest unseen first.
    stale: VecDeque<usize>,
}

impl ReplaySampler {
    /// From the samples of a bank, by id.
    pub(super) fn new(all: Vec<(SampleId, Memory)>, step: u64, rules: Priorities) -> Self {
        let priorities: Vec<Option<f64>> = all.iter().map(|(_, memory)| memory.priority(step, &rules)).collect();
        let highest = priorities.iter().flatten().copied().fold(0.0, f64::max);
        let mut tree = SumTree::new(all.len());
        for (i, ((_, memory), priority)) in all.iter().zip(priorities).enumerate() {
            if !memory.set_aside() {
                // A priority is finite and not negative, so that the tree takes every one.
                tree.set(i, power(priority.unwrap_or(highest), rules.alpha)).unwrap_or_default();
            }
        }
        let mut stale: Vec<(u64, usize)> = Vec::new();
        if rules.max_age > 0 && matches!(rules.stale, Stale::Rescore { .. }) {
            let old = all.iter().enumerate().filter(|(_, (_, memory))| memory.age(step) > rules.max_age && !memory.set_aside());
            stale.extend(old.map(|(i, (_, memory))| (memory.last_step(), i)));
            stale.sort_unstable();
        }
        let ids: Vec<SampleId> = all.into_iter().map(|(id, _)| id).collect();
        let at = ids.iter().enumerate().map(|(i, id)| (id.clone(), i)).collect();
        Self { rules, ids, at, tree, stale: stale.into_iter().map(|(_, i)| i).collect() }
    }

    /// Draws `count` samples with replacement; the same state and random numbers give the same. Under [`Stale::Rescore`] its share of them, rounded
    /// up, are the longest unseen as long as there are stale ones, each once. `correction` is the exponent of the weights, `0..=1`. Empty where
    /// nothing can be drawn.
    pub fn draw<R: Rng + ?Sized>(&mut self, count: usize, correction: f64, rng: &mut R) -> Vec<Drawn> {
        let forced = match self.rules.stale {
            Stale::Rescore { share } => ((share.get() * count as f64 - 1e-9).ceil().max(0.0) as usize).min(self.stale.len()),
            Stale::Decay { .. } => 0,
        };
        let mut drawn: Vec<Drawn> = (self.stale.drain(..forced))
            .filter_map(|i| self.ids.get(i).map(|id| Drawn { id: id.clone(), weight: 1.0, stale: true }))
            .collect();
        let total = self.tree.total();
        let picks: Vec<usize> = (forced..count).map_while(|_| self.tree.draw(rng)).collect();
        let probabilities: Vec<f64> = picks.iter().map(|i| self.tree.get(*i) / total).collect();
        let weights = importance_weights(&probabilities, correction);
        drawn.extend(
            picks.iter().zip(weights).filter_map(|(i, weight)| Some(Drawn { id: self.ids.get(*i)?.clone(), weight, stale: false })),
        );
        drawn
    }

    /// Gives a sample another priority, at least 0 and finite: [`Memory::priority`] after it was trained on. Errors for a number that is none;
    /// a sample that came into the bank later is not known here and stays so.
    pub fn update(&mut self, id: &SampleId, priority: f64) -> Result<()> {
        if !(priority.is_finite() && priority >= 0.0) {
            return Err(Error::usage(format!("expected a finite priority of at least 0, found {priority}")).at("sample", id));
        }
        match self.at.get(id) {
            Some(&i) => self.tree.set(i, power(priority, self.rules.alpha)),
            None => Ok(()),
        }
    }

    /// The probability of a sample at the next draw by priority.
    pub fn probability(&self, id: &SampleId) -> f64 {
        let total = self.tree.total();
        self.at.get(id).map_or(0.0, |i| if total > 0.0 { self.tree.get(*i) / total } else { 0.0 })
    }

    /// Samples that can be drawn or were set aside.
    pub fn len(&self) -> usize {
        self.ids.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A millionth more than the priority, so that none is 0; capped, so that the sum of a bank stays finite.
fn power(priority: f64, alpha: f64) -> f64 {
    (priority + 1e-6).powf(alpha).min(1e100)
}
