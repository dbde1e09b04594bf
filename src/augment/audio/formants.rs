//! Formants moved, pitch and length kept.

use super::{
    fft::{Fourier, change_spectrum, frame_length},
    power,
};
use crate::sample::AudioBuffer;
use realfft::num_complex::Complex;

/// Length of a frame: several periods of a low voice.
const FRAME_S: f64 = 0.04;
/// Periods of voices: 80 to 400 Hz.
const PERIODS_S: std::ops::Range<f64> = 0.0025..0.0125;
/// Rounds of the envelope at the most.
const ROUNDS: usize = 16;
/// The envelope is found when no part of the spectrum stands out further: 1 dB.
const CLOSE: f32 = 0.115;
/// What lies further below the loudest bin of a frame counts as this far below: 80 dB.
const FLOOR: f32 = 9.21;
/// Greatest gain of a bin either way: 30 dB.
const MOST: f32 = 3.45;

/// Moves the formants of a sound by `ratio` (`0.5..=2`, clamped; not a number: 1): what the spectral envelope was at `f` it is at `ratio * f`. Pitch, phases, length and mean power stay. The envelope is the true
/// envelope: the spectrum smoothed through its cepstrum (quefrencies below half the usual period of the voice), raised to the spectrum where that stands out and smoothed again until it hardly does. May overshoot 1 ([`fit`](super::fit)).
///
/// Source: Röbel and Rodet 2005, "Efficient spectral envelope estimation and its application to pitch shifting and envelope preservation", sections 2 and 4.
pub fn formant_shift(audio: &AudioBuffer, ratio: f64) -> AudioBuffer {
    let ratio = if ratio.is_nan() { 1.0 } else { ratio.clamp(0.5, 2.0) };
    let before = power(audio.samples());
    if ratio == 1.0 || before <= 0.0 {
        return audio.clone();
    }
    let size = frame_length(audio.sample_rate_hz(), FRAME_S);
    let mut envelope = Envelope::new(size);
    envelope.set_period(audio);
    let mut moved = audio.clone();
    change_spectrum(&mut moved, size, |_, _, spectrum| {
        if !envelope.find(spectrum) {
            return;
        }
        let last = spectrum.len() - 1;
        for (k, bin) in spectrum.iter_mut().enumerate() {
            let from = (k as f64 / ratio).min(last as f64);
            let (low, part) = ((from as usize).min(last), from.fract() as f32);
            let high = (low + 1).min(last);
            let there = envelope.smooth[low] + part * (envelope.smooth[high] - envelope.smooth[low]);
            *bin *= (there - envelope.smooth[k]).clamp(-MOST, MOST).exp();
        }
    });
    let after = power(moved.samples());
    let gain = if after > 0.0 { (before / after).sqrt() as f32 } else { 1.0 };
    moved.samples_mut().iter_mut().for_each(|s| *s *= gain);
    moved
}

/// The true envelope of one frame after the other.
struct Envelope {
    fourier: Fourier,
    /// Weights of the quefrencies from 0 on.
    lifter: Vec<f32>,
    /// Logarithms of the spectrum, and raised to the envelope.
    logs: Vec<f32>,
    /// The envelope found, as natural logarithms.
    smooth: Vec<f32>,
    bins: Vec<Complex<f32>>,
    time: Vec<f32>,
}

impl Envelope {
    fn new(size: usize) -> Self {
        let fourier = Fourier::new(size);
        let bins = fourier.bins();
        Self {
            lifter: Vec::new(),
            logs: vec![0.0; bins],
            smooth: vec![0.0; bins],
            bins: vec![Complex::default(); bins],
            time: vec![0.0; size],
            fourier,
        }
    }

