//! Sampler weights: the operator, and the weights as plain functions.

use super::{FeedPlan, Feeder, Receipt, Sink, write};
use crate::{
    codec::npy,
    context::FeedContext,
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    sample::{Accepted, Diagnosis, SampleId, ScoreTable, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Weights for the sampler of the training that follows: selected samples are drawn more often, suspects less.
///
/// Method: a row's weight is `boost` times the selection's (1 where it was not selected) times the guard's (0 for a suspect that is set aside). All
/// weights are scaled by one factor to a mean of 1, and none exceeds `cap`: what the cap takes is given to the others in
/// proportion. Written are the last round's weights in the order of the data: by the ending of `path` one JSON line a sample with `id` and
/// `weight`, CSV with the same columns, or an NPY array of `f64`; and beside them `....summary.json` with the effective sample size
/// `(sum w)^2 / sum w^2`.
///
/// Reference: Kish, "Survey Sampling", 1965 (effective sample size); Katharopoulos and Fleuret, "Not All Samples Are Created Equal: Deep
/// Learning with Importance Sampling", ICML 2018.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerWeights {
    /// File of the weights, relative to the output folder; ends in `.jsonl`, `.csv` or `.npy`.
    pub path: String,
    /// Largest weight, at least 1 (the mean is 1).
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
    const EXAMPLE: &'static str = "{ cap: 5, boost: 2 }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        let mut problems: Vec<Problem> = write::check_inside(&self.path).err().map(|told| Problem::new("path", told)).into_iter().collect();
        if !["jsonl", "csv", "npy"].contains(&ending(&self.path)) {
            problems.push(Problem::new("path", format!("expected a name that ends in .jsonl, .csv or .npy, found `{}`", self.path)));
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
        Ok(Box::new(Weights { config: self.clone(), folder: context.folder.to_owned(), taken: 0, rounds: 0, last: Vec::new() }))
    }
}

struct Weights {
    config: SamplerWeights,
    folder: PathBuf,
    taken: usize,
    rounds: usize,
    last: Vec<(SampleId, f64)>,
}

impl Sink for Weights {
    fn round(&mut self, table: &ScoreTable, diagnoses: &[Diagnosis], selection: &Selection) -> Result<()> {
        let weights = weights(selection, diagnoses, self.config.boost, self.config.cap);
        if let Some((row, weight)) = table.rows().iter().zip(&weights).find(|(_, weight)| !weight.is_finite()) {
            return Err(Error::data(format!("the weight is {weight}; expected a finite number of at least 0")).at("sample", &row.id));
        }
        self.last = table.rows().iter().map(|row| row.id.clone()).zip(weights).collect();
        self.rounds += 1;
        Ok(())
    }
    fn take(&mut self, _: &Accepted) -> Result<()> {
        self.taken += 1;
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<Receipt> {
        if self.rounds == 0 {
            return Ok(Receipt { taken: self.taken, files: Vec::new() });
        }
        let only: Vec<f64> = self.last.iter().map(|(_, weight)| *weight).collect();
        let bytes = encoded(ending(&self.config.path), &self.last)?;
        let summary = json!({
            "rows": only.len(),
            "round": self.rounds,
            "mean": only.iter().sum::<f64>() / only.len().max(1) as f64,
            "cap": self.config.cap,
            "at_cap": only.iter().filter(|weight| **weight >= self.config.cap).count(),
            "zero": only.iter().filter(|weight| **weight == 0.0).count(),
            "effective_sample_size": effective_sample_size(&only),
        });
        let side = format!("{}.summary.json", self.config.path.trim_end_matches(".jsonl"));
        write::whole(&self.folder.join(&self.config.path), &bytes)?;
        write::whole(&self.folder.join(&side), format!("{summary:#}\n").as_bytes())?;
        Ok(Receipt { taken: self.taken, files: vec![self.config.path, side] })
    }
}

fn ending(path: &str) -> &str {
    Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or("")
}

/// Weights as `jsonl`, `csv` (with a header) or `npy`.
pub fn encoded(format: &str, weights: &[(SampleId, f64)]) -> Result<Vec<u8>> {
    match format {
        "npy" => Ok(npy::encode(&weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())),
        "csv" => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let failed = |error: csv::Error| Error::internal(format!("weights cannot be written as CSV: {error}"));
            writer.write_record(["id", "weight"]).map_err(failed)?;
            for (id, weight) in weights {
                writer.write_record([id.as_str(), &weight.to_string()]).map_err(failed)?;
            }
            writer.into_inner().map_err(|error| Error::internal(format!("weights cannot be written as CSV: {error}")))
        }
        _ => Ok(weights.iter().map(|(id, weight)| format!("{}\n", json!({ "id": id, "weight": weight }))).collect::<String>().into_bytes()),
    }
}

/// Kish's effective sample size `(sum w)^2 / sum w^2`: how many equally weighted samples are worth as much. 0 without weight.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Weights of all rows: chosen rows `boost * weight`, others 1, times the guard's weight; mean 1, none above `cap` (at least 1). Where too few
/// rows have weight at all for a mean of 1, each of those is at the cap; where none has, all are 0. A weight of the selection or the guard that
/// is not a finite number of at least 0 makes its row NaN.
pub fn weights(selection: &Selection, diagnoses: &[Diagnosis], boost: f64, cap: f64) -> Vec<f64> {
    let mut raw: Vec<f64> = diagnoses.iter().map(|diagnosis| f64::from(diagnosis.weight)).collect();
    for selected in &selection.samples {
        if let Some(weight) = raw.get_mut(selected.row) {
            *weight *= boost * f64::from(selected.weight);
        }
    }
    raw.iter_mut().filter(|weight| !(weight.is_finite() && **weight >= 0.0)).for_each(|weight| *weight = f64::NAN);
    capped(&raw, cap)
}

/// Scales to a mean of 1 under a cap: the factor `s` with `sum min(s w, cap) = n`.
fn capped(raw: &[f64], cap: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = raw.iter().copied().filter(|weight| *weight > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let n = raw.len() as f64;
    if sorted.len() as f64 * cap <= n {
        return raw.iter().map(|weight| if *weight > 0.0 { cap } else { *weight }).collect();
    }
    // With the k largest at the cap, the others share what is left; the first k that caps no further one is right.
    let mut rest: f64 = sorted.iter().sum();
    let mut at_cap = 0.0;
    let mut scale = n / rest;
    while let Some(largest) = sorted.pop() {
        scale = (n - at_cap * cap) / rest;
        if largest * scale <= cap {
            break;
        }
        rest -= largest;
        at_cap += 1.0;
    }
    // `min` would take the cap for NaN.
    raw.iter().map(|weight| if weight.is_nan() { *weight } else { (weight * scale).min(cap) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::tests::{accepted, score_table},
        sample::{Classes, Selected},
    };
    use proptest::prelude::*;
    use std::fs;

    fn selection(weights: &[(usize, f32)]) -> Selection {
        let one =
            |&(row, weight): &(usize, f32)| Selected { id: format!("s{row}").as_str().into(), row, weight, score: 0.0, by: Vec::new() };
        Selection { samples: weights.iter().map(one).collect(), band: None }
    }
    fn diagnoses(weights: &[f32]) -> Vec<Diagnosis> {
        weights.iter().map(|weight| Diagnosis { weight: *weight, ..Diagnosis::clear() }).collect()
    }

    #[test]
    fn weights_have_mean_one_below_the_cap() {
        // Raw 1, 3, 0, 0: the mean is 1 already.
        assert_eq!(weights(&selection(&[(1, 1.5)]), &diagnoses(&[1.0, 1.0, 0.0, 0.0]), 2.0, 5.0), [1.0, 3.0, 0.0, 0.0]);
        // Raw 1, 1, 1, 5 with cap 2: the last is at 2, the others share 2.
        let found = weights(&selection(&[(3, 5.0)]), &diagnoses(&[1.0; 4]), 1.0, 2.0);
        assert_eq!(found, [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0]);
        assert!((effective_sample_size(&found) - 16.0 / (4.0 / 3.0 + 4.0)).abs() < 1e-12);
        // Too few with weight: all of them at the cap. None with weight: none is drawn.
        assert_eq!(weights(&selection(&[]), &diagnoses(&[1.0, 0.0, 0.0, 0.0]), 1.0, 2.0), [2.0, 0.0, 0.0, 0.0]);
        assert_eq!(weights(&selection(&[(0, 1.0)]), &diagnoses(&[0.0, 0.0]), 2.0, 2.0), [0.0, 0.0]);
    }

    #[test]
    fn unusable_weights_are_refused() {
        let classes = Classes::default();
        let folder = tempfile::tempdir().unwrap();
        let mut sink = SamplerWeights::default().open(&FeedContext { folder: folder.path(), classes: &classes }).unwrap();
        for bad in [f32::NAN, -1.0, f32::INFINITY] {
            let told = sink.round(&score_table(2), &diagnoses(&[1.0; 2]), &selection(&[(1, bad)])).unwrap_err();
            assert_eq!(told.to_string(), "sample s1: the weight is NaN; expected a finite number of at least 0");
        }
        let config = SamplerWeights { path: "../x.npy".into(), cap: 0.5, boost: f64::NAN };
        let problems: Vec<String> = config.build(&super::super::table()).err().unwrap().iter().map(ToString::to_string).collect();
        let cap = "cap: expected a number of at least 1, found 0.5";
        let boost = "boost: expected a number of at least 1, found NaN";
        assert_eq!(problems, ["path: expected a path inside the output folder, found `../x.npy`", cap, boost]);
    }

    #[test]
    fn the_last_round_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let feeder = SamplerWeights::default().build(&super::super::table()).unwrap();
        let classes = Classes::default();
        let mut sink = feeder.open(&FeedContext { folder: folder.path(), classes: &classes }).unwrap();
        sink.round(&score_table(2), &diagnoses(&[1.0; 2]), &selection(&[])).unwrap();
        sink.round(&score_table(2), &diagnoses(&[1.0; 2]), &selection(&[(0, 1.5)])).unwrap();
        sink.take(&accepted("c", "s0")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let receipt = sink.finish().unwrap();
        assert_eq!((receipt.taken, receipt.files.join(" ")), (1, "sampler_weights.jsonl sampler_weights.summary.json".into()));
        let lines = fs::read_to_string(folder.path().join("sampler_weights.jsonl")).unwrap();
        assert_eq!(lines, "{\"id\":\"s0\",\"weight\":1.5}\n{\"id\":\"s1\",\"weight\":0.5}\n");
        let summary: serde_json::Value = serde_json::from_str(&fs::read_to_string(folder.path().join(&receipt.files[1])).unwrap()).unwrap();
        assert_eq!((summary["effective_sample_size"].as_f64(), summary["round"].as_u64()), (Some(1.6), Some(2)));
        let empty = feeder.open(&FeedContext { folder: folder.path(), classes: &classes }).unwrap().finish().unwrap();
        assert_eq!(empty, Receipt::default());
    }

    proptest! {
        #[test]
        fn the_mean_is_one_where_the_cap_allows_it(raw in prop::collection::vec(0.0..100.0f64, 1..40), cap in 1.0..10.0f64) {
            prop_assume!(raw.iter().any(|weight| *weight > 0.0));
            let found = capped(&raw, cap);
            let some = raw.iter().filter(|weight| **weight > 0.0).count() as f64;
            let n = raw.len() as f64;
            prop_assert!(found.iter().all(|weight| (0.0..=cap).contains(weight)));
            prop_assert!((found.iter().sum::<f64>() - n.min(some * cap)).abs() < 1e-6 * n);
            for (i, j) in (1..raw.len()).map(|i| (i - 1, i)) {
                prop_assert!(raw[i] <= raw[j] || found[i] >= found[j]);
            }
        }
    }
}
