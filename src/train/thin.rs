//! Modalities of a training sample that are left out: which, and how often.

use crate::{
    generate::modality_dropout::Instead,
    pipeline::{DropoutPlan, Scheme},
    sample::{Modality, ModalitySet, PerModality},
};
use rand::{Rng, RngExt};

/// Most that a modality is dropped by, however much is leant on it, unless all are by more.
const MOST: f64 = 0.9;

/// How samples are thinned in an epoch.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    /// The plan.
    pub plan: &'a DropoutPlan,
    /// Shapley value of each modality of each sample, by index into the split; `None` drops all alike.
    pub reliance: Option<&'a [PerModality<f32>]>,
    /// Share of all rounds' steps that is done at the epoch's first step and after its last, `0..=1`.
    pub progress: [f64; 2],
}

impl<'a> Dropout<'a> {
    /// As at the beginning of the rounds, all alike.
    pub fn of(plan: &'a DropoutPlan) -> Self {
        Self { plan, reliance: None, progress: [0.0, 0.0] }
    }
    /// What stands in the place of what goes.
    pub(super) fn instead(&self) -> Instead {
        Instead { replacement: self.plan.replacement, partial: self.plan.partial }
    }
    /// The probability at a step of an epoch of `steps`.
    pub(super) fn probability(&self, step: usize, steps: usize) -> f64 {
        let [from, to] = self.progress;
        self.plan.probability_at(from + (to - from) * step as f64 / steps.max(1) as f64)
    }
}

/// What stays of `present`; `None` for all of it. `probability` is that of the moment, `phi` what the prediction leans on.
pub(super) fn thin(
    present: ModalitySet,
    plan: &DropoutPlan,
    probability: f64,
    phi: Option<&PerModality<f32>>,
    rng: &mut impl Rng,
) -> Option<ModalitySet> {
    if present.len() < 2 {
        return None;
    }
    let pull = pulls(present, plan.strength, phi);
    let keep = match plan.scheme {
        Scheme::Independent | Scheme::AtLeastOne => {
            let stays = |m: Modality, rng: &mut _| RngExt::random::<f64>(rng) >= (probability * pull[m]).min(MOST.max(probability));
            let mut keep = ModalitySet::EMPTY;
            for modality in present.iter() {
                if stays(modality, rng) {
                    keep = keep.with(modality);
                }
            }
            if keep.is_empty() && plan.scheme == Scheme::AtLeastOne {
                let all: Vec<Modality> = present.iter().collect();
                keep = ModalitySet::one(all[rng.random_range(0..all.len())]);
            }
            keep
        }
        Scheme::Subset | Scheme::ExactlyOne | Scheme::Alone => {
            if !rng.random_bool(probability.clamp(0.0, 1.0)) {
                return None;
            }
            let fits = |set: &ModalitySet| match plan.scheme {
                Scheme::ExactlyOne => set.len() + 1 == present.len(),
                Scheme::Alone => set.len() == 1,
                _ => *set != present,
            };
            let subsets: Vec<ModalitySet> = present.subsets().filter(fits).collect();
            match phi {
                None => subsets[rng.random_range(0..subsets.len())],
                Some(_) => {
                    let gone = |set: &ModalitySet| present.iter().filter(|m| !set.has(*m)).map(|m| pull[m]).product::<f64>();
                    let total: f64 = subsets.iter().map(gone).sum();
                    let mut at = rng.random::<f64>() * total;
                    let found = subsets.iter().find(|set| {
                        at -= gone(set);
                        at < 0.0
                    });
                    *found.unwrap_or(&subsets[0])
                }
            }
        }
    };
    (!keep.is_empty() && keep != present).then_some(keep)
}

