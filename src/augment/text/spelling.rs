//! Spelling errors by rule: what a writer gets wrong who knows the sound of a word. Doubled and single consonants, `ie` and `ei`, silent letters,
//! endings that sound alike, and words that sound alike.

use super::{
    Edit, Word,
    draw::{share_of, sites},
    is_protected, match_case,
};
use crate::sample::Text;
use rand::Rng;

/// Where in a word a rule holds.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    Begin,
    Inside,
    End,
    Anywhere,
}
use Where::{Anywhere, Begin, End, Inside};

/// Letters, where they stand, and what they become.
const RULES: [(&str, Where, &str); 62] = [
    ("ie", Anywhere, "ei"),
    ("ei", Anywhere, "ie"),
    ("kn", Begin, "n"),
    ("wr", Begin, "r"),
    ("ps", Begin, "s"),
    ("gn", Begin, "n"),
    ("wh", Begin, "w"),
    ("rh", Begin, "r"),
    ("ch", Inside, "tch"),
    ("tch", Anywhere, "ch"),
    ("mb", End, "m"),
    ("ight", Anywhere, "ite"),
    ("ough", Anywhere, "ouh"),
    ("dge", End, "ge"),
    ("sc", Inside, "s"),
    ("stle", End, "sle"),
    ("lk", End, "k"),
    ("ph", Anywhere, "f"),
    ("ck", Anywhere, "k"),
    ("ce", End, "se"),
    ("que", End, "k"),
    ("gu", Begin, "g"),
    ("able", End, "ible"),
    ("ible", End, "able"),
    ("ance", End, "ence"),
    ("ence", End, "ance"),
    ("ant", End, "ent"),
    ("ent", End, "ant"),
    ("tion", End, "sion"),
    ("sion", End, "tion"),
    ("cial", End, "tial"),
    ("ary", End, "ery"),
    ("ery", End, "ary"),
    ("er", End, "or"),
    ("or", End, "er"),
    ("ar", End, "er"),
    ("le", End, "el"),
    ("el", End, "le"),
    ("al", End, "el"),
    ("re", End, "er"),
    ("ful", End, "full"),
    ("ly", End, "ley"),
    ("ey", End, "y"),
    ("ous", End, "us"),
    ("ure", End, "er"),
    ("ea", Inside, "ee"),
    ("ee", Inside, "ea"),
    ("ai", Inside, "ay"),
    ("oa", Inside, "o"),
    ("ou", Inside, "o"),
    ("oo", Inside, "u"),
    ("au", Anywhere, "a"),
    ("se", End, "s"),
    ("te", End, "t"),
    ("ne", End, "n"),
    ("ain", End, "ane"),
    ("ed", End, "d"),
    ("ies", End, "ys"),
    ("qu", Anywhere, "q"),
    ("nm", Inside, "m"),
    ("mn", End, "m"),
    ("exc", Begin, "ex"),
];

/// A bit for each letter that stands in some small letters.
const fn letters_of(letters: &[u8]) -> u32 {
    let (mut found, mut i) = (0, 0);
    while i < letters.len() {
        found |= 1 << (letters[i].wrapping_sub(b'a') & 31);
        i += 1;
    }
    found
}

/// The letters of each rule: a word that lacks one of them need not be searched.
const LETTERS: [u32; RULES.len()] = {
    let (mut out, mut i) = ([0; RULES.len()], 0);
    while i < RULES.len() {
        out[i] = letters_of(RULES[i].0.as_bytes());
        i += 1;
    }
    out
};

/// Words that sound alike, sorted.
const SOUND_ALIKE: [(&str, &str); 42] = [
    ("accept", "except"),
    ("affect", "effect"),
    ("aloud", "allowed"),
    ("bare", "bear"),
    ("bear", "bare"),
    ("brake", "break"),
    ("break", "brake"),
    ("by", "buy"),
    ("effect", "affect"),
    ("fair", "fare"),
    ("flour", "flower"),
    ("flower", "flour"),
    ("hear", "here"),
    ("here", "hear"),
    ("hole", "whole"),
    ("it's", "its"),
    ("its", "it's"),
    ("knew", "new"),
    ("knight", "night"),
    ("loose", "lose"),
    ("lose", "loose"),
    ("new", "knew"),
    ("past", "passed"),
    ("peace", "piece"),
    ("piece", "peace"),
    ("plain", "plane"),
    ("plane", "plain"),
    ("quiet", "quite"),
    ("quite", "quiet"),
    ("sail", "sale"),
    ("sea", "see"),
    ("see", "sea"),
    ("than", "then"),
    ("their", "there"),
    ("then", "than"),
    ("there", "their"),
    ("they're", "their"),
    ("to", "too"),
    ("too", "to"),
    ("weather", "whether"),
    ("who's", "whose"),
    ("you're", "your"),
];

