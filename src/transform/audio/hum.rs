//! Hum of the mains.

use super::stronger;
use crate::{
    augment::audio,
    error::Problem,
    sample::{AudioBuffer, ModalitySet},
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds the hum of the mains: a sine of 50 or 60 Hz and its overtones.
///
/// Method: `harmonics` sines, each 6 dB weaker than the one before, begin at a drawn phase and are scaled so that the ratio of the mean squares of sound and
/// hum is the drawn one at severity 1; their amplitude grows with the severity. Refuses a
/// silent sound (`silent`) and one whose rate is too low for the mains (`rate_too_low`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hum {
    /// Ratio of sound to hum at severity 1 in decibels, drawn from this range, -30..=60.
    pub snr_db: Range,
    /// Frequencies of the mains, one of which is drawn, 1..=1000 Hz; at least one.
    pub mains_hz: Vec<f64>,
    /// How many sines, 1..=64.
    pub harmonics: usize,
}

impl Default for Hum {
    fn default() -> Self {
        Self { snr_db: range(5.0, 20.0), mains_hz: vec![50.0, 60.0], harmonics: 5 }
    }
}

/// What [`Hum`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HumDraw {
    /// Ratio at severity 1.
    pub snr_db: f64,
    /// Frequency of the mains.
    pub mains_hz: f64,
    /// How many sines.
    pub harmonics: usize,
    /// Where the sine begins, in turns.
    pub phase: f64,
}

impl HumDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.snr_db, severity)
    }
}

impl Effect for Hum {
    const NAME: &'static str = "hum";
    const EXAMPLE: &'static str = "{ snr_db: [5, 20], mains_hz: [50] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = HumDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("snr_db", self.snr_db, -30.0..=60.0, "decibels")
            .that(
                !self.mains_hz.is_empty() && self.mains_hz.iter().all(|hz| (1.0..=1000.0).contains(hz)),
                "mains_hz",
                "expected at least one frequency, each in 1..=1000 Hz",
            )
            .within("harmonics", self.harmonics, 1.0..=64.0, "sines")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<HumDraw> {
        let mut rng = site.rng();
        let mains_hz = self.mains_hz.choose(&mut rng).copied().unwrap_or(50.0);
        Plan::one(HumDraw { snr_db: self.snr_db.draw(&mut rng), mains_hz, harmonics: self.harmonics, phase: rng.random_range(0.0..1.0) })
    }

    fn magnitude(draw: &HumDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SNR"))
    }

    fn apply(draw: &HumDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let (rate, channels, frames) = (sound.sample_rate_hz(), sound.channels(), sound.frames());
        if draw.mains_hz >= f64::from(rate) / 2.0 {
            return Err("rate_too_low".into());
        }
        let field = audio::hum(rate, channels, frames, draw.mains_hz, draw.harmonics, 6.0, draw.phase);
        let mut out = AudioBuffer::clone(sound);
        audio::mix_in_place(&mut out, &field, draw.reached(severity)).ok_or("silent")?;
        scene.audio = Some(out.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_hum_is_there_at_its_ratio() {
        let clean = tone(8000, 1, 8000, 0.3);
        let draw = HumDraw { snr_db: 10.0, mains_hz: 50.0, harmonics: 3, phase: 0.2 };
        let found = apply::<Hum>(&draw, 1.0, &sound(clean.clone())).audio.unwrap();
        assert!((audio::snr_db(&clean, &found, 1.0).unwrap() - 10.0).abs() < 0.01);
        let refused = |audio: AudioBuffer| Hum::apply(&draw, 1.0, &mut Scene::of(&sound(audio)), &With::default()).unwrap_err();
        assert_eq!(refused(tone(90, 1, 20, 0.5)), "rate_too_low");
        assert_eq!(refused(tone(8000, 1, 20, 0.0)), "silent");
    }
}
