//! The same said in another way: phrases that mean the same, a frame round a caption, and the two halves of a caption in the other order.

use super::{
    Edit, Word,
    draw::{share_of, sites},
    is_protected, match_case,
    phrases::{DETERMINERS, FUNCTION, LINKING, PREPOSITIONS},
    words::near,
};
use crate::sample::Text;
use rand::Rng;
use std::ops::Range;

/// Phrases of one meaning; each may stand for the others.
const SAME: [&[&str]; 24] = [
    &["next to", "beside", "alongside"],
    &["close to", "near"],
    &["on top of", "atop"],
    &["in the middle of", "in the center of", "at the center of"],
    &["a lot of", "lots of", "plenty of"],
    &["a couple of", "two"],
    &["a number of", "several"],
    &["a large number of", "a great many"],
    &["in the background", "in the distance"],
    &["at the same time", "simultaneously"],
    &["made of", "made out of"],
    &["all of the", "all the"],
    &["both of the", "both"],
    &["underneath", "beneath"],
    &["as well as", "and also"],
    &["is able to", "can"],
    &["are able to", "can"],
    &["in order to", "so as to"],
    &["because of", "due to"],
    &["at night", "during the night", "by night"],
    &["outdoors", "outside", "in the open air"],
    &["one after another", "one by one"],
    &["side by side", "next to each other"],
    &["again and again", "over and over", "repeatedly"],
];
/// Frames before a caption that names a thing.
const THING_FRAMES: [&str; 6] = ["a picture of", "an image of", "a photo of", "a view of", "this is", "here is"];
/// Frames before any caption in one sentence.
const ANY_FRAMES: [&str; 4] = ["in this picture,", "in this scene,", "here,", "in the picture,"];

enum Place {
    /// Bytes, the set of phrases and which one stands there.
    Phrase(Range<usize>, usize, usize),
    Frame(bool),
    /// Bytes of the two halves.
    Halves(Range<usize>, Range<usize>),
}

/// A share of the places at which the text can be said otherwise is: phrases of one meaning, a frame ("a picture of ..."), and "A while B" as "B while A". At least
/// one place for a share above 0. What is protected stays, and halves that hold a span stay in their order. `frames` allows frames, which only fit a caption of a picture.
pub fn paraphrase<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, frames: bool, rng: &mut R) -> Vec<Edit> {
    let open = places(text, words, frames);
    let mut edits: Vec<Edit> = Vec::new();
    let mut halves = false;
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        match &open[site.at] {
            Place::Phrase(range, set, member) => {
                let others: Vec<&str> = SAME[*set].iter().enumerate().filter(|(i, _)| i != member).map(|(_, phrase)| *phrase).collect();
                let (Some(new), Some(old)) = (others.get(site.choice(others.len())), text.content.get(range.clone())) else { continue };
                let clear = edits.iter().all(|edit| edit.range.end <= range.start || edit.range.start >= range.end);
                if clear && !halves {
                    edits.push(Edit { range: range.clone(), replacement: match_case(old, new) });
                }
            }
            Place::Frame(thing) => {
                if !halves && let Some(edit) = frame(text, words, *thing, site.choice(1 << 16)) {
                    // The first word is rewritten too: no other edit may reach it.
                    if edits.iter().all(|other| other.range.start >= edit.range.end) {
                        edits.push(edit);
                    }
                }
            }
            Place::Halves(one, two) => {
                // Whole halves move: nothing else inside them is edited.
                if edits.is_empty() {
                    halves = true;
                    edits.extend(exchanged(text, one, two));
                }
            }
        }
    }
    edits
}

