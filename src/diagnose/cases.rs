//! What may be wrong with a sample: the likelihood of each case, and how often each happens in the data at hand.

use super::{Suspicion, suspicion::Opinion};
use crate::sample::{Modality, PerModality};
use std::collections::HashMap;

/// The likelihood of each case for one sample, and what goes with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cases {
    class: usize,
    clean: f64,
    /// That the true class is this one, by classes other than the label's that some modality names.
    named: Vec<Named>,
    /// That it is one of the others: they look the same to every modality.
    unnamed: f64,
    /// That the modality is from elsewhere; `None` where it is missing or stands alone.
    pair: PerModality<Option<f64>>,
    /// Log-odds that the training dynamics add to everything but clean.
    pub late: f64,
    /// Whether some modality gives another class more than half.
    pub confident: bool,
    /// Which do.
    names_another: PerModality<bool>,
    suggested: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Named {
    class: usize,
    likelihood: f64,
    /// Place of the pair of label and class among those of the data; known when the rates are learned.
    pair: usize,
}

/// How often each case happens, `0..=1`; what they leave is clean.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    /// A wrong label, whatever the class.
    label: f64,
    confusions: Confusions,
    pair: PerModality<f64>,
    outlier: f64,
}

/// How often a label stands for which other class: wrong labels are seldom spread evenly (a four is written as a nine, and not as a zero).
#[derive(Debug, Clone, PartialEq, Default)]
struct Confusions {
    classes: usize,
    /// Share of each label's samples that are truly of the class of a pair, by pair.
    pairs: Vec<f64>,
    /// The same of each class that no pair names, by label.
    rest: Vec<f64>,
    /// The same of all other classes together, by label.
    all: Vec<f64>,
}

/// How many samples the first guess of the rates counts for.
const GUESS_COUNTS: f64 = 10.0;
/// Most rounds of expectation maximisation.
const ROUNDS: usize = 50;
/// Share of the outliers among the wrong: nothing tells them apart well enough to learn it.
const OUTLIERS: f64 = 0.1;

/// How many samples of a label the even spread of its wrong ones counts for: a confusion that was seen once proves nothing.
const EVEN_COUNTS: f64 = 20.0;

impl Cases {
    /// The cases of a sample of `class`, by what its modalities say.
    pub fn weigh(heard: &[(Modality, Opinion)], class: usize, classes: usize) -> Self {
        let k = classes as f64;
        let n = heard.len();
        let all = |c: usize, but: Option<Modality>| -> f64 {
            heard.iter().filter(|(m, _)| Some(*m) != but).map(|(_, o)| o.likelihood(c, k)).product()
        };
        // With three witnesses one of them may err.
        let one_may_err = |of: &dyn Fn(Option<Modality>) -> f64| {
            if n < 3 { of(None) } else { 0.8 * of(None) + 0.2 * heard.iter().map(|(m, _)| of(Some(*m))).sum::<f64>() / n as f64 }
        };
        // Classes that some modality names; all others look the same to every modality.
        let mut named: Vec<usize> = heard.iter().flat_map(|(_, o)| o.named()).collect();
        named.sort_unstable();
        named.dedup();
        let unnamed = |but: Option<Modality>| heard.iter().filter(|(m, _)| Some(*m) != but).map(|(_, o)| o.unnamed(k)).product();
        let mut cases = Self {
            class,
            clean: all(class, None),
            named: named.iter().map(|c| Named { class: *c, likelihood: one_may_err(&|but| all(*c, but)), pair: usize::MAX }).collect(),
            unnamed: one_may_err(&unnamed),
            ..Self::default()
        };
        if n >= 2 {
            for (m, o) in heard {
                cases.pair[*m] = Some(all(class, Some(*m)) * o.elsewhere(k) / (k - 1.0));
            }
        }
        for (m, o) in heard {
            cases.names_another[*m] = o.names_another(k);
            cases.confident |= cases.names_another[*m];
        }
        cases.suggested = named.iter().copied().max_by(|a, b| all(*a, None).total_cmp(&all(*b, None)).then(b.cmp(a)));
        cases
    }

