//! How well a run found what was planted: the guard's average precision, and precision and recall of every reason, against a truth file
//! (JSON lines with `id` and `planted` or `kind`). The truth is read here alone, never by a pipeline.
//!
//! `cargo run --release --example judge_scores -- runs/digits assets/digits/truth.jsonl`

use hardmine::{
    error::{Error, Result},
    record::{ScoreLine, read_lines},
    sample::{
        Judgement,
        metrics::{Flags, average_precision, spearman, wilson},
    },
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Which planted fault a reason should name.
const MAPPING: [(&str, &[&str]); 5] = [
    ("label_suspect", &["mislabeled"]),
    ("pair_mismatch", &["mismatched"]),
    ("audio_degraded", &["audio_noise"]),
    ("image_degraded", &["image_occluded", "image_blurred"]),
    ("modality_missing", &["audio_missing", "image_missing"]),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(run), Some(truth)) = (arguments.next(), arguments.next()) else {
        return Err(Error::usage("expected: judge_scores RUN_FOLDER TRUTH.jsonl"));
    };
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| Error::io(path, error));
    let mut planted: HashMap<String, HashSet<String>> = HashMap::new();
    let mut snr: HashMap<String, f32> = HashMap::new();
    for row in read_lines::<Value>(&read(&truth)?)? {
        if let (Some(id), Some(what)) = (row["id"].as_str(), row["planted"].as_str().or(row["kind"].as_str())) {
            planted.entry(id.to_owned()).or_default().insert(what.to_owned());
            snr.extend(row["snr_db"].as_f64().map(|db| (id.to_owned(), db as f32)));
        }
    }
    let lines: Vec<ScoreLine> = read_lines(&read(&format!("{run}/scores.jsonl"))?)?;
    let has =
        |line: &ScoreLine, faults: &[&str]| planted.get(line.id.as_str()).is_some_and(|of| faults.iter().any(|fault| of.contains(*fault)));

    println!("| score | planted | samples | planted among them | average precision |\n|---|---|---:|---:|---:|");
    for (column, fault) in
        [("label_suspicion", "mislabeled"), ("pair_suspicion", "mismatched"), ("out_of_fold", "mislabeled"), ("low_aum", "mislabeled")]
    {
        let known: Vec<(f32, bool)> = lines.iter().filter_map(|line| Some((line.score(column)?, has(line, &[fault])))).collect();
        let (scores, truth): (Vec<f32>, Vec<bool>) = known.into_iter().unzip();
        if let Some(ap) = average_precision(&scores, &truth) {
            println!("| `{column}` | {fault} | {} | {} | {ap:.3} |", scores.len(), truth.iter().filter(|t| **t).count());
        }
    }
    println!("\n| reason | planted | as | flagged | precision (95 %) | recall (95 %) | F1 |\n|---|---|---|---:|---|---|---:|");
    let mut scored: Vec<f64> = Vec::new();
    for (reason, faults) in MAPPING {
        for primary in [true, false] {
            let codes =
                |line: &ScoreLine| line.reasons.iter().take(if primary { 1 } else { usize::MAX }).any(|own| own.code.name() == reason);
            let pairs: Vec<(bool, bool)> = lines.iter().map(|line| (codes(line), has(line, faults))).collect();
            let flags = Flags::count(pairs.iter().copied());
            let count = |of: &dyn Fn(&(bool, bool)) -> bool| pairs.iter().filter(|pair| of(pair)).count();
            let (flagged, true_in_all, hits) = (count(&|p| p.0), count(&|p| p.1), count(&|p| p.0 && p.1));
            let share = |value: Option<f64>, of: usize| match (value, wilson(hits, of)) {
                (Some(value), Some(interval)) => format!("{value:.3} ({:.3} to {:.3})", interval.low, interval.high),
                _ => "none".to_owned(),
            };
            // A missing modality is read off the manifest: finding it says nothing of the reasons.
            if primary && true_in_all > 0 && reason != "modality_missing" {
                scored.push(flags.f1().unwrap_or(0.0));
            }
            let f1 = flags.f1().map_or_else(|| "none".to_owned(), |f1| format!("{f1:.3}"));
            let as_what = if primary { "primary" } else { "any" };
            let (precision, recall) = (share(flags.precision(), flagged), share(flags.recall(), true_in_all));
            println!("| {reason} | {} | {as_what} | {flagged} | {precision} | {recall} | {f1} |", faults.join(", "));
        }
    }
    if !scored.is_empty() {
        println!(
            "\nmacro F1 of {} primary reasons without modality_missing: {:.3}",
            scored.len(),
            scored.iter().sum::<f64>() / scored.len() as f64
        );
    }
    let (found, true_db): (Vec<f32>, Vec<f32>) =
        lines.iter().filter_map(|line| Some((line.score("audio_snr_db")?, *snr.get(line.id.as_str())?))).unzip();
    if let Some(rho) = spearman(&found, &true_db) {
        println!("estimated against planted SNR: Spearman {rho:.3} over {} samples", found.len());
    }
    let flagged = |line: &&ScoreLine| line.judgement != Judgement::Valuable;
    let clean: Vec<&ScoreLine> = lines.iter().filter(|line| !planted.contains_key(line.id.as_str())).collect();
    let (alarms, of) = (clean.iter().copied().filter(flagged).count(), clean.len());
    println!("set aside without anything planted: {alarms} of {of} ({:.2} %)", 100.0 * alarms as f64 / of.max(1) as f64);
    let wrong = |line: &&ScoreLine| has(line, &["mislabeled", "mismatched"]);
    let selected: Vec<&ScoreLine> = lines.iter().filter(|line| !line.selected.is_empty()).collect();
    for by in ["loss", "out_of_fold"] {
        let mut ranked: Vec<(f32, &ScoreLine)> = lines.iter().filter_map(|line| Some((line.score(by)?, line))).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
        let top = ranked.iter().take(selected.len()).filter(|one| wrong(&one.1)).count();
        println!("wrong samples among the {} largest by {by}: {top}", selected.len().min(ranked.len()));
    }
    println!("wrong samples among the {} selected by the run: {}", selected.len(), selected.iter().copied().filter(wrong).count());
    Ok(())
}
