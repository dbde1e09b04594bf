//! Contractions both ways: `do not` and `don't`, `it is` and `it's`. A short form is written out only where one long form fits what follows, and a
//! long form is shortened only where it would be written out again to the same.

use super::{
    Edit, Word, is_protected, match_case,
    words::{is, near},
};
use crate::sample::Text;

/// A verb and its contraction with `not`.
const WITH_NOT: [(&str, &str); 20] = [
    ("are", "aren't"),
    ("can", "can't"),
    ("could", "couldn't"),
    ("did", "didn't"),
    ("do", "don't"),
    ("does", "doesn't"),
    ("had", "hadn't"),
    ("has", "hasn't"),
    ("have", "haven't"),
    ("is", "isn't"),
    ("might", "mightn't"),
    ("must", "mustn't"),
    ("need", "needn't"),
    ("ought", "oughtn't"),
    ("should", "shouldn't"),
    ("was", "wasn't"),
    ("were", "weren't"),
    ("will", "won't"),
    ("would", "wouldn't"),
    ("dare", "daren't"),
];
/// The verb of a contraction with `not`, in lower case: `is` of `isn't`.
pub(super) fn without_not(short: &str) -> Option<&'static str> {
    WITH_NOT.iter().find(|row| row.1 == short).map(|row| row.0)
}

const SUBJECTS: [&str; 15] = ["i", "you", "he", "she", "it", "we", "they", "that", "there", "who", "what", "where", "here", "this", "how"];
/// Endings and the verbs they stand for.
const ENDINGS: [(&str, &[&str]); 6] =
    [("'m", &["am"]), ("'re", &["are"]), ("'s", &["is", "has"]), ("'ve", &["have"]), ("'ll", &["will"]), ("'d", &["would", "had"])];
/// Participles behind which `'s` is `has`, and `'d` is `had`.
const PERFECT: [&str; 10] = ["been", "had", "gotten", "got", "become", "come", "gone", "begun", "forgotten", "happened"];
/// Those that may also follow `is`.
const EITHER: [&str; 3] = ["gone", "become", "come"];
/// Verbs in the form that follows `would`.
const BARE: [&str; 16] =
    ["be", "like", "have", "go", "love", "prefer", "rather", "say", "see", "hear", "look", "make", "take", "know", "think", "want"];
/// Words after which a sentence may end in a verb: "see how big it is".
const ASKING: [&str; 8] = ["how", "what", "where", "who", "whatever", "wherever", "which", "than"];

fn subject_takes(subject: &str, verb: &str) -> bool {
    match verb {
        "am" => subject == "i",
        "are" => matches!(subject, "you" | "we" | "they"),
        "is" | "has" => !matches!(subject, "i" | "you" | "we" | "they" | "this"),
        "have" => matches!(subject, "i" | "you" | "we" | "they"),
        "will" => matches!(subject, "i" | "you" | "he" | "she" | "it" | "we" | "they" | "that" | "there"),
        "would" | "had" => matches!(subject, "i" | "you" | "he" | "she" | "it" | "we" | "they"),
        _ => false,
    }
}

/// The verb of a contraction of `subject` before `next`, if only one fits.
fn verb_of(subject: &str, ending: &str, next: Option<&str>) -> Option<&'static str> {
    let verbs = ENDINGS.iter().find(|row| row.0 == ending)?.1;
    let next = next?;
    let verb = match (verbs, ending) {
        ([verb], _) => verb,
        (_, _) if EITHER.contains(&next) => return None,
        (_, "'s") => {
            if PERFECT.contains(&next) {
                "has"
            } else {
                "is"
            }
        }
        _ if PERFECT.contains(&next) || next == "better" => "had",
        _ if BARE.contains(&next) => "would",
        _ => return None,
    };
    subject_takes(subject, verb).then_some(verb)
}

/// Writes every contraction out whose long form is sure.
pub fn expand_contractions(text: &Text, words: &[Word]) -> Vec<Edit> {
    let edit = |(at, word): (usize, &Word)| {
        if !word.lower.contains('\'') || is_protected(text, &word.range) {
            return None;
        }
        let old = text.content.get(word.range.clone())?;
        let (first, second) = match word.lower.as_str() {
            "cannot" => ("can", "not"),
            "let's" => ("let", "us"),
            short => match WITH_NOT.iter().find(|row| row.1 == short) {
                // "Aren't they": the two words would be parted by a third.
                Some(row) if !is(near(words, at, 1), &SUBJECTS[..7]) => (row.0, "not"),
                Some(_) => return None,
                None => {
                    let split = short.find('\'')?;
                    let subject = SUBJECTS.iter().find(|subject| **subject == &short[..split])?;
                    (*subject, verb_of(subject, &short[split..], near(words, at, 1))?)
                }
            },
        };
        Some(Edit { range: word.range.clone(), replacement: written(old, first, second) })
    };
    words.iter().enumerate().filter_map(edit).collect()
}

