//! A graph made ready: names become places, constants are computed once, every tensor is let go after its last use.

use super::{
    channels_last::Filter,
    fuse,
    ops::{self, Inputs, Operator},
    proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfo},
    rooms::Rooms,
    tape::Tape,
    value::Value,
};
use crate::error::{Error, Result};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// The most elements of constants that are computed at load.
const MAX_FOLDED: usize = 1 << 25;
/// The most nodes after the file's own operators have been written out.
const MAX_EXPANDED: usize = 400_000;

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
    nodes: Vec<Node>,
    places: usize,
    constants: Vec<(usize, Value)>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

impl Graph {
    /// Numbers held as constants.
    fn weights(&self) -> usize {
        let ready = self.nodes.iter().flat_map(|n| n.attributes.values());
        let ready = ready.map(|a| if let Attribute::Filter(f) = a { f.len() } else { 0 }).sum::<usize>();
        self.constants.iter().map(|(_, v)| v.len()).sum::<usize>() + ready
    }

    /// Runs it. `seen` are values from outside, for the body of a branch or loop.
    pub(super) fn run(&self, inputs: Vec<Value>, seen: &[(usize, Value)], tape: &mut Tape) -> Result<Vec<Value>> {
        let mut places: Vec<Option<Value>> = vec![None; self.places];
        for (at, value) in self.constants.iter().chain(seen) {
            places[*at] = Some(value.clone());
        }
        if inputs.len() != self.inputs.len() {
            return Err(Error::model(format!("expected {} inputs, found {}", self.inputs.len(), inputs.len())));
        }
        for (at, value) in self.inputs.iter().zip(inputs) {
            places[*at] = Some(value);
        }
        for node in &self.nodes {
            let outputs = node.run(&mut places, tape)?;
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
        let outputs = (self.operator.run)(self, tape, Inputs { values: found, seen }).map_err(|e| self.place(e))?;
        tape.made(&outputs).map_err(|e| self.place(e))?;
        if self.outputs.iter().skip(outputs.len()).any(Option::is_some) {
            return Err(self.place(Error::model(format!("only the first {} outputs are supported", outputs.len()))));
        }
        Ok(outputs)
    }

    /// How many outputs it has.
    pub(super) fn wanted(&self) -> usize {
        self.outputs.len()
    }

    fn place(&self, error: Error) -> Error {
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
        let nodes = Expander { functions: &functions, written: 0, fresh: 0 }.expand(&graph.nodes, 0)?;
        let versions: HashMap<&str, i64> = model.opsets.iter().map(|(d, v)| (d.as_str(), *v)).collect();
        let version = |domain: &str| versions.get(domain).copied().unwrap_or(1);
        let constants: HashSet<&str> = graph.initializers.iter().map(|t| t.name.as_str()).collect();
        let inputs: Vec<ValueInfo> = graph.inputs.iter().filter(|i| !constants.contains(i.name.as_str())).cloned().collect();
        let names: Vec<String> = match outputs {
            Some(names) => names.to_vec(),
            None => graph.outputs.iter().map(|o| o.name.clone()).collect(),
        };
        let mut builder = Builder::new(folder, &version, &functions, None, fused);
        let (ready, _) = builder.build(graph, &nodes, &inputs, &names)?;
        let weights = ready.weights();
        let metadata = model.metadata.into_iter().collect();
        Ok(Self {
            graph: ready,
            inputs,
            outputs: graph.outputs.clone(),
            metadata,
            producer: model.producer,
            weights,
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

/// The file's own operators by domain and name.
type Functions<'m, 'a> = HashMap<(&'m str, &'m str), &'m FunctionProto<'a>>;

/// Writes the file's own operators out where they are called.
struct Expander<'m, 'a> {
    functions: &'m Functions<'m, 'a>,
    written: usize,
    fresh: usize,
}

impl<'a> Expander<'_, 'a> {
    fn expand(&mut self, nodes: &[NodeProto<'a>], depth: usize) -> Result<Vec<NodeProto<'a>>> {
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.written += 1;
            if self.written > MAX_EXPANDED || depth > 16 {
                return Err(Error::model("the file's own operators call each other without end"));
            }
            match self.functions.get(&(node.domain.as_str(), node.op.as_str())) {
                None => out.push(node.clone()),
                Some(function) => out.extend(self.body(function, node, depth)?),
            }
        }
        Ok(out)
    }

    fn body(&mut self, function: &FunctionProto<'a>, call: &NodeProto<'a>, depth: usize) -> Result<Vec<NodeProto<'a>>> {
        self.fresh += 1;
        let prefix = format!("{}/{}/", function.name, self.fresh);
        let mut names: HashMap<String, String> = HashMap::new();
        for (inner, outer) in function.inputs.iter().zip(call.inputs.iter().map(Some).chain(std::iter::repeat(None))) {
            names.insert(inner.clone(), outer.cloned().unwrap_or_default());
        }
        for (inner, outer) in function.outputs.iter().zip(&call.outputs) {
            if !outer.is_empty() {
                names.insert(inner.clone(), outer.clone());
            }
        }
        let rename = |name: &String| match names.get(name) {
            Some(outer) => outer.clone(),
            None if name.is_empty() => String::new(),
            None => format!("{prefix}{name}"),
        };
        let given = |name: &str| call.attributes.iter().chain(&function.defaults).find(|a| a.name == name);
        let mut body = Vec::new();
        for node in &function.nodes {
            let mut node = node.clone();
            if node.attributes.iter().any(|a| a.graph.is_some()) {
                return Err(Error::model(format!("branches inside the file's own operator `{}` are not supported", function.name)));
            }
            node.inputs = node.inputs.iter().map(&rename).collect();
            node.outputs = node.outputs.iter().map(&rename).collect();
            node.attributes = node
                .attributes
                .iter()
                .filter_map(|a| {
                    if a.reference.is_empty() {
                        Some(a.clone())
                    } else {
                        Some(AttributeProto { name: a.name.clone(), ..given(&a.reference)?.clone() })
                    }
                })
                .collect();
            body.push(node);
        }
        self.expand(&body, depth + 1)
    }
}

/// Turns names into places.
struct Builder<'b> {
    folder: Option<&'b Path>,
    version: &'b dyn Fn(&str) -> i64,
    functions: &'b Functions<'b, 'b>,
    parent: Option<&'b mut dyn Outside>,
    names: HashMap<String, usize>,
    places: usize,
    known: HashMap<usize, Value>,
    folded: usize,
    captures: Vec<(usize, usize)>,
    /// Whether steps are put together.
    fused: bool,
}

/// What a graph sees of the one around it.
trait Outside {
    fn place(&mut self, name: &str) -> Option<usize>;
}

impl Outside for Builder<'_> {
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.names.get(name) {
            return Some(*at);
        }
        let outer = self.parent.as_mut()?.place(name)?;
        let inner = self.define(name);
        self.captures.push((outer, inner));
        Some(inner)
    }
}

impl<'b> Builder<'b> {
    fn new(
        folder: Option<&'b Path>,
        version: &'b dyn Fn(&str) -> i64,
        functions: &'b Functions<'b, 'b>,
        parent: Option<&'b mut dyn Outside>,
        fused: bool,
    ) -> Self {
        Self {
            folder,
            version,
            functions,
            parent,
            names: HashMap::new(),
            places: 0,
            known: HashMap::new(),
            folded: 0,
            captures: Vec::new(),
            fused,
        }
    }

