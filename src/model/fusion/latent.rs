//! The latent space of the fusion model: embeddings in, pixels and waveforms out.

use super::{
    block::{MicroBatch, column, transposed},
    model::{FusionModel, MICRO_BATCH, slopes},
    net::{Codes, Leaves, host, matrix},
};
use crate::{
    error::{Error, Result},
    model::{
        Input, Latent, LatentGradients, Latents, Matrix, Objective, Pixels, Target, Waveform, measure,
        preprocess::{AudioMap, render},
    },
    sample::{Modality, ModalitySet, PerModality},
};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

impl FusionModel {
    fn check_latents(&self, modality: Modality, latents: &Matrix, wanted: usize) -> Result<()> {
        if !self.shape.modalities().has(modality) {
            return Err(Error::model(format!("this model reads no {modality}")));
        }
        if latents.columns != self.shape.embedding || latents.rows() != wanted {
            return Err(Error::usage(format!(
                "expected {wanted} latents of {} numbers, found {} of {}",
                self.shape.embedding,
                latents.rows(),
                latents.columns
            )));
        }
        Ok(())
    }

    /// Rows of latents as `[embedding, MICRO_BATCH]`, filled up with zeros.
    fn columns_of(&self, rows: &[f32]) -> Tensor<2> {
        let size = self.shape.embedding;
        let mut values = vec![0.0; size * MICRO_BATCH];
        for (at, row) in rows.chunks_exact(size).enumerate() {
            row.iter().enumerate().for_each(|(i, v)| values[i * MICRO_BATCH + at] = *v);
        }
        matrix(values, size, MICRO_BATCH, &self.net.device)
    }

    /// `[values, MICRO_BATCH]` of each micro-batch of latents.
    fn decoded(&self, modality: Modality, latents: &Matrix) -> Result<Vec<Vec<f32>>> {
        let rows = latents.values.par_chunks(MICRO_BATCH * self.shape.embedding);
        rows.map(|rows| host(self.net.decode(&self.weights, modality, self.columns_of(rows))?)).collect()
    }

    /// A micro-batch of what is not replaced, and what replaces the rest, for rows `from..from + part.len()`.
    fn replaced(&self, latents: &Latents, from: usize, part: &[Input]) -> Result<(MicroBatch, Codes)> {
        let given: ModalitySet = latents.iter().filter(|(_, own)| own.is_some()).map(|(modality, _)| modality).collect();
        let kept: ModalitySet = ModalitySet::ALL.iter().filter(|m| !given.has(*m)).collect();
        let others: Vec<Input> = part.iter().map(|input| input.only(kept)).collect();
        let batch = MicroBatch::new(&self.shape, &self.canonical, &others, Some(MICRO_BATCH))?;
        let size = self.shape.embedding;
        let codes = PerModality::from_fn(|modality| {
            let rows = latents[modality].as_ref()?.values.get(from * size..(from + part.len()) * size)?;
            Some((self.columns_of(rows), part.iter().map(|input| input.present().has(modality)).collect()))
        });
        Ok((batch, codes))
    }

    fn check_replaced(&self, latents: &Latents, wanted: usize) -> Result<()> {
        latents.iter().try_for_each(|(modality, own)| own.as_ref().map_or(Ok(()), |own| self.check_latents(modality, own, wanted)))
    }

    /// Decoded spectrograms with the waveforms whose shape they take: `make(map, waveform, spectrogram)` for each row.
    fn sounds(
        &self,
        spectrograms: &[Vec<f32>],
        like: &[Arc<Waveform>],
        make: impl Fn(&AudioMap, &Waveform, &[f32]) -> Result<Waveform> + Sync,
    ) -> Result<Vec<Waveform>> {
        let one = |(row, like): (usize, &Arc<Waveform>)| {
            let map = self.canonical.audio(like).map_err(|e| e.at("modality", "audio"))?;
            make(&map, like, &column(&spectrograms[row / MICRO_BATCH], MICRO_BATCH, row % MICRO_BATCH))
        };
        like.par_iter().enumerate().map(one).collect()
    }
}

impl Latent for FusionModel {
    fn encode(&self, modality: Modality, inputs: &[Input]) -> Result<Matrix> {
        if !self.shape.modalities().has(modality) {
            return Err(Error::model(format!("this model reads no {modality}")));
        }
        let alone: Vec<Input> = inputs.iter().map(|input| input.only(ModalitySet::one(modality))).collect();
        if let Some(at) = alone.iter().position(|input| input.present().is_empty()) {
            return Err(Error::usage(format!("input {at} has no {modality} to encode")));
        }
        let one = |(batch, len): &(MicroBatch, usize)| {
            let leaf = self.net.leaves(batch)[modality].clone();
            let block = batch.blocks[modality].as_ref().ok_or_else(|| Error::internal("an empty micro-batch"))?;
            Ok(transposed(&host(self.net.encode(&self.weights, modality, block, leaf)?)?, MICRO_BATCH, *len))
        };
        let parts: Vec<Vec<f32>> = self.batches(&alone)?.par_iter().map(one).collect::<Result<_>>()?;
        Ok(Matrix { columns: self.shape.embedding, values: parts.concat() })
    }

