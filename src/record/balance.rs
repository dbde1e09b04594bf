use crate::sample::SampleId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sample that was read and not used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Its id; for a line that has none, `line 17`.
    pub id: SampleId,
    /// What was found and what would be right.
    pub reason: String,
}

/// Where the samples of one split went. `read = used + quarantined + skipped`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SampleBalance {
    /// Samples the reader met.
    pub read: u64,
    /// Samples that took part. A guard's suspects are among them: they are judged in `scores.jsonl`.
    pub used: u64,
    /// Unusable samples that were set aside and listed (`on_error: quarantine`).
    pub quarantined: u64,
    /// Unusable samples that were left out and counted (`on_error: skip`).
    pub skipped: u64,
    /// The quarantined samples with their reasons, in the order of reading.
    pub listed: Vec<SetAside>,
}

impl SampleBalance {
    /// What does not add up, in words; `None` where all is well.
    pub fn problem(&self) -> Option<String> {
        let Self { read, used, quarantined, skipped, listed } = self;
        if used + quarantined + skipped != *read {
            return Some(format!("{used} used + {quarantined} quarantined + {skipped} skipped is not {read} read"));
        }
        (listed.len() as u64 != *quarantined).then(|| format!("{} samples are listed as quarantined, {quarantined} counted", listed.len()))
    }
}

/// The balance of each split.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Splits {
    /// Training split.
    pub train: SampleBalance,
    /// Validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<SampleBalance>,
    /// Test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<SampleBalance>,
    /// Further test sets by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, SampleBalance>,
}

impl Splits {
    /// All of them with their names, train first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SampleBalance)> {
        std::iter::once(("train", &self.train))
            .chain(self.validation.as_ref().map(|split| ("validation", split)))
            .chain(self.test.as_ref().map(|split| ("test", split)))
            .chain(self.extra.iter().map(|(name, split)| (name.as_str(), split)))
    }
}

/// Where attempts and candidates went.
///
/// Every attempt at a parent either made candidates or says why not:
/// `attempts = attempts_made + no_op + refused + not_reached`. Every candidate is fed or not:
/// `made = fed + rejected + surplus + unfed`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CandidateBalance {
    /// Attempts of generators at parents.
    pub attempts: u64,
    /// Attempts that made at least one candidate.
    pub attempts_made: u64,
    /// Attempts whose draw would have changed nothing.
    pub no_op: u64,
    /// Attempts that a rule refused, by the rule's reason.
    pub refused: BTreeMap<String, u64>,
    /// Attempts whose search ended outside the difficulty band.
    pub not_reached: u64,
    /// Candidates; an attempt may make several variants.
    pub made: u64,
    /// Candidates that every verifier passed and that were fed.
    pub fed: u64,
    /// Candidates that failed, by the stage id of the first verifier that failed them and its reason.
    pub rejected: BTreeMap<String, BTreeMap<String, u64>>,
    /// Variants that were not needed because another variant of the attempt was fed.
    pub surplus: u64,
    /// Verified candidates that a budget or a quota kept from being fed.
    pub unfed: u64,
}

impl CandidateBalance {
    /// Attempts that a rule refused.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
    /// Candidates that failed.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().flat_map(BTreeMap::values).sum()
    }
    /// Counts one rejected candidate.
    pub fn reject(&mut self, verifier: &str, reason: &str) {
        *self.rejected.entry(verifier.to_owned()).or_default().entry(reason.to_owned()).or_default() += 1;
    }
    /// Adds another balance.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.attempts_made += other.attempts_made;
        self.no_op += other.no_op;
        for (reason, n) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += n;
        }
        self.not_reached += other.not_reached;
        self.made += other.made;
        self.fed += other.fed;
        for (verifier, reasons) in &other.rejected {
            let own = self.rejected.entry(verifier.clone()).or_default();
            for (reason, n) in reasons {
                *own.entry(reason.clone()).or_default() += n;
            }
        }
        self.surplus += other.surplus;
        self.unfed += other.unfed;
    }
    /// What does not add up, in words; `None` where all is well.
    pub fn problem(&self) -> Option<String> {
        let (refused, rejected) = (self.refused_total(), self.rejected_total());
        let Self { attempts, attempts_made, no_op, not_reached, made, fed, surplus, unfed, .. } = self;
        if attempts_made + no_op + refused + not_reached != *attempts {
            return Some(format!(
                "{attempts_made} made + {no_op} no-op + {refused} refused + {not_reached} not reached is not {attempts} attempts"
            ));
        }
        (fed + rejected + surplus + unfed != *made)
            .then(|| format!("{fed} fed + {rejected} rejected + {surplus} surplus + {unfed} not fed is not {made} candidates"))
    }
}

/// What became of one transform in the draws of a generator stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TransformBalance {
    /// Draws it took part in. A neighbour whose search gives a draw up makes another one, so that draws are more than neighbours.
    pub fired: u64,
    /// Draws in which it had nothing to change, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub no_op: BTreeMap<String, u64>,
    /// Draws in which it refused, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// Candidates it had part in, by tenths of the severity they reached: the first counts `0..=0.1`, the last `0.9..=1`.
    pub made: [u64; 10],
    /// Of these, the ones that were fed.
    pub fed: [u64; 10],
    /// How strong it was in those that were fed, where one number says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magnitude: Option<Magnitudes>,
}

