//! The same seed gives the same bytes, and every child can be made again.

use super::{Done, plan, plan_in};
use crate::golden::root;
use hardmine::{progress::Silent, run, sample::Lineage};
use serde_json::{Value, json};
use std::fs;

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads_and_the_folder() {
    let one = Done::with_threads(plan(&[]), 1);
    let two = Done::with_threads(plan(&[]), 2);
    assert!(one.record().candidates.fed > 0, "nothing was fed: {:#?}", one.record().yields);
    assert_eq!(one.digest(), two.digest());
    for name in ["scores.jsonl", "rejected.jsonl", "generated/manifest.jsonl", "generated/lineage.jsonl", "model.safetensors"] {
        assert_eq!(fs::read(one.root().join(name)).unwrap(), fs::read(two.root().join(name)).unwrap(), "{name}");
    }
    assert_eq!(one.results(), two.results());
    let other = Done::of(plan(&["seed=8"]));
    assert_ne!(one.digest(), other.digest());
    regenerates(&one);
}

#[test]
fn every_generator_makes_children_that_can_be_made_again() {
    let done = Done::of(plan(&[]));
    let lineages: Vec<Lineage> = done.lines("generated/lineage.jsonl");
    for operator in ["pgd", "latent", "synchronized", "modality_dropout"] {
        assert!(lineages.iter().any(|one| one.operator == operator), "{operator} fed nothing: {:#?}", done.record().yields);
    }
    regenerates(&done);
}

#[cfg(feature = "burn")]
#[test]
fn the_fusion_model_gives_the_same_bytes_too() {
    let fusion = "model={ fusion: { embedding: 16, image: { channels: [8, 8] }, audio: { mels: 16 }, text: { hidden: 16 } } }";
    let changes = [fusion, "data.limit=80", "train.warmup_epochs=6"];
    let one = Done::with_threads(plan(&changes), 1);
    let two = Done::with_threads(plan(&changes), 2);
    assert!(one.record().candidates.fed > 0, "nothing was fed: {:#?}", one.record().yields);
    assert_eq!(one.digest(), two.digest());
    regenerates(&one);
}

#[test]
fn partners_files_and_negatives_of_the_shipped_pipeline_are_made_again() {
    let text = fs::read_to_string(root("pipelines/augment.yaml")).unwrap();
    let done = Done::of(plan_in(&root("pipelines"), &text, &[]));
    let lineages: Vec<Lineage> = done.lines("generated/lineage.jsonl");
    // Drawn by name, from version 2 on with the version behind it.
    let drew = |name: &str| {
        let keys = [format!("\"{name}\""), format!("\"{name}@")];
        lineages.iter().filter(|one| keys.iter().any(|key| one.parameters.to_string().contains(key))).count()
    };
    for name in ["babble", "background", "desynchronize"] {
        assert!(drew(name) > 0, "{name} made nothing: {:#?}", done.record().yields);
    }
    // A child of babble names its partners beside its parent.
    assert!(lineages.iter().any(|one| one.parents.len() > 1));
    let children: Vec<Value> = done.lines("generated/manifest.jsonl");
    let negatives = children.iter().filter(|child| child["mismatched"] == json!(["audio"]));
    assert_eq!(negatives.clone().count(), drew("desynchronize"));
    assert!(negatives.clone().all(|child| child.get("label").is_none()));
    regenerates(&done);
}

/// Made again, all are the same; written elsewhere, they are the data set that the run left.
pub(super) fn regenerates(done: &Done) {
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("again");
    let summary = run::regenerate(&done.root(), &[], Some(&to), &Silent).unwrap();
    let fed = done.record().candidates.fed;
    assert_eq!(summary.record, json!({ "asked": fed, "same": fed, "different": {} }), "{:#?}", summary.lines);
    let lines: Vec<Value> = done.lines("generated/manifest.jsonl");
    for line in &lines {
        for path in ["image", "audio"].into_iter().filter_map(|field| line[field].as_str()) {
            assert_eq!(fs::read(to.join(path)).unwrap(), fs::read(done.root().join("generated").join(path)).unwrap(), "{path}");
        }
    }
    let read =
        |name: &str| (fs::read_to_string(to.join(name)).unwrap(), fs::read_to_string(done.root().join("generated").join(name)).unwrap());
    for name in ["manifest.jsonl", "lineage.jsonl"] {
        let (again, then) = read(name);
        assert_eq!(again, then, "{name}");
    }
}
