use crate::{
    codec,
    error::Problem,
    sample::{AudioBuffer, Digest, ImageBuffer},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// A file that a draw chose: enough to know it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Path below the transform's folder, or the name of the one file.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// Media files that a transform takes from: one file, or all of a folder and the folders in it, in the order of their paths. They are listed and their digests taken once, and decoded when
/// they are drawn; the latest stay in memory, within a bounded number of bytes.
#[derive(Debug, Default)]
pub struct Files {
    root: PathBuf,
    list: Vec<FileRef>,
    latest: Mutex<Latest>,
}

/// Bytes of decoded files that are kept.
pub const KEPT: usize = 64 << 20;
/// Most files of one transform.
const MOST: usize = 100_000;

#[derive(Debug, Clone)]
enum Decoded {
    Audio(Arc<AudioBuffer>),
    Image(Arc<ImageBuffer>),
}

#[derive(Debug, Default)]
struct Latest {
    /// The most recently used at the end.
    kept: VecDeque<(Digest, Decoded, usize)>,
    bytes: usize,
}

impl Files {
    /// Lists the files whose names end in one of `extensions` (lower case, without a dot) at `base/path`; `field` names the config's field in a problem.
    pub fn list(base: &Path, path: &str, field: &str, extensions: &[&str]) -> Result<Self, Problem> {
        let place = base.join(path);
        let wrong = |what: String| Problem::new(field, what);
        let cannot = |error: std::io::Error| wrong(format!("cannot read {}: {error}", place.display()));
        let fits = |path: &Path| {
            let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
            extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
        };
        let (root, mut paths) = if std::fs::metadata(&place).map_err(cannot)?.is_dir() {
            let mut paths = Vec::new();
            walk(&place, 0, &mut |path| {
                if fits(&path) {
                    paths.push(path);
                }
            })
            .map_err(cannot)?;
            (place.clone(), paths)
        } else if fits(&place) {
            (place.parent().unwrap_or(Path::new("")).to_owned(), vec![place.clone()])
        } else {
            return Err(wrong(format!("{} is not a {} file", place.display(), extensions.join(", "))));
        };
        if paths.is_empty() {
            return Err(wrong(format!("{} holds no {} file", place.display(), extensions.join(", "))));
        }
        if paths.len() > MOST {
            return Err(wrong(format!("{} holds {} files, at most {MOST} can be used", place.display(), paths.len())));
        }
        paths.sort();
        let mut list = Vec::with_capacity(paths.len());
        for path in paths {
            let bytes = std::fs::read(&path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
            let name = path.strip_prefix(&root).unwrap_or(&path).components().map(|part| part.as_os_str().to_string_lossy());
            list.push(FileRef { path: name.collect::<Vec<_>>().join("/"), digest: Digest::of(&bytes) });
        }
        Ok(Self { root, list, latest: Mutex::default() })
    }

    /// All of them, by path.
    pub fn all(&self) -> &[FileRef] {
        &self.list
    }

    /// A drawn sound, decoded. An error says what is wrong with the file, or that it is not the one that was drawn.
    pub fn audio(&self, file: &FileRef) -> Result<Arc<AudioBuffer>, String> {
        let decode = |bytes: &[u8]| {
            let media = codec::audio::decode(bytes)?;
            let size = std::mem::size_of_val(media.get().samples());
            Ok((Decoded::Audio(media.shared()), size))
        };
        match self.open(file, decode)? {
            Decoded::Audio(audio) => Ok(audio),
            Decoded::Image(_) => Err(format!("file_unusable: {} is a picture", file.path)),
        }
    }

    /// A drawn picture, decoded.
    pub fn image(&self, file: &FileRef) -> Result<Arc<ImageBuffer>, String> {
        let decode = |bytes: &[u8]| {
            let media = codec::image::decode(bytes)?;
            let size = media.get().pixels().len();
            Ok((Decoded::Image(media.shared()), size))
        };
        match self.open(file, decode)? {
            Decoded::Image(image) => Ok(image),
            Decoded::Audio(_) => Err(format!("file_unusable: {} is a sound", file.path)),
        }
    }

    fn open(&self, file: &FileRef, decode: impl FnOnce(&[u8]) -> crate::error::Result<(Decoded, usize)>) -> Result<Decoded, String> {
        let latest = || self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(found) = latest().get(&file.digest) {
            return Ok(found);
        }
        let unusable = |what: String| format!("file_unusable: {}: {what}", file.path);
        if !self.list.contains(file) {
            return Err(unusable("not among the files of this transform, or another one than was drawn".into()));
        }
        let bytes = std::fs::read(self.root.join(&file.path)).map_err(|error| unusable(error.to_string()))?;
        if Digest::of(&bytes) != file.digest {
            return Err(unusable("it changed while the run went on".into()));
        }
        let (decoded, size) = decode(&bytes).map_err(|error| unusable(error.to_string()))?;
        latest().keep(file.digest, decoded.clone(), size);
        Ok(decoded)
    }
}

impl Latest {
    fn get(&mut self, digest: &Digest) -> Option<Decoded> {
        let at = self.kept.iter().position(|(own, ..)| own == digest)?;
        let found = self.kept.remove(at)?;
        let decoded = found.1.clone();
        self.kept.push_back(found);
        Some(decoded)
    }

    fn keep(&mut self, digest: Digest, decoded: Decoded, size: usize) {
        if size > KEPT || self.kept.iter().any(|(own, ..)| *own == digest) {
            return;
        }
        self.bytes += size;
        self.kept.push_back((digest, decoded, size));
        while self.bytes > KEPT {
            let Some((_, _, oldest)) = self.kept.pop_front() else { break };
            self.bytes -= oldest;
        }
    }
}

fn walk(folder: &Path, depth: usize, found: &mut impl FnMut(PathBuf)) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A link that leads back upward must not be followed for ever.
        if path.is_dir() && depth < 16 {
            walk(&path, depth + 1, found)?;
        } else if path.is_file() {
            found(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;

    fn wav(value: f32) -> Vec<u8> {
        codec::audio::encode(&AudioBuffer::new(8000, 1, vec![value; 8]).unwrap()).unwrap().bytes
    }

    #[test]
    fn a_folder_is_listed_by_path_and_opened_by_digest() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("sub/b.wav"), wav(0.25)).unwrap();
        std::fs::write(folder.path().join("a.WAV"), wav(0.5)).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no sound").unwrap();
        let files = Files::list(folder.path(), ".", "path", &["wav"]).unwrap();
        assert_eq!(files.all().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.WAV", "sub/b.wav"]);
        let second = files.all()[1].clone();
        assert_eq!(files.audio(&second).unwrap().samples()[0], 0.25);
        // From memory.
        std::fs::write(folder.path().join("sub/b.wav"), wav(0.75)).unwrap();
        assert_eq!(files.audio(&second).unwrap().samples()[0], 0.25);
        let again = Files::list(folder.path(), "sub/b.wav", "path", &["wav"]).unwrap();
        assert_eq!(again.all()[0].path, "b.wav");
        assert!(again.audio(&second).unwrap_err().starts_with("file_unusable: sub/b.wav: not among"));
        std::fs::write(folder.path().join("sub/b.wav"), wav(0.1)).unwrap();
        assert!(again.audio(&again.all()[0]).unwrap_err().contains("changed"));
    }

    #[test]
    fn what_is_missing_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let problem = |path: &str| Files::list(folder.path(), path, "path", &["wav", "flac"]).unwrap_err();
        assert!(problem("none").to_string().starts_with("path: cannot read "), "{}", problem("none"));
        assert!(problem(".").message.ends_with("holds no wav, flac file"), "{}", problem("."));
        std::fs::write(folder.path().join("a.txt"), "x").unwrap();
        assert!(problem("a.txt").message.ends_with("is not a wav, flac file"));
        std::fs::write(folder.path().join("bad.wav"), "no sound").unwrap();
        let files = Files::list(folder.path(), "bad.wav", "path", &["wav"]).unwrap();
        assert!(files.audio(&files.all()[0]).unwrap_err().starts_with("file_unusable: bad.wav"));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut latest = Latest::default();
        let sound = Decoded::Audio(Arc::new(AudioBuffer::new(8000, 1, vec![0.0]).unwrap()));
        let digest = |i: u8| Digest::of(&[i]);
        (0..4).for_each(|i| latest.keep(digest(i), sound.clone(), KEPT / 2));
        assert_eq!((latest.kept.len(), latest.bytes), (2, KEPT));
        assert!(latest.get(&digest(1)).is_none() && latest.get(&digest(2)).is_some());
        latest.keep(digest(9), sound.clone(), KEPT / 2);
        assert!(latest.get(&digest(3)).is_none() && latest.get(&digest(2)).is_some());
        latest.keep(digest(10), sound, KEPT + 1);
        assert_eq!(latest.bytes, KEPT);
    }
}
