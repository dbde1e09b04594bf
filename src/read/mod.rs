//! Reading: where samples come from.

pub mod builtin;
mod content;
mod folder;
mod idx;
mod labels;
mod line;
mod manifest;
mod measure;
mod memory;
mod place;
pub mod predictions;
mod profile;
#[cfg(test)]
mod tests;

pub use folder::Folder;
pub use idx::Idx;
pub use labels::LabelIndex;
pub use line::{LabelKind, Line};
pub use manifest::{Manifest, ManifestSource};
pub use memory::MemorySource;
pub use predictions::{Predictions, PredictionsSource};
pub use profile::profile;

use crate::{
    codec,
    error::{Error, Result},
    model::Recorded,
    operator::{Requirements, Table},
    sample::{Classes, ModalitySet, Sample, SampleId, TrainingHistory},
};
use serde_json::{Map, Value};
use std::{path::Path, sync::Arc};

/// A label as the file wrote it; class indices are given when all names are known.
#[derive(Debug, Clone, PartialEq)]
pub enum WrittenLabel {
    /// A class name (numbers are written in decimal).
    Name(String),
    /// Shares by class name, summing to 1 within 1e-3.
    Soft(Vec<(String, f32)>),
}

/// What is known of a sample without its media.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Stable id.
    pub id: SampleId,
    /// The label as written.
    pub label: Option<WrittenLabel>,
    /// Which modalities the file names.
    pub present: ModalitySet,
    /// Names of the media (paths), by which shared media are found before they are read.
    pub media: Vec<String>,
    /// Fields that hardmine does not read.
    pub fields: Arc<Map<String, Value>>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// An opened data set: entries in memory, media fetched one by one.
pub trait Source: Send + Sync {
    /// All usable entries in the order of the file.
    fn entries(&self) -> &[Entry];
    /// Entries that could not be read, each with file and line.
    fn problems(&self) -> &[Error];
    /// Reads the media of entry `index`. The label is left out: it needs the class names.
    fn fetch(&self, index: usize) -> Result<Sample>;
    /// A short name for messages (the path).
    fn name(&self) -> &str;
    /// The sizes of the media of entry `index`, from their headers where that is possible.
    fn measure(&self, index: usize) -> Result<Measured> {
        self.fetch(index).map(|sample| measure::of_sample(&sample))
    }
    /// The classes, where the source knows more than its labels tell.
    fn classes(&self) -> Option<&Classes> {
        None
    }
    /// Recorded predictions of its samples, which take the place of a model.
    fn recorded(&self) -> Option<&Arc<Recorded>> {
        None
    }
    /// Recorded predictions of its samples by a second model, which never trained on them.
    fn teacher(&self) -> Option<&Arc<Recorded>> {
        None
    }
    /// Recorded training dynamics of its samples.
    fn history(&self) -> Option<&Arc<TrainingHistory>> {
        None
    }
}

/// Sizes of the media of a sample; `None` where one is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// Width, height and channels.
    pub image: Option<codec::image::Size>,
    /// Rate, channels and frames.
    pub audio: Option<codec::audio::Shape>,
    /// Characters.
    pub text: Option<usize>,
}

/// A reader: an operator of the `data:` section.
pub trait Reader: Send + Sync {
    /// Opens the source. Relative paths start at `base`, the folder of the pipeline file.
    fn open(&self, base: &Path) -> Result<Box<dyn Source>>;
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Whether its samples bring recorded predictions, so that no model is needed (nor can be trained).
    fn answers(&self) -> bool {
        false
    }
    /// Whether probe runs with threshold samples come along ([`crate::sample::Probe`]).
    fn probes(&self) -> bool {
        false
    }
    /// Whether the predictions are by models that never trained on the sample.
    fn out_of_fold(&self) -> bool {
        false
    }
}

/// The shipped readers.
pub fn table() -> Table<dyn Reader> {
    Table::default().with::<Folder>().with::<Idx>().with::<Manifest>().with::<Predictions>()
}
