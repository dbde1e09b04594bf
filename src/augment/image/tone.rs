use super::{
    bytes::{apply_table, apply_tables, to_byte},
    colour_channels,
};
use crate::{augment::wide::wide, sample::ImageBuffer};

/// The table of 256 values of a function of one colour value, rounded and cut at black and white.
pub(super) fn table(f: impl Fn(f32) -> f32) -> [u8; 256] {
    std::array::from_fn(|i| f(i as f32).round().clamp(0.0, 255.0) as u8)
}

/// A change of colours that looks every colour value up in one table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tone {
    /// See [`gain`].
    Gain(f32),
    /// See [`brightness`].
    Brightness(f32),
    /// See [`contrast`]: the table depends on the picture's mean.
    Contrast(f32),
    /// See [`linear`]: factor and offset.
    Linear(f32, f32),
    /// See [`gamma`].
    Gamma(f32),
    /// See [`solarize`].
    Solarize(f32),
    /// See [`posterize`].
    Posterize(usize),
}

impl Tone {
    /// The table; `mean` gives the mean luma of the picture as it is before this change.
    fn table(self, mean: impl FnOnce() -> f32) -> [u8; 256] {
        match self {
            Self::Gain(factor) => table(|p| p * factor),
            Self::Brightness(offset) => table(|p| p + offset * 255.0),
            Self::Contrast(factor) => {
                let mean = mean();
                table(|p| mean + (p - mean) * factor)
            }
            Self::Linear(factor, offset) => table(|p| p * factor + offset * 255.0),
            Self::Gamma(gamma) => table(|p| 255.0 * (p / 255.0).powf(gamma)),
            Self::Solarize(threshold) => {
                let threshold = threshold * 255.0;
                table(|p| if p >= threshold { 255.0 - p } else { p })
            }
            Self::Posterize(levels) => {
                let step = 255.0 / (levels.clamp(2, 256) - 1) as f32;
                table(|p| (p / step).round() * step)
            }
        }
    }
}

/// Several changes in a row as one look-up: the bytes that one after the other would give, with one pass over the picture (and one to read it for each
/// [`Tone::Contrast`], whose table needs the mean of what comes before it).
pub fn tones(image: &mut ImageBuffer, changes: &[Tone]) {
    if let Some(all) = joined(image, changes) {
        let channels = image.channels();
        apply_table(image.pixels_mut(), channels, &all);
    }
}

/// [`tones`] into a new image: one pass that copies and looks up.
pub fn toned(image: &ImageBuffer, changes: &[Tone]) -> ImageBuffer {
    let Some(all) = joined(image, changes) else { return image.clone() };
    let (channels, mut pixels) = (image.channels(), Vec::with_capacity(image.pixels().len()));
    // Pieces that stay in the nearest cache between copy and look-up; whole pixels of any kind.
    for piece in image.pixels().chunks(PIECE) {
        let start = pixels.len();
        pixels.extend_from_slice(piece);
        apply_table(&mut pixels[start..], channels, &all);
    }
    ImageBuffer::new(image.width(), image.height(), channels, pixels).unwrap_or_else(|_| image.clone())
}

/// Bytes that are worked on at once: a multiple of the bytes of one, three and four channels.
const PIECE: usize = 64 * 192;

/// One table for all changes; `None` for none.
fn joined(image: &ImageBuffer, changes: &[Tone]) -> Option<[u8; 256]> {
    let mut all: Option<[u8; 256]> = None;
    for change in changes {
        let next = change.table(|| all.as_ref().map_or_else(|| mean_luma(image), |table| mean_luma_through(image, table)) as f32);
        all = Some(all.map_or(next, |before| before.map(|p| next[usize::from(p)])));
    }
    all
}

/// The mean luma that a picture would have after a look-up.
fn mean_luma_through(image: &ImageBuffer, table: &[u8; 256]) -> f64 {
    let mut sums = [0; 4];
    let mut piece = [0; PIECE];
    for from in image.pixels().chunks(PIECE) {
        let piece = &mut piece[..from.len()];
        piece.copy_from_slice(from);
        apply_table(piece, image.channels(), table);
        sums.iter_mut().zip(sums_of(piece, image.channels())).for_each(|(sum, more)| *sum += more);
    }
    mean_of(sums, image)
}

