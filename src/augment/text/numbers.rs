//! Number words and digits: `twenty-three` and `23`, `third` and `3rd`, from 0 to 9999. Only a number that is sure to count or to order something is
//! rewritten: "the one on the left", "one of them", "a second later", years and parts of longer numbers stay.

use super::{
    Edit, Word, is_protected, match_case,
    words::{is, joined, near},
};
use crate::sample::Text;

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
/// Ordinals that are not made with `th`.
const ORDINALS: [(&str, &str); 7] = [
    ("one", "first"),
    ("two", "second"),
    ("three", "third"),
    ("five", "fifth"),
    ("eight", "eighth"),
    ("nine", "ninth"),
    ("twelve", "twelfth"),
];

/// A number as it is said, for 0 to 9999 (`one thousand two hundred thirty-four`).
pub fn number_words(number: u32) -> Option<String> {
    let n = usize::try_from(number).ok().filter(|n| *n <= 9999)?;
    let mut said: Vec<String> = Vec::with_capacity(5);
    for (size, name) in [(1000, "thousand"), (100, "hundred")] {
        let count = n / size % 10;
        if count > 0 {
            said.push(format!("{} {name}", ONES[count]));
        }
    }
    let rest = n % 100;
    match (rest, rest / 10, rest % 10) {
        (0, ..) if n > 0 => {}
        (0..20, ..) => said.push(ONES[rest].into()),
        (_, tens, 0) => said.push(TENS[tens].into()),
        (_, tens, ones) => said.push(format!("{}-{}", TENS[tens], ONES[ones])),
    }
    Some(said.join(" "))
}

/// The ordinal of a number as it is said, for 1 to 9999 (`twenty-third`).
pub fn ordinal_words(number: u32) -> Option<String> {
    let mut said = number_words(number).filter(|_| number > 0)?;
    let at = said.rfind([' ', '-']).map_or(0, |at| at + 1);
    let last = said.split_off(at);
    let ordinal = match ORDINALS.iter().find(|row| row.0 == last) {
        Some(row) => row.1.to_owned(),
        None => last.strip_suffix('y').map_or_else(|| format!("{last}th"), |stem| format!("{stem}ieth")),
    };
    Some(said + &ordinal)
}

/// An ordinal in digits (`1st`, `12th`, `23rd`).
pub fn ordinal_digits(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What a number word adds.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Ones(u32),
    Tens(u32),
    Hundred,
    Thousand,
}

/// A word of a number, and whether it is an ordinal.
fn part(word: &str) -> Option<(Part, bool)> {
    let value = match word.as_bytes().first()? {
        b'z' | b'o' | b't' | b'f' | b's' | b'e' | b'n' | b'h' => word,
        _ => return None,
    };
    let plain = |word: &str| match word {
        "hundred" => Some(Part::Hundred),
        "thousand" => Some(Part::Thousand),
        _ => ONES
            .iter()
            .position(|name| *name == word)
            .map(|n| Part::Ones(n as u32))
            .or_else(|| TENS.iter().position(|name| *name == word && !name.is_empty()).map(|n| Part::Tens(10 * n as u32))),
    };
    if let Some(part) = plain(value) {
        return Some((part, false));
    }
    if let Some(row) = ORDINALS.iter().find(|row| row.1 == value) {
        return plain(row.0).map(|part| (part, true));
    }
    let stem = value.strip_suffix("th")?;
    let part = match stem.strip_suffix("ie") {
        Some(stem) => TENS.iter().position(|name| name.strip_suffix('y') == Some(stem)).map(|n| Part::Tens(10 * n as u32)),
        None => plain(stem),
    };
    // `zeroth` is no rank; the irregular ones are spelled in their own way.
    part.filter(|part| *part != Part::Ones(0) && !ORDINALS.iter().any(|row| row.0 == stem)).map(|part| (part, true))
}

