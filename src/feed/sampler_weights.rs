//! Sampler weights: the operator, and the weights as plain functions.

use super::{FeedPlan, Feeder, Receipt, Sink};
use crate::{
    context::FeedContext,
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    sample::{Accepted, Diagnosis, SampleId, ScoreTable, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    io::Write,
    path::{Component, Path, PathBuf},
};

/// Gives every training sample a weight for the sampler, and writes the weights for trainers elsewhere.
///
/// Method: the selection's weight (1 for a sample that was not chosen) times the guard's weight, scaled to mean 1, capped at `cap` and scaled
/// again. The last round's weights stand in `PATH`, a line a sample in the order of the score table; the first line states the effective sample
/// size `(sum w)^2 / sum w^2`.
///
/// Reference: Katharopoulos and Fleuret 2018 (importance sampling); Kish 1965 (effective sample size).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerWeights {
    /// File, relative to the run's folder; it may not lead out of it.
    pub path: String,
    /// Largest weight, at least 1.
    pub cap: f64,
    /// How much more often a chosen sample is drawn than one that was not, at least 1; multiplies the selection's weight.
    pub boost: f64,
}

impl Default for SamplerWeights {
    fn default() -> Self {
        Self { path: "sampler_weights.jsonl".into(), cap: 5.0, boost: 2.0 }
    }
}

impl Configure<dyn Feeder> for SamplerWeights {
    const NAME: &'static str = "sampler_weights";
    const EXAMPLE: &'static str = "{ cap: 5 }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        let mut problems = Vec::new();
        let inside = Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if self.path.is_empty() || !inside {
            problems.push(Problem::new("path", format!("expected a file below the run's folder, found `{}`", self.path)));
        }
        for (name, value) in [("cap", self.cap), ("boost", self.boost)] {
            if !(value.is_finite() && value >= 1.0) {
                problems.push(Problem::new(name, format!("expected a number of at least 1, found {value}")));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Feeder for SamplerWeights {
    fn plan(&self) -> FeedPlan {
        FeedPlan { sampler_weights: true, sampler_boost: self.boost, sampler_cap: self.cap, ..FeedPlan::default() }
    }
    fn open(&self, context: &FeedContext<'_>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Weights { path: context.folder.join(&self.path), name: self.path.clone(), config: self.clone(), rows: Vec::new() }))
    }
}

/// Weights of all rows: chosen rows `boost * weight`, others 1, times the guard's weight; mean 1, no weight above `cap`.
pub fn weights(selection: &Selection, diagnoses: &[Diagnosis], boost: f64, cap: f64) -> Vec<f64> {
    let mut weights: Vec<f64> = diagnoses.iter().map(|diagnosis| f64::from(diagnosis.weight)).collect();
    for selected in &selection.samples {
        if let Some(weight) = weights.get_mut(selected.row) {
            *weight *= boost * f64::from(selected.weight);
        }
    }
    let scale = |weights: &mut Vec<f64>| {
        let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
        if mean > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= mean);
        }
    };
    scale(&mut weights);
    weights.iter_mut().for_each(|weight| *weight = weight.min(cap));
    scale(&mut weights);
    weights.iter_mut().for_each(|weight| *weight = weight.min(cap));
    weights
}

/// Kish's effective sample size `(sum w)^2 / sum w^2`; 0 where all weights are 0.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

struct Weights {
    path: PathBuf,
    name: String,
    config: SamplerWeights,
    rows: Vec<(SampleId, f64)>,
}

impl Sink for Weights {
    fn round(&mut self, table: &ScoreTable, diagnoses: &[Diagnosis], selection: &Selection) -> Result<()> {
        let weights = weights(selection, diagnoses, self.config.boost, self.config.cap);
        self.rows = table.rows().iter().map(|row| row.id.clone()).zip(weights).collect();
        Ok(())
    }
    fn take(&mut self, _: &Accepted) -> Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<Receipt> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        let io = |error| Error::io(&self.path, error);
        std::fs::create_dir_all(parent).map_err(io)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(io)?;
        let values: Vec<f64> = self.rows.iter().map(|(_, weight)| *weight).collect();
        let header = json!({ "samples": values.len(), "effective_sample_size": effective_sample_size(&values) });
        writeln!(file, "{header}").map_err(io)?;
        for (id, weight) in &self.rows {
            writeln!(file, "{}", json!({ "id": id, "weight": weight })).map_err(io)?;
        }
        file.persist(&self.path).map_err(|error| Error::io(&self.path, error.error))?;
        Ok(Receipt { taken: 0, files: vec![self.name.clone()] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Selected;

    #[test]
    fn weights_have_mean_one_and_respect_guard_and_cap() {
        let mut diagnoses = vec![Diagnosis::clear(); 4];
        diagnoses[3].weight = 0.0;
        let chosen = Selected { id: "s0".into(), row: 0, weight: 1.0, score: 0.0, by: vec![] };
        let selection = Selection { samples: vec![chosen], band: None };
        // 2, 1, 1, 0 has mean 1 already.
        assert_eq!(weights(&selection, &diagnoses, 2.0, 5.0), [2.0, 1.0, 1.0, 0.0]);
        assert!((effective_sample_size(&[2.0, 1.0, 1.0, 0.0]) - 16.0 / 6.0).abs() < 1e-12);
        let capped = weights(&selection, &diagnoses, 100.0, 3.0);
        assert!(capped.iter().all(|w| *w <= 3.0) && capped[3] == 0.0, "{capped:?}");
    }
}
