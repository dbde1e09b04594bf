use crate::{augment::wide::wide, sample::AudioBuffer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Sums held side by side, so that a loop over samples runs in vector registers; the order is fixed by the length alone.
const LANES: usize = 16;

/// The amplitude factor of a gain in decibels.
pub fn db_to_factor(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// Gain factors are kept within this many decibels: beyond it floats end.
const MOST_DB: f64 = 240.0;

fn bounded_factor(db: f64) -> f32 {
    if db.is_nan() { 1.0 } else { db_to_factor(db.clamp(-MOST_DB, MOST_DB)) as f32 }
}

wide! {
    /// Mean square of all samples, summed in `f64` in an order that the length alone decides.
    pub fn power(samples: &[f32]) -> f64 {
        let mut sums = [0f64; LANES];
        let (blocks, rest) = samples.as_chunks::<LANES>();
        let rest: f64 = rest.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
        for block in blocks {
            for i in 0..LANES {
                sums[i] += f64::from(block[i]) * f64::from(block[i]);
            }
        }
        (sums.iter().sum::<f64>() + rest) / samples.len().max(1) as f64
    }
}

wide! {
    /// The largest absolute sample.
    pub fn peak(samples: &[f32]) -> f32 {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let mut peaks = [0f32; LANES];
        let (blocks, rest) = samples.as_chunks::<LANES>();
        let rest = rest.iter().fold(0f32, |peak, s| larger(peak, s.abs()));
        for block in blocks {
            for i in 0..LANES {
                peaks[i] = larger(peaks[i], block[i].abs());
            }
        }
        peaks.into_iter().fold(rest, larger)
    }
}

wide! {
    /// Multiplies, cut at `-1..=1`.
    fn multiply(samples: &mut [f32], factor: f32) {
        for s in samples {
            *s = (*s * factor).clamp(-1.0, 1.0);
        }
    }
}

wide! {
    /// Cut at `-limit..=limit`.
    fn cut(samples: &mut [f32], limit: f32) {
        for s in samples {
            *s = s.clamp(-limit, limit);
        }
    }
}

/// The gain in decibels that brings the largest absolute sample to 1; infinite for silence, negative where samples lie beyond 1.
pub fn headroom_db(audio: &AudioBuffer) -> f64 {
    -20.0 * f64::from(peak(audio.samples())).log10()
}

/// Multiplies by `gain_db` decibels (`-240..=240`, clamped), cut at `-1..=1` like a converter.
pub fn gain(audio: &AudioBuffer, gain_db: f64) -> AudioBuffer {
    let factor = bounded_factor(gain_db);
    audio.pieces(|samples| multiply(samples, factor))
}

/// [`gain`] on the sound itself.
pub fn gain_in_place(audio: &mut AudioBuffer, gain_db: f64) {
    let factor = bounded_factor(gain_db);
    multiply(audio.samples_mut(), factor);
}

/// Divides by the largest absolute sample where that is above 1, and returns what it multiplied with (1 where nothing lay beyond).
/// For whatever may overshoot: filters, rooms, resampling.
pub fn fit(audio: &mut AudioBuffer) -> f64 {
    let peak = peak(audio.samples());
    if peak <= 1.0 {
        return 1.0;
    }
    let factor = 1.0 / peak;
    multiply(audio.samples_mut(), factor);
    f64::from(factor)
}

/// What [`normalize`] brings to a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The largest absolute sample.
    #[default]
    Peak,
    /// The root of the mean square over the whole sound.
    Rms,
}

/// Brings peak or rms to `level_db` decibels of full scale (at most 0) and returns the gain in decibels; `None`, and nothing changes, for
/// silence. Where an rms level would push samples beyond 1, the gain stops at a peak of 1.
pub fn normalize(audio: &mut AudioBuffer, measure: Measure, level_db: f64) -> Option<f64> {
    let headroom = headroom_db(audio);
    if !headroom.is_finite() || level_db.is_nan() {
        return None;
    }
    let now = match measure {
        Measure::Peak => -headroom,
        Measure::Rms => 10.0 * power(audio.samples()).log10(),
    };
    let gain_db = (level_db.clamp(-MOST_DB, 0.0) - now).clamp(-MOST_DB, MOST_DB).min(headroom);
    gain_in_place(audio, gain_db);
    Some(gain_db)
}

/// Cuts everything beyond `threshold` (`0..=1`, clamped).
pub fn clip(audio: &mut AudioBuffer, threshold: f64) {
    let limit = if threshold.is_nan() { 1.0 } else { threshold.clamp(0.0, 1.0) as f32 };
    cut(audio.samples_mut(), limit);
}

/// Drives the sound `drive_db` decibels (`0..=60`, clamped) into a hard limit at full scale, then back by as much: what an overdriven input does.
pub fn clip_db(audio: &mut AudioBuffer, drive_db: f64) {
    let drive_db = if drive_db.is_nan() { 0.0 } else { drive_db.clamp(0.0, 60.0) };
    clip(audio, db_to_factor(-drive_db));
}

/// Cuts the `share` (`0..=1`, clamped) of samples that are largest in absolute value down to the quantile at `1 - share`, and returns that threshold.
pub fn clip_share(audio: &mut AudioBuffer, share: f64) -> f32 {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let rank = ((1.0 - share) * (audio.samples().len() - 1) as f64).round() as usize;
    let threshold = absolute_rank(audio.samples(), rank);
    cut(audio.samples_mut(), threshold);
    threshold
}

/// The value at `rank` (0 = least) among the absolute samples. Bits of positive floats are in the order of the floats, so one count by their
/// upper bits finds the few samples that matter.
fn absolute_rank(samples: &[f32], rank: usize) -> f32 {
    const SHIFT: u32 = 19;
    let key = |s: &f32| s.to_bits() & 0x7fff_ffff;
    let mut counts = [0u32; 1 << (31 - SHIFT)];
    samples.iter().for_each(|s| counts[(key(s) >> SHIFT) as usize] += 1);
    let (mut bucket, mut below) = (0, 0);
    for (at, count) in counts.iter().enumerate() {
        bucket = at as u32;
        if below + *count as usize > rank {
            break;
        }
        below += *count as usize;
    }
    let mut inside: Vec<u32> = samples.iter().map(key).filter(|k| k >> SHIFT == bucket).collect();
    let last = inside.len().saturating_sub(1);
    if inside.is_empty() {
        return peak(samples);
    }
    f32::from_bits(*inside.select_nth_unstable((rank - below.min(rank)).min(last)).1)
}

/// Bends large samples: `tanh(g x) / tanh(g)` with `g` of `drive_db` decibels (`-60..=60`, clamped). Full scale stays full scale; below 0 dB it
/// is nearly a line.
pub fn soft_clip(audio: &mut AudioBuffer, drive_db: f64) {
    let g = if drive_db.is_nan() { 1.0 } else { db_to_factor(drive_db.clamp(-60.0, 60.0)) };
    let scale = (1.0 / g.tanh()) as f32;
    let g = g as f32;
    bend(audio.samples_mut(), g, scale);
}

wide! {
    fn bend(samples: &mut [f32], g: f32, scale: f32) {
        for s in samples {
            *s = (tanh(*s * g) * scale).clamp(-1.0, 1.0);
        }
    }
}

/// `(1 - e) / (1 + e)` with `e = exp(-2 |x|)`, to about 2e-7: a power of two and the series of the rest.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let y = x.abs().min(20.0) * (-2.0 * std::f32::consts::LOG2_E);
    // Adding 1.5 * 2^23 leaves the nearest whole number in the lowest bits.
    let shifted = y + 12_582_912.0;
    let t = (y - (shifted - 12_582_912.0)) * std::f32::consts::LN_2;
    let series = 1.0 + t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0 + t * (1.0 / 720.0))))));
    let e = series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

