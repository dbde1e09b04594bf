use super::{
    Entry, Measured, Reader, Source, WrittenLabel,
    content::{Content, Contents},
    place::Place,
};
use crate::{
    codec::{self, limits::MAX_TEXT_BYTES},
    error::{Error, ErrorKind, Problem, Result},
    operator::{Configure, Table},
    sample::{Modality, ModalitySet, Sample, SampleId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// Most folders below one another.
const MAX_DEPTH: usize = 32;
const IMAGES: [&str; 12] = ["png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm"];
const AUDIO: [&str; 4] = ["wav", "flac", "ogg", "mp3"];
const TEXTS: [&str; 1] = ["txt"];

fn modality_of(extension: &str) -> Option<Modality> {
    let kinds: [(&[&str], Modality); 3] = [(&IMAGES, Modality::Image), (&AUDIO, Modality::Audio), (&TEXTS, Modality::Text)];
    kinds.into_iter().find(|(known, _)| known.contains(&extension)).map(|(_, modality)| modality)
}

/// Reads a folder whose subfolders are the classes.
///
/// Method: `cat/1.png`, `cat/1.wav` and `cat/1.txt` are one sample of the class `cat`: files of one folder that differ in nothing but the extension
/// belong together. The id is the path without extension (`cat/1`); folders inside a class are searched too. Samples are sorted by id.
/// Files with other extensions, and those whose name begins with a dot, are passed over. A file outside a class folder, and two files
/// for one modality of a sample, are reported and left out.
///
/// Reference: the layout of `torchvision.datasets.ImageFolder`, with more than one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Folder of the classes, relative to the pipeline file.
    pub path: String,
    /// Extensions that are read, lower case without dot; all known ones where none is named.
    #[serde(default)]
    pub extensions: Vec<String>,
}

impl Folder {
    /// The folder at `path` with all known extensions.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), extensions: Vec::new() }
    }
    fn reads(&self, extension: &str) -> Option<Modality> {
        let asked = self.extensions.is_empty() || self.extensions.iter().any(|own| own == extension);
        modality_of(extension).filter(|_| asked)
    }
}

impl Configure<dyn Reader> for Folder {
    const NAME: &'static str = "folder";
    const EXAMPLE: &'static str = "{ path: pictures, extensions: [png, wav, txt] }";

