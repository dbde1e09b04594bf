//! One medium of another sample in the place of this one's.

use super::at_rate;
use crate::{
    error::Problem,
    sample::{Claim, Media, Modality, ModalitySet, Sample},
    transform::{Effect, PartnerClass, Partners, Plan, Scene, Site, With},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};

/// Puts one medium of another sample in the place of this one's on purpose: a labelled negative for consistency training, which carries no class and names the foreign medium in its
/// field `mismatched`.
///
/// Method: the medium is the one named, or drawn evenly among those that the sample has beside another. What is annotated of it comes along (boxes, keypoints and masks
/// with the picture, events with the sound); word times are dropped where they would join the words of one sample with the sound of the other. A sound of another rate is resampled. The severity does not
/// matter.
///
/// Refuses where the other lacks the medium (`partner_lacks_medium`), has it in other channels (`partner_channels`), at a rate too far from this one's to be resampled (`partner_not_resampled`), or has
/// the very same (`partner_same_medium`). A sample of one medium has nothing that it could be at odds with.
///
/// Reference: Korbar et al. 2018, "Cooperative Learning of Audio and Video Models from Self-Supervised Synchronization" (easy negatives from other samples).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwapMedium {
    /// The medium that is swapped; without it, it is drawn.
    pub modality: Option<Modality>,
    /// Of which class the other is.
    pub class: PartnerClass,
}

impl Default for SwapMedium {
    fn default() -> Self {
        Self { modality: None, class: PartnerClass::Other }
    }
}

/// What [`SwapMedium`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapMediumDraw {
    /// The medium that is swapped.
    pub modality: Modality,
}

