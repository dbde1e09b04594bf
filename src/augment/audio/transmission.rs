use super::{
    fft::{change_spectrum, frame_length},
    filters::{Biquad, filter, high_pass_sections, low_pass_sections},
    resample::resample_frames,
};
use crate::{augment::wide::wide, error::Result, random::SeedTree, sample::AudioBuffer};
use rand::RngExt;
use realfft::num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a sample is stored in eight bits or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// Logarithmic, 8 bits a sample: the telephones of North America and Japan (ITU-T G.711).
    #[default]
    MuLaw,
    /// Logarithmic, 8 bits a sample: the telephones of the rest of the world (ITU-T G.711).
    ALaw,
    /// Differences in 4 bits a sample with a step that follows them (IMA ADPCM, 1992).
    Adpcm,
}

/// The byte of a 16-bit sample in mu-law (ITU-T G.711, table 2): 13 bits of magnitude with a bias of 33, eight segments of 16 steps; all bits inverted.
pub fn mu_law_encode(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() >> 2).min(8158) + 33;
    let segment = (26 - magnitude.leading_zeros() as i32).max(0);
    let code = (segment << 4) | ((magnitude >> (segment + 1)) & 15);
    !(code as u8 | if sample < 0 { 0x80 } else { 0 })
}

/// The 16-bit sample of a mu-law byte.
pub fn mu_law_decode(byte: u8) -> i16 {
    let code = !byte;
    let magnitude = (((i32::from(code & 15) << 1) + 33) << ((code >> 4) & 7)) - 33;
    (if code & 0x80 == 0 { 4 * magnitude } else { -4 * magnitude }) as i16
}

/// The byte of a 16-bit sample in A-law (ITU-T G.711, table 1): 12 bits of magnitude, eight segments of 16 steps, every other bit inverted.
pub fn a_law_encode(sample: i16) -> u8 {
    let value = i32::from(sample) >> 4;
    let magnitude = if value < 0 { -value - 1 } else { value };
    let segment = (28 - magnitude.leading_zeros() as i32).max(0);
    let code = (segment << 4) | ((magnitude >> (segment - 1).max(0)) & 15);
    (code as u8 | if value < 0 { 0 } else { 0x80 }) ^ 0x55
}

/// The 16-bit sample of an A-law byte.
pub fn a_law_decode(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let (segment, step) = (i32::from((code >> 4) & 7), i32::from(code & 15));
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 264) << (segment - 1) };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

/// Steps of the IMA coder.
const ADPCM_STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143, 157,
    173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707,
    1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899,
    15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
];

/// Coder and decoder of one channel in one: both keep the same state.
#[derive(Default)]
struct Adpcm {
    value: i32,
    index: usize,
}

impl Adpcm {
    fn pass(&mut self, sample: i16) -> i16 {
        let mut step = ADPCM_STEPS[self.index.min(88)];
        let difference = i32::from(sample) - self.value;
        let (mut rest, mut code, mut change) = (difference.abs(), 0usize, step >> 3);
        for bit in [4, 2, 1] {
            if rest >= step {
                code |= bit;
                rest -= step;
                change += step;
            }
            step >>= 1;
        }
        self.value = (self.value + if difference < 0 { -change } else { change }).clamp(-32768, 32767);
        let moves = [-1i32, -1, -1, -1, 2, 4, 6, 8];
        self.index = (self.index as i32 + moves[code]).clamp(0, 88) as usize;
        self.value as i16
    }
}

fn to_16_bits(s: f32) -> i16 {
    (s * 32_768.0).round_ties_even().clamp(-32_768.0, 32_767.0) as i16
}

/// Codes and decodes every sample, in place; channels apart.
pub fn code(audio: &mut AudioBuffer, coding: Coding) {
    let channels = audio.channels();
    let mut adpcm: Vec<Adpcm> = (0..channels).map(|_| Adpcm::default()).collect();
    let to_float = |v: i16| f32::from(v) / 32_768.0;
    let samples = audio.samples_mut();
    match coding {
        Coding::MuLaw => samples.iter_mut().for_each(|s| *s = to_float(mu_law_decode(mu_law_encode(to_16_bits(*s))))),
        Coding::ALaw => samples.iter_mut().for_each(|s| *s = to_float(a_law_decode(a_law_encode(to_16_bits(*s))))),
        Coding::Adpcm => {
            for frame in samples.chunks_exact_mut(channels) {
                frame.iter_mut().zip(&mut adpcm).for_each(|(s, state)| *s = to_float(state.pass(to_16_bits(*s))));
            }
        }
    }
}

