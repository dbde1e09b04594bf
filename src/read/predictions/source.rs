use super::{
    Predictions,
    gather::{Gather, Gathered, Whole},
    record::{self, Key, What},
    tables::{Arrays, of_csv},
};
use crate::{
    codec::{limits::MAX_FILE_BYTES, npy},
    error::{Error, ErrorKind, Result},
    model::Recorded,
    read::{Entry, ManifestSource, Measured, Source, WrittenLabel, manifest::read_block},
    sample::{Classes, ModalitySet, Probe, ProbeRun, Sample, SampleId, TrainingHistory},
};
use rayon::prelude::*;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lines,
    Csv,
    Tsv,
    Npy,
    Ids,
}

impl Kind {
    /// By the ending of its name.
    pub fn of(file: &str) -> Result<Self, String> {
        let ending = Path::new(file).extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("jsonl" | "json" | "ndjson") => Ok(Self::Lines),
            Some("csv") => Ok(Self::Csv),
            Some("tsv") => Ok(Self::Tsv),
            Some("npy") => Ok(Self::Npy),
            Some("txt") if stem(file).ends_with("ids") => Ok(Self::Ids),
            _ => Err(format!("expected a file of predictions (.jsonl, .csv, .tsv, .npy, or ids.txt), found `{file}`")),
        }
    }
    pub fn is_array(self) -> bool {
        matches!(self, Self::Npy | Self::Ids)
    }
}

