use super::{FeedPlan, Feeder, Receipt, Sink, write};
use crate::{
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
/// Method: a row's weight is the selection's (1 where it was not selected) times the guard's (0 for a suspect that is set aside). All
/// weights are scaled by one factor to a mean of 1, and none exceeds `cap`: what the cap takes is given to the others in
/// proportion. Written are the last round's weights, one JSON line a sample with `id` and `weight`, and beside them
/// `....summary.json` with the effective sample size `(sum w)^2 / sum w^2`.
///
/// Reference: Kish, "Survey Sampling", 1965 (effective sample size); Katharopoulos and Fleuret, "Not All Samples Are Created Equal: Deep
/// Learning with Importance Sampling", ICML 2018.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerWeights {
    /// File of the weights, relative to the output folder.
    pub path: String,
    /// Largest weight, at least 1 (the mean is 1).
    pub cap: f64,
}

impl Default for SamplerWeights {
    fn default() -> Self {
        Self { path: "sampler_weights.jsonl".into(), cap: 5.0 }
    }
}

impl Configure<dyn Feeder> for SamplerWeights {
    const NAME: &'static str = "sampler_weights";
    const EXAMPLE: &'static str = "{ path: sampler_weights.jsonl, cap: 5.0 }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        let mut problems: Vec<Problem> = write::check_inside(&self.path).err().map(|told| Problem::new("path", told)).into_iter().collect();
        if !(self.cap.is_finite() && self.cap >= 1.0) {
            problems.push(Problem::new("cap", format!("expected a number of at least 1 (the mean weight is 1), found {}", self.cap)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Feeder for SamplerWeights {
    fn plan(&self) -> FeedPlan {
        FeedPlan { sampler_weights: true, ..FeedPlan::default() }
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
        let weights = weights(table, diagnoses, selection, self.config.cap)?;
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
        let lines: String = self.last.iter().map(|(id, weight)| format!("{}\n", json!({ "id": id, "weight": weight }))).collect();
        let only: Vec<f64> = self.last.iter().map(|(_, weight)| *weight).collect();
        let summary = json!({
            "rows": only.len(),
            "round": self.rounds,
            "mean": only.iter().sum::<f64>() / only.len().max(1) as f64,
            "cap": self.config.cap,
            "at_cap": only.iter().filter(|weight| **weight >= self.config.cap).count(),
            "zero": only.iter().filter(|weight| **weight == 0.0).count(),
            "effective_sample_size": effective_sample_size(&only),
        });
        let side = Path::new(&self.config.path).with_extension("summary.json").to_string_lossy().into_owned();
        write::whole(&self.folder.join(&self.config.path), lines.as_bytes())?;
        write::whole(&self.folder.join(&side), format!("{summary:#}\n").as_bytes())?;
        Ok(Receipt { taken: self.taken, files: vec![self.config.path, side] })
    }
}

/// Kish's effective sample size `(sum w)^2 / sum w^2`: how many equally weighted samples are worth as much. 0 without weight.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The sampler's weight of each row: selection times guard, with mean 1 and none above `cap` (at least 1). Where too few rows have
/// weight at all for a mean of 1, each of those is at the cap. Errors: a weight that is negative or not finite; no row with weight.
pub fn weights(table: &ScoreTable, diagnoses: &[Diagnosis], selection: &Selection, cap: f64) -> Result<Vec<f64>> {
    let rows = table.rows();
    if diagnoses.len() != rows.len() {
        return Err(Error::internal(format!("{} diagnoses for {} rows", diagnoses.len(), rows.len())));
    }
    let mut raw = vec![1.0f64; rows.len()];
    for selected in &selection.samples {
        *raw.get_mut(selected.row).ok_or_else(|| Error::internal(format!("row {} is selected of {}", selected.row, rows.len())))? =
            f64::from(selected.weight);
    }
    for ((weight, diagnosis), row) in raw.iter_mut().zip(diagnoses).zip(rows) {
        *weight *= f64::from(diagnosis.weight);
        if !(weight.is_finite() && *weight >= 0.0) {
            return Err(Error::data(format!("the weight is {weight}; expected a finite number of at least 0")).at("sample", &row.id));
        }
    }
    if raw.iter().all(|weight| *weight == 0.0) && !raw.is_empty() {
        return Err(Error::data("every sample has the weight 0: the guard set all of them aside"));
    }
    Ok(capped(&raw, cap))
}

/// Scales to a mean of 1 under a cap: the factor `s` with `sum min(s w, cap) = n`.
fn capped(raw: &[f64], cap: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = raw.iter().copied().filter(|weight| *weight > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let n = raw.len() as f64;
    if sorted.len() as f64 * cap <= n {
        return raw.iter().map(|weight| if *weight > 0.0 { cap } else { 0.0 }).collect();
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
    raw.iter().map(|weight| (weight * scale).min(cap)).collect()
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
        // Raw 1, 3, 0, 0: scaled by 4 / 4.
        let found = weights(&score_table(4), &diagnoses(&[1.0, 1.0, 0.0, 0.0]), &selection(&[(1, 3.0)]), 5.0).unwrap();
        assert_eq!(found, [1.0, 3.0, 0.0, 0.0]);
        // Raw 1, 1, 1, 5 with cap 2: the last is at 2, the others share 2.
        let found = weights(&score_table(4), &diagnoses(&[1.0; 4]), &selection(&[(3, 5.0)]), 2.0).unwrap();
        assert_eq!(found, [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0]);
        assert!((effective_sample_size(&found) - 16.0 / (4.0 / 3.0 + 4.0)).abs() < 1e-12);
        // Too few with weight: all of them at the cap.
        assert_eq!(weights(&score_table(4), &diagnoses(&[1.0, 0.0, 0.0, 0.0]), &selection(&[]), 2.0).unwrap(), [2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn unusable_weights_are_refused() {
        let told = |guard: &[f32], chosen: f32| {
            weights(&score_table(2), &diagnoses(guard), &selection(&[(1, chosen)]), 5.0).unwrap_err().to_string()
        };
        assert_eq!(told(&[0.0, 0.0], 1.0), "every sample has the weight 0: the guard set all of them aside");
        assert_eq!(told(&[1.0, 1.0], f32::NAN), "sample s1: the weight is NaN; expected a finite number of at least 0");
        let config = SamplerWeights { path: "../x".into(), cap: 0.5 };
        let problems: Vec<String> = config.build(&super::super::table()).err().unwrap().iter().map(ToString::to_string).collect();
        let cap = "cap: expected a number of at least 1 (the mean weight is 1), found 0.5";
        assert_eq!(problems, ["path: expected a path inside the output folder, found `../x`", cap]);
        assert!(SamplerWeights { cap: f64::NAN, ..SamplerWeights::default() }.build(&super::super::table()).is_err());
    }

    #[test]
    fn the_last_round_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let feeder = SamplerWeights::default().build(&super::super::table()).unwrap();
        let classes = Classes::default();
        let mut sink = feeder.open(&FeedContext { folder: folder.path(), classes: &classes }).unwrap();
        sink.round(&score_table(2), &diagnoses(&[1.0; 2]), &selection(&[])).unwrap();
        sink.round(&score_table(2), &diagnoses(&[1.0; 2]), &selection(&[(0, 3.0)])).unwrap();
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
