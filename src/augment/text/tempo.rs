//! Which words of a caption speak of how fast a sound goes, and what says the opposite. As with sides, only listed patterns are sure.

use super::{
    Sense, Word,
    sizes::{Form, speed},
};
use std::ops::Range;

/// A word of speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TempoWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// Whether it names the upper end (fast).
    pub fast: bool,
    /// The word at the other end, in lower case; it fits the same article. `None` where there is none.
    pub opposite: Option<&'static str>,
    /// How it is meant.
    pub sense: Sense,
}

/// What goes at a speed that is heard.
const SOUNDS: [&str; 34] = [
    "speech",
    "voice",
    "talk",
    "talker",
    "speaker",
    "reader",
    "words",
    "song",
    "music",
    "melody",
    "tune",
    "rhythm",
    "beat",
    "beats",
    "tempo",
    "drum",
    "drums",
    "drumming",
    "guitar",
    "piano",
    "waltz",
    "march",
    "bell",
    "bells",
    "knock",
    "knocking",
    "ticking",
    "barking",
    "barks",
    "footsteps",
    "steps",
    "clapping",
    "applause",
    "heartbeat",
];
/// What is done at a speed that is heard.
const VERBS: [&str; 48] = [
    "speaks", "speaking", "spoke", "speak", "talks", "talking", "talked", "says", "saying", "said", "reads", "reading", "read", "sings",
    "singing", "sang", "plays", "playing", "played", "barks", "barking", "barked", "rings", "ringing", "rang", "ticks", "ticking", "beats",
    "beating", "knocks", "knocking", "claps", "clapping", "counts", "counting", "drums", "drumming", "chirps", "chirping", "quacks",
    "clicks", "clicking", "taps", "tapping", "tolls", "spoken", "sung", "told",
];

/// Every word of speed, in order; `words` are those of [`super::words`].
pub fn tempo_words(words: &[Word]) -> Vec<TempoWord> {
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let Some((fast, opposite, form)) = speed(&word.lower) else { continue };
        let before = i.checked_sub(1).and_then(|i| words.get(i)).filter(|before| !before.last_of_phrase);
        let after = words.get(i + 1).filter(|_| !word.last_of_phrase);
        let joined = word.hyphen_after || before.is_some_and(|before| before.hyphen_after);
        let next = words.get(i + 2).filter(|_| after.is_some_and(|after| !after.last_of_phrase));
        let [before, after, next] = [before, after, next].map(|word| word.map(|word| word.lower.as_str()));
        let (sense, opposite) =
            if joined || word.quoted { (Sense::Unsure, opposite) } else { sense(&word.lower, opposite, form, [before, after, next]) };
        found.push(TempoWord { range: word.range.clone(), fast, opposite, sense });
    }
    found
}

fn sense(name: &str, opposite: Option<&'static str>, form: Form, around: [Option<&str>; 3]) -> (Sense, Option<&'static str>) {
    let is = |word: Option<&str>, list: &[&str]| word.is_some_and(|word| list.contains(&word));
    let [before, after, next] = around;
    if name == "fast" && is(after, &["asleep", "food", "fashion"]) || name == "slow" && is(after, &["cooker", "food"]) {
        return (Sense::Other, opposite);
    }
    if is(after, &["down", "motion", "forward"]) {
        return (Sense::Unsure, opposite);
    }
    match form {
        // A comparison holds at any speed of the whole scene.
        Form::Relative => (Sense::Other, None),
        // No pattern makes it sure what the other end would be called.
        _ if opposite.is_none() => (Sense::Unsure, opposite),
        Form::Adverb if is(before, &VERBS) || is(after, &VERBS) => (Sense::Scene, opposite),
        Form::Adverb => (Sense::Unsure, opposite),
        _ if is(after, &SOUNDS) || is(next, &SOUNDS) => (Sense::Scene, opposite),
        // "speaks fast" is said of how it is done.
        _ if is(before, &VERBS) && name == "fast" => (Sense::Scene, Some("slowly")),
        _ => (Sense::Unsure, opposite),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::words;

    fn only(text: &str) -> TempoWord {
        let mut found = tempo_words(&words(text));
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }

    #[test]
    fn words_of_the_sound() {
        for (text, fast, opposite) in [
            ("a man speaks quickly", true, "slowly"),
            ("a woman speaks fast", true, "slowly"),
            ("a slow old song", false, "fast"),
            ("Rapid knocking on a door", true, "slow"),
            ("a bell that slowly rings", false, "quickly"),
        ] {
            let word = only(text);
            assert_eq!((word.sense, word.fast, word.opposite), (Sense::Scene, fast, Some(opposite)), "{text}");
        }
        assert!(tempo_words(&words("breakfast at a fastened door")).is_empty());
    }

    #[test]
    fn words_that_mean_something_else() {
        for text in ["a fast food stand", "the dog is fast asleep", "a faster train", "a slow cooker"] {
            assert_eq!(only(text).sense, Sense::Other, "{text}");
        }
        for text in ["a fast car", "slow down", "a slow-moving train", "a hurried voice", "\"quick\" bells"] {
            assert_eq!(only(text).sense, Sense::Unsure, "{text}");
        }
    }
}
