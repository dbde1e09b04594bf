//! A graph made ready: names become places, constants are computed once, every tensor is let go after its last use.

use super::{
    build::{Builder, Expander, Functions, Load},
    channels_last::Filter,
    cost::{self, Account},
    ops::{self, Inputs, Operator},
    proto::{ModelProto, NodeProto, ValueInfo},
    rooms::Rooms,
    tape::Tape,
    value::Value,
};
use crate::error::{Error, Result};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// An attribute of a node.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    Text(String),
    Tensor(Value),
    Graph(Arc<Graph>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    /// Constant weights made ready; no file has it.
    Filter(Arc<Filter>),
}

/// One step of a graph.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) operator: &'static Operator,
    pub(super) name: String,
    /// Version of the operator set that it follows.
    pub(super) version: i64,
    pub(super) attributes: HashMap<String, Attribute>,
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<Option<usize>>,
    /// Places of this graph that the graphs in its attributes see: attribute, place here, place there.
    pub(super) captures: Vec<(String, usize, usize)>,
    /// Places nobody needs after this step.
    pub(super) release: Vec<usize>,
}

/// A graph whose names are places.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) places: usize,
    pub(super) constants: Vec<(usize, Value)>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
}

impl Graph {
    /// Operators that take all samples of a pass into account.
    fn mixing(&self, found: &mut Vec<&'static str>) {
        for node in &self.nodes {
            if node.mixes() && !found.contains(&node.operator.name) {
                found.push(node.operator.name);
            }
            for attribute in node.attributes.values() {
                if let Attribute::Graph(inner) = attribute {
                    inner.mixing(found);
                }
            }
        }
    }

    /// Bytes of the constants in their own data types.
    fn bytes(&self) -> u64 {
        let ready = self.nodes.iter().flat_map(|n| n.attributes.values());
        let ready = ready.map(|a| if let Attribute::Filter(f) = a { 4 * f.len() as u64 } else { 0 }).sum::<u64>();
        cost::bytes_of(self.constants.iter().map(|(_, v)| v)) + ready
    }

    /// Numbers held as constants.
    fn weights(&self) -> usize {
        let ready = self.nodes.iter().flat_map(|n| n.attributes.values());
        let ready = ready.map(|a| if let Attribute::Filter(f) = a { f.len() } else { 0 }).sum::<usize>();
        self.constants.iter().map(|(_, v)| v.len()).sum::<usize>() + ready
    }

    /// Runs it. `seen` are values from outside, for the body of a branch or loop.
    pub(super) fn run(&self, inputs: Vec<Value>, seen: &[(usize, Value)], tape: &mut Tape) -> Result<Vec<Value>> {
        // The body of a loop may do nothing at all, or have many places.
        tape.spend(50_000usize.saturating_add(16 * self.places))?;
        let mut places: Vec<Option<Value>> = vec![None; self.places];
        for (at, value) in self.constants.iter().chain(seen) {
            places[*at] = Some(value.clone());
        }
        if inputs.len() != self.inputs.len() {
            return Err(Error::model(format!("expected {} inputs, found {}", self.inputs.len(), inputs.len())));
        }
        // What stands in the account of someone else already.
        let mut account = tape.meter.map(|m| {
            let given = inputs.iter().filter(|_| m.around.is_some());
            Account::new(self.constants.iter().chain(seen).map(|(_, v)| v).chain(given), inputs.iter())
        });
        for (at, value) in self.inputs.iter().zip(inputs) {
            places[*at] = Some(value);
        }
        for node in &self.nodes {
            let outputs = match &mut account {
                None => node.run(&mut places, tape)?,
                Some(account) => node.metered(&mut places, tape, account)?,
            };
            for (at, value) in node.outputs.iter().zip(outputs) {
                if let Some(at) = at {
                    places[*at] = Some(value);
                }
            }
        }
        let missing = || Error::model("an output of the graph was not computed");
        self.outputs.iter().map(|at| places[*at].clone().ok_or_else(missing)).collect()
    }
}

