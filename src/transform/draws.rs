//! Every drawn number keeps to the limits of its config and is spread over them as its field says, read off the table: a new transform is tested by being
//! listed. A number that a draw holds and no limit of the config speaks of is a fault, unless [`OWN`] says how it is spread.

use super::{
    PartnerClass, Plan, Scene, Site, Transform, table,
    testing::{classes, leaves},
};
use crate::{
    codec,
    random::SeedTree,
    run::spec,
    sample::{AudioBuffer, BoundingBox, ImageBuffer, Label, Media, Sample, Text, TextSpan},
};
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Draws of each transform.
const DRAWS: u64 = 160;

/// Transforms that find nothing to do in this scene, or nothing to draw.
const SELDOM: [&str; 2] = ["negate", "trim"];

/// How a drawn number is spread.
#[derive(Clone, Copy)]
enum Spread {
    /// Evenly between two limits; where both are positive and values are not, to either side alike.
    Even(f64, f64),
    /// As often each of these.
    OneOf(&'static [f64]),
    /// By a rule of its own, tested with the transform.
    ByRule,
}
use Spread::{ByRule, Even, OneOf};

/// Numbers that a draw holds under other names than the config holds their limits, or that are not spread evenly between these: transform, field, the numbers to look at and their spread.
const OWN: &[(&str, &str, fn(&Value) -> Vec<f64>, Spread)] = &[
    ("babble", "turns", |d| list(&d["turns"]), Even(0.0, 1.0)),
    ("background", "from", |d| one(&d["from"]), Even(0.0, 1.0)),
    ("crop", "share", |d| one(&d["share"]), Even(0.175, 0.35)),
    ("crop", "x", |d| one(&d["x"]), Even(0.0, 1.0)),
    ("crop", "y", |d| one(&d["y"]), Even(0.0, 1.0)),
    ("crop_objects", "x", |d| one(&d["x"]), Even(0.0, 1.0)),
    ("crop_objects", "y", |d| one(&d["y"]), Even(0.0, 1.0)),
    ("cutmix", "classes", |d| one(&d["classes"]), OneOf(&[6.0])),
    // A small share has more places where nothing is covered.
    ("cutmix", "share", |d| one(&d["share"]), ByRule),
    ("cutmix", "x", |d| one(&d["x"]), ByRule),
    ("cutmix", "y", |d| one(&d["y"]), ByRule),
    ("cutout", "share", |d| one(&d["share"]), Even(0.2, 0.4)),
    ("cutout", "x", |d| one(&d["x"]), Even(0.0, 1.0)),
    ("cutout", "y", |d| one(&d["y"]), Even(0.0, 1.0)),
    ("equalizer", "gains_db", |d| list(&d["gains_db"]), Even(-12.0, 12.0)),
    ("frequency_mask", "centre_hz", |d| octave(&d["centre_hz"], 300.0, 3000.0), Even(0.0, 1.0)),
    ("frequency_mask", "start", |d| start(d), Even(0.0, 1.0)),
    ("frequency_mask", "end", |d| vec![length(d)], Even(0.4, 1.0)),
    ("gain_ramp", "from_db", |d| one(&d["from_db"]), Even(-20.0, 6.0)),
    ("gain_ramp", "to_db", |d| one(&d["to_db"]), Even(-20.0, 6.0)),
    ("gain_ramp", "start", |d| start(d), Even(0.0, 1.0)),
    ("gain_ramp", "end", |d| vec![length(d)], Even(0.2, 0.8)),
    ("gamma", "gamma", |d| one(&d["gamma"]), Even(0.5, 2.0)),
    ("high_pass", "cutoff_hz", |d| octave(&d["cutoff_hz"], 150.0, 1500.0), Even(0.0, 1.0)),
    ("high_pass", "order", |d| one(&d["order"]), OneOf(&[2.0, 4.0])),
    ("hum", "phase", |d| one(&d["phase"]), Even(0.0, 1.0)),
    ("interrupt", "at_end", |d| vec![f64::from(u8::from(d["at_end"] == true))], OneOf(&[0.0, 1.0])),
    ("joint_mix", "classes", |d| one(&d["classes"]), OneOf(&[6.0])),
    ("level", "gain_db", |d| one(&d["gain_db"]), Even(12.0, 20.0)),
    ("level", "stops", |d| one(&d["stops"]), Even(0.9, 1.5)),
    ("low_pass", "cutoff_hz", |d| octave(&d["cutoff_hz"], 500.0, 4000.0), Even(0.0, 1.0)),
    ("low_pass", "order", |d| one(&d["order"]), OneOf(&[2.0, 4.0])),
    ("pad", "left", |d| one(&d["left"]), Even(0.0, 0.2)),
    ("pad", "right", |d| one(&d["right"]), Even(0.0, 0.2)),
    ("pad", "top", |d| one(&d["top"]), Even(0.0, 0.2)),
    ("pad", "bottom", |d| one(&d["bottom"]), Even(0.0, 0.2)),
    ("paste_object", "object", |d| one(&d["object"]), OneOf(&[0.0, 1.0])),
    ("paste_object", "x", |d| one(&d["x"]), ByRule),
    ("paste_object", "y", |d| one(&d["y"]), ByRule),
    ("recolour", "degrees", |d| one(&d["degrees"]), ByRule),
    ("reverb", "size_m", |d| list(&d["size_m"])[..2].to_vec(), Even(3.0, 9.0)),
    ("reverb", "source_m", |d| ratios(&d["source_m"], &d["size_m"]), Even(0.15, 0.85)),
    ("reverb", "microphone_m", |d| ratios(&d["microphone_m"], &d["size_m"]), Even(0.15, 0.85)),
    ("shift", "x", |d| one(&d["x"]), Even(0.08, 0.2)),
    ("shift", "y", |d| one(&d["y"]), Even(0.04, 0.1)),
    ("tempo", "factor", |d| octave(&d["factor"], 0.6, 1.7), Even(0.0, 1.0)),
    ("time_crop", "place", |d| one(&d["place"]), Even(0.0, 1.0)),
    ("time_mask", "middle", |d| one(&d["middle"]), Even(0.0, 1.0)),
    ("turn", "quarters", |d| one(&d["quarters"]), OneOf(&[1.0, 3.0])),
];

fn one(value: &Value) -> Vec<f64> {
    value.as_f64().into_iter().collect()
}
fn list(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
/// The place of a frequency or factor between two limits, in octaves.
fn octave(value: &Value, low: f64, high: f64) -> Vec<f64> {
    one(value).into_iter().map(|value| (value / low).ln() / (high / low).ln()).collect()
}
fn length(draw: &Value) -> f64 {
    one(&draw["end"])[0] - one(&draw["start"])[0]
}
/// Where a stretch begins, among the places where it could.
fn start(draw: &Value) -> Vec<f64> {
    vec![one(&draw["start"])[0] / (1.0 - length(draw))]
}
fn ratios(values: &Value, of: &Value) -> Vec<f64> {
    list(values).iter().zip(list(of)).map(|(value, of)| value / of).collect()
}

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
    let caption = "the small red dog runs to Anna, and 2 cats do not sleep in the dark house";
    let mut text = Text::new(caption);
    text.spans = vec![TextSpan { start: 26, end: 30, tag: "PER".into() }];
    sample.text = Some(codec::text::media(text));
    sample.label = Some(Label::Class(usize::from(name != "own")));
    let annotations = Arc::make_mut(&mut sample.annotations);
    let object = |x, label: &str| BoundingBox { x, y: 8.0, width: 14.0, height: 12.0, label: label.into() };
    annotations.boxes = if name == "own" { vec![object(12.0, "dog")] } else { vec![object(12.0, "bird"), object(24.0, "ball")] };
    sample
}

/// What stands at a path of the config: `a.b[0]`.
fn at<'a>(config: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(config, |value, step| {
        let (name, indices) = step.split_once('[').map_or((step, ""), |(name, rest)| (name, rest));
        let found = if name.is_empty() { Some(value) } else { value.get(name) };
        indices.split(['[', ']']).filter(|index| !index.is_empty()).try_fold(found?, |value, index| value.get(index.parse::<usize>().ok()?))
    })
}

