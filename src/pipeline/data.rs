use super::{DataPlan, Ledger, OnError};
use crate::{
    context::Fetch,
    error::{Error, Result},
    model::{DataProfile, Model, Recorded},
    operator::Built,
    progress::Progress,
    read::{Entry, LabelIndex, Reader, Source},
    sample::{Classes, Digest, Label, Modality, ModalitySet, PerModality, Sample, SampleId, TrainingHistory},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, mpsc},
};

/// Samples decoded ahead of the consumer, in batches; bounds the memory of a pass.
const BATCHES_AHEAD: usize = 2;

/// One split of the data: entries, labels and digests in memory, media read when they are needed.
pub struct Split {
    source: Box<dyn Source>,
    /// Usable entries of the source, in order.
    usable: Vec<usize>,
    labels: Vec<Option<Label>>,
    digests: Vec<PerModality<Option<Digest>>>,
    groups: Vec<usize>,
    by_id: HashMap<SampleId, usize>,
    classes: Classes,
    profile: DataProfile,
    ledger: Mutex<Ledger>,
}

/// How a split is opened.
pub struct Opening<'a> {
    /// Name for messages: `train`, `validation`, `test`.
    pub name: &'a str,
    /// The classes of the training split; `None` when this is the training split.
    pub classes: Option<&'a Classes>,
    /// The data section.
    pub plan: &'a DataPlan,
}

impl Split {
    /// Opens a split and reads every medium once: what cannot be decoded is left out under the policy before anything
    /// is trained, samples that share a medium are grouped, and the model learns sizes and rates.
    pub fn open(reader: &Built<dyn Reader>, opening: &Opening<'_>, progress: &dyn Progress) -> Result<Self> {
        let source = reader.operator.open(&opening.plan.base).map_err(|error| error.at("split", opening.name))?;
        Self::survey(source, opening, progress)
    }

    /// [`Split::open`] for an opened source.
    pub fn survey(source: Box<dyn Source>, opening: &Opening<'_>, progress: &dyn Progress) -> Result<Self> {
        let plan = opening.plan;
        let mut ledger = Ledger::new(opening.name, plan.on_error, plan.ceiling.get());
        let wanted = plan.limit.unwrap_or(usize::MAX).min(source.entries().len());
        // A line behind the last one in use is not read, and does not count.
        let last = if wanted < source.entries().len() { source.entries()[wanted.saturating_sub(1)].line } else { usize::MAX };
        let line = |problem: &Error| problem.place("line").and_then(|line| line.parse::<usize>().ok());
        let problems: Vec<&Error> = source.problems().iter().filter(|problem| line(problem).is_none_or(|line| line <= last)).collect();
        ledger.count(problems.len());
        for problem in problems {
            let name = problem.place("sample").map_or_else(|| format!("line {}", problem.place("line").unwrap_or("?")), str::to_owned);
            ledger.leave_out(None, &name, "read", problem)?;
        }
        ledger.count(wanted);
        let labels = match opening.classes {
            Some(classes) => LabelIndex::with(classes.clone()),
            None => match source.classes() {
                Some(classes) => LabelIndex::with(classes.clone()),
                None => LabelIndex::of(&source.entries()[..wanted]),
            },
        };
        let step = progress.begin(&format!("read {}", opening.name), wanted as u64);
        let mut split = Self {
            usable: Vec::with_capacity(wanted),
            labels: Vec::with_capacity(wanted),
            digests: Vec::with_capacity(wanted),
            groups: Vec::new(),
            by_id: HashMap::with_capacity(wanted),
            classes: labels.classes().clone(),
            profile: DataProfile::default(),
            ledger: Mutex::default(),
            source,
        };
        let mut survey = Survey::default();
        let mut unlabelled = Vec::new();
        let order: Vec<usize> = (0..wanted).collect();
        for_batches(split.source.as_ref(), &order, 256, |batch| {
            step.advance(batch.len() as u64);
            for (at, sample) in batch {
                let entry = &split.source.entries()[*at];
                let label = labels.resolve(entry);
                match (sample, label) {
                    (Ok(sample), Ok(label)) => {
                        survey.add(sample);
                        split.by_id.insert(entry.id.clone(), split.usable.len());
                        split.usable.push(*at);
                        split.labels.push(label);
                        split.digests.push(sample.digests());
                    }
                    (Err(error), _) => ledger.leave_out(None, entry.id.as_str(), "read", error)?,
                    (_, Err(error)) => unlabelled.push((entry.id.clone(), error)),
                }
            }
            Ok(())
        })?;
        for (id, error) in unlabelled {
            ledger.leave_out(None, id.as_str(), "read", &error)?;
        }
        ledger.check()?;
        split.ledger = Mutex::new(ledger);
        if split.usable.is_empty() {
            return Err(Error::policy(format!("no usable sample in {}", split.source.name())).at("split", opening.name));
        }
        split.profile = survey.profile(split.classes.clone());
        split.groups = split.group(plan.group_by.as_deref());
        Ok(split)
    }

