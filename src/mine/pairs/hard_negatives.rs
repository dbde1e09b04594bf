use super::{compare::Compare, embeddings::NO_CLASS};
use crate::{
    error::{Error, Result},
    nearest::{Neighbour, nearest_where},
    random::SeedTree,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Numbers multiplied side by side.
const LANES: usize = 16;

/// How negatives are taken from the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The nearest.
    #[default]
    Top,
    /// A random choice of the ranks, without replacement.
    Random,
}

/// Hard negatives: for each query the nearest keys that are not its pair, within a modality or across two, behind a guard against **false** negatives (a
/// near key may be right, but unlabelled).
///
/// Never taken are keys of the query's own sample (equal ids), class or group, near-duplicates of its positives, and what comes too close to the positive
/// pair. What is left is ranked by cosine, the nearest first, equal ones by row, and taken from the ranks `range_min..range_max`.
///
/// A query's positives are the keys with its id; of several, the least similar counts. Within one modality a row that shares its id with no other is its own
/// pair, with similarity 1: a relative margin of 0.05 then keeps out what is nearer than 0.95. A query without a positive (its other modality is missing or
/// unusable) finds nothing while a margin is asked for, because nothing could guard it.
///
/// Reference: the guard of `mine_hard_negatives` in sentence-transformers (Reimers and Gurevych, 2019; Moreira et al., NV-Retriever, 2024, for the relative margin).
/// Other than there, what the guard removes takes no rank, so that it never leaves fewer negatives than there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HardNegatives {
    /// Negatives of a query; at least 1.
    pub count: usize,
    /// Ranks that are skipped: the very nearest are most often false negatives.
    pub range_min: usize,
    /// First rank that is not considered; at least `range_min + count`. Absent: `range_min + count`, ten times as many ranks for a random choice.
    pub range_max: Option<usize>,
    /// Largest cosine of a negative; absent for no limit.
    pub max_score: Option<f32>,
    /// A negative is at least this much less similar than the positive, in units of cosine; at least 0. Absent for no such margin.
    pub absolute_margin: Option<f32>,
    /// The same as a share of the positive's similarity (of its absolute value): `s_n <= s_p - margin |s_p|`; at least 0. Absent for no such margin.
    pub relative_margin: Option<f32>,
    /// Keys whose cosine with a positive is at least this show the same thing; above 0, at most 1. Absent to keep them.
    pub duplicate: Option<f32>,
    /// The nearest, or a random choice.
    pub sampling: Sampling,
}

impl Default for HardNegatives {
    fn default() -> Self {
        Self {
            count: 5,
            range_min: 0,
            range_max: None,
            max_score: None,
            absolute_margin: None,
            relative_margin: Some(0.05),
            duplicate: Some(0.98),
            sampling: Sampling::Top,
        }
    }
}

/// What guards one query.
#[derive(Debug, Clone, Default)]
struct Guard {
    /// Rows of its positives among the keys.
    positives: Vec<u32>,
    /// Largest cosine that a negative may have; negatively infinite where nothing may be taken.
    ceiling: f32,
    /// Only keys at least this similar to the query can be near-duplicates of a positive.
    duplicates_from: f32,
}

impl HardNegatives {
    /// The negatives of each row of the first side among the rows of the second, by `compare`'s anchors; fewer than `count`, or none, where fewer are
    /// allowed. A random choice hangs on `seeds` and on the query's id (on its row where there are no ids). Fails for values out of range, and across two sides
    /// without ids: the pairs would not be known.
    pub fn find(&self, compare: Compare<'_>, seeds: &SeedTree) -> Result<Vec<Vec<Neighbour>>> {
        let last = self.checked()?;
        let (queries, keys) = (compare.anchors, compare.references);
        if !compare.within && (queries.ids.is_empty() && !queries.is_empty() || keys.ids.is_empty() && !keys.is_empty()) {
            return Err(Error::usage("hard negatives across two sides need the ids of both (`with_ids`), which say what belongs together"));
        }
        let guards = self.guards(compare);
        let known = |side: &[u32], row: usize| side.get(row).copied().filter(|class| *class != NO_CLASS);
        let group = |side: &[Option<u64>], row: usize| side.get(row).copied().flatten();
        let allow = |query: usize, key: Neighbour| {
            let (guard, row) = (&guards[query], key.row);
            if key.similarity > guard.ceiling || compare.within && query == row {
                return false;
            }
            let same_class = known(&queries.classes, query).is_some_and(|class| known(&keys.classes, row) == Some(class));
            let same_group = group(&queries.groups, query).is_some_and(|one| group(&keys.groups, row) == Some(one));
            let positive = guard.positives.contains(&(row as u32));
            !(same_class || same_group || positive || self.duplicates(guard, keys.row(row), key.similarity, |positive| keys.row(positive)))
        };
        let mut found = nearest_where(&queries.values, &keys.values, queries.dim(), last, allow);
        for (query, found) in found.iter_mut().enumerate() {
            found.drain(..self.range_min.min(found.len()));
            if self.sampling == Sampling::Random && found.len() > self.count {
                let mut rng = compare.seeds(seeds, query as u32).rng();
                let mut chosen = rand::seq::index::sample(&mut rng, found.len(), self.count).into_vec();
                chosen.sort_unstable();
                *found = chosen.into_iter().map(|place| found[place]).collect();
            }
            found.truncate(self.count);
        }
        Ok(found)
    }

