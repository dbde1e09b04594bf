//! Whether a child still is what its label says.

use super::{
    Verifier,
    within_ball::{Balls, inspect},
};
use crate::{
    context::{Judged, Rows, VerifyContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Requirements, Table},
    sample::{Claim, Label, Modality, Verdict},
    units::Probability,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label still holds, by a teacher that never trained on the parent's group, or by a certified budget.
///
/// Method: the teacher sees the written child, missing modalities and all; it passes if the teacher predicts the label with at least `probability`. A
/// candidate with a certified budget passes instead if every changed medium lies inside its stated ball, measured again, and the teacher passes the
/// *parent*. A parent that no teacher left out fails. Of a mixed label the teacher's prediction must be one of its classes, and these together must have the
/// probability; of a label that changed with the content the new one is asked for. A labelled negative (modalities that do not belong together) has no
/// class and passes: `consistent` looks at it.
///
/// Reference: Northcutt et al. 2021, "Confident Learning" (out-of-sample judgement of labels); Madry et al. 2018 (the budget).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelKept {
    /// Least probability that the teacher gives to the label, 0..=1.
    pub probability: Probability,
}

impl Default for LabelKept {
    fn default() -> Self {
        Self { probability: Probability::new(0.5).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")) }
    }
}

impl Configure<dyn Verifier> for LabelKept {
    const NAME: &'static str = "label_kept";
    const EXAMPLE: &'static str = "{ probability: 0.5 }";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Verifier for LabelKept {
    fn requirements(&self) -> Requirements {
        Requirements { teachers: true, ..Requirements::default() }
    }

    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        let claims = |judged: &Judged<'_>, claim: &Claim| judged.candidate.lineage.claims.contains(claim);
        let certified = |judged: &Judged<'_>| claims(judged, &Claim::CertifiedBudget);
        let any = |wanted: bool| candidates.iter().any(|judged| certified(judged) == wanted);
        let children = if any(false) { Some(context.forwards.teacher()?) } else { None };
        let parents = if any(true) { Some(context.parents.teacher()?) } else { None };
        let judge = |(i, judged): (usize, &Judged<'_>)| {
            if certified(judged) {
                if let Some(verdict) = budget(judged, context.stage) {
                    return verdict;
                }
                let class = judged.parent.sample.label.as_ref().map(|label| label.class());
                self.ask(parents.as_deref(), i, class, context.stage, ["certified_budget", "parent_misjudged", "parent_unsure"])
            } else if judged.candidate.lineage.is_mismatched() {
                Verdict::pass(context.stage, "labelled_negative", None, None)
            } else {
                let label = judged.candidate.sample.label.as_ref();
                match label {
                    Some(Label::Soft(shares)) if claims(judged, &Claim::LabelMixed) => {
                        self.ask_mixed(children.as_deref(), i, shares, context.stage)
                    }
                    label => {
                        let changed = claims(judged, &Claim::LabelChanged);
                        let names = if changed {
                            ["new_label_holds", "new_label_missed", "teacher_unsure"]
                        } else {
                            ["label_kept", "label_changed", "teacher_unsure"]
                        };
                        self.ask(children.as_deref(), i, label.map(Label::class), context.stage, names)
                    }
                }
            }
        };
        Ok(candidates.iter().enumerate().map(judge).collect())
    }
}

impl LabelKept {
    fn ask(&self, rows: Option<&Rows>, i: usize, class: Option<usize>, stage: &str, [kept, changed, unsure]: [&str; 3]) -> Verdict {
        let limit = Some(self.probability.get());
        let Some(class) = class else { return Verdict::fail(stage, "no_label", None, limit) };
        let Some(logits) = rows.and_then(|rows| rows.logits(i)) else { return Verdict::fail(stage, "no_teacher", None, limit) };
        let p = f64::from(measure::confidence(logits, class));
        if measure::argmax(logits) != class || !p.is_finite() {
            Verdict::fail(stage, changed, Some(p).filter(|p| p.is_finite()), limit)
        } else if p < self.probability.get() {
            Verdict::fail(stage, unsure, Some(p), limit)
        } else {
            Verdict::pass(stage, kept, Some(p), limit)
        }
    }
}

impl LabelKept {
    /// Of a mixed label: whether the prediction is one of its classes, and how probable these are together.
    fn ask_mixed(&self, rows: Option<&Rows>, i: usize, shares: &[f32], stage: &str) -> Verdict {
        let limit = Some(self.probability.get());
        let Some(logits) = rows.and_then(|rows| rows.logits(i)) else { return Verdict::fail(stage, "no_teacher", None, limit) };
        let holds = |class: usize| shares.get(class).is_some_and(|share| *share > 0.0);
        let p: f64 = measure::probabilities(logits).iter().enumerate().filter(|(class, _)| holds(*class)).map(|(_, p)| *p).sum();
        if !holds(measure::argmax(logits)) || !p.is_finite() {
            Verdict::fail(stage, "label_changed", Some(p).filter(|p| p.is_finite()), limit)
        } else if p < self.probability.get() {
            Verdict::fail(stage, "teacher_unsure", Some(p), limit)
        } else {
            Verdict::pass(stage, "label_mixed", Some(p), limit)
        }
    }
}

