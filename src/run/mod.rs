//! A run: the pipeline file, the output folder, the journal.

mod clock;
mod execute;
mod explain;
pub mod export;
mod folder;
mod gallery;
mod guard_check;
mod keeper;
pub mod outside;
mod overrides;
mod print;
mod ready;
mod regenerate;
mod report;
pub mod shipped;
pub mod spec;

pub use gallery::gallery;
pub use guard_check::{GuardOptions, guard_check};

use crate::{
    error::{Problem, Result},
    pipeline::Plan,
    progress::Progress,
    sample::SampleId,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How a plan is executed; nothing here changes a byte of the output.
#[derive(Debug, Clone)]
pub struct Options {
    /// Output folder.
    pub out: PathBuf,
    /// Threads for decoding and augmentation; `None` for as many as there are cores.
    pub threads: Option<usize>,
}

/// What a run did, in short.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Lines for people.
    pub lines: Vec<String>,
    /// The same as data, for `--json`.
    pub record: serde_json::Value,
}

/// Why [`execute`] refuses a plan that could be built, `None` where it does not.
pub fn unready(plan: &Plan) -> Option<Problem> {
    ready::unready(plan)
}

/// The same of a pipeline that could not be built, by what is written.
pub fn unready_as_written(pipeline: &serde_json::Value) -> Option<Problem> {
    ready::unready_as_written(pipeline)
}

/// Runs the plan, or resumes it, and leaves its folder behind.
pub fn execute(plan: Plan, options: &Options, progress: &dyn Progress) -> Result<Summary> {
    execute::execute(&plan, options, progress)
}

/// What is known of one sample or child of a finished run.
pub fn explain(folder: &Path, id: &SampleId) -> Result<Summary> {
    explain::explain(folder, id)
}

/// Makes generated samples again from their lineage, all where `ids` is empty, and compares or writes them.
pub fn regenerate(folder: &Path, ids: &[SampleId], to: Option<&Path>, progress: &dyn Progress) -> Result<Summary> {
    regenerate::regenerate(folder, ids, to, progress)
}

/// Writes the report of a finished run again; the path of the page.
pub fn report(folder: &Path) -> Result<PathBuf> {
    report::again(folder)
}
