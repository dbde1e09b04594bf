//! An image classifier with loops of its own: no automatic differentiation, weights packed once, buffers kept, one block of samples a thread.

mod convolve;
mod dense;
mod model;
mod net;
mod shape;
mod train;

pub use model::CnnModel;
pub use train::CnnTrainer;

use super::{Capabilities, DataProfile, Learns, ModelSource, Opened, lanes, parameters::Parameters};
use crate::{
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Modality, ModalitySet},
};
use net::Convolution;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shape::Shape;
use std::path::{Path, PathBuf};

/// Convolutions, ReLU and pooling, then fully connected layers: a classifier of images that is attacked and trained fast.
///
/// Method: each block is `convolutions` times a convolution with stride 1 and zeros around, and ReLU, then the maximum of every 2 x 2 places (left out
/// where a side is 1). The features are flattened, pass the `hidden` layers with ReLU, and a last matrix gives the logits. The embedding is
/// the input of that last matrix. No normalisation across a batch, no dropout; AdamW. Forward pass, the gradient of the image and
/// the gradients of the weights are loops of this program on registers whose lanes are samples: a row depends on itself alone, and threads
/// change nothing. A sample without an image is seen as a black one. `weights` starts from a PyTorch `state_dict` of an `nn.Sequential` of the same layers (convolution, ReLU,
/// `MaxPool2d(2)`, ..., `Flatten`, linear, ReLU, ..., linear), saved as safetensors with the names `0.weight`, `0.bias`, ...; with `train: none` it is used as it stands.
///
/// Reference: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998); He et al., Delving Deep into Rectifiers (2015), for
/// the start; Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cnn {
    /// Channels of each block, 1..=8 of them, each 1..=1024.
    pub channels: Vec<usize>,
    /// Convolutions of a block, 1..=4.
    pub convolutions: usize,
    /// Side of the kernels in pixels: 1, 3, 5 or 7.
    pub kernel: usize,
    /// Widths of the layers between features and logits, at most 4 of them, each 1..=4096.
    pub hidden: Vec<usize>,
    /// Columns and rows that images are resized to, each 4..=256 pixels; left out: those of the data, at most 64.
    pub size: Option<[usize; 2]>,
    /// Weight decay of AdamW, 0..=1.
    pub weight_decay: f32,
    /// A safetensors file of a PyTorch `state_dict` to start from, relative to the pipeline file; left out: a random start.
    pub weights: Option<PathBuf>,
}

impl Default for Cnn {
    fn default() -> Self {
        Self { channels: vec![32, 64], convolutions: 1, kernel: 3, hidden: vec![128], size: None, weight_decay: 1e-4, weights: None }
    }
}

impl Configure<dyn ModelSource> for Cnn {
    const NAME: &'static str = "cnn";
    const EXAMPLE: &'static str = "{ channels: [32, 64], kernel: 3, hidden: [128] }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl ModelSource for Cnn {
    fn capabilities(&self) -> Capabilities {
        let image = ModalitySet::one(Modality::Image);
        let none = ModalitySet::EMPTY;
        Capabilities {
            trainable: true,
            modalities: image,
            gradients: image,
            embeddings: image,
            embedding_gradients: none,
            decodes: none,
            variational: none,
        }
    }
    fn learns(&self) -> Learns {
        Learns { losses: true, balance: false }
    }
    fn open_at(&self, base: &Path, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        let weights = self.weights.as_ref().map(|path| base.join(path));
        Self { weights, ..self.clone() }.open(profile, seeds)
    }
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        Ok(Opened::Trainable(Box::new(self.trainer(profile, seeds)?)))
    }
}

impl Cnn {
    /// A trainer for this data, with the weights of the file or drawn from `seeds`. Errors without a class or images, if a value of the config is out of
    /// range, or if the file's weights are not those of these layers.
    pub fn trainer(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<CnnTrainer> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::pipeline("the cnn cannot be built", problems));
        }
        let shape = self.shape(profile)?;
        let weights = match &self.weights {
            None => shape.start(seeds)?,
            Some(path) => {
                let weights = Parameters::read_plain(path)?;
                shape.check_weights(&weights).map_err(|e| e.at("file", path.display()))?;
                weights
            }
        };
        CnnTrainer::new(shape, weights, self.weight_decay)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut whole = |path: &str, found: usize, least: usize, most: usize| {
            if !(least..=most).contains(&found) {
                problems.push(Problem::new(path, format!("expected {least}..={most}, found {found}")));
            }
        };
        whole("channels", self.channels.len(), 1, 8);
        self.channels.iter().enumerate().for_each(|(i, c)| whole(&format!("channels[{i}]"), *c, 1, 1024));
        whole("convolutions", self.convolutions, 1, 4);
        whole("hidden", self.hidden.len(), 0, 4);
        self.hidden.iter().enumerate().for_each(|(i, n)| whole(&format!("hidden[{i}]"), *n, 1, 4096));
        self.size.iter().flatten().enumerate().for_each(|(i, side)| whole(&format!("size[{i}]"), *side, 4, 256));
        if !matches!(self.kernel, 1 | 3 | 5 | 7) {
            problems.push(Problem::new("kernel", format!("expected 1, 3, 5 or 7, found {}", self.kernel)));
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            problems.push(Problem::new("weight_decay", format!("expected 0..=1, found {}", self.weight_decay)));
        }
        if self.weights.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.push(Problem::new("weights", "expected the path of a safetensors file, found nothing"));
        }
        problems
    }

    /// The sizes for this data.
    fn shape(&self, profile: &DataProfile) -> Result<Shape> {
        if profile.classes.is_empty() || !profile.modalities.has(Modality::Image) {
            return Err(Error::model("a cnn needs at least one class, and images"));
        }
        let (width, height, channels) = profile.image.unwrap_or((28, 28, 1));
        let shrink = (64.0 / width.max(height).max(1) as f64).min(1.0);
        let side = |n: usize| ((n as f64 * shrink).round() as usize).clamp(4, 64);
        let [width, height] = self.size.unwrap_or([side(width), side(height)]);
        let size = (width, height, if channels == 1 { 1 } else { 3 });
        let mut input = [size.2, height, width];
        let mut convolutions = Vec::new();
        for channels in &self.channels {
            for nth in 1..=self.convolutions {
                let pool = nth == self.convolutions && input[1] > 1 && input[2] > 1;
                let layer = Convolution { input, channels: *channels, kernel: self.kernel, pool };
                input = layer.output();
                convolutions.push(layer);
            }
        }
        let shape = Shape { classes: profile.classes.clone(), size, convolutions, hidden: self.hidden.clone() };
        shape
            .check()
            .map_err(|_| Error::model("the cnn would be too large for these images; choose a smaller `size` or fewer `channels`"))?;
        Ok(shape)
    }
}

#[cfg(test)]
pub(super) mod tests;
