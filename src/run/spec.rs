//! A pipeline file: its YAML is read once into a plain value and a map from path to place, so that every later problem is
//! told at its own line and column. The only file that names `serde_yaml`.

use crate::{
    error::{Error, Problem, Result},
    pipeline::Plan,
    registry::Registry,
    run::overrides,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use serde_yaml::{DefaultMessageFormatter, Location, MessageFormatter, Spanned};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Where a problem stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the pipeline file.
    File {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// How many characters of the line it spans, at least 1.
        length: usize,
    },
    /// In a value given on the command line, quoted as it was written there.
    Argument(String),
}

/// A problem with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, and the path of the value.
    pub problem: Problem,
    /// Where it stands.
    pub place: Place,
}

#[derive(Debug, Clone)]
struct Mark {
    key: Option<Place>,
    value: Place,
}

/// A pipeline file that was read, with its overrides.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    base: PathBuf,
    text: String,
    value: Value,
    marks: BTreeMap<String, Mark>,
}

impl Spec {
    /// Reads `text`. `name` stands in messages; relative paths of the pipeline start at `base`. Broken YAML is one finding.
    pub fn parse(name: impl Into<String>, base: impl Into<PathBuf>, text: impl Into<String>) -> Result<Self, Box<Finding>> {
        let text = text.into();
        let tree: Spanned<Tree> = read(&text)?;
        let mut marks = BTreeMap::new();
        let value = plant(tree, None, String::new(), &text, &mut marks);
        Ok(Self { name: name.into(), base: base.into(), text, value, marks })
    }

    /// Name of the file, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The folder that relative paths start at.
    pub fn base(&self) -> &Path {
        &self.base
    }
    /// The text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The pipeline as a plain value, overrides included.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Applies `dotted.path=value`, where the value is YAML (`5`, `[a, b]`, `{ k: v }`) and the path may name a stage by its
    /// index or by its id: `data.limit=200`, `stages[2].generate.pgd.steps=5`, `stages.pgd.steps=5`. Missing maps in between
    /// are made. Problems of the value are later told at this argument.
    pub fn set(&mut self, written: &str) -> Result<()> {
        let (path, text) = written
            .split_once('=')
            .filter(|(path, _)| !path.trim().is_empty())
            .ok_or_else(|| Error::usage(format!("expected `--set dotted.path=value`, found `--set {written}`")))?;
        let value = value(text).map_err(|finding| {
            Error::usage(format!(
                "`--set {written}`: the value cannot be read: {}",
                finding.problem.message.lines().next().unwrap_or_default()
            ))
        })?;
        self.place(path.trim(), value, format!("--set {written}"))
    }

    /// Replaces the seed, as `--seed` does.
    pub fn set_seed(&mut self, seed: u64) -> Result<()> {
        self.place("seed", seed.into(), format!("--seed {seed}"))
    }

    fn place(&mut self, path: &str, value: Value, written: String) -> Result<()> {
        let touched = overrides::place(&mut self.value, path, value).map_err(|why| Error::usage(format!("`{written}`: {why}")))?;
        let place = Place::Argument(written);
        for path in touched.made.iter().chain([&touched.path]) {
            self.marks.retain(|other, _| !below(other, path));
            self.marks.insert(path.clone(), Mark { key: Some(place.clone()), value: place.clone() });
        }
        Ok(())
    }

    /// The checked plan, or every problem of the file with its place, in the order of the file. Reads no data.
    pub fn plan(&self, registry: &Registry) -> Result<Plan, Vec<Finding>> {
        Plan::from_value(&self.value, &self.base, registry).map_err(|problems| {
            let mut findings: Vec<Finding> = problems.into_iter().map(|problem| self.locate(problem)).collect();
            findings.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.problem.message.cmp(&b.problem.message)));
            findings.dedup();
            findings
        })
    }

    /// Finds the place of a problem: of its path, or of the nearest parent that is written (a missing field, a default).
    pub fn locate(&self, problem: Problem) -> Finding {
        let mut path = problem.path.as_str();
        let exact = self.marks.contains_key(path);
        let place = loop {
            if let Some(mark) = self.marks.get(path) {
                break match &mark.key {
                    // What is missing in a block is told at the block's name and not at its first entry.
                    Some(key) if (problem.at_key && exact) || (!exact && line(key) != line(&mark.value)) => key.clone(),
                    _ => mark.value.clone(),
                };
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None if path.is_empty() => break Place::File { line: 1, column: 1, length: 1 },
                None => path = "",
            }
        };
        Finding { problem, place }
    }
}

