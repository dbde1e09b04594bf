//! Log-mel spectrograms in burn operations, so that gradients reach the waveform.
//!
//! Layout: features first, samples last. A waveform batch is `[length, n]`; frames are gathered rows, the windowed Fourier
//! transform is one fixed matrix, the mel filters are another.

use super::shape::AudioShape;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::f64::consts::PI;

/// Added to the power before the logarithm.
pub(super) const POWER_FLOOR: f64 = 1e-10;

/// The fixed matrices and indices of a front end.
#[derive(Debug, Clone)]
pub(super) struct LogMel {
    window: usize,
    frames: usize,
    bins: usize,
    mels: usize,
    /// `window * frames` rows of the waveform.
    rows: Tensor<1, Int>,
    /// `[2 * bins, window]`: cosines, then sines, times the Hann window.
    fourier: Tensor<2>,
    /// `[mels, bins]`.
    filters: Tensor<2>,
}

impl LogMel {
    pub fn new(shape: &AudioShape, device: &Device) -> Self {
        let (window, frames, bins) = (shape.window, shape.frames(), shape.window / 2 + 1);
        let rows: Vec<i64> = (0..window).flat_map(|i| (0..frames).map(move |t| (t * shape.hop + i) as i64)).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [window * frames]), device);
        let fourier = TensorData::new(fourier(window), [2 * bins, window]);
        let filters = TensorData::new(mel_filters(shape.mels, window, f64::from(shape.rate_hz)), [shape.mels, bins]);
        Self {
            window,
            frames,
            bins,
            mels: shape.mels,
            rows,
            fourier: Tensor::from_data(fourier, device),
            filters: Tensor::from_data(filters, device),
        }
    }

    /// `[length, n]` samples to `[mels * frames, n]` natural logarithms of mel power.
    pub fn spectrogram(&self, waveform: Tensor<2>) -> Tensor<2> {
        let n = waveform.dims()[1];
        let framed = waveform.select(0, self.rows.clone()).reshape([self.window, self.frames * n]);
        let spectrum = self.fourier.clone().matmul(framed);
        let real = spectrum.clone().narrow(0, 0, self.bins);
        let imaginary = spectrum.narrow(0, self.bins, self.bins);
        let power = real.clone() * real + imaginary.clone() * imaginary + POWER_FLOOR;
        self.filters.clone().matmul(power).log().reshape([self.mels * self.frames, n])
    }
}

/// Rows of cosines and sines under a Hann window, scaled so that a full-scale tone has a power near 1/4.
fn fourier(window: usize) -> Vec<f32> {
    let bins = window / 2 + 1;
    let scale = 2.0 / window as f64;
    let value = |k: usize, i: usize, f: fn(f64) -> f64| {
        let hann = 0.5 - 0.5 * (2.0 * PI * i as f64 / window as f64).cos();
        (scale * hann * f(2.0 * PI * ((k * i) % window) as f64 / window as f64)) as f32
    };
    let rows = |f: fn(f64) -> f64| (0..bins).flat_map(move |k| (0..window).map(move |i| value(k, i, f)));
    rows(f64::cos).chain(rows(|x| -x.sin())).collect()
}

/// Edge `i` of `0..=mels + 1` of the filters, in Hz.
fn mel_edge(i: usize, mels: usize, rate: f64) -> f64 {
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let (low, high) = (mel(60f64.min(rate / 8.0)), mel(rate / 2.0));
    700.0 * (10f64.powf((low + (high - low) * i as f64 / (mels + 1) as f64) / 2595.0) - 1.0)
}

/// Centres of the filters in Hz.
pub(super) fn mel_centres(mels: usize, rate: f64) -> Vec<f32> {
    (1..=mels).map(|i| mel_edge(i, mels, rate) as f32).collect()
}

