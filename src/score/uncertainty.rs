use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Table},
    sample::{Column, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How unsure the subject model is, label or not.
///
/// Method: with `p` the softmax of the fused logits and `p1 >= p2` its two largest, `entropy` is `-sum p log p` in nats (0 to the logarithm of
/// the number of classes), `least_confidence` is `1 - p1`, and `small_margin` is `1 - (p1 - p2)`, 1 on the decision boundary.
///
/// Reference: Settles, Active Learning Literature Survey, 2009, section 3.1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uncertainty {}

impl Configure<dyn Scorer> for Uncertainty {
    const NAME: &'static str = "uncertainty";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for Uncertainty {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("entropy", "entropy of the prediction in nats, 0..=ln classes"),
            Column::hardness("least_confidence", "1 minus the largest probability, 0..=1"),
            Column::hardness("small_margin", "1 minus the gap of the two largest probabilities, 0..=1; 1 on the boundary"),
        ]
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let rows = context.forwards.subject()?;
        let of = |i: usize| match rows.logits(i) {
            Some(logits) => uncertainties(&measure::probabilities(logits)).map(|v| Score::Known(v as f32)),
            None => std::array::from_fn(|_| Score::absent("no forward pass")),
        };
        Ok(columns_of((0..context.forwards.samples().len()).map(of)))
    }
}

/// Entropy, least confidence and small margin of a distribution.
fn uncertainties(p: &[f64]) -> [f64; 3] {
    if p.iter().any(|p| !p.is_finite()) {
        return [f64::NAN; 3];
    }
    let (first, second) = p.iter().fold((0.0f64, 0.0f64), |(a, b), p| if *p > a { (*p, a) } else { (a, b.max(*p)) });
    [measure::entropy(p), 1.0 - first, 1.0 - (first - second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values() {
        let close = |found: [f64; 3], right: [f64; 3]| found.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(uncertainties(&[0.5, 0.3, 0.2]), [1.029_653, 0.5, 0.8]));
        assert!(close(uncertainties(&[0.25; 4]), [4f64.ln(), 0.75, 1.0]));
        assert!(close(uncertainties(&[0.0, 1.0]), [0.0, 0.0, 0.0]));
        assert!(uncertainties(&[f64::NAN, 1.0])[0].is_nan());
    }
}
