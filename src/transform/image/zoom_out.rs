//! The picture within a border.

use crate::{
    augment::image::{self, BoxMap, Edge, Filter, PixelRect, Sides},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the scene farther away: the picture becomes smaller inside a border of its own edge.
///
/// Method: the picture is made smaller, so that a border of `border` times the severity of its new sides fits on each side, and padded to its size; on whole pixels.
///
/// Boxes follow; none is lost, and about the middle nothing changes its side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZoomOut {
    /// Border on each side at severity 1 as a share of the sides, drawn from this range, 0..=2.
    pub border: Range,
    /// What the border shows.
    pub edge: Edge,
}

impl Default for ZoomOut {
    fn default() -> Self {
        Self { border: range(0.1, 0.4), edge: Edge::Extend }
    }
}

/// What [`ZoomOut`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoomOutDraw {
    /// Border on each side at severity 1 as a share of the sides.
    pub border: f64,
    /// What the border shows.
    pub edge: Edge,
}

impl ZoomOutDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.border * severity
    }
}

impl Effect for ZoomOut {
    const NAME: &'static str = "zoom_out";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ border: [0.1, 0.4] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ZoomOutDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("border", self.border, 0.0..=2.0, "a share of the sides").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ZoomOutDraw> {
        let mut rng = site.rng();
        Plan::one(ZoomOutDraw { border: self.border.draw(&mut rng), edge: self.edge })
    }

    fn magnitude(draw: &ZoomOutDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the side"))
    }

    fn apply(draw: &ZoomOutDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let scale = 1.0 / (1.0 + 2.0 * draw.reached(severity));
        // The smaller picture lies on whole pixels: boxes go where the pixels do.
        let inner = |n: usize| ((n as f64 * scale).round() as usize).clamp(1, n);
        let (w, h) = (inner(width), inner(height));
        let (left, top) = ((width - w) / 2, (height - h) / 2);
        // The window that this would be a crop of.
        let (across, down) = (width as f64 / w as f64, height as f64 / h as f64);
        let window =
            PixelRect { x: -(left as f64) * across, y: -(top as f64) * down, width: width as f64 * across, height: height as f64 * down };
        let map = BoxMap::crop(window, width, height);
        let (boxes, _) = image::map_boxes(&scene.annotations.boxes, map, width, height);
        image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0);
        let small = image::resize(picture, w, h, Filter::Triangle).map_err(|error| error.to_string())?;
        let sides = Sides { left, top, right: width - w - left, bottom: height - h - top };
        let padded = image::pad(&small, sides, draw.edge, [0, 0, 0, 255]).map_err(|error| error.to_string())?;
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
    fn the_middle_shrinks_and_its_box() {
        let mut sample = picture(ImageBuffer::filled(40, 30, 1, 255).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 40.0, 30.0);
        let draw = ZoomOutDraw { border: 0.5, edge: Edge::Zero };
        let scene = apply::<ZoomOut>(&draw, 1.0, &sample);
        let found = scene.image.unwrap();
        assert_eq!((found.width(), found.height(), found.pixel(2, 2), found.pixel(20, 15)), (40, 30, &[0][..], &[255][..]));
        let place = &scene.annotations.boxes[0];
        assert_eq!((place.x, place.y, place.width, place.height), (10.0, 7.0, 20.0, 15.0));
    }
}
