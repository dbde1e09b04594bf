//! Holes in the picture.

use crate::{
    augment::image::{self, Fill, PixelRect},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Covers rectangles of the picture.
///
/// Method: as many rectangles as drawn, times the severity and rounded up, whose sides are `side` of the picture's, at places of their own and with the mean colour; a greater severity covers the same and more. Alpha stays. It may cover an object: `cutout` asks.
///
/// Reference: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CoarseDropout {
    /// Rectangles at severity 1, drawn from this range, 1..=256.
    pub holes: Range,
    /// Sides of a rectangle as a share of the picture's, drawn from this range, 0.001..=1.
    pub side: Range,
}

impl Default for CoarseDropout {
    fn default() -> Self {
        Self { holes: range(3.0, 8.0), side: range(0.05, 0.15) }
    }
}

/// What [`CoarseDropout`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoarseDropoutDraw {
    /// Rectangles at severity 1.
    pub holes: f64,
    /// Sides of a rectangle as a share of the picture's.
    pub side: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for CoarseDropout {
    const NAME: &'static str = "coarse_dropout";
    const EXAMPLE: &'static str = "{ holes: [3, 8] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = CoarseDropoutDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("holes", self.holes, 1.0..=256.0, "rectangles")
            .within("side", self.side, 0.001..=1.0, "a share of the sides")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CoarseDropoutDraw> {
        let mut rng = site.rng();
        Plan::one(CoarseDropoutDraw { holes: self.holes.draw(&mut rng), side: self.side.draw(&mut rng), seed: site.seed() })
    }

    fn apply(draw: &CoarseDropoutDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let mut rng = SeedTree::at(&draw.seed).rng();
        scene.edit_image(|picture| {
            let (width, height) = (picture.width() as f64, picture.height() as f64);
            let (w, h) = (width * draw.side, height * draw.side);
            let count = (draw.holes * severity).ceil().min(256.0) as usize;
            let mut place = || PixelRect {
                x: rng.random_range(0.0..=1.0) * (width - w),
                y: rng.random_range(0.0..=1.0) * (height - h),
                width: w,
                height: h,
            };
            let holes: Vec<PixelRect> = (0..count).map(|_| place()).collect();
            image::cutouts(picture, &holes, Fill::Mean);
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
        let draw = CoarseDropoutDraw { holes: 8.0, side: 0.2, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<CoarseDropout>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
