//! Eight pixels at once, each read between its four neighbours, in registers of 512 bits.

use super::warp::{BITS, ONE};
use crate::{augment::wide::has_avx512, sample::ImageBuffer};
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_cmplt_epu32_mask, _mm256_loadu_si256, _mm256_mask_storeu_epi8,
    _mm256_mullo_epi32, _mm256_or_si256, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_srai_epi32, _mm256_sub_epi32, _mm512_add_epi32,
    _mm512_castsi512_si256, _mm512_cvtepu32_epi64, _mm512_i32gather_epi64, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_maddubs_epi16,
    _mm512_packs_epi32, _mm512_packus_epi16, _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srai_epi32, _mm512_unpackhi_epi16, _mm512_unpacklo_epi16, _mm512_xor_si512,
};

/// Pixels worked on at once.
pub(super) const LANES: usize = 8;

/// Whether [`bilinear`] may be called for this image.
pub(super) fn serves(image: &ImageBuffer) -> bool {
    has_avx512() && image.pixels().len() < (1 << 30)
}

/// Repeats what stands at `at(i)` of each half of 16 bytes.
const fn pattern(at: [u8; 16]) -> [u8; 64] {
    let mut out = [0; 64];
    let mut i = 0;
    while i < 64 {
        out[i] = at[i % 16];
        i += 1;
    }
    out
}

/// In each eight bytes: a channel of one pixel and the same of the next, side by side.
const fn pairs(channels: u8) -> [u8; 64] {
    let mut at = [0x80; 16];
    let mut i = 0;
    while i < 16 {
        let (half, channel) = (i as u8 / 8 * 8, i as u8 % 8 / 2);
        if channel < channels {
            at[i] = half + channel + (i as u8 % 2) * channels;
        }
        i += 1;
    }
    pattern(at)
}

/// The first two bytes of each eight, four times.
const TWO: [u8; 64] = pattern([0, 1, 0, 1, 0, 1, 0, 1, 8, 9, 8, 9, 8, 9, 8, 9]);
/// The first four bytes of the first eight, four times.
const FIRST: [u8; 64] = pattern([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
/// Those of the second eight.
const SECOND: [u8; 64] = pattern([8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11]);

/// Where the bytes of the pixels stand once sums are packed: eight bytes in every 16, four a pixel.
const fn packed(channels: usize) -> [u8; 64] {
    let mut out = [0; 64];
    let mut i = 0;
    while i < LANES * channels {
        let (pixel, channel) = (i / channels, i % channels);
        out[i] = (pixel / 2 * 16 + pixel % 2 * 4 + channel) as u8;
        i += 1;
    }
    out
}

#[target_feature(enable = "avx512f")]
fn constant(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: it reads the 64 bytes of the array.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn eight(places: &[i32; LANES]) -> __m256i {
    // SAFETY: it reads the 32 bytes of the array.
    unsafe { _mm256_loadu_si256(places.as_ptr().cast()) }
}

/// The pixels at eight places, in parts of a pixel as [`warp`](super::warp()) counts them, from the four around each: first across, then down, in whole numbers, rounded once. Does
/// nothing and returns false where one of the pixels around a place lies outside, or too close to the end of the buffer.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn bilinear<const C: usize>(
    pixels: &[u8],
    width: usize,
    height: usize,
    xs: &[i32; LANES],
    ys: &[i32; LANES],
    out: &mut [[u8; C]; LANES],
) -> bool {
    let (xs, ys) = (eight(xs), eight(ys));
    let (columns, rows) = (_mm256_srai_epi32::<{ BITS as i32 }>(xs), _mm256_srai_epi32::<{ BITS as i32 }>(ys));
    let inside = _mm256_cmplt_epu32_mask(columns, _mm256_set1_epi32(width as i32 - 1))
        & _mm256_cmplt_epu32_mask(rows, _mm256_set1_epi32(height as i32 - 1));
    let at = _mm256_add_epi32(
        _mm256_mullo_epi32(rows, _mm256_set1_epi32((width * C) as i32)),
        _mm256_mullo_epi32(columns, _mm256_set1_epi32(C as i32)),
    );
    // Eight bytes from there and from the row below.
    let Some(last) = pixels.len().checked_sub(width * C + 8) else { return false };
    if inside & _mm256_cmplt_epu32_mask(at, _mm256_set1_epi32(last as i32 + 1)) != 0xff {
        return false;
    }
    let part = _mm256_set1_epi32(ONE - 1);
    let (fx, fy) = (_mm256_and_si256(xs, part), _mm256_and_si256(ys, part));
    // Weights of a pixel and the next: of 8 bits across, of 16 bits down.
    let one = _mm256_set1_epi32(ONE);
    let across = _mm256_or_si256(_mm256_sub_epi32(one, fx), _mm256_slli_epi32::<8>(fx));
    let down = _mm256_or_si256(_mm256_sub_epi32(one, fy), _mm256_slli_epi32::<16>(fy));
    let across = _mm512_shuffle_epi8(_mm512_cvtepu32_epi64(across), constant(&TWO));
    let down = _mm512_cvtepu32_epi64(down);
    let order = const { pairs(C as u8) };
    // Pixels as numbers with a sign, so that weights of up to 128 need none.
    let sign = _mm512_set1_epi8(-128);
    // SAFETY: `at` and eight bytes more are inside, and a row below, too.
    let (top, bottom) = unsafe {
        (_mm512_i32gather_epi64::<1>(at, pixels.as_ptr().cast()), _mm512_i32gather_epi64::<1>(at, pixels.as_ptr().add(width * C).cast()))
    };
    let order = constant(&order);
    let mix = |row: __m512i| _mm512_maddubs_epi16(across, _mm512_xor_si512(_mm512_shuffle_epi8(row, order), sign));
    let (top, bottom) = (mix(top), mix(bottom));
    // What the sign took away, and a half.
    let back = _mm512_set1_epi32((128 << (2 * BITS)) + (1 << (2 * BITS - 1)));
    let first = _mm512_madd_epi16(_mm512_unpacklo_epi16(top, bottom), _mm512_shuffle_epi8(down, constant(&FIRST)));
    let second = _mm512_madd_epi16(_mm512_unpackhi_epi16(top, bottom), _mm512_shuffle_epi8(down, constant(&SECOND)));
    let first = _mm512_srai_epi32::<{ 2 * BITS }>(_mm512_add_epi32(first, back));
    let second = _mm512_srai_epi32::<{ 2 * BITS }>(_mm512_add_epi32(second, back));
    let bytes = _mm512_packus_epi16(_mm512_packs_epi32(first, second), _mm512_setzero_si512());
    let bytes = _mm512_castsi512_si256(_mm512_permutexvar_epi8(constant(&const { packed(C) }), bytes));
    // SAFETY: the mask leaves the bytes of the array.
    unsafe { _mm256_mask_storeu_epi8(out.as_mut_ptr().cast(), u32::MAX >> (32 - 8 * C), bytes) };
    true
}
