//! A sound without silence around it.

use super::retime;
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, share},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Cuts silence off both ends; events and word times go along.
///
/// Method: what lies before the first and behind the last 10 ms block whose level is at most `below_db` under the loudest block's is cut, but for a margin;
/// there is no half of it, so the severity does not matter. Refuses where less than `keep` of an event would be left (`event_lost`) and where a
/// word of the transcript would be lost (`word_lost`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trim {
    /// How far below the loudest block silence begins in decibels, 0..=120.
    pub below_db: f64,
    /// Silence that is left at each end in seconds, 0..=10.
    pub margin_s: f64,
    /// Least share of every event that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Trim {
    fn default() -> Self {
        Self { below_db: 40.0, margin_s: 0.02, keep: share(0.6) }
    }
}

/// What [`Trim`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrimDraw {
    /// Where silence begins.
    pub below_db: f64,
    /// Silence that is left.
    pub margin_s: f64,
    /// Least share of an event that stays.
    pub keep: f64,
}

impl Effect for Trim {
    const NAME: &'static str = "trim";
    const EXAMPLE: &'static str = "{ below_db: 40, margin_s: 0.02 }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    const SCALES: bool = false;
    type Draw = TrimDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("below_db", self.below_db, 0.0..=120.0, "decibels")
            .within("margin_s", self.margin_s, 0.0..=10.0, "seconds")
            .done()
    }

    fn draw(&self, _: &Site<'_>) -> Plan<TrimDraw> {
        Plan::one(TrimDraw { below_db: self.below_db, margin_s: self.margin_s, keep: self.keep.get() })
    }

    fn apply(draw: &TrimDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let margin = (draw.margin_s * f64::from(sound.sample_rate_hz())) as usize;
        let found = audio::trim(sound, draw.below_db, margin).map_err(|error| error.to_string())?;
        retime(scene, found.audio, found.timeline, draw.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::sample::Event;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn silence_goes_and_times_follow() {
        let mut samples = vec![0f32; 3000];
        samples[1000..2000].copy_from_slice(tone(1000, 1, 1000, 0.5).samples());
        let mut sample = sound(AudioBuffer::new(1000, 1, samples).unwrap());
        let events = &mut std::sync::Arc::make_mut(&mut sample.annotations).events;
        events.push(Event { start_s: 1.2, end_s: 1.5, label: "bell".into() });
        let draw = TrimDraw { below_db: 40.0, margin_s: 0.1, keep: 0.6 };
        let scene = apply::<Trim>(&draw, 1.0, &sample);
        assert_eq!(scene.audio.unwrap().frames(), 1200);
        assert!((scene.annotations.events[0].start_s - 0.3).abs() < 1e-9);
        std::sync::Arc::make_mut(&mut sample.annotations).events[0].start_s = 0.0;
        assert_eq!(Trim::apply(&draw, 1.0, &mut Scene::of(&sample), &With::default()), Err("event_lost".into()));
    }
}
