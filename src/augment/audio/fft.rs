//! Fourier transforms of real blocks, and the two ways they are used here: one gain a bin on overlapping frames, and fast convolution.

use crate::sample::AudioBuffer;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};
use std::{cell::RefCell, f64::consts::PI, sync::Arc};

thread_local! {
    // Making a plan costs more than using it. Only lengths of `fast_length` come here, so that few are ever kept.
    static PLANS: RefCell<RealFftPlanner<f32>> = RefCell::new(RealFftPlanner::new());
}

/// Forward and inverse transform of one even length, with their scratch memory. The pair is not scaled: there and back multiplies by the length.
pub(super) struct Fourier {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Fourier {
    pub(super) fn new(length: usize) -> Self {
        let (forward, inverse) = PLANS.with_borrow_mut(|plans| (plans.plan_fft_forward(length), plans.plan_fft_inverse(length)));
        let scratch = vec![Complex::default(); forward.get_scratch_len().max(inverse.get_scratch_len())];
        Self { forward, inverse, scratch }
    }

    pub(super) fn bins(&self) -> usize {
        self.forward.complex_len()
    }

    /// `time` is overwritten.
    pub(super) fn forward(&mut self, time: &mut [f32], bins: &mut [Complex<f32>]) {
        let length = self.forward.get_scratch_len();
        let done = self.forward.process_with_scratch(time, bins, &mut self.scratch[..length]);
        debug_assert!(done.is_ok(), "lengths come from one plan");
    }

