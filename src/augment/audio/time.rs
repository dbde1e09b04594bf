use super::fft::{change_spectrum, frame_length};
use crate::{
    augment::{
        image::Edge,
        timeline::{Piece, Pieces, Timeline},
    },
    error::{Error, Result},
    sample::AudioBuffer,
};

/// A sound whose times moved, and where they went.
#[derive(Debug, Clone, PartialEq)]
pub struct Retimed {
    /// The sound.
    pub audio: AudioBuffer,
    /// From times of the old sound to those of this one.
    pub timeline: Timeline,
}

/// Moves the sound `frames` later (earlier if negative) without changing its length; `edge` says what fills the hole, usually
/// [`Edge::Zero`]: silence.
pub fn shift(audio: &AudioBuffer, frames: i64, edge: Edge) -> AudioBuffer {
    let (channels, length) = (audio.channels(), audio.frames());
    let old = audio.samples();
    // Each sample is written once: what comes in before, what stays, what comes in behind.
    let mut samples = Vec::with_capacity(old.len());
    if edge == Edge::Wrap {
        let (kept, turned) = old.split_at(old.len() - frames.rem_euclid(length as i64) as usize * channels);
        samples.extend_from_slice(turned);
        samples.extend_from_slice(kept);
    } else {
        let by = frames.clamp(-(length as i64), length as i64);
        let (before, behind) = (by.max(0) as usize, (-by).max(0) as usize);
        let hole = |samples: &mut Vec<f32>, places: std::ops::Range<usize>| match edge {
            Edge::Zero => samples.resize(samples.len() + places.len() * channels, 0.0),
            _ => places.for_each(|at| match edge.source((at as i64).saturating_sub(frames), length) {
                Some(from) => samples.extend_from_slice(&old[from * channels..(from + 1) * channels]),
                None => samples.resize(samples.len() + channels, 0.0),
            }),
        };
        hole(&mut samples, 0..before);
        samples.extend_from_slice(&old[behind * channels..old.len() - before * channels]);
        hole(&mut samples, length - behind..length);
    }
    AudioBuffer::new(audio.sample_rate_hz(), channels, samples).unwrap_or_else(|_| audio.clone())
}

/// [`shift`] on the sound itself; with silence ([`Edge::Zero`]) or a turn ([`Edge::Wrap`]) nothing is copied aside.
pub fn shift_in_place(audio: &mut AudioBuffer, frames: i64, edge: Edge) {
    let (channels, length) = (audio.channels(), audio.frames() as i64);
    match edge {
        Edge::Wrap => {
            let by = frames.rem_euclid(length) as usize * channels;
            audio.samples_mut().rotate_right(by);
        }
        Edge::Zero => {
            let by = frames.clamp(-length, length);
            let (places, samples) = (by.unsigned_abs() as usize * channels, audio.samples_mut());
            let left = samples.len() - places;
            if by >= 0 {
                samples.copy_within(..left, places);
                samples[..places].fill(0.0);
            } else {
                samples.copy_within(places.., 0);
                samples[left..].fill(0.0);
            }
        }
        _ => *audio = shift(audio, frames, edge),
    }
}

/// Silences the frames `start..end` (cut at the end of the sound) with linear ramps of `ramp` frames inside them, so that no click is heard.
pub fn gap(audio: &AudioBuffer, start: usize, end: usize, ramp: usize) -> AudioBuffer {
    let mut out = audio.clone();
    gap_in_place(&mut out, start, end, ramp);
    out
}

/// [`gap`] on the sound itself: the time mask.
pub fn gap_in_place(audio: &mut AudioBuffer, start: usize, end: usize, ramp: usize) {
    let (channels, frames) = (audio.channels(), audio.frames());
    let end = end.min(frames);
    let start = start.min(end);
    let inside = &mut audio.samples_mut()[start * channels..end * channels];
    let count = end - start;
    // The ramps meet in the middle of a short gap.
    let (left, right) = (ramp.min(count.div_ceil(2)), ramp.min(count / 2));
    let width = ramp.saturating_add(1) as f32;
    let (head, rest) = inside.split_at_mut(left * channels);
    let (silent, tail) = rest.split_at_mut((count - left - right) * channels);
    silent.fill(0.0);
    let fade = |(at, frame): (usize, &mut [f32])| frame.iter_mut().for_each(|s| *s *= 1.0 - (at + 1) as f32 / width);
    head.chunks_exact_mut(channels).enumerate().for_each(fade);
    tail.chunks_exact_mut(channels).rev().enumerate().for_each(fade);
}

