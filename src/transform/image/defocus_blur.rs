//! A lens out of focus.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Blurs the picture by a disc, as a lens out of focus.
///
/// Method: the mean over a disc with soft rims whose radius is multiplied by the severity; edges extended, alpha blurred too.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefocusBlur {
    /// Radius at severity 1 in pixels, drawn from this range, 0..=64.
    pub radius: Range,
}

impl Default for DefocusBlur {
    fn default() -> Self {
        Self { radius: range(1.0, 5.0) }
    }
}

/// What [`DefocusBlur`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefocusBlurDraw {
    /// Radius at severity 1 in pixels.
    pub radius: f64,
}

impl DefocusBlurDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.radius * severity
    }
}

impl Effect for DefocusBlur {
    const NAME: &'static str = "defocus_blur";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ radius: [1, 5] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = DefocusBlurDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("radius", self.radius, 0.0..=64.0, "pixels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<DefocusBlurDraw> {
        let mut rng = site.rng();
        Plan::one(DefocusBlurDraw { radius: self.radius.draw(&mut rng) })
    }

    fn magnitude(draw: &DefocusBlurDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "pixels"))
    }

    fn apply(draw: &DefocusBlurDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.map_image(|picture| image::defocus_blur(picture, (draw.reached(severity)) as f32));
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
        let draw = DefocusBlurDraw { radius: 4.0 };
        let change = |severity| {
            let after = apply::<DefocusBlur>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
