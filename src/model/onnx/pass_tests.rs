//! Rows of a pass that would change each other, notes of a file, and headers that lie.

use super::{tests::*, write::*, *};
use crate::{
    model::{Input, Objective, Pixels, Target, Waveform, load, parameters::Parameters},
    sample::ModalitySet,
};
use std::{path::Path, sync::Arc};

/// `x -> nodes -> h W`, with `x` of `rows` (0 for any) times one 2 x 2 image.
fn mixer(rows: i64, version: i64, nodes: &[Vec<u8>]) -> Vec<u8> {
    let weights: Vec<f32> = (0..8).map(|i| i as f32 * 0.25 - 0.75).collect();
    let nodes: Vec<Vec<u8>> = [node("Flatten", &["x"], &["f"], &[])]
        .into_iter()
        .chain(nodes.to_vec())
        .chain([node("MatMul", &["h", "w"], &["y"], &[])])
        .collect();
    let axes = [int(1, 1), int(2, 7), text(8, "a"), bytes(9, &0i64.to_le_bytes())].concat();
    let one = [int(2, 7), text(8, "one"), bytes(9, &0i64.to_le_bytes())].concat();
    let mut file =
        model(&nodes, &[tensor("w", &[4, 2], &weights), axes, one], &[info("x", 1, &[rows, 1, 2, 2])], &[info("y", 1, &[rows, 2])]);
    if version != 17 {
        file.extend(bytes(8, &int(2, version)));
    }
    file
}

fn seven() -> Vec<Input> {
    (0..7).map(|i| picture([0.1, 0.9, 0.3, 0.5].map(|v: f32| (v * (i + 1) as f32).fract()))).collect()
}

fn whole(name: &str, v: i64) -> Vec<u8> {
    [text(1, name), int(3, v), int(20, 2)].concat()
}

#[test]
fn rows_that_would_change_each_other_go_alone() {
    let folder = tempfile::tempdir().unwrap();
    let quantized = [node("DynamicQuantizeLinear", &["f"], &["q", "s", "z"], &[]), node("DequantizeLinear", &["q", "s", "z"], &["h"], &[])];
    let cases: [(&str, Vec<Vec<u8>>); 7] = [
        ("quantized", quantized.to_vec()),
        ("normalised", vec![node("MeanVarianceNormalization", &["f"], &["h"], &[ints("axes", &[0, 1])])]),
        ("softmax", vec![node("Softmax", &["f"], &["h"], &[whole("axis", 0)])]),
        ("sum", vec![node("CumSum", &["f", "one"], &["h"], &[])]),
        (
            "largest",
            vec![node("ReduceMax", &["f"], &["m"], &[ints("axes", &[0]), whole("keepdims", 1)]), node("Sub", &["f", "m"], &["h"], &[])],
        ),
        (
            "turned",
            vec![
                node("Transpose", &["f"], &["t"], &[]),
                node("Softmax", &["t"], &["u"], &[whole("axis", 1)]),
                node("Transpose", &["u"], &["h"], &[]),
            ],
        ),
        ("sorted", vec![node("TopK", &["f", "k"], &["h", "i"], &[whole("axis", 0)])]),
    ];
    for (name, nodes) in cases {
        for rows in [0, 3] {
            let mut nodes = nodes.clone();
            if name == "sorted" {
                // As many rows as there are.
                nodes.insert(0, node("Shape", &["f"], &["k"], &[whole("end", 1)]));
            }
            std::fs::write(folder.path().join("m.onnx"), mixer(rows, 17, &nodes)).unwrap();
            let written = serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} }, "micro_batch": 3 });
            let model = frozen(folder.path(), written);
            assert!(model.notes().iter().any(|note| note.contains("one at a time")), "{name} {rows}: {:?}", model.notes());
            let (inputs, targets) = (seven(), vec![Target::Class(1); 7]);
            let all = model.gradient(&inputs, &targets, Objective::CarliniWagner, ModalitySet::ALL).unwrap();
            let logits = model.forward(&inputs).unwrap().logits;
            assert_eq!(all.logits, logits);
            for (i, input) in inputs.iter().enumerate() {
                let alone = model.gradient(std::slice::from_ref(input), &targets[..1], Objective::CarliniWagner, ModalitySet::ALL).unwrap();
                assert_eq!((alone.logits.row(0), &alone.image[0]), (logits.row(i), &all.image[i]), "{name} {rows} {i}");
            }
            // What is saved goes alone, too.
            let path = folder.path().join("m.safetensors");
            model.save(&path).unwrap();
            let back = load::open(&path).unwrap();
            assert_eq!((back.spec(), back.notes()), (model.spec(), model.notes()));
            assert_eq!(back.forward(&inputs).unwrap().logits, logits);
        }
    }
}

