use crate::sample::{Digest, ModalitySet, metrics::Interval};
use serde::{Deserialize, Serialize};

/// Name of the joined guard among the detectors: all diagnosers of the pipeline with their own thresholds.
pub const GUARD: &str = "guard";

/// How labels are made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseKind {
    /// Any other class, all alike.
    #[default]
    Uniform,
    /// Classes confused two by two; where none are named, the next class (of the last one the first).
    PairFlip,
}

/// What was planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A wrong label.
    Label,
    /// A modality of another sample.
    Pair,
    /// Media that show nothing of any class.
    Outlier,
    /// Any of these.
    Any,
}

impl Fault {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Pair => "pair",
            Self::Outlier => "outlier",
            Self::Any => "any",
        }
    }
}

/// How well one detector found one kind of planted fault, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorCheck {
    /// [`GUARD`], a diagnoser alone with its own threshold (by the name of its operator; by its stage's id where the pipeline has several of it), or a score
    /// column, of which as many rows are flagged as faults were planted.
    pub detector: String,
    /// The fault it was to find.
    pub fault: Fault,
    /// Planted faults among the judged rows.
    pub planted: usize,
    /// Rows it flagged.
    pub flagged: usize,
    /// Share of the flagged rows that were planted, with Wilson's 95 % interval; absent if nothing was flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Interval>,
    /// Share of the planted rows that it flagged, with Wilson's 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Interval>,
    /// Average precision of its ranking, the mean over seeds, with a 95 % bootstrap interval over rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<Interval>,
}

fn all() -> ModalitySet {
    ModalitySet::ALL
}

impl DetectorCheck {
    /// Harmonic mean of precision and recall, `0..=1`; none where one of them is not known, 0 where both are.
    pub fn f1(&self) -> Option<f64> {
        let (precision, recall) = (self.precision?.value, self.recall?.value);
        Some(if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 })
    }
}

/// `guard_check.json`: what the guard is worth on faults planted in the user's own training data. What was wrong in the data before counts as a
/// false alarm, unless it was named as known to be wrong: precision is a lower estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardCheck {
    /// [`super::VERSION`] of the format.
    pub version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Digest of the plan that was checked.
    pub plan: Digest,
    /// How labels were made wrong.
    pub kind: NoiseKind,
    /// Classes that were exchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flips: Vec<[String; 2]>,
    /// Modalities that were exchanged.
    #[serde(default = "all")]
    pub exchanged: ModalitySet,
    /// Share of the labels made wrong, `0..=0.5`.
    pub label_noise: f64,
    /// Share of the pairs torn apart, `0..=0.5`.
    pub pair_noise: f64,
    /// Share of the samples whose media were made meaningless, `0..=0.5`.
    #[serde(default)]
    pub outlier_noise: f64,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Judged rows, over all seeds.
    pub rows: usize,
    /// The guard first, then each diagnoser and each column.
    pub detectors: Vec<DetectorCheck>,
}

impl GuardCheck {
    /// What a detector is worth at a fault.
    pub fn of(&self, detector: &str, fault: Fault) -> Option<&DetectorCheck> {
        self.detectors.iter().find(|check| check.detector == detector && check.fault == fault)
    }
}
