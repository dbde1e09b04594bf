use super::*;
use crate::{
    augment::audio as sound,
    context::{Fetch, StageInfo},
    model::{
        ModelSet,
        linear::{LinearModel, RawAudio, RawImage},
        measure,
    },
    sample::{
        Classes, Diagnosis, DifficultyBand, Digest, ImageBuffer, Label, Media, Modality, SampleId, ScoreTable, Text, TextSpan, WordTime,
    },
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::{Arc, OnceLock};

const SPLITS: [&str; 3] = ["train", "val", "test"];

/// All scenes of `assets/scenes` as samples; the expectations stay among their fields.
fn scenes() -> &'static [Sample] {
    static SCENES: OnceLock<Vec<Sample>> = OnceLock::new();
    SCENES.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/scenes");
        let lines = SPLITS.map(|split| std::fs::read_to_string(folder.join(format!("{split}.jsonl"))).unwrap()).concat();
        let read = |name: &Value| std::fs::read(folder.join(name.as_str().unwrap())).unwrap();
        let sample = |line: &str| {
            let Value::Object(mut fields) = serde_json::from_str(line).unwrap() else { panic!("a line is an object") };
            let id = fields.remove("id").unwrap();
            let mut sample = Sample::new(id.as_str().unwrap());
            sample.image = fields.remove("image").map(|name| codec::image::decode(&read(&name)).unwrap());
            sample.audio = fields.remove("audio").map(|name| codec::audio::decode(&read(&name)).unwrap());
            sample.text = fields.remove("text").map(|text| codec::text::media(Text::new(text.as_str().unwrap())));
            let annotations =
                json!({ "boxes": fields.remove("boxes").unwrap_or(json!([])), "events": fields.remove("events").unwrap_or(json!([])) });
            sample.annotations = Arc::new(serde_json::from_value(annotations).unwrap());
            sample.label = classes().index(fields["label"].as_str().unwrap()).map(Label::Class);
            sample.fields = Arc::new(fields);
            sample
        };
        lines.lines().map(sample).collect()
    })
}

fn classes() -> &'static Classes {
    static CLASSES: OnceLock<Classes> = OnceLock::new();
    CLASSES.get_or_init(|| Classes::from_names(["bell", "bird", "car", "cat", "dog", "train"].map(String::from)))
}

fn content(sample: &Sample) -> &str {
    &sample.text.as_ref().unwrap().get().content
}

fn field<'a>(sample: &'a Sample, name: &str) -> Option<&'a str> {
    sample.fields.get(name).and_then(Value::as_str)
}

fn plan(rule: &Rule, sample: &Sample, seed: u64) -> Plan {
    let class_name = sample.label.as_ref().map(|label| classes().name(label.class()));
    rule.plan(sample, Circumstance { class_name }, 1.0, &SeedTree::new(seed).sample(&sample.id))
}

fn apply(drawn: &Drawn, severity: f64, sample: &Sample) -> Sample {
    let mut scene = Scene::of(sample);
    drawn.apply(severity, &mut scene).unwrap();
    scene.into_sample(sample)
}

fn same(a: &Sample, b: &Sample) -> bool {
    a.image.as_ref().map(Media::get) == b.image.as_ref().map(Media::get)
        && a.audio.as_ref().map(Media::get) == b.audio.as_ref().map(Media::get)
        && a.text.as_ref().map(Media::get) == b.text.as_ref().map(Media::get)
        && a.annotations == b.annotations
}

fn sided(words: &str) -> Sample {
    let mut sample = Sample::new("made");
    sample.image = Some(Media::new(ImageBuffer::new(8, 6, 3, (0..144).collect()).unwrap()));
    sample.text = Some(Media::new(Text::new(words)));
    sample
}

