//! The network in training.

use super::{
    model::{CnnModel, Runner},
    net::Packed,
    shape::Shape,
};
use crate::{
    error::{Error, Result},
    model::{
        Gradients, Input, Learnt, Lesson, Matrix, Model, ModelSpec, StepReport, Target, Trainable, TrainingBatch,
        parameters::{AdamW, Parameters},
    },
    random::SeedTree,
    sample::Modality,
};
use gemm::Parallelism;
use rayon::prelude::*;
use std::{path::Path, sync::Arc};

/// Outputs of a matrix whose gradients one thread computes.
const ROWS: usize = 16;

/// The network with its optimizer.
#[derive(Clone)]
pub struct CnnTrainer {
    runner: Runner,
    parameters: Arc<Parameters>,
    packed: Arc<Packed>,
    optimizer: AdamW,
}

/// What a block of samples gives.
struct Part {
    logits: Vec<f32>,
    /// Gradients of the native images, where they are asked for.
    images: Vec<Option<Vec<f32>>>,
    /// Of each convolution: weights and biases, summed over the block.
    convolutions: Vec<(Vec<f32>, Vec<f32>)>,
    /// Of each matrix: what went in and the gradients of what came out, a row a sample.
    dense: Vec<(Vec<f32>, Vec<f32>)>,
}

impl CnnTrainer {
    pub(super) fn new(shape: Shape, parameters: Parameters, weight_decay: f32) -> Result<Self> {
        let packed = Arc::new(shape.pack(&parameters)?);
        Ok(Self { runner: Runner::new(shape), parameters: Arc::new(parameters), packed, optimizer: AdamW::new(weight_decay) })
    }

    /// One block: `slopes` makes the gradients of the logits from the logits.
    fn part(&self, inputs: &[Input], slopes: impl Fn(&[f32]) -> Vec<f32>, image: bool) -> Result<Part> {
        let (mut pass, maps) = self.runner.forward(&self.packed, inputs)?;
        let logits = self.runner.logits(&*pass);
        pass.backward(&self.packed, &slopes(&logits), image);
        let layers = &self.runner.shape.convolutions;
        let mut convolutions: Vec<_> = layers
            .iter()
            .map(|layer| (vec![0.0; layer.channels * layer.input[0] * layer.kernel * layer.kernel], vec![0.0; layer.channels]))
            .collect();
        pass.convolution_slopes(&mut convolutions);
        let dense = (0..self.runner.last).map(|layer| {
            let (mut input, mut slopes) = (Vec::new(), Vec::new());
            pass.values(layer, &mut input);
            pass.slopes(layer + 1, &mut slopes);
            (input, slopes)
        });
        let images = if image { Runner::images(&*pass, &maps) } else { Vec::new() };
        Ok(Part { logits, images, convolutions, dense: dense.collect() })
    }

    /// The blocks of a batch. Their size is even: no pair of a lesson is cut. `weights` are divided by the batch's size already.
    fn parts(&self, inputs: &[Input], targets: &[Target], weights: &[f32], lesson: &Lesson<'_>) -> Result<Vec<Part>> {
        let (rows, classes, lanes) = (inputs.len(), self.runner.shape.classes.len(), self.runner.engine.lanes());
        let one = |(block, ((inputs, targets), weights)): (usize, ((&[Input], &[Target]), &[f32]))| {
            let slopes = |logits: &[f32]| lesson.slopes(block * lanes, rows, logits, classes, targets, weights).1;
            self.part(inputs, slopes, lesson.wrt.has(Modality::Image))
        };
        inputs.par_chunks(lanes).zip(targets.par_chunks(lanes)).zip(weights.par_chunks(lanes)).enumerate().map(one).collect()
    }

    /// Sums of the parts in their order, by the names of the weights.
    fn slopes(&self, parts: &[Part]) -> Parameters {
        let mut sums: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
        for part in parts {
            if sums.is_empty() {
                sums.clone_from(&part.convolutions);
                continue;
            }
            for ((weights, bias), (more, of_bias)) in sums.iter_mut().zip(&part.convolutions) {
                weights.iter_mut().zip(more).for_each(|(sum, v)| *sum += v);
                bias.iter_mut().zip(of_bias).for_each(|(sum, v)| *sum += v);
            }
        }
        for (layer, sizes) in self.runner.shape.plan().widths.windows(2).enumerate() {
            let rows = |of: fn(&(Vec<f32>, Vec<f32>)) -> &Vec<f32>| {
                parts.iter().filter_map(|part| part.dense.get(layer)).flat_map(of).copied().collect::<Vec<f32>>()
            };
            sums.push(matrix_slopes(&rows(|dense| &dense.0), &rows(|dense| &dense.1), sizes[0], sizes[1]));
        }
        self.runner.shape.named(sums)
    }
}

