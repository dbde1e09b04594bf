//! What a file's own notes (`metadata_props`) and denotations say of its inputs, put where the pipeline file says nothing.
//!
//! Read are the keys of the ONNX standard for images (`MetadataProps.md`), `sample_rate` as exporters of speech models write it, and `hardmine.*`, our own.

use super::{
    Align, ChannelOrder, Cut, Layout, Onnx,
    engine::{Session, ValueInfo},
};
use crate::{
    error::{Error, Result},
    sample::Modality,
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug};

/// Our keys.
const OWN: [&str; 11] =
    ["mean", "std", "range", "layout", "channel_order", "sample_rate_hz", "scale", "align", "cut", "characters", "lowercase"];
const PREFIX: &str = "hardmine.";

/// The notes of one file, and what was taken from them.
struct Notes<'a> {
    all: &'a BTreeMap<String, String>,
    taken: Vec<String>,
}

impl Notes<'_> {
    /// Puts what `key` says into `field`, where that is empty.
    fn fill<T: Debug>(&mut self, field: &mut Option<T>, name: &str, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<()> {
        let (None, Some(text)) = (&field, self.all.get(key)) else { return Ok(()) };
        let value = read(text.trim()).map_err(|wanted| {
            let known = if wanted.is_empty() { "another value".to_owned() } else { wanted };
            Error::model(format!(
                "the file's note `{key}`: expected {known}, found `{text}`; write `{name}` in the pipeline file to go without it"
            ))
        })?;
        self.taken.push(format!("{name} = {} (the file's `{key}`)", text.trim()));
        *field = Some(value);
        Ok(())
    }

    fn own<T: Debug>(&mut self, field: &mut Option<T>, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<()> {
        let key = format!("{PREFIX}{}", name.rsplit('.').next().unwrap_or(name));
        self.fill(field, name, &key, read)
    }
}

/// A value as JSON; a list may lack its brackets, a word its quotes.
fn json<T: DeserializeOwned>(wanted: &'static str) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let tries = [text.to_owned(), format!("[{text}]"), serde_json::Value::from(text.to_lowercase()).to_string()];
        tries.iter().find_map(|t| serde_json::from_str(t).ok()).ok_or_else(|| wanted.to_owned())
    }
}

/// One of a few words.
fn word<T: Copy>(known: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        found.ok_or_else(|| known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", or "))
    }
}

