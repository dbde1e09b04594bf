//! Other punctuation.

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

/// Leaves punctuation out, adds it or repeats it.
///
/// Method: each drawn mark goes (a hyphen leaves a blank) or is written two or three times; added marks come behind drawn words. Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Punctuation {
    /// Share of the marks, or words, at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// What happens to the marks.
    pub what: Marks,
}

impl Default for Punctuation {
    fn default() -> Self {
        Self { share: range(0.2, 0.8), what: Marks::default() }
    }
}

/// What happens to the marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Marks {
    /// Marks go.
    #[default]
    Drop,
    /// Marks come where none belong.
    Add,
    /// Marks are written several times.
    Repeat,
}

/// What [`Punctuation`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PunctuationDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// What happens to the marks.
    pub what: Marks,
}

impl Effect for Punctuation {
    const NAME: &'static str = "punctuation";
    const EXAMPLE: &'static str = "{ share: [0.2, 0.8], what: drop }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = PunctuationDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PunctuationDraw> {
        Plan::one(PunctuationDraw { noise: ShareDraw::new(self.share, site), what: self.what })
    }

    fn apply(draw: &PunctuationDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| match draw.what {
            Marks::Drop => text::drop_punctuation(text, words, share, rng),
            Marks::Add => text::add_punctuation(text, words, share, rng),
            Marks::Repeat => text::repeat_punctuation(text, words, share, rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn marks_go() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = PunctuationDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, what: Marks::Drop };
            let scene = apply::<Punctuation>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("A dog, a cat!", 1.0), "A dog a cat");
    }
}
