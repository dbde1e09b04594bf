use super::*;
use crate::{
    augment::{
        audio as sound,
        image::{Edge, Fill},
    },
    random::SeedTree,
    sample::{Annotations, AudioBuffer, BoundingBox, Event, ImageBuffer, Media, Modality, ModalitySet, Sample, Text, TextSpan, WordTime},
    transform::{
        Effect, Plan, Scene, Transform, With,
        testing::{self, child, classes, content, field, scenes},
    },
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

fn plan<E: Effect>(rule: &E, sample: &Sample, seed: u64) -> Plan<Value> {
    let class_name = sample.label.as_ref().map(|label| classes().name(label.class()));
    testing::plan(rule, sample, class_name, &SeedTree::new(seed).sample(&sample.id))
}

fn planned<E: Effect>(rule: &E, sample: &Sample, class_name: Option<&str>) -> Plan<Value> {
    testing::plan(rule, sample, class_name, &SeedTree::new(0))
}

/// The draw of a plan that fires.
fn fired<E: Effect>(_: &E, plan: Plan<Value>) -> Option<E::Draw> {
    match plan {
        Plan::Fires(draws) => Some(E::Draw::deserialize(&draws[0]).unwrap()),
        _ => None,
    }
}

fn refused(why: &str) -> Plan<Value> {
    Plan::Refused(why.into())
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
    assert!(scenes().len() >= 60);
    for sample in scenes() {
        let (id, expected) = (&sample.id, field(sample, "flip").unwrap());
        let found = plan(&Flip::default(), sample, 0);
        let Some(draw) = fired(&Flip::default(), found.clone()) else {
            assert!(expected == "refuse" && matches!(found, Plan::Refused(_)), "{id}: {found:?} for `{}`", content(sample));
            continue;
        };
        assert_ne!(expected, "refuse", "{id}: {}", content(sample));
        let mirrored = child::<Flip>(&draw, 1.0, sample);
        assert_eq!(content(&mirrored), field(sample, "mirrored").unwrap(), "{id}");
        assert_eq!(content(&mirrored) != content(sample), expected == "swap", "{id}");
        assert!(same(&child::<Flip>(&draw, 1.0, &mirrored), sample), "{id}: twice is the identity");
    }
}

#[test]
fn every_scene_follows_its_level_as_its_fields_say() {
    for (name, direction) in [("down", Direction::Down), ("up", Direction::Up)] {
        let rule = Level { direction, ..Level::default() };
        for sample in scenes() {
            let expected = field(sample, name).unwrap();
            match plan(&rule, sample, 1) {
                Plan::Refused(why) => assert_eq!((expected, why.as_str()), ("refuse", "unsure_word"), "{}: {}", sample.id, content(sample)),
                Plan::NoOp(why) => panic!("{}: {why}", sample.id),
                fires => {
                    let draw = fired(&rule, fires).unwrap();
                    assert_eq!(content(&child::<Level>(&draw, 1.0, sample)), expected, "{} {name}: {}", sample.id, content(sample));
                }
            }
        }
    }
}

#[test]
fn a_mirror_refuses_what_it_would_make_wrong() {
    let flip = Flip::default();
    let dog = sided("a dog on the left");
    assert!(matches!(planned(&flip, &dog, Some("dog")), Plan::Fires(_)));
    for class in ["7", "b", "seven", "12"] {
        assert_eq!(planned(&flip, &dog, Some(class)), refused("readable_text"), "{class}");
    }
    assert_eq!(planned(&flip, &sided("a photo of the number 0"), Some("dog")), refused("readable_text"));
    assert_eq!(planned(&flip, &sided("a dog"), Some("dog")), Plan::NoOp("nothing_speaks_of_sides".into()));
    assert!(matches!(planned(&Flip { when: When::Always, ..Flip::default() }, &sided("a dog"), None), Plan::Fires(_)));
    let allowed = Flip { readable_text: ReadableText::Allow, ..Flip::default() };
    assert!(matches!(planned(&allowed, &dog, Some("7")), Plan::Fires(_)));
    let mut protected = dog.clone();
    let spans = vec![TextSpan { start: 13, end: 17, tag: "protected".into() }];
    protected.text = Some(Media::new(Text { content: "a dog on the left".into(), spans }));
    assert_eq!(planned(&flip, &protected, None), refused("protected_word"));
    let text_only = dog.only(ModalitySet::TEXT);
    assert_eq!(planned(&flip, &text_only, None), Plan::NoOp("nothing_to_mirror".into()));
}

#[test]
fn a_cutout_lies_at_the_same_place_everywhere() {
    let mut sample = sided("one two three four five six seven eight nine ten");
    sample.image = Some(Media::new(ImageBuffer::new(10, 1, 1, (1..=10).map(|v| v * 20).collect()).unwrap()));
    sample.audio = Some(Media::new(AudioBuffer::new(100, 1, vec![0.5; 100]).unwrap()));
    let draw = CutoutDraw { x: 0.5, y: 0.5, share: 0.4, fill: Fill::default(), words: Words::Mask, mask: "_".into(), cover: 1.0 };
    let covered = child::<Cutout>(&draw, 0.5, &sample);
    // 0.2 of everything about the middle: 0.4..0.6; one pixel row of height 1 is covered from 0.4 to 0.6 rounded: row 0..1.
    assert_eq!(content(&covered), "one two three four _ _ seven eight nine ten");
    let samples = covered.audio.as_ref().unwrap().get().samples().iter().enumerate();
    let silent: Vec<usize> = samples.filter(|(_, s)| **s == 0.0).map(|(i, _)| i).collect();
    assert_eq!(silent, (40..60).collect::<Vec<_>>());
    let tall = ImageBuffer::new(10, 10, 1, [1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10].repeat(10)).unwrap();
    sample.image = Some(Media::new(tall.clone()));
    let covered = child::<Cutout>(&draw, 0.5, &sample);
    let changed = |x: usize, y: usize| covered.image.as_ref().unwrap().get().pixel(x, y) != tall.pixel(x, y);
    assert!((0..10).all(|y| (0..10).all(|x| !changed(x, y) || ((4..6).contains(&x) && (4..6).contains(&y)))) && changed(4, 4));
    // With word times, the words under the gap go, wherever they stand in the caption.
    let words = vec![WordTime { start: 0, end: 3, start_s: 0.45, end_s: 0.55 }, WordTime { start: 4, end: 7, start_s: 0.8, end_s: 0.9 }];
    sample.annotations = Arc::new(Annotations { words, ..Default::default() });
    let covered = child::<Cutout>(&draw, 0.5, &sample);
    assert!(content(&covered).starts_with("_ two three four five"), "{}", content(&covered));
    assert_eq!(covered.annotations.words[1].start, 2);
}

#[test]
fn a_crop_cuts_sound_picture_events_and_spoken_words_alike() {
    let mut sample = sided("bark bark meow");
    sample.audio = Some(Media::new(AudioBuffer::new(1000, 1, (0..1000).map(|i| i as f32 / 1000.0).collect()).unwrap()));
    let time = |start, end, from: f64| WordTime { start, end, start_s: from, end_s: from + 0.1 };
    sample.annotations = Arc::new(Annotations {
        words: vec![time(0, 4, 0.05), time(5, 9, 0.4), time(10, 14, 0.6)],
        boxes: vec![BoundingBox { x: 4.0, y: 2.0, width: 2.0, height: 2.0, label: "dog".into() }],
        events: vec![Event { start_s: 0.4, end_s: 0.5, label: "bark".into() }],
        ..Annotations::default()
    });
    // Window 0.25..0.75 of the extent at full severity.
    let cropped = child::<Crop>(&CropDraw { share: 0.5, x: 0.5, y: 0.5, keep: 0.9 }, 1.0, &sample);
    assert_eq!(content(&cropped), "bark meow");
    let audio = cropped.audio.as_ref().unwrap().get();
    assert_eq!((audio.frames(), audio.samples()[0]), (500, 0.25));
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    close(cropped.annotations.events[0].start_s, 0.15);
    close(cropped.annotations.words[1].start_s, 0.35);
    let word = &cropped.annotations.words[1];
    assert_eq!((cropped.annotations.words.len(), &content(&cropped)[word.start..word.end]), (2, "meow"));
    let place = &cropped.annotations.boxes[0];
    assert_eq!((place.x, place.width, cropped.image.as_ref().unwrap().get().width()), (4.0, 4.0, 8));
    let early = CropDraw { share: 0.5, x: 0.0, y: 0.0, keep: 0.9 };
    assert_eq!(Crop::apply(&early, 1.0, &mut Scene::of(&sample), &With::default()), Err("object_lost".into()));
}

#[test]
fn noise_makes_a_quiet_place_noisy_and_keeps_a_quiet_bell() {
    let mut sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL).unwrap().clone();
    sample.text = Some(Media::new(Text::new("a quiet street and a quiet bell")));
    let noise = Noise::default();
    let draw = fired(&noise, plan(&noise, &sample, 3)).unwrap();
    assert_eq!(content(&child::<Noise>(&draw, 1.0, &sample)), "a noisy street and a quiet bell");
    assert_eq!(content(&child::<Noise>(&draw, 0.1, &sample)), "a quiet street and a quiet bell");
    sample.text = Some(Media::new(Text::new("silence in the hall")));
    assert_eq!(plan(&noise, &sample, 3), refused("unsure_word"));
}

