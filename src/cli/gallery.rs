use super::{Outcome, print};
use crate::{registry::Registry, run};
use clap::Args;
use std::path::PathBuf;

/// Write a page that shows every transform at five severities, with sound
#[derive(Debug, Args)]
pub(super) struct Gallery {
    /// Folder for gallery.html
    #[arg(long, value_name = "DIR", default_value = "gallery")]
    out: PathBuf,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Gallery {
    pub(super) fn execute(self) -> Outcome {
        print(&run::gallery(&Registry::default(), &self.out, self.seed)?.display().to_string())
    }
}
