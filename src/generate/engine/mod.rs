//! The engine under `augment` and `synchronized`: draw transforms, try them at the greatest severity, search one severity for all of them, record, replay.

mod choice;
mod parameters;
pub(super) mod partners;
mod worst;

pub use choice::{Chosen, Node, TRANSFORM, TRANSFORMS, nodes, one, resolved, rules_schema, transforms_schema, with_transforms};
pub use parameters::{Parameters, Skipped, Step};
pub use worst::WorstOf;

use super::{
    Applied, Generated, Generator, Outcome,
    search::{BandSearch, Found, Made, Path, Trial},
};
use crate::{
    augment::image::Tone,
    codec,
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::Target,
    operator::Table,
    random::SeedTree,
    record::TransformBalance,
    sample::{Candidate, Claim, ModalitySet, ReasonCode, Sample, SampleId},
    transform::{Plan, Scene, Site, Transform},
    units::Range,
};
use rand::{RngExt, seq::SliceRandom};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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

/// In which order chosen transforms are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// In that of the list.
    #[default]
    Listed,
    /// In a drawn one.
    Shuffled,
}

/// Transforms with the way they are drawn: a generator.
pub struct Policy {
    /// What is chosen from.
    pub nodes: Vec<Node>,
    /// How many of them fire for each neighbour; `None` for all that take part.
    pub pick: Option<usize>,
    /// The order of application.
    pub order: Order,
    /// Least and greatest severity.
    pub severity_range: Range,
    /// Neighbours wanted of each parent.
    pub variants: usize,
    /// How the severity is searched.
    pub search: Search,
    /// Reasons it serves.
    pub cures: &'static [ReasonCode],
    /// Whether the record also names what was not drawn.
    pub names_undrawn: bool,
}

/// The problems of what every policy is written with.
pub fn problems(severity_range: Range, variants: usize, search: Search) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, value) in [("variants", variants), ("search.tries", search.tries)] {
        if !(1..=64).contains(&value) {
            problems.push(Problem::new(path, format!("expected a number in 1..=64, found {value}")));
        }
    }
    let (low, high) = (severity_range.low(), severity_range.high());
    if low < 0.0 || high > 1.0 || high == 0.0 {
        let message = format!("expected severities within 0..=1, the greatest above 0, found [{low}, {high}]");
        problems.push(Problem::new("severity_range", message));
    }
    problems
}

/// The transforms of an operator that draws some of a list, and how many (`pick`); or all problems, those of its other fields (`problems`) first. `example` is what an
/// empty list is told to hold.
pub fn listed(
    transforms: &[Value],
    pick: Option<usize>,
    table: &Table<dyn Generator>,
    example: &str,
    mut problems: Vec<Problem>,
) -> Result<Vec<Node>, Vec<Problem>> {
    if transforms.is_empty() {
        problems.push(Problem::new("transforms", format!("expected at least one transform, such as `- {example}`")));
    }
    let most = transforms.len().max(1);
    if let Some(pick) = pick.filter(|pick| !(1..=most).contains(pick)) {
        problems.push(Problem::new("pick", format!("expected a number in 1..={most}, found {pick}")));
    }
    match with_transforms(table, |table| nodes(transforms, table, "transforms")) {
        Ok(nodes) => {
            problems.extend(silent(&nodes, "transforms"));
            if problems.is_empty() { Ok(nodes) } else { Err(problems) }
        }
        Err(found) => Err(problems.into_iter().chain(found).collect()),
    }
}

/// The problem of a list in `field` of which nothing can ever fire.
pub fn silent(nodes: &[Node], field: &str) -> Option<Problem> {
    let never = !nodes.is_empty() && !nodes.iter().any(Node::may_fire);
    never.then(|| Problem::new(field, "expected at least one with a probability above 0; these never fire"))
}

/// One draw with what it needs to be applied.
#[derive(Debug, Clone)]
struct Drawn {
    parameters: Parameters,
    /// Every partner once.
    partners: Vec<Sample>,
    scales: bool,
}

