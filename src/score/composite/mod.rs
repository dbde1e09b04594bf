//! Several columns made into one: a sum of ranks, or a formula.

mod formula;

pub use formula::{Formula, FormulaError};

use super::{Scorer, TableScores};
use crate::{
    context::TableContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, Score, metrics},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One hardness from several columns, by weighted ranks or by a formula.
///
/// Method: with `weights`, `composite` is `sum_j w_j rank01(s_j)`, where `rank01` is the rank of the score among the present (0 the least, 1 the largest, ties share
/// their mean): columns of different units become comparable, and no outlier decides. Where some terms of a row are absent, the sum of the others is scaled
/// by `sum |w| / sum |w of the present|`. A negative weight turns a column round. With `formula`, `composite` is that formula of the columns of earlier stages: `+ - * / ^`, parentheses,
/// numbers, `rank()`, `z()`, `log()`, `exp()`, `abs()`, `min()`, `max()`, `clip(x, low, high)`; absent where a term is absent or the result is not a finite number. The figures
/// of the run hold Spearman's rank correlation of the terms with each other and with the result, over the rows that have both: two terms
/// that correlate highly are one term twice.
///
/// Reference: Spearman, The Proof and Measurement of Association between Two Things, 1904.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Composite {
    /// Weight of each column: finite, not 0. Either this or `formula`.
    pub weights: Option<BTreeMap<String, f64>>,
    /// A formula such as `rank(loss) * (1 - clip(el2n, 0, 1))`, at most 4096 bytes. Either this or `weights`.
    pub formula: Option<String>,
}

impl Configure<dyn Scorer> for Composite {
    const NAME: &'static str = "composite";
    const EXAMPLE: &'static str = "{ weights: { loss: 1.0, entropy: 0.5 } }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let (weights, text) = match (self.weights, self.formula) {
            (Some(weights), None) => (weights, None),
            (None, Some(text)) => (BTreeMap::new(), Some(text)),
            (None, None) => return Err(vec![Problem::new("", "expected `weights` or a `formula`, found neither")]),
            (Some(_), Some(_)) => return Err(vec![Problem::new("formula", "expected `weights` or a `formula`, found both")]),
        };
        let Some(text) = text else {
            let mut problems: Vec<Problem> = weights
                .iter()
                .filter(|(_, weight)| !weight.is_finite() || **weight == 0.0)
                .map(|(name, weight)| {
                    Problem::new(format!("weights.{name}"), format!("expected a finite weight other than 0, found {weight}"))
                })
                .collect();
            if weights.is_empty() {
                problems.push(Problem::new("weights", "expected at least one column"));
            }
            return if problems.is_empty() { Ok(Box::new(Ranks(weights))) } else { Err(problems) };
        };
        match Formula::parse(&text) {
            Ok(formula) if formula.names().is_empty() => Err(vec![Problem::new("formula", "expected at least one column in the formula")]),
            Ok(formula) => Ok(Box::new(formula)),
            Err(FormulaError { at, message }) => {
                Err(vec![Problem::new("formula", format!("at character {}: {message}", text[..at].chars().count() + 1))])
            }
        }
    }
}

const ABOUT: &str = "composite of several columns, in the units of its weights or formula";

/// The weighted sum of ranks.
struct Ranks(BTreeMap<String, f64>);

impl Scorer for Ranks {
    fn table_columns(&self) -> Vec<Column> {
        vec![Column::hardness("composite", ABOUT)]
    }
    fn requirements(&self) -> Requirements {
        Requirements { columns: self.0.keys().cloned().collect(), ..Requirements::default() }
    }
    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        let names: Vec<String> = self.0.keys().cloned().collect();
        let weights: Vec<f64> = self.0.values().copied().collect();
        finish(context, &names, |columns| weighted_ranks(columns, &weights), "every term is absent")
    }
}

impl Scorer for Formula {
    fn table_columns(&self) -> Vec<Column> {
        vec![Column::hardness("composite", ABOUT)]
    }
    fn requirements(&self) -> Requirements {
        Requirements { columns: self.names().to_vec(), ..Requirements::default() }
    }
    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        finish(context, self.names(), |columns| self.evaluate(columns), "the formula is not a finite number here")
    }
}

/// `sum_j w_j rank01(s_j)` of each row over the terms that are there, scaled by `sum |w| / sum |w of those|`; NaN where none is. `columns`, one a
/// weight and of one length, hold NaN where a number is absent.
pub fn weighted_ranks(columns: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let rows = columns.first().map_or(0, Vec::len);
    let (mut sum, mut there) = (vec![0.0; rows], vec![0.0; rows]);
    for (column, weight) in columns.iter().zip(weights) {
        for (row, rank) in formula::rank01(column).into_iter().enumerate().filter(|(_, rank)| !rank.is_nan()) {
            sum[row] += weight * rank;
            there[row] += weight.abs();
        }
    }
    let whole: f64 = weights.iter().map(|w| w.abs()).sum();
    sum.into_iter().zip(there).map(|(sum, there)| if there > 0.0 { sum * (whole / there) } else { f64::NAN }).collect()
}

