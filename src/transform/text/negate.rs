//! A statement turned round.

use crate::{
    augment::text,
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::{Claim, Label, ModalitySet},
    transform::{Effect, Plan, Scene, Site, With},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Turns a statement round: what the caption says is there is said not to be, or the other way round.
///
/// Method: one drawn place is changed: "there is a" and "there is no", "is" and "is not" (also `can`, `will`, contractions), "with a" and "without a". Questions, relative clauses, quoted and protected words stay. With `becomes` the label changes as that table says, and a class that does not stand there is refused (`label_without_opposite`); without it the
/// child is a labelled negative whose text does not belong to its other media any more, and a sample of text alone is refused (`nothing_to_contradict`).
///
/// Reference: Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList" (negation).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Negate {
    /// Class names and what they become, such as `entailment: contradiction`; empty for a labelled negative.
    pub becomes: BTreeMap<String, String>,
}

/// What [`Negate`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegateDraw {
    /// Address of the random numbers.
    pub seed: SeedPath,
    /// The new class; none for a labelled negative.
    pub class: Option<usize>,
}

impl Effect for Negate {
    const NAME: &'static str = "negate";
    const EXAMPLE: &'static str = "{}";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    const SCALES: bool = false;
    type Draw = NegateDraw;

    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<NegateDraw> {
        match super::new_class(&self.becomes, site) {
            Ok(class) => Plan::one(NegateDraw { seed: site.seed(), class }),
            Err(why) => Plan::refused(why),
        }
    }

    fn apply(draw: &NegateDraw, _severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(text) = &scene.text else { return Ok(()) };
        let words = scene.words();
        let mut rng = SeedTree::at(&draw.seed).rng();
        let edits = text::negate(text, &words, &mut rng).unwrap_or_default();
        if !edits.is_empty() {
            scene.edit_text(edits)?;
            if let Some(class) = draw.class {
                scene.label = Some(Label::Class(class));
            }
        }
        Ok(())
    }

    fn claim(draw: &NegateDraw) -> Claim {
        if draw.class.is_some() { Claim::LabelChanged } else { Claim::Mismatched(ModalitySet::TEXT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content, draw};

    #[test]
    fn the_text_turns_and_the_label_with_it() {
        let sample = caption("There is a dog");
        let seed = SeedTree::new(1).path().clone();
        let kept = NegateDraw { seed, class: None };
        assert_eq!(<Negate as Effect>::claim(&kept), Claim::Mismatched(ModalitySet::TEXT));
        let child = apply::<Negate>(&kept, 1.0, &sample);
        assert_eq!(child.text.as_ref().unwrap().content, "There is no dog");
        let changed = NegateDraw { class: Some(2), ..kept };
        assert_eq!(<Negate as Effect>::claim(&changed), Claim::LabelChanged);
        assert_eq!(apply::<Negate>(&changed, 1.0, &sample).into_sample(&sample).label, Some(Label::Class(2)));
        assert_eq!(content(&sample), "There is a dog");
        assert_eq!(draw(&Negate::default(), &sample, 1), Plan::refused("nothing_to_contradict"));
    }
}