impl Policy {
    /// Every transform with its address: the name, with an ordinal from the second of a name on. Seeds and records hang on it.
    fn addressed(&self) -> Vec<(String, &Chosen)> {
        let mut met: BTreeMap<&str, usize> = BTreeMap::new();
        let all = self.nodes.iter().flat_map(Node::all);
        let address = |chosen: &Chosen, n: usize| if n == 1 { chosen.name().to_owned() } else { format!("{}#{n}", chosen.name()) };
        all.map(|chosen| {
            let n = met.entry(chosen.name()).or_default();
            *n += 1;
            (address(chosen, *n), chosen)
        })
        .collect()
    }

    fn find(&self, address: &str) -> Option<&Chosen> {
        self.addressed().into_iter().find(|(own, _)| own == address).map(|(_, chosen)| chosen)
    }

    /// Draws for one neighbour of `parent`; the severity of the answer is the greatest.
    fn draw(&self, parent: &Parent, context: &GenerateContext<'_>, seeds: &SeedTree) -> Result<Drawn> {
        let mut draft = Drafting {
            parent,
            context,
            seeds,
            scene: Scene::of(&parent.sample),
            severity: self.severity_range.high(),
            steps: BTreeMap::new(),
            skipped: Vec::new(),
            partners: Vec::new(),
            scales: false,
        };
        let addressed = self.addressed();
        let mut rest = addressed.as_slice();
        let nodes: Vec<&[(String, &Chosen)]> = self
            .nodes
            .iter()
            .map(|node| {
                let (own, others) = rest.split_at(node.all().len().min(rest.len()));
                rest = others;
                own
            })
            .collect();
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        if self.pick.is_some() {
            order.shuffle(&mut seeds.child("pick").rng());
        }
        let wanted = self.pick.unwrap_or(usize::MAX);
        let takes_part = |i: &usize| match (&self.nodes[*i], nodes[*i]) {
            (Node::One(_), [(address, chosen)]) => seeds.child(address).child("takes part").rng().random_bool(chosen.probability.get()),
            _ => true,
        };
        let (chosen, others): (Vec<usize>, Vec<usize>) = order.into_iter().partition(takes_part);
        for &i in &chosen {
            if draft.steps.len() < wanted {
                draft.node(i, &self.nodes[i], nodes[i])?;
            }
        }
        // A draw of which nothing is left takes the first other one that can act, in an order of its own; never one of probability 0.
        let mut reserve: Vec<usize> = others.iter().copied().filter(|&i| self.nodes[i].may_fire()).collect();
        if draft.steps.is_empty() && !reserve.is_empty() {
            let first = seeds.child("reserve").rng().random_range(0..reserve.len());
            reserve.rotate_left(first);
            for &i in &reserve {
                if draft.node(i, &self.nodes[i], nodes[i])? {
                    break;
                }
            }
        }
        let Drafting { steps, mut skipped, partners, scales, severity, .. } = draft;
        if self.names_undrawn && !steps.is_empty() {
            let told: BTreeSet<String> = skipped.iter().map(|skip| skip.rule.clone()).collect();
            for (address, _) in others.iter().filter(|i| !steps.contains_key(i)).flat_map(|&i| nodes[i]) {
                if !told.contains(address) {
                    skipped.push(Skipped { rule: address.clone(), why: "not_drawn".into(), refused: false });
                }
            }
        }
        let mut rules: Vec<Step> = steps.into_values().collect();
        if self.order == Order::Shuffled {
            rules.shuffle(&mut seeds.child("order").rng());
        }
        Ok(Drawn { parameters: Parameters { severity, rules, skipped }, partners, scales })
    }

