//! A tiny graph written by hand, byte by byte, and what the model makes of it.

use super::*;
use crate::{
    model::{DataProfile, Input, Model, Objective, Opened, Pixels, Target, load},
    operator::Configure,
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet},
};
use std::{path::Path, sync::Arc};

use super::write::*;

/// `logits = relu(image * 2 - 1 at 2 x 2, flattened) W`, with the flattened image as its embedding.
pub(super) fn small() -> Vec<u8> {
    let weights: Vec<f32> = (0..8).map(|i| i as f32 * 0.25 - 0.75).collect();
    model(
        &[node("Flatten", &["x"], &["flat"], &[]), node("Relu", &["flat"], &["hot"], &[]), node("MatMul", &["hot", "w"], &["y"], &[])],
        &[tensor("w", &[4, 2], &weights)],
        &[info("x", 1, &[0, 1, 2, 2])],
        &[info("y", 1, &[0, 2])],
    )
}

fn profile() -> DataProfile {
    DataProfile { classes: Classes::from_names(["a", "b"].map(String::from)), ..DataProfile::default() }
}

fn config(written: serde_json::Value) -> Onnx {
    serde_json::from_value(written).unwrap()
}

pub(super) fn picture(values: [f32; 4]) -> Input {
    Input { image: Some(Arc::new(Pixels { width: 2, height: 2, channels: 1, values: values.to_vec() })), ..Input::default() }
}

pub(super) fn opened(folder: &Path, written: serde_json::Value) -> crate::error::Result<Opened> {
    config(written).build(&Default::default()).map_err(|p| crate::error::Error::pipeline("bad", p))?.open_at(
        folder,
        &profile(),
        &SeedTree::new(3),
    )
}

pub(super) fn frozen(folder: &Path, written: serde_json::Value) -> Arc<dyn Model> {
    match opened(folder, written).unwrap() {
        Opened::Frozen(model) => model,
        Opened::Trainable(_) => panic!("expected a frozen model"),
    }
}

#[test]
fn a_file_answers_with_its_gradients_and_is_saved_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), small()).unwrap();
    let written = serde_json::json!({ "path": "m.onnx", "inputs": { "image": { "mean": [0.5], "std": [0.5] } }, "outputs": { "embeddings": { "image": "flat" }, "logits": "y" } });
    let model = frozen(folder.path(), written.clone());
    let inputs = [picture([1.0, 0.75, 0.25, 0.0]), picture([0.5, 0.6, 1.0, 1.0]), Input::default()];
    let outputs = model.forward(&inputs).unwrap();
    // Pixels become 1, 0.5, -0.5, -1; the negative ones are cut; W has the rows (-.75, -.5), (-.25, 0).
    assert_eq!(outputs.logits.row(0), [-0.875, -0.5]);
    assert_eq!(outputs.embeddings.image.as_ref().unwrap().row(0), [1.0, 0.5, -0.5, -1.0]);
    assert_eq!(outputs.logits.row(2), [0.0, 0.0]);
    assert_eq!(model.spec().gradients, ModalitySet::one(Modality::Image));
    let slopes = model
        .gradient(&inputs, &[Target::Class(0), Target::Class(1), Target::Class(0)], Objective::CarliniWagner, ModalitySet::ALL)
        .unwrap();
    // z_1 - z_0 = 0.25 * (sum of the hot values), and a pixel's step is two.
    assert_eq!(slopes.image[0].as_ref().unwrap(), &[0.5, 0.5, 0.0, 0.0]);
    assert!(slopes.image[2].is_none());
    // The embedding is the normalised picture: its own slope, another for each row, times two.
    assert_eq!(model.spec().embedding_gradients, ModalitySet::one(Modality::Image));
    let of = |row: usize, e: &[f32]| ((row + 1) as f32 * e[0] * e[1], vec![(row + 1) as f32 * e[1], (row + 1) as f32 * e[0]]);
    let along = model.embedding_gradient(&inputs, Modality::Image, &of).unwrap();
    assert_eq!((along.logits, along.objective[0]), (outputs.logits.clone(), 0.5));
    assert_eq!(along.image[0].as_ref().unwrap(), &[1.0, 2.0, 0.0, 0.0]);
    let second = outputs.embeddings.image.as_ref().unwrap().row(1).to_vec();
    assert_eq!(along.image[1].as_ref().unwrap(), &[4.0 * second[1], 4.0 * second[0], 0.0, 0.0]);
    assert!(along.image[2].is_none() && model.embedding_gradient(&inputs, Modality::Text, &of).is_err());
    // Alone or among others, in micro-batches of one or three: the same numbers.
    let mut wide = written.clone();
    wide["micro_batch"] = 3.into();
    let wide = frozen(folder.path(), wide);
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!(model.forward(std::slice::from_ref(input)).unwrap().logits.row(0), outputs.logits.row(i));
        assert_eq!(wide.forward(std::slice::from_ref(input)).unwrap().logits.row(0), wide.forward(&inputs).unwrap().logits.row(i));
    }
    let path = folder.path().join("m.safetensors");
    model.save(&path).unwrap();
    let back = load::open(&path).unwrap();
    assert_eq!(back.spec(), model.spec());
    assert_eq!(back.forward(&inputs).unwrap().logits, outputs.logits);
}

