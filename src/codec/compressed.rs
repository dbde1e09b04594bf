//! FLAC, Ogg Vorbis and MP3 through `symphonia`.

use super::audio::{Shape, check_floats, check_shape};
use crate::{
    error::{Error, Result},
    sample::AudioBuffer,
};
use std::io::Cursor;
use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error as Cause,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

pub(super) fn name(extension: &str) -> &'static str {
    match extension {
        "flac" => "FLAC",
        "ogg" => "Ogg Vorbis",
        _ => "MP3",
    }
}

pub(super) fn decode(bytes: &[u8], extension: &str) -> Result<AudioBuffer> {
    let name = name(extension);
    let broken = |cause: Cause| match cause {
        Cause::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::data(format!("the {name} file cannot be decoded: it is truncated, the data end before the sound does"))
        }
        other => Error::data(format!("the {name} file cannot be decoded: {other}")),
    };
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes.to_vec())), Default::default());
    let mut hint = Hint::new();
    hint.with_extension(extension);
    let mut format =
        symphonia::default::get_probe().probe(&hint, stream, FormatOptions::default(), MetadataOptions::default()).map_err(broken)?;
    let missing = || Error::data(format!("the {name} file holds no audio track that can be decoded"));
    let track = format.default_track(TrackType::Audio).ok_or_else(missing)?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or_else(missing)?;
    let mut options = AudioDecoderOptions::default();
    // FLAC carries a digest of its samples.
    options.verify = true;
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options).map_err(broken)?;
    let track = track.id;

    let mut samples: Vec<f32> = Vec::new();
    let mut piece: Vec<f32> = Vec::new();
    let mut found: Option<(u32, usize)> = None;
    while let Some(packet) = format.next_packet().map_err(broken)? {
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(broken)?;
        let here = (decoded.spec().rate(), decoded.spec().channels().count());
        if *found.get_or_insert(here) != here {
            return Err(Error::data(format!("the {name} file changes its rate or channels midway; expected one of each")));
        }
        decoded.copy_to_vec_interleaved(&mut piece);
        samples.extend_from_slice(&piece);
        if here.1 > 0 && !samples.is_empty() {
            check_shape(Shape { sample_rate_hz: here.0, channels: here.1, frames: samples.len().div_ceil(here.1) })?;
        }
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(Error::data(format!("the {name} file is damaged or truncated: its samples do not match its own checksum")));
    }
    let (sample_rate_hz, channels) = found.unwrap_or((super::limits::MIN_SAMPLE_RATE_HZ, 1));
    check_shape(Shape { sample_rate_hz, channels, frames: samples.len() / channels.max(1) })?;
    check_floats(&mut samples)?;
    AudioBuffer::new(sample_rate_hz, channels, samples).map_err(Error::data)
}