    /// Finds the usual period of the voice (the greatest quefrency of each frame that is no 20 dB below the loudest, the median by power) and keeps the quefrencies below its half.
    fn set_period(&mut self, audio: &AudioBuffer) {
        let (size, rate) = (self.time.len(), f64::from(audio.sample_rate_hz()));
        let places = ((PERIODS_S.start * rate) as usize).max(2)..((PERIODS_S.end * rate) as usize).min(size / 2);
        let mut found: Vec<(usize, f64)> = Vec::new();
        let mut mono = AudioBuffer::new(audio.sample_rate_hz(), 1, audio.mono()).unwrap_or_else(|_| audio.clone());
        if !places.is_empty() {
            change_spectrum(&mut mono, size, |_, _, spectrum| {
                if self.take_logs(spectrum) {
                    self.cepstrum();
                    let most = places.clone().max_by(|a, b| self.time[*a].total_cmp(&self.time[*b]).then(b.cmp(a)));
                    let loudness = spectrum.iter().map(|bin| f64::from(bin.norm_sqr())).sum();
                    found.extend(most.map(|most| (most, loudness)));
                }
            });
        }
        let loudest = found.iter().map(|(_, loudness)| *loudness).fold(0.0, f64::max);
        found.retain(|(_, loudness)| *loudness >= 0.01 * loudest);
        found.sort_unstable_by_key(|(period, _)| *period);
        let half = found.iter().map(|(_, loudness)| loudness).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let middle = found.iter().find(|(_, loudness)| {
            sum += loudness;
            sum >= half
        });
        let count = middle.map_or((0.005 * rate) as usize, |(period, _)| *period).div_ceil(2).clamp(2, size / 2);
        // Full at first, falling over the last half.
        let weigh = |q: usize| {
            let place = (2.0 * q as f64 / count as f64 - 1.0).max(0.0);
            (0.5 + 0.5 * (std::f64::consts::PI * place).cos()) as f32
        };
        self.lifter = (0..count).map(weigh).collect();
    }

    /// Takes the logarithms of a spectrum; false where the frame is silent.
    fn take_logs(&mut self, spectrum: &[Complex<f32>]) -> bool {
        let most = spectrum.iter().map(|bin| bin.norm_sqr()).fold(0f32, f32::max);
        if !(most > f32::MIN_POSITIVE && most.is_finite()) {
            return false;
        }
        let floor = most.ln() / 2.0 - FLOOR;
        for (log, bin) in self.logs.iter_mut().zip(spectrum) {
            *log = (bin.norm_sqr().max(f32::MIN_POSITIVE).ln() / 2.0).max(floor);
        }
        true
    }

    /// The cepstrum of the logarithms in `time`, times its length.
    fn cepstrum(&mut self) {
        for (bin, log) in self.bins.iter_mut().zip(&self.logs) {
            *bin = Complex::new(*log, 0.0);
        }
        self.fourier.inverse(&mut self.bins, &mut self.time);
    }