    /// Usable samples.
    pub fn len(&self) -> usize {
        self.usable.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }
    /// What is known of sample `i` without its media.
    pub fn entry(&self, i: usize) -> &Entry {
        &self.source.entries()[self.usable[i]]
    }
    /// The label of sample `i`.
    pub fn label(&self, i: usize) -> Option<&Label> {
        self.labels[i].as_ref()
    }
    /// Digests of the media of sample `i`.
    pub fn digests(&self, i: usize) -> &PerModality<Option<Digest>> {
        &self.digests[i]
    }
    /// Group of sample `i`: samples that share an image, a clip or a `group_by` value have the same.
    pub fn group_of(&self, i: usize) -> usize {
        self.groups[i]
    }
    /// Index of an id.
    pub fn index(&self, id: &SampleId) -> Option<usize> {
        self.by_id.get(id).copied()
    }
    /// Class names.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }
    /// Recorded predictions, where the split has them in place of a model.
    pub fn recorded(&self) -> Option<&Arc<Recorded>> {
        self.source.recorded()
    }
    /// Recorded predictions of a second model that never trained on the samples.
    pub fn teacher(&self) -> Option<&Arc<Recorded>> {
        self.source.teacher()
    }
    /// Recorded training dynamics.
    pub fn history(&self) -> Option<&Arc<TrainingHistory>> {
        self.source.history()
    }
    /// What a model needs to know.
    pub fn profile(&self) -> &DataProfile {
        &self.profile
    }
    /// The count of all samples, as of now.
    pub fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
    /// Leaves a sample out later, when a stage cannot use it; a sample is counted once, however often it fails.
    pub fn leave_out(&self, policy: Option<OnError>, id: &SampleId, at: &str, error: &Error) -> Result<()> {
        let mut ledger = self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        ledger.leave_out(policy, id.as_str(), at, error)?;
        ledger.check()
    }

    /// Reads sample `i` with its label.
    pub fn sample(&self, i: usize) -> Result<Sample> {
        let mut sample = self.source.fetch(self.usable[i]).map_err(|error| error.at("sample", &self.entry(i).id))?;
        sample.label = self.labels[i].clone();
        Ok(sample)
    }

    /// Reads the samples of `order` in batches of `batch`, decoding ahead, and gives each batch to `consume` in order.
    pub fn stream(&self, order: &[usize], batch: usize, mut consume: impl FnMut(&[(usize, Sample)]) -> Result<()>) -> Result<()> {
        let entries: Vec<usize> = order.iter().map(|&i| self.usable[i]).collect();
        let mut done = 0;
        for_batches(self.source.as_ref(), &entries, batch, |read| {
            let mut samples = Vec::with_capacity(read.len());
            for (k, (_, sample)) in read.iter_mut().enumerate() {
                let i = order[done + k];
                // Every medium was decoded once by the survey: a failure now means the file changed under the run.
                let empty = Err(Error::internal("a sample was taken twice"));
                let mut sample = std::mem::replace(sample, empty).map_err(|error| error.at("sample", &self.entry(i).id))?;
                sample.label = self.labels[i].clone();
                samples.push((i, sample));
            }
            done += read.len();
            consume(&samples)
        })
    }

