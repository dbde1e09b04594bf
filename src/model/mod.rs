//! Models as hardmine sees them: host buffers in, per-sample numbers out. Devices and training stay behind the traits.

#[cfg(feature = "burn")]
pub mod adapter;
pub mod ascent;
pub mod cnn;
pub mod command;
pub mod counted;
#[cfg(feature = "burn")]
pub mod fusion;
mod lanes;
pub mod lesson;
pub mod linear;
pub mod load;
pub mod measure;
pub mod onnx;
pub mod parameters;
pub mod preprocess;
mod recorded;
mod text;

pub use counted::{Counted, Counts};
pub use lesson::{Accumulation, Apart, Balance, Lesson, Pair};
pub use recorded::{Recorded, RecordedRows};
pub use text::{EmbeddedText, TextEdits};

use crate::{
    error::{Error, Result},
    random::SeedTree,
    sample::{AudioBuffer, Classes, ImageBuffer, Label, Modality, ModalitySet, PerModality, Sample, SampleId},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::Path, sync::Arc};

/// Pixels of one sample at native resolution: rows from the top, channels interleaved, values `0..=1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1, 3 or 4.
    pub channels: usize,
    /// `height * width * channels` values.
    pub values: Vec<f32>,
}

/// Waveform of one sample at native rate: channels interleaved, values `-1..=1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// Frames a second.
    pub sample_rate_hz: u32,
    /// Interleaved channels.
    pub channels: usize,
    /// `frames * channels` values.
    pub values: Vec<f32>,
}

impl From<&ImageBuffer> for Pixels {
    fn from(image: &ImageBuffer) -> Self {
        let values = image.pixels().iter().map(|p| f32::from(*p) / 255.0).collect();
        Self { width: image.width(), height: image.height(), channels: image.channels(), values }
    }
}

impl From<&AudioBuffer> for Waveform {
    fn from(audio: &AudioBuffer) -> Self {
        Self { sample_rate_hz: audio.sample_rate_hz(), channels: audio.channels(), values: audio.samples().to_vec() }
    }
}

/// What a model is given of one sample. A modality that is `None` is missing: the model puts its learned token there.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Native pixels.
    pub image: Option<Arc<Pixels>>,
    /// Native waveform.
    pub audio: Option<Arc<Waveform>>,
    /// The text.
    pub text: Option<Arc<str>>,
    /// A perturbation that is added to the embedded text, in the layout of [`EmbeddedText::values`]; without effect where the text is missing. A model
    /// that embeds no text refuses it.
    pub text_shift: Option<Arc<[f32]>>,
}

impl Input {
    /// All that a sample has.
    pub fn of(sample: &Sample) -> Self {
        Self {
            image: sample.image.as_ref().map(|media| Arc::new(media.get().into())),
            audio: sample.audio.as_ref().map(|media| Arc::new(media.get().into())),
            text: sample.text.as_ref().map(|media| media.get().content.as_str().into()),
            text_shift: None,
        }
    }
    /// Which modalities are there.
    pub fn present(&self) -> ModalitySet {
        [(Modality::Image, self.image.is_some()), (Modality::Audio, self.audio.is_some()), (Modality::Text, self.text.is_some())]
            .into_iter()
            .filter_map(|(modality, there)| there.then_some(modality))
            .collect()
    }
    /// The same with only the modalities of `keep`. Cheap.
    #[must_use]
    pub fn only(&self, keep: ModalitySet) -> Self {
        Self {
            image: self.image.clone().filter(|_| keep.has(Modality::Image)),
            audio: self.audio.clone().filter(|_| keep.has(Modality::Audio)),
            text: self.text.clone().filter(|_| keep.has(Modality::Text)),
            text_shift: self.text_shift.clone().filter(|_| keep.has(Modality::Text)),
        }
    }
}

/// What a loss is measured against: a class, or a distribution over classes.
pub type Target = Label;

/// A row-major matrix of host floats: `rows * columns` values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    /// Values a row.
    pub columns: usize,
    /// All rows, one after another.
    pub values: Vec<f32>,
}

impl Matrix {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }
    /// One row. Panics past the end, like a slice.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
}

/// A forward pass: one row a sample, in the order of the inputs.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// Fused logits, one column a class.
    pub logits: Matrix,
    /// Embedding of each modality the model has; the row of a missing modality is its learned token.
    pub embeddings: PerModality<Option<Matrix>>,
    /// Fused embedding (the input of the last layer).
    pub fused: Option<Matrix>,
}

