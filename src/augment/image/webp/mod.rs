//! What lossy WebP compression takes from a picture, without the bytes: prediction, transform and quantization of VP8 key frames and its loop filter; the entropy
//! coding behind them loses nothing and is left out, so that what is left is what a decoder would show.

mod blocks;
mod filter;
mod predict;

use crate::{augment::wide::wide, sample::ImageBuffer};
use blocks::{Block, Quantizer, Steps, backward, forward, gather_means, spread_means};
use predict::{Around, CHROMA_COST, LUMA_COST, ROW, SMALL_MODES, Small};

/// Pixels of a macroblock's side.
const MACRO: usize = 16;
/// Weight of a bit / 256 beside a squared difference * 256: whole macroblocks, small blocks, chroma.
const BIT: [u32; 3] = [106, 11, 120];
/// Bits / 256 of a small block's mode, on the average.
const SMALL_COST: u32 = 1000;

/// A plane of whole macroblocks behind a row of 127 above it and a column of 129 to its left, as section 12.2 of the standard asks.
struct Plane {
    stride: usize,
    values: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize) -> Self {
        let stride = width + 1;
        let mut values = vec![127; stride * (height + 1)];
        values.chunks_exact_mut(stride).skip(1).for_each(|row| row[0] = 129);
        Self { stride, values }
    }

    /// Where a pixel stands.
    #[inline(always)]
    fn at(&self, x: usize, y: usize) -> usize {
        (y + 1) * self.stride + x + 1
    }

    fn row(&self, y: usize) -> &[u8] {
        let at = self.at(0, y);
        &self.values[at..at + self.stride - 1]
    }

    fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let at = self.at(0, y);
        let width = self.stride - 1;
        &mut self.values[at..at + width]
    }

    /// Extends the first `width` columns and `height` rows to the whole plane.
    fn extend(&mut self, width: usize, height: usize) {
        for y in 0..height {
            let row = self.row_mut(y);
            let last = row[width - 1];
            row[width..].fill(last);
        }
        let (from, to) = (self.at(0, height - 1), self.at(0, height - 1) + self.stride - 1);
        let mut y = height;
        while self.at(0, y) < self.values.len() {
            let at = self.at(0, y);
            self.values.copy_within(from..to, at);
            y += 1;
        }
    }
}

#[inline(always)]
fn square_error<const N: usize>(a: &[[u8; N]; N], b: &[[u8; N]; N]) -> u32 {
    let mut sums = [0i32; N];
    for y in 0..N {
        for x in 0..N {
            let apart = i32::from(a[y][x]) - i32::from(b[y][x]);
            sums[x] += apart * apart;
        }
    }
    let mut sum = 0;
    for x in 0..N {
        sum += sums[x];
    }
    sum as u32
}

#[inline(always)]
fn read<const N: usize>(plane: &Plane, at: usize) -> ([[u8; N]; N], [u8; N]) {
    let (mut source, mut left) = ([[0; N]; N], [0; N]);
    for y in 0..N {
        let row = &plane.values[at - 1 + y * plane.stride..][..N + 1];
        left[y] = row[0];
        source[y].copy_from_slice(&row[1..]);
    }
    (source, left)
}

#[inline(always)]
fn write<const N: usize>(plane: &mut Plane, at: usize, block: &[[u8; N]; N]) {
    for y in 0..N {
        plane.values[at + y * plane.stride..][..N].copy_from_slice(&block[y]);
    }
}

#[inline(always)]
fn residue<const N: usize>(source: &[[u8; N]; N], guess: &[[u8; N]; N], x: usize, y: usize) -> Block {
    let mut out = [0; 16];
    for i in 0..16 {
        out[i] = i32::from(source[y + i / 4][x + i % 4]) - i32::from(guess[y + i / 4][x + i % 4]);
    }
    out
}

#[inline(always)]
fn add<const N: usize>(guess: &mut [[u8; N]; N], x: usize, y: usize, by: &Block) {
    for i in 0..16 {
        let pixel = &mut guess[y + i / 4][x + i % 4];
        *pixel = (i32::from(*pixel) + by[i]).max(0).min(255) as u8;
    }
}

/// The modes of a block and the best of them with its cost.
#[inline(always)]
fn cheapest<const M: usize>(costs: [u32; M]) -> (usize, u32) {
    let mut best = 0;
    for mode in 1..M {
        if costs[mode] < costs[best] {
            best = mode;
        }
    }
    (best, costs[best])
}

