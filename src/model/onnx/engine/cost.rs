//! What a pass costs, for people: multiplications, memory, weights.

use super::{
    plan::Session,
    proto::{Dim, ValueInfo, width},
    tape::{Meter, Tape},
    value::{Kind, Value, elements},
};
use crate::error::{Error, Result};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

/// What stands for a free length that is an input's only axis: a second of sound at 16 kHz.
const LENGTH: usize = 16_000;

/// What one pass costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Samples of the pass: 1, or what the file fixes.
    pub samples: usize,
    /// Multiplications with an addition, of convolutions and matrix products as the file has them; nothing else is counted.
    pub products: u64,
    /// The most bytes of inputs and intermediate values that are alive at once, as the graph is run (without what a gradient keeps).
    pub memory: u64,
    /// Free lengths that no size was given for, with what stands for them.
    pub assumed: Vec<(String, usize)>,
}

impl Session {
    /// What a pass of one sample costs, by running it once. `sizes` are those of free dimensions, by their names or as `input.axis`; a free first
    /// dimension is 1, and a free length that is an input's only axis 16,000 (`assumed`). Errors list all sizes that are missing.
    pub fn cost(bytes: &[u8], folder: Option<&Path>, sizes: &BTreeMap<String, usize>) -> Result<Cost> {
        let plain = Self::open(bytes, folder, None, false)?;
        let (inputs, assumed) = inputs(plain.inputs(), sizes)?;
        // A single axis is the length of one sample.
        let samples = inputs.iter().filter(|v| v.shape.len() > 1).filter_map(|v| v.shape.first()).copied().max().unwrap_or(1);
        let mut tape = Tape::default();
        plain.run(inputs.clone(), &mut tape)?;
        let products = tape.products;
        drop(plain);
        let mut tape = Tape::default();
        tape.meter = Some(Meter::default());
        Self::load(bytes, folder, None)?.run(inputs, &mut tape)?;
        let memory = tape.meter.map_or(0, |m| m.most);
        Ok(Cost { samples, products, memory, assumed })
    }
}

/// Bytes of a file's constants in the file's own data types.
pub(super) fn bytes_of<'v>(constants: impl Iterator<Item = &'v Value>) -> u64 {
    let own = |v: &Value| if width(v.kind) == 0 { v.len().div_ceil(2) } else { v.len() * width(v.kind) };
    constants.map(|v| own(v) as u64).sum()
}

/// Zeros and ones of the declared shapes, and the lengths that were assumed.
fn inputs(of: &[ValueInfo], sizes: &BTreeMap<String, usize>) -> Result<(Vec<Value>, Vec<(String, usize)>)> {
    let first = |info: &ValueInfo| match info.shape.as_deref() {
        Some([Dim::Free(name), _, ..]) if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    let batch: HashSet<String> = of.iter().filter_map(first).collect();
    let (mut missing, mut used, mut values, mut assumed) = (Vec::new(), HashSet::new(), Vec::new(), Vec::new());
    for info in of {
        let shape = info.shape.as_ref().ok_or_else(|| Error::model(format!("the file declares no shape for {info}")))?;
        let mut own = Vec::with_capacity(shape.len());
        for (axis, dim) in shape.iter().enumerate() {
            let name = match dim {
                Dim::Fixed(n) if *n > 0 => {
                    own.push(*n);
                    continue;
                }
                Dim::Free(name) if !name.is_empty() => name.clone(),
                _ => format!("{}.{axis}", info.name),
            };
            match sizes.get(&name) {
                Some(n) => own.push(*n),
                None if batch.contains(&name) || (axis == 0 && shape.len() > 1) => own.push(1),
                // Whole numbers are ids or lengths, not a sound.
                None if shape.len() == 1 && !Kind::from_code(info.code)?.is_float() => own.push(1),
                None if shape.len() == 1 => {
                    own.push(LENGTH);
                    if !used.contains(&name) {
                        assumed.push((name.clone(), LENGTH));
                    }
                }
                None if missing.contains(&name) => {}
                None => missing.push(name.clone()),
            }
            used.insert(name);
        }
        if missing.is_empty() {
            let n = elements(&own)?;
            values.push(match Kind::from_code(info.code)? {
                kind if kind.is_float() => Value::floats(own, vec![0.0; n])?.like(kind),
                kind => Value::ints(kind, own, vec![1; n])?,
            });
        }
    }
    if !missing.is_empty() {
        return Err(Error::model(format!("the file leaves sizes free: {}", missing.join(", "))));
    }
    if let Some(unknown) = sizes.keys().find(|name| !used.contains(*name)) {
        let mut free: Vec<&str> = used.iter().map(String::as_str).collect();
        free.sort_unstable();
        let free = if free.is_empty() { "none".to_owned() } else { free.join(", ") };
        return Err(Error::model(format!("the file has no free size `{unknown}`; it has {free}")));
    }
    Ok((values, assumed))
}

/// Which buffers of a graph are alive: how many places hold each, and its bytes. Values that share their numbers count once.
#[derive(Debug)]
pub(super) struct Account {
    /// Buffers that are not the graph's own.
    outside: HashSet<usize>,
    held: HashMap<usize, (usize, u64)>,
    alive: u64,
}

impl Account {
    pub(super) fn new<'v>(outside: impl Iterator<Item = &'v Value>, inputs: impl Iterator<Item = &'v Value>) -> Self {
        let mut own = Self { outside: outside.map(|v| v.buffer().0).collect(), held: HashMap::new(), alive: 0 };
        own.exchange(&[], inputs);
        own
    }
    /// Bytes of all that are alive.
    pub(super) fn alive(&self) -> u64 {
        self.alive
    }
    /// Bytes of new values that lie in no buffer that is alive already.
    pub(super) fn fresh(&self, values: &[Value]) -> u64 {
        let new: HashMap<usize, u64> = values.iter().map(Value::buffer).collect();
        new.iter().filter(|(at, _)| !self.held.contains_key(at) && !self.outside.contains(at)).map(|(_, n)| n).sum()
    }
    /// Lets go what nobody needs, then takes new values in.
    pub(super) fn exchange<'v>(&mut self, released: &[usize], new: impl Iterator<Item = &'v Value>) {
        for at in released {
            if let Some((places, bytes)) = self.held.get_mut(at) {
                *places -= 1;
                if *places == 0 {
                    self.alive -= *bytes;
                    self.held.remove(at);
                }
            }
        }
        for (at, bytes) in new.map(Value::buffer).filter(|(at, _)| !self.outside.contains(at)) {
            let held = self.held.entry(at).or_insert((0, bytes));
            if held.0 == 0 {
                self.alive += bytes;
            }
            held.0 += 1;
        }
    }
}