/// A number as it stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberWord {
    /// Its first word and the one after its last, as places in the list of words.
    pub words: std::ops::Range<usize>,
    /// Its value, 0 to 9999.
    pub value: u32,
    /// It orders (`third`, `3rd`).
    pub ordinal: bool,
    /// It is written in digits.
    pub digits: bool,
}

/// Words after which four digits are a year or a name.
const NAMED: [&str; 18] = [
    "in", "since", "until", "till", "by", "from", "year", "years", "early", "late", "mid", "summer", "winter", "spring", "autumn", "fall",
    "number", "model",
];
/// Words that may follow a number without being what it counts.
const FUNCTION: [&str; 34] = [
    "of", "on", "in", "at", "to", "and", "or", "is", "are", "was", "were", "has", "with", "that", "who", "which", "by", "from", "can",
    "another", "after", "later", "ago", "the", "a", "it", "as", "for", "near", "behind", "under", "stands", "sits", "more",
];

/// Reads the longest number in words at `at`: the word after it, the value and whether it is an ordinal.
fn read_words(words: &[Word], at: usize) -> Option<(usize, u32, bool)> {
    let (mut thousands, mut below, mut last) = (None, 0u32, None);
    let mut end = at;
    let mut ordinal = false;
    let mut place = at;
    while let Some(word) = words.get(place) {
        // "two hundred and five": the `and` belongs to it between a hundred or thousand and a smaller part.
        if word.lower == "and"
            && matches!(last, Some(Part::Hundred | Part::Thousand))
            && end == place
            && !word.last_of_phrase
            && !word.hyphen_after
        {
            place += 1;
            continue;
        }
        let Some((part, ranks)) = part(&word.lower) else { break };
        let fits = match (last, part) {
            (None, Part::Ones(_) | Part::Tens(_)) => true,
            (Some(Part::Hundred | Part::Thousand), Part::Ones(1..) | Part::Tens(_)) => true,
            (Some(Part::Tens(_)), Part::Ones(1..=9)) => true,
            (Some(Part::Ones(1..=9)), Part::Hundred) => below < 10,
            (Some(Part::Ones(1..=9)), Part::Thousand) => thousands.is_none() && below < 10,
            _ => false,
        };
        if !fits {
            break;
        }
        match part {
            Part::Ones(n) | Part::Tens(n) => below += n,
            Part::Hundred => below *= 100,
            Part::Thousand => (thousands, below) = (Some(below), 0),
        }
        (last, ordinal) = (Some(part), ranks);
        place += 1;
        end = place;
        if ranks || word.last_of_phrase {
            break;
        }
    }
    (end > at).then_some((end, thousands.unwrap_or(0) * 1000 + below, ordinal))
}

/// A number in digits: one to four of them without a leading zero, and an ending if it is an ordinal.
fn read_digits(word: &str) -> Option<(u32, bool)> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, ending) = word.split_at(digits);
    if !(1..=4).contains(&digits) || digits > 1 && number.starts_with('0') {
        return None;
    }
    let value = number.parse().ok()?;
    let ranks = value > 0 && ordinal_digits(value) == word;
    (ending.is_empty() || ranks).then_some((value, ranks))
}

/// Every number from 0 to 9999 that is sure to count or to rank something, in order; `words` are those of the text.
pub fn number_mentions(text: &Text, words: &[Word]) -> Vec<NumberWord> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let starts_digit = word.lower.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let read =
            if starts_digit { read_digits(&word.lower).map(|(value, ordinal)| (at + 1, value, ordinal)) } else { read_words(words, at) };
        let Some((end, value, ordinal)) = read else {
            at += 1;
            continue;
        };
        let number = NumberWord { words: at..end, value, ordinal, digits: starts_digit };
        let quoted = words[at..end].iter().any(|word| word.quoted);
        if !quoted && stands_alone(text, words, &number) && counts(words, &number) {
            found.push(number);
        }
        at = end;
    }
    found
}