wide! {
    fn negate(samples: &mut [f32]) {
        for s in samples {
            *s = -*s;
        }
    }
}

/// Turns every sample's sign.
pub fn invert(audio: &mut AudioBuffer) {
    negate(audio.samples_mut());
}

/// [`invert`] into a new sound, in one pass.
pub fn inverted(audio: &AudioBuffer) -> AudioBuffer {
    audio.pieces(negate)
}

/// Swaps the channels in pairs: left and right, and with more than two the pairs of the usual orders (front, back, side); a centre and
/// a bass channel keep their place. Mono stays as it is.
pub fn swap_channels(audio: &AudioBuffer) -> AudioBuffer {
    let mut out = audio.clone();
    swap_channels_in_place(&mut out);
    out
}

/// [`swap_channels`] on the sound itself.
pub fn swap_channels_in_place(audio: &mut AudioBuffer) {
    let channels = audio.channels();
    let pairs: &[(usize, usize)] = match channels {
        0 | 1 => return,
        2 => {
            audio.samples_mut().chunks_exact_mut(2).for_each(|frame| frame.swap(0, 1));
            return;
        }
        3 => &[(0, 1)],
        4 => &[(0, 1), (2, 3)],
        5 => &[(0, 1), (3, 4)],
        6 | 7 => &[(0, 1), (4, 5)],
        _ => &[(0, 1), (4, 5), (6, 7)],
    };
    for frame in audio.samples_mut().chunks_exact_mut(channels) {
        pairs.iter().for_each(|(a, b)| frame.swap(*a, *b));
    }
}

