//! Audio: WAV, FLAC, Ogg Vorbis and MP3 in; 16-bit WAV out. Samples lie in `-1..=1`.

use super::{
    compressed, first_bytes, guarded,
    limits::{
        MAX_AUDIO_CHANNELS, MAX_AUDIO_SECONDS, MAX_AUDIO_VALUES, MAX_FLOAT_SAMPLE, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ,
    },
    wav,
};
use crate::{
    error::{Error, Result},
    sample::{AudioBuffer, Encoded, Format, Media},
};

/// Rate, channels and frames of an audio file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Frames a second.
    pub sample_rate_hz: u32,
    /// Channels.
    pub channels: usize,
    /// Samples a channel.
    pub frames: usize,
}

/// Decodes audio. Integers are divided by their full scale (16 bits: by 32768); floating-point samples that overshoot are clipped to
/// `-1..=1`. Errors: no known format, a header that promises more than the file holds, damaged data, no sample, samples that
/// are not finite or not scaled to `-1..=1`, a rate, channel count or length beyond [`super::limits`].
pub fn decode(bytes: &[u8]) -> Result<Media<AudioBuffer>> {
    let (buffer, format, extension) = match kind(bytes)? {
        Kind::Wav => (guarded("WAV", || wav::decode(bytes))?, Format::Wav, "wav"),
        Kind::Compressed(extension) => {
            let buffer = guarded(compressed::name(extension), || compressed::decode(bytes, extension))?;
            (buffer, Format::OtherAudio, extension)
        }
    };
    Ok(Media::from_file(Encoded { bytes: bytes.to_vec(), format, extension: extension.into() }, buffer))
}

/// Rate, channels and length: of WAV from the header alone, of other formats by decoding.
pub fn shape(bytes: &[u8]) -> Result<Shape> {
    match kind(bytes)? {
        Kind::Wav => guarded("WAV", || wav::shape(bytes)),
        Kind::Compressed(extension) => {
            let audio = guarded(compressed::name(extension), || compressed::decode(bytes, extension))?;
            Ok(Shape { sample_rate_hz: audio.sample_rate_hz(), channels: audio.channels(), frames: audio.frames() })
        }
    }
}

/// Encodes as 16-bit WAV: `round(v * 32768)` clamped to 16 bits. The same samples give the same bytes.
pub fn encode(audio: &AudioBuffer) -> Result<Encoded> {
    Ok(Encoded { bytes: wav::encode(audio)?, format: Format::Wav, extension: "wav".into() })
}

enum Kind {
    Wav,
    Compressed(&'static str),
}

fn kind(bytes: &[u8]) -> Result<Kind> {
    match bytes {
        [] => Err(Error::data("the audio file is empty (0 bytes); expected WAV, FLAC, Ogg Vorbis or MP3")),
        [b'R', b'I', b'F', b'F', ..] => Ok(Kind::Wav),
        [b'f', b'L', b'a', b'C', ..] => Ok(Kind::Compressed("flac")),
        [b'O', b'g', b'g', b'S', ..] => Ok(Kind::Compressed("ogg")),
        [b'I', b'D', b'3', ..] => Ok(Kind::Compressed("mp3")),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => Ok(Kind::Compressed("mp3")),
        _ => Err(Error::data(format!(
            "not audio that is known: it begins with {}; expected WAV, FLAC, Ogg Vorbis or MP3",
            first_bytes(bytes)
        ))),
    }
}

/// Refuses rates, channel counts and lengths beyond the limits.
pub(super) fn check_shape(shape: Shape) -> Result<()> {
    let Shape { sample_rate_hz: rate, channels, frames } = shape;
    if !(MIN_SAMPLE_RATE_HZ..=MAX_SAMPLE_RATE_HZ).contains(&rate) {
        return Err(Error::data(format!("the sample rate is {rate} Hz; expected {MIN_SAMPLE_RATE_HZ}..={MAX_SAMPLE_RATE_HZ}")));
    }
    if !(1..=MAX_AUDIO_CHANNELS).contains(&channels) {
        return Err(Error::data(format!("the audio has {channels} channels; expected 1..={MAX_AUDIO_CHANNELS}")));
    }
    if frames == 0 {
        return Err(Error::data("the audio is empty: it holds no sample; expected at least one"));
    }
    if frames as u64 > MAX_AUDIO_SECONDS * u64::from(rate) || frames.saturating_mul(channels) > MAX_AUDIO_VALUES {
        let seconds = frames as f64 / f64::from(rate);
        return Err(Error::data(format!(
            "the audio is {seconds:.1} s long in {channels} channels; at most {MAX_AUDIO_SECONDS} s and {MAX_AUDIO_VALUES} values are read"
        )));
    }
    Ok(())
}

/// Refuses floating-point samples that are no waveform, and clips overshoot.
pub(super) fn check_floats(samples: &mut [f32]) -> Result<()> {
    for (at, sample) in samples.iter_mut().enumerate() {
        if !sample.is_finite() {
            return Err(Error::data(format!("audio sample {at} is {sample}; expected a finite number in -1..=1")));
        }
        if sample.abs() > MAX_FLOAT_SAMPLE {
            return Err(Error::data(format!("audio sample {at} is {sample}; expected -1..=1 (is the file scaled to integers?)")));
        }
        *sample = sample.clamp(-1.0, 1.0);
    }
    Ok(())
}
