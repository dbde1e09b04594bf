//! An ONNX graph as a [`Model`].

use super::{
    Missing, Onnx,
    engine::{Session, Tape, Value},
    feed::{Fed, Source, feed},
    head::HeadWeights,
    part::{Part, Plan, Role, canonical, contradiction},
    rows,
};
use crate::{
    error::{Error, Result},
    model::{
        DataProfile, Gradients, Input, Matrix, Model, ModelSpec, OfRow, Outputs, measure,
        parameters::Parameters,
        preprocess::{AudioMap, Canonical, ImageMap},
    },
    sample::{Classes, Modality, ModalitySet, PerModality},
};
use rayon::prelude::*;
use serde_json::{Value as Json, json};
use std::{path::Path, sync::Arc};

/// One graph, or several with a head, in evaluation.
#[derive(Debug)]
pub struct OnnxModel {
    parts: Vec<Arc<Part>>,
    pub(super) head: Option<HeadWeights>,
    canonical: Canonical,
    missing: Missing,
    /// Columns of the graph's logits that are the data's classes; all where there are none.
    columns: Vec<usize>,
    spec: ModelSpec,
    /// Samples of one step.
    chunk: usize,
}

/// A leaf of a tape: which modality, the first row, and where it lies.
struct Leaf {
    modality: Modality,
    row: usize,
    /// How many rows are samples, and how many there are.
    samples: usize,
    rows: usize,
    at: usize,
}

/// What a pass over a few samples gave.
pub(super) struct Pass {
    pub(super) logits: Option<Value>,
    pub(super) embeddings: PerModality<Option<Value>>,
    pub(super) fused: Option<Value>,
    leaves: Vec<Leaf>,
    images: Vec<Option<Arc<ImageMap>>>,
    audios: Vec<Option<AudioMap>>,
}

impl Pass {
    /// Modalities to whose inputs a path leads back from a value.
    fn reached(&self, from: Option<&Value>, tape: Tape) -> Result<ModalitySet> {
        let Some((at, n)) = from.and_then(|value| Some((value.place_on_tape()?, value.len()))) else { return Ok(ModalitySet::EMPTY) };
        let leaves: Vec<usize> = self.leaves.iter().map(|l| l.at).collect();
        let slopes = tape.backward(vec![(at, vec![1.0; n])], &leaves)?;
        Ok(self.leaves.iter().zip(slopes).filter(|(_, s)| s.is_some()).map(|(l, _)| l.modality).collect())
    }
}

impl OnnxModel {
    /// Opens the files of `config` for this data and runs them once on missing media, to see that they answer.
    pub fn open(config: &Onnx, profile: &DataProfile) -> Result<Self> {
        let model = Self::parts(config, profile)?;
        model.finished(config, profile)
    }

    /// The graphs, without a head; embeddings alone can be asked.
    pub(super) fn parts(config: &Onnx, profile: &DataProfile) -> Result<Self> {
        let named = |m: Modality| match m {
            Modality::Image => config.outputs.embeddings.image.clone(),
            Modality::Audio => config.outputs.embeddings.audio.clone(),
            Modality::Text => config.outputs.embeddings.text.clone(),
        };
        let files = config.files();
        let mut parts = Vec::new();
        let mut shared = Vec::new();
        for m in config.modalities().iter() {
            match files[m] {
                Some(path) => parts.push(Arc::new(Part::open(config, &[m], path, vec![(Role::Embedding(m), named(m))], profile)?)),
                None => shared.push(m),
            }
        }
        if let Some(path) = config.path.as_ref().filter(|_| !shared.is_empty()) {
            let mut wanted: Vec<(Role, Option<String>)> = Vec::new();
            match &config.head {
                None => {
                    wanted.push((Role::Logits, config.outputs.logits.clone()));
                    wanted.extend(shared.iter().filter_map(|m| Some((Role::Embedding(*m), Some(named(*m)?)))));
                    wanted.extend(config.outputs.fused.clone().map(|name| (Role::Fused, Some(name))));
                }
                Some(_) => wanted.extend(shared.iter().map(|m| (Role::Embedding(*m), named(*m)))),
            }
            parts.push(Arc::new(Part::open(config, &shared, path, wanted, profile)?));
        }
        Ok(Self::with(parts, config.missing))
    }

