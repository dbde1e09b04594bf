use super::annotations::TextSpan;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// BLAKE3 digest of some bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
    /// From a hash state, for data that comes in pieces.
    pub fn finish(hasher: &blake3::Hasher) -> Self {
        Self(*hasher.finalize().as_bytes())
    }
    /// The first 16 hexadecimal digits, for file names.
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let hash = blake3::Hash::from_hex(text.as_bytes()).map_err(|_| serde::de::Error::custom("expected 64 hexadecimal digits"))?;
        Ok(Self(*hash.as_bytes()))
    }
}

/// The format of encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// PNG image.
    Png,
    /// JPEG image.
    Jpeg,
    /// Another still image that the decoder knows.
    OtherImage,
    /// WAV audio.
    Wav,
    /// FLAC, Ogg Vorbis or MP3 audio.
    OtherAudio,
    /// UTF-8 text.
    Utf8,
}

/// Encoded bytes as they stand in a file.
#[derive(Debug)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their format.
    pub format: Format,
    /// File extension without a dot, lower case (`png`, `wav`).
    pub extension: String,
}

/// One medium of a sample: the decoded buffer, and the encoded bytes it came from. Shared; an untouched medium is
/// written back as its original bytes, and a changed one loses them.
#[derive(Debug)]
pub struct Media<T> {
    encoded: Option<Arc<Encoded>>,
    decoded: Arc<T>,
    digest: Digest,
}

impl<T> Clone for Media<T> {
    fn clone(&self) -> Self {
        Self { encoded: self.encoded.clone(), decoded: self.decoded.clone(), digest: self.digest }
    }
}

impl<T: Bytes> Media<T> {
    /// A medium as read from a file: bytes and what they decode to.
    pub fn from_file(encoded: Encoded, decoded: T) -> Self {
        let digest = Digest::of(&encoded.bytes);
        Self { encoded: Some(Arc::new(encoded)), decoded: Arc::new(decoded), digest }
    }
    /// A medium that was made or changed and is not encoded yet; a shared buffer stays shared.
    pub fn new(decoded: impl Into<Arc<T>>) -> Self {
        let decoded = decoded.into();
        let digest = decoded.digest();
        Self { encoded: None, decoded, digest }
    }
    /// The decoded buffer.
    pub fn get(&self) -> &T {
        &self.decoded
    }
    /// The decoded buffer, shared.
    pub fn shared(&self) -> Arc<T> {
        self.decoded.clone()
    }
    /// The encoded bytes, if they are known.
    pub fn encoded(&self) -> Option<&Arc<Encoded>> {
        self.encoded.as_ref()
    }
    /// Digest of the encoded bytes, of the decoded buffer where there are none.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The bytes that a decoded buffer's digest is taken of.
pub trait Bytes {
    /// Digest of shape and content.
    fn digest(&self) -> Digest;
}

/// Eight-bit pixels, rows from the top, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBuffer {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl ImageBuffer {
    /// Takes `height * width * channels` bytes; channels are 1 (gray), 3 (RGB) or 4 (RGBA), sides at least 1.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self, String> {
        if width == 0 || height == 0 {
            return Err(format!("an image has at least one pixel, found {width}x{height}"));
        }
        if !matches!(channels, 1 | 3 | 4) {
            return Err(format!("an image has 1, 3 or 4 channels, found {channels}"));
        }
        let wanted = width.checked_mul(height).and_then(|n| n.checked_mul(channels));
        if wanted != Some(pixels.len()) {
            return Err(format!("a {width}x{height} image with {channels} channels needs {wanted:?} bytes, found {}", pixels.len()));
        }
        Ok(Self { width, height, channels, pixels })
    }
    /// All pixels of one value.
    pub fn filled(width: usize, height: usize, channels: usize, value: u8) -> Result<Self, String> {
        Self::new(width, height, channels, vec![value; width.saturating_mul(height).saturating_mul(channels)])
    }
    /// Columns.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }
    /// Rows.
    #[inline]
    pub fn height(&self) -> usize {
        self.height
    }
    /// 1, 3 or 4.
    #[inline]
    pub fn channels(&self) -> usize {
        self.channels
    }
    /// All bytes.
    #[inline]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
    /// All bytes, to change.
    #[inline]
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }
    /// The channels of one pixel. Panics outside the image, like a slice.
    #[inline]
    pub fn pixel(&self, x: usize, y: usize) -> &[u8] {
        let at = (y * self.width + x) * self.channels;
        &self.pixels[at..at + self.channels]
    }
    /// The channels of one pixel, to change. Panics outside the image, like a slice.
    #[inline]
    pub fn pixel_mut(&mut self, x: usize, y: usize) -> &mut [u8] {
        let at = (y * self.width + x) * self.channels;
        &mut self.pixels[at..at + self.channels]
    }
}

