use super::{
    fft::{channel, convolve_into, put_channel},
    level::power,
};
use crate::{
    error::{Error, Result},
    random::SeedTree,
    sample::AudioBuffer,
};
use rand_distr::{Distribution, StandardNormal};

/// How [`reverberate`] uses an impulse response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reverb {
    /// Share of the room in the result, `0..=1`: 0 is the dry sound, 1 the convolution alone.
    pub wet: f64,
    /// Removes the delay before the strongest sample of the response, so that events and words stay at their times.
    pub align: bool,
    /// Keeps what rings on behind the end of the sound: the result is longer. Without it the length stays.
    pub tail: bool,
    /// Brings the convolution to the power of the dry sound (over the length of that) before the two are added.
    pub keep_level: bool,
}

impl Default for Reverb {
    fn default() -> Self {
        Self { wet: 1.0, align: true, tail: false, keep_level: true }
    }
}

/// Place and value of a response's strongest sample over all its channels, as frames before it.
fn onset(response: &AudioBuffer) -> usize {
    let (mut best, mut at) = (0f32, 0);
    for (frame, values) in response.samples().chunks_exact(response.channels()).enumerate() {
        let level = values.iter().fold(0f32, |peak, s| peak.max(s.abs()));
        if level > best {
            (best, at) = (level, frame);
        }
    }
    at
}

/// Convolves a sound with a room's impulse response, `y[n] = sum h[k] x[n - k]`, by overlap-add with fast Fourier transforms. A response of one channel serves
/// all; with as many as the
/// sound has, each channel has its own. May overshoot 1 ([`fit`](super::fit)).
///
/// Errors where rates differ or the channels do not match.
pub fn reverberate(audio: &AudioBuffer, response: &AudioBuffer, reverb: &Reverb) -> Result<AudioBuffer> {
    let (channels, rate) = (audio.channels(), audio.sample_rate_hz());
    if response.sample_rate_hz() != rate {
        return Err(Error::data(format!(
            "an impulse response of {} Hz for a sound of {rate} Hz: resample it first",
            response.sample_rate_hz()
        )));
    }
    if response.channels() != 1 && response.channels() != channels {
        return Err(Error::data(format!("an impulse response of {} channels for a sound of {channels}", response.channels())));
    }
    let skip = if reverb.align { onset(response) } else { 0 };
    let ringing = response.frames() - 1 - skip;
    let frames = audio.frames() + if reverb.tail { ringing } else { 0 };
    let wet = if reverb.wet.is_nan() { 1.0 } else { reverb.wet.clamp(0.0, 1.0) };
    let mut samples = vec![0f32; frames * channels];
    let mut line = vec![0f32; frames + skip];
    for c in 0..channels {
        let kernel = channel(response, if response.channels() == 1 { 0 } else { c });
        if channels == 1 && skip == 0 {
            convolve_into(audio.samples(), &kernel, &mut samples);
        } else {
            convolve_into(&channel(audio, c), &kernel, &mut line);
            put_channel(&mut samples, channels, c, &line[skip..]);
        }
    }
    let dry = audio.samples();
    let mut factor = wet;
    if reverb.keep_level {
        let (before, after) = (power(dry), power(&samples[..dry.len()]));
        if before > 0.0 && after > 0.0 {
            factor *= (before / after).sqrt();
        }
    }
    let (factor, rest) = (factor as f32, (1.0 - wet) as f32);
    if factor != 1.0 || rest != 0.0 {
        samples.iter_mut().for_each(|s| *s *= factor);
    }
    if rest != 0.0 {
        samples.iter_mut().zip(dry).for_each(|(s, d)| *s += d * rest);
    }
    AudioBuffer::new(rate, channels, samples).map_err(Error::data)
}

