//! Frosted glass.

use crate::{
    augment::image,
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shows the picture through frosted glass.
///
/// Method: two rounds of exchanging each pixel with one up to `reach` times the severity away, between two Gaussian blurs of `sigma` times the severity.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlassBlur {
    /// Greatest distance at severity 1 in pixels, drawn from this range, 0..=64.
    pub reach: Range,
    /// Standard deviation of the blurs at severity 1 in pixels, drawn from this range, 0..=16.
    pub sigma: Range,
}

impl Default for GlassBlur {
    fn default() -> Self {
        Self { reach: range(1.0, 4.0), sigma: range(0.4, 1.0) }
    }
}

/// What [`GlassBlur`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlassBlurDraw {
    /// Greatest distance at severity 1 in pixels.
    pub reach: f64,
    /// Standard deviation of the blurs at severity 1 in pixels.
    pub sigma: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for GlassBlur {
    const NAME: &'static str = "glass_blur";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ reach: [1, 4] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GlassBlurDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("reach", self.reach, 0.0..=64.0, "pixels").within("sigma", self.sigma, 0.0..=16.0, "pixels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GlassBlurDraw> {
        let mut rng = site.rng();
        Plan::one(GlassBlurDraw { reach: self.reach.draw(&mut rng), sigma: self.sigma.draw(&mut rng), seed: site.seed() })
    }

    fn apply(draw: &GlassBlurDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.map_image(|picture| {
            image::glass_blur(picture, (draw.sigma * severity) as f32, (draw.reach * severity) as f32, 2, SeedTree::at(&draw.seed).number())
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::ImageBuffer,
        transform::testing::{apply, picture},
    };

    #[test]
    fn more_severity_is_more_change() {
        let bytes = (0..40 * 30 * 3).map(|i| (128.0 + 90.0 * (i as f32 * 0.05).sin()) as u8).collect();
        let before = ImageBuffer::new(40, 30, 3, bytes).unwrap();
        let draw = GlassBlurDraw { reach: 4.0, sigma: 0.5, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<GlassBlur>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
