use super::{Edge, PixelRect, twice};
use crate::{
    augment::{image::bytes::high_half, wide::wide},
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
    let (width, height) = (side(image.width()), side(image.height()));
    let half = |small: usize, whole: usize| 2 * small == whole;
    let halves = half(width, image.width()) && half(height, image.height());
    let small = if halves && down == Filter::Area { twice::halve(image)? } else { resize(image, width, height, down)? };
    if halves && up != Filter::Nearest { twice::double(&small) } else { resize(&small, image.width(), image.height(), up) }
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

/// The source places of all output places: each has its first, and from there weights of 65,536.
struct Taps {
    first: Vec<usize>,
    /// Where the weights of a place begin; one more at the end.
    begin: Vec<usize>,
    weights: Vec<u16>,
}

impl Taps {
    fn weights(&self, place: usize) -> &[u16] {
        &self.weights[self.begin[place]..self.begin[place + 1]]
    }

    fn len(&self) -> usize {
        self.first.len()
    }

    /// The most weights of a place.
    fn most(&self) -> usize {
        self.begin.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(1)
    }
}

/// For each output place the source places and their weights.
fn taps(from: f64, length: f64, places: usize, limit: usize, filter: Filter) -> Taps {
    let scale = length / places as f64;
    let last = limit as i64 - 1;
    // Beyond the image everything is the edge pixel: weights need no more than it has places.
    let side = (limit as f64) * 2.0 + 2.0;
    let reach = if filter == Filter::Triangle { scale.max(1.0) } else { 1.0 };
    let mut found: Vec<f64> = Vec::new();
    let mut out =
        Taps { first: Vec::with_capacity(places), begin: Vec::with_capacity(places + 1), weights: Vec::with_capacity(2 * places) };
    for i in 0..places {
        let centre = (from + (i as f64 + 0.5) * scale - 0.5).clamp(-side, side * 2.0);
        let (start, end) = (centre + 0.5 - scale / 2.0, centre + 0.5 + scale / 2.0);
        let (low, high) = match filter {
            Filter::Nearest => ((centre + 0.5).floor() as i64, (centre + 0.5).floor() as i64),
            Filter::Area if scale > 1.0 => (start.floor() as i64, end.ceil() as i64),
            _ => ((centre - reach).ceil() as i64, (centre + reach).floor() as i64),
        };
        let weigh = |at: f64| match filter {
            Filter::Nearest => 1.0,
            Filter::Area if scale > 1.0 => (end.min(at + 1.0) - start.max(at)).max(0.0),
            _ => 1.0 - (at - centre).abs() / reach,
        };
        let first = low.clamp(0, last);
        found.clear();
        found.resize((high.clamp(0, last) - first) as usize + 1, 0.0);
        // A cut far larger than the image would visit many places outside: those count together.
        for at in low.max(-side as i64)..=high.min(2 * side as i64) {
            found[(at.clamp(0, last) - first) as usize] += weigh(at as f64).max(0.0);
        }
        out.first.push(first as usize);
        out.begin.push(out.weights.len());
        shares(&found, &mut out.weights);
    }
    out.begin.push(out.weights.len());
    out
}

/// Appends weights as 65,536ths whose sum is 65,536 (65,535 for a single one, which still gives back every byte).
fn shares(weights: &[f64], out: &mut Vec<u16>) {
    let total: f64 = weights.iter().sum();
    let start = out.len();
    if !(total.is_finite() && total > 0.0) {
        out.resize(start + weights.len(), 0);
        out[start] = u16::MAX;
        return;
    }
    let mut sum = 0i64;
    let mut largest = (0i64, start);
    for weight in weights {
        let share = (weight / total * 65_536.0 + 0.5) as i64;
        sum += share;
        // The last of equals.
        if share >= largest.0 {
            largest = (share, out.len());
        }
        out.push(share.min(65_535) as u16);
    }
    out[largest.1] = (largest.0 + 65_536 - sum).clamp(0, 65_535) as u16;
}

/// Up to so many products are cut to 16 bits each, which loses less than 8/256 of a value; more of them are summed with 32 bits.
const FEW: usize = 8;

/// Lanes of a sum along x.
const LANES: usize = 8;

#[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
fn resample<const C: usize>(image: &ImageBuffer, columns: &Taps, rows: &Taps, out: &mut [u8]) {
    let stride = image.width() * C;
    let from = columns.first.iter().copied().min().unwrap_or(0);
    let to = (0..columns.len()).map(|i| columns.first[i] + columns.weights(i).len()).max().unwrap_or(1);
    let starts: Vec<i32> = columns.first.iter().map(|first| ((first - from) * C) as i32).collect();
    let most = columns.most();
    // Eight lanes hold eight gray pixels, or two of three or four channels.
    let together = if C == 1 { LANES } else { 2 };
    let vectors = most.div_ceil(together);
    let used = (to - from) * C;
    let mut row = vec![0u16; used + most * C + vectors * LANES];
    #[cfg(target_arch = "x86_64")]
    let gathered = (C > 1 && most <= FEW && crate::augment::wide::has_avx512()).then(|| gathers::weights(columns, most));
    let mut weights = vec![[0u16; LANES]; vectors * columns.len()];
    for (place, lanes) in weights.chunks_exact_mut(vectors).enumerate() {
        for (i, weight) in columns.weights(place).iter().enumerate() {
            lanes[i / together][i % together * C..][..C].fill(*weight);
        }
    }
    for (place, target) in out.chunks_exact_mut(columns.len() * C).enumerate() {
        down(&image.pixels()[rows.first[place] * stride + from * C..], stride, rows.weights(place), &mut row[..used]);
        let bias = 128 + most as u16;
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if let Some(table) = &gathered {
            // SAFETY: the processor has the features.
            done = unsafe { gathers::across::<C>(&row, &starts, table, most, bias, target) };
        }
        let (starts, weights, target) = (&starts[done..], &weights[done * vectors..], &mut target[done * C..]);
        if most <= FEW {
            across::<C>(&row, starts, weights, vectors, bias, target);
        } else {
            across_many::<C>(&row, starts, weights, vectors, target);
        }
    }
}

/// Eight pixels at once in registers of 512 bits.
#[cfg(target_arch = "x86_64")]
mod gathers {
    use super::Taps;
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_cmplt_epu32_mask, _mm256_loadu_si256, _mm256_mask_storeu_epi8, _mm256_permutexvar_epi8, _mm256_set1_epi32,
        _mm512_add_epi16, _mm512_cvtepi16_epi8, _mm512_i32gather_epi64, _mm512_loadu_si512, _mm512_mulhi_epu16, _mm512_set1_epi16,
        _mm512_srli_epi16,
    };

    /// Pixels at once.
    const MANY: usize = 8;

    /// For each eight places and each of `most` taps the weights, four times each: as often as a pixel may have channels.
    pub(super) fn weights(columns: &Taps, most: usize) -> Vec<[[u16; 4]; MANY]> {
        let mut out = vec![[[0; 4]; MANY]; columns.len() / MANY * most];
        for (block, table) in out.chunks_exact_mut(most).enumerate() {
            for i in 0..MANY {
                for (t, weight) in columns.weights(block * MANY + i).iter().enumerate() {
                    table[t][i] = [*weight; 4];
                }
            }
        }
        out
    }

    /// Weighted sums of all whole eights of places; returns the number of places done. `row` has room for `most` pixels behind every start and three values more.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn across<const C: usize>(
        row: &[u16],
        starts: &[i32],
        weights: &[[[u16; 4]; MANY]],
        most: usize,
        bias: u16,
        target: &mut [u8],
    ) -> usize {
        let mut order = [0u8; 32];
        for i in 0..MANY * C {
            order[i] = (i / C * 4 + i % C) as u8;
        }
        // SAFETY: it reads the 32 bytes of the array.
        let order = unsafe { _mm256_loadu_si256(order.as_ptr().cast()) };
        let bias = _mm512_set1_epi16(bias.cast_signed());
        let blocks = starts.len() / MANY;
        let room = _mm256_set1_epi32(row.len().saturating_sub(most * C + 3).min(i32::MAX as usize) as i32);
        for block in 0..blocks {
            let starts = &starts[block * MANY..][..MANY];
            let weights = &weights[block * most..][..most];
            let target = &mut target[block * MANY * C..][..MANY * C];
            let mut sum = bias;
            // SAFETY: gathers begin at places that were compared with what the row has room for; the loads read the slices and the store writes the slice.
            unsafe {
                let mut at = _mm256_loadu_si256(starts.as_ptr().cast());
                if _mm256_cmplt_epu32_mask(at, room) != 0xff {
                    return block * MANY;
                }
                for weights in weights {
                    let pixels = _mm512_i32gather_epi64::<2>(at, row.as_ptr().cast());
                    sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(pixels, _mm512_loadu_si512(weights.as_ptr().cast())));
                    at = _mm256_add_epi32(at, _mm256_set1_epi32(C as i32));
                }
                let bytes = _mm256_permutexvar_epi8(order, _mm512_cvtepi16_epi8(_mm512_srli_epi16::<8>(sum)));
                _mm256_mask_storeu_epi8(target.as_mut_ptr().cast(), u32::MAX >> (32 - MANY * C), bytes);
            }
        }
        blocks * MANY
    }
}

