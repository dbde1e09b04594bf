//! The output folder: files are complete or absent, and a second run finds out what is there.

use crate::{
    error::{Error, Result},
    record::RunRecord,
    sample::Digest,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder of what a resumed run needs; no part of the result.
const WORK: &str = ".hardmine";

/// How the name of a file begins or ends that was being written when a run was ended from outside.
const UNFINISHED: (&str, &str) = (".writing-", ".partial");

/// What a run knows of the folder it writes to.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

/// What stands in a folder when a run begins.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Fresh,
    /// The same plan, begun and not finished.
    Begun,
    /// The same plan, finished.
    Done(Box<RunRecord>),
}

/// What the work folder says of the plan.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    plan: Digest,
    /// Folder that relative paths of the pipeline start at; for `regenerate`.
    base: PathBuf,
}

impl Folder {
    /// The folder of a run that is there already.
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Opens or makes the folder for a plan. A folder with another plan, or with files that no run wrote, is refused.
    pub fn open(root: &Path, plan: Digest, base: &Path) -> Result<(Self, Found)> {
        let folder = Self { root: root.to_owned() };
        let writable = |error| Error::io(root, error).at("folder", "the output folder cannot be written");
        fs::create_dir_all(root).map_err(writable)?;
        let journal: Option<Journal> = folder.read_optional(&format!("{WORK}/journal.json"))?;
        let found = match journal {
            Some(journal) if journal.plan != plan => {
                return Err(Error::usage(format!(
                    "the folder {} holds a run of another plan ({}, this one is {}); name another folder with --out, or remove it",
                    root.display(),
                    journal.plan.short(),
                    plan.short()
                )));
            }
            Some(_) => match folder.read_optional::<RunRecord>("run.json")? {
                Some(record) if record.output.is_some() => Found::Done(Box::new(record)),
                _ => {
                    sweep(root)?;
                    Found::Begun
                }
            },
            None => {
                let mut entries = fs::read_dir(root).map_err(writable)?;
                // A work folder without a journal is that of a run that was ended before it began.
                if let Some(entry) = entries.find_map(|entry| entry.ok().filter(|entry| entry.file_name() != WORK)) {
                    let name = entry.file_name();
                    return Err(Error::usage(format!(
                        "the folder {} is not empty (it holds `{}`) and no run wrote it; name another folder with --out",
                        root.display(),
                        name.to_string_lossy()
                    )));
                }
                // Whole, so that `regenerate` finds the data from any working folder.
                let base = std::path::absolute(base).map_err(|error| Error::io(base, error))?;
                folder.write(&format!("{WORK}/journal.json"), &json(&Journal { plan, base })?).map_err(|error| match error.kind() {
                    crate::error::ErrorKind::Io => error.at("folder", "the output folder cannot be written"),
                    _ => error,
                })?;
                Found::Fresh
            }
        };
        Ok((folder, found))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Where a file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
    /// The name of a file that a resumed run needs.
    pub fn work(name: &str) -> String {
        format!("{WORK}/{name}")
    }
    /// Folder that relative paths of the pipeline start at.
    pub fn base(&self) -> Result<PathBuf> {
        let name = Self::work("journal.json");
        let journal: Option<Journal> = self.read_optional(&name)?;
        journal
            .map(|journal| journal.base)
            .ok_or_else(|| Error::usage(format!("{} is not the folder of a run: it has no {name}", self.root.display())))
    }

    /// Writes a file whole: under a temporary name first, then renamed.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_with(name, |path| fs::write(path, bytes).map_err(|error| Error::io(path, error)))
    }

    /// Writes through a function that wants a path, then renames.
    pub fn write_with(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        write(&partial)?;
        fs::rename(&partial, &path).map_err(|error| Error::io(&path, error))
    }

    /// Reads a JSON file, `None` where it is absent.
    pub fn read_optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::data(format!("not what a run writes: {error}")).at("file", path.display()))
    }

    /// Reads a text file.
    pub fn text(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| Error::io(&path, error))
    }

    /// Digest of all files but `run.json`, the report and the work folder: names and contents, in the order of the names.
    pub fn digest(&self) -> Result<Digest> {
        let mut names = Vec::new();
        list(&self.root, "", &mut names)?;
        names.retain(|name| !matches!(name.as_str(), "run.json" | "report.json" | "report.html") && !name.starts_with(WORK));
        names.sort();
        let mut hasher = blake3::Hasher::new();
        for name in names {
            let path = self.path(&name);
            let bytes = fs::read(&path).map_err(|error| Error::io(&path, error))?;
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        Ok(Digest::finish(&hasher))
    }
}

/// Removes what was being written when an earlier run was ended: it is no part of the output.
fn sweep(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let unfinished = if is_folder { name.starts_with(UNFINISHED.0) } else { name.ends_with(UNFINISHED.1) };
        match (is_folder, unfinished) {
            (true, true) => fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?,
            (true, false) => sweep(&path)?,
            (false, true) => fs::remove_file(&path).map_err(|error| Error::io(&path, error))?,
            (false, false) => {}
        }
    }
    Ok(())
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { list(&entry.path(), &format!("{name}/"), names)? } else { names.push(name) }
    }
    Ok(())
}

/// Pretty JSON with a line feed at its end.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Error::internal(format!("a record cannot be written: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_plan() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let root = dir.path().join("out");
        assert!(matches!(Folder::open(&root, one, Path::new(".")).unwrap().1, Found::Fresh));
        assert!(matches!(Folder::open(&root, one, Path::new(".")).unwrap().1, Found::Begun));
        let refused = Folder::open(&root, two, Path::new(".")).unwrap_err();
        assert!(refused.to_string().contains("another plan"), "{refused}");
        fs::write(dir.path().join("mine.txt"), "x").unwrap();
        let refused = Folder::open(dir.path(), one, Path::new(".")).unwrap_err();
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }

    #[test]
    fn what_a_killed_run_leaves_half_written_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (root, plan) = (dir.path().join("out"), Digest::of(b"one"));
        fs::create_dir_all(root.join(WORK)).unwrap();
        assert!(matches!(Folder::open(&root, plan, Path::new(".")).unwrap().1, Found::Fresh));
        let (folder, _) = Folder::open(&root, plan, Path::new(".")).unwrap();
        folder.write("models/a.safetensors", b"x").unwrap();
        let whole = folder.digest().unwrap();
        fs::create_dir_all(root.join(".writing-abc/data")).unwrap();
        for name in [".writing-abc/data/manifest.jsonl", "report.html.partial", "models/b.safetensors.partial"] {
            fs::write(root.join(name), "y").unwrap();
        }
        let (folder, found) = Folder::open(&root, plan, Path::new(".")).unwrap();
        assert!(matches!(found, Found::Begun));
        assert_eq!(folder.digest().unwrap(), whole);
    }

    #[test]
    fn the_digest_is_of_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::existing(dir.path());
        folder.write("a/b.txt", b"x").unwrap();
        let one = folder.digest().unwrap();
        folder.write("run.json", b"{}").unwrap();
        assert_eq!(folder.digest().unwrap(), one);
        folder.write("a/b.txt", b"y").unwrap();
        assert_ne!(folder.digest().unwrap(), one);
    }
}