/// Keeps the frames `start..end`. Errors if none is left.
pub fn crop(audio: &AudioBuffer, start: usize, end: usize) -> Result<AudioBuffer> {
    let end = end.min(audio.frames());
    if start >= end {
        return Err(Error::data(format!("a crop of frames {start}..{end} leaves nothing of {} frames", audio.frames())));
    }
    let channels = audio.channels();
    AudioBuffer::new(audio.sample_rate_hz(), channels, audio.samples()[start * channels..end * channels].to_vec()).map_err(Error::data)
}

/// Brings the sound to `frames` frames at the same rate by linear interpolation: speed and pitch change together, like a tape. Errors for
/// zero frames.
pub fn stretch(audio: &AudioBuffer, frames: usize) -> Result<AudioBuffer> {
    let (channels, length) = (audio.channels(), audio.frames());
    let scale = length as f64 / frames.max(1) as f64;
    let mut samples = Vec::with_capacity(frames * channels);
    for at in 0..frames {
        let place = ((at as f64 + 0.5) * scale - 0.5).clamp(0.0, (length - 1) as f64);
        let (before, share) = (place as usize, place.fract() as f32);
        let after = (before + 1).min(length - 1);
        for c in 0..channels {
            let (a, b) = (audio.samples()[before * channels + c], audio.samples()[after * channels + c]);
            samples.push(a + (b - a) * share);
        }
    }
    AudioBuffer::new(audio.sample_rate_hz(), channels, samples).map_err(Error::data)
}

/// The most frames that a function here makes out of fewer.
const MOST_FRAMES: usize = 1 << 28;

fn room_for(frames: Option<usize>) -> Result<usize> {
    frames.filter(|n| *n <= MOST_FRAMES).ok_or_else(|| Error::data(format!("the sound would grow beyond {MOST_FRAMES} frames")))
}

/// Puts `before` frames of silence in front and `after` behind. Errors beyond 2^28 frames.
pub fn pad(audio: &AudioBuffer, before: usize, after: usize) -> Result<Retimed> {
    let (channels, length) = (audio.channels(), audio.frames());
    let frames = room_for(length.checked_add(before).and_then(|n| n.checked_add(after)))?;
    let mut samples = Vec::with_capacity(frames * channels);
    samples.resize(before * channels, 0.0);
    samples.extend_from_slice(audio.samples());
    samples.resize(frames * channels, 0.0);
    let timeline = Timeline::crop(-(before as f64) / length as f64, 1.0 + after as f64 / length as f64).unwrap_or_default();
    Ok(Retimed { audio: AudioBuffer::new(audio.sample_rate_hz(), channels, samples).map_err(Error::data)?, timeline })
}

/// Brings the sound to `frames` frames: what is too long is cut at the end, what is too short gets silence there. Errors for none and beyond 2^28 frames.
pub fn fix_length(audio: &AudioBuffer, frames: usize) -> Result<Retimed> {
    if frames > audio.frames() {
        return pad(audio, 0, frames - audio.frames());
    }
    let timeline = Timeline::crop(0.0, frames as f64 / audio.frames() as f64).unwrap_or_default();
    Ok(Retimed { audio: crop(audio, 0, frames)?, timeline })
}

/// The frames between the first and the last 10 ms block whose rms is at most `below_db` dB (`0..=120`, clamped; not a number: 60) below the loudest block's;
/// the whole sound where it is silent.
pub fn active_range(audio: &AudioBuffer, below_db: f64) -> std::ops::Range<usize> {
    let below_db = if below_db.is_nan() { 60.0 } else { below_db.clamp(0.0, 120.0) };
    let block = (audio.sample_rate_hz() as usize / 100).max(1);
    let powers: Vec<f64> = audio.samples().chunks(block * audio.channels()).map(super::power).collect();
    let least = powers.iter().copied().fold(0f64, f64::max) * 10f64.powf(-below_db / 10.0);
    if least <= 0.0 {
        return 0..audio.frames();
    }
    let loud = |p: &f64| *p >= least;
    let first = powers.iter().position(loud).unwrap_or(0);
    let last = powers.iter().rposition(loud).unwrap_or(powers.len() - 1);
    first * block..((last + 1) * block).min(audio.frames())
}