    /// Probabilities of each named class and of all others together, before anything is weighed against them.
    fn labels<'a>(&'a self, rates: &'a Rates) -> (impl Iterator<Item = f64> + 'a, f64) {
        let (all, named) = rates.wrong(self.class);
        let left = all - self.named.iter().map(|one| named(one.pair)).sum::<f64>();
        (self.named.iter().map(move |one| rates.wrong(self.class).1(one.pair) * one.likelihood), left.max(0.0) * self.unnamed)
    }

    /// Probabilities of a wrong label, of each modality from elsewhere, and of an outlier.
    fn posterior(&self, rates: &Rates) -> Posterior {
        let (named, unnamed) = self.labels(rates);
        let label = named.sum::<f64>() + unnamed;
        let pair = PerModality::from_fn(|m| self.pair[m].map_or(0.0, |p| rates.pair[m] * p));
        let pairs: f64 = pair.iter().map(|(_, p)| p).sum();
        let may: f64 = self.pair.iter().filter(|(_, p)| p.is_some()).map(|(m, _)| rates.pair[m]).sum();
        let clean = (1.0 - rates.wrong(self.class).0 - rates.outlier - may).max(1e-6) * self.clean;
        let wrong = label + pairs + rates.outlier;
        let odds = (wrong / clean.max(1e-300)).ln() + self.late;
        let scale = 1.0 / (1.0 + (-odds).exp()) / wrong;
        Posterior { scale, label: scale * label, pair: PerModality::from_fn(|m| scale * pair[m]), outlier: scale * rates.outlier }
    }

    /// Probability that the label is right and says what this modality shows, `0..=1`.
    pub fn fits(&self, rates: &Rates, modality: Modality) -> f64 {
        let found = self.posterior(rates);
        (1.0 - found.label - found.outlier - found.pair[modality]).clamp(0.0, 1.0)
    }

    pub fn judge(&self, rates: &Rates) -> Suspicion {
        let Posterior { scale, label, pair, outlier } = self.posterior(rates);
        let odd =
            pair.iter().filter(|(m, _)| self.pair[*m].is_some()).max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(m, _)| m);
        let suggested = self.named.iter().zip(self.labels(rates).0).find(|(one, _)| Some(one.class) == self.suggested);
        Suspicion {
            label,
            pair: pair.iter().map(|(_, p)| p).sum(),
            outlier,
            suggested: self.suggested,
            suggested_probability: suggested.map_or(0.0, |(_, p)| (scale * p).min(label)),
            odd,
            confident: self.confident,
            odd_is_confident: odd.is_some_and(|m| self.names_another[m]),
        }
    }
}

/// What is wrong with one sample, in probabilities.
#[derive(Debug, Clone, Copy)]
struct Posterior {
    /// What turns a weighed likelihood into a probability.
    scale: f64,
    label: f64,
    pair: PerModality<f64>,
    outlier: f64,
}

impl Rates {
    /// Before anything is known: of the wrong samples 45 % wrong labels, 45 % mismatched pairs whatever the modality, 10 % outliers.
    pub fn guess(wrong: f64, voices: impl ExactSizeIterator<Item = Modality>, classes: usize) -> Self {
        let each = 0.45 * wrong / voices.len().max(1) as f64;
        let mut pair = PerModality::default();
        voices.for_each(|m| pair[m] = each);
        let confusions = Confusions { classes, ..Confusions::default() };
        Self { label: 0.45 * wrong, confusions, pair, outlier: OUTLIERS * wrong }
    }

    /// How often a label of this class is wrong, and how often it stands for the class of a pair.
    fn wrong(&self, class: usize) -> (f64, impl Fn(usize) -> f64 + '_) {
        let even = self.label / (self.confusions.classes as f64 - 1.0).max(1.0);
        let rest = self.confusions.rest.get(class).copied().unwrap_or(even);
        let all = self.confusions.all.get(class).copied().unwrap_or(self.label);
        (all, move |pair: usize| self.confusions.pairs.get(pair).copied().unwrap_or(rest))
    }

