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

    // Without a miner the usual band is taken, from what there is.
    let output = hardmine(at, &["score", "p.jsonl", "--out", "in-sample"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for folder in ["scored", "in-sample"] {
        let output = hardmine(at, &["mine", folder, "--out", "band"]);
        assert!(output.status.success(), "{folder}: {}", text(&output.stderr));
    }
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

/// Image and text embeddings of one space: a caption points where its picture does, but that of `s3` is about the class after it.
fn embedded(folder: &Path) {
    let line = |i: usize| {
        let class = i % 5;
        let logits: Vec<f64> = (0..5).map(|k| if k == class { 3.0 } else { ((i * 7 + k * 3) % 10) as f64 / 10.0 }).collect();
        let at = |class: usize, turn: f64| {
            let angle = class as f64 * 72.0 + turn;
            [angle.to_radians().cos(), angle.to_radians().sin()]
        };
        let image = at(class, (i / 5) as f64 * 2.0);
        let text = if i == 3 { at(class + 1, 1.0) } else { at(class, (i / 5) as f64 * 2.0 + 3.0) };
        format!(
            "{{\"id\": \"s{i}\", \"label\": {class}, \"logits\": {logits:?}, \"image_embedding\": {image:?}, \"text_embedding\": {text:?}}}\n"
        )
    };
    fs::write(folder.join("e.jsonl"), (0..40).map(line).collect::<String>()).unwrap();
}

#[test]
fn hard_negatives_across_modalities_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    embedded(at);
    let miner = "hard_negatives: { query: image, keys: text, count: 2, fraction: 1.0, relative_margin: null }";
    let output = hardmine(at, &["score", "e.jsonl", "--one-space", "--miner", miner, "--out", "scored"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(at.join("scored/scores.jsonl")).unwrap()).unwrap();
    let hardest = lines.iter().max_by(|a, b| a.selected[0].score.total_cmp(&b.selected[0].score)).unwrap();
    assert_eq!(hardest.id.as_str(), "s3");
    for line in &lines {
        let negatives = &line.selected[0].negatives;
        assert_eq!(negatives.len(), 2);
        let label = |id: &str| lines.iter().find(|line| line.id.as_str() == id).unwrap().label.clone();
        assert!(negatives.iter().all(|n| label(n.id.as_str()) != line.label), "{line:?}");
        assert!(negatives[0].similarity >= negatives[1].similarity);
    }
    // A scored folder holds no embeddings.
    let output = hardmine(at, &["mine", "scored", "--miner", "triplets: {}", "--out", "t"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("`triplets` looks at embeddings, which a scored folder does not hold"),
        "{}",
        text(&output.stderr)
    );
    let output = hardmine(at, &["score", "e.jsonl", "--miner", "triplets: { space: image, margin: 0.5 }", "--out", "t"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = hardmine(at, &["score", "e.jsonl", "--miner", "triplets: { margin: 3 }", "--out", "u"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected a distance above 0 and at most 2, found 3"), "{}", text(&output.stderr));
}

/// From labels and logits of one epoch alone: each signal works, or the message says what it lacks.
#[test]
fn every_signal_works_on_recorded_logits_or_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    predictions(at);
    let needs = [
        ("adversarial_distance", "input gradient"),
        ("augmentation_disagreement", "it needs a model"),
        ("aum_probe", "probe"),
        ("calibration", "validation"),
        ("composite", ""),
        ("difficulty_curve", "it needs a model"),
        ("disagreement", "`member`"),
        ("dynamics", "epoch"),
        ("el2n", ""),
        ("embedding_mismatch", "image is missing"),
        ("inconsistency", ""),
        ("loss", ""),
        ("modality_gap", ""),
        ("neighbours", "embedding"),
        ("out_of_fold", "out_of_fold"),
        ("pair_loss", "image is missing"),
        ("quality", ""),
        ("reducible_loss", "teacher"),
        ("uncertainty", ""),
    ];
    let registry = hardmine::registry::Registry::default();
    let known: Vec<&str> = needs.iter().map(|(name, _)| *name).collect();
    assert_eq!(registry.scorers.entries().map(|(name, _)| name).collect::<Vec<_>>(), known);
    let mut wrong = Vec::new();
    for (name, lacks) in needs {
        let config = if name == "composite" { "{ weights: { own.loss: 1.0 } }" } else { "{}" };
        let pipeline = format!(
            "version: 1\nname: one\ndata: {{ train: {{ predictions: {{ files: [p.jsonl] }} }} }}\ntrain: none\nstages:\n  - score: {{ loss: {{}} }}\n    id: own\n  - score: {{ {name}: {config} }}\n  - mine: {{ top_fraction: {{ by: own.loss }} }}\n  - feed: {{ sampler_weights: {{}} }}\n"
        );
        fs::write(at.join("one.yaml"), pipeline).unwrap();
        let output = hardmine(at, &["run", "one.yaml", "--out", name]);
        let told = text(&output.stderr);
        if output.status.success() {
            let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(at.join(name).join("scores.jsonl")).unwrap()).unwrap();
            // A signal that is not there is absent with a reason, never a zero.
            let told = |line: &ScoreLine| {
                line.scores.iter().all(|(column, score)| score.is_some() || line.absent.get(column).is_some_and(|why| why.contains(lacks)))
                    && (lacks.is_empty() || !line.absent.is_empty())
            };
            if !lines.iter().all(told) {
                wrong.push(format!("{name}: {:?} {:?}", lines[0].scores, lines[0].absent));
            }
        } else if lacks.is_empty() || !told.contains(lacks) {
            wrong.push(format!("{name}: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recorded_predictions_make_children_that_are_not_searched() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/train.jsonl");
    let rows = fs::read_to_string(manifest).unwrap();
    let line = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let label = row["label"].as_u64().unwrap();
        let logits: Vec<f64> =
            (0..10).map(|k| if k == label { 1.0 } else { (row["id"].to_string().len() + k as usize) as f64 / 30.0 }).collect();
        format!("{{\"id\": {}, \"label\": {label}, \"logits\": {logits:?}}}\n", row["id"])
    };
    fs::write(at.join("p.jsonl"), rows.lines().take(40).map(line).collect::<String>()).unwrap();
    fs::write(at.join("m.jsonl"), rows.lines().take(40).map(|row| row.to_owned() + "\n").collect::<String>()).unwrap();
    ["images", "audio"].iter().for_each(|media| fs::create_dir(at.join(media)).unwrap());
    for row in rows.lines().take(40).map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()) {
        for path in ["image", "audio"].iter().filter_map(|medium| row[medium].as_str()) {
            fs::copy(Path::new(manifest).with_file_name(path), at.join(path)).unwrap();
        }
    }
    let pipeline = "version: 1
name: recorded
data: { train: { predictions: { files: [p.jsonl], manifest: m.jsonl } } }
train: none
stages:
  - score: { loss: {} }
  - mine: { top_fraction: { by: loss, fraction: 0.5 } }
  - generate: { modality_dropout: { aim: random } }
    for: [near_boundary]
    band: false
  - verify: { within_ball: {} }
";
    fs::write(at.join("r.yaml"), pipeline).unwrap();
    let output = hardmine(at, &["run", "r.yaml", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let children = fs::read_to_string(at.join("run/generated/manifest.jsonl")).unwrap().lines().count();
    assert!(children > 0);
    let record: serde_json::Value = serde_json::from_slice(&fs::read(at.join("run/run.json")).unwrap()).unwrap();
    assert!(record["models"].as_array().unwrap().iter().all(|model| model.get("file").is_none_or(serde_json::Value::is_null)), "{record}");
    let output = hardmine(at, &["regenerate", "run"]);
    let told = text(&output.stdout);
    assert!(output.status.success() && told.contains(&format!("{children} of {children} ")), "{told}{}", text(&output.stderr));
}
