//! Spelling errors.

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

/// Spells words as they sound.
///
/// Method: each drawn word is misspelled in one place by a rule of English spelling (`ie` and `ei`, doubled consonants, silent letters, endings and words that sound alike). Spans and word times follow, protected words stay.
///
/// Reference: Ma 2019, "NLP Augmentation" (nlpaug), the same kind of noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Misspell {
    /// Share of the words that a rule can misspell at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for Misspell {
    fn default() -> Self {
        Self { share: range(0.1, 0.4) }
    }
}

impl Effect for Misspell {
    const NAME: &'static str = "misspell";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.4] }";
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
        draw.edit(severity, scene, text::spelling_errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn a_rule_is_applied() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<Misspell>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        let noisy = of("receive", 1.0);
        assert!(noisy != "receive" && !noisy.is_empty(), "{noisy}");
    }
}