    fn build(self, _: &Table<dyn Reader>) -> Result<Box<dyn Reader>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.path.trim().is_empty() {
            problems.push(Problem::new("path", "is empty; expected a folder whose subfolders are the classes"));
        }
        for (i, extension) in self.extensions.iter().enumerate() {
            if modality_of(extension).is_none() {
                let known = [IMAGES.as_slice(), &AUDIO, &TEXTS].concat().join(", ");
                problems.push(Problem::new(format!("extensions[{i}]"), format!("unknown extension `{extension}`; known: {known}")));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Reader for Folder {
    fn open(&self, base: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(FolderSource::open(self, base)?))
    }
}

/// An opened folder of classes.
struct FolderSource {
    name: String,
    contents: Contents,
    problems: Vec<Error>,
}

/// The files of one sample, by modality, as paths below the folder.
type Stems = BTreeMap<String, Vec<(Modality, String)>>;

impl FolderSource {
    fn open(config: &Folder, base: &Path) -> Result<Self> {
        let root = base.join(&config.path);
        let name = root.display().to_string();
        if !root.is_dir() {
            let found = if root.exists() { "not a folder; a manifest file is read by `manifest`" } else { "the folder does not exist" };
            return Err(Error::new(ErrorKind::Io, found).at("file", name));
        }
        let mut problems = Vec::new();
        let mut stems = Stems::new();
        collect(config, &root, "", 0, &mut stems, &mut problems)?;
        let place = Place::Folder(root);
        let mut entries = Vec::new();
        let mut contents = Vec::new();
        for (stem, files) in stems {
            match sample_of(&stem, &files, &place) {
                Ok((label, content)) => {
                    let present = files.iter().map(|(modality, _)| *modality).collect::<ModalitySet>();
                    let present = if content.text.is_none() { present.without(Modality::Text) } else { present };
                    if present.is_empty() {
                        problems.push(Error::data("the text is empty and there is no other medium").at("sample", &stem).at("file", &name));
                        continue;
                    }
                    let media = [&content.image, &content.audio].into_iter().flatten().map(|path| place.name(path)).collect();
                    let (id, line) = (SampleId::new(stem), entries.len() + 1);
                    entries.push(Entry { id, label: Some(WrittenLabel::Name(label)), present, media, fields: Arc::default(), line });
                    contents.push(content);
                }
                Err(error) => problems.push(error.at("file", &name)),
            }
        }
        if entries.is_empty() && problems.is_empty() {
            let told = "the folder holds no sample; expected one subfolder a class with images, audio or text in it";
            return Err(Error::data(told).at("file", name));
        }
        Ok(Self { name, contents: Contents { place, entries, contents }, problems })
    }
}

/// Walks a folder in the order of the names.
fn collect(config: &Folder, folder: &Path, below: &str, depth: usize, stems: &mut Stems, problems: &mut Vec<Error>) -> Result<()> {
    if depth > MAX_DEPTH {
        let told = format!("folders lie more than {MAX_DEPTH} deep; is there a link to a folder above?");
        return Err(Error::data(told).at("file", folder.display()));
    }
    let mut entries =
        fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>()).map_err(|error| Error::io(folder, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, file) = (entry.path(), entry.file_name());
        let Some(file) = file.to_str() else {
            problems.push(Error::data("the name is not UTF-8; rename the file").at("file", path.display()));
            continue;
        };
        if file.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(config, &path, &format!("{below}{file}/"), depth + 1, stems, problems)?;
            continue;
        }
        let Some((stem, extension)) = file.rsplit_once('.') else { continue };
        let Some(modality) = config.reads(&extension.to_lowercase()) else { continue };
        if depth == 0 {
            problems.push(Error::data("the file lies in no class folder; move it into one").at("file", path.display()));
            continue;
        }
        stems.entry(format!("{below}{stem}")).or_default().push((modality, format!("{below}{file}")));
    }
    Ok(())
}

/// Label and content of one sample.
fn sample_of(stem: &str, files: &[(Modality, String)], place: &Place) -> Result<(String, Content)> {
    let mut content = Content::default();
    for (modality, path) in files {
        let slot = match modality {
            Modality::Image => &mut content.image,
            Modality::Audio => &mut content.audio,
            Modality::Text => &mut content.text,
        };
        if let Some(first) = slot.replace(path.as_str().into()) {
            let told = format!("two files for its {modality}: {first} and {path}; expected one");
            return Err(Error::data(told).at("sample", stem));
        }
    }
    if let Some(path) = content.text.take() {
        let at = |error: Error| error.at("modality", Modality::Text).at("sample", stem);
        let bytes = place.read(&path).map_err(at)?;
        if bytes.len() > MAX_TEXT_BYTES {
            let told = format!("a text of {} bytes; at most {MAX_TEXT_BYTES} are read", bytes.len());
            return Err(at(Error::data(told).at("file", &*path)));
        }
        let text = codec::text::decode(&bytes).map_err(|error| at(error.at("file", &*path)))?.get().content.clone();
        content.text = Some(text).filter(|text| !text.trim().is_empty()).map(String::into_boxed_str);
    }
    Ok((stem.split('/').next().unwrap_or(stem).to_owned(), content))
}

