use super::{Scorer, TableScores};
use crate::{
    context::{Space, TableContext},
    error::{Problem, Result},
    nearest::{Neighbour, ivf::InvertedFile, nearest, normalise},
    operator::{Configure, Kept, Requirements, Table},
    random::SeedTree,
    sample::{Column, ModalitySet, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the nearest samples in an embedding say: another label, far away, all but the same.
///
/// Method: the `k` samples of other groups (a group shares a medium or a `group_by` value, so copies do not vouch for each other) with the largest
/// cosine of the subject's embeddings. `neighbour_disagreement` is the share of the labelled ones among them whose class is not the sample's, 0..=1. `outlier_distance` is the mean
/// of `1 - cos` over them, 0..=2; `outlier_factor` is that by the mean of the same number over the neighbours (a simplified local outlier factor: 1 is as dense as around
/// them, larger is lonelier). `nearest_similarity` is the largest cosine, near 1 for a near-duplicate, and `nearest_row` the row of that sample in the score table, from 0.
/// The search is exact up to `exact_up_to` samples and by an inverted file above (seeded, `4 sqrt(n)` cells).
///
/// Reference: Cover, Hart, Nearest Neighbor Pattern Classification, 1967; Breunig, Kriegel, Ng, Sander, LOF: Identifying Density-Based Local
/// Outliers, 2000; Sivic, Zisserman, Video Google, 2003 (the inverted file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Neighbours {
    /// Whose embedding: `fused`, `image`, `audio` or `text`.
    pub space: Space,
    /// Neighbours of each sample, 1..=1000; fewer where there are fewer.
    pub k: usize,
    /// Most samples that are searched exactly, in a time that grows with their square.
    pub exact_up_to: usize,
    /// Cells of the inverted file that each sample looks into, at least 1; more finds more of the true neighbours.
    pub probes: usize,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self { space: Space::Fused, k: 10, exact_up_to: 100_000, probes: 32 }
    }
}

impl Configure<dyn Scorer> for Neighbours {
    const NAME: &'static str = "neighbours";
    const EXAMPLE: &'static str = "{ space: fused, k: 10 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=1000).contains(&self.k) {
            problems.push(Problem::new("k", format!("expected 1 to 1000, found {}", self.k)));
        }
        if self.probes == 0 {
            problems.push(Problem::new("probes", "expected at least 1, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for Neighbours {
    fn table_columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("neighbour_disagreement", "share of the nearest samples with another class, 0..=1"),
            Column::hardness("outlier_distance", "mean cosine distance to the nearest samples, 0..=2"),
            Column::hardness("outlier_factor", "outlier_distance by that of the nearest samples, at least 0; 1 is as dense as there"),
            Column::measure("nearest_similarity", "cosine to the nearest sample of another group, -1..=1"),
            Column::measure("nearest_row", "row of that sample in the score table, from 0"),
        ]
    }

    fn requirements(&self) -> Requirements {
        let embeddings = self.space.modality().map_or(ModalitySet::EMPTY, ModalitySet::one);
        let kept = Kept { embeddings, fused: self.space == Space::Fused, ..Kept::default() };
        Requirements { embeddings, kept, ..Requirements::default() }
    }

    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        let table = context.table;
        let (rows, dim, mut vectors) = context.answers.subject.vectors(table, self.space);
        normalise(&mut vectors, dim);
        let group: Vec<usize> = rows.iter().map(|&row| table.rows()[row].group).collect();
        let found = self.search(&vectors, dim, &group, &context.seeds);
        let class: Vec<Option<usize>> = rows.iter().map(|&row| table.rows()[row].class).collect();
        let missing = |row: usize| match self.space.modality() {
            Some(modality) if !table.rows()[row].present.has(modality) => Score::absent(format!("the {modality} is missing")),
            _ => Score::absent(format!("the model gives no {} embedding", if self.space == Space::Fused { "fused" } else { "such" })),
        };
        let mut columns: Vec<Vec<Score>> = (0..5).map(|_| (0..table.len()).map(missing).collect()).collect();
        for (own, scores) in of_neighbours(&found, &class).into_iter().enumerate() {
            let why = |what: &str| Score::absent(what.to_owned());
            let known = |v: f64| Score::Known(v as f32);
            let alone = || why("no sample of another group");
            columns[0][rows[own]] = match (class[own], scores.disagreement) {
                (None, _) => why("no label"),
                (_, None) => why("no labelled neighbour"),
                (_, Some(share)) => known(share),
            };
            columns[1][rows[own]] = scores.distance.map_or_else(alone, known);
            columns[2][rows[own]] = scores.factor.map_or_else(alone, known);
            columns[3][rows[own]] = found[own].first().map_or_else(alone, |n| known(f64::from(n.similarity)));
            columns[4][rows[own]] = found[own].first().map_or_else(alone, |n| known(rows[n.row] as f64));
        }
        Ok(TableScores { columns, figures: BTreeMap::new() })
    }
}