/// Rounds to `bits` bits a sample (`1..=24`, clamped), in place: steps of `2^(1 - bits)`, in the middle of which silence lies.
pub fn bit_depth(audio: &mut AudioBuffer, bits: u32) {
    let steps = 2f32.powi(bits.clamp(1, 24) as i32 - 1);
    round_to(audio.samples_mut(), steps, 1.0 / steps);
}

wide! {
    /// To multiples of `step`, `steps` of which are 1, cut at `-1..=1`.
    fn round_to(samples: &mut [f32], steps: f32, step: f32) {
        for s in samples {
            *s = ((*s * steps).round_ties_even() * step).clamp(-1.0, 1.0);
        }
    }
}

/// Keeps every `hold`-th frame (at least 1) and holds it, without a filter before or after, in place: frequencies above `rate / 2 hold` fold down, as in a
/// cheap converter.
pub fn alias(audio: &mut AudioBuffer, hold: usize) {
    let channels = audio.channels();
    for block in audio.samples_mut().chunks_mut(hold.max(1).saturating_mul(channels)) {
        let (first, rest) = block.split_at_mut(channels);
        rest.chunks_exact_mut(channels).for_each(|frame| frame.copy_from_slice(first));
    }
}

/// Rate of a telephone line.
const LINE_HZ: u32 = 8000;

/// A telephone line: 300 to 3400 Hz (Butterworth, 24 dB an octave), 8 kHz, `coding`, and back to the old rate; length and times stay. Sounds of at most 8 kHz
/// keep their rate. May overshoot 1
/// slightly ([`fit`](super::fit)).
pub fn telephone(audio: &AudioBuffer, coding: Coding) -> Result<AudioBuffer> {
    let (rate, frames) = (audio.sample_rate_hz(), audio.frames());
    let mut line = audio.clone();
    let mut sections = high_pass_sections(rate, 300.0, 4);
    sections.extend(low_pass_sections(rate, 3400.0, 4));
    filter(&mut line, &sections);
    if rate <= LINE_HZ {
        code(&mut line, coding);
        return Ok(line);
    }
    let (up, down) = (u64::from(LINE_HZ), u64::from(rate));
    let count = (frames as u64 * up).div_ceil(down) as usize;
    let mut narrow = resample_frames(&line, LINE_HZ, (down, up), count)?;
    code(&mut narrow, coding);
    resample_frames(&narrow, rate, (up, down), frames)
}

/// Upper ends of the bands of [`lossy`] in hertz: Zwicker's critical bands.
const BANDS_HZ: [f64; 24] = [
    100.0, 200.0, 300.0, 400.0, 510.0, 630.0, 770.0, 920.0, 1080.0, 1270.0, 1480.0, 1720.0, 2000.0, 2320.0, 2700.0, 3150.0, 3700.0, 4400.0,
    5300.0, 6400.0, 7700.0, 9500.0, 12000.0, 15500.0,
];

wide! {
    fn loudest(bins: &[Complex<f32>]) -> f32 {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        let mut peaks = [0f32; 16];
        let (blocks, rest) = bins.as_chunks::<16>();
        for block in blocks {
            for i in 0..16 {
                peaks[i] = larger(peaks[i], larger(block[i].re.abs(), block[i].im.abs()));
            }
        }
        rest.iter().map(|b| larger(b.re.abs(), b.im.abs())).chain(peaks).fold(0.0, larger)
    }
}

wide! {
    fn round_bins(bins: &mut [Complex<f32>], up: f32, down: f32) {
        for bin in bins {
            bin.re = (bin.re * up).round_ties_even() * down;
            bin.im = (bin.im * up).round_ties_even() * down;
        }
    }
}

