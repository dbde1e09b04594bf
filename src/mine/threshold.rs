use super::{
    Miner,
    rank::{Eligible, USUAL_BAND, Weighting, eligible, frozen_band, hardest, selection},
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::Probability,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// A threshold for each class, lower for a class that the model is less certain of: `tau * m_c / max m`, `m_c` the mean probability of the class
/// (rows without one are a class of their own). By row; `tau` for all where every mean is 0. Probabilities are finite numbers in `0..=1`;
/// lists of unequal length are cut to the shorter.
///
/// Source: the class-wise thresholds of Zhang et al., "FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", 2021, with the
/// mean confidence (as in Northcutt, Jiang, Chuang, "Confident Learning", 2021) for the state of learning.
pub fn adaptive_thresholds(probabilities: &[f32], classes: &[Option<usize>], tau: f64) -> Vec<f64> {
    let mut sums: BTreeMap<Option<usize>, (f64, usize)> = BTreeMap::new();
    for (p, class) in probabilities.iter().zip(classes) {
        let (sum, count) = sums.entry(*class).or_default();
        *sum += f64::from(*p);
        *count += 1;
    }
    let mean = |class: &Option<usize>| sums.get(class).map_or(0.0, |(sum, count)| sum / *count as f64);
    let largest = sums.keys().map(mean).fold(0.0, f64::max);
    let scale = |class: &Option<usize>| if largest > 0.0 { mean(class) / largest } else { 1.0 };
    probabilities.iter().zip(classes).map(|(_, class)| tau * scale(class)).collect()
}

/// Chooses the samples that the model is not certain of.
///
/// Method: a sample is hard if and only if its probability is below `tau`: that of its label (`confidence`, `out_of_fold`, `calibrated`), or the
/// largest of all classes where there is no label (`max_confidence`). With `per_class`
/// the threshold of a class is `tau` times its mean probability over that of the class with the largest, so that a class that is hard as a
/// whole is not taken as a whole. `limit` keeps the least certain, equal ones by id. For a soft
/// label the probability is `exp` of the negative cross entropy.
///
/// Reference: Hendrycks, Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks, 2017
/// (the maximum softmax probability as certainty); Zhang et al., FlexMatch, 2021 (thresholds of their own for the classes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Threshold {
    /// Which probability.
    pub by: Certainty,
    /// Samples below it are hard; a probability in 0..=1.
    pub tau: Probability,
    /// Lower the threshold for classes that the model is less certain of.
    pub per_class: bool,
    /// Most samples to take, the least certain first; at least 1. Absent for no limit.
    pub limit: Option<usize>,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Threshold {
    fn default() -> Self {
        let tau = Probability::new(0.9).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { by: Certainty::Confidence, tau, per_class: false, limit: None, weights: Weighting::Neutral }
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

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let column = self.by.column();
        let mut rows: Vec<Eligible> = eligible(table, diagnoses, column)?;
        // Means are summed in the order of the ids, so that they do not hang on that of the table.
        rows.sort_unstable_by(|a, b| table.rows()[a.row].id.cmp(&table.rows()[b.row].id));
        let probabilities: Vec<f32> = rows.iter().map(|one| self.by.probability(one.score)).collect();
        let thresholds = if self.per_class {
            let classes: Vec<Option<usize>> = rows.iter().map(|one| table.rows()[one.row].class).collect();
            adaptive_thresholds(&probabilities, &classes, self.tau.get())
        } else {
            vec![self.tau.get(); rows.len()]
        };
        let below = rows.into_iter().zip(probabilities).zip(thresholds).filter(|((_, p), threshold)| f64::from(*p) < *threshold);
        let mut chosen: Vec<Eligible> = below.map(|((one, _), _)| one).collect();
        if let Some(limit) = self.limit {
            chosen = hardest(table, chosen, limit);
        }
        let band = frozen_band(table, diagnoses, column, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, self.weights, context.stage, band))
    }
}
