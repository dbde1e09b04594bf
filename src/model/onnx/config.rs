//! What a pipeline file says of an ONNX model.

use super::{head::HeadTrainer, model::OnnxModel};
use crate::{
    error::{Problem, Result},
    model::{Capabilities, DataProfile, ModelSource, Opened},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Modality, ModalitySet, PerModality},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Your own model from an ONNX file, with exact gradients of its inputs.
///
/// Method: the graph is checked and its constants are computed when it is opened; an operator that is not supported is named then. Media are brought
/// to the sizes and rates that the graph's inputs declare, by maps whose transposes bring gradients back to native pixels and samples. Every
/// sample goes through the graph in a micro-batch of a fixed size, or alone where the graph lets the rows of a pass change each other (one scale for a whole
/// tensor, normalisation over the batch). What the pipeline file leaves out of an input is taken from the file's own notes, and the run's record says so: the denotation
/// `DATA_CHANNEL`, the standard's `Image.NominalPixelRange` and `Image.BitmapPixelFormat`, `sample_rate`, and else `hardmine.mean`, `hardmine.std`,
/// `hardmine.range`, `hardmine.layout`, `hardmine.channel_order`, `hardmine.sample_rate_hz`, `hardmine.scale`, `hardmine.align`, `hardmine.cut`, `hardmine.characters` and
/// `hardmine.lowercase`, each written as the field of that name (`[0.485, 0.456, 0.406]`, `nhwc`, `true`). With `head`, the embeddings of one or more frozen
/// files are joined and a small classifier is trained on them here.
///
/// Reference: Open Neural Network Exchange, version 1.17, opset 22, <https://onnx.ai>; the operators are listed in `docs/onnx.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Onnx {
    /// The file, relative to the pipeline file. Left out where every input names a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What the graph reads, one entry a modality; at least one.
    pub inputs: OnnxInputs,
    /// Which values of the graph are what.
    #[serde(default)]
    pub outputs: OnnxOutputs,
    /// Class names in the order of the logits, where they are not those of the data: the logits of the data's classes are picked by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// What stands for a modality that a sample lacks.
    #[serde(default)]
    pub missing: Missing,
    /// Names of inputs that say whether a modality is there: 1 where it is, 0 where it is missing.
    #[serde(default, skip_serializing_if = "Masks::is_empty")]
    pub masks: Masks,
    /// Samples of one pass, 1..=256, where the graph leaves it free. 1 suits graphs of convolutions, 16 large fully connected layers.
    #[serde(default = "one")]
    pub micro_batch: usize,
    /// A classifier to train on the embeddings; without it the graph's logits are asked and nothing is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
}

fn one() -> usize {
    1
}

/// The inputs of an ONNX graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxInputs {
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInput>,
    /// A waveform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioInput>,
    /// Token ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,
}

/// The order of an image's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Sample, channel, row, column (PyTorch).
    #[default]
    Nchw,
    /// Sample, row, column, channel (TensorFlow).
    Nhwc,
}

/// The order of an image's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red (OpenCV).
    Bgr,
}

/// Which part of a sound is taken that is longer than the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Its middle.
    #[default]
    Centre,
    /// Its beginning.
    Start,
}

/// Where a sound lies that is shorter than the input; zeros fill the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// At the beginning.
    #[default]
    Start,
    /// In the middle.
    Centre,
}

/// Pixels: `(v * (high - low) + low - mean) / std` of values `0..=1`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageInput {
    /// A file of its own for this modality, relative to the pipeline file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Name of the graph's input; left out where the graph has one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Order of the dimensions; left out: as the file's denotations or notes say, else `nchw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Order of the colours; left out: as the file's notes say, else `rgb`. `mean` and `std` have this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order: Option<ChannelOrder>,
    /// Columns and rows in pixels, 1..=16384, where the graph leaves them free; else the most common of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<(usize, usize)>,
    /// Subtracted from each channel, after `range`: one number or three; left out: as the file's notes say, else 0.
    pub mean: Vec<f32>,
    /// Each channel is divided by it, above 0: one number or three; left out: as the file's notes say, else 1.
    pub std: Vec<f32>,
    /// What black and full white are, before `mean` and `std`: `[0, 1]`, or `[0, 255]`, or `[-1, 1]`; left out: as the file's notes say, else `[0, 1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(f32, f32)>,
}

