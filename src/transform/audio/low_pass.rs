//! A dull sound.

use super::{octaves, toward_hz};
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes the high frequencies of the sound, as a wall, a blanket or a cheap microphone does.
///
/// Method: a Butterworth filter of 12 or 24 dB an octave. Its cut-off falls with the severity from half the rate to the drawn one, evenly in octaves; a
/// cut-off above half the rate changes nothing.
///
/// Reference: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LowPass {
    /// Frequency at which the sound is 3 dB weaker at severity 1 in hertz, drawn evenly in octaves from this range, 20..=96000.
    pub cutoff_hz: Range,
}

impl Default for LowPass {
    fn default() -> Self {
        Self { cutoff_hz: range(500.0, 4000.0) }
    }
}

/// What [`LowPass`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LowPassDraw {
    /// Cut-off at severity 1.
    pub cutoff_hz: f64,
    /// 2 for 12 dB an octave, 4 for 24.
    pub order: usize,
}

impl Effect for LowPass {
    const NAME: &'static str = "low_pass";
    const EXAMPLE: &'static str = "{ cutoff_hz: [500, 4000] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = LowPassDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("cutoff_hz", self.cutoff_hz, 20.0..=96000.0, "hertz").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<LowPassDraw> {
        let mut rng = site.rng();
        Plan::one(LowPassDraw { cutoff_hz: octaves(self.cutoff_hz, &mut rng), order: 2 * rng.random_range(1..=2) })
    }

    fn apply(draw: &LowPassDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let top = audio::limited_hz(sound.sample_rate_hz(), f64::MAX);
            if draw.cutoff_hz < top {
                audio::low_pass(sound, toward_hz(top, draw.cutoff_hz, severity), draw.order);
                audio::fit(sound);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_cut_off_falls_with_the_severity() {
        let clean = tone(8000, 1, 4000, 0.5);
        let draw = LowPassDraw { cutoff_hz: 245.0, order: 2 };
        let mut right = clean.clone();
        // Half of the octaves between 3920 and 245 Hz.
        audio::low_pass(&mut right, 980.0, 2);
        let found = apply::<LowPass>(&draw, 0.5, &sound(clean.clone())).audio.unwrap();
        assert!(found.samples().iter().zip(right.samples()).all(|(a, b)| (a - b).abs() < 1e-6));
        let high = LowPassDraw { cutoff_hz: 5000.0, order: 2 };
        assert_eq!(*apply::<LowPass>(&high, 1.0, &sound(clean.clone())).audio.unwrap(), clean);
    }
}
