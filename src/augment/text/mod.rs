//! Text: words with their byte ranges, edits that keep case and move spans, and the senses of the words that speak of sides, loudness,
//! light and speed. Pure functions on [`Text`](crate::sample::Text); English.

mod edit;
mod levels;
mod sides;
mod tempo;
mod words;

pub(crate) use edit::is_protected;
pub use edit::{Edit, Edited, apply, drop_words, mask_words, match_case, move_words};
pub use levels::{LevelWord, Scale, level_words};
pub use sides::{SideWord, side_words};
pub use tempo::{TempoWord, tempo_words};
pub use words::{Sense, Word, words};