/// The greatest distance between the share of values below a place and the place itself, for places in 0..=1 (Kolmogorov and Smirnov).
fn distance(places: &mut [f64]) -> f64 {
    places.sort_by(f64::total_cmp);
    let count = places.len() as f64;
    places.iter().enumerate().map(|(i, place)| (place - i as f64 / count).max((i + 1) as f64 / count - place)).fold(0.0, f64::max)
}

#[test]
fn the_distance_tells_even_from_uneven() {
    let even: Vec<f64> = (0..DRAWS).map(|i| (i as f64 + 0.5) / DRAWS as f64).collect();
    assert!(distance(&mut even.clone()) < 0.01);
    assert!(distance(&mut even.iter().map(|v| v * v).collect::<Vec<_>>()) > 0.2);
    assert!(distance(&mut [0.5; 20]) > 0.4);
}

/// What is wrong with the spread of `values`, if anything.
fn fault(mut values: Vec<f64>, spread: Spread) -> Option<String> {
    let count = values.len() as f64;
    match spread {
        ByRule => None,
        OneOf(choices) => {
            let even = 1.0 / choices.len() as f64;
            let slack = 4.0 * (even * (1.0 - even) / count).sqrt() + 1e-9;
            let share = |choice: &f64| values.iter().filter(|value| (*value - choice).abs() < 1e-9).count() as f64 / count;
            let shares: Vec<f64> = choices.iter().map(share).collect();
            let even = shares.iter().all(|share| (share - even).abs() <= slack) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9;
            (!even).then(|| format!("of {choices:?} come {shares:.2?}"))
        }
        Even(low, high) => {
            if values.iter().any(|value| *value < 0.0) && low >= 0.0 {
                // Either way: as often one as the other.
                let negative = values.iter().filter(|value| **value < 0.0).count() as f64 / count;
                if (negative - 0.5).abs() > 2.0 / count.sqrt() {
                    return Some(format!("{negative:.2} of them are negative"));
                }
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            if let Some(value) = values.iter().find(|value| !(low - 1e-6..=high + 1e-6).contains(*value)) {
                return Some(format!("{value} is not in {low}..={high}"));
            }
            // Whole numbers stand for as many places; one in a thousand sets of even draws lies further away than 1.95 over the root.
            let whole = values.iter().all(|value| value.fract() == 0.0);
            let (from, steps) = if whole { (low - 0.5, high - low + 1.0) } else { (low, high - low) };
            let slack = 1.95 / count.sqrt() + if whole { 0.5 / steps } else { 0.0 };
            let mut places: Vec<f64> = values.iter().map(|value| (value - from) / steps).collect();
            let apart = distance(&mut places);
            (apart > slack).then(|| format!("{apart:.2} from even between {low} and {high}, {count} draws"))
        }
    }
}

/// Leaves that are one of a list of the config: the list's name is theirs in the plural.
fn choices<'a>(config: &'a Value, path: &str) -> Option<&'a Vec<Value>> {
    ["s", "es"].iter().find_map(|ending| config.get(format!("{path}{ending}"))?.as_array())
}