fn stem(file: &str) -> String {
    Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Opened predictions.
pub struct PredictionsSource {
    name: String,
    entries: Vec<Entry>,
    problems: Vec<Error>,
    classes: Classes,
    recorded: Arc<Recorded>,
    /// Of a second model that never trained on the samples.
    teacher: Option<Arc<Recorded>>,
    history: Option<Arc<TrainingHistory>>,
    /// The manifest, and the place in it of each entry.
    joined: Option<(ManifestSource, Vec<Option<usize>>)>,
}

impl PredictionsSource {
    /// Reads all files. Errors: a file cannot be read, holds no prediction, or does not go with the others.
    pub fn open(config: &Predictions, base: &Path) -> Result<Self> {
        let joined = config.manifest.as_ref().map(|path| ManifestSource::open(path, base)).transpose()?;
        let (name, whole, mut problems) = gathered(&config.files, config.classes.as_deref(), base, joined.as_ref())?;
        let labels: HashMap<&str, &str> = joined.iter().flat_map(|manifest| manifest.entries()).filter_map(named).collect();
        let own: HashMap<&str, &str> = whole.samples.iter().filter_map(of_gathered).collect();
        let mut runs = Vec::with_capacity(config.probes.len());
        for file in &config.probes {
            let path = base.join(file);
            let classes = config.classes.as_deref();
            let label = |id: &str| own.get(id).or_else(|| labels.get(id)).map(|label| (*label).to_owned());
            let run = probe_run(&path, Kind::of(file).map_err(Error::usage)?, classes, whole.classes.len(), label, &mut problems);
            runs.push(run.map_err(|error| error.at("file", path.display()))?);
        }
        drop((own, labels));
        let probe = (!runs.is_empty()).then_some(Probe { runs });
        let mut source = Self::join(name, whole, probe, problems, joined)?;
        if let Some(files) = &config.teacher {
            let (name, whole, problems) = gathered(files, config.classes.as_deref(), base, None)?;
            source.problems.extend(problems);
            source.teacher = Some(Arc::new(source.second(&name, whole).map_err(|error| error.at("file", name))?));
        }
        Ok(source)
    }

    /// The predictions of a second model for the same samples.
    fn second(&self, name: &str, whole: Whole) -> Result<Recorded> {
        let Whole { samples, mut present, classes, answers, .. } = whole;
        if classes != self.classes {
            let (own, other) = (self.classes.len(), classes.len());
            return Err(Error::data(format!("the teacher has {other} classes and {} has {own}; expected the same", self.name)));
        }
        let mut shared = 0;
        for (sample, present) in samples.iter().zip(&mut present) {
            // What the whole sample is, the first files know better.
            if let Some(own) = self.recorded.present(&sample.id) {
                (shared, *present) = (shared + 1, own);
            }
        }
        if shared == 0 {
            let (own, other) = (&self.entries, &samples[0].id);
            let told = own.first().map_or_else(String::new, |own| format!(" (`{other}` in {name}, `{}` in {})", own.id, self.name));
            return Err(Error::data(format!("no sample of the teacher's is one of the others{told}; both are joined by `id`")));
        }
        Recorded::new(samples.into_iter().map(|sample| sample.id), present, classes, answers)
    }

    fn join(name: String, whole: Whole, probe: Option<Probe>, mut problems: Vec<Error>, manifest: Option<ManifestSource>) -> Result<Self> {
        let Whole { samples, mut present, classes, answers, history } = whole;
        let places: Option<HashMap<&SampleId, usize>> =
            manifest.as_ref().map(|manifest| manifest.entries().iter().enumerate().map(|(i, entry)| (&entry.id, i)).collect());
        let mut entries = Vec::with_capacity(samples.len());
        let mut of_manifest = Vec::with_capacity(samples.len());
        for (row, sample) in samples.iter().enumerate() {
            let place = places.as_ref().and_then(|places| places.get(&sample.id).copied());
            let known = place.zip(manifest.as_ref()).map(|(place, manifest)| &manifest.entries()[place]);
            if places.is_some() && known.is_none() {
                let told = "the manifest has no sample of this id; its label, fields and media are unknown";
                problems.push(Error::data(told).at("sample", &sample.id).at("line", sample.line).at("file", &name));
                continue;
            }
            if let Some(known) = known {
                present[row] = known.present;
            }
            let label = sample.label.clone().or_else(|| known.and_then(|known| known.label.clone()));
            entries.push(Entry {
                id: sample.id.clone(),
                label,
                present: present[row],
                media: known.map_or_else(Vec::new, |known| known.media.clone()),
                fields: if sample.fields.is_empty() {
                    known.map_or_else(|| sample.fields.clone(), |known| known.fields.clone())
                } else {
                    sample.fields.clone()
                },
                line: sample.line,
            });
            of_manifest.push(place);
        }
        let history = (history.is_some() || probe.is_some()).then(|| {
            let rows = samples.iter().zip(history.into_iter().flatten()).filter(|(_, row)| row.count > 0);
            Arc::new(TrainingHistory { rows: rows.map(|(sample, row)| (sample.id.clone(), row)).collect(), probe })
        });
        let recorded = Recorded::new(samples.into_iter().map(|sample| sample.id), present, classes.clone(), answers)?;
        let joined = manifest.map(|manifest| (manifest, of_manifest));
        Ok(Self { name, entries, problems, classes, recorded: Arc::new(recorded), teacher: None, history, joined })
    }
}

/// All predictions of some files, and the lines that cannot be used; named by the first file.
fn gathered(
    files: &[String],
    classes: Option<&[String]>,
    base: &Path,
    manifest: Option<&ManifestSource>,
) -> Result<(String, Whole, Vec<Error>)> {
    let labels: HashMap<&str, &str> = manifest.into_iter().flat_map(|manifest| manifest.entries()).filter_map(named).collect();
    // The training dynamics need the label while they are read.
    let labelled = |mut record: record::Record| {
        if record.label.is_none() {
            record.label = record.id.as_deref().and_then(|id| labels.get(id)).map(|label| (*label).to_owned());
        }
        record
    };
    let mut gather = Gather::new(classes);
    let mut problems = Vec::new();
    let mut arrays = Arrays::default();
    let mut has_arrays = false;
    for file in files {
        let path = base.join(file);
        let at_file = |error: Error| error.at("file", path.display());
        match Kind::of(file).map_err(Error::usage)? {
            kind @ (Kind::Lines | Kind::Csv | Kind::Tsv) => take_lines(&path, kind, &mut gather, &labelled, &mut problems)?,
            Kind::Npy => {
                has_arrays = true;
                arrays.add(&stem(file), &whole(&path)?).map_err(at_file)?;
            }
            Kind::Ids => {
                has_arrays = true;
                let text = String::from_utf8(whole(&path)?).map_err(|_| at_file(Error::data("ids that are not UTF-8")))?;
                arrays.add_ids(&text).map_err(at_file)?;
            }
        }
    }
    let name = files.first().map(|file| base.join(file).display().to_string()).unwrap_or_default();
    if has_arrays {
        arrays
            .records(|row, record| {
                if let Err(error) = record.and_then(|record| gather.admit(labelled(record), row)) {
                    problems.push(error.at("line", row).at("file", &name));
                }
            })
            .map_err(|error| error.at("file", &name))?;
    }
    if gather.len() == 0 {
        return Err(match problems.into_iter().next() {
            Some(first) => first,
            None => Error::data("no prediction; expected such as {\"id\": \"a\", \"label\": 3, \"logits\": [...]} a line").at("file", name),
        });
    }
    Ok((name, gather.finish(), problems))
}

impl Source for PredictionsSource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn problems(&self) -> &[Error] {
        &self.problems
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        let entry = self.entries.get(index).ok_or_else(|| Error::internal(format!("prediction number {index} was asked for")))?;
        let mut sample = match self.joined.as_ref().and_then(|(manifest, places)| Some((manifest, (*places.get(index)?)?))) {
            Some((manifest, place)) => manifest.fetch(place)?,
            None => Sample::new(entry.id.clone()),
        };
        sample.fields = entry.fields.clone();
        Ok(sample)
    }
    fn measure(&self, index: usize) -> Result<Measured> {
        match self.joined.as_ref().and_then(|(manifest, places)| Some((manifest, (*places.get(index)?)?))) {
            Some((manifest, place)) => manifest.measure(place),
            None => Ok(Measured::default()),
        }
    }
    fn classes(&self) -> Option<&Classes> {
        Some(&self.classes)
    }
    fn recorded(&self) -> Option<&Arc<Recorded>> {
        Some(&self.recorded)
    }
    fn teacher(&self) -> Option<&Arc<Recorded>> {
        self.teacher.as_ref()
    }
    fn history(&self) -> Option<&Arc<TrainingHistory>> {
        self.history.as_ref()
    }
}

