//! Fog.

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

/// Puts fog over the picture.
///
/// Method: adds a cloudy field times `thickness` times the severity and brings the brightest value back to where it was; alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fog {
    /// Thickness at severity 1, drawn from this range, 0..=10.
    pub thickness: Range,
    /// How soft the clouds are: 1.4 ragged, 2 soft, drawn from this range, 1..=4.
    pub decay: Range,
}

impl Default for Fog {
    fn default() -> Self {
        Self { thickness: range(0.5, 2.0), decay: range(1.4, 2.0) }
    }
}

/// What [`Fog`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FogDraw {
    /// Thickness at severity 1.
    pub thickness: f64,
    /// How soft the clouds are: 1.4 ragged, 2 soft.
    pub decay: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl FogDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.thickness * severity
    }
}

impl Effect for Fog {
    const NAME: &'static str = "fog";
    const EXAMPLE: &'static str = "{ thickness: [0.5, 2] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = FogDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("thickness", self.thickness, 0.0..=10.0, "a share of the full range")
            .within("decay", self.decay, 1.0..=4.0, "a factor")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FogDraw> {
        let mut rng = site.rng();
        Plan::one(FogDraw { thickness: self.thickness.draw(&mut rng), decay: self.decay.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &FogDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "thick"))
    }

    fn apply(draw: &FogDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            image::fog(picture, (draw.reached(severity)) as f32, draw.decay as f32, SeedTree::at(&draw.seed).number())
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
        let draw = FogDraw { thickness: 2.0, decay: 2.0, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<Fog>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
