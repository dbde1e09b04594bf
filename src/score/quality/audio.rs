use super::beyond;
use crate::sample::AudioBuffer;
use realfft::RealFftPlanner;

/// Measures of one waveform (the mean of its channels).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioQuality {
    /// Estimated signal-to-noise ratio in dB, `-10..=40`; `None` for silence.
    pub snr_db: Option<f64>,
    /// Share of samples in flat runs at the peak, `0..=1`.
    pub clipping: f64,
    /// Root mean square level in dB of full scale, `-120..=0`.
    pub level_db: f64,
}

impl AudioQuality {
    /// `0..=1`: 0.5 where the worst measure reaches its limit (10 dB of SNR, 1 % clipped, -50 dB of level).
    pub fn degradation(&self) -> f64 {
        let noise = self.snr_db.map_or(0.0, |db| beyond(db, 10.0, -4.0));
        let clipped = self.clipping / (self.clipping + 0.01);
        noise.max(clipped).max(beyond(self.level_db, -50.0, -4.0))
    }
}

/// Measures a waveform.
pub fn audio_quality(audio: &AudioBuffer) -> AudioQuality {
    let wave: Vec<f64> = audio.mono().into_iter().map(f64::from).collect();
    let power = wave.iter().map(|v| v * v).sum::<f64>() / wave.len() as f64;
    AudioQuality {
        snr_db: modulation_depth_db(&wave, audio.sample_rate_hz()).map(snr_from_depth_db),
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

/// Lowest frequency looked at, in Hz: below it there is rumble and no speech.
const LOWEST_HZ: f64 = 125.0;
/// Highest frequency looked at, in Hz: what telephone speech has too, so that rates compare.
const HIGHEST_HZ: f64 = 4000.0;
/// Bands between them, of equal ratio.
const BANDS: usize = 20;
/// Share of the frames that lie below the floor of a band.
const FLOOR_SHARE: f64 = 0.05;

/// How far, in dB, the power of a band falls below its mean in the quietest 5 % of the frames (16 ms, three quarters overlapping), averaged over
/// 20 bands of equal ratio between 125 Hz and 4 kHz with the fourth root of the band's mean power as weight. Each sound of speech leaves some bands
/// empty at some time, also inside a closely trimmed word; noise fills them. The floor is never taken below the rounding noise of 16 bits.
/// `None` for silence (nothing above that noise) and for rates below 500 Hz.
pub fn modulation_depth_db(wave: &[f64], sample_rate_hz: u32) -> Option<f64> {
    let rate = f64::from(sample_rate_hz);
    let size = 1usize << (rate * 0.016).log2().round().clamp(5.0, 14.0) as u32;
    let mean = wave.iter().sum::<f64>() / wave.len() as f64;
    let window: Vec<f64> = (0..size).map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / size as f64).cos()).collect();
    let edges = band_edges(rate, size)?;
    let bands = edges.len() - 1;

    let transform = RealFftPlanner::<f64>::new().plan_fft_forward(size);
    let (mut frame, mut spectrum, mut scratch) = (transform.make_input_vec(), transform.make_output_vec(), transform.make_scratch_vec());
    let mut power: Vec<Vec<f64>> = vec![Vec::new(); bands];
    let mut start = 0;
    loop {
        for (i, (to, w)) in frame.iter_mut().zip(&window).enumerate() {
            *to = wave.get(start + i).map_or(0.0, |v| (v - mean) * w);
        }
        transform.process_with_scratch(&mut frame, &mut spectrum, &mut scratch).ok()?;
        for (band, pair) in edges.windows(2).enumerate() {
            let bins = &spectrum[pair[0]..pair[1]];
            power[band].push(bins.iter().map(|z| z.norm_sqr()).sum::<f64>() / bins.len() as f64);
        }
        start += size / 4;
        if start + size > wave.len() {
            break;
        }
    }

    let rounding = (1.0 / 32768.0f64).powi(2) / 12.0 * window.iter().map(|w| w * w).sum::<f64>();
    let (mut sum, mut weights, mut heard) = (0.0, 0.0, false);
    for frames in &mut power {
        let mean = frames.iter().sum::<f64>() / frames.len() as f64;
        frames.sort_by(f64::total_cmp);
        let floor = crate::sample::metrics::quantile_of_sorted(frames, FLOOR_SHARE)?.max(rounding);
        heard |= mean > 4.0 * rounding;
        let mean = mean.max(rounding);
        let weight = mean.sqrt().sqrt();
        sum += weight * 10.0 * (mean / floor).max(1.0).log10();
        weights += weight;
    }
    heard.then(|| sum / weights)
}

/// Bins at which the bands begin, and the end of the last; `None` if the rate leaves no band.
fn band_edges(rate: f64, size: usize) -> Option<Vec<usize>> {
    let top = HIGHEST_HZ.min(rate / 2.0);
    let mut edges: Vec<usize> = (0..=BANDS)
        .map(|k| LOWEST_HZ * (top / LOWEST_HZ).powf(k as f64 / BANDS as f64))
        .map(|hz| (hz * size as f64 / rate).round().max(1.0) as usize)
        .collect();
    edges.dedup();
    (top > 2.0 * LOWEST_HZ && edges.len() >= 2).then_some(edges)
}

/// The SNR in dB that a modulation depth stands for, `-10..=40`: linear between the medians that were measured on clean words with white, pink and
/// recorded background noise mixed in.
pub fn snr_from_depth_db(depth: f64) -> f64 {
    const MEASURED: [(f64, f64); 9] =
        [(9.5, -10.0), (10.3, -5.0), (12.1, 0.0), (14.9, 5.0), (18.5, 10.0), (22.4, 15.0), (26.2, 20.0), (33.9, 30.0), (42.0, 40.0)];
    let (first, last) = (MEASURED[0], MEASURED[MEASURED.len() - 1]);
    if depth <= first.0 {
        return first.1;
    }
    MEASURED
        .windows(2)
        .find(|pair| depth <= pair[1].0)
        .map_or(last.1, |pair| pair[0].1 + (pair[1].1 - pair[0].1) * (depth - pair[0].0) / (pair[1].0 - pair[0].0))
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
            let snr = |wave: &[f64]| snr_from_depth_db(modulation_depth_db(wave, rate).unwrap());
            let found: Vec<f64> = [30.0, 15.0, 5.0, -5.0].iter().map(|db| snr(&with_noise(&clean, *db))).collect();
            assert!(snr(&clean) >= found[0] && found.windows(2).all(|p| p[0] > p[1] + 1.0), "{rate}: {} {found:?}", snr(&clean));
        }
    }

    #[test]
    fn loudness_does_not_change_the_estimate() {
        let noisy = with_noise(&word(8000), 5.0);
        let quiet: Vec<f64> = noisy.iter().map(|v| v * 0.25).collect();
        let (a, b) = (modulation_depth_db(&noisy, 8000).unwrap(), modulation_depth_db(&quiet, 8000).unwrap());
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

    #[test]
    fn the_calibration_is_monotone_and_clamped() {
        let found: Vec<f64> = (0..100).map(|d| snr_from_depth_db(f64::from(d))).collect();
        assert!(found.windows(2).all(|p| p[0] <= p[1]));
        assert_eq!((found[0], found[99], snr_from_depth_db(18.5)), (-10.0, 40.0, 10.0));
    }
}