/// Two words in the case of the contraction.
fn written(old: &str, first: &str, second: &str) -> String {
    let both = format!("{first} {second}");
    if first == "i" {
        return format!(
            "I {}",
            if old.len() > 3 && old.chars().filter(|c| c.is_alphabetic()).all(char::is_uppercase) {
                second.to_uppercase()
            } else {
                second.to_owned()
            }
        );
    }
    match_case(old, &both)
}

/// Contracts every pair of words that would be written out to the same again; of two overlapping ones (`it is not`) the one with `not`.
pub fn contract(text: &Text, words: &[Word]) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for at in 0..words.len().saturating_sub(1) {
        let (one, two) = (&words[at], &words[at + 1]);
        let range = one.range.start..two.range.end;
        let blank = text
            .content
            .get(one.range.end..two.range.start)
            .is_some_and(|between| !between.is_empty() && between.chars().all(char::is_whitespace));
        if !blank || is_protected(text, &range) || edits.last().is_some_and(|edit| edit.range.end > range.start) {
            continue;
        }
        let next = near(words, at + 1, 1);
        let short = if two.lower == "not" {
            WITH_NOT
                .iter()
                .find(|row| row.0 == one.lower)
                .filter(|_| !is(next, &SUBJECTS[..7]) && next != Some("only"))
                .map(|row| row.1.to_owned())
        } else if one.lower == "let" && two.lower == "us" && near(words, at, -1).is_none() && next.is_some() {
            Some("let's".to_owned())
        } else if next == Some("not") && WITH_NOT.iter().any(|row| row.0 == two.lower) {
            None
        } else {
            let asked = (1..=4).any(|by| is(near(words, at, -by), &ASKING));
            ENDINGS
                .iter()
                .find(|row| row.1.contains(&two.lower.as_str()))
                .filter(|row| {
                    SUBJECTS.contains(&one.lower.as_str()) && !asked && verb_of(&one.lower, row.0, next) == Some(two.lower.as_str())
                })
                .map(|row| format!("{}{}", one.lower, row.0))
        };
        let Some(short) = short else { continue };
        let (Some(old), Some(first)) = (text.content.get(range.clone()), text.content.get(one.range.clone())) else { continue };
        // `I` alone is always a capital and says nothing of the case.
        let pattern =
            if one.lower == "i" || old.chars().any(char::is_lowercase) && first.starts_with(char::is_uppercase) { "Aa" } else { old };
        edits.push(Edit { range, replacement: match_case(pattern, &short) });
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use proptest::prelude::*;

    fn with(edits: fn(&Text, &[Word]) -> Vec<Edit>, content: &str) -> String {
        let text = Text::new(content);
        apply(&text, edits(&text, &words(content))).unwrap().text.content
    }

    #[test]
    fn there_and_back() {
        for (long, short) in [
            ("They do not bark.", "They don't bark."),
            ("It is a red dog", "It's a red dog"),
            ("the dog is not here", "the dog isn't here"),
            ("There is a car and it will not move", "There's a car and it won't move"),
            ("I am sure that it has been there", "I'm sure that it's been there"),
            ("you cannot see it", "you cannot see it"),
            ("They would like a ball", "They'd like a ball"),
            ("DO NOT ENTER", "DON'T ENTER"),
            ("we have seen it", "we've seen it"),
            ("I had been there", "I'd been there"),
        ] {
            assert_eq!(with(contract, long), short);
            assert_eq!(with(expand_contractions, short), long);
        }
    }

    #[test]
    fn what_is_not_sure_stays() {
        for stays in
            ["see how big it is", "Yes, it is.", "the dog's ball", "it's gone", "he'd", "isn't it", "ain't", "they'd put it down", "it's"]
        {
            assert_eq!((with(expand_contractions, stays).as_str(), with(contract, stays).as_str()), (stays, stays));
        }
        assert_eq!(with(expand_contractions, "it\u{2019}s red"), "it is red");
    }

    proptest! {
        #[test]
        fn contracted_texts_are_written_out_to_the_same(pieces in prop::collection::vec(prop::sample::select(vec![
            "it", "is", "not", "they", "are", "do", "a", "dog", "there", "has", "been", "will", "would", "like", "I", "am", "who", "that", "how", "let", "us",
        ]), 0..12)) {
            let long = pieces.join(" ");
            prop_assert_eq!(with(expand_contractions, &with(contract, &long)), long);
        }

        #[test]
        fn sound(content in testing::texts(), seed: u64) {
            testing::check(&content, |text, words, _| contract(text, words), seed)?;
            testing::check(&content, |text, words, _| expand_contractions(text, words), seed)?;
        }
    }
}
