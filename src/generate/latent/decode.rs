//! From moved latents to media: pixels, waveforms, captions.

use super::scene::{Moves, Scene, moved};
use crate::{
    error::{Error, Result},
    model::{self, Input, Matrix, Pixels, Waveform},
    sample::{AudioBuffer, ImageBuffer, Media, Modality, ModalitySet, PerModality, Sample, Text},
};
use std::sync::Arc;

/// A child that is to be made.
pub(super) struct Item<'a> {
    pub parent: &'a Sample,
    /// The parent's latents.
    pub codes: PerModality<Option<&'a [f32]>>,
    /// The move at magnitude 1.
    pub moves: &'a Moves,
    pub magnitude: f64,
    /// The caption that a moved text latent is nearest to; `None` keeps the parent's.
    pub caption: Option<Media<Text>>,
}

impl Item<'_> {
    /// Where a modality's latent goes.
    pub fn latent(&self, modality: Modality) -> Option<Vec<f32>> {
        Some(moved(self.codes[modality]?, self.moves[modality].as_ref()?, self.magnitude))
    }
}

/// What a parent's medium is to a model, of the items that move it; with their latents before and after.
fn moving<T>(items: &[Item<'_>], modality: Modality, like: impl Fn(&Sample) -> Option<T>) -> (Vec<usize>, Vec<T>, Matrix, Matrix) {
    let (mut at, mut media, mut before, mut after) = (Vec::new(), Vec::new(), Matrix::default(), Matrix::default());
    for (i, item) in items.iter().enumerate() {
        let (Some(medium), Some(h), Some(latent)) = (like(item.parent), item.codes[modality], item.latent(modality)) else { continue };
        at.push(i);
        media.push(medium);
        (before.columns, after.columns) = (h.len(), h.len());
        before.values.extend(h);
        after.values.extend(latent);
    }
    (at, media, before, after)
}

/// The children. With `residual` a medium changes as its decoding does, without it is its decoding.
pub(super) fn children(space: &dyn model::Latent, residual: bool, items: &[Item<'_>]) -> Result<Vec<Sample>> {
    let mut children: Vec<Sample> = items.iter().map(|item| item.parent.clone()).collect();
    let (at, like, before, after) = moving(items, Modality::Image, |parent| Some(Arc::new(Pixels::from(parent.image.as_ref()?.get()))));
    if !at.is_empty() {
        let decoded = space.decode_image(&after, &like)?;
        let before = if residual { space.decode_image(&before, &like)? } else { Vec::new() };
        if decoded.len() != at.len() {
            return Err(Error::model("the decoder gave another number of images than it was given latents"));
        }
        for (row, (i, after)) in at.iter().zip(&decoded).enumerate() {
            if let Some(image) = &children[*i].image {
                children[*i].image = Some(Media::new(rendered(image.get(), before.get(row), after)?));
            }
        }
    }
    let (at, like, before, after) = moving(items, Modality::Audio, |parent| Some(Arc::new(Waveform::from(parent.audio.as_ref()?.get()))));
    if !at.is_empty() {
        let made = if residual { space.shift_audio(&before, &after, &like)? } else { space.decode_audio(&after, &like)? };
        if made.len() != at.len() {
            return Err(Error::model("the decoder gave another number of waveforms than it was given latents"));
        }
        for (i, made) in at.iter().zip(made) {
            let values = made.values.into_iter().map(|v| v.clamp(-1.0, 1.0)).collect();
            let audio = AudioBuffer::new(made.sample_rate_hz, made.channels, values)
                .map_err(|message| Error::model(format!("the decoder gave no waveform: {message}")))?;
            children[*i].audio = Some(Media::new(audio));
        }
    }
    for (child, item) in children.iter_mut().zip(items) {
        if let Some(caption) = &item.caption {
            child.text = Some(caption.clone());
        }
    }
    Ok(children)
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

/// The row whose caption a text latent is nearest to (Euclidean), among those of the class that the guard trusts; `None` where that is the parent's own.
pub(super) fn nearest_caption(scene: &Scene<'_>, place: usize, latent: &[f32]) -> Option<usize> {
    let of = &scene.places[place];
    let own = scene.row(of.parent.row, Modality::Text);
    let (rows, text) = (scene.context.table.rows(), ModalitySet::one(Modality::Text));
    let able = (0..rows.len()).filter(|&row| rows[row].class == Some(of.class) && rows[row].present.contains(text));
    let able = able.filter(|&row| super::pool::trusted(scene.context, row));
    let ranked = able.filter_map(|row| Some((super::pool::euclidean(latent, scene.row(row, Modality::Text)?), row)));
    let (distance, row) = ranked.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| rows[a.1].id.cmp(&rows[b.1].id)))?;
    let stays = own.is_some_and(|own| super::pool::euclidean(latent, own) <= distance);
    (!stays && scene.row(row, Modality::Text) != own).then_some(row)
}

/// How far real media come back from their own decoding.
const REFERENCES: usize = 100;

/// The quantile of the distances between the latents of real samples and those of their decoded media, over at most 100 evenly spaced samples of the
/// round; once a round. Infinite where there is none.
pub(super) fn tolerance(scene: &Scene<'_>, modality: Modality) -> Result<f64> {
    let q = scene.config.quantile();
    let found = scene.index.once(&format!("latent.round_trip.{modality}.{q}"), || {
        let rows = scene.context.table.rows();
        let all = scene.context.table.sorted().iter().copied();
        let able: Vec<usize> = all.filter(|&row| scene.row(row, modality).is_some() && super::pool::trusted(scene.context, row)).collect();
        let stride = able.len().div_ceil(REFERENCES).max(1);
        let (mut inputs, mut latents) = (Vec::new(), Matrix::default());
        for &row in able.iter().step_by(stride) {
            let sample = scene.context.fetch.fetch(&rows[row].id)?.only(ModalitySet::one(modality));
            let Some(h) = scene.row(row, modality).filter(|_| !sample.present().is_empty()) else { continue };
            inputs.push(Input::of(&sample));
            latents.columns = h.len();
            latents.values.extend(h);
        }
        if inputs.is_empty() {
            return Ok(f64::INFINITY);
        }
        match modality {
            Modality::Image => {
                let like: Vec<Arc<Pixels>> = inputs.iter().filter_map(|input| input.image.clone()).collect();
                let decoded = scene.space.decode_image(&latents, &like)?;
                inputs.iter_mut().zip(decoded).for_each(|(input, own)| input.image = Some(Arc::new(own)));
            }
            _ => {
                let like: Vec<Arc<Waveform>> = inputs.iter().filter_map(|input| input.audio.clone()).collect();
                let decoded = scene.space.decode_audio(&latents, &like)?;
                inputs.iter_mut().zip(decoded).for_each(|(input, own)| input.audio = Some(Arc::new(own)));
            }
        }
        let back = scene.space.encode(modality, &inputs)?;
        let mut distances: Vec<f64> = (0..inputs.len()).map(|i| super::pool::euclidean(latents.row(i), back.row(i))).collect();
        Ok(super::statistics::quantile(&mut distances, q))
    })?;
    Ok(*found)
}
