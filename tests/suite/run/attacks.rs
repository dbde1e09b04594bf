//! The shipped pipeline of attacks: every kind makes children, they are made again alike, and the evaluation says whether to believe it.

use super::{Done, plan_in};
use crate::golden::root;
use serde_json::json;

#[test]
fn every_kind_of_attack_makes_children_and_the_evaluation_looks_for_masked_gradients() {
    let text = std::fs::read_to_string(root("pipelines/attacks.yaml")).unwrap();
    let fgsm = "evaluate.attacks={ fgsm: { method: fgsm, samples: 24 } }";
    let small = ["data.limit=120", "evaluate.robust.samples=24", "evaluate.robust.steps=8", fgsm];
    let done = Done::of(plan_in(&root("pipelines"), &text, &small));
    let record = done.record();
    assert!(record.problems().is_empty(), "{:?}", record.problems());
    for stage in ["shared", "sparse", "black_box", "hotflip", "worst_case"] {
        let of = record.yields.iter().find(|of| of.stage.starts_with(stage)).unwrap_or_else(|| panic!("{stage}: {:?}", record.yields));
        assert!(of.parents > 0, "{stage}: {:?}", of.balance);
        let asks_only = ["black_box", "worst_case"].contains(&stage);
        assert_eq!(of.gradient_evaluations == 0, asks_only, "{stage}");
    }
    let arm = &done.results()["arms"][0];
    let checks = arm["masking"].as_array().unwrap();
    assert_eq!(checks.len(), 6);
    assert!(checks.iter().all(|check| check["samples"].as_u64().unwrap() > 0), "{checks:?}");
    assert!(record.candidates.made > 0, "{:?}", record.yields);
    // A linear model has a slope everywhere.
    let flat = checks.iter().find(|check| check["check"] == "zero_gradients").unwrap();
    assert_eq!(flat["passed"], true, "{checks:?}");
    let of = |attack: &str, attacked: &str, objective: &str| {
        let rows = arm["robust"].as_array().unwrap();
        let row = rows.iter().find(|row| {
            row["attacked"].to_string().contains(attacked)
                && row["objective"] == objective
                && row["attack"].as_str().unwrap_or_default() == attack
        });
        row.unwrap_or_else(|| panic!("{rows:?}"))["accuracy"].as_f64().unwrap()
    };
    let share = |attacked: &str, objective: &str| of("", attacked, objective);
    assert!(share("image", "auto_attack") <= share("image", "worst") && share("image", "worst") <= share("image", "cross_entropy"));
    // The further attack has a row of its own, and one step at the same radius finds no more than eight from two starts.
    assert!(of("fgsm", "image", "cross_entropy") >= share("image", "cross_entropy"));
    let fgsm = &done.results()["attacks"]["fgsm"];
    let told = ["method", "random_start", "steps", "restarts"].map(|key| fgsm[key].clone());
    assert_eq!(told, [json!("fgsm"), json!(false), json!(1), json!(1)]);
    // The record says of each budget whether the ensemble ran.
    assert_eq!((&done.results()["robust"]["auto_attack"], &fgsm["auto_attack"]), (&true.into(), &false.into()));
    super::bytes::regenerates(&done);
}