    /// Groups by union of equal image digests, equal audio digests and equal `group_by` values. Captions repeat by nature and
    /// do not group.
    fn group(&self, field: Option<&str>) -> Vec<usize> {
        let mut union = Union::new(self.len());
        let mut seen: HashMap<(Option<Modality>, String), usize> = HashMap::new();
        for i in 0..self.len() {
            let media = [Modality::Image, Modality::Audio].map(|m| self.digests[i][m].map(|digest| (Some(m), digest.to_string())));
            // Samples that do not say have nothing in common.
            let value = field.and_then(|field| self.entry(i).fields.get(field)).filter(|value| !value.is_null());
            let value = value.map(|value| (None, value.to_string()));
            for key in media.into_iter().flatten().chain(value) {
                match seen.get(&key) {
                    Some(&other) => union.join(i, other),
                    None => {
                        seen.insert(key, i);
                    }
                }
            }
        }
        (0..self.len()).map(|i| union.root(i)).collect()
    }

    /// Media (images and clips) that stand in both splits: modality, number of shared digests, and a few pairs of ids.
    pub fn shared_with(&self, other: &Self) -> Vec<(Modality, usize, Vec<[SampleId; 2]>)> {
        let one = |m: Modality| {
            let mut own: HashMap<Digest, usize> = HashMap::new();
            for (i, digests) in self.digests.iter().enumerate() {
                if let Some(digest) = digests[m] {
                    own.entry(digest).or_insert(i);
                }
            }
            let mut shared: HashSet<Digest> = HashSet::new();
            let mut examples = Vec::new();
            for (j, digests) in other.digests.iter().enumerate() {
                let Some((digest, i)) = digests[m].and_then(|digest| own.get(&digest).map(|i| (digest, *i))) else { continue };
                if shared.insert(digest) && examples.len() < 3 {
                    examples.push([self.entry(i).id.clone(), other.entry(j).id.clone()]);
                }
            }
            (m, shared.len(), examples)
        };
        [Modality::Image, Modality::Audio].into_iter().map(one).filter(|(_, n, _)| *n > 0).collect()
    }

    /// Assigns groups to `folds` folds, balanced by class: the groups in an order that only their content decides, each to the
    /// fold with the fewest samples of its classes, then the fewest samples.
    pub fn folds(&self, folds: usize) -> Result<Vec<usize>> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, group) in self.groups.iter().enumerate() {
            members.entry(*group).or_default().push(i);
        }
        if members.len() < folds {
            let message = format!(
                "{folds} folds need at least {folds} groups of samples, found {} (samples that share a medium or a group_by value stay together)",
                members.len()
            );
            return Err(Error::policy(message));
        }
        let mut groups: Vec<(usize, Digest, Vec<usize>)> =
            members.into_values().map(|of| (of.len(), Digest::of(self.entry(of[0]).id.as_str().as_bytes()), of)).collect();
        groups.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut counts = vec![vec![0usize; self.classes.len().max(1)]; folds];
        let mut totals = vec![0usize; folds];
        let mut fold_of = vec![0; self.len()];
        for (size, _, of) in groups {
            let load =
                |fold: usize| of.iter().filter_map(|&i| self.labels[i].as_ref()).map(|label| counts[fold][label.class()]).sum::<usize>();
            let best = (0..folds).min_by_key(|&fold| (load(fold), totals[fold], fold)).unwrap_or(0);
            totals[best] += size;
            for &i in &of {
                fold_of[i] = best;
                if let Some(label) = &self.labels[i] {
                    counts[best][label.class()] += 1;
                }
            }
        }
        Ok(fold_of)
    }
}

impl Fetch for Split {
    fn fetch(&self, id: &SampleId) -> Result<Sample> {
        let i = self.index(id).ok_or_else(|| Error::usage("no such sample in the training split").at("sample", id))?;
        self.sample(i)
    }
}

