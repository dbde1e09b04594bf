use super::{
    fft::{Fourier, channel, frame_length, put_channel},
    resample::resample_frames,
    time::Retimed,
};
use crate::{augment::timeline::Timeline, error::Result, sample::AudioBuffer};
use realfft::num_complex::Complex;
use std::f64::consts::TAU;

/// Seconds of a frame: long enough to part the harmonics of a low voice, short enough for its syllables.
const FRAME_S: f64 = 0.064;
/// Frames of the new sound that lie on one another.
const OVERLAP: usize = 4;

/// Makes the sound `factor` times as long (`0.1..=10`, clamped; not a number: 1) and keeps its pitch; exactly `round(frames * factor)` frames, at least 1. A
/// factor that keeps
/// the length gives the sound back.
///
/// A phase vocoder with the phases of each peak's surroundings locked to it (Laroche and Dolson, "Improved phase vocoder time-scale modification of audio",
/// IEEE Trans. Speech
/// Audio Process. 7 (3), 1999, identity locking). A peak's phase advance is read from a second frame of the old sound one step of the new one earlier
/// (Puckette, "Phase-locked vocoder", 1995), so that no
/// phase is unwrapped and no angle is computed. Frames of about 64 ms, 4 deep. All channels turn by the same angles, which keeps their image. Sharp attacks
/// are softened a little, as by every
/// phase vocoder. May overshoot 1 ([`fit`](super::fit)).
pub fn time_stretch(audio: &AudioBuffer, factor: f64) -> Result<Retimed> {
    let factor = if factor.is_nan() { 1.0 } else { factor.clamp(0.1, 10.0) };
    let frames = (audio.frames() as f64 * factor).round().max(1.0) as usize;
    let timeline = Timeline::stretch(frames as f64 / audio.frames() as f64).unwrap_or_default();
    Ok(Retimed { audio: stretched_to(audio, frames)?, timeline })
}

/// Moves the pitch by `semitones` (`-24..=24`, clamped; not a number: 0) and keeps the length: [`time_stretch`] and resampling by `2^(semitones / 12)`, the
/// one that shortens first. Voices take on the formants
/// of a smaller or larger speaker. May overshoot 1 ([`fit`](super::fit)).
pub fn pitch_shift(audio: &AudioBuffer, semitones: f64) -> Result<AudioBuffer> {
    let semitones = if semitones.is_nan() { 0.0 } else { semitones.clamp(-24.0, 24.0) };
    let (length, rate) = (audio.frames(), audio.sample_rate_hz());
    let ratio = 2f64.powf(semitones / 12.0);
    if ratio >= 1.0 {
        let frames = (length as f64 / ratio).round().max(1.0) as usize;
        if frames == length {
            return Ok(audio.clone());
        }
        return stretched_to(&resample_frames(audio, rate, (length as u64, frames as u64), frames)?, length);
    }
    let frames = (length as f64 * ratio).round().max(1.0) as usize;
    if frames == length {
        return Ok(audio.clone());
    }
    resample_frames(&stretched_to(audio, frames)?, rate, (frames as u64, length as u64), length)
}

/// The window of both transforms, `(1 - cos(2 pi n / N)) / 2`; its square sums to 3/2 at a step of `N / 4`.
fn hann(length: usize) -> Vec<f32> {
    (0..length).map(|n| (0.5 - 0.5 * (TAU * n as f64 / length as f64).cos()) as f32).collect()
}

struct Channel {
    input: Vec<f32>,
    output: Vec<f32>,
    /// Bins of the old sound here, and one step of the new sound earlier.
    now: Vec<Complex<f32>>,
    before: Vec<Complex<f32>>,
    /// Bins of the new sound's last frame.
    last: Vec<Complex<f32>>,
}

/// The frame that begins at `start` (outside the sound it is silent), windowed.
fn windowed(input: &[f32], start: i64, window: &[f32], time: &mut [f32]) {
    let length = time.len() as i64;
    let (from, to) = ((-start).clamp(0, length) as usize, (input.len() as i64 - start).clamp(0, length) as usize);
    if from >= to {
        time.fill(0.0);
        return;
    }
    time[..from].fill(0.0);
    time[to..].fill(0.0);
    let first = (start + from as i64) as usize;
    let source = &input[first..first + (to - from)];
    for ((t, s), w) in time[from..to].iter_mut().zip(source).zip(&window[from..to]) {
        *t = s * w;
    }
}

