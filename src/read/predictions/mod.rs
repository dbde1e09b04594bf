//! Predictions that a trainer wrote down: the way in for a model of any framework.

mod gather;
mod record;
mod source;
mod tables;
#[cfg(test)]
mod tests;

pub use source::{Held, PredictionsSource, peek};

use super::{Reader, Source};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Table},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Reads predictions that a trainer of any framework wrote down, in place of a model: every signal that they allow is scored.
///
/// Method: each sample has `logits` or `probabilities` (their logarithms serve as logits), one column a class, and may have a `label`, the
/// logits or probabilities from some of its modalities alone (`image_logits`, `audio_probabilities`, `image_text_logits`, ...), embeddings
/// (`embedding`, `image_embedding`, ...) and any other fields. With an `epoch`, from its second presentation on a sample adds to the training
/// dynamics; the last one counts for all else. With a `member` (a name or a number) a line is the prediction of one member of an ensemble: another training, or a pass with
/// dropout drawn anew; `member_logits` (or `member_probabilities`) holds all of them at once, a list of lists. The answer of a sample is that of its line without a member, and where it
/// has none, the mean probability of its members. What is given for one sample with a modality is given for all that have it. JSON lines
/// (`.jsonl`, `.json`, `.ndjson`) hold lists, `guid`, `gold` and `logits_epoch_3` are understood; CSV (`.csv`, `.tsv`) holds numbered columns such as
/// `logits_0`, `image_probabilities_2`; NPY files are named by what they hold (`train_logits.npy`, `labels.npy`, `image_embedding.npy`, `ids.npy`
/// or `ids.txt`), with a first axis of epochs where logits have three; `member_logits.npy` has the axes members, samples, classes. Labels are whole numbers from 0, or names listed in `classes`. A line
/// that cannot be used is reported with its number and left out.
///
/// Reference: Swayamdipta et al., Dataset Cartography, 2020 (training dynamics from logits an epoch).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predictions {
    /// Files, relative to the pipeline file: several JSON lines or CSV files are read one after another (one an epoch, say), NPY files side by side.
    pub files: Vec<String>,
    /// Names of the classes in the order of the logits. Absent where labels are whole numbers from 0.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// Whether the predictions are by models that never trained on the sample (cross-validation): then they serve as `out_of_fold`, and the guard can
    /// judge.
    #[serde(default)]
    pub out_of_fold: bool,
    /// Files, as in `files`, with predictions of the same samples by another model that never trained on them: out of fold, or trained on a hold-out alone. It serves as
    /// the `out_of_fold` teacher, `files` as the subject; samples are joined by id. Absent where there is one model.
    #[serde(default)]
    pub teacher: Option<Vec<String>>,
    /// A manifest of the same samples, joined by `id`: labels, fields and media (for the quality of the media).
    #[serde(default)]
    pub manifest: Option<String>,
    /// Probe runs for `aum_probe`, one file each (JSON lines or CSV with `id`, `label`, `epoch` and `logits`): logits of the training forward passes of a model with a
    /// class more than the data, which random threshold samples were given as their label. It is the last class; its label is the number of the other
    /// classes, or `~threshold` where `classes` are listed. Two runs with threshold samples that they do not share cover all samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
}

impl Configure<dyn Reader> for Predictions {
    const NAME: &'static str = "predictions";
    const EXAMPLE: &'static str = "{ files: [predictions.jsonl], out_of_fold: true }";

    fn build(self, _: &Table<dyn Reader>) -> Result<Box<dyn Reader>, Vec<Problem>> {
        let mut problems = Vec::new();
        for (field, files) in std::iter::once(("files", &self.files)).chain(self.teacher.iter().map(|files| ("teacher", files))) {
            if files.is_empty() {
                problems.push(Problem::new(field, "is empty; expected at least one file such as predictions.jsonl"));
            }
            for (i, file) in files.iter().enumerate() {
                if let Err(told) = source::Kind::of(file) {
                    problems.push(Problem::new(format!("{field}[{i}]"), told));
                }
            }
            let kinds: Vec<_> = files.iter().filter_map(|file| source::Kind::of(file).ok()).collect();
            if kinds.iter().any(|kind| kind.is_array()) && !kinds.iter().all(|kind| kind.is_array()) {
                problems.push(Problem::new(field, "NPY files stand side by side, other files one after another; expected one of the two"));
            }
        }
        if self.teacher.is_some() && self.out_of_fold {
            let told = "says that `files` never saw the samples; beside a `teacher` they are the subject's: leave one of the two out";
            problems.push(Problem::new("out_of_fold", told));
        }
        for (i, file) in self.probes.iter().enumerate() {
            let told = match source::Kind::of(file) {
                Err(told) => Some(told),
                Ok(kind) => kind.is_array().then(|| format!("expected JSON lines or CSV with an `epoch`, found `{file}`")),
            };
            problems.extend(told.map(|told| Problem::new(format!("probes[{i}]"), told)));
        }
        if let Some(classes) = &self.classes {
            if classes.len() < 2 {
                problems.push(Problem::new("classes", format!("expected at least two names, found {}", classes.len())));
            }
            for (i, name) in classes.iter().enumerate() {
                if name.trim().is_empty() || classes[..i].contains(name) {
                    problems.push(Problem::new(format!("classes[{i}]"), format!("expected a name of its own, found `{name}`")));
                }
            }
        }
        if self.manifest.as_ref().is_some_and(|path| path.trim().is_empty()) {
            problems.push(Problem::new("manifest", "is empty; expected the path of a manifest such as train.jsonl"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Reader for Predictions {
    fn open(&self, base: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(PredictionsSource::open(self, base)?))
    }
    fn answers(&self) -> bool {
        true
    }
    fn probes(&self) -> bool {
        !self.probes.is_empty()
    }
    fn out_of_fold(&self) -> bool {
        self.out_of_fold || self.teacher.is_some()
    }
}
