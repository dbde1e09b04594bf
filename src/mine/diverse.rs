use super::{
    Miner,
    rank::{USUAL_BAND, Weighting, eligible, frozen_band, harder, hardest, selection},
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::Fraction,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows of one task; a constant, so that nothing depends on it.
const BLOCK: usize = 1024;

/// Up to `k` of the rows (`dim` numbers each), each as far as possible from those before it, beginning with `first` (usually the hardest): the row
/// whose nearest chosen one is the farthest, by Euclidean distance, equal ones by index. In the order of choice. Ends early where only doubles
/// of chosen rows are left; a row that is not finite is never chosen, and a `first` that does not exist or is not finite gives nothing.
/// `O(n k dim)` and one number a row.
///
/// Source: Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", 1985; Sener and Savarese, "Active Learning for Convolutional
/// Neural Networks: A Core-Set Approach", 2018.
pub fn farthest_first(rows: &[f32], dim: usize, first: usize, k: usize) -> Vec<usize> {
    let n = rows.len().checked_div(dim).unwrap_or(0);
    let row = |i: usize| &rows[i * dim..][..dim];
    let finite = |i: usize| row(i).iter().all(|v| v.is_finite());
    if first >= n || k == 0 || !finite(first) {
        return Vec::new();
    }
    // Below zero: never to be chosen again, or at all.
    let mut nearest: Vec<f64> = (0..n).map(|i| if finite(i) { f64::INFINITY } else { -1.0 }).collect();
    let (mut chosen, mut last) = (vec![first], first);
    nearest[first] = -1.0;
    while chosen.len() < k {
        let centre = row(last);
        let farthest = |(block, part): (usize, &mut [f64])| {
            let mut best = (0.0, usize::MAX);
            for (at, distance) in part.iter_mut().enumerate().filter(|(_, distance)| **distance >= 0.0) {
                let i = block * BLOCK + at;
                let square = row(i).iter().zip(centre).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
                *distance = distance.min(square);
                if *distance > best.0 {
                    best = (*distance, i);
                }
            }
            best
        };
        let of_blocks: Vec<(f64, usize)> = nearest.par_chunks_mut(BLOCK).enumerate().map(farthest).collect();
        let (distance, next) = of_blocks.into_iter().fold((0.0, usize::MAX), |best, one| if one.0 > best.0 { one } else { best });
        if distance <= 0.0 {
            break;
        }
        nearest[next] = -1.0;
        chosen.push(next);
        last = next;
    }
    chosen
}

/// Chooses hard samples that are hard in different ways.
///
/// Method: of the `ceil(pool * n)` hardest valuable samples, the hardest is taken, then again and again the one that is farthest from the nearest of
/// those taken, until there are `ceil(fraction * n)`. The distance is the Euclidean one between the columns of `space`, each scaled to mean 0 and
/// standard deviation 1 over the pool; an absent score stands at the mean. Equal distances go to the harder one, then by id. Doubles of what
/// was taken are never taken.
///
/// Reference: Gonzalez, Clustering to Minimize the Maximum Intercluster Distance, 1985; Sener, Savarese, Active Learning for Convolutional
/// Neural Networks: A Core-Set Approach, 2018.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diverse {
    /// Score column to rank by; larger is harder.
    #[serde(default = "loss")]
    pub by: String,
    /// Score columns, of any kind, between which distances are measured; at least one.
    pub space: Vec<String>,
    /// Share of the hardest samples to choose from, above 0 and at most 1.
    #[serde(default = "usual_pool")]
    pub pool: Fraction,
    /// Share to take, above 0 and at most `pool`.
    #[serde(default = "usual_fraction")]
    pub fraction: Fraction,
    /// Weight of the chosen in training.
    #[serde(default)]
    pub weights: Weighting,
}

fn loss() -> String {
    "loss".into()
}