#[test]
fn numbers_beside_the_file_are_saved_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let weights: Vec<f32> = (0..8).map(|i| i as f32 - 3.5).collect();
    let raw: Vec<u8> = weights.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.path().join("w.bin"), [vec![7u8; 4], raw].concat()).unwrap();
    let pair = |key: &str, value: &str| bytes(13, &[text(1, key), text(2, value)].concat());
    let outside = [
        [int(1, 4), int(1, 2), int(2, 1), text(8, "w")].concat(),
        [pair("location", "w.bin"), pair("offset", "4"), pair("length", "32"), int(14, 1)].concat(),
    ];
    let nodes = [node("Flatten", &["x"], &["flat"], &[]), node("MatMul", &["flat", "w"], &["y"], &[])];
    let (x, y) = (info("x", 1, &[0, 1, 2, 2]), info("y", 1, &[0, 2]));
    std::fs::write(folder.path().join("m.onnx"), model(&nodes, &[outside.concat()], &[x], &[y])).unwrap();
    let model = frozen(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} } }));
    let inputs = [picture([1.0, 0.5, 0.25, 0.0])];
    let logits = model.forward(&inputs).unwrap().logits;
    assert_eq!(logits.row(0), [-3.5 - 0.5 * 1.5 + 0.25 * 0.5, -2.5 - 0.5 * 0.5 + 0.25 * 1.5]);
    let path = folder.path().join("m.safetensors");
    model.save(&path).unwrap();
    // Elsewhere, without the file beside it.
    std::fs::remove_file(folder.path().join("w.bin")).unwrap();
    assert_eq!(load::open(&path).unwrap().forward(&inputs).unwrap().logits, logits);
}

#[test]
fn a_short_sound_lies_where_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    // The logits are sums of neighbouring samples with these weights.
    let weights: Vec<f32> = (0..12).map(|i| (i + 1) as f32).collect();
    let (x, y) = (info("x", 1, &[0, 6]), info("y", 1, &[0, 2]));
    let bytes = model(&[node("MatMul", &["x", "w"], &["y"], &[])], &[tensor("w", &[6, 2], &weights)], &[x], &[y]);
    std::fs::write(folder.path().join("m.onnx"), bytes).unwrap();
    let sound = |values: &[f32]| {
        let audio = crate::model::Waveform { sample_rate_hz: 16_000, channels: 1, values: values.to_vec() };
        Input { audio: Some(Arc::new(audio)), ..Input::default() }
    };
    let inputs = [sound(&[1.0, -0.5, 0.25]), sound(&[0.5; 9])];
    for (align, before) in [("start", 0usize), ("centre", 1)] {
        let written = serde_json::json!({ "path": "m.onnx", "inputs": { "audio": { "scale": 2.0, "align": align } } });
        let model = frozen(folder.path(), written);
        let logits = model.forward(&inputs).unwrap().logits;
        let wanted = |class: usize| (0..3).map(|i| [2.0f32, -1.0, 0.5][i] * weights[2 * (i + before) + class]).sum::<f32>();
        assert_eq!(logits.row(0), [wanted(0), wanted(1)], "{align}");
        // A longer one fills the input either way.
        assert_eq!(logits.row(1), [36.0, 42.0]);
        // z_1 - z_0 grows by one a sample, times the scale, wherever it lies.
        let slopes = model.gradient(&inputs, &[Target::Class(0), Target::Class(0)], Objective::CarliniWagner, ModalitySet::ALL).unwrap();
        assert_eq!(slopes.audio[0].as_ref().unwrap(), &[2.0, 2.0, 2.0]);
        let other = model.gradient(&inputs, &[Target::Class(1), Target::Class(1)], Objective::CrossEntropy, ModalitySet::ALL).unwrap();
        assert!(other.audio[0].as_ref().unwrap().iter().all(|g| *g != 0.0));
    }
    // What is taken of a longer one, and which of its samples have a slope.
    let long = [sound(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])];
    for (cut, from) in [("centre", 1usize), ("start", 0)] {
        let written = serde_json::json!({ "path": "m.onnx", "inputs": { "audio": { "cut": cut } } });
        let model = frozen(folder.path(), written);
        let path = folder.path().join("m.safetensors");
        model.save(&path).unwrap();
        let wanted: f32 = (0..6).map(|i| (i + from + 1) as f32 * weights[2 * i]).sum();
        for model in [&model, &load::open(&path).unwrap()] {
            assert_eq!(model.forward(&long).unwrap().logits.row(0)[0], wanted, "{cut}");
        }
        let slopes = model.gradient(&long, &[Target::Class(0)], Objective::CarliniWagner, ModalitySet::ALL).unwrap();
        let has: Vec<bool> = slopes.audio[0].as_ref().unwrap().iter().map(|g| *g != 0.0).collect();
        assert_eq!(has, (0..8).map(|i| (from..from + 6).contains(&i)).collect::<Vec<_>>(), "{cut}");
    }
}

