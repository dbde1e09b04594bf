//! Bad input: what is said, with which exit code, and where the sample is counted.

use super::{FEW_STAGES, File, HEAD, digits, first, jsonl, record};
use serde_json::{Value, json};
use std::fs;

/// Forty short texts of two classes.
fn words() -> Vec<Value> {
    let line = |i: usize| {
        let kind = ["cat", "dog"][i % 2];
        json!({ "id": format!("w{i}"), "text": format!("{kind} number {i}"), "label": kind })
    };
    (0..40).map(line).collect()
}

/// A pipeline over `train.jsonl` and `test.jsonl` beside it.
fn file(train: &str, test: &str) -> File {
    let text = [HEAD, FEW_STAGES]
        .concat()
        .replace("builtin:digits/", "")
        .replace("  limit: 100\n", "")
        .replace("warmup_epochs: 5", "warmup_epochs: 1");
    let file = File::new(&text);
    fs::write(file.path("train.jsonl"), train).unwrap();
    fs::write(file.path("test.jsonl"), test).unwrap();
    file
}

fn with_train(train: &str) -> File {
    file(train, &jsonl(&words()))
}

/// The good lines with one more, as it is written.
fn and(line: &str) -> String {
    format!("{}{line}\n", jsonl(&words()))
}

#[test]
fn what_is_no_data_set_is_told() {
    let missing = with_train("");
    fs::remove_file(missing.path("train.jsonl")).unwrap();
    missing.run(&[]).failed(1, "split train: file ./train.jsonl: the manifest does not exist");
    with_train("").run(&[]).failed(1, "split train: file ./train.jsonl: the manifest holds no sample; expected one JSON object a line");
    let folder = with_train("");
    folder
        .run(&["--set", "data.train.manifest.path=."])
        .failed(1, "split train: file ./.: a folder; expected a manifest of JSON lines (a folder of classes is read by `folder`)");
}

#[test]
fn a_broken_line_is_told_counted_or_passed_over() {
    let broken = format!("{{\"id\": \"x\", \"text\": \n{}", jsonl(&words()));
    let fails = with_train(&broken).run(&["--set", "data.on_error=fail"]);
    fails.failed(
        3,
        "split train: file ./train.jsonl: line 1: not valid JSON at column 19: EOF while parsing a value (policy on_error: fail; `skip` or `quarantine` would leave it out)",
    );
    for (policy, skipped, quarantined) in [("skip", 1, 0), ("quarantine", 0, 1)] {
        let file = with_train(&broken);
        let told = file.run(&["--set", &format!("data.on_error={policy}")]);
        assert_eq!(told.code, Some(0), "{told:#?}");
        let record = record(&file.path("out"));
        let train = &record.samples.train;
        assert_eq!((train.read, train.used, train.skipped, train.quarantined), (41, 40, skipped, quarantined), "{policy}");
        let listed: Vec<(&str, &str)> = train.listed.iter().map(|one| (one.id.as_str(), one.reason.as_str())).collect();
        let reason = "read: file ./train.jsonl: line 1: not valid JSON at column 19: EOF while parsing a value";
        assert_eq!(listed, [("line 1", reason)][..quarantined as usize]);
        assert_eq!(record.problems(), Vec::<String>::new());
        let counts = format!("train: 41 read, 40 used, {quarantined} quarantined, {skipped} skipped");
        assert!(told.out.lines().any(|line| line == counts), "{told:#?}");
    }
}

#[test]
fn more_than_the_ceiling_is_refused() {
    let broken = format!("{}{{\n{{\n{{\n{{\n{{\n", jsonl(&words()));
    let reason = |line: usize| format!("\n  file ./train.jsonl: line {line}: not valid JSON at column 1: EOF while parsing an object");
    let message = format!("split train: 5 of 45 samples are unusable, the ceiling is 10.0 %{}{}{}", reason(41), reason(42), reason(43));
    with_train(&broken).run(&[]).failed(3, &message);
    assert_eq!(with_train(&broken).run(&["--set", "data.ceiling=0.2"]).code, Some(0));
    // Lines behind the limit are not read, and do not count.
    let file = with_train(&broken);
    assert_eq!(file.run(&["--set", "data.limit=30"]).code, Some(0));
    assert_eq!(record(&file.path("out")).samples.train.read, 30);
}

