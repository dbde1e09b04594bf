//! Which "left" and "right" of a caption speak of a side of the picture. A rule answers [`Sense::Scene`] or [`Sense::Other`] only for the patterns
//! listed here; everything else is [`Sense::Unsure`], since a wrong swap makes a wrong caption while a refusal only costs a neighbour.

use super::{
    Sense, Word,
    words::{is, near},
};
use std::ops::Range;

/// A word of a side, and what it becomes in a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideWord {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its opposite, in lower case.
    pub opposite: &'static str,
    /// How it is meant.
    pub sense: Sense,
}

/// Forms that mean a side wherever they stand.
const ALWAYS: [(&str, &str); 14] = [
    ("leftmost", "rightmost"),
    ("rightmost", "leftmost"),
    ("leftward", "rightward"),
    ("rightward", "leftward"),
    ("leftwards", "rightwards"),
    ("rightwards", "leftwards"),
    ("lefthand", "righthand"),
    ("righthand", "lefthand"),
    ("lefthanded", "righthanded"),
    ("righthanded", "lefthanded"),
    ("leftside", "rightside"),
    ("rightside", "leftside"),
    ("leftish", "rightish"),
    ("rightish", "leftish"),
];

const POSSESSIVES: [&str; 9] = ["the", "its", "his", "her", "their", "my", "your", "our", "whose"];
const TOWARD: [&str; 8] = ["on", "at", "to", "from", "toward", "towards", "near", "by"];
/// Words before a side that make it a corner: "top left".
const CORNERS: [&str; 10] = ["top", "bottom", "upper", "lower", "middle", "center", "centre", "mid", "northern", "southern"];
/// Words before a side that name a corner only behind an article: "the far left".
const DEEPER: [&str; 8] = ["far", "extreme", "near", "immediate", "front", "rear", "back", "very"];
const FACING: [&str; 12] =
    ["facing", "faces", "faced", "pointing", "points", "pointed", "looking", "leaning", "leans", "tilted", "tilting", "gazing"];
