use crate::augment::wide::wide;
use crate::{random::SeedTree, sample::AudioBuffer};
use fundsp::prelude32::{An, AttoHash, AudioNode, BufferRef, BufferVec, MAX_BUFFER_SIZE, U0, U1, brown, pink, white};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// How the power of a noise falls with frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// The same at all frequencies.
    #[default]
    White,
    /// 3 dB less an octave.
    Pink,
    /// 6 dB less an octave (above 10 Hz).
    Brown,
    /// 3 dB more an octave: differences of pink noise (the top octave rises less).
    Blue,
    /// 6 dB more an octave: differences of white noise (the top octave rises less).
    Violet,
}

/// Noise of this colour, channels interleaved and independent of each other; the seed alone decides it. The level is not normalised:
/// [`mix_at_snr`](super::mix_at_snr) sets it.
pub fn noise(colour: Colour, sample_rate_hz: u32, channels: usize, frames: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0f32; frames * channels];
    for channel in 0..channels {
        // Without a seed every generator of this library gives the same noise.
        let hash = AttoHash::new(seed).hash(channel as u64);
        match colour {
            Colour::White | Colour::Violet => fill(white(), hash, sample_rate_hz, &mut out, channel, channels),
            Colour::Pink | Colour::Blue => fill(pink(), hash, sample_rate_hz, &mut out, channel, channels),
            Colour::Brown => fill(brown(), hash, sample_rate_hz, &mut out, channel, channels),
        }
    }
    if matches!(colour, Colour::Blue | Colour::Violet) {
        // A difference has the power 4 sin(pi f / rate)^2 of what it is taken of.
        (channels..out.len()).rev().for_each(|at| out[at] -= out[at - channels]);
    }
    out
}

fn fill<X>(mut node: An<X>, hash: AttoHash, sample_rate_hz: u32, out: &mut [f32], channel: usize, channels: usize)
where
    X: AudioNode<Inputs = U0, Outputs = U1>,
{
    node.set_sample_rate(f64::from(sample_rate_hz.max(1)));
    node.ping(false, hash);
    node.reset();
    let mut buffer = BufferVec::new(1);
    for block in out.chunks_mut(MAX_BUFFER_SIZE * channels) {
        let size = block.len() / channels;
        node.process(size, &BufferRef::empty(), &mut buffer.buffer_mut());
        block.iter_mut().skip(channel).step_by(channels).zip(buffer.channel_f32(0)).for_each(|(s, v)| *s = *v);
    }
}

/// Values worked on side by side by [`gaussian`].
const LANES: usize = 16;

/// White noise with a standard normal amplitude (mean 0, deviation 1), the seed alone decides it, and a shorter field is the beginning of a longer one.
///
/// Box and Muller's transform (1958) of a counter hashed with the seed: nothing depends on what was drawn before, so that the loop runs in vector registers.
/// Amplitudes end at 5.8 deviations, where the 24 bits of its uniform numbers do.
pub fn gaussian(len: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0f32; len];
    add_normal(&mut out, 1.0, seed);
    out
}

/// Adds [`gaussian`] noise of `deviation` (of full scale, `0..=1`, clamped) to every sample, in place, without a field of its own. May overshoot 1
/// ([`fit`](super::fit)).
pub fn add_gaussian(audio: &mut AudioBuffer, deviation: f64, seed: u64) {
    let deviation = if deviation.is_nan() { 0.0 } else { deviation.clamp(0.0, 1.0) } as f32;
    add_normal(audio.samples_mut(), deviation, seed);
}

wide! {
    /// Adds `deviation` times its normal number to every sample.
    fn add_normal(out: &mut [f32], deviation: f32, seed: u64) {
        let keys = [seed as u32, (seed >> 32) as u32];
        let (blocks, rest) = out.as_chunks_mut::<{ 2 * LANES }>();
        let mut counter = 0u32;
        for block in blocks {
            let (a, b) = normal_pairs(counter, keys);
            for i in 0..LANES {
                block[i] += deviation * a[i];
                block[LANES + i] += deviation * b[i];
            }
            counter = counter.wrapping_add(LANES as u32);
        }
        let (a, b) = normal_pairs(counter, keys);
        rest.iter_mut().zip(a.into_iter().chain(b)).for_each(|(s, v)| *s += deviation * v);
    }
}

