//! Steps of training over a split: batches of originals and replayed children, modality dropout, the record of what training saw.

use crate::{
    error::{Error, Result},
    model::{Input, Target, Trainable, TrainingBatch},
    pipeline::Split,
    progress::Step,
    random::SeedTree,
    sample::{ModalitySet, Sample, TrainingHistory},
};
use rand::{Rng, RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Evaluations that were spent, one a sample: a training presentation is a forward and a backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Steps of the optimizer.
    pub steps: u64,
    /// Samples presented in training.
    pub presentations: u64,
    /// Forward evaluations outside training.
    pub forward: u64,
    /// Gradient evaluations outside training.
    pub gradient: u64,
}

impl Spent {
    /// Everything in units of one training presentation: a gradient costs as much, a forward pass a third
    /// (a backward pass costs about two forward passes).
    pub fn presentations_in_all(&self) -> f64 {
        self.presentations as f64 + self.gradient as f64 + self.forward as f64 / 3.0
    }
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.presentations += other.presentations;
        self.forward += other.forward;
        self.gradient += other.gradient;
    }
}

/// What the batches of an epoch are drawn from.
#[derive(Clone, Copy)]
pub struct Mix<'a> {
    /// Originals in use: index into the split and weight of the loss.
    pub originals: &'a [(usize, f32)],
    /// Targets that stand in for the labels of originals, by index into the split.
    pub relabelled: &'a BTreeMap<usize, Target>,
    /// Weights of the sampler beside each original, for the share that is not drawn uniformly; `None` draws all uniformly.
    pub sampler: Option<&'a [f32]>,
    /// Least share of each batch that is drawn uniformly from the originals, `0..=1`; at most what replay leaves.
    pub uniform_floor: f64,
    /// Samples to replay.
    pub replay: &'a [Sample],
    /// Share of each batch that is replayed, `0..1`.
    pub replay_share: f64,
    /// Probability that a sample is presented with a random proper subset of its modalities.
    pub modality_dropout: f64,
    /// Samples a step.
    pub batch_size: usize,
    /// Steps of the epoch.
    pub steps: usize,
}

/// What a uniform epoch is made of.
#[derive(Clone, Copy)]
pub struct Uniform<'a> {
    /// Indices into the split.
    pub originals: &'a [usize],
    /// Targets that stand in for the labels of originals, by index into the split.
    pub relabelled: &'a BTreeMap<usize, Target>,
    /// Samples a step.
    pub batch_size: usize,
    /// Probability that a thinned copy of a sample goes along.
    pub modality_dropout: f64,
    /// Step size of the optimizer.
    pub learning_rate: f64,
}

/// A sample as a step is shown it.
struct Shown<'a> {
    sample: &'a Sample,
    target: Target,
    weight: f32,
}

impl<'a> Shown<'a> {
    /// With its own label; `None` without one.
    fn of(sample: &'a Sample, weight: f32) -> Option<Self> {
        sample.label.clone().map(|target| Self { sample, target, weight })
    }
}

/// How a sample's modalities are thinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thinning {
    /// In place of the whole sample.
    InPlace,
    /// As a further copy, so that each sample is also presented whole.
    Copy,
}

/// One training run in progress.
pub struct Session {
    /// The model with its optimizer.
    pub model: Box<dyn Trainable>,
    /// What was spent.
    pub spent: Spent,
}

impl Session {
    /// Begins with nothing spent.
    pub fn new(model: Box<dyn Trainable>) -> Self {
        Self { model, spent: Spent::default() }
    }

