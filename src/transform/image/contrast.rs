//! More or less contrast.

use crate::{
    augment::image::Tone,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes light and dark differ more or less.
///
/// Method: multiplies the distance of every colour value from the mean luma (Rec. 601) by the drawn factor; at severity `s` by `1 + s (factor - 1)`. Alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contrast {
    /// Factor at severity 1, drawn from this range, 0..=4.
    pub factor: Range,
}

impl Default for Contrast {
    fn default() -> Self {
        Self { factor: range(0.4, 1.6) }
    }
}

/// What [`Contrast`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastDraw {
    /// Factor at severity 1.
    pub factor: f64,
}

impl ContrastDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 + severity * (self.factor - 1.0)
    }
}

impl Effect for Contrast {
    const NAME: &'static str = "contrast";
    const EXAMPLE: &'static str = "{ factor: [0.4, 1.6] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ContrastDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("factor", self.factor, 0.0..=4.0, "a factor").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ContrastDraw> {
        let mut rng = site.rng();
        Plan::one(ContrastDraw { factor: self.factor.draw(&mut rng) })
    }

    fn tone(draw: &ContrastDraw, severity: f64) -> Option<Tone> {
        Some(Tone::Contrast((draw.reached(severity)) as f32))
    }

    fn magnitude(draw: &ContrastDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the contrast"))
    }

    fn apply(draw: &ContrastDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
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
        let draw = ContrastDraw { factor: 0.5 };
        assert_eq!(apply::<Contrast>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [50, 100, 150]);
        assert_eq!(apply::<Contrast>(&draw, 0.5, &picture(row.clone())).image.unwrap().pixels(), [25, 100, 175]);
    }
}
