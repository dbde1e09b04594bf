//! The pipelines that the binary carries, so that it works in an empty folder.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Name and text of each shipped pipeline.
pub const PIPELINES: [(&str, &str); 3] = [
    ("digits", include_str!("../../pipelines/digits.yaml")),
    ("generate_only", include_str!("../../pipelines/generate_only.yaml")),
    ("scenes", include_str!("../../pipelines/scenes.yaml")),
];

/// Finds a pipeline by its path, or a shipped one by its name: the name for messages, the folder that relative paths start at, the text.
/// A file goes before a shipped pipeline; the paths of a shipped one start at the working folder.
pub fn find(named: &str) -> Result<(String, PathBuf, String)> {
    let path = Path::new(named);
    let shipped = PIPELINES.iter().find(|(name, _)| *name == named);
    if let (Some((name, text)), false) = (shipped, path.is_file()) {
        return Ok((format!("{name} (shipped)"), PathBuf::from("."), (*text).to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        let bare = path.extension().is_none() && path.components().count() == 1;
        let names = || PIPELINES.map(|(name, _)| name);
        match error.kind() {
            std::io::ErrorKind::NotFound if bare => {
                Error::usage(format!("no such file, and {}", crate::operator::unknown("shipped pipeline", named, names())))
            }
            std::io::ErrorKind::NotFound => Error::usage(format!("no such pipeline file: {named}")),
            _ => Error::usage(format!("cannot read the pipeline file {named}: {error}")),
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::usage(format!("{named}:{line}: expected text in UTF-8, found other bytes"))
    })?;
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((named.to_owned(), base.to_owned(), text))
}