/// What a lossy transform coder leaves of a sound, in place: everything above `bandwidth_hz` is removed, and in each critical band (Zwicker 1961) of each
/// frame of about 32 ms the bins are rounded to
/// steps set by the band's loudest bin, `2^bits` of them from one end of its range to the other (`1..=16`, clamped); a band more than 60 dB below the frame's
/// loudest bin is dropped. Few bits give the
/// "birdies" and gaps of a low MP3 rate; it is no MP3 coder and has no rate.
pub fn lossy(audio: &mut AudioBuffer, bandwidth_hz: f64, bits: f64) {
    let rate = f64::from(audio.sample_rate_hz());
    let length = frame_length(audio.sample_rate_hz(), 0.032);
    let width = rate / length as f64;
    let place = |hz: f64| ((hz / width).ceil() as usize).min(length / 2 + 1);
    let bandwidth = if bandwidth_hz.is_nan() { rate } else { bandwidth_hz.max(0.0) };
    let end = place(bandwidth.min(rate));
    let edges: Vec<usize> =
        std::iter::once(0).chain(BANDS_HZ.into_iter().map(place)).chain([length / 2 + 1]).map(|edge| edge.min(end)).collect();
    // From -half to half in whole steps.
    let half = (2f64.powf(if bits.is_nan() { 16.0 } else { bits.clamp(1.0, 16.0) }) / 2.0) as f32;
    change_spectrum(audio, length, |_, _, bins| {
        let least = loudest(&bins[..end]) * 1e-3;
        for edge in edges.windows(2) {
            let band = &mut bins[edge[0]..edge[1].max(edge[0])];
            let largest = loudest(band);
            if largest <= least || largest < f32::MIN_POSITIVE * 1e6 {
                band.fill(Default::default());
                continue;
            }
            let (up, down) = (half / largest, largest / half);
            round_bins(band, up, down);
        }
        bins[end..].fill(Default::default());
    });
}

/// What stands in for a packet that did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Concealment {
    /// Nothing.
    Silence,
    /// The packet before it again, half as loud each time.
    #[default]
    Repeat,
}

/// Which of `count` packets are lost: a chain of two states (Gilbert 1960) that loses `share` of them in the long run (`0..=1`, clamped), in bursts of `burst`
/// packets on average (at least 1, and at least what
/// the share demands). The seed alone decides it, and a shorter list is the beginning of a longer one.
pub fn lost_packets(count: usize, share: f64, burst: f64, seed: u64) -> Vec<bool> {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    if share >= 1.0 {
        return vec![true; count];
    }
    let least = (share / (1.0 - share)).max(1.0);
    let recover = 1.0 / if burst.is_nan() { least } else { burst.max(least) };
    let lose = recover * share / (1.0 - share);
    let mut rng = SeedTree::new(seed).child("packets").rng();
    let mut lost = rng.random::<f64>() < share;
    let step = |_| {
        let now = lost;
        let chance = rng.random::<f64>();
        lost = if lost { chance >= recover } else { chance < lose };
        now
    };
    (0..count).map(step).collect()
}

/// Loses packets of `frames` frames (at least 1; the last may be shorter), in place: packet `i` where `lost[i]`; beyond the list all come. Where a packet is
/// missing its first and last frames fade over an eighth of it, so that
/// the hole itself does not click.
pub fn lose_packets(audio: &mut AudioBuffer, frames: usize, lost: &[bool], concealment: Concealment) {
    let (channels, length) = (audio.channels(), audio.frames());
    let (size, ramp) = (frames.clamp(1, length), frames.clamp(1, length) / 8);
    let samples = audio.samples_mut();
    for (number, _) in lost.iter().enumerate().filter(|(_, lost)| **lost) {
        let start = number.saturating_mul(size);
        if start >= length {
            break;
        }
        let count = size.min(length - start);
        let (before, rest) = samples.split_at_mut(start * channels);
        let hole = &mut rest[..count * channels];
        // A packet that was lost itself has been filled already, half as loud: the next is a quarter.
        let source = match concealment {
            Concealment::Repeat if number > 0 => &before[(start - size) * channels..],
            _ => &[],
        };
        for at in 0..count {
            // What was there fades out, what comes next fades in.
            let old = 1.0 - ((at + 1) as f32 / (ramp + 1) as f32).min(((count - at) as f32) / (ramp + 1) as f32).min(1.0);
            for c in 0..channels {
                let stand_in = source.get(at * channels + c).copied().unwrap_or(0.0) * 0.5;
                let sample = &mut hole[at * channels + c];
                *sample = *sample * old + stand_in * (1.0 - old);
            }
        }
    }
}

