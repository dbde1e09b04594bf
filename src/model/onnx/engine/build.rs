//! From the messages of a file to a graph that runs: names become places, the file's own operators are written out, constants are computed once.
//! What all of that may cost is counted over the whole file.

use super::{
    fuse, ops,
    plan::{Attribute, Graph, Node},
    proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfo},
    tape::Tape,
    value::Value,
};
use crate::error::{Error, Result};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// The most numbers of a file's tensors, all of them together.
const MAX_HELD: usize = 1 << 29;
/// The most numbers that stay as computed constants; what is more is computed in every pass.
const MAX_FOLDED: usize = 1 << 25;
/// The most numbers that are made on the way to the constants, and the most work, both over the whole file.
const MAX_LOAD_MADE: u64 = 1 << 28;
const MAX_LOAD_WORK: u64 = 1 << 32;
/// Work that a step costs besides what it does.
const STEP: usize = 1000;
/// The most nodes, and the most bytes of them, after the file's own operators have been written out.
const MAX_EXPANDED: usize = 400_000;
const MAX_EXPANDED_BYTES: usize = 1 << 28;

/// What one file has cost so far: shared by all its graphs.
#[derive(Default)]
pub(super) struct Load {
    held: usize,
    folded: usize,
    written: usize,
    bytes: usize,
    fresh: usize,
    tape: Tape,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { tape: Tape::limited(MAX_LOAD_WORK, MAX_LOAD_MADE), ..Self::default() }
    }

    /// Counts a node that is written out.
    fn write(&mut self, node: &NodeProto) -> Result<()> {
        self.written += 1;
        self.bytes = self.bytes.saturating_add(node.size());
        if self.written > MAX_EXPANDED || self.bytes > MAX_EXPANDED_BYTES {
            return Err(endless());
        }
        Ok(())
    }

    /// Counts a tensor of the file, then reads it.
    fn hold(&mut self, tensor: &TensorProto, folder: Option<&Path>) -> Result<Value> {
        self.held = self.held.saturating_add(tensor.count()?);
        if self.held > MAX_HELD {
            return Err(Error::model(format!("the file's tensors have more than {MAX_HELD} numbers")));
        }
        tensor.value(folder)
    }
}

/// The file's own operators by domain and name.
pub(super) type Functions<'m, 'a> = HashMap<(&'m str, &'m str), &'m FunctionProto<'a>>;

/// Writes the file's own operators out where they are called.
pub(super) struct Expander<'m, 'a> {
    pub(super) functions: &'m Functions<'m, 'a>,
    pub(super) load: &'m RefCell<Load>,
}

impl<'a> Expander<'_, 'a> {
    pub(super) fn expand(&mut self, nodes: &[NodeProto<'a>], depth: usize) -> Result<Vec<NodeProto<'a>>> {
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.load.borrow_mut().write(node)?;
            if depth > 16 {
                return Err(endless());
            }
            match self.functions.get(&(node.domain.as_str(), node.op.as_str())) {
                None => out.push(node.clone()),
                Some(function) => out.extend(self.body(function, node, depth)?),
            }
        }
        Ok(out)
    }

    fn body(&mut self, function: &FunctionProto<'a>, call: &NodeProto<'a>, depth: usize) -> Result<Vec<NodeProto<'a>>> {
        let prefix = {
            let mut load = self.load.borrow_mut();
            load.fresh += 1;
            format!("{}/{}/", function.name, load.fresh)
        };
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
            self.load.borrow_mut().write(&node)?;
            body.push(node);
        }
        self.expand(&body, depth + 1)
    }
}

fn endless() -> Error {
    Error::model("the file's own operators call each other without end")
}

/// Turns names into places.
pub(super) struct Builder<'b> {
    folder: Option<&'b Path>,
    version: &'b dyn Fn(&str) -> i64,
    functions: &'b Functions<'b, 'b>,
    parent: Option<&'b mut dyn Outside>,
    names: HashMap<String, usize>,
    places: usize,
    known: HashMap<usize, Value>,
    load: &'b RefCell<Load>,
    captures: Vec<(usize, usize)>,
    /// Whether steps are put together.
    fused: bool,
}

/// What a graph sees of the one around it.
pub(super) trait Outside {
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
    pub(super) fn new(
        folder: Option<&'b Path>,
        version: &'b dyn Fn(&str) -> i64,
        functions: &'b Functions<'b, 'b>,
        load: &'b RefCell<Load>,
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
            load,
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
    pub(super) fn build(
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
            let value = self.load.borrow_mut().hold(tensor, self.folder)?;
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
                near.sort_by_key(|n| (crate::error::distance(n, name), *n));
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
            4 => {
                let tensor = of.tensor.as_ref().ok_or_else(|| Error::model("a tensor attribute without a tensor"))?;
                Attribute::Tensor(self.load.borrow_mut().hold(tensor, self.folder)?)
            }
            5 => {
                let graph = of.graph.as_deref().ok_or_else(|| Error::model("a graph attribute without a graph"))?;
                let nodes = Expander { functions: self.functions, load: self.load }.expand(&graph.nodes, 0)?;
                let names: Vec<String> = graph.outputs.iter().map(|o| o.name.clone()).collect();
                let (folder, version, functions, load, fused) = (self.folder, self.version, self.functions, self.load, self.fused);
                let mut inner = Builder::new(folder, version, functions, load, Some(self), fused);
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
        let known = |at: &Option<usize>| at.map(|at| self.known.get(&at).cloned().ok_or(()));
        let inputs: std::result::Result<Vec<Option<Value>>, ()> = node.inputs.iter().map(|at| known(at).transpose()).collect();
        let (true, Ok(inputs)) = (constant, inputs) else { return Ok(Some(node)) };
        let mut load = self.load.borrow_mut();
        load.tape.spend(STEP).map_err(|e| node.place(e))?;
        let outputs = node.call(inputs, Vec::new(), &mut load.tape)?;
        let size = outputs.iter().map(Value::len).sum::<usize>();
        // The numbers of a `Constant` are the file's own, and counted.
        let own = node.operator.name == "Constant";
        if !own {
            load.tape.made(&outputs).map_err(|e| node.place(e))?;
        }
        if own || load.folded.saturating_add(size) <= MAX_FOLDED {
            load.folded += if own { 0 } else { size };
            for (at, value) in node.outputs.iter().zip(outputs) {
                at.and_then(|at| self.known.insert(at, value));
            }
            return Ok(None);
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