#[test]
fn every_scene_is_mirrored_as_its_field_says() {
    let rule = Rule::Flip(Flip::default());
    assert!(scenes().len() >= 60);
    for sample in scenes() {
        let (id, expected) = (&sample.id, field(sample, "flip").unwrap());
        let found = plan(&rule, sample, 0);
        let Plan::Fires(drawn) = &found else {
            assert!(expected == "refuse" && matches!(found, Plan::Refused(_)), "{id}: {found:?} for `{}`", content(sample));
            continue;
        };
        assert_ne!(expected, "refuse", "{id}: {}", content(sample));
        let child = apply(drawn, 1.0, sample);
        assert_eq!(content(&child), field(sample, "mirrored").unwrap(), "{id}");
        assert_eq!(content(&child) != content(sample), expected == "swap", "{id}");
        assert!(same(&apply(drawn, 1.0, &child), sample), "{id}: twice is the identity");
    }
}

#[test]
fn every_scene_follows_its_level_as_its_fields_say() {
    for (name, direction) in [("down", Direction::Down), ("up", Direction::Up)] {
        let rule = Rule::Level(Level { direction, ..Level::default() });
        for sample in scenes() {
            let expected = field(sample, name).unwrap();
            match plan(&rule, sample, 1) {
                Plan::Fires(drawn) => {
                    assert_eq!(content(&apply(&drawn, 1.0, sample)), expected, "{} {name}: {}", sample.id, content(sample))
                }
                Plan::Refused(why) => assert_eq!((expected, why.as_str()), ("refuse", "unsure_word"), "{}: {}", sample.id, content(sample)),
                Plan::NoOp(why) => panic!("{}: {why}", sample.id),
            }
        }
    }
}

#[test]
fn one_draw_changes_every_linked_modality() {
    let sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL && content(s).contains("edge on a bright day")).unwrap();
    let rules = vec![Rule::Flip(Flip::default()), Rule::Level(Level { direction: Direction::Down, ..Level::default() })];
    let drawn = Synchronized { rules, ..Synchronized::default() }.draw(sample, Circumstance::default(), &SeedTree::new(5));
    assert_eq!(drawn.rules.len(), 2, "{:?}", drawn.skipped);
    let child = drawn.apply(sample).unwrap().unwrap();
    // Words: side, loudness and light.
    let mirrored = field(sample, "mirrored").unwrap().replace("loud", "quiet").replace("bright", "dark");
    assert_eq!(content(&child), mirrored);
    // Pixels: mirrored and darker.
    let (old, new) = (sample.image.as_ref().unwrap().get(), child.image.as_ref().unwrap().get());
    let last = old.width() - 1;
    for y in 0..old.height() {
        for x in 0..old.width() {
            assert!(new.pixel(last - x, y).iter().zip(old.pixel(x, y)).all(|(n, o)| n <= o));
        }
    }
    assert!(new.pixel(last, 0)[2] < old.pixel(0, 0)[2] / 2 + 20);
    // Boxes.
    let (old, new) = (&sample.annotations.boxes[0], &child.annotations.boxes[0]);
    assert_eq!((new.x, new.y, new.width), (80.0 - old.x - old.width, old.y, old.width));
    // Stereo: the loud side is the other one, and quieter.
    let side = |s: &Sample, c: usize| {
        sound::power(&s.audio.as_ref().unwrap().get().samples().iter().skip(c).step_by(2).copied().collect::<Vec<_>>())
    };
    let (before, after) = ((side(sample, 0), side(sample, 1)), (side(&child, 0), side(&child, 1)));
    assert_eq!(before.0 > before.1, after.1 > after.0);
    assert!(after.0.max(after.1) < before.0.max(before.1) / 10.0);
}

