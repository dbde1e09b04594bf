//! A small classifier on the embeddings of frozen graphs.

use super::{
    Head, Onnx, OnnxModel,
    engine::{Tape, Value, head_steps as steps},
};
use crate::{
    error::{Error, Result},
    model::{
        DataProfile, Input, Model, ModelSpec, Objective, StepReport, Trainable, TrainingBatch, measure,
        parameters::{AdamW, Parameters},
    },
    random::SeedTree,
    sample::{Classes, Digest, Modality, ModalitySet, PerModality},
};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// How many numbers of embeddings are kept from one epoch to the next.
const KEPT: usize = 1 << 24;

/// Sizes of the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shape {
    /// Modalities with the lengths of their embeddings.
    embeddings: Vec<(Modality, usize)>,
    hidden: usize,
    classes: usize,
}

impl Shape {
    fn sizes(&self) -> Vec<(String, Vec<usize>)> {
        let inputs = self.embeddings.iter().map(|(_, n)| n).sum();
        let missing = self.embeddings.iter().map(|(m, n)| (format!("missing.{m}"), vec![*n]));
        let layers = [
            ("hidden.bias", vec![self.hidden]),
            ("hidden.weight", vec![inputs, self.hidden]),
            ("out.bias", vec![self.classes]),
            ("out.weight", vec![self.hidden, self.classes]),
        ];
        missing.chain(layers.into_iter().map(|(name, shape)| (name.to_owned(), shape))).collect()
    }
}

/// The head's weights: `relu([e_1, e_2, ...] W + b) V + c`, each embedding brought to mean 0 and mean square 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeadWeights {
    shape: Shape,
    pub(super) weights: Parameters,
}

/// Embeddings after normalisation, the hidden layer and the logits.
type Answer = (PerModality<Option<Value>>, Value, Value);

impl HeadWeights {
    fn start(shape: Shape, seeds: &SeedTree) -> Result<Self> {
        let mut weights = Parameters::default();
        for (name, size) in shape.sizes() {
            let n = size.iter().product();
            let values = match size.as_slice() {
                [inputs, _] => {
                    let normal = Normal::new(0.0, (2.0 / (*inputs).max(1) as f64).sqrt()).map_err(|e| Error::internal(e.to_string()))?;
                    let mut rng = seeds.child(&name).rng();
                    (0..n).map(|_| normal.sample(&mut rng) as f32).collect()
                }
                _ => vec![0.0; n],
            };
            weights.insert(name, size, values);
        }
        Ok(Self { shape, weights })
    }

    pub(super) fn architecture(&self) -> Json {
        serde_json::json!(self.shape)
    }

    pub(super) fn from_file(shape: &Json, all: &Parameters) -> Result<Self> {
        let shape: Shape =
            serde_json::from_value(shape.clone()).map_err(|e| Error::model(format!("the header of the head is broken: {e}")))?;
        let most = [shape.hidden, shape.classes].into_iter().chain(shape.embeddings.iter().map(|(_, n)| *n)).max();
        if shape.embeddings.len() > Modality::ALL.len() || most.is_some_and(|n| n > 1 << 24) {
            return Err(Error::model("the header of the head is broken: its sizes contradict each other"));
        }
        let mut weights = Parameters::default();
        for (name, size) in shape.sizes() {
            let found = all.get(&format!("head.{name}")).filter(|p| p.shape == size);
            let found = found.ok_or_else(|| Error::model(format!("the weight `head.{name}` of the shape {size:?} is missing")))?;
            weights.insert(name, size, found.values.clone());
        }
        Ok(Self { shape, weights })
    }

    fn value(&self, name: &str) -> Result<Value> {
        let found = self.weights.get(name).ok_or_else(|| Error::internal(format!("there is no weight `{name}`")))?;
        Value::floats(found.shape.clone(), found.values.clone())
    }

    /// One row a sample of each embedding; `present` says whose row counts.
    pub(super) fn run(&self, embeddings: &PerModality<Option<Value>>, present: &[ModalitySet], tape: &mut Tape) -> Result<Answer> {
        let weights = self.shape.sizes().into_iter().map(|(name, _)| Ok((self.value(&name)?, name))).collect::<Result<Vec<_>>>()?;
        let weights = weights.into_iter().map(|(value, name)| (name, value)).collect();
        self.run_with(&weights, embeddings, present, tape)
    }

