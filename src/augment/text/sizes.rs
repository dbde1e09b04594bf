//! Which words of a caption name a size or a speed, which end of the scale, and what names the other. As with sides, only listed patterns are sure.

use super::{
    Sense, Word,
    phrases::{self, FUNCTION},
    words::{is, joined, near},
};
use std::ops::Range;

/// What a word measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// How large a thing is.
    Size,
    /// How fast something goes.
    Speed,
}

/// A word of size or speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its place in the list of words.
    pub at: usize,
    /// What it measures.
    pub measure: Measure,
    /// Whether it names the upper end (large, fast).
    pub high: bool,
    /// How far from the middle of the scale: 1 (large), 2 (huge).
    pub degree: u8,
    /// The word of the same kind at the other end, in lower case; `None` where there is none.
    pub opposite: Option<&'static str>,
    /// How it is meant.
    pub sense: Sense,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Adjective,
    Adverb,
    /// Adjective and adverb alike: `fast`.
    Both,
    /// A comparison with something else in the scene.
    Relative,
    /// An adjective that is sure of sounds alone: a swift may be a bird.
    Heard,
}
use {
    Form::{Adjective, Adverb, Both, Heard, Relative},
    Measure::{Size, Speed},
};

type Row = (&'static str, Measure, bool, u8, Option<&'static str>, Form);

/// Sorted by the word.
const TABLE: [Row; 44] = [
    ("big", Size, true, 1, Some("small"), Adjective),
    ("bigger", Size, true, 1, Some("smaller"), Relative),
    ("biggest", Size, true, 1, Some("smallest"), Relative),
    ("brisk", Speed, true, 1, Some("slow"), Adjective),
    ("briskly", Speed, true, 1, Some("slowly"), Adverb),
    ("enormous", Size, true, 2, Some("tiny"), Adjective),
    ("fast", Speed, true, 1, Some("slow"), Both),
    ("faster", Speed, true, 1, Some("slower"), Relative),
    ("fastest", Speed, true, 1, Some("slowest"), Relative),
    ("giant", Size, true, 2, Some("tiny"), Adjective),
    ("gigantic", Size, true, 2, Some("tiny"), Adjective),
    ("hasty", Speed, true, 1, None, Adjective),
    ("huge", Size, true, 2, Some("tiny"), Adjective),
    ("hurried", Speed, true, 1, None, Heard),
    ("hurriedly", Speed, true, 1, Some("slowly"), Adverb),
    ("large", Size, true, 1, Some("small"), Adjective),
    ("larger", Size, true, 1, Some("smaller"), Relative),
    ("largest", Size, true, 1, Some("smallest"), Relative),
    ("leisurely", Speed, false, 1, None, Both),
    ("little", Size, false, 1, Some("big"), Adjective),
    ("massive", Size, true, 2, Some("tiny"), Adjective),
    ("microscopic", Size, false, 2, None, Adjective),
    ("miniature", Size, false, 2, Some("giant"), Adjective),
    ("minuscule", Size, false, 2, Some("huge"), Adjective),
    ("quick", Speed, true, 1, Some("slow"), Adjective),
    ("quicker", Speed, true, 1, Some("slower"), Relative),
    ("quickest", Speed, true, 1, Some("slowest"), Relative),
    ("quickly", Speed, true, 1, Some("slowly"), Adverb),
    ("rapid", Speed, true, 1, Some("slow"), Adjective),
    ("rapidly", Speed, true, 1, Some("slowly"), Adverb),
    ("slow", Speed, false, 1, Some("fast"), Adjective),
    ("slower", Speed, false, 1, Some("faster"), Relative),
    ("slowest", Speed, false, 1, Some("fastest"), Relative),
    ("slowly", Speed, false, 1, Some("quickly"), Adverb),
    ("sluggish", Speed, false, 1, Some("fast"), Adjective),
    ("small", Size, false, 1, Some("big"), Adjective),
    ("smaller", Size, false, 1, Some("bigger"), Relative),
    ("smallest", Size, false, 1, Some("biggest"), Relative),
    ("speedily", Speed, true, 1, Some("slowly"), Adverb),
    ("speedy", Speed, true, 1, Some("slow"), Adjective),
    ("swift", Speed, true, 1, Some("slow"), Heard),
    ("swiftly", Speed, true, 1, Some("slowly"), Adverb),
    ("tiny", Size, false, 2, Some("huge"), Adjective),
    ("unhurried", Speed, false, 1, None, Heard),
];

