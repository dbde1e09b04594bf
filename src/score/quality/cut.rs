//! Blocks over a drawing: solid ones by their area, and ones in the colour of the background by what they cut off.

use crate::sample::ImageBuffer;
use std::collections::BTreeMap;

/// Longest side that is looked at; larger images are sampled (nearest pixel, so that solid stays solid).
const LONGEST: usize = 64;
/// Values this close to the background, in steps of 8 bits, are background.
const NEAR: u8 = 8;

/// An image as distances from its background, sampled to a handful of pixels.
pub(super) struct Grid {
    width: usize,
    height: usize,
    /// Colour of each pixel, packed.
    colours: Vec<u32>,
    /// Largest channel difference from the background, `0..=255`.
    distance: Vec<u8>,
}

impl Grid {
    /// The background is the most frequent colour on the border (the lowest among equals).
    pub(super) fn of(image: &ImageBuffer) -> Self {
        let longest = image.width().max(image.height());
        let scale = |side: usize| if longest <= LONGEST { side } else { (side * LONGEST / longest).max(1) };
        let (width, height) = (scale(image.width()), scale(image.height()));
        let colour = |x: usize, y: usize| -> [u8; 3] {
            let pixel = image.pixel((2 * x + 1) * image.width() / (2 * width), (2 * y + 1) * image.height() / (2 * height));
            if pixel.len() < 3 { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] }
        };
        let all: Vec<[u8; 3]> = (0..width * height).map(|i| colour(i % width, i / width)).collect();
        let mut counts: BTreeMap<[u8; 3], usize> = BTreeMap::new();
        for (i, c) in all.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
                *counts.entry(*c).or_default() += 1;
            }
        }
        let background = counts.into_iter().rev().max_by_key(|(_, n)| *n).map_or([0; 3], |(c, _)| c);
        let distance = all.iter().map(|c| (0..3).map(|k| c[k].abs_diff(background[k])).max().unwrap_or(0)).collect();
        let colours = all.iter().map(|c| u32::from_be_bytes([0, c[0], c[1], c[2]])).collect();
        Self { width, height, colours, distance }
    }
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Visits, row by row, the largest rectangles that end there and hold pixels of one key only; pixels with the key `None` are in none.
fn blocks<K: PartialEq>(width: usize, height: usize, key: impl Fn(usize) -> Option<K>, mut visit: impl FnMut(Block)) {
    // Length of the run of one key that ends in this pixel, upward.
    let mut run = vec![0usize; width];
    let mut open: Vec<(usize, usize)> = Vec::new();
    for y in 0..height {
        for (x, run) in run.iter_mut().enumerate() {
            let own = key(y * width + x);
            *run = if own.is_none() {
                0
            } else if y > 0 && own == key((y - 1) * width + x) {
                *run + 1
            } else {
                1
            };
        }
        let mut x = 0;
        while x < width {
            let mut end = x + 1;
            while end < width && key(y * width + end) == key(y * width + x) {
                end += 1;
            }
            open.clear();
            for (i, tall) in (x..).zip(run[x..end].iter().copied().chain([0])) {
                let mut from = i;
                while let Some(&(start, height)) = open.last().filter(|(_, height)| *height >= tall) {
                    open.pop();
                    from = start;
                    if height > 0 {
                        visit(Block { x: start, y: y + 1 - height, width: i - start, height });
                    }
                }
                open.push((from, tall));
            }
            x = end;
        }
    }
}

/// Share of the image under the largest rectangle of one colour that is not the background's, both sides at least 3 pixels; 0 if there is none.
pub(super) fn solid_block(grid: &Grid) -> f64 {
    let mut largest = 0;
    let key = |i: usize| (grid.distance[i] > NEAR).then_some(grid.colours[i]);
    blocks(grid.width, grid.height, key, |block| {
        if block.width.min(block.height) >= 3 {
            largest = largest.max(block.width * block.height);
        }
    });
    largest as f64 / (grid.width * grid.height) as f64
}

/// Least side of an empty block, as a share of the image's.
const LEAST_SIDE: f64 = 0.32;
/// Ink is what differs from the background by this share of the strongest difference.
const INK: f32 = 0.35;