/// Removes what lies above `bandwidth_hz` (8th order Butterworth), in place: the bandwidth of a codec or a recorder.
pub fn bandwidth(audio: &mut AudioBuffer, bandwidth_hz: f64) {
    let sections: Vec<Biquad> = low_pass_sections(audio.sample_rate_hz(), bandwidth_hz, 8);
    filter(audio, &sections);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::audio::{gaussian, power};
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    #[test]
    fn companding_is_that_of_g711() {
        // Decoder outputs of the recommendation's tables on the 16-bit scale.
        for (byte, value) in [
            (0x00u8, -32_124i16),
            (0x80, 32_124),
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0xef, 132),
            (0x90, 15_996),
            (0x8f, 16_764),
            (0xcf, 924),
            (0xc0, 1884),
        ] {
            assert_eq!(mu_law_decode(byte), value, "{byte:#x}");
        }
        for (byte, value) in [(0xd5u8, 8i16), (0x55, -8), (0xaa, 32_256), (0x2a, -32_256), (0xd4, 24), (0x80, 5504)] {
            assert_eq!(a_law_decode(byte), value, "{byte:#x}");
        }
        for byte in 0..=255u8 {
            // Mu-law has two zeros.
            assert!(byte == 0x7f || mu_law_encode(mu_law_decode(byte)) == byte, "{byte:#x}");
            assert_eq!(a_law_encode(a_law_decode(byte)), byte, "{byte:#x}");
        }
        assert_eq!(
            (mu_law_encode(i16::MIN), mu_law_encode(i16::MAX), a_law_encode(i16::MIN), a_law_encode(i16::MAX)),
            (0x00, 0x80, 0x2a, 0xaa)
        );
        for value in (i16::MIN..=i16::MAX).step_by(7) {
            let error = |decoded: i16| (i32::from(decoded) - i32::from(value)).abs();
            let most = (i32::from(value).abs() / 16).max(8);
            assert!(
                error(mu_law_decode(mu_law_encode(value))) <= most.max(32_768 / 32 * i32::from(value.unsigned_abs() > 32_124)),
                "{value}"
            );
            assert!(error(a_law_decode(a_law_encode(value))) <= most.max(16), "{value}");
        }
    }

    fn tone(rate: u32, hz: f64, frames: usize) -> AudioBuffer {
        AudioBuffer::new(rate, 1, (0..frames).map(|n| (0.5 * (TAU * hz * n as f64 / f64::from(rate)).sin()) as f32).collect()).unwrap()
    }

    fn error_db(a: &AudioBuffer, b: &AudioBuffer) -> f64 {
        let difference: Vec<f32> = a.samples().iter().zip(b.samples()).map(|(a, b)| a - b).collect();
        10.0 * (power(&difference) / power(b.samples())).log10()
    }

    #[test]
    fn codings_cost_what_they_should() {
        let clean = tone(8000, 440.0, 8000);
        for (coding, low, high) in [(Coding::MuLaw, -41.0, -35.0), (Coding::ALaw, -41.0, -35.0), (Coding::Adpcm, -38.0, -20.0)] {
            let mut coded = clean.clone();
            code(&mut coded, coding);
            let error = error_db(&coded, &clean);
            assert!((low..high).contains(&error), "{coding:?} {error}");
        }
        // A sine at half scale rounded to 8 bits: 6.02 * 7 + 1.76 dB.
        let mut coarse = tone(8000, 441.7, 80_000);
        let clean = coarse.clone();
        bit_depth(&mut coarse, 8);
        assert!((error_db(&coarse, &clean) + 43.9).abs() < 0.5);
        let mut held = AudioBuffer::new(8000, 2, (0..10).map(|i| i as f32 / 10.0).collect()).unwrap();
        alias(&mut held, 2);
        assert_eq!(held.samples(), [0.0, 0.1, 0.0, 0.1, 0.4, 0.5, 0.4, 0.5, 0.8, 0.9]);
    }

    #[test]
    fn a_telephone_has_its_band() {
        let level = |hz: f64| {
            let line = telephone(&tone(16_000, hz, 16_000), Coding::MuLaw).unwrap();
            assert_eq!((line.frames(), line.sample_rate_hz()), (16_000, 16_000));
            10.0 * (power(&line.samples()[2000..14_000]) / 0.125).log10()
        };
        assert!(level(1000.0).abs() < 0.3, "{}", level(1000.0));
        assert!(
            (level(300.0) + 3.0).abs() < 0.5 && (level(100.0) + 38.0).abs() < 1.5 && level(5000.0) < -15.0,
            "{} {} {}",
            level(300.0),
            level(100.0),
            level(5000.0)
        );
        assert_eq!(telephone(&tone(4000, 500.0, 100), Coding::Adpcm).unwrap().frames(), 100);
    }

    #[test]
    fn loss_is_banded() {
        let noise = AudioBuffer::new(16_000, 1, gaussian(32_000, 3).iter().map(|v| v * 0.1).collect()).unwrap();
        let mut errors = Vec::new();
        for bits in [16.0, 8.0, 4.0, 2.0] {
            let mut coded = noise.clone();
            lossy(&mut coded, 8001.0, bits);
            errors.push(error_db(&coded, &noise));
        }
        assert!(errors[0] < -60.0 && errors.windows(2).all(|w| w[1] > w[0] + 3.0), "{errors:?}");
        let mut tone = tone(16_000, 6000.0, 16_000);
        lossy(&mut tone, 4000.0, 8.0);
        assert!(power(tone.samples()) < 1e-5);
    }

    #[test]
    fn packets_are_lost_as_often_as_asked() {
        let lost = lost_packets(100_000, 0.1, 4.0, 5);
        let share = lost.iter().filter(|l| **l).count() as f64 / 1e5;
        let bursts = lost.windows(2).filter(|w| !w[0] && w[1]).count() as f64;
        assert!((share - 0.1).abs() < 0.01 && (share * 1e5 / bursts - 4.0).abs() < 0.3, "{share} {bursts}");
        assert_eq!(lost_packets(50, 0.1, 4.0, 5), lost[..50]);
        assert!(lost_packets(9, 0.0, 3.0, 1).iter().all(|l| !l) && lost_packets(9, 1.0, 3.0, 1).iter().all(|l| *l));
        let mut audio = AudioBuffer::new(8000, 1, vec![0.8; 20]).unwrap();
        lose_packets(&mut audio, 4, &[false, true, true], Concealment::Repeat);
        let right: Vec<f32> = [[0.8f32; 4], [0.4; 4], [0.2; 4], [0.8; 4], [0.8; 4]].concat();
        assert!(audio.samples().iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", audio.samples());
        lose_packets(&mut audio, 16, &[false, true], Concealment::Silence);
        // Ramps of two frames in thirds on a short last packet.
        let right: Vec<f32> = [2.0, 1.0, 1.0, 2.0].map(|thirds| 0.8 * thirds / 3.0).to_vec();
        assert!(audio.samples()[16..].iter().zip(&right).all(|(a, b)| (a - b).abs() < 1e-6) && audio.samples()[15] == 0.8);
    }

    proptest! {
        #[test]
        fn any_number_is_taken(samples in prop::collection::vec(-1f32..1.0, 1..60), a: f64, b: f64, n: usize, bits: u32, rate in 1u32..100_000) {
            let mut audio = AudioBuffer::new(rate, 1, samples).unwrap();
            for coding in [Coding::MuLaw, Coding::ALaw, Coding::Adpcm] {
                code(&mut audio, coding);
                prop_assert!(telephone(&audio, coding).is_ok());
            }
            bit_depth(&mut audio, bits);
            lossy(&mut audio, a, b);
            bandwidth(&mut audio, a);
            lose_packets(&mut audio, n, &lost_packets(70, a, b, 1), Concealment::Repeat);
            alias(&mut audio, n);
            prop_assert!(audio.samples().iter().all(|s| s.is_finite()));
        }
    }
}