/// Nothing is joined to it: no hyphen, no sign, no further digits.
fn stands_alone(text: &Text, words: &[Word], number: &NumberWord) -> bool {
    let (first, last) = (number.words.start, number.words.end - 1);
    let before = first.checked_sub(1).and_then(|i| words.get(i));
    let lone = |word: Option<&Word>| word.is_none_or(|word| read_digits(&word.lower).is_none() && part(&word.lower).is_none());
    let sides = |at: usize, back: bool| {
        let part = if back { text.content.get(..at) } else { text.content.get(at..) };
        let c = part.and_then(|part| if back { part.chars().next_back() } else { part.chars().next() });
        c.is_none_or(|c| {
            c.is_whitespace()
                || if back {
                    matches!(c, '(' | '"' | '\u{201c}')
                } else {
                    matches!(c, ',' | '.' | '!' | '?' | ';' | ')' | '"' | '\u{201d}')
                }
        })
    };
    sides(words[first].range.start, true)
        && sides(words[last].range.end, false)
        && before.is_none_or(|before| before.last_of_phrase || lone(Some(before)))
        && (words[last].last_of_phrase || lone(words.get(last + 1)))
        && !words[first..last].iter().any(|word| word.last_of_phrase)
}

fn counts(words: &[Word], number: &NumberWord) -> bool {
    let (first, last) = (number.words.start, number.words.end - 1);
    let (before, after) = (near(words, first, -1), near(words, last, 1));
    let noun = after.is_some() && !is(after, &FUNCTION);
    match (number.digits, number.ordinal, number.words.len()) {
        // "1999", "in 1066", "2,000" and "room 101".
        (true, false, _) => {
            !(number.value >= 1000 && (is(before, &NAMED) || !noun))
                && !is(before, &["number", "no", "room", "channel", "page", "route", "bus", "line", "gate", "platform", "model"])
        }
        (true, true, _) => true,
        // "second", "third" and "first" count time, parts and more; behind "the" and before a thing they rank.
        (false, true, 1) => {
            noun && is(before, &["the", "his", "her", "its", "their", "my", "our", "your", "every", "each"])
                && !is(after, &["time", "hand", "aid", "place", "person", "half", "floor", "world", "degree"])
                && after.is_none_or(|w| w != "thing")
        }
        (false, true, _) => true,
        // "the one on the left", "no one", "one of them".
        (false, false, 1) if number.value == 1 => {
            noun && !is(before, &["the", "this", "that", "no", "any", "some", "every", "each", "which", "another", "other", "only"])
                && before.is_none_or(|word| FUNCTION.contains(&word) || word.ends_with("ing"))
                && !is(
                    after,
                    &["another", "day", "by", "would", "could", "might", "should", "must", "may", "does", "sees", "hears", "thing"],
                )
        }
        _ => !joined(words, last) || number.words.len() > 1,
    }
}

fn rewrite(text: &Text, words: &[Word], number: &NumberWord, new: &str) -> Option<Edit> {
    let range = words[number.words.start].range.start..words[number.words.end - 1].range.end;
    let old = text.content.get(range.clone())?;
    let replacement = match_case(old, new);
    (!is_protected(text, &range) && replacement != old).then_some(Edit { range, replacement })
}

/// `3 dogs` becomes `three dogs`: an edit for each number in digits.
pub fn digits_to_words(text: &Text, words: &[Word]) -> Vec<Edit> {
    let edit = |number: NumberWord| {
        let said = if number.ordinal { ordinal_words(number.value) } else { number_words(number.value) }?;
        // The first word of a sentence has a capital.
        let first = number.words.start == 0
            && words.iter().skip(1).all(|word| !word.range.is_empty())
            && text.content.trim_end().ends_with(['.', '!', '?']);
        rewrite(text, words, &number, &if first { match_case("Aa", &said) } else { said })
    };
    number_mentions(text, words).into_iter().filter(|number| number.digits).filter_map(edit).collect()
}