/// A way that something goes: its own side or the picture's, nobody can tell.
const GOING: [&str; 45] = [
    "turn", "turns", "turned", "turning", "go", "goes", "going", "went", "gone", "move", "moves", "moved", "moving", "run", "runs", "ran",
    "running", "drive", "drives", "drove", "driving", "veer", "veers", "veered", "swerve", "swerves", "swerved", "head", "heads", "headed",
    "heading", "walk", "walks", "walked", "walking", "drift", "drifts", "step", "steps", "stepped", "bear", "bears", "look", "looks",
    "looked",
];
/// Parts of a thing or a body that have a side.
const SIDED: [&str; 42] = [
    "side",
    "sides",
    "half",
    "hand",
    "hands",
    "handed",
    "edge",
    "corner",
    "border",
    "third",
    "quarter",
    "margin",
    "lane",
    "bank",
    "arm",
    "leg",
    "foot",
    "feet",
    "eye",
    "ear",
    "ears",
    "paw",
    "hoof",
    "shoulder",
    "knee",
    "elbow",
    "wrist",
    "ankle",
    "hip",
    "cheek",
    "thumb",
    "lung",
    "breast",
    "kidney",
    "lobe",
    "ventricle",
    "atrium",
    "hemisphere",
    "facing",
    "sided",
    "headlight",
    "speaker",
];
/// What may be the correct one: "the right answer".
const CORRECT: [&str; 40] = [
    "answer",
    "answers",
    "choice",
    "choices",
    "time",
    "moment",
    "place",
    "track",
    "size",
    "thing",
    "things",
    "person",
    "people",
    "order",
    "word",
    "words",
    "amount",
    "decision",
    "question",
    "questions",
    "idea",
    "ideas",
    "number",
    "kind",
    "tool",
    "tools",
    "fit",
    "move",
    "key",
    "note",
    "reason",
    "reasons",
    "job",
    "mood",
    "balance",
    "approach",
    "conclusion",
    "attitude",
    "temperature",
    "angle",
];
/// Words that may follow a side without being what it is the side of.
const FUNCTION: [&str; 70] = [
    "of", "and", "or", "but", "while", "with", "in", "at", "by", "near", "behind", "under", "above", "beside", "next", "as", "is", "are",
    "was", "were", "has", "have", "had", "who", "which", "that", "where", "when", "from", "to", "over", "below", "facing", "looking",
    "holding", "there", "a", "an", "the", "it", "stands", "sits", "makes", "barks", "meows", "honks", "chirps", "rings", "whistles",
    "sings", "plays", "hums", "purrs", "waits", "runs", "walks", "flies", "jumps", "drives", "moves", "lies", "hangs", "sleeps", "eats",
    "looks", "talks", "shines", "stops", "passes", "calls",
];
/// "Right in front": exactly there.
const EXACTLY: [&str; 42] = [
    "now",
    "away",
    "after",
    "before",
    "behind",
    "here",
    "there",
    "beside",
    "next",
    "under",
    "above",
    "over",
    "outside",
    "inside",
    "into",
    "across",
    "through",
    "up",
    "down",
    "beneath",
    "below",
    "underneath",
    "near",
    "when",
    "as",
    "then",
    "back",
    "around",
    "along",
    "past",
    "on",
    "in",
    "at",
    "by",
    "onto",
    "out",
    "off",
    "against",
    "between",
    "until",
    "beyond",
    "alongside",
];
/// "What is left": what remains.
const REMAINS: [&str; 22] = [
    "what",
    "what's",
    "whatever",
    "anything",
    "nothing",
    "something",
    "everything",
    "all",
    "none",
    "little",
    "much",
    "anyone",
    "anybody",
    "nobody",
    "someone",
    "somebody",
    "everyone",
    "everybody",
    "who",
    "that",
    "which",
    "there's",
];
const UNITS: [&str; 20] = [
    "second", "seconds", "minute", "minutes", "hour", "hours", "day", "days", "week", "weeks", "time", "chance", "chances", "food", "room",
    "one", "two", "three", "many", "few",
];
/// What follows "left" where it is the verb.
const DEPARTED: [&str; 31] = [
    "the",
    "a",
    "an",
    "his",
    "her",
    "its",
    "their",
    "my",
    "our",
    "your",
    "this",
    "these",
    "those",
    "him",
    "them",
    "it",
    "us",
    "me",
    "you",
    "for",
    "home",
    "early",
    "late",
    "without",
    "town",
    "school",
    "work",
    "alone",
    "behind",
    "unattended",
    "nothing",
];
const BE: [&str; 8] = ["is", "are", "was", "were", "it's", "isn't", "wasn't", "aren't"];

/// Every side word of a text, in order; `words` are those of [`super::words`].
pub fn side_words(words: &[Word]) -> Vec<SideWord> {
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let (opposite, sense) = match word.lower.as_str() {
            "left" => ("right", Place { words, at: i }.sense()),
            "right" => ("left", Place { words, at: i }.sense()),
            other => match ALWAYS.iter().find(|(form, _)| *form == other) {
                Some((_, opposite)) => (*opposite, Sense::Scene),
                None => continue,
            },
        };
        let sense = if word.quoted { Sense::Unsure } else { sense };
        found.push(SideWord { range: word.range.clone(), opposite, sense });
    }
    found
}

/// A word in its phrase.
#[derive(Clone, Copy)]
struct Place<'a> {
    words: &'a [Word],
    at: usize,
}

