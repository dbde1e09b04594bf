use super::{
    Scorer, TableScores,
    pairs::{Against, against},
};
use crate::{
    context::{Space, TableContext},
    error::{Error, Problem, Result},
    nearest::normalise,
    operator::{Configure, Kept, Requirements, Table},
    sample::{Column, Modality, ModalitySet, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How badly the embeddings of two modalities of a sample fit each other.
///
/// Method: with `u_i` and `v_i` the subject's embeddings of the two modalities at length 1 and `c_i = <u_i, v_i>`, `embedding_mismatch` is `1 - c_i`, 0..=2;
/// `mismatch_rank` is the share of the other samples `j` with `<u_i, v_j> > c_i`, the mean of both directions, 0..=1; `mismatch_margin` is
/// `max_j <u_i, v_j> - c_i`, the larger of both directions, -2..=2 (above 0: another partner fits better). Other samples are those of other
/// groups and, with `exclude_class`, of another class or none. Absent where a modality is missing. The numbers mean what the embeddings mean: they
/// need two encoders with one space (trained contrastively, as CLIP is), which the built-in model does not promise; the ranks suffer least.
///
/// Reference: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingMismatch {
    /// The two modalities.
    pub pair: [Modality; 2],
    /// Whether samples of the same class are no rivals: another seven fits this seven as well.
    pub exclude_class: bool,
}

impl Default for EmbeddingMismatch {
    fn default() -> Self {
        Self { pair: [Modality::Image, Modality::Audio], exclude_class: true }
    }
}

impl Configure<dyn Scorer> for EmbeddingMismatch {
    const NAME: &'static str = "embedding_mismatch";
    const EXAMPLE: &'static str = "{ pair: [image, audio] }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        match one_twice(self.pair) {
            Some(problem) => Err(vec![problem]),
            None => Ok(Box::new(self)),
        }
    }
}

impl Scorer for EmbeddingMismatch {
    fn table_columns(&self) -> Vec<Column> {
        let [a, b] = self.pair;
        vec![
            Column::hardness("embedding_mismatch", format!("1 minus the cosine of {a} and {b}, 0..=2")),
            Column::hardness("mismatch_rank", "share of other samples whose partner fits better, 0..=1"),
            Column::hardness("mismatch_margin", "cosine to the best other partner minus that to the own, -2..=2"),
        ]
    }

    fn requirements(&self) -> Requirements {
        embeddings(self.pair)
    }

    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        // The temperature plays no part in cosines and ranks.
        let both = Both::of(context, self.pair, self.exclude_class, 1.0)?;
        let columns = both.columns(context, self.pair, |there, back| {
            let alone = || Score::absent("no other sample to compare with");
            let share = |one: &Against| one.rank as f64 / one.others as f64;
            let known = |v: f64| Score::Known(v as f32);
            let others = there.others > 0 && back.others > 0;
            [
                known((1.0 - there.own).clamp(0.0, 2.0)),
                if others { known((share(there) + share(back)) / 2.0) } else { alone() },
                if others { known((there.best_other.max(back.best_other) - there.own).clamp(-2.0, 2.0)) } else { alone() },
            ]
        });
        Ok(TableScores { columns, figures: BTreeMap::new() })
    }
}

/// A pair needs two modalities.
pub(super) fn one_twice([a, b]: [Modality; 2]) -> Option<Problem> {
    (a == b).then(|| Problem::new("pair", format!("expected two modalities, found {a} twice")))
}

/// The embeddings of a pair.
pub(super) fn embeddings(pair: [Modality; 2]) -> Requirements {
    let embeddings: ModalitySet = pair.into_iter().collect();
    Requirements { embeddings, compared: embeddings, kept: Kept { embeddings, ..Kept::default() }, ..Requirements::default() }
}

/// All samples that have both modalities, each against the others in both directions.
pub(super) struct Both {
    /// Rows of the table.
    rows: Vec<usize>,
    there: Vec<Against>,
    back: Vec<Against>,
}