#[test]
fn one_bad_sample_is_told_with_its_place() {
    let sound = |name: &str| format!(r#"{{"id":"bad","audio":"{name}","label":"cat"}}"#);
    let picture = |name: &str| format!(r#"{{"id":"bad","image":"{name}","label":"cat"}}"#);
    let png = fs::read(digits("images/train-0000.png")).unwrap();
    let wav = first("train", 1)[0]["audio"].as_str().map(|path| fs::read(path).unwrap()).unwrap();
    let data = wav.windows(4).position(|four| four == b"data").unwrap();
    let mut lying = wav.clone();
    lying[data + 4..data + 8].copy_from_slice(&4_000_000_000u32.to_le_bytes());
    let mut silent = wav[..data + 8].to_vec();
    silent[data + 4..].fill(0);
    let held = wav.len() - data - 8;
    let cases: Vec<(String, &str, Vec<u8>, String)> = vec![
        (
            r#"{"id":"w3","text":"twice","label":"cat"}"#.into(),
            "none",
            vec![],
            "file ./train.jsonl: line 41: field id: the id `w3` stands in lines 4 and 41; ids are unique".into(),
        ),
        (picture("none.png"), "other.png", vec![], "file ./train.jsonl: line 41: field image: file ./none.png: the file does not exist".into()),
        (picture("cut.png"), "cut.png", png[..png.len() / 2].to_vec(), "line 41: sample bad: modality image: file cut.png: the PNG image cannot be decoded: it is truncated: the data end before the picture does".into()),
        (picture("zero.png"), "zero.png", header(0, 0), "line 41: sample bad: modality image: file zero.png: the image is 0x0 pixels; it needs at least 1x1".into()),
        (picture("huge.png"), "huge.png", header(2_000_000, 2_000_000), "line 41: sample bad: modality image: file huge.png: the image is 2000000x2000000 pixels; at most 16384x16384 are read".into()),
        (picture("empty.png"), "empty.png", vec![], "line 41: sample bad: modality image: file empty.png: the image file is empty (0 bytes); expected PNG, JPEG, GIF, WebP, BMP, TIFF or PNM".into()),
        (
            sound("lying.wav"),
            "lying.wav",
            lying,
            format!("line 41: sample bad: modality audio: file lying.wav: the WAV header lies: its `data` chunk promises 4000000000 bytes, the file holds {held}"),
        ),
        (sound("silent.wav"), "silent.wav", silent, "line 41: sample bad: modality audio: file silent.wav: the audio is empty: it holds no sample; expected at least one".into()),
        (sound("empty.wav"), "empty.wav", vec![], "line 41: sample bad: modality audio: file empty.wav: the audio file is empty (0 bytes); expected WAV, FLAC, Ogg Vorbis or MP3".into()),
        (r#"{"id":"bad","label":"cat"}"#.into(), "none", vec![], "file ./train.jsonl: line 41: no modality: expected at least one of `image`, `audio`, `text`".into()),
        (r#"{"id":"bad","text":"a cat","label":["cat"]}"#.into(), "none", vec![], "file ./train.jsonl: line 41: field label: the share of `0` is \"cat\"; expected a number in 0..=1".into()),
    ];
    for (line, name, bytes, reason) in cases {
        let file = with_train(&and(&line));
        fs::write(file.path(name), &bytes).unwrap();
        let told = file.run(&["--set", "data.on_error=fail"]);
        let message = format!("split train: {reason} (policy on_error: fail; `skip` or `quarantine` would leave it out)");
        told.failed(3, &message);
        let told = file.run_to("quarantined", &[]);
        assert_eq!(told.code, Some(0), "{told:#?}");
        let train = record(&file.path("quarantined")).samples.train;
        assert_eq!((train.read, train.used, train.quarantined), (41, 40, 1));
        assert_eq!(train.listed[0].reason, format!("read: {reason}"));
    }
}

/// A PNG that is a header alone.
fn header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 0, 0, 0, 0]);
    let crc = chunk
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())));
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d".as_slice(), &chunk, &(!crc).to_be_bytes(), b"\0\0\0\0IEND\xae\x42\x60\x82"].concat()
}