/// Gradient of a matrix `[outputs, inputs]` and its bias: products of the rows that went in and the gradients of those that came out, summed over the
/// samples in their order.
fn matrix_slopes(input: &[f32], slopes: &[f32], inputs: usize, outputs: usize) -> (Vec<f32>, Vec<f32>) {
    let samples = slopes.len() / outputs.max(1);
    let mut weights = vec![0.0f32; outputs * inputs];
    if inputs == 0 || outputs == 0 || samples * inputs != input.len() {
        return (weights, vec![0.0; outputs]);
    }
    weights.par_chunks_mut(ROWS * inputs).enumerate().for_each(|(part, weights)| {
        let rows = weights.len() / inputs;
        let first = part * ROWS;
        // SAFETY: `weights` has `rows x inputs` values, `input` has `samples x inputs`, and `slopes` has `samples x outputs` of which the columns
        // `first..first + rows` are read.
        unsafe {
            gemm::gemm(
                rows,
                inputs,
                samples,
                weights.as_mut_ptr(),
                1,
                inputs as isize,
                false,
                slopes[first..].as_ptr(),
                outputs as isize,
                1,
                input.as_ptr(),
                1,
                inputs as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
    let mut bias = vec![0.0f32; outputs];
    for row in slopes.chunks_exact(outputs) {
        bias.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    (weights, bias)
}

#[cfg(test)]
impl CnnTrainer {
    /// The gradient of the weighted cross entropy with respect to the weights.
    pub(super) fn weight_slopes(&self, inputs: &[Input], targets: &[Target], weights: &[f32]) -> Result<Parameters> {
        Ok(self.slopes(&self.parts(inputs, targets, weights, &Lesson::default())?))
    }
    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    /// Moves one weight.
    pub(super) fn nudge(&mut self, path: &str, at: usize, by: f32) {
        let crate::model::parameters::Parameter { shape, mut values } = self.parameters.get(path).unwrap().clone();
        values[at] += by;
        Arc::make_mut(&mut self.parameters).insert(path, shape, values);
        self.packed = Arc::new(self.runner.shape.pack(&self.parameters).unwrap());
    }
}

impl Trainable for CnnTrainer {
    fn spec(&self) -> ModelSpec {
        self.runner.shape.spec(self.parameters.digest(&self.runner.shape.architecture()))
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        Ok(self.learn(batch, &Lesson::default())?.report)
    }

    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        if lesson.balance.is_some() {
            return Err(Error::usage("a model of one modality has no encoders to balance").at("model", "cnn"));
        }
        let weights = crate::model::check_batch(batch, self.runner.shape.classes.len())?;
        let mut parts = self.parts(batch.inputs, batch.targets, &weights, lesson)?;
        let values = parts.iter().flat_map(|part| &part.logits).copied().collect();
        let logits = Matrix { columns: self.runner.shape.classes.len(), values };
        let losses = crate::model::finite_losses(&logits, batch.targets)?;
        let slopes = self.slopes(&parts);
        if self.optimizer.accumulate(lesson.accumulation, Arc::make_mut(&mut self.parameters), &slopes, batch.learning_rate)? {
            self.packed = Arc::new(self.runner.shape.pack(&self.parameters)?);
        }
        let gradients = (!lesson.wrt.is_empty()).then(|| Gradients {
            logits: logits.clone(),
            image: parts.iter_mut().flat_map(|part| std::mem::take(&mut part.images)).collect(),
            ..Gradients::default()
        });
        Ok(Learnt { report: StepReport { losses, logits }, gradients })
    }
    fn gives_gradients(&self) -> bool {
        true
    }
    fn view(&self) -> Result<Arc<dyn Model + '_>> {
        Ok(Arc::new(CnnModel::passing(self.runner.clone(), self.parameters.clone(), self.packed.clone())))
    }
    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(CnnModel::new(self.runner.clone(), self.parameters.clone(), self.packed.clone())))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(self.clone()))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        let shape = (*self.runner.shape).clone();
        let parameters = shape.start(seeds)?;
        Ok(Box::new(Self::new(shape, parameters, self.optimizer.weight_decay)?))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.optimizer.write_checkpoint(path, &self.parameters, &self.runner.shape.architecture())
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        let mut parameters = (*self.parameters).clone();
        let mut optimizer = self.optimizer.clone();
        optimizer.read_checkpoint(path, &mut parameters, &self.runner.shape.architecture())?;
        self.packed = Arc::new(self.runner.shape.pack(&parameters)?);
        (self.parameters, self.optimizer) = (Arc::new(parameters), optimizer);
        Ok(())
    }
}
