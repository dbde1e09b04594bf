//! Runs that train on another objective than the cross entropy, with thinned samples and balanced encoders.

use super::{Done, File, HEAD, few, plan_in};
use hardmine::{registry::Registry, run::spec::Spec};
use std::path::Path;

const WHOLE: &str = "train.modality_dropout=0";
const BALLS: &str = "balls: { image: 8/255, audio: 0.002 }";

/// Presentations, treated ones, gradient and forward evaluations of an objective in a round of eight steps of eight.
fn counts(objective: &str) -> [u64; 4] {
    let done = Done::of(few(&[WHOLE, "train.rounds=1", &format!("train.objective={objective}")]));
    let told = done.record().training.unwrap().objective.unwrap();
    assert!(objective.contains(&told.name), "{told:?}");
    assert!(done.summary.lines.iter().any(|line| line.contains(&format!("objective {}", told.name))));
    let spent = &done.results()["arms"][0];
    assert!(spent["gradient_evaluations"].as_u64().unwrap() >= told.gradient + told.presentations);
    [told.presentations, told.treated, told.gradient, told.forward]
}

#[test]
fn every_gradient_is_counted() {
    assert_eq!(counts(&format!("{{ trades: {{ {BALLS}, steps: 2 }} }}")), [128, 64, 128, 64]);
    assert_eq!(counts(&format!("{{ free: {{ {BALLS}, replays: 3 }} }}")), [192, 64, 0, 0]);
    assert_eq!(counts(&format!("{{ freelb: {{ {BALLS}, steps: 3 }} }}")), [192, 64, 0, 0]);
    // Each treated sample is also asked for its clean prediction.
    assert_eq!(counts("{ villa: { balls: { text: 0.3 }, steps: 2 } }"), [256, 64, 128, 64]);
    assert_eq!(counts("{ ohem: { keep: 0.5 } }"), [32, 64, 0, 64]);
}

#[test]
fn single_steps_are_checked_after_each_epoch() {
    let objective = format!("train.objective={{ fgsm_rs: {{ {BALLS}, check_samples: 20, check_steps: 3 }} }}");
    let done = Done::of(few(&[WHOLE, &objective]));
    let told = done.record().training.unwrap().objective.unwrap();
    assert_eq!((told.presentations, told.gradient), (128, 128));
    let checks: Vec<(usize, u64)> = told.checks.iter().map(|check| (check.epoch, check.n)).collect();
    assert_eq!(checks, [(2, 20), (3, 20)]);
    assert!(told.checks.iter().all(|check| check.scale == 1.0), "{told:?}");
    // On a ramp over all sixteen steps the eighth has 7.5 / 16 of the radii and the last 15.5 / 16: that is what is checked.
    let ramped = format!("train.objective={{ fgsm_rs: {{ {BALLS}, ramp: 1, check_samples: 4, check_steps: 2 }} }}");
    let scales = Done::of(few(&[WHOLE, &ramped])).record().training.unwrap().objective.unwrap();
    let scales: Vec<f64> = scales.checks.iter().map(|check| check.scale * 16.0).collect();
    assert!(scales.len() == 2 && (scales[0] - 7.5).abs() < 1e-9 && (scales[1] - 15.5).abs() < 1e-9, "{scales:?}");
    let page = std::fs::read_to_string(done.root().join("report.html")).unwrap();
    assert!(page.contains("objective fgsm_rs: 128 presentations"));
}

#[test]
fn mined_samples_alone_are_attacked_and_a_control_attacks_as_many() {
    // The main arm meets its selection more often for the sampler's weights, and less for what is replayed; its generator asks for no gradient.
    let stages = "stages: [{ score: { loss: {} } }, { mine: { top_fraction: { by: loss, fraction: 0.3 } } }, { generate: { synchronized: {} }, for: [near_boundary] }, \
        { verify: { not_duplicate: {} } }, { feed: { replay: { share: 0.3 } } }, { feed: { sampler_weights: {} } }]";
    let text = [HEAD, stages].concat();
    let plan = |objective: &str| {
        let objective = format!("train.objective={{ {objective} }}");
        let changes = [
            WHOLE,
            "data.limit=60",
            "train.warmup_epochs=1",
            "train.rounds=2",
            &objective,
            "compare.arms=[hardmine, uniform, random_parents]",
        ];
        plan_in(Path::new("."), &text, &changes)
    };
    let madry = format!("madry: {{ {BALLS}, steps: 2, on: mined }}");
    let done = Done::of(plan(&madry));
    let record = done.record();
    let told = record.training.unwrap();
    let (rounds, told) = (told.rounds, told.objective.unwrap());
    assert!(rounds.iter().any(|round| round.generated > 0), "{rounds:?}");
    assert!(told.treated > 0 && told.treated < 96 && told.gradient == 2 * told.treated, "{told:?}");
    let gradients = |done: &Done| -> Vec<u64> {
        done.results()["arms"].as_array().unwrap().iter().map(|arm| arm["gradient_evaluations"].as_u64().unwrap()).collect()
    };
    let found = gradients(&done);
    // Every arm presents 60 samples in the warm-up and 128 in the rounds.
    assert_eq!(found, [60 + 128 + told.gradient; 3]);
    assert_eq!(Done::with_threads(plan(&madry), 1).digest(), done.digest());
    // An attack that some samples have no medium for: those are not counted as treated.
    let sounds = gradients(&Done::of(plan("trades: { balls: { audio: 0.002 }, steps: 2, on: mined }")));
    assert!(sounds[0] > 60 + 128 && sounds.iter().all(|one| *one == sounds[0]), "{sounds:?}");
}