/// How strong a transform was in its own unit; what goes to either side has its sign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Magnitudes {
    /// What is counted, to be read behind a number: `dB SNR`, `pixels`.
    pub unit: String,
    /// Children.
    pub count: u64,
    /// The least.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Magnitudes {
    /// Of one child.
    pub fn one(value: f64, unit: &str) -> Self {
        Self { unit: unit.to_owned(), count: 1, least: value, mean: value, greatest: value }
    }
    /// Adds others of the same unit; others of another are left out.
    pub fn add(&mut self, other: &Self) {
        if self.unit != other.unit {
            return;
        }
        let count = self.count + other.count;
        if count > 0 {
            self.mean += (other.mean - self.mean) * (other.count as f64 / count as f64);
        }
        self.count = count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

impl TransformBalance {
    /// The tenth of a severity.
    pub fn tenth(severity: f64) -> usize {
        ((severity * 10.0).ceil() as usize).clamp(1, 10) - 1
    }
    /// Adds another balance.
    pub fn add(&mut self, other: &Self) {
        self.fired += other.fired;
        for (own, others) in [(&mut self.no_op, &other.no_op), (&mut self.refused, &other.refused)] {
            for (reason, n) in others {
                *own.entry(reason.clone()).or_default() += n;
            }
        }
        self.made.iter_mut().zip(&other.made).for_each(|(own, n)| *own += n);
        self.fed.iter_mut().zip(&other.fed).for_each(|(own, n)| *own += n);
        if let Some(others) = &other.magnitude {
            self.add_magnitude(others);
        }
    }
    /// Adds how strong it was in children that were fed.
    pub fn add_magnitude(&mut self, others: &Magnitudes) {
        match &mut self.magnitude {
            Some(own) => own.add(others),
            none => *none = Some(others.clone()),
        }
    }
}

/// What one generator stage gave in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Yield {
    /// Round, from 1.
    pub round: usize,
    /// Stage id.
    pub stage: String,
    /// Name of the operator.
    pub operator: String,
    /// Parents it was given.
    pub parents: u64,
    /// Gradient evaluations it spent.
    pub gradient_evaluations: u64,
    /// Forward evaluations it spent, its verification included.
    pub forward_evaluations: u64,
    /// Where its attempts and candidates went.
    pub balance: CandidateBalance,
    /// What became of each of its transforms, by name, where it is made of such.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transforms: BTreeMap<String, TransformBalance>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_that_does_not_add_up_is_told() {
        let mut split = SampleBalance { read: 10, used: 8, quarantined: 1, skipped: 1, listed: Vec::new() };
        assert_eq!(split.problem().unwrap(), "0 samples are listed as quarantined, 1 counted");
        split.listed.push(SetAside { id: "a".into(), reason: "width is 0".into() });
        assert_eq!(split.problem(), None);
        split.used = 7;
        assert_eq!(split.problem().unwrap(), "7 used + 1 quarantined + 1 skipped is not 10 read");
    }

    #[test]
    fn magnitudes_are_joined_by_their_number() {
        let mut balance = TransformBalance::default();
        for value in [4.0, 10.0, -8.0] {
            balance.add_magnitude(&Magnitudes::one(value, "dB"));
        }
        let mut all = TransformBalance { magnitude: Some(Magnitudes::one(9.0, "dB")), ..TransformBalance::default() };
        all.add(&balance);
        let found = all.magnitude.unwrap();
        assert_eq!((found.count, found.least, found.mean, found.greatest, found.unit.as_str()), (4, -8.0, 3.75, 10.0, "dB"));
        let mut other = found.clone();
        other.add(&Magnitudes::one(100.0, "pixels"));
        assert_eq!(other, found);
    }

    #[test]
    fn candidates_add_up_stage_by_stage() {
        let mut one =
            CandidateBalance { attempts: 5, attempts_made: 3, no_op: 1, not_reached: 1, made: 6, fed: 2, surplus: 2, ..Default::default() };
        assert_eq!(one.problem().unwrap(), "2 fed + 0 rejected + 2 surplus + 0 not fed is not 6 candidates");
        one.reject("in_band", "loss_below_band");
        one.reject("in_band", "loss_below_band");
        assert_eq!(one.problem(), None);
        let mut two = one.clone();
        two.reject("label_kept", "label_changed");
        two.made += 1;
        two.refused.insert("no_audio".into(), 4);
        assert_eq!(two.problem().unwrap(), "3 made + 1 no-op + 4 refused + 1 not reached is not 5 attempts");
        two.attempts += 4;
        one.add(&two);
        assert_eq!((one.attempts, one.made, one.fed, one.rejected_total(), one.refused_total()), (14, 13, 4, 5, 4));
        assert_eq!(one.problem(), None);
    }
}
