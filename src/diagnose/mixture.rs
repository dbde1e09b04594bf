//! A mixture of two components over a loss: the clean and the others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Least variance of a component, on values scaled to `0..=1`.
const LEAST_VARIANCE: f64 = 1e-4;
/// Beta densities are not defined at the ends.
const EDGE: f64 = 1e-4;

/// Shape of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Normal distributions.
    #[default]
    Gaussian,
    /// Beta distributions: they follow losses that pile up at one end.
    Beta,
}

/// One component, on values scaled to `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    /// Share of the values, `0..=1`.
    pub weight: f64,
    /// Mean.
    pub mean: f64,
    /// Variance, at least 1e-4.
    pub variance: f64,
}

/// What [`two_components`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// The component with the smaller mean: the clean ones.
    pub clean: Component,
    /// The other.
    pub other: Component,
    /// Probability that each value is of the clean component, `0..=1`, in the order of the values.
    pub clean_probability: Vec<f64>,
}

impl Mixture {
    /// Distance of the means in units of their spread, `sqrt(2) (m_1 - m_0) / sqrt(v_0 + v_1)`; above 2 the two are cleanly apart
    /// (Ashman, Bird, Zepf, Detecting bimodality in astronomical datasets, 1994).
    pub fn separation(&self) -> f64 {
        std::f64::consts::SQRT_2 * (self.other.mean - self.clean.mean) / (self.clean.variance + self.other.variance).sqrt()
    }
}

/// Fits two components to `values` by expectation maximisation, after scaling them to `0..=1` by their extremes; the start is a division by two means.
///
/// A value below the clean mean is judged as the clean mean is, one above the other mean as that is: a wide component would otherwise claim both tails.
/// Beta components are fitted by their moments. `None` for fewer than two different values, or where one is not finite.
///
/// Source: Arazo et al., Unsupervised Label Noise Modeling and Loss Correction, 2019; Huang et al., Learning with Noisy Correspondence for Cross-modal
/// Matching, 2021.
pub fn two_components(values: &[f32], shape: Shape, iterations: usize) -> Option<Mixture> {
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(f64::from(*v)), h.max(f64::from(*v))));
    if low >= high || values.is_empty() {
        return None;
    }
    let scaled: Vec<f64> = values.iter().map(|v| (f64::from(*v) - low) / (high - low)).collect();
    let border = two_means(&scaled);
    let hard = |below: bool| -> Vec<f64> { scaled.iter().map(|v| f64::from(u8::from((*v <= border) == below))).collect() };
    let mut components = [fit(&scaled, &hard(true)), fit(&scaled, &hard(false))];
    for _ in 0..iterations {
        let own: Vec<f64> = scaled.iter().map(|v| posterior(&components, shape, *v)).collect();
        let rest: Vec<f64> = own.iter().map(|p| 1.0 - p).collect();
        components = [fit(&scaled, &own), fit(&scaled, &rest)];
    }
    components.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    let [clean, other] = components;
    let clean_probability = scaled.iter().map(|v| posterior(&components, shape, v.clamp(clean.mean, other.mean))).collect();
    Some(Mixture { clean, other, clean_probability })
}

/// The border between two means (Lloyd's algorithm from the extremes).
fn two_means(scaled: &[f64]) -> f64 {
    let mut border = 0.5;
    for _ in 0..100 {
        let mean = |of: &dyn Fn(f64) -> bool| {
            let (n, sum) = scaled.iter().filter(|v| of(**v)).fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + v));
            // The extremes 0 and 1 are always on either side.
            sum / f64::max(n, 1.0)
        };
        let next = (mean(&|v| v <= border) + mean(&|v| v > border)) / 2.0;
        if (next - border).abs() < 1e-12 {
            break;
        }
        border = next;
    }
    border
}

/// Weighted share, mean and variance.
fn fit(scaled: &[f64], weights: &[f64]) -> Component {
    let total: f64 = weights.iter().sum();
    let below = total.max(1e-12);
    let mean = scaled.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / below;
    let variance = scaled.iter().zip(weights).map(|(v, w)| w * (v - mean).powi(2)).sum::<f64>() / below;
    Component { weight: total / scaled.len() as f64, mean, variance: variance.max(LEAST_VARIANCE) }
}

/// Probability of the first component at a value in `0..=1`.
fn posterior(components: &[Component; 2], shape: Shape, value: f64) -> f64 {
    let [own, other] = components.map(|c| c.weight.max(1e-12).ln() + log_density(&c, shape, value));
    1.0 / (1.0 + (other - own).exp())
}

fn log_density(component: &Component, shape: Shape, value: f64) -> f64 {
    let Component { mean, variance, .. } = *component;
    match shape {
        Shape::Gaussian => -0.5 * ((value - mean).powi(2) / variance + variance.ln() + (2.0 * std::f64::consts::PI).ln()),
        Shape::Beta => {
            let mean = mean.clamp(EDGE, 1.0 - EDGE);
            // A variance of mean (1 - mean) is that of two points; a density needs less.
            let sum = (mean * (1.0 - mean) / variance - 1.0).max(1e-2);
            let (a, b, value) = (mean * sum, (1.0 - mean) * sum, value.clamp(EDGE, 1.0 - EDGE));
            ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + (a - 1.0) * value.ln() + (b - 1.0) * (1.0 - value).ln()
        }
    }
}