#[test]
fn a_mirror_refuses_what_it_would_make_wrong() {
    let rule = Rule::Flip(Flip::default());
    let refused = |sample: &Sample, class_name| rule.plan(sample, Circumstance { class_name }, 1.0, &SeedTree::new(0));
    let dog = sided("a dog on the left");
    assert!(matches!(refused(&dog, Some("dog")), Plan::Fires(_)));
    for class in ["7", "b", "seven", "12"] {
        assert_eq!(refused(&dog, Some(class)), Plan::Refused("readable_text".into()), "{class}");
    }
    assert_eq!(refused(&sided("a photo of the number 0"), Some("dog")), Plan::Refused("readable_text".into()));
    assert_eq!(refused(&sided("a dog"), Some("dog")), Plan::NoOp("nothing_speaks_of_sides".into()));
    let always = Rule::Flip(Flip { when: When::Always, ..Flip::default() });
    assert!(matches!(always.plan(&sided("a dog"), Circumstance::default(), 1.0, &SeedTree::new(0)), Plan::Fires(_)));
    let allowed = Rule::Flip(Flip { readable_text: ReadableText::Allow, ..Flip::default() });
    assert!(matches!(allowed.plan(&dog, Circumstance { class_name: Some("7") }, 1.0, &SeedTree::new(0)), Plan::Fires(_)));
    let mut protected = dog.clone();
    let spans = vec![TextSpan { start: 13, end: 17, tag: "protected".into() }];
    protected.text = Some(Media::new(Text { content: "a dog on the left".into(), spans }));
    assert_eq!(refused(&protected, None), Plan::Refused("protected_word".into()));
    let text_only = dog.only(ModalitySet::one(Modality::Text));
    assert_eq!(refused(&text_only, None), Plan::NoOp("nothing_to_mirror".into()));
}

#[test]
fn a_cutout_lies_at_the_same_place_everywhere() {
    let mut sample = sided("one two three four five six seven eight nine ten");
    sample.image = Some(Media::new(ImageBuffer::new(10, 1, 1, (1..=10).map(|v| v * 20).collect()).unwrap()));
    sample.audio = Some(Media::new(crate::sample::AudioBuffer::new(100, 1, vec![0.5; 100]).unwrap()));
    let draw = Drawn::Cutout(CutoutDraw {
        x: 0.5,
        y: 0.5,
        share: 0.4,
        fill: Default::default(),
        words: Words::Mask,
        mask: "_".into(),
        cover: 1.0,
    });
    let child = apply(&draw, 0.5, &sample);
    // 0.2 of everything about the middle: 0.4..0.6; one pixel row of height 1 is covered from 0.4 to 0.6 rounded: row 0..1.
    assert_eq!(content(&child), "one two three four _ _ seven eight nine ten");
    let silent: Vec<usize> =
        child.audio.as_ref().unwrap().get().samples().iter().enumerate().filter(|(_, s)| **s == 0.0).map(|(i, _)| i).collect();
    assert_eq!(silent, (40..60).collect::<Vec<_>>());
    let tall = ImageBuffer::new(10, 10, 1, [1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10].repeat(10)).unwrap();
    sample.image = Some(Media::new(tall.clone()));
    let child = apply(&draw, 0.5, &sample);
    let changed = |x: usize, y: usize| child.image.as_ref().unwrap().get().pixel(x, y) != tall.pixel(x, y);
    assert!((0..10).all(|y| (0..10).all(|x| !changed(x, y) || ((4..6).contains(&x) && (4..6).contains(&y)))) && changed(4, 4));
    // With word times, the words under the gap go, wherever they stand in the caption.
    let words = vec![WordTime { start: 0, end: 3, start_s: 0.45, end_s: 0.55 }, WordTime { start: 4, end: 7, start_s: 0.8, end_s: 0.9 }];
    sample.annotations = Arc::new(crate::sample::Annotations { words, ..Default::default() });
    let child = apply(&draw, 0.5, &sample);
    assert!(content(&child).starts_with("_ two three four five"), "{}", content(&child));
    assert_eq!(child.annotations.words[1].start, 2);
}

