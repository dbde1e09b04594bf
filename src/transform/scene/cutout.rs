//! One covered window in picture, sound and caption.

use super::shift::PLACES;
use crate::{
    augment::{
        audio,
        image::{self, Fill, PixelRect},
        text::{self, Word},
        timeline::{place_range, token_range},
    },
    error::Problem,
    sample::{BoundingBox, ModalitySet},
    transform::{Effect, Magnitude, Plan, Scene, Site, With, share},
    units::Fraction,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of covered words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// `mask` stands in their place.
    #[default]
    Mask,
    /// They are taken out.
    Drop,
    /// They stay.
    Keep,
}

/// Covers the same window in every modality.
///
/// Method: a rectangle of the picture gets one colour, the sound a gap, and the words that lie there (by their times where these are known, else by their place in the caption) are masked or dropped; the size of the window is multiplied by the
/// severity. Protected words and at least one word stay.
///
/// Refuses where more than `cover` of a box or an event would be hidden (`object_covered`, `event_covered`).
///
/// Reference: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout"; the gap in the sound after the time masks of SpecAugment (Park et al. 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutout {
    /// Greatest size of the window at severity 1, as a share of width, height, duration and words, above 0 and at most 0.9.
    pub share: Fraction,
    /// What covers the picture.
    pub fill: Fill,
    /// What becomes of the covered words.
    pub words: Words,
    /// What stands for a masked word.
    pub mask: String,
    /// Greatest share of a box or an event that may be hidden, 0..=1.
    pub cover: Fraction,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { share: share(0.4), fill: Fill::Mean, words: Words::Mask, mask: "_".into(), cover: share(0.6) }
    }
}

/// What [`Cutout`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutoutDraw {
    /// Middle of the window along x, time and words, a share.
    pub x: f64,
    /// Middle along y.
    pub y: f64,
    /// Size at severity 1, a share.
    pub share: f64,
    /// What covers the picture.
    pub fill: Fill,
    /// What becomes of the words.
    pub words: Words,
    /// The mask.
    pub mask: String,
    /// Greatest share of a box or an event that may be hidden.
    pub cover: f64,
}

impl CutoutDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

/// Length of the ramps at both ends of a gap in seconds.
const RAMP_S: f64 = 0.005;

impl Effect for Cutout {
    const NAME: &'static str = "cutout";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = CutoutDraw;

    fn problems(&self) -> Vec<Problem> {
        let share = self.share.get();
        let mut found = Vec::new();
        if !(share > 0.0 && share <= 0.9) {
            found.push(Problem::new("share", format!("expected a share above 0 and at most 0.9, found {share}")));
        }
        if self.words == Words::Mask && self.mask.trim().is_empty() {
            found.push(Problem::new("mask", "the mask is blank; write a visible one such as `_`, or `words: drop`"));
        }
        found
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CutoutDraw> {
        let mut rng = site.rng();
        let mut draw = || CutoutDraw {
            share: rng.random_range(0.5..=1.0) * self.share.get(),
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            fill: self.fill,
            words: self.words,
            mask: self.mask.clone(),
            cover: self.cover.get(),
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &CutoutDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the sides"))
    }

    fn apply(draw: &CutoutDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(severity, scene)
    }
}

impl CutoutDraw {
    fn change(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let size = self.reached(severity);
        // The window keeps inside, so that its size is the same in every medium.
        let window = |middle: f64| {
            let start = (middle - size / 2.0).clamp(0.0, 1.0 - size);
            start..start + size
        };
        let along = window(self.x);
        if let Some(picture) = &scene.image {
            let (w, h) = (picture.width() as f64, picture.height() as f64);
            let down = window(self.y);
            let rect = PixelRect { x: along.start * w, y: down.start * h, width: size * w, height: size * h };
            let masked = scene.annotations.masks.iter().any(|mask| image::covered_share(mask, &rect) > self.cover);
            if masked || scene.annotations.boxes.iter().any(|place| hidden(place, &rect) > self.cover) {
                return Err("object_covered".into());
            }
            scene.image = Some(image::cutout(picture, rect, self.fill).into());
        }
        let mut silent = None;
        if let Some(sound) = &scene.audio {
            let (frames, rate) = (sound.frames(), f64::from(sound.sample_rate_hz()));
            let gap = place_range(along.clone(), frames);
            let times = gap.start as f64 / rate..gap.end as f64 / rate;
            let covered = |event: &crate::sample::Event| {
                let length = event.end_s - event.start_s;
                length > 0.0 && (event.end_s.min(times.end) - event.start_s.max(times.start)) / length > self.cover
            };
            if scene.annotations.events.iter().any(covered) {
                return Err("event_covered".into());
            }
            let ramp = ((rate * RAMP_S) as usize).min(gap.len() / 4);
            scene.audio = Some(audio::gap(sound, gap.start, gap.end, ramp).into());
            silent = Some(times);
        }
        let words = scene.words();
        let range = token_range(along, words.len());
        let spoken = silent.filter(|_| !scene.annotations.words.is_empty());
        let lies_there = |i: usize, word: &Word| match &spoken {
            Some(times) => scene.annotations.words.iter().any(|time| {
                let middle = (time.start_s + time.end_s) / 2.0;
                times.contains(&middle) && time.start < word.range.end && word.range.start < time.end
            }),
            None => range.contains(&i),
        };
        let mut there: Vec<Word> =
            words.iter().enumerate().filter(|(i, word)| lies_there(*i, word)).map(|(_, word)| word.clone()).collect();
        if there.len() == words.len() {
            there.pop();
        }
        if let Some(text) = &scene.text {
            let edits = match self.words {
                Words::Mask => text::mask_words(text, &there, &self.mask),
                Words::Drop => text::drop_words(text, &there),
                Words::Keep => Vec::new(),
            };
            scene.edit_text(edits)?;
        }
        Ok(())
    }
}

/// The share of a box under a rectangle, by the whole pixels that are covered.
pub(super) fn hidden(place: &BoundingBox, rect: &PixelRect) -> f64 {
    let overlap = |a: f64, a_len: f64, b: f64, b_len: f64| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
    let area = f64::from(place.width) * f64::from(place.height);
    let (x, y) = (rect.x.round(), rect.y.round());
    let (w, h) = ((rect.x + rect.width).round() - x, (rect.y + rect.height).round() - y);
    let inside = overlap(f64::from(place.x), f64::from(place.width), x, w) * overlap(f64::from(place.y), f64::from(place.height), y, h);
    if area > 0.0 { inside / area } else { 0.0 }
}
