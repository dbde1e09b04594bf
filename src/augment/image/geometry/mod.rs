//! Pixels that move: whole ones here, the others through one core ([`warp`]) or separable sums ([`resize()`]).

mod affine;
mod elastic;
#[cfg(target_arch = "x86_64")]
mod gather;
mod resize;
mod twice;
mod warp;

pub use affine::{Affine, affine, perspective, perspective_map, rotate};
pub use elastic::{Field, elastic, elastic_field};
pub use resize::{Filter, Sides, crop, crop_resize, crop_resize_by, pad, resize, resize_down_up};
pub use warp::{Sampling, warp};

use super::PointMap;
use crate::sample::ImageBuffer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands where a moved medium leaves a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The nearest edge pixel.
    #[default]
    Extend,
    /// Zeros: black, or silence.
    Zero,
    /// What left on the other side: nothing is lost.
    Wrap,
    /// The medium mirrored at its edge.
    Mirror,
}

impl Edge {
    /// The place in `0..len` that stands at place `at`; `None` for a zero. `len` is at least 1.
    #[inline]
    pub fn source(self, at: i64, len: usize) -> Option<usize> {
        let n = len as i64;
        let inside = (0..n).contains(&at);
        match self {
            _ if inside => Some(at as usize),
            Self::Extend => Some(at.clamp(0, n - 1) as usize),
            Self::Zero => None,
            Self::Wrap => Some(at.rem_euclid(n) as usize),
            Self::Mirror => {
                let turn = at.rem_euclid(2 * n);
                Some(if turn < n { turn } else { 2 * n - 1 - turn } as usize)
            }
        }
    }
}

/// A rectangle in pixels from the top left corner; sides may be fractions of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelRect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl PixelRect {
    /// Whole pixels that it covers, as column and row ranges inside a `width` x `height` image: edges are rounded to the nearest.
    pub fn pixels(&self, width: usize, height: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let side = |from: f64, len: f64, limit: usize| {
            let start = from.round().clamp(0.0, limit as f64) as usize;
            let end = (from + len).round().clamp(0.0, limit as f64) as usize;
            start..end.max(start)
        };
        (side(self.x, self.width, width), side(self.y, self.height, height))
    }
}

/// Moves the image by `dx` pixels to the right and `dy` down; `edge` says what fills the hole.
pub fn shift(image: &ImageBuffer, dx: i64, dy: i64, edge: Edge) -> ImageBuffer {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let mut out = image.clone();
    let stride = width * channels;
    let columns: Vec<Option<usize>> = (0..width as i64).map(|x| edge.source(x.saturating_sub(dx), width)).collect();
    // The columns that come straight from the source are one block: copied at once.
    let first = dx.clamp(0, width as i64) as usize;
    let last = (width as i64).saturating_add(dx).clamp(0, width as i64) as usize;
    for (y, row) in out.pixels_mut().chunks_exact_mut(stride).enumerate() {
        let Some(from) = edge.source((y as i64).saturating_sub(dy), height) else {
            row.fill(0);
            continue;
        };
        let source = &image.pixels()[from * stride..(from + 1) * stride];
        let mut one = |x: usize| match columns[x] {
            Some(c) => row[x * channels..(x + 1) * channels].copy_from_slice(&source[c * channels..(c + 1) * channels]),
            None => row[x * channels..(x + 1) * channels].fill(0),
        };
        if first >= last {
            (0..width).for_each(one);
            continue;
        }
        (0..first).for_each(&mut one);
        (last..width).for_each(&mut one);
        let begin = (first as i64 - dx) as usize;
        row[first * channels..last * channels].copy_from_slice(&source[begin * channels..(begin + last - first) * channels]);
    }
    out
}

/// Mirrors left and right.
pub fn flip_horizontal(image: &ImageBuffer) -> ImageBuffer {
    let mut out = image.clone();
    flip_horizontal_in_place(&mut out);
    out
}