    /// The rates under which the samples are most probable (expectation maximisation; the guess counts for ten samples, an even spread of wrong labels
    /// over the classes for twenty of each label). With `wrong` their sum is kept, and only their proportions are learned.
    pub fn learn(self, cases: &mut [Option<Cases>], wrong: Option<f64>) -> Self {
        let mut index: HashMap<(usize, usize), usize> = HashMap::new();
        let classes = self.confusions.classes;
        let mut labelled = vec![0.0; classes];
        let mut label_of_pair = Vec::new();
        for one in cases.iter_mut().flatten() {
            labelled[one.class] += 1.0;
            for named in &mut one.named {
                let next = index.len();
                named.pair = *index.entry((one.class, named.class)).or_insert(next);
                if named.pair == next {
                    label_of_pair.push(one.class);
                }
            }
        }
        let guess = self;
        let mut rates = guess.clone();
        for _ in 0..ROUNDS {
            let (mut n, mut label, mut pair) = (0.0, 0.0, PerModality::from_fn(|_| (0.0, 0.0)));
            let (mut of_pairs, mut of_rest) = (vec![0.0; label_of_pair.len()], vec![0.0; classes]);
            for one in cases.iter().flatten() {
                let found = one.posterior(&rates);
                n += 1.0;
                label += found.label;
                let (named, unnamed) = one.labels(&rates);
                named.zip(&one.named).for_each(|(p, named)| of_pairs[named.pair] += found.scale * p);
                of_rest[one.class] += found.scale * unnamed;
                for (m, _) in one.pair.iter().filter(|(_, p)| p.is_some()) {
                    pair[m].0 += found.pair[m];
                    pair[m].1 += 1.0;
                }
            }
            let share = |sum: f64, n: f64, guess: f64| (sum + GUESS_COUNTS * guess) / (n + GUESS_COUNTS);
            let mut next = Self {
                label: share(label, n, guess.label),
                confusions: Confusions::default(),
                pair: PerModality::from_fn(|m| share(pair[m].0, pair[m].1, guess.pair[m])),
                outlier: guess.outlier,
            };
            if let Some(wrong) = wrong {
                let learned = next.label + next.pair.iter().map(|(_, p)| p).sum::<f64>();
                let factor = (1.0 - OUTLIERS) * wrong / learned.max(1e-300);
                next.label *= factor;
                next.pair = PerModality::from_fn(|m| next.pair[m] * factor);
                of_pairs.iter_mut().chain(&mut of_rest).for_each(|sum| *sum *= factor);
            }
            next.confusions = Confusions::of(next.label, &labelled, &of_pairs, &of_rest, &label_of_pair);
            let moved = (next.label - rates.label).abs() + next.pair.iter().map(|(m, p)| (p - rates.pair[m]).abs()).sum::<f64>();
            rates = next;
            if moved < 1e-7 {
                break;
            }
        }
        rates
    }
}

