//! Scoring: one number a sample and column. Larger is harder, always; columns of kind `measure` are evidence and not ranked.

mod dynamics;
mod el2n;
mod inconsistency;
mod loss;
mod out_of_fold;
mod quality;
mod uncertainty;

pub use dynamics::Dynamics;
pub use el2n::{El2n, ErrorNorm, Judge, error_length, last_layer_gradient};
pub use inconsistency::{Divergence, Inconsistency, shapley};
pub use loss::Loss;
pub use out_of_fold::OutOfFold;
pub use quality::{AudioQuality, ImageQuality, Quality, audio_quality, image_quality, modulation_depth_db, snr_from_depth_db};
pub use uncertainty::Uncertainty;

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
    Table::default().with::<Dynamics>().with::<El2n>().with::<Inconsistency>().with::<Loss>().with::<OutOfFold>().with::<Quality>().with::<Uncertainty>()
}

/// Rows of scores (one list a sample) as columns.
fn columns_of<const N: usize>(rows: impl IntoIterator<Item = [Score; N]>) -> Vec<Vec<Score>> {
    let mut columns: Vec<Vec<Score>> = (0..N).map(|_| Vec::new()).collect();
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, score)| column.push(score));
    }
    columns
}

#[cfg(test)]
mod tests;
