use super::{
    Diagnoser, Findings, LabelIssues, confident_learning,
    verdict::{GuardVerdict, Means, Measured},
};
use crate::{
    context::Answers,
    error::{Error, Problem, Result},
    model::measure,
    operator::{Configure, Kept, Requirements, Table},
    sample::{Column, Diagnoses, Diagnosis, Judgement, Reason, ReasonCode, Score, ScoreTable},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Which labels are taken for wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilterBy {
    /// Those off the diagonal of the confident joint.
    OffDiagonal,
    /// For each given and true class as many as the calibrated joint says, those with the largest `p_true - p_given`.
    #[default]
    PruneByNoiseRate,
    /// For each given class as many as the calibrated joint has off its diagonal, those with the smallest `p_given`.
    PruneByClass,
    /// Those that are pruned by noise rate and by class.
    Both,
    /// As many as lie off the diagonal, those with the smallest `p_given`.
    LowSelfConfidence,
    /// As many as lie off the diagonal, those with the smallest `p_given - max p_other`.
    LowNormalizedMargin,
}

/// By what the labels are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// `(p_given - max p_other + 1) / 2`.
    #[default]
    NormalizedMargin,
    /// `p_given`.
    SelfConfidence,
}

/// Judges labels by the out-of-fold probabilities: which are confidently of another class, and how many of each are to be expected.
///
/// Method: with `t_j` the mean of `p_j` over the samples labelled j, a sample is confidently of the most probable class among those with `p_j >= t_j`. Counted
/// by given label and confident class (the confident joint), scaled to the number of each label and rounded, this estimates how many labels of each
/// class are wrong. `filter_by` chooses which; none whose most probable class is its label is a suspect, but for the two `low` rules. The most probable class is suggested, with its
/// probability. `confident_suspicion` (0..=1) for all rows is one minus the quality of the label (`rank_by`); under `verdict: weight` a suspect
/// counts with the probability of its label. The flags are those of cleanlab 2.9 on the same probabilities, but for equal scores at the end of the two `low` rules. With `trust`, suspects that
/// `hardmine guard-check` found with a precision below `at_least` are reviewed.
///
/// Reference: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfidentLearning {
    /// Which labels are taken for wrong.
    pub filter_by: FilterBy,
    /// By what `confident_suspicion` ranks.
    pub rank_by: RankBy,
    /// What becomes of a suspect in training.
    pub verdict: GuardVerdict,
    /// Weight of a suspect that is reviewed, 0..=1.
    pub downweight: Fraction,
    /// A suggested class is taken under `verdict: relabel` from this probability on, 0..=1.
    pub relabel_from: Probability,
    /// What `hardmine guard-check` wrote about this pipeline (`guard_check.json`), relative to the pipeline file. Absent to act unmeasured.
    pub trust: Option<String>,
    /// Least precision on planted faults with which it acts by itself, 0..=1; asked only with `trust`.
    pub at_least: Probability,
    #[serde(skip)]
    measured: Option<Measured>,
}

impl Default for ConfidentLearning {
    fn default() -> Self {
        let probability = |v| Probability::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            filter_by: FilterBy::default(),
            rank_by: RankBy::default(),
            verdict: GuardVerdict::default(),
            downweight: Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            relabel_from: probability(0.8),
            trust: None,
            at_least: probability(0.8),
            measured: None,
        }
    }
}

