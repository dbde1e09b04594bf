//! An object of another sample in this scene: its pixels, its box, its sound and its name.

use super::{at_rate, shift::PLACES};
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, PixelRect},
        text,
    },
    error::Problem,
    sample::{BoundingBox, Event, Mask, ModalitySet, Sample},
    transform::{Checks, Effect, PartnerClass, Partners, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pastes a boxed object of another sample into this one: its pixels into the picture, its box into the boxes, its sound under the sound, its name into the caption.
///
/// Method: the content of one box of the other sample is brought to a drawn height and laid at a drawn place, its border blended over a tenth of its size; the other's sound is mixed in at a drawn ratio of the sounds' powers; ", with a
/// dog" is added to the caption. With `over` it stands in front of one of this sample's own objects and hides a drawn share of its box, which keeps its extent; of its outlines (those of its name that lie in the box by half or more) at most a tenth more is
/// hidden; keypoints under it go. Several places are tried. A scene without sound or caption gets none.
///
/// Refuses where the other has no box (`partner_without_box`), where more than `cover` of another object, or more than that of an outline, would be hidden (`object_covered`), where there is no room beside the box that is to be hidden (`no_room`), where the caption names such an object already (`already_named`) or is not
/// one plain sentence (`caption_not_plain`), and at other channels (`partner_channels`). A sound of another rate is resampled, or refused where the rates are too far apart (`partner_not_resampled`).
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
    /// Share of one of this sample's own boxes that the object hides, drawn from this range, 0.05..=0.9: it then stands in front of that box, from its left or right side, at least as high as it, and `cover` is for the other
    /// boxes. Without it, it lies anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Range>,
}

impl Default for PasteObject {
    fn default() -> Self {
        Self { height: range(0.2, 0.4), snr_db: range(3.0, 15.0), cover: share(0.3), class: PartnerClass::Any, over: None }
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
    /// Which own box it stands in front of, and how much of it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// An own box that is partly hidden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// Which box.
    pub object: usize,
    /// Share of its area.
    pub share: f64,
    /// From its right side; otherwise from its left.
    pub from_right: bool,
}

impl Effect for PasteObject {
    const NAME: &'static str = "paste_object";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ height: [0.2, 0.4] }";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    const SCALES: bool = false;
    type Draw = PasteObjectDraw;

