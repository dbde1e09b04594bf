use super::{Scorer, columns_of, embedding_mismatch::one_twice};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::{Column, Modality, ModalitySet, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How unequally two modalities of a sample speak for its label.
///
/// Method: with `s_m` the subject's probability of the label from modality `m` alone, `modality_gap` is `|s_a - s_b|`, 0..=1: one of the two carries the label, the other does not (or
/// is wrong). `modality_lean` is `s_a - s_b`, -1..=1, above 0 where the first of the pair speaks for the label. Absent without a label and where one of the two is missing or not read by the model.
///
/// Reference: arXiv 2510.21797, 2025 (the gap of the modalities' scores, whose mixture of two parts tells balanced samples from others).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModalityGap {
    /// The two modalities.
    pub pair: [Modality; 2],
}

impl Default for ModalityGap {
    fn default() -> Self {
        Self { pair: [Modality::Image, Modality::Audio] }
    }
}

impl Configure<dyn Scorer> for ModalityGap {
    const NAME: &'static str = "modality_gap";
    const EXAMPLE: &'static str = "{ pair: [image, audio] }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        match one_twice(self.pair) {
            Some(problem) => Err(vec![problem]),
            None => Ok(Box::new(self)),
        }
    }
}

impl Scorer for ModalityGap {
    fn columns(&self) -> Vec<Column> {
        let [a, b] = self.pair;
        vec![
            Column::hardness("modality_gap", format!("difference of the label's probability from {a} alone and from {b} alone, 0..=1")),
            Column::measure("modality_lean", format!("the label's probability from {a} alone minus that from {b} alone, -1..=1")),
        ]
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let reads = forwards.models().subject.spec().modalities;
        let why = |why: String| [Score::absent(why.clone()), Score::absent(why)];
        if let Some(unread) = self.pair.into_iter().find(|modality| !reads.has(*modality)) {
            return Ok(columns_of(forwards.samples().iter().map(|_| why(format!("the model does not read {unread}")))));
        }
        let [a, b] = self.pair.map(|modality| forwards.subject_on(ModalitySet::one(modality)));
        let (a, b) = (a?, b?);
        Ok(columns_of(forwards.samples().iter().enumerate().map(|(i, sample)| {
            let Some(label) = &sample.label else { return why("no label".into()) };
            if let Some(missing) = self.pair.into_iter().find(|modality| !forwards.present(i).has(*modality)) {
                return why(format!("the {missing} is missing"));
            }
            let confidence = |logits: &[f32]| measure::probabilities(logits).get(label.class()).copied().unwrap_or(f64::NAN);
            match (a.logits(i), b.logits(i)) {
                (Some(a), Some(b)) => {
                    let lean = confidence(a) - confidence(b);
                    [lean.abs(), lean].map(|v| Score::Known(v as f32))
                }
                _ => why(format!("needs the predictions from {} and from {} alone", self.pair[0], self.pair[1])),
            }
        })))
    }
}
