//! The door for a trainer's own loop: the losses of a batch in, what the backward pass should see out, and a queue for what comes again.

use super::memory_bank::{MemoryBank, Place, Priorities};
use crate::{
    error::{Error, Result},
    sample::SampleId,
};
use rand::{Rng, seq::index};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where the hard samples of a step are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Take {
    /// The rows of the batch, by their losses.
    #[default]
    Batch,
    /// The memory bank, by its priorities of now; a sample that is also in the batch is given as a row.
    Bank,
    /// Both in one ranking, loss against priority; a sample that is in the batch counts by its loss.
    Both,
}

/// How [`BatchMiner`] chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchRules {
    /// Where from.
    pub take: Take,
    /// Samples of the backward pass as a share of the batch, rounded up; above 0 and at most 1.
    pub keep: f64,
    /// Share of these, rounded up, that is drawn uniformly from the other rows of the batch, at least 0 and below 1; 0 with [`Take::Bank`].
    pub floor: f64,
    /// Whether a drawn row stands for all rows that were not chosen: it weighs as many as there are for each that is drawn. With [`Take::Batch`] the
    /// weighted sum of losses then has that of the whole batch as its expectation. Wants a floor.
    pub unbiased: bool,
    /// Priorities of the bank's samples.
    pub priorities: Priorities,
    /// The bank's hardest samples that are in the running, at least 1. They are found anew every `refresh` steps, by one pass over the bank.
    pub pool: usize,
    /// Steps between two such passes, at least 1.
    pub refresh: u64,
}

impl Default for BatchRules {
    fn default() -> Self {
        Self { take: Take::Batch, keep: 0.5, floor: 0.2, unbiased: false, priorities: Priorities::default(), pool: 1024, refresh: 100 }
    }
}

impl BatchRules {
    fn check(&self) -> Result<()> {
        let wrong = |what: &str, found: f64| Err(Error::usage(format!("{what}, found {found}")));
        if !(self.keep > 0.0 && self.keep <= 1.0) {
            return wrong("expected a share to keep above 0 and at most 1", self.keep);
        }
        if !(0.0..1.0).contains(&self.floor) {
            return wrong("expected a uniform share of at least 0 and below 1", self.floor);
        }
        if self.take == Take::Bank && self.floor > 0.0 {
            return wrong("nothing of the batch is drawn where the bank alone is asked; expected a uniform share of 0", self.floor);
        }
        if self.unbiased && self.floor == 0.0 {
            return Err(Error::usage(
                "without a uniform share no row stands for those that were not chosen; give `floor` or leave `unbiased`",
            ));
        }
        if self.pool == 0 || self.refresh == 0 {
            return Err(Error::usage("expected a pool of at least 1 sample and at least 1 step between two passes, found 0"));
        }
        Ok(())
    }
}

/// What a step is to be trained on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chosen {
    /// Rows of the batch, the hardest first, then those that were drawn uniformly.
    pub rows: Vec<usize>,
    /// What the loss of each row is multiplied by.
    pub weights: Vec<f32>,
    /// Samples of the bank that are not in the batch, the hardest first: to be fetched and trained on along with it, each with weight 1.
    pub recalled: Vec<SampleId>,
    /// Rows whose loss was not finite; none of them is chosen.
    pub not_finite: Vec<usize>,
}

/// Passes that were made and saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passes {
    /// Batches.
    pub steps: u64,
    /// Rows that were offered: forward passes.
    pub forward: u64,
    /// Rows that were chosen, and recalled samples: backward passes.
    pub backward: u64,
    /// Samples of the bank among these, outside the batch.
    pub recalled: u64,
}

impl Passes {
    /// Backward passes less than without a choice; 0 where the bank gave more than was left out.
    pub fn saved(&self) -> u64 {
        self.forward.saturating_sub(self.backward)
    }
    /// The same as a share of all, `0..=1`.
    pub fn share_saved(&self) -> f64 {
        self.saved() as f64 / self.forward.max(1) as f64
    }
}