/// What is wrong with one leaf, seen in all draws, that no entry of [`OWN`] speaks of; and whether it was drawn at all.
fn leaf_fault(config: &Value, path: &str, values: &[Value]) -> (Option<String>, bool) {
    if let Some(list) = choices(config, path) {
        let (count, even) = (values.len() as f64, 1.0 / list.len() as f64);
        let slack = 4.0 * (even * (1.0 - even) / count).sqrt() + 1e-9;
        let share = |choice: &Value| values.iter().filter(|value| *value == choice).count() as f64 / count;
        let uneven = list.iter().find(|choice| (share(choice) - even).abs() > slack);
        return (uneven.map(|choice| format!("{choice} comes in {:.2} of the draws", share(choice))), list.len() > 1);
    }
    // A name may stand in a part of the draw (`noise.share`).
    let name = path.rsplit('.').next().unwrap_or(path);
    let Some(stated) = at(config, path).or_else(|| at(config, name)) else {
        let steady = values.iter().all(|value| !value.is_number() && *value == values[0]);
        return ((!steady).then(|| "is drawn, and neither the config nor the list above says from what".to_owned()), false);
    };
    if values.iter().all(|value| value == stated || value.as_f64().is_some_and(|value| Some(value) == stated.as_f64())) {
        return (None, false);
    }
    let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    match stated.as_array().map(|pair| pair.iter().filter_map(Value::as_f64).collect::<Vec<f64>>()).as_deref() {
        Some(&[low, high]) if low < high && numbers.len() == values.len() => (fault(numbers, Even(low, high)), true),
        Some(&[only]) if numbers.len() == values.len() && numbers.iter().all(|value| *value == only) => (None, false),
        _ => (Some(format!("differs from what is stated: {stated}")), false),
    }
}

