//! The page: records and computed pictures laid into the template.

use super::{
    Limits, ReportInput, arms,
    chart::{self, MapPoint},
    curve,
    gallery::judgement_words,
    number::{count, measure, percent},
    words::{escaped, visible},
};
use crate::{
    error::{Error, Result},
    record::{CandidateBalance, Drift, ObjectiveRecord, Report, RunRecord, ScoreLine, TransformBalance, WatchdogRecord, Yield},
    sample::Judgement,
};
use minijinja::{AutoEscape, Environment, Value as Cell, escape_formatter, value::ValueKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TEMPLATE: &str = include_str!("page.html");
const GALLERY: &str = include_str!("transforms.html");
/// How media are shown, for both pages.
const MEDIA: &str = include_str!("media.html");
const STYLE: &str = include_str!("style.css");

/// Lays everything out.
pub(super) fn page(input: &ReportInput, report: &Report, cards: Vec<Value>, suspects: Vec<Value>, limits: &Limits) -> Result<String> {
    render(TEMPLATE, &view(input, report, cards, suspects, limits))
}

/// Lays out the gallery of transforms.
pub(super) fn gallery(view: &Value) -> Result<String> {
    let mut view = view.clone();
    view["style"] = STYLE.into();
    render(GALLERY, &view)
}

fn render(template: &'static str, view: &Value) -> Result<String> {
    let broken = |error: minijinja::Error| Error::internal(format!("the report's template: {error:#}"));
    let mut environment = Environment::new();
    // The name ends in .html, so that every value is escaped; charts alone are marked safe, and they escape what they hold.
    environment.add_template("page.html", template).map_err(broken)?;
    environment.add_template("media.html", MEDIA).map_err(broken)?;
    environment.add_filter("count", |value: Cell| match value.kind() {
        ValueKind::Number => u64::try_from(value.clone()).map(count).unwrap_or_else(|_| value.to_string()),
        _ => value.to_string(),
    });
    // Entities for what can end a text or an attribute, and no more: the stock one also writes every `/` of a data URI as five letters.
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() && *state.auto_escape() == AutoEscape::Html => out.write_str(&escaped(text)).map_err(Into::into),
        _ => escape_formatter(out, state, value),
    });
    let template = environment.get_template("page.html").map_err(broken)?;
    template.render(cell(view)).map_err(broken)
}

/// A JSON value for the template; invisible and reordering characters of every text are spelled out on the way.
fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::from(()),
        Value::Bool(flag) => Cell::from(*flag),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(n), _) => Cell::from(n),
            (_, Some(n)) => Cell::from(n),
            _ => Cell::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cell::from(visible(text)),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<Cell>>().into(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), cell(value))).collect::<BTreeMap<String, Cell>>().into(),
    }
}

fn view(input: &ReportInput, report: &Report, cards: Vec<Value>, suspects: Vec<Value>, limits: &Limits) -> Value {
    let run = &input.run;
    let chosen = input.scores.iter().filter(|line| !line.selected.is_empty()).count();
    let suspected: u64 = report.judgements.iter().filter(|(judgement, _)| **judgement != Judgement::Valuable).map(|(_, n)| n).sum();
    let shown_children: usize = report.shown.iter().map(|shown| shown.children.len()).sum();
    json!({
        "style": STYLE,
        "name": run.name,
        "tone": tone(report),
        "headline": report.verdict.headline,
        "sentence": report.verdict.sentence,
        "facts": [
            fact(count(run.samples.train.used), "training samples"),
            fact(count(chosen as u64), "chosen as hard"),
            fact(count(suspected), "set aside as suspect"),
            fact(count(run.candidates.made), "neighbours made"),
            fact(count(run.candidates.fed), "verified and fed"),
            fact(format!("{}", run.seed), "seed"),
        ],
        "warnings": report.warnings,
        "arms": arms_view(report),
        "histogram": report.histogram.as_ref().map(|histogram| json!({
            "svg": chart::histogram(histogram), "column": histogram.column, "absent": histogram.absent,
            "about": run.columns.iter().find(|column| column.name == histogram.column).map(|column| column.about.as_str()),
        })),
        "map": map_view(&input.scores, limits),
        "difficulty": curve::views(&run.columns, &input.scores),
        "reasons": reasons_view(report),
        "suspects": { "cards": suspects, "of": report.suspects.len(), "kinds": kinds(report) },
        "training": training_view(run),
        "yields": yields_view(&run.yields),
        "transforms": transforms_view(&run.yields),
        "gallery": { "cards": cards, "of": report.parents, "children": shown_children, "fed": run.candidates.fed },
        "rejected": rejected_view(report),
        "balance": balance_view(report),
        "reproduce": reproduce_view(input, report),
    })
}

