//! What the order of set-level guidance asks for: embeddings that are turned away from others, and gradients of several sizes of the picture.

use crate::{
    error::{Error, Result},
    model::{
        Gradients, Input, Model, Outputs, Pixels,
        preprocess::{ImageMap, MAX_SIDE},
    },
    sample::Modality,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What an attack ascends in place of a loss of the logits: `- sum_j cos(e, r_j)` of the embedding `e` of one modality and embeddings `r_j` that belong to it.
///
/// Source: Lu et al. 2023, "Set-level Guidance Attack", equations 1 to 3.
#[derive(Debug, Clone, PartialEq)]
pub struct Guide {
    /// Whose embedding is turned away.
    pub modality: Modality,
    /// From what: each as long as that embedding; one of length 0 says nothing.
    pub references: Vec<Vec<f32>>,
}

impl Guide {
    /// The value at an embedding, and its slope along that: 0 at an embedding of length 0.
    pub fn value(&self, embedding: &[f32]) -> (f32, Vec<f32>) {
        let length = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let own = length(embedding);
        let (mut value, mut slope) = (0.0, vec![0.0f64; embedding.len()]);
        for reference in &self.references {
            let other = length(reference);
            if own == 0.0 || other == 0.0 {
                continue;
            }
            let dot: f64 = embedding.iter().zip(reference).map(|(e, r)| f64::from(*e) * f64::from(*r)).sum();
            let cosine = dot / (own * other);
            value -= cosine;
            for ((s, e), r) in slope.iter_mut().zip(embedding).zip(reference) {
                *s -= (f64::from(*r) / other - cosine * f64::from(*e) / own) / own;
            }
        }
        (value as f32, slope.into_iter().map(|s| s as f32).collect())
    }

    /// The value at row `row` of a model's answer.
    pub(super) fn of(&self, seen: &Outputs, row: usize) -> Result<f32> {
        let of = seen.embeddings[self.modality].as_ref().filter(|of| row < of.rows());
        let of = of.ok_or_else(|| Error::model(format!("the model gave no embedding of {}", self.modality)))?;
        self.check(of.columns)?;
        Ok(self.value(of.row(row)).0)
    }

    fn check(&self, length: usize) -> Result<()> {
        match self.references.iter().find(|reference| reference.len() != length) {
            None => Ok(()),
            Some(other) => Err(Error::model(format!(
                "embeddings of one length are needed to be turned away from each other: that of {} has {length} numbers, the other {}",
                self.modality,
                other.len()
            ))),
        }
    }
}

/// Values of the guides at the points and their gradients, a row each.
pub(super) fn away(model: &dyn Model, points: &[Input], guides: &[&Guide]) -> Result<Gradients> {
    let Some(first) = guides.first() else { return Ok(Gradients::default()) };
    if guides.len() != points.len() || guides.iter().any(|guide| guide.modality != first.modality) {
        return Err(Error::internal("points are not guided alike"));
    }
    // Of what length an embedding was that a guide does not fit.
    let other = AtomicUsize::new(usize::MAX);
    let seen = model.embedding_gradient(points, first.modality, &|row, embedding| match guides.get(row) {
        Some(guide) if guide.check(embedding.len()).is_ok() => guide.value(embedding),
        _ => {
            other.store(embedding.len(), Ordering::Relaxed);
            (f32::NAN, vec![0.0; embedding.len()])
        }
    })?;
    match other.into_inner() {
        usize::MAX => Ok(seen),
        length => guides.iter().try_for_each(|guide| guide.check(length)).map(|()| seen),
    }
}

/// The gradients of `of` at copies of the pictures at these shares of their size, brought back to it, added to those at the points themselves; objective and
/// logits are those of the points. Gradients of other media are added as well: what is ascended is the sum over all copies.
///
/// Source: Lu et al. 2023, "Set-level Guidance Attack", section 4.2 (without the noise on the copies).
pub(super) fn scaled(points: &[Input], scales: &[f64], of: impl Fn(&[Input]) -> Result<Gradients>) -> Result<Gradients> {
    let mut sum = of(points)?;
    for scale in scales {
        let maps: Vec<Option<Copied>> =
            points.iter().map(|point| point.image.as_ref().map(|image| Copied::new(image, *scale)).transpose()).collect::<Result<_>>()?;
        let copy = |(point, map): (&Input, &Option<Copied>)| match (&point.image, map) {
            (Some(image), Some(map)) => Input { image: Some(Arc::new(map.apply(image))), ..point.clone() },
            _ => point.clone(),
        };
        let copies: Vec<Input> = points.iter().zip(&maps).map(copy).collect();
        let seen = of(&copies)?;
        for (row, map) in maps.iter().enumerate() {
            for modality in Modality::ALL {
                let Some(slope) = seen.of(modality, row) else { continue };
                let own = match (modality, map, points.get(row).and_then(|point| point.image.as_ref())) {
                    (Modality::Image, Some(map), Some(image)) => map.transpose(slope, image.channels),
                    _ => slope.to_vec(),
                };
                if let Some(Some(sum)) = sum.rows_mut(modality).get_mut(row) {
                    sum.iter_mut().zip(own).for_each(|(s, g)| *s += g);
                }
            }
        }
    }
    Ok(sum)
}

/// A picture made smaller or larger and brought back to its size: a linear map of each colour.
struct Copied {
    there: ImageMap,
    back: ImageMap,
}

impl Copied {
    fn new(image: &Pixels, scale: f64) -> Result<Self> {
        // No copy is larger than a picture may be; one that would be keeps its shape.
        let scale = scale.min(MAX_SIDE as f64 / image.width.max(image.height).max(1) as f64);
        let side = |own: usize| ((own as f64 * scale) as usize).clamp(1, MAX_SIDE);
        let (own, other) = ((image.width, image.height, 1), (side(image.width), side(image.height), 1));
        Ok(Self { there: ImageMap::new(own, other)?, back: ImageMap::new(other, own)? })
    }

    fn apply(&self, image: &Pixels) -> Pixels {
        // The filters are averages: what lies in 0..=1 stays there.
        let values = planes(&image.values, image.channels, |plane| self.back.apply(&self.there.apply(plane)));
        Pixels { values, ..*image }
    }

    fn transpose(&self, slope: &[f32], channels: usize) -> Vec<f32> {
        planes(slope, channels, |plane| self.there.transpose(&self.back.transpose(plane)))
    }
}

/// Each channel by itself; opacity stays as it is.
fn planes(values: &[f32], channels: usize, of: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let mut out = values.to_vec();
    for channel in 0..channels.min(3) {
        let plane: Vec<f32> = values.iter().skip(channel).step_by(channels).copied().collect();
        out.iter_mut().skip(channel).step_by(channels).zip(of(&plane)).for_each(|(o, v)| *o = v);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_no_larger_than_a_picture_may_be() {
        let wide = Pixels { width: 4100, height: 2, channels: 1, values: (0..8200).map(|i| (i % 7) as f32 / 7.0).collect() };
        let copied = Copied::new(&wide, 4.0).unwrap();
        assert!((16_000..=8 * MAX_SIDE).contains(&copied.there.len()), "{}", copied.there.len());
        assert_eq!(copied.apply(&wide).values.len(), 8200);
        let small = Pixels { width: 5, height: 2, channels: 1, values: vec![0.5; 10] };
        assert_eq!(Copied::new(&small, 4.0).unwrap().there.len(), 20 * 8);
    }
}