/// What an attack ascends, per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Cross entropy with the target.
    #[default]
    CrossEntropy,
    /// `max_{k != y} z_k - z_y` (Carlini and Wagner 2017).
    CarliniWagner,
    /// The scale-free difference of logits ratio (Croce and Hein 2020).
    Dlr,
}

/// The gradient of a per-sample objective with respect to the inputs, at native resolution and rate.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    /// Objective of each sample.
    pub objective: Vec<f32>,
    /// Fused logits of the same pass.
    pub logits: Matrix,
    /// Per sample: the gradient of its pixels, in the layout of [`Pixels::values`]; `None` where not asked or missing.
    pub image: Vec<Option<Vec<f32>>>,
    /// Per sample: the gradient of its waveform, in the layout of [`Waveform::values`].
    pub audio: Vec<Option<Vec<f32>>>,
    /// Per sample: the gradient of its embedded text, in the layout of [`EmbeddedText::values`]; padding included, so that a longer text can be judged.
    pub text: Vec<Option<Vec<f32>>>,
}

impl Gradients {
    /// The gradient of one modality of one row, where there is one.
    pub fn of(&self, modality: Modality, row: usize) -> Option<&[f32]> {
        let rows = match modality {
            Modality::Image => &self.image,
            Modality::Audio => &self.audio,
            Modality::Text => &self.text,
        };
        rows.get(row)?.as_deref()
    }
    /// The rows of parts one after another; `columns` logits a row.
    pub(crate) fn joined(columns: usize, parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { logits: Matrix { columns, values: Vec::new() }, ..Self::default() };
        for part in parts {
            all.objective.extend(part.objective);
            all.logits.values.extend(part.logits.values);
            all.image.extend(part.image);
            all.audio.extend(part.audio);
            all.text.extend(part.text);
        }
        all
    }
    /// The gradients of one modality, one a row.
    pub(crate) fn rows_mut(&mut self, modality: Modality) -> &mut Vec<Option<Vec<f32>>> {
        match modality {
            Modality::Image => &mut self.image,
            Modality::Audio => &mut self.audio,
            Modality::Text => &mut self.text,
        }
    }
}

/// What a model is and can do. Everything that `build()` checks before data is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Short name (`fusion`, `linear`).
    pub name: String,
    /// BLAKE3 digest of architecture and weights.
    pub digest: String,
    /// Class names, in the order of the logits.
    pub classes: Classes,
    /// Modalities it reads.
    pub modalities: ModalitySet,
    /// Modalities whose input gradient it gives.
    pub gradients: ModalitySet,
    /// Modalities with an embedding.
    pub embeddings: ModalitySet,
    /// Modalities whose embedding's gradient with respect to the medium it gives.
    pub embedding_gradients: ModalitySet,
    /// Modalities whose latent decodes to a medium.
    pub decodes: ModalitySet,
}

/// A model in evaluation. Object-safe; thread-safe, though one thread at a time calls it in a run.
///
/// Each row of an answer depends on its own input alone, bit for bit: no batch statistics, no dropout, and a fixed
/// micro-batch inside, so that neither the batch size nor the neighbours in the batch change a number.
pub trait Model: Send + Sync {
    /// What it is and can do.
    fn spec(&self) -> &ModelSpec;
    /// Logits and embeddings. An empty batch gives empty outputs. Errors if a medium cannot be read by this model.
    fn forward(&self, inputs: &[Input]) -> Result<Outputs>;
    /// Value of `of` at each input's logits and its gradient with respect to the modalities of `wrt`, from one backward pass.
    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients>;
    /// The same of an objective. `targets` are as many as `inputs`.
    fn gradient(&self, inputs: &[Input], targets: &[Target], objective: Objective, wrt: ModalitySet) -> Result<Gradients> {
        check_targets(targets, inputs.len(), self.spec().classes.len())?;
        self.logits_gradient(inputs, wrt, &|row, logits| measure::objective_of(targets, row, logits, objective))
    }
    /// Value of `of` at each input's embedding of one modality and its gradient with respect to that medium (of a text: to its embedded form), with the logits of the same pass; an
    /// encoder reads its own medium alone. Errors where `spec().embedding_gradients` lacks the modality.
    fn embedding_gradient(&self, _inputs: &[Input], _modality: Modality, _of: OfRow<'_>) -> Result<Gradients> {
        Err(Error::model("this model gives no gradient of its embeddings").at("model", &self.spec().name))
    }
    /// A text as the encoder sees it: what [`Gradients::text`] and [`Input::text_shift`] refer to. Errors where the model embeds no text.
    fn embed_text(&self, _text: &str) -> Result<EmbeddedText> {
        Err(Error::model("this model embeds no text").at("model", &self.spec().name))
    }
    /// What edits of a text do to the product of its embedding with `slope`, where the model can tell without embedding every edited text; none otherwise.
    fn text_edits<'a>(&'a self, _text: &'a str, _slope: &'a [f32]) -> Result<Option<Box<dyn TextEdits + 'a>>> {
        Ok(None)
    }
    /// The latent space, if it has one.
    fn latent(&self) -> Option<&dyn Latent> {
        None
    }
    /// Writes weights and architecture as safetensors, so that `model: { load: ... }` reads them back.
    fn save(&self, path: &Path) -> Result<()>;
    /// What it took from its own file unasked, and how it is run other than was asked for, in words.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Evaluations counted so far; a model that does not count says none (wrap it in [`Counted`]).
    fn evaluations(&self) -> Evaluations {
        Evaluations::default()
    }
    /// The recorded answers, where this is no model but what one said elsewhere: asked by sample id, not by input.
    fn recorded(&self) -> Option<&Recorded> {
        None
    }
}

