//! Named weights on the host, their file format and their optimizer.

use super::Accumulation;
use crate::{
    error::{Error, Result},
    sample::Digest,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// The one metadata key of our files: a JSON text. One key, since the order of several would not be fixed.
const HEADER: &str = "hardmine";

/// The most mismatches that an error lists.
const MOST_TOLD: usize = 40;

/// One weight tensor: row-major values of a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Sizes; their product is the number of values.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Weights by path (`image.conv0.weight`), in alphabetical order everywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters(BTreeMap<String, Parameter>);

impl Parameters {
    /// Adds or replaces a tensor.
    pub fn insert(&mut self, path: impl Into<String>, shape: impl Into<Vec<usize>>, values: Vec<f32>) {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        self.0.insert(path.into(), Parameter { shape, values });
    }
    /// The tensor at `path`.
    pub fn get(&self, path: &str) -> Option<&Parameter> {
        self.0.get(path)
    }
    /// The values at `path`; an internal error where there are none.
    pub fn values(&self, path: &str) -> Result<&[f32]> {
        self.get(path).map(|p| p.values.as_slice()).ok_or_else(|| Error::internal(format!("there is no weight `{path}`")))
    }
    /// All tensors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.0.iter().map(|(path, parameter)| (path.as_str(), parameter))
    }
    /// Adds the outer product of `rows` and `columns` to the tensor at `path`.
    pub(super) fn add(&mut self, path: &str, rows: &[f32], columns: &[f32]) -> Result<()> {
        let to = self.0.get_mut(path).filter(|p| p.values.len() == rows.len() * columns.len());
        let to = to.ok_or_else(|| Error::internal(format!("there is no weight `{path}` of {} x {}", rows.len(), columns.len())))?;
        for (line, r) in to.values.chunks_exact_mut(columns.len().max(1)).zip(rows) {
            line.iter_mut().zip(columns).for_each(|(v, c)| *v += r * c);
        }
        Ok(())
    }
    /// Adds `other`, which has the same paths and shapes.
    pub(super) fn accumulate(&mut self, other: &Self) -> Result<()> {
        for (path, own) in &mut self.0 {
            let values = other.get(path).filter(|p| p.shape == own.shape).map(|p| &p.values);
            let values = values.ok_or_else(|| Error::internal(format!("there is no gradient of `{path}`")))?;
            own.values.iter_mut().zip(values).for_each(|(v, o)| *v += o);
        }
        Ok(())
    }
    #[cfg(feature = "burn")]
    /// All values, to be changed in place.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut [f32])> {
        self.0.iter_mut().map(|(path, parameter)| (path.as_str(), parameter.values.as_mut_slice()))
    }
    /// How many values there are in all.
    pub fn count(&self) -> usize {
        self.0.values().map(|p| p.values.len()).sum()
    }
    /// An error unless `other` has the same paths and shapes.
    pub fn check_like(&self, other: &Self) -> Result<()> {
        for (path, own) in &self.0 {
            match other.get(path) {
                None => return Err(Error::model(format!("the weight `{path}` is missing"))),
                Some(found) if found.shape != own.shape => {
                    return Err(Error::model(format!(
                        "the weight `{path}` should have the shape {:?}, found {:?}",
                        own.shape, found.shape
                    )));
                }
                Some(found) => check_finite(path, &found.values)?,
            }
        }
        match other.0.keys().find(|path| !self.0.contains_key(*path)) {
            Some(path) => Err(Error::model(format!("unknown weight `{path}`"))),
            None => Ok(()),
        }
    }

    /// An error unless these are the weights of the names and shapes `wanted`, all finite. It lists all that does not fit; nothing is allocated by what
    /// `wanted` says.
    pub fn check_sizes(&self, wanted: &[(String, Vec<usize>)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (path, shape) in wanted {
            match self.get(path) {
                None => wrong.push(format!("the weight `{path}` of the shape {shape:?} is missing")),
                Some(found) if found.shape != *shape => {
                    wrong.push(format!("the weight `{path}` should have the shape {shape:?}, found {:?}", found.shape));
                }
                Some(found) => wrong.extend(check_finite(path, &found.values).err().map(|e| e.message().to_owned())),
            }
        }
        let known: std::collections::HashSet<&str> = wanted.iter().map(|(path, _)| path.as_str()).collect();
        wrong.extend(
            self.iter()
                .filter(|(path, _)| !known.contains(path))
                .map(|(path, p)| format!("unknown weight `{path}` of the shape {:?}", p.shape)),
        );
        if wrong.is_empty() {
            return Ok(());
        }
        let more = wrong.len().saturating_sub(MOST_TOLD);
        wrong.truncate(MOST_TOLD);
        wrong.extend((more > 0).then(|| format!("and {more} more")));
        Err(Error::model(wrong.join("; ")))
    }

    /// BLAKE3 of the architecture and the weights, as 64 hexadecimal digits.
    pub fn digest(&self, architecture: &Value) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        part(architecture.to_string().as_bytes());
        for (path, parameter) in &self.0 {
            part(path.as_bytes());
            part(&parameter.shape.iter().flat_map(|n| (*n as u64).to_le_bytes()).collect::<Vec<_>>());
            part(&bytes_of(&parameter.values));
        }
        Digest::finish(&hasher).to_string()
    }

    /// Writes a safetensors file: complete or not at all, the same bytes for the same content.
    pub fn write(&self, path: &Path, header: &Value) -> Result<()> {
        let raw: Vec<_> = self.0.iter().map(|(name, p)| (name, &p.shape, bytes_of(&p.values))).collect();
        let views = raw
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes);
                view.map(|view| (name.as_str(), view)).map_err(|e| Error::internal(e.to_string()))
            })
            .collect::<Result<Vec<_>>>()?;
        let bytes = safetensors::serialize(views, Some([(HEADER.to_owned(), header.to_string())].into()))
            .map_err(|e| Error::internal(e.to_string()))?;
        // Complete or absent, and with the permissions that the user's mask says.
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        std::fs::write(&partial, &bytes).map_err(|e| Error::io(path, e))?;
        std::fs::rename(&partial, path).map_err(|e| Error::io(path, e))
    }

    /// Reads what [`Self::write`] wrote: the header and the weights.
    pub fn read(path: &Path) -> Result<(Value, Self)> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::parse(&bytes).map_err(|e| e.at("file", path.display()))
    }

    /// Reads the 32-bit floats of any safetensors file, such as a PyTorch `state_dict`. Errors where a tensor is of another type.
    pub fn read_plain(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::tensors(&bytes).map_err(|e| e.at("file", path.display()))
    }

    /// The same, with the header where hardmine saved the file.
    pub fn read_any(path: &Path) -> Result<(Option<Value>, Self)> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e).at("file", path.display()))?;
        if metadata.metadata().as_ref().is_some_and(|map| map.contains_key(HEADER)) {
            let (header, weights) = Self::parse(&bytes).map_err(|e| e.at("file", path.display()))?;
            return Ok((Some(header), weights));
        }
        Ok((None, Self::tensors(&bytes).map_err(|e| e.at("file", path.display()))?))
    }

    fn parse(bytes: &[u8]) -> Result<(Value, Self)> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get(HEADER))
            .ok_or_else(|| Error::model("expected a model that hardmine saved, found a safetensors file without its header"))?;
        let header = serde_json::from_str(header).map_err(|e| Error::model(format!("the header of the model file is broken: {e}")))?;
        Ok((header, Self::tensors(bytes)?))
    }

    fn tensors(bytes: &[u8]) -> Result<Self> {
        let mut parameters = Self::default();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(broken)?.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::model(format!("the weight `{name}` should be F32, found {:?}", view.dtype())));
            }
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            parameters.insert(name, view.shape(), values);
        }
        Ok(parameters)
    }
}

