//! The network as a function of its weights, in burn operations.
//!
//! Layout: features first, samples last (`[features, n]`). A convolution gathers rows (each row is all samples of one
//! place, so a gather is a plain copy) and is then one matrix product for the whole micro-batch; its output has the
//! layout of its input, and nothing is ever permuted.

use super::{
    block::{Block, MicroBatch},
    logmel::LogMel,
    shape::{Convolution, Shape},
};
use crate::{
    error::{Error, Result},
    model::parameters::Parameters,
    sample::{Modality, PerModality},
};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use std::collections::BTreeMap;

/// Weights on the device, each `[outputs, inputs + 1]`.
#[derive(Debug, Clone)]
pub(super) struct Weights(BTreeMap<String, Tensor<2>>);

impl Weights {
    /// Copies to the device; with `tracked`, gradients of the weights are kept.
    pub fn new(parameters: &Parameters, device: &Device, tracked: bool) -> Self {
        let tensor = |p: &crate::model::parameters::Parameter| {
            let tensor = matrix(p.values.clone(), p.shape[0], p.shape[1], device);
            if tracked { tensor.autodiff().require_grad() } else { tensor }
        };
        Self(parameters.iter().map(|(path, p)| (path.to_owned(), tensor(p))).collect())
    }
    pub fn get(&self, path: &str) -> Result<Tensor<2>> {
        self.0.get(path).cloned().ok_or_else(|| Error::internal(format!("there is no weight `{path}`")))
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<2>)> {
        self.0.iter().map(|(path, tensor)| (path.as_str(), tensor))
    }
}

