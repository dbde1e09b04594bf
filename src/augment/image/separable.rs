//! One symmetric kernel along both axes, in whole numbers, row by row: what a row needs of its neighbours stays in the nearest cache.

use super::bytes::high_half;
use crate::{augment::wide::wide, sample::ImageBuffer};

/// Up to so many products are cut to 16 bits each, which loses at the most 32/256 of a value; more of them are summed with 32 bits.
const FEW: usize = 32;

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

    let stride = width * channels;
    let side = reach * channels;
    let mut row = vec![0u16; stride + 2 * side];
    let mut rows: Vec<&[u8]> = Vec::with_capacity(kernel.len());
    let mut pixels = vec![0; stride * height];
    for (y, target) in pixels.chunks_exact_mut(stride).enumerate() {
        rows.clear();
        rows.extend((0..kernel.len()).map(|i| {
            let from = (y + i).saturating_sub(reach).min(height - 1);
            &image.pixels()[from * stride..(from + 1) * stride]
        }));
        let (few, many) = (weights.len() <= FEW, &mut row[side..side + stride]);
        if few {
            down(&rows, &weights, many)
        } else {
            down_many(&rows, &weights, many)
        }
        for i in 0..side {
            row[i] = row[side + i % channels];
            row[side + stride + i] = row[side + stride - channels + i % channels];
        }
        if few { across(&row, &weights, channels, target) } else { across_many(&row, &weights, channels, target) }
    }
    ImageBuffer::new(width, height, channels, pixels).unwrap_or_else(|_| image.clone())
}

/// Values worked on at once.
const BLOCK: usize = 32;

/// Where the block after the one at `at` of `len` values begins: the last one is moved back over the one before, so that none is broken. `None` after the last.
#[inline(always)]
fn after(at: usize, len: usize) -> Option<usize> {
    if at + BLOCK < len { Some((at + BLOCK).min(len - BLOCK)) } else { None }
}

/// Weighted sum of rows, 8 bits behind the point.
fn down(rows: &[&[u8]], weights: &[u16], out: &mut [u16]) {
    if out.len() < BLOCK {
        return down_plain(rows, weights, out);
    }
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::down(rows, weights, out) };
    }
    down_plain(rows, weights, out);
}

/// Weighted sum along a row that was extended at both ends.
fn across(row: &[u16], weights: &[u16], channels: usize, out: &mut [u8]) {
    if out.len() < BLOCK {
        return across_plain(row, weights, channels, out);
    }
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::across(row, weights, channels, out) };
    }
    across_plain(row, weights, channels, out);
}

wide! {
    fn down_plain(rows: &[&[u8]], weights: &[u16], out: &mut [u16]) {
        let half = weights.len() / 2;
        let (middle, bias) = (&rows[half][..out.len()], half as u16);
        for i in 0..out.len() {
            out[i] = bias.wrapping_add(high_half(u16::from(middle[i]) << 8, weights[half]));
        }
        // Rows at the same distance have the same weight: their sum of 9 bits and twice the weight still fit.
        for t in 0..half {
            let (above, below, twice) = (&rows[t][..out.len()], &rows[2 * half - t][..out.len()], weights[t].wrapping_mul(2));
            for i in 0..out.len() {
                let both = u16::from(above[i]).wrapping_add(u16::from(below[i]));
                out[i] = out[i].wrapping_add(high_half(both << 7, twice));
            }
        }
    }
}

wide! {
    fn across_plain(row: &[u16], weights: &[u16], channels: usize, out: &mut [u8]) {
        const SOME: usize = 256;
        let bias = 128 + (weights.len() / 2) as u16;
        let mut sum = [0u16; SOME];
        for first in (0..out.len()).step_by(SOME) {
            let count = SOME.min(out.len() - first);
            let (sum, out) = (&mut sum[..count], &mut out[first..first + count]);
            sum.fill(bias);
            for t in 0..weights.len() {
                let source = &row[first + t * channels..][..count];
                for i in 0..count {
                    sum[i] = sum[i].wrapping_add(high_half(source[i], weights[t]));
                }
            }
            for i in 0..count {
                out[i] = (sum[i] >> 8) as u8;
            }
        }
    }
}

/// The same in registers of 512 bits.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, after};
    use std::arch::x86_64::{
        __m512i, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi16, _mm512_cvtepi16_epi8, _mm512_cvtepu8_epi16, _mm512_loadu_si512,
        _mm512_mulhi_epu16, _mm512_set1_epi16, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_si512,
    };

    #[target_feature(enable = "avx512f,avx512bw")]
    fn bytes(row: &[u8], at: usize) -> __m512i {
        // The slice is checked, so that the load is inside.
        let bytes = &row[at..at + BLOCK];
        // SAFETY: it reads the 32 bytes of the slice.
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn down(rows: &[&[u8]], weights: &[u16], out: &mut [u16]) {
        let half = weights.len() / 2;
        let bias = _mm512_set1_epi16(half as i16);
        let middle = _mm512_set1_epi16(weights[half].cast_signed());
        let (upper, lower) = (&rows[..half], &rows[half + 1..]);
        let mut next = Some(0);
        while let Some(at) = next {
            next = after(at, out.len());
            let mut sum = _mm512_add_epi16(bias, _mm512_mulhi_epu16(_mm512_slli_epi16::<8>(bytes(rows[half], at)), middle));
            for t in 0..half {
                let both = _mm512_add_epi16(bytes(upper[t], at), bytes(lower[half - 1 - t], at));
                let twice = _mm512_set1_epi16(weights[t].wrapping_mul(2).cast_signed());
                sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(_mm512_slli_epi16::<7>(both), twice));
            }
            let out = &mut out[at..at + BLOCK];
            // SAFETY: it writes the 64 bytes of the slice.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn across(row: &[u16], weights: &[u16], channels: usize, out: &mut [u8]) {
        let bias = _mm512_set1_epi16(128 + (weights.len() / 2) as i16);
        let mut next = Some(0);
        while let Some(at) = next {
            next = after(at, out.len());
            let mut sum = bias;
            for t in 0..weights.len() {
                let source = &row[at + t * channels..][..BLOCK];
                // SAFETY: it reads the 64 bytes of the slice.
                let source = unsafe { _mm512_loadu_si512(source.as_ptr().cast()) };
                sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(source, _mm512_set1_epi16(weights[t].cast_signed())));
            }
            let out = &mut out[at..at + BLOCK];
            // SAFETY: it writes the 32 bytes of the slice.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi16_epi8(_mm512_srli_epi16::<8>(sum))) };
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
        fn both_versions_agree(len in 32usize..300, reach in 1usize..16, seed in 0u64..99) {
            let taps = 2 * reach + 1;
            let picture = image(len, taps, 1, seed);
            let rows: Vec<&[u8]> = picture.pixels().chunks_exact(len).collect();
            let weights: Vec<u16> = (0..taps).map(|t| (65_536 / taps - t.abs_diff(reach)) as u16).collect();
            let (mut a, mut b) = (vec![0; len], vec![0; len]);
            down(&rows, &weights, &mut a);
            down_plain(&rows, &weights, &mut b);
            prop_assert_eq!(&a, &b);
            a.resize(len + 6 * reach, 77);
            let (mut c, mut d) = (vec![0; len], vec![0; len]);
            across(&a, &weights, 3, &mut c);
            across_plain(&a, &weights, 3, &mut d);
            prop_assert_eq!(c, d);
        }
    }
}
