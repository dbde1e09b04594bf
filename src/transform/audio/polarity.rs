//! A sound upside down.

use crate::{
    augment::audio,
    sample::ModalitySet,
    transform::{Effect, Plan, Scene, Site, With},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the sign of every sample: the ear does not hear it, a network may.
///
/// Method: `-x`; there is no half of it, so the severity does not matter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Polarity {}

/// What [`Polarity`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolarityDraw {}

impl Effect for Polarity {
    const NAME: &'static str = "polarity";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    const SCALES: bool = false;
    type Draw = PolarityDraw;

    fn draw(&self, _: &Site<'_>) -> Plan<PolarityDraw> {
        Plan::one(PolarityDraw {})
    }

    fn apply(_: &PolarityDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.change_audio(audio::invert, audio::inverted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn every_sign_turns() {
        let found = apply::<Polarity>(&PolarityDraw {}, 0.3, &sound(AudioBuffer::new(8000, 1, vec![0.5, -0.25]).unwrap())).audio.unwrap();
        assert_eq!(found.samples(), [-0.5, 0.25]);
    }
}
