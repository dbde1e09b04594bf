//! The worst case among transforms that keep the meaning.

use super::{
    Generator,
    engine::{self, Node, Order, Policy, Search, WorstOf, with_transforms},
};
use crate::{
    error::Problem,
    operator::{Configure, Table},
    sample::ReasonCode,
    transform::range,
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Looks for the hardest neighbour inside the space of transforms: a semantic attack, without gradients.
///
/// Method: for each neighbour the transforms of the list are drawn `draws` times, every draw at a severity of its own, and the subject's loss on each written child is measured. Of the child with the greatest loss
/// the severity is then refined: a quarter of the range up and down, then half of that, and so on, each kept where the loss rises. With a difficulty band losses above it do not count, and a neighbour whose worst is below it is not made.
/// Rules of the scene move picture, sound and caption together, as in `synchronized`. Costs `draws + 2 refinements` forward evaluations a neighbour. The recorded numbers make the same child again without any model.
///
/// Reference: Engstrom et al. 2019, "Exploring the Landscape of Spatial Robustness" (worst of random draws and grids of rotations and shifts); Hosseini and Poovendran 2018, "Semantic Adversarial Examples".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorstCase {
    /// Transforms, each `name: { ... }` with `probability` (how often it takes part, 0..=1, default 1; where none would, one does whose probability is not 0) among its fields, or `one_of: [ ... ]`, of which one is drawn, probabilities being the weights.
    #[schemars(schema_with = "engine::transforms_schema")]
    pub transforms: Vec<Value>,
    /// How many of the list each draw takes, at least 1; left out: all that take part.
    #[serde(default)]
    pub pick: Option<usize>,
    /// Least and greatest severity, within 0..=1.
    #[serde(default = "all")]
    pub severity_range: Range,
    /// Draws for each neighbour, 1..=1000.
    #[serde(default = "fifty")]
    pub draws: usize,
    /// Refinements of the severity of the worst draw, 0..=16.
    #[serde(default = "four")]
    pub refinements: usize,
    /// Neighbours wanted of each parent, 1..=64, each with its own draws.
    #[serde(default = "one")]
    pub variants: usize,
}

fn all() -> Range {
    range(0.1, 1.0)
}
fn fifty() -> usize {
    50
}
fn four() -> usize {
    4
}
fn one() -> usize {
    1
}

impl Configure<dyn Generator> for WorstCase {
    const NAME: &'static str = "worst_case";
    const EXAMPLE: &'static str = "{ transforms: [ { rotate: {} }, { add_noise: { snr_db: [5, 20] } }, { speed: {} } ], draws: 20 }";

    fn build(self, table: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let mut problems = engine::problems(self.severity_range, self.variants, Search::default());
        if !(1..=1000).contains(&self.draws) {
            problems.push(Problem::new("draws", format!("expected a number in 1..=1000, found {}", self.draws)));
        }
        if self.refinements > 16 {
            problems.push(Problem::new("refinements", format!("expected a number in 0..=16, found {}", self.refinements)));
        }
        let nodes = engine::listed(&self.transforms, self.pick, table, "rotate: {}", problems)?;
        Ok(Box::new(self.worst_of(nodes)))
    }

    fn resolved(&self, table: &Table<dyn Generator>) -> serde_json::Result<Value> {
        let transforms = with_transforms(table, |table| engine::resolved(&self.transforms, table));
        serde_json::to_value(Self { transforms, ..self.clone() })
    }
}

impl WorstCase {
    fn worst_of(&self, nodes: Vec<Node>) -> WorstOf {
        let policy = Policy {
            nodes,
            pick: self.pick,
            order: Order::Listed,
            severity_range: self.severity_range,
            variants: self.variants,
            search: Search::default(),
            cures: &[ReasonCode::NearBoundary],
            names_undrawn: false,
        };
        WorstOf { policy, draws: self.draws, refinements: self.refinements }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generate::fixture::World, generate::table, sample::DifficultyBand};
    use serde_json::json;

    fn built(config: Value) -> Box<dyn Generator> {
        table().build(&json!({ "worst_case": config })).unwrap_or_else(|problems| panic!("{problems:?}")).operator
    }

    fn noisy(draws: usize, refinements: usize) -> Box<dyn Generator> {
        let transforms = json!([{ "gaussian_noise": {} }, { "gain": {} }, { "brightness": { "probability": 0.5 } }]);
        built(json!({ "transforms": transforms, "draws": draws, "refinements": refinements }))
    }

    #[test]
    fn it_keeps_what_every_generator_promises() {
        let mut world = World { band: Some(DifficultyBand { low: 0.3, high: 1.5 }), ..World::new() };
        let all = world.keeps_the_promises(&*noisy(8, 2));
        // Recorded predictions will not do.
        assert!(noisy(8, 2).requirements().new_inputs);
        assert!(all.candidates.len() > 3, "{:?}", all.outcomes);
        assert!(all.candidates.iter().all(|candidate| !candidate.lineage.parameters["rules"].as_array().unwrap().is_empty()));
    }

    #[test]
    fn more_draws_and_refinements_are_never_milder() {
        let world = World { band: None, ..World::new() };
        let losses = |generator: &dyn Generator| -> Vec<f32> {
            world.generate(generator, &world.parents()).candidates.iter().map(|c| world.loss(&c.sample)).collect()
        };
        let (one, many, refined) = (losses(&*noisy(1, 0)), losses(&*noisy(12, 0)), losses(&*noisy(12, 4)));
        assert_eq!((one.len(), many.len(), refined.len()), (12, 12, 12));
        assert!(one.iter().zip(&many).all(|(a, b)| b >= a) && one.iter().zip(&many).any(|(a, b)| *b > a + 0.05), "{one:?} {many:?}");
        assert!(many.iter().zip(&refined).all(|(a, b)| b >= a) && many.iter().zip(&refined).any(|(a, b)| b > a), "{many:?} {refined:?}");
    }

    #[test]
    fn wrong_numbers_are_told_with_their_paths() {
        let written = json!({ "worst_case": { "transforms": [], "draws": 0, "refinements": 17, "pick": 3 } });
        let paths: Vec<String> = table().build(&written).err().unwrap().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["worst_case.draws", "worst_case.refinements", "worst_case.transforms", "worst_case.pick"]);
    }
}
