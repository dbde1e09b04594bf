//! A rectangle of another picture, the same share of its sound, both captions, a mixed label.

use super::{
    at_rate,
    cutout::hidden,
    joint_mix::{join, mixed_label},
    shift::PLACES,
};
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, PixelRect},
    },
    error::Problem,
    sample::{BoundingBox, Claim, Event, ImageBuffer, ModalitySet, Sample},
    transform::{Checks, Effect, Magnitude, PartnerClass, Partners, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Captions {
    /// This sample's own stays: it does not tell of what the other adds.
    #[default]
    Keep,
    /// Both, one behind the other.
    Join,
}

/// Lays a rectangle of another sample's picture over this one, and the same share of its sound over the same share of this sound; labels are mixed by that share.
///
/// Method: the share `s` is drawn from `share` and multiplied by the severity. The rectangle has the proportions of the picture and `sqrt(s)` of its sides, lies at a drawn place wholly inside, and shows what the other picture, brought to this
/// size, has at that place. The sound of the other, resampled to this rate and at equal power, takes the place of a stretch of `s` of the length; where words of either are timed the sounds stay, since their transcripts would no longer be what is heard. The caption stays, or both stand one behind the other (`captions`); the label is `(1-s) y + s y'`
/// with the `s` that whole pixels come to. Boxes, outlines, keypoints and events of the other that lie inside come along, cut at the edges; keypoints that are covered go.
///
/// Refuses where more than `cover` of an object or event of this sample would be covered (`object_covered`, `event_covered`); where, with joined captions, more than `cover` of an object or an event of the other
/// stays outside (`partner_object_cut`, `partner_event_cut`) or words of either are timed (`words_timed`); where the other lacks a medium that is laid over this one's or told of, or a label that this one has (`partner_lacks_medium`, `partner_unlabelled`), its sound is too short (`partner_short`), rates are too far apart
/// (`partner_not_resampled`), or channels differ (`partner_channels`).
///
/// Reference: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (there the share is drawn from Beta(1, 1) and the rectangle is cut at the border).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutmix {
    /// Share of the area and of the length that comes from the other at severity 1, drawn from this range, 0..=1.
    pub share: Range,
    /// Of which class the other is.
    pub class: PartnerClass,
    /// Greatest share of an object or event that may be covered, or cut off of one of the other's, 0..=1.
    pub cover: Fraction,
    /// What becomes of the captions.
    pub captions: Captions,
}

impl Default for Cutmix {
    fn default() -> Self {
        Self { share: range(0.1, 0.5), class: PartnerClass::Any, cover: share(0.6), captions: Captions::Keep }
    }
}

/// What [`Cutmix`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutmixDraw {
    /// Share of the other at severity 1.
    pub share: f64,
    /// Where the rectangle and the stretch of sound lie among the places where they fit, from the left and from the beginning.
    pub x: f64,
    /// The same from the top.
    pub y: f64,
    /// How many classes a soft label has.
    pub classes: usize,
    /// Greatest share of an object or event that may be covered or cut off.
    pub cover: f64,
    /// What becomes of the captions.
    pub captions: Captions,
}

impl CutmixDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

/// Why another sample is refused that has nothing to lay over a medium of this one.
const LACKS: &str = "partner_lacks_medium";
/// Length of the ramps at both ends of the other sound in seconds.
const RAMP_S: f64 = 0.005;