    fn define(&mut self, name: &str) -> usize {
        self.names.insert(name.to_owned(), self.places);
        self.places += 1;
        self.places - 1
    }

    /// The graph, and what it sees of the one around it: place there, place here.
    fn build(
        &mut self,
        graph: &GraphProto,
        nodes: &[NodeProto],
        inputs: &[ValueInfo],
        outputs: &[String],
    ) -> Result<(Graph, Vec<(usize, usize)>)> {
        if graph.sparse {
            return Err(Error::model("sparse constants are not supported"));
        }
        for tensor in &graph.initializers {
            let value = tensor.value(self.folder)?;
            let at = self.define(&tensor.name);
            self.known.insert(at, value);
        }
        let inputs: Vec<usize> = inputs.iter().map(|i| self.define(&i.name)).collect();
        let mut steps = Vec::new();
        for node in in_order(nodes, &self.names)? {
            let made = self.node(node).map_err(|e| e.at("node", format!("{} `{}`", node.op, node.name)))?;
            if let Some(step) = self.fold(made)? {
                steps.push(step);
            }
        }
        let mut wanted = Vec::new();
        for name in outputs {
            let at = self.place(name).ok_or_else(|| {
                let mut near: Vec<&String> = self.names.keys().filter(|n| !n.is_empty()).collect();
                near.sort_by_key(|n| crate::error::distance(n, name));
                let near: Vec<&str> = near.iter().take(5).map(|n| n.as_str()).collect();
                Error::model(format!("the graph has no value `{name}`; nearest: {}", near.join(", ")))
            })?;
            wanted.push(at);
        }
        let mut steps = fuse::needed(steps, &wanted);
        if self.fused {
            steps = fuse::fuse(steps, &mut self.known, &wanted, &mut self.places);
        }
        // Backwards: steps that nothing needs are left out, and each place is released by its last reader.
        let mut needed: HashSet<usize> = wanted.iter().copied().collect();
        let keep = needed.clone();
        let mut nodes: Vec<Node> = Vec::new();
        for mut step in steps.into_iter().rev() {
            if !step.outputs.iter().flatten().any(|at| needed.contains(at)) {
                continue;
            }
            let reads: Vec<usize> = step.inputs.iter().flatten().copied().chain(step.captures.iter().map(|(_, here, _)| *here)).collect();
            for at in reads {
                if needed.insert(at) && !keep.contains(&at) {
                    step.release.push(at);
                }
            }
            nodes.push(step);
        }
        nodes.reverse();
        let mut constants: Vec<(usize, Value)> = self.known.drain().filter(|(at, _)| needed.contains(at)).collect();
        constants.sort_by_key(|(at, _)| *at);
        let graph = Graph { nodes, places: self.places, constants, inputs, outputs: wanted };
        Ok((graph, std::mem::take(&mut self.captures)))
    }

