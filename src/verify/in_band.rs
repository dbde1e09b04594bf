//! Whether a child is as hard as was asked for.

use super::Verifier;
use crate::{
    context::{Judged, VerifyContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The loss of the written child lies in the round's frozen difficulty band.
///
/// Method: cross entropy of the subject model, the one that is being improved, on the decoded child, ends of the band included. Without a band the candidate passes, and so does a labelled negative, which has no class to have a loss of.
///
/// Reference: Shrivastava et al. 2016, "Training Region-based Object Detectors with Online Hard Example Mining" (hard by loss); Kishida and Nakayama 2019, "Empirical Study of Easy and Hard Examples in CNN Training" (why not the hardest).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InBand {}

impl Configure<dyn Verifier> for InBand {
    const NAME: &'static str = "in_band";
    const EXAMPLE: &'static str = "{}";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Verifier for InBand {
    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        let stage = context.stage;
        let Some(band) = context.band.filter(|_| !candidates.is_empty()) else {
            return Ok(candidates.iter().map(|_| Verdict::pass(stage, "not_applicable", None, None)).collect());
        };
        let rows = context.forwards.subject()?;
        let (low, high) = (Some(f64::from(band.low)), Some(f64::from(band.high)));
        let judge = |(i, judged): (usize, &Judged<'_>)| {
            if judged.candidate.lineage.is_mismatched() {
                return Verdict::pass(stage, "not_applicable", None, None);
            }
            let Some(label) = &judged.candidate.sample.label else { return Verdict::fail(stage, "no_label", None, None) };
            let loss = rows.logits(i).map_or(f32::NAN, |logits| measure::cross_entropy(logits, label));
            let value = Some(f64::from(loss));
            if !loss.is_finite() {
                Verdict::fail(stage, "loss_not_finite", None, None)
            } else if loss < band.low {
                Verdict::fail(stage, "loss_below_band", value, low)
            } else if loss > band.high {
                Verdict::fail(stage, "loss_above_band", value, high)
            } else {
                Verdict::pass(stage, "in_band", value, high)
            }
        };
        Ok(candidates.iter().enumerate().map(judge).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Claim, DifficultyBand, ModalitySet, Sample},
        verify::fixture::{Bench, expected, sample},
    };

    #[test]
    fn the_loss_is_held_against_both_ends() {
        let mut bench = Bench::new();
        let child = |value| (sample("c", [value; 4], [0.0; 4]), Vec::new());
        let unlabelled = (Sample { label: None, ..child(51).0 }, Vec::new());
        let children = || vec![child(51), child(102), child(255), unlabelled.clone()];
        assert!(bench.reasons(&InBand {}, children()).iter().all(|(passed, why)| *passed && why == "not_applicable"));
        // ln(1 + e^(8 x - 4)) at 0.2, 0.4 and 1: 0.0868, 0.3711, 4.018.
        bench.band = Some(DifficultyBand { low: 0.1, high: 1.0 });
        let found = bench.reasons(&InBand {}, children());
        assert_eq!(found, expected([(false, "loss_below_band"), (true, "in_band"), (false, "loss_above_band"), (false, "no_label")]));
        let negative = || vec![(unlabelled.0.clone(), vec![Claim::Mismatched(ModalitySet::AUDIO)])];
        assert_eq!(bench.reasons(&InBand {}, negative()), expected([(true, "not_applicable")]));
        let verdicts = bench.judge(&InBand {}, children());
        for (verdict, value, limit) in [(&verdicts[0], 0.0868, 0.1), (&verdicts[1], 0.3711, 1.0), (&verdicts[2], 4.0181, 1.0)] {
            assert!((verdict.value.unwrap() - value).abs() < 1e-3 && (verdict.limit.unwrap() - limit).abs() < 1e-6, "{verdict:?}");
        }
    }
}
