//! Samples that lack modalities run end to end.

use super::{Done, HEAD, STAGES, first, jsonl, plan_in};
use hardmine::{
    record::ScoreLine,
    sample::{Modality, ModalitySet},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs};

fn thinned(mut line: Value, keep: &[&str]) -> Value {
    for field in ["image", "audio", "text"].iter().filter(|field| !keep.contains(field)) {
        line.as_object_mut().unwrap().remove(*field);
    }
    line
}

fn mixed(changes: &[&str]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [&[&str]; 5] = [&["image"], &["audio"], &["text"], &["image", "text"], &["image", "audio", "text"]];
    for split in ["train", "test"] {
        // Complete lines alone, so that what is kept is there.
        let whole = first(split, 100).into_iter().filter(|line| ["image", "audio", "text"].iter().all(|field| line[field].is_string()));
        let lines: Vec<Value> = whole.take(70).enumerate().map(|(i, line)| thinned(line, kinds[i % kinds.len()])).collect();
        fs::write(folder.path().join(format!("{split}.jsonl")), jsonl(&lines)).unwrap();
    }
    // Seventy samples of five kinds teach no judge of labels.
    let text = [HEAD, STAGES].concat().replace("builtin:digits/", "").replace("  - verify: { label_kept: {} }\n", "");
    Done::of(plan_in(folder.path(), &text, &[changes, &["data.limit=70"]].concat()))
}

#[test]
fn a_missing_modality_goes_through_every_stage() {
    let done = mixed(&[]);
    let record = done.record();
    assert_eq!((record.samples.train.used, record.problems()), (70, Vec::new()));
    let lines: Vec<ScoreLine> = done.lines("scores.jsonl");
    let kinds: BTreeSet<String> = lines.iter().map(|line| line.present.to_string()).collect();
    assert_eq!(kinds.len(), 5);
    let present = |id: &str| lines.iter().find(|line| line.id.as_str() == id).map(|line| line.present).unwrap();
    let children: Vec<Value> = done.lines("generated/manifest.jsonl");
    assert!(!children.is_empty(), "{:#?}", record.yields);
    for child in &children {
        let has: ModalitySet = Modality::ALL.into_iter().filter(|m| child[m.to_string()].is_string()).collect();
        let parent = present(child["parent"].as_str().unwrap());
        assert_eq!(has.and(parent), has, "{child}: a modality that the parent has not");
    }
    let hard: BTreeSet<String> = children.iter().map(|child| present(child["parent"].as_str().unwrap()).to_string()).collect();
    assert!(hard.len() > 1, "children of one kind of parent alone: {hard:?}");
}

#[cfg(feature = "burn")]
#[test]
fn the_fusion_model_learns_from_what_is_there() {
    let fusion = "model={ fusion: { embedding: 16, image: { channels: [8, 8] }, audio: { mels: 16 }, text: { hidden: 16 } } }";
    let done = mixed(&[fusion, "train.warmup_epochs=1"]);
    assert_eq!((done.record().samples.train.used, done.record().problems()), (70, Vec::new()));
    assert!(done.results()["arms"][0]["accuracy"]["n"] == 70);
}