/// Multiplies every colour value by `factor` (at least 0), cut at white: the light of the scene.
pub fn gain(image: &ImageBuffer, factor: f32) -> ImageBuffer {
    toned(image, &[Tone::Gain(factor)])
}

/// [`gain`] where the image lies.
pub fn gain_in_place(image: &mut ImageBuffer, factor: f32) {
    tones(image, &[Tone::Gain(factor)]);
}

/// Adds `offset` (of the full range, `-1..=1`) to every colour value, cut at black and white.
pub fn brightness(image: &ImageBuffer, offset: f32) -> ImageBuffer {
    toned(image, &[Tone::Brightness(offset)])
}

/// [`brightness`] where the image lies.
pub fn brightness_in_place(image: &mut ImageBuffer, offset: f32) {
    tones(image, &[Tone::Brightness(offset)]);
}

/// Scales the distance of every colour value from the image's mean luma (Rec. 601) by `factor` (at least 0); 0 leaves one gray.
pub fn contrast(image: &ImageBuffer, factor: f32) -> ImageBuffer {
    toned(image, &[Tone::Contrast(factor)])
}

/// [`contrast`] where the image lies.
pub fn contrast_in_place(image: &mut ImageBuffer, factor: f32) {
    tones(image, &[Tone::Contrast(factor)]);
}

/// A straight line: every colour value times `factor`, plus `offset` of the full range, cut at black and white. Brightness and contrast in one
/// look-up, without the image's mean.
pub fn linear(image: &mut ImageBuffer, factor: f32, offset: f32) {
    tones(image, &[Tone::Linear(factor, offset)]);
}

/// Raises every colour value (of the full range) to the power `gamma`, above 0: below 1 shadows are lifted, above 1 they close.
pub fn gamma(image: &mut ImageBuffer, gamma: f32) {
    tones(image, &[Tone::Gamma(gamma)]);
}

/// Turns every colour value of at least `threshold` (of the full range) into its negative, as overexposed film does; 0 is the negative of all,
/// above 1 nothing changes.
pub fn solarize(image: &mut ImageBuffer, threshold: f32) {
    tones(image, &[Tone::Solarize(threshold)]);
}

/// Rounds every colour value to the nearest of `levels` values (2..=256) evenly spread from black to white. Fewer count as 2.
pub fn posterize(image: &mut ImageBuffer, levels: usize) {
    tones(image, &[Tone::Posterize(levels)]);
}

/// Spreads the values of each colour channel evenly from black to white by its histogram (as OpenCV's `equalizeHist`, a channel at a time) and
/// goes `share` (`0..=1`) of the way there. A channel of one value stays.
pub fn equalize(image: &mut ImageBuffer, share: f32) {
    let channels = image.channels();
    let counts = match channels {
        1 => count_values::<1>(image.pixels()),
        3 => count_values::<3>(image.pixels()),
        _ => count_values::<4>(image.pixels()),
    };
    let tables = counts.map(|count| equalizing(&count, share));
    if channels == 1 { apply_table(image.pixels_mut(), 1, &tables[0]) } else { apply_tables(image.pixels_mut(), channels, &tables) }
}

/// How often each value comes in each colour channel.
fn count_values<const C: usize>(bytes: &[u8]) -> [[u32; 256]; 3] {
    // Neighbours count apart, so that one need not wait for the other where they are alike.
    let mut counts = [[[0u32; 256]; 3]; 2];
    let count = |counts: &mut [[u32; 256]; 3], pixel: &[u8; C]| {
        for c in 0..C.min(3) {
            counts[c][usize::from(pixel[c])] = counts[c][usize::from(pixel[c])].wrapping_add(1);
        }
    };
    let (pairs, last) = bytes.as_chunks::<C>().0.as_chunks::<2>();
    let [even, odd] = &mut counts;
    for [a, b] in pairs {
        count(even, a);
        count(odd, b);
    }
    last.iter().for_each(|pixel| count(even, pixel));
    for (sum, more) in even.as_flattened_mut().iter_mut().zip(odd.as_flattened()) {
        *sum += more;
    }
    counts[0]
}

