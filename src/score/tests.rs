//! The scorers on a linear model whose numbers are known: two classes, an image of one pixel and a sound of one frame.

use super::*;
use crate::{
    context::Forwards,
    model::{
        ModelSet, Teachers,
        linear::{LinearModel, RawAudio, RawImage},
    },
    random::SeedTree,
    sample::{AudioBuffer, Classes, HistoryRow, ImageBuffer, Label, Media, Sample, SampleId, Text, TrainingHistory},
};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

/// Logits `(a * pixel + b * frame, 0)`.
fn model(a: f32, b: f32) -> Arc<LinearModel> {
    let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![a, 0.0] };
    let audio = RawAudio { channels: 1, frames: 1, weights: vec![b, 0.0] };
    let classes = Classes::from_names(["0", "1"].map(String::from));
    Arc::new(LinearModel::from_weights(classes, vec![0.0, 0.0], Some(image), Some(audio)).unwrap())
}

fn sample(id: &str, class: Option<usize>, pixel: Option<u8>, frame: Option<f32>) -> Sample {
    Sample {
        label: class.map(Label::Class),
        image: pixel.map(|v| Media::new(ImageBuffer::filled(1, 1, 1, v).unwrap())),
        audio: frame.map(|v| Media::new(AudioBuffer::new(8000, 1, vec![v]).unwrap())),
        ..Sample::new(id)
    }
}

/// One column by name.
fn run(written: Value, models: &ModelSet, samples: &[Sample], history: Option<&TrainingHistory>) -> HashMap<String, Vec<Score>> {
    let scorer = super::table().build(&written).map_err(|p| format!("{p:?}")).unwrap().operator;
    let forwards = Forwards::new(models, samples);
    let context = ScoreContext { forwards: &forwards, history, seeds: SeedTree::new(1) };
    let columns = scorer.columns();
    let scores = scorer.score(&context).unwrap();
    assert_eq!(columns.len(), scores.len());
    assert!(scores.iter().all(|column| column.len() == samples.len()));
    columns.into_iter().map(|c| c.name).zip(scores).collect()
}

