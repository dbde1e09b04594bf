//! Which words of a caption name a colour of the scene, and which colour a rotation of the hue circle makes of them. As with sides, only listed
//! patterns are sure; "orange juice", "a black man" and "green tea" do not follow the pixels.

use super::{
    Sense, Word,
    phrases::{self, DETERMINERS, FUNCTION},
    words::{is, joined, near},
};
use std::ops::Range;

/// What a rotation of the hue does to a colour word.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hue {
    /// A pure colour at this hue in degrees (HSV: red 0, green 120, blue 240).
    At(f64),
    /// No hue: a rotation changes nothing.
    Gray,
    /// A shade whose rotation has no common name (brown, pink, navy).
    Unnamed,
}
use Hue::{At, Gray, Unnamed};

/// Colour words; of those of one kind each at a hue of its own.
const COLOURS: [(&str, Hue); 35] = [
    ("amber", Unnamed),
    ("aqua", Unnamed),
    ("beige", Unnamed),
    ("black", Gray),
    ("blond", Unnamed),
    ("blonde", Unnamed),
    ("blue", At(240.0)),
    ("bronze", Unnamed),
    ("brown", Unnamed),
    ("crimson", Unnamed),
    ("cyan", At(180.0)),
    ("golden", Unnamed),
    ("gray", Gray),
    ("green", At(120.0)),
    ("grey", Gray),
    ("indigo", Unnamed),
    ("khaki", Unnamed),
    ("lavender", Unnamed),
    ("lilac", Unnamed),
    ("magenta", At(300.0)),
    ("maroon", Unnamed),
    ("navy", Unnamed),
    ("olive", Unnamed),
    ("orange", At(30.0)),
    ("pink", Unnamed),
    ("purple", At(275.0)),
    ("red", At(0.0)),
    ("scarlet", Unnamed),
    ("silver", Gray),
    ("tan", Unnamed),
    ("teal", Unnamed),
    ("turquoise", Unnamed),
    ("violet", Unnamed),
    ("white", Gray),
    ("yellow", At(60.0)),
];

/// A rotated hue this near to a word's own, in degrees, is named by it. Less than half the distance of the nearest two (purple and magenta), so that
/// no hue has two names.
const TOLERANCE_DEGREES: f64 = 10.0;

/// Spans of hue in degrees that nearly everybody calls by one name; between them names differ.
const CORES: [(&str, f64, f64); 8] = [
    ("red", 350.0, 370.0),
    ("orange", 22.0, 38.0),
    ("yellow", 52.0, 64.0),
    ("green", 90.0, 150.0),
    ("cyan", 175.0, 190.0),
    ("blue", 210.0, 250.0),
    ("purple", 265.0, 285.0),
    ("magenta", 295.0, 315.0),
];

/// Beside these nouns a colour word is part of a name or speaks of something else.
const NAMES: [(&str, &[&str]); 13] = [
    ("orange", &["juice", "peel", "slice", "slices", "tree", "trees", "segments", "segment", "soda", "marmalade", "zest", "grove"]),
    (
        "black",
        &[
            "coffee", "tea", "market", "hole", "friday", "bear", "sheep", "ice", "eye", "belt", "box", "bean", "beans", "pepper", "widow",
            "board",
        ],
    ),
    ("white", &["wine", "house", "noise", "rice", "bread", "lie", "paper", "flag", "chocolate", "shark", "water", "matter", "board"]),
    (
        "red",
        &[
            "wine", "cross", "carpet", "panda", "fox", "meat", "alert", "flag", "tape", "sea", "herring", "hair", "head", "light",
            "cabbage", "squirrel",
        ],
    ),
    ("green", &["tea", "card", "energy", "light", "house", "bean", "beans", "salad", "onion", "onions", "power", "pepper", "party"]),
    ("blue", &["whale", "jay", "moon", "jeans", "cheese", "ray", "collar", "mood", "note"]),
    ("yellow", &["pages", "card", "fever", "line", "pepper"]),
    ("brown", &["bear", "rice", "sugar", "bread"]),
    ("silver", &["medal", "lining", "screen", "age", "spoon", "fox", "anniversary"]),
    ("golden", &["retriever", "retrievers", "age", "hour", "rule", "gate", "eagle", "medal"]),
    ("gray", &["area", "matter", "whale", "wolf"]),
    ("grey", &["area", "matter", "whale", "wolf"]),
    ("pink", &["slip", "floyd", "panther"]),
];
/// People are called by a colour that is not seen as such.
const PEOPLE: [&str; 18] = [
    "man", "men", "woman", "women", "people", "person", "boy", "girl", "boys", "girls", "male", "female", "guy", "lady", "child",
    "children", "family", "couple",
];

