use super::*;
use crate::sample::{Diagnosis, Judgement, Modality, ModalitySet, ReasonCode, SampleId, TableRow, Treatment};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const CLASSES: usize = 10;

/// What a modality says: class and its probability; the rest is spread evenly.
type Says = Option<(usize, f64)>;

struct Row {
    class: Option<usize>,
    says: [Says; 3],
    more: BTreeMap<&'static str, f32>,
}

fn row(class: usize, says: [Says; 3]) -> Row {
    Row { class: Some(class), says, more: BTreeMap::new() }
}

fn probability((prediction, top): (usize, f64), class: usize) -> f64 {
    if prediction == class { top } else { (1.0 - top) / (CLASSES - 1) as f64 }
}

fn build(rows: &[Row]) -> ScoreTable {
    let known = rows
        .iter()
        .enumerate()
        .map(|(i, row)| TableRow {
            id: SampleId::new(format!("s{i:03}")),
            class: row.class,
            present: Modality::ALL.into_iter().filter(|m| row.says[*m as usize].is_some()).collect::<ModalitySet>(),
            group: i,
            fields: Arc::default(),
        })
        .collect();
    let mut table = ScoreTable::new(known, CLASSES).unwrap();
    let mut add = |name: &str, of: &dyn Fn(&Row) -> Option<f64>| {
        let scores = rows.iter().map(|r| of(r).map_or(Score::absent("missing"), |v| Score::Known(v as f32))).collect();
        table.add(Column::hardness(name, ""), scores).unwrap();
    };
    let media = |r: &Row| r.says[..2].iter().flatten().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let sources: [(&str, Box<dyn Fn(&Row) -> Says>); 4] = [
        ("image", Box::new(|r| r.says[0])),
        ("audio", Box::new(|r| r.says[1])),
        ("text", Box::new(|r| r.says[2])),
        ("media", Box::new(media)),
    ];
    for (name, says) in &sources {
        add(&format!("oof_{name}_confidence"), &|r| Some(probability(says(r)?, r.class?)));
        add(&format!("oof_{name}_prediction"), &|r| Some(says(r)?.0 as f64));
        add(&format!("oof_{name}_top"), &|r| Some(says(r)?.1));
    }
    add("out_of_fold", &|r| Some(-probability(media(r)?, r.class?).ln()));
    let mut names: Vec<&str> = rows.iter().flat_map(|r| r.more.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        add(name, &|r| r.more.get(name).map(|v| f64::from(*v)));
    }
    table
}

/// Two hundred clean rows in front of those under test: image 0.97 sure, audio 0.9, text says nothing on half of them. The warm-up learned the clean
/// ones and none of the others.
fn among_clean(rows: Vec<Row>) -> (ScoreTable, usize) {
    let clean = |i: usize| {
        let class = i % CLASSES;
        let text = if i.is_multiple_of(2) { (class, 0.9) } else { ((i / 7) % CLASSES, 0.12) };
        let mut one = row(class, [Some((class, 0.97)), Some((class, 0.9)), Some(text)]);
        one.more.insert("low_aum", -4.0 + (i % 5) as f32 * 0.5);
        one
    };
    let mut all: Vec<Row> = (0..200).map(clean).collect();
    all.extend(rows.into_iter().map(|mut one| {
        one.more.entry("low_aum").or_insert(0.0);
        one
    }));
    (build(&all), 200)
}

fn guard(table: &ScoreTable, written: Value) -> Diagnoses {
    super::table().build(&written).map_err(|p| format!("{p:?}")).unwrap().operator.diagnose(table).unwrap()
}

