//! The fusion model in training.

use super::{
    Fusion, FusionModel,
    autoencoder::{self, Coded},
    block::{MicroBatch, column, transposed},
    net::{Leaves, Net, Weights, host, matrix},
    shape::Shape,
};
use crate::{
    error::{Error, Result},
    model::{
        Balance, Gradients, Input, Learnt, Lesson, Matrix, Model, ModelSpec, StepReport, Target, Trainable, TrainingBatch, measure,
        parameters::{AdamW, Parameter, Parameters},
        preprocess::Canonical,
    },
    random::SeedTree,
    sample::{Modality, PerModality},
};
use burn::tensor::{Tensor, activation};
use rand_distr::{Distribution, Normal};
use rayon::prelude::*;
use std::{path::Path, sync::Arc};

/// Samples of one graph; even, so that no pair of a lesson is cut. A batch is split into parts of this size whatever the number of threads, and their gradients are
/// added in order: the sum has the same bits on every machine of the same kind.
const PART: usize = 16;

/// The fusion model with its optimizer.
#[derive(Debug, Clone)]
pub struct FusionTrainer {
    config: Fusion,
    shape: Shape,
    net: Net,
    parameters: Parameters,
    optimizer: AdamW,
    canonical: Canonical,
    /// Where the noise of variational codes comes from: by step and row of the batch.
    noise: SeedTree,
}

impl FusionTrainer {
    pub(super) fn new(config: Fusion, shape: Shape, given: Option<Parameters>, seeds: &SeedTree) -> Result<Self> {
        let net = Net::new(shape.clone());
        let optimizer = AdamW::new(config.weight_decay);
        let noise = seeds.child("noise");
        let parameters = given.map_or_else(|| shape.start(seeds), Ok)?;
        Ok(Self { parameters, canonical: shape.canonical(), optimizer, net, config, shape, noise })
    }

