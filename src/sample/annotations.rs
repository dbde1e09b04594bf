use serde::{Deserialize, Serialize};

/// What a manifest says about places in the media: they follow every synchronized transform.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Annotations {
    /// Objects in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<BoundingBox>,
    /// Places in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keypoints: Vec<Keypoint>,
    /// Outlines of objects in the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<Mask>,
    /// Sounds in the audio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// When each word of a transcript is spoken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordTime>,
}

/// An axis-aligned box in pixels from the top left corner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Name of the object.
    pub label: String,
}

/// A named place of the image, in pixels from the top left corner (the centre of the first pixel is at 0.5, 0.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keypoint {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
    /// What is there: `left_eye`.
    pub label: String,
}

/// The part of the image that an object covers, as a polygon. An object in several parts has several of the same name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    /// Corners in order, as x and y in pixels from the top left corner; at least three, the last is joined to the first.
    pub outline: Vec<[f32; 2]>,
    /// Name of the object.
    pub label: String,
}

/// A sound between two times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Begin in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
    /// Name of the sound.
    pub label: String,
}

/// A spoken word: a byte range of the text and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordTime {
    /// First byte in the text.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Begin in seconds.
    pub start_s: f64,
    /// End in seconds.
    pub end_s: f64,
}

/// A byte range of a text with its tag: an entity, or `protected` for words that no edit may touch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSpan {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Tag of the entity, or `protected`.
    pub tag: String,
}
