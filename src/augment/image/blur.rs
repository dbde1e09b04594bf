use super::{
    Edge, Filter, PixelRect,
    bytes::{high_half, to_byte},
    crop_resize_by,
    lanes::Lanes,
    separable::separable,
};
use crate::{augment::wide::wide, sample::ImageBuffer};

/// Gaussian blur with standard deviation `sigma` in pixels, cut at three of them, edges extended; 0 or less changes nothing. A sigma above
/// 64 pixels counts as 64.
pub fn gaussian_blur(image: &ImageBuffer, sigma: f32) -> ImageBuffer {
    if sigma.is_nan() || sigma <= 0.0 {
        return image.clone();
    }
    gaussian_blur_cut(image, sigma, (3.0 * sigma.min(64.0)).ceil() as usize)
}

/// [`gaussian_blur`] with a kernel of `2 reach + 1` pixels (reach at most 256).
pub fn gaussian_blur_cut(image: &ImageBuffer, sigma: f32, reach: usize) -> ImageBuffer {
    if sigma.is_nan() || sigma <= 0.0 || reach == 0 {
        return image.clone();
    }
    let (sigma, reach) = (sigma.min(64.0), reach.min(256));
    let kernel: Vec<f32> = (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
    separable(image, &kernel)
}

/// The mean over squares of `2 reach + 1` pixels (reach at most 256), edges extended.
pub fn box_blur(image: &ImageBuffer, reach: usize) -> ImageBuffer {
    if reach == 0 {
        return image.clone();
    }
    separable(image, &vec![1.0; 2 * reach.min(256) + 1])
}

/// A tap of a kernel: pixels to the right and down that it reads, and its weight.
type Tap = (i32, i32, f32);

wide! {
    fn add_row(sum: &mut [f32], row: &[f32], weight: f32) {
        let row = &row[..sum.len()];
        for i in 0..sum.len() {
            sum[i] += weight * row[i];
        }
    }
}

wide! {
    fn round_row(sum: &[f32], out: &mut [u8]) {
        let sum = &sum[..out.len()];
        for i in 0..out.len() {
            out[i] = to_byte(sum[i]);
        }
    }
}

/// The weighted sum of rows of bytes, weights in 65,536ths that sum to one.
fn weigh(rows: &[(&[u8], u16)], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::weigh(rows, out) };
    }
    weigh_plain(rows, out);
}

wide! {
    fn weigh_plain(rows: &[(&[u8], u16)], out: &mut [u8]) {
        const SOME: usize = 256;
        let mut sum = [0u16; SOME];
        for first in (0..out.len()).step_by(SOME) {
            let count = SOME.min(out.len() - first);
            let (sum, out) = (&mut sum[..count], &mut out[first..first + count]);
            sum.fill(128 + rows.len() as u16 / 2);
            for t in 0..rows.len() {
                let (row, weight) = (&rows[t].0[first..first + count], rows[t].1);
                for i in 0..count {
                    sum[i] = sum[i].wrapping_add(high_half(u16::from(row[i]) << 8, weight));
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
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi16, _mm512_cvtepi16_epi8, _mm512_cvtepu8_epi16, _mm512_mulhi_epu16,
        _mm512_set1_epi16, _mm512_slli_epi16, _mm512_srli_epi16,
    };

    const BLOCK: usize = 32;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn weigh(rows: &[(&[u8], u16)], out: &mut [u8]) {
        let whole = out.len() / BLOCK * BLOCK;
        let bias = _mm512_set1_epi16(128 + rows.len() as i16 / 2);
        for first in (0..whole).step_by(BLOCK) {
            let mut sum = bias;
            for t in 0..rows.len() {
                // The slices are checked, so that loads and the store are inside.
                let (bytes, weight) = (&rows[t].0[first..first + BLOCK], _mm512_set1_epi16(rows[t].1.cast_signed()));
                // SAFETY: it reads the 32 bytes of the slice.
                let values = unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes.as_ptr().cast())) };
                sum = _mm512_add_epi16(sum, _mm512_mulhi_epu16(_mm512_slli_epi16::<8>(values), weight));
            }
            let target = &mut out[first..first + BLOCK];
            // SAFETY: it writes the 32 bytes of the slice.
            unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), _mm512_cvtepi16_epi8(_mm512_srli_epi16::<8>(sum))) };
        }
        if whole < out.len() {
            let mut rest = [(&[][..], 0u16); super::FEW];
            for (rest, (row, weight)) in rest.iter_mut().zip(rows) {
                *rest = (&row[whole..], *weight);
            }
            super::weigh_plain(&rest[..rows.len()], &mut out[whole..]);
        }
    }
}

