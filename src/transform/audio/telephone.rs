//! A telephone line.

use crate::{
    augment::audio::{self, Coding},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With},
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sends the sound over a telephone line.
///
/// Method: 300 to 3400 Hz, a rate of 8 kHz, one of the codings, and back to the old rate; the severity is the share of the line in the result, the rest is the
/// sound before it. Length and times stay.
///
/// Reference: ITU-T G.711, "Pulse code modulation (PCM) of voice frequencies".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telephone {
    /// Codings, one of which is drawn: mu_law, a_law, adpcm; at least one.
    pub codings: Vec<Coding>,
}

impl Default for Telephone {
    fn default() -> Self {
        Self { codings: vec![Coding::MuLaw, Coding::ALaw, Coding::Adpcm] }
    }
}

/// What [`Telephone`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelephoneDraw {
    /// The coding.
    pub coding: Coding,
}

impl Effect for Telephone {
    const NAME: &'static str = "telephone";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ codings: [mu_law, a_law] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = TelephoneDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().that(!self.codings.is_empty(), "codings", "expected at least one of mu_law, a_law, adpcm").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TelephoneDraw> {
        Plan::one(TelephoneDraw { coding: self.codings.choose(&mut site.rng()).copied().unwrap_or_default() })
    }

    fn apply(draw: &TelephoneDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut out = audio::telephone(sound, draw.coding).map_err(|error| error.to_string())?;
        let share = severity as f32;
        if share < 1.0 {
            out.samples_mut().iter_mut().zip(sound.samples()).for_each(|(line, before)| *line = before + (*line - before) * share);
        }
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
    fn half_the_severity_is_half_the_line() {
        let clean = tone(16_000, 1, 4000, 0.4);
        let line = audio::telephone(&clean, Coding::ALaw).unwrap();
        let found = apply::<Telephone>(&TelephoneDraw { coding: Coding::ALaw }, 0.5, &sound(clean.clone())).audio.unwrap();
        for ((found, clean), line) in found.samples().iter().zip(clean.samples()).zip(line.samples()) {
            assert!((found - (clean + line) / 2.0).abs() < 1e-6);
        }
    }
}
