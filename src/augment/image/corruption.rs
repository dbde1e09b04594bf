use super::{
    Edge, Filter, PointMap, Sampling, Snow, contrast_in_place, defocus_blur, elastic_field, fog, frost, gaussian_noise, glass_blur,
    hue_saturation_value, impulse_noise, jpeg, motion_blur, resize_down_up, shot_noise, snow, warp, zoom_blur,
};
use crate::sample::ImageBuffer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The fifteen common corruptions (Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations", section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    /// Normal noise, alone at each value.
    GaussianNoise,
    /// Poisson noise of few photons.
    ShotNoise,
    /// Salt and pepper.
    ImpulseNoise,
    /// A lens out of focus.
    DefocusBlur,
    /// Frosted glass.
    GlassBlur,
    /// A camera that moves.
    MotionBlur,
    /// A lens that zooms.
    ZoomBlur,
    /// Falling snow.
    Snow,
    /// Ice on the pane.
    Frost,
    /// Fog.
    Fog,
    /// Too much light.
    Brightness,
    /// Too little contrast.
    Contrast,
    /// Places pushed about.
    ElasticTransform,
    /// Large pixels.
    Pixelate,
    /// JPEG compression.
    JpegCompression,
}

impl Corruption {
    /// All of them, in the order of the paper.
    pub const ALL: [Self; 15] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
    ];
}

/// The value of a table at a severity: entry 0 changes nothing, entries 1 to 5 are the levels, and between them it is a straight line.
fn at(severity: f64, table: [f64; 6]) -> f64 {
    let below = (severity as usize).min(4);
    table[below] + (severity - below as f64) * (table[below + 1] - table[below])
}

/// Where places lie after a corruption: only [`Corruption::ElasticTransform`] moves them.
pub fn corruption_map(corruption: Corruption, width: usize, height: usize, severity: f64, seed: u64) -> PointMap {
    let severity = bounded(severity);
    if corruption != Corruption::ElasticTransform || severity == 0.0 {
        return PointMap::IDENTITY;
    }
    let unit = width.min(height) as f64 / 224.0;
    let (alpha, sigma) = (at(severity, [0.0, 0.8, 1.2, 2.0, 3.0, 4.5]), at(severity, [2.4, 2.4, 2.4, 3.0, 4.5, 6.5]));
    elastic_field(width, height, alpha * unit, sigma * unit, seed)
}

fn bounded(severity: f64) -> f64 {
    if severity.is_nan() { 0.0 } else { severity.clamp(0.0, 5.0) }
}

