//! Transforms of the text alone; spans and word times follow.

pub mod change_case;
pub mod contractions;
pub mod delete_characters;
pub mod drop_words;
pub mod false_attributes;
pub mod homoglyphs;
pub mod insert_characters;
pub mod keyboard_typos;
pub mod mask_words;
pub mod misspell;
pub mod negate;
pub mod number_words;
pub mod ocr_errors;
pub mod paraphrase;
pub mod punctuation;
pub mod repeat_words;
pub mod spacing;
pub mod swap_characters;
pub mod swap_entities;
pub mod swap_words;
pub mod synonyms;

use super::{Scene, Site, Transform};
use crate::{
    augment::text::{Edit, Word},
    operator::Table,
    random::{SeedPath, SeedTree},
    sample::Text,
    units::Range,
};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Adds the transforms of the text.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
        .with::<change_case::ChangeCase>()
        .with::<contractions::Contractions>()
        .with::<delete_characters::DeleteCharacters>()
        .with::<drop_words::DropWords>()
        .with::<false_attributes::FalseAttributes>()
        .with::<homoglyphs::Homoglyphs>()
        .with::<insert_characters::InsertCharacters>()
        .with::<keyboard_typos::KeyboardTypos>()
        .with::<mask_words::MaskWords>()
        .with::<misspell::Misspell>()
        .with::<negate::Negate>()
        .with::<number_words::NumberWords>()
        .with::<ocr_errors::OcrErrors>()
        .with::<paraphrase::Paraphrase>()
        .with::<punctuation::Punctuation>()
        .with::<repeat_words::RepeatWords>()
        .with::<spacing::Spacing>()
        .with::<swap_characters::SwapCharacters>()
        .with::<swap_entities::SwapEntities>()
        .with::<swap_words::SwapWords>()
        .with::<synonyms::Synonyms>()
}

/// A share of the places of a text and the address of the random numbers that order them: a greater share holds every smaller one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareDraw {
    /// Share of the places at severity 1.
    pub share: f64,
    /// Address of the random numbers.
    pub seed: SeedPath,
}

impl ShareDraw {
    fn new(share: Range, site: &Site<'_>) -> Self {
        Self { share: share.draw(&mut site.rng()), seed: site.seed() }
    }

    /// Edits the caption at a share that the severity scales.
    fn edit(
        &self,
        severity: f64,
        scene: &mut Scene,
        make: impl FnOnce(&Text, &[Word], f64, &mut ChaCha8Rng) -> Vec<Edit>,
    ) -> Result<(), String> {
        let Some(text) = &scene.text else { return Ok(()) };
        let edits = make(text, &scene.words(), self.share * severity, &mut SeedTree::at(&self.seed).rng());
        scene.edit_text(edits)
    }
}

/// The class that a table of class names makes of a sample's; none for an empty table, which makes a labelled negative of a sample with other media.
fn new_class(becomes: &BTreeMap<String, String>, site: &Site<'_>) -> Result<Option<usize>, &'static str> {
    if becomes.is_empty() {
        let other = site.scene.image.is_some() || site.scene.audio.is_some();
        return if other { Ok(None) } else { Err("nothing_to_contradict") };
    }
    let other = site.class_name.and_then(|name| becomes.get(name)).ok_or("label_without_opposite")?;
    site.classes.index(other).map(Some).ok_or("label_without_opposite")
}