impl Node {
    fn run(&self, places: &mut [Option<Value>], tape: &mut Tape) -> Result<Vec<Value>> {
        let mut found = Vec::with_capacity(self.inputs.len());
        let seen = self.captures.iter().map(|(name, here, there)| {
            let value = places[*here].clone().ok_or_else(|| Error::model("a value from outside was not computed"))?;
            Ok((name.clone(), *there, value))
        });
        let seen = seen.collect::<Result<Vec<_>>>().map_err(|e| self.place(e))?;
        for (i, at) in self.inputs.iter().enumerate() {
            let Some(at) = at else {
                found.push(None);
                continue;
            };
            let again = self.inputs[i + 1..].contains(&Some(*at));
            let value = if self.release.contains(at) && !again { places[*at].take() } else { places[*at].clone() };
            if value.is_none() {
                return Err(self.place(Error::model(format!("its input {i} was not computed"))));
            }
            found.push(value);
        }
        for at in &self.release {
            places[*at].take().into_iter().for_each(|value| tape.give(value));
        }
        tape.spend(50_000).map_err(|e| self.place(e))?;
        let outputs = self.call(found, seen, tape)?;
        tape.made(&outputs).map_err(|e| self.place(e))?;
        Ok(outputs)
    }

    /// The same, with an account of the bytes that are alive.
    fn metered(&self, places: &mut [Option<Value>], tape: &mut Tape, account: &mut Account) -> Result<Vec<Value>> {
        let around = tape.meter.and_then(|m| m.around);
        let released: Vec<usize> = self.release.iter().filter_map(|at| places[*at].as_ref().map(|v| v.buffer().0)).collect();
        let before = around.unwrap_or(0) + account.alive();
        if let Some(meter) = &mut tape.meter {
            meter.around = Some(before);
        }
        let outputs = self.run(places, tape)?;
        if let Some(meter) = &mut tape.meter {
            meter.around = around;
            meter.most = meter.most.max(before + account.fresh(&outputs));
        }
        account.exchange(&released, self.outputs.iter().zip(&outputs).filter(|(at, _)| at.is_some()).map(|(_, v)| v));
        Ok(outputs)
    }

    /// Whether each row of its result takes all rows into account, by what the operator is. Others may do so by their axes (see `rows`).
    fn mixes(&self) -> bool {
        match self.operator.name {
            // One scale for the whole tensor.
            "DynamicQuantizeLinear" => true,
            "MeanVarianceNormalization" => self.ints("axes").is_none_or(|axes| axes.contains(&0)),
            _ => false,
        }
    }

    /// What it makes of its inputs; `seen` are the values from outside for the graphs in its attributes.
    pub(super) fn call(&self, values: Vec<Option<Value>>, seen: Vec<(String, usize, Value)>, tape: &mut Tape) -> Result<Vec<Value>> {
        let outputs = (self.operator.run)(self, tape, Inputs { values, seen }).map_err(|e| self.place(e))?;
        if self.outputs.iter().skip(outputs.len()).any(Option::is_some) {
            return Err(self.place(Error::model(format!("only the first {} outputs are supported", outputs.len()))));
        }
        Ok(outputs)
    }

    /// How many outputs it has.
    pub(super) fn wanted(&self) -> usize {
        self.outputs.len()
    }

    pub(super) fn place(&self, error: Error) -> Error {
        let name = if self.name.is_empty() { String::new() } else { format!(" `{}`", self.name) };
        error.at("node", format!("{}{name}", self.operator.name))
    }
}

/// What a file has, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Operator, with its domain where that is not the standard one.
    pub operator: String,
    /// How many nodes of it.
    pub count: usize,
    /// Whether it can be run.
    pub supported: bool,
    /// What a gradient does there.
    pub gradient: &'static str,
}

/// A graph with its declared inputs and outputs.
#[derive(Debug)]
pub struct Session {
    graph: Graph,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Notes of the file (`metadata_props`).
    metadata: BTreeMap<String, String>,
    producer: String,
    /// Numbers held as constants.
    weights: usize,
    weight_bytes: u64,
    mixing: Vec<&'static str>,
    rooms: Arc<Rooms>,
}

impl Session {
    /// Reads a file's bytes. `folder` is where its external data lies; `outputs` names any values of the graph, `None` for those it declares.
    /// Errors list every operator that cannot be run.
    pub fn load(bytes: &[u8], folder: Option<&Path>, outputs: Option<&[String]>) -> Result<Self> {
        Self::open(bytes, folder, outputs, true)
    }