/// Applies a corruption at a `severity` in 0..=5: the levels 1 to 5 have the paper's parameters, levels between them lie on a straight line, 0 changes nothing.
/// Lengths are meant for pictures whose smaller side has 224 pixels and are scaled to others.
///
/// It differs from the paper's code where that would need its files or never grows: frost is grown instead of pasted, snow has one size of flakes and falls on 5 to 20 % of the points, motion blur is a straight line of the
/// same spread, contrast turns about the mean luma of all channels, glass takes at least as many rounds as a level before, and the elastic transform pushes places by 0.8 to 4.5 pixels without its affine part, so that it
/// grows with the level.
pub fn corrupt(image: &ImageBuffer, corruption: Corruption, severity: f64, seed: u64) -> ImageBuffer {
    let severity = bounded(severity);
    if severity == 0.0 {
        return image.clone();
    }
    let (width, height) = (image.width(), image.height());
    let unit = width.min(height) as f64 / 224.0;
    let of = |table| at(severity, table);
    let in_place = |change: &dyn Fn(&mut ImageBuffer)| {
        let mut out = image.clone();
        change(&mut out);
        out
    };
    match corruption {
        Corruption::GaussianNoise => in_place(&|i| gaussian_noise(i, of([0.0, 0.08, 0.12, 0.18, 0.26, 0.38]) as f32, false, seed)),
        // By their inverse, so that none is without noise.
        Corruption::ShotNoise => {
            let dark = of([0.0, 1.0 / 60.0, 1.0 / 25.0, 1.0 / 12.0, 1.0 / 5.0, 1.0 / 3.0]);
            in_place(&|i| shot_noise(i, (1.0 / dark).min(1e9) as f32, seed))
        }
        Corruption::ImpulseNoise => in_place(&|i| impulse_noise(i, of([0.0, 0.03, 0.06, 0.09, 0.17, 0.27]) as f32, seed)),
        Corruption::DefocusBlur => defocus_blur(image, (of([0.0, 3.0, 4.0, 6.0, 8.0, 10.0]) * unit) as f32),
        Corruption::GlassBlur => {
            let sigma = of([0.0, 0.7, 0.9, 1.0, 1.1, 1.5]) * unit;
            let reach = of([0.0, 1.0, 2.0, 2.0, 3.0, 4.0]) * unit;
            let rounds = of([0.0, 2.0, 2.0, 3.0, 3.0, 3.0]).ceil() as usize;
            glass_blur(image, sigma as f32, reach as f32, rounds, seed)
        }
        Corruption::MotionBlur => {
            // Half a turn is the same line again: the seed's highest bits say which.
            let degrees = (seed >> 40) as f32 * (180.0 / 16_777_216.0);
            motion_blur(image, (of([1.0, 6.0, 10.0, 15.0, 19.0, 25.0]) * unit) as f32, degrees)
        }
        Corruption::ZoomBlur => zoom_blur(image, of([1.0, 1.1, 1.15, 1.2, 1.24, 1.3]) as f32),
        Corruption::Snow => {
            let by = Snow {
                density: of([0.0, 0.05, 0.08, 0.11, 0.15, 0.2]) as f32,
                size: (2.5 * unit) as f32,
                trace: (of([1.0, 8.0, 10.0, 10.0, 12.0, 12.0]) * unit) as f32,
                degrees: -135.0 + (seed >> 40) as f32 * (90.0 / 16_777_216.0),
                pale: of([0.0, 0.2, 0.25, 0.3, 0.35, 0.45]) as f32,
            };
            in_place(&|i| snow(i, &by, seed))
        }
        Corruption::Frost => {
            let (keep, ice) = (of([1.0, 1.0, 0.8, 0.7, 0.65, 0.6]), of([0.0, 0.4, 0.6, 0.7, 0.7, 0.75]));
            in_place(&|i| frost(i, keep as f32, ice as f32, seed))
        }
        Corruption::Fog => {
            let (thickness, decay) = (of([0.0, 1.5, 2.0, 2.5, 2.5, 3.0]), of([2.0, 2.0, 2.0, 1.7, 1.5, 1.4]));
            in_place(&|i| fog(i, thickness as f32, decay as f32, seed))
        }
        Corruption::Brightness => in_place(&|i| hue_saturation_value(i, 0.0, 0.0, of([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]) as f32)),
        Corruption::Contrast => in_place(&|i| contrast_in_place(i, of([1.0, 0.4, 0.3, 0.2, 0.1, 0.05]) as f32)),
        Corruption::ElasticTransform => {
            let map = corruption_map(corruption, width, height, severity, seed);
            // The size stays and a field needs no inverse: this cannot fail.
            warp(image, &map, width, height, Edge::Mirror, Sampling::Bilinear).unwrap_or_else(|_| image.clone())
        }
        Corruption::Pixelate => {
            let share = of([1.0, 0.6, 0.5, 0.4, 0.3, 0.25]);
            resize_down_up(image, share, Filter::Area, Filter::Nearest).unwrap_or_else(|_| image.clone())
        }
        Corruption::JpegCompression => in_place(&|i| jpeg(i, of([100.0, 25.0, 18.0, 15.0, 10.0, 7.0]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::{gaussian_blur, tests_support::image};

    fn distance(a: &ImageBuffer, b: &ImageBuffer) -> f64 {
        a.pixels().iter().zip(b.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.pixels().len() as f64
    }

    /// Something like a photograph: soft forms and hard edges.
    fn scene(channels: usize) -> ImageBuffer {
        let mut picture = gaussian_blur(&image(96, 80, channels, 4), 3.0);
        picture.pixels_mut().iter_mut().for_each(|p| *p = p.saturating_sub(96).saturating_mul(3));
        for y in 20..50 {
            (30..70).for_each(|x| picture.pixel_mut(x, y)[0] = 230);
        }
        picture
    }

    #[test]
    fn every_level_is_worse_than_the_one_before() {
        for channels in [1, 3, 4] {
            let picture = scene(channels);
            for corruption in Corruption::ALL {
                let change = |severity| distance(&corrupt(&picture, corruption, severity, 77 << 40), &picture);
                let levels = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(change);
                assert_eq!(levels[0], 0.0);
                assert!(
                    levels.windows(2).all(|w| w[0] < 1.02 * w[1]) && levels[5] > 1.5 * levels[1],
                    "{corruption:?} {channels}: {levels:?}"
                );
            }
        }
    }

    #[test]
    fn seeds_decide_and_any_size_is_taken() {
        for corruption in Corruption::ALL {
            for (w, h, c) in [(1, 1, 1), (2, 5, 3), (17, 3, 4), (70, 40, 3)] {
                let picture = image(w, h, c, 4);
                for severity in [-1.0, 0.3, 2.5, 5.0, 99.0, f64::NAN] {
                    let once = corrupt(&picture, corruption, severity, 5);
                    assert_eq!((once.width(), once.height(), once.channels()), (w, h, c));
                    assert_eq!(once, corrupt(&picture, corruption, severity, 5));
                }
            }
        }
    }

    #[test]
    fn only_the_elastic_one_moves_places() {
        for corruption in Corruption::ALL {
            let still = corruption_map(corruption, 50, 40, 3.0, 1) == PointMap::IDENTITY;
            assert_eq!(still, corruption != Corruption::ElasticTransform);
        }
        assert!((at(1.5, [0.0, 1.0, 3.0, 0.0, 0.0, 0.0]) - 2.0).abs() < 1e-12);
        assert_eq!(at(5.0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), 5.0);
    }
}
