//! What a run knows of one sample or one child, as lines for people and as data.

use super::Summary;
use crate::{
    error::{Error, Result, distance},
    record::{RejectedLine, ScoreLine},
    report::{ReportInput, claim_words, measure, parameters, visible},
    sample::{Column, ColumnKind, Judgement, Lineage, SampleId, Treatment, Verdict},
};
use serde_json::json;
use std::path::Path;

/// Width of the first column.
const NAME: usize = 24;
/// Ids that a message suggests.
const SUGGESTIONS: usize = 3;

/// A sample: scores with their place among all, reasons, judgement, children. A child: parent, operator, parameters, verdicts.
/// An id that the run does not know is an error with the nearest ones.
pub(super) fn explain(dir: &Path, id: &SampleId) -> Result<Summary> {
    let input = ReportInput::read(dir)?;
    let summary = if let Some(line) = input.scores.iter().find(|line| line.id == *id) {
        sample(&input, line)
    } else if let Some(lineage) = input.lineage.iter().find(|lineage| lineage.child == *id) {
        child(&input, lineage)
    } else if let Some(line) = input.rejected.iter().find(|line| line.candidate == *id) {
        refused(line)
    } else {
        return Err(unknown(&input, id));
    };
    // Ids and captions are data: nothing in them may steer a terminal.
    Ok(Summary { lines: summary.lines.iter().map(|line| visible(line).replace('\n', " ")).collect(), record: summary.record })
}

fn unknown(input: &ReportInput, id: &SampleId) -> Error {
    if let Some(aside) = input.run.samples.iter().flat_map(|(_, split)| &split.listed).find(|aside| aside.id == *id) {
        return Error::usage(format!("sample {id} was set aside when it was read: {}", aside.reason));
    }
    let wanted = id.as_str();
    let known = input.scores.iter().map(|line| &line.id).chain(input.lineage.iter().map(|lineage| &lineage.child));
    let mut near: Vec<(bool, usize, &SampleId)> = known
        .map(|known| (wanted.is_empty() || !known.as_str().contains(wanted), known))
        // An edit distance is at least the difference in length: what cannot be near is not measured.
        .filter(|(apart, known)| !apart || known.as_str().len().abs_diff(wanted.len()) <= 3)
        .map(|(apart, known)| (apart, distance(wanted, known.as_str()), known))
        .filter(|(apart, distance, _)| !apart || *distance <= 3)
        .collect();
    near.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
    let names: Vec<String> = near.iter().take(SUGGESTIONS).map(|(_, _, known)| format!("`{known}`")).collect();
    let hint = if names.is_empty() { "scores.jsonl lists all samples".to_owned() } else { format!("did you mean {}?", names.join(" or ")) };
    Error::usage(visible(&format!("the run knows no sample and no child called `{id}`; {hint}")))
}

fn row(name: &str, value: impl std::fmt::Display) -> String {
    format!("  {name:NAME$}{value}").trim_end().to_owned()
}

fn number(value: f32) -> String {
    measure(f64::from(value))
}