/// The id and the class name of an entry that has one.
fn named(entry: &Entry) -> Option<(&str, &str)> {
    match &entry.label {
        Some(WrittenLabel::Name(name)) => Some((entry.id.as_str(), name)),
        _ => None,
    }
}

/// The same of what was gathered.
fn of_gathered(sample: &Gathered) -> Option<(&str, &str)> {
    match &sample.label {
        Some(WrittenLabel::Name(name)) => Some((sample.id.as_str(), name)),
        _ => None,
    }
}

/// Adds the lines of a file; what cannot be used goes to the problems.
fn take_lines(
    path: &Path,
    kind: Kind,
    gather: &mut Gather,
    labelled: &impl Fn(record::Record) -> record::Record,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let mut take = |line: usize, record: Result<record::Record>| {
        if let Err(error) = record.and_then(|record| gather.admit(labelled(record), line)) {
            problems.push(error.at("line", line).at("file", path.display()));
        }
    };
    let at_file = |error: Error| error.at("file", path.display());
    match kind {
        Kind::Csv => of_csv(open(path)?, b',', take).map_err(at_file),
        Kind::Tsv => of_csv(open(path)?, b'\t', take).map_err(at_file),
        _ => of_lines(path, &mut take),
    }
}

/// Name of the class that threshold samples are given, where the classes have names.
const THRESHOLD: &str = "~threshold";

/// One probe run: a model with a class more than the `wanted` ones of the data. A line without a label has the `label` of its id.
fn probe_run(
    path: &Path,
    kind: Kind,
    classes: Option<&[String]>,
    wanted: usize,
    label: impl Fn(&str) -> Option<String>,
    problems: &mut Vec<Error>,
) -> Result<ProbeRun> {
    let names: Option<Vec<String>> = classes.map(|names| names.iter().cloned().chain([THRESHOLD.to_owned()]).collect());
    let mut gather = Gather::new(names.as_deref());
    let labelled = |mut record: record::Record| {
        if record.label.is_none() {
            record.label = record.id.as_deref().and_then(&label);
        }
        record
    };
    take_lines(path, kind, &mut gather, &labelled, problems)?;
    let Whole { samples, classes, history, .. } = gather.finish();
    if !samples.is_empty() && classes.len() != wanted + 1 {
        return Err(Error::data(format!("a probe run has logits of a class more than the data, {}; found {}", wanted + 1, classes.len())));
    }
    let threshold = classes.index(THRESHOLD).unwrap_or(wanted);
    let rows = samples.into_iter().zip(history.into_iter().flatten());
    let run = ProbeRun::new(rows.filter_map(|(sample, row)| Some((sample.id, row.aum()?, sample.class == Some(threshold)))));
    if run.is_usable() {
        return Ok(run);
    }
    let name = if names.is_some() { THRESHOLD.to_owned() } else { wanted.to_string() };
    Err(Error::data(format!(
        "a probe run needs threshold samples (label {name}) and others, with `epoch`, `label` and `logits`; one of the two is missing"
    )))
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Io, "the file of predictions does not exist").at("file", path.display()).because(error)
        }
        _ => Error::io(path, error),
    })?;
    Ok(BufReader::with_capacity(1 << 18, file))
}

