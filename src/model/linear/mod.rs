//! A closed-form model without burn: multinomial logistic regression on plain features, with exact input gradients.

mod edits;
mod features;
mod latent;

use super::{
    Capabilities, DataProfile, EmbeddedText, Gradients, Input, Latent, LatentGradients, Latents, Learns, Learnt, Lesson, Matrix, Model,
    ModelSource, ModelSpec, Objective, OfRow, Opened, Outputs, Pixels, StepReport, Target, TextEdits, Trainable, TrainingBatch, Waveform,
    measure,
    parameters::{AdamW, Parameters},
    preprocess::Canonical,
};
use crate::{
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet, PerModality},
};
use features::{AudioFeatures, Back, ImageFeatures, trigrams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{path::Path, sync::Arc};

/// Multinomial logistic regression on a small pixel grid, log band energies and hashed character trigrams.
///
/// Method: `logits = b + sum over modalities of (W_m f_m, or a learned vector where m is missing)`. The image is resized to
/// a gray grid; audio becomes the log mean power of evenly spaced bands in equal parts of the time; text becomes hashed
/// trigram counts of Euclidean length 1. Trained with AdamW. All gradients are exact, at native resolution and rate.
///
/// Reference: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Linear {
    /// Side of the pixel grid, in pixels, 1..=64.
    pub image_side: usize,
    /// Bands below the Nyquist frequency, 1..=64.
    pub audio_bands: usize,
    /// Equal parts of the time, 1..=64.
    pub audio_segments: usize,
    /// Places that trigrams are hashed into, 1..=65536.
    pub text_places: usize,
    /// Weight decay of AdamW, 0..=1.
    pub weight_decay: f32,
}

impl Default for Linear {
    fn default() -> Self {
        Self { image_side: 14, audio_bands: 16, audio_segments: 8, text_places: 512, weight_decay: 0.01 }
    }
}

