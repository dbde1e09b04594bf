//! The binary as a script sees it: exit codes, what goes to stdout and what to stderr.

use crate::golden::root;
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs the binary in `folder`, without colours.
pub fn hardmine(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hardmine")).args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn here(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = hardmine(&root(""), arguments);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_is_data_and_wrong_arguments_are_words() {
    let (code, out, err) = here(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for command in ["run", "check", "list", "schema", "explain", "guard-check", "regenerate", "report", "gallery", "init", "completions"] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in\n{out}");
    }
    let (code, out, err) = here(&["chekc"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: unrecognized subcommand 'chekc'"), "{err}");
    assert_eq!(here(&["run", "digits", "--threads", "0"]).0, Some(2));
}

#[test]
fn a_pipeline_that_is_not_there_is_told() {
    let (code, out, err) = here(&["check", "digitz"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        "error: no such file, and unknown shipped pipeline `digitz` (did you mean `digits`?); known: digits, generate_only, scenes\n"
    );
    assert_eq!(here(&["run", "no/such.yaml"]).2, "error: no such pipeline file: no/such.yaml\n");
}

#[test]
fn a_shipped_pipeline_works_in_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let output = hardmine(folder.path(), &["check", "digits"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).starts_with("digits (shipped): no problem found (plan "), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn problems_are_data_with_json_and_words_without() {
    let arguments = ["check", "tests/golden/spec/several.yaml"];
    let (code, out, err) = here(&arguments);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("problems in tests/golden/spec/several.yaml"), "{err}");
    let (code, out, err) = here(&[arguments.as_slice(), &["--json"]].concat());
    assert_eq!((code, err.as_str()), (Some(2), ""));
    let problems: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert!(problems.len() > 3);
    for problem in &problems {
        let keys: Vec<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["file", "line", "column", "path", "message"]);
        assert!(problem["line"].as_u64() >= Some(1) && problem["column"].as_u64() >= Some(1), "{problem}");
    }
    let (code, out, err) = here(&["check", "digits", "--json"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "[]\n", ""));
}

#[test]
fn an_override_is_applied_and_its_problem_points_at_it() {
    let (code, _, err) = here(&["check", "digits", "--set", "data.limit=0", "--set", "train.rounds=lots"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("data.limit: expected at least 1, found 0"), "{err}");
    assert!(err.contains("it was given as `--set data.limit=0`"), "{err}");
    assert!(err.contains("train.rounds: expected a whole number of at least 0, found `lots`"), "{err}");
    let (code, out, _) = here(&["check", "digits", "--json", "--set", "data.limit=0"]);
    assert_eq!(code, Some(2));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0]["argument"], "--set data.limit=0");
    let digest = |arguments: &[&str]| here(&[["check", "digits"].as_slice(), arguments].concat()).2;
    assert_ne!(digest(&["--seed", "1"]), digest(&["--seed", "2"]));
    assert_eq!(digest(&["--seed", "1"]), digest(&["--set", "seed=1"]));
    assert_eq!(here(&["check", "digits", "--set", "data"]).2, "error: expected `--set dotted.path=value`, found `--set data`\n");
}

#[test]
fn the_schema_describes_every_operator() {
    let (code, out, err) = here(&["schema"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let definitions = schema["$defs"].as_object().unwrap();
    for family in hardmine::cli::list::families(&hardmine::registry::Registry::default()) {
        let prefix = if family.name == "read" { "reader" } else { family.name };
        for operator in family.operators {
            assert!(definitions.contains_key(&format!("{prefix}.{}", operator.name)), "{prefix}.{}", operator.name);
        }
    }
    let blur = &definitions["transform.gaussian_blur"]["properties"];
    assert!(blur["sigma"].is_object() && blur["probability"]["default"] == 1, "{blur}");
    assert_eq!(definitions["generate.augment"]["properties"]["transforms"]["items"]["$ref"], "#/$defs/transform_or_one_of");
    // Every reference has its target.
    fn follow(value: &Value, root: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                }
                map.values().for_each(|value| follow(value, root));
            }
            Value::Array(list) => list.iter().for_each(|value| follow(value, root)),
            _ => {}
        }
    }
    follow(&schema, &schema);
}

#[test]
fn operators_are_listed() {
    let (code, out, err) = here(&["list"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("\ngenerate: ") && out.lines().any(|line| line.starts_with("  pgd ")), "{out}");
    let (code, out, _) = here(&["list", "generate"]);
    assert!(code == Some(0) && out.contains("pgd: ") && out.contains("Method:") && !out.contains("top_fraction"), "{out}");
    let (code, out, _) = here(&["list", "transform"]);
    assert!(code == Some(0) && out.contains("gaussian_blur: ") && !out.contains("pgd"), "{out}");
    assert_eq!(here(&["list", "--markdown"]).1, std::fs::read_to_string(root("docs/operators.md")).unwrap());
    assert_eq!(here(&["list", "generat"]).0, Some(2));
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = here(&["completions", shell]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{shell}");
        assert!(out.contains("regenerate"), "{shell}");
    }
    assert_eq!(here(&["completions", "cmd"]).0, Some(2));
}

#[test]
fn init_writes_a_pipeline_that_checks_and_overwrites_nothing() {
    for template in ["digits", "image-text", "audio-text"] {
        let folder = tempfile::tempdir().unwrap();
        let output = hardmine(folder.path(), &["init", "new", "--template", template]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let written = text(&output.stdout);
        let written = written.trim_end();
        let checked = hardmine(folder.path(), &["check", written]);
        assert_eq!(checked.status.code(), Some(0), "{template}: {}", text(&checked.stderr));
        assert_eq!(folder.path().join("new/digits/train.jsonl").is_file(), template == "digits");
        let before = std::fs::read(folder.path().join(written)).unwrap();
        let again = hardmine(folder.path(), &["init", "new", "--template", template]);
        assert_eq!(again.status.code(), Some(2));
        assert!(text(&again.stderr).contains("is already there; nothing was written"));
        assert_eq!(std::fs::read(folder.path().join(written)).unwrap(), before);
    }
}