/// The table that spreads the values counted.
fn equalizing(count: &[u32; 256], share: f32) -> [u8; 256] {
    let total: u32 = count.iter().sum();
    let least = count.iter().find(|n| **n > 0).copied().unwrap_or(0);
    let scale = if total > least { 255.0 / (total - least) as f32 } else { return std::array::from_fn(|i| i as u8) };
    let mut below = 0u32;
    std::array::from_fn(|i| {
        below += count[i];
        let spread = (below.saturating_sub(least) as f32 * scale).round();
        to_byte(i as f32 + share * (spread - i as f32))
    })
}

/// Contrast limited adaptive histogram equalization (Zuiderveld 1994, "Contrast limited adaptive histogram equalization", Graphics Gems IV),
/// with the rules of OpenCV's `CLAHE`: the picture is cut into `columns` x `rows` tiles (1..=64), mirrored at its end to a whole number of pixels a
/// tile; no histogram bin counts more than `limit` times the mean; the tables are mixed bilinearly. It works on luma (Rec. 601), and the colours move
/// along with it, `share` (`0..=1`) of the way.
pub fn clahe(image: &mut ImageBuffer, limit: f32, columns: usize, rows: usize, share: f32) {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let (columns, rows) = (columns.clamp(1, 64), rows.clamp(1, 64));
    let gray = luma(image);
    let (tile_width, tile_height) = (width.div_ceil(columns), height.div_ceil(rows));
    let area = (tile_width * tile_height) as u32;
    let most = if limit > 0.0 { ((limit * area as f32 / 256.0) as u32).max(1) } else { u32::MAX };
    let mirror = |at: usize, len: usize| {
        // Without its own edge pixel, as often as needed.
        let period = (2 * len).saturating_sub(2).max(1);
        let at = at % period;
        if at < len { at } else { period - at }
    };
    let mut tables = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        for column in 0..columns {
            let mut count = [0u32; 256];
            for y in row * tile_height..(row + 1) * tile_height {
                let line = &gray[mirror(y, height) * width..][..width];
                for x in column * tile_width..(column + 1) * tile_width {
                    count[usize::from(line[mirror(x, width)])] += 1;
                }
            }
            tables.push(limited(count, most, area));
        }
    }
    // Tiles beside a place, and how far it is from the middle of the first to that of the second.
    let beside = |at: usize, size: usize, count: usize| {
        let place = at as f32 / size as f32 - 0.5;
        let first = place.floor();
        let clamp = |tile: f32| tile.clamp(0.0, (count - 1) as f32) as usize;
        (clamp(first), clamp(first + 1.0), place - first)
    };
    let across: Vec<_> = (0..width).map(|x| beside(x, tile_width, columns)).collect();
    let shown = colour_channels(channels);
    let bytes = image.pixels_mut().chunks_exact_mut(width * channels);
    for ((y, line), gray) in bytes.enumerate().zip(gray.chunks_exact(width)) {
        let (above, below, down) = beside(y, tile_height, rows);
        let (above, below) = (&tables[above * columns..][..columns], &tables[below * columns..][..columns]);
        for ((pixel, gray), (left, right, t)) in line.chunks_exact_mut(channels).zip(gray).zip(&across) {
            let v = usize::from(*gray);
            let mix = |tables: &[[u8; 256]]| f32::from(tables[*left][v]) * (1.0 - t) + f32::from(tables[*right][v]) * t;
            let change = share * (mix(above) * (1.0 - down) + mix(below) * down - v as f32);
            pixel[..shown].iter_mut().for_each(|p| *p = to_byte(f32::from(*p) + change));
        }
    }
}

/// The table of a tile: what exceeds the limit is spread over all bins.
fn limited(mut count: [u32; 256], most: u32, area: u32) -> [u8; 256] {
    let excess: u32 = count.iter().map(|n| n.saturating_sub(most)).sum();
    let (each, left) = (excess / 256, excess as usize % 256);
    count.iter_mut().for_each(|n| *n = (*n).min(most) + each);
    if let Some(step) = 256usize.checked_div(left) {
        count.iter_mut().step_by(step.max(1)).take(left).for_each(|n| *n += 1);
    }
    let scale = 255.0 / area as f32;
    let mut below = 0;
    count.map(|n| {
        below += n;
        to_byte(below as f32 * scale)
    })
}

