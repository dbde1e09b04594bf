//! The linear model's latents.

use super::{
    AudioFeatures, Error, Features, ImageFeatures, Input, Latent, LatentGradients, Latents, LinearModel, Matrix, Modality, ModalitySet,
    Objective, PerModality, Pixels, Result, Target, Waveform, measure,
};
use std::sync::Arc;

/// The latent of a modality is its features; an image is decoded by resizing the grid.
impl Latent for LinearModel {
    fn encode(&self, modality: Modality, inputs: &[Input]) -> Result<Matrix> {
        let columns = self.shape.len(modality).ok_or_else(|| Error::model(format!("this model reads no {modality}")))?;
        let mut values = Vec::with_capacity(columns * inputs.len());
        for (i, input) in inputs.iter().enumerate() {
            let features = self.shape.features(&self.canonical, &input.only(ModalitySet::one(modality)))?;
            let (row, _) = features[modality].as_ref().ok_or_else(|| Error::usage(format!("input {i} has no {modality} to encode")))?;
            values.extend(row);
        }
        Ok(Matrix { columns, values })
    }

    fn decode_image(&self, latents: &Matrix, like: &[Arc<Pixels>]) -> Result<Vec<Pixels>> {
        let kind = self.shape.image.ok_or_else(|| Error::model("this model decodes no images"))?;
        if latents.columns != kind.len() || latents.rows() != like.len() {
            return Err(Error::usage(format!(
                "expected {} latents of {} numbers, found {} of {}",
                like.len(),
                kind.len(),
                latents.rows(),
                latents.columns
            )));
        }
        let one = |(row, like): (usize, &Arc<Pixels>)| {
            let latent = latents.row(row);
            let values = match kind {
                ImageFeatures::Raw { .. } if latent.len() == like.values.len() => latent.to_vec(),
                ImageFeatures::Raw { .. } => return Err(Error::model("raw pixels decode only to images of the model's own shape")),
                ImageFeatures::Grid { side } => super::super::preprocess::render(latent, (side, side, 1), like)?,
            };
            let values = values.into_iter().map(|v: f32| v.clamp(0.0, 1.0)).collect();
            Ok(Pixels { width: like.width, height: like.height, channels: like.channels, values })
        };
        like.iter().enumerate().map(one).collect()
    }

    fn decode_audio(&self, latents: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        let Some(AudioFeatures::Raw { channels, frames }) = self.shape.audio else {
            return Err(Error::model("this model decodes no audio"));
        };
        if latents.columns != channels * frames || latents.rows() != like.len() {
            return Err(Error::usage(format!(
                "expected {} latents of {} numbers, found {} of {}",
                like.len(),
                channels * frames,
                latents.rows(),
                latents.columns
            )));
        }
        let one = |(row, like): (usize, &Arc<Waveform>)| {
            let values: Vec<f32> = latents.row(row).iter().map(|v| v.clamp(-1.0, 1.0)).collect();
            if values.len() != like.values.len() {
                return Err(Error::model("raw samples decode only to waveforms of the model's own shape"));
            }
            Ok(Waveform { values, ..**like })
        };
        like.iter().enumerate().map(one).collect()
    }

    fn classify(&self, latents: &Latents, inputs: &[Input]) -> Result<Matrix> {
        let mut values = Vec::new();
        for row in 0..inputs.len() {
            values.extend(self.shape.logits(&self.weights, &self.replaced(latents, inputs, row)?)?);
        }
        Ok(Matrix { columns: self.shape.classes.len(), values })
    }

    fn latent_gradient(&self, latents: &Latents, inputs: &[Input], targets: &[Target], objective: Objective) -> Result<LatentGradients> {
        super::super::check_targets(targets, inputs.len(), self.shape.classes.len())?;
        let mut gradients =
            LatentGradients { logits: Matrix { columns: self.shape.classes.len(), values: Vec::new() }, ..LatentGradients::default() };
        gradients.latents = PerModality::from_fn(|m| latents[m].as_ref().map(|own| Matrix { columns: own.columns, values: Vec::new() }));
        for (row, target) in targets.iter().enumerate() {
            let features = self.replaced(latents, inputs, row)?;
            let logits = self.shape.logits(&self.weights, &features)?;
            let outer = measure::objective_gradient(&logits, target, objective);
            for (modality, own) in latents.iter() {
                let (Some(own), Some(slopes)) = (own, &mut gradients.latents[modality]) else { continue };
                let mut inner = vec![0.0f32; own.columns];
                if inputs[row].present().has(modality) && own.columns > 0 {
                    for (weights, g) in self.weights.values(&format!("{modality}.weight"))?.chunks_exact(own.columns).zip(&outer) {
                        inner.iter_mut().zip(weights).for_each(|(v, w)| *v += w * g);
                    }
                }
                slopes.values.extend(inner);
            }
            gradients.objective.push(measure::objective(&logits, target, objective));
            gradients.logits.values.extend(logits);
        }
        Ok(gradients)
    }
}

impl LinearModel {
    /// The features of one input with those of `latents` in their places.
    fn replaced(&self, latents: &Latents, inputs: &[Input], row: usize) -> Result<Features> {
        let given: ModalitySet = latents.iter().filter(|(_, own)| own.is_some()).map(|(modality, _)| modality).collect();
        let (input, kept) = (&inputs[row], ModalitySet::ALL.iter().filter(|m| !given.has(*m)).collect());
        let mut features = self.shape.features(&self.canonical, &input.only(kept))?;
        for (modality, own) in latents.iter() {
            let Some(own) = own else { continue };
            let columns = self.shape.len(modality).ok_or_else(|| Error::model(format!("this model reads no {modality}")))?;
            if own.columns != columns || own.rows() != inputs.len() {
                return Err(Error::usage(format!("expected {} latents of {columns} numbers, found {}", inputs.len(), own.rows())));
            }
            if input.present().has(modality) {
                features[modality] = Some((own.row(row).to_vec(), None));
            }
        }
        Ok(features)
    }
}
