use super::{
    Entry, Measured, Reader, Source, builtin,
    content::{Content, Contents},
    line::{LabelKind, Line},
    place::{Folders, Place},
};
use crate::{
    error::{Error, ErrorKind, Problem, Result},
    operator::{Configure, Table},
    sample::{Annotations, Modality, ModalitySet, Sample, SampleId},
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
};

/// Most bytes of a line.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Lines, and bytes, that are parsed at a time.
const BLOCK_LINES: usize = 8192;
const BLOCK_BYTES: usize = 32 * 1024 * 1024;

/// Reads a manifest: one JSON object a line, with `id`, `image`, `audio`, `text`, `label`.
///
/// Method: `image` and `audio` are paths relative to the manifest, absolute, or `builtin:...`; `text` is the text itself. A missing or
/// null modality is data, but each line has at least one. Without an `id` one is made of the line's content. A `label` is a
/// string, a whole number, true or false, or shares that sum to 1 (`{"cat": 0.9, "dog": 0.1}` or `[0.9, 0.1]`), alike in all
/// lines. `boxes` (`x`, `y`, `width`, `height` in pixels, `label`), `keypoints` (`x`, `y`, `label`), `masks`
/// (`outline`: a list of at least three corners `[x, y]`, `label`), `events` (`start_s`, `end_s`, `label`), `words` (`start`, `end` in bytes of the
/// text, `start_s`, `end_s`) and `spans` (`start`, `end`, `tag`; `protected` for words that no edit may touch) are checked. All other
/// fields are kept. Empty lines do not count. A line that cannot be used is reported with its number and field, and left out.
///
/// Reference: JSON Lines, <https://jsonlines.org>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Path of the manifest, relative to the pipeline file, or `builtin:SET/FILE` for embedded data.
    pub path: String,
}

impl Manifest {
    /// The manifest at `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

impl Configure<dyn Reader> for Manifest {
    const NAME: &'static str = "manifest";
    const EXAMPLE: &'static str = r#"{ path: "builtin:digits/train.jsonl" }"#;

    fn build(self, _: &Table<dyn Reader>) -> Result<Box<dyn Reader>, Vec<Problem>> {
        if self.path.trim().is_empty() {
            return Err(vec![Problem::new("path", "is empty; expected the path of a manifest such as train.jsonl")]);
        }
        if self.path.starts_with(builtin::PREFIX) {
            builtin::bytes(&self.path).map_err(|error| vec![Problem::new("path", error.message())])?;
        }
        Ok(Box::new(self))
    }
}

impl Reader for Manifest {
    fn open(&self, base: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(ManifestSource::open(&self.path, base)?))
    }
}

/// An opened manifest.
pub struct ManifestSource {
    name: String,
    contents: Contents,
    problems: Vec<Error>,
}

impl ManifestSource {
    /// Reads all lines, and looks whether their media are there. Errors: the file cannot be read, or holds no line.
    pub fn open(path: &str, base: &Path) -> Result<Self> {
        let place = Place::of_file(path, base);
        if path.starts_with(builtin::PREFIX) {
            return Self::read(path.to_owned(), place, builtin::bytes(path)?);
        }
        let full = base.join(path);
        let name = full.display().to_string();
        if full.is_dir() {
            let found = "a folder; expected a manifest of JSON lines (a folder of classes is read by `folder`)";
            return Err(Error::new(ErrorKind::Io, found).at("file", name));
        }
        let file = File::open(&full).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::Io, "the manifest does not exist").at("file", &name).because(error),
            _ => Error::io(&full, error),
        })?;
        Self::read(name, place, BufReader::with_capacity(1 << 18, file))
    }

    fn read(name: String, place: Place, mut input: impl BufRead) -> Result<Self> {
        let contents = Contents { place, entries: Vec::new(), contents: Vec::new() };
        let mut source = Self { name, contents, problems: Vec::new() };
        let mut seen = Seen::default();
        let common = Common::default();
        let mut lines = 0;
        loop {
            let block = read_block(&mut input, &mut lines).map_err(|error| Error::io(&source.name, error))?;
            if block.is_empty() {
                break;
            }
            let place = &source.contents.place;
            let parsed: Vec<(usize, Result<Parsed>)> = block
                .into_par_iter()
                .map(|(line, bytes)| (line, bytes.and_then(|bytes| Parsed::new(line, &bytes, place, &common))))
                .collect();
            for (line, parsed) in parsed {
                match parsed.and_then(|parsed| seen.admit(parsed)) {
                    Ok(parsed) => {
                        source.contents.entries.push(parsed.entry);
                        source.contents.contents.push(parsed.content);
                    }
                    Err(error) => source.problems.push(error.at("line", line).at("file", &source.name)),
                }
            }
        }
        if source.contents.entries.is_empty() && source.problems.is_empty() {
            return Err(Error::data("the manifest holds no sample; expected one JSON object a line").at("file", &source.name));
        }
        Ok(source)
    }
}

