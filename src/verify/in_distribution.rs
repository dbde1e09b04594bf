//! Whether a child looks like real data to the model.

use super::Verifier;
use crate::{
    context::{EmbeddingIndex, Judged, VerifyContext},
    error::{Error, Problem, Result},
    nearest::{Neighbour, nearest, normalise},
    operator::{Configure, Requirements, Table},
    sample::{Claim, Modality, PerModality, Verdict},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Validation samples with a modality from which on they, and not the training samples, say how far real media lie.
const ENOUGH: usize = 50;

/// The changed media of a child lie no farther from the real ones than real ones do, and where they were decoded to.
///
/// Method: of each medium that the child does not share with its parent, the Euclidean distance between its embedding by the subject (scaled to length 1) and the `neighbours`-th nearest
/// of the training samples, the parent and those that share its medium left out, must be at most the `quantile` of the same distance of real samples: of the validation split, whose media
/// are as new to the model as the child's, or where fewer than 50 of them have the modality, of the training split without each itself. A medium that claims to be
/// decoded from a latent must also be encoded to within the claimed distance of it (the round trip of the decoder). A modality with too few samples to compare with passes.
///
/// Reference: Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InDistribution {
    /// Which nearest neighbour is measured to, 1..=100.
    pub neighbours: usize,
    /// Quantile of the distances of real samples, 0.5..=1.
    pub quantile: f64,
}

impl Default for InDistribution {
    fn default() -> Self {
        Self { neighbours: 5, quantile: 0.99 }
    }
}