/// A bijection of 32 bits in which every input bit moves every output bit (the constants are those of Wellons' search, `lowbias32`).
#[inline(always)]
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[inline(always)]
fn normal_pairs(counter: u32, keys: [u32; 2]) -> ([f32; LANES], [f32; LANES]) {
    let (mut radius, mut angle) = ([0u32; LANES], [0u32; LANES]);
    for i in 0..LANES {
        let x = mix(counter.wrapping_add(i as u32) ^ keys[0]);
        radius[i] = mix(x.wrapping_add(keys[1]));
        angle[i] = mix(x ^ keys[1].rotate_left(16) ^ 0x9e37_79b9);
    }
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    for i in 0..LANES {
        // (0, 1], so that the logarithm is finite.
        let u = ((radius[i] >> 8) + 1) as i32 as f32 * (1.0 / 16_777_216.0);
        let r = (-2.0 * ln(u)).sqrt();
        // The two upper bits choose the quarter turn, the other 22 the place in it, -1/8..1/8 of a turn.
        let v = (((angle[i] << 2) >> 10) as i32 as f32 + 0.5) * (1.0 / 4_194_304.0) - 0.5;
        let (sin, cos) = eighth_turn(v * std::f32::consts::FRAC_PI_2);
        let quarter = angle[i] >> 30;
        let swapped = quarter & 1 == 1;
        let (c, s) = (if swapped { sin } else { cos }, if swapped { cos } else { sin });
        first[i] = r * f32::from_bits(c.to_bits() ^ ((quarter >> 1) << 31));
        second[i] = r * f32::from_bits(s.to_bits() ^ (((quarter >> 1) ^ (quarter & 1)) << 31));
    }
    (first, second)
}

/// Natural logarithm of a positive normal float to about 1e-7 (the polynomial of Cephes' `logf`, S. Moshier).
#[inline(always)]
fn ln(x: f32) -> f32 {
    // Mantissa in sqrt(1/2)..sqrt(2).
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let z = m * m;
    let mut p = 7.037_683_6e-2;
    for c in
        [-1.151_461e-1, 1.167_699_8e-1, -1.242_014_1e-1, 1.424_932_3e-1, -1.666_805_7e-1, 2.000_071_5e-1, -2.499_999_4e-1, 3.333_333e-1]
    {
        p = p * m + c;
    }
    let y = m * z * p - 0.5 * z - 2.121_944_4e-4 * exponent;
    m + y + 0.693_359_4 * exponent
}

/// Sine and cosine on `-pi/4..=pi/4` (the polynomials of Cephes' `sinf` and `cosf`).
#[inline(always)]
fn eighth_turn(x: f32) -> (f32, f32) {
    let z = x * x;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * x + x;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    (sin, cos)
}

/// Mains hum: a sine of `mains_hz` (50 or 60) and `harmonics - 1` multiples of it below half the rate, each `rolloff_db` decibels weaker than the one before;
/// harmonic `h`
/// starts at `h * phase` turns. The same in all channels; the first harmonic has amplitude 1, [`mix_at_snr`](super::mix_at_snr) sets the level. Silent where
/// the mains frequency is not in
/// `0..rate / 2`.
pub fn hum(sample_rate_hz: u32, channels: usize, frames: usize, mains_hz: f64, harmonics: usize, rolloff_db: f64, phase: f64) -> Vec<f32> {
    let mut out = vec![0f32; frames * channels];
    let rate = f64::from(sample_rate_hz.max(1));
    if !(mains_hz > 0.0 && rolloff_db.is_finite() && phase.is_finite()) {
        return out;
    }
    for h in (1..=harmonics).take_while(|h| *h as f64 * mains_hz < rate / 2.0) {
        let amplitude = super::db_to_factor((-rolloff_db * (h - 1) as f64).clamp(-240.0, 240.0));
        if amplitude < 1e-6 {
            break;
        }
        // A rotation of one complex number a frame, renewed now and then so that rounding does not pile up.
        let step = TAU * h as f64 * mains_hz / rate;
        let (sin_step, cos_step) = step.sin_cos();
        for (block, part) in out.chunks_mut(4096 * channels).enumerate() {
            let start = TAU * (h as f64 * phase).fract() + step * (block * 4096) as f64;
            let (mut sin, mut cos) = start.sin_cos();
            for frame in part.chunks_exact_mut(channels) {
                let value = (amplitude * sin) as f32;
                frame.iter_mut().for_each(|s| *s += value);
                (sin, cos) = (sin * cos_step + cos * sin_step, cos * cos_step - sin * sin_step);
            }
        }
    }
    out
}

