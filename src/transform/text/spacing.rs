//! Other blanks.

use super::ShareDraw;
use crate::{
    augment::text,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parts words, joins them, or doubles blanks.
///
/// Method: each drawn word of at least four characters gets a blank, or each drawn blank between two words goes or is doubled. Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spacing {
    /// Share of the words, or blanks, at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// What happens to the blanks.
    pub what: Blanks,
}

impl Default for Spacing {
    fn default() -> Self {
        Self { share: range(0.1, 0.4), what: Blanks::default() }
    }
}

/// What happens to the blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blanks {
    /// A blank comes into words.
    #[default]
    Split,
    /// Blanks between words go.
    Merge,
    /// Blanks between words are doubled.
    Double,
}

/// What [`Spacing`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacingDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// What happens to the blanks.
    pub what: Blanks,
}

impl Effect for Spacing {
    const NAME: &'static str = "spacing";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.4], what: merge }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = SpacingDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SpacingDraw> {
        Plan::one(SpacingDraw { noise: ShareDraw::new(self.share, site), what: self.what })
    }

    fn apply(draw: &SpacingDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| match draw.what {
            Blanks::Split => text::split_words(text, words, share, rng),
            Blanks::Merge => text::merge_words(text, words, share, rng),
            Blanks::Double => text::double_blanks(text, words, share, rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn words_join() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = SpacingDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, what: Blanks::Merge };
            let scene = apply::<Spacing>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("a red dog", 1.0), "areddog");
    }
}