/// Triangles evenly spaced on the mel scale `2595 log10(1 + f / 700)` from 60 Hz to the Nyquist frequency, each of sum 1
/// and of at least one bin.
pub(super) fn mel_filters(mels: usize, window: usize, rate: f64) -> Vec<f32> {
    let bins = window / 2 + 1;
    let edge = |i: usize| mel_edge(i, mels, rate) * window as f64 / rate;
    let filter = |m: usize| {
        let (left, centre, right) = (edge(m), edge(m + 1), edge(m + 2));
        // A narrow filter would fall between two bins: it is as wide as one bin at least.
        let (up, down) = ((centre - left).max(1.0), (right - centre).max(1.0));
        let weights: Vec<f64> = (0..bins)
            .map(|k| {
                let away = k as f64 - centre;
                (1.0 - if away < 0.0 { -away / up } else { away / down }).max(0.0)
            })
            .collect();
        let total: f64 = weights.iter().sum::<f64>().max(1e-9);
        weights.into_iter().map(move |w| (w / total) as f32)
    };
    (0..mels).flat_map(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use realfft::RealFftPlanner;

    fn shape() -> AudioShape {
        AudioShape { rate_hz: 8000, length: 900, window: 200, hop: 100, mels: 12, layers: Vec::new(), decoder: 0, variational: false }
    }
    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.31).sin() * 0.3 + (((i * i * 7) % 1009) as f32).cos() * 0.2).collect()
    }

    #[test]
    fn it_is_the_spectrogram_of_a_fast_fourier_transform() {
        let shape = shape();
        let device = Device::default();
        let x = wave(900);
        let tensor = Tensor::from_data(TensorData::new(x.clone(), [900, 1]), &device);
        let found = LogMel::new(&shape, &device).spectrogram(tensor).into_data().try_to_vec::<f32>().unwrap();
        let filters = mel_filters(12, 200, 8000.0);
        let transform = RealFftPlanner::<f64>::new().plan_fft_forward(200);
        for frame in 0..shape.frames() {
            let hann = |i: usize| 0.5 - 0.5 * (2.0 * PI * i as f64 / 200.0).cos();
            let mut windowed: Vec<f64> = (0..200).map(|i| f64::from(x[frame * 100 + i]) * hann(i) / 100.0).collect();
            let mut spectrum = transform.make_output_vec();
            transform.process(&mut windowed, &mut spectrum).unwrap();
            for mel in 0..12 {
                let power: f64 =
                    spectrum.iter().enumerate().map(|(k, s)| f64::from(filters[mel * 101 + k]) * (s.norm_sqr() + POWER_FLOOR)).sum();
                let own = f64::from(found[mel * shape.frames() + frame]);
                assert!((own - power.ln()).abs() < 1e-3, "mel {mel} frame {frame}: {own} {}", power.ln());
            }
        }
    }

    #[test]
    fn its_gradient_agrees_with_finite_differences() {
        let (shape, device) = (shape(), Device::default());
        let front = LogMel::new(&shape, &device);
        let rows = 12 * shape.frames();
        let weights: Vec<f32> = (0..rows).map(|i| (i as f32).sin() / 10.0).collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, 1]), &device);
        let tensor = |x: &[f32]| Tensor::<2>::from_data(TensorData::new(x.to_vec(), [900, 1]), &device);
        let value = |x: &[f32]| {
            let out = (front.spectrogram(tensor(x)) * weights.clone()).into_data().try_to_vec::<f32>().unwrap();
            out.into_iter().map(f64::from).sum::<f64>()
        };
        let x = wave(900);
        let leaf = tensor(&x).autodiff().require_grad();
        let gradients = (front.spectrogram(leaf.clone()) * weights.clone()).sum().backward();
        let slope = leaf.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for at in [150, 333, 507, 780] {
            let moved = |by: f32| x.iter().enumerate().map(|(i, v)| if i == at { v + by } else { *v }).collect::<Vec<_>>();
            let difference = (value(&moved(1e-3)) - value(&moved(-1e-3))) / 2e-3;
            assert!((difference - f64::from(slope[at])).abs() < 0.02 * difference.abs().max(1.0), "{at}: {difference} {}", slope[at]);
        }
    }

    #[test]
    fn every_filter_hears_something() {
        for (mels, window, rate) in [(40, 200, 8000.0), (80, 400, 16000.0), (64, 128, 8000.0)] {
            let filters = mel_filters(mels, window, rate);
            assert!(filters.chunks(window / 2 + 1).all(|f| (f.iter().sum::<f32>() - 1.0).abs() < 1e-4));
        }
    }
}
