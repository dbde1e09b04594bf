use super::{
    Miner,
    rank::{Eligible, USUAL_BAND, Weighting, eligible, frozen_band, harder, largest, selection},
};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::Probability,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which probability is held against the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Of the label, by the subject: `exp(-loss)`.
    #[default]
    Confidence,
    /// Of the label, by the model that never trained on the sample: `exp(-out_of_fold)`.
    OutOfFold,
    /// Of the most probable class, label or not: `1 - least_confidence`.
    MaxConfidence,
    /// Of the label, after temperature scaling: `1 - calibrated_doubt`.
    Calibrated,
}

impl Certainty {
    /// The hardness column it is computed from.
    pub fn column(self) -> &'static str {
        match self {
            Self::Confidence => "loss",
            Self::OutOfFold => "out_of_fold",
            Self::MaxConfidence => "least_confidence",
            Self::Calibrated => "calibrated_doubt",
        }
    }
    /// The probability that this hardness means.
    pub fn probability(self, hardness: f32) -> f32 {
        match self {
            Self::Confidence | Self::OutOfFold => (-hardness).exp(),
            Self::MaxConfidence | Self::Calibrated => 1.0 - hardness,
        }
    }
}

/// Chooses the samples that the model is not certain of.
///
/// Method: a sample is hard if and only if its probability is below `tau`: that of its label (`confidence`, `out_of_fold`, `calibrated`), or the
/// largest of all classes where there is no label (`max_confidence`). `limit` keeps the least certain, equal ones by id. For a soft
/// label the probability is `exp` of the negative cross entropy.
///
/// Reference: Hendrycks, Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks, 2017
/// (the maximum softmax probability as certainty).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Threshold {
    /// Which probability.
    pub by: Certainty,
    /// Samples below it are hard; a probability in 0..=1.
    pub tau: Probability,
    /// Most samples to take, the least certain first; at least 1. Absent for no limit.
    pub limit: Option<usize>,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Threshold {
    fn default() -> Self {
        let tau = Probability::new(0.9).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { by: Certainty::Confidence, tau, limit: None, weights: Weighting::Neutral }
    }
}

impl Configure<dyn Miner> for Threshold {
    const NAME: &'static str = "threshold";
    const EXAMPLE: &'static str = "{ by: confidence, tau: 0.9 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.tau.get() == 0.0 {
            problems.push(Problem::new("tau", "nothing is below 0; expected a probability above 0 and at most 1"));
        }
        if self.limit == Some(0) {
            problems.push(Problem::new("limit", "expected at least 1, or no limit, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Miner for Threshold {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.column().to_owned()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], stage: &str) -> Result<Selection> {
        let column = self.by.column();
        let mut chosen: Vec<Eligible> = eligible(table, diagnoses, column)?
            .into_iter()
            .filter(|one| f64::from(self.by.probability(one.score)) < self.tau.get())
            .collect();
        if let Some(limit) = self.limit {
            chosen = largest(chosen, limit, harder(table));
        }
        let band = frozen_band(table, diagnoses, column, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, self.weights, stage, band))
    }
}
