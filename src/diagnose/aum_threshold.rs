use super::{
    Diagnoser,
    verdict::{GuardVerdict, Means, Measured},
};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnoses, Diagnosis, Judgement, Reason, ReasonCode, Score, ScoreTable},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Judges labels by the area under the margin: wrong is what is learnt no better than samples with a label that nothing can explain.
///
/// Method: the scorer `aum_probe` trained a model with a class more, which random threshold samples were given as their label. A sample is a suspect where its area under the margin
/// is at most the threshold, a high percentile of theirs (`probe_aum >= probe_threshold`, both negative areas). Where `oof_prediction` is there and another class, that is
/// suggested with `oof_top` as its probability. Under `verdict: weight` a suspect counts with one minus `probe_suspicion`, the share of
/// threshold samples that were learnt at least as well. With `trust`, suspects that `hardmine guard-check` found with a precision below
/// `at_least` are reviewed. Rows that the probe did not see are not judged.
///
/// Reference: Pleiss, Zhang, Elenberg, Weinberger, Identifying Mislabeled Data using the Area Under the Margin Ranking, 2020.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AumThreshold {
    /// Column of the negative area under the margin; its stage's other columns are read too.
    pub scores: String,
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

impl Default for AumThreshold {
    fn default() -> Self {
        let probability = |v| Probability::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            scores: "probe_aum".into(),
            verdict: GuardVerdict::default(),
            downweight: Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            relabel_from: probability(0.8),
            trust: None,
            at_least: probability(0.8),
            measured: None,
        }
    }
}

impl Configure<dyn Diagnoser> for AumThreshold {
    const NAME: &'static str = "aum_threshold";
    const EXAMPLE: &'static str = "{ verdict: review }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        if self.scores.ends_with("probe_aum") {
            return Ok(Box::new(self));
        }
        Err(vec![Problem::new("scores", format!("expected `probe_aum` or `<stage id>.probe_aum`, found `{}`", self.scores))])
    }
}

impl AumThreshold {
    fn column(&self, what: &str) -> String {
        format!("{}{what}", self.scores.strip_suffix("probe_aum").unwrap_or(""))
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

impl Diagnoser for AumThreshold {
    fn requirements(&self) -> Requirements {
        let evidence = ["probe_threshold", "probe_suspicion"].map(|what| self.column(what)).into();
        Requirements { columns: vec![self.scores.clone()], evidence, ..Requirements::default() }
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

    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses> {
        let aum = table.require(&self.scores)?;
        let threshold = table.require(&self.column("probe_threshold"))?;
        let suspicion = table.require(&self.column("probe_suspicion"))?;
        let (prediction, top) = (table.column_of_any("oof_prediction"), table.column_of_any("oof_top"));
        let at = |scores: Option<&[Score]>, row: usize| scores.and_then(|scores| scores.get(row)?.get());
        let judge = |row: usize| -> Option<Diagnosis> {
            let class = table.rows()[row].class?;
            let (low, least, p) = (aum[row].get()?, threshold[row].get()?, suspicion[row].get()?);
            if low < least {
                return None;
            }
            let suggested = at(prediction, row).map(|k| k as usize).filter(|k| *k != class && *k < table.classes()).zip(at(top, row));
            let (treatment, weight) = self.means().treat(Judgement::SuspectLabel, f64::from(p), suggested.map(|(_, p)| f64::from(p)));
            let mut evidence =
                BTreeMap::from([("probe_aum".to_owned(), low), ("probe_threshold".to_owned(), least), ("probe_suspicion".to_owned(), p)]);
            evidence.extend(suggested.map(|(_, p)| ("suggested_probability".to_owned(), p)));
            Some(Diagnosis {
                reasons: vec![Reason { code: ReasonCode::LabelSuspect, strength: p.clamp(0.0, 1.0), evidence, modality: None }],
                judgement: Judgement::SuspectLabel,
                weight,
                treatment,
                suggested_class: suggested.map(|(class, _)| class),
            })
        };
        Ok((0..table.len()).map(|row| judge(row).unwrap_or_else(Diagnosis::clear)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Column, ModalitySet, TableRow, Treatment};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn table(prefix: &str) -> ScoreTable {
        let row = |i: usize| TableRow {
            id: format!("s{i}").as_str().into(),
            class: (i != 4).then_some(0),
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new((0..5).map(row).collect(), 2).unwrap();
        let mut add = |name: String, values: [f32; 5]| {
            let score = |(i, v): (usize, f32)| if i == 3 { Score::absent("not seen by the probe") } else { Score::Known(v) };
            table.add(Column::hardness(name, ""), values.into_iter().enumerate().map(score).collect()).unwrap();
        };
        // Learnt, at the threshold, never learnt, not seen, unlabelled.
        add(format!("{prefix}probe_aum"), [-5.0, -1.0, 2.0, 0.0, 2.0]);
        add(format!("{prefix}probe_threshold"), [-1.0; 5]);
        add(format!("{prefix}probe_suspicion"), [0.0, 0.01, 1.0, 0.0, 1.0]);
        add("oof_prediction".into(), [0.0, 0.0, 1.0, 0.0, 1.0]);
        add("oof_top".into(), [0.9, 0.9, 0.9, 0.9, 0.9]);
        table
    }

    fn diagnose(written: Value, prefix: &str) -> Diagnoses {
        let built = super::super::table().build(&json!({ "aum_threshold": written })).map_err(|p| format!("{p:?}")).unwrap();
        built.operator.diagnose(&table(prefix)).unwrap()
    }

    #[test]
    fn what_is_learnt_no_better_than_the_threshold_samples_is_a_suspect() {
        let found = diagnose(json!({}), "");
        let flagged: Vec<usize> = (0..5).filter(|row| found[*row].judgement == Judgement::SuspectLabel).collect();
        assert_eq!(flagged, [1, 2]);
        assert_eq!((found[2].suggested_class, found[1].suggested_class, found[2].weight), (Some(1), None, 0.0));
        assert_eq!(found[2].reasons[0].evidence["probe_threshold"], -1.0);
        let weighed = diagnose(json!({ "verdict": "weight", "scores": "p.probe_aum" }), "p.");
        assert_eq!((weighed[1].weight, weighed[2].weight, weighed[0].weight), (0.99, 0.0, 1.0));
        let relabelled = diagnose(json!({ "verdict": "relabel" }), "");
        assert_eq!((relabelled[2].treatment, relabelled[1].treatment), (Treatment::Relabel, Treatment::Quarantine));
    }

    #[test]
    fn what_is_refused() {
        let told = super::super::table().build(&json!({ "aum_threshold": { "scores": "low_aum" } })).err().unwrap();
        assert!(told[0].to_string().contains("expected `probe_aum` or `<stage id>.probe_aum`, found `low_aum`"), "{}", told[0]);
        assert!(AumThreshold::default().diagnose(&ScoreTable::new(Vec::new(), 2).unwrap()).is_err());
    }
}