/// Sixteen small blocks, each predicted from those before it; `None` where they come to more than `limit`.
#[inline(always)]
fn by_small(source: &[[u8; MACRO]; MACRO], around: &mut Around, quantizer: &Quantizer, limit: u32) -> bool {
    let mut total = quantizer.penalty;
    for block in 0..16 {
        let (x, y) = (block % 4, block / 4);
        let modes = predict::small(around, x, y);
        let mut own: Small = [0; 16];
        for i in 0..4 {
            own[4 * i..4 * i + 4].copy_from_slice(&source[4 * y + i][4 * x..4 * x + 4]);
        }
        let mut costs = [0u32; SMALL_MODES];
        for mode in 0..SMALL_MODES {
            let mut sum = 0;
            for i in 0..16 {
                let apart = i32::from(own[i]) - i32::from(modes[mode][i]);
                sum += apart * apart;
            }
            costs[mode] = sum as u32 * 256;
        }
        let (best, cost) = cheapest(costs);
        total = total.saturating_add(cost + SMALL_COST * BIT[1]);
        if total >= limit {
            return false;
        }
        let guess = &modes[best];
        let mut block = [0; 16];
        for i in 0..16 {
            block[i] = i32::from(own[i]) - i32::from(guess[i]);
        }
        let mut block = forward(&block);
        quantizer.luma.through(&mut block, 0);
        let block = backward(&block);
        for i in 0..16 {
            around[4 * y + 1 + i / 4][4 * x + 1 + i % 4] = (i32::from(guess[i]) + block[i]).max(0).min(255) as u8;
        }
    }
    true
}

/// A whole macroblock from one prediction; whether anything is left of the residue.
#[inline(always)]
fn by_whole(source: &[[u8; MACRO]; MACRO], guess: &mut [[u8; MACRO]; MACRO], quantizer: &Quantizer) -> bool {
    let (mut all, mut means) = ([[0; 16]; 16], [0; 16]);
    for block in 0..16 {
        all[block] = forward(&residue(source, guess, block % 4 * 4, block / 4 * 4));
        means[block] = all[block][0];
    }
    let mut means = gather_means(&means);
    let mut left = quantizer.means.through(&mut means, 0);
    let means = spread_means(&means);
    for block in 0..16 {
        left |= quantizer.luma.through(&mut all[block], 1);
        all[block][0] = means[block];
        add(guess, block % 4 * 4, block / 4 * 4, &backward(&all[block]));
    }
    left
}

wide! {
    /// All macroblocks of luma, one after the other; whether the filter goes inside each. Rows hold whole macroblocks.
    fn luma(plane: &mut Plane, quantizer: &Quantizer, inside: &mut [bool]) {
        let columns = plane.stride / MACRO;
        for block in 0..inside.len() {
            let (x, y) = (block % columns, block / columns);
            let at = plane.at(MACRO * x, MACRO * y);
            let (source, left) = read::<MACRO>(plane, at);
            let mut around: Around = [[0; ROW]; 17];
            let above = at - plane.stride - 1;
            // The last macroblock of a row sees its own last pixel above once more; above the first row everything is 127.
            let seen = if x + 1 < columns { ROW } else { MACRO + 1 };
            around[0][..seen].copy_from_slice(&plane.values[above..above + seen]);
            if seen < ROW {
                let last = around[0][MACRO];
                around[0][seen..].fill(last);
            }
            for i in 0..MACRO {
                around[i + 1][0] = left[i];
            }
            // To the right of the last column of blocks stands the row above the macroblock, for lower blocks, too.
            for lower in [4, 8, 12] {
                for i in MACRO + 1..ROW {
                    around[lower][i] = around[0][i];
                }
            }
            let mut modes = predict::whole::<MACRO>(&around[0], &left, y > 0, x > 0);
            let mut costs = [0u32; 4];
            for mode in 0..4 {
                costs[mode] = square_error(&source, &modes[mode]) * 256 + LUMA_COST[mode] * BIT[0];
            }
            let (best, cost) = cheapest(costs);
            inside[block] = if by_small(&source, &mut around, quantizer, cost) {
                for i in 0..MACRO {
                    plane.values[at + i * plane.stride..][..MACRO].copy_from_slice(&around[i + 1][1..MACRO + 1]);
                }
                true
            } else {
                let guess = &mut modes[best];
                let left = by_whole(&source, guess, quantizer);
                write(plane, at, guess);
                left
            };
        }
    }
}

