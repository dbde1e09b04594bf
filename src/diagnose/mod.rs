//! Diagnosis: why a sample is hard, and which are wrong. From the score table alone.

use crate::{
    error::Result,
    operator::{Requirements, Table},
    sample::{Diagnoses, ScoreTable},
};

/// A diagnoser.
pub trait Diagnoser: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// One diagnosis a row; several diagnosers are joined.
    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses>;
}

/// The shipped diagnosers.
pub fn table() -> Table<dyn Diagnoser> {
    Table::default()
}