/// A function of the logits or of an embedding of row `i` of a batch: its value, and its slope along them, as long as they are.
pub type OfRow<'a> = &'a (dyn Fn(usize, &[f32]) -> (f32, Vec<f32>) + Sync);

/// Latents of some modalities, one row a sample.
pub type Latents = PerModality<Option<Matrix>>;

/// The gradient of a per-sample objective with respect to latents.
#[derive(Debug, Clone, Default)]
pub struct LatentGradients {
    /// Objective of each sample.
    pub objective: Vec<f32>,
    /// Fused logits of the same pass.
    pub logits: Matrix,
    /// The gradient of each given latent; zeros in a row whose input lacks the modality.
    pub latents: Latents,
}

/// A latent space that media are encoded to and decoded from.
pub trait Latent: Send + Sync {
    /// One row a sample; every input must have the modality.
    fn encode(&self, modality: Modality, inputs: &[Input]) -> Result<Matrix>;
    /// Pixels of each row of `latents` at the size and with the channels of `like`, clamped to `0..=1`. Errors where the model has no image decoder.
    fn decode_image(&self, latents: &Matrix, like: &[Arc<Pixels>]) -> Result<Vec<Pixels>>;
    /// A waveform of each row of `latents` with the rate, channels and length of `like`, inside `-1..=1`. What the latent does not hold (the level, the colour
    /// of the recording) is that of `like`. Errors where the model has no audio decoder.
    fn decode_audio(&self, _latents: &Matrix, _like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        Err(Error::model("this model decodes no audio"))
    }
    /// The waveforms `like`, changed as their latents change from `before` to `after`; where the two are equal, `like` itself. Errors where the model has
    /// no audio decoder.
    fn shift_audio(&self, before: &Matrix, after: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        let (before, after) = (self.decode_audio(before, like)?, self.decode_audio(after, like)?);
        let shifted = before.iter().zip(&after).zip(like).map(|((before, after), like)| {
            let change = after.values.iter().zip(&before.values).map(|(a, b)| a - b);
            let values = like.values.iter().zip(change).map(|(v, d)| (v + d).clamp(-1.0, 1.0)).collect();
            Waveform { values, ..**like }
        });
        Ok(shifted.collect())
    }
    /// The standard deviation that the model gives to each latent of a variational autoencoder, in the layout of `latents`; `None` where the decoder is a
    /// plain one.
    fn deviations(&self, _modality: Modality, _latents: &Matrix) -> Result<Option<Matrix>> {
        Ok(None)
    }
    /// Logits of the fused head when the embeddings of some modalities are replaced by the rows of `latents`. A modality that an input lacks stays missing.
    fn classify(&self, latents: &Latents, inputs: &[Input]) -> Result<Matrix>;
    /// Objective and its gradient with respect to the given `latents`, from one backward pass. Errors where the model has no such gradient.
    fn latent_gradient(
        &self,
        _latents: &Latents,
        _inputs: &[Input],
        _targets: &[Target],
        _objective: Objective,
    ) -> Result<LatentGradients> {
        Err(Error::model("this model gives no gradient of its latents"))
    }
}

/// One training step's batch. All slices have the same length, at least 1.
pub struct TrainingBatch<'a> {
    /// Inputs; a missing modality is trained as missing.
    pub inputs: &'a [Input],
    /// Targets.
    pub targets: &'a [Target],
    /// Weight of each sample's loss, at least 0.
    pub weights: &'a [f32],
    /// Step size.
    pub learning_rate: f64,
}

