//! Top and bottom exchanged.

use crate::{
    augment::{
        image::{self, BoxMap},
        text,
    },
    sample::ModalitySet,
    transform::{
        Effect, Plan, Scene, Site, With,
        scene::{ReadableText, exchange_sides, turned_class},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mirrors top and bottom.
///
/// Method: rows in the opposite order, whatever the severity. Boxes follow, and so do the words of the caption that name top and bottom; labels of
/// boxes, outlines and keypoints that name a side of a body name the other one, as in any mirror. Twice is the identity.
///
/// Refuses where a word of height is doubtful or a side may be that of a body (`unsure_height_word`: "his left hand"), reports of bodies (`report`), and classes
/// that are a digit or a letter (`readable_text`) or name a side or a height (`class_has_side`).
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
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{}";
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    const SCALES: bool = false;
    type Draw = FlipVerticalDraw;

    fn draw(&self, site: &Site<'_>) -> Plan<FlipVerticalDraw> {
        if let Some(why) = site.class_name.and_then(|class| turned_class(class, self.readable_text)) {
            return Plan::refused(why);
        }
        Plan::one(FlipVerticalDraw {})
    }

    fn apply(_: &FlipVerticalDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height, words) = (picture.width(), picture.height(), scene.words());
        if text::is_report(&words) {
            return Err("report".into());
        }
        let edits = scene.text.as_ref().map(|text| text::vertical_edits(text, &words).ok_or("unsure_height_word"));
        let edits = edits.transpose()?.unwrap_or_default();
        scene.edit_image(image::flip_vertical_in_place);
        let map = BoxMap::flip_vertical(height);
        scene.annotations.boxes = image::map_boxes(&scene.annotations.boxes, map, width, height).0;
        image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0);
        exchange_sides(&mut scene.annotations);
        scene.edit_text(edits)
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
        assert_eq!(refused("he raises his left hand"), Err("unsure_height_word".into()));
        // A side of the picture stays where it is; one of a body is the other one.
        let mut sided = said("a bird at the top and a dog on the left");
        sided.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 1.0, 1.0);
        std::sync::Arc::make_mut(&mut sided.annotations).boxes[0].label = "left_eye".into();
        let there = child::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &sided);
        assert_eq!(
            (content(&there), there.annotations.boxes[0].label.as_str()),
            ("a bird at the bottom and a dog on the left", "right_eye")
        );
        // Without a picture there is nothing to do.
        let bare = Sample { image: None, ..said("a bird under a tree") };
        assert_eq!(content(&child::<FlipVertical>(&FlipVerticalDraw {}, 1.0, &bare)), "a bird under a tree");
    }
}
