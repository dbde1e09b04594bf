//! Diagnosis: why a sample is hard, and which are wrong. From the score table alone.

mod cases;
mod confident;
mod mixture;
mod noise_guard;
mod pair_mixture;
mod reasons;
mod shared;
mod suspicion;

pub use confident::{ConfidentLearning, confident_learning};
pub use mixture::{Component, Mixture, Shape, two_components};
pub use noise_guard::{GuardVerdict, NoiseGuard};
pub use pair_mixture::PairMixture;
pub use reasons::Reasons;
pub use suspicion::{Suspicion, suspicions};

use crate::{
    error::{Problem, Result},
    operator::{Requirements, Table},
    sample::{Column, Diagnoses, Score, ScoreTable},
};
use std::path::Path;

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
    /// Reads what the diagnoser takes from a file; relative paths start at `base`, the folder of the pipeline file. Called once, when the plan is built.
    fn bind(&mut self, _base: &Path) -> Result<(), Problem> {
        Ok(())
    }
    /// What a run says once, before it begins: findings that this diagnoser will not act on by itself.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The shipped diagnosers.
pub fn table() -> Table<dyn Diagnoser> {
    Table::default().with::<NoiseGuard>().with::<PairMixture>().with::<Reasons>()
}

#[cfg(test)]
mod tests;
