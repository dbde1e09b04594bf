//! Noise in the order and number of words: some go, are masked, repeated, or change places with their neighbour.

use super::{
    Edit, Word,
    draw::{share_of, sites},
    drop_words, is_protected, mask_words,
};
use crate::sample::Text;
use rand::Rng;

/// A share of the words, drawn, in the order of the text. Protected words are never drawn.
pub fn some_words<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Word> {
    let open: Vec<&Word> = words.iter().filter(|word| !is_protected(text, &word.range)).collect();
    let mut drawn: Vec<usize> = sites(open.len(), share_of(share, open.len()), rng).into_iter().map(|site| site.at).collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|at| open[at].clone()).collect()
}

/// A share of the words goes with its blanks; a text of words keeps at least one word.
pub fn drop_some<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let mut drawn = some_words(text, words, share, rng);
    if drawn.len() == words.len() {
        drawn.pop();
    }
    drop_words(text, &drawn)
}

/// A share of the words is replaced by `mask`.
pub fn mask_some<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, mask: &str, rng: &mut R) -> Vec<Edit> {
    let mut edits = mask_words(text, &some_words(text, words, share, rng), mask);
    edits.retain(|edit| text.content.get(edit.range.clone()) != Some(edit.replacement.as_str()));
    edits
}

/// A share of the words is said twice: `the the dog`. Spans stay on the first.
pub fn repeat_words<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let again = |word: Word| {
        let end = word.range.end;
        // Inside a longer protected or tagged span the second would stand in it.
        let said = text.content.get(word.range)?;
        (!is_protected(text, &(end..end))).then(|| Edit { range: end..end, replacement: format!(" {}", lower_start(said)) })
    };
    some_words(text, words, share, rng).into_iter().filter_map(again).collect()
}

/// `The` as it is written inside a sentence; a word with more capitals stays.
fn lower_start(word: &str) -> String {
    let mut rest = word.chars();
    match rest.next() {
        Some(first) if word.len() > 1 && !rest.as_str().chars().any(char::is_uppercase) => first.to_lowercase().chain(rest).collect(),
        _ => word.to_owned(),
    }
}

/// A share of the pairs of unlike neighbouring words changes places. One of a pair moves and the other stays, so that the spans and the word time of the
/// one that stays are kept; a pair in which both belong to a span is not swapped, and no word is moved twice.
pub fn swap_words<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let spanned = |word: &Word| text.spans.iter().any(|span| span.start < word.range.end && word.range.start < span.end);
    let open: Vec<usize> = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| {
            let between = text.content.get(pair[0].range.end..pair[1].range.start);
            let blank = between.is_some_and(|between| !between.is_empty() && between.chars().all(char::is_whitespace));
            blank && pair[0].lower != pair[1].lower && !(spanned(&pair[0]) && spanned(&pair[1]))
        })
        .map(|(at, _)| at)
        .collect();
    let mut moved = vec![false; words.len()];
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let at = open[site.at];
        let (first, second) = (&words[at], &words[at + 1]);
        let (Some(one), Some(two)) = (text.content.get(first.range.clone()), text.content.get(second.range.clone())) else { continue };
        let gap = &text.content[first.range.end..second.range.start];
        if moved[at] || moved[at + 1] {
            continue;
        }
        moved[at] = true;
        moved[at + 1] = true;
        if spanned(second) {
            // The first goes behind the second.
            edits.push(Edit { range: first.range.start..second.range.start, replacement: String::new() });
            edits.push(Edit { range: second.range.end..second.range.end, replacement: format!("{gap}{one}") });
        } else {
            edits.push(Edit { range: first.range.start..first.range.start, replacement: format!("{two}{gap}") });
            edits.push(Edit { range: first.range.end..second.range.end, replacement: String::new() });
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::text::{apply, testing, words},
        random::SeedTree,
        sample::TextSpan,
    };
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    type Noise = fn(&Text, &[Word], f64, &mut ChaCha8Rng) -> Vec<Edit>;
    const ALL: [Noise; 4] = [drop_some, |t, w, s, r| mask_some(t, w, s, "[MASK]", r), repeat_words, swap_words];

    fn all_of(noise: Noise, content: &str) -> String {
        let text = Text::new(content);
        apply(&text, noise(&text, &words(content), 1.0, &mut SeedTree::new(1).rng())).unwrap().text.content
    }

    #[test]
    fn words_go_double_and_move() {
        assert_eq!(all_of(ALL[0], "The red dog."), "dog.");
        assert_eq!(all_of(ALL[1], "The red dog."), "[MASK] [MASK] [MASK].");
        assert_eq!(all_of(ALL[2], "The NATO dog, a cat"), "The the NATO NATO dog dog, a a cat cat");
        let swapped = all_of(ALL[3], "The red dog.");
        assert!(["red The dog.", "The dog red."].contains(&swapped.as_str()), "{swapped}");
        assert_eq!(all_of(ALL[3], "very very, good"), "very very, good");
    }

    #[test]
    fn an_entity_stays_itself_when_it_moves() {
        for (start, end) in [(0, 4), (5, 11)] {
            let text = Text { content: "Anna sleeps".into(), spans: vec![TextSpan { start, end, tag: "it".into() }] };
            let edited = apply(&text, swap_words(&text, &words(&text.content), 1.0, &mut SeedTree::new(1).rng())).unwrap().text;
            assert_eq!((edited.content.as_str(), edited.spans.len()), ("sleeps Anna", 1));
            assert_eq!(edited.content[edited.spans[0].start..edited.spans[0].end], text.content[start..end]);
        }
    }

    proptest! {
        #[test]
        fn noise_changes_the_text_and_nothing_that_is_protected(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            for noise in ALL {
                testing::check(&content, |text, words, rng| noise(text, words, share, rng), seed)?;
            }
        }
    }
}
