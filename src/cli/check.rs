use super::{
    Failure, Outcome,
    findings::{self, Opened, Paint},
    print, say,
};
use crate::{registry::Registry, run};
use clap::Args;

/// Tell every problem of a pipeline file, without reading any data
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Pipeline file, or the name of a shipped pipeline (`digits`)
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Seed of every random draw, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change a value of the file before the check; may be given again
    #[arg(long, value_name = "dotted.path=value")]
    set: Vec<String>,
    /// Print the problems as JSON: `[{ file, line, column, path, message }]`
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn execute(self) -> Outcome {
        let (name, text, found, warnings, digest) = match findings::open(&self.pipeline, &self.set, self.seed)? {
            Opened::Broken(name, text, finding) => (name, text, vec![*finding], Vec::new(), None),
            Opened::Spec(spec) => {
                let (found, warnings, digest) = match spec.plan(&Registry::default()) {
                    Ok(plan) => match run::unready(&plan) {
                        None => (Vec::new(), plan.warnings(), Some(plan.digest)),
                        Some(problem) => (vec![spec.locate(problem)], plan.warnings(), None),
                    },
                    Err(mut found) => {
                        found.extend(run::unready_as_written(spec.value()).map(|problem| spec.locate(problem)));
                        found.sort_by(|a, b| a.place.cmp(&b.place));
                        (found, Vec::new(), None)
                    }
                };
                (spec.name().to_owned(), spec.text().to_owned(), found, warnings, digest)
            }
        };
        if self.json {
            print(&super::json(&findings::data(&name, &found))?)?;
        } else if !found.is_empty() {
            say(&findings::render(&name, &text, &found, Paint::of_stderr()));
        }
        match digest {
            Some(digest) => {
                warnings.iter().for_each(|line| say(&format!("warning: {line}")));
                if !self.json {
                    say(&format!("{name}: no problem found (plan {})", digest.short()));
                }
                Ok(())
            }
            None => Err(Failure::Told(2)),
        }
    }
}
