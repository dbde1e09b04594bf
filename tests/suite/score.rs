//! Predictions of another trainer, scored and mined from the command line.

use crate::cli::{hardmine, text};
use hardmine::{
    codec::npy::{self, Array, Numbers},
    record::{ScoreLine, read_lines},
    sample::Judgement,
};
use std::{fs, path::Path};

/// 200 samples of five classes; every fiftieth label is another than the model is sure of.
fn predictions(folder: &Path) {
    let line = |i: usize| {
        let (class, wrong) = (i % 5, i % 50 == 7);
        let label = if wrong { (class + 2) % 5 } else { class };
        let logits: Vec<f64> = (0..5)
            .map(|k| if k == class { 5.0 + if wrong { 0.6 } else { (i % 7) as f64 / 10.0 } } else { ((i * 7 + k * 3) % 10) as f64 / 10.0 })
            .collect();
        format!("{{\"id\": \"s{i}\", \"label\": {label}, \"logits\": {logits:?}}}\n")
    };
    fs::write(folder.join("p.jsonl"), (0..200).map(line).collect::<String>()).unwrap();
}

#[test]
fn predictions_are_scored_and_mined_without_a_pipeline_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    predictions(at);
    let output = hardmine(at, &["score", "p.jsonl", "--out-of-fold", "--out", "scored"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(at.join("scored/scores.jsonl")).unwrap()).unwrap();
    assert_eq!(lines.iter().map(|line| line.id.to_string()).collect::<Vec<_>>(), (0..200).map(|i| format!("s{i}")).collect::<Vec<_>>());
    let mut ranked: Vec<&ScoreLine> = lines.iter().collect();
    ranked.sort_by(|a, b| b.score("label_suspicion").partial_cmp(&a.score("label_suspicion")).unwrap());
    let mut first: Vec<&str> = ranked[..4].iter().map(|line| line.id.as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, ["s107", "s157", "s57", "s7"]);
    let Array::Numbers(Numbers { shape, values }) = npy::decode(&fs::read(at.join("scored/sampler_weights.npy")).unwrap()).unwrap() else {
        panic!("texts")
    };
    assert_eq!(shape, [200]);
    assert!((values.iter().sum::<f64>() - 200.0).abs() < 1e-9);

    let table = fs::read_to_string(at.join("scored/scores.csv")).unwrap();
    assert!(table.starts_with("id,label,judgement,reason,suggested,treatment,weight,selected,loss,"), "{table}");
    assert_eq!(table.lines().count(), 201);
    let columns = fs::read_to_string(at.join("scored/scores.columns.txt")).unwrap();
    let Array::Numbers(Numbers { shape, values }) = npy::decode(&fs::read(at.join("scored/scores.npy")).unwrap()).unwrap() else {
        panic!("texts")
    };
    assert_eq!(shape, [200, columns.lines().count()]);
    for (place, name) in columns.lines().enumerate() {
        let (in_table, in_line) = (values[3 * shape[1] + place], lines[3].score(name));
        assert!(in_line.map_or(in_table.is_nan(), |score| in_table == f64::from(score)), "{name}");
    }
    assert!(["el2n", "calibrated_doubt"].iter().all(|name| columns.lines().any(|column| column == *name)), "{columns}");

    let miner = "top_fraction: { by: loss, fraction: 0.1 }";
    let output = hardmine(at, &["mine", "scored", "--miner", miner, "--out", "top"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let chosen = fs::read_to_string(at.join("top/selected.jsonl")).unwrap();
    assert!((19..=20).contains(&chosen.lines().count()), "{chosen}");

    let output = hardmine(at, &["mine", "scored", "--miner", "top: {}", "--out", "top"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("unknown operator `top`"), "{}", text(&output.stderr));
    fs::write(at.join("broken.jsonl"), "{\"id\": \"a\", \"logits\": [1, 2]}\n{\"id\": \"b\"}\n").unwrap();
    let output = hardmine(at, &["score", "broken.jsonl", "--out", "b"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("line 2: field logits: no `logits` and no `probabilities`"), "{}", text(&output.stderr));
}

#[test]
fn a_probe_run_of_another_trainer_judges_labels() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    predictions(at);
    // A class more; every twentieth sample was given it, in the second run others than in the first. What is wrong is not learnt.
    for run in 0..2 {
        let line = |epoch: usize, i: usize| {
            let (class, threshold) = (i % 5, i % 20 == 3 + run);
            let label = if threshold {
                5
            } else if i % 50 == 7 {
                (class + 2) % 5
            } else {
                class
            };
            let logits: Vec<f64> =
                (0..6).map(|k| if k == class { 4.0 + ((i + epoch) % 7) as f64 / 10.0 } else { 0.1 * k as f64 }).collect();
            format!("{{\"id\": \"s{i}\", \"epoch\": {epoch}, \"label\": {label}, \"logits\": {logits:?}}}\n")
        };
        let text: String = (0..3).flat_map(|epoch| (0..200).map(move |i| line(epoch, i))).collect();
        fs::write(at.join(format!("probe{run}.jsonl")), text).unwrap();
    }
    let output = hardmine(at, &["score", "p.jsonl", "--probe", "probe0.jsonl", "--probe", "probe1.jsonl", "--out", "scored"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(at.join("scored/scores.jsonl")).unwrap()).unwrap();
    let suspects: Vec<&str> = lines.iter().filter(|line| line.judgement == Judgement::SuspectLabel).map(|line| line.id.as_str()).collect();
    assert_eq!(suspects, ["s7", "s57", "s107", "s157"]);
    assert!(lines.iter().all(|line| line.score("probe_aum").is_some() && line.score("probe_threshold").is_some()));

    // All probabilities of all classes: what `cleanlab` looks at.
    let pipeline = "version: 1\nname: confident\ndata: { train: { predictions: { files: [p.jsonl], out_of_fold: true } } }\ntrain: none\nstages:\n  - score: { out_of_fold: {} }\n  - diagnose: { confident_learning: { verdict: relabel } }\n  - feed: { sampler_weights: {} }\n";
    fs::write(at.join("c.yaml"), pipeline).unwrap();
    let output = hardmine(at, &["run", "c.yaml", "--out", "confident"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(at.join("confident/scores.jsonl")).unwrap()).unwrap();
    let suspects: Vec<(&str, &str, &str)> = lines
        .iter()
        .filter(|line| line.judgement == Judgement::SuspectLabel)
        .map(|line| (line.id.as_str(), line.suggested.as_deref().unwrap(), line.treatment.name()))
        .collect();
    assert_eq!(suspects, [("s7", "2", "relabel"), ("s57", "2", "relabel"), ("s107", "2", "relabel"), ("s157", "2", "relabel")]);
    assert!(lines.iter().all(|line| line.score("confident_suspicion").is_some()));
}