    fn run_with(
        &self,
        weights: &HashMap<String, Value>,
        embeddings: &PerModality<Option<Value>>,
        present: &[ModalitySet],
        tape: &mut Tape,
    ) -> Result<Answer> {
        let weight = |name: &str| weights.get(name).cloned().ok_or_else(|| Error::internal(format!("there is no weight `{name}`")));
        let rows = present.len();
        let (mut joined, mut parts) = (PerModality::default(), Vec::new());
        for (m, n) in &self.shape.embeddings {
            let given = embeddings[*m].as_ref().filter(|v| v.shape == [rows, *n]);
            let given = given.ok_or_else(|| Error::model(format!("expected embeddings of {n} numbers of the {m}")))?;
            let own = steps::normal(tape, given.clone(), rows)?;
            let there = |yes: f32| present.iter().map(|p| if p.has(*m) { yes } else { 1.0 - yes }).collect();
            let own = tape.mul(own, Value::floats([rows, 1], there(1.0))?)?;
            let missing = tape.mul(Value::floats([rows, 1], there(0.0))?, weight(&format!("missing.{m}"))?)?;
            let row = tape.add(own, missing)?;
            joined[*m] = Some(row.clone());
            parts.push(row);
        }
        let all = tape.concat(&parts, 1)?;
        let hidden = steps::matmul(tape, all, weight("hidden.weight")?)?;
        let hidden = tape.add(hidden, weight("hidden.bias")?)?;
        let hidden = steps::relu(tape, hidden)?;
        let logits = steps::matmul(tape, hidden.clone(), weight("out.weight")?)?;
        let logits = tape.add(logits, weight("out.bias")?)?;
        Ok((joined, hidden, logits))
    }
}

/// Embeddings by the digest of the media they come from.
type Kept = Arc<Mutex<HashMap<Digest, Arc<[f32]>>>>;

/// The head in training; the graphs stay as they are.
pub struct HeadTrainer {
    encoders: Arc<OnnxModel>,
    classes: Classes,
    head: HeadWeights,
    optimizer: AdamW,
    kept: Kept,
}

impl HeadTrainer {
    pub(super) fn open(config: &Onnx, profile: &DataProfile, seeds: &SeedTree) -> Result<Self> {
        let Head { hidden, weight_decay } = config.head.clone().unwrap_or_default();
        if profile.classes.is_empty() {
            return Err(Error::model("a model needs at least one class"));
        }
        let encoders = OnnxModel::parts(config, profile)?;
        let seen = encoders.pass(&[Input::default()], ModalitySet::EMPTY, &mut Tape::default())?;
        let lengths = Modality::ALL.into_iter().filter_map(|m| Some((m, seen.embeddings[m].as_ref()?.len())));
        let shape = Shape { embeddings: lengths.collect(), hidden, classes: profile.classes.len() };
        let head = HeadWeights::start(shape, seeds)?;
        Ok(Self {
            encoders: Arc::new(encoders),
            classes: profile.classes.clone(),
            head,
            optimizer: AdamW::new(weight_decay),
            kept: Kept::default(),
        })
    }

    /// Embeddings of each input, from those kept where it was seen before.
    fn embeddings(&self, inputs: &[Input]) -> Result<Vec<PerModality<Option<Arc<[f32]>>>>> {
        let keys: Vec<PerModality<Option<Digest>>> = inputs.iter().map(digests).collect();
        let known = |key: &Option<Digest>| {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            key.as_ref().and_then(|key| kept.get(key).cloned())
        };
        let mut rows: Vec<PerModality<Option<Arc<[f32]>>>> = keys.iter().map(|key| PerModality::from_fn(|m| known(&key[m]))).collect();
        let with = |m: Modality| self.head.shape.embeddings.iter().any(|(own, _)| *own == m);
        let open: Vec<usize> = (0..inputs.len())
            .filter(|i| Modality::ALL.into_iter().any(|m| with(m) && keys[*i][m].is_some() && rows[*i][m].is_none()))
            .collect();
        let asked: Vec<Input> = open.iter().map(|i| inputs[*i].clone()).collect();
        for (i, found) in open.into_iter().zip(self.encoders.embeddings(&asked)?) {
            for (m, row) in found.iter() {
                let (Some(row), Some(key)) = (row, &keys[i][m]) else { continue };
                let row: Arc<[f32]> = row.as_slice().into();
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if (kept.len() + 1) * row.len() > KEPT {
                    kept.clear();
                }
                kept.insert(*key, row.clone());
                rows[i][m] = Some(row);
            }
        }
        Ok(rows)
    }