fn sample(input: &ReportInput, line: &ScoreLine) -> Summary {
    let mut lines = vec![line.id.to_string()];
    let label = line.label.as_deref().unwrap_or("none");
    let suggested = line.suggested.as_ref().map(|class| format!(", suggested {class}")).unwrap_or_default();
    lines.push(row("label", format!("{label}{suggested}")));
    let judgement = match line.judgement {
        Judgement::Valuable => "valuable",
        Judgement::SuspectLabel => "label suspect: not multiplied",
        Judgement::SuspectPair => "pair suspect: not multiplied",
        Judgement::Outlier => "outlier: not multiplied",
    };
    let treatment = if line.treatment == Treatment::Keep { String::new() } else { format!("{}, ", line.treatment.name()) };
    lines.push(row("judgement", format!("{judgement}; {treatment}weight in training {}", number(line.weight))));
    lines.push(row("modalities", line.present));
    lines.extend(line.fold.map(|fold| row("fold", fold)));

    lines.extend([String::new(), "reasons".to_owned()]);
    for reason in &line.reasons {
        let evidence: Vec<String> = reason.evidence.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
        let modality = reason.modality.map(|modality| format!(" ({modality})")).unwrap_or_default();
        lines.push(row(&format!("{}{modality}", reason.code), format!("{:6} {}", number(reason.strength), evidence.join(", "))));
    }
    if line.reasons.is_empty() {
        lines.push("  none".to_owned());
    }

    lines.extend([String::new(), "scores".to_owned()]);
    // The columns in the order of the stages; what run.json does not describe comes last.
    let described: Vec<&str> = input.run.columns.iter().map(|column| column.name.as_str()).collect();
    let others = line.scores.keys().map(String::as_str).filter(|name| !described.contains(name));
    for name in described.iter().copied().chain(others) {
        let Some(score) = line.scores.get(name) else { continue };
        let value = match score {
            Some(value) => format!("{:10} {}", number(*value), place(input, name, *value)),
            None => format!("absent: {}", line.absent.get(name).map_or("no reason given", String::as_str)),
        };
        lines.push(row(name, value));
    }

    lines.extend([String::new(), "chosen".to_owned()]);
    for selected in &line.selected {
        let by = selected.by.join(", ");
        lines.push(row(
            &format!("round {}", selected.round),
            format!("by {by}; score {}, weight {}", number(selected.score), number(selected.weight)),
        ));
    }
    if line.selected.is_empty() {
        lines.push("  never".to_owned());
    }

    let children: Vec<&Lineage> =
        input.lineage.iter().filter(|lineage| lineage.parents.first().is_some_and(|parent| parent.id == line.id)).collect();
    let refused: Vec<&RejectedLine> = input.rejected.iter().filter(|rejected| rejected.parent == line.id).collect();
    lines.extend([String::new(), "children".to_owned()]);
    for lineage in &children {
        lines.push(format!("  {}  {}, round {}: fed", lineage.child, lineage.operator, lineage.round));
    }
    for rejected in &refused {
        let why = rejected.failed().map_or_else(|| "rejected".to_owned(), |verdict| format!("rejected by {}", verdict_words(verdict)));
        lines.push(format!("  {}  {}, round {}: {why}", rejected.candidate, rejected.operator, rejected.round));
    }
    if children.is_empty() && refused.is_empty() {
        lines.push("  none".to_owned());
    }
    Summary { lines, record: json!({ "sample": line, "children": children, "rejected": refused }) }
}

/// Where a hardness score stands among all samples that have it.
fn place(input: &ReportInput, name: &str, value: f32) -> String {
    let is_hardness = |column: &Column| column.name == name && column.kind == ColumnKind::Hardness;
    if !input.run.columns.iter().any(is_hardness) {
        return String::new();
    }
    let all: Vec<f32> = input.scores.iter().filter_map(|line| line.score(name)).collect();
    let below = all.iter().filter(|other| **other < value).count();
    if all.len() < 2 { String::new() } else { format!("harder than {:.1} %", below as f64 * 100.0 / (all.len() - 1) as f64) }
}

fn verdict_words(verdict: &Verdict) -> String {
    let value = verdict.value.map(|value| format!(" {}", measure(value))).unwrap_or_default();
    let limit = verdict.limit.map(|limit| format!(" against {}", measure(limit))).unwrap_or_default();
    format!("{}: {}{value}{limit}", verdict.verifier, verdict.reason)
}

fn verdict_lines(verdicts: &[Verdict]) -> impl Iterator<Item = String> {
    verdicts.iter().map(|verdict| format!("  {} {}", if verdict.passed { "passed" } else { "FAILED" }, verdict_words(verdict)))
}

fn parameter_lines(parameters_drawn: &serde_json::Value) -> Vec<String> {
    parameters(parameters_drawn).into_iter().map(|[name, value]| row(&name, value)).collect()
}

