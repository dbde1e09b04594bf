use super::{Scorer, columns_of};
use crate::{
    context::{Rows, ScoreContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Requirements, Table},
    sample::{Column, Label, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the error vector is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorNorm {
    /// Sum of the absolute values, 0..=2.
    L1,
    /// Euclidean length, 0..=sqrt 2.
    #[default]
    L2,
}

/// Whose prediction is held against the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// The subject model.
    #[default]
    Subject,
    /// The model that never trained on the sample.
    Teacher,
    /// The subject and every teacher, or every recorded member: the mean of their scores.
    Ensemble,
}

/// Length of the error vector (EL2N) and of the last layer's gradient (GraNd).
///
/// Method: with `p` the softmax of the fused logits and `q` the label (one-hot for a class), `el2n` is `||p - q||` in the norm of the config, and
/// `grand` is `||p - q||_2 sqrt(||h||_2^2 + 1)`, the exact length of the gradient of the cross entropy with respect to weights and bias of
/// the last layer, whose input `h` is the fused embedding: no backward pass is needed. With `by: ensemble` both are the mean over the subject and all
/// teachers (of recorded predictions: over their members), independent starts of the same architecture. Absent without a label; `grand` also where the model gives no fused embedding.
///
/// Reference: Paul, Ganguli, Dziugaite, Deep Learning on a Data Diet: Finding Important Examples Early in Training, 2021.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct El2n {
    /// Norm of `el2n`; `grand` is always Euclidean.
    pub norm: ErrorNorm,
    /// Who predicts: `subject`, `teacher` (out of fold) or `ensemble`; the last two need out-of-fold models, `ensemble` of recorded predictions members.
    pub by: Judge,
}

impl Configure<dyn Scorer> for El2n {
    const NAME: &'static str = "el2n";
    const EXAMPLE: &'static str = "{ norm: l2, by: subject }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for El2n {
    fn columns(&self) -> Vec<Column> {
        let about = match self.norm {
            ErrorNorm::L1 => "L1 length of the prediction minus the label, 0..=2",
            ErrorNorm::L2 => "L2 length of the prediction minus the label, 0..=sqrt 2",
        };
        vec![Column::hardness("el2n", about), Column::hardness("grand", "length of the last layer's gradient, at least 0")]
    }

    fn requirements(&self) -> Requirements {
        Requirements { teachers: self.by == Judge::Teacher, ensemble: self.by == Judge::Ensemble, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let judges: Vec<Arc<Rows>> = match self.by {
            Judge::Subject => vec![forwards.subject()?],
            Judge::Teacher => vec![forwards.teacher()?],
            Judge::Ensemble => forwards.ensemble()?,
        };
        Ok(columns_of(forwards.samples().iter().enumerate().map(|(i, sample)| {
            let Some(label) = &sample.label else { return [Score::absent("no label"), Score::absent("no label")] };
            let seen: Vec<(Vec<f64>, Option<&[f32]>)> =
                judges.iter().filter_map(|rows| Some((measure::probabilities(rows.logits(i)?), rows.fused(i)))).collect();
            if seen.is_empty() {
                let why = if self.by == Judge::Teacher { "not in any fold" } else { "no forward pass" };
                return [Score::absent(why), Score::absent(why)];
            }
            let mean = |values: Vec<f64>| Score::Known((values.iter().sum::<f64>() / values.len() as f64) as f32);
            let el2n = mean(seen.iter().map(|(p, _)| error_length(p, label, self.norm)).collect());
            let grand: Option<Vec<f64>> = seen.iter().map(|(p, h)| Some(last_layer_gradient(p, label, (*h)?))).collect();
            [el2n, grand.map_or_else(|| Score::absent("the model gives no fused embedding"), mean)]
        })))
    }
}

/// `||p - q||` of a predicted distribution and a label: 0 for a certain right answer, `sqrt 2` (L1: 2) for a certain wrong one. NaN for a class
/// that is no column.
pub fn error_length(p: &[f64], label: &Label, norm: ErrorNorm) -> f64 {
    if label.class() >= p.len() {
        return f64::NAN;
    }
    let errors = p.iter().enumerate().map(|(k, p)| p - f64::from(label.share(k)));
    match norm {
        ErrorNorm::L1 => errors.map(f64::abs).sum(),
        ErrorNorm::L2 => errors.map(|e| e * e).sum::<f64>().sqrt(),
    }
}

/// Length of the gradient of the cross entropy with respect to weights and bias of a last linear layer with softmax, whose input is
/// `embedding`: `||p - q||_2 sqrt(||h||_2^2 + 1)`. NaN for a class that is no column.
pub fn last_layer_gradient(p: &[f64], label: &Label, embedding: &[f32]) -> f64 {
    let squared: f64 = embedding.iter().map(|h| f64::from(*h).powi(2)).sum();
    error_length(p, label, ErrorNorm::L2) * (squared + 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_values() {
        let p = [0.7, 0.2, 0.1];
        assert!((error_length(&p, &Label::Class(0), ErrorNorm::L2) - 0.14f64.sqrt()).abs() < 1e-12);
        assert!((error_length(&p, &Label::Class(2), ErrorNorm::L1) - 1.8).abs() < 1e-12);
        assert!((error_length(&p, &Label::Soft([0.5, 0.5, 0.0].into()), ErrorNorm::L2) - 0.14f64.sqrt()).abs() < 1e-7);
        assert!((last_layer_gradient(&p, &Label::Class(0), &[2.0, -2.0]) - 0.14f64.sqrt() * 3.0).abs() < 1e-12);
        assert!(
            error_length(&p, &Label::Class(3), ErrorNorm::L2).is_nan()
                && error_length(&[f64::NAN, 0.5], &Label::Class(1), ErrorNorm::L1).is_nan()
        );
        assert!((error_length(&[1.0, 0.0], &Label::Class(1), ErrorNorm::L2) - 2f64.sqrt()).abs() < 1e-12);
    }

    proptest! {
        /// The closed form is the length of the gradient that finite differences of the loss of `W h + b` find.
        #[test]
        fn grand_is_the_gradient_of_the_last_layer(w in prop::collection::vec(-1.0f64..1.0, 12), h in prop::collection::vec(-2.0f32..2.0, 3), class in 0usize..3) {
            // Three classes; each row is three weights and a bias.
            let loss = |w: &[f64]| {
                let z: Vec<f64> = w.chunks(4).map(|row| row[3] + row.iter().zip(&h).map(|(w, h)| w * f64::from(*h)).sum::<f64>()).collect();
                (z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[class], z)
            };
            let (_, z) = loss(&w);
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            let p: Vec<f64> = z.iter().map(|z| z.exp() / total).collect();
            let slope = |k: usize| {
                let (mut up, mut down) = (w.clone(), w.clone());
                up[k] += 1e-5;
                down[k] -= 1e-5;
                (loss(&up).0 - loss(&down).0) / 2e-5
            };
            let right = (0..12).map(|k| slope(k).powi(2)).sum::<f64>().sqrt();
            let found = last_layer_gradient(&p, &Label::Class(class), &h);
            prop_assert!((found - right).abs() < 1e-5, "{found} {right}");
        }
    }
}
