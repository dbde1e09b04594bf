//! What detectors are worth where the truth is known.

use super::plant::Faults;
use crate::{
    random::SeedTree,
    record::{DetectorCheck, Fault, GUARD},
    sample::{
        ColumnKind, Diagnoses, Diagnosis, Judgement, SampleId, Score, ScoreTable,
        metrics::{Flags, Interval, average_precision, quantile_of_sorted, wilson},
    },
};
use rand::RngExt;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 300;

/// One detector on one seed: scores, flags and truth of the judged rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    /// Absent where the detector has no score; such a row is not flagged, and ranks nowhere.
    pub scores: Vec<Option<f32>>,
    pub flagged: Vec<bool>,
    pub truth: Vec<bool>,
}

impl Trial {
    /// Flags as many of the largest scores as are true; equal ones by row.
    fn top(scores: Vec<Option<f32>>, truth: Vec<bool>) -> Self {
        let mut order: Vec<(f32, usize)> = scores.iter().enumerate().filter_map(|(i, s)| Some(((*s)?, i))).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut flagged = vec![false; scores.len()];
        order.iter().take(truth.iter().filter(|t| **t).count()).for_each(|(_, i)| flagged[*i] = true);
        Self { scores, flagged, truth }
    }
}

/// Trials by detector and fault, [`GUARD`] first, then the diagnosers and the columns in the order of the pipeline.
pub(super) type Trials = Vec<((String, Fault), Trial)>;

/// A diagnoser of the pipeline: what it may judge, and what it found alone.
#[derive(Debug, Clone)]
pub(super) struct Alone {
    pub name: String,
    pub judges: &'static [Judgement],
    /// The columns it added.
    pub columns: Vec<String>,
    pub diagnoses: Diagnoses,
}

/// What is judged, and the column that the joined guard ranks by.
const KINDS: [(Fault, Judgement, &str); 3] = [
    (Fault::Label, Judgement::SuspectLabel, "label_suspicion"),
    (Fault::Pair, Judgement::SuspectPair, "pair_suspicion"),
    (Fault::Outlier, Judgement::Outlier, "outlier_suspicion"),
];

/// Every detector of one run: the joined guard and each diagnoser with their own flags, and each column in which larger is more suspicious alone.
pub(super) fn trials(
    table: &ScoreTable,
    diagnoses: &[Diagnosis],
    alone: &[Alone],
    faults: &Faults,
    known_wrong: &BTreeSet<SampleId>,
) -> Trials {
    let rows: Vec<usize> =
        (0..table.len()).filter(|row| table.rows()[*row].class.is_some() && !known_wrong.contains(&table.rows()[*row].id)).collect();
    let truth = |fault: Fault| -> Vec<bool> { rows.iter().map(|row| faults.has(&table.rows()[*row].id, fault)).collect() };
    // Without a suspicion to rank by there are only the flags.
    let by_columns = |columns: &[&[Score]], flagged: &[bool]| -> Vec<Option<f32>> {
        let score = |(row, flagged): (&usize, &bool)| {
            if columns.is_empty() { Some(f32::from(u8::from(*flagged))) } else { columns.iter().map(|column| column[*row].get()).sum() }
        };
        rows.iter().zip(flagged).map(score).collect()
    };
    let mut all = Trials::new();
    for (fault, judgement, column) in KINDS {
        let flagged: Vec<bool> = rows.iter().map(|row| diagnoses[*row].judgement == judgement).collect();
        let columns: Vec<&[Score]> = table.column_of_any(column).into_iter().collect();
        all.push(((GUARD.to_owned(), fault), Trial { scores: by_columns(&columns, &flagged), flagged, truth: truth(fault) }));
    }
    let flagged: Vec<bool> = rows.iter().map(|row| diagnoses[*row].judgement != Judgement::Valuable).collect();
    let columns: Vec<&[Score]> = KINDS.iter().filter_map(|(_, _, name)| table.column_of_any(name)).collect();
    all.push(((GUARD.to_owned(), Fault::Any), Trial { scores: by_columns(&columns, &flagged), flagged, truth: truth(Fault::Any) }));
    for one in alone {
        for (fault, judgement, column) in KINDS.into_iter().filter(|(_, judgement, _)| one.judges.contains(judgement)) {
            let flagged: Vec<bool> = rows.iter().map(|row| one.diagnoses[*row].judgement == judgement).collect();
            // Its column for the fault, its only one, or how strongly it suspects what it flags.
            let named = one.columns.iter().find(|name| name.ends_with(column));
            let own = named.or(one.columns.first().filter(|_| one.columns.len() == 1)).and_then(|name| table.column(name));
            let scores = match own {
                Some(column) => by_columns(&[column], &flagged),
                None => rows
                    .iter()
                    .zip(&flagged)
                    .map(|(row, flagged)| Some(if *flagged { strongest(&one.diagnoses[*row]) } else { 0.0 }))
                    .collect(),
            };
            all.push(((one.name.clone(), fault), Trial { scores, flagged, truth: truth(fault) }));
        }
    }
    for (column, cells) in table.columns() {
        if column.kind == ColumnKind::Hardness || column.name.ends_with("_suspicion") {
            let scores: Vec<Option<f32>> = rows.iter().map(|row| cells[*row].get()).collect();
            for (fault, ..) in KINDS {
                all.push(((column.name.clone(), fault), Trial::top(scores.clone(), truth(fault))));
            }
        }
    }
    all
}

