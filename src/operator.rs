//! How an operator is written and found: a typed config that builds it, and a table of such configs a family.

pub use crate::error::unknown;
use crate::{error::Problem, sample::ModalitySet};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{any::Any, collections::BTreeMap};

/// The written side of an operator of family `F` (`dyn Generator`, `dyn Miner`, ...): one struct whose fields are its
/// parameters and whose doc comment is its manual: a summary line, then paragraphs that begin with `Method:` and
/// `Reference:`.
pub trait Configure<F: ?Sized>: DeserializeOwned + Serialize + JsonSchema + 'static {
    /// Name in a pipeline file.
    const NAME: &'static str;
    /// Raised when the same config and the same recorded draws give other bytes than before: children of another version are not made again.
    const VERSION: u32 = 1;
    /// A config as it stands in a pipeline file, in YAML flow style.
    const EXAMPLE: &'static str;
    /// The operator, or every problem of the config with paths relative to it. `table` builds the children of a combinator.
    fn build(self, table: &Table<F>) -> Result<Box<F>, Vec<Problem>>;
    /// The config with all defaults filled in. A combinator fills in those of its children.
    fn resolved(&self, _table: &Table<F>) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }
}

/// What an operator needs; `build()` checks all of it before any data is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requirements {
    /// Score columns that an earlier stage must add.
    pub columns: Vec<String>,
    /// Score columns that an earlier stage must add and that are not ranked by, so that a measure will do.
    pub evidence: Vec<String>,
    /// Modalities whose input gradient the model must give.
    pub gradients: ModalitySet,
    /// Modalities that the model must have an embedding of.
    pub embeddings: ModalitySet,
    /// Modalities whose embedding's gradient with respect to the medium the model must give.
    pub embedding_gradients: ModalitySet,
    /// Modalities whose embeddings are compared with each other: they must be of one length.
    pub compared: ModalitySet,
    /// Modalities whose latent the model must decode.
    pub decodes: ModalitySet,
    /// Modalities whose latent must be that of a variational autoencoder.
    pub variational: ModalitySet,
    /// The training dynamics of a warm-up.
    pub history: bool,
    /// Models that never trained on the sample's group.
    pub teachers: bool,
    /// Several models of one architecture: out-of-fold teachers beside the subject, or recorded members.
    pub ensemble: bool,
    /// A model that answers about media that are no sample's, so that recorded predictions will not do.
    pub new_inputs: bool,
    /// How the teachers are trained (only the out-of-fold scorer says).
    pub folds: Option<FoldPlan>,
    /// Probe runs with threshold samples, and how they are trained.
    pub probe: Option<ProbePlan>,
    /// The embeddings of train and validation by the subject model.
    pub embedding_index: bool,
    /// Answers that must be kept of all samples at once.
    pub kept: Kept,
}

/// Which answers of the models are kept of all samples at once, for scorers that look at the whole split: `4 columns` bytes a sample each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The subject's embeddings of these modalities.
    pub embeddings: ModalitySet,
    /// The subject's fused embedding.
    pub fused: bool,
    /// The teachers' logits, each sample by the one that never saw its group.
    pub teacher_logits: bool,
    /// The subject's logits: of train and of validation.
    pub logits: bool,
}

impl Kept {
    /// What either keeps.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            embeddings: self.embeddings.or(other.embeddings),
            fused: self.fused || other.fused,
            teacher_logits: self.teacher_logits || other.teacher_logits,
            logits: self.logits || other.logits,
        }
    }
}

/// How out-of-fold models are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FoldPlan {
    /// Number of folds, at least 2.
    pub folds: usize,
    /// Epochs of each; `None` for as many as the warm-up.
    pub epochs: Option<usize>,
}

/// How probe runs with threshold samples are trained: two of them, with threshold samples that they do not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProbePlan {
    /// Epochs of each; `None` for as many as the warm-up.
    pub epochs: Option<usize>,
}

/// An operator with its name and its resolved config.
pub struct Built<F: ?Sized> {
    /// Name in the table.
    pub name: &'static str,
    /// Version of the operator.
    pub version: u32,
    /// The config with all defaults filled in; its digest goes into the lineage.
    pub config: Value,
    /// The operator.
    pub operator: Box<F>,
}

/// One line of a [`Table`].
pub struct Entry<F: ?Sized> {
    /// A config as it stands in a pipeline file.
    pub example: &'static str,
    /// Version of the operator.
    pub version: u32,
    /// JSON Schema of the config; its description is the operator's manual.
    pub schema: fn() -> Schema,
    build: fn(&Value, &Table<F>) -> Result<Built<F>, Vec<Problem>>,
}

