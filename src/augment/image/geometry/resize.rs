use super::{Edge, PixelRect};
use crate::{
    augment::image::wide::{high_half, wide},
    error::{Error, Result},
    sample::ImageBuffer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pixels are weighed when the size changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel alone.
    Nearest,
    /// The two pixels around along each axis, however much it shrinks: quick, but fine patterns alias.
    Bilinear,
    /// Bilinear where it grows; where it shrinks a triangle as wide as an output pixel on both sides, so that nothing aliases much.
    #[default]
    Triangle,
    /// The mean over the area that an output pixel covers; bilinear where it grows.
    Area,
}

/// Cuts out `rect` and brings it to `width` x `height` pixels with [`Filter::Triangle`]: bilinear between pixel centres, and where it shrinks
/// a mean over the covered pixels' centres. Edge pixels extend outside. Errors for a rectangle without area or an empty size.
pub fn crop_resize(image: &ImageBuffer, rect: PixelRect, width: usize, height: usize) -> Result<ImageBuffer> {
    crop_resize_by(image, rect, width, height, Filter::Triangle)
}

/// The whole image at another size. Errors for an empty size.
pub fn resize(image: &ImageBuffer, width: usize, height: usize, filter: Filter) -> Result<ImageBuffer> {
    let whole = PixelRect { x: 0.0, y: 0.0, width: image.width() as f64, height: image.height() as f64 };
    crop_resize_by(image, whole, width, height, filter)
}

/// Shrinks to `share` (above 0, at most 1) of both sides and back: detail is gone, the size stays (the corruption "pixelate" where `up` is
/// [`Filter::Nearest`]). A share outside its range counts as the nearest inside; NaN as 1.
pub fn resize_down_up(image: &ImageBuffer, share: f64, down: Filter, up: Filter) -> Result<ImageBuffer> {
    let share = if share.is_nan() { 1.0 } else { share };
    let side = |n: usize| ((n as f64 * share).round() as usize).clamp(1, n);
    let small = resize(image, side(image.width()), side(image.height()), down)?;
    resize(&small, image.width(), image.height(), up)
}

/// [`crop_resize`] with a filter of choice. Weights are 16-bit fractions, sums keep 8 bits behind the point, and are rounded once.
pub fn crop_resize_by(image: &ImageBuffer, rect: PixelRect, width: usize, height: usize, filter: Filter) -> Result<ImageBuffer> {
    let finite = [rect.x, rect.y, rect.width, rect.height].iter().all(|v| v.is_finite());
    if !finite || rect.width <= 0.0 || rect.height <= 0.0 || width == 0 || height == 0 {
        return Err(Error::data(format!(
            "cannot bring a {}x{} cut at ({}, {}) to {width}x{height} pixels: all sides must be above 0",
            rect.width, rect.height, rect.x, rect.y
        )));
    }
    let channels = image.channels();
    let columns = taps(rect.x, rect.width, width, image.width(), filter);
    let rows = taps(rect.y, rect.height, height, image.height(), filter);
    let mut out = ImageBuffer::filled(width, height, channels, 0).map_err(Error::data)?;
    match channels {
        1 => resample::<1>(image, &columns, &rows, out.pixels_mut()),
        3 => resample::<3>(image, &columns, &rows, out.pixels_mut()),
        _ => resample::<4>(image, &columns, &rows, out.pixels_mut()),
    }
    Ok(out)
}

/// The source places of one output place: the first, and weights of 65,536.
struct Taps {
    first: usize,
    weights: Vec<u16>,
}

