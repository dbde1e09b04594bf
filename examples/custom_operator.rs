//! An operator of your own: a miner that takes the samples on which the model and the out-of-fold judge disagree most. It is written like the
//! shipped ones (config, doc comment, `Configure`), joins the registry as a value, and is used from YAML like any other.
//!
//! `cargo run --release --example custom_operator`

use hardmine::{
    context::MineContext,
    error::{Error, Problem, Result},
    mine::{self, Miner},
    operator::{Configure, Requirements, Table},
    pipeline::Plan,
    progress::Silent,
    registry::Registry,
    run::{self, Options, spec},
    sample::{Diagnosis, Judgement, ScoreTable, Selected, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Takes the samples whose loss moved most between the out-of-fold judge and the model itself.
///
/// Method: `|loss - out_of_fold|`, the `keep` largest among the valuable.
///
/// Reference: this example.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memorised {
    /// How many samples are taken, at least 1.
    keep: usize,
}

impl Configure<dyn Miner> for Memorised {
    const NAME: &'static str = "memorised";
    const EXAMPLE: &'static str = "{ keep: 20 }";
    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        if self.keep == 0 { Err(vec![Problem::new("keep", "expected at least 1, found 0")]) } else { Ok(Box::new(self)) }
    }
}

impl Miner for Memorised {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec!["loss".into(), "out_of_fold".into()], ..Requirements::default() }
    }
    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let gap = |row: usize| Some((table.value("loss", row)? - table.value("out_of_fold", row)?).abs());
        let rows: Vec<usize> =
            (0..table.len()).filter(|&row| diagnoses[row].judgement == Judgement::Valuable && gap(row).is_some()).collect();
        let gaps: Vec<f32> = rows.iter().filter_map(|&row| gap(row)).collect();
        let mut samples: Vec<Selected> =
            mine::top_k(&gaps, self.keep).into_iter().map(|i| Selected::new(table, rows[i], gaps[i], context.stage)).collect();
        samples.sort_by_key(|selected| selected.row);
        Ok(Selection { samples, band: mine::frozen_band(table, diagnoses, "out_of_fold", 0.5, 0.95) })
    }
}

const PIPELINE: &str = "
version: 1
name: custom
seed: 7
data: { train: { manifest: { path: 'builtin:digits/train.jsonl' } }, validation: { manifest: { path: 'builtin:digits/val.jsonl' } }, limit: 200 }
model: { linear: {} }
train: { warmup_epochs: 3, rounds: 1, epochs_per_round: 1 }
stages:
  - score:    { loss: {} }
  - score:    { out_of_fold: { folds: 2 } }
  - mine:     { memorised: { keep: 20 } }
  - generate: { pgd: { steps: 5 } }
  - verify:   { within_ball: {} }
  - feed:     { replay: {} }
";

pub fn main() -> Result<()> {
    let registry = Registry { miners: mine::table().with::<Memorised>(), ..Registry::default() };
    let value = spec::value(PIPELINE).map_err(|finding| Error::pipeline("the pipeline is wrong", vec![finding.problem]))?;
    let plan =
        Plan::from_value(&value, Path::new("."), &registry).map_err(|problems| Error::pipeline("the pipeline is wrong", problems))?;
    let out = std::env::temp_dir().join(format!("hardmine-custom-operator-{}", std::process::id()));
    let summary = run::execute(plan, &Options { out: out.clone(), threads: None }, &Silent)?;
    summary.lines.iter().for_each(|line| println!("{line}"));
    std::fs::remove_dir_all(&out).map_err(|error| Error::io(&out, error))
}