/// A waveform of one channel, as `[samples]`, `[batch, samples]` or `[batch, 1, samples]`, as the graph declares.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AudioInput {
    /// A file of its own for this modality, relative to the pipeline file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Name of the graph's input; left out where the graph has one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Rate that the model expects in Hz, 1..=384000; left out: as the file's notes say, else 16000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Length in samples, 1..=10000000, where the graph leaves it free; else the 95 % quantile of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// What full scale is: 1, or 32768 where the model expects the numbers of 16-bit audio. Above 0; left out: as the file's notes say, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Where a shorter sound lies: `start` or `centre`; left out: as the file's notes say, else `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Align>,
    /// Which part of a longer sound is taken: `centre` or `start`; left out: as the file's notes say, else `centre`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// Text as token ids `[batch, length]`: from `characters`, or from a WordPiece `vocabulary`. The two name the same thing, so one is given, here or in the
/// file's notes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextInput {
    /// A file of its own for this modality, relative to the pipeline file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Name of the graph's input; left out where the graph has one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Known characters: the first has the id 1, an unknown one the id after the last, and 0 fills up; left out: as the file's notes say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub characters: Option<String>,
    /// A WordPiece vocabulary, one token a line (`vocab.txt` of a BERT model), relative to the pipeline file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<PathBuf>,
    /// Whether text is written small before its tokens are looked up; left out: as the file's notes say, else not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowercase: Option<bool>,
    /// Ids a text, 1..=65536, where the graph leaves it free; else the 99 % quantile of the data's characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Name of the input that is 1 at tokens and 0 where it was filled up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_mask: Option<String>,
    /// Name of the input of segment ids, which are all 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_types: Option<String>,
}

/// Names of values in the graph; any value will do, not the declared outputs alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxOutputs {
    /// Logits, `[batch, classes]`; left out where the graph has one output alone, or with `head`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<String>,
    /// Embedding of each modality.
    pub embeddings: Embeddings,
    /// Fused embedding, the input of the last layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<String>,
}

/// A name of a value for each modality that has an embedding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embeddings {
    /// Of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of the audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// Of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A name of an input for each modality with one that says whether it is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Masks {
    /// Of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of the audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// Of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Masks {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
    pub(super) fn of(&self, modality: Modality) -> Option<&String> {
        match modality {
            Modality::Image => self.image.as_ref(),
            Modality::Audio => self.audio.as_ref(),
            Modality::Text => self.text.as_ref(),
        }
    }
}

/// What a graph is given where a modality is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Black pixels, silence, no token.
    #[default]
    Zeros,
    /// The mean pixel (0 after normalisation), silence, no token.
    Mean,
}

/// A classifier on joined embeddings: one hidden layer, trained with AdamW; a missing modality is a learned vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Units of the hidden layer, 1..=4096.
    pub hidden: usize,
    /// Weight decay of AdamW, 0..=1.
    pub weight_decay: f32,
}

impl Default for Head {
    fn default() -> Self {
        Self { hidden: 128, weight_decay: 0.01 }
    }
}

