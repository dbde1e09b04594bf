use super::{
    Diagnoser,
    verdict::{GuardVerdict, Means, Measured},
};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Column, Diagnoses, Diagnosis, Judgement, Reason, ReasonCode, Score, ScoreTable, metrics::quantile_of_sorted},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Judges what is far from everything and that no class fits: samples of no true class.
///
/// Method: the logarithm of the column `by` is measured from its median in standard deviations of its upper side (the larger of what the 84 % and the 95 % quantile say, so that
/// neither a heavy tail nor the outliers themselves look normal), and `foreign_suspicion` (0..=1) is one minus the false discovery rate
/// (Benjamini and Hochberg) among the samples at least as far, were the others normal. A sample whose rank in `doubt` is below `least_doubt` is
/// known to the model: its suspicion is 0. Suspect is what reaches one minus `false_discoveries`. Under `verdict: weight` it counts with one minus its suspicion; `relabel` sets it aside. With
/// `trust`, suspects that `hardmine guard-check` found with a precision below `at_least` are reviewed. Rows without a column are not judged.
///
/// Reference: Benjamini, Hochberg, Controlling the False Discovery Rate, 1995; Kuan, Mueller, Back to the Basics: Revisiting Out-of-Distribution Detection Baselines, 2022
/// (distance to the neighbours in an embedding).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outliers {
    /// Column of a distance to the other samples, at least 0 and larger where it is lonelier; what is not above 0 is not judged.
    pub by: String,
    /// Column of the model's doubt, larger where no class fits; null to judge by the distance alone.
    pub doubt: Option<String>,
    /// Least rank of an outlier in `doubt`, as a share of the samples, 0..=1.
    pub least_doubt: Fraction,
    /// Greatest share of false alarms among the suspects that is accepted, 0..=1.
    pub false_discoveries: Fraction,
    /// What becomes of a suspect in training.
    pub verdict: GuardVerdict,
    /// Weight of a suspect that is reviewed, 0..=1.
    pub downweight: Fraction,
    /// What `hardmine guard-check` wrote about this pipeline (`guard_check.json`), relative to the pipeline file. Absent to act unmeasured.
    pub trust: Option<String>,
    /// Least precision on planted faults with which it acts by itself, 0..=1; asked only with `trust`.
    pub at_least: Probability,
    #[serde(skip)]
    measured: Option<Measured>,
}

impl Default for Outliers {
    fn default() -> Self {
        let fraction = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            by: "outlier_distance".into(),
            doubt: Some("entropy".into()),
            least_doubt: fraction(0.5),
            false_discoveries: fraction(0.1),
            verdict: GuardVerdict::default(),
            downweight: fraction(0.2),
            trust: None,
            at_least: Probability::new(0.8).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            measured: None,
        }
    }
}

