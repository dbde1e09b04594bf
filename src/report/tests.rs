//! A made-up run over the built-in digits, written into a temporary folder: what the page does with it.

mod limits;

use super::*;
use crate::{
    codec,
    random::SeedPath,
    record::{
        Accuracy, ArmResult, BandRecord, CandidateBalance, ClassAccuracy, Comparison, EpochRecord, Helped, Magnitudes, Metric, ModelRecord,
        ModelRole, RobustAccuracy, RobustBudget, SampleBalance, SelectedIn, SetAside, Splits, TransformBalance, Yield, write_lines,
    },
    sample::{
        AudioBuffer, Claim, Column, DifficultyBand, Digest, ImageBuffer, Judgement, Modality, ModalitySet, Norm, ParentRef, Reason,
        ReasonCode, Take, Text, Verdict,
    },
};
use serde_json::{Value, json};
use std::path::PathBuf;

const HOSTILE: &str = "\"><script>alert(1)</script>";

/// Numbers without a pattern to look at, the same every time.
fn scattered(i: usize) -> f32 {
    let hash = blake3::hash(&i.to_le_bytes());
    f32::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / 65535.0
}

struct Fixture {
    dir: tempfile::TempDir,
    input: ReportInput,
    parents: Vec<Sample>,
}

impl Fixture {
    /// `parents` with four children each; ids and captions of the first are `nasty`.
    fn new(parents: usize, seeds: usize, nasty: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("generated/media")).unwrap();
        let assets = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits"));
        let manifest = fs::read_to_string(assets.join("train.jsonl")).unwrap();
        let rows: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sample = |row: &Value, id: &str, text: &str| {
            let mut sample = Sample::new(id);
            sample.label = Some(crate::sample::Label::Class(row["label"].as_u64().unwrap() as usize));
            let bytes = |field: &str| row[field].as_str().map(|path| fs::read(assets.join(path)).unwrap());
            sample.image = bytes("image").map(|bytes| codec::image::decode(&bytes).unwrap());
            sample.audio = bytes("audio").map(|bytes| codec::audio::decode(&bytes).unwrap());
            sample.text = Some(codec::text::media(Text::new(text)));
            sample
        };
        let chosen: Vec<Sample> = rows
            .iter()
            .take(parents)
            .enumerate()
            .map(|(i, row)| {
                let of = |field: &str| nasty.filter(|_| i == 0).unwrap_or(row[field].as_str().unwrap());
                sample(row, of("id"), of("text"))
            })
            .collect();
        let mut lines = Vec::new();
        let mut lineage = Vec::new();
        for (i, parent) in chosen.iter().enumerate() {
            for (k, operator) in ["pgd", "synchronized", "latent", "modality_dropout"].into_iter().enumerate() {
                if (i + k) % 3 == 2 {
                    continue;
                }
                let child = make_child(parent, operator, i * 10 + k);
                lines.push(write_child(dir.path(), &child, lines.len(), &rows[i]["label"]));
                lineage.push(describe(parent, &child, operator, i));
            }
        }
        fs::write(dir.path().join("generated/manifest.jsonl"), lines.join("\n")).unwrap();
        let rejected = vec![rejected_line(chosen[0].id.as_str(), 0), rejected_line("train-0003", 1)];
        let scores = score_lines(&rows, &chosen, &lineage);
        let run = run_record(lineage.len() as u64, rejected.len() as u64, rows.len() as u64);
        let input = ReportInput { run, scores, lineage, rejected, results: Some(results(seeds)) };
        Self { dir, input, parents: chosen }
    }
    fn render(&self) -> (Report, String) {
        let source = |id: &SampleId| self.parents.iter().find(|parent| parent.id == *id).cloned();
        render(self.dir.path(), &self.input, &source, &Limits::default()).unwrap()
    }
}

