//! The fusion model in training.

use super::{
    Fusion, FusionModel,
    block::{MicroBatch, transposed},
    net::{Net, Weights, host, matrix},
    shape::Shape,
};
use crate::{
    error::{Error, Result},
    model::{
        Input, Matrix, Model, ModelSpec, StepReport, Target, Trainable, TrainingBatch,
        parameters::{AdamW, Parameter, Parameters},
        preprocess::Canonical,
    },
    random::SeedTree,
    sample::Modality,
};
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;
use std::{path::Path, sync::Arc};

/// Samples of one graph. A batch is split into parts of this size whatever the number of threads, and their gradients are
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
}

impl FusionTrainer {
    pub(super) fn new(config: Fusion, shape: Shape, seeds: &SeedTree) -> Result<Self> {
        let net = Net::new(shape.clone());
        let optimizer = AdamW::new(config.weight_decay);
        Ok(Self { parameters: shape.start(seeds)?, canonical: shape.canonical(), optimizer, net, config, shape })
    }

    /// Logits `[samples, classes]`, the gradient and the whole loss of a part of a batch; `weights` are already divided by the
    /// batch's size.
    fn part(&self, inputs: &[Input], targets: &[Target], weights: &[f32]) -> Result<Part> {
        let device = &self.net.device;
        let (n, classes) = (inputs.len(), self.shape.classes.len());
        let batch = MicroBatch::new(&self.shape, &self.canonical, inputs, None)?;
        let tensors = Weights::new(&self.parameters, device, true);
        let leaves = self.net.leaves(&batch);
        let pass = self.net.forward(&tensors, &batch, &leaves, None)?;
        let logits = transposed(&host(pass.logits.clone().inner())?, n, n);

        // Weighted cross entropy of the samples `of`, times `share`.
        let loss = |logits: Tensor<2>, of: &[usize], share: f32| {
            let shares = (0..classes).flat_map(|k| of.iter().map(move |&i| -share * weights[i] * targets[i].share(k))).collect();
            (activation::log_softmax(logits, 0) * matrix(shares, classes, of.len(), device)).sum()
        };
        let everyone: Vec<usize> = (0..n).collect();
        let mut total = loss(pass.logits, &everyone, 1.0);
        for modality in self.shape.modalities().iter() {
            let (Some(block), Some(own)) = (&batch.blocks[modality], &pass.present[modality]) else { continue };
            let present: Vec<usize> = (0..n).filter(|&i| (block.columns[i] as usize) < block.count).collect();
            if self.config.auxiliary > 0.0 {
                let logits = self.net.dense(&tensors, &format!("{modality}.head"), own.clone())?;
                total = total + loss(logits, &present, self.config.auxiliary);
            }
            if let Some(pixels) = leaves[modality].clone().filter(|_| modality == Modality::Image) {
                // The scale of the decoder's own loss does not matter to Adam, only whether the encoder feels it.
                let share = self.config.image.reconstruction;
                let (code, share) = if share > 0.0 { (own.clone(), share) } else { (own.clone().detach(), 1.0) };
                let each = share / pixels.dims()[0] as f32;
                let shares = matrix(present.iter().map(|&i| weights[i] * each).collect(), 1, block.count, device);
                let error = self.net.decode(&tensors, code)? - pixels;
                total = total + (error.clone() * error * shares).sum();
            }
        }
        let gradients = total.backward();
        let loss = host(total.inner().reshape([1, 1]))?[0];
        let of = |(path, tensor): (&str, &Tensor<2>)| {
            let shape: Vec<usize> = tensor.dims().into();
            let values = match tensor.grad(&gradients) {
                Some(gradient) => host(gradient)?,
                None => vec![0.0; shape.iter().product()],
            };
            Ok((path.to_owned(), Parameter { shape, values }))
        };
        Ok(Part { logits, loss, gradients: tensors.iter().map(of).collect::<Result<_>>()? })
    }
}

/// What a part of a batch gives.
struct Part {
    logits: Vec<f32>,
    loss: f32,
    gradients: Parameters,
}

impl Trainable for FusionTrainer {
    fn spec(&self) -> ModelSpec {
        self.shape.spec(&self.parameters)
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        let weights = crate::model::check_batch(batch, self.shape.classes.len())?;
        let parts: Vec<Part> = batch
            .inputs
            .par_chunks(PART)
            .zip(batch.targets.par_chunks(PART))
            .zip(weights.par_chunks(PART))
            .map(|((inputs, targets), weights)| self.part(inputs, targets, weights))
            .collect::<Result<_>>()?;
        let mut report = StepReport { losses: Vec::new(), logits: Matrix { columns: self.shape.classes.len(), values: Vec::new() } };
        let mut sum: Option<Parameters> = None;
        for part in parts {
            if !part.loss.is_finite() {
                return Err(Error::model(format!("the loss of the batch is {}; nothing was learnt", part.loss)));
            }
            report.logits.values.extend(part.logits);
            match &mut sum {
                None => sum = Some(part.gradients),
                Some(sum) => sum.accumulate(&part.gradients)?,
            }
        }
        report.losses = crate::model::finite_losses(&report.logits, batch.targets)?;
        self.optimizer.step(&mut self.parameters, &sum.unwrap_or_default(), batch.learning_rate)?;
        Ok(report)
    }

    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(FusionModel::new(self.shape.clone(), self.parameters.clone())?))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(self.clone()))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self::new(self.config.clone(), self.shape.clone(), seeds)?))
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
        let part = self.part(inputs, targets, weights)?;
        Ok((part.gradients, part.loss))
    }
    /// Moves one weight.
    pub(super) fn nudge(&mut self, path: &str, at: usize, by: f32) {
        let Parameter { shape, mut values } = self.parameters.get(path).unwrap().clone();
        values[at] += by;
        self.parameters.insert(path, shape, values);
    }
}
