//! The small words of English by their office, and where in a phrase a quality stands.

use super::{
    Word,
    words::{is, near},
};

/// Words that begin a noun phrase.
pub(super) const DETERMINERS: [&str; 34] = [
    "a", "an", "the", "this", "that", "these", "those", "its", "his", "her", "their", "my", "your", "our", "one", "some", "several",
    "many", "few", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "another", "each", "every", "no", "both", "any",
];
/// Forms behind which a quality is said of the subject.
pub(super) const LINKING: [&str; 16] =
    ["is", "are", "was", "were", "be", "been", "looks", "look", "seems", "seem", "appears", "appear", "it's", "they're", "isn't", "aren't"];
/// Words that make a quality weaker or stronger.
pub(super) const DEGREES: [&str; 14] =
    ["very", "so", "too", "really", "quite", "rather", "extremely", "pretty", "fairly", "not", "mostly", "all", "completely", "slightly"];
/// Words that end a noun phrase.
pub(super) const FUNCTION: [&str; 84] = [
    "of", "and", "or", "but", "while", "with", "without", "in", "at", "by", "near", "behind", "under", "over", "above", "below", "beside",
    "beneath", "between", "against", "along", "across", "around", "through", "into", "onto", "toward", "towards", "inside", "outside",
    "from", "to", "on", "off", "as", "is", "are", "was", "were", "be", "has", "have", "had", "can", "could", "will", "would", "does", "do",
    "did", "not", "isn't", "aren't", "that", "which", "who", "whose", "where", "when", "because", "then", "than", "for", "next", "up",
    "down", "out", "there", "it", "he", "she", "they", "i", "we", "you", "a", "an", "the", "its", "his", "her", "their", "so", "if",
];
/// Prepositions that tie a thing to a place or to another thing.
pub(super) const PREPOSITIONS: [&str; 30] = [
    "of",
    "with",
    "in",
    "at",
    "by",
    "near",
    "behind",
    "under",
    "over",
    "above",
    "below",
    "beside",
    "beneath",
    "between",
    "against",
    "along",
    "across",
    "around",
    "through",
    "into",
    "onto",
    "toward",
    "towards",
    "inside",
    "outside",
    "from",
    "to",
    "on",
    "next",
    "underneath",
];

/// Whether a quality stands before what it is said of: a word that is no function word follows in the phrase.
pub(super) fn is_attributive(words: &[Word], at: usize) -> bool {
    near(words, at, 1).is_some_and(|after| !FUNCTION.contains(&after) && !DETERMINERS.contains(&after) && !after.ends_with("ly"))
}

/// Whether a quality is said of a subject behind a linking verb and nothing that it could stand before follows.
pub(super) fn is_predicative(words: &[Word], at: usize) -> bool {
    let linked = is(near(words, at, -1), &LINKING) || is(near(words, at, -1), &DEGREES) && is(near(words, at, -2), &LINKING);
    linked && near(words, at, 1).is_none_or(|after| FUNCTION.contains(&after) || after.ends_with("ly"))
}