fn fact(value: String, about: &str) -> Value {
    json!({ "value": value, "about": about })
}

/// The colour of the verdict.
fn tone(report: &Report) -> &'static str {
    use crate::record::Helped::{No, OneSeedNotEvidence, Unclear, Yes};
    match report.verdict.helped {
        Some(Yes) => "good",
        Some(No) => "bad",
        Some(Unclear | OneSeedNotEvidence) => "open",
        None => "none",
    }
}

fn arms_view(report: &Report) -> Value {
    let Some(results) = report.results.as_ref().filter(|results| !results.arms.is_empty()) else { return Value::Null };
    let names = results.arm_names();
    let seeds = names.iter().map(|arm| results.of(arm).count()).max().unwrap_or(0);
    let class = |arm: &str| arms::class_of(&names, arm);
    let (curves, curve_name) = chart::curves(results, &names, class).unzip();
    let legend: Vec<Value> = names.iter().map(|name| json!({ "name": name, "class": class(name) })).collect();
    let mut rows: Vec<_> = results.comparisons.iter().map(|comparison| &comparison.metric).collect();
    rows.sort();
    rows.dedup();
    json!({
        "names": legend,
        "groups": arms::table(results, &names),
        "seeds": seeds,
        "split": results.split,
        "withheld": if results.withheld.is_empty() { None } else { Some(results.withheld.to_string()) },
        "against": results.comparisons.first().map(|comparison| comparison.against.as_str()),
        "differences": chart::differences(results, &names, class, |metric| arms::name_of(results, metric)),
        "cut": (rows.len() > chart::MOST_ROWS).then_some(chart::MOST_ROWS),
        "intervals": results.comparisons.iter().any(|comparison| comparison.interval95.is_some()),
        "curves": curves,
        "curve_name": curve_name,
        "verdicts": results.comparisons.iter().filter(|c| c.metric == results.primary).map(|c| json!({
            "arm": c.arm, "against": c.against, "words": c.helped.words(),
            "difference": super::number::points(c.mean_difference),
        })).collect::<Vec<_>>(),
        "primary": arms::name_of(results, &results.primary),
    })
}

fn map_view(scores: &[ScoreLine], limits: &Limits) -> Value {
    let points: Vec<MapPoint<'_>> = scores
        .iter()
        .filter_map(|line| {
            Some(MapPoint {
                id: &line.id,
                confidence: f64::from(line.score("map_confidence")?),
                variability: f64::from(line.score("map_variability")?),
                judgement: line.judgement,
                chosen: !line.selected.is_empty(),
            })
        })
        .collect();
    if points.is_empty() {
        return Value::Null;
    }
    let of = points.len();
    let points = chart::thinned(points, limits.points);
    let there: Vec<&str> = [(Judgement::SuspectLabel, "label"), (Judgement::SuspectPair, "pair"), (Judgement::Outlier, "outlier")]
        .into_iter()
        .filter(|(judgement, _)| points.iter().any(|point| point.judgement == *judgement))
        .map(|(_, name)| name)
        .collect();
    json!({ "svg": chart::data_map(&points), "shown": points.len(), "of": of, "marks": there })
}

/// What the rounds trained on, and what mining cost beside it.
fn training_view(run: &RunRecord) -> Value {
    let Some(training) = &run.training else { return Value::Null };
    let drift = |drift: &Drift| json!({ "variation": measure(drift.total_variation), "shannon": measure(drift.jensen_shannon) });
    let rounds = training.rounds.iter().map(|round| {
        let mut drifts: Vec<Value> = Vec::new();
        let mut told = |name: &str, found: &Drift| drifts.push(json!({ "name": name, "drift": drift(found) }));
        round.drift.classes.iter().for_each(|found| told("classes", found));
        round.drift.slices.iter().for_each(|(field, found)| told(field, found));
        round.drift.score.iter().for_each(|score| told(&score.column, &score.drift));
        let tenths: Vec<String> = round.drift.score.iter().flat_map(|score| &score.shares).map(|share| percent(*share)).collect();
        json!({
            "round": round.round, "set": round.set, "originals": round.originals, "remembered": round.remembered,
            "generated": round.generated, "drifts": drifts, "tenths": tenths.join(", "),
        })
    });
    json!({
        "rounds": rounds.collect::<Vec<_>>(),
        "objective": training.objective.as_ref().map(ObjectiveRecord::words),
        "watchdog": training.watchdog.iter().map(WatchdogRecord::words).collect::<Vec<_>>(),
        "time": run.timing.as_ref().and_then(|timing| timing.training?.words()),
    })
}

