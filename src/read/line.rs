//! One line of a manifest.

use super::WrittenLabel;
use crate::{
    codec::limits::MAX_TEXT_BYTES,
    error::{Error, Result},
    sample::{Annotations, BoundingBox, Event, Keypoint, Mask, TextSpan, WordTime},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Most bytes of an id.
const MAX_ID_BYTES: usize = 512;

/// What a line says of a sample. Media are paths and have not been looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// The id, where one is written.
    pub id: Option<String>,
    /// Path of the image.
    pub image: Option<String>,
    /// Path of the audio.
    pub audio: Option<String>,
    /// The text itself; never empty.
    pub text: Option<String>,
    /// Spans of the text.
    pub spans: Vec<TextSpan>,
    /// The label.
    pub label: Option<WrittenLabel>,
    /// How the label is written.
    pub kind: Option<LabelKind>,
    /// Boxes, keypoints, masks, events and word times, checked as far as that goes without the media.
    pub annotations: Annotations,
    /// All other fields in their order.
    pub fields: Map<String, Value>,
}

/// How a label is written; all labels of a file are written alike, except that shares by name go with any, and whole numbers as
/// strings with strings and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    /// `"label": "cat"`.
    Name,
    /// `"label": "3"`: the same class as `3`.
    Digits,
    /// `"label": 3`.
    Number,
    /// `"label": true`.
    Flag,
    /// `"label": { "cat": 0.9, "dog": 0.1 }`.
    Shares,
    /// `"label": [0.9, 0.1]`, and how many; the classes are `0`, `1`, ...
    List(usize),
}

impl LabelKind {
    /// Words for messages.
    pub fn about(self) -> String {
        match self {
            Self::Name | Self::Digits => "a string".into(),
            Self::Number => "a whole number".into(),
            Self::Flag => "true or false".into(),
            Self::Shares => "shares by name".into(),
            Self::List(n) => format!("a list of {n} shares"),
        }
    }
    /// Whether both may stand in one file.
    pub fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Shares, _) | (_, Self::Shares) => true,
            (Self::Digits, other) | (other, Self::Digits) => other != Self::Flag,
            (Self::Number, Self::List(_)) | (Self::List(_), Self::Number) => true,
            (one, other) => one == other,
        }
    }
    /// Whether it says how the others are written.
    pub fn decides(self) -> bool {
        !matches!(self, Self::Shares | Self::Digits)
    }
}

