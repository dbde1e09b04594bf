//! Confident learning: the joint distribution of given and true labels, and which samples lie off its diagonal.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Slack below a threshold: a probability that equals it up to rounding is confident.
const SLACK: f64 = 1e-6;
/// Least threshold: a class that is never predicted would otherwise be confident everywhere.
const LEAST_THRESHOLD: f64 = 2e-6;
/// Rows that a thread takes at a time; a constant, so that sums do not depend on the number of threads.
const ROWS: usize = 1 << 14;
/// Rows side by side in the inner loops.
const LANES: usize = 8;
/// No class reaches its threshold.
const NONE: u32 = u32::MAX;

/// What [`confident_learning`] finds. Matrices are row-major, `classes * classes`, given label by true label.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LabelIssues {
    /// Number of classes `K`.
    pub classes: usize,
    /// Mean probability of class j among the samples labelled j, `0..=1`; `None` for a class without samples, which nothing is confident of.
    pub thresholds: Vec<Option<f64>>,
    /// Confident joint: samples labelled i that are confidently j. The diagonal is at least 1.
    pub confident_joint: Vec<u64>,
    /// The same with its rows scaled to the number of samples of each label, rounded to whole samples so that rows keep their sums.
    pub calibrated_joint: Vec<u64>,
    /// Estimate of the joint distribution Q of given and true labels, the calibrated joint divided by its sum.
    pub joint: Vec<f64>,
    /// Rows off the diagonal of the confident joint whose most probable class is not their label.
    pub off_diagonal: Vec<bool>,
    /// Rows pruned by noise rate: of label i the `calibrated_joint[i][j]` rows with the largest `p_j - p_i`, for all `j != i`, if their most probable
    /// class is not their label. Equal margins by row; a label keeps at least one row.
    pub by_noise_rate: Vec<bool>,
    /// The most probable class of each row, the lowest among equals.
    pub predicted: Vec<u32>,
    /// Quality of each label, `(p_y - max_{k != y} p_k + 1) / 2`, in `0..=1`; small is suspicious.
    pub quality: Vec<f32>,
    /// Rows that either rule flags, the least quality first, equal ones by row.
    pub ranking: Vec<usize>,
}

impl LabelIssues {
    /// Rows pruned by class: of each label with more than one row those with the smallest `p_y`, as many as the calibrated joint has off the diagonal, if
    /// their most probable class is not their label; equal ones by row. Arguments as they were given to [`confident_learning`]; others give no flags.
    pub fn by_class(&self, probabilities: &[f32], labels: &[usize]) -> Vec<bool> {
        let mut flags = vec![false; labels.len()];
        if labels.len() != self.predicted.len() || probabilities.len() != labels.len() * self.classes {
            return flags;
        }
        let pruned = pruned_counts(&self.calibrated_joint, self.classes);
        let mut rows: Vec<Vec<usize>> = vec![Vec::new(); self.classes];
        labels.iter().enumerate().for_each(|(row, label)| rows[*label].push(row));
        for (class, mut rows) in rows.into_iter().enumerate().filter(|(_, rows)| rows.len() > 1) {
            let wanted = rows.len().saturating_sub(pruned[class * self.classes + class] as usize);
            let own = |row: &usize| probabilities[row * self.classes + class];
            rows.sort_unstable_by(|a, b| own(a).total_cmp(&own(b)).then(a.cmp(b)));
            rows.into_iter().take(wanted).filter(|row| self.predicted[*row] as usize != class).for_each(|row| flags[row] = true);
        }
        flags
    }

    /// The rows with the smallest of `scores`, as many as lie off the diagonal of the confident joint; equal ones by row.
    pub fn lowest(&self, scores: &[f32]) -> Vec<bool> {
        let wanted = self.off_diagonal.iter().filter(|flag| **flag).count();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.par_sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
        let mut flags = vec![false; scores.len()];
        order.into_iter().take(wanted).for_each(|row| flags[row] = true);
        flags
    }
}

