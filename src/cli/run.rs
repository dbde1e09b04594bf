use super::{
    Failure, Outcome,
    findings::{self, Opened, Paint},
    print, progress, say,
};
use crate::{pipeline::Plan, registry::Registry, run};
use clap::Args;
use std::path::{Path, PathBuf};

/// Run a pipeline, or resume it: a data set, a model and a report are left in its folder
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Pipeline file, or the name of a shipped pipeline (`digits`)
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Output folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of every random draw, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change a value of the file: `data.limit=200`, `stages.pgd.steps=5`; may be given again
    #[arg(long, value_name = "dotted.path=value")]
    set: Vec<String>,
    /// Threads for decoding and augmentation; changes no byte of the output [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn execute(self) -> Outcome {
        let plan = plan(&self.pipeline, &self.set, self.seed)?;
        let out = self.out.unwrap_or_else(|| Path::new("runs").join(folder(&plan.name)));
        let options = run::Options { out, threads: self.threads.map(usize::from) };
        let progress = progress::of_stderr();
        let summary = run::execute(plan, &options, progress.as_ref())?;
        tell(&summary, self.json)
    }
}

/// The result: lines for people, or data with the lines beside it.
pub(super) fn tell(summary: &run::Summary, json: bool) -> Outcome {
    if json {
        summary.lines.iter().for_each(|line| say(line));
        print(&super::json(&summary.record)?)
    } else {
        print(&super::visible(&summary.lines.join("\n")))
    }
}

/// The checked plan; its problems are told here.
fn plan(pipeline: &str, set: &[String], seed: Option<u64>) -> Result<Plan, Failure> {
    planned(findings::open(pipeline, set, seed)?)
}

/// The checked plan of an opened pipeline.
pub(super) fn planned(opened: Opened) -> Result<Plan, Failure> {
    let paint = Paint::of_stderr();
    let told = |name: &str, text: &str, found: &[_]| {
        say(&findings::render(name, text, found, paint));
        Failure::Told(2)
    };
    match opened {
        Opened::Broken(name, text, finding) => Err(told(&name, &text, &[*finding])),
        Opened::Spec(spec) => spec.plan(&Registry::default()).map_err(|found| told(spec.name(), spec.text(), &found)),
    }
}

/// A pipeline's name as the name of a folder.
fn folder(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).take(64).collect();
    if safe.is_empty() { "pipeline".into() } else { safe }
}