#[test]
fn what_an_arm_pays_beside_its_steps_is_not_given_to_it_twice() {
    let totals = |changes: &[&str]| -> Vec<f64> {
        let done = Done::of(few(&[&[WHOLE, "compare.arms=[hardmine, uniform_equal_compute]"], changes].concat()));
        let number = |arm: &serde_json::Value, key: &str| arm[key].as_f64().unwrap();
        let arms = done.results()["arms"].as_array().unwrap();
        arms.iter().map(|arm| number(arm, "gradient_evaluations") + number(arm, "forward_evaluations") / 3.0).collect()
    };
    // Two epochs of whole steps of eight: the nearest number of steps is at most eight presentations off. A round's passes for the gap cost about fifty.
    let gap = totals(&["train.balance={ modality_gap: {} }"]);
    assert!((gap[0] - gap[1]).abs() <= 8.0 + 1e-6, "{gap:?}");
    // A check costs about a thousand; those of both arms are not the same to a sample.
    let balls = "balls: { image: 0.0001 }";
    let checks = totals(&[&format!("train.objective={{ fgsm_rs: {{ {balls}, check_samples: 60, check_steps: 20 }} }}")]);
    assert!(checks[0] > 1500.0 && (checks[0] - checks[1]).abs() < 300.0, "{checks:?}");
}

#[test]
fn thinned_samples_and_the_same_between_threads() {
    let whole = Done::of(few(&[WHOLE, "train.rounds=1"])).digest();
    let change = "train.modality_dropout={ probability: 0.5, scheme: at_least_one, replacement: other, start: 0.1, ramp: 0.5 }";
    let digest = Done::of(few(&[change, "train.rounds=1"])).digest();
    assert_ne!(whole, digest);
    assert_eq!(Done::with_threads(few(&[change, "train.rounds=1"]), 1).digest(), digest);
    // The gap of a sample weighs it, and looking costs forward passes.
    let gaps = Done::of(few(&[WHOLE, "train.rounds=1", "train.balance={ modality_gap: { strength: 2 } }"]));
    assert_ne!(gaps.digest(), whole);
}

#[test]
fn what_cannot_be_is_told_at_its_place() {
    let told = |changes: &[&str]| {
        let text = [HEAD, "stages: [{ score: { loss: {} } }]\n"].concat();
        let mut spec = Spec::parse("tiny.yaml", Path::new("."), &text).unwrap_or_else(|finding| panic!("{}", finding.problem));
        changes.iter().for_each(|change| spec.set(change).unwrap());
        let found = spec.plan(&Registry::default()).err().unwrap();
        found.iter().map(|finding| finding.problem.path.clone()).collect::<Vec<_>>()
    };
    let problems = told(&[
        "train.objective={ madry: { steps: 0, on: mined } }",
        "train.modality_dropout={ aim: over_relied, partial: 0 }",
        "train.balance={ ogm_ge: { alpha: 11 } }",
    ]);
    for wanted in [
        "train.objective.madry.balls",
        "train.objective.madry.steps",
        "train.objective.madry.on",
        "train.modality_dropout.aim",
        "train.modality_dropout.partial",
        "train.balance.ogm_ge.alpha",
        "train.balance.ogm_ge",
    ] {
        assert!(problems.iter().any(|path| path == wanted), "{wanted}: {problems:?}");
    }
    assert_eq!(told(&["train.modality_dropout=1.5"]), ["train.modality_dropout"]);
    assert_eq!(told(&["train.objective={ pgd: {} }"]).len(), 1);
    let fits = few(&["train.objective=focal", "train.modality_dropout={ aim: uniform }"]).train.unwrap();
    assert_eq!((fits.objective.name(), fits.modality_dropout.probability.get()), ("focal", 0.2));
}

#[test]
fn a_check_on_the_split_that_is_reported_is_warned_of() {
    let objective = format!("train: {{ objective: {{ fgsm_rs: {{ {BALLS}, check_samples: 4, check_steps: 1 }} }}, warmup");
    let text = [&HEAD.replace("train: { warmup", &objective), "stages: [{ score: { loss: {} } }]\n"].concat();
    let validated = File::new(&text.replace("  test:", "  validation:"));
    let warning = "warning: train.objective.fgsm_rs: its check decides by the validation split";
    for told in [validated.call(&["check", "p.yaml"]), validated.run(&[])] {
        assert!(told.code == Some(0) && told.err.contains(warning), "{told:#?}");
    }
    let tested = File::new(&text).call(&["check", "p.yaml"]);
    assert!(tested.code == Some(0) && !tested.err.contains("warning"), "{tested:#?}");
}
