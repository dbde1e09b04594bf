//! Parents in their latent spaces, and what every kind of move is made from.

use super::{
    Latent, LatentKind, adversarial, boundary, class_covariance, delta, extrapolate, gaussian, interpolate, posterior, resample, smote,
    statistics::{self, ClassSpace, Spaces},
};
use crate::{
    context::{EmbeddingIndex, GenerateContext, Parent},
    error::{Error, Result},
    model::{self, Input, Latents, Matrix, Target},
    random::SeedTree,
    sample::{Modality, ModalitySet, PerModality},
};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// A parent.
pub(super) struct Place<'a> {
    pub parent: &'a Parent,
    pub class: usize,
    pub target: Target,
    pub seeds: SeedTree,
    /// The modalities that move: those asked for that the parent has.
    pub moved: ModalitySet,
    /// All it has.
    pub input: Input,
}

/// One vector a moved modality.
pub(super) type Moves = PerModality<Option<Vec<f32>>>;

/// A move at magnitude 1.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub moves: Moves,
    /// Rows of the samples it was made from.
    pub partners: Vec<usize>,
}

/// A move, or why there is none.
pub(super) type Draw = std::result::Result<Drawn, &'static str>;

/// The parents of one call with their latents.
pub(super) struct Scene<'a> {
    pub config: &'a Latent,
    pub space: &'a dyn model::Latent,
    pub index: &'a EmbeddingIndex,
    pub context: &'a GenerateContext<'a>,
    pub places: Vec<Place<'a>>,
    /// One row a place; zeros where the place lacks the modality.
    pub codes: Latents,
    spaces: PerModality<Option<Arc<Spaces>>>,
}

impl<'a> Scene<'a> {
    /// Encodes the places. Kinds that ask the classifier need the latents of all modalities, the others of those that move.
    pub fn new(config: &'a Latent, space: &'a dyn model::Latent, context: &'a GenerateContext<'a>, places: Vec<Place<'a>>) -> Result<Self> {
        let index = context.index.ok_or_else(|| Error::usage("`latent` needs the embedding index of the round"))?;
        let embedded = context.models.subject.spec().embeddings;
        let moved = places.iter().fold(ModalitySet::EMPTY, |all, place| all.or(place.moved));
        let asks = config.kind == LatentKind::Adversarial || config.goes_to_boundary();
        let mut codes = Latents::default();
        let mut spaces = PerModality::default();
        for modality in Modality::ALL.into_iter().filter(|m| moved.has(*m) || (asks && embedded.has(*m))) {
            let has: Vec<usize> = (0..places.len()).filter(|&i| places[i].input.present().has(modality)).collect();
            let inputs: Vec<Input> = has.iter().map(|&i| places[i].input.only(ModalitySet::one(modality))).collect();
            if inputs.is_empty() {
                continue;
            }
            let own = space.encode(modality, &inputs)?;
            let mut values = vec![0.0; own.columns * places.len()];
            for (row, &i) in has.iter().enumerate() {
                if let Some(to) = values.get_mut(i * own.columns..(i + 1) * own.columns) {
                    to.copy_from_slice(own.row(row));
                }
            }
            if let Some(other) = index.train.iter().find_map(|of| of[modality].as_ref()).filter(|other| other.len() != own.columns) {
                let message =
                    format!("{modality} latents have {} dimensions, and the embeddings of the round {}", own.columns, other.len());
                return Err(Error::model(message));
            }
            if moved.has(modality) {
                spaces[modality] = Some(statistics::spaces(context, modality, config.quantile())?);
            }
            codes[modality] = Some(Matrix { columns: own.columns, values });
        }
        Ok(Self { config, space, index, context, places, codes, spaces })
    }

    /// The latent of a place.
    pub fn code(&self, place: usize, modality: Modality) -> Option<&[f32]> {
        let codes = self.codes[modality].as_ref()?;
        codes.values.get(place * codes.columns..(place + 1) * codes.columns).filter(|_| self.places[place].moved.has(modality))
    }

    /// The latent of a sample of the round.
    pub fn row(&self, row: usize, modality: Modality) -> Option<&[f32]> {
        self.index.train.get(row)?[modality].as_deref()
    }

