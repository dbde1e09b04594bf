//! Grain of coherent light.

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

/// Multiplies the picture by noise, as radar and ultrasound show it.
///
/// Method: multiplies every colour value by 1 plus a normal number of standard deviation `sigma` times the severity; alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpeckleNoise {
    /// Standard deviation at severity 1, drawn from this range, 0..=2.
    pub sigma: Range,
}

impl Default for SpeckleNoise {
    fn default() -> Self {
        Self { sigma: range(0.05, 0.3) }
    }
}

/// What [`SpeckleNoise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeckleNoiseDraw {
    /// Standard deviation at severity 1.
    pub sigma: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl SpeckleNoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.sigma * severity
    }
}

impl Effect for SpeckleNoise {
    const NAME: &'static str = "speckle_noise";
    const EXAMPLE: &'static str = "{ sigma: [0.05, 0.3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = SpeckleNoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("sigma", self.sigma, 0.0..=2.0, "a share of the value").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SpeckleNoiseDraw> {
        let mut rng = site.rng();
        Plan::one(SpeckleNoiseDraw { sigma: self.sigma.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &SpeckleNoiseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the value"))
    }

    fn apply(draw: &SpeckleNoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::speckle_noise(picture, (draw.reached(severity)) as f32, SeedTree::at(&draw.seed).number()));
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
        let draw = SpeckleNoiseDraw { sigma: 0.2, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<SpeckleNoise>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
