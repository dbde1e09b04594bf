use super::{CandidateBalance, Splits, TrainingRecord, TrainingTime, Yield};
use crate::sample::{Column, DifficultyBand, Digest, Modality, SampleId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `run.json`: what was run, with what, and where everything went. Balances, yields, bands and models are those of the
/// `hardmine` arm with the run's own seed, whose children stand in `generated/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`super::VERSION`] of the format.
    pub version: u32,
    /// Name of the pipeline.
    pub name: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version of this crate.
    pub hardmine: String,
    /// Digest of the resolved pipeline and the crate's version.
    pub plan: Digest,
    /// Digest of the output set (everything but wall times); absent while the run is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Digest>,
    /// The budget that was used up: `minutes` ended the training early, `gradients` and `children` the making of neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Names of the classes, by index.
    pub classes: Vec<String>,
    /// The score columns in the order of the stages, each with what it means.
    pub columns: Vec<Column>,
    /// Figures of the whole training split that scorers found (a temperature, correlations), round by round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<FigureRecord>,
    /// Where the samples went.
    pub samples: Splits,
    /// Where all candidates went: the sum of `yields`.
    pub candidates: CandidateBalance,
    /// What each generator stage gave in each round, a stage that gave nothing included.
    pub yields: Vec<Yield>,
    /// The difficulty band of each round.
    pub bands: Vec<BandRecord>,
    /// The models that made a child or judged one, and the trained one.
    pub models: Vec<ModelRecord>,
    /// What was trained on, and what the watchdog did; absent where nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
    /// Media that stand in more than one split.
    pub shared: Vec<SharedMedia>,
    /// What was off while the run went on, in the order of happening.
    pub warnings: Vec<String>,
    /// The whole pipeline with all defaults filled in.
    pub pipeline: Value,
    /// Wall times; no part of any digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

impl RunRecord {
    /// What a used-up budget ended, in words.
    pub fn ended(&self) -> Option<String> {
        let budget = self.stopped_by.as_deref()?;
        let what = if budget == "minutes" { "the training" } else { "the making of neighbours" };
        Some(format!("the budget of {budget} ended {what} early"))
    }
    /// Everything that does not add up, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.samples.iter().filter_map(|(name, split)| split.problem().map(|problem| format!("{name}: {problem}"))).collect();
        problems.extend(
            self.yields
                .iter()
                .filter_map(|stage| stage.balance.problem().map(|problem| format!("{}, round {}: {problem}", stage.stage, stage.round))),
        );
        problems.extend(self.candidates.problem().map(|problem| format!("candidates: {problem}")));
        let mut sum = CandidateBalance::default();
        self.yields.iter().for_each(|stage| sum.add(&stage.balance));
        if sum != self.candidates {
            problems.push("candidates: the whole is not the sum of the generators".to_owned());
        }
        problems
    }
    /// The stages whose generator was asked and fed nothing over all rounds.
    pub fn barren(&self) -> Vec<&str> {
        let mut stages: Vec<&str> = Vec::new();
        for stage in &self.yields {
            if !stages.contains(&stage.stage.as_str()) {
                stages.push(&stage.stage);
            }
        }
        stages.retain(|name| {
            let mut own = self.yields.iter().filter(|stage| stage.stage == *name);
            own.all(|stage| stage.balance.fed == 0)
        });
        stages
    }
}

/// Figures that one scoring stage found in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureRecord {
    /// Round, from 1.
    pub round: usize,
    /// Stage id.
    pub stage: String,
    /// By name; the operator's manual says what they are.
    pub values: BTreeMap<String, f64>,
}

/// The difficulty band of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BandRecord {
    /// Round, from 1.
    pub round: usize,
    /// Column whose quantiles it is made of.
    pub column: String,
    /// The two losses; null where nothing could be measured.
    pub band: Option<DifficultyBand>,
}

/// What a model was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// Made children (attacked, or decoded from) or judged how hard they are.
    Subject,
    /// Judged labels; never trained on the group of the parent.
    Teacher,
    /// The trained model.
    Trained,
}

/// A model that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Digest of its weights.
    pub digest: String,
    /// What it was for.
    pub role: ModelRole,
    /// Round it was used in, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<usize>,
    /// Fold of a teacher, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Its file, relative to the run's folder; absent for a model that was given from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it took from its own file where the pipeline says nothing, and how it is run other than was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Media of one modality that stand in two splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMedia {
    /// The two splits.
    pub splits: [String; 2],
    /// Which medium.
    pub modality: Modality,
    /// How many different media stand in both.
    pub count: u64,
    /// A few pairs of ids, one of each split.
    pub examples: Vec<[SampleId; 2]>,
}

/// Wall times.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// The steps in the order they began.
    pub steps: Vec<TimingStep>,
    /// What mining costs beside training; absent where nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingTime>,
    /// All together, in seconds.
    pub total_s: f64,
}

/// Wall time of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimingStep {
    /// What was done.
    pub step: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}
