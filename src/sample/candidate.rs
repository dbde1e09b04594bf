use super::{Lineage, Modality, ModalitySet, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A norm of a perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The largest absolute change of one value.
    #[default]
    Linf,
    /// The Euclidean length of the change.
    L2,
    /// The sum of the absolute changes.
    L1,
}

impl Norm {
    /// What is wrong with a radius around pixels in `0..=1` or a waveform in `-1..=1`: a ball as wide as the whole range of every value holds every medium. Only `linf` has
    /// such a bound; in the other norms it grows with the number of values.
    pub fn radius_problem(self, modality: Modality, radius: f64) -> Option<String> {
        let (range, of) = match modality {
            Modality::Image => (1.0, "pixels are 0..=1, and a wider ball holds every picture"),
            Modality::Audio => (2.0, "a waveform is -1..=1, and a wider ball holds every sound"),
            Modality::Text => return None,
        };
        (self == Self::Linf && radius > range).then(|| format!("expected at most {range} in `linf`, found {radius}: {of}"))
    }
}

/// What a generator says of its candidate; verifiers check it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// This medium lies within `epsilon` of the parent's, in units of the native medium (pixels `0..=1`, waveform `-1..=1`).
    /// `tolerance` is what rounding to 8 or 16 bits may add, 0 where rounding went toward the parent.
    WithinBall {
        /// Which medium.
        modality: Modality,
        /// In which norm.
        norm: Norm,
        /// The radius.
        epsilon: f64,
    },
    /// The label is the parent's, to be confirmed by the teacher.
    LabelKept,
    /// The label is the parent's because the change stays inside a stated budget and the parent passes.
    CertifiedBudget,
    /// This medium was decoded from `latent`: its embedding by the model that made it lies within `tolerance` of that point (Euclidean distance).
    Decoded {
        /// Which medium.
        modality: Modality,
        /// Where it was decoded from.
        latent: Vec<f32>,
        /// How far real media of the round come back from their own decoding.
        tolerance: f64,
    },
    /// These modalities were taken out.
    Dropped(ModalitySet),
    /// The label is a mix of the parents' labels: a probability for each class.
    LabelMixed,
    /// The content was changed on purpose, and the label with it: it is the child's own.
    LabelChanged,
    /// A labelled negative: these modalities do not belong to the others any more. It carries no class; its field `mismatched` names them.
    Mismatched(ModalitySet),
}

/// What a verifier found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Stage id of the verifier.
    pub verifier: String,
    /// Whether the candidate may be fed.
    pub passed: bool,
    /// A short name of what was checked or failed (`loss_below_band`, `label_changed`).
    pub reason: String,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

impl Verdict {
    /// Passed, with what was measured.
    pub fn pass(verifier: &str, reason: &str, value: Option<f64>, limit: Option<f64>) -> Self {
        Self { verifier: verifier.into(), passed: true, reason: reason.into(), value, limit }
    }
    /// Failed, with what was measured.
    pub fn fail(verifier: &str, reason: &str, value: Option<f64>, limit: Option<f64>) -> Self {
        Self { verifier: verifier.into(), passed: false, reason: reason.into(), value, limit }
    }
}

/// A generated sample that nobody has judged yet. It cannot be fed: [`Candidate::accept`] is the only way to an
/// [`Accepted`] one.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The child.
    pub sample: Sample,
    /// How it was made.
    pub lineage: Lineage,
    /// The first of several variants of one attempt that passes is fed; variants share this key.
    pub attempt: u64,
}

/// A candidate that every verifier passed.
#[derive(Debug, Clone)]
pub struct Accepted {
    sample: Sample,
    lineage: Lineage,
}

/// A candidate that failed, with all its verdicts.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The child that was refused.
    pub candidate: Candidate,
    /// What was found; at least one failed, or the list is empty because nobody judged.
    pub verdicts: Vec<Verdict>,
}

impl Candidate {
    /// Accepts the candidate if there is at least one verdict and none failed.
    pub fn accept(mut self, verdicts: Vec<Verdict>) -> Result<Accepted, Box<Rejection>> {
        if verdicts.is_empty() || verdicts.iter().any(|verdict| !verdict.passed) {
            return Err(Box::new(Rejection { candidate: self, verdicts }));
        }
        self.lineage.verdicts = verdicts;
        self.lineage.outputs = self.sample.digests();
        Ok(Accepted { sample: self.sample, lineage: self.lineage })
    }
}

impl Accepted {
    /// The child.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }
    /// How it was made and judged.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}