#[test]
fn a_crop_cuts_sound_picture_events_and_spoken_words_alike() {
    let mut sample = sided("bark bark meow");
    sample.audio = Some(Media::new(crate::sample::AudioBuffer::new(1000, 1, (0..1000).map(|i| i as f32 / 1000.0).collect()).unwrap()));
    let time = |start, end, from: f64| WordTime { start, end, start_s: from, end_s: from + 0.1 };
    sample.annotations = Arc::new(crate::sample::Annotations {
        words: vec![time(0, 4, 0.05), time(5, 9, 0.4), time(10, 14, 0.6)],
        boxes: vec![crate::sample::BoundingBox { x: 4.0, y: 2.0, width: 2.0, height: 2.0, label: "dog".into() }],
        events: vec![crate::sample::Event { start_s: 0.4, end_s: 0.5, label: "bark".into() }],
    });
    // Window 0.25..0.75 of the extent at full severity.
    let draw = Drawn::Crop(CropDraw { share: 0.5, x: 0.5, y: 0.5, keep: 0.9 });
    let child = apply(&draw, 1.0, &sample);
    assert_eq!(content(&child), "bark meow");
    let audio = child.audio.as_ref().unwrap().get();
    assert_eq!((audio.frames(), audio.samples()[0]), (500, 0.25));
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    close(child.annotations.events[0].start_s, 0.15);
    close(child.annotations.words[1].start_s, 0.35);
    let word = &child.annotations.words[1];
    assert_eq!((child.annotations.words.len(), &content(&child)[word.start..word.end]), (2, "meow"));
    let place = &child.annotations.boxes[0];
    assert_eq!((place.x, place.width, child.image.as_ref().unwrap().get().width()), (4.0, 4.0, 8));
    let mut lost = Scene::of(&sample);
    let early = Drawn::Crop(CropDraw { share: 0.5, x: 0.0, y: 0.0, keep: 0.9 });
    assert_eq!(early.apply(1.0, &mut lost), Err("object_lost".into()));
}

#[test]
fn noise_makes_a_quiet_place_noisy_and_keeps_a_quiet_bell() {
    let mut sample = scene_with_sound("a quiet street and a quiet bell");
    let draw = match plan(&Rule::Noise(Noise::default()), &sample, 3) {
        Plan::Fires(draw) => draw,
        other => panic!("{other:?}"),
    };
    assert_eq!(content(&apply(&draw, 1.0, &sample)), "a noisy street and a quiet bell");
    assert_eq!(content(&apply(&draw, 0.1, &sample)), "a quiet street and a quiet bell");
    sample.text = Some(Media::new(Text::new("silence in the hall")));
    assert_eq!(plan(&Rule::Noise(Noise::default()), &sample, 3), Plan::Refused("unsure_word".into()));
}

fn scene_with_sound(words: &str) -> Sample {
    let mut sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL).unwrap().clone();
    sample.text = Some(Media::new(Text::new(words)));
    sample
}

struct NoFetch;
impl Fetch for NoFetch {
    fn fetch(&self, id: &SampleId) -> Result<Sample> {
        Err(Error::data(format!("nobody asked for {id}")))
    }
}

fn parents(samples: &[Sample]) -> Vec<Parent> {
    let one = |(row, sample): (usize, &Sample)| Parent {
        sample: sample.clone(),
        row,
        diagnosis: Diagnosis::clear(),
        weight: 1.0,
        scores: BTreeMap::new(),
    };
    samples.iter().enumerate().map(one).collect()
}

/// A linear model whose loss for class 0 rises as the picture gets darker.
fn model() -> ModelSet {
    let values = 80 * 56 * 3;
    let weights: Vec<f32> = (0..6 * values).map(|i| if i < values { 12.0 / values as f32 } else { 0.0 }).collect();
    let image = RawImage { width: 80, height: 56, channels: 3, weights };
    let none: Option<RawAudio> = None;
    let subject = LinearModel::from_weights(classes().clone(), vec![0.0; 6], Some(image), none).unwrap();
    ModelSet { subject: Arc::new(subject), teachers: None }
}

fn generate(operator: &Synchronized, samples: &[Sample], band: Option<DifficultyBand>) -> Generated {
    let (models, table) = (model(), ScoreTable::default());
    let stage = StageInfo { id: "synchronized".into(), operator: "synchronized", version: 1, config: Digest::of(b"") };
    let context = GenerateContext {
        models: &models,
        seeds: SeedTree::new(7).round(1).stage("synchronized"),
        round: 1,
        stage: &stage,
        band,
        table: &table,
        diagnoses: &[],
        index: None,
        fetch: &NoFetch,
        classes: classes(),
    };
    operator.generate(&parents(samples), &context).unwrap()
}

