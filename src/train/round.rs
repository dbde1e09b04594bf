//! The training of one round: its epochs, what the watchdog leaves of them, what the memory bank gives.

use super::{
    arms::{Experiment, Finished},
    draw::Mix,
    drift::Presented,
    folds::decay,
    memory_bank::Priorities,
    objective::Teaching,
    session::{Epoch, Mean, Session},
    thin::Dropout,
};
use crate::{
    error::Result,
    mine::annealed,
    pipeline::{Arm, TrainPlan, TrainingObjective},
    random::SeedTree,
};
use std::time::Instant;

/// Which round of which arm.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub train: &'a TrainPlan,
    pub arm: Arm,
    /// From 1.
    pub round: usize,
}

impl Experiment<'_> {
    /// Trains the epochs of a round, each of `mix.steps` steps. Where the watchdog ended one, the rest of the round draws uniformly and replays nothing.
    pub(super) fn train_round(&self, session: &mut Session, mix: &Mix<'_>, turn: Turn<'_>, done: &mut Finished) -> Result<Presented> {
        let Turn { train, arm, round } = turn;
        let name = format!("{} round {round}", arm.name());
        let step = self.progress.begin(&name, (train.epochs_per_round * mix.steps * train.batch_size) as u64);
        let total_epochs = train.rounds * train.epochs_per_round;
        let told = session.alarms.len();
        let mut presented = Presented::default();
        let mut calm = false;
        session.begin_round(round)?;
        for inner in 0..train.epochs_per_round {
            let epoch = (round - 1) * train.epochs_per_round + inner;
            let (mut taken, mut again, mut loss) = (0, 0, Mean::default());
            let at = |step: usize| (epoch as f64 + step as f64 / mix.steps as f64) / total_epochs as f64;
            while taken < mix.steps {
                let seeds = self.seeds.child(format!("epoch {epoch}"));
                let seeds = if again == 0 { seeds } else { seeds.child(format!("again {again}")) };
                let teaching = mix.teaching.map(|teaching| Teaching { progress: [at(taken), at(mix.steps)], ..teaching });
                let dropout = mix.dropout.map(|dropout| Dropout { progress: [at(taken), at(mix.steps)], ..dropout });
                let rest = Mix { steps: mix.steps - taken, teaching, dropout, ..*mix };
                let rate = |step: usize| {
                    let of_epoch = (taken + step) as f64 / mix.steps as f64;
                    train.learning_rate * decay((epoch as f64 + of_epoch) / total_epochs as f64)
                };
                let one: Epoch = if calm {
                    let uniform = Mix { sampler: None, remembered_a_step: 0, replay: &[], ..rest };
                    session.mixed_epoch(self.splits.train, &uniform, rate, &seeds, step.as_ref())?
                } else {
                    let (remembered, remembered_a_step) = self.remembered(session, &rest, turn, &seeds);
                    let mix = Mix { remembered: &remembered, remembered_a_step, ..rest };
                    session.mixed_epoch(self.splits.train, &mix, rate, &seeds, step.as_ref())?
                };
                presented.add(&one);
                loss.add_many(one.loss, one.presented);
                taken += one.steps.max(1);
                calm |= one.ended;
                again += 1;
            }
            if let TrainingObjective::FgsmRs(own) = &train.objective {
                let counted = train.warmup_epochs + epoch + 1;
                let seeds = self.seeds.child("overfitting").round(counted);
                let of_epoch = mix.teaching.map(|teaching| Teaching { progress: [at(0), at(mix.steps)], ..teaching });
                let scale = of_epoch.map_or(1.0, |teaching| teaching.scale(mix.steps.saturating_sub(1), mix.steps));
                if let Some(check) = self.check_overfitting(session, own, (counted, scale), &seeds)? {
                    if check.stepped_back {
                        self.progress.warn(&format!(
                            "{}, epoch {counted}: catastrophic overfitting, the robust accuracy is {:.3} (best before {:.3}, under the attack of training {:.3}); back to the last good state if there was one, with a step more from now on",
                            arm.name(),
                            check.accuracy,
                            check.best,
                            check.as_trained
                        ));
                    }
                    session.taught.checks.push(check);
                }
            }
            done.epochs.push(self.epoch(train.warmup_epochs + epoch + 1, round, loss.get(), session)?);
            if self.stop.out_of_time() {
                done.stopped_by = Some("minutes");
                break;
            }
        }
        for alarm in session.alarms.iter().skip(told) {
            self.progress.warn(&format!("watchdog, {}: {}", arm.name(), alarm.words()));
        }
        Ok(presented)
    }

    /// What the memory bank gives to each step of an epoch: positions in `mix.originals` with their weights, and how many a step.
    fn remembered(&self, session: &mut Session, mix: &Mix<'_>, turn: Turn<'_>, seeds: &SeedTree) -> (Vec<(usize, f32)>, usize) {
        let (Some(bank), Some(plan)) = (&session.bank, &turn.train.memory_bank) else { return (Vec::new(), 0) };
        let a_step = ((plan.share.get() * mix.batch_size as f64).round() as usize).min(mix.batch_size.saturating_sub(1));
        if a_step == 0 || bank.is_empty() {
            return (Vec::new(), 0);
        }
        let began = Instant::now();
        let split = self.splits.train;
        let mut place = vec![None; split.len()];
        mix.originals.iter().enumerate().for_each(|(at, (i, _))| place[*i] = Some(at));
        // The bank's clock counts the model's steps, of which `free` takes several a batch.
        let replays = if let TrainingObjective::Free(own) = &turn.train.objective { own.replays } else { 1 };
        let steps_an_epoch = split.len().div_ceil(turn.train.batch_size) * replays.max(1);
        let rules = Priorities {
            alpha: plan.alpha,
            optimism: plan.optimism,
            max_age: (plan.max_age_epochs * steps_an_epoch) as u64,
            stale: plan.stale,
        };
        let progress = if turn.train.rounds < 2 { 1.0 } else { (turn.round - 1) as f64 / (turn.train.rounds - 1) as f64 };
        let correction = annealed(plan.correction.get(), progress);
        let mut sampler = bank.sampler(session.spent.steps, rules);
        let mut rng = seeds.child("memory bank").rng();
        let mut given = Vec::with_capacity(a_step * mix.steps);
        for _ in 0..mix.steps {
            let drawn = sampler.draw(a_step, correction, &mut rng);
            given.extend(drawn.iter().filter_map(|one| Some((place[split.index(&one.id)?]?, one.weight))));
        }
        session.time.mining_s += began.elapsed().as_secs_f64();
        (given, a_step)
    }
}
