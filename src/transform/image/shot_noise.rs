//! Too little light.

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

/// Shows the picture as few photons would.
///
/// Method: each colour value becomes a Poisson number whose mean is `photons` at white, divided by the square of the severity, so that the noise grows with the severity; alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShotNoise {
    /// Photons at white, at severity 1, drawn from this range, 1..=1e+06.
    pub photons: Range,
}

impl Default for ShotNoise {
    fn default() -> Self {
        Self { photons: range(8.0, 60.0) }
    }
}

/// What [`ShotNoise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShotNoiseDraw {
    /// Photons at white, at severity 1.
    pub photons: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl ShotNoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        (self.photons / (severity * severity)).min(1e9)
    }
}

impl Effect for ShotNoise {
    const NAME: &'static str = "shot_noise";
    const EXAMPLE: &'static str = "{ photons: [8, 60] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ShotNoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("photons", self.photons, 1.0..=1000000.0, "photons").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ShotNoiseDraw> {
        let mut rng = site.rng();
        Plan::one(ShotNoiseDraw { photons: self.photons.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &ShotNoiseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "photons"))
    }

    fn apply(draw: &ShotNoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::shot_noise(picture, draw.reached(severity) as f32, SeedTree::at(&draw.seed).number()));
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
        let draw = ShotNoiseDraw { photons: 10.0, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<ShotNoise>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
