//! A part of the picture.

use crate::{
    augment::image::{self, BoxMap, PixelRect},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shows a part of the picture in its place.
///
/// Method: a window of `area` of the picture (at severity `s`: `1 - (1 - area) s`) with its sides in the ratio of the picture's times `aspect` to the power of `s`, at a drawn place, brought back to the size.
///
/// Boxes follow. Refuses where less than `keep` of a box would be left (`object_lost`) and where an object named by a side changes its side (`side_changed`, `side_unknown`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// Share of the area at severity 1, drawn from this range, 0.01..=1.
    pub area: Range,
    /// Factor of the ratio of the sides at severity 1, drawn from this range, 0.1..=10.
    pub aspect: Range,
    /// Where the window lies along x: 0 left, 1 right, drawn from this range, 0..=1.
    pub x: Range,
    /// Where it lies along y: 0 at the top, drawn from this range, 0..=1.
    pub y: Range,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self { area: range(0.4, 0.9), aspect: range(0.8, 1.25), x: range(0.0, 1.0), y: range(0.0, 1.0), keep: share(0.5) }
    }
}

/// What [`ResizedCrop`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCropDraw {
    /// Share of the area at severity 1.
    pub area: f64,
    /// Factor of the ratio of the sides at severity 1.
    pub aspect: f64,
    /// Where the window lies along x: 0 left, 1 right.
    pub x: f64,
    /// Where it lies along y: 0 at the top.
    pub y: f64,
    /// Least share of every box that must stay, 0..=1.
    pub keep: f64,
}

impl ResizedCropDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 - (1.0 - self.area) * severity
    }
}

impl Effect for ResizedCrop {
    const NAME: &'static str = "resized_crop";
    const EXAMPLE: &'static str = "{ area: [0.4, 0.9] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ResizedCropDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("area", self.area, 0.01..=1.0, "a share of the area")
            .within("aspect", self.aspect, 0.1..=10.0, "a factor")
            .within("x", self.x, 0.0..=1.0, "a share of the room")
            .within("y", self.y, 0.0..=1.0, "a share of the room")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ResizedCropDraw> {
        let mut rng = site.rng();
        Plan::one(ResizedCropDraw {
            area: self.area.draw(&mut rng),
            aspect: self.aspect.draw(&mut rng),
            x: self.x.draw(&mut rng),
            y: self.y.draw(&mut rng),
            keep: self.keep.get(),
        })
    }

    fn magnitude(draw: &ResizedCropDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the area"))
    }

    fn apply(draw: &ResizedCropDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let (w, h) = (width as f64, height as f64);
        let area = draw.reached(severity);
        let stretch = draw.aspect.powf(severity / 2.0);
        let (cut, tall) = ((w * area.sqrt() * stretch).min(w), (h * area.sqrt() / stretch).min(h));
        let rect = PixelRect { x: draw.x * (w - cut), y: draw.y * (h - tall), width: cut, height: tall };
        let map = BoxMap::crop(rect, width, height);
        let (boxes, least) = image::map_boxes(&scene.annotations.boxes, map, width, height);
        let least = least.min(image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0));
        if f64::from(least) < draw.keep {
            return Err("object_lost".into());
        }
        scene.keeps_places(&boxes, width, height)?;
        scene.image = Some(image::crop_resize(picture, rect, width, height).map_err(|error| error.to_string())?.into());
        scene.annotations.boxes = boxes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::ImageBuffer,
        transform::testing::{apply, picture},
    };

    #[test]
    fn boxes_follow_and_may_be_refused() {
        let mut sample = picture(ImageBuffer::filled(40, 40, 3, 90).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 10.0, 10.0);
        let draw = |x| ResizedCropDraw { area: 0.25, aspect: 1.0, x, y: 0.0, keep: 0.5 };
        let found = apply::<ResizedCrop>(&draw(0.0), 1.0, &sample).annotations.boxes[0].clone();
        assert_eq!((found.x, found.y, found.width, found.height), (0.0, 0.0, 20.0, 20.0));
        let mut scene = Scene::of(&sample);
        assert_eq!(ResizedCrop::apply(&draw(1.0), 1.0, &mut scene, &With::default()), Err("object_lost".into()));
    }
}
