//! Media of a page: generated samples read back from the run's folder, and data URIs.

use super::picture;
use crate::{
    codec,
    sample::{AudioBuffer, Encoded, Format, ImageBuffer, Label, Media, Sample, SampleId, Text},
};
use base64::Engine;
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::{Component, Path, PathBuf},
};

/// Encoded images up to this many bytes are embedded as they are, larger ones as a thumbnail.
const MOST_IMAGE_BYTES: usize = 48 << 10;
/// Longer side of a thumbnail in pixels.
const THUMBNAIL: usize = 256;
/// Audio beyond this many bytes is shown but not embedded.
const MOST_AUDIO_BYTES: usize = 600 << 10;

/// The generated samples of a run's folder, by id.
pub(super) struct Generated {
    folder: PathBuf,
    lines: HashMap<String, Value>,
}

impl Generated {
    /// Reads `generated/manifest.jsonl` under `dir`; a line that cannot be read is passed over, a folder without one has no samples.
    pub(super) fn open(dir: &Path) -> Self {
        let folder = dir.join("generated");
        let text = fs::read_to_string(folder.join("manifest.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| Some((line.get("id")?.as_str()?.to_owned(), line)))
            .collect();
        Self { folder, lines }
    }
    /// The sample with the media that can be read.
    pub(super) fn sample(&self, id: &SampleId) -> Option<Sample> {
        let line = self.lines.get(id.as_str())?;
        let mut sample = Sample::new(id.clone());
        let text = |field: &str| line.get(field).and_then(Value::as_str);
        sample.image = text("image").and_then(|path| self.bytes(path)).and_then(|bytes| codec::image::decode(&bytes).ok());
        sample.audio = text("audio").and_then(|path| self.bytes(path)).and_then(|bytes| codec::audio::decode(&bytes).ok());
        sample.text = text("text").map(|text| codec::text::media(Text::new(text)));
        Some(sample)
    }
    /// The label as it stands in the manifest.
    pub(super) fn label(&self, id: &SampleId, classes: &[String]) -> Option<String> {
        label_words(self.lines.get(id.as_str())?.get("label")?, classes)
    }
    /// The bytes of a file inside the folder; a path that leaves it is not followed.
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let path = Path::new(path);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        inside.then(|| fs::read(self.folder.join(path)).ok()).flatten()
    }
}

/// A label of a manifest in words: a name or number, of a soft label the shares that matter.
fn label_words(label: &Value, classes: &[String]) -> Option<String> {
    match label {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(shares) => {
            let shares = shares.iter().map(|share| share.as_f64().map(|share| share as f32)).collect::<Option<Vec<f32>>>()?;
            Some(soft_words(&shares, |class| classes.get(class).cloned().unwrap_or_else(|| class.to_string())))
        }
        Value::Object(shares) => {
            let (names, shares): (Vec<&String>, Vec<f32>) =
                shares.iter().filter_map(|(name, share)| Some((name, share.as_f64()? as f32))).unzip();
            Some(soft_words(&shares, |class| names[class].clone()))
        }
        Value::Null => None,
    }
}

/// A label of a sample in words.
pub(super) fn label_of(sample: &Sample, classes: &[String]) -> Option<String> {
    let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    match sample.label.as_ref()? {
        Label::Class(class) => Some(name(*class)),
        Label::Soft(shares) => Some(soft_words(shares, name)),
    }
}

fn soft_words(shares: &[f32], name: impl Fn(usize) -> String) -> String {
    let mut order: Vec<usize> = (0..shares.len()).filter(|class| shares[*class] >= 0.005).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
    let words: Vec<String> =
        order.into_iter().take(3).map(|class| format!("{} {:.0} %", name(class), f64::from(shares[class]) * 100.0)).collect();
    words.join(", ")
}

/// An image as a data URI: its own bytes where a browser knows the format and they are few, else a PNG thumbnail.
pub(super) fn image_uri(media: &Media<ImageBuffer>) -> Option<String> {
    let kind = media.encoded().and_then(|encoded| match encoded.format {
        Format::Png => Some(("image/png", encoded)),
        Format::Jpeg => Some(("image/jpeg", encoded)),
        _ => None,
    });
    match kind {
        Some((kind, encoded)) if encoded.bytes.len() <= MOST_IMAGE_BYTES => Some(uri(kind, &encoded.bytes)),
        _ => picture_uri(&picture::thumbnail(media.get(), THUMBNAIL)),
    }
}

/// A computed picture as a PNG data URI.
pub(super) fn picture_uri(picture: &ImageBuffer) -> Option<String> {
    codec::image::encode(picture).ok().map(|encoded| uri("image/png", &encoded.bytes))
}

/// Audio as a data URI, `None` where it is too large: its own bytes where a browser knows the format, else 16-bit WAV.
pub(super) fn audio_uri(media: &Media<AudioBuffer>) -> Option<String> {
    fn known(encoded: &Encoded) -> Option<&'static str> {
        match (encoded.format, encoded.extension.as_str()) {
            (Format::Wav, _) => Some("audio/wav"),
            (Format::OtherAudio, "flac") => Some("audio/flac"),
            (Format::OtherAudio, "ogg") => Some("audio/ogg"),
            (Format::OtherAudio, "mp3") => Some("audio/mpeg"),
            _ => None,
        }
    }
    if let Some((kind, encoded)) = media.encoded().and_then(|encoded| known(encoded).map(|kind| (kind, encoded))) {
        return (encoded.bytes.len() <= MOST_AUDIO_BYTES).then(|| uri(kind, &encoded.bytes));
    }
    let encoded = codec::audio::encode(media.get()).ok()?;
    (encoded.bytes.len() <= MOST_AUDIO_BYTES).then(|| uri("audio/wav", &encoded.bytes))
}

