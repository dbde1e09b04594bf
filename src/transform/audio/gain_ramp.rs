//! A speaker who walks away, or comes nearer.

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

/// Moves the loudness of the sound from one level to another.
///
/// Method: the gain goes, evenly in decibels, from one drawn from `gain_db` to another between two drawn times; the severity multiplies both. Cut at full
/// scale like a converter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GainRamp {
    /// Gains at severity 1 in decibels, drawn from this range, -60..=60.
    pub gain_db: Range,
    /// Share of the length over which the gain moves, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for GainRamp {
    fn default() -> Self {
        Self { gain_db: range(-20.0, 6.0), share: range(0.2, 0.8) }
    }
}

/// What [`GainRamp`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GainRampDraw {
    /// Gain before, at severity 1.
    pub from_db: f64,
    /// Gain behind, at severity 1.
    pub to_db: f64,
    /// Begin of the move as a share of the length.
    pub start: f64,
    /// Its end.
    pub end: f64,
}

impl Effect for GainRamp {
    const NAME: &'static str = "gain_ramp";
    const EXAMPLE: &'static str = "{ gain_db: [-20, 6] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = GainRampDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("gain_db", self.gain_db, -60.0..=60.0, "decibels").within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GainRampDraw> {
        let mut rng = site.rng();
        let share = self.share.draw(&mut rng);
        let start = rng.random_range(0.0..=1.0) * (1.0 - share);
        Plan::one(GainRampDraw { from_db: self.gain_db.draw(&mut rng), to_db: self.gain_db.draw(&mut rng), start, end: start + share })
    }

    fn apply(draw: &GainRampDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let place = |share: f64| (share * sound.frames() as f64).round() as usize;
            let (start, end) = (place(draw.start), place(draw.end));
            audio::gain_transition(sound, draw.from_db * severity, draw.to_db * severity, start, end);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn it_goes_from_one_level_to_the_other() {
        let draw = GainRampDraw { from_db: 0.0, to_db: -40.0, start: 0.25, end: 0.75 };
        let found = apply::<GainRamp>(&draw, 0.5, &sound(AudioBuffer::new(8, 1, vec![0.5; 8]).unwrap())).audio.unwrap();
        for (sample, db) in found.samples().iter().zip([0.0, 0.0, 0.0, -5.0, -10.0, -15.0, -20.0, -20.0]) {
            assert!((sample - 0.5 * audio::db_to_factor(db) as f32).abs() < 1e-6);
        }
    }
}
