//! Your own burn module as a [`Model`] and a [`Trainable`]: implement [`Network`] for it, and wrap it.
//!
//! ```ignore
//! let format = Format { name: "mine".into(), classes, image: Some((28, 28, 1)), audio: None, text: None };
//! let mut trainer = BurnTrainer::new(module, format, 0.01, &SeedTree::new(7))?;   // a `Trainable`
//! let model = trainer.freeze()?;                                                   // an `Arc<dyn Model>`
//! ```
//!
//! The adapter maps native media to the shapes of [`Format`] and gradients back, runs fixed micro-batches in evaluation (the
//! last one is filled up with missing samples), takes losses and attack objectives a sample, and turns a panic of the
//! module into an error. The module must treat samples apart and answer the same in training and in evaluation: layers with draws of their own (dropout) or
//! with statistics of the batch (batch normalisation) are refused. Layer, group or instance normalisation take the place of the second, and
//! `train.modality_dropout` drops by the run's seed.

mod model;

pub use model::BurnModel;

use super::{
    Gradients, Input, Learnt, Lesson, Model, ModelSpec, Pixels, StepReport, Target, Trainable, TrainingBatch, Waveform,
    parameters::{AdamW, Parameter, Parameters},
    preprocess::{AudioMap, Canonical, ImageMap},
};
use crate::{
    error::{Error, Result},
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet, PerModality},
};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients as BurnGradients, Int, Tensor, TensorData, activation},
};
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

/// Samples of every forward pass in evaluation.
const MICRO_BATCH: usize = 32;
/// Samples of one graph in training; even, so that no pair of a lesson is cut.
const PART: usize = 16;

/// A micro-batch as tensors; `n` samples. What [`Format`] does not name is `None`.
#[derive(Debug, Clone)]
pub struct TensorBatch {
    /// `[n, channels, rows, columns]`, values `0..=1`; zeros where missing.
    pub image: Option<Tensor<4>>,
    /// `[n, samples]`, mono, values `-1..=1`; zeros where missing.
    pub audio: Option<Tensor<2>>,
    /// `[n, length]` token ids; zeros where missing.
    pub text: Option<Tensor<2, Int>>,
    /// `[n, 1]` each: 1 where the modality is present, 0 where it is missing.
    pub present: PerModality<Tensor<2>>,
}

/// What a [`Network`] answers; `n` rows each.
#[derive(Debug, Clone)]
pub struct TensorOutput {
    /// `[n, classes]`.
    pub logits: Tensor<2>,
    /// `[n, size]` of each modality, where there are embeddings; the same modalities for every batch.
    pub embeddings: PerModality<Option<Tensor<2>>>,
}

impl From<Tensor<2>> for TensorOutput {
    fn from(logits: Tensor<2>) -> Self {
        Self { logits, embeddings: PerModality::default() }
    }
}

/// A user's burn module.
pub trait Network: Module + Sync + 'static {
    /// Logits, and embeddings where there are any. Each row depends on its own sample alone.
    fn forward(&self, batch: TensorBatch) -> TensorOutput;

    /// Start values of the weight at `path`, drawn from `seeds` alone; `None` for the rule: a normal distribution of variance
    /// `2 / fan-in` for matrices (`[inputs, outputs]`) and kernels (`[outputs, inputs, ...]`), 0 for vectors, and the module's own value
    /// for vectors of equal numbers (gains of a normalisation).
    fn start(&self, path: &str, shape: &[usize], seeds: &SeedTree) -> Option<Vec<f32>> {
        let _ = (path, shape, seeds);
        None
    }
}

/// How text becomes token ids: always the same number of them.
#[derive(Clone)]
pub struct Tokens {
    /// Ids a text; longer answers are cut, shorter ones filled up with 0.
    pub length: usize,
    /// Ids of a text.
    pub ids: Arc<dyn Fn(&str) -> Vec<i64> + Send + Sync>,
}