wide! {
    /// All macroblocks of both chroma, which share a mode. Adds to `inside` where something is left.
    fn chroma(planes: &mut [Plane; 2], steps: &Steps, inside: &mut [bool]) {
        const HALF: usize = MACRO / 2;
        let columns = planes[0].stride / HALF;
        for block in 0..inside.len() {
            let (x, y) = (block % columns, block / columns);
            let at = planes[0].at(HALF * x, HALF * y);
            let mut costs = [0u32; 4];
            for mode in 0..4 {
                costs[mode] = CHROMA_COST[mode] * BIT[2];
            }
            let [u, v] = &mut *planes;
            let (from_u, left) = read::<HALF>(u, at);
            let mut modes_u = predict::whole::<HALF>(&u.values[at - u.stride - 1..][..HALF + 1], &left, y > 0, x > 0);
            let (from_v, left) = read::<HALF>(v, at);
            let mut modes_v = predict::whole::<HALF>(&v.values[at - v.stride - 1..][..HALF + 1], &left, y > 0, x > 0);
            for mode in 0..4 {
                costs[mode] += (square_error(&from_u, &modes_u[mode]) + square_error(&from_v, &modes_v[mode])) * 256;
            }
            let (best, _) = cheapest(costs);
            let mut left = false;
            for (plane, source, guess) in [(u, &from_u, &mut modes_u[best]), (v, &from_v, &mut modes_v[best])] {
                for part in 0..4 {
                    let (x, y) = (part % 2 * 4, part / 2 * 4);
                    let mut block = forward(&residue(source, guess, x, y));
                    left |= steps.through(&mut block, 0);
                    add(guess, x, y, &backward(&block));
                }
                write(plane, at, guess);
            }
            inside[block] |= left;
        }
    }
}

wide! {
    /// Luma of a row of colours, 16..=235.
    fn to_luma[const C: usize](pixels: &[u8], out: &mut [u8]) {
        let pixels = &pixels.as_chunks::<C>().0[..out.len()];
        for i in 0..out.len() {
            let (r, g, b) = (i32::from(pixels[i][0]), i32::from(pixels[i][1 % C]), i32::from(pixels[i][2 % C]));
            out[i] = ((16_839 * r + 33_059 * g + 6420 * b + (16 << 16) + (1 << 15)) >> 16) as u8;
        }
    }
}

wide! {
    /// The two chroma of squares of two by two pixels: rows of an even number of pixels.
    fn to_chroma[const C: usize](above: &[u8], below: &[u8], u: &mut [u8], v: &mut [u8]) {
        let (above, below) = (above.as_chunks::<C>().0.as_chunks::<2>().0, below.as_chunks::<C>().0.as_chunks::<2>().0);
        let (above, below, v) = (&above[..u.len()], &below[..u.len()], &mut v[..u.len()]);
        for i in 0..u.len() {
            let sum = |c: usize| {
                let c = c % C;
                i32::from(above[i][0][c]) + i32::from(above[i][1][c]) + i32::from(below[i][0][c]) + i32::from(below[i][1][c])
            };
            let (r, g, b) = (sum(0), sum(1), sum(2));
            let middle = (128 << 18) + (1 << 17);
            u[i] = ((-9719 * r - 19_081 * g + 28_800 * b + middle) >> 18).max(0).min(255) as u8;
            v[i] = ((28_800 * r - 24_116 * g - 4684 * b + middle) >> 18).max(0).min(255) as u8;
        }
    }
}

wide! {
    /// Twice as wide, between a near and a far row: 9, 3, 3 and 1 of sixteen.
    fn double(near: &[u8], far: &[u8], row: &mut [u16], out: &mut [u8]) {
        let len = near.len();
        let (middle, far) = (&mut row[1..=len], &far[..len]);
        for i in 0..len {
            middle[i] = 3 * u16::from(near[i]) + u16::from(far[i]);
        }
        row[0] = row[1];
        row[len + 1] = row[len];
        let (left, middle, right) = (&row[..len], &row[1..=len], &row[2..2 + len]);
        let out = &mut out.as_chunks_mut::<2>().0[..len];
        for i in 0..len {
            out[i][0] = ((3 * middle[i] + left[i] + 8) >> 4) as u8;
            out[i][1] = ((3 * middle[i] + right[i] + 8) >> 4) as u8;
        }
    }
}

