//! One core for every geometric change: for each pixel of the result its place in the source, and the source read there.

use super::super::map::PointMap;
use super::Edge;
use crate::{
    augment::wide::wide,
    error::{Error, Result},
    sample::ImageBuffer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a picture is read between its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// From the four pixels around.
    #[default]
    Bilinear,
    /// The nearest pixel: for masks, whose values are names.
    Nearest,
}

/// Places are counted in 128ths of a pixel.
pub(super) const BITS: u32 = 7;
pub(super) const ONE: i32 = 1 << BITS;

/// Rounds numbers to whole ones; what lies beyond four million is cut, NaN goes to the lower end.
#[inline(always)]
fn rounded(value: f32) -> i32 {
    (value.max(-4_000_000.0).min(4_000_000.0) + 12_582_912.0).to_bits().wrapping_sub(0x4b40_0000) as i32
}

wide! {
    /// Places in 128ths of pixels, counted from the centre of the first pixel, of a row of the result under a projective map.
    fn projected(matrix: &[f64; 9], y: usize, xs: &mut [i32], ys: &mut [i32]) {
        let line = y as f64 + 0.5;
        let start = |i: usize| (matrix[i] * 0.5 + matrix[i + 1] * line + matrix[i + 2]) as f32;
        let step = |i: usize| matrix[i] as f32;
        let (u, v, w) = (start(0), start(3), start(6));
        let (du, dv, dw) = (step(0), step(3), step(6));
        let one = ONE as f32;
        let count = xs.len().min(ys.len());
        let (xs, ys) = (&mut xs[..count], &mut ys[..count]);
        if dw == 0.0 {
            let (a, b, c, d) = (du / w * one, u / w * one - 0.5 * one, dv / w * one, v / w * one - 0.5 * one);
            for i in 0..count {
                let at = i as u32 as i32 as f32;
                xs[i] = rounded(b + a * at);
                ys[i] = rounded(d + c * at);
            }
        } else {
            for i in 0..count {
                let at = i as u32 as i32 as f32;
                let scale = one / (w + dw * at);
                xs[i] = rounded((u + du * at) * scale - 0.5 * one);
                ys[i] = rounded((v + dv * at) * scale - 0.5 * one);
            }
        }
    }
}

wide! {
    /// The same for a row whose pixels come from `dx` and `dy` pixels away.
    fn displaced(y: usize, dx: &[f32], dy: &[f32], xs: &mut [i32], ys: &mut [i32]) {
        let (one, line) = (ONE as f32, y as f32);
        let count = xs.len().min(ys.len());
        let (dx, dy, xs, ys) = (&dx[..count], &dy[..count], &mut xs[..count], &mut ys[..count]);
        for i in 0..count {
            xs[i] = rounded((i as u32 as i32 as f32 + dx[i]) * one);
            ys[i] = rounded((line + dy[i]) * one);
        }
    }
}

