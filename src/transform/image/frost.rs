//! Ice on the pane.

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

/// Grows ice crystals over the picture.
///
/// Method: the picture times `1 - (1 - keep) s` plus grown crystals times `ice` times `s` at severity `s`; alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Frost {
    /// Weight of the picture at severity 1, drawn from this range, 0..=1.
    pub keep: Range,
    /// Weight of the ice at severity 1, drawn from this range, 0..=1.
    pub ice: Range,
}

impl Default for Frost {
    fn default() -> Self {
        Self { keep: range(0.6, 0.9), ice: range(0.4, 0.75) }
    }
}

/// What [`Frost`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrostDraw {
    /// Weight of the picture at severity 1.
    pub keep: f64,
    /// Weight of the ice at severity 1.
    pub ice: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for Frost {
    const NAME: &'static str = "frost";
    const EXAMPLE: &'static str = "{ keep: [0.6, 0.9] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = FrostDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("keep", self.keep, 0.0..=1.0, "a share").within("ice", self.ice, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FrostDraw> {
        let mut rng = site.rng();
        Plan::one(FrostDraw { keep: self.keep.draw(&mut rng), ice: self.ice.draw(&mut rng), seed: site.seed() })
    }

    fn apply(draw: &FrostDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            image::frost(
                picture,
                (1.0 - (1.0 - draw.keep) * severity) as f32,
                (draw.ice * severity) as f32,
                SeedTree::at(&draw.seed).number(),
            )
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
        let draw = FrostDraw { keep: 0.7, ice: 0.7, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<Frost>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
