//! Which words of a caption name an end of the picture from top to bottom: what a vertical mirror or half a turn moves, and which phrases a quarter turn
//! changes. As with sides, only listed patterns are sure: "a red top", "sits down" and "on top of" are none of the picture's.

use super::{
    Edit, Sense, Word, is_protected, match_case,
    phrases::FUNCTION,
    side_words,
    words::{is, joined, near},
};
use crate::sample::Text;
use std::ops::Range;

/// A word of height, and what it becomes upside down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeightWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its place in the list of words.
    pub at: usize,
    /// Whether it names the upper end.
    pub high: bool,
    /// Its opposite, in lower case.
    pub opposite: &'static str,
    /// How it is meant.
    pub sense: Sense,
    /// Whether it names an end of the picture ("at the top"), and not what lies above something or where something faces.
    pub of_picture: bool,
}

/// Pairs: the upper word first.
const PAIRS: [(&str, &str); 9] = [
    ("above", "below"),
    ("top", "bottom"),
    ("upper", "lower"),
    ("up", "down"),
    ("upward", "downward"),
    ("upwards", "downwards"),
    ("topmost", "bottommost"),
    ("uppermost", "lowermost"),
    ("over", "under"),
];
const OF_PICTURE: [&str; 12] =
    ["picture", "photo", "image", "frame", "scene", "photograph", "screen", "shot", "view", "painting", "drawing", "canvas"];
const FACING: [&str; 14] = [
    "facing", "faces", "faced", "pointing", "points", "pointed", "looking", "looks", "look", "gazing", "gazes", "staring", "stares",
    "arrow",
];
const CORNERS: [&str; 12] =
    ["left", "right", "corner", "edge", "border", "half", "third", "quarter", "margin", "center", "centre", "middle"];

fn opposite(word: &str) -> Option<(&'static str, bool)> {
    PAIRS.iter().find_map(|(high, low)| {
        if *high == word {
            Some((*low, true))
        } else if *low == word {
            Some((*high, false))
        } else {
            None
        }
    })
}

/// Every height word of a text, in order; `words` are those of [`super::words`].
pub fn height_words(words: &[Word]) -> Vec<HeightWord> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((opposite, high)) = opposite(&word.lower) else { continue };
        let sense = if word.quoted { Sense::Unsure } else { sense(words, at) };
        // What lies "on top of" something is not at the top.
        let upon = near(words, at, -1) == Some("on") && near(words, at, 1) == Some("of");
        let of_picture = !upon
            && !matches!(
                word.lower.as_str(),
                "above" | "below" | "over" | "under" | "up" | "down" | "upward" | "upwards" | "downward" | "downwards"
            );
        found.push(HeightWord { range: word.range.clone(), at, high, opposite, sense, of_picture });
    }
    found
}

fn sense(words: &[Word], at: usize) -> Sense {
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    let name = words[at].lower.as_str();
    if joined(words, at) {
        let corner = words[at].hyphen_after && is(after, &["left", "right"]) && !matches!(name, "up" | "down" | "over" | "under");
        return if corner { Sense::Scene } else { Sense::Unsure };
    }
    match name {
        "upward" | "upwards" | "downward" | "downwards" | "topmost" | "bottommost" | "uppermost" | "lowermost" => Sense::Scene,
        "above" | "below" => {
            if is(after, &["all", "average", "zero", "freezing", "par", "standard", "normal", "ground", "sea", "deck", "suspicion"]) {
                Sense::Other
            } else if after.is_some_and(|after| {
                !FUNCTION.contains(&after) || matches!(after, "a" | "an" | "the" | "it" | "its" | "his" | "her" | "their" | "and")
            }) || before.is_some()
            {
                Sense::Scene
            } else {
                Sense::Unsure
            }
        }
        "top" | "bottom" => of_end(words, at),
        "upper" | "lower" => {
            if is(after, &CORNERS) {
                Sense::Scene
            } else if is(after, &["class", "house", "case", "secondary", "school", "price"]) {
                Sense::Other
            } else {
                Sense::Unsure
            }
        }
        "up" | "down"
            if is(before, &FACING) && after.is_none_or(|after| matches!(after, "and" | "at" | "on" | "in" | "while" | "into")) =>
        {
            Sense::Scene
        }
        "up" if is(
            before,
            &[
                "close", "dressed", "made", "set", "stand", "stands", "standing", "side", "wake", "wakes", "lined", "lit", "curled",
                "piled", "stacked",
            ],
        ) =>
        {
            Sense::Other
        }
        "down" if is(before, &["sit", "sits", "sitting", "lying", "lie", "lies", "lay", "quiet", "calm", "upside"]) => Sense::Other,
        // "Over a bridge", "over 20 people", "under a blanket".
        _ => Sense::Unsure,
    }
}

