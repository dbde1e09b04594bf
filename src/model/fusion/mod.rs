//! The built-in fusion model: an encoder a modality, a fused head, a head a modality, decoders of image and audio.

mod autoencoder;
mod block;
mod edits;
mod latent;
mod logmel;
mod model;
mod net;
mod shape;
mod train;
mod vocoder;

pub use model::FusionModel;
pub use train::FusionTrainer;

use super::{Capabilities, DataProfile, Learns, ModelSource, Opened};
use crate::{
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Modality, ModalitySet},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shape::{AudioShape, ImageShape, Shape, TextShape};
use std::path::{Path, PathBuf};

/// An image CNN, a log-mel audio CNN and a character CNN, fused: any subset of image, audio and text.
///
/// Method: each modality is encoded to an embedding; where it is missing, a learned token stands in its place. The
/// embeddings, side by side, pass one ReLU layer to the fused logits; each embedding has a linear head of its own. Images
/// pass convolutions of stride 2. Waveforms become log-mel spectrograms inside the network (so that gradients reach the
/// samples), normalised in each clip, then convolutions over time and frequency and one over time, pooled by mean and
/// maximum. Text is read as characters, with an embedding and two convolutions, pooled alike. The image embedding is
/// decoded to pixels, the audio embedding to the normalised log-mel spectrogram. The loss of a sample is the fused cross entropy, plus `auxiliary` times
/// the cross entropy of the head of each present modality, plus for each decoder `reconstruction` times the mean squared error of what it decodes. With
/// `beta` above 0 a decoder is that of a variational autoencoder: it decodes `z = h + exp(s / 2) n`, where h is the embedding, s a dense layer of h and n
/// standard normal, and `reconstruction` weighs the negative evidence lower bound (ELBO) a value, `(|x - D(z)|^2 + beta KL(N(h, e^s) || N(0, 1))) / values`
/// (Gaussian observations of variance 1/2). Everything but the training of that decoder uses h itself. No normalisation across a
/// batch, no dropout; AdamW. For single modalities to work alone, train with modalities left out at random. `weights` starts from a file: a fusion model that a
/// run saved (its classes must be those of the data, in the same order), or weights from elsewhere, as 32-bit floats in a safetensors file. Each matrix is
/// `[outputs, inputs + 1]`, the last column being the bias, and a convolution's inputs are ordered by channel, row and column of its kernel; an error lists all names and
/// shapes that do not fit. With `train: none` they are used as they stand.
///
/// Reference: Ngiam et al., Multimodal Deep Learning (2011); Loshchilov and Hutter, Decoupled Weight Decay Regularization
/// (2019); Kingma and Welling, Auto-Encoding Variational Bayes (2014); Higgins et al., beta-VAE (2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fusion {
    /// Numbers of each modality's embedding, 2..=1024.
    pub embedding: usize,
    /// Width of the fused layer, 2..=4096.
    pub hidden: usize,
    /// Weight of the loss of each modality's own head, 0..=10.
    pub auxiliary: f32,
    /// Weight decay of AdamW, 0..=1.
    pub weight_decay: f32,
    /// The image encoder and decoder.
    pub image: ImageConfig,
    /// The audio encoder and decoder.
    pub audio: AudioConfig,
    /// The text encoder.
    pub text: TextConfig,
    /// A safetensors file to start from, relative to the pipeline file: a saved fusion model, or 32-bit floats of the same names and shapes; left out: a random
    /// start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

/// The image encoder and decoder of the fusion model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Channels of each convolution, 1..=6 of them, each 1..=512.
    pub channels: Vec<usize>,
    /// Columns and rows that images are resized to, each 4..=256 pixels; left out: those of the data, at most 64.
    pub size: Option<[usize; 2]>,
    /// Width of the decoder's inner layer, 1..=4096.
    pub decoder: usize,
    /// Weight of the reconstruction's mean squared error, 0..=100. At 0 the decoder still learns, without touching the encoder.
    pub reconstruction: f32,
    /// Weight of the KL divergence in the ELBO, 0..=1000; 0 for a plain autoencoder.
    pub beta: f32,
}