    fn problems(&self) -> Vec<Problem> {
        let checks =
            Checks::new().within("height", self.height, 0.02..=1.0, "a share").within("snr_db", self.snr_db, -20.0..=60.0, "decibels");
        match self.over {
            Some(over) => checks.within("over", over, 0.05..=0.9, "a share").done(),
            None => checks.done(),
        }
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
        let own = site.scene.annotations.boxes.len();
        if self.over.is_some() && own == 0 {
            return Plan::no_op("no_box");
        }
        let mut rng = site.rng();
        let mut draw = || PasteObjectDraw {
            object: rng.random_range(0..boxes),
            height: self.height.draw(&mut rng),
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            snr_db: self.snr_db.draw(&mut rng),
            cover: self.cover.get(),
            over: self.over.map(|share| Over { object: rng.random_range(0..own), share: share.draw(&mut rng), from_right: rng.random() }),
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
    let aspect = f64::from(cut.width / cut.height);
    let high = |h: f64| {
        let h = (h.round() as usize).clamp(1, height);
        (((h as f64 * aspect).round() as usize).clamp(1, width), h)
    };
    let (w, h, left, top) = match &draw.over {
        None => {
            let (w, h) = high(draw.height * height as f64);
            (w, h, (draw.x * (width - w) as f64).round() as usize, (draw.y * (height - h) as f64).round() as usize)
        }
        Some(over) => {
            let own = scene.annotations.boxes.get(over.object).ok_or("no_box")?;
            in_front(over, own, (width, height), draw.height * height as f64, draw.y, aspect, high)?
        }
    };
    let new = BoundingBox { x: left as f32, y: top as f32, width: w as f32, height: h as f32, label: from.label.clone() };
    let under = PixelRect { x: left as f64, y: top as f64, width: w as f64, height: h as f64 };
    let behind = draw.over.as_ref().and_then(|over| Some((over, scene.annotations.boxes.get(over.object)?)));
    // Whole pixels are another share of a small box.
    let most = |over: &Over| (over.share + 0.1).min(0.95);
    if let Some((over, own)) = behind {
        let hides = hidden(own, &new);
        if !(hides > 0.0 && hides <= most(over) && hides >= over.share - 0.1) {
            return Err("no_room".into());
        }
    }
    // An outline of that name is that box's where most of it lies in it.
    let of_box = |mask: &Mask, own: &BoundingBox| mask.label == own.label && image::covered_share(mask, &rect_of(own)) >= 0.5;
    let masked = scene.annotations.masks.iter().any(|mask| {
        let most = behind.filter(|(_, own)| of_box(mask, own)).map_or(draw.cover, |(over, _)| most(over));
        image::covered_share(mask, &under) > most
    });
    let meant = |i: usize| draw.over.as_ref().is_some_and(|over| over.object == i);
    if masked || scene.annotations.boxes.iter().enumerate().any(|(i, old)| !meant(i) && hidden(old, &new) > draw.cover) {
        return Err("object_covered".into());
    }
    let rect = rect_of(&cut);
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
    if draw.over.is_some() {
        let (x, y) = (new.x..new.x + new.width, new.y..new.y + new.height);
        scene.annotations.keypoints.retain(|point| !(x.contains(&point.x) && y.contains(&point.y)));
    }
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

/// Size and place (width, height, left, top) of an object that hides the wanted share of `own`: at least as high as it, across it from one side. An error where the picture has no room.
fn in_front(
    over: &Over,
    own: &BoundingBox,
    (width, height): (usize, usize),
    wanted: f64,
    y: f64,
    aspect: f64,
    high: impl Fn(f64) -> (usize, usize),
) -> Result<(usize, usize, usize, usize), String> {
    const NO_ROOM: &str = "no_room";
    let (x, width_own) = (f64::from(own.x), f64::from(own.width));
    let (top_own, bottom_own) = (f64::from(own.y).floor().max(0.0), f64::from(own.y + own.height).ceil().min(height as f64));
    let across = over.share * width_own;
    if across < 0.5 || bottom_own <= top_own || aspect.is_nan() {
        return Err(NO_ROOM.into());
    }
    let (w, h) = high(wanted.max(bottom_own - top_own).max((across / aspect).ceil()));
    if (w as f64) < across || (h as f64) < bottom_own - top_own {
        return Err(NO_ROOM.into());
    }
    let left = if over.from_right { (x + width_own - across).round() } else { (x + across).round() - w as f64 };
    if left < 0.0 || left + w as f64 > width as f64 {
        return Err(NO_ROOM.into());
    }
    // Anywhere along y where it still spans the box.
    let (least, most) = ((bottom_own - h as f64).max(0.0), top_own.min((height - h) as f64));
    Ok((w, h, left as usize, (least + y * (most - least)).round() as usize))
}

fn rect_of(place: &BoundingBox) -> PixelRect {
    PixelRect { x: place.x.into(), y: place.y.into(), width: place.width.into(), height: place.height.into() }
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
    let theirs = at_rate(theirs.get(), mine.sample_rate_hz())?;
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
        sample::{ImageBuffer, Keypoint, Media, Text},
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
        let draw = PasteObjectDraw { object: 0, height: 0.5, x: 1.0, y: 1.0, snr_db: 10.0, cover: 0.3, over: None };
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
        assert_eq!(refused(PasteObjectDraw { object: 7, ..draw.clone() }, &one), Err("partner_without_box".into()));
        let far = [Sample { audio: Some(Media::new(tone(1, 1, 9, 0.2))), ..partners[0].clone() }];
        let told = PasteObject::apply(&draw, 1.0, &mut Scene::of(&one), &With { partners: &far, files: None });
        assert_eq!(told, Err("partner_not_resampled".into()));
    }

    #[test]
    fn an_object_in_front_hides_the_wanted_share() {
        let mut one = sample(0, "a cat", "cat");
        one.image = Some(Media::new(ImageBuffer::filled(40, 30, 1, 0).unwrap()));
        Arc::make_mut(&mut one.annotations).boxes = vec![BoundingBox { x: 15.0, y: 10.0, width: 10.0, height: 8.0, label: "cat".into() }];
        let partners = [sample(200, "a dog", "dog")];
        for (share, from_right) in [(0.2, false), (0.5, true), (0.8, false)] {
            let over = Some(Over { object: 0, share, from_right });
            let draw = PasteObjectDraw { object: 0, height: 0.2, x: 0.0, y: 0.5, snr_db: 10.0, cover: 0.0, over };
            let mut scene = Scene::of(&one);
            PasteObject::apply(&draw, 1.0, &mut scene, &With { partners: &partners, files: None }).unwrap();
            let [own, new] = &scene.annotations.boxes[..] else { panic!("{:?}", scene.annotations.boxes) };
            assert_eq!(*own, one.annotations.boxes[0]);
            assert!((hidden(own, new) - share).abs() < 1e-6, "{share}: {new:?}");
            assert_eq!(new.x > own.x, from_right);
            assert_eq!(scene.text.as_ref().unwrap().content, "a cat, with a dog");
        }
        // Half a pixel is no part of a box, and nine tenths of three pixels are all of them.
        for (width, share) in [(10.0, 0.05), (3.0, 0.9)] {
            let mut small = one.clone();
            Arc::make_mut(&mut small.annotations).boxes[0].width = width;
            let over = Some(Over { object: 0, share, from_right: true });
            let draw = PasteObjectDraw { object: 0, height: 0.2, x: 0.0, y: 0.5, snr_db: 10.0, cover: 0.0, over };
            let told = PasteObject::apply(&draw, 1.0, &mut Scene::of(&small), &With { partners: &partners, files: None });
            assert_eq!(told, Err("no_room".into()), "{width} {share}");
        }
        // At the border there is no room on one side.
        Arc::make_mut(&mut one.annotations).boxes[0].x = 0.0;
        let over = Some(Over { object: 0, share: 0.3, from_right: false });
        let draw = PasteObjectDraw { object: 0, height: 0.2, x: 0.0, y: 0.5, snr_db: 10.0, cover: 0.0, over };
        let told = PasteObject::apply(&draw, 1.0, &mut Scene::of(&one), &With { partners: &partners, files: None });
        assert_eq!(told, Err("no_room".into()));
        assert!(PasteObject { over: Some(range(0.0, 0.5)), ..PasteObject::default() }.problems()[0].to_string().contains("over"));
    }

    /// A cat at 10..20 of a wide picture, half of it to be hidden from the right.
    fn half_hidden(annotate: impl FnOnce(&mut crate::sample::Annotations)) -> Result<Scene, String> {
        let mut one = sample(0, "a cat", "cat");
        one.image = Some(Media::new(ImageBuffer::filled(60, 30, 1, 0).unwrap()));
        let annotations = Arc::make_mut(&mut one.annotations);
        annotations.boxes = vec![BoundingBox { x: 10.0, y: 10.0, width: 10.0, height: 10.0, label: "cat".into() }];
        annotate(annotations);
        let over = Some(Over { object: 0, share: 0.5, from_right: true });
        let draw = PasteObjectDraw { object: 0, height: 0.2, x: 0.0, y: 0.5, snr_db: 10.0, cover: 0.3, over };
        let mut scene = Scene::of(&one);
        PasteObject::apply(&draw, 1.0, &mut scene, &With { partners: &[sample(200, "a dog", "dog")], files: None }).map(|()| scene)
    }

    #[test]
    fn outlines_are_hidden_no_further_than_their_boxes() {
        // What lies from `left` to `right` over the height of the cat; the dog hides all from 15 to 25.
        let outline = |left: f32, right: f32, label: &str| Mask {
            outline: vec![[left, 10.0], [right, 10.0], [right, 20.0], [left, 20.0]],
            label: label.into(),
        };
        let of = |mask: Mask| half_hidden(|annotations| annotations.masks = vec![mask]).map(|scene| scene.annotations.masks.len());
        let covered = Err("object_covered".to_owned());
        assert_eq!(of(outline(10.0, 20.0, "cat")), Ok(1));
        // 4 of 7 pixels, and 4 of 6: a twentieth and a sixth too far.
        assert_eq!((of(outline(12.0, 19.0, "cat")), of(outline(13.0, 19.0, "cat"))), (Ok(1), covered.clone()));
        // Another cat beside the box, and what is no cat, are held to `cover`: 3 of 10 and 4 of 10.
        assert_eq!((of(outline(22.0, 32.0, "cat")), of(outline(21.0, 31.0, "cat"))), (Ok(1), covered.clone()));
        assert_eq!(of(outline(10.0, 20.0, "mouse")), covered);
    }

    #[test]
    fn keypoints_under_the_object_go_and_others_stay() {
        let point = |x: f32, y: f32, label: &str| Keypoint { x, y, label: label.into() };
        let scene = half_hidden(|annotations| {
            annotations.keypoints =
                vec![point(16.0, 15.0, "ear"), point(14.0, 15.0, "nose"), point(16.0, 25.0, "mouse"), point(26.0, 15.0, "wall")];
        });
        let left: Vec<String> = scene.unwrap().annotations.keypoints.into_iter().map(|point| point.label).collect();
        assert_eq!(left, ["nose", "mouse", "wall"]);
    }
}
