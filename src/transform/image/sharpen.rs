//! A sharper picture.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sharpens the picture, with halos along its edges.
///
/// Method: adds `amount` times the severity of what a Gaussian of `sigma` pixels takes away (unsharp mask); alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sharpen {
    /// Factor at severity 1, drawn from this range, 0..=10.
    pub amount: Range,
    /// Standard deviation of the Gaussian in pixels, drawn from this range, 0.1..=16.
    pub sigma: Range,
}

impl Default for Sharpen {
    fn default() -> Self {
        Self { amount: range(0.5, 2.0), sigma: range(0.5, 2.0) }
    }
}

/// What [`Sharpen`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharpenDraw {
    /// Factor at severity 1.
    pub amount: f64,
    /// Standard deviation of the Gaussian in pixels.
    pub sigma: f64,
}

impl SharpenDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.amount * severity
    }
}

impl Effect for Sharpen {
    const NAME: &'static str = "sharpen";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ amount: [0.5, 2] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = SharpenDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("amount", self.amount, 0.0..=10.0, "a factor").within("sigma", self.sigma, 0.1..=16.0, "pixels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SharpenDraw> {
        let mut rng = site.rng();
        Plan::one(SharpenDraw { amount: self.amount.draw(&mut rng), sigma: self.sigma.draw(&mut rng) })
    }

    fn magnitude(draw: &SharpenDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the detail"))
    }

    fn apply(draw: &SharpenDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::sharpen(picture, (draw.reached(severity)) as f32, draw.sigma as f32));
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
        let draw = SharpenDraw { amount: 2.0, sigma: 2.0 };
        let change = |severity| {
            let after = apply::<Sharpen>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
