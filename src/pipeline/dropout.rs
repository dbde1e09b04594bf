//! What the `train:` section says of modalities that are left out, and of encoders that are balanced.

use crate::{error::Problem, generate::modality_dropout::Replacement, units::Fraction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

/// Which modalities of a sample go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// With the probability a random proper subset stays.
    #[default]
    Subset,
    /// Each goes with the probability, independently; where none would stay, the sample is presented whole.
    Independent,
    /// The same, but where none would stay, one comes back at random.
    AtLeastOne,
    /// With the probability exactly one goes.
    ExactlyOne,
    /// With the probability exactly one stays.
    Alone,
}

/// What decides which modalities go more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropoutAim {
    /// Nothing: all alike.
    #[default]
    Uniform,
    /// The sample's own Shapley values (`shapley_*`, of the stage `inconsistency`): what the prediction leans on goes more often. The warm-up, the folds and
    /// arms without scores drop all alike.
    OverRelied,
}

/// `train.modality_dropout`: modalities of a training sample that are left out; written as a number, it is the probability alone. In the warm-up (which shows each sample whole as
/// well) and in the folds the thinned sample is a further copy, after that it takes the place of the whole one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutPlan {
    /// Probability, of a sample or of each of its modalities, as the scheme says.
    pub probability: Fraction,
    /// Which go.
    pub scheme: Scheme,
    /// What goes more often.
    pub aim: DropoutAim,
    /// How much more, 0..=100: what a modality is dropped by is multiplied by `1 + strength * phi / mean phi` with its Shapley value phi (negative ones count as 0). So
    /// raised it is at most 0.9, or `probability` where that is more; of the schemes that drop by sample it is the choice of what goes that is weighed so.
    pub strength: f64,
    /// What stands in the place of a modality that goes. A text has no zero and no mean: there it is missing.
    pub replacement: Replacement,
    /// Only this share of the medium goes (patches, time spans, words), above 0, with zeros where the replacement is `missing`; absent for the whole medium.
    pub partial: Option<Fraction>,
    /// Probability at the beginning of the rounds; absent for `probability`. The warm-up and the folds have it as well.
    pub start: Option<Fraction>,
    /// Share of the steps of all rounds over which it goes from `start` to `probability`.
    pub ramp: Fraction,
}

impl Default for DropoutPlan {
    fn default() -> Self {
        Self {
            probability: share(0.2),
            scheme: Scheme::Subset,
            aim: DropoutAim::Uniform,
            strength: 1.0,
            replacement: Replacement::Missing,
            partial: None,
            start: None,
            ramp: share(0.0),
        }
    }
}

impl From<Fraction> for DropoutPlan {
    fn from(probability: Fraction) -> Self {
        Self { probability, ..Self::default() }
    }
}

impl DropoutPlan {
    /// The probability when `progress` (`0..=1`) of the rounds' steps are done.
    pub fn probability_at(&self, progress: f64) -> f64 {
        let (from, to) = (self.start.unwrap_or(self.probability).get(), self.probability.get());
        let done = if self.ramp.get() > 0.0 { (progress / self.ramp.get()).clamp(0.0, 1.0) } else { 1.0 };
        from + (to - from) * done
    }

    /// Every value out of its range.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.0..=100.0).contains(&self.strength) {
            problems.push(Problem::new("strength", format!("expected a number in 0..=100, found {}", self.strength)));
        }
        if self.partial.is_some_and(|partial| partial.get() == 0.0) {
            problems.push(Problem::new("partial", "expected a share above 0, found 0"));
        }
        if self.start.is_some_and(|start| start != self.probability) && self.ramp.get() == 0.0 {
            problems.push(Problem::new("ramp", "without a ramp `start` is never left behind; expected a share above 0, found 0"));
        }
        problems
    }
}

/// `train.balance`: what is done against a modality that leads the others, in the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BalancePlan {
    /// The gradient of the encoder that leads is held back, step by step, with noise on all (Peng et al. 2022). Needs a model with a head a modality.
    OgmGe {
        /// How strongly, 0..=10.
        #[serde(default = "tenth")]
        alpha: f64,
        /// Whether noise of the gradient's own deviation is added to it.
        #[serde(default = "yes")]
        noise: bool,
    },
    /// Samples whose modalities disagree on the label count more. The gap of a sample is the largest difference between the label's probabilities from one modality alone; a
    /// mixture of two Gaussians over all gaps, fitted before each round, tells how probably the sample is one of the imbalanced; its weight is `1 + strength` times that, and all are
    /// divided by their mean.
    ModalityGap {
        /// How much more, 0..=100.
        #[serde(default = "one")]
        strength: f64,
    },
}

fn tenth() -> f64 {
    0.1
}
fn one() -> f64 {
    1.0
}
fn yes() -> bool {
    true
}

impl BalancePlan {
    /// Every value out of its range.
    pub fn problems(&self) -> Vec<Problem> {
        let (field, found, most) = match self {
            Self::OgmGe { alpha, .. } => ("ogm_ge.alpha", *alpha, 10.0),
            Self::ModalityGap { strength } => ("modality_gap.strength", *strength, 100.0),
        };
        let wrong = !(0.0..=most).contains(&found);
        wrong.then(|| Problem::new(field, format!("expected a number in 0..={most}, found {found}"))).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_and_the_schedule() {
        let plan = |value| serde_json::from_value::<DropoutPlan>(value).unwrap();
        let ramped = plan(json!({ "probability": 0.6, "start": 0.2, "ramp": 0.5 }));
        for (progress, right) in [(0.0, 0.2), (0.25, 0.4), (0.5, 0.6), (1.0, 0.6)] {
            assert!((ramped.probability_at(progress) - right).abs() < 1e-12);
        }
        assert_eq!((plan(json!({})).probability_at(0.0), ramped.problems()), (0.2, vec![]));
        let paths: Vec<String> =
            plan(json!({ "strength": -1.0, "partial": 0.0, "start": 0.5 })).problems().into_iter().map(|p| p.path).collect();
        assert_eq!(paths, ["strength", "partial", "ramp"]);
        let balance = |value| serde_json::from_value::<BalancePlan>(value).unwrap();
        assert_eq!(balance(json!({ "ogm_ge": {} })), BalancePlan::OgmGe { alpha: 0.1, noise: true });
        assert_eq!(balance(json!({ "modality_gap": { "strength": 101.0 } })).problems()[0].path, "modality_gap.strength");
    }
}
