use super::{
    Miner,
    rank::{Weighting, eligible, hardest, selection},
};
use crate::{
    context::MineContext,
    error::{Error, Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is uncertain without a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Uncertainty {
    /// The entropy of the prediction.
    #[default]
    Entropy,
    /// One minus the largest probability.
    LeastConfidence,
    /// One minus the gap of the two largest probabilities.
    SmallMargin,
    /// How far the predictions of the single modalities are from the fused one.
    Inconsistency,
}

impl Uncertainty {
    /// The column it stands in.
    pub fn column(self) -> &'static str {
        match self {
            Self::Entropy => "entropy",
            Self::LeastConfidence => "least_confidence",
            Self::SmallMargin => "small_margin",
            Self::Inconsistency => "inconsistency",
        }
    }
}

/// Chooses samples without a label that are worth labelling. This is active learning, not mining.
///
/// Method: the `count` most uncertain of the samples without a label, equal ones by id. A sample with a label is never chosen, and a table in
/// which all have one is refused. It is not mixed with mining: it stands alone, and neither neighbours are made of what it chooses nor
/// weights given to it. The order to label in is that of the scores.
///
/// Reference: Lewis, Gale, A Sequential Algorithm for Training Text Classifiers, 1994; Settles, Active Learning Literature Survey, 2009.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// What is ranked by; none of them needs a label.
    pub by: Uncertainty,
    /// How many to ask for, at least 1.
    pub count: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { by: Uncertainty::Entropy, count: 100 }
    }
}

impl Configure<dyn Miner> for Query {
    const NAME: &'static str = "query";
    const EXAMPLE: &'static str = "{ by: entropy, count: 100 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        if self.count == 0 { Err(vec![Problem::new("count", "expected at least 1, found 0")]) } else { Ok(Box::new(self)) }
    }
}

impl Miner for Query {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.column().to_owned()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        if !table.is_empty() && table.rows().iter().all(|row| row.class.is_some()) {
            return Err(Error::usage("every sample has a label: there is nothing to ask for; choose hard samples with such as `band`"));
        }
        let mut rows = eligible(table, diagnoses, self.by.column())?;
        rows.retain(|one| table.rows()[one.row].class.is_none());
        Ok(selection(table, hardest(table, rows, self.count), Weighting::Neutral, context.stage, None))
    }
}
