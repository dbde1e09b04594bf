//! Which samples of a round an objective treats, and what of them is dropped more often.

use super::{
    arms::{Experiment, Finished},
    objective::{AsMany, Treated},
};
use crate::{
    pipeline::{DropoutAim, On, TrainPlan},
    sample::{PerModality, ScoreTable, Selection},
};
use rand::seq::SliceRandom;

/// What of a round an objective treats.
pub(super) enum Aimed<'a> {
    All,
    /// By index into the split.
    Mined(Vec<bool>),
    /// The order that originals come in, by index into the split, and how many presentations of each step the main arm treated.
    AtRandom(Vec<u32>, &'a [u32]),
}

impl Aimed<'_> {
    /// For a round of `steps`.
    pub fn treated(&self, steps: usize) -> Treated<'_> {
        match self {
            Self::All => Treated::All,
            Self::Mined(marked) => Treated::Marked(marked),
            Self::AtRandom(rank, theirs) => Treated::AsMany(AsMany { rank, theirs, steps }),
        }
    }
}

impl Experiment<'_> {
    /// What the objective treats. An arm without a selection of its own treats as many presentations in each step as the main arm did in the same round, of originals that come first in a
    /// random order, so that both spend as many gradients: how often the main arm meets its selection hangs on what is replayed and drawn.
    pub(super) fn aimed<'h>(
        &self,
        train: &TrainPlan,
        chosen: Option<&Selection>,
        originals: &[(usize, f32)],
        hardmine: Option<&'h Finished>,
        round: usize,
    ) -> Aimed<'h> {
        if !matches!(train.objective.adversarial(), Some((_, On::Mined))) {
            return Aimed::All;
        }
        let split = self.splits.train;
        if let Some(selection) = chosen {
            let mut marked = vec![false; split.len()];
            selection.samples.iter().filter_map(|one| split.index(&one.id)).for_each(|i| marked[i] = true);
            return Aimed::Mined(marked);
        }
        let mut order: Vec<usize> = originals.iter().map(|(i, _)| *i).collect();
        order.shuffle(&mut self.seeds.child("treated").round(round).rng());
        let mut rank = vec![u32::MAX; split.len()];
        order.into_iter().zip(0..).for_each(|(i, place)| rank[i] = place);
        Aimed::AtRandom(rank, hardmine.and_then(|main| main.reached.get(round - 1)).map_or(&[], Vec::as_slice))
    }

    /// The Shapley value of each modality by index into the split, where the dropout is aimed by it.
    pub(super) fn reliance(&self, train: &TrainPlan, table: &ScoreTable) -> Option<Vec<PerModality<f32>>> {
        if train.modality_dropout.aim != DropoutAim::OverRelied {
            return None;
        }
        let columns = PerModality::from_fn(|m| table.column_of_any(&format!("shapley_{m}")));
        let split = self.splits.train;
        let mut all = vec![PerModality::default(); split.len()];
        for (row, of) in table.rows().iter().enumerate() {
            if let Some(i) = split.index(&of.id) {
                all[i] = PerModality::from_fn(|m| columns[m].and_then(|column| column.get(row)?.get()).unwrap_or(0.0));
            }
        }
        Some(all)
    }
}