#[inline(always)]
fn high(value: u8, by: i32) -> i32 {
    (i32::from(value) * by) >> 8
}

#[inline(always)]
fn shown(value: i32) -> u8 {
    (value >> 6).max(0).min(255) as u8
}

wide! {
    /// Colours of a row.
    fn join[const C: usize](pixels: &mut [u8], y: &[u8], u: &[u8], v: &[u8]) {
        let pixels = pixels.as_chunks_mut::<C>().0;
        let (y, u, v) = (&y[..pixels.len()], &u[..pixels.len()], &v[..pixels.len()]);
        for i in 0..pixels.len() {
            let light = high(y[i], 19_077);
            pixels[i][0] = shown(light + high(v[i], 26_149) - 14_234);
            pixels[i][1 % C] = shown(light - high(u[i], 6419) - high(v[i], 13_320) + 8708);
            pixels[i][2 % C] = shown(light + high(u[i], 33_050) - 17_685);
        }
    }
}

/// The quantizer index of a quality in `0..=1`: the curve of libwebp, by which sizes of files fall about as those of JPEG do.
fn index(quality: f64) -> usize {
    let linear = if quality < 0.75 { quality * 2.0 / 3.0 } else { 2.0 * quality - 1.0 };
    (127.0 * (1.0 - linear.cbrt())) as usize
}

/// What a lossy WebP file of `quality` (0..=100, as libwebp counts it; fractions are allowed) leaves of the picture: Rec. 601 colours of limited range, chroma halved along
/// both axes, VP8 key frame (RFC 6386) with one segment, modes chosen by squared error, the normal loop filter at libwebp's usual strength. An encoder that weighs bits
/// more finely leaves other details at the same quantizer. Alpha stays (WebP keeps it without loss). A quality outside counts as the nearest inside, NaN as 100.
pub fn webp(image: &mut ImageBuffer, quality: f64) {
    let quality = if quality.is_nan() { 100.0 } else { quality.clamp(0.0, 100.0) };
    let quantizer = Quantizer::new(index(quality / 100.0));
    match image.channels() {
        1 => gray(image, &quantizer),
        3 => coloured::<3>(image, &quantizer),
        _ => coloured::<4>(image, &quantizer),
    }
}

/// Luma of the picture, compressed, and where the filter goes inside; without the filter.
fn compressed_luma<const C: usize>(image: &ImageBuffer, quantizer: &Quantizer) -> (Plane, Vec<bool>) {
    let (width, height) = (image.width(), image.height());
    let (columns, rows) = (width.div_ceil(MACRO), height.div_ceil(MACRO));
    let mut plane = Plane::new(columns * MACRO, rows * MACRO);
    for (y, row) in image.pixels().chunks_exact(width * C).enumerate() {
        to_luma::<C>(row, &mut plane.row_mut(y)[..width]);
    }
    plane.extend(width, height);
    let mut inside = vec![false; columns * rows];
    luma(&mut plane, quantizer, &mut inside);
    (plane, inside)
}

fn gray(image: &mut ImageBuffer, quantizer: &Quantizer) {
    let width = image.width();
    let (mut plane, inside) = compressed_luma::<1>(image, quantizer);
    if quantizer.filter > 0 {
        filter::soften_all::<MACRO>(&mut plane, width.div_ceil(MACRO), &inside, quantizer.filter);
    }
    let neutral = vec![128; width];
    for (y, row) in image.pixels_mut().chunks_exact_mut(width).enumerate() {
        join::<1>(row, plane.row(y), &neutral, &neutral);
    }
}