/// One channel: the mean of all.
pub fn to_mono(audio: &AudioBuffer) -> AudioBuffer {
    let mono = audio.mono();
    AudioBuffer::new(audio.sample_rate_hz(), 1, mono).unwrap_or_else(|_| audio.clone())
}

/// How a fade goes from 0 to 1 over `u` in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FadeShape {
    /// `u`.
    #[default]
    Linear,
    /// `sin(pi u / 2)`: the powers of a fade out and a fade in sum to 1.
    EqualPower,
    /// `(1 - cos(pi u)) / 2`.
    Cosine,
    /// Even in decibels, from -60 dB: `10^(3 (u - 1))`.
    Exponential,
}

impl FadeShape {
    /// The factor at `u`, clamped to `0..=1`.
    pub fn at(self, u: f64) -> f64 {
        let u = if u.is_nan() { 1.0 } else { u.clamp(0.0, 1.0) };
        match self {
            Self::Linear => u,
            Self::EqualPower => (PI * u / 2.0).sin(),
            Self::Cosine => (1.0 - (PI * u).cos()) / 2.0,
            Self::Exponential => {
                if u <= 0.0 {
                    0.0
                } else {
                    10f64.powf(3.0 * (u - 1.0))
                }
            }
        }
    }
}

/// Fades the first `frames_in` frames in and the last `frames_out` out (each cut at the length): frame `i` of a fade of `n` is multiplied with
/// the shape at `i / n`, and the last frame of the sound with the shape at 0.
pub fn fade(audio: &mut AudioBuffer, frames_in: usize, frames_out: usize, shape: FadeShape) {
    let (channels, length) = (audio.channels(), audio.frames());
    let samples = audio.samples_mut();
    let (n_in, n_out) = (frames_in.min(length), frames_out.min(length));
    let scale = |(at, frame): (usize, &mut [f32]), n: usize| {
        let factor = shape.at(at as f64 / n as f64) as f32;
        frame.iter_mut().for_each(|s| *s *= factor);
    };
    samples.chunks_exact_mut(channels).take(n_in).enumerate().for_each(|f| scale(f, n_in));
    samples.chunks_exact_mut(channels).rev().take(n_out).enumerate().for_each(|f| scale(f, n_out));
}

