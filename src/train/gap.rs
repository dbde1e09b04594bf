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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Trainable, TrainingBatch, linear::Linear},
        pipeline::{Plan, open_splits},
        progress::Silent,
        registry::Registry,
        sample::Modality,
    };
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn imbalanced_samples_count_more() {
        let written = json!({
            "version": 1, "name": "gaps", "seed": 1, "model": { "linear": {} },
            "data": { "train": { "manifest": { "path": "builtin:digits/train.jsonl" } }, "limit": 60 },
            "stages": [{ "score": { "loss": {} } }],
        });
        let plan = Plan::from_value(&written, Path::new("."), &Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"));
        let (split, ..) = open_splits(&plan.data, &Silent).unwrap();
        let mut trainer = Linear::default().trainer(split.profile()).unwrap();
        let order: Vec<usize> = (0..split.len()).collect();
        let mut asked = 0;
        split
            .stream(&order, 20, |batch| {
                let inputs: Vec<Input> = batch.iter().map(|(_, sample)| Input::of(sample)).collect();
                let targets: Vec<_> = batch.iter().map(|(_, sample)| sample.label.clone().unwrap()).collect();
                asked += batch.iter().map(|(_, sample)| sample.present().len() as u64).sum::<u64>();
                for _ in 0..10 {
                    let weights = vec![1.0; inputs.len()];
                    trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.02 })?;
                }
                Ok(())
            })
            .unwrap();
        let model = trainer.freeze().unwrap();
        let of = |strength| gap_weights(model.clone(), &split, strength).unwrap();
        assert!(of(0.0).weights.iter().all(|weight| (*weight - 1.0).abs() < 1e-6));
        let found = of(3.0);
        let mean = found.weights.iter().sum::<f32>() / found.weights.len() as f32;
        let (least, most) = found.weights.iter().fold((f32::MAX, 0f32), |(l, m), w| (l.min(*w), m.max(*w)));
        assert!((mean - 1.0).abs() < 1e-5 && least > 0.0 && most / least > 2.0 && most / least <= 4.0 + 1e-4, "{mean} {least} {most}");
        assert_eq!(found.forward, asked);
        // The sample with the largest gap weighs most.
        let gap = |i: usize| {
            let sample = crate::context::Fetch::fetch(&split, &split.entry(i).id).unwrap();
            let p: Vec<f32> = Modality::ALL
                .into_iter()
                .filter(|m| sample.present().has(*m))
                .map(|m| {
                    let alone = Input::of(&sample).only(ModalitySet::one(m));
                    measure::confidence(model.forward(&[alone]).unwrap().logits.row(0), sample.label.as_ref().unwrap().class())
                })
                .collect();
            if p.len() < 2 { 0.0 } else { p.iter().fold(0f32, |m, v| m.max(*v)) - p.iter().fold(1f32, |m, v| m.min(*v)) }
        };
        let widest = (0..split.len()).max_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap();
        assert!((found.weights[widest] - most).abs() < 1e-5);
    }
}