/// What a training step saw.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// Unweighted fused loss of each sample, from the training forward pass.
    pub losses: Vec<f32>,
    /// Fused logits of each sample, from the training forward pass (AUM is measured on them).
    pub logits: Matrix,
}

/// What a step with a [`Lesson`] gives.
#[derive(Debug, Clone, Default)]
pub struct Learnt {
    /// What it saw.
    pub report: StepReport,
    /// Gradient of the whole training loss with respect to the inputs, at the weights before the step, where it was asked for and the model gives it;
    /// its `objective` is empty.
    pub gradients: Option<Gradients>,
}

/// What a model can be taught besides a cross entropy of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Learns {
    /// Other losses of a row, and pairs of rows.
    pub losses: bool,
    /// Encoders that are held back ([`Balance`]).
    pub balance: bool,
}

/// A model that can be trained. Deterministic: the same start and the same steps give the same weights, whatever the
/// number of threads.
pub trait Trainable: Send {
    /// What it is; the digest is that of the moment.
    fn spec(&self) -> ModelSpec;
    /// One step of the optimizer. An error (a loss that is not finite) leaves the weights as they were.
    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport>;
    /// One step of the optimizer toward what `lesson` says. A model need not know how: then it takes plain steps alone, and gives no gradients.
    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        if !lesson.is_cross_entropy() || lesson.balance.is_some() || lesson.accumulation != Accumulation::Whole {
            return Err(Error::usage("this model learns the cross entropy of each row alone").at("model", &self.spec().name));
        }
        Ok(Learnt { report: self.step(batch)?, gradients: None })
    }
    /// Whether `learn` gives the input gradients that a lesson asks for.
    fn gives_gradients(&self) -> bool {
        false
    }
    /// The weights of now for the attacks of a step: as `freeze`, but it may borrow, and its digest may be empty.
    fn view(&self) -> Result<Arc<dyn Model + '_>> {
        self.freeze()
    }
    /// The weights of now, without gradients, for evaluation.
    fn freeze(&self) -> Result<Arc<dyn Model>>;
    /// A copy with weights and optimizer state.
    fn fork(&self) -> Result<Box<dyn Trainable>>;
    /// A new start of the same architecture: weights drawn from `seeds`, optimizer empty.
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>>;
    /// Writes weights and optimizer state.
    fn save_checkpoint(&self, path: &Path) -> Result<()>;
    /// Reads what `save_checkpoint` wrote.
    fn load_checkpoint(&mut self, path: &Path) -> Result<()>;
}

/// An error unless a perturbation of the embedded text has `length` finite numbers.
fn check_shift(shift: &[f32], length: usize) -> Result<()> {
    if shift.len() != length || !shift.iter().all(|v| v.is_finite()) {
        let found = shift.len();
        return Err(Error::model(format!("expected {length} finite numbers of perturbation, found {found}")).at("modality", "text"));
    }
    Ok(())
}

/// An error unless there are `inputs` targets among `classes`.
fn check_targets(targets: &[Target], inputs: usize, classes: usize) -> Result<()> {
    if targets.len() != inputs {
        return Err(Error::usage(format!("expected as many targets as inputs ({inputs}), found {}", targets.len())));
    }
    let fits = |target: &Target| match target {
        Target::Class(class) => *class < classes,
        Target::Soft(shares) => shares.len() == classes && shares.iter().all(|s| s.is_finite() && *s >= 0.0),
    };
    match targets.iter().position(|t| !fits(t)) {
        Some(at) => Err(Error::model(format!("expected a target among {classes} classes, found {:?} at row {at}", targets[at]))),
        None => Ok(()),
    }
}

/// Checks a training batch; its weights divided by its size.
fn check_batch(batch: &TrainingBatch<'_>, classes: usize) -> Result<Vec<f32>> {
    let n = batch.inputs.len();
    if n == 0 || batch.weights.len() != n {
        return Err(Error::usage(format!("expected at least one input and as many weights, found {n} and {}", batch.weights.len())));
    }
    check_targets(batch.targets, n, classes)?;
    if let Some(at) = batch.weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        return Err(Error::usage(format!("expected weights of at least 0, found {} at row {at}", batch.weights[at])));
    }
    Ok(batch.weights.iter().map(|w| w / n as f32).collect())
}

/// Cross entropy of each row; an error where one is not finite.
fn finite_losses(logits: &Matrix, targets: &[Target]) -> Result<Vec<f32>> {
    let losses: Vec<f32> = targets.iter().enumerate().map(|(i, target)| measure::cross_entropy(logits.row(i), target)).collect();
    match losses.iter().position(|loss| !loss.is_finite()) {
        Some(at) => Err(Error::model(format!("the loss of row {at} of the batch is {}; nothing was learnt", losses[at]))),
        None => Ok(losses),
    }
}

