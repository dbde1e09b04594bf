//! The command line: text in, text out. One file a subcommand; data goes to stdout, words to stderr.

mod check;
mod completions;
mod explain;
mod findings;
mod gallery;
mod guard_check;
mod init;
pub mod list;
mod mine;
mod model;
mod progress;
mod regenerate;
mod report;
mod run;
mod schema;
mod score;

use crate::error::{Error, ErrorKind};
use clap::{Parser, Subcommand};
use findings::Paint;
use std::{io::Write, process::ExitCode};

/// Mines the hard samples of image, audio and text training sets, says why they are hard, and makes verified, replayable
/// neighbours of them.
#[derive(Debug, Parser)]
#[command(
    name = "hardmine",
    version,
    max_term_width = 110,
    after_help = "Exit codes: 0 done; 1 the run failed; 2 the pipeline file or the arguments are wrong; 3 the data broke the stated policy."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Score(score::Score),
    Mine(mine::Mine),
    List(list::List),
    Model(model::Model),
    Schema(schema::Schema),
    Explain(explain::Explain),
    GuardCheck(guard_check::GuardCheck),
    Regenerate(regenerate::Regenerate),
    Report(report::Report),
    Gallery(gallery::Gallery),
    Init(init::Init),
    Completions(completions::Completions),
}

/// Why a subcommand ended without success.
enum Failure {
    /// To be told, with the exit code of its kind.
    Error(Error),
    /// Already told.
    Told(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Outcome = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for and go to stdout; the rest is wrong usage. A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let outcome = match arguments.command {
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Score(score) => score.execute(),
        Command::Mine(mine) => mine.execute(),
        Command::List(list) => list.execute(),
        Command::Model(model) => model.execute(),
        Command::Schema(schema) => schema.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::GuardCheck(check) => check.execute(),
        Command::Regenerate(regenerate) => regenerate.execute(),
        Command::Report(report) => report.execute(),
        Command::Gallery(gallery) => gallery.execute(),
        Command::Init(init) => init.execute(),
        Command::Completions(completions) => completions.execute(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told(code)) => ExitCode::from(code),
        Err(Failure::Error(error)) => {
            say(&format!("{} {}", Paint::of_stderr().bad("error:"), visible(&error.to_string())));
            ExitCode::from(code(error.kind()))
        }
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage | ErrorKind::Pipeline => 2,
        ErrorKind::Policy => 3,
        ErrorKind::Data | ErrorKind::Model | ErrorKind::Io | ErrorKind::Internal => 1,
    }
}

/// Data: to stdout. A reader that went away (`| head`) ends the output and is no failure.
fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", error).into()),
        _ => Ok(()),
    }
}

/// Text with what the data brought in and a terminal would obey made harmless.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// Words: to stderr, where a failure cannot be told any more.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| Error::internal(error.to_string()))
}
