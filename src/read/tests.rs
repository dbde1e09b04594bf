//! The manifest reader on good, bad and random manifests.

use super::*;
use crate::{
    codec,
    operator::Table,
    sample::{AudioBuffer, ImageBuffer},
};
use proptest::prelude::*;
use serde_json::json;
use std::{fs, path::PathBuf};

/// A folder with two good media and a manifest of these lines.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new(manifest: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("i.png"), png()).unwrap();
        fs::write(folder.path().join("a.wav"), wav()).unwrap();
        fs::write(folder.path().join("m.jsonl"), manifest).unwrap();
        Self { folder }
    }
    fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        fs::write(self.folder.path().join(name), bytes).unwrap();
        self
    }
    fn open(&self) -> Result<Box<dyn Source>> {
        Manifest::new("m.jsonl").open(self.folder.path())
    }
    /// Problems without the path of the manifest.
    fn problems(&self) -> Vec<String> {
        let start = format!("file {}: ", self.path().display());
        let source = self.open().unwrap();
        source.problems().iter().map(|problem| problem.to_string().strip_prefix(&start).unwrap().to_owned()).collect()
    }
    fn path(&self) -> PathBuf {
        self.folder.path().join("m.jsonl")
    }
    /// The error of fetching the only sample, without folders.
    fn fetch_error(&self) -> String {
        let source = self.open().unwrap();
        assert_eq!((source.entries().len(), source.problems().len()), (1, 0));
        source.fetch(0).unwrap_err().to_string()
    }
}

fn png() -> Vec<u8> {
    codec::image::encode(&ImageBuffer::filled(8, 6, 1, 9).unwrap()).unwrap().bytes
}
fn wav() -> Vec<u8> {
    codec::audio::encode(&AudioBuffer::new(8000, 1, vec![0.25; 800]).unwrap()).unwrap().bytes
}

#[test]
fn a_manifest_is_read() {
    let data = Data::new(concat!(
        "\u{feff}{\"id\": \"a\", \"image\": \"i.png\", \"audio\": \"a.wav\", \"text\": \"five left\", \"label\": 5, \"z\": 1, \"b\": [2], ",
        "\"boxes\": [{\"x\": 1, \"y\": 0, \"width\": 7, \"height\": 6, \"label\": \"five\"}], \"events\": [{\"start_s\": 0, \"end_s\": 0.1, \"label\": \"x\"}], ",
        "\"words\": [{\"start\": 0, \"end\": 4, \"start_s\": 0.0, \"end_s\": 0.1}], \"spans\": [{\"start\": 5, \"end\": 9, \"tag\": \"protected\"}]}\r\n",
        "\r\n   \n",
        "{\"id\": 12, \"image\": null, \"text\": \"two\", \"label\": {\"5\": 0.25, \"7\": 0.75}}\n",
        "{\"image\": \"./i.png\", \"text\": \"  \"}"
    ));
    let source = data.open().unwrap();
    assert!(source.problems().is_empty(), "{:?}", source.problems());
    let [a, b, c] = source.entries() else { panic!("three samples") };
    assert_eq!((a.line, b.line, c.line), (1, 4, 5));
    assert_eq!((a.id.as_str(), b.id.as_str()), ("a", "12"));
    assert!(c.id.as_str().starts_with("line-") && c.id.as_str().len() == 21);
    assert_eq!(a.fields.keys().collect::<Vec<_>>(), ["z", "b"]);
    assert_eq!(a.label, Some(WrittenLabel::Name("5".into())));
    assert_eq!(b.label, Some(WrittenLabel::Soft(vec![("5".into(), 0.25), ("7".into(), 0.75)])));
    assert_eq!(
        (a.present.to_string(), b.present.to_string(), c.present.to_string()),
        ("image+audio+text".into(), "text".into(), "image".into())
    );
    assert_eq!((a.media.len(), &a.media[0]), (2, &c.media[0]));
    let sample = source.fetch(0).unwrap();
    assert_eq!(sample.image.as_ref().unwrap().encoded().unwrap().bytes, png());
    assert_eq!(sample.audio.as_ref().unwrap().get().frames(), 800);
    assert_eq!(sample.text.as_ref().unwrap().get().spans[0].tag, "protected");
    assert_eq!((sample.annotations.boxes.len(), sample.annotations.events.len(), sample.annotations.words.len()), (1, 1, 1));
    assert_eq!(sample.fields["z"], 1);
    assert!(sample.label.is_none());
    assert_eq!(source.measure(0).unwrap(), measure::of_sample(&sample));
}