    /// Finds `smooth`; false where the frame is silent.
    fn find(&mut self, spectrum: &[Complex<f32>]) -> bool {
        if !self.take_logs(spectrum) {
            return false;
        }
        let size = self.time.len();
        for _ in 0..ROUNDS {
            self.cepstrum();
            for q in 0..=size / 2 {
                let weight = self.lifter.get(q).copied().unwrap_or(0.0) / size as f32;
                self.time[q] *= weight;
                if q > 0 && q < size - q {
                    self.time[size - q] *= weight;
                }
            }
            self.fourier.forward(&mut self.time, &mut self.bins);
            let mut out = 0f32;
            for ((smooth, bin), log) in self.smooth.iter_mut().zip(&self.bins).zip(&mut self.logs) {
                *smooth = bin.re;
                out = out.max(*log - bin.re);
                *log = log.max(bin.re);
            }
            if out < CLOSE {
                break;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const RATE: u32 = 16_000;

    /// A voice of 100 Hz with formants: pulses through resonators one after the other.
    fn vowel(formants: &[f64]) -> AudioBuffer {
        let mut samples: Vec<f64> = (0..16_000).map(|i| f64::from(u8::from(i % 160 == 0))).collect();
        for hz in formants {
            let radius = (-std::f64::consts::PI * 90.0 / f64::from(RATE)).exp();
            let (a, b) = (2.0 * radius * (TAU * hz / f64::from(RATE)).cos(), -radius * radius);
            let (mut one, mut two) = (0.0, 0.0);
            for s in &mut samples {
                let next = *s * (1.0 - radius) + a * one + b * two;
                (two, one) = (one, next);
                *s = next;
            }
        }
        let peak = samples.iter().fold(0f64, |peak, s| peak.max(s.abs()));
        AudioBuffer::new(RATE, 1, samples.iter().map(|s| (0.5 * s / peak) as f32).collect()).unwrap()
    }

    /// Power of each harmonic of 100 Hz.
    fn harmonics(samples: &[f32]) -> Vec<f64> {
        (1..70)
            .map(|k| {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, s) in samples[3200..12_800].iter().enumerate() {
                    let (sin, cos) = (TAU * 100.0 * f64::from(k) * n as f64 / f64::from(RATE)).sin_cos();
                    re += f64::from(*s) * cos;
                    im += f64::from(*s) * sin;
                }
                re * re + im * im
            })
            .collect()
    }

    /// The mean frequency of the harmonics within a range, by their power.
    fn centre(harmonics: &[f64], low: f64, high: f64) -> f64 {
        let inside = harmonics.iter().enumerate().map(|(i, p)| (100.0 * (i + 1) as f64, p)).filter(|(hz, _)| (low..=high).contains(hz));
        let (sum, all) = inside.fold((0.0, 0.0), |(sum, all), (hz, p)| (sum + hz * p, all + p));
        sum / all
    }

    #[test]
    fn formants_move_by_the_ratio_and_the_pitch_stays() {
        for (formant, ratio) in [(800.0, 1.25), (1200.0, 0.8), (2000.0, 1.15), (1500.0, 0.9)] {
            let clean = vowel(&[formant]);
            let moved = formant_shift(&clean, ratio);
            assert_eq!(moved.frames(), clean.frames());
            let (before, after) = (harmonics(clean.samples()), harmonics(moved.samples()));
            let (was, is) =
                (centre(&before, formant - 300.0, formant + 300.0), centre(&after, formant * ratio - 300.0, formant * ratio + 300.0));
            assert!((is / was / ratio - 1.0).abs() < 0.05, "{formant} {ratio}: {was} {is}");
            // The loudest harmonic lies there.
            let loudest = after.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 + 1;
            assert!((100.0 * loudest as f64 - formant * ratio).abs() <= 100.0, "{formant} {ratio}: {loudest}");
            // It still repeats after a hundredth of a second.
            let middle = &moved.samples()[3200..12_800];
            let apart: f64 = middle.iter().zip(&middle[160..]).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / 9440.0;
            assert!(apart / power(middle) < 0.01, "{formant} {ratio}: {}", apart / power(middle));
            assert!((power(moved.samples()) / power(clean.samples()) - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn two_formants_move_together() {
        let moved = formant_shift(&vowel(&[700.0, 1800.0]), 1.2);
        let after = harmonics(moved.samples());
        assert!((centre(&after, 600.0, 1100.0) / 840.0 - 1.0).abs() < 0.05);
        assert!((centre(&after, 1900.0, 2500.0) / 2160.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn one_and_silence_change_nothing_and_odd_sounds_are_taken() {
        let clean = vowel(&[900.0]);
        for ratio in [1.0, f64::NAN] {
            assert_eq!(formant_shift(&clean, ratio), clean);
        }
        let near = formant_shift(&clean, 1.000_001);
        let error = near.samples().iter().zip(clean.samples()).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(error < 1e-3, "{error}");
        let silent = AudioBuffer::new(8000, 2, vec![0.0; 100]).unwrap();
        assert_eq!(formant_shift(&silent, 1.3), silent);
        for (rate, channels, samples) in
            [(8000, 1, vec![0.5]), (44_100, 2, vec![0.1, -0.9, 0.3, 0.2]), (100, 1, vec![1.0, -1.0, 1.0]), (192_000, 1, vec![1e-30; 9])]
        {
            let odd = AudioBuffer::new(rate, channels, samples).unwrap();
            let found = formant_shift(&odd, 0.6);
            assert!(found.frames() == odd.frames() && found.samples().iter().all(|s| s.is_finite()));
        }
    }
}
