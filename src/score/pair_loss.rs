use super::{
    Scorer, TableScores,
    embedding_mismatch::{Both, embeddings, one_twice},
};
use crate::{
    context::TableContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, Modality, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Contrastive loss of two modalities of a sample against all other samples.
///
/// Method: `pair_loss` is `-(log softmax_j(<u_i, v_j> / t)_i + log softmax_j(<v_i, u_j> / t)_i) / 2` in nats, at least 0, with the subject's embeddings of the two
/// modalities at length 1 (symmetric InfoNCE). In the denominator stand the pair itself and the samples of other groups which, with `exclude_class`, are
/// of another class or of none. Over the whole split, in blocks: memory does not grow with the square of the samples, time does. Absent where a modality is
/// missing, or where there is no other sample. It needs two encoders with one space (trained contrastively, as CLIP is), which the built-in model does not promise.
///
/// Reference: Oord, Li, Vinyals, Representation Learning with Contrastive Predictive Coding, 2018; Radford et al., Learning Transferable Visual Models From
/// Natural Language Supervision, 2021.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairLoss {
    /// The two modalities.
    pub pair: [Modality; 2],
    /// Temperature of the softmax, 0.01..=10 (CLIP learns one and keeps it at 0.01 or more).
    pub temperature: f64,
    /// Whether samples of the same class stand out of the denominator.
    pub exclude_class: bool,
}

impl Default for PairLoss {
    fn default() -> Self {
        Self { pair: [Modality::Image, Modality::Audio], temperature: 0.07, exclude_class: true }
    }
}

impl Configure<dyn Scorer> for PairLoss {
    const NAME: &'static str = "pair_loss";
    const EXAMPLE: &'static str = "{ pair: [image, audio], temperature: 0.07 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems: Vec<Problem> = one_twice(self.pair).into_iter().collect();
        if !(0.01..=10.0).contains(&self.temperature) {
            problems.push(Problem::new("temperature", format!("expected 0.01 to 10, found {}", self.temperature)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for PairLoss {
    fn table_columns(&self) -> Vec<Column> {
        let [a, b] = self.pair;
        vec![Column::hardness("pair_loss", format!("symmetric InfoNCE of {a} and {b} against the split, in nats, at least 0"))]
    }

    fn requirements(&self) -> Requirements {
        embeddings(self.pair)
    }

    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        let both = Both::of(context, self.pair, self.exclude_class, self.temperature)?;
        let columns = both.columns(context, self.pair, |there, back| {
            [if there.others > 0 && back.others > 0 {
                Score::Known(((there.loss(self.temperature) + back.loss(self.temperature)) / 2.0) as f32)
            } else {
                Score::absent("no other sample to compare with")
            }]
        });
        Ok(TableScores { columns, figures: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedding_mismatch::tests::{run, world};
    use super::*;
    use crate::score::table as scorers;
    use serde_json::json;

    #[test]
    fn a_worked_pair_of_pairs() {
        let world = world(&[(0.0, 1.0, Some(0), 0), (1.0, 0.2, Some(1), 1), (0.0, f64::NAN, Some(1), 2), (0.5, 0.5, Some(0), 0)]);
        let found = run(json!({ "pair_loss": { "temperature": 0.5 } }), &world);
        // Row 0 has one rival, row 1 (row 3 is of its group): image 0 to audios 1.0 and 0.2; audio 1.0 to images 0 and 1.
        let one = |own: f64, other: f64| (1.0 + ((other.cos() - own.cos()) / 0.5).exp()).ln();
        let right = (one(1.0, 0.2) + one(1.0, 0.0)) / 2.0;
        assert!((f64::from(found[0][0].get().unwrap()) - right).abs() < 1e-6);
        assert_eq!(found[0][2], Score::absent("the audio is missing"));
        let alone = super::super::embedding_mismatch::tests::world(&[(0.0, 0.0, None, 0)]);
        assert_eq!(run(json!({ "pair_loss": {} }), &alone)[0][0], Score::absent("no other sample to compare with"));
    }

    #[test]
    fn all_problems_are_told() {
        let problems = scorers().build(&json!({ "pair_loss": { "pair": ["image", "image"], "temperature": 0.0 } })).err().unwrap();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["pair_loss.pair: expected two modalities, found image twice", "pair_loss.temperature: expected 0.01 to 10, found 0"]
        );
    }
}
