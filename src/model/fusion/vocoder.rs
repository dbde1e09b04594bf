//! From log-mel spectrograms back to waveforms, on the host.
//!
//! The spectrogram that the model sees is normalised in each clip: neither its level nor the mean of a band is in a code. Both are taken from the clip
//! whose place the new one takes, as is the phase that is begun with.

use super::{
    logmel::{POWER_FLOOR, mel_centres, mel_filters},
    shape::AudioShape,
};
use crate::{
    error::{Error, Result},
    model::{
        Waveform,
        preprocess::{AudioMap, Resampler},
    },
};
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};
use std::{f64::consts::PI, fmt, sync::Arc};

/// Windows overlap by three quarters: the sum of their squares is constant.
const OVERLAP: usize = 4;
/// Rounds of Griffin and Lim.
const ROUNDS: usize = 16;
/// Momentum of their fast variant.
const MOMENTUM: f32 = 0.99;
/// How far a filter may go, as natural logarithms of power: -40 dB to +20 dB. Silence stays silence.
const CHANGE: (f32, f32) = (-9.21, 4.6);

/// Makes waveforms of spectrograms.
pub(super) struct Vocoder {
    shape: AudioShape,
    filters: Vec<f32>,
    /// Centres of the mel filters in Hz.
    centres: Vec<f32>,
}

impl fmt::Debug for Vocoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocoder").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Short-time Fourier transforms of one window length.
struct Stft {
    window: Vec<f32>,
    hop: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

type Lines = Vec<Vec<Complex<f32>>>;

impl Stft {
    fn new(length: usize) -> Self {
        let length = length.max(2 * OVERLAP).next_multiple_of(OVERLAP);
        let mut planner = RealFftPlanner::<f32>::new();
        let hann = |i: usize| (0.5 - 0.5 * (2.0 * PI * i as f64 / length as f64).cos()) as f32;
        Self {
            window: (0..length).map(hann).collect(),
            hop: length / OVERLAP,
            forward: planner.plan_fft_forward(length),
            inverse: planner.plan_fft_inverse(length),
        }
    }
    fn bins(&self) -> usize {
        self.window.len() / 2 + 1
    }
    /// Frames that cover `samples`; the first begins so early that every sample lies in as many.
    fn frames(&self, samples: usize) -> usize {
        (samples + self.window.len() - self.hop).div_ceil(self.hop)
    }
    /// Where frame `i` begins.
    fn start(&self, i: usize) -> isize {
        (i * self.hop) as isize - (self.window.len() - self.hop) as isize
    }
    fn analyse(&self, x: &[f32]) -> Result<Lines> {
        let (mut time, mut scratch) = (self.forward.make_input_vec(), self.forward.make_scratch_vec());
        let one = |i: usize| {
            let start = self.start(i);
            for (k, (t, w)) in time.iter_mut().zip(&self.window).enumerate() {
                *t = usize::try_from(start + k as isize).ok().and_then(|at| x.get(at)).map_or(0.0, |v| v * w);
            }
            let mut line = self.forward.make_output_vec();
            self.forward.process_with_scratch(&mut time, &mut line, &mut scratch).map_err(|e| Error::internal(e.to_string()))?;
            Ok(line)
        };
        (0..self.frames(x.len())).map(one).collect()
    }
    /// The waveform whose transform is nearest to `lines` in the least squares (Griffin and Lim 1984, eq. 6).
    fn synthesise(&self, mut lines: Lines, samples: usize) -> Result<Vec<f32>> {
        let (mut time, mut scratch) = (self.inverse.make_output_vec(), self.inverse.make_scratch_vec());
        let mut x = vec![0.0f32; samples];
        let squares: f32 = self.window.iter().step_by(self.hop).map(|w| w * w).sum();
        let scale = 1.0 / (squares * self.window.len() as f32);
        for (i, line) in lines.iter_mut().enumerate() {
            // A real signal has real ends of its spectrum.
            for end in [0, self.bins() - 1] {
                line[end].im = 0.0;
            }
            self.inverse.process_with_scratch(line, &mut time, &mut scratch).map_err(|e| Error::internal(e.to_string()))?;
            let start = self.start(i);
            for (k, (t, w)) in time.iter().zip(&self.window).enumerate() {
                if let Some(v) = usize::try_from(start + k as isize).ok().and_then(|at| x.get_mut(at)) {
                    *v += t * w * scale;
                }
            }
        }
        Ok(x)
    }
}

/// Linear interpolation in `values` at position `at`; beyond the ends, the ends.
fn between(values: &[f32], at: f32) -> f32 {
    let at = at.clamp(0.0, values.len().saturating_sub(1) as f32);
    let low = at as usize;
    let (a, b) = (values.get(low).copied().unwrap_or(0.0), values.get(low + 1).or(values.last()).copied().unwrap_or(0.0));
    a + (b - a) * (at - low as f32)
}

impl Vocoder {
    pub fn new(shape: &AudioShape) -> Self {
        let rate = f64::from(shape.rate_hz);
        Self {
            filters: mel_filters(shape.mels, shape.window, rate),
            centres: mel_centres(shape.mels, rate),
            shape: AudioShape { layers: Vec::new(), ..shape.clone() },
        }
    }