#[test]
fn the_guard_tells_labels_from_pairs() {
    let (table, first) = among_clean(vec![
        // Image and audio agree on another class.
        row(1, [Some((4, 0.95)), Some((4, 0.9)), Some((0, 0.12))]),
        // The same, and the caption was written after the wrong label.
        row(1, [Some((4, 0.95)), Some((4, 0.9)), Some((1, 0.9))]),
        // The audio alone is from elsewhere.
        row(1, [Some((1, 0.95)), Some((7, 0.9)), Some((0, 0.12))]),
        // The image alone is from elsewhere.
        row(1, [Some((7, 0.98)), Some((1, 0.9)), Some((1, 0.9))]),
        // The same, but the image gives the other class less than half.
        row(1, [Some((7, 0.35)), Some((1, 0.9)), Some((1, 0.9))]),
        // Hard, and nothing more: everybody is unsure.
        row(1, [Some((7, 0.2)), Some((1, 0.25)), Some((0, 0.12))]),
        // One modality, sure of another class.
        row(1, [Some((4, 0.97)), None, None]),
        // As many wrong labels as mismatched pairs, so that neither is the likelier one beforehand.
        row(2, [Some((5, 0.95)), Some((5, 0.9)), Some((0, 0.12))]),
        row(3, [Some((6, 0.95)), Some((6, 0.9)), Some((0, 0.12))]),
    ]);
    let found = guard(&table, json!({ "noise_guard": { "expected_share": 0.06 } }));
    assert!(found[..first].iter().all(|d| *d == Diagnosis::clear()));
    let judged: Vec<_> = found[first..].iter().map(|d| (d.judgement, d.weight, d.suggested_class)).collect();
    let label = (Judgement::SuspectLabel, 0.0, Some(4));
    let pair = (Judgement::SuspectPair, 0.0, None);
    let clear = (Judgement::Valuable, 1.0, None);
    assert_eq!(judged[..7], [label, label, pair, pair, clear, clear, label]);
    assert_eq!(found[first + 2].reasons[0].modality, Some(Modality::Audio));
    assert_eq!(found[first + 3].reasons[0].modality, Some(Modality::Image));
    let evidence = &found[first].reasons[0].evidence;
    assert!(evidence["label_suspicion"] > 0.5 && evidence["oof_image_prediction"] == 4.0 && evidence["oof_audio_confidence"] < 0.02);
}

#[test]
fn suspicions_of_all_rows_are_probabilities_and_rank() {
    let (table, first) = among_clean(vec![
        row(1, [Some((4, 0.95)), Some((4, 0.9)), Some((0, 0.12))]),
        row(1, [Some((4, 0.6)), Some((4, 0.5)), Some((0, 0.12))]),
        row(1, [Some((1, 0.6)), Some((4, 0.5)), Some((0, 0.12))]),
    ]);
    let columns = NoiseGuard::default().columns(&table).unwrap();
    let get = |k: usize, row: usize| columns[k].1[row].get().unwrap();
    for i in 0..table.len() {
        let all = [get(0, i), get(1, i), get(2, i)];
        assert!(all.iter().all(|p| (0.0..=1.0).contains(p)) && all.iter().sum::<f32>() <= 1.0 + 1e-6);
    }
    assert!(get(0, first) > get(0, first + 1) && get(0, first + 1) > get(0, first + 2));
    assert!(get(1, first + 2) > (0..first).map(|i| get(1, i)).fold(0.0, f32::max));
}

#[test]
fn the_other_uses_of_a_clip_tell_that_it_is_elsewhere() {
    // Every clip is used by four samples; the audio model is unsure of all of them, and only the last sample's clip has other labels.
    let mut rows: Vec<Row> =
        (0..200).map(|i| row(i / 4 % CLASSES, [Some((i / 4 % CLASSES, 0.95)), Some((i / 4 % CLASSES, 0.4)), None])).collect();
    rows.push(row(1, [Some((1, 0.95)), Some((7, 0.4)), None]));
    let mut clips: Vec<Option<u32>> = (0..200).map(|i| Some(i / 4)).collect();
    // The eighth clip is of class 7.
    clips.push(Some(7));
    let suspicion = |clips: Option<Vec<Option<u32>>>| {
        let mut table = build(&rows);
        clips.into_iter().for_each(|of| table.set_media(Modality::Audio, of).unwrap());
        suspicions(&table, "", Some(0.01), 0.0)[200].unwrap()
    };
    let (alone, among) = (suspicion(None), suspicion(Some(clips)));
    assert!(among.pair > 0.5 && alone.pair < 0.5 * among.pair, "{alone:?} {among:?}");
    assert_eq!((among.odd, among.confident), (Some(Modality::Audio), true));
}

#[test]
fn a_modality_near_chance_has_no_say() {
    // The audio is sure and wrong most of the time: one more disagreement means nothing.
    let rows: Vec<Row> =
        (0..60).map(|i| row(i % 10, [Some((i % 10, 0.95)), Some((if i % 9 == 0 { i % 10 } else { (i + 3) % 10 }, 0.95)), None])).collect();
    let found = guard(&build(&rows), json!({ "noise_guard": {} }));
    assert!(found.iter().all(|d| d.judgement == Judgement::Valuable));
}

