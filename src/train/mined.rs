//! What an arm looks at and makes before it trains a round: scores, diagnoses, the selection, its neighbours.

use super::arms::{Experiment, Finished};
use crate::{
    context::{Answers, EmbeddingIndex, Forwards, KnownMedia},
    error::{Error, Result},
    feed::ReplayBuffer,
    model::{ModelSet, measure},
    pipeline::{self, Arm, Figures, Generation, Harvest, Quota, Routing, Scored},
    random::SeedTree,
    record::TrainingTime,
    sample::{Diagnoses, DifficultyBand, Judgement, Sample, SampleId, ScoreTable, Selected, Selection, TrainingHistory},
};
use rand::seq::SliceRandom;
use std::{collections::HashSet, time::Instant};

impl Experiment<'_> {
    pub(super) fn judged(
        &self,
        models: &ModelSet,
        history: Option<&TrainingHistory>,
        seeds: &SeedTree,
        skip: &mut HashSet<SampleId>,
        each: &mut dyn FnMut(&str, &[String], &Diagnoses),
    ) -> Result<Diagnosed> {
        let split = self.splits.train;
        let stages = &self.plan.stages;
        let Scored { mut table, mut index, mut answers, left_out } =
            pipeline::score(stages, split, models, history, seeds, skip, self.progress)?;
        for (id, stage, error) in left_out {
            let policy = stages.score.iter().find(|s| s.info.id == stage).map(|s| s.on_error);
            split.leave_out(policy, &id, &stage, &error)?;
            skip.insert(id);
        }
        if table.is_empty() {
            return Err(Error::policy("no training sample could be scored"));
        }
        if let (Some(index), Some(validation)) = (&mut index, self.splits.validation) {
            index.validation = pipeline::embed(validation, models, self.progress)?;
        }
        if let (true, Some(validation)) = (pipeline::kept(stages).logits, self.splits.validation) {
            (answers.validation, answers.validation_classes) = pipeline::logits(validation, models, self.progress)?;
        }
        let figures = pipeline::score_table(stages, &mut table, &answers, seeds)?;
        let diagnoses = pipeline::diagnose(stages, &mut table, &answers, each)?;
        Ok(Diagnosed { table, index, answers, figures, diagnoses })
    }

    /// Scores, judges and mines in the round that is the first of the two numbers, of the second; `losses` are the mean training losses of the epochs so far.
    pub(super) fn mine(
        &self,
        models: &ModelSet,
        history: Option<&TrainingHistory>,
        (of_rounds, losses): ((usize, usize), &[f64]),
        seeds: &SeedTree,
        skip: &mut HashSet<SampleId>,
        time: &mut TrainingTime,
    ) -> Result<Mined> {
        let began = Instant::now();
        let Diagnosed { table, index, answers, figures, diagnoses } = self.judged(models, history, seeds, skip, &mut |_, _, _| {})?;
        time.scoring_s += began.elapsed().as_secs_f64();
        let began = Instant::now();
        let selection = pipeline::mine(&self.plan.stages, &table, &answers, &diagnoses, of_rounds, losses, seeds)?;
        time.mining_s += began.elapsed().as_secs_f64();
        if selection.samples.is_empty() && !self.plan.stages.mine.is_empty() {
            self.progress.warn("no hard sample was found: nothing is generated in this round");
        }
        Ok(Mined { table, index, figures, diagnoses, selection })
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of a loop that owns all of them")]
    pub(super) fn generate(
        &self,
        arm: Arm,
        round: usize,
        models: &ModelSet,
        mined: &Mined,
        hardmine: Option<&Finished>,
        known: &mut KnownMedia,
        children: u64,
        seeds: &SeedTree,
    ) -> Result<Harvest> {
        let budget = self.plan.budget.children.map(|limit| limit.saturating_sub(children));
        let (chosen, routing, quota) = match arm {
            Arm::Hardmine => {
                let chosen = mined.selection.samples.iter().map(|s: &Selected| (s.row, s.weight)).collect();
                (chosen, Routing::ByReason, Quota { per_stage: None, total: budget })
            }
            _ => {
                let guarded = arm == Arm::RandomParents;
                let held = hardmine.map(|finished| finished.accepted.get(round - 1).cloned().unwrap_or_default());
                let all = mined.table.sorted().iter().copied();
                let mut rows: Vec<(usize, f32)> =
                    all.filter(|&row| !guarded || mined.diagnoses[row].judgement == Judgement::Valuable).map(|row| (row, 1.0)).collect();
                rows.shuffle(&mut seeds.child("random parents").rng());
                // As many parents as the main arm had, several times over where its children a class ask for more.
                let wanted = hardmine.and_then(|finished| finished.chosen.get(round - 1)).copied().unwrap_or(rows.len());
                rows.truncate(wanted.saturating_mul(3));
                (rows, Routing::Everything, Quota { per_stage: held, total: budget })
            }
        };
        let generation = Generation {
            stages: &self.plan.stages,
            cures: self.plan.cures.as_ref(),
            train: self.splits.train,
            models,
            table: &mined.table,
            diagnoses: &mined.diagnoses,
            index: mined.index.as_ref(),
            band: mined.selection.band,
            seeds: seeds.clone(),
            round,
            stop: self.stop,
        };
        let harvest = generation.run(&chosen, routing, &quota, known, self.progress)?;
        for (id, stage, error) in &harvest.errors {
            self.progress.warn(&format!("stage {stage}, sample {id}: {error}"));
        }
        Ok(harvest)
    }
}

/// What is known of the split before anything is chosen.
pub(super) struct Diagnosed {
    pub table: ScoreTable,
    pub index: Option<EmbeddingIndex>,
    pub answers: Answers,
    pub figures: Vec<Figures>,
    pub diagnoses: Diagnoses,
}

/// With what was chosen.
pub(super) struct Mined {
    pub table: ScoreTable,
    pub index: Option<EmbeddingIndex>,
    pub figures: Vec<Figures>,
    pub diagnoses: Diagnoses,
    pub selection: Selection,
}

impl Mined {
    /// Whether a sample of the table was found to be wrong.
    pub fn is_suspect(&self, id: &SampleId) -> bool {
        self.table.index(id).is_some_and(|row| self.diagnoses[row].judgement != Judgement::Valuable)
    }
}

/// Scores what is replayed by the subject of now; what left the band retires.
pub(super) fn retire(replay: &mut ReplayBuffer, models: &ModelSet, band: DifficultyBand) -> Result<()> {
    let samples: Vec<Sample> = replay.samples().cloned().collect();
    let mut stays: HashSet<SampleId> = HashSet::new();
    for part in samples.chunks(128) {
        let rows = Forwards::new(models, part).subject()?;
        let holds = |(i, sample): (usize, &Sample)| Some(band.holds(measure::cross_entropy(rows.logits(i)?, sample.label.as_ref()?)));
        stays.extend(part.iter().enumerate().filter(|one| holds(*one) == Some(true)).map(|(_, sample)| sample.id.clone()));
    }
    replay.retain(|sample, _| stays.contains(&sample.id));
    Ok(())
}