fn coloured<const C: usize>(image: &mut ImageBuffer, quantizer: &Quantizer) {
    let (width, height) = (image.width(), image.height());
    let stride = width * C;
    let (columns, rows) = (width.div_ceil(MACRO), height.div_ceil(MACRO));
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let (mut light, mut inside) = compressed_luma::<C>(image, quantizer);
    let mut planes = [(); 2].map(|()| Plane::new(columns * MACRO / 2, rows * MACRO / 2));
    // Two rows, extended to an even width.
    let mut pair = [(); 2].map(|()| vec![0u8; 2 * half_width * C]);
    for half in 0..half_height {
        for (which, row) in pair.iter_mut().enumerate() {
            let y = (2 * half + which).min(height - 1);
            let source = &image.pixels()[y * stride..(y + 1) * stride];
            row[..stride].copy_from_slice(source);
            let at = row.len() - C;
            row[at..].copy_from_slice(&source[stride - C..]);
        }
        let ([above, below], [u, v]) = (&pair, &mut planes);
        to_chroma::<C>(above, below, &mut u.row_mut(half)[..half_width], &mut v.row_mut(half)[..half_width]);
    }
    planes.iter_mut().for_each(|plane| plane.extend(half_width, half_height));
    chroma(&mut planes, &quantizer.chroma, &mut inside);
    if quantizer.filter > 0 {
        filter::soften_all::<MACRO>(&mut light, columns, &inside, quantizer.filter);
        planes.iter_mut().for_each(|plane| filter::soften_all::<{ MACRO / 2 }>(plane, columns, &inside, quantizer.filter));
    }

    let mut between = vec![0u16; half_width + 2];
    let mut wide = [(); 2].map(|()| vec![0u8; 2 * half_width]);
    for (y, row) in image.pixels_mut().chunks_exact_mut(stride).enumerate() {
        let (near, far) = (y / 2, if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(half_height - 1) });
        for (plane, out) in planes.iter().zip(&mut wide) {
            double(&plane.row(near)[..half_width], &plane.row(far)[..half_width], &mut between, out);
        }
        let [u, v] = &wide;
        join::<C>(row, light.row(y), u, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::{gaussian_blur, tests_support::image};
    use proptest::prelude::*;

    fn distance(a: &ImageBuffer, b: &ImageBuffer) -> f64 {
        let sum: u64 = a.pixels().iter().zip(b.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.pixels().len() as f64
    }

    #[test]
    fn qualities_are_quantizers() {
        // 127 (1 - cbrt(2/3 q)) below three quarters, 127 (1 - cbrt(2 q - 1)) above.
        assert_eq!([0.0, 0.1, 0.5, 0.75, 0.9, 1.0].map(index), [127, 75, 38, 26, 9, 0]);
    }

    #[test]
    fn less_quality_leaves_less() {
        for channels in [1, 3, 4] {
            let picture = gaussian_blur(&image(75, 50, channels, 4), 2.0);
            let left = |quality| {
                let mut out = picture.clone();
                webp(&mut out, quality);
                distance(&picture, &out)
            };
            let [poor, middle, good, best] = [0.0, 30.0, 80.0, 100.0].map(left);
            assert!(poor > middle && middle > good && good > best && best < 2.0, "{channels}: {poor} {middle} {good} {best}");
        }
    }

    #[test]
    fn edges_of_blocks_are_softened() {
        // A slow ramp: without the filter the steps of flat macroblocks would show.
        let bytes = (0..128 * 128).map(|i| (i % 128 + i / 128) as u8 / 2 + 60).collect();
        let mut ramp = ImageBuffer::new(128, 128, 1, bytes).unwrap();
        webp(&mut ramp, 5.0);
        let steps =
            |x: usize| (0..128).map(|y| u32::from(ramp.pixels()[y * 128 + x].abs_diff(ramp.pixels()[y * 128 + x - 1]))).sum::<u32>();
        let (at_edges, inside) = ((1..8).map(|k| steps(16 * k)).sum::<u32>(), (1..8).map(|k| steps(16 * k - 8)).sum::<u32>());
        assert!(at_edges <= inside + 3 * 7 * 128, "{at_edges} {inside}");
    }

    proptest! {
        #[test]
        fn any_size_and_quality(w in 1usize..40, h in 1usize..40, c in prop::sample::select(vec![1usize, 3, 4]), quality in -5.0f64..120.0, seed in 0u64..9) {
            let picture = image(w, h, c, seed);
            let mut out = picture.clone();
            webp(&mut out, quality);
            prop_assert!(c < 4 || out.pixels().iter().skip(3).step_by(4).eq(picture.pixels().iter().skip(3).step_by(4)));
            // Gray comes through as gray, within what the limited range and the least step lose.
            let mut flat = ImageBuffer::filled(w, h, c, 128).unwrap();
            webp(&mut flat, quality);
            let most = flat.pixels().iter().enumerate().filter(|(i, _)| c < 4 || i % 4 < 3).map(|(_, p)| p.abs_diff(128)).max().unwrap();
            prop_assert!(most <= 4, "{most}");
        }
    }
}
