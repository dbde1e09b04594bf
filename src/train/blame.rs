//! Who gave a loss that is not finite: a sample, or the weights.

use crate::{
    error::{ErrorKind, Result},
    model::{Input, Model, Target, Trainable, TrainingBatch, measure},
    sample::SampleId,
};
use std::collections::{BTreeMap, BTreeSet};

/// As many different samples that fail in every state are no fault of theirs: the model fails.
const TOO_MANY: usize = 4;

/// The rows of a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub inputs: Vec<Input>,
    pub targets: Vec<Target>,
    pub weights: Vec<f32>,
}

impl Rows {
    pub fn push(&mut self, input: Input, target: Target, weight: f32) {
        self.inputs.push(input);
        self.targets.push(target);
        self.weights.push(weight);
    }
    /// A copy of some rows.
    pub fn only(&self, which: &[usize]) -> Self {
        let mut rows = Self::default();
        which.iter().for_each(|row| rows.push(self.inputs[*row].clone(), self.targets[*row].clone(), self.weights[*row]));
        rows
    }
    pub fn len(&self) -> usize {
        self.inputs.len()
    }
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
    /// Keeps the rows of which `keep` says so.
    pub fn retain(&mut self, keep: &[bool]) {
        fn only<T>(list: &mut Vec<T>, keep: &[bool]) {
            let mut at = keep.iter();
            list.retain(|_| at.next().copied().unwrap_or(true));
        }
        only(&mut self.inputs, keep);
        only(&mut self.targets, keep);
        only(&mut self.weights, keep);
    }
}

/// Who is to blame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Blame {
    /// These samples: others are well in the same state, or they fail in the last good one too.
    Samples(Vec<SampleId>),
    /// The weights: the rows are well in the last good state.
    Weights,
    /// No loss is to blame, and no sample alone makes the step fail.
    Nobody,
    /// The model: everything fails in every state.
    Model,
}

/// A verdict and what it cost.
pub(super) struct Blamed {
    pub verdict: Blame,
    /// Forward evaluations.
    pub forward: u64,
}

/// Finds out why a step with these rows failed. `ids` are the samples of the rows, `good` is the last good state.
pub(super) fn blame(
    now: &dyn Trainable,
    good: Option<&dyn Trainable>,
    rows: &Rows,
    ids: &[&SampleId],
    learning_rate: f64,
) -> Result<Blamed> {
    let samples: BTreeSet<&SampleId> = ids.iter().copied().collect();
    let mut forward = 0;
    let mut bad_in = |state: &dyn Trainable| -> BTreeSet<&SampleId> {
        forward += rows.len() as u64;
        // Weights that cannot be frozen are broken.
        let Ok(model) = state.freeze() else { return samples.clone() };
        let bad = unusable(model.as_ref(), rows);
        ids.iter().zip(bad).filter(|(_, bad)| *bad).map(|(id, _)| *id).collect()
    };
    let owned = |bad: BTreeSet<&SampleId>| Blame::Samples(bad.into_iter().cloned().collect());
    let bad = bad_in(now);
    let verdict = if bad.is_empty() {
        one_by_one(now, rows, ids, &samples, learning_rate)?
    } else if bad.len() < samples.len() {
        owned(bad)
    } else {
        match good.map(&mut bad_in) {
            Some(bad) if bad.is_empty() => Blame::Weights,
            Some(bad) if bad.len() < samples.len() || samples.len() < TOO_MANY => owned(bad),
            None if samples.len() < TOO_MANY => owned(bad),
            _ => Blame::Model,
        }
    };
    Ok(Blamed { verdict, forward })
}

/// Whether each row has no answer, or one whose loss is not finite.
fn unusable(model: &dyn Model, rows: &Rows) -> Vec<bool> {
    let finite =
        |logits: &[f32], target: &Target| logits.iter().all(|z| z.is_finite()) && measure::cross_entropy(logits, target).is_finite();
    match model.forward(&rows.inputs) {
        Ok(outputs) if outputs.logits.rows() == rows.len() => {
            rows.targets.iter().enumerate().map(|(i, target)| !finite(outputs.logits.row(i), target)).collect()
        }
        _ => (rows.inputs.iter().zip(&rows.targets))
            .map(|(input, target)| match model.forward(std::slice::from_ref(input)) {
                Ok(outputs) if outputs.logits.rows() == 1 => !finite(outputs.logits.row(0), target),
                _ => true,
            })
            .collect(),
    }
}

/// Takes a step of a copy with each sample alone: a loss besides the fused one, or a gradient, may be what is not finite.
fn one_by_one(now: &dyn Trainable, rows: &Rows, ids: &[&SampleId], samples: &BTreeSet<&SampleId>, learning_rate: f64) -> Result<Blame> {
    let mut of: BTreeMap<&SampleId, Vec<usize>> = BTreeMap::new();
    ids.iter().enumerate().for_each(|(row, id)| of.entry(id).or_default().push(row));
    let mut bad = Vec::new();
    for (id, own) in of {
        let (inputs, targets): (Vec<Input>, Vec<Target>) =
            own.iter().map(|&row| (rows.inputs[row].clone(), rows.targets[row].clone())).unzip();
        let weights: Vec<f32> = own.iter().map(|&row| rows.weights[row]).collect();
        let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate };
        match now.fork()?.step(&batch) {
            Ok(report) if report.losses.iter().all(|loss| loss.is_finite()) => {}
            Err(error) if error.kind() != ErrorKind::Model => return Err(error),
            _ => bad.push(id.clone()),
        }
    }
    Ok(if bad.is_empty() {
        Blame::Nobody
    } else if bad.len() < samples.len() || samples.len() < TOO_MANY {
        Blame::Samples(bad)
    } else {
        Blame::Model
    })
}
