//! One written prediction, and the names by which its numbers are found.

use crate::{
    error::{Error, Result},
    read::line::{broken_json, shown},
    sample::{Modality, ModalitySet},
};
use serde_json::{Map, Value};

/// What a list of numbers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Logits, one a class.
    Logits,
    /// Probabilities, one a class.
    Probabilities,
    /// An embedding.
    Embedding,
}

/// A list of numbers by what it is and which modalities it is made of; no modalities for all that the sample has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub of: Option<u8>,
    pub what: What,
}

/// One sample at one epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Record {
    pub id: Option<String>,
    pub label: Option<String>,
    pub epoch: Option<u64>,
    /// Whose prediction this is, where an ensemble is written a line a member.
    pub member: Option<String>,
    /// Predictions of members that stand in the sample's own line.
    pub members: Vec<(String, What, Vec<f64>)>,
    pub lists: Vec<(Key, Vec<f64>)>,
    pub fields: Map<String, Value>,
}

impl Key {
    /// The name of a list: `logits`, `image_probabilities`, `image_audio_logits`, `embedding`, ... `None` for anything else.
    pub fn of(name: &str) -> Option<Self> {
        let mut words: Vec<&str> = name.split('_').collect();
        let what = match words.pop()? {
            "logits" | "logit" => What::Logits,
            "probabilities" | "probability" | "probs" | "prob" => What::Probabilities,
            "embedding" | "embeddings" | "features" => What::Embedding,
            _ => return None,
        };
        let mut set = ModalitySet::EMPTY;
        for word in &words {
            let modality = Modality::ALL.into_iter().find(|m| m.name() == *word).filter(|m| !set.has(*m))?;
            set = set.with(modality);
        }
        let bits = set.iter().map(|m| 1u8 << m as u8).sum::<u8>();
        // An embedding is of one modality or of all.
        (what != What::Embedding || set.len() < 2).then_some(Self { of: (bits > 0).then_some(bits), what })
    }

    /// The key of an NPY file by its name without extension: the longest ending that is a name.
    pub fn of_stem(stem: &str) -> Option<Self> {
        let starts = std::iter::once(0).chain(stem.match_indices('_').map(|(at, _)| at + 1));
        starts.filter_map(|at| Self::of(&stem[at..])).next()
    }

    /// What an array or a nested list of all members holds by its name: `member_logits`, `member_probabilities`, and an NPY file with such an ending.
    pub fn of_members(name: &str) -> Option<What> {
        let (before, what) = name.rsplit_once('_')?;
        let own = before.rsplit('_').next()?;
        let key = Self::of(what).filter(|key| key.what != What::Embedding)?;
        matches!(own, "member" | "members").then_some(key.what)
    }

    /// The modalities; `None` for all.
    pub fn modalities(self) -> Option<ModalitySet> {
        self.of.map(|bits| Modality::ALL.into_iter().filter(|m| bits >> *m as u8 & 1 == 1).collect())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for modality in self.modalities().unwrap_or(ModalitySet::EMPTY).iter() {
            write!(f, "{modality}_")?;
        }
        f.write_str(match self.what {
            What::Logits => "logits",
            What::Probabilities => "probabilities",
            What::Embedding => "embedding",
        })
    }
}

/// A whole number from 0.
pub(super) fn epoch(value: &Value) -> Result<u64> {
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|v| *v >= 0.0 && v.fract() == 0.0 && *v < 1e15).map(|v| v as u64));
    whole.ok_or_else(|| Error::data(format!("expected a whole number from 0, found {}", shown(value))).at("field", "epoch"))
}

/// An id or a label: a text or a whole number.
pub(super) fn name(value: Value, field: &'static str) -> Result<String> {
    match value {
        Value::String(name) if !name.is_empty() && name.len() <= 512 && !name.chars().any(char::is_control) => Ok(name),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other => Err(Error::data(format!("expected a name or a whole number, found {}", shown(&other))).at("field", field)),
    }
}

/// Reads one JSON line.
pub(super) fn of_json(line: &[u8]) -> Result<Record> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        let text = String::from_utf8_lossy(line);
        if text.contains("NaN") || text.contains("Infinity") {
            return Error::data("NaN or Infinity, which JSON does not have; a prediction is made of finite numbers");
        }
        broken_json(&error)
    })?;
    let Value::Object(map) = value else {
        return Err(Error::data(format!("expected a JSON object such as {{\"id\": \"a\", \"logits\": [...]}}, found {}", shown(&value))));
    };
    let mut record = Record::default();
    for (field, value) in map {
        if value.is_null() {
            continue;
        }
        // Cartography's training dynamics: `guid`, `gold` and one list an epoch.
        if let Some(number) = field.strip_prefix("logits_epoch_") {
            record.epoch = Some(number.parse().map_err(|_| Error::data(format!("`{field}` names no epoch")).at("field", &field))?);
            record.lists.push((Key { of: None, what: What::Logits }, list(value, &field)?));
            continue;
        }
        match (field.as_str(), Key::of(&field)) {
            ("id" | "guid", _) => record.id = Some(name(value, "id")?),
            ("label" | "gold", _) => record.label = Some(name(value, "label")?),
            ("epoch", _) => record.epoch = Some(epoch(&value)?),
            ("member", _) => record.member = Some(name(value, "member")?),
            ("member_logits" | "member_probabilities", _) => record.members.append(&mut members(value, &field)?),
            (_, Some(key)) => record.lists.push((key, list(value, &field)?)),
            (_, None) => {
                record.fields.insert(field, value);
            }
        }
    }
    Ok(record)
}

/// One list a member, which is named by its place.
fn members(value: Value, field: &str) -> Result<Vec<(String, What, Vec<f64>)>> {
    let what = Key::of_members(field).unwrap_or(What::Logits);
    match value {
        Value::Array(all) => all.into_iter().enumerate().map(|(k, one)| Ok((k.to_string(), what, list(one, field)?))).collect(),
        other => Err(Error::data(format!("expected a list of numbers for each member, found {}", shown(&other))).at("field", field)),
    }
}

fn list(value: Value, field: &str) -> Result<Vec<f64>> {
    let bad = |found: &Value| Error::data(format!("expected a list of numbers, found {}", shown(found))).at("field", field);
    match &value {
        Value::Array(items) => items.iter().map(|item| item.as_f64().ok_or_else(|| bad(item))).collect(),
        other => Err(bad(other)),
    }
}
