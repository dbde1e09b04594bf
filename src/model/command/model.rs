//! A running program as a [`Model`].

use super::{
    Command,
    frame::{Answer, Frame, put},
    process::{Process, Question},
};
use crate::{
    error::{Error, Result},
    model::{
        DataProfile, EmbeddedText, Gradients, Input, Matrix, Model, ModelSpec, OfRow, Outputs, check_shift,
        parameters::Parameters,
        preprocess::{AudioMap, Canonical, ImageMap},
    },
    sample::{Classes, Digest, Modality, ModalitySet, PerModality},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The version of the protocol.
const PROTOCOL: u64 = 1;
/// Bytes of an answer beside its numbers.
const WORDS: u64 = 1 << 20;
/// Most bytes of the first answers, whose sizes are not known.
const FIRST: u64 = 1 << 28;
/// Most numbers of an embedded text.
const MAX_TEXT: u64 = 1 << 24;

/// All that the answers depend on: what the digest covers and what is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Settled {
    run: Vec<String>,
    /// Files that the command names, with the digests of their bytes.
    files: Vec<(String, Digest)>,
    /// Columns, rows, channels.
    image: Option<(usize, usize, usize)>,
    /// Rate in Hz and length in samples.
    audio: Option<(u32, usize)>,
    text: bool,
    /// The classes of the data.
    classes: Classes,
    /// The program's classes in the order of its logits; empty: those of the data.
    names: Vec<String>,
    gradients: ModalitySet,
    embeddings: ModalitySet,
    #[serde(default, skip_serializing_if = "none")]
    embedding_gradients: ModalitySet,
    fused: bool,
    micro_batch: usize,
}

/// A model that is another program. It ends when this is dropped.
#[derive(Debug)]
pub struct CommandModel {
    /// Locked for a question and its answer, and for a `forward` with its `backward`. Nothing runs on rayon's threads meanwhile: a thread that waits there may take up
    /// other work that asks this model.
    process: Mutex<Process>,
    asked: AtomicU64,
    settled: Settled,
    canonical: Canonical,
    spec: ModelSpec,
    /// For each class of the data its column among the program's logits.
    columns: Vec<usize>,
    /// The program's logits.
    logits: usize,
    /// Numbers of each embedding.
    sizes: PerModality<Option<usize>>,
    fused: Option<usize>,
    /// Positions, and numbers of one.
    text: Option<(usize, usize)>,
}

/// The digest of a command that gives none stays what it was.
fn none(set: &ModalitySet) -> bool {
    set.is_empty()
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
    read.map_err(|e| Error::io(path, e))?;
    Ok(Digest::finish(&hasher))
}

/// The files that a command names, with their digests.
fn files(config: &Command, base: &Path) -> Result<Vec<(String, Digest)>> {
    let mut found = Vec::new();
    for part in config.run.iter().enumerate().filter(|(i, part)| *i > 0 || Path::new(part).components().count() > 1).map(|(_, part)| part) {
        let path = base.join(part);
        if path.is_file() {
            found.push((part.clone(), digest_of(&path)?));
        }
    }
    for file in &config.files {
        found.push((file.display().to_string(), digest_of(&base.join(file))?));
    }
    Ok(found)
}