#[test]
fn each_problem_has_line_and_field_and_the_rest_is_read() {
    let data = Data::new(
        [
            r#"{"id": "a", "text": "x", "label": 1}"#,
            r#"{"id": "b", "text": "x""#,
            r#"{"id": "a", "text": "y"}"#,
            r#"{"id": "c", "image": "gone.png"}"#,
            r#"{"id": "d", "label": 3}"#,
            r#"{"id": "e", "text": 7}"#,
            r#"{"id": "f", "text": "x", "label": "one"}"#,
            r#"{"id": "g", "text": "x", "label": {"1": 0.5, "2": 0.1}}"#,
            r#"{"id": "h", "text": "x", "label": 1.5}"#,
            r#"[1, 2]"#,
            r#"{"id": "", "text": "x"}"#,
            r#"{"id": "i", "image": "http://x/y.png"}"#,
            r#"{"id": "j", "audio": ["a.wav"]}"#,
            r#"{"id": "k", "text": "zwölf", "spans": [{"start": 0, "end": 3, "tag": "t"}]}"#,
            r#"{"id": "l", "image": "i.png", "boxes": [{"x": 0, "y": 0, "width": 0, "height": 1, "label": "t"}]}"#,
            r#"{"id": "m", "text": "x", "events": [{"start_s": 0, "end_s": 1, "label": "t"}]}"#,
            r#"{"id": "n", "audio": "a.wav", "events": [{"start_s": 0, "end_s": 1}]}"#,
            r#"{"id": "o", "audio": "."}"#,
            r#"{"id": "p", "text": "x", "label": [0.5, -0.5]}"#,
            r#"{"id": "q", "text": "x", "label": [0.5, 0.5]}"#,
            r#"{"id": "r", "text": "x", "label": true}"#,
            r#"{"id": "z", "text": "x", "label": 2}"#,
            r#"{"id": "t", "text": "x", "keypoints": [{"x": 1, "y": 1, "label": "t"}]}"#,
            r#"{"id": "u", "image": "i.png", "keypoints": [{"x": -1, "y": 1, "label": "t"}]}"#,
            r#"{"id": "v", "image": "i.png", "masks": [{"outline": [[0, 0], [1, 0]], "label": "t"}]}"#,
        ]
        .join("\n"),
    );
    let folder = data.folder.path().display().to_string();
    let expected = [
        "line 2: not valid JSON at column 23: EOF while parsing an object".to_owned(),
        "line 3: field id: the id `a` stands in lines 1 and 3; ids are unique".into(),
        format!("line 4: field image: file {folder}/gone.png: the file does not exist"),
        "line 5: no modality: expected at least one of `image`, `audio`, `text`".into(),
        "line 6: field text: expected a string (or null where the text is missing), found 7".into(),
        "line 7: field label: found a string, but the label of line 1 is a whole number; expected one way of writing".into(),
        "line 8: field label: the shares sum to 0.6000; expected 1 within 0.001".into(),
        "line 9: field label: expected a class name, a whole number, true, false, or shares that sum to 1, found 1.5".into(),
        "line 10: expected a JSON object such as {\"id\": \"a\", \"text\": \"...\"}, found [1,2]".into(),
        "line 11: field id: expected 1 to 512 bytes without control characters, found \"\"".into(),
        "line 12: field image: expected a path of a file on this machine, found the address http://x/y.png".into(),
        "line 13: field audio: expected a path (or null where the medium is missing), found [\"a.wav\"]".into(),
        "line 14: field spans[0]: bytes 0..3; expected whole characters inside the text of 6 bytes, start before end".into(),
        "line 15: field boxes[0]: x 0, y 0, width 0, height 1; expected x, y of at least 0 and a size above 0".into(),
        "line 16: field events: it describes the audio, and the line has no `audio`".into(),
        "line 17: field events[0]: missing field `label`".into(),
        format!("line 18: field audio: file {folder}/.: not a file; expected a file that can be read"),
        "line 19: field label: the share of `1` is -0.5; expected a number in 0..=1".into(),
        "line 21: field label: found true or false, but the label of line 1 is a whole number; expected one way of writing".into(),
        "line 23: field keypoints: it describes the image, and the line has no `image`".into(),
        "line 24: field keypoints[0]: x -1, y 1; expected both to be at least 0".into(),
        "line 25: field masks[0].outline: 2 corners; expected at least 3".into(),
    ];
    let found = data.problems();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    let ids: Vec<String> = data.open().unwrap().entries().iter().map(|entry| entry.id.to_string()).collect();
    assert_eq!(ids, ["a", "q", "z"]);
}

