use super::{
    Miner,
    rank::{USUAL_BAND, Weighting, by_class, eligible, frozen_band, hardest, selection},
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Chooses the hardest share of the samples.
///
/// Method: among the samples judged valuable that have a score, the `ceil(fraction * n)` largest are taken, over all or within each
/// class; equal scores by id. Selected without a full sort. The band for neighbours is frozen at the 0.60 and 0.95 quantiles of the
/// out-of-fold losses (of the losses where there are none).
///
/// Reference: Shrivastava, Gupta, Girshick, Training Region-based Object Detectors with Online Hard Example Mining, 2016.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopFraction {
    /// Score column to rank by; larger is harder.
    pub by: String,
    /// Share to take, above 0 and at most 1.
    pub fraction: Fraction,
    /// Take the share within each class, so that no class is left out.
    pub per_class: bool,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for TopFraction {
    fn default() -> Self {
        let fraction = Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { by: "loss".into(), fraction, per_class: false, weights: Weighting::Neutral }
    }
}

impl Configure<dyn Miner> for TopFraction {
    const NAME: &'static str = "top_fraction";
    const EXAMPLE: &'static str = "{ by: loss, fraction: 0.2 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        if self.fraction.get() == 0.0 {
            return Err(vec![Problem::new("fraction", "nothing would be chosen; expected a fraction above 0 and at most 1")]);
        }
        Ok(Box::new(self))
    }
}

impl Miner for TopFraction {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let groups = by_class(table, eligible(table, diagnoses, &self.by)?, self.per_class);
        // A product such as 0.07 * 100 may land a hair above the whole number that is meant.
        let share = |n: usize| (self.fraction.get() * n as f64 - 1e-9).ceil() as usize;
        let chosen = groups
            .into_iter()
            .flat_map(|group| {
                let k = share(group.len());
                hardest(table, group, k)
            })
            .collect();
        let band = frozen_band(table, diagnoses, &self.by, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, self.weights, context.stage, band))
    }
}
