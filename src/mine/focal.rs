//! Focal loss and its weights, for a trainer's own loop: what is easy counts less, smoothly.
//!
//! Source: Lin et al., "Focal Loss for Dense Object Detection", 2017.

use crate::error::{Error, Result};

/// Weights `alpha (1 - p)^gamma` of samples with these probabilities of their label: what a plain cross entropy is multiplied by where no
/// gradient goes through the weight. `gamma` at least 0 (usually 2). Probabilities outside `0..=1` are taken for the nearer end.
pub fn focal_weights(probabilities: &[f32], gamma: f64, alpha: f64) -> Vec<f32> {
    probabilities.iter().map(|p| (alpha * (1.0 - f64::from(p.clamp(0.0, 1.0))).powf(gamma)) as f32).collect()
}

/// Focal loss of each row: `-alpha_y (1 - p_y)^gamma ln p_y` in nats, `p` the softmax of the row. `logits` are rows of `classes` numbers, `alpha`
/// one factor a class (none for 1). Not reduced; a row with NaN gives NaN. An error for lists that do not fit together.
pub fn focal_softmax(logits: &[f32], classes: usize, labels: &[usize], gamma: f64, alpha: Option<&[f64]>) -> Result<Vec<f64>> {
    if classes == 0 || logits.len() != labels.len() * classes {
        return Err(Error::usage(format!("{} logits are not {} rows of {classes}", logits.len(), labels.len())));
    }
    if let Some(alpha) = alpha.filter(|alpha| alpha.len() != classes) {
        return Err(Error::usage(format!("{} factors for {classes} classes", alpha.len())));
    }
    if let Some(label) = labels.iter().find(|label| **label >= classes) {
        return Err(Error::usage(format!("label {label} of {classes} classes")));
    }
    let loss = |(row, label): (&[f32], &usize)| {
        let largest = row.iter().fold(f64::NEG_INFINITY, |top, z| top.max(f64::from(*z)));
        let sum: f64 = row.iter().map(|z| (f64::from(*z) - largest).exp()).sum();
        // At most 0: rounding may put it a hair above.
        let log_p = f64::from(row[*label]) - largest - sum.ln();
        let log_p = if log_p > 0.0 { 0.0 } else { log_p };
        -alpha.map_or(1.0, |alpha| alpha[*label]) * (-log_p.exp_m1()).powf(gamma) * log_p
    };
    Ok(logits.chunks_exact(classes).zip(labels).map(loss).collect())
}

/// Focal loss `-(1 - p)^gamma ln p` as a function of `ln p` (at most 0), and its derivative with respect to that:
/// `gamma p (1 - p)^(gamma - 1) ln p - (1 - p)^gamma`. At `gamma` 0 that is the cross entropy.
pub fn focal_shape(log_p: f64, gamma: f64) -> (f64, f64) {
    let rest = -log_p.min(0.0).exp_m1();
    let factor = rest.powf(gamma);
    // At certainty both factors of the first term go to 0 together.
    let first = if rest > 0.0 { gamma * log_p.exp() * (factor / rest) * log_p } else { 0.0 };
    (-factor * log_p, first - factor)
}

/// Focal loss of binary decisions: `-alpha_t (1 - p_t)^gamma ln p_t` in nats, `p_t` the probability of what is true, `alpha_t` = `alpha` for the
/// positive and `1 - alpha` for the negative (usually 0.25, with `gamma` 2). Not reduced: detection divides the sum by the number of positives.
/// An error for lists of unequal length.
pub fn focal_sigmoid(logits: &[f32], positive: &[bool], gamma: f64, alpha: f64) -> Result<Vec<f64>> {
    if logits.len() != positive.len() {
        return Err(Error::usage(format!("{} logits for {} labels", logits.len(), positive.len())));
    }
    let loss = |(z, positive): (&f32, &bool)| {
        // ln p_t = -ln(1 + e^-s), with s the logit on the side of the truth; without overflow on either side.
        let s = if *positive { f64::from(*z) } else { -f64::from(*z) };
        let log_p = s.min(0.0) - (-s.abs()).exp().ln_1p();
        -(if *positive { alpha } else { 1.0 - alpha }) * (-log_p.exp_m1()).powf(gamma) * log_p
    };
    Ok(logits.iter().zip(positive).map(loss).collect())
}