/// Moves the pixels of an image by `map` (from places in the image to places in the result) onto a picture of `width` x `height`; `edge`
/// stands outside the source. Errors for a map without an inverse and an empty size.
///
/// Places are rounded to 128ths of a pixel; weights multiply exactly, and the sum is rounded once.
pub fn warp(image: &ImageBuffer, map: &PointMap, width: usize, height: usize, edge: Edge, sampling: Sampling) -> Result<ImageBuffer> {
    let fill = |xs: &mut [i32], ys: &mut [i32], y: usize, rows: &mut [Vec<f32>; 3]| match map {
        PointMap::Projective(_) => {}
        PointMap::Field(field) => {
            let [dx, dy, nodes] = rows;
            field.row(y, dx, dy, nodes);
            displaced(y, dx, dy, xs, ys);
        }
    };
    let inverse = match map {
        PointMap::Projective(matrix) => {
            let back = super::super::map::inverse(matrix);
            Some(back.ok_or_else(|| Error::data("an image cannot be moved by a map that has no inverse"))?)
        }
        PointMap::Field(_) => None,
    };
    let mut out = ImageBuffer::filled(width, height, image.channels(), 0).map_err(Error::data)?;
    let source = Source { pixels: image.pixels(), width: image.width(), height: image.height(), edge };
    #[cfg(target_arch = "x86_64")]
    let gathers = super::gather::serves(image);
    #[cfg(not(target_arch = "x86_64"))]
    let gathers = false;
    let (mut xs, mut ys) = (vec![0i32; width], vec![0i32; width]);
    let mut rows = [vec![0f32; width], vec![0f32; width], Vec::new()];
    let stride = width * image.channels();
    for (y, target) in out.pixels_mut().chunks_exact_mut(stride).enumerate() {
        match &inverse {
            Some(matrix) => projected(matrix, y, &mut xs, &mut ys),
            None => fill(&mut xs, &mut ys, y, &mut rows),
        }
        match (image.channels(), sampling) {
            (1, Sampling::Bilinear) => source.bilinear::<1>(&xs, &ys, target, gathers),
            (3, Sampling::Bilinear) => source.bilinear::<3>(&xs, &ys, target, gathers),
            (_, Sampling::Bilinear) => source.bilinear::<4>(&xs, &ys, target, gathers),
            (1, Sampling::Nearest) => source.nearest::<1>(&xs, &ys, target),
            (3, Sampling::Nearest) => source.nearest::<3>(&xs, &ys, target),
            (_, Sampling::Nearest) => source.nearest::<4>(&xs, &ys, target),
        }
    }
    Ok(out)
}

struct Source<'a> {
    pixels: &'a [u8],
    width: usize,
    height: usize,
    edge: Edge,
}

impl Source<'_> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, unused_mut))]
    fn bilinear<const C: usize>(&self, xs: &[i32], ys: &[i32], target: &mut [u8], gathers: bool) {
        let pixels = target.as_chunks_mut::<C>().0;
        let mut start = 0;
        #[cfg(target_arch = "x86_64")]
        if gathers {
            // Eight at a time; those of which one lies at an edge go one by one.
            let (eights, _) = pixels.as_chunks_mut::<{ super::gather::LANES }>();
            let (xs, ys) = (&xs.as_chunks().0[..eights.len()], &ys.as_chunks().0[..eights.len()]);
            for i in 0..eights.len() {
                // SAFETY: `serves` said that the processor has the features.
                let done = unsafe { super::gather::bilinear::<C>(self.pixels, self.width, self.height, &xs[i], &ys[i], &mut eights[i]) };
                // The result is made of zeros.
                let stays = self.edge == Edge::Zero && !done && self.all_outside(&xs[i], &ys[i]);
                if !done && !stays {
                    self.one_by_one(&xs[i], &ys[i], &mut eights[i]);
                }
            }
            start = eights.len() * super::gather::LANES;
        }
        self.one_by_one(&xs[start..], &ys[start..], &mut pixels[start..]);
    }

    fn one_by_one<const C: usize>(&self, xs: &[i32], ys: &[i32], pixels: &mut [[u8; C]]) {
        let stride = self.width * C;
        let (right, low) = ((self.width - 1) as u32, (self.height - 1) as u32);
        let (xs, ys) = (&xs[..pixels.len()], &ys[..pixels.len()]);
        for i in 0..pixels.len() {
            let (x, y, pixel) = (xs[i], ys[i], &mut pixels[i]);
            let (column, row) = (x >> BITS, y >> BITS);
            let (fx, fy) = (x & (ONE - 1), y & (ONE - 1));
            if (column as u32) < right && (row as u32) < low {
                let at = row as usize * stride + column as usize * C;
                if let (Some(top), Some(bottom)) = (eight(self.pixels, at), eight(self.pixels, at.wrapping_add(stride))) {
                    *pixel = blend(top, bottom, fx, fy);
                    continue;
                }
            }
            *pixel = self.at_edge(column, row, fx, fy);
        }
    }

    /// Whether none of the pixels around any of the places lies inside.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn all_outside(&self, xs: &[i32; super::gather::LANES], ys: &[i32; super::gather::LANES]) -> bool {
        let (width, height) = (self.width.min(1 << 23) as i32, self.height.min(1 << 23) as i32);
        let mut all = true;
        for i in 0..super::gather::LANES {
            let (column, row) = (xs[i] >> BITS, ys[i] >> BITS);
            all &= column < -1 || column >= width || row < -1 || row >= height;
        }
        all
    }

    /// Where one of the four pixels lies outside, or too close to the end of the buffer.
    #[cold]
    #[inline(never)]
    fn at_edge<const C: usize>(&self, column: i32, row: i32, fx: i32, fy: i32) -> [u8; C] {
        let outside = |at: i32, len: usize| at < -1 || i64::from(at) >= len as i64;
        if self.edge == Edge::Zero && (outside(column, self.width) || outside(row, self.height)) {
            return [0; C];
        }
        let columns = [0, 1].map(|d| self.edge.source(i64::from(column) + d, self.width));
        let rows = [0, 1].map(|d| self.edge.source(i64::from(row) + d, self.height));
        let tap = |x: Option<usize>, y: Option<usize>, c: usize| match (x, y) {
            (Some(x), Some(y)) => i32::from(self.pixels[(y * self.width + x) * C + c]),
            _ => 0,
        };
        std::array::from_fn(|c| {
            let down = |x| tap(x, rows[0], c) * (ONE - fy) + tap(x, rows[1], c) * fy;
            ((down(columns[0]) * (ONE - fx) + down(columns[1]) * fx + ONE * ONE / 2) >> (2 * BITS)) as u8
        })
    }

    fn nearest<const C: usize>(&self, xs: &[i32], ys: &[i32], target: &mut [u8]) {
        for ((pixel, &x), &y) in target.as_chunks_mut::<C>().0.iter_mut().zip(xs).zip(ys) {
            let place = |at: i32, len| self.edge.source(i64::from((at + ONE / 2) >> BITS), len);
            if let (Some(column), Some(row)) = (place(x, self.width), place(y, self.height)) {
                let at = (row * self.width + column) * C;
                pixel.copy_from_slice(&self.pixels[at..at + C]);
            }
        }
    }
}

