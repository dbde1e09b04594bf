use super::{
    Miner,
    draw::draw_without_replacement,
    rank::{Eligible, USUAL_BAND, Weighting, eligible, frozen_band, harder, selection, unit},
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::Fraction,
};
use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Logarithms of the weights of `n` losses from the smallest to the largest: `(1/keep - 1) ln((r + 0.5) / n)`.
pub(super) fn rank_log_weights(n: usize, keep: f64) -> Vec<f64> {
    (0..n).map(|r| (1.0 / keep - 1.0) * ((r as f64 + 0.5) / n as f64).ln()).collect()
}

/// Selective backpropagation of one batch: `floor(keep * n)` of the `n` losses that are not NaN, drawn without replacement with a probability
/// proportional to `q^(1/keep - 1)`, `q = (rank + 0.5) / n` (rank 0 is the smallest; equal losses by index). Indices in ascending order.
/// `keep` is a share above 0 and at most 1; others are taken for the nearer end.
///
/// Source: Composer's selective backprop (MosaicML), after Jiang et al., "Accelerating Deep Learning by Focusing on the Biggest Losers", 2019.
pub fn selective_backprop<R: Rng + ?Sized>(losses: &[f32], keep: f64, rng: &mut R) -> Vec<usize> {
    let keep = keep.clamp(f64::MIN_POSITIVE, 1.0);
    let mut order: Vec<usize> = (0..losses.len()).filter(|i| !losses[*i].is_nan()).collect();
    order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    let count = (keep * order.len() as f64).floor() as usize;
    let ranks = draw_without_replacement(&rank_log_weights(order.len(), keep), count, |_| rng.random());
    let mut chosen: Vec<usize> = ranks.into_iter().map(|rank| order[rank]).collect();
    chosen.sort_unstable();
    chosen
}

/// The last losses that were seen, for the probability of a backward pass: `CDF(loss)^beta`. Bounded memory.
///
/// Source: Jiang et al., "Accelerating Deep Learning by Focusing on the Biggest Losers", 2019.
#[derive(Debug, Clone, PartialEq)]
pub struct LossHistory {
    capacity: usize,
    seen: VecDeque<f32>,
    sorted: Vec<f32>,
}

impl LossHistory {
    /// A history of the last `capacity` losses, at least 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), seen: VecDeque::new(), sorted: Vec::new() }
    }

    /// Takes a loss in and drops the oldest where it is full. NaN is not taken in.
    pub fn push(&mut self, loss: f32) {
        if loss.is_nan() {
            return;
        }
        if self.seen.len() == self.capacity
            && let Some(oldest) = self.seen.pop_front()
        {
            let place = self.sorted.partition_point(|other| other.total_cmp(&oldest).is_lt());
            self.sorted.remove(place);
        }
        self.seen.push_back(loss);
        self.sorted.insert(self.sorted.partition_point(|other| other.total_cmp(&loss).is_le()), loss);
    }

    /// The probability that a sample of this loss is trained on: the share of the history that is not above it, to the power `beta` (at
    /// least 0; larger is more selective). 1 while nothing was seen, 0 for NaN.
    pub fn probability(&self, loss: f32, beta: f64) -> f64 {
        if loss.is_nan() {
            return 0.0;
        }
        if self.sorted.is_empty() {
            return 1.0;
        }
        let below = self.sorted.partition_point(|other| *other <= loss);
        (below as f64 / self.sorted.len() as f64).powf(beta)
    }
}

/// How [`Weighted`] draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightedKind {
    /// A stated share, drawn without replacement with a probability that grows with the rank.
    #[default]
    Rank,
    /// Each by itself, with the probability `CDF(score)^beta`.
    Cdf,
}

/// Draws samples with a probability that grows with their hardness, so that easy ones are still seen now and then.
///
/// Method: `rank` draws `floor(keep * n)` of the `n` valuable samples without replacement, with a probability proportional to
/// `q^(1/keep - 1)`, `q = (rank + 0.5) / n`, rank 0 the easiest, equal scores by id. `cdf` takes each by itself with the probability
/// `(share of the scores not above its own)^beta`. A sample's random number is addressed by its id and the round.
///
/// Reference: Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, 2019; MosaicML Composer, Selective Backprop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Weighted {
    /// Score column to rank by; larger is harder.
    pub by: String,
    /// How it is drawn.
    pub kind: WeightedKind,
    /// With `rank`: share to draw, above 0 and at most 1. Absent for 0.5.
    pub keep: Option<Fraction>,
    /// With `cdf`: exponent, 0..=100; 0 takes all, larger is more selective. Absent for 1.
    pub beta: Option<f64>,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Weighted {
    fn default() -> Self {
        Self { by: "loss".into(), kind: WeightedKind::Rank, keep: None, beta: None, weights: Weighting::Neutral }
    }
}

