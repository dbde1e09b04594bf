use crate::{
    error::{Error, Result},
    sample::ImageBuffer,
};
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
    let (width, channels) = (image.width(), image.channels());
    let mut out = image.clone();
    for row in out.pixels_mut().chunks_exact_mut(width * channels) {
        match channels {
            1 => row.reverse(),
            3 => row.as_chunks_mut::<3>().0.reverse(),
            _ => row.as_chunks_mut::<4>().0.reverse(),
        }
    }
    out
}

/// Cuts out `rect` and brings it to `width` x `height` pixels: bilinear between pixel centres, and where it shrinks a mean over the covered
/// pixels' centres (a triangle filter as wide as one output pixel). Edge pixels extend outside. Errors for a rectangle without area or an
/// empty size.
pub fn crop_resize(image: &ImageBuffer, rect: PixelRect, width: usize, height: usize) -> Result<ImageBuffer> {
    let finite = [rect.x, rect.y, rect.width, rect.height].iter().all(|v| v.is_finite());
    if !finite || rect.width <= 0.0 || rect.height <= 0.0 || width == 0 || height == 0 {
        return Err(Error::data(format!(
            "cannot bring a {}x{} cut at ({}, {}) to {width}x{height} pixels: all sides must be above 0",
            rect.width, rect.height, rect.x, rect.y
        )));
    }
    let channels = image.channels();
    let (from_width, from_height) = (image.width(), image.height());
    let columns = taps(rect.x, rect.width, width, from_width);
    let rows = taps(rect.y, rect.height, height, from_height);
    let mut out = ImageBuffer::filled(width, height, channels, 0).map_err(Error::data)?;
    // First along y into one float row, then along x.
    let mut row = vec![0f32; from_width * channels];
    for (target, taps) in out.pixels_mut().chunks_exact_mut(width * channels).zip(&rows) {
        row.fill(0.0);
        for (source, weight) in taps {
            let source = &image.pixels()[source * from_width * channels..(source + 1) * from_width * channels];
            row.iter_mut().zip(source).for_each(|(sum, p)| *sum += weight * f32::from(*p));
        }
        for (pixel, taps) in target.chunks_exact_mut(channels).zip(&columns) {
            for (c, value) in pixel.iter_mut().enumerate() {
                let sum: f32 = taps.iter().map(|(x, weight)| weight * row[x * channels + c]).sum();
                *value = sum.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    Ok(out)
}

/// For each output place the source places and their weights, which sum to 1.
fn taps(from: f64, length: f64, places: usize, limit: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = length / places as f64;
    let reach = scale.max(1.0);
    (0..places)
        .map(|i| {
            let centre = from + (i as f64 + 0.5) * scale - 0.5;
            let (first, last) = ((centre - reach).ceil() as i64, (centre + reach).floor() as i64);
            let mut taps: Vec<(usize, f64)> = Vec::new();
            for at in first..=last {
                let weight = 1.0 - (at as f64 - centre).abs() / reach;
                let place = at.clamp(0, limit as i64 - 1) as usize;
                match taps.last_mut() {
                    Some((own, sum)) if *own == place => *sum += weight,
                    _ => taps.push((place, weight)),
                }
            }
            taps.retain(|(_, weight)| *weight > 0.0);
            let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
            taps.into_iter().map(|(place, weight)| (place, (weight / total) as f32)).collect()
        })
        .collect()
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
    fn a_cut_of_everything_is_the_image() {
        let picture = image(7, 5, 3, 1);
        let whole = PixelRect { x: 0.0, y: 0.0, width: 7.0, height: 5.0 };
        assert_eq!(crop_resize(&picture, whole, 7, 5).unwrap(), picture);
        assert!(crop_resize(&picture, PixelRect { width: 0.0, ..whole }, 7, 5).is_err());
    }

    #[test]
    fn halving_takes_the_triangle_mean() {
        let row = ImageBuffer::new(4, 1, 1, vec![0, 100, 200, 40]).unwrap();
        let half = crop_resize(&row, PixelRect { x: 0.0, y: 0.0, width: 4.0, height: 1.0 }, 2, 1).unwrap();
        // Centre 0.5, reach 2: places -1 (extends 0), 0, 1, 2 with weights 1/4, 3/4, 3/4, 1/4 over 2: 62.5, and the other end likewise.
        assert_eq!(half.pixels(), [63, 108]);
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

        #[test]
        fn resizing_stays_between_least_and_greatest(seed in 0u64..99, x in -2.0f64..5.0, w in 0.5f64..9.0, out in 1usize..12) {
            let picture = image(6, 6, 1, seed);
            let cut = crop_resize(&picture, PixelRect { x, y: 1.0, width: w, height: 3.0 }, out, out).unwrap();
            let (low, high) = (picture.pixels().iter().min().unwrap(), picture.pixels().iter().max().unwrap());
            prop_assert!(cut.pixels().iter().all(|p| p >= low && p <= high));
        }
    }
}
