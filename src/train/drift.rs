//! How far what was trained on has moved from what there is.

use super::session::Epoch;
use crate::{
    pipeline::Split,
    record::{Drift, DriftRecord, ScoreDrift},
    sample::{Sample, SampleId, Score, ScoreTable},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Parts of a score's distribution.
const TENTHS: usize = 10;

/// How far two distributions over the same values are apart, given as counts or weights; `None` where one is empty, the lengths differ or a
/// count is negative or not finite.
///
/// Total variation is half the sum of absolute differences; the Jensen-Shannon divergence is the mean divergence from the mixture, in nats (Lin 1991).
pub fn drift(trained: &[f64], source: &[f64]) -> Option<Drift> {
    let total = |counts: &[f64]| counts.iter().all(|n| n.is_finite() && *n >= 0.0).then(|| counts.iter().sum::<f64>());
    let (p, q) = (total(trained)?, total(source)?);
    if trained.len() != source.len() || p <= 0.0 || q <= 0.0 {
        return None;
    }
    let divergence = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).ln() } else { 0.0 };
    let (mut off, mut shannon) = (0.0, 0.0);
    for (a, b) in trained.iter().zip(source) {
        let (a, b) = (a / p, b / q);
        off += (a - b).abs();
        shannon += (divergence(a, (a + b) / 2.0) + divergence(b, (a + b) / 2.0)) / 2.0;
    }
    Some(Drift { total_variation: (off / 2.0).min(1.0), jensen_shannon: shannon.clamp(0.0, std::f64::consts::LN_2) })
}

/// What a round was shown, epochs together.
#[derive(Debug, Clone, Default)]
pub(super) struct Presented {
    /// Presentations of each original, by index into the split.
    pub originals: Vec<u64>,
    /// Presentations of each replayed sample.
    pub replayed: Vec<u64>,
    /// Presentations that the memory bank gave.
    pub remembered: u64,
}

impl Presented {
    pub fn add(&mut self, epoch: &Epoch) {
        let sum = |all: &mut Vec<u64>, own: &[u32]| {
            all.resize(all.len().max(own.len()), 0);
            all.iter_mut().zip(own).for_each(|(sum, n)| *sum += u64::from(*n));
        };
        sum(&mut self.originals, &epoch.originals);
        sum(&mut self.replayed, &epoch.replayed);
        self.remembered += epoch.remembered;
    }
}

/// The drift of a round: classes, the fields of the slices, and the score that samples were chosen by.
pub(super) fn measured(
    split: &Split,
    presented: &Presented,
    replay: &[Sample],
    fields: &[String],
    score: Option<(&str, &ScoreTable)>,
) -> DriftRecord {
    let shown = |i: usize| presented.originals.get(i).copied().unwrap_or(0) as f64;
    let labelled = || (0..split.len()).filter_map(|i| Some((i, split.label(i)?.class())));
    let children = || replay.iter().zip(&presented.replayed).map(|(child, n)| (child, *n as f64));
    let mut classes = Counts::default();
    labelled().for_each(|(i, class)| classes.add(class, shown(i), 1.0));
    children().for_each(|(child, n)| child.label.iter().for_each(|label| classes.add(label.class(), n, 0.0)));
    let mut slices = BTreeMap::new();
    for field in fields {
        let mut counts: Counts<String> = Counts::default();
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (i, _) in labelled() {
            if let Some(value) = split.entry(i).fields.get(field) {
                counts.add(plain(value), shown(i), 1.0);
            }
        }
        children().for_each(|(child, n)| child.fields.get(field).iter().for_each(|value| counts.add(plain(value), n, 0.0)));
        slices.extend(counts.drift().map(|found| (field.clone(), found)));
    }
    let score = score.and_then(|(column, table)| {
        let ids = table.rows().iter().map(|row| &row.id).zip(table.column(column)?);
        let (trained, source) = tenths(ids, |id| split.index(id).map_or(0.0, shown));
        let all: f64 = trained.iter().sum();
        let drift = drift(&trained, &source)?;
        Some(ScoreDrift { column: column.to_owned(), drift, shares: trained.iter().map(|n| n / all).collect() })
    });
    DriftRecord { classes: classes.drift(), slices, score }
}

