use super::level::power;
use crate::sample::AudioBuffer;
use fundsp::prelude32::{An, AttoHash, AudioNode, U0, U1, brown, pink, white};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

/// Noise of this colour, channels interleaved and independent of each other; the seed alone decides it. The level is not normalised:
/// [`mix_at_snr`] sets it.
pub fn noise(colour: Colour, sample_rate_hz: u32, channels: usize, frames: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0f32; frames * channels];
    for channel in 0..channels {
        // Without a seed every generator of this library gives the same noise.
        let hash = AttoHash::new(seed).hash(channel as u64);
        match colour {
            Colour::White => fill(white(), hash, sample_rate_hz, &mut out, channel, channels),
            Colour::Pink => fill(pink(), hash, sample_rate_hz, &mut out, channel, channels),
            Colour::Brown => fill(brown(), hash, sample_rate_hz, &mut out, channel, channels),
        }
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
    out.iter_mut().skip(channel).step_by(channels).for_each(|sample| *sample = node.get_mono());
}

/// A signal with noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// Signal plus noise.
    pub audio: AudioBuffer,
    /// What the noise was multiplied with before the sum.
    pub noise_factor: f64,
    /// What signal and noise were multiplied with so that no sample lies beyond 1; 1 where none did.
    pub scale: f64,
    /// The ratio that was reached, measured on the mixed samples.
    pub snr_db: f64,
}

/// Adds noise at a signal-to-noise ratio in decibels over the whole sound and all channels: factor `sqrt(P_x / (P_n 10^(s/10)))`. If a
/// sample came to lie beyond 1, signal and noise are scaled together, which keeps the ratio. `None` where the signal or the noise is silent, and so no ratio
/// exists, or where `field` has another length than the sound.
pub fn mix_at_snr(audio: &AudioBuffer, field: &[f32], snr_db: f64) -> Option<Mixed> {
    let (signal, loudness) = (power(audio.samples()), power(field));
    if field.len() != audio.samples().len() || signal <= 0.0 || loudness <= 0.0 || !snr_db.is_finite() {
        return None;
    }
    let noise_factor = (signal / (loudness * 10f64.powf(snr_db / 10.0))).sqrt();
    let sum = |(s, n): (&f32, &f32)| f64::from(*s) + noise_factor * f64::from(*n);
    let peak = audio.samples().iter().zip(field).map(sum).fold(0f64, |peak, v| peak.max(v.abs()));
    let scale = if peak > 1.0 { 1.0 / peak } else { 1.0 };
    let mut out = audio.clone();
    out.samples_mut().iter_mut().zip(field).for_each(|(s, n)| *s = ((f64::from(*s) + noise_factor * f64::from(*n)) * scale) as f32);
    let reached = self::snr_db(audio, &out, scale)?;
    Some(Mixed { audio: out, noise_factor, scale, snr_db: reached })
}

/// The signal-to-noise ratio of `mixed` in decibels, where `scale * clean` is its signal; `None` where the lengths differ, the signal is silent or nothing was added.
pub fn snr_db(clean: &AudioBuffer, mixed: &AudioBuffer, scale: f64) -> Option<f64> {
    if clean.samples().len() != mixed.samples().len() {
        return None;
    }
    let (mut signal, mut added) = (0f64, 0f64);
    for (c, m) in clean.samples().iter().zip(mixed.samples()) {
        let c = f64::from(*c) * scale;
        signal += c * c;
        added += (f64::from(*m) - c).powi(2);
    }
    (signal > 0.0 && added > 0.0).then(|| 10.0 * (signal / added).log10())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(frames: usize, channels: usize, level: f32) -> AudioBuffer {
        let samples = (0..frames * channels).map(|i| level * ((i / channels) as f32 * 0.37).sin()).collect();
        AudioBuffer::new(8000, channels, samples).unwrap()
    }

    /// Power of neighbouring differences over the power itself: 2 for white noise, small for one that hangs on low frequencies.
    fn roughness(samples: &[f32]) -> f64 {
        let differences: Vec<f32> = samples.windows(2).map(|w| w[1] - w[0]).collect();
        power(&differences) / power(samples)
    }

    #[test]
    fn colours_differ_and_seeds_decide() {
        let make = |colour, seed| noise(colour, 8000, 1, 8000, seed);
        let rough = [Colour::White, Colour::Pink, Colour::Brown].map(|colour| roughness(&make(colour, 1)));
        assert!((1.9..2.1).contains(&rough[0]) && rough[1] < 1.0 && rough[2] < 0.1, "{rough:?}");
        for colour in [Colour::White, Colour::Pink, Colour::Brown] {
            assert_eq!(make(colour, 5), make(colour, 5));
            assert_ne!(make(colour, 5), make(colour, 6));
        }
        let stereo = noise(Colour::White, 8000, 2, 4000, 9);
        let (mut cross, mut own) = (0f64, 0f64);
        for frame in stereo.chunks_exact(2) {
            cross += f64::from(frame[0] * frame[1]);
            own += f64::from(frame[0] * frame[0]);
        }
        assert!((cross / own).abs() < 0.1);
    }

    #[test]
    fn silence_has_no_ratio() {
        let silent = AudioBuffer::new(8000, 1, vec![0.0; 8]).unwrap();
        assert_eq!(mix_at_snr(&silent, &[0.5; 8], 10.0), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.0; 8], 10.0), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.1; 7], 10.0), None);
    }

    proptest! {
        #[test]
        fn the_ratio_is_exact_after_mixing(snr in -15.0f64..45.0, seed: u64, channels in 1usize..3, level in 0.01f32..1.0, colour in prop::sample::select(vec![Colour::White, Colour::Pink, Colour::Brown])) {
            let clean = tone(3000, channels, level);
            let mixed = mix_at_snr(&clean, &noise(colour, 8000, channels, 3000, seed), snr).unwrap();
            let again = snr_db(&clean, &mixed.audio, mixed.scale).unwrap();
            prop_assert!((again - snr).abs() < 0.01, "{again} {snr}");
            prop_assert!((mixed.snr_db - again).abs() < 1e-9);
            prop_assert!(mixed.audio.samples().iter().all(|s| s.abs() <= 1.0));
        }
    }
}
