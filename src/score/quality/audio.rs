use super::beyond;
use crate::sample::AudioBuffer;
use realfft::RealFftPlanner;

/// Measures of one waveform (the mean of its channels).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioQuality {
    /// Estimated signal-to-noise ratio in dB, `-20..=40`; `None` for silence and for what is too short.
    pub snr_db: Option<f64>,
    /// Share of samples in flat runs at the peak, `0..=1`.
    pub clipping: f64,
    /// Root mean square level in dB of full scale, `-120..=0`.
    pub level_db: f64,
}

impl AudioQuality {
    /// `0..=1`: 0.5 where the worst measure reaches its limit (8 dB of SNR, 1 % clipped, -50 dB of level).
    pub fn degradation(&self) -> f64 {
        let noise = self.snr_db.map_or(0.0, |db| beyond(db, 8.0, -2.0));
        let clipped = self.clipping / (self.clipping + 0.01);
        noise.max(clipped).max(beyond(self.level_db, -50.0, -4.0))
    }
}

/// Measures a waveform.
pub fn audio_quality(audio: &AudioBuffer) -> AudioQuality {
    let wave: Vec<f64> = audio.mono().into_iter().map(f64::from).collect();
    let power = wave.iter().map(|v| v * v).sum::<f64>() / wave.len() as f64;
    AudioQuality {
        snr_db: estimated_snr_db(&wave, audio.sample_rate_hz()),
        clipping: clipped_share(&wave),
        level_db: (10.0 * power.max(1e-12).log10()).min(0.0),
    }
}

/// Share of samples in runs of at least three at (within a 16-bit step of) the highest or the lowest value. A peak below a quarter of
/// full scale is no clipping.
fn clipped_share(wave: &[f64]) -> f64 {
    let step = 1.0 / 32768.0;
    let top = wave.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let bottom = wave.iter().fold(f64::INFINITY, |m, v| m.min(*v));
    let flat = |limit: f64| -> usize {
        if limit.abs() < 0.25 {
            return 0;
        }
        wave.chunk_by(|a, b| ((a - limit).abs() <= step) == ((b - limit).abs() <= step))
            .filter(|run| run.len() >= 3 && (run[0] - limit).abs() <= step)
            .map(<[f64]>::len)
            .sum()
    };
    (flat(top) + if bottom < top { flat(bottom) } else { 0 }) as f64 / wave.len() as f64
}

/// Below this frequency, in Hz, there is rumble and no voice.
const RUMBLE_HZ: f64 = 60.0;
/// Length of a frame in seconds.
const FRAME_SECONDS: f64 = 0.016;
/// Share of the frames that lie below the noise floor.
const FLOOR_SHARE: f64 = 0.02;
/// Longest stretch that is filtered at once, in seconds: it bounds the memory.
const STRETCH_SECONDS: f64 = 10.0;
/// Fewest frames (a quarter of one apart) that say anything about a floor.
const LEAST_FRAMES: usize = 12;

