//! What every transform keeps to, read off the table: a new one is tested by being listed.

use super::{
    PartnerClass, Plan, Scene, Site, Transform, table,
    testing::{classes, leaves, scenes, tone},
};
use crate::{
    augment::text::{Word, words},
    codec,
    operator::Entry,
    random::SeedTree,
    run::spec,
    sample::{
        Annotations, AudioBuffer, BoundingBox, Claim, ImageBuffer, Keypoint, Label, Mask, Media, Modality, ModalitySet, Sample, Text,
        TextSpan, WordTime,
    },
};
use serde_json::{Value, json};
use std::path::Path;

/// Samples that each transform is tried on.
const SAMPLES: usize = 24;

/// A transform as a config builds it. Folders that the config names hold a sound and a picture.
fn bound(name: &str, config: &Value, base: &Path) -> Box<dyn Transform> {
    let mut built = table().build(&json!({ name: config })).unwrap_or_else(|problems| panic!("{name}: {}", problems[0])).operator;
    for path in ["path", "folder"].iter().filter_map(|key| config[key].as_str()) {
        let folder = base.join(path);
        std::fs::create_dir_all(&folder).unwrap();
        let sound = codec::audio::encode(&tone(scenes()[0].audio.as_ref().unwrap().get().sample_rate_hz(), 1, 700, 0.4)).unwrap();
        let picture = ImageBuffer::new(9, 7, 3, (0..189).collect()).unwrap();
        std::fs::write(folder.join("a.wav"), sound.bytes).unwrap();
        std::fs::write(folder.join("a.png"), codec::image::encode(&picture).unwrap().bytes).unwrap();
    }
    built.bind_files(base).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    built
}

/// Does something with each transform as its example builds it.
fn each(mut test: impl FnMut(&str, &dyn Transform)) {
    let folder = tempfile::tempdir().unwrap();
    for (name, Entry { example, .. }) in table().entries() {
        let config = spec::value(example).unwrap_or_else(|finding| panic!("{name}: {}", finding.problem));
        test(name, &*bound(name, &config, folder.path()));
    }
}

/// Partners as the engine would find them, if there are enough.
fn partners(transform: &dyn Transform, sample: &Sample) -> Option<Vec<Sample>> {
    let Some(wanted) = transform.wanted_partners() else { return Some(Vec::new()) };
    let fits = |other: &&Sample| {
        let right = match wanted.class {
            PartnerClass::Any => true,
            PartnerClass::Same => other.label == sample.label,
            PartnerClass::Other => other.label != sample.label,
        };
        other.id != sample.id && right && other.present().contains(wanted.has)
    };
    let found: Vec<Sample> = scenes().iter().rev().filter(fits).take(wanted.count).cloned().collect();
    (found.len() == wanted.count).then_some(found)
}

/// A draw with its partners, where one fires.
fn drawn(transform: &dyn Transform, sample: &Sample, seed: u64) -> Option<(Value, Vec<Sample>)> {
    let partners = partners(transform, sample)?;
    let (scene, seeds) = (Scene::of(sample), SeedTree::new(seed).sample(&sample.id));
    let class_name = sample.label.as_ref().map(|label| classes().name(label.class()));
    match transform.plan(&Site { sample, scene: &scene, class_name, classes: classes(), partners: &partners, seeds: &seeds }, 1.0) {
        Plan::Fires(draws) => draws.into_iter().next().map(|draw| (draw, partners)),
        Plan::NoOp(why) | Plan::Refused(why) => {
            assert!(!why.is_empty(), "{}: a reason is empty", transform.name());
            None
        }
    }
}

fn done(transform: &dyn Transform, draw: &Value, severity: f64, sample: &Sample, partners: &[Sample]) -> Result<Scene, String> {
    let mut scene = Scene::of(sample);
    transform.perform(draw, severity, &mut scene, partners).map(|()| scene)
}

/// Some of the scenes.
fn samples() -> Vec<Sample> {
    let mut all: Vec<Sample> = scenes().iter().step_by(scenes().len() / SAMPLES).take(SAMPLES).cloned().collect();
    // What captions of scenes do not have: entities, numbers, contractions, punctuation, phrases.
    for (i, content) in SAID.into_iter().enumerate() {
        let spans = content.find("Anna").map(|start| TextSpan { start, end: start + 4, tag: "PER".into() }).into_iter().collect();
        let text = Some(Media::new(Text { content: content.into(), spans }));
        all.push(Sample { text, ..Sample { id: format!("said {i}").as_str().into(), ..scenes()[i].clone() } });
    }
    all.iter_mut().for_each(annotate);
    all
}

