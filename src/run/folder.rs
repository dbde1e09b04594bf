//! The output folder: files are complete or absent, and a second run finds out what is there.

use crate::{
    error::{Error, ErrorKind, Result},
    feed::UNFINISHED,
    record::RunRecord,
    sample::Digest,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder of what a resumed run needs; no part of the result.
const WORK: &str = ".hardmine";

/// What a run knows of the folder it writes to.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Held by the one process that writes here.
    lock: Option<fs::File>,
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

/// What is taken over with a digest, so that an edit is noticed.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    digest: Digest,
    content: Value,
}

impl Sealed {
    fn digest_of(name: &str, content: &Value) -> Digest {
        Digest::of(format!("{name} {content}").as_bytes())
    }
}

impl Folder {
    /// The folder of a run that is there already.
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned(), lock: None }
    }

    /// Opens or makes the folder for a plan, for this process alone. A folder with another plan, with files that no run wrote, or
    /// one that another process writes to is refused.
    pub fn open(root: &Path, plan: Digest, base: &Path) -> Result<(Self, Found)> {
        let mut folder = Self { root: root.to_owned(), lock: None };
        fs::create_dir_all(root).map_err(|error| folder.unwritable(error))?;
        if let Some(record) = folder.done(plan)? {
            return Ok((folder, Found::Done(record)));
        }
        folder.lock()?;
        // Another process may have ended between the first look and the lock.
        if let Some(record) = folder.done(plan)? {
            return Ok((folder, Found::Done(record)));
        }
        let name = Self::work("journal.json");
        if folder.path(&name).exists() {
            sweep(root)?;
            return Ok((folder, Found::Begun));
        }
        // Whole, so that `regenerate` finds the data from any working folder.
        let base = std::path::absolute(base).map_err(|error| Error::io(base, error))?;
        folder.write(&name, &json(&Journal { plan, base })?)?;
        Ok((folder, Found::Fresh))
    }

    /// The record of a finished run of this plan, `None` where there is none yet.
    fn done(&self, plan: Digest) -> Result<Option<Box<RunRecord>>> {
        let journal: Option<Journal> = self.read_optional(&Self::work("journal.json"))?;
        let Some(journal) = journal else {
            let entries = fs::read_dir(&self.root).map_err(|error| self.unwritable(error))?;
            // A run that was killed before its first file leaves an empty work folder.
            let foreign = entries.filter_map(|entry| Some(entry.ok()?.file_name())).find(|name| name != WORK);
            return foreign.map_or(Ok(None), |name| {
                Err(Error::usage(format!(
                    "the folder {} is not empty (it holds `{}`) and no run wrote it; name another folder with --out",
                    self.root.display(),
                    name.to_string_lossy()
                )))
            });
        };
        if journal.plan != plan {
            return Err(Error::usage(format!(
                "the folder {} holds a run of another plan ({}, this one is {}); name another folder with --out, or remove it",
                self.root.display(),
                journal.plan.short(),
                plan.short()
            )));
        }
        let record = self.read_optional::<RunRecord>("run.json")?;
        Ok(record.filter(|record| record.output.is_some()).map(Box::new))
    }

    /// Keeps other processes out until this value, or the process, ends.
    fn lock(&mut self) -> Result<()> {
        let path = self.path(&Self::work("lock"));
        fs::create_dir_all(self.path(WORK)).map_err(|error| self.unwritable(error))?;
        let file = fs::File::create(path).map_err(|error| self.unwritable(error))?;
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
            let message = "another run writes to it at this moment; wait for its end, or name another folder with --out";
            return Err(Error::usage(message).at("folder", self.root.display()));
        }
        // A file system without locks refuses in another way; the run goes on as it would alone.
        self.lock = Some(file);
        Ok(())
    }

    fn unwritable(&self, error: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("the output folder cannot be written: {error}")).at("folder", self.root.display()).because(error)
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

    /// Writes what a resumed run takes over, with a digest of its name and content.
    pub fn seal(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let content = serde_json::to_value(content).map_err(|error| Error::internal(format!("a record cannot be written: {error}")))?;
        self.write(name, &json(&Sealed { digest: Sealed::digest_of(name, &content), content })?)
    }

    /// Reads what [`Folder::seal`] wrote, `None` where it is absent; an error where it is not what was written under this name.
    pub fn sealed<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(found) = self.read_optional::<Value>(name)? else { return Ok(None) };
        let found: Sealed = serde_json::from_value(found).map_err(|_| {
            let told = "another build of hardmine wrote it; remove the folder, or name another with --out";
            Error::data(told).at("file", self.path(name).display())
        })?;
        if found.digest != Sealed::digest_of(name, &found.content) {
            let told = "it was changed since a run wrote it, and is not gone on from; remove the folder, or name another with --out";
            return Err(Error::data(told).at("file", self.path(name).display()));
        }
        let content = serde_json::from_value(found.content);
        content.map(Some).map_err(|error| Error::data(format!("not what a run writes: {error}")).at("file", self.path(name).display()))
    }

    /// [`Folder::seal`] with what the folder holds at the moment.
    pub fn seal_with_files(&self, name: &str, content: &impl Serialize) -> Result<()> {
        self.seal(name, &(content, self.digest()?))
    }

    /// Reads what [`Folder::seal_with_files`] wrote; an error where the folder's files are not those of then.
    pub fn sealed_with_files<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some((content, digest)) = self.sealed::<(T, Digest)>(name)? else { return Ok(None) };
        if self.digest()? != digest {
            let told = "files were changed, added or removed since the main arm was finished; put them back as they were, remove the folder, or name another with --out";
            return Err(Error::data(told).at("folder", self.root.display()));
        }
        Ok(Some(content))
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

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { list(&entry.path(), &format!("{name}/"), names)? } else { names.push(name) }
    }
    Ok(())
}

