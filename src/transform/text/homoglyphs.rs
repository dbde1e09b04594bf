//! Letters of other alphabets.

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

/// Writes letters with look-alikes from other alphabets.
///
/// Method: each drawn letter becomes a Cyrillic, Greek or other letter of the same shape. Spans and word times follow, protected words stay.
///
/// Reference: Boucher et al. 2022, "Bad Characters: Imperceptible NLP Attacks".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Homoglyphs {
    /// Share of the letters at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for Homoglyphs {
    fn default() -> Self {
        Self { share: range(0.05, 0.2) }
    }
}

impl Effect for Homoglyphs {
    const NAME: &'static str = "homoglyphs";
    const EXAMPLE: &'static str = "{ share: [0.05, 0.2] }";
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
        draw.edit(severity, scene, text::homoglyphs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn letters_look_the_same() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<Homoglyphs>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        let noisy = of("peace", 1.0);
        assert!(noisy != "peace" && noisy.chars().count() == 5, "{noisy}");
    }
}
