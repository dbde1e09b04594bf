use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    operator::{Configure, ProbePlan, Requirements, Table},
    sample::{Column, Score},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The area under the margin, held against samples whose label is known to be wrong: a probe run with a class more.
///
/// Method: of N samples of K classes, N / (K + 1) random ones get the label K + 1, which nothing in them explains, and a fresh model with K + 1 outputs is trained as the warm-up trains, at a constant
/// learning rate. The area under the margin of each sample is the mean over its presentations of `z_y - max_{k != y} z_k` on the training forward pass. The
/// threshold is the `percentile` of the areas of the threshold samples: what is learnt no better is a suspect (`aum_threshold` judges so). A second run with
/// threshold samples of its own covers those of the first; where both say something it is their mean. `probe_aum` is the negative area, `probe_threshold`
/// the negative threshold, `probe_suspicion` the share of the threshold samples that were learnt at least as well, 0..=1. Costs two trainings of
/// `epochs`, which are counted. Recorded predictions bring their probe runs along (`probes:` of the reader). Absent for what no run saw under its own label.
///
/// Reference: Pleiss, Zhang, Elenberg, Weinberger, Identifying Mislabeled Data using the Area Under the Margin Ranking, 2020.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AumProbe {
    /// Epochs of each run, at least 1; absent for as many as the warm-up. Ignored for recorded predictions.
    pub epochs: Option<usize>,
    /// Percentile of the threshold samples' areas that is the threshold, as a share, 0..=1; larger finds more and is wrong more often.
    pub percentile: Fraction,
}

impl Default for AumProbe {
    fn default() -> Self {
        Self { epochs: None, percentile: Fraction::new(0.99).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")) }
    }
}

impl Configure<dyn Scorer> for AumProbe {
    const NAME: &'static str = "aum_probe";
    const EXAMPLE: &'static str = "{ percentile: 0.99 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        if self.epochs == Some(0) {
            return Err(vec![Problem::new("epochs", "expected at least 1, or null for as many as the warm-up, found 0")]);
        }
        Ok(Box::new(self))
    }
}

impl Scorer for AumProbe {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("probe_aum", "negative area under the margin in the probe runs, on logits"),
            Column::measure("probe_threshold", "negative area from which on a sample is a suspect"),
            Column::measure("probe_suspicion", "share of the threshold samples that were learnt at least as well, 0..=1"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { probe: Some(ProbePlan { epochs: self.epochs }), ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let probe = context.history.and_then(|history| history.probe.as_ref());
        let why = if probe.is_none() { "no probe was run" } else { "not seen by the probe under its own label" };
        Ok(columns_of(context.forwards.samples().iter().map(|sample| {
            match probe.and_then(|probe| probe.of(&sample.id, self.percentile.get())) {
                Some(found) => [-found.aum, -found.alpha, found.share].map(|v| Score::Known(v as f32)),
                None => std::array::from_fn(|_| Score::absent(why)),
            }
        })))
    }
}
