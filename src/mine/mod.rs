//! Mining: which samples are worth it. The only barrier of a round: miners see numbers, never media.

mod band;
mod diverse;
mod draw;
mod focal;
mod hard_negatives;
pub mod ohem;
pub mod pairs;
mod prioritized;
mod query;
mod quota;
mod rank;
mod schedule;
mod superloss;
mod threshold;
mod top;
mod top_fraction;
mod triplets;
mod weighted;

pub use crate::sample::weighting::{effective_sample_size, normalised};
pub use band::Band;
pub use diverse::{Diverse, farthest_first};
pub use draw::{AliasTable, SumTree, draw_without_replacement};
pub use focal::{focal_bias, focal_shape, focal_sigmoid, focal_softmax, focal_weights};
pub use hard_negatives::Negatives;
pub use ohem::{ohem_batch, ohem_pixels, ohem_regions};
pub use prioritized::{Prioritized, Priority, annealed, importance_weights, prioritized_probabilities};
pub use query::{Query, Uncertainty};
pub use quota::{Per, Quota, quota};
pub use rank::{Weighting, band_column, between_ranks, frozen_band, holds_losses, rank_weights, uncertain};
pub use schedule::{Between, Pace, Phase, Preset, Schedule, Timetable, hardness_of_plateaus, hardness_with_noise, plateaus};
pub use superloss::{lambert_w, superloss, superloss_shape, superloss_weight};
pub use threshold::{Certainty, Threshold, adaptive_thresholds};
pub use top::top_k;
pub use top_fraction::TopFraction;
pub use triplets::{TripletMiner, Triplets};
pub use weighted::{LossHistory, Weighted, WeightedKind, selective_backprop};

use crate::{
    context::MineContext,
    error::Result,
    operator::{Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
};

/// A miner.
pub trait Miner: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// Chooses rows among those judged valuable. Ties are broken by id. Random draws come from the
    /// context's seeds, addressed by the sample's id.
    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection>;
}

/// The shipped miners.
pub fn table() -> Table<dyn Miner> {
    Table::default()
        .with::<Band>()
        .with::<Diverse>()
        .with::<Negatives>()
        .with::<Prioritized>()
        .with::<Query>()
        .with::<Quota>()
        .with::<Schedule>()
        .with::<Threshold>()
        .with::<TopFraction>()
        .with::<Triplets>()
        .with::<Weighted>()
}

#[cfg(test)]
mod tests;
