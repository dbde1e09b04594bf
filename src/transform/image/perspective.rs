//! Seen from another place.

use super::moved;
use crate::{
    augment::image::{self, Edge},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shows the picture as a plane seen from another place.
///
/// Method: a quadrangle whose corners lie inside the picture's, each by a drawn share of the sides times `reach` times the severity, is brought to the whole, bilinear.
///
/// Boxes follow. Refuses where less than `keep` of a box would be left (`object_lost`) and where an object named by a side changes its side (`side_changed`, `side_unknown`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Perspective {
    /// Greatest way of a corner at severity 1 as a share of the sides, drawn from this range, 0..=0.45.
    pub reach: Range,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Perspective {
    fn default() -> Self {
        Self { reach: range(0.05, 0.15), edge: Edge::Extend, keep: share(0.5) }
    }
}

/// What [`Perspective`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerspectiveDraw {
    /// Greatest way of a corner at severity 1 as a share of the sides.
    pub reach: f64,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for Perspective {
    const NAME: &'static str = "perspective";
    const EXAMPLE: &'static str = "{ reach: [0.05, 0.15] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = PerspectiveDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("reach", self.reach, 0.0..=0.45, "a share of the sides").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PerspectiveDraw> {
        let mut rng = site.rng();
        Plan::one(PerspectiveDraw { reach: self.reach.draw(&mut rng), edge: self.edge, keep: self.keep.get(), seed: site.seed() })
    }

    fn apply(draw: &PerspectiveDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let (w, h) = (width as f64, height as f64);
        let mut rng = SeedTree::at(&draw.seed).rng();
        let mut near = |side: f64| side * draw.reach * severity * rng.random_range(0.0..=1.0);
        let corners = [(near(w), near(h)), (w - near(w), near(h)), (w - near(w), h - near(h)), (near(w), h - near(h))];
        let map = image::perspective_map(width, height, corners).ok_or("flat")?;
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
        let draw = PerspectiveDraw { reach: 0.3, seed: SeedTree::new(3).path().clone(), edge: Edge::Zero, keep: 0.5 };
        let scene = apply::<Perspective>(&draw, 1.0, &sample);
        let found = &scene.annotations.boxes[0];
        assert!((found.x, found.y) != (12.0, 9.0) && found.width > 4.0 && found.height > 3.0, "{found:?}");
        sample.annotations = crate::transform::image::testing::one_box(-6.0, -4.0, 8.0, 6.0);
        let mut scene = Scene::of(&sample);
        assert_eq!(Perspective::apply(&draw, 1.0, &mut scene, &With::default()), Err("object_lost".into()));
    }
}
