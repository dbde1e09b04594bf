use super::{
    beyond,
    cut::{Grid, cut_by_empty_block, solid_block},
};
use crate::sample::ImageBuffer;

/// Measures of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageQuality {
    /// Share of neighbour differences that a second blur takes away, `0..=1`: low for a blurred image.
    pub sharpness: f64,
    /// Share of the image under the largest solid rectangle that is not background, `0..=1`.
    pub occlusion: f64,
    /// How much of the drawing ends on the straight sides of an empty rectangle, at least 0.
    pub cut: f64,
    /// Brightness between the 0.5 % and the 99.5 % quantile, `0..=1`.
    pub contrast: f64,
}

impl ImageQuality {
    /// `0..=1`: 0.5 where the worst measure reaches its limit (sharpness 0.3, occlusion 0.08, cut 2.6, contrast 0.1).
    pub fn degradation(&self) -> f64 {
        beyond(self.sharpness, 0.3, -0.05).max(beyond(self.occlusion, 0.08, 0.02)).max(beyond(self.cut, 2.6, 0.4)).max(beyond(
            self.contrast,
            0.1,
            -0.02,
        ))
    }
}

/// Measures an image.
pub fn image_quality(image: &ImageBuffer) -> ImageQuality {
    let gray = luma(image);
    let grid = Grid::of(image);
    ImageQuality {
        sharpness: sharpness(&gray, image.width(), image.height()),
        occlusion: solid_block(&grid),
        cut: cut_by_empty_block(&grid),
        contrast: contrast(&gray),
    }
}

/// Brightness of each pixel, `0..=1` (ITU-R BT.601 weights); transparency is ignored.
fn luma(image: &ImageBuffer) -> Vec<f32> {
    match image.channels() {
        1 => image.pixels().iter().map(|v| f32::from(*v) / 255.0).collect(),
        n => image
            .pixels()
            .chunks_exact(n)
            .map(|p| (0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])) / 255.0)
            .collect(),
    }
}

fn contrast(gray: &[f32]) -> f64 {
    let mut sorted: Vec<f64> = gray.iter().map(|v| f64::from(*v)).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share| crate::sample::metrics::quantile_of_sorted(&sorted, share).unwrap_or(0.0);
    at(0.995) - at(0.005)
}

/// Taps of the second blur.
const TAPS: usize = 5;

/// One minus the blur of Crete et al. 2007: the share of the differences between neighbours that a box blur of five pixels takes away, along
/// rows and along columns, the smaller of the two. An image without any difference is 0.
fn sharpness(gray: &[f32], width: usize, height: usize) -> f64 {
    let along = |lines: usize, length: usize, step: usize, stride: usize| -> Option<f64> {
        let (mut all, mut lost) = (0.0f64, 0.0f64);
        let mut line = vec![0.0f32; length];
        let mut blurred = vec![0.0f32; length];
        for k in 0..lines {
            for (i, v) in line.iter_mut().enumerate() {
                *v = gray[k * stride + i * step];
            }
            for (i, v) in blurred.iter_mut().enumerate() {
                let sum: f32 = (0..TAPS).map(|t| line[(i + t).saturating_sub(TAPS / 2).min(length - 1)]).sum();
                *v = sum / TAPS as f32;
            }
            for (own, soft) in line.windows(2).zip(blurred.windows(2)) {
                let before = f64::from((own[1] - own[0]).abs());
                all += before;
                lost += (before - f64::from((soft[1] - soft[0]).abs())).max(0.0);
            }
        }
        (all > 1e-6).then(|| lost / all)
    };
    let rows = along(height, width, 1, width);
    let columns = along(width, height, width, 1);
    match (rows, columns) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b).unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of 28 x 28, drawn with soft edges.
    fn ring() -> Vec<f32> {
        (0..28 * 28)
            .map(|i| {
                let (x, y) = ((i % 28) as f32 - 13.5, (i / 28) as f32 - 13.5);
                (2.5 - (x.hypot(y) - 8.0).abs()).clamp(0.0, 1.0)
            })
            .collect()
    }

    fn image(values: &[f32]) -> ImageBuffer {
        ImageBuffer::new(28, 28, 1, values.iter().map(|v| (v * 255.0).round() as u8).collect()).unwrap()
    }

    fn blurred(values: &[f32], times: usize) -> Vec<f32> {
        (0..times).fold(values.to_vec(), |v, _| {
            let at = |x: isize, y: isize| v[(y.clamp(0, 27) * 28 + x.clamp(0, 27)) as usize];
            (0..784)
                .map(|i| {
                    let (x, y) = ((i % 28) as isize, (i / 28) as isize);
                    (-1..=1).flat_map(|a| (-1..=1).map(move |b| (a, b))).map(|(a, b)| at(x + a, y + b)).sum::<f32>() / 9.0
                })
                .collect()
        })
    }

    #[test]
    fn blur_lowers_the_sharpness() {
        let found: Vec<f64> = [0, 1, 3, 8].iter().map(|k| image_quality(&image(&blurred(&ring(), *k))).sharpness).collect();
        assert!(found.windows(2).all(|p| p[0] > p[1]), "{found:?}");
        assert!(found[0] > 0.4 && found[3] < 0.2, "{found:?}");
        let clean = image_quality(&image(&ring()));
        assert!(clean.degradation() < 0.3 && image_quality(&image(&blurred(&ring(), 8))).degradation() > 0.5, "{clean:?}");
    }

    #[test]
    fn a_solid_block_is_measured_by_its_area() {
        let mut drawn = ring();
        for y in 4..14 {
            drawn[y * 28 + 3..y * 28 + 15].fill(0.6);
        }
        let found = image_quality(&image(&drawn));
        assert!((found.occlusion - 120.0 / 784.0).abs() < 1e-9, "{found:?}");
        assert!(found.degradation() > 0.5 && image_quality(&image(&ring())).occlusion < 0.05);
    }

    #[test]
    fn a_block_in_the_colour_of_the_background_cuts_the_drawing() {
        let mut drawn = ring();
        for y in 0..14 {
            drawn[y * 28 + 14..y * 28 + 28].fill(0.0);
        }
        let (before, after) = (image_quality(&image(&ring())).cut, image_quality(&image(&drawn)).cut);
        assert!(after > before + 2.0, "{before} {after}");
    }

    #[test]
    fn flat_and_tiny_images_are_measured_too() {
        for (width, height, channels) in [(1, 1, 1), (1, 9, 3), (2, 2, 4), (300, 2, 3)] {
            let found = image_quality(&ImageBuffer::filled(width, height, channels, 90).unwrap());
            assert_eq!((found.sharpness, found.contrast, found.occlusion, found.cut), (0.0, 0.0, 0.0, 0.0));
            assert!(found.degradation() > 0.99);
        }
    }

    #[test]
    fn size_hardly_changes_the_measures() {
        let mut drawn = ring();
        for y in 0..14 {
            drawn[y * 28 + 14..y * 28 + 28].fill(0.0);
        }
        let small = image(&drawn);
        let large: Vec<u8> = (0..112 * 112).map(|i| small.pixel(i % 112 / 4, i / 112 / 4)[0]).collect();
        let large = image_quality(&ImageBuffer::new(112, 112, 1, large).unwrap());
        assert!((large.cut - image_quality(&small).cut).abs() < 1.0, "{} {}", large.cut, image_quality(&small).cut);
    }
}
