//! Without colour.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Takes the colours away.
///
/// Method: goes `share` times the severity of the way from each pixel to its luma (Rec. 601); the channels stay as many as they are, gray pictures and alpha stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grayscale {
    /// Share of the way at severity 1, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for Grayscale {
    fn default() -> Self {
        Self { share: range(0.5, 1.0) }
    }
}

/// What [`Grayscale`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrayscaleDraw {
    /// Share of the way at severity 1.
    pub share: f64,
}

impl GrayscaleDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for Grayscale {
    const NAME: &'static str = "grayscale";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ share: [0.5, 1] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GrayscaleDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GrayscaleDraw> {
        let mut rng = site.rng();
        Plan::one(GrayscaleDraw { share: self.share.draw(&mut rng) })
    }

    fn magnitude(draw: &GrayscaleDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the way"))
    }

    fn apply(draw: &GrayscaleDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::grayscale(picture, (draw.reached(severity)) as f32));
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
        let one = ImageBuffer::new(1, 1, 3, vec![100, 200, 50]).unwrap();
        let draw = GrayscaleDraw { share: 1.0 };
        assert_eq!(apply::<Grayscale>(&draw, 1.0, &picture(one.clone())).image.unwrap().pixels(), [153, 153, 153]);
        assert_eq!(apply::<Grayscale>(&draw, 0.5, &picture(one.clone())).image.unwrap().pixels(), [126, 176, 102]);
    }
}
