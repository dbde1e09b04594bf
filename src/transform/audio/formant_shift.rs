//! Formants of a smaller or larger speaker.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the formants of the sound and keeps its pitch and length: the voice of a speaker with a shorter or longer vocal tract.
///
/// Method: the true spectral envelope of each frame is stretched along the frequencies by a ratio drawn from `ratio`, raised to the power of the severity; harmonics and phases stay where they are. Above 1 is a shorter tract. It stands in for
/// speakers that the data lack (a child, a tall man), together with `pitch_shift` and `tempo`; it is **no** accent and no dialect, whose vowels and rhythm are others.
///
/// Reference: Röbel and Rodet 2005, "Efficient spectral envelope estimation and its application to pitch shifting and envelope preservation"; as vocal tract length perturbation, Jaitly and Hinton 2013.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormantShift {
    /// Ratio of the new formants to the old at severity 1, drawn from this range, 0.5..=2.
    pub ratio: Range,
}

impl Default for FormantShift {
    fn default() -> Self {
        Self { ratio: range(0.85, 1.18) }
    }
}

/// What [`FormantShift`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormantShiftDraw {
    /// Ratio at severity 1.
    pub ratio: f64,
}

impl FormantShiftDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.ratio.powf(severity)
    }
}

impl Effect for FormantShift {
    const NAME: &'static str = "formant_shift";
    const EXAMPLE: &'static str = "{ ratio: [0.85, 1.18] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = FormantShiftDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("ratio", self.ratio, 0.5..=2.0, "a ratio").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FormantShiftDraw> {
        Plan::one(FormantShiftDraw { ratio: self.ratio.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &FormantShiftDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the formants"))
    }

    fn apply(draw: &FormantShiftDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut out = audio::formant_shift(sound, draw.reached(severity));
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
    fn half_the_severity_is_the_root_of_the_ratio() {
        let clean = tone(8000, 1, 4000, 0.5);
        let found = apply::<FormantShift>(&FormantShiftDraw { ratio: 1.44 }, 0.5, &sound(clean.clone())).audio.unwrap();
        assert_eq!(*found, audio::formant_shift(&clean, 1.2));
    }
}
