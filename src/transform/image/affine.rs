//! A picture turned, scaled, sheared and moved.

use super::{far_turned, moved};
use crate::{
    augment::image::{self, Edge},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns, scales, shears and moves the picture in one step.
///
/// Method: scale, shear, rotation and translation about the middle, each times the severity (a factor `f` of the scale is `f` to the power of `s`), bilinear; the size stays.
///
/// Boxes follow. Refuses where less than `keep` of a box would be left (`object_lost`) and where an object named by a side changes its side or height
/// (`side_changed`, `side_unknown`, `height_changed`, `height_unknown`); beyond 45 degrees where the caption speaks of sides, heights or bodies (`orientation_lost`), or the class is a
/// digit, a letter, or names a side or a height (`readable_text`, `class_has_side`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// Degrees at severity 1, counter-clockwise, drawn from this range, -180..=180.
    pub degrees: Range,
    /// Factor of both sides at severity 1, drawn from this range, 0.1..=10.
    pub scale: Range,
    /// Degrees that the columns lean at severity 1, drawn from this range, -60..=60.
    pub shear: Range,
    /// Way to the right at severity 1 as a share of the width, drawn from this range, -1..=1.
    pub x: Range,
    /// Way down at severity 1 as a share of the height, drawn from this range, -1..=1.
    pub y: Range,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: range(-15.0, 15.0),
            scale: range(0.8, 1.2),
            shear: range(-8.0, 8.0),
            x: range(-0.1, 0.1),
            y: range(-0.1, 0.1),
            edge: Edge::Extend,
            keep: share(0.5),
        }
    }
}

/// What [`Affine`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffineDraw {
    /// Degrees at severity 1, counter-clockwise.
    pub degrees: f64,
    /// Factor of both sides at severity 1.
    pub scale: f64,
    /// Degrees that the columns lean at severity 1.
    pub shear: f64,
    /// Way to the right at severity 1 as a share of the width.
    pub x: f64,
    /// Way down at severity 1 as a share of the height.
    pub y: f64,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: f64,
}

impl Effect for Affine {
    const NAME: &'static str = "affine";
    const EXAMPLE: &'static str = "{ degrees: [-15, 15] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = AffineDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("degrees", self.degrees, -180.0..=180.0, "degrees")
            .within("scale", self.scale, 0.1..=10.0, "a factor")
            .within("shear", self.shear, -60.0..=60.0, "degrees")
            .within("x", self.x, -1.0..=1.0, "a share of the width")
            .within("y", self.y, -1.0..=1.0, "a share of the height")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<AffineDraw> {
        let mut rng = site.rng();
        let degrees = self.degrees.draw(&mut rng);
        if let Some(why) = far_turned(site, degrees) {
            return Plan::refused(why);
        }
        Plan::one(AffineDraw {
            degrees,
            scale: self.scale.draw(&mut rng),
            shear: self.shear.draw(&mut rng),
            x: self.x.draw(&mut rng),
            y: self.y.draw(&mut rng),
            edge: self.edge,
            keep: self.keep.get(),
        })
    }

    fn apply(draw: &AffineDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        scene.keeps_upright(draw.degrees * severity)?;
        let scale = draw.scale.powf(severity);
        let by = image::Affine {
            rotate: draw.degrees * severity,
            scale: (scale, scale),
            shear: (draw.shear * severity, 0.0),
            translate: (draw.x * severity * width as f64, draw.y * severity * height as f64),
        };
        let map = by.map(width, height);
        moved(scene, &map, draw.edge, draw.keep)
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
        let mut sample = picture(ImageBuffer::filled(40, 30, 3, 90).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(12.0, 9.0, 8.0, 6.0);
        let draw = AffineDraw { degrees: 10.0, scale: 1.1, shear: 5.0, x: 0.05, y: 0.0, edge: Edge::Zero, keep: 0.5 };
        let scene = apply::<Affine>(&draw, 1.0, &sample);
        let found = &scene.annotations.boxes[0];
        assert!((found.x, found.y) != (12.0, 9.0) && found.width > 4.0 && found.height > 3.0, "{found:?}");
        sample.annotations = crate::transform::image::testing::one_box(-7.9, -5.9, 8.0, 6.0);
        let mut scene = Scene::of(&sample);
        assert_eq!(Affine::apply(&draw, 1.0, &mut scene, &With::default()), Err("object_lost".into()));
    }
}
