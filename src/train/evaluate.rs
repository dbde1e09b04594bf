//! The final evaluation: accuracy, worst class, every subset of modalities, slices, calibration.

use crate::{
    context::{Forwards, Rows},
    error::{Error, Result},
    model::{Model, ModelSet, measure},
    pipeline::{EvaluatePlan, SliceFile, Split},
    progress::Progress,
    read::builtin,
    record::{Accuracy, ArmResult, ClassAccuracy},
    sample::{ModalitySet, Sample, SampleId},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// Samples evaluated together; a constant, so that nothing depends on it.
const BATCH: usize = 256;
/// Bins of the expected calibration error.
const BINS: usize = 15;

/// Slices of a side file: the values of a key by sample id.
pub type SideSlices = HashMap<SampleId, Vec<String>>;

/// Reads a side file of slices: JSON lines with `id` and the key. A sample may have several lines.
pub fn read_slices(file: &SliceFile, base: &Path) -> Result<SideSlices> {
    let text = match file.file.strip_prefix("builtin:") {
        Some(name) => String::from_utf8_lossy(builtin::bytes(name)?).into_owned(),
        None => {
            let path = base.join(&file.file);
            std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?
        }
    };
    let mut slices = SideSlices::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |error: Error| error.at("line", number + 1).at("file", &file.file);
        let value: Value = serde_json::from_str(line).map_err(|error| at(Error::data(format!("not a JSON object: {error}"))))?;
        let id = value.get("id").and_then(Value::as_str).ok_or_else(|| at(Error::data("expected a text `id`")))?;
        if let Some(found) = value.get(&file.key) {
            slices.entry(SampleId::new(id)).or_default().push(plain(found));
        }
    }
    Ok(slices)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Evaluates a model on a labelled split. `side` are the slices of the side file, under its key.
pub fn evaluate(
    name: &str,
    seed: u64,
    model: &Arc<dyn Model>,
    split: &Split,
    plan: &EvaluatePlan,
    side: Option<(&str, &SideSlices)>,
    progress: &dyn Progress,
) -> Result<ArmResult> {
    let withheld: ModalitySet = plan.withhold.iter().copied().collect();
    let models = ModelSet { subject: model.clone(), teachers: None };
    let order: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
    let readable = model.spec().modalities;
    let mut whole = Tally::default();
    let mut classes = vec![Tally::default(); split.classes().len()];
    let mut subsets: BTreeMap<String, Tally> = BTreeMap::new();
    let mut slices: BTreeMap<String, BTreeMap<String, Tally>> = BTreeMap::new();
    let mut calibration = Calibration::default();
    let step = progress.begin(&format!("evaluate {name}"), order.len() as u64);
    split.stream(&order, BATCH, |batch| {
        let samples: Vec<Sample> = batch.iter().map(|(_, sample)| sample.clone()).collect();
        let given: Vec<Sample> = samples.iter().map(|sample| sample.only(sample.present().and(readable).and(keep(withheld)))).collect();
        let all = Forwards::new(&models, &given).subject()?;
        let subset_forwards = Forwards::new(&models, &samples);
        let of_subsets: Vec<(ModalitySet, Arc<Rows>)> =
            readable.subsets().map(|set| Ok((set, subset_forwards.subject_on(set)?))).collect::<Result<_>>()?;
        for (i, sample) in samples.iter().enumerate() {
            let (Some(class), Some(logits)) = (sample.label.as_ref().map(|label| label.class()), all.logits(i)) else { continue };
            if logits.iter().any(|z| !z.is_finite()) {
                return Err(Error::model("the model's answer is not finite").at("sample", &sample.id));
            }
            let right = measure::argmax(logits) == class;
            whole.add(right);
            classes[class].add(right);
            calibration.add(measure::confidence(logits, measure::argmax(logits)), right);
            for (set, rows) in &of_subsets {
                if let Some(logits) = rows.logits(i) {
                    subsets.entry(set.to_string()).or_default().add(measure::argmax(logits) == class);
                }
            }
            let mut slice = |key: &str, value: String| slices.entry(key.to_owned()).or_default().entry(value).or_default().add(right);
            for key in &plan.slice_by {
                slice(key, sample.fields.get(key).map_or_else(|| "(none)".to_owned(), plain));
            }
            if let Some((key, side)) = side {
                match side.get(&sample.id) {
                    Some(values) => values.iter().for_each(|value| slice(key, value.clone())),
                    None => slice(key, "(none)".to_owned()),
                }
            }
        }
        step.advance(batch.len() as u64);
        Ok(())
    })?;
    let accuracy = whole.get().ok_or_else(|| Error::policy("no labelled sample to evaluate on"))?;
    let of_class = |(class, tally): (usize, &Tally)| {
        tally.get().map(|a| ClassAccuracy { class: split.classes().name(class).to_owned(), n: a.n, accuracy: a.accuracy })
    };
    let mut result = ArmResult::new(name, seed, accuracy).with_classes(classes.iter().enumerate().filter_map(of_class).collect());
    let known = |tallies: BTreeMap<String, Tally>| tallies.into_iter().filter_map(|(key, tally)| Some((key, tally.get()?))).collect();
    result.subsets = known(subsets);
    result.slices = slices.into_iter().map(|(key, values)| (key, known(values))).collect();
    result.ece = Some(calibration.error());
    Ok(result)
}

/// Accuracy alone, on a further test set.
pub fn accuracy(model: &Arc<dyn Model>, split: &Split, withhold: ModalitySet) -> Result<Accuracy> {
    let seen = watch(model, split, withhold)?;
    seen.map(|(_, accuracy)| accuracy).ok_or_else(|| Error::policy("no labelled sample to evaluate on"))
}

/// Mean cross entropy and accuracy on a split; `None` where nothing is labelled.
pub(super) fn watch(model: &Arc<dyn Model>, split: &Split, withhold: ModalitySet) -> Result<Option<(f64, Accuracy)>> {
    let models = ModelSet { subject: model.clone(), teachers: None };
    let readable = model.spec().modalities;
    let order: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
    let (mut whole, mut loss) = (Tally::default(), 0.0);
    split.stream(&order, BATCH, |batch| {
        let given: Vec<Sample> = batch.iter().map(|(_, sample)| sample.only(sample.present().and(readable).and(keep(withhold)))).collect();
        let rows = Forwards::new(&models, &given).subject()?;
        for (i, sample) in given.iter().enumerate() {
            if let (Some(label), Some(logits)) = (&sample.label, rows.logits(i)) {
                whole.add(measure::argmax(logits) == label.class());
                loss += f64::from(measure::cross_entropy(logits, label));
            }
        }
        Ok(())
    })?;
    Ok(whole.get().map(|accuracy| (loss / accuracy.n as f64, accuracy)))
}

fn keep(withheld: ModalitySet) -> ModalitySet {
    ModalitySet::ALL.iter().filter(|m| !withheld.has(*m)).collect()
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    n: u64,
    right: u64,
}

impl Tally {
    fn add(&mut self, right: bool) {
        self.n += 1;
        self.right += u64::from(right);
    }
    fn get(self) -> Option<Accuracy> {
        Accuracy::of(self.right, self.n)
    }
}

/// Expected calibration error: the mean over bins of |accuracy - confidence|, weighted by their size (Guo et al. 2017).
#[derive(Debug, Clone, Default)]
struct Calibration {
    bins: [(u64, f64, u64); BINS],
}

impl Calibration {
    fn add(&mut self, confidence: f32, right: bool) {
        let bin = ((f64::from(confidence) * BINS as f64) as usize).min(BINS - 1);
        self.bins[bin].0 += 1;
        self.bins[bin].1 += f64::from(confidence);
        self.bins[bin].2 += u64::from(right);
    }
    fn error(&self) -> f64 {
        let n: u64 = self.bins.iter().map(|bin| bin.0).sum();
        self.bins.iter().map(|(_, confidence, right)| (*right as f64 - confidence).abs()).sum::<f64>() / n.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_follows_a_worked_value() {
        let mut calibration = Calibration::default();
        // Two at 0.9 of which one is right: |0.5 - 0.9| * 2/4; two at 0.5, both right: |1 - 0.5| * 2/4.
        for (confidence, right) in [(0.9, true), (0.9, false), (0.5, true), (0.5, true)] {
            calibration.add(confidence, right);
        }
        assert!((calibration.error() - 0.45).abs() < 1e-6);
    }
}