/// A word of colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColourWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its place in the list of words.
    pub at: usize,
    /// The colour in lower case.
    pub name: &'static str,
    /// How it is meant.
    pub sense: Sense,
}

fn colour(word: &str) -> Option<(&'static str, Hue)> {
    COLOURS.binary_search_by_key(&word, |row| row.0).ok().map(|at| COLOURS[at])
}

/// Every colour word of a text, in order; `words` are those of [`super::words`].
pub fn colour_words(words: &[Word]) -> Vec<ColourWord> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((name, _)) = colour(&word.lower) else { continue };
        found.push(ColourWord { range: word.range.clone(), at, name, sense: sense(words, at, name) });
    }
    found
}

fn sense(words: &[Word], at: usize, name: &str) -> Sense {
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    let coloured = |word: Option<&str>| word.is_some_and(|word| colour(word).is_some());
    if words[at].quoted || joined(words, at) {
        return Sense::Unsure;
    }
    if NAMES.iter().any(|row| row.0 == name && is(after, row.1))
        || matches!(name, "black" | "white" | "brown" | "yellow" | "red") && is(after, &PEOPLE)
    {
        return Sense::Other;
    }
    // "A black and white photo", "in the red", "feeling blue", "navy blue", "blue green".
    if matches!(name, "black" | "white") && is(after.filter(|w| *w == "and").and(near(words, at, 2)), &["black", "white"])
        || matches!(name, "black" | "white") && before == Some("and") && is(near(words, at, -2), &["black", "white"])
        || before == Some("the") && near(words, at, -2) == Some("in") && after.is_none_or(|word| FUNCTION.contains(&word))
        || is(before, &["feeling", "feels", "out", "sky", "sea", "lime", "royal", "olive"])
        || coloured(before)
        || coloured(after)
    {
        return Sense::Unsure;
    }
    if phrases::is_predicative(words, at) {
        return Sense::Scene;
    }
    if phrases::is_attributive(words, at) || is(after, &["one", "ones"]) {
        return if is(after, &["one", "ones"]) || !is(after, &["hair", "haired", "skin", "eyed"]) { Sense::Scene } else { Sense::Unsure };
    }
    // "A red and blue ball": a list of colours that ends before a noun.
    if is(after, &["and", "or"]) && coloured(near(words, at, 2)) && phrases::is_attributive(words, at + 2) {
        return Sense::Scene;
    }
    // "An orange": the fruit. "Painted blue", "dressed in red".
    if name == "orange" && is(before, &DETERMINERS) {
        return Sense::Other;
    }
    if is(before, &["painted", "coloured", "colored", "dyed"])
        || before == Some("in") && is(near(words, at, -2), &["dressed", "painted", "clad", "lit"])
    {
        return Sense::Scene;
    }
    Sense::Unsure
}

/// Distance of two hues on the circle, in degrees.
fn apart(a: f64, b: f64) -> f64 {
    let d = (a - b).rem_euclid(360.0);
    d.min(360.0 - d)
}

/// The colour word that a rotation of the hue by `degrees` (either way, any size) makes of `name`: black, white, gray and silver stay; a pure colour
/// becomes the one whose hue lies within 10 degrees of the rotated one. `None` where no word fits or a shade has no common name. A rotation that has
/// a name is undone by its opposite.
pub fn rotated_colour(name: &str, degrees: f64) -> Option<&'static str> {
    let (name, hue) = colour(name)?;
    let from = match hue {
        Gray => return Some(name),
        At(hue) => hue,
        Unnamed => return (degrees.rem_euclid(360.0) == 0.0).then_some(name),
    };
    if !degrees.is_finite() {
        return None;
    }
    let near = |row: &&(&str, Hue)| matches!(row.1, At(hue) if apart(from + degrees, hue) <= TOLERANCE_DEGREES);
    COLOURS.iter().find(near).map(|row| row.0)
}

/// What nearly everybody calls a saturated colour of this hue in degrees; `None` between the names.
pub fn hue_name(degrees: f64) -> Option<&'static str> {
    let hue = degrees.rem_euclid(360.0);
    CORES.iter().find(|(_, low, high)| (*low..=*high).contains(&hue) || (*low..=*high).contains(&(hue + 360.0))).map(|row| row.0)
}