/// How much ink ends on the sides of the empty (background) rectangle where most does. Each run of ink along a side counts by its length (at most a
/// seventh of the image, which counts 4, four pixels of 28), its darkness, how evenly it goes on behind the side (a pen's end fades,
/// a cut does not), and how much deeper than long it is (an edge alongside the block is long and thin). 0 where nothing is cut.
pub(super) fn cut_by_empty_block(grid: &Grid) -> f64 {
    let strongest = grid.distance.iter().copied().max().unwrap_or(0);
    if strongest <= NEAR {
        return 0.0;
    }
    let ink = |x: usize, y: usize| f32::from(grid.distance[y * grid.width + x]) / f32::from(strongest);
    let least = |side: usize| ((LEAST_SIDE * side as f64) as usize).max(5);
    let (least_width, least_height) = (least(grid.width), least(grid.height));
    let unit = grid.width.min(grid.height) as f64 / 28.0;
    let deep = (6.0 * unit).round().max(2.0) as usize;
    let mut most = 0.0f64;
    blocks(
        grid.width,
        grid.height,
        |i| (grid.distance[i] <= 1).then_some(()),
        |block| {
            if block.width < least_width || block.height < least_height {
                return;
            }
            let Block { x, y, width, height } = block;
            // The pixel at `depth` behind a side, `place` along it.
            let above = cut_by_side(width, deep.min(y), unit, |depth, place| ink(x + place, y - 1 - depth));
            let below = cut_by_side(width, deep.min(grid.height - y - height), unit, |depth, place| ink(x + place, y + height + depth));
            let left = cut_by_side(height, deep.min(x), unit, |depth, place| ink(x - 1 - depth, y + place));
            let right = cut_by_side(height, deep.min(grid.width - x - width), unit, |depth, place| ink(x + width + depth, y + place));
            most = most.max(above + below + left + right);
        },
    );
    most
}

fn cut_by_side(length: usize, depth: usize, unit: f64, ink: impl Fn(usize, usize) -> f32) -> f64 {
    if depth == 0 {
        return 0.0;
    }
    let mut sum = 0.0;
    let mut from = 0;
    while from < length {
        if ink(0, from) < INK {
            from += 1;
            continue;
        }
        let mut to = from;
        while to < length && ink(0, to) >= INK {
            to += 1;
        }
        let run = (to - from) as f64;
        let first: f64 = (from..to).map(|p| f64::from(ink(0, p))).sum();
        let second: f64 = if depth > 1 { (from.saturating_sub(1)..(to + 1).min(length)).map(|p| f64::from(ink(1, p))).sum() } else { 0.0 };
        let even = if second > 0.0 { (first / second).min(second / first) } else { 0.0 };
        let reach = (from..to).map(|p| (0..depth).take_while(|d| ink(*d, p) >= INK).count() as f64).sum::<f64>() / run;
        let deeper = (reach / run.max(2.0 * unit)).min(1.0);
        sum += (run / unit).min(4.0) * (first / run) * even * even * deeper;
        from = to;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The largest block agrees with the one found by trying all rectangles.
        #[test]
        fn the_largest_block_is_found(cells in prop::collection::vec(0u8..3, 36)) {
            let key = |i: usize| (cells[i] > 0).then_some(cells[i]);
            let mut found = 0;
            blocks(6, 6, key, |b| {
                let first = key(b.y * 6 + b.x);
                assert!((0..b.width * b.height).all(|i| key((b.y + i / b.width) * 6 + b.x + i % b.width) == first && first.is_some()));
                found = found.max(b.width * b.height);
            });
            let mut right = 0;
            for (x, y, w, h) in (0..6 * 6 * 36).map(|i| (i % 6, i / 6 % 6, i / 36 % 6 + 1, i / 216 + 1)) {
                if x + w <= 6 && y + h <= 6 {
                    let first = key(y * 6 + x);
                    if first.is_some() && (0..w * h).all(|i| key((y + i / w) * 6 + x + i % w) == first) {
                        right = right.max(w * h);
                    }
                }
            }
            prop_assert_eq!(found, right);
        }
    }
}
