//! Where the files of a data set lie: in a folder, or in the binary.

use super::builtin;
use crate::{
    codec::limits::MAX_FILE_BYTES,
    error::{Error, ErrorKind, Result},
};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
    sync::RwLock,
};

/// The folder that relative media paths start at.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Of the file system.
    Folder(PathBuf),
    /// Of the embedded data, such as `digits`.
    Builtin(String),
}

/// A written path, resolved.
enum Target {
    File(PathBuf),
    Builtin(String),
}

impl Place {
    /// The folder of a manifest at `path`, which is written in a pipeline file of the folder `base`.
    pub(super) fn of_file(path: &str, base: &Path) -> Self {
        match path.strip_prefix(builtin::PREFIX) {
            Some(inside) => Self::Builtin(inside.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()),
            None => Self::Folder(base.join(path).parent().map(Path::to_path_buf).unwrap_or_default()),
        }
    }

    fn target(&self, written: &str) -> Target {
        match (written.strip_prefix(builtin::PREFIX), self) {
            (Some(inside), _) => Target::Builtin(normal(Path::new(inside))),
            (None, Self::Builtin(folder)) => Target::Builtin(normal(&Path::new(folder).join(written))),
            (None, Self::Folder(folder)) => Target::File(folder.join(written)),
        }
    }

    /// One name for a file, however its path is written.
    pub(super) fn name(&self, written: &str) -> String {
        match self.target(written) {
            Target::File(path) => normal(&path),
            Target::Builtin(path) => format!("{}{path}", builtin::PREFIX),
        }
    }

    /// Reads the file.
    pub(super) fn read(&self, written: &str) -> Result<Cow<'static, [u8]>> {
        match self.target(written) {
            Target::Builtin(path) => builtin::bytes(&path).map(Cow::Borrowed),
            Target::File(path) => {
                let length = file_length(&path)?;
                if length > MAX_FILE_BYTES {
                    return Err(
                        Error::data(format!("the file has {length} bytes; at most {MAX_FILE_BYTES} are read")).at("file", path.display())
                    );
                }
                fs::read(&path).map(Cow::Owned).map_err(|error| Error::io(&path, error))
            }
        }
    }
}

/// How many files of a folder are looked up one by one before the folder is listed.
const LOOKUPS: usize = 64;

/// Which files are there: in a folder that is asked for often, from one listing of it.
#[derive(Default)]
pub(super) struct Folders(RwLock<HashMap<PathBuf, Folder>>);

#[derive(Default)]
struct Folder {
    lookups: usize,
    files: Option<HashSet<OsString>>,
}

impl Folders {
    /// Whether the file of a written path is there, with what is wrong if not.
    pub(super) fn check(&self, place: &Place, written: &str) -> Result<()> {
        let path = match place.target(written) {
            Target::Builtin(path) => return builtin::bytes(&path).map(|_| ()),
            Target::File(path) => path,
        };
        if let (Some(folder), Some(file)) = (path.parent(), path.file_name()) {
            let known = self.0.read().unwrap_or_else(|broken| broken.into_inner());
            if known.get(folder).and_then(|folder| folder.files.as_ref()).is_some_and(|files| files.contains(file)) {
                return Ok(());
            }
            drop(known);
            let mut known = self.0.write().unwrap_or_else(|broken| broken.into_inner());
            let found = known.entry(folder.to_path_buf()).or_default();
            found.lookups += 1;
            if found.lookups == LOOKUPS {
                found.files = Some(listed(folder));
            }
        }
        // Not listed is not missing: it may be a link, or new.
        file_length(&path).map(|_| ())
    }
}

/// Names of the plain files of a folder, as far as it can be listed.
fn listed(folder: &Path) -> HashSet<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.file_name()).collect()
}

fn file_length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(found.len()),
        Ok(_) => Err(Error::new(ErrorKind::Io, "not a file; expected a file that can be read").at("file", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::Io, "the file does not exist").at("file", path.display()).because(error))
        }
        Err(error) => Err(Error::io(path, error)),
    }
}

/// A path without `.` and `..`, as far as that can be told without the file system.
fn normal(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(parts.components().next_back(), Some(Component::Normal(_))) => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_a_folder_changes_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_path_buf());
        let folders = Folders::default();
        for i in 0..LOOKUPS * 2 {
            let name = format!("{i}.png");
            assert!(folders.check(&place, &name).is_err());
            fs::write(folder.path().join(&name), "x").unwrap();
            assert!(folders.check(&place, &name).is_ok());
            assert!(folders.check(&place, "0.png").is_ok());
        }
        fs::create_dir(folder.path().join("sub")).unwrap();
        assert!(folders.check(&place, "sub").is_err());
    }

    #[test]
    fn one_file_has_one_name() {
        let place = Place::of_file("sets/a/train.jsonl", Path::new("/data"));
        for written in ["x/1.png", "./x/1.png", "y/../x//1.png", "/data/sets/a/x/1.png"] {
            assert_eq!(place.name(written), "/data/sets/a/x/1.png");
        }
        assert_eq!(place.name("../../../../1.png"), "/../1.png");
        let inside = Place::of_file("builtin:digits/train.jsonl", Path::new("/data"));
        assert_eq!(inside.name("images/1.png"), "builtin:digits/images/1.png");
        assert_eq!(place.name("builtin:digits/images/1.png"), "builtin:digits/images/1.png");
        assert_eq!(inside.read("LICENSE.md").unwrap(), inside.read("builtin:digits/LICENSE.md").unwrap());
    }
}
