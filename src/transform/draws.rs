//! Every drawn number keeps to the limits of its config and is spread over them as its field says, read off the table: a new transform is tested by being
//! listed.

use super::{PartnerClass, Plan, Scene, Site, Transform, table, testing::classes};
use crate::{
    codec,
    random::SeedTree,
    run::spec,
    sample::{AudioBuffer, BoundingBox, ImageBuffer, Label, Media, Sample, Text},
};
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Draws of each transform.
const DRAWS: u64 = 160;

/// Fields that are drawn evenly in octaves, as their doc comments say: `(transform, field)`. All others are drawn evenly between their limits.
const OCTAVES: [(&str, &str); 4] =
    [("frequency_mask", "centre_hz"), ("high_pass", "cutoff_hz"), ("low_pass", "cutoff_hz"), ("tempo", "factor")];

/// Fields whose spread is another: the first of several angles that leaves every colour word a name; one of a list of choices.
const OTHERWISE: [(&str, &str); 2] = [("recolour", "degrees"), ("turn", "quarters")];

/// A scene that hardly any transform refuses.
fn scene(name: &str) -> Sample {
    let mut rng = SeedTree::new(5).child(name).rng();
    let mut pixels = vec![0; 40 * 30 * 3];
    rng.fill_bytes(&mut pixels);
    let tone = |i: usize| 0.3 * (i as f32 * 0.05).sin();
    let samples = (0..4000).flat_map(|i| [tone(i) + rng.random_range(-0.1..0.1f32), tone(i + 9)]).collect();
    let mut sample = Sample::new(name);
    sample.image = Some(Media::new(ImageBuffer::new(40, 30, 3, pixels).unwrap()));
    sample.audio = Some(Media::new(AudioBuffer::new(8000, 2, samples).unwrap()));
    let caption = "the small red dog runs, and 2 cats do not sleep in the dark house";
    sample.text = Some(codec::text::media(Text::new(caption)));
    sample.label = Some(Label::Class(usize::from(name != "own")));
    let annotations = Arc::make_mut(&mut sample.annotations);
    annotations.boxes = vec![BoundingBox { x: 12.0, y: 8.0, width: 14.0, height: 12.0, label: "dog".into() }];
    sample
}

/// The numbers of a draw by the name of their field; lists and nested objects are left to their own tests.
fn numbers(draw: &Value) -> impl Iterator<Item = (&String, f64)> {
    draw.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_f64()?)))
}

/// The greatest distance between the share of values below a place and the place itself, for places in 0..=1 (Kolmogorov and Smirnov).
fn distance(places: &mut [f64]) -> f64 {
    places.sort_by(f64::total_cmp);
    let count = places.len() as f64;
    places.iter().enumerate().map(|(i, place)| (place - i as f64 / count).max((i + 1) as f64 / count - place)).fold(0.0, f64::max)
}

/// A pair of numbers with room between them.
fn limits(config: &Value, name: &str) -> Option<(f64, f64)> {
    let pair = config.get(name)?.as_array().filter(|list| list.len() == 2)?;
    let (low, high) = (pair[0].as_f64()?, pair[1].as_f64()?);
    (low < high).then_some((low, high))
}

#[test]
fn the_distance_tells_even_from_uneven() {
    let even: Vec<f64> = (0..DRAWS).map(|i| (i as f64 + 0.5) / DRAWS as f64).collect();
    assert!(distance(&mut even.clone()) < 0.01);
    assert!(distance(&mut even.iter().map(|v| v * v).collect::<Vec<_>>()) > 0.2);
    assert!(distance(&mut [0.5; 20]) > 0.4);
}

#[test]
fn drawn_numbers_keep_to_their_limits_and_are_spread_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let own = scene("own");
    let others: Vec<Sample> = (0..8).map(|i| scene(&format!("other {i}"))).collect();
    let (mut faults, mut checked) = (Vec::new(), 0);
    for (name, entry) in table().entries() {
        let config = spec::value(entry.example).unwrap_or_else(|finding| panic!("{name}: {}", finding.problem));
        let mut built = table().build(&json!({ name: config })).unwrap_or_else(|problems| panic!("{name}: {}", problems[0]));
        for path in ["path", "folder"].iter().filter_map(|key| config[key].as_str()) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("a.wav"), codec::audio::encode(own.audio.as_ref().unwrap().get()).unwrap().bytes).unwrap();
            std::fs::write(path.join("a.png"), codec::image::encode(own.image.as_ref().unwrap().get()).unwrap().bytes).unwrap();
        }
        built.operator.bind_files(folder.path()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        // With the defaults of what the example leaves out.
        let config = built.config.get(name).unwrap_or(&built.config).clone();
        let transform: &dyn Transform = &*built.operator;
        let partners: Vec<Sample> = transform.wanted_partners().map_or_else(Vec::new, |wanted| {
            let fits = |other: &&Sample| wanted.class != PartnerClass::Same || other.label == own.label;
            others.iter().filter(fits).take(wanted.count).cloned().collect()
        });
        let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for seed in 0..DRAWS {
            let seeds = SeedTree::new(seed).sample(&own.id);
            let scene = Scene::of(&own);
            let site = Site { sample: &own, scene: &scene, class_name: None, classes: classes(), partners: &partners, seeds: &seeds };
            let Plan::Fires(draws) = transform.plan(&site, 1.0) else { continue };
            for (field, value) in draws.iter().flat_map(numbers) {
                found.entry(field.clone()).or_default().push(value);
            }
        }
        for (field, mut values) in found {
            let Some((low, high)) = limits(&config, &field) else { continue };
            if values.iter().any(|value| *value < 0.0) && low >= 0.0 {
                // Either way: as often one as the other.
                let negative = values.iter().filter(|value| **value < 0.0).count() as f64 / values.len() as f64;
                if (negative - 0.5).abs() > 0.17 {
                    faults.push(format!("{name}.{field}: {negative} of them are negative"));
                }
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            if let Some(value) = values.iter().find(|value| !(low - 1e-6..=high + 1e-6).contains(*value)) {
                faults.push(format!("{name}.{field}: {value} is not in {low}..={high}"));
                continue;
            }
            if values.len() < DRAWS as usize / 2 || OTHERWISE.contains(&(name, field.as_str())) {
                continue;
            }
            // Whole numbers stand for as many places; one in a thousand sets of even draws lies further away than 1.95 over the root.
            let whole = values.iter().all(|value| value.fract() == 0.0);
            let (from, steps) = if whole { (low - 0.5, high - low + 1.0) } else { (low, high - low) };
            let slack = 1.95 / (values.len() as f64).sqrt() + if whole { 0.5 / steps } else { 0.0 };
            let place = |value: &f64| match OCTAVES.contains(&(name, field.as_str())) {
                true => (value / low).ln() / (high / low).ln(),
                false => (value - from) / steps,
            };
            let mut places: Vec<f64> = values.iter().map(place).collect();
            let apart = distance(&mut places);
            checked += 1;
            if apart > slack {
                faults.push(format!("{name}.{field}: {apart:.2} from even between {low} and {high}, {} draws", places.len()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked >= 40, "only {checked} fields were seen");
}
