//! Evenly spread tones.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Spreads the tones of each colour evenly from black to white.
///
/// Method: histogram equalization of each channel alone, and `share` times the severity of the way there; alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Equalize {
    /// Share of the way at severity 1, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for Equalize {
    fn default() -> Self {
        Self { share: range(0.5, 1.0) }
    }
}

/// What [`Equalize`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EqualizeDraw {
    /// Share of the way at severity 1.
    pub share: f64,
}

impl EqualizeDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for Equalize {
    const NAME: &'static str = "equalize";
    const EXAMPLE: &'static str = "{ share: [0.5, 1] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = EqualizeDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<EqualizeDraw> {
        let mut rng = site.rng();
        Plan::one(EqualizeDraw { share: self.share.draw(&mut rng) })
    }

    fn magnitude(draw: &EqualizeDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the way"))
    }

    fn apply(draw: &EqualizeDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::equalize(picture, (draw.reached(severity)) as f32));
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
    fn worked_values() {
        let row = ImageBuffer::new(3, 1, 1, vec![0, 100, 200]).unwrap();
        let draw = EqualizeDraw { share: 1.0 };
        assert_eq!(apply::<Equalize>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [0, 128, 255]);
        assert_eq!(apply::<Equalize>(&draw, 0.5, &picture(row.clone())).image.unwrap().pixels(), [0, 114, 228]);
    }
}
