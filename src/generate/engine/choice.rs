use crate::{
    error::Problem,
    operator::{Built, Table, read_config},
    random::SeedTree,
    transform::{self, Transform},
    units::Probability,
};
use rand::RngExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A transform with how often it takes part.
pub struct Chosen {
    /// How often it takes part; within a `one_of` its weight.
    pub probability: Probability,
    /// The transform.
    pub transform: Box<dyn Transform>,
    config: Value,
}

impl Chosen {
    /// A transform that is written in code.
    pub fn of<E: transform::Effect>(effect: E, probability: Probability) -> Self {
        let config = serde_json::to_value(&effect).unwrap_or_default();
        Self { probability, transform: Box::new(effect), config }
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.transform.name()
    }
    /// Whether its probability is above 0.
    pub fn may_fire(&self) -> bool {
        self.probability.get() > 0.0
    }
    fn resolved(&self) -> Value {
        let mut config = Map::new();
        config.insert(PROBABILITY.into(), json!(self.probability));
        config.extend(self.config.as_object().cloned().unwrap_or_default());
        json!({ self.name(): config })
    }
}

/// One place in the list of transforms.
pub enum Node {
    /// One transform.
    One(Box<Chosen>),
    /// One of several.
    OneOf(Vec<Chosen>),
}

impl Node {
    /// All transforms that may stand in its place.
    pub fn all(&self) -> &[Chosen] {
        match self {
            Self::One(chosen) => std::slice::from_ref(chosen),
            Self::OneOf(list) => list,
        }
    }
    /// Whether one of them may ever fire.
    pub fn may_fire(&self) -> bool {
        self.all().iter().any(Chosen::may_fire)
    }
}

const PROBABILITY: &str = "probability";
const ONE_OF: &str = "one_of";

/// Definition of one transform in the schema of pipeline files.
pub const TRANSFORM: &str = "transform";
/// Definition of one transform or one of several.
pub const TRANSFORMS: &str = "transform_or_one_of";

fn list_of(definition: &str) -> Schema {
    json_schema!({ "type": "array", "items": { "$ref": format!("#/$defs/{definition}") } })
}
/// Schema of a list of transforms.
pub fn rules_schema(_: &mut SchemaGenerator) -> Schema {
    list_of(TRANSFORM)
}
/// Schema of a list of which each place is a transform or one of several.
pub fn transforms_schema(_: &mut SchemaGenerator) -> Schema {
    list_of(TRANSFORMS)
}

/// Reads a list of transforms, each `name: { ... }` (with `probability` among its fields, 1 where it is left out), the bare name, or `one_of: [ ... ]`.
pub fn nodes(written: &[Value], table: &Table<dyn Transform>, field: &str) -> Result<Vec<Node>, Vec<Problem>> {
    let (mut nodes, mut problems) = (Vec::new(), Vec::new());
    for (i, value) in written.iter().enumerate() {
        match node(value, table) {
            Ok(node) => nodes.push(node),
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.under(&format!("{field}[{i}]")))),
        }
    }
    if problems.is_empty() { Ok(nodes) } else { Err(problems) }
}

fn node(written: &Value, table: &Table<dyn Transform>) -> Result<Node, Vec<Problem>> {
    let Some(inside) = written.as_object().filter(|map| map.len() == 1).and_then(|map| map.get(ONE_OF)) else {
        return one(written, table).map(|chosen| Node::One(Box::new(chosen)));
    };
    let list = inside.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| vec![Problem::new(ONE_OF, "expected a list of at least one transform")])?;
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (i, value) in list.iter().enumerate() {
        match one(value, table) {
            Ok(chosen) => all.push(chosen),
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.under(&format!("{ONE_OF}[{i}]")))),
        }
    }
    if problems.is_empty() && !all.iter().any(Chosen::may_fire) {
        problems.push(Problem::new(ONE_OF, "no transform in it has a probability above 0"));
    }
    if problems.is_empty() { Ok(Node::OneOf(all)) } else { Err(problems) }
}

/// Reads one transform.
pub fn one(written: &Value, table: &Table<dyn Transform>) -> Result<Chosen, Vec<Problem>> {
    let mut written = match written {
        Value::String(name) => json!({ name.as_str(): {} }),
        other => other.clone(),
    };
    let mut problems = Vec::new();
    let mut probability = transform::often(1.0);
    if let Some((name, Value::Object(config))) = written.as_object_mut().filter(|map| map.len() == 1).and_then(|map| map.iter_mut().next())
        && let Some(value) = config.shift_remove(PROBABILITY)
    {
        match read_config::<Probability>(&value) {
            Ok(read) => probability = read,
            Err(found) => problems.extend(found.into_iter().map(|problem| problem.under(&format!("{name}.{PROBABILITY}")))),
        }
    }
    match table.build(&written) {
        Ok(Built { config, operator, .. }) if problems.is_empty() => Ok(Chosen { probability, transform: operator, config }),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

/// The list with all defaults filled in; where it cannot be read, as it is written.
pub fn resolved(written: &[Value], table: &Table<dyn Transform>) -> Vec<Value> {
    let one = |value: &Value| match node(value, table) {
        Ok(Node::One(chosen)) => chosen.resolved(),
        Ok(Node::OneOf(list)) => json!({ ONE_OF: list.iter().map(Chosen::resolved).collect::<Vec<_>>() }),
        Err(_) => value.clone(),
    };
    written.iter().map(one).collect()
}

/// Opens what the transforms take from files; paths of the problems begin with the transform's name.
pub(super) fn bind(nodes: &mut [Node], base: &Path) -> Vec<Problem> {
    let all = nodes.iter_mut().flat_map(|node| match node {
        Node::One(chosen) => std::slice::from_mut(&mut **chosen),
        Node::OneOf(list) => list,
    });
    all.filter_map(|chosen| {
        let name = chosen.name();
        chosen.transform.bind_files(base).err().map(|problem| problem.under(name))
    })
    .collect()
}

/// Which of several is drawn, by their probabilities as weights.
pub(super) fn weighted(own: &[(String, &Chosen)], seeds: &SeedTree) -> usize {
    let total: f64 = own.iter().map(|(_, chosen)| chosen.probability.get()).sum();
    let mut left = seeds.rng().random_range(0.0..1.0) * total;
    let found = own.iter().position(|(_, chosen)| {
        left -= chosen.probability.get();
        left < 0.0
    });
    found.unwrap_or(0)
}

/// The table of transforms that a table of generators carries, the shipped one where it carries none.
pub fn with_transforms<F: ?Sized, T>(table: &Table<F>, read: impl FnOnce(&Table<dyn Transform>) -> T) -> T {
    match table.parts::<dyn Transform>() {
        Some(parts) => read(parts),
        None => read(&transform::table()),
    }
}