/// What the module reads and how its classes are called.
#[derive(Clone)]
pub struct Format {
    /// Name in [`ModelSpec`].
    pub name: String,
    /// Class names in the order of the logits.
    pub classes: Classes,
    /// Columns, rows, channels (1 or 3).
    pub image: Option<(usize, usize, usize)>,
    /// Rate in Hz and length in samples.
    pub audio: Option<(u32, usize)>,
    /// Text as token ids.
    pub text: Option<Tokens>,
}

impl Format {
    fn modalities(&self) -> ModalitySet {
        [(Modality::Image, self.image.is_some()), (Modality::Audio, self.audio.is_some()), (Modality::Text, self.text.is_some())]
            .into_iter()
            .filter_map(|(modality, there)| there.then_some(modality))
            .collect()
    }
    fn architecture(&self) -> Value {
        let text = self.text.as_ref().map(|t| t.length);
        json!({ "model": self.name, "classes": self.classes, "image": self.image, "audio": self.audio, "text": text })
    }
    fn canonical(&self) -> Canonical {
        Canonical::new(self.image, self.audio.map(|(rate, length)| (rate, Some(length))))
    }
    fn check(&self) -> Result<()> {
        let shapes = self.image.is_none_or(|(w, h, c)| w > 0 && h > 0 && matches!(c, 1 | 3))
            && self.audio.is_none_or(|(rate, length)| rate > 0 && length > 0)
            && self.text.as_ref().is_none_or(|t| t.length > 0);
        if self.classes.is_empty() || self.modalities().is_empty() || !shapes {
            return Err(Error::usage("a format names at least one class and one modality, of sizes above 0 and 1 or 3 image channels"));
        }
        Ok(())
    }
    fn spec(&self, parameters: &Parameters, embeddings: ModalitySet) -> ModelSpec {
        let modalities = self.modalities();
        ModelSpec {
            name: self.name.clone(),
            digest: parameters.digest(&self.architecture()),
            classes: self.classes.clone(),
            modalities,
            gradients: modalities.without(Modality::Text),
            embeddings,
            // Token numbers have no gradient.
            embedding_gradients: embeddings.without(Modality::Text),
            decodes: ModalitySet::EMPTY,
        }
    }
}

/// One micro-batch on the device, with the way back.
struct Prepared {
    batch: TensorBatch,
    images: Vec<Option<Arc<ImageMap>>>,
    audios: Vec<Option<AudioMap>>,
}

