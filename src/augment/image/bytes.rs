//! Bytes in inner loops: products, rounding, tables, and pixels taken apart into lanes.

#[cfg(target_arch = "x86_64")]
use crate::augment::wide::has_avx512;

/// The upper half of a product of 16-bit numbers: a multiplication by a fraction of 65,536.
#[inline(always)]
pub(super) fn high_half(a: u16, b: u16) -> u16 {
    ((u32::from(a) * u32::from(b)) >> 16) as u16
}

/// Rounds to the nearest byte, cut at black and white; NaN becomes black. Halves go to the even byte.
#[inline(always)]
pub(super) fn to_byte(value: f32) -> u8 {
    // Adding 1.5 * 2^23 leaves the rounded number in the lowest bits.
    (value.max(0.0).min(255.0) + 12_582_912.0).to_bits() as u8
}

/// Replaces every byte by its entry; with four channels every fourth byte stays.
pub(super) fn apply_table(bytes: &mut [u8], channels: usize, table: &[u8; 256]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        let keep = if channels == 4 { 0x7777_7777_7777_7777 } else { u64::MAX };
        let (blocks, rest) = bytes.as_chunks_mut::<64>();
        // SAFETY: the processor has the features.
        unsafe { apply_blocks(blocks, keep, table) };
        return apply_plain(rest, channels, table);
    }
    apply_plain(bytes, channels, table);
}

/// Replaces every byte of a colour by its channel's entry; alpha stays. Three or four channels.
pub(super) fn apply_tables(bytes: &mut [u8], channels: usize, tables: &[[u8; 256]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // Whole pixels on whole blocks.
        let whole = bytes.len() / (64 * channels) * (64 * channels);
        let (blocks, rest) = bytes.split_at_mut(whole);
        // SAFETY: the processor has the features.
        unsafe { apply_channel_blocks(blocks.as_chunks_mut::<64>().0, channels, tables) };
        return apply_tables_plain(rest, channels, tables);
    }
    apply_tables_plain(bytes, channels, tables);
}

fn apply_tables_plain(bytes: &mut [u8], channels: usize, tables: &[[u8; 256]; 3]) {
    for pixel in bytes.chunks_exact_mut(channels) {
        for c in 0..3 {
            pixel[c] = tables[c][usize::from(pixel[c])];
        }
    }
}

/// [`apply_blocks`] with a table for each channel.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn apply_channel_blocks(blocks: &mut [[u8; 64]], channels: usize, tables: &[[u8; 256]; 3]) {
    for (c, table) in tables.iter().enumerate() {
        // The bytes of the channel in a block, by where in a pixel the block begins.
        let masks: [u64; 4] = std::array::from_fn(|begin| (0..64).filter(|i| (begin + i) % channels == c).map(|i| 1u64 << i).sum());
        for at in 0..blocks.len() {
            apply_blocks(&mut blocks[at..=at], masks[64 * at % channels], table);
        }
    }
}

fn apply_plain(bytes: &mut [u8], channels: usize, table: &[u8; 256]) {
    if channels == 4 {
        for pixel in bytes.as_chunks_mut::<4>().0 {
            pixel[..3].iter_mut().for_each(|p| *p = table[usize::from(*p)]);
        }
    } else {
        bytes.iter_mut().for_each(|p| *p = table[usize::from(*p)]);
    }
}

/// The table in four registers: two permutations look up 64 bytes each in a half of it.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn apply_blocks(blocks: &mut [[u8; 64]], keep: u64, table: &[u8; 256]) {
    use std::arch::x86_64::{
        _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_mask_storeu_epi8, _mm512_movepi8_mask, _mm512_permutex2var_epi8,
    };
    // SAFETY: every load and store is inside the 64 bytes it is given.
    unsafe {
        let part = |i: usize| _mm512_loadu_si512(table[i * 64..][..64].as_ptr().cast());
        let (a, b, c, d) = (part(0), part(1), part(2), part(3));
        for block in blocks {
            let at = _mm512_loadu_si512(block.as_ptr().cast());
            let low = _mm512_permutex2var_epi8(a, at, b);
            let high = _mm512_permutex2var_epi8(c, at, d);
            let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
            _mm512_mask_storeu_epi8(block.as_mut_ptr().cast(), keep, found);
        }
    }
}

/// Pixels that [`map_rgb`] hands over at once.
pub(super) const LANES: usize = 32;

