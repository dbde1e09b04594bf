//! `--set`: a dotted path into a plain value.

use crate::pipeline::stage_ids;
use serde_json::{Map, Value};

/// What an override touched.
#[derive(Debug, PartialEq)]
pub(super) struct Touched {
    /// Path of the value, with stages by index.
    pub(super) path: String,
    /// Paths of the maps that were made on the way, the outermost first.
    pub(super) made: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Puts `value` at `path`; the message says why that is impossible.
pub(super) fn place(root: &mut Value, path: &str, value: Value) -> Result<Touched, String> {
    let steps = name_stage(root, steps(path)?)?;
    let mut touched = Touched { path: String::new(), made: Vec::new() };
    let mut here = root;
    let mut fresh = false;
    for step in steps {
        if here.is_null() {
            *here = Value::Object(Map::new());
            if fresh {
                touched.made.push(touched.path.clone());
            }
        }
        let parent = if touched.path.is_empty() { "the pipeline" } else { touched.path.as_str() };
        match step {
            Step::Key(key) => {
                let found = short(here);
                let map = here.as_object_mut().ok_or_else(|| format!("`{parent}` is {found} and no map, so that it has no `{key}`"))?;
                fresh = !map.contains_key(&key);
                touched.path = if touched.path.is_empty() { key.clone() } else { format!("{}.{key}", touched.path) };
                here = map.entry(key).or_insert(Value::Null);
            }
            Step::Index(index) => {
                let found = short(here);
                let list = here.as_array_mut().ok_or_else(|| format!("`{parent}` is {found} and no list, so that it has no [{index}]"))?;
                let length = list.len();
                here =
                    list.get_mut(index).ok_or_else(|| format!("`{parent}` has {length} entries, [0] to [{}]", length.saturating_sub(1)))?;
                touched.path = format!("{}[{index}]", touched.path);
                fresh = false;
            }
        }
    }
    *here = value;
    Ok(touched)
}

fn short(value: &Value) -> String {
    match value {
        Value::Object(_) => "a map".into(),
        Value::Array(_) => "a list".into(),
        other => other.to_string(),
    }
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() {
            return Err("the path has an empty part; expected such as `data.limit` or `stages[0].score.loss`".into());
        }
        steps.push(Step::Key(key.to_owned()));
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or("`[` without `]` in the path")?;
            steps.push(Step::Index(index.parse().map_err(|_| format!("expected an index such as [0], found [{index}]"))?));
            rest = after;
        }
    }
    Ok(steps)
}

/// Turns `stages.ID.field` into `stages[i].family.operator.field`; `id`, `for`, `on_error` and `band` stay with the stage.
fn name_stage(root: &Value, steps: Vec<Step>) -> Result<Vec<Step>, String> {
    let [Step::Key(section), Step::Key(name), ..] = steps.as_slice() else { return Ok(steps) };
    let Some(stages) = root.get("stages").and_then(Value::as_array).filter(|_| section == "stages") else { return Ok(steps) };
    let ids = stage_ids(stages);
    let Some(index) = ids.iter().position(|id| id.as_ref() == Some(name)) else {
        let known: Vec<&str> = ids.iter().flatten().map(String::as_str).collect();
        return Err(crate::operator::unknown("stage", name, known));
    };
    let of_stage = match steps.get(2) {
        Some(Step::Key(field)) => matches!(field.as_str(), "id" | "for" | "on_error" | "band") || stages[index].get(field).is_some(),
        _ => false,
    };
    let mut resolved = vec![Step::Key("stages".into()), Step::Index(index)];
    if !of_stage {
        let family = stages[index]
            .as_object()
            .and_then(|map| map.iter().find(|(key, _)| !matches!(key.as_str(), "id" | "for" | "on_error" | "band")));
        let (family, written) = family.ok_or_else(|| format!("stage `{name}` has no operator"))?;
        resolved.push(Step::Key(family.clone()));
        match written {
            Value::Object(map) => resolved.extend(map.keys().next().map(|operator| Step::Key(operator.clone()))),
            _ => {
                return Err(format!(
                    "stage `{name}` is written without a config; write `{{ {family}: {{ {name}: {{}} }} }}` to set its fields"
                ));
            }
        }
    }
    resolved.extend(steps.into_iter().skip(2));
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placed(mut root: Value, path: &str, value: Value) -> Result<(Value, Touched), String> {
        place(&mut root, path, value).map(|touched| (root, touched))
    }

    #[test]
    fn maps_in_between_are_made() {
        let (value, touched) = placed(json!({ "model": null }), "model.fusion.image.channels", json!([8])).unwrap();
        assert_eq!(value, json!({ "model": { "fusion": { "image": { "channels": [8] } } } }));
        assert_eq!(touched.path, "model.fusion.image.channels");
        assert_eq!(touched.made, ["model.fusion", "model.fusion.image"]);
    }

    #[test]
    fn stages_are_found_by_index_id_and_name() {
        let root = json!({ "stages": [{ "generate": { "pgd": {} } }, { "generate": { "pgd": { "steps": 2 } } }, { "id": "x", "score": { "loss": {} } }] });
        let path = |path: &str| placed(root.clone(), path, json!(5)).map(|(_, touched)| touched.path);
        assert_eq!(path("stages[1].generate.pgd.steps").unwrap(), "stages[1].generate.pgd.steps");
        assert_eq!(path("stages.pgd.steps").unwrap(), "stages[0].generate.pgd.steps");
        assert_eq!(path("stages.pgd_2.steps").unwrap(), "stages[1].generate.pgd.steps");
        assert_eq!(path("stages.x.micro").unwrap(), "stages[2].score.loss.micro");
        assert_eq!(path("stages.x.on_error").unwrap(), "stages[2].on_error");
        assert_eq!(path("stages.pgd.band").unwrap(), "stages[0].band");
        assert_eq!(path("stages.pdg.steps").unwrap_err(), "unknown stage `pdg` (did you mean `pgd`?); known: pgd, pgd_2, x");
        assert_eq!(path("stages[7].id").unwrap_err(), "`stages` has 3 entries, [0] to [2]");
        assert_eq!(path("stages[x].id").unwrap_err(), "expected an index such as [0], found [x]");
        assert_eq!(path("a..b").unwrap_err(), "the path has an empty part; expected such as `data.limit` or `stages[0].score.loss`");
    }
}
