//! What JPEG compression takes from a picture, without the bytes: entropy coding loses nothing, so it is left out.

use super::bytes::to_byte;
use crate::{augment::wide::wide, sample::ImageBuffer};

/// Quantization of luma at quality 50 (ITU-T T.81, table K.1), row by row.
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62, 18, 22,
    37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];

/// Quantization of chroma (table K.2).
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// Blocks of eight by eight values that are worked on side by side.
const BESIDE: usize = 2;
/// Their values in a row.
const WIDE: usize = 8 * BESIDE;

/// Eight rows of neighbouring blocks.
type Block = [[f32; WIDE]; 8];

/// cos(k pi / 16) / 2, and 1 / sqrt(8).
const C1: f32 = 0.490_392_64;
const C2: f32 = 0.461_939_77;
const C3: f32 = 0.415_734_8;
const C5: f32 = 0.277_785_12;
const C6: f32 = 0.191_341_72;
const C7: f32 = 0.097_545_16;
const A: f32 = 0.353_553_4;

/// Orthonormal cosine transform of each column.
#[inline(always)]
fn forward(x: &mut Block) {
    for i in 0..WIDE {
        let (s0, s1, s2, s3) = (x[0][i] + x[7][i], x[1][i] + x[6][i], x[2][i] + x[5][i], x[3][i] + x[4][i]);
        let (d0, d1, d2, d3) = (x[0][i] - x[7][i], x[1][i] - x[6][i], x[2][i] - x[5][i], x[3][i] - x[4][i]);
        x[0][i] = A * ((s0 + s3) + (s1 + s2));
        x[4][i] = A * ((s0 + s3) - (s1 + s2));
        x[2][i] = C2 * (s0 - s3) + C6 * (s1 - s2);
        x[6][i] = C6 * (s0 - s3) - C2 * (s1 - s2);
        x[1][i] = C1 * d0 + C3 * d1 + C5 * d2 + C7 * d3;
        x[3][i] = C3 * d0 - C7 * d1 - C1 * d2 - C5 * d3;
        x[5][i] = C5 * d0 - C1 * d1 + C7 * d2 + C3 * d3;
        x[7][i] = C7 * d0 - C5 * d1 + C3 * d2 - C1 * d3;
    }
}

/// The transform back.
#[inline(always)]
fn backward(x: &mut Block) {
    for i in 0..WIDE {
        let (sum, difference) = (A * (x[0][i] + x[4][i]), A * (x[0][i] - x[4][i]));
        let (p, q) = (C2 * x[2][i] + C6 * x[6][i], C6 * x[2][i] - C2 * x[6][i]);
        let even = [sum + p, difference + q, difference - q, sum - p];
        let odd = [
            C1 * x[1][i] + C3 * x[3][i] + C5 * x[5][i] + C7 * x[7][i],
            C3 * x[1][i] - C7 * x[3][i] - C1 * x[5][i] - C5 * x[7][i],
            C5 * x[1][i] - C1 * x[3][i] + C7 * x[5][i] + C3 * x[7][i],
            C7 * x[1][i] - C5 * x[3][i] + C3 * x[5][i] - C1 * x[7][i],
        ];
        for k in 0..4 {
            x[k][i] = even[k] + odd[k];
            x[7 - k][i] = even[k] - odd[k];
        }
    }
}

/// Each block's rows as its columns.
#[inline(always)]
fn transposed(x: &Block) -> Block {
    let mut out = [[0.0; WIDE]; 8];
    for block in 0..BESIDE {
        for i in 0..8 {
            for k in 0..8 {
                out[k][8 * block + i] = x[i][8 * block + k];
            }
        }
    }
    out
}

/// Rounds to the nearest whole number; at most four million.
#[inline(always)]
fn whole(value: f32) -> f32 {
    (value + 12_582_912.0) - 12_582_912.0
}

