//! Mining: which samples are worth it. The only barrier of a round: miners see numbers, never media.

mod band;
pub mod pairs;
mod rank;
mod threshold;
mod top_fraction;

pub use band::Band;
pub use rank::{Weighting, band_column, between_ranks, frozen_band, rank_weights, top_k, uncertain};
pub use threshold::{Certainty, Threshold};
pub use top_fraction::TopFraction;

use crate::{
    error::Result,
    operator::{Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
};

/// A miner.
pub trait Miner: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Chooses rows among those judged valuable. Ties are broken by id. `stage` is written into [`crate::sample::Selected::by`].
    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], stage: &str) -> Result<Selection>;
}

/// The shipped miners.
pub fn table() -> Table<dyn Miner> {
    Table::default().with::<Band>().with::<Threshold>().with::<TopFraction>()
}

#[cfg(test)]
mod tests;
