//! Noise in the surface of a text: case, punctuation and blanks. Every word stays what it is.

use super::{
    Edit, Word,
    draw::{share_of, sites},
    is_protected,
};
use crate::sample::Text;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A case that words are put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// All capitals.
    Upper,
    /// No capitals.
    Lower,
    /// A capital and small letters.
    Title,
    /// Capitals become small letters and the other way round.
    Inverted,
}

/// A share of the words that are not in this case yet are put into it.
pub fn change_case<R: Rng + ?Sized>(text: &Text, words: &[Word], case: Case, share: f64, rng: &mut R) -> Vec<Edit> {
    let other = |word: &Word| {
        let old = text.content.get(word.range.clone())?;
        let new = match case {
            Case::Upper => old.to_uppercase(),
            Case::Lower => old.to_lowercase(),
            Case::Title => {
                let first = old.chars().next().map_or(0, char::len_utf8);
                old[..first].chars().flat_map(char::to_uppercase).collect::<String>() + &old[first..].to_lowercase()
            }
            Case::Inverted => old.chars().map(inverted).collect(),
        };
        (new != old && !is_protected(text, &word.range)).then(|| Edit { range: word.range.clone(), replacement: new })
    };
    super::some_edits(words.iter().filter_map(other).collect(), share, rng)
}

fn inverted(c: char) -> String {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// A share of the letters changes its case: `rAndOm`.
pub fn random_case<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let mut open: Vec<(usize, char)> = Vec::with_capacity(text.content.len());
    for word in words.iter().filter(|word| !is_protected(text, &word.range)) {
        let Some(letters) = text.content.get(word.range.clone()) else { continue };
        let cased = |c: &char| (c.is_uppercase() || c.is_lowercase()) && !inverted(*c).chars().eq([*c]);
        open.extend(letters.char_indices().map(|(at, c)| (word.range.start + at, c)).filter(|(_, c)| cased(c)));
    }
    let drawn = sites(open.len(), share_of(share, open.len()), rng);
    let edit = |(at, c): (usize, char)| Edit { range: at..at + c.len_utf8(), replacement: inverted(c) };
    drawn.into_iter().map(|site| edit(open[site.at])).collect()
}

fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{b6}' | '\u{b7}' | '\u{bb}' | '\u{bf}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}')
}

/// Every mark between words and every apostrophe inside one, outside protected spans.
fn marks(text: &Text, words: &[Word]) -> Vec<Range<usize>> {
    let content = text.content.as_str();
    let mut word = 0;
    let mut found = Vec::new();
    let mut see = |at: usize, c: char| {
        if !is_mark(c) {
            return;
        }
        while words.get(word).is_some_and(|word| word.range.end <= at) {
            word += 1;
        }
        let inside = words.get(word).is_some_and(|word| word.range.contains(&at));
        let range = at..at + c.len_utf8();
        if (!inside || matches!(c, '\'' | '\u{2019}')) && !is_protected(text, &range) {
            found.push(range);
        }
    };
    content.char_indices().for_each(|(at, c)| see(at, c));
    // A mark with a combining character is one cluster with it and stays.
    let combines = |range: &Range<usize>| {
        content[range.end..]
            .chars()
            .next()
            .is_some_and(|c| !c.is_ascii() && content[range.start..].graphemes(true).next().is_some_and(|g| g.len() > range.len()))
    };
    found.retain(|range| !combines(range));
    found
}

/// A share of the punctuation marks goes; a mark that alone parts two words (a hyphen) leaves a blank.
pub fn drop_punctuation<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let open = marks(text, words);
    let parts = |range: &Range<usize>| {
        let alike = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let apostrophe = matches!(&text.content[range.clone()], "'" | "\u{2019}");
        !apostrophe && alike(text.content[..range.start].chars().next_back()) && alike(text.content[range.end..].chars().next())
    };
    let edit = |range: &Range<usize>| Edit { range: range.clone(), replacement: if parts(range) { " ".to_owned() } else { String::new() } };
    sites(open.len(), share_of(share, open.len()), rng).into_iter().map(|site| edit(&open[site.at])).collect()
}

/// A share of the marks is written two or three times: `!!!`.
pub fn repeat_punctuation<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let open = marks(text, words);
    let drawn = sites(open.len(), share_of(share, open.len()), rng);
    drawn
        .into_iter()
        .map(|site| (site, open[site.at].clone()))
        .map(|(site, range)| Edit { replacement: text.content[range.clone()].repeat(2 + site.choice(2)), range })
        .collect()
}

const ADDED: [&str; 8] = [",", ",", ".", ";", ":", "!", "?", " -"];

/// Behind a share of the words that a blank or the end follows comes a mark that does not belong there.
pub fn add_punctuation<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let free = |word: &&Word| {
        let end = word.range.end;
        text.content.get(end..).is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace)) && !is_protected(text, &(end..end))
    };
    let open: Vec<&Word> = words.iter().filter(free).collect();
    let edit = |end: usize, mark: usize| Edit { range: end..end, replacement: ADDED.get(mark).copied().unwrap_or(",").to_owned() };
    sites(open.len(), share_of(share, open.len()), rng)
        .into_iter()
        .map(|site| edit(open[site.at].range.end, site.choice(ADDED.len())))
        .collect()
}