impl Configure<dyn Diagnoser> for Outliers {
    const NAME: &'static str = "outliers";
    const EXAMPLE: &'static str = "{ by: outlier_distance, doubt: entropy }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        let mut problems = Vec::new();
        for (field, name) in [("by", Some(&self.by)), ("doubt", self.doubt.as_ref())] {
            if name.is_some_and(String::is_empty) {
                problems.push(Problem::new(field, "expected the name of a column, found an empty text"));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// For each distance above 0 one minus the false discovery rate of the samples at least as far, `0..=1`; `None` for the others.
///
/// The logarithms are taken for normal above their median, with the larger of the standard deviations that the 84 % and the 95 % quantile give. With `p` the
/// upper tail of the i-th farthest of n, its rate is `min_{j >= i} min(1, n p_j / j)` (Benjamini, Hochberg, 1995). Equal distances have equal rates.
/// What is not above the median is not suspicious.
/// Where the quantiles do not lie above the median nothing is suspicious.
pub fn outlier_suspicions(distances: &[Option<f32>]) -> Vec<Option<f64>> {
    let log = |d: &Option<f32>| d.filter(|d| *d > 0.0 && d.is_finite()).map(|d| f64::from(d).ln());
    let mut far: Vec<(f64, usize)> = distances.iter().enumerate().filter_map(|(row, d)| Some((log(d)?, row))).collect();
    far.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sorted: Vec<f64> = far.iter().map(|(v, _)| *v).collect();
    let mut found: Vec<Option<f64>> = distances.iter().map(|d| log(d).map(|_| 0.0)).collect();
    let [Some(median), Some(one), Some(more)] = [0.5, 0.841_344_7, 0.95].map(|share| quantile_of_sorted(&sorted, share)) else {
        return found;
    };
    let spread = (one - median).max((more - median) / 1.644_854);
    if spread <= 1e-12 {
        return found;
    }
    let n = far.len();
    let mut rate: f64 = 1.0;
    // From the nearest to the farthest, so that each rate is at most that of what is nearer; of equal ones the first has the most samples at least as far.
    // What lies no farther than the median is not far.
    let mut from = far.partition_point(|(v, _)| *v <= median);
    while from < n {
        let to = from + far[from..].partition_point(|(v, _)| *v <= far[from].0);
        rate = rate.min(n as f64 * upper_tail((far[from].0 - median) / spread) / (n - from) as f64);
        far[from..to].iter().for_each(|(_, row)| found[*row] = Some((1.0 - rate).clamp(0.0, 1.0)));
        from = to;
    }
    found
}

/// Probability that a standard normal number is above `z`: a series near 0, the continued fraction of Laplace in the tail.
fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z < 2.5 {
        let (mut term, mut sum) = (z, z);
        for k in 1..60 {
            term *= z * z / f64::from(2 * k + 1);
            sum += term;
        }
        return (0.5 - density * sum).max(0.0);
    }
    let fraction = (1..=60).rev().fold(z, |below, k| z + f64::from(k) / below);
    density / fraction
}

impl Outliers {
    fn suspicions(&self, table: &ScoreTable) -> Result<Vec<Option<f64>>> {
        let distances: Vec<Option<f32>> = table.require(&self.by)?.iter().map(Score::get).collect();
        let mut found = outlier_suspicions(&distances);
        if let Some(doubt) = &self.doubt {
            for (own, rank) in found.iter_mut().zip(ScoreTable::rank01(table.require(doubt)?)) {
                match rank {
                    Some(rank) if f64::from(rank) < self.least_doubt.get() => *own = own.map(|_| 0.0),
                    Some(_) => {}
                    None => *own = None,
                }
            }
        }
        Ok(found)
    }

    fn means(&self) -> Means<'_> {
        Means {
            operator: Self::NAME,
            verdict: self.verdict,
            downweight: self.downweight,
            relabel_from: self.at_least,
            at_least: self.at_least,
            measured: self.measured.as_ref(),
        }
    }
}

impl Diagnoser for Outliers {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], evidence: self.doubt.iter().cloned().collect(), ..Requirements::default() }
    }

    fn judges(&self) -> &'static [Judgement] {
        &[Judgement::Outlier]
    }

    fn bind(&mut self, base: &Path) -> Result<(), Problem> {
        self.measured = self.trust.as_ref().map(|name| Measured::read(name, base, Self::NAME)).transpose()?;
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        self.means().warnings(self.judges())
    }

    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses> {
        let least = 1.0 - self.false_discoveries.get();
        let judge = |(row, suspicion): (usize, Option<f64>)| {
            let Some(suspicion) = suspicion.filter(|own| *own > 0.0 && *own >= least) else { return Diagnosis::clear() };
            let (treatment, weight) = self.means().treat(Judgement::Outlier, suspicion, None);
            let mut evidence = BTreeMap::from([("foreign_suspicion".to_owned(), suspicion as f32)]);
            let columns = std::iter::once(&self.by).chain(&self.doubt);
            evidence.extend(columns.filter_map(|name| Some((name.clone(), table.value(name, row)?))));
            Diagnosis {
                reasons: vec![Reason { code: ReasonCode::Outlier, strength: suspicion as f32, evidence, modality: None }],
                judgement: Judgement::Outlier,
                weight,
                treatment,
                suggested_class: None,
            }
        };
        Ok(self.suspicions(table)?.into_iter().enumerate().map(judge).collect())
    }

    fn columns(&self, table: &ScoreTable) -> Result<Vec<(Column, Vec<Score>)>> {
        let score = |own: Option<f64>| own.map_or_else(|| Score::absent("no distance or no doubt"), |p| Score::Known(p as f32));
        let scores = self.suspicions(table)?.into_iter().map(score).collect();
        Ok(vec![(Column::measure("foreign_suspicion", "one minus the false discovery rate of samples at least as far, 0..=1"), scores)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedTree,
        sample::{ModalitySet, TableRow, Treatment},
    };
    use proptest::prelude::*;
    use rand_distr::{Distribution, StandardNormal};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn tails_of_known_values() {
        for (z, wanted) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_9),
            (1.959_963_98, 0.025),
            (2.5, 0.006_209_665_3),
            (5.0, 2.866_515_72e-7),
            (-1.0, 0.841_344_746_1),
        ] {
            let found = upper_tail(z);
            assert!((found / wanted - 1.0).abs() < 1e-6, "{z}: {found}");
        }
    }

    /// A thousand log-normal distances, of which the first five are five times as far.
    fn distances() -> Vec<Option<f32>> {
        let mut rng = SeedTree::new(3).rng();
        let normal = |i: usize, z: f64| Some((if i < 5 { 1.5 } else { 0.2 } * (0.25 * z).exp()) as f32);
        (0..1000).map(|i| normal(i, StandardNormal.sample(&mut rng))).collect()
    }

    #[test]
    fn the_planted_are_found_and_normal_ones_are_not() {
        let found = outlier_suspicions(&distances());
        let flagged: Vec<usize> = (0..1000).filter(|i| found[*i].unwrap() >= 0.9).collect();
        assert_eq!(flagged, [0, 1, 2, 3, 4]);
        let clean = outlier_suspicions(&distances()[5..]);
        assert!(clean.iter().filter(|p| p.unwrap() >= 0.9).count() <= 1);
        // Nothing is far where all are alike, and what has no distance is not judged.
        assert_eq!(outlier_suspicions(&[Some(0.5), Some(0.5), None, Some(0.0)]), [Some(0.0), Some(0.0), None, None]);
        assert!(outlier_suspicions(&[]).is_empty());
    }

    #[test]
    fn a_worked_rate() {
        // Logarithms 0 (8 times), 1, 4: median 0, 84 % at 8.57 of 9 places, 95 % between 1 and 4.
        let values: Vec<Option<f32>> = [0.0f64; 8].iter().chain(&[1.0, 4.0]).map(|v| Some(v.exp() as f32)).collect();
        let sorted = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 4.0];
        let quantile = |share| quantile_of_sorted(&sorted, share).unwrap();
        let spread = f64::max(quantile(0.841_344_7), quantile(0.95) / 1.644_854);
        let found = outlier_suspicions(&values);
        let far = 10.0 * upper_tail(4.0 / spread);
        let near = 10.0 * upper_tail(1.0 / spread) / 2.0;
        assert!(
            (found[9].unwrap() - (1.0 - far)).abs() < 1e-6 && (found[8].unwrap() - (1.0 - near.min(1.0)).max(0.0)).abs() < 1e-6,
            "{found:?}"
        );
        assert_eq!(found[0], Some(0.0));
    }

    #[test]
    fn far_and_doubtful_is_foreign() {
        let values = distances();
        let row = |i: usize| TableRow {
            id: format!("s{i}").as_str().into(),
            class: None,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new((0..1000).map(row).collect(), 2).unwrap();
        let far = values.iter().map(|v| Score::Known(v.unwrap())).collect();
        table.add(Column::hardness("outlier_distance", ""), far).unwrap();
        // The model is sure of the second, and nothing is known of the third.
        let doubt = |i: usize| match i {
            1 => Score::Known(-1.0),
            2 => Score::absent("no prediction"),
            _ => Score::Known(if i < 5 { 2000.0 } else { i as f32 }),
        };
        table.add(Column::hardness("entropy", ""), (0..1000).map(doubt).collect()).unwrap();
        let built = |written: serde_json::Value| {
            super::super::table().build(&json!({ "outliers": written })).map_err(|p| format!("{p:?}")).unwrap().operator
        };
        let flagged = |written| {
            let found = built(written).diagnose(&table).unwrap();
            (0..1000).filter(|row| found[*row].judgement == Judgement::Outlier).collect::<Vec<_>>()
        };
        assert_eq!(flagged(json!({})), [0, 3, 4]);
        assert_eq!(flagged(json!({ "doubt": null })), [0, 1, 2, 3, 4]);
        let own = built(json!({ "verdict": "weight" }));
        let (found, columns) = (own.diagnose(&table).unwrap(), own.columns(&table).unwrap());
        let suspicion = columns[0].1[0].get().unwrap();
        assert!(found[0].treatment == Treatment::Weight && (found[0].weight - (1.0 - suspicion)).abs() < 1e-6);
        assert_eq!((columns[0].1[1].get(), columns[0].1[2].get()), (Some(0.0), None));
        assert_eq!(found[0].primary(), Some(ReasonCode::Outlier));
        let told = super::super::table().build(&json!({ "outliers": { "by": "" } })).err().unwrap();
        assert!(told[0].to_string().starts_with("outliers.by: expected the name of a column"), "{}", told[0]);
    }

    proptest! {
        #[test]
        fn farther_is_never_less_suspicious(values in prop::collection::vec(prop::option::of(0.0f32..10.0), 0..60)) {
            let found = outlier_suspicions(&values);
            for (a, p) in values.iter().zip(&found) {
                prop_assert_eq!(p.is_some(), a.is_some_and(|a| a > 0.0));
                for (b, q) in values.iter().zip(&found) {
                    if let (Some(a), Some(b), Some(p), Some(q)) = (a, b, p, q) {
                        prop_assert!(a < b || p >= q);
                    }
                }
                prop_assert!(p.is_none_or(|p| (0.0..=1.0).contains(&p)));
            }
        }
    }
}