/// An impulse response out of noise: a direct sound of 1 at frame 0, and from `predelay_s` seconds on gaussian noise that loses 60 dB every `rt60_s` seconds,
/// with `direct_to_reverberant_db` between the energies of
/// the two (Moorer, "About this reverberation business", 1979). Its end is where the noise has lost 60 dB; `rt60_s` is `0.01..=20` and `predelay_s` `0..=1`,
/// clamped, and the
/// ratio `-60..=60`. The seed alone decides the noise.
pub fn noise_tail(sample_rate_hz: u32, rt60_s: f64, predelay_s: f64, direct_to_reverberant_db: f64, seed: u64) -> Result<AudioBuffer> {
    let bounded = |v: f64, low: f64, high: f64| if v.is_nan() { low } else { v.clamp(low, high) };
    let rate = f64::from(sample_rate_hz);
    let rt60 = bounded(rt60_s, 0.01, 20.0);
    let delay = (bounded(predelay_s, 0.0, 1.0) * rate).round().max(1.0) as usize;
    let length = ((rt60 * rate).ceil() as usize).clamp(1, 1 << 22);
    let mut rng = SeedTree::new(seed).child("tail").rng();
    // 60 dB are a factor of 1000 in amplitude.
    let keep = (-(1000f64.ln()) / (rt60 * rate)).exp();
    let mut samples = vec![0f32; delay + length];
    let mut level = 1f64;
    for sample in &mut samples[delay..] {
        let normal: f64 = StandardNormal.sample(&mut rng);
        *sample = (normal * level) as f32;
        level *= keep;
    }
    let energy = power(&samples[delay..]) * length as f64;
    let wanted = 10f64.powf(-bounded(direct_to_reverberant_db, -60.0, 60.0) / 10.0);
    let factor = if energy > 0.0 { (wanted / energy).sqrt() as f32 } else { 0.0 };
    samples[delay..].iter_mut().for_each(|s| *s *= factor);
    samples[0] = 1.0;
    AudioBuffer::new(sample_rate_hz, 1, samples).map_err(Error::data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Reverb = Reverb { wet: 1.0, align: false, tail: false, keep_level: false };

    fn sound(channels: usize, samples: &[f32]) -> AudioBuffer {
        AudioBuffer::new(8000, channels, samples.to_vec()).unwrap()
    }

    #[test]
    fn worked_values() {
        let x = sound(1, &[1.0, 0.5, -0.25]);
        let h = sound(1, &[0.0, 1.0, 0.5]);
        let near =
            |a: &AudioBuffer, b: &[f32]| a.samples().len() == b.len() && a.samples().iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&reverberate(&x, &h, &PLAIN).unwrap(), &[0.0, 1.0, 1.0]));
        assert!(near(&reverberate(&x, &h, &Reverb { tail: true, ..PLAIN }).unwrap(), &[0.0, 1.0, 1.0, 0.0, -0.125]));
        assert!(near(&reverberate(&x, &h, &Reverb { align: true, ..PLAIN }).unwrap(), &[1.0, 1.0, 0.0]));
        assert!(near(&reverberate(&x, &h, &Reverb { align: true, tail: true, ..PLAIN }).unwrap(), &[1.0, 1.0, 0.0, -0.125]));
        assert!(near(&reverberate(&x, &h, &Reverb { wet: 0.0, ..PLAIN }).unwrap(), x.samples()));
        assert!(near(&reverberate(&x, &h, &Reverb { wet: 0.5, ..PLAIN }).unwrap(), &[0.5, 0.75, 0.375]));
        let level = reverberate(&x, &h, &Reverb { keep_level: true, ..PLAIN }).unwrap();
        assert!((power(level.samples()) - power(x.samples())).abs() < 1e-6);
        // Two channels, each with its own response: left one later, right as it is.
        let found = reverberate(&sound(2, &[0.1, 0.2, 0.3, 0.4]), &sound(2, &[0.0, 1.0, 1.0, 0.0]), &PLAIN).unwrap();
        assert!(near(&found, &[0.0, 0.2, 0.1, 0.4]));
        assert!(reverberate(&x, &AudioBuffer::new(16_000, 1, vec![1.0]).unwrap(), &PLAIN).is_err());
        assert!(reverberate(&x, &sound(2, &[1.0, 1.0]), &PLAIN).is_err());
        assert_eq!(reverberate(&x, &sound(1, &[0.0; 5]), &Reverb::default()).unwrap().samples(), [0.0; 3]);
    }

    #[test]
    fn a_tail_dies_in_its_time() {
        let tail = noise_tail(16_000, 0.5, 0.01, 3.0, 9).unwrap();
        assert_eq!((tail.frames(), tail.samples()[0]), (160 + 8000, 1.0));
        assert!(tail.samples()[1..160].iter().all(|s| *s == 0.0));
        let energy = power(&tail.samples()[160..]) * 8000.0;
        assert!((10.0 * energy.log10() + 3.0).abs() < 1e-3);
        // 12 dB in a tenth of a second.
        let fall = 10.0 * (power(&tail.samples()[160..1760]) / power(&tail.samples()[1760..3360])).log10();
        assert!((fall - 12.0).abs() < 0.7, "{fall}");
        assert_eq!(noise_tail(16_000, 0.5, 0.01, 3.0, 9).unwrap(), tail);
        assert!(noise_tail(1, f64::NAN, f64::INFINITY, f64::NAN, 9).is_ok() && noise_tail(0, 1.0, 0.0, 0.0, 1).is_err());
    }

    proptest! {
        #[test]
        fn a_delta_is_the_identity(samples in prop::collection::vec(-1f32..1.0, 2..3000), channels in 1usize..3, delay in 0usize..50) {
            let samples = &samples[..samples.len() / channels * channels];
            let (audio, mut delta) = (sound(channels, samples), vec![0f32; delay + 7]);
            delta[delay] = 1.0;
            let found = reverberate(&audio, &sound(1, &delta), &Reverb::default()).unwrap();
            prop_assert!(found.samples().iter().zip(samples).all(|(a, b)| (a - b).abs() < 1e-5));
            let later = reverberate(&audio, &sound(1, &delta), &PLAIN).unwrap();
            prop_assert!(later.samples().iter().skip(delay * channels).zip(samples).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
