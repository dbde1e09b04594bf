//! The operators and their documentation, derived from their types: doc comments and schemas.

use super::{Outcome, print};
use crate::{
    operator::{Table, unknown},
    registry::Registry,
};
use clap::Args;
use serde_json::Value;
use std::fmt::Write;

/// List the operators with their documentation
#[derive(Debug, Args)]
pub(super) struct List {
    /// model, read, score, diagnose, mine, generate, transform, verify or feed
    family: Option<String>,
    /// Print the pages as Markdown
    #[arg(long)]
    markdown: bool,
}

impl List {
    pub(super) fn execute(self) -> Outcome {
        let mut families = families(&Registry::default());
        if let Some(wanted) = &self.family {
            let known: Vec<&str> = families.iter().map(|family| family.name).collect();
            if !known.contains(&wanted.as_str()) {
                return Err(crate::error::Error::usage(unknown("family", wanted, known)).into());
            }
            families.retain(|family| family.name == wanted);
        }
        if self.markdown {
            print(&markdown_of(&families))
        } else if self.family.is_some() {
            print(&families.iter().flat_map(|family| &family.operators).map(Manual::plain).collect::<Vec<_>>().join("\n"))
        } else {
            print(&overview(&families))
        }
    }
}

/// One operator's manual.
#[derive(Debug, Clone, PartialEq)]
pub struct Manual {
    /// Name in a pipeline file.
    pub name: String,
    /// Version of the operator.
    pub version: u32,
    /// First line of the documentation.
    pub summary: String,
    /// The other paragraphs, in order, each on one line.
    pub paragraphs: Vec<String>,
    /// A config as it stands in a pipeline file.
    pub example: String,
    /// Its fields, those of nested maps by dotted name.
    pub fields: Vec<Field>,
}

/// One field of a config.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Dotted name.
    pub name: String,
    /// Type in words.
    pub kind: String,
    /// Default as JSON; `None` where the field must be written.
    pub default: Option<String>,
    /// What it is.
    pub about: String,
}

/// The operators of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Key in a pipeline file (`read` is written under `data:`).
    pub name: &'static str,
    /// What the family does.
    pub about: &'static str,
    /// By name.
    pub operators: Vec<Manual>,
}

/// All families of a registry, in the order of a pipeline.
pub fn families(registry: &Registry) -> Vec<Family> {
    fn of<F: ?Sized>(name: &'static str, about: &'static str, table: &Table<F>) -> Family {
        let operators = table.entries().map(|(name, entry)| manual(name, entry.version, entry.example, (entry.schema)().to_value()));
        Family { name, about, operators: operators.collect() }
    }
    vec![
        of("model", "Where the model comes from; written under `model:`.", &registry.models),
        of("read", "Where samples come from; written under `data:`.", &registry.readers),
        of("score", "One number a sample and column; larger is harder.", &registry.scorers),
        of("diagnose", "Why a sample is hard, and which are wrong.", &registry.diagnosers),
        of("mine", "Which samples are worth it.", &registry.miners),
        of("generate", "Neighbours of the chosen samples.", &registry.generators),
        of(
            "transform",
            "What `augment` and `synchronized` choose from, each with `probability` (0..=1, default 1) among its fields.",
            registry.transforms().unwrap_or(&Table::default()),
        ),
        of("verify", "Whether a neighbour may be fed; all verifiers must pass.", &registry.verifiers),
        of("feed", "Where accepted samples go.", &registry.feeders),
    ]
}

fn manual(name: &str, version: u32, example: &str, schema: Value) -> Manual {
    let text = schema["description"].as_str().unwrap_or_default();
    let mut paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|p| !p.is_empty());
    let summary = paragraphs.next().unwrap_or_default();
    let mut fields = Vec::new();
    collect(&schema, &schema, "", 0, &mut fields);
    Manual { name: name.into(), version, summary, paragraphs: paragraphs.collect(), example: example.into(), fields }
}

/// Follows references; a combinator refers to itself through plain values, and depth ends what would not.
fn collect(root: &Value, schema: &Value, prefix: &str, depth: usize, fields: &mut Vec<Field>) {
    let Some(properties) = schema["properties"].as_object().filter(|_| depth < 4) else { return };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, written) in properties {
        let inner = resolve(root, written);
        let about = written["description"].as_str().or(inner["description"].as_str()).unwrap_or_default();
        let name_here = format!("{prefix}{name}");
        let nested = inner["properties"].is_object();
        let default = written.get("default").or(schema["default"].get(name)).map(short);
        fields.push(Field {
            name: name_here.clone(),
            kind: kind(root, written),
            default: if nested {
                default.map(|_| "see below".into())
            } else {
                default.or_else(|| (!required.contains(&name.as_str())).then(|| "none".into()))
            },
            about: about.split_whitespace().collect::<Vec<_>>().join(" "),
        });
        collect(root, inner, &format!("{name_here}."), depth + 1, fields);
    }
}