fn strongest(diagnosis: &Diagnosis) -> f32 {
    diagnosis.reasons.iter().map(|reason| reason.strength).fold(f32::MIN_POSITIVE, f32::max)
}

/// The trials of all seeds joined, in the order of the first seed; a fault that was not planted is left out.
pub(super) fn summarise(seeds: Vec<Trials>, root: &SeedTree) -> Vec<DetectorCheck> {
    let mut order: Vec<(String, Fault)> = Vec::new();
    let mut joined: BTreeMap<(String, Fault), Vec<Trial>> = BTreeMap::new();
    for (key, trial) in seeds.into_iter().flatten() {
        if !joined.contains_key(&key) {
            order.push(key.clone());
        }
        joined.entry(key).or_default().push(trial);
    }
    let one = |key: &(String, Fault)| -> Option<DetectorCheck> {
        let trials = joined.get(key)?;
        let flags = Flags::count(trials.iter().flat_map(|t| t.flagged.iter().copied().zip(t.truth.iter().copied())));
        let (flagged, planted) = (flags.true_positive + flags.false_positive, flags.true_positive + flags.false_negative);
        (planted > 0).then(|| DetectorCheck {
            detector: key.0.clone(),
            fault: key.1,
            planted,
            flagged,
            precision: wilson(flags.true_positive, flagged),
            recall: wilson(flags.true_positive, planted),
            average_precision: ranking(trials, &root.child(&key.0).child(key.1.name())),
        })
    };
    order.par_iter().filter_map(one).collect()
}