/// What scenes do not have: an outline and a point for each box, and a time for each word.
fn annotate(sample: &mut Sample) {
    let seconds = sample.audio.as_ref().map(|sound| sound.get().seconds());
    let words = sample.text.as_ref().map(|text| words(&text.get().content)).unwrap_or_default();
    let all = std::sync::Arc::make_mut(&mut sample.annotations);
    for place in &all.boxes {
        let (left, top, right, bottom) = (place.x, place.y, place.x + place.width, place.y + place.height);
        let outline = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
        all.masks.push(Mask { outline, label: place.label.clone() });
        all.keypoints.push(Keypoint { x: (left + right) / 2.0, y: (top + bottom) / 2.0, label: place.label.clone() });
    }
    if let Some(seconds) = seconds {
        let step = seconds / words.len().max(1) as f64;
        let said = |(i, word): (usize, &Word)| WordTime {
            start: word.range.start,
            end: word.range.end,
            start_s: i as f64 * step,
            end_s: (i + 1) as f64 * step,
        };
        all.words = words.iter().enumerate().map(said).collect();
    }
}

const SAID: [&str; 3] = [
    "It is a dog next to Anna, and they do not bark: 3 dogs, the 2nd one in front!",
    "There is a car on the street while a bird sings. It's loud and they don't care; twenty-three people.",
    "Two children walk quickly beside a big truck (Anna said so).",
];

/// Media at the edge of what is one.
fn odd() -> Vec<Sample> {
    let image = |width, height, channels: usize| {
        let pixels = (0..width * height * channels).map(|i| (i * 37 % 256) as u8).collect();
        ImageBuffer::new(width, height, channels, pixels).unwrap()
    };
    let images =
        [image(1, 1, 1), image(1, 1, 4), image(3, 1, 3), image(1, 5, 1), image(17, 2, 4), ImageBuffer::filled(8, 8, 3, 0).unwrap()];
    let silent = AudioBuffer::new(16_000, 1, vec![0.0; 300]).unwrap();
    let sounds =
        [tone(8000, 1, 1, 0.5), tone(44_100, 2, 3, 1.0), tone(1, 1, 2, 0.5), silent, tone(16_000, 3, 500, 1.0), tone(192_000, 1, 40, 0.1)];
    let texts = ["", " ", "a", "?!", "e\u{301}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} na\u{ef}ve", "7", "\n\t x \u{202e}y"];
    let mut all = Vec::new();
    for (i, text) in texts.into_iter().enumerate() {
        let mut sample = Sample::new(format!("odd {i}").as_str());
        sample.image = images.get(i).cloned().map(Media::new);
        sample.audio = sounds.get(i).cloned().map(Media::new);
        let spans = if text == "a" { vec![TextSpan { start: 0, end: 1, tag: "protected".into() }] } else { Vec::new() };
        sample.text = Some(Media::new(Text { content: text.into(), spans }));
        sample.label = (i % 2 == 0).then_some(Label::Class(i % 3));
        all.push(sample);
    }
    all
}