impl Onnx {
    /// Modalities that have an input.
    pub(super) fn modalities(&self) -> ModalitySet {
        let there = [self.inputs.image.is_some(), self.inputs.audio.is_some(), self.inputs.text.is_some()];
        Modality::ALL.into_iter().zip(there).filter_map(|(m, there)| there.then_some(m)).collect()
    }
    /// The file of each modality's own.
    pub(super) fn files(&self) -> PerModality<Option<&PathBuf>> {
        PerModality {
            image: self.inputs.image.as_ref().and_then(|i| i.path.as_ref()),
            audio: self.inputs.audio.as_ref().and_then(|i| i.path.as_ref()),
            text: self.inputs.text.as_ref().and_then(|i| i.path.as_ref()),
        }
    }
    /// The same with every relative path under `base`.
    fn under(&self, base: &Path) -> Self {
        let mut own = self.clone();
        let OnnxInputs { image, audio, text } = &mut own.inputs;
        let text = text.as_mut().map(|t| [t.path.as_mut(), t.vocabulary.as_mut()]);
        let paths = [own.path.as_mut(), image.as_mut().and_then(|i| i.path.as_mut()), audio.as_mut().and_then(|a| a.path.as_mut())];
        paths.into_iter().chain(text.into_iter().flatten()).flatten().for_each(|path| *path = base.join(&*path));
        own
    }
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut check = |fits: bool, path: &str, message: String| {
            if !fits {
                found.push(Problem::new(path, message));
            }
        };
        let files = self.files();
        let without = self.modalities().iter().find(|m| files[*m].is_none());
        check(!self.modalities().is_empty(), "inputs", "expected at least one of image, audio and text, found none".into());
        if self.path.is_none()
            && let Some(m) = without
        {
            check(false, "path", format!("expected a file here, or one for the input `{m}`; found neither"));
        }
        let own = files.iter().any(|(_, f)| f.is_some());
        check(!own || self.head.is_some(), "head", "files of single modalities are joined by a head: write `head: {}`".into());
        check((1..=256).contains(&self.micro_batch), "micro_batch", format!("expected 1..=256, found {}", self.micro_batch));
        if let Some(image) = &self.inputs.image {
            if let Some((w, h)) = image.size {
                let fits = [w, h].iter().all(|n| (1..=crate::model::preprocess::MAX_SIDE).contains(n));
                check(fits, "inputs.image.size", format!("expected sides of 1..=16384 pixels, found {w} x {h}"));
            }
            let channels = |v: &[f32]| matches!(v.len(), 0 | 1 | 3) && v.iter().all(|v| v.is_finite());
            check(channels(&image.mean), "inputs.image.mean", format!("expected one or three numbers, found {:?}", image.mean));
            let above = channels(&image.std) && image.std.iter().all(|v| *v > 0.0);
            check(above, "inputs.image.std", format!("expected one or three numbers above 0, found {:?}", image.std));
            if let Some((low, high)) = image.range {
                let ordered = low.is_finite() && high.is_finite() && low < high;
                check(ordered, "inputs.image.range", format!("expected a low and a high number, found [{low}, {high}]"));
            }
        }
        if let Some(audio) = &self.inputs.audio {
            if let Some(rate) = audio.sample_rate_hz {
                check((1..=384_000).contains(&rate), "inputs.audio.sample_rate_hz", format!("expected 1..=384000 Hz, found {rate}"));
            }
            if let Some(n) = audio.length {
                check((1..=10_000_000).contains(&n), "inputs.audio.length", format!("expected 1..=10000000 samples, found {n}"));
            }
            if let Some(scale) = audio.scale {
                check(scale.is_finite() && scale > 0.0, "inputs.audio.scale", format!("expected a number above 0, found {scale}"));
            }
        }
        if let Some(text) = &self.inputs.text {
            let both = text.characters.is_some() && text.vocabulary.is_some();
            check(!both, "inputs.text", "expected either `characters` or `vocabulary`, found both".into());
            if let Some(n) = text.length {
                check((1..=65_536).contains(&n), "inputs.text.length", format!("expected 1..=65536 ids, found {n}"));
            }
        }
        if let Some(head) = &self.head {
            check((1..=4096).contains(&head.hidden), "head.hidden", format!("expected 1..=4096, found {}", head.hidden));
            let decay = head.weight_decay;
            check((0.0..=1.0).contains(&decay), "head.weight_decay", format!("expected 0..=1, found {decay}"));
            check(self.outputs.logits.is_none(), "outputs.logits", "with `head`, the logits are the head's; leave this out".into());
            check(self.classes.is_empty(), "classes", "with `head`, the classes are those of the data; leave this out".into());
        }
        found
    }
}

impl Configure<dyn ModelSource> for Onnx {
    const NAME: &'static str = "onnx";
    const EXAMPLE: &'static str =
        "{ path: model.onnx, inputs: { image: { name: image, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } } }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl ModelSource for Onnx {
    fn capabilities(&self) -> Capabilities {
        let modalities = self.modalities();
        let named = [&self.outputs.embeddings.image, &self.outputs.embeddings.audio, &self.outputs.embeddings.text];
        let embeddings = Modality::ALL.into_iter().zip(named).filter_map(|(m, name)| name.is_some().then_some(m)).collect();
        Capabilities {
            trainable: self.head.is_some(),
            modalities,
            gradients: modalities.without(Modality::Text),
            embeddings: if self.head.is_some() { modalities } else { embeddings },
            embedding_gradients: if self.head.is_some() { modalities } else { embeddings }.without(Modality::Text),
            decodes: ModalitySet::EMPTY,
            variational: ModalitySet::EMPTY,
        }
    }
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        if self.head.is_some() {
            return Ok(Opened::Trainable(Box::new(HeadTrainer::open(self, profile, seeds)?)));
        }
        Ok(Opened::Frozen(Arc::new(OnnxModel::open(self, profile)?)))
    }
    fn open_at(&self, base: &Path, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        self.under(base).open(profile, seeds)
    }
}