#[test]
fn the_runner_up_is_read_where_the_fused_prediction_is_that_of_the_one_witness() {
    let found = |more: &dyn Fn(f64) -> Option<[f64; 2]>| {
        let one = |i: usize| {
            let class = i % CLASSES;
            let says = (if i % 30 == 7 { (class + 3) % CLASSES } else { class }, 0.55 + 0.004 * ((i * 37) % 100) as f64);
            let mut one = row(class, [Some(says), None, None]);
            // The runner-up has all that the prediction leaves.
            if let Some([confidence, margin]) = more(probability(says, class)) {
                one.more.extend([("oof_confidence", confidence as f32), ("oof_margin", margin as f32)]);
            }
            one
        };
        let table = build(&(0..300).map(one).collect::<Vec<_>>());
        suspicions(&table, "", None, 0.0).into_iter().map(|s| s.unwrap().label).collect::<Vec<f64>>()
    };
    let spread = found(&|_| None);
    assert_ne!(found(&|own| Some([own, 2.0 * own - 1.0])), spread);
    // Several modalities together say something else, and their margin is not the witness's.
    assert_eq!(found(&|own| Some([own / 2.0, 0.0])), spread);
}

#[test]
fn the_training_dynamics_add_to_the_suspicion() {
    let doubtful = || row(1, [Some((4, 0.8)), Some((1, 0.6)), None]);
    let with = |low_aum: f32| {
        let (mut rows, _) = (0..40).map(|i| row(i % 10, [Some((i % 10, 0.95)), Some((i % 10, 0.85)), None])).fold(
            (Vec::new(), 0),
            |(mut rows, i), mut one| {
                one.more.insert("low_aum", -3.0 - 0.05 * i as f32);
                rows.push(one);
                (rows, i + 1)
            },
        );
        let mut last = doubtful();
        last.more.insert("low_aum", low_aum);
        rows.push(last);
        let columns = NoiseGuard::default().columns(&build(&rows)).unwrap();
        columns[0].1[40].get().unwrap() + columns[1].1[40].get().unwrap()
    };
    assert!(with(2.0) > with(-4.0) && with(-4.0) > with(-9.0));
}

#[test]
fn each_verdict_treats_suspects_in_its_way() {
    let label = row(1, [Some((4, 0.95)), Some((4, 0.9)), Some((0, 0.12))]);
    let pair = row(1, [Some((1, 0.95)), Some((7, 0.9)), Some((0, 0.12))]);
    let (table, first) = among_clean(vec![label, pair]);
    let of = |more: Value| {
        let mut written = json!({ "expected_share": 0.06 });
        written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let found = guard(&table, json!({ "noise_guard": written }));
        assert!(found[..first].iter().all(|d| (d.treatment, d.weight) == (Treatment::Keep, 1.0)));
        [first, first + 1].map(|row| found[row].clone())
    };
    let both = |found: [Diagnosis; 2]| found.map(|d| (d.treatment, d.weight));
    assert_eq!(both(of(json!({}))), [(Treatment::Quarantine, 0.0); 2]);
    assert_eq!(both(of(json!({ "verdict": "review", "downweight": 0.3 }))), [(Treatment::Review, 0.3); 2]);
    for one in of(json!({ "verdict": "weight" })) {
        let evidence = &one.reasons[0].evidence;
        let wrong: f32 = ["label_suspicion", "pair_suspicion", "outlier_suspicion"].iter().map(|name| evidence[*name]).sum();
        assert!(one.treatment == Treatment::Weight && (one.weight - (1.0 - wrong)).abs() < 1e-6 && one.weight < 0.5);
    }
    let [label, pair] = of(json!({ "verdict": "relabel" }));
    let p = label.reasons[0].evidence["suggested_probability"];
    assert_eq!((label.treatment, label.suggested_class, label.weight), (Treatment::Relabel, Some(4), p));
    assert!(p >= 0.8 && p <= label.reasons[0].evidence["label_suspicion"]);
    assert_eq!((pair.treatment, pair.weight, pair.suggested_class), (Treatment::Quarantine, 0.0, None));
    assert_eq!(both(of(json!({ "verdict": "relabel", "relabel_from": 1.0 }))), [(Treatment::Quarantine, 0.0); 2]);
}

