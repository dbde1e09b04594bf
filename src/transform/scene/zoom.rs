//! One scale for the picture and the size words of the caption.

use crate::{
    augment::{
        image::{self, BoxMap, PixelRect},
        text::{self, Measure, Sense},
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scales the picture about its middle, and the size words of the caption follow: what was big is small from far away.
///
/// Method: a window of 1/factor of both sides is brought to the size of the picture (edge pixels extend outside); the logarithm of the factor is multiplied by the severity. From `swap` times larger or smaller on, words that surely name a size of the
/// scene (`big`, `tiny`) become their opposites where they now say the wrong thing; below that they stay true enough. Comparisons ("bigger than the cat") hold at any scale.
///
/// Refuses where less than `keep` of a box would be left (`object_lost`), where a word that must follow may mean something else or has no opposite (`unsure_size`), where both ends of the
/// scale are named and compare things with each other (`sizes_compared`), where an object named by a side changes its side, and at protected words (`protected_word`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Zoom {
    /// How many times as large things are at severity 1, drawn from this range, 0.1..=10; below 1 they become smaller.
    pub factor: Range,
    /// From which factor, or its inverse, size words follow, 1.2..=10.
    pub swap: f64,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Zoom {
    fn default() -> Self {
        Self { factor: range(0.4, 0.9), swap: 1.8, keep: share(0.6) }
    }
}

/// What [`Zoom`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoomDraw {
    /// Factor at severity 1.
    pub factor: f64,
    /// From which factor size words follow.
    pub swap: f64,
    /// Least share of a box that stays.
    pub keep: f64,
}

impl ZoomDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.factor.powf(severity)
    }
}

impl Effect for Zoom {
    const NAME: &'static str = "zoom";
    const EXAMPLE: &'static str = "{ factor: [0.4, 0.9] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    type Draw = ZoomDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("factor", self.factor, 0.1..=10.0, "a factor").within("swap", self.swap, 1.2..=10.0, "a factor").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ZoomDraw> {
        if site.scene.image.is_none() {
            return Plan::no_op("no_image");
        }
        Plan::one(ZoomDraw { factor: self.factor.draw(&mut site.rng()), swap: self.swap, keep: self.keep.get() })
    }

    fn magnitude(draw: &ZoomDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "times the size"))
    }

    fn apply(draw: &ZoomDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let factor = draw.reached(severity);
        let (width, height) = (picture.width(), picture.height());
        let (w, h) = (width as f64 / factor, height as f64 / factor);
        let rect = PixelRect { x: (width as f64 - w) / 2.0, y: (height as f64 - h) / 2.0, width: w, height: h };
        let map = BoxMap::crop(rect, width, height);
        let (boxes, least) = image::map_boxes(&scene.annotations.boxes, map, width, height);
        let least = least.min(image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0));
        if f64::from(least) < draw.keep {
            return Err("object_lost".into());
        }
        scene.keeps_places(&boxes, width, height)?;
        let zoomed = image::crop_resize(picture, rect, width, height).map_err(|error| error.to_string())?;
        let edits = words_after(scene, factor, draw.swap)?;
        scene.edit_text(edits)?;
        scene.image = Some(zoomed.into());
        scene.annotations.boxes = boxes;
        Ok(())
    }
}

/// Edits of the size words after a change of scale.
fn words_after(scene: &Scene, factor: f64, swap: f64) -> Result<Vec<text::Edit>, &'static str> {
    let Some(text) = scene.text.as_ref().filter(|_| factor >= swap || factor * swap <= 1.0) else { return Ok(Vec::new()) };
    let words = scene.words();
    let sizes = text::measure_words(&words).into_iter().filter(|word| word.measure == Measure::Size && word.sense != Sense::Other);
    let sizes: Vec<_> = sizes.collect();
    if sizes.iter().any(|word| word.high) && sizes.iter().any(|word| !word.high) {
        return Err("sizes_compared");
    }
    let mut edits = Vec::new();
    for word in sizes.into_iter().filter(|word| word.high != (factor > 1.0)) {
        let opposite = word.opposite.filter(|_| word.sense == Sense::Scene).ok_or("unsure_size")?;
        edits.extend(text::replace_word(text, &words, word.at, opposite).ok_or("protected_word")?);
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{BoundingBox, ImageBuffer, Media, Sample, Text},
        transform::testing::picture,
    };
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sample(caption: &str) -> Sample {
        let pixels = (0..400).map(|i| (i * 7 % 256) as u8).collect();
        let mut sample = Sample { text: Some(Media::new(Text::new(caption))), ..picture(ImageBuffer::new(20, 20, 1, pixels).unwrap()) };
        Arc::make_mut(&mut sample.annotations).boxes = vec![BoundingBox { x: 8.0, y: 8.0, width: 4.0, height: 4.0, label: "dog".into() }];
        sample
    }
    fn zoomed(sample: &Sample, factor: f64) -> Result<Sample, String> {
        let mut scene = Scene::of(sample);
        Zoom::apply(&ZoomDraw { factor, swap: 1.8, keep: 0.6 }, 1.0, &mut scene, &With::default())?;
        Ok(scene.into_sample(sample))
    }

    #[test]
    fn sizes_follow_from_the_threshold_on() {
        let of = |caption: &str, factor| zoomed(&sample(caption), factor).map(|sample| sample.text.unwrap().get().content.clone());
        assert_eq!(of("a big dog", 0.5).as_deref(), Ok("a small dog"));
        assert_eq!(of("a big dog", 0.7).as_deref(), Ok("a big dog"));
        assert_eq!(of("a big dog", 2.0).as_deref(), Ok("a big dog"));
        assert_eq!(of("an enormous dog", 0.5).as_deref(), Ok("a tiny dog"));
        assert_eq!(of("a big dog and a small cat", 0.5), Err("sizes_compared".into()));
        assert_eq!(of("a small-town dog", 2.0), Err("unsure_size".into()));
        assert_eq!(of("a dog", 8.0), Err("object_lost".into()));
        let place = zoomed(&sample("a dog"), 0.5).unwrap().annotations.boxes[0].clone();
        assert_eq!((place.x, place.y, place.width, place.height), (9.0, 9.0, 2.0, 2.0));
    }

    proptest! {
        #[test]
        fn the_way_back_restores_boxes_and_words(factor in 0.3f64..1.0, caption in prop::sample::select(vec!["a big dog", "the dog is huge", "a dog"])) {
            let before = sample(caption);
            let there = zoomed(&before, factor).unwrap();
            let back = zoomed(&there, 1.0 / factor).unwrap();
            prop_assert_eq!(&back.text.as_ref().unwrap().get().content, caption);
            let (a, b) = (&back.annotations.boxes[0], &before.annotations.boxes[0]);
            prop_assert!((a.x - b.x).abs() < 1e-3 && (a.width - b.width).abs() < 1e-3);
        }
    }
}
