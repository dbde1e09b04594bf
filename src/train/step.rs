//! One step of a session: what is shown of each sample, the step itself, and what is done where it fails.

use super::{
    blame::{Blame, Rows, blame},
    memory_bank::Observation,
    objective::Task,
    session::{Session, Spent},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Input, StepReport, Target},
    pipeline::{Split, TrainingObjective},
    random::SeedTree,
    record::{Alarm, Response},
    sample::{ModalitySet, Sample, SampleId},
};
use rand::{Rng, RngExt};
use std::time::Instant;

/// Batches in a row that may be passed over for a reason that no sample and no weight explains.
const MOST_PASSED_OVER: usize = 10;

/// A sample as a step is shown it.
pub(super) struct Shown<'a> {
    pub sample: &'a Sample,
    pub target: Target,
    pub weight: f32,
    /// Of the split, and not generated: the memory bank knows it.
    pub original: bool,
    /// Whether an adversarial objective treats it.
    pub treated: bool,
}

impl<'a> Shown<'a> {
    /// With its own label; `None` without one.
    pub fn of(sample: &'a Sample, weight: f32) -> Option<Self> {
        sample.label.clone().map(|target| Self { sample, target, weight, original: true, treated: true })
    }
}

/// What a step gave, by what was shown.
pub(super) struct Seen {
    pub report: StepReport,
    /// Row of the whole presentation of each shown sample; `None` where it was left out.
    pub row: Vec<Option<usize>>,
    /// Whether the last good state was brought back: nothing was learnt from this batch.
    pub rolled_back: bool,
}

/// How a sample's modalities are thinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinning {
    /// In place of the whole sample.
    InPlace,
    /// As a further copy, so that each sample is also presented whole.
    Copy,
}

/// What a step teaches besides its rows.
pub(super) struct Lessons<'a> {
    pub thinning: Thinning,
    /// Probability that a sample is thinned.
    pub dropout: f64,
    /// The objective, and how far its ramp is; the cross entropy without.
    pub teaching: Option<(&'a TrainingObjective, f64)>,
}