fn stretched_to(audio: &AudioBuffer, frames: usize) -> Result<AudioBuffer> {
    let (channels, length, rate) = (audio.channels(), audio.frames(), audio.sample_rate_hz());
    if frames == length {
        return Ok(audio.clone());
    }
    let size = frame_length(rate, FRAME_S);
    let (step, window) = (size / OVERLAP, hann(size));
    let mut fourier = Fourier::new(size);
    let bins = fourier.bins();
    let empty = vec![Complex::<f32>::default(); bins];
    let mut lines: Vec<Channel> = (0..channels)
        .map(|c| Channel {
            input: channel(audio, c),
            output: vec![0f32; frames + 2 * size],
            now: empty.clone(),
            before: empty.clone(),
            last: empty.clone(),
        })
        .collect();
    let (mut time, mut loudness, mut peaks, mut turns) = (vec![0f32; size], vec![0f32; bins], Vec::new(), Vec::new());
    // The squares of the window sum to 3/2, and the transforms multiply by their length.
    let scale = 1.0 / (1.5 * size as f32);
    let speed = length as f64 / frames as f64;
    // The first frame has its middle one step before the sound, the last covers its end.
    let count = (frames + size / 2) / step + 2;
    for number in 0..count {
        let middle = (number as f64 - 1.0) * step as f64 * speed;
        let start = middle.round() as i64 - size as i64 / 2;
        loudness.fill(0.0);
        for line in &mut lines {
            windowed(&line.input, start, &window, &mut time);
            fourier.forward(&mut time, &mut line.now);
            windowed(&line.input, start - step as i64, &window, &mut time);
            fourier.forward(&mut time, &mut line.before);
            loudness.iter_mut().zip(&line.now).for_each(|(l, b)| *l += b.norm_sqr());
        }
        if number > 0 {
            find_peaks(&loudness, &mut peaks);
            turns.clear();
            turns.extend(peaks.iter().map(|peak| turn(&lines, *peak)));
        } else {
            peaks.clear();
        }
        for line in &mut lines {
            // Each bin turns with the peak nearest to it.
            let mut begin = 0;
            for (at, turn) in turns.iter().enumerate() {
                let end = peaks.get(at + 1).map_or(bins, |next| (peaks[at] + next) / 2 + 1);
                line.now[begin..end].iter_mut().for_each(|b| *b *= *turn);
                begin = end;
            }
            line.last.copy_from_slice(&line.now);
            fourier.inverse(&mut line.now, &mut time);
            let place = number * step;
            for ((o, t), w) in line.output[place..place + size].iter_mut().zip(&time).zip(&window) {
                *o += t * w;
            }
        }
    }
    // The first frame of the sound lies half a frame and one step into the line.
    let skip = size / 2 + step;
    let mut samples = vec![0f32; frames * channels];
    for (c, line) in lines.iter_mut().enumerate() {
        line.output.iter_mut().for_each(|s| *s *= scale);
        put_channel(&mut samples, channels, c, &line.output[skip..]);
    }
    AudioBuffer::new(rate, channels, samples).map_err(crate::error::Error::data)
}

/// Bins louder than their two neighbours on either side; always at least one.
fn find_peaks(loudness: &[f32], peaks: &mut Vec<usize>) {
    peaks.clear();
    for (at, w) in loudness.windows(5).enumerate() {
        if w[2] > w[1] && w[2] >= w[3] && w[2] > w[0] && w[2] >= w[4] {
            peaks.push(at + 2);
        }
    }
    if peaks.is_empty() {
        peaks.push(loudness.len() / 2);
    }
}