/// Every transform of the scene, as a table builds it.
fn rules() -> Vec<Box<dyn Transform>> {
    let table = table(crate::operator::Table::default());
    let rules: Vec<_> = table.entries().map(|(name, _)| table.build(&serde_json::json!({ name: {} })).unwrap().operator).collect();
    assert_eq!(rules.len(), 16);
    rules
}

/// Another sample with all media where a rule wants one.
fn partners(rule: &dyn Transform, sample: &Sample) -> Vec<Sample> {
    let wanted = rule.wanted_partners().map_or(0, |wanted| wanted.count);
    scenes().iter().filter(|other| other.id != sample.id && other.present() == ModalitySet::ALL).take(wanted).cloned().collect()
}

/// What a rule does to a sample, where it fires and holds at this severity.
fn done(rule: &dyn Transform, sample: &Sample, seed: u64, severity: f64) -> Option<Scene> {
    let (seeds, mut scene) = (SeedTree::new(seed).sample(&sample.id).child(rule.name()), Scene::of(sample));
    let class_name = sample.label.as_ref().map(|label| classes().name(label.class()));
    let partners: Vec<Sample> = partners(rule, sample);
    let site = crate::transform::Site { sample, scene: &scene, class_name, classes: classes(), partners: &partners, seeds: &seeds };
    let Plan::Fires(draws) = rule.plan(&site, 1.0) else { return None };
    rule.perform(&draws[0], severity, &mut scene, &partners).ok().map(|()| scene)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_missing_modality_passes_through_every_rule(rule in 0usize..15, at in 0usize..104, mask in 0usize..7, seed: u64, severity in 0.0f64..=1.0) {
        let sample = scenes()[at % scenes().len()].only(ModalitySet::ALL.subsets().nth(mask).unwrap());
        if let Some(scene) = done(&*rules()[rule], &sample, seed, severity) {
            let child = scene.into_sample(&sample);
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

    #[test]
    fn annotations_stay_inside_the_media(rule in 0usize..15, at in 0usize..104, seed: u64, severity in 0.0f64..=1.0) {
        let sample = &scenes()[at % scenes().len()];
        if let Some(scene) = done(&*rules()[rule], sample, seed, severity) {
            if let Some(image) = &scene.image {
                let inside = scene.annotations.boxes.iter().all(|b| b.x >= 0.0 && b.y >= 0.0 && b.x + b.width <= image.width() as f32 + 1e-3 && b.y + b.height <= image.height() as f32 + 1e-3);
                prop_assert!(inside, "{:?}", scene.annotations.boxes);
            }
            if let Some(audio) = &scene.audio {
                let inside = scene.annotations.events.iter().all(|e| e.start_s >= 0.0 && e.start_s <= e.end_s && e.end_s <= audio.seconds() + 1e-9);
                prop_assert!(inside, "{:?}", scene.annotations.events);
            }
        }
    }

    #[test]
    fn a_wrapped_shift_is_undone_by_its_opposite(at in 0usize..104, x in -0.3f64..0.3, y in -0.2f64..0.2, severity in 0.0f64..=1.0) {
        let mut sample = scenes()[at % scenes().len()].clone();
        sample.annotations = Arc::default();
        sample.text = None;
        let draw = |x, y| ShiftDraw { x, y, edge: Edge::Wrap, audio_edge: Edge::Wrap, keep: 0.0, sound_alone: false };
        let there = child::<Shift>(&draw(x, y), severity, &sample);
        prop_assert!(same(&child::<Shift>(&draw(-x, -y), severity, &there), &sample));
    }

    #[test]
    fn a_level_down_and_up_again_comes_back(at in 0usize..104, db in 0.0f64..20.0, stops in 0.0f64..1.0) {
        let sample = &scenes()[at % scenes().len()];
        let draw = |sign: f64| LevelDraw { gain_db: sign * db, stops: sign * stops, swap_db: 100.0, swap_stops: 100.0 };
        let back = child::<Level>(&draw(1.0), 1.0, &child::<Level>(&draw(-1.0), 1.0, sample));
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
        let Some(draw) = fired(&Noise::default(), plan(&Noise::default(), sample, seed)) else { return Ok(()) };
        let child = child::<Noise>(&draw, severity, sample);
        if let (Some(new), Some(old)) = (&child.audio, &sample.audio) {
            let field = sound::noise(draw.colour, old.get().sample_rate_hz(), old.get().channels(), old.get().frames(), SeedTree::at(&draw.seed).child("audio").number());
            let mixed = sound::mix_at_snr(old.get(), &field, 35.0 * (1.0 - severity)).unwrap();
            prop_assert_eq!(&mixed.audio, new.get());
            prop_assert!((sound::snr_db(old.get(), new.get(), mixed.scale).unwrap() - 35.0 * (1.0 - severity)).abs() < 0.01);
        }
    }
}
