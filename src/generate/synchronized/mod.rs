//! Synchronized augmentation: one draw drives all modalities. Each rule is one file.

mod crop;
mod cutout;
mod flip;
mod level;
mod noise;
mod preset;
mod rule;
mod scene;
mod shift;

pub use crop::{Crop, CropDraw};
pub use cutout::{Cutout, CutoutDraw, Words};
pub use flip::{Flip, FlipDraw, ReadableText, When};
pub use level::{Direction, Level, LevelDraw};
pub use noise::{Noise, NoiseDraw};
pub use preset::Preset;
pub use rule::{Circumstance, Drawn, Plan, Rule};
pub use scene::Scene;
pub use shift::{Shift, ShiftDraw};

use super::{
    Generated, Generator, Outcome,
    search::{BandSearch, Made, Path, Trial},
};
use crate::{
    codec,
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::Target,
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Candidate, Claim, ModalitySet, ReasonCode, Sample},
    units::Range,
};
use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Rules, each `name: { ... }`, applied in this order after the preset's; one of the same name as a preset's rule takes its place.
    pub rules: Vec<Rule>,
    /// Least and greatest severity, within 0..=1.
    pub severity_range: Range,
    /// Neighbours wanted of each parent, 1..=64, each with its own draw.
    pub variants: usize,
    /// How the severity is searched.
    pub search: Search,
}

/// The search for a severity inside the difficulty band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Tries for each neighbour, 1..=64; each costs one forward evaluation.
    pub tries: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { tries: 6 }
    }
}

impl Default for Synchronized {
    fn default() -> Self {
        let severity_range = Range::new(0.1, 1.0).unwrap_or_else(|_| unreachable!("a constant range"));
        Self { preset: None, rules: Vec::new(), severity_range, variants: 2, search: Search::default() }
    }
}

impl Configure<dyn Generator> for Synchronized {
    const NAME: &'static str = "synchronized";
    const EXAMPLE: &'static str = "{ preset: mild }";

    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let mut problems = Vec::new();
        for (path, value) in [("variants", self.variants), ("search.tries", self.search.tries)] {
            if !(1..=64).contains(&value) {
                problems.push(Problem::new(path, format!("expected a number in 1..=64, found {value}")));
            }
        }
        let (low, high) = (self.severity_range.low(), self.severity_range.high());
        if low < 0.0 || high > 1.0 || high == 0.0 {
            problems.push(Problem::new(
                "severity_range",
                format!("expected severities within 0..=1, the greatest above 0, found [{low}, {high}]"),
            ));
        }
        let mut names = BTreeSet::new();
        for (i, rule) in self.rules.iter().enumerate() {
            problems.extend(rule.problems().into_iter().map(|problem| problem.under(&format!("rules[{i}]"))));
            if !names.insert(rule.name()) {
                problems.push(Problem::new(format!("rules[{i}]"), format!("the rule `{}` stands here twice; write it once", rule.name())));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// The recorded draw of one child: enough to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The severity that was reached.
    pub severity: f64,
    /// What each rule drew, in the order of application.
    pub rules: Vec<Drawn>,
    /// Rules that took no part, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// A rule that took no part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Its name.
    pub rule: String,
    /// Why.
    pub why: String,
    /// It refused; otherwise it had nothing to change, or was not drawn.
    pub refused: bool,
}

impl Parameters {
    /// Makes the child of `parent`: `None` where it would be its parent, an error (`Err`) with the reason of a rule that refused. Media that changed are
    /// not encoded.
    pub fn apply(&self, parent: &Sample) -> Result<Option<Sample>, String> {
        let mut scene = Scene::of(parent);
        self.rules.iter().try_for_each(|drawn| drawn.apply(self.severity, &mut scene))?;
        let changed = scene.changed(parent);
        Ok((!changed.is_empty()).then(|| scene.into_sample(parent)))
    }
}

impl Synchronized {
    /// The rules in the order of application: the preset's, each replaced by the written one of its name, then the other written ones.
    pub fn all_rules(&self) -> Vec<Rule> {
        let preset = if self.rules.is_empty() { Some(self.preset.unwrap_or(Preset::Mild)) } else { self.preset };
        let mut rules = preset.map(Preset::rules).unwrap_or_default();
        for rule in &self.rules {
            match rules.iter_mut().find(|own| own.name() == rule.name()) {
                Some(own) => *own = rule.clone(),
                None => rules.push(rule.clone()),
            }
        }
        rules
    }

    /// Draws the rules for one child of `parent`; `severity` of the answer is the greatest.
    pub fn draw(&self, parent: &Sample, circumstance: Circumstance<'_>, seeds: &SeedTree) -> Parameters {
        let rules = self.all_rules();
        let severity = self.severity_range.high();
        let mut drawn: Vec<Option<Drawn>> = vec![None; rules.len()];
        let mut skipped = Vec::new();
        let mut plan = |i: usize, drawn: &mut Vec<Option<Drawn>>| {
            let (why, refused) = match rules[i].plan(parent, circumstance, severity, seeds) {
                Plan::Fires(one) => {
                    drawn[i] = Some(one);
                    return true;
                }
                Plan::NoOp(why) => (why, false),
                Plan::Refused(why) => (why, true),
            };
            skipped.push(Skipped { rule: rules[i].name().into(), why, refused });
            false
        };
        let (chosen, others): (Vec<usize>, Vec<usize>) = (0..rules.len()).partition(|&i| rules[i].takes_part(seeds));
        let mut fired = false;
        for &i in &chosen {
            fired |= plan(i, &mut drawn);
        }
        // A draw of which nothing is left takes the first other rule that can act, in an order of its own.
        let mut reserve = others.clone();
        if !fired && !reserve.is_empty() {
            reserve.rotate_left(seeds.child("reserve").rng().random_range(0..others.len()));
            fired = reserve.iter().any(|&i| plan(i, &mut drawn));
        }
        let told: BTreeSet<String> = skipped.iter().map(|skip| skip.rule.clone()).collect();
        for &i in others.iter().filter(|&&i| fired && drawn[i].is_none() && !told.contains(rules[i].name())) {
            skipped.push(Skipped { rule: rules[i].name().into(), why: "not_drawn".into(), refused: false });
        }
        Parameters { severity, rules: drawn.into_iter().flatten().collect(), skipped }
    }
}

/// One neighbour that is looked for: which parent, which variant, and its draws so far.
struct Item<'a> {
    parent: &'a Parent,
    variant: usize,
    draws: BTreeMap<usize, Parameters>,
}

impl Synchronized {
    fn seeds(&self, item: &Item<'_>, draw: usize, context: &GenerateContext<'_>) -> SeedTree {
        context.seeds.sample(&item.parent.sample.id).variant(item.variant).child(format!("draw {draw}"))
    }