impl Session {
    pub(super) fn step(
        &mut self,
        split: &Split,
        shown: &[Shown<'_>],
        lessons: &Lessons<'_>,
        learning_rate: f64,
        seeds: &SeedTree,
    ) -> Result<Seen> {
        let mut seen = Seen { report: StepReport::default(), row: vec![None; shown.len()], rolled_back: false };
        let mut rows = Rows::default();
        // Which of `shown` a row is of, and what it shows where that is not all.
        let mut of: Vec<(usize, Option<ModalitySet>)> = Vec::with_capacity(shown.len());
        let mut copies: Vec<(usize, ModalitySet)> = Vec::new();
        for (i, one) in shown.iter().enumerate().filter(|(_, one)| !self.left_out.contains(&one.sample.id)) {
            let keep = thin(one.sample.present(), lessons.dropout, &mut seeds.sample(format!("{i} {}", one.sample.id)).rng());
            let input = Input::of(one.sample);
            match (keep, lessons.thinning) {
                (Some(keep), Thinning::InPlace) => {
                    rows.push(input.only(keep), one.target.clone(), one.weight);
                    of.push((i, Some(keep)));
                }
                (keep, _) => {
                    copies.extend(keep.map(|keep| (rows.len(), keep)));
                    rows.push(input, one.target.clone(), one.weight);
                    of.push((i, None));
                }
            }
        }
        for (at, keep) in copies {
            rows.push_copy(at, keep);
            of.push((of[at].0, Some(keep)));
        }
        while !rows.is_empty() {
            let began = Instant::now();
            let taken = self.taught_step(&rows, &of, shown, lessons, learning_rate, seeds);
            self.time.step_s += began.elapsed().as_secs_f64();
            self.time.steps += 1;
            let error = match taken {
                Ok(report) if !self.plan.enabled || report.losses.iter().all(|loss| loss.is_finite()) => {
                    self.passed_over = 0;
                    seen.report = report;
                    break;
                }
                // What it learnt from is no number: the weights are not to be trusted.
                Ok(_) => {
                    if let Some(good) = &self.good {
                        self.model = good.fork()?;
                    }
                    Error::model("a loss of the batch is not finite")
                }
                Err(error) => error,
            };
            let error = error.at("training step", self.spent.steps);
            if !self.plan.enabled || error.kind() != ErrorKind::Model {
                return Err(error);
            }
            // Neighbours of a row are judged apart, all rows of a sample together.
            let ids: Vec<&SampleId> = of.iter().map(|(i, _)| &shown[*i].sample.id).collect();
            let blamed = blame(self.model.as_ref(), self.good.as_deref(), &rows, &ids, learning_rate)?;
            self.spent.forward += blamed.forward;
            match blamed.verdict {
                Blame::Samples(samples) => {
                    for id in &samples {
                        self.left_out.insert(id.clone());
                        if split.index(id).is_some() {
                            split.leave_out(None, id, "train", &Error::model("its loss is not finite").at("sample", id))?;
                        }
                    }
                    let keep: Vec<bool> = of.iter().map(|(i, _)| !samples.contains(&shown[*i].sample.id)).collect();
                    rows.retain(&keep);
                    of = of.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(one, _)| one).collect();
                    self.told(Alarm::NotFinite, Response::LeftOut, None, samples);
                }
                Blame::Weights => {
                    if !self.roll_back()? {
                        let times = self.rollbacks;
                        return Err(Error::model(format!("{}; the last good state was brought back {times} times", error.message()))
                            .at("training step", self.spent.steps));
                    }
                    self.told(Alarm::NotFinite, Response::RolledBack, None, Vec::new());
                    seen.rolled_back = true;
                    return Ok(seen);
                }
                Blame::Nobody => {
                    self.passed_over += 1;
                    if self.passed_over > MOST_PASSED_OVER {
                        return Err(error);
                    }
                    self.told(Alarm::NotFinite, Response::PassedOver, None, Vec::new());
                    return Ok(seen);
                }
                Blame::Model => return Err(error),
            }
        }
        for (row, (i, _)) in of.iter().enumerate() {
            seen.row[*i] = seen.row[*i].or(Some(row));
        }
        let began = Instant::now();
        if let Some(bank) = &self.bank {
            let known = of.iter().enumerate().filter(|(_, (i, _))| shown[*i].original).map(|(row, (i, only))| {
                let (loss, logits) = (seen.report.losses[row], seen.report.logits.row(row));
                let one = Observation::logits(&shown[*i].sample.id, loss, logits, rows.targets[row].class());
                Observation { only: *only, ..one }
            });
            bank.observe(self.spent.steps, &known.collect::<Vec<_>>())?;
        }
        self.time.mining_s += began.elapsed().as_secs_f64();
        Ok(seen)
    }

    /// One step toward the objective; what it saw of each row.
    fn taught_step(
        &mut self,
        rows: &Rows,
        of: &[(usize, Option<ModalitySet>)],
        shown: &[Shown<'_>],
        lessons: &Lessons<'_>,
        learning_rate: f64,
        seeds: &SeedTree,
    ) -> Result<StepReport> {
        let plain = TrainingObjective::default();
        let (objective, scale) = lessons.teaching.unwrap_or((&plain, 1.0));
        let treated: Vec<bool> = of.iter().map(|(i, _)| shown[*i].treated).collect();
        let node = |(i, only): &(usize, Option<ModalitySet>)| {
            let own = seeds.sample(format!("{i} {}", shown[*i].sample.id));
            if only.is_some() { own.child("thinned") } else { own.child("whole") }
        };
        let nodes: Vec<SeedTree> = if *objective == plain { Vec::new() } else { of.iter().map(node).collect() };
        let task = Task { objective, scale, balance: None, learning_rate, treated: &treated, seeds: &nodes };
        let mut spent = Spent::default();
        let seen = task.step(self.model.as_mut(), rows, &mut self.memory, &mut spent);
        self.spent.add(spent);
        if *objective != plain {
            self.taught.presentations += spent.presentations;
            self.taught.gradient += spent.gradient;
            self.taught.forward += spent.forward;
            self.taught.treated += treated.iter().filter(|treated| **treated).count() as u64;
        }
        seen
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Modality;

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