fn places(text: &Text, words: &[Word], frames: bool) -> Vec<Place> {
    let mut open = Vec::new();
    for at in 0..words.len() {
        for (set, phrases) in SAME.iter().enumerate() {
            let longest =
                phrases.iter().enumerate().filter_map(|(i, phrase)| Some((matches(words, at, phrase)?, i))).max_by_key(|(end, _)| *end);
            let Some((end, member)) = longest else { continue };
            let range = words[at].range.start..words[end - 1].range.end;
            if is_sure(words, at, end, SAME[set][member]) && !is_protected(text, &range) && !words[at].quoted {
                open.push(Place::Phrase(range, set, member));
                break;
            }
        }
    }
    let one_sentence = !text.content.trim_end().trim_end_matches('.').contains(['.', '!', '?', '\n', ':', '"']);
    if let Some(first) = words.first().filter(|_| one_sentence) {
        let framed =
            ["picture", "image", "photo", "photograph", "scene", "view"].iter().any(|word| words.iter().any(|other| other.lower == *word));
        let begins =
            DETERMINERS.contains(&first.lower.as_str()) && !matches!(first.lower.as_str(), "this" | "that" | "these" | "those" | "no");
        if frames && begins && !framed && first.range.start == 0 && !is_protected(text, &first.range) {
            open.push(Place::Frame(is_thing(words)));
        }
        open.extend(halves(text, words));
    }
    open
}

/// The word behind a phrase that stands at `at`.
fn matches(words: &[Word], at: usize, phrase: &str) -> Option<usize> {
    let mut end = at;
    for part in phrase.split(' ') {
        let word = words.get(end).filter(|word| word.lower == part && !word.hyphen_after)?;
        // No comma inside the phrase.
        if end > at && (words[end - 1].last_of_phrase || word.quoted) {
            return None;
        }
        end += 1;
    }
    Some(end)
}

/// Whether a phrase of one word, which has other uses, is used as in its set.
fn is_sure(words: &[Word], at: usize, end: usize, phrase: &str) -> bool {
    let (before, after) = (near(words, at, -1), near(words, end - 1, 1));
    let determined = after.is_some_and(|after| DETERMINERS.contains(&after));
    let joined = words[end - 1].hyphen_after || at.checked_sub(1).is_some_and(|i| words[i].hyphen_after);
    !joined
        && match phrase {
            "beside" | "alongside" | "near" | "atop" | "underneath" | "beneath" => determined && before.is_some(),
            // "Next to" behind "the" or a verb of time; "two of them", "two by two", "both dogs".
            "two" => before.is_none() && after.is_some_and(|after| !FUNCTION.contains(&after) && !DETERMINERS.contains(&after)),
            "both" | "several" => {
                after.is_some_and(|after| !FUNCTION.contains(&after) && !DETERMINERS.contains(&after))
                    && !words.iter().any(|word| word.lower == "and")
            }
            "can" => false,
            "outside" | "outdoors" => after.is_none() && before.is_some(),
            "next to" | "close to" => determined && before.is_some(),
            "all the" => after.is_some() && !matches!(after, Some("way" | "time" | "while" | "more" | "same")),
            _ => true,
        }
}

/// Whether a caption surely names a thing and makes no statement: "a red dog on the grass".
fn is_thing(words: &[Word]) -> bool {
    // The first preposition or participle ends the name of the thing, and nothing after it may be a verb that says something.
    let verb = |word: &Word| {
        LINKING.contains(&word.lower.as_str()) || matches!(word.lower.as_str(), "has" | "have" | "can" | "while" | "as" | "and" | "but")
    };
    let ends = words.iter().position(|word| PREPOSITIONS.contains(&word.lower.as_str()) || word.lower.ends_with("ing"));
    ends.is_some_and(|end| (2..=4).contains(&end) && !words[..end].iter().skip(1).any(|word| word.lower.ends_with('s')))
        && !words.iter().any(verb)
        || (2..=3).contains(&words.len())
            && !words.iter().any(verb)
            && !words.iter().skip(1).any(|word| word.lower.ends_with('s') || word.lower.ends_with("ed"))
}

fn frame(text: &Text, words: &[Word], thing: bool, choice: usize) -> Option<Edit> {
    let first = words.first()?;
    let count = ANY_FRAMES.len() + if thing { THING_FRAMES.len() } else { 0 };
    let frame = THING_FRAMES.iter().skip(if thing { 0 } else { THING_FRAMES.len() }).chain(&ANY_FRAMES).nth(choice % count)?;
    let old = text.content.get(first.range.clone())?;
    let capitals = text.content.chars().filter(|c| c.is_alphabetic()).count() > 1 && !text.content.chars().any(char::is_lowercase);
    let replacement = match (capitals, old.starts_with(char::is_uppercase)) {
        (true, _) => format!("{} {old}", frame.to_uppercase()),
        (false, true) => format!("{} {}", match_case("Aa", frame), old.to_lowercase()),
        (false, false) => format!("{frame} {old}"),
    };
    Some(Edit { range: first.range.clone(), replacement })
}

