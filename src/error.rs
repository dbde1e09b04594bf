//! The one public error: a kind, where it happened, what was found and what would be right.

use std::fmt;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is; the command line's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The arguments of a call or of the command line are wrong (exit code 2).
    Usage,
    /// The pipeline file is wrong (exit code 2).
    Pipeline,
    /// One sample, or one file of it, cannot be read or used.
    Data,
    /// The data broke the stated policy: `fail`, or more quarantined samples than the ceiling allows (exit code 3).
    Policy,
    /// A model refused its input or gave an unusable answer.
    Model,
    /// A file or folder could not be read or written, or another program could not be asked.
    Io,
    /// A broken promise inside this crate: please report it.
    Internal,
}

/// A problem of a pipeline file or an operator's config, and the path of the value it is about, such as
/// `stages[1].generate.pgd.steps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the value; empty for the whole.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
    /// Points at the key of `path` and not at its value (an unknown name).
    pub at_key: bool,
}

impl Problem {
    /// A problem with the value at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), at_key: false }
    }

    /// A problem with the key at `path`: an unknown field or operator.
    pub fn key(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), at_key: true }
    }

    /// The same problem seen from `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        let dot = if self.path.is_empty() || parent.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// The message for a name that is not known: the nearest known one, and all of them.
pub fn unknown<'a>(what: &str, found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|name| (distance(found, name), *name)).min().filter(|(d, name)| *d <= 2.max(name.len() / 3));
    let hint = nearest.map(|(_, name)| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    if known.is_empty() {
        format!("unknown {what} `{found}`; none is expected here")
    } else {
        format!("unknown {what} `{found}`{hint}; known: {}", known.join(", "))
    }
}

/// Edit distance with neighbouring swaps (optimal string alignment).
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in table.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in table[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    table[a.len()][b.len()]
}

/// What went wrong, where, and why. Built by the constructors named after [`ErrorKind`] and completed by `at`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    frames: Vec<(&'static str, String)>,
    problems: Vec<Problem>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), frames: Vec::new(), problems: Vec::new(), source: None }))
    }
    /// Wrong arguments of a call.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }
    /// A wrong pipeline file, with every problem found.
    pub fn pipeline(message: impl Into<String>, problems: Vec<Problem>) -> Self {
        let mut error = Self::new(ErrorKind::Pipeline, message);
        error.0.problems = problems;
        error
    }
    /// An unusable sample or medium.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }
    /// A broken data policy.
    pub fn policy(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Policy, message)
    }
    /// A model that refuses, or an unusable answer of one.
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Model, message)
    }
    /// A file that cannot be read or written.
    pub fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, source.to_string()).at("file", path.as_ref().display().to_string()).because(source)
    }
    /// A broken promise inside this crate.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds where it happened, the innermost place first: `error.at("sample", id)`. The usual names: `file`, `line`,
    /// `field`, `sample`, `modality`, `stage`, `operator`, `model`.
    #[must_use]
    pub fn at(mut self, what: &'static str, value: impl fmt::Display) -> Self {
        self.0.frames.push((what, value.to_string()));
        self
    }
    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The message without its places.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// Every problem of a pipeline file, empty for other kinds.
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }
    /// The value of the innermost place with this name.
    pub fn place(&self, what: &str) -> Option<&str> {
        self.0.frames.iter().find(|(name, _)| *name == what).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, value) in self.0.frames.iter().rev() {
            write!(f, "{what} {value}: ")?;
        }
        f.write_str(&self.0.message)?;
        for problem in &self.0.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_the_outside_in() {
        let error = Error::data("width is 0").at("modality", "image").at("sample", "a-1");
        assert_eq!(error.to_string(), "sample a-1: modality image: width is 0");
        assert_eq!(error.place("sample"), Some("a-1"));
    }

    #[test]
    fn a_problem_moves_under_its_parent() {
        let problem = Problem::new("steps", "must be at least 1").under("pgd").under("stages[0].generate");
        assert_eq!(problem.path, "stages[0].generate.pgd.steps");
        assert_eq!(Problem::new("[2]", "x").under("of").path, "of[2]");
    }
}
