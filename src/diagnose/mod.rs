//! Diagnosis: why a sample is hard, and which are wrong. From the score table alone.

mod confident;
mod noise_guard;
mod reasons;
mod suspicion;

pub use confident::{ConfidentLearning, confident_learning};
pub use noise_guard::{NoiseGuard, VerdictWeight};
pub use reasons::Reasons;
pub use suspicion::{Suspicion, suspicions};

use crate::{
    error::Result,
    operator::{Requirements, Table},
    sample::{Column, Diagnoses, Score, ScoreTable},
};

/// A diagnoser.
pub trait Diagnoser: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// One diagnosis a row; several diagnosers are joined.
    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses>;
    /// Columns of its own for all rows (a suspicion to rank by), computed from the same table. The runner adds them before the next
    /// diagnoser looks, prefixed like a scorer's columns.
    fn columns(&self, _table: &ScoreTable) -> Result<Vec<(Column, Vec<Score>)>> {
        Ok(Vec::new())
    }
}

/// The shipped diagnosers.
pub fn table() -> Table<dyn Diagnoser> {
    Table::default().with::<NoiseGuard>().with::<Reasons>()
}

#[cfg(test)]
mod tests;
