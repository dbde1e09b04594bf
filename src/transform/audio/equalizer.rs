//! A coloured sound.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes the colour of the sound, as microphones, loudspeakers and rooms do.
///
/// Method: seven bands an octave apart from 100 to 6400 Hz (a low shelf, five bells, a high shelf), each with a gain drawn from `gain_db` times the severity.
/// Bands above half the rate are left out; where samples would lie beyond full scale, all is scaled down.
///
/// Reference: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Equalizer {
    /// Gain of a band at severity 1 in decibels, drawn from this range, -60..=60.
    pub gain_db: Range,
}

impl Default for Equalizer {
    fn default() -> Self {
        Self { gain_db: range(-12.0, 12.0) }
    }
}

/// What [`Equalizer`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EqualizerDraw {
    /// Gains at severity 1 from the lowest band to the highest.
    pub gains_db: [f64; 7],
}

impl Effect for Equalizer {
    const NAME: &'static str = "equalizer";
    const EXAMPLE: &'static str = "{ gain_db: [-12, 12] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = EqualizerDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("gain_db", self.gain_db, -60.0..=60.0, "decibels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<EqualizerDraw> {
        let mut rng = site.rng();
        Plan::one(EqualizerDraw { gains_db: std::array::from_fn(|_| self.gain_db.draw(&mut rng)) })
    }

    fn apply(draw: &EqualizerDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            audio::seven_bands(sound, draw.gains_db.map(|gain| gain * severity));
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
    fn the_severity_scales_the_decibels() {
        let clean = tone(16_000, 1, 4000, 0.2);
        let gains_db = [6.0, -6.0, 4.0, -2.0, 8.0, -8.0, 2.0];
        let mut right = clean.clone();
        audio::seven_bands(&mut right, gains_db.map(|gain| gain / 2.0));
        assert_eq!(*apply::<Equalizer>(&EqualizerDraw { gains_db }, 0.5, &sound(clean)).audio.unwrap(), right);
    }
}
