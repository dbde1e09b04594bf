//! One window for picture, sound and transcript.

use super::{drop_unheard, shift::PLACES};
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, PixelRect},
        timeline::Timeline,
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Effect, Magnitude, Plan, Scene, Site, With, share},
    units::Fraction,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps one window of picture, sound and transcript.
///
/// Method: the same share of the picture's width and of the sound's duration is cut away at the same place; the picture is brought back to its size, the sound becomes shorter. The share that is cut away is drawn from
/// the upper half of `share` and multiplied by the severity. Boxes, events and word times follow; words of a transcript with word times are dropped with their sound, a caption without times stays.
///
/// Refuses where less than `keep` of a box or an event would be left (`object_lost`, `event_lost`), where an object named by a side changes its side
/// (`side_changed`, `side_unknown`), and where a protected word's sound is cut (`protected_word`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Crop {
    /// Greatest share of the extent that is cut away at severity 1, 0..=0.9.
    pub share: Fraction,
    /// Least share of every box and event that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Crop {
    fn default() -> Self {
        Self { share: share(0.35), keep: share(0.6) }
    }
}

/// What [`Crop`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropDraw {
    /// Share that is cut away at severity 1.
    pub share: f64,
    /// Where the window lies along x and time: 0 at the beginning, 1 at the end.
    pub x: f64,
    /// Where it lies along y.
    pub y: f64,
    /// Least share of a box or event that stays.
    pub keep: f64,
}

impl CropDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for Crop {
    const NAME: &'static str = "crop";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = CropDraw;

    fn problems(&self) -> Vec<Problem> {
        let share = self.share.get();
        if share > 0.0 && share <= 0.9 {
            return Vec::new();
        }
        vec![Problem::new("share", format!("expected a share above 0 and at most 0.9, found {share}"))]
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CropDraw> {
        let mut rng = site.rng();
        let mut draw = || CropDraw {
            share: rng.random_range(0.5..=1.0) * self.share.get(),
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            keep: self.keep.get(),
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &CropDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the sides"))
    }

    fn apply(draw: &CropDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(severity, scene)
    }
}

impl CropDraw {
    /// The window of shares along an axis.
    fn window(&self, place: f64, severity: f64) -> (f64, f64) {
        let size = 1.0 - self.reached(severity);
        (place * (1.0 - size), place * (1.0 - size) + size)
    }

    fn change(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let (start, end) = self.window(self.x, severity);
        if let Some(picture) = &scene.image {
            let (width, height) = (picture.width(), picture.height());
            let (top, bottom) = self.window(self.y, severity);
            let (w, h) = (width as f64, height as f64);
            let rect = PixelRect { x: start * w, y: top * h, width: (end - start) * w, height: (bottom - top) * h };
            let map = BoxMap::crop(rect, width, height);
            let (boxes, least) = image::map_boxes(&scene.annotations.boxes, map, width, height);
            let least = least.min(image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0));
            if f64::from(least) < self.keep {
                return Err("object_lost".into());
            }
            scene.keeps_places(&boxes, width, height)?;
            scene.image = Some(image::crop_resize(picture, rect, width, height).map_err(|error| error.to_string())?.into());
            scene.annotations.boxes = boxes;
        }
        if let Some(sound) = &scene.audio {
            let (frames, seconds) = (sound.frames(), sound.seconds());
            let wanted = Timeline::crop(start, end).ok_or("empty_window")?;
            let kept = wanted.kept(frames);
            let timeline = Timeline::crop(kept.start as f64 / frames as f64, kept.end as f64 / frames as f64).ok_or("empty_window")?;
            let (events, least) = timeline.events(&scene.annotations.events, seconds);
            if least < self.keep {
                return Err("event_lost".into());
            }
            let cropped = audio::crop(sound, kept.start, kept.end).map_err(|error| error.to_string())?;
            drop_unheard(scene, timeline, seconds)?;
            scene.annotations.events = events;
            scene.audio = Some(cropped.into());
        }
        Ok(())
    }
}