    /// `bins` is overwritten.
    pub(super) fn inverse(&mut self, bins: &mut [Complex<f32>], time: &mut [f32]) {
        // The first and the last bin of a real signal are real.
        if let [first, .., last] = bins {
            (first.im, last.im) = (0.0, 0.0);
        }
        let length = self.inverse.get_scratch_len();
        let done = self.inverse.process_with_scratch(bins, time, &mut self.scratch[..length]);
        debug_assert!(done.is_ok(), "lengths come from one plan");
    }
}

/// The least power of two, or three times one, that is at least `length` and 16.
pub(super) fn fast_length(length: usize) -> usize {
    let two = length.max(16).next_power_of_two();
    if two / 4 * 3 >= length.max(16) { two / 4 * 3 } else { two }
}

/// One channel of an interleaved sound.
pub(super) fn channel(audio: &AudioBuffer, at: usize) -> Vec<f32> {
    if audio.channels() == 1 {
        return audio.samples().to_vec();
    }
    audio.samples().iter().skip(at).step_by(audio.channels()).copied().collect()
}

/// Puts a channel back.
pub(super) fn put_channel(samples: &mut [f32], channels: usize, at: usize, from: &[f32]) {
    samples.iter_mut().skip(at).step_by(channels.max(1)).zip(from).for_each(|(s, v)| *s = *v);
}

/// A window `sin(pi (n + 1/2) / N)`: its square sums to 1 at half overlap.
fn sine_window(length: usize) -> Vec<f32> {
    (0..length).map(|n| (PI * (n as f64 + 0.5) / length as f64).sin() as f32).collect()
}

/// The length of a frame of about `seconds`: a power of two, at least 16.
pub(super) fn frame_length(sample_rate_hz: u32, seconds: f64) -> usize {
    let exact = (f64::from(sample_rate_hz) * seconds).clamp(16.0, 65536.0);
    1 << exact.log2().round() as u32
}

/// Changes a sound in its short-time spectrum, in place: frames of `length` at half overlap, a sine window before and after, so that
/// bins left alone give the sound back. `change` is given the frame's number, the middle of the frame in frames of the sound, and its bins.
pub(super) fn change_spectrum(audio: &mut AudioBuffer, length: usize, mut change: impl FnMut(usize, f64, &mut [Complex<f32>])) {
    let (channels, frames) = (audio.channels(), audio.frames());
    let (hop, window) = (length / 2, sine_window(length));
    let mut fourier = Fourier::new(length);
    let mut bins = vec![Complex::default(); fourier.bins()];
    let (mut time, mut input) = (vec![0f32; length], vec![0f32; frames.div_ceil(hop) * hop + length]);
    let mut output = vec![0f32; input.len()];
    let scale = 1.0 / length as f32;
    for c in 0..channels {
        output.fill(0.0);
        // The sound begins one hop into the padded line, so that every sample lies in two frames.
        input[hop..hop + frames].iter_mut().zip(audio.samples().iter().skip(c).step_by(channels)).for_each(|(i, s)| *i = *s);
        for (number, start) in (0..=input.len() - length).step_by(hop).enumerate() {
            time.iter_mut().zip(&input[start..start + length]).zip(&window).for_each(|((t, i), w)| *t = i * w);
            fourier.forward(&mut time, &mut bins);
            change(number, start as f64, &mut bins);
            fourier.inverse(&mut bins, &mut time);
            output[start..start + length].iter_mut().zip(&time).zip(&window).for_each(|((o, t), w)| *o += t * w * scale);
        }
        put_channel(audio.samples_mut(), channels, c, &output[hop..hop + frames]);
    }
}

/// Linear convolution of `signal` with `kernel`, the first `out.len()` samples of it, by overlap-add: each block is transformed once, the
/// kernel once for all blocks.
pub(super) fn convolve_into(signal: &[f32], kernel: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    let kernel = &kernel[..kernel.len().min(out.len())];
    if kernel.is_empty() || signal.is_empty() {
        return;
    }
    // One block where that is short; else blocks about three times the kernel, which costs least a sample.
    let whole = fast_length((signal.len() + kernel.len() - 1).min(out.len() + kernel.len()));
    let length = whole.min(fast_length((4 * kernel.len()).max(4096)));
    let step = length + 1 - kernel.len();
    let mut fourier = Fourier::new(length);
    let mut time = vec![0f32; length];
    let mut response = vec![Complex::default(); fourier.bins()];
    let mut bins = response.clone();
    let scale = 1.0 / length as f32;
    time.iter_mut().zip(kernel).for_each(|(t, k)| *t = k * scale);
    fourier.forward(&mut time, &mut response);
    for (number, block) in signal.chunks(step).enumerate() {
        let start = number * step;
        if start >= out.len() {
            break;
        }
        time[..block.len()].copy_from_slice(block);
        time[block.len()..].fill(0.0);
        fourier.forward(&mut time, &mut bins);
        bins.iter_mut().zip(&response).for_each(|(b, r)| *b *= r);
        fourier.inverse(&mut bins, &mut time);
        let reach = (block.len() + kernel.len() - 1).min(out.len() - start);
        out[start..start + reach].iter_mut().zip(&time).for_each(|(o, t)| *o += t);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_fast_and_long_enough() {
        for n in 1..5000 {
            let fast = fast_length(n);
            assert!(fast >= n && fast.is_multiple_of(2) && (fast.is_power_of_two() || (fast / 3).is_power_of_two()), "{n} {fast}");
        }
        assert_eq!((fast_length(17), fast_length(24), fast_length(25), fast_length(33)), (24, 24, 32, 48));
        assert_eq!(frame_length(16_000, 0.064), 1024);
    }

    proptest! {
        #[test]
        fn untouched_bins_give_the_sound_back(frames in 1usize..400, channels in 1usize..3, seed: u32) {
            let samples: Vec<f32> = (0..frames * channels).map(|i| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 16_777_216.0 - 0.5).collect();
            let audio = AudioBuffer::new(8000, channels, samples).unwrap();
            let mut same = audio.clone();
            change_spectrum(&mut same, 64, |_, _, _| {});
            prop_assert!(same.samples().iter().zip(audio.samples()).all(|(a, b)| (a - b).abs() < 1e-5));
        }

        #[test]
        fn overlap_add_is_the_sum_itself(signal in prop::collection::vec(-1f32..1.0, 1..6000), kernel in prop::collection::vec(-1f32..1.0, 1..1500), cut in 0usize..3) {
            let length = [signal.len(), signal.len() + kernel.len() - 1, signal.len() / 2 + 1][cut];
            let mut out = vec![9.0; length];
            convolve_into(&signal, &kernel, &mut out);
            for at in (0..length).step_by(97) {
                let exact: f64 = (0..kernel.len()).filter(|k| at >= *k && at - k < signal.len()).map(|k| f64::from(kernel[k]) * f64::from(signal[at - k])).sum();
                prop_assert!((f64::from(out[at]) - exact).abs() < 2e-3 * (1.0 + exact.abs()), "{} {exact}", out[at]);
            }
        }
    }
}