impl Effect for Cutmix {
    const NAME: &'static str = "cutmix";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.5], class: any }";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = CutmixDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn partners(&self) -> Option<Partners> {
        Some(Partners { count: 1, class: self.class, has: ModalitySet::EMPTY })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CutmixDraw> {
        if site.scene.image.is_none() && site.scene.audio.is_none() {
            return Plan::no_op("no_image_or_audio");
        }
        let mut rng = site.rng();
        let share = self.share.draw(&mut rng);
        let mut draw = || CutmixDraw {
            share,
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            classes: site.classes.len(),
            cover: self.cover.get(),
            captions: self.captions,
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &CutmixDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the partner"))
    }

    fn apply(draw: &CutmixDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let other = with.partners.first().ok_or("no_partner")?;
        let share = draw.reached(severity).clamp(0.0, 1.0);
        // What the other's caption tells of has to be seen and heard.
        let told = scene.text.is_some() && draw.captions == Captions::Join;
        if told && (other.text.is_none() || scene.audio.is_some() && other.audio.is_none()) {
            return Err(LACKS.into());
        }
        let area = draw.lay_picture(share, told, scene, other)?;
        if area == Some(0.0) {
            return Ok(());
        }
        let time = draw.lay_sound(share, told, scene, other)?;
        let Some(share) = area.or(time).filter(|share| *share > 0.0) else { return Ok(()) };
        let label = mixed_label(scene.label.as_ref(), other.label.as_ref(), share, draw.classes)?;
        if told {
            join(scene, other)?;
        }
        scene.label = label;
        Ok(())
    }

    fn claim(_: &CutmixDraw) -> Claim {
        Claim::LabelMixed
    }
}

impl CutmixDraw {
    /// The share of the pixels that is the other's now; `None` without a picture.
    fn lay_picture(&self, share: f64, told: bool, scene: &mut Scene, other: &Sample) -> Result<Option<f64>, String> {
        let Some(mine) = &scene.image else { return Ok(None) };
        let (width, height, channels) = (mine.width(), mine.height(), mine.channels());
        let side = |n: usize| (n as f64 * share.sqrt()).round() as usize;
        let (w, h) = (side(width), side(height));
        if w == 0 || h == 0 {
            return Ok(Some(0.0));
        }
        let theirs: &ImageBuffer = other.image.as_ref().ok_or(LACKS)?.get();
        if theirs.channels() != channels {
            return Err("partner_channels".into());
        }
        let (left, top) = ((self.x * (width - w) as f64).round() as usize, (self.y * (height - h) as f64).round() as usize);
        let rect = PixelRect { x: left as f64, y: top as f64, width: w as f64, height: h as f64 };
        let masked = scene.annotations.masks.iter().any(|mask| image::covered_share(mask, &rect) > self.cover);
        if masked || scene.annotations.boxes.iter().any(|place| hidden(place, &rect) > self.cover) {
            return Err("object_covered".into());
        }
        // The other's places in the rectangle's pixels.
        let whole = PixelRect { x: 0.0, y: 0.0, width: theirs.width() as f64, height: theirs.height() as f64 };
        let mut shapes = (*other.annotations).clone();
        let brought = BoxMap::crop(whole, width, height);
        image::move_shapes(&mut shapes, &brought.into(), width, height, 0.0);
        let (to_rect, back) = (BoxMap::shift(-rect.x, -rect.y), BoxMap::shift(rect.x, rect.y));
        let gone = (1.0 - self.cover) as f32;
        let least = image::move_shapes(&mut shapes, &to_rect.into(), w, h, gone);
        let (mut boxes, mut cut) = (Vec::<BoundingBox>::new(), least < gone);
        for place in &other.annotations.boxes {
            let (seen, share) = image::visible_share(&to_rect.map(&brought.map(place)), w, h);
            cut |= share < gone;
            if share >= gone && share > 0.0 {
                boxes.push(back.map(&seen));
            }
        }
        if told && cut {
            return Err("partner_object_cut".into());
        }
        image::move_shapes(&mut shapes, &back.into(), width, height, 0.0);
        let picture = image::crop_resize(theirs, whole, width, height).map_err(|error| error.to_string())?;
        scene.edit_image(|mine| {
            for y in top..top + h {
                let row = (y * width + left) * channels..(y * width + left + w) * channels;
                mine.pixels_mut()[row.clone()].copy_from_slice(&picture.pixels()[row]);
            }
        });
        let inside = |x: f32, y: f32| {
            let (x, y) = (f64::from(x) - rect.x, f64::from(y) - rect.y);
            (0.0..rect.width).contains(&x) && (0.0..rect.height).contains(&y)
        };
        scene.annotations.keypoints.retain(|point| !inside(point.x, point.y));
        scene.annotations.boxes.extend(boxes);
        scene.annotations.keypoints.append(&mut shapes.keypoints);
        scene.annotations.masks.append(&mut shapes.masks);
        Ok(Some((w * h) as f64 / (width * height) as f64))
    }

