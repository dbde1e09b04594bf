//! Quarter turns.

use crate::{
    augment::image::{self, PointMap},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With},
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the picture by quarters.
///
/// Method: exact quarter turns counter-clockwise, one of `quarters` drawn, whatever the severity; with an odd number the sides change places.
///
/// Boxes follow. Refuses where an object named by a side changes its side (`side_changed`, `side_unknown`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Quarters, one of which is drawn, each 1..=3; at least one.
    pub quarters: Vec<usize>,
}

impl Default for Turn {
    fn default() -> Self {
        Self { quarters: vec![1, 2, 3] }
    }
}

/// What [`Turn`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnDraw {
    /// Quarters counter-clockwise.
    pub quarters: usize,
}

impl Effect for Turn {
    const NAME: &'static str = "turn";
    const EXAMPLE: &'static str = "{ quarters: [1, 3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    const SCALES: bool = false;
    type Draw = TurnDraw;

    fn problems(&self) -> Vec<Problem> {
        let right = !self.quarters.is_empty() && self.quarters.iter().all(|n| (1..=3).contains(n));
        Checks::new().that(right, "quarters", format!("expected at least one of 1, 2, 3, found {:?}", self.quarters)).done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TurnDraw> {
        match self.quarters.choose(&mut site.rng()) {
            Some(quarters) => Plan::one(TurnDraw { quarters: *quarters }),
            None => Plan::no_op("no_quarters"),
        }
    }

    fn apply(draw: &TurnDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let quarters = (draw.quarters % 4) as i32;
        let turned = image::turn(picture, quarters);
        let map = PointMap::turn(picture.width(), picture.height(), quarters);
        let (boxes, _) = map.boxes(&scene.annotations.boxes, turned.width(), turned.height());
        image::move_shapes(&mut scene.annotations, &map, turned.width(), turned.height(), 0.0);
        scene.keeps_sides(&boxes, turned.width())?;
        scene.image = Some(turned.into());
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
    fn pixels_and_boxes_turn() {
        let mut sample = picture(ImageBuffer::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(2.0, 0.0, 1.0, 1.0);
        let scene = apply::<Turn>(&TurnDraw { quarters: 1 }, 1.0, &sample);
        let turned = scene.image.unwrap();
        assert_eq!((turned.width(), turned.pixels()), (2, &[3, 6, 2, 5, 1, 4][..]));
        let place = &scene.annotations.boxes[0];
        assert_eq!((place.x, place.y, place.width, place.height), (0.0, 0.0, 1.0, 1.0));
    }
}