    fn with(parts: Vec<Arc<Part>>, missing: Missing) -> Self {
        let chunk = parts.iter().map(|p| p.plan.samples()).max().unwrap_or(1);
        let spec = ModelSpec {
            name: "onnx".into(),
            digest: String::new(),
            classes: Classes::default(),
            modalities: ModalitySet::EMPTY,
            gradients: ModalitySet::EMPTY,
            embeddings: ModalitySet::EMPTY,
            embedding_gradients: ModalitySet::EMPTY,
            decodes: ModalitySet::EMPTY,
        };
        let canonical = canonical(parts.iter().flat_map(|p| &p.plan.sources));
        Self { parts, head: None, canonical, missing, columns: Vec::new(), spec, chunk }
    }

    fn finished(mut self, config: &Onnx, profile: &DataProfile) -> Result<Self> {
        if !config.classes.is_empty() {
            for name in profile.classes.names() {
                let at = config.classes.iter().position(|c| c == name);
                self.columns.push(
                    at.ok_or_else(|| Error::model(format!("the model has no class `{name}`; it knows {} others", config.classes.len())))?,
                );
            }
        }
        self.seen(profile.classes.clone(), (!config.classes.is_empty()).then_some(config.classes.len()))
    }

    /// Runs once on missing media: checks the number of logits, and finds embeddings and gradients.
    pub(super) fn seen(mut self, classes: Classes, logits: Option<usize>) -> Result<Self> {
        if classes.is_empty() {
            return Err(Error::model("a model needs at least one class"));
        }
        let mut tape = Tape::default();
        let pass = self.pass(&[Input::default()], ModalitySet::ALL, &mut tape)?;
        let found = pass.logits.as_ref().map_or(0, Value::len);
        let wanted = logits.unwrap_or(classes.len());
        if found != wanted {
            return Err(Error::model(format!("expected {wanted} logits a sample, one a class; the graph gives {found}")));
        }
        let modalities: ModalitySet = self.parts.iter().flat_map(|p| &p.plan.sources).filter_map(Source::modality).collect();
        let embeddings: ModalitySet = Modality::ALL.into_iter().filter(|m| pass.embeddings[*m].is_some()).collect();
        // A gradient that no path brings back is not promised.
        let gradients = pass.reached(pass.logits.as_ref(), tape)?;
        let mut embedding_gradients = ModalitySet::EMPTY;
        // Ids of a text have no slope.
        for m in embeddings.without(Modality::Text).iter() {
            let (mut tape, only) = (Tape::default(), ModalitySet::one(m));
            let pass = self.pass(&[Input::default()], only, &mut tape)?;
            embedding_gradients = embedding_gradients.or(pass.reached(pass.embeddings[m].as_ref(), tape)?);
        }
        self.spec = ModelSpec { classes, modalities, gradients, embeddings, embedding_gradients, ..self.spec };
        self.spec.digest = self.parameters().digest(&self.identity());
        Ok(self)
    }

