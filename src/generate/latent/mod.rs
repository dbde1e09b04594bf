//! Latent perturbation: neighbours made in the model's latent space and decoded to media.

mod adversarial;
mod boundary;
mod class_covariance;
mod decode;
mod delta;
mod extrapolate;
mod gaussian;
mod interpolate;
mod pool;
mod posterior;
mod resample;
mod scene;
mod smote;
mod statistics;
#[cfg(test)]
mod tests;

use super::{
    Generated, Generator, Outcome,
    search::{BandSearch, Made, Path, Trial},
};
use crate::{
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{Input, Target},
    operator::{Configure, Requirements, Table},
    sample::{Claim, Modality, ModalitySet, PerModality, ReasonCode, Sample, SampleId},
};
use decode::{Item, children};
use scene::{Draw, Moves, Place, Scene};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How the latent moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatentKind {
    /// `h + radius sd_y n`: normal noise with the standard deviation of the class in each dimension.
    Gaussian,
    /// `h + radius L n`, `L L' = 0.9 S_y + 0.1 tr(S_y) / D I`: normal noise with the covariance of the class.
    ClassCovariance,
    /// `h + radius (h_j - h)` toward another sample j (see `toward`).
    #[default]
    Interpolate,
    /// `h + radius (h - mu_y)`: away from the mean of the class.
    Extrapolate,
    /// `h + radius (h_a - h_b)`: by the difference of two samples of the class.
    Delta,
    /// `h + radius (h_a - mu_y)`: by the deviation of a drawn sample of the class.
    Resample,
    /// `h + radius u (h_j - h)`, u uniform in 0..1, toward a hard neighbour of the class, of samples at least half of whose 10 nearest are of other classes.
    Smote,
    /// Ascent of the loss in an L2 ball of `radius` times the median distance to the nearest neighbour in the class.
    Adversarial,
    /// `h + radius sigma(h) n`: another draw of the code of a variational autoencoder.
    Posterior,
}

/// What an interpolation goes toward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Toward {
    /// One of the nearest samples of the class that are near the boundary (of all that the guard trusts, where none is).
    #[default]
    HardNeighbour,
    /// One of the nearest samples of other classes, as far as the model still says the class.
    Boundary,
}