impl Line {
    /// Reads one line. Errors say the field where there is one; line and file are the caller's to add.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let hint = if line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]) { " (is it UTF-16?)" } else { "" };
            Error::data(format!("not UTF-8{hint}: byte {} of the line does not continue a character", error.valid_up_to()))
        })?;
        let value: Value = serde_json::from_str(text).map_err(|error| broken_json(&error))?;
        let Value::Object(mut fields) = value else {
            return Err(Error::data(format!(
                "expected a JSON object such as {{\"id\": \"a\", \"text\": \"...\"}}, found {}",
                shown(&value)
            )));
        };
        let mut take = |name: &str| fields.shift_remove(name).filter(|value| !value.is_null());
        let id = take("id").map(read_id).transpose().map_err(in_field("id"))?;
        let image = take("image").map(read_path).transpose().map_err(in_field("image"))?;
        let audio = take("audio").map(read_path).transpose().map_err(in_field("audio"))?;
        let text = take("text").map(read_text).transpose().map_err(in_field("text"))?.flatten();
        let (kind, label) = take("label").map(read_label).transpose().map_err(in_field("label"))?.unzip();
        let boxes: Vec<BoundingBox> = take_list("boxes", &mut take)?;
        let keypoints: Vec<Keypoint> = take_list("keypoints", &mut take)?;
        let masks: Vec<Mask> = take_list("masks", &mut take)?;
        let events: Vec<Event> = take_list("events", &mut take)?;
        let words: Vec<WordTime> = take_list("words", &mut take)?;
        let spans: Vec<TextSpan> = take_list("spans", &mut take)?;
        let annotations = Annotations { boxes, keypoints, masks, events, words };
        let line = Self { id, image, audio, text, spans, label, kind, annotations, fields };
        line.check()?;
        Ok(line)
    }

    fn check(&self) -> Result<()> {
        if self.image.is_none() && self.audio.is_none() && self.text.is_none() {
            return Err(Error::data("no modality: expected at least one of `image`, `audio`, `text`"));
        }
        let Annotations { boxes, keypoints, masks, events, words } = &self.annotations;
        let needed = [
            ("boxes", boxes.is_empty(), "image", self.image.is_some()),
            ("keypoints", keypoints.is_empty(), "image", self.image.is_some()),
            ("masks", masks.is_empty(), "image", self.image.is_some()),
            ("events", events.is_empty(), "audio", self.audio.is_some()),
            ("words", words.is_empty(), "text", self.text.is_some()),
            ("words", words.is_empty(), "audio", self.audio.is_some()),
            ("spans", self.spans.is_empty(), "text", self.text.is_some()),
        ];
        if let Some((field, _, medium, _)) = needed.into_iter().find(|(_, empty, _, there)| !empty && !there) {
            return Err(Error::data(format!("it describes the {medium}, and the line has no `{medium}`")).at("field", field));
        }
        let text = self.text.as_deref().unwrap_or_default();
        for (i, one) in boxes.iter().enumerate() {
            let numbers = [one.x, one.y, one.width, one.height];
            if !numbers.iter().all(|v| v.is_finite()) || one.x < 0.0 || one.y < 0.0 || one.width <= 0.0 || one.height <= 0.0 {
                let [x, y, width, height] = numbers;
                let found = format!("x {x}, y {y}, width {width}, height {height}; expected x, y of at least 0 and a size above 0");
                return Err(Error::data(found).at("field", format!("boxes[{i}]")));
            }
        }
        for (i, one) in keypoints.iter().enumerate() {
            check_place(one.x, one.y).map_err(in_field(&format!("keypoints[{i}]")))?;
        }
        for (i, one) in masks.iter().enumerate() {
            let field = format!("masks[{i}].outline");
            if one.outline.len() < 3 {
                return Err(Error::data(format!("{} corners; expected at least 3", one.outline.len())).at("field", field));
            }
            one.outline.iter().try_for_each(|[x, y]| check_place(*x, *y)).map_err(in_field(&field))?;
        }
        for (i, one) in events.iter().enumerate() {
            check_times(one.start_s, one.end_s).map_err(in_field(&format!("events[{i}]")))?;
        }
        for (i, one) in words.iter().enumerate() {
            let field = format!("words[{i}]");
            check_times(one.start_s, one.end_s).map_err(in_field(&field))?;
            check_bytes(text, one.start, one.end).map_err(in_field(&field))?;
        }
        for (i, one) in self.spans.iter().enumerate() {
            check_bytes(text, one.start, one.end).map_err(in_field(&format!("spans[{i}]")))?;
        }
        Ok(())
    }
}

fn check_place(x: f32, y: f32) -> Result<()> {
    if x.is_finite() && y.is_finite() && x >= 0.0 && y >= 0.0 {
        return Ok(());
    }
    Err(Error::data(format!("x {x}, y {y}; expected both to be at least 0")))
}

fn in_field(field: &str) -> impl Fn(Error) -> Error {
    let field = field.to_owned();
    move |error| error.at("field", &field)
}

pub(super) fn broken_json(error: &serde_json::Error) -> Error {
    let told = error.to_string();
    let told = told.rsplit_once(" at line ").map_or(told.as_str(), |(message, _)| message);
    Error::data(format!("not valid JSON at column {}: {told}", error.column()))
}

/// A value for messages, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 { text } else { format!("{}...", text.chars().take(40).collect::<String>()) }
}

fn read_id(value: Value) -> Result<String> {
    let id = match value {
        Value::String(id) => id,
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        other => return Err(Error::data(format!("expected a string or a whole number, found {}", shown(&other)))),
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        let found = shown(&Value::String(id));
        return Err(Error::data(format!("expected 1 to {MAX_ID_BYTES} bytes without control characters, found {found}")));
    }
    Ok(id)
}