    fn node(&mut self, node: &NodeProto) -> Result<Node> {
        let operator =
            ops::find(&node.domain, &node.op).ok_or_else(|| Error::model(format!("the operator `{}` is not supported", node.op)))?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            let at = if name.is_empty() {
                None
            } else {
                Some(self.place(name).ok_or_else(|| Error::model(format!("its input `{name}` is never computed")))?)
            };
            inputs.push(at);
        }
        let (mut attributes, mut captures) = (HashMap::new(), Vec::new());
        for attribute in &node.attributes {
            attributes.insert(attribute.name.clone(), self.attribute(attribute, &mut captures)?);
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for name in &node.outputs {
            if self.names.contains_key(name) && !name.is_empty() {
                return Err(Error::model(format!("the value `{name}` is computed twice")));
            }
            outputs.push((!name.is_empty()).then(|| self.define(name)));
        }
        let version = (self.version)(&node.domain);
        Ok(Node { operator, name: node.name.clone(), version, attributes, inputs, outputs, captures, release: Vec::new() })
    }

    fn attribute(&mut self, of: &AttributeProto, captures: &mut Vec<(String, usize, usize)>) -> Result<Attribute> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match of.kind {
            1 => Attribute::Float(of.float),
            2 => Attribute::Int(of.int),
            3 => Attribute::Text(text(of.text)),
            4 => Attribute::Tensor(
                of.tensor.as_ref().ok_or_else(|| Error::model("a tensor attribute without a tensor"))?.value(self.folder)?,
            ),
            5 => {
                let graph = of.graph.as_deref().ok_or_else(|| Error::model("a graph attribute without a graph"))?;
                let nodes = Expander { functions: self.functions, written: 0, fresh: 0 }.expand(&graph.nodes, 0)?;
                let names: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
                let (folder, version, functions, fused) = (self.folder, self.version, self.functions, self.fused);
                let mut inner = Builder::new(folder, version, functions, Some(self), fused);
                let (graph, seen) = inner.build(graph, &nodes, &graph.inputs, &names)?;
                captures.extend(seen.into_iter().map(|(outer, inner)| (of.name.clone(), outer, inner)));
                Attribute::Graph(Arc::new(graph))
            }
            6 => Attribute::Floats(of.floats.clone()),
            7 => Attribute::Ints(of.ints.clone()),
            8 => Attribute::Texts(of.texts.iter().map(|t| text(t)).collect()),
            other => return Err(Error::model(format!("the attribute `{}` is of the kind {other}, which is not supported", of.name))),
        })
    }

    /// Computes a step whose inputs are all known; `None` where it is done.
    fn fold(&mut self, node: Node) -> Result<Option<Node>> {
        let constant = node.captures.is_empty() && !node.attributes.values().any(|a| matches!(a, Attribute::Graph(_)));
        let mut places: Vec<Option<Value>> = Vec::new();
        if constant && node.inputs.iter().flatten().all(|at| self.known.contains_key(at)) {
            places.resize(self.places, None);
            for at in node.inputs.iter().flatten() {
                places[*at] = self.known.get(at).cloned();
            }
            let outputs = node.run(&mut places, &mut Tape::default())?;
            let size = outputs.iter().map(Value::len).sum::<usize>();
            if node.operator.name == "Constant" || self.folded + size <= MAX_FOLDED {
                self.folded += size;
                for (at, value) in node.outputs.iter().zip(outputs) {
                    at.and_then(|at| self.known.insert(at, value));
                }
                return Ok(None);
            }
        }
        Ok(Some(node))
    }
}

