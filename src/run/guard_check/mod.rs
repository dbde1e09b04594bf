//! What the guard is worth on the user's own data: known faults are planted in memory, the pipeline scores and diagnoses, and the findings are held
//! against the truth.

mod judge;
mod plant;

use super::Summary;
use crate::{
    error::{Error, Result},
    model::Opened,
    pipeline::{Opening, Plan, Split, Stop},
    progress::Progress,
    random::SeedTree,
    record::{DetectorCheck, GuardCheck, NoiseKind, read_lines},
    sample::{Classes, Diagnoses, ModalitySet, SampleId, ScoreTable, metrics::Interval},
    train::{self, Experiment, Splits},
};
use judge::Alone;
use plant::{Candidate, Faults, Noise, Planted};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Most of the samples that may be made wrong: above, the wrong ones would be the rule.
const MOST_NOISE: f64 = 0.5;

/// How a guard is checked.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// Share of the labelled samples that get another label, `0..=0.5`.
    pub label_noise: f64,
    /// Share of them that exchange a modality with a sample of another class, `0..=0.5`.
    pub pair_noise: f64,
    /// Share of them whose media are made meaningless, `0..=0.5`: samples of no class.
    pub outlier_noise: f64,
    /// How labels are made wrong.
    pub kind: NoiseKind,
    /// Names of classes whose labels a [`NoiseKind::PairFlip`] exchanges, two by two; where there are none, each class becomes the next.
    pub flips: Vec<[String; 2]>,
    /// The modalities that may be exchanged; at least one.
    pub exchanged: ModalitySet,
    /// Runs, each with faults and models of its own; at least 1.
    pub seeds: usize,
    /// JSON lines with the `id` of samples known to be wrong: nothing is planted in them, and they are not judged.
    pub known_wrong: Option<PathBuf>,
    /// The file that is written.
    pub out: PathBuf,
    /// Threads; `None` for as many as there are cores.
    pub threads: Option<usize>,
}

/// Plants faults in the training split, scores and diagnoses as the first round of a run does, and writes how many each detector found.
/// The data are not changed; validation and test are not read.
///
/// # Errors
/// If the plan does not train or has no diagnoser, shares are out of range, or no fault could be planted.
pub fn guard_check(plan: &Plan, options: &GuardOptions, progress: &dyn Progress) -> Result<Summary> {
    let shares =
        [("a label noise", options.label_noise), ("a pair noise", options.pair_noise), ("an outlier noise", options.outlier_noise)];
    for (name, share) in shares {
        if !(0.0..=MOST_NOISE).contains(&share) {
            return Err(Error::usage(format!("expected {name} in 0..={MOST_NOISE}, found {share}")));
        }
    }
    if options.exchanged.is_empty() && options.pair_noise > 0.0 {
        return Err(Error::usage("expected a modality to exchange, found none"));
    }
    if !options.flips.is_empty() && options.kind != NoiseKind::PairFlip {
        return Err(Error::usage("classes to exchange go with the kind pair_flip alone"));
    }
    if options.seeds == 0 {
        return Err(Error::usage("expected at least 1 seed, found 0"));
    }
    if plan.train.is_none() {
        return Err(Error::usage("the pipeline says `train: none`: the guard's judges are trained on the data it judges"));
    }
    if plan.stages.diagnose.is_empty() {
        return Err(Error::usage("the pipeline has no guard to check; add `- diagnose: { noise_guard: {} }`"));
    }
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = options.threads {
        pool = pool.num_threads(threads);
    }
    let pool = pool.build().map_err(|error| Error::internal(format!("no thread pool: {error}")))?;
    let check = pool.install(|| check(plan, options, progress))?;
    write(&options.out, &check)?;
    let record = serde_json::to_value(&check).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Summary { lines: lines(&check, &options.out), record })
}