fn prepare(format: &Format, canonical: &Canonical, inputs: &[Input], size: usize, wrt: ModalitySet) -> Result<Prepared> {
    let device = Device::default();
    let (mut pixels, mut samples, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut images, mut audios) = (Vec::new(), Vec::new());
    let mut present: PerModality<Vec<f32>> = PerModality::default();
    for input in inputs {
        if let Some((w, h, c)) = format.image {
            let map = input.image.as_ref().map(|p| canonical.image(p).map(|m| (m.apply(&p.values), m))).transpose();
            let (values, map) = map.map_err(|e| e.at("modality", "image"))?.unzip();
            pixels.extend(values.unwrap_or_else(|| vec![0.0; w * h * c]));
            images.push(map);
        }
        if let Some((_, length)) = format.audio {
            let map = input.audio.as_ref().map(|w| canonical.audio(w).map(|m| (m.apply(&w.values), m))).transpose();
            let (values, map) = map.map_err(|e| e.at("modality", "audio"))?.unzip();
            samples.extend(values.unwrap_or_else(|| vec![0.0; length]));
            audios.push(map);
        }
        if input.text.is_some() && input.text_shift.is_some() {
            return Err(Error::model("a burn module reads token numbers: their embedding cannot be perturbed").at("modality", "text"));
        }
        if let Some(tokens) = &format.text {
            let mut own = input.text.as_ref().map(|text| (tokens.ids)(text)).unwrap_or_default();
            own.resize(tokens.length, 0);
            ids.extend(own);
        }
        let there = input.present().and(format.modalities());
        Modality::ALL.into_iter().for_each(|m| present[m].push(if there.has(m) { 1.0 } else { 0.0 }));
    }
    let leaf = |modality| wrt.has(modality);
    let image = format.image.map(|(w, h, c)| {
        pixels.resize(size * w * h * c, 0.0);
        let tensor = Tensor::<4>::from_data(TensorData::new(std::mem::take(&mut pixels), [size, c, h, w]), &device);
        if leaf(Modality::Image) { tensor.autodiff().require_grad() } else { tensor }
    });
    let audio = format.audio.map(|(_, length)| {
        samples.resize(size * length, 0.0);
        let tensor = Tensor::<2>::from_data(TensorData::new(std::mem::take(&mut samples), [size, length]), &device);
        if leaf(Modality::Audio) { tensor.autodiff().require_grad() } else { tensor }
    });
    let text = format.text.as_ref().map(|tokens| {
        ids.resize(size * tokens.length, 0);
        Tensor::<2, Int>::from_data(TensorData::new(std::mem::take(&mut ids), [size, tokens.length]), &device)
    });
    let present = PerModality::from_fn(|m| {
        present[m].resize(size, 0.0);
        Tensor::<2>::from_data(TensorData::new(present[m].clone(), [size, 1]), &device)
    });
    Ok(Prepared { batch: TensorBatch { image, audio, text, present }, images, audios })
}

/// Runs the module; its panics become errors.
fn run<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let words = cause.downcast_ref::<String>().cloned().or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Error::model(format!("the burn module panicked: {}", words.unwrap_or_else(|| "without a message".into()))))
    })
}

fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let floats = tensor.inner().into_data().convert::<f32>().try_into_vec::<f32>();
    floats.map_err(|e| Error::model(format!("the module gave no floats: {e:?}")))
}

fn checked(logits: &Tensor<2>, rows: usize, classes: usize) -> Result<()> {
    if logits.dims() == [rows, classes] {
        return Ok(());
    }
    Err(Error::model(format!("expected logits of the shape [{rows}, {classes}], the module gave {:?}", logits.dims())))
}

/// Reads every float weight of a module by its path.
#[derive(Default)]
struct Collect<'a> {
    path: Vec<String>,
    gradients: Option<&'a BurnGradients>,
    found: BTreeMap<String, Parameter>,
    failed: Option<Error>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let shape: Vec<usize> = value.dims().into();
        let values = match self.gradients {
            None => host(value),
            Some(gradients) => value.grad(gradients).map_or_else(|| Ok(vec![0.0; shape.iter().product()]), host),
        };
        match values {
            Ok(values) => drop(self.found.insert(self.path.join("."), Parameter { shape, values })),
            Err(error) => self.failed = Some(error),
        }
    }
}

fn collect<N: Network>(module: &N, gradients: Option<&BurnGradients>) -> Result<Parameters> {
    let mut visitor = Collect { gradients, ..Collect::default() };
    module.visit(&mut visitor);
    match visitor.failed {
        Some(error) => Err(error),
        None => Ok(visitor.found.into_iter().collect()),
    }
}

/// Puts weights into a module, each as a leaf of its own so that graphs of several threads share nothing.
struct Place<'a> {
    path: Vec<String>,
    parameters: &'a Parameters,
    tracked: bool,
}

impl ModuleMapper for Place<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(own) = self.parameters.get(&self.path.join(".")) else { return param };
        let tracked = self.tracked;
        param.map(|_| {
            let tensor = Tensor::<D>::from_data(TensorData::new(own.values.clone(), own.shape.clone()), &Device::default());
            if tracked { tensor.autodiff().require_grad() } else { tensor }
        })
    }
}