impl Settled {
    fn new(config: &Command, base: &Path, profile: &DataProfile) -> Result<Self> {
        let unknown = |what: &str, field: &str| Error::model(format!("the data has no {what} to go by; write `inputs.{field}`"));
        let image = match &config.inputs.image {
            None => None,
            Some(image) => {
                let common = profile.image;
                let size = image.size.or(common.map(|(w, h, _)| (w, h)));
                let (w, h) = size.ok_or_else(|| unknown("image", "image.size"))?;
                Some((w, h, image.channels.unwrap_or_else(|| common.map_or(3, |(_, _, c)| if c == 1 { 1 } else { 3 }))))
            }
        };
        let audio = match &config.inputs.audio {
            None => None,
            Some(audio) => {
                let rate = audio.sample_rate_hz.or(profile.audio.map(|(rate, _)| rate));
                let rate = rate.ok_or_else(|| unknown("audio", "audio.sample_rate_hz"))?;
                let common = profile.audio.map(|(_, seconds)| (seconds * f64::from(rate)).ceil().clamp(1.0, 1e7) as usize);
                Some((rate, audio.length.or(common).ok_or_else(|| unknown("audio", "audio.length"))?))
            }
        };
        Ok(Self {
            run: config.run.clone(),
            files: files(config, base)?,
            image,
            audio,
            text: config.inputs.text.is_some(),
            classes: profile.classes.clone(),
            names: config.classes.clone(),
            gradients: config.gradients.iter().copied().collect(),
            embeddings: config.embeddings.iter().copied().collect(),
            embedding_gradients: config.embedding_gradients.iter().copied().collect(),
            fused: config.fused,
            micro_batch: config.micro_batch,
        })
    }
    /// An error where sizes are out of range (a file may say anything).
    fn check(&self) -> Result<()> {
        let side = |n: usize| (1..=crate::model::preprocess::MAX_SIDE).contains(&n);
        let image = self.image.is_none_or(|(w, h, c)| side(w) && side(h) && matches!(c, 1 | 3));
        let audio = self.audio.is_none_or(|(rate, length)| (1..=384_000).contains(&rate) && (1..=10_000_000).contains(&length));
        let own = self.modalities();
        let named = own.contains(self.gradients)
            && own.contains(self.embeddings)
            && self.gradients.and(self.embeddings).contains(self.embedding_gradients);
        if !(image && audio && named && (1..=1024).contains(&self.micro_batch)) {
            return Err(Error::model(format!(
                "the sizes of the command contradict each other: {own}, passes of {} samples",
                self.micro_batch
            )));
        }
        Ok(())
    }
    fn modalities(&self) -> ModalitySet {
        let there = [self.image.is_some(), self.audio.is_some(), self.text];
        Modality::ALL.into_iter().zip(there).filter_map(|(m, there)| there.then_some(m)).collect()
    }
    fn architecture(&self) -> Value {
        json!({ "model": "command", "settled": self })
    }
    /// For each class of the data its column among the program's logits.
    fn columns(&self) -> Result<Vec<usize>> {
        if self.names.is_empty() {
            return Ok((0..self.classes.len()).collect());
        }
        let at = |name: &String| {
            let found = self.names.iter().position(|own| own == name);
            found.ok_or_else(|| Error::model(format!("the data has the class `{name}`, `classes` names {}", self.names.join(", "))))
        };
        self.classes.names().iter().map(at).collect()
    }
}

/// One micro-batch of a forward pass: what is asked, and the way back.
struct Pass {
    question: Question,
    images: Vec<Option<Arc<ImageMap>>>,
    audios: Vec<Option<AudioMap>>,
}

impl CommandModel {
    /// Starts the command in the folder `base` for this data, and asks it once about missing media, to see that it answers.
    pub fn open(config: &Command, base: &Path, profile: &DataProfile) -> Result<Self> {
        Self::start(Settled::new(config, base, profile)?, base, config.timeout_s)
    }

    /// Starts the command again for what [`Model::save`] wrote to `file`; its files must be as they were. The command is that of `config`, never one that stands in a file of weights.
    pub fn reopen(config: &Command, base: &Path, file: &Path) -> Result<Self> {
        let (header, _) = Parameters::read(file)?;
        let changed = |what: String| Error::model(what).at("file", file.display());
        let saved = header.get("settled").cloned().unwrap_or_default();
        let saved: Settled = serde_json::from_value(saved).map_err(|e| changed(format!("the header of a command is broken: {e}")))?;
        let now = Settled { run: config.run.clone(), files: files(config, base)?, ..saved.clone() };
        if now.run != saved.run {
            return Err(changed(format!("the model was the command `{}`, this is `{}`", saved.run.join(" "), now.run.join(" "))));
        }
        if let Some((name, _)) = saved.files.iter().find(|then| !now.files.contains(then)) {
            return Err(changed(format!("`{name}` is not what it was when the model was used")));
        }
        Self::start(now, base, config.timeout_s)
    }

