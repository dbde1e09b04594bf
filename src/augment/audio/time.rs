use crate::{
    augment::image::Edge,
    error::{Error, Result},
    sample::AudioBuffer,
};

/// Moves the sound `frames` later (earlier if negative) without changing its length; `edge` says what fills the hole, usually
/// [`Edge::Zero`]: silence.
pub fn shift(audio: &AudioBuffer, frames: i64, edge: Edge) -> AudioBuffer {
    let (channels, length) = (audio.channels(), audio.frames());
    let mut out = audio.clone();
    let first = frames.clamp(0, length as i64) as usize;
    let last = (length as i64).saturating_add(frames).clamp(0, length as i64) as usize;
    let target = out.samples_mut();
    let mut one = |at: usize| {
        let frame = &mut target[at * channels..(at + 1) * channels];
        match edge.source((at as i64).saturating_sub(frames), length) {
            Some(from) => frame.copy_from_slice(&audio.samples()[from * channels..(from + 1) * channels]),
            None => frame.fill(0.0),
        }
    };
    if first >= last {
        (0..length).for_each(one);
        return out;
    }
    (0..first).for_each(&mut one);
    (last..length).for_each(&mut one);
    let begin = (first as i64 - frames) as usize;
    target[first * channels..last * channels].copy_from_slice(&audio.samples()[begin * channels..(begin + last - first) * channels]);
    out
}

/// Silences the frames `start..end` (cut at the end of the sound) with linear ramps of `ramp` frames inside them, so that no click is heard.
pub fn gap(audio: &AudioBuffer, start: usize, end: usize, ramp: usize) -> AudioBuffer {
    let channels = audio.channels();
    let end = end.min(audio.frames());
    let mut out = audio.clone();
    for at in start.min(end)..end {
        let inside = (at - start + 1).min(end - at);
        let keep = if inside <= ramp { 1.0 - inside as f32 / (ramp + 1) as f32 } else { 0.0 };
        out.samples_mut()[at * channels..(at + 1) * channels].iter_mut().for_each(|s| *s *= keep);
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(frames: usize, channels: usize) -> AudioBuffer {
        AudioBuffer::new(8000, channels, (0..frames * channels).map(|i| (i + 1) as f32 / 256.0).collect()).unwrap()
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

    proptest! {
        #[test]
        fn a_wrapped_shift_goes_back(frames in 1usize..20, channels in 1usize..3, by in -50i64..50) {
            let audio = ramp(frames, channels);
            prop_assert_eq!(shift(&shift(&audio, by, Edge::Wrap), -by, Edge::Wrap), audio);
        }

        #[test]
        fn every_edge_agrees_with_its_definition(frames in 1usize..12, by in -30i64..30, edge in prop::sample::select(vec![Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror])) {
            let audio = ramp(frames, 1);
            let moved = shift(&audio, by, edge);
            for at in 0..frames {
                let expected = edge.source(at as i64 - by, frames).map_or(0.0, |i| audio.samples()[i]);
                prop_assert_eq!(moved.samples()[at], expected);
            }
        }
    }
}
