//! What a training step learns besides a plain cross entropy: another loss of each row, rows whose predictions are held together, encoders that
//! are slowed down. All of it is a function of a few logits, so that its slope is exact on the host and a model has only to carry it back.

use super::{Target, measure};
use crate::{random::SeedTree, sample::ModalitySet};

/// A loss as a function of the log-probability of the target: its value and its derivative with respect to that. Cross entropy is `l -> (-l, -1)`. A
/// soft target takes the sum over its classes by their shares.
pub type Shape<'a> = &'a (dyn Fn(f64) -> (f64, f64) + Sync);

/// How far apart two predictions are, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// `KL(first || second)`.
    Kl,
    /// `KL(first || second) + KL(second || first)`.
    SymmetricKl,
    /// Jensen-Shannon divergence, at most `ln 2`.
    JensenShannon,
}

/// Two rows whose predictions are held together: pair `i` is made of the rows `2 i` and `2 i + 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// What the divergence is multiplied by, as a row's weight is.
    pub weight: f32,
    /// What is kept small.
    pub apart: Apart,
    /// Whether the first row is a constant here: no gradient goes through it (its own loss is learnt all the same).
    pub stop_gradient: bool,
    /// Least probability of the first row's most probable class, `0..=1`; a less sure one teaches nothing.
    pub confidence: f32,
}

/// Slows the encoder of a modality that leads: on-the-fly gradient modulation with generalisation enhancement (OGM-GE).
///
/// With `s_m` the mean probability of the label that the head of modality m gives, `rho_m = s_m / mean of the others' s`. Where `rho_m > 1` the gradient of m's encoder
/// is multiplied by `1 - tanh(alpha rho_m)`; Gaussian noise of the gradient's own deviation is added to each encoder weight's gradient. For two modalities that
/// is the paper's rule.
///
/// Source: Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", 2022, sections 3.2 and 3.3.
#[derive(Debug, Clone)]
pub struct Balance {
    /// How strongly, at least 0.
    pub alpha: f64,
    /// Where the noise is drawn from; none without.
    pub noise: Option<SeedTree>,
}

impl Balance {
    /// The same with noise of its own, for one of several passes or steps.
    pub fn variant(&self, index: usize) -> Self {
        Self { noise: self.noise.as_ref().map(|node| node.variant(index)), ..self.clone() }
    }

    /// The factor of each modality's gradient, from the mean scores `s_m` of those that have one.
    pub fn factors(&self, scores: &[(crate::sample::Modality, f64)]) -> crate::sample::PerModality<f32> {
        let mut factors = crate::sample::PerModality::from_fn(|_| 1.0);
        if scores.len() < 2 {
            return factors;
        }
        let total: f64 = scores.iter().map(|(_, s)| s).sum();
        for (modality, own) in scores {
            let others = (total - own) / (scores.len() - 1) as f64;
            let rho = own / others.max(1e-12);
            if rho > 1.0 {
                factors[*modality] = (1.0 - (self.alpha * rho).tanh()) as f32;
            }
        }
        factors
    }
}

/// Gradient accumulation: which part of a step of the optimizer a lesson is. The gradients of all parts are summed, at the same weights, and one step is taken by the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accumulation {
    /// All of it.
    #[default]
    Whole,
    /// The first of several: what was kept of a step that was not ended is dropped.
    First,
    /// One between.
    More,
    /// The last: the step is taken.
    Last,
}

/// What a step learns besides the weighted cross entropy of its rows, and what it is asked for.
#[derive(Clone, Copy, Default)]
pub struct Lesson<'a> {
    /// Loss of each row; none for cross entropy.
    pub shape: Option<Shape<'a>>,
    /// Rows that are held together, at the beginning of the batch. Weighted by their own weights.
    pub pairs: &'a [Pair],
    /// Input gradients of the whole loss that are wanted from the same backward pass.
    pub wrt: ModalitySet,
    /// Whether encoders are held back.
    pub balance: Option<&'a Balance>,
    /// Which part of a step this is; only models that give gradients of their inputs ([`super::Trainable::gives_gradients`]) are asked for parts.
    pub accumulation: Accumulation,
}

