//! WebP compression.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Compresses the picture as lossy WebP.
///
/// Method: what a WebP file leaves (VP8 key frame: prediction, 4 x 4 transform, quantization, loop filter) at the drawn quality `q`; at severity `s` at `100 (q / 100) ^ s`. Alpha stays.
///
/// Reference: RFC 6386 (VP8 data format), sections 12 to 15; quality as libwebp counts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webp {
    /// Quality at severity 1, drawn from this range, 0..=100.
    pub quality: Range,
}

impl Default for Webp {
    fn default() -> Self {
        Self { quality: range(2.0, 50.0) }
    }
}

/// What [`Webp`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebpDraw {
    /// Quality at severity 1.
    pub quality: f64,
}

impl WebpDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        100.0 * (self.quality / 100.0).powf(severity)
    }
}

impl Effect for Webp {
    const NAME: &'static str = "webp";
    const EXAMPLE: &'static str = "{ quality: [2, 50] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = WebpDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("quality", self.quality, 0.0..=100.0, "a quality").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<WebpDraw> {
        let mut rng = site.rng();
        Plan::one(WebpDraw { quality: self.quality.draw(&mut rng) })
    }

    fn magnitude(draw: &WebpDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "quality"))
    }

    fn apply(draw: &WebpDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| image::webp(picture, draw.reached(severity)));
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
        let draw = WebpDraw { quality: 8.0 };
        let change = |severity| {
            let after = apply::<Webp>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
