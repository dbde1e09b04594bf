//! One speed for the sound, its events, its transcript's times and the words that speak of it.

use crate::{
    augment::{
        audio,
        text::{self, Sense, TempoWord},
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes the sound slower or faster at its pitch; events, word times and the caption's words of speed follow.
///
/// Method: a phase vocoder by a factor drawn evenly in octaves from `factor`; the severity is the exponent (half of it is the square root of the factor). From
/// `swap` on, fast and slow, quickly and slowly, rapid and their like are replaced by
/// the word of the other end where they speak of the sound ("speaks quickly", "a slow song") and now say the wrong thing; below that they stay true enough.
/// Comparisons ("a faster train") hold and stay. Refuses where a word that would have to follow
/// may mean something else (`unsure_word`) or is protected (`protected_word`).
///
/// Reference: Laroche and Dolson 1999, "Improved phase vocoder time-scale modification of audio".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tempo {
    /// How many times as long at severity 1, drawn evenly in octaves from this range, 0.25..=4.
    pub factor: Range,
    /// Factor, either way, from which words of speed follow, above 1 and at most 4.
    pub swap: f64,
}

impl Default for Tempo {
    fn default() -> Self {
        Self { factor: range(0.6, 1.7), swap: 1.25 }
    }
}

/// What [`Tempo`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TempoDraw {
    /// Factor at severity 1.
    pub factor: f64,
    /// From which factor on words follow.
    pub swap: f64,
}

impl TempoDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.factor.powf(severity)
    }
}

impl Effect for Tempo {
    const NAME: &'static str = "tempo";
    const EXAMPLE: &'static str = "{ factor: [0.6, 1.7] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO.or(ModalitySet::TEXT);
    type Draw = TempoDraw;

    fn problems(&self) -> Vec<Problem> {
        let message = format!("expected a factor above 1 and at most 4, found {}", self.swap);
        Checks::new()
            .within("factor", self.factor, 0.25..=4.0, "a factor")
            .that(self.swap > 1.0 && self.swap <= 4.0, "swap", message)
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TempoDraw> {
        let (low, high) = (self.factor.low(), self.factor.high());
        Plan::one(TempoDraw { factor: low * (high / low).powf(site.rng().random_range(0.0..=1.0)), swap: self.swap })
    }

    fn magnitude(draw: &TempoDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the speed"))
    }

    fn apply(draw: &TempoDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let seconds = sound.seconds();
        let mut found = audio::time_stretch(sound, draw.reached(severity)).map_err(|error| error.to_string())?;
        audio::fit(&mut found.audio);
        let factor = found.timeline.ratio();
        let mut edits = Vec::new();
        for word in text::tempo_words(&scene.words()) {
            let wrong = if word.fast { factor >= draw.swap } else { factor <= 1.0 / draw.swap };
            match word {
                _ if !wrong => {}
                TempoWord { sense: Sense::Other, .. } => {}
                TempoWord { sense: Sense::Scene, opposite: Some(opposite), range, .. } => edits.extend(scene.replace_word(range, opposite)),
                _ => return Err("unsure_word".into()),
            }
        }
        scene.edit_text(edits)?;
        scene.annotations.events = found.timeline.events(&scene.annotations.events, seconds).0;
        scene.annotations.words = found.timeline.words(&scene.annotations.words, seconds);
        scene.audio = Some(found.audio.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Event, Media, Sample, Text, WordTime},
        transform::testing::{apply, sound, tone},
    };

    fn spoken(caption: &str) -> Sample {
        let mut sample = sound(tone(8000, 1, 8000, 0.5));
        sample.text = Some(Media::new(Text::new(caption)));
        let annotations = std::sync::Arc::make_mut(&mut sample.annotations);
        annotations.events.push(Event { start_s: 0.25, end_s: 0.5, label: "voice".into() });
        annotations.words.push(WordTime { start: 2, end: 5, start_s: 0.5, end_s: 0.75 });
        sample
    }

    #[test]
    fn times_and_words_follow() {
        let draw = |factor| TempoDraw { factor, swap: 1.25 };
        let slow = apply::<Tempo>(&draw(4.0), 0.5, &spoken("A man speaks quickly, a fast drum"));
        assert_eq!((slow.audio.unwrap().frames(), slow.text.unwrap().content.as_str()), (16_000, "A man speaks slowly, a slow drum"));
        let (event, word) = (&slow.annotations.events[0], &slow.annotations.words[0]);
        assert!((event.start_s - 0.5).abs() < 1e-9 && (word.end_s - 1.5).abs() < 1e-9);
        // Faster, quick words are still right; slow ones are not; a little faster is not yet fast.
        let same = "a man speaks quickly";
        assert_eq!(apply::<Tempo>(&draw(0.5), 1.0, &spoken(same)).text.unwrap().content, same);
        assert_eq!(apply::<Tempo>(&draw(0.5), 1.0, &spoken("a slow song")).text.unwrap().content, "a fast song");
        assert_eq!(apply::<Tempo>(&draw(0.5), 0.2, &spoken("a slow song")).text.unwrap().content, "a slow song");
    }

    #[test]
    fn there_and_back_is_the_old_scene() {
        let old = spoken("a bell rings slowly");
        let there = apply::<Tempo>(&TempoDraw { factor: 0.5, swap: 1.25 }, 1.0, &old).into_sample(&old);
        let back = apply::<Tempo>(&TempoDraw { factor: 2.0, swap: 1.25 }, 1.0, &there);
        assert_eq!(back.text.unwrap().content, "a bell rings slowly");
        assert_eq!(back.audio.unwrap().frames(), 8000);
        assert!((back.annotations.events[0].start_s - 0.25).abs() < 1e-9 && (back.annotations.words[0].end_s - 0.75).abs() < 1e-9);
    }

    #[test]
    fn what_is_unsure_is_refused() {
        let apply = |caption| Tempo::apply(&TempoDraw { factor: 2.0, swap: 1.25 }, 1.0, &mut Scene::of(&spoken(caption)), &With::default());
        assert_eq!(apply("a fast car"), Err("unsure_word".into()));
        assert_eq!(apply("a faster car"), Ok(()));
        let mut scene = Scene::of(&crate::transform::testing::caption("speaks fast"));
        assert_eq!(Tempo::apply(&TempoDraw { factor: 2.0, swap: 1.25 }, 1.0, &mut scene, &With::default()), Ok(()));
        assert_eq!(scene.text.unwrap().content, "speaks fast");
    }
}