/// A share of the greatest, as a width in per cent.
fn width(n: u64, greatest: u64) -> String {
    format!("{:.2}", if greatest == 0 { 0.0 } else { n as f64 * 100.0 / greatest as f64 })
}

fn reasons_view(report: &Report) -> Vec<Value> {
    let greatest = report.reasons.values().map(|count| count.any).max().unwrap_or(0);
    let mut rows: Vec<_> = report.reasons.iter().collect();
    rows.sort_by_key(|(code, count)| (std::cmp::Reverse(count.any), **code));
    rows.into_iter()
        .map(|(code, found)| {
            json!({
                "name": code.name(), "primary": found.primary, "any": found.any,
                "primary_width": width(found.primary, greatest), "also_width": width(found.any - found.primary.min(found.any), greatest),
                "examples": found.examples.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn kinds(report: &Report) -> Vec<Value> {
    let suspects = report.judgements.iter().filter(|(judgement, _)| **judgement != Judgement::Valuable);
    suspects.map(|(judgement, n)| json!({ "name": judgement_words(*judgement), "n": n })).collect()
}

fn yields_view(yields: &[Yield]) -> Value {
    let mut stages: Vec<(&str, &str, CandidateBalance, u64, u64, Vec<&Yield>)> = Vec::new();
    for one in yields {
        let place = stages.iter().position(|(stage, ..)| *stage == one.stage).unwrap_or_else(|| {
            stages.push((&one.stage, &one.operator, CandidateBalance::default(), 0, 0, Vec::new()));
            stages.len() - 1
        });
        let (.., balance, parents, gradients, rounds) = &mut stages[place];
        balance.add(&one.balance);
        *parents += one.parents;
        *gradients += one.gradient_evaluations;
        rounds.push(one);
    }
    let rows: Vec<Value> = stages
        .into_iter()
        .map(|(stage, operator, balance, parents, gradients, rounds)| {
            let total = balance.made + balance.attempts - balance.attempts_made.min(balance.attempts);
            let parts = [
                ("fed", "fed", balance.fed),
                ("rejected", "rejected by a verifier", balance.rejected_total()),
                ("surplus", "not needed (another variant was fed)", balance.surplus),
                ("unfed", "verified, kept back by a budget", balance.unfed),
                ("missed", "band not reached", balance.not_reached),
                ("refused", "refused by a rule", balance.refused_total()),
                ("noop", "draw changed nothing", balance.no_op),
            ];
            let parts: Vec<Value> = parts
                .into_iter()
                .filter(|(_, _, n)| *n > 0)
                .map(|(class, about, n)| json!({ "class": class, "about": about, "n": n, "width": width(n, total) }))
                .collect();
            let reasons = balance.refused.iter().map(|(reason, n)| json!({ "reason": reason, "n": n })).collect::<Vec<_>>();
            json!({
                "stage": stage, "operator": operator, "parents": parents, "made": balance.made, "fed": balance.fed,
                "rejected": balance.rejected_total(), "not_reached": balance.not_reached, "refused": balance.refused_total(),
                "no_op": balance.no_op, "surplus": balance.surplus, "unfed": balance.unfed,
                "yield": if balance.made == 0 { "–".to_owned() } else { format!("{:.0} %", balance.fed as f64 * 100.0 / balance.made as f64) },
                "zero": balance.fed == 0, "gradients": gradients, "parts": parts, "reasons": reasons,
                "rounds": rounds.iter().map(|one| json!({ "round": one.round, "made": one.balance.made, "fed": one.balance.fed })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!(rows)
}

/// What became of each transform, over all stages and rounds: counts, reasons, and the severities that its candidates reached.
fn transforms_view(yields: &[Yield]) -> Vec<Value> {
    let mut all: BTreeMap<&str, TransformBalance> = BTreeMap::new();
    for (name, balance) in yields.iter().flat_map(|one| &one.transforms) {
        all.entry(name).or_default().add(balance);
    }
    let reasons = |of: &BTreeMap<String, u64>| of.iter().map(|(reason, n)| json!({ "reason": reason, "n": n })).collect::<Vec<_>>();
    all.into_iter()
        .map(|(name, balance)| {
            let (made, fed): (u64, u64) = (balance.made.iter().sum(), balance.fed.iter().sum());
            let greatest = balance.made.iter().copied().max().unwrap_or(0);
            let tenth = |(i, (made, fed)): (usize, (&u64, &u64))| {
                json!({
                    "from": format!("{:.1}", i as f64 / 10.0), "to": format!("{:.1}", (i + 1) as f64 / 10.0), "made": made, "fed": fed,
                    "height": width(*made, greatest), "share": width(*fed, *made),
                })
            };
            json!({
                "name": name, "fired": balance.fired, "made": made, "fed": fed, "zero": fed == 0,
                "no_op": balance.no_op.values().sum::<u64>(), "refused": balance.refused.values().sum::<u64>(),
                "no_op_reasons": reasons(&balance.no_op), "refused_reasons": reasons(&balance.refused),
                "yield": if made == 0 { "–".to_owned() } else { format!("{:.0} %", fed as f64 * 100.0 / made as f64) },
                "magnitude": balance.magnitude.as_ref().map(|found| format!("{} to {} {}", measure(found.least), measure(found.greatest), found.unit)),
                "mean": balance.magnitude.as_ref().map(|found| format!("{} in the mean of {}", measure(found.mean), found.count)),
                "tenths": balance.made.iter().zip(&balance.fed).enumerate().map(tenth).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn rejected_view(report: &Report) -> Vec<Value> {
    let greatest = report.rejected.iter().map(|row| row.count).max().unwrap_or(0);
    report
        .rejected
        .iter()
        .map(|row| {
            let examples: Vec<Value> = row
                .examples
                .iter()
                .map(|example| json!({ "id": example.id.as_str(), "value": example.value.map(measure), "limit": example.limit.map(measure) }))
                .collect();
            json!({
                "verifier": row.verifier, "reason": row.reason, "count": row.count, "width": width(row.count, greatest), "examples": examples,
            })
        })
        .collect()
}

fn balance_view(report: &Report) -> Value {
    let splits: Vec<Value> = report
        .samples
        .iter()
        .map(|(name, split)| {
            let listed: Vec<Value> =
                split.listed.iter().take(50).map(|aside| json!({ "id": aside.id.as_str(), "reason": aside.reason })).collect();
            json!({
                "name": name, "read": split.read, "used": split.used, "quarantined": split.quarantined, "skipped": split.skipped,
                "wrong": split.problem().is_some(), "listed": listed, "of": split.listed.len(),
            })
        })
        .collect();
    let all = &report.candidates;
    json!({
        "splits": splits,
        "attempts": all.attempts, "attempts_made": all.attempts_made, "no_op": all.no_op,
        "refused": all.refused_total(), "not_reached": all.not_reached,
        "made": all.made, "fed": all.fed, "rejected": all.rejected_total(), "surplus": all.surplus, "unfed": all.unfed,
        "wrong": all.problem().is_some(),
    })
}

fn reproduce_view(input: &ReportInput, report: &Report) -> Value {
    let run = &input.run;
    let models: Vec<Value> = run
        .models
        .iter()
        .map(|model| {
            let role = serde_json::to_value(model.role).ok().and_then(|role| role.as_str().map(str::to_owned));
            json!({ "digest": model.digest, "role": role, "round": model.round, "fold": model.fold, "file": model.file, "notes": model.notes })
        })
        .collect();
    let child = report.shown.iter().flat_map(|shown| &shown.children).next().map(|id| quoted(id.as_str()));
    json!({
        "seed": run.seed, "hardmine": run.hardmine, "plan": run.plan.to_string(), "output": run.output.map(|digest| digest.to_string()),
        "models": models, "child": child, "pipeline": serde_json::to_string_pretty(&run.pipeline).unwrap_or_default(),
    })
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-~/:+@".contains(c)) && !word.starts_with(['~', '-']);
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_charts_and_the_style_are_trusted() {
        let trusted: Vec<&str> =
            TEMPLATE.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).filter(|e| e.contains("safe")).collect();
        let allowed = ["style", "histogram.svg", "map.svg", "curve.svg", "arms.differences", "arms.curves"];
        for expression in &trusted {
            let name = expression.replace("| safe", "").replace("|safe", "");
            assert!(allowed.contains(&name.trim()), "{expression}");
        }
        assert_eq!(trusted.len(), allowed.len());
        assert!(!STYLE.contains("</") && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn a_hostile_word_stays_one_word_in_a_shell() {
        assert_eq!(quoted("train-1~pgd.r1.0"), "train-1~pgd.r1.0");
        assert_eq!(quoted("a'; rm -rf x"), "'a'\\''; rm -rf x'");
        assert_eq!(quoted(""), "''");
    }
}