/// For each output place the source places and their weights.
fn taps(from: f64, length: f64, places: usize, limit: usize, filter: Filter) -> Vec<Taps> {
    let scale = length / places as f64;
    let last = limit as i64 - 1;
    // Beyond the image everything is the edge pixel: weights need no more than it has places.
    let side = (limit as f64) * 2.0 + 2.0;
    let mut found: Vec<f64> = Vec::new();
    (0..places)
        .map(|i| {
            let centre = from + (i as f64 + 0.5) * scale - 0.5;
            let centre = centre.clamp(-side, side * 2.0);
            let (low, high, weigh): (i64, i64, Box<dyn Fn(f64) -> f64>) = match filter {
                Filter::Nearest => {
                    let at = (centre + 0.5).floor() as i64;
                    (at, at, Box::new(|_| 1.0))
                }
                Filter::Area if scale > 1.0 => {
                    let (start, end) = (centre + 0.5 - scale / 2.0, centre + 0.5 + scale / 2.0);
                    let cover = move |at: f64| (end.min(at + 1.0) - start.max(at)).max(0.0);
                    (start.floor() as i64, end.ceil() as i64, Box::new(cover))
                }
                _ => {
                    let reach = if filter == Filter::Triangle { scale.max(1.0) } else { 1.0 };
                    ((centre - reach).ceil() as i64, (centre + reach).floor() as i64, Box::new(move |at| 1.0 - (at - centre).abs() / reach))
                }
            };
            let first = low.clamp(0, last);
            found.clear();
            found.resize((high.clamp(0, last) - first) as usize + 1, 0.0);
            // A cut far larger than the image would visit many places outside: those count together.
            for at in low.max(-side as i64)..=high.min(2 * side as i64) {
                found[(at.clamp(0, last) - first) as usize] += weigh(at as f64).max(0.0);
            }
            Taps { first: first as usize, weights: shares(&found) }
        })
        .collect()
}

/// Weights as 65,536ths whose sum is 65,536 (65,535 for a single one, which still gives back every byte).
fn shares(weights: &[f64]) -> Vec<u16> {
    let total: f64 = weights.iter().sum();
    if !(total.is_finite() && total > 0.0) {
        let mut first = vec![0; weights.len()];
        first.iter_mut().take(1).for_each(|w| *w = u16::MAX);
        return first;
    }
    let mut out: Vec<i64> = weights.iter().map(|w| (w / total * 65_536.0).round() as i64).collect();
    let missing = 65_536 - out.iter().sum::<i64>();
    if let Some(largest) = out.iter_mut().max() {
        *largest += missing;
    }
    out.into_iter().map(|w| w.clamp(0, 65_535) as u16).collect()
}

/// Up to so many products are cut to 16 bits each, which loses less than 8/256 of a value; more of them are summed with 32 bits.
const FEW: usize = 8;

/// Lanes of a sum along x.
const LANES: usize = 8;

fn resample<const C: usize>(image: &ImageBuffer, columns: &[Taps], rows: &[Taps], out: &mut [u8]) {
    let stride = image.width() * C;
    let from = columns.iter().map(|t| t.first).min().unwrap_or(0);
    let to = columns.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(1);
    // Eight lanes hold eight gray pixels, or two of three or four channels.
    let together = if C == 1 { LANES } else { 2 };
    let vectors = columns.iter().map(|t| t.weights.len().div_ceil(together)).max().unwrap_or(1);
    let mut weights = vec![[0u16; LANES]; vectors * columns.len()];
    for (lanes, taps) in weights.chunks_exact_mut(vectors).zip(columns) {
        for (i, weight) in taps.weights.iter().enumerate() {
            lanes[i / together][i % together * C..][..C].fill(*weight);
        }
    }
    let starts: Vec<usize> = columns.iter().map(|t| (t.first - from) * C).collect();
    let most = columns.iter().map(|t| t.weights.len()).max().unwrap_or(1);
    let used = (to - from) * C;
    let mut row = vec![0u16; used + vectors * LANES];
    for (target, taps) in out.chunks_exact_mut(columns.len() * C).zip(rows) {
        down(&image.pixels()[taps.first * stride + from * C..], stride, &taps.weights, &mut row[..used]);
        if most <= FEW {
            across::<C>(&row, &starts, &weights, vectors, 128 + most as u16, target);
        } else {
            across_many::<C>(&row, &starts, &weights, vectors, target);
        }
    }
}

