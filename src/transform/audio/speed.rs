//! A tape that runs faster or slower.

use super::{octaves, retime};
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Plays the sound faster or slower: length and pitch change together, events and word times go along.
///
/// Method: band-limited resampling by a factor drawn evenly in octaves from `factor`; the severity is the exponent (half of it is the square root of the factor).
///
/// Reference: Ko et al. 2015, "Audio Augmentation for Speech Recognition".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Speed {
    /// How many times as fast at severity 1, drawn evenly in octaves from this range, 0.25..=4.
    pub factor: Range,
}

impl Default for Speed {
    fn default() -> Self {
        Self { factor: range(0.85, 1.2) }
    }
}

/// What [`Speed`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedDraw {
    /// Factor at severity 1.
    pub factor: f64,
}

impl SpeedDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.factor.powf(severity)
    }
}

impl Effect for Speed {
    const NAME: &'static str = "speed";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ factor: [0.85, 1.2] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = SpeedDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("factor", self.factor, 0.25..=4.0, "a factor").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SpeedDraw> {
        Plan::one(SpeedDraw { factor: octaves(self.factor, &mut site.rng()) })
    }

    fn magnitude(draw: &SpeedDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the speed"))
    }

    fn apply(draw: &SpeedDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut found = audio::speed(sound, draw.reached(severity)).map_err(|error| error.to_string())?;
        audio::fit(&mut found.audio);
        retime(scene, found.audio, found.timeline, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Event;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn times_follow() {
        let mut sample = sound(tone(8000, 1, 8000, 0.5));
        let event = Event { start_s: 0.4, end_s: 0.8, label: "bell".into() };
        std::sync::Arc::make_mut(&mut sample.annotations).events.push(event);
        let scene = apply::<Speed>(&SpeedDraw { factor: 4.0 }, 0.5, &sample);
        assert_eq!(scene.audio.unwrap().frames(), 4000);
        assert!((scene.annotations.events[0].start_s - 0.2).abs() < 1e-9);
    }
}