fn broken(error: safetensors::SafeTensorError) -> Error {
    Error::model(format!("not a safetensors file: {error}"))
}

impl FromIterator<(String, Parameter)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Parameter)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn check_finite(path: &str, values: &[f32]) -> Result<()> {
    match values.iter().find(|v| !v.is_finite()) {
        Some(found) => Err(Error::model(format!("expected finite weights in `{path}`, found {found}"))),
        None => Ok(()),
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019). Matrices and kernels decay, vectors do not.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Decay of the weights a step, times the learning rate; at least 0.
    pub weight_decay: f32,
    /// Decay rates of the two moments.
    pub betas: (f32, f32),
    /// Added to the root of the second moment.
    pub epsilon: f32,
    steps: u64,
    first: Parameters,
    second: Parameters,
    /// Gradients of the parts of a step that is not ended; not in a checkpoint.
    held: Option<Parameters>,
}

impl AdamW {
    /// Empty moments, betas 0.9 and 0.999.
    pub fn new(weight_decay: f32) -> Self {
        Self {
            weight_decay,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            steps: 0,
            first: Parameters::default(),
            second: Parameters::default(),
            held: None,
        }
    }
    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step, or a part of one: its gradients are kept, and the last part takes the step by their sum. `weights` change if `true` comes back.
    pub fn accumulate(
        &mut self,
        accumulation: Accumulation,
        weights: &mut Parameters,
        gradients: &Parameters,
        learning_rate: f64,
    ) -> Result<bool> {
        let held = self.held.take().filter(|_| matches!(accumulation, Accumulation::More | Accumulation::Last));
        let sum = match (accumulation, held) {
            (Accumulation::Whole, _) => return self.step(weights, gradients, learning_rate).map(|()| true),
            (Accumulation::First, _) => gradients.clone(),
            (_, Some(mut held)) => {
                held.accumulate(gradients)?;
                held
            }
            (_, None) => return Err(Error::internal("a part of a step without its first")),
        };
        if accumulation == Accumulation::Last {
            return self.step(weights, &sum, learning_rate).map(|()| true);
        }
        self.held = Some(sum);
        Ok(false)
    }