    /// The class of a place in one space.
    pub fn class(&self, place: usize, modality: Modality) -> std::result::Result<&ClassSpace, &'static str> {
        self.spaces[modality].as_ref().and_then(|spaces| spaces.get(&self.places[place].class)).ok_or("no_class_to_follow")
    }

    /// The class means of a place.
    pub fn means(&self, place: usize) -> PerModality<Option<&[f64]>> {
        PerModality::from_fn(|m| self.class(place, m).ok().map(|class| class.mean.as_slice()))
    }

    /// Standard normal numbers of one draw. Every modality begins anew, so that a joint move has one draw.
    pub fn normal(&self, place: usize, draw: usize) -> impl FnMut() -> f64 {
        let mut rng = self.places[place].seeds.variant(draw).rng();
        move || StandardNormal.sample(&mut rng)
    }

    /// A vector for each moved modality, from its latent.
    pub fn each(
        &self,
        place: usize,
        mut f: impl FnMut(Modality, &[f32]) -> std::result::Result<Vec<f32>, &'static str>,
    ) -> std::result::Result<Moves, &'static str> {
        let mut moves = Moves::default();
        for modality in self.places[place].moved.iter() {
            moves[modality] = Some(f(modality, self.code(place, modality).ok_or("no_latent")?)?);
        }
        Ok(moves)
    }

    /// `share` of the way to a sample of the round.
    pub fn toward(&self, place: usize, row: usize, share: f64) -> std::result::Result<Moves, &'static str> {
        self.each(place, |modality, h| {
            let partner = self.row(row, modality).ok_or("no_neighbour")?;
            Ok(h.iter().zip(partner).map(|(h, p)| (share * (f64::from(*p) - f64::from(*h))) as f32).collect())
        })
    }

    /// The moves of some `(place, draw)`, each kept on the manifold.
    pub fn draw(&self, wanted: &[(usize, usize)]) -> Result<Vec<Draw>> {
        let each = |draw: fn(&Scene<'_>, usize, usize) -> Draw| Ok(wanted.iter().map(|(place, n)| draw(self, *place, *n)).collect());
        let drawn: Vec<Draw> = match self.config.kind {
            LatentKind::Gaussian => each(gaussian::draw),
            LatentKind::ClassCovariance => each(class_covariance::draw),
            LatentKind::Interpolate if self.config.goes_to_boundary() => boundary::draw(self, wanted),
            LatentKind::Interpolate => each(interpolate::draw),
            LatentKind::Extrapolate => each(extrapolate::draw),
            LatentKind::Delta => each(delta::draw),
            LatentKind::Resample => each(resample::draw),
            LatentKind::Smote => each(smote::draw),
            LatentKind::Adversarial => adversarial::draw(self, wanted),
            LatentKind::Posterior => posterior::draw(self, wanted),
        }?;
        let bounded = wanted.iter().zip(drawn).map(|((place, _), draw)| draw.and_then(|drawn| self.on_manifold(*place, drawn)));
        Ok(bounded.collect())
    }

    /// Shrinks a move toward the parent until every latent lies within the bound of its class; the modalities of a joint move keep step.
    fn on_manifold(&self, place: usize, mut drawn: Drawn) -> Draw {
        if self.config.manifold_quantile.is_none() {
            return Ok(drawn);
        }
        let mut reach = 1.0f64;
        for (modality, step) in drawn.moves.iter() {
            let (Some(step), Some(h)) = (step, self.code(place, modality)) else { continue };
            reach = reach.min(self.class(place, modality)?.reach(h, step));
        }
        if reach < 1.0 {
            for modality in self.places[place].moved.iter() {
                drawn.moves[modality].iter_mut().flatten().for_each(|v| *v = (f64::from(*v) * reach) as f32);
            }
        }
        Ok(drawn)
    }
}

/// `h + magnitude step`.
pub(super) fn moved(h: &[f32], step: &[f32], magnitude: f64) -> Vec<f32> {
    h.iter().zip(step).map(|(h, d)| (f64::from(*h) + magnitude * f64::from(*d)) as f32).collect()
}
