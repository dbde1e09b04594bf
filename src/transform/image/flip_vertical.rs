//! Top and bottom exchanged.

use crate::{
    augment::image::{self, BoxMap},
    sample::ModalitySet,
    transform::{Effect, Plan, Scene, Site, With},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mirrors top and bottom.
///
/// Method: rows in the opposite order, whatever the severity. Boxes follow. It does not read the caption: use it where up and down mean nothing (aerial pictures, microscopy).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlipVertical {}

/// What [`FlipVertical`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlipVerticalDraw {}

impl Effect for FlipVertical {
    const NAME: &'static str = "flip_vertical";
    const EXAMPLE: &'static str = "{}";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    const SCALES: bool = false;
    type Draw = FlipVerticalDraw;

    fn draw(&self, _: &Site<'_>) -> Plan<FlipVerticalDraw> {
        Plan::one(FlipVerticalDraw {})
    }

    fn apply(_: &FlipVerticalDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(image::flip_vertical_in_place);
        if let Some(picture) = &scene.image {
            let (width, height) = (picture.width(), picture.height());
            let map = BoxMap::flip_vertical(height);
            scene.annotations.boxes = image::map_boxes(&scene.annotations.boxes, map, width, height).0;
            image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0);
        }
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
    fn rows_and_boxes_are_mirrored() {
        let mut sample = picture(ImageBuffer::new(1, 3, 1, vec![1, 2, 3]).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 1.0, 1.0);
        let scene = apply::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &sample);
        assert_eq!(scene.image.unwrap().pixels(), [3, 2, 1]);
        assert_eq!(scene.annotations.boxes[0].y, 2.0);
    }
}
