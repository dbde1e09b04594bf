//! Slips on the keyboard.

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

/// Hits the wrong key now and then.
///
/// Method: each drawn character is replaced by one of the keys that touch its own on a US keyboard, in its case. Spans and word times follow, protected words stay.
///
/// Reference: Belinkov and Bisk 2018, "Synthetic and Natural Noise Both Break Neural Machine Translation".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyboardTypos {
    /// Share of the characters at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for KeyboardTypos {
    fn default() -> Self {
        Self { share: range(0.03, 0.1) }
    }
}

impl Effect for KeyboardTypos {
    const NAME: &'static str = "keyboard_typos";
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
        draw.edit(severity, scene, text::keyboard_typos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn a_neighbour_is_hit() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<KeyboardTypos>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        let noisy = of("qq", 1.0);
        assert!(noisy != "qq" && noisy.chars().all(|c| "w12a".contains(c)), "{noisy}");
    }
}