fn close(found: &Score, right: f32) -> bool {
    found.get().is_some_and(|v| (v - right).abs() < 1e-5)
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

#[test]
fn loss_and_uncertainty_of_a_linear_model() {
    let models = ModelSet { subject: model(2.0, 1.0), teachers: None };
    let samples = [sample("a", Some(0), Some(255), None), sample("b", Some(1), Some(255), Some(0.0)), sample("c", None, Some(0), None)];
    let loss = &run(json!({ "loss": {} }), &models, &samples, None)["loss"];
    assert!(close(&loss[0], -sigmoid(2.0).ln()) && close(&loss[1], -sigmoid(-2.0).ln()));
    assert_eq!(loss[2], Score::absent("no label"));
    let unsure = run(json!({ "uncertainty": {} }), &models, &samples, None);
    assert!(close(&unsure["least_confidence"][0], sigmoid(-2.0)) && close(&unsure["small_margin"][2], 1.0));
    assert!(close(&unsure["entropy"][2], std::f32::consts::LN_2));
}

#[test]
fn out_of_fold_asks_the_teacher_of_each_sample() {
    let folds = [("a", 0), ("b", 1), ("c", 1)].map(|(id, fold)| (SampleId::new(id), fold)).into();
    let teachers = Teachers { models: vec![model(2.0, 0.0), model(-2.0, 4.0)], fold_of: folds };
    let models = ModelSet { subject: model(9.0, 9.0), teachers: Some(teachers) };
    let mut with_text = sample("a", Some(0), Some(255), Some(0.5));
    with_text.text = Some(Media::new(Text::new("nought")));
    let samples =
        [with_text, sample("b", Some(0), Some(255), Some(1.0)), sample("c", Some(1), None, Some(0.5)), sample("d", Some(0), Some(0), None)];
    let found = run(json!({ "out_of_fold": { "folds": 2 } }), &models, &samples, None);
    let get = |name: &str, row: usize| &found[name][row];
    assert!(close(get("out_of_fold", 0), -sigmoid(2.0).ln()) && close(get("oof_confidence", 1), sigmoid(2.0)));
    assert!(close(get("oof_margin", 0), 2.0 * sigmoid(2.0) - 1.0));
    // The second teacher: the image alone says -2, the audio alone +4.
    assert!(close(get("oof_image_confidence", 1), sigmoid(-2.0)) && close(get("oof_image_prediction", 1), 1.0));
    assert!(close(get("oof_audio_confidence", 1), sigmoid(4.0)) && close(get("oof_audio_top", 1), sigmoid(4.0)));
    assert!(close(get("oof_media_confidence", 1), sigmoid(2.0)) && close(get("oof_media_confidence", 2), sigmoid(-2.0)));
    assert!(close(get("oof_margin", 2), sigmoid(-2.0) - sigmoid(2.0)) && close(get("oof_prediction", 2), 0.0));
    assert_eq!(*get("oof_image_top", 2), Score::absent("the image is missing"));
    assert_eq!(*get("oof_text_top", 0), Score::absent("the model does not read text"));
    assert_eq!(*get("out_of_fold", 3), Score::absent("not in any fold"));
}

#[test]
fn inconsistency_reads_every_subset_of_the_subject() {
    let models = ModelSet { subject: model(2.0, -2.0), teachers: None };
    let samples = [sample("a", Some(0), Some(255), Some(1.0)), sample("b", Some(0), Some(255), None)];
    let found = run(json!({ "inconsistency": {} }), &models, &samples, None);
    let drop = sigmoid(2.0) - 0.5;
    // Together the two say nothing: v(i) = s, v(a) = 1 - s, v(ia) = v() = 0.5.
    assert!(close(&found["drop_image"][0], drop) && close(&found["drop_audio"][0], -drop));
    assert!(close(&found["shapley_image"][0], drop) && close(&found["shapley_audio"][0], -drop));
    assert!(close(&found["over_reliance"][0], 0.5) && close(&found["over_relied"][0], 0.0));
    assert!(close(&found["alone_audio"][0], sigmoid(-2.0)) && found["pair_inconsistency"][0].get() > found["inconsistency"][0].get());
    assert!(close(&found["inconsistency"][1], 0.0) && close(&found["shapley_image"][1], drop));
    assert_eq!(found["shapley_audio"][1], Score::absent("the audio is missing"));
}

#[test]
fn el2n_of_subject_teacher_and_ensemble() {
    let folds = [("a", 0), ("b", 1)].map(|(id, fold)| (SampleId::new(id), fold)).into();
    let teachers = Teachers { models: vec![model(1.0, 0.0), model(-1.0, 0.0)], fold_of: folds };
    let models = ModelSet { subject: model(2.0, 1.0), teachers: Some(teachers) };
    let samples = [sample("a", Some(0), Some(255), None), sample("b", Some(1), Some(255), None), sample("c", None, Some(0), None)];
    let subject = run(json!({ "el2n": {} }), &models, &samples, None);
    // Two classes: p - e_y is (-(1 - p_y), 1 - p_y).
    let length = |wrong: f32| std::f32::consts::SQRT_2 * wrong;
    assert!(close(&subject["el2n"][0], length(sigmoid(-2.0))) && close(&subject["el2n"][1], length(sigmoid(2.0))));
    assert_eq!(subject["el2n"][2], Score::absent("no label"));
    // The fused embedding of the linear model is its pixel and its frame: (1, 0).
    assert!(close(&subject["grand"][0], 2.0 * sigmoid(-2.0)));
    let teacher = run(json!({ "el2n": { "by": "teacher", "norm": "l1" } }), &models, &samples, None);
    assert!(close(&teacher["el2n"][0], 2.0 * sigmoid(-1.0)) && close(&teacher["el2n"][1], 2.0 * sigmoid(-1.0)));
    let ensemble = run(json!({ "el2n": { "by": "ensemble" } }), &models, &samples, None);
    assert!(close(&ensemble["el2n"][0], length(sigmoid(-2.0) + sigmoid(-1.0) + sigmoid(1.0)) / 3.0));
    let outside = run(json!({ "el2n": { "by": "teacher" } }), &models, &[sample("d", Some(0), Some(1), None)], None);
    assert_eq!(outside["grand"][0], Score::absent("not in any fold"));
}

#[test]
fn the_teacher_tells_what_can_be_learnt_and_the_members_disagree() {
    let folds = [("a", 0), ("b", 1)].map(|(id, fold)| (SampleId::new(id), fold)).into();
    let teachers = Teachers { models: vec![model(3.0, 0.0), model(-1.0, 0.0)], fold_of: folds };
    let models = ModelSet { subject: model(1.0, 0.0), teachers: Some(teachers) };
    let samples = [sample("a", Some(0), Some(255), None), sample("b", Some(0), Some(255), None), sample("c", Some(1), Some(255), None)];
    let found = run(json!({ "reducible_loss": {} }), &models, &samples, None);
    let loss = |z: f32| -sigmoid(z).ln();
    assert!(close(&found["reducible_loss"][0], loss(1.0) - loss(3.0)) && close(&found["reducible_loss"][1], loss(1.0) - loss(-1.0)));
    assert!(close(&found["irreducible_loss"][1], loss(-1.0)));
    assert_eq!(found["reducible_loss"][2], Score::absent("not in any fold"));
    let found = run(json!({ "disagreement": {} }), &models, &samples, None);
    let entropy = |p: f32| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
    let members = [sigmoid(1.0), sigmoid(3.0), sigmoid(-1.0)];
    let expected = members.map(entropy).iter().sum::<f32>() / 3.0;
    assert!(close(&found["disagreement"][2], entropy(members.iter().sum::<f32>() / 3.0) - expected));
    assert!(close(&found["vote_split"][0], 1.0 / 3.0) && close(&found["expected_entropy"][1], expected));
    let alone = Teachers { models: vec![], fold_of: HashMap::new() };
    let alone = run(json!({ "disagreement": {} }), &ModelSet { subject: model(1.0, 0.0), teachers: Some(alone) }, &samples, None);
    assert_eq!(alone["disagreement"][0], Score::absent("fewer than two models predict it"));
}

#[test]
fn the_gap_between_the_modalities() {
    let models = ModelSet { subject: model(2.0, -1.0), teachers: None };
    let samples =
        [sample("a", Some(0), Some(255), Some(1.0)), sample("b", Some(1), Some(255), Some(1.0)), sample("c", Some(0), Some(9), None)];
    let found = run(json!({ "modality_gap": {} }), &models, &samples, None);
    let gap = sigmoid(2.0) - sigmoid(-1.0);
    assert!(close(&found["modality_gap"][0], gap) && close(&found["modality_lean"][0], gap));
    assert!(close(&found["modality_gap"][1], gap) && close(&found["modality_lean"][1], -gap));
    assert_eq!(found["modality_gap"][2], Score::absent("the audio is missing"));
    let text = run(json!({ "modality_gap": { "pair": ["text", "image"] } }), &models, &samples, None);
    assert_eq!(text["modality_lean"][0], Score::absent("the model does not read text"));
    let problem = super::table().build(&json!({ "modality_gap": { "pair": ["text", "text"] } })).err().unwrap().remove(0).to_string();
    assert_eq!(problem, "modality_gap.pair: expected two modalities, found text twice");
}

#[test]
fn dynamics_come_from_the_history() {
    let mut row = HistoryRow::default();
    row.observe(&[2.0, 0.0], 0);
    row.observe(&[0.0, 1.0], 0);
    let history = TrainingHistory { rows: [(SampleId::new("a"), row)].into(), probe: None };
    let models = ModelSet { subject: model(1.0, 1.0), teachers: None };
    let samples = [sample("a", Some(0), Some(1), None), sample("b", Some(0), Some(1), None)];
    let found = run(json!({ "dynamics": {} }), &models, &samples, Some(&history));
    assert!(close(&found["low_aum"][0], -0.5) && close(&found["forgetting"][0], 1.0) && close(&found["map_correctness"][0], 1.0));
    assert!(close(&found["map_confidence"][0], (sigmoid(2.0) + sigmoid(-1.0)) / 2.0));
    assert_eq!(found["low_aum"][1], Score::absent("not seen in the warm-up"));
    assert_eq!(
        run(json!({ "dynamics": {} }), &models, &samples, None)["forgetting"][0],
        Score::absent("needs a warm-up, or predictions with an `epoch`")
    );
}

#[test]
fn quality_measures_what_is_there() {
    let models = ModelSet { subject: model(1.0, 1.0), teachers: None };
    let samples = [sample("a", None, Some(9), None), sample("b", None, None, Some(0.0))];
    let found = run(json!({ "quality": {} }), &models, &samples, None);
    assert!(close(&found["image_contrast"][0], 0.0) && close(&found["audio_level_db"][1], -120.0));
    assert_eq!(found["audio_level_db"][0], Score::absent("the audio is missing"));
    assert_eq!(found["audio_snr_db"][1], Score::absent("the audio is silent or too short"));
    assert_eq!(found["image_degradation"][1], Score::absent("the image is missing"));
}

#[test]
fn an_empty_batch_and_a_whole_one_or_one_by_one() {
    let folds = ["a", "b", "c"].map(|id| (SampleId::new(id), 0)).into();
    let models = ModelSet { subject: model(1.5, -0.5), teachers: Some(Teachers { models: vec![model(0.5, 2.0)], fold_of: folds }) };
    let samples =
        [sample("a", Some(0), Some(200), Some(0.3)), sample("b", Some(1), Some(20), None), sample("c", Some(1), None, Some(-0.7))];
    for (name, _) in super::table().entries().filter(|(name, _)| *name != "composite") {
        let written = json!({ name: {} });
        assert!(run(written.clone(), &models, &[], None).values().all(Vec::is_empty));
        let whole = run(written.clone(), &models, &samples, None);
        for (i, one) in samples.iter().enumerate() {
            let single = run(written.clone(), &models, std::slice::from_ref(one), None);
            whole.iter().for_each(|(column, scores)| assert_eq!(scores[i], single[column][0], "{name} {column}"));
        }
    }
}

#[test]
fn what_the_scorers_refuse() {
    let problem = |written: Value| super::table().build(&written).err().unwrap().remove(0).to_string();
    assert_eq!(problem(json!({ "out_of_fold": { "folds": 1 } })), "out_of_fold.folds: expected at least 2, found 1");
    assert!(problem(json!({ "out_of_fold": { "epochs": 0 } })).starts_with("out_of_fold.epochs: expected at least 1"));
    assert!(problem(json!({ "inconsistency": { "prior": [0.9, 0.3] } })).contains("sum to 1"));
    assert!(problem(json!({ "inconsistency": { "competence": { "image": -1.0 } } })).starts_with("inconsistency.competence.image"));
}