fn place<N: Network>(module: N, parameters: &Parameters, tracked: bool) -> N {
    let module = if tracked { module.train() } else { module.valid() };
    module.map(&mut Place { path: Vec::new(), parameters, tracked })
}

/// A user's burn module in training: AdamW on the weighted cross entropy of its rows, or on whatever a [`Lesson`] says of their logits. Whatever
/// `train.objective` names can be learnt; encoders cannot be held back ([`Balance`](super::Balance)).
#[derive(Clone)]
pub struct BurnTrainer<N> {
    module: N,
    format: Format,
    parameters: Parameters,
    optimizer: AdamW,
    canonical: Canonical,
}

impl<N: Network> BurnTrainer<N> {
    /// Weights drawn from `seeds` (see [`Network::start`]); `weight_decay` is AdamW's, at least 0.
    ///
    /// The module is tried on noise: an error if it panics there, if it answers differently in training and in evaluation or from one pass to the next
    /// (dropout), or if the rows of a batch change each other (batch normalisation).
    pub fn new(module: N, format: Format, weight_decay: f32, seeds: &SeedTree) -> Result<Self> {
        let trainer = Self::untried(module, format, weight_decay, seeds)?;
        trainer.try_on_noise()?;
        Ok(trainer)
    }

    fn untried(module: N, format: Format, weight_decay: f32, seeds: &SeedTree) -> Result<Self> {
        format.check()?;
        let mut parameters = Parameters::default();
        for (path, own) in collect(&module, None)?.iter() {
            let values = match module.start(path, &own.shape, &seeds.child(path)) {
                Some(values) if values.len() == own.values.len() => values,
                Some(values) => {
                    return Err(Error::model(format!("`{path}` has {} values, found a start of {}", own.values.len(), values.len())));
                }
                None => start(own, &seeds.child(path))?,
            };
            parameters.insert(path, own.shape.clone(), values);
        }
        Ok(Self { canonical: format.canonical(), optimizer: AdamW::new(weight_decay), module, format, parameters })
    }

    /// An error if the module is not the same function of each row alone in training as in evaluation.
    fn try_on_noise(&self) -> Result<()> {
        const ROWS: usize = 4;
        let mut rng = SeedTree::new(0).child("noise").rng();
        let mut noise = |count: usize, low: f32| -> Vec<f32> { (0..count).map(|_| rng.random_range(low..1.0)).collect() };
        // Weights that start at 0 (a head, a gain of a residual branch) would hide what is before them until the first step.
        let mut parameters = self.parameters.clone();
        for (_, values) in parameters.iter_mut().filter(|(_, values)| values.iter().all(|v| *v == 0.0)) {
            values.copy_from_slice(&noise(values.len(), -1.0));
            values.iter_mut().for_each(|v| *v *= 0.1);
        }
        let inputs: Vec<Input> = (0..ROWS)
            .map(|row| {
                let image = self.format.image.map(|(width, height, channels)| {
                    Arc::new(Pixels { width, height, channels, values: noise(width * height * channels, 0.0) })
                });
                let audio = self
                    .format
                    .audio
                    .map(|(sample_rate_hz, length)| Arc::new(Waveform { sample_rate_hz, channels: 1, values: noise(length, -1.0) }));
                let text = self.format.text.as_ref().map(|_| Arc::from(["a", "noise", "of words", "in no order"][row % 4]));
                Input { image, audio, text, ..Input::default() }
            })
            .collect();
        let answer = |inputs: &[Input], training: bool| {
            let wrt = if training { self.format.modalities() } else { ModalitySet::EMPTY };
            let prepared = prepare(&self.format, &self.canonical, inputs, inputs.len(), wrt)?;
            run(|| {
                let logits = place(self.module.clone(), &parameters, training).forward(prepared.batch).logits;
                checked(&logits, inputs.len(), self.format.classes.len())?;
                host(logits)
            })
        };
        let (mut alone, classes) = (Vec::new(), self.format.classes.len());
        for input in &inputs {
            alone.extend(answer(std::slice::from_ref(input), false)?);
        }
        // Sums may run in another order in a batch of another size; draws and statistics change far more than that.
        let most = alone.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        let same =
            |others: &[f32]| alone.iter().zip(others).all(|(a, b)| (a - b).abs() <= 1e-3 * most || (!a.is_finite() && !b.is_finite()));
        let told = |what: &str| {
            let message = format!(
                "this module cannot be trained here: {what}. Batch normalisation (layer, group or instance normalisation take its place) and dropout \
                 (`train.modality_dropout` drops by the run's seed) make the answer to a sample depend on its neighbours or on chance"
            );
            Err(Error::usage(message).at("model", &self.format.name))
        };
        if !same(&answer(&inputs, false)?) {
            return told("in evaluation the rows of a batch change each other");
        }
        if !same(&answer(&inputs, true)?) || !same(&answer(&inputs, true)?) {
            return told(&format!("on noise ({ROWS} samples, {classes} classes) it answers differently in training and in evaluation"));
        }
        Ok(())
    }

