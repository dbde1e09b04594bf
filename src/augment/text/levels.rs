//! Which words of a caption speak of loudness and light, which end of the scale they name and what names the other. As with sides, only listed
//! patterns are sure.

use super::{Sense, Word, words::is};
use std::ops::Range;

/// What a level word measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// How loud the sound is.
    Loudness,
    /// How much light the picture has.
    Light,
}

/// A word of loudness or light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// What it measures.
    pub scale: Scale,
    /// Whether it names the upper end (loud, bright).
    pub high: bool,
    /// The word of the same kind at the other end, in lower case; it fits the same article. `None` where there is none.
    pub opposite: Option<&'static str>,
    /// How it is meant.
    pub sense: Sense,
    /// It is said of a place and not of a thing that sounds: "a quiet street".
    pub of_place: bool,
}

/// How a form is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Adjective,
    Adverb,
    /// A comparison: it holds at any level of the whole scene.
    Relative,
    /// No pattern makes it sure.
    Never,
}

type Row = (&'static str, Scale, bool, Option<&'static str>, Form);
use {
    Form::{Adjective, Adverb, Never, Relative},
    Scale::{Light, Loudness},
};

const TABLE: [Row; 31] = [
    ("loud", Loudness, true, Some("quiet"), Adjective),
    ("louder", Loudness, true, None, Relative),
    ("loudest", Loudness, true, None, Relative),
    ("loudly", Loudness, true, Some("quietly"), Adverb),
    ("quiet", Loudness, false, Some("loud"), Adjective),
    ("quieter", Loudness, false, None, Relative),
    ("quietest", Loudness, false, None, Relative),
    ("quietly", Loudness, false, Some("loudly"), Adverb),
    ("noisy", Loudness, true, Some("quiet"), Adjective),
    ("noisily", Loudness, true, Some("quietly"), Adverb),
    ("deafening", Loudness, true, Some("quiet"), Adjective),
    ("hushed", Loudness, false, Some("loud"), Adjective),
    ("softly", Loudness, false, Some("loudly"), Adverb),
    ("faint", Loudness, false, None, Never),
    ("faintly", Loudness, false, None, Never),
    ("silent", Loudness, false, None, Never),
    ("silence", Loudness, false, None, Never),
    ("blaring", Loudness, true, None, Never),
    ("bright", Light, true, Some("dark"), Adjective),
    ("brighter", Light, true, None, Relative),
    ("brightest", Light, true, None, Relative),
    ("brightly", Light, true, Some("dimly"), Adverb),
    ("dark", Light, false, Some("bright"), Adjective),
    ("darker", Light, false, None, Relative),
    ("darkest", Light, false, None, Relative),
    ("dim", Light, false, Some("bright"), Adjective),
    ("dimly", Light, false, Some("brightly"), Adverb),
    ("gloomy", Light, false, Some("bright"), Adjective),
    ("sunny", Light, true, None, Never),
    ("darkness", Light, false, None, Never),
    ("light", Light, true, None, Never),
];

