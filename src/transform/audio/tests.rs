//! What must hold for every transform of the sound that needs no file.

use super::*;
use crate::{
    random::SeedTree,
    sample::{Classes, Event, Media, Sample, Text, WordTime},
    transform::{
        Plan, Site,
        testing::{sound, tone},
    },
};
use serde_json::{Value, json};

fn all() -> Vec<(&'static str, Box<dyn Transform>)> {
    let table = table(Table::default());
    let names: Vec<&str> =
        table.entries().map(|(name, _)| name).filter(|name| !["background", "impulse_response"].contains(name)).collect();
    names.into_iter().map(|name| (name, table.build(&json!({ name: {} })).unwrap_or_else(|_| panic!("{name}")).operator)).collect()
}

/// Speech-like: a buzz that comes and goes, with pauses.
fn speech(rate: u32, channels: usize, frames: usize) -> Sample {
    let wave = |i: usize| {
        let t = (i / channels) as f32 / rate as f32;
        let voice: f32 = (1..12).map(|k| (std::f32::consts::TAU * 140.0 * k as f32 * t).sin() / k as f32).sum();
        0.25 * voice * (0.5 - 0.5 * (std::f32::consts::TAU * 3.0 * t).cos()).powi(2) * if (i % channels) == 1 { 0.5 } else { 1.0 }
    };
    sound(AudioBuffer::new(rate, channels, (0..frames * channels).map(wave).collect()).unwrap())
}

fn partners() -> Vec<Sample> {
    (0..4).map(|i| sound(tone(8000, 1, 900 + 300 * i, 0.3))).collect()
}

fn plan(transform: &dyn Transform, sample: &Sample, seed: u64, partners: &[Sample]) -> Plan<Value> {
    let (scene, classes, seeds) = (Scene::of(sample), Classes::default(), SeedTree::new(seed));
    transform.plan(&Site { sample, scene: &scene, class_name: None, classes: &classes, partners, seeds: &seeds }, 1.0)
}

fn at(transform: &dyn Transform, draw: &Value, severity: f64, sample: &Sample, partners: &[Sample]) -> Scene {
    let mut scene = Scene::of(sample);
    transform.perform(draw, severity, &mut scene, partners).unwrap();
    scene
}

#[test]
fn the_same_draw_gives_the_same_sound_and_more_severity_more_change() {
    let partners = partners();
    for (name, transform) in all() {
        let (mut fired, mut sums) = (0, [0f64; 4]);
        for seed in 0..12 {
            let sample = speech(8000, 1 + usize::from(name == "channel_swap"), 8000);
            let Plan::Fires(draws) = plan(&*transform, &sample, seed, &partners) else { continue };
            fired += 1;
            assert_eq!(plan(&*transform, &sample, seed, &partners), Plan::Fires(draws.clone()), "{name}");
            let before = Scene::of(&sample).audio.unwrap();
            for (sum, severity) in sums.iter_mut().zip([0.0, 0.25, 0.6, 1.0]) {
                let found = at(&*transform, &draws[0], severity, &sample, &partners).audio.unwrap();
                let again = at(&*transform, &draws[0], severity, &sample, &partners).audio.unwrap();
                assert_eq!(found, again, "{name}");
                assert!(found.samples().iter().all(|s| s.abs() <= 1.0), "{name} {severity}");
                // A change of length counts as much as what is missing.
                let common = found.frames().min(before.frames());
                let difference: f64 = found.samples().iter().zip(before.samples()).map(|(a, b)| f64::from(a - b).abs()).sum();
                *sum += difference / before.samples().len() as f64 + 0.2 * (found.frames().max(before.frames()) - common) as f64 / 8000.0;
            }
        }
        assert!(fired >= 10, "{name} fired {fired} times");
        assert_eq!(sums[0], 0.0, "{name}");
        if transform.scales() {
            assert!(sums[1] > 0.0 && sums[3] > sums[1] && sums[2] > 0.9 * sums[1] && sums[3] > 0.9 * sums[2], "{name} {sums:?}");
        } else {
            assert_eq!(sums[1], sums[3], "{name}");
        }
    }
}

