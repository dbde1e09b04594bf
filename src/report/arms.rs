//! The table of arms: every accuracy of every arm, the mean of its seeds, and what each spent.

use super::number::{count, measure, percent, points, short_count, wilson};
use crate::{
    record::{ArmResult, Metric, Results, RobustBudget},
    sample::{Modality, ModalitySet, Norm, Take},
};
use serde_json::{Value, json};

/// The style class of an arm: the baseline is grey, `hardmine` has the accent, the others take turns.
pub(super) fn class_of(arms: &[&str], arm: &str) -> String {
    match arm {
        "hardmine" => "arm-hardmine".to_owned(),
        "uniform" => "arm-uniform".to_owned(),
        _ => {
            let others = arms.iter().filter(|name| !matches!(**name, "hardmine" | "uniform"));
            format!("arm-{}", others.take_while(|name| **name != arm).count() % 5 + 1)
        }
    }
}

/// The modalities of the data, as far as the subsets tell.
fn all_modalities(results: &Results) -> ModalitySet {
    let of = |name: &str| Modality::ALL.into_iter().filter(|m| name.split('+').any(|part| part == m.name())).collect::<ModalitySet>();
    results.arms.iter().flat_map(|arm| arm.subsets.keys()).fold(ModalitySet::EMPTY, |set, name| set.or(of(name)))
}

/// A metric as a row of the table is called: a subset that lacks one modality is "without" it.
pub(super) fn name_of(results: &Results, metric: &Metric) -> String {
    let Metric::Subset(subset) = metric else { return metric.to_string() };
    let all = all_modalities(results);
    let parts: Vec<&str> = subset.split('+').collect();
    let missing: Vec<&str> = all.iter().map(Modality::name).filter(|name| !parts.contains(name)).collect();
    match (missing.as_slice(), parts.len()) {
        ([], _) => "all modalities given".to_owned(),
        ([one], 2..) => format!("without {one}"),
        (_, 1) => format!("{subset} alone"),
        _ => metric.to_string(),
    }
}

/// Puts metrics in the order of the page: subsets by how many modalities are missing and which.
pub(super) fn sort(metrics: &mut [&Metric]) {
    let rank = |subset: &str| {
        let own: Vec<usize> = (0..3).filter(|i| subset.split('+').any(|part| part == Modality::ALL[*i].name())).collect();
        let missing: Vec<usize> = (0..3).filter(|i| !own.contains(i)).collect();
        (missing.len(), if own.len() > 1 { missing } else { own }, subset.to_owned())
    };
    metrics.sort_by(|a, b| match (a, b) {
        (Metric::Subset(a), Metric::Subset(b)) => rank(a).cmp(&rank(b)),
        _ => a.cmp(b),
    });
}

/// Groups of rows, each cell with its mean, its spread and its difference to the baseline.
pub(super) fn table(results: &Results, arms: &[&str]) -> Vec<Value> {
    let all = results.metrics();
    let mut metrics: Vec<&Metric> = all.iter().collect();
    sort(&mut metrics);
    let group = |title: String, note: String, wanted: &dyn Fn(&Metric) -> bool| {
        let rows: Vec<Value> = metrics.iter().filter(|metric| wanted(metric)).map(|metric| row(results, arms, metric)).collect();
        json!({ "title": title, "note": note, "folded": rows.len() > 12, "rows": rows })
    };
    let mut groups = vec![group("Whole set".into(), String::new(), &|metric| matches!(metric, Metric::Accuracy | Metric::WorstClass))];
    if results.arms.iter().any(|arm| arm.ece.is_some())
        && let Some(rows) = groups[0]["rows"].as_array_mut()
    {
        rows.push(plain_row(results, arms, "calibration error (ECE)", |arm| arm.ece.map(|e| e * 100.0), |v| format!("{v:.1}")));
    }
    groups.push(group("Modalities missing".into(), String::new(), &|metric| matches!(metric, Metric::Subset(_))));
    let named = results.attacks.iter().map(|(name, budget)| format!("{name}: {}", budget_words(budget)));
    let budget = results.robust.as_ref().map(budget_words).into_iter().chain(named).collect::<Vec<_>>().join("; ");
    groups.push(group("Under attack".into(), budget, &|metric| matches!(metric, Metric::Robust { .. })));
    let mut keys: Vec<&String> = results.arms.iter().flat_map(|arm| arm.slices.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let wanted = |metric: &Metric| matches!(metric, Metric::Slice { key: own, .. } if own == key);
        groups.push(group(format!("By {key}"), String::new(), &wanted));
    }
    groups.push(group("Further test sets".into(), String::new(), &|metric| matches!(metric, Metric::Extra(_))));
    let spent =
        |what: &str, f: fn(&ArmResult) -> u64| plain_row(results, arms, what, |arm| Some(f(arm) as f64), |v| short_count(v.round() as u64));
    groups.push(json!({
        "title": "Spent", "note": "means over the seeds", "folded": false,
        "rows": [
            spent("optimizer steps", |arm| arm.steps),
            spent("forward evaluations", |arm| arm.forward_evaluations),
            spent("gradient evaluations", |arm| arm.gradient_evaluations),
            spent("children fed", |arm| arm.children_fed),
        ],
    }));
    groups.retain(|group| group["rows"].as_array().is_some_and(|rows| !rows.is_empty()));
    groups
}

