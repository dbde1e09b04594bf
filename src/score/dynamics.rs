use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, HistoryRow, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the uniform warm-up saw of each sample, epoch after epoch.
///
/// Method: `low_aum` is the negative area under the margin, the mean over presentations of `z_y - max_{k != y} z_k` on the training
/// forward pass; `forgetting` counts presentations that were wrong after a right one (presentations + 1 for a sample never learned);
/// `map_confidence` and `map_variability` are mean and population standard deviation of the label's probability, `map_correctness` the
/// number of right presentations. Absent for a sample that the warm-up did not see.
///
/// Reference: Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, 2020; Toneva et al., An Empirical Study
/// of Example Forgetting, 2019; Swayamdipta et al., Dataset Cartography, 2020.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dynamics {}

impl Configure<dyn Scorer> for Dynamics {
    const NAME: &'static str = "dynamics";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for Dynamics {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("low_aum", "negative area under the margin, on logits"),
            Column::hardness("forgetting", "forgetting events; presentations + 1 if never learned"),
            Column::measure("map_confidence", "mean probability of the label over the warm-up, 0..=1"),
            Column::hardness("map_variability", "standard deviation of the label's probability over the warm-up, 0..=0.5"),
            Column::measure("map_correctness", "presentations of the warm-up that were right"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { history: true, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let row = |id| context.history.and_then(|history| history.rows.get(id));
        let why = if context.history.is_none() { "needs a warm-up, or predictions with an `epoch`" } else { "not seen in the warm-up" };
        Ok(columns_of(context.forwards.samples().iter().map(|sample| match row(&sample.id).and_then(dynamics) {
            Some(values) => values.map(|v| Score::Known(v as f32)),
            None => std::array::from_fn(|_| Score::absent(why)),
        })))
    }
}

fn dynamics(row: &HistoryRow) -> Option<[f64; 5]> {
    Some([-row.aum()?, f64::from(row.forgetting()), row.confidence()?, row.variability()?, f64::from(row.right)])
}
