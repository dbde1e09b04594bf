//! Modality-gap weights: samples whose modalities disagree on the label count more.

use crate::{
    diagnose::{Shape, two_components},
    error::Result,
    model::{Input, Model, measure},
    pipeline::Split,
    sample::ModalitySet,
};
use std::sync::Arc;

/// Samples asked together; bounds the media in memory.
const BATCH: usize = 256;
/// Steps of the expectation maximisation.
const ITERATIONS: usize = 20;

/// A weight for each sample of a split, and what it cost.
pub(super) struct GapWeights {
    pub weights: Vec<f32>,
    /// Forward evaluations.
    pub forward: u64,
}

/// `1 + strength P(imbalanced)` of each labelled sample with at least two modalities, divided by the mean of all; 1 before that for the others. The gap is the largest
/// difference between the label's probabilities from one modality alone; where the gaps are all alike, every weight is 1.
///
/// Reference: Xu et al. 2025, arXiv 2510.21797, which fits the mixture to the signed gap of two modalities; the largest difference serves any number.
pub(super) fn gap_weights(model: Arc<dyn Model>, split: &Split, strength: f64) -> Result<GapWeights> {
    let reads = model.spec().modalities;
    let mut gaps: Vec<(usize, f32)> = Vec::new();
    let mut forward = 0;
    let order: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
    split.stream(&order, BATCH, |batch| {
        let mut least = vec![f64::INFINITY; batch.len()];
        let mut most = vec![f64::NEG_INFINITY; batch.len()];
        let mut known = vec![0usize; batch.len()];
        for modality in reads.iter() {
            let of: Vec<usize> = (0..batch.len()).filter(|&at| batch[at].1.present().has(modality)).collect();
            let inputs: Vec<Input> = of.iter().map(|&at| Input::of(&batch[at].1.only(ModalitySet::one(modality)))).collect();
            forward += inputs.len() as u64;
            let logits = model.forward(&inputs)?.logits;
            for (row, at) in of.into_iter().enumerate() {
                let Some(label) = &batch[at].1.label else { continue };
                let p = measure::probabilities(logits.row(row));
                let own: f64 = p.iter().enumerate().map(|(k, p)| p * f64::from(label.share(k))).sum();
                (least[at], most[at], known[at]) = (least[at].min(own), most[at].max(own), known[at] + 1);
            }
        }
        gaps.extend((0..batch.len()).filter(|&at| known[at] > 1).map(|at| (batch[at].0, (most[at] - least[at]) as f32)));
        Ok(())
    })?;
    let values: Vec<f32> = gaps.iter().map(|(_, gap)| *gap).collect();
    let mut weights = vec![1.0f32; split.len()];
    if let Some(mixture) = two_components(&values, Shape::Gaussian, ITERATIONS) {
        for ((i, _), balanced) in gaps.iter().zip(&mixture.clean_probability) {
            weights[*i] = (1.0 + strength * (1.0 - balanced)) as f32;
        }
        let mean = order.iter().map(|&i| f64::from(weights[i])).sum::<f64>() / order.len().max(1) as f64;
        weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / mean) as f32);
    }
    Ok(GapWeights { weights, forward })
}