fn row(results: &Results, arms: &[&str], metric: &Metric) -> Value {
    let mut asked = 0;
    let cells: Vec<Value> = arms
        .iter()
        .map(|arm| {
            let found: Vec<_> = results.of(arm).filter_map(|result| result.metric(metric)).collect();
            let Some(first) = found.first() else { return json!({ "value": "–" }) };
            asked = asked.max(first.n);
            let mean = found.iter().map(|a| a.accuracy).sum::<f64>() / found.len() as f64;
            let [low, high] = if found.len() == 1 {
                wilson(first.accuracy, first.n)
            } else {
                found.iter().fold([f64::MAX, f64::MIN], |[low, high], a| [low.min(a.accuracy), high.max(a.accuracy)])
            };
            let worst = (*metric == Metric::WorstClass).then(|| worst_names(results, arm)).flatten();
            let comparison = results.comparison(arm, metric);
            let sure = comparison.and_then(|c| c.interval95).map(|[low, high]| {
                if low > 0.0 {
                    "up"
                } else if high < 0.0 {
                    "down"
                } else {
                    ""
                }
            });
            json!({
                "value": percent(mean),
                "spread": format!("{} – {}", percent(low), percent(high)),
                "extra": worst,
                "difference": comparison.map(|c| points(c.mean_difference)),
                "sure": sure.unwrap_or_default(),
            })
        })
        .collect();
    json!({ "name": name_of(results, metric), "n": count(asked), "primary": *metric == results.primary, "cells": cells })
}

/// The worst classes of an arm's seeds, each once.
fn worst_names(results: &Results, arm: &str) -> Option<String> {
    let mut names: Vec<&str> = results.of(arm).filter_map(|result| result.worst_class.as_ref()).map(|class| class.class.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| format!("class {}", names.join(", ")))
}

fn plain_row(
    results: &Results,
    arms: &[&str],
    name: &str,
    value: impl Fn(&ArmResult) -> Option<f64>,
    words: impl Fn(f64) -> String,
) -> Value {
    let cells: Vec<Value> = arms
        .iter()
        .map(|arm| {
            let found: Vec<f64> = results.of(arm).filter_map(&value).collect();
            if found.is_empty() {
                return json!({ "value": "–" });
            }
            json!({ "value": words(found.iter().sum::<f64>() / found.len() as f64) })
        })
        .collect();
    json!({ "name": name, "n": "", "primary": false, "cells": cells })
}