/// Opens all splits of a data section; validation and test get the classes of train.
pub fn open_splits(plan: &DataPlan, progress: &dyn Progress) -> Result<(Split, Option<Split>, Option<Split>)> {
    let train = Split::open(&plan.train, &Opening { name: "train", classes: None, plan }, progress)?;
    LabelIndex::with(train.classes.clone()).require_two().map_err(|error| Error::policy(error.message()).at("split", "train"))?;
    let open = |reader: &Option<Built<dyn Reader>>, name| {
        let opening = Opening { name, classes: Some(&train.classes), plan };
        reader.as_ref().map(|reader| Split::open(reader, &opening, progress)).transpose()
    };
    let (validation, test) = (open(&plan.validation, "validation")?, open(&plan.test, "test")?);
    if let Some(recorded) = validation.as_ref().and_then(Split::recorded)
        && recorded.spec().classes != train.classes
    {
        let (own, other) = (recorded.spec().classes.names().join(", "), train.classes.names().join(", "));
        let told = format!("its predictions are of the classes [{own}], those of train of [{other}]; expected the same, in the same order");
        return Err(Error::data(told).at("split", "validation"));
    }
    Ok((train, validation, test))
}

/// Opens one more labelled split by the classes of `train` (a further test set).
pub fn open_extra(reader: &Built<dyn Reader>, name: &str, classes: &Classes, plan: &DataPlan, progress: &dyn Progress) -> Result<Split> {
    Split::open(reader, &Opening { name, classes: Some(classes), plan }, progress)
}

/// Reads entries in order on a thread of its own and hands over batches; the channel bounds what is decoded ahead.
fn for_batches(
    source: &dyn Source,
    order: &[usize],
    batch: usize,
    mut consume: impl FnMut(&mut [(usize, Result<Sample>)]) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Vec<(usize, Result<Sample>)>>(BATCHES_AHEAD);
        scope.spawn(move || {
            for part in order.chunks(batch.max(1)) {
                if send.send(part.iter().map(|&at| (at, source.fetch(at))).collect()).is_err() {
                    return; // The consumer ended with an error.
                }
            }
        });
        let result = receive.iter().try_for_each(|mut batch| consume(&mut batch));
        drop(receive);
        result
    })
}

/// What the survey learns of sizes and rates: counts of distinct values, not media.
#[derive(Default)]
struct Survey {
    modalities: ModalitySet,
    images: BTreeMap<(usize, usize, usize), usize>,
    rates: BTreeMap<u32, usize>,
    seconds: Vec<f32>,
    characters: Vec<u32>,
}

impl Survey {
    fn add(&mut self, sample: &Sample) {
        self.modalities = self.modalities.or(sample.present());
        if let Some(image) = sample.image.as_ref().map(|media| media.get()) {
            *self.images.entry((image.width(), image.height(), image.channels())).or_default() += 1;
        }
        if let Some(audio) = sample.audio.as_ref().map(|media| media.get()) {
            *self.rates.entry(audio.sample_rate_hz()).or_default() += 1;
            self.seconds.push(audio.seconds() as f32);
        }
        if let Some(text) = sample.text.as_ref().map(|media| media.get()) {
            self.characters.push(text.content.chars().count() as u32);
        }
    }

    fn profile(mut self, classes: Classes) -> DataProfile {
        // The most common value, the smallest among equals.
        fn most<K: Copy + Ord>(counts: &BTreeMap<K, usize>) -> Option<K> {
            counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(key, _)| *key)
        }
        self.seconds.sort_by(f32::total_cmp);
        self.characters.sort_unstable();
        let at = |n: usize, q: f64| (((n - 1) as f64) * q).ceil() as usize;
        let seconds = (!self.seconds.is_empty()).then(|| f64::from(self.seconds[at(self.seconds.len(), 0.95)]));
        let text = (!self.characters.is_empty()).then(|| self.characters[at(self.characters.len(), 0.99)] as usize);
        DataProfile { classes, modalities: self.modalities, image: most(&self.images), audio: most(&self.rates).zip(seconds), text }
    }
}

/// Union by least index.
struct Union(Vec<usize>);

impl Union {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }
    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        self.0[high] = low;
    }
}
