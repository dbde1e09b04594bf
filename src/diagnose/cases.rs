//! What may be wrong with a sample: the likelihood of each case, and how often each happens in the data at hand.

use super::{Suspicion, suspicion::Opinion};
use crate::sample::{Modality, PerModality};

/// The likelihood of each case for one sample, and what goes with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cases {
    clean: f64,
    label: f64,
    /// That the modality is from elsewhere; `None` where it is missing or stands alone.
    pair: PerModality<Option<f64>>,
    /// Log-odds that the training dynamics add to everything but clean.
    pub late: f64,
    /// Whether some modality gives another class more than half.
    pub confident: bool,
    /// Which do.
    names_another: PerModality<bool>,
    suggested: Option<usize>,
    /// The suggested class among the others, `0..=1`.
    suggested_share: f64,
}

/// How often each case happens, `0..=1`; what they leave is clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    label: f64,
    pair: PerModality<f64>,
    outlier: f64,
}

/// How many samples the first guess of the rates counts for.
const GUESS_COUNTS: f64 = 10.0;
/// Most rounds of expectation maximisation.
const ROUNDS: usize = 50;
/// Share of the outliers among the wrong: nothing tells them apart well enough to learn it.
const OUTLIERS: f64 = 0.1;

impl Cases {
    /// The cases of a sample of `class`, by what its modalities say.
    pub fn weigh(heard: &[(Modality, Opinion)], class: usize, classes: usize) -> Self {
        let k = classes as f64;
        let n = heard.len();
        let all = |c: usize, but: Option<Modality>| -> f64 {
            heard.iter().filter(|(m, _)| Some(*m) != but).map(|(_, o)| o.likelihood(c, k)).product()
        };
        // Classes that some modality names; all others look the same to every modality.
        let mut named: Vec<usize> = heard.iter().flat_map(|(_, o)| o.named()).collect();
        named.sort_unstable();
        named.dedup();
        let unnamed = (classes - 1).saturating_sub(named.len()) as f64;
        let elsewhere = |but: Option<Modality>| -> f64 {
            let rest: f64 = heard.iter().filter(|(m, _)| Some(*m) != but).map(|(_, o)| o.unnamed(k)).product();
            (named.iter().map(|c| all(*c, but)).sum::<f64>() + unnamed * rest) / (k - 1.0)
        };
        let one_free: f64 = if n >= 3 { heard.iter().map(|(m, _)| elsewhere(Some(*m))).sum::<f64>() / n as f64 } else { 0.0 };
        let others = elsewhere(None);
        let mut cases =
            Self { clean: all(class, None), label: if n >= 3 { 0.8 * others + 0.2 * one_free } else { others }, ..Self::default() };
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
        cases.suggested_share = cases.suggested.map_or(0.0, |c| (all(c, None) / (others * (k - 1.0)).max(1e-300)).min(1.0));
        cases
    }

    /// Probabilities of a wrong label, of each modality from elsewhere, and of an outlier.
    fn posterior(&self, rates: &Rates) -> (f64, PerModality<f64>, f64) {
        let label = rates.label * self.label;
        let pair = PerModality::from_fn(|m| self.pair[m].map_or(0.0, |p| rates.pair[m] * p));
        let pairs: f64 = pair.iter().map(|(_, p)| p).sum();
        let may: f64 = self.pair.iter().filter(|(_, p)| p.is_some()).map(|(m, _)| rates.pair[m]).sum();
        let clean = (1.0 - rates.label - rates.outlier - may).max(1e-6) * self.clean;
        let wrong = label + pairs + rates.outlier;
        let odds = (wrong / clean.max(1e-300)).ln() + self.late;
        let scale = 1.0 / (1.0 + (-odds).exp()) / wrong;
        (scale * label, PerModality::from_fn(|m| scale * pair[m]), scale * rates.outlier)
    }

    pub fn judge(&self, rates: &Rates) -> Suspicion {
        let (label, pair, outlier) = self.posterior(rates);
        let odd =
            pair.iter().filter(|(m, _)| self.pair[*m].is_some()).max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(m, _)| m);
        Suspicion {
            label,
            pair: pair.iter().map(|(_, p)| p).sum(),
            outlier,
            suggested: self.suggested,
            suggested_probability: label * self.suggested_share,
            odd,
            confident: self.confident,
            odd_is_confident: odd.is_some_and(|m| self.names_another[m]),
        }
    }
}

