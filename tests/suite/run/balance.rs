//! What a run leaves behind: every file, and sums that add up.

use super::{Done, everything, few, plan};
use hardmine::{
    read::{Manifest, Reader},
    record::{RejectedLine, ScoreLine},
    sample::Lineage,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

#[test]
fn everything_is_there_and_accounted_for() {
    let done = Done::of(plan(&[]));
    let (root, record) = (done.root(), done.record());
    let names: Vec<&str> = vec![
        "run.json",
        "scores.jsonl",
        "generated/manifest.jsonl",
        "generated/lineage.jsonl",
        "rejected.jsonl",
        "model.safetensors",
        "report.json",
        "report.html",
    ];
    names.iter().for_each(|name| assert!(root.join(name).is_file(), "{name} is missing"));
    for path in everything(&root).keys() {
        let name = path.display().to_string();
        assert!(!name.contains(".partial") && !name.contains(".writing"), "{name} was left");
    }
    assert_eq!(record.problems(), Vec::<String>::new());
    assert_eq!((record.samples.train.read, record.samples.train.used), (100, 100));
    assert_eq!(record.samples.test.as_ref().map(|split| (split.read, split.used)), Some((100, 100)));
    assert_eq!(serde_json::to_value(&record.pipeline).unwrap()["seed"], 7);
    let page = fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.contains("<html") && !page.to_lowercase().contains("<script"), "report.html");
    serde_json::from_slice::<Value>(&fs::read(root.join("report.json")).unwrap()).unwrap();
}

#[test]
fn the_children_are_an_ordinary_data_set_and_each_has_its_lineage() {
    let done = Done::of(plan(&[]));
    let (root, record) = (done.root(), done.record());
    let source = Manifest::new("generated/manifest.jsonl").open(&root).unwrap();
    assert!(source.problems().is_empty(), "{:?}", source.problems());
    let lineages: Vec<Lineage> = done.lines("generated/lineage.jsonl");
    assert_eq!((source.entries().len() as u64, lineages.len() as u64), (record.candidates.fed, record.candidates.fed));
    assert!(record.candidates.fed > 0);
    let by_child: BTreeMap<&str, &Lineage> = lineages.iter().map(|one| (one.child.as_str(), one)).collect();
    for (i, entry) in source.entries().iter().enumerate() {
        let lineage = by_child[entry.id.as_str()];
        assert!(!lineage.verdicts.is_empty() && lineage.verdicts.iter().all(|verdict| verdict.passed), "{}", entry.id);
        let sample = source.fetch(i).unwrap();
        assert_eq!(sample.digests(), lineage.outputs, "{}", entry.id);
        assert_eq!(entry.fields["parent"], lineage.parents[0].id.as_str());
        for digest in lineage.model.iter().chain(&lineage.teacher) {
            assert!(root.join(format!("models/{digest}.safetensors")).is_file(), "{}: no model {digest}", entry.id);
            assert!(record.models.iter().any(|model| model.digest == *digest), "{}: run.json has no {digest}", entry.id);
        }
    }
    // No model is kept for nothing.
    let kept: BTreeSet<String> =
        fs::read_dir(root.join("models")).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let wanted: BTreeSet<String> =
        record.models.iter().filter_map(|model| model.file.as_ref()?.strip_prefix("models/").map(str::to_owned)).collect();
    assert_eq!(kept, wanted);
}

#[test]
fn every_training_sample_has_its_line_and_every_rejection_its_verdict() {
    let done = Done::of(plan(&[]));
    let record = done.record();
    let scores: Vec<ScoreLine> = done.lines("scores.jsonl");
    let ids: BTreeSet<&str> = scores.iter().map(|line| line.id.as_str()).collect();
    assert_eq!((scores.len() as u64, ids.len() as u64), (record.samples.train.used, record.samples.train.used));
    let columns: BTreeSet<&str> = record.columns.iter().map(|column| column.name.as_str()).collect();
    for line in &scores {
        assert_eq!(line.scores.keys().map(String::as_str).collect::<BTreeSet<_>>(), columns, "{}", line.id);
        for (column, score) in &line.scores {
            assert_eq!(score.is_none(), line.absent.contains_key(column), "{}: {column}", line.id);
        }
        assert!(line.label.is_some() && line.fold.is_some_and(|fold| fold < 2), "{}", line.id);
    }
    let children: usize = scores.iter().map(|line| line.children.len()).sum();
    assert_eq!(children as u64, record.candidates.fed);
    assert!(scores.iter().any(|line| !line.selected.is_empty()));
    let rejected: Vec<RejectedLine> = done.lines("rejected.jsonl");
    assert_eq!(rejected.len() as u64, record.candidates.rejected_total());
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in &rejected {
        let failed = line.failed().unwrap_or_else(|| panic!("{} failed nowhere", line.candidate));
        *counts.entry(failed.verifier.clone()).or_default().entry(failed.reason.clone()).or_default() += 1;
        assert!(ids.contains(line.parent.as_str()), "{}", line.candidate);
    }
    assert_eq!(counts, record.candidates.rejected);
}

#[test]
fn no_hard_sample_is_a_warning_and_no_failure() {
    let done = Done::of(few(&["stages[1]={ mine: { threshold: { tau: 1e-9 } } }"]));
    let record = done.record();
    assert_eq!((record.candidates.attempts, record.candidates.made, record.candidates.fed), (0, 0, 0));
    assert!(
        record.warnings.iter().any(|line| line == "no hard sample was found: nothing is generated in this round"),
        "{:?}",
        record.warnings
    );
    assert_eq!(record.problems(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(done.root().join("generated/manifest.jsonl")).unwrap(), "");
    assert_eq!(done.lines::<ScoreLine>("scores.jsonl").len(), 60);
    assert!(done.root().join("report.html").is_file());
}