    fn start(settled: Settled, base: &Path, timeout_s: f64) -> Result<Self> {
        if settled.classes.is_empty() {
            return Err(Error::model("a model needs at least one class"));
        }
        settled.check()?;
        let columns = settled.columns()?;
        let timeout = Duration::try_from_secs_f64(timeout_s).map_err(|e| Error::usage(format!("timeout_s: {e}")))?;
        let process = Process::start(&settled.run, base, timeout)?;
        let spec = ModelSpec {
            name: "command".into(),
            digest: Parameters::default().digest(&settled.architecture()),
            classes: settled.classes.clone(),
            modalities: settled.modalities(),
            gradients: settled.gradients,
            embeddings: settled.embeddings,
            embedding_gradients: settled.embedding_gradients,
            decodes: ModalitySet::EMPTY,
        };
        let mut model = Self {
            process: Mutex::new(process),
            asked: AtomicU64::new(0),
            canonical: Canonical::new(settled.image, settled.audio.map(|(rate, length)| (rate, Some(length)))),
            spec,
            columns,
            logits: if settled.names.is_empty() { settled.classes.len() } else { settled.names.len() },
            sizes: PerModality::default(),
            fused: None,
            text: None,
            settled,
        };
        model.text = model.greet()?;
        model.look()?;
        Ok(model)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn question(&self, request: &'static str, mut words: Value, tensors: &[(&str, Vec<usize>)], limit: u64) -> Result<Question> {
        let id = self.asked.fetch_add(1, Ordering::Relaxed);
        words["request"] = request.into();
        words["id"] = id.into();
        Ok(Question { request, id, limit, frame: Frame::new(&words, tensors)? })
    }

    /// Says what is wanted, hears what it can.
    fn greet(&self) -> Result<Option<(usize, usize)>> {
        let own = &self.settled;
        let classes = if own.names.is_empty() { own.classes.names() } else { own.names.as_slice() };
        let words = json!({
            "protocol": PROTOCOL, "classes": classes, "text": own.text,
            "image": own.image.map(|(width, height, channels)| json!({ "width": width, "height": height, "channels": channels })),
            "audio": own.audio.map(|(rate, length)| json!({ "sample_rate_hz": rate, "length": length })),
            "gradients": own.gradients, "embeddings": own.embeddings, "embedding_gradients": own.embedding_gradients, "fused": own.fused,
            "micro_batch": own.micro_batch,
        });
        let question = self.question("hello", words, &[], WORDS)?;
        let mut process = self.process();
        let answer = process.ask(question)?.words;
        if answer.get("protocol") != Some(&PROTOCOL.into()) {
            let found = answer.get("protocol").unwrap_or(&Value::Null);
            return Err(process.fail(&format!("expected version {PROTOCOL} of the protocol, found {found}")));
        }
        for (key, wanted, of) in [("gradients", own.gradients, ""), ("embedding_gradients", own.embedding_gradients, " of the embeddings")]
        {
            let given = answer.get(key).cloned().unwrap_or_else(|| json!([]));
            let Ok(given) = serde_json::from_value::<ModalitySet>(given.clone()) else {
                return Err(process.fail(&format!("expected a list of modalities as `{key}`, found {given}")));
            };
            if !given.contains(wanted) {
                let has = if given.is_empty() { "none".into() } else { given.to_string() };
                return Err(process.fail(&format!("the pipeline names the gradients{of} of {wanted}, the program gives {has}")));
            }
        }
        if !own.gradients.has(Modality::Text) {
            return Ok(None);
        }
        let shape = answer.get("text_shape").cloned().unwrap_or_default();
        match serde_json::from_value::<(u32, u32)>(shape.clone()) {
            Ok((positions @ 1.., size @ 1..)) if u64::from(positions) * u64::from(size) <= MAX_TEXT => {
                Ok(Some((positions as usize, size as usize)))
            }
            _ => Err(process.fail(&format!("the gradient of text needs `text_shape: [positions, numbers]`, found {shape}"))),
        }
    }

    /// Asks about missing media: how many numbers each embedding has.
    fn look(&mut self) -> Result<()> {
        let question = self.pass(&[Input::default()], ModalitySet::EMPTY, self.settled.embeddings, self.settled.fused)?.question;
        let mut answer = self.process().ask(question)?;
        let rows = self.settled.micro_batch;
        let mut take = |name: &str, rest: Option<&[usize]>| {
            let taken = answer.take(name, rows, rest);
            let shape = taken.map_err(|why| self.process().fail(&format!("answer to `forward`: {why}")))?.0;
            Ok::<_, Error>(shape.first().copied())
        };
        take("logits", Some(&[self.logits]))?;
        let mut sizes: PerModality<Option<usize>> = PerModality::default();
        for m in self.settled.embeddings.iter() {
            sizes[m] = take(&format!("embedding.{m}"), None)?;
        }
        let fused = if self.settled.fused { take("fused", None)? } else { None };
        answer.emptied().map_err(|why| self.process().fail(&format!("answer to `forward`: {why}")))?;
        (self.sizes, self.fused) = (sizes, fused);
        Ok(())
    }

    /// One forward pass of a micro-batch, with these embeddings beside the logits.
    fn pass(&self, part: &[Input], wrt: ModalitySet, embeddings: ModalitySet, fused: bool) -> Result<Pass> {
        let own = &self.settled;
        let rows = own.micro_batch;
        let place = |e: Error, m: Modality| e.at("modality", m);
        let image = |input: &Input| input.image.as_ref().filter(|_| own.image.is_some()).map(|p| self.canonical.image(p)).transpose();
        let images: Vec<_> = part.iter().map(image).collect::<Result<_>>().map_err(|e| place(e, Modality::Image))?;
        let audio = |input: &Input| input.audio.as_ref().filter(|_| own.audio.is_some()).map(|w| self.canonical.audio(w)).transpose();
        let audios: Vec<_> = part.iter().map(audio).collect::<Result<_>>().map_err(|e| place(e, Modality::Audio))?;
        let shift = |input: &Input| input.text_shift.clone().filter(|_| own.text && input.text.is_some());
        let shifts: Vec<Option<Arc<[f32]>>> = part.iter().map(shift).collect();
        for shift in shifts.iter().flatten() {
            let embeds_none = || place(Error::model("this model embeds no text, so that nothing can be added to it"), Modality::Text);
            let (positions, size) = self.text.ok_or_else(embeds_none)?;
            check_shift(shift, positions * size)?;
        }
        let mut give = vec!["logits".to_owned()];
        give.extend(embeddings.iter().map(|m| format!("embedding.{m}")));
        give.extend(fused.then(|| "fused".to_owned()));
        let present = |m: Modality| (0..rows).map(|i| part.get(i).is_some_and(|input| input.present().has(m))).collect::<Vec<_>>();
        let present: serde_json::Map<String, Value> = own.modalities().iter().map(|m| (m.name().to_owned(), present(m).into())).collect();
        let text = own.text.then(|| (0..rows).map(|i| part.get(i).and_then(|input| input.text.as_deref())).collect::<Vec<_>>());
        let words = json!({ "present": present, "text": text, "gradients": wrt, "give": give });
        let mut tensors = Vec::new();
        tensors.extend(own.image.map(|(w, h, c)| ("image", vec![rows, c, h, w])));
        tensors.extend(own.audio.map(|(_, length)| ("audio", vec![rows, length])));
        let shifted = self.text.filter(|_| shifts.iter().any(Option::is_some));
        tensors.extend(shifted.map(|(positions, size)| ("text.shift", vec![rows, positions, size])));
        let numbers = self.sizes.iter().filter_map(|(_, n)| *n).chain(self.fused).sum::<usize>() + self.logits;
        let known = embeddings.iter().all(|m| self.sizes[m].is_some()) && (!fused || self.fused.is_some());
        let limit = if known { WORDS + 4 * (numbers * rows) as u64 } else { FIRST };
        let mut question = self.question("forward", words, &tensors, limit)?;
        for (at, (name, _)) in tensors.iter().enumerate() {
            fill(question.frame.tensor(at), rows, |i| match *name {
                "image" => Some(Cow::Owned(images.get(i)?.as_ref()?.apply(&part.get(i)?.image.as_ref()?.values))),
                "audio" => Some(Cow::Owned(audios.get(i)?.as_ref()?.apply(&part.get(i)?.audio.as_ref()?.values))),
                _ => shifts.get(i)?.as_deref().map(Cow::Borrowed),
            });
        }
        Ok(Pass { question, images, audios })
    }

    /// Takes the rows of one tensor out of an answer. A wrong shape ends the program, a row that is not a number is the fault of its sample.
    fn rows(&self, process: &mut Process, answer: &mut Answer, name: &str, shape: &[usize], first: usize, kept: usize) -> Result<Vec<f32>> {
        let taken = answer.take(name, self.settled.micro_batch, Some(shape));
        let mut values = taken.map_err(|why| process.fail(&format!("wrong answer: {why}")))?.1;
        let columns = shape.iter().product::<usize>();
        values.truncate(kept * columns);
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => {
                let (row, found) = (first + at / columns.max(1), values[at]);
                let message = format!("expected finite numbers in `{name}`, found {found} in row {row} of the batch");
                Err(Error::model(message).at("command", process.told()))
            }
            None => Ok(values),
        }
    }

