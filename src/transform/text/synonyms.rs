//! Other words of the same meaning.

use super::ShareDraw;
use crate::{
    augment::text,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts other words of the same meaning.
///
/// Method: each drawn word of a built-in list of more than a thousand English forms becomes another of its set, in its form and case, where its place in the phrase settles its part of speech; articles are refitted. Names, quoted and hyphenated words stay. Spans and word times follow, protected words stay.
///
/// Reference: Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Synonyms {
    /// Share of the words that have a synonym at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for Synonyms {
    fn default() -> Self {
        Self { share: range(0.2, 0.6) }
    }
}

impl Effect for Synonyms {
    const NAME: &'static str = "synonyms";
    const EXAMPLE: &'static str = "{ share: [0.2, 0.6] }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = ShareDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ShareDraw> {
        Plan::one(ShareDraw::new(self.share, site))
    }

    fn magnitude(draw: &ShareDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.share * severity, "of the words"))
    }

    fn apply(draw: &ShareDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.edit(severity, scene, text::synonyms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn the_form_and_the_article_fit() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<Synonyms>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("A car on the street.", 1.0), "An automobile on the road.");
    }
}
