use super::{Outcome, run};
use crate::{
    error::Error,
    run::outside::{mine, write},
};
use clap::Args;
use std::path::PathBuf;

/// Choose hard samples from a scored folder (of `score` or `run`), and write sampler weights for a trainer
#[derive(Debug, Args)]
pub(super) struct Mine {
    /// Folder with scores.jsonl
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Output folder: selected.jsonl and sampler_weights in each format
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A miner as it stands in a pipeline file: `top_fraction: { by: loss, fraction: 0.1 }`; `hardmine list miners` names them.
    /// Without one: the band of the usual ranks, by the out-of-fold losses, or by the losses where there are none
    #[arg(long, value_name = "MINER")]
    miner: Option<String>,
    /// How much more often a chosen sample is drawn than another
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    boost: f64,
    /// Largest weight, the mean being 1
    #[arg(long, value_name = "X", default_value_t = 5.0)]
    cap: f64,
    /// Formats of the weights, in the order of the data
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_values = ["jsonl", "csv", "npy"], value_parser = ["jsonl", "csv", "npy"])]
    format: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Mine {
    pub(super) fn execute(self) -> Outcome {
        for (name, value) in [("--boost", self.boost), ("--cap", self.cap)] {
            if !(value.is_finite() && value >= 1.0) {
                return Err(Error::usage(format!("{name}: expected a number of at least 1, found {value}")).into());
            }
        }
        let mut mined = mine(&self.folder, self.miner.as_deref(), self.boost, self.cap)?;
        let formats: Vec<&str> = self.format.iter().map(String::as_str).collect();
        let files = write(&mined, &self.out, &formats)?;
        mined.summary.lines.push(format!("written to {}: {}", self.out.display(), files.join(", ")));
        run::tell(&mined.summary, self.json)
    }
}