/// A colour channel of some neighbouring pixels.
pub(super) type Lane = [f32; LANES];

/// What is done to the colours of some pixels. Its function is `#[inline(always)]`, so that it is compiled for the registers of its caller.
pub(super) trait Recolour: Copy {
    /// Changes red, green and blue, `0..=255`.
    fn recolour(self, r: &mut Lane, g: &mut Lane, b: &mut Lane);
}

#[inline(always)]
fn recolour_block<const C: usize>(pixels: &mut [[u8; C]; LANES], by: impl Recolour) {
    let (mut r, mut g, mut b) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for i in 0..LANES {
        r[i] = f32::from(pixels[i][0]);
        g[i] = f32::from(pixels[i][1 % C]);
        b[i] = f32::from(pixels[i][2 % C]);
    }
    by.recolour(&mut r, &mut g, &mut b);
    for i in 0..LANES {
        pixels[i][0] = to_byte(r[i]);
        if C > 1 {
            pixels[i][1] = to_byte(g[i]);
            pixels[i][2] = to_byte(b[i]);
        }
    }
}

/// Changes the colours of all pixels, [`LANES`] at a time, rounded. Gray pixels have three equal channels and take the first; alpha stays. Call it
/// inside [`wide`](crate::augment::wide).
#[inline(always)]
pub(super) fn map_rgb<const C: usize>(bytes: &mut [u8], by: impl Recolour) {
    let (blocks, rest) = bytes.as_chunks_mut::<C>().0.as_chunks_mut::<LANES>();
    for block in blocks {
        recolour_block(block, by);
    }
    if !rest.is_empty() {
        let mut padded = [[0u8; C]; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        recolour_block(&mut padded, by);
        let count = rest.len();
        rest.copy_from_slice(&padded[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;

    #[test]
    fn tables_reach_every_byte_but_alpha() {
        let table: [u8; 256] = std::array::from_fn(|i| (i as u8).wrapping_mul(7).wrapping_add(3));
        for (width, channels) in [(1, 1), (53, 3), (67, 4), (64, 1)] {
            let before = image(width, 5, channels, 2);
            let mut after = before.clone();
            apply_table(after.pixels_mut(), channels, &table);
            for (i, (a, b)) in after.pixels().iter().zip(before.pixels()).enumerate() {
                let expected = if channels == 4 && i % 4 == 3 { *b } else { table[usize::from(*b)] };
                assert_eq!(*a, expected);
            }
        }
    }

    #[test]
    fn each_channel_has_its_table() {
        let tables: [[u8; 256]; 3] = std::array::from_fn(|c| std::array::from_fn(|i| (i as u8).wrapping_mul(7).wrapping_add(30 * c as u8)));
        for (width, channels) in [(1, 3), (53, 3), (67, 4), (64, 4), (192, 3)] {
            let before = image(width, 5, channels, 2);
            let mut after = before.clone();
            apply_tables(after.pixels_mut(), channels, &tables);
            for (i, (a, b)) in after.pixels().iter().zip(before.pixels()).enumerate() {
                let expected = if i % channels == 3 { *b } else { tables[i % channels][usize::from(*b)] };
                assert_eq!(*a, expected);
            }
        }
    }

    #[test]
    fn bytes_are_rounded_and_cut() {
        let cases = [(-3.0, 0), (0.49, 0), (0.51, 1), (254.4, 254), (255.5, 255), (1e30, 255), (f32::NAN, 0), (f32::NEG_INFINITY, 0)];
        for (value, byte) in cases {
            assert_eq!(to_byte(value), byte, "{value}");
        }
        assert_eq!(high_half(u16::MAX, u16::MAX), 65534);
    }

    #[derive(Clone, Copy)]
    struct Nothing;

    impl Recolour for Nothing {
        fn recolour(self, _: &mut Lane, _: &mut Lane, _: &mut Lane) {}
    }

    #[test]
    fn lanes_come_back_in_their_places() {
        for (width, channels) in [(1, 1), (70, 3), (33, 4)] {
            let before = image(width, 1, channels, 3);
            let mut after = before.clone();
            match channels {
                1 => map_rgb::<1>(after.pixels_mut(), Nothing),
                3 => map_rgb::<3>(after.pixels_mut(), Nothing),
                _ => map_rgb::<4>(after.pixels_mut(), Nothing),
            }
            assert_eq!(after, before);
        }
    }
}