wide! {
    /// Weighted sum of rows, 8 bits behind the point.
    fn down(source: &[u8], stride: usize, weights: &[u16], out: &mut [u16]) {
        let len = out.len();
        if weights.len() > FEW {
            const SUMS: usize = 128;
            let mut sums = [0u32; SUMS];
            for first in (0..len).step_by(SUMS) {
                let count = SUMS.min(len - first);
                let (sums, out) = (&mut sums[..count], &mut out[first..first + count]);
                sums.fill(128);
                for t in 0..weights.len() {
                    let (source, weight) = (&source[t * stride + first..][..count], u32::from(weights[t]));
                    for i in 0..count {
                        sums[i] = sums[i].wrapping_add(u32::from(source[i]).wrapping_mul(weight));
                    }
                }
                for i in 0..count {
                    out[i] = (sums[i] >> 8) as u16;
                }
            }
            return;
        }
        // As much as the cut products lose at the most, so that halves are rounded up.
        let bias = weights.len() as u16;
        if let [a, b] = *weights {
            let (above, below) = (&source[..len], &source[stride..][..len]);
            for i in 0..len {
                let both = high_half(u16::from(above[i]) << 8, a).wrapping_add(high_half(u16::from(below[i]) << 8, b));
                out[i] = both.wrapping_add(bias);
            }
            return;
        }
        out.fill(bias);
        for t in 0..weights.len() {
            let (source, weight) = (&source[t * stride..][..len], weights[t]);
            for i in 0..len {
                out[i] = out[i].wrapping_add(high_half(u16::from(source[i]) << 8, weight));
            }
        }
    }
}

