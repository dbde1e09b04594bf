use crate::sample::SampleId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The recorded draw of one child: enough to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The severity that was reached.
    pub severity: f64,
    /// What each transform drew, in the order of application.
    pub rules: Vec<Step>,
    /// Transforms that took no part, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

/// A transform that took no part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Its address.
    pub rule: String,
    /// Why.
    pub why: String,
    /// It refused; otherwise it had nothing to change, or was not drawn.
    pub refused: bool,
}

/// One transform that takes part: written `address: draw`, with `@version` behind the address from version 2 on, and `partners` where it has some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Step {
    /// The transform's name, with an ordinal from the second of a name on (`crop#2`).
    pub address: String,
    /// Version of what the draw means.
    pub version: u32,
    /// The drawn numbers.
    pub draw: Value,
    /// The other samples it takes from.
    pub partners: Vec<SampleId>,
}

const PARTNERS: &str = "partners";

/// The transform's name of an address.
pub(super) fn name(address: &str) -> &str {
    address.split('#').next().unwrap_or(address)
}

impl Step {
    /// The transform's name.
    pub fn name(&self) -> &str {
        name(&self.address)
    }
}

impl From<Step> for Map<String, Value> {
    fn from(step: Step) -> Self {
        let key = if step.version == 1 { step.address } else { format!("{}@{}", step.address, step.version) };
        let mut map = Map::new();
        map.insert(key, step.draw);
        if !step.partners.is_empty() {
            map.insert(PARTNERS.into(), step.partners.iter().map(|id| Value::from(id.as_str())).collect());
        }
        map
    }
}

impl TryFrom<Map<String, Value>> for Step {
    type Error = String;

    fn try_from(mut map: Map<String, Value>) -> Result<Self, String> {
        let partners: Vec<SampleId> = match map.shift_remove(PARTNERS) {
            Some(list) => serde_json::from_value(list).map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let mut rest = map.into_iter();
        match (rest.next(), rest.next()) {
            (Some((key, draw)), None) => {
                let (address, version) = match key.split_once('@') {
                    Some((address, version)) => {
                        (address.to_owned(), version.parse().map_err(|_| format!("`{key}` has no version behind the @"))?)
                    }
                    None => (key, 1),
                };
                Ok(Self { address, version, draw, partners })
            }
            _ => Err("expected one transform, written `name: { ... }`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_is_written_under_its_address() {
        let old: Step = serde_json::from_value(json!({ "flip": {} })).unwrap();
        assert_eq!((old.address.as_str(), old.version, old.partners.len()), ("flip", 1, 0));
        assert_eq!(serde_json::to_value(&old).unwrap(), json!({ "flip": {} }));
        let step = Step { address: "babble#2".into(), version: 3, draw: json!({ "snr_db": 1.5 }), partners: vec!["a".into(), "b".into()] };
        let written = serde_json::to_string(&step).unwrap();
        assert_eq!(written, r#"{"babble#2@3":{"snr_db":1.5},"partners":["a","b"]}"#);
        assert_eq!(serde_json::from_str::<Step>(&written).unwrap(), step);
        assert_eq!(step.name(), "babble");
        for wrong in [json!({}), json!({ "a": 1, "b": 2 }), json!({ "a@x": 1 }), json!({ "a": 1, "partners": 3 })] {
            assert!(serde_json::from_value::<Step>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