const PLACES: [&str; 39] = [
    "room",
    "street",
    "scene",
    "place",
    "night",
    "day",
    "morning",
    "evening",
    "afternoon",
    "park",
    "road",
    "garden",
    "office",
    "house",
    "forest",
    "field",
    "recording",
    "background",
    "sky",
    "kitchen",
    "corner",
    "picture",
    "photo",
    "image",
    "hall",
    "city",
    "village",
    "yard",
    "meadow",
    "harbour",
    "harbor",
    "station",
    "barn",
    "farm",
    "lane",
    "weather",
    "surroundings",
    "square",
    "light",
];
/// Things of which brightness is seen and nothing else is meant.
const SHINING: [&str; 20] = [
    "lamp",
    "lamps",
    "lights",
    "sun",
    "moon",
    "star",
    "stars",
    "window",
    "windows",
    "screen",
    "headlights",
    "car",
    "cars",
    "bus",
    "boat",
    "train",
    "ball",
    "wall",
    "grass",
    "sand",
];
const COLOURS: [&str; 15] = [
    "red",
    "blue",
    "green",
    "yellow",
    "orange",
    "purple",
    "pink",
    "brown",
    "white",
    "gray",
    "grey",
    "black",
    "violet",
    "turquoise",
    "colours",
];
const SOUNDING: [&str; 52] = [
    "bark",
    "barks",
    "barked",
    "barking",
    "hum",
    "hums",
    "hummed",
    "humming",
    "purr",
    "purrs",
    "purring",
    "play",
    "plays",
    "playing",
    "ring",
    "rings",
    "rang",
    "ringing",
    "honk",
    "honks",
    "honked",
    "honking",
    "sing",
    "sings",
    "singing",
    "talk",
    "talks",
    "talking",
    "speak",
    "speaks",
    "spoken",
    "meow",
    "meows",
    "meowing",
    "chirp",
    "chirps",
    "chirping",
    "tick",
    "ticks",
    "ticking",
    "hiss",
    "hisses",
    "rumble",
    "rumbles",
    "rumbling",
    "whistle",
    "whistles",
    "whistling",
    "idles",
    "calls",
    "chugs",
    "tolls",
];
const LINKING: [&str; 13] = ["is", "are", "was", "were", "very", "so", "too", "sounds", "seems", "really", "quite", "rather", "extremely"];
const ARTICLES: [&str; 13] = ["a", "an", "the", "this", "that", "its", "his", "her", "their", "one", "some", "two", "another"];
const FUNCTION: [&str; 27] = [
    "of", "and", "or", "but", "while", "with", "in", "at", "by", "near", "behind", "under", "as", "is", "are", "was", "were", "has",
    "from", "to", "on", "down", "up", "when", "because", "then", "than",
];
/// Beside these a word of the table means something else.
const IDIOMS: [(&str, &[&str]); 5] = [
    ("bright", &["idea", "ideas", "student", "students", "future", "spark", "mind", "minds", "prospects"]),
    ("dark", &["horse", "age", "ages", "humour", "humor", "chocolate", "matter", "web", "magic", "secret", "secrets", "past"]),
    ("loud", &["colours", "colors", "colour", "color", "shirt", "tie", "outfit", "pattern", "dress"]),
    ("noisy", &["data", "label", "labels", "channel", "image", "picture", "photo"]),
    ("quiet", &["confidence", "dignity"]),
];

/// Every word of loudness or light, in order; `words` are those of [`super::words`].
pub fn level_words(words: &[Word]) -> Vec<LevelWord> {
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let Some(&(name, scale, high, opposite, form)) = TABLE.iter().find(|row| row.0 == word.lower) else { continue };
        let before = i.checked_sub(1).and_then(|i| words.get(i)).filter(|before| !before.last_of_phrase);
        let after = words.get(i + 1).filter(|_| !word.last_of_phrase);
        let joined = word.hyphen_after || before.is_some_and(|before| before.hyphen_after);
        let (before, after) = (before.map(|w| w.lower.as_str()), after.map(|w| w.lower.as_str()));
        let next = words.get(i + 2).filter(|_| after.is_some() && !words[i + 1].last_of_phrase).map(|w| w.lower.as_str());
        let sense = if joined || word.quoted { Sense::Unsure } else { sense(name, scale, form, before, after, next) };
        // A word that has no opposite can never be followed.
        let sense = if opposite.is_none() && sense == Sense::Scene { Sense::Unsure } else { sense };
        let of_place =
            is(after, &PLACES) || is(next, &PLACES) || is(before, &["is", "was"]) && i >= 2 && is(Some(&words[i - 2].lower), &PLACES);
        found.push(LevelWord { range: word.range.clone(), scale, high, opposite, sense, of_place });
    }
    found
}

