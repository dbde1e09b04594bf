//! Salt and pepper.

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

/// Replaces single values by white or black.
///
/// Method: a share of the colour values, `share` times the severity, becomes white or black, half and half; a greater severity changes the same values and more. Alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImpulseNoise {
    /// Share of the values at severity 1, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for ImpulseNoise {
    fn default() -> Self {
        Self { share: range(0.01, 0.1) }
    }
}

/// What [`ImpulseNoise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImpulseNoiseDraw {
    /// Share of the values at severity 1.
    pub share: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl ImpulseNoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for ImpulseNoise {
    const NAME: &'static str = "impulse_noise";
    const EXAMPLE: &'static str = "{ share: [0.01, 0.1] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ImpulseNoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share of the values").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ImpulseNoiseDraw> {
        let mut rng = site.rng();
        Plan::one(ImpulseNoiseDraw { share: self.share.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &ImpulseNoiseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the pixels"))
    }

    fn apply(draw: &ImpulseNoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::impulse_noise(picture, (draw.reached(severity)) as f32, SeedTree::at(&draw.seed).number()));
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
        let draw = ImpulseNoiseDraw { share: 0.3, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<ImpulseNoise>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
