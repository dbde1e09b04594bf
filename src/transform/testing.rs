//! For the tests of transforms: samples of one medium, a draw and its application.

use super::{Effect, Plan, Scene, Site, Transform, With};
use crate::{
    codec,
    random::SeedTree,
    sample::{AudioBuffer, Classes, ImageBuffer, Label, Media, Sample, Text},
};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// A sample of one picture.
pub(crate) fn picture(image: ImageBuffer) -> Sample {
    Sample { image: Some(Media::new(image)), ..Sample::new("picture") }
}
/// A sample of one sound.
pub(crate) fn sound(audio: AudioBuffer) -> Sample {
    Sample { audio: Some(Media::new(audio)), ..Sample::new("sound") }
}
/// A sample of one text.
pub(crate) fn caption(content: &str) -> Sample {
    Sample { text: Some(Media::new(Text::new(content))), ..Sample::new("caption") }
}
/// A sine of about 1/17 of the rate.
pub(crate) fn tone(sample_rate_hz: u32, channels: usize, frames: usize, level: f32) -> AudioBuffer {
    let samples = (0..frames * channels).map(|i| level * ((i / channels) as f32 * 0.37).sin()).collect();
    AudioBuffer::new(sample_rate_hz, channels, samples).unwrap()
}

/// The scene after a draw.
pub(crate) fn apply<E: Effect>(draw: &E::Draw, severity: f64, sample: &Sample) -> Scene {
    let mut scene = Scene::of(sample);
    E::apply(draw, severity, &mut scene, &With::default()).unwrap();
    scene
}

/// Draws for a sample without partners, as the engine would, before it tries what was drawn.
pub(crate) fn draw<E: Effect>(effect: &E, sample: &Sample, seed: u64) -> Plan<E::Draw> {
    let (scene, classes, seeds) = (Scene::of(sample), Classes::default(), SeedTree::new(seed));
    effect.draw(&Site { sample, scene: &scene, class_name: None, classes: &classes, partners: &[], seeds: &seeds })
}

/// Draws for a sample and tries the draws, as the engine does.
pub(crate) fn plan<E: Effect>(effect: &E, sample: &Sample, class_name: Option<&str>, seeds: &SeedTree) -> Plan<Value> {
    let scene = Scene::of(sample);
    let site = Site { sample, scene: &scene, class_name, classes: classes(), partners: &[], seeds: &seeds.child(E::NAME) };
    effect.plan(&site, 1.0)
}

/// The child of a draw.
pub(crate) fn child<E: Effect>(draw: &E::Draw, severity: f64, sample: &Sample) -> Sample {
    apply::<E>(draw, severity, sample).into_sample(sample)
}

const SPLITS: [&str; 3] = ["train", "val", "test"];

/// All scenes of `assets/scenes` as samples; the expectations stay among their fields.
pub(crate) fn scenes() -> &'static [Sample] {
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

/// Their classes.
pub(crate) fn classes() -> &'static Classes {
    static CLASSES: OnceLock<Classes> = OnceLock::new();
    CLASSES.get_or_init(|| Classes::from_names(["bell", "bird", "car", "cat", "dog", "train"].map(String::from)))
}

/// The caption.
pub(crate) fn content(sample: &Sample) -> &str {
    &sample.text.as_ref().unwrap().get().content
}

/// What a field expects.
pub(crate) fn field<'a>(sample: &'a Sample, name: &str) -> Option<&'a str> {
    sample.fields.get(name).and_then(Value::as_str)
}

/// Every leaf of a draw with its path; addresses of random numbers and names of files are left out.
pub(crate) fn leaves(draw: &Value) -> Vec<(String, &Value)> {
    match draw {
        Value::Object(map) => map
            .iter()
            .filter(|(name, _)| !["seed", "file"].contains(&name.as_str()))
            .flat_map(|(name, value)| below(name, leaves(value)))
            .collect(),
        Value::Array(list) => list.iter().enumerate().flat_map(|(i, value)| below(&format!("[{i}]"), leaves(value))).collect(),
        leaf => vec![(String::new(), leaf)],
    }
}

/// The leaves under a name or an index, as `a.b[0]`.
fn below<'a>(step: &str, leaves: Vec<(String, &'a Value)>) -> Vec<(String, &'a Value)> {
    let joint = |path: &str| if path.is_empty() || path.starts_with('[') { "" } else { "." };
    leaves.into_iter().map(|(path, leaf)| (format!("{step}{}{path}", joint(&path)), leaf)).collect()
}