#[test]
fn a_guard_that_proved_unreliable_drops_nothing() {
    let (table, first) = among_clean(vec![
        row(1, [Some((4, 0.95)), Some((4, 0.9)), Some((0, 0.12))]),
        row(1, [Some((1, 0.95)), Some((7, 0.9)), Some((0, 0.12))]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let interval = |value: f64| json!({ "value": value, "low": value - 0.1, "high": value + 0.1 });
    let of = |fault: &str, precision: f64| json!({ "detector": "guard", "fault": fault, "planted": 9, "flagged": 9, "precision": interval(precision) });
    let check = json!({ "version": 1, "pipeline": "p", "plan": "0".repeat(64), "kind": "uniform", "label_noise": 0.05, "pair_noise": 0.05, "seeds": [1],
        "rows": 100, "detectors": [of("label", 0.9), of("pair", 0.5), of("any", 0.85)] });
    std::fs::write(folder.path().join("check.json"), check.to_string()).unwrap();
    let built = |written: Value| super::table().build(&json!({ "noise_guard": written })).map_err(|p| format!("{p:?}")).unwrap().operator;
    let mut own = built(json!({ "expected_share": 0.06, "trust": "check.json" }));
    own.bind(folder.path()).unwrap();
    let found = own.diagnose(&table).unwrap();
    assert_eq!((found[first].treatment, found[first].weight), (Treatment::Quarantine, 0.0));
    assert_eq!((found[first + 1].judgement, found[first + 1].treatment), (Judgement::SuspectPair, Treatment::Review));
    assert_eq!(found[first + 1].weight, 0.2);
    let told = own.warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("pair suspects are reviewed, not set aside: precision on planted faults 0.50, asked for 0.8"), "{told:?}");
    // With a stricter demand nothing is left that it may set aside.
    let mut strict = built(json!({ "expected_share": 0.06, "trust": "check.json", "at_least": 0.95 }));
    strict.bind(folder.path()).unwrap();
    assert!(strict.diagnose(&table).unwrap().iter().all(|d| d.weight > 0.0));
    let told = built(json!({ "trust": "nothing.json" })).bind(folder.path()).unwrap_err();
    assert!(told.path == "trust" && told.message.contains("write it with `hardmine guard-check`"), "{told}");
}

#[test]
fn an_unlabelled_row_is_not_judged_and_its_columns_say_why() {
    let (table, first) = among_clean(vec![Row { class: None, says: [Some((4, 0.95)), None, None], more: BTreeMap::new() }]);
    assert_eq!(guard(&table, json!({ "noise_guard": {} }))[first], Diagnosis::clear());
    assert_eq!(NoiseGuard::default().columns(&table).unwrap()[0].1[first], Score::absent("no label or no out-of-fold prediction"));
}

#[test]
fn order_changes_nothing() {
    let rows = || vec![row(1, [Some((4, 0.95)), Some((4, 0.9)), None]), row(2, [Some((2, 0.95)), Some((5, 0.9)), None])];
    let (table, first) = among_clean(rows());
    let found = NoiseGuard::default().columns(&table).unwrap();
    let mut turned: Vec<Row> = rows();
    turned.reverse();
    let (table, _) = among_clean(turned);
    let again = NoiseGuard::default().columns(&table).unwrap();
    for k in 0..3 {
        let (a, b) = (found[k].1[first].get().unwrap(), again[k].1[first + 1].get().unwrap());
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn what_the_guard_refuses() {
    let problem = |written: Value| super::table().build(&written).err().unwrap().remove(0).to_string();
    assert!(problem(json!({ "noise_guard": { "scores": "loss" } })).starts_with("noise_guard.scores: expected `out_of_fold`"));
    assert!(problem(json!({ "noise_guard": { "expected_share": 0.9 } })).contains("expected a share in 0.001..=0.5, found 0.9"));
    assert!(problem(json!({ "reasons": { "snr_db": 99.0 } })).starts_with("reasons.snr_db: expected a number in -20..=40"));
    let table = ScoreTable::new(Vec::new(), 2).unwrap();
    let error = NoiseGuard::default().diagnose(&table).unwrap_err().to_string();
    assert!(error.contains("unknown column `out_of_fold`"), "{error}");
    assert_eq!(Reasons::default().diagnose(&table).unwrap(), []);
}

fn with(more: &[(&'static str, f32)]) -> Row {
    let mut one = row(0, [Some((0, 0.9)), Some((0, 0.9)), Some((0, 0.9))]);
    one.more.extend(more.iter().copied());
    one
}

fn codes(diagnosis: &Diagnosis) -> Vec<ReasonCode> {
    diagnosis.reasons.iter().map(|r| r.code).collect()
}

#[test]
fn each_reason_from_its_columns() {
    let usual = [("audio_snr_db", 25.0), ("image_sharpness", 0.6), ("image_occlusion", 0.0), ("oof_margin", 0.9), ("over_reliance", 0.5)];
    let mut rows: Vec<Row> = (0..40)
        .map(|i| {
            let mut one = with(&usual);
            one.class = Some(i % 10);
            one.more.extend([("over_relied", 0.0), ("alone_image", 0.9), ("alone_audio", 0.9), ("alone_text", 0.9)]);
            one
        })
        .collect();
    let mut odd = |more: &[(&'static str, f32)]| {
        let mut one = with(&usual);
        one.more.extend([("over_relied", 0.0), ("alone_image", 0.9), ("alone_audio", 0.9), ("alone_text", 0.9)]);
        one.more.extend(more.iter().copied());
        rows.push(one);
    };
    odd(&[("audio_snr_db", 4.0)]);
    odd(&[("image_sharpness", 0.1)]);
    odd(&[("image_occlusion", 0.3)]);
    odd(&[("oof_margin", -0.05)]);
    odd(&[("over_reliance", 0.97), ("over_relied", 1.0)]);
    odd(&[("over_reliance", 0.97), ("over_relied", 1.0), ("alone_image", 0.2), ("alone_text", 0.1)]);
    odd(&[("image_sharpness", 0.1), ("oof_margin", 0.01)]);
    rows.iter_mut().for_each(|r| r.says = [Some((r.class.unwrap_or(0), 0.9)); 3]);
    let mut missing = with(&usual);
    missing.says[1] = None;
    rows.push(missing);
    let found = guard(&build(&rows), json!({ "reasons": {} }));
    assert!(found[..40].iter().all(|d| d.reasons.is_empty()));
    let listed: Vec<Vec<ReasonCode>> = found[40..].iter().map(codes).collect();
    assert_eq!(
        listed,
        [
            vec![ReasonCode::AudioDegraded],
            vec![ReasonCode::ImageDegraded],
            vec![ReasonCode::ImageDegraded],
            vec![ReasonCode::NearBoundary],
            vec![ReasonCode::SingleModalityReliance],
            vec![],
            vec![ReasonCode::ImageDegraded, ReasonCode::NearBoundary],
            vec![ReasonCode::ModalityMissing],
        ]
    );
    assert_eq!(found[40].reasons[0].evidence, BTreeMap::from([("audio_snr_db".to_owned(), 4.0)]));
    assert!(found[40..].iter().flat_map(|d| &d.reasons).all(|r| (0.5..=1.0).contains(&r.strength)));
    assert_eq!(found[44].reasons[0].modality, Some(Modality::Audio));
    assert_eq!(found[47].reasons[0].modality, Some(Modality::Audio));
}

#[test]
fn what_is_usual_in_a_data_set_is_no_fault() {
    // All images are soft: the stated limit of 0.3 would flag every one.
    let rows: Vec<Row> =
        (0..20).map(|i| with(&[("image_sharpness", 0.2 + 0.001 * i as f32)])).chain([with(&[("image_sharpness", 0.02)])]).collect();
    let found = guard(&build(&rows), json!({ "reasons": { "rare": 0.0 } }));
    assert_eq!(found.iter().filter(|d| d.has(ReasonCode::ImageDegraded)).count(), 1);
    assert!(found[20].has(ReasonCode::ImageDegraded));
    // Studio sound: 22 dB is no noise by itself, but it is here.
    let rows: Vec<Row> =
        (0..20).map(|i| with(&[("audio_snr_db", 39.0 + 0.05 * i as f32)])).chain([with(&[("audio_snr_db", 22.0)])]).collect();
    assert!(guard(&build(&rows), json!({ "reasons": {} }))[20].has(ReasonCode::AudioDegraded));
}

#[test]
fn rare_classes_are_measured_against_an_equal_share() {
    // Ten classes, 38 samples: an equal share is 3.8, half of it 1.9; class 9 has one.
    let mut rows: Vec<Row> = (0..37).map(|i| row(i % 9, [Some((i % 9, 0.9)), None, None])).collect();
    rows.push(row(9, [Some((9, 0.9)), None, None]));
    let found = guard(&build(&rows), json!({ "reasons": {} }));
    let rare: Vec<usize> = (0..38).filter(|i| found[*i].has(ReasonCode::RareClass)).collect();
    assert_eq!(rare, [37]);
    assert!((found[37].reasons[0].evidence["class_share"] - 1.0 / 3.8).abs() < 1e-6);
}

#[test]
fn without_a_guard_the_reasons_name_suspects_but_set_nothing_aside() {
    let (table, first) = among_clean(vec![row(1, [Some((4, 0.95)), Some((4, 0.9)), None])]);
    let found = guard(&table, json!({ "reasons": {} }));
    assert_eq!(found[first].primary(), Some(ReasonCode::LabelSuspect));
    assert_eq!((found[first].judgement, found[first].weight), (Judgement::Valuable, 1.0));
}