    /// The logits of the data's classes.
    fn picked(&self, logits: &[f32]) -> impl Iterator<Item = f32> {
        self.columns.iter().map(move |column| logits[*column])
    }

    /// What a slope along one tensor of the answer before (`of`, of so many columns) becomes along each input of `wrt`, in the shapes of the program.
    fn slopes(
        &self,
        process: &mut Process,
        first: usize,
        kept: usize,
        wrt: ModalitySet,
        of: (&str, usize),
        slope: &[f32],
    ) -> Result<PerModality<Vec<f32>>> {
        let rows = self.settled.micro_batch;
        let numbers: usize = wrt.iter().map(|m| self.shape(m).iter().product::<usize>()).sum();
        let limit = WORDS + 4 * (numbers * rows) as u64;
        let words = json!({ "gradients": wrt, "of": of.0 });
        let mut question = self.question("backward", words, &[("slope", vec![rows, of.1])], limit)?;
        put(slope, question.frame.tensor(0));
        let mut answer = process.ask(question)?;
        let mut found: PerModality<Vec<f32>> = PerModality::default();
        for m in wrt.iter() {
            found[m] = self.rows(process, &mut answer, &format!("gradient.{m}"), &self.shape(m), first, kept)?;
        }
        answer.emptied().map_err(|why| process.fail(&format!("answer to `backward`: {why}")))?;
        Ok(found)
    }