/// The bias `-ln((1 - prior) / prior)` of the last layer with which every sigmoid starts at the probability `prior` (usually 0.01), so that the
/// many negatives do not drown the first steps. `prior` lies between 0 and 1; the ends give an infinity.
pub fn focal_bias(prior: f64) -> f64 {
    -((1.0 - prior) / prior).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        // Worked out in double precision from the definition.
        let logits = [0.0, 2.0, 2.0, -3.0, -8.0];
        let found = focal_sigmoid(&logits, &[true, false, true, true, false], 2.0, 0.25).unwrap();
        let right = [0.043_321_698_785, 1.237_558_634_566, 0.000_450_890_709, 0.691_570_110_256, 2.828_977_757e-11];
        for (found, right) in found.iter().zip(right) {
            assert!((found / right - 1.0).abs() < 1e-8, "{found} {right}");
        }
        let rows = [2.0, 1.0, -1.0].repeat(3);
        let found = focal_softmax(&rows, 3, &[0, 1, 2], 2.0, None).unwrap();
        for (found, right) in found.iter().zip([0.030_293_661_984, 0.739_724_768_049, 3.117_914_607_117]) {
            assert!((found - right).abs() < 1e-11, "{found} {right}");
        }
        let halved = focal_softmax(&rows[..3], 3, &[1], 1.5, Some(&[1.0, 0.5, 1.0])).unwrap();
        assert!((halved[0] - 0.429_810_078_831).abs() < 1e-11);
        assert_eq!(focal_weights(&[0.5, 1.0, 0.0, 7.0], 2.0, 0.25), [0.0625, 0.0, 0.25, 0.0]);
        let start = 1.0 / (1.0 + (-focal_bias(0.01)).exp());
        assert!((start - 0.01).abs() < 1e-15);
    }

    #[test]
    fn the_ends_and_what_does_not_fit() {
        let found = focal_sigmoid(&[1e4, -1e4, -1e4], &[true, true, false], 2.0, 0.25).unwrap();
        assert!(found[0] == 0.0 && (found[1] - 2500.0).abs() < 1e-9 && found[2] == 0.0, "{found:?}");
        let found = focal_softmax(&[1e4, -1e4, f32::NAN, 0.0], 2, &[1, 0], 2.0, None).unwrap();
        assert!((found[0] - 2e4).abs() < 1e-9 && found[1].is_nan());
        assert!(focal_softmax(&[], 3, &[], 2.0, None).unwrap().is_empty());
        let told = |found: Result<Vec<f64>>| found.unwrap_err().to_string();
        assert_eq!(told(focal_softmax(&[0.0; 4], 2, &[0], 2.0, None)), "4 logits are not 1 rows of 2");
        assert_eq!(told(focal_softmax(&[0.0; 2], 2, &[2], 2.0, None)), "label 2 of 2 classes");
        assert_eq!(told(focal_softmax(&[0.0; 2], 2, &[0], 2.0, Some(&[1.0]))), "1 factors for 2 classes");
        assert_eq!(told(focal_sigmoid(&[0.0], &[], 2.0, 0.25)), "1 logits for 0 labels");
    }

    #[test]
    fn the_shape_is_the_loss_and_its_slope() {
        for gamma in [0.0, 0.5, 1.0, 2.0, 3.5] {
            for log_p in [-1e-9f64, -0.01, -0.5, -2.0, -20.0] {
                let (value, slope) = focal_shape(log_p, gamma);
                let logits = [log_p as f32, (-log_p.exp_m1()).ln() as f32];
                let loss = focal_softmax(&logits, 2, &[0], gamma, None).unwrap()[0];
                assert!((value - loss).abs() < 1e-5 * (1.0 + loss), "{value} {loss}");
                let step = log_p.abs() * 1e-4;
                let difference = (focal_shape(log_p + step, gamma).0 - focal_shape(log_p - step, gamma).0) / (2.0 * step);
                assert!((difference - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{gamma} {log_p}: {difference} {slope}");
            }
        }
        assert_eq!((focal_shape(0.0, 2.0), focal_shape(0.0, 0.0)), ((0.0, 0.0), (0.0, -1.0)));
    }

    proptest! {
        /// Two classes are one decision, gamma 0 is the cross entropy, and a larger gamma never counts more.
        #[test]
        fn two_forms_of_one_loss(z in -30f32..30.0, positive: bool, gamma in 0f64..5.0) {
            let one = focal_sigmoid(&[z], &[positive], gamma, 0.5).unwrap()[0];
            let two = focal_softmax(&[0.0, z], 2, &[usize::from(positive)], gamma, Some(&[0.5, 0.5])).unwrap()[0];
            prop_assert!((one - two).abs() <= 1e-9 * one.abs().max(1e-6), "{} {}", one, two);
            let plain = focal_sigmoid(&[z], &[positive], 0.0, 0.5).unwrap()[0];
            let p = 1.0 / (1.0 + f64::from(if positive { -z } else { z }).exp());
            prop_assert!((plain + 0.5 * p.ln()).abs() < 1e-6 && one <= plain + 1e-12 && one >= 0.0);
        }
    }
}
