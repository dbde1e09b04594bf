//! An object of another sample in this scene: its pixels, its box, its sound and its name.

use super::shift::PLACES;
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, PixelRect},
        text,
    },
    error::Problem,
    sample::{BoundingBox, Event, ModalitySet, Sample},
    transform::{Checks, Effect, PartnerClass, Partners, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pastes a boxed object of another sample into this one: its pixels into the picture, its box into the boxes, its sound under the sound, its name into the caption.
///
/// Method: the content of one box of the other sample is brought to a drawn height and laid at a drawn place, its border blended over a tenth of its size; the other's sound is mixed in at a drawn ratio of the sounds' powers; ", with a
/// dog" is added to the caption. Several places are tried. A scene without sound or caption gets none.
///
/// Refuses where the other has no box (`partner_without_box`), where more than `cover` of an object would be hidden (`object_covered`), where the caption names such an object already (`already_named`) or is not
/// one plain sentence (`caption_not_plain`), and at other channels or rates (`partner_channels`, `partner_rate`).
///
/// Reference: Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", extended to sound and caption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PasteObject {
    /// Height of the object as a share of the picture's, drawn from this range, 0.02..=1.
    pub height: Range,
    /// Ratio of this sound to the added one in decibels, drawn from this range, -20..=60.
    pub snr_db: Range,
    /// Greatest share of another object that may be hidden, 0..=1.
    pub cover: Fraction,
    /// Of which class the other sample is.
    pub class: PartnerClass,
}

impl Default for PasteObject {
    fn default() -> Self {
        Self { height: range(0.2, 0.4), snr_db: range(3.0, 15.0), cover: share(0.3), class: PartnerClass::Any }
    }
}

/// What [`PasteObject`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasteObjectDraw {
    /// Which box of the other.
    pub object: usize,
    /// Height as a share of the picture's.
    pub height: f64,
    /// Where it lies along x: 0 at the left, 1 at the right.
    pub x: f64,
    /// Where it lies along y.
    pub y: f64,
    /// Ratio of the sounds in decibels.
    pub snr_db: f64,
    /// Greatest share of another object that may be hidden.
    pub cover: f64,
}

