//! The numbers of a report, from the records alone.

use super::{ReportInput, number};
use crate::record::{
    Example, Helped, Histogram, ReasonCount, RejectedCount, RejectedLine, Report, Results, ScoreLine, Shown, VERSION, VerdictWords,
};
use crate::sample::{Judgement, Modality, ReasonCode, SampleId};
use std::collections::BTreeMap;

/// Bins of the histogram.
const BINS: usize = 36;
/// Least score that a logarithmic histogram tells apart.
const LEAST: f64 = 1e-4;
/// Examples a reason or rejection.
const EXAMPLES: usize = 4;

/// Counts, sums and words. `shown` is what the gallery shows.
pub(super) fn summarise(input: &ReportInput, shown: Vec<Shown>, parents: u64) -> Report {
    let run = &input.run;
    let mut judgements: BTreeMap<Judgement, u64> = BTreeMap::new();
    input.scores.iter().for_each(|line| *judgements.entry(line.judgement).or_default() += 1);
    Report {
        version: VERSION,
        name: run.name.clone(),
        seed: run.seed,
        hardmine: run.hardmine.clone(),
        plan: run.plan,
        output: run.output,
        verdict: verdict(input.results.as_ref()),
        results: input.results.clone(),
        samples: run.samples.clone(),
        candidates: run.candidates.clone(),
        training: input.run.training.clone(),
        yields: run.yields.clone(),
        histogram: histogram(input),
        reasons: reasons(&input.scores),
        judgements,
        suspects: suspects(&input.scores).into_iter().map(|line| line.id.clone()).collect(),
        rejected: rejected(input),
        shown,
        parents,
        warnings: warnings(input),
    }
}