/// What is wrong with a changed scene, whatever the transform.
fn fault(transform: &dyn Transform, draw: &Value, scene: &Scene, sample: &Sample) -> Option<String> {
    let changed = scene.changed(sample);
    if !transform.changes().contains(changed) {
        return Some(format!("changes {changed}, and says {}", transform.changes()));
    }
    let present: ModalitySet = Modality::ALL
        .into_iter()
        .filter(|modality| match modality {
            Modality::Image => scene.image.is_some(),
            Modality::Audio => scene.audio.is_some(),
            Modality::Text => scene.text.is_some(),
        })
        .collect();
    if present != sample.present() {
        return Some(format!("makes {present} of {}", sample.present()));
    }
    let Annotations { boxes, keypoints, masks, events, words } = &scene.annotations;
    if let Some(image) = &scene.image {
        let (width, height) = (image.width() as f32 + 1e-3, image.height() as f32 + 1e-3);
        let inside = |b: &crate::sample::BoundingBox| b.x >= -1e-3 && b.y >= -1e-3 && b.x + b.width <= width && b.y + b.height <= height;
        if !boxes.iter().all(inside) {
            return Some(format!("a box lies outside: {boxes:?}"));
        }
        let there = |x: f32, y: f32| (-1e-3..=width).contains(&x) && (-1e-3..=height).contains(&y);
        let corners = masks.iter().flat_map(|mask| &mask.outline);
        if !keypoints.iter().all(|point| there(point.x, point.y)) || !corners.into_iter().all(|[x, y]| there(*x, *y)) {
            return Some(format!("a keypoint or a mask lies outside: {keypoints:?} {masks:?}"));
        }
    }
    if let Some(sound) = &scene.audio {
        if !sound.samples().iter().all(|value| value.is_finite()) {
            return Some("a sample of the sound is not finite".into());
        }
        let end = sound.seconds() + 1e-6;
        if !events.iter().all(|e| e.start_s >= -1e-6 && e.start_s <= e.end_s && e.end_s <= end) {
            return Some(format!("an event lies outside: {events:?}"));
        }
        if !words.iter().all(|w| w.start_s >= -1e-6 && w.start_s <= w.end_s && w.end_s <= end) {
            return Some(format!("a word's time lies outside: {words:?}"));
        }
    }
    if let Some(text) = &scene.text {
        let holds = |start: usize, end: usize| start <= end && text.content.get(start..end).is_some();
        if !text.spans.iter().all(|span| holds(span.start, span.end)) || !words.iter().all(|word| holds(word.start, word.end)) {
            return Some(format!("a span or a spoken word is not one of `{}`", text.content));
        }
    }
    let label = scene.label == sample.label;
    let right = match (transform.claim_of(draw), &scene.label) {
        (Claim::LabelMixed, Some(Label::Soft(shares))) => {
            (shares.iter().sum::<f32>() - 1.0).abs() < 1e-4 && shares.len() == classes().len()
        }
        (Claim::LabelMixed, _) => label,
        (Claim::LabelChanged, _) => true,
        _ => label,
    };
    (!right).then(|| format!("claims {:?} and leaves {:?} of {:?}", transform.claim_of(draw), scene.label, sample.label))
}

fn bytes(scene: &Scene, sample: &Sample) -> (crate::sample::PerModality<Option<crate::sample::Digest>>, String, Option<Label>) {
    let child = scene.clone().into_sample(sample);
    (child.digests(), serde_json::to_string(&*child.annotations).unwrap(), child.label)
}

#[test]
fn a_draw_is_all_that_is_needed_to_do_it_again() {
    each(|name, transform| {
        let mut fired = 0;
        for (i, sample) in samples().iter().enumerate() {
            let before = sample.digests();
            let Some((draw, partners)) = drawn(transform, sample, i as u64) else { continue };
            fired += 1;
            assert_eq!(drawn(transform, sample, i as u64).map(|again| again.0), Some(draw.clone()), "{name}: the same seed, another draw");
            for severity in [0.0, 0.3, 1.0] {
                let Ok(scene) = done(transform, &draw, severity, sample, &partners) else {
                    assert!(severity < 1.0, "{name}: what was tried is refused");
                    continue;
                };
                if severity == 0.0 {
                    assert!(
                        scene.changed(sample).is_empty() && scene.annotations == *sample.annotations && scene.label == sample.label,
                        "{name}"
                    );
                }
                // From what is written in a lineage.
                let read: Value = serde_json::from_str(&draw.to_string()).unwrap();
                let again = done(transform, &read, severity, sample, &partners).unwrap_or_else(|why| panic!("{name}: {why}"));
                assert_eq!(bytes(&again, sample), bytes(&scene, sample), "{name} at {severity}");
                assert_eq!(fault(transform, &draw, &scene, sample), None, "{name} at {severity}: {}", sample.id);
            }
            assert_eq!(sample.digests(), before, "{name} changed its parent");
        }
        assert!(fired > 0, "{name} fires on none of {SAMPLES} scenes");
    });
}

