//! The architecture: sizes, weight shapes, names and starts.

use super::net::{Convolution, LayerWeights, Packed, Plan};
use crate::{
    error::{Error, Result},
    model::{ModelSpec, parameters::Parameters, preprocess::Canonical},
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet},
};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most numbers of a feature map and of a matrix that a file may ask for.
const MOST_PLACES: usize = 1 << 22;
const MOST_WEIGHTS: usize = 1 << 28;

/// The whole architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub classes: Classes,
    /// Canonical columns, rows, channels.
    pub size: (usize, usize, usize),
    pub convolutions: Vec<Convolution>,
    /// Widths of the layers between the features and the logits.
    pub hidden: Vec<usize>,
}

/// A layer with weights: its number among all layers, its weights' shape and what one output sums over.
struct Weighted {
    at: usize,
    shape: Vec<usize>,
    fan_in: usize,
}

impl Weighted {
    fn weight(&self) -> String {
        format!("{}.weight", self.at)
    }
    fn bias(&self) -> String {
        format!("{}.bias", self.at)
    }
}

impl Shape {
    pub fn plan(&self) -> Plan {
        let features = self.convolutions.last().map_or(0, |layer| layer.output().iter().product());
        let widths = [features].into_iter().chain(self.hidden.iter().copied()).chain([self.classes.len()]).collect();
        Plan { convolutions: self.convolutions.clone(), widths }
    }
    pub fn canonical(&self) -> Canonical {
        Canonical::new(Some(self.size), None)
    }
    /// An error where sizes contradict each other (a file may say anything).
    pub fn check(&self) -> Result<()> {
        let side = |n: usize| (1..=4096).contains(&n);
        let mut right = !self.classes.is_empty() && !self.convolutions.is_empty() && self.convolutions.len() <= 64;
        right &= side(self.size.0) && side(self.size.1) && matches!(self.size.2, 1 | 3) && self.hidden.iter().all(|n| side(*n));
        let mut input = [self.size.2, self.size.1, self.size.0];
        for layer in &self.convolutions {
            right &= layer.input == input && side(layer.channels) && matches!(layer.kernel, 1 | 3 | 5 | 7);
            right &= right && layer.channels * input[1] * input[2] <= MOST_PLACES;
            if !right {
                break;
            }
            input = layer.output();
            right &= input.iter().all(|n| *n > 0);
        }
        right &= right && self.plan().widths.windows(2).all(|sizes| sizes[0].saturating_mul(sizes[1]) <= MOST_WEIGHTS);
        if right { Ok(()) } else { Err(Error::model("the header of the model is broken: its sizes contradict each other")) }
    }

    pub fn architecture(&self) -> Value {
        serde_json::json!({ "model": "cnn", "shape": self })
    }

    pub fn spec(&self, digest: String) -> ModelSpec {
        let image = ModalitySet::one(Modality::Image);
        let (name, classes, none) = ("cnn".into(), self.classes.clone(), ModalitySet::EMPTY);
        let (modalities, gradients, embeddings) = (image, image, image);
        ModelSpec { name, digest, classes, modalities, gradients, embeddings, embedding_gradients: none, decodes: none }
    }

    /// The layers with weights, numbered as in a sequence of all layers: convolution, ReLU and pooling, then one that flattens, matrices and ReLU.
    fn weighted(&self) -> Vec<Weighted> {
        let mut at = 0;
        let mut all = Vec::new();
        for layer in &self.convolutions {
            let fan_in = layer.input[0] * layer.kernel * layer.kernel;
            all.push(Weighted { at, shape: vec![layer.channels, layer.input[0], layer.kernel, layer.kernel], fan_in });
            at += if layer.pool { 3 } else { 2 };
        }
        at += 1;
        for sizes in self.plan().widths.windows(2) {
            all.push(Weighted { at, shape: vec![sizes[1], sizes[0]], fan_in: sizes[0] });
            at += 2;
        }
        all
    }

    /// All weights: He's normal start before a ReLU, a variance of 1 / inputs before the logits, biases 0; each tensor from its own node of `seeds`.
    pub fn start(&self, seeds: &SeedTree) -> Result<Parameters> {
        let mut weights = Parameters::default();
        let layers = self.weighted();
        for (i, layer) in layers.iter().enumerate() {
            let gain = if i + 1 == layers.len() { 1.0 } else { 2.0 };
            let normal = Normal::new(0.0, (gain / layer.fan_in.max(1) as f64).sqrt()).map_err(|e| Error::internal(e.to_string()))?;
            let mut rng = seeds.child(layer.weight()).rng();
            let values = (0..layer.shape.iter().product()).map(|_| normal.sample(&mut rng) as f32).collect();
            weights.insert(layer.weight(), layer.shape.clone(), values);
            weights.insert(layer.bias(), [layer.shape[0]], vec![0.0; layer.shape[0]]);
        }
        Ok(weights)
    }

    /// An error unless these are the weights of this architecture, all finite.
    pub fn check_weights(&self, weights: &Parameters) -> Result<()> {
        let sizes = |layer: Weighted| [(layer.bias(), vec![layer.shape[0]]), (layer.weight(), layer.shape)];
        weights.check_sizes(&self.weighted().into_iter().flat_map(sizes).collect::<Vec<_>>())
    }

    /// The weights in the order that the loops read them.
    pub fn pack(&self, weights: &Parameters) -> Result<Packed> {
        let layers = self.weighted();
        let of = |layer: &Weighted| Ok((weights.values(&layer.weight())?, weights.values(&layer.bias())?));
        let all: Vec<LayerWeights<'_>> = layers.iter().map(of).collect::<Result<_>>()?;
        let (convolutions, dense) = all.split_at(self.convolutions.len().min(all.len()));
        Ok(Packed::new(&self.plan(), convolutions, dense))
    }

    /// Gradients by layer, weights and biases, as tensors with the names and shapes of the weights.
    pub fn named(&self, slopes: Vec<(Vec<f32>, Vec<f32>)>) -> Parameters {
        let mut named = Parameters::default();
        for (layer, (weights, bias)) in self.weighted().into_iter().zip(slopes) {
            named.insert(layer.bias(), [bias.len()], bias);
            named.insert(layer.weight(), layer.shape, weights);
        }
        named
    }
}