/// The operators of one family, by name, and where these are made of parts, the table of the parts.
pub struct Table<F: ?Sized> {
    entries: BTreeMap<&'static str, Entry<F>>,
    parts: Option<Box<dyn Any + Send + Sync>>,
}

impl<F: ?Sized> Default for Table<F> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), parts: None }
    }
}

impl<F: ?Sized> Table<F> {
    /// Adds an operator. A name listed twice replaces the earlier one (a user's own operator may shadow a shipped one).
    #[must_use]
    pub fn with<C: Configure<F>>(mut self) -> Self {
        let entry = Entry { example: C::EXAMPLE, version: C::VERSION, schema: || schema_for!(C), build: build_one::<F, C> };
        self.entries.insert(C::NAME, entry);
        self
    }

    /// With the parts that its operators are made of (the transforms that generators choose from) in place of those it had.
    #[must_use]
    pub fn with_parts<P: ?Sized + 'static>(mut self, parts: Table<P>) -> Self {
        self.parts = Some(Box::new(parts));
        self
    }

    /// Adds one part to those it has.
    #[must_use]
    pub fn with_part<P: ?Sized + 'static, C: Configure<P>>(mut self) -> Self {
        let parts = self.parts.take().and_then(|parts| parts.downcast::<Table<P>>().ok());
        self.with_parts(parts.map_or_else(Table::default, |parts| *parts).with::<C>())
    }

    /// The parts of kind `P`, if it has such.
    pub fn parts<P: ?Sized + 'static>(&self) -> Option<&Table<P>> {
        self.parts.as_deref()?.downcast_ref()
    }

    /// All operators, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &Entry<F>)> {
        self.entries.iter().map(|(name, entry)| (*name, entry))
    }

    /// The operator called `name`.
    pub fn get(&self, name: &str) -> Option<&Entry<F>> {
        self.entries.get(name)
    }

    /// Builds `{ name: config }`, or `name` with its defaults; paths of the problems begin with the operator's name.
    pub fn build(&self, written: &Value) -> Result<Built<F>, Vec<Problem>> {
        let one = match written {
            Value::String(name) => Some((name, &Value::Null)),
            other => other.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next()),
        };
        let Some((name, config)) = one else {
            return Err(vec![Problem::new("", "expected one operator, written `name: { ... }`")]);
        };
        let Some(entry) = self.entries.get(name.as_str()) else {
            return Err(vec![Problem::key(name, unknown("operator", name, self.entries.keys().copied()))]);
        };
        // `loss:` with nothing behind it is the operator with its defaults.
        let empty = Value::Object(Default::default());
        let config = if config.is_null() { &empty } else { config };
        // serde would fill a struct from a list by position.
        if config.is_array() {
            return Err(vec![Problem::new(name, "expected a map of fields, found a list")]);
        }
        (entry.build)(config, self).map_err(|problems| problems.into_iter().map(|p| p.under(name)).collect())
    }
}

fn build_one<F: ?Sized, C: Configure<F>>(written: &Value, table: &Table<F>) -> Result<Built<F>, Vec<Problem>> {
    let (config, mut problems) = read_all::<C>(written);
    let resolved = config.as_ref().map(|config| config.resolved(table));
    let built = config.map(|config| config.build(table));
    match (resolved, built) {
        (Some(Ok(resolved)), Some(Ok(operator))) if problems.is_empty() => {
            return Ok(Built { name: C::NAME, version: C::VERSION, config: resolved, operator });
        }
        (Some(Err(error)), _) => problems.push(Problem::new("", error.to_string())),
        (_, Some(Err(found))) => problems.extend(found),
        _ => {}
    }
    Err(problems)
}

/// Reads a config and, where a field of it cannot be read, goes on without that field, so that every wrong field is told and the ranges of
/// the others are checked too. No config where a field that must be written is among the wrong ones.
fn read_all<C: DeserializeOwned>(written: &Value) -> (Option<C>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut rest = written.clone();
    loop {
        match read_config::<C>(&rest) {
            Ok(config) => return (Some(config), problems),
            Err(found) => {
                let wrong = found.first().map(|problem| problem.path.split(['.', '[']).next().unwrap_or_default().to_owned());
                let removed = rest.as_object_mut().and_then(|map| map.shift_remove(&wrong?));
                // What is missing only because it was taken out was told already.
                if removed.is_some() || problems.is_empty() {
                    problems.extend(found);
                }
                if removed.is_none() {
                    return (None, problems);
                }
            }
        }
    }
}

