//! What a run writes is read again.

use hardmine::{
    codec,
    context::FeedContext,
    feed::{self, Feeder},
    random::SeedTree,
    read::{self, LabelIndex, Reader},
    sample::{
        Annotations, AudioBuffer, BoundingBox, Candidate, Classes, Digest, Event, ImageBuffer, Keypoint, Label, Lineage, Mask, Media,
        Modality, ParentRef, PerModality, Sample, Text, TextSpan, Verdict, WordTime,
    },
};
use serde_json::json;
use std::collections::BTreeMap;

#[allow(clippy::unwrap_used, reason = "constants of a test")]
fn child(id: &str, label: Label) -> Sample {
    let mut sample = Sample::new(id);
    sample.image = Some(Media::new(ImageBuffer::new(4, 3, 1, (0..12).collect()).unwrap()));
    sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, (0..800).map(|i| (i as f32 * 0.1).sin()).collect()).unwrap()));
    let spans = vec![TextSpan { start: 0, end: 6, tag: "protected".into() }];
    sample.text = Some(Media::new(Text { content: "zwölf \"left\"\n".into(), spans }));
    sample.label = Some(label);
    sample.annotations = Annotations {
        boxes: vec![BoundingBox { x: 0.1, y: 0.0, width: 2.0, height: 2.5, label: "five".into() }],
        keypoints: vec![Keypoint { x: 0.3, y: 2.0, label: "left_end".into() }],
        masks: vec![Mask { outline: vec![[0.1, 0.0], [2.1, 0.7], [0.5, 2.5]], label: "five".into() }],
        events: vec![Event { start_s: 0.0, end_s: 0.1, label: "voice".into() }],
        words: vec![WordTime { start: 0, end: 6, start_s: 0.0, end_s: 0.05 }],
    }
    .into();
    sample.fields = json!({ "speaker": "x", "parent": "grandparent" }).as_object().unwrap().clone().into();
    codec::settle(sample).unwrap()
}

fn lineage(id: &str) -> Lineage {
    Lineage {
        child: id.into(),
        parents: vec![ParentRef { id: "p".into(), digests: PerModality::default() }],
        round: 2,
        stage: "pgd".into(),
        operator: "pgd".into(),
        version: 1,
        config: Digest::of(b""),
        seed: SeedTree::new(1).path().clone(),
        parameters: json!({ "steps": 3 }),
        model: None,
        teacher: None,
        scores_before: BTreeMap::new(),
        scores_after: BTreeMap::new(),
        claims: Vec::new(),
        verdicts: Vec::new(),
        outputs: PerModality::default(),
    }
}

#[test]
fn what_is_fed_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let written = [
        child("p~pgd.r2.0", Label::Class(1)),
        child("text only", Label::Soft([1.0 / 3.0; 3].into())).only([Modality::Text].into_iter().collect()),
        child("no text", Label::Class(0)).only([Modality::Image, Modality::Audio].into_iter().collect()),
    ];
    for names in [["3", "5", "7"], ["cat", "dog", "ox"]] {
        let classes = Classes::from_names(names.map(String::from));
        let context = FeedContext { folder: folder.path(), classes: &classes };
        let mut sink = feed::Manifest { path: "hard".into() }.open(&context).unwrap();
        for sample in &written {
            let candidate = Candidate { sample: sample.clone(), lineage: lineage(sample.id.as_str()), attempt: 0 };
            sink.take(&candidate.accept(vec![Verdict::pass("v", "fine", None, None)]).unwrap()).unwrap();
        }
        assert_eq!(sink.finish().unwrap().taken, 3);
        let source = read::Manifest::new("hard/manifest.jsonl").open(folder.path()).unwrap();
        assert!(source.problems().is_empty(), "{:?}", source.problems());
        assert_eq!(source.entries().len(), 3);
        let labels = LabelIndex::with(classes);
        for (i, written) in written.iter().enumerate() {
            let read = source.fetch(i).unwrap();
            assert_eq!((&read.id, read.digests()), (&written.id, written.digests()));
            assert_eq!((&read.fields["speaker"], &read.fields["parent"], &read.fields["round"]), (&json!("x"), &json!("p"), &json!(2)));
            assert_eq!(read.text.map(|text| text.get().clone()), written.text.as_ref().map(|text| text.get().clone()));
            let label = labels.resolve(&source.entries()[i]).unwrap().unwrap();
            assert!((0..3).all(|class| (label.share(class) - written.label.as_ref().unwrap().share(class)).abs() < 1e-6), "{label:?}");
        }
        assert_eq!(source.fetch(0).unwrap().annotations, written[0].annotations);
        assert_eq!(source.entries()[0].media, source.entries()[2].media);
    }
}
