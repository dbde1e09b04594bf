//! The official operator tests of ONNX, and the shipped ONNX pipelines.
//!
//! The tests are inside the Python package `onnx` 1.17.0 and are not part of this project. With `ONNX_NODE_TESTS` naming their folder
//! (`onnx/backend/test/data/node`) and `REGENERATE=1`, this writes `docs/onnx.md`; with the folder alone, it compares.

use crate::golden::{files, root};
use hardmine::model::onnx::engine::{Kind, Session, Tape, Value, operators, read_tensor};
use std::{collections::BTreeMap, fmt::Write, path::Path};

/// Why a test is not one of ours.
fn out_of_scope(name: &str, bytes: &[u8]) -> Option<&'static str> {
    let training = ["adagrad", "adam", "momentum", "training_dropout", "training_mode"];
    if training.iter().any(|t| name.contains(t)) {
        return Some("training");
    }
    let names = Session::report(bytes).ok()?;
    for node in names {
        let op = node.operator.as_str();
        if op.starts_with("Sequence") || op.starts_with("Optional") || op == "SplitToSequence" || op == "ConcatFromSequence" {
            return Some("sequences and optionals");
        }
        if op.starts_with("String") || op.starts_with("Regex") || op == "TfIdfVectorizer" || op.starts_with("ai.onnx.ml.") {
            return Some("strings and classical learners");
        }
        if ["Bernoulli", "RandomUniformLike", "RandomNormalLike", "ImageDecoder"].contains(&op) {
            return Some("random numbers and file decoders");
        }
    }
    let kinds = ["FLOAT8", "FLOAT4", "STRING", "e4m3fn", "e5m2", "_float8", "strnorm", "string"];
    if kinds.iter().any(|k| name.contains(k)) {
        return Some("strings and floats of 8 or 4 bits");
    }
    (name.contains("sequence") && !name.contains("reversesequence") && !name.contains("reverse_sequence")
        || name.contains("_opt")
        || name.ends_with("_seq"))
    .then_some("sequences and optionals")
}

/// The tests keep bfloat16 as 16-bit integers.
fn as_declared(value: Value, code: i64) -> Value {
    if code != 16 || value.kind.is_float() {
        return value;
    }
    let floats = value.i().unwrap().iter().map(|v| f32::from_bits((*v as u32) << 16)).collect();
    Value::floats(value.shape.clone(), floats).unwrap().fitted(Kind::BFloat).unwrap()
}

fn compare(found: &Value, wanted: &Value) -> Result<(), String> {
    if found.shape != wanted.shape || found.kind != wanted.kind {
        return Err(format!("{:?} {:?} instead of {:?} {:?}", found.kind, found.shape, wanted.kind, wanted.shape));
    }
    for (i, (a, b)) in found.to_floats().iter().zip(wanted.to_floats()).enumerate() {
        let close = (a.is_nan() && b.is_nan()) || *a == b || (a - b).abs() <= 1e-6 + 1e-3 * b.abs();
        if !close {
            return Err(format!("value {i} is {a} instead of {b}"));
        }
    }
    Ok(())
}

fn judged(folder: &Path) -> Result<(), String> {
    let bytes = std::fs::read(folder.join("model.onnx")).map_err(|e| e.to_string())?;
    let session = Session::load(&bytes, Some(folder), None).map_err(|e| e.to_string())?;
    let tensor = |kind: &str, i: usize, code: i64| {
        let bytes = std::fs::read(folder.join(format!("test_data_set_0/{kind}_{i}.pb"))).ok()?;
        Some(read_tensor(&bytes).map(|v| as_declared(v, code)).map_err(|e| e.to_string()))
    };
    let inputs = session.inputs().iter().enumerate().map(|(i, info)| tensor("input", i, info.code).ok_or("an input is missing")?);
    let inputs = inputs.collect::<Result<Vec<_>, String>>()?;
    let outputs = session.run(inputs, &mut Tape::default()).map_err(|e| e.to_string())?;
    for (i, (found, info)) in outputs.iter().zip(session.outputs()).enumerate() {
        compare(found, &tensor("output", i, info.code).ok_or("an output is missing")??)?;
    }
    Ok(())
}

#[derive(Default)]
struct Line {
    passed: usize,
    failed: usize,
}

