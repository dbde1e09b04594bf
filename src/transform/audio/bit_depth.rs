//! Coarse steps.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rounds the samples to few bits, as an early sampler or a cheap converter does.
///
/// Method: steps of `2^(1 - bits)` of full scale; the bits fall with the severity from 16 to the drawn number, rounded to whole ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BitDepth {
    /// Bits at severity 1, drawn from this range, 1..=16.
    pub bits: Range,
}

impl Default for BitDepth {
    fn default() -> Self {
        Self { bits: range(4.0, 8.0) }
    }
}

/// What [`BitDepth`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitDepthDraw {
    /// Bits at severity 1.
    pub bits: f64,
}

impl BitDepthDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        (16.0 - (16.0 - self.bits) * severity).round()
    }
}

impl Effect for BitDepth {
    const NAME: &'static str = "bit_depth";
    const EXAMPLE: &'static str = "{ bits: [4, 8] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = BitDepthDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("bits", self.bits, 1.0..=16.0, "bits").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<BitDepthDraw> {
        Plan::one(BitDepthDraw { bits: self.bits.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &BitDepthDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "bits"))
    }

    fn apply(draw: &BitDepthDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| audio::bit_depth(sound, draw.reached(severity) as u32));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_bits_fall_with_the_severity() {
        let clean = tone(8000, 1, 400, 0.5);
        let mut right = clean.clone();
        audio::bit_depth(&mut right, 10);
        assert_eq!(*apply::<BitDepth>(&BitDepthDraw { bits: 4.0 }, 0.5, &sound(clean)).audio.unwrap(), right);
    }
}
