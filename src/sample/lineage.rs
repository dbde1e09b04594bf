use super::{Claim, Digest, PerModality, SampleId, Verdict};
use crate::random::SeedPath;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A parent and the media it had when the child was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParentRef {
    /// Id in the source data set.
    pub id: SampleId,
    /// Digests of its media.
    pub digests: PerModality<Option<Digest>>,
}

/// Everything needed to make a generated sample again, byte for byte, and to say why it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// Id of the child.
    pub child: SampleId,
    /// The parent first, then partners (a neighbour to interpolate with, a sample to mix in).
    pub parents: Vec<ParentRef>,
    /// Round it was made in, from 1.
    pub round: usize,
    /// Stage id.
    pub stage: String,
    /// Name of the operator.
    pub operator: String,
    /// Its version.
    pub version: u32,
    /// Digest of its resolved config.
    pub config: Digest,
    /// Where its random numbers came from.
    pub seed: SeedPath,
    /// The drawn parameters; replay feeds them back.
    pub parameters: Value,
    /// Digest of the model that made it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Digest of the model that judged its label, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The parent's scores.
    pub scores_before: BTreeMap<String, f32>,
    /// The child's, measured on the written and re-read media.
    pub scores_after: BTreeMap<String, f32>,
    /// What the generator claims.
    pub claims: Vec<Claim>,
    /// What the verifiers found.
    pub verdicts: Vec<Verdict>,
    /// Digests of the written media.
    pub outputs: PerModality<Option<Digest>>,
}

impl Lineage {
    /// Whether the child is a labelled negative: modalities that do not belong together, without a class.
    pub fn is_mismatched(&self) -> bool {
        self.claims.iter().any(|claim| matches!(claim, Claim::Mismatched(_)))
    }
}
