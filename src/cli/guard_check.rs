use super::{Outcome, print, progress, run::plan, say};
use crate::{
    record::NoiseKind,
    run::{self, GuardOptions},
    sample::{Modality, ModalitySet},
};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// Any other class
    Uniform,
    /// Classes confused two by two (`--flip`), or each with the next
    PairFlip,
}

fn flip(text: &str) -> Result<[String; 2], String> {
    match text.split_once(':') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok([a.to_owned(), b.to_owned()]),
        _ => Err(format!("expected two classes such as `4:9`, found `{text}`")),
    }
}

fn modality(text: &str) -> Result<Modality, String> {
    let known = Modality::ALL.into_iter().find(|modality| modality.name() == text);
    known.ok_or_else(|| format!("expected image, audio or text, found `{text}`"))
}

/// Plant known faults in the training data and tell how many of them the guard finds, before it is trusted
#[derive(Debug, Args)]
pub(super) struct GuardCheck {
    /// Pipeline file, or the name of a shipped pipeline (`digits`)
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Share of the labels made wrong, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    label_noise: f64,
    /// Share of the samples that exchange a modality with one of another class, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pair_noise: f64,
    /// Share of the samples whose media are made meaningless (their pixels, frames and letters in a random order), 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    outlier_noise: f64,
    /// How labels are made wrong
    #[arg(long, value_enum, default_value_t = Kind::Uniform)]
    kind: Kind,
    /// Classes whose labels a pair flip exchanges: `4:9`; may be given again
    #[arg(long, value_name = "A:B", value_parser = flip)]
    flip: Vec<[String; 2]>,
    /// Modalities that may be exchanged [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = modality)]
    exchange: Vec<Modality>,
    /// Runs, each with faults and models of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: usize,
    /// JSON lines with the `id` of samples known to be wrong: nothing is planted in them, and they are not judged
    #[arg(long, value_name = "FILE")]
    known_wrong: Option<PathBuf>,
    /// The record that is written, for `noise_guard: { trust: ... }`
    #[arg(long, value_name = "FILE", default_value = "guard_check.json")]
    out: PathBuf,
    /// Seed of every random draw, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change a value of the file: `data.limit=200`; may be given again
    #[arg(long, value_name = "dotted.path=value")]
    set: Vec<String>,
    /// Threads; changes no byte of the output [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

impl GuardCheck {
    pub(super) fn execute(self) -> Outcome {
        let plan = plan(&self.pipeline, &self.set, self.seed)?;
        let options = GuardOptions {
            label_noise: self.label_noise,
            pair_noise: self.pair_noise,
            outlier_noise: self.outlier_noise,
            kind: match self.kind {
                Kind::Uniform => NoiseKind::Uniform,
                Kind::PairFlip => NoiseKind::PairFlip,
            },
            flips: self.flip,
            exchanged: if self.exchange.is_empty() { ModalitySet::ALL } else { self.exchange.into_iter().collect() },
            seeds: self.seeds,
            known_wrong: self.known_wrong,
            out: self.out,
            threads: self.threads.map(usize::from),
        };
        let summary = run::guard_check(&plan, &options, progress::of_stderr().as_ref())?;
        if self.json {
            summary.lines.iter().for_each(|line| say(line));
            print(&super::json(&summary.record)?)
        } else {
            print(&super::visible(&summary.lines.join("\n")))
        }
    }
}