impl Lesson<'_> {
    /// Whether this is a plain step: cross entropy, and nothing asked.
    pub fn is_plain(&self) -> bool {
        self.is_cross_entropy() && self.wrt.is_empty() && self.balance.is_none() && self.accumulation == Accumulation::Whole
    }
    /// Whether the loss of the logits is the weighted cross entropy.
    pub fn is_cross_entropy(&self) -> bool {
        self.shape.is_none() && self.pairs.is_empty()
    }

    /// Value of the logits' loss over some rows of a batch, and its gradient with respect to their logits, row by row: `targets.len()` rows of `classes` numbers.
    /// `first` is the first row's place in the batch and even, and no pair is cut; `weights` and pairs count by `1 / rows` of the whole batch
    /// (`weights` are divided already).
    pub fn slopes(
        &self,
        first: usize,
        rows: usize,
        logits: &[f32],
        classes: usize,
        targets: &[Target],
        weights: &[f32],
    ) -> (f64, Vec<f32>) {
        let mut value = 0.0;
        let mut slopes = vec![0.0f32; logits.len()];
        for (i, (own, slope)) in logits.chunks_exact(classes).zip(slopes.chunks_exact_mut(classes)).enumerate() {
            let (Some(target), Some(weight)) = (targets.get(i), weights.get(i)) else { break };
            if *weight != 0.0 {
                value += f64::from(*weight) * self.row(own, target, f64::from(*weight), slope);
            }
        }
        let pairs = self.pairs.iter().skip(first / 2);
        let both = logits.chunks_exact(2 * classes).zip(slopes.chunks_exact_mut(2 * classes));
        for (pair, (logits, slopes)) in pairs.zip(both) {
            let weight = f64::from(pair.weight) / rows.max(1) as f64;
            let (a, b) = logits.split_at(classes);
            let (of_a, of_b) = slopes.split_at_mut(classes);
            value += weight * pair.add(a, b, weight, of_a, of_b);
        }
        (value, slopes)
    }

    fn row(&self, logits: &[f32], target: &Target, weight: f64, slope: &mut [f32]) -> f64 {
        let log_p = measure::log_probabilities(logits);
        let (mut value, mut total) = (0.0, 0.0);
        for (k, (log_p, g)) in log_p.iter().zip(slope.iter_mut()).enumerate() {
            let share = f64::from(target.share(k));
            if share == 0.0 {
                continue;
            }
            let (own, derivative) = self.shape.map_or((-log_p, -1.0), |shape| shape(*log_p));
            value += share * own;
            total += share * derivative;
            *g += (weight * share * derivative) as f32;
        }
        slope.iter_mut().zip(&log_p).for_each(|(g, log_p)| *g -= (weight * total * log_p.exp()) as f32);
        value
    }
}

