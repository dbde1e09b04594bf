//! What a pipeline file says of a command.

use super::model::CommandModel;
use crate::{
    error::{Problem, Result},
    model::{Capabilities, DataProfile, Model, ModelSource, Opened},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Modality, ModalitySet},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Your own model as another program, which is asked over its stdin and answers on its stdout; for models that cannot be exported.
///
/// Method: the program is started in the folder of the pipeline file and runs as long as the model is used. It is sent safetensors frames, always of
/// `micro_batch` samples, and answers with logits, embeddings, and the product of a slope with its Jacobian; hardmine computes the objective, and brings
/// media to the model's sizes by maps whose transposes bring gradients back to native pixels and samples. `examples/hardmine_process.py` speaks the protocol, which
/// `model::command` describes; `examples/command_model.py` is a PyTorch model that uses it. It is asked and not trained: write `train: none`. A pipeline with a command
/// runs that command, and so does `regenerate` on what such a run left: read it before you run what you were sent.
///
/// Reference: the safetensors format, <https://github.com/huggingface/safetensors>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments. A program with a folder in its name starts at the pipeline file, another one is looked for on the PATH; arguments are handed on as they are,
    /// and the program runs in the folder of the pipeline file. Arguments that name a file there are part of the model's digest.
    pub run: Vec<String>,
    /// What the program reads, one entry a modality; at least one.
    pub inputs: CommandInputs,
    /// Class names in the order of the logits, where they are not those of the data: the logits of the data's classes are picked by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Modalities whose gradient the program gives: `[image]`, say.
    #[serde(default)]
    pub gradients: Vec<Modality>,
    /// Modalities whose embedding the program gives.
    #[serde(default)]
    pub embeddings: Vec<Modality>,
    /// Modalities of both lists whose embedding the program gives the gradient of, with respect to its own medium; `hotflip` by `guidance: embeddings` asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding_gradients: Vec<Modality>,
    /// Whether the program gives a fused embedding, the input of its last layer.
    #[serde(default)]
    pub fused: bool,
    /// Further files that the answers depend on (weights, modules), relative to the pipeline file: part of the model's digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Samples of one question, 1..=1024.
    #[serde(default = "sixteen")]
    pub micro_batch: usize,
    /// Longest wait for an answer in seconds, the first one included, above 0 and at most 86400.
    #[serde(default = "minute")]
    pub timeout_s: f64,
}

fn sixteen() -> usize {
    16
}

fn minute() -> f64 {
    60.0
}

/// What a command reads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandInputs {
    /// Pixels of `0..=1`, `[n, channels, rows, columns]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<CommandImage>,
    /// A waveform of one channel, `-1..=1`, `[n, samples]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<CommandAudio>,
    /// Text as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<CommandText>,
}

/// Images as a command reads them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandImage {
    /// Columns and rows in pixels, 1..=16384; left out: the most common of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<(usize, usize)>,
    /// 1 (gray) or 3; left out: as most of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
}

/// Waveforms as a command reads them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandAudio {
    /// Rate in Hz, 1..=384000; left out: the most common of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Length in samples, 1..=10000000; longer media keep their centre. Left out: the 95 % quantile of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

/// Text as a command reads it: nothing to say of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandText {}

impl Command {
    /// Modalities that have an input.
    pub(super) fn modalities(&self) -> ModalitySet {
        let there = [self.inputs.image.is_some(), self.inputs.audio.is_some(), self.inputs.text.is_some()];
        Modality::ALL.into_iter().zip(there).filter_map(|(m, there)| there.then_some(m)).collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut check = |fits: bool, path: &str, message: String| {
            if !fits {
                found.push(Problem::new(path, message));
            }
        };
        let program = self.run.first().is_some_and(|program| !program.is_empty());
        check(program, "run", "expected a program and its arguments, as in `[python3, my_model.py]`, found none".into());
        let zero = self.run.iter().position(|part| part.contains('\0'));
        check(zero.is_none(), "run", "expected texts without a zero character".into());
        let own = self.modalities();
        check(!own.is_empty(), "inputs", "expected at least one of image, audio and text, as in `{ image: {} }`; found none".into());
        for (field, named) in [("gradients", &self.gradients), ("embeddings", &self.embeddings)] {
            let without = named.iter().find(|m| !own.has(**m));
            check(without.is_none(), field, without.map_or_else(String::new, |m| format!("expected modalities of `inputs`, found {m}")));
        }
        let both = |m: &Modality| self.gradients.contains(m) && self.embeddings.contains(m);
        if let Some(other) = self.embedding_gradients.iter().find(|m| !both(m)) {
            check(false, "embedding_gradients", format!("expected modalities of both `gradients` and `embeddings`, found {other}"));
        }
        if let Some((at, name)) = self.classes.iter().enumerate().find(|(at, name)| self.classes.iter().take(*at).any(|own| own == *name)) {
            check(false, &format!("classes[{at}]"), format!("expected names that differ, found `{name}` twice"));
        }
        check((1..=1024).contains(&self.micro_batch), "micro_batch", format!("expected 1..=1024, found {}", self.micro_batch));
        let seconds = self.timeout_s;
        check(seconds > 0.0 && seconds <= 86_400.0, "timeout_s", format!("expected a number above 0 and at most 86400, found {seconds}"));
        if let Some(image) = &self.inputs.image {
            if let Some((w, h)) = image.size {
                let fits = [w, h].iter().all(|n| (1..=crate::model::preprocess::MAX_SIDE).contains(n));
                check(fits, "inputs.image.size", format!("expected sides of 1..=16384 pixels, found {w} x {h}"));
            }
            if let Some(channels) = image.channels {
                check(matches!(channels, 1 | 3), "inputs.image.channels", format!("expected 1 or 3, found {channels}"));
            }
        }
        if let Some(audio) = &self.inputs.audio {
            if let Some(rate) = audio.sample_rate_hz {
                check((1..=384_000).contains(&rate), "inputs.audio.sample_rate_hz", format!("expected 1..=384000 Hz, found {rate}"));
            }
            if let Some(length) = audio.length {
                check((1..=10_000_000).contains(&length), "inputs.audio.length", format!("expected 1..=10000000 samples, found {length}"));
            }
        }
        found
    }
}

impl Configure<dyn ModelSource> for Command {
    const NAME: &'static str = "command";
    const EXAMPLE: &'static str =
        "{ run: [python3, my_model.py], inputs: { image: { size: [224, 224], channels: 3 } }, gradients: [image] }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl ModelSource for Command {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            trainable: false,
            modalities: self.modalities(),
            gradients: self.gradients.iter().copied().collect(),
            embeddings: self.embeddings.iter().copied().collect(),
            embedding_gradients: self.embedding_gradients.iter().copied().collect(),
            decodes: ModalitySet::EMPTY,
            variational: ModalitySet::EMPTY,
        }
    }
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        self.open_at(Path::new("."), profile, seeds)
    }
    fn open_at(&self, base: &Path, profile: &DataProfile, _: &SeedTree) -> Result<Opened> {
        Ok(Opened::Frozen(Arc::new(CommandModel::open(self, base, profile)?)))
    }
    fn reopen(&self, base: &Path, file: &Path) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(CommandModel::reopen(self, base, file)?))
    }
}