    /// One step. Nothing changes if a gradient is missing, misshapen or not finite.
    pub fn step(&mut self, weights: &mut Parameters, gradients: &Parameters, learning_rate: f64) -> Result<()> {
        if !learning_rate.is_finite() || learning_rate < 0.0 {
            return Err(Error::usage(format!("expected a finite learning rate of at least 0, found {learning_rate}")));
        }
        weights.check_like(gradients).map_err(|e| Error::model(format!("the gradient cannot be used: {}", e.message())))?;
        self.steps += 1;
        let (b1, b2) = self.betas;
        let correct = |beta: f32| 1.0 - f64::from(beta).powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let (rate, root) = ((learning_rate / correct(b1)) as f32, correct(b2) as f32);
        let zeros = |p: &Parameter| Parameter { shape: p.shape.clone(), values: vec![0.0; p.values.len()] };
        for (path, weight) in &mut weights.0 {
            let gradient = &gradients.0[path].values;
            let first = &mut self.first.0.entry(path.clone()).or_insert_with(|| zeros(weight)).values;
            let second = &mut self.second.0.entry(path.clone()).or_insert_with(|| zeros(weight)).values;
            let keep = if weight.shape.len() > 1 { 1.0 - learning_rate as f32 * self.weight_decay } else { 1.0 };
            for (((w, g), m), v) in weight.values.iter_mut().zip(gradient).zip(first).zip(second) {
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *w = *w * keep - rate * *m / ((*v / root).sqrt() + self.epsilon);
            }
        }
        Ok(())
    }

    /// Weights and state as one checkpoint file.
    pub fn write_checkpoint(&self, path: &Path, weights: &Parameters, architecture: &Value) -> Result<()> {
        let part = |prefix: &str, of: &Parameters| of.0.iter().map(|(name, p)| (format!("{prefix}/{name}"), p.clone())).collect::<Vec<_>>();
        let all: Parameters =
            [part("weights", weights), part("first", &self.first), part("second", &self.second)].into_iter().flatten().collect();
        all.write(path, &serde_json::json!({ "checkpoint": architecture, "steps": self.steps }))
    }

