//! Latent perturbation: neighbours made in the model's latent space and decoded to image files.

use super::{
    Generated, Generator, Outcome,
    search::{BandSearch, Made, Path, Trial},
};
use crate::{
    context::{Draft, EmbeddingIndex, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{self, Input, Matrix, Pixels, Target},
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{Claim, ImageBuffer, Judgement, Media, Modality, ModalitySet, ReasonCode, Sample},
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How the latent moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatentKind {
    /// `h + radius N(0, diag of the class variance)`.
    Gaussian,
    /// `h + radius (h_j - h)` toward a hard neighbour j of the same class.
    #[default]
    Interpolate,
}

/// Moves a sample in the model's latent space and decodes the result to an image, searched to the difficulty band.
///
/// Method: the image is encoded to h; h moves by a Gaussian draw scaled with the standard deviation of its class in each dimension, or toward one of the
/// nearest (cosine) samples of its class that passed the guard and are near the boundary (any that passed the guard, if none is). The magnitude in 0..=1 of
/// the move is bisected until the loss of the written child lies in the band; a draw that cannot reach it gives way to another. With `residual` the
/// child is `clamp(parent + decode(h') - decode(h))`, which keeps what the decoder loses; without, it is `decode(h')`. The other modalities stay.
///
/// Reference: Cheung and Yeung 2021, "MODALS: Modality-agnostic Automated Data Augmentation in the Latent Space"; Chawla et al. 2002, "SMOTE".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Latent {
    /// How the latent moves.
    pub kind: LatentKind,
    /// Whose latent moves: `image`, the one that decodes to a file.
    pub modality: Modality,
    /// Size of the move at magnitude 1, greater than 0: in standard deviations of the class (`gaussian`, up to 10), or the share of the way to the neighbour
    /// (`interpolate`, up to 1).
    pub radius: f64,
    /// From how many nearest neighbours one is drawn, 1..=1000 (`interpolate`).
    pub neighbours: usize,
    /// Adds the decoded change to the parent's pixels instead of replacing them.
    pub residual: bool,
    /// Directions or neighbours that are tried one after another, 1..=64.
    pub draws: usize,
    /// Forward passes of the search, 1..=64.
    pub tries: usize,
    /// Children of one attempt, 1..=16: the first that is verified is fed.
    pub variants: usize,
}

impl Default for Latent {
    fn default() -> Self {
        Self {
            kind: LatentKind::Interpolate,
            modality: Modality::Image,
            radius: 0.5,
            neighbours: 5,
            residual: true,
            draws: 4,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for Latent {
    const NAME: &'static str = "latent";
    const EXAMPLE: &'static str = "{ kind: interpolate, radius: 0.5 }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.modality != Modality::Image {
            let message = format!("expected `image`, the only modality whose latent decodes to a file, found `{}`", self.modality);
            problems.push(Problem::new("modality", message));
        }
        let most = if self.kind == LatentKind::Gaussian { 10.0 } else { 1.0 };
        if !(self.radius > 0.0 && self.radius <= most) {
            problems.push(Problem::new("radius", format!("expected more than 0 and at most {most}, found {}", self.radius)));
        }
        let between =
            [("neighbours", self.neighbours, 1000), ("draws", self.draws, 64), ("tries", self.tries, 64), ("variants", self.variants, 16)];
        for (field, found, most) in between {
            if !(1..=most).contains(&found) {
                problems.push(Problem::new(field, format!("expected a whole number in 1..={most}, found {found}")));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// What a lineage keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moved {
    kind: LatentKind,
    modality: Modality,
    magnitude: f64,
    residual: bool,
    /// `interpolate`: the share of the way to the partner at magnitude 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    radius: Option<f64>,
    /// `gaussian`: the drawn move at magnitude 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direction: Option<Vec<f32>>,
}

/// A direction with where it comes from.
struct Drawn {
    direction: Vec<f32>,
    partner: Option<Sample>,
}

/// What is needed of one parent while its magnitude is searched.
struct Place<'a> {
    parent: &'a Parent,
    image: &'a Media<ImageBuffer>,
    class: usize,
    seeds: SeedTree,
}

const IMAGE: Modality = Modality::Image;

impl Latent {
    /// The rows that a parent may move toward: same class, other group, judged valuable; those near the boundary if there is one.
    fn neighbours(&self, place: &Place<'_>, index: &EmbeddingIndex, context: &GenerateContext<'_>) -> Vec<usize> {
        let rows = context.table.rows();
        let embedding = |row: usize| index.train.get(row).and_then(|of| of.image.as_deref());
        let (Some(own), Some(own_row)) = (embedding(place.parent.row), rows.get(place.parent.row)) else { return Vec::new() };
        let valuable = |row: &usize| context.diagnoses.get(*row).is_none_or(|d| d.judgement == Judgement::Valuable);
        let mut able: Vec<usize> = (0..rows.len())
            .filter(|&row| row != place.parent.row && rows[row].class == Some(place.class) && rows[row].group != own_row.group)
            .filter(|row| embedding(*row).is_some())
            .filter(valuable)
            .collect();
        let hard = |row: &usize| context.diagnoses.get(*row).is_some_and(|d| d.has(ReasonCode::NearBoundary));
        if able.iter().any(hard) {
            able.retain(hard);
        }
        let mut ranked: Vec<(f64, usize)> = able.into_iter().filter_map(|row| Some((cosine_distance(own, embedding(row)?), row))).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| rows[a.1].id.cmp(&rows[b.1].id)));
        ranked.truncate(self.neighbours);
        ranked.into_iter().map(|(_, row)| row).collect()
    }

    /// The draws of some places; `None` where there is no neighbour.
    fn draw(
        &self,
        wanted: &[(&Place<'_>, &[f32], usize)],
        spread: &BTreeMap<usize, Vec<f64>>,
        space: &dyn model::Latent,
        index: &EmbeddingIndex,
        context: &GenerateContext<'_>,
    ) -> Result<Vec<Option<Drawn>>> {
        match self.kind {
            LatentKind::Gaussian => {
                let draw = |(place, h, draw): &(&Place<'_>, &[f32], usize)| {
                    let deviations = spread.get(&place.class).filter(|s| s.len() == h.len()).ok_or_else(|| {
                        Error::model(format!(
                            "image latents have {} dimensions, and embeddings of class {} another number",
                            h.len(),
                            place.class
                        ))
                    })?;
                    let mut rng = place.seeds.variant(*draw).rng();
                    let one = |s: &f64| {
                        let n: f64 = StandardNormal.sample(&mut rng);
                        (self.radius * s * n) as f32
                    };
                    Ok(Some(Drawn { direction: deviations.iter().map(one).collect(), partner: None }))
                };
                wanted.iter().map(draw).collect()
            }
            LatentKind::Interpolate => {
                let partner = |(place, _, draw): &(&Place<'_>, &[f32], usize)| {
                    let near = self.neighbours(place, index, context);
                    if near.is_empty() {
                        return Ok(None);
                    }
                    let row = near[place.seeds.variant(*draw).rng().random_range(0..near.len())];
                    let sample = context.fetch.fetch(&context.table.rows()[row].id)?;
                    Ok(sample.image.is_some().then_some(sample))
                };
                let partners: Vec<Option<Sample>> = wanted.iter().map(partner).collect::<Result<_>>()?;
                let inputs: Vec<Input> = partners.iter().flatten().map(input).collect();
                let encoded = encode(space, &inputs)?;
                let mut next = 0;
                let drawn = partners.into_iter().zip(wanted).map(|(partner, (_, h, _))| {
                    let partner = partner?;
                    next += 1;
                    Some(Drawn { direction: toward(h, encoded.row(next - 1), self.radius), partner: Some(partner) })
                });
                Ok(drawn.collect())
            }
        }
    }
}

/// Standard deviation of each dimension of the embeddings of a class (population; of all classes where it has fewer than two members).
fn spread(class: usize, index: &EmbeddingIndex, context: &GenerateContext<'_>) -> Vec<f64> {
    let of = |keep: &dyn Fn(usize) -> bool| -> Vec<&[f32]> {
        let valuable = |row: usize| context.diagnoses.get(row).is_none_or(|d| d.judgement == Judgement::Valuable);
        let rows = index.train.iter().enumerate().filter(|(row, _)| keep(*row) && valuable(*row));
        rows.filter_map(|(_, of)| of.image.as_deref()).collect()
    };
    let mut members = of(&|row| context.table.rows().get(row).is_some_and(|r| r.class == Some(class)));
    if members.len() < 2 {
        members = of(&|_| true);
    }
    let (n, dimensions) = (members.len().max(1) as f64, members.first().map_or(0, |m| m.len()));
    let deviation = |d: usize| {
        let mean = members.iter().map(|m| f64::from(m[d])).sum::<f64>() / n;
        (members.iter().map(|m| (f64::from(m[d]) - mean).powi(2)).sum::<f64>() / n).sqrt()
    };
    (0..dimensions).map(deviation).collect()
}

fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}

fn input(sample: &Sample) -> Input {
    Input::of(&sample.only(ModalitySet::one(IMAGE)))
}

fn encode(space: &dyn model::Latent, inputs: &[Input]) -> Result<Matrix> {
    if inputs.is_empty() { Ok(Matrix::default()) } else { space.encode(IMAGE, inputs) }
}

fn toward(h: &[f32], partner: &[f32], radius: f64) -> Vec<f32> {
    h.iter().zip(partner).map(|(h, p)| (radius * (f64::from(*p) - f64::from(*h))) as f32).collect()
}

fn moved(h: &[f32], direction: &[f32], magnitude: f64) -> impl Iterator<Item = f32> {
    h.iter().zip(direction).map(move |(h, d)| (f64::from(*h) + magnitude * f64::from(*d)) as f32)
}

/// The child's image: the decoded change on top of the parent's pixels, or the decoded image where `before` is `None`.
fn rendered(parent: &ImageBuffer, before: Option<&Pixels>, after: &Pixels) -> Result<ImageBuffer> {
    let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
    let pixels: Vec<u8> = match before {
        Some(before) => {
            let change = after.values.iter().zip(&before.values).map(|(a, b)| a - b);
            parent.pixels().iter().zip(change).map(|(p, d)| byte(f32::from(*p) / 255.0 + d)).collect()
        }
        None => after.values.iter().map(|v| byte(*v)).collect(),
    };
    ImageBuffer::new(parent.width(), parent.height(), parent.channels(), pixels)
        .map_err(|message| Error::model(format!("the decoder gave another size than asked for: {message}")))
}

impl Generator for Latent {
    fn requirements(&self) -> Requirements {
        let image = ModalitySet::one(IMAGE);
        Requirements { decodes: image, embeddings: image, embedding_index: true, ..Requirements::default() }
    }
    fn modalities(&self) -> ModalitySet {
        ModalitySet::one(self.modality)
    }
    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::NearBoundary, ReasonCode::RareClass]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let subject = context.models.subject.as_ref();
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(parents.len());
        let mut places = Vec::new();
        for parent in parents {
            let seeds = context.seeds.sample(&parent.sample.id);
            outcomes.push(match (&parent.sample.image, &parent.sample.label) {
                (None, _) => Some(Outcome::Refused("no_image".into())),
                (_, None) => Some(Outcome::Refused("no_label".into())),
                (Some(image), Some(label)) => {
                    places.push(Place { parent, image, class: label.class(), seeds });
                    None
                }
            });
        }
        let mut generated = Generated::default();
        let mut found = Vec::new();
        let mut draws: BTreeMap<(usize, usize), Option<Drawn>> = BTreeMap::new();
        if !places.is_empty() {
            let space = subject.latent().ok_or_else(|| Error::usage("`latent` needs a model with a latent space and an image decoder"))?;
            let index = context.index.ok_or_else(|| Error::usage("`latent` needs the embedding index of the round"))?;
            let spreads: BTreeMap<usize, Vec<f64>> = match self.kind {
                LatentKind::Interpolate => BTreeMap::new(),
                LatentKind::Gaussian => {
                    let classes: BTreeSet<usize> = places.iter().map(|place| place.class).collect();
                    classes.into_iter().map(|class| (class, spread(class, index, context))).collect()
                }
            };
            let inputs: Vec<Input> = places.iter().map(|place| input(&place.parent.sample)).collect();
            let latents = encode(space, &inputs)?;
            let like: Vec<Arc<Pixels>> = inputs.iter().filter_map(|input| input.image.clone()).collect();
            let before = if self.residual { space.decode_image(&latents, &like)? } else { Vec::new() };
            let targets: Vec<Target> = places.iter().filter_map(|place| place.parent.sample.label.clone()).collect();
            let search = BandSearch { path: Path::Monotone { draws: self.draws }, tries: self.tries, variants: self.variants };
            found = search.run(subject, &targets, context.band, &[], |trials| {
                let new: Vec<&Trial> = trials.iter().filter(|t| !draws.contains_key(&(t.item, t.draw))).collect();
                let wanted: Vec<_> = new.iter().map(|t| (&places[t.item], latents.row(t.item), t.draw)).collect();
                let drawn = self.draw(&wanted, &spreads, space, index, context)?;
                draws.extend(new.iter().map(|t| (t.item, t.draw)).zip(drawn));
                let mut rows = Matrix { columns: latents.columns, values: Vec::new() };
                let mut shapes = Vec::new();
                for trial in trials {
                    if let Some(Some(drawn)) = draws.get(&(trial.item, trial.draw)) {
                        rows.values.extend(moved(latents.row(trial.item), &drawn.direction, trial.magnitude));
                        shapes.push(like[trial.item].clone());
                    }
                }
                let mut decoded = if shapes.is_empty() { Vec::new() } else { space.decode_image(&rows, &shapes)? }.into_iter();
                let make = |trial: &Trial| {
                    let place = &places[trial.item];
                    let Some(Some(_)) = draws.get(&(trial.item, trial.draw)) else { return Ok(Made::Refused("no_neighbour".into())) };
                    let after = decoded.next().ok_or_else(|| Error::model("the decoder gave fewer images than it was given latents"))?;
                    let image = rendered(place.image.get(), before.get(trial.item), &after)?;
                    if &image == place.image.get() {
                        return Ok(Made::Unchanged);
                    }
                    Ok(Made::Child(Sample { image: Some(Media::new(image)), ..place.parent.sample.clone() }))
                };
                trials.iter().map(make).collect()
            })?;
        }
        for (item, (place, found)) in places.iter().zip(found).enumerate() {
            for (variant, hit) in found.hits.into_iter().enumerate() {
                let Some(Some(drawn)) = draws.get(&(item, hit.draw)) else {
                    return Err(Error::internal("a child was made without a draw").at("sample", &place.parent.sample.id));
                };
                let interpolates = self.kind == LatentKind::Interpolate;
                let record = Moved {
                    kind: self.kind,
                    modality: self.modality,
                    magnitude: hit.magnitude,
                    residual: self.residual,
                    radius: interpolates.then_some(self.radius),
                    direction: (!interpolates).then(|| drawn.direction.clone()),
                };
                let draft = Draft {
                    child: hit.child,
                    partners: drawn.partner.iter().collect(),
                    variant,
                    seeds: &place.seeds.variant(hit.draw),
                    parameters: serde_json::to_value(&record).map_err(|e| Error::internal(e.to_string()))?,
                    claims: vec![Claim::LabelKept],
                    uses_model: true,
                };
                generated.candidates.push(context.candidate(place.parent, draft));
            }
            if let Some(open) = outcomes.iter_mut().find(|outcome| outcome.is_none()) {
                *open = Some(found.outcome);
            }
        }
        let of_parents = parents.iter().zip(outcomes);
        generated.outcomes = of_parents.map(|(parent, outcome)| (parent.sample.id.clone(), outcome.unwrap_or(Outcome::NoOp))).collect();
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        let record: Moved = serde_json::from_value(parameters.clone())
            .map_err(|error| Error::data(format!("the parameters in the lineage are not those of `latent`: {error}")))?;
        let parent = context.parents.first().ok_or_else(|| Error::usage("a replay of `latent` needs the parent"))?;
        let models = context.models.ok_or_else(|| Error::usage("a replay of `latent` needs the model that made the child"))?;
        let space = models.subject.latent().ok_or_else(|| Error::usage("the model of the lineage has no latent space"))?;
        let image = parent.image.as_ref().ok_or_else(|| Error::data("the parent has no image").at("sample", &parent.id))?;
        let h = encode(space, &[input(parent)])?;
        let direction = match (record.kind, record.direction, record.radius, context.parents.get(1)) {
            (LatentKind::Gaussian, Some(direction), _, _) => direction,
            (LatentKind::Interpolate, _, Some(radius), Some(partner)) => toward(h.row(0), encode(space, &[input(partner)])?.row(0), radius),
            _ => return Err(Error::data("the lineage of `latent` lacks the direction or the partner").at("sample", &parent.id)),
        };
        if direction.len() != h.columns {
            return Err(
                Error::data("the recorded direction has another number of dimensions than the model's latent").at("sample", &parent.id)
            );
        }
        let like = [Arc::new(Pixels::from(image.get()))];
        let before = if record.residual { space.decode_image(&h, &like)? } else { Vec::new() };
        let row = Matrix { columns: h.columns, values: moved(h.row(0), &direction, record.magnitude).collect() };
        let after = space.decode_image(&row, &like)?;
        let after = after.first().ok_or_else(|| Error::model("the decoder gave no image"))?;
        Ok(Sample { image: Some(Media::new(rendered(image.get(), before.first(), after)?)), ..parent.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generate::fixture::World, sample::DifficultyBand};
    use serde_json::json;

    fn pixels(sample: &Sample) -> Vec<f64> {
        sample.image.as_ref().unwrap().get().pixels().iter().map(|p| f64::from(*p)).collect()
    }

    #[test]
    fn all_kinds_keep_the_promises() {
        let mut made = 0;
        for kind in [LatentKind::Gaussian, LatentKind::Interpolate] {
            for residual in [true, false] {
                let mut world = World { band: Some(DifficultyBand { low: 0.1, high: 1.5 }), ..World::new() };
                let radius = if kind == LatentKind::Gaussian { 4.0 } else { 1.0 };
                let all = world.keeps_the_promises(&Latent { kind, residual, radius, variants: 2, ..Latent::default() });
                made += all.candidates.len();
                for candidate in &all.candidates {
                    let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
                    let same = |m| parent.digest(m) == candidate.sample.digest(m);
                    assert!(!same(Modality::Image) && same(Modality::Audio) && same(Modality::Text));
                    assert_eq!(candidate.lineage.claims, [Claim::LabelKept]);
                    assert_eq!(candidate.lineage.parents.len(), if kind == LatentKind::Gaussian { 1 } else { 2 });
                }
            }
        }
        assert!(made >= 8, "{made}");
    }

    #[test]
    fn interpolation_goes_the_stated_share_toward_a_hard_neighbour_of_the_class() {
        let mut world = World { band: None, ..World::new() };
        let class = |s: &Sample| s.label.as_ref().map(crate::sample::Label::class);
        let of = |wanted| (0..12).filter(|&i| class(&world.samples[i]) == Some(wanted)).collect::<Vec<_>>();
        let rows = (0..3).map(of).find(|rows| rows.len() > 3).unwrap();
        world.give_reason(rows[2], ReasonCode::NearBoundary, None);
        world.give_reason(rows[3], ReasonCode::NearBoundary, None);
        world.diagnoses[rows[3]].judgement = Judgement::SuspectLabel;
        // Latents of the linear model are its raw pixels, so that the child is known.
        let generated = world.generate(&Latent { radius: 0.5, ..Latent::default() }, &[world.parent(rows[0])]);
        let [candidate] = &generated.candidates[..] else { panic!("{:?}", generated.outcomes) };
        assert_eq!(candidate.lineage.parents[1].id, world.samples[rows[2]].id);
        let (own, partner) = (pixels(&world.samples[rows[0]]), pixels(&world.samples[rows[2]]));
        for ((child, own), partner) in pixels(&candidate.sample).iter().zip(own).zip(partner) {
            assert!((child - 0.5 * (own + partner)).abs() <= 0.51);
        }
    }

    #[test]
    fn a_gaussian_move_follows_the_spread_of_the_class() {
        let world = World { band: None, ..World::new() };
        let generated = world.generate(&Latent { kind: LatentKind::Gaussian, radius: 1.0, ..Latent::default() }, &world.parents());
        assert_eq!(generated.candidates.len(), 12);
        // Over twelve samples of sixteen pixels the draws have the class's own scale: pixels spread by about 42 levels here.
        let square = |c: &crate::sample::Candidate| {
            let direction = c.lineage.parameters["direction"].as_array().unwrap();
            direction.iter().map(|d| d.as_f64().unwrap().powi(2)).sum::<f64>() / direction.len() as f64
        };
        let deviation = (generated.candidates.iter().map(square).sum::<f64>() / 12.0).sqrt() * 255.0;
        assert!((20.0..60.0).contains(&deviation), "{deviation}");
    }

    #[test]
    fn nobody_to_move_toward_is_told() {
        let mut world = World::new();
        world.diagnoses.iter_mut().for_each(|d| d.judgement = Judgement::Outlier);
        let outcomes = world.generate(&Latent::default(), &world.parents()).outcomes;
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Refused("no_neighbour".into())), "{outcomes:?}");
    }

    #[test]
    fn wrong_fields_are_problems() {
        let table = crate::generate::table();
        let paths = |config: Value| -> Vec<String> {
            table.build(&json!({ "latent": config })).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
        };
        assert!(paths(json!({})).is_empty() && paths(json!({ "kind": "gaussian", "radius": 3 })).is_empty());
        assert_eq!(paths(json!({ "radius": 3, "modality": "audio", "tries": 0 })), ["latent.modality", "latent.radius", "latent.tries"]);
    }
}
