//! Noise over the sound.

use super::stronger;
use crate::{
    augment::audio::{self, Colour},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds noise to the sound at an exact signal-to-noise ratio.
///
/// Method: white, pink or brown noise is scaled so that the ratio of the mean squares of sound and noise, over the whole clip and all channels, is the drawn
/// one at severity 1; the noise's
/// amplitude grows with the severity (half of it is 6 dB more ratio). Where the sum would clip, both are scaled down together. A silent sound has no ratio and
/// is refused, and so are captions that call a place quiet where the ratio is 10 dB or less (`quiet_place`).
///
/// Reference: Ko et al. 2015, "Audio Augmentation for Speech Recognition".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AddNoise {
    /// Signal-to-noise ratio at severity 1 in decibels, drawn from this range, -30..=60.
    pub snr_db: Range,
    /// Colours, one of which is drawn; at least one.
    pub colours: Vec<Colour>,
}

impl Default for AddNoise {
    fn default() -> Self {
        Self { snr_db: range(0.0, 15.0), colours: vec![Colour::White, Colour::Pink, Colour::Brown] }
    }
}

/// What [`AddNoise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddNoiseDraw {
    /// Colour of the noise.
    pub colour: Colour,
    /// Ratio at severity 1.
    pub snr_db: f64,
    /// Where the noise comes from.
    pub seed: SeedPath,
}

impl AddNoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.snr_db, severity)
    }
}

impl Effect for AddNoise {
    const NAME: &'static str = "add_noise";
    const EXAMPLE: &'static str = "{ snr_db: [0, 15], colours: [white, pink] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = AddNoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("snr_db", self.snr_db, -30.0..=60.0, "decibels")
            .that(!self.colours.is_empty(), "colours", "expected at least one of white, pink, brown")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<AddNoiseDraw> {
        let mut rng = site.rng();
        let colour = self.colours.choose(&mut rng).copied().unwrap_or_default();
        Plan::one(AddNoiseDraw { colour, snr_db: self.snr_db.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &AddNoiseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SNR"))
    }

    fn apply(draw: &AddNoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let snr_db = draw.reached(severity);
        scene.stays_quiet(snr_db)?;
        let seed = SeedTree::at(&draw.seed).child("noise").number();
        let field = audio::noise(draw.colour, sound.sample_rate_hz(), sound.channels(), sound.frames(), seed);
        let mixed = audio::mix_at_snr(sound, &field, snr_db).ok_or("silent")?;
        scene.audio = Some(mixed.audio.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn half_the_severity_is_six_decibels_more() {
        let clean = tone(8000, 1, 4000, 0.3);
        let draw = AddNoiseDraw { colour: Colour::Pink, snr_db: 5.0, seed: SeedTree::new(1).path().clone() };
        for (severity, wanted) in [(1.0, 5.0), (0.5, 5.0 + 20.0 * 2f64.log10())] {
            let noisy = apply::<AddNoise>(&draw, severity, &sound(clean.clone())).audio.unwrap();
            assert!((audio::snr_db(&clean, &noisy, 1.0).unwrap() - wanted).abs() < 0.01);
        }
    }
}
