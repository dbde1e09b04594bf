//! The data sets that the binary carries: `builtin:digits/train.jsonl` in a pipeline file.

use crate::{
    error::{Error, Result},
    operator::unknown,
};
use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

/// What paths into the embedded data begin with.
pub const PREFIX: &str = "builtin:";

/// All embedded files in one tar; `build.rs` makes it of `assets/`.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.tar"));

/// Where each file lies, by name (`digits/train.jsonl`).
fn index() -> &'static BTreeMap<String, &'static [u8]> {
    static INDEX: OnceLock<BTreeMap<String, &'static [u8]>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut archive = tar::Archive::new(PACKED);
        let entries = archive.entries().into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let start = usize::try_from(entry.raw_file_position()).ok()?;
                let bytes = PACKED.get(start..start.checked_add(usize::try_from(entry.size()).ok()?)?)?;
                Some((String::from_utf8(entry.path_bytes().into_owned()).ok()?, bytes))
            })
            .collect()
    })
}

/// Names of the embedded data sets.
pub fn list() -> Vec<&'static str> {
    let mut sets: Vec<&str> = index().keys().filter_map(|name| name.split('/').next()).collect();
    sets.dedup();
    sets
}

/// Names of the files of one data set, in order: `digits/LICENSE.md`, ...
pub fn files(set: &str) -> impl Iterator<Item = &'static str> {
    let start = format!("{set}/");
    index().keys().map(String::as_str).filter(move |name| name.starts_with(&start))
}

/// The bytes of one embedded file: `builtin::bytes("digits/truth.jsonl")`, with or without `builtin:` before it.
pub fn bytes(name: &str) -> Result<&'static [u8]> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    index().get(name).copied().ok_or_else(|| {
        let set = name.split('/').next().unwrap_or(name);
        let what = if list().contains(&set) {
            format!("the built-in data set `{set}` has no file of this name")
        } else {
            unknown("built-in data set", set, list())
        };
        Error::new(crate::error::ErrorKind::Io, what).at("file", format!("{PREFIX}{name}"))
    })
}

/// Writes a data set into the folder `to`, which is made if needed, and gives the number of files. A file that is there with
/// other content is an error, and nothing is written then.
pub fn extract(set: &str, to: &Path) -> Result<usize> {
    let names: Vec<&str> = files(set).collect();
    if names.is_empty() {
        return Err(Error::usage(unknown("built-in data set", set, list())));
    }
    let mut fresh = Vec::new();
    for name in &names {
        let target = to.join(&name[set.len() + 1..]);
        let content = bytes(name)?;
        match fs::read(&target) {
            Ok(found) if found == content => {}
            Ok(_) => {
                return Err(Error::usage("the file is there with other content; choose an empty folder").at("file", target.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh.push((target, content)),
            Err(error) => return Err(Error::io(&target, error)),
        }
    }
    for (target, content) in fresh {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        fs::write(&target, content).map_err(|error| Error::io(&target, error))?;
    }
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_there() {
        assert!(list().contains(&"digits"));
        for file in files("digits") {
            assert_eq!(bytes(file).unwrap(), fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(file)).unwrap(), "{file}");
        }
        assert_eq!(String::from_utf8_lossy(bytes("digits/train.jsonl").unwrap()).lines().count(), 1200);
        assert_eq!(bytes("builtin:digits/truth.jsonl").unwrap(), bytes("digits/truth.jsonl").unwrap());
    }

    #[test]
    fn what_is_not_there_is_said() {
        let told = bytes("digits/tain.jsonl").unwrap_err().to_string();
        assert_eq!(told, "file builtin:digits/tain.jsonl: the built-in data set `digits` has no file of this name");
        let told = bytes("digit/train.jsonl").unwrap_err().to_string();
        assert!(
            told.starts_with("file builtin:digit/train.jsonl: unknown built-in data set `digit` (did you mean `digits`?); known: digits"),
            "{told}"
        );
    }

    #[test]
    fn a_set_is_written_out_once() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("data");
        let written = extract("digits", &to).unwrap();
        assert_eq!(written, files("digits").count());
        assert_eq!(fs::read(to.join("val.jsonl")).unwrap(), bytes("digits/val.jsonl").unwrap());
        assert_eq!(extract("digits", &to).unwrap(), written);
        fs::write(to.join("val.jsonl"), "mine").unwrap();
        assert!(extract("digits", &to).unwrap_err().to_string().contains("the file is there with other content"));
        assert_eq!(fs::read(to.join("val.jsonl")).unwrap(), b"mine");
    }
}
