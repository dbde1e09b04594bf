//! Masked words.

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

/// Hides words behind a mask.
///
/// Method: each drawn word is replaced by `mask`. Spans and word times follow, protected words stay.
///
/// Reference: Devlin et al. 2019, "BERT" (masked language model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaskWords {
    /// Share of the words at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// What stands for a word; not blank.
    pub mask: String,
}

impl Default for MaskWords {
    fn default() -> Self {
        Self { share: range(0.1, 0.3), mask: "[MASK]".into() }
    }
}

/// What [`MaskWords`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskWordsDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// The mask.
    pub mask: String,
}

impl Effect for MaskWords {
    const NAME: &'static str = "mask_words";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.3], mask: \"[MASK]\" }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = MaskWordsDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("share", self.share, 0.0..=1.0, "a share")
            .that(!self.mask.trim().is_empty(), "mask", "the mask is blank; write a visible one such as `[MASK]`")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<MaskWordsDraw> {
        Plan::one(MaskWordsDraw { noise: ShareDraw::new(self.share, site), mask: self.mask.clone() })
    }

    fn apply(draw: &MaskWordsDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| text::mask_some(text, words, share, &draw.mask, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn the_mask_stands() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = MaskWordsDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, mask: "[MASK]".into() };
            let scene = apply::<MaskWords>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("The dog.", 1.0), "[MASK] [MASK].");
    }
}
