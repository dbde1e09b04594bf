//! A turned picture.

use super::{far_turned, moved};
use crate::{
    augment::image::{Affine, Edge},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the picture about its middle.
///
/// Method: rotation by the drawn degrees times the severity, counter-clockwise, bilinear; the size stays.
///
/// Boxes follow. Refuses where less than `keep` of a box would be left (`object_lost`) and where an object named by a side changes its side or height
/// (`side_changed`, `side_unknown`, `height_changed`, `height_unknown`); beyond 45 degrees where the caption speaks of sides, heights or bodies (`orientation_lost`), or the class is a
/// digit, a letter, or names a side or a height (`readable_text`, `class_has_side`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotate {
    /// Degrees at severity 1, counter-clockwise, drawn from this range, -180..=180.
    pub degrees: Range,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { degrees: range(-25.0, 25.0), edge: Edge::Extend, keep: share(0.5) }
    }
}

/// What [`Rotate`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateDraw {
    /// Degrees at severity 1, counter-clockwise.
    pub degrees: f64,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: f64,
}

impl RotateDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.degrees * severity
    }
}

impl Effect for Rotate {
    const NAME: &'static str = "rotate";
    const EXAMPLE: &'static str = "{ degrees: [-25, 25] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = RotateDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("degrees", self.degrees, -180.0..=180.0, "degrees").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<RotateDraw> {
        let mut rng = site.rng();
        let degrees = self.degrees.draw(&mut rng);
        if let Some(why) = far_turned(site, degrees) {
            return Plan::refused(why);
        }
        Plan::one(RotateDraw { degrees, edge: self.edge, keep: self.keep.get() })
    }

    fn magnitude(draw: &RotateDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "degrees"))
    }

    fn apply(draw: &RotateDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        scene.keeps_upright(draw.reached(severity))?;
        let map = Affine { rotate: draw.reached(severity), ..Affine::default() }.map(width, height);
        moved(scene, &map, draw.edge, draw.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedTree,
        sample::ImageBuffer,
        transform::testing::{apply, picture, plan},
    };

    #[test]
    fn a_six_is_not_turned_into_a_nine() {
        let sample = picture(ImageBuffer::new(8, 8, 1, (0..64).collect()).unwrap());
        let of = |degrees: f64, class| {
            let rule = Rotate { degrees: range(degrees, degrees), ..Rotate::default() };
            plan(&rule, &sample, Some(class), &SeedTree::new(1))
        };
        assert_eq!((of(180.0, "6"), of(-90.0, "turn left")), (Plan::refused("readable_text"), Plan::refused("class_has_side")));
        assert!(matches!((of(20.0, "6"), of(180.0, "dog")), (Plan::Fires(_), Plan::Fires(_))));
    }

    #[test]
    fn boxes_follow_and_may_be_refused() {
        let mut sample = picture(ImageBuffer::filled(40, 30, 3, 90).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(12.0, 9.0, 8.0, 6.0);
        let draw = RotateDraw { degrees: 20.0, edge: Edge::Zero, keep: 0.5 };
        let scene = apply::<Rotate>(&draw, 1.0, &sample);
        let found = &scene.annotations.boxes[0];
        assert!((found.x, found.y) != (12.0, 9.0) && found.width > 4.0 && found.height > 3.0, "{found:?}");
        sample.annotations = crate::transform::image::testing::one_box(-7.9, -5.9, 8.0, 6.0);
        let mut scene = Scene::of(&sample);
        assert_eq!(Rotate::apply(&draw, 1.0, &mut scene, &With::default()), Err("object_lost".into()));
    }
}