fn child(input: &ReportInput, lineage: &Lineage) -> Summary {
    let mut lines = vec![format!("{}  (generated, fed)", lineage.child)];
    for (i, parent) in lineage.parents.iter().enumerate() {
        let line = input.scores.iter().find(|line| line.id == parent.id);
        let label = line.and_then(|line| line.label.as_ref()).map(|label| format!(", label {label}")).unwrap_or_default();
        let reason = line.and_then(|line| line.reasons.first()).map(|reason| format!(", {}", reason.code)).unwrap_or_default();
        lines.push(row(if i == 0 { "parent" } else { "partner" }, format!("{}{label}{reason}", parent.id)));
    }
    let stage = if lineage.stage == lineage.operator { String::new() } else { format!(", stage {}", lineage.stage) };
    lines.push(row("operator", format!("{} (version {}){stage}, round {}", lineage.operator, lineage.version, lineage.round)));
    lines.extend(lineage.model.as_ref().map(|digest| row("made with model", digest)));
    lines.extend(lineage.teacher.as_ref().map(|digest| row("judged by model", digest)));
    lines.push(row("seed", format!("{} / {}", lineage.seed.seed, lineage.seed.steps.join(" / "))));

    lines.extend([String::new(), "parameters".to_owned()]);
    lines.extend(parameter_lines(&lineage.parameters));
    lines.extend([String::new(), "claims".to_owned()]);
    lines.extend(lineage.claims.iter().map(|claim| format!("  {}", claim_words(claim))));
    lines.extend([String::new(), "verdicts".to_owned()]);
    lines.extend(verdict_lines(&lineage.verdicts));
    lines.extend([String::new(), "scores: parent, child".to_owned()]);
    for (name, after) in &lineage.scores_after {
        let before = lineage.scores_before.get(name).map_or_else(|| "–".to_owned(), |before| number(*before));
        lines.push(row(name, format!("{before} → {}", number(*after))));
    }
    lines.extend([String::new(), "media".to_owned()]);
    for (modality, digest) in lineage.outputs.iter() {
        let parent = lineage.parents.first().and_then(|parent| parent.digests[modality]);
        let told = match (digest, parent) {
            (Some(now), Some(then)) if *now == then => format!("{} (the parent's)", now.short()),
            (Some(now), _) => now.short(),
            (None, Some(_)) => "dropped".to_owned(),
            (None, None) => "absent, as in the parent".to_owned(),
        };
        lines.push(row(modality.name(), told));
    }
    Summary { lines, record: json!({ "child": lineage, "fed": true }) }
}