/// The audio encoder and decoder of the fusion model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AudioConfig {
    /// Mel bands, 4..=256.
    pub mels: usize,
    /// Channels of each convolution over time and frequency, 1..=6 of them, each 1..=512.
    pub channels: Vec<usize>,
    /// Channels of the last convolution, over time alone, 1..=2048.
    pub hidden: usize,
    /// Rate that audio is resampled to in Hz, 1000..=48000; left out: that of the data, at most 16000.
    pub sample_rate_hz: Option<u32>,
    /// Length in seconds, 0.1..=30; longer clips keep their centre. Left out: the 95 % quantile of the data, at most 4.
    pub seconds: Option<f64>,
    /// Width of the decoder's inner layer, 0..=4096; 0 for no decoder.
    pub decoder: usize,
    /// Weight of the reconstruction's mean squared error, in variances of the log-mel spectrogram, 0..=100. At 0 the decoder still learns, without
    /// touching the encoder.
    pub reconstruction: f32,
    /// Weight of the KL divergence in the ELBO, 0..=1000; 0 for a plain autoencoder.
    pub beta: f32,
}

/// The text encoder of the fusion model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Channels of the convolutions, 1..=2048.
    pub hidden: usize,
    /// Numbers of a character's embedding, 1..=256.
    pub characters: usize,
    /// Characters that are read, 8..=1024; left out: the 99 % quantile of the data, at most 256.
    pub length: Option<usize>,
}

impl Default for Fusion {
    fn default() -> Self {
        Self {
            embedding: 64,
            hidden: 128,
            auxiliary: 0.3,
            weight_decay: 0.02,
            image: ImageConfig::default(),
            audio: AudioConfig::default(),
            text: TextConfig::default(),
            weights: None,
        }
    }
}
impl Default for ImageConfig {
    fn default() -> Self {
        Self { channels: vec![16, 32], size: None, decoder: 128, reconstruction: 0.5, beta: 0.0 }
    }
}
impl Default for AudioConfig {
    fn default() -> Self {
        Self {
            mels: 40,
            channels: vec![16, 32],
            hidden: 64,
            sample_rate_hz: None,
            seconds: None,
            decoder: 128,
            reconstruction: 0.1,
            beta: 0.0,
        }
    }
}
impl Default for TextConfig {
    fn default() -> Self {
        Self { hidden: 64, characters: 16, length: None }
    }
}

impl Configure<dyn ModelSource> for Fusion {
    const NAME: &'static str = "fusion";
    const EXAMPLE: &'static str = "{ embedding: 64, image: { channels: [16, 32] }, audio: { mels: 40 }, text: { hidden: 64 } }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl ModelSource for Fusion {
    fn capabilities(&self) -> Capabilities {
        let spectra = ModalitySet::ALL.without(Modality::Text);
        let decodes = if self.audio.decoder > 0 { spectra } else { ModalitySet::one(Modality::Image) };
        let all = ModalitySet::ALL;
        let beta = [(Modality::Image, self.image.beta), (Modality::Audio, self.audio.beta)];
        let variational = beta.into_iter().filter(|(m, beta)| *beta > 0.0 && decodes.has(*m)).map(|(m, _)| m).collect();
        Capabilities { trainable: true, modalities: all, gradients: all, embeddings: all, embedding_gradients: all, decodes, variational }
    }
    fn learns(&self) -> Learns {
        // The heads of single modalities say which one leads.
        Learns { losses: true, balance: self.auxiliary > 0.0 }
    }
    fn open_at(&self, base: &Path, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        let weights = self.weights.as_ref().map(|path| base.join(path));
        Self { weights, ..self.clone() }.open(profile, seeds)
    }
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        Ok(Opened::Trainable(Box::new(self.trainer(profile, seeds)?)))
    }
}

