//! A higher or lower sound of the same length.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the pitch of the sound and keeps its length.
///
/// Method: time stretching and resampling by the same factor; semitones drawn from `semitones`, times the severity. Formants move along: a voice becomes that
/// of a smaller or larger speaker.
///
/// Reference: Laroche and Dolson 1999, "Improved phase vocoder time-scale modification of audio".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PitchShift {
    /// Semitones at severity 1, drawn from this range, -24..=24.
    pub semitones: Range,
}

impl Default for PitchShift {
    fn default() -> Self {
        Self { semitones: range(-4.0, 4.0) }
    }
}

/// What [`PitchShift`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PitchShiftDraw {
    /// Semitones at severity 1.
    pub semitones: f64,
}

impl PitchShiftDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.semitones * severity
    }
}

impl Effect for PitchShift {
    const NAME: &'static str = "pitch_shift";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ semitones: [-4, 4] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = PitchShiftDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("semitones", self.semitones, -24.0..=24.0, "semitones").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PitchShiftDraw> {
        Plan::one(PitchShiftDraw { semitones: self.semitones.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &PitchShiftDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "semitones"))
    }

    fn apply(draw: &PitchShiftDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut out = audio::pitch_shift(sound, draw.reached(severity)).map_err(|error| error.to_string())?;
        audio::fit(&mut out);
        scene.audio = Some(out.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn half_the_severity_is_half_the_semitones() {
        let clean = tone(8000, 1, 4000, 0.5);
        let found = apply::<PitchShift>(&PitchShiftDraw { semitones: 7.0 }, 0.5, &sound(clean.clone())).audio.unwrap();
        assert_eq!(*found, audio::pitch_shift(&clean, 3.5).unwrap());
    }
}