/// `1 + strength phi / mean phi` of each modality that is there; 1 where nothing is known.
fn pulls(present: ModalitySet, strength: f64, phi: Option<&PerModality<f32>>) -> PerModality<f64> {
    let value = |m: Modality| phi.map_or(0.0, |phi| f64::from(phi[m]).max(0.0));
    let mean = present.iter().map(value).sum::<f64>() / present.len().max(1) as f64;
    PerModality::from_fn(|m| if mean > 0.0 { 1.0 + strength * value(m) / mean } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use serde_json::{Value, json};

    fn plan(value: Value) -> DropoutPlan {
        serde_json::from_value(value).unwrap()
    }

    /// How often each modality stays, and how often the sample is whole, of so many draws.
    fn counts(plan: &DropoutPlan, p: f64, phi: Option<&PerModality<f32>>) -> (PerModality<f64>, f64) {
        let (n, mut stays, mut whole) = (4000, PerModality::from_fn(|_| 0.0), 0.0);
        let mut rng = SeedTree::new(3).rng();
        for _ in 0..n {
            let keep = thin(ModalitySet::ALL, plan, p, phi, &mut rng);
            assert!(keep.is_none_or(|keep| !keep.is_empty() && keep != ModalitySet::ALL));
            whole += f64::from(u8::from(keep.is_none())) / f64::from(n);
            keep.unwrap_or(ModalitySet::ALL).iter().for_each(|m| stays[m] += 1.0 / f64::from(n));
        }
        (stays, whole)
    }

    #[test]
    fn schemes_drop_as_often_as_they_say() {
        let near = |a: f64, b: f64| (a - b).abs() < 0.03;
        let of = |scheme: &str, p: f64| counts(&plan(json!({ "scheme": scheme })), p, None);
        // Of six proper subsets three hold a modality.
        let (stays, whole) = of("subset", 0.6);
        assert!(near(whole, 0.4) && Modality::ALL.into_iter().all(|m| near(stays[m], 0.7)), "{stays:?}");
        let (stays, whole) = of("exactly_one", 0.6);
        assert!(near(whole, 0.4) && Modality::ALL.into_iter().all(|m| near(stays[m], 0.8)), "{stays:?}");
        let (stays, _) = of("alone", 0.6);
        assert!(Modality::ALL.into_iter().all(|m| near(stays[m], 0.6)), "{stays:?}");
        // All stay in 1/8, and where all would go (1/8) the sample is whole as well.
        let (stays, whole) = of("independent", 0.5);
        assert!(near(whole, 0.25) && near(stays.image, 0.5 + 0.125), "{stays:?} {whole}");
        let (stays, whole) = of("at_least_one", 0.5);
        assert!(near(whole, 0.125) && near(stays.image, 0.5 + 0.125 / 3.0), "{stays:?} {whole}");
        assert!((of("independent", 0.0).1 - 1.0).abs() < 1e-9);
        let lone = ModalitySet::one(Modality::Image);
        assert_eq!(thin(lone, &plan(json!({})), 1.0, None, &mut SeedTree::new(1).rng()), None);
    }

    #[test]
    fn what_is_leant_on_goes_more_often() {
        // Pulls 1 + 3, 1 and 1 (a negative value counts as none).
        let phi = PerModality { image: 0.6, audio: 0.0, text: -0.2 };
        let (stays, _) = counts(&plan(json!({ "scheme": "exactly_one", "aim": "over_relied" })), 0.6, Some(&phi));
        assert!((stays.image - (1.0 - 0.6 * 4.0 / 6.0)).abs() < 0.03 && (stays.audio - 0.9).abs() < 0.03, "{stays:?}");
        let (stays, _) = counts(&plan(json!({ "scheme": "at_least_one", "strength": 10.0 })), 0.3, Some(&phi));
        assert!((stays.image - 0.1).abs() < 0.04 && (stays.audio - 0.7).abs() < 0.06, "{stays:?}");
        // However much is leant on it, it stays in a tenth; a higher probability that is written is not lowered.
        let of = |p: f64| counts(&plan(json!({ "scheme": "independent", "strength": 100.0 })), p, Some(&phi)).0;
        // Where none would stay the sample is whole: in 0.9 * 0.3 * 0.3, and in 0.97 to the third.
        let (raised, written) = (of(0.3), of(0.97));
        assert!(
            (raised.image - 0.1 - 0.081).abs() < 0.03 && (written.image - 0.03 - 0.97f64.powi(3)).abs() < 0.02,
            "{raised:?} {written:?}"
        );
        assert!((written.image - written.audio).abs() < 0.02, "{written:?}");
        // Nothing is leant on: all alike.
        let (stays, _) = counts(&plan(json!({})), 0.6, Some(&PerModality::default()));
        assert!((stays.image - 0.7).abs() < 0.03 && (stays.text - 0.7).abs() < 0.03, "{stays:?}");
    }
}