wide! {
    /// Weighted sum of rows, 8 bits behind the point.
    fn down(source: &[u8], stride: usize, weights: &[u16], out: &mut [u16]) {
        const BLOCK: usize = 32;
        let len = out.len();
        if weights.len() > FEW {
            for (i, out) in out.chunks_mut(BLOCK).enumerate() {
                let mut sum = [128u32; BLOCK];
                for (t, weight) in weights.iter().enumerate() {
                    let Some(source) = source.get(t * stride + i * BLOCK..) else { continue };
                    let source = &source[..source.len().min(out.len())];
                    for (sum, p) in sum.iter_mut().zip(source) {
                        *sum = sum.wrapping_add(u32::from(*p).wrapping_mul(u32::from(*weight)));
                    }
                }
                out.iter_mut().zip(sum).for_each(|(o, s)| *o = (s >> 8) as u16);
            }
            return;
        }
        // As much as the cut products lose at the most, so that halves are rounded up.
        let bias = weights.len() as u16;
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        for (i, block) in blocks.iter_mut().enumerate() {
            let mut sum = [bias; BLOCK];
            for (t, weight) in weights.iter().enumerate() {
                let Some(source) = source.get(t * stride + i * BLOCK..).and_then(|s| s.first_chunk::<BLOCK>()) else { continue };
                for (sum, p) in sum.iter_mut().zip(source) {
                    *sum = sum.wrapping_add(high_half(u16::from(*p) << 8, *weight));
                }
            }
            *block = sum;
        }
        let start = len - rest.len();
        for (i, out) in rest.iter_mut().enumerate() {
            *out = weights.iter().enumerate().fold(bias, |sum, (t, weight)| {
                sum.wrapping_add(high_half(u16::from(source[t * stride + start + i]) << 8, *weight))
            });
        }
    }
}

wide! {
    /// Weighted sum along a row.
    fn across[const C: usize](row: &[u16], starts: &[usize], weights: &[[u16; LANES]], vectors: usize, bias: u16, target: &mut [u8]) {
        let pixels = target.as_chunks_mut::<C>().0;
        for ((pixel, start), weights) in pixels.iter_mut().zip(starts).zip(weights.chunks_exact(vectors)) {
            let mut sum = [0u16; LANES];
            let mut at = *start;
            for weights in weights {
                if let Some(values) = row.get(at..).and_then(|r| r.first_chunk::<LANES>()) {
                    for i in 0..LANES {
                        sum[i] = sum[i].wrapping_add(high_half(values[i], weights[i]));
                    }
                }
                at += if C == 1 { LANES } else { 2 * C };
            }
            for (c, value) in pixel.iter_mut().enumerate() {
                let all = if C == 1 { sum.iter().fold(0, |a: u16, b| a.wrapping_add(*b)) } else { sum[c].wrapping_add(sum[c + C]) };
                *value = (all.wrapping_add(bias) >> 8) as u8;
            }
        }
    }
}

wide! {
    /// The same with 32 bits.
    fn across_many[const C: usize](row: &[u16], starts: &[usize], weights: &[[u16; LANES]], vectors: usize, target: &mut [u8]) {
        let pixels = target.as_chunks_mut::<C>().0;
        for ((pixel, start), weights) in pixels.iter_mut().zip(starts).zip(weights.chunks_exact(vectors)) {
            let mut sum = [0u32; LANES];
            let mut at = *start;
            for weights in weights {
                if let Some(values) = row.get(at..).and_then(|r| r.first_chunk::<LANES>()) {
                    for i in 0..LANES {
                        sum[i] = sum[i].wrapping_add(u32::from(values[i]).wrapping_mul(u32::from(weights[i])));
                    }
                }
                at += if C == 1 { LANES } else { 2 * C };
            }
            for (c, value) in pixel.iter_mut().enumerate() {
                let all = if C == 1 { sum.iter().fold(0, |a: u32, b| a.wrapping_add(*b)) } else { sum[c].wrapping_add(sum[c + C]) };
                *value = (all.saturating_add(1 << 23) >> 24) as u8;
            }
        }
    }
}

/// Cuts out whole pixels: `rect` rounded to them and cut at the border. Errors where nothing is left.
pub fn crop(image: &ImageBuffer, rect: PixelRect) -> Result<ImageBuffer> {
    let channels = image.channels();
    let (columns, rows) = rect.pixels(image.width(), image.height());
    if columns.is_empty() || rows.is_empty() {
        return Err(Error::data(format!("nothing of a {}x{} image is left of a cut at {rect:?}", image.width(), image.height())));
    }
    let stride = image.width() * channels;
    let mut pixels = Vec::with_capacity(columns.len() * rows.len() * channels);
    for y in rows.clone() {
        pixels.extend_from_slice(&image.pixels()[y * stride + columns.start * channels..y * stride + columns.end * channels]);
    }
    ImageBuffer::new(columns.len(), rows.len(), channels, pixels).map_err(Error::data)
}