    /// A `forward` and, where a gradient is wanted, its `backward` for each micro-batch. `slope` is shown the number of a row, its logits as the program gives them and its embedding of `of`, and
    /// tells a value and its slope along the embedding; without `of` along the logits.
    fn sloped(
        &self,
        inputs: &[Input],
        wrt: ModalitySet,
        of: Option<Modality>,
        slope: impl Fn(usize, &[f32], &[f32]) -> (f32, Vec<f32>),
    ) -> Result<Gradients> {
        let rows = self.settled.micro_batch;
        let embedding = of.and_then(|m| Some((format!("embedding.{m}"), self.sizes[m]?)));
        let (name, columns) = embedding.as_ref().map_or(("logits", self.logits), |(name, size)| (name, *size));
        let mut all = Gradients { logits: Matrix { columns: self.columns.len(), values: Vec::new() }, ..Gradients::default() };
        for (at, part) in inputs.chunks(rows).enumerate() {
            let first = at * rows;
            let Pass { question, images, audios } = self.pass(part, wrt, of.into_iter().collect(), false)?;
            let mut process = self.process();
            let mut answer = process.ask(question)?;
            let logits = self.rows(&mut process, &mut answer, "logits", &[self.logits], first, part.len())?;
            let embeddings = match &embedding {
                Some((name, size)) => self.rows(&mut process, &mut answer, name, &[*size], first, part.len())?,
                None => Vec::new(),
            };
            answer.emptied().map_err(|why| process.fail(&format!("answer to `forward`: {why}")))?;
            let mut along = vec![0.0; rows * columns];
            for (i, row) in logits.chunks_exact(self.logits).enumerate() {
                let own = embeddings.get(i * columns..(i + 1) * columns).unwrap_or_default();
                let (value, slope) = slope(first + i, row, own);
                all.objective.push(value);
                along[i * columns..].iter_mut().zip(slope).for_each(|(to, g)| *to = g);
                all.logits.values.extend(self.picked(row));
            }
            if wrt.is_empty() {
                continue;
            }
            let found = self.slopes(&mut process, first, part.len(), wrt, (name, columns), &along)?;
            drop(process);
            let back = |m: Modality, i: usize, row: &[f32]| match m {
                Modality::Image => images.get(i)?.as_ref().map(|map| map.transpose(row)),
                Modality::Audio => audios.get(i)?.as_ref().map(|map| map.transpose(row)),
                Modality::Text => part.get(i)?.text.as_ref().map(|_| row.to_vec()),
            };
            for m in wrt.iter() {
                let size = found[m].len() / part.len().max(1);
                let native = found[m].par_chunks_exact(size.max(1)).enumerate().map(|(i, row)| back(m, i, row));
                all.rows_mut(m).extend(native.collect::<Vec<_>>());
            }
        }
        let n = inputs.len();
        Modality::ALL.into_iter().for_each(|m| all.rows_mut(m).resize(n, None));
        Ok(all)
    }