impl Source for FolderSource {
    fn entries(&self) -> &[Entry] {
        &self.contents.entries
    }
    fn problems(&self) -> &[Error] {
        &self.problems
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        self.contents.fetch(index)
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn measure(&self, index: usize) -> Result<Measured> {
        self.contents.measure(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{AudioBuffer, ImageBuffer};
    use proptest::prelude::*;

    fn data(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join("set").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }
    fn open(folder: &tempfile::TempDir, config: &Folder) -> Result<Box<dyn Source>> {
        config.open(folder.path())
    }
    fn png() -> Vec<u8> {
        codec::image::encode(&ImageBuffer::filled(8, 6, 1, 9).unwrap()).unwrap().bytes
    }
    fn wav() -> Vec<u8> {
        codec::audio::encode(&AudioBuffer::new(8000, 1, vec![0.25; 80]).unwrap()).unwrap().bytes
    }

    #[test]
    fn folders_are_classes_and_stems_are_samples() {
        let (png, wav) = (png(), wav());
        let folder = data(&[
            ("cat/2.PNG", &png),
            ("cat/1.wav", &wav),
            ("cat/1.png", &png),
            ("cat/1.txt", "eine Katze\n".as_bytes()),
            ("cat/notes.md", b"#"),
            ("cat/.hidden.png", b""),
            ("dog/tape 3/a.b.wav", &wav),
            ("dog/empty.txt", b" \n"),
            ("stray.png", &png),
            ("dog/x.png", &png),
            ("dog/x.jpg", b"?"),
        ]);
        let source = open(&folder, &Folder::new("set")).unwrap();
        let found: Vec<(&str, String)> = source.entries().iter().map(|entry| (entry.id.as_str(), entry.present.to_string())).collect();
        assert_eq!(found, [("cat/1", "image+audio+text".into()), ("cat/2", "image".into()), ("dog/tape 3/a.b", "audio".into())]);
        assert_eq!(source.entries()[2].label, Some(WrittenLabel::Name("dog".into())));
        let first = source.fetch(0).unwrap();
        assert_eq!((first.text.unwrap().get().content.as_str(), first.audio.unwrap().get().frames()), ("eine Katze", 80));
        assert_eq!(source.measure(1).unwrap().image, Some((8, 6, 1)));
        let root = folder.path().join("set").display().to_string();
        let told: Vec<String> = source.problems().iter().map(|problem| problem.to_string().replace(&root, "ROOT")).collect();
        let expected = [
            "file ROOT/stray.png: the file lies in no class folder; move it into one",
            "file ROOT: sample dog/empty: the text is empty and there is no other medium",
            "file ROOT: sample dog/x: two files for its image: dog/x.jpg and dog/x.png; expected one",
        ];
        assert_eq!(told, expected);
        let only = Folder { extensions: vec!["wav".into()], ..Folder::new("set") };
        assert_eq!(open(&folder, &only).unwrap().entries().len(), 2);
    }

    #[test]
    fn what_is_no_folder_of_classes_is_refused() {
        let folder = data(&[("cat/readme.md", b"")]);
        let told = |path: &str| open(&folder, &Folder::new(path)).err().unwrap().message().to_owned();
        assert_eq!(told("set"), "the folder holds no sample; expected one subfolder a class with images, audio or text in it");
        assert_eq!(told("gone"), "the folder does not exist");
        assert_eq!(told("set/cat/readme.md"), "not a folder; a manifest file is read by `manifest`");
        let config = Folder { path: " ".into(), extensions: vec!["png".into(), "xlsx".into()] };
        let problems: Vec<String> = config.build(&Table::default()).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(problems[0], "path: is empty; expected a folder whose subfolders are the classes");
        assert!(problems[1].starts_with("extensions[1]: unknown extension `xlsx`; known: png, jpg"), "{}", problems[1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn each_file_is_read_or_reported_or_passed_over(names in prop::collection::btree_set("(a|b)/(x|y|z)\\.(png|jpg|wav|txt|md)", 1..12)) {
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"t".as_slice())).collect();
            let folder = data(&files);
            let stems = names.iter().filter(|name| !name.ends_with("md")).map(|name| name.rsplit_once('.').unwrap().0).collect::<std::collections::BTreeSet<_>>();
            match open(&folder, &Folder::new("set")) {
                Ok(source) => prop_assert_eq!(source.entries().len() + source.problems().len(), stems.len()),
                Err(_) => prop_assert!(stems.is_empty()),
            }
        }
    }
}
