//! What goes wrong with a run and its folder is told in words and by the exit code, before time is spent where that can be.

use crate::cli::{hardmine, text};
use std::{fs, path::Path};

const PIPELINE: &str = r#"
version: 1
seed: 7
data:
  train: { manifest: { path: "builtin:digits/train.jsonl" } }
  test: { manifest: { path: "builtin:digits/test.jsonl" } }
  limit: 40
model: { linear: {} }
train: { warmup_epochs: 1, rounds: 1, epochs_per_round: 1 }
stages:
  - score: { loss: {} }
  - mine: { top_fraction: { by: loss, fraction: 0.5 } }
  - generate: { pgd: { modalities: [image], steps: 3 } }
  - verify: { within_ball: {} }
  - feed: { replay: { share: 0.3 } }
"#;

fn told(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = hardmine(folder, arguments);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), PIPELINE).unwrap();
    folder
}

#[test]
fn what_the_data_cannot_answer_ends_the_run_before_training() {
    let folder = workplace();
    for (set, code, message) in [
        ("data.test=null", 2, "error: nothing to evaluate on: name a `test` or a `validation` split under `data`"),
        (
            "data.group_by=speakr",
            2,
            "error: field data.group_by: no training sample has it: unknown field `speakr` (did you mean `speaker`?)",
        ),
        ("train.batch_size=18446744073709551615", 2, "train.batch_size: expected at most 65536, found 18446744073709551615"),
        (
            "evaluate.robust={ method: fgsm, steps: 3 }",
            2,
            "evaluate.robust.steps: this method takes one step, found 3; leave it out, or write `method: pgd`",
        ),
        (
            "evaluate.robust={ random_start: false, restarts: 2 }",
            2,
            "evaluate.robust.restarts: from the sample itself every restart is the same; expected 1",
        ),
        (
            "evaluate.robust={ method: fgsm_rs, random_start: false }",
            2,
            "evaluate.robust.random_start: `fgsm_rs` begins at random; without that it is `fgsm`",
        ),
        ("evaluate.robust={ method: square }", 2, "evaluate.robust.method: the attack is a white box, and `square` asks for answers alone"),
        (
            "evaluate.robust={ method: fgsm, auto_attack: true }",
            2,
            "evaluate.robust.auto_attack: the ensemble takes its steps and restarts",
        ),
        ("evaluate.robust={ step_size: 0 }", 2, "evaluate.robust.step_size: expected a step longer than 0"),
        ("evaluate.robust={ take: first }", 2, "evaluate.robust.take: `first` of all samples is all of them: write how many as `samples`"),
        ("evaluate.slices={ file: nowhere.jsonl, key: x }", 1, "nowhere.jsonl: No such file or directory"),
    ] {
        let (found, out, err) = told(folder.path(), &["run", "p.yaml", "--out", set, "--set", set]);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{set}: {err}");
        assert!(err.contains(message), "{set}: {err}");
        assert!(!folder.path().join(set).join("model.safetensors").exists());
    }
    let (code, _, err) = told(folder.path(), &["run", "p.yaml", "--out", "s", "--set", "evaluate.slice_by=[speakr]"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("warning: evaluate.slice_by: no sample of test has the field `speakr`"), "{err}");
}

#[test]
fn what_the_data_do_not_have_is_not_attacked_in_silence() {
    let folder = workplace();
    let line = |i: usize| {
        format!("{{\"id\": \"t{i}\", \"text\": \"{} number {i}\", \"label\": \"{}\"}}\n", ["apple", "boat"][i % 2], ["a", "b"][i % 2])
    };
    fs::write(folder.path().join("t.jsonl"), (0..24).map(line).collect::<String>()).unwrap();
    let data = ["data.train={ manifest: { path: t.jsonl } }", "data.test={ manifest: { path: t.jsonl } }"];
    let run = |out: &str, sets: &[&str]| {
        let mut all = vec!["run", "p.yaml", "--out", out, "--set", "stages=[{ score: { loss: {} } }, { mine: { top_fraction: {} } }]"];
        data.iter().chain(sets).for_each(|set| all.extend(["--set", *set]));
        told(folder.path(), &all)
    };
    let (code, _, err) = run("withheld", &["evaluate.withhold=[text]"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("evaluate.withhold: nothing is left of test, whose samples have text"), "{err}");
    let (code, _, err) =
        run("attacked", &["train.objective={ madry: { balls: { image: 0.1 } } }", "evaluate.robust={ samples: 3, steps: 1 }"]);
    assert_eq!(code, Some(0), "{err}");
    let record = fs::read_to_string(folder.path().join("attacked/run.json")).unwrap();
    for wanted in ["hardmine: `madry` attacked nothing: no sample that it was to treat has any of image", "hardmine was not attacked"] {
        assert!(err.contains(wanted) && record.contains(wanted), "{err}");
    }
}

#[test]
fn regenerating_tells_what_is_not_the_same() {
    let folder = workplace();
    assert_eq!(told(folder.path(), &["run", "p.yaml", "--out", "run"]).0, Some(0));
    let (code, out, err) = told(folder.path(), &["regenerate", "run"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = told(folder.path(), &["regenerate", "run", "--to", "again"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for name in ["manifest.jsonl", "lineage.jsonl"] {
        let read = |of: &str| fs::read_to_string(folder.path().join(of).join(name)).unwrap();
        assert_eq!(read("again"), read("run/generated"));
    }
    let (code, _, err) = told(folder.path(), &["regenerate", "run", "--to", "run/generated"]);
    assert_eq!((code, err.as_str()), (Some(2), "error: --to run/generated lies in the folder of the run; name another one\n"));
    let (code, _, err) = told(folder.path(), &["regenerate", "run", "nobody"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("error: unknown generated sample `nobody`; generated/lineage.jsonl lists all "), "{err}");

    // Fields of the manifest and of the lineage that follow from the rest.
    let edited = |file: &str, name: &str, line: usize, edit: &dyn Fn(&mut serde_json::Value)| {
        let path = folder.path().join("run/generated").join(file);
        let before = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<serde_json::Value> = before.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        edit(&mut lines[line]);
        let (id, now) = (lines[line]["id"].as_str().or(lines[line]["child"].as_str()).unwrap().to_owned(), lines[line].to_string());
        let all: Vec<String> = before.lines().enumerate().map(|(i, one)| if i == line { now.clone() } else { one.to_owned() }).collect();
        fs::write(&path, all.join("\n") + "\n").unwrap();
        let (code, out, err) = told(folder.path(), &["regenerate", "run"]);
        fs::write(&path, before).unwrap();
        assert_eq!(code, Some(1), "{file} {name}: {out}{err}");
        let wanted = format!("{id}: generated/{file}: `{name}` is ");
        assert!(out.lines().filter(|line| line.starts_with(&wanted)).count() == 1 && out.lines().count() == 2, "{file} {name}: {out}");
        out
    };
    let set = |name: &'static str, value: serde_json::Value| move |line: &mut serde_json::Value| line[name] = value.clone();
    for (name, value) in [
        ("label", "none".into()),
        ("speaker", "zz".into()),
        ("parent", "zz".into()),
        ("operator", "flip".into()),
        ("round", 2.into()),
        ("added", true.into()),
    ] {
        let out = edited("manifest.jsonl", name, 1, &set(name, value));
        let right = if name == "operator" { "`flip`, and by the training data and the lineage it is `pgd`" } else { " the lineage it is " };
        assert!(out.contains(right), "{out}");
    }
    edited("manifest.jsonl", "text_kind", 0, &|line| drop(line.as_object_mut().unwrap().remove("text_kind")));
    edited("lineage.jsonl", "operator", 1, &set("operator", "flip".into()));
    edited("lineage.jsonl", "round", 1, &set("round", 2.into()));
    edited("lineage.jsonl", "parents[0].id", 1, &|line| line["parents"][0]["id"] = "zz".into());
    edited("lineage.jsonl", "seed.steps", 1, &|line| line["seed"]["steps"][0] = "mra".into());
    edited("lineage.jsonl", "seed.seed", 1, &|line| line["seed"]["seed"] = 8.into());
    edited("lineage.jsonl", "model", 1, &set("model", "00".into()));
    edited("lineage.jsonl", "verdicts", 1, &|line| line["verdicts"][0]["passed"] = false.into());

    let images = folder.path().join("run/generated/images");
    let image = fs::read_dir(&images).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(image).unwrap();
    let (code, out, _) = told(folder.path(), &["regenerate", "run"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("generated/manifest.jsonl has no line of it whose files are there"), "{out}");
    let (code, _, err) = told(folder.path(), &["run", "p.yaml", "--out", "run"]);
    assert_eq!(code, Some(0));
    assert!(err.contains("warning: files of the folder were changed, added or removed since"), "{err}");

    fs::write(folder.path().join("run/generated/lineage.jsonl"), "").unwrap();
    let (code, _, err) = told(folder.path(), &["regenerate", "run"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("generated/lineage.jsonl holds 0 lines, the run fed "), "{err}");
}