fn refused(line: &RejectedLine) -> Summary {
    let mut lines = vec![format!("{}  (generated, rejected)", line.candidate)];
    lines.push(row("parent", &line.parent));
    let stage = if line.stage == line.operator { String::new() } else { format!(", stage {}", line.stage) };
    lines.push(row("operator", format!("{}{stage}, round {}", line.operator, line.round)));
    lines.extend([String::new(), "verdicts".to_owned()]);
    lines.extend(verdict_lines(&line.verdicts));
    lines.extend([String::new(), "parameters".to_owned()]);
    lines.extend(parameter_lines(&line.parameters));
    lines.extend([String::new(), "claims".to_owned()]);
    lines.extend(line.claims.iter().map(|claim| format!("  {}", claim_words(claim))));
    Summary { lines, record: json!({ "child": line, "fed": false }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedPath,
        record::{RunRecord, SampleBalance, SelectedIn, SetAside, Splits, write_lines},
        sample::{Claim, Digest, ModalitySet, ParentRef, PerModality, Reason, ReasonCode},
    };
    use std::fs;

    fn line(id: &str, loss: f32) -> ScoreLine {
        ScoreLine {
            id: id.into(),
            label: Some("3".into()),
            soft: None,
            present: ModalitySet::ALL,
            fold: None,
            scores: [("loss".to_owned(), Some(loss)), ("audio_snr_db".to_owned(), None)].into(),
            absent: [("audio_snr_db".to_owned(), "no audio".to_owned())].into(),
            reasons: Vec::new(),
            judgement: Judgement::Valuable,
            weight: 1.0,
            treatment: Treatment::Keep,
            suggested: None,
            selected: Vec::new(),
            children: Vec::new(),
        }
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let listed = vec![SetAside { id: "broken".into(), reason: "image: 0 pixels".into() }];
        let train = SampleBalance { read: 4, used: 3, quarantined: 1, skipped: 0, listed };
        let run = RunRecord {
            version: 1,
            name: "n".into(),
            seed: 7,
            hardmine: "0".into(),
            plan: Digest::of(b""),
            output: None,
            stopped_by: None,
            classes: Vec::new(),
            columns: vec![Column::hardness("loss", "")],
            figures: Vec::new(),
            samples: Splits { train, ..Splits::default() },
            candidates: Default::default(),
            yields: Vec::new(),
            bands: Vec::new(),
            models: Vec::new(),
            shared: Vec::new(),
            training: None,
            warnings: Vec::new(),
            pipeline: json!({}),
            timing: None,
        };
        let mut hard = line("train-0002", 2.5);
        hard.reasons.push(Reason {
            code: ReasonCode::NearBoundary,
            strength: 0.75,
            evidence: [("small_margin".to_owned(), 0.9)].into(),
            modality: None,
        });
        hard.selected.push(SelectedIn {
            round: 1,
            by: vec!["band".into()],
            score: 2.5,
            weight: 1.0,
            loss_weight: None,
            polarity: None,
            confused_with: None,
            positives: Vec::new(),
            negatives: Vec::new(),
        });
        let digests = PerModality { image: Some(Digest::of(b"i")), audio: Some(Digest::of(b"a")), text: None };
        let lineage = Lineage {
            child: "train-0002~pgd.r1.0".into(),
            parents: vec![ParentRef { id: hard.id.clone(), digests }],
            round: 1,
            stage: "pgd".into(),
            operator: "pgd".into(),
            version: 1,
            config: Digest::of(b"c"),
            seed: SeedPath { seed: 7, steps: vec!["round 1".into(), "stage pgd".into()] },
            parameters: json!({ "steps": 10 }),
            model: None,
            teacher: None,
            scores_before: [("loss".to_owned(), 0.25)].into(),
            scores_after: [("loss".to_owned(), 1.5)].into(),
            claims: vec![Claim::CertifiedBudget],
            verdicts: vec![Verdict::pass("in_band", "loss_in_band", Some(1.5), Some(2.0))],
            outputs: PerModality { audio: None, ..digests },
        };
        let rejected = RejectedLine {
            candidate: "train-0002~latent.r1.0".into(),
            parent: hard.id.clone(),
            round: 1,
            stage: "latent".into(),
            operator: "latent".into(),
            parameters: json!({ "share": 0.5 }),
            claims: vec![Claim::LabelKept],
            verdicts: vec![Verdict::fail("label_kept", "label_changed", Some(0.3), Some(0.5))],
        };
        let put = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("generated")).unwrap();
        put("run.json", serde_json::to_string(&run).unwrap());
        put("scores.jsonl", write_lines(&[line("train-0001", 0.5), hard, line("evil\u{1b}[2J\nx", 0.1)]).unwrap());
        put("generated/lineage.jsonl", write_lines(&[lineage]).unwrap());
        put("rejected.jsonl", write_lines(&[rejected]).unwrap());
        dir
    }

    fn told(id: &str) -> String {
        explain(folder().path(), &id.into()).unwrap().lines.join("\n")
    }

    #[test]
    fn a_sample_is_told_with_its_place_and_its_children() {
        let text = told("train-0002");
        for part in [
            "valuable; weight in training 1",
            "near_boundary           0.75   small_margin 0.9",
            "loss                    2.5        harder than 100.0 %",
            "audio_snr_db            absent: no audio",
            "round 1                 by band; score 2.5, weight 1",
            "train-0002~pgd.r1.0  pgd, round 1: fed",
            "train-0002~latent.r1.0  latent, round 1: rejected by label_kept: label_changed 0.3 against 0.5",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let easy = told("train-0001");
        assert!(easy.contains("harder than 50.0 %") && easy.contains("never") && easy.ends_with("children\n  none"), "{easy}");
    }

    #[test]
    fn a_child_is_told_with_parent_parameters_and_verdicts() {
        let text = told("train-0002~pgd.r1.0");
        for part in [
            "(generated, fed)",
            "parent                  train-0002, label 3, near_boundary",
            "seed                    7 / round 1 / stage pgd",
            "steps                   10",
            "passed in_band: loss_in_band 1.5 against 2",
            "loss                    0.25 → 1.5",
            "(the parent's)",
            "audio                   dropped",
            "text                    absent, as in the parent",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let text = told("train-0002~latent.r1.0");
        assert!(text.contains("(generated, rejected)") && text.contains("FAILED label_kept") && text.contains("share"), "{text}");
    }

    #[test]
    fn an_unknown_id_gets_the_nearest() {
        let error = |id: &str| explain(folder().path(), &id.into()).unwrap_err().to_string();
        assert_eq!(
            error("train-002"),
            "the run knows no sample and no child called `train-002`; did you mean `train-0002` or `train-0001`?"
        );
        assert_eq!(error("zebra crossing"), "the run knows no sample and no child called `zebra crossing`; scores.jsonl lists all samples");
        assert_eq!(error("broken"), "sample broken was set aside when it was read: image: 0 pixels");
        let empty = tempfile::tempdir().unwrap();
        assert!(explain(empty.path(), &"x".into()).unwrap_err().to_string().contains("there is no run.json"));
    }

    #[test]
    fn an_id_cannot_steer_the_terminal() {
        let text = told("evil\u{1b}[2J\nx");
        assert!(text.starts_with("evil[U+001B][2J x\n"), "{text:?}");
    }
}
