//! The fusion model in evaluation.

use super::{
    block::{MicroBatch, column, transposed},
    edits::Placed,
    net::{Forward, Leaves, Net, Weights, host, matrix},
    shape::{CHARACTERS, Shape, characters},
    vocoder::Vocoder,
};
use crate::{
    error::{Error, Result},
    model::{
        EmbeddedText, Gradients, Input, Latent, Matrix, Model, ModelSpec, OfRow, Outputs, TextEdits, measure, parameters::Parameters,
        preprocess::Canonical,
    },
    sample::{Modality, ModalitySet, PerModality},
};
use burn::tensor::Tensor;
use rayon::prelude::*;
use serde_json::Value;
use std::path::Path;

/// Samples of every forward pass in evaluation. The last one is filled up with zeros: all shapes are always the same, and
/// so is each row's arithmetic.
pub(super) const MICRO_BATCH: usize = 32;

/// The fusion model with frozen weights.
#[derive(Debug)]
pub struct FusionModel {
    pub(super) shape: Shape,
    parameters: Parameters,
    pub(super) weights: Weights,
    pub(super) net: Net,
    pub(super) canonical: Canonical,
    /// Where audio is decoded.
    pub(super) vocoder: Option<Vocoder>,
    spec: ModelSpec,
}

impl FusionModel {
    pub(super) fn new(shape: Shape, parameters: Parameters) -> Result<Self> {
        let net = Net::new(shape.clone());
        let weights = Weights::new(&parameters, &net.device, false);
        let vocoder = shape.audio.as_ref().filter(|audio| audio.decoder > 0).map(Vocoder::new);
        Ok(Self { vocoder, canonical: shape.canonical(), spec: shape.spec(&parameters), weights, net, shape, parameters })
    }

    /// The weights of a step, for its attacks: nothing is hashed, and it cannot be saved.
    pub(super) fn view(shape: &Shape, net: &Net, canonical: &Canonical, parameters: &Parameters) -> Self {
        // The table of characters is read on the host as well.
        let mut own = Parameters::default();
        if let Some(table) = parameters.get("text.characters") {
            own.insert("text.characters", table.shape.clone(), table.values.clone());
        }
        Self {
            canonical: canonical.clone(),
            spec: shape.spec_of(String::new()),
            weights: Weights::new(parameters, &net.device, false),
            net: net.clone(),
            shape: shape.clone(),
            parameters: own,
            // An attack changes inputs and decodes nothing.
            vocoder: None,
        }
    }

    /// Reads what `save` wrote: its header and weights.
    pub(in crate::model) fn from_file(header: &Value, parameters: Parameters) -> Result<Self> {
        let shape = header.get("shape").cloned().unwrap_or_default();
        let shape: Shape = serde_json::from_value(shape).map_err(|e| Error::model(format!("the header of the model is broken: {e}")))?;
        shape.check()?;
        shape.check_weights(&parameters)?;
        Self::new(shape, parameters)
    }

    pub(super) fn batches(&self, inputs: &[Input]) -> Result<Vec<(MicroBatch, usize)>> {
        let one = |(i, part): (usize, &[Input])| {
            let batch = MicroBatch::new(&self.shape, &self.canonical, part, Some(MICRO_BATCH));
            Ok((batch.map_err(|e| e.at("micro-batch", i))?, part.len()))
        };
        inputs.par_chunks(MICRO_BATCH).enumerate().map(one).collect()
    }

    fn empty(&self, columns: usize) -> Matrix {
        Matrix { columns, values: Vec::new() }
    }

    /// The gradients of what `of` makes of each pass: values of its rows, and the part of the answer whose slope is given with it. It is told the first row of
    /// the pass, and the logits of its rows.
    fn sloped(
        &self,
        inputs: &[Input],
        wrt: ModalitySet,
        of: impl Fn(usize, &[f32], Forward) -> Result<(Vec<f32>, Tensor<2>, Vec<f32>)> + Sync,
    ) -> Result<Gradients> {
        let classes = self.shape.classes.len();
        let one = |(number, part): (usize, &[Input])| {
            let batch = MicroBatch::new(&self.shape, &self.canonical, part, Some(MICRO_BATCH))?;
            let plain = self.net.leaves(&batch);
            let leaves: Leaves = PerModality::from_fn(|m| {
                let leaf = match (&plain[m], &batch.blocks[m]) {
                    (Some(leaf), _) => leaf.clone(),
                    // The slope of a text is that of a perturbation of 0.
                    (None, Some(block)) if m == Modality::Text && wrt.has(m) => {
                        Tensor::zeros([self.text_values(), block.count], &self.net.device)
                    }
                    _ => return None,
                };
                Some(if wrt.has(m) { leaf.autodiff().require_grad() } else { leaf })
            });
            let pass = self.net.forward(&self.weights, &batch, &leaves, None)?;
            let logits = transposed(&host(pass.logits.clone().inner())?, MICRO_BATCH, part.len());
            // The objective is a function of a few numbers: its slope is exact on the host, and what is left for the graph is
            // linear.
            let (values, answer, slope) = of(number * MICRO_BATCH, &logits, pass)?;
            let mut of: PerModality<Option<Vec<f32>>> = PerModality::default();
            if answer.is_tracked() {
                let [rows, columns] = answer.dims();
                let gradients = (answer * matrix(slope, rows, columns, &self.net.device)).sum().backward();
                for modality in Modality::ALL {
                    let tracked = leaves[modality].as_ref().filter(|_| wrt.has(modality));
                    of[modality] = tracked.and_then(|leaf| leaf.grad(&gradients)).map(host).transpose()?;
                }
            }
            let native = |modality: Modality, at: usize, back: &dyn Fn(&[f32]) -> Vec<f32>| {
                let block = batch.blocks[modality].as_ref()?;
                let place = usize::try_from(block.columns[at]).ok().filter(|place| *place < block.count)?;
                Some(back(&column(of[modality].as_ref()?, MICRO_BATCH, place)))
            };
            let image = |at: usize| batch.images[at].as_ref().and_then(|map| native(Modality::Image, at, &|g| map.transpose(g)));
            let audio = |at: usize| batch.audios[at].as_ref().and_then(|map| native(Modality::Audio, at, &|g| map.transpose(g)));
            let length = self.shape.text.as_ref().map_or(0, |text| text.length);
            let text = |at: usize| native(Modality::Text, at, &|g| transposed(g, length, length));
            let range = || 0..part.len();
            Ok(Gradients {
                objective: values,
                logits: Matrix { columns: classes, values: logits },
                image: range().map(image).collect(),
                audio: range().map(audio).collect(),
                text: range().map(text).collect(),
            })
        };
        let parts: Vec<Gradients> = inputs.par_chunks(MICRO_BATCH).enumerate().map(one).collect::<Result<_>>()?;
        Ok(Gradients::joined(classes, parts))
    }

