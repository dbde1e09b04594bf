use super::{Feeder, Receipt, Sink, write};
use crate::{
    context::FeedContext,
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    sample::{
        Accepted, BoundingBox, Bytes, Classes, Diagnosis, Digest, Event, Keypoint, Label, Lineage, Mask, Media, Modality, Sample, SampleId,
        ScoreTable, Selection, TextSpan, WordTime,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Writes accepted samples as an ordinary data set: a manifest with media files, and the lineage of each sample.
///
/// Method: `PATH/manifest.jsonl` holds one sample a line, in the order of acceptance: `id`, `image`, `audio`, `text`, `label` (the class name, or
/// shares by name), `parent`, `operator`, `round`, annotations, and the parent's other fields; the `manifest` reader reads it.
/// Media lie in `images` and `audio` beside it, an untouched medium as its original bytes, and equal media once.
/// `PATH/lineage.jsonl` holds what it takes to make each sample again. The folder appears whole when the run ends.
///
/// Reference: JSON Lines, <https://jsonlines.org>.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Folder of the data set, relative to the output folder; `generated` is the one that every run writes.
    pub path: String,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { path: "fed".into() }
    }
}

impl Configure<dyn Feeder> for Manifest {
    const NAME: &'static str = "manifest";
    const EXAMPLE: &'static str = "{ path: hard }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        write::check_inside(&self.path).map_err(|told| vec![Problem::new("path", told)])?;
        Ok(Box::new(self))
    }
}

impl Feeder for Manifest {
    fn open(&self, context: &FeedContext<'_>) -> Result<Box<dyn Sink>> {
        DataSet::open(context.folder, &self.path, context.classes).map(|sink| Box::new(sink) as _)
    }
}

const LINES: &str = "manifest.jsonl";
const LINEAGE: &str = "lineage.jsonl";

/// A data set that is being written beside its place.
struct DataSet {
    /// Relative to the output folder.
    path: String,
    target: PathBuf,
    /// Gone with the sink where the run ends before it is finished.
    _partial: TempDir,
    /// Where the files are meanwhile.
    root: PathBuf,
    lines: BufWriter<File>,
    lineage: BufWriter<File>,
    classes: Classes,
    ids: HashMap<SampleId, usize>,
    /// Media that are written already.
    media: HashMap<(Modality, Digest), String>,
    files: Vec<String>,
}

impl DataSet {
    fn open(folder: &Path, path: &str, classes: &Classes) -> Result<Self> {
        let target = folder.join(path);
        // Only a data set of an earlier run is replaced.
        if let Ok(mut entries) = fs::read_dir(&target)
            && entries.next().is_some()
            && !target.join(LINEAGE).is_file()
        {
            let told = "the folder holds something else than an earlier data set of a run; name another `path`";
            return Err(Error::usage(told).at("file", target.display()));
        }
        let parent = target.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
        let partial = tempfile::Builder::new().prefix(super::UNFINISHED).tempdir_in(parent).map_err(|error| Error::io(parent, error))?;
        // A temporary folder is closed to others; the one inside is like any other, and is what remains.
        let root = partial.path().join("data");
        fs::create_dir(&root).map_err(|error| Error::io(&root, error))?;
        let create = |name: &str| {
            let path = root.join(name);
            File::create(&path).map(BufWriter::new).map_err(|error| Error::io(path, error))
        };
        let (lines, lineage) = (create(LINES)?, create(LINEAGE)?);
        Ok(Self {
            path: path.to_owned(),
            target,
            _partial: partial,
            root,
            lines,
            lineage,
            classes: classes.clone(),
            ids: HashMap::new(),
            media: HashMap::new(),
            files: vec![LINES.into(), LINEAGE.into()],
        })
    }

