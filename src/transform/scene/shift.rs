//! One offset for picture and sound.

use super::drop_unheard;
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, Edge},
        timeline::{Pieces, Timeline},
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Effect, Magnitude, Plan, Scene, Site, With, share},
    units::Fraction,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a place is drawn anew before the rule refuses.
pub(in crate::transform) const PLACES: usize = 6;

/// Moves the picture and the sound by the same share of their extents.
///
/// Method: the share is drawn and multiplied by the severity; to the right is later. Boxes, events and word times move along.
///
/// Refuses where less than `keep` of a box or an event would be left (`object_lost`, `event_lost`), and where the caption speaks of sides and an
/// object would change its side (`side_changed`) or no box tells (`side_unknown`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shift {
    /// Greatest offset along x and along time at severity 1, as a share of width and duration, 0..=1.
    pub share: Fraction,
    /// Greatest offset along y at severity 1, as a share of the height, 0..=1.
    pub vertical_share: Fraction,
    /// What fills the hole in the picture.
    pub edge: Edge,
    /// What fills the hole in the sound.
    pub audio_edge: Edge,
    /// Least share of every box and event that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Shift {
    fn default() -> Self {
        Self { share: share(0.2), vertical_share: share(0.1), edge: Edge::Extend, audio_edge: Edge::Zero, keep: share(0.6) }
    }
}

/// What [`Shift`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftDraw {
    /// Share of width and duration at severity 1.
    pub x: f64,
    /// Share of the height at severity 1.
    pub y: f64,
    /// Fill of the picture.
    pub edge: Edge,
    /// Fill of the sound.
    pub audio_edge: Edge,
    /// Least share of a box or event that stays.
    pub keep: f64,
    /// Whether there is sound and no picture: the share is one of the length alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sound_alone: bool,
}

impl ShiftDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.x * severity
    }
}

impl Effect for Shift {
    const NAME: &'static str = "shift";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = ShiftDraw;

    fn problems(&self) -> Vec<Problem> {
        let none = self.share.get() + self.vertical_share.get() == 0.0;
        if none { vec![Problem::new("share", "share and vertical_share are both 0: nothing would move")] } else { Vec::new() }
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ShiftDraw> {
        let mut rng = site.rng();
        let sound_alone = site.scene.image.is_none() && site.scene.audio.is_some();
        let mut signed = |limit: f64| {
            let size = rng.random_range(0.4..=1.0) * limit;
            if rng.random::<bool>() { size } else { -size }
        };
        let mut draw = || ShiftDraw {
            x: signed(self.share.get()),
            y: signed(self.vertical_share.get()),
            edge: self.edge,
            audio_edge: self.audio_edge,
            keep: self.keep.get(),
            sound_alone,
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &ShiftDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), if draw.sound_alone { "of the length" } else { "of the width" }))
    }

    fn apply(draw: &ShiftDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(severity, scene)
    }
}

impl ShiftDraw {
    fn change(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let along = Timeline::shift(self.reached(severity));
        if let Some(picture) = &scene.image {
            let (width, height) = (picture.width(), picture.height());
            let (dx, dy) = (along.places(width), Timeline::shift(self.y * severity).places(height));
            let map = BoxMap::shift(dx as f64, dy as f64);
            let (boxes, least) = image::map_boxes(&scene.annotations.boxes, map, width, height);
            let points = scene.annotations.keypoints.len();
            let least = least.min(image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0));
            // What comes in at the other end has no box there.
            let torn = self.edge == Edge::Wrap && (least < 0.999 || scene.annotations.keypoints.len() < points);
            if f64::from(least) < self.keep || torn {
                return Err("object_lost".into());
            }
            if dx != 0 {
                scene.keeps_sides(&boxes, width)?;
            }
            if dy != 0 {
                scene.keeps_heights(&boxes, height)?;
            }
            scene.image = Some(image::shift(picture, dx, dy, self.edge).into());
            scene.annotations.boxes = boxes;
        }
        if let Some(sound) = &scene.audio {
            // Whole frames move: the times follow the frames, not the drawn share.
            let frames = along.places(sound.frames());
            let (share, seconds) = (frames as f64 / sound.frames() as f64, sound.seconds());
            let shifted = audio::shift(sound, frames, self.audio_edge);
            let turned = (self.audio_edge == Edge::Wrap).then(|| Pieces::turned(seconds, share * seconds));
            let moved = Timeline::shift(share);
            let events = &scene.annotations.events;
            let (events, least) = turned.as_ref().map_or_else(|| moved.events(events, seconds), |turned| turned.events(events));
            if least < self.keep {
                return Err("event_lost".into());
            }
            match turned {
                Some(turned) => scene.annotations.words = turned.words(&scene.annotations.words),
                None => drop_unheard(scene, moved, seconds)?,
            }
            scene.annotations.events = events;
            scene.audio = Some(shifted.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{ImageBuffer, Media, Sample},
        transform::testing::{draw, picture, sound, tone},
    };

    #[test]
    fn the_share_is_one_of_what_is_there() {
        let unit = |sample: &Sample| {
            let Plan::Fires(draws) = draw(&Shift::default(), sample, 1) else { panic!("it fires") };
            let drawn = &draws[0];
            // A lineage tells it, too.
            let read: ShiftDraw = serde_json::from_value(serde_json::to_value(drawn).unwrap()).unwrap();
            assert_eq!(read, *drawn);
            Shift::magnitude(&read, 1.0).unwrap().unit
        };
        let image = picture(ImageBuffer::filled(20, 10, 1, 9).unwrap());
        let audio = Media::new(tone(8000, 1, 80, 0.5));
        assert_eq!(unit(&sound(tone(8000, 1, 80, 0.5))), "of the length");
        assert_eq!(unit(&image), "of the width");
        assert_eq!(unit(&Sample { audio: Some(audio), ..image }), "of the width");
    }
}
