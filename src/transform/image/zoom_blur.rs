//! A zooming lens.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Blurs the picture outwards from its middle, as when the lens zooms while the shutter is open.
///
/// Method: the mean of the picture and of itself enlarged about the middle, up to `1 + s (factor - 1)` at severity `s`.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZoomBlur {
    /// Greatest enlargement at severity 1, drawn from this range, 1..=4.
    pub factor: Range,
}

impl Default for ZoomBlur {
    fn default() -> Self {
        Self { factor: range(1.05, 1.3) }
    }
}

/// What [`ZoomBlur`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoomBlurDraw {
    /// Greatest enlargement at severity 1.
    pub factor: f64,
}

impl ZoomBlurDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 + severity * (self.factor - 1.0)
    }
}

impl Effect for ZoomBlur {
    const NAME: &'static str = "zoom_blur";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ factor: [1.05, 1.3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ZoomBlurDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("factor", self.factor, 1.0..=4.0, "a factor").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ZoomBlurDraw> {
        let mut rng = site.rng();
        Plan::one(ZoomBlurDraw { factor: self.factor.draw(&mut rng) })
    }

    fn magnitude(draw: &ZoomBlurDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the size"))
    }

    fn apply(draw: &ZoomBlurDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.map_image(|picture| image::zoom_blur(picture, (draw.reached(severity)) as f32));
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
        let draw = ZoomBlurDraw { factor: 1.3 };
        let change = |severity| {
            let after = apply::<ZoomBlur>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