impl Neighbours {
    fn search(&self, vectors: &[f32], dim: usize, group: &[usize], seeds: &SeedTree) -> Vec<Vec<Neighbour>> {
        let allow = |a: usize, b: usize| group[a] != group[b];
        if group.len() <= self.exact_up_to {
            return nearest(vectors, vectors, dim, self.k, allow);
        }
        let cells = (4.0 * (group.len() as f64).sqrt()) as usize;
        InvertedFile::build(vectors, dim, cells, &mut seeds.child("cells").rng()).nearest(vectors, self.k, self.probes, allow)
    }
}

/// What the neighbours of one sample say; `None` where nobody can say it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OfNeighbours {
    /// Share of the labelled neighbours with another class.
    pub disagreement: Option<f64>,
    /// Mean of `1 - cos`.
    pub distance: Option<f64>,
    /// `distance` by the mean of the neighbours' own; 1 where both are 0.
    pub factor: Option<f64>,
}

/// Disagreement, distance and outlier factor of each sample from its neighbours (cosines) and the class of each sample.
pub fn of_neighbours(found: &[Vec<Neighbour>], class: &[Option<usize>]) -> Vec<OfNeighbours> {
    // Rounding makes the cosine of equal vectors a little more than 1.
    let distance = |n: &Neighbour| (1.0 - f64::from(n.similarity)).clamp(0.0, 2.0);
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let own: Vec<Option<f64>> = found.iter().map(|of| mean(&of.iter().map(distance).collect::<Vec<_>>())).collect();
    let score = |(i, of): (usize, &Vec<Neighbour>)| {
        let labels: Vec<f64> = match class[i] {
            Some(class_of) => of.iter().filter_map(|n| class[n.row]).map(|c| f64::from(u8::from(c != class_of))).collect(),
            None => Vec::new(),
        };
        let theirs = mean(&of.iter().filter_map(|n| own[n.row]).collect::<Vec<_>>());
        // Where all are copies of one another nothing is lonely; the floor is the precision of a cosine.
        let factor = own[i].zip(theirs).map(|(own, theirs)| (own + 1e-7) / (theirs + 1e-7));
        OfNeighbours { disagreement: mean(&labels), distance: own[i], factor }
    };
    found.iter().enumerate().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::{Answers, Rows},
        model::{Matrix, Outputs},
        sample::{Modality, PerModality, SampleId, ScoreTable, TableRow},
        score::table as scorers,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Samples on the circle by their angle, with class and group; every third one lacks the audio.
    fn world(points: &[(f64, Option<usize>, usize)]) -> (ScoreTable, Answers) {
        let row = |(i, (_, class, group)): (usize, &(f64, Option<usize>, usize))| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: *class,
            present: if i % 3 == 2 { ModalitySet::one(Modality::Image) } else { ModalitySet::ALL },
            group: *group,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(points.iter().enumerate().map(row).collect(), 2).unwrap();
        let values: Vec<f32> = points.iter().flat_map(|(a, ..)| [a.cos() as f32 * 3.0, a.sin() as f32 * 3.0]).collect();
        let matrix = Matrix { columns: 2, values };
        let embeddings = PerModality { audio: Some(matrix.clone()), ..PerModality::default() };
        let outputs = Outputs { fused: Some(matrix), embeddings, ..Outputs::default() };
        (table, Answers { subject: Rows { of: (0..points.len()).map(Some).collect(), outputs }, ..Answers::default() })
    }

    fn run(written: Value, (table, answers): &(ScoreTable, Answers)) -> Vec<Vec<Score>> {
        let scorer = scorers().build(&json!({ "neighbours": written })).map_err(|p| format!("{p:?}")).unwrap().operator;
        let found = scorer.score_table(&TableContext { table, answers, seeds: SeedTree::new(1) }).unwrap();
        assert_eq!(found.columns.len(), scorer.table_columns().len());
        found.columns
    }

    #[test]
    fn a_worked_circle() {
        // Row 1 is a copy of row 0 in the same group; row 3 has another class; row 4 is far away and unlabelled.
        let world = world(&[(0.0, Some(0), 0), (0.0, Some(0), 0), (0.1, Some(0), 1), (0.2, Some(1), 2), (2.0, None, 3)]);
        let found = run(json!({ "k": 2 }), &world);
        let close = |column: usize, row: usize, right: f64| {
            let value = found[column][row].get().unwrap();
            assert!((f64::from(value) - right).abs() < 1e-4 * right.abs().max(1.0), "column {column} row {row}: {value} {right}");
        };
        let d = |angle: f64| 1.0 - angle.cos();
        close(0, 0, 0.5);
        close(1, 0, (d(0.1) + d(0.2)) / 2.0);
        // Its neighbours are 2 (0 and 1 at .1 each: both nearer than 3, or equal to it) and 3 (2 at .1, 0 at .2).
        close(2, 0, (d(0.1) + d(0.2)) / 2.0 / ((d(0.1) + (d(0.1) + d(0.2)) / 2.0) / 2.0));
        close(3, 0, 0.1f64.cos());
        close(4, 0, 2.0);
        close(0, 3, 1.0);
        assert_eq!(found[0][4], Score::absent("no label"));
        close(1, 4, (d(1.8) + d(1.9)) / 2.0);
        assert!(found[2][4].get().unwrap() > 100.0);
    }

    #[test]
    fn what_is_missing_says_so() {
        let world = world(&[(0.0, Some(0), 0), (0.1, Some(1), 1), (0.2, Some(0), 2)]);
        let audio = run(json!({ "space": "audio", "k": 5 }), &world);
        assert_eq!(audio[0][2], Score::absent("the audio is missing"));
        assert_eq!((audio[0][0].get(), audio[4][0].get()), (Some(1.0), Some(1.0)));
        assert_eq!(run(json!({ "space": "image" }), &world)[1][0], Score::absent("the model gives no such embedding"));
        let group = super::tests::world(&[(0.0, Some(0), 4), (0.1, Some(1), 4)]);
        assert_eq!(run(json!({}), &group)[3][0], Score::absent("no sample of another group"));
        assert!(run(json!({}), &super::tests::world(&[])).iter().all(Vec::is_empty));
        let problem = |written: Value| scorers().build(&json!({ "neighbours": written })).err().unwrap().remove(0).to_string();
        assert_eq!(problem(json!({ "k": 0 })), "neighbours.k: expected 1 to 1000, found 0");
        assert_eq!(problem(json!({ "probes": 0 })), "neighbours.probes: expected at least 1, found 0");
    }

    #[test]
    fn the_inverted_file_finds_the_same_where_every_cell_is_probed() {
        let points: Vec<(f64, Option<usize>, usize)> =
            (0..60).map(|i| (f64::from(i * i) * 0.01, Some(i as usize % 2), i as usize)).collect();
        let world = world(&points);
        let exact = run(json!({ "k": 3 }), &world);
        let probed = run(json!({ "k": 3, "exact_up_to": 0, "probes": 1000 }), &world);
        assert_eq!(exact[0], probed[0]);
        assert_eq!(exact[4], probed[4]);
    }

    proptest! {
        #[test]
        fn scores_stay_in_their_ranges(points in prop::collection::vec((0.0f64..6.3, prop::option::of(0usize..3), 0usize..8), 0..40), k in 1usize..6) {
            let world = world(&points);
            let found = run(json!({ "k": k }), &world);
            for (column, limits) in [(0, 0.0..=1.0f32), (1, 0.0..=2.0), (2, 0.0..=f32::MAX), (3, -1.0001..=1.0001)] {
                prop_assert!(found[column].iter().all(|s| s.get().is_none_or(|v| limits.contains(&v))));
            }
            for (row, nearest) in found[4].iter().enumerate() {
                prop_assert!(nearest.get().is_none_or(|other| points[other as usize].2 != points[row].2));
            }
        }
    }
}