/// A colour of the same kind that is not `name`: the `choice`-th of the others. For a false caption.
pub(super) fn other_colour(name: &str, choice: usize) -> Option<&'static str> {
    const PLAIN: [&str; 9] = ["red", "orange", "yellow", "green", "blue", "purple", "black", "white", "brown"];
    // Neighbours that a reader may accept for the same thing.
    const CLOSE: [(&str, &[&str]); 18] = [
        ("pink", &["red", "purple"]),
        ("magenta", &["red", "purple"]),
        ("violet", &["purple", "blue"]),
        ("indigo", &["purple", "blue"]),
        ("lavender", &["purple"]),
        ("lilac", &["purple"]),
        ("turquoise", &["blue", "green"]),
        ("teal", &["blue", "green"]),
        ("cyan", &["blue", "green"]),
        ("aqua", &["blue", "green"]),
        ("navy", &["blue", "black"]),
        ("golden", &["yellow", "orange", "brown"]),
        ("amber", &["yellow", "orange", "brown"]),
        ("orange", &["red", "yellow", "brown"]),
        ("brown", &["orange", "black", "red"]),
        ("tan", &["brown", "orange", "yellow"]),
        ("olive", &["green", "brown"]),
        ("silver", &["white"]),
    ];
    let close = CLOSE.iter().find(|row| row.0 == name).map_or(&[][..], |row| row.1);
    let others: Vec<&str> = PLAIN.into_iter().filter(|other| *other != name && !close.contains(other)).collect();
    others.get(choice % others.len().max(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::words;
    use proptest::prelude::*;

    fn senses(text: &str) -> Vec<Sense> {
        colour_words(&words(text)).into_iter().map(|word| word.sense).collect()
    }

    #[test]
    fn colours_of_the_scene_and_others() {
        for text in [
            "a red ball",
            "the car is blue",
            "the ball is very red",
            "an orange cat",
            "a red and white boat",
            "a wall painted green",
            "Blue car on the left",
            "the red one",
            "a white horse and a brown dog",
        ] {
            assert!(senses(text).iter().all(|sense| *sense == Sense::Scene) && !senses(text).is_empty(), "{text}: {:?}", senses(text));
        }
        for text in
            ["a glass of orange juice", "an orange on a table", "a black man", "a cup of green tea", "a golden retriever", "red wine"]
        {
            assert_eq!(senses(text), [Sense::Other], "{text}");
        }
        for text in ["a red-haired dog", "in the red", "feeling blue", "a sign says \"red\"", "a bowl of orange", "a girl with red hair"] {
            assert!(senses(text)[0] != Sense::Scene, "{text}");
        }
        assert!(senses("a black and white photo, navy blue").iter().all(|sense| *sense == Sense::Unsure));
    }

    #[test]
    fn rotations_with_a_name() {
        for (from, degrees, to) in [
            ("red", 120.0, Some("green")),
            ("red", -120.0, Some("blue")),
            ("green", 485.0, Some("blue")),
            ("orange", 30.0, Some("yellow")),
            ("yellow", 180.0, Some("blue")),
            ("red", 90.0, None),
            ("brown", 120.0, None),
            ("brown", 360.0, Some("brown")),
            ("white", 77.0, Some("white")),
            ("plaid", 120.0, None),
            ("red", f64::NAN, None),
        ] {
            assert_eq!(rotated_colour(from, degrees), to, "{from} by {degrees}");
        }
        assert_eq!([0.0, 355.0, 120.0, 75.0, -120.0].map(hue_name), [Some("red"), Some("red"), Some("green"), None, Some("blue")]);
    }

    #[test]
    fn the_table_is_sorted_and_every_pure_colour_lies_in_its_core() {
        assert!(COLOURS.is_sorted_by_key(|row| row.0));
        for (name, hue) in COLOURS {
            if let At(hue) = hue {
                assert_eq!(hue_name(hue), Some(name));
                assert!(
                    COLOURS.iter().all(|(other, h)| *other == name || !matches!(h, At(h) if apart(*h, hue) <= 2.0 * TOLERANCE_DEGREES))
                );
            }
            for choice in 0..20 {
                assert_ne!(other_colour(name, choice), Some(name));
            }
        }
    }

    proptest! {
        #[test]
        fn a_rotation_is_undone_by_its_opposite(at in 0..COLOURS.len(), degrees in -720.0f64..720.0) {
            let name = COLOURS[at].0;
            if let Some(other) = rotated_colour(name, degrees) {
                prop_assert_eq!(rotated_colour(other, -degrees), Some(name));
            }
        }

        #[test]
        fn no_text_panics(text in super::super::testing::texts()) {
            for word in colour_words(&words(&text)) {
                prop_assert_eq!(text[word.range].to_lowercase(), word.name);
            }
        }
    }
}