impl Configure<dyn Diagnoser> for ConfidentLearning {
    const NAME: &'static str = "confident_learning";
    const EXAMPLE: &'static str = "{ filter_by: prune_by_noise_rate }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

/// The rows that have a label and probabilities.
struct Judged {
    rows: Vec<usize>,
    labels: Vec<usize>,
    /// One row after another.
    probabilities: Vec<f32>,
}

impl Judged {
    fn of(table: &ScoreTable, answers: &Answers) -> Result<Self> {
        if answers.teacher.of.len() != table.len() {
            return Err(Error::usage("confident learning needs the out-of-fold probabilities of all rows"));
        }
        let mut own = Self { rows: Vec::new(), labels: Vec::new(), probabilities: Vec::new() };
        for (row, known) in table.rows().iter().enumerate() {
            let (Some(class), Some(logits)) = (known.class, answers.teacher.logits(row)) else { continue };
            if class < table.classes() && logits.len() == table.classes() {
                own.rows.push(row);
                own.labels.push(class);
                own.probabilities.extend(measure::probabilities(logits).into_iter().map(|p| p as f32));
            }
        }
        Ok(own)
    }
    fn probability(&self, at: usize, class: usize, classes: usize) -> f32 {
        self.probabilities.get(at * classes + class).copied().unwrap_or(0.0)
    }
}

impl ConfidentLearning {
    fn flags(&self, judged: &Judged, found: &LabelIssues) -> Vec<bool> {
        match self.filter_by {
            FilterBy::OffDiagonal => found.off_diagonal.clone(),
            FilterBy::PruneByNoiseRate => found.by_noise_rate.clone(),
            FilterBy::PruneByClass => found.by_class(&judged.probabilities, &judged.labels),
            FilterBy::Both => {
                let by_class = found.by_class(&judged.probabilities, &judged.labels);
                by_class.iter().zip(&found.by_noise_rate).map(|(a, b)| *a && *b).collect()
            }
            FilterBy::LowSelfConfidence => found.lowest(&self_confidence(judged, found.classes)),
            FilterBy::LowNormalizedMargin => found.lowest(&found.quality),
        }
    }

    fn means(&self) -> Means<'_> {
        Means {
            operator: Self::NAME,
            verdict: self.verdict,
            downweight: self.downweight,
            relabel_from: self.relabel_from,
            at_least: self.at_least,
            measured: self.measured.as_ref(),
        }
    }

    fn judge(&self, own: f32, suspicion: f32, suggested: (usize, f32), label: usize) -> Diagnosis {
        let (class, p) = suggested;
        let named = class != label;
        let (treatment, weight) = self.means().treat(Judgement::SuspectLabel, 1.0 - f64::from(own), named.then_some(f64::from(p)));
        let mut evidence = BTreeMap::from([("confident_suspicion".to_owned(), suspicion), ("label_probability".to_owned(), own)]);
        if named {
            evidence.insert("suggested_probability".to_owned(), p);
        }
        Diagnosis {
            reasons: vec![Reason { code: ReasonCode::LabelSuspect, strength: suspicion, evidence, modality: None }],
            judgement: Judgement::SuspectLabel,
            weight,
            treatment,
            suggested_class: named.then_some(class),
        }
    }
}

fn self_confidence(judged: &Judged, classes: usize) -> Vec<f32> {
    judged.labels.iter().enumerate().map(|(at, label)| judged.probability(at, *label, classes)).collect()
}

impl Diagnoser for ConfidentLearning {
    fn requirements(&self) -> Requirements {
        Requirements { teachers: true, kept: Kept { teacher_logits: true, ..Kept::default() }, ..Requirements::default() }
    }

