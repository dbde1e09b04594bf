//! A moved camera.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Blurs the picture along a line, as a camera or an object that moves.
///
/// Method: the mean along a straight line whose length in pixels is multiplied by the severity (1 and less change nothing); edges extended, alpha blurred too.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MotionBlur {
    /// Length at severity 1 in pixels, drawn from this range, 1..=256.
    pub length: Range,
    /// Direction, counter-clockwise from the x axis, drawn from this range, -180..=180.
    pub degrees: Range,
}

impl Default for MotionBlur {
    fn default() -> Self {
        Self { length: range(5.0, 15.0), degrees: range(0.0, 180.0) }
    }
}

/// What [`MotionBlur`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionBlurDraw {
    /// Length at severity 1 in pixels.
    pub length: f64,
    /// Direction, counter-clockwise from the x axis.
    pub degrees: f64,
}

impl MotionBlurDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 + (self.length - 1.0) * severity
    }
}

impl Effect for MotionBlur {
    const NAME: &'static str = "motion_blur";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ length: [5, 15] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = MotionBlurDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("length", self.length, 1.0..=256.0, "pixels").within("degrees", self.degrees, -180.0..=180.0, "degrees").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<MotionBlurDraw> {
        let mut rng = site.rng();
        Plan::one(MotionBlurDraw { length: self.length.draw(&mut rng), degrees: self.degrees.draw(&mut rng) })
    }

    fn magnitude(draw: &MotionBlurDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "pixels"))
    }

    fn apply(draw: &MotionBlurDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.map_image(|picture| image::motion_blur(picture, (draw.reached(severity)) as f32, draw.degrees as f32));
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
        let draw = MotionBlurDraw { length: 9.0, degrees: 20.0 };
        let change = |severity| {
            let after = apply::<MotionBlur>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