    /// Writes a medium once and gives its path in the data set.
    fn medium<T: Bytes>(&mut self, id: &SampleId, modality: Modality, media: Option<&Media<T>>) -> Result<Option<String>> {
        let Some(media) = media else { return Ok(None) };
        let key = (modality, media.digest());
        if let Some(path) = self.media.get(&key) {
            return Ok(Some(path.clone()));
        }
        let encoded = media.encoded().ok_or_else(|| {
            Error::internal("the medium has no encoded bytes; `codec::settle` makes them before verification")
                .at("modality", modality)
                .at("sample", id)
        })?;
        let folder = if modality == Modality::Image { "images" } else { "audio" };
        let path = format!("{folder}/{}-{}.{}", safe(id.as_str()), media.digest().short(), safe(&encoded.extension));
        let full = self.root.join(&path);
        if !self.files.iter().any(|file| file.starts_with(folder)) {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).map_err(|error| Error::io(folder, error))?;
        }
        fs::write(&full, &encoded.bytes).map_err(|error| Error::io(full, error))?;
        self.media.insert(key, path.clone());
        self.files.push(path.clone());
        Ok(Some(path))
    }
}

impl Sink for DataSet {
    fn round(&mut self, _: &ScoreTable, _: &[Diagnosis], _: &Selection) -> Result<()> {
        Ok(())
    }

    fn take(&mut self, accepted: &Accepted) -> Result<()> {
        let (sample, lineage) = (accepted.sample(), accepted.lineage());
        if let Some(first) = self.ids.insert(sample.id.clone(), self.ids.len() + 1) {
            return Err(Error::internal(format!("the id stands twice, first in line {first}")).at("sample", &sample.id));
        }
        let image = self.medium(&sample.id, Modality::Image, sample.image.as_ref())?;
        let audio = self.medium(&sample.id, Modality::Audio, sample.audio.as_ref())?;
        let line = Line::new(sample, image.as_deref(), audio.as_deref(), Written::of(sample, &self.classes)?, lineage);
        write_line(&mut self.lines, &line).map_err(|error| Error::io(self.root.join(LINES), error))?;
        write_line(&mut self.lineage, lineage).map_err(|error| Error::io(self.root.join(LINEAGE), error))
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        let Self { path, target, root, lines, lineage, ids, files, _partial, .. } = *self;
        for (writer, name) in [(lines, LINES), (lineage, LINEAGE)] {
            writer.into_inner().map_err(|error| Error::io(root.join(name), error.into_error()))?;
        }
        remove(&target)?;
        fs::rename(&root, &target).map_err(|error| Error::io(&target, error))?;
        Ok(Receipt { taken: ids.len(), files: files.into_iter().map(|file| format!("{path}/{file}")).collect() })
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, error)),
        _ => Ok(()),
    }
}

