//! Characters too few.

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

/// Leaves characters out.
///
/// Method: each drawn character goes; a word keeps its first one. Spans and word times follow, protected words stay.
///
/// Reference: Belinkov and Bisk 2018, "Synthetic and Natural Noise Both Break Neural Machine Translation".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteCharacters {
    /// Share of the characters that may go at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for DeleteCharacters {
    fn default() -> Self {
        Self { share: range(0.03, 0.1) }
    }
}

impl Effect for DeleteCharacters {
    const NAME: &'static str = "delete_characters";
    const EXAMPLE: &'static str = "{ share: [0.03, 0.1] }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = ShareDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ShareDraw> {
        Plan::one(ShareDraw::new(self.share, site))
    }

    fn magnitude(draw: &ShareDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.share * severity, "of the characters"))
    }

    fn apply(draw: &ShareDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.edit(severity, scene, text::delete_characters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn letters_go() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<DeleteCharacters>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("a red dog", 1.0), "a r d");
    }
}
