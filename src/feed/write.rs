//! Files that are complete or absent.

use crate::error::{Error, Result};
use std::{
    fs,
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
pub fn whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes).map_err(|error| Error::io(Path::new(&partial), error))?;
    fs::rename(&partial, path).map_err(|error| Error::io(path, error))?;
    Ok(())
}