    /// For each of `bins` of a transform of `length` samples at `rate_hz` its place among the mel bands, in bands; `None` above what the model hears.
    fn places(&self, bins: usize, length: usize, rate_hz: u32) -> Vec<Option<f32>> {
        let place = |k: usize| {
            let hertz = k as f32 * rate_hz as f32 / length as f32;
            let above = self.centres.partition_point(|centre| *centre <= hertz);
            let low = above.checked_sub(1).and_then(|i| Some((i, *self.centres.get(i)?, *self.centres.get(i + 1)?)));
            let at = low.map_or(above as f32, |(i, a, b)| i as f32 + (hertz - a) / (b - a));
            (2.0 * hertz <= self.shape.rate_hz as f32).then_some(at)
        };
        (0..bins).map(place).collect()
    }

    /// Means of the bands and the deviation over the whole of the log-mel spectrogram of the `frames` first frames.
    fn statistics(&self, canonical: &[f32], frames: usize) -> Result<(Vec<f32>, f32)> {
        let (window, bins) = (self.shape.window, self.shape.window / 2 + 1);
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(window);
        let (mut time, mut line) = (transform.make_input_vec(), transform.make_output_vec());
        let scale = 2.0 / window as f64;
        let hann: Vec<f32> = (0..window).map(|i| (scale * (0.5 - 0.5 * (2.0 * PI * i as f64 / window as f64).cos())) as f32).collect();
        let mut bands = vec![vec![0.0f32; frames]; self.shape.mels];
        for t in 0..frames {
            let own = canonical.get(t * self.shape.hop..).unwrap_or_default();
            for (i, (v, w)) in time.iter_mut().zip(&hann).enumerate() {
                *v = own.get(i).map_or(0.0, |x| x * w);
            }
            transform.process(&mut time, &mut line).map_err(|e| Error::internal(e.to_string()))?;
            for (band, filter) in bands.iter_mut().zip(self.filters.chunks_exact(bins)) {
                band[t] = filter.iter().zip(&line).map(|(f, s)| f * (s.norm_sqr() + POWER_FLOOR as f32)).sum::<f32>().ln();
            }
        }
        let n = frames.max(1) as f32;
        let means: Vec<f32> = bands.iter().map(|band| band.iter().sum::<f32>() / n).collect();
        let square: f32 = bands.iter().zip(&means).map(|(band, mean)| band.iter().map(|v| (v - mean).powi(2)).sum::<f32>()).sum();
        Ok((means, (square / (n * self.shape.mels as f32) + 1e-3).sqrt()))
    }

    /// Frames of the model's spectrogram that are no padding.
    fn valid(&self, map: &AudioMap) -> usize {
        self.shape.frames_of(map.valid()).min(self.shape.frames())
    }