    /// Reads a checkpoint of the same architecture; `weights` and the state change only if all of it is right.
    pub fn read_checkpoint(&mut self, path: &Path, weights: &mut Parameters, architecture: &Value) -> Result<()> {
        let (header, all) = Parameters::read(path)?;
        let wrong = |message: String| Error::model(message).at("file", path.display());
        if header.get("checkpoint") != Some(architecture) {
            return Err(wrong("the checkpoint is of another architecture, or no checkpoint".into()));
        }
        let steps = header.get("steps").and_then(Value::as_u64).ok_or_else(|| wrong("the checkpoint does not say its steps".into()))?;
        let part = |prefix: &str| -> Parameters {
            all.0.iter().filter_map(|(name, p)| Some((name.strip_prefix(prefix)?.to_owned(), p.clone()))).collect()
        };
        let (own, first, second) = (part("weights/"), part("first/"), part("second/"));
        weights.check_like(&own).map_err(|e| wrong(e.message().to_owned()))?;
        if steps > 0 {
            weights.check_like(&first).and_then(|()| weights.check_like(&second)).map_err(|e| wrong(e.message().to_owned()))?;
        }
        (*weights, self.first, self.second, self.steps) = (own, first, second, steps);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn some() -> Parameters {
        let mut p = Parameters::default();
        p.insert("b", [2], vec![0.5, -1.0]);
        p.insert("a.w", [1, 2], vec![1.0, 2.0]);
        p
    }

    #[test]
    fn the_parts_of_a_step_are_taken_by_their_sum() {
        let (mut whole, mut parts) = (some(), some());
        let mut gradient = some();
        let (mut one, mut other) = (AdamW::new(0.1), AdamW::new(0.1));
        // What was begun and not ended leaves no trace.
        assert!(!other.accumulate(Accumulation::First, &mut parts, &some(), 0.1).unwrap());
        for accumulation in [Accumulation::First, Accumulation::More] {
            assert!(!other.accumulate(accumulation, &mut parts, &some(), 0.1).unwrap());
        }
        assert_eq!(parts, some());
        assert!(other.accumulate(Accumulation::Last, &mut parts, &some(), 0.1).unwrap());
        gradient.0.values_mut().for_each(|own| own.values.iter_mut().for_each(|v| *v *= 3.0));
        one.step(&mut whole, &gradient, 0.1).unwrap();
        assert_eq!((parts, other.clone()), (whole.clone(), one));
        assert!(other.accumulate(Accumulation::Last, &mut whole, &some(), 0.1).is_err());
        assert!(other.accumulate(Accumulation::More, &mut whole, &some(), 0.1).is_err());
    }

    #[test]
    fn files_read_back_and_have_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        some().write(&one, &json!({ "x": 1, "y": "z" })).unwrap();
        some().write(&two, &json!({ "x": 1, "y": "z" })).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        assert_eq!(Parameters::read(&one).unwrap(), (json!({ "x": 1, "y": "z" }), some()));
        std::fs::write(&two, b"nonsense").unwrap();
        assert!(Parameters::read(&two).unwrap_err().to_string().contains("not a safetensors file"));
    }

    #[test]
    fn the_digest_depends_on_weights_and_architecture() {
        let digest = some().digest(&json!(1));
        assert_eq!((digest.len(), &digest), (64, &some().digest(&json!(1))));
        assert_ne!(digest, some().digest(&json!(2)));
        let mut other = some();
        other.insert("b", [2], vec![0.5, -1.0000001]);
        assert_ne!(digest, other.digest(&json!(1)));
    }

    #[test]
    fn one_step_by_hand() {
        // m = 0.1 g, v = 0.001 g^2; corrected: g and g^2: the step is lr * sign(g), after the decay of the matrix.
        let mut weights = some();
        let mut gradients = some();
        gradients.insert("b", [2], vec![3.0, -0.2]);
        gradients.insert("a.w", [1, 2], vec![0.0, 5.0]);
        let mut adam = AdamW::new(0.5);
        adam.step(&mut weights, &gradients, 0.1).unwrap();
        for (found, wanted) in weights.values("b").unwrap().iter().zip([0.4, -0.9]) {
            assert!((found - wanted).abs() < 1e-5, "{found}");
        }
        for (found, wanted) in weights.values("a.w").unwrap().iter().zip([0.95, 1.8]) {
            assert!((found - wanted).abs() < 1e-5, "{found}");
        }
        gradients.insert("b", [2], vec![f32::NAN, 0.0]);
        let before = (adam.clone(), weights.clone());
        assert!(adam.step(&mut weights, &gradients, 0.1).is_err());
        assert_eq!(before, (adam, weights));
    }

    #[test]
    fn a_checkpoint_goes_on_where_it_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut weights, mut adam) = (some(), AdamW::new(0.01));
        adam.step(&mut weights, &some(), 0.1).unwrap();
        adam.write_checkpoint(file.path(), &weights, &json!("net")).unwrap();
        let (mut other, mut state) = (some(), AdamW::new(0.01));
        assert!(state.read_checkpoint(file.path(), &mut other, &json!("other net")).is_err());
        state.read_checkpoint(file.path(), &mut other, &json!("net")).unwrap();
        adam.step(&mut weights, &some(), 0.1).unwrap();
        state.step(&mut other, &some(), 0.1).unwrap();
        assert_eq!((weights, adam), (other, state));
    }
}
