//! Diagnosis: why a sample is hard, and which are wrong. From the score table alone.

mod alone;
mod aum_threshold;
mod cases;
mod confident;
mod confident_learning;
mod mixture;
mod noise_guard;
mod outliers;
mod pair_mixture;
mod reasons;
mod shared;
mod suspicion;
mod verdict;

pub use aum_threshold::AumThreshold;
pub use confident::{LabelIssues, confident_learning};
pub use confident_learning::{ConfidentLearning, FilterBy, RankBy};
pub use mixture::{Component, Mixture, Shape, two_components};
pub use noise_guard::NoiseGuard;
pub use outliers::{Outliers, outlier_suspicions};
pub use pair_mixture::PairMixture;
pub use reasons::Reasons;
pub use suspicion::{Suspicion, suspicions};
pub use verdict::GuardVerdict;

use crate::{
    context::Answers,
    error::{Problem, Result},
    operator::{Requirements, Table},
    sample::{Column, Diagnoses, Judgement, Score, ScoreTable},
};
use std::path::Path;

/// A diagnoser.
pub trait Diagnoser: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// The judgements it may give, but for [`Judgement::Valuable`]: what a guard check measures it by. None for one that names reasons only.
    fn judges(&self) -> &'static [Judgement] {
        &[]
    }
    /// One diagnosis a row, from the table alone; several diagnosers are joined.
    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses>;
    /// Columns of its own for all rows (a suspicion to rank by), computed from the same table. The runner adds them before the next
    /// diagnoser looks, prefixed like a scorer's columns.
    fn columns(&self, _table: &ScoreTable) -> Result<Vec<(Column, Vec<Score>)>> {
        Ok(Vec::new())
    }
    /// What the runner asks for: diagnoses and columns together. A diagnoser that looks at the answers of the models (`requirements().kept`, which need no
    /// media) gives both here and nothing elsewhere.
    fn findings(&self, table: &ScoreTable, _answers: &Answers) -> Result<Findings> {
        Ok(Findings { columns: self.columns(table)?, diagnoses: self.diagnose(table)? })
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

/// What a diagnoser found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// One a row.
    pub diagnoses: Diagnoses,
    /// Columns for all rows.
    pub columns: Vec<(Column, Vec<Score>)>,
}

/// The shipped diagnosers.
pub fn table() -> Table<dyn Diagnoser> {
    Table::default()
        .with::<AumThreshold>()
        .with::<ConfidentLearning>()
        .with::<NoiseGuard>()
        .with::<Outliers>()
        .with::<PairMixture>()
        .with::<Reasons>()
}

#[cfg(test)]
mod tests;