/// Up to so many products are cut to 16 bits each, which loses at the most 16/256 of a value, evened out.
const FEW: usize = 32;

/// [`convolve`] in whole numbers, for 2 to [`FEW`] taps of a sum of 1.
fn convolve_few(image: &ImageBuffer, taps: &[Tap]) -> ImageBuffer {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let stride = width * channels;
    let mut weights: Vec<u32> = taps.iter().map(|tap| (tap.2 * 65_536.0).round() as u32).collect();
    let total: u32 = weights.iter().sum();
    if let Some(largest) = weights.iter_mut().max() {
        *largest = (*largest + 65_536).saturating_sub(total);
    }
    let reach = taps.iter().map(|(dx, _, _)| dx.unsigned_abs() as usize).max().unwrap_or(0);
    let side = reach * channels;
    let wide = stride + 2 * side;
    // The picture, extended to the left and right.
    let mut padded = vec![0u8; wide * height];
    for (row, source) in padded.chunks_exact_mut(wide).zip(image.pixels().chunks_exact(stride)) {
        row[side..side + stride].copy_from_slice(source);
        for i in 0..side {
            row[i] = source[i % channels];
            row[side + stride + i] = source[stride - channels + i % channels];
        }
    }
    let mut pixels = vec![0; stride * height];
    let mut rows = [(&[][..], 0u16); FEW];
    for (y, target) in pixels.chunks_exact_mut(stride).enumerate() {
        for (row, ((dx, dy, _), weight)) in rows.iter_mut().zip(taps.iter().zip(&weights)) {
            let from = Edge::Extend.source(y as i64 + i64::from(*dy), height).unwrap_or(0);
            let start = from * wide + (reach as i64 + i64::from(*dx)) as usize * channels;
            *row = (&padded[start..start + stride], (*weight).min(65_535) as u16);
        }
        weigh(&rows[..taps.len()], target);
    }
    ImageBuffer::new(width, height, channels, pixels).unwrap_or_else(|_| image.clone())
}

/// The weighted sum over the taps, whose weights sum to 1, edges extended.
fn convolve(image: &ImageBuffer, taps: &[Tap]) -> ImageBuffer {
    if (2..=FEW).contains(&taps.len()) {
        return convolve_few(image, taps);
    }
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let stride = width * channels;
    let reach = taps.iter().map(|(dx, _, _)| dx.unsigned_abs() as usize).max().unwrap_or(0);
    // The picture as numbers, extended to the left and right.
    let wide = stride + 2 * reach * channels;
    let mut padded = vec![0f32; wide * height];
    for (row, source) in padded.chunks_exact_mut(wide).zip(image.pixels().chunks_exact(stride)) {
        for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
            let from = x.saturating_sub(reach).min(width - 1);
            pixel.iter_mut().zip(&source[from * channels..]).for_each(|(p, s)| *p = f32::from(*s));
        }
    }
    let mut sum = vec![0f32; stride];
    let mut pixels = vec![0; stride * height];
    for (y, target) in pixels.chunks_exact_mut(stride).enumerate() {
        sum.fill(0.0);
        for (dx, dy, weight) in taps {
            let from = Edge::Extend.source(y as i64 + i64::from(*dy), height).unwrap_or(0);
            let start = from * wide + (reach as i64 + i64::from(*dx)) as usize * channels;
            add_row(&mut sum, &padded[start..start + stride], *weight);
        }
        round_row(&sum, target);
    }
    ImageBuffer::new(width, height, channels, pixels).unwrap_or_else(|_| image.clone())
}

/// Weights brought to a sum of 1.
fn normalized(mut taps: Vec<Tap>) -> Vec<Tap> {
    taps.retain(|tap| tap.2 > 0.0);
    let total: f32 = taps.iter().map(|tap| tap.2).sum();
    taps.iter_mut().for_each(|tap| tap.2 /= total);
    taps
}

