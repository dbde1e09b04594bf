//! A thin sound.

use super::{octaves, toward_hz};
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes the low frequencies of the sound, as a small loudspeaker does.
///
/// Method: a Butterworth filter of 12 or 24 dB an octave. Its cut-off rises with the severity from 10 Hz to the drawn one, evenly in octaves.
///
/// Reference: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HighPass {
    /// Frequency at which the sound is 3 dB weaker at severity 1 in hertz, drawn evenly in octaves from this range, 20..=96000; at most 0.49 of the rate is used.
    pub cutoff_hz: Range,
}

impl Default for HighPass {
    fn default() -> Self {
        Self { cutoff_hz: range(150.0, 1500.0) }
    }
}

/// What [`HighPass`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighPassDraw {
    /// Cut-off at severity 1.
    pub cutoff_hz: f64,
    /// 2 for 12 dB an octave, 4 for 24.
    pub order: usize,
}

impl HighPassDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        toward_hz(10.0, self.cutoff_hz, severity)
    }
}

impl Effect for HighPass {
    const NAME: &'static str = "high_pass";
    const EXAMPLE: &'static str = "{ cutoff_hz: [150, 1500] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = HighPassDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("cutoff_hz", self.cutoff_hz, 20.0..=96000.0, "hertz").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<HighPassDraw> {
        let mut rng = site.rng();
        Plan::one(HighPassDraw { cutoff_hz: octaves(self.cutoff_hz, &mut rng), order: 2 * rng.random_range(1..=2) })
    }

    fn magnitude(draw: &HighPassDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "Hz"))
    }

    fn apply(draw: &HighPassDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            audio::high_pass(sound, draw.reached(severity), draw.order);
            audio::fit(sound);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_cut_off_rises_with_the_severity() {
        let clean = tone(8000, 1, 4000, 0.5);
        let mut right = clean.clone();
        audio::high_pass(&mut right, 100.0, 4);
        let found = apply::<HighPass>(&HighPassDraw { cutoff_hz: 1000.0, order: 4 }, 0.5, &sound(clean)).audio.unwrap();
        assert!(found.samples().iter().zip(right.samples()).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