    /// Logits `[samples, classes]`, the gradient and the whole loss of a part of a batch; `weights` are already divided by the
    /// batch's size. `first` is its first row's place among the `rows` of the batch.
    fn part(
        &self,
        (first, rows): (usize, usize),
        inputs: &[Input],
        targets: &[Target],
        weights: &[f32],
        lesson: &Lesson<'_>,
    ) -> Result<Part> {
        let device = &self.net.device;
        let (n, classes) = (inputs.len(), self.shape.classes.len());
        let batch = MicroBatch::new(&self.shape, &self.canonical, inputs, None)?;
        let tensors = Weights::new(&self.parameters, device, true);
        let plain = self.net.leaves(&batch);
        let leaves: Leaves = PerModality::from_fn(|m| {
            let leaf = match (&plain[m], &batch.blocks[m]) {
                (Some(leaf), _) => leaf.clone(),
                // The slope of a text is that of a perturbation of 0.
                (None, Some(block)) if m == Modality::Text && lesson.wrt.has(m) => {
                    let size = self.shape.text.as_ref().map_or(0, |text| text.characters * text.length);
                    Tensor::zeros([size, block.count], device)
                }
                _ => return None,
            };
            Some(if lesson.wrt.has(m) { leaf.autodiff().require_grad() } else { leaf })
        });
        let pass = self.net.forward(&tensors, &batch, &leaves, None)?;
        let logits = transposed(&host(pass.logits.clone().inner())?, n, n);

        // Weighted cross entropy of the samples `of`, times `share`.
        let loss = |logits: Tensor<2>, of: &[usize], share: f32| {
            let shares = (0..classes).flat_map(|k| of.iter().map(move |&i| -share * weights[i] * targets[i].share(k))).collect();
            (activation::log_softmax(logits, 0) * matrix(shares, classes, of.len(), device)).sum()
        };
        let everyone: Vec<usize> = (0..n).collect();
        // What another loss than cross entropy is worth besides what the graph says of it.
        let mut offset = 0.0f64;
        let mut total = if lesson.is_cross_entropy() {
            loss(pass.logits, &everyone, 1.0)
        } else {
            let (value, slopes) = lesson.slopes(first, rows, &logits, classes, targets, weights);
            offset = value - logits.iter().zip(&slopes).map(|(z, g)| f64::from(*z) * f64::from(*g)).sum::<f64>();
            (pass.logits * matrix(transposed(&slopes, classes, classes), classes, n, device)).sum()
        };
        let mut scores: PerModality<(f64, usize)> = PerModality::default();
        for modality in self.shape.modalities().iter() {
            let (Some(block), Some(own)) = (&batch.blocks[modality], &pass.present[modality]) else { continue };
            let present: Vec<usize> = (0..n).filter(|&i| (block.columns[i] as usize) < block.count).collect();
            if self.config.auxiliary > 0.0 {
                let logits = self.net.dense(&tensors, &format!("{modality}.head"), own.clone())?;
                if lesson.balance.is_some() {
                    let answers = transposed(&host(logits.clone().inner())?, block.count, block.count);
                    let of_label = |(row, i): (&[f32], &usize)| {
                        let p = measure::probabilities(row);
                        p.iter().enumerate().map(|(k, p)| p * f64::from(targets[*i].share(k))).sum::<f64>()
                    };
                    scores[modality] = (answers.chunks_exact(classes).zip(&present).map(of_label).sum(), present.len());
                }
                total = total + loss(logits, &present, self.config.auxiliary);
            }
            let seen = if modality == Modality::Audio { pass.spectrogram.clone().map(Tensor::inner) } else { plain[modality].clone() };
            let Some(seen) = seen.filter(|_| self.shape.decodes().has(modality)) else { continue };
            let (reconstruction, beta) = match modality {
                Modality::Audio => (self.config.audio.reconstruction, self.config.audio.beta),
                _ => (self.config.image.reconstruction, self.config.image.beta),
            };
            // The scale of the decoder's own loss does not matter to Adam, only whether the encoder feels it.
            let (code, share) = if reconstruction > 0.0 { (own.clone(), reconstruction) } else { (own.clone().detach(), 1.0) };
            let each = share / seen.dims()[0] as f32;
            let shares = matrix(present.iter().map(|&i| weights[i] * each).collect(), 1, block.count, device);
            let noise = self.shape.variational().has(modality).then(|| {
                let rows: Vec<usize> = present.iter().map(|i| first + i).collect();
                autoencoder::noise(&self.noise.child(modality.to_string()), self.optimizer.steps(), &rows, self.shape.embedding)
            });
            total = total + self.net.bound(&tensors, modality, Coded { code, seen, noise, beta }, shares)?;
        }
        let gradients = total.backward();
        let loss = (f64::from(host(total.inner().reshape([1, 1]))?[0]) + offset) as f32;
        let mut slopes: PerModality<Vec<Option<Vec<f32>>>> = PerModality::default();
        let length = self.shape.text.as_ref().map_or(0, |text| text.length);
        for modality in Modality::ALL.into_iter().filter(|m| lesson.wrt.has(*m)) {
            let found = leaves[modality].as_ref().and_then(|leaf| leaf.grad(&gradients)).map(host).transpose()?;
            let native = |at: usize| {
                let block = batch.blocks[modality].as_ref()?;
                let place = usize::try_from(*block.columns.get(at)?).ok().filter(|place| *place < block.count)?;
                let own = column(found.as_ref()?, block.count, place);
                match modality {
                    Modality::Image => Some(batch.images.get(at)?.as_ref()?.transpose(&own)),
                    Modality::Audio => Some(batch.audios.get(at)?.as_ref()?.transpose(&own)),
                    Modality::Text => Some(transposed(&own, length, length)),
                }
            };
            slopes[modality] = (0..n).map(native).collect();
        }
        let of = |(path, tensor): (&str, &Tensor<2>)| {
            let shape: Vec<usize> = tensor.dims().into();
            let values = match tensor.grad(&gradients) {
                Some(gradient) => host(gradient)?,
                None => vec![0.0; shape.iter().product()],
            };
            Ok((path.to_owned(), Parameter { shape, values }))
        };
        Ok(Part { logits, loss, scores, slopes, gradients: tensors.iter().map(of).collect::<Result<_>>()? })
    }
}

/// What a part of a batch gives.
struct Part {
    logits: Vec<f32>,
    loss: f32,
    /// Sum of the label's probability by the head of each modality, and of how many; only where encoders are balanced.
    scores: PerModality<(f64, usize)>,
    /// Gradients of the native inputs, where they are asked for.
    slopes: PerModality<Vec<Option<Vec<f32>>>>,
    gradients: Parameters,
}

