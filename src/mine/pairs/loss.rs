use super::{Triplet, compare::Compare};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The loss of a triplet, of `x = d(a,p) - d(a,n)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TripletLoss {
    /// `max(0, margin + x)`.
    Hinge {
        /// At least 0, in units of distance.
        margin: f64,
    },
    /// `ln(1 + exp(x))`: no margin to choose, and never 0.
    SoftMargin,
}

/// The losses of triplets, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TripletLosses {
    /// One for each triplet.
    pub each: Vec<f64>,
}

impl TripletLosses {
    /// Sum over the triplets.
    pub fn sum(&self) -> f64 {
        self.each.iter().sum()
    }

    /// Mean over the triplets; 0 where there is none.
    pub fn mean(&self) -> f64 {
        if self.each.is_empty() { 0.0 } else { self.sum() / self.each.len() as f64 }
    }

    /// Share of triplets with a loss above 0; 0 where there is none.
    pub fn active(&self) -> f64 {
        if self.each.is_empty() { 0.0 } else { self.each.iter().filter(|loss| **loss > 0.0).count() as f64 / self.each.len() as f64 }
    }
}

/// The losses of triplets that a miner chose from `compare`, from differences of the rows in double precision. Fails for a row that does not exist or
/// is unusable, and for a margin below 0.
///
/// Reference: Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017.
pub fn triplet_losses(compare: Compare<'_>, triplets: &[Triplet], loss: TripletLoss) -> Result<TripletLosses> {
    if let TripletLoss::Hinge { margin } = loss
        && !(margin.is_finite() && margin >= 0.0)
    {
        return Err(Error::usage(format!("expected a margin of at least 0, found {margin}")));
    }
    let one = |triplet: &Triplet| {
        let (anchor, positive, negative) = (triplet.anchor as usize, triplet.positive as usize, triplet.negative as usize);
        if !(compare.anchors.usable(anchor) && compare.references.usable(positive) && compare.references.usable(negative)) {
            return Err(Error::usage(format!("triplet {triplet:?} names a row that is not there or unusable")));
        }
        let x = compare.distance(anchor, positive) - compare.distance(anchor, negative);
        Ok(match loss {
            TripletLoss::Hinge { margin } => (margin + x).max(0.0),
            // Written so that nothing overflows.
            TripletLoss::SoftMargin => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        })
    };
    Ok(TripletLosses { each: triplets.iter().map(one).collect::<Result<_>>()? })
}
