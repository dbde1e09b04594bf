//! JSON Schema of a pipeline file, from the tables of a registry: editors complete and check with it.

use super::{Budget, ComparePlan, DropoutPlan, EvaluatePlan, OnError, RobustPlan, TrainPlan, build::CEILING};
use crate::{generate::engine, operator::Table, registry::Registry, sample::ReasonCode};
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value, json};

/// The schema, draft 2020-12.
pub fn schema(registry: &Registry) -> Value {
    let mut definitions = Definitions::default();
    let reader = definitions.family("reader", &registry.readers);
    let model = definitions.family("model", &registry.models);
    definitions.transforms(registry);
    let families = [
        ("score", definitions.family("score", &registry.scorers), "Adds score columns; larger is harder."),
        ("diagnose", definitions.family("diagnose", &registry.diagnosers), "Says why samples are hard, and which are wrong."),
        ("mine", definitions.family("mine", &registry.miners), "Chooses the samples worth it."),
        ("generate", definitions.family("generate", &registry.generators), "Makes neighbours of the chosen samples."),
        ("verify", definitions.family("verify", &registry.verifiers), "Judges candidates; all verifiers must pass."),
        ("feed", definitions.family("feed", &registry.feeders), "Takes accepted samples."),
    ];
    let on_error = definitions.of::<OnError>();
    let reason = definitions.of::<ReasonCode>();
    let stages: Vec<Value> = families
        .into_iter()
        .map(|(family, operators, about)| {
            let mut properties = json!({
                family: with_description(operators, about),
                "id": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "description": "Id of the stage; default: the operator's name with an ordinal. Seeds hang on it, and it prefixes score columns." },
            });
            if super::build::MEETS_SAMPLES.contains(&family) {
                properties["on_error"] = with_description(on_error.clone(), "What happens to a sample this stage cannot handle; default: that of `data`.");
            }
            if family == "generate" {
                properties["for"] = json!({ "type": "array", "minItems": 1, "items": reason, "description": "Reasons this stage serves; default: the operator's own." });
                properties["band"] = json!({ "type": "boolean", "default": true, "description": "Whether neighbours are searched until their loss lies in the round's band of difficulty; `false` takes them as they are drawn." });
            }
            json!({ "type": "object", "required": [family], "properties": properties, "additionalProperties": false })
        })
        .collect();
    let mut evaluate = definitions.of::<EvaluatePlan>();
    let robust = definitions.of::<RobustPlan>();
    evaluate["properties"]["robust"] =
        json!({ "description": "White-box attack; absent for none.", "anyOf": [robust.clone(), { "type": "null" }] });
    evaluate["properties"]["attacks"]["additionalProperties"] = robust;
    evaluate["properties"]["extra"]["additionalProperties"] = reader.clone();
    let mut train = definitions.of::<TrainPlan>();
    let dropout = definitions.of::<DropoutPlan>();
    train["properties"]["modality_dropout"] = json!({ "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 }, dropout] });
    let cures = ReasonCode::ALL.map(|code| (code.name().to_owned(), json!({ "type": "array", "items": { "type": "string" } })));
    let data = json!({
        "type": "object",
        "required": ["train"],
        "additionalProperties": false,
        "properties": {
            "train": with_description(reader.clone(), "Training split."),
            "validation": with_description(reader.clone(), "Validation split."),
            "test": with_description(reader, "Test split; read once, at the end."),
            "limit": { "type": ["integer", "null"], "minimum": 1, "description": "Use only the first so many samples of each split." },
            "group_by": { "type": ["string", "null"], "description": "Field whose equal values keep samples in one fold, besides shared media." },
            "on_error": with_description(on_error, "What happens to an unusable sample."),
            "ceiling": { "type": "number", "minimum": 0, "maximum": 1, "default": CEILING, "description": "Share of unusable samples of a split above which the run fails." },
        },
    });
    let properties = json!({
        "version": { "const": 1, "description": "Version of the format." },
        "name": { "type": "string", "minLength": 1, "default": "pipeline", "description": "Name of the pipeline." },
        "seed": { "type": "integer", "minimum": 0, "default": 0, "description": "Seed of every random draw." },
        "data": data,
        "model": with_description(model, "Where the model comes from."),
        "train": { "description": "Training, or `none` to generate only.", "anyOf": [train, { "const": "none" }, { "type": "null" }] },
        "stages": { "type": "array", "minItems": 1, "description": "The stages of a round: score, diagnose, mine, generate, verify, feed.", "items": { "anyOf": stages } },
        "cures": { "type": ["object", "null"], "additionalProperties": false, "properties": cures.into_iter().collect::<Map<_, _>>(), "description": "Generator stages by reason; replaces the operators' own tables." },
        "evaluate": with_description(evaluate, "The final evaluation."),
        "compare": with_description(definitions.of::<ComparePlan>(), "Arms and seeds of the comparison."),
        "budget": with_description(definitions.of::<Budget>(), "Limits; a run that reaches one ends in good order."),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hardmine pipeline",
        "type": "object",
        "required": ["version", "data", "model", "stages"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions.0,
    })
}

fn with_description(mut schema: Value, text: &str) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".into(), text.into());
    }
    schema
}

