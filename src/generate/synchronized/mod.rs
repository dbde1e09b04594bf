//! Synchronized augmentation: one draw drives all modalities. The rules are the transforms of the scene.

mod preset;

pub use preset::Preset;

use super::{
    Generator,
    engine::{self, Chosen, Node, Order, Policy, Search, with_transforms},
};
use crate::{
    error::Problem,
    operator::{Configure, Table},
    sample::ReasonCode,
    transform::{Transform, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// Changes picture, sound and caption together: one draw for all modalities, boxes, events and word times.
///
/// Method: each neighbour draws which rules take part and where they strike; one severity in 0..=1 then scales them all. A rule moves, cuts, covers, amplifies, darkens, mirrors
/// or makes noisy every modality that is present by the same amount, and edits the words of the caption that speak of it (left, loud, bright, quiet). A rule that would change the meaning refuses, and a rule
/// that has nothing to change says so; both are recorded. With a difficulty band the severity is searched for all parents in lockstep until the subject's loss on the written child lands in the band; a draw that
/// stays too easy at full severity gives way to another one. Without a band the severity is drawn. The recorded numbers make the same child again without any model.
///
/// Reference: "AugLy: Data Augmentations for Robustness" (Papakipos and Bitton 2022) for transforms of several media with their metadata; cutout after
/// DeVries and Taylor 2017, its gap in the sound after the time masks of SpecAugment (Park et al. 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Synchronized {
    /// Rules that go together; `mild` where neither this nor `rules` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Rules: transforms, each `name: { ... }` with `probability` (how often it takes part, 0..=1, default 1; where none would, one does whose probability is not 0) among its fields, applied in this order after the preset's; one of the same name as a preset's
    /// rule takes its place.
    #[schemars(schema_with = "engine::rules_schema")]
    pub rules: Vec<Value>,
    /// Least and greatest severity, within 0..=1.
    pub severity_range: Range,
    /// Neighbours wanted of each parent, 1..=64, each with its own draw.
    pub variants: usize,
    /// How the severity is searched.
    pub search: Search,
}

impl Default for Synchronized {
    fn default() -> Self {
        Self { preset: None, rules: Vec::new(), severity_range: range(0.1, 1.0), variants: 2, search: Search::default() }
    }
}

impl Configure<dyn Generator> for Synchronized {
    const NAME: &'static str = "synchronized";
    const EXAMPLE: &'static str = "{ preset: mild }";

    fn build(self, table: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let mut problems = engine::problems(self.severity_range, self.variants, self.search);
        let nodes = with_transforms(table, |table| self.all_rules(table))
            .map(|rules| rules.into_iter().map(|rule| Node::One(Box::new(rule))).collect::<Vec<_>>())
            .and_then(|nodes| engine::silent(&nodes, "rules").map_or(Ok(nodes), |problem| Err(vec![problem])));
        match nodes {
            Ok(nodes) if problems.is_empty() => Ok(Box::new(Policy {
                nodes,
                pick: None,
                order: Order::Listed,
                severity_range: self.severity_range,
                variants: self.variants,
                search: self.search,
                cures: &[ReasonCode::AudioDegraded, ReasonCode::ImageDegraded, ReasonCode::ModalityMissing, ReasonCode::RareClass],
                names_undrawn: true,
            })),
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        }
    }

    fn resolved(&self, table: &Table<dyn Generator>) -> serde_json::Result<Value> {
        let rules = with_transforms(table, |table| engine::resolved(&self.rules, table));
        serde_json::to_value(Self { rules, ..self.clone() })
    }
}

impl Synchronized {
    /// The rules in the order of application: the preset's, each replaced by the written one of its name, then the other written ones.
    fn all_rules(&self, table: &Table<dyn Transform>) -> Result<Vec<Chosen>, Vec<Problem>> {
        let (mut written, mut problems) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        for (i, rule) in self.rules.iter().enumerate() {
            let at = format!("rules[{i}]");
            match engine::one(rule, table) {
                Ok(rule) => written.push(rule),
                Err(found) => problems.extend(found.into_iter().map(|problem| problem.under(&at))),
            }
            let name = rule.as_str().or_else(|| rule.as_object()?.keys().next().map(String::as_str));
            if let Some(name) = name.filter(|name| !names.insert(*name)) {
                problems.push(Problem::new(at, format!("the rule `{name}` stands here twice; write it once")));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let preset = if self.rules.is_empty() { Some(self.preset.unwrap_or(Preset::Mild)) } else { self.preset };
        let mut rules = preset.map(Preset::rules).unwrap_or_default();
        for rule in written {
            match rules.iter_mut().find(|own| own.name() == rule.name()) {
                Some(own) => *own = rule,
                None => rules.push(rule),
            }
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests;
