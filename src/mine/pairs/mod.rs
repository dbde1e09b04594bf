//! Pairs and triplets of embeddings, for metric learning and contrastive learning: plain functions that a trainer calls on a batch, on a batch
//! against a memory of earlier ones, or on all samples.
//!
//! All of them look at rows of Euclidean length 1 ([`Embeddings`] scales them), so cosine `s` and distance `d` say the same: `d^2 = 2 - 2 s`.
//! A row of zeros, one that is not finite and (where classes count) one without a label is never chosen and never an anchor. Ties go to the lower
//! row. The table of all cosines is never held: a few rows of it at a time are computed, looked at and forgotten.

mod batch;
mod collapse;
mod compare;
mod distance_weighted;
mod embeddings;
mod hard_negatives;
mod loss;
mod memory;
mod multi_similarity;
mod sorted;

pub use batch::{EasyNegative, batch_hard, easy_positive, random_triplets};
pub use collapse::{CollapseAlarm, CollapseLimits, CollapseState, Remedy};
pub use compare::{Compare, mean_distance};
pub use distance_weighted::{DistanceWeighting, distance_weighted, distance_weights};
pub use embeddings::Embeddings;
pub use hard_negatives::{HardNegatives, Sampling};
pub use loss::{TripletLoss, TripletLosses, triplet_losses};
pub use memory::CrossBatchMemory;
pub use multi_similarity::{MultiSimilarity, RowLists, multi_similarity};
pub use sorted::{BatchAll, MarginTriplets, SemiHard, TripletKind, batch_all, margin_triplets, semi_hard};

/// An anchor, a row of its class and a row of another class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Triplet {
    /// Row among the anchors.
    pub anchor: u32,
    /// Row among the references, of the anchor's class.
    pub positive: u32,
    /// Row among the references, of another class.
    pub negative: u32,
}

#[cfg(test)]
mod tests;
