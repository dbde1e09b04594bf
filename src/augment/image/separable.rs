//! One symmetric kernel along both axes, in whole numbers, row by row: what a row needs of its neighbours stays in the nearest cache.

use super::bytes::high_half;
use crate::{augment::wide::wide, sample::ImageBuffer};

/// Up to so many products are cut to 16 bits each, which loses at the most 32/256 of a value; more of them are summed with 32 bits.
const FEW: usize = 32;

/// Values side by side, on one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u16; BLOCK]);

/// Values of a line.
const BLOCK: usize = 32;

/// The same symmetric kernel of an odd length (any sum above 0) along both axes, edges extended.
pub(super) fn separable(image: &ImageBuffer, kernel: &[f32]) -> ImageBuffer {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let reach = kernel.len() / 2;
    let total: f64 = kernel.iter().map(|k| f64::from(*k)).sum();
    // 65,536ths; what rounding leaves goes to the middle.
    let mut weights: Vec<i64> = kernel.iter().map(|k| (f64::from(*k) / total * 65_536.0).round() as i64).collect();
    let missing = 65_536 - weights.iter().sum::<i64>();
    if let Some(middle) = weights.get_mut(reach) {
        *middle += missing;
    }
    let weights: Vec<u16> = weights.into_iter().map(|w| w.clamp(0, 65_535) as u16).collect();
    let pixels = if weights.len() <= FEW { blur(image, &weights) } else { blur_many(image, &weights) };
    ImageBuffer::new(width, height, channels, pixels).unwrap_or_else(|_| image.clone())
}

/// A row with what stands beyond its ends.
fn extend(row: &mut [u16], side: usize, stride: usize, channels: usize) {
    for i in 0..side {
        row[i] = row[side + i % channels];
        row[side + stride + i] = row[side + stride - channels + i % channels];
    }
}

/// Each row is blurred along itself once and kept as long as a kernel reaches; what is averaged down then lies on whole cache lines.
fn blur(image: &ImageBuffer, weights: &[u16]) -> Vec<u8> {
    let (height, channels, taps) = (image.height(), image.channels(), weights.len());
    let (stride, reach) = (image.width() * channels, taps / 2);
    let (side, lines) = (reach * channels, stride.div_ceil(BLOCK));
    let mut row = vec![0u16; lines * BLOCK + 2 * side];
    let mut kept = vec![Line([0; BLOCK]); taps * lines];
    let mut pixels = vec![0; stride * height];
    let mut done = 0;
    for (y, target) in pixels.chunks_exact_mut(stride).enumerate() {
        while done <= (y + reach).min(height - 1) {
            widen(&image.pixels()[done * stride..(done + 1) * stride], &mut row[side..side + stride]);
            extend(&mut row, side, stride, channels);
            across(&row, weights, channels, &mut kept[done % taps * lines..][..lines]);
            done += 1;
        }
        let mut rows: [&[Line]; FEW] = [&[]; FEW];
        for (i, row) in rows[..taps].iter_mut().enumerate() {
            let from = (y + i).saturating_sub(reach).min(height - 1);
            *row = &kept[from % taps * lines..][..lines];
        }
        down(&rows[..taps], weights, target);
    }
    pixels
}

/// The same for many weights: down first, then across.
fn blur_many(image: &ImageBuffer, weights: &[u16]) -> Vec<u8> {
    let (height, channels, taps) = (image.height(), image.channels(), weights.len());
    let (stride, reach) = (image.width() * channels, taps / 2);
    let side = reach * channels;
    let mut row = vec![0u16; stride + 2 * side];
    let mut rows: Vec<&[u8]> = Vec::with_capacity(taps);
    let mut pixels = vec![0; stride * height];
    for (y, target) in pixels.chunks_exact_mut(stride).enumerate() {
        rows.clear();
        rows.extend((0..taps).map(|i| {
            let from = (y + i).saturating_sub(reach).min(height - 1);
            &image.pixels()[from * stride..(from + 1) * stride]
        }));
        down_many(&rows, weights, &mut row[side..side + stride]);
        extend(&mut row, side, stride, channels);
        across_many(&row, weights, channels, target);
    }
    pixels
}

wide! {
    /// Bytes with seven bits behind the point, so that two of them have a sum of 16 bits.
    fn widen(bytes: &[u8], out: &mut [u16]) {
        let bytes = &bytes[..out.len()];
        for i in 0..out.len() {
            out[i] = u16::from(bytes[i]) << 7;
        }
    }
}

/// Weighted sum along a row that was extended at both ends, 8 bits behind the point. What stands beyond the row's end in the last line is of no use.
fn across(row: &[u16], weights: &[u16], channels: usize, out: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::across(row, weights, channels, out) };
    }
    across_plain(row, weights, channels, out);
}