fn make_child(parent: &Sample, operator: &str, salt: usize) -> Sample {
    let mut child = parent.clone();
    child.id = SampleId::new(format!("{}~{operator}.r1.0", parent.id));
    let shift = |image: &ImageBuffer, by: usize| {
        let (w, h) = (image.width(), image.height());
        ImageBuffer::new(w, h, 1, (0..w * h).map(|i| if i % w >= by { image.pixels()[i - by] } else { 0 }).collect()).unwrap()
    };
    let noisy = |image: &ImageBuffer, size: f32| {
        let pixel = |(i, p): (usize, &u8)| (f32::from(*p) + size * (2.0 * scattered(i + 1000 * salt) - 1.0)).clamp(0.0, 255.0) as u8;
        ImageBuffer::new(image.width(), image.height(), 1, image.pixels().iter().enumerate().map(pixel).collect()).unwrap()
    };
    let louder = |audio: &AudioBuffer, noise: f32, late: usize| {
        let wave = (0..audio.samples().len()).map(|i| {
            let own = i.checked_sub(late).map_or(0.0, |i| audio.samples()[i]);
            (own + noise * (2.0 * scattered(i + 7) - 1.0)).clamp(-1.0, 1.0)
        });
        AudioBuffer::new(audio.sample_rate_hz(), 1, wave.collect()).unwrap()
    };
    match operator {
        "pgd" => {
            child.image = child.image.map(|image| crate::sample::Media::new(noisy(image.get(), 8.0)));
            child.audio = child.audio.map(|audio| crate::sample::Media::new(louder(audio.get(), 0.002, 0)));
        }
        "synchronized" => {
            child.image = child.image.map(|image| crate::sample::Media::new(shift(image.get(), 4)));
            child.audio = child.audio.map(|audio| crate::sample::Media::new(louder(audio.get(), 0.02, 900)));
            child.text =
                child.text.map(|text| codec::text::media(Text::new(text.get().content.replace("digit", "[mask]").replace("of", "…"))));
        }
        "latent" => child.image = child.image.map(|image| crate::sample::Media::new(noisy(&shift(image.get(), 1), 70.0))),
        _ => child.audio = None,
    }
    codec::settle(child).unwrap()
}

fn write_child(dir: &Path, child: &Sample, number: usize, label: &Value) -> String {
    let mut line = json!({ "id": child.id.as_str(), "label": label });
    if let Some(image) = &child.image {
        let path = format!("media/{number}.png");
        fs::write(dir.join("generated").join(&path), &image.encoded().unwrap().bytes).unwrap();
        line["image"] = json!(path);
    }
    if let Some(audio) = &child.audio {
        let path = format!("media/{number}.wav");
        fs::write(dir.join("generated").join(&path), &audio.encoded().unwrap().bytes).unwrap();
        line["audio"] = json!(path);
    }
    if let Some(text) = &child.text {
        line["text"] = json!(text.get().content);
    }
    line.to_string()
}

fn describe(parent: &Sample, child: &Sample, operator: &str, i: usize) -> Lineage {
    let ball = Claim::WithinBall { modality: Modality::Image, norm: Norm::Linf, epsilon: 8.0 / 255.0 };
    Lineage {
        child: child.id.clone(),
        parents: vec![ParentRef { id: parent.id.clone(), digests: parent.digests() }],
        round: 1 + i % 2,
        stage: operator.into(),
        operator: operator.into(),
        version: 1,
        config: Digest::of(operator.as_bytes()),
        seed: SeedPath { seed: 7, steps: vec!["round 1".into()] },
        parameters: json!({ "steps": 10, "epsilon": 0.031_372_549, "start": [0.1, -0.2, 0.3, 0.4, 0.5, 0.6, 0.7] }),
        model: None,
        teacher: None,
        scores_before: [("out_of_fold".to_owned(), 0.3 + scattered(i))].into(),
        scores_after: [("out_of_fold".to_owned(), 0.9 + scattered(i))].into(),
        claims: if operator == "pgd" { vec![ball, Claim::CertifiedBudget] } else { vec![Claim::LabelKept] },
        verdicts: vec![
            Verdict::pass("label_kept", "label_kept", Some(0.83), Some(0.5)),
            Verdict::pass("in_band", "loss_in_band", Some(0.92), Some(1.9)),
        ],
        outputs: child.digests(),
    }
}

