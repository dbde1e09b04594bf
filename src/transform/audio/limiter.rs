//! A sound whose peaks are held down.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Holds the peaks of the sound at a level below its loudest one, without cutting waves.
///
/// Method: the gain that each peak needs is held for the attack before it, recovers with the release and is averaged over the attack. The level falls with the
/// severity from the loudest sample to the drawn one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limiter {
    /// How far below the loudest sample peaks are held at severity 1 in decibels, drawn from this range, 0..=60.
    pub below_peak_db: Range,
    /// Time over which the gain falls in seconds, 0..=1.
    pub attack_s: f64,
    /// Time constant with which it recovers in seconds, 0..=5.
    pub release_s: f64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { below_peak_db: range(6.0, 24.0), attack_s: 0.005, release_s: 0.2 }
    }
}

/// What [`Limiter`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimiterDraw {
    /// Distance at severity 1.
    pub below_peak_db: f64,
    /// Attack.
    pub attack_s: f64,
    /// Release.
    pub release_s: f64,
}

impl LimiterDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.below_peak_db * severity
    }
}

impl Effect for Limiter {
    const NAME: &'static str = "limiter";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ below_peak_db: [6, 24] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = LimiterDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("below_peak_db", self.below_peak_db, 0.0..=60.0, "decibels")
            .within("attack_s", self.attack_s, 0.0..=1.0, "seconds")
            .within("release_s", self.release_s, 0.0..=5.0, "seconds")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<LimiterDraw> {
        Plan::one(LimiterDraw {
            below_peak_db: self.below_peak_db.draw(&mut site.rng()),
            attack_s: self.attack_s,
            release_s: self.release_s,
        })
    }

    fn magnitude(draw: &LimiterDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB below the peak"))
    }

    fn apply(draw: &LimiterDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let headroom = audio::headroom_db(sound);
            if headroom.is_finite() {
                audio::limit(sound, -headroom - draw.reached(severity), draw.attack_s, draw.release_s);
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
    fn peaks_are_held_below_the_loudest() {
        let clean = tone(8000, 1, 4000, 0.5);
        let draw = LimiterDraw { below_peak_db: 12.0, attack_s: 0.002, release_s: 0.1 };
        let peak = |severity: f64| audio::peak(apply::<Limiter>(&draw, severity, &sound(clean.clone())).audio.unwrap().samples());
        let right = |db: f64| 0.5 * audio::db_to_factor(db) as f32;
        assert!(peak(1.0) <= right(-12.0) + 1e-4 && peak(0.5) <= right(-6.0) + 1e-4 && peak(0.5) > right(-9.0));
    }
}
