//! Each rule that can be undone, undone; each that cannot, done twice or seen from the other side.

use super::{
    Crop, CropDraw, Cutout, CutoutDraw, Flip, FlipDraw, Level, LevelDraw, Tempo, TempoDraw, TimeCrop, TimeCropDraw,
    desynchronize::{Desynchronize, DesynchronizeDraw},
    joint_mix::{JointMix, JointMixDraw},
    zoom::{Zoom, ZoomDraw},
};
use crate::{
    augment::{
        image::Fill,
        text::{self, add_mention, remove_mention},
    },
    random::SeedTree,
    sample::{AudioBuffer, Event, Label, Media, Sample, Text, WordTime},
    transform::{
        Effect, Plan, Scene, With,
        testing::{child, content, plan, scenes},
    },
};
use proptest::prelude::*;
use std::sync::Arc;

/// A scene that has everything, with another caption.
fn said(at: usize, caption: &str) -> Sample {
    let whole: Vec<&Sample> = scenes().iter().filter(|sample| sample.image.is_some() && sample.audio.is_some()).collect();
    let like = whole[at % whole.len()];
    Sample { text: Some(Media::new(Text::new(caption))), ..like.clone() }
}

fn tried<E: Effect>(draw: &E::Draw, sample: &Sample) -> Option<Sample> {
    let mut scene = Scene::of(sample);
    E::apply(draw, 1.0, &mut scene, &With::default()).ok()?;
    Some(scene.into_sample(sample))
}