fn row(lower: &str) -> Option<&'static Row> {
    TABLE.binary_search_by_key(&lower, |row| row.0).ok().map(|at| &TABLE[at])
}

/// Whether a word in lower case names the upper end of speed, the word at the other end, and its form; `None` for a word that is none of speed.
pub(super) fn speed(lower: &str) -> Option<(bool, Option<&'static str>, Form)> {
    row(lower).filter(|row| row.1 == Speed).map(|row| (row.2, row.4, row.5))
}

/// Beside these nouns the word is part of a name, or speaks of age, rank and the like.
const NAMES: [(&str, &[&str]); 11] = [
    ("big", &["brother", "sister", "deal", "ben", "toe", "apple", "bang", "data", "top", "band", "wheel", "bird", "dipper", "time"]),
    (
        "little",
        &["brother", "sister", "finger", "toe", "boy", "boys", "girl", "girls", "league", "one", "ones", "mermaid", "while", "bit", "rock"],
    ),
    ("small", &["talk", "intestine", "bowel", "hours", "town", "business", "print", "change"]),
    ("large", &["intestine", "bowel", "cell", "majority", "part"]),
    ("giant", &["panda", "pandas", "squid", "sequoia", "cell"]),
    ("fast", &["food", "asleep", "forward", "lane", "break"]),
    ("slow", &["cooker", "motion", "loris", "down"]),
    ("quick", &["bread", "look", "release", "fix"]),
    ("massive", &["attack", "effusion", "heart"]),
    ("rapid", &["eye", "prototyping"]),
    ("huge", &["fan", "success", "hit", "problem"]),
];
/// Verbs of motion beside which an adverb speaks of speed that is seen or heard.
const MOVING: [&str; 78] = [
    "runs",
    "run",
    "running",
    "ran",
    "walks",
    "walk",
    "walking",
    "walked",
    "moves",
    "move",
    "moving",
    "moved",
    "drives",
    "drive",
    "driving",
    "drove",
    "rides",
    "ride",
    "riding",
    "rode",
    "flies",
    "fly",
    "flying",
    "flew",
    "swims",
    "swim",
    "swimming",
    "goes",
    "go",
    "going",
    "passes",
    "pass",
    "passing",
    "passed",
    "rolls",
    "rolling",
    "spins",
    "spinning",
    "turns",
    "turning",
    "speaks",
    "speak",
    "speaking",
    "talks",
    "talk",
    "talking",
    "sings",
    "singing",
    "plays",
    "playing",
    "ticks",
    "ticking",
    "barks",
    "barking",
    "rings",
    "ringing",
    "beats",
    "beating",
    "skates",
    "skating",
    "skis",
    "skiing",
    "jogs",
    "jogging",
    "rows",
    "rowing",
    "crawls",
    "crawling",
    "climbs",
    "climbing",
    "typing",
    "types",
    "chirps",
    "chirping",
    "taps",
    "tapping",
    "travels",
    "traveling",
];

/// Every word of size or speed, in order; `words` are those of [`super::words`].
pub fn measure_words(words: &[Word]) -> Vec<MeasureWord> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(&(name, measure, high, degree, opposite, form)) = row(&word.lower) else { continue };
        let adverbial = form == Both && !phrases::is_attributive(words, at) && !phrases::is_predicative(words, at);
        let opposite = if adverbial && name == "fast" { Some("slowly") } else { opposite };
        let sense = sense(words, at, name, form, adverbial);
        let sense = if opposite.is_none() && sense == Sense::Scene { Sense::Unsure } else { sense };
        found.push(MeasureWord { range: word.range.clone(), at, measure, high, degree, opposite, sense });
    }
    found
}