/// Cuts silence off both ends ([`active_range`]), leaving `margin` frames of it.
pub fn trim(audio: &AudioBuffer, below_db: f64, margin: usize) -> Result<Retimed> {
    let (active, length) = (active_range(audio, below_db), audio.frames());
    let (start, end) = (active.start.saturating_sub(margin), active.end.saturating_add(margin).min(length));
    let timeline = Timeline::crop(start as f64 / length as f64, end as f64 / length as f64).unwrap_or_default();
    Ok(Retimed { audio: crop(audio, start, end)?, timeline })
}

/// Plays the sound backwards, in place, and says where its times go.
pub fn reverse(audio: &mut AudioBuffer) -> Pieces {
    let (channels, seconds) = (audio.channels(), audio.seconds());
    let samples = audio.samples_mut();
    samples.reverse();
    if channels > 1 {
        samples.chunks_exact_mut(channels).for_each(<[f32]>::reverse);
    }
    Pieces::new(vec![Piece { from: 0.0..seconds, to: 0.0..seconds, backward: true }], seconds)
}

/// Says the frames `start..end` (cut at the end of the sound) `times` times more right after themselves, each seam crossfaded over `fade` frames (at most half
/// the part), so that a stutter
/// does not click. Errors for an empty part and beyond 2^28 frames.
pub fn repeat_part(audio: &AudioBuffer, start: usize, end: usize, times: usize, fade: usize) -> Result<(AudioBuffer, Pieces)> {
    let (channels, length, rate) = (audio.channels(), audio.frames(), f64::from(audio.sample_rate_hz()));
    let end = end.min(length);
    if start >= end {
        return Err(Error::data(format!("a part of frames {start}..{end} of {length} cannot be repeated")));
    }
    let part = end - start;
    let frames = room_for(part.checked_mul(times).and_then(|n| n.checked_add(length)))?;
    let mut samples = Vec::with_capacity(frames * channels);
    samples.extend_from_slice(&audio.samples()[..end * channels]);
    // Over the seam, what followed the part fades out under the part's new beginning; at the end of the sound nothing followed.
    let fade = fade.min(part / 2).min(length - end);
    let mut pieces = vec![Piece::forward(0.0..end as f64 / rate, 0.0)];
    for _ in 0..times {
        let place = samples.len();
        samples.extend_from_slice(&audio.samples()[start * channels..end * channels]);
        for at in 0..fade {
            let share = (at + 1) as f32 / (fade + 1) as f32;
            for c in 0..channels {
                let old = audio.samples()[(end + at) * channels + c];
                let new = &mut samples[place + at * channels + c];
                *new = old + (*new - old) * share;
            }
        }
        pieces.push(Piece::forward(start as f64 / rate..end as f64 / rate, (place / channels) as f64 / rate));
    }
    if end < length {
        pieces.push(Piece::forward(end as f64 / rate..length as f64 / rate, (samples.len() / channels) as f64 / rate));
        samples.extend_from_slice(&audio.samples()[end * channels..]);
    }
    let audio = AudioBuffer::new(audio.sample_rate_hz(), channels, samples).map_err(Error::data)?;
    Ok((audio, Pieces::new(pieces, frames as f64 / rate)))
}