    /// Makes the child of `parent`: `None` where it would be its parent, an error (`Err`) with the reason of a transform that refused. Media that changed are
    /// not encoded.
    fn apply(&self, parameters: &Parameters, parent: &Sample, partners: &[Sample]) -> Result<Option<Sample>, String> {
        let mut scene = Scene::of(parent);
        // Look-ups of colours in a row are joined: one pass over the picture, the same bytes.
        let mut tones: Vec<Tone> = Vec::new();
        for step in &parameters.rules {
            let chosen = self.find(&step.address).ok_or_else(|| format!("`{}` is no transform of this stage", step.address))?;
            if chosen.transform.version() != step.version {
                let (own, name) = (chosen.transform.version(), &step.address);
                return Err(format!("drawn by version {} of `{name}`, this build has {own}", step.version));
            }
            if let Some(tone) = chosen.transform.tone_of(&step.draw, parameters.severity) {
                tones.push(tone);
                continue;
            }
            if !tones.is_empty() {
                scene.tone(&std::mem::take(&mut tones));
            }
            let find = |id: &SampleId| partners.iter().find(|sample| sample.id == *id).cloned();
            let own: Option<Vec<Sample>> = step.partners.iter().map(find).collect();
            let own = own.ok_or("partner_missing")?;
            chosen.transform.perform(&step.draw, parameters.severity, &mut scene, &own)?;
        }
        if !tones.is_empty() {
            scene.tone(&tones);
        }
        let changed = scene.changed(parent);
        Ok((!changed.is_empty()).then(|| scene.into_sample(parent)))
    }

    /// What the steps claim: the label is kept, unless one of them says otherwise.
    fn claims(&self, parameters: &Parameters) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for step in &parameters.rules {
            let claim = self.find(&step.address).map_or(Claim::LabelKept, |chosen| chosen.transform.claim_of(&step.draw));
            if claim != Claim::LabelKept && !claims.contains(&claim) {
                claims.push(claim);
            }
        }
        if claims.is_empty() { vec![Claim::LabelKept] } else { claims }
    }
}

/// A draw that is being made.
struct Drafting<'a> {
    parent: &'a Parent,
    context: &'a GenerateContext<'a>,
    seeds: &'a SeedTree,
    scene: Scene,
    severity: f64,
    /// By place in the list.
    steps: BTreeMap<usize, Step>,
    skipped: Vec<Skipped>,
    partners: Vec<Sample>,
    scales: bool,
}

impl Drafting<'_> {
    /// Draws one place of the list; whether it fired.
    fn node(&mut self, at: usize, node: &Node, own: &[(String, &Chosen)]) -> Result<bool> {
        let first = match node {
            Node::One(_) => 0,
            Node::OneOf(_) => choice::weighted(own, &self.seeds.child(format!("one of {at}"))),
        };
        for (address, chosen) in own[first..].iter().chain(&own[..first]).filter(|(_, chosen)| chosen.may_fire()) {
            if self.one(at, address, chosen)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn one(&mut self, at: usize, address: &str, chosen: &Chosen) -> Result<bool> {
        let transform: &dyn Transform = &*chosen.transform;
        let seeds = self.seeds.child(address);
        let mut skip = |why: String, refused: bool| self.skipped.push(Skipped { rule: address.to_owned(), why, refused });
        let partners = match transform.wanted_partners() {
            // Nobody is fetched for a sample that has nothing to change.
            Some(wanted) if !self.parent.sample.present().and(transform.changes()).is_empty() => {
                match partners::draw(&wanted, self.parent, self.context, &seeds.child("partners"))? {
                    Some(partners) => partners,
                    None => {
                        skip("no_partner".into(), true);
                        return Ok(false);
                    }
                }
            }
            _ => Vec::new(),
        };
        let sample = &self.parent.sample;
        let classes = self.context.classes;
        let class_name = sample.label.as_ref().map(|label| classes.name(label.class()));
        let site = Site { sample, scene: &self.scene, class_name, classes, partners: &partners, seeds: &seeds };
        let draw = match transform.plan(&site, self.severity) {
            Plan::Fires(draws) => draws.into_iter().next(),
            Plan::NoOp(why) => {
                skip(why, false);
                None
            }
            Plan::Refused(why) => {
                skip(why, true);
                None
            }
        };
        let Some(draw) = draw else { return Ok(false) };
        let ids = partners.iter().map(|partner| partner.id.clone()).collect();
        self.steps.insert(at, Step { address: address.to_owned(), version: transform.version(), draw, partners: ids });
        for partner in partners {
            if self.partners.iter().all(|own| own.id != partner.id) {
                self.partners.push(partner);
            }
        }
        self.scales |= transform.scales();
        Ok(true)
    }
}

/// One neighbour that is looked for: which parent, which variant, and its draws so far.
struct Item<'a> {
    parent: &'a Parent,
    variant: usize,
    draws: BTreeMap<usize, Drawn>,
}