/// By what a peak has to turn: the new sound's last phase there plus the advance of the old one, less the old one's phase now; that phase cancels out, and
/// what is left is the last phase less that of the old frame before. Taken from the channel that is loudest there; no turn out of silence.
fn turn(lines: &[Channel], peak: usize) -> Complex<f32> {
    let mut best = (0f32, Complex::new(1.0, 0.0));
    for line in lines {
        let loudness = line.now[peak].norm_sqr();
        let difference = line.last[peak] * line.before[peak].conj();
        let size = difference.norm();
        if loudness > best.0 && size > 1e-12 {
            best = (loudness, difference / size);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: u32 = 16_000;

    fn tone(hz: f64, frames: usize, channels: usize) -> AudioBuffer {
        let wave = |i: usize| (0.5 * (TAU * hz * (i / channels) as f64 / f64::from(RATE)).sin()) as f32;
        AudioBuffer::new(RATE, channels, (0..frames * channels).map(wave).collect()).unwrap()
    }

    /// The frequency of a tone: the phase of its part at `guess` hertz, followed over blocks of 400 frames.
    fn tracked_hz(samples: &[f32], guess: f64) -> (f64, f64) {
        let (mut advance, mut last, mut blocks, mut size) = (0f64, None, 0, 0f64);
        for (number, block) in samples.chunks_exact(400).enumerate() {
            let (mut re, mut im) = (0f64, 0f64);
            for (n, s) in block.iter().enumerate() {
                let window = 0.5 - 0.5 * (TAU * n as f64 / 400.0).cos();
                let (sin, cos) = (TAU * guess * (number * 400 + n) as f64 / f64::from(RATE)).sin_cos();
                re += window * f64::from(*s) * cos;
                im -= window * f64::from(*s) * sin;
            }
            let phase = im.atan2(re);
            if let Some(last) = last {
                let step: f64 = phase - last;
                advance += step - TAU * (step / TAU).round();
                blocks += 1;
            }
            last = Some(phase);
            size += (re * re + im * im).sqrt() / 100.0;
        }
        (guess + advance / TAU / (f64::from(blocks) * 400.0 / f64::from(RATE)), size / f64::from(blocks + 1))
    }

    #[test]
    fn a_stretched_tone_keeps_its_pitch_and_level() {
        for hz in [110.0, 440.0, 1234.5, 5000.0] {
            for factor in [0.5, 0.8, 1.1, 1.25, 2.0, 3.3] {
                let found = time_stretch(&tone(hz, 16_000, 1), factor).unwrap().audio;
                assert_eq!(found.frames(), (16_000.0 * factor).round() as usize);
                let inside = &found.samples()[2000..found.frames() - 2000];
                let (tracked, level) = tracked_hz(inside, hz);
                assert!((tracked / hz - 1.0).abs() < 0.001, "{hz} {factor}: {tracked}");
                assert!((20.0 * (level / 0.5).log10()).abs() < 0.5, "{hz} {factor}: {level}");
            }
        }
    }

    #[test]
    fn a_shifted_tone_moves_by_the_ratio() {
        for hz in [220.0, 440.0, 1234.5, 2500.0] {
            for semitones in [-12.0, -4.0, -0.5, 1.0, 4.0, 7.0, 12.0] {
                let found = pitch_shift(&tone(hz, 16_000, 1), semitones).unwrap();
                assert_eq!(found.frames(), 16_000);
                let right = hz * 2f64.powf(semitones / 12.0);
                let (tracked, level) = tracked_hz(&found.samples()[2000..14_000], right);
                assert!((tracked / right - 1.0).abs() < 0.001, "{hz} {semitones}: {tracked} {right}");
                assert!((20.0 * (level / 0.5).log10()).abs() < 0.5, "{hz} {semitones}: {level}");
            }
        }
    }

    #[test]
    fn two_tones_stay_two_tones() {
        let sum = tone(300.0, 16_000, 1).samples().iter().zip(tone(1000.0, 16_000, 1).samples()).map(|(a, b)| (a + b) / 2.0).collect();
        let found = time_stretch(&AudioBuffer::new(RATE, 1, sum).unwrap(), 1.3).unwrap().audio;
        for hz in [300.0, 1000.0] {
            let (tracked, level) = tracked_hz(&found.samples()[2000..18_000], hz);
            assert!((tracked / hz - 1.0).abs() < 0.001 && (level - 0.25).abs() < 0.03, "{tracked} {level}");
        }
    }

    #[test]
    fn a_click_lands_where_its_time_goes() {
        let mut audio = AudioBuffer::new(RATE, 1, vec![0.0; 16_000]).unwrap();
        audio.samples_mut()[8000] = 1.0;
        for factor in [0.7, 1.5] {
            let found = time_stretch(&audio, factor).unwrap();
            let (mut sum, mut centre) = (0f64, 0f64);
            for (at, s) in found.audio.samples().iter().enumerate() {
                sum += f64::from(s * s);
                centre += at as f64 * f64::from(s * s);
            }
            let seconds = centre / sum / f64::from(RATE);
            assert!((seconds - found.timeline.seconds(0.5, 1.0)).abs() < 0.01, "{factor}: {seconds}");
        }
    }

    #[test]
    fn channels_keep_their_image() {
        let mono = tone(440.0, 8000, 1);
        let both: Vec<f32> = mono.samples().iter().flat_map(|s| [*s, -0.5 * s]).collect();
        let found = time_stretch(&AudioBuffer::new(RATE, 2, both).unwrap(), 1.2).unwrap().audio;
        let alone = time_stretch(&mono, 1.2).unwrap().audio;
        for (frame, s) in found.samples().chunks_exact(2).zip(alone.samples()) {
            assert!((frame[0] - s).abs() < 1e-3 && (frame[0] + 2.0 * frame[1]).abs() < 1e-3);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn by_one_is_the_identity_and_any_length_is_taken(frames in 1usize..600, channels in 1usize..3, rate in 1u32..50_000, factor: f64, small in 0.1f64..4.0) {
            let audio = AudioBuffer::new(rate, channels, (0..frames * channels).map(|i| (i as f32).sin()).collect()).unwrap();
            prop_assert_eq!(&time_stretch(&audio, 1.0).unwrap().audio, &audio);
            prop_assert_eq!(&pitch_shift(&audio, 0.0).unwrap(), &audio);
            for f in [factor, small] {
                let found = time_stretch(&audio, f).unwrap();
                prop_assert_eq!(found.audio.frames(), found.timeline.frames(frames));
                prop_assert_eq!(pitch_shift(&audio, f * 6.0).unwrap().frames(), frames);
                prop_assert_eq!(found, time_stretch(&audio, f).unwrap());
            }
        }
    }
}
