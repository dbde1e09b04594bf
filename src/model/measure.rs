//! Loss, margin, entropy, confidence and agreement of logits: pure functions, shared by scorers, verifiers and the band search.
//! Natural logarithms; probabilities by log-sum-exp.

use super::{Objective, OfRow, Target};

/// `log_softmax` of one row of logits.
pub fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().fold(f32::NEG_INFINITY, |m, z| m.max(*z));
    let shifted: Vec<f64> = logits.iter().map(|z| f64::from(*z) - f64::from(top)).collect();
    let log_total = shifted.iter().map(|z| z.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|z| z - log_total).collect()
}

/// `softmax` of one row of logits.
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    log_probabilities(logits).into_iter().map(f64::exp).collect()
}

/// Cross entropy `-sum_k q_k log p_k` in nats; for a class, `-log p_y`. NaN for a class that is no column.
pub fn cross_entropy(logits: &[f32], target: &Target) -> f32 {
    let log_p = log_probabilities(logits);
    match target {
        Target::Class(class) => log_p.get(*class).map_or(f32::NAN, |l| -l as f32),
        Target::Soft(shares) => {
            -shares.iter().zip(&log_p).map(|(q, l)| if *q == 0.0 { 0.0 } else { f64::from(*q) * l }).sum::<f64>() as f32
        }
    }
}

/// Probability of the target's class.
pub fn confidence(logits: &[f32], class: usize) -> f32 {
    probabilities(logits).get(class).map_or(0.0, |p| *p as f32)
}

/// Margin `z_y - max_{k != y} z_k` on logits.
pub fn margin(logits: &[f32], class: usize) -> f32 {
    let other = logits.iter().enumerate().filter(|(k, _)| *k != class).fold(f32::NEG_INFINITY, |m, (_, z)| m.max(*z));
    logits.get(class).map_or(f32::NAN, |own| own - other)
}

/// Entropy `-sum p log p` of a distribution in nats.
pub fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// Jensen-Shannon divergence of two distributions, in `[0, ln 2]`.
pub fn jensen_shannon(a: &[f64], b: &[f64]) -> f64 {
    let mean: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect();
    (entropy(&mean) - (entropy(a) + entropy(b)) / 2.0).clamp(0.0, std::f64::consts::LN_2)
}

/// Index of the largest logit, the lowest among equals.
pub fn argmax(logits: &[f32]) -> usize {
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (k, z)| if *z > best.1 { (k, *z) } else { best }).0
}

/// The most probable class of a distribution, the lowest among equals, and its probability; `(0, -inf)` where nothing is a number.
pub fn most_probable(p: &[f64]) -> (usize, f64) {
    p.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (k, p)| if *p > best.1 { (k, *p) } else { best })
}

/// The attack objective of one row of logits; the DLR needs three classes and falls back to the margin loss below that.
pub fn objective(logits: &[f32], target: &Target, objective: Objective) -> f32 {
    let class = target.class();
    match objective {
        Objective::CrossEntropy => cross_entropy(logits, target),
        Objective::CarliniWagner => -margin(logits, class),
        Objective::Dlr => {
            let mut sorted = logits.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            match sorted.get(2) {
                Some(third) => -margin(logits, class) / (sorted[0] - third + 1e-12),
                None => -margin(logits, class),
            }
        }
    }
}

/// [`objective`] of row `row` of a batch and its slope along the logits, as [`Model::logits_gradient`](super::Model::logits_gradient) asks for them; 0 for a row without a target.
pub fn objective_of(targets: &[Target], row: usize, logits: &[f32], kind: Objective) -> (f32, Vec<f32>) {
    let of = |target| (objective(logits, target, kind), objective_gradient(logits, target, kind));
    targets.get(row).map_or_else(|| (0.0, vec![0.0; logits.len()]), of)
}

/// A function of each row of `columns` numbers, the first of which is row `first` of its batch: its values, and its slopes one behind another, as long as the rows.
pub(crate) fn of_rows(rows: &[f32], columns: usize, first: usize, of: OfRow<'_>) -> (Vec<f32>, Vec<f32>) {
    let (mut values, mut slopes) = (Vec::new(), Vec::with_capacity(rows.len()));
    for (at, row) in rows.chunks_exact(columns.max(1)).enumerate() {
        let (value, mut slope) = of(first + at, row);
        slope.resize(columns, 0.0);
        values.push(value);
        slopes.extend(slope);
    }
    (values, slopes)
}

/// The gradient of [`objective`] with respect to the logits.
pub fn objective_gradient(logits: &[f32], target: &Target, objective: Objective) -> Vec<f32> {
    let class = target.class();
    let other = logits
        .iter()
        .enumerate()
        .filter(|(k, _)| *k != class)
        .fold((0, f32::NEG_INFINITY), |best, (k, z)| if *z > best.1 { (k, *z) } else { best })
        .0;
    let mut gradient = vec![0.0; logits.len()];
    match objective {
        Objective::CrossEntropy => {
            let p = probabilities(logits);
            let total: f64 = (0..logits.len()).map(|k| f64::from(target.share(k))).sum();
            for (k, g) in gradient.iter_mut().enumerate() {
                *g = (p[k] * total - f64::from(target.share(k))) as f32;
            }
        }
        Objective::CarliniWagner => {
            gradient[other] += 1.0;
            gradient[class] -= 1.0;
        }
        Objective::Dlr => {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
            gradient[other] += 1.0;
            gradient[class] -= 1.0;
            if let Some(&third) = order.get(2) {
                let below = logits[order[0]] - logits[third] + 1e-12;
                let above = -margin(logits, class);
                gradient.iter_mut().for_each(|g| *g /= below);
                gradient[order[0]] -= above / (below * below);
                gradient[third] += above / (below * below);
            }
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values() {
        assert_eq!(most_probable(&[0.2, 0.4, 0.4]), (1, 0.4));
        assert_eq!(most_probable(&[f64::NAN]), (0, f64::NEG_INFINITY));
        let z = [2.0, 1.0, 0.0];
        assert!((cross_entropy(&z, &Target::Class(0)) - 0.407606).abs() < 1e-6);
        assert!((cross_entropy(&z, &Target::Soft([0.5, 0.5, 0.0].into())) - 0.907606).abs() < 1e-6);
        assert_eq!((margin(&z, 0), margin(&z, 2), argmax(&z)), (1.0, -2.0, 0));
        assert!((confidence(&z, 0) - 0.665241).abs() < 1e-6);
        assert!((entropy(&[0.5, 0.5]) - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]) - std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(jensen_shannon(&[0.3, 0.7], &[0.3, 0.7]), 0.0);
        assert!((objective(&z, &Target::Class(0), Objective::Dlr) + 0.5).abs() < 1e-6);
        assert_eq!(cross_entropy(&[1000.0, 0.0], &Target::Class(1)), 1000.0);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let z = [0.7f32, -0.4, 1.3, 0.1];
        for kind in [Objective::CrossEntropy, Objective::CarliniWagner, Objective::Dlr] {
            for class in 0..4 {
                let gradient = objective_gradient(&z, &Target::Class(class), kind);
                for k in 0..4 {
                    let (mut up, mut down) = (z, z);
                    up[k] += 1e-2;
                    down[k] -= 1e-2;
                    let slope = (objective(&up, &Target::Class(class), kind) - objective(&down, &Target::Class(class), kind)) / 2e-2;
                    assert!((slope - gradient[k]).abs() < 2e-3, "{kind:?} {class} {k}: {slope} {}", gradient[k]);
                }
            }
        }
    }
}
