//! A lighter or darker picture.

use crate::{
    augment::image::Tone,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the picture lighter or darker.
///
/// Method: adds `offset` times the severity to every colour value, cut at black and white; alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Brightness {
    /// Offset at severity 1 as a share of the full range, drawn from this range, -1..=1.
    pub offset: Range,
}

impl Default for Brightness {
    fn default() -> Self {
        Self { offset: range(-0.3, 0.3) }
    }
}

/// What [`Brightness`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrightnessDraw {
    /// Offset at severity 1 as a share of the full range.
    pub offset: f64,
}

impl BrightnessDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.offset * severity
    }
}

impl Effect for Brightness {
    const NAME: &'static str = "brightness";
    const EXAMPLE: &'static str = "{ offset: [-0.3, 0.3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = BrightnessDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("offset", self.offset, -1.0..=1.0, "a share of the full range").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<BrightnessDraw> {
        let mut rng = site.rng();
        Plan::one(BrightnessDraw { offset: self.offset.draw(&mut rng) })
    }

    fn tone(draw: &BrightnessDraw, severity: f64) -> Option<Tone> {
        Some(Tone::Brightness((draw.reached(severity)) as f32))
    }

    fn magnitude(draw: &BrightnessDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the range"))
    }

    fn apply(draw: &BrightnessDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.tone(Self::tone(draw, severity).as_slice());
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
        let draw = BrightnessDraw { offset: -0.2 };
        assert_eq!(apply::<Brightness>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [0, 49, 149]);
        assert_eq!(apply::<Brightness>(&draw, 0.5, &picture(row.clone())).image.unwrap().pixels(), [0, 75, 175]);
    }
}