/// A share of the words of at least four grapheme clusters is split in two by a blank.
pub fn split_words<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let clusters = |word: &Word| -> Vec<usize> {
        let Some(letters) = text.content.get(word.range.clone()) else { return Vec::new() };
        if letters.is_ascii() { (0..letters.len()).collect() } else { letters.grapheme_indices(true).map(|(at, _)| at).collect() }
    };
    let long = |word: &&Word| {
        let len = word.range.len();
        len >= 4 && (word.lower.is_ascii() || clusters(word).len() >= 4) && !is_protected(text, &word.range)
    };
    let open: Vec<&Word> = words.iter().filter(long).collect();
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let places = clusters(open[site.at]);
        let Some(at) = places.get(1 + site.choice(places.len().saturating_sub(1))) else { continue };
        let at = open[site.at].range.start + at;
        edits.push(Edit { range: at..at, replacement: " ".to_owned() });
    }
    edits
}

/// The blanks that alone stand between two words neither of which is protected, on one line.
fn gaps<'a>(text: &'a Text, words: &'a [Word]) -> impl Iterator<Item = Range<usize>> + 'a {
    words.windows(2).filter_map(|pair| {
        let gap = pair[0].range.end..pair[1].range.start;
        let blanks = text.content.get(gap.clone())?;
        let blank = !blanks.is_empty() && blanks.chars().all(|c| c.is_whitespace() && c != '\n' && c != '\r');
        (blank && !is_protected(text, &(pair[0].range.start..pair[1].range.end))).then_some(gap)
    })
}

/// A share of the blanks between two words goes: `reddog`.
pub fn merge_words<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let all = gaps(text, words).map(|range| Edit { range, replacement: String::new() }).collect();
    super::some_edits(all, share, rng)
}

/// A share of the blanks between two words is doubled.
pub fn double_blanks<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let all = gaps(text, words).map(|range| Edit { replacement: text.content[range.clone()].repeat(2), range }).collect();
    super::some_edits(all, share, rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use crate::random::SeedTree;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    type Noise = fn(&Text, &[Word], f64, &mut ChaCha8Rng) -> Vec<Edit>;
    const ALL: [Noise; 12] = [
        random_case,
        drop_punctuation,
        repeat_punctuation,
        add_punctuation,
        split_words,
        merge_words,
        double_blanks,
        |t, w, s, r| change_case(t, w, Case::Upper, s, r),
        |t, w, s, r| change_case(t, w, Case::Lower, s, r),
        |t, w, s, r| change_case(t, w, Case::Title, s, r),
        |t, w, s, r| change_case(t, w, Case::Inverted, s, r),
        super::super::spelling_errors,
    ];

    fn all_of(noise: Noise, content: &str) -> String {
        let text = Text::new(content);
        apply(&text, noise(&text, &words(content), 1.0, &mut SeedTree::new(1).rng())).unwrap().text.content
    }

    #[test]
    fn case_of_words() {
        let of = |case: usize| all_of(ALL[case], "A gro\u{df}e dog isn't NICE");
        assert_eq!(
            [7, 8, 9, 10].map(of),
            ["A GROSSE DOG ISN'T NICE", "a gro\u{df}e dog isn't nice", "A Gro\u{df}e Dog Isn't Nice", "a GROSSE DOG ISN'T nice"]
        );
        assert_eq!(all_of(random_case, "aB 1"), "Ab 1");
    }

    #[test]
    fn marks_go_come_and_double() {
        assert_eq!(all_of(drop_punctuation, "A left-hand dog, isn't it? \"Yes\": 3.5%!"), "A left hand dog isnt it Yes 3.5");
        let doubled = all_of(repeat_punctuation, "Go!");
        assert!(["Go!!", "Go!!!"].contains(&doubled.as_str()), "{doubled}");
        assert_eq!(all_of(add_punctuation, "a dog, a car").chars().filter(|c| ADDED.concat().contains(*c) && *c != ' ').count(), 4);
    }

    #[test]
    fn blanks_part_and_join() {
        assert_eq!(all_of(merge_words, "a red dog, a\u{a0}car"), "areddog, acar");
        assert_eq!(all_of(double_blanks, "a red dog, a car"), "a  red  dog, a  car");
        let split = all_of(split_words, "a frisbee");
        assert!(split.len() == 10 && split.replace(' ', "") == "afrisbee" && !split.ends_with(' '), "{split}");
        assert_eq!(all_of(split_words, "the dog"), "the dog");
    }

    proptest! {
        #[test]
        fn noise_changes_the_text_and_nothing_that_is_protected(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            for noise in ALL {
                testing::check(&content, |text, words, rng| noise(text, words, share, rng), seed)?;
            }
        }

        #[test]
        fn a_larger_share_edits_all_that_a_smaller_one_does(content in testing::texts(), a in 0.0f64..=1.0, b in 0.0f64..=1.0, seed: u64) {
            let text = Text::new(content);
            let words = words(&text.content);
            for noise in ALL {
                let draw = |share| noise(&text, &words, share, &mut SeedTree::new(seed).rng());
                let (few, many) = (draw(a.min(b)), draw(a.max(b)));
                prop_assert!(few.iter().all(|edit| many.contains(edit)));
            }
        }
    }
}