#[inline(always)]
fn eight(pixels: &[u8], at: usize) -> Option<&[u8; 8]> {
    pixels.get(at..)?.first_chunk()
}

/// Two pixels above, two below: first down, then across, in whole numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn blend<const C: usize>(top: &[u8; 8], bottom: &[u8; 8], fx: i32, fy: i32) -> [u8; C] {
    use std::arch::x86_64::{
        _mm_add_epi16, _mm_add_epi32, _mm_cvtsi64_si128, _mm_cvtsi128_si32, _mm_madd_epi16, _mm_mullo_epi16, _mm_packs_epi32,
        _mm_packus_epi16, _mm_set1_epi16, _mm_set1_epi32, _mm_setzero_si128, _mm_srai_epi32, _mm_srli_si128, _mm_unpacklo_epi8,
        _mm_unpacklo_epi16,
    };
    // SAFETY: SSE2 is part of every 64-bit x86 processor; no memory is touched but by value.
    let bytes = unsafe {
        let zero = _mm_setzero_si128();
        let wide = |eight: &[u8; 8]| _mm_unpacklo_epi8(_mm_cvtsi64_si128(i64::from_le_bytes(*eight)), zero);
        // At most 255 * 128: fits 16 bits with a sign.
        let down = _mm_add_epi16(
            _mm_mullo_epi16(wide(top), _mm_set1_epi16((ONE - fy) as i16)),
            _mm_mullo_epi16(wide(bottom), _mm_set1_epi16(fy as i16)),
        );
        let next = match C {
            1 => _mm_srli_si128::<2>(down),
            3 => _mm_srli_si128::<6>(down),
            _ => _mm_srli_si128::<8>(down),
        };
        let across = _mm_madd_epi16(_mm_unpacklo_epi16(down, next), _mm_set1_epi32((fx << 16) | (ONE - fx)));
        let sum = _mm_srai_epi32::<{ 2 * BITS as i32 }>(_mm_add_epi32(across, _mm_set1_epi32(ONE * ONE / 2)));
        _mm_cvtsi128_si32(_mm_packus_epi16(_mm_packs_epi32(sum, zero), zero)).to_le_bytes()
    };
    std::array::from_fn(|c| bytes[c])
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn blend<const C: usize>(top: &[u8; 8], bottom: &[u8; 8], fx: i32, fy: i32) -> [u8; C] {
    let down: [i32; 8] = std::array::from_fn(|i| i32::from(top[i]) * (ONE - fy) + i32::from(bottom[i]) * fy);
    std::array::from_fn(|c| ((down[c] * (ONE - fx) + down[c + C] * fx + ONE * ONE / 2) >> (2 * BITS)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    #[test]
    fn half_a_pixel_is_the_mean() {
        let row = ImageBuffer::new(3, 1, 1, vec![10, 20, 41]).unwrap();
        let moved = |dx: f64, edge| warp(&row, &PointMap::shift(dx, 0.0), 3, 1, edge, Sampling::Bilinear).unwrap().pixels().to_vec();
        assert_eq!(moved(-0.5, Edge::Extend), [15, 31, 41]);
        assert_eq!(moved(0.5, Edge::Zero), [5, 15, 31]);
        assert_eq!(moved(1.0, Edge::Wrap), [41, 10, 20]);
        assert_eq!(moved(-2.0, Edge::Mirror), [41, 41, 20]);
        let nearest = warp(&row, &PointMap::shift(0.4, 0.0), 3, 1, Edge::Zero, Sampling::Nearest).unwrap();
        assert_eq!(nearest, row);
    }

    #[test]
    fn a_map_without_inverse_is_refused() {
        let picture = image(4, 4, 3, 1);
        let flat = PointMap::Projective([0.0; 9]);
        assert!(warp(&picture, &flat, 4, 4, Edge::Zero, Sampling::Bilinear).is_err());
        assert!(warp(&picture, &PointMap::IDENTITY, 0, 4, Edge::Zero, Sampling::Bilinear).is_err());
    }

    proptest! {
        #[test]
        fn whole_steps_move_whole_pixels(w in 1usize..9, h in 1usize..9, c in prop::sample::select(vec![1usize, 3, 4]), dx in -9i64..9, dy in -9i64..9,
            edge in prop::sample::select(vec![Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror]), seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            for sampling in [Sampling::Bilinear, Sampling::Nearest] {
                let moved = warp(&picture, &PointMap::shift(dx as f64, dy as f64), w, h, edge, sampling).unwrap();
                prop_assert_eq!(moved, super::super::shift(&picture, dx, dy, edge));
            }
        }

        /// Eight pixels at once are the pixels that come one by one.
        #[cfg(target_arch = "x86_64")]
        #[test]
        fn both_ways_agree(w in 1usize..40, h in 1usize..40, c in prop::sample::select(vec![1usize, 3, 4]), turn in -3.0f64..3.0, size in 0.4f64..2.0,
            edge in prop::sample::select(vec![Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror]), seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            let source = Source { pixels: picture.pixels(), width: w, height: h, edge };
            let (sin, cos) = turn.sin_cos();
            let matrix = [cos * size, -sin * size, 3.0, sin * size, cos * size, 1.0, 0.001, 0.002, 1.0];
            let (mut xs, mut ys) = ([0; 37], [0; 37]);
            let row = |xs: &[i32], ys: &[i32], gathers| {
                let mut out = vec![0; 37 * c];
                match c {
                    1 => source.bilinear::<1>(xs, ys, &mut out, gathers),
                    3 => source.bilinear::<3>(xs, ys, &mut out, gathers),
                    _ => source.bilinear::<4>(xs, ys, &mut out, gathers),
                }
                out
            };
            for y in 0..h {
                projected(&matrix, y, &mut xs, &mut ys);
                prop_assert_eq!(row(&xs, &ys, super::super::gather::serves(&picture)), row(&xs, &ys, false));
            }
        }

        #[test]
        fn any_map_is_survived(w in 1usize..9, h in 1usize..9, c in prop::sample::select(vec![1usize, 3, 4]), m in prop::array::uniform9(-1e6f64..1e6)) {
            let picture = image(w, h, c, 3);
            for edge in [Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror] {
                let _ = warp(&picture, &PointMap::Projective(m), 5, 3, edge, Sampling::Bilinear);
                let _ = warp(&picture, &PointMap::Projective(m), 5, 3, edge, Sampling::Nearest);
            }
        }
    }
}