    /// A copy with model, optimizer and counts.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self { model: self.model.fork()?, spent: self.spent })
    }

    /// One uniform epoch: every labelled sample of `uniform.originals` once and whole, in an order of its own; with probability
    /// `modality_dropout` a thinned copy goes along. `history` records the whole presentations. Returns the mean loss.
    pub fn uniform_epoch(
        &mut self,
        split: &Split,
        uniform: &Uniform<'_>,
        seeds: &SeedTree,
        mut history: Option<&mut TrainingHistory>,
        step: &dyn Step,
    ) -> Result<f64> {
        let order = permutation(uniform.originals, seeds);
        let mut total = Mean::default();
        split.stream(&order, uniform.batch_size, |batch| {
            let shown: Vec<Shown> = batch
                .iter()
                .filter_map(|(i, sample)| {
                    let one = Shown::of(sample, 1.0)?;
                    Some(Shown { target: uniform.relabelled.get(i).cloned().unwrap_or(one.target), ..one })
                })
                .collect();
            let seen = self.step(&shown, uniform.modality_dropout, Thinning::Copy, uniform.learning_rate, seeds)?;
            for (i, one) in shown.iter().enumerate() {
                total.add(f64::from(seen.losses[i]));
                if let Some(history) = history.as_deref_mut() {
                    history.rows.entry(one.sample.id.clone()).or_default().observe(seen.logits.row(i), one.target.class());
                }
            }
            step.advance(batch.len() as u64);
            Ok(())
        })?;
        Ok(total.get())
    }

    /// One epoch of `mix.steps` steps. `learning_rate` is asked for each step. Returns the mean loss of the whole batch.
    pub fn mixed_epoch(
        &mut self,
        split: &Split,
        mix: &Mix<'_>,
        learning_rate: impl Fn(usize) -> f64,
        seeds: &SeedTree,
        step: &dyn Step,
    ) -> Result<f64> {
        if mix.originals.is_empty() {
            return Err(Error::policy("no training sample is left to train on"));
        }
        let replayed =
            if mix.replay.is_empty() { 0 } else { ((mix.replay_share * mix.batch_size as f64).round() as usize).min(mix.batch_size - 1) };
        let fresh = mix.batch_size - replayed;
        let picks = draw(mix, fresh, seeds);
        let order: Vec<usize> = picks.iter().map(|&at| mix.originals[at].0).collect();
        let mut replay = Endless::new(mix.replay.len(), seeds.child("replay"));
        let (mut total, mut done, mut number) = (Mean::default(), 0, 0);
        split.stream(&order, fresh, |batch| {
            let children: Vec<&Sample> = (0..replayed).map(|_| &mix.replay[replay.next_index()]).collect();
            let mut shown: Vec<Shown> = Vec::with_capacity(mix.batch_size);
            for (k, (i, sample)) in batch.iter().enumerate() {
                if let Some(mut one) = Shown::of(sample, mix.originals[picks[done + k]].1) {
                    one.target = mix.relabelled.get(i).cloned().unwrap_or(one.target);
                    shown.push(one);
                }
            }
            done += batch.len();
            shown.extend(children.into_iter().filter_map(|child| Shown::of(child, 1.0)));
            let seen =
                self.step(&shown, mix.modality_dropout, Thinning::InPlace, learning_rate(number), &seeds.child(format!("step {number}")))?;
            seen.losses.iter().for_each(|loss| total.add(f64::from(*loss)));
            number += 1;
            step.advance(batch.len() as u64 + replayed as u64);
            Ok(())
        })?;
        Ok(total.get())
    }

    fn step(
        &mut self,
        shown: &[Shown<'_>],
        dropout: f64,
        thinning: Thinning,
        learning_rate: f64,
        seeds: &SeedTree,
    ) -> Result<crate::model::StepReport> {
        if shown.is_empty() {
            return Ok(crate::model::StepReport::default());
        }
        let mut inputs: Vec<Input> = shown.iter().map(|one| Input::of(one.sample)).collect();
        let mut targets: Vec<Target> = shown.iter().map(|one| one.target.clone()).collect();
        let mut weights: Vec<f32> = shown.iter().map(|one| one.weight).collect();
        for (i, one) in shown.iter().enumerate() {
            let Some(keep) = thin(one.sample.present(), dropout, &mut seeds.sample(format!("{i} {}", one.sample.id)).rng()) else {
                continue;
            };
            match thinning {
                Thinning::InPlace => inputs[i] = inputs[i].only(keep),
                Thinning::Copy => {
                    inputs.push(inputs[i].only(keep));
                    targets.push(targets[i].clone());
                    weights.push(weights[i]);
                }
            }
        }
        self.spent.steps += 1;
        self.spent.presentations += inputs.len() as u64;
        let number = self.spent.steps;
        let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate };
        self.model.step(&batch).map_err(|error| error.at("training step", number))
    }
}