/// Signal-to-noise ratio in dB, `-20..=40`, of a voice in steady noise: noise is all power below 60 Hz, where no voice is (a constant offset is not
/// counted), and above it the power of the quietest 2 % of the frames (16 ms, three quarters overlapping), which are pauses and the gaps
/// between the sounds of a word. The floor is never taken below the rounding noise of 16 bits. Where there is no gap at all (a tone, a sound cut
/// to its loudest part) the ratio is under-estimated; at negative ratios it is over-estimated by up to 2 dB. `None` for silence (nothing above that noise), for fewer than 12 frames and for rates
/// below 500 Hz.
pub fn estimated_snr_db(wave: &[f64], sample_rate_hz: u32) -> Option<f64> {
    let rate = f64::from(sample_rate_hz);
    let rounding = (1.0 / 32768.0f64).powi(2) / 12.0;
    let frame = (rate * FRAME_SECONDS).round() as usize;
    let hop = (frame / 4).max(1);
    if rate < 500.0 || wave.len() < frame + (LEAST_FRAMES - 1) * hop {
        return None;
    }
    let mean = wave.iter().sum::<f64>() / wave.len() as f64;
    let mut rest: Vec<f64> = wave.iter().map(|v| v - mean).collect();
    let whole = rest.iter().map(|v| v * v).sum::<f64>() / rest.len() as f64;
    if whole <= 4.0 * rounding {
        return None;
    }
    // Stretches of nearly equal length, so that none is too short to tell 60 Hz from its neighbours.
    let stretches = (rest.len() as f64 / (rate * STRETCH_SECONDS)).ceil().max(1.0) as usize;
    let mut planner = RealFftPlanner::new();
    let rumble: f64 =
        rest.chunks_mut(wave.len().div_ceil(stretches)).map(|part| take_rumble(part, rate, &mut planner)).sum::<Option<f64>>()?;
    let rumble = rumble / wave.len() as f64;

    let mut energy = 0.0;
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(rest.iter().map(|v| {
            energy += v * v;
            energy
        }))
        .collect();
    let mut frames: Vec<f64> =
        (0..=rest.len() - frame).step_by(hop).map(|start| (sums[start + frame] - sums[start]).max(0.0) / frame as f64).collect();
    frames.sort_by(f64::total_cmp);
    let voice = energy / rest.len() as f64;
    let floor = crate::sample::metrics::quantile_of_sorted(&frames, FLOOR_SHARE)?.max(rounding);
    let noise = floor.min(voice.max(rounding)) + rumble;
    let signal = (voice + rumble - noise).max(0.0);
    Some((10.0 * (signal / noise).max(1e-2).log10()).min(40.0))
}

