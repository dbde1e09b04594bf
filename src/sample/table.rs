use super::{Modality, ModalitySet, PerModality, SampleId};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};

/// One cell of a score table.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// A finite number.
    Known(f32),
    /// No number, and why (a modality is missing, a sample was skipped).
    Absent(Arc<str>),
}

impl Score {
    /// Absent for a stated reason.
    pub fn absent(why: impl Into<Arc<str>>) -> Self {
        Self::Absent(why.into())
    }
    /// The number, if there is one.
    pub fn get(&self) -> Option<f32> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Absent(_) => None,
        }
    }
}

/// What the numbers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Larger is harder; miners may rank by it.
    Hardness,
    /// A measured quantity in its own units (an SNR, a predicted class); evidence, not for ranking.
    Measure,
}

/// A column: what a scorer adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name in the table and in `by:` fields.
    pub name: String,
    /// What the numbers mean.
    pub kind: ColumnKind,
    /// One line: what it is, with unit and range.
    pub about: String,
}

impl Column {
    /// A column where larger is harder.
    pub fn hardness(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Hardness, about: about.into() }
    }
    /// A measured quantity.
    pub fn measure(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Measure, about: about.into() }
    }
}

/// What the table knows of a sample besides its scores.
#[derive(Debug, Clone)]
pub struct TableRow {
    /// Stable id.
    pub id: SampleId,
    /// Class index, if labelled.
    pub class: Option<usize>,
    /// Which modalities are there.
    pub present: ModalitySet,
    /// Samples of one group are never on both sides of a split.
    pub group: usize,
    /// The manifest's extra fields, for slices and quotas.
    pub fields: Arc<Map<String, Value>>,
}

/// Scores of all samples of a round: rows are samples, columns are signals. Only finite numbers enter.
/// A copy shares them.
#[derive(Debug, Clone, Default)]
pub struct ScoreTable {
    rows: Arc<[TableRow]>,
    by_id: Arc<HashMap<SampleId, usize>>,
    sorted: Arc<[usize]>,
    columns: Vec<(Column, Arc<[Score]>)>,
    classes: usize,
    media: PerModality<Vec<Option<u32>>>,
}

