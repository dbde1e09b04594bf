//! Another case.

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

/// Writes words in another case.
///
/// Method: each drawn word that is not in the case yet is put into it; `letters` draws letters and changes the case of each. Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeCase {
    /// Share of the words, or letters, at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// Which case.
    pub case: Lettering,
}

impl Default for ChangeCase {
    fn default() -> Self {
        Self { share: range(0.3, 1.0), case: Lettering::default() }
    }
}

/// Which case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lettering {
    /// Small letters.
    #[default]
    Lower,
    /// Capitals.
    Upper,
    /// A capital and small letters.
    Title,
    /// Capitals and small letters exchanged.
    Inverted,
    /// Letter by letter: `rAndOm`.
    Letters,
}

/// What [`ChangeCase`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeCaseDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// Which case.
    pub case: Lettering,
}

impl Effect for ChangeCase {
    const NAME: &'static str = "change_case";
    const EXAMPLE: &'static str = "{ share: [0.3, 1.0], case: upper }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = ChangeCaseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ChangeCaseDraw> {
        Plan::one(ChangeCaseDraw { noise: ShareDraw::new(self.share, site), case: self.case })
    }

    fn apply(draw: &ChangeCaseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| match draw.case {
            Lettering::Lower => text::change_case(text, words, text::Case::Lower, share, rng),
            Lettering::Upper => text::change_case(text, words, text::Case::Upper, share, rng),
            Lettering::Title => text::change_case(text, words, text::Case::Title, share, rng),
            Lettering::Inverted => text::change_case(text, words, text::Case::Inverted, share, rng),
            Lettering::Letters => text::random_case(text, words, share, rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn the_case_changes() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ChangeCaseDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, case: Lettering::Upper };
            let scene = apply::<ChangeCase>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("A Red dog", 1.0), "A RED DOG");
    }
}