impl Policy {
    fn seeds(&self, item: &Item<'_>, draw: usize, context: &GenerateContext<'_>) -> SeedTree {
        context.seeds.sample(&item.parent.sample.id).variant(item.variant).child(format!("draw {draw}"))
    }

    fn drawn(&self, item: &Item<'_>, draw: usize, context: &GenerateContext<'_>) -> Result<Drawn> {
        self.draw(item.parent, context, &self.seeds(item, draw, context))
    }

    /// Makes the child of one trial.
    fn make(&self, item: &Item<'_>, trial: &Trial, severity: f64) -> Made {
        let Some(drawn) = item.draws.get(&trial.draw) else { return Made::Unchanged };
        if drawn.parameters.rules.is_empty() {
            let refused: BTreeSet<&str> =
                drawn.parameters.skipped.iter().filter(|skip| skip.refused).map(|skip| skip.why.as_str()).collect();
            return if refused.is_empty() { Made::Unchanged } else { Made::Refused(Vec::from_iter(refused).join(", ")) };
        }
        let parameters = Parameters { severity, ..drawn.parameters.clone() };
        match self.apply(&parameters, &item.parent.sample, &drawn.partners) {
            Ok(Some(child)) if self.claims(&parameters).iter().any(|claim| matches!(claim, Claim::Mismatched(_))) => Made::Negative(child),
            Ok(Some(child)) => Made::Child(child),
            Ok(None) => Made::Unchanged,
            Err(why) => Made::Refused(why),
        }
    }

    fn candidate(&self, item: &Item<'_>, draw: usize, severity: f64, child: Sample, context: &GenerateContext<'_>) -> Result<Candidate> {
        let drawn = item.draws.get(&draw).ok_or_else(|| Error::internal("a child of a draw that was never made"))?;
        let parameters = Parameters { severity, ..drawn.parameters.clone() };
        let seeds = self.seeds(item, draw, context);
        let draft = Draft {
            child,
            partners: drawn.partners.iter().collect(),
            variant: item.variant,
            seeds: &seeds,
            claims: self.claims(&parameters),
            parameters: serde_json::to_value(parameters).map_err(|error| Error::internal(error.to_string()))?,
            uses_model: false,
        };
        Ok(context.candidate(item.parent, draft))
    }

    /// What one neighbour came to.
    fn without_band(&self, item: &mut Item<'_>, context: &GenerateContext<'_>) -> Result<(Option<Candidate>, Outcome)> {
        let drawn = self.drawn(item, 0, context)?;
        item.draws.insert(0, drawn);
        let share = self.seeds(item, 0, context).child("severity").rng().random_range(0.0..=1.0);
        let severity = self.severity_range.at(share);
        Ok(match self.make(item, &Trial { item: 0, draw: 0, magnitude: share }, severity) {
            Made::Child(child) | Made::Negative(child) => {
                (Some(self.candidate(item, 0, severity, codec::settle(child)?, context)?), Outcome::Made)
            }
            Made::Unchanged => (None, Outcome::NoOp),
            Made::Refused(why) => (None, Outcome::Refused(why)),
        })
    }