/// Reads a config from its value with the exact path of what is wrong in it, and a suggestion for an unknown key.
pub fn read_config<C: DeserializeOwned>(written: &Value) -> Result<C, Vec<Problem>> {
    serde_path_to_error::deserialize(written).map_err(|error| {
        let mut path = error.path().to_string();
        if path == "." {
            path.clear();
        }
        let message = error.inner().to_string();
        if let Some((key, rest)) = named(&message, "unknown field `") {
            // serde_path_to_error already ends the path in the unknown key for some formats; normalise to one.
            let parent = path.strip_suffix(key).map_or(path.as_str(), |parent| parent.trim_end_matches('.'));
            return vec![Problem::key(key, unknown("key", key, quoted(rest))).under(parent)];
        }
        if let Some((value, rest)) = named(&message, "unknown variant `") {
            return vec![Problem::new(path.trim_end_matches(".?"), unknown("value", value, quoted(rest)))];
        }
        vec![Problem::new(path, plain(&message))]
    })
}

/// Splits what serde says of an unknown name into the name and the rest.
fn named<'a>(message: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(start)?.split_once('`')
}

/// The names in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Rust's names of types mean nothing to the reader of a pipeline file.
fn plain(message: &str) -> String {
    let Some((found, wanted)) = message.strip_prefix("invalid ").and_then(|rest| rest.split_once(": ")?.1.rsplit_once(", expected "))
    else {
        return message.to_owned();
    };
    let wanted = match wanted {
        "u8" => "a whole number in 0..=255",
        "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "a text",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        other => other.strip_prefix("struct ").map_or(other, |_| "a map"),
    };
    let found = match found {
        "null" => "nothing".to_owned(),
        "map" => "a map".to_owned(),
        "sequence" => "a list".to_owned(),
        other => other
            .split_once(' ')
            .filter(|(kind, _)| matches!(*kind, "string" | "integer" | "floating" | "boolean"))
            .map_or_else(|| other.to_owned(), |(_, value)| format!("`{}`", value.trim_start_matches("point ").trim_matches(['`', '"']))),
    };
    format!("expected {wanted}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    trait Speak {
        fn speak(&self) -> String;
    }
    /// Says a word some times.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Say {
        word: String,
        #[serde(default)]
        times: u32,
    }
    impl Speak for Say {
        fn speak(&self) -> String {
            self.word.repeat(self.times as usize)
        }
    }
    impl Configure<dyn Speak> for Say {
        const NAME: &'static str = "say";
        const EXAMPLE: &'static str = "{ word: a }";
        fn build(self, _: &Table<dyn Speak>) -> Result<Box<dyn Speak>, Vec<Problem>> {
            Ok(Box::new(self))
        }
    }

    #[test]
    fn a_table_carries_the_parts_of_its_operators() {
        let table = Table::<dyn Speak>::default();
        assert!(table.parts::<dyn Speak>().is_none());
        let table = table.with_part::<dyn Speak, Say>().with::<Say>();
        assert!(table.parts::<dyn Speak>().is_some_and(|parts| parts.get("say").is_some()));
        assert!(table.parts::<dyn std::fmt::Debug>().is_none());
        let empty = table.with_parts(Table::<dyn Speak>::default());
        assert!(empty.parts::<dyn Speak>().is_some_and(|parts| parts.entries().count() == 0) && empty.get("say").is_some());
    }

    #[test]
    fn problems_carry_the_path_and_a_suggestion() {
        let table = Table::<dyn Speak>::default().with::<Say>();
        assert_eq!(table.build(&json!({ "say": { "word": "a", "times": 2 } })).unwrap().operator.speak(), "aa");
        let problem = |value| table.build(&value).err().unwrap().remove(0);
        let found = problem(json!({ "sya": {} }));
        assert_eq!((found.path.as_str(), found.at_key), ("sya", true));
        assert_eq!(found.message, "unknown operator `sya` (did you mean `say`?); known: say");
        let found = problem(json!({ "say": { "word": "a", "tiems": 2 } }));
        assert_eq!((found.path.as_str(), found.at_key), ("say.tiems", true));
        assert!(found.message.contains("did you mean `times`"), "{}", found.message);
        let found = problem(json!({ "say": { "word": "a", "times": -2 } }));
        assert_eq!((found.path.as_str(), found.message.as_str()), ("say.times", "expected a whole number of at least 0, found `-2`"));
        assert_eq!(problem(json!({ "say": { "word": 1.5 } })).message, "expected a text, found `1.5`");
        assert_eq!(problem(json!({ "say": [1] })).message, "expected a map of fields, found a list");
        assert_eq!(problem(json!({ "say": {} })).message, "missing field `word`");
        let all = |value| table.build(&value).err().unwrap().into_iter().map(|p| p.path).collect::<Vec<_>>();
        assert_eq!(all(json!({ "say": { "wrod": 1, "word": 2, "times": -1 } })), ["say.wrod", "say.word", "say.times"]);
        assert_eq!(all(json!({ "say": { "word": "a", "tiems": 1, "times": -1 } })), ["say.tiems", "say.times"]);
    }
}
