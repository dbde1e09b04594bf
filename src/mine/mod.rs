//! Mining: which samples are worth it. The only barrier of a round: miners see numbers, never media.

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
    Table::default()
}