impl Configure<dyn Verifier> for InDistribution {
    const NAME: &'static str = "in_distribution";
    const EXAMPLE: &'static str = "{ neighbours: 5, quantile: 0.99 }";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.neighbours) {
            problems.push(Problem::new("neighbours", format!("expected a whole number in 1..=100, found {}", self.neighbours)));
        }
        if !(0.5..=1.0).contains(&self.quantile) {
            problems.push(Problem::new("quantile", format!("expected 0.5..=1, found {}", self.quantile)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// The training embeddings of one modality, each of length 1, and the limit.
struct Reference {
    dimensions: usize,
    keys: Vec<f32>,
    limit: f64,
}

type Embeddings = [PerModality<Option<Arc<[f32]>>>];

/// All embeddings of a modality, one after another, each of length 1.
fn rows(of: &Embeddings, modality: Modality, dimensions: usize) -> Vec<f32> {
    let mut rows: Vec<f32> =
        of.iter().filter_map(|of| of[modality].as_deref().filter(|e| e.len() == dimensions)).flatten().copied().collect();
    normalise(&mut rows, dimensions);
    rows
}

/// Neighbours that are looked at beyond the wanted one: the inner products that find them are rounded, and differently in another batch.
const SPARE: usize = 4;

impl Reference {
    /// For each query the distance to the `k`-th nearest key that `differs` from it; `None` where there are fewer.
    fn distances(&self, queries: &[f32], k: usize, differs: impl Fn(usize, &[f32]) -> bool + Sync) -> Vec<Option<f64>> {
        let key = |at: usize| &self.keys[at * self.dimensions..(at + 1) * self.dimensions];
        let found = nearest(queries, &self.keys, self.dimensions, k + SPARE, |query, at| differs(query, key(at)));
        let exact = |(query, near): (&[f32], Vec<Neighbour>)| {
            let square = |at: usize| query.iter().zip(key(at)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
            let mut squares: Vec<f64> = near.into_iter().map(|neighbour| square(neighbour.row)).collect();
            squares.sort_by(f64::total_cmp);
            squares.get(k - 1).map(|square| square.sqrt())
        };
        queries.chunks_exact(self.dimensions).zip(found).map(exact).collect()
    }
}

impl InDistribution {
    /// What real media of a modality look like; `None` where there are too few. Computed once a round.
    fn reference(&self, index: &EmbeddingIndex, modality: Modality) -> Result<Arc<Option<Reference>>> {
        let (k, q) = (self.neighbours, self.quantile);
        index.once(&format!("in_distribution.{modality}.{k}.{q}"), || {
            let Some(dimensions) = index.train.iter().find_map(|of| of[modality].as_ref()).map(|e| e.len()).filter(|n| *n > 0) else {
                return Ok(None);
            };
            let keys = rows(&index.train, modality, dimensions);
            let mut reference = Reference { dimensions, keys, limit: 0.0 };
            let held_out = rows(&index.validation, modality, dimensions);
            let queries = if held_out.len() / dimensions >= ENOUGH { held_out } else { reference.keys.clone() };
            let query = |at: usize| &queries[at * dimensions..(at + 1) * dimensions];
            let mut real: Vec<f64> = reference.distances(&queries, k, |at, key| query(at) != key).into_iter().flatten().collect();
            real.sort_by(f64::total_cmp);
            let at = (q * real.len() as f64).ceil() as usize;
            let Some(limit) = at.checked_sub(1).and_then(|at| real.get(at)) else { return Ok(None) };
            reference.limit = *limit;
            Ok(Some(reference))
        })
    }
}

impl Verifier for InDistribution {
    fn requirements(&self) -> Requirements {
        Requirements { embedding_index: true, ..Requirements::default() }
    }

    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let index = context.index.ok_or_else(|| Error::usage("`in_distribution` needs the embedding index of the round"))?;
        let answers = context.forwards.subject()?;
        let mut verdicts: Vec<Option<Verdict>> = vec![None; candidates.len()];
        // Of several media the one that is farthest out, by its share of the limit.
        let mut worst: Vec<Option<(f64, f64)>> = vec![None; candidates.len()];
        for modality in Modality::ALL {
            let changed = |judged: &Judged<'_>| {
                let own = judged.candidate.sample.digest(modality);
                own.is_some() && own != judged.parent.sample.digest(modality)
            };
            let of: Vec<(usize, &[f32])> = (0..candidates.len())
                .filter(|&i| changed(&candidates[i]))
                .filter_map(|i| Some((i, answers.embedding(modality, i)?)))
                .collect();
            for (i, own) in &of {
                verdicts[*i] = verdicts[*i].take().or_else(|| off_target(&candidates[*i], modality, own, context.stage));
            }
            let reference = if of.is_empty() { continue } else { self.reference(index, modality)? };
            let Some(reference) = reference.as_ref() else { continue };
            let mut queries: Vec<f32> = of.iter().flat_map(|(_, own)| own.iter().copied()).collect();
            if queries.len() != of.len() * reference.dimensions {
                return Err(Error::model(format!("{modality} embeddings have another size than those of the round")));
            }
            normalise(&mut queries, reference.dimensions);
            let unit = |of: &Judged<'_>| {
                let mut own = index.train.get(of.parent.row).and_then(|of| of[modality].as_deref()).unwrap_or_default().to_vec();
                normalise(&mut own, reference.dimensions);
                own
            };
            let parents: Vec<Vec<f32>> = of.iter().map(|(i, _)| unit(&candidates[*i])).collect();
            let found = reference.distances(&queries, self.neighbours, |at, key| parents[at] != key);
            for ((i, _), found) in of.iter().zip(found) {
                let Some(found) = found else { continue };
                if !found.is_finite() {
                    verdicts[*i] = Some(Verdict::fail(context.stage, "distance_not_finite", None, Some(reference.limit)));
                } else if worst[*i].is_none_or(|(value, limit)| found * limit > value * reference.limit) {
                    worst[*i] = Some((found, reference.limit));
                }
            }
        }
        let judge = |(verdict, worst): (Option<Verdict>, Option<(f64, f64)>)| match (verdict, worst) {
            (Some(failed), _) => failed,
            (None, Some((value, limit))) if value > limit => Verdict::fail(context.stage, "out_of_distribution", Some(value), Some(limit)),
            (None, Some((value, limit))) => Verdict::pass(context.stage, "in_distribution", Some(value), Some(limit)),
            (None, None) => Verdict::pass(context.stage, "not_applicable", None, None),
        };
        Ok(verdicts.into_iter().zip(worst).map(judge).collect())
    }
}

/// A failure where a medium is not encoded to where it says it was decoded from.
fn off_target(judged: &Judged<'_>, modality: Modality, own: &[f32], stage: &str) -> Option<Verdict> {
    let claim = judged.candidate.lineage.claims.iter().find_map(|claim| match claim {
        Claim::Decoded { modality: of, latent, tolerance } if *of == modality => Some((latent, *tolerance)),
        _ => None,
    })?;
    let (latent, tolerance) = claim;
    if latent.len() != own.len() {
        return Some(Verdict::fail(stage, "latent_of_another_model", None, None));
    }
    let away = own.iter().zip(latent).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt();
    (away.is_nan() || away > tolerance).then(|| Verdict::fail(stage, "off_target", Some(away).filter(|v| v.is_finite()), Some(tolerance)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::Sample,
        verify::fixture::{Bench, expected, sample},
    };
    use serde_json::json;

    /// Sixty images around one direction, each a little off it.
    fn crowd(bench: &mut Bench) {
        let one = |i: u8| Bench::embeddings(&sample("t", [100 + i % 8, 100 + (i / 8) % 8, 100, 100], [0.0; 4]));
        bench.index.train = std::iter::once(Bench::embeddings(&bench.parent.sample)).chain((1..60).map(one)).collect();
    }

    fn child(pixels: [u8; 4]) -> (Sample, Vec<Claim>) {
        (sample("c", pixels, [0.0; 4]), Vec::new())
    }

    #[test]
    fn a_child_may_lie_as_far_out_as_real_samples_do() {
        let mut bench = Bench::new();
        assert_eq!(bench.reasons(&InDistribution::default(), vec![child([103; 4])]), expected([(true, "not_applicable")]));
        bench.index = crate::context::EmbeddingIndex::default();
        crowd(&mut bench);
        let shared = (bench.parent.sample.clone(), Vec::new());
        let found = bench.reasons(&InDistribution::default(), vec![child([104, 103, 100, 101]), child([255, 0, 0, 9]), shared]);
        assert_eq!(found, expected([(true, "in_distribution"), (false, "out_of_distribution"), (true, "not_applicable")]));
        let verdict = bench.judge(&InDistribution::default(), vec![child([255, 0, 0, 9])]).remove(0);
        // The fifth nearest of the crowd has a cosine near 0.54.
        assert!((verdict.value.unwrap() - 0.96).abs() < 0.02 && verdict.limit.unwrap() < 0.05, "{verdict:?}");
    }

    #[test]
    fn validation_says_how_far_new_media_lie() {
        let mut bench = Bench::new();
        crowd(&mut bench);
        bench.index.validation = (0..60u8).map(|i| Bench::embeddings(&sample("v", [120 + i, 100, 100, 100], [0.0; 4]))).collect();
        let far = || vec![child([150, 100, 100, 100])];
        assert_eq!(bench.reasons(&InDistribution::default(), far()), expected([(true, "in_distribution")]));
        bench.index = crate::context::EmbeddingIndex::default();
        crowd(&mut bench);
        assert_eq!(bench.reasons(&InDistribution::default(), far()), expected([(false, "out_of_distribution")]));
    }

    #[test]
    fn a_decoded_medium_comes_back_to_its_latent() {
        let bench = Bench::new();
        let claim = |latent: Vec<f32>, tolerance| vec![Claim::Decoded { modality: Modality::Image, latent, tolerance }];
        let at = |value: f32| vec![value; 4];
        let made = |claims| (sample("c", [102; 4], [0.0; 4]), claims);
        // The embedding is the pixels: 0.4 each. 0.45 is 0.1 away in four dimensions.
        let children =
            vec![made(claim(at(0.45), 0.11)), made(claim(at(0.45), 0.09)), made(claim(vec![0.4], 1.0)), made(claim(at(f32::NAN), 1.0))];
        let found = bench.reasons(&InDistribution::default(), children);
        let wanted = [(true, "not_applicable"), (false, "off_target"), (false, "latent_of_another_model"), (false, "off_target")];
        assert_eq!(found, expected(wanted));
    }

    #[test]
    fn wrong_fields_are_problems() {
        let problems = crate::verify::table().build(&json!({ "in_distribution": { "neighbours": 0, "quantile": 1.5 } })).err().unwrap();
        let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["in_distribution.neighbours", "in_distribution.quantile"]);
    }
}
