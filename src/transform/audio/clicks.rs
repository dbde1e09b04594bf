//! Clicks and crackle.

use super::stronger;
use crate::{
    augment::audio,
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::{AudioBuffer, ModalitySet},
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds clicks at random times, as of an old record or a bad contact.
///
/// Method: clicks come as a Poisson process, each of a drawn height and sign, and die away within about a millisecond; they are scaled so that the ratio of
/// the mean squares of sound and clicks is the drawn one at severity 1,
/// and their amplitude grows with the severity. Refuses a silent sound and one so short that no click falls into it (`silent`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clicks {
    /// Ratio of sound to clicks at severity 1 in decibels, drawn from this range, -30..=60.
    pub snr_db: Range,
    /// Clicks a second on average, drawn from this range, 0.1..=1000.
    pub per_second: Range,
}

impl Default for Clicks {
    fn default() -> Self {
        Self { snr_db: range(5.0, 20.0), per_second: range(5.0, 40.0) }
    }
}

/// What [`Clicks`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClicksDraw {
    /// Ratio at severity 1.
    pub snr_db: f64,
    /// Clicks a second.
    pub per_second: f64,
    /// Where the clicks come from.
    pub seed: SeedPath,
}

impl ClicksDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.snr_db, severity)
    }
}

impl Effect for Clicks {
    const NAME: &'static str = "clicks";
    const EXAMPLE: &'static str = "{ snr_db: [5, 20], per_second: [5, 40] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = ClicksDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("snr_db", self.snr_db, -30.0..=60.0, "decibels")
            .within("per_second", self.per_second, 0.1..=1000.0, "clicks a second")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ClicksDraw> {
        let mut rng = site.rng();
        Plan::one(ClicksDraw { snr_db: self.snr_db.draw(&mut rng), per_second: self.per_second.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(draw: &ClicksDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SNR"))
    }

    fn apply(draw: &ClicksDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let seed = SeedTree::at(&draw.seed).child("clicks").number();
        let field = audio::clicks(sound.sample_rate_hz(), sound.channels(), sound.frames(), draw.per_second, 0.0005, seed);
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
    fn the_clicks_have_their_ratio() {
        let clean = tone(8000, 1, 8000, 0.1);
        let draw = ClicksDraw { snr_db: 10.0, per_second: 30.0, seed: SeedTree::new(1).path().clone() };
        let found = apply::<Clicks>(&draw, 1.0, &sound(clean.clone())).audio.unwrap();
        assert!((audio::snr_db(&clean, &found, 1.0).unwrap() - 10.0).abs() < 0.05);
        let silent = Clicks::apply(&draw, 1.0, &mut Scene::of(&sound(tone(8000, 1, 9, 0.0))), &With::default());
        assert_eq!(silent, Err("silent".into()));
    }
}
