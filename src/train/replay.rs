use crate::{
    context::Forwards,
    error::Result,
    model::{ModelSet, measure},
    sample::{Accepted, DifficultyBand, Sample, SampleId},
};
use std::collections::HashMap;

/// Generated samples that training draws from. Bounded by samples a parent and in all; the oldest go first.
pub struct Replay {
    cap_per_parent: usize,
    capacity: usize,
    samples: Vec<Sample>,
    parents: Vec<SampleId>,
    rounds: Vec<usize>,
}

impl Replay {
    /// An empty buffer; 0 means any number.
    pub fn new(cap_per_parent: usize, capacity: usize) -> Self {
        Self { cap_per_parent, capacity, samples: Vec::new(), parents: Vec::new(), rounds: Vec::new() }
    }
    /// What is kept, oldest first.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
    /// Takes the children of a round.
    pub fn add(&mut self, accepted: &[Accepted], round: usize) {
        for one in accepted {
            let Some(parent) = one.lineage().parents.first() else { continue };
            self.samples.push(one.sample().clone());
            self.parents.push(parent.id.clone());
            self.rounds.push(round);
        }
        let mut count: HashMap<&SampleId, usize> = HashMap::new();
        let mut keep = vec![true; self.samples.len()];
        for (i, parent) in self.parents.iter().enumerate().rev() {
            let n = count.entry(parent).or_default();
            *n += 1;
            keep[i] = self.cap_per_parent == 0 || *n <= self.cap_per_parent;
        }
        let over = keep.iter().filter(|k| **k).count().saturating_sub(if self.capacity == 0 { usize::MAX } else { self.capacity });
        keep.iter_mut().filter(|k| **k).take(over).for_each(|k| *k = false);
        self.retain(&keep);
    }
    /// Scores what is kept by the subject of now; what left the band retires. Returns how many did.
    pub fn retire(&mut self, models: &ModelSet, band: DifficultyBand) -> Result<usize> {
        let mut keep = Vec::with_capacity(self.samples.len());
        for part in self.samples.chunks(128) {
            let rows = Forwards::new(models, part).subject()?;
            keep.extend(part.iter().enumerate().map(|(i, sample)| match (&sample.label, rows.logits(i)) {
                (Some(label), Some(logits)) => band.holds(measure::cross_entropy(logits, label)),
                _ => false,
            }));
        }
        let gone = keep.iter().filter(|k| !**k).count();
        self.retain(&keep);
        Ok(gone)
    }
    fn retain(&mut self, keep: &[bool]) {
        let mut flags = keep.iter();
        self.samples.retain(|_| flags.next().copied().unwrap_or(true));
        flags = keep.iter();
        self.parents.retain(|_| flags.next().copied().unwrap_or(true));
        flags = keep.iter();
        self.rounds.retain(|_| flags.next().copied().unwrap_or(true));
    }
}