/// Moves a sample in the model's latent space and decodes the result to image, audio or the nearest caption, searched to the difficulty band.
///
/// Method: the listed modalities that the sample has are encoded to latents h, which move by one draw for all of them: the same partner, the same normal numbers, one
/// magnitude. Partners share no medium with the sample and are trusted by the guard; the nearest are those with the least cosine distance about the mean of the
/// class. A move is shrunk toward the sample until each latent's Mahalanobis distance to its class is inside the bound, or no larger than the sample's own:
/// the bound is the `manifold_quantile` of the **out-of-fold** distances of the class (mean and covariance `0.9 S + 0.1 tr(S) / D I` from four fifths of the groups, distances of the other
/// fifth); a class of fewer than 20 borrows the covariance within all classes. The magnitude in 0..=1 of the move is bisected until the loss of the written child lies in the band; a draw that
/// cannot reach it gives way to another. With `residual` the pixels become `clamp(parent + decode(h') - decode(h))` and the sound the parent's through the
/// filter that turns one decoded log-mel spectrogram into the other, which keeps what the decoder loses; without, both are `decode(h')`, the sound by Griffin and Lim's
/// algorithm from the parent's phase. A text becomes the caption of its class whose embedding is nearest to h'. The child claims for image and audio that its
/// embedding comes back to h' within the quantile of the round trips of 100 real samples; `in_distribution` checks it.
///
/// Reference: Cheung and Yeung 2021, "MODALS: Modality-agnostic Automated Data Augmentation in the Latent Space"; DeVries and Taylor 2017, "Dataset Augmentation in Feature Space"; Chawla
/// et al. 2002, "SMOTE"; Han et al. 2005, "Borderline-SMOTE"; Zhu et al. 2020, "FreeLB" (ascent in the latent); Kingma and Welling 2014 (posterior); Griffin and Lim 1984; Lee et al. 2018 (Mahalanobis distance).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Latent {
    /// How the latent moves.
    pub kind: LatentKind,
    /// What an interpolation goes toward (`interpolate`).
    pub toward: Toward,
    /// Whose latents move, together: `image`, `audio`, `text`, each at most once.
    pub modalities: Vec<Modality>,
    /// Size of the move at magnitude 1, greater than 0: the share of the way (`interpolate`, `smote`: up to 1), standard deviations or deviations of the class or
    /// the code, or spacings of the class (the others: up to 10).
    pub radius: f64,
    /// From how many nearest neighbours one is drawn, 1..=1000 (`interpolate`, `smote`).
    pub neighbours: usize,
    /// Gradient steps, 1..=20 (`adversarial`).
    pub steps: usize,
    /// Quantile of the out-of-fold Mahalanobis distances of a class that bounds its latents, 0.5..=1; `null` for no bound.
    pub manifold_quantile: Option<f64>,
    /// Adds the decoded change to the parent's media instead of replacing them.
    pub residual: bool,
    /// Moves that are tried one after another, 1..=64 (`extrapolate` has but one).
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
            toward: Toward::HardNeighbour,
            modalities: vec![Modality::Image],
            radius: 0.5,
            neighbours: 5,
            steps: 3,
            manifold_quantile: Some(0.99),
            residual: true,
            draws: 4,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for Latent {
    const NAME: &'static str = "latent";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ kind: interpolate, modalities: [image], radius: 0.5 }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let mut problems = Vec::new();
        let set: ModalitySet = self.modalities.iter().copied().collect();
        if set.is_empty() || set.len() != self.modalities.len() {
            let found: Vec<&str> = self.modalities.iter().map(|m| m.name()).collect();
            let message = format!("expected image, audio or text, each at most once, found [{}]", found.join(", "));
            problems.push(Problem::new("modalities", message));
        }
        let most = if matches!(self.kind, LatentKind::Interpolate | LatentKind::Smote) { 1.0 } else { 10.0 };
        if !(self.radius > 0.0 && self.radius <= most) {
            problems.push(Problem::new("radius", format!("expected more than 0 and at most {most}, found {}", self.radius)));
        }
        if self.toward == Toward::Boundary && self.kind != LatentKind::Interpolate {
            problems.push(Problem::new("toward", "only `kind: interpolate` goes toward anything"));
        }
        if let Some(found) = self.manifold_quantile.filter(|found| !(0.5..=1.0).contains(found)) {
            problems.push(Problem::new("manifold_quantile", format!("expected 0.5..=1 or null, found {found}")));
        }
        let between = [
            ("neighbours", self.neighbours, 1000),
            ("steps", self.steps, 20),
            ("draws", self.draws, 64),
            ("tries", self.tries, 64),
            ("variants", self.variants, 16),
        ];
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
    magnitude: f64,
    residual: bool,
    /// The move at magnitude 1 of each modality.
    moves: Moves,
    /// Whose caption the child has, if not the parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caption: Option<SampleId>,
}

impl Latent {
    fn set(&self) -> ModalitySet {
        self.modalities.iter().copied().collect()
    }
    fn goes_to_boundary(&self) -> bool {
        self.kind == LatentKind::Interpolate && self.toward == Toward::Boundary
    }
    fn quantile(&self) -> f64 {
        self.manifold_quantile.unwrap_or(0.99)
    }
}

/// What the trials of one call have drawn and fetched so far.
#[derive(Default)]
struct Drawings {
    draws: BTreeMap<(usize, usize), Draw>,
    /// The row whose caption a trial took, by place, draw and magnitude.
    captions: BTreeMap<(usize, usize, u64), usize>,
    fetched: BTreeMap<usize, Sample>,
}

impl Drawings {
    fn sample(&mut self, row: usize, context: &GenerateContext<'_>) -> Result<Sample> {
        if let Some(known) = self.fetched.get(&row) {
            return Ok(known.clone());
        }
        let sample = context.fetch.fetch(&context.table.rows()[row].id)?;
        self.fetched.insert(row, sample.clone());
        Ok(sample)
    }

