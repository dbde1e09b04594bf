use super::{CandidateBalance, Helped, Results, Splits, TrainingRecord, Yield};
use crate::sample::{Digest, Judgement, ReasonCode, SampleId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `report.json`: the numbers of `report.html`, for programs. `results` is what the run measured; all else follows from the other records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`super::VERSION`] of the format.
    pub version: u32,
    /// Name of the pipeline.
    pub name: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version of this crate.
    pub hardmine: String,
    /// Digest of the plan.
    pub plan: Digest,
    /// Digest of the output set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Digest>,
    /// Whether it helped.
    pub verdict: VerdictWords,
    /// The final evaluation, where models were trained and measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Results>,
    /// Where the samples went.
    pub samples: Splits,
    /// Where the candidates went.
    pub candidates: CandidateBalance,
    /// What was trained on, and what the watchdog did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
    /// What each generator gave.
    pub yields: Vec<Yield>,
    /// Histogram of the score that samples were chosen by, with the band.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// How many samples have each reason.
    pub reasons: BTreeMap<ReasonCode, ReasonCount>,
    /// How many samples the guard judged so.
    pub judgements: BTreeMap<Judgement, u64>,
    /// The samples that the guard set aside, the gravest first; the page may show fewer.
    pub suspects: Vec<SampleId>,
    /// What was rejected and why, the most frequent first.
    pub rejected: Vec<RejectedCount>,
    /// Parents and children shown in the gallery.
    pub shown: Vec<Shown>,
    /// Parents that have children; the gallery shows some of them.
    pub parents: u64,
    /// What was off, and what does not add up.
    pub warnings: Vec<String>,
}

/// The verdict as a code and in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictWords {
    /// The code; absent where nothing was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helped: Option<Helped>,
    /// A few words: `helped`, `did not help`, `one seed: not evidence`, `nothing was compared`.
    pub headline: String,
    /// One sentence with the numbers.
    pub sentence: String,
}

/// Counts of a score in bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Column.
    pub column: String,
    /// The ends of the bins, ascending, one more than there are bins. The first and the last bin also hold what lies beyond.
    pub edges: Vec<f64>,
    /// Whether the bins are equally wide in the logarithm.
    pub logarithmic: bool,
    /// Samples in each bin.
    pub counts: Vec<u64>,
    /// Of these, samples that were chosen at least once.
    pub selected: Vec<u64>,
    /// Samples without this score.
    pub absent: u64,
    /// The last round's difficulty band, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<[f64; 2]>,
}

/// How many samples have a reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReasonCount {
    /// As the primary reason.
    pub primary: u64,
    /// As any reason.
    pub any: u64,
    /// Some of the strongest.
    pub examples: Vec<SampleId>,
}

/// One way of being rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RejectedCount {
    /// Stage id of the verifier.
    pub verifier: String,
    /// Its reason.
    pub reason: String,
    /// How many candidates.
    pub count: u64,
    /// A few of them.
    pub examples: Vec<Example>,
}

/// A rejected candidate with what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The candidate.
    pub id: SampleId,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// A parent of the gallery and the children shown with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The parent.
    pub parent: SampleId,
    /// Its children, in the order of the lineage.
    pub children: Vec<SampleId>,
}