/// Moves the gain from `from_db` to `to_db` (both `-240..=240`, clamped) between the frames `start` and `end`, even in decibels; before and after it
/// holds. Cut at `-1..=1`.
pub fn gain_transition(audio: &mut AudioBuffer, from_db: f64, to_db: f64, start: usize, end: usize) {
    let channels = audio.channels();
    let (from, to) = (bounded_factor(from_db), bounded_factor(to_db));
    let (start, end) = (start.min(audio.frames()), end.min(audio.frames()).max(start.min(audio.frames())));
    let (before, rest) = audio.samples_mut().split_at_mut(start * channels);
    let (ramp, after) = rest.split_at_mut((end - start) * channels);
    multiply(before, from);
    multiply(after, to);
    // A geometric ramp is one product a frame.
    let step = (f64::from(to) / f64::from(from)).powf(1.0 / (end - start).max(1) as f64);
    let mut factor = f64::from(from);
    for frame in ramp.chunks_exact_mut(channels) {
        frame.iter_mut().for_each(|s| *s = (*s * factor as f32).clamp(-1.0, 1.0));
        factor *= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_values() {
        let audio = AudioBuffer::new(8000, 2, vec![0.5, -0.25, 0.1, 0.0]).unwrap();
        assert!((headroom_db(&audio) - 6.0206).abs() < 1e-4);
        let half = gain(&audio, -20.0 * 2f64.log10());
        assert!(half.samples().iter().zip(audio.samples()).all(|(h, a)| (h - a / 2.0).abs() < 1e-7));
        assert_eq!(gain(&audio, 20.0).samples(), [1.0, -1.0, 1.0, 0.0]);
        assert_eq!(gain(&audio, f64::INFINITY).samples()[3], 0.0);
        assert_eq!(swap_channels(&audio).samples(), [-0.25, 0.5, 0.0, 0.1]);
        assert_eq!(swap_channels(&swap_channels(&audio)), audio);
        assert_eq!(power(&[1.0, -1.0, 0.0, 0.0]), 0.5);
        assert_eq!(to_mono(&audio).samples(), [0.125, 0.05]);
    }

    fn sound(samples: &[f32]) -> AudioBuffer {
        AudioBuffer::new(8000, 1, samples.to_vec()).unwrap()
    }

    #[test]
    fn levels_and_limits() {
        let mut audio = sound(&[0.5, -0.25, 0.1, 0.0]);
        assert!((normalize(&mut audio, Measure::Peak, 0.0).unwrap() - 6.0206).abs() < 1e-4);
        assert_eq!(audio.samples(), [1.0, -0.5, 0.2, 0.0]);
        normalize(&mut audio, Measure::Rms, -20.0).unwrap();
        assert!((power(audio.samples()) - 0.01).abs() < 1e-7);
        // An rms of full scale would clip: the peak stops it.
        normalize(&mut audio, Measure::Rms, 0.0).unwrap();
        assert!((peak(audio.samples()) - 1.0).abs() < 1e-6);
        assert_eq!(normalize(&mut sound(&[0.0; 3]), Measure::Peak, 0.0), None);

        let mut audio = sound(&[0.5, -0.25, 0.1, 0.0]);
        clip(&mut audio, 0.2);
        assert_eq!(audio.samples(), [0.2, -0.2, 0.1, 0.0]);
        let mut audio = sound(&[0.5, -0.25, 0.1, 0.0]);
        clip_db(&mut audio, 20.0);
        assert!(audio.samples().iter().zip([0.1f32, -0.1, 0.1, 0.0]).all(|(a, b)| (a - b).abs() < 1e-7));
        let mut audio = sound(&[0.5, -0.25, 0.1, 0.0, 0.9]);
        assert_eq!(clip_share(&mut audio, 0.5), 0.25);
        assert_eq!(audio.samples(), [0.25, -0.25, 0.1, 0.0, 0.25]);
        let mut audio = sound(&[1.0, -1.0, 0.1]);
        soft_clip(&mut audio, 20.0);
        assert!((audio.samples()[0] - 1.0).abs() < 1e-6 && (audio.samples()[2] - 1f32.tanh()).abs() < 1e-4);
        for x in [-30f32, -3.0, -0.7, -1e-3, 0.0, 0.2, 1.0, 5.0, 9.5] {
            assert!((tanh(x) - x.tanh()).abs() < 3e-7, "{x}");
        }
        let mut over = sound(&[2.0, -0.5]);
        assert_eq!((fit(&mut over), over.samples()[1]), (0.5, -0.25));
        assert_eq!(fit(&mut over), 1.0);
    }

    #[test]
    fn fades_and_ramps() {
        let mut audio = sound(&[1.0; 8]);
        fade(&mut audio, 4, 2, FadeShape::Linear);
        assert_eq!(audio.samples(), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]);
        let powers = FadeShape::EqualPower.at(0.3).powi(2) + FadeShape::EqualPower.at(0.7).powi(2);
        assert!((powers - 1.0).abs() < 1e-12);
        assert!((FadeShape::Cosine.at(0.5) - 0.5).abs() < 1e-12 && (FadeShape::Exponential.at(2.0 / 3.0) - 0.1).abs() < 1e-12);
        let mut audio = sound(&[0.5; 8]);
        gain_transition(&mut audio, 0.0, -40.0, 2, 6);
        let db: Vec<f64> = audio.samples().iter().map(|s| 20.0 * (f64::from(*s) / 0.5).log10()).collect();
        for (found, right) in db.iter().zip([0.0, 0.0, 0.0, -10.0, -20.0, -30.0, -40.0, -40.0]) {
            assert!((found - right).abs() < 1e-4, "{db:?}");
        }
    }

    proptest! {
        #[test]
        fn polarity_twice_is_the_identity(samples in prop::collection::vec(-1f32..1.0, 1..50)) {
            let audio = sound(&samples);
            let mut twice = audio.clone();
            prop_assert_eq!(&inverted(&twice), &{ invert(&mut twice); twice.clone() });
            prop_assert!(twice.samples().iter().zip(&samples).all(|(a, b)| *a == -*b));
            invert(&mut twice);
            prop_assert_eq!(twice, audio);
        }

        #[test]
        fn a_rank_is_that_of_the_sorted(samples in prop::collection::vec(-1f32..1.0, 1..300), at in 0.0f64..1.0) {
            let rank = (at * (samples.len() - 1) as f64) as usize;
            let mut sorted: Vec<f32> = samples.iter().map(|s| s.abs()).collect();
            sorted.sort_by(f32::total_cmp);
            prop_assert_eq!(absolute_rank(&samples, rank), sorted[rank]);
        }

        #[test]
        fn any_number_is_taken(samples in prop::collection::vec(-1f32..1.0, 1..40), a: f64, b: f64, n: usize, m: usize) {
            let mut audio = sound(&samples);
            gain_in_place(&mut audio, a);
            clip(&mut audio, b);
            clip_share(&mut audio, a);
            soft_clip(&mut audio, a);
            fade(&mut audio, n, m, FadeShape::Exponential);
            gain_transition(&mut audio, a, b, n, m);
            normalize(&mut audio, Measure::Rms, a);
            prop_assert!(audio.samples().iter().all(|s| s.abs() <= 1.0));
        }
    }
}