#[test]
fn honest_rows_stay_together() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [node("Softmax", &["f"], &["h"], &[whole("axis", 1)])];
    std::fs::write(folder.path().join("m.onnx"), mixer(0, 17, &nodes)).unwrap();
    let model = frozen(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} }, "micro_batch": 5 }));
    assert!(model.notes().is_empty());
    // How samples are put into passes changes no answer, so it is no part of the digest.
    let single = frozen(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} }, "micro_batch": 1 }));
    assert_eq!(single.spec().digest, model.spec().digest);
    let logits = model.forward(&seven()).unwrap().logits;
    for (i, input) in seven().iter().enumerate() {
        assert_eq!(model.forward(std::slice::from_ref(input)).unwrap().logits.row(0), logits.row(i));
    }
}

/// A file with notes.
fn noted(file: Vec<u8>, notes: &[(&str, &str)]) -> Vec<u8> {
    let notes = notes.iter().flat_map(|(key, value)| bytes(14, &[text(1, key), text(2, value)].concat()));
    file.into_iter().chain(notes).collect()
}

/// The first logit of `x W` over three colours of one pixel.
fn colours(notes: &[(&str, &str)], image: serde_json::Value) -> (f32, Vec<String>, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [node("Flatten", &["x"], &["f"], &[]), node("MatMul", &["f", "w"], &["y"], &[])];
    let file = model(
        &nodes,
        &[tensor("w", &[3, 2], &[100.0, 0.0, 10.0, 0.0, 1.0, 0.0])],
        &[info("x", 1, &[0, 3, 1, 1])],
        &[info("y", 1, &[0, 2])],
    );
    std::fs::write(folder.path().join("m.onnx"), noted(file, notes)).unwrap();
    let model = frozen(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": image } }));
    let input =
        Input { image: Some(Arc::new(Pixels { width: 1, height: 1, channels: 3, values: vec![0.25, 0.5, 1.0] })), ..Input::default() };
    let slope = model.gradient(std::slice::from_ref(&input), &[Target::Class(1)], Objective::CarliniWagner, ModalitySet::ALL).unwrap();
    (model.forward(&[input]).unwrap().logits.row(0)[0], model.notes(), slope.image[0].clone().unwrap())
}

#[test]
fn what_the_pipeline_leaves_out_is_in_the_files_notes() {
    let plain = serde_json::json!({});
    assert_eq!(colours(&[], plain.clone()), (25.0 + 5.0 + 1.0, vec![], vec![100.0, 10.0, 1.0]));
    let (logit, notes, slope) = colours(&[("hardmine.mean", "[0.25, 0.5, 0]"), ("hardmine.std", "0.5, 0.25, 1")], plain.clone());
    assert_eq!((logit, slope), (1.0, vec![200.0, 40.0, 1.0]));
    assert_eq!(notes[0], "inputs.image.mean = [0.25, 0.5, 0] (the file's `hardmine.mean`)");
    // What the pipeline says goes first.
    let (logit, notes, _) = colours(&[("hardmine.mean", "[0.25, 0.5, 0]")], serde_json::json!({ "mean": [0.0] }));
    assert_eq!((logit, notes.len()), (31.0, 0));
    // The standard's keys go before ours.
    let (logit, notes, _) = colours(&[("Image.NominalPixelRange", "Normalized_1_1"), ("hardmine.range", "[0, 255]")], plain.clone());
    assert_eq!((logit, notes.len()), (-50.0 + 1.0, 1));
    let (logit, _, slope) = colours(&[("Image.BitmapPixelFormat", "Bgr8"), ("Image.ColorSpaceGamma", "SRGB")], plain.clone());
    assert_eq!((logit, slope), (100.0 + 5.0 + 0.25, vec![1.0, 10.0, 100.0]));
    let (logit, ..) = colours(&[("hardmine.channel_order", "bgr"), ("other", "x")], plain);
    assert_eq!(logit, 105.25);
}

#[test]
fn sound_and_text_have_notes_too() {
    let folder = tempfile::tempdir().unwrap();
    let sound = model(
        &[node("MatMul", &["x", "w"], &["y"], &[])],
        &[tensor("w", &[4, 2], &[1.0; 8])],
        &[info("x", 1, &[0, 4])],
        &[info("y", 1, &[0, 2])],
    );
    let written = serde_json::json!({ "path": "m.onnx", "inputs": { "audio": {} } });
    let audio = |rate: u32| Input {
        audio: Some(Arc::new(Waveform { sample_rate_hz: rate, channels: 1, values: vec![0.5; 4] })),
        ..Input::default()
    };
    for (notes, rate) in [
        (vec![("sample_rate", "8000"), ("hardmine.scale", "2")], 8000),
        (vec![("hardmine.sample_rate_hz", "8000"), ("hardmine.scale", "2")], 8000),
    ] {
        std::fs::write(folder.path().join("m.onnx"), noted(sound.clone(), &notes)).unwrap();
        let model = frozen(folder.path(), written.clone());
        assert_eq!((model.forward(&[audio(rate)]).unwrap().logits.row(0)[0], model.notes().len()), (4.0, 2));
    }
    let embedded = [tensor("e", &[4, 1], &[0.0, 1.0, 10.0, 100.0]), tensor("w", &[3, 2], &[1.0; 6])];
    let nodes = [node("Gather", &["e", "x"], &["g"], &[]), node("Flatten", &["g"], &["f"], &[]), node("MatMul", &["f", "w"], &["y"], &[])];
    let words = model(&nodes, &embedded, &[info("x", 7, &[0, 3])], &[info("y", 1, &[0, 2])]);
    std::fs::write(folder.path().join("m.onnx"), noted(words.clone(), &[("hardmine.characters", " a"), ("hardmine.lowercase", "true")]))
        .unwrap();
    let written = serde_json::json!({ "path": "m.onnx", "inputs": { "text": {} } });
    let model = frozen(folder.path(), written.clone());
    let input = Input { text: Some("A ?".into()), ..Input::default() };
    assert_eq!(model.forward(&[input]).unwrap().logits.row(0)[0], 111.0);
    std::fs::write(folder.path().join("m.onnx"), words).unwrap();
    let told = opened(folder.path(), written).err().unwrap().to_string();
    assert!(told.contains("either `characters` or `vocabulary`"), "{told}");
}

#[test]
fn notes_that_say_nothing_sound_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let told = |notes: &[(&str, &str)], image: serde_json::Value| {
        std::fs::write(folder.path().join("m.onnx"), noted(mixer(0, 17, &[node("Relu", &["f"], &["h"], &[])]), notes)).unwrap();
        opened(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": image } })).map(drop).map_err(|e| e.to_string())
    };
    let plain = || serde_json::json!({});
    for (key, value, words) in [
        ("hardmine.mean", "grey", "expected one or three numbers, as in `[0.485, 0.456, 0.406]`, found `grey`; write `inputs.image.mean`"),
        ("hardmine.mean", "[1, 2]", "inputs.image.mean: expected one or three numbers"),
        ("hardmine.std", "[0]", "inputs.image.std: expected one or three numbers above 0"),
        ("hardmine.range", "[1, 1]", "inputs.image.range: expected a low and a high number"),
        ("hardmine.layout", "chw", "expected nchw, or nhwc, found `chw`"),
        ("hardmine.meen", "0", "unknown note `hardmine.meen` of the file; known: hardmine.mean, hardmine.std"),
        ("Image.NominalPixelRange", "0..1", "expected Normalized_0_1, or"),
        ("Image.BitmapPixelFormat", "Yuv8", "expected Rgb8, or Bgr8, or Gray8, found `Yuv8`"),
        ("Image.ColorSpaceGamma", "Linear", "expected SRGB, found `Linear`"),
    ] {
        let found = told(&[(key, value)], plain()).unwrap_err();
        assert!(found.contains(words), "{key}: {found}");
    }
    // Where the pipeline says it, the note is not looked at.
    assert_eq!(told(&[("hardmine.mean", "grey")], serde_json::json!({ "mean": [0.5] })), Ok(()));
}

#[test]
fn the_channels_are_where_they_are_denoted() {
    let folder = tempfile::tempdir().unwrap();
    let dim = |n: i64, word: &str| bytes(1, &[int(1, n), text(3, word)].concat());
    let shape = [bytes(1, &text(2, "n")), dim(2, "DATA_FEATURE"), dim(2, "DATA_FEATURE"), dim(1, "DATA_CHANNEL")].concat();
    let x = [text(1, "x"), bytes(2, &bytes(1, &[int(1, 1), bytes(2, &shape)].concat()))].concat();
    let nodes = [node("Flatten", &["x"], &["f"], &[]), node("MatMul", &["f", "w"], &["y"], &[])];
    std::fs::write(folder.path().join("m.onnx"), model(&nodes, &[tensor("w", &[4, 2], &[1.0; 8])], &[x], &[info("y", 1, &[0, 2])]))
        .unwrap();
    let model = frozen(folder.path(), serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} } }));
    assert_eq!(model.notes(), ["inputs.image.layout = nhwc (the denotation of `x`)"]);
    assert_eq!(model.forward(&[picture([0.25; 4])]).unwrap().logits.row(0), [1.0, 1.0]);
}

