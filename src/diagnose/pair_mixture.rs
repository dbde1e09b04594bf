use super::{Diagnoser, Mixture, Shape, two_components};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, Diagnoses, Diagnosis, Judgement, Reason, ReasonCode, Score, ScoreTable, Treatment},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges pairs by two components in a pair loss: the clean ones, and those whose modalities do not belong together.
///
/// Method: the column `by`, scaled to 0..=1 by its extremes, is fitted by a mixture of two components with `iterations` steps of expectation
/// maximisation (least variance 1e-4). A pair is clean with the probability of the component with the smaller mean;
/// `mixture_suspicion` (0..=1) is one minus that. A sample is a suspect where the probability of being clean is below `suspect_below` and the two means stand at least `least_separation` apart, in units of their spread
/// (`sqrt(2) (m_1 - m_0) / sqrt(v_0 + v_1)`): one hump is no evidence of two kinds. Suspects get the weight `downweight` and are for review: a loss of
/// the model that trained on the pair is no independent witness. Rows without the column are not judged.
///
/// Reference: Huang et al., Learning with Noisy Correspondence for Cross-modal Matching, 2021; Arazo et al., Unsupervised Label Noise Modeling
/// and Loss Correction, 2019 (beta components); Ashman, Bird, Zepf, Detecting bimodality in astronomical datasets, 1994 (separation).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairMixture {
    /// Column of the pair loss, or another in which mismatched pairs are large.
    pub by: String,
    /// Shape of the components.
    pub shape: Shape,
    /// Steps of expectation maximisation, 1..=1000.
    pub iterations: usize,
    /// A pair is a suspect below this probability of being clean, 0..=1.
    pub suspect_below: Probability,
    /// Least separation of the two means, 0..=100; 0 judges by the probability alone.
    pub least_separation: f64,
    /// Weight of a suspect in training, 0..=1.
    pub downweight: Fraction,
}

impl Default for PairMixture {
    fn default() -> Self {
        Self {
            by: "pair_inconsistency".into(),
            shape: Shape::Gaussian,
            iterations: 20,
            suspect_below: Probability::new(0.5).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            least_separation: 2.0,
            downweight: Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
        }
    }
}