    fn judges(&self) -> &'static [Judgement] {
        &[Judgement::SuspectLabel]
    }

    fn bind(&mut self, base: &Path) -> Result<(), Problem> {
        self.measured = self.trust.as_ref().map(|name| Measured::read(name, base, Self::NAME)).transpose()?;
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        self.means().warnings(self.judges())
    }

    /// Always an error: the table holds the probability of the label and of one class, and this rule needs all.
    fn diagnose(&self, _: &ScoreTable) -> Result<Diagnoses> {
        Err(Error::usage("confident learning looks at the out-of-fold probabilities of all classes: ask for `findings`"))
    }

    fn findings(&self, table: &ScoreTable, answers: &Answers) -> Result<Findings> {
        let judged = Judged::of(table, answers)?;
        let mut diagnoses = vec![Diagnosis::clear(); table.len()];
        let mut scores = vec![Score::absent("no label or no out-of-fold prediction"); table.len()];
        if !judged.rows.is_empty() {
            let classes = table.classes();
            let found = confident_learning(&judged.probabilities, &judged.labels, classes)?;
            let sure = self_confidence(&judged, classes);
            let quality = match self.rank_by {
                RankBy::NormalizedMargin => &found.quality,
                RankBy::SelfConfidence => &sure,
            };
            for (at, flagged) in self.flags(&judged, &found).into_iter().enumerate() {
                let suspicion = (1.0 - quality[at]).clamp(0.0, 1.0);
                scores[judged.rows[at]] = Score::Known(suspicion);
                if flagged {
                    let predicted = found.predicted[at] as usize;
                    let suggested = (predicted, judged.probability(at, predicted, classes));
                    diagnoses[judged.rows[at]] = self.judge(sure[at], suspicion, suggested, judged.labels[at]);
                }
            }
        }
        let about = "one minus the quality of the label by the out-of-fold probabilities, 0..=1";
        Ok(Findings { diagnoses, columns: vec![(Column::measure("confident_suspicion", about), scores)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Rows,
        model::{Matrix, Outputs},
        sample::{ModalitySet, TableRow, Treatment},
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Rows of probabilities of the first of two classes, with their labels; the last row is in no fold.
    fn world(rows: &[(f32, Option<usize>)]) -> (ScoreTable, Answers) {
        let row = |(i, (_, class)): (usize, &(f32, Option<usize>))| TableRow {
            id: format!("s{i}").as_str().into(),
            class: *class,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(rows.iter().enumerate().map(row).collect(), 2).unwrap();
        let n = rows.len() - 1;
        let values = rows[..n].iter().flat_map(|(p, _)| [p.ln(), (1.0 - p).ln()]).collect();
        let outputs = Outputs { logits: Matrix { columns: 2, values }, ..Outputs::default() };
        let of = (0..rows.len()).map(|i| (i < n).then_some(i)).collect();
        (table, Answers { teacher: Rows { of, outputs }, ..Answers::default() })
    }

    fn built(written: Value) -> Box<dyn Diagnoser> {
        super::super::table().build(&json!({ "confident_learning": written })).map_err(|p| format!("{p:?}")).unwrap().operator
    }

    #[test]
    fn the_worked_case_of_the_function_as_a_verdict() {
        // Thresholds .6 and .8: the third row, labelled 0, is confidently 1. The unlabelled and the last row are not judged.
        let rows = [(0.9, Some(0)), (0.8, Some(0)), (0.1, Some(0)), (0.1, Some(1)), (0.3, Some(1)), (0.5, None), (0.9, Some(1))];
        let (table, answers) = world(&rows);
        for rule in ["off_diagonal", "prune_by_noise_rate", "prune_by_class", "both", "low_self_confidence", "low_normalized_margin"] {
            let found = built(json!({ "filter_by": rule })).findings(&table, &answers).unwrap();
            let flagged: Vec<usize> = (0..7).filter(|row| found.diagnoses[*row].judgement == Judgement::SuspectLabel).collect();
            assert_eq!(flagged, [2], "{rule}");
            let one = &found.diagnoses[2];
            assert_eq!((one.suggested_class, one.treatment, one.weight), (Some(1), Treatment::Quarantine, 0.0));
            let evidence = &one.reasons[0].evidence;
            assert!((evidence["label_probability"] - 0.1).abs() < 1e-6 && (evidence["suggested_probability"] - 0.9).abs() < 1e-6);
            let scores = &found.columns[0].1;
            assert!((scores[2].get().unwrap() - 0.9).abs() < 1e-6 && scores[5].get().is_none() && scores[6].get().is_none());
        }
        let weight = built(json!({ "verdict": "weight", "rank_by": "self_confidence" })).findings(&table, &answers).unwrap();
        assert!(weight.diagnoses[2].treatment == Treatment::Weight && (weight.diagnoses[2].weight - 0.1).abs() < 1e-6);
        assert!((weight.columns[0].1[1].get().unwrap() - 0.2).abs() < 1e-6);
        let relabel = built(json!({ "verdict": "relabel" })).findings(&table, &answers).unwrap();
        assert!(relabel.diagnoses[2].treatment == Treatment::Relabel && (relabel.diagnoses[2].weight - 0.9).abs() < 1e-6);
    }

    #[test]
    fn without_the_probabilities_it_says_so() {
        let (table, _) = world(&[(0.9, Some(0)), (0.1, Some(1))]);
        let own = built(json!({}));
        assert!(own.diagnose(&table).unwrap_err().to_string().contains("probabilities of all classes"));
        assert!(own.findings(&table, &Answers::default()).unwrap_err().to_string().contains("out-of-fold probabilities"));
        assert!(own.findings(&ScoreTable::new(Vec::new(), 2).unwrap(), &Answers::default()).unwrap().diagnoses.is_empty());
        let told = super::super::table().build(&json!({ "confident_learning": { "filter_by": "prune" } })).err().unwrap();
        assert!(told[0].to_string().starts_with("confident_learning.filter_by"), "{}", told[0]);
    }
}