/// Finds label errors from out-of-sample probabilities.
///
/// `probabilities` holds `classes` numbers a row; `labels` the given class of each row. With `t_j` the mean of `p_j` over the samples labelled j, a row
/// counts as confidently j if `p_j >= t_j` (up to 1e-6); where several are, the most probable class of all counts, where none is the row does not count.
/// The result is that of cleanlab 2.9 (`compute_confident_joint`, `estimate_joint`, and `find_label_issues` with `filter_by` `confident_learning` and
/// `prune_by_noise_rate`); among equal margins and equal rounding errors, where cleanlab's order is that of an unstable sort, ours is by row and by class.
///
/// Reads the probabilities twice and in parallel; the same bytes with any number of threads. Memory beside the input: about 20 bytes a row and `24 K^2`.
///
/// # Errors
/// If the shapes do not fit, a label is not a class, or a probability is outside `0..=1` or NaN; the message names the row.
///
/// Source: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.
pub fn confident_learning(probabilities: &[f32], labels: &[usize], classes: usize) -> Result<LabelIssues> {
    if classes == 0 || classes >= NONE as usize || probabilities.len() != labels.len().saturating_mul(classes) {
        return Err(Error::usage(format!(
            "expected {classes} probabilities for each of {} labels, found {} numbers",
            labels.len(),
            probabilities.len()
        )));
    }
    let (first, Sums { counts, own }) = first_pass(probabilities, labels, classes)?;
    let thresholds: Vec<Option<f64>> =
        own.iter().zip(&counts).map(|(sum, n)| (*n > 0).then(|| (sum / *n as f64).max(LEAST_THRESHOLD))).collect();
    let guesses = second_pass(probabilities, &first.predicted, &thresholds);

    let mut confident_joint = count_pairs(labels, &guesses, classes);
    let (off_diagonal, elsewhere) = disagreeing(labels, &first.predicted, &guesses, classes);
    drop(guesses);
    (0..classes).for_each(|k| confident_joint[k * classes + k] = confident_joint[k * classes + k].max(1));
    let calibrated_joint = calibrate(&confident_joint, &counts);
    let total = calibrated_joint.iter().sum::<u64>().max(1) as f64;
    let joint = calibrated_joint.iter().map(|n| *n as f64 / total).collect();

    let by_noise_rate = prune(probabilities, labels, &first.predicted, &elsewhere, &counts, &pruned_counts(&calibrated_joint, classes));
    // A flagged row is predicted as another class than its label.
    let flagged = elsewhere.into_iter().flatten().filter(|row| off_diagonal[*row] || by_noise_rate[*row]);
    let mut ranking: Vec<(f32, usize)> = flagged.map(|row| (first.quality[row], row)).collect();
    ranking.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let ranking = ranking.into_iter().map(|(_, row)| row).collect();
    let quality = first.quality;
    Ok(LabelIssues {
        classes,
        thresholds,
        confident_joint,
        calibrated_joint,
        joint,
        off_diagonal,
        by_noise_rate,
        predicted: first.predicted,
        quality,
        ranking,
    })
}

/// By row: the most probable class and the quality of the label.
#[derive(Default)]
struct First {
    predicted: Vec<u32>,
    quality: Vec<f32>,
}

/// By label: its rows, and the sum of their `p_y`.
struct Sums {
    counts: Vec<u64>,
    own: Vec<f64>,
}

impl Sums {
    fn of(classes: usize) -> Self {
        Self { counts: vec![0; classes], own: vec![0.0; classes] }
    }
}