fn check(plan: &Plan, options: &GuardOptions, progress: &dyn Progress) -> Result<GuardCheck> {
    let known_wrong = options.known_wrong.as_deref().map(known_wrong).transpose()?.unwrap_or_default();
    let base = Split::open(&plan.data.train, &Opening { name: "train", classes: None, plan: &plan.data }, progress)?;
    let candidates = Candidate::of(&base, &known_wrong);
    let noise = Noise {
        kind: options.kind,
        flips: flips(&options.flips, base.classes())?,
        exchanged: options.exchanged,
        labels: options.label_noise,
        pairs: options.pair_noise,
        foreign: options.outlier_noise,
    };
    let mut seeds = Vec::new();
    let mut trials = Vec::new();
    for ordinal in 0..options.seeds {
        let seed = train::seed_of(plan.seed, ordinal);
        progress.note(&format!("seed {seed} ({} of {})", ordinal + 1, options.seeds));
        let root = SeedTree::new(seed);
        let faults = Faults::draw(&candidates, base.classes().len(), &noise, &root.child("guard check"));
        if faults == Faults::default() {
            return Err(Error::usage(format!(
                "no fault could be planted among {} labelled samples: raise the shares, or give data with several classes and modalities",
                candidates.len()
            )));
        }
        let own = run(plan, &base, &faults, root, progress).map_err(|error| error.at("seed", seed))?;
        trials.push(judge::trials(&own.table, &own.diagnoses, &own.alone, &faults, &known_wrong));
        seeds.push(seed);
    }
    let rows = trials.iter().filter_map(|of_seed| of_seed.first()).map(|(_, trial)| trial.truth.len()).sum();
    Ok(GuardCheck {
        version: crate::record::VERSION,
        pipeline: plan.name.clone(),
        plan: plan.digest,
        kind: options.kind,
        flips: options.flips.clone(),
        exchanged: options.exchanged,
        label_noise: options.label_noise,
        pair_noise: options.pair_noise,
        outlier_noise: options.outlier_noise,
        seeds,
        rows,
        detectors: judge::summarise(trials, &SeedTree::new(plan.seed).child("guard check")),
    })
}

/// What one run found.
struct Found {
    table: ScoreTable,
    /// Of all diagnosers joined.
    diagnoses: Diagnoses,
    alone: Vec<Alone>,
}

/// Warm-up, folds, probe runs, scores and diagnoses with the faults in place.
fn run(plan: &Plan, base: &Split, faults: &Faults, seeds: SeedTree, progress: &dyn Progress) -> Result<Found> {
    let train = plan.train.as_ref().ok_or_else(|| Error::internal("a guard check without training"))?;
    let source = Planted::new(plan.data.train.operator.open(&plan.data.base)?, faults, base.classes(), seeds.child("meaningless"))?;
    let opening = Opening { name: "train", classes: Some(base.classes()), plan: &plan.data };
    let split = Split::survey(Box::new(source), &opening, progress)?;
    let model = match plan.model.operator.open_at(&plan.data.base, split.profile(), &seeds.child("model"))? {
        Opened::Trainable(model) => model,
        Opened::Frozen(_) => return Err(Error::usage("this model cannot be trained").at("model", plan.model.name)),
    };
    let stop = Stop::default();
    let splits = Splits { train: &split, validation: None, test: None };
    let experiment = Experiment { plan, splits, seeds, stop: &stop, progress };
    let folds = plan.stages.requirements().find_map(|requirements| requirements.folds);
    let start = experiment.start(model, train, folds)?;
    let stages = &plan.stages.diagnose;
    let mut alone = Vec::new();
    let mut each = |id: &str, columns: &[String], diagnoses: &Diagnoses| {
        let Some(stage) = stages.iter().find(|stage| stage.info.id == id) else { return };
        let only = stages.iter().filter(|other| other.info.operator == stage.info.operator).count() == 1;
        alone.push(Alone {
            name: if only { stage.info.operator.to_owned() } else { id.to_owned() },
            judges: stage.operator.judges(),
            columns: columns.to_vec(),
            diagnoses: diagnoses.clone(),
        });
    };
    let (table, diagnoses) = experiment.judge(&start, &mut each)?;
    Ok(Found { table, diagnoses, alone })
}

