use super::{Failure, Outcome, print, progress};
use crate::{run, sample::SampleId};
use clap::Args;
use std::path::PathBuf;

/// Make generated samples again from their lineage, byte for byte, or say what differs
#[derive(Debug, Args)]
pub(super) struct Regenerate {
    /// Output folder of the run
    dir: PathBuf,
    /// Ids of generated samples [default: all]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Write the files here; without it they are only compared
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Regenerate {
    pub(super) fn execute(self) -> Outcome {
        let ids: Vec<SampleId> = self.ids.into_iter().map(SampleId::new).collect();
        let progress = progress::of_stderr();
        let summary = run::regenerate(&self.dir, &ids, self.to.as_deref(), progress.as_ref())?;
        if self.json {
            print(&super::json(&summary.record)?)?
        } else {
            print(&summary.lines.join("\n"))?
        }
        // What differs is told above; a script sees it by the exit code.
        if summary.record["same"] == summary.record["asked"] { Ok(()) } else { Err(Failure::Told(1)) }
    }
}