/// Whether it helped, in words.
fn verdict(results: Option<&Results>) -> VerdictWords {
    let words = |helped, headline: &str, sentence: String| VerdictWords { helped, headline: headline.to_owned(), sentence };
    let Some(results) = results else {
        return words(None, "nothing was trained", "This run generated samples and measured no model.".to_owned());
    };
    let Some(found) = results.verdict() else {
        let sentence = if results.arms.is_empty() {
            "No arm was measured.".to_owned()
        } else {
            "There is no baseline to hold it against: name at least two arms under compare.arms.".to_owned()
        };
        return words(None, "nothing was compared", sentence);
    };
    let mean = |arm: &str| {
        let values: Vec<f64> = results.of(arm).filter_map(|r| r.metric(&found.metric)).map(|a| a.accuracy).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let what = if found.metric == crate::record::Metric::Accuracy { "accuracy".to_owned() } else { format!("accuracy ({})", found.metric) };
    let mut sentence = format!(
        "{} reaches {} % {what} on {}, {} {} %: {} points",
        found.arm,
        number::percent(mean(&found.arm)),
        results.split,
        found.against,
        number::percent(mean(&found.against)),
        number::points(found.mean_difference)
    );
    match found.interval95 {
        Some([low, high]) => sentence.push_str(&format!(
            ", 95 % interval {} to {}, {} paired seeds.",
            number::points(low),
            number::points(high),
            number::count(found.seeds as u64)
        )),
        None => sentence.push_str(" on one seed. Run with --set compare.seeds=5 for an interval."),
    }
    match found.helped {
        Helped::Unclear if found.seeds < 5 => sentence.push_str(" Fewer than 5 seeds are not enough for a verdict."),
        Helped::Unclear => sentence.push_str(" The interval holds zero."),
        Helped::No if found.mean_difference > 0.0 => sentence.push_str(" The whole set may have lost more than 0.5 points."),
        _ => {}
    }
    words(Some(found.helped), found.helped.words(), sentence)
}

/// The scores that a page shows besides those of the bands and the difficulty curves.
pub(super) const COLUMNS: [&str; 4] = ["out_of_fold", "loss", "map_confidence", "map_variability"];

/// The score of the histogram: the one that the band is made of, else the first of the usual ones that is there.
pub(super) fn mined_column(input: &ReportInput) -> Option<String> {
    let there = |name: &str| input.scores.iter().any(|line| line.score(name).is_some());
    let band = input.run.bands.last().map(|band| band.column.as_str());
    band.into_iter().chain(["out_of_fold", "loss"]).find(|name| there(name)).map(str::to_owned)
}

fn histogram(input: &ReportInput) -> Option<Histogram> {
    let column = mined_column(input)?;
    let known: Vec<(f64, bool)> = input
        .scores
        .iter()
        .filter_map(|line| line.score(&column).map(|value| (f64::from(value), !line.selected.is_empty())))
        .filter(|(value, _)| value.is_finite())
        .collect();
    let mut sorted: Vec<f64> = known.iter().map(|(value, _)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let median = sorted[sorted.len() / 2];
    // Losses pile up near zero: their shape is seen in the logarithm.
    let logarithmic = least >= 0.0 && greatest > 10.0 * LEAST && median < 0.1 * greatest;
    let ends = if logarithmic { (least.max(LEAST).min(greatest / 10.0).log10().floor(), greatest.log10()) } else { (least, greatest) };
    let width = if ends.1 > ends.0 { (ends.1 - ends.0) / BINS as f64 } else { 1.0 };
    let place = |value: f64| if logarithmic { value.max(LEAST).log10() } else { value };
    let (mut counts, mut selected) = (vec![0; BINS], vec![0; BINS]);
    for (value, chosen) in &known {
        let bin = (((place(*value) - ends.0) / width).max(0.0) as usize).min(BINS - 1);
        counts[bin] += 1;
        selected[bin] += u64::from(*chosen);
    }
    let edge = |i: usize| ends.0 + width * i as f64;
    let edges = (0..=BINS).map(|i| if logarithmic { 10f64.powf(edge(i)) } else { edge(i) }).collect();
    let band = input.run.bands.iter().rev().find(|band| band.column == column).and_then(|band| band.band);
    let absent = (input.scores.len() - known.len()) as u64;
    let band = band.map(|band| [f64::from(band.low), f64::from(band.high)]);
    Some(Histogram { column, edges, logarithmic, counts, selected, absent, band })
}

fn reasons(scores: &[ScoreLine]) -> BTreeMap<ReasonCode, ReasonCount> {
    let mut found: BTreeMap<ReasonCode, (ReasonCount, Vec<(f32, &SampleId)>)> = BTreeMap::new();
    for line in scores {
        for (place, reason) in line.reasons.iter().enumerate() {
            let (count, examples) = found.entry(reason.code).or_default();
            count.any += 1;
            if place == 0 {
                count.primary += 1;
                examples.push((reason.strength, &line.id));
            }
        }
    }
    let finish = |(code, (mut count, mut examples)): (ReasonCode, (ReasonCount, Vec<(f32, &SampleId)>))| {
        examples.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        count.examples = examples.into_iter().take(EXAMPLES).map(|(_, id)| id.clone()).collect();
        (code, count)
    };
    found.into_iter().map(finish).collect()
}

/// The samples that the guard set aside, the surest first.
pub(super) fn suspects(scores: &[ScoreLine]) -> Vec<&ScoreLine> {
    let mut lines: Vec<&ScoreLine> = scores.iter().filter(|line| line.judgement != Judgement::Valuable).collect();
    let strength = |line: &ScoreLine| line.reasons.first().map_or(0.0, |reason| reason.strength);
    lines.sort_by(|a, b| strength(b).total_cmp(&strength(a)).then_with(|| a.id.cmp(&b.id)));
    lines
}

fn rejected(input: &ReportInput) -> Vec<RejectedCount> {
    let mut found: BTreeMap<(&str, &str), RejectedCount> = BTreeMap::new();
    let blank = |verifier: &str, reason: &str, count| RejectedCount {
        verifier: verifier.to_owned(),
        reason: reason.to_owned(),
        count,
        examples: Vec::new(),
    };
    for (verifier, reasons) in &input.run.candidates.rejected {
        for (reason, count) in reasons {
            found.insert((verifier, reason), blank(verifier, reason, *count));
        }
    }
    for line in &input.rejected {
        let Some(verdict) = line.failed() else { continue };
        let (verifier, reason) = (verdict.verifier.as_str(), verdict.reason.as_str());
        let row = found.entry((verifier, reason)).or_insert_with(|| blank(verifier, reason, 0));
        if row.examples.len() < EXAMPLES {
            row.examples.push(Example { id: line.candidate.clone(), value: verdict.value, limit: verdict.limit });
        }
    }
    let mut rows: Vec<RejectedCount> = found.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

fn warnings(input: &ReportInput) -> Vec<String> {
    let run = &input.run;
    let mut warnings = run.warnings.clone();
    let mut add = |text: String| {
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    };
    run.barren().into_iter().for_each(|stage| add(format!("generator `{stage}` fed nothing in the whole run")));
    run.problems().into_iter().for_each(|problem| add(format!("the balance does not add up: {problem}")));
    let (counted, listed) = (run.candidates.rejected_total(), input.rejected.len() as u64);
    if counted != listed {
        add(format!("{} candidates are counted as rejected, {} are listed", number::count(counted), number::count(listed)));
    }
    let (counted, listed) = (run.candidates.fed, input.lineage.len() as u64);
    if counted != listed {
        add(format!("{} candidates are counted as fed, {} have a lineage", number::count(counted), number::count(listed)));
    }
    let unjudged = input.rejected.iter().filter(|line: &&RejectedLine| line.failed().is_none()).count() as u64;
    if unjudged > 0 {
        add(format!("{} rejected candidates have no failed verdict", number::count(unjudged)));
    }
    for shared in &run.shared {
        let [a, b] = &shared.splits;
        let what = match shared.modality {
            Modality::Image => "images",
            Modality::Audio => "clips",
            Modality::Text => "texts",
        };
        add(format!("{} {what} stand in both {a} and {b}", shared.count));
    }
    run.ended().into_iter().for_each(&mut add);
    for arm in input.results.iter().flat_map(|results| &results.arms) {
        for check in arm.masking.iter().filter(|check| !check.passed) {
            add(format!(
                "gradients may be masked in arm `{}`, seed {}: {} is {} ({} samples), accepted up to {}; robust accuracy may be overstated",
                arm.arm,
                arm.seed,
                check.check,
                number::measure(check.value),
                number::count(check.samples),
                number::measure(check.limit)
            ));
        }
    }
    warnings
}