impl Pair {
    /// Adds `weight` times the gradient with respect to both rows' logits (`of_a` is left alone by a stopped gradient); the divergence.
    pub(crate) fn add(&self, a: &[f32], b: &[f32], weight: f64, of_a: &mut [f32], of_b: &mut [f32]) -> f64 {
        let (la, lb) = (measure::log_probabilities(a), measure::log_probabilities(b));
        let surest = la.iter().fold(f64::NEG_INFINITY, |m, l| m.max(*l)).exp();
        if surest < f64::from(self.confidence) {
            return 0.0;
        }
        // `0 ln 0` is 0, and what is -inf in both is no difference.
        let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| if *p > -700.0 { p.exp() * (p - q) } else { 0.0 }).sum::<f64>();
        let mut into_a = |k: usize, g: f64| {
            if !self.stop_gradient {
                of_a[k] += (weight * g) as f32;
            }
        };
        let n = la.len();
        match self.apart {
            Apart::Kl | Apart::SymmetricKl => {
                let there = kl(&la, &lb);
                for k in 0..n {
                    let (p, q) = (la[k].exp(), lb[k].exp());
                    into_a(k, p * (la[k] - lb[k] - there));
                    of_b[k] += (weight * (q - p)) as f32;
                }
                if self.apart == Apart::Kl {
                    return there;
                }
                let back = kl(&lb, &la);
                for k in 0..n {
                    let (p, q) = (la[k].exp(), lb[k].exp());
                    into_a(k, p - q);
                    of_b[k] += (weight * q * (lb[k] - la[k] - back)) as f32;
                }
                there + back
            }
            Apart::JensenShannon => {
                let lm: Vec<f64> = la.iter().zip(&lb).map(|(a, b)| (0.5 * (a.exp() + b.exp())).max(f64::MIN_POSITIVE).ln()).collect();
                let (from_a, from_b) = (kl(&la, &lm), kl(&lb, &lm));
                for k in 0..n {
                    into_a(k, 0.5 * la[k].exp() * (la[k] - lm[k] - from_a));
                    of_b[k] += (weight * 0.5 * lb[k].exp() * (lb[k] - lm[k] - from_b)) as f32;
                }
                0.5 * (from_a + from_b)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Modality;
    use proptest::prelude::*;

    fn pair(apart: Apart, stop_gradient: bool) -> Pair {
        Pair { weight: 1.5, apart, stop_gradient, confidence: 0.0 }
    }

    #[test]
    fn divergences_of_a_worked_pair() {
        // p = (0.5, 0.5), q = (0.8, 0.2): KL(p||q) = 0.2231436, KL(q||p) = 0.1927448, JSD = 0.0506718.
        let logits = [0.0, 0.0, 4f32.ln(), 0.0];
        let targets = [Target::Class(0), Target::Class(0)];
        for (apart, right) in [(Apart::Kl, 0.223_143_6), (Apart::SymmetricKl, 0.415_888_3), (Apart::JensenShannon, 0.050_671_8)] {
            let pairs = [pair(apart, false)];
            let lesson = Lesson { pairs: &pairs, ..Lesson::default() };
            let (value, _) = lesson.slopes(0, 2, &logits, 2, &targets, &[0.0, 0.0]);
            assert!((value - 0.75 * right).abs() < 1e-6, "{apart:?} {value}");
        }
        // An unsure teacher says nothing, and a pair elsewhere is none of this part's.
        let unsure = [Pair { confidence: 0.6, ..pair(Apart::Kl, true) }];
        let lesson = Lesson { pairs: &unsure, ..Lesson::default() };
        assert_eq!(lesson.slopes(0, 2, &logits, 2, &targets, &[0.0, 0.0]), (0.0, vec![0.0; 4]));
        let elsewhere = [pair(Apart::Kl, false)];
        let lesson = Lesson { pairs: &elsewhere, ..Lesson::default() };
        assert_eq!(lesson.slopes(2, 4, &logits, 2, &targets, &[0.0, 0.0]).0, 0.0);
    }

    #[test]
    fn factors_of_two_and_three() {
        let balance = Balance { alpha: 0.5, noise: None };
        // rho = 0.8 / 0.4 = 2: 1 - tanh(1).
        let two = balance.factors(&[(Modality::Image, 0.8), (Modality::Audio, 0.4)]);
        assert!((f64::from(two.image) - (1.0 - 1f64.tanh())).abs() < 1e-6 && two.audio == 1.0);
        let three = balance.factors(&[(Modality::Image, 0.9), (Modality::Audio, 0.4), (Modality::Text, 0.5)]);
        assert!((f64::from(three.image) - (1.0 - 1f64.tanh())).abs() < 1e-6 && (three.audio, three.text) == (1.0, 1.0));
        assert_eq!(balance.factors(&[(Modality::Image, 0.9)]).image, 1.0);
    }

    proptest! {
        /// The slopes are those of the value, where no gradient is stopped.
        #[test]
        fn slopes_agree_with_finite_differences(
            logits in prop::collection::vec(-2f32..2.0, 12), gamma in 1f64..3.0, weights in prop::collection::vec(0f32..1.0, 4), kind in 0usize..3,
        ) {
            let apart = [Apart::Kl, Apart::SymmetricKl, Apart::JensenShannon][kind];
            let pairs = [pair(apart, false)];
            let shape = move |l: f64| {
                let rest = -l.exp_m1();
                (-rest.powf(gamma) * l, gamma * l.exp() * rest.powf(gamma - 1.0) * l - rest.powf(gamma))
            };
            let lesson = Lesson { shape: Some(&shape), pairs: &pairs, ..Lesson::default() };
            let targets = [Target::Class(0), Target::Class(2), Target::Soft([0.2, 0.3, 0.5].into()), Target::Class(1)];
            let of = |logits: &[f32]| lesson.slopes(0, 4, logits, 3, &targets, &weights);
            let (_, slopes) = of(&logits);
            for k in 0..12 {
                let (mut up, mut down) = (logits.clone(), logits.clone());
                up[k] += 1e-2;
                down[k] -= 1e-2;
                let slope = (of(&up).0 - of(&down).0) / f64::from(up[k] - down[k]);
                prop_assert!((slope - f64::from(slopes[k])).abs() < 2e-3, "{} {} {}", k, slope, slopes[k]);
            }
            // A stopped gradient leaves the first row alone and the second as it was.
            let stopped = [pair(apart, true)];
            let lesson = Lesson { shape: Some(&shape), pairs: &stopped, ..Lesson::default() };
            let plain = Lesson { shape: Some(&shape), ..Lesson::default() };
            let (_, held) = lesson.slopes(0, 4, &logits, 3, &targets, &weights);
            let (_, alone) = plain.slopes(0, 4, &logits, 3, &targets, &weights);
            prop_assert_eq!(&held[..3], &alone[..3]);
            prop_assert_eq!(&held[3..], &slopes[3..]);
        }
    }
}
