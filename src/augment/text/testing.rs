//! What every family of text edits is tested for.

use super::{Edit, Word, apply, words};
use crate::{
    random::SeedTree,
    sample::{Text, TextSpan},
};
use proptest::{prelude::*, test_runner::TestCaseError};
use rand_chacha::ChaCha8Rng;

/// Texts of caption words, digits, punctuation and anything else of Unicode.
pub(super) fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(CAPTION.to_vec()).prop_map(str::to_owned),
        1 => "[0-9]{1,4}(st|nd|rd|th|%)?",
        1 => "[A-Za-z']{1,9}",
        1 => "\\PC{0,6}",
        1 => "[ \t\n\u{a0}\u{301}\u{200d}\u{1f1e9}\u{1f468}\u{1f3fd}\u{df}\u{130}\u{2019},.;:!?\"()-]{1,4}",
    ];
    (prop::collection::vec(piece, 0..14), prop::sample::select(vec![" ", " ", " ", ", ", "-", ""])).prop_map(|(pieces, by)| pieces.join(by))
}

const CAPTION: [&str; 91] = [
    "a",
    "an",
    "the",
    "A",
    "The",
    "There",
    "there",
    "is",
    "are",
    "isn't",
    "not",
    "no",
    "dog",
    "Dogs",
    "car",
    "ball",
    "orange",
    "red",
    "blue",
    "green",
    "black",
    "white",
    "big",
    "small",
    "tiny",
    "huge",
    "little",
    "left",
    "right",
    "on",
    "in",
    "of",
    "and",
    "with",
    "while",
    "near",
    "above",
    "below",
    "top",
    "bottom",
    "up",
    "down",
    "slowly",
    "fast",
    "quickly",
    "loud",
    "dark",
    "one",
    "two",
    "three",
    "twenty",
    "hundred",
    "thousand",
    "five",
    "second",
    "third",
    "do",
    "does",
    "don't",
    "can't",
    "it's",
    "it",
    "they",
    "they're",
    "runs",
    "running",
    "ran",
    "jumps",
    "barks",
    "man",
    "woman",
    "children",
    "people",
    "photo",
    "picture",
    "sound",
    "heard",
    "can",
    "be",
    "seen",
    "lobe",
    "lung",
    "bilateral",
    "left-sided",
    "RUL",
    "opacity",
    "street",
    "old",
    "happy",
    "bigger",
    "without",
];

/// A text with one protected and one tagged word drawn from the seed.
pub(super) fn marked(content: &str, seed: u64) -> Text {
    let all = words(content);
    let mut spans = Vec::new();
    if !all.is_empty() {
        for (tag, at) in [("protected", seed % all.len() as u64), ("entity", (seed >> 20) % all.len() as u64)] {
            let range = all[at as usize].range.clone();
            spans.push(TextSpan { start: range.start, end: range.end, tag: tag.into() });
        }
    }
    Text { content: content.to_owned(), spans }
}

/// Edits can be applied, each changes something, protected words stay, spans fit the new text, and the same seed makes the same edits.
pub(super) fn check(content: &str, make: impl Fn(&Text, &[Word], &mut ChaCha8Rng) -> Vec<Edit>, seed: u64) -> Result<(), TestCaseError> {
    let text = marked(content, seed);
    let all = words(content);
    let edits = make(&text, &all, &mut SeedTree::new(seed).rng());
    prop_assert_eq!(&edits, &make(&text, &all, &mut SeedTree::new(seed).rng()));
    let edited = apply(&text, edits.clone()).map_err(|error| TestCaseError::fail(format!("{error} in {text:?}")))?.text;
    prop_assert!(edits.is_empty() || edited.content != content, "{edits:?} changed nothing");
    let shown = |text: &Text, tag: &str| -> Vec<String> {
        text.spans.iter().filter(|span| span.tag == tag).map(|span| text.content[span.start..span.end].to_owned()).collect()
    };
    prop_assert_eq!(shown(&text, "protected"), shown(&edited, "protected"), "{:?}", edits);
    // A tagged word that no edit reaches reads as before.
    for span in text.spans.iter().filter(|span| span.tag == "entity") {
        if edits.iter().all(|edit| edit.range.end <= span.start || edit.range.start >= span.end) {
            prop_assert_eq!(shown(&text, "entity"), shown(&edited, "entity"), "{:?}", edits);
        }
    }
    Ok(())
}