/// How many pixels are added at each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sides {
    /// Left.
    pub left: usize,
    /// Above.
    pub top: usize,
    /// Right.
    pub right: usize,
    /// Below.
    pub bottom: usize,
}

/// Adds pixels around the image: `edge` says what they show, and with [`Edge::Zero`] they have the first channels of `colour`. Errors for a
/// result beyond what fits into memory.
pub fn pad(image: &ImageBuffer, sides: Sides, edge: Edge, colour: [u8; 4]) -> Result<ImageBuffer> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let wide = sides.left.checked_add(width).and_then(|n| n.checked_add(sides.right));
    let high = sides.top.checked_add(height).and_then(|n| n.checked_add(sides.bottom));
    let bytes = wide.zip(high).and_then(|(w, h)| w.checked_mul(h)?.checked_mul(channels)).filter(|n| *n <= isize::MAX as usize / 2);
    let (Some(wide), Some(high), Some(bytes)) = (wide, high, bytes) else {
        return Err(Error::data(format!(
            "an image of {width}x{height} pixels cannot be padded by {sides:?}: it would not fit into memory"
        )));
    };
    let mut pixels = Vec::new();
    if pixels.try_reserve_exact(bytes).is_err() {
        return Err(Error::data(format!("a padded image of {wide}x{high} pixels does not fit into memory")));
    }
    let colour = &colour[..channels];
    let source = |at: usize, before: usize, len| edge.source(at as i64 - before as i64, len);
    for y in 0..high {
        let Some(from) = source(y, sides.top, height) else {
            (0..wide).for_each(|_| pixels.extend_from_slice(colour));
            continue;
        };
        let row = &image.pixels()[from * width * channels..(from + 1) * width * channels];
        let outside = |places: std::ops::Range<usize>, pixels: &mut Vec<u8>| {
            for x in places {
                let pixel = source(x, sides.left, width).map_or(colour, |c| &row[c * channels..(c + 1) * channels]);
                pixels.extend_from_slice(pixel);
            }
        };
        outside(0..sides.left, &mut pixels);
        pixels.extend_from_slice(row);
        outside(sides.left + width..wide, &mut pixels);
    }
    ImageBuffer::new(wide, high, channels, pixels).map_err(Error::data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    const ALL: [Filter; 4] = [Filter::Nearest, Filter::Bilinear, Filter::Triangle, Filter::Area];

    #[test]
    fn a_cut_of_everything_is_the_image() {
        let picture = image(7, 5, 3, 1);
        let whole = PixelRect { x: 0.0, y: 0.0, width: 7.0, height: 5.0 };
        assert_eq!(crop_resize(&picture, whole, 7, 5).unwrap(), picture);
        assert!(crop_resize(&picture, PixelRect { width: 0.0, ..whole }, 7, 5).is_err());
        assert!(resize(&picture, 0, 3, Filter::Area).is_err());
    }

    #[test]
    fn halving_takes_the_triangle_mean() {
        let row = ImageBuffer::new(4, 1, 1, vec![0, 100, 200, 40]).unwrap();
        let half = crop_resize(&row, PixelRect { x: 0.0, y: 0.0, width: 4.0, height: 1.0 }, 2, 1).unwrap();
        // Centre 0.5, reach 2: places -1 (extends 0), 0, 1, 2 with weights 1/4, 3/4, 3/4, 1/4 over 2: 62.5, and the other end likewise.
        assert_eq!(half.pixels(), [63, 108]);
    }

    #[test]
    fn worked_values_of_the_other_filters() {
        let row = ImageBuffer::new(4, 1, 1, vec![0, 100, 200, 40]).unwrap();
        let to = |width, filter| resize(&row, width, 1, filter).unwrap().pixels().to_vec();
        assert_eq!(to(2, Filter::Area), [50, 120]);
        assert_eq!(to(2, Filter::Nearest), [100, 40]);
        assert_eq!(to(2, Filter::Bilinear), [50, 120]);
        // 4/3 places each: 0 and a third of 100; two thirds of both; the rest.
        assert_eq!(to(3, Filter::Area), [25, 150, 80]);
        assert_eq!(to(8, Filter::Bilinear), [0, 25, 75, 125, 175, 160, 80, 40]);
        assert_eq!(resize_down_up(&row, 0.5, Filter::Area, Filter::Nearest).unwrap().pixels(), [50, 50, 120, 120]);
    }

    #[test]
    fn crop_and_pad_are_inverse() {
        let picture = image(6, 4, 4, 2);
        let sides = Sides { left: 2, top: 1, right: 3, bottom: 9 };
        for edge in [Edge::Extend, Edge::Zero, Edge::Wrap, Edge::Mirror] {
            let padded = pad(&picture, sides, edge, [9, 8, 7, 6]).unwrap();
            assert_eq!((padded.width(), padded.height()), (11, 14));
            assert_eq!(crop(&padded, PixelRect { x: 2.0, y: 1.0, width: 6.0, height: 4.0 }).unwrap(), picture);
            let corner = match edge {
                Edge::Zero => [9, 8, 7, 6],
                Edge::Extend => picture.pixel(0, 0).try_into().unwrap(),
                Edge::Wrap => picture.pixel(4, 3).try_into().unwrap(),
                Edge::Mirror => picture.pixel(1, 0).try_into().unwrap(),
            };
            assert_eq!(padded.pixel(0, 0), corner);
        }
        assert!(pad(&picture, Sides { left: usize::MAX, ..sides }, Edge::Zero, [0; 4]).is_err());
        assert!(crop(&picture, PixelRect { x: 6.0, y: 0.0, width: 5.0, height: 4.0 }).is_err());
    }

    proptest! {
        #[test]
        fn resizing_stays_between_least_and_greatest(seed in 0u64..99, x in -20.0f64..25.0, w in 0.01f64..90.0, out in 1usize..12, c in prop::sample::select(vec![1usize, 3, 4])) {
            let picture = image(6, 6, c, seed);
            let (low, high) = (picture.pixels().iter().min().unwrap(), picture.pixels().iter().max().unwrap());
            for filter in ALL {
                let cut = crop_resize_by(&picture, PixelRect { x, y: 1.0, width: w, height: 3.0 }, out, out, filter).unwrap();
                prop_assert!(cut.pixels().iter().all(|p| p >= low && p <= high));
            }
        }

        #[test]
        fn agrees_with_the_definition(w in 1usize..40, h in 1usize..9, tw in 1usize..40, th in 1usize..20, c in prop::sample::select(vec![1usize, 3, 4]), seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            for filter in ALL {
                let (columns, rows) = (taps(0.0, w as f64, tw, w, filter), taps(0.0, h as f64, th, h, filter));
                let out = resize(&picture, tw, th, filter).unwrap();
                for (y, row) in rows.iter().enumerate() {
                    for (x, column) in columns.iter().enumerate() {
                        for k in 0..c {
                            let mut sum = 0.0;
                            for (j, wy) in row.weights.iter().enumerate() {
                                for (i, wx) in column.weights.iter().enumerate() {
                                    sum += f64::from(*wy) * f64::from(*wx) / 65_536.0f64.powi(2) * f64::from(picture.pixel(column.first + i, row.first + j)[k]);
                                }
                            }
                            prop_assert!((sum - f64::from(out.pixel(x, y)[k])).abs() < 0.6, "{filter:?} {x} {y}: {sum} {}", out.pixel(x, y)[k]);
                        }
                    }
                }
            }
        }

        #[test]
        fn flat_stays_flat_and_extremes_pass(w in 1usize..300, tw in 1usize..30, value in prop::sample::select(vec![0u8, 1, 77, 254, 255]), x in -1e9f64..1e9, len in 1e-9f64..1e9) {
            let flat = ImageBuffer::filled(w, 3, 3, value).unwrap();
            for filter in ALL {
                prop_assert!(resize(&flat, tw, 7, filter).unwrap().pixels().iter().all(|p| *p == value));
                let cut = crop_resize_by(&flat, PixelRect { x, y: x, width: len, height: len }, 3, 2, filter).unwrap();
                prop_assert!(cut.pixels().iter().all(|p| *p == value));
            }
        }
    }
}
