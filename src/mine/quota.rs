use super::{
    Miner,
    rank::{group_of, is_valuable},
    top::descending,
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selected, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a quota counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The class; samples without a label are one group.
    #[default]
    Class,
    /// A field of the manifest, by its value; samples without it are one group.
    Field,
    /// A score column with whole numbers, such as a cluster; samples without it are one group.
    Column,
}

/// How many of `chosen` samples a group may have at most whose share of all samples is `count / all`: `floor(cap * chosen * count / all)`,
/// but one at least. 0 where there is nothing at all.
pub fn quota(chosen: usize, count: usize, all: usize, cap: f64) -> usize {
    if all == 0 || chosen == 0 || count == 0 {
        return 0;
    }
    // A product such as 1.1 * 10 * 0.1 may land a hair below the whole number that is meant.
    ((cap * chosen as f64 * count as f64 / all as f64 + 1e-9).floor() as usize).max(1)
}

/// Caps how much of another miner's choice may come from one class, field or cluster.
///
/// Method: a group that holds the share `b` of the valuable samples keeps at most `floor(cap * b * n)` of the `n` samples that the miner inside
/// chose, one at least: the hardest, equal ones by id. The others are let go; nothing is chosen in their place. Weights and the band for
/// neighbours stay the inner miner's.
///
/// Reference: Lin et al., Focal Loss for Dense Object Detection, 2017 (rare classes drown among the many); the caps are proportional allocation
/// as in Cochran, Sampling Techniques, 1977.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The miner inside, written `name: { ... }`.
    pub of: Value,
    /// What is counted by.
    #[serde(default)]
    pub per: Per,
    /// With `field` or `column`: its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Largest share of a group among the chosen, in multiples of its share of all; 1..=1000.
    #[serde(default = "usual_cap")]
    pub cap: f64,
}

fn usual_cap() -> f64 {
    1.5
}

/// A quota with the miner inside built.
struct Capped {
    inner: Box<dyn Miner>,
    per: Per,
    name: String,
    cap: f64,
}

impl Configure<dyn Miner> for Quota {
    const NAME: &'static str = "quota";
    const EXAMPLE: &'static str = "{ of: { top_fraction: { by: loss, fraction: 0.5 } }, per: class, cap: 1.5 }";

    fn build(self, table: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1.0..=1000.0).contains(&self.cap) {
            problems.push(Problem::new("cap", format!("expected a number in 1..=1000, found {}", self.cap)));
        }
        match (self.per, &self.name) {
            (Per::Class, Some(_)) => problems.push(Problem::new("name", "`per: class` has no name")),
            (Per::Field | Per::Column, None) => problems.push(Problem::new("name", "missing: which field or column")),
            _ => {}
        }
        match table.build(&self.of) {
            Ok(inner) if inner.name == <super::Query as Configure<dyn Miner>>::NAME => {
                problems
                    .push(Problem::new("of", "`query` asks for labels and is not mixed with mining: it stands alone, not inside a quota"));
            }
            Ok(inner) if problems.is_empty() => {
                let name = self.name.unwrap_or_default();
                return Ok(Box::new(Capped { inner: inner.operator, per: self.per, name, cap: self.cap }));
            }
            Ok(_) => {}
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.under("of"))),
        }
        Err(problems)
    }
}

impl Miner for Capped {
    fn requirements(&self) -> Requirements {
        let mut needs = self.inner.requirements();
        if self.per == Per::Column {
            needs.evidence.push(self.name.clone());
        }
        needs
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let Selection { samples, band } = self.inner.mine(table, diagnoses, context)?;
        let groups = group_of(table, self.per, &self.name)?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut all = 0;
        for row in (0..groups.len()).filter(|row| is_valuable(diagnoses, *row)) {
            *counts.entry(&groups[row]).or_default() += 1;
            all += 1;
        }
        let chosen = samples.len();
        let mut of_group: BTreeMap<&str, Vec<Selected>> = BTreeMap::new();
        samples.into_iter().for_each(|one| of_group.entry(&groups[one.row]).or_default().push(one));
        let mut kept = Vec::new();
        for (group, mut list) in of_group {
            list.sort_by(|a, b| descending(a.score, b.score).then_with(|| a.id.cmp(&b.id)));
            list.truncate(quota(chosen, counts.get(group).copied().unwrap_or(0), all, self.cap));
            kept.append(&mut list);
        }
        kept.sort_unstable_by_key(|one| one.row);
        Ok(Selection { samples: kept, band })
    }
}
