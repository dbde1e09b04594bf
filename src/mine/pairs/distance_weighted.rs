use super::{
    Triplet,
    compare::{Compare, distance},
};
use crate::{
    error::{Error, Problem, Result},
    random::SeedTree,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// How [`distance_weighted`] weighs negatives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistanceWeighting {
    /// Nearer negatives weigh what one at this distance does; above 0 and below 2. Keeps the variance of the gradient low.
    pub nearest: f32,
    /// Negatives farther than this weigh nothing, their loss is 0; above `nearest`, at most 2.
    pub farthest: f32,
}

impl Default for DistanceWeighting {
    fn default() -> Self {
        Self { nearest: 0.5, farthest: 1.4 }
    }
}

impl DistanceWeighting {
    fn checked(self) -> Result<Self> {
        let mut problems = Vec::new();
        if !(self.nearest > 0.0 && self.nearest < 2.0) {
            problems.push(Problem::new("nearest", format!("expected a distance above 0 and below 2, found {}", self.nearest)));
        }
        if !(self.farthest > self.nearest && self.farthest <= 2.0) {
            problems.push(Problem::new("farthest", format!("expected a distance above `nearest`, at most 2, found {}", self.farthest)));
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(Error::usage(told.join("; ")))
        }
    }
}

/// The logarithm of the weight of a negative at distance `d` (`0..=2`) on a sphere of `dim` dimensions: `(2 - dim) ln d - (dim - 3) / 2 ln(1 - d^2 / 4)`,
/// the inverse of how often such a distance occurs by chance. `d` is raised to `nearest`; `None` beyond `farthest`.
fn log_weight(d: f32, dim: usize, weighting: DistanceWeighting) -> Option<f64> {
    if d.is_nan() || d > weighting.farthest {
        return None;
    }
    let (d, dim) = (f64::from(d.max(weighting.nearest)), dim as f64);
    let log = (2.0 - dim) * d.ln() - (dim - 3.0) / 2.0 * (1.0 - d * d / 4.0).ln();
    // Only `d = 2`, where the sphere ends, gives an infinite one: no such negative is wanted.
    log.is_finite().then_some(log)
}

/// The weights of negatives at these distances (`0..=2`), scaled so that they sum to 1; all 0 where none lies within reach. `dim` is the dimension of the
/// embeddings. Fails for a wrong `weighting`.
pub fn distance_weights(distances: &[f32], dim: usize, weighting: DistanceWeighting) -> Result<Vec<f64>> {
    let weighting = weighting.checked()?;
    Ok(weights(distances.iter().copied(), dim, weighting))
}

fn weights(distances: impl Iterator<Item = f32>, dim: usize, weighting: DistanceWeighting) -> Vec<f64> {
    let logs: Vec<Option<f64>> = distances.map(|d| log_weight(d, dim, weighting)).collect();
    let greatest = logs.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = logs.into_iter().map(|log| log.map_or(0.0, |log| (log - greatest).exp())).collect();
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    weights
}

/// For each pair of an anchor and a row of its class one negative, drawn so that all distances are about equally frequent. An anchor none of whose
/// negatives lies within reach draws from all of them alike. The draws of an anchor hang on `seeds` and on its id (on its row where there are no ids).
///
/// Reference: Wu, Manmatha, Smola and Krähenbühl, Sampling Matters in Deep Embedding Learning, 2017.
pub fn distance_weighted(compare: Compare<'_>, weighting: DistanceWeighting, seeds: &SeedTree) -> Result<Vec<Triplet>> {
    let weighting = weighting.checked()?;
    let dim = compare.anchors.dim();
    let found = compare.rows(|row| {
        let (positives, negatives): (Vec<u32>, Vec<u32>) = row.allowed().partition(|reference| row.same(*reference));
        if positives.is_empty() || negatives.is_empty() {
            return Vec::new();
        }
        let weights = weights(negatives.iter().map(|n| distance(row.cosines[*n as usize])), dim, weighting);
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        let mut rng = compare.seeds(seeds, row.anchor).rng();
        let mut draw = || {
            if sum == 0.0 {
                return negatives[rng.random_range(0..negatives.len() as u64) as usize];
            }
            let place = rng.random::<f64>() * sum;
            // Rounding can put the place on the last sum: the last row that weighs anything is meant.
            let behind = sums.partition_point(|s| *s <= place).min(sums.partition_point(|s| *s < sum));
            negatives[behind]
        };
        positives.iter().map(|positive| Triplet { anchor: row.anchor, positive: *positive, negative: draw() }).collect()
    })?;
    Ok(found.into_iter().flatten().collect())
}
