//! A window of the picture, and a caption without the objects that left it.

use super::shift::PLACES;
use crate::{
    augment::{
        image::{self, BoxMap, PixelRect},
        text,
    },
    error::Problem,
    sample::{BoundingBox, Mask, ModalitySet},
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Crops the picture; an object that leaves it takes its box and its words along.
///
/// Method: a window of the same shape at a drawn place is brought back to the size of the picture; its size shrinks with the severity. A box of which less than `gone` is left counts as left behind. The caption loses the part that names
/// it ("a dog on the left and a cat" becomes "a cat"); where several of a kind were boxed its number follows ("two dogs" becomes "one dog").
///
/// Objects are the boxes, and the outlines (`masks`) of what has no box. Refuses where the caption names the sample's class and neither shows where it is (`object_unboxed`), where an object is cut but not gone, with less than `keep` of it left (`object_cut`), where the object of the sample's class would leave (`class_lost`), where
/// the words of an object that leaves cannot go without others that stay (`object_named`), where an object named by a side changes its side, and at protected words (`protected_word`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CropObjects {
    /// Share of both sides that is cut away at severity 1, drawn from this range, 0..=0.9.
    pub share: Range,
    /// Least share of a box that must stay, 0..=1.
    pub keep: Fraction,
    /// Share of a box below which it is gone, 0..=1, not above `keep`.
    pub gone: Fraction,
}

impl Default for CropObjects {
    fn default() -> Self {
        Self { share: range(0.2, 0.5), keep: share(0.6), gone: share(0.1) }
    }
}

/// What [`CropObjects`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropObjectsDraw {
    /// Share that is cut away at severity 1.
    pub share: f64,
    /// Where the window lies along x, 0 at the left.
    pub x: f64,
    /// Where it lies along y, 0 at the top.
    pub y: f64,
    /// Least share of a box that stays.
    pub keep: f64,
    /// Share below which it is gone.
    pub gone: f64,
    /// Name of the sample's class; its last object must not leave.
    pub class: Option<String>,
}

impl CropObjectsDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for CropObjects {
    const NAME: &'static str = "crop_objects";
    const EXAMPLE: &'static str = "{ share: [0.2, 0.5] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    type Draw = CropObjectsDraw;

