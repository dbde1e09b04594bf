//! What all miners share: who may be chosen, ranks, weights and the frozen band. The plain functions on slices serve a trainer's own
//! loop as well.

use super::{
    quota::Per,
    top::{descending, top_k},
};
use crate::{
    error::{Error, Result},
    random::SeedTree,
    sample::{
        ColumnKind, Diagnosis, DifficultyBand, Judgement, SampleId, Score, ScoreTable, Selected, Selection, metrics::quantile_of_sorted,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{cmp::Ordering, collections::BTreeMap};

/// How the chosen are weighted in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// All weigh 1.
    #[default]
    Neutral,
    /// `0.5 + rank` among the chosen (`0..=1`, the hardest 1): between 0.5 and 1.5, 1 in the mean.
    Rank,
}

/// Indices whose probability is below `tau` (certainty threshold), in order.
pub fn uncertain(probabilities: &[f32], tau: f32) -> Vec<usize> {
    (0..probabilities.len()).filter(|i| probabilities[*i] < tau).collect()
}

/// Indices whose mid-rank, scaled to `0..=1`, lies in `low..=high`, in order.
pub fn between_ranks(values: &[f32], low: f32, high: f32) -> Vec<usize> {
    let scores: Vec<Score> = values.iter().map(|v| Score::Known(*v)).collect();
    let ranks = ScoreTable::rank01(&scores);
    (0..values.len()).filter(|i| ranks[*i].is_some_and(|r| low <= r && r <= high)).collect()
}

/// `0.5 + mid-rank` of each value: between 0.5 and 1.5, with mean 1.
pub fn rank_weights(values: &[f32]) -> Vec<f32> {
    let scores: Vec<Score> = values.iter().map(|v| Score::Known(*v)).collect();
    ScoreTable::rank01(&scores).into_iter().map(|rank| 0.5 + rank.unwrap_or(0.5)).collect()
}

/// A row that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Eligible {
    pub row: usize,
    pub score: f32,
}

/// The order of hardness: larger scores first, equal ones by id.
pub(super) fn harder(table: &ScoreTable) -> impl Fn(&Eligible, &Eligible) -> Ordering {
    |a, b| descending(a.score, b.score).then_with(|| table.rows()[a.row].id.cmp(&table.rows()[b.row].id))
}

/// The `k` hardest of these rows in no particular order, equal ones by id.
pub(super) fn hardest(table: &ScoreTable, rows: Vec<Eligible>, k: usize) -> Vec<Eligible> {
    if k >= rows.len() {
        return rows;
    }
    let scores: Vec<f32> = rows.iter().map(|one| one.score).collect();
    let Some(least) = top_k(&scores, k).last().map(|last| scores[*last]) else { return Vec::new() };
    let (mut chosen, mut tied): (Vec<Eligible>, Vec<Eligible>) =
        rows.into_iter().filter(|one| one.score >= least).partition(|one| one.score > least);
    tied.sort_unstable_by(harder(table));
    tied.truncate(k - chosen.len());
    chosen.append(&mut tied);
    chosen
}