impl Effect for SwapMedium {
    const NAME: &'static str = "swap_medium";
    const EXAMPLE: &'static str = "{ modality: audio, class: other }";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    const SCALES: bool = false;
    type Draw = SwapMediumDraw;

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn partners(&self) -> Option<Partners> {
        let has = self.modality.map_or(ModalitySet::EMPTY, |modality| [modality].into_iter().collect());
        Some(Partners { count: 1, class: self.class, has })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SwapMediumDraw> {
        let present: Vec<Modality> = site.sample.present().iter().collect();
        if present.len() < 2 || self.modality.is_some_and(|modality| !present.contains(&modality)) {
            return Plan::no_op("nothing_to_be_at_odds_with");
        }
        let drawn = present[site.rng().random_range(0..present.len())];
        Plan::one(SwapMediumDraw { modality: self.modality.unwrap_or(drawn) })
    }

    fn apply(draw: &SwapMediumDraw, _: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        swap(draw.modality, scene, with.partners.first().ok_or("no_partner")?).map_err(str::to_owned)
    }

    fn claim(draw: &SwapMediumDraw) -> Claim {
        Claim::Mismatched([draw.modality].into_iter().collect())
    }
}

fn swap(modality: Modality, scene: &mut Scene, other: &Sample) -> Result<(), &'static str> {
    const LACKS: &str = "partner_lacks_medium";
    const SAME: &str = "partner_same_medium";
    match modality {
        Modality::Image => {
            let Some(mine) = &scene.image else { return Ok(()) };
            let theirs = other.image.as_ref().map(Media::shared).ok_or(LACKS)?;
            if theirs.channels() != mine.channels() {
                return Err("partner_channels");
            }
            if *theirs == **mine {
                return Err(SAME);
            }
            let from = &other.annotations;
            let own = &mut scene.annotations;
            (own.boxes, own.keypoints, own.masks) = (from.boxes.clone(), from.keypoints.clone(), from.masks.clone());
            scene.image = Some(theirs);
        }
        Modality::Audio => {
            let Some(mine) = &scene.audio else { return Ok(()) };
            let theirs = other.audio.as_ref().map(Media::shared).ok_or(LACKS)?;
            if theirs.channels() != mine.channels() {
                return Err("partner_channels");
            }
            let theirs = match at_rate(&theirs, mine.sample_rate_hz())? {
                Cow::Owned(resampled) => Arc::new(resampled),
                Cow::Borrowed(_) => theirs,
            };
            if *theirs == **mine {
                return Err(SAME);
            }
            scene.annotations.events = other.annotations.events.clone();
            scene.annotations.words = Vec::new();
            scene.audio = Some(theirs);
        }
        Modality::Text => {
            let Some(mine) = &scene.text else { return Ok(()) };
            let theirs = other.text.as_ref().map(Media::shared).ok_or(LACKS)?;
            if *theirs == **mine {
                return Err(SAME);
            }
            scene.annotations.words = Vec::new();
            scene.text = Some(theirs);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{Annotations, AudioBuffer, BoundingBox, Event, ImageBuffer, Label, Text, WordTime},
        transform::testing::{draw, tone},
    };
    use std::sync::Arc;

    fn sample(caption: &str, gray: u8, level: f32) -> Sample {
        let place = BoundingBox { x: 0.0, y: 0.0, width: 2.0, height: 2.0, label: caption.into() };
        Sample {
            image: Some(Media::new(ImageBuffer::filled(4, 3, 3, gray).unwrap())),
            audio: Some(Media::new(tone(8000, 1, 200, level))),
            text: Some(Media::new(Text::new(caption))),
            label: Some(Label::Class(0)),
            annotations: Arc::new(Annotations {
                boxes: vec![place],
                events: vec![Event { start_s: 0.0, end_s: 0.01, label: caption.into() }],
                words: vec![WordTime { start: 0, end: 1, start_s: 0.0, end_s: 0.01 }],
                ..Annotations::default()
            }),
            ..Sample::new(caption)
        }
    }

    fn swapped(modality: Modality, other: Sample) -> Result<Scene, String> {
        let partners = [other];
        let mut scene = Scene::of(&sample("a dog", 10, 0.4));
        SwapMedium::apply(&SwapMediumDraw { modality }, 1.0, &mut scene, &With { partners: &partners, files: None }).map(|()| scene)
    }

    #[test]
    fn a_medium_comes_with_what_is_annotated_of_it() {
        let (dog, cat) = (sample("a dog", 10, 0.4), sample("a cat", 200, 0.1));
        let image = swapped(Modality::Image, cat.clone()).unwrap();
        assert_eq!((image.changed(&dog), image.annotations.boxes[0].label.as_str()), ([Modality::Image].into_iter().collect(), "a cat"));
        assert_eq!((image.annotations.events[0].label.as_str(), image.annotations.words.len()), ("a dog", 1));
        let audio = swapped(Modality::Audio, cat.clone()).unwrap();
        assert_eq!((audio.changed(&dog), audio.annotations.events[0].label.as_str()), ([Modality::Audio].into_iter().collect(), "a cat"));
        assert_eq!((audio.annotations.boxes[0].label.as_str(), audio.annotations.words.len()), ("a dog", 0));
        let text = swapped(Modality::Text, cat).unwrap();
        assert_eq!((text.changed(&dog), text.annotations.words.len()), ([Modality::Text].into_iter().collect(), 0));
        let claim = SwapMedium::claim(&SwapMediumDraw { modality: Modality::Text });
        assert_eq!(claim, Claim::Mismatched(ModalitySet::TEXT));
    }

    #[test]
    fn the_swap_back_restores_the_medium() {
        let dog = sample("a dog", 10, 0.4);
        for modality in Modality::ALL {
            let mut scene = swapped(modality, sample("a cat", 200, 0.1)).unwrap();
            let partners = [dog.clone()];
            SwapMedium::apply(&SwapMediumDraw { modality }, 1.0, &mut scene, &With { partners: &partners, files: None }).unwrap();
            assert!(scene.changed(&dog).is_empty(), "{modality:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cat = sample("a cat", 200, 0.1);
        let of = |modality, other| swapped(modality, other).map(|_| ()).unwrap_err();
        assert_eq!(of(Modality::Image, Sample { image: None, ..cat.clone() }), "partner_lacks_medium");
        assert_eq!(of(Modality::Image, sample("a cat", 10, 0.1)), "partner_same_medium");
        assert_eq!(of(Modality::Text, sample("a dog", 200, 0.1)), "partner_same_medium");
        // Another rate is brought to this one.
        let slow = AudioBuffer::new(4000, 1, vec![0.5; 9]).unwrap();
        let swapped = swapped(Modality::Audio, Sample { audio: Some(Media::new(slow)), ..cat.clone() }).unwrap();
        assert_eq!(swapped.audio.map(|sound| (sound.sample_rate_hz(), sound.frames())), Some((8000, 18)));
        let far = AudioBuffer::new(1, 1, vec![0.5; 9]).unwrap();
        assert_eq!(of(Modality::Audio, Sample { audio: Some(Media::new(far)), ..cat.clone() }), "partner_not_resampled");
        let wide = AudioBuffer::new(8000, 2, vec![0.5; 8]).unwrap();
        assert_eq!(of(Modality::Audio, Sample { audio: Some(Media::new(wide)), ..cat.clone() }), "partner_channels");
        let alone = cat.only(ModalitySet::TEXT);
        assert_eq!(draw(&SwapMedium::default(), &alone, 1), Plan::no_op("nothing_to_be_at_odds_with"));
        let named = SwapMedium { modality: Some(Modality::Image), ..SwapMedium::default() };
        assert_eq!(draw(&named, &Sample { image: None, ..cat.clone() }, 1), Plan::no_op("nothing_to_be_at_odds_with"));
        assert_eq!(draw(&named, &cat, 1), Plan::one(SwapMediumDraw { modality: Modality::Image }));
    }
}
