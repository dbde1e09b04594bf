//! Text: words with their byte ranges, edits that keep case and move spans, noise in characters and words, edits that keep or change the meaning
//! and say so, and the senses of the words that follow a change of picture or sound. Pure functions on [`Text`](crate::sample::Text); English.
//!
//! An operator makes [`Edit`]s and [`apply`] is the one door through which they reach a text, so that spans, tags and word times follow.
//! No edit touches a span tagged `protected`, and every edit that is returned changes the text.

mod attributes;
mod characters;
mod colours;
mod contractions;
mod draw;
mod edit;
mod entities;
mod heights;
mod inflect;
mod laterality;
mod levels;
mod lexicon;
mod mentions;
mod negation;
mod numbers;
mod order;
mod paraphrase;
mod phrases;
mod sides;
mod sizes;
mod spelling;
mod surface;
mod synonyms;
mod tempo;
#[cfg(test)]
mod testing;
mod words;

pub use attributes::{Attribute, false_attributes};
pub use characters::{confuse_ocr, delete_characters, homoglyphs, insert_characters, keyboard_typos, swap_characters};
pub use colours::{ColourWord, colour_words, hue_name, rotated_colour};
pub use contractions::{contract, expand_contractions};
pub use draw::{share_of, some_edits};
pub(crate) use edit::is_protected;
pub use edit::{Edit, Edited, apply, drop_words, mask_words, match_case, move_words};
pub use entities::{names_for, swap_entities};
pub use heights::{HeightWord, height_words, turn_edits, vertical_edits};
pub use inflect::{article, replace_word};
pub use laterality::{is_report, mirror_report};
pub use levels::{LevelWord, Scale, level_words};
pub use mentions::{add_mention, mentions, remove_mention};
pub use negation::{negate, negations};
pub use numbers::{NumberWord, digits_to_words, number_mentions, number_words, ordinal_digits, ordinal_words, words_to_digits};
pub use order::{drop_some, mask_some, repeat_words, some_words, swap_words};
pub use paraphrase::paraphrase;
pub use sides::{SideWord, side_words};
pub use sizes::{Measure, MeasureWord, measure_words};
pub use spelling::spelling_errors;
pub use surface::{
    Case, add_punctuation, change_case, double_blanks, drop_punctuation, merge_words, random_case, repeat_punctuation, split_words,
};
pub use synonyms::{every_synonym, synonyms};
pub use tempo::{TempoWord, tempo_words};
pub use words::{Sense, Word, words};
