//! Contractions.

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

/// Contracts words, or writes contractions out.
///
/// Method: each drawn pair becomes its contraction (`it is`, `do not`) or the other way round; only those whose long form is sure. Spans and word times follow, protected words stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contractions {
    /// Share of the places at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// Which form is written.
    pub to: Length,
}

impl Default for Contractions {
    fn default() -> Self {
        Self { share: range(0.5, 1.0), to: Length::default() }
    }
}

/// Which form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// `it's`
    #[default]
    Short,
    /// `it is`
    Long,
}

/// What [`Contractions`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractionsDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// Which form is written.
    pub to: Length,
}

impl Effect for Contractions {
    const NAME: &'static str = "contractions";
    const EXAMPLE: &'static str = "{ share: [0.5, 1.0], to: short }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = ContractionsDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ContractionsDraw> {
        Plan::one(ContractionsDraw { noise: ShareDraw::new(self.share, site), to: self.to })
    }

    fn apply(draw: &ContractionsDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| match draw.to {
            Length::Short => text::some_edits(text::contract(text, words), share, rng),
            Length::Long => text::some_edits(text::expand_contractions(text, words), share, rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn words_contract() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = ContractionsDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, to: Length::Short };
            let scene = apply::<Contractions>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("It is a dog and they do not bark", 1.0), "It's a dog and they don't bark");
    }
}
