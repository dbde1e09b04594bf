//! What every operator keeps to, read off the registry: a new operator is tested by being listed.

use crate::golden::root;
use hardmine::{
    cli::list::{self, Manual},
    operator::Table,
    registry::Registry,
    run::spec,
};
use serde_json::{Map, Value, json};

/// What the contract has to say against the operators of one family.
fn family<F: ?Sized>(family: &str, table: &Table<F>, manuals: &[Manual], wrong: &mut Vec<String>) {
    for (name, entry) in table.entries() {
        let mut against = |what: String| wrong.push(format!("{family}/{name}: {what}"));
        let snake = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !snake {
            against("the name is not snake_case".into());
        }
        let folders: Vec<String> = match family {
            "transform" => ["image", "audio", "text", "scene"].map(|kind| format!("src/transform/{kind}")).into(),
            _ => vec![format!("src/{family}")],
        };
        let stands_in = |folder: &String| root(&format!("{folder}/{name}.rs")).is_file() || root(&format!("{folder}/{name}")).is_dir();
        if !folders.iter().any(stands_in) {
            against(format!("expected it in {}/{name}.rs or a folder of that name", folders.join(" or ")));
        }
        let example = match spec::value(entry.example) {
            Ok(example) => example,
            Err(finding) => {
                against(format!("the example is not YAML: {}", finding.problem));
                continue;
            }
        };
        let build = |config: Value| table.build(&json!({ name: config }));
        let built = match build(example.clone()) {
            Ok(built) => built,
            Err(problems) => {
                against(format!("the example does not build: {}", problems[0]));
                continue;
            }
        };
        // The resolved config is a config, and its own resolution.
        match build(built.config.clone()) {
            Ok(again) if again.config == built.config && again.version == built.version => {}
            Ok(again) => against(format!("the config does not round-trip: {} becomes {}", built.config, again.config)),
            Err(problems) => against(format!("the resolved config does not build: {}", problems[0])),
        }
        let resolved = built.config.as_object().cloned().unwrap_or_default();
        let with = |key: &str, value: Value| -> Value {
            let mut config: Map<String, Value> = resolved.clone();
            config.insert(key.into(), value);
            config.into()
        };
        match build(with("no_such_key", json!(1))) {
            Ok(_) => against("an unknown key is swallowed".into()),
            Err(problems) => {
                let found = &problems[0];
                if found.path != format!("{name}.no_such_key") || !found.at_key || !found.message.starts_with("unknown key `no_such_key`") {
                    against(format!("an unknown key is told as: {found}"));
                }
            }
        }
        // A parameter that takes anything is a parameter that is ignored.
        for key in resolved.keys() {
            match build(with(key, json!({ "no_such_key": [["nonsense"]] }))) {
                Ok(_) => against(format!("`{key}` takes nonsense")),
                Err(problems) => {
                    if !problems.iter().any(|problem| problem.path.starts_with(&format!("{name}.{key}"))) {
                        against(format!("nonsense in `{key}` is told as: {}", problems[0]));
                    }
                }
            }
        }
        let Some(manual) = manuals.iter().find(|manual| manual.name == name) else {
            against("it has no page".into());
            continue;
        };
        page(manual, &resolved, family != "transform", &mut against);
    }
}

/// Not every transform has a paper to name.
fn page(manual: &Manual, resolved: &Map<String, Value>, referenced: bool, against: &mut impl FnMut(String)) {
    if manual.summary.is_empty() || !manual.summary.ends_with('.') {
        against(format!("expected a summary line that ends with a full stop, found `{}`", manual.summary));
    }
    for label in ["Method:", "Reference:"].into_iter().take(1 + usize::from(referenced)) {
        match manual.paragraphs.iter().find(|paragraph| paragraph.starts_with(label)) {
            Some(paragraph) if paragraph.len() > label.len() + 10 => {}
            _ => against(format!("its documentation has no paragraph that begins with `{label}`")),
        }
    }
    for field in manual.fields.iter().filter(|field| field.about.is_empty()) {
        against(format!("the field `{}` has no documentation", field.name));
    }
    for key in resolved.keys().filter(|key| !manual.fields.iter().any(|field| field.name == **key)) {
        against(format!("the field `{key}` is not in the schema"));
    }
}

#[test]
fn every_operator_keeps_the_contract() {
    let registry = Registry::default();
    let families = list::families(&registry);
    let manuals = |name: &str| families.iter().find(|family| family.name == name).unwrap().operators.as_slice();
    let mut wrong = Vec::new();
    family("model", &registry.models, manuals("model"), &mut wrong);
    family("read", &registry.readers, manuals("read"), &mut wrong);
    family("score", &registry.scorers, manuals("score"), &mut wrong);
    family("diagnose", &registry.diagnosers, manuals("diagnose"), &mut wrong);
    family("mine", &registry.miners, manuals("mine"), &mut wrong);
    family("generate", &registry.generators, manuals("generate"), &mut wrong);
    family("transform", registry.transforms().unwrap(), manuals("transform"), &mut wrong);
    family("verify", &registry.verifiers, manuals("verify"), &mut wrong);
    family("feed", &registry.feeders, manuals("feed"), &mut wrong);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