    /// Runs every graph on a few samples, `chunk` of them at most.
    pub(super) fn pass(&self, inputs: &[Input], wrt: ModalitySet, tape: &mut Tape) -> Result<Pass> {
        let mut pass = Pass {
            logits: None,
            embeddings: PerModality::default(),
            fused: None,
            leaves: Vec::new(),
            images: Vec::new(),
            audios: Vec::new(),
        };
        if inputs.iter().any(|i| i.text_shift.is_some()) {
            return Err(Error::model("an ONNX graph embeds no text from outside: its text cannot be shifted"));
        }
        for part in &self.parts {
            let mut rows: Vec<Vec<Value>> = vec![Vec::new(); part.plan.roles.len()];
            let step = part.plan.samples();
            for (first, own) in inputs.chunks(step).enumerate().map(|(i, own)| (i * step, own)) {
                let Fed { mut values, images, audios } =
                    feed(&part.plan.sources, &self.canonical, own, part.plan.batch, self.missing, &part.kinds)?;
                for (source, value) in part.plan.sources.iter().zip(&mut values) {
                    let modality = match source {
                        Source::Image(_) => Modality::Image,
                        Source::Audio(_) => Modality::Audio,
                        _ => continue,
                    };
                    if wrt.has(modality) {
                        let at = tape.leaf(value);
                        pass.leaves.push(Leaf { modality, row: first, samples: own.len(), rows: part.plan.batch, at });
                    }
                }
                pass.images.extend(images.into_iter().take(own.len()));
                pass.audios.extend(audios.into_iter().take(own.len()));
                let outputs = part.session.run(values, tape)?;
                for ((rows, value), name) in rows.iter_mut().zip(outputs).zip(&part.plan.names) {
                    let batch = part.plan.batch;
                    rows::check(&value, batch, name)?;
                    let columns = value.len() / batch;
                    let value = tape.reshape(value, [batch, columns])?;
                    rows.push(if own.len() < batch { tape.slice(&value, 0, 0, own.len(), 1)? } else { value });
                }
            }
            for (role, rows) in part.plan.roles.iter().zip(rows) {
                let all = if rows.len() == 1 { rows.into_iter().next() } else { Some(tape.concat(&rows, 0)?) };
                match role {
                    Role::Logits => pass.logits = all,
                    Role::Embedding(m) => pass.embeddings[*m] = all,
                    Role::Fused => pass.fused = all,
                }
            }
        }
        if let Some(head) = &self.head {
            let present: Vec<ModalitySet> = inputs.iter().map(Input::present).collect();
            let (joined, fused, logits) = head.run(&pass.embeddings, &present, tape)?;
            (pass.embeddings, pass.fused, pass.logits) = (joined, Some(fused), Some(logits));
        } else if !self.columns.is_empty()
            && let Some(logits) = &pass.logits
        {
            let index = Value::vector(self.columns.iter().map(|c| *c as i64).collect())?;
            if self.columns.iter().all(|c| logits.shape.get(1).is_some_and(|n| c < n)) {
                // All logits are there at the first look (`seen`), which counts them.
                if !self.spec.classes.is_empty() {
                    pass.logits = Some(super::engine::pick(tape, logits, &index)?);
                }
            }
        }
        Ok(pass)
    }

    /// The embeddings of a few samples as host rows, for training a head.
    pub(super) fn embeddings(&self, inputs: &[Input]) -> Result<Vec<PerModality<Option<Vec<f32>>>>> {
        let one = |part: &[Input]| {
            let pass = self.pass(part, ModalitySet::EMPTY, &mut Tape::default())?;
            let row = |m: Modality, i: usize| {
                let value = pass.embeddings[m].as_ref()?;
                let columns = value.len() / part.len();
                part[i].present().has(m).then(|| value.f().map(|v| v[i * columns..(i + 1) * columns].to_vec()))
            };
            (0..part.len())
                .map(|i| {
                    let [image, audio, text] = Modality::ALL.map(|m| row(m, i).transpose());
                    Ok(PerModality { image: image?, audio: audio?, text: text? })
                })
                .collect::<Result<Vec<_>>>()
        };
        Ok(inputs.par_chunks(self.chunk).map(one).collect::<Result<Vec<_>>>()?.concat())
    }

    fn architecture(&self) -> Json {
        let plans: Vec<(&Plan, usize)> = self.parts.iter().map(|p| (&p.plan, p.bytes.len())).collect();
        json!({
            "model": "onnx", "classes": self.spec.classes, "parts": plans, "missing": self.missing, "columns": self.columns,
            "head": self.head.as_ref().map(HeadWeights::architecture),
        })
    }

    /// What the digest is made of beside the weights: the architecture without how samples are put into passes, which is found by running the graph on this
    /// machine's processor, and without words for people.
    fn identity(&self) -> Json {
        let mut own = self.architecture();
        for plan in own.get_mut("parts").and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(plan) = plan.get_mut(0).and_then(Json::as_object_mut) {
                ["batch", "alone", "notes"].iter().for_each(|name| drop(plan.remove(*name)));
            }
        }
        own
    }

    /// The files as they are, four bytes a number, and the head's weights.
    fn parameters(&self) -> Parameters {
        let mut all = Parameters::default();
        for (i, part) in self.parts.iter().enumerate() {
            let word = |bytes: &[u8]| f32::from_bits(bytes.iter().rev().fold(0, |sum, b| sum << 8 | u32::from(*b)));
            let words: Vec<f32> = part.bytes.chunks(4).map(word).collect();
            all.insert(format!("file.{i}"), [words.len()], words);
        }
        if let Some(head) = &self.head {
            head.weights.iter().for_each(|(name, p)| all.insert(format!("head.{name}"), p.shape.clone(), p.values.clone()));
        }
        all
    }

    /// The same graphs with other weights of the head.
    pub(super) fn with_head(&self, head: HeadWeights, classes: Classes) -> Result<Self> {
        let mut model = Self::with(self.parts.clone(), self.missing);
        model.head = Some(head);
        model.seen(classes, None)
    }
}

