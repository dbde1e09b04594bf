//! A shadow across the picture.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets a shadow fall across the picture.
///
/// Method: colours inside a band from the top to the bottom edge, between four drawn places, are multiplied by `1 - darkness` times the severity; alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shadow {
    /// Share of the light taken at severity 1, drawn from this range, 0..=1.
    pub darkness: Range,
    /// Where the band begins at the top, drawn from this range, 0..=1.
    pub top: Range,
    /// Where the band begins at the bottom, drawn from this range, 0..=1.
    pub bottom: Range,
    /// Breadth of the band, drawn from this range, 0..=1.
    pub breadth: Range,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { darkness: range(0.3, 0.7), top: range(0.0, 0.6), bottom: range(0.0, 0.6), breadth: range(0.2, 0.5) }
    }
}

/// What [`Shadow`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowDraw {
    /// Share of the light taken at severity 1.
    pub darkness: f64,
    /// Where the band begins at the top.
    pub top: f64,
    /// Where the band begins at the bottom.
    pub bottom: f64,
    /// Breadth of the band.
    pub breadth: f64,
}

impl ShadowDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.darkness * severity
    }
}

impl Effect for Shadow {
    const NAME: &'static str = "shadow";
    const EXAMPLE: &'static str = "{ darkness: [0.3, 0.7] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ShadowDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("darkness", self.darkness, 0.0..=1.0, "a share of the light")
            .within("top", self.top, 0.0..=1.0, "a share of the width")
            .within("bottom", self.bottom, 0.0..=1.0, "a share of the width")
            .within("breadth", self.breadth, 0.0..=1.0, "a share of the width")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ShadowDraw> {
        let mut rng = site.rng();
        Plan::one(ShadowDraw {
            darkness: self.darkness.draw(&mut rng),
            top: self.top.draw(&mut rng),
            bottom: self.bottom.draw(&mut rng),
            breadth: self.breadth.draw(&mut rng),
        })
    }

    fn magnitude(draw: &ShadowDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "darker"))
    }

    fn apply(draw: &ShadowDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            let (width, height) = (picture.width() as f64, picture.height() as f64);
            let (top, bottom, breadth) = (draw.top * width, draw.bottom * width, draw.breadth * width);
            let corners = [(top, 0.0), (top + breadth, 0.0), (bottom + breadth, height), (bottom, height)];
            image::shadow(picture, &corners, (1.0 - draw.reached(severity)) as f32);
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
        let draw = ShadowDraw { darkness: 0.6, top: 0.2, bottom: 0.3, breadth: 0.4 };
        let change = |severity| {
            let after = apply::<Shadow>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
