//! Scoring: one number a sample and column. Larger is harder, always; columns of kind `measure` are evidence and not ranked.

use crate::{
    context::ScoreContext,
    error::Result,
    operator::{Requirements, Table},
    sample::{Column, Score},
};

/// A scorer.
pub trait Scorer: Send + Sync {
    /// The columns it adds, in order. The stage's `id:`, where one is written, prefixes them (`id.column`).
    fn columns(&self) -> Vec<Column>;
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Scores of one batch: one list a column of [`Scorer::columns`], each with one score a sample of the batch, in order. A number
    /// that is not finite is an error of the runner (the sample is quarantined), so return what the model gave.
    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>>;
}

/// The shipped scorers.
pub fn table() -> Table<dyn Scorer> {
    Table::default()
}