impl Bytes for ImageBuffer {
    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for n in [self.width, self.height, self.channels] {
            hasher.update(&(n as u64).to_le_bytes());
        }
        hasher.update(&self.pixels);
        Digest::finish(&hasher)
    }
}

/// A waveform in `-1..=1`, channels interleaved.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioBuffer {
    sample_rate_hz: u32,
    channels: usize,
    samples: Vec<f32>,
}

/// Whether all are finite. One more than an exponent of ones reaches the bit of the sign; that bit is gathered in lanes, by plain loops, which run in vector
/// registers.
fn all_finite(samples: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let (blocks, rest) = samples.as_chunks::<16>();
    let mut seen = [0u32; 16];
    for block in blocks {
        for i in 0..16 {
            seen[i] |= (block[i].to_bits() & EXPONENT).wrapping_add(0x0080_0000);
        }
    }
    seen.iter().all(|bits| bits >> 31 == 0) && rest.iter().all(|s| s.is_finite())
}

impl AudioBuffer {
    /// Takes whole frames of finite samples; at least one channel, one frame, and a rate of at least 1 Hz.
    pub fn new(sample_rate_hz: u32, channels: usize, samples: Vec<f32>) -> Result<Self, String> {
        if sample_rate_hz == 0 {
            return Err("a sample rate is at least 1 Hz, found 0".into());
        }
        if channels == 0 || samples.is_empty() || !samples.len().is_multiple_of(channels) {
            return Err(format!("audio has at least one whole frame, found {} samples in {channels} channels", samples.len()));
        }
        if !all_finite(&samples)
            && let Some(at) = samples.iter().position(|s| !s.is_finite())
        {
            return Err(format!("audio samples are finite numbers, found {} at {at}", samples[at]));
        }
        Ok(Self { sample_rate_hz, channels, samples })
    }
    /// Frames a second.
    #[inline]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }
    /// Interleaved channels.
    #[inline]
    pub fn channels(&self) -> usize {
        self.channels
    }
    /// Samples a channel.
    #[inline]
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels
    }
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.sample_rate_hz)
    }
    /// All samples, interleaved.
    #[inline]
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }
    /// A new sound of the same kind whose samples are `change` of these: copied piece by piece, so that a piece is changed while it is in the nearest cache. `change`
    /// keeps finite samples finite and looks at each alone.
    pub(crate) fn pieces(&self, change: impl Fn(&mut [f32])) -> Self {
        let mut samples = Vec::with_capacity(self.samples.len());
        for piece in self.samples.chunks(4096) {
            let start = samples.len();
            samples.extend_from_slice(piece);
            change(&mut samples[start..]);
        }
        Self { samples, ..*self }
    }
    /// All samples, to change. Keep them finite.
    #[inline]
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }
    /// The mean of the channels.
    pub fn mono(&self) -> Vec<f32> {
        if self.channels == 1 {
            return self.samples.clone();
        }
        self.samples.chunks_exact(self.channels).map(|frame| frame.iter().sum::<f32>() / self.channels as f32).collect()
    }
}

impl Bytes for AudioBuffer {
    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.sample_rate_hz.to_le_bytes()).update(&(self.channels as u64).to_le_bytes());
        for sample in &self.samples {
            hasher.update(&sample.to_le_bytes());
        }
        Digest::finish(&hasher)
    }
}

/// A caption or transcript with the spans that must survive an edit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// The text.
    pub content: String,
    /// Entities and protected words, as byte ranges of `content`.
    pub spans: Vec<TextSpan>,
}

impl Text {
    /// Text without spans.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into(), spans: Vec::new() }
    }
}

impl Bytes for Text {
    fn digest(&self) -> Digest {
        Digest::of(self.content.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_refuse_what_they_cannot_hold() {
        assert!(ImageBuffer::new(0, 4, 1, vec![]).is_err());
        assert!(ImageBuffer::new(2, 2, 2, vec![0; 8]).is_err());
        assert!(ImageBuffer::new(2, 2, 3, vec![0; 11]).is_err());
        assert!(AudioBuffer::new(8000, 1, vec![]).is_err());
        assert!(AudioBuffer::new(8000, 2, vec![0.0; 3]).is_err());
        assert!(AudioBuffer::new(8000, 1, vec![f32::NAN]).is_err());
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(b"x");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }

    #[test]
    fn a_changed_medium_has_another_digest() {
        let a = Media::new(ImageBuffer::filled(2, 2, 1, 0).unwrap());
        let b = Media::new(ImageBuffer::filled(4, 1, 1, 0).unwrap());
        assert_ne!(a.digest(), b.digest());
    }
}
