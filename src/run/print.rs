//! What a run says at its end.

use super::Summary;
use crate::{
    error::Result,
    record::{Helped, Metric, ObjectiveRecord, Results, RoundRecord, RunRecord},
};
use std::path::Path;

/// The summary of a finished run: balances, yields, the table of arms, the verdict.
pub(super) fn summary(record: &RunRecord, results: Option<&Results>, folder: &Path) -> Result<Summary> {
    let mut lines = Vec::new();
    for (name, split) in record.samples.iter() {
        let mut line = format!("{name}: {} read, {} used", split.read, split.used);
        if split.quarantined + split.skipped > 0 {
            line.push_str(&format!(", {} quarantined, {} skipped", split.quarantined, split.skipped));
        }
        lines.push(line);
    }
    let last = record.figures.iter().map(|found| found.round).max();
    for found in record.figures.iter().filter(|found| Some(found.round) == last) {
        let values: Vec<String> = found.values.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        lines.push(format!("{}: {}", found.stage, values.join(", ")));
    }
    let all = &record.candidates;
    lines.push(format!(
        "candidates: {} made, {} fed, {} rejected, {} surplus, {} not fed",
        all.made,
        all.fed,
        all.rejected_total(),
        all.surplus,
        all.unfed
    ));
    let mut stages: Vec<&str> = Vec::new();
    record.yields.iter().for_each(|one| {
        if !stages.contains(&one.stage.as_str()) {
            stages.push(&one.stage)
        }
    });
    for stage in stages {
        let own = record.yields.iter().filter(|one| one.stage == stage);
        let (parents, attempts, made, fed) = own.fold((0, 0, 0, 0), |sum, one| {
            (sum.0 + one.parents, sum.1 + one.balance.attempts, sum.2 + one.balance.made, sum.3 + one.balance.fed)
        });
        let share = if attempts == 0 { 0.0 } else { 100.0 * fed as f64 / attempts as f64 };
        lines.push(format!("  {stage}: {parents} parents, {attempts} attempts, {made} candidates, {fed} fed (yield {share:.0} %)"));
    }
    if let Some(training) = &record.training {
        lines.extend(training.rounds.iter().map(RoundRecord::words));
        lines.extend(training.remembered.map(|n| format!("memory bank: {n} samples, in memory_bank.bin")));
        lines.extend(training.objective.iter().map(ObjectiveRecord::words));
        lines.extend(training.watchdog.iter().map(|alarm| format!("watchdog, {}", alarm.words())));
    }
    lines.extend(record.timing.as_ref().and_then(|timing| timing.training?.words()));
    if let Some(results) = results {
        lines.push(String::new());
        lines.extend(table(results));
        lines.push(String::new());
        lines.push(verdict(results));
    }
    lines.extend(record.ended());
    lines.push(format!("output digest {}", record.output.map_or_else(|| "none".to_owned(), |digest| digest.to_string())));
    lines.push(format!("report: {}", folder.join("report.html").display()));
    let record = serde_json::json!({ "run": record, "results": results });
    Ok(Summary { lines, record })
}

/// One row a metric, one column an arm; the mean over the seeds.
fn table(results: &Results) -> Vec<String> {
    let arms = results.arm_names();
    let seeds = arms.first().map_or(0, |arm| results.of(arm).count());
    let mut rows: Vec<Vec<String>> = vec![
        std::iter::once(format!("{} ({seeds} seed{})", results.split, if seeds == 1 { "" } else { "s" }))
            .chain(arms.iter().map(|arm| (*arm).to_owned()))
            .collect(),
    ];
    for metric in results.metrics() {
        let mean = |arm: &str| {
            let values: Vec<f64> = results.of(arm).filter_map(|one| one.metric(&metric)).map(|a| a.accuracy).collect();
            if values.is_empty() { "-".to_owned() } else { format!("{:.2} %", 100.0 * values.iter().sum::<f64>() / values.len() as f64) }
        };
        let name = if metric == Metric::Accuracy && !results.withheld.is_empty() {
            format!("accuracy without {}", results.withheld)
        } else {
            metric.to_string()
        };
        rows.push(std::iter::once(name).chain(arms.iter().map(|arm| mean(arm))).collect());
    }
    let mut count = |name: &str, of: &dyn Fn(&crate::record::ArmResult) -> u64| {
        let mean = |arm: &str| {
            let values: Vec<u64> = results.of(arm).map(of).collect();
            (values.iter().sum::<u64>() / (values.len() as u64).max(1)).to_string()
        };
        rows.push(std::iter::once(name.to_owned()).chain(arms.iter().map(|arm| mean(arm))).collect());
    };
    count("steps", &|arm| arm.steps);
    count("forward evaluations", &|arm| arm.forward_evaluations);
    count("gradient evaluations", &|arm| arm.gradient_evaluations);
    count("children fed", &|arm| arm.children_fed);
    let widths: Vec<usize> = (0..rows[0].len()).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(c, (cell, width))| if c == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn verdict(results: &Results) -> String {
    let Some(comparison) = results.verdict() else { return "nothing was compared with the arm `uniform`".to_owned() };
    let difference = format!("{:+.2} points in {} against {}", 100.0 * comparison.mean_difference, comparison.metric, comparison.against);
    let interval = comparison
        .interval95
        .map(|[low, high]| format!(", 95 % interval {:+.2} to {:+.2} over {} seeds", 100.0 * low, 100.0 * high, comparison.seeds))
        .unwrap_or_default();
    let words = match comparison.helped {
        Helped::Yes => "it helped",
        Helped::No => "it did not help",
        Helped::Unclear => "whether it helped is unclear",
        Helped::OneSeedNotEvidence => "one seed: not evidence",
    };
    format!("hardmine: {words} ({difference}{interval})")
}
