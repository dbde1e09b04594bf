//! A model that is another program is scored, mined and attacked from a pipeline file.

use super::File;
use crate::golden::root;
use std::{fs, process};

const PIPELINE: &str = r#"
version: 1
name: mine
seed: 7
data: { train: { manifest: { path: "builtin:digits/train.jsonl" } }, limit: 60 }
model: { command: { run: [python3, linear.py, good], inputs: { image: { size: [8, 8], channels: 1 } }, gradients: [image], embeddings: [image] } }
train: none
stages:
  - score: { loss: {} }
  - score: { uncertainty: {} }
  - mine: { top_fraction: { by: entropy, fraction: 0.3 } }
  - generate: { pgd: { modalities: [image], epsilon: 64/255, steps: 5 } }
  - verify: { within_ball: {} }
  - feed: { manifest: { path: hard } }
"#;

/// The pipeline beside its model, `None` where there is no Python.
fn place(text: &str) -> Option<File> {
    if !process::Command::new("python3").args(["-c", ""]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3");
        return None;
    }
    let file = File::new(text);
    for name in ["examples/hardmine_process.py", "tests/models/linear.py"] {
        let from = root(name);
        fs::copy(&from, file.path(from.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    Some(file)
}

#[test]
fn a_command_is_scored_mined_and_attacked() {
    let Some(file) = place(PIPELINE) else { return };
    let told = file.run(&[]);
    assert_eq!(told.code, Some(0), "{told:#?}");
    let record = super::record(&file.path("out"));
    assert!(record.candidates.fed > 0 && record.problems().is_empty(), "{record:#?}");
    assert!(record.yields.iter().all(|of| of.gradient_evaluations > 0));
    // The same bytes with other threads, and again from the lineage.
    let again = file.call(&["run", "p.yaml", "--out", "again", "--threads", "1"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert_eq!(super::record(&file.path("again")).output, record.output);
    let told = file.call(&["regenerate", "out"]);
    let fed = record.candidates.fed;
    assert!(told.out.contains(&format!("{fed} of {fed} generated samples are the same byte for byte")), "{told:#?}");
    let changed = fs::read_to_string(file.path("linear.py")).unwrap() + "\n";
    fs::write(file.path("linear.py"), changed).unwrap();
    let told = file.call(&["regenerate", "out"]);
    assert!(told.out.contains("`linear.py` is not what it was when the model was used"), "{told:#?}");
}

#[test]
fn a_command_that_fails_ends_the_run_with_its_words() {
    let Some(file) = place(PIPELINE) else { return };
    fs::write(file.path("crash.yaml"), PIPELINE.replace("good", "crash")).unwrap();
    let told = file.call(&["run", "crash.yaml", "--out", "crash"]);
    assert_eq!(told.code, Some(1), "{told:#?}");
    let words = "command python3 linear.py crash: it ended (exit status: 7) before it answered `forward`";
    assert!(told.error().contains(words) && told.error().contains("segments at fault"), "{told:#?}");
    assert_eq!(told.error().matches("stage loss").count(), 1, "{told:#?}");
    // What it does not promise is told before it is started.
    fs::write(file.path("none.yaml"), PIPELINE.replace("gradients: [image], ", "")).unwrap();
    let told = file.call(&["check", "none.yaml"]);
    assert_eq!(told.code, Some(2), "{told:#?}");
    assert!(told.err.contains("needs the input gradient of image, but the model `command`"), "{told:#?}");
}