/// Removes what a killed run was writing; links are not followed.
fn sweep(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(|error| Error::io(&path, error))?;
        let removed = match kind.is_dir() {
            true if name.starts_with(UNFINISHED) => fs::remove_dir_all(&path),
            true => {
                sweep(&path)?;
                continue;
            }
            false if name.ends_with(".partial") => fs::remove_file(&path),
            false => continue,
        };
        removed.map_err(|error| Error::io(&path, error))?;
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
        fs::create_dir_all(root.join(WORK)).unwrap();
        let (held, found) = Folder::open(&root, one, Path::new(".")).unwrap();
        assert!(matches!(found, Found::Fresh));
        let refused = Folder::open(&root, one, Path::new(".")).unwrap_err();
        assert!(refused.to_string().contains("another run writes to it at this moment"), "{refused}");
        drop(held);
        assert!(matches!(Folder::open(&root, one, Path::new(".")).unwrap().1, Found::Begun));
        let refused = Folder::open(&root, two, Path::new(".")).unwrap_err();
        assert!(refused.to_string().contains("another plan"), "{refused}");
        fs::write(dir.path().join("mine.txt"), "x").unwrap();
        let refused = Folder::open(dir.path(), one, Path::new(".")).unwrap_err();
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }

    #[test]
    fn what_a_killed_run_was_writing_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let one = Digest::of(b"one");
        let (folder, _) = Folder::open(dir.path(), one, Path::new(".")).unwrap();
        folder.write("a/b.txt", b"x").unwrap();
        let whole = folder.digest().unwrap();
        folder.write(&format!("a/{UNFINISHED}Xy/data/images/1.png"), b"x").unwrap();
        fs::write(folder.path("model.safetensors.partial"), "x").unwrap();
        assert_ne!(folder.digest().unwrap(), whole);
        drop(folder);
        let (folder, _) = Folder::open(dir.path(), one, Path::new(".")).unwrap();
        assert_eq!(folder.digest().unwrap(), whole);
    }

    #[test]
    fn what_is_taken_over_is_what_was_written_under_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::existing(dir.path());
        let content = vec![(1u64, 0.1f64 + 0.2, "a".to_owned()), (2, 1e-300, "b".to_owned())];
        folder.seal("seed-1.json", &content).unwrap();
        assert_eq!(folder.sealed("seed-1.json").unwrap(), Some(content.clone()));
        assert_eq!(folder.sealed::<Vec<(u64, f64, String)>>("seed-2.json").unwrap(), None);
        // The same content under another name, or another number.
        fs::copy(folder.path("seed-1.json"), folder.path("seed-2.json")).unwrap();
        let edited = folder.text("seed-1.json").unwrap().replace("0.30000000000000004", "0.3");
        fs::write(folder.path("seed-1.json"), edited).unwrap();
        for name in ["seed-1.json", "seed-2.json"] {
            let told = folder.sealed::<Vec<(u64, f64, String)>>(name).unwrap_err().to_string();
            assert!(told.contains(name) && told.contains("it was changed since a run wrote it"), "{told}");
        }
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
