//! Fewer tones.

use crate::{
    augment::image::Tone,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Leaves few tones in each colour.
///
/// Method: rounds every colour value to the nearest of 2 to the power of `8 - (8 - bits) s` values (rounded to whole ones) evenly spread from black to white; alpha stays.
///
/// Reference: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Posterize {
    /// Bits a colour at severity 1, drawn from this range, 1..=8.
    pub bits: Range,
}

impl Default for Posterize {
    fn default() -> Self {
        Self { bits: range(1.0, 4.0) }
    }
}

/// What [`Posterize`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosterizeDraw {
    /// Bits a colour at severity 1.
    pub bits: f64,
}

impl PosterizeDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        8.0 - (8.0 - self.bits) * severity
    }
}

impl Effect for Posterize {
    const NAME: &'static str = "posterize";
    const EXAMPLE: &'static str = "{ bits: [1, 4] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = PosterizeDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("bits", self.bits, 1.0..=8.0, "bits").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PosterizeDraw> {
        let mut rng = site.rng();
        Plan::one(PosterizeDraw { bits: self.bits.draw(&mut rng) })
    }

    fn tone(draw: &PosterizeDraw, severity: f64) -> Option<Tone> {
        Some(Tone::Posterize((draw.reached(severity)).exp2().round() as usize))
    }

    fn magnitude(draw: &PosterizeDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "bits"))
    }

    fn apply(draw: &PosterizeDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
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
        let draw = PosterizeDraw { bits: 2.0 };
        assert_eq!(apply::<Posterize>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [0, 85, 170]);
    }
}
