use super::{Scorer, columns_of};
use crate::{
    context::{Rows, ScoreContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::{Column, Modality, ModalitySet, PerModality, Sample, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// The predictions from all subsets of the modalities.
    #[default]
    SubsetDivergence,
}

/// How much the modalities of a sample contradict each other, and which one the prediction hangs on.
///
/// Method: the subject predicts from every non-empty subset of the modalities that are there. `inconsistency` is the mean over modalities of the
/// Jensen-Shannon divergence between the prediction from it alone and from all (nats, 0..=ln 2; 0 for a single modality), weighted by
/// `competence` where it is given; `pair_inconsistency` the same mean over pairs of modalities, weighted by the product. With
/// `v(S) = p_y` from subset S (the predicted class where there is no label) and `v(empty)` the class prior, `drop_m` is `v(all) - v(all but m)`,
/// `shapley_m` the Shapley value of m (they sum to `v(all) - v(empty)`), `over_reliance` is `max |shapley| / sum |shapley|`, `over_relied` that
/// modality (0 image, 1 audio, 2 text), and `alone_m` is `v({m})`. The last three but `alone_m` are absent for a single modality.
///
/// Reference: Lin, Divergence Measures Based on the Shannon Entropy, 1991; Shapley, A Value for n-person Games, 1953; Hu et al., SHAPE: An
/// Unified Approach to Evaluate the Contribution and Cooperation of Individual Modalities, 2022.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Inconsistency {
    /// What is compared.
    pub kind: Divergence,
    /// Weight of each modality in the means, such as its accuracy above chance on validation; at least 0, at least one above 0.
    /// Absent for equal weights.
    pub competence: Option<PerModalityWeight>,
    /// Probability of each class with no modality at all, summing to 1, as many as there are classes. Absent for equal shares.
    pub prior: Option<Vec<f64>>,
}

/// A weight for each modality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerModalityWeight {
    /// Of the image, at least 0.
    #[serde(default)]
    pub image: f64,
    /// Of the audio, at least 0.
    #[serde(default)]
    pub audio: f64,
    /// Of the text, at least 0.
    #[serde(default)]
    pub text: f64,
}

impl Configure<dyn Scorer> for Inconsistency {
    const NAME: &'static str = "inconsistency";
    const EXAMPLE: &'static str = "{ kind: subset_divergence }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(PerModalityWeight { image, audio, text }) = self.competence {
            for (name, weight) in [("image", image), ("audio", audio), ("text", text)] {
                if !(weight.is_finite() && weight >= 0.0) {
                    problems.push(Problem::new(format!("competence.{name}"), format!("expected a weight of at least 0, found {weight}")));
                }
            }
            if image == 0.0 && audio == 0.0 && text == 0.0 {
                problems.push(Problem::new("competence", "expected at least one weight above 0"));
            }
        }
        if let Some(prior) = &self.prior {
            let sum: f64 = prior.iter().sum();
            if prior.iter().any(|p| !(0.0..=1.0).contains(p)) || (sum - 1.0).abs() > 1e-3 {
                problems.push(Problem::new("prior", format!("expected probabilities that sum to 1, found a sum of {sum}")));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for Inconsistency {
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::hardness("inconsistency", "mean divergence of the unimodal predictions from the fused one, nats, 0..=ln 2"),
            Column::hardness("pair_inconsistency", "mean divergence between pairs of unimodal predictions, nats, 0..=ln 2"),
        ];
        let each = |prefix: &str, about: &str| -> Vec<Column> {
            Modality::ALL.into_iter().map(|m| Column::measure(format!("{prefix}_{m}"), about.replace("{}", m.name()))).collect()
        };
        columns.extend(each("drop", "fall of the label's probability when the {} is taken away, -1..=1"));
        columns.extend(each("shapley", "Shapley value of the {} for the label's probability, -1..=1"));
        columns.extend(each("alone", "the label's probability from the {} alone, 0..=1"));
        columns.push(Column::measure("over_reliance", "largest share of one modality in the Shapley values, 1/modalities..=1"));
        columns.push(Column::measure("over_relied", "the modality with the largest share: 0 image, 1 audio, 2 text"));
        columns
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let reads = forwards.models().subject.spec().modalities;
        let mut passes: BTreeMap<Vec<Modality>, Arc<Rows>> = BTreeMap::new();
        for i in 0..forwards.samples().len() {
            for keep in forwards.present(i).and(reads).subsets() {
                if let Entry::Vacant(free) = passes.entry(keep.iter().collect()) {
                    free.insert(forwards.subject_on(keep)?);
                }
            }
        }
        let mut scores = Vec::with_capacity(forwards.samples().len());
        for (i, sample) in forwards.samples().iter().enumerate() {
            let predict = |keep: ModalitySet| {
                let key: Vec<Modality> = keep.iter().collect();
                passes.get(&key).and_then(|rows| rows.logits(i)).map(measure::probabilities)
            };
            scores.push(self.of(sample, forwards.present(i).and(reads), predict));
        }
        Ok(columns_of(scores))
    }
}

