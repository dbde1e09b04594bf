//! Weights of samples: scaled, capped, and what they are worth together. Pure functions.

/// Kish's effective sample size `(sum w)^2 / sum w^2`: how many equally weighted samples are worth as much. 0 without weight.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Scales weights to a mean of 1 and caps them at `cap` (at least 1; usually 5): the factor `s` with `sum min(s w, cap) = n`. Where too few
/// have weight at all for a mean of 1, each of those is at the cap; where none has, all are 0. NaN stays NaN and counts for nothing.
pub fn normalised(weights: &[f64], cap: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = weights.iter().copied().filter(|weight| *weight > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let n = weights.len() as f64;
    if sorted.len() as f64 * cap <= n {
        return weights.iter().map(|weight| if *weight > 0.0 { cap } else { *weight }).collect();
    }
    // With the k largest at the cap, the others share what is left; the first k that caps no further one is right.
    let mut rest: f64 = sorted.iter().sum();
    let mut at_cap = 0.0;
    let mut scale = n / rest;
    while let Some(largest) = sorted.pop() {
        scale = (n - at_cap * cap) / rest;
        if largest * scale <= cap {
            break;
        }
        rest -= largest;
        at_cap += 1.0;
    }
    // `min` would take the cap for NaN.
    weights.iter().map(|weight| if weight.is_nan() { *weight } else { (weight * scale).min(cap) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_weights() {
        // With the last at 2 the others share 2.
        let found = normalised(&[1.0, 1.0, 1.0, 5.0], 2.0);
        assert_eq!(found, [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0]);
        assert!((effective_sample_size(&found) - 16.0 / (4.0 / 3.0 + 4.0)).abs() < 1e-12);
        assert_eq!((normalised(&[3.0, 0.0, 0.0], 2.0), normalised(&[0.0], 2.0)), (vec![2.0, 0.0, 0.0], vec![0.0]));
        assert_eq!((effective_sample_size(&[]), effective_sample_size(&[0.0]), normalised(&[], 5.0)), (0.0, 0.0, vec![]));
    }

    proptest! {
        #[test]
        fn the_mean_is_one_where_the_cap_allows_it(raw in prop::collection::vec(0.0..100.0f64, 1..40), cap in 1.0..10.0f64) {
            prop_assume!(raw.iter().any(|weight| *weight > 0.0));
            let found = normalised(&raw, cap);
            let some = raw.iter().filter(|weight| **weight > 0.0).count() as f64;
            let n = raw.len() as f64;
            prop_assert!(found.iter().all(|weight| (0.0..=cap).contains(weight)));
            prop_assert!((found.iter().sum::<f64>() - n.min(some * cap)).abs() < 1e-6 * n);
            for (i, j) in (1..raw.len()).map(|i| (i - 1, i)) {
                prop_assert!(raw[i] <= raw[j] || found[i] >= found[j]);
            }
        }
    }
}
