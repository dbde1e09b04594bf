//! A louder or quieter sound.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the sound louder or quieter.
///
/// Method: a gain drawn from `gain_db` times the severity, cut at full scale like a converter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gain {
    /// Gain at severity 1 in decibels, drawn from this range, -60..=60.
    pub gain_db: Range,
}

impl Default for Gain {
    fn default() -> Self {
        Self { gain_db: range(-18.0, 6.0) }
    }
}

/// What [`Gain`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GainDraw {
    /// Gain at severity 1.
    pub gain_db: f64,
}

impl GainDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.gain_db * severity
    }
}

impl Effect for Gain {
    const NAME: &'static str = "gain";
    const EXAMPLE: &'static str = "{ gain_db: [-18, 6] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = GainDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("gain_db", self.gain_db, -60.0..=60.0, "decibels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GainDraw> {
        Plan::one(GainDraw { gain_db: self.gain_db.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &GainDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB"))
    }

    fn apply(draw: &GainDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let gain_db = draw.reached(severity);
        scene.change_audio(|sound| audio::gain_in_place(sound, gain_db), |sound| audio::gain(sound, gain_db));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn half_the_severity_is_half_the_decibels() {
        let clean = tone(8000, 1, 100, 0.5);
        let found = apply::<Gain>(&GainDraw { gain_db: -12.0 }, 0.5, &sound(clean.clone())).audio.unwrap();
        assert_eq!(*found, audio::gain(&clean, -6.0));
    }
}
