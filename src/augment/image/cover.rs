use super::{PixelRect, colour_channels, tone::channel_sums};
use crate::sample::ImageBuffer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What covers a cutout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The mean colour of the image.
    #[default]
    Mean,
    /// Black.
    Black,
    /// Middle gray, 128.
    Gray,
}

/// Mean of each colour channel, rounded; alpha is 255.
pub fn mean_colour(image: &ImageBuffer) -> [u8; 4] {
    let sums = channel_sums(image);
    let count = (image.width() * image.height()) as u64;
    let mut mean = sums.map(|sum| ((sum + count / 2) / count) as u8);
    mean[3] = 255;
    mean
}

fn colour_of(fill: Fill, image: &ImageBuffer) -> [u8; 4] {
    match fill {
        Fill::Mean => mean_colour(image),
        Fill::Black => [0; 4],
        Fill::Gray => [128; 4],
    }
}

/// Covers the whole pixels of some columns and rows.
fn cover(image: &mut ImageBuffer, columns: Range<usize>, rows: Range<usize>, colour: [u8; 4]) {
    let (width, channels) = (image.width(), image.channels());
    let shown = colour_channels(channels);
    let first = rows.start;
    for y in rows {
        let (above, row) = image.pixels_mut().split_at_mut(y * width * channels);
        let covered = columns.start * channels..columns.end * channels;
        let row = &mut row[covered.clone()];
        if y > first && shown == channels {
            // As the row above: one copy.
            row.copy_from_slice(&above[(y - 1) * width * channels..][covered]);
        } else {
            row.chunks_exact_mut(channels).for_each(|pixel| pixel[..shown].copy_from_slice(&colour[..shown]));
        }
    }
}

/// Covers `rect` (rounded to whole pixels, cut at the border) with one colour (cutout, DeVries and Taylor 2017). Alpha stays.
pub fn cutout(image: &ImageBuffer, rect: PixelRect, fill: Fill) -> ImageBuffer {
    let mut out = image.clone();
    cutouts(&mut out, &[rect], fill);
    out
}

/// [`cutout`] for many rectangles where the image lies; all have the colour that [`Fill`] means before the first is covered.
pub fn cutouts(image: &mut ImageBuffer, rects: &[PixelRect], fill: Fill) {
    let colour = colour_of(fill, image);
    for rect in rects {
        let (columns, rows) = rect.pixels(image.width(), image.height());
        cover(image, columns, rows, colour);
    }
}

/// Covers a square in each cell of a grid (GridMask, Chen et al. 2020): cells are `unit` pixels wide (at least 1), squares `share` (`0..=1`) of that, and
/// the first cell begins at `x`, `y`. Alpha stays.
pub fn grid_mask(image: &mut ImageBuffer, unit: f64, share: f64, x: f64, y: f64, fill: Fill) {
    let unit = if unit.is_nan() { return } else { unit.max(1.0) };
    let side = unit * if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let colour = colour_of(fill, image);
    let (width, height) = (image.width(), image.height());
    let cells = |start: f64, length: usize| {
        let start = if start.is_finite() { start.rem_euclid(unit) - unit } else { -unit };
        let count = ((length as f64 - start) / unit).ceil() as usize;
        (0..count).map(move |i| start + i as f64 * unit)
    };
    for top in cells(y, height) {
        for left in cells(x, width) {
            let (columns, rows) = PixelRect { x: left, y: top, width: side, height: side }.pixels(width, height);
            cover(image, columns, rows, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;

    #[test]
    fn only_the_rectangle_changes() {
        let picture = image(6, 4, 4, 3);
        let covered = cutout(&picture, PixelRect { x: 4.0, y: 1.0, width: 9.0, height: 2.0 }, Fill::Black);
        for y in 0..4 {
            for x in 0..6 {
                let inside = x >= 4 && (1..3).contains(&y);
                if inside {
                    assert_eq!(&covered.pixel(x, y)[..3], [0, 0, 0]);
                    assert_eq!(covered.pixel(x, y)[3], picture.pixel(x, y)[3]);
                } else {
                    assert_eq!(covered.pixel(x, y), picture.pixel(x, y));
                }
            }
        }
    }

    #[test]
    fn the_mean_is_rounded() {
        let picture = ImageBuffer::new(2, 1, 3, vec![0, 10, 255, 1, 20, 255]).unwrap();
        assert_eq!(mean_colour(&picture), [1, 15, 255, 255]);
        let all = PixelRect { x: -5.0, y: -5.0, width: 50.0, height: 50.0 };
        assert_eq!(cutout(&picture, all, Fill::Mean).pixels(), [1, 15, 255, 1, 15, 255]);
    }

    #[test]
    fn many_holes_and_a_grid() {
        let mut row = ImageBuffer::new(8, 1, 1, vec![9; 8]).unwrap();
        grid_mask(&mut row, 4.0, 0.5, 1.0, 0.0, Fill::Black);
        assert_eq!(row.pixels(), [9, 0, 0, 9, 9, 0, 0, 9]);
        let mut picture = image(9, 7, 4, 3);
        let rects = [PixelRect { x: 1.0, y: 1.0, width: 3.0, height: 3.0 }, PixelRect { x: 2.0, y: 2.0, width: 9.0, height: 9.0 }];
        let once = rects.iter().fold(picture.clone(), |image, rect| cutout(&image, *rect, Fill::Gray));
        cutouts(&mut picture, &rects, Fill::Gray);
        assert_eq!(picture, once);
        for value in [0.0, -1.0, 1e300, f64::NAN, f64::INFINITY] {
            grid_mask(&mut picture, value, value, value, value, Fill::Mean);
            grid_mask(&mut picture, 3.0, value, value, 1.0, Fill::Mean);
            cutouts(&mut picture, &[PixelRect { x: value, y: value, width: value, height: 1.0 }], Fill::Black);
        }
    }
}