    /// Without `fused`, every node is a step of its own, as the file has it.
    pub(super) fn open(bytes: &[u8], folder: Option<&Path>, outputs: Option<&[String]>, fused: bool) -> Result<Self> {
        let model = ModelProto::parse(bytes)?;
        let graph = model.graph.as_ref().ok_or_else(|| Error::internal("a model without a graph"))?;
        let reports = report(&model);
        let missing: Vec<String> = reports.iter().filter(|r| !r.supported).map(|r| format!("{} ({})", r.operator, r.count)).collect();
        if !missing.is_empty() {
            return Err(Error::model(format!("the graph has operators that are not supported: {}", missing.join(", "))));
        }
        let functions: Functions = model.functions.iter().map(|f| ((f.domain.as_str(), f.name.as_str()), f)).collect();
        let load = RefCell::new(Load::new());
        let nodes = Expander { functions: &functions, load: &load }.expand(&graph.nodes, 0)?;
        let versions: HashMap<&str, i64> = model.opsets.iter().map(|(d, v)| (d.as_str(), *v)).collect();
        let version = |domain: &str| versions.get(domain).copied().unwrap_or(1);
        let constants: HashSet<&str> = graph.initializers.iter().map(|t| t.name.as_str()).collect();
        let inputs: Vec<ValueInfo> = graph.inputs.iter().filter(|i| !constants.contains(i.name.as_str())).cloned().collect();
        let names: Vec<String> = match outputs {
            Some(names) => names.to_vec(),
            None => graph.outputs.iter().map(|o| o.name.clone()).collect(),
        };
        let mut builder = Builder::new(folder, &version, &functions, &load, None, fused);
        let (ready, _) = builder.build(graph, &nodes, &inputs, &names)?;
        let (weights, weight_bytes) = (ready.weights(), ready.bytes());
        let mut mixing = Vec::new();
        ready.mixing(&mut mixing);
        let metadata = model.metadata.into_iter().collect();
        Ok(Self {
            graph: ready,
            inputs,
            outputs: graph.outputs.clone(),
            metadata,
            producer: model.producer,
            weights,
            weight_bytes,
            mixing,
            rooms: Arc::default(),
        })
    }

    /// Which operators a file uses, in order of first use, whether they are supported or not.
    pub fn report(bytes: &[u8]) -> Result<Vec<NodeReport>> {
        Ok(report(&ModelProto::parse(bytes)?))
    }
    /// Declared inputs that are no constants.
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }
    /// Declared outputs.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }
    /// The file's own notes.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
    /// What wrote the file.
    pub fn producer(&self) -> &str {
        &self.producer
    }
    /// Numbers held as constants.
    pub fn weights(&self) -> usize {
        self.weights
    }
    /// Bytes of these numbers in the file's own data types.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }
    /// Operators by which a sample's answer depends on the others of its pass, whatever their shapes.
    pub fn mixing(&self) -> &[&'static str] {
        &self.mixing
    }
    /// Steps of a pass, after constants were computed.
    pub fn steps(&self) -> usize {
        self.graph.nodes.len()
    }
    /// One pass: a value for each of [`Self::inputs`]; the outputs that were asked for at load.
    pub fn run(&self, inputs: Vec<Value>, tape: &mut Tape) -> Result<Vec<Value>> {
        for (info, value) in self.inputs.iter().zip(&inputs) {
            if info.code != 0 && super::Kind::from_code(info.code)?.is_float() != value.kind.is_float() {
                return Err(Error::model(format!("the input {info} was given {:?}", value.kind)));
            }
        }
        tape.rooms = self.rooms.clone();
        self.graph.run(inputs, &[], tape)
    }
}

/// Every operator of the file, those in branches, loops and the file's own functions too.
fn report(model: &ModelProto) -> Vec<NodeReport> {
    type Key<'a> = (&'a str, &'a str);
    fn count<'a>(nodes: &'a [NodeProto<'a>], own: &HashSet<Key>, seen: &mut HashMap<Key<'a>, (usize, usize)>) {
        for node in nodes {
            let key = (node.domain.as_str(), node.op.as_str());
            if !own.contains(&key) {
                let first = seen.len();
                seen.entry(key).or_insert((first, 0)).1 += 1;
            }
            for graph in node.attributes.iter().filter_map(|a| a.graph.as_deref()) {
                count(&graph.nodes, own, seen);
            }
        }
    }
    let own: HashSet<(&str, &str)> = model.functions.iter().map(|f| (f.domain.as_str(), f.name.as_str())).collect();
    let mut seen = HashMap::new();
    for nodes in model.graph.iter().map(|g| &g.nodes).chain(model.functions.iter().map(|f| &f.nodes)) {
        count(nodes, &own, &mut seen);
    }
    let line = |((domain, name), count): ((&str, &str), usize)| {
        let found = ops::find(domain, name);
        NodeReport {
            operator: if domain.is_empty() { name.to_owned() } else { format!("{domain}.{name}") },
            count,
            supported: found.is_some(),
            gradient: found.map_or("", |o| o.slope.words()),
        }
    };
    let mut seen: Vec<(Key, (usize, usize))> = seen.into_iter().collect();
    seen.sort_by_key(|(_, (first, _))| *first);
    seen.into_iter().map(|(key, (_, count))| line((key, count))).collect()
}
