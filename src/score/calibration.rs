use super::{Scorer, TableScores};
use crate::{
    context::{Rows, TableContext},
    error::{Problem, Result},
    model::{Target, measure},
    operator::{Configure, Kept, Requirements, Table},
    sample::{Column, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the temperature is fitted on, and whose predictions it then tempers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FittedOn {
    /// The out-of-fold predictions of the training samples; those are tempered.
    #[default]
    OutOfFold,
    /// The subject's predictions on validation; its predictions on the training samples are tempered. A model that has fitted the training
    /// samples is surer of them than of validation, and stays so.
    Validation,
}

/// Confidence after temperature scaling: what a threshold on a probability should be held against.
///
/// Method: one temperature `T` minimises the mean negative log-likelihood of `softmax(z / T)` at the labels, 0.01..=100 (the likelihood is convex in `1 / T`, and the end of the range is taken
/// where it has no minimum inside: every prediction is right). `calibrated_doubt` is `1 - p_y` at that temperature, 0..=1, absent without a label, and `calibrated_least_confidence` is `1 - max p`,
/// label or not: a sample is hard by a certainty threshold of 0.9 where `calibrated_doubt` is above 0.1. The figures of the run hold `temperature`, the negative log-likelihood and the expected
/// calibration error (`bins` bins of equal width of `max p`: the mean over the samples of `|accuracy - confidence|` of their bin) before and after, on what the temperature was fitted on.
///
/// Reference: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, 2017; Naeini, Cooper, Hauskrecht, Obtaining Well Calibrated Probabilities Using
/// Bayesian Binning, 2015 (the expected calibration error).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// What the temperature is fitted on: `out_of_fold` (needs out-of-fold models) or `validation` (needs `data.validation`).
    pub on: FittedOn,
    /// Bins of the expected calibration error, 2..=1000.
    pub bins: usize,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { on: FittedOn::OutOfFold, bins: 15 }
    }
}

impl Configure<dyn Scorer> for Calibration {
    const NAME: &'static str = "calibration";
    const EXAMPLE: &'static str = "{ on: out_of_fold }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        if (2..=1000).contains(&self.bins) {
            return Ok(Box::new(self));
        }
        Err(vec![Problem::new("bins", format!("expected 2 to 1000, found {}", self.bins))])
    }
}

impl Scorer for Calibration {
    fn table_columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("calibrated_doubt", "1 minus the label's probability after temperature scaling, 0..=1"),
            Column::hardness("calibrated_least_confidence", "1 minus the largest probability after temperature scaling, 0..=1"),
        ]
    }

    fn requirements(&self) -> Requirements {
        match self.on {
            FittedOn::OutOfFold => {
                Requirements { teachers: true, kept: Kept { teacher_logits: true, ..Kept::default() }, ..Requirements::default() }
            }
            FittedOn::Validation => Requirements { kept: Kept { logits: true, ..Kept::default() }, ..Requirements::default() },
        }
    }

    fn score_table(&self, context: &TableContext<'_>) -> Result<TableScores> {
        let own: Vec<Option<usize>> = context.table.rows().iter().map(|row| row.class).collect();
        let (fitted, classes, answers) = match self.on {
            FittedOn::OutOfFold => (&context.answers.teacher, &own, &context.answers.teacher),
            FittedOn::Validation => (&context.answers.validation, &context.answers.validation_classes, &context.answers.subject),
        };
        let (logits, labels): (Vec<&[f32]>, Vec<usize>) = labelled(fitted, classes).unzip();
        let temperature = fit_temperature(&logits, &labels);
        let mut figures = BTreeMap::new();
        if let Some(temperature) = temperature {
            figures.insert("temperature".to_owned(), temperature);
            for (when, temperature) in [("before", 1.0), ("after", temperature)] {
                figures.insert(format!("nll_{when}"), negative_log_likelihood(&logits, &labels, temperature));
                let seen = logits.iter().zip(&labels).map(|(z, label)| {
                    let (top, p) = measure::most_probable(&tempered(z, temperature));
                    (p, top == *label)
                });
                let (confidence, right): (Vec<f64>, Vec<bool>) = seen.unzip();
                figures.extend(expected_calibration_error(&confidence, &right, self.bins).map(|ece| (format!("ece_{when}"), ece)));
            }
        }
        let mut columns: Vec<Vec<Score>> = (0..2).map(|_| Vec::with_capacity(own.len())).collect();
        for (row, class) in own.iter().enumerate() {
            let scores = match (temperature, answers.logits(row)) {
                (None, _) => [(); 2].map(|()| Score::absent("no labelled sample to fit the temperature on")),
                (_, None) => [(); 2].map(|()| Score::absent("not in any fold")),
                (Some(temperature), Some(z)) => {
                    let p = tempered(z, temperature);
                    let doubt = class.map(|class| p.get(class).map_or(1.0, |p| 1.0 - p).clamp(0.0, 1.0) as f32);
                    [
                        doubt.map_or_else(|| Score::absent("no label"), Score::Known),
                        Score::Known((1.0 - measure::most_probable(&p).1).clamp(0.0, 1.0) as f32),
                    ]
                }
            };
            columns.iter_mut().zip(scores).for_each(|(column, score)| column.push(score));
        }
        Ok(TableScores { columns, figures })
    }
}