/// Predictions and qualities, and the sums of each label.
fn first_pass(probabilities: &[f32], labels: &[usize], classes: usize) -> Result<(First, Sums)> {
    let mut first = First { predicted: vec![0; labels.len()], quality: vec![0.0; labels.len()] };
    let parts: Vec<Result<Sums>> = probabilities
        .par_chunks(ROWS * classes)
        .zip(labels.par_chunks(ROWS))
        .zip(first.predicted.par_chunks_mut(ROWS).zip(first.quality.par_chunks_mut(ROWS)))
        .enumerate()
        .map(|(part, ((rows, labels), (predicted, quality)))| {
            let mut sums = Sums::of(classes);
            let mut i = 0;
            while i < labels.len() {
                let taken = if labels.len() - i >= LANES { LANES } else { 1 };
                let block = &rows[i * classes..(i + taken) * classes];
                let mut two = [Two::default(); LANES];
                if taken == LANES {
                    two = two_largest::<LANES>(block, classes)
                } else {
                    [two[0]] = two_largest::<1>(block, classes)
                };
                for two in &two[..taken] {
                    let (row, label) = (&rows[i * classes..(i + 1) * classes], labels[i]);
                    let Some(own) = row.get(label).copied() else {
                        return Err(Error::usage(format!("expected a label below {classes}, found {label} at row {}", part * ROWS + i)));
                    };
                    if !two.fine {
                        return Err(Error::data(format!("row {} holds a number that is no probability", part * ROWS + i)));
                    }
                    let other = if two.best as usize == label { two.next } else { two.top };
                    // One class has no other.
                    let other = if other.is_finite() { other } else { 0.0 };
                    sums.counts[label] += 1;
                    sums.own[label] += f64::from(own);
                    predicted[i] = two.best;
                    quality[i] = ((f64::from(own) - f64::from(other) + 1.0) / 2.0) as f32;
                    i += 1;
                }
            }
            Ok(sums)
        })
        .collect();
    let mut total = Sums::of(classes);
    for part in parts {
        let part = part?;
        total.counts.iter_mut().zip(part.counts).for_each(|(total, n)| *total += n);
        total.own.iter_mut().zip(part.own).for_each(|(total, sum)| *total += sum);
    }
    Ok((first, total))
}

/// The largest and the second largest number of a row, the place of the largest (the first of equal ones), and whether all are probabilities.
#[derive(Clone, Copy, Default)]
struct Two {
    best: u32,
    top: f32,
    next: f32,
    fine: bool,
}

/// Of `N` rows side by side, with selects in place of branches: which class is the larger nothing foretells.
fn two_largest<const N: usize>(rows: &[f32], classes: usize) -> [Two; N] {
    let row: [&[f32]; N] = std::array::from_fn(|lane| &rows[lane * classes..(lane + 1) * classes]);
    let (mut best, mut top, mut next, mut fine) = ([0u32; N], [f32::NEG_INFINITY; N], [f32::NEG_INFINITY; N], [1u32; N]);
    #[allow(clippy::needless_range_loop, reason = "all rows are walked side by side")]
    for k in 0..classes {
        let p: [f32; N] = std::array::from_fn(|lane| row[lane][k]);
        for lane in 0..N {
            let p = p[lane];
            fine[lane] &= u32::from(p >= 0.0) & u32::from(p <= 1.0 + SLACK as f32);
            let lesser = if p < top[lane] { p } else { top[lane] };
            next[lane] = if lesser > next[lane] { lesser } else { next[lane] };
            best[lane] = if p > top[lane] { k as u32 } else { best[lane] };
            top[lane] = if p > top[lane] { p } else { top[lane] };
        }
    }
    std::array::from_fn(|lane| Two { best: best[lane], top: top[lane], next: next[lane], fine: fine[lane] == 1 })
}

/// By row the class it confidently is.
fn second_pass(probabilities: &[f32], predicted: &[u32], thresholds: &[Option<f64>]) -> Vec<u32> {
    let classes = thresholds.len();
    // Where there is no sample of a class, no probability is enough.
    let least: Vec<f32> = thresholds.iter().map(|t| t.map_or(f32::INFINITY, |t| least_f32(t - SLACK))).collect();
    let mut guesses = vec![NONE; predicted.len()];
    guesses.par_chunks_mut(ROWS).zip(probabilities.par_chunks(ROWS * classes)).zip(predicted.par_chunks(ROWS)).for_each(
        |((guesses, rows), predicted)| {
            let (mut whole, mut predictions) = (guesses.chunks_exact_mut(LANES), predicted.chunks_exact(LANES));
            let mut blocks = rows.chunks_exact(LANES * classes);
            for ((guesses, predicted), rows) in (&mut whole).zip(&mut predictions).zip(&mut blocks) {
                confident::<LANES>(rows, &least, predicted, guesses);
            }
            let rest = whole.into_remainder().chunks_exact_mut(1).zip(predictions.remainder().chunks_exact(1));
            for ((guess, predicted), row) in rest.zip(blocks.remainder().chunks_exact(classes)) {
                confident::<1>(row, &least, predicted, guess);
            }
        },
    );
    guesses
}

