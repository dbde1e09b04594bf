//! Another gamma.

use crate::{
    augment::image::Tone,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lifts the shadows or closes them.
///
/// Method: raises every colour value (of the full range) to the drawn power; at severity `s` to `gamma` to the power of `s`. Alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gamma {
    /// Power at severity 1, drawn from this range, 0.1..=10.
    pub gamma: Range,
}

impl Default for Gamma {
    fn default() -> Self {
        Self { gamma: range(0.5, 2.0) }
    }
}

/// What [`Gamma`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaDraw {
    /// Power at severity 1.
    pub gamma: f64,
}

impl GammaDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.gamma.powf(severity)
    }
}

impl Effect for Gamma {
    const NAME: &'static str = "gamma";
    const EXAMPLE: &'static str = "{ gamma: [0.5, 2] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GammaDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("gamma", self.gamma, 0.1..=10.0, "a power").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GammaDraw> {
        let mut rng = site.rng();
        Plan::one(GammaDraw { gamma: self.gamma.draw(&mut rng) })
    }

    fn tone(draw: &GammaDraw, severity: f64) -> Option<Tone> {
        Some(Tone::Gamma(draw.reached(severity) as f32))
    }

    fn magnitude(draw: &GammaDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "as exponent"))
    }

    fn apply(draw: &GammaDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
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
        let draw = GammaDraw { gamma: 0.25 };
        assert_eq!(apply::<Gamma>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [0, 202, 240]);
        assert_eq!(apply::<Gamma>(&draw, 0.5, &picture(row.clone())).image.unwrap().pixels(), [0, 160, 226]);
    }
}
