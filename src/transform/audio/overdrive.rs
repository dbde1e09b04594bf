//! A sound that is driven into saturation.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bends loud samples toward full scale, as an overdriven amplifier does.
///
/// Method: `tanh(g x) / tanh(g)` with `g` of `drive_db` decibels at severity 1; the severity multiplies `g`, toward 0 of which the curve is a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overdrive {
    /// Drive at severity 1 in decibels, drawn from this range, 0..=60.
    pub drive_db: Range,
}

impl Default for Overdrive {
    fn default() -> Self {
        Self { drive_db: range(6.0, 24.0) }
    }
}

/// What [`Overdrive`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverdriveDraw {
    /// Drive at severity 1.
    pub drive_db: f64,
}

impl OverdriveDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.drive_db + 20.0 * severity.log10()
    }
}

impl Effect for Overdrive {
    const NAME: &'static str = "overdrive";
    const EXAMPLE: &'static str = "{ drive_db: [6, 24] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = OverdriveDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("drive_db", self.drive_db, 0.0..=60.0, "decibels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<OverdriveDraw> {
        Plan::one(OverdriveDraw { drive_db: self.drive_db.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &OverdriveDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB of drive"))
    }

    fn apply(draw: &OverdriveDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| audio::soft_clip(sound, draw.reached(severity)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn the_severity_multiplies_the_drive() {
        let audio = AudioBuffer::new(8000, 1, vec![0.5, -1.0]).unwrap();
        let found = apply::<Overdrive>(&OverdriveDraw { drive_db: 20.0 }, 0.2, &sound(audio)).audio.unwrap();
        assert!((found.samples()[0] - 1f32.tanh() / 2f32.tanh()).abs() < 1e-5 && found.samples()[1] == -1.0);
    }
}