impl Rates {
    /// Before anything is known: of the wrong samples 45 % wrong labels, 45 % mismatched pairs whatever the modality, 10 % outliers.
    pub fn guess(wrong: f64, voices: impl ExactSizeIterator<Item = Modality>) -> Self {
        let each = 0.45 * wrong / voices.len().max(1) as f64;
        let mut pair = PerModality::default();
        voices.for_each(|m| pair[m] = each);
        Self { label: 0.45 * wrong, pair, outlier: OUTLIERS * wrong }
    }

    /// The rates under which the samples are most probable (expectation maximisation; the guess counts for ten samples). With `wrong` their sum
    /// is kept, and only their proportions are learned.
    pub fn learn(self, cases: &[Option<Cases>], wrong: Option<f64>) -> Self {
        let guess = self;
        let mut rates = guess;
        for _ in 0..ROUNDS {
            let (mut n, mut label, mut pair) = (0.0, 0.0, PerModality::from_fn(|_| (0.0, 0.0)));
            for one in cases.iter().flatten() {
                let (of_label, of_pair, _) = one.posterior(&rates);
                n += 1.0;
                label += of_label;
                for (m, _) in one.pair.iter().filter(|(_, p)| p.is_some()) {
                    pair[m].0 += of_pair[m];
                    pair[m].1 += 1.0;
                }
            }
            let share = |sum: f64, n: f64, guess: f64| (sum + GUESS_COUNTS * guess) / (n + GUESS_COUNTS);
            let mut next = Self {
                label: share(label, n, guess.label),
                pair: PerModality::from_fn(|m| share(pair[m].0, pair[m].1, guess.pair[m])),
                outlier: guess.outlier,
            };
            if let Some(wrong) = wrong {
                let learned = next.label + next.pair.iter().map(|(_, p)| p).sum::<f64>();
                let factor = (1.0 - OUTLIERS) * wrong / learned.max(1e-300);
                next.label *= factor;
                next.pair = PerModality::from_fn(|m| next.pair[m] * factor);
            }
            let moved = (next.label - rates.label).abs() + next.pair.iter().map(|(m, p)| (p - rates.pair[m]).abs()).sum::<f64>();
            rates = next;
            if moved < 1e-7 {
                break;
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(clean: f64, label: f64, image: f64, audio: f64) -> Option<Cases> {
        let pair = PerModality { image: Some(image), audio: Some(audio), text: None };
        Some(Cases { clean, label, pair, ..Cases::default() })
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
        let guess = Rates::guess(0.1, media());
        assert!((guess.label - 0.045).abs() < 1e-12 && (guess.pair.audio - 0.0225).abs() < 1e-12 && (guess.outlier - 0.01).abs() < 1e-12);
        let found = guess.learn(&all, None);
        // The guess counts for ten samples: (10 + 10 x 0.0225) / 110. What is certain is an outlier with a probability of 1 in ten thousand.
        assert!((found.pair.audio - 10.225 / 110.0).abs() < 1e-4, "{found:?}");
        assert!((found.label - 5.45 / 110.0).abs() < 1e-4 && (found.pair.image - 0.225 / 110.0).abs() < 1e-3, "{found:?}");
        // The same evidence weighs more against the modality that is often from elsewhere.
        let doubtful = cases(1.0, 0.0, 8.0, 8.0).unwrap();
        let (_, before, _) = doubtful.posterior(&guess);
        let (_, after, _) = doubtful.posterior(&found);
        assert!(
            before.image == before.audio && after.audio > 2.0 * before.audio && after.image < 0.5 * before.image,
            "{before:?} {after:?}"
        );
        let fixed = guess.learn(&all, Some(0.1));
        assert!((fixed.label + fixed.pair.image + fixed.pair.audio + fixed.outlier - 0.1).abs() < 1e-12 && fixed.pair.audio > fixed.label);
    }

    #[test]
    fn suspicions_are_probabilities_whatever_the_likelihoods() {
        let rates = Rates::guess(0.3, media());
        for (clean, label, image, audio) in
            [(0.0, 0.0, 0.0, 0.0), (1e300, 1e-300, 1e-300, 1e-300), (1e-300, 1e300, 1e300, 1e300), (1.0, 1.0, 1.0, 1.0)]
        {
            let s = cases(clean, label, image, audio).unwrap().judge(&rates);
            let sum = s.label + s.pair + s.outlier;
            assert!([s.label, s.pair, s.outlier, sum].iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)), "{s:?}");
        }
        assert_eq!(rates.learn(&[], None), rates);
    }
}
