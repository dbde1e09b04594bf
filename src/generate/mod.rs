//! Generation: neighbours of the chosen samples, with claims about them. Nothing here judges itself.

pub mod augment;
pub mod engine;
#[cfg(test)]
mod fixture;
pub mod hotflip;
pub mod latent;
pub mod modality_dropout;
pub mod pgd;
pub mod search;
pub mod synchronized;
pub mod worst_case;

use crate::{
    context::{GenerateContext, Parent, ReplayContext},
    error::{Problem, Result},
    operator::{Requirements, Table},
    record::TransformBalance,
    sample::{Candidate, ModalitySet, ReasonCode, Sample, SampleId},
    transform::{self, Magnitude},
};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

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
    /// What became of the transforms that were drawn, by name, where the generator is made of such.
    pub transforms: BTreeMap<String, TransformBalance>,
}

/// The transforms that made a child.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The severity that was reached, in `0..=1`.
    pub severity: f64,
    /// Their names, and how strong each was where one number says it, in the order of application.
    pub transforms: Vec<(String, Option<Magnitude>)>,
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
    /// Reads what it takes from files; relative paths start at `base`, the folder of the pipeline file. Called once, when the plan is built.
    fn bind(&mut self, _base: &Path) -> Vec<Problem> {
        Vec::new()
    }
    /// Makes candidates. Draws come from `context.seeds` by sample and variant; neither order nor number of the parents changes a child.
    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated>;
    /// Makes one child again from the parameters its lineage recorded. The media that the operator changed are not encoded.
    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample>;
    /// Which transforms made the child of these recorded parameters, where the generator is made of such.
    fn applied(&self, _parameters: &Value) -> Option<Applied> {
        None
    }
}

/// The shipped generators, with the shipped transforms to choose from.
pub fn table() -> Table<dyn Generator> {
    Table::default()
        .with_parts(transform::table())
        .with::<augment::Augment>()
        .with::<hotflip::HotFlip>()
        .with::<latent::Latent>()
        .with::<modality_dropout::ModalityDropout>()
        .with::<pgd::Pgd>()
        .with::<synchronized::Synchronized>()
        .with::<worst_case::WorstCase>()
}
