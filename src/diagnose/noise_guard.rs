use super::{
    Diagnoser, Suspicion, suspicions,
    verdict::{GuardVerdict, Means, Measured},
};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, Diagnoses, Diagnosis, Judgement, Modality, Reason, ReasonCode, Score, ScoreTable},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Sets aside the samples that look wrong: a wrong label, a mismatched pair, or nothing that fits.
///
/// Method: each modality alone, predicted by a model that never trained on the sample, is a witness. Its probabilities are first sharpened or
/// flattened (temperature) until their mean confidence is its accuracy, so that one near chance has no say, and weighed by class against
/// how sure they usually are. Where other samples hold the same image or clip, their labels are weighed in. The label is wrong where the modalities
/// agree on another class; a pair is mismatched where one points elsewhere while the others support the label; where nothing fits the sample is
/// an outlier. How often each of these happens, for every modality, and which class is written for which is learned from the data (expectation maximisation); the temperatures are then fitted once more on what is believed. The odds of these cases
/// against the clean one, raised by a low area under the margin of the warm-up (`low_aum`, where it is there), give their probabilities. A sample
/// is suspect when one reaches its threshold and some modality gives another class more than half (for a pair: the one that does not fit). A single witness (one modality, or recorded predictions from all together)
/// says nothing of pairs and outliers; its temperature and the share of wrong labels are fitted together, so that its own mistakes, which come with its
/// doubt, are told from wrong labels, and the threshold alone decides. Columns for all rows: `label_suspicion`,
/// `pair_suspicion`, `outlier_suspicion` (0..=1). With `trust`, a kind of suspect that
/// `hardmine guard-check` found with a precision below `at_least` on planted faults, or never found, is not set aside but reviewed.
///
/// Reference: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021; Pleiss et al., Identifying Mislabeled
/// Data using the Area Under the Margin Ranking, 2020; Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM
/// Algorithm, 1979.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseGuard {
    /// Column of the out-of-fold losses; its stage's other columns are read too.
    pub scores: String,
    /// A label is suspect from this probability on, 0..=1.
    pub label_threshold: Probability,
    /// A pair is suspect from this probability on, 0..=1. Below one half: a mismatched pair multiplied costs more than a good one set aside.
    pub pair_threshold: Probability,
    /// A sample is an outlier from this probability on, 0..=1.
    pub outlier_threshold: Probability,
    /// Share of wrong samples to expect, 0.001..=0.5. Absent to estimate it from the data.
    pub expected_share: Option<Fraction>,
    /// Log-odds that one robust standard deviation of `low_aum` adds, 0..=5; 0 leaves the training dynamics out.
    pub aum_weight: f64,
    /// What becomes of a suspect in training.
    pub verdict: GuardVerdict,
    /// Weight of a suspect that is reviewed, 0..=1.
    pub downweight: Fraction,
    /// A suggested class is taken under `verdict: relabel` from this probability on, 0..=1.
    pub relabel_from: Probability,
    /// What `hardmine guard-check` wrote about this pipeline (`guard_check.json`), relative to the pipeline file. Absent to act unmeasured.
    pub trust: Option<String>,
    /// Least precision on planted faults with which the guard acts by itself, 0..=1; asked only with `trust`.
    pub at_least: Probability,
    #[serde(skip)]
    measured: Option<Measured>,
}

impl Default for NoiseGuard {
    fn default() -> Self {
        let probability = |v| Probability::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            scores: "out_of_fold".into(),
            label_threshold: probability(0.5),
            pair_threshold: probability(0.3),
            outlier_threshold: probability(0.5),
            expected_share: None,
            aum_weight: 1.0,
            verdict: GuardVerdict::Quarantine,
            downweight: Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            relabel_from: probability(0.8),
            trust: None,
            at_least: probability(0.8),
            measured: None,
        }
    }
}