impl Configure<dyn ModelSource> for Linear {
    const NAME: &'static str = "linear";
    const EXAMPLE: &'static str = "{ image_side: 14, audio_bands: 16 }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        let limits = [
            ("image_side", self.image_side, 64),
            ("audio_bands", self.audio_bands, 64),
            ("audio_segments", self.audio_segments, 64),
            ("text_places", self.text_places, 65_536),
        ];
        let mut problems: Vec<Problem> = limits
            .into_iter()
            .filter(|(_, found, most)| !(1..=*most).contains(found))
            .map(|(field, found, most)| Problem::new(field, format!("expected 1..={most}, found {found}")))
            .collect();
        if !(0.0..=1.0).contains(&self.weight_decay) {
            problems.push(Problem::new("weight_decay", format!("expected 0..=1, found {}", self.weight_decay)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl ModelSource for Linear {
    fn capabilities(&self) -> Capabilities {
        let decodes = ModalitySet::one(Modality::Image);
        let all = ModalitySet::ALL;
        Capabilities {
            trainable: true,
            modalities: all,
            gradients: all,
            embeddings: all,
            embedding_gradients: all,
            decodes,
            variational: ModalitySet::EMPTY,
        }
    }
    fn learns(&self) -> Learns {
        Learns { losses: true, balance: false }
    }
    fn embedding_length(&self, modality: Modality) -> Option<usize> {
        Some(match modality {
            Modality::Image => self.image_side * self.image_side,
            Modality::Audio => self.audio_bands * self.audio_segments,
            Modality::Text => self.text_places,
        })
    }
    fn open(&self, profile: &DataProfile, _: &SeedTree) -> Result<Opened> {
        Ok(Opened::Trainable(Box::new(self.trainer(profile)?)))
    }
}

impl Linear {
    /// A trainer with all weights 0 for this data. Errors without a class or a modality.
    pub fn trainer(&self, profile: &DataProfile) -> Result<LinearTrainer> {
        if profile.classes.is_empty() || profile.modalities.is_empty() {
            return Err(Error::model("a model needs at least one class and one modality"));
        }
        let has = |modality| profile.modalities.has(modality);
        let rate_hz = profile.audio.map_or(16_000, |(rate, _)| rate);
        let shape = Shape {
            classes: profile.classes.clone(),
            image: has(Modality::Image).then_some(ImageFeatures::Grid { side: self.image_side }),
            audio: has(Modality::Audio).then_some(AudioFeatures::Bands { rate_hz, bands: self.audio_bands, segments: self.audio_segments }),
            text: has(Modality::Text).then_some(self.text_places),
        };
        Ok(LinearTrainer { weights: shape.zeros(), optimizer: AdamW::new(self.weight_decay), canonical: shape.canonical(), shape })
    }
}

/// The architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shape {
    classes: Classes,
    image: Option<ImageFeatures>,
    audio: Option<AudioFeatures>,
    text: Option<usize>,
}

/// The features of one sample, where the modality is present.
type Features = PerModality<Option<(Vec<f32>, Option<Back>)>>;

impl Shape {
    fn canonical(&self) -> Canonical {
        Canonical::new(self.image.and_then(ImageFeatures::canonical), self.audio.and_then(AudioFeatures::canonical))
    }
    /// How many features each modality has.
    fn len(&self, modality: Modality) -> Option<usize> {
        match modality {
            Modality::Image => self.image.map(ImageFeatures::len),
            Modality::Audio => self.audio.map(AudioFeatures::len),
            Modality::Text => self.text,
        }
    }
    fn modalities(&self) -> ModalitySet {
        Modality::ALL.into_iter().filter(|m| self.len(*m).is_some()).collect()
    }
    fn zeros(&self) -> Parameters {
        let classes = self.classes.len();
        let mut weights = Parameters::default();
        weights.insert("bias", [classes], vec![0.0; classes]);
        for modality in self.modalities().iter() {
            let len = self.len(modality).unwrap_or(0);
            weights.insert(format!("{modality}.weight"), [classes, len], vec![0.0; classes * len]);
            weights.insert(format!("{modality}.missing"), [classes], vec![0.0; classes]);
        }
        weights
    }
    /// A grid of pixels is a picture, and raw samples are a waveform; the power of bands is none.
    fn decodes(&self) -> ModalitySet {
        let audio = matches!(self.audio, Some(AudioFeatures::Raw { .. }));
        [(Modality::Image, self.image.is_some()), (Modality::Audio, audio)].into_iter().filter_map(|(m, does)| does.then_some(m)).collect()
    }
    fn architecture(&self) -> Value {
        serde_json::json!({ "model": "linear", "shape": self })
    }
    fn spec(&self, weights: &Parameters) -> ModelSpec {
        let modalities = self.modalities();
        ModelSpec {
            name: "linear".into(),
            digest: weights.digest(&self.architecture()),
            classes: self.classes.clone(),
            modalities,
            gradients: modalities,
            embeddings: modalities,
            embedding_gradients: modalities,
            decodes: self.decodes(),
        }
    }
    /// Modalities that the model does not read are ignored.
    fn features(&self, canonical: &Canonical, input: &Input) -> Result<Features> {
        let image = match (self.image, &input.image) {
            (Some(kind), Some(pixels)) => Some(kind.of(canonical, pixels).map_err(|e| e.at("modality", "image"))?),
            _ => None,
        };
        let audio = match (self.audio, &input.audio) {
            (Some(kind), Some(waveform)) => Some(kind.of(canonical, waveform).map_err(|e| e.at("modality", "audio"))?),
            _ => None,
        };
        let text = match (self.text, &input.text) {
            (Some(len), Some(text)) => {
                let mut features = trigrams(text, len);
                if let Some(shift) = &input.text_shift {
                    super::check_shift(shift, len)?;
                    features.iter_mut().zip(shift.iter()).for_each(|(f, d)| *f += d);
                }
                let back: Back = Box::new(|g| g.to_vec());
                Some((features, Some(back)))
            }
            _ => None,
        };
        let with = |(features, back)| (features, Some(back));
        Ok(PerModality { image: image.map(with), audio: audio.map(with), text })
    }
    /// What one modality adds to the logits.
    fn add(&self, weights: &Parameters, modality: Modality, features: Option<&[f32]>, logits: &mut [f32]) -> Result<()> {
        match features {
            None => logits.iter_mut().zip(weights.values(&format!("{modality}.missing"))?).for_each(|(z, v)| *z += v),
            Some([]) => {}
            Some(features) => {
                let rows = weights.values(&format!("{modality}.weight"))?.chunks_exact(features.len());
                for (z, row) in logits.iter_mut().zip(rows) {
                    *z += row.iter().zip(features).map(|(w, f)| w * f).sum::<f32>();
                }
            }
        }
        Ok(())
    }
    /// The gradient of one modality's native values from that of the logits; `None` where it is not asked for or missing.
    fn native(
        &self,
        weights: &Parameters,
        features: &Features,
        outer: &[f32],
        modality: Modality,
        wrt: ModalitySet,
    ) -> Result<Option<Vec<f32>>> {
        let Some((f, Some(back))) = features[modality].as_ref().filter(|_| wrt.has(modality)) else { return Ok(None) };
        let mut inner = vec![0.0f32; f.len()];
        for (row, g) in weights.values(&format!("{modality}.weight"))?.chunks_exact(f.len()).zip(outer) {
            inner.iter_mut().zip(row).for_each(|(v, w)| *v += w * g);
        }
        Ok(Some(back(&inner)))
    }
    fn logits(&self, weights: &Parameters, features: &Features) -> Result<Vec<f32>> {
        let mut logits = weights.values("bias")?.to_vec();
        for modality in self.modalities().iter() {
            self.add(weights, modality, features[modality].as_ref().map(|(f, _)| f.as_slice()), &mut logits)?;
        }
        Ok(logits)
    }
}

/// Raw pixels as features, for models whose optimum is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RawImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1, 3 or 4.
    pub channels: usize,
    /// One row of `height * width * channels` weights a class, in the layout of [`Pixels::values`].
    pub weights: Vec<f32>,
}

/// Raw samples as features, for models whose optimum is known. Any sample rate is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct RawAudio {
    /// Interleaved channels.
    pub channels: usize,
    /// Frames.
    pub frames: usize,
    /// One row of `frames * channels` weights a class.
    pub weights: Vec<f32>,
}