impl Configure<dyn Diagnoser> for PairMixture {
    const NAME: &'static str = "pair_mixture";
    const EXAMPLE: &'static str = "{ by: pair_inconsistency, shape: beta }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.by.is_empty() {
            problems.push(Problem::new("by", "expected the name of a column, found an empty text"));
        }
        if !(1..=1000).contains(&self.iterations) {
            problems.push(Problem::new("iterations", format!("expected 1 to 1000, found {}", self.iterations)));
        }
        if !(0.0..=100.0).contains(&self.least_separation) {
            problems.push(Problem::new("least_separation", format!("expected a number in 0..=100, found {}", self.least_separation)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl PairMixture {
    /// The mixture of the known values, and the rows they stand in.
    fn fit(&self, table: &ScoreTable) -> Result<Option<(Mixture, Vec<usize>)>> {
        let scores = table.require(&self.by)?;
        let (rows, values): (Vec<usize>, Vec<f32>) = scores.iter().enumerate().filter_map(|(row, s)| Some((row, s.get()?))).unzip();
        Ok(two_components(&values, self.shape, self.iterations).map(|mixture| (mixture, rows)))
    }
}

impl Diagnoser for PairMixture {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn judges(&self) -> &'static [Judgement] {
        &[Judgement::SuspectPair]
    }

    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses> {
        let mut diagnoses = vec![Diagnosis::clear(); table.len()];
        let Some((mixture, rows)) = self.fit(table)?.filter(|(mixture, _)| mixture.separation() >= self.least_separation) else {
            return Ok(diagnoses);
        };
        for (row, clean) in rows.into_iter().zip(&mixture.clean_probability) {
            if *clean < self.suspect_below.get() {
                let mut evidence = std::collections::BTreeMap::from([
                    ("mixture_suspicion".to_owned(), 1.0 - *clean as f32),
                    ("separation".to_owned(), mixture.separation() as f32),
                ]);
                evidence.extend(table.value(&self.by, row).map(|value| (self.by.clone(), value)));
                let reason = Reason { code: ReasonCode::PairMismatch, strength: (1.0 - clean) as f32, evidence, modality: None };
                diagnoses[row] = Diagnosis {
                    reasons: vec![reason],
                    judgement: Judgement::SuspectPair,
                    weight: self.downweight.get() as f32,
                    treatment: Treatment::Review,
                    suggested_class: None,
                };
            }
        }
        Ok(diagnoses)
    }

    fn columns(&self, table: &ScoreTable) -> Result<Vec<(Column, Vec<Score>)>> {
        let mut scores: Vec<Score> = table
            .require(&self.by)?
            .iter()
            .map(|score| Score::absent(if score.get().is_some() { "no two components" } else { "no pair loss" }))
            .collect();
        if let Some((mixture, rows)) = self.fit(table)? {
            rows.into_iter().zip(&mixture.clean_probability).for_each(|(row, clean)| scores[row] = Score::Known((1.0 - clean) as f32));
        }
        Ok(vec![(
            Column::measure("mixture_suspicion", "probability that the pair is of the component with the larger loss, 0..=1"),
            scores,
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ModalitySet, TableRow};
    use std::sync::Arc;

    fn table(values: &[Option<f32>]) -> ScoreTable {
        let row = |i: usize| TableRow {
            id: format!("s{i}").as_str().into(),
            class: None,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new((0..values.len()).map(row).collect(), 2).unwrap();
        let scores = values.iter().map(|v| v.map_or(Score::absent("no audio"), Score::Known)).collect();
        table.add(Column::hardness("pair_inconsistency", ""), scores).unwrap();
        table
    }

    #[test]
    fn far_pairs_are_suspects_and_are_reviewed() {
        let values: Vec<Option<f32>> = (0..40).map(|i| Some(if i % 10 == 3 { 0.6 } else { 0.1 } + i as f32 * 1e-3)).chain([None]).collect();
        let table = table(&values);
        let own = PairMixture::default();
        let found = own.diagnose(&table).unwrap();
        let suspects: Vec<usize> = (0..41).filter(|row| found[*row].judgement == Judgement::SuspectPair).collect();
        assert_eq!(suspects, [3, 13, 23, 33]);
        assert_eq!((found[3].weight, found[3].treatment, found[3].primary()), (0.2, Treatment::Review, Some(ReasonCode::PairMismatch)));
        assert!(found[3].reasons[0].evidence["separation"] > 2.0 && found[3].reasons[0].evidence["pair_inconsistency"] > 0.6);
        let columns = own.columns(&table).unwrap();
        assert!(columns[0].1[3].get().unwrap() > 0.99 && columns[0].1[4].get().unwrap() < 0.01);
        assert_eq!(columns[0].1[40], Score::absent("no pair loss"));
    }

    #[test]
    fn one_kind_is_not_split() {
        let even: Vec<Option<f32>> = (0..100).map(|i| Some(i as f32)).collect();
        let own = PairMixture { least_separation: 4.0, ..PairMixture::default() };
        assert!(own.diagnose(&table(&even)).unwrap().iter().all(|d| *d == Diagnosis::clear()));
        let own = PairMixture::default();
        assert!(own.diagnose(&table(&[Some(1.0); 5])).unwrap().iter().all(|d| *d == Diagnosis::clear()));
        assert_eq!(own.columns(&table(&[Some(1.0); 2])).unwrap()[0].1[0], Score::absent("no two components"));
        assert!(own.diagnose(&table(&[])).unwrap().is_empty());
        assert!(PairMixture { by: "nothing".into(), ..own }.diagnose(&table(&[])).is_err());
    }

    #[test]
    fn what_is_refused() {
        let wrong = serde_json::json!({ "pair_mixture": { "by": "", "iterations": 0, "least_separation": -1.0 } });
        let problems: Vec<String> = super::super::table().build(&wrong).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[1].contains("pair_mixture.iterations: expected 1 to 1000, found 0"));
    }
}
