//! Figures of merit: average precision, AUC, precision and recall at flags, Wilson and bootstrap intervals. Pure functions
//! of finite numbers; `None` where the figure is not defined (no positive, an empty list, lists of unequal length).

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
const Z95: f64 = 1.959_963_984_540_054;

/// An interval of 95 % with its centre.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether 0 lies outside.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// What flags hit and missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flags {
    /// Flagged and true.
    pub true_positive: usize,
    /// Flagged and not true.
    pub false_positive: usize,
    /// True and not flagged.
    pub false_negative: usize,
    /// Neither.
    pub true_negative: usize,
}

impl Flags {
    /// Counts pairs of (flagged, true).
    pub fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut flags = Self::default();
        for (flagged, truth) in pairs {
            *match (flagged, truth) {
                (true, true) => &mut flags.true_positive,
                (true, false) => &mut flags.false_positive,
                (false, true) => &mut flags.false_negative,
                (false, false) => &mut flags.true_negative,
            } += 1;
        }
        flags
    }
    /// Share of the flagged that is true; `None` if nothing was flagged.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positive, self.true_positive + self.false_positive)
    }
    /// Share of the true that is flagged; `None` if nothing is true.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positive, self.true_positive + self.false_negative)
    }
    /// Harmonic mean of both, `2 TP / (2 TP + FP + FN)`; `None` if nothing is flagged or true.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Average precision `sum_n (R_n - R_{n-1}) P_n` over the distinct scores from the largest down: rows with equal scores enter
/// together, so that their order does not matter. `None` without a positive.
pub fn average_precision(scores: &[f32], truth: &[bool]) -> Option<f64> {
    let positives = truth.iter().filter(|t| **t).count();
    if positives == 0 || scores.len() != truth.len() {
        return None;
    }
    let (mut seen, mut found, mut sum) = (0usize, 0usize, 0.0);
    for tie in ties_from_the_top(scores) {
        let hits = tie.iter().filter(|i| truth[**i]).count();
        seen += tie.len();
        found += hits;
        sum += hits as f64 / positives as f64 * (found as f64 / seen as f64);
    }
    Some(sum)
}

/// Area under the ROC curve: the probability that a random positive scores above a random negative, ties counting half.
/// `None` unless there are both.
pub fn auc(scores: &[f32], truth: &[bool]) -> Option<f64> {
    let positives = truth.iter().filter(|t| **t).count();
    let negatives = truth.len() - positives;
    if positives == 0 || negatives == 0 || scores.len() != truth.len() {
        return None;
    }
    let (mut above, mut sum) = (0usize, 0.0);
    for tie in ties_from_the_top(scores) {
        let hits = tie.iter().filter(|i| truth[**i]).count();
        let misses = tie.len() - hits;
        sum += misses as f64 * (above as f64 + hits as f64 / 2.0);
        above += hits;
    }
    Some(sum / (positives as f64 * negatives as f64))
}

/// Indices grouped by equal score, the largest first.
fn ties_from_the_top(scores: &[f32]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if scores[group[0]] == scores[i] => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    groups
}

/// Wilson's 95 % interval of a proportion (Wilson 1927): right also near 0 and 1. `None` without trials or with more successes than
/// trials.
pub fn wilson(successes: usize, trials: usize) -> Option<Interval> {
    if trials == 0 || successes > trials {
        return None;
    }
    let (n, p) = (trials as f64, successes as f64 / trials as f64);
    let below = 1.0 + Z95 * Z95 / n;
    let centre = (p + Z95 * Z95 / (2.0 * n)) / below;
    let half = Z95 / below * (p * (1.0 - p) / n + Z95 * Z95 / (4.0 * n * n)).sqrt();
    Some(Interval { value: p, low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

/// Percentile bootstrap (Efron 1979) of a mean: `resamples` draws with replacement, 95 %. For paired seeds pass the differences.
/// One number has the interval of a point, which is no evidence. `None` for an empty list.
pub fn bootstrap_mean<R: Rng + ?Sized>(values: &[f64], resamples: usize, rng: &mut R) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = |sum: f64| sum / n as f64;
    let mut means: Vec<f64> =
        (0..resamples.max(1)).map(|_| mean((0..n).map(|_| values[rng.random_range(0..n as u64) as usize]).sum())).collect();
    means.sort_by(f64::total_cmp);
    Some(Interval { value: mean(values.iter().sum()), low: quantile_of_sorted(&means, 0.025)?, high: quantile_of_sorted(&means, 0.975)? })
}

/// [`bootstrap_mean`] of `treated[i] - control[i]`; `None` for lists of unequal length.
pub fn paired_bootstrap<R: Rng + ?Sized>(treated: &[f64], control: &[f64], resamples: usize, rng: &mut R) -> Option<Interval> {
    if treated.len() != control.len() {
        return None;
    }
    let differences: Vec<f64> = treated.iter().zip(control).map(|(a, b)| a - b).collect();
    bootstrap_mean(&differences, resamples, rng)
}

/// Spearman's rank correlation with mid-ranks for ties (Spearman 1904): the Pearson correlation of the ranks, -1..=1. `None` for fewer than two
/// numbers, lists of unequal length, or a list whose numbers are all equal.
pub fn spearman(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let (ra, rb) = (mid_ranks(a), mid_ranks(b));
    let middle = (a.len() - 1) as f64 / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let spread = (sum(&ra, &ra) * sum(&rb, &rb)).sqrt();
    (spread > 0.0).then(|| (sum(&ra, &rb) / spread).clamp(-1.0, 1.0))
}

/// Place of each number in ascending order, from 0; equal ones share the mean of their places.
fn mid_ranks(values: &[f32]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut above = values.len();
    for tie in ties_from_the_top(values) {
        above -= tie.len();
        tie.iter().for_each(|&i| ranks[i] = above as f64 + (tie.len() - 1) as f64 / 2.0);
    }
    ranks
}

/// The quantile of sorted numbers at `share` (`0..=1`), linear between neighbours. `None` for an empty list.
pub fn quantile_of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * place.fract())
}

