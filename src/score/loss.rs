use super::{Scorer, columns_of};
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
/// are there; never averaged over the batch. `rival` is the class that the model holds the sample for, or most nearly: the most probable one other than the label. Both are
/// absent without a label.
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
        vec![
            Column::hardness("loss", "cross entropy with the label, in nats, at least 0"),
            Column::measure("rival", "the most probable class other than the label, by its index"),
        ]
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let rows = context.forwards.subject()?;
        Ok(columns_of(context.forwards.samples().iter().enumerate().map(|(i, sample)| match (&sample.label, rows.logits(i)) {
            (Some(label), Some(logits)) => {
                let rival =
                    rival(logits, label.class()).map_or_else(|| Score::absent("no other class"), |class| Score::Known(class as f32));
                [Score::Known(measure::cross_entropy(logits, label)), rival]
            }
            (None, _) => [Score::absent("no label"), Score::absent("no label")],
            (_, None) => [Score::absent("no forward pass"), Score::absent("no forward pass")],
        })))
    }
}

/// The largest logit but that of `class`; the first of equal ones. `None` where there is no other that is a number.
fn rival(logits: &[f32], class: usize) -> Option<usize> {
    let others = logits.iter().enumerate().filter(|(k, z)| *k != class && !z.is_nan());
    others
        .fold(None, |best: Option<(usize, f32)>, (k, z)| if best.is_some_and(|(_, top)| top >= *z) { best } else { Some((k, *z)) })
        .map(|(k, _)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rival_is_the_nearest_other_class() {
        assert_eq!((rival(&[1.0, 3.0, 2.0], 1), rival(&[1.0, 3.0, 2.0], 0), rival(&[1.0, 3.0, 3.0], 0)), (Some(2), Some(1), Some(1)));
        assert_eq!((rival(&[1.0], 0), rival(&[1.0, f32::NAN], 0), rival(&[], 0)), (None, None, None));
    }
}