wide! {
    /// Weighted sum along a row.
    fn across[const C: usize](row: &[u16], starts: &[i32], weights: &[[u16; LANES]], vectors: usize, bias: u16, target: &mut [u8]) {
        let pixels = target.as_chunks_mut::<C>().0;
        for place in 0..pixels.len() {
            let mut sum = [0u16; LANES];
            let mut at = starts[place] as usize;
            for weights in &weights[place * vectors..][..vectors] {
                let values = &row[at..][..LANES];
                for i in 0..LANES {
                    sum[i] = sum[i].wrapping_add(high_half(values[i], weights[i]));
                }
                at += if C == 1 { LANES } else { 2 * C };
            }
            for c in 0..C {
                let mut all = sum[c].wrapping_add(sum[c + C]);
                if C == 1 {
                    for i in 2..LANES {
                        all = all.wrapping_add(sum[i]);
                    }
                }
                pixels[place][c] = (all.wrapping_add(bias) >> 8) as u8;
            }
        }
    }
}

wide! {
    /// The same with 32 bits.
    fn across_many[const C: usize](row: &[u16], starts: &[i32], weights: &[[u16; LANES]], vectors: usize, target: &mut [u8]) {
        let pixels = target.as_chunks_mut::<C>().0;
        for place in 0..pixels.len() {
            let mut sum = [0u32; LANES];
            let mut at = starts[place] as usize;
            for weights in &weights[place * vectors..][..vectors] {
                let values = &row[at..][..LANES];
                for i in 0..LANES {
                    sum[i] = sum[i].wrapping_add(u32::from(values[i]).wrapping_mul(u32::from(weights[i])));
                }
                at += if C == 1 { LANES } else { 2 * C };
            }
            for c in 0..C {
                let mut all = sum[c].wrapping_add(sum[c + C]);
                if C == 1 {
                    for i in 2..LANES {
                        all = all.wrapping_add(sum[i]);
                    }
                }
                pixels[place][c] = (all.saturating_add(1 << 23) >> 24) as u8;
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
    if edge == Edge::Zero {
        let blank: Vec<u8> = colour.iter().copied().cycle().take(wide * channels).collect();
        (0..sides.top).for_each(|_| pixels.extend_from_slice(&blank));
        for row in image.pixels().chunks_exact(width * channels) {
            pixels.extend_from_slice(&blank[..sides.left * channels]);
            pixels.extend_from_slice(row);
            pixels.extend_from_slice(&blank[..sides.right * channels]);
        }
        (0..sides.bottom).for_each(|_| pixels.extend_from_slice(&blank));
        return ImageBuffer::new(wide, high, channels, pixels).map_err(Error::data);
    }
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
    fn half_and_back_is_what_the_general_way_gives() {
        for (width, height) in [(2, 2), (2, 6), (4, 4), (6, 2), (34, 18), (130, 64)] {
            for channels in [1, 3, 4] {
                for seed in 0..4 {
                    let picture = image(width, height, channels, seed);
                    let small = resize(&picture, width / 2, height / 2, Filter::Area).unwrap();
                    for up in ALL {
                        let expected = resize(&small, width, height, up).unwrap();
                        assert_eq!(
                            resize_down_up(&picture, 0.5, Filter::Area, up).unwrap(),
                            expected,
                            "{width} {height} {channels} {up:?}"
                        );
                    }
                }
            }
        }
        let white = ImageBuffer::filled(8, 6, 3, 255).unwrap();
        assert_eq!(resize_down_up(&white, 0.5, Filter::Area, Filter::Bilinear).unwrap(), white);
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
                for y in 0..th {
                    for x in 0..tw {
                        for k in 0..c {
                            let mut sum = 0.0;
                            for (j, wy) in rows.weights(y).iter().enumerate() {
                                for (i, wx) in columns.weights(x).iter().enumerate() {
                                    sum += f64::from(*wy) * f64::from(*wx) / 65_536.0f64.powi(2) * f64::from(picture.pixel(columns.first[x] + i, rows.first[y] + j)[k]);
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