    fn architecture(&self) -> Json {
        serde_json::json!({ "onnx_head": self.head.shape, "classes": self.classes })
    }

    fn model(&self) -> Result<OnnxModel> {
        self.encoders.with_head(self.head.clone(), self.classes.clone())
    }
}

/// What each medium of an input is, for the look-up.
fn digests(input: &Input) -> PerModality<Option<Digest>> {
    let of = |head: [usize; 3], values: &[f32]| {
        let mut bytes: Vec<u8> = head.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        Digest::of(&bytes)
    };
    PerModality {
        image: input.image.as_ref().map(|p| of([p.width, p.height, p.channels], &p.values)),
        audio: input.audio.as_ref().map(|w| of([w.sample_rate_hz as usize, w.channels, 1 << 40], &w.values)),
        text: input.text.as_ref().map(|t| Digest::of(t.as_bytes())),
    }
}

impl Trainable for HeadTrainer {
    fn spec(&self) -> ModelSpec {
        match self.model() {
            Ok(model) => model.spec().clone(),
            // The graphs were run at the start; they give the same now.
            Err(_) => self.encoders.spec().clone(),
        }
    }

    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        let shares = crate::model::check_batch(batch, self.classes.len())?;
        let rows = self.embeddings(batch.inputs)?;
        let mut embeddings = PerModality::default();
        for (m, n) in &self.head.shape.embeddings {
            let mut values = Vec::with_capacity(rows.len() * n);
            for row in &rows {
                match &row[*m] {
                    Some(own) => values.extend_from_slice(own),
                    None => values.resize(values.len() + n, 0.0),
                }
            }
            embeddings[*m] = Some(Value::floats([rows.len(), *n], values)?);
        }
        let present: Vec<ModalitySet> = batch.inputs.iter().map(Input::present).collect();
        let mut tape = Tape::default();
        let (mut weights, mut leaves) = (HashMap::new(), Vec::new());
        for (name, _) in self.head.shape.sizes() {
            let mut value = self.head.value(&name)?;
            leaves.push((name.clone(), tape.leaf(&mut value)));
            weights.insert(name, value);
        }
        let (_, _, logits) = self.head.run_with(&weights, &embeddings, &present, &mut tape)?;
        let mut report = StepReport::default();
        report.logits.columns = self.classes.len();
        report.logits.values = logits.f()?.to_vec();
        report.losses = crate::model::finite_losses(&report.logits, batch.targets)?;
        let row = |i: usize| {
            let slope = measure::objective_gradient(report.logits.row(i), &batch.targets[i], Objective::CrossEntropy);
            slope.into_iter().map(|g| g * shares[i]).collect::<Vec<f32>>()
        };
        let seed: Vec<f32> = (0..rows.len()).flat_map(row).collect();
        let at = logits.place_on_tape().ok_or_else(|| Error::internal("the head's weights are on no tape"))?;
        let slopes = tape.backward(vec![(at, seed)], &leaves.iter().map(|(_, at)| *at).collect::<Vec<_>>())?;
        let mut gradients = Parameters::default();
        for ((name, size), slope) in self.head.shape.sizes().into_iter().zip(slopes) {
            let n = size.iter().product();
            gradients.insert(name, size, slope.unwrap_or_else(|| vec![0.0; n]));
        }
        self.optimizer.step(&mut self.head.weights, &gradients, batch.learning_rate)?;
        Ok(report)
    }

    fn freeze(&self) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(self.model()?))
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self {
            encoders: self.encoders.clone(),
            classes: self.classes.clone(),
            head: self.head.clone(),
            optimizer: self.optimizer.clone(),
            kept: self.kept.clone(),
        }))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self {
            encoders: self.encoders.clone(),
            classes: self.classes.clone(),
            head: HeadWeights::start(self.head.shape.clone(), seeds)?,
            optimizer: AdamW::new(self.optimizer.weight_decay),
            kept: self.kept.clone(),
        }))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.optimizer.write_checkpoint(path, &self.head.weights, &self.architecture())
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        let architecture = self.architecture();
        self.optimizer.read_checkpoint(path, &mut self.head.weights, &architecture)
    }
}
