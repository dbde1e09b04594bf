use super::Scorer;
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::{Column, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Loss of each sample by the subject model.
///
/// Method: cross entropy `-sum_k q_k log p_k` in nats with the label (for a class, `-log p_y`), by log-sum-exp, on all modalities that
/// are there; never averaged over the batch. Absent without a label. Column `loss`.
///
/// Reference: Shrivastava, Gupta, Girshick, Training Region-based Object Detectors with Online Hard Example Mining, 2016.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {}

impl Configure<dyn Scorer> for Loss {
    const NAME: &'static str = "loss";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for Loss {
    fn columns(&self) -> Vec<Column> {
        vec![Column::hardness("loss", "cross entropy with the label, in nats, at least 0")]
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let rows = context.forwards.subject()?;
        let one = |(i, sample): (usize, &crate::sample::Sample)| match (&sample.label, rows.logits(i)) {
            (Some(label), Some(logits)) => Score::Known(measure::cross_entropy(logits, label)),
            (None, _) => Score::absent("no label"),
            (_, None) => Score::absent("no forward pass"),
        };
        Ok(vec![context.forwards.samples().iter().enumerate().map(one).collect()])
    }
}