#[test]
fn a_config_is_not_asked_when_a_draw_is_applied() {
    each(|name, transform| {
        // Where a config must name something (files), there is no other one.
        let Ok(other) = table().build(&json!({ name: {} })) else { return };
        for (i, sample) in samples().iter().enumerate() {
            let Some((draw, partners)) = drawn(transform, sample, i as u64) else { continue };
            let (one, two) = (done(transform, &draw, 0.7, sample, &partners), done(&*other.operator, &draw, 0.7, sample, &partners));
            assert_eq!(one.map(|scene| bytes(&scene, sample)), two.map(|scene| bytes(&scene, sample)), "{name}");
        }
    });
}

#[test]
fn a_missing_modality_and_odd_media_are_no_accident() {
    each(|name, transform| {
        let fewer = samples().into_iter().take(4).flat_map(|sample| ModalitySet::ALL.subsets().map(move |set| sample.only(set)));
        let odd = odd().into_iter().flat_map(|sample| ModalitySet::ALL.subsets().map(move |set| sample.only(set)));
        for sample in fewer.chain(odd) {
            for seed in 0..2 {
                let Some((draw, partners)) = drawn(transform, &sample, seed) else { continue };
                for severity in [1e-6, 0.5, 1.0] {
                    if let Ok(scene) = done(transform, &draw, severity, &sample, &partners) {
                        assert_eq!(
                            fault(transform, &draw, &scene, &sample),
                            None,
                            "{name} at {severity}: {} {}",
                            sample.id,
                            sample.present()
                        );
                    }
                }
            }
        }
    });
}

/// What a child is, in few numbers: probes of its media that a change of meaning moves and another machine's rounding does not.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Probe {
    /// Columns, rows, mean, spread, and sixteen places' values; each in levels.
    image: Option<Vec<f32>>,
    /// Frames, root mean square, and sixteen places' values.
    audio: Option<Vec<f32>>,
    text: Option<String>,
}

impl Probe {
    fn of(scene: &Scene) -> Self {
        // Places that no grid of the picture repeats.
        let places = |n: usize| (0..16usize).map(move |i| (i * 7919 + 131) * n / (16 * 7919) % n.max(1));
        let image = scene.image.as_ref().map(|image| {
            let pixels = image.pixels();
            let mean = pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / pixels.len() as f64;
            let square = pixels.iter().map(|p| (f64::from(*p) - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
            let head = [image.width() as f32, image.height() as f32, mean as f32, square.sqrt() as f32];
            head.into_iter().chain(places(pixels.len()).map(|at| f32::from(pixels[at]))).collect()
        });
        let audio = scene.audio.as_ref().map(|sound| {
            let samples = sound.samples();
            let square = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
            let head = [sound.frames() as f32, 1000.0 * square.sqrt() as f32];
            head.into_iter().chain(places(samples.len()).map(|at| 1000.0 * samples[at])).map(|v| (v * 10.0).round() / 10.0).collect()
        });
        Self { image, audio, text: scene.text.as_ref().map(|text| text.content.clone()) }
    }

    fn is(&self, other: &Self) -> bool {
        let near = |a: &Option<Vec<f32>>, b: &Option<Vec<f32>>| match (a, b) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1.01),
            (None, None) => true,
            _ => false,
        };
        near(&self.image, &other.image) && near(&self.audio, &other.audio) && self.text == other.text
    }
}

/// A lineage of today is made again tomorrow: whoever changes what a draw makes raises the effect's version, and then makes the stored file anew
/// (`REGENERATE=1`).
#[test]
fn the_same_draw_makes_what_it_made_before() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transforms.json");
    let mut found = std::collections::BTreeMap::new();
    each(|name, transform| {
        let made: Vec<Value> = samples()
            .iter()
            .enumerate()
            .filter_map(|(i, sample)| {
                let (draw, partners) = drawn(transform, sample, i as u64)?;
                let scene = done(transform, &draw, 0.6, sample, &partners).ok()?;
                let mut probe = Probe::of(&scene);
                let changes = transform.changes();
                probe.image = probe.image.filter(|_| changes.has(Modality::Image));
                probe.audio = probe.audio.filter(|_| changes.has(Modality::Audio));
                probe.text = probe.text.filter(|_| changes.has(Modality::Text));
                Some(json!({ "sample": sample.id.as_str(), "draw": draw, "made": probe }))
            })
            .take(2)
            .collect();
        assert!(!made.is_empty(), "{name} makes nothing");
        found.insert(format!("{name}@{}", transform.version()), made);
    });
    if std::env::var_os("REGENERATE").is_some() {
        let lines: Vec<String> = found.iter().map(|(name, made)| format!("{}: {}", json!(name), json!(made))).collect();
        std::fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
        return;
    }
    let stored: std::collections::BTreeMap<String, Vec<Value>> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(stored.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "make the file anew with REGENERATE=1");
    for (name, made) in &found {
        assert_eq!(stored[name].len(), made.len(), "{name}");
        for (old, new) in stored[name].iter().zip(made) {
            assert_eq!(old["sample"], new["sample"], "{name} fires on another sample");
            let probe = |of: &Value| serde_json::from_value::<Probe>(of["made"].clone()).unwrap();
            assert!(
                probe(old).is(&probe(new)),
                "{name} makes something else of {}: {} and not {}",
                old["sample"],
                new["made"],
                old["made"]
            );
        }
    }
}