/// Blurs along a straight line of `length` pixels (at most 256) at `degrees` counter-clockwise from the x axis, as a camera or an object that moved;
/// edges extended. A length of 1 or less changes nothing.
pub fn motion_blur(image: &ImageBuffer, length: f32, degrees: f32) -> ImageBuffer {
    if !(length > 1.0 && degrees.is_finite()) {
        return image.clone();
    }
    let length = length.min(256.0);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let reach = (length / 2.0).ceil() as i32;
    // A segment one pixel wide: how much of it lies on a pixel, to the first order.
    let taps = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))).map(|(dx, dy)| {
        let (x, y) = (dx as f32, -dy as f32);
        let (along, aside) = (x * cos + y * sin, x * sin - y * cos);
        let inside = (length / 2.0 + 0.5 - along.abs()).clamp(0.0, 1.0);
        (dx, dy, inside * (1.0 - aside.abs()).max(0.0))
    });
    convolve(image, &normalized(taps.collect()))
}

/// Blurs by a disc of `radius` pixels (at most 64) with soft rims, as a lens out of focus; edges extended. 0 or less changes nothing.
pub fn defocus_blur(image: &ImageBuffer, radius: f32) -> ImageBuffer {
    if radius.is_nan() || radius <= 0.0 {
        return image.clone();
    }
    let radius = radius.min(64.0);
    let reach = radius.ceil() as i32;
    let taps = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
    let taps = taps.map(|(dx, dy)| (dx, dy, (radius + 0.5 - (dx as f32).hypot(dy as f32)).clamp(0.0, 1.0)));
    convolve(image, &normalized(taps.collect()))
}

wide! {
    fn count_in(sum: &mut [u16], bytes: &[u8]) {
        let bytes = &bytes[..sum.len()];
        for i in 0..sum.len() {
            sum[i] = sum[i].wrapping_add(u16::from(bytes[i]));
        }
    }
}

wide! {
    fn mean_of(sum: &[u16], share: f32, out: &mut [u8]) {
        let sum = &sum[..out.len()];
        for i in 0..out.len() {
            out[i] = to_byte(f32::from(sum[i]) * share);
        }
    }
}

/// The mean of the picture and of itself enlarged about the middle, up to `factor` (1..=4), as when a lens zooms while the shutter is open. As many
/// pictures as the corner moves pixels, at most 20.
pub fn zoom_blur(image: &ImageBuffer, factor: f32) -> ImageBuffer {
    if factor.is_nan() || factor <= 1.0 {
        return image.clone();
    }
    let factor = f64::from(factor.min(4.0));
    let (width, height) = (image.width() as f64, image.height() as f64);
    let moved = (factor - 1.0) * width.max(height) / 2.0;
    let count = (moved.ceil() as usize).clamp(2, 20);
    let mut sum: Vec<u16> = image.pixels().iter().map(|p| u16::from(*p)).collect();
    for i in 1..count {
        let zoom = 1.0 + (factor - 1.0) * i as f64 / (count - 1) as f64;
        let (w, h) = (width / zoom, height / zoom);
        let rect = PixelRect { x: (width - w) / 2.0, y: (height - h) / 2.0, width: w, height: h };
        // The size stays, so this cannot fail.
        let Ok(larger) = crop_resize_by(image, rect, image.width(), image.height(), Filter::Bilinear) else { return image.clone() };
        count_in(&mut sum, larger.pixels());
    }
    let mut out = image.clone();
    mean_of(&sum, 1.0 / count as f32, out.pixels_mut());
    out
}

/// Frosted glass (Hendrycks and Dietterich 2019): blurred by `sigma`, pixels exchanged `rounds` times with one up to `reach` pixels away (evenly spread over
/// `-reach - 0.5..reach + 0.5`, rounded; at most 64) that `seed` decides, blurred again. Reach 0 or no round leaves the blur.
pub fn glass_blur(image: &ImageBuffer, sigma: f32, reach: f32, rounds: usize, seed: u64) -> ImageBuffer {
    let mut out = gaussian_blur(image, sigma);
    if reach.is_nan() || reach <= 0.0 || rounds == 0 {
        return out;
    }
    let most = (image.width().min(image.height()) - 1) / 2;
    let reach = reach.min(most.min(64) as f32);
    match image.channels() {
        1 => exchange::<1>(&mut out, reach, rounds, seed),
        3 => exchange::<3>(&mut out, reach, rounds, seed),
        _ => exchange::<4>(&mut out, reach, rounds, seed),
    }
    gaussian_blur(&out, sigma)
}

