//! Steps of training over a split: batches of originals and replayed children, modality dropout, the record of what training saw.

use super::{
    draw::{Endless, Mix, draw},
    memory_bank::MemoryBank,
    objective::{Guarded, Memory, Treated},
    step::{Lessons, Seen, Shown, Thinning},
    thin::Dropout,
    watchdog::Watchdog,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Balance, Target, Trainable},
    pipeline::{Split, WatchdogPlan},
    progress::Step,
    random::SeedTree,
    record::{Alarm, ObjectiveRecord, Response, TrainingTime, WatchdogRecord},
    sample::{SampleId, TrainingHistory},
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

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

/// What a uniform epoch is made of.
#[derive(Clone, Copy)]
pub struct Uniform<'a> {
    /// Indices into the split.
    pub originals: &'a [usize],
    /// Targets that stand in for the labels of originals, by index into the split.
    pub relabelled: &'a BTreeMap<usize, Target>,
    /// Samples a step.
    pub batch_size: usize,
    /// How a thinned copy of a sample goes along; none does without.
    pub dropout: Option<Dropout<'a>>,
    /// Step size of the optimizer.
    pub learning_rate: f64,
}

/// What an epoch did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Epoch {
    /// Mean loss of all that was presented.
    pub loss: f64,
    /// Presentations.
    pub presented: u64,
    /// Steps that were taken; fewer than asked for where the watchdog ended it.
    pub steps: usize,
    /// Whether the watchdog ended it: the last good state is back.
    pub ended: bool,
    /// Presentations of each original, by index into the split.
    pub originals: Vec<u32>,
    /// Presentations of each replayed sample, by its place.
    pub replayed: Vec<u32>,
    /// Presentations that the memory bank gave.
    pub remembered: u64,
}

/// One training run in progress.
pub struct Session {
    /// The model with its optimizer.
    pub model: Box<dyn Trainable>,
    /// What was spent.
    pub spent: Spent,
    /// Where the losses are remembered, if anywhere.
    pub bank: Option<MemoryBank>,
    /// What the watchdog did.
    pub alarms: Vec<WatchdogRecord>,
    /// Samples that were left out since their loss is not finite.
    pub left_out: HashSet<SampleId>,
    /// Wall times of steps, of choosing and of watching.
    pub time: TrainingTime,
    /// What the objective of the rounds did.
    pub taught: ObjectiveRecord,
    pub(super) memory: Memory,
    pub(super) guarded: Option<Guarded>,
    /// Presentations that the attack of an adversarial objective reached in each step of the round.
    pub(super) reached: Vec<u32>,
    /// Of `spent`, what every arm pays of its own beside its steps: checks for overfitting, passes for the modality gap.
    pub(super) beside: Spent,
    watchdog: Watchdog,
    pub(super) plan: WatchdogPlan,
    pub(super) good: Option<Box<dyn Trainable>>,
    round: usize,
    pub(super) rollbacks: usize,
    pub(super) passed_over: usize,
}

impl Session {
    /// Begins with nothing spent, with the usual watchdog.
    pub fn new(model: Box<dyn Trainable>) -> Result<Self> {
        Self::watched(model, WatchdogPlan::default())
    }

    /// Begins with nothing spent. Fails for a watchdog with limits out of their ranges.
    pub fn watched(model: Box<dyn Trainable>, plan: WatchdogPlan) -> Result<Self> {
        let mut memory = Memory::default();
        Ok(Self {
            watchdog: Watchdog::new(plan.clone(), memory.known(model.as_ref()).classes.len())?,
            model,
            plan,
            spent: Spent::default(),
            bank: None,
            alarms: Vec::new(),
            left_out: HashSet::new(),
            time: TrainingTime::default(),
            taught: ObjectiveRecord::default(),
            memory,
            guarded: None,
            reached: Vec::new(),
            beside: Spent::default(),
            good: None,
            round: 0,
            rollbacks: 0,
            passed_over: 0,
        })
    }