/// Of `N` rows side by side the only class that reaches its threshold, the prediction where several do.
fn confident<const N: usize>(rows: &[f32], least: &[f32], predicted: &[u32], guesses: &mut [u32]) {
    let classes = least.len();
    let row: [&[f32]; N] = std::array::from_fn(|lane| &rows[lane * classes..(lane + 1) * classes]);
    let (mut reached, mut last) = ([0u32; N], [NONE; N]);
    for (k, least) in least.iter().enumerate() {
        let p: [f32; N] = std::array::from_fn(|lane| row[lane][k]);
        for lane in 0..N {
            let there = p[lane] >= *least;
            reached[lane] = reached[lane].wrapping_add(u32::from(there));
            last[lane] = if there { k as u32 } else { last[lane] };
        }
    }
    for (lane, (guess, predicted)) in guesses.iter_mut().zip(predicted).enumerate() {
        *guess = if reached[lane] > 1 { *predicted } else { last[lane] };
    }
}

/// How many rows of each label (first index) have each guess.
fn count_pairs(labels: &[usize], guesses: &[u32], classes: usize) -> Vec<u64> {
    let of_part = |mut joint: Vec<u64>, (labels, guesses): (&[usize], &[u32])| {
        labels
            .iter()
            .zip(guesses)
            .filter(|(_, guess)| **guess != NONE)
            .for_each(|(label, guess)| joint[label * classes + *guess as usize] += 1);
        joint
    };
    let none = || vec![0u64; classes * classes];
    labels.par_chunks(ROWS).zip(guesses.par_chunks(ROWS)).fold(none, of_part).reduce(none, |mut all, part| {
        all.iter_mut().zip(part).for_each(|(all, n)| *all += n);
        all
    })
}

/// Flags of [`LabelIssues::off_diagonal`], and by label the rows whose most probable class is another, in order.
fn disagreeing(labels: &[usize], predicted: &[u32], guesses: &[u32], classes: usize) -> (Vec<bool>, Vec<Vec<usize>>) {
    let mut flags = vec![false; labels.len()];
    let parts: Vec<Vec<usize>> = flags
        .par_chunks_mut(ROWS)
        .zip(labels.par_chunks(ROWS))
        .zip(predicted.par_chunks(ROWS).zip(guesses.par_chunks(ROWS)))
        .enumerate()
        .map(|(part, ((flags, labels), (predicted, guesses)))| {
            let mut elsewhere = Vec::new();
            for (i, label) in labels.iter().enumerate().filter(|(i, label)| predicted[*i] as usize != **label) {
                flags[i] = guesses[i] != NONE && guesses[i] as usize != *label;
                elsewhere.push(part * ROWS + i);
            }
            elsewhere
        })
        .collect();
    let mut elsewhere = vec![Vec::new(); classes];
    parts.into_iter().flatten().for_each(|row| elsewhere[labels[row]].push(row));
    (flags, elsewhere)
}

/// The least `f32` that is at least `v`: a probability reaches the one where it reaches the other.
fn least_f32(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v { near.next_up() } else { near }
}

/// Rows scaled to the label counts, then all to the number of samples, rounded with row sums kept.
fn calibrate(joint: &[u64], counts: &[u64]) -> Vec<u64> {
    let classes = counts.len();
    let scaled: Vec<f64> = joint
        .chunks_exact(classes)
        .zip(counts)
        .flat_map(|(row, n)| {
            let sum = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(move |c| *c as f64 / sum * *n as f64)
        })
        .collect();
    let (all, sum) = (counts.iter().sum::<u64>() as f64, scaled.iter().sum::<f64>().max(1e-100));
    scaled.chunks_exact(classes).flat_map(|row| round_row(&row.iter().map(|v| v / sum * all).collect::<Vec<_>>())).collect()
}