/// Finite logits with their labels, which are columns of them.
fn labelled<'a>(rows: &'a Rows, classes: &'a [Option<usize>]) -> impl Iterator<Item = (&'a [f32], usize)> {
    classes.iter().take(rows.of.len()).enumerate().filter_map(|(i, class)| {
        let (z, class) = (rows.logits(i)?, (*class)?);
        (class < z.len() && z.iter().all(|z| z.is_finite())).then_some((z, class))
    })
}

/// `softmax(z / T)`.
fn tempered(z: &[f32], temperature: f64) -> Vec<f64> {
    let top = z.iter().fold(f64::NEG_INFINITY, |top, z| top.max(f64::from(*z)));
    let mut p: Vec<f64> = z.iter().map(|z| ((f64::from(*z) - top) / temperature).exp()).collect();
    let total: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= total);
    p
}

/// Mean negative log-likelihood in nats of `softmax(z / T)` at the labels. All slices as [`fit_temperature`] wants them.
pub fn negative_log_likelihood(logits: &[&[f32]], labels: &[usize], temperature: f64) -> f64 {
    let one = |(z, label): (&&[f32], &usize)| {
        let scaled: Vec<f32> = z.iter().map(|z| (f64::from(*z) / temperature) as f32).collect();
        f64::from(measure::cross_entropy(&scaled, &Target::Class(*label)))
    };
    logits.iter().zip(labels).map(one).sum::<f64>() / logits.len().max(1) as f64
}

/// The temperature of least mean negative log-likelihood, in 0.01..=100, by bisection of its slope in `1 / T`, which never falls. `logits` are
/// finite, as many as `labels`, and each label is one of its row's columns; `None` for no rows.
pub fn fit_temperature(logits: &[&[f32]], labels: &[usize]) -> Option<f64> {
    if logits.is_empty() || logits.len() != labels.len() {
        return None;
    }
    // d NLL / d (1 / T) = mean of E_p[z] - z_y.
    let slope = |temperature: f64| {
        let one = |(z, label): (&&[f32], &usize)| {
            let expected: f64 = tempered(z, temperature).iter().zip(*z).map(|(p, z)| p * f64::from(*z)).sum();
            expected - z.get(*label).map_or(expected, |z| f64::from(*z))
        };
        logits.iter().zip(labels).map(one).sum::<f64>()
    };
    let (mut cold, mut hot) = (0.01f64.ln(), 100f64.ln());
    for _ in 0..60 {
        let middle = (cold + hot) / 2.0;
        // Falling toward colder: the minimum lies there. Where all are right, the slope soon rounds to 0.
        if slope(middle.exp()) <= 0.0 { hot = middle } else { cold = middle }
    }
    Some(((cold + hot) / 2.0).exp())
}

