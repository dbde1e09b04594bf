//! Silence before and after the sound.

use super::retime;
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts silence before and after the sound, which grows longer: the same word heard earlier or later by a model that looks at a window of fixed length.
///
/// Method: both lengths are drawn in seconds and multiplied by the severity; events and word times move along. Nothing is cut off, unlike with `time_shift`.
///
/// Reference: Ko et al. 2017, "A study on data augmentation of reverberant speech for robust speech recognition" (placement in time); as `Padding` and `Shift` in audio libraries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PadSilence {
    /// Seconds of silence before the sound at severity 1, drawn from this range, 0..=60.
    pub before_s: Range,
    /// Seconds of silence behind it.
    pub after_s: Range,
}

impl Default for PadSilence {
    fn default() -> Self {
        Self { before_s: range(0.0, 0.3), after_s: range(0.0, 0.3) }
    }
}

/// What [`PadSilence`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadSilenceDraw {
    /// Seconds before the sound at severity 1.
    pub before_s: f64,
    /// Seconds behind it.
    pub after_s: f64,
}

impl PadSilenceDraw {
    /// What the severity makes of all added silence.
    fn reached(&self, severity: f64) -> f64 {
        (self.before_s + self.after_s) * severity
    }
}

impl Effect for PadSilence {
    const NAME: &'static str = "pad_silence";
    const EXAMPLE: &'static str = "{ before_s: [0.0, 0.3], after_s: [0.0, 0.3] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = PadSilenceDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("before_s", self.before_s, 0.0..=60.0, "seconds").within("after_s", self.after_s, 0.0..=60.0, "seconds").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PadSilenceDraw> {
        let mut rng = site.rng();
        Plan::one(PadSilenceDraw { before_s: self.before_s.draw(&mut rng), after_s: self.after_s.draw(&mut rng) })
    }

    fn magnitude(draw: &PadSilenceDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "s of silence"))
    }

    fn apply(draw: &PadSilenceDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let frames = |seconds: f64| (seconds * f64::from(sound.sample_rate_hz())).round() as usize;
        let found =
            audio::pad(sound, frames(draw.before_s * severity), frames(draw.after_s * severity)).map_err(|error| error.to_string())?;
        retime(scene, found.audio, found.timeline, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Event, WordTime},
        transform::testing::{apply, sound, tone},
    };
    use std::sync::Arc;

    #[test]
    fn the_sound_and_its_times_lie_later() {
        let clean = tone(1000, 2, 400, 0.5);
        let mut sample = sound(clean.clone());
        let annotations = Arc::make_mut(&mut sample.annotations);
        annotations.events = vec![Event { start_s: 0.0, end_s: 0.4, label: "bell".into() }];
        annotations.words = vec![WordTime { start: 0, end: 1, start_s: 0.1, end_s: 0.2 }];
        let scene = apply::<PadSilence>(&PadSilenceDraw { before_s: 0.2, after_s: 0.4 }, 0.5, &sample);
        let padded = scene.audio.unwrap();
        assert_eq!(padded.frames(), 100 + 400 + 200);
        assert_eq!((&padded.samples()[200..1000], &padded.samples()[..200]), (clean.samples(), &[0.0; 200][..]));
        assert!(padded.samples()[1000..].iter().all(|value| *value == 0.0));
        let (event, word) = (&scene.annotations.events[0], &scene.annotations.words[0]);
        // Nothing is cut, where the silence is in front alone, too.
        let mut long = sound(tone(8000, 1, 20_716, 0.5));
        let end_s = 20_716.0 / 8000.0;
        Arc::make_mut(&mut long.annotations).events = vec![Event { start_s: 1.0, end_s: end_s + 1e-4, label: "bell".into() }];
        assert_eq!(apply::<PadSilence>(&PadSilenceDraw { before_s: 0.25375, after_s: 0.0 }, 1.0, &long).annotations.events.len(), 1);
        assert!((event.start_s - 0.1).abs() < 1e-9 && (event.end_s - 0.5).abs() < 1e-9 && (word.start_s - 0.2).abs() < 1e-9);
    }

    #[test]
    fn all_added_silence_counts() {
        let of = |before_s, after_s, severity| PadSilence::magnitude(&PadSilenceDraw { before_s, after_s }, severity).unwrap();
        assert_eq!(of(0.0, 0.5, 0.5), Magnitude::new(0.25, "s of silence"));
        assert_eq!(of(0.25, 0.5, 1.0), Magnitude::new(0.75, "s of silence"));
    }
}