#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    /// One operator of a family: `{ name: config }`, or the bare name where every field has a default.
    fn family<F: ?Sized>(&mut self, family: &str, table: &Table<F>) -> Value {
        let mut written = Vec::new();
        for (name, entry) in table.entries() {
            let config = self.take(&format!("{family}.{name}"), (entry.schema)());
            let bare = config.get("required").is_none();
            let key = format!("{family}.{name}");
            let about = config.get("description").cloned().unwrap_or_default();
            self.0.insert(key.clone(), config);
            let config = json!({ "$ref": format!("#/$defs/{key}") });
            let config = if bare { json!({ "anyOf": [config, { "type": "null" }] }) } else { config };
            written.push(json!({ "type": "object", "required": [name], "properties": { name: config }, "additionalProperties": false }));
            if bare {
                written.push(json!({ "const": name, "description": about }));
            }
        }
        if written.is_empty() { json!(false) } else { json!({ "anyOf": written }) }
    }

    /// What generators choose from: [`engine::TRANSFORM`] and [`engine::TRANSFORMS`], to which their schemas refer.
    fn transforms(&mut self, registry: &Registry) {
        let empty = Table::default();
        let table = registry.transforms().unwrap_or(&empty);
        let one = self.family("transform", table);
        let probability = json!({ "type": "number", "minimum": 0, "maximum": 1, "default": 1, "description": "How often it takes part." });
        for (name, _) in table.entries() {
            if let Some(config) = self.0.get_mut(&format!("transform.{name}")) {
                config["properties"]["probability"] = probability.clone();
            }
        }
        let reference = json!({ "$ref": format!("#/$defs/{}", engine::TRANSFORM) });
        let one_of =
            json!({ "type": "array", "minItems": 1, "items": reference, "description": "One of these, probabilities being the weights." });
        let one_of = json!({ "type": "object", "required": ["one_of"], "properties": { "one_of": one_of }, "additionalProperties": false });
        self.0.insert(engine::TRANSFORM.into(), one);
        self.0.insert(engine::TRANSFORMS.into(), json!({ "anyOf": [reference, one_of] }));
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.take(&T::schema_name(), schema_for!(T))
    }

    /// Moves a schema's own definitions to the top, under names of its own, so that equal names of two operators do not meet.
    fn take(&mut self, prefix: &str, schema: Schema) -> Value {
        let mut value = schema.to_value();
        let own = value.as_object_mut().and_then(|map| {
            map.remove("$schema");
            map.shift_remove("$defs")
        });
        rename(&mut value, prefix);
        if let Some(Value::Object(own)) = own {
            for (name, mut definition) in own {
                rename(&mut definition, prefix);
                self.0.insert(format!("{prefix}.{name}"), definition);
            }
        }
        value
    }
}

fn rename(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) =
                            target.strip_prefix("#/$defs/").filter(|name| ![engine::TRANSFORM, engine::TRANSFORMS].contains(name))
                        {
                            *target = format!("#/$defs/{prefix}.{name}");
                        }
                    }
                    value => rename(value, prefix),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, prefix)),
        _ => {}
    }
}