fn uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_words() {
        let classes: Vec<String> = ["zero", "one", "two"].map(str::to_owned).to_vec();
        let words = |text: &str| label_words(&serde_json::from_str(text).unwrap(), &classes);
        assert_eq!(words("3").as_deref(), Some("3"));
        assert_eq!(words("\"dog\"").as_deref(), Some("dog"));
        assert_eq!(words("[0.3, 0.0, 0.7]").as_deref(), Some("two 70 %, zero 30 %"));
        assert_eq!(words("{\"a\": 0.2, \"b\": 0.8}").as_deref(), Some("b 80 %, a 20 %"));
        assert_eq!(words("null"), None);
    }

    #[test]
    fn a_manifest_cannot_reach_outside_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("generated")).unwrap();
        fs::write(dir.path().join("secret.png"), codec::image::encode(&ImageBuffer::filled(2, 2, 1, 0).unwrap()).unwrap().bytes).unwrap();
        fs::copy(dir.path().join("secret.png"), dir.path().join("generated/own.png")).unwrap();
        let absolute = dir.path().join("secret.png").display().to_string();
        let lines = [("a", "../secret.png"), ("b", absolute.as_str()), ("c", "./own.png")]
            .map(|(id, image)| serde_json::json!({ "id": id, "image": image }).to_string());
        fs::write(dir.path().join("generated/manifest.jsonl"), lines.join("\n") + "\nnot json\n").unwrap();
        let generated = Generated::open(dir.path());
        let image = |id: &str| generated.sample(&id.into()).unwrap().image;
        assert!(image("a").is_none() && image("b").is_none());
        assert_eq!(image("c").unwrap().get().width(), 2);
        assert!(generated.sample(&"d".into()).is_none());
    }

    #[test]
    fn large_images_become_thumbnails() {
        let noise: Vec<u8> = (0..600 * 300 * 3u32).map(scattered).collect();
        let large = codec::image::encode(&ImageBuffer::new(600, 300, 3, noise).unwrap()).unwrap();
        assert!(large.bytes.len() > MOST_IMAGE_BYTES);
        let uri = image_uri(&codec::image::decode(&large.bytes).unwrap()).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        assert_eq!(codec::image::size(&bytes).unwrap(), (256, 128, 3));
    }

    fn scattered(i: u32) -> u8 {
        (i.wrapping_mul(2_654_435_761) >> 13) as u8
    }
}