/// Weighted sum of rows, in bytes.
fn down(rows: &[&[Line]], weights: &[u16], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::down(rows, weights, out) };
    }
    down_plain(rows, weights, out);
}

/// What is lost in the mean by cutting the products of `half` pairs and of the middle.
fn lost(half: usize) -> u16 {
    half.div_ceil(2) as u16
}

wide! {
    fn across_plain(row: &[u16], weights: &[u16], channels: usize, out: &mut [Line]) {
        let half = weights.len() / 2;
        for at in 0..out.len() {
            let (first, sum) = (at * BLOCK, &mut out[at].0);
            let middle = &row[first + half * channels..][..BLOCK];
            for i in 0..BLOCK {
                sum[i] = lost(half).wrapping_add(high_half(middle[i] << 1, weights[half]));
            }
            // Values at the same distance have the same weight: their sum and twice the weight still fit.
            for t in 0..half {
                let twice = weights[t].wrapping_mul(2);
                let (before, behind) = (&row[first + t * channels..][..BLOCK], &row[first + (2 * half - t) * channels..][..BLOCK]);
                for i in 0..BLOCK {
                    sum[i] = sum[i].wrapping_add(high_half(before[i].wrapping_add(behind[i]), twice));
                }
            }
        }
    }
}

wide! {
    fn down_plain(rows: &[&[Line]], weights: &[u16], out: &mut [u8]) {
        let half = weights.len() / 2;
        for at in 0..out.len().div_ceil(BLOCK) {
            let (mut sum, middle) = ([128 + lost(half); BLOCK], &rows[half][at].0);
            for i in 0..BLOCK {
                sum[i] = sum[i].wrapping_add(high_half(middle[i], weights[half]));
            }
            // The mean of two rows of the same weight, rounded up, and twice the weight.
            for t in 0..half {
                let (above, below, twice) = (&rows[t][at].0, &rows[2 * half - t][at].0, weights[t].wrapping_mul(2));
                for i in 0..BLOCK {
                    let mean = (u32::from(above[i]) + u32::from(below[i]) + 1) >> 1;
                    sum[i] = sum[i].wrapping_add(high_half(mean as u16, twice));
                }
            }
            let from = at * BLOCK;
            let count = BLOCK.min(out.len() - from);
            let out = &mut out[from..from + count];
            for i in 0..count {
                out[i] = (sum[i] >> 8) as u8;
            }
        }
    }
}

/// The same in registers of 512 bits.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Line, lost};
    use std::arch::x86_64::{
        __m512i, _mm256_storeu_si256, _mm512_add_epi16, _mm512_avg_epu16, _mm512_cvtepi16_epi8, _mm512_loadu_si512, _mm512_mulhi_epu16,
        _mm512_set1_epi16, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_si512,
    };

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(values: &[u16], at: usize) -> __m512i {
        // The slice is checked, so that the load is inside.
        let values = &values[at..at + BLOCK];
        // SAFETY: it reads the 64 bytes of the slice.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn all(value: u16) -> __m512i {
        _mm512_set1_epi16(value.cast_signed())
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn across(row: &[u16], weights: &[u16], channels: usize, out: &mut [Line]) {
        let half = weights.len() / 2;
        let (bias, middle) = (all(lost(half)), all(weights[half]));
        for (at, out) in out.iter_mut().enumerate() {
            let row = &row[at * BLOCK..][..2 * half * channels + BLOCK];
            let mut sum = _mm512_add_epi16(bias, _mm512_mulhi_epu16(_mm512_slli_epi16::<1>(load(row, half * channels)), middle));
            for (t, weight) in weights[..half].iter().enumerate() {
                let both = _mm512_add_epi16(load(row, t * channels), load(row, (2 * half - t) * channels));
                sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(both, all(weight.wrapping_mul(2))));
            }
            // SAFETY: it writes the 64 bytes of the line.
            unsafe { _mm512_storeu_si512(out.0.as_mut_ptr().cast(), sum) };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn down(rows: &[&[Line]], weights: &[u16], out: &mut [u8]) {
        let half = weights.len() / 2;
        let (bias, middle) = (all(128 + lost(half)), all(weights[half]));
        let (upper, lower) = (&rows[..half], &rows[half + 1..]);
        for (at, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sum = _mm512_add_epi16(bias, _mm512_mulhi_epu16(load(&rows[half][at].0, 0), middle));
            for (t, weight) in weights[..half].iter().enumerate() {
                let mean = _mm512_avg_epu16(load(&upper[t][at].0, 0), load(&lower[half - 1 - t][at].0, 0));
                sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(mean, all(weight.wrapping_mul(2))));
            }
            let bytes = _mm512_cvtepi16_epi8(_mm512_srli_epi16::<8>(sum));
            let mut last = [0u8; BLOCK];
            let whole = out.len() == BLOCK;
            let target = if whole { out.as_mut_ptr() } else { last.as_mut_ptr() };
            // SAFETY: it writes the 32 bytes of the slice, or of the array.
            unsafe { _mm256_storeu_si256(target.cast(), bytes) };
            if !whole {
                let count = out.len();
                out.copy_from_slice(&last[..count]);
            }
        }
    }
}