wide! {
    /// Quantizes and restores the coefficients of all blocks of rows of `width` values, which holds whole [`WIDE`]s, eight rows a block. The steps stand transposed.
    fn quantize(rows: &mut [f32], width: usize, steps: &Block, inverse: &Block) {
        for strip in rows.chunks_exact_mut(8 * width) {
            for left in (0..width).step_by(WIDE) {
                let mut block: Block = [[0.0; WIDE]; 8];
                for k in 0..8 {
                    block[k].copy_from_slice(&strip[k * width + left..][..WIDE]);
                }
                forward(&mut block);
                let mut block = transposed(&block);
                forward(&mut block);
                for k in 0..8 {
                    for i in 0..WIDE {
                        block[k][i] = whole(block[k][i] * inverse[k][i]) * steps[k][i];
                    }
                }
                backward(&mut block);
                let mut block = transposed(&block);
                backward(&mut block);
                for k in 0..8 {
                    for i in 0..WIDE {
                        block[k][i] = whole((block[k][i] + 128.0).max(0.0).min(255.0)) - 128.0;
                    }
                    strip[k * width + left..][..WIDE].copy_from_slice(&block[k]);
                }
            }
        }
    }
}

/// The steps of a quality, and what multiplies to divide by them.
struct Steps {
    steps: Block,
    inverse: Block,
}

impl Steps {
    fn new(table: &[u8; 64], quality: f64) -> Self {
        let scale = if quality < 50.0 { 5000.0 / quality } else { 200.0 - 2.0 * quality };
        let step = |i: usize, k: usize| ((f64::from(table[k * 8 + i]) * scale + 50.0) / 100.0).floor().clamp(1.0, 255.0) as f32;
        let steps: Block = std::array::from_fn(|i| std::array::from_fn(|k| step(i, k % 8)));
        Self { steps, inverse: steps.map(|row| row.map(f32::recip)) }
    }
}

/// Rows of one channel, 128 taken away, each extended to whole blocks.
struct Rows {
    width: usize,
    padded: usize,
    values: Vec<f32>,
}

impl Rows {
    /// As many rows as whole blocks have.
    fn new(width: usize, height: usize) -> Self {
        let padded = width.next_multiple_of(WIDE);
        Self { width, padded, values: vec![0.0; padded * height.next_multiple_of(8)] }
    }

    fn row_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.values[y * self.padded..][..self.width]
    }

    fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.padded..][..self.width]
    }

    /// Extends the last column, and the last of `height` rows, and goes through the blocks.
    fn compress(&mut self, height: usize, steps: &Steps) {
        for row in self.values.chunks_exact_mut(self.padded).take(height) {
            let last = row[self.width - 1];
            row[self.width..].fill(last);
        }
        let (filled, rest) = self.values.split_at_mut(height * self.padded);
        let last = &filled[filled.len() - self.padded..];
        rest.chunks_exact_mut(self.padded).for_each(|row| row.copy_from_slice(last));
        quantize(&mut self.values, self.padded, &steps.steps, &steps.inverse);
    }
}

wide! {
    /// Luma of a row of colours, 128 taken away.
    fn luma[const C: usize](pixels: &[u8], y: &mut [f32]) {
        let pixels = &pixels.as_chunks::<C>().0[..y.len()];
        for i in 0..y.len() {
            let (r, g, b) = (f32::from(pixels[i][0]), f32::from(pixels[i][1 % C]), f32::from(pixels[i][2 % C]));
            y[i] = whole(0.299 * r + 0.587 * g + 0.114 * b) - 128.0;
        }
    }
}

wide! {
    /// The two chroma of a row of colours.
    fn chroma[const C: usize](pixels: &[u8], cb: &mut [f32], cr: &mut [f32]) {
        let pixels = pixels.as_chunks::<C>().0;
        let (cb, cr) = (&mut cb[..pixels.len()], &mut cr[..pixels.len()]);
        for i in 0..pixels.len() {
            let (r, g, b) = (f32::from(pixels[i][0]), f32::from(pixels[i][1 % C]), f32::from(pixels[i][2 % C]));
            cb[i] = -0.168_735_9 * r - 0.331_264_1 * g + 0.5 * b;
            cr[i] = 0.5 * r - 0.418_687_6 * g - 0.081_312_41 * b;
        }
    }
}