/// The budget of an attack in words.
fn budget_words(budget: &RobustBudget) -> String {
    let norm = match budget.norm {
        Norm::Linf => "L∞",
        Norm::L2 => "L2",
        Norm::L1 => "L1",
    };
    format!(
        "white box{}, {norm}, radius {} for pixels and {} for the waveform{}, {} steps{}{}, {} restarts{}, {}{} samples",
        if budget.method == "pgd" { String::new() } else { format!(" ({})", budget.method) },
        measure(budget.image_epsilon),
        measure(budget.audio_epsilon),
        if budget.shared { ", one budget shared by both" } else { "" },
        budget.steps,
        match (budget.image_step, budget.audio_step) {
            (None, None) => String::new(),
            (Some(image), None) => format!(" of {} for pixels", measure(image)),
            (None, Some(audio)) => format!(" of {} for the waveform", measure(audio)),
            (Some(image), Some(audio)) => format!(" of {} for pixels and {} for the waveform", measure(image), measure(audio)),
        },
        if budget.random_start { "" } else { " from the sample" },
        budget.restarts,
        if budget.auto_attack { ", then AutoAttack without FAB on what withstood" } else { "" },
        if budget.take == Take::First { "the first " } else { "" },
        count(budget.samples)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Accuracy, Comparison, Helped};

    fn results() -> Results {
        let arm = |name: &str, seed, accuracy| {
            let mut arm = ArmResult::new(name, seed, Accuracy { n: 100, accuracy });
            for subset in ["audio", "audio+text", "image+audio+text"] {
                arm.subsets.insert(subset.into(), Accuracy { n: 80, accuracy: 0.5 });
            }
            arm
        };
        let arms = vec![arm("uniform", 1, 0.90), arm("uniform", 2, 0.92), arm("hardmine", 1, 0.93), arm("hardmine", 2, 0.97)];
        let comparisons = vec![Comparison {
            metric: Metric::Accuracy,
            arm: "hardmine".into(),
            against: "uniform".into(),
            seeds: 2,
            mean_difference: 0.04,
            interval95: Some([0.03, 0.05]),
            helped: Helped::Unclear,
        }];
        Results { split: "test".into(), arms, comparisons, ..Results::default() }
    }

    #[test]
    fn cells_hold_means_spreads_and_differences() {
        let results = results();
        let groups = table(&results, &["uniform", "hardmine"]);
        let cells = &groups[0]["rows"][0]["cells"];
        assert_eq!((cells[0]["value"].as_str(), cells[0]["spread"].as_str()), (Some("91.0"), Some("90.0 – 92.0")));
        assert_eq!((cells[1]["difference"].as_str(), cells[1]["sure"].as_str()), (Some("+4.0"), Some("up")));
        let titles: Vec<_> = groups.iter().filter_map(|group| group["title"].as_str()).collect();
        assert_eq!(titles, ["Whole set", "Modalities missing", "Spent"]);
    }

    #[test]
    fn a_budget_names_the_first_samples() {
        let spread = RobustBudget {
            norm: Norm::L2,
            shared: false,
            image_epsilon: 0.5,
            audio_epsilon: 0.0,
            method: "pgd".into(),
            random_start: true,
            image_step: None,
            audio_step: None,
            steps: 40,
            restarts: 3,
            samples: 100,
            take: Take::Spread,
            auto_attack: false,
        };
        assert!(budget_words(&spread).ends_with("3 restarts, 100 samples"), "{}", budget_words(&spread));
        assert!(budget_words(&RobustBudget { take: Take::First, ..spread.clone() }).ends_with("3 restarts, the first 100 samples"));
        let ensemble = budget_words(&RobustBudget { auto_attack: true, ..spread.clone() });
        assert!(ensemble.ends_with("3 restarts, then AutoAttack without FAB on what withstood, 100 samples"), "{ensemble}");
        // What results without these fields were: steps of the usual kind from a random start.
        let old = json!({ "norm": "l2", "image_epsilon": 0.5, "audio_epsilon": 0.0, "steps": 40, "restarts": 3, "samples": 100 });
        assert_eq!(serde_json::from_value::<RobustBudget>(old).unwrap(), spread);
        let one = RobustBudget { method: "fgsm".into(), random_start: false, image_step: Some(0.5), steps: 1, restarts: 1, ..spread };
        let words = budget_words(&one);
        assert!(
            words.starts_with("white box (fgsm), L2") && words.contains(" 1 steps of 0.5 for pixels from the sample, 1 res"),
            "{words}"
        );
    }

    #[test]
    fn subsets_are_named_by_what_is_missing() {
        let results = results();
        let name = |subset: &str| name_of(&results, &Metric::Subset(subset.into()));
        assert_eq!(["audio", "audio+text", "image+audio+text"].map(name), ["audio alone", "without image", "all modalities given"]);
        let all = ["audio", "image", "image+audio", "audio+text", "text", "image+text"].map(|subset| Metric::Subset(subset.into()));
        let mut sorted: Vec<&Metric> = all.iter().collect();
        sort(&mut sorted);
        let names: Vec<String> = sorted.into_iter().map(|metric| name_of(&results, metric)).collect();
        assert_eq!(names, ["without image", "without audio", "without text", "image alone", "audio alone", "text alone"]);
        assert_eq!(class_of(&["uniform", "a", "hardmine", "b"], "b"), "arm-2");
    }
}