    /// Numbers of an embedded text.
    fn text_values(&self) -> usize {
        self.shape.text.as_ref().map_or(0, |text| text.characters * text.length)
    }
}

impl Model for FusionModel {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let one = |part: &[Input]| {
            let batch = MicroBatch::new(&self.shape, &self.canonical, part, Some(MICRO_BATCH))?;
            let pass = self.net.forward(&self.weights, &batch, &self.net.leaves(&batch), None)?;
            let rows = |tensor: Tensor<2>| Ok::<_, Error>(transposed(&host(tensor)?, MICRO_BATCH, part.len()));
            let PerModality { image, audio, text } = pass.embeddings;
            let [image, audio, text] = [image, audio, text].map(|e| e.map(rows).transpose());
            Ok((rows(pass.logits)?, rows(pass.fused)?, PerModality { image: image?, audio: audio?, text: text? }))
        };
        let parts: Vec<_> = inputs.par_chunks(MICRO_BATCH).map(one).collect::<Result<_>>()?;
        let (mut logits, mut fused) = (self.empty(self.shape.classes.len()), self.empty(self.shape.hidden));
        let mut embeddings = PerModality::from_fn(|m| self.shape.modalities().has(m).then(|| self.empty(self.shape.embedding)));
        for (own, hidden, of) in parts {
            logits.values.extend(own);
            fused.values.extend(hidden);
            for (modality, rows) in of.iter() {
                if let (Some(matrix), Some(rows)) = (&mut embeddings[modality], rows) {
                    matrix.values.extend(rows);
                }
            }
        }
        Ok(Outputs { logits, embeddings, fused: Some(fused) })
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        let classes = self.shape.classes.len();
        self.sloped(inputs, wrt, |first, logits, pass| {
            let (values, slope) = slopes(logits, classes, &|row, logits| of(first + row, logits));
            Ok((values, pass.logits, slope))
        })
    }

    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        let (classes, size) = (self.shape.classes.len(), self.shape.embedding);
        self.sloped(inputs, ModalitySet::one(modality), |first, logits, pass| {
            let embedding = pass.embeddings[modality].clone();
            let embedding = embedding.ok_or_else(|| Error::model(format!("this model has no embedding of {modality}")))?;
            let rows = transposed(&host(embedding.clone().inner())?, MICRO_BATCH, logits.len() / classes.max(1));
            let (values, slope) = slopes(&rows, size, &|row, own| of(first + row, own));
            Ok((values, embedding, slope))
        })
    }

    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        let shape = self.shape.text.as_ref().ok_or_else(|| Error::model("this model reads no text"))?;
        let numbers = characters(text, shape.length);
        let positions = numbers.iter().take_while(|number| **number != 0).count();
        let table = self.parameters.values("text.characters")?;
        let of = |number: i64| (0..shape.characters).map(move |row| table.get(row * CHARACTERS + number as usize).copied().unwrap_or(0.0));
        Ok(EmbeddedText { size: shape.characters, positions, values: numbers.into_iter().flat_map(of).collect() })
    }

    fn text_edits<'a>(&'a self, text: &'a str, slope: &'a [f32]) -> Result<Option<Box<dyn TextEdits + 'a>>> {
        let shape = self.shape.text.as_ref().ok_or_else(|| Error::model("this model reads no text"))?;
        Ok(Some(Box::new(Placed::new(text, shape.length, self.parameters.values("text.characters")?, slope))))
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }

    fn save(&self, path: &Path) -> Result<()> {
        if self.spec.digest.is_empty() {
            return Err(Error::usage("the weights of a training step are not saved; freeze the model"));
        }
        self.parameters.write(path, &self.shape.architecture())
    }
}

/// A function of each row of logits or of an embedding, and its slope along them in the layout of the device: `columns x MICRO_BATCH`, 0 for the rows that fill up.
pub(super) fn slopes(rows: &[f32], columns: usize, of: OfRow<'_>) -> (Vec<f32>, Vec<f32>) {
    let (values, own) = measure::of_rows(rows, columns, 0, of);
    let mut slope = vec![0.0; columns * MICRO_BATCH];
    for (at, own) in own.chunks_exact(columns.max(1)).enumerate() {
        own.iter().enumerate().for_each(|(k, g)| slope[k * MICRO_BATCH + at] = *g);
    }
    (values, slope)
}