/// Logarithm of the gamma function for a positive number: Stirling's series after shifting the argument above 8.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 8.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let (r, r2) = (1.0 / x, 1.0 / (x * x));
    let series = r * (1.0 / 12.0 - r2 * (1.0 / 360.0 - r2 * (1.0 / 1260.0 - r2 / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;
    use rand_distr::{Distribution, Normal};

    fn two(shape: Shape) -> (Vec<f32>, Mixture) {
        let mut rng = SeedTree::new(4).rng();
        let clean = Normal::new(1.0, 0.1).unwrap();
        let wrong = Normal::new(3.0, 0.4).unwrap();
        let values: Vec<f32> =
            (0..1000).map(|i| if i % 10 == 0 { wrong.sample(&mut rng) } else { clean.sample(&mut rng) } as f32).collect();
        let found = two_components(&values, shape, 20).unwrap();
        (values, found)
    }

    #[test]
    fn both_shapes_find_the_planted_components() {
        for shape in [Shape::Gaussian, Shape::Beta] {
            let (values, found) = two(shape);
            let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            let back = |c: f64| c * f64::from(high - low) + f64::from(low);
            assert!((back(found.clean.mean) - 1.0).abs() < 0.02 && (back(found.other.mean) - 3.0).abs() < 0.1, "{found:?}");
            assert!((found.other.weight - 0.1).abs() < 0.01 && found.separation() > 5.0);
            assert!((0..1000).all(|i| (found.clean_probability[i] < 0.5) == (i % 10 == 0)));
        }
    }

    #[test]
    fn a_worked_step() {
        // Scaled 0 0 1 1, divided by two means; both variances at the floor: no doubt anywhere.
        let found = two_components(&[5.0, 5.0, 7.0, 7.0], Shape::Gaussian, 20).unwrap();
        assert_eq!(
            (found.clean, found.clean_probability),
            (Component { weight: 0.5, mean: 0.0, variance: 1e-4 }, vec![1.0, 1.0, 0.0, 0.0])
        );
        // sqrt(2) / sqrt(2e-4).
        let found = two_components(&[5.0, 5.0, 7.0, 7.0], Shape::Gaussian, 20).unwrap();
        assert!((found.separation() - 100.0).abs() < 1e-9);
        // Without an iteration: clean 0 .2 (mean .1, variance .01), other .8 1 (mean .9): the middle would be even.
        let found = two_components(&[0.0, 2.0, 8.0, 10.0, 5.1], Shape::Gaussian, 0).unwrap();
        let [a, b] = [found.clean, found.other];
        let density = |c: Component, x: f64| c.weight * (-(x - c.mean).powi(2) / (2.0 * c.variance)).exp() / c.variance.sqrt();
        let wanted = density(a, 0.51) / (density(a, 0.51) + density(b, 0.51));
        assert!((found.clean_probability[4] - wanted).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn what_has_no_two_components() {
        for values in [vec![], vec![1.0], vec![2.0; 5], vec![1.0, f32::NAN], vec![0.0, f32::INFINITY]] {
            assert_eq!(two_components(&values, Shape::Gaussian, 20), None);
        }
        let (_, found) = two(Shape::Gaussian);
        assert!(found.clean.mean < found.other.mean);
        // One hump has no two parts that stand apart.
        let mut rng = SeedTree::new(4).rng();
        let hump = Normal::new(1.0, 0.1).unwrap();
        let values: Vec<f32> = (0..1000).map(|_| hump.sample(&mut rng) as f32).collect();
        let found = two_components(&values, Shape::Gaussian, 20).unwrap();
        assert!(found.separation() < 3.0, "{}", found.separation());
    }

    #[test]
    fn ln_gamma_of_known_values() {
        for (x, wanted) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24f64.ln()), (0.5, 0.5 * std::f64::consts::PI.ln()), (10.0, 362_880f64.ln())] {
            assert!((ln_gamma(x) - wanted).abs() < 1e-9, "{x}");
        }
    }

    proptest! {
        #[test]
        fn cleaner_is_never_less_clean(values in prop::collection::vec(0.0f32..10.0, 2..60), scale in 0.1f32..10.0, shift in -5.0f32..5.0) {
            if let Some(found) = two_components(&values, Shape::Gaussian, 20) {
                let mut order: Vec<usize> = (0..values.len()).collect();
                order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
                let p = &found.clean_probability;
                prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
                prop_assert!(order.windows(2).all(|w| p[w[0]] >= p[w[1]] - 1e-9));
                prop_assert!((found.clean.weight + found.other.weight - 1.0).abs() < 1e-6);
            }
            for shape in [Shape::Gaussian, Shape::Beta] {
                let moved: Vec<f32> = values.iter().map(|v| v * scale + shift).collect();
                if let (Some(a), Some(b)) = (two_components(&values, shape, 3), two_components(&moved, shape, 3)) {
                    prop_assert!(a.clean_probability.iter().chain(&b.clean_probability).all(|p| p.is_finite()));
                }
            }
        }
    }
}