    /// `like` through the filter that changes its normalised log-mel spectrogram by `change` (`[mels * frames]`): each point of a short-time transform at the
    /// native rate is scaled, and keeps its phase.
    pub fn shift(&self, map: &AudioMap, like: &Waveform, change: &[f32]) -> Result<Waveform> {
        if change.iter().all(|v| *v == 0.0) {
            return Ok(like.clone());
        }
        let (frames, valid) = (self.shape.frames(), self.valid(map));
        let (_, deviation) = self.statistics(&map.apply(&like.values), valid)?;
        let bands: Vec<Vec<f32>> = change
            .chunks_exact(frames)
            .map(|band| band[..valid].iter().map(|v| (v * deviation).clamp(CHANGE.0, CHANGE.1)).collect())
            .collect();
        let rate = f64::from(like.sample_rate_hz) / f64::from(self.shape.rate_hz);
        let stft = Stft::new((self.shape.window as f64 * rate).round() as usize);
        let places = self.places(stft.bins(), stft.window.len(), like.sample_rate_hz);
        let count = like.values.len() / like.channels.max(1);
        // The gains are those of all channels.
        let gains: Vec<Vec<f32>> = (0..stft.frames(count))
            .map(|i| {
                let centre = (stft.start(i) as f64 + stft.window.len() as f64 / 2.0) / rate - map.skipped() as f64;
                let at = ((centre - self.shape.window as f64 / 2.0) / self.shape.hop as f64) as f32;
                // What lies outside of the model's view fades to what it was.
                let seen = (1.0 + at).min(valid as f32 - at).clamp(0.0, 1.0);
                let line: Vec<f32> = bands.iter().map(|band| seen * between(band, at)).collect();
                places.iter().map(|place| place.map_or(1.0, |place| (0.5 * between(&line, place)).exp())).collect()
            })
            .collect();
        let mut values = vec![0.0; like.values.len()];
        for channel in 0..like.channels {
            let own: Vec<f32> = like.values.iter().skip(channel).step_by(like.channels).copied().collect();
            let mut lines = stft.analyse(&own)?;
            for (line, gains) in lines.iter_mut().zip(&gains) {
                line.iter_mut().zip(gains).for_each(|(v, gain)| *v *= *gain);
            }
            let made = stft.synthesise(lines, own.len())?;
            values.iter_mut().skip(channel).step_by(like.channels).zip(made).for_each(|(v, m)| *v = m.clamp(-1.0, 1.0));
        }
        Ok(Waveform { values, ..*like })
    }

    /// A waveform with the normalised log-mel spectrogram `seen` (`[mels * frames]`), by the fast algorithm of Griffin and Lim, begun with the phase of
    /// `like`. All channels get the same; what lies outside of the model's view stays that of `like`.
    pub fn synthesise(&self, map: &AudioMap, like: &Waveform, seen: &[f32]) -> Result<Waveform> {
        let (frames, valid) = (self.shape.frames(), self.valid(map));
        let canonical = map.apply(&like.values);
        let (means, deviation) = self.statistics(&canonical, valid)?;
        let bands: Vec<Vec<f32>> = seen
            .chunks_exact(frames)
            .zip(&means)
            .map(|(band, mean)| band[..valid].iter().map(|v| v * deviation + mean).collect())
            .collect();
        let stft = Stft::new(self.shape.window);
        let places = self.places(stft.bins(), stft.window.len(), self.shape.rate_hz);
        let count = map.valid();
        let own = canonical.get(..count).unwrap_or(&canonical);
        // The front end divides by half a window; power is that of a band's centre, and nothing lies at 0 Hz.
        let scale = self.shape.window as f32 / 2.0;
        let amplitudes: Vec<Vec<f32>> = (0..stft.frames(count))
            .map(|i| {
                let centre = stft.start(i) as f32 + stft.window.len() as f32 / 2.0;
                let at = (centre - self.shape.window as f32 / 2.0) / self.shape.hop as f32;
                let line: Vec<f32> = bands.iter().map(|band| between(band, at)).collect();
                let amplitude = |place: &Option<f32>| place.map_or(0.0, |place| (0.5 * between(&line, place)).exp() * scale);
                places.iter().enumerate().map(|(k, place)| if k == 0 { 0.0 } else { amplitude(place) }).collect()
            })
            .collect();
        let mut phases = stft.analyse(own)?;
        let mut before: Option<Lines> = None;
        for _ in 0..ROUNDS {
            let x = stft.synthesise(with_phase(&amplitudes, &phases), count)?;
            let lines = stft.analyse(&x)?;
            phases = match &before {
                None => lines.clone(),
                Some(before) => lines
                    .iter()
                    .zip(before)
                    .map(|(line, before)| line.iter().zip(before).map(|(a, b)| a + (a - b) * MOMENTUM).collect())
                    .collect(),
            };
            before = Some(lines);
        }
        let mut x = stft.synthesise(with_phase(&amplitudes, &phases), count)?;
        // A decoded spectrogram is smoother than a real one, and the mean of logarithms is less than that of powers: the level is that of `like`.
        let power = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let (wanted, found) = (power(own), power(&x));
        if found > 0.0 {
            let gain = (wanted / found).sqrt() as f32;
            x.iter_mut().for_each(|v| *v *= gain);
        }
        self.placed(map, like, &x)
    }

