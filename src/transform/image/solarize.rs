//! Overexposed film.

use crate::{
    augment::image::Tone,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the lightest values into their negative, as overexposed film does.
///
/// Method: colour values of at least `1 - (1 - threshold) s` at severity `s` become their negative; alpha stays.
///
/// Reference: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Solarize {
    /// Threshold at severity 1 as a share of the full range, drawn from this range, 0..=1.
    pub threshold: Range,
}

impl Default for Solarize {
    fn default() -> Self {
        Self { threshold: range(0.3, 0.8) }
    }
}

/// What [`Solarize`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SolarizeDraw {
    /// Threshold at severity 1 as a share of the full range.
    pub threshold: f64,
}

impl SolarizeDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 - (1.0 - self.threshold) * severity
    }
}

impl Effect for Solarize {
    const NAME: &'static str = "solarize";
    const EXAMPLE: &'static str = "{ threshold: [0.3, 0.8] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = SolarizeDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("threshold", self.threshold, 0.0..=1.0, "a share of the full range").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SolarizeDraw> {
        let mut rng = site.rng();
        Plan::one(SolarizeDraw { threshold: self.threshold.draw(&mut rng) })
    }

    fn tone(draw: &SolarizeDraw, severity: f64) -> Option<Tone> {
        Some(Tone::Solarize((draw.reached(severity)) as f32))
    }

    fn magnitude(draw: &SolarizeDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the range"))
    }

    fn apply(draw: &SolarizeDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
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
        let draw = SolarizeDraw { threshold: 0.3 };
        assert_eq!(apply::<Solarize>(&draw, 1.0, &picture(row.clone())).image.unwrap().pixels(), [0, 155, 55]);
        assert_eq!(apply::<Solarize>(&draw, 0.6, &picture(row.clone())).image.unwrap().pixels(), [0, 100, 55]);
    }
}