/// Median and scaled median absolute deviation (`1.4826 MAD`, the standard deviation of normal data): location and spread that
/// outliers do not move. `None` for an empty list.
pub fn median_and_mad(values: &[f32]) -> Option<(f64, f64)> {
    let median = |mut list: Vec<f64>| {
        list.sort_by(f64::total_cmp);
        quantile_of_sorted(&list, 0.5)
    };
    let centre = median(values.iter().map(|v| f64::from(*v)).collect())?;
    let spread = median(values.iter().map(|v| (f64::from(*v) - centre).abs()).collect())?;
    Some((centre, 1.4826 * spread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    #[test]
    fn average_precision_of_a_worked_ranking() {
        // Hits at places 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3.
        let scores = [0.9, 0.8, 0.7, 0.6, 0.5];
        let truth = [true, false, true, true, false];
        assert!((average_precision(&scores, &truth).unwrap() - (1.0 + 2.0 / 3.0 + 0.75) / 3.0).abs() < 1e-12);
        // All tied: the share of positives, in whatever order.
        assert!((average_precision(&[1.0; 5], &truth).unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(average_precision(&scores, &[false; 5]), None);
        assert_eq!(average_precision(&scores, &[true]), None);
    }

    #[test]
    fn auc_counts_ties_half() {
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        assert_eq!(auc(&[1.0, 1.0, 0.0], &[true, false, false]), Some(0.75));
        assert_eq!(auc(&[1.0], &[true]), None);
    }

    #[test]
    fn flags_of_a_worked_table() {
        let flags = Flags::count([(true, true), (true, true), (true, false), (false, true), (false, false), (false, false)]);
        assert_eq!((flags.precision(), flags.recall(), flags.f1()), (Some(2.0 / 3.0), Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(Flags::count([(false, false)]).precision(), None);
    }

    #[test]
    fn wilson_agrees_with_the_table() {
        let one = wilson(8, 10).unwrap();
        assert!((one.low - 0.490_162).abs() < 1e-5 && (one.high - 0.943_318).abs() < 1e-5, "{one:?}");
        let none = wilson(0, 10).unwrap();
        assert!(none.low == 0.0 && (none.high - 0.277_533).abs() < 1e-5, "{none:?}");
        assert_eq!((wilson(0, 0), wilson(2, 1)), (None, None));
    }

    #[test]
    fn the_bootstrap_brackets_the_mean_and_repeats() {
        let treated = [0.91, 0.93, 0.92, 0.95, 0.94];
        let control = [0.90, 0.91, 0.92, 0.93, 0.92];
        let draw = || paired_bootstrap(&treated, &control, 2000, &mut SeedTree::new(3).rng()).unwrap();
        let found = draw();
        assert_eq!(found, draw());
        assert!((found.value - 0.014).abs() < 1e-9 && found.low < 0.014 && found.high > 0.014 && found.excludes_zero());
        assert!(found.low >= 0.0 && found.high <= 0.02 + 1e-12);
        let point = bootstrap_mean(&[0.5], 100, &mut SeedTree::new(3).rng()).unwrap();
        assert_eq!((point.low, point.high), (0.5, 0.5));
        assert_eq!(paired_bootstrap(&treated, &control[1..], 10, &mut SeedTree::new(3).rng()), None);
    }

    #[test]
    fn spearman_of_worked_rankings() {
        // Ranks 0 1 2 3 4 against 1 0 2 4 3: 1 - 6 * 4 / (5 * 24).
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[20.0, 10.0, 30.0, 50.0, 40.0]).unwrap() - 0.8).abs() < 1e-12);
        // A tie: ranks 0, 1.5, 1.5, 3 against 0 1 2 3.
        assert!((spearman(&[1.0, 5.0, 5.0, 9.0], &[1.0, 2.0, 3.0, 4.0]).unwrap() - 4.5 / 22.5f64.sqrt()).abs() < 1e-12);
        assert_eq!((spearman(&[1.0, 1.0], &[1.0, 2.0]), spearman(&[1.0], &[1.0]), spearman(&[1.0, 2.0], &[1.0])), (None, None, None));
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile_of_sorted(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile_of_sorted(&[], 0.5), None);
        let (median, mad) = median_and_mad(&[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert_eq!((median, mad), (3.0, 1.4826));
    }

    proptest! {
        #[test]
        fn order_does_not_matter(rows in prop::collection::vec((0u8..6, any::<bool>()), 2..40), by in 0usize..40) {
            let scores: Vec<f32> = rows.iter().map(|r| f32::from(r.0)).collect();
            let truth: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let turn = |k: usize| (k + by) % rows.len();
            let (turned, turned_truth): (Vec<f32>, Vec<bool>) = (0..rows.len()).map(|k| (scores[turn(k)], truth[turn(k)])).unzip();
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) { (Some(a), Some(b)) => (a - b).abs() < 1e-9, (a, b) => a == b };
            prop_assert!(close(average_precision(&scores, &truth), average_precision(&turned, &turned_truth)));
            prop_assert!(close(auc(&scores, &truth), auc(&turned, &turned_truth)));
            let flipped: Vec<f32> = scores.iter().map(|s| -s).collect();
            if let Some(a) = auc(&scores, &truth) {
                prop_assert!((a + auc(&flipped, &truth).unwrap() - 1.0).abs() < 1e-9);
            }
        }
    }
}