impl Inconsistency {
    fn weight(&self, modality: Modality) -> f64 {
        self.competence.map_or(1.0, |w| match modality {
            Modality::Image => w.image,
            Modality::Audio => w.audio,
            Modality::Text => w.text,
        })
    }

    /// The 13 columns of one sample from its predictions by subset.
    fn of(&self, sample: &Sample, present: ModalitySet, predict: impl Fn(ModalitySet) -> Option<Vec<f64>>) -> [Score; 13] {
        let mut scores: [Score; 13] = std::array::from_fn(|_| Score::absent("the model reads none of its modalities"));
        let Some(all) = predict(present) else { return scores };
        let alone: Vec<(Modality, Vec<f64>)> = present.iter().filter_map(|m| Some((m, predict(ModalitySet::one(m))?))).collect();
        let known = |value: f64| Score::Known(value as f32);
        let single = present.len() == 1;
        if alone.len() < present.len() {
            let lacks = present.iter().find(|m| alone.iter().all(|(own, _)| own != m));
            let why = lacks.map_or_else(String::new, |m| format!("needs the prediction from {m} alone"));
            scores.fill(Score::absent(why));
            return scores;
        }

        scores[0] = weighted_mean(alone.iter().map(|(m, p)| (self.weight(*m), divergence(p, &all))))
            .map_or(Score::absent("its modalities have no competence"), known);
        let pairs = alone.iter().enumerate().flat_map(|(k, a)| alone[..k].iter().map(move |b| (a, b)));
        let why = if single { "only one modality" } else { "no pair of its modalities has competence" };
        scores[1] = weighted_mean(pairs.map(|((m, p), (n, q))| (self.weight(*m) * self.weight(*n), divergence(p, q))))
            .map_or(Score::absent(why), known);

        let class = sample.label.as_ref().map_or_else(|| measure::most_probable(&all).0, |label| label.class());
        let prior = self.prior.as_ref().map_or(1.0 / all.len() as f64, |prior| prior.get(class).copied().unwrap_or(f64::NAN));
        // A model answers for every subset; of recorded predictions some may be missing.
        let missing: Vec<ModalitySet> = present.subsets().filter(|keep| predict(*keep).is_none()).collect();
        let value = |keep: ModalitySet| match keep.is_empty() {
            true => prior,
            false => predict(keep).and_then(|p| p.get(class).copied()).unwrap_or(f64::NAN),
        };
        let shares = shapley(present, value);
        let need = |keep: ModalitySet| format!("needs the prediction from {keep} alone");
        for (place, modality) in Modality::ALL.into_iter().enumerate() {
            let three = if present.has(modality) {
                let (all_but, one) = (present.without(modality), ModalitySet::one(modality));
                let or = |lack: Option<&ModalitySet>, value: f64| lack.map_or(known(value), |keep| Score::absent(need(*keep)));
                let lacks = |keep: ModalitySet| missing.iter().find(|m| **m == keep);
                [or(lacks(all_but), value(present) - value(all_but)), or(missing.first(), shares[modality]), or(lacks(one), value(one))]
            } else {
                let read = sample.present().has(modality);
                std::array::from_fn(|_| {
                    Score::absent(format!("the {modality} {}", if read { "is not read by the model" } else { "is missing" }))
                })
            };
            three.into_iter().enumerate().for_each(|(k, score)| scores[2 + 3 * k + place] = score);
        }
        if single {
            scores[11..].fill(Score::absent("only one modality"));
        } else if let Some(keep) = missing.first() {
            scores[11..].fill(Score::absent(need(*keep)));
        } else {
            let (relied, reliance) = over_reliance(present, &shares);
            scores[11] = known(reliance);
            scores[12] = known(relied as u8 as f64);
        }
        scores
    }
}

/// Jensen-Shannon divergence that stays NaN where a prediction is.
fn divergence(a: &[f64], b: &[f64]) -> f64 {
    if a.iter().chain(b).any(|p| p.is_nan()) { f64::NAN } else { measure::jensen_shannon(a, b) }
}

fn weighted_mean(items: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (weight, sum) = items.fold((0.0, 0.0), |(w, s), (weight, value)| (w + weight, s + weight * value));
    (weight > 0.0).then(|| sum / weight)
}

/// Shapley value of each modality of `present` in the game `value`: the mean of what it adds over all orders of joining. The values sum to
/// `value(present) - value(empty)`; 0 for a modality that is not in `present`.
pub fn shapley(present: ModalitySet, value: impl Fn(ModalitySet) -> f64) -> PerModality<f64> {
    let factorial = |n: usize| (1..=n).product::<usize>() as f64;
    let players = present.len();
    PerModality::from_fn(|modality| {
        if !present.has(modality) {
            return 0.0;
        }
        std::iter::once(ModalitySet::EMPTY)
            .chain(present.without(modality).subsets())
            .map(|others| {
                let weight = factorial(others.len()) * factorial(players - others.len() - 1) / factorial(players);
                weight * (value(others.with(modality)) - value(others))
            })
            .sum()
    })
}

