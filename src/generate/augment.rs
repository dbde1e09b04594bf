//! Any of the transforms, drawn and searched.

use super::{
    Generator,
    engine::{self, Node, Order, Policy, Search, with_transforms},
};
use crate::{
    error::Problem,
    operator::{Configure, Table},
    sample::{Modality, ModalitySet, ReasonCode},
    transform::range,
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Applies transforms of image, audio and text, drawn from a list.
///
/// Method: each neighbour draws which transforms of the list take part and their numbers, each tried on the parent at the greatest severity: one that would change nothing or must not be used says so, which
/// is counted. One severity in 0..=1 then scales them all. With a difficulty band it is searched by bisection, all parents in lockstep, until the subject's loss on the written child lies in the band; a draw that stays
/// too easy at the greatest severity gives way to another one. Without a band it is drawn. The recorded numbers make the same child again without any model. Parents with degraded audio, a degraded image or a
/// rare class are served, as far as the list changes that medium.
///
/// Reference: Cubuk et al. 2020, "RandAugment" (a few of a list at one magnitude); the magnitude is searched for each sample instead of tuned for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Transforms, each `name: { ... }` with `probability` (how often it takes part, 0..=1, default 1; where none would, one does whose probability is not 0) among its fields, or `one_of: [ ... ]`, of which one is drawn, probabilities being the weights.
    #[schemars(schema_with = "engine::transforms_schema")]
    pub transforms: Vec<Value>,
    /// How many of the list each neighbour draws, at least 1; left out: all that take part.
    #[serde(default)]
    pub pick: Option<usize>,
    /// In which order they are applied.
    #[serde(default)]
    pub order: Order,
    /// Least and greatest severity, within 0..=1.
    #[serde(default = "all")]
    pub severity_range: Range,
    /// Neighbours wanted of each parent, 1..=64, each with its own draw.
    #[serde(default = "two")]
    pub variants: usize,
    /// How the severity is searched.
    #[serde(default)]
    pub search: Search,
}

fn all() -> Range {
    range(0.1, 1.0)
}
fn two() -> usize {
    2
}

impl Configure<dyn Generator> for Augment {
    const NAME: &'static str = "augment";
    const EXAMPLE: &'static str = "{ transforms: [ { one_of: [ { gaussian_blur: { sigma: [1, 4] } }, { add_noise: { snr_db: [0, 15] } } ] }, { babble: { probability: 0.5 } } ], pick: 2 }";

    fn build(self, table: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let problems = engine::problems(self.severity_range, self.variants, self.search);
        let nodes = engine::listed(&self.transforms, self.pick, table, "gaussian_blur: {}", problems)?;
        Ok(Box::new(Policy {
            cures: cures(&nodes),
            nodes,
            pick: self.pick,
            order: self.order,
            severity_range: self.severity_range,
            variants: self.variants,
            search: self.search,
            names_undrawn: false,
        }))
    }

    fn resolved(&self, table: &Table<dyn Generator>) -> serde_json::Result<Value> {
        let transforms = with_transforms(table, |table| engine::resolved(&self.transforms, table));
        serde_json::to_value(Self { transforms, ..self.clone() })
    }
}

/// What is cured by changing these media.
fn cures(nodes: &[Node]) -> &'static [ReasonCode] {
    use ReasonCode::{AudioDegraded, ImageDegraded, RareClass};
    let changes = nodes.iter().flat_map(Node::all).fold(ModalitySet::EMPTY, |all, chosen| all.or(chosen.transform.changes()));
    match (changes.has(Modality::Image), changes.has(Modality::Audio)) {
        (true, true) => &[AudioDegraded, ImageDegraded, RareClass],
        (true, false) => &[ImageDegraded, RareClass],
        (false, true) => &[AudioDegraded, RareClass],
        (false, false) => &[RareClass],
    }
}