    fn decode_image(&self, latents: &Matrix, like: &[Arc<Pixels>]) -> Result<Vec<Pixels>> {
        self.check_latents(Modality::Image, latents, like.len())?;
        let size = self.shape.image.as_ref().map(|i| i.size).ok_or_else(|| Error::model("this model decodes no images"))?;
        let decoded = self.decoded(Modality::Image, latents)?;
        let one = |(row, like): (usize, &Arc<Pixels>)| {
            let values = render(&column(&decoded[row / MICRO_BATCH], MICRO_BATCH, row % MICRO_BATCH), size, like)?;
            let values = values.into_iter().map(|v| v.clamp(0.0, 1.0)).collect();
            Ok(Pixels { width: like.width, height: like.height, channels: like.channels, values })
        };
        like.par_iter().enumerate().map(one).collect()
    }

    fn decode_audio(&self, latents: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        let vocoder = self.vocoder.as_ref().ok_or_else(|| Error::model("this model decodes no audio"))?;
        self.check_latents(Modality::Audio, latents, like.len())?;
        self.sounds(&self.decoded(Modality::Audio, latents)?, like, |map, like, seen| vocoder.synthesise(map, like, seen))
    }

    fn shift_audio(&self, before: &Matrix, after: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        let vocoder = self.vocoder.as_ref().ok_or_else(|| Error::model("this model decodes no audio"))?;
        self.check_latents(Modality::Audio, before, like.len())?;
        self.check_latents(Modality::Audio, after, like.len())?;
        let mut change = self.decoded(Modality::Audio, after)?;
        for (after, before) in change.iter_mut().zip(self.decoded(Modality::Audio, before)?) {
            after.iter_mut().zip(before).for_each(|(a, b)| *a -= b);
        }
        self.sounds(&change, like, |map, like, change| vocoder.shift(map, like, change))
    }

    fn deviations(&self, modality: Modality, latents: &Matrix) -> Result<Option<Matrix>> {
        if !self.shape.variational().has(modality) {
            return Ok(None);
        }
        self.check_latents(modality, latents, latents.rows())?;
        let size = self.shape.embedding;
        let one = |rows: &[f32]| {
            let log_variance = host(self.net.log_variance(&self.weights, modality, self.columns_of(rows))?)?;
            Ok(transposed(&log_variance, MICRO_BATCH, rows.len() / size))
        };
        let parts: Vec<Vec<f32>> = latents.values.par_chunks(MICRO_BATCH * size).map(one).collect::<Result<_>>()?;
        Ok(Some(Matrix { columns: size, values: parts.concat().into_iter().map(|s| (0.5 * s).exp()).collect() }))
    }

    fn classify(&self, latents: &Latents, inputs: &[Input]) -> Result<Matrix> {
        self.check_replaced(latents, inputs.len())?;
        let one = |(i, part): (usize, &[Input])| {
            let (batch, codes) = self.replaced(latents, i * MICRO_BATCH, part)?;
            let pass = self.net.forward(&self.weights, &batch, &self.net.leaves(&batch), Some(&codes))?;
            Ok(transposed(&host(pass.logits)?, MICRO_BATCH, part.len()))
        };
        let parts: Vec<Vec<f32>> = inputs.par_chunks(MICRO_BATCH).enumerate().map(one).collect::<Result<_>>()?;
        Ok(Matrix { columns: self.shape.classes.len(), values: parts.concat() })
    }

    fn latent_gradient(&self, latents: &Latents, inputs: &[Input], targets: &[Target], objective: Objective) -> Result<LatentGradients> {
        let classes = self.shape.classes.len();
        crate::model::check_targets(targets, inputs.len(), classes)?;
        self.check_replaced(latents, inputs.len())?;
        let one = |(i, (part, targets)): (usize, (&[Input], &[Target]))| {
            let (batch, mut codes) = self.replaced(latents, i * MICRO_BATCH, part)?;
            let mut leaves: Leaves = PerModality::default();
            for modality in Modality::ALL {
                if let Some((given, _)) = &mut codes[modality] {
                    *given = given.clone().autodiff().require_grad();
                    leaves[modality] = Some(given.clone());
                }
            }
            let pass = self.net.forward(&self.weights, &batch, &self.net.leaves(&batch), Some(&codes))?;
            let logits = transposed(&host(pass.logits.clone().inner())?, MICRO_BATCH, part.len());
            let (values, slope) = slopes(&logits, classes, &|row, logits| measure::objective_of(targets, row, logits, objective));
            let mut of: PerModality<Option<Vec<f32>>> = PerModality::default();
            if pass.logits.is_tracked() {
                let gradients = (pass.logits * matrix(slope, classes, MICRO_BATCH, &self.net.device)).sum().backward();
                for modality in Modality::ALL {
                    let own = leaves[modality].as_ref().and_then(|leaf| leaf.grad(&gradients)).map(host).transpose()?;
                    of[modality] = own.map(|own| transposed(&own, MICRO_BATCH, part.len()));
                }
            }
            Ok((values, logits, of))
        };
        let parts = inputs.par_chunks(MICRO_BATCH).zip(targets.par_chunks(MICRO_BATCH)).enumerate();
        let parts: Vec<_> = parts.map(one).collect::<Result<_>>()?;
        let empty = |columns| Matrix { columns, values: Vec::new() };
        let mut all = LatentGradients { logits: empty(classes), ..LatentGradients::default() };
        all.latents = PerModality::from_fn(|m| latents[m].as_ref().map(|_| empty(self.shape.embedding)));
        for (values, logits, of) in parts {
            all.objective.extend(values);
            all.logits.values.extend(logits);
            for (modality, rows) in of.iter() {
                if let (Some(matrix), Some(rows)) = (&mut all.latents[modality], rows) {
                    matrix.values.extend(rows);
                }
            }
        }
        Ok(all)
    }
}
