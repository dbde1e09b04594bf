//! A caption that is wrong in one quality.

use crate::{
    augment::text::{self, Attribute},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::{Claim, Label, ModalitySet},
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Makes a caption wrong in a quality: another colour, size, speed, side, height, loudness, light or number.
///
/// Method: each drawn place at which one of the `attributes` surely speaks of the scene gets the opposite, another plain colour, or one to three more. With `becomes` the label changes as that table says, and a class that does not stand there is refused (`label_without_opposite`); without it the
/// child is a labelled negative whose text does not belong to its other media any more, and a sample of text alone is refused (`nothing_to_contradict`).
///
/// Reference: Yuksekgonul et al. 2023, "When and Why Vision-Language Models Behave like Bags-of-Words" (attribute negatives).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FalseAttributes {
    /// Share of the places at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// Which qualities.
    pub attributes: Vec<Attribute>,
    /// Class names and what they become, such as `entailment: contradiction`; empty for a labelled negative.
    pub becomes: BTreeMap<String, String>,
}

impl Default for FalseAttributes {
    fn default() -> Self {
        Self { share: range(0.3, 1.0), attributes: Attribute::ALL.to_vec(), becomes: BTreeMap::new() }
    }
}

/// What [`FalseAttributes`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseAttributesDraw {
    /// Share of the places at severity 1.
    pub share: f64,
    /// Which qualities.
    pub attributes: Vec<Attribute>,
    /// Address of the random numbers.
    pub seed: SeedPath,
    /// The new class; none for a labelled negative.
    pub class: Option<usize>,
}

impl Effect for FalseAttributes {
    const NAME: &'static str = "false_attributes";
    const EXAMPLE: &'static str = "{ attributes: [colour, number] }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = FalseAttributesDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("share", self.share, 0.0..=1.0, "a share")
            .that(!self.attributes.is_empty(), "attributes", "no attribute; write at least one such as `colour`")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FalseAttributesDraw> {
        match super::new_class(&self.becomes, site) {
            Ok(class) => Plan::one(FalseAttributesDraw {
                share: self.share.draw(&mut site.rng()),
                attributes: self.attributes.clone(),
                seed: site.seed(),
                class,
            }),
            Err(why) => Plan::refused(why),
        }
    }

    fn apply(draw: &FalseAttributesDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(text) = &scene.text else { return Ok(()) };
        let words = scene.words();
        let mut rng = SeedTree::at(&draw.seed).rng();
        let edits = text::false_attributes(text, &words, &draw.attributes, draw.share * severity, &mut rng);
        if !edits.is_empty() {
            scene.edit_text(edits)?;
            if let Some(class) = draw.class {
                scene.label = Some(Label::Class(class));
            }
        }
        Ok(())
    }

    fn claim(draw: &FalseAttributesDraw) -> Claim {
        if draw.class.is_some() { Claim::LabelChanged } else { Claim::Mismatched(ModalitySet::TEXT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content, draw};

    #[test]
    fn the_text_turns_and_the_label_with_it() {
        let sample = caption("a small dog");
        let seed = SeedTree::new(1).path().clone();
        let kept = FalseAttributesDraw { share: 1.0, attributes: vec![Attribute::Size], seed, class: None };
        assert_eq!(<FalseAttributes as Effect>::claim(&kept), Claim::Mismatched(ModalitySet::TEXT));
        let child = apply::<FalseAttributes>(&kept, 1.0, &sample);
        assert_eq!(child.text.as_ref().unwrap().content, "a big dog");
        let changed = FalseAttributesDraw { class: Some(2), ..kept };
        assert_eq!(<FalseAttributes as Effect>::claim(&changed), Claim::LabelChanged);
        assert_eq!(apply::<FalseAttributes>(&changed, 1.0, &sample).into_sample(&sample).label, Some(Label::Class(2)));
        assert_eq!(content(&sample), "a small dog");
        assert_eq!(draw(&FalseAttributes::default(), &sample, 1), Plan::refused("nothing_to_contradict"));
    }
}