fn whole(path: &PathBuf) -> Result<Vec<u8>> {
    let length = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
    if length > MAX_FILE_BYTES {
        return Err(Error::data(format!("the file has {length} bytes; at most {MAX_FILE_BYTES} are read")).at("file", path.display()));
    }
    std::fs::read(path).map_err(|error| Error::io(path, error))
}

/// JSON lines, parsed in parallel a block at a time and given out in order.
fn of_lines(path: &Path, take: &mut impl FnMut(usize, Result<record::Record>)) -> Result<()> {
    let mut input = open(path)?;
    let mut lines = 0;
    loop {
        let block = read_block(&mut input, &mut lines).map_err(|error| Error::io(path, error))?;
        if block.is_empty() {
            return Ok(());
        }
        let parsed: Vec<(usize, Result<record::Record>)> =
            block.into_par_iter().map(|(line, bytes)| (line, bytes.and_then(|bytes| record::of_json(&bytes)))).collect();
        parsed.into_iter().for_each(|(line, record)| take(line, record));
    }
}

/// What predictions hold, as far as their first lines, headers and names tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Logits or probabilities from some of the modalities.
    pub subsets: bool,
    /// An embedding of all modalities together.
    pub fused: bool,
    /// The modalities with an embedding of their own.
    pub embeddings: ModalitySet,
    /// Epochs.
    pub epochs: bool,
    /// Predictions of the members of an ensemble.
    pub members: bool,
}

/// Looks at the beginning of each file alone.
pub fn peek(files: &[String], base: &Path) -> Result<Held> {
    let mut keys = BTreeSet::new();
    let mut held = Held::default();
    for file in files {
        let path = base.join(file);
        match Kind::of(file).map_err(Error::usage)? {
            Kind::Lines => {
                let mut lines = 0;
                let first = read_block(&mut open(&path)?.take(1 << 24), &mut lines).map_err(|error| Error::io(&path, error))?;
                // A broken line is told when all are read.
                for record in first.into_iter().filter_map(|(_, bytes)| record::of_json(&bytes.ok()?).ok()) {
                    held.epochs |= record.epoch.is_some();
                    held.members |= record.member.is_some() || !record.members.is_empty();
                    keys.extend(record.lists.into_iter().map(|(key, _)| key));
                }
            }
            kind @ (Kind::Csv | Kind::Tsv) => {
                let mut header = String::new();
                open(&path)?.take(1 << 24).read_line(&mut header).map_err(|error| Error::io(&path, error))?;
                let names = header.trim().split(if kind == Kind::Csv { ',' } else { '\t' }).map(|name| name.trim().trim_matches('"'));
                for name in names {
                    held.epochs |= name == "epoch";
                    held.members |= name == "member";
                    keys.extend(name.rsplit_once('_').and_then(|(stem, _)| Key::of(stem)));
                }
            }
            Kind::Npy => {
                let mut bytes = Vec::new();
                open(&path)?.take(1 << 16).read_to_end(&mut bytes).map_err(|error| Error::io(&path, error))?;
                let shape = npy::shape(&bytes).map_err(|error| error.at("file", path.display()))?;
                if Key::of_members(&stem(file)).is_some() {
                    held.members = true;
                    continue;
                }
                let key = Key::of_stem(&stem(file));
                held.epochs |= shape.len() == 3 && key.is_some_and(|key| key.of.is_none());
                keys.extend(key);
            }
            Kind::Ids => {}
        }
    }
    held.subsets = keys.iter().any(|key| key.of.is_some() && key.what != What::Embedding);
    held.fused = keys.contains(&Key { of: None, what: What::Embedding });
    held.embeddings = keys.iter().filter(|key| key.what == What::Embedding).filter_map(|key| key.modalities()?.iter().next()).collect();
    Ok(held)
}
