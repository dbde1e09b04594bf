//! Verification: pass, or a named reason with value and limit. A verifier rejects and repairs nothing.

pub mod consistent;
#[cfg(test)]
mod fixture;
pub mod in_band;
pub mod in_distribution;
pub mod label_kept;
pub mod not_duplicate;
pub mod within_ball;

pub use consistent::Consistent;
pub use in_band::InBand;
pub use in_distribution::InDistribution;
pub use label_kept::LabelKept;
pub use not_duplicate::NotDuplicate;
pub use within_ball::WithinBall;

use crate::{
    context::{Judged, VerifyContext},
    error::Result,
    operator::{Requirements, Table},
    sample::Verdict,
};

/// A verifier.
pub trait Verifier: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// One verdict a candidate, in order. The candidates' media are those of the written and re-read files.
    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>>;
}

/// The shipped verifiers.
pub fn table() -> Table<dyn Verifier> {
    Table::default()
        .with::<consistent::Consistent>()
        .with::<in_band::InBand>()
        .with::<in_distribution::InDistribution>()
        .with::<label_kept::LabelKept>()
        .with::<not_duplicate::NotDuplicate>()
        .with::<within_ball::WithinBall>()
}
