use super::{Outcome, print};
use crate::{run, sample::SampleId};
use clap::Args;
use std::path::PathBuf;

/// Tell all that a run knows of one sample, or of one generated child
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Output folder of the run
    dir: PathBuf,
    /// Id of a sample or of a child
    id: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn execute(self) -> Outcome {
        let summary = run::explain(&self.dir, &SampleId::new(self.id))?;
        if self.json { print(&super::json(&summary.record)?) } else { print(&super::visible(&summary.lines.join("\n"))) }
    }
}
