use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a sample is hard, or what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The label looks wrong.
    LabelSuspect,
    /// The modalities look as if they belonged to different samples.
    PairMismatch,
    /// Far from everything else, or no class fits.
    Outlier,
    /// The audio is noisy, clipped or nearly silent.
    AudioDegraded,
    /// The image is blurred, occluded or without contrast.
    ImageDegraded,
    /// A modality is absent.
    ModalityMissing,
    /// The prediction hangs on one modality although another could carry it.
    SingleModalityReliance,
    /// Close to the decision boundary.
    NearBoundary,
    /// A class with few samples.
    RareClass,
}

impl ReasonCode {
    /// All codes, in order of precedence for the primary reason.
    pub const ALL: [Self; 9] = [
        Self::LabelSuspect,
        Self::PairMismatch,
        Self::Outlier,
        Self::AudioDegraded,
        Self::ImageDegraded,
        Self::ModalityMissing,
        Self::SingleModalityReliance,
        Self::NearBoundary,
        Self::RareClass,
    ];
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::LabelSuspect => "label_suspect",
            Self::PairMismatch => "pair_mismatch",
            Self::Outlier => "outlier",
            Self::AudioDegraded => "audio_degraded",
            Self::ImageDegraded => "image_degraded",
            Self::ModalityMissing => "modality_missing",
            Self::SingleModalityReliance => "single_modality_reliance",
            Self::NearBoundary => "near_boundary",
            Self::RareClass => "rare_class",
        }
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One reason with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is.
    pub code: ReasonCode,
    /// How sure, `0..=1`; the primary reason is the strongest after precedence.
    pub strength: f32,
    /// The numbers it rests on, by column name.
    pub evidence: BTreeMap<String, f32>,
    /// For `modality_missing`, `single_modality_reliance` and `pair_mismatch`: which modality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality: Option<super::Modality>,
}

/// What is to be done with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Nothing speaks against it: it may be mined.
    #[default]
    Valuable,
    /// Probably mislabelled: not multiplied.
    SuspectLabel,
    /// Probably a mismatched pair: not multiplied.
    SuspectPair,
    /// Far from everything: not multiplied.
    Outlier,
}

impl Judgement {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valuable => "valuable",
            Self::SuspectLabel => "suspect_label",
            Self::SuspectPair => "suspect_pair",
            Self::Outlier => "outlier",
        }
    }
}

/// What becomes of a sample in training, in order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// It is trained on as it is.
    #[default]
    Keep,
    /// It is trained on with a lower weight.
    Weight,
    /// It is trained on as the suggested class.
    Relabel,
    /// It is trained on with a lower weight until a person has looked at it.
    Review,
    /// It is set aside: not trained on.
    Quarantine,
}

impl Treatment {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Weight => "weight",
            Self::Relabel => "relabel",
            Self::Review => "review",
            Self::Quarantine => "quarantine",
        }
    }
}

/// Reasons and judgement of one sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Diagnosis {
    /// All reasons, the primary one first.
    pub reasons: Vec<Reason>,
    /// What is to be done with it.
    pub judgement: Judgement,
    /// Weight in training, `0..=1`; below 1 for a down-weighted suspect.
    pub weight: f32,
    /// What becomes of it in training.
    #[serde(default)]
    pub treatment: Treatment,
    /// A better label, if one is suggested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_class: Option<usize>,
}

