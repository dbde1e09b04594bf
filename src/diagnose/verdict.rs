//! What becomes of a suspect, and what a diagnoser may do by itself: shared by all that judge.

use crate::{
    error::Problem,
    record::{Fault, GUARD, GuardCheck},
    sample::{Judgement, Treatment},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What becomes of a suspect in training; it is never mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardVerdict {
    /// It is set aside: weight 0.
    #[default]
    Quarantine,
    /// It stays with a weight of one minus the probability that it is wrong.
    Weight,
    /// A wrong label is replaced in training by the suggested class where that is probable enough, with its probability as the weight; the other
    /// suspects are set aside. The data keep the label they have.
    Relabel,
    /// It stays with the weight `downweight` and is listed for a person to look at.
    Review,
}

/// What `hardmine guard-check` measured of a diagnoser's own flags: precision by kind of fault, absent where it flagged nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Measured {
    label: Option<f64>,
    pair: Option<f64>,
    outlier: Option<f64>,
}

impl Measured {
    /// Reads the record that `trust` names, relative to `base`: what it says of the detector called `operator`, or else of all diagnosers joined.
    pub fn read(name: &str, base: &Path, operator: &str) -> Result<Self, Problem> {
        let path = base.join(name);
        let wrong = |what: String| Problem::new("trust", format!("{what}; write it with `hardmine guard-check`"));
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
        let check: GuardCheck =
            serde_json::from_str(&text).map_err(|error| wrong(format!("{} is no record of a guard check: {error}", path.display())))?;
        let of = |fault| check.of(operator, fault).or_else(|| check.of(GUARD, fault));
        let precision = |fault| of(fault).and_then(|found| found.precision).map(|interval| interval.value);
        // Where no foreign samples were planted, outliers are trusted as far as all flags together.
        let outlier = if of(Fault::Outlier).is_some() { precision(Fault::Outlier) } else { precision(Fault::Any) };
        Ok(Self { label: precision(Fault::Label), pair: precision(Fault::Pair), outlier })
    }

    fn of(&self, judgement: Judgement) -> Option<f64> {
        match judgement {
            Judgement::SuspectLabel => self.label,
            Judgement::SuspectPair => self.pair,
            Judgement::Outlier | Judgement::Valuable => self.outlier,
        }
    }
}

/// What a diagnoser may do with its suspects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    /// Name of the diagnoser, for messages.
    pub operator: &'static str,
    pub verdict: GuardVerdict,
    /// Weight of a suspect that is reviewed.
    pub downweight: Fraction,
    /// Least probability of a suggested class that is taken.
    pub relabel_from: Probability,
    /// Least measured precision with which it acts by itself.
    pub at_least: Probability,
    /// `None` to act unmeasured.
    pub measured: Option<&'a Measured>,
}

impl Means<'_> {
    /// Treatment and weight of a suspect that is wrong with probability `wrong`; `suggested` is the probability of the suggested class.
    pub fn treat(&self, judgement: Judgement, wrong: f64, suggested: Option<f64>) -> (Treatment, f32) {
        let review = (Treatment::Review, self.downweight.get() as f32);
        let set_aside = (Treatment::Quarantine, 0.0);
        if self.distrusted(judgement) {
            return review;
        }
        match self.verdict {
            GuardVerdict::Quarantine => set_aside,
            GuardVerdict::Review => review,
            GuardVerdict::Weight => (Treatment::Weight, (1.0 - wrong).clamp(0.0, 1.0) as f32),
            GuardVerdict::Relabel => suggested
                .filter(|p| judgement == Judgement::SuspectLabel && *p >= self.relabel_from.get())
                .map_or(set_aside, |p| (Treatment::Relabel, p as f32)),
        }
    }

    /// Whether a measurement says that suspects of this kind are often fine, or says nothing of them.
    fn distrusted(&self, judgement: Judgement) -> bool {
        self.measured.is_some_and(|measured| measured.of(judgement).is_none_or(|precision| precision < self.at_least.get()))
    }

    /// The kinds of findings, of those it has, that it will not act on by itself.
    pub fn warnings(&self, kinds: &[Judgement]) -> Vec<String> {
        let Some(measured) = self.measured else { return Vec::new() };
        let told = |judgement: &Judgement| {
            let found = measured
                .of(*judgement)
                .map_or_else(|| "nothing planted was flagged".to_owned(), |p| format!("precision on planted faults {p:.2}"));
            let kind = match judgement {
                Judgement::SuspectLabel => "label",
                Judgement::SuspectPair => "pair",
                Judgement::Outlier | Judgement::Valuable => "outlier",
            };
            let (operator, least) = (self.operator, self.at_least.get());
            format!("{operator}: {kind} suspects are reviewed, not set aside: {found}, asked for {least} (`at_least`)")
        };
        kinds.iter().filter(|judgement| self.distrusted(**judgement)).map(told).collect()
    }
}