/// How many rows of each label (first index) are pruned for each true class: the calibrated joint with every diagonal at least 1, what that takes
/// spread evenly over the other entries of the label.
fn pruned_counts(calibrated: &[u64], classes: usize) -> Vec<u64> {
    let at = |given: usize, truth: usize| calibrated[given * classes + truth];
    let missing = |given: usize| (1.0 - at(given, given) as f64).max(0.0);
    let entries = |given: usize| ((0..classes).filter(|truth| at(given, *truth) > 0).count() as f64 - 1.0).max(1.0);
    let taken: Vec<f64> = (0..classes).map(|given| missing(given) / entries(given)).collect();
    // Rounding keeps the sums of each true class.
    let mut pruned = vec![0u64; classes * classes];
    for truth in 0..classes {
        let row: Vec<f64> = (0..classes)
            .map(|given| if given == truth { at(given, truth).max(1) as f64 } else { (at(given, truth) as f64 - taken[given]).max(0.0) })
            .collect();
        round_row(&row).into_iter().enumerate().for_each(|(given, n)| pruned[given * classes + truth] = n);
    }
    pruned
}

/// Whole numbers whose sum is that of the row, rounded: the entries that rounding moved most are moved back.
fn round_row(row: &[f64]) -> Vec<u64> {
    // Halves to the even number, as in IEEE 754.
    let mut whole: Vec<f64> = row.iter().map(|v| v.round_ties_even()).collect();
    let wanted = row.iter().sum::<f64>().round_ties_even();
    loop {
        let short = wanted - whole.iter().sum::<f64>();
        if short.abs() < 0.5 || whole.is_empty() {
            return whole.into_iter().map(|v| v.max(0.0) as u64).collect();
        }
        let mut order: Vec<usize> = (0..row.len()).collect();
        let left = |i: &usize| row[*i] - whole[*i];
        order.sort_by(|a, b| left(a).total_cmp(&left(b)));
        if short > 0.0 {
            order.reverse();
        }
        for i in order.into_iter().take(short.abs() as usize) {
            whole[i] += short.signum();
        }
    }
}

