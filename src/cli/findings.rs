//! Problems of a pipeline file, told as compilers do: file, line, column, the line itself with a mark, what was found, what would be
//! right.

use crate::{
    error::Error,
    run::spec::{Finding, Place, Spec},
};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde_json::{Value, json};
use std::{fmt, io::IsTerminal, path::PathBuf};

/// Most bytes of a line that is quoted.
const WIDEST: usize = 2000;

/// Whether and how to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    /// Colours only on a terminal, and never where `NO_COLOR` is set to something.
    pub(super) fn of_stderr() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !forbidden && std::io::stderr().is_terminal() }
    }
    pub(super) fn colour(self) -> bool {
        self.colour
    }
    pub(super) fn bad(self, text: &str) -> String {
        if self.colour { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
    }
    pub(super) fn odd(self, text: &str) -> String {
        if self.colour { format!("\x1b[1;33m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[derive(Debug)]
struct Told {
    message: String,
    help: Option<String>,
    label: Option<LabeledSpan>,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Told {}

impl Diagnostic for Told {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.label.clone().map(|label| Box::new(std::iter::once(label)) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// All findings, one after another, and how many there are.
pub(super) fn render(name: &str, text: &str, findings: &[Finding], paint: Paint) -> String {
    let theme = if paint.colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(120).with_context_lines(1).with_links(false);
    // What a terminal would obey is not sent to it.
    let text: String = text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t' | '\r') { '\u{fffd}' } else { c }).collect();
    let mut out = String::new();
    for finding in findings {
        let told = told(name, &text, finding);
        if handler.render_report(&mut out, &told).is_err() {
            out.push_str(&told.message);
        }
        out.push('\n');
    }
    let count = if findings.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", findings.len()) };
    out.push_str(&format!("{} {count} in {name}", paint.bad("error:")));
    out
}

fn told(name: &str, text: &str, finding: &Finding) -> Told {
    let visible = |text: &str| text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect::<String>();
    let (message, hint) = match finding.problem.message.split_once('\n') {
        Some((message, hint)) => (visible(message), Some(visible(hint))),
        None => (visible(&finding.problem.message), None),
    };
    let path = visible(&finding.problem.path);
    match &finding.place {
        Place::File { line, column, length } => {
            let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let rest = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
            let bytes = |characters: usize| rest.chars().take(characters).map(char::len_utf8).sum::<usize>();
            let (from, to) = (bytes(column - 1), bytes(column - 1 + length));
            if rest.len() > WIDEST {
                // A line that no screen holds is not shown.
                let message = format!("{message} (line {line}, column {column})");
                return Told { message, help: hint, label: None, source: None };
            }
            let label = LabeledSpan::new((!path.is_empty()).then_some(path), start + from, (to - from).max(1));
            Told { message, help: hint, label: Some(label), source: Some(NamedSource::new(name, text.to_owned())) }
        }
        Place::Argument(written) => Told {
            message: format!("{path}: {message}"),
            help: Some(format!("it was given as `{}`", visible(written))),
            label: None,
            source: None,
        },
    }
}

/// The findings as data: `[{ file, line, column, path, message }]`; `argument` instead of a place for what stands on the command line.
pub(super) fn data(name: &str, findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|finding| {
            let (path, message) = (&finding.problem.path, &finding.problem.message);
            match &finding.place {
                Place::File { line, column, .. } => {
                    json!({ "file": name, "line": line, "column": column, "path": path, "message": message })
                }
                Place::Argument(written) => {
                    json!({ "file": name, "line": null, "column": null, "path": path, "message": message, "argument": written })
                }
            }
        })
        .collect()
}

/// A pipeline file, or a shipped pipeline, as it was named on the command line.
pub(super) enum Opened {
    /// Read, with its overrides.
    Spec(Box<Spec>),
    /// Not YAML: its name, its text, what is wrong.
    Broken(String, String, Box<Finding>),
}

/// Opens what the first argument of `run` and `check` names, and applies `--set` and `--seed`.
pub(super) fn open(named: &str, set: &[String], seed: Option<u64>) -> Result<Opened, Error> {
    let (name, base, text) = crate::run::shipped::find(named)?;
    of_text(name, base, text, set, seed)
}

/// The same for a pipeline that is at hand as text.
pub(super) fn of_text(name: String, base: PathBuf, text: String, set: &[String], seed: Option<u64>) -> Result<Opened, Error> {
    match Spec::parse(name.clone(), base, text.clone()) {
        Err(finding) => Ok(Opened::Broken(name, text, finding)),
        Ok(mut spec) => {
            set.iter().try_for_each(|written| spec.set(written))?;
            seed.map_or(Ok(()), |seed| spec.set_seed(seed))?;
            Ok(Opened::Spec(Box::new(spec)))
        }
    }
}