/// The linear model in evaluation.
#[derive(Debug)]
pub struct LinearModel {
    shape: Shape,
    weights: Parameters,
    canonical: Canonical,
    spec: ModelSpec,
}

impl LinearModel {
    fn new(shape: Shape, weights: Parameters) -> Result<Self> {
        shape.zeros().check_like(&weights)?;
        Ok(Self { canonical: shape.canonical(), spec: shape.spec(&weights), shape, weights })
    }

    /// `logits = W x + b` on raw native values: what an attack on it should find is known in closed form. A missing
    /// modality adds nothing. Errors where the weights do not fit the shape.
    pub fn from_weights(classes: Classes, bias: Vec<f32>, image: Option<RawImage>, audio: Option<RawAudio>) -> Result<Self> {
        let shape = Shape {
            image: image.as_ref().map(|i| ImageFeatures::Raw { width: i.width, height: i.height, channels: i.channels }),
            audio: audio.as_ref().map(|a| AudioFeatures::Raw { channels: a.channels, frames: a.frames }),
            text: None,
            classes,
        };
        let rows = [(Modality::Image, image.map(|i| i.weights)), (Modality::Audio, audio.map(|a| a.weights))];
        let given = rows.into_iter().filter_map(|(modality, rows)| Some((format!("{modality}.weight"), rows?)));
        let mut weights = shape.zeros();
        for (path, values) in given.chain([("bias".to_owned(), bias)]) {
            let wanted = weights.get(&path).map(|p| p.shape.clone()).unwrap_or_default();
            if wanted.iter().product::<usize>() != values.len() {
                return Err(Error::usage(format!("`{path}` has the shape {wanted:?}, found {} values", values.len())));
            }
            weights.insert(path, wanted, values);
        }
        Self::new(shape, weights)
    }