/// A default as it would be written: single-precision numbers without the digits that doubling adds.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(double) if f64::from(double as f32) == double => (double as f32).to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|target| root.pointer(target.trim_start_matches('#')));
    if let Some(target) = target {
        return target;
    }
    // `Option<T>` is anyOf [T, null].
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, null]) if null["type"] == "null" => resolve(root, one),
        _ => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(Value::to_string).map(|text| text.trim_matches('"').to_owned()).collect()
    };
    if schema["enum"].is_array() {
        return names(&schema["enum"]).join(" or ");
    }
    if !schema["const"].is_null() {
        return schema["const"].to_string().trim_matches('"').to_owned();
    }
    if schema["$ref"].is_string() {
        let target = resolve(root, schema);
        // What is defined elsewhere in the schema of a pipeline file.
        let elsewhere = || schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()).unwrap_or("value").replace('_', " ");
        return if std::ptr::eq(target, schema) { elsewhere() } else { kind(root, target) };
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(list) = schema[several].as_array() {
            let mut kinds: Vec<String> = Vec::new();
            for kind in list.iter().filter(|one| one["type"] != "null").map(|one| kind(root, one)) {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            return kinds.join(" or ");
        }
    }
    let named = |name: &str| match name {
        "integer" => "whole number".to_owned(),
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "object" => match schema["properties"].as_object() {
            // An enum's variant with fields is a map with one key.
            Some(properties) if properties.len() == 1 && schema["required"].is_array() && schema["additionalProperties"] == false => {
                format!("{{ {}: ... }}", properties.keys().next().map_or("", String::as_str))
            }
            _ => "map".to_owned(),
        },
        "array" if schema["items"].is_object() => format!("list of {}", kind(root, &schema["items"])),
        "array" => "list".to_owned(),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => named(name),
        Value::Array(list) => {
            list.iter().filter_map(Value::as_str).filter(|name| *name != "null").map(named).collect::<Vec<_>>().join(" or ")
        }
        _ => "value".into(),
    }
}

impl Manual {
    fn plain(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.summary);
        for paragraph in &self.paragraphs {
            let _ = write!(text, "\n{}\n", wrap(paragraph, 2));
        }
        let _ = write!(text, "\n  Example: {}: {}\n", self.name, self.example);
        for field in &self.fields {
            let default = field.default.as_ref().map_or("required".into(), |default| format!("default {default}"));
            let _ = write!(text, "\n  {} ({}; {default})\n{}\n", field.name, field.kind, wrap(&field.about, 6));
        }
        text
    }
}

fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut width = usize::MAX;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width.saturating_add(1 + length) > 100 {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

fn overview(families: &[Family]) -> String {
    let widest = families.iter().flat_map(|family| &family.operators).map(|operator| operator.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for family in families {
        let _ = writeln!(text, "{}: {}", family.name, family.about);
        for operator in &family.operators {
            let _ = writeln!(text, "  {:widest$}  {}", operator.name, operator.summary);
        }
        text.push('\n');
    }
    text.push_str("More of one family: hardmine list FAMILY");
    text
}

/// `docs/operators.md`: every operator with its documentation and fields.
pub fn markdown(registry: &Registry) -> String {
    markdown_of(&families(registry))
}

fn markdown_of(families: &[Family]) -> String {
    let mut text = String::from(
        "# Operators\n\nMade from the documentation in the code by `hardmine list --markdown`; do not edit.\n\nA config may be left out where every field has a default: `- score: loss` is `- score: { loss: {} }`.\n",
    );
    for family in families {
        let _ = write!(text, "\n## {}\n\n{}\n", family.name, family.about);
        for operator in &family.operators {
            let _ = write!(text, "\n### {}\n\n{}\n", operator.name, operator.summary);
            for paragraph in &operator.paragraphs {
                let label = ["Method:", "Reference:"].into_iter().find(|label| paragraph.starts_with(label));
                let rest = label.map_or(paragraph.as_str(), |label| paragraph[label.len()..].trim_start());
                let _ = match label {
                    Some(label) => write!(text, "\n**{label}** {rest}\n"),
                    None => write!(text, "\n{rest}\n"),
                };
            }
            let _ = write!(text, "\n```yaml\n{}: {}\n```\n", operator.name, operator.example);
            if !operator.fields.is_empty() {
                text.push_str("\n| field | type | default | |\n|---|---|---|---|\n");
            }
            for field in &operator.fields {
                let cell = |text: &str| text.replace('|', "\\|");
                let default = field.default.as_ref().map_or_else(|| "required".to_owned(), |default| format!("`{}`", cell(default)));
                let _ = writeln!(text, "| `{}` | {} | {default} | {} |", field.name, cell(&field.kind), cell(&field.about));
            }
        }
    }
    text
}
