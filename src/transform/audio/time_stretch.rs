//! A slower or faster sound of the same pitch.

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

/// Makes the sound longer or shorter and keeps its pitch; events and word times go along.
///
/// Method: a phase vocoder with identity phase locking, by a factor drawn evenly in octaves from `factor`; the severity is the exponent (half of it is the
/// square root of the factor). Speed words of the caption stay: `tempo` takes them along.
///
/// Reference: Laroche and Dolson 1999, "Improved phase vocoder time-scale modification of audio".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeStretch {
    /// How many times as long at severity 1, drawn evenly in octaves from this range, 0.25..=4.
    pub factor: Range,
}

impl Default for TimeStretch {
    fn default() -> Self {
        Self { factor: range(0.8, 1.25) }
    }
}

/// What [`TimeStretch`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeStretchDraw {
    /// Factor at severity 1.
    pub factor: f64,
}

impl TimeStretchDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.factor.powf(severity)
    }
}

impl Effect for TimeStretch {
    const NAME: &'static str = "time_stretch";
    const EXAMPLE: &'static str = "{ factor: [0.8, 1.25] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = TimeStretchDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("factor", self.factor, 0.25..=4.0, "a factor").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TimeStretchDraw> {
        Plan::one(TimeStretchDraw { factor: octaves(self.factor, &mut site.rng()) })
    }

    fn magnitude(draw: &TimeStretchDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the speed"))
    }

    fn apply(draw: &TimeStretchDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut found = audio::time_stretch(sound, draw.reached(severity)).map_err(|error| error.to_string())?;
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
        let scene = apply::<TimeStretch>(&TimeStretchDraw { factor: 2.25 }, 0.5, &sample);
        assert_eq!(scene.audio.unwrap().frames(), 12_000);
        assert!((scene.annotations.events[0].end_s - 1.2).abs() < 1e-9);
    }
}
