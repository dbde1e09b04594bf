//! A stretch of time out of sound and transcript, cut between words.

use super::{drop_unheard, shift::PLACES};
use crate::{
    augment::{audio, timeline::Timeline},
    error::Problem,
    sample::{ModalitySet, WordTime},
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps one stretch of the sound and the words of the transcript that are spoken in it; the picture stays (`crop` cuts both).
///
/// Method: a share drawn from `share`, times the severity, is cut away at a drawn place. An end that would lie inside a spoken word moves to the word's nearer
/// end, so that no word is cut. Events and word times follow; words that are no longer heard leave
/// the transcript; a caption without word times stays. Refuses where less than `keep` of an event would be left (`event_lost`), where no word would be left
/// (`no_word_left`) and where a protected word's sound would go (`protected_word`); several places
/// are tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeCrop {
    /// Share of the length that is cut away at severity 1, drawn from this range, 0..=0.95.
    pub share: Range,
    /// Least share of every event that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for TimeCrop {
    fn default() -> Self {
        Self { share: range(0.1, 0.4), keep: share(0.6) }
    }
}

/// What [`TimeCrop`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeCropDraw {
    /// Share that is cut away at severity 1.
    pub share: f64,
    /// Where the rest lies: 0 at the beginning, 1 at the end.
    pub place: f64,
    /// Least share of an event that stays.
    pub keep: f64,
}

impl TimeCropDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

/// An end that would lie inside a spoken word, at the word's nearer end.
fn between_words(at_s: f64, words: &[WordTime]) -> f64 {
    match words.iter().find(|word| word.start_s < at_s && at_s < word.end_s) {
        Some(word) if at_s - word.start_s < word.end_s - at_s => word.start_s,
        Some(word) => word.end_s,
        None => at_s,
    }
}

impl Effect for TimeCrop {
    const NAME: &'static str = "time_crop";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.4] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO.or(ModalitySet::TEXT);
    type Draw = TimeCropDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=0.95, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TimeCropDraw> {
        let mut rng = site.rng();
        let mut draw = || TimeCropDraw { share: self.share.draw(&mut rng), place: rng.random_range(0.0..=1.0), keep: self.keep.get() };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &TimeCropDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the length"))
    }

    fn apply(draw: &TimeCropDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let (frames, seconds) = (sound.frames(), sound.seconds());
        let gone = draw.reached(severity);
        let window = [draw.place * gone, draw.place * gone + 1.0 - gone];
        let [start, end] = window.map(|share| {
            let at_s = between_words(share * seconds, &scene.annotations.words);
            (at_s / seconds * frames as f64).round().clamp(0.0, frames as f64)
        });
        let timeline = Timeline::crop(start / frames as f64, end / frames as f64).ok_or("empty_window")?;
        let cropped = audio::crop(sound, start as usize, end as usize).map_err(|error| error.to_string())?;
        let (events, least) = timeline.events(&scene.annotations.events, seconds);
        if least < draw.keep {
            return Err("event_lost".into());
        }
        drop_unheard(scene, timeline, seconds)?;
        scene.annotations.events = events;
        scene.audio = Some(cropped.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Event, Media, Sample, Text},
        transform::testing::{apply, sound, tone},
    };

    /// "one two three four", a word every quarter of a second.
    fn spoken() -> Sample {
        let mut sample = sound(tone(8000, 1, 8000, 0.5));
        let content = "one two three four";
        sample.text = Some(Media::new(Text::new(content)));
        let annotations = std::sync::Arc::make_mut(&mut sample.annotations);
        for (at, word) in content.split(' ').enumerate() {
            let start = content.find(word).unwrap();
            let start_s = 0.25 * at as f64;
            annotations.words.push(WordTime { start, end: start + word.len(), start_s: start_s + 0.01, end_s: start_s + 0.24 });
        }
        sample
    }

    #[test]
    fn ends_move_between_words() {
        // 0.2..0.8: the first end moves to 0.24, behind "one"; the other to 0.76, before "four".
        let draw = TimeCropDraw { share: 0.4, place: 0.5, keep: 0.6 };
        let scene = apply::<TimeCrop>(&draw, 1.0, &spoken());
        assert_eq!((scene.audio.unwrap().frames(), scene.text.unwrap().content.as_str()), (4160, "two three"));
        let times: Vec<(usize, usize, f64)> =
            scene.annotations.words.iter().map(|w| (w.start, w.end, (w.start_s * 100.0).round())).collect();
        assert_eq!(times, [(0, 3, 2.0), (4, 9, 27.0)]);
        // A smaller severity cuts less.
        assert_eq!(apply::<TimeCrop>(&draw, 0.1, &spoken()).text.unwrap().content, "one two three four");
    }

    #[test]
    fn what_must_stay_refuses() {
        let of = |sample: &Sample, draw: &TimeCropDraw| TimeCrop::apply(draw, 1.0, &mut Scene::of(sample), &With::default());
        // The end would lie early in "one", and moves before it.
        assert_eq!(of(&spoken(), &TimeCropDraw { share: 0.9, place: 0.0, keep: 0.6 }), Err("no_word_left".into()));
        let mut sample = spoken();
        let event = Event { start_s: 0.8, end_s: 1.0, label: "bell".into() };
        std::sync::Arc::make_mut(&mut sample.annotations).events.push(event);
        assert_eq!(of(&sample, &TimeCropDraw { share: 0.3, place: 0.0, keep: 0.6 }), Err("event_lost".into()));
    }
}
