//! Miners that need the negatives of an anchor in order: sorted once, a condition on the distance is a run of them, found by bisection. The
//! `n^3` triplets are counted and summed, but never listed whole.

use super::{
    Triplet,
    compare::{Compare, Row, distance},
};
use crate::{
    error::{Error, Result},
    random::SeedTree,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// A reference and its distance from the anchor.
#[derive(Debug, Clone, Copy)]
struct Far {
    distance: f32,
    reference: u32,
}

impl Row<'_> {
    /// The positives by row, the negatives with the nearest first, equal ones by row.
    fn split(&self) -> (Vec<Far>, Vec<Far>) {
        let (mut positives, mut negatives) = (Vec::new(), Vec::with_capacity(self.cosines.len()));
        for reference in self.allowed() {
            let distance = distance(self.cosines[reference as usize]);
            if self.same(reference) {
                positives.push(Far { distance, reference });
            } else {
                // Distances are not negative, so their bits are in order as well.
                negatives.push(u64::from(distance.to_bits()) << 32 | u64::from(reference));
            }
        }
        negatives.sort_unstable();
        let far = |key: u64| Far { distance: f32::from_bits((key >> 32) as u32), reference: key as u32 };
        (positives, negatives.into_iter().map(far).collect())
    }
}

fn checked(margin: f32) -> Result<f32> {
    if margin.is_finite() && margin >= 0.0 {
        Ok(margin)
    } else {
        Err(Error::usage(format!("expected a margin of at least 0, found {margin}")))
    }
}

/// What [`semi_hard`] chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SemiHard {
    /// One triplet for each pair of an anchor and a row of its class, by anchor and positive.
    pub triplets: Vec<Triplet>,
    /// How many of them had no semi-hard negative and took the farthest.
    pub fallbacks: usize,
}

/// For each pair of an anchor and a row of its class the nearest negative with `d(a,p) < d(a,n) < d(a,p) + margin`; the farthest negative where
/// there is none. `margin` is at least 0, in units of distance. Pairs without any negative are left out.
///
/// Reference: Schroff, Kalenichenko and Philbin, FaceNet, 2015.
pub fn semi_hard(compare: Compare<'_>, margin: f32) -> Result<SemiHard> {
    let margin = checked(margin)?;
    let found = compare.rows(|row| {
        let (positives, negatives) = row.split();
        let Some(last) = negatives.last() else { return SemiHard::default() };
        // The farthest, the lowest row among equals.
        let farthest = negatives[negatives.partition_point(|n| n.distance < last.distance)];
        let mut fallbacks = 0;
        let choose = |positive: &Far| {
            let first = negatives.get(negatives.partition_point(|n| n.distance <= positive.distance));
            let inside = first.filter(|n| n.distance < positive.distance + margin);
            fallbacks += usize::from(inside.is_none());
            let negative = inside.unwrap_or(&farthest).reference;
            Triplet { anchor: row.anchor, positive: positive.reference, negative }
        };
        SemiHard { triplets: positives.iter().map(choose).collect(), fallbacks }
    })?;
    let fallbacks = found.iter().map(|one| one.fallbacks).sum();
    Ok(SemiHard { triplets: found.into_iter().flat_map(|one| one.triplets).collect(), fallbacks })
}

/// Which triplets [`margin_triplets`] takes, by `v = d(a,n) - d(a,p)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripletKind {
    /// Those that violate the margin: `v <= margin`.
    All,
    /// The negative is no farther than the positive: `v <= 0`.
    Hard,
    /// The negative is farther, but inside the margin: `0 < v <= margin`.
    SemiHard,
    /// Those that need no more learning: `v > margin`.
    Easy,
}

/// What [`margin_triplets`] took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MarginTriplets {
    /// The triplets, by anchor and positive, the hardest negative first.
    pub triplets: Vec<Triplet>,
    /// How many fulfil the condition; more than there are `triplets` where `most` was exceeded.
    pub fulfilled: u64,
    /// How many triplets the batch has.
    pub all: u64,
}