impl Fusion {
    /// A trainer for this data, with the weights of the file or drawn from `seeds`. Errors without a class or a modality, if a value of the
    /// config is out of range, or if the file's weights are not those of this architecture (all of the differences are listed).
    pub fn trainer(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<FusionTrainer> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::pipeline("the fusion model cannot be built", problems));
        }
        let shape = self.shape(profile)?;
        // What is trained can be opened again.
        shape.check().map_err(|_| {
            Error::model("the fusion model would be larger than one that can be opened again: fewer channels or mels, shorter sounds or smaller images are needed")
        })?;
        let given = self.weights.as_ref().map(|path| shape.read(path)).transpose()?;
        FusionTrainer::new(self.clone(), shape, given, seeds)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut whole = |path: &str, found: usize, least: usize, most: usize| {
            if !(least..=most).contains(&found) {
                problems.push(Problem::new(path, format!("expected {least}..={most}, found {found}")));
            }
        };
        whole("embedding", self.embedding, 2, 1024);
        whole("hidden", self.hidden, 2, 4096);
        for (path, channels) in [("image.channels", &self.image.channels), ("audio.channels", &self.audio.channels)] {
            whole(path, channels.len(), 1, 6);
            channels.iter().enumerate().for_each(|(i, c)| whole(&format!("{path}[{i}]"), *c, 1, 512));
        }
        self.image.size.iter().flatten().enumerate().for_each(|(i, side)| whole(&format!("image.size[{i}]"), *side, 4, 256));
        whole("image.decoder", self.image.decoder, 1, 4096);
        whole("audio.mels", self.audio.mels, 4, 256);
        whole("audio.hidden", self.audio.hidden, 1, 2048);
        whole("audio.decoder", self.audio.decoder, 0, 4096);
        self.audio.sample_rate_hz.iter().for_each(|rate| whole("audio.sample_rate_hz", *rate as usize, 1000, 48_000));
        whole("text.hidden", self.text.hidden, 1, 2048);
        whole("text.characters", self.text.characters, 1, 256);
        self.text.length.iter().for_each(|length| whole("text.length", *length, 8, 1024));
        let mut real = |path: &str, found: f64, least: f64, most: f64| {
            if !(least..=most).contains(&found) {
                problems.push(Problem::new(path, format!("expected {least}..={most}, found {found}")));
            }
        };
        real("auxiliary", f64::from(self.auxiliary), 0.0, 10.0);
        real("weight_decay", f64::from(self.weight_decay), 0.0, 1.0);
        real("image.reconstruction", f64::from(self.image.reconstruction), 0.0, 100.0);
        real("image.beta", f64::from(self.image.beta), 0.0, 1000.0);
        real("audio.reconstruction", f64::from(self.audio.reconstruction), 0.0, 100.0);
        real("audio.beta", f64::from(self.audio.beta), 0.0, 1000.0);
        self.audio.seconds.iter().for_each(|seconds| real("audio.seconds", *seconds, 0.1, 30.0));
        if self.weights.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.push(Problem::new("weights", "expected the path of a safetensors file, found nothing"));
        }
        problems
    }

    /// The sizes for this data.
    fn shape(&self, profile: &DataProfile) -> Result<Shape> {
        if profile.classes.is_empty() || profile.modalities.is_empty() {
            return Err(Error::model("a model needs at least one class and one modality"));
        }
        let image = profile.modalities.has(Modality::Image).then(|| {
            let (width, height, channels) = profile.image.unwrap_or((28, 28, 1));
            let shrink = (64.0 / width.max(height).max(1) as f64).min(1.0);
            let side = |n: usize| ((n as f64 * shrink).round() as usize).clamp(4, 64);
            let [width, height] = self.image.size.unwrap_or([side(width), side(height)]);
            let size = (width, height, if channels == 1 { 1 } else { 3 });
            let layers = shape::pyramid([size.2, height, width], &self.image.channels);
            ImageShape { size, layers, decoder: self.image.decoder, variational: self.image.beta > 0.0 }
        });
        let audio = profile.modalities.has(Modality::Audio).then(|| {
            let (rate, seconds) = profile.audio.unwrap_or((16_000, 1.0));
            let rate_hz = self.audio.sample_rate_hz.unwrap_or(rate.clamp(1000, 16_000));
            let seconds = self.audio.seconds.unwrap_or(if seconds.is_finite() { seconds.clamp(0.1, 4.0) } else { 1.0 });
            let samples = |seconds: f64| (seconds * f64::from(rate_hz)).round() as usize;
            let (window, hop) = (samples(0.0125) * 2, samples(0.0125));
            let length = samples(seconds).max(window);
            let (decoder, variational) = (self.audio.decoder, self.audio.beta > 0.0);
            let mut audio = AudioShape { rate_hz, length, window, hop, mels: self.audio.mels, layers: Vec::new(), decoder, variational };
            audio.layers = shape::listen(audio.mels, audio.frames(), &self.audio.channels, self.audio.hidden);
            audio
        });
        let text = profile.modalities.has(Modality::Text).then(|| {
            let length = self.text.length.unwrap_or_else(|| profile.text.unwrap_or(64).clamp(8, 256));
            let layers = shape::read(self.text.characters, length, self.text.hidden);
            TextShape { length, characters: self.text.characters, layers }
        });
        Ok(Shape { classes: profile.classes.clone(), embedding: self.embedding, hidden: self.hidden, image, audio, text })
    }
}

#[cfg(test)]
mod embedding_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weights_tests;