/// Chooses the samples of each step's backward pass by their losses, from the batch, from a memory bank, or from both. Equal ones go by id; the
/// same calls with the same random numbers give the same.
///
/// Source: Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", 2016 (the k hardest of a batch); Schaul et al.,
/// 2016 (a memory across batches). The weights of the drawn rows are those of a stratified estimator (Cochran 1977, section 5.3).
#[derive(Debug, Clone)]
pub struct BatchMiner {
    rules: BatchRules,
    pool: Vec<(Place, SampleId)>,
    refreshed: Option<u64>,
    passes: Passes,
}

impl BatchMiner {
    /// Errors for rules out of their ranges.
    pub fn new(rules: BatchRules) -> Result<Self> {
        rules.check()?;
        Ok(Self { rules, pool: Vec::new(), refreshed: None, passes: Passes::default() })
    }

    /// Chooses at `step` from a batch with these ids and unreduced losses, and from `bank` where the rules ask for it. Errors where the lengths differ
    /// or a bank is missing. An empty batch gives nothing.
    pub fn choose<R: Rng + ?Sized>(
        &mut self,
        step: u64,
        ids: &[SampleId],
        losses: &[f32],
        bank: Option<&MemoryBank>,
        rng: &mut R,
    ) -> Result<Chosen> {
        if ids.len() != losses.len() {
            return Err(Error::usage(format!("expected as many losses as ids ({}), found {}", ids.len(), losses.len())));
        }
        let mut chosen = Chosen { not_finite: (0..ids.len()).filter(|&row| !losses[row].is_finite()).collect(), ..Chosen::default() };
        let usable = ids.len() - chosen.not_finite.len();
        // A share like 0.2 of 10 is 2 and not 3.
        let part = |share: f64, of: usize| ((share * of as f64 - 1e-9).ceil().max(0.0) as usize).min(of);
        let keep = part(self.rules.keep, ids.len());
        let drawn = if self.rules.take == Take::Bank || keep >= usable && self.rules.take == Take::Batch {
            0
        } else {
            part(self.rules.floor, keep)
        };
        let mut ranked: Vec<Ranked<'_>> = Vec::with_capacity(ids.len());
        let rows = (0..ids.len()).filter(|&row| losses[row].is_finite());
        if self.rules.take == Take::Bank {
            self.recall(step, bank, ids, &mut ranked)?;
        } else {
            ranked.extend(rows.clone().map(|row| Ranked { hardness: f64::from(losses[row]), id: &ids[row], row: Some(row) }));
            if self.rules.take == Take::Both {
                self.recall(step, bank, ids, &mut ranked)?;
            }
        }
        let top = keep - drawn;
        if top < ranked.len() && top > 0 {
            ranked.select_nth_unstable_by(top - 1, Ranked::order);
        }
        ranked.truncate(top);
        ranked.sort_unstable_by(Ranked::order);
        let mut taken = vec![false; ids.len()];
        for one in ranked {
            match one.row {
                Some(row) => {
                    taken[row] = true;
                    chosen.rows.push(row);
                }
                None => chosen.recalled.push(one.id.clone()),
            }
        }
        chosen.weights.resize(chosen.rows.len(), 1.0);
        if drawn > 0 {
            let rest: Vec<usize> = rows.filter(|&row| !taken[row]).collect();
            let drawn = drawn.min(rest.len());
            let weight = if self.rules.unbiased { rest.len() as f32 / drawn.max(1) as f32 } else { 1.0 };
            let mut places = index::sample(rng, rest.len(), drawn).into_vec();
            places.sort_unstable();
            chosen.rows.extend(places.into_iter().map(|place| rest[place]));
            chosen.weights.resize(chosen.rows.len(), weight);
        }
        self.passes.steps += 1;
        self.passes.forward += ids.len() as u64;
        self.passes.backward += (chosen.rows.len() + chosen.recalled.len()) as u64;
        self.passes.recalled += chosen.recalled.len() as u64;
        Ok(chosen)
    }