fn usual_pool() -> Fraction {
    Fraction::new(0.4).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

fn usual_fraction() -> Fraction {
    Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

impl Configure<dyn Miner> for Diverse {
    const NAME: &'static str = "diverse";
    const EXAMPLE: &'static str = "{ by: loss, space: [entropy, inconsistency], pool: 0.4, fraction: 0.2 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.space.is_empty() {
            problems.push(Problem::new("space", "expected at least one score column, found none"));
        }
        if let Some(i) = (0..self.space.len()).find(|i| self.space[..*i].contains(&self.space[*i])) {
            problems.push(Problem::new(format!("space[{i}]"), format!("the column `{}` is listed twice", self.space[i])));
        }
        if self.fraction.get() == 0.0 {
            problems.push(Problem::new("fraction", "nothing would be chosen; expected a fraction above 0 and at most `pool`"));
        }
        if self.fraction > self.pool {
            let (pool, fraction) = (self.pool.get(), self.fraction.get());
            problems.push(Problem::new("fraction", format!("expected at most `pool` ({pool}), found {fraction}")));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Miner for Diverse {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], evidence: self.space.clone(), ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let rows = eligible(table, diagnoses, &self.by)?;
        let share = |fraction: Fraction| (fraction.get() * rows.len() as f64 - 1e-9).ceil() as usize;
        let (pool, wanted) = (share(self.pool), share(self.fraction));
        let mut pool = hardest(table, rows, pool);
        pool.sort_unstable_by(harder(table));
        let dim = self.space.len();
        let mut points = vec![0.0f32; pool.len() * dim];
        for (d, column) in self.space.iter().enumerate() {
            let scores = table.require(column)?;
            let known = || pool.iter().enumerate().filter_map(|(i, one)| Some((i, f64::from(scores[one.row].get()?))));
            let n = known().count().max(1) as f64;
            let mean = known().map(|(_, v)| v).sum::<f64>() / n;
            let spread = (known().map(|(_, v)| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            // A column in which all are alike tells none apart.
            if spread > 0.0 {
                known().for_each(|(i, v)| points[i * dim + d] = ((v - mean) / spread) as f32);
            }
        }
        let chosen = farthest_first(&points, dim, 0, wanted).into_iter().map(|i| pool[i]).collect();
        let band = frozen_band(table, diagnoses, &self.by, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, self.weights, context.stage, band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn points_on_a_line() {
        // From 0 the farthest is 10, then 5 (5 from both), then 2 and 8 tie at 2 and 2: the first; the double of 10 and NaN never.
        let rows = [0.0, 2.0, 5.0, 8.0, 10.0, 10.0, f32::NAN];
        assert_eq!(farthest_first(&rows, 1, 0, 4), [0, 4, 2, 1]);
        assert_eq!(farthest_first(&rows, 1, 0, 99), [0, 4, 2, 1, 3]);
        assert!(farthest_first(&rows, 1, 6, 3).is_empty() && farthest_first(&rows, 1, 7, 3).is_empty());
        assert!(
            farthest_first(&[], 2, 0, 3).is_empty()
                && farthest_first(&rows, 0, 0, 3).is_empty()
                && farthest_first(&rows, 1, 0, 0).is_empty()
        );
    }

    proptest! {
        /// The distances at which rows are taken never grow, and cover everything within twice the best radius.
        #[test]
        fn the_next_is_never_farther(values in prop::collection::vec(-9i8..9, 2..120), k in 1usize..20) {
            let rows: Vec<f32> = values.iter().map(|v| f32::from(*v)).collect();
            let n = rows.len() / 2;
            let chosen = farthest_first(&rows[..n * 2], 2, 0, k);
            let square = |a: usize, b: usize| (rows[2 * a] - rows[2 * b]).powi(2) + (rows[2 * a + 1] - rows[2 * b + 1]).powi(2);
            let gap = |i: usize, to: &[usize]| to.iter().map(|j| square(i, *j)).fold(f32::INFINITY, f32::min);
            let gaps: Vec<f32> = (1..chosen.len()).map(|at| gap(chosen[at], &chosen[..at])).collect();
            prop_assert!(gaps.windows(2).all(|pair| pair[0] >= pair[1]) && gaps.iter().all(|g| *g > 0.0));
            if let Some(last) = gaps.last() {
                prop_assert!((0..n).all(|i| gap(i, &chosen) <= *last));
            }
        }
    }
}