wide! {
    fn join[const C: usize](pixels: &mut [u8], y: &[f32], cb: &[f32], cr: &[f32]) {
        let pixels = &mut pixels.as_chunks_mut::<C>().0[..y.len()];
        let (cb, cr) = (&cb[..y.len()], &cr[..y.len()]);
        for i in 0..y.len() {
            let y = y[i] + 128.0;
            pixels[i][0] = to_byte(y + 1.402 * cr[i]);
            pixels[i][1 % C] = to_byte(y - 0.344_136_3 * cb[i] - 0.714_136_3 * cr[i]);
            pixels[i][2 % C] = to_byte(y + 1.772 * cb[i]);
        }
    }
}

wide! {
    /// The mean of squares of two pixels, rounded.
    fn halve(above: &[f32], below: &[f32], out: &mut [f32]) {
        let (above, below) = (&above.as_chunks::<2>().0[..out.len()], &below.as_chunks::<2>().0[..out.len()]);
        for i in 0..out.len() {
            out[i] = whole(0.25 * (above[i][0] + above[i][1] + below[i][0] + below[i][1]));
        }
    }
}

wide! {
    /// Twice as wide: three quarters of the nearer, a quarter of the farther, along both axes.
    fn double(near: &[f32], far: &[f32], row: &mut [f32], out: &mut [f32]) {
        let len = near.len();
        // One more value at both ends.
        let (middle, far) = (&mut row[1..=len], &far[..len]);
        for i in 0..len {
            middle[i] = 0.75 * near[i] + 0.25 * far[i];
        }
        row[0] = row[1];
        row[len + 1] = row[len];
        let (left, middle, right) = (&row[..len], &row[1..=len], &row[2..2 + len]);
        let out = &mut out.as_chunks_mut::<2>().0[..len];
        for i in 0..len {
            out[i][0] = 0.75 * middle[i] + 0.25 * left[i];
            out[i][1] = 0.75 * middle[i] + 0.25 * right[i];
        }
    }
}

/// What a JPEG file of `quality` (1..=100, as libjpeg counts it; fractions are allowed) leaves of the picture: colours halved along both axes,
/// cosine transform of 8 x 8 blocks, quantization by the tables of annex K. Alpha stays. A quality outside counts as the nearest inside, NaN as 100.
pub fn jpeg(image: &mut ImageBuffer, quality: f64) {
    let quality = if quality.is_nan() { 100.0 } else { quality.clamp(1.0, 100.0) };
    match image.channels() {
        1 => gray(image, quality),
        3 => coloured::<3>(image, quality),
        _ => coloured::<4>(image, quality),
    }
}

fn gray(image: &mut ImageBuffer, quality: f64) {
    let width = image.width();
    let steps = Steps::new(&LUMA, quality);
    let mut strip = Rows::new(width, 8);
    for pixels in image.pixels_mut().chunks_mut(8 * width) {
        for (y, row) in pixels.chunks_exact(width).enumerate() {
            strip.row_mut(y).iter_mut().zip(row).for_each(|(v, p)| *v = f32::from(*p) - 128.0);
        }
        strip.compress(pixels.len() / width, &steps);
        for (y, row) in pixels.chunks_exact_mut(width).enumerate() {
            row.iter_mut().zip(strip.row(y)).for_each(|(p, v)| *p = to_byte(v + 128.0));
        }
    }
}