    /// Puts the bank's hardest samples into the running.
    fn recall<'a>(&'a mut self, step: u64, bank: Option<&MemoryBank>, ids: &'a [SampleId], ranked: &mut Vec<Ranked<'a>>) -> Result<()> {
        let Some(bank) = bank else { return Err(Error::usage("these rules take samples from a memory bank; expected one, found none")) };
        if self.refreshed.is_none_or(|last| step < last || step - last >= self.rules.refresh) {
            self.pool = bank.hardest_places(self.rules.pool, step, &self.rules.priorities);
            self.refreshed = Some(step);
        }
        let in_batch: HashMap<&SampleId, usize> = ids.iter().enumerate().rev().map(|(row, id)| (id, row)).collect();
        // What was trained on since, or set aside, has another priority now, or none.
        let mut known = Vec::with_capacity(self.pool.len());
        bank.priorities(&self.pool, step, &self.rules.priorities, |at, hardness| known.push((at, hardness)));
        for (at, hardness) in known {
            let id = &self.pool[at].1;
            let row = in_batch.get(id).copied();
            if row.is_none() || self.rules.take != Take::Both {
                ranked.push(Ranked { hardness, id, row });
            }
        }
        Ok(())
    }

    /// Passes so far.
    pub fn passes(&self) -> Passes {
        self.passes
    }
}

struct Ranked<'a> {
    hardness: f64,
    id: &'a SampleId,
    row: Option<usize>,
}

impl Ranked<'_> {
    /// The hardest first, equal ones by id, then by row.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.hardness.total_cmp(&self.hardness).then_with(|| self.id.cmp(other.id)).then_with(|| self.row.cmp(&other.row))
    }
}

/// Samples that wait to be presented again, with whatever the trainer keeps of each; the longest waiting come first, and none waits for longer
/// than its age limit.
#[derive(Debug, Clone)]
pub struct ReplayQueue<T> {
    capacity: usize,
    max_age: u64,
    next: u64,
    waiting: BTreeMap<u64, (u64, SampleId, T)>,
    place: HashMap<SampleId, u64>,
    let_go: u64,
}

impl<T> ReplayQueue<T> {
    /// A queue of at most `capacity` samples, at least 1, none of which waits for more than `max_age` steps.
    pub fn new(capacity: usize, max_age: u64) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::usage("expected a capacity of at least 1, found 0"));
        }
        Ok(Self { capacity, max_age, next: 0, waiting: BTreeMap::new(), place: HashMap::new(), let_go: 0 })
    }

    /// Puts a sample at the end. One that waits already begins anew; in a full queue the longest waiting goes.
    pub fn push(&mut self, step: u64, id: SampleId, kept: T) {
        if let Some(place) = self.place.insert(id.clone(), self.next) {
            self.waiting.remove(&place);
        }
        self.waiting.insert(self.next, (step, id, kept));
        self.next += 1;
        while self.waiting.len() > self.capacity {
            self.pop();
            self.let_go += 1;
        }
    }

    /// Takes the `count` longest waiting out, at most; what became too old by `step` is let go before. Steps do not go back.
    pub fn take(&mut self, step: u64, count: usize) -> Vec<(SampleId, T)> {
        while self.waiting.first_key_value().is_some_and(|(_, (since, ..))| step.saturating_sub(*since) > self.max_age) {
            self.pop();
            self.let_go += 1;
        }
        (0..count).map_while(|_| self.pop()).collect()
    }

    /// Drops samples, such as those that were found to be wrong.
    pub fn forget(&mut self, ids: &HashSet<SampleId>) {
        for place in ids.iter().filter_map(|id| self.place.remove(id)) {
            self.waiting.remove(&place);
        }
    }

    fn pop(&mut self) -> Option<(SampleId, T)> {
        let (_, (_, id, kept)) = self.waiting.pop_first()?;
        self.place.remove(&id);
        Some((id, kept))
    }

    /// Samples that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
    /// Samples that were let go untaken, for their age or for room.
    pub fn let_go(&self) -> u64 {
        self.let_go
    }
}

#[cfg(test)]
mod tests;