impl ScoreTable {
    /// A table of these samples without columns. Ids are unique; `classes` is their number.
    pub fn new(rows: Vec<TableRow>, classes: usize) -> Result<Self> {
        let mut by_id = HashMap::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            if by_id.insert(row.id.clone(), i).is_some() {
                return Err(Error::data("the id stands twice in one score table").at("sample", &row.id));
            }
        }
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        sorted.sort_by(|a, b| rows[*a].id.cmp(&rows[*b].id));
        let (rows, by_id, sorted) = (rows.into(), Arc::new(by_id), sorted.into());
        Ok(Self { rows, by_id, sorted, columns: Vec::new(), classes, media: PerModality::default() })
    }

    /// Adds a column; a number that is not finite is refused with the sample's id.
    pub fn add(&mut self, column: Column, scores: Vec<Score>) -> Result<()> {
        if scores.len() != self.rows.len() {
            return Err(Error::internal(format!("column `{}` has {} scores for {} rows", column.name, scores.len(), self.rows.len())));
        }
        if self.column(&column.name).is_some() {
            return Err(Error::usage(format!("column `{}` stands twice; give one of the stages an `id`", column.name)));
        }
        if let Some((row, score)) = self.rows.iter().zip(&scores).find(|(_, s)| s.get().is_some_and(|v| !v.is_finite())) {
            return Err(Error::model(format!("score `{}` is {:?}, not a finite number", column.name, score)).at("sample", &row.id));
        }
        self.columns.push((column, scores.into()));
        Ok(())
    }

    /// Tells which rows hold the same image, clip or caption: rows with the same number do. `None` where the modality is missing.
    pub fn set_media(&mut self, modality: Modality, of: Vec<Option<u32>>) -> Result<()> {
        if of.len() != self.rows.len() {
            return Err(Error::internal(format!("{} numbers of media for {} rows", of.len(), self.rows.len())));
        }
        self.media[modality] = of;
        Ok(())
    }
    /// A number a row that only rows with the same medium share; empty where nobody told.
    pub fn media(&self, modality: Modality) -> &[Option<u32>] {
        &self.media[modality]
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// How many classes the data has.
    pub fn classes(&self) -> usize {
        self.classes
    }
    /// All rows.
    pub fn rows(&self) -> &[TableRow] {
        &self.rows
    }
    /// All rows by number, in the order of their ids: what is drawn of these is the same whatever the order of the manifest.
    pub fn sorted(&self) -> &[usize] {
        &self.sorted
    }
    /// Row of an id.
    pub fn index(&self, id: &SampleId) -> Option<usize> {
        self.by_id.get(id).copied()
    }
    /// All columns in the order they were added.
    pub fn columns(&self) -> impl Iterator<Item = (&Column, &[Score])> {
        self.columns.iter().map(|(column, scores)| (column, &**scores))
    }
    /// The column called `name`, or else the first of a stage with an id (`stage.name`).
    pub fn column_of_any(&self, name: &str) -> Option<&[Score]> {
        let of_stage = |own: &str| own.strip_suffix(name).is_some_and(|stage| stage.ends_with('.'));
        self.column(name).or_else(|| self.columns().find(|(own, _)| of_stage(&own.name)).map(|(_, scores)| scores))
    }
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&[Score]> {
        self.columns.iter().find(|(column, _)| column.name == name).map(|(_, scores)| &**scores)
    }
    /// The column called `name`, or an error that lists what there is.
    pub fn require(&self, name: &str) -> Result<&[Score]> {
        self.column(name)
            .ok_or_else(|| Error::usage(crate::error::unknown("column", name, self.columns.iter().map(|(c, _)| c.name.as_str()))))
    }
    /// A number, if the column and the number are there.
    pub fn value(&self, name: &str, row: usize) -> Option<f32> {
        self.column(name)?.get(row)?.get()
    }

    /// Ranks among the present: mid-ranks scaled to `0..=1` (0 the easiest, 1 the hardest, ties share their mean);
    /// `None` where the score is absent. A single present score has rank 0.5.
    pub fn rank01(scores: &[Score]) -> Vec<Option<f32>> {
        let mut order: Vec<(f32, usize)> = scores.iter().enumerate().filter_map(|(i, s)| s.get().map(|v| (v, i))).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ranks = vec![None; scores.len()];
        let last = order.len().saturating_sub(1) as f32;
        let mut from = 0;
        while from < order.len() {
            let mut to = from + 1;
            while to < order.len() && order[to].0 == order[from].0 {
                to += 1;
            }
            let middle = (from + to - 1) as f32 / 2.0;
            for (_, row) in &order[from..to] {
                ranks[*row] = Some(if last == 0.0 { 0.5 } else { middle / last });
            }
            from = to;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: usize) -> ScoreTable {
        let row = |i: usize| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: Some(0),
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        ScoreTable::new((0..n).map(row).collect(), 2).unwrap()
    }

    #[test]
    fn only_finite_numbers_enter() {
        let mut table = table(2);
        let error = table.add(Column::hardness("loss", ""), vec![Score::Known(1.0), Score::Known(f32::NAN)]).unwrap_err();
        assert_eq!(error.place("sample"), Some("s1"));
        table.add(Column::hardness("loss", ""), vec![Score::Known(1.0), Score::absent("no image")]).unwrap();
        assert_eq!((table.value("loss", 0), table.value("loss", 1)), (Some(1.0), None));
        assert!(table.require("lss").unwrap_err().to_string().contains("did you mean `loss`"));
    }

    #[test]
    fn ranks_share_ties_and_skip_the_absent() {
        let scores = [Score::Known(3.0), Score::absent("x"), Score::Known(1.0), Score::Known(3.0), Score::Known(9.0)];
        assert_eq!(ScoreTable::rank01(&scores), [Some(0.5), None, Some(0.0), Some(0.5), Some(1.0)]);
    }
}