fn write_line(to: &mut impl Write, line: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// The fields of a sample's line in the manifest, as they are read again, but where its image and audio lie.
///
/// # Errors
/// If the label is none of the classes.
pub(crate) fn fields(sample: &Sample, lineage: &Lineage, classes: &Classes) -> Result<Map<String, Value>> {
    let there = |there: bool| there.then_some("");
    let label = Written::of(sample, classes)?;
    let line = Line::new(sample, there(sample.image.is_some()), there(sample.audio.is_some()), label, lineage);
    // By way of the text: a number is compared as it is written.
    let read = serde_json::to_string(&line).and_then(|line| serde_json::from_str::<Map<String, Value>>(&line));
    let mut fields = read.map_err(|error| Error::internal(format!("a line of the manifest: {error}")).at("sample", &sample.id))?;
    MEDIA.iter().for_each(|name| drop(fields.remove(*name)));
    Ok(fields)
}

/// Fields of a line that name files.
pub(crate) const MEDIA: [&str; 2] = ["image", "audio"];

/// The characters of an id that every file system takes; the digest behind them makes the name unique.
fn safe(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    id.chars().map(plain).take(80).collect()
}

/// A label as it is written: a class name, the number that the name is, or shares by name.
enum Written<'a> {
    Name(&'a str),
    Number(i64),
    Shares(Vec<(&'a str, f32)>),
}

impl<'a> Written<'a> {
    fn of(sample: &'a Sample, classes: &'a Classes) -> Result<Option<Self>> {
        let label = sample.label.as_ref().map(|label| Self::new(label, classes)).transpose();
        label.map_err(|error| error.at("sample", &sample.id))
    }

    fn new(label: &Label, classes: &'a Classes) -> Result<Self> {
        let name = |class: usize| {
            let name = classes.names().get(class).map(String::as_str);
            name.ok_or_else(|| Error::internal(format!("the label is class {class} of {}", classes.len())))
        };
        match label {
            Label::Class(class) => {
                let name = name(*class)?;
                let number = name.parse::<i64>().ok().filter(|number| number.to_string() == name);
                Ok(number.map_or(Self::Name(name), Self::Number))
            }
            Label::Soft(shares) => {
                let some = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
                some.map(|(class, share)| Ok((name(class)?, *share))).collect::<Result<_>>().map(Self::Shares)
            }
        }
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Shares(shares) => serializer.collect_map(shares.iter().copied()),
        }
    }
}

/// One line of the manifest. Its fields are those that the `manifest` reader reads, then the origin, then the parent's other fields.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a SampleId,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Written<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    boxes: &'a [BoundingBox],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    keypoints: &'a [Keypoint],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    masks: &'a [Mask],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    events: &'a [Event],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    words: &'a [WordTime],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    spans: &'a [TextSpan],
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a SampleId>,
    operator: &'a str,
    round: usize,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Names that a field of the parent may not take in the child's line.
const OWN: [&str; 14] =
    ["id", "image", "audio", "text", "label", "boxes", "keypoints", "masks", "events", "words", "spans", "parent", "operator", "round"];

impl<'a> Line<'a> {
    fn new(sample: &'a Sample, image: Option<&'a str>, audio: Option<&'a str>, label: Option<Written<'a>>, lineage: &'a Lineage) -> Self {
        let text = sample.text.as_ref().map(Media::get);
        let marks = &sample.annotations;
        // What describes a medium goes with it.
        fn with<T>(there: bool, list: &[T]) -> &[T] {
            if there { list } else { &[] }
        }
        Self {
            id: &sample.id,
            image,
            audio,
            text: text.map(|text| text.content.as_str()),
            label,
            boxes: with(image.is_some(), &marks.boxes),
            keypoints: with(image.is_some(), &marks.keypoints),
            masks: with(image.is_some(), &marks.masks),
            events: with(audio.is_some(), &marks.events),
            words: with(audio.is_some() && text.is_some(), &marks.words),
            spans: text.map_or(&[], |text| &text.spans),
            parent: lineage.parents.first().map(|parent| &parent.id),
            operator: &lineage.operator,
            round: lineage.round,
            rest: sample.fields.iter().filter(|(key, _)| !OWN.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec,
        feed::tests::{accept, lineage},
        sample::{Annotations, AudioBuffer, ImageBuffer, Text},
    };
    use serde_json::json;

    fn sample(id: &str, value: u8) -> Sample {
        let mut sample = Sample::new(id);
        sample.image = Some(Media::new(ImageBuffer::filled(4, 3, 1, value).unwrap()));
        sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, vec![0.25; 800]).unwrap()));
        sample.text =
            Some(Media::new(Text { content: "five left".into(), spans: vec![TextSpan { start: 0, end: 4, tag: "protected".into() }] }));
        sample.label = Some(Label::Class(1));
        sample.annotations = Annotations {
            boxes: vec![BoundingBox { x: 0.1, y: 0.0, width: 2.0, height: 2.0, label: "five".into() }],
            keypoints: vec![Keypoint { x: 1.5, y: 2.0, label: "end".into() }],
            masks: vec![Mask { outline: vec![[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], label: "five".into() }],
            events: vec![Event { start_s: 0.0, end_s: 0.05, label: "voice".into() }],
            words: vec![WordTime { start: 0, end: 4, start_s: 0.0, end_s: 0.05 }],
        }
        .into();
        sample.fields = json!({ "speaker": "x", "parent": "grandparent" }).as_object().unwrap().clone().into();
        codec::settle(sample).unwrap()
    }

    fn feed(folder: &Path, samples: &[Sample]) -> Result<Receipt> {
        let classes = Classes::from_names(["3", "5", "seven"].map(String::from));
        let mut sink = Manifest { path: "generated".into() }.open(&FeedContext { folder, classes: &classes })?;
        for sample in samples {
            sink.take(&accept(sample.clone(), lineage(sample.id.as_str(), "p")))?;
        }
        assert!(!folder.join("generated").join(LINES).exists() || folder.join("generated").join(LINEAGE).exists());
        sink.finish()
    }

    #[test]
    fn the_data_set_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut mixed = sample("p~mix.r1.0", 7).only([Modality::Audio, Modality::Text].into_iter().collect());
        mixed.label = Some(Label::Soft([0.3, 0.7, 0.0].into()));
        let samples = [sample("p~pgd/1.r1.0", 7), sample("ö..\u{1}", 7), sample("p~pgd.r2.0", 8), mixed];
        let receipt = feed(folder.path(), &samples).unwrap();
        let root = folder.path().join("generated");
        let digest = samples[0].digest(Modality::Image).unwrap().short();
        assert_eq!(receipt.files[2], format!("generated/images/p_pgd_1_r1_0-{digest}.png"));
        // Two images, one clip.
        assert_eq!((receipt.taken, receipt.files.len()), (4, 5));
        for file in &receipt.files {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
        assert_eq!(fs::read(folder.path().join(&receipt.files[2])).unwrap(), samples[0].image.as_ref().unwrap().encoded().unwrap().bytes);
        let lines: Vec<Value> =
            fs::read_to_string(root.join(LINES)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["label"], &lines[0]["parent"], &lines[0]["operator"], &lines[0]["round"]),
            (&json!(5), &json!("p"), &json!("pgd"), &json!(2))
        );
        assert_eq!((&lines[0]["speaker"], &lines[0]["boxes"][0]["x"]), (&json!("x"), &json!(0.1)));
        assert_eq!(lines[0]["keypoints"], json!([{ "x": 1.5, "y": 2.0, "label": "end" }]));
        assert_eq!(lines[0]["masks"], json!([{ "outline": [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], "label": "five" }]));
        assert_eq!(lines[0]["spans"], json!([{ "start": 0, "end": 4, "tag": "protected" }]));
        assert_eq!((&lines[0]["image"], &lines[0]["audio"]), (&lines[1]["image"], &lines[3]["audio"]));
        assert_eq!(lines[3]["label"], json!({ "3": 0.3, "5": 0.7 }));
        assert!(lines[3].get("image").is_none() && lines[3].get("boxes").is_none());
        let first: Lineage = serde_json::from_str(fs::read_to_string(root.join(LINEAGE)).unwrap().lines().next().unwrap()).unwrap();
        assert_eq!(first.outputs, samples[0].digests());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_same_samples_give_the_same_bytes_again() {
        let samples = [sample("a", 1), sample("b", 2)];
        let read =
            |folder: &Path, receipt: &Receipt| receipt.files.iter().map(|file| fs::read(folder.join(file)).unwrap()).collect::<Vec<_>>();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = feed(one.path(), &samples).unwrap();
        let second = feed(two.path(), &samples).unwrap();
        assert_eq!(read(one.path(), &first), read(two.path(), &second));
        // A second run replaces the first; what it does not write is gone.
        let third = feed(one.path(), &samples[..1]).unwrap();
        assert_eq!((third.files.len(), first.files.iter().filter(|file| one.path().join(file).exists()).count()), (4, 4));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let twice = feed(folder.path(), &[sample("a", 1), sample("a", 1)]).unwrap_err();
        assert_eq!(twice.to_string(), "sample a: the id stands twice, first in line 1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut raw = sample("a", 1);
        raw.image = Some(Media::new(ImageBuffer::filled(4, 3, 1, 0).unwrap()));
        assert!(feed(folder.path(), &[raw]).unwrap_err().to_string().contains("`codec::settle`"));
        let mut strange = sample("a", 1);
        strange.label = Some(Label::Class(9));
        assert_eq!(feed(folder.path(), &[strange]).unwrap_err().to_string(), "sample a: the label is class 9 of 3");
        fs::create_dir_all(folder.path().join("generated")).unwrap();
        fs::write(folder.path().join("generated/thesis.txt"), "mine").unwrap();
        assert!(feed(folder.path(), &[]).unwrap_err().to_string().contains("name another `path`"));
        for path in ["", "..", "/x", "a/../b", "./a"] {
            let problems = Manifest { path: path.into() }.build(&super::super::table()).err().unwrap();
            assert_eq!(problems[0].to_string(), format!("path: expected a path inside the output folder, found `{path}`"));
        }
    }

    #[test]
    fn nothing_taken_is_an_empty_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let receipt = feed(folder.path(), &[]).unwrap();
        assert_eq!((receipt.taken, receipt.files.len()), (0, 2));
        assert_eq!(fs::read(folder.path().join("generated").join(LINES)).unwrap(), b"");
    }
}