fn line(place: &Place) -> Option<usize> {
    match place {
        Place::File { line, .. } => Some(*line),
        Place::Argument(_) => None,
    }
}

/// Whether `path` is `parent` or lies in it.
fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads one YAML value without places: an operator's example, the value of `--set`.
pub fn value(text: &str) -> Result<Value, Box<Finding>> {
    let tree: Tree = read(text)?;
    Ok(tree.plain())
}

/// YAML as far as a pipeline needs it. Non-finite numbers have no JSON form and are refused here.
enum Tree {
    Leaf(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Tree {
    fn plain(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::List(list) => list.into_iter().map(|item| item.value.plain()).collect(),
            Self::Map(map) => map.into_iter().map(|(key, item)| (key.value, item.value.plain())).collect::<Map<_, _>>().into(),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf(Value::Null))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Tree, E> {
                if v.is_finite() { Ok(Tree::Leaf(v.into())) } else { Err(E::custom(format!("expected a finite number, found {v}"))) }
            }
            fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf(v.into()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Tree::Map(map))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

fn read<T: de::DeserializeOwned>(text: &str) -> Result<T, Box<Finding>> {
    // Anchors may not blow a small file up, and one file is one pipeline.
    let budget = serde_yaml::budget! { max_nodes: 20_000, max_depth: 32, max_documents: 1, max_aliases: 1_000 };
    // With strict booleans `no` stays text, as YAML 1.2 has it.
    let options = serde_yaml::options! { budget: budget, strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| Box::new(broken(text, &error)))
}

fn broken(text: &str, error: &serde_yaml::Error) -> Finding {
    let place = error.location().map_or(Place::File { line: 1, column: 1, length: 1 }, |at| place_of(at, text));
    let mut message = DefaultMessageFormatter.format_message(error.without_snippet()).trim().to_owned();
    if message.contains("Documents") {
        message = "expected one YAML document, found another".into();
    } else if message.starts_with("budget breached") {
        message = "expected at most 20000 values, 32 levels and 1000 aliases, found more".into();
    } else if message.starts_with("non-finite float") {
        message = message.replace(" rejected by the configured policy", "; expected a finite number");
        return Finding { problem: Problem::new("", message), place };
    } else if message.starts_with("recursive references") {
        return Finding { problem: Problem::new("", "an alias stands inside its own anchor"), place };
    } else if let Some((told, _)) = message.split_once(", set DuplicateKeyPolicy") {
        message = told.to_owned();
    }
    let hint = hint(text, line(&place).unwrap_or(1), &message).map(|hint| format!("\n{hint}")).unwrap_or_default();
    Finding { problem: Problem::new("", format!("{message}{hint}")), place }
}

/// What usually is meant by what cannot be read.
fn hint(text: &str, line: usize, message: &str) -> Option<&'static str> {
    let here = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indent: &str = &here[..here.len() - here.trim_start().len()];
    let count = |c: char| text.matches(c).count();
    if indent.contains('\t') || message.contains("a tab") {
        Some("YAML is indented by spaces: replace the tab")
    } else if message.contains("duplicate") {
        Some("a key may stand once in a map: remove or rename one of the two")
    } else if message.contains("one YAML document") {
        Some("one file is one pipeline: remove the `---`")
    } else if message.contains("found more") {
        None
    } else if count('{') > count('}') {
        Some("a `{` is not closed: add the missing `}`")
    } else if count('[') > count(']') {
        Some("a `[` is not closed: add the missing `]`")
    } else if here.trim().ends_with(['"', '\'']) || here.matches('"').count() % 2 == 1 {
        Some("close the quotes, or escape the quote inside them")
    } else if here.matches(": ").count() > 1 && !here.contains('{') {
        Some("quote a text that holds `: `, or write a map as `{ key: value }`")
    } else {
        Some("compare the indentation with the lines around it: a key stands below its siblings, by spaces")
    }
}

fn place_of(at: Location, text: &str) -> Place {
    let (line, column) = (at.line().max(1) as usize, at.column().max(1) as usize);
    let rest = text.lines().nth(line - 1).map_or(0, |line| line.chars().count().saturating_sub(column - 1));
    Place::File { line, column, length: (at.span().len() as usize).clamp(1, rest.max(1)) }
}

fn plant(tree: Spanned<Tree>, key: Option<Place>, path: String, text: &str, marks: &mut BTreeMap<String, Mark>) -> Value {
    marks.insert(path.clone(), Mark { key, value: place_of(tree.referenced, text) });
    match tree.value {
        Tree::Leaf(value) => value,
        Tree::List(list) => list.into_iter().enumerate().map(|(i, item)| plant(item, None, format!("{path}[{i}]"), text, marks)).collect(),
        Tree::Map(map) => map
            .into_iter()
            .map(|(key, item)| {
                let inner = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                (key.value, plant(item, Some(place_of(key.referenced, text)), inner, text, marks))
            })
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(text: &str) -> Spec {
        Spec::parse("p.yaml", ".", text).unwrap()
    }
    fn at(spec: &Spec, problem: Problem) -> (usize, usize, usize) {
        match spec.locate(problem).place {
            Place::File { line, column, length } => (line, column, length),
            Place::Argument(written) => panic!("{written}"),
        }
    }

    #[test]
    fn places_are_those_of_keys_and_values() {
        let spec = spec("a: 1\nstages:\n  - generate: { pgd: { stepz: 3 } }\n  - score: loss\n");
        assert_eq!(*spec.value(), json!({ "a": 1, "stages": [{ "generate": { "pgd": { "stepz": 3 } } }, { "score": "loss" }] }));
        assert_eq!(at(&spec, Problem::key("stages[0].generate.pgd.stepz", "")), (3, 24, 5));
        assert_eq!(at(&spec, Problem::new("stages[0].generate.pgd.stepz", "")), (3, 31, 1));
        // A field that is missing: where its map begins; an operator written as a bare name: at the name.
        assert_eq!(at(&spec, Problem::new("stages[0].generate.pgd.epsilon", "")).0, 3);
        assert_eq!(at(&spec, Problem::key("stages[1].score.loss", "")), (4, 12, 4));
        assert_eq!(at(&spec, Problem::new("model", "")), (1, 1, 1));
    }

    #[test]
    fn merge_keys_apply_and_booleans_are_strict() {
        assert_eq!(value("a: &x {n: no, v: 8/255}\nb: {<<: *x, m: 1}\n").unwrap()["b"], json!({ "n": "no", "v": "8/255", "m": 1 }));
        assert!(value("a: .nan").is_err() && value("a: 1\n---\nb: 2").is_err());
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(value(&deep).is_err() && value(&format!("[{}]", "1,".repeat(20_001))).is_err());
        assert!(value("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn an_overridden_value_points_at_its_argument() {
        let mut spec = spec("seed: 1\nstages:\n  - generate: { pgd: { steps: 3 } }\n");
        spec.set("stages[0].generate.pgd.steps=0").unwrap();
        spec.set("trian.rounds=2").unwrap();
        spec.set_seed(9).unwrap();
        assert_eq!(*spec.value(), json!({ "seed": 9, "stages": [{ "generate": { "pgd": { "steps": 0 } } }], "trian": { "rounds": 2 } }));
        let place = |path: &str| spec.locate(Problem::new(path, "")).place;
        assert_eq!(place("stages[0].generate.pgd.steps"), Place::Argument("--set stages[0].generate.pgd.steps=0".into()));
        assert_eq!(place("trian"), Place::Argument("--set trian.rounds=2".into()));
        assert_eq!(place("seed"), Place::Argument("--seed 9".into()));
        assert!(matches!(place("stages[0].generate.pgd.norm"), Place::File { line: 3, .. }));
    }

    #[test]
    fn a_wrong_override_is_told() {
        let mut spec = spec("a: 1\n");
        let message = |spec: &mut Spec, written| spec.set(written).unwrap_err().to_string();
        assert_eq!(message(&mut spec, "a"), "expected `--set dotted.path=value`, found `--set a`");
        assert_eq!(message(&mut spec, "a.b=1"), "`--set a.b=1`: `a` is 1 and no map, so that it has no `b`");
    }
}