#[test]
fn any_sound_is_taken_and_its_times_stay_inside() {
    let partners = partners();
    for (name, transform) in all() {
        for (rate, channels, frames) in [(8000, 1, 1), (8000, 2, 5), (44_100, 2, 4410), (11_025, 3, 700), (1, 1, 3), (48_000, 1, 96)] {
            for silent in [false, true] {
                let mut sample = speech(rate, channels, frames);
                if silent {
                    sample.audio = Some(Media::new(AudioBuffer::new(rate, channels, vec![0.0; frames * channels]).unwrap()));
                }
                sample.text = Some(Media::new(Text::new("a bell")));
                let seconds = frames as f64 / f64::from(rate);
                let annotations = Arc::make_mut(&mut sample.annotations);
                annotations.events.push(Event { start_s: 0.2 * seconds, end_s: 0.9 * seconds, label: "bell".into() });
                annotations.words.push(WordTime { start: 2, end: 6, start_s: 0.3 * seconds, end_s: 0.7 * seconds });
                for seed in 0..3 {
                    let Plan::Fires(draws) = plan(&*transform, &sample, seed, &partners) else { continue };
                    for severity in [0.3, 1.0] {
                        let mut scene = Scene::of(&sample);
                        if transform.perform(&draws[0], severity, &mut scene, &partners).is_err() {
                            continue;
                        }
                        let found = scene.audio.unwrap();
                        assert!(
                            found.samples().iter().all(|s| s.is_finite()) && found.channels() == channels && found.sample_rate_hz() == rate,
                            "{name}"
                        );
                        let end = found.seconds() + 1e-9;
                        assert!(
                            scene.annotations.events.iter().all(|e| 0.0 <= e.start_s && e.start_s <= e.end_s && e.end_s <= end),
                            "{name}"
                        );
                        assert!(
                            scene.annotations.words.iter().all(|w| 0.0 <= w.start_s && w.start_s <= w.end_s && w.end_s <= end),
                            "{name}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_has_no_sound_is_left_alone() {
    for (name, transform) in all() {
        assert_eq!(plan(&*transform, &Sample::new("bare"), 1, &[]), Plan::no_op("no_audio"), "{name}");
    }
}

#[test]
fn numbers_out_of_range_and_unknown_keys_are_told() {
    let table = table(Table::default());
    for (name, entry) in table.entries() {
        let schema = (entry.schema)().to_value();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let unknown = table.build(&json!({ name: { "path": "x", "no_such_key": 1 } })).err().unwrap();
        assert!(
            unknown.iter().any(|problem| problem.to_string().contains("no_such_key") || problem.to_string().contains("path")),
            "{name} {unknown:?}"
        );
        for (key, property) in properties {
            if ["path", "class", "keep_power", "concealment"].contains(&key.as_str()) {
                continue;
            }
            let list = property["type"] == "array";
            let wrong = if list { json!([]) } else { json!(1e12) };
            let found = table
                .build(&json!({ name: { "path": "x", key.as_str(): wrong } }))
                .err()
                .map(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            assert!(found.as_deref().is_some_and(|told| told.contains(key.as_str()) || told.contains("path")), "{name}.{key}: {found:?}");
        }
    }
}

#[test]
fn a_quiet_place_does_not_get_loud() {
    use crate::transform::testing::{caption, classes, scenes};
    let said = |content: &str| {
        let like = scenes().iter().find(|sample| sample.audio.is_some()).unwrap();
        crate::sample::Sample { text: caption(content).text, ..like.clone() }
    };
    let noisy = |content: &str, snr_db: f64| {
        let sample = said(content);
        let (scene, seeds) = (Scene::of(&sample), SeedTree::new(1));
        let site = Site { sample: &sample, scene: &scene, class_name: None, classes: classes(), partners: &[], seeds: &seeds };
        let effect = crate::transform::table().build(&serde_json::json!({ "add_noise": { "snr_db": snr_db } })).unwrap().operator;
        effect.plan(&site, 1.0)
    };
    assert_eq!(noisy("a dog in a quiet street", 5.0), Plan::refused("quiet_place"));
    assert!(matches!(noisy("a dog in a quiet street", 20.0), Plan::Fires(_)));
    assert!(matches!(noisy("a dog barks", 5.0), Plan::Fires(_)));
}
