//! Numbers in words or digits.

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

/// Writes numbers in words, or number words in digits.
///
/// Method: each drawn number from 0 to 9999 that is sure to count or to order is rewritten; years, decimals, codes and "the one on the left" stay. Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NumberWords {
    /// Share of the numbers at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// How numbers are written.
    pub to: Notation,
}

impl Default for NumberWords {
    fn default() -> Self {
        Self { share: range(0.5, 1.0), to: Notation::default() }
    }
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notation {
    /// `three`, `third`
    #[default]
    Words,
    /// `3`, `3rd`
    Digits,
}

/// What [`NumberWords`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberWordsDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// How numbers are written.
    pub to: Notation,
}

impl Effect for NumberWords {
    const NAME: &'static str = "number_words";
    const EXAMPLE: &'static str = "{ share: [0.5, 1.0], to: words }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = NumberWordsDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<NumberWordsDraw> {
        Plan::one(NumberWordsDraw { noise: ShareDraw::new(self.share, site), to: self.to })
    }

    fn apply(draw: &NumberWordsDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| match draw.to {
            Notation::Words => text::some_edits(text::digits_to_words(text, words), share, rng),
            Notation::Digits => text::some_edits(text::words_to_digits(text, words), share, rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn numbers_are_spelled() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = NumberWordsDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, to: Notation::Words };
            let scene = apply::<NumberWords>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("3 dogs and the 2nd cat", 1.0), "three dogs and the second cat");
    }
}
