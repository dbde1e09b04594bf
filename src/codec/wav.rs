//! WAV: the chunks are walked here, so that a length is checked against the file before it is believed; `hound` reads the format and the
//! samples.

use super::audio::{Shape, check_floats, check_shape};
use crate::{
    error::{Error, Result},
    sample::AudioBuffer,
};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::io::{Chain, Cursor, Read};

type Reader<'a> = WavReader<Chain<Cursor<Vec<u8>>, &'a [u8]>>;

/// Finds the format and data chunks and gives `hound` these two alone.
fn open(bytes: &[u8]) -> Result<Reader<'_>> {
    if bytes.get(8..12) != Some(b"WAVE") {
        return Err(Error::data("the RIFF file is not a WAV file: `WAVE` is missing at byte 8"));
    }
    let mut at = 12;
    let mut format: Option<&[u8]> = None;
    loop {
        let Some(header) = bytes.get(at..at + 8) else {
            let missing = if format.is_none() { "`fmt `" } else { "`data`" };
            return Err(Error::data(format!("the WAV file is truncated: it ends before its {missing} chunk")));
        };
        let promised = u32::from_le_bytes(std::array::from_fn(|i| header[4 + i])) as usize;
        let rest = &bytes[at + 8..];
        let name = &header[..4];
        if promised > rest.len() {
            let what = String::from_utf8_lossy(name).trim_end().to_owned();
            return Err(Error::data(format!(
                "the WAV header lies: its `{what}` chunk promises {promised} bytes, the file holds {}",
                rest.len()
            )));
        }
        match (name, format) {
            (b"fmt ", _) => format = Some(&bytes[at..at + 8 + promised]),
            (b"data", Some(format)) => {
                let mut head = b"RIFF\0\0\0\0WAVE".to_vec();
                head.extend_from_slice(format);
                head.extend_from_slice(header);
                return WavReader::new(Cursor::new(head).chain(&rest[..promised])).map_err(|error| explain(&error, format));
            }
            (b"data", None) => return Err(Error::data("the WAV file has no `fmt ` chunk before its data")),
            _ => {}
        }
        // Chunks begin at even places.
        at += 8 + promised + promised % 2;
    }
}

fn explain(error: &hound::Error, format: &[u8]) -> Error {
    let number = |at: usize| format.get(at..at + 2).map_or(0, |pair| u16::from_le_bytes([pair[0], pair[1]]));
    match error {
        hound::Error::Unsupported => Error::data(format!(
            "the WAV file has format tag {:#06x} with {} bits; expected PCM with 8, 16, 24 or 32 bits or 32-bit floats",
            number(8),
            number(22)
        )),
        other => Error::data(format!("the WAV file cannot be read: {other}")),
    }
}

fn checked(reader: &Reader<'_>) -> Result<Shape> {
    let WavSpec { channels, sample_rate, .. } = reader.spec();
    let shape = Shape { sample_rate_hz: sample_rate, channels: usize::from(channels), frames: reader.duration() as usize };
    check_shape(shape)?;
    Ok(shape)
}

pub(super) fn shape(bytes: &[u8]) -> Result<Shape> {
    checked(&open(bytes)?)
}

pub(super) fn decode(bytes: &[u8]) -> Result<AudioBuffer> {
    let reader = open(bytes)?;
    let Shape { sample_rate_hz, channels, .. } = checked(&reader)?;
    let WavSpec { bits_per_sample: bits, sample_format, .. } = reader.spec();
    let broken = |error: hound::Error| match error {
        hound::Error::Unsupported => {
            Error::data(format!("WAV samples of {bits} bits are not read; expected 8, 16, 24 or 32 bits or 32-bit floats"))
        }
        other => Error::data(format!("the WAV samples cannot be read: {other}")),
    };
    let mut samples = match (sample_format, bits) {
        (SampleFormat::Float, _) => reader.into_samples::<f32>().collect::<Result<Vec<_>, _>>(),
        (SampleFormat::Int, 16) => reader.into_samples::<i16>().map(|s| s.map(|v| f32::from(v) / 32768.0)).collect(),
        (SampleFormat::Int, 1..=32) => {
            let scale = (1u64 << (bits - 1)) as f64;
            reader.into_samples::<i32>().map(|s| s.map(|v| (f64::from(v) / scale) as f32)).collect()
        }
        (SampleFormat::Int, _) => Err(hound::Error::Unsupported),
    }
    .map_err(broken)?;
    if sample_format == SampleFormat::Float {
        check_floats(&mut samples)?;
    }
    AudioBuffer::new(sample_rate_hz, channels, samples).map_err(Error::data)
}

pub(super) fn encode(audio: &AudioBuffer) -> Result<Vec<u8>> {
    check_shape(Shape { sample_rate_hz: audio.sample_rate_hz(), channels: audio.channels(), frames: audio.frames() })?;
    let spec = WavSpec {
        channels: audio.channels() as u16,
        sample_rate: audio.sample_rate_hz(),
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let cannot = |error: hound::Error| Error::data(format!("the audio cannot be written as WAV: {error}"));
    let mut bytes = Cursor::new(Vec::with_capacity(audio.samples().len() * 2 + 128));
    let mut writer = WavWriter::new(&mut bytes, spec).map_err(cannot)?;
    let count = u32::try_from(audio.samples().len()).map_err(|_| Error::data("the audio is too long for a WAV file"))?;
    let mut fast = writer.get_i16_writer(count);
    for sample in audio.samples() {
        // `as` clamps to 16 bits.
        fast.write_sample((f64::from(*sample) * 32768.0).round() as i16);
    }
    fast.flush().map_err(cannot)?;
    writer.finalize().map_err(cannot)?;
    Ok(bytes.into_inner())
}