/// The modality with the largest `|share|` (the first among equals) and its part of the sum; equal parts where all are 0.
fn over_reliance(present: ModalitySet, shares: &PerModality<f64>) -> (Modality, f64) {
    let sum: f64 = present.iter().map(|m| shares[m].abs()).sum();
    let first = present.iter().next().unwrap_or(Modality::Image);
    let relied = present.iter().fold(first, |best, m| if shares[m].abs() > shares[best].abs() { m } else { best });
    (relied, if sum < 1e-9 { 1.0 / present.len() as f64 } else { shares[relied].abs() / sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// p_y of the seven subsets in the order of their bits: i, a, ia, t, it, at, iat.
    fn game(v: [f64; 7]) -> impl Fn(ModalitySet) -> Option<Vec<f64>> {
        move |keep| {
            let place = ModalitySet::ALL.subsets().position(|s| s == keep)?;
            Some(vec![v[place], 1.0 - v[place]])
        }
    }

    fn labelled() -> Sample {
        Sample { label: Some(crate::sample::Label::Class(0)), ..Sample::new("s") }
    }

    #[test]
    fn shapley_of_a_worked_game() {
        // Only image and audio: v() = .5, v(i) = .9, v(a) = .6, v(ia) = .95.
        let both = ModalitySet::one(Modality::Image).with(Modality::Audio);
        let value = |s: ModalitySet| match (s.has(Modality::Image), s.has(Modality::Audio)) {
            (false, false) => 0.5,
            (true, false) => 0.9,
            (false, true) => 0.6,
            (true, true) => 0.95,
        };
        let shares = shapley(both, value);
        assert!((shares.image - 0.375).abs() < 1e-12 && (shares.audio - 0.075).abs() < 1e-12 && shares.text == 0.0);
    }

    #[test]
    fn columns_of_three_modalities() {
        let scores = Inconsistency::default().of(&labelled(), ModalitySet::ALL, game([0.9, 0.5, 0.9, 0.5, 0.9, 0.5, 0.9]));
        let get = |k: usize| scores[k].get().unwrap();
        // JSD of (.9, .1) and (.5, .5): H(.7, .3) - (H(.9, .1) + ln 2) / 2 = .610864 - .509115.
        assert!((get(0) - 0.101749 * 2.0 / 3.0).abs() < 1e-5, "{}", get(0));
        assert!((get(1) - 0.101749 * 2.0 / 3.0).abs() < 1e-5);
        // The image carries everything: v = .9 with it, .5 without.
        let right = [0.4, 0.0, 0.0, 0.4, 0.0, 0.0, 0.9, 0.5, 0.5, 1.0, 0.0];
        (2..13).zip(right).for_each(|(k, right)| assert!((get(k) - right).abs() < 1e-6, "column {k}: {}", get(k)));
    }

    #[test]
    fn competence_weighs_the_means() {
        let weights = PerModalityWeight { image: 1.0, audio: 0.0, text: 1.0 };
        let scorer = Inconsistency { competence: Some(weights), ..Inconsistency::default() };
        let scores = scorer.of(&labelled(), ModalitySet::ALL, game([0.9, 0.1, 0.9, 0.5, 0.9, 0.5, 0.9]));
        assert!((scores[0].get().unwrap() - 0.101749 / 2.0).abs() < 1e-5 && (scores[1].get().unwrap() - 0.101749).abs() < 1e-5);
    }

    #[test]
    fn one_modality_has_no_inconsistency() {
        let scores = Inconsistency::default().of(&labelled(), ModalitySet::one(Modality::Text), game([0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0]));
        assert_eq!(scores[0], Score::Known(0.0));
        assert_eq!(scores[1], Score::absent("only one modality"));
        assert_eq!(scores[2], Score::absent("the image is missing"));
        assert!((scores[4].get().unwrap() - 0.3).abs() < 1e-6 && (scores[7].get().unwrap() - 0.3).abs() < 1e-6);
        assert_eq!(scores[11], Score::absent("only one modality"));
    }

    proptest! {
        #[test]
        fn shares_are_efficient_and_divergences_bounded(v in prop::array::uniform7(0.0f64..1.0), bits in 1usize..8) {
            let present = ModalitySet::ALL.subsets().nth(bits - 1).unwrap();
            let predict = game(v);
            let value = |s: ModalitySet| if s.is_empty() { 0.5 } else { predict(s).unwrap()[0] };
            let shares = shapley(present, value);
            let sum: f64 = present.iter().map(|m| shares[m]).sum();
            prop_assert!((sum - (value(present) - 0.5)).abs() < 1e-9);
            let scores = Inconsistency::default().of(&labelled(), present, game(v));
            for score in &scores[..2] {
                prop_assert!(score.get().is_none_or(|s| (0.0..=std::f32::consts::LN_2).contains(&s)));
            }
            if let Some(reliance) = scores[11].get() {
                prop_assert!(reliance <= 1.0 + 1e-6 && reliance >= 1.0 / present.len() as f32 - 1e-6);
            }
        }
    }
}