/// A way to misspell a word: bytes of it and what comes in their place.
#[derive(Clone, Copy)]
enum Slip {
    Letters { at: usize, len: usize, with: &'static str },
    Double { at: usize },
    Single { at: usize },
    Whole(&'static str),
}

fn is_vowel(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

/// Every slip that the rules know of a word in lower case.
fn slips(word: &str, out: &mut Vec<Slip>) {
    out.clear();
    if let Ok(at) = SOUND_ALIKE.binary_search_by_key(&word, |row| row.0) {
        out.push(Slip::Whole(SOUND_ALIKE[at].1));
    }
    let letters = word.as_bytes();
    if letters.len() < 4 || !letters.iter().all(u8::is_ascii_lowercase) {
        return;
    }
    let has = letters_of(letters);
    for ((from, place, with), _) in RULES.into_iter().zip(LETTERS).filter(|(_, letters)| letters & !has == 0) {
        let rule = from.as_bytes();
        let mut add = |at| out.push(Slip::Letters { at, len: rule.len(), with });
        match place {
            Begin if letters.starts_with(rule) => add(0),
            End if letters.ends_with(rule) => add(letters.len() - rule.len()),
            Inside | Anywhere => {
                let first = usize::from(place == Inside);
                let last = letters.len().saturating_sub(rule.len() + first);
                (first..=last).filter(|at| letters[*at] == rule[0] && letters[*at..].starts_with(rule)).for_each(add);
            }
            _ => {}
        }
    }
    for at in 1..letters.len() {
        let (before, letter) = (letters[at - 1], letters[at]);
        if before == letter {
            out.push(Slip::Single { at });
        } else if at >= 2
            && !is_vowel(letter)
            && is_vowel(before)
            && letters.get(at + 1).is_some_and(|next| is_vowel(*next))
            && !matches!(letter, b'h' | b'w' | b'x')
        {
            out.push(Slip::Double { at });
        }
    }
}

fn misspelled(word: &str, slip: Slip) -> String {
    let with = |range: std::ops::Range<usize>, new: &str| format!("{}{new}{}", &word[..range.start], &word[range.end..]);
    match slip {
        Slip::Letters { at, len, with: new } => with(at..at + len, new),
        Slip::Double { at } => with(at..at, &word[at..=at]),
        Slip::Single { at } => with(at..at + 1, ""),
        Slip::Whole(other) => other.to_owned(),
    }
}

/// A share of the words that a rule can misspell is misspelled, each in one place; the case stays.
pub fn spelling_errors<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let mut found = Vec::new();
    let open: Vec<&Word> = words
        .iter()
        .filter(|word| {
            slips(&word.lower, &mut found);
            !found.is_empty() && !is_protected(text, &word.range)
        })
        .collect();
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let word = open[site.at];
        slips(&word.lower, &mut found);
        let (Some(slip), Some(original)) = (found.get(site.choice(found.len())), text.content.get(word.range.clone())) else { continue };
        edits.push(Edit { range: word.range.clone(), replacement: match_case(original, &misspelled(&word.lower, *slip)) });
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::testing;
    use proptest::prelude::*;

    fn all(word: &str) -> Vec<String> {
        let mut found = Vec::new();
        slips(word, &mut found);
        found.iter().map(|slip| misspelled(word, *slip)).collect()
    }

    #[test]
    fn errors_that_writers_make() {
        for (word, error) in [
            ("receive", "recieve"),
            ("field", "feild"),
            ("running", "runing"),
            ("limit", "limmit"),
            ("knife", "nife"),
            ("climb", "clim"),
            ("visible", "visable"),
            ("their", "there"),
            ("balance", "balence"),
            ("photo", "foto"),
            ("night", "nite"),
            ("beautiful", "beautifull"),
        ] {
            assert!(all(word).contains(&error.to_owned()), "{word}: {:?}", all(word));
        }
        assert!(all("dog").is_empty() && all("t\u{e9}l\u{e9}phone").is_empty());
    }

    #[test]
    fn every_slip_is_another_word_and_the_table_is_sorted() {
        assert!(SOUND_ALIKE.is_sorted());
        for (rule, _, with) in RULES {
            assert_ne!(rule, with);
        }
        for word in ["committee", "bookkeeper", "queue", "eerie", "wherever", "scissors", "excellence", "whale", "people"] {
            assert!(all(word).iter().all(|error| error != word), "{word}: {:?}", all(word));
        }
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            testing::check(&content, |text, words, rng| spelling_errors(text, words, share, rng), seed)?;
        }
    }
}