fn exchange<const C: usize>(image: &mut ImageBuffer, reach: f32, rounds: usize, seed: u64) {
    let (width, height) = (image.width(), image.height());
    let border = reach.ceil() as usize;
    let pixels = image.pixels_mut().as_chunks_mut::<C>().0;
    let mut lanes = Lanes::new(seed);
    let mut words = lanes.next();
    let mut used = 0;
    let spread = (2.0 * reach + 1.0) / 65_536.0;
    // From the corner of what can be reached; never beyond its other end.
    let draw = |half: u32| ((half as f32 * spread + border as f32 - reach) as usize).min(2 * border);
    for _ in 0..rounds.min(16) {
        for y in (border..height - border).rev() {
            for x in (border..width - border).rev() {
                if used == words.len() {
                    (words, used) = (lanes.next(), 0);
                }
                let word = words[used];
                used += 1;
                let (dx, dy) = (draw(word & 0xffff), draw(word >> 16));
                pixels.swap(y * width + x, (y + dy - border) * width + x + dx - border);
            }
        }
    }
}

/// Unsharp mask: adds `amount` (0 changes nothing) times what a Gaussian of `sigma` pixels takes away, rounded and cut at black and white.
pub fn sharpen(image: &mut ImageBuffer, amount: f32, sigma: f32) {
    wide! {
        fn away[const ALPHA: bool](bytes: &mut [u8], blurred: &[u8], amount: f32) {
            let blurred = &blurred[..bytes.len()];
            for i in 0..bytes.len() {
                let value = f32::from(bytes[i]);
                let sharp = to_byte(value + amount * (value - f32::from(blurred[i])));
                bytes[i] = if ALPHA && i % 4 == 3 { bytes[i] } else { sharp };
            }
        }
    }
    let blurred = gaussian_blur(image, sigma);
    match image.channels() {
        4 => away::<true>(image.pixels_mut(), blurred.pixels(), amount),
        _ => away::<false>(image.pixels_mut(), blurred.pixels(), amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    fn point(size: usize) -> ImageBuffer {
        let mut picture = ImageBuffer::filled(size, size, 1, 0).unwrap();
        picture.pixel_mut(size / 2, size / 2)[0] = 255;
        picture
    }

    #[test]
    fn a_point_becomes_the_kernel() {
        let blurred = gaussian_blur(&point(9), 1.0);
        // 255 / (2 pi) = 40.6 at the centre, times exp(-1/2) beside it.
        assert_eq!((blurred.pixel(4, 4)[0], blurred.pixel(5, 4)[0], blurred.pixel(5, 5)[0]), (41, 25, 15));
        assert_eq!(blurred.pixel(3, 4), blurred.pixel(5, 4));
        // 255 / 9.
        let boxed = box_blur(&point(9), 1);
        assert_eq!((boxed.pixel(3, 3)[0], boxed.pixel(5, 4)[0], boxed.pixel(6, 4)[0]), (28, 28, 0));
        let moved = motion_blur(&point(9), 3.0, 0.0);
        assert_eq!(moved.pixels()[36..45], [0, 0, 0, 85, 85, 85, 0, 0, 0]);
        let moved = motion_blur(&point(9), 3.0, 90.0);
        assert_eq!((moved.pixel(4, 3)[0], moved.pixel(4, 5)[0], moved.pixel(3, 4)[0]), (85, 85, 0));
        // Counter-clockwise: to the right and up.
        let moved = motion_blur(&point(9), 5.0, 45.0);
        assert!(moved.pixel(5, 3)[0] > 30 && moved.pixel(5, 5)[0] == 0);
        // The middle whole, its neighbours a half, the corners 0.086: 3.34 in all.
        let disc = defocus_blur(&point(9), 1.0);
        assert_eq!((disc.pixel(4, 4)[0], disc.pixel(5, 4)[0], disc.pixel(5, 5)[0]), (76, 38, 7));
    }

    #[test]
    fn sharp_edges_overshoot() {
        let mut row = ImageBuffer::new(4, 1, 1, vec![100, 100, 200, 200]).unwrap();
        sharpen(&mut row, 1.0, 0.5);
        assert!(row.pixels()[1] < 100 && row.pixels()[2] > 200);
        let mut same = image(9, 8, 4, 1);
        sharpen(&mut same, 0.0, 2.0);
        assert_eq!(same, image(9, 8, 4, 1));
    }

    #[test]
    fn glass_exchanges_pixels_and_zoom_leaves_the_middle() {
        let picture = image(40, 30, 3, 1);
        let glass = glass_blur(&picture, 0.0, 1.4, 1, 5);
        let sorted = |i: &ImageBuffer| {
            let mut pixels: Vec<Vec<u8>> = i.pixels().chunks(3).map(<[u8]>::to_vec).collect();
            pixels.sort();
            pixels
        };
        assert!(sorted(&glass) == sorted(&picture) && glass != picture);
        let mut cross = ImageBuffer::filled(41, 41, 1, 0).unwrap();
        (0..41).for_each(|i| cross.pixel_mut(20, i)[0] = 255);
        let zoomed = zoom_blur(&cross, 1.2);
        assert_eq!(zoomed.pixel(20, 3), [255]);
        assert_eq!(zoom_blur(&cross, 1.0), cross);
    }

    #[test]
    fn a_flat_image_stays_and_no_blur_is_the_identity() {
        for value in [0, 1, 77, 254, 255] {
            let flat = ImageBuffer::filled(70, 3, 3, value).unwrap();
            for sigma in [0.3, 1.0, 1.5, 4.0, 5.0, 20.0, 64.0] {
                assert_eq!(gaussian_blur(&flat, sigma), flat, "{value} {sigma}");
                assert_eq!(defocus_blur(&flat, sigma), flat);
                assert_eq!(motion_blur(&flat, sigma, sigma), flat);
                assert_eq!(zoom_blur(&flat, sigma), flat);
                assert_eq!(glass_blur(&flat, sigma, 3.0, 2, 1), flat);
                assert_eq!(box_blur(&flat, sigma as usize), flat);
            }
        }
        let picture = image(5, 3, 3, 9);
        assert_eq!(gaussian_blur(&picture, 0.0), picture);
    }

    proptest! {
        /// Wide registers give the bytes that plain loops give.
        #[test]
        fn both_versions_agree(len in 1usize..200, taps in 2usize..33, seed in 0u64..99) {
            let picture = image(len, taps, 1, seed);
            let rows: Vec<(&[u8], u16)> = picture.pixels().chunks_exact(len).map(|row| (row, (65_536 / taps) as u16)).collect();
            let (mut a, mut b) = (vec![0; len], vec![0; len]);
            weigh(&rows, &mut a);
            weigh_plain(&rows, &mut b);
            prop_assert_eq!(a, b);
        }

        #[test]
        fn a_gaussian_agrees_with_its_definition(w in 1usize..90, h in 1usize..9, c in prop::sample::select(vec![1usize, 3, 4]), sigma in 0.2f32..9.0, seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            let out = gaussian_blur(&picture, sigma);
            let reach = (3.0 * sigma).ceil() as i64;
            let kernel: Vec<f64> = (-reach..=reach).map(|i| (-0.5 * (i as f64 / f64::from(sigma)).powi(2)).exp()).collect();
            let total: f64 = kernel.iter().sum();
            for (x, y) in [(0, 0), (w / 2, h / 2), (w - 1, h - 1)] {
                let mut sum = 0.0;
                for (j, ky) in kernel.iter().enumerate() {
                    for (i, kx) in kernel.iter().enumerate() {
                        let column = Edge::Extend.source(x as i64 + i as i64 - reach, w).unwrap();
                        let row = Edge::Extend.source(y as i64 + j as i64 - reach, h).unwrap();
                        sum += kx * ky / total / total * f64::from(picture.pixel(column, row)[0]);
                    }
                }
                prop_assert!((sum - f64::from(out.pixel(x, y)[0])).abs() < 0.75, "{sum} {}", out.pixel(x, y)[0]);
            }
        }

        #[test]
        fn any_size_and_parameter(w in 1usize..9, h in 1usize..9, c in prop::sample::select(vec![1usize, 3, 4]),
            v in prop::sample::select(vec![0.0f32, 0.1, -3.0, 2.0, 1e9, f32::NAN, f32::INFINITY])) {
            let picture = image(w, h, c, 3);
            gaussian_blur(&picture, v);
            motion_blur(&picture, v, 30.0);
            motion_blur(&picture, 5.0, v);
            defocus_blur(&picture, v);
            zoom_blur(&picture, v);
            glass_blur(&picture, v, v, 2, 1);
            sharpen(&mut picture.clone(), v, v);
        }
    }
}