/// Luma (Rec. 601) of every pixel, rounded.
pub(super) fn luma(image: &ImageBuffer) -> Vec<u8> {
    wide! {
        fn weigh[const C: usize](pixels: &[u8], out: &mut [u8]) {
            // 65,536ths that sum to one.
            let pixels = &pixels.as_chunks::<C>().0[..out.len()];
            for i in 0..out.len() {
                let (r, g, b) = (u32::from(pixels[i][0]), u32::from(pixels[i][1 % C]), u32::from(pixels[i][2 % C]));
                out[i] = (r.wrapping_mul(19_595).wrapping_add(g.wrapping_mul(38_470)).wrapping_add(b.wrapping_mul(7_471)).wrapping_add(32_768) >> 16) as u8;
            }
        }
    }
    let mut out = vec![0; image.width() * image.height()];
    match image.channels() {
        1 => out.copy_from_slice(image.pixels()),
        3 => weigh::<3>(image.pixels(), &mut out),
        _ => weigh::<4>(image.pixels(), &mut out),
    }
    out
}

/// The sum of each channel.
pub(super) fn channel_sums(image: &ImageBuffer) -> [u64; 4] {
    sums_of(image.pixels(), image.channels())
}

fn sums_of(bytes: &[u8], channels: usize) -> [u64; 4] {
    wide! {
        fn sums[const C: usize](bytes: &[u8]) -> [u64; 4] {
            let mut total = [0; 4];
            let (blocks, rest) = bytes.as_chunks::<C>().0.as_chunks::<64>();
            // 256 bytes fit 16 bits.
            for many in blocks.chunks(256) {
                // The bytes of 64 pixels, whatever their channels; as many as four would have.
                let mut sums = [0u16; 256];
                for block in many {
                    let bytes = block.as_flattened();
                    let sums = &mut sums[..bytes.len()];
                    for i in 0..bytes.len() {
                        sums[i] = sums[i].wrapping_add(u16::from(bytes[i]));
                    }
                }
                for i in 0..64 * C {
                    total[i % C] += u64::from(sums[i]);
                }
            }
            for pixel in rest {
                for c in 0..C {
                    total[c] += u64::from(pixel[c]);
                }
            }
            total
        }
    }
    match channels {
        1 => sums::<1>(bytes),
        3 => sums::<3>(bytes),
        _ => sums::<4>(bytes),
    }
}

/// Mean luma, `0..=255`.
pub(super) fn mean_luma(image: &ImageBuffer) -> f64 {
    mean_of(channel_sums(image), image)
}