/// A host matrix on the device.
pub(super) fn matrix(values: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// A tensor's values on the host.
pub(super) fn host(tensor: Tensor<2>) -> Result<Vec<f32>> {
    tensor.into_data().try_into_vec::<f32>().map_err(|e| Error::internal(format!("the device gave no 32-bit floats: {e:?}")))
}

/// The parts of the network that do not learn: indices of the gathers, and the front end.
#[derive(Debug, Clone)]
pub(super) struct Net {
    shape: Shape,
    pub device: Device,
    gathers: PerModality<Vec<Tensor<1, Int>>>,
    front: Option<LogMel>,
}

/// What a forward pass gives, on the device.
pub(super) struct Forward {
    /// `[classes, size]`.
    pub logits: Tensor<2>,
    /// `[hidden, size]`.
    pub fused: Tensor<2>,
    /// `[embedding, size]` with the tokens of the missing.
    pub embeddings: PerModality<Option<Tensor<2>>>,
    /// `[embedding, count]` of the present samples alone.
    pub present: PerModality<Option<Tensor<2>>>,
    /// `[mels * frames, count]`: the normalised spectrograms that the audio encoder saw.
    pub spectrogram: Option<Tensor<2>>,
}

/// Embeddings `[embedding, size]` that stand in the places of those of some modalities, for the samples that are said to have the modality.
pub(super) type Codes = PerModality<Option<(Tensor<2>, Vec<bool>)>>;

/// Tensors that a block's values are read from, of text what is added to its embedding: leaves of a graph where their gradient is wanted.
pub(super) type Leaves = PerModality<Option<Tensor<2>>>;

impl Net {
    pub fn new(shape: Shape) -> Self {
        let device = Device::default();
        let indices = |layer: &Convolution| {
            let rows = gather(layer);
            let length = rows.len();
            Tensor::from_data(TensorData::new(rows, [length]), &device)
        };
        let gathers = PerModality::from_fn(|modality| shape.layers(modality).iter().map(indices).collect());
        let front = shape.audio.as_ref().map(|audio| LogMel::new(audio, &device));
        Self { gathers, front, device, shape }
    }

    /// The blocks' values on the device.
    pub fn leaves(&self, batch: &MicroBatch) -> Leaves {
        PerModality::from_fn(|modality| {
            let block = batch.blocks[modality].as_ref().filter(|b| !b.values.is_empty())?;
            Some(matrix(block.values.clone(), block.values.len() / block.count, block.count, &self.device))
        })
    }

    /// All of it. `replaced` stand in the places of some modalities' embeddings.
    pub fn forward(&self, weights: &Weights, batch: &MicroBatch, leaves: &Leaves, replaced: Option<&Codes>) -> Result<Forward> {
        let mut embeddings: PerModality<Option<Tensor<2>>> = PerModality::default();
        let mut present: PerModality<Option<Tensor<2>>> = PerModality::default();
        let mut spectrogram = None;
        for modality in self.shape.modalities().iter() {
            let token = weights.get(&format!("{modality}.missing"))?;
            if let Some((given, has)) = replaced.and_then(|codes| codes[modality].as_ref()) {
                let places = (0..batch.size).map(|i| if has.get(i) == Some(&true) { i } else { batch.size } as i64).collect();
                embeddings[modality] = Some(self.placed(given.clone(), token, places));
                continue;
            }
            embeddings[modality] = Some(match &batch.blocks[modality] {
                None => token.repeat_dim(1, batch.size),
                Some(block) => {
                    let (own, seen) = self.encode_seen(weights, modality, block, leaves[modality].clone())?;
                    spectrogram = seen.or(spectrogram);
                    present[modality] = Some(own.clone());
                    self.placed(own, token, block.columns.clone())
                }
            });
        }
        let all: Vec<Tensor<2>> = embeddings.iter().filter_map(|(_, e)| e.clone()).collect();
        let fused = activation::relu(self.dense(weights, "fusion.hidden", Tensor::cat(all, 0))?);
        let logits = self.dense(weights, "fusion.head", fused.clone())?;
        Ok(Forward { logits, fused, embeddings, present, spectrogram })
    }

    /// Columns of `own` by number, and the token at the number behind the last.
    fn placed(&self, own: Tensor<2>, token: Tensor<2>, numbers: Vec<i64>) -> Tensor<2> {
        let length = numbers.len();
        Tensor::cat(vec![own, token], 1).select(1, Tensor::<1, Int>::from_data(TensorData::new(numbers, [length]), &self.device))
    }

    /// `[embedding, count]` of one modality.
    pub fn encode(&self, weights: &Weights, modality: Modality, block: &Block, leaf: Option<Tensor<2>>) -> Result<Tensor<2>> {
        Ok(self.encode_seen(weights, modality, block, leaf)?.0)
    }

    /// The same with the normalised spectrograms of audio.
    fn encode_seen(
        &self,
        weights: &Weights,
        modality: Modality,
        block: &Block,
        leaf: Option<Tensor<2>>,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
        let missing = || Error::internal(format!("the {modality} block is empty"));
        let (mut steps, mut seen) = (None, None);
        let mut x = match modality {
            Modality::Image => leaf.ok_or_else(missing)?,
            Modality::Audio => {
                let front = self.front.as_ref().ok_or_else(missing)?;
                let (normalised, mask) = self.normalised(front.spectrogram(leaf.ok_or_else(missing)?), block)?;
                steps = Some(mask);
                seen = Some(normalised.clone());
                normalised
            }
            Modality::Text => {
                let length = block.characters.len();
                let table = weights.get("text.characters")?;
                let size = table.dims()[0];
                let numbers = Tensor::<1, Int>::from_data(TensorData::new(block.characters.clone(), [length]), &self.device);
                let embedded = table.select(1, numbers).reshape([size * length / block.count, block.count]);
                match leaf {
                    Some(shift) => embedded + shift,
                    None => embedded,
                }
            }
        };
        let layers = self.shape.layers(modality);
        for (i, (layer, rows)) in layers.iter().zip(&self.gathers[modality]).enumerate() {
            let weight = weights.get(&format!("{modality}.convolution{i}"))?;
            x = activation::relu(self.convolve(layer, rows, weight, x));
        }
        if modality != Modality::Image {
            let [channels, rows, columns] = layers.last().map_or([0; 3], Convolution::output);
            let over_time = x.reshape([channels * rows, columns, block.count]);
            x = pool(over_time, steps);
        }
        Ok((self.dense(weights, &format!("{modality}.embedding"), x)?, seen))
    }

    /// Zero mean in each band and unit variance over the whole, over the frames that are no padding; those are 0.
    /// Also the mask of the time steps after the last layer: `[1, steps, n]`, and its sums `[1, n]`.
    fn normalised(&self, spectrogram: Tensor<2>, block: &Block) -> Result<(Tensor<2>, (Tensor<3>, Tensor<2>))> {
        let audio = self.shape.audio.as_ref().ok_or_else(|| Error::internal("the model reads no audio"))?;
        let (frames, n) = (audio.frames(), block.count);
        let mask_of = |length: usize, valid: &dyn Fn(usize) -> usize| {
            let values =
                (0..length).flat_map(|t| (0..n).map(move |i| (t, i))).map(|(t, i)| if t < valid(i) { 1.0f32 } else { 0.0 }).collect();
            Tensor::<3>::from_data(TensorData::new(values, [1, length, n]), &self.device)
        };
        let shares = |valid: &dyn Fn(usize) -> usize| (0..n).map(|i| 1.0 / valid(i) as f32).collect::<Vec<f32>>();
        let valid = |i: usize| block.frames[i].clamp(1, frames);
        let mask = mask_of(frames, &valid);
        let share = Tensor::<3>::from_data(TensorData::new(shares(&valid), [1, 1, n]), &self.device);
        let x = spectrogram.reshape([audio.mels, frames, n]);
        let mean = (x.clone() * mask.clone()).sum_dim(1) * share.clone();
        let centred = (x - mean) * mask;
        let variance = (centred.clone() * centred.clone()).sum_dim(1).sum_dim(0) * share * (1.0 / audio.mels as f32);
        let normalised = (centred / (variance + 1e-3).sqrt()).reshape([audio.mels * frames, n]);
        let last = audio.steps(frames);
        let valid = |i: usize| audio.steps(valid(i)).clamp(1, last);
        let share = matrix(shares(&valid), 1, n, &self.device);
        Ok((normalised, (mask_of(last, &valid), share)))
    }

    fn convolve(&self, layer: &Convolution, rows: &Tensor<1, Int>, weight: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let n = x.dims()[1];
        let [channels, high, wide] = layer.output();
        let (zeros, ones) = (Tensor::zeros([1, n], &self.device), Tensor::ones([1, n], &self.device));
        let gathered = Tensor::cat(vec![x, zeros, ones], 0).select(0, rows.clone());
        let product = weight.matmul(gathered.reshape([layer.fan_in() + 1, high * wide * n]));
        product.reshape([channels * high * wide, n])
    }

    pub fn dense(&self, weights: &Weights, path: &str, x: Tensor<2>) -> Result<Tensor<2>> {
        let ones = Tensor::ones([1, x.dims()[1]], &self.device);
        Ok(weights.get(path)?.matmul(Tensor::cat(vec![x, ones], 0)))
    }
}

/// Mean and maximum over the steps: `[features, steps, n]` to `[2 * features, n]`. All values are at least 0, so that a
/// masked step never is the maximum.
fn pool(x: Tensor<3>, mask: Option<(Tensor<3>, Tensor<2>)>) -> Tensor<2> {
    let [features, steps, n] = x.dims();
    let (x, share) = match mask {
        Some((mask, share)) => (x * mask, Some(share)),
        None => (x, None),
    };
    let sum = x.clone().sum_dim(1).reshape([features, n]);
    let mean = match share {
        Some(share) => sum * share,
        None => sum * (1.0 / steps as f32),
    };
    let top = x.max_dim(1).reshape([features, n]);
    Tensor::cat(vec![mean, top], 0)
}

/// For each input of each output place its row: `(channel, kernel row, kernel column, row, column)`, then a row of ones for
/// the bias. Row `inputs` is 0 (padding), row `inputs + 1` is 1.
fn gather(layer: &Convolution) -> Vec<i64> {
    let [channels, rows, columns] = layer.input;
    let [high, wide] = layer.places();
    let zero = channels * rows * columns;
    let mut out = Vec::with_capacity((layer.fan_in() + 1) * high * wide);
    for channel in 0..channels {
        for kr in 0..layer.kernel[0] {
            for kc in 0..layer.kernel[1] {
                for row in 0..high {
                    let from_row = (row * layer.stride[0] + kr).checked_sub(layer.padding[0]).filter(|r| *r < rows);
                    for column in 0..wide {
                        let from_column = (column * layer.stride[1] + kc).checked_sub(layer.padding[1]).filter(|c| *c < columns);
                        let at = from_row.zip(from_column).map_or(zero, |(r, c)| (channel * rows + r) * columns + c);
                        out.push(at as i64);
                    }
                }
            }
        }
    }
    out.extend(std::iter::repeat_n(zero as i64 + 1, high * wide));
    out
}
