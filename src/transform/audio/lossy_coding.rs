//! What a lossy coder leaves.

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

/// Leaves of the sound what a lossy transform coder of a low rate does: a narrower band, and spectra rounded coarsely.
///
/// Method: in each critical band of each frame the spectrum is rounded to steps set by the band's loudest bin, `bits` of them at severity 1; what is above
/// `bandwidth_hz`, or 60 dB below the frame's loudest bin, is dropped. With the severity the bits fall from 16 and the bandwidth, evenly
/// in octaves, from half the rate. It is no MP3 coder and has no rate.
///
/// Reference: Zwicker 1961, "Subdivision of the audible frequency range into critical bands".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossyCoding {
    /// Bandwidth at severity 1 in hertz, drawn evenly in octaves from this range, 100..=96000.
    pub bandwidth_hz: Range,
    /// Bits a bin at severity 1, drawn from this range, 1..=16.
    pub bits: Range,
}

impl Default for LossyCoding {
    fn default() -> Self {
        Self { bandwidth_hz: range(2500.0, 7000.0), bits: range(1.5, 4.0) }
    }
}

/// What [`LossyCoding`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossyCodingDraw {
    /// Bandwidth at severity 1.
    pub bandwidth_hz: f64,
    /// Bits at severity 1.
    pub bits: f64,
}

impl Effect for LossyCoding {
    const NAME: &'static str = "lossy_coding";
    const EXAMPLE: &'static str = "{ bandwidth_hz: [2500, 7000], bits: [1.5, 4] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = LossyCodingDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("bandwidth_hz", self.bandwidth_hz, 100.0..=96000.0, "hertz")
            .within("bits", self.bits, 1.0..=16.0, "bits")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<LossyCodingDraw> {
        let mut rng = site.rng();
        Plan::one(LossyCodingDraw { bandwidth_hz: octaves(self.bandwidth_hz, &mut rng), bits: self.bits.draw(&mut rng) })
    }

    fn apply(draw: &LossyCodingDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let top = f64::from(sound.sample_rate_hz()) / 2.0;
            let bandwidth = if draw.bandwidth_hz < top { toward_hz(top, draw.bandwidth_hz, severity) } else { f64::INFINITY };
            audio::lossy(sound, bandwidth, 16.0 - (16.0 - draw.bits) * severity);
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
    fn the_band_narrows_and_the_bits_fall() {
        let clean = tone(8000, 1, 4000, 0.2);
        let mut right = clean.clone();
        audio::lossy(&mut right, 2000.0, 9.0);
        let draw = LossyCodingDraw { bandwidth_hz: 1000.0, bits: 2.0 };
        assert_eq!(*apply::<LossyCoding>(&draw, 0.5, &sound(clean)).audio.unwrap(), right);
    }
}