/// Takes everything below [`RUMBLE_HZ`] out of a stretch and returns its energy (sum of squares).
fn take_rumble(part: &mut [f64], rate: f64, planner: &mut RealFftPlanner<f64>) -> Option<f64> {
    // A length with small prime factors, at most a sixteenth longer.
    let step = (part.len().next_power_of_two() / 32).max(2);
    let size = part.len().next_multiple_of(step);
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let (mut wave, mut spectrum) = (forward.make_input_vec(), forward.make_output_vec());
    wave[..part.len()].copy_from_slice(part);
    forward.process(&mut wave, &mut spectrum).ok()?;
    let low = ((RUMBLE_HZ * size as f64 / rate).ceil() as usize).min(spectrum.len());
    let mut energy = 0.0;
    for (k, bin) in spectrum[..low].iter_mut().enumerate() {
        // Every bin but the first and the last stands for two.
        energy += bin.norm_sqr() * if k == 0 || 2 * k == size { 1.0 } else { 2.0 };
        *bin = Default::default();
    }
    inverse.process(&mut spectrum, &mut wave).ok()?;
    part.iter_mut().zip(&wave).for_each(|(to, v)| *to = v / size as f64);
    Some(energy / size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use rand::RngExt;

    /// A word-like sound without a pause: a gliding harmonic tone, then a hiss of high frequencies.
    fn word(rate: u32) -> Vec<f64> {
        let mut rng = SeedTree::new(1).rng();
        let n = rate as usize / 2;
        let mut phase = 0.0;
        let mut last = 0.0;
        (0..n)
            .map(|i| {
                let t = i as f64 / n as f64;
                phase += std::f64::consts::TAU * (120.0 + 60.0 * t) / f64::from(rate);
                let voiced: f64 = (1..12).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
                let hiss: f64 = rng.random_range(-1.0..1.0);
                let high = hiss - last;
                last = hiss;
                0.2 * if t < 0.6 { voiced * (1.0 - t) } else { 0.3 * high * (1.0 - t) }
            })
            .collect()
    }

    fn with_noise(wave: &[f64], snr_db: f64) -> Vec<f64> {
        let mut rng = SeedTree::new(2).rng();
        let power = wave.iter().map(|v| v * v).sum::<f64>() / wave.len() as f64;
        let gain = (power / 10f64.powf(snr_db / 10.0) * 3.0).sqrt();
        wave.iter().map(|v| v + gain * rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn the_estimate_falls_with_the_noise_at_any_rate() {
        for rate in [8000, 16000, 44100] {
            let clean = word(rate);
            let snr = |wave: &[f64]| estimated_snr_db(wave, rate).unwrap();
            let found: Vec<f64> = [30.0, 15.0, 5.0, -5.0].iter().map(|db| snr(&with_noise(&clean, *db))).collect();
            assert!(snr(&clean) >= found[0] && found.windows(2).all(|p| p[0] > p[1] + 1.0), "{rate}: {} {found:?}", snr(&clean));
        }
    }

    /// A second of tone bursts: half of the time there is a pause.
    fn bursts(rate: u32) -> Vec<f64> {
        let t = |i: u32| f64::from(i) / f64::from(rate);
        (0..rate).map(|i| if (t(i) * 4.0) % 1.0 < 0.5 { 0.3 * (std::f64::consts::TAU * 440.0 * t(i)).sin() } else { 0.0 }).collect()
    }

    #[test]
    fn the_ratio_that_was_mixed_is_found_again() {
        for rate in [8000, 16000, 44100] {
            for db in [20.0, 10.0, 0.0, -5.0] {
                let found = estimated_snr_db(&with_noise(&bursts(rate), db), rate).unwrap();
                // The quietest frames lie below the mean of the noise: at -5 dB by up to 2 dB of the ratio.
                assert!((found - db).abs() < 2.5, "{rate} Hz, {db} dB: {found}");
            }
        }
    }

    #[test]
    fn rumble_is_noise_and_an_offset_is_not() {
        // A rumble of amplitude 0.15 at 20 Hz has the power 0.01125, the bursts half of 0.045: 3.0 dB.
        let rumbling: Vec<f64> =
            bursts(8000).iter().enumerate().map(|(i, v)| v + 0.15 * (std::f64::consts::TAU * 20.0 * i as f64 / 8000.0).sin()).collect();
        let found = estimated_snr_db(&rumbling, 8000).unwrap();
        assert!((found - 3.01).abs() < 0.2, "{found}");
        let noisy = with_noise(&bursts(8000), 15.0);
        let offset: Vec<f64> = noisy.iter().map(|v| v + 0.2).collect();
        let (a, b) = (estimated_snr_db(&noisy, 8000).unwrap(), estimated_snr_db(&offset, 8000).unwrap());
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }

    #[test]
    fn a_long_recording_is_measured_like_a_short_one() {
        let one = with_noise(&bursts(8000), 10.0);
        let many: Vec<f64> = one.iter().copied().cycle().take(33 * 8000).collect();
        let (a, b) = (estimated_snr_db(&one, 8000).unwrap(), estimated_snr_db(&many, 8000).unwrap());
        assert!((a - b).abs() < 0.5, "{a} {b}");
    }

    #[test]
    fn loudness_does_not_change_the_estimate() {
        let noisy = with_noise(&word(8000), 5.0);
        let quiet: Vec<f64> = noisy.iter().map(|v| v * 0.25).collect();
        let (a, b) = (estimated_snr_db(&noisy, 8000).unwrap(), estimated_snr_db(&quiet, 8000).unwrap());
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }

    #[test]
    fn silence_and_tiny_clips_do_not_panic() {
        let silent = audio_quality(&AudioBuffer::new(8000, 1, vec![0.0; 4000]).unwrap());
        assert_eq!((silent.snr_db, silent.clipping, silent.level_db), (None, 0.0, -120.0));
        assert!(silent.degradation() > 0.99);
        let one = audio_quality(&AudioBuffer::new(8000, 1, vec![0.5]).unwrap());
        assert!(one.degradation().is_finite());
        assert!(audio_quality(&AudioBuffer::new(100, 1, vec![0.1, -0.1]).unwrap()).snr_db.is_none());
    }

    #[test]
    fn flat_tops_are_clipping() {
        let wave: Vec<f32> = (0..800).map(|i| (1.5 * (i as f32 * 0.05).sin()).clamp(-1.0, 1.0)).collect();
        let clipped = audio_quality(&AudioBuffer::new(8000, 1, wave.clone()).unwrap());
        // |1.5 sin| > 1 for 53.5 % of a period.
        assert!((clipped.clipping - 0.535).abs() < 0.02, "{}", clipped.clipping);
        assert!(clipped.degradation() > 0.5);
        let whole: Vec<f32> = wave.iter().map(|v| v * 0.2).collect();
        assert_eq!(audio_quality(&AudioBuffer::new(8000, 1, whole).unwrap()).clipping, 0.0);
    }
}
