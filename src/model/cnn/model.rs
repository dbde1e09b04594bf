//! The network in evaluation.

use super::{
    net::{Engine, Packed, Pass, engine},
    shape::Shape,
};
use crate::{
    error::{Error, Result},
    model::{
        Gradients, Input, Matrix, Model, ModelSpec, OfRow, Outputs, measure,
        parameters::Parameters,
        preprocess::{Canonical, ImageMap},
    },
    sample::{Modality, ModalitySet, PerModality},
};
use rayon::prelude::*;
use serde_json::Value;
use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, OnceLock},
};

/// What the frozen model and the trainer share: the architecture and the buffers that are kept from block to block.
#[derive(Clone)]
pub(super) struct Runner {
    pub shape: Arc<Shape>,
    pub canonical: Arc<Canonical>,
    pub engine: Arc<dyn Engine>,
    /// Index of the logits among the values of the dense layers.
    pub last: usize,
}

impl Runner {
    pub fn new(shape: Shape) -> Self {
        let plan = shape.plan();
        let last = plan.widths.len().saturating_sub(1);
        Self { canonical: Arc::new(shape.canonical()), engine: engine(&plan), shape: Arc::new(shape), last }
    }

    /// The forward pass of at most a block's samples, with the maps to their images.
    pub fn forward(&self, weights: &Packed, inputs: &[Input]) -> Result<(Box<dyn Pass>, Vec<Option<Arc<ImageMap>>>)> {
        let mut maps = Vec::with_capacity(inputs.len());
        let mut images = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Some(pixels) = &input.image else {
                maps.push(None);
                images.push(None);
                continue;
            };
            let map = self.canonical.image(pixels).map_err(|e| e.at("modality", Modality::Image))?;
            images.push(Some(if map.is_identity() { Cow::Borrowed(&pixels.values[..]) } else { Cow::Owned(map.apply(&pixels.values)) }));
            maps.push(Some(map));
        }
        let views: Vec<Option<&[f32]>> = images.iter().map(|image| image.as_deref()).collect();
        Ok((self.engine.forward(weights, &views), maps))
    }

    /// The gradients of the images of a block, at native size.
    pub fn images(pass: &dyn Pass, maps: &[Option<Arc<ImageMap>>]) -> Vec<Option<Vec<f32>>> {
        let native = |(gradient, map): (Vec<f32>, &Option<Arc<ImageMap>>)| {
            let map = map.as_ref()?;
            Some(if map.is_identity() { gradient } else { map.transpose(&gradient) })
        };
        pass.images().into_iter().zip(maps).map(native).collect()
    }

    pub fn logits(&self, pass: &dyn Pass) -> Vec<f32> {
        let mut logits = Vec::new();
        pass.values(self.last, &mut logits);
        logits
    }
}

/// The network with frozen weights.
pub struct CnnModel {
    runner: Runner,
    parameters: Arc<Parameters>,
    packed: Arc<Packed>,
    /// The digest costs a pass over all weights, and an attack does not ask for it.
    spec: OnceLock<ModelSpec>,
}

impl CnnModel {
    pub(super) fn new(runner: Runner, parameters: Arc<Parameters>, packed: Arc<Packed>) -> Self {
        Self { runner, parameters, packed, spec: OnceLock::new() }
    }

    /// As it is for the time of a training step: without a digest.
    pub(super) fn passing(runner: Runner, parameters: Arc<Parameters>, packed: Arc<Packed>) -> Self {
        let spec = OnceLock::from(runner.shape.spec(String::new()));
        Self { runner, parameters, packed, spec }
    }

    /// Reads what `save` wrote: its header and weights.
    pub(in crate::model) fn from_file(header: &Value, parameters: Parameters) -> Result<Self> {
        let shape = header.get("shape").cloned().unwrap_or_default();
        let shape: Shape = serde_json::from_value(shape).map_err(|e| Error::model(format!("the header of the model is broken: {e}")))?;
        shape.check()?;
        shape.check_weights(&parameters)?;
        let packed = Arc::new(shape.pack(&parameters)?);
        Ok(Self::new(Runner::new(shape), Arc::new(parameters), packed))
    }
}

impl Model for CnnModel {
    fn spec(&self) -> &ModelSpec {
        self.spec.get_or_init(|| self.runner.shape.spec(self.parameters.digest(&self.runner.shape.architecture())))
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let last = self.runner.last;
        let one = |inputs: &[Input]| {
            let (pass, _) = self.runner.forward(&self.packed, inputs)?;
            let mut fused = Vec::new();
            pass.values(last.saturating_sub(1), &mut fused);
            Ok((self.runner.logits(&*pass), fused))
        };
        let parts: Vec<(Vec<f32>, Vec<f32>)> = inputs.par_chunks(self.runner.engine.lanes()).map(one).collect::<Result<_>>()?;
        let (logits, fused): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let columns = self.runner.shape.plan().widths.iter().rev().nth(1).copied().unwrap_or(0);
        let fused = Matrix { columns, values: fused.concat() };
        Ok(Outputs {
            logits: Matrix { columns: self.runner.shape.classes.len(), values: logits.concat() },
            embeddings: PerModality { image: Some(fused.clone()), ..PerModality::default() },
            fused: Some(fused),
        })
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        let (classes, lanes) = (self.runner.shape.classes.len(), self.runner.engine.lanes());
        let image = wrt.has(Modality::Image);
        let one = |(at, inputs): (usize, &[Input])| {
            let (mut pass, maps) = self.runner.forward(&self.packed, inputs)?;
            let logits = self.runner.logits(&*pass);
            let (values, slopes) = measure::of_rows(&logits, classes, at * lanes, of);
            let none = || vec![None; inputs.len()];
            let image = if image {
                pass.backward(&self.packed, &slopes, true);
                Runner::images(&*pass, &maps)
            } else {
                none()
            };
            let logits = Matrix { columns: classes, values: logits };
            Ok(Gradients { objective: values, logits, image, audio: none(), text: Vec::new() })
        };
        let parts: Vec<Gradients> = inputs.par_chunks(lanes).enumerate().map(one).collect::<Result<_>>()?;
        Ok(Gradients::joined(classes, parts))
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.parameters.write(path, &self.runner.shape.architecture())
    }
}