    /// A waveform at the model's rate in the place of what the model saw of `like`.
    fn placed(&self, map: &AudioMap, like: &Waveform, x: &[f32]) -> Result<Waveform> {
        let native = if like.sample_rate_hz == self.shape.rate_hz {
            x.to_vec()
        } else {
            let resampler = Arc::new(Resampler::new(self.shape.rate_hz, like.sample_rate_hz)?);
            AudioMap::new(resampler, 1, x.len(), None)?.apply(x)
        };
        let first = map.skipped() as f64 * f64::from(like.sample_rate_hz) / f64::from(self.shape.rate_hz);
        let mut values = like.values.clone();
        for (frame, v) in values.chunks_exact_mut(like.channels.max(1)).skip(first.round() as usize).zip(native) {
            frame.fill(v.clamp(-1.0, 1.0));
        }
        Ok(Waveform { values, ..*like })
    }
}

fn with_phase(amplitudes: &[Vec<f32>], phases: &Lines) -> Lines {
    let turned = |(amplitude, phase): (&f32, &Complex<f32>)| {
        let length = phase.norm();
        if length > 0.0 { phase * (amplitude / length) } else { Complex::new(*amplitude, 0.0) }
    };
    amplitudes.iter().zip(phases).map(|(line, phase)| line.iter().zip(phase).map(turned).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preprocess::Canonical;

    fn shape(rate_hz: u32, length: usize) -> AudioShape {
        let window = 2 * (rate_hz as usize / 80);
        AudioShape { rate_hz, length, window, hop: window / 2, mels: 24, layers: Vec::new(), decoder: 1, variational: false }
    }

    /// A voice of a few harmonics whose pitch and level change, over a little noise.
    fn voice(rate_hz: u32, channels: usize, frames: usize) -> Waveform {
        let value = |t: usize, channel: usize| {
            let s = t as f64 / f64::from(rate_hz);
            let level = 0.3 * (0.2 + (2.0 * PI * 1.7 * s).sin().powi(2)) / (1.0 + channel as f64);
            let noise = 0.01 * (((t * t * 7919 + t * 104_729) % 65_537) as f64 / 32_768.0 - 1.0);
            ((1..6).map(|k| level / k as f64 * (2.0 * PI * (150.0 + 40.0 * s) * s * k as f64).sin()).sum::<f64>() + noise) as f32
        };
        let values = (0..frames).flat_map(|t| (0..channels).map(move |c| value(t, c))).collect();
        Waveform { sample_rate_hz: rate_hz, channels, values }
    }

    fn map(shape: &AudioShape, like: &Waveform) -> AudioMap {
        Canonical::new(None, Some((shape.rate_hz, Some(shape.length)))).audio(like).unwrap()
    }

    fn power(values: &[f32]) -> f64 {
        values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64
    }

    /// The normalised log-mel spectrogram, by bands.
    fn spectrogram(vocoder: &Vocoder, map: &AudioMap, of: &Waveform) -> Vec<f32> {
        let canonical = map.apply(&of.values);
        let frames = vocoder.valid(map);
        let (means, deviation) = vocoder.statistics(&canonical, frames).unwrap();
        let one = |t: usize| {
            let part = &canonical[t * vocoder.shape.hop..];
            vocoder.statistics(part, 1).unwrap().0
        };
        let lines: Vec<Vec<f32>> = (0..frames).map(one).collect();
        (0..vocoder.shape.mels)
            .flat_map(|m| {
                let (lines, mean) = (&lines, means[m]);
                (0..vocoder.shape.frames()).map(move |t| lines.get(t).map_or(0.0, |line| (line[m] - mean) / deviation))
            })
            .collect()
    }

    #[test]
    fn an_even_change_is_a_change_of_level() {
        for (rate, channels, frames) in [(8000, 1, 6000), (11025, 2, 9000), (8000, 1, 9000)] {
            let (shape, like) = (shape(8000, 6400), voice(rate, channels, frames));
            let (vocoder, map) = (Vocoder::new(&shape), map(&shape, &like));
            let (_, deviation) = vocoder.statistics(&map.apply(&like.values), vocoder.valid(&map)).unwrap();
            let mut change = vec![0.0; 24 * shape.frames()];
            assert_eq!(vocoder.shift(&map, &like, &change).unwrap(), like);
            // A quarter of the power: half the amplitude.
            change.fill(0.25f32.ln() / deviation);
            let made = vocoder.shift(&map, &like, &change).unwrap();
            let middle = channels * frames / 3..channels * frames * 2 / 3;
            let ratio = power(&made.values[middle.clone()]) / power(&like.values[middle]);
            assert!((ratio - 0.25).abs() < 0.02, "{rate}: {ratio}");
        }
    }

    #[test]
    fn what_the_model_does_not_see_stays() {
        // The model sees the middle 3200 of 9000 samples.
        let (shape, like) = (shape(8000, 3200), voice(8000, 1, 9000));
        let (vocoder, map) = (Vocoder::new(&shape), map(&shape, &like));
        let made = vocoder.shift(&map, &like, &vec![-1.0; 24 * shape.frames()]).unwrap();
        let far =
            |range: std::ops::Range<usize>| made.values[range.clone()].iter().zip(&like.values[range]).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(far(0..2500) && far(6500..9000) && !far(4000..5000));
        let made = vocoder.synthesise(&map, &like, &spectrogram(&vocoder, &map, &like)).unwrap();
        assert!(made.values[..2900] == like.values[..2900] && made.values[6100..] == like.values[6100..]);
    }

    #[test]
    fn a_waveform_is_made_with_the_spectrogram_that_was_asked_for() {
        for (rate, channels) in [(8000, 1), (16000, 2)] {
            let shape = shape(8000, 6400);
            let like = voice(rate, channels, rate as usize * 3 / 4);
            let (vocoder, map) = (Vocoder::new(&shape), map(&shape, &like));
            let wanted = spectrogram(&vocoder, &map, &like);
            let made = vocoder.synthesise(&map, &like, &wanted).unwrap();
            assert_eq!((made.values.len(), made.channels), (like.values.len(), channels));
            let found = spectrogram(&vocoder, &map, &made);
            let error: f32 = found.iter().zip(&wanted).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            let size: f32 = wanted.iter().map(|v| v * v).sum();
            assert!(error < 0.2 * size, "{rate}: {}", error / size);
            let ratio = power(&made.values) / power(&like.values);
            // Of two channels the mean is heard: nine tenths of their power here.
            assert!((0.85..1.1).contains(&ratio), "{rate}: {ratio}");
        }
    }

    #[test]
    fn silence_and_crumbs_are_no_trouble() {
        let shape = shape(8000, 1600);
        let vocoder = Vocoder::new(&shape);
        for frames in [1, 7, 300] {
            let like = Waveform { sample_rate_hz: 8000, channels: 1, values: vec![0.0; frames] };
            let map = map(&shape, &like);
            let change = vec![1.0; 24 * shape.frames()];
            for made in [vocoder.shift(&map, &like, &change).unwrap(), vocoder.synthesise(&map, &like, &change).unwrap()] {
                assert!(made.values.len() == frames && made.values.iter().all(|v| v.is_finite()));
            }
        }
    }
}