/// The classes of the names, two by two. Errors: a name is no class, or stands twice.
fn flips(names: &[[String; 2]], classes: &Classes) -> Result<Vec<[usize; 2]>> {
    let mut seen = BTreeSet::new();
    let mut of = |name: &String| {
        let class = classes.index(name).ok_or_else(|| Error::usage(format!("the data have no class `{name}` to exchange")))?;
        if seen.insert(class) { Ok(class) } else { Err(Error::usage(format!("class `{name}` is exchanged twice"))) }
    };
    names.iter().map(|[a, b]| Ok([of(a)?, of(b)?])).collect()
}

#[derive(Deserialize)]
struct Named {
    id: SampleId,
}

fn known_wrong(path: &Path) -> Result<BTreeSet<SampleId>> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let named = read_lines::<Named>(&text).map_err(|error| error.at("file", path.display()))?;
    Ok(named.into_iter().map(|one| one.id).collect())
}

/// Under a temporary name first, then renamed.
fn write(path: &Path, check: &GuardCheck) -> Result<()> {
    let text = serde_json::to_string_pretty(check).map_err(|error| Error::internal(error.to_string()))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, text + "\n").map_err(|error| Error::io(&partial, error))?;
    fs::rename(&partial, path).map_err(|error| Error::io(path, error))
}