fn finish(context: &TableContext<'_>, names: &[String], of: impl Fn(&[Vec<f64>]) -> Vec<f64>, undefined: &str) -> Result<TableScores> {
    let scores: Vec<&[Score]> = names.iter().map(|name| context.table.require(name)).collect::<Result<_>>()?;
    let columns: Vec<Vec<f64>> =
        scores.iter().map(|column| column.iter().map(|score| score.get().map_or(f64::NAN, f64::from)).collect()).collect();
    let result = of(&columns);
    let missing = |row: usize| scores.iter().zip(names).find(|(column, _)| column[row].get().is_none()).map(|(_, name)| name);
    let cell = |(row, value): (usize, &f64)| match *value as f32 {
        known if known.is_finite() => Score::Known(known),
        _ => Score::absent(missing(row).map_or_else(|| undefined.to_owned(), |name| format!("`{name}` is absent"))),
    };
    let column: Vec<Score> = result.iter().enumerate().map(cell).collect();
    let mut figures = BTreeMap::new();
    let whole = "composite".to_owned();
    let mut all: Vec<(&String, &[Score])> = names.iter().zip(scores.iter().copied()).collect();
    all.push((&whole, &column));
    for (i, (a, left)) in all.iter().enumerate() {
        for (b, right) in &all[i + 1..] {
            let (x, y): (Vec<f32>, Vec<f32>) = left.iter().zip(right.iter()).filter_map(|(a, b)| Some((a.get()?, b.get()?))).unzip();
            if let Some(rho) = metrics::spearman(&x, &y) {
                figures.insert(format!("spearman({a}, {b})"), rho);
            }
        }
    }
    Ok(TableScores { columns: vec![column], figures })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Answers,
        random::SeedTree,
        sample::{ModalitySet, SampleId, ScoreTable, TableRow},
        score::table as scorers,
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn table(columns: &[(&str, &[Option<f32>])]) -> ScoreTable {
        let row = |i: usize| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: None,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new((0..columns[0].1.len()).map(row).collect(), 2).unwrap();
        for (name, values) in columns {
            let scores = values.iter().map(|v| v.map_or_else(|| Score::absent("missing"), Score::Known)).collect();
            table.add(Column::hardness(*name, ""), scores).unwrap();
        }
        table
    }

    fn run(written: Value, table: &ScoreTable) -> TableScores {
        let scorer = scorers().build(&json!({ "composite": written })).map_err(|p| format!("{p:?}")).unwrap().operator;
        scorer.score_table(&TableContext { table, answers: &Answers::default(), seeds: SeedTree::new(1) }).unwrap()
    }

    #[test]
    fn a_weighted_sum_of_ranks_with_its_correlations() {
        let some = |v: [f32; 4]| v.map(Some);
        let table = table(&[("a", &some([1.0, 2.0, 3.0, 4.0])), ("b", &[Some(9.0), Some(7.0), None, Some(7.0)])]);
        let found = run(json!({ "weights": { "a": 2.0, "b": -1.0 } }), &table);
        // Ranks of a: 0, 1/3, 2/3, 1; of b: 1, 1/4, absent, 1/4. The third row has two of three shares.
        let right = [-1.0, 2.0 / 3.0 - 0.25, 4.0 / 3.0 * 1.5, 1.75];
        assert!(found.columns[0].iter().zip(right).all(|(s, r)| (s.get().unwrap() - r).abs() < 1e-6), "{:?}", found.columns);
        let names: Vec<&String> = found.figures.keys().collect();
        assert_eq!(names, ["spearman(a, b)", "spearman(a, composite)", "spearman(b, composite)"]);
        // a against b over rows 0, 1, 3: ranks 0 1 2 and 2 .5 .5.
        assert!((found.figures["spearman(a, b)"] + 1.5 / (2.0f64 * 1.5).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_formula_says_why_a_row_is_absent() {
        let table = table(&[("a", &[Some(1.0), Some(0.0), None]), ("m.b", &[Some(2.0), Some(2.0), Some(2.0)])]);
        let found = run(json!({ "formula": "m.b / a" }), &table);
        let right = [Score::Known(2.0), Score::absent("the formula is not a finite number here"), Score::absent("`a` is absent")];
        assert_eq!(found.columns[0], right);
        let none = run(json!({ "weights": { "a": 1.0 } }), &table);
        assert_eq!(none.columns[0][2], Score::absent("`a` is absent"));
    }

    #[test]
    fn an_empty_table_gives_an_empty_column() {
        let table = table(&[("a", &[])]);
        for written in [json!({ "formula": "rank(a) + z(a)" }), json!({ "weights": { "a": 1.0 } })] {
            let found = run(written, &table);
            assert!(found.columns[0].is_empty() && found.figures.is_empty());
        }
    }

    #[test]
    fn what_is_refused() {
        let problem = |written: Value| scorers().build(&json!({ "composite": written })).err().unwrap().remove(0).to_string();
        assert_eq!(problem(json!({})), "composite: expected `weights` or a `formula`, found neither");
        assert_eq!(problem(json!({ "weights": {}, "formula": "a" })), "composite.formula: expected `weights` or a `formula`, found both");
        assert_eq!(problem(json!({ "weights": { "a": 0.0 } })), "composite.weights.a: expected a finite weight other than 0, found 0");
        assert_eq!(problem(json!({ "weights": {} })), "composite.weights: expected at least one column");
        assert_eq!(problem(json!({ "formula": "1 + 2" })), "composite.formula: expected at least one column in the formula");
        assert_eq!(
            problem(json!({ "formula": "é +" })),
            "composite.formula: at character 4: expected a number, a column, a function or `(`, found the end"
        );
    }
}