impl Configure<dyn Diagnoser> for NoiseGuard {
    const NAME: &'static str = "noise_guard";
    const EXAMPLE: &'static str = "{ label_threshold: 0.5, pair_threshold: 0.3 }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !self.scores.ends_with("out_of_fold") {
            problems.push(Problem::new("scores", format!("expected `out_of_fold` or `<stage id>.out_of_fold`, found `{}`", self.scores)));
        }
        if let Some(share) = self.expected_share.filter(|share| !(0.001..=0.5).contains(&share.get())) {
            problems.push(Problem::new("expected_share", format!("expected a share in 0.001..=0.5, found {}", share.get())));
        }
        if !(0.0..=5.0).contains(&self.aum_weight) {
            problems.push(Problem::new("aum_weight", format!("expected a number in 0..=5, found {}", self.aum_weight)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl NoiseGuard {
    fn stage(&self) -> &str {
        self.scores.strip_suffix("out_of_fold").unwrap_or("")
    }

    fn suspicions(&self, table: &ScoreTable) -> Result<Vec<Option<Suspicion>>> {
        table.require(&self.scores)?;
        Ok(suspicions(table, self.stage(), self.expected_share.map(Fraction::get), self.aum_weight))
    }

    fn judge(&self, table: &ScoreTable, row: usize, suspicion: &Suspicion) -> Diagnosis {
        let mut diagnosis = Diagnosis::clear();
        let cases = [
            (suspicion.label, self.label_threshold, ReasonCode::LabelSuspect, Judgement::SuspectLabel),
            (suspicion.pair, self.pair_threshold, ReasonCode::PairMismatch, Judgement::SuspectPair),
            (suspicion.outlier, self.outlier_threshold, ReasonCode::Outlier, Judgement::Outlier),
        ];
        let reached = |(p, threshold, code, _): &(f64, Probability, ReasonCode, Judgement)| {
            *p > 0.0 && *p >= threshold.get() && suspicion.supports(*code)
        };
        let mut reached: Vec<_> = cases.into_iter().filter(reached).collect();
        reached.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (p, _, code, judgement) in reached {
            if diagnosis.judgement == Judgement::Valuable {
                diagnosis.judgement = judgement;
            }
            if code == ReasonCode::LabelSuspect {
                diagnosis.suggested_class = suspicion.suggested;
            }
            let mut evidence = evidence(table, self.stage(), row, suspicion);
            if code == ReasonCode::LabelSuspect && suspicion.suggested.is_some() {
                evidence.insert("suggested_probability".into(), suspicion.suggested_probability as f32);
            }
            diagnosis.reasons.push(Reason {
                code,
                strength: p as f32,
                evidence,
                modality: suspicion.odd.filter(|_| code == ReasonCode::PairMismatch),
            });
        }
        if diagnosis.judgement != Judgement::Valuable {
            let wrong = suspicion.label + suspicion.pair + suspicion.outlier;
            let suggested = suspicion.suggested.map(|_| suspicion.suggested_probability);
            (diagnosis.treatment, diagnosis.weight) = self.means().treat(diagnosis.judgement, wrong, suggested);
        }
        diagnosis
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
}

/// The numbers that a suspicion rests on.
pub(super) fn evidence(table: &ScoreTable, stage: &str, row: usize, suspicion: &Suspicion) -> BTreeMap<String, f32> {
    let mut evidence = BTreeMap::from([
        ("label_suspicion".to_owned(), suspicion.label as f32),
        ("pair_suspicion".to_owned(), suspicion.pair as f32),
        ("outlier_suspicion".to_owned(), suspicion.outlier as f32),
    ]);
    let single = Modality::ALL.into_iter().flat_map(|m| ["confidence", "prediction"].map(|what| format!("oof_{m}_{what}")));
    for name in single.chain(["oof_confidence", "oof_margin", "oof_prediction", "oof_media_confidence"].map(String::from)) {
        if let Some(value) = table.value(&format!("{stage}{name}"), row) {
            evidence.insert(name, value);
        }
    }
    if let Some(value) = table.column_of_any("low_aum").and_then(|scores| scores[row].get()) {
        evidence.insert("low_aum".into(), value);
    }
    evidence
}

impl Diagnoser for NoiseGuard {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.scores.clone()], ..Requirements::default() }
    }

    fn judges(&self) -> &'static [Judgement] {
        &[Judgement::SuspectLabel, Judgement::SuspectPair, Judgement::Outlier]
    }

    fn bind(&mut self, base: &Path) -> Result<(), Problem> {
        self.measured = self.trust.as_ref().map(|name| Measured::read(name, base, Self::NAME)).transpose()?;
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        self.means().warnings(self.judges())
    }

    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses> {
        let judge = |(row, found): (usize, &Option<Suspicion>)| found.as_ref().map_or_else(Diagnosis::clear, |s| self.judge(table, row, s));
        Ok(self.suspicions(table)?.iter().enumerate().map(judge).collect())
    }

    fn columns(&self, table: &ScoreTable) -> Result<Vec<(Column, Vec<Score>)>> {
        let found = self.suspicions(table)?;
        let column = |name: &str, about: &str, of: fn(&Suspicion) -> f64| {
            let absent = || Score::absent("no label or no out-of-fold prediction");
            let scores = found.iter().map(|s| s.as_ref().map_or_else(absent, |s| Score::Known(of(s) as f32))).collect();
            (Column::measure(name, about), scores)
        };
        Ok(vec![
            column("label_suspicion", "probability that the label is wrong, 0..=1", |s| s.label),
            column("pair_suspicion", "probability that one modality belongs to another sample, 0..=1", |s| s.pair),
            column("outlier_suspicion", "probability that nothing fits, 0..=1", |s| s.outlier),
        ])
    }
}