/// The triplets of one kind, at most `most` of them: where more fulfil the condition, they are divided into `most` runs of equal length (in the
/// order of the result, to the next whole number) and one of each run is drawn by `seeds`. `margin` is at least 0. Memory grows with `most`, not with the
/// number of triplets; the cosines are computed twice.
///
/// Reference: the conditions of `TripletMarginMiner` in pytorch-metric-learning (Musgrave, Belongie and Lim, 2020).
pub fn margin_triplets(compare: Compare<'_>, kind: TripletKind, margin: f32, most: usize, seeds: &SeedTree) -> Result<MarginTriplets> {
    let margin = checked(margin)?;
    let run = |positive: &Far, negatives: &[Far]| {
        let up_to = |limit: f32| negatives.partition_point(|n| n.distance - positive.distance <= limit);
        match kind {
            TripletKind::All => 0..up_to(margin),
            TripletKind::Hard => 0..up_to(0.0),
            TripletKind::SemiHard => up_to(0.0)..up_to(margin),
            TripletKind::Easy => up_to(margin)..negatives.len(),
        }
    };
    let counts = compare.rows(|row| {
        let (positives, negatives) = row.split();
        let fulfilled: u64 = positives.iter().map(|positive| run(positive, &negatives).len() as u64).sum();
        (row.anchor, fulfilled, positives.len() as u64 * negatives.len() as u64)
    })?;
    let (mut before, mut fulfilled, mut all) = (vec![0u64; compare.anchors.len()], 0u64, 0u64);
    for (anchor, count, triplets) in counts {
        before[anchor as usize] = fulfilled;
        fulfilled += count;
        all += triplets;
    }
    let drawn = (fulfilled > most as u64).then(|| one_of_each_run(fulfilled, most, seeds));
    let triplets = compare.rows(|row| {
        let (positives, negatives) = row.split();
        let mut next = before[row.anchor as usize];
        let mut taken = Vec::new();
        for positive in &positives {
            let run = run(positive, &negatives);
            let triplet = |negative: &Far| Triplet { anchor: row.anchor, positive: positive.reference, negative: negative.reference };
            let end = next + run.len() as u64;
            match &drawn {
                None => taken.extend(negatives[run].iter().map(triplet)),
                Some(drawn) => {
                    let chosen = drawn.partition_point(|n| *n < next)..drawn.partition_point(|n| *n < end);
                    taken.extend(drawn[chosen].iter().map(|n| triplet(&negatives[run.start + (n - next) as usize])));
                }
            }
            next = end;
        }
        taken
    })?;
    Ok(MarginTriplets { triplets: triplets.into_iter().flatten().collect(), fulfilled, all })
}

/// `most` numbers below `total`, ascending: one of each of `most` runs of equal length, to the next whole number.
fn one_of_each_run(total: u64, most: usize, seeds: &SeedTree) -> Vec<u64> {
    let mut rng = seeds.child("one of each run").rng();
    let start = |run: usize| (run as u128 * u128::from(total) / most as u128) as u64;
    (0..most).map(|run| rng.random_range(start(run)..start(run + 1))).collect()
}

/// The hinge losses of all triplets of a batch, summed without listing them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BatchAll {
    /// Sum of `max(0, margin + d(a,p) - d(a,n))`.
    pub sum: f64,
    /// Triplets with a loss above 0.
    pub active: u64,
    /// Triplets.
    pub all: u64,
}

impl BatchAll {
    /// Mean over the triplets with a loss above 0: the "batch all" loss. 0 where there is none.
    pub fn mean_active(&self) -> f64 {
        if self.active == 0 { 0.0 } else { self.sum / self.active as f64 }
    }
}

/// The loss over **all** triplets of a batch ("batch all") with a margin of at least 0, in `O(n^2 log n)`: the losses of a run of sorted negatives are
/// a product minus a running sum. Distances come from cosines in single precision.
///
/// Reference: Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017.
pub fn batch_all(compare: Compare<'_>, margin: f32) -> Result<BatchAll> {
    let margin = f64::from(checked(margin)?);
    let parts = compare.rows(|row| {
        let (positives, negatives) = row.split();
        let mut sums = Vec::with_capacity(negatives.len() + 1);
        sums.push(0.0);
        for (i, negative) in negatives.iter().enumerate() {
            sums.push(sums[i] + f64::from(negative.distance));
        }
        let mut part = BatchAll { all: positives.len() as u64 * negatives.len() as u64, ..BatchAll::default() };
        for positive in &positives {
            let limit = f64::from(positive.distance) + margin;
            let active = negatives.partition_point(|n| f64::from(n.distance) < limit);
            part.sum += active as f64 * limit - sums[active];
            part.active += active as u64;
        }
        part
    })?;
    Ok(parts.into_iter().fold(BatchAll::default(), |a, b| BatchAll { sum: a.sum + b.sum, active: a.active + b.active, all: a.all + b.all }))
}
