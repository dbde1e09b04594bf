//! Scoring: one number a sample and column. Larger is harder, always; columns of kind `measure` are evidence and not ranked.

mod adversarial_distance;
mod augmentation_disagreement;
mod aum_probe;
mod calibration;
mod composite;
mod difficulty_curve;
mod disagreement;
mod dynamics;
mod el2n;
mod embedding_mismatch;
mod inconsistency;
mod loss;
mod modality_gap;
mod neighbours;
mod out_of_fold;
mod pair_loss;
mod pairs;
mod quality;
mod reducible_loss;
mod uncertainty;

pub use crate::context::Space;
pub use adversarial_distance::{AdversarialDistance, Flip, flip_distances};
pub use augmentation_disagreement::AugmentationDisagreement;
pub use aum_probe::AumProbe;
pub use calibration::{Calibration, FittedOn, expected_calibration_error, fit_temperature, negative_log_likelihood};
pub use composite::{Composite, Formula, FormulaError, weighted_ranks};
pub use difficulty_curve::{Axis, Crossing, DifficultyCurve, LOSS_UNIT, crossing, curve_of};
pub use disagreement::{Disagreement, Opinion};
pub use dynamics::Dynamics;
pub use el2n::{El2n, ErrorNorm, Judge, error_length, last_layer_gradient};
pub use embedding_mismatch::EmbeddingMismatch;
pub use inconsistency::{Divergence, Inconsistency, shapley};
pub use loss::Loss;
pub use modality_gap::ModalityGap;
pub use neighbours::{Neighbours, OfNeighbours, of_neighbours};
pub use out_of_fold::OutOfFold;
pub use pair_loss::PairLoss;
pub use pairs::{Against, against};
pub use quality::{AudioQuality, ImageQuality, Quality, audio_quality, estimated_snr_db, image_quality};
pub use reducible_loss::ReducibleLoss;
pub use uncertainty::Uncertainty;

use crate::{
    context::{ScoreContext, TableContext},
    error::Result,
    operator::{Requirements, Table},
    sample::{Column, Score},
};
use std::collections::BTreeMap;

/// A scorer: it looks at batches ([`Scorer::score`]), or at all rows at once when every batch was seen ([`Scorer::score_table`]).
pub trait Scorer: Send + Sync {
    /// The columns that [`Scorer::score`] adds, in order. The stage's `id:`, where one is written, prefixes them (`id.column`).
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }
    /// The columns that [`Scorer::score_table`] adds, in order, prefixed likewise.
    fn table_columns(&self) -> Vec<Column> {
        Vec::new()
    }
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Scores of one batch: one list a column of [`Scorer::columns`], each with one score a sample of the batch, in order. A number
    /// that is not finite is an error of the runner (the sample is quarantined), so return what the model gave.
    fn score(&self, _context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        Ok(Vec::new())
    }
    /// Scores of the whole split: one list a column of [`Scorer::table_columns`], each with one score a row of the table, in order. The table
    /// holds the columns of all batch scorers and of the stages before; `requirements().kept` says what else there is.
    fn score_table(&self, _context: &TableContext<'_>) -> Result<TableScores> {
        Ok(TableScores::default())
    }
}

/// What a scorer of the whole split found.
#[derive(Debug, Clone, Default)]
pub struct TableScores {
    /// One list a column.
    pub columns: Vec<Vec<Score>>,
    /// Figures of the split as a whole by name (a temperature, a correlation), for the run's record; finite numbers only.
    pub figures: BTreeMap<String, f64>,
}

/// The shipped scorers.
pub fn table() -> Table<dyn Scorer> {
    Table::default()
        .with::<AdversarialDistance>()
        .with::<AugmentationDisagreement>()
        .with::<AumProbe>()
        .with::<Calibration>()
        .with::<Composite>()
        .with::<DifficultyCurve>()
        .with::<Disagreement>()
        .with::<Dynamics>()
        .with::<El2n>()
        .with::<EmbeddingMismatch>()
        .with::<Inconsistency>()
        .with::<Loss>()
        .with::<ModalityGap>()
        .with::<Neighbours>()
        .with::<OutOfFold>()
        .with::<PairLoss>()
        .with::<Quality>()
        .with::<ReducibleLoss>()
        .with::<Uncertainty>()
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
