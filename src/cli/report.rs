use super::{Outcome, print};
use crate::run;
use clap::Args;
use std::path::PathBuf;

/// Write the report page of a finished run again
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Output folder of the run
    dir: PathBuf,
}

impl Report {
    pub(super) fn execute(self) -> Outcome {
        print(&run::report(&self.dir)?.display().to_string())
    }
}
