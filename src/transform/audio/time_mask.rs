//! A hole in the sound.

use super::hides;
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Silences a stretch of the sound, as a drop-out does.
///
/// Method: a stretch whose length is a share drawn from `share` times the severity, its middle at a drawn place, with ramps of 5 ms. Refuses where more than 1
/// - `keep` of an event or of a word of the transcript would be silent (`event_lost`, `word_lost`); several places are tried.
///
/// Reference: Park et al. 2019, "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeMask {
    /// Share of the length that is silent at severity 1, drawn from this range, 0..=1.
    pub share: Range,
    /// Least share of every event and spoken word that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for TimeMask {
    fn default() -> Self {
        Self { share: range(0.05, 0.2), keep: share(0.5) }
    }
}

/// What [`TimeMask`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeMaskDraw {
    /// Share at severity 1.
    pub share: f64,
    /// Middle of the hole as a share of the length.
    pub middle: f64,
    /// Least share of an event or word that stays.
    pub keep: f64,
}

impl TimeMaskDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for TimeMask {
    const NAME: &'static str = "time_mask";
    const EXAMPLE: &'static str = "{ share: [0.05, 0.2] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = TimeMaskDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TimeMaskDraw> {
        let mut rng = site.rng();
        let mut draw = || TimeMaskDraw { share: self.share.draw(&mut rng), middle: rng.random_range(0.0..=1.0), keep: self.keep.get() };
        Plan::Fires((0..super::PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &TimeMaskDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the length"))
    }

    fn apply(draw: &TimeMaskDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let (frames, half) = (sound.frames() as f64, draw.reached(severity) / 2.0);
        // A hole that would reach over an end lies at it.
        let middle = draw.middle.clamp(half.min(0.5), (1.0 - half).max(0.5));
        let (start, end) = (((middle - half) * frames).round().max(0.0) as usize, ((middle + half) * frames).round() as usize);
        let seconds = |at: usize| at as f64 / f64::from(sound.sample_rate_hz());
        hides(scene, seconds(start)..seconds(end), draw.keep)?;
        let ramp = sound.sample_rate_hz() as usize / 200;
        scene.edit_audio(|sound| audio::gap_in_place(sound, start, end, ramp));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::sample::Event;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn the_hole_has_its_length_and_keeps_events() {
        let mut sample = sound(AudioBuffer::new(1000, 1, vec![0.5; 1000]).unwrap());
        let hole = TimeMaskDraw { share: 0.4, middle: 0.5, keep: 0.5 };
        let found = apply::<TimeMask>(&hole, 0.5, &sample).audio.unwrap();
        let full = found.samples().iter().filter(|s| **s == 0.5).count();
        assert!(found.samples()[500] == 0.0 && full == 800, "{full}");
        let event = Event { start_s: 0.5, end_s: 0.7, label: "bell".into() };
        std::sync::Arc::make_mut(&mut sample.annotations).events.push(event);
        assert_eq!(TimeMask::apply(&hole, 1.0, &mut Scene::of(&sample), &With::default()), Err("event_lost".into()));
        assert_eq!(TimeMask::apply(&hole, 0.4, &mut Scene::of(&sample), &With::default()), Ok(()));
    }
}