#[test]
fn the_official_operator_tests() {
    let Some(folder) = std::env::var_os("ONNX_NODE_TESTS").map(std::path::PathBuf::from) else { return };
    let mut names: Vec<String> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let (mut lines, mut outside): (BTreeMap<&str, Line>, BTreeMap<&str, usize>) = Default::default();
    let (mut failures, mut totals) = (Vec::new(), Line::default());
    for name in &names {
        let path = folder.join(name);
        let bytes = std::fs::read(path.join("model.onnx")).unwrap();
        let used: Vec<String> = Session::report(&bytes).map(|r| r.into_iter().map(|n| n.operator).collect()).unwrap_or_default();
        if let Some(why) = out_of_scope(name, &bytes) {
            *outside.entry(why).or_default() += 1;
            continue;
        }
        let result = judged(&path);
        let count = |line: &mut Line| if result.is_ok() { line.passed += 1 } else { line.failed += 1 };
        count(&mut totals);
        for operator in operators().filter(|o| used.iter().any(|u| u == o.name)) {
            count(lines.entry(operator.name).or_default());
        }
        if let Err(why) = result {
            failures.push((name.clone(), why.lines().next().unwrap_or_default().to_owned()));
        }
    }
    let page = page(&lines, &outside, &totals, &failures);
    let path = root("docs/onnx.md");
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page, "docs/onnx.md is stale: REGENERATE=1");
}

/// Where a difference was looked into: what the expected values are.
fn remark(name: &str) -> Option<&'static str> {
    let known = [
        ("qlinearmatmul", "the expected values wrap around, where the operator's text says that they saturate"),
        ("BFLOAT16", "the expected values are cut off, ours are rounded to the nearest"),
        ("averagepool_3d_dilations", "the expected mean divides by places beyond the padding, too; PyTorch's does not"),
    ];
    known.into_iter().find(|(part, _)| name.contains(part)).map(|(_, remark)| remark)
}

fn page(lines: &BTreeMap<&str, Line>, outside: &BTreeMap<&str, usize>, totals: &Line, failures: &[(String, String)]) -> String {
    let all = totals.passed + totals.failed;
    let mut out = format!(
        "# ONNX operators\n\nWritten by `ONNX_NODE_TESTS=.../onnx/backend/test/data/node REGENERATE=1 cargo test --release --test suite onnx::the_official` from the operator tests of the \
         Python package `onnx` 1.17.0. A test counts for every operator of its graph. \"Straight through\" means that a step function (rounding) lets the gradient pass unchanged; \"no\" that it \
         ends there, because the result is an integer, a shape, or constant almost everywhere.\n\n**{} of {all} tests in scope pass ({:.1} %)**; out of scope are {}.\n\n| operator | gradient | \
         passed | failed |\n|---|---|---:|---:|\n",
        totals.passed,
        100.0 * totals.passed as f64 / all.max(1) as f64,
        outside.iter().map(|(why, n)| format!("{n} of {why}")).collect::<Vec<_>>().join(", "),
    );
    let mut known: Vec<_> = operators().collect();
    known.sort_by_key(|o| o.name);
    for operator in known {
        let line = lines.get(operator.name).map_or((0, 0), |l| (l.passed, l.failed));
        let _ = writeln!(out, "| {} | {} | {} | {} |", operator.name, operator.slope.words(), line.0, line.1);
    }
    let _ = writeln!(out, "\n## Tests in scope that fail\n");
    for (name, why) in failures {
        let _ = writeln!(out, "- `{name}`: {why}{}", remark(name).map_or(String::new(), |r| format!(" ({r})")));
    }
    out
}

#[test]
fn every_operator_is_on_the_page() {
    let page = std::fs::read_to_string(root("docs/onnx.md")).unwrap();
    for operator in operators() {
        assert!(page.contains(&format!("| {} | {} |", operator.name, operator.slope.words())), "{} is not in docs/onnx.md", operator.name);
    }
}

#[test]
fn the_shipped_onnx_pipelines_run() {
    for path in files("pipelines", "yaml").into_iter().filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("onnx_")) {
        let out = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hardmine"));
        command.args(["run", path.to_str().unwrap(), "--set", "data.limit=60", "--out", out.path().join("run").to_str().unwrap()]);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stderr));
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(out.path().join("run/run.json")).unwrap()).unwrap();
        assert!(record.is_object(), "{}", path.display());
    }
}
