//! Other names.

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
use std::collections::BTreeMap;

/// Gives tagged entities another name of their type.
///
/// Method: each drawn span whose tag has names becomes one of them and keeps its tag; two entities of a tag stay two. Names come from `names`, by tag, else from built-in lists of uncommon persons (`PER`), places (`LOC`, `GPE`) and organizations (`ORG`). Spans and word times follow, protected words stay.
///
/// Reference: Dai and Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition" (mention replacement).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwapEntities {
    /// Share of the entities at severity 1, drawn from this range, 0..=1; at least one for a share above 0.
    pub share: Range,
    /// Names by tag; those of a tag that stands here are used instead of the built-in ones.
    pub names: BTreeMap<String, Vec<String>>,
}

impl Default for SwapEntities {
    fn default() -> Self {
        Self { share: range(0.5, 1.0), names: BTreeMap::new() }
    }
}

/// The names for the tags of a text, so that the draw can be applied without the config.
fn used(names: &BTreeMap<String, Vec<String>>, scene: &Scene) -> BTreeMap<String, Vec<String>> {
    let tags = scene.text.iter().flat_map(|text| &text.spans).map(|span| &span.tag);
    let of = |tag: &String| names.get(tag).cloned().unwrap_or_else(|| text::names_for(tag).iter().map(|name| (*name).to_owned()).collect());
    tags.map(|tag| (tag.clone(), of(tag))).collect()
}

/// What [`SwapEntities`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapEntitiesDraw {
    /// Which places.
    pub noise: ShareDraw,
    /// The names that may be given, by tag.
    pub names: BTreeMap<String, Vec<String>>,
}

impl Effect for SwapEntities {
    const NAME: &'static str = "swap_entities";
    const EXAMPLE: &'static str = "{ names: { PER: [Ann Example, Bo Test] } }";
    const CHANGES: ModalitySet = ModalitySet::TEXT;
    type Draw = SwapEntitiesDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SwapEntitiesDraw> {
        Plan::one(SwapEntitiesDraw { noise: ShareDraw::new(self.share, site), names: used(&self.names, site.scene) })
    }

    fn apply(draw: &SwapEntitiesDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.noise.edit(severity, scene, |text, words, share, rng| {
            text::swap_entities(
                text,
                words,
                |tag| draw.names.get(tag).map(|names| names.iter().map(String::as_str).collect()).unwrap_or_default(),
                share,
                rng,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, caption, content};

    #[test]
    fn a_text_without_entities_stays() {
        let seed = crate::random::SeedTree::new(1).path().clone();
        let of = |text: &str, severity: f64| {
            let sample = caption(text);
            let draw = SwapEntitiesDraw { noise: ShareDraw { share: 1.0, seed: seed.clone() }, names: BTreeMap::new() };
            let scene = apply::<SwapEntities>(&draw, severity, &sample);
            content(&scene.into_sample(&sample)).to_owned()
        };
        assert_eq!(of("Anna sleeps", 1.0), "Anna sleeps");
        let span = crate::sample::TextSpan { start: 0, end: 4, tag: "PER".into() };
        let text = crate::sample::Text { content: "Anna sleeps".into(), spans: vec![span] };
        let sample = crate::sample::Sample { text: Some(crate::sample::Media::new(text)), ..caption("") };
        let Plan::Fires(draws) = crate::transform::testing::draw(&SwapEntities::default(), &sample, 1) else { panic!("fires") };
        let named = apply::<SwapEntities>(&draws[0], 1.0, &sample).text.unwrap();
        assert!(text::names_for("PER").contains(&&named.content[named.spans[0].start..named.spans[0].end]), "{named:?}");
    }
}