/// Mirrors left and right, where the image lies.
pub fn flip_horizontal_in_place(image: &mut ImageBuffer) {
    let (width, channels) = (image.width(), image.channels());
    for row in image.pixels_mut().chunks_exact_mut(width * channels) {
        match channels {
            1 => reverse::<1>(row),
            3 => reverse::<3>(row),
            _ => reverse::<4>(row),
        }
    }
}

/// Turns a row of pixels of `C` bytes round.
fn reverse<const C: usize>(row: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        let middle = unsafe { exchange_ends::<C>(row) };
        return row[middle].as_chunks_mut::<C>().0.reverse();
    }
    row.as_chunks_mut::<C>().0.reverse();
}

/// Exchanges pixels of both ends, turned round, as long as 16 of them fit twice; the bytes between are left as they are and returned.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn exchange_ends<const C: usize>(row: &mut [u8]) -> std::ops::Range<usize> {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_permutexvar_epi8};
    const PIXELS: usize = 16;
    let bytes = PIXELS * C;
    let mask = u64::MAX >> (64 - bytes);
    let mut order = [0u8; 64];
    for i in 0..bytes {
        order[i] = ((PIXELS - 1 - i / C) * C + i % C) as u8;
    }
    // SAFETY: it reads the 64 bytes of the array.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    let (mut start, mut end) = (0, row.len());
    while end - start >= 2 * bytes {
        let (left, right) = row.split_at_mut(end - bytes);
        let (left, right) = (&mut left[start..start + bytes], &mut right[..bytes]);
        // SAFETY: the mask keeps every load and store inside the bytes of its slice.
        unsafe {
            let a = _mm512_permutexvar_epi8(order, _mm512_maskz_loadu_epi8(mask, left.as_ptr().cast()));
            let b = _mm512_permutexvar_epi8(order, _mm512_maskz_loadu_epi8(mask, right.as_ptr().cast()));
            _mm512_mask_storeu_epi8(left.as_mut_ptr().cast(), mask, b);
            _mm512_mask_storeu_epi8(right.as_mut_ptr().cast(), mask, a);
        }
        (start, end) = (start + bytes, end - bytes);
    }
    start..end
}

/// Mirrors top and bottom.
pub fn flip_vertical(image: &ImageBuffer) -> ImageBuffer {
    let mut out = image.clone();
    flip_vertical_in_place(&mut out);
    out
}

/// Mirrors top and bottom, where the image lies.
pub fn flip_vertical_in_place(image: &mut ImageBuffer) {
    let stride = image.width() * image.channels();
    let half = image.height() / 2 * stride;
    let all = image.pixels_mut().len();
    let (upper, lower) = image.pixels_mut().split_at_mut(all - half);
    for (a, b) in upper.chunks_exact_mut(stride).zip(lower.chunks_exact_mut(stride).rev()) {
        a.swap_with_slice(b);
    }
}

/// Turns by quarters counter-clockwise (negative: clockwise); sides change places with an odd number.
pub fn turn(image: &ImageBuffer, quarters: i32) -> ImageBuffer {
    match image.channels() {
        1 => turned::<1>(image, quarters),
        3 => turned::<3>(image, quarters),
        _ => turned::<4>(image, quarters),
    }
}

fn turned<const C: usize>(image: &ImageBuffer, quarters: i32) -> ImageBuffer {
    let quarters = quarters.rem_euclid(4);
    let (width, height) = (image.width(), image.height());
    if quarters % 2 == 0 {
        let mut out = image.clone();
        if quarters == 2 {
            out.pixels_mut().as_chunks_mut::<C>().0.reverse();
        }
        return out;
    }
    let mut pixels = vec![0; image.pixels().len()];
    // In squares, so that the lines of both pictures stay in the cache.
    const TILE: usize = 16;
    let source = image.pixels().as_chunks::<C>().0;
    let target = pixels.as_chunks_mut::<C>().0;
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for y in top..(top + TILE).min(height) {
                for x in left..(left + TILE).min(width) {
                    let to = if quarters == 1 { (width - 1 - x) * height + y } else { x * height + height - 1 - y };
                    target[to] = source[y * width + x];
                }
            }
        }
    }
    // The same number of bytes, with the sides exchanged.
    ImageBuffer::new(height, width, C, pixels).unwrap_or_else(|_| image.clone())
}

