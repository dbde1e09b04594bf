//! Quarter turns.

use crate::{
    augment::{
        image::{self, PointMap},
        text,
    },
    error::Problem,
    sample::ModalitySet,
    transform::{
        Checks, Effect, Plan, Scene, Site, With,
        scene::{ReadableText, turned_class},
    },
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the picture by quarters.
///
/// Method: exact quarter turns counter-clockwise, one of `quarters` drawn, whatever the severity; with an odd number the sides change places.
///
/// Boxes follow, and so do the places that the caption names ("on the left" becomes "at the top"). Refuses captions whose words of side or height have no such form or are doubtful
/// (`orientation_lost`), reports of bodies (`report`), and classes that are a digit or a letter (`readable_text`: a six turned by half is a nine)
/// or name a side or a height (`class_has_side`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Quarters, one of which is drawn, each 1..=3; at least one.
    pub quarters: Vec<usize>,
    /// What is done where the class is a digit or a letter.
    pub readable_text: ReadableText,
}

impl Default for Turn {
    fn default() -> Self {
        Self { quarters: vec![1, 2, 3], readable_text: ReadableText::Refuse }
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
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ quarters: [1, 3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    const SCALES: bool = false;
    type Draw = TurnDraw;

    fn problems(&self) -> Vec<Problem> {
        let right = !self.quarters.is_empty() && self.quarters.iter().all(|n| (1..=3).contains(n));
        Checks::new().that(right, "quarters", format!("expected at least one of 1, 2, 3, found {:?}", self.quarters)).done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<TurnDraw> {
        if let Some(why) = site.class_name.and_then(|class| turned_class(class, self.readable_text)) {
            return Plan::refused(why);
        }
        match self.quarters.choose(&mut site.rng()) {
            Some(quarters) => Plan::one(TurnDraw { quarters: *quarters }),
            None => Plan::no_op("no_quarters"),
        }
    }

    fn apply(draw: &TurnDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let quarters = (draw.quarters % 4) as i32;
        let words = scene.words();
        if text::is_report(&words) {
            return Err("report".into());
        }
        // Words are turned with the clock.
        let edits = scene.text.as_ref().map(|text| text::turn_edits(text, &words, -quarters).ok_or("orientation_lost"));
        let edits = edits.transpose()?.unwrap_or_default();
        let turned = image::turn(picture, quarters);
        let map = PointMap::turn(picture.width(), picture.height(), quarters);
        let (boxes, _) = map.boxes(&scene.annotations.boxes, turned.width(), turned.height());
        image::move_shapes(&mut scene.annotations, &map, turned.width(), turned.height(), 0.0);
        scene.image = Some(turned.into());
        scene.annotations.boxes = boxes;
        scene.edit_text(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedTree,
        sample::{ImageBuffer, Media, Sample, Text},
        transform::testing::{apply, child, content, picture, plan},
    };

    #[test]
    fn the_caption_turns_along_or_is_refused() {
        let said = |caption: &str| {
            let pixels = ImageBuffer::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
            Sample { text: Some(Media::new(Text::new(caption))), ..picture(pixels) }
        };
        let mut turned = said("a bird at the top");
        let mut seen = Vec::new();
        for _ in 0..4 {
            turned = child::<Turn>(&TurnDraw { quarters: 1 }, 1.0, &turned);
            seen.push(content(&turned).to_owned());
        }
        assert_eq!(seen, ["a bird on the left", "a bird at the bottom", "a bird on the right", "a bird at the top"]);
        assert_eq!(turned.image.unwrap().get().pixels(), [1, 2, 3, 4, 5, 6]);
        let refused = |caption: &str| Turn::apply(&TurnDraw { quarters: 2 }, 1.0, &mut Scene::of(&said(caption)), &With::default());
        assert_eq!(refused("a bird over a bridge"), Err("orientation_lost".into()));
        assert_eq!(refused("RUL nodule"), Err("report".into()));
        let of = |class| plan(&Turn::default(), &said("drawn by hand"), Some(class), &SeedTree::new(1));
        assert_eq!(of("6"), Plan::refused("readable_text"));
        assert_eq!((of("turn left"), of("arrow_up")), (Plan::refused("class_has_side"), Plan::refused("class_has_side")));
        assert!(matches!(of("dog"), Plan::Fires(_)));
    }

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
