//! Words in the wrong order.

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

/// Lets neighbouring words change places.
///
/// Method: each drawn pair of unlike neighbours changes places; no word moves twice, and a span keeps its words. Spans and word times follow, protected words stay.
///
/// Reference: Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwapWords {
    /// Share of the pairs of words at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
}

impl Default for SwapWords {
    fn default() -> Self {
        Self { share: range(0.1, 0.3) }
    }
}

impl Effect for SwapWords {
    const NAME: &'static str = "swap_words";
    const EXAMPLE: &'static str = "{ share: [0.1, 0.3] }";
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
        draw.edit(severity, scene, text::swap_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn words_change_places() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ShareDraw { share: 1.0, seed: seed.clone() };
            let scene = apply::<SwapWords>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("red dog", 1.0), "dog red");
    }
}