    fn drawn(&self, item: &Item<'_>, draw: usize, context: &GenerateContext<'_>) -> Parameters {
        let class_name = item.parent.sample.label.as_ref().map(|label| context.classes.name(label.class()));
        self.draw(&item.parent.sample, Circumstance { class_name }, &self.seeds(item, draw, context))
    }

    /// Makes the child of one trial.
    fn make(&self, item: &Item<'_>, trial: &Trial, severity: f64) -> Made {
        let Some(drawn) = item.draws.get(&trial.draw) else { return Made::Unchanged };
        if drawn.rules.is_empty() {
            let refused: BTreeSet<&str> = drawn.skipped.iter().filter(|skip| skip.refused).map(|skip| skip.why.as_str()).collect();
            return if refused.is_empty() { Made::Unchanged } else { Made::Refused(Vec::from_iter(refused).join(", ")) };
        }
        match (Parameters { severity, ..drawn.clone() }).apply(&item.parent.sample) {
            Ok(Some(child)) => Made::Child(child),
            Ok(None) => Made::Unchanged,
            Err(why) => Made::Refused(why),
        }
    }

    fn candidate(&self, item: &Item<'_>, draw: usize, severity: f64, child: Sample, context: &GenerateContext<'_>) -> Result<Candidate> {
        let drawn = item.draws.get(&draw).cloned().ok_or_else(|| Error::internal("a child of a draw that was never made"))?;
        let parameters = serde_json::to_value(Parameters { severity, ..drawn }).map_err(|error| Error::internal(error.to_string()))?;
        let seeds = self.seeds(item, draw, context);
        let draft = Draft {
            child,
            partners: Vec::new(),
            variant: item.variant,
            seeds: &seeds,
            parameters,
            claims: vec![Claim::LabelKept],
            uses_model: false,
        };
        Ok(context.candidate(item.parent, draft))
    }

    /// What one neighbour came to.
    fn without_band(&self, item: &mut Item<'_>, context: &GenerateContext<'_>) -> Result<(Option<Candidate>, Outcome)> {
        let drawn = self.drawn(item, 0, context);
        item.draws.insert(0, drawn);
        let share = self.seeds(item, 0, context).child("severity").rng().random_range(0.0..=1.0);
        let severity = self.severity_range.at(share);
        Ok(match self.make(item, &Trial { item: 0, draw: 0, magnitude: share }, severity) {
            Made::Child(child) => (Some(self.candidate(item, 0, severity, codec::settle(child)?, context)?), Outcome::Made),
            Made::Unchanged => (None, Outcome::NoOp),
            Made::Refused(why) => (None, Outcome::Refused(why)),
        })
    }
}

/// The outcome of an attempt from those of its variants.
fn join(outcomes: &[Outcome]) -> Outcome {
    let mut met: Option<(f32, f32)> = None;
    let mut refused = BTreeSet::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Made => return Outcome::Made,
            Outcome::NoOp => {}
            Outcome::Refused(why) => refused.extend(why.split(", ").map(str::to_owned)),
            Outcome::NotReached { least, greatest } => {
                let (low, high) = met.unwrap_or((*least, *greatest));
                met = Some((low.min(*least), high.max(*greatest)));
            }
        }
    }
    match met {
        Some((least, greatest)) => Outcome::NotReached { least, greatest },
        None if refused.is_empty() => Outcome::NoOp,
        None => Outcome::Refused(Vec::from_iter(refused).join(", ")),
    }
}