    /// Reads what `save` wrote: its header and weights.
    pub(super) fn from_file(header: &Value, weights: Parameters) -> Result<Self> {
        let shape = header.get("shape").cloned().unwrap_or_default();
        let shape: Shape = serde_json::from_value(shape).map_err(|e| Error::model(format!("the header of the model is broken: {e}")))?;
        // Before anything of the size that the header names is made.
        weights.check_sizes(&shape.sizes()?)?;
        Self::new(shape, weights)
    }
}

/// Value, logits and gradients of one row.
type Sloped = (f32, Vec<f32>, PerModality<Option<Vec<f32>>>);

impl LinearModel {
    fn sloped(&self, inputs: &[Input], of: impl Fn(usize, &Features) -> Result<Sloped> + Sync) -> Result<Gradients> {
        let columns = self.shape.classes.len();
        let one = |(row, input): (usize, &Input)| {
            let (value, values, native) = of(row, &self.shape.features(&self.canonical, input)?)?;
            let PerModality { image, audio, text } = native;
            let logits = Matrix { columns, values };
            Ok(Gradients { objective: vec![value], logits, image: vec![image], audio: vec![audio], text: vec![text] })
        };
        let rows: Vec<Gradients> = inputs.par_iter().enumerate().map(one).collect::<Result<_>>()?;
        Ok(Gradients::joined(columns, rows))
    }
}

impl Model for LinearModel {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let one = |input: &Input| {
            let features = self.shape.features(&self.canonical, input)?;
            let logits = self.shape.logits(&self.weights, &features)?;
            let embedding = |m| Some(features[m].as_ref().map_or_else(|| vec![0.0; self.shape.len(m).unwrap_or(0)], |(f, _)| f.clone()));
            Ok((logits, PerModality::from_fn(|m| self.shape.len(m).and_then(|_| embedding(m)))))
        };
        let rows: Vec<(Vec<f32>, PerModality<Option<Vec<f32>>>)> = inputs.par_iter().map(one).collect::<Result<_>>()?;
        let mut outputs = Outputs { logits: Matrix { columns: self.shape.classes.len(), values: Vec::new() }, ..Outputs::default() };
        let lengths = PerModality::from_fn(|m| self.shape.len(m));
        outputs.embeddings = PerModality::from_fn(|m| lengths[m].map(|columns| Matrix { columns, values: Vec::new() }));
        let mut fused = Matrix { columns: Modality::ALL.into_iter().filter_map(|m| lengths[m]).sum(), values: Vec::new() };
        for (logits, embeddings) in rows {
            outputs.logits.values.extend(logits);
            for (modality, row) in embeddings.iter() {
                if let (Some(matrix), Some(row)) = (&mut outputs.embeddings[modality], row) {
                    matrix.values.extend(row);
                    fused.values.extend(row);
                }
            }
        }
        outputs.fused = Some(fused);
        Ok(outputs)
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        self.sloped(inputs, |row, features| {
            let logits = self.shape.logits(&self.weights, features)?;
            let (value, outer) = of(row, &logits);
            let native = |modality: Modality| self.shape.native(&self.weights, features, &outer, modality, wrt);
            let [image, audio, text] = Modality::ALL.map(native);
            Ok((value, logits, PerModality { image: image?, audio: audio?, text: text? }))
        })
    }

    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        self.sloped(inputs, |row, features| {
            let none = vec![0.0; self.shape.len(modality).unwrap_or(0)];
            let (value, slope) = of(row, features[modality].as_ref().map_or(&none, |(f, _)| f));
            let mut native = PerModality::default();
            native[modality] = match &features[modality] {
                Some((f, Some(back))) if slope.len() == f.len() => Some(back(&slope)),
                _ => None,
            };
            Ok((value, self.shape.logits(&self.weights, features)?, native))
        })
    }

    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        let size = self.shape.text.ok_or_else(|| Error::model("this model reads no text"))?;
        Ok(EmbeddedText { size, positions: 1, values: trigrams(text, size) })
    }

    fn text_edits<'a>(&'a self, text: &'a str, slope: &'a [f32]) -> Result<Option<Box<dyn TextEdits + 'a>>> {
        let size = self.shape.text.ok_or_else(|| Error::model("this model reads no text"))?;
        Ok(Some(Box::new(edits::Counted::new(text, size, slope))))
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.weights.write(path, &self.shape.architecture())
    }
}