/// Flags of [`LabelIssues::by_noise_rate`]. `elsewhere` are by label the rows whose most probable class is another: those with a positive margin are among
/// them, the rest of a label's rows is looked at only if they do not suffice.
fn prune(
    probabilities: &[f32],
    labels: &[usize],
    predicted: &[u32],
    elsewhere: &[Vec<usize>],
    counts: &[u64],
    pruned: &[u64],
) -> Vec<bool> {
    let classes = counts.len();
    let of_label = |given: usize| -> Vec<usize> {
        if counts[given] <= 1 {
            return Vec::new();
        }
        let margin = |row: usize, truth: usize| {
            let at = row * classes;
            f64::from(probabilities[at + truth]) - f64::from(probabilities[at + given])
        };
        let mut positive: Vec<Vec<(f64, usize)>> = vec![Vec::new(); classes];
        for row in &elsewhere[given] {
            for truth in (0..classes).filter(|truth| pruned[given * classes + truth] > 0) {
                let margin = margin(*row, truth);
                if margin > 0.0 {
                    positive[truth].push((margin, *row));
                }
            }
        }
        let mut flagged = Vec::new();
        for (truth, mut found) in positive.into_iter().enumerate().filter(|(truth, _)| *truth != given) {
            let wanted = pruned[given * classes + truth] as usize;
            if wanted == 0 {
                continue;
            }
            if found.len() < wanted {
                let all = (0..labels.len()).filter(|row| labels[*row] == given);
                found = all.map(|row| (margin(row, truth), row)).collect();
            }
            if found.len() > wanted {
                let order = |a: &(f64, usize), b: &(f64, usize)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
                found.select_nth_unstable_by(wanted - 1, order);
                found.truncate(wanted);
            }
            flagged.extend(found.into_iter().map(|(_, row)| row).filter(|row| predicted[*row] as usize != given));
        }
        flagged
    };
    let flagged: Vec<Vec<usize>> = (0..classes).into_par_iter().map(of_label).collect();
    let mut flags = vec![false; labels.len()];
    flagged.into_iter().flatten().for_each(|row| flags[row] = true);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    /// Written by cleanlab 2.9.0 from seeded normal logits.
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        classes: usize,
        labels: Vec<usize>,
        probabilities: Vec<f32>,
        thresholds: Vec<f64>,
        confident_joint: Vec<u64>,
        calibrated_joint: Vec<u64>,
        joint: Vec<f64>,
        confident_learning: Vec<usize>,
        prune_by_noise_rate: Vec<usize>,
        quality: Vec<f32>,
    }

    /// Written by cleanlab 2.9.0 from the same.
    #[derive(Deserialize)]
    struct Filters {
        name: String,
        prune_by_class: Vec<usize>,
        both: Vec<usize>,
        low_self_confidence: Vec<usize>,
        low_normalized_margin: Vec<usize>,
    }

    fn rows(flags: &[bool]) -> Vec<usize> {
        (0..flags.len()).filter(|row| flags[*row]).collect()
    }

    #[test]
    fn equals_cleanlab() {
        let golden: Vec<Golden> = serde_json::from_str(include_str!("../../tests/golden/confident_learning.json")).unwrap();
        let filters: Vec<Filters> = serde_json::from_str(include_str!("../../tests/golden/confident_filters.json")).unwrap();
        assert_eq!((golden.len(), filters.len()), (5, 5));
        for (own, filters) in golden.into_iter().zip(filters) {
            assert_eq!(own.name, filters.name);
            let found = confident_learning(&own.probabilities, &own.labels, own.classes).unwrap();
            for (found, theirs) in found.thresholds.iter().zip(&own.thresholds) {
                // A class without samples has a threshold of 2 there.
                assert!((found.unwrap_or(2.0) - theirs).abs() < 1e-9, "{}", own.name);
            }
            assert_eq!(found.confident_joint, own.confident_joint, "{}", own.name);
            assert_eq!(found.calibrated_joint, own.calibrated_joint, "{}", own.name);
            assert!(found.joint.iter().zip(&own.joint).all(|(a, b)| (a - b).abs() < 1e-12), "{}", own.name);
            assert_eq!(rows(&found.off_diagonal), own.confident_learning, "{}", own.name);
            assert_eq!(rows(&found.by_noise_rate), own.prune_by_noise_rate, "{}", own.name);
            assert!(found.quality.iter().zip(&own.quality).all(|(a, b)| (a - b).abs() < 2e-6), "{}", own.name);
            let by_class = found.by_class(&own.probabilities, &own.labels);
            assert_eq!(rows(&by_class), filters.prune_by_class, "{}", own.name);
            let both: Vec<bool> = by_class.iter().zip(&found.by_noise_rate).map(|(a, b)| *a && *b).collect();
            assert_eq!(rows(&both), filters.both, "{}", own.name);
            let sure: Vec<f32> = own.labels.iter().enumerate().map(|(row, label)| own.probabilities[row * own.classes + label]).collect();
            // Of rows with equal scores at the end numpy's sort takes any.
            for (scores, theirs) in [(&sure, &filters.low_self_confidence), (&found.quality, &filters.low_normalized_margin)] {
                let sorted = |rows: &[usize]| {
                    let mut scores: Vec<f32> = rows.iter().map(|row| scores[*row]).collect();
                    scores.sort_by(f32::total_cmp);
                    scores
                };
                assert_eq!(sorted(&rows(&found.lowest(scores))), sorted(theirs), "{}", own.name);
            }
        }
    }

    #[test]
    fn a_worked_case() {
        // Thresholds: class 0 mean of .9 .8 .1 = .6, class 1 mean of .9 .7 = .8.
        let p = [0.9, 0.1, 0.8, 0.2, 0.1, 0.9, 0.1, 0.9, 0.3, 0.7];
        let found = confident_learning(&p, &[0, 0, 0, 1, 1], 2).unwrap();
        assert!((found.thresholds[0].unwrap() - 0.6).abs() < 1e-6 && (found.thresholds[1].unwrap() - 0.8).abs() < 1e-6);
        assert_eq!(found.confident_joint, [2, 1, 0, 1]);
        assert_eq!(found.calibrated_joint, [2, 1, 0, 2]);
        assert_eq!((rows(&found.off_diagonal), rows(&found.by_noise_rate), found.ranking), (vec![2], vec![2], vec![2]));
        assert!((found.quality[2] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn edges_and_what_is_refused() {
        let none = confident_learning(&[], &[], 3).unwrap();
        assert_eq!((none.ranking.len(), none.calibrated_joint), (0, vec![0; 9]));
        let one = confident_learning(&[1.0, 1.0], &[0, 0], 1).unwrap();
        assert_eq!((one.confident_joint, one.ranking, one.quality), (vec![2], vec![], vec![1.0, 1.0]));
        let said = |p: &[f32], labels: &[usize]| confident_learning(p, labels, 2).unwrap_err().to_string();
        assert!(said(&[0.5, 0.5, 0.1], &[0]).contains("expected 2 probabilities for each of 1 labels, found 3 numbers"));
        assert!(said(&[0.5, 0.5], &[2]).contains("expected a label below 2, found 2 at row 0"));
        assert!(said(&[0.5, 0.5, f32::NAN, 0.5], &[0, 1]).contains("row 1 holds a number that is no probability"));
        assert!(said(&[-0.5, 1.5], &[0]).contains("row 0 holds"));
        assert!(confident_learning(&[], &[], 0).is_err());
    }

    #[test]
    fn ties_go_by_row() {
        // Four rows of label 0 say the same of class 1; all of them are pruned or, where fewer are wanted, the first.
        let p = [[0.2f32, 0.8]; 4].concat().into_iter().chain([[0.9, 0.1]; 4].concat()).chain([[0.1, 0.9]; 8].concat()).collect::<Vec<_>>();
        let labels: Vec<usize> = (0..16).map(|i| usize::from(i >= 8)).collect();
        let found = confident_learning(&p, &labels, 2).unwrap();
        let pruned = rows(&found.by_noise_rate);
        assert_eq!(pruned, (0..found.calibrated_joint[1] as usize).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_always_holds(rows_of in prop::collection::vec((prop::collection::vec(0.01f32..1.0, 3), 0usize..3), 1..60)) {
            let p: Vec<f32> = rows_of.iter().flat_map(|(row, _)| { let sum: f32 = row.iter().sum(); row.iter().map(move |v| v / sum) }).collect();
            let labels: Vec<usize> = rows_of.iter().map(|(_, label)| *label).collect();
            let found = confident_learning(&p, &labels, 3).unwrap();
            let counts: Vec<u64> = (0..3).map(|k| labels.iter().filter(|label| **label == k).count() as u64).collect();
            // The calibrated joint has a sample for each sample; every flag disagrees with its label.
            prop_assert_eq!(found.calibrated_joint.iter().sum::<u64>(), labels.len() as u64);
            prop_assert!((found.joint.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (row, n) in found.calibrated_joint.chunks(3).zip(&counts) {
                prop_assert_eq!(row.iter().sum::<u64>(), *n);
            }
            for row in 0..labels.len() {
                let flagged = found.off_diagonal[row] || found.by_noise_rate[row];
                prop_assert_eq!(flagged, found.ranking.contains(&row));
                prop_assert!(!flagged || found.quality[row] <= 0.5);
                prop_assert!((0.0..=1.0).contains(&found.quality[row]));
            }
            prop_assert!(found.ranking.windows(2).all(|w| found.quality[w[0]] <= found.quality[w[1]]));
            // Rows come back in their places when the data are turned.
            let turned: Vec<f32> = p.chunks(3).rev().flatten().copied().collect();
            let back: Vec<usize> = labels.iter().rev().copied().collect();
            let again = confident_learning(&turned, &back, 3).unwrap();
            prop_assert_eq!(again.confident_joint, found.confident_joint);
            prop_assert_eq!(again.off_diagonal.into_iter().rev().collect::<Vec<_>>(), found.off_diagonal);
        }
    }
}