/// A random non-empty proper subset of `present`, with probability `p`; `None` keeps all.
fn thin(present: ModalitySet, p: f64, rng: &mut impl Rng) -> Option<ModalitySet> {
    if present.len() < 2 || !rng.random_bool(p.clamp(0.0, 1.0)) {
        return None;
    }
    let subsets: Vec<ModalitySet> = present.subsets().filter(|set| *set != present).collect();
    Some(subsets[rng.random_range(0..subsets.len())])
}

fn permutation(of: &[usize], seeds: &SeedTree) -> Vec<usize> {
    let mut order = of.to_vec();
    order.shuffle(&mut seeds.child("order").rng());
    order
}

/// Positions in `mix.originals` for an epoch: in each step the uniform share first, then the weighted one.
fn draw(mix: &Mix<'_>, fresh: usize, seeds: &SeedTree) -> Vec<usize> {
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
    let floor = if total > 0.0 { ((mix.uniform_floor * mix.batch_size as f64).ceil() as usize).min(fresh) } else { fresh };
    let mut rng = seeds.child("weighted").rng();
    let mut picks = Vec::with_capacity(mix.steps * fresh);
    for _ in 0..mix.steps {
        picks.extend((0..floor).map(|_| uniform.next_index()));
        if let Some(cumulative) = &cumulative {
            picks.extend((floor..fresh).map(|_| {
                let at = rng.random::<f64>() * total;
                cumulative.partition_point(|c| *c <= at).min(mix.originals.len() - 1)
            }));
        }
    }
    picks
}

/// Permutations of `0..n`, one after another: every index once before any comes again.
struct Endless {
    order: Vec<usize>,
    at: usize,
    turn: usize,
    seeds: SeedTree,
}

impl Endless {
    fn new(n: usize, seeds: SeedTree) -> Self {
        Self { order: (0..n).collect(), at: n, turn: 0, seeds }
    }
    fn next_index(&mut self) -> usize {
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

#[derive(Default)]
struct Mean {
    sum: f64,
    n: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }
    fn get(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum / self.n as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Modality;

    fn mix<'a>(originals: &'a [(usize, f32)], sampler: Option<&'a [f32]>) -> Mix<'a> {
        static AS_LABELLED: BTreeMap<usize, Target> = BTreeMap::new();
        Mix {
            originals,
            relabelled: &AS_LABELLED,
            sampler,
            uniform_floor: 0.5,
            replay: &[],
            replay_share: 0.0,
            modality_dropout: 0.0,
            batch_size: 4,
            steps: 5,
        }
    }

    #[test]
    fn uniform_draws_use_every_sample_before_any_again() {
        let originals: Vec<(usize, f32)> = (0..10).map(|i| (i, 1.0)).collect();
        let picks = draw(&mix(&originals, None), 4, &SeedTree::new(1));
        assert_eq!(picks.len(), 20);
        let mut first: Vec<_> = picks[..10].to_vec();
        first.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn weighted_draws_follow_the_weights_and_keep_the_floor() {
        let originals: Vec<(usize, f32)> = (0..10).map(|i| (i, 1.0)).collect();
        let weights = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let picks = draw(&mix(&originals, Some(&weights)), 4, &SeedTree::new(1));
        // Two of four are uniform: in five steps each of the ten exactly once; the other ten are all of index 9.
        assert_eq!(picks.iter().filter(|&&p| p == 9).count(), 11);
        // The floor is a share of the batch: with one of four replayed, two of the other three are uniform.
        let beside_replay = draw(&mix(&originals, Some(&weights)), 3, &SeedTree::new(1));
        assert_eq!(beside_replay.iter().filter(|&&p| p == 9).count(), 6);
        let flat = draw(&mix(&originals, Some(&[0.0; 10])), 4, &SeedTree::new(1));
        assert_eq!(flat.len(), 20);
    }

    #[test]
    fn thinning_leaves_a_proper_subset() {
        let mut rng = SeedTree::new(3).rng();
        for _ in 0..50 {
            let keep = thin(ModalitySet::ALL, 1.0, &mut rng).unwrap();
            assert!(!keep.is_empty() && keep != ModalitySet::ALL);
        }
        assert_eq!(thin(ModalitySet::one(Modality::Image), 1.0, &mut rng), None);
        assert_eq!(thin(ModalitySet::ALL, 0.0, &mut rng), None);
    }
}
