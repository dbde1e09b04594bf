//! A border around the picture.

use crate::{
    augment::image::{self, BoxMap, Edge, Sides},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pads the picture: it becomes larger, and what it showed stays as it was.
///
/// Method: each side gets a border of its drawn share of the picture's width (left, right) or height, times the severity, in whole pixels.
///
/// Boxes follow; none is lost. Refuses where an object named by a side changes its side or height (`side_changed`, `side_unknown`, `height_changed`, `height_unknown`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pad {
    /// Border of each side at severity 1 as a share of the sides, drawn from this range for each, 0..=2.
    pub border: Range,
    /// What the border shows.
    pub edge: Edge,
    /// Its colour where `edge` is `zero`: red, green and blue, 0..=255.
    pub colour: [u8; 3],
}

impl Default for Pad {
    fn default() -> Self {
        Self { border: range(0.0, 0.2), edge: Edge::Zero, colour: [0, 0, 0] }
    }
}

/// What [`Pad`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadDraw {
    /// Border on the left at severity 1 as a share of the width.
    pub left: f64,
    /// Above, as a share of the height.
    pub top: f64,
    /// On the right.
    pub right: f64,
    /// Below.
    pub bottom: f64,
    /// What the border shows.
    pub edge: Edge,
    /// Its colour.
    pub colour: [u8; 3],
}

impl Effect for Pad {
    const NAME: &'static str = "pad";
    const EXAMPLE: &'static str = "{ border: [0, 0.2] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = PadDraw;

    fn problems(&self) -> Vec<Problem> {
        let some = self.border.high() > 0.0;
        let checks = Checks::new().within("border", self.border, 0.0..=2.0, "a share of the sides");
        checks.that(some, "border", "expected a border above 0, found 0: nothing would change").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PadDraw> {
        let mut rng = site.rng();
        let [left, top, right, bottom] = [(); 4].map(|()| self.border.draw(&mut rng));
        Plan::one(PadDraw { left, top, right, bottom, edge: self.edge, colour: self.colour })
    }

    fn apply(draw: &PadDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let side = |n: usize, share: f64| (n as f64 * share * severity).round() as usize;
        let sides = Sides {
            left: side(width, draw.left),
            top: side(height, draw.top),
            right: side(width, draw.right),
            bottom: side(height, draw.bottom),
        };
        let [red, green, blue] = draw.colour;
        // A gray picture has the colour's luma.
        let gray = ((u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114 + 500) / 1000) as u8;
        let colour = if picture.channels() == 1 { [gray, 0, 0, 255] } else { [red, green, blue, 255] };
        let padded = image::pad(picture, sides, draw.edge, colour).map_err(|error| error.to_string())?;
        let map = BoxMap::shift(sides.left as f64, sides.top as f64);
        let (boxes, _) = image::map_boxes(&scene.annotations.boxes, map, padded.width(), padded.height());
        scene.keeps_places(&boxes, padded.width(), padded.height())?;
        image::move_shapes(&mut scene.annotations, &map.into(), padded.width(), padded.height(), 0.0);
        scene.image = Some(padded.into());
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
    fn the_picture_lies_in_its_border_and_so_does_its_box() {
        let mut sample = picture(ImageBuffer::new(4, 2, 1, (1..9).collect()).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(1.0, 0.0, 2.0, 1.0);
        let draw = PadDraw { left: 0.5, top: 1.0, right: 0.25, bottom: 0.0, edge: Edge::Zero, colour: [255, 255, 255] };
        let scene = apply::<Pad>(&draw, 1.0, &sample);
        let found = scene.image.unwrap();
        assert_eq!((found.width(), found.height()), (7, 4));
        assert_eq!(found.pixels()[14..], [255, 255, 1, 2, 3, 4, 255, 255, 255, 5, 6, 7, 8, 255]);
        assert!(found.pixels()[..14].iter().all(|p| *p == 255));
        let place = &scene.annotations.boxes[0];
        assert_eq!((place.x, place.y, place.width, place.height), (3.0, 2.0, 2.0, 1.0));
        let half = apply::<Pad>(&draw, 0.5, &sample).image.unwrap();
        assert_eq!((half.width(), half.height()), (6, 3));
    }
}