/// The nodes so that each follows what it reads. An error where they go round in a circle.
fn in_order<'n, 'a>(nodes: &'n [NodeProto<'a>], defined: &HashMap<String, usize>) -> Result<Vec<&'n NodeProto<'a>>> {
    let makers: HashMap<&str, usize> =
        nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i))).collect();
    fn reads<'x>(node: &'x NodeProto, to: &mut Vec<&'x str>) {
        to.extend(node.inputs.iter().map(String::as_str));
        for graph in node.attributes.iter().filter_map(|a| a.graph.as_deref()) {
            graph.nodes.iter().for_each(|n| reads(n, to));
            to.extend(graph.outputs.iter().map(|o| o.name.as_str()));
        }
    }
    let mut waiting = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let mut names = Vec::new();
        reads(node, &mut names);
        names.sort_unstable();
        names.dedup();
        for maker in names.iter().filter(|n| !defined.contains_key(**n)).filter_map(|n| makers.get(n)) {
            // A body may use a name of its own that this node also makes.
            if *maker != i || node.inputs.iter().any(|n| makers.get(n.as_str()) == Some(&i)) {
                waiting[i] += 1;
                readers[*maker].push(i);
            }
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes.len()).filter(|i| waiting[*i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(&nodes[i]);
        for &reader in &readers[i] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    if order.len() < nodes.len() {
        let stuck = nodes.iter().zip(&waiting).find(|(_, w)| **w > 0).map(|(n, _)| n.name.clone()).unwrap_or_default();
        return Err(Error::model(format!("the graph goes round in a circle at the node `{stuck}`")));
    }
    Ok(order)
}