/// Holds the encoder of the leading modality back, and adds noise to the gradients of all.
fn rebalance(gradients: &mut Parameters, balance: &Balance, scores: &PerModality<(f64, usize)>) -> Result<()> {
    let means: Vec<(Modality, f64)> =
        Modality::ALL.into_iter().filter(|m| scores[*m].1 > 0).map(|m| (m, scores[m].0 / scores[m].1 as f64)).collect();
    let factors = balance.factors(&means);
    for (path, values) in gradients.iter_mut() {
        let Some((name, layer)) = path.split_once('.') else { continue };
        let encoder = layer.starts_with("convolution") || layer == "embedding" || layer == "characters";
        let Some(modality) = Modality::ALL.into_iter().find(|m| encoder && m.name() == name) else { continue };
        // The noise has the deviation of the gradient before it is scaled.
        let n = values.len().max(1) as f64;
        let mean = values.iter().map(|g| f64::from(*g)).sum::<f64>() / n;
        let deviation = (values.iter().map(|g| (f64::from(*g) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let factor = factors[modality];
        values.iter_mut().for_each(|g| *g *= factor);
        if let Some(seeds) = &balance.noise {
            let normal = Normal::new(0.0, deviation + 1e-8).map_err(|e| Error::model(format!("the gradient of `{path}`: {e}")))?;
            let mut rng = seeds.child(path).rng();
            values.iter_mut().for_each(|g| *g += normal.sample(&mut rng) as f32);
        }
    }
    Ok(())
}

impl Trainable for FusionTrainer {
    fn spec(&self) -> ModelSpec {
        self.shape.spec(&self.parameters)
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        Ok(self.learn(batch, &Lesson::default())?.report)
    }

    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        let weights = crate::model::check_batch(batch, self.shape.classes.len())?;
        let rows = batch.inputs.len();
        let parts: Vec<Part> = batch
            .inputs
            .par_chunks(PART)
            .zip(batch.targets.par_chunks(PART))
            .zip(weights.par_chunks(PART))
            .enumerate()
            .map(|(i, ((inputs, targets), weights))| self.part((i * PART, rows), inputs, targets, weights, lesson))
            .collect::<Result<_>>()?;
        let mut report = StepReport { losses: Vec::new(), logits: Matrix { columns: self.shape.classes.len(), values: Vec::new() } };
        let mut sum: Option<Parameters> = None;
        let mut scores: PerModality<(f64, usize)> = PerModality::default();
        let mut slopes = Gradients::default();
        for part in parts {
            if !part.loss.is_finite() {
                return Err(Error::model(format!("the loss of the batch is {}; nothing was learnt", part.loss)));
            }
            report.logits.values.extend(part.logits);
            for modality in Modality::ALL {
                scores[modality].0 += part.scores[modality].0;
                scores[modality].1 += part.scores[modality].1;
            }
            slopes.image.extend(part.slopes.image);
            slopes.audio.extend(part.slopes.audio);
            slopes.text.extend(part.slopes.text);
            match &mut sum {
                None => sum = Some(part.gradients),
                Some(sum) => sum.accumulate(&part.gradients)?,
            }
        }
        report.losses = crate::model::finite_losses(&report.logits, batch.targets)?;
        let mut sum = sum.unwrap_or_default();
        if let Some(balance) = lesson.balance {
            rebalance(&mut sum, balance, &scores)?;
        }
        self.optimizer.accumulate(lesson.accumulation, &mut self.parameters, &sum, batch.learning_rate)?;
        let gradients = (!lesson.wrt.is_empty()).then(|| Gradients { logits: report.logits.clone(), ..slopes });
        Ok(Learnt { report, gradients })
    }

    fn gives_gradients(&self) -> bool {
        true
    }

    fn view(&self) -> Result<Arc<dyn Model + '_>> {
        Ok(Arc::new(FusionModel::view(&self.shape, &self.net, &self.canonical, &self.parameters)))
    }

    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(FusionModel::new(self.shape.clone(), self.parameters.clone())?))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(self.clone()))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self::new(self.config.clone(), self.shape.clone(), None, seeds)?))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.optimizer.write_checkpoint(path, &self.parameters, &self.shape.architecture())
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.optimizer.read_checkpoint(path, &mut self.parameters, &self.shape.architecture())
    }
}

#[cfg(test)]
impl FusionTrainer {
    /// Gradient and value of the whole loss.
    pub(super) fn slopes(&self, inputs: &[Input], targets: &[Target], weights: &[f32]) -> Result<(Parameters, f32)> {
        self.slopes_of(inputs, targets, weights, &Lesson::default())
    }
    /// The same toward a lesson.
    pub(super) fn slopes_of(
        &self,
        inputs: &[Input],
        targets: &[Target],
        weights: &[f32],
        lesson: &Lesson<'_>,
    ) -> Result<(Parameters, f32)> {
        let part = self.part((0, inputs.len()), inputs, targets, weights, lesson)?;
        Ok((part.gradients, part.loss))
    }
    /// Moves one weight.
    pub(super) fn nudge(&mut self, path: &str, at: usize, by: f32) {
        let Parameter { shape, mut values } = self.parameters.get(path).unwrap().clone();
        values[at] += by;
        self.parameters.insert(path, shape, values);
    }
}