impl Generator for Synchronized {
    fn modalities(&self) -> ModalitySet {
        ModalitySet::ALL
    }

    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::AudioDegraded, ReasonCode::ImageDegraded, ReasonCode::ModalityMissing, ReasonCode::RareClass]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        // A loss needs a label; without a band none is measured.
        let usable = |parent: &Parent| context.band.is_none() || parent.sample.label.is_some();
        let mut items: Vec<Item<'_>> = parents
            .iter()
            .filter(|parent| usable(parent))
            .flat_map(|parent| (0..self.variants).map(move |variant| Item { parent, variant, draws: BTreeMap::new() }))
            .collect();
        let found: Vec<(Option<Candidate>, Outcome)> = match context.band {
            None => items.par_iter_mut().map(|item| self.without_band(item, context)).collect::<Result<_>>()?,
            Some(band) => {
                let targets: Vec<Target> = items.iter().filter_map(|item| item.parent.sample.label.clone()).collect();
                let search = BandSearch { path: Path::Monotone { draws: self.search.tries }, tries: self.search.tries, variants: 1 };
                let found = search.run(&*context.models.subject, &targets, Some(band), &[], |trials| {
                    let new: Vec<Option<Parameters>> = trials
                        .par_iter()
                        .map(|trial| {
                            let item = &items[trial.item];
                            (!item.draws.contains_key(&trial.draw)).then(|| self.drawn(item, trial.draw, context))
                        })
                        .collect();
                    let mut repeated = Vec::with_capacity(trials.len());
                    for (trial, new) in trials.iter().zip(new) {
                        let draws = &mut items[trial.item].draws;
                        // Where nothing scales, a smaller magnitude or the same draw once more is the same child.
                        let known = match &new {
                            Some(new) => !new.rules.iter().any(Drawn::scales) && draws.values().any(|own| own.rules == new.rules),
                            None => draws.get(&trial.draw).is_some_and(|own| !own.rules.iter().any(Drawn::scales)),
                        };
                        repeated.push(known);
                        if let Some(new) = new {
                            draws.insert(trial.draw, new);
                        }
                    }
                    let make = |(trial, repeated): (&Trial, &bool)| {
                        let item = &items[trial.item];
                        if *repeated && item.draws.get(&trial.draw).is_some_and(|own| !own.rules.is_empty()) {
                            return Made::Refused("same_again".into());
                        }
                        self.make(item, trial, self.severity_range.at(trial.magnitude))
                    };
                    Ok(trials.par_iter().zip(&repeated).map(make).collect())
                })?;
                let candidate = |(item, found): (&Item<'_>, super::search::Found)| {
                    let hit = found.hits.into_iter().next();
                    let made = hit.map(|hit| self.candidate(item, hit.draw, self.severity_range.at(hit.magnitude), hit.child, context));
                    Ok((made.transpose()?, found.outcome))
                };
                items.iter().zip(found).map(candidate).collect::<Result<_>>()?
            }
        };
        let mut generated = Generated::default();
        let mut found = found.into_iter();
        for parent in parents {
            if !usable(parent) {
                generated.outcomes.push((parent.sample.id.clone(), Outcome::Refused("no_label".into())));
                continue;
            }
            let (candidates, outcomes): (Vec<_>, Vec<_>) = found.by_ref().take(self.variants).unzip();
            generated.candidates.extend(candidates.into_iter().flatten());
            generated.outcomes.push((parent.sample.id.clone(), join(&outcomes)));
        }
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        let recorded =
            Parameters::deserialize(parameters).map_err(|error| Error::data(format!("the recorded parameters do not read: {error}")))?;
        let parent = context.parents.first().ok_or_else(|| Error::data("the lineage names no parent"))?;
        let made = recorded.apply(parent).map_err(|why| Error::data(format!("a rule that fired refuses now: {why}")))?;
        made.ok_or_else(|| Error::data("the recorded parameters change nothing of this parent: its media differ from those of the lineage"))
    }
}

#[cfg(test)]
mod tests;