/// Why a certified budget does not hold, if it does not: a ball that is left or cannot be measured, or a changed medium without one.
fn budget(judged: &Judged<'_>, stage: &str) -> Option<Verdict> {
    let claims = &judged.candidate.lineage.claims;
    let bounded = |modality: Modality| claims.iter().any(|c| matches!(c, Claim::WithinBall { modality: of, .. } if *of == modality));
    let same = |modality: Modality| judged.candidate.sample.digest(modality) == judged.parent.sample.digest(modality);
    if Modality::ALL.into_iter().any(|modality| !bounded(modality) && !same(modality)) {
        return Some(Verdict::fail(stage, "change_without_budget", None, None));
    }
    match inspect(judged) {
        Balls::None => Some(Verdict::fail(stage, "no_budget_stated", None, None)),
        Balls::Broken(why) => Some(Verdict::fail(stage, why, None, None)),
        Balls::Measured { distance, epsilon } if distance <= epsilon => None,
        Balls::Measured { distance, epsilon } => Some(Verdict::fail(stage, "budget_exceeded", Some(distance), Some(epsilon))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{ModalitySet, Norm, Sample},
        verify::fixture::{Bench, expected, sample},
    };

    fn kept(child: Sample) -> (Sample, Vec<Claim>) {
        (child, vec![Claim::LabelKept])
    }

    #[test]
    fn the_teacher_judges_the_child_as_it_is() {
        let bench = Bench::new();
        let mut blind = sample("c", [200; 4], [0.0; 4]);
        blind.image = None;
        let children = || vec![kept(sample("a", [60; 4], [0.0; 4])), kept(sample("b", [200; 4], [0.0; 4])), kept(blind.clone())];
        let found = bench.reasons(&LabelKept::default(), children());
        assert_eq!(found, expected([(true, "label_kept"), (false, "label_changed"), (true, "label_kept")]));
        // The margin of class 0 at 60 is 4 - 480/255: p = 0.893.
        let strict = LabelKept { probability: Probability::new(0.9).unwrap() };
        let verdict = bench.judge(&strict, children()).remove(0);
        assert_eq!(verdict.reason, "teacher_unsure");
        assert!((verdict.value.unwrap() - 0.8926).abs() < 1e-3 && verdict.limit == Some(0.9));
    }

    #[test]
    fn a_mixed_a_changed_and_a_negative_label_are_judged_by_what_they_claim() {
        let bench = Bench::new();
        let child = |pixel, label, claim| (Sample { label, ..sample("a", [pixel; 4], [0.0; 4]) }, vec![claim]);
        let mixed = |shares: [f32; 2]| Some(Label::Soft(shares.into()));
        // At 60 the teacher says class 0 with 0.893, at 200 class 1.
        let children = || {
            vec![
                child(60, mixed([0.3, 0.7]), Claim::LabelMixed),
                child(200, mixed([1.0, 0.0]), Claim::LabelMixed),
                child(200, Some(Label::Class(1)), Claim::LabelChanged),
                child(60, Some(Label::Class(1)), Claim::LabelChanged),
                child(60, None, Claim::Mismatched(ModalitySet::AUDIO)),
                child(60, None, Claim::LabelKept),
            ]
        };
        let wanted = [
            (true, "label_mixed"),
            (false, "label_changed"),
            (true, "new_label_holds"),
            (false, "new_label_missed"),
            (true, "labelled_negative"),
            (false, "no_label"),
        ];
        assert_eq!(bench.reasons(&LabelKept::default(), children()), expected(wanted));
        let verdict = bench.judge(&LabelKept::default(), children()).remove(0);
        assert!((verdict.value.unwrap() - 1.0).abs() < 1e-6, "both classes are in the mix");
    }

    #[test]
    fn a_parent_in_no_fold_has_no_teacher() {
        let mut bench = Bench::new();
        bench.parent.sample.id = "other".into();
        assert_eq!(bench.reasons(&LabelKept::default(), vec![kept(sample("a", [60; 4], [0.0; 4]))]), expected([(false, "no_teacher")]));
        bench.models.teachers = None;
        assert!(LabelKept::default().requirements().teachers);
    }

    #[test]
    fn a_certified_budget_asks_for_the_ball_and_the_parent() {
        let mut bench = Bench::new();
        let claim = |epsilon| Claim::WithinBall { modality: Modality::Image, norm: Norm::Linf, epsilon };
        // The teacher would refuse this child; inside its budget the parent speaks for it.
        let far = || sample("c", [200; 4], [0.0; 4]);
        let children = || {
            vec![
                (far(), vec![claim(0.6), Claim::CertifiedBudget]),
                (far(), vec![claim(0.5), Claim::CertifiedBudget]),
                (sample("d", [200; 4], [0.1; 4]), vec![claim(0.6), Claim::CertifiedBudget]),
                (sample("e", [51; 4], [0.0; 4]), vec![Claim::CertifiedBudget]),
            ]
        };
        let broken = [(false, "budget_exceeded"), (false, "change_without_budget"), (false, "no_budget_stated")];
        let found = bench.reasons(&LabelKept::default(), children());
        assert_eq!(found, expected([(true, "certified_budget"), broken[0], broken[1], broken[2]]));
        bench.parent.sample.label = Some(Label::Class(1));
        let found = bench.reasons(&LabelKept::default(), children());
        assert_eq!(found, expected([(false, "parent_misjudged"), broken[0], broken[1], broken[2]]));
    }
}
