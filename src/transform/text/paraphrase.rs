//! The same in other words.

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

/// Says the same with other phrases.
///
/// Method: each drawn place is rewritten: phrases of one meaning ("next to", "beside"), a frame before a caption of a picture ("a picture of"), and "A while B" becomes "B while A". Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Paraphrase {
    /// Share of the places at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// Whether a frame such as "a picture of" may come before it; only where the sample has a picture.
    pub frames: bool,
}

impl Default for Paraphrase {
    fn default() -> Self {
        Self { share: range(0.3, 1.0), frames: true }
    }
}

/// What [`Paraphrase`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParaphraseDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// Whether a frame may come.
    pub frames: bool,
}

impl Effect for Paraphrase {
    const NAME: &'static str = "paraphrase";
    const EXAMPLE: &'static str = "{ share: [0.3, 1], frames: true }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = ParaphraseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ParaphraseDraw> {
        Plan::one(ParaphraseDraw { noise: ShareDraw::new(self.share, site), frames: self.frames && site.scene.image.is_some() })
    }

    fn apply(draw: &ParaphraseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| text::paraphrase(text, words, share, draw.frames, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn phrases_change() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ParaphraseDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, frames: false };
            let scene = apply::<Paraphrase>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        let noisy = of("a dog next to a cat", 1.0);
        assert!(noisy == "a dog beside a cat" || noisy == "a dog alongside a cat", "{noisy}");
    }
}