/// Where pixels go, points go.
#[test]
fn a_point_stays_on_what_it_marks() {
    const MOVING: [&str; 14] = [
        "affine",
        "rotate",
        "perspective",
        "elastic",
        "turn",
        "flip_vertical",
        "flip",
        "crop",
        "resized_crop",
        "zoom",
        "zoom_out",
        "pad",
        "shift",
        "crop_objects",
    ];
    let mut seen = 0;
    each(|name, transform| {
        if !MOVING.contains(&name) {
            return;
        }
        let (mut checked, mut away) = (0, 0.0);
        for seed in 0..40 {
            let (width, height) = (64 + seed as usize % 3, 48);
            let (x, y) = (16.0 + (seed * 7 % 30) as f32, 14.0 + (seed * 5 % 18) as f32);
            let mut picture = ImageBuffer::filled(width, height, 1, 0).unwrap();
            for (i, pixel) in picture.pixels_mut().iter_mut().enumerate() {
                let (dx, dy) = ((i % width) as f32 + 0.5 - x, (i / width) as f32 + 0.5 - y);
                *pixel = (255.0 * (-(dx * dx + dy * dy) / 8.0).exp()) as u8;
            }
            let mut sample = Sample { image: Some(Media::new(picture)), ..Sample::new(format!("dot {seed}").as_str()) };
            sample.annotations = std::sync::Arc::new(Annotations {
                boxes: vec![BoundingBox { x: x - 3.0, y: y - 3.0, width: 6.0, height: 6.0, label: "dot".into() }],
                keypoints: vec![Keypoint { x, y, label: "dot".into() }],
                ..Annotations::default()
            });
            // A flip mirrors what speaks of sides; the box does.
            let Some((draw, partners)) = drawn(transform, &sample, seed) else { continue };
            let Ok(scene) = done(transform, &draw, 1.0, &sample, &partners) else { continue };
            let (image, points) = (scene.image.as_ref().unwrap(), &scene.annotations.keypoints);
            let [point] = &points[..] else { continue };
            let (mut sum, mut at) = (0.0, (0.0, 0.0));
            for (i, pixel) in image.pixels().iter().enumerate() {
                let value = f32::from(*pixel);
                sum += value;
                at.0 += value * ((i % image.width()) as f32 + 0.5);
                at.1 += value * ((i / image.width()) as f32 + 0.5);
            }
            // A dot cut by the border has its middle elsewhere.
            let margin = 6.0 * image.width() as f32 / width as f32;
            let inside = |v: f32, n: usize| v > margin && v < n as f32 - margin;
            if sum < 500.0 || !inside(point.x, image.width()) || !inside(point.y, image.height()) {
                continue;
            }
            let (dx, dy) = (at.0 / sum - point.x, at.1 / sum - point.y);
            // Where neighbours move unlike each other, the middle of a dot goes a little elsewhere.
            assert!(dx.abs() < 2.0 && dy.abs() < 2.0, "{name}, {seed}: the dot is {dx} {dy} beside its point {point:?}");
            away += dx.hypot(dy);
            checked += 1;
        }
        assert!(checked >= 5, "{name} moved {checked} dots");
        assert!(away / (checked as f32) < 0.6, "{name}: dots are {} beside their points in the mean", away / checked as f32);
        seen += 1;
    });
    assert_eq!(seen, MOVING.len());
}

