//! The vocabulary: samples and their media, score tables, selections, candidates and lineages. No input or output here.

mod annotations;
mod candidate;
mod diagnosis;
mod history;
mod label;
mod lineage;
mod media;
pub mod metrics;
mod modality;
mod selection;
mod table;
pub mod weighting;

pub use annotations::{Annotations, BoundingBox, Event, Keypoint, Mask, TextSpan, WordTime};
pub use candidate::{Accepted, Candidate, Claim, Norm, Rejection, Verdict};
pub use diagnosis::{Diagnoses, Diagnosis, Judgement, Reason, ReasonCode, Treatment};
pub use history::{HistoryRow, Probe, ProbeRun, Probed, TrainingHistory};
pub use label::{Classes, Label};
pub use lineage::{Lineage, ParentRef};
pub use media::{AudioBuffer, Bytes, Digest, Encoded, Format, ImageBuffer, Media, Text};
pub use modality::{Modality, ModalitySet, PerModality};
pub use selection::{DifficultyBand, Partner, Polarity, Selected, Selection, Take};
pub use table::{Column, ColumnKind, Score, ScoreTable, TableRow};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};

/// The stable id of a sample: from the manifest, or for a child made from its lineage. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SampleId(Arc<str>);

impl SampleId {
    /// Takes any text as an id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SampleId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SampleId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

/// One training sample: any subset of image, audio and text, a label, and what else the manifest said of it. Cloning is
/// cheap: media are shared.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Stable id.
    pub id: SampleId,
    /// The label; a generated sample may carry a soft one.
    pub label: Option<Label>,
    /// The image, if present.
    pub image: Option<Media<ImageBuffer>>,
    /// The audio, if present.
    pub audio: Option<Media<AudioBuffer>>,
    /// The text, if present.
    pub text: Option<Media<Text>>,
    /// Boxes, events and word times.
    pub annotations: Arc<Annotations>,
    /// Fields of the manifest that hardmine does not read, kept as they are.
    pub fields: Arc<Map<String, Value>>,
}

impl Sample {
    /// A sample with an id and nothing else.
    pub fn new(id: impl Into<SampleId>) -> Self {
        Self { id: id.into(), label: None, image: None, audio: None, text: None, annotations: Arc::default(), fields: Arc::default() }
    }

    /// Which modalities are there.
    pub fn present(&self) -> ModalitySet {
        let mut set = ModalitySet::EMPTY;
        if self.image.is_some() {
            set = set.with(Modality::Image);
        }
        if self.audio.is_some() {
            set = set.with(Modality::Audio);
        }
        if self.text.is_some() {
            set = set.with(Modality::Text);
        }
        set
    }

    /// The same sample with only the modalities of `keep`.
    #[must_use]
    pub fn only(&self, keep: ModalitySet) -> Self {
        let mut sample = self.clone();
        if !keep.has(Modality::Image) {
            sample.image = None;
        }
        if !keep.has(Modality::Audio) {
            sample.audio = None;
        }
        if !keep.has(Modality::Text) {
            sample.text = None;
        }
        sample
    }

    /// The digest of a medium's encoded bytes (of the decoded ones where it was never encoded).
    pub fn digest(&self, modality: Modality) -> Option<Digest> {
        match modality {
            Modality::Image => self.image.as_ref().map(Media::digest),
            Modality::Audio => self.audio.as_ref().map(Media::digest),
            Modality::Text => self.text.as_ref().map(Media::digest),
        }
    }

    /// The digests of all media that are there.
    pub fn digests(&self) -> PerModality<Option<Digest>> {
        PerModality::from_fn(|modality| self.digest(modality))
    }
}