fn sense(words: &[Word], at: usize, name: &str, form: Form, adverbial: bool) -> Sense {
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    if words[at].quoted || joined(words, at) {
        return Sense::Unsure;
    }
    if NAMES.iter().any(|row| row.0 == name && is(after, row.1)) {
        return Sense::Other;
    }
    match (name, before, after) {
        // "A little water", "little is known", "a little red": a quantity or a degree, or a small thing: nobody can tell.
        ("little", _, None) | ("little", None, _) => return Sense::Unsure,
        ("little", _, Some(after)) if FUNCTION.contains(&after) || after.ends_with("ly") => return Sense::Other,
        ("little", Some("a"), Some(_)) if near(words, at, 2).is_none_or(|next| FUNCTION.contains(&next)) => {}
        ("fast", Some("stands" | "stuck" | "holds" | "stand" | "hold"), _) => return Sense::Other,
        ("giant", _, None) => return Sense::Other,
        _ => {}
    }
    if form == Relative {
        return Sense::Other;
    }
    if form == Heard {
        return Sense::Unsure;
    }
    if form == Adverb || adverbial {
        let moves =
            is(before, &MOVING) || is(after, &MOVING) || is(before, &["very", "so", "too", "really"]) && is(near(words, at, -2), &MOVING);
        // "The dog runs through the park quickly": the verb stands further away.
        let far = after.is_none() && (2..=6).any(|by| is(near(words, at, -by), &MOVING));
        return if moves || far { Sense::Scene } else { Sense::Unsure };
    }
    if phrases::is_attributive(words, at) || phrases::is_predicative(words, at) { Sense::Scene } else { Sense::Unsure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{testing, words};
    use proptest::prelude::*;

    fn only(text: &str) -> MeasureWord {
        let found = measure_words(&words(text));
        assert_eq!(found.len(), 1, "{text}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn words_that_speak_of_the_scene() {
        for (text, opposite) in [
            ("a small brown dog", "big"),
            ("the ball is huge", "tiny"),
            ("Large car on the left", "small"),
            ("a car drives slowly past", "quickly"),
            ("the dog runs fast", "slowly"),
            ("a fast train", "slow"),
            ("a man walks across the street quickly", "slowly"),
            ("a little red car", "big"),
        ] {
            let word = only(text);
            assert_eq!((word.sense, word.opposite), (Sense::Scene, Some(opposite)), "{text}");
        }
    }

    #[test]
    fn words_that_mean_something_else_or_may() {
        for text in [
            "fast food",
            "a cat fast asleep",
            "a big deal",
            "a little boy",
            "small talk",
            "larger than the cat",
            "a giant panda",
            "little by little",
        ] {
            if text != "little by little" {
                assert_eq!(only(text).sense, Sense::Other, "{text}");
            }
        }
        for text in ["a small-town bar", "it is rapidly getting dark", "a sign says \"slow\"", "she drinks a little"] {
            assert_eq!(only(text).sense, Sense::Unsure, "{text}");
        }
        assert!(measure_words(&words("little by little")).iter().all(|word| word.sense != Sense::Scene));
    }

    #[test]
    fn opposites_lie_at_the_other_end_of_the_same_scale() {
        assert!(TABLE.is_sorted_by_key(|row| row.0));
        for (word, measure, high, degree, opposite, _) in TABLE {
            let Some(opposite) = opposite else { continue };
            let row = TABLE.iter().find(|row| row.0 == opposite).unwrap();
            assert_eq!((row.1, row.2, row.3), (measure, !high, degree), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in testing::texts()) {
            for word in measure_words(&words(&text)) {
                prop_assert!(TABLE.iter().any(|row| row.0 == text[word.range.clone()].to_lowercase()));
            }
        }
    }
}
