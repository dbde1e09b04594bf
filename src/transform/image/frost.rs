//! Ice on the pane.

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

/// Grows ice crystals over the picture.
///
/// Method: every pixel goes towards a bluish white, by `ice` times the severity times a grown field of crystals (a quarter everywhere); alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Frost {
    /// Share of the way at severity 1 where the ice is thickest, drawn from this range, 0..=1.
    pub ice: Range,
}

impl Default for Frost {
    fn default() -> Self {
        Self { ice: range(0.3, 0.9) }
    }
}

/// What [`Frost`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrostDraw {
    /// Share of the way at severity 1 where the ice is thickest.
    pub ice: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl FrostDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.ice * severity
    }
}

impl Effect for Frost {
    const NAME: &'static str = "frost";
    const EXAMPLE: &'static str = "{ ice: [0.3, 0.9] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = FrostDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("ice", self.ice, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FrostDraw> {
        let mut rng = site.rng();
        Plan::one(FrostDraw { ice: self.ice.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &FrostDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of ice"))
    }

    fn apply(draw: &FrostDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::frost(picture, (draw.reached(severity)) as f32, SeedTree::at(&draw.seed).number()));
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
        let draw = FrostDraw { ice: 0.7, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<Frost>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
