//! Captions made false in one quality: another colour, size, side, number. What the other media show does not change, so the text no longer belongs to
//! them.

use super::{
    Edit, Word, article,
    colours::{colour_words, other_colour},
    draw::{share_of, sites},
    height_words, is_protected, level_words,
    levels::Scale,
    match_case, measure_words, number_mentions, number_words, replace_word, side_words,
    sizes::Measure,
    words::Sense,
};
use crate::sample::Text;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A quality that a caption states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Colours: another plain colour that nobody would take for the same.
    Colour,
    /// Sizes: the other end of the scale.
    Size,
    /// Speeds: the other end.
    Speed,
    /// Left and right.
    Side,
    /// Top and bottom, above and below.
    Height,
    /// Loud and quiet.
    Loudness,
    /// Bright and dark.
    Light,
    /// How many: one to three more.
    Number,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::Colour, Self::Size, Self::Speed, Self::Side, Self::Height, Self::Loudness, Self::Light, Self::Number];
}

/// A place where an attribute stands and what may come there: several words or the only opposite.
struct Place {
    at: usize,
    now: Now,
}

enum Now {
    Opposite(&'static str),
    Colour(&'static str),
    Number { value: u32, digits: bool, words: std::ops::Range<usize> },
}

/// A share of the places at which one of these attributes is sure to speak of the scene says something false.
pub fn false_attributes<R: Rng + ?Sized>(text: &Text, words: &[Word], kinds: &[Attribute], share: f64, rng: &mut R) -> Vec<Edit> {
    let open: Vec<Place> = places(text, words, kinds);
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let place = &open[site.at];
        let made = match &place.now {
            Now::Opposite(other) => replace_word(text, words, place.at, other),
            Now::Colour(name) => other_colour(name, site.choice(1 << 16)).and_then(|other| replace_word(text, words, place.at, other)),
            Now::Number { value, digits, words: range } => {
                let more = value + 1 + site.choice(3) as u32;
                counted(text, words, range, more, *digits).map(|edit| vec![edit])
            }
        };
        edits.extend(made.unwrap_or_default());
    }
    edits
}

fn places(text: &Text, words: &[Word], kinds: &[Attribute]) -> Vec<Place> {
    let wants = |kind| kinds.contains(&kind);
    let mut open: Vec<Place> = Vec::new();
    let at_of = |range: &std::ops::Range<usize>| words.iter().position(|word| word.range == *range);
    if wants(Attribute::Colour) {
        let sure = colour_words(words).into_iter().filter(|word| word.sense == Sense::Scene);
        open.extend(sure.map(|word| Place { at: word.at, now: Now::Colour(word.name) }));
    }
    let measured = measure_words(words).into_iter().filter(|word| word.sense == Sense::Scene);
    let measured = measured.filter(|word| wants(if word.measure == Measure::Size { Attribute::Size } else { Attribute::Speed }));
    open.extend(measured.filter_map(|word| Some(Place { at: word.at, now: Now::Opposite(word.opposite?) })));
    let levels = level_words(words).into_iter().filter(|word| word.sense == Sense::Scene);
    let levels = levels.filter(|word| wants(if word.scale == Scale::Loudness { Attribute::Loudness } else { Attribute::Light }));
    open.extend(levels.filter_map(|word| Some(Place { at: at_of(&word.range)?, now: Now::Opposite(word.opposite?) })));
    if wants(Attribute::Side) {
        let sides = side_words(words);
        // "From left to right" turned on one side says the same; both sides named may turn into the same statement again.
        if let [side] = &sides[..]
            && side.sense == Sense::Scene
        {
            open.extend(at_of(&side.range).map(|at| Place { at, now: Now::Opposite(side.opposite) }));
        }
    }
    if wants(Attribute::Height) {
        let sure = height_words(words).into_iter().filter(|word| word.sense == Sense::Scene);
        open.extend(sure.map(|word| Place { at: word.at, now: Now::Opposite(word.opposite) }));
    }
    if wants(Attribute::Number) {
        let many = number_mentions(text, words).into_iter().filter(|number| !number.ordinal && (2..1000).contains(&number.value));
        open.extend(many.map(|number| Place {
            at: number.words.start,
            now: Now::Number { value: number.value, digits: number.digits, words: number.words },
        }));
    }
    open.retain(|place| words.get(place.at).is_some_and(|word| !is_protected(text, &word.range)));
    // "Bright" may be a light and a colour: one change for a word.
    open.sort_by_key(|place| place.at);
    open.dedup_by_key(|place| place.at);
    open
}

fn counted(text: &Text, words: &[Word], range: &std::ops::Range<usize>, value: u32, digits: bool) -> Option<Edit> {
    let bytes = words.get(range.start)?.range.start..words.get(range.end.checked_sub(1)?)?.range.end;
    let old = text.content.get(bytes.clone())?;
    let new = if digits { value.to_string() } else { number_words(value)? };
    let before = range.start.checked_sub(1).and_then(|at| words.get(at)).map(|word| word.lower.as_str());
    // "An eight" would need another article; nobody writes so but to name a thing.
    if is_protected(text, &bytes) || matches!(before, Some("a" | "an")) && article(&new) != before.unwrap_or_default() {
        return None;
    }
    Some(Edit { range: bytes, replacement: match_case(old, &new) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::text::{apply, testing, words},
        random::SeedTree,
    };
    use proptest::prelude::*;

    fn of(content: &str, kinds: &[Attribute], seed: u64) -> String {
        let text = Text::new(content);
        apply(&text, false_attributes(&text, &words(content), kinds, 1.0, &mut SeedTree::new(seed).rng())).unwrap().text.content
    }

    #[test]
    fn each_attribute_says_something_else() {
        assert_eq!(of("A small dog on the left", &[Attribute::Size], 1), "A big dog on the left");
        assert_eq!(of("A small dog on the left", &[Attribute::Side], 1), "A small dog on the right");
        assert_eq!(of("a car drives slowly", &[Attribute::Speed], 1), "a car drives quickly");
        assert_eq!(of("a bird at the top", &[Attribute::Height], 1), "a bird at the bottom");
        assert_eq!(of("a loud dog", &[Attribute::Loudness], 1), "a quiet dog");
        assert_eq!(of("a bright room", &[Attribute::Light], 1), "a dark room");
        let colour = of("a red ball", &[Attribute::Colour], 5);
        assert!(colour != "a red ball" && (colour.ends_with(" ball")), "{colour}");
        let number = of("Two dogs", &[Attribute::Number], 5);
        assert!(["Three dogs", "Four dogs", "Five dogs"].contains(&number.as_str()), "{number}");
        assert_eq!(of("from left to right, one dog", &Attribute::ALL, 1), "from left to right, one dog");
        let article = (0..20).map(|seed| of("a red ball", &[Attribute::Colour], seed)).find(|text| text.contains("orange"));
        assert!(article.is_none_or(|text| text == "an orange ball"));
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            testing::check(&content, |text, words, rng| false_attributes(text, words, &Attribute::ALL, share, rng), seed)?;
        }
    }
}