/// `config` with what the file says where it says nothing itself, and what was taken, in words.
pub(super) fn filled(config: &Onnx, of: &[Modality], session: &Session) -> Result<(Onnx, Vec<String>)> {
    let mut config = config.clone();
    let mut notes = Notes { all: session.metadata(), taken: Vec::new() };
    let unknown = notes.all.keys().find(|key| key.strip_prefix(PREFIX).is_some_and(|own| !OWN.contains(&own)));
    if let Some(key) = unknown {
        return Err(Error::model(format!(
            "unknown note `{key}` of the file; known: {}",
            OWN.map(|own| format!("{PREFIX}{own}")).join(", ")
        )));
    }
    let named = |name: Option<&String>| -> Option<&ValueInfo> {
        match (name, session.inputs()) {
            (Some(name), inputs) => inputs.iter().find(|i| i.name == *name),
            (None, [one]) => Some(one),
            _ => None,
        }
    };
    if let Some(image) = config.inputs.image.as_mut().filter(|_| of.contains(&Modality::Image)) {
        if image.layout.is_none()
            && let Some(info) = named(image.name.as_ref())
            && let Some(layout) =
                info.channels.and_then(|axis| [(1, Layout::Nchw), (3, Layout::Nhwc)].into_iter().find(|(a, _)| *a == axis))
        {
            notes.taken.push(format!(
                "inputs.image.layout = {} (the denotation of `{}`)",
                format!("{:?}", layout.1).to_lowercase(),
                info.name
            ));
            image.layout = Some(layout.1);
        }
        const RANGES: [(&str, (f32, f32)); 4] = [
            ("Normalized_0_1", (0.0, 1.0)),
            ("Normalized_1_1", (-1.0, 1.0)),
            ("NominalRange_0_255", (0.0, 255.0)),
            ("NominalRange_16_235", (16.0, 235.0)),
        ];
        notes.fill(&mut image.range, "inputs.image.range", "Image.NominalPixelRange", word(&RANGES))?;
        const ORDERS: [(&str, ChannelOrder); 3] = [("Rgb8", ChannelOrder::Rgb), ("Bgr8", ChannelOrder::Bgr), ("Gray8", ChannelOrder::Rgb)];
        notes.fill(&mut image.channel_order, "inputs.image.channel_order", "Image.BitmapPixelFormat", word(&ORDERS))?;
        // Pixels go in as they are stored.
        if let Some(gamma) = notes.all.get("Image.ColorSpaceGamma").filter(|gamma| !gamma.eq_ignore_ascii_case("SRGB")) {
            return Err(Error::model(format!("the file's note `Image.ColorSpaceGamma`: expected SRGB, found `{gamma}`")));
        }
        let (mut mean, mut std) = (Some(image.mean.clone()).filter(|v| !v.is_empty()), Some(image.std.clone()).filter(|v| !v.is_empty()));
        notes.own(&mut mean, "inputs.image.mean", json("one or three numbers, as in `[0.485, 0.456, 0.406]`"))?;
        notes.own(&mut std, "inputs.image.std", json("one or three numbers, as in `[0.229, 0.224, 0.225]`"))?;
        (image.mean, image.std) = (mean.unwrap_or_default(), std.unwrap_or_default());
        notes.own(&mut image.range, "inputs.image.range", json("a low and a high number, as in `[0, 255]`"))?;
        notes.own(&mut image.layout, "inputs.image.layout", word(&[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)]))?;
        let orders = word(&[("rgb", ChannelOrder::Rgb), ("bgr", ChannelOrder::Bgr)]);
        notes.own(&mut image.channel_order, "inputs.image.channel_order", orders)?;
    }
    if let Some(audio) = config.inputs.audio.as_mut().filter(|_| of.contains(&Modality::Audio)) {
        notes.fill(&mut audio.sample_rate_hz, "inputs.audio.sample_rate_hz", "sample_rate", json("a rate of 1..=384000 Hz"))?;
        notes.own(&mut audio.sample_rate_hz, "inputs.audio.sample_rate_hz", json("a rate of 1..=384000 Hz"))?;
        notes.own(&mut audio.scale, "inputs.audio.scale", json("a number above 0"))?;
        notes.own(&mut audio.align, "inputs.audio.align", word(&[("start", Align::Start), ("centre", Align::Centre)]))?;
        notes.own(&mut audio.cut, "inputs.audio.cut", word(&[("start", Cut::Start), ("centre", Cut::Centre)]))?;
    }
    if let Some(text) = config.inputs.text.as_mut().filter(|_| of.contains(&Modality::Text)) {
        if text.vocabulary.is_none() {
            // Blanks may be known characters.
            let mut known = text.characters.take();
            if let (None, Some(own)) = (&known, notes.all.get("hardmine.characters").filter(|own| !own.is_empty())) {
                notes.taken.push(format!("inputs.text.characters = `{own}` (the file's `hardmine.characters`)"));
                known = Some(own.clone());
            }
            text.characters = known;
        }
        notes.own(&mut text.lowercase, "inputs.text.lowercase", word(&[("true", true), ("false", false)]))?;
        if text.characters.is_none() && text.vocabulary.is_none() {
            let message =
                "expected either `characters` or `vocabulary` of the text, or the note `hardmine.characters` in the file; found none";
            return Err(Error::model(message));
        }
    }
    // What the file says has the ranges of what a pipeline says.
    let problems = config.problems();
    if problems.is_empty() {
        Ok((config, notes.taken))
    } else {
        Err(Error::pipeline("the notes of the model's file cannot be used", problems))
    }
}