fn rejected_line(parent: &str, i: usize) -> RejectedLine {
    let failed = [("in_band", "loss_below_band", 0.04, 0.105), ("label_kept", "label_changed", 0.31, 0.5)][i % 2];
    RejectedLine {
        candidate: SampleId::new(format!("{parent}~latent.r1.1")),
        parent: parent.into(),
        round: 1,
        stage: "latent".into(),
        operator: "latent".into(),
        parameters: json!({}),
        claims: vec![Claim::LabelKept],
        verdicts: vec![Verdict::fail(failed.0, failed.1, Some(failed.2), Some(failed.3))],
    }
}

fn score_lines(rows: &[Value], parents: &[Sample], lineage: &[Lineage]) -> Vec<ScoreLine> {
    let line = |(i, row): (usize, &Value)| {
        let id = parents.get(i).map_or_else(|| row["id"].as_str().unwrap().into(), |parent| parent.id.clone());
        let hardness = scattered(i).powi(6) * 5.0 + 0.0004 * (1.0 + scattered(i + 5000));
        let suspect = i % 61 == 0;
        let confidence = if suspect { 0.05 + 0.2 * scattered(i + 9) } else { (-hardness).exp() };
        let mined = hardness > 0.4 && !suspect;
        let reason =
            |code, strength, column: &str, value| Reason { code, strength, evidence: [(column.to_owned(), value)].into(), modality: None };
        let mut reasons = Vec::new();
        if suspect {
            reasons.push(reason(
                if i % 2 == 0 { ReasonCode::LabelSuspect } else { ReasonCode::PairMismatch },
                0.6 + 0.4 * scattered(i),
                "low_aum",
                2.1,
            ));
        }
        if hardness > 1.2 {
            reasons.push(reason(ReasonCode::AudioDegraded, 0.8, "audio_snr_db", 4.2));
        }
        if hardness > 0.4 {
            reasons.push(reason(ReasonCode::NearBoundary, scattered(i + 3), "small_margin", 0.91));
        }
        ScoreLine {
            id: id.clone(),
            label: Some(row["label"].to_string()),
            soft: None,
            present: ModalitySet::ALL,
            fold: Some(i % 3),
            scores: [
                ("out_of_fold", Some(hardness)),
                ("map_confidence", Some(confidence)),
                ("map_variability", Some((confidence * (1.0 - confidence)).sqrt() * (0.35 + 0.6 * scattered(i + 77)))),
                ("audio_snr_db", (i % 7 > 0).then_some(12.0)),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            absent: Default::default(),
            reasons,
            judgement: match (suspect, i % 2) {
                (true, 0) => Judgement::SuspectLabel,
                (true, _) => Judgement::SuspectPair,
                _ => Judgement::Valuable,
            },
            weight: if suspect { 0.0 } else { 1.0 },
            treatment: if suspect { crate::sample::Treatment::Quarantine } else { crate::sample::Treatment::Keep },
            suggested: suspect.then(|| "8".to_owned()),
            selected: if mined {
                vec![SelectedIn {
                    round: 1,
                    by: vec!["band".into()],
                    score: hardness,
                    weight: 1.0,
                    loss_weight: None,
                    polarity: None,
                    confused_with: None,
                    positives: Vec::new(),
                    negatives: Vec::new(),
                }]
            } else {
                Vec::new()
            },
            children: lineage.iter().filter(|l| l.parents[0].id == id).map(|l| l.child.clone()).collect(),
        }
    };
    rows.iter().enumerate().map(line).collect()
}

fn run_record(fed: u64, rejected: u64, read: u64) -> RunRecord {
    let mut good = CandidateBalance {
        attempts: fed + 40,
        attempts_made: fed + rejected,
        no_op: 5,
        not_reached: 23 - rejected,
        made: fed + rejected + 4,
        fed,
        surplus: 4,
        ..CandidateBalance::default()
    };
    good.refused.insert("readable_text".into(), 12);
    good.reject("in_band", "loss_below_band");
    good.reject("label_kept", "label_changed");
    let barren = CandidateBalance { attempts: 30, no_op: 30, ..CandidateBalance::default() };
    let stage = |round, stage: &str, balance: &CandidateBalance| Yield {
        round,
        stage: stage.into(),
        operator: stage.into(),
        parents: 90,
        gradient_evaluations: 1234,
        forward_evaluations: 4321,
        balance: balance.clone(),
        transforms: Default::default(),
    };
    let mut blurred =
        TransformBalance { fired: 60, made: [0, 0, 8, 0, 0, 0, 4, 0, 0, 0], fed: [0, 0, 6, 0, 0, 0, 0, 0, 0, 0], ..Default::default() };
    blurred.add_magnitude(&Magnitudes { unit: "pixels".into(), count: 6, least: 0.5, mean: 1.25, greatest: 3.0 });
    blurred.refused.insert("object_lost".into(), 3);
    blurred.no_op.insert("no_image".into(), 2);
    let mut synchronized = stage(1, "synchronized", &good);
    synchronized.transforms.insert("gaussian_blur".into(), blurred);
    let mut candidates = good.clone();
    candidates.add(&barren);
    let split = |read, listed: Vec<SetAside>| SampleBalance {
        read,
        used: read - listed.len() as u64,
        quarantined: listed.len() as u64,
        skipped: 0,
        listed,
    };
    RunRecord {
        version: crate::record::VERSION,
        name: "digits".into(),
        seed: 7,
        hardmine: "0.1.0".into(),
        plan: Digest::of(b"plan"),
        output: Some(Digest::of(b"output")),
        stopped_by: None,
        classes: (0..10).map(|class| class.to_string()).collect(),
        columns: vec![Column::hardness("out_of_fold", "loss of a teacher that never trained on the sample's group, in nats")],
        figures: Vec::new(),
        samples: Splits {
            train: split(
                read + 1,
                vec![SetAside { id: "train-1200".into(), reason: "audio: the header promises 8,044 bytes, the file holds 120".into() }],
            ),
            validation: Some(split(300, Vec::new())),
            test: Some(split(600, Vec::new())),
            extra: Default::default(),
        },
        candidates,
        yields: vec![synchronized, stage(1, "latent", &barren)],
        bands: vec![BandRecord { round: 1, column: "out_of_fold".into(), band: Some(DifficultyBand { low: 0.105, high: 1.9 }) }],
        models: vec![ModelRecord {
            digest: Digest::of(b"m").to_string(),
            role: ModelRole::Teacher,
            round: Some(1),
            fold: Some(0),
            file: None,
            notes: Vec::new(),
        }],
        shared: Vec::new(),
        training: None,
        warnings: vec!["3 captions hold no letters".into()],
        pipeline: json!({ "version": 1, "name": "digits", "stages": [{ "score": { "loss": {} } }] }),
        timing: None,
    }
}

fn results(seeds: usize) -> Results {
    let mut arms = Vec::new();
    for (k, name) in ["uniform", "mining_only", "random_parents", "hardmine"].into_iter().enumerate() {
        for seed in 0..seeds {
            let at = |base: f64, gain: f64| base + gain * k as f64 + 0.01 * f64::from(scattered(seed * 31 + k));
            let classes =
                (0..10).map(|c| ClassAccuracy { class: c.to_string(), n: 60, accuracy: at(0.90, 0.004) + 0.005 * f64::from(scattered(c)) });
            let mut arm = ArmResult::new(name, seed as u64, Accuracy { n: 600, accuracy: at(0.94, 0.004) }).with_classes(classes.collect());
            for (subset, accuracy) in
                [("image", 0.92), ("audio", 0.71), ("text", 0.55), ("image+audio", 0.95), ("image+text", 0.94), ("audio+text", 0.83)]
            {
                arm.subsets.insert(subset.into(), Accuracy { n: 540, accuracy: at(accuracy - 0.02, 0.006) });
            }
            for (attacked, accuracy) in
                [(ModalitySet::one(Modality::Image).with(Modality::Audio), 0.21), (ModalitySet::one(Modality::Image), 0.4)]
            {
                arm.robust.push(RobustAccuracy {
                    attacked,
                    objective: "worst".into(),
                    attack: String::new(),
                    n: 200,
                    accuracy: at(accuracy, 0.03),
                });
            }
            for (kind, accuracy) in [("explicit", 0.96), ("indirect", 0.93), ("vague", 0.84)] {
                arm.slices
                    .entry("text_kind".into())
                    .or_default()
                    .insert(kind.into(), Accuracy { n: 200, accuracy: at(accuracy, -0.004 + 0.005 * k as f64) });
            }
            arm.ece = Some(0.031);
            (arm.steps, arm.forward_evaluations, arm.gradient_evaluations) = (340, 81_000 + 20_000 * k as u64, 45_100);
            arm.children_fed = 130 * k as u64;
            arm.epochs = (1..=8)
                .map(|epoch| EpochRecord {
                    epoch,
                    round: if epoch < 5 { 0 } else { (epoch - 3) / 2 },
                    train_loss: 2.0 / epoch as f64,
                    validation_loss: None,
                    validation_accuracy: Some(at(0.96, 0.004) - 0.5 * (-0.7 * epoch as f64).exp()),
                })
                .collect();
            arms.push(arm);
        }
    }
    let mut results = Results {
        split: "test".into(),
        withheld: ModalitySet::EMPTY,
        primary: Metric::Slice { key: "text_kind".into(), value: "vague".into() },
        robust: Some(RobustBudget {
            norm: Norm::Linf,
            shared: false,
            image_epsilon: 8.0 / 255.0,
            audio_epsilon: 0.002,
            method: "pgd".into(),
            random_start: true,
            image_step: None,
            audio_step: None,
            steps: 40,
            restarts: 3,
            samples: 200,
            take: Take::First,
            auto_attack: false,
        }),
        arms,
        ..Results::default()
    };
    for metric in results.metrics() {
        for arm in ["mining_only", "random_parents", "hardmine"] {
            let values = |arm: &str| results.of(arm).map(|r| r.metric(&metric).unwrap().accuracy).collect::<Vec<_>>();
            let differences: Vec<f64> = values(arm).iter().zip(values("uniform")).map(|(a, b)| a - b).collect();
            let mean_difference = differences.iter().sum::<f64>() / seeds as f64;
            let interval95 = (seeds > 1).then_some([mean_difference - 0.006, mean_difference + 0.007]);
            let helped = Helped::judge(seeds, interval95, Some([0.001, 0.02]));
            results.comparisons.push(Comparison {
                metric: metric.clone(),
                arm: arm.into(),
                against: "uniform".into(),
                seeds,
                mean_difference,
                interval95,
                helped,
            });
        }
    }
    results
}

/// Every tag of a page: what stands between `<` and `>`, quoted values removed.
fn tags(page: &str) -> Vec<String> {
    let tag = |part: &str| {
        let (mut tag, mut quote) = (String::new(), false);
        for c in part.chars() {
            match c {
                '"' => quote = !quote,
                '>' if !quote => break,
                c if !quote => tag.push(c),
                _ => {}
            }
        }
        tag
    };
    page.split('<').skip(1).map(tag).collect()
}

#[test]
fn the_page_is_complete_and_asks_for_nothing() {
    let fixture = Fixture::new(12, 5, None);
    let (report, page) = fixture.render();
    if let Ok(path) = std::env::var("HARDMINE_REPORT_SAMPLE") {
        fs::write(path, &page).unwrap();
    }
    assert_eq!(report.verdict.headline, "helped");
    for heading in [
        "Did it help?",
        "What is hard",
        "Why it is hard",
        "Set aside",
        "What the generators gave",
        "What the transforms came to",
        "Parents and their neighbours",
        "What was rejected",
        "Balance",
        "Reproduce",
    ] {
        assert!(page.contains(heading), "{heading}");
    }
    for forbidden in ["<script", "http://", "https://", "url(", "@import", "<link", "<iframe", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"));
    assert_eq!((report.shown.len(), report.parents), (12, 12));
    assert!(page.contains("data:audio/wav;base64,") && page.contains("data:image/png;base64,"));
    assert!(page.contains("title=\"object_lost 3\"") && page.contains("title=\"0.2 to 0.3: 8 made, 6 fed\""));
    assert!(page.contains("<del>of</del><ins>…</ins>"));
    assert!(report.warnings.contains(&"generator `latent` fed nothing in the whole run".to_owned()), "{:?}", report.warnings);
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    let mut crowded = fixture;
    let line = crowded.input.scores.iter_mut().find(|line| line.judgement != Judgement::Valuable).unwrap();
    line.reasons[0].evidence = (0..6).map(|i| (format!("number_{i}"), 0.5)).collect();
    let folded = crowded.render().1;
    assert!(folded.contains("6 numbers</summary>") && folded.contains("<li>number_5 0.5</li>"));
    // Every image has words for who does not see it.
    assert!(tags(&page).iter().filter(|tag| tag.starts_with("img")).all(|tag| tag.contains("alt=")));
    assert!(page.contains("0.5 to 3 pixels") && page.contains("1.25 in the mean of 6"));
}

#[test]
fn data_stays_text() {
    let plain = Fixture::new(3, 1, None).render().1;
    let known: std::collections::BTreeSet<String> = tags(&plain).into_iter().collect();
    for nasty in [
        HOSTILE,
        "</script></style></title>",
        "' onerror='alert(1)",
        "javascript:alert(1)",
        "{{ 7 * 7 }}{% raw %}",
        "a\u{202e}gnp.exe\u{2066}\u{0}",
    ] {
        let mut fixture = Fixture::new(3, 1, Some(nasty));
        fixture.input.run.name = nasty.into();
        fixture.input.run.classes[3] = nasty.into();
        fixture.input.run.warnings.push(nasty.into());
        fixture.input.run.columns[0].about = nasty.into();
        fixture.input.run.samples.train.listed[0].reason = nasty.into();
        fixture.input.run.pipeline = json!({ nasty: nasty });
        fixture.input.run.yields[0].stage = nasty.into();
        let transforms = &mut fixture.input.run.yields[0].transforms;
        let balance = transforms.values().next().cloned().unwrap_or_default();
        transforms.insert(nasty.into(), balance);
        fixture.input.run.models[0].digest = nasty.into();
        fixture.input.rejected[0].verdicts[0].reason = nasty.into();
        let line = &mut fixture.input.scores[0];
        (line.label, line.suggested) = (Some(nasty.into()), Some(nasty.into()));
        line.reasons[0].evidence.insert(nasty.into(), 1.0);
        let lineage = &mut fixture.input.lineage[0];
        lineage.parameters = json!({ nasty: [nasty], "x": { "y": nasty } });
        lineage.verdicts[0].reason = nasty.into();
        (lineage.operator, lineage.stage) = (nasty.into(), nasty.into());
        let results = fixture.input.results.as_mut().unwrap();
        results.split = nasty.into();
        results.primary = Metric::Accuracy;
        for arm in results.arms.iter_mut().filter(|arm| arm.arm == "mining_only") {
            arm.arm = nasty.into();
            arm.slices.insert(nasty.into(), [(nasty.to_owned(), Accuracy { n: 1, accuracy: 1.0 })].into());
            arm.extra.insert(nasty.into(), Accuracy { n: 1, accuracy: 1.0 });
            arm.worst_class.as_mut().unwrap().class = nasty.into();
        }
        results.comparisons.iter_mut().filter(|c| c.arm == "mining_only").for_each(|c| c.arm = nasty.into());
        let page = fixture.render().1;
        // No tag and no attribute that a harmless page has not.
        let shape = |tag: &String| tag.split_whitespace().map(|word| word.trim_end_matches('/').to_owned()).collect::<Vec<_>>();
        let words: std::collections::BTreeSet<String> = known.iter().flat_map(shape).collect();
        for tag in tags(&page) {
            assert!(shape(&tag).iter().all(|word| words.contains(word)), "{nasty:?} made <{tag}>");
        }
        assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{2066}') && !page.contains('\0'));
        assert!(!page.contains(&format!("\"{nasty}\"")) || nasty.starts_with("java"), "{nasty:?} stands raw in an attribute");
        for attribute in ["href=\"", "src=\""] {
            let values = page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            assert!(values.into_iter().all(|value| value.starts_with('#') || value.starts_with("data:")), "{nasty:?}");
        }
    }
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let fixture = Fixture::new(6, 2, None);
    let source = |id: &SampleId| fixture.parents.iter().find(|parent| parent.id == *id).cloned();
    write(fixture.dir.path(), &fixture.input, &source, &Limits::default()).unwrap();
    let read = |name: &str| fs::read(fixture.dir.path().join(name)).unwrap();
    let first = (read("report.html"), read("report.json"));
    // Again from the files alone: what a program that writes the records leaves behind.
    let input = &fixture.input;
    let put = |name: &str, text: String| fs::write(fixture.dir.path().join(name), text).unwrap();
    put("run.json", serde_json::to_string_pretty(&input.run).unwrap());
    put("scores.jsonl", write_lines(&input.scores).unwrap());
    put("generated/lineage.jsonl", write_lines(&input.lineage).unwrap());
    put("rejected.jsonl", write_lines(&input.rejected).unwrap());
    let again = ReportInput::read(fixture.dir.path()).unwrap();
    assert_eq!(again, fixture.input);
    write(fixture.dir.path(), &again, &source, &Limits::default()).unwrap();
    assert_eq!((read("report.html"), read("report.json")), first);
    let left = fs::read_dir(fixture.dir.path()).unwrap().count();
    assert_eq!(left, 6, "no temporary file stays");
}

#[test]
fn a_run_without_anything_still_has_a_report() {
    let mut fixture = Fixture::new(1, 1, None);
    fixture.input.lineage.clear();
    fixture.input.rejected.clear();
    fixture.input.scores.clear();
    fixture.input.results = None;
    fixture.input.run.yields.clear();
    fixture.input.run.candidates = CandidateBalance::default();
    fixture.input.run.bands.clear();
    let (report, page) = fixture.render();
    assert_eq!(report.verdict.headline, "nothing was trained");
    assert!(report.histogram.is_none() && report.shown.is_empty());
    for section in ["arms", "scores", "reasons", "suspects", "yields", "transforms", "gallery", "rejected"] {
        assert!(!page.contains(&format!("id=\"{section}\"")), "{section}");
    }
    assert!(page.contains("1,201 read") && page.contains("= 1,200 used"));
}

#[test]
fn media_that_are_gone_are_said_to_be_gone() {
    let fixture = Fixture::new(2, 1, None);
    fs::remove_dir_all(fixture.dir.path().join("generated")).unwrap();
    let (_, page) = render(fixture.dir.path(), &fixture.input, &|_| None, &Limits::default()).unwrap();
    assert!(page.contains("the source data is not at hand") && page.contains("its files are not in generated/"));
    assert!(!page.contains("<audio"));
}

#[test]
fn one_seed_is_no_evidence() {
    let (report, page) = Fixture::new(1, 1, None).render();
    assert_eq!(report.verdict.headline, "one seed: not evidence");
    assert!(page.contains("one seed: not evidence") && page.contains("no intervals: one seed") && !page.contains("difference up"));
    assert!(report.verdict.sentence.contains("--set compare.seeds=5"), "{}", report.verdict.sentence);
}

#[test]
fn what_does_not_add_up_is_told() {
    let mut fixture = Fixture::new(1, 1, None);
    fixture.input.run.candidates.made += 1;
    fixture.input.lineage.pop();
    let (report, page) = fixture.render();
    let told = report.warnings.join("\n");
    assert!(told.contains("candidates are counted as fed") && told.contains("is not the sum of the generators"), "{told}");
    assert!(page.contains("does not add up"));
}
