//! A sound that comes earlier or later.

use super::retime;
use crate::{
    augment::{audio, image::Edge, timeline::Timeline},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the sound in time; its length stays, events and word times go along.
///
/// Method: a share of the length drawn from `share`, times the severity, later where it is positive; silence fills the hole. The picture and the caption stay:
/// `shift` moves all of them. Refuses where less than `keep` of an event would be left (`event_lost`) and where a word of the
/// transcript would be lost (`word_lost`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeShift {
    /// Share of the length at severity 1, drawn from this range, -1..=1; negative is earlier.
    pub share: Range,
    /// Least share of every event that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for TimeShift {
    fn default() -> Self {
        Self { share: range(-0.2, 0.2), keep: share(0.6) }
    }
}

/// What [`TimeShift`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeShiftDraw {
    /// Share at severity 1.
    pub share: f64,
    /// Least share of an event that stays.
    pub keep: f64,
}

impl TimeShiftDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for TimeShift {
    const NAME: &'static str = "time_shift";
    const EXAMPLE: &'static str = "{ share: [-0.2, 0.2] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = TimeShiftDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, -1.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TimeShiftDraw> {
        let mut rng = site.rng();
        Plan::Fires((0..super::PLACES).map(|_| TimeShiftDraw { share: self.share.draw(&mut rng), keep: self.keep.get() }).collect())
    }

    fn magnitude(draw: &TimeShiftDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the length"))
    }

    fn apply(draw: &TimeShiftDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let frames = Timeline::shift(draw.reached(severity)).places(sound.frames());
        let timeline = Timeline::shift(frames as f64 / sound.frames() as f64);
        let moved = audio::shift(sound, frames, Edge::Zero);
        retime(scene, moved, timeline, draw.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Event;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn events_go_along_or_are_refused() {
        let mut sample = sound(tone(1000, 1, 1000, 0.5));
        let event = Event { start_s: 0.6, end_s: 0.8, label: "bell".into() };
        std::sync::Arc::make_mut(&mut sample.annotations).events.push(event);
        let scene = apply::<TimeShift>(&TimeShiftDraw { share: 0.2, keep: 0.6 }, 0.5, &sample);
        assert!(
            (scene.annotations.events[0].start_s - 0.7).abs() < 1e-9 && scene.audio.unwrap().samples()[..100].iter().all(|s| *s == 0.0)
        );
        let lost = TimeShift::apply(&TimeShiftDraw { share: 0.9, keep: 0.6 }, 1.0, &mut Scene::of(&sample), &With::default());
        assert_eq!(lost, Err("event_lost".into()));
    }
}
