//! Audio: WAV, FLAC, Ogg Vorbis and MP3 in; 16-bit WAV out. Samples lie in `-1..=1`.

use super::{
    compressed, first_bytes, guarded,
    limits::{MAX_AUDIO_CHANNELS, MAX_AUDIO_SECONDS, MAX_AUDIO_VALUES, MAX_FLOAT_SAMPLE, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ},
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Bytes;
    use proptest::prelude::*;

    fn wave(n: usize) -> AudioBuffer {
        AudioBuffer::new(8000, 1, (0..n).map(|i| (i as f32 * 0.3).sin() * 0.5).collect()).unwrap()
    }

    fn message(bytes: &[u8]) -> String {
        decode(bytes).unwrap_err().message().to_owned()
    }

    /// A WAV file of any format, true or not: `data_length` is what the header says.
    fn wav_file(tag: u16, channels: u16, rate: u32, bits: u16, data_length: u32, data: &[u8]) -> Vec<u8> {
        let align = channels.wrapping_mul(bits / 8);
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend(rate.wrapping_mul(u32::from(align)).to_le_bytes());
        bytes.extend(align.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(data_length.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn sixteen_bits_come_back_exactly() {
        let values = [i16::MIN, -1, 0, 1, 12_345, i16::MAX].map(|v| f32::from(v) / 32768.0);
        let audio = AudioBuffer::new(16_000, 2, values.to_vec()).unwrap();
        let written = encode(&audio).unwrap();
        assert_eq!(written.bytes, encode(&audio).unwrap().bytes);
        let read = decode(&written.bytes).unwrap();
        assert_eq!(*read.get(), audio);
        assert_eq!(shape(&written.bytes).unwrap(), Shape { sample_rate_hz: 16_000, channels: 2, frames: 3 });
        let loud = AudioBuffer::new(8000, 1, vec![1.0, -1.0, 0.00001]).unwrap();
        assert_eq!(decode(&encode(&loud).unwrap().bytes).unwrap().get().samples(), [32767.0 / 32768.0, -1.0, 0.0]);
    }

    #[test]
    fn all_widths_have_the_same_scale() {
        let read =
            |tag, bits, data: &[u8]| decode(&wav_file(tag, 1, 8000, bits, data.len() as u32, data)).unwrap().get().samples().to_vec();
        assert_eq!(read(1, 8, &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(read(1, 24, &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(read(1, 32, &[0, 0, 0, 0x80, 0, 0, 0, 0x40]), [-1.0, 0.5]);
        let floats: Vec<u8> = [0.25f32, -1.5, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read(3, 32, &floats), [0.25, -1.0, 1.0]);
    }

    #[test]
    fn a_chunk_of_odd_length_is_padded() {
        let plain = encode(&wave(5)).unwrap().bytes;
        let mut listed = plain[..12].to_vec();
        listed.extend(b"LIST\x03\0\0\0abc\0");
        listed.extend(&plain[12..]);
        assert_eq!(decode(&listed).unwrap().get(), decode(&plain).unwrap().get());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let two = 1u16.to_le_bytes();
        assert_eq!(message(&[]), "the audio file is empty (0 bytes); expected WAV, FLAC, Ogg Vorbis or MP3");
        assert_eq!(
            message(b"\x89PNG\r\n"),
            "not audio that is known: it begins with 89 50 4e 47 0d 0a; expected WAV, FLAC, Ogg Vorbis or MP3"
        );
        assert_eq!(message(&wav_file(1, 1, 8000, 16, 0, &[])), "the audio is empty: it holds no sample; expected at least one");
        assert_eq!(
            message(&wav_file(1, 1, 8000, 16, 4_000_000_000, &two)),
            "the WAV header lies: its `data` chunk promises 4000000000 bytes, the file holds 2"
        );
        assert_eq!(
            message(&wav_file(1, 1, 8000, 16, 2, &two)[..30]),
            "the WAV header lies: its `fmt` chunk promises 16 bytes, the file holds 10"
        );
        assert_eq!(message(&wav_file(1, 1, 8000, 16, 2, &two)[..40]), "the WAV file is truncated: it ends before its `data` chunk");
        assert_eq!(message(&wav_file(1, 1, 0, 16, 2, &two)), "the sample rate is 0 Hz; expected 1000..=384000");
        assert_eq!(message(&wav_file(1, 1, 4_000_000, 16, 2, &two)), "the sample rate is 4000000 Hz; expected 1000..=384000");
        assert_eq!(message(&wav_file(1, 200, 8000, 16, 400, &[0; 400])), "the audio has 200 channels; expected 1..=32");
        assert_eq!(
            message(&wav_file(1, 1, 1000, 8, 1_800_001, &vec![128; 1_800_001])),
            "the audio is 1800.0 s long in 1 channels; at most 1800 s and 268435456 values are read"
        );
        assert_eq!(
            message(&wav_file(2, 1, 8000, 8, 2, &two)),
            "the WAV file has format tag 0x0002 with 8 bits; expected PCM with 8, 16, 24 or 32 bits or 32-bit floats"
        );
        assert_eq!(
            message(&wav_file(3, 1, 8000, 32, 4, &f32::NAN.to_le_bytes())),
            "audio sample 0 is NaN; expected a finite number in -1..=1"
        );
        assert_eq!(
            message(&wav_file(3, 1, 8000, 32, 4, &20_000f32.to_le_bytes())),
            "audio sample 0 is 20000; expected -1..=1 (is the file scaled to integers?)"
        );
        assert_eq!(message(b"RIFF\0\0\0\0AVI LIST"), "the RIFF file is not a WAV file: `WAVE` is missing at byte 8");
    }

    /// FLAC with one verbatim mono 16-bit frame at 8 kHz, 16 to 256 samples.
    fn flac_file(samples: &[i16]) -> Vec<u8> {
        let n = samples.len() as u16;
        let mut bytes = b"fLaC\x80\0\0\x22".to_vec();
        bytes.extend(n.to_be_bytes());
        bytes.extend(n.to_be_bytes());
        bytes.extend([0; 6]);
        // 20 bits rate, 3 bits channels - 1, 5 bits width - 1, 36 bits length.
        let word = 8000u64 << 44 | 15 << 36 | u64::from(n);
        bytes.extend(word.to_be_bytes());
        bytes.extend([0; 16]);
        let mut frame = vec![0xff, 0xf8, 0x64, 0x08, 0, (n - 1) as u8];
        frame.push(frame.iter().fold(0, |sum: u8, b| (0..8).fold(sum ^ b, |s, _| if s & 0x80 > 0 { s << 1 ^ 7 } else { s << 1 })));
        frame.push(0x02);
        frame.extend(samples.iter().flat_map(|v| v.to_be_bytes()));
        let sum = frame
            .iter()
            .fold(0u16, |sum, b| (0..8).fold(sum ^ u16::from(*b) << 8, |s, _| if s & 0x8000 > 0 { s << 1 ^ 0x8005 } else { s << 1 }));
        frame.extend(sum.to_be_bytes());
        bytes.extend(frame);
        bytes
    }

    /// MP3 frames of silence: 128 kbit/s, 44.1 kHz, mono.
    fn mp3_file(frames: usize) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90, 0xc0];
        frame.resize(417, 0);
        frame.repeat(frames)
    }

    #[test]
    fn compressed_audio_is_read() {
        let samples: Vec<i16> = (0..64).map(|i| i * 300 - 9000).collect();
        let flac = flac_file(&samples);
        let read = decode(&flac).unwrap();
        assert_eq!(read.get().samples(), samples.iter().map(|v| f32::from(*v) / 32768.0).collect::<Vec<_>>());
        assert_eq!((read.get().sample_rate_hz(), read.encoded().unwrap().extension.as_str()), (8000, "flac"));
        let read = decode(&mp3_file(8)).unwrap();
        assert_eq!((read.get().sample_rate_hz(), read.get().channels()), (44_100, 1));
        assert!(read.get().frames() >= 1152 && read.get().samples().iter().all(|v| *v == 0.0));
    }

    #[test]
    fn truncated_flac_is_refused() {
        let flac = flac_file(&[1000; 64]);
        for length in 1..flac.len() - 1 {
            assert!(decode(&flac[..length]).is_err(), "{length} of {}", flac.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn changed_bytes_never_panic(
            which in 0..4usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = match which {
                0 => encode(&wave(50)).unwrap().bytes,
                1 => flac_file(&[77; 40]),
                2 => mp3_file(3),
                _ => [b"OggS\0\x02".as_slice(), &[0; 20], b"\x01\x1e\x01vorbis", &[0; 40]].concat(),
            };
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(cut.index(bytes.len() * 2) + 1);
            if let Ok(read) = decode(&bytes) {
                prop_assert!(read.get().samples().iter().all(|v| (-1.0..=1.0).contains(v)));
            }
        }

        #[test]
        fn random_bytes_never_panic(head in prop::sample::select(vec!["", "RIFF", "RIFF0000WAVE", "fLaC", "OggS", "ID3", "\u{7f}"]), tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [head.as_bytes(), &tail].concat();
            let _ = decode(&bytes);
            let _ = shape(&bytes);
        }

        #[test]
        fn writing_is_idempotent(values in prop::collection::vec(-1.0f32..=1.0, 1..50)) {
            let audio = AudioBuffer::new(8000, 1, values).unwrap();
            let once = decode(&encode(&audio).unwrap().bytes).unwrap();
            let twice = decode(&encode(once.get()).unwrap().bytes).unwrap();
            prop_assert_eq!(once.get().digest(), twice.get().digest());
            prop_assert!(once.get().samples().iter().zip(audio.samples()).all(|(a, b)| (a - b).abs() <= 1.0 / 32768.0));
        }
    }
}