/// The random number in `0..1` of a sample, the same wherever it stands in the table.
pub(super) fn unit(seeds: &SeedTree, id: &SampleId) -> f64 {
    ((seeds.sample(id.as_str()).number() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Whether nothing speaks against mining this row. Without diagnoses all are valuable.
pub(super) fn is_valuable(diagnoses: &[Diagnosis], row: usize) -> bool {
    diagnoses.get(row).is_none_or(|diagnosis| diagnosis.judgement == Judgement::Valuable)
}

/// The valuable rows with a score in column `by`, which must be a hardness.
pub(super) fn eligible(table: &ScoreTable, diagnoses: &[Diagnosis], by: &str) -> Result<Vec<Eligible>> {
    if !diagnoses.is_empty() && diagnoses.len() != table.len() {
        return Err(Error::internal(format!("{} diagnoses for {} rows", diagnoses.len(), table.len())));
    }
    let scores = table.require(by)?;
    if table.columns().any(|(column, _)| column.name == by && column.kind == ColumnKind::Measure) {
        let rankable: Vec<&str> =
            table.columns().filter(|(column, _)| column.kind == ColumnKind::Hardness).map(|(column, _)| column.name.as_str()).collect();
        return Err(Error::usage(format!(
            "column `{by}` is a measure, larger is not harder; rank by one of: {}",
            if rankable.is_empty() { "(there is none)".into() } else { rankable.join(", ") }
        )));
    }
    Ok(scores
        .iter()
        .enumerate()
        .filter(|(row, _)| is_valuable(diagnoses, *row))
        .filter_map(|(row, score)| score.get().map(|score| Eligible { row, score }))
        .collect())
}

/// The group of each row, by name: its class, the value of a manifest's field, or that of a score column. Rows that have none share one.
pub(super) fn group_of(table: &ScoreTable, per: Per, name: &str) -> Result<Vec<String>> {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(match per {
        Per::Class => table.rows().iter().map(|row| row.class.map_or_else(String::new, |class| class.to_string())).collect(),
        Per::Field => table.rows().iter().map(|row| row.fields.get(name).map_or_else(String::new, value)).collect(),
        Per::Column => table.require(name)?.iter().map(|score| score.get().map_or_else(String::new, |v| v.to_string())).collect(),
    })
}

/// Splits by class (rows without one together, last), or leaves all in one group.
pub(super) fn by_class(table: &ScoreTable, rows: Vec<Eligible>, per_class: bool) -> Vec<Vec<Eligible>> {
    if !per_class {
        return vec![rows];
    }
    let mut groups: BTreeMap<usize, Vec<Eligible>> = BTreeMap::new();
    for one in rows {
        groups.entry(table.rows()[one.row].class.unwrap_or(usize::MAX)).or_default().push(one);
    }
    groups.into_values().collect()
}

/// The column whose quantiles freeze the band: `prefer` if it holds out-of-fold losses, else the first that does, else the first of the
/// subject's own losses (a fitted model's are all near zero). `None` where there is neither.
pub fn band_column<'a>(table: &'a ScoreTable, prefer: &str) -> Option<&'a str> {
    let find = |wanted: &dyn Fn(&str) -> bool| table.columns().map(|(column, _)| column.name.as_str()).find(|name| wanted(name));
    let preferred = || find(&|name| name == prefer && is_column(name, "out_of_fold"));
    preferred().or_else(|| find(&|name| is_column(name, "out_of_fold"))).or_else(|| find(&|name| is_column(name, "loss")))
}

/// Whether a column holds losses that a band can be frozen from: `loss` or `out_of_fold`, of any stage.
pub fn holds_losses(name: &str) -> bool {
    ["out_of_fold", "loss"].iter().any(|what| is_column(name, what))
}

fn is_column(name: &str, what: &str) -> bool {
    name == what || name.strip_suffix(what).is_some_and(|stage| stage.ends_with('.'))
}

/// The losses between the quantiles `low` and `high` (`0..=1`) of the valuable rows in [`band_column`], clamped by
/// [`DifficultyBand::clamped`]. `None` where no loss is known.
pub fn frozen_band(table: &ScoreTable, diagnoses: &[Diagnosis], prefer: &str, low: f64, high: f64) -> Option<DifficultyBand> {
    let scores = table.column(band_column(table, prefer)?)?;
    let mut losses: Vec<f64> =
        scores.iter().enumerate().filter(|(row, _)| is_valuable(diagnoses, *row)).filter_map(|(_, s)| s.get().map(f64::from)).collect();
    losses.sort_by(f64::total_cmp);
    let at = |share| quantile_of_sorted(&losses, share).map(|loss| loss as f32);
    Some(DifficultyBand::clamped(at(low)?, at(high)?, table.classes()))
}

/// A selection of these rows, sorted by row and weighted.
pub(super) fn selection(
    table: &ScoreTable,
    mut chosen: Vec<Eligible>,
    weighting: Weighting,
    stage: &str,
    band: Option<DifficultyBand>,
) -> Selection {
    chosen.sort_unstable_by_key(|one| one.row);
    let weights = match weighting {
        Weighting::Neutral => vec![1.0; chosen.len()],
        Weighting::Rank => rank_weights(&chosen.iter().map(|one| one.score).collect::<Vec<_>>()),
    };
    let samples = chosen
        .into_iter()
        .zip(weights)
        .map(|(Eligible { row, score }, weight)| Selected { weight, ..Selected::new(table, row, score, stage) })
        .collect();
    Selection { samples, band }
}

/// Quantiles of the loss between which neighbours are wanted, where a miner has no band of its own.
pub(super) const USUAL_BAND: (f64, f64) = (0.6, 0.95);