/// How far a scene is from its sample: mean absolute differences of pixels and of samples, the share by which the sound's length differs, and the edits
/// of the text as a share of its length.
fn distance(scene: &Scene, sample: &Sample) -> f64 {
    let mut sum = 0.0;
    if let (Some(new), Some(old)) = (&scene.image, &sample.image) {
        let old = old.get();
        let mut differences = 0.0;
        for y in 0..old.height() {
            for x in 0..old.width() {
                let (nx, ny) = (x * new.width() / old.width(), y * new.height() / old.height());
                let (a, b) = (old.pixel(x, y), new.pixel(nx, ny));
                differences += a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len().min(b.len()) as f64;
            }
        }
        sum += differences / (255 * old.width() * old.height()) as f64;
    }
    if let (Some(new), Some(old)) = (&scene.audio, &sample.audio) {
        let (new, old) = (new.mono(), old.get().mono());
        let at = |of: &[f32], i: usize| f64::from(of.get(i).copied().unwrap_or(0.0));
        let frames = old.len().max(new.len());
        let level = old.iter().map(|value| f64::from(value.abs())).sum::<f64>() / old.len() as f64;
        sum += (0..frames).map(|i| (at(&new, i) - at(&old, i)).abs()).sum::<f64>() / frames as f64 / level.max(1e-3);
        sum += new.len().abs_diff(old.len()) as f64 / old.len() as f64;
    }
    if let (Some(new), Some(old)) = (&scene.text, &sample.text) {
        let (new, old): (Vec<char>, Vec<char>) = (new.content.chars().collect(), old.get().content.chars().collect());
        sum += edits(&new, &old) as f64 / old.len().max(1) as f64;
    }
    sum
}

/// Levenshtein's distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[test]
fn more_severity_is_more_change() {
    const STEPS: [f64; 4] = [0.05, 0.35, 0.7, 1.0];
    each(|name, transform| {
        if !transform.scales() {
            return;
        }
        let mut sums = [0.0; STEPS.len()];
        for (i, sample) in samples().iter().enumerate() {
            let Some((draw, partners)) = drawn(transform, sample, i as u64) else { continue };
            let found: Result<Vec<f64>, String> = STEPS
                .iter()
                .map(|severity| done(transform, &draw, *severity, sample, &partners).map(|scene| distance(&scene, sample)))
                .collect();
            if let Ok(found) = found {
                sums.iter_mut().zip(found).for_each(|(sum, one)| *sum += one);
            }
        }
        // Waves that are moved differ as much at any distance; hence the slack.
        let grows = sums.windows(2).all(|pair| pair[1] >= 0.85 * pair[0]);
        assert!(grows && sums[3] > 0.0 && sums[3] >= sums[0], "{name}: changes of {sums:?} at severities {STEPS:?}");
    });
}

#[test]
fn a_magnitude_is_the_drawn_number_at_the_limit_and_goes_one_way() {
    let (mut told, mut faults) = (0, Vec::new());
    each(|name, transform| {
        for seed in 0..6 {
            let Some((draw, _)) = samples().iter().find_map(|sample| drawn(transform, sample, seed)) else { continue };
            let at = |severity| transform.magnitude_of(&draw, severity);
            let Some(full) = at(1.0) else { continue };
            told += usize::from(seed == 0);
            assert!(at(0.0).is_none());
            let mut numbers: Vec<f64> = leaves(&draw).into_iter().filter_map(|(_, leaf)| leaf.as_f64()).collect();
            // Silence is added at both ends.
            if name == "pad_silence" {
                numbers = vec![numbers.iter().sum()];
            }
            if name != "reverb"
                && !numbers.iter().any(|number| (number - full.value).abs() <= 1e-9 * number.abs().max(1.0) || number.round() == full.value)
            {
                faults.push(format!("{name}: {full:?} was not drawn: {draw}"));
            }
            let along: Vec<f64> = [0.1, 0.3, 0.5, 0.8, 1.0].into_iter().filter_map(at).map(|found| found.value).collect();
            let one_way = along.is_sorted() || along.iter().rev().is_sorted();
            if along.len() != 5 || along.iter().any(|value| !value.is_finite()) || !one_way || along[0] == along[4] {
                faults.push(format!("{name}: {along:?}"));
            }
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(told >= 60, "only {told} say how strong they are");
}
