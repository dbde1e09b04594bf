//! A band that is missing.

use super::octaves;
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

/// Removes a band of frequencies over a stretch of time.
///
/// Method: bins of the short-time spectrum between two frequencies around a drawn centre are set to zero over a drawn stretch; the severity multiplies the
/// width of the band in octaves. Elsewhere the sound stays what it is.
///
/// Reference: Park et al. 2019, "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FrequencyMask {
    /// Middle of the band in hertz, drawn evenly in octaves from this range, 20..=96000.
    pub centre_hz: Range,
    /// Width of the band at severity 1 in octaves, drawn from this range, 0..=10.
    pub octaves: Range,
    /// Share of the length over which it is missing, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for FrequencyMask {
    fn default() -> Self {
        Self { centre_hz: range(300.0, 3000.0), octaves: range(0.5, 1.5), share: range(0.4, 1.0) }
    }
}

/// What [`FrequencyMask`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrequencyMaskDraw {
    /// Middle of the band.
    pub centre_hz: f64,
    /// Width at severity 1.
    pub octaves: f64,
    /// Begin as a share of the length.
    pub start: f64,
    /// End as a share of the length.
    pub end: f64,
}

impl Effect for FrequencyMask {
    const NAME: &'static str = "frequency_mask";
    const EXAMPLE: &'static str = "{ octaves: [0.5, 1.5] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = FrequencyMaskDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("centre_hz", self.centre_hz, 20.0..=96000.0, "hertz")
            .within("octaves", self.octaves, 0.0..=10.0, "octaves")
            .within("share", self.share, 0.0..=1.0, "a share")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FrequencyMaskDraw> {
        let mut rng = site.rng();
        let (centre_hz, width, share) = (octaves(self.centre_hz, &mut rng), self.octaves.draw(&mut rng), self.share.draw(&mut rng));
        let start = rng.random_range(0.0..=1.0) * (1.0 - share);
        Plan::one(FrequencyMaskDraw { centre_hz, octaves: width, start, end: start + share })
    }

    fn apply(draw: &FrequencyMaskDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let half = (draw.octaves * severity / 2.0).exp2();
        scene.edit_audio(|sound| {
            let seconds = sound.seconds();
            // A stretch to the end takes the last frame along.
            let end = if draw.end >= 1.0 { f64::INFINITY } else { draw.end * seconds };
            audio::frequency_mask(sound, draw.centre_hz / half, draw.centre_hz * half, draw.start * seconds, end);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn a_tone_in_the_band_is_gone() {
        // 0.37 / 2 pi of 8000 Hz: 471 Hz.
        let sample = sound(tone(8000, 1, 8000, 0.5));
        let left = |centre_hz: f64, severity: f64| {
            let draw = FrequencyMaskDraw { centre_hz, octaves: 1.0, start: 0.0, end: 1.0 };
            audio::power(&apply::<FrequencyMask>(&draw, severity, &sample).audio.unwrap().samples()[1000..7000]) / 0.125
        };
        assert!(left(471.0, 1.0) < 0.02 && left(1500.0, 1.0) > 0.99 && left(600.0, 0.2) > 0.99 && left(550.0, 1.0) < 0.05);
    }
}