#[test]
fn labels_must_fit() {
    let test = format!("{}{}\n", jsonl(&words()), r#"{"id":"moo","text":"a cow","label":"cow"}"#);
    let reason = "line 41: sample moo: field label: the label `cow` is never seen in training; its classes are cat, dog";
    file(&jsonl(&words()), &test)
        .run(&["--set", "data.on_error=fail"])
        .failed(3, &format!("split test: {reason} (policy on_error: fail; `skip` or `quarantine` would leave it out)"));
    let file = file(&jsonl(&words()), &test);
    assert_eq!(file.run(&[]).code, Some(0));
    let split = record(&file.path("out")).samples.test.unwrap();
    assert_eq!((split.read, split.used, split.quarantined), (41, 40, 1));
    assert_eq!(split.listed[0].reason, format!("read: {reason}"));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut lines = words();
        lines.iter_mut().for_each(change);
        with_train(&jsonl(&lines)).run(&[])
    };
    with(&|line| line["label"] = "cat".into()).failed(3, "split train: all labels are `cat`; training needs at least two classes");
    with(&|line| line["label"] = Value::Null)
        .failed(3, "split train: no sample has a label; training needs labels of at least two classes");
}

#[test]
fn folds_need_groups() {
    let mut lines = words();
    lines.iter_mut().enumerate().for_each(|(i, line)| line["speaker"] = ["ada", "bob"][i % 2].into());
    let file = with_train(&jsonl(&lines));
    file.run(&[
        "--set",
        "data.group_by=speaker",
        "--set",
        "stages[0]={ score: { out_of_fold: { folds: 3 } } }",
        "--set",
        "stages[1].mine.top_fraction.by=out_of_fold",
    ])
    .failed(3, "3 folds need at least 3 groups of samples, found 2 (samples that share a medium or a group_by value stay together)");
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let file = with_train(&jsonl(&words()));
    file.run_to("train.jsonl/out", &[])
        .failed(1, "folder train.jsonl/out: the output folder cannot be written: Not a directory (os error 20)");
    file.run_to("train.jsonl", &[]).failed(1, "folder train.jsonl: the output folder cannot be written: File exists (os error 17)");
    assert_eq!(fs::read_to_string(file.path("train.jsonl")).unwrap(), jsonl(&words()));
}

#[test]
fn training_that_runs_away_ends_with_its_place() {
    let file = with_train(&jsonl(&words()));
    file.run(&["--set", "train.learning_rate=1e30"]).failed(1, "expected finite weights in `text.weight`, found -inf");
    assert!(!file.path("out/run.json").exists());
    // Unwatched, it ends at the first loss that is none.
    file.run_to("unwatched", &["--set", "train.learning_rate=1e30", "--set", "train.watchdog={ enabled: false }"])
        .failed(1, "training step 3: the loss of row 0 of the batch is NaN; nothing was learnt");
}

#[cfg(feature = "burn")]
#[test]
fn fusion_that_runs_away_ends_with_its_place() {
    let file = with_train(&jsonl(&words()));
    let runs_away = ["--set", "model={ fusion: { embedding: 16 } }", "--set", "train.learning_rate=1e30"];
    assert_ne!(file.run_to("watched", &runs_away).code, Some(0));
    file.run(&[&runs_away[..], &["--set", "train.watchdog={ enabled: false }"]].concat())
        .failed(1, "training step 2: the loss of the batch is NaN; nothing was learnt");
}