    /// Sizes of one sample of an input whose gradient the program gives.
    fn shape(&self, modality: Modality) -> Vec<usize> {
        match modality {
            Modality::Image => self.settled.image.map(|(w, h, c)| vec![c, h, w]),
            Modality::Audio => self.settled.audio.map(|(_, length)| vec![length]),
            Modality::Text => self.text.map(|(positions, size)| vec![positions, size]),
        }
        .unwrap_or_default()
    }
}

/// Fills the rows of one tensor side by side; a row of `None` stays zeros.
fn fill<'a>(tensor: &mut [u8], rows: usize, row: impl Fn(usize) -> Option<Cow<'a, [f32]>> + Sync) {
    let size = tensor.len() / rows.max(1);
    if size > 0 {
        tensor.par_chunks_exact_mut(size).enumerate().for_each(|(i, bytes)| {
            if let Some(values) = row(i) {
                put(&values, bytes);
            }
        });
    }
}

impl Model for CommandModel {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let matrix = |columns| Matrix { columns, values: Vec::with_capacity(columns * inputs.len()) };
        let mut outputs = Outputs {
            logits: matrix(self.columns.len()),
            embeddings: PerModality::from_fn(|m| self.sizes[m].map(matrix)),
            fused: self.fused.map(matrix),
        };
        for (at, part) in inputs.chunks(self.settled.micro_batch).enumerate() {
            let first = at * self.settled.micro_batch;
            let question = self.pass(part, ModalitySet::EMPTY, self.settled.embeddings, self.settled.fused)?.question;
            let mut process = self.process();
            let mut answer = process.ask(question)?;
            let logits = self.rows(&mut process, &mut answer, "logits", &[self.logits], first, part.len())?;
            logits.chunks_exact(self.logits).for_each(|row| outputs.logits.values.extend(self.picked(row)));
            for m in self.settled.embeddings.iter() {
                if let Some(to) = &mut outputs.embeddings[m] {
                    let rows = self.rows(&mut process, &mut answer, &format!("embedding.{m}"), &[to.columns], first, part.len())?;
                    to.values.extend(rows);
                }
            }
            if let Some(to) = &mut outputs.fused {
                to.values.extend(self.rows(&mut process, &mut answer, "fused", &[to.columns], first, part.len())?);
            }
            answer.emptied().map_err(|why| process.fail(&format!("answer to `forward`: {why}")))?;
        }
        Ok(outputs)
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        self.sloped(inputs, wrt.and(self.settled.gradients), None, |row, logits, _| {
            let own: Vec<f32> = self.picked(logits).collect();
            let (value, along) = of(row, &own);
            let mut slope = vec![0.0; self.logits];
            self.columns.iter().zip(along).for_each(|(column, g)| slope[*column] = g);
            (value, slope)
        })
    }

    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        if !self.settled.embedding_gradients.has(modality) {
            let told = format!("the pipeline names no gradient of the embedding of {modality}: `embedding_gradients: [{modality}]`");
            return Err(Error::model(told).at("command", self.settled.run.join(" ")));
        }
        self.sloped(inputs, ModalitySet::one(modality), Some(modality), |row, _, embedding| {
            let (value, mut slope) = of(row, embedding);
            slope.resize(embedding.len(), 0.0);
            (value, slope)
        })
    }

    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        let Some((positions, size)) = self.text else {
            return Err(Error::model("this model embeds no text").at("model", &self.spec.name));
        };
        let question = self.question("embed", json!({ "text": [text] }), &[], WORDS + 4 * (positions * size) as u64)?;
        let mut process = self.process();
        let mut answer = process.ask(question)?;
        let taken = answer.take("values", 1, Some(&[positions, size]));
        let values = taken.map_err(|why| process.fail(&format!("answer to `embed`: {why}")))?.1;
        let there = answer.words.pointer("/positions/0").and_then(Value::as_u64).filter(|n| *n <= positions as u64);
        let Some(there) = there.filter(|_| values.iter().all(|v| v.is_finite())) else {
            return Err(process.fail(&format!("answer to `embed`: expected finite `values` and `positions: [0..={positions}]`")));
        };
        Ok(EmbeddedText { size, positions: there as usize, values })
    }

    /// Writes what the command is, without the program: the file is no model by itself, and opening it starts nothing.
    fn save(&self, path: &Path) -> Result<()> {
        Parameters::default().write(path, &self.settled.architecture())
    }
}