/// "At the top", "top left corner", "the bottom of the picture".
fn of_end(words: &[Word], at: usize) -> Sense {
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    if is(after, &CORNERS) {
        return Sense::Scene;
    }
    if is(after, &["of", "in"]) {
        let of = near(words, at, 3).filter(|_| is(near(words, at, 2), &["the", "this"]));
        return if before == Some("the") && is(of, &OF_PICTURE) { Sense::Scene } else { Sense::Unsure };
    }
    if before == Some("the") && is(near(words, at, -2), &["at", "near", "toward", "towards", "from"]) {
        return if after.is_none_or(|after| FUNCTION.contains(&after)) { Sense::Scene } else { Sense::Unsure };
    }
    if is(after, &["speed", "hat", "hats", "priority", "secret", "gear", "model", "line", "notch"])
        || is(before, &["tank", "crop", "red", "blue", "white", "black", "green", "bikini", "halter"])
    {
        return Sense::Other;
    }
    Sense::Unsure
}

/// The four edges in the order in which a turn with the clock brings them round.
const EDGES: [&str; 4] = ["top", "right", "bottom", "left"];

/// Edits for a picture whose top and bottom are exchanged. `None` where a word of height is unsure or protected, and where a side may be that of a body, which
/// every mirror exchanges: only "on the left (side, of ...)" and corners surely are the picture's.
pub fn vertical_edits(text: &Text, words: &[Word]) -> Option<Vec<Edit>> {
    let of_picture = |range: &Range<usize>| {
        let at = words.iter().position(|word| word.range == *range)?;
        let (before, after) = (near(words, at, -1), near(words, at, 1));
        let placed = before == Some("the") && is(near(words, at, -2), &["on", "at", "to", "toward", "towards", "from", "near"]);
        let ends = after.is_none_or(|after| FUNCTION.contains(&after)) || is(after, &["side", "corner", "edge", "half"]);
        let corner = is(before, &["top", "bottom", "upper", "lower"]) && ends;
        Some(placed && ends || corner || words[at].lower.ends_with("most"))
    };
    let sides = side_words(words);
    if sides.iter().any(|side| side.sense != Sense::Other && of_picture(&side.range) != Some(true)) {
        return None;
    }
    let mut edits = Vec::new();
    for word in height_words(words) {
        match word.sense {
            Sense::Other => continue,
            Sense::Unsure => return None,
            Sense::Scene => {}
        }
        if is_protected(text, &word.range) {
            return None;
        }
        edits.push(Edit { replacement: match_case(text.content.get(word.range.clone())?, word.opposite), range: word.range });
    }
    Some(edits)
}

/// Edits for a picture turned by `quarters` of a circle with the clock: "on the left" becomes "at the top". Half a turn swaps the ends of both axes;
/// a quarter turn is followed only where every word of side or height stands in "on the left / right (side) (of the picture)", "at the top / bottom
/// (of the picture)". `None` where a word of side or height is unsure, protected, or has no form that fits.
pub fn turn_edits(text: &Text, words: &[Word], quarters: i32) -> Option<Vec<Edit>> {
    let turn = quarters.rem_euclid(4) as usize;
    if turn == 0 {
        return Some(Vec::new());
    }
    let sides = side_words(words).into_iter().map(|word| (word.range, word.opposite, word.sense));
    let heights = height_words(words).into_iter().map(|word| (word.range, word.opposite, word.sense));
    let mut edits = Vec::new();
    for (range, opposite, sense) in sides.chain(heights) {
        match sense {
            Sense::Other => continue,
            Sense::Unsure => return None,
            Sense::Scene => {}
        }
        let at = words.iter().position(|word| word.range == range)?;
        let edit = if turn == 2 {
            Edit { replacement: match_case(text.content.get(range.clone())?, opposite), range }
        } else {
            quarter(text, words, at, turn)?
        };
        if is_protected(text, &edit.range) {
            return None;
        }
        edits.push(edit);
    }
    edits.sort_by_key(|edit| edit.range.start);
    Some(edits)
}