/// Removes the frequencies `low_hz..high_hz` between the seconds `start_s..end_s`, in place: bins of overlapping frames of about 32 ms are set to 0 (frequency
/// masking of Park et al., "SpecAugment", 2019, on the
/// sound itself). Outside the times and the band, up to one frame and one bin, the sound stays what it is.
pub fn frequency_mask(audio: &mut AudioBuffer, low_hz: f64, high_hz: f64, start_s: f64, end_s: f64) {
    if [low_hz, high_hz, start_s, end_s].iter().any(|v| v.is_nan()) || low_hz >= high_hz || start_s >= end_s {
        return;
    }
    let rate = f64::from(audio.sample_rate_hz());
    let length = frame_length(audio.sample_rate_hz(), 0.032);
    let width = rate / length as f64;
    let bin = |hz: f64| (hz / width).ceil().clamp(0.0, (length / 2 + 1) as f64) as usize;
    let (low, high) = (bin(low_hz), bin(high_hz));
    // A frame's middle is told as its place in the sound's frames.
    let (start, end) = (start_s * rate, end_s * rate);
    change_spectrum(audio, length, |_, middle, bins| {
        if (start..end).contains(&middle) {
            bins[low..high.max(low)].fill(Default::default());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(frames: usize, channels: usize) -> AudioBuffer {
        AudioBuffer::new(8000, channels, (0..frames * channels).map(|i| (i + 1) as f32 / 256.0).collect()).unwrap()
    }

    fn ramp_of_ones(frames: usize, channels: usize) -> AudioBuffer {
        AudioBuffer::new(8000, channels, vec![1.0; frames * channels]).unwrap()
    }

    #[test]
    fn worked_values() {
        let audio = AudioBuffer::new(8000, 1, vec![0.1, 0.2, 0.3, 0.4]).unwrap();
        assert_eq!(shift(&audio, 1, Edge::Zero).samples(), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(shift(&audio, -3, Edge::Zero).samples(), [0.4, 0.0, 0.0, 0.0]);
        assert_eq!(shift(&audio, 9, Edge::Zero).samples(), [0.0; 4]);
        assert_eq!(crop(&audio, 1, 3).unwrap().samples(), [0.2, 0.3]);
        assert!(crop(&audio, 4, 9).is_err());
        assert_eq!(gap(&audio, 1, 9, 0).samples(), [0.1, 0.0, 0.0, 0.0]);
        assert_eq!(gap(&audio, 7, 9, 3), audio);
        let flat = AudioBuffer::new(8000, 1, vec![1.0; 7]).unwrap();
        assert_eq!(gap(&flat, 1, 6, 1).samples(), [1.0, 0.5, 0.0, 0.0, 0.0, 0.5, 1.0]);
        assert_eq!(stretch(&audio, 4).unwrap(), audio);
        let half = stretch(&audio, 2).unwrap();
        assert!((half.samples()[0] - 0.15).abs() < 1e-6 && (half.samples()[1] - 0.35).abs() < 1e-6);
        assert!(stretch(&audio, 0).is_err());
    }

    #[test]
    fn lengths_and_times() {
        let audio = ramp(4, 2);
        let padded = pad(&audio, 2, 4).unwrap();
        assert_eq!((padded.audio.frames(), padded.timeline.frames(4)), (10, 10));
        assert_eq!(padded.audio.samples()[4..12], *audio.samples());
        assert!((padded.timeline.seconds(1.0 / 8000.0, 4.0 / 8000.0) - 3.0 / 8000.0).abs() < 1e-12);
        assert!(pad(&audio, usize::MAX, 4).is_err());
        assert_eq!(fix_length(&audio, 2).unwrap().audio.samples(), &audio.samples()[..4]);
        assert_eq!(fix_length(&audio, 6).unwrap().audio.frames(), 6);
        assert!(fix_length(&audio, 0).is_err());

        let mut samples = vec![0.0001f32; 800];
        samples[240..400].fill(0.5);
        let quiet = AudioBuffer::new(8000, 1, samples).unwrap();
        assert_eq!(active_range(&quiet, 40.0), 240..400);
        let trimmed = trim(&quiet, 40.0, 10).unwrap();
        assert_eq!((trimmed.audio.frames(), trimmed.audio.samples()[10]), (180, 0.5));
        assert!((trimmed.timeline.seconds(0.03, 0.1) - 10.0 / 8000.0).abs() < 1e-12);
        assert_eq!(active_range(&AudioBuffer::new(8000, 1, vec![0.0; 90]).unwrap(), 40.0), 0..90);
    }

    #[test]
    fn a_part_said_again() {
        let audio = ramp(6, 1);
        let (out, pieces) = repeat_part(&audio, 1, 3, 2, 0).unwrap();
        let old = audio.samples();
        assert_eq!(out.samples(), [old[0], old[1], old[2], old[1], old[2], old[1], old[2], old[3], old[4], old[5]]);
        let event = |start: f64, end: f64| crate::sample::Event { start_s: start / 8000.0, end_s: end / 8000.0, label: "a".into() };
        let (events, least) = pieces.events(&[event(4.0, 5.0), event(1.0, 2.0), event(0.0, 6.0)]);
        let places: Vec<(f64, f64)> = events.iter().map(|e| ((e.start_s * 8000.0).round(), (e.end_s * 8000.0).round())).collect();
        // The part's event comes three times, the whole one stays whole.
        assert_eq!((places, least), (vec![(0.0, 10.0), (1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (8.0, 9.0)], 1.0));
        let (smooth, _) = repeat_part(&audio, 0, 4, 1, 1).unwrap();
        assert_eq!(smooth.samples()[4], (old[4] + old[0]) / 2.0);
        assert!(repeat_part(&audio, 3, 3, 1, 0).is_err() && repeat_part(&audio, 0, 6, usize::MAX, 0).is_err());
    }

    #[test]
    fn a_masked_band_is_gone_and_the_rest_is_not() {
        let wave = |hz: f64, n: usize| (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin();
        let clean =
            AudioBuffer::new(8000, 1, (0..16_000).map(|n| (0.3 * wave(500.0, n) + 0.3 * wave(2000.0, n)) as f32).collect()).unwrap();
        let mut masked = clean.clone();
        frequency_mask(&mut masked, 1800.0, 2200.0, 0.5, 1.5);
        for n in 5000..11_000 {
            assert!((f64::from(masked.samples()[n]) - 0.3 * wave(500.0, n)).abs() < 2e-3);
        }
        assert!((0..3500).chain(12_500..16_000).all(|n| (masked.samples()[n] - clean.samples()[n]).abs() < 1e-5));
        let mut same = clean.clone();
        frequency_mask(&mut same, f64::NAN, 1.0, 0.0, 1.0);
        assert_eq!(same, clean);
        frequency_mask(&mut same, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
        assert!(same.samples().iter().all(|s| *s == 0.0));
    }

    proptest! {
        #[test]
        fn a_gap_is_its_definition(frames in 1usize..40, start in 0usize..50, end in 0usize..50, ramp in 0usize..20, channels in 1usize..3) {
            let audio = ramp_of_ones(frames, channels);
            let found = gap(&audio, start, end, ramp);
            for at in 0..frames {
                let inside = (at + 1).saturating_sub(start).min(end.min(frames).saturating_sub(at));
                let keep = if at < start || at >= end { 1.0 } else if inside <= ramp { 1.0 - inside as f32 / (ramp + 1) as f32 } else { 0.0 };
                prop_assert!((found.samples()[at * channels] - keep).abs() < 1e-6);
            }
        }

        #[test]
        fn a_wrapped_shift_goes_back(frames in 1usize..20, channels in 1usize..3, by in -50i64..50) {
            let audio = ramp(frames, channels);
            prop_assert_eq!(shift(&shift(&audio, by, Edge::Wrap), -by, Edge::Wrap), audio.clone());
            let mut backwards = audio.clone();
            reverse(&mut backwards);
            prop_assert_eq!(&backwards.samples()[..channels], &audio.samples()[audio.samples().len() - channels..]);
            reverse(&mut backwards);
            prop_assert_eq!(backwards, audio);
        }

        #[test]
        fn every_edge_agrees_with_its_definition(frames in 1usize..12, by in -30i64..30, edge in prop::sample::select(vec![Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror])) {
            let audio = ramp(frames, 1);
            let moved = shift(&audio, by, edge);
            for at in 0..frames {
                let expected = edge.source(at as i64 - by, frames).map_or(0.0, |i| audio.samples()[i]);
                prop_assert_eq!(moved.samples()[at], expected);
            }
            let mut here = audio.clone();
            shift_in_place(&mut here, by, edge);
            prop_assert_eq!(here, moved);
        }
    }
}