impl Source {
    fn modality(&self) -> Option<Modality> {
        match self {
            Self::Image(_) => Some(Modality::Image),
            Self::Audio(_) => Some(Modality::Audio),
            Self::Text(_) => Some(Modality::Text),
            _ => None,
        }
    }
}

/// Reads what [`Model::save`] wrote.
pub(in crate::model) fn from_file(header: &Json, weights: &Parameters) -> Result<OnnxModel> {
    let broken = |e: serde_json::Error| Error::model(format!("the header of the model is broken: {e}"));
    let field = |name: &str| header.get(name).cloned().unwrap_or_default();
    let plans: Vec<(Plan, usize)> = serde_json::from_value(field("parts")).map_err(broken)?;
    let mut parts = Vec::new();
    for (i, (mut plan, length)) in plans.into_iter().enumerate() {
        let own = weights.get(&format!("file.{i}")).ok_or_else(|| Error::model(format!("the model's file {i} is missing")))?;
        let mut bytes: Vec<u8> = own.values.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        bytes.truncate(length);
        plan.check()?;
        let session = Session::load(&bytes, None, Some(&plan.names))?;
        if session.inputs().len() != plan.sources.len() {
            return Err(contradiction());
        }
        plan.sources = plan.sources.into_iter().map(Source::ready).collect();
        parts.push(Arc::new(Part::new(plan, session, bytes)));
    }
    let mut model = OnnxModel::with(parts, serde_json::from_value(field("missing")).map_err(broken)?);
    model.columns = serde_json::from_value(field("columns")).map_err(broken)?;
    if !field("head").is_null() {
        model.head = Some(HeadWeights::from_file(&field("head"), weights)?);
    }
    let classes: Classes = serde_json::from_value(field("classes")).map_err(broken)?;
    let all = if model.columns.is_empty() { None } else { Some(model.logits()?) };
    if all.is_some_and(|n| model.columns.len() != classes.len() || model.columns.iter().any(|c| *c >= n)) {
        return Err(contradiction());
    }
    model.seen(classes, all)
}

impl OnnxModel {
    /// How many logits the graph gives.
    fn logits(&self) -> Result<usize> {
        let pass = self.pass(&[Input::default()], ModalitySet::EMPTY, &mut Tape::default())?;
        Ok(pass.logits.map_or(0, |l| l.len()))
    }
}

impl Source {
    fn ready(self) -> Self {
        match self {
            Self::Text(tokens) => Self::Text(tokens.ready()),
            Self::AttentionMask(tokens) => Self::AttentionMask(tokens.ready()),
            other => other,
        }
    }
}

fn extend(to: &mut Matrix, value: &Value, rows: usize) -> Result<()> {
    to.columns = value.len() / rows.max(1);
    to.values.extend_from_slice(value.f()?);
    Ok(())
}