fn mean_of([r, g, b, _]: [u64; 4], image: &ImageBuffer) -> f64 {
    let total = if image.channels() == 1 { r * 1000 } else { 299 * r + 587 * g + 114 * b };
    total as f64 / 1000.0 / (image.width() * image.height()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    #[test]
    fn worked_values() {
        let row = ImageBuffer::new(3, 1, 1, vec![0, 100, 200]).unwrap();
        assert_eq!(gain(&row, 0.5).pixels(), [0, 50, 100]);
        assert_eq!(gain(&row, 2.0).pixels(), [0, 200, 255]);
        assert_eq!(brightness(&row, -0.2).pixels(), [0, 49, 149]);
        assert_eq!(contrast(&row, 0.5).pixels(), [50, 100, 150]);
        assert_eq!(contrast(&row, 0.0).pixels(), [100, 100, 100]);
        assert_eq!(contrast(&row, 1.0), row);
        let done = |f: &dyn Fn(&mut ImageBuffer)| {
            let mut out = row.clone();
            f(&mut out);
            out.pixels().to_vec()
        };
        assert_eq!(done(&|i| linear(i, 0.5, 0.1)), [26, 76, 126]);
        // 255 sqrt(100 / 255) = 159.7.
        assert_eq!(done(&|i| gamma(i, 0.5)), [0, 160, 226]);
        assert_eq!(done(&|i| solarize(i, 0.5)), [0, 100, 55]);
        assert_eq!(done(&|i| solarize(i, 0.0)), [255, 155, 55]);
        assert_eq!(done(&|i| posterize(i, 2)), [0, 0, 255]);
        assert_eq!(done(&|i| posterize(i, 4)), [0, 85, 170]);
        assert_eq!(done(&|i| posterize(i, 256)), [0, 100, 200]);
        // Two of the three stand above the least: half of them each.
        assert_eq!(done(&|i| equalize(i, 1.0)), [0, 128, 255]);
        assert_eq!(done(&|i| equalize(i, 0.5)), [0, 114, 228]);
    }

    proptest! {
        #[test]
        fn a_row_of_changes_is_one_look_up(w in 1usize..90, h in 1usize..60, c in prop::sample::select(vec![1usize, 3, 4]),
            draws in prop::collection::vec((0usize..7, 0f32..1.0), 0..6), seed in 0u64..9) {
            let changes: Vec<Tone> = draws.into_iter().map(|(kind, x)| match kind {
                0 => Tone::Gain(2.0 * x),
                1 => Tone::Brightness(x - 0.5),
                2 => Tone::Contrast(2.0 * x),
                3 => Tone::Linear(0.5 + x, 0.3 - x / 2.0),
                4 => Tone::Gamma(0.3 + 2.0 * x),
                5 => Tone::Solarize(1.1 * x),
                _ => Tone::Posterize(2 + (14.0 * x) as usize),
            }).collect();
            let before = image(w, h, c, seed);
            let mut one_by_one = before.clone();
            for change in &changes {
                tones(&mut one_by_one, &[*change]);
            }
            let mut at_once = before.clone();
            tones(&mut at_once, &changes);
            prop_assert_eq!(&at_once, &one_by_one);
            prop_assert_eq!(toned(&before, &changes), one_by_one);
        }
    }

    #[test]
    fn alpha_stays() {
        let one = ImageBuffer::new(1, 1, 4, vec![10, 20, 30, 40]).unwrap();
        assert_eq!(gain(&one, 3.0).pixels(), [30, 60, 90, 40]);
        let mut two = image(9, 9, 4, 3);
        let before = two.clone();
        equalize(&mut two, 1.0);
        clahe(&mut two, 2.0, 3, 2, 1.0);
        assert!(two.pixels().iter().skip(3).step_by(4).eq(before.pixels().iter().skip(3).step_by(4)));
        assert_ne!(two, before);
    }

    #[test]
    fn sums_and_luma_of_every_channel_count() {
        for (width, channels) in [(1, 1), (301, 3), (200, 4)] {
            let picture = image(width, 99, channels, 5);
            let sums = channel_sums(&picture);
            for (c, sum) in sums.iter().enumerate().take(channels) {
                assert_eq!(*sum, picture.pixels().iter().skip(c).step_by(channels).map(|p| u64::from(*p)).sum::<u64>());
            }
            let total: f64 = luma(&picture).iter().map(|p| f64::from(*p)).sum();
            assert!((total / (width * 99) as f64 - mean_luma(&picture)).abs() < 0.1);
        }
    }

    #[test]
    fn equalizing_nothing_and_one_value() {
        let mut flat = ImageBuffer::filled(5, 5, 3, 9).unwrap();
        equalize(&mut flat, 1.0);
        assert_eq!(flat, ImageBuffer::filled(5, 5, 3, 9).unwrap());
        for size in [1, 2, 7, 65] {
            let mut any = image(size, size + 1, 3, 1);
            let before = any.clone();
            clahe(&mut any, 3.0, 8, 8, 0.0);
            assert_eq!(any, before);
            clahe(&mut any, 0.0, 64, 64, 1.0);
        }
    }

    #[test]
    fn a_local_contrast_is_raised() {
        let bytes: Vec<u8> = (0..64 * 64).map(|i| 100 + ((i % 64) / 8 % 2) as u8 * 8).collect();
        let mut faint = ImageBuffer::new(64, 64, 1, bytes).unwrap();
        clahe(&mut faint, 8.0, 2, 2, 1.0);
        let (low, high) = (faint.pixels().iter().min().unwrap(), faint.pixels().iter().max().unwrap());
        assert!(high - low > 12, "{low} {high}");
    }
}
