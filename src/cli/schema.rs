use super::{Outcome, print};
use crate::{pipeline, registry::Registry};
use clap::Args;

/// Print the JSON Schema of a pipeline file, for editors
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self) -> Outcome {
        print(&super::json(&pipeline::schema(&Registry::default()))?)
    }
}