/// Clicks at random times, `per_second` of them on average (a Poisson process, `0..=rate`, clamped): each begins at an amplitude drawn evenly from `0.25..=1`
/// with either sign and dies away by a
/// factor `e` every `decay_s` seconds (0: single samples). The same in all channels; the seed alone decides them.
pub fn clicks(sample_rate_hz: u32, channels: usize, frames: usize, per_second: f64, decay_s: f64, seed: u64) -> Vec<f32> {
    let mut out = vec![0f32; frames * channels];
    let rate = f64::from(sample_rate_hz.max(1));
    if per_second.is_nan() || per_second <= 0.0 || channels == 0 {
        return out;
    }
    let (gap, mut rng) = (rate / per_second.min(rate), SeedTree::new(seed).child("clicks").rng());
    let keep = if decay_s > 0.0 { (-1.0 / (decay_s.min(10.0) * rate)).exp() as f32 } else { 0.0 };
    let (mut next, mut value) = (-gap * (1.0 - rng.random::<f64>()).ln(), 0f32);
    for (at, frame) in out.chunks_exact_mut(channels).enumerate() {
        value *= keep;
        while next < (at + 1) as f64 {
            let amplitude = rng.random_range(0.25f32..=1.0);
            value += if rng.random::<bool>() { amplitude } else { -amplitude };
            next -= gap * (1.0 - rng.random::<f64>()).ln();
        }
        if value.abs() < 1e-7 {
            value = 0.0;
        }
        frame.fill(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::audio::power;

    /// Power of neighbouring differences over the power itself: 2 for white noise, small for one that hangs on low frequencies.
    fn roughness(samples: &[f32]) -> f64 {
        let differences: Vec<f32> = samples.windows(2).map(|w| w[1] - w[0]).collect();
        power(&differences) / power(samples)
    }

    const ALL: [Colour; 5] = [Colour::White, Colour::Pink, Colour::Brown, Colour::Blue, Colour::Violet];

    #[test]
    fn colours_differ_and_seeds_decide() {
        let make = |colour, seed| noise(colour, 8000, 1, 8000, seed);
        let rough = ALL.map(|colour| roughness(&make(colour, 1)));
        assert!((1.9..2.1).contains(&rough[0]) && rough[1] < 1.0 && rough[2] < 0.1, "{rough:?}");
        // Differences of white noise: 6 / 2; of pink noise between white and violet.
        assert!((2.9..3.1).contains(&rough[4]) && (2.0..2.9).contains(&rough[3]), "{rough:?}");
        for colour in ALL {
            assert_eq!(make(colour, 5), make(colour, 5));
            assert_ne!(make(colour, 5), make(colour, 6));
            let (short, long) = (noise(colour, 8000, 2, 100, 3), noise(colour, 8000, 2, 333, 3));
            assert_eq!(short, long[..200]);
        }
        let stereo = noise(Colour::White, 8000, 2, 4000, 9);
        let (mut cross, mut own) = (0f64, 0f64);
        for frame in stereo.chunks_exact(2) {
            cross += f64::from(frame[0] * frame[1]);
            own += f64::from(frame[0] * frame[0]);
        }
        assert!((cross / own).abs() < 0.1);
    }

    /// Mean power in an octave from `low` hertz, in decibels a hertz.
    fn octave_db(samples: &[f32], rate: f64, low: f64) -> f64 {
        let length = 4096;
        let mut fourier = crate::augment::audio::fft::Fourier::new(length);
        let mut bins = vec![realfft::num_complex::Complex::default(); fourier.bins()];
        let mut sum = 0f64;
        let mut count = 0;
        for block in samples.chunks_exact(length) {
            let mut time: Vec<f32> = block
                .iter()
                .enumerate()
                .map(|(i, s)| s * (std::f32::consts::PI * (i as f32 + 0.5) / length as f32).sin().powi(2))
                .collect();
            fourier.forward(&mut time, &mut bins);
            for (k, bin) in bins.iter().enumerate() {
                let hz = k as f64 * rate / length as f64;
                if (low..2.0 * low).contains(&hz) {
                    sum += f64::from(bin.norm_sqr());
                    count += 1;
                }
            }
        }
        10.0 * (sum / f64::from(count)).log10()
    }

    #[test]
    fn slopes_are_those_of_the_colours() {
        for (colour, slope) in ALL.into_iter().zip([0.0, -3.01, -6.02, 3.01, 6.02]) {
            let samples = noise(colour, 44_100, 1, 300_000, 7);
            let low = octave_db(&samples, 44_100.0, 250.0);
            let high = octave_db(&samples, 44_100.0, 4000.0);
            assert!(((high - low) / 4.0 - slope).abs() < 0.2, "{colour:?} {}", (high - low) / 4.0);
        }
    }

    #[test]
    fn gaussian_noise_is_normal_and_white() {
        let field = gaussian(1_000_001, 77);
        let moment = |p: i32| field.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / field.len() as f64;
        assert!(moment(1).abs() < 0.005 && (moment(2) - 1.0).abs() < 0.01 && moment(3).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.05);
        let beyond = |limit: f32| field.iter().filter(|v| v.abs() > limit).count() as f64 / field.len() as f64;
        assert!((beyond(1.0) - 0.3173).abs() < 0.003 && (beyond(2.0) - 0.0455).abs() < 0.001 && (beyond(3.0) - 0.0027).abs() < 0.0003);
        assert!((roughness(&field) - 2.0).abs() < 0.01);
        // The two halves of a block share a radius: they must not be alike.
        let pairs: f64 = field.chunks_exact(32).map(|b| (0..16).map(|i| f64::from(b[i] * b[16 + i])).sum::<f64>()).sum::<f64>() / 500_000.0;
        assert!(pairs.abs() < 0.005, "{pairs}");
        assert_eq!(gaussian(37, 5), gaussian(100, 5)[..37]);
        let mut audio = AudioBuffer::new(8000, 1, vec![0.5; 37]).unwrap();
        add_gaussian(&mut audio, 0.1, 5);
        assert!(audio.samples().iter().zip(gaussian(37, 5)).all(|(s, v)| (s - (0.5 + 0.1 * v)).abs() < 1e-6));
        add_gaussian(&mut audio, f64::NAN, 6);
        assert!(audio.samples().iter().all(|s| s.is_finite()));
        assert_ne!(gaussian(37, 5), gaussian(37, 6));
        assert_ne!(gaussian(37, 5), gaussian(37, 5 + (1 << 32)));
        for x in [1e-7f32, 0.1, 0.5, 0.70710677, 0.9999, 1.0] {
            assert!((ln(x) - x.ln()).abs() < 2e-6 * (1.0 + x.ln().abs()), "{x}");
        }
        for x in [-0.785f32, -0.3, 0.0, 0.5, 0.785] {
            let (sin, cos) = eighth_turn(x);
            assert!((sin - x.sin()).abs() < 1e-6 && (cos - x.cos()).abs() < 1e-6);
        }
    }

    #[test]
    fn hum_is_its_sines() {
        let field = hum(8000, 2, 6000, 50.0, 3, 6.0, 0.25);
        for at in [0usize, 17, 4095, 4096, 5999] {
            let t = at as f64 / 8000.0;
            let exact: f64 = (1..=3)
                .map(|h| crate::augment::audio::db_to_factor(-6.0 * (h - 1) as f64) * (TAU * h as f64 * (50.0 * t + 0.25)).sin())
                .sum();
            assert!((f64::from(field[2 * at]) - exact).abs() < 1e-5 && field[2 * at] == field[2 * at + 1]);
        }
        assert!(hum(80, 1, 10, 50.0, 3, 6.0, 0.0).iter().all(|v| *v == 0.0));
        assert!(hum(8000, 1, 10, f64::NAN, 3, 6.0, 0.0).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn clicks_come_as_often_as_asked() {
        let field = clicks(8000, 1, 800_000, 20.0, 0.0, 3);
        let count = field.iter().filter(|v| **v != 0.0).count();
        assert!((1850..2150).contains(&count), "{count}");
        assert!(field.iter().all(|v| v.abs() <= 2.0));
        assert_eq!(clicks(8000, 1, 100, 50.0, 0.001, 3), clicks(8000, 1, 200, 50.0, 0.001, 3)[..100]);
        let long = clicks(8000, 1, 8000, 1.0, 0.01, 5);
        let at = long.iter().position(|v| *v != 0.0).unwrap();
        assert!((long[at + 80] / long[at] - (-1f32).exp()).abs() < 1e-3);
        assert!(clicks(8000, 1, 8, f64::NAN, 0.0, 1).iter().all(|v| *v == 0.0));
        assert!(clicks(8000, 1, 8, f64::INFINITY, f64::INFINITY, 1).iter().all(|v| v.is_finite()));
    }
}
