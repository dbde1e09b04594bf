//! Whole runs on very little data: what a run leaves behind, again and again, with little time, and from bad input.

mod again;
mod arms;
mod attacks;
mod balance;
mod band;
mod budget;
mod bytes;
mod command;
mod door;
mod guarded;
mod input;
mod media;
mod objective;
mod scorers;
mod shared;
mod training;

use crate::{cli::text, golden::root};
use hardmine::{
    error::Result,
    model::linear::Linear,
    pipeline::{Plan, PlanBuilder, TrainPlan},
    progress::Silent,
    read::Manifest,
    record::{RunRecord, read_lines},
    registry::Registry,
    run::{self, Options, Summary, spec::Spec},
    sample::Digest,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Data, model and training of the tests, by the keys that differ between them.
const HEAD: &str = r#"
version: 1
name: tiny
seed: 7
data:
  train: { manifest: { path: "builtin:digits/train.jsonl" } }
  test: { manifest: { path: "builtin:digits/test.jsonl" } }
  limit: 100
model: { linear: {} }
train: { warmup_epochs: 5, rounds: 1, epochs_per_round: 1, batch_size: 8, learning_rate: 0.01 }
"#;

/// Every family, with all four ways to make a neighbour.
const STAGES: &str = r#"
stages:
  - score: { loss: {} }
  - score: { out_of_fold: { folds: 2 } }
  - score: { uncertainty: {} }
  - score: { quality: {} }
  - score: { inconsistency: {} }
  - diagnose: { reasons: {} }
  - mine: { band: { by: out_of_fold, low: 0.1, high: 0.9 } }
  - generate: { pgd: { modalities: [image, audio], epsilon: 8/255, audio_epsilon: 0.002, steps: 3 } }
  - generate: { latent: { kind: interpolate, radius: 0.5 } }
  - generate: { synchronized: {} }
  - generate: { modality_dropout: {} }
  - verify: { label_kept: {} }
  - verify: { within_ball: {} }
  - verify: { not_duplicate: {} }
  - feed: { replay: { share: 0.3 } }
"#;

/// The least that makes children: no folds, one generator, one verifier.
const FEW_STAGES: &str = r#"
stages:
  - score: { loss: {} }
  - mine: { top_fraction: { by: loss, fraction: 0.5 } }
  - generate: { pgd: { modalities: [image, audio], epsilon: 8/255, audio_epsilon: 0.002, steps: 2 } }
  - verify: { within_ball: {} }
  - feed: { replay: { share: 0.3 } }
"#;

/// The pipeline of `text` with `changes`, each as `--set` has them; relative paths start at `base`.
fn plan_in(base: &Path, text: &str, changes: &[&str]) -> Plan {
    let mut spec = Spec::parse("tiny.yaml", base, text).unwrap_or_else(|finding| panic!("{}", finding.problem));
    changes.iter().for_each(|change| spec.set(change).unwrap());
    spec.plan(&Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"))
}

fn plan(changes: &[&str]) -> Plan {
    plan_in(Path::new("."), &[HEAD, STAGES].concat(), changes)
}

fn few(changes: &[&str]) -> Plan {
    let fast = ["data.limit=60", "train.warmup_epochs=1", "train.rounds=2"];
    plan_in(Path::new("."), &[HEAD, FEW_STAGES].concat(), &[&fast, changes].concat())
}

fn execute(plan: Plan, out: &Path, threads: usize) -> Result<Summary> {
    run::execute(plan, &Options { out: out.to_owned(), threads: Some(threads) }, &Silent)
}

/// The pipeline of [`HEAD`] in code, on its first samples and without its stages.
fn builder(train: TrainPlan) -> PlanBuilder {
    Plan::builder()
        .name("tiny")
        .seed(7)
        .train_data(Manifest::new("builtin:digits/train.jsonl"))
        .test_data(Manifest::new("builtin:digits/test.jsonl"))
        .limit(60)
        .model(Linear::default())
        .train(TrainPlan { epochs_per_round: 1, batch_size: 8, learning_rate: 0.01, ..train })
}

/// A run that went well, and its folder.
struct Done {
    folder: TempDir,
    summary: Summary,
}

impl Done {
    fn of(plan: Plan) -> Self {
        Self::with_threads(plan, 2)
    }
    fn with_threads(plan: Plan, threads: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let summary = execute(plan, &folder.path().join("out"), threads).unwrap_or_else(|error| panic!("{error}"));
        Self { folder, summary }
    }
    fn root(&self) -> PathBuf {
        self.folder.path().join("out")
    }
    fn record(&self) -> RunRecord {
        record(&self.root())
    }
    fn digest(&self) -> Digest {
        self.record().output.unwrap()
    }
    fn lines<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        read_lines(&fs::read_to_string(self.root().join(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
    fn results(&self) -> &Value {
        &self.summary.record["results"]
    }
}

fn record(folder: &Path) -> RunRecord {
    serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap()
}

/// Every file below `folder` with its bytes, by its path.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// A pipeline file in a folder of its own.
struct File {
    folder: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.yaml"), text).unwrap();
        Self { folder }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hardmine"));
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }
    /// `hardmine run p.yaml --out out` with more arguments: exit code, what was printed, and the last line that was said.
    fn run(&self, more: &[&str]) -> Told {
        self.run_to("out", more)
    }
    fn run_to(&self, out: &str, more: &[&str]) -> Told {
        self.call(&[["run", "p.yaml", "--out", out, "--threads", "2"].as_slice(), more].concat())
    }
    fn call(&self, arguments: &[&str]) -> Told {
        Told::new(&self.command(arguments).output().unwrap(), self.folder.path())
    }
}

/// How a command ended. The folder of the pipeline is written `DIR`.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn new(output: &Output, folder: &Path) -> Self {
        let cleaned = |bytes: &[u8]| text(bytes).replace(&folder.display().to_string(), "DIR");
        Self { code: output.status.code(), out: cleaned(&output.stdout), err: cleaned(&output.stderr) }
    }
    /// What follows `error: `.
    fn error(&self) -> &str {
        self.err.find("error: ").map_or("", |at| self.err[at + 7..].trim_end())
    }
    fn failed(&self, code: i32, message: &str) {
        assert_eq!((self.code, self.error()), (Some(code), message), "{self:#?}");
    }
}

/// Absolute path of a file of the built-in digits.
fn digits(path: &str) -> String {
    root("assets/digits").join(path).display().to_string()
}

/// The first lines of a built-in manifest, with absolute paths of the media.
fn first(split: &str, count: usize) -> Vec<Value> {
    let lines = fs::read_to_string(digits(&format!("{split}.jsonl"))).unwrap();
    let absolute = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for field in ["image", "audio"] {
            if let Some(path) = line[field].as_str() {
                line[field] = digits(path).into();
            }
        }
        line
    };
    lines.lines().take(count).map(absolute).collect()
}

fn jsonl(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