    /// One graph: `inputs` are the rows of a batch of `rows` from `first` on, their weights divided by the batch's size.
    fn part(
        &self,
        (first, rows): (usize, usize),
        inputs: &[Input],
        targets: &[Target],
        weights: &[f32],
        lesson: &Lesson<'_>,
    ) -> Result<Part> {
        let (n, classes) = (inputs.len(), self.format.classes.len());
        let prepared = prepare(&self.format, &self.canonical, inputs, n, lesson.wrt)?;
        let leaves = (prepared.batch.image.clone(), prepared.batch.audio.clone());
        run(|| {
            let module = place(self.module.clone(), &self.parameters, true);
            let tensor = module.forward(prepared.batch).logits;
            checked(&tensor, n, classes)?;
            let logits = host(tensor.clone())?;
            let matrix = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [n, classes]), &Device::default());
            let total = if lesson.is_cross_entropy() {
                let shares = (0..n).flat_map(|i| (0..classes).map(move |k| -weights[i] * targets[i].share(k))).collect::<Vec<f32>>();
                (activation::log_softmax(tensor, 1) * matrix(shares)).sum()
            } else {
                // The loss is a function of these few logits: its slope is exact on the host, and what is left for the graph is linear.
                let (value, slopes) = lesson.slopes(first, rows, &logits, classes, targets, weights);
                if !value.is_finite() {
                    return Err(Error::model(format!("the loss of the batch is {value}; nothing was learnt")));
                }
                (tensor * matrix(slopes)).sum()
            };
            let gradients = total.backward();
            let (mut images, mut audios) = native(leaves, &gradients, lesson.wrt, (&prepared.images, &prepared.audios), n)?;
            images.resize(n, None);
            audios.resize(n, None);
            Ok(Part { logits, gradients: collect(&module, Some(&gradients))?, images, audios })
        })
    }
}

/// What one graph gives.
struct Part {
    logits: Vec<f32>,
    gradients: Parameters,
    images: NativeGradients,
    audios: NativeGradients,
}

/// Gradients of native media, one a sample; `None` where not asked or missing.
type NativeGradients = Vec<Option<Vec<f32>>>;

