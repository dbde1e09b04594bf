//! Normal noise in the picture.

use crate::{
    augment::image,
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds normal noise, as a sensor that is too warm.
///
/// Method: adds a normal number of standard deviation `sigma` times the severity to every colour value; rounded, cut at black and white, alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianNoise {
    /// Standard deviation at severity 1 as a share of the full range, drawn from this range, 0..=1.
    pub sigma: Range,
}

impl Default for GaussianNoise {
    fn default() -> Self {
        Self { sigma: range(0.03, 0.15) }
    }
}

/// What [`GaussianNoise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianNoiseDraw {
    /// Standard deviation at severity 1 as a share of the full range.
    pub sigma: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl GaussianNoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.sigma * severity
    }
}

impl Effect for GaussianNoise {
    const NAME: &'static str = "gaussian_noise";
    const EXAMPLE: &'static str = "{ sigma: [0.03, 0.15] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GaussianNoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("sigma", self.sigma, 0.0..=1.0, "a share of the full range").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GaussianNoiseDraw> {
        let mut rng = site.rng();
        Plan::one(GaussianNoiseDraw { sigma: self.sigma.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &GaussianNoiseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the range"))
    }

    fn apply(draw: &GaussianNoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            image::gaussian_noise(picture, (draw.reached(severity)) as f32, false, SeedTree::at(&draw.seed).number())
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
        let draw = GaussianNoiseDraw { sigma: 0.1, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<GaussianNoise>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
