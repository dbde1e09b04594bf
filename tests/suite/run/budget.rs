//! Budgets end a run in good order.

use super::{Done, few};
use hardmine::record::ScoreLine;

#[test]
fn children_are_limited() {
    let done = Done::of(few(&["budget.children=3"]));
    let record = done.record();
    assert_eq!((record.candidates.fed, record.stopped_by.as_deref()), (3, Some("children")));
    assert_eq!(record.problems(), Vec::<String>::new());
    assert_eq!(done.results()["arms"][0]["children_fed"], 3);
    assert!(
        done.summary.lines.iter().any(|line| line == "the budget of children ended the making of neighbours early"),
        "{:#?}",
        done.summary.lines
    );
}

#[test]
fn gradients_are_limited_in_all_rounds_together() {
    let free = Done::of(few(&[]));
    let spent = |done: &Done| done.record().yields.iter().map(|one| one.gradient_evaluations).collect::<Vec<_>>();
    let [first, second] = spent(&free)[..] else { panic!("two rounds of one generator") };
    assert!(first > 0 && second > 0);
    let done = Done::of(few(&["budget.gradients=1"]));
    assert_eq!(done.record().stopped_by.as_deref(), Some("gradients"));
    assert_eq!(spent(&done), [first, 0]);
    assert_eq!(done.record().problems(), Vec::<String>::new());
    // What the first round leaves of the budget is what the second may spend.
    let limit = format!("budget.gradients={first}");
    assert_eq!(spent(&Done::of(few(&[&limit]))), [first, 0]);
    let limit = format!("budget.gradients={}", first + 1);
    assert_eq!(spent(&Done::of(few(&[&limit])))[1], second);
    // Training goes on: an arm that stopped generating is compared at the same number of steps.
    assert_eq!(done.results()["arms"][0]["steps"], free.results()["arms"][0]["steps"]);
}

#[test]
fn without_time_a_run_ends_in_good_order() {
    let done = Done::of(few(&["budget.minutes=0.000001", "compare.arms=[uniform, hardmine]", "compare.seeds=2"]));
    let record = done.record();
    assert_eq!((record.stopped_by.as_deref(), record.candidates.fed), (Some("minutes"), 0));
    assert_eq!(record.problems(), Vec::<String>::new());
    assert_eq!(done.lines::<ScoreLine>("scores.jsonl").len(), 60);
    assert!(
        record.warnings.iter().any(|line| line == "the budget of minutes ended the comparison after 1 of 2 seeds"),
        "{:?}",
        record.warnings
    );
    for name in ["generated/manifest.jsonl", "rejected.jsonl", "model.safetensors", "report.html", "report.json"] {
        assert!(done.root().join(name).is_file(), "{name}");
    }
    assert!(done.summary.lines.iter().any(|line| line == "the budget of minutes ended the training early"), "{:#?}", done.summary.lines);
}