impl Effect for PasteObject {
    const NAME: &'static str = "paste_object";
    const EXAMPLE: &'static str = "{ height: [0.2, 0.4] }";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    const SCALES: bool = false;
    type Draw = PasteObjectDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("height", self.height, 0.02..=1.0, "a share").within("snr_db", self.snr_db, -20.0..=60.0, "decibels").done()
    }

    fn partners(&self) -> Option<Partners> {
        Some(Partners { count: 1, class: self.class, has: ModalitySet::IMAGE })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PasteObjectDraw> {
        if site.scene.image.is_none() {
            return Plan::no_op("no_image");
        }
        let boxes = site.partners.first().map_or(0, |other| other.annotations.boxes.len());
        if boxes == 0 {
            return Plan::refused("partner_without_box");
        }
        let mut rng = site.rng();
        let mut draw = || PasteObjectDraw {
            object: rng.random_range(0..boxes),
            height: self.height.draw(&mut rng),
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            snr_db: self.snr_db.draw(&mut rng),
            cover: self.cover.get(),
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn apply(draw: &PasteObjectDraw, _severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let other = with.partners.first().ok_or("no_partner")?;
        let place = other.annotations.boxes.get(draw.object).ok_or("partner_without_box")?;
        let edit = match &scene.text {
            Some(text) => Some(text::add_mention(text, &scene.words(), &place.label)?),
            None => None,
        };
        paste(draw, scene, other, place)?;
        add_sound(draw, scene, other, &place.label)?;
        scene.edit_text(edit.into_iter().collect())
    }
}

fn paste(draw: &PasteObjectDraw, scene: &mut Scene, other: &Sample, from: &BoundingBox) -> Result<(), String> {
    let (Some(picture), Some(source)) = (&scene.image, &other.image) else { return Err("partner_without_box".into()) };
    let (source, channels) = (source.get(), picture.channels());
    if source.channels() != channels {
        return Err("partner_channels".into());
    }
    let (cut, visible) = image::visible_share(from, source.width(), source.height());
    if visible <= 0.0 || cut.width < 1.0 || cut.height < 1.0 {
        return Err("partner_without_box".into());
    }
    let (width, height) = (picture.width(), picture.height());
    let h = ((draw.height * height as f64).round() as usize).clamp(1, height);
    let w = ((h as f64 * f64::from(cut.width / cut.height)).round() as usize).clamp(1, width);
    let (left, top) = ((draw.x * (width - w) as f64).round() as usize, (draw.y * (height - h) as f64).round() as usize);
    let new = BoundingBox { x: left as f32, y: top as f32, width: w as f32, height: h as f32, label: from.label.clone() };
    let under = PixelRect { x: left as f64, y: top as f64, width: w as f64, height: h as f64 };
    let masked = scene.annotations.masks.iter().any(|mask| image::covered_share(mask, &under) > draw.cover);
    if masked || scene.annotations.boxes.iter().any(|old| hidden(old, &new) > draw.cover) {
        return Err("object_covered".into());
    }
    let rect = PixelRect { x: cut.x.into(), y: cut.y.into(), width: cut.width.into(), height: cut.height.into() };
    let object = image::crop_resize(source, rect, w, h).map_err(|error| error.to_string())?;
    // Full from a tenth of the size inside the border on.
    let ramp = |at: usize, length: usize| ((at.min(length - 1 - at) + 1) as f64 / (length as f64 / 10.0).max(1.0)).min(1.0);
    let weights: Vec<f64> = (0..w).map(|x| ramp(x, w)).collect();
    scene.edit_image(|picture| {
        for y in 0..h {
            let down = ramp(y, h);
            let start = ((top + y) * width + left) * channels;
            let row = &mut picture.pixels_mut()[start..start + w * channels];
            let new = &object.pixels()[y * w * channels..(y + 1) * w * channels];
            for ((to, from), across) in row.chunks_exact_mut(channels).zip(new.chunks_exact(channels)).zip(&weights) {
                let weight = (down * across * 256.0).round() as u32;
                for (a, b) in to.iter_mut().zip(from) {
                    *a = ((u32::from(*a) * (256 - weight) + u32::from(*b) * weight + 128) >> 8) as u8;
                }
            }
        }
    });
    scene.annotations.boxes.push(new);
    // The object's own outlines and the places on it come along.
    let mut shapes = (*other.annotations).clone();
    shapes.masks.retain(|mask| mask.label == from.label);
    image::move_shapes(&mut shapes, &BoxMap::crop(rect, w, h).into(), w, h, 0.0);
    let shift = BoxMap::shift(left as f64, top as f64).into();
    image::move_shapes(&mut shapes, &shift, width, height, 0.0);
    scene.annotations.keypoints.append(&mut shapes.keypoints);
    scene.annotations.masks.append(&mut shapes.masks);
    Ok(())
}

/// The share of `old` that `new` hides.
fn hidden(old: &BoundingBox, new: &BoundingBox) -> f64 {
    let side = |a: f32, al: f32, b: f32, bl: f32| f64::from(((a + al).min(b + bl) - a.max(b)).max(0.0));
    let area = f64::from(old.width * old.height);
    let both = side(old.x, old.width, new.x, new.width) * side(old.y, old.height, new.y, new.height);
    if area > 0.0 { both / area } else { 0.0 }
}

fn add_sound(draw: &PasteObjectDraw, scene: &mut Scene, other: &Sample, name: &str) -> Result<(), String> {
    let (Some(mine), Some(theirs)) = (&scene.audio, &other.audio) else { return Ok(()) };
    let theirs = theirs.get();
    if theirs.sample_rate_hz() != mine.sample_rate_hz() {
        return Err("partner_rate".into());
    }
    // Another sound only comes along where the other sample has no other object that may make it.
    if other.annotations.boxes.iter().any(|place| place.label != name) {
        return Ok(());
    }
    let (voice, channels, seconds) = (theirs.mono(), mine.channels(), mine.seconds());
    let mut field = vec![0f32; mine.samples().len()];
    for (frame, value) in field.chunks_exact_mut(channels).zip(&voice) {
        frame.fill(*value);
    }
    let Some(mixed) = audio::mix_at_snr(mine, &field, draw.snr_db) else { return Ok(()) };
    scene.audio = Some(mixed.audio.into());
    let heard = other.annotations.events.iter().filter(|event| event.start_s < seconds);
    scene.annotations.events.extend(heard.map(|event| Event { end_s: event.end_s.min(seconds), ..event.clone() }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{ImageBuffer, Media, Text},
        transform::testing::{picture, tone},
    };
    use std::sync::Arc;

    fn sample(value: u8, caption: &str, name: &str) -> Sample {
        let mut sample = Sample {
            text: Some(Media::new(Text::new(caption))),
            audio: Some(Media::new(tone(8000, 1, 400, 0.2))),
            ..picture(ImageBuffer::filled(20, 20, 1, value).unwrap())
        };
        let annotations = Arc::make_mut(&mut sample.annotations);
        annotations.boxes = vec![BoundingBox { x: 0.0, y: 0.0, width: 10.0, height: 10.0, label: name.into() }];
        annotations.events = vec![Event { start_s: 0.01, end_s: 9.0, label: format!("{name} sounds") }];
        sample
    }

    #[test]
    fn pixels_box_sound_and_name_come_together() {
        let (one, partners) = (sample(0, "A cat.", "cat"), [sample(200, "a dog", "dog")]);
        let draw = PasteObjectDraw { object: 0, height: 0.5, x: 1.0, y: 1.0, snr_db: 10.0, cover: 0.3 };
        let with = With { partners: &partners, files: None };
        let mut scene = Scene::of(&one);
        PasteObject::apply(&draw, 1.0, &mut scene, &with).unwrap();
        assert_eq!(scene.text.as_ref().unwrap().content, "A cat, with a dog.");
        let place = &scene.annotations.boxes[1];
        assert_eq!((place.x, place.y, place.width, place.height, place.label.as_str()), (10.0, 10.0, 10.0, 10.0, "dog"));
        let image = scene.image.as_ref().unwrap();
        assert_eq!((image.pixel(15, 15)[0], image.pixel(5, 5)[0]), (200, 0));
        assert_eq!((scene.annotations.events.len(), scene.annotations.events[1].end_s), (2, 0.05));
        assert!(!scene.changed(&one).is_empty());
        let refused = |draw: PasteObjectDraw, one: &Sample| PasteObject::apply(&draw, 1.0, &mut Scene::of(one), &with);
        assert_eq!(refused(PasteObjectDraw { x: 0.0, y: 0.0, ..draw.clone() }, &one), Err("object_covered".into()));
        assert_eq!(refused(draw.clone(), &sample(0, "two dogs", "cat")), Err("already_named".into()));
        assert_eq!(refused(PasteObjectDraw { object: 7, ..draw }, &one), Err("partner_without_box".into()));
    }
}