    fn problems(&self) -> Vec<Problem> {
        let message = format!("expected at most `keep` ({}), found {}", self.keep.get(), self.gone.get());
        Checks::new().within("share", self.share, 0.0..=0.9, "a share").that(self.gone <= self.keep, "gone", message).done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CropObjectsDraw> {
        if site.scene.image.is_none() {
            return Plan::no_op("no_image");
        }
        let mut rng = site.rng();
        let mut draw = || CropObjectsDraw {
            share: self.share.draw(&mut rng),
            x: rng.random_range(0.0..=1.0),
            y: rng.random_range(0.0..=1.0),
            keep: self.keep.get(),
            gone: self.gone.get(),
            class: site.class_name.map(str::to_owned),
        };
        Plan::Fires((0..PLACES).map(|_| draw()).collect())
    }

    fn magnitude(draw: &CropObjectsDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the sides"))
    }

    fn apply(draw: &CropObjectsDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = scene.image.clone() else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let size = 1.0 - draw.reached(severity);
        let (w, h) = (width as f64 * size, height as f64 * size);
        let rect = PixelRect { x: (width as f64 - w) * draw.x, y: (height as f64 - h) * draw.y, width: w, height: h };
        let map = BoxMap::crop(rect, width, height);
        if let Some(class) = &draw.class {
            let drawn =
                scene.annotations.boxes.iter().map(|place| &place.label).chain(scene.annotations.masks.iter().map(|mask| &mask.label));
            if drawn.into_iter().all(|label| label != class) && !text::mentions(&scene.words(), class).is_empty() {
                return Err("object_unboxed".into());
            }
        }
        // Whether an object stays.
        let stays = |visible: f64| match visible {
            gone if gone < draw.gone || gone <= 0.0 => Ok(false),
            cut if cut < draw.keep => Err("object_cut"),
            _ => Ok(true),
        };
        let (mut stay, mut moved, mut names, mut lost): (Vec<BoundingBox>, Vec<BoundingBox>, Vec<String>, Vec<String>) = Default::default();
        for place in &scene.annotations.boxes {
            let (cut, visible) = image::visible_share(&map.map(place), width, height);
            if stays(visible.into())? {
                stay.push(place.clone());
                moved.push(cut);
                names.push(place.label.clone());
            } else {
                lost.push(place.label.clone());
            }
        }
        // What has an outline and no box is an object, too.
        for mask in scene.annotations.masks.iter().filter(|mask| !scene.annotations.boxes.iter().any(|place| outlines(mask, place))) {
            let to = if stays(image::covered_share(mask, &rect))? { &mut names } else { &mut lost };
            to.push(mask.label.clone());
        }
        if lost.iter().any(|name| draw.class.as_ref() == Some(name) && !names.contains(name)) {
            return Err("class_lost".into());
        }
        lost_words(scene, &lost, &names)?;
        scene.annotations.boxes = stay;
        scene.keeps_places(&moved, width, height)?;
        scene.image = Some(image::crop_resize(&picture, rect, width, height).map_err(|error| error.to_string())?.into());
        image::move_shapes(&mut scene.annotations, &map.into(), width, height, draw.gone as f32);
        scene.annotations.boxes = moved;
        Ok(())
    }
}

/// Whether an outline is that of what a box holds: of the same name, with its middle inside.
fn outlines(mask: &Mask, place: &BoundingBox) -> bool {
    let count = mask.outline.len().max(1) as f32;
    let [x, y] = [0, 1].map(|axis| mask.outline.iter().map(|corner| corner[axis]).sum::<f32>() / count);
    let inside = (place.x..=place.x + place.width).contains(&x) && (place.y..=place.y + place.height).contains(&y);
    inside && mask.label == place.label
}

/// Takes the words of lost objects out of the caption, a name at a time.
fn lost_words(scene: &mut Scene, lost: &[String], staying: &[String]) -> Result<(), String> {
    let mut done: Vec<&String> = Vec::new();
    for name in lost {
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let Some(text) = &scene.text else { return Ok(()) };
        let left = staying.iter().filter(|other| *other == name).count();
        let total = left + lost.iter().filter(|other| *other == name).count();
        // Those whose turn is still to come are named too.
        let others = staying.iter().chain(lost.iter().filter(|other| !done.contains(other)));
        let others: Vec<&str> = others.filter(|other| *other != name).map(String::as_str).collect();
        let edits = text::remove_mention(text, &scene.words(), name, left, total, &others)?;
        scene.edit_text(edits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{ImageBuffer, Media, Sample, Text},
        transform::testing::picture,
    };
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sample(caption: &str) -> Sample {
        let mut sample = Sample { text: Some(Media::new(Text::new(caption))), ..picture(ImageBuffer::filled(40, 20, 1, 9).unwrap()) };
        let place = |x, label: &str| BoundingBox { x, y: 8.0, width: 6.0, height: 4.0, label: label.into() };
        Arc::make_mut(&mut sample.annotations).boxes = vec![place(2.0, "dog"), place(30.0, "cat")];
        sample
    }
    /// The window's place along x.
    fn draw(x: f64, class: Option<&str>) -> CropObjectsDraw {
        CropObjectsDraw { share: 0.5, x, y: 0.5, keep: 0.6, gone: 0.1, class: class.map(str::to_owned) }
    }
    fn cropped(sample: &Sample, draw: &CropObjectsDraw) -> Result<Sample, String> {
        let mut scene = Scene::of(sample);
        CropObjects::apply(draw, 1.0, &mut scene, &With::default())?;
        Ok(scene.into_sample(sample))
    }

    #[test]
    fn an_object_takes_its_words_along() {
        let both = sample("A red dog and a black cat.");
        let of = |draw: &CropObjectsDraw| {
            let child = cropped(&both, draw)?;
            let names: Vec<String> = child.annotations.boxes.iter().map(|place| place.label.clone()).collect();
            Ok::<_, String>((child.text.unwrap().get().content.clone(), names))
        };
        assert_eq!(of(&draw(0.0, Some("dog"))), Ok(("A red dog.".into(), vec!["dog".into()])));
        assert_eq!(of(&draw(1.0, None)), Ok(("A black cat.".into(), vec!["cat".into()])));
        assert_eq!(of(&draw(1.0, Some("dog"))), Err("class_lost".into()));
        // The same objects by their outlines alone.
        let mut outlined = both.clone();
        let annotations = Arc::make_mut(&mut outlined.annotations);
        let corners = |b: &BoundingBox| vec![[b.x, b.y], [b.x + b.width, b.y], [b.x + b.width, b.y + b.height], [b.x, b.y + b.height]];
        annotations.masks = annotations.boxes.drain(..).map(|b| Mask { outline: corners(&b), label: b.label.clone() }).collect();
        assert_eq!(cropped(&outlined, &draw(1.0, None)).unwrap().text.unwrap().get().content, "A black cat.");
        assert_eq!(cropped(&outlined, &draw(1.0, Some("dog"))).err(), Some("class_lost".into()));
        // Of two dogs one has a box, and both an outline: the caption counts both.
        let mut two = sample("Two dogs.");
        let annotations = Arc::make_mut(&mut two.annotations);
        annotations.boxes[1].label = "dog".into();
        annotations.masks = annotations.boxes.iter().map(|b| Mask { outline: corners(b), label: b.label.clone() }).collect();
        annotations.boxes.pop();
        assert_eq!(cropped(&two, &draw(0.0, None)).unwrap().text.unwrap().get().content, "One dog.");
        // A thin outline is judged by itself and not by the box around it.
        let mut thin = both.clone();
        let annotations = Arc::make_mut(&mut thin.annotations);
        annotations.boxes.remove(0);
        annotations.masks = vec![Mask { outline: vec![[2.0, 8.0], [23.0, 8.0], [2.0, 9.0]], label: "dog".into() }];
        let made = cropped(&thin, &CropObjectsDraw { keep: 0.1, gone: 0.05, ..draw(1.0, None) }).unwrap();
        assert_eq!((made.annotations.masks.is_empty(), made.text.unwrap().get().content.as_str()), (true, "A black cat."));
        Arc::make_mut(&mut outlined.annotations).masks.clear();
        assert_eq!(cropped(&outlined, &draw(1.0, Some("dog"))).err(), Some("object_unboxed".into()));
        // The window from 4 to 24 leaves two thirds of the dog.
        let near = CropObjectsDraw { keep: 0.9, ..draw(0.2, None) };
        assert_eq!(of(&near), Err("object_cut".into()));
        assert_eq!(cropped(&sample("a dog chases a cat"), &draw(0.0, None)).err(), Some("object_named".into()));
    }

    proptest! {
        #[test]
        fn a_caption_names_what_is_boxed_and_nothing_else(x in 0.0f64..=1.0, share in 0.0f64..0.9) {
            let both = sample("a red dog and a black cat");
            if let Ok(child) = cropped(&both, &CropObjectsDraw { share, ..draw(x, None) }) {
                let content = child.text.as_ref().unwrap().get().content.clone();
                for name in ["dog", "cat"] {
                    prop_assert_eq!(content.contains(name), child.annotations.boxes.iter().any(|place| place.label == name), "{}", content);
                }
                // A second look at the same window without a cut changes nothing.
                let again = cropped(&child, &CropObjectsDraw { share: 0.0, ..draw(x, None) }).unwrap();
                prop_assert_eq!(&again.text.as_ref().unwrap().get().content, &content);
            }
        }
    }
}