/// The gradients of the `size` rows of the leaves, carried back to the media that the maps come from.
fn native(
    (image, audio): (Option<Tensor<4>>, Option<Tensor<2>>),
    gradients: &BurnGradients,
    wrt: ModalitySet,
    (images, audios): (&[Option<Arc<ImageMap>>], &[Option<AudioMap>]),
    size: usize,
) -> Result<(NativeGradients, NativeGradients)> {
    let of = |modality| wrt.has(modality);
    let seen = image.filter(|_| of(Modality::Image)).and_then(|leaf| leaf.grad(gradients)).map(host).transpose()?;
    let heard = audio.filter(|_| of(Modality::Audio)).and_then(|leaf| leaf.grad(gradients)).map(host).transpose()?;
    fn row(values: &[f32], at: usize, size: usize) -> Option<&[f32]> {
        values.get(at * values.len() / size..(at + 1) * values.len() / size)
    }
    let one = |at: usize, map: &Option<Arc<ImageMap>>| Some(map.as_ref()?.transpose(row(seen.as_ref()?, at, size)?));
    let images = images.iter().enumerate().map(|(at, map)| one(at, map)).collect();
    let one = |at: usize, map: &Option<AudioMap>| Some(map.as_ref()?.transpose(row(heard.as_ref()?, at, size)?));
    let audios = audios.iter().enumerate().map(|(at, map)| one(at, map)).collect();
    Ok((images, audios))
}

fn start(own: &Parameter, seeds: &SeedTree) -> Result<Vec<f32>> {
    let fan_in: usize = match own.shape.as_slice() {
        [_] if own.values.iter().all(|v| *v == own.values[0]) => return Ok(own.values.clone()),
        [_] | [] => return Ok(vec![0.0; own.values.len()]),
        [inputs, _] => *inputs,
        [_, inputs @ ..] => inputs.iter().product(),
    };
    let normal = Normal::new(0.0, (2.0 / fan_in.max(1) as f64).sqrt()).map_err(|e| Error::internal(e.to_string()))?;
    let mut rng = seeds.rng();
    Ok((0..own.values.len()).map(|_| normal.sample(&mut rng) as f32).collect())
}

impl<N: Network> Trainable for BurnTrainer<N> {
    fn spec(&self) -> ModelSpec {
        self.format.spec(&self.parameters, ModalitySet::EMPTY)
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        Ok(self.learn(batch, &Lesson::default())?.report)
    }

    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        if lesson.balance.is_some() {
            let message = "which weights of a burn module are whose encoder is not known: none can be held back";
            return Err(Error::usage(message).at("model", &self.format.name));
        }
        let weights = super::check_batch(batch, self.format.classes.len())?;
        let rows = batch.inputs.len();
        let parts = batch.inputs.par_chunks(PART).zip(batch.targets.par_chunks(PART)).zip(weights.par_chunks(PART)).enumerate();
        let parts: Vec<Part> = parts
            .map(|(i, ((inputs, targets), weights))| self.part((i * PART, rows), inputs, targets, weights, lesson))
            .collect::<Result<_>>()?;
        let mut report = StepReport::default();
        report.logits.columns = self.format.classes.len();
        let mut slopes = Gradients::default();
        let mut sum: Option<Parameters> = None;
        for part in parts {
            report.logits.values.extend(part.logits);
            slopes.image.extend(part.images);
            slopes.audio.extend(part.audios);
            match &mut sum {
                None => sum = Some(part.gradients),
                Some(sum) => sum.accumulate(&part.gradients)?,
            }
        }
        report.losses = super::finite_losses(&report.logits, batch.targets)?;
        self.optimizer.accumulate(lesson.accumulation, &mut self.parameters, &sum.unwrap_or_default(), batch.learning_rate)?;
        let gradients = (!lesson.wrt.is_empty()).then(|| Gradients { logits: report.logits.clone(), ..slopes });
        Ok(Learnt { report, gradients })
    }

    fn gives_gradients(&self) -> bool {
        true
    }

    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(BurnModel::with(self.module.clone(), self.format.clone(), self.parameters.clone())?))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(self.clone()))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self::untried(self.module.clone(), self.format.clone(), self.optimizer.weight_decay, seeds)?))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.optimizer.write_checkpoint(path, &self.parameters, &self.format.architecture())
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.optimizer.read_checkpoint(path, &mut self.parameters, &self.format.architecture())
    }
}

#[cfg(test)]
pub(crate) mod tests;