impl Both {
    pub(super) fn of(context: &TableContext<'_>, pair: [Modality; 2], exclude_class: bool, temperature: f64) -> Result<Self> {
        let table = context.table;
        let [(a, dim, u), (b, other, v)] = pair.map(|modality| context.answers.subject.vectors(table, Space::from(modality)));
        if dim != other && !a.is_empty() && !b.is_empty() {
            let [first, second] = pair;
            let message = format!("the embeddings of {first} and {second} cannot be compared: they have {dim} and {other} numbers");
            return Err(Error::model(message));
        }
        // Those of the rows that have both.
        let common = |own: &[usize], theirs: &[usize], values: &[f32]| -> Vec<f32> {
            let kept = own.iter().zip(values.chunks_exact(dim.max(1))).filter(|(row, _)| theirs.binary_search(row).is_ok());
            let mut kept: Vec<f32> = kept.flat_map(|(_, value)| value).copied().collect();
            normalise(&mut kept, dim);
            kept
        };
        let (u, v) = (common(&a, &b, &u), common(&b, &a, &v));
        let rows: Vec<usize> = a.into_iter().filter(|row| b.binary_search(row).is_ok()).collect();
        let of = |i: usize| &table.rows()[rows[i]];
        let allow = |i: usize, j: usize| {
            let (one, other) = (of(i), of(j));
            one.group != other.group && !(exclude_class && one.class.is_some() && one.class == other.class)
        };
        let there = against(&u, &v, dim, temperature, allow);
        let back = against(&v, &u, dim, temperature, allow);
        Ok(Self { rows, there, back })
    }