    /// The first rank that is not considered.
    fn checked(&self) -> Result<usize> {
        let mut wrong = Vec::new();
        let margin = |margin: Option<f32>| margin.is_none_or(|margin| margin.is_finite() && margin >= 0.0);
        let usual = if self.sampling == Sampling::Random { self.count.saturating_mul(10) } else { self.count };
        let least = self.range_min.saturating_add(self.count);
        let last = self.range_max.unwrap_or(self.range_min.saturating_add(usual));
        if self.count == 0 {
            wrong.push("`count` of at least 1".to_owned());
        }
        if last < least {
            wrong.push(format!("`range_max` of at least {least} (`range_min` + `count`), found {last}"));
        }
        if self.max_score.is_some_and(f32::is_nan) {
            wrong.push("a number as `max_score`".into());
        }
        if !margin(self.absolute_margin) || !margin(self.relative_margin) {
            wrong.push("margins of at least 0".into());
        }
        if self.duplicate.is_some_and(|limit| !(limit > 0.0 && limit <= 1.0)) {
            wrong.push("`duplicate` above 0, at most 1".into());
        }
        if wrong.is_empty() { Ok(last) } else { Err(Error::usage(format!("expected {}", wrong.join(", ")))) }
    }

    fn guards(&self, compare: Compare<'_>) -> Vec<Guard> {
        let keys = compare.references;
        let mut by_id: HashMap<u64, Vec<u32>> = HashMap::with_capacity(keys.ids.len());
        for (row, id) in keys.ids.iter().enumerate() {
            by_id.entry(*id).or_default().push(row as u32);
        }
        let guard = |query: usize| {
            let shared = compare.anchors.ids.get(query).and_then(|id| by_id.get(id)).into_iter().flatten().copied();
            let mut positives: Vec<u32> = shared.filter(|row| !(compare.within && *row as usize == query)).collect();
            if compare.within && positives.is_empty() {
                positives.push(query as u32);
            }
            let usable = positives.iter().map(|row| *row as usize).filter(|row| keys.usable(*row));
            let similarities = usable.map(|row| compare.cosine(query, row) as f32);
            let least = similarities.reduce(f32::min);
            Guard { ceiling: self.ceiling(least), duplicates_from: self.duplicates_from(least), positives }
        };
        (0..compare.anchors.len()).map(guard).collect()
    }

    fn ceiling(&self, positive: Option<f32>) -> f32 {
        let mut ceiling = self.max_score.unwrap_or(f32::INFINITY);
        if self.absolute_margin.is_some() || self.relative_margin.is_some() {
            let Some(positive) = positive else { return f32::NEG_INFINITY };
            ceiling = ceiling.min(self.absolute_margin.map_or(f32::INFINITY, |margin| positive - margin));
            ceiling = ceiling.min(self.relative_margin.map_or(f32::INFINITY, |margin| positive - margin * positive.abs()));
        }
        ceiling
    }

    /// Two rows with cosine `c` lie `sqrt(2 - 2c)` apart, and their cosines with a third differ by no more than that (Cauchy and Schwarz): what is
    /// less similar to the query need not be compared with its positives.
    fn duplicates_from(&self, positive: Option<f32>) -> f32 {
        const ROUNDING: f32 = 1e-4;
        match (self.duplicate, positive) {
            (Some(limit), Some(positive)) => positive - (2.0 - 2.0 * limit).sqrt() - ROUNDING,
            _ => f32::INFINITY,
        }
    }

    fn duplicates<'a>(&self, guard: &Guard, key: &[f32], similarity: f32, row: impl Fn(usize) -> &'a [f32]) -> bool {
        let Some(limit) = self.duplicate else { return false };
        similarity >= guard.duplicates_from && guard.positives.iter().any(|positive| product(key, row(*positive as usize)) >= limit)
    }
}

/// The inner product, in lanes that the compiler turns into vector instructions.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_left), (b, b_left)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_left.iter().zip(b_left).map(|(a, b)| a * b).sum::<f32>()
}