#[test]
fn a_fault_of_spread_is_found() {
    let even: Vec<f64> = (0..DRAWS).map(|i| i as f64 / DRAWS as f64).collect();
    assert!(fault(even.clone(), Even(0.0, 1.0)).is_none());
    assert!(fault(even.clone(), Even(0.0, 0.9)).is_some_and(|told| told.contains("is not in")));
    assert!(fault(even.clone(), Even(0.0, 1.5)).is_some_and(|told| told.contains("from even")));
    let signed = |i: usize, v: &f64| if i.is_multiple_of(2) { *v } else { -v };
    assert!(fault(even.iter().enumerate().map(|(i, v)| signed(i, v)).collect(), Even(0.0, 1.0)).is_none());
    assert!(fault(even.iter().map(|v| -v).collect(), Even(0.0, 1.0)).is_some());
    let coin: Vec<f64> = (0..DRAWS).map(|i| (i % 2) as f64).collect();
    assert!(fault(coin.clone(), OneOf(&[0.0, 1.0])).is_none());
    assert!(fault(coin, OneOf(&[0.0, 1.0, 2.0])).is_some());
    let config = json!({ "share": [0.0, 1.0], "kinds": ["a", "b"], "keep": 0.5 });
    let all = |value: Value| vec![value; DRAWS as usize];
    assert_eq!(leaf_fault(&config, "keep", &all(json!(0.5))), (None, false));
    assert!(leaf_fault(&config, "keep", &all(json!(0.6))).0.is_some());
    assert!(leaf_fault(&config, "kind", &all(json!("a"))).0.is_some());
    assert!(leaf_fault(&config, "noise.share", &all(json!(0.5))).0.is_some());
    assert!(leaf_fault(&config, "other", &even.iter().map(|v| json!(v)).collect::<Vec<_>>()).0.is_some());
}

#[test]
fn drawn_numbers_keep_to_their_limits_and_are_spread_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let own = scene("own");
    let others: Vec<Sample> = (0..8).map(|i| scene(&format!("other {i}"))).collect();
    let (mut faults, mut checked, mut owned) = (Vec::new(), 0, BTreeSet::new());
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
        let mut draws: Vec<Value> = Vec::new();
        for seed in 0..DRAWS {
            let seeds = SeedTree::new(seed).sample(&own.id);
            let scene = Scene::of(&own);
            let site = Site { sample: &own, scene: &scene, class_name: None, classes: classes(), partners: &partners, seeds: &seeds };
            if let Plan::Fires(fired) = transform.plan(&site, 1.0) {
                draws.extend(fired);
            }
        }
        // What can be done only here or there is tested with its transform.
        let few = draws.len() < DRAWS as usize / 2;
        if few && !SELDOM.contains(&name) {
            faults.push(format!("{name}: fires in {} of {DRAWS} draws", draws.len()));
        }
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for draw in &draws {
            leaves(draw).into_iter().for_each(|(path, value)| found.entry(path).or_default().push(value.clone()));
        }
        let own_of = |path: &str| {
            let field = path.split(['[', '.']).next().unwrap_or(path);
            OWN.iter().find(|(transform, own, ..)| *transform == name && *own == field)
        };
        for (path, values) in found {
            let wrong = match own_of(&path) {
                Some((_, field, read, spread)) => {
                    let first = owned.insert((name, *field));
                    checked += usize::from(first);
                    if first && !few { fault(draws.iter().flat_map(read).collect(), *spread) } else { None }
                }
                None => {
                    let (wrong, drawn) = leaf_fault(&config, &path, &values);
                    checked += usize::from(drawn && !few);
                    wrong.filter(|_| !few)
                }
            };
            faults.extend(wrong.map(|wrong| format!("{name}.{path}: {wrong}")));
        }
    }
    faults.extend(
        OWN.iter().filter(|own| !owned.contains(&(own.0, own.1))).map(|own| format!("{}.{} is listed and was never drawn", own.0, own.1)),
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked >= 120, "only {checked} fields were seen");
}
