//! Diagnosis: why a sample is hard, and which are wrong. From the score table alone.

mod noise_guard;
mod reasons;
mod suspicion;

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

/// The column called `name`, or else the first of a stage with an id (`stage.name`).
fn column<'a>(table: &'a ScoreTable, name: &str) -> Option<&'a [Score]> {
    let of_stage = |own: &str| own.strip_suffix(name).is_some_and(|stage| stage.ends_with('.'));
    table.column(name).or_else(|| table.columns().find(|(own, _)| of_stage(&own.name)).map(|(_, scores)| scores))
}

#[cfg(test)]
mod tests;