#[test]
fn replay_gives_the_same_bytes_without_a_model() {
    let operator = Synchronized { variants: 3, ..Synchronized::default() };
    let made = generate(&operator, &scenes()[..24], None);
    assert!(made.candidates.len() >= 60, "{}", made.candidates.len());
    for candidate in &made.candidates {
        let written = serde_json::to_string(&candidate.lineage.parameters).unwrap();
        let parent = scenes().iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
        let context = ReplayContext { parents: std::slice::from_ref(parent), models: None, seeds: SeedTree::at(&candidate.lineage.seed) };
        let again = operator.replay(&serde_json::from_str(&written).unwrap(), &context).unwrap();
        let again = codec::settle(again).unwrap();
        assert_eq!(again.digests(), candidate.sample.digests(), "{}", candidate.sample.id);
        assert_eq!(again.annotations, candidate.sample.annotations);
        assert_ne!(again.digests(), parent.digests());
    }
    let broken = ReplayContext { parents: &scenes()[..1], models: None, seeds: SeedTree::new(0) };
    assert!(operator.replay(&json!({ "severity": 1.0 }), &broken).is_err());
}

#[test]
fn neither_order_nor_number_of_the_parents_changes_a_child() {
    let band = Some(DifficultyBand { low: 0.3, high: 1.0 });
    for band in [None, band] {
        let operator = Synchronized::default();
        let all = generate(&operator, &scenes()[..10], band);
        let turned: Vec<Sample> = scenes()[..10].iter().rev().cloned().collect();
        let mut back = generate(&operator, &turned, band);
        back.candidates.sort_by_key(|candidate| all.candidates.iter().position(|own| own.sample.id == candidate.sample.id));
        let alone: Vec<Candidate> =
            scenes()[..10].iter().flat_map(|s| generate(&operator, std::slice::from_ref(s), band).candidates).collect();
        for other in [&back.candidates, &alone] {
            assert_eq!(other.len(), all.candidates.len());
            for (a, b) in all.candidates.iter().zip(other) {
                assert_eq!(
                    (&a.sample.id, a.sample.digests(), &a.lineage.parameters),
                    (&b.sample.id, b.sample.digests(), &b.lineage.parameters)
                );
            }
        }
    }
}

#[test]
fn children_land_in_the_band_or_it_is_said_what_was_met() {
    let mut samples: Vec<Sample> = scenes().iter().filter(|s| s.present() == ModalitySet::ALL).take(12).cloned().collect();
    samples.iter_mut().for_each(|s| s.label = Some(Label::Class(0)));
    let rules = vec![Rule::Level(Level { direction: Direction::Down, stops: 4.0, ..Level::default() })];
    let operator = Synchronized { rules, variants: 2, severity_range: Range::new(0.0, 1.0).unwrap(), ..Synchronized::default() };
    let models = model();
    let loss = |sample: &Sample| {
        let outputs = models.subject.forward(&[crate::model::Input::of(sample)]).unwrap();
        measure::cross_entropy(outputs.logits.row(0), &Target::Class(0))
    };
    let band = DifficultyBand { low: 0.35, high: 0.55 };
    let made = generate(&operator, &samples, Some(band));
    let fires = |s: &&Sample| matches!(plan(&operator.rules[0], s, 0), Plan::Fires(_));
    assert!(made.candidates.len() >= samples.iter().filter(fires).count(), "{:?}", made.outcomes);
    for candidate in &made.candidates {
        assert!(band.holds(loss(&candidate.sample)), "{}", loss(&candidate.sample));
    }
    let nowhere = generate(&operator, &samples, Some(DifficultyBand { low: 8.0, high: 9.0 }));
    assert!(nowhere.candidates.is_empty());
    let not_reached = |(_, outcome): &(SampleId, Outcome)| matches!(outcome, Outcome::NotReached { least, greatest } if least <= greatest && *greatest < 8.0);
    assert!(nowhere.outcomes.iter().filter(|o| not_reached(o)).count() >= 10, "{:?}", nowhere.outcomes);
    samples[0].label = None;
    let unlabelled = generate(&operator, &samples[..1], Some(band));
    assert_eq!(unlabelled.outcomes, [(samples[0].id.clone(), Outcome::Refused("no_label".into()))]);
}

