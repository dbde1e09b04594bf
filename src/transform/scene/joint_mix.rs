//! Two samples as one: pictures, sounds, captions and labels mixed by one share.

use super::at_rate;
use crate::{
    augment::{
        audio,
        image::{self, BoxMap, PixelRect},
        text::Edit,
    },
    error::Problem,
    sample::{AudioBuffer, Claim, ImageBuffer, Label, ModalitySet, Sample, TextSpan, WordTime},
    transform::{Checks, Effect, Magnitude, PartnerClass, Partners, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Mixes another sample into this one in every modality by one share: pictures are blended, sounds added at equal power, captions joined, labels mixed.
///
/// Method: the share `s` of the other is drawn from `share` and multiplied by the severity. The picture is `(1-s) I + s I'` with the other brought to this size; the sound is `(1-s) a + s g a'` with `g` such that both have the same power, as long as this one; the
/// caption is both, one behind the other; boxes, events, spans and word times of both are kept; the label is `(1-s) y + s y'`.
///
/// Refuses where the other lacks a medium that this one has (`partner_lacks_medium`), where just one has a label (`partner_unlabelled`), and at other channels (`partner_channels`). A sound of another rate is resampled, or refused where the rates are too far apart (`partner_not_resampled`).
///
/// Reference: Hao et al. 2023, "MixGen: A New Multi-Modal Data Augmentation" (pictures and captions), extended to sound and soft labels; the label after mixup (Zhang et al. 2018).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JointMix {
    /// Share of the other sample at severity 1, drawn from this range, 0..=1.
    pub share: Range,
    /// Of which class the other is.
    pub class: PartnerClass,
}

impl Default for JointMix {
    fn default() -> Self {
        Self { share: range(0.2, 0.5), class: PartnerClass::Any }
    }
}

/// What [`JointMix`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointMixDraw {
    /// Share of the other at severity 1.
    pub share: f64,
    /// How many classes a soft label has.
    pub classes: usize,
}

impl JointMixDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for JointMix {
    const NAME: &'static str = "joint_mix";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ share: [0.2, 0.5], class: any }";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = JointMixDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn partners(&self) -> Option<Partners> {
        Some(Partners { count: 1, class: self.class, has: ModalitySet::EMPTY })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<JointMixDraw> {
        Plan::one(JointMixDraw { share: self.share.draw(&mut site.rng()), classes: site.classes.len() })
    }

    fn magnitude(draw: &JointMixDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the partner"))
    }

    fn apply(draw: &JointMixDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let other = with.partners.first().ok_or("no_partner")?;
        let share = (draw.reached(severity)).clamp(0.0, 1.0);
        if share <= 0.0 {
            return Ok(());
        }
        let label = mixed_label(scene.label.as_ref(), other.label.as_ref(), share, draw.classes)?;
        let lacks = scene.image.is_some() && other.image.is_none()
            || scene.audio.is_some() && other.audio.is_none()
            || scene.text.is_some() && other.text.is_none();
        if lacks {
            return Err("partner_lacks_medium".into());
        }
        blend(scene, other, share)?;
        add_sound(scene, other, share)?;
        join(scene, other)?;
        scene.label = label;
        Ok(())
    }

    fn claim(_: &JointMixDraw) -> Claim {
        Claim::LabelMixed
    }
}

/// `(1-s) y + s y'`; none for two samples without a label.
pub(super) fn mixed_label(one: Option<&Label>, two: Option<&Label>, share: f64, classes: usize) -> Result<Option<Label>, &'static str> {
    let (one, two) = match (one, two) {
        (None, None) => return Ok(None),
        (Some(one), Some(two)) => (one, two),
        _ => return Err("partner_unlabelled"),
    };
    let count = classes.max(one.class() + 1).max(two.class() + 1);
    let mixed = |class| (1.0 - share as f32) * one.share(class) + share as f32 * two.share(class);
    Ok(Some(Label::Soft((0..count).map(mixed).collect::<Vec<f32>>().into())))
}

