use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Requirements, Table},
    sample::{Column, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What training could still learn of a sample: its loss beyond that of a model which never saw it.
///
/// Method: `reducible_loss` is the subject's cross entropy with the label minus that of the irreducible-loss model, in nats. No hold-out is spent on that model: the
/// out-of-fold teachers are cross-fitted, each sample judged by the one that never trained on its group (two folds are the two halves of the paper's variant
/// without a hold-out; more folds give teachers that saw more). Large where others of its kind teach the sample and the subject has not learnt it;
/// about 0 for noise, which no model foretells, and below 0 for what was learnt by heart. `irreducible_loss` is the teacher's part.
/// Of recorded predictions the irreducible-loss model is their `teacher` (trained on a hold-out alone, or out of fold).
/// Absent without a label and outside the folds.
///
/// Reference: Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet Learnt, 2022 (RHO-LOSS).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReducibleLoss {}

impl Configure<dyn Scorer> for ReducibleLoss {
    const NAME: &'static str = "reducible_loss";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for ReducibleLoss {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("reducible_loss", "the subject's loss minus the out-of-fold teacher's, in nats; below 0 where learnt"),
            Column::measure("irreducible_loss", "the out-of-fold teacher's loss, in nats, at least 0"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { teachers: true, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let one_voice = context.forwards.one_voice();
        let (subject, teacher) = (context.forwards.subject()?, context.forwards.teacher()?);
        Ok(columns_of(context.forwards.samples().iter().enumerate().map(|(i, sample)| {
            let absent = |why: &str| [Score::absent(why), Score::absent(why)];
            if one_voice {
                return absent("the recorded predictions are subject and teacher at once: needs a `teacher` of its own");
            }
            let Some(label) = &sample.label else { return absent("no label") };
            let Some(out_of_fold) = teacher.logits(i) else { return absent("not in any fold") };
            let Some(now) = subject.logits(i) else { return absent("no forward pass") };
            let irreducible = measure::cross_entropy(out_of_fold, label);
            [Score::Known(measure::cross_entropy(now, label) - irreducible), Score::Known(irreducible)]
        })))
    }
}