fn read_path(value: Value) -> Result<String> {
    match value {
        Value::String(path) if path.contains("://") => {
            Err(Error::data(format!("expected a path of a file on this machine, found the address {path}")))
        }
        Value::String(path) if !path.is_empty() && !path.contains('\0') => Ok(path),
        other => Err(Error::data(format!("expected a path (or null where the medium is missing), found {}", shown(&other)))),
    }
}

fn read_text(value: Value) -> Result<Option<String>> {
    match value {
        Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            Err(Error::data(format!("a text of {} bytes; at most {MAX_TEXT_BYTES} are read", text.len())))
        }
        // A text without a word is a missing one.
        Value::String(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        other => Err(Error::data(format!("expected a string (or null where the text is missing), found {}", shown(&other)))),
    }
}

fn read_label(value: Value) -> Result<(LabelKind, WrittenLabel)> {
    match value {
        Value::String(name) if !name.is_empty() && !name.chars().any(char::is_control) => {
            let digits = name.parse::<i64>().is_ok_and(|number| number.to_string() == name);
            Ok((if digits { LabelKind::Digits } else { LabelKind::Name }, WrittenLabel::Name(name)))
        }
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok((LabelKind::Number, WrittenLabel::Name(number.to_string()))),
        Value::Bool(flag) => Ok((LabelKind::Flag, WrittenLabel::Name(flag.to_string()))),
        Value::Object(shares) => {
            let shares: Vec<(String, Value)> = shares.into_iter().collect();
            Ok((LabelKind::Shares, read_shares(shares)?))
        }
        Value::Array(list) => {
            let kind = LabelKind::List(list.len());
            Ok((kind, read_shares(list.into_iter().enumerate().map(|(i, share)| (i.to_string(), share)).collect())?))
        }
        other => Err(Error::data(format!(
            "expected a class name, a whole number, true, false, or shares that sum to 1, found {}",
            shown(&other)
        ))),
    }
}

fn read_shares(written: Vec<(String, Value)>) -> Result<WrittenLabel> {
    let mut shares = Vec::with_capacity(written.len());
    for (name, value) in written {
        match value.as_f64() {
            _ if name.is_empty() || name.chars().any(char::is_control) => {
                let found = shown(&Value::String(name));
                return Err(Error::data(format!("expected class names without control characters, found {found}")));
            }
            Some(share) if (0.0..=1.001).contains(&share) => shares.push((name, share as f32)),
            _ => return Err(Error::data(format!("the share of `{name}` is {}; expected a number in 0..=1", shown(&value)))),
        }
    }
    if shares.is_empty() {
        return Err(Error::data("no share is given; expected shares that sum to 1"));
    }
    let total: f64 = shares.iter().map(|(_, share)| f64::from(*share)).sum();
    if (total - 1.0).abs() > 1e-3 {
        return Err(Error::data(format!("the shares sum to {total:.4}; expected 1 within 0.001")));
    }
    Ok(WrittenLabel::Soft(shares))
}

fn take_list<T: DeserializeOwned>(field: &str, take: &mut impl FnMut(&str) -> Option<Value>) -> Result<Vec<T>> {
    let Some(value) = take(field) else { return Ok(Vec::new()) };
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { field.to_owned() } else { format!("{field}{}{path}", if path.starts_with('[') { "" } else { "." }) };
        Error::data(error.inner().to_string()).at("field", place)
    })
}

fn check_times(start_s: f64, end_s: f64) -> Result<()> {
    if start_s >= 0.0 && start_s <= end_s && end_s.is_finite() {
        return Ok(());
    }
    Err(Error::data(format!("from {start_s} s to {end_s} s; expected 0 <= start_s <= end_s")))
}

fn check_bytes(text: &str, start: usize, end: usize) -> Result<()> {
    if start < end && text.get(start..end).is_some() {
        return Ok(());
    }
    let length = text.len();
    Err(Error::data(format!("bytes {start}..{end}; expected whole characters inside the text of {length} bytes, start before end")))
}
