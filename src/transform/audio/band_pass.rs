//! A narrow band of the sound.

use super::{octaves, toward_hz};
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps a band of frequencies, as a radio or a public address system does.
///
/// Method: Butterworth filters of 24 dB an octave at both ends. The lower end rises with the severity from 10 Hz, the upper one falls from half the rate,
/// evenly in octaves; an upper end above half the rate is left out.
///
/// Reference: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BandPass {
    /// Lower end at severity 1 in hertz, drawn evenly in octaves from this range, 20..=96000.
    pub low_hz: Range,
    /// Upper end at severity 1 in hertz, drawn evenly in octaves from this range, above `low_hz`, 20..=96000.
    pub high_hz: Range,
}

impl Default for BandPass {
    fn default() -> Self {
        Self { low_hz: range(150.0, 500.0), high_hz: range(1500.0, 4000.0) }
    }
}

/// What [`BandPass`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandPassDraw {
    /// Lower end at severity 1.
    pub low_hz: f64,
    /// Upper end at severity 1.
    pub high_hz: f64,
}

impl Effect for BandPass {
    const NAME: &'static str = "band_pass";
    const EXAMPLE: &'static str = "{ low_hz: [150, 500], high_hz: [1500, 4000] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = BandPassDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("low_hz", self.low_hz, 20.0..=96000.0, "hertz")
            .within("high_hz", self.high_hz, 20.0..=96000.0, "hertz")
            .that(
                self.low_hz.high() < self.high_hz.low(),
                "high_hz",
                format!("expected more than {} Hz, the most of low_hz, found {}", self.low_hz.high(), self.high_hz.low()),
            )
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<BandPassDraw> {
        let mut rng = site.rng();
        Plan::one(BandPassDraw { low_hz: octaves(self.low_hz, &mut rng), high_hz: octaves(self.high_hz, &mut rng) })
    }

    fn apply(draw: &BandPassDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let top = audio::limited_hz(sound.sample_rate_hz(), f64::MAX);
            audio::high_pass(sound, toward_hz(10.0, draw.low_hz.min(top), severity), 4);
            if draw.high_hz < top {
                audio::low_pass(sound, toward_hz(top, draw.high_hz, severity), 4);
            }
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
    fn at_severity_one_it_is_the_band() {
        let clean = tone(8000, 1, 4000, 0.5);
        let mut right = clean.clone();
        audio::band_pass(&mut right, 300.0, 2000.0, 4);
        let found = apply::<BandPass>(&BandPassDraw { low_hz: 300.0, high_hz: 2000.0 }, 1.0, &sound(clean)).audio.unwrap();
        assert!(found.samples().iter().zip(right.samples()).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
