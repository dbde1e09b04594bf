//! Which samples of a round an objective treats, and what of them is dropped more often.

use super::arms::{Experiment, Finished};
use crate::{
    pipeline::{DropoutAim, On, TrainPlan},
    sample::{PerModality, ScoreTable, Selection},
};
use rand::seq::SliceRandom;

impl Experiment<'_> {
    /// The originals that the objective treats, by index into the split; `None` for all. An arm without a selection of its own treats as many at random as the
    /// main arm chose in the same round, so that both spend as many gradients.
    pub(super) fn treated(
        &self,
        train: &TrainPlan,
        chosen: Option<&Selection>,
        originals: &[(usize, f32)],
        hardmine: Option<&Finished>,
        round: usize,
    ) -> Option<Vec<bool>> {
        let (_, On::Mined) = train.objective.adversarial()? else { return None };
        let split = self.splits.train;
        let mut treated = vec![false; split.len()];
        match chosen {
            Some(selection) => selection.samples.iter().filter_map(|one| split.index(&one.id)).for_each(|i| treated[i] = true),
            None => {
                let many = hardmine.and_then(|main| main.chosen.get(round - 1)).copied().unwrap_or(0);
                let mut order: Vec<usize> = originals.iter().map(|(i, _)| *i).collect();
                order.shuffle(&mut self.seeds.child("treated").round(round).rng());
                order.into_iter().take(many).for_each(|i| treated[i] = true);
            }
        }
        Some(treated)
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
