use super::{
    Miner,
    hard_negatives::{gathered, needs, partner, some},
    pairs::{
        Compare, DistanceWeighting, EasyNegative, Embeddings, Triplet, batch_hard, distance_weighted, easy_positive, multi_similarity,
        semi_hard,
    },
    rank::{Eligible, USUAL_BAND, Weighting, frozen_band, hardest, selection, unit},
};
use crate::{
    context::{MineContext, Space},
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, Partner, ScoreTable, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which positives and negatives an anchor is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TripletMiner {
    /// The farthest positive and the nearest negative.
    #[default]
    BatchHard,
    /// Every positive with the nearest negative that is farther away, inside the margin.
    SemiHard,
    /// The nearest positive and the nearest negative.
    EasyPositive,
    /// The nearest positive and the nearest negative that is farther away.
    EasyPositiveSemiHard,
    /// All pairs that are informative within 0.1 in cosine.
    MultiSimilarity,
    /// Every positive with a negative drawn so that all distances are about equally frequent.
    DistanceWeighted,
}

/// Chooses the anchors whose triplets violate the margin most and names their positives and negatives.
///
/// Method: the valuable samples are dealt into batches of `batch` by a draw that hangs on their ids; within a batch `kind` gives each anchor its positives (of its class) and negatives (of other classes).
/// The hardness of an anchor is its greatest `margin + d(a,p) - d(a,n)` over its triplets, `d` the Euclidean distance of embeddings of length 1; anchors at 0 or below have nothing to learn and are
/// not chosen. The `fraction` hardest of the others are, equal ones by id; the greatest violations come first in their lists, at most `most` each.
///
/// Reference: Hermans, Beyer, Leibe, In Defense of the Triplet Loss, 2017; Schroff et al., FaceNet, 2015; Xuan et al., 2020; Wang et al., Multi-Similarity Loss, 2019; Wu et al., Sampling Matters, 2017.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Triplets {
    /// Which positives and negatives an anchor is given.
    pub kind: TripletMiner,
    /// Whose embedding: `fused`, `image`, `audio` or `text`.
    pub space: Space,
    /// Wanted distance between positives and negatives beyond each other, above 0 and at most 2.
    pub margin: f32,
    /// Samples that are held against each other, 2 to 16,384.
    pub batch: usize,
    /// Share of the violating anchors to choose, above 0 and at most 1.
    pub fraction: Fraction,
    /// Most positives and most negatives that are written for an anchor, 1 to 1000.
    pub most: usize,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Triplets {
    fn default() -> Self {
        Self {
            kind: TripletMiner::BatchHard,
            space: Space::Fused,
            margin: 0.2,
            batch: 2048,
            fraction: Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            most: 5,
            weights: Weighting::Neutral,
        }
    }
}

impl Configure<dyn Miner> for Triplets {
    const NAME: &'static str = "triplets";
    const EXAMPLE: &'static str = "{ kind: batch_hard, space: fused, margin: 0.2 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(self.margin > 0.0 && self.margin <= 2.0) {
            problems.push(Problem::new("margin", format!("expected a distance above 0 and at most 2, found {}", self.margin)));
        }
        if !(2..=16_384).contains(&self.batch) {
            problems.push(Problem::new("batch", format!("expected 2 to 16384 samples, found {}", self.batch)));
        }
        if self.fraction.get() == 0.0 {
            problems.push(Problem::new("fraction", "nothing would be chosen; expected a fraction above 0"));
        }
        if !(1..=1000).contains(&self.most) {
            problems.push(Problem::new("most", format!("expected 1 to 1000, found {}", self.most)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Triplets {
    /// The triplets of one batch, by anchor.
    fn of(&self, compare: Compare<'_>, seeds: &crate::random::SeedTree) -> Result<Vec<Triplet>> {
        Ok(match self.kind {
            TripletMiner::BatchHard => batch_hard(compare)?,
            TripletMiner::SemiHard => semi_hard(compare, self.margin)?.triplets,
            TripletMiner::EasyPositive => easy_positive(compare, EasyNegative::Hardest)?,
            TripletMiner::EasyPositiveSemiHard => easy_positive(compare, EasyNegative::SemiHard)?,
            TripletMiner::DistanceWeighted => distance_weighted(compare, DistanceWeighting::default(), seeds)?,
            TripletMiner::MultiSimilarity => {
                let kept = multi_similarity(compare, 0.1)?;
                let of = |anchor: u32| (kept.positives.of(anchor as usize), kept.negatives.of(anchor as usize));
                let mut anchors: Vec<u32> = kept.positives.iter().map(|(anchor, _)| anchor).collect();
                anchors.dedup();
                // The pairs are independent: the hardest triplet of an anchor is its farthest positive with its nearest negative, and each other kept row stands in one with those.
                let mut triplets = Vec::new();
                for anchor in anchors {
                    let (positives, negatives) = of(anchor);
                    let by = |a: &&u32, b: &&u32| {
                        compare
                            .similarity(anchor as usize, **a as usize)
                            .total_cmp(&compare.similarity(anchor as usize, **b as usize))
                            .then(b.cmp(a))
                    };
                    let (Some(&far), Some(&near)) = (positives.iter().min_by(by), negatives.iter().max_by(by)) else { continue };
                    triplets.extend(positives.iter().map(|&positive| Triplet { anchor, positive, negative: near }));
                    let others = negatives.iter().filter(|negative| **negative != near);
                    triplets.extend(others.map(|&negative| Triplet { anchor, positive: far, negative }));
                }
                triplets
            }
        })
    }
}

/// One anchor's triplets: its hardness and its partners with their similarities, the greatest violation first.
struct Anchored {
    row: usize,
    hardness: f32,
    positives: Vec<Partner>,
    negatives: Vec<Partner>,
}

impl Miner for Triplets {
    fn requirements(&self) -> Requirements {
        needs(&[self.space])
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let (rows, all) = gathered(table, diagnoses, context, self.space)?;
        some(&rows, table, self.space)?;
        let order = context.seeds.child("batches");
        let mut dealt: Vec<usize> = (0..rows.len()).collect();
        let key = |i: &usize| (unit(&order, &table.rows()[rows[*i]].id), &table.rows()[rows[*i]].id);
        dealt.sort_by(|a, b| {
            let ((one, id), (two, other)) = (key(a), key(b));
            one.total_cmp(&two).then_with(|| id.cmp(other))
        });
        let mut anchored: BTreeMap<usize, Anchored> = BTreeMap::new();
        // The last batch takes the rest: a small one would have no positives.
        let parts = (rows.len() / self.batch).max(1);
        for part in 0..parts {
            let end = if part + 1 == parts { rows.len() } else { (part + 1) * self.batch };
            let mut members = dealt[part * self.batch..end].to_vec();
            // As they were gathered, by id: ties do not hang on the draw.
            members.sort_unstable();
            let batch: Embeddings = all.pick(&members);
            let compare = Compare::within(&batch);
            let mut triplets = self.of(compare, &context.seeds.child("draws"))?;
            let violation = |t: &Triplet| {
                let distance = |other: u32| compare.length_between(t.anchor as usize, other as usize);
                (f64::from(self.margin) + distance(t.positive) - distance(t.negative)) as f32
            };
            let mut measured: Vec<(f32, Triplet)> = triplets.drain(..).map(|t| (violation(&t), t)).filter(|(v, _)| *v > 0.0).collect();
            measured.sort_by(|(v, a), (w, b)| a.anchor.cmp(&b.anchor).then(w.total_cmp(v)).then(a.cmp(b)));
            for (violation, t) in measured {
                let row = |member: u32| rows[members[member as usize]];
                let of = |member: u32| partner(table, row(member), compare.similarity(t.anchor as usize, member as usize));
                let one = anchored.entry(row(t.anchor)).or_insert_with(|| Anchored {
                    row: row(t.anchor),
                    hardness: violation,
                    positives: Vec::new(),
                    negatives: Vec::new(),
                });
                for (list, member) in [(&mut one.positives, t.positive), (&mut one.negatives, t.negative)] {
                    let id = &table.rows()[row(member)].id;
                    if list.len() < self.most && list.iter().all(|known| known.id != *id) {
                        list.push(of(member));
                    }
                }
            }
        }
        let eligible: Vec<Eligible> = anchored.values().map(|one| Eligible { row: one.row, score: one.hardness }).collect();
        let wanted = (self.fraction.get() * eligible.len() as f64 - 1e-9).ceil() as usize;
        let band = frozen_band(table, diagnoses, "loss", USUAL_BAND.0, USUAL_BAND.1);
        let mut selected = selection(table, hardest(table, eligible, wanted), self.weights, context.stage, band);
        for one in &mut selected.samples {
            if let Some(found) = anchored.remove(&one.row) {
                (one.positives, one.negatives) = (found.positives, found.negatives);
            }
        }
        Ok(selected)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        context::{Answers, Rows},
        model::{Matrix, Outputs},
        random::SeedTree,
        sample::{Modality, ModalitySet, PerModality, SampleId, TableRow},
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    pub type Point = (f64, f64, Option<usize>, usize);

    /// Samples by the angles in degrees of image and audio on the circle, class and group; no audio where the angle is NaN. The fused embedding is that of the image.
    pub fn world(points: &[Point]) -> (ScoreTable, Answers) {
        let row = |(i, (_, audio, class, group)): (usize, &Point)| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: *class,
            present: if audio.is_nan() { ModalitySet::one(Modality::Image) } else { ModalitySet::ALL },
            group: *group,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(points.iter().enumerate().map(row).collect(), 2).unwrap();
        let matrix = |of: &dyn Fn(&Point) -> f64, scale: f32| Matrix {
            columns: 2,
            values: points
                .iter()
                .flat_map(|p| [of(p).to_radians().cos() as f32 * scale, of(p).to_radians().sin() as f32 * scale])
                .collect(),
        };
        let image = matrix(&|p| p.0, 2.0);
        let embeddings = PerModality { image: Some(image.clone()), audio: Some(matrix(&|p| p.1, 0.5)), text: None };
        let outputs = Outputs { embeddings, fused: Some(image), ..Outputs::default() };
        let subject = Rows { of: (0..points.len()).map(Some).collect(), outputs };
        (table, Answers { subject, ..Answers::default() })
    }

    pub fn mine(written: Value, (table, answers): &(ScoreTable, Answers), diagnoses: &[Diagnosis]) -> Result<Selection> {
        let miner = crate::mine::table().build(&written).map_err(|p| format!("{p:?}")).unwrap().operator;
        let seeds = SeedTree::new(7).round(1).stage("m");
        miner.mine(table, diagnoses, &MineContext { stage: "m", round: 1, rounds: 1, losses: &[], answers, seeds })
    }

    const POINTS: [Point; 4] = [(0.0, 0.0, Some(0), 0), (30.0, 0.0, Some(0), 1), (40.0, 0.0, Some(1), 2), (170.0, 0.0, Some(1), 3)];

    fn chord(degrees: f64) -> f32 {
        (2.0 * (degrees.to_radians() / 2.0).sin()) as f32
    }

    #[test]
    fn batch_hard_on_a_worked_circle() {
        let world = world(&POINTS);
        let found = mine(json!({ "triplets": { "margin": 0.2, "fraction": 1.0 } }), &world, &[]).unwrap();
        // s0: positive s1 at 30, negative s2 at 40: 0.2 + chord 30 - chord 40 > 0; s3: positive s2 at 130, negative s1 at 140.
        let expected = [(30.0, 40.0), (30.0, 10.0), (130.0, 10.0), (130.0, 140.0)].map(|(p, n)| 0.2 + chord(p) - chord(n));
        let scores: Vec<f32> = found.samples.iter().map(|s| s.score).collect();
        assert_eq!(scores.len(), 4);
        assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{scores:?} {expected:?}");
        let s2 = &found.samples[2];
        assert_eq!((s2.positives[0].id.as_str(), s2.negatives[0].id.as_str()), ("s3", "s1"));
        assert!((s2.negatives[0].similarity - 10f32.to_radians().cos()).abs() < 1e-6);
        // With a quarter the anchor with the greatest violation is left.
        let one = mine(json!({ "triplets": { "margin": 0.2, "fraction": 0.25 } }), &world, &[]).unwrap();
        assert_eq!(one.samples.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s2"]);
        // A margin of next to nothing leaves those alone that are right already.
        let few = mine(json!({ "triplets": { "margin": 0.01, "fraction": 1.0 } }), &world, &[]).unwrap();
        assert_eq!(few.samples.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    }

    #[test]
    fn every_kind_pairs_classes_rightly() {
        let points: Vec<Point> = (0..60).map(|i| (f64::from(i) * 37.0 % 360.0, 0.0, Some(i as usize % 3), i as usize)).collect();
        let world = world(&points);
        for kind in ["batch_hard", "semi_hard", "easy_positive", "easy_positive_semi_hard", "multi_similarity", "distance_weighted"] {
            let found =
                mine(json!({ "triplets": { "kind": kind, "margin": 1.0, "fraction": 1.0, "batch": 25, "most": 3 } }), &world, &[]).unwrap();
            assert!(!found.samples.is_empty(), "{kind}");
            for one in &found.samples {
                let class = |id: &SampleId| world.0.rows()[world.0.index(id).unwrap()].class;
                assert!(!one.positives.is_empty() && one.positives.len() <= 3 && !one.negatives.is_empty() && one.negatives.len() <= 3);
                assert!(one.positives.iter().all(|p| class(&p.id) == class(&one.id) && p.id != one.id), "{kind}");
                assert!(one.negatives.iter().all(|p| class(&p.id) != class(&one.id)), "{kind}");
                assert!(one.score > 0.0 && one.score <= 3.0);
            }
        }
    }

    proptest! {
        /// The plain function and the operator choose the same: all anchors in one batch.
        #[test]
        fn the_operator_is_the_plain_function(angles in prop::collection::vec((0u32..360, 0usize..2), 4..40)) {
            let points: Vec<Point> = angles.iter().enumerate().map(|(i, (a, class))| (f64::from(*a), 0.0, Some(*class), i)).collect();
            let world = world(&points);
            let found = mine(json!({ "triplets": { "margin": 2.0, "fraction": 1.0 } }), &world, &[]).unwrap();
            let (rows, dim, values) = world.1.subject.vectors(&world.0, Space::Fused);
            let classes: Vec<usize> = points.iter().map(|p| p.2.unwrap()).collect();
            let batch = Embeddings::new(&values, dim).unwrap().with_classes(&classes).unwrap();
            let plain = batch_hard(Compare::within(&batch)).unwrap();
            prop_assert_eq!(rows.len(), points.len());
            let expected: Vec<(usize, f64, f64)> = plain.iter().map(|t| {
                let d = |j: u32| Compare::within(&batch).length_between(t.anchor as usize, j as usize);
                (t.anchor as usize, d(t.positive), d(t.negative))
            }).filter(|(_, p, n)| 2.0 + p - n > 1e-6).collect();
            prop_assert_eq!(found.samples.len(), expected.len());
            for (one, (anchor, p, n)) in found.samples.iter().zip(expected) {
                prop_assert_eq!(one.row, anchor);
                prop_assert!((f64::from(one.score) - (2.0 + p - n)).abs() < 1e-5);
            }
        }

        /// The order of the data changes nothing.
        #[test]
        fn the_order_of_the_rows_does_not_matter(angles in prop::collection::vec((0u32..36, 0usize..3), 6..50), kind in 0usize..3) {
            let kind = ["batch_hard", "semi_hard", "distance_weighted"][kind];
            let points: Vec<Point> = angles.iter().enumerate().map(|(i, (a, class))| (f64::from(*a) * 10.0, 0.0, Some(*class), i)).collect();
            let (table, answers) = world(&points);
            let turn = |n: usize| (0..n).rev().collect::<Vec<_>>();
            let back = turn(points.len());
            let rows = back.iter().map(|i| table.rows()[*i].clone()).collect();
            let turned = (ScoreTable::new(rows, 2).unwrap(), Answers { subject: answers.subject.pick(&back, false, true, ModalitySet::ALL), ..Answers::default() });
            let written = json!({ "triplets": { "kind": kind, "margin": 0.5, "fraction": 0.7, "batch": 5 } });
            let told = |world: &(ScoreTable, Answers)| {
                let mut all: Vec<_> = mine(written.clone(), world, &[]).unwrap().samples.into_iter()
                    .map(|s| (s.id, s.score.to_bits(), s.positives, s.negatives)).collect();
                all.sort_by(|a, b| a.0.cmp(&b.0));
                all
            };
            prop_assert_eq!(told(&(table, answers)), told(&turned));
        }
    }
}