/// Captions of parts whose words are sure.
fn captions() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a loud dog on the left",
        "a quiet bell",
        "a bright room",
        "a dark street on the right side",
        "the leftmost car",
        "a cat at the top",
        "a big dog",
        "a tiny bird",
        "a man walking slowly",
        "a quickly running dog",
        "his left paw",
        "two trains",
    ]);
    prop::collection::vec(parts, 1..4).prop_map(|parts| parts.join(" and "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_mirrored_caption_comes_back(at in 0usize..104, caption in captions()) {
        let sample = said(at, &caption);
        if let Some(there) = tried::<Flip>(&FlipDraw {}, &sample) {
            let sided = text::words(&caption).iter().any(|word| word.lower.starts_with("left") || word.lower.starts_with("right"));
            prop_assert_ne!(sided, content(&there) == caption.as_str());
            let back = tried::<Flip>(&FlipDraw {}, &there).unwrap();
            prop_assert_eq!(content(&back), caption.as_str());
            prop_assert_eq!(&back.annotations, &sample.annotations);
        }
    }

    #[test]
    fn words_of_level_come_back(at in 0usize..104, caption in captions()) {
        let sample = said(at, &caption);
        let draw = |sign: f64| LevelDraw { gain_db: sign * 12.0, stops: sign * 2.0, swap_db: 6.0, swap_stops: 1.0 };
        if let Some(there) = tried::<Level>(&draw(-1.0), &sample) {
            let swapped = content(&there).to_owned();
            prop_assert!(!swapped.contains("loud") && !swapped.contains("bright"), "{}", swapped);
            // What was quiet before stays so, and is then told as loud: the opposite of both is the end that both now name.
            let back = tried::<Level>(&draw(1.0), &there).unwrap();
            prop_assert!(!content(&back).contains("quiet") && !content(&back).contains("dark"), "{}", content(&back));
        }
    }

    #[test]
    fn tempo_there_and_back(at in 0usize..104, octaves in -1.0f64..1.0, caption in captions()) {
        let mut sample = said(at, &caption);
        let Some(audio) = sample.audio.as_ref().map(|audio| audio.get().clone()) else { return Ok(()) };
        let seconds = audio.seconds();
        Arc::make_mut(&mut sample.annotations).words = vec![WordTime { start: 0, end: 1, start_s: 0.25 * seconds, end_s: 0.5 * seconds }];
        let factor = octaves.exp2();
        // No words follow: the threshold is out of reach.
        let there = tried::<Tempo>(&TempoDraw { factor, swap: 4.0 }, &sample).unwrap();
        let longer = there.audio.as_ref().unwrap().get();
        let word = &there.annotations.words[0];
        let stretched = longer.seconds() / seconds;
        prop_assert!((word.start_s - 0.25 * seconds * stretched).abs() < 2e-3 && (word.end_s - 0.5 * seconds * stretched).abs() < 2e-3, "{:?}", word);
        let back = tried::<Tempo>(&TempoDraw { factor: 1.0 / factor, swap: 4.0 }, &there).unwrap();
        prop_assert!(back.audio.as_ref().unwrap().get().frames().abs_diff(audio.frames()) <= 4);
        let word = &back.annotations.words[0];
        prop_assert!((word.start_s - 0.25 * seconds).abs() < 2e-3 && (word.end_s - 0.5 * seconds).abs() < 2e-3, "{:?}", word);
        prop_assert_eq!(content(&back), caption.as_str());
    }

    /// What is left is a piece of what was, and a mark stays on what it marks.
    #[test]
    fn a_cut_in_time_is_a_piece(frames in 200usize..900, share in 0.05f64..0.8, place in 0.0f64..1.0, mark in 0.1f64..0.9) {
        let ramp = AudioBuffer::new(1000, 1, (0..frames).map(|i| i as f32 / 1000.0).collect()).unwrap();
        let seconds = ramp.seconds();
        let mut sample = Sample { audio: Some(Media::new(ramp)), ..Sample::new("ramp") };
        let event = Event { start_s: mark * seconds, end_s: mark * seconds + 0.02, label: "mark".into() };
        Arc::make_mut(&mut sample.annotations).events = vec![event.clone()];
        for cut in [
            tried::<TimeCrop>(&TimeCropDraw { share, place, keep: 0.0 }, &sample),
            tried::<Crop>(&CropDraw { share, x: place, y: 0.5, keep: 0.0 }, &sample),
        ].into_iter().flatten() {
            let samples = cut.audio.as_ref().unwrap().get().samples();
            prop_assert!(samples.windows(2).all(|pair| (pair[1] - pair[0] - 0.001).abs() < 1e-4));
            // The value of the ramp is the time that it had.
            if let Some(moved) = cut.annotations.events.first().filter(|moved| moved.start_s > 0.0) {
                let old = f64::from(samples[0]) + moved.start_s;
                prop_assert!((old - event.start_s).abs() < 2e-3, "{} {}", old, event.start_s);
            }
        }
    }

    #[test]
    fn a_turned_sound_is_turned_back(at in 0usize..104, offset_s in -0.4f64..0.4) {
        let mut sample = scenes()[at % scenes().len()].clone();
        let Some(seconds) = sample.audio.as_ref().map(|audio| audio.get().seconds()) else { return Ok(()) };
        Arc::make_mut(&mut sample.annotations).events = vec![Event { start_s: 0.4 * seconds, end_s: 0.45 * seconds, label: "bell".into() }];
        let there = child::<Desynchronize>(&DesynchronizeDraw { offset_s }, 1.0, &sample);
        let length: f64 = there.annotations.events.iter().map(|event| event.end_s - event.start_s).sum();
        prop_assert!((length - 0.05 * seconds).abs() < 1e-9, "nothing is lost: {:?}", there.annotations.events);
        let back = child::<Desynchronize>(&DesynchronizeDraw { offset_s: -offset_s }, 1.0, &there);
        prop_assert_eq!(back.audio.as_ref().unwrap().get(), sample.audio.as_ref().unwrap().get());
        let (first, last) = (back.annotations.events.first().unwrap(), back.annotations.events.last().unwrap());
        prop_assert!((first.start_s - 0.4 * seconds).abs() < 1e-6 && (last.end_s - 0.45 * seconds).abs() < 1e-6);
    }

    /// A share `s` of one in another is a share `1 - s` of the other in the one.
    #[test]
    fn a_mix_is_the_same_from_either_side(a in 0usize..104, b in 0usize..104, share in 0.1f64..0.9) {
        let (one, two) = (&scenes()[a % scenes().len()], &scenes()[b % scenes().len()]);
        let mixed = |own: &Sample, other: &Sample, share: f64| {
            let mut scene = Scene::of(own);
            let partners = [other.clone()];
            JointMix::apply(&JointMixDraw { share, classes: 6 }, 1.0, &mut scene, &With { partners: &partners, files: None }).ok().map(|()| scene)
        };
        let (Some(x), Some(y)) = (mixed(one, two, share), mixed(two, one, 1.0 - share)) else { return Ok(()) };
        if let (Some(x), Some(y)) = (&x.image, &y.image)
            && (x.width(), x.height(), x.channels()) == (y.width(), y.height(), y.channels())
        {
            prop_assert!(x.pixels().iter().zip(y.pixels()).all(|(a, b)| a.abs_diff(*b) <= 1));
        }
        let (Some(Label::Soft(x)), Some(Label::Soft(y))) = (&x.label, &y.label) else { return Ok(()) };
        prop_assert!(x.iter().zip(y.iter()).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn words_of_size_come_back(at in 0usize..104, caption in captions()) {
        let mut sample = said(at, &caption);
        sample.annotations = Arc::default();
        let (away, near) = (ZoomDraw { factor: 0.5, swap: 1.5, keep: 0.0 }, ZoomDraw { factor: 2.0, swap: 1.5, keep: 0.0 });
        if let Some(there) = tried::<Zoom>(&away, &sample) {
            prop_assert!(!content(&there).contains("big"), "{}", content(&there));
            let back = tried::<Zoom>(&near, &there).unwrap();
            prop_assert!(!content(&back).contains("tiny") && !content(&back).contains("small"), "{}", content(&back));
        }
    }

    /// What a pasted object adds to a caption is what a lost one takes from it.
    #[test]
    fn a_mention_is_taken_out_again(name in prop::sample::select(vec!["umbrella", "horse", "boat"]), caption in captions()) {
        let text = Text::new(caption.as_str());
        let Ok(edit) = add_mention(&text, &text::words(&caption), name) else { return Ok(()) };
        let more = text::apply(&text, vec![edit]).unwrap().text;
        prop_assert!(more.content.contains(name));
        let edits = remove_mention(&more, &text::words(&more.content), name, 0, 1, &[]);
        if let Ok(edits) = edits {
            prop_assert_eq!(text::apply(&more, edits).unwrap().text.content, caption);
        }
    }

    #[test]
    fn what_is_covered_is_covered(at in 0usize..104, seed in 0u64..50) {
        let sample = &scenes()[at % scenes().len()];
        let Plan::Fires(draws) = plan(&Cutout::default(), sample, None, &SeedTree::new(seed)) else { return Ok(()) };
        let mut draw: CutoutDraw = serde_json::from_value(draws[0].clone()).unwrap();
        // The mean is another one behind it.
        draw.fill = Fill::Black;
        let Some(mut there) = tried::<Cutout>(&draw, sample) else { return Ok(()) };
        // The words that are gone cannot go again.
        there.text = None;
        if let Some(again) = tried::<Cutout>(&draw, &there) {
            let pictures = |sample: &Sample| sample.image.as_ref().map(|image| image.get().clone());
            prop_assert!(pictures(&again) == pictures(&there), "{:?}", draw);
        }
    }
}
