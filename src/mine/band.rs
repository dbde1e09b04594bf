use super::{
    Miner,
    rank::{Eligible, Weighting, by_class, eligible, frozen_band, harder, selection},
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, Score, ScoreTable, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Chooses the samples that are hard, but not the hardest.
///
/// Method: a sample is taken when its rank among the valuable ones (mid-ranks scaled to 0..=1, over all or within its class) lies in
/// `low..=high`. What is above `high` is more often wrong than useful. The band for neighbours is a pair of losses: the quantiles `low` and
/// `high` of the valuable samples' out-of-fold losses (of `loss` where there are none), clamped to `[-ln 0.9, ln classes]`, frozen for the
/// round. `limit` takes the classes in turn, the hardest of each first, equal ones by id.
///
/// Reference: Swayamdipta et al., Dataset Cartography, 2020 (ambiguous samples teach more than the hardest ones).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Band {
    /// Score column to rank by; larger is harder.
    pub by: String,
    /// Lower end of the ranks, a fraction in 0..=1, below `high`.
    pub low: Fraction,
    /// Upper end of the ranks, a fraction in 0..=1.
    pub high: Fraction,
    /// Rank within each class, so that no class is left out.
    pub per_class: bool,
    /// Most samples to take; at least 1. Absent for no limit.
    pub limit: Option<usize>,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Band {
    fn default() -> Self {
        let share = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { by: "out_of_fold".into(), low: share(0.6), high: share(0.95), per_class: true, limit: None, weights: Weighting::Neutral }
    }
}

impl Configure<dyn Miner> for Band {
    const NAME: &'static str = "band";
    const EXAMPLE: &'static str = "{ by: out_of_fold, low: 0.6, high: 0.95, per_class: true }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.low >= self.high {
            let (low, high) = (self.low.get(), self.high.get());
            problems.push(Problem::new("low", format!("expected a rank below `high` ({high}), found {low}")));
        }
        if self.limit == Some(0) {
            problems.push(Problem::new("limit", "expected at least 1, or no limit, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Miner for Band {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let (low, high) = (self.low.get() as f32, self.high.get() as f32);
        // (turn, row): the place of a row in its own class, the hardest first.
        let mut chosen: Vec<(usize, Eligible)> = Vec::new();
        for mut group in by_class(table, eligible(table, diagnoses, &self.by)?, self.per_class) {
            group.sort_unstable_by(harder(table));
            let ranks = ScoreTable::rank01(&group.iter().map(|one| Score::Known(one.score)).collect::<Vec<_>>());
            let inside = group.into_iter().zip(ranks).filter(|(_, rank)| rank.is_some_and(|r| low <= r && r <= high));
            chosen.extend(inside.enumerate().map(|(turn, (one, _))| (turn, one)));
        }
        if let Some(limit) = self.limit {
            let hardest = harder(table);
            chosen.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| hardest(&a.1, &b.1)));
            chosen.truncate(limit);
        }
        let chosen = chosen.into_iter().map(|(_, one)| one).collect();
        let band = frozen_band(table, diagnoses, &self.by, self.low.get(), self.high.get());
        Ok(selection(table, chosen, self.weights, context.stage, band))
    }
}