    /// The children of some trials.
    fn make(&mut self, scene: &Scene<'_>, trials: &[Trial]) -> Result<Vec<Made>> {
        let new: Vec<(usize, usize)> = trials.iter().map(|t| (t.item, t.draw)).filter(|key| !self.draws.contains_key(key)).collect();
        self.draws.extend(new.iter().copied().zip(scene.draw(&new)?));
        let mut captions = Vec::with_capacity(trials.len());
        for trial in trials {
            let step = self.draws.get(&(trial.item, trial.draw)).and_then(|draw| draw.as_ref().ok()?.moves.text.as_ref());
            let row = scene
                .code(trial.item, Modality::Text)
                .zip(step)
                .and_then(|(h, step)| decode::nearest_caption(scene, trial.item, &scene::moved(h, step, trial.magnitude)));
            if let Some(row) = row {
                self.captions.insert((trial.item, trial.draw, trial.magnitude.to_bits()), row);
            }
            captions.push(row.map(|row| self.sample(row, scene.context)).transpose()?.and_then(|sample| sample.text));
        }
        let mut items = Vec::new();
        let mut of_trial = Vec::with_capacity(trials.len());
        for (trial, caption) in trials.iter().zip(captions) {
            of_trial.push(match self.draws.get(&(trial.item, trial.draw)) {
                Some(Ok(drawn)) => {
                    let codes = PerModality::from_fn(|m| scene.code(trial.item, m));
                    let parent = &scene.places[trial.item].parent.sample;
                    items.push(Item { parent, codes, moves: &drawn.moves, magnitude: trial.magnitude, caption });
                    None
                }
                Some(Err(why)) => Some((*why).to_owned()),
                None => return Err(Error::internal("a trial without a draw")),
            });
        }
        let mut made = children(scene.space, scene.config.residual, &items)?.into_iter();
        let one = |(trial, refused): (&Trial, Option<String>)| match refused {
            Some(why) => Ok(Made::Refused(why)),
            None => {
                let child = made.next().ok_or_else(|| Error::internal("fewer children than items"))?;
                let parent = &scene.places[trial.item].parent.sample;
                Ok(if same(parent, &child) { Made::Unchanged } else { Made::Child(child) })
            }
        };
        trials.iter().zip(of_trial).map(one).collect()
    }
}

/// Whether no medium changed.
fn same(parent: &Sample, child: &Sample) -> bool {
    let image = parent.image.as_ref().zip(child.image.as_ref()).is_none_or(|(a, b)| a.get() == b.get());
    let audio = parent.audio.as_ref().zip(child.audio.as_ref()).is_none_or(|(a, b)| a.get() == b.get());
    let text = parent.text.as_ref().zip(child.text.as_ref()).is_none_or(|(a, b)| a.get().content == b.get().content);
    image && audio && text
}

