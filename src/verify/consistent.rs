//! Whether the modalities of a child still tell the same story.

use super::Verifier;
use crate::{
    context::{Forwards, Judged, Rows, VerifyContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::{Modality, ModalitySet, Verdict},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The modalities of the child agree with one another about as well as the parent's did.
///
/// Method: the mean Jensen-Shannon divergence, divided by ln 2, between the subject's predictions from each two of the modalities that child and parent both
/// have, each alone. The child's may exceed the parent's by `delta`. With fewer than two common modalities the candidate passes. A labelled negative, whose modalities are said not
/// to belong together, may grow by any amount and fails only where it falls by more than `delta`.
///
/// Reference: Lin 1991, "Divergence Measures Based on the Shannon Entropy".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Consistent {
    /// By how much the divergence may grow, 0..=1 (1 is total disagreement where there was none).
    pub delta: f64,
}

impl Default for Consistent {
    fn default() -> Self {
        Self { delta: 0.2 }
    }
}

impl Configure<dyn Verifier> for Consistent {
    const NAME: &'static str = "consistent";
    const EXAMPLE: &'static str = "{ delta: 0.2 }";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        if (0.0..=1.0).contains(&self.delta) {
            Ok(Box::new(self))
        } else {
            Err(vec![Problem::new("delta", format!("expected 0..=1, found {}", self.delta))])
        }
    }
}

impl Verifier for Consistent {
    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        let known = context.forwards.models().subject.spec().modalities;
        let common: Vec<ModalitySet> =
            candidates.iter().map(|j| j.candidate.sample.present().and(j.parent.sample.present()).and(known)).collect();
        let wanted = common.iter().filter(|set| set.len() > 1).fold(ModalitySet::EMPTY, |all, set| all.or(*set));
        let children = alone(context.forwards, wanted)?;
        let parents = alone(context.parents, wanted)?;
        let judge = |(i, set): (usize, &ModalitySet)| {
            let (Some(after), Some(before)) = (divergence(&children, *set, i), divergence(&parents, *set, i)) else {
                return Verdict::pass(context.stage, "not_applicable", None, None);
            };
            let growth = after - before;
            if !growth.is_finite() {
                Verdict::fail(context.stage, "divergence_not_finite", None, Some(self.delta))
            } else if candidates[i].candidate.lineage.is_mismatched() {
                if growth < -self.delta {
                    Verdict::fail(context.stage, "modalities_agree", Some(growth), Some(-self.delta))
                } else {
                    Verdict::pass(context.stage, "labelled_negative", Some(growth), Some(-self.delta))
                }
            } else if growth > self.delta {
                Verdict::fail(context.stage, "modalities_disagree", Some(growth), Some(self.delta))
            } else {
                Verdict::pass(context.stage, "consistent", Some(growth), Some(self.delta))
            }
        };
        Ok(common.iter().enumerate().map(judge).collect())
    }
}

/// The subject's predictions from each modality of `wanted` alone.
fn alone(forwards: &Forwards<'_>, wanted: ModalitySet) -> Result<Vec<(Modality, Arc<Rows>)>> {
    wanted.iter().map(|modality| Ok((modality, forwards.subject_on(ModalitySet::one(modality))?))).collect()
}

/// Mean divergence over the pairs of `set`, in 0..=1; `None` where there is no pair.
fn divergence(alone: &[(Modality, Arc<Rows>)], set: ModalitySet, i: usize) -> Option<f64> {
    let of_set = alone.iter().filter(|(modality, _)| set.has(*modality));
    let predictions: Vec<Vec<f64>> = of_set.filter_map(|(_, rows)| rows.logits(i).map(measure::probabilities)).collect();
    let pairs = (0..predictions.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let each: Vec<f64> = pairs.map(|(a, b)| measure::jensen_shannon(&predictions[a], &predictions[b]) / std::f64::consts::LN_2).collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::Claim,
        verify::fixture::{Bench, expected, sample},
    };
    use serde_json::json;

    #[test]
    fn a_child_whose_modalities_fall_out_is_refused() {
        let bench = Bench::new();
        let mut alone = sample("c", [51; 4], [0.9; 4]);
        alone.image = None;
        let children = || {
            vec![(sample("a", [60; 4], [0.0; 4]), Vec::new()), (sample("b", [51; 4], [0.9; 4]), Vec::new()), (alone.clone(), Vec::new())]
        };
        let found = bench.reasons(&Consistent::default(), children());
        assert_eq!(found, expected([(true, "consistent"), (false, "modalities_disagree"), (true, "not_applicable")]));
        let p = |margin: f64| vec![1.0 / (1.0 + margin.exp()), 1.0 / (1.0 + (-margin).exp())];
        let divergence = |a: f64, b: f64| measure::jensen_shannon(&p(a), &p(b)) / std::f64::consts::LN_2;
        let growth = divergence(-2.4, 6.8) - divergence(-2.4, -4.0);
        let verdict = bench.judge(&Consistent::default(), children()).remove(1);
        assert!((verdict.value.unwrap() - growth).abs() < 1e-4 && verdict.limit == Some(0.2), "{verdict:?} {growth}");
        assert!(bench.judge(&Consistent { delta: 1.0 }, children())[1].passed);
    }

    #[test]
    fn a_labelled_negative_may_disagree_and_must_not_agree_better() {
        let mut bench = Bench::new();
        let negative = |samples: [f32; 4]| (sample("a", [51; 4], samples), vec![Claim::Mismatched(ModalitySet::AUDIO)]);
        assert_eq!(bench.reasons(&Consistent::default(), vec![negative([0.9; 4])]), expected([(true, "labelled_negative")]));
        bench.parent.sample = sample("p", [51; 4], [0.9; 4]);
        assert_eq!(bench.reasons(&Consistent::default(), vec![negative([0.0; 4])]), expected([(false, "modalities_agree")]));
    }

    #[test]
    fn a_growth_above_one_is_no_limit() {
        let problems = crate::verify::table().build(&json!({ "consistent": { "delta": 1.5 } })).err().unwrap();
        assert_eq!(problems[0].to_string(), "consistent.delta: expected 0..=1, found 1.5");
    }
}