/// Values that one pass over the weights serves where sums have 32 bits.
const SUMS: usize = 128;

wide! {
    /// [`down`] with 32 bits.
    fn down_many(rows: &[&[u8]], weights: &[u16], out: &mut [u16]) {
        let mut sums = [0u32; SUMS];
        for first in (0..out.len()).step_by(SUMS) {
            let count = SUMS.min(out.len() - first);
            let (sums, out) = (&mut sums[..count], &mut out[first..first + count]);
            sums.fill(128);
            for t in 0..weights.len() {
                let (row, weight) = (&rows[t][first..first + count], u32::from(weights[t]));
                for i in 0..count {
                    sums[i] = sums[i].wrapping_add(u32::from(row[i]).wrapping_mul(weight));
                }
            }
            for i in 0..count {
                out[i] = (sums[i] >> 8) as u16;
            }
        }
    }
}

wide! {
    /// [`across`] with 32 bits.
    fn across_many(row: &[u16], weights: &[u16], channels: usize, out: &mut [u8]) {
        let mut sums = [0u32; SUMS];
        for first in (0..out.len()).step_by(SUMS) {
            let count = SUMS.min(out.len() - first);
            let (sums, out) = (&mut sums[..count], &mut out[first..first + count]);
            sums.fill(0);
            for t in 0..weights.len() {
                let (source, weight) = (&row[first + t * channels..][..count], u32::from(weights[t]));
                for i in 0..count {
                    sums[i] = sums[i].wrapping_add(u32::from(source[i]).wrapping_mul(weight));
                }
            }
            for i in 0..count {
                out[i] = (sums[i].saturating_add(1 << 23) >> 24) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    proptest! {
        /// Wide registers give the bytes that plain loops give.
        #[test]
        fn both_versions_agree(lines in 1usize..9, less in 0usize..32, reach in 1usize..16, seed in 0u64..99) {
            let taps = 2 * reach + 1;
            let weights: Vec<u16> = (0..taps).map(|t| (65_536 / taps - t.abs_diff(reach)) as u16).collect();
            let (mut kept, mut plain) = (vec![Line([0; BLOCK]); taps * lines], vec![Line([0; BLOCK]); taps * lines]);
            for t in 0..taps {
                let picture = image(lines * BLOCK + 6 * reach, 1, 1, seed + t as u64);
                let mut row = vec![0; picture.pixels().len()];
                widen(picture.pixels(), &mut row);
                across(&row, &weights, 3, &mut kept[t * lines..][..lines]);
                across_plain(&row, &weights, 3, &mut plain[t * lines..][..lines]);
            }
            prop_assert!(kept.iter().zip(&plain).all(|(a, b)| a.0 == b.0));
            let rows: Vec<&[Line]> = kept.chunks_exact(lines).collect();
            let (mut c, mut d) = (vec![0; lines * BLOCK - less], vec![0; lines * BLOCK - less]);
            down(&rows, &weights, &mut c);
            down_plain(&rows, &weights, &mut d);
            prop_assert_eq!(c, d);
        }

        /// Within half a step of what the weights say, at any size and with any channels.
        #[test]
        fn a_blur_is_as_defined(width in 1usize..40, height in 1usize..20, channels in 1usize..5, reach in 0usize..17, seed in 0u64..99) {
            prop_assume!(channels != 2);
            let picture = image(width, height, channels, seed);
            let kernel: Vec<f32> = (0..=2 * reach).map(|t| 1.0 / (1.0 + t.abs_diff(reach) as f32)).collect();
            let total: f64 = kernel.iter().map(|k| f64::from(*k)).sum();
            let found = separable(&picture, &kernel);
            let at = |x: usize, y: usize, c: usize| f64::from(picture.pixels()[(y * width + x) * channels + c]);
            for (i, value) in found.pixels().iter().enumerate() {
                let (x, y, c) = (i / channels % width, i / channels / width, i % channels);
                let mut right = 0.0;
                for (v, a) in kernel.iter().enumerate() {
                    for (u, b) in kernel.iter().enumerate() {
                        let (x, y) = ((x + u).saturating_sub(reach).min(width - 1), (y + v).saturating_sub(reach).min(height - 1));
                        right += f64::from(a * b) * at(x, y, c);
                    }
                }
                prop_assert!((f64::from(*value) - right / total / total).abs() < 0.62, "{}: {} {}", i, value, right / total / total);
            }
        }
    }
}