#[test]
fn what_does_not_fit_is_told_with_what_the_graph_has() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), small()).unwrap();
    let told = |written: serde_json::Value| opened(folder.path(), written).err().unwrap().to_string();
    let at = |image: serde_json::Value| serde_json::json!({ "path": "m.onnx", "inputs": { "image": image } });
    assert!(told(at(serde_json::json!({ "name": "z" }))).contains("no input `z` for image; it has x (float [n, 1, 2, 2])"));
    assert!(told(at(serde_json::json!({ "size": [3, 2] }))).contains("the graph's width is 2"));
    assert!(told(at(serde_json::json!({ "layout": "nhwc" }))).contains("1 or 3 channels"));
    assert!(told(at(serde_json::json!({ "std": [0.0] }))).contains("inputs.image.std: expected one or three numbers above 0"));
    let mut wrong = at(serde_json::json!({}));
    wrong["outputs"] = serde_json::json!({ "logits": "flatt" });
    assert!(told(wrong).contains("no value `flatt`; nearest: flat"));
    let mut few = at(serde_json::json!({}));
    few["classes"] = serde_json::json!(["a", "c"]);
    assert!(told(few).contains("the model has no class `b`"));
    assert!(told(serde_json::json!({ "inputs": {}, "path": "m.onnx" })).contains("at least one of image, audio and text"));
}

#[test]
fn logits_are_picked_by_the_names_of_the_classes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), small()).unwrap();
    let plain = serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} } });
    let mut turned = plain.clone();
    turned["classes"] = serde_json::json!(["b", "a"]);
    let (plain, turned) = (frozen(folder.path(), plain), frozen(folder.path(), turned));
    let inputs = [picture([0.1, 0.2, 0.3, 0.4])];
    let (one, two) = (plain.forward(&inputs).unwrap().logits, turned.forward(&inputs).unwrap().logits);
    assert_eq!((one.values[0], one.values[1]), (two.values[1], two.values[0]));
}

#[test]
fn a_head_learns_on_the_embeddings_of_frozen_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), small()).unwrap();
    let written = serde_json::json!({ "inputs": { "image": { "path": "m.onnx" } }, "outputs": { "embeddings": { "image": "flat" } }, "head": { "hidden": 8 } });
    let Opened::Trainable(mut trainer) = opened(folder.path(), written).unwrap() else { panic!("expected a trainable model") };
    let inputs = [picture([1.0, 0.0, 0.0, 0.0]), picture([0.0, 0.0, 0.0, 1.0]), Input::default()];
    let targets = [Target::Class(0), Target::Class(1), Target::Class(1)];
    let batch = crate::model::TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 3], learning_rate: 0.02 };
    let before = trainer.step(&batch).unwrap();
    let fork = trainer.fork().unwrap();
    (0..60).for_each(|_| drop(trainer.step(&batch).unwrap()));
    let after = trainer.step(&batch).unwrap();
    assert!(after.losses.iter().all(|l| *l < 0.1) && before.losses.iter().sum::<f32>() > 1.0, "{before:?} {after:?}");
    let model = trainer.freeze().unwrap();
    assert_eq!((model.spec().clone(), model.spec().embeddings), (trainer.spec(), ModalitySet::one(Modality::Image)));
    assert_ne!(fork.spec().digest, trainer.spec().digest);
    // The gradient of a native pixel against a difference.
    let slope = model.gradient(&inputs[..1], &targets[..1], Objective::CrossEntropy, ModalitySet::ALL).unwrap().image[0].clone().unwrap();
    let loss = |values: [f32; 4]| {
        model.gradient(&[picture(values)], &targets[..1], Objective::CrossEntropy, ModalitySet::EMPTY).unwrap().objective[0]
    };
    for i in 0..4 {
        let (mut up, mut down) = ([0.9, 0.1, 0.2, 0.1], [0.9, 0.1, 0.2, 0.1]);
        up[i] += 2e-3;
        down[i] -= 2e-3;
        let own = model.gradient(&[picture([0.9, 0.1, 0.2, 0.1])], &targets[..1], Objective::CrossEntropy, ModalitySet::ALL).unwrap().image
            [0]
        .clone()
        .unwrap();
        let by_steps = (loss(up) - loss(down)) / 4e-3;
        assert!((own[i] - by_steps).abs() < 2e-3 * (1.0 + by_steps.abs()), "{i}: {} {by_steps}", own[i]);
    }
    assert_eq!(slope.len(), 4);
    let path = folder.path().join("head.safetensors");
    model.save(&path).unwrap();
    assert_eq!(load::open(&path).unwrap().forward(&inputs).unwrap().logits, model.forward(&inputs).unwrap().logits);
    let checkpoint = folder.path().join("c.safetensors");
    trainer.save_checkpoint(&checkpoint).unwrap();
    let mut other = trainer.fresh(&SeedTree::new(9)).unwrap();
    other.load_checkpoint(&checkpoint).unwrap();
    assert_eq!(other.spec().digest, trainer.spec().digest);
}