/// The two halves of "A while B".
fn halves(text: &Text, words: &[Word]) -> Option<Place> {
    let mut joints =
        words.iter().enumerate().filter(|(_, word)| matches!(word.lower.as_str(), "while" | "and" | "as" | "but" | "then" | "whilst"));
    let (at, joint) = joints.next()?;
    if joints.next().is_some() || joint.lower != "while" || at < 2 || words.len() - at < 3 {
        return None;
    }
    let (one, two) = (words[0].range.start..words[at - 1].range.end, words[at + 1].range.start..words[words.len() - 1].range.end);
    // A pronoun looks back at what then comes later; "a man stands while reading" has no second subject.
    let second = &words[at + 1..];
    let looks_back = second.iter().any(|word| {
        matches!(word.lower.as_str(), "it" | "its" | "he" | "she" | "his" | "her" | "they" | "their" | "them" | "another" | "other")
    });
    let begins = DETERMINERS.contains(&second[0].lower.as_str());
    let blank =
        |from: usize, to: usize| text.content.get(from..to).is_some_and(|between| between.chars().all(|c| c == ' ') && !between.is_empty());
    let plain = blank(one.end, joint.range.start) && blank(joint.range.end, two.start);
    let free = text.spans.is_empty() && text.content.get(one.clone())? != text.content.get(two.clone())?;
    (plain && begins && !looks_back && free).then_some(Place::Halves(one, two))
}

fn exchanged(text: &Text, one: &Range<usize>, two: &Range<usize>) -> Vec<Edit> {
    let (Some(first), Some(second)) = (text.content.get(one.clone()), text.content.get(two.clone())) else { return Vec::new() };
    let capital = first.starts_with(char::is_uppercase) && !second.starts_with(char::is_uppercase);
    let down = |half: &str| half.chars().next().map_or_else(String::new, |c| c.to_lowercase().chain(half.chars().skip(1)).collect());
    let up = |half: &str| half.chars().next().map_or_else(String::new, |c| c.to_uppercase().chain(half.chars().skip(1)).collect());
    let (first, second) = if capital { (down(first), up(second)) } else { (first.to_owned(), second.to_owned()) };
    if text.content.get(one.clone()) == Some(&second) {
        return Vec::new();
    }
    vec![Edit { range: one.clone(), replacement: second }, Edit { range: two.clone(), replacement: first }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::text::{apply, testing, words},
        random::SeedTree,
    };
    use proptest::prelude::*;

    fn all(content: &str, frames: bool) -> Vec<String> {
        let text = Text::new(content);
        let one =
            |seed| apply(&text, paraphrase(&text, &words(content), 1.0, frames, &mut SeedTree::new(seed).rng())).unwrap().text.content;
        let mut seen: Vec<String> = (0..200).map(one).collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn phrases_of_one_meaning() {
        assert_eq!(all("a dog next to a cat", false), ["a dog alongside a cat", "a dog beside a cat"]);
        assert_eq!(all("A lot of dogs", false), ["Lots of dogs", "Plenty of dogs"]);
        assert_eq!(all("a sign says \"next to a cat\"", false), ["a sign says \"next to a cat\""]);
        for stays in ["the next tower", "near-death", "two by two", "it is near", "both dogs and cats", "all the way"] {
            assert_eq!(all(stays, false), [stays]);
        }
    }

    #[test]
    fn frames_and_halves() {
        let framed = all("A dog on the grass.", true);
        assert!(
            framed.contains(&"A picture of a dog on the grass.".to_owned())
                && framed.contains(&"In this scene, a dog on the grass.".to_owned()),
            "{framed:?}"
        );
        // A statement is no thing: "a picture of a dog barks".
        assert!(all("a dog barks", true).iter().all(|text| !text.starts_with("a picture of") && !text.starts_with("here is")));
        assert_eq!(all("A dog barks while a car honks.", false), ["A car honks while a dog barks."]);
        assert_eq!(all("A dog barks while it runs.", false), ["A dog barks while it runs."]);
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), share in 0.0f64..=1.0, frames: bool, seed: u64) {
            testing::check(&content, |text, words, rng| paraphrase(text, words, share, frames, rng), seed)?;
        }
    }
}