    /// Columns of the whole table from what is known of each pair in both directions.
    pub(super) fn columns<const N: usize>(
        &self,
        context: &TableContext<'_>,
        pair: [Modality; 2],
        of: impl Fn(&Against, &Against) -> [Score; N],
    ) -> Vec<Vec<Score>> {
        let missing = |row: usize| {
            let present = context.table.rows()[row].present;
            match pair.into_iter().find(|modality| !present.has(*modality)) {
                Some(modality) => Score::absent(format!("the {modality} is missing")),
                None => Score::absent("the model gives no embedding of both"),
            }
        };
        let mut columns: Vec<Vec<Score>> = (0..N).map(|_| (0..context.table.len()).map(missing).collect()).collect();
        for ((row, there), back) in self.rows.iter().zip(&self.there).zip(&self.back) {
            columns.iter_mut().zip(of(there, back)).for_each(|(column, score)| column[*row] = score);
        }
        columns
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        context::{Answers, Rows},
        model::{Matrix, Outputs},
        random::SeedTree,
        sample::{PerModality, SampleId, ScoreTable, TableRow},
        score::table as scorers,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Samples by the angles of image and audio on the circle, class and group; no audio where the angle is NaN.
    pub fn world(points: &[(f64, f64, Option<usize>, usize)]) -> (ScoreTable, Answers) {
        let row = |(i, (_, audio, class, group)): (usize, &(f64, f64, Option<usize>, usize))| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: *class,
            present: if audio.is_nan() { ModalitySet::one(Modality::Image) } else { ModalitySet::ALL },
            group: *group,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(points.iter().enumerate().map(row).collect(), 2).unwrap();
        let matrix = |of: &dyn Fn(&(f64, f64, Option<usize>, usize)) -> f64, scale: f32| Matrix {
            columns: 2,
            values: points.iter().flat_map(|p| [of(p).cos() as f32 * scale, of(p).sin() as f32 * scale]).collect(),
        };
        let embeddings = PerModality { image: Some(matrix(&|p| p.0, 2.0)), audio: Some(matrix(&|p| p.1, 0.5)), text: None };
        let subject = Rows { of: (0..points.len()).map(Some).collect(), outputs: Outputs { embeddings, ..Outputs::default() } };
        (table, Answers { subject, ..Answers::default() })
    }

    pub fn run(written: Value, (table, answers): &(ScoreTable, Answers)) -> Vec<Vec<Score>> {
        let scorer = scorers().build(&written).map_err(|p| format!("{p:?}")).unwrap().operator;
        let found = scorer.score_table(&TableContext { table, answers, seeds: SeedTree::new(1) }).unwrap();
        assert_eq!(found.columns.len(), scorer.table_columns().len());
        found.columns
    }

    #[test]
    fn a_worked_circle() {
        // The partners of 0 and 1 are swapped; 2 fits; 3 has no audio.
        let world = world(&[(0.0, 1.0, Some(0), 0), (1.0, 0.0, Some(1), 1), (2.5, 2.5, Some(1), 2), (0.0, f64::NAN, Some(0), 3)]);
        let found = run(json!({ "embedding_mismatch": {} }), &world);
        let close = |column: usize, row: usize, right: f64| {
            let value = found[column][row].get().unwrap();
            assert!((f64::from(value) - right).abs() < 1e-6, "column {column} row {row}: {value} {right}");
        };
        close(0, 0, 1.0 - 1f64.cos());
        close(0, 2, 0.0);
        // Row 0 image: the audio of 1 fits better, that of 2 (2.5 away) does not; audio of 0 (1.0): image 1 fits better, image 2 not.
        close(1, 0, 0.5);
        close(2, 0, 1.0 - 1f64.cos());
        // 1 and 2 are of one class: only 0 is a rival of 2.
        close(1, 2, 0.0);
        close(2, 2, 1.5f64.cos() - 1.0);
        assert_eq!(found[0][3], Score::absent("the audio is missing"));
    }

    #[test]
    fn rivals_are_of_another_group_and_class() {
        let world = world(&[(0.0, 1.0, Some(0), 0), (1.0, 0.0, Some(0), 1), (0.0, 0.0, None, 1)]);
        let all = run(json!({ "embedding_mismatch": { "exclude_class": false } }), &world);
        // Row 0 against 1 and 2 (image to audio: both fit better; audio to image: 1 does), row 1 against 0 alone.
        assert_eq!((all[1][0].get(), all[1][1].get()), (Some(0.75), Some(1.0)));
        let classes = run(json!({ "embedding_mismatch": {} }), &world);
        assert_eq!(classes[1][1], Score::absent("no other sample to compare with"));
        assert!(classes[0][1].get().is_some() && classes[1][2].get().is_some());
    }

    #[test]
    fn what_is_refused() {
        let problem = scorers().build(&json!({ "embedding_mismatch": { "pair": ["text", "text"] } })).err().unwrap().remove(0).to_string();
        assert_eq!(problem, "embedding_mismatch.pair: expected two modalities, found text twice");
        let (table, mut answers) = world(&[(0.0, 1.0, Some(0), 0)]);
        answers.subject.outputs.embeddings.audio = Some(Matrix { columns: 3, values: vec![1.0; 3] });
        let scorer = scorers().build(&json!({ "embedding_mismatch": {} })).unwrap_or_else(|p| panic!("{p:?}")).operator;
        let error = scorer.score_table(&TableContext { table: &table, answers: &answers, seeds: SeedTree::new(1) }).unwrap_err();
        assert!(error.message().ends_with("they have 2 and 3 numbers"));
        assert!(run(json!({ "embedding_mismatch": {} }), &world(&[])).iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn scores_stay_in_their_ranges(points in prop::collection::vec((0.0f64..6.3, 0.0f64..6.3, prop::option::of(0usize..3), 0usize..8), 0..30)) {
            let found = run(json!({ "embedding_mismatch": {} }), &world(&points));
            for (column, limits) in [(0, 0.0..=2.0f32), (1, 0.0..=1.0), (2, -2.0..=2.0)] {
                prop_assert!(found[column].iter().all(|s| s.get().is_none_or(|v| limits.contains(&v))));
            }
            // Where another partner fits better, the margin is above 0, and the other way round but for rounding.
            for (rank, margin) in found[1].iter().zip(&found[2]) {
                if let (Some(rank), Some(margin)) = (rank.get(), margin.get()) {
                    prop_assert!(if rank > 0.0 { margin > 0.0 } else { margin < 1e-5 }, "{} {}", rank, margin);
                }
            }
        }
    }
}