/// `three dogs` becomes `3 dogs`: an edit for each number in words.
pub fn words_to_digits(text: &Text, words: &[Word]) -> Vec<Edit> {
    let edit = |number: NumberWord| {
        let digits = if number.ordinal { ordinal_digits(number.value) } else { number.value.to_string() };
        let range = words[number.words.start].range.start..words[number.words.end - 1].range.end;
        (!is_protected(text, &range)).then_some(Edit { range, replacement: digits })
    };
    number_mentions(text, words).into_iter().filter(|number| !number.digits).filter_map(edit).collect()
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
    fn numbers_as_they_are_said() {
        let said = [0, 7, 13, 20, 42, 100, 105, 999, 1000, 1010, 2345, 9999].map(|n| number_words(n).unwrap());
        let want = [
            "zero",
            "seven",
            "thirteen",
            "twenty",
            "forty-two",
            "one hundred",
            "one hundred five",
            "nine hundred ninety-nine",
            "one thousand",
            "one thousand ten",
            "two thousand three hundred forty-five",
            "nine thousand nine hundred ninety-nine",
        ];
        assert_eq!(said, want);
        let ranks = [1, 2, 3, 4, 5, 8, 9, 12, 20, 21, 100, 113].map(|n| ordinal_words(n).unwrap());
        let want = [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "eighth",
            "ninth",
            "twelfth",
            "twentieth",
            "twenty-first",
            "one hundredth",
            "one hundred thirteenth",
        ];
        assert_eq!(ranks, want);
        assert_eq!(
            [1, 2, 3, 11, 12, 13, 21, 112, 122].map(ordinal_digits),
            ["1st", "2nd", "3rd", "11th", "12th", "13th", "21st", "112th", "122nd"]
        );
        assert_eq!((number_words(10_000), ordinal_words(0)), (None, None));
    }

    #[test]
    fn there_and_back_for_every_number() {
        for n in 0..=9999u32 {
            let content = format!("the {n} dogs and the {} cat", ordinal_digits(n.max(1)));
            let said = with(digits_to_words, &content);
            assert_eq!(said, format!("the {} dogs and the {} cat", number_words(n).unwrap(), ordinal_words(n.max(1)).unwrap()));
            // "the one dogs" stays: nobody counts so.
            if n != 1 {
                assert_eq!(with(words_to_digits, &said), content);
            }
        }
    }

    #[test]
    fn captions() {
        for (content, digits) in [
            ("Two dogs and twenty-three cats", "2 dogs and 23 cats"),
            ("two hundred and five people", "205 people"),
            ("one dog barks", "1 dog barks"),
            ("the third car on the left", "the 3rd car on the left"),
            ("a group of five, all red", "a group of 5, all red"),
            ("twenty five birds", "25 birds"),
        ] {
            assert_eq!(with(words_to_digits, content), digits);
        }
        for stays in [
            "the one on the left",
            "one of the dogs",
            "a second later",
            "no one sees it",
            "a two-door car",
            "someone",
            "first, a dog",
            "nine eleven",
            "the second hand",
            "one by one",
            "hundreds of birds",
        ] {
            assert_eq!(with(words_to_digits, stays), stays);
        }
        assert_eq!(with(digits_to_words, "3 dogs in the 2nd room."), "Three dogs in the second room.");
        for stays in [
            "in 1998",
            "a 3D film",
            "3.5 metres",
            "$5",
            "room 101",
            "a 747-400",
            "007",
            "10000 birds",
            "50% grey",
            "at 10:30",
            "1,234 birds",
        ] {
            assert_eq!(with(digits_to_words, stays), stays);
        }
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), seed: u64) {
            testing::check(&content, |text, words, _| digits_to_words(text, words), seed)?;
            testing::check(&content, |text, words, _| words_to_digits(text, words), seed)?;
        }
    }
}
