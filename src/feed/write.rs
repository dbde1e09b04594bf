//! Files that are complete or absent.

use crate::error::{Error, Result};
use std::{
    fs,
    io::Write,
    path::{Component, Path},
};

/// Refuses a path that is empty or leads out of the output folder.
pub(super) fn check_inside(path: &str) -> Result<(), String> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || path.contains('\0') || !plain {
        return Err(format!("expected a path inside the output folder, found `{path}`"));
    }
    Ok(())
}

/// Writes a file under a temporary name and renames it.
pub(super) fn whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| Error::io(folder, error))?;
    file.write_all(bytes).map_err(|error| Error::io(path, error))?;
    file.persist(path).map_err(|error| Error::io(path, error.error))?;
    Ok(())
}