fn saved(folder: &Path) -> (serde_json::Value, Parameters) {
    std::fs::write(folder.join("m.onnx"), small()).unwrap();
    let written = serde_json::json!({ "path": "m.onnx", "inputs": { "image": {} }, "classes": ["b", "a"] });
    let path = folder.join("m.safetensors");
    frozen(folder, written).save(&path).unwrap();
    Parameters::read(&path).unwrap()
}

#[test]
fn a_header_that_lies_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (header, weights) = saved(folder.path());
    assert!(from_file(&header, &weights).is_ok());
    let huge = serde_json::json!(1u64 << 60);
    for (pointer, value) in [
        ("/parts/0/0/batch", 0.into()),
        ("/parts/0/0/batch", huge.clone()),
        ("/parts/0/0/sources/0/Image/width", 0.into()),
        ("/parts/0/0/sources/0/Image/width", huge.clone()),
        ("/parts/0/0/sources/0/Image/height", 16_384.into()),
        ("/parts/0/0/sources/0/Image/channels", 3.into()),
        ("/parts/0/0/sources/0/Image/channels", huge.clone()),
        ("/parts/0/0/sources/0/Image/scale", serde_json::json!([])),
        ("/parts/0/0/sources/0", serde_json::json!({ "Audio": { "rate_hz": 0, "length": 4, "scale": 1.0, "rank": 2 } })),
        ("/parts/0/0/sources/0", serde_json::json!({ "Audio": { "rate_hz": 8000, "length": huge, "scale": 1.0, "rank": 2 } })),
        ("/parts/0/0/sources/0", serde_json::json!({ "Audio": { "rate_hz": 8000, "length": 4, "scale": 1.0, "rank": 9 } })),
        ("/parts/0/0/sources/0", serde_json::json!({ "TokenTypes": huge })),
        ("/parts/0/0/sources/0", serde_json::json!({ "Presence": ["image", 1u64 << 40] })),
        ("/parts/0/0/sources", serde_json::json!([])),
        ("/parts/0/0/roles", serde_json::json!([])),
        ("/parts/0/0/names", serde_json::json!(["nothing"])),
        ("/parts", serde_json::json!([])),
        ("/columns", serde_json::json!([0, 2])),
        ("/columns", serde_json::json!([0])),
        ("/columns", serde_json::json!([huge, huge])),
        ("/classes", serde_json::json!(["a", "b", "c"])),
        ("/head", serde_json::json!({ "embeddings": [["image", huge], ["audio", huge]], "hidden": huge, "classes": huge })),
        ("/head", serde_json::json!({ "embeddings": [["image", 4]], "hidden": 2, "classes": 2 })),
    ] {
        let mut broken = header.clone();
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        assert!(from_file(&broken, &weights).is_err(), "{pointer} {value}");
    }
    let told = from_file(&header, &Parameters::default()).err().unwrap().to_string();
    assert!(told.contains("the model's file 0 is missing"), "{told}");
}

#[test]
fn a_pass_that_needs_too_much_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [node("GlobalAveragePool", &["x"], &["p"], &[]), node("Flatten", &["p"], &["y"], &[])];
    std::fs::write(folder.path().join("m.onnx"), model(&nodes, &[], &[info("x", 1, &[0, 1, 0, 0])], &[info("y", 1, &[0, 2])])).unwrap();
    let written = serde_json::json!({ "path": "m.onnx", "inputs": { "image": { "size": [16384, 16384] } }, "micro_batch": 256 });
    let told = opened(folder.path(), written).err().unwrap().to_string();
    assert!(told.contains("choose a smaller `size`"), "{told}");
}