fn blend(scene: &mut Scene, other: &Sample, share: f64) -> Result<(), String> {
    let (Some(mine), Some(theirs)) = (&scene.image, &other.image) else { return Ok(()) };
    let (theirs, width, height): (&ImageBuffer, _, _) = (theirs.get(), mine.width(), mine.height());
    if theirs.channels() != mine.channels() {
        return Err("partner_channels".into());
    }
    let rect = PixelRect { x: 0.0, y: 0.0, width: theirs.width() as f64, height: theirs.height() as f64 };
    let brought = image::crop_resize(theirs, rect, width, height).map_err(|error| error.to_string())?;
    // 16 bits of the share: exact to a rounded level.
    let weight = (share * 65536.0).round() as u32;
    scene.edit_image(|picture| {
        for (a, b) in picture.pixels_mut().iter_mut().zip(brought.pixels()) {
            *a = ((u32::from(*a) * (65536 - weight) + u32::from(*b) * weight + 32768) >> 16) as u8;
        }
    });
    let map = BoxMap::crop(rect, width, height);
    let (boxes, _) = image::map_boxes(&other.annotations.boxes, map, width, height);
    scene.annotations.boxes.extend(boxes);
    let mut shapes = (*other.annotations).clone();
    image::move_shapes(&mut shapes, &map.into(), width, height, 0.0);
    scene.annotations.keypoints.append(&mut shapes.keypoints);
    scene.annotations.masks.append(&mut shapes.masks);
    Ok(())
}

fn add_sound(scene: &mut Scene, other: &Sample, share: f64) -> Result<(), String> {
    let (Some(mine), Some(theirs)) = (&scene.audio, &other.audio) else { return Ok(()) };
    let theirs: &AudioBuffer = theirs.get();
    if theirs.channels() != mine.channels() {
        return Err("partner_channels".into());
    }
    let theirs = at_rate(theirs, mine.sample_rate_hz())?;
    let seconds = mine.seconds();
    let (own, power) = (audio::power(mine.samples()), audio::power(theirs.samples()));
    // A silent sound has no power to match.
    let gain = if own > 0.0 && power > 0.0 { (own / power).sqrt() } else { 1.0 };
    let (keep, add) = ((1.0 - share) as f32, (share * gain) as f32);
    scene.edit_audio(|sound| {
        let rest = theirs.samples().iter().copied().chain(std::iter::repeat(0.0));
        for (a, b) in sound.samples_mut().iter_mut().zip(rest) {
            *a = *a * keep + b * add;
        }
        audio::fit(sound);
    });
    let heard = other.annotations.events.iter().filter(|event| event.start_s < seconds);
    let heard = heard.map(|event| crate::sample::Event { end_s: event.end_s.min(seconds), ..event.clone() });
    scene.annotations.events.extend(heard);
    Ok(())
}