impl Diagnosis {
    /// Nothing found.
    pub fn clear() -> Self {
        Self { weight: 1.0, ..Self::default() }
    }
    /// The primary reason.
    pub fn primary(&self) -> Option<ReasonCode> {
        self.reasons.first().map(|reason| reason.code)
    }
    /// Whether it has this reason.
    pub fn has(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }
    /// Joins another diagnoser's finding: reasons unite (the stronger of two with the same code stays), the graver
    /// judgement and the lower weight win, and the primary reason is found anew: guard findings first, in the order of
    /// [`ReasonCode::ALL`], then by strength.
    pub fn join(&mut self, other: Self) {
        for reason in other.reasons {
            match self.reasons.iter_mut().find(|own| own.code == reason.code) {
                Some(own) if own.strength < reason.strength => *own = reason,
                Some(_) => {}
                None => self.reasons.push(reason),
            }
        }
        let guard = |code: ReasonCode| matches!(code, ReasonCode::LabelSuspect | ReasonCode::PairMismatch | ReasonCode::Outlier);
        self.reasons
            .sort_by(|a, b| (!guard(a.code)).cmp(&!guard(b.code)).then(b.strength.total_cmp(&a.strength)).then(a.code.cmp(&b.code)));
        if self.judgement == Judgement::Valuable {
            self.judgement = other.judgement;
        }
        self.weight = self.weight.min(other.weight);
        let relabels = |treatment: Treatment| treatment == Treatment::Relabel;
        let at_odds = relabels(self.treatment) && relabels(other.treatment) && self.suggested_class != other.suggested_class;
        // The class of the one that relabels is the one that is trained on.
        self.suggested_class = match relabels(other.treatment) && !relabels(self.treatment) {
            true => other.suggested_class.or(self.suggested_class),
            false => self.suggested_class.or(other.suggested_class),
        };
        self.treatment = self.treatment.max(other.treatment);
        if at_odds {
            // They agree that the label is wrong, and on nothing else.
            (self.treatment, self.weight) = (Treatment::Quarantine, 0.0);
        }
    }
}

/// One diagnosis a row of the score table.
pub type Diagnoses = Vec<Diagnosis>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_label_is_that_of_the_one_who_gives_it_and_two_new_labels_are_none() {
        let judged = |treatment, weight, class| Diagnosis {
            judgement: Judgement::SuspectLabel,
            weight,
            treatment,
            suggested_class: Some(class),
            ..Diagnosis::clear()
        };
        let joined = |mut a: Diagnosis, b: Diagnosis| {
            a.join(b);
            (a.treatment, a.weight, a.suggested_class)
        };
        let (weighed, three, four) =
            (judged(Treatment::Weight, 0.5, 1), judged(Treatment::Relabel, 0.9, 3), judged(Treatment::Relabel, 0.8, 4));
        assert_eq!(joined(weighed.clone(), three.clone()), (Treatment::Relabel, 0.5, Some(3)));
        assert_eq!(joined(three.clone(), weighed), (Treatment::Relabel, 0.5, Some(3)));
        assert_eq!(joined(three.clone(), three.clone()), (Treatment::Relabel, 0.9, Some(3)));
        assert_eq!(joined(three, four), (Treatment::Quarantine, 0.0, Some(3)));
    }

    #[test]
    fn the_primary_reason_is_the_strongest_and_the_guard_goes_first() {
        let reason = |code, strength| Reason { code, strength, evidence: BTreeMap::new(), modality: None };
        let mut diagnosis = Diagnosis { reasons: vec![reason(ReasonCode::NearBoundary, 0.9)], ..Diagnosis::clear() };
        diagnosis.join(Diagnosis {
            reasons: vec![reason(ReasonCode::LabelSuspect, 0.6), reason(ReasonCode::NearBoundary, 0.2)],
            judgement: Judgement::SuspectLabel,
            weight: 0.0,
            treatment: Treatment::Relabel,
            suggested_class: Some(3),
        });
        assert_eq!(diagnosis.primary(), Some(ReasonCode::LabelSuspect));
        assert_eq!(diagnosis.reasons[1].strength, 0.9);
        assert_eq!((diagnosis.judgement, diagnosis.weight, diagnosis.suggested_class), (Judgement::SuspectLabel, 0.0, Some(3)));
        // The graver treatment stays, in whichever order they come.
        diagnosis.join(Diagnosis { treatment: Treatment::Quarantine, ..Diagnosis::clear() });
        diagnosis.join(Diagnosis { treatment: Treatment::Review, ..Diagnosis::clear() });
        assert_eq!(diagnosis.treatment, Treatment::Quarantine);
    }
}