impl Model for OnnxModel {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let passes: Vec<(Pass, usize)> = inputs
            .par_chunks(self.chunk)
            .map(|part| Ok((self.pass(part, ModalitySet::EMPTY, &mut Tape::default())?, part.len())))
            .collect::<Result<_>>()?;
        let mut outputs = Outputs { logits: Matrix { columns: self.spec.classes.len(), values: Vec::new() }, ..Outputs::default() };
        for (pass, rows) in passes {
            if let Some(logits) = &pass.logits {
                extend(&mut outputs.logits, logits, rows)?;
            }
            if let Some(fused) = &pass.fused {
                extend(outputs.fused.get_or_insert_default(), fused, rows)?;
            }
            for (modality, value) in pass.embeddings.iter() {
                if let Some(value) = value {
                    extend(outputs.embeddings[modality].get_or_insert_default(), value, rows)?;
                }
            }
        }
        Ok(outputs)
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        self.sloped(inputs, wrt, |first, pass| {
            let logits = pass.logits.clone().ok_or_else(|| Error::internal("a model without logits"))?;
            let (values, slope) = measure::of_rows(logits.f()?, self.spec.classes.len(), first, of);
            Ok((values, logits, slope))
        })
    }

    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        if !self.spec.embedding_gradients.has(modality) {
            return Err(Error::model(format!("this graph gives no gradient of an embedding of {modality}")));
        }
        self.sloped(inputs, ModalitySet::one(modality), |first, pass| {
            let embedding = pass.embeddings[modality].clone().ok_or_else(|| Error::internal("a model without its embedding"))?;
            let (values, slope) = measure::of_rows(embedding.f()?, embedding.shape.get(1).copied().unwrap_or(0), first, of);
            Ok((values, embedding, slope))
        })
    }

    fn notes(&self) -> Vec<String> {
        self.parts.iter().flat_map(|p| p.plan.notes.iter().cloned()).collect()
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.parameters().write(path, &self.architecture())
    }
}

impl OnnxModel {
    /// The gradients of a function of the rows of one output with respect to the media. `of` is shown the number of the first row and what a pass gave; it tells values, the output and the slope along it.
    fn sloped(
        &self,
        inputs: &[Input],
        wrt: ModalitySet,
        of: impl Fn(usize, &Pass) -> Result<(Vec<f32>, Value, Vec<f32>)> + Sync,
    ) -> Result<Gradients> {
        let classes = self.spec.classes.len();
        let one = |(at, part): (usize, &[Input])| {
            let mut tape = Tape::default();
            let pass = self.pass(part, wrt, &mut tape)?;
            let logits = pass.logits.as_ref().ok_or_else(|| Error::internal("a model without logits"))?;
            let (values, output, slope) = of(at * self.chunk, &pass)?;
            let leaves: Vec<usize> = pass.leaves.iter().map(|l| l.at).collect();
            let slopes = match output.place_on_tape() {
                Some(at) => tape.backward(vec![(at, slope)], &leaves)?,
                None => vec![None; leaves.len()],
            };
            let (mut image, mut audio): (Vec<Option<Vec<f32>>>, Vec<Option<Vec<f32>>>) = (vec![None; part.len()], vec![None; part.len()]);
            for (leaf, slope) in pass.leaves.iter().zip(slopes) {
                // Where no path leads to the input its gradient is 0.
                for row in leaf.row..leaf.row + leaf.samples {
                    let own = slope.as_ref().map(|s| &s[(row - leaf.row) * s.len() / leaf.rows..][..s.len() / leaf.rows]);
                    match leaf.modality {
                        Modality::Image => image[row] = self.image_back(pass.images.get(row), own),
                        _ => audio[row] = self.audio_back(pass.audios.get(row), own),
                    }
                }
            }
            let logits = Matrix { columns: classes, values: logits.f()?.to_vec() };
            Ok(Gradients { objective: values, logits, image, audio, text: Vec::new() })
        };
        let parts: Vec<Gradients> = inputs.par_chunks(self.chunk).enumerate().map(one).collect::<Result<_>>()?;
        Ok(Gradients::joined(classes, parts))
    }

    fn image_back(&self, map: Option<&Option<Arc<ImageMap>>>, slope: Option<&[f32]>) -> Option<Vec<f32>> {
        let map = map?.as_ref()?;
        let shape = self.parts.iter().flat_map(|p| &p.plan.sources).find_map(|s| if let Source::Image(s) = s { Some(s) } else { None })?;
        Some(map.transpose(&slope.map_or_else(|| vec![0.0; map.len()], |s| shape.back(s))))
    }
    fn audio_back(&self, map: Option<&Option<AudioMap>>, slope: Option<&[f32]>) -> Option<Vec<f32>> {
        let map = map?.as_ref()?;
        let shape = self.parts.iter().flat_map(|p| &p.plan.sources).find_map(|s| if let Source::Audio(s) = s { Some(s) } else { None })?;
        Some(map.transpose(&slope.map_or_else(|| vec![0.0; map.len()], |s| shape.back(s, map.valid()))))
    }
}
