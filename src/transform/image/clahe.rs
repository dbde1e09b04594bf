//! Local contrast.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Raises the contrast of each part of the picture.
///
/// Method: contrast limited adaptive histogram equalization of luma (Rec. 601) in 8 x 8 tiles; colours move along with luma, as far as the severity says. Alpha stays.
///
/// Reference: Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clahe {
    /// Greatest count of a histogram bin, as a multiple of the mean, drawn from this range, 1..=64.
    pub limit: Range,
}

impl Default for Clahe {
    fn default() -> Self {
        Self { limit: range(1.0, 4.0) }
    }
}

/// What [`Clahe`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaheDraw {
    /// Greatest count of a histogram bin, as a multiple of the mean.
    pub limit: f64,
}

impl Effect for Clahe {
    const NAME: &'static str = "clahe";
    const EXAMPLE: &'static str = "{ limit: [1, 4] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ClaheDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("limit", self.limit, 1.0..=64.0, "a multiple of the mean count").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ClaheDraw> {
        let mut rng = site.rng();
        Plan::one(ClaheDraw { limit: self.limit.draw(&mut rng) })
    }

    fn apply(draw: &ClaheDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::clahe(picture, draw.limit as f32, 8, 8, severity as f32));
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
        let draw = ClaheDraw { limit: 4.0 };
        let change = |severity| {
            let after = apply::<Clahe>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