    /// A copy with model, optimizer, counts, what was remembered and what was left out; wall times begin anew.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self {
            model: self.model.fork()?,
            spent: self.spent,
            bank: self.bank.as_ref().map(MemoryBank::fork).transpose()?,
            alarms: self.alarms.clone(),
            left_out: self.left_out.clone(),
            time: TrainingTime::default(),
            taught: ObjectiveRecord::default(),
            memory: self.memory.clone(),
            guarded: None,
            reached: Vec::new(),
            beside: Spent::default(),
            watchdog: self.watchdog.clone(),
            plan: self.plan.clone(),
            good: None,
            round: self.round,
            rollbacks: 0,
            passed_over: 0,
        })
    }

    /// Begins a round: what is watched begins anew, and the state of now is the one to go back to.
    pub fn begin_round(&mut self, round: usize) -> Result<()> {
        (self.round, self.rollbacks) = (round, 0);
        self.reached.clear();
        self.watchdog.begin();
        self.good = None;
        self.keep_if_good()
    }

    /// One uniform epoch: every labelled sample of `uniform.originals` once and whole, in an order of its own; with probability
    /// of `uniform.dropout` a thinned copy goes along. `history` records the whole presentations. A sample whose loss is not finite is left out under the
    /// split's policy. Returns the mean loss.
    pub fn uniform_epoch(
        &mut self,
        split: &Split,
        uniform: &Uniform<'_>,
        seeds: &SeedTree,
        mut history: Option<&mut TrainingHistory>,
        step: &dyn Step,
    ) -> Result<f64> {
        self.keep_if_good()?;
        let order = permutation(uniform.originals, seeds);
        let mut total = Mean::default();
        split.stream(&order, uniform.batch_size, |batch| {
            let shown: Vec<Shown> = batch
                .iter()
                .filter_map(|(i, sample)| {
                    let one = Shown::of(sample, 1.0)?;
                    Some(Shown { target: uniform.relabelled.get(i).cloned().unwrap_or(one.target), at: Some(*i), ..one })
                })
                .collect();
            let dropout = uniform.dropout.as_ref().map(|dropout| (dropout, dropout.probability(0, 1)));
            let lessons = Lessons { thinning: Thinning::Copy, dropout, teaching: None, most_treated: None, balance: None };
            let seen = self.step(split, &shown, &lessons, uniform.learning_rate, seeds)?;
            for (one, row) in shown.iter().zip(&seen.row) {
                let Some(row) = *row else { continue };
                total.add(f64::from(seen.report.losses[row]));
                if let Some(history) = history.as_deref_mut() {
                    history.rows.entry(one.sample.id.clone()).or_default().observe(seen.report.logits.row(row), one.target.class());
                }
            }
            step.advance(batch.len() as u64);
            Ok(())
        })?;
        Ok(total.get())
    }

    /// One epoch of `mix.steps` steps. `learning_rate` is asked for each step. The watchdog may end it before: then the last good state is back.
    pub fn mixed_epoch(
        &mut self,
        split: &Split,
        mix: &Mix<'_>,
        learning_rate: impl Fn(usize) -> f64,
        seeds: &SeedTree,
        step: &dyn Step,
    ) -> Result<Epoch> {
        if mix.originals.is_empty() {
            return Err(Error::policy("no training sample is left to train on"));
        }
        self.keep_if_good()?;
        let replayed =
            if mix.replay.is_empty() { 0 } else { ((mix.replay_share * mix.batch_size as f64).round() as usize).min(mix.batch_size - 1) };
        let fresh = mix.batch_size - replayed;
        let began = Instant::now();
        let picks = draw(mix, fresh, seeds);
        self.time.mining_s += began.elapsed().as_secs_f64();
        let order: Vec<usize> = picks.iter().map(|pick| mix.originals[pick.at].0).collect();
        let mut replay = Endless::new(mix.replay.len(), seeds.child("replay"));
        let mut epoch = Epoch { originals: vec![0; split.len()], replayed: vec![0; mix.replay.len()], ..Epoch::default() };
        let (mut total, mut done) = (Mean::default(), 0);
        let treated = mix.teaching.map_or(Treated::All, |teaching| teaching.treated);
        let streamed = split.stream(&order, fresh, |batch| {
            let children: Vec<usize> = (0..replayed).map(|_| replay.next_index()).collect();
            let mut shown: Vec<Shown> = Vec::with_capacity(mix.batch_size);
            for ((i, sample), pick) in batch.iter().zip(&picks[done..]) {
                if let Some(mut one) = Shown::of(sample, mix.originals[pick.at].1 * pick.weight) {
                    one.target = mix.relabelled.get(i).cloned().unwrap_or(one.target);
                    one.at = Some(*i);
                    match treated {
                        Treated::All => {}
                        Treated::Marked(marked) => one.treated = marked.get(*i) == Some(&true),
                        Treated::AsMany(own) => one.rank = own.rank.get(*i).copied().unwrap_or(u32::MAX),
                    }
                    shown.push(one);
                }
                epoch.originals[*i] += 1;
                epoch.remembered += u64::from(pick.remembered);
            }
            done += batch.len();
            for child in children {
                epoch.replayed[child] += 1;
                let treated = matches!(treated, Treated::All);
                shown.extend(Shown::of(&mix.replay[child], 1.0).map(|one| Shown { original: false, treated, ..one }));
            }
            let rate = learning_rate(epoch.steps);
            let own = seeds.child(format!("step {}", epoch.steps));
            let teaching = mix.teaching.map(|teaching| (teaching.objective, teaching.scale(epoch.steps, mix.steps)));
            let dropout = mix.dropout.as_ref().map(|dropout| (dropout, dropout.probability(epoch.steps, mix.steps)));
            let most_treated = if let Treated::AsMany(own) = treated { Some(own.due(&self.reached)) } else { None };
            let noise = own.child("balance");
            let balance = mix.balance.map(|(alpha, noisy)| Balance { alpha, noise: noisy.then_some(noise) });
            let lessons = Lessons { thinning: Thinning::InPlace, dropout, teaching, most_treated, balance: balance.as_ref() };
            let met = self.reached.len();
            let seen = self.step(split, &shown, &lessons, rate, &own)?;
            // A step that was passed over or taken back counts as one that reached none, so that places in the list are steps.
            self.reached.resize(met + 1, 0);
            seen.report.losses.iter().for_each(|loss| total.add(f64::from(*loss)));
            epoch.steps += 1;
            step.advance(batch.len() as u64 + replayed as u64);
            epoch.ended = seen.rolled_back || self.watch(&seen, &shown)?;
            // Nothing more is read; the mark behind the stream tells this from a failure.
            if epoch.ended { Err(Error::internal("the watchdog ended the epoch")) } else { Ok(()) }
        });
        if !epoch.ended {
            streamed?;
        }
        (epoch.loss, epoch.presented) = (total.get(), total.n);
        Ok(epoch)
    }

    /// Keeps the state of now as the one to go back to, unless something is suspicious. Weights that are no numbers bring the last good state back, or end the
    /// training where there is none or it was brought back as often as allowed.
    fn keep_if_good(&mut self) -> Result<()> {
        if !self.plan.enabled || (self.good.is_some() && !self.watchdog.healthy()) {
            return Ok(());
        }
        if let Err(error) = self.model.freeze() {
            let error = error.at("training step", self.spent.steps);
            if error.kind() != ErrorKind::Model || !self.roll_back()? {
                return Err(error);
            }
            self.watchdog.begin();
            self.told(Alarm::NotFinite, Response::RolledBack, None, Vec::new());
            return Ok(());
        }
        self.good = Some(self.model.fork()?);
        Ok(())
    }

    /// Shows a step to the watchdog; whether the last good state was brought back.
    fn watch(&mut self, seen: &Seen, shown: &[Shown<'_>]) -> Result<bool> {
        if !self.plan.enabled || seen.report.losses.is_empty() {
            return Ok(false);
        }
        let began = Instant::now();
        let targets: Vec<Target> =
            shown.iter().zip(&seen.row).filter(|(_, row)| row.is_some()).map(|(one, _)| one.target.clone()).collect();
        let trip = self.watchdog.observe(&seen.report.losses, &seen.report.logits, &targets);
        self.time.watching_s += began.elapsed().as_secs_f64();
        let Some(trip) = trip else { return Ok(false) };
        let back = self.roll_back()?;
        self.watchdog.begin();
        let response = if back { Response::RolledBack } else { Response::None };
        // One line tells that nothing more is done.
        if back || self.alarms.last().is_none_or(|last| (last.round, last.response) != (self.round, Response::None)) {
            self.told(trip.alarm, response, Some((trip.value, trip.limit)), Vec::new());
        }
        Ok(back)
    }

    pub(super) fn told(&mut self, alarm: Alarm, response: Response, numbers: Option<(f64, f64)>, samples: Vec<SampleId>) {
        let (value, limit) = numbers.unzip();
        self.alarms.push(WatchdogRecord { round: self.round, step: self.spent.steps, alarm, response, value, limit, samples });
    }

    /// Brings the last good state back; `false` where that was done as often as allowed.
    pub(super) fn roll_back(&mut self) -> Result<bool> {
        let Some(good) = self.good.as_ref().filter(|_| self.rollbacks < self.plan.rollbacks) else { return Ok(false) };
        self.model = good.fork()?;
        self.rollbacks += 1;
        Ok(true)
    }
}

fn permutation(of: &[usize], seeds: &SeedTree) -> Vec<usize> {
    let mut order = of.to_vec();
    order.shuffle(&mut seeds.child("order").rng());
    order
}

/// A running mean.
#[derive(Default)]
pub(super) struct Mean {
    sum: f64,
    pub n: u64,
}

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }
    /// Adds so many values by their mean.
    pub fn add_many(&mut self, mean: f64, n: u64) {
        self.sum += mean * n as f64;
        self.n += n;
    }
    pub fn get(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum / self.n as f64 }
    }
}