#[test]
fn broken_media_are_found_when_they_are_fetched() {
    let image = Data::new(r#"{"id": "s", "image": "x.png"}"#);
    let audio = Data::new(r#"{"id": "s", "audio": "x.wav"}"#);
    let of_image = |bytes: &[u8]| image.file("x.png", bytes).fetch_error();
    let of_audio = |bytes: &[u8]| audio.file("x.wav", bytes).fetch_error();
    let at = "line 1: sample s: modality image: file x.png: ";
    let whole = png();
    let told = "the PNG image cannot be decoded: it is truncated: the data end before the picture does";
    assert_eq!(of_image(&whole[..50]), format!("{at}{told}"));
    let sized = |width: u32, height: u32| {
        let mut bytes = whole.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        bytes
    };
    assert_eq!(of_image(&sized(0, 0)), format!("{at}the image is 0x0 pixels; it needs at least 1x1"));
    assert_eq!(of_image(&sized(90_000, 6)), format!("{at}the image is 90000x6 pixels; at most 16384x16384 are read"));
    let at = "line 1: sample s: modality audio: file x.wav: ";
    let mut lying = wav();
    lying[40..44].copy_from_slice(&1_000_000u32.to_le_bytes());
    assert_eq!(of_audio(&lying), format!("{at}the WAV header lies: its `data` chunk promises 1000000 bytes, the file holds 1600"));
    let mut empty = wav();
    empty.truncate(44);
    empty[40..44].fill(0);
    assert_eq!(of_audio(&empty), format!("{at}the audio is empty: it holds no sample; expected at least one"));
}

#[test]
fn annotations_are_held_against_the_media() {
    let over = r#"{"id": "s", "image": "i.png", "boxes": [{"x": 4, "y": 0, "width": 6, "height": 6, "label": "t"}]}"#;
    let told = "line 1: sample s: modality image: file i.png: field boxes[0]: the box reaches to (10, 6); the image is 8x6 pixels";
    assert_eq!(Data::new(over).fetch_error(), told);
    for (field, written, told) in [
        ("keypoints", r#"{"x": 8.6, "y": 1, "label": "t"}"#, "a place at (8.6, 1); the image is 8x6 pixels"),
        ("masks", r#"{"outline": [[0, 0], [1, 0], [1, 7]], "label": "t"}"#, "a place at (1, 7); the image is 8x6 pixels"),
    ] {
        let over = format!(r#"{{"id": "s", "image": "i.png", "{field}": [{written}]}}"#);
        let told = format!("line 1: sample s: modality image: file i.png: field {field}[0]: {told}");
        assert_eq!(Data::new(&over).fetch_error(), told);
    }
    let over = r#"{"id": "s", "audio": "a.wav", "events": [{"start_s": 0, "end_s": 0.2, "label": "t"}]}"#;
    let told = "line 1: sample s: modality audio: file a.wav: field events[0]: it ends at 0.2 s; the audio is 0.100 s long";
    assert_eq!(Data::new(over).fetch_error(), told);
}

#[test]
fn what_is_no_manifest_is_refused() {
    let data = Data::new("\n  \n");
    let at = |name: &str| format!("file {}: ", data.folder.path().join(name).display());
    let told = |error: Result<Box<dyn Source>>| error.err().unwrap().to_string();
    assert_eq!(told(data.open()), at("m.jsonl") + "the manifest holds no sample; expected one JSON object a line");
    let open = |path: &str| told(Manifest::new(path).open(data.folder.path()));
    assert_eq!(open("n.jsonl"), at("n.jsonl") + "the manifest does not exist");
    assert_eq!(open("."), at(".") + "a folder; expected a manifest of JSON lines (a folder of classes is read by `folder`)");
    let utf16 = Data::new(b"\xff\xfe{\0}\0");
    assert_eq!(utf16.problems(), ["line 1: not UTF-8 (is it UTF-16?): byte 0 of the line does not continue a character"]);
}

#[test]
fn an_overlong_line_is_passed_over() {
    let mut lines = vec![b'x'; 17 * 1024 * 1024];
    lines.extend(b"\n{\"text\": \"y\"}\n");
    let data = Data::new(lines);
    let source = data.open().unwrap();
    assert_eq!((source.entries().len(), source.entries()[0].line), (1, 2));
    let told = "line 1: the line has 17825792 bytes; at most 16777216 are read (media are files beside the manifest)";
    assert_eq!(data.problems(), [told]);
}

#[test]
fn many_blocks_keep_their_order() {
    let lines: String = (0..20_000).map(|i| format!("{{\"id\": {i}, \"text\": \"t\"}}\n")).collect();
    let data = Data::new(lines);
    let source = data.open().unwrap();
    assert!(source.entries().iter().enumerate().all(|(i, entry)| entry.line == i + 1 && entry.id.as_str() == i.to_string()));
    assert_eq!(source.entries().len(), 20_000);
}

#[test]
fn the_config_is_checked_before_anything_is_read() {
    let table: Table<dyn Reader> = table();
    assert!(table.build(&json!({ "manifest": { "path": "builtin:digits/train.jsonl" } })).is_ok());
    let problem = |path: &str| table.build(&json!({ "manifest": { "path": path } })).err().unwrap().remove(0).to_string();
    assert_eq!(problem(""), "manifest.path: is empty; expected the path of a manifest such as train.jsonl");
    assert_eq!(problem("builtin:digits/trian.jsonl"), "manifest.path: the built-in data set `digits` has no file of this name");
    assert!(problem("builtin:digit/train.jsonl").contains("did you mean `digits`?"));
}

#[test]
fn the_built_in_digits_are_read_whole() {
    for (split, count) in [("train", 1200), ("val", 300), ("test", 600)] {
        let source = Manifest::new(format!("builtin:digits/{split}.jsonl")).open(std::path::Path::new("")).unwrap();
        assert_eq!((source.entries().len(), source.problems().len()), (count, 0));
        for index in 0..count {
            let sample = source.fetch(index).unwrap();
            assert_eq!(sample.present(), source.entries()[index].present);
            assert_eq!(measure::of_sample(&sample), source.measure(index).unwrap());
        }
    }
}

/// JSON values that look a little like lines.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2.0..2.0f64).prop_map(Value::from),
        "[a-zö ]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let keys = prop::sample::select(vec!["x", "y", "width", "height", "label", "start", "end", "start_s", "end_s", "tag", "0", "1"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn lines_of_random_values_never_panic(
        pairs in prop::collection::vec((prop::sample::select(vec!["id", "image", "audio", "text", "label", "boxes", "events", "words", "spans", "other"]), json_value()), 0..8)
    ) {
        let line: Map<String, Value> = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Ok(read) = Line::parse(Value::Object(line).to_string().as_bytes()) {
            prop_assert!(read.image.is_some() || read.audio.is_some() || read.text.is_some());
            let text = read.text.unwrap_or_default();
            prop_assert!(read.spans.iter().all(|span| text.get(span.start..span.end).is_some_and(|part| !part.is_empty())));
            if let Some(WrittenLabel::Soft(shares)) = read.label {
                prop_assert!((shares.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 2e-3);
            }
        }
    }

    #[test]
    fn changed_lines_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let mut line = r#"{"id": "a", "text": "zwölf", "label": {"a": 0.5, "b": 0.5}, "spans": [{"start": 0, "end": 2, "tag": "t"}]}"#.as_bytes().to_vec();
        for (at, byte) in &changes {
            let at = at.index(line.len());
            line[at] = *byte;
        }
        line.truncate(cut.index(line.len() * 2) + 1);
        let _ = Line::parse(&line);
    }

    #[test]
    fn random_manifests_never_panic(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b'"'), any::<u8>()], 0..120)) {
        let data = Data::new(&bytes);
        if let Ok(source) = data.open() {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
            prop_assert!(source.entries().len() + source.problems().len() <= lines);
        }
    }
}