impl<'a> Place<'a> {
    /// The word `by` places on (back if negative) within the phrase.
    fn near(self, by: isize) -> Option<&'a str> {
        near(self.words, self.at, by)
    }
    fn has_article(self) -> bool {
        is(self.near(-1), &POSSESSIVES)
            || self.near(-1).is_some_and(|word| word.ends_with("'s") && !BE.contains(&word) && !REMAINS.contains(&word))
    }

    fn sense(self) -> Sense {
        let left = self.words[self.at].lower == "left";
        let opposite = if left { "right" } else { "left" };
        let (before, after) = (self.near(-1), self.near(1));
        if let Some(sense) = self.hyphens() {
            return sense;
        }
        // "from left to right", "left to right".
        if after == Some("to") && self.near(2) == Some(opposite) || before == Some("to") && self.near(-2) == Some(opposite) {
            return Sense::Scene;
        }
        // "on the left and right": the second is meant as the first.
        if is(before, &["and", "or"]) && self.near(-2) == Some(opposite) {
            return Place { at: self.at - 2, ..self }.sense();
        }
        if is(after, &["wing", "winger", "brain"]) || is(after, &["turn", "turns"]) {
            return Sense::Unsure;
        }
        if is(before, &CORNERS) {
            return Sense::Scene;
        }
        if is(before, &DEEPER) && is(self.near(-2), &POSSESSIVES) {
            return if is(self.near(-3), &TOWARD) || is(after, &SIDED) { Sense::Scene } else { Sense::Unsure };
        }
        if is(before, &GOING) {
            return Sense::Unsure;
        }
        if is(before, &FACING) {
            return Sense::Scene;
        }
        // "just left of the tree", but "what is left of the cake" and "the right of way".
        if after == Some("of") && (is(before, &["just", "immediately", "slightly", "directly", "further"]) || self.stands_beside()) {
            return if self.near(2) == Some("way") { Sense::Other } else { Sense::Scene };
        }
        if before.is_none() && after.is_none() {
            return self.alone(opposite);
        }
        if left { self.sense_of_left() } else { self.sense_of_right() }
    }

    /// "The car is left of the tree", where nothing says that something remains.
    fn stands_beside(self) -> bool {
        is(self.near(-1), &["is", "are", "was", "were", "stands", "sits"])
            && !is(self.near(-2), &REMAINS)
            && !is(self.near(-2), &UNITS)
            && is(self.near(2), &POSSESSIVES)
    }

    fn hyphens(self) -> Option<Sense> {
        let word = &self.words[self.at];
        if word.hyphen_after {
            return Some(match self.near(1) {
                Some("hand") if self.near(2) == Some("man") => Sense::Other,
                Some("over" | "overs" | "angled" | "click" | "minded") => Sense::Other,
                after if is(after, &SIDED) || is(after, &["most", "ward", "wards"]) => Sense::Scene,
                _ => Sense::Unsure,
            });
        }
        let joined = self.at.checked_sub(1).and_then(|i| self.words.get(i)).filter(|before| before.hyphen_after)?;
        Some(match joined.lower.as_str() {
            "all" => Sense::Other,
            before if CORNERS.contains(&before) || ["front", "rear", "back"].contains(&before) => Sense::Scene,
            _ => Sense::Unsure,
        })
    }

    /// A side that is a phrase of its own ("left: a dog, right: a cat") counts if the opposite is one too.
    fn alone(self, opposite: &str) -> Sense {
        let alone = |at: usize| {
            let place = Place { at, ..self };
            self.words[at].lower == opposite && place.near(-1).is_none() && place.near(1).is_none()
        };
        if (0..self.words.len()).any(alone) { Sense::Scene } else { Sense::Unsure }
    }

    fn sense_of_left(self) -> Sense {
        let (before, after) = (self.near(-1), self.near(1));
        if self.has_article() {
            return if is(after, &["over", "overs", "luggage", "behind"]) { Sense::Other } else { Sense::Scene };
        }
        if is(before, &TOWARD) {
            return Sense::Scene;
        }
        if is(before, &REMAINS)
            || is(before, &["has", "have", "had", "having", "they've", "he's", "she's", "be", "been", "being", "get", "got"])
        {
            return Sense::Other;
        }
        if is(before, &BE) {
            let remains = is(self.near(-2), &REMAINS) || is(self.near(-2), &UNITS) || self.near(-2) == Some("there");
            let abandoned = is(after, &["alone", "behind", "open", "out", "over", "unattended", "off", "untouched", "empty", "running"]);
            return if remains || abandoned { Sense::Other } else { Sense::Unsure };
        }
        if is(after, &SIDED) {
            return if before.is_none() || is(before, &["a", "an", "with", "and", "one"]) { Sense::Scene } else { Sense::Unsure };
        }
        if before.is_some() && is(after, &DEPARTED) {
            return Sense::Other;
        }
        if is(before, &UNITS) && (after.is_none() || is(after, &["in", "on", "to", "for"])) {
            return Sense::Other;
        }
        Sense::Unsure
    }

    fn sense_of_right(self) -> Sense {
        let (before, after) = (self.near(-1), self.near(1));
        if before == Some("all") || is(before, &["that's", "you're", "he's", "she's", "it's", "they're", "i'm", "we're", "not"]) {
            return Sense::Other;
        }
        if self.has_article() {
            return self.sense_of_the_right();
        }
        if is(before, &TOWARD) {
            return if after.is_none() || is(after, &FUNCTION) && !is(after, &["a", "an", "the"]) || is(after, &SIDED) {
                Sense::Scene
            } else {
                Sense::Unsure
            };
        }
        if is(after, &["angle", "angles", "triangle", "triangles"]) || is(after, &CORRECT) {
            return Sense::Other;
        }
        if is(after, &EXACTLY) {
            return Sense::Other;
        }
        if is(after, &SIDED) && (before.is_none() || is(before, &["a", "with", "and", "one"])) {
            return Sense::Scene;
        }
        Sense::Unsure
    }

    /// "The right ...": a side, or the correct one.
    fn sense_of_the_right(self) -> Sense {
        let (after, second) = (self.near(1), self.near(2));
        let placed = is(self.near(-2), &TOWARD);
        match after {
            Some("of") if second == Some("way") => Sense::Other,
            Some("side") if second == Some("up") => Sense::Other,
            Some("side")
                if second == Some("of")
                    && is(self.near(3), &["history", "law", "the"])
                    && is(self.near(4).or(self.near(3)), &["history", "law"]) =>
            {
                Sense::Other
            }
            Some("hand") if second == Some("man") => Sense::Other,
            Some("foot") if placed => Sense::Unsure,
            Some("to") if is(second, &["vote", "life", "privacy", "remain", "know", "strike"]) => Sense::Other,
            Some(after) if SIDED.contains(&after) => Sense::Scene,
            Some(after) if CORRECT.contains(&after) => Sense::Other,
            after if placed && (after.is_none() || is(after, &FUNCTION)) => Sense::Scene,
            Some(noun) if self.has_twin(noun) => Sense::Scene,
            _ => Sense::Unsure,
        }
    }

    /// "The left car ... the right car": the same noun behind both sides.
    fn has_twin(self, noun: &str) -> bool {
        (0..self.words.len()).any(|at| {
            let place = Place { at, ..self };
            self.words[at].lower == "left" && place.has_article() && place.near(1) == Some(noun)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::words;

    fn senses(text: &str) -> Vec<Sense> {
        side_words(&words(text)).into_iter().map(|word| word.sense).collect()
    }

    #[test]
    fn sides_of_the_picture() {
        for text in [
            "a dog on the left",
            "a dog to the right of a red car",
            "The bell rings at the far left.",
            "a bird in the top right corner",
            "the cat's left paw",
            "a duck facing right",
            "a left-hand lane",
            "the leftmost dog",
            "on the right side of the road",
            "a car on the right and it honks",
            "from the left a train comes",
            "lower-left corner",
            "Left hand raised",
            "a car just left of the tree",
            "a cat on the left, barking at it",
        ] {
            assert_eq!(senses(text), [Sense::Scene], "{text}");
        }
        for text in [
            "a train from left to right",
            "dogs on the left and right",
            "left: a dog, right: a cat",
            "the left car is red and the right car is blue",
            "a car on the left of the dog with a bell to the right",
        ] {
            assert_eq!(senses(text), [Sense::Scene; 2], "{text}");
        }
    }

    #[test]
    fn known_other_senses() {
        for text in [
            "what is left of the cake",
            "nothing left",
            "all that is left",
            "the right answer",
            "everything is all right",
            "the dog left the room",
            "a car that left early",
            "the dog barks right now",
            "a car right in front of the house",
            "two minutes left",
            "the train has left",
            "the door is left open",
            "a right angle",
            "in the right place",
            "the box is right side up, the right of way",
        ] {
            assert!(senses(text).iter().all(|s| *s != Sense::Scene), "{text}");
            assert!(text.contains("side up") || senses(text) == [Sense::Other], "{text}: {:?}", senses(text));
        }
    }

    #[test]
    fn where_nobody_can_tell() {
        for text in [
            "the car turned left",
            "a bus goes right at the crossing",
            "the dog left",
            "the right wheel",
            "a sign says \"turn left\"",
            "is it right",
            "take a left turn",
            "a left-wing bird",
            "the cake is left on the table",
            "the dog looks right",
            "Left the dog",
        ] {
            assert_eq!(senses(text), [Sense::Unsure], "{text}");
        }
    }

    #[test]
    fn a_mirror_is_its_own_inverse() {
        for (form, opposite) in ALWAYS {
            assert!(ALWAYS.contains(&(opposite, form)));
        }
    }
}
