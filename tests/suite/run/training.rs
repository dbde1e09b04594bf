//! The memory bank, the growing set, the drift of what was trained on, and what mining costs, as a run leaves them behind.

use super::{Done, FEW_STAGES, HEAD, few, plan_in};
use hardmine::{
    pipeline::Plan,
    registry::Registry,
    run::spec::Spec,
    train::memory_bank::{BankConfig, MemoryBank},
};
use std::path::Path;

const BANK: &str = "train.memory_bank={ share: 0.5 }";

#[test]
fn the_bank_gives_its_share_and_is_left_behind() {
    let done = Done::of(few(&[BANK, "train.uniform_floor=0.25"]));
    let training = done.record().training.unwrap();
    assert_eq!(training.remembered, Some(60));
    let (bank, recovery) = MemoryBank::open(&done.root().join("memory_bank.bin"), BankConfig::default()).unwrap();
    assert_eq!((bank.len(), recovery.damaged, recovery.torn_bytes), (60, 0, 0));
    assert!(bank.snapshot().iter().all(|(_, memory)| memory.count() > 0 || memory.verdict().is_some()));
    // Eight steps of eight, of which two are replayed: four are remembered, two uniform.
    for round in &training.rounds {
        assert_eq!((round.set, round.remembered), (60, 32), "{round:?}");
        let score = round.drift.score.as_ref().unwrap();
        assert_eq!((score.column.as_str(), score.shares.len()), ("loss", 10));
        assert!((score.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(round.drift.classes.unwrap().total_variation > 0.0);
    }
    let time = done.record().timing.unwrap().training.unwrap();
    assert!(time.steps == 16 && time.step_s > 0.0 && time.mining_s > 0.0, "{time:?}");
    let told = done.summary.lines.join("\n");
    assert!(told.contains("32 of these from the memory bank") && told.contains("mining "), "{told}");
    let page = std::fs::read_to_string(done.root().join("report.html")).unwrap();
    assert!(page.contains("What it was trained on") && page.contains("beside 16 training steps"));
}

#[test]
fn without_a_bank_there_is_no_file() {
    let done = Done::of(few(&[]));
    assert_eq!(done.record().training.unwrap().remembered, None);
    assert!(!done.root().join("memory_bank.bin").exists());
}

#[test]
fn the_set_grows_by_what_is_hard() {
    let changes = ["train.mode={ bootstrap: { start: 0.3, add: 0.2 } }", "train.rounds=3"];
    let done = Done::of(few(&changes));
    let sets: Vec<u64> = done.record().training.unwrap().rounds.iter().map(|round| round.set).collect();
    assert_eq!(sets.len(), 3);
    // A third of each class at first; at most twelve a round join it.
    assert!(sets[0] > 18 && sets[0] <= 28 + 12 && sets.is_sorted() && sets[2] > sets[0] && sets[2] <= sets[0] + 24, "{sets:?}");
    let one_thread = Done::with_threads(few(&changes), 1);
    assert_eq!(one_thread.digest(), done.digest());
}

#[test]
fn a_bank_changes_nothing_between_threads() {
    let of = |threads| Done::with_threads(few(&[BANK]), threads).digest();
    assert_eq!(of(1), of(2));
}

#[test]
fn what_cannot_be_is_told_at_its_place() {
    let problems = |text: &str, changes: &[&str]| {
        let mut spec = Spec::parse("tiny.yaml", Path::new("."), text).unwrap_or_else(|finding| panic!("{}", finding.problem));
        changes.iter().for_each(|change| spec.set(change).unwrap());
        let found = spec.plan(&Registry::default()).err().unwrap();
        found.iter().map(|finding| finding.problem.to_string()).collect::<Vec<_>>().join("\n")
    };
    let told = problems(&[HEAD, "stages: [{ score: { loss: {} } }]\n"].concat(), &["train.mode={ bootstrap: { start: 0.3, add: 0.2 } }"]);
    assert!(told.contains("train.mode") && told.contains("expected a `mine` stage"), "{told}");
    let told = problems(
        HEAD,
        &[
            "train.mode={ bootstrap: { start: 1.0, add: 0 } }",
            "train.memory_bank={ share: 1.0, alpha: -1 }",
            "train.watchdog={ spike: 0, window: 3, spikes: 2 }",
        ],
    );
    for wanted in [
        "train.mode.bootstrap.start",
        "train.mode.bootstrap.add",
        "train.memory_bank.share",
        "train.memory_bank.alpha",
        "train.watchdog.spike",
        "train.watchdog.window",
        "spikes",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let plan: Plan = plan_in(Path::new("."), &[HEAD, FEW_STAGES].concat(), &["train.memory_bank={}"]);
    assert!(plan.train.unwrap().memory_bank.is_some());
}
