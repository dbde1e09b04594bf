//! One turn of the hue circle for the picture and the colours that the caption names.

use crate::{
    augment::{
        image,
        text::{self, Sense},
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the hue of the picture, and the colour words of the caption with it: turned by 120 degrees a red ball is a green ball. Black, white, gray and silver stay.
///
/// Method: every pixel's hue is turned by a drawn angle, value and chroma stay; each word that surely names a colour of the scene becomes the one whose hue lies within 10
/// degrees of its turned hue. The turn back restores picture (but for rounding) and caption. Angles are drawn anew, and then multiples of 60 degrees are tried, until every colour word has a name.
///
/// Refuses where a turned colour has no common name (`colour_without_name`: brown, pink, or red at 90 degrees), where a colour word may mean something else (`unsure_colour`) or is
/// protected (`protected_word`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recolour {
    /// Angle in degrees, drawn from this range, either way, 0..=180.
    pub degrees: Range,
}

impl Default for Recolour {
    fn default() -> Self {
        Self { degrees: range(30.0, 180.0) }
    }
}

/// What [`Recolour`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecolourDraw {
    /// Angle in degrees.
    pub degrees: f64,
}

/// Angles that are drawn before the multiples of 60 degrees are tried.
const ANGLES: usize = 6;

impl Effect for Recolour {
    const NAME: &'static str = "recolour";
    const EXAMPLE: &'static str = "{ degrees: [30, 180] }";
    const VERSION: u32 = 2;
    const CHANGES: ModalitySet = ModalitySet::IMAGE.or(ModalitySet::TEXT);
    const SCALES: bool = false;
    type Draw = RecolourDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("degrees", self.degrees, 0.0..=180.0, "degrees").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<RecolourDraw> {
        if site.scene.image.as_ref().is_none_or(|picture| picture.channels() < 3) {
            return Plan::no_op("no_colour");
        }
        let mut rng = site.rng();
        let mut angles: Vec<f64> = (0..ANGLES).map(|_| self.degrees.draw(&mut rng) * if rng.random() { 1.0 } else { -1.0 }).collect();
        let first = rng.random_range(0..5usize);
        let named = (0..5).map(|by| ((first + by) % 5 + 1) as f64 * 60.0).map(|angle| if angle > 180.0 { angle - 360.0 } else { angle });
        angles.extend(named.filter(|angle| (self.degrees.low()..=self.degrees.high()).contains(&angle.abs())));
        Plan::Fires(angles.into_iter().map(|degrees| RecolourDraw { degrees }).collect())
    }

    fn apply(draw: &RecolourDraw, _severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let (Some(picture), text) = (&scene.image, &scene.text) else { return Ok(()) };
        if picture.channels() < 3 {
            return Ok(());
        }
        let mut edits = Vec::new();
        if let Some(text) = text {
            let words = scene.words();
            for word in text::colour_words(&words) {
                match word.sense {
                    Sense::Other => continue,
                    Sense::Unsure => return Err("unsure_colour".into()),
                    Sense::Scene => {}
                }
                let new = text::rotated_colour(word.name, draw.degrees).ok_or("colour_without_name")?;
                if new != word.name {
                    edits.extend(text::replace_word(text, &words, word.at, new).ok_or("protected_word")?);
                }
            }
        }
        scene.edit_text(edits)?;
        scene.edit_image(|picture| image::hue_saturation_value(picture, draw.degrees as f32, 0.0, 0.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedTree,
        sample::ImageBuffer,
        sample::{Media, Sample, Text},
        transform::testing::{child, content, picture, plan},
    };
    use proptest::prelude::*;

    fn sample(caption: &str) -> Sample {
        let pixels = (0..48).map(|i| (i * 83 % 256) as u8).collect();
        Sample { text: Some(Media::new(Text::new(caption))), ..picture(ImageBuffer::new(4, 4, 3, pixels).unwrap()) }
    }

    #[test]
    fn colours_follow_or_are_refused() {
        let of = |caption: &str| {
            let mut scene = Scene::of(&sample(caption));
            Recolour::apply(&RecolourDraw { degrees: 120.0 }, 1.0, &mut scene, &With::default())
                .map(|()| scene.text.unwrap().content.clone())
        };
        assert_eq!(of("a red ball and a white cat").as_deref(), Ok("a green ball and a white cat"));
        assert_eq!(of("a green ball").as_deref(), Ok("a blue ball"));
        assert_eq!(of("a cup of green tea").as_deref(), Ok("a cup of green tea"));
        assert_eq!(of("a brown dog"), Err("colour_without_name".into()));
        assert_eq!(of("feeling blue"), Err("unsure_colour".into()));
        for seed in 0..20 {
            assert!(matches!(plan(&Recolour::default(), &sample("a red ball and a blue car"), None, &SeedTree::new(seed)), Plan::Fires(_)));
        }
    }

    proptest! {
        #[test]
        fn a_turn_is_undone_by_its_opposite(degrees in prop::sample::select(vec![30.0, 60.0, 120.0, 180.0, -60.0, -120.0, 241.0]), colour in prop::sample::select(vec!["red", "blue", "an orange", "white"])) {
            let before = sample(&format!("{colour} ball").replace("an orange", "orange"));
            let mut there = Scene::of(&before);
            if Recolour::apply(&RecolourDraw { degrees }, 1.0, &mut there, &With::default()).is_ok() {
                let back = child::<Recolour>(&RecolourDraw { degrees: -degrees }, 1.0, &there.into_sample(&before));
                prop_assert_eq!(content(&back), content(&before));
                let (a, b) = (back.image.as_ref().unwrap().get(), before.image.as_ref().unwrap().get());
                prop_assert!(a.pixels().iter().zip(b.pixels()).all(|(a, b)| a.abs_diff(*b) <= 1));
            }
        }
    }
}
