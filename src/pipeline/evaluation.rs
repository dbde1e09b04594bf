//! What the `evaluate:` section says of attacks and further test sets.

use super::{
    EvaluatePlan, RobustPlan,
    build::{MOST_REPEATS, fields, from_one, keep, operator},
};
use crate::{
    error::Problem,
    operator::Built,
    read::Reader,
    registry::Registry,
    sample::{Modality, Take},
};
use serde_json::Value;
use std::collections::BTreeMap;

fn attack(written: &Value, path: &str, problems: &mut Vec<Problem>) -> RobustPlan {
    let mut attack: RobustPlan = fields(Some(written), path, problems);
    let left_out = |key: &str| written.get(key).is_none_or(Value::is_null);
    if attack.method.is_one_step() && left_out("steps") {
        attack.steps = 1;
    }
    if !attack.starts_at_random() && left_out("restarts") {
        attack.restarts = 1;
    }
    if attack.method.is_one_step() && attack.steps != 1 {
        let found = attack.steps;
        let message = format!("this method takes one step, found {found}; leave it out, or write `method: pgd`");
        problems.push(Problem::new(format!("{path}.steps"), message));
    }
    if !attack.starts_at_random() && attack.restarts > 1 {
        problems.push(Problem::new(format!("{path}.restarts"), "from the sample itself every restart is the same; expected 1"));
    }
    if !attack.method.rule().needs_gradients() {
        let found = attack.method.name();
        let message = format!("the attack is a white box, and `{found}` asks for answers alone; `auto_attack: true` runs Square beside it");
        problems.push(Problem::new(format!("{path}.method"), message));
    } else if let Some(message) = attack.method.start_problem(attack.random_start) {
        problems.push(Problem::new(format!("{path}.random_start"), message));
    }
    if attack.auto_attack && attack.method.is_one_step() {
        let message = "the ensemble takes its steps and restarts from the attack, and this method has one step; leave `auto_attack` out, or write `method: pgd`";
        problems.push(Problem::new(format!("{path}.auto_attack"), message));
    }
    for (field, found) in [("step_size", attack.step_size), ("audio_step_size", attack.audio_step_size)] {
        if found.is_some_and(|found| found.get() == 0.0) {
            problems.push(Problem::new(format!("{path}.{field}"), "expected a step longer than 0"));
        }
    }
    for (field, step, radius) in
        [("step_size", attack.step_size, attack.image_epsilon), ("audio_step_size", attack.audio_step_size, attack.audio_epsilon)]
    {
        if step.is_some() && radius.get() == 0.0 {
            problems.push(Problem::new(format!("{path}.{field}"), "is a step in a ball of radius 0; leave it out, or write a radius"));
        }
    }
    from_one(&format!("{path}.steps"), attack.steps, MOST_REPEATS, problems);
    from_one(&format!("{path}.restarts"), attack.restarts, MOST_REPEATS, problems);
    if attack.image_epsilon.get() == 0.0 && attack.audio_epsilon.get() == 0.0 {
        problems.push(Problem::new(path, "expected a radius above 0 for the image or the audio, found 0 for both"));
    }
    for (field, modality, found) in
        [("image_epsilon", Modality::Image, attack.image_epsilon), ("audio_epsilon", Modality::Audio, attack.audio_epsilon)]
    {
        let wrong = attack.norm.radius_problem(modality, found.get());
        problems.extend(wrong.map(|message| Problem::new(format!("{path}.{field}"), message)));
    }
    if attack.take == Take::First && attack.samples == 0 {
        problems.push(Problem::new(format!("{path}.take"), "`first` of all samples is all of them: write how many as `samples`"));
    }
    attack
}

/// Names in the columns of results: of an attack those of objectives and of `evaluate.robust`, of a test set those of other accuracies and splits.
const TAKEN_BY_ATTACKS: [&str; 4] = ["auto_attack", "cross_entropy", "robust", "worst"];
const TAKEN_BY_SETS: [&str; 5] = ["accuracy", "test", "train", "validation", "worst class"];

/// The problem of a name under which a result would not be found.
fn taken_name(path: &str, name: &str, what: &str, taken: &[&str]) -> Option<Problem> {
    if name.trim().is_empty() || name.trim() != name {
        let told = format!("expected a name for the {what}, without spaces around it, found `{name}`");
        return Some(Problem::new(path, told));
    }
    // It stands in tables and in the terminal.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if name.chars().any(|c| c.is_control() || turns(c)) {
        let told = format!("expected a name without control characters for the {what}, found {name:?}");
        return Some(Problem::new(path, told));
    }
    let told = || format!("the results have a column called `{name}` already; give the {what} another name");
    taken.contains(&name).then(|| Problem::new(format!("{path}.{name}"), told()))
}

pub(super) fn evaluate(
    value: Option<&Value>,
    registry: &Registry,
    problems: &mut Vec<Problem>,
) -> (EvaluatePlan, BTreeMap<String, Built<dyn Reader>>) {
    // An attack has fields of its own, each to be told.
    let mut value = value.cloned();
    let mut taken =
        |key: &str| value.as_mut().and_then(Value::as_object_mut).and_then(|map| map.shift_remove(key)).filter(|v| !v.is_null());
    let (robust, attacks) = (taken("robust"), taken("attacks"));
    let mut plan: EvaluatePlan = fields(value.as_ref(), "evaluate", problems);
    plan.robust = robust.map(|written| attack(&written, "evaluate.robust", problems));
    match attacks {
        Some(Value::Object(named)) => {
            named.keys().for_each(|name| problems.extend(taken_name("evaluate.attacks", name, "attack", &TAKEN_BY_ATTACKS)));
            plan.attacks = named
                .iter()
                .map(|(name, written)| (name.clone(), attack(written, &format!("evaluate.attacks.{name}"), problems)))
                .collect();
        }
        Some(other) => problems.push(Problem::new(
            "evaluate.attacks",
            format!("expected attacks by name, such as `{{ fgsm: {{ method: fgsm, image_epsilon: 0.3 }} }}`, found {other}"),
        )),
        None => {}
    }
    let mut extra = BTreeMap::new();
    for (name, written) in &plan.extra {
        problems.extend(taken_name("evaluate.extra", name, "test set", &TAKEN_BY_SETS));
        if let Some(built) = keep(registry.readers.build(&operator(written)), &format!("evaluate.extra.{name}"), problems) {
            extra.insert(name.clone(), built);
        }
    }
    (plan, extra)
}