/// The linear model in training.
#[derive(Debug, Clone)]
pub struct LinearTrainer {
    shape: Shape,
    weights: Parameters,
    optimizer: AdamW,
    canonical: Canonical,
}

impl Trainable for LinearTrainer {
    fn spec(&self) -> ModelSpec {
        self.shape.spec(&self.weights)
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        Ok(self.learn(batch, &Lesson::default())?.report)
    }

    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        if lesson.balance.is_some() {
            return Err(Error::usage("the linear model has no encoders to hold back"));
        }
        let classes = self.shape.classes.len();
        let weights = super::check_batch(batch, classes)?;
        let features: Vec<Features> =
            batch.inputs.par_iter().map(|input| self.shape.features(&self.canonical, input)).collect::<Result<_>>()?;
        let mut report = StepReport::default();
        report.logits.columns = classes;
        for features in &features {
            report.logits.values.extend(self.shape.logits(&self.weights, features)?);
        }
        let n = batch.inputs.len();
        let outer = if lesson.is_cross_entropy() {
            let rows = (batch.targets.iter().zip(&weights).enumerate()).map(|(i, (target, weight))| {
                let mut outer = measure::objective_gradient(report.logits.row(i), target, Objective::CrossEntropy);
                outer.iter_mut().for_each(|g| *g *= weight);
                outer
            });
            rows.flatten().collect()
        } else {
            lesson.slopes(0, n, &report.logits.values, classes, batch.targets, &weights).1
        };
        let mut slope = self.shape.zeros();
        let mut gradients = Gradients { logits: report.logits.clone(), ..Gradients::default() };
        for (features, outer) in features.iter().zip(outer.chunks_exact(classes)) {
            slope.add("bias", outer, &[1.0])?;
            for modality in self.shape.modalities().iter() {
                match &features[modality] {
                    Some((f, _)) => slope.add(&format!("{modality}.weight"), outer, f)?,
                    None => slope.add(&format!("{modality}.missing"), outer, &[1.0])?,
                }
            }
            if !lesson.wrt.is_empty() {
                gradients.image.push(self.shape.native(&self.weights, features, outer, Modality::Image, lesson.wrt)?);
                gradients.audio.push(self.shape.native(&self.weights, features, outer, Modality::Audio, lesson.wrt)?);
                gradients.text.push(self.shape.native(&self.weights, features, outer, Modality::Text, lesson.wrt)?);
            }
        }
        report.losses = super::finite_losses(&report.logits, batch.targets)?;
        self.optimizer.accumulate(lesson.accumulation, &mut self.weights, &slope, batch.learning_rate)?;
        Ok(Learnt { report, gradients: (!lesson.wrt.is_empty()).then_some(gradients) })
    }

    fn gives_gradients(&self) -> bool {
        true
    }

    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(LinearModel::new(self.shape.clone(), self.weights.clone())?))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(self.clone()))
    }
    fn fresh(&self, _: &SeedTree) -> Result<Box<dyn Trainable>> {
        // The loss is convex: every start is as good, and 0 has no direction of its own.
        let optimizer = AdamW::new(self.optimizer.weight_decay);
        Ok(Box::new(Self { weights: self.shape.zeros(), optimizer, ..self.clone() }))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.optimizer.write_checkpoint(path, &self.weights, &self.shape.architecture())
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.optimizer.read_checkpoint(path, &mut self.weights, &self.shape.architecture())
    }
}

#[cfg(test)]
mod tests;