    /// The share of the frames that is the other's now; `None` where the sound stays.
    fn lay_sound(&self, share: f64, told: bool, scene: &mut Scene, other: &Sample) -> Result<Option<f64>, String> {
        let Some(mine) = &scene.audio else { return Ok(None) };
        if !scene.annotations.words.is_empty() || !other.annotations.words.is_empty() {
            // Joined captions would tell when words are heard that are not.
            return if told { Err("words_timed".into()) } else { Ok(None) };
        }
        let (channels, frames, rate) = (mine.channels(), mine.frames(), f64::from(mine.sample_rate_hz()));
        let length = (frames as f64 * share).round() as usize;
        if length == 0 {
            return Ok(Some(0.0));
        }
        let theirs = other.audio.as_ref().ok_or(LACKS)?.get();
        if theirs.channels() != channels {
            return Err("partner_channels".into());
        }
        let theirs = at_rate(theirs, mine.sample_rate_hz())?;
        let start = (self.x * (frames - length) as f64).round() as usize;
        if theirs.frames() < start + length {
            return Err("partner_short".into());
        }
        let (from_s, to_s) = (start as f64 / rate, (start + length) as f64 / rate);
        let inside = |start_s: f64, end_s: f64| {
            let all = end_s - start_s;
            if all > 0.0 { ((end_s.min(to_s) - start_s.max(from_s)) / all).max(0.0) } else { 0.0 }
        };
        if scene.annotations.events.iter().any(|event| inside(event.start_s, event.end_s) > self.cover) {
            return Err("event_covered".into());
        }
        let kept = 1.0 - self.cover;
        let theirs_at = &other.annotations;
        if told && theirs_at.events.iter().any(|event| inside(event.start_s, event.end_s) < kept) {
            return Err("partner_event_cut".into());
        }
        let events: Vec<Event> = theirs_at
            .events
            .iter()
            .filter(|event| inside(event.start_s, event.end_s) > 0.0 && inside(event.start_s, event.end_s) >= kept)
            .map(|event| Event { start_s: event.start_s.max(from_s), end_s: event.end_s.min(to_s), label: event.label.clone() })
            .collect();
        let (own, power) = (audio::power(mine.samples()), audio::power(theirs.samples()));
        // A silent sound has no power to match.
        let gain = if own > 0.0 && power > 0.0 { (own / power).sqrt() as f32 } else { 1.0 };
        let ramp = ((rate * RAMP_S) as usize).min(length / 2).max(1);
        scene.edit_audio(|sound| {
            let span = start * channels..(start + length) * channels;
            let pairs = sound.samples_mut()[span.clone()].chunks_exact_mut(channels).zip(theirs.samples()[span].chunks_exact(channels));
            for (i, (to, from)) in pairs.enumerate() {
                let weight = ((i + 1).min(length - i) as f32 / ramp as f32).min(1.0);
                for (a, b) in to.iter_mut().zip(from) {
                    *a += weight * (b * gain - *a);
                }
            }
            audio::fit(sound);
        });
        scene.annotations.events.extend(events);
        Ok(Some(length as f64 / frames as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Keypoint, Label, Media, Text, WordTime},
        transform::testing::tone,
    };
    use std::sync::Arc;

    fn sample(value: u8, level: f32, caption: &str, class: usize) -> Sample {
        Sample {
            image: Some(Media::new(ImageBuffer::filled(20, 10, 1, value).unwrap())),
            audio: Some(Media::new(tone(8000, 1, 800, level))),
            text: Some(Media::new(Text::new(caption))),
            label: Some(Label::Class(class)),
            ..Sample::new(caption)
        }
    }
    fn object(x: f32, y: f32, label: &str) -> BoundingBox {
        BoundingBox { x, y, width: 4.0, height: 4.0, label: label.into() }
    }
    fn cut(one: &Sample, two: &Sample, draw: &CutmixDraw) -> Result<Scene, String> {
        let mut scene = Scene::of(one);
        let partners = [two.clone()];
        Cutmix::apply(draw, 1.0, &mut scene, &With { partners: &partners, files: None }).map(|()| scene)
    }
    const DRAW: CutmixDraw = CutmixDraw { share: 0.25, x: 1.0, y: 1.0, classes: 3, cover: 0.6, captions: Captions::Join };

    #[test]
    fn a_quarter_of_everything_is_the_others() {
        let (mut one, mut two) = (sample(100, 0.4, "a dog", 0), sample(200, 0.2, "a cat", 2));
        Arc::make_mut(&mut one.annotations).boxes = vec![object(1.0, 1.0, "dog")];
        Arc::make_mut(&mut one.annotations).keypoints =
            vec![Keypoint { x: 12.0, y: 7.0, label: "tail".into() }, Keypoint { x: 2.0, y: 2.0, label: "nose".into() }];
        Arc::make_mut(&mut two.annotations).boxes = vec![object(12.0, 5.0, "cat")];
        Arc::make_mut(&mut two.annotations).events = vec![Event { start_s: 0.08, end_s: 0.1, label: "meow".into() }];
        let scene = cut(&one, &two, &DRAW).unwrap();
        let picture = scene.image.as_ref().unwrap();
        // 10 x 5 pixels in the lower right corner.
        assert_eq!(picture.pixels().iter().filter(|value| **value == 200).count(), 50);
        assert_eq!((picture.pixel(10, 5)[0], picture.pixel(9, 5)[0], picture.pixel(10, 4)[0]), (200, 100, 100));
        assert_eq!(scene.label, Some(Label::Soft(vec![0.75, 0.0, 0.25].into())));
        assert_eq!(scene.text.as_ref().unwrap().content, "a dog a cat");
        assert_eq!(scene.annotations.boxes, [object(1.0, 1.0, "dog"), object(12.0, 5.0, "cat")]);
        assert_eq!(scene.annotations.keypoints.iter().map(|point| point.label.as_str()).collect::<Vec<_>>(), ["nose"]);
        assert_eq!(scene.annotations.events.len(), 1);
    }

    #[test]
    fn the_stretch_of_sound_is_the_others_at_equal_power() {
        let (one, mut two) = (sample(100, 0.4, "", 0), sample(200, 0.2, "", 1));
        two.audio = Some(Media::new(tone(8000, 1, 800, 0.1)));
        let noise: Vec<f32> = (0..800).map(|i| if i % 2 == 0 { 0.05 } else { -0.05 }).collect();
        two.audio = Some(Media::new(crate::sample::AudioBuffer::new(8000, 1, noise).unwrap()));
        let before = one.audio.as_ref().unwrap().get().clone();
        let scene = cut(&one, &two, &CutmixDraw { x: 0.5, ..DRAW }).unwrap();
        let after = scene.audio.as_ref().unwrap();
        assert_eq!((&after.samples()[..300], &after.samples()[500..]), (&before.samples()[..300], &before.samples()[500..]));
        // Past the ramps of 40 frames it alternates at the power of the first.
        let level = audio::power(before.samples()).sqrt() as f32;
        assert!(after.samples()[340..460].iter().all(|value| (value.abs() - level).abs() < 1e-4));
        // Another rate is brought to this one.
        let slow = Sample { audio: Some(Media::new(tone(4000, 1, 400, 0.1))), ..two };
        assert_eq!(cut(&one, &slow, &DRAW).unwrap().audio.unwrap().frames(), 800);
    }

    #[test]
    fn nothing_is_told_that_is_not_there() {
        let (one, two) = (sample(100, 0.4, "a dog", 0), sample(200, 0.2, "a cat", 1));
        let with = |sample: &Sample, place: BoundingBox| {
            let mut sample = sample.clone();
            Arc::make_mut(&mut sample.annotations).boxes = vec![place];
            sample
        };
        let of = |one: &Sample, two: &Sample| cut(one, two, &DRAW).map(|_| ()).unwrap_err();
        assert_eq!(of(&with(&one, object(14.0, 5.0, "dog")), &two), "object_covered");
        assert_eq!(of(&one, &with(&two, object(1.0, 1.0, "cat"))), "partner_object_cut");
        // Without captions nobody told of it: it is left out.
        let silent = |sample: &Sample| Sample { text: None, ..sample.clone() };
        let scene = cut(&silent(&one), &silent(&with(&two, object(1.0, 1.0, "cat"))), &DRAW).unwrap();
        assert!(scene.annotations.boxes.is_empty());
        let timed = |sample: &Sample, start_s: f64, end_s: f64| {
            let mut sample = sample.clone();
            Arc::make_mut(&mut sample.annotations).events = vec![Event { start_s, end_s, label: "it".into() }];
            sample
        };
        assert_eq!(of(&timed(&one, 0.08, 0.1), &two), "event_covered");
        assert_eq!(of(&one, &timed(&two, 0.0, 0.05)), "partner_event_cut");
        let keep = CutmixDraw { captions: Captions::Keep, ..DRAW };
        // Where words are timed the sound stays.
        let mut worded = two.clone();
        Arc::make_mut(&mut worded.annotations).words = vec![WordTime { start: 0, end: 1, start_s: 0.07, end_s: 0.08 }];
        let scene = cut(&one, &worded, &keep).unwrap();
        assert_eq!(scene.audio.as_deref(), one.audio.as_ref().map(|sound| sound.get()));
        assert!(scene.annotations.words.is_empty());
        assert_eq!(of(&one, &worded), "words_timed");
        // Nobody needs the other's sound then, unless its caption tells of it.
        let mute = Sample { audio: None, ..two.clone() };
        let mut spoken = one.clone();
        Arc::make_mut(&mut spoken.annotations).words = worded.annotations.words.clone();
        let scene = cut(&spoken, &mute, &keep).unwrap();
        assert_eq!(scene.changed(&spoken), ModalitySet::IMAGE);
        assert_eq!(
            (of(&spoken, &mute), cut(&one, &mute, &keep).map(|_| ())),
            ("partner_lacks_medium".into(), Err("partner_lacks_medium".into()))
        );
        let far = Sample { audio: Some(Media::new(tone(1, 1, 9, 0.1))), ..two.clone() };
        assert_eq!(of(&one, &far), "partner_not_resampled");
        // A rectangle below a pixel is nothing, in the sound too.
        let scene = cut(&one, &two, &CutmixDraw { share: 0.001, ..keep.clone() }).unwrap();
        assert!(scene.changed(&one).is_empty() && scene.label == one.label);
        let kept = cut(&one, &with(&two, object(1.0, 1.0, "cat")), &keep).unwrap();
        assert_eq!((kept.text.unwrap().content.as_str(), kept.annotations.boxes.len()), ("a dog", 0));
        assert_eq!(of(&one, &Sample { audio: Some(Media::new(tone(8000, 1, 300, 0.1))), ..two.clone() }), "partner_short");
        assert_eq!(of(&one, &Sample { image: None, ..two.clone() }), "partner_lacks_medium");
        assert_eq!(of(&one, &Sample { label: None, ..two }), "partner_unlabelled");
    }
}
