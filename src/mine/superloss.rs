//! SuperLoss: a weight of each sample that is the best compromise between its loss and a price of being sure, in closed form.
//!
//! Source: Castells, Weinzaepfel, Revaud, "SuperLoss: A Generic Loss for Robust Curriculum Learning", 2020.

use std::f64::consts::E;

/// Steps of Halley's method: from these first guesses they reach the last bit.
const STEPS: usize = 8;

/// The principal branch of Lambert's W: `w e^w = x`, for `x` of at least `-1/e`; a smaller one is taken for `-1/e`. NaN for NaN.
pub fn lambert_w(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x <= -1.0 / E {
        return -1.0;
    }
    let mut w = if x < -0.25 {
        // The series at the branch point, where the slope is infinite.
        let p = (2.0 * (E * x + 1.0)).max(0.0).sqrt();
        -1.0 + p - p * p / 3.0 + 11.0 / 72.0 * p * p * p
    } else if x < E {
        x.ln_1p()
    } else {
        x.ln() - x.ln().ln()
    };
    for _ in 0..STEPS {
        // Divided by e^w, so that nothing overflows.
        let f = w - x * (-w).exp();
        let step = f / (w + 1.0 - (w + 2.0) * f / (2.0 * w + 2.0));
        if !step.is_finite() || step == 0.0 {
            break;
        }
        w -= step;
    }
    w
}

/// The weight `s` of a loss that minimises `(loss - tau) s + lambda (ln s)^2`: `exp(-W(0.5 max(-2/e, (loss - tau) / lambda)))`, above 1 (at most
/// `e`) for a loss below `tau`, 1 at `tau`, below 1 (at least 0) above it. `tau` is `ln classes` or a running mean of the losses; `lambda` above 0
/// is how slowly the weight follows (usually 0.25 to 1). NaN for NaN.
pub fn superloss_weight(loss: f64, tau: f64, lambda: f64) -> f64 {
    let beta = (loss - tau) / lambda;
    if beta.is_nan() {
        return f64::NAN;
    }
    (-lambert_w(0.5 * beta.max(-2.0 / E))).exp()
}

/// The loss with its weight and the weight's price: `(loss - tau) s + lambda (ln s)^2`, with `s` of [`superloss_weight`]. Its gradient is `s`
/// times that of the loss, so that a trainer may as well multiply each loss by its weight.
pub fn superloss(loss: f64, tau: f64, lambda: f64) -> f64 {
    let weight = superloss_weight(loss, tau, lambda);
    (loss - tau) * weight + lambda * weight.ln().powi(2)
}

/// SuperLoss of a cross entropy as a function of the log-probability `ln p` of the label, and its derivative with respect to that: minus the weight, by
/// the envelope theorem.
pub fn superloss_shape(log_p: f64, tau: f64, lambda: f64) -> (f64, f64) {
    (superloss(-log_p, tau, lambda), -superloss_weight(-log_p, tau, lambda))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        let right = [
            (0.0, 0.0),
            (0.5, 0.351_733_711_249_196),
            (1.0, 0.567_143_290_409_784),
            (10.0, 1.745_528_002_740_699),
            (-0.2, -0.259_171_101_819_074),
            (-0.36, -0.806_084_315_970_818),
            (1e6, 11.383_358_086_140_05),
            (E, 1.0),
        ];
        for (x, right) in right {
            assert!((lambert_w(x) - right).abs() < 1e-12, "W({x}) = {}", lambert_w(x));
        }
        assert_eq!((lambert_w(-1.0), lambert_w(f64::INFINITY)), (-1.0, f64::INFINITY));
        let tau = 10f64.ln();
        assert!((superloss_weight(3.0, tau, 1.0) - 0.765_675_544_977).abs() < 1e-11);
        assert!((superloss(3.0, tau, 1.0) - 0.605_280_813_920).abs() < 1e-11);
        assert!((superloss_weight(5.0, 2.0, 0.5) - 0.349_969_631_655).abs() < 1e-11);
        // Below -2/e nothing changes any more.
        assert!((superloss_weight(0.1, tau, 1.0) - E).abs() < 1e-12 && (superloss(0.1, tau, 1.0) + 4.987_247_033_920).abs() < 1e-11);
        assert_eq!(
            (superloss_weight(tau, tau, 0.25), superloss(tau, tau, 0.25), superloss_weight(f64::INFINITY, tau, 1.0)),
            (1.0, 0.0, 0.0)
        );
        assert!(superloss_weight(f64::NAN, tau, 1.0).is_nan());
    }

    #[test]
    fn the_shape_is_the_loss_and_its_slope() {
        for log_p in [-0.1, -0.9, -2.3, -7.0] {
            let (value, slope) = superloss_shape(log_p, 1.5, 0.8);
            let difference = (superloss_shape(log_p + 1e-5, 1.5, 0.8).0 - superloss_shape(log_p - 1e-5, 1.5, 0.8).0) / 2e-5;
            assert!(value == superloss(-log_p, 1.5, 0.8) && (difference - slope).abs() < 1e-6, "{log_p}: {difference} {slope}");
        }
    }

    proptest! {
        #[test]
        fn w_inverts(x in prop_oneof![-0.367_879f64..0.0, 0.0..10.0f64, 1.0..1e12f64]) {
            let w = lambert_w(x);
            prop_assert!((w * w.exp() - x).abs() <= 1e-9 * x.abs().max(1e-3), "{} {}", x, w);
        }

        /// No other weight is cheaper.
        #[test]
        fn the_weight_is_the_best(loss in 0f64..20.0, tau in 0.1f64..4.0, lambda in 0.1f64..4.0, other in 0.01f64..2.7) {
            let price = |s: f64| (loss - tau) * s + lambda * s.ln().powi(2);
            let s = superloss_weight(loss, tau, lambda);
            prop_assert!((loss - tau) / lambda < -2.0 / E || price(s) <= price(other) + 1e-9);
            prop_assert!((0.0..=E + 1e-9).contains(&s) && (s <= 1.0) == (loss >= tau));
        }
    }
}