#[test]
fn digits_are_never_mirrored_and_bare_samples_are_no_op() {
    let mut sample = Sample::new("bare");
    let only_flip = Synchronized { rules: vec![Rule::Flip(Flip::default())], ..Synchronized::default() };
    assert_eq!(generate(&only_flip, &[sample.clone()], None).outcomes[0].1, Outcome::NoOp);
    sample.text = Some(Media::new(Text::new("a dog")));
    let made = generate(&Synchronized::default(), &[sample], None);
    assert!(made.candidates.iter().all(|c| c.sample.present() == ModalitySet::one(Modality::Text)));
    let read = sided("the digit on the left");
    assert_eq!(generate(&only_flip, &[read], None).outcomes[0].1, Outcome::Refused("readable_text".into()));
}

#[test]
fn wrong_configs_are_told_with_their_paths() {
    let table = crate::generate::table();
    let problems = |value: Value| {
        let found = table.build(&json!({ "synchronized": value })).err().unwrap_or_default();
        found.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>()
    };
    assert!(
        problems(json!({})).is_empty() && problems(json!({ "preset": "night", "rules": [{ "flip": { "when": "always" } }] })).is_empty()
    );
    let found = problems(
        json!({ "variants": 0, "severity_range": [0.5, 1.5], "rules": [{ "crop": { "share": 0.95 } }, { "noise": { "snr_db": [-40, 10], "colours": [] } }, { "crop": {} }] }),
    );
    assert_eq!(
        found,
        [
            "synchronized.variants: expected a number in 1..=64, found 0",
            "synchronized.severity_range: expected severities within 0..=1, the greatest above 0, found [0.5, 1.5]",
            "synchronized.rules[0].crop.share: expected a share above 0 and at most 0.9, found 0.95",
            "synchronized.rules[1].noise.snr_db: expected decibels in -30..=60, found [-40, 10]",
            "synchronized.rules[1].noise.colours: expected at least one of white, pink, brown",
            "synchronized.rules[2]: the rule `crop` stands here twice; write it once",
        ]
    );
    assert!(problems(json!({ "preset": "mlid" }))[0].starts_with("synchronized.preset"));
}

