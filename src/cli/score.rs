use super::{Outcome, findings, print, progress, run};
use crate::{
    pipeline::OnError,
    run::{
        Options, execute, export,
        outside::{Wanted, pipeline_of},
    },
};
use clap::Args;
use std::path::PathBuf;

/// Score predictions that a trainer of any framework wrote down: no model and no pipeline file is needed
///
/// Files of JSON lines or CSV hold `id`, `label` and `logits` (or `probabilities`), and may hold `epoch`, `member` (of an ensemble, or a dropout draw), logits from single
/// modalities (`image_logits`), embeddings (`audio_embedding`) and any other fields; NPY files are named by what they hold. `hardmine list readers` has the details.
#[derive(Debug, Args)]
pub(super) struct Score {
    /// Files of predictions: .jsonl, .csv, .tsv, .npy, ids.txt
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Output folder: scores.jsonl, sampler weights, a report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The predictions are by models that never trained on the sample (cross-validation): the guard can judge
    #[arg(long)]
    out_of_fold: bool,
    /// Predictions of the same samples by another model that never trained on them (out of fold, or trained on a hold-out alone): the judge, and the
    /// irreducible loss; may be given again
    #[arg(long, value_name = "FILE")]
    teacher: Vec<PathBuf>,
    /// Predictions of labelled validation samples, on which the temperature is fitted; may be given again
    #[arg(long, value_name = "FILE")]
    validation: Vec<PathBuf>,
    /// The embeddings of the modalities lie in one space (CLIP and its like): pairs are compared
    #[arg(long)]
    one_space: bool,
    /// Class names in the order of the logits, where labels are names
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    classes: Vec<String>,
    /// Manifest of the same samples, joined by id: labels, fields, and media whose quality is measured
    #[arg(long, value_name = "FILE")]
    manifest: Option<String>,
    /// A probe run with threshold samples (a class more than the data; its label is the last): the guard holds labels against it; may be given again
    #[arg(long, value_name = "FILE")]
    probe: Vec<PathBuf>,
    /// Field whose equal values keep samples together
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    /// One miner as it stands in a pipeline file, such as "hard_negatives: { query: image, keys: text }", in place of the band of the usual ranks; may be given again
    #[arg(long, value_name = "YAML")]
    miner: Vec<String>,
    /// What happens to a line that cannot be used; `fail` keeps the weights in step with the data
    #[arg(long, value_enum, default_value = "fail")]
    on_error: Policy,
    /// Formats of the scores and the weights; scores.jsonl is always written
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_values = ["jsonl", "csv", "npy"], value_parser = ["jsonl", "csv", "npy"])]
    format: Vec<String>,
    /// Change a value of the pipeline that this stands for: `stages.band.low=0.5`; may be given again
    #[arg(long, value_name = "dotted.path=value")]
    set: Vec<String>,
    /// Print the pipeline that this stands for, and do nothing
    #[arg(long)]
    print_pipeline: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Policy {
    /// The first one ends the command
    Fail,
    /// It is left out and counted
    Skip,
    /// It is left out, counted and listed
    Quarantine,
}

impl Score {
    pub(super) fn execute(self) -> Outcome {
        let mut formats = self.format;
        formats.sort_unstable();
        formats.dedup();
        let names = |files: &[PathBuf]| files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let wanted = Wanted {
            files: names(&self.files),
            teacher: names(&self.teacher),
            validation: names(&self.validation),
            one_space: self.one_space,
            classes: self.classes,
            out_of_fold: self.out_of_fold,
            manifest: self.manifest,
            probes: self.probe.iter().map(|file| file.to_string_lossy().into_owned()).collect(),
            group_by: self.group_by,
            formats: formats.clone(),
            miners: self.miner,
            on_error: match self.on_error {
                Policy::Fail => OnError::Fail,
                Policy::Skip => OnError::Skip,
                Policy::Quarantine => OnError::Quarantine,
            },
        };
        let text = pipeline_of(&wanted)?;
        if self.print_pipeline {
            return print(&text);
        }
        let opened = findings::of_text("score".into(), PathBuf::from("."), text, &self.set, None)?;
        let plan = run::planned(opened)?;
        let options = Options { out: self.out, threads: None };
        let mut summary = execute(plan, &options, progress::of_stderr().as_ref())?;
        let tables: Vec<&str> = formats.iter().map(String::as_str).filter(|format| *format != "jsonl").collect();
        let tables = export::scores(&options.out, &tables)?;
        if !tables.is_empty() {
            summary.lines.push(format!("as tables: {}", tables.join(", ")));
        }
        run::tell(&summary, self.json)
    }
}
