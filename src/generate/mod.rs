//! Generation: neighbours of the chosen samples, with claims about them. Nothing here judges itself.

#[cfg(test)]
mod fixture;
pub mod latent;
pub mod modality_dropout;
pub mod pgd;
pub mod search;
pub mod synchronized;

use crate::{
    context::{GenerateContext, Parent, ReplayContext},
    error::Result,
    operator::{Requirements, Table},
    sample::{Candidate, ModalitySet, ReasonCode, Sample, SampleId},
};
use serde_json::Value;

/// What became of one attempt at one parent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// At least one candidate was made.
    Made,
    /// The draw would have changed nothing.
    NoOp,
    /// A rule refused, and why (`readable_text`, `no_audio`).
    Refused(String),
    /// The search ended outside the band: least and greatest loss met.
    NotReached {
        /// Least loss met.
        least: f32,
        /// Greatest loss met.
        greatest: f32,
    },
}

/// What a generator made of its parents.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// Candidates in the order of the parents, the variants of one attempt together (same `attempt`), the preferred one first.
    pub candidates: Vec<Candidate>,
    /// One outcome an attempt.
    pub outcomes: Vec<(SampleId, Outcome)>,
}

/// A generator.
pub trait Generator: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Modalities that a parent must have at least one of to be served.
    fn modalities(&self) -> ModalitySet;
    /// Reasons it serves where the stage has no `for:` (DESIGN: the reason picks the cure).
    fn cures(&self) -> &'static [ReasonCode];
    /// Makes candidates. Draws come from `context.seeds` by sample and variant; neither order nor number of the parents changes a child.
    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated>;
    /// Makes one child again from the parameters its lineage recorded. The media that the operator changed are not encoded.
    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample>;
}

/// The shipped generators.
pub fn table() -> Table<dyn Generator> {
    Table::default()
        .with::<latent::Latent>()
        .with::<modality_dropout::ModalityDropout>()
        .with::<pgd::Pgd>()
        .with::<synchronized::Synchronized>()
}