fn sense(name: &str, scale: Scale, form: Form, before: Option<&str>, after: Option<&str>, next: Option<&str>) -> Sense {
    if name == "light" {
        // A weight, a colour, a lamp, a meal; only "a light room" might speak of brightness.
        return if is(after, &PLACES) { Sense::Unsure } else { Sense::Other };
    }
    if IDIOMS.iter().any(|(word, nouns)| *word == name && is(after, nouns)) {
        return Sense::Other;
    }
    match (name, before, after, next) {
        ("loud", Some("out"), ..) | ("bright", _, Some("and"), Some("early")) => return Sense::Other,
        ("dark", Some("after" | "before" | "until"), after, _) if after.is_none() || is(after, &FUNCTION) => return Sense::Other,
        ("loud", _, Some("and"), Some("clear")) | ("quiet", _, Some("down"), _) => return Sense::Unsure,
        ("bright" | "dark", Some("the"), Some("side"), _) => return Sense::Unsure,
        ("quiet", Some("and"), None, _) => return Sense::Unsure,
        _ => {}
    }
    let attributive = after.is_some() && !is(after, &FUNCTION);
    let listed = is(before, &ARTICLES) || is(before, &LINKING);
    match form {
        Form::Never => Sense::Unsure,
        Form::Relative => Sense::Other,
        Form::Adverb => {
            let sounds = is(before, &SOUNDING) || is(after, &SOUNDING);
            let lights = is(after, &["lit", "coloured", "colored", "shining", "illuminated", "painted"])
                || is(before, &["shines", "shining", "lit"]);
            match scale {
                Scale::Loudness if sounds || name == "loudly" => Sense::Scene,
                Scale::Light if lights => Sense::Scene,
                _ => Sense::Unsure,
            }
        }
        Form::Adjective => match scale {
            // Whatever is called loud or quiet is called so for its sound.
            Scale::Loudness if attributive || listed && before != Some("the") => Sense::Scene,
            Scale::Light if is(after, &PLACES) || is(after, &SHINING) || is(after, &COLOURS) => Sense::Scene,
            Scale::Light if attributive => {
                if is(next, &PLACES) {
                    Sense::Scene
                } else {
                    Sense::Unsure
                }
            }
            Scale::Light if is(before, &LINKING) => Sense::Scene,
            _ => Sense::Unsure,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::words;

    fn only(text: &str) -> LevelWord {
        let found = level_words(&words(text));
        assert_eq!(found.len(), 1, "{text}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn words_that_speak_of_the_scene() {
        for (text, opposite) in [
            ("a loud horn", "quiet"),
            ("a quiet street", "loud"),
            ("the dog barks loudly", "quietly"),
            ("the bell is loud", "quiet"),
            ("a bright sky", "dark"),
            ("the room is dark", "bright"),
            ("a brightly lit kitchen", "dimly"),
            ("a dark blue boat", "bright"),
            ("a noisy street", "quiet"),
            ("a cat purrs quietly", "loudly"),
        ] {
            let word = only(text);
            assert_eq!((word.sense, word.opposite), (Sense::Scene, Some(opposite)), "{text}");
        }
        assert!(only("a quiet street").of_place && !only("a quiet bell").of_place && only("the room is quiet").of_place);
    }

    #[test]
    fn words_that_mean_something_else() {
        for text in [
            "a bright idea",
            "a light lunch",
            "a dark horse",
            "she reads out loud",
            "home before dark",
            "noisy labels",
            "a traffic light",
            "louder than the cat",
        ] {
            assert_eq!(only(text).sense, Sense::Other, "{text}");
        }
        for text in [
            "a bright dog",
            "the cat sits quietly",
            "loud and clear",
            "quiet down",
            "a light room",
            "a sunny day",
            "on the bright side",
            "a loud-mouthed man",
            "in the dark",
        ] {
            assert_eq!(only(text).sense, Sense::Unsure, "{text}");
        }
    }

    #[test]
    fn opposites_lie_at_the_other_end_of_the_same_scale() {
        for (word, scale, high, opposite, _) in TABLE {
            let Some(opposite) = opposite else { continue };
            let row = TABLE.iter().find(|row| row.0 == opposite).unwrap();
            assert_eq!((row.1, row.2), (scale, !high), "{word}");
        }
    }
}
