use super::*;
use crate::{
    codec::npy,
    read::{Reader, WrittenLabel},
    sample::{Modality, ModalitySet, SampleId},
};
use serde_json::json;
use std::fs;

fn reader(written: serde_json::Value) -> Box<dyn Reader> {
    super::super::table()
        .build(&json!({ "predictions": written }))
        .map(|built| built.operator)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Opens files with these names and contents.
fn open(files: &[(&str, &[u8])], more: serde_json::Value) -> Result<Box<dyn Source>> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = json!({ "files": files.iter().map(|(name, _)| *name).filter(|name| *name != "m.jsonl").collect::<Vec<_>>() });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    reader(config).open(folder.path())
}

fn logits(source: &dyn Source, id: &str, keep: Option<ModalitySet>) -> Option<Vec<f32>> {
    source.recorded().unwrap().logits(&SampleId::from(id), keep).map(<[f32]>::to_vec)
}

#[test]
fn json_lines_with_all_that_they_may_hold() {
    let lines = br#"{"id": "a", "label": 1, "logits": [0.5, 2], "image_logits": [1, 0], "audio_logits": [0, 1], "image_embedding": [3, 4], "audio_embedding": [1], "speaker": "x"}
{"id": 7, "label": "0", "probabilities": [0.75, 0.25], "image_probabilities": [1, 0], "image_embedding": [5, 6]}
"#;
    let source = open(&[("p.jsonl", lines)], json!({})).unwrap();
    assert_eq!(source.problems().iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(source.classes().unwrap().names(), ["0", "1"]);
    let (image, audio) = (ModalitySet::one(Modality::Image), ModalitySet::one(Modality::Audio));
    let present: Vec<ModalitySet> = source.entries().iter().map(|entry| entry.present).collect();
    assert_eq!(present, [image.or(audio), image]);
    assert_eq!(source.entries()[1].label, Some(WrittenLabel::Name("0".into())));
    assert_eq!(source.entries()[0].fields["speaker"], "x");
    assert_eq!(logits(source.as_ref(), "a", Some(audio)), Some(vec![0.0, 1.0]));
    assert_eq!(logits(source.as_ref(), "7", None), Some(vec![0.75f32.ln(), 0.25f32.ln()]));
    assert_eq!(logits(source.as_ref(), "7", Some(audio)), None);
    assert!(source.history().is_none() && source.fetch(0).unwrap().fields["speaker"] == "x");
}

#[test]
fn epochs_become_training_dynamics() {
    // Cartography's names: right, wrong, right.
    let first = b"{\"guid\": 1, \"gold\": \"no\", \"logits_epoch_0\": [2, 0]}\n";
    let second = b"{\"guid\": 1, \"gold\": \"no\", \"logits_epoch_1\": [0, 1]}\n";
    let third = b"{\"guid\": 1, \"gold\": \"no\", \"logits_epoch_2\": [1, 0]}\n";
    let classes = json!({ "classes": ["no", "yes"] });
    let source = open(&[("e0.jsonl", first), ("e1.jsonl", second), ("e2.jsonl", third)], classes.clone()).unwrap();
    let row = source.history().unwrap().rows[&SampleId::from("1")];
    assert!((row.aum().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    assert_eq!((row.forgetting(), row.right, source.entries().len()), (1, 2, 1));
    assert_eq!(logits(source.as_ref(), "1", None), Some(vec![1.0, 0.0]));
    // The same as an array of epochs.
    let array = |shape: &str, values: &[f64]| {
        let head = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
        bytes.extend_from_slice(head.as_bytes());
        values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
        bytes
    };
    let three = array("(3, 1, 2)", &[2.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    let labels = npy::encode(&[0.0]);
    let source = open(&[("train_logits.npy", &three), ("train_labels.npy", &labels), ("ids.txt", b"1\n")], json!({})).unwrap();
    assert_eq!(source.history().unwrap().rows[&SampleId::from("1")], row);
    // Backwards is refused, and counted.
    let source = open(&[("e1.jsonl", second), ("e0.jsonl", first)], classes).unwrap();
    let told = source.problems()[0].to_string();
    assert!(told.contains("epoch 0 of `1` stands behind epoch 1 of line 1"), "{told}");
}

#[test]
fn csv_with_classes_in_another_order() {
    let text = b"id,label,logits_1,logits_0,text_logits_0,text_logits_1,length\na,dog,1,2,3,4,7\nb,cat,5,6,,,8\nc,cow,1,1,,,8\nd,cat,1,x,,,8\ne,cat,1\n";
    let source = open(&[("p.csv", text)], json!({ "classes": ["dog", "cat"] })).unwrap();
    // Columns were dog, cat; the classes are sorted.
    assert_eq!(source.classes().unwrap().names(), ["cat", "dog"]);
    assert_eq!(logits(source.as_ref(), "a", None), Some(vec![1.0, 2.0]));
    // All that it has is its text: the answer from it is the fused one.
    assert_eq!(logits(source.as_ref(), "a", Some(ModalitySet::one(Modality::Text))), Some(vec![1.0, 2.0]));
    assert_eq!(source.entries()[1].fields["length"], 8);
    let told: Vec<String> =
        source.problems().iter().map(|problem| format!("{} {}", problem.place("line").unwrap(), problem.message())).collect();
    assert_eq!(
        told,
        ["4 unknown class `cow` (did you mean `cat`?); known: cat, dog", "5 expected a number, found `x`", "6 3 cells; the header has 7",]
    );
}

#[test]
fn a_manifest_brings_labels_fields_and_media() {
    let manifest =
        b"{\"id\": \"a\", \"text\": \"one\", \"label\": \"1\", \"speaker\": \"s\"}\n{\"id\": \"b\", \"text\": \"two\", \"label\": \"0\"}\n";
    let lines = b"{\"id\": \"b\", \"logits\": [1, 0], \"epoch\": 1}\n{\"id\": \"a\", \"logits\": [1, 0], \"epoch\": 1}\n{\"id\": \"z\", \"logits\": [1, 0], \"epoch\": 1}\n";
    let source = open(&[("p.jsonl", lines), ("m.jsonl", manifest)], json!({ "manifest": "m.jsonl" })).unwrap();
    let ids: Vec<&str> = source.entries().iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["b", "a"]);
    assert_eq!(source.fetch(1).unwrap().text.unwrap().get().content, "one");
    assert_eq!((&source.entries()[1].fields["speaker"], source.entries()[1].present), (&json!("s"), ModalitySet::one(Modality::Text)));
    assert_eq!(source.history().unwrap().rows[&SampleId::from("a")].right, 0);
    assert!(source.problems()[0].to_string().contains("the manifest has no sample of this id"));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = |line: &str| {
        let lines = format!("{{\"id\": \"ok\", \"label\": 0, \"logits\": [1, 2], \"image_logits\": [1, 2]}}\n{line}\n");
        let source = open(&[("p.jsonl", lines.as_bytes())], json!({})).unwrap();
        assert_eq!(source.problems()[0].place("line"), Some("2"));
        source.problems()[0].message().to_owned()
    };
    assert_eq!(told(r#"{"id": "b", "logits": [1]}"#), "1 numbers, one a class; 2 stand in the lines before");
    assert_eq!(told(r#"{"logits": [1, 2]}"#), "no `id`; predictions are joined by it");
    assert_eq!(told(r#"{"id": "b"}"#), "no `logits` and no `probabilities`");
    assert_eq!(
        told(r#"{"id": "b", "logits": [1, NaN]}"#),
        "NaN or Infinity, which JSON does not have; a prediction is made of finite numbers"
    );
    assert_eq!(
        told(r#"{"id": "b", "logits": [1, 1e60]}"#),
        "value 1 is 1000000000000000000000000000000000000000000000000000000000000; expected finite numbers"
    );
    assert_eq!(
        told(r#"{"id": "b", "probabilities": [1, 2]}"#),
        "expected probabilities that sum to 1, found a sum of 3.0000; raw scores are `logits`"
    );
    assert_eq!(told(r#"{"id": "b", "logits": [1, 2], "probabilities": [0.5, 0.5]}"#), "given twice, or as logits and as probabilities");
    assert_eq!(told(r#"{"id": "ok", "logits": [1, 2]}"#), "the id `ok` stands in lines 1 and 2; ids are unique within an epoch");
    assert_eq!(
        told(r#"{"id": "b", "logits": [1, 2], "image_embedding": [1]}"#),
        "`image_logits` is missing and line 1 has it; what one sample with image has, all of them have"
    );
    let labels = told(r#"{"id": "b", "label": "cat", "logits": [1, 2]}"#);
    assert_eq!(labels, "expected a whole number in 0..=1, found `cat`; for names list them in the order of the logits: `classes: [...]`");
    assert_eq!(told(r#"{"id": "b", "logits": "x"}"#), "expected a list of numbers, found \"x\"");
    assert_eq!(told("[1]"), "expected a JSON object such as {\"id\": \"a\", \"logits\": [...]}, found [1]");
    let config = json!({ "files": ["p.parquet"], "classes": ["a", "a"] });
    let problems = super::super::table().build(&json!({ "predictions": config })).err().unwrap();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems[0],
        "predictions.files[0]: expected a file of predictions (.jsonl, .csv, .tsv, .npy, or ids.txt), found `p.parquet`"
    );
    assert_eq!(problems[1], "predictions.classes[1]: expected a name of its own, found `a`");
    assert_eq!(open(&[("p.jsonl", b"")], json!({})).err().unwrap().message().split(';').next(), Some("no prediction"));
}

#[test]
fn arrays_that_do_not_go_together() {
    let two = npy::encode(&[0.0, 1.0]);
    let told = |files: &[(&str, &[u8])]| open(files, json!({})).err().unwrap().message().to_owned();
    assert_eq!(told(&[("labels.npy", &two)]), "no file of logits or probabilities among them");
    assert_eq!(told(&[("logits.npy", &two)]), "an array of shape [2]; expected (samples, columns), or (epochs, samples, classes)");
    assert!(told(&[("x.npy", &two)]).starts_with("its name does not say what it holds"));
}

#[test]
fn what_is_held_is_seen_at_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.jsonl", "{\"id\": 1, \"logits\": [1, 2], \"image_text_logits\": [1, 2], \"epoch\": 0, \"embedding\": [1]}\n");
    write("b.csv", "id,epoch,logits_0,logits_1,audio_embedding_0\n");
    let held = |file: &str| peek(&[file.to_owned()], folder.path()).unwrap();
    assert_eq!(held("a.jsonl"), Held { subsets: true, fused: true, embeddings: ModalitySet::EMPTY, epochs: true, members: false });
    assert_eq!(
        held("b.csv"),
        Held { subsets: false, fused: false, embeddings: ModalitySet::one(Modality::Audio), epochs: true, members: false }
    );
}

/// What member `k` says of a sample.
fn of_member(source: &dyn Source, k: usize, id: &str) -> Option<Vec<f32>> {
    let id = SampleId::from(id);
    let (which, outputs) = source.recorded().unwrap().answer_of_member(std::iter::once((0, &id)), k);
    (!which.is_empty()).then_some(outputs.logits.values)
}

#[test]
fn members_stand_in_lines_in_lists_and_in_arrays() {
    // A line a member: the answer is the mean probability, (0.5, 0.5) and (0.75, 0.25).
    let lines = b"{\"id\": \"a\", \"label\": 0, \"member\": \"x\", \"probabilities\": [0.5, 0.5]}\n{\"id\": \"b\", \"member\": \"x\", \"probabilities\": [1, 0]}\n\
{\"id\": \"a\", \"member\": 2, \"probabilities\": [0.75, 0.25]}\n{\"id\": \"a\", \"speaker\": \"s\", \"image_embedding\": [1], \"logits\": [3, 4]}\n";
    let source = open(&[("p.jsonl", lines)], json!({})).unwrap();
    assert_eq!(source.problems().iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(source.recorded().unwrap().members(), 2);
    assert_eq!((of_member(source.as_ref(), 1, "a"), of_member(source.as_ref(), 1, "b")), (Some(vec![0.75f32.ln(), 0.25f32.ln()]), None));
    // A line without a member is the sample's own answer, wherever it stands.
    assert_eq!(logits(source.as_ref(), "a", None), Some(vec![3.0, 4.0]));
    assert!(logits(source.as_ref(), "b", None).unwrap()[0].abs() < 1e-6);
    assert_eq!((&source.entries()[0].fields["speaker"], source.entries().len(), source.entries()[0].line), (&json!("s"), 2, 4));
    let csv = b"id,label,member,probabilities_0,probabilities_1\na,0,x,0.5,0.5\na,0,y,0.75,0.25\n";
    let of_csv = open(&[("p.csv", csv)], json!({})).unwrap();
    let mean = logits(of_csv.as_ref(), "a", None).unwrap();
    assert!((mean[0] - 0.625f32.ln()).abs() < 1e-6 && (mean[1] - 0.375f32.ln()).abs() < 1e-6, "{mean:?}");
    // All at once, in a list and in an array of the axes members, samples, classes, where a row of NaN says that a member is silent.
    let list = b"{\"id\": \"a\", \"member_probabilities\": [[0.5, 0.5], [0.75, 0.25]]}\n";
    let of_list = open(&[("p.jsonl", list)], json!({ "classes": ["dog", "cat"] })).unwrap();
    assert_eq!(of_member(of_list.as_ref(), 1, "a"), Some(vec![0.25f32.ln(), 0.75f32.ln()]));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2), }\n";
    bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
    bytes.extend_from_slice(head.as_bytes());
    [1.0f32, 2.0, 5.0, 6.0, 3.0, 4.0, f32::NAN, f32::NAN].iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    let arrays = open(&[("train_member_logits.npy", &bytes), ("ids.txt", b"a\nb\n")], json!({})).unwrap();
    assert_eq!((of_member(arrays.as_ref(), 1, "a"), of_member(arrays.as_ref(), 1, "b")), (Some(vec![3.0, 4.0]), None));
    assert!(arrays.history().is_none());
}

#[test]
fn what_is_wrong_with_members_is_told() {
    let told = |line: &str| {
        let lines = format!("{{\"id\": \"a\", \"member\": 0, \"logits\": [1, 2]}}\n{line}\n");
        let source = open(&[("p.jsonl", lines.as_bytes())], json!({})).unwrap();
        assert_eq!(source.problems()[0].place("line"), Some("2"));
        source.problems()[0].to_string()
    };
    assert!(
        told(r#"{"id": "a", "member": 0, "logits": [1, 2]}"#)
            .ends_with("the member `0` of `a` was given before; a member predicts a sample once")
    );
    assert!(told(r#"{"id": "a", "member": 1, "logits": [1, 2, 3]}"#).ends_with("3 numbers, one a class; 2 stand in the lines before"));
    assert!(told(r#"{"id": "a", "member": 1, "epoch": 0, "logits": [1, 2]}"#).contains("a line has an `epoch` or a `member`"));
    assert!(told(r#"{"id": "a", "member": 1}"#).ends_with("no `logits` and no `probabilities`"));
    assert!(told(r#"{"id": "a", "member": [1], "logits": [1, 2]}"#).contains("expected a name or a whole number, found"));
    assert!(
        told(r#"{"id": "a", "member": 1, "logits": [1, 2], "image_logits": [1, 2]}"#).contains("it belongs to a line without `member`")
    );
    assert!(told(r#"{"id": "b", "member_logits": [1, 2]}"#).contains("expected a list of numbers"));
}

#[test]
fn a_teacher_of_its_own() {
    let own = b"{\"id\": \"a\", \"label\": 0, \"logits\": [2, 0], \"image_logits\": [1, 0]}\n{\"id\": \"b\", \"label\": 1, \"logits\": [0, 2], \"image_logits\": [1, 0]}\n";
    let teacher = b"{\"id\": \"b\", \"logits\": [1, 0]}\n{\"id\": \"z\", \"logits\": [5, 0]}\n";
    let config = |teacher: &str| json!({ "files": ["p.jsonl"], "teacher": [teacher] });
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 4] = [
        ("p.jsonl", own),
        ("t.jsonl", teacher),
        ("strange.jsonl", b"{\"id\": \"z\", \"logits\": [5, 0]}\n"),
        ("wide.jsonl", b"{\"id\": \"a\", \"logits\": [5, 0, 1]}\n"),
    ];
    files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    let reader_of = |teacher| reader(config(teacher));
    assert!(reader_of("t.jsonl").out_of_fold());
    let source = reader_of("t.jsonl").open(folder.path()).unwrap();
    let (image, b) = (ModalitySet::one(Modality::Image), SampleId::from("b"));
    let teacher = source.teacher().unwrap();
    // The whole of the sample is its image, as the subject's files say.
    assert_eq!((teacher.logits(&b, None), teacher.logits(&b, Some(image))), (Some(&[1.0, 0.0][..]), Some(&[1.0, 0.0][..])));
    assert_eq!((teacher.logits(&SampleId::from("a"), None), source.recorded().unwrap().logits(&b, None)), (None, Some(&[0.0, 2.0][..])));
    let told = |name| reader_of(name).open(folder.path()).err().unwrap().to_string();
    assert!(told("strange.jsonl").contains("no sample of the teacher's is one of the others (`z` in "), "{}", told("strange.jsonl"));
    assert!(told("wide.jsonl").contains("the teacher has 3 classes and "), "{}", told("wide.jsonl"));
    let problems = super::super::table()
        .build(&json!({ "predictions": { "files": ["p.jsonl"], "teacher": ["t.npz"], "out_of_fold": true } }))
        .err()
        .unwrap();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with("predictions.teacher[0]: expected a file of predictions"), "{problems:?}");
    assert!(problems[1].starts_with("predictions.out_of_fold: says that `files` never saw the samples"), "{problems:?}");
}

#[test]
fn probe_runs_come_along() {
    let main = b"{\"id\": \"a\", \"label\": 0, \"logits\": [1, 0]}\n{\"id\": \"b\", \"label\": 1, \"logits\": [1, 0]}\n{\"id\": \"t\", \"label\": 1, \"logits\": [1, 0]}\n";
    // Two epochs. The label of `a` is that of the predictions; `t` is a threshold sample.
    let line = |epoch: usize, id: &str, label: &str, logits: &str| {
        format!("{{\"epoch\": {epoch}, \"id\": \"{id}\"{label}, \"logits\": {logits}}}\n")
    };
    let probe = [
        line(0, "a", "", "[3, 0, 0]"),
        line(0, "b", ", \"label\": 1", "[0, 1, 0]"),
        line(0, "t", ", \"label\": 2", "[0, 2, 1]"),
        line(1, "a", "", "[5, 0, 1]"),
        line(1, "b", ", \"label\": 1", "[4, 1, 0]"),
        line(1, "t", ", \"label\": 2", "[0, 2, 3]"),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.jsonl"), main).unwrap();
    fs::write(folder.path().join("probe.jsonl"), &probe).unwrap();
    let own = reader(json!({ "files": ["p.jsonl"], "probes": ["probe.jsonl"] }));
    assert!(own.probes() && !reader(json!({ "files": ["p.jsonl"] })).probes());
    let source = own.open(folder.path()).unwrap();
    assert!(source.problems().is_empty());
    let history = source.history().unwrap();
    let of = |id: &str| history.probe.as_ref().unwrap().of(&SampleId::from(id), 0.99);
    // Margins 3 and 4, 1 and -3; of the threshold sample -1 and 1.
    let (a, b) = (of("a").unwrap(), of("b").unwrap());
    assert_eq!((a.aum, a.alpha, a.share), (3.5, 0.0, 0.0));
    assert_eq!((b.aum, b.alpha, b.share), (-1.0, 0.0, 1.0));
    assert!(of("t").is_none() && history.rows.is_empty());

    let told = |text: &str, more: serde_json::Value| {
        fs::write(folder.path().join("probe.jsonl"), text).unwrap();
        let mut config = json!({ "files": ["p.jsonl"], "probes": ["probe.jsonl"] });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        reader(config).open(folder.path()).err().unwrap().to_string()
    };
    assert!(told(&line(0, "a", "", "[3, 0]"), json!({})).contains("a class more than the data, 3; found 2"));
    assert!(told(&line(0, "a", "", "[3, 0, 1]"), json!({})).contains("threshold samples (label 2)"));
    let refused = super::super::table().build(&json!({ "predictions": { "files": ["p.jsonl"], "probes": ["probe_logits.npy"] } }));
    assert!(refused.err().unwrap()[0].to_string().contains("probes[0]"));
    // Where classes have names the threshold class has one too.
    fs::write(
        folder.path().join("p.jsonl"),
        main.to_vec()
            .iter()
            .map(|b| *b as char)
            .collect::<String>()
            .replace(": 0, \"l", ": \"x\", \"l")
            .replace(": 1, \"l", ": \"b\", \"l"),
    )
    .unwrap();
    let named = probe.replace("\"label\": 1", "\"label\": \"b\"").replace("\"label\": 2", "\"label\": \"~threshold\"");
    fs::write(folder.path().join("probe.jsonl"), named).unwrap();
    let source = reader(json!({ "files": ["p.jsonl"], "classes": ["x", "b"], "probes": ["probe.jsonl"] })).open(folder.path()).unwrap();
    let again = source.history().unwrap().probe.as_ref().unwrap().of(&SampleId::from("b"), 0.99).unwrap();
    assert_eq!((again.aum, again.alpha), (-1.0, 0.0));
}
