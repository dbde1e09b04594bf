//! Top and bottom exchanged.

use crate::{
    augment::{
        image::{self, BoxMap},
        text,
    },
    sample::ModalitySet,
    transform::{
        Effect, Plan, Scene, Site, With,
        scene::{ReadableText, is_character},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mirrors top and bottom.
///
/// Method: rows in the opposite order, whatever the severity. Boxes follow, and so do the words of the caption that name top and bottom. Twice is the identity.
///
/// Refuses where a word of height is doubtful (`unsure_height_word`), reports of bodies (`report`), and classes that are a digit or a letter (`readable_text`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlipVertical {
    /// What is done where the class is a digit or a letter.
    pub readable_text: ReadableText,
}

/// What [`FlipVertical`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlipVerticalDraw {}

impl Effect for FlipVertical {
    const NAME: &'static str = "flip_vertical";
    const EXAMPLE: &'static str = "{}";
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    const SCALES: bool = false;
    type Draw = FlipVerticalDraw;

    fn draw(&self, site: &Site<'_>) -> Plan<FlipVerticalDraw> {
        if self.readable_text == ReadableText::Refuse && site.class_name.is_some_and(is_character) {
            return Plan::refused("readable_text");
        }
        Plan::one(FlipVerticalDraw {})
    }

    fn apply(_: &FlipVerticalDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let words = scene.words();
        if scene.image.is_some() && text::is_report(&words) {
            return Err("report".into());
        }
        let edits = scene.text.as_ref().map(|text| text::vertical_edits(text, &words).ok_or("unsure_height_word"));
        let edits = edits.transpose()?.unwrap_or_default();
        scene.edit_image(image::flip_vertical_in_place);
        if let Some(picture) = &scene.image {
            let (width, height) = (picture.width(), picture.height());
            let map = BoxMap::flip_vertical(height);
            scene.annotations.boxes = image::map_boxes(&scene.annotations.boxes, map, width, height).0;
            image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0);
            scene.edit_text(edits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{ImageBuffer, Media, Sample, Text},
        transform::testing::{apply, child, content, picture},
    };

    #[test]
    fn rows_and_boxes_are_mirrored() {
        let mut sample = picture(ImageBuffer::new(1, 3, 1, vec![1, 2, 3]).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 1.0, 1.0);
        let scene = apply::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &sample);
        assert_eq!(scene.image.unwrap().pixels(), [3, 2, 1]);
        assert_eq!(scene.annotations.boxes[0].y, 2.0);
    }

    #[test]
    fn the_caption_follows_or_is_refused() {
        let said = |caption: &str| Sample {
            text: Some(Media::new(Text::new(caption))),
            ..picture(ImageBuffer::new(1, 3, 1, vec![1, 2, 3]).unwrap())
        };
        let there = child::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &said("a bird at the top"));
        assert_eq!(content(&there), "a bird at the bottom");
        let back = child::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &there);
        assert_eq!((content(&back), back.image.as_ref().unwrap().get().pixels()), ("a bird at the top", &[1, 2, 3][..]));
        let refused = |caption: &str| FlipVertical::apply(&FlipVerticalDraw {}, 1.0, &mut Scene::of(&said(caption)), &With::default());
        assert_eq!(refused("left lower lobe opacity"), Err("report".into()));
        assert_eq!(refused("a bird under a tree"), Err("unsure_height_word".into()));
    }
}