impl Generator for Latent {
    fn requirements(&self) -> Requirements {
        let set = self.set();
        let variational = if self.kind == LatentKind::Posterior { set } else { ModalitySet::EMPTY };
        Requirements {
            decodes: set.without(Modality::Text),
            embeddings: set,
            variational,
            embedding_index: true,
            ..Requirements::default()
        }
    }
    fn modalities(&self) -> ModalitySet {
        self.set()
    }
    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::NearBoundary, ReasonCode::RareClass]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let subject = context.models.subject.as_ref();
        let embedded = |parent: &Parent| {
            let of = context.index.and_then(|index| index.train.get(parent.row));
            self.set().and(parent.sample.present()).iter().filter(|m| of.is_none_or(|of| of[*m].is_some())).collect::<ModalitySet>()
        };
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(parents.len());
        let mut places = Vec::new();
        for parent in parents {
            let moved = embedded(parent);
            outcomes.push(match &parent.sample.label {
                _ if moved.is_empty() => Some(Outcome::Refused("no_medium_to_move".into())),
                None => Some(Outcome::Refused("no_label".into())),
                Some(label) => {
                    let (seeds, input) = (context.seeds.sample(&parent.sample.id), Input::of(&parent.sample));
                    places.push(Place { parent, class: label.class(), target: label.clone(), seeds, moved, input });
                    None
                }
            });
        }
        let mut generated = Generated::default();
        if !places.is_empty() {
            let space = subject.latent().ok_or_else(|| Error::usage("`latent` needs a model with a latent space"))?;
            let scene = Scene::new(self, space, context, places)?;
            let targets: Vec<Target> = scene.places.iter().map(|place| place.target.clone()).collect();
            let draws = if self.kind == LatentKind::Extrapolate { 1 } else { self.draws };
            let search = BandSearch { path: Path::Monotone { draws }, tries: self.tries, variants: self.variants };
            let mut drawings = Drawings::default();
            let found = search.run(subject, &targets, context.band, &[], |trials| drawings.make(&scene, trials))?;
            for (item, found) in found.into_iter().enumerate() {
                for (variant, hit) in found.hits.into_iter().enumerate() {
                    generated.candidates.push(self.candidate(&scene, &mut drawings, item, variant, hit.draw, hit.magnitude, hit.child)?);
                }
                if let Some(open) = outcomes.iter_mut().find(|outcome| outcome.is_none()) {
                    *open = Some(found.outcome);
                }
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
        let input = Input::of(parent);
        let mut codes: PerModality<Option<Vec<f32>>> = PerModality::default();
        for (modality, step) in record.moves.iter() {
            let Some(step) = step else { continue };
            if !input.present().has(modality) {
                return Err(Error::data(format!("the parent has no {modality}")).at("sample", &parent.id));
            }
            let h = space.encode(modality, &[input.only(ModalitySet::one(modality))])?;
            if h.columns != step.len() {
                let message = "the recorded move has another number of dimensions than the model's latent";
                return Err(Error::data(message).at("sample", &parent.id));
            }
            codes[modality] = Some(h.values);
        }
        let caption = match &record.caption {
            None => None,
            Some(id) => {
                let of = context.parents.iter().find(|sample| &sample.id == id).and_then(|sample| sample.text.clone());
                Some(of.ok_or_else(|| Error::data("the lineage names no sample with the caption").at("sample", &parent.id))?)
            }
        };
        let codes = PerModality::from_fn(|m| codes[m].as_deref());
        let item = Item { parent, codes, moves: &record.moves, magnitude: record.magnitude, caption };
        children(space, record.residual, &[item])?.pop().ok_or_else(|| Error::internal("no child was made"))
    }
}

impl Latent {
    #[expect(clippy::too_many_arguments, reason = "what a search found of one child")]
    fn candidate(
        &self,
        scene: &Scene<'_>,
        drawings: &mut Drawings,
        item: usize,
        variant: usize,
        draw: usize,
        magnitude: f64,
        child: Sample,
    ) -> Result<crate::sample::Candidate> {
        let (place, context) = (&scene.places[item], scene.context);
        let Some(Ok(drawn)) = drawings.draws.get(&(item, draw)).cloned() else {
            return Err(Error::internal("a child was made without a draw").at("sample", &place.parent.sample.id));
        };
        let caption = drawings.captions.get(&(item, draw, magnitude.to_bits())).copied();
        let mut partners = Vec::new();
        for row in drawn.partners.iter().copied().chain(caption.filter(|row| !drawn.partners.contains(row))) {
            partners.push(drawings.sample(row, context)?);
        }
        let mut claims = vec![Claim::LabelKept];
        for (modality, step) in drawn.moves.iter().filter(|(modality, _)| *modality != Modality::Text) {
            let (Some(step), Some(h)) = (step, scene.code(item, modality)) else { continue };
            let tolerance = decode::tolerance(scene, modality)?;
            if tolerance.is_finite() {
                claims.push(Claim::Decoded { modality, latent: scene::moved(h, step, magnitude), tolerance });
            }
        }
        let record = Moved {
            kind: self.kind,
            magnitude,
            residual: self.residual,
            moves: drawn.moves,
            caption: caption.map(|row| context.table.rows()[row].id.clone()),
        };
        let draft = Draft {
            child,
            partners: partners.iter().collect(),
            variant,
            seeds: &place.seeds.variant(draw),
            parameters: serde_json::to_value(&record).map_err(|e| Error::internal(e.to_string()))?,
            claims,
            uses_model: true,
        };
        Ok(context.candidate(place.parent, draft))
    }
}