#[test]
fn a_written_rule_takes_the_place_of_the_presets() {
    let names = |operator: Synchronized| operator.all_rules().iter().map(Rule::name).collect::<Vec<_>>();
    assert_eq!(names(Synchronized::default()), ["flip", "shift", "crop", "cutout", "level", "noise"]);
    let flip = Rule::Flip(Flip::default());
    assert_eq!(names(Synchronized { rules: vec![flip.clone()], ..Synchronized::default() }), ["flip"]);
    let night = Synchronized { preset: Some(Preset::Night), rules: vec![flip], ..Synchronized::default() };
    assert_eq!(names(night), ["level", "noise", "flip"]);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(vec![
        Rule::Flip(Flip::default()),
        Rule::Shift(Shift::default()),
        Rule::Crop(Crop::default()),
        Rule::Cutout(Cutout::default()),
        Rule::Level(Level::default()),
        Rule::Noise(Noise::default()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_missing_modality_passes_through_every_rule(rule in any_rule(), at in 0usize..104, mask in 0usize..7, seed: u64, severity in 0.0f64..=1.0) {
        let whole = &scenes()[at % scenes().len()];
        let keep = ModalitySet::ALL.subsets().nth(mask).unwrap();
        let sample = whole.only(keep);
        if let Plan::Fires(drawn) = plan(&rule, &sample, seed) {
            let mut bench = Scene::of(&sample);
            if drawn.apply(severity, &mut bench).is_ok() {
                let child = bench.into_sample(&sample);
                prop_assert_eq!(child.present(), sample.present());
                // What did not change keeps its file, byte for byte.
                for modality in child.present().iter() {
                    let untouched = child.digest(modality) == sample.digest(modality);
                    let encoded = match modality {
                        Modality::Image => child.image.as_ref().unwrap().encoded().is_some(),
                        Modality::Audio => child.audio.as_ref().unwrap().encoded().is_some(),
                        Modality::Text => child.text.as_ref().unwrap().encoded().is_some(),
                    };
                    prop_assert_eq!(untouched, encoded);
                }
            }
        }
    }

    #[test]
    fn annotations_stay_inside_the_media(rule in any_rule(), at in 0usize..104, seed: u64, severity in 0.0f64..=1.0) {
        let sample = &scenes()[at % scenes().len()];
        if let Plan::Fires(drawn) = plan(&rule, sample, seed) {
            let mut bench = Scene::of(sample);
            if drawn.apply(severity, &mut bench).is_ok() {
                if let Some(image) = &bench.image {
                    let inside = bench.annotations.boxes.iter().all(|b| b.x >= 0.0 && b.y >= 0.0 && b.x + b.width <= image.width() as f32 + 1e-3 && b.y + b.height <= image.height() as f32 + 1e-3);
                    prop_assert!(inside, "{:?}", bench.annotations.boxes);
                }
                if let Some(audio) = &bench.audio {
                    let inside = bench.annotations.events.iter().all(|e| e.start_s >= 0.0 && e.start_s <= e.end_s && e.end_s <= audio.seconds() + 1e-9);
                    prop_assert!(inside, "{:?}", bench.annotations.events);
                }
            }
        }
    }

    #[test]
    fn a_wrapped_shift_is_undone_by_its_opposite(at in 0usize..104, x in -0.3f64..0.3, y in -0.2f64..0.2, severity in 0.0f64..=1.0) {
        use crate::augment::image::Edge;
        let mut sample = scenes()[at % scenes().len()].clone();
        sample.annotations = Arc::default();
        sample.text = None;
        let draw = |x, y| Drawn::Shift(ShiftDraw { x, y, edge: Edge::Wrap, audio_edge: Edge::Wrap, keep: 0.0 });
        let there = apply(&draw(x, y), severity, &sample);
        prop_assert!(same(&apply(&draw(-x, -y), severity, &there), &sample));
    }

    #[test]
    fn a_level_down_and_up_again_comes_back(at in 0usize..104, db in 0.0f64..20.0, stops in 0.0f64..1.0) {
        let sample = &scenes()[at % scenes().len()];
        let draw = |sign: f64| Drawn::Level(LevelDraw { gain_db: sign * db, stops: sign * stops, swap_db: 100.0, swap_stops: 100.0 });
        let back = apply(&draw(1.0), 1.0, &apply(&draw(-1.0), 1.0, sample));
        if let (Some(a), Some(b)) = (&back.audio, &sample.audio) {
            prop_assert!(a.get().samples().iter().zip(b.get().samples()).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        if let (Some(a), Some(b)) = (&back.image, &sample.image) {
            // Rounding to bytes at the darker level costs at most half a step, times the factor back.
            prop_assert!(a.get().pixels().iter().zip(b.get().pixels()).all(|(a, b)| a.abs_diff(*b) <= 2));
        }
    }

    #[test]
    fn noise_has_the_ratio_that_its_severity_says(at in 0usize..104, seed: u64, severity in 0.0f64..=1.0) {
        let sample = &scenes()[at % scenes().len()];
        let Plan::Fires(drawn) = plan(&Rule::Noise(Noise::default()), sample, seed) else { return Ok(()) };
        let Drawn::Noise(draw) = &drawn else { return Ok(()) };
        let child = apply(&drawn, severity, sample);
        if let (Some(new), Some(old)) = (&child.audio, &sample.audio) {
            let field = sound::noise(draw.colour, old.get().sample_rate_hz(), old.get().channels(), old.get().frames(), SeedTree::at(&draw.seed).child("audio").number());
            let mixed = sound::mix_at_snr(old.get(), &field, 35.0 * (1.0 - severity)).unwrap();
            prop_assert_eq!(&mixed.audio, new.get());
            prop_assert!((sound::snr_db(old.get(), new.get(), mixed.scale).unwrap() - 35.0 * (1.0 - severity)).abs() < 0.01);
        }
    }
}