    fn within_band(
        &self,
        items: &mut [Item<'_>],
        band: crate::sample::DifficultyBand,
        context: &GenerateContext<'_>,
    ) -> Result<Vec<(Option<Candidate>, Outcome)>> {
        let targets: Vec<Target> = items.iter().filter_map(|item| item.parent.sample.label.clone()).collect();
        let search = BandSearch { path: Path::Monotone { draws: self.search.tries }, tries: self.search.tries, variants: 1 };
        let found = search.run(&*context.models.subject, &targets, Some(band), &[], |trials| {
            let new: Vec<Option<Drawn>> = trials
                .par_iter()
                .map(|trial| {
                    let item = &items[trial.item];
                    (!item.draws.contains_key(&trial.draw)).then(|| self.drawn(item, trial.draw, context)).transpose()
                })
                .collect::<Result<_>>()?;
            let mut repeated = Vec::with_capacity(trials.len());
            for (trial, new) in trials.iter().zip(new) {
                let draws = &mut items[trial.item].draws;
                // Where nothing scales, a smaller magnitude or the same draw once more is the same child.
                let known = match &new {
                    Some(new) => !new.scales && draws.values().any(|own| own.parameters.rules == new.parameters.rules),
                    None => draws.get(&trial.draw).is_some_and(|own| !own.scales),
                };
                repeated.push(known);
                if let Some(new) = new {
                    draws.insert(trial.draw, new);
                }
            }
            let make = |(trial, repeated): (&Trial, &bool)| {
                let item = &items[trial.item];
                if *repeated && item.draws.get(&trial.draw).is_some_and(|own| !own.parameters.rules.is_empty()) {
                    return Made::Refused("same_again".into());
                }
                self.make(item, trial, self.severity_range.at(trial.magnitude))
            };
            Ok(trials.par_iter().zip(&repeated).map(make).collect())
        })?;
        let candidate = |(item, found): (&Item<'_>, Found)| {
            let hit = found.hits.into_iter().next();
            let made = hit.map(|hit| self.candidate(item, hit.draw, self.severity_range.at(hit.magnitude), hit.child, context));
            Ok((made.transpose()?, found.outcome))
        };
        items.iter().zip(found).map(candidate).collect()
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

impl Generator for Policy {
    fn modalities(&self) -> ModalitySet {
        self.nodes.iter().flat_map(Node::all).fold(ModalitySet::EMPTY, |all, chosen| all.or(chosen.transform.changes()))
    }

    fn cures(&self) -> &'static [ReasonCode] {
        self.cures
    }

    fn bind(&mut self, base: &std::path::Path) -> Vec<Problem> {
        choice::bind(&mut self.nodes, base)
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
            Some(band) => self.within_band(&mut items, band, context)?,
        };
        let mut generated = Generated::default();
        for drawn in items.iter().flat_map(|item| item.draws.values()) {
            drawn.parameters.count(&mut generated.transforms);
        }
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
        let (parent, partners) = context.parents.split_first().ok_or_else(|| Error::data("the lineage names no parent"))?;
        let made =
            self.apply(&recorded, parent, partners).map_err(|why| Error::data(format!("a transform that fired refuses now: {why}")))?;
        made.ok_or_else(|| Error::data("the recorded parameters change nothing of this parent: its media differ from those of the lineage"))
    }

    fn applied(&self, parameters: &Value) -> Option<Applied> {
        let parameters = Parameters::deserialize(parameters).ok()?;
        let magnitude = |step: &Step| self.find(&step.address)?.transform.magnitude_of(&step.draw, parameters.severity);
        let transforms = parameters.rules.iter().map(|step| (step.name().to_owned(), magnitude(step))).collect();
        Some(Applied { severity: parameters.severity, transforms })
    }
}

impl Parameters {
    /// Counts what became of each transform of one draw.
    fn count(&self, into: &mut BTreeMap<String, TransformBalance>) {
        for step in &self.rules {
            into.entry(step.name().to_owned()).or_default().fired += 1;
        }
        for skip in self.skipped.iter().filter(|skip| skip.why != "not_drawn") {
            let balance = into.entry(parameters::name(&skip.rule).to_owned()).or_default();
            let reasons = if skip.refused { &mut balance.refused } else { &mut balance.no_op };
            *reasons.entry(skip.why.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