/// "On the left" to "at the top": the preposition goes with the edge.
fn quarter(text: &Text, words: &[Word], at: usize, turn: usize) -> Option<Edit> {
    let edge = EDGES.iter().position(|edge| *edge == words[at].lower)?;
    if near(words, at, -1) != Some("the") || joined(words, at) || !is(near(words, at, -2), &["on", "at"]) {
        return None;
    }
    let to = EDGES[(edge + turn) % 4];
    let sided = near(words, at, 1) == Some("side");
    let after = at + usize::from(sided);
    let pictured = near(words, after, 1).is_none_or(|after| matches!(after, "and" | "while" | "with"))
        || near(words, after, 1) == Some("of") && is(near(words, after, 3), &OF_PICTURE);
    if !pictured {
        return None;
    }
    let range = words[at - 2].range.start..words[after].range.end;
    let place = if to == "left" || to == "right" { format!("on the {to}") } else { format!("at the {to}") };
    Some(Edit { replacement: match_case(text.content.get(words[at - 2].range.clone())?, &place), range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use proptest::prelude::*;

    fn senses(text: &str) -> Vec<Sense> {
        height_words(&words(text)).into_iter().map(|word| word.sense).collect()
    }

    #[test]
    fn ends_of_the_picture_and_others() {
        for text in [
            "a bird at the top",
            "a dog in the lower left corner",
            "the top of the picture",
            "a lamp above the table",
            "an arrow pointing up",
            "looking down at it",
            "a bottom-left box",
            "an upward arrow",
            "the sky above",
        ] {
            assert_eq!(senses(text), [Sense::Scene], "{text}");
        }
        for text in ["a woman in a red top", "he sits down", "close up", "above all, a dog", "at top speed", "upper class"] {
            assert_eq!(senses(text), [Sense::Other], "{text}");
        }
        for text in [
            "a cup on top of a table",
            "over a bridge",
            "a bird under a tree",
            "down the street",
            "the lower lobe",
            "the top of the hill",
            "a sign says \"up\"",
        ] {
            assert_eq!(senses(text), [Sense::Unsure], "{text}");
        }
    }

    fn turned(content: &str, quarters: i32) -> Option<String> {
        let text = Text::new(content);
        turn_edits(&text, &words(content), quarters).map(|edits| apply(&text, edits).unwrap().text.content)
    }

    #[test]
    fn turns() {
        assert_eq!(turned("a dog on the left", 1).as_deref(), Some("a dog at the top"));
        assert_eq!(turned("On the left side a dog", 1), None);
        assert_eq!(turned("a cat at the bottom of the picture", 1).as_deref(), Some("a cat on the left of the picture"));
        assert_eq!(turned("a cat at the top and a dog on the right side", -1).as_deref(), Some("a cat on the left and a dog at the top"));
        assert_eq!(turned("a cat in the upper left corner", 2).as_deref(), Some("a cat in the lower right corner"));
        assert_eq!(
            (turned("a cat on top of a box", 2), turned("the leftmost dog", 1), turned("a dog", 3).as_deref()),
            (None, None, Some("a dog"))
        );
    }

    proptest! {
        #[test]
        fn a_turn_is_undone_by_its_opposite(pieces in prop::collection::vec(prop::sample::select(vec![
            "a dog on the left", "a red cat at the top", "a bell at the bottom", "a car on the right of the picture", "a bird", "the top left corner",
        ]), 1..4), quarters in -5i32..6) {
            let content = pieces.join(" and ");
            if let Some(other) = turned(&content, quarters) {
                prop_assert_eq!(turned(&other, -quarters), Some(content));
            }
        }

        #[test]
        fn sound(content in testing::texts(), quarters in 1i32..4, seed: u64) {
            testing::check(&content, |text, words, _| turn_edits(text, words, quarters).unwrap_or_default(), seed)?;
        }
    }
}