impl Configure<dyn Miner> for Weighted {
    const NAME: &'static str = "weighted";
    const EXAMPLE: &'static str = "{ by: loss, kind: rank, keep: 0.5 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.keep.is_some_and(|keep| keep.get() == 0.0) {
            problems.push(Problem::new("keep", "nothing would be drawn; expected a fraction above 0 and at most 1"));
        }
        if let Some(beta) = self.beta.filter(|beta| !(0.0..=100.0).contains(beta)) {
            problems.push(Problem::new("beta", format!("expected a number in 0..=100, found {beta}")));
        }
        match self.kind {
            WeightedKind::Rank if self.beta.is_some() => {
                problems.push(Problem::new("beta", "`rank` has no such parameter; write `kind: cdf`"))
            }
            WeightedKind::Cdf if self.keep.is_some() => {
                problems.push(Problem::new("keep", "`cdf` has no such parameter; write `kind: rank`"))
            }
            _ => {}
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// [`selective_backprop`] of rows, with random numbers addressed by id.
pub(super) fn drawn_by_rank(table: &ScoreTable, mut rows: Vec<Eligible>, keep: f64, context: &MineContext<'_>) -> Vec<Eligible> {
    rows.sort_unstable_by(|a, b| harder(table)(b, a));
    let count = (keep * rows.len() as f64).floor() as usize;
    let uniform = |rank: usize| unit(&context.seeds, &table.rows()[rows[rank].row].id);
    draw_without_replacement(&rank_log_weights(rows.len(), keep), count, uniform).into_iter().map(|rank| rows[rank]).collect()
}

impl Miner for Weighted {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let rows = eligible(table, diagnoses, &self.by)?;
        let chosen = match self.kind {
            WeightedKind::Rank => drawn_by_rank(table, rows, self.keep.map_or(0.5, Fraction::get), context),
            WeightedKind::Cdf => {
                let mut history = LossHistory::new(rows.len());
                history.seen.extend(rows.iter().map(|one| one.score));
                history.sorted = rows.iter().map(|one| one.score).collect();
                history.sorted.sort_unstable_by(f32::total_cmp);
                let taken = |one: &Eligible| {
                    unit(&context.seeds, &table.rows()[one.row].id) < history.probability(one.score, self.beta.unwrap_or(1.0))
                };
                rows.into_iter().filter(taken).collect()
            }
        };
        let band = frozen_band(table, diagnoses, &self.by, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, self.weights, context.stage, band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    #[test]
    fn the_weights_of_the_ranks() {
        // keep 0.5: q^1; keep 0.25: q^3; keep 1: all alike.
        let shares = |keep| rank_log_weights(4, keep).into_iter().map(f64::exp).collect::<Vec<_>>();
        for (found, right) in shares(0.5).into_iter().zip([0.125, 0.375, 0.625, 0.875]) {
            assert!((found - right).abs() < 1e-12);
        }
        assert!((shares(0.25)[1] - 0.375f64.powi(3)).abs() < 1e-12 && shares(1.0) == [1.0; 4]);
    }

    #[test]
    fn the_harder_of_two_is_drawn_three_times_as_often() {
        // Two losses, keep 0.5: q = 1/4 and 3/4, one is drawn.
        let mut rng = SeedTree::new(3).rng();
        let hard = (0..20_000).filter(|_| selective_backprop(&[2.0, 0.5], 0.5, &mut rng) == [0]).count();
        assert!((hard as f64 / 20_000.0 - 0.75).abs() < 0.019, "{hard}");
        assert_eq!(selective_backprop(&[f32::NAN, 1.0, 2.0], 1.0, &mut rng), [1, 2]);
        // As in the reference, the product is cut off: 0.29 * 100 is a hair below 29.
        assert_eq!(selective_backprop(&[1.0; 100], 0.29, &mut rng).len(), 28);
        assert!(selective_backprop(&[], 0.5, &mut rng).is_empty() && selective_backprop(&[1.0], f64::NAN, &mut rng).is_empty());
    }

    #[test]
    fn the_history_is_a_window() {
        let mut history = LossHistory::new(4);
        assert_eq!(history.probability(0.1, 2.0), 1.0);
        [9.0, 1.0, f32::NAN, 2.0, 2.0, 4.0].into_iter().for_each(|loss| history.push(loss));
        // 1 2 2 4 are left.
        assert_eq!([0.5, 1.0, 2.0, 3.0, 9.0].map(|loss| history.probability(loss, 1.0)), [0.0, 0.25, 0.75, 0.75, 1.0]);
        assert_eq!((history.probability(2.0, 2.0), history.probability(f32::NAN, 1.0)), (0.5625, 0.0));
    }

    proptest! {
        #[test]
        fn as_many_as_asked(losses in prop::collection::vec(0f32..9.0, 0..60), keep in 0.001f64..=1.0, seed in any::<u64>()) {
            let found = selective_backprop(&losses, keep, &mut SeedTree::new(seed).rng());
            prop_assert_eq!(found.len(), (keep * losses.len() as f64).floor() as usize);
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]) && found.iter().all(|i| *i < losses.len()));
        }
    }
}
