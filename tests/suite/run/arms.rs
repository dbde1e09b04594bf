//! The comparison: all arms take the same steps, and control arms are held to what the main arm was fed.

use super::{Done, plan};
use hardmine::record::Results;

#[test]
fn all_arms_are_compared_at_the_same_steps() {
    let arms = ["uniform", "uniform_guard", "uniform_augmentation", "mining_only", "random_parents", "uniform_equal_compute", "hardmine"];
    let done = Done::of(plan(&[&format!("compare.arms=[{}]", arms.join(", ")), "compare.seeds=2", "train.rounds=2"]));
    let results: Results = serde_json::from_value(done.results().clone()).unwrap();
    assert_eq!(results.arm_names(), arms);
    for arm in arms {
        assert_eq!(results.of(arm).map(|one| one.seed).collect::<Vec<_>>(), [7, 8], "{arm}");
    }
    // Five epochs of warm-up and one of each round, with thirteen batches each.
    for one in results.arms.iter().filter(|one| one.arm != "uniform_equal_compute") {
        assert_eq!((one.arm.as_str(), one.steps), (one.arm.as_str(), 91));
    }
    for seed in [7, 8] {
        let of = |arm: &str| results.of(arm).find(|one| one.seed == seed).unwrap();
        assert!(of("uniform_equal_compute").steps > of("uniform").steps, "seed {seed}");
        let (main, random) = (of("hardmine").children_fed, of("random_parents").children_fed);
        assert!(main > 0 && random > 0 && random <= main, "seed {seed}: {random} of random parents, {main} of hard ones");
        assert!(of("uniform_augmentation").children_fed <= main);
        for arm in ["uniform", "uniform_guard", "mining_only", "uniform_equal_compute"] {
            assert_eq!(of(arm).children_fed, 0, "{arm}");
        }
    }
    for arm in arms.iter().filter(|arm| **arm != "uniform") {
        for metric in results.metrics() {
            let comparison = results.comparison(arm, &metric).unwrap_or_else(|| panic!("{arm} is not compared on {metric}"));
            assert_eq!((comparison.seeds, comparison.against.as_str()), (2, "uniform"));
            let [low, high] = comparison.interval95.unwrap_or_else(|| panic!("{arm}, {metric}: no interval"));
            assert!(low <= comparison.mean_difference + 1e-12 && comparison.mean_difference <= high + 1e-12, "{arm}, {metric}");
        }
    }
    assert!(done.record().output.is_some());
}

#[test]
fn one_seed_is_said_to_be_no_evidence() {
    let done = Done::of(plan(&["compare.arms=[uniform, hardmine]"]));
    assert!(done.summary.lines.iter().any(|line| line.starts_with("hardmine: one seed: not evidence (")), "{:#?}", done.summary.lines);
    let comparisons = done.results()["comparisons"].as_array().unwrap();
    assert!(comparisons.iter().all(|one| one["interval95"].is_null()) && !comparisons.is_empty());
}