/// Chroma of the whole picture first; then luma by strips of eight rows, which stay in the cache.
fn coloured<const C: usize>(image: &mut ImageBuffer, quality: f64) {
    let (width, height) = (image.width(), image.height());
    let stride = width * C;
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut planes = [Rows::new(half_width, half_height), Rows::new(half_width, half_height)];
    // Two rows of each chroma, extended to an even width.
    let even = 2 * half_width;
    let mut rows: [[Vec<f32>; 2]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| vec![0.0; even]));
    for half in 0..half_height {
        for which in 0..2 {
            // The last row stands below itself where their number is odd.
            let y = (2 * half + which).min(height - 1);
            let [blue, red] = &mut rows;
            chroma::<C>(&image.pixels()[y * stride..(y + 1) * stride], &mut blue[which], &mut red[which]);
            for row in [&mut blue[which], &mut red[which]] {
                row[even - 1] = row[width - 1];
            }
        }
        for (plane, [above, below]) in planes.iter_mut().zip(&rows) {
            halve(above, below, plane.row_mut(half));
        }
    }
    let steps = Steps::new(&CHROMA, quality);
    planes.iter_mut().for_each(|plane| plane.compress(half_height, &steps));

    let steps = Steps::new(&LUMA, quality);
    let mut strip = Rows::new(width, 8);
    let mut between = vec![0.0; half_width + 2];
    let [[cb, _], [cr, _]] = &mut rows;
    for (at, pixels) in image.pixels_mut().chunks_mut(8 * stride).enumerate() {
        for (y, row) in pixels.chunks_exact(stride).enumerate() {
            luma::<C>(row, strip.row_mut(y));
        }
        strip.compress(pixels.len() / stride, &steps);
        for (i, row) in pixels.chunks_exact_mut(stride).enumerate() {
            let y = 8 * at + i;
            let (near, far) = (y / 2, if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(half_height - 1) });
            for (plane, out) in planes.iter().zip([&mut *cb, &mut *cr]) {
                double(plane.row(near), plane.row(far), &mut between, out);
            }
            join::<C>(row, strip.row(i), cb, cr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::{gaussian_blur, tests_support::image};
    use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
    use proptest::prelude::*;

    fn by_file(picture: &ImageBuffer, quality: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
        encoder.write_image(picture.pixels(), picture.width() as u32, picture.height() as u32, ExtendedColorType::L8).unwrap();
        image::load_from_memory(&bytes).unwrap().into_bytes()
    }

    // The encoder halves no colours, so gray alone compares; colour has a golden file.
    #[test]
    fn it_is_what_a_file_would_leave() {
        let picture = gaussian_blur(&image(70, 45, 1, 4), 2.0);
        for quality in [10, 50, 90] {
            let mut ours = picture.clone();
            jpeg(&mut ours, f64::from(quality));
            let theirs = by_file(&picture, quality);
            let distance = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64;
            let between = distance(ours.pixels(), &theirs);
            assert!(between < 0.6, "{quality}: {between}, {} from the picture", distance(&theirs, picture.pixels()));
        }
    }

    #[test]
    fn transforms_are_inverse() {
        let mut block: Block = std::array::from_fn(|i| std::array::from_fn(|k| ((i * 37 + k * 11) % 23) as f32));
        let before = block;
        forward(&mut block);
        // The first coefficient is the sum by sqrt(8).
        assert!((block[0][3] - before.iter().map(|row| row[3]).sum::<f32>() / 8f32.sqrt()).abs() < 1e-4);
        backward(&mut block);
        assert!(block.iter().flatten().zip(before.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    proptest! {
        #[test]
        fn any_size_and_quality(w in 1usize..40, h in 1usize..40, c in prop::sample::select(vec![1usize, 3, 4]), quality in -5.0f64..120.0) {
            let picture = image(w, h, c, 1);
            let mut out = picture.clone();
            jpeg(&mut out, quality);
            prop_assert!(c < 4 || out.pixels().iter().skip(3).step_by(4).eq(picture.pixels().iter().skip(3).step_by(4)));
            let mut flat = ImageBuffer::filled(w, h, c, 128).unwrap();
            jpeg(&mut flat, quality);
            prop_assert_eq!(flat, ImageBuffer::filled(w, h, c, 128).unwrap());
        }
    }
}