/// Presentations and samples in each tenth of a score, the lowest first; equal scores by id.
fn tenths<'a>(scores: impl Iterator<Item = (&'a SampleId, &'a Score)>, shown: impl Fn(&SampleId) -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut known: Vec<(f32, &SampleId)> = scores.filter_map(|(id, score)| Some((score.get()?, id))).collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    let (mut trained, mut source) = (vec![0.0; TENTHS], vec![0.0; TENTHS]);
    for (rank, (_, id)) in known.iter().enumerate() {
        let tenth = rank * TENTHS / known.len();
        trained[tenth] += shown(id);
        source[tenth] += 1.0;
    }
    (trained, source)
}

/// Presentations and samples by value.
struct Counts<K>(BTreeMap<K, (f64, f64)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Counts<K> {
    fn add(&mut self, value: K, trained: f64, source: f64) {
        let both = self.0.entry(value).or_default();
        both.0 += trained;
        both.1 += source;
    }
    fn drift(&self) -> Option<Drift> {
        let (trained, source): (Vec<f64>, Vec<f64>) = self.0.values().copied().unzip();
        drift(&trained, &source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances_follow_worked_values() {
        // 3/4, 1/4 against 1/4, 3/4: half of 1/2 + 1/2, and 3/4 ln(3/2) + 1/4 ln(1/2).
        let found = drift(&[3.0, 1.0], &[10.0, 30.0]).unwrap();
        assert!((found.total_variation - 0.5).abs() < 1e-12);
        assert!((found.jensen_shannon - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-12);
        let apart = drift(&[5.0, 0.0], &[0.0, 1.0]).unwrap();
        assert_eq!((apart.total_variation, apart.jensen_shannon), (1.0, std::f64::consts::LN_2));
        assert_eq!(
            (drift(&[0.0], &[1.0]), drift(&[1.0], &[1.0, 1.0]), drift(&[f64::NAN], &[1.0]), drift(&[], &[])),
            (None, None, None, None)
        );
    }

    #[test]
    fn tenths_are_of_the_ranks() {
        let ids: Vec<SampleId> = (0..20).map(|i| SampleId::new(format!("s{i:02}"))).collect();
        let scores: Vec<Score> = (0..20).map(|i| if i == 19 { Score::absent("no label") } else { Score::Known(i as f32) }).collect();
        let (trained, source) = tenths(ids.iter().zip(&scores), |id| if id.as_str() == "s18" { 3.0 } else { 0.0 });
        assert_eq!(source.iter().sum::<f64>(), 19.0);
        assert!(source.iter().all(|n| *n == 1.0 || *n == 2.0));
        assert_eq!((trained[9], trained.iter().sum::<f64>()), (3.0, 3.0));
    }

    proptest! {
        /// Symmetric, 0 for the same shares, and bounded: JSD / ln 2 <= TV, TV^2 / 2 <= JSD (Lin 1991; Pinsker).
        #[test]
        fn distances_are_bounded(pairs in prop::collection::vec((0.0f64..9.0, 0.0f64..9.0), 1..12), scale in 0.1f64..50.0) {
            let (p, q): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            if let Some(found) = drift(&p, &q) {
                let back = drift(&q, &p).unwrap();
                prop_assert!((found.total_variation - back.total_variation).abs() < 1e-12);
                prop_assert!((found.jensen_shannon - back.jensen_shannon).abs() < 1e-12);
                prop_assert!(found.jensen_shannon <= found.total_variation * std::f64::consts::LN_2 + 1e-9);
                prop_assert!(found.total_variation.powi(2) / 2.0 <= found.jensen_shannon + 1e-9);
            }
            if let Some(same) = drift(&p, &p.iter().map(|n| n * scale).collect::<Vec<_>>()) {
                prop_assert!(same.total_variation < 1e-9 && same.jensen_shannon < 1e-9);
            }
        }
    }
}
