//! Mining: which samples are worth it. The only barrier of a round: miners see numbers, never media.

mod band;
mod draw;
mod prioritized;
mod rank;
mod schedule;
mod threshold;
mod top;
mod top_fraction;
mod weighted;

pub use band::Band;
pub use draw::{AliasTable, SumTree, draw_without_replacement};
pub use prioritized::{Prioritized, Priority, annealed, importance_weights, prioritized_probabilities};
pub use rank::{Weighting, band_column, between_ranks, frozen_band, rank_weights, uncertain};
pub use schedule::{Between, Phase, Preset, Schedule, Timetable};
pub use threshold::{Certainty, Threshold};
pub use top::top_k;
pub use top_fraction::TopFraction;
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
    Table::default().with::<Band>().with::<Prioritized>().with::<Schedule>().with::<Threshold>().with::<TopFraction>().with::<Weighted>()
}

#[cfg(test)]
mod tests;