impl Confusions {
    /// From the expected numbers of wrong labels: of each pair, and of the classes that no modality of their sample names, by label; `labelled` samples have each label. `rate` is
    /// that of all labels together.
    fn of(rate: f64, labelled: &[f64], of_pairs: &[f64], of_rest: &[f64], label_of_pair: &[usize]) -> Self {
        let classes = labelled.len();
        let others = (classes as f64 - 1.0).max(1.0);
        let even = |label: usize| (of_rest[label] + EVEN_COUNTS * rate) / others;
        let share = |label: usize, sum: f64| sum / (labelled[label] + EVEN_COUNTS);
        let pairs: Vec<f64> = of_pairs.iter().zip(label_of_pair).map(|(sum, label)| share(*label, sum + even(*label))).collect();
        let rest: Vec<f64> = (0..classes).map(|label| share(label, even(label))).collect();
        let mut all: Vec<f64> = (0..classes).map(|label| share(label, others * even(label))).collect();
        of_pairs.iter().zip(label_of_pair).for_each(|(sum, label)| all[*label] += share(*label, *sum));
        // A label that is wrong more often than right would be another class's name.
        Self { classes, pairs, rest, all: all.into_iter().map(|share| share.min(0.9)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(clean: f64, label: f64, image: f64, audio: f64) -> Option<Cases> {
        let pair = PerModality { image: Some(image), audio: Some(audio), text: None };
        // Ten classes, none of which is named.
        Some(Cases { clean, unnamed: label, pair, ..Cases::default() })
    }

    fn media() -> impl ExactSizeIterator<Item = Modality> {
        [Modality::Image, Modality::Audio].into_iter()
    }

    #[test]
    fn the_rates_are_those_of_the_data() {
        // Of a hundred samples 5 have certainly a wrong label, 10 certainly another's clip, the others are certainly clean.
        let mut all = vec![cases(1.0, 0.0, 0.0, 0.0); 85];
        all.extend(vec![cases(1e-12, 1e3, 0.0, 0.0); 5]);
        all.extend(vec![cases(1e-12, 0.0, 0.0, 1e3); 10]);
        let guess = Rates::guess(0.1, media(), 10);
        assert!((guess.label - 0.045).abs() < 1e-12 && (guess.pair.audio - 0.0225).abs() < 1e-12 && (guess.outlier - 0.01).abs() < 1e-12);
        let found = guess.clone().learn(&mut all, None);
        // The guess counts for ten samples: (10 + 10 x 0.0225) / 110. What is certain is an outlier with a probability of 1 in ten thousand.
        assert!((found.pair.audio - 10.225 / 110.0).abs() < 1e-4, "{found:?}");
        assert!((found.label - 5.45 / 110.0).abs() < 1e-4 && (found.pair.image - 0.225 / 110.0).abs() < 1e-3, "{found:?}");
        // The same evidence weighs more against the modality that is often from elsewhere.
        let doubtful = cases(1.0, 0.0, 8.0, 8.0).unwrap();
        let before = doubtful.posterior(&guess).pair;
        let after = doubtful.posterior(&found).pair;
        assert!(
            before.image == before.audio && after.audio > 2.0 * before.audio && after.image < 0.5 * before.image,
            "{before:?} {after:?}"
        );
        let fixed = guess.learn(&mut all, Some(0.1));
        assert!((fixed.label + fixed.pair.image + fixed.pair.audio + fixed.outlier - 0.1).abs() < 1e-12 && fixed.pair.audio > fixed.label);
    }

    #[test]
    fn suspicions_are_probabilities_whatever_the_likelihoods() {
        let rates = Rates::guess(0.3, media(), 10);
        for (clean, label, image, audio) in
            [(0.0, 0.0, 0.0, 0.0), (1e300, 1e-300, 1e-300, 1e-300), (1e-300, 1e300, 1e300, 1e300), (1.0, 1.0, 1.0, 1.0)]
        {
            let s = cases(clean, label, image, audio).unwrap().judge(&rates);
            let sum = s.label + s.pair + s.outlier;
            assert!([s.label, s.pair, s.outlier, sum].iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)), "{s:?}");
        }
        let learned = rates.clone().learn(&mut [], None);
        assert_eq!((learned.label, learned.pair, learned.outlier), (rates.label, rates.pair, rates.outlier));
    }

    #[test]
    fn a_confusion_of_two_classes_is_learned() {
        // A hundred samples of each of ten classes; 25 of those labelled 9 look like a 4, 3 of class 7 like a 1, weakly.
        let looks = |class: usize, other: usize, likelihood: f64| {
            let named = vec![Named { class: other, likelihood, pair: usize::MAX }];
            Some(Cases { class, clean: 1.0, named, suggested: Some(other), confident: true, ..Cases::default() })
        };
        let sure = |class: usize| Some(Cases { class, clean: 1.0, ..Cases::default() });
        let mut all: Vec<Option<Cases>> = (0..1000).map(|i| sure(i / 100)).collect();
        (0..25).for_each(|i| all[900 + i] = looks(9, 4, 1e4));
        let (odd, seldom) = (930, 700);
        all[odd] = looks(9, 4, 8.0);
        all[seldom] = looks(7, 1, 8.0);
        let rates = Rates::guess(0.05, media(), 10).learn(&mut all, None);
        let found = |row: usize| all[row].as_ref().unwrap().judge(&rates);
        // One of four nines is a four: the odds are 8 x 0.2 / 0.75. Of the sevens next to none is a one.
        assert!(found(odd).label > 0.6 && found(seldom).label < 0.1, "{:?} {:?}", found(odd), found(seldom));
        assert_eq!(found(odd).suggested, Some(4));
        assert!((found(odd).suggested_probability - found(odd).label).abs() < 0.02);
        assert!((rates.wrong(9).0 - 0.22).abs() < 0.05 && rates.wrong(0).0 < 0.01, "{:?}", rates.confusions.all);
        // All classes together: the share of wrong labels.
        let mean = rates.confusions.all.iter().sum::<f64>() / 10.0;
        assert!((mean - rates.label).abs() < 0.01, "{mean} {}", rates.label);
    }
}