/// Joins the captions by a blank; spans and word times of both stay.
pub(super) fn join(scene: &mut Scene, other: &Sample) -> Result<(), String> {
    let (Some(mine), Some(theirs)) = (&scene.text, &other.text) else { return Ok(()) };
    let theirs = theirs.get();
    if theirs.content.is_empty() {
        return Ok(());
    }
    let end = mine.content.len();
    let blank = if mine.content.is_empty() || mine.content.ends_with(char::is_whitespace) { "" } else { " " };
    scene.edit_text(vec![Edit { range: end..end, replacement: format!("{blank}{}", theirs.content) }])?;
    let by = end + blank.len();
    let spans = theirs.spans.iter().map(|span| TextSpan { start: span.start + by, end: span.end + by, tag: span.tag.clone() });
    if let Some(text) = &mut scene.text {
        Arc::make_mut(text).spans.extend(spans);
    }
    // What is said behind the end of this sound is not heard in it.
    let Some(seconds) = scene.audio.as_ref().map(|sound| sound.seconds()) else { return Ok(()) };
    let written = |word: &&WordTime| word.start <= word.end && word.end <= theirs.content.len() && word.start_s < seconds;
    let moved = |word: &WordTime| WordTime { start: word.start + by, end: word.end + by, end_s: word.end_s.min(seconds), ..word.clone() };
    scene.annotations.words.extend(other.annotations.words.iter().filter(written).map(moved));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Media, Text},
        transform::testing::tone,
    };

    fn sample(value: u8, level: f32, caption: &str, class: usize) -> Sample {
        let spans = vec![TextSpan { start: 0, end: 1, tag: "it".into() }];
        Sample {
            image: Some(Media::new(ImageBuffer::filled(4, 3, 1, value).unwrap())),
            audio: Some(Media::new(tone(8000, 1, 200, level))),
            text: Some(Media::new(Text { content: caption.into(), spans })),
            label: Some(Label::Class(class)),
            ..Sample::new(caption)
        }
    }

    #[test]
    fn one_share_mixes_all() {
        let (one, two) = (sample(100, 0.4, "a dog", 0), sample(200, 0.2, "a cat", 2));
        let mut scene = Scene::of(&one);
        let partners = [two];
        JointMix::apply(&JointMixDraw { share: 0.5, classes: 3 }, 0.5, &mut scene, &With { partners: &partners, files: None }).unwrap();
        assert_eq!(scene.image.as_ref().unwrap().pixels()[0], 125);
        assert_eq!(scene.label, Some(Label::Soft(vec![0.75, 0.0, 0.25].into())));
        let text = scene.text.as_ref().unwrap();
        assert_eq!((text.content.as_str(), text.spans.len(), text.spans[1].start), ("a dog a cat", 2, 6));
        // The same tone at equal power: nothing changes.
        let before = one.audio.as_ref().unwrap().get();
        let same = scene.audio.as_ref().unwrap().samples().iter().zip(before.samples()).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(same);
    }

    #[test]
    fn words_beyond_the_sound_have_no_time() {
        let (one, mut two) = (sample(100, 0.4, "a dog", 0), sample(200, 0.2, "a cat", 2));
        // 200 frames at 8 kHz are 25 ms.
        let time = |start, end, start_s, end_s| WordTime { start, end, start_s, end_s };
        Arc::make_mut(&mut two.annotations).words = vec![time(0, 1, 0.01, 0.02), time(0, 1, 0.02, 0.05), time(2, 5, 0.03, 0.05)];
        let mixed = |one: &Sample| {
            let mut scene = Scene::of(one);
            let partners = [two.clone()];
            JointMix::apply(&JointMixDraw { share: 0.5, classes: 3 }, 0.5, &mut scene, &With { partners: &partners, files: None }).unwrap();
            scene.annotations.words.iter().map(|word| (word.start, word.end_s)).collect::<Vec<_>>()
        };
        assert_eq!(mixed(&one), [(6, 0.02), (6, 0.025)]);
        assert_eq!(mixed(&Sample { audio: None, ..one.clone() }), []);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = sample(100, 0.4, "a dog", 0);
        let of = |other: Sample| {
            let partners = [other];
            JointMix::apply(&JointMixDraw { share: 0.5, classes: 3 }, 1.0, &mut Scene::of(&one), &With { partners: &partners, files: None })
        };
        let two = sample(200, 0.2, "a cat", 2);
        assert_eq!(of(Sample { audio: None, ..two.clone() }), Err("partner_lacks_medium".into()));
        assert_eq!(of(Sample { label: None, ..two.clone() }), Err("partner_unlabelled".into()));
        assert_eq!(of(Sample { audio: Some(Media::new(tone(8000, 2, 9, 0.1))), ..two.clone() }), Err("partner_channels".into()));
        // Another rate is brought to this one, unless it is too far away.
        assert_eq!(of(Sample { audio: Some(Media::new(tone(4000, 1, 9, 0.1))), ..two.clone() }), Ok(()));
        assert_eq!(of(Sample { audio: Some(Media::new(tone(1, 1, 9, 0.1))), ..two }), Err("partner_not_resampled".into()));
    }
}