/// Average precision, the mean over the trials that have one, with a percentile bootstrap over the rows of each.
fn ranking(trials: &[Trial], seeds: &SeedTree) -> Option<Interval> {
    let known: Vec<(Vec<f32>, Vec<bool>)> =
        trials.iter().map(|t| t.scores.iter().zip(&t.truth).filter_map(|(score, truth)| Some(((*score)?, *truth))).unzip()).collect();
    let mean = |all: Vec<f64>| (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
    let value = mean(known.iter().filter_map(|(scores, truth)| average_precision(scores, truth)).collect())?;
    let mut rng = seeds.child("bootstrap").rng();
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut draw = |(scores, truth): &(Vec<f32>, Vec<bool>)| {
                let n = scores.len() as u64;
                let (scores, truth): (Vec<f32>, Vec<bool>) =
                    (0..n).map(|_| rng.random_range(0..n) as usize).map(|i| (scores[i], truth[i])).unzip();
                average_precision(&scores, &truth)
            };
            mean(known.iter().filter_map(&mut draw).collect())
        })
        .collect();
    resampled.sort_by(f64::total_cmp);
    // A resample can miss every fault where there are few; then its interval is the point itself.
    let at = |share| quantile_of_sorted(&resampled, share).unwrap_or(value);
    Some(Interval { value, low: at(0.025), high: at(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Column, Modality, ModalitySet, Score, TableRow};
    use std::sync::Arc;

    fn table() -> ScoreTable {
        let row = |i: usize| TableRow {
            id: format!("s{i}").as_str().into(),
            class: (i != 9).then_some(0),
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new((0..10).map(row).collect(), 2).unwrap();
        // Places from the top: s1, s0, s2, s3 ...; s8 has none.
        let values = [0.8, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0, 1.0];
        let scores = (0..10).map(|i| if i == 8 { Score::absent("no audio") } else { Score::Known(values[i]) }).collect();
        table.add(Column::hardness("loss", ""), scores).unwrap();
        table.add(Column::measure("snr", ""), vec![Score::Known(1.0); 10]).unwrap();
        table
    }

    fn faults(labels: &[&str], pairs: &[&str]) -> Faults {
        Faults {
            labels: labels.iter().map(|id| ((*id).into(), 1)).collect(),
            pairs: pairs.iter().map(|id| ((*id).into(), (Modality::Audio, "s5".into()))).collect(),
            foreign: BTreeSet::new(),
        }
    }

    #[test]
    fn a_worked_check() {
        let mut diagnoses = vec![Diagnosis::clear(); 10];
        for (row, judgement) in
            [(0, Judgement::SuspectLabel), (1, Judgement::SuspectLabel), (3, Judgement::SuspectPair), (9, Judgement::SuspectPair)]
        {
            diagnoses[row].judgement = judgement;
        }
        let found = trials(&table(), &diagnoses, &[], &faults(&["s0", "s2"], &["s3"]), &["s7".into()].into());
        let checks = summarise(vec![found], &SeedTree::new(1));
        let of = |name: &str, fault| checks.iter().find(|c| c.detector == name && c.fault == fault).unwrap();
        let value = |interval: Option<Interval>| interval.unwrap().value;
        // The guard: s0 right, s1 wrong, s2 missed. The row without a label and the one known to be wrong are not judged.
        let label = of(GUARD, Fault::Label);
        assert_eq!((label.planted, label.flagged, value(label.precision), value(label.recall)), (2, 2, 0.5, 0.5));
        let pair = of(GUARD, Fault::Pair);
        assert_eq!((pair.planted, pair.flagged, value(pair.precision)), (1, 1, 1.0));
        let any = of(GUARD, Fault::Any);
        assert_eq!((any.planted, any.flagged), (3, 3));
        // The column flags as many as were planted (s1, s0); hits at places 2 and 3: (1/2 + 2/3) / 2.
        let loss = of("loss", Fault::Label);
        assert_eq!((loss.flagged, value(loss.precision), value(loss.recall)), (2, 0.5, 0.5));
        let ap = loss.average_precision.unwrap();
        assert!((ap.value - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-9 && ap.low <= ap.value && ap.value <= ap.high);
        assert!(checks.iter().all(|c| c.detector != "snr"));
        assert_eq!(checks[0].detector, GUARD);
    }

    #[test]
    fn each_diagnoser_is_measured_by_what_it_may_judge() {
        let mut table = table();
        let suspicion = (0..10).map(|i| Score::Known(if i == 2 { 0.9 } else { 0.1 })).collect();
        table.add(Column::measure("own.confident_suspicion", ""), suspicion).unwrap();
        let mut found = vec![Diagnosis::clear(); 10];
        found[0].judgement = Judgement::SuspectLabel;
        found[3].judgement = Judgement::Outlier;
        let one = |name: &str, judges, columns: &[&str]| Alone {
            name: name.to_owned(),
            judges,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            diagnoses: found.clone(),
        };
        let alone = [
            one("confident_learning", &[Judgement::SuspectLabel], &["own.confident_suspicion"]),
            one("aum_threshold", &[Judgement::SuspectLabel], &[]),
            one("outliers", &[Judgement::Outlier], &[]),
            one("reasons", &[], &[]),
        ];
        let faults = Faults { foreign: ["s3".into(), "s4".into()].into(), ..faults(&["s2"], &[]) };
        let checks = summarise(vec![trials(&table, &vec![Diagnosis::clear(); 10], &alone, &faults, &BTreeSet::new())], &SeedTree::new(1));
        let of = |name: &str, fault| checks.iter().find(|c| c.detector == name && c.fault == fault);
        // Its ranking is its column, its flags are its own: s0, which is fine.
        let confident = of("confident_learning", Fault::Label).unwrap();
        assert_eq!((confident.flagged, confident.precision.unwrap().value, confident.average_precision.unwrap().value), (1, 0.0, 1.0));
        // Without a column it ranks what it flags before all else: s2 is among nine equals of which one is before them.
        assert!(of("aum_threshold", Fault::Label).unwrap().average_precision.unwrap().value < 0.5);
        let outliers = of("outliers", Fault::Outlier).unwrap();
        assert_eq!(
            (outliers.planted, outliers.flagged, outliers.precision.unwrap().value, outliers.recall.unwrap().value),
            (2, 1, 1.0, 0.5)
        );
        assert_eq!(of(GUARD, Fault::Any).unwrap().planted, 3);
        assert!(of("outliers", Fault::Label).is_none() && checks.iter().all(|c| c.detector != "reasons"));
    }

    #[test]
    fn seeds_are_joined_and_nothing_planted_is_nothing_said() {
        let diagnoses = vec![Diagnosis::clear(); 10];
        let run = |labels: &[&str]| trials(&table(), &diagnoses, &[], &faults(labels, &[]), &BTreeSet::new());
        let checks = summarise(vec![run(&["s1"]), run(&["s8"])], &SeedTree::new(1));
        assert!(checks.iter().all(|c| c.fault != Fault::Pair));
        let loss = checks.iter().find(|c| c.detector == "loss").unwrap();
        assert_eq!((loss.planted, loss.flagged), (2, 2));
        // s8 has no loss: it is missed, and its seed has no ranking.
        assert_eq!((loss.recall.unwrap().value, loss.average_precision.unwrap().value), (0.5, 1.0));
        let guard = &checks[0];
        assert_eq!((guard.flagged, guard.precision, guard.recall.unwrap().value), (0, None, 0.0));
        assert!(summarise(Vec::new(), &SeedTree::new(1)).is_empty());
    }
}