fn lines(check: &GuardCheck, out: &Path) -> Vec<String> {
    let share = |interval: Option<Interval>| {
        interval.map_or_else(|| "none".to_owned(), |i| format!("{:.3} ({:.3} to {:.3})", i.value, i.low, i.high))
    };
    let width = check.detectors.iter().map(|d| d.detector.chars().count()).max().unwrap_or(0).max("detector".len());
    let row = |cells: [&str; 8]| {
        let [detector, fault, planted, flagged, precision, recall, f1, ap] = cells;
        format!("{detector:width$}  {fault:7}  {planted:>7}  {flagged:>7}  {precision:22}  {recall:22}  {f1:5}  {ap}").trim_end().to_owned()
    };
    let mut lines = vec![
        format!(
            "{} rows over {} seeds; 95 % intervals; what was wrong before and is not named counts as a false alarm",
            check.rows,
            check.seeds.len()
        ),
        row(["detector", "fault", "planted", "flagged", "precision", "recall", "F1", "average precision"]),
    ];
    let of = |d: &DetectorCheck| {
        let f1 = d.f1().map_or_else(|| "none".to_owned(), |f1| format!("{f1:.3}"));
        let (precision, recall, ap) = (share(d.precision), share(d.recall), share(d.average_precision));
        row([&d.detector, d.fault.name(), &d.planted.to_string(), &d.flagged.to_string(), &precision, &recall, &f1, &ap])
    };
    lines.extend(check.detectors.iter().map(of));
    lines.push(format!("written: {}; give it to a diagnoser as `trust`, such as `noise_guard: {{ trust: ... }}`", out.display()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        progress::Silent,
        record::{Fault, GUARD},
        registry::Registry,
        run::spec::Spec,
    };

    const PIPELINE: &str = r#"
version: 1
name: tiny
seed: 7
data:
  train: { manifest: { path: "builtin:digits/train.jsonl" } }
  limit: 120
model: { linear: {} }
train: { warmup_epochs: 6, batch_size: 8, learning_rate: 0.01 }
stages:
  - score: { out_of_fold: { folds: 2 } }
  - score: { dynamics: {} }
  - diagnose: { noise_guard: {} }
"#;

    fn plan(text: &str) -> Plan {
        let spec = Spec::parse("tiny.yaml", ".", text).unwrap_or_else(|finding| panic!("{}", finding.problem));
        spec.plan(&Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"))
    }

    fn options(out: &Path) -> GuardOptions {
        GuardOptions {
            label_noise: 0.1,
            pair_noise: 0.1,
            outlier_noise: 0.0,
            kind: NoiseKind::Uniform,
            flips: Vec::new(),
            exchanged: ModalitySet::ALL,
            seeds: 2,
            known_wrong: None,
            out: out.join("guard_check.json"),
            threads: Some(2),
        }
    }

    #[test]
    fn a_check_counts_what_it_planted_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let summary = guard_check(&plan(PIPELINE), &options(folder.path()), &Silent).unwrap();
        let text = fs::read_to_string(folder.path().join("guard_check.json")).unwrap();
        let check: GuardCheck = serde_json::from_str(&text).unwrap();
        assert_eq!((check.seeds.clone(), check.rows), (vec![7, 8], 240));
        let label = check.of("out_of_fold", Fault::Label).unwrap();
        assert_eq!((label.planted, label.flagged), (24, 24));
        assert_eq!(check.of(GUARD, Fault::Any).unwrap().planted, label.planted + check.of(GUARD, Fault::Pair).unwrap().planted);
        // A wrong label is not predicted: the loss ranks it far above chance, which is a tenth.
        assert!(label.average_precision.unwrap().value > 0.2, "{:?}", label.average_precision);
        assert!(summary.lines.iter().any(|line| line.starts_with("guard")), "{:#?}", summary.lines);
        assert_eq!(summary.record["detectors"][0]["detector"], GUARD);
        guard_check(&plan(PIPELINE), &GuardOptions { threads: Some(1), ..options(folder.path()) }, &Silent).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("guard_check.json")).unwrap(), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn samples_known_to_be_wrong_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("wrong.jsonl");
        let ids: String = (0..20).map(|i| format!("{{\"id\": \"train-{i:04}\", \"planted\": \"mislabeled\"}}\n")).collect();
        fs::write(&list, ids).unwrap();
        let own = GuardOptions { known_wrong: Some(list.clone()), seeds: 1, ..options(folder.path()) };
        guard_check(&plan(PIPELINE), &own, &Silent).unwrap();
        let check: GuardCheck = serde_json::from_str(&fs::read_to_string(folder.path().join("guard_check.json")).unwrap()).unwrap();
        assert_eq!((check.rows, check.of(GUARD, Fault::Label).unwrap().planted), (100, 10));
        fs::write(&list, "{\n").unwrap();
        assert!(guard_check(&plan(PIPELINE), &own, &Silent).unwrap_err().to_string().contains("wrong.jsonl"));
    }

    #[test]
    fn what_cannot_be_checked_is_told_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        let own = options(folder.path());
        let said = |plan: &Plan, options: GuardOptions| guard_check(plan, &options, &Silent).unwrap_err().to_string();
        let whole = plan(PIPELINE);
        assert!(said(&whole, GuardOptions { label_noise: 0.6, ..own.clone() }).contains("expected a label noise in 0..=0.5, found 0.6"));
        assert!(said(&whole, GuardOptions { pair_noise: f64::NAN, ..own.clone() }).contains("expected a pair noise"));
        let flip = |a: &str, b: &str| GuardOptions { kind: NoiseKind::PairFlip, flips: vec![[a.into(), b.into()]], ..own.clone() };
        assert!(said(&whole, flip("4", "ten")).contains("no class `ten`"));
        assert!(said(&whole, flip("4", "4")).contains("`4` is exchanged twice"));
        assert!(said(&whole, GuardOptions { kind: NoiseKind::Uniform, ..flip("4", "9") }).contains("pair_flip alone"));
        assert!(said(&whole, GuardOptions { exchanged: ModalitySet::EMPTY, ..own.clone() }).contains("a modality to exchange"));
        assert!(said(&whole, GuardOptions { seeds: 0, ..own.clone() }).contains("at least 1 seed"));
        let bare = plan(&PIPELINE.replace("  - diagnose: { noise_guard: {} }\n", ""));
        assert!(said(&bare, own.clone()).contains("no guard to check"));
        assert!(said(&whole, GuardOptions { label_noise: 0.0, pair_noise: 0.0, ..own.clone() }).contains("no fault could be planted"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
