//! One step of a session: what is shown of each sample, the step itself, and what is done where it fails.

use super::{
    blame::{Blame, Rows, blame},
    memory_bank::Observation,
    objective::Task,
    session::{Session, Spent},
    thin::{Dropout, thin},
};
use crate::{
    error::{Error, ErrorKind, Result},
    generate::modality_dropout::{Replacement, without},
    model::{Balance, Input, StepReport, Target},
    pipeline::{Split, TrainingObjective},
    random::SeedTree,
    record::{Alarm, Response},
    sample::{Modality, ModalitySet, Sample, SampleId},
};
use rand::RngExt;
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
    /// Its place in the split, of an original.
    pub at: Option<usize>,
    /// Whether an adversarial objective treats it.
    pub treated: bool,
    /// Where only so many are treated, the lowest are.
    pub rank: u32,
}

impl<'a> Shown<'a> {
    /// With its own label; `None` without one.
    pub fn of(sample: &'a Sample, weight: f32) -> Option<Self> {
        sample.label.clone().map(|target| Self { sample, target, weight, original: true, at: None, treated: true, rank: 0 })
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

/// What a row of a step is of.
struct Origin {
    /// Its place in what is shown.
    shown: usize,
    /// What of the sample is left, where that is not all.
    only: Option<ModalitySet>,
    /// Whether what is left is as it is in the sample, and the rest missing: nothing stands in its place.
    pure: bool,
}

/// What a step saw of its rows.
struct Taught {
    report: StepReport,
    /// How many rows an adversarial objective reached.
    reached: Option<u32>,
    /// Which rows were seen beside the sample.
    displaced: Vec<bool>,
}

/// What a step teaches besides its rows.
pub(super) struct Lessons<'a> {
    pub thinning: Thinning,
    /// How samples are thinned, and with which probability.
    pub dropout: Option<(&'a Dropout<'a>, f64)>,
    /// The objective, and how far its ramp is; the cross entropy without.
    pub teaching: Option<(&'a TrainingObjective, f64)>,
    /// Most rows that an adversarial objective treats; without, all that are to be.
    pub most_treated: Option<usize>,
    /// How encoders are held back.
    pub balance: Option<&'a Balance>,
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
        let mut of: Vec<Origin> = Vec::with_capacity(shown.len());
        let pure = lessons.dropout.is_none_or(|(dropout, _)| dropout.instead().leaves_nothing());
        let mut copies: Vec<(usize, ModalitySet, Input)> = Vec::new();
        let reads = self.memory.known(self.model.as_ref()).reads;
        for (i, one) in shown.iter().enumerate().filter(|(_, one)| !self.left_out.contains(&one.sample.id)) {
            let input = Input::of(one.sample);
            let thinned = lessons.dropout.and_then(|dropout| thinned(dropout, reads, i, &input, shown, seeds));
            match (thinned, lessons.thinning) {
                (Some((keep, thinned)), Thinning::InPlace) => {
                    rows.push(thinned, one.target.clone(), one.weight);
                    of.push(Origin { shown: i, only: Some(keep), pure });
                }
                (thinned, _) => {
                    copies.extend(thinned.map(|(keep, thinned)| (rows.len(), keep, thinned)));
                    rows.push(input, one.target.clone(), one.weight);
                    of.push(Origin { shown: i, only: None, pure: true });
                }
            }
        }
        for (at, keep, thinned) in copies {
            let (target, weight) = (rows.targets[at].clone(), rows.weights[at]);
            rows.push(thinned, target, weight);
            of.push(Origin { shown: of[at].shown, only: Some(keep), pure });
        }
        let mut displaced = Vec::new();
        while !rows.is_empty() {
            let began = Instant::now();
            let taken = self.taught_step(&rows, &of, shown, lessons, learning_rate, seeds);
            self.time.step_s += began.elapsed().as_secs_f64();
            self.time.steps += 1;
            let error = match taken {
                Ok(taught) if !self.plan.enabled || taught.report.losses.iter().all(|loss| loss.is_finite()) => {
                    self.passed_over = 0;
                    self.reached.extend(taught.reached);
                    (seen.report, displaced) = (taught.report, taught.displaced);
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
            let ids: Vec<&SampleId> = of.iter().map(|one| &shown[one.shown].sample.id).collect();
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
                    let keep: Vec<bool> = of.iter().map(|one| !samples.contains(&shown[one.shown].sample.id)).collect();
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
        for (row, one) in of.iter().enumerate() {
            seen.row[one.shown] = seen.row[one.shown].or(Some(row));
        }
        let began = Instant::now();
        if let Some(bank) = &self.bank {
            // It remembers losses of samples as they are, whole or by some of their modalities.
            let as_it_is = |(row, one): &(usize, &Origin)| shown[one.shown].original && one.pure && displaced.get(*row) != Some(&true);
            let known = of.iter().enumerate().filter(as_it_is).map(|(row, Origin { shown: i, only, .. })| {
                let (loss, logits) = (seen.report.losses[row], seen.report.logits.row(row));
                let one = Observation::logits(&shown[*i].sample.id, loss, logits, rows.targets[row].class());
                Observation { only: *only, ..one }
            });
            bank.observe(self.spent.steps, &known.collect::<Vec<_>>())?;
        }
        self.time.mining_s += began.elapsed().as_secs_f64();
        Ok(seen)
    }

    /// One step toward the objective.
    fn taught_step(
        &mut self,
        rows: &Rows,
        of: &[Origin],
        shown: &[Shown<'_>],
        lessons: &Lessons<'_>,
        learning_rate: f64,
        seeds: &SeedTree,
    ) -> Result<Taught> {
        let plain = TrainingObjective::default();
        let (objective, scale) = lessons.teaching.unwrap_or((&plain, 1.0));
        let attacked = objective.adversarial().map(|(balls, _)| balls.modalities());
        let able = |row: usize| shown[of[row].shown].treated && attacked.is_some_and(|m| !rows.inputs[row].present().and(m).is_empty());
        let mut treated: Vec<bool> = of.iter().map(|one| shown[one.shown].treated).collect();
        let mut reached: Vec<usize> = (0..rows.len()).filter(|row| able(*row)).collect();
        if let Some(most) = lessons.most_treated {
            reached.sort_by_key(|row| (shown[of[*row].shown].rank, *row));
            reached.truncate(most);
            treated = vec![false; rows.len()];
            reached.iter().for_each(|row| treated[*row] = true);
        }
        let node = |Origin { shown: i, only, .. }: &Origin| {
            let own = seeds.sample(format!("{i} {}", shown[*i].sample.id));
            if only.is_some() { own.child("thinned") } else { own.child("whole") }
        };
        let nodes: Vec<SeedTree> = if *objective == plain { Vec::new() } else { of.iter().map(node).collect() };
        let task = Task { objective, scale, balance: lessons.balance, learning_rate, treated: &treated, seeds: &nodes };
        let displaced = task.displaced(rows);
        let mut spent = Spent::default();
        let seen = task.step(self.model.as_mut(), rows, &mut self.memory, &mut spent);
        self.spent.add(spent);
        if *objective != plain {
            self.taught.presentations += spent.presentations;
            self.taught.gradient += spent.gradient;
            self.taught.forward += spent.forward;
            self.taught.treated += if attacked.is_some() { reached.len() } else { rows.len() } as u64;
        }
        Ok(Taught { report: seen?, reached: attacked.map(|_| reached.len() as u32), displaced })
    }
}

/// What stays of what the model reads of a sample, and its input as it is presented; `None` where it is presented whole.
fn thinned(
    (dropout, probability): (&Dropout<'_>, f64),
    reads: ModalitySet,
    i: usize,
    input: &Input,
    shown: &[Shown<'_>],
    seeds: &SeedTree,
) -> Option<(ModalitySet, Input)> {
    let one = shown.get(i)?;
    let mut rng = seeds.sample(format!("{i} {}", one.sample.id)).rng();
    let phi = dropout.reliance.zip(one.at).and_then(|(all, at)| all.get(at));
    let present = input.present().and(reads);
    let keep = thin(present, dropout.plan, probability, phi, &mut rng)?;
    let gone: ModalitySet = present.iter().filter(|m| !keep.has(*m)).collect();
    let mut other = Input::default();
    if dropout.plan.replacement == Replacement::Other {
        // Each medium of another sample of the step that has it.
        for modality in gone.iter() {
            let able: Vec<&Shown> =
                shown.iter().enumerate().filter(|(j, they)| *j != i && they.sample.present().has(modality)).map(|(_, they)| they).collect();
            if able.is_empty() {
                continue;
            }
            let theirs = Input::of(&able[rng.random_range(0..able.len())].sample.only(ModalitySet::one(modality)));
            match modality {
                Modality::Image => other.image = theirs.image,
                Modality::Audio => other.audio = theirs.audio,
                Modality::Text => other.text = theirs.text,
            }
        }
    }
    Some((keep, without(input, gone, dropout.instead(), &other, &mut rng)))
}