impl Source for ManifestSource {
    fn entries(&self) -> &[Entry] {
        &self.contents.entries
    }
    fn problems(&self) -> &[Error] {
        &self.problems
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        self.contents.fetch(index)
    }
    fn measure(&self, index: usize) -> Result<Measured> {
        self.contents.measure(index)
    }
}

struct Parsed {
    entry: Entry,
    content: Content,
    kind: Option<LabelKind>,
}

impl Parsed {
    fn new(line: usize, bytes: &[u8], place: &Place, common: &Common) -> Result<Self> {
        let Line { id, image, audio, text, spans, label, kind, annotations, fields } = Line::parse(bytes)?;
        let mut media = Vec::with_capacity(2);
        let mut present = ModalitySet::EMPTY;
        for (field, path, modality) in [("image", &image, Modality::Image), ("audio", &audio, Modality::Audio)] {
            if let Some(path) = path {
                common.folders.check(place, path).map_err(|error| error.at("field", field))?;
                media.push(place.name(path));
                present = present.with(modality);
            }
        }
        if text.is_some() {
            present = present.with(Modality::Text);
        }
        let id = match id {
            Some(id) => SampleId::new(id),
            None => SampleId::new(format!("line-{}", crate::sample::Digest::of(bytes).short())),
        };
        // Copied to fit: parsing leaves room for fields that are long gone.
        let fields = if fields.is_empty() { common.fields.clone() } else { Arc::new(fields.into_iter().collect()) };
        let plain = annotations == *common.annotations;
        let annotations = if plain { common.annotations.clone() } else { Arc::new(annotations) };
        let entry = Entry { id, label, present, media, fields, line };
        let short = |text: Option<String>| text.map(String::into_boxed_str);
        let content = Content { image: short(image), audio: short(audio), text: short(text), spans, annotations };
        Ok(Self { entry, content, kind })
    }
}

/// What lines share.
#[derive(Default)]
struct Common {
    folders: Folders,
    fields: Arc<Map<String, Value>>,
    annotations: Arc<Annotations>,
}

/// What the lines so far fix for the later ones.
#[derive(Default)]
struct Seen {
    ids: HashMap<SampleId, usize>,
    kind: Option<(LabelKind, usize)>,
}

impl Seen {
    fn admit(&mut self, parsed: Parsed) -> Result<Parsed> {
        let (id, line) = (&parsed.entry.id, parsed.entry.line);
        if let Some(first) = self.ids.get(id) {
            return Err(Error::data(format!("the id `{id}` stands in lines {first} and {line}; ids are unique")).at("field", "id"));
        }
        if let Some(kind) = parsed.kind {
            match self.kind {
                Some((first, at)) if !first.goes_with(kind) => {
                    let (first, kind) = (first.about(), kind.about());
                    let told = format!("found {kind}, but the label of line {at} is {first}; expected one way of writing");
                    return Err(Error::data(told).at("field", "label"));
                }
                None if kind.decides() => self.kind = Some((kind, line)),
                _ => {}
            }
        }
        self.ids.insert(id.clone(), line);
        Ok(parsed)
    }
}

/// The next lines that are not empty, with their numbers; an overlong one as its error. Empty at the end of the file.
pub(super) fn read_block(input: &mut impl BufRead, lines: &mut usize) -> std::io::Result<Vec<(usize, Result<Vec<u8>>)>> {
    let mut block = Vec::new();
    let mut bytes = 0;
    while block.len() < BLOCK_LINES && bytes < BLOCK_BYTES {
        let Some((mut line, length)) = read_line(input)? else { break };
        *lines += 1;
        if *lines == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if length > MAX_LINE_BYTES {
            let told = format!("the line has {length} bytes; at most {MAX_LINE_BYTES} are read (media are files beside the manifest)");
            block.push((*lines, Err(Error::data(told))));
            continue;
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            bytes += line.len();
            block.push((*lines, Ok(line.to_vec())));
        }
    }
    Ok(block)
}

/// One line without its end and its whole length; of an overlong one no more than the limit is kept.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            return Ok((length > 0).then_some((line, length)));
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(piece.len());
        if length <= MAX_LINE_BYTES {
            line.extend_from_slice(&piece[..taken]);
        }
        length += taken;
        let consumed = taken + usize::from(end.is_some());
        input.consume(consumed);
        if end.is_some() {
            return Ok(Some((line, length)));
        }
    }
}