/// What a model needs to know of the data before it is built.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataProfile {
    /// Class names.
    pub classes: Classes,
    /// Modalities that at least one training sample has.
    pub modalities: ModalitySet,
    /// Most common image size `(width, height, channels)`.
    pub image: Option<(usize, usize, usize)>,
    /// Most common sample rate in Hz, and the 95 % quantile of the length in seconds.
    pub audio: Option<(u32, f64)>,
    /// The 99 % quantile of the text length in characters.
    pub text: Option<usize>,
}

/// What a model source opens.
pub enum Opened {
    /// A model to train from a fresh start.
    Trainable(Box<dyn Trainable>),
    /// A model that is only asked.
    Frozen(Arc<dyn Model>),
}

/// Where a model comes from: an operator of the `model:` table.
pub trait ModelSource: Send + Sync {
    /// What the opened model will be able to do, as far as the config alone tells; checked by `build()` before data is read.
    fn capabilities(&self) -> Capabilities;
    /// What it can be taught besides cross entropy; checked by `build()` against `train.objective` and `train.balance`.
    fn learns(&self) -> Learns {
        Learns::default()
    }
    /// Numbers of an embedding of this modality, where the config alone tells; checked by `build()` where embeddings of several modalities are compared.
    fn embedding_length(&self, _modality: Modality) -> Option<usize> {
        None
    }
    /// Opens it for this data. Relative paths start at the working folder.
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened>;
    /// Opens it for this data with relative paths starting at `base`, the folder of the pipeline file.
    fn open_at(&self, _base: &Path, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        self.open(profile, seeds)
    }
    /// Opens what [`Model::save`] of a model of this source wrote, for replay; `base` is the folder of the pipeline file.
    fn reopen(&self, _base: &Path, file: &Path) -> Result<Arc<dyn Model>> {
        load::open(file)
    }
}

/// What is known of a model before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether it can be trained.
    pub trainable: bool,
    /// Modalities it can read.
    pub modalities: ModalitySet,
    /// Modalities whose input gradient it gives.
    pub gradients: ModalitySet,
    /// Modalities with embeddings.
    pub embeddings: ModalitySet,
    /// Modalities whose embedding's gradient with respect to the medium it gives.
    pub embedding_gradients: ModalitySet,
    /// Modalities whose latent decodes to a medium.
    pub decodes: ModalitySet,
    /// Modalities whose latent is the mean of a distribution that it knows the deviations of: those of a variational autoencoder.
    pub variational: ModalitySet,
}

/// Models that never trained on a sample's group: the judge of its label and the source of its out-of-fold scores.
#[derive(Clone, Default)]
pub struct Teachers {
    /// One a fold.
    pub models: Vec<Arc<dyn Model>>,
    /// The fold that held a sample out.
    pub fold_of: HashMap<SampleId, usize>,
}

impl Teachers {
    /// The model that never saw this sample's group; `None` for a sample that is in no fold.
    pub fn of(&self, id: &SampleId) -> Option<&Arc<dyn Model>> {
        self.models.get(*self.fold_of.get(id)?)
    }
}

/// Evaluations outside training, one a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evaluations {
    /// Forward evaluations.
    pub forward: u64,
    /// Gradient evaluations.
    pub gradient: u64,
}

impl ModelSet {
    /// Evaluations that the models of the set have counted so far (those wrapped in [`Counted`]).
    pub fn spent(&self) -> Evaluations {
        let teachers = self.teachers.iter().flat_map(|teachers| teachers.models.iter());
        teachers.chain([&self.subject]).map(|model| model.evaluations()).fold(Evaluations::default(), |sum, one| Evaluations {
            forward: sum.forward + one.forward,
            gradient: sum.gradient + one.gradient,
        })
    }
}

/// The models of a round.
#[derive(Clone)]
pub struct ModelSet {
    /// The model that is being improved.
    pub subject: Arc<dyn Model>,
    /// The judges, where a stage asked for them.
    pub teachers: Option<Teachers>,
}

/// The shipped model sources.
pub fn table() -> crate::operator::Table<dyn ModelSource> {
    let table = crate::operator::Table::default().with::<cnn::Cnn>().with::<command::Command>();
    let table = table.with::<linear::Linear>().with::<load::Load>().with::<onnx::Onnx>();
    #[cfg(feature = "burn")]
    let table = table.with::<fusion::Fusion>();
    table
}
