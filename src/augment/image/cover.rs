use super::{PixelRect, colour_channels};
use crate::sample::ImageBuffer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    let channels = image.channels();
    let mut sums = [0u64; 4];
    for pixel in image.pixels().chunks_exact(channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, p)| *sum += u64::from(*p));
    }
    let count = (image.width() * image.height()) as u64;
    let mut mean = sums.map(|sum| ((sum + count / 2) / count) as u8);
    mean[3] = 255;
    mean
}

/// Covers `rect` (rounded to whole pixels, cut at the border) with one colour (cutout, DeVries and Taylor 2017). Alpha stays.
pub fn cutout(image: &ImageBuffer, rect: PixelRect, fill: Fill) -> ImageBuffer {
    let (width, channels) = (image.width(), image.channels());
    let colour = match fill {
        Fill::Mean => mean_colour(image),
        Fill::Black => [0; 4],
        Fill::Gray => [128; 4],
    };
    let mut out = image.clone();
    let (columns, rows) = rect.pixels(width, image.height());
    let shown = colour_channels(channels);
    for y in rows {
        let row = &mut out.pixels_mut()[(y * width + columns.start) * channels..(y * width + columns.end) * channels];
        row.chunks_exact_mut(channels).for_each(|pixel| pixel[..shown].copy_from_slice(&colour[..shown]));
    }
    out
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
}