impl PointMap {
    /// What [`turn`] does to the places of a `width` x `height` image.
    pub fn turn(width: usize, height: usize, quarters: i32) -> Self {
        let (w, h) = (width as f64, height as f64);
        Self::Projective(match quarters.rem_euclid(4) {
            0 => return Self::IDENTITY,
            1 => [0.0, 1.0, 0.0, -1.0, 0.0, w, 0.0, 0.0, 1.0],
            2 => [-1.0, 0.0, w, 0.0, -1.0, h, 0.0, 0.0, 1.0],
            _ => [0.0, -1.0, h, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    #[test]
    fn a_shift_fills_as_asked() {
        let row = ImageBuffer::new(4, 1, 1, vec![1, 2, 3, 4]).unwrap();
        let shifted = |dx, edge| shift(&row, dx, 0, edge).pixels().to_vec();
        assert_eq!(shifted(2, Edge::Extend), [1, 1, 1, 2]);
        assert_eq!(shifted(2, Edge::Zero), [0, 0, 1, 2]);
        assert_eq!(shifted(2, Edge::Wrap), [3, 4, 1, 2]);
        assert_eq!(shifted(2, Edge::Mirror), [2, 1, 1, 2]);
        assert_eq!(shifted(-1, Edge::Mirror), [2, 3, 4, 4]);
        assert_eq!(shifted(i64::MAX, Edge::Extend), [1, 1, 1, 1]);
        assert_eq!(shifted(i64::MIN, Edge::Zero), [0, 0, 0, 0]);
    }

    #[test]
    fn a_quarter_turn_by_hand() {
        let picture = ImageBuffer::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let turned = turn(&picture, 1);
        assert_eq!((turned.width(), turned.height(), turned.pixels()), (2, 3, &[3, 6, 2, 5, 1, 4][..]));
        assert_eq!(flip_vertical(&picture).pixels(), [4, 5, 6, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn turns_add_up_and_places_follow(w in 1usize..40, h in 1usize..40, c in prop::sample::select(vec![1usize, 3, 4]), q in -9i32..9, seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            let turned = turn(&picture, q);
            prop_assert_eq!(&turn(&turned, -q), &picture);
            prop_assert_eq!(&turn(&turn(&picture, 1), q - 1), &turned);
            let (x, y) = PointMap::turn(w, h, q).point(0.5, 0.5).unwrap();
            prop_assert_eq!(turned.pixel(x as usize, y as usize), picture.pixel(0, 0));
            prop_assert_eq!(flip_vertical(&flip_vertical(&picture)), picture);
        }
    }

    proptest! {
        #[test]
        fn flipping_twice_is_the_identity(width in 1usize..9, height in 1usize..5, c in prop::sample::select(vec![1usize, 3, 4]), seed in 0u64..99) {
            let picture = image(width, height, c, seed);
            let flipped = flip_horizontal(&picture);
            prop_assert_eq!(flipped.pixel(0, 0), picture.pixel(width - 1, 0));
            prop_assert_eq!(flip_horizontal(&flipped), picture);
        }

        #[test]
        fn a_wrapped_shift_goes_back(width in 1usize..9, height in 1usize..5, dx in -20i64..20, dy in -20i64..20, seed in 0u64..99) {
            let picture = image(width, height, 3, seed);
            let there = shift(&picture, dx, dy, Edge::Wrap);
            prop_assert_eq!(shift(&there, -dx, -dy, Edge::Wrap), picture);
        }

        #[test]
        fn every_edge_agrees_with_its_definition(width in 1usize..9, dx in -20i64..20, edge in prop::sample::select(vec![Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror]), seed in 0u64..99) {
            let picture = image(width, 1, 3, seed);
            let moved = shift(&picture, dx, 0, edge);
            for x in 0..width {
                let expected = edge.source(x as i64 - dx, width).map_or(vec![0; 3], |c| picture.pixel(c, 0).to_vec());
                prop_assert_eq!(moved.pixel(x, 0), &expected[..]);
            }
        }
    }
}
