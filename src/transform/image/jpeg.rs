//! JPEG compression.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compresses the picture as JPEG.
///
/// Method: what a JPEG file leaves (colours halved, 8 x 8 cosine transform, tables of annex K) at the drawn quality `q`; at severity `s` at `100 (q / 100) ^ s`, at least 1. Alpha stays.
///
/// Reference: ITU-T T.81, annex K.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jpeg {
    /// Quality at severity 1, drawn from this range, 1..=100.
    pub quality: Range,
}

impl Default for Jpeg {
    fn default() -> Self {
        Self { quality: range(10.0, 60.0) }
    }
}

/// What [`Jpeg`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JpegDraw {
    /// Quality at severity 1.
    pub quality: f64,
}

impl JpegDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        (100.0 * (self.quality / 100.0).powf(severity)).max(1.0)
    }
}

impl Effect for Jpeg {
    const NAME: &'static str = "jpeg";
    const EXAMPLE: &'static str = "{ quality: [10, 60] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = JpegDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("quality", self.quality, 1.0..=100.0, "a quality").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<JpegDraw> {
        let mut rng = site.rng();
        Plan::one(JpegDraw { quality: self.quality.draw(&mut rng) })
    }

    fn magnitude(draw: &JpegDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "quality"))
    }

    fn apply(draw: &JpegDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::jpeg(picture, draw.reached(severity)));
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
        let draw = JpegDraw { quality: 8.0 };
        let change = |severity| {
            let after = apply::<Jpeg>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