/// Expected calibration error: `sum_b |B_b| / n |accuracy(B_b) - confidence(B_b)|` over `bins` (at least 1) bins of equal width, `((b - 1) / bins, b / bins]`. `confidence` are probabilities;
/// `None` for an empty list or lists of unequal length.
pub fn expected_calibration_error(confidence: &[f64], right: &[bool], bins: usize) -> Option<f64> {
    if confidence.is_empty() || confidence.len() != right.len() {
        return None;
    }
    let bins = bins.max(1);
    let mut gaps = vec![0.0f64; bins];
    for (p, right) in confidence.iter().zip(right) {
        let bin = ((p * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        gaps[bin] += f64::from(u8::from(*right)) - p;
    }
    Some(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / confidence.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Answers,
        model::{Matrix, Outputs},
        random::SeedTree,
        sample::{ModalitySet, SampleId, ScoreTable, TableRow},
        score::table as scorers,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn rows(logits: &[Option<[f32; 2]>]) -> Rows {
        let mut places = 0..;
        let of = logits.iter().map(|z| z.as_ref().and_then(|_| places.next())).collect();
        let values = logits.iter().flatten().flatten().copied().collect();
        Rows { of, outputs: Outputs { logits: Matrix { columns: 2, values }, ..Outputs::default() } }
    }

    fn run(written: Value, classes: &[Option<usize>], answers: &Answers) -> TableScores {
        let row = |(i, class): (usize, &Option<usize>)| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: *class,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(classes.iter().enumerate().map(row).collect(), 2).unwrap();
        let scorer = scorers().build(&json!({ "calibration": written })).map_err(|p| format!("{p:?}")).unwrap().operator;
        scorer.score_table(&TableContext { table: &table, answers, seeds: SeedTree::new(1) }).unwrap()
    }

    #[test]
    fn a_worked_temperature() {
        // Three of four are right at a logit of 4: the likelihood is best where sigmoid(4 / T) = 3/4, T = 4 / ln 3.
        let z: &[f32] = &[4.0, 0.0];
        let found = fit_temperature(&[z; 4], &[0, 0, 0, 1]).unwrap();
        assert!((found - 4.0 / 3f64.ln()).abs() < 1e-9, "{found}");
        assert!((negative_log_likelihood(&[z; 4], &[0, 0, 0, 1], found) - 0.562_335).abs() < 1e-5);
        // All right: no minimum inside. None better than chance: as hot as it gets.
        assert!((fit_temperature(&[z], &[0]).unwrap() - 0.01).abs() < 1e-6);
        assert!((fit_temperature(&[z; 2], &[1, 1]).unwrap() - 100.0).abs() < 1e-6);
        assert_eq!((fit_temperature(&[], &[]), fit_temperature(&[z], &[])), (None, None));
    }

    #[test]
    fn a_worked_calibration_error() {
        // Two bins: (.6 right, .9 wrong, 1 right) gap |2 - 2.5|, (.4 wrong) gap .4.
        let found = expected_calibration_error(&[0.6, 0.9, 1.0, 0.4], &[true, false, true, false], 2).unwrap();
        assert!((found - 0.9 / 4.0).abs() < 1e-12, "{found}");
        assert_eq!(expected_calibration_error(&[], &[], 15), None);
        assert_eq!(expected_calibration_error(&[0.0, 1.0], &[false, true], 15), Some(0.0));
    }

    #[test]
    fn thresholds_get_what_the_fit_says() {
        let z = Some([4.0, 0.0]);
        let teacher = rows(&[z, z, z, z, z, None]);
        let answers = Answers { teacher, ..Answers::default() };
        let found = run(json!({}), &[Some(0), Some(0), Some(0), Some(1), None, Some(0)], &answers);
        let get = |column: usize, row: usize| found.columns[column][row].get().unwrap();
        assert!((get(0, 0) - 0.25).abs() < 1e-6 && (get(0, 3) - 0.75).abs() < 1e-6 && (get(1, 3) - 0.25).abs() < 1e-6);
        assert_eq!((&found.columns[0][4], &found.columns[0][5]), (&Score::absent("no label"), &Score::absent("not in any fold")));
        assert!((get(1, 4) - 0.25).abs() < 1e-6);
        assert!(found.figures["ece_after"] < 1e-9 && (found.figures["ece_before"] - 0.232_014).abs() < 1e-5, "{:?}", found.figures);
        assert!(found.figures["nll_after"] < found.figures["nll_before"]);
    }

    #[test]
    fn validation_tempers_the_subject() {
        let z = Some([4.0, 0.0]);
        let answers = Answers {
            subject: rows(&[z]),
            validation: rows(&[z; 4]),
            validation_classes: vec![Some(0), Some(0), Some(0), Some(1)],
            ..Answers::default()
        };
        let found = run(json!({ "on": "validation" }), &[Some(1)], &answers);
        assert!((found.columns[0][0].get().unwrap() - 0.75).abs() < 1e-6);
        let none = run(json!({ "on": "validation" }), &[Some(1)], &Answers { subject: rows(&[z]), ..Answers::default() });
        assert_eq!(none.columns[0][0], Score::absent("no labelled sample to fit the temperature on"));
        assert!(none.figures.is_empty());
        assert_eq!(
            scorers().build(&json!({ "calibration": { "bins": 1 } })).err().unwrap()[0].to_string(),
            "calibration.bins: expected 2 to 1000, found 1"
        );
    }

    proptest! {
        #[test]
        fn no_temperature_is_likelier(logits in prop::collection::vec(prop::array::uniform3(-8.0f32..8.0), 1..20), labels in prop::collection::vec(0usize..3, 20), other in 0.02f64..50.0) {
            let rows: Vec<&[f32]> = logits.iter().map(|z| z.as_slice()).collect();
            let labels = &labels[..rows.len()];
            let found = fit_temperature(&rows, labels).unwrap();
            prop_assert!(negative_log_likelihood(&rows, labels, found) <= negative_log_likelihood(&rows, labels, other) + 1e-5);
        }
    }
}
