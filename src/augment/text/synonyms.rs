//! Synonyms by part of speech: a word is replaced only where its place in the phrase says as what it is used.

use super::{
    Edit, Word,
    colours::colour_words,
    draw::{share_of, sites},
    inflect::replace_word,
    is_protected,
    lexicon::{BASE, PAST, Reading, Speech, WITH_ING, WITH_S, others, readings},
    phrases::{self, DETERMINERS, FUNCTION, LINKING, PREPOSITIONS},
    sizes::measure_words,
    words::{Sense, is, joined, near},
};
use crate::sample::Text;
use rand::Rng;

const PRONOUNS: [&str; 9] = ["i", "you", "he", "she", "it", "we", "they", "who", "that"];
const AUXILIARIES: [&str; 16] =
    ["to", "can", "could", "will", "would", "should", "must", "may", "might", "do", "does", "did", "don't", "doesn't", "didn't", "not"];

/// The reading that the place of word `at` allows, if there is just one.
fn reading(words: &[Word], at: usize) -> Option<Reading> {
    let word = words.get(at)?;
    let all = readings(&word.lower);
    if all.is_empty() || word.quoted || joined(words, at) {
        return None;
    }
    let mut fitting = all.iter().filter(|reading| fits(words, at, **reading));
    let first = *fitting.next()?;
    fitting.next().is_none().then_some(first)
}

fn is_adjective(word: &str) -> bool {
    const COMMON: [&str; 30] = [
        "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "small", "little", "old", "new", "long",
        "short", "high", "low", "dark", "bright", "hot", "warm", "loud", "quiet", "same", "other", "first", "second", "third", "last",
    ];
    COMMON.contains(&word) || readings(word).iter().any(|reading| reading.speech == Speech::Adjective)
}

fn is_verb(word: &str) -> bool {
    readings(word).iter().any(|reading| matches!(reading.speech, Speech::Verb(_)) && reading.form != BASE) || word.ends_with("ing")
}

fn fits(words: &[Word], at: usize, reading: Reading) -> bool {
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    let ends = after.is_none_or(|after| FUNCTION.contains(&after) && !DETERMINERS.contains(&after) || after.ends_with("ly"));
    let pronoun = is(before, &PRONOUNS);
    let help = is(before, &AUXILIARIES);
    match reading.speech {
        Speech::Noun => {
            let begins = before.is_none_or(|before| {
                DETERMINERS.contains(&before)
                    || PREPOSITIONS.contains(&before)
                    || matches!(before, "and" | "or" | "while")
                    || before.ends_with("'s")
                    || is_adjective(before)
            });
            // "Runs in place": no determiner at all before a singular that is counted is a fixed phrase.
            let bare = reading.form == 0 && is(before, &PREPOSITIONS) && others(reading).all(|other| other.len() > 2);
            let counted = bare
                && words.get(at).is_some_and(|word| matches!(word.lower.as_str(), "place" | "line" | "home" | "sound" | "sea" | "present"));
            begins && !counted && (ends || after.is_some_and(|after| is_verb(after) || LINKING.contains(&after)))
        }
        Speech::Verb(transitive) => {
            let object = after.is_some_and(|after| DETERMINERS.contains(&after) || matches!(after, "it" | "him" | "her" | "them"));
            let passive = transitive && reading.form > WITH_ING && is(before, &LINKING);
            let follows = if transitive { object || passive && ends } else { ends && !object };
            let noun = before.is_some_and(|before| {
                !FUNCTION.contains(&before) && !DETERMINERS.contains(&before) && !PREPOSITIONS.contains(&before) && !is_adjective(before)
            });
            let plural =
                noun && before.is_some_and(|before| before.ends_with('s') || matches!(before, "people" | "children" | "men" | "women"));
            let begins = match reading.form {
                BASE => help || plural || is(before, &["i", "you", "we", "they"]),
                WITH_S => noun || is(before, &["he", "she", "it", "who", "that"]),
                WITH_ING => before.is_none() || noun || pronoun || is(before, &LINKING) || is(before, &["while", "and", "not"]),
                PAST => noun || pronoun,
                _ => is(before, &["has", "have", "had", "been"]) || transitive && is(before, &LINKING),
            };
            begins && follows
        }
        Speech::Adjective => phrases::is_attributive(words, at) && !pronoun && !help || phrases::is_predicative(words, at),
        Speech::Adverb | Speech::Preposition => true,
    }
}

/// Whether a colour or a size is part of a name ("big brother", "grey matter") or of an unsure pattern.
fn is_name(words: &[Word], at: usize) -> bool {
    let range = &words[at].range;
    let window = &words[at.saturating_sub(3)..(at + 4).min(words.len())];
    colour_words(window).iter().any(|word| word.range == *range && word.sense == Sense::Other)
        || measure_words(window).iter().any(|word| word.range == *range && word.sense == Sense::Other)
}

/// The words that have a synonym where they stand, by index.
fn open(text: &Text, words: &[Word]) -> Vec<(usize, Reading)> {
    let mut open: Vec<(usize, Reading)> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(reading) = reading(words, at) else { continue };
        let Some(original) = text.content.get(word.range.clone()) else { continue };
        let opens = at == 0 || text.content[..word.range.start].trim_end().ends_with(['.', '!', '?']);
        let name = original.starts_with(char::is_uppercase) && !opens && !text.content.chars().all(|c| !c.is_lowercase());
        if !name && !is_protected(text, &word.range) && others(reading).next().is_some() && !is_name(words, at) {
            open.push((at, reading));
        }
    }
    open
}

/// Every replacement of one word by a synonym, in the order of the words: one edit each, which takes an article before the word along where it is refitted.
pub fn every_synonym(text: &Text, words: &[Word]) -> Vec<Edit> {
    let one = |at: usize, new: &str| {
        let edits = replace_word(text, words, at, new)?;
        let (start, end) = (edits.iter().map(|edit| edit.range.start).min()?, edits.iter().map(|edit| edit.range.end).max()?);
        let mut replacement = String::new();
        let mut from = start;
        for edit in &edits {
            replacement.push_str(text.content.get(from..edit.range.start)?);
            replacement.push_str(&edit.replacement);
            from = edit.range.end;
        }
        Some(Edit { range: start..end, replacement })
    };
    open(text, words).into_iter().flat_map(|(at, reading)| others(reading).filter_map(move |new| one(at, new))).collect()
}

/// A share of the words that have a synonym where they stand is replaced by one, in its form and case; an article before it is refitted. A word with a
/// capital inside a sentence is a name and stays, as do hyphenated and quoted words.
pub fn synonyms<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let open = open(text, words);
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let (at, reading) = open[site.at];
        let choices = others(reading);
        let Some(new) = choices.clone().nth(site.choice(choices.count())) else { continue };
        edits.extend(replace_word(text, words, at, new).unwrap_or_default());
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::text::{apply, testing, words},
        random::SeedTree,
    };
    use proptest::prelude::*;

    fn all(content: &str, seed: u64) -> String {
        let text = Text::new(content);
        apply(&text, synonyms(&text, &words(content), 1.0, &mut SeedTree::new(seed).rng())).unwrap().text.content
    }

    #[test]
    fn words_take_their_form_their_case_and_their_article() {
        for (content, other) in [
            ("A car drives on the street.", "An automobile drives on the road."),
            ("two kittens beside a couch", "two kitties alongside a sofa"),
            ("Photos of a bunny", "Photographs of a rabbit"),
            ("a man speaks loudly", ""),
            ("a dog is speaking", "a dog is talking"),
            ("THE TRUCK", "THE LORRY"),
            ("a bicyclist", "a cyclist"),
            ("an icy path", "a frosty trail"),
        ] {
            if other.is_empty() {
                assert_ne!(all(content, 1), content);
            } else {
                assert_eq!(all(content, 1), other);
            }
        }
    }

    #[test]
    fn a_word_whose_use_is_not_sure_stays() {
        for content in [
            "rock music",
            "we watch",
            "Wall Street",
            "he runs in place",
            "a stone-cold plate-like thing",
            "a sign says \"street\"",
            "she speaks English",
            "big brother",
            "grey matter",
            "they fear dogs",
            "the watch dog",
        ] {
            assert_eq!(all(content, 3), content);
        }
    }

    #[test]
    fn every_synonym_is_one_edit_with_its_article() {
        let content = "A car drives on the street.";
        let text = Text::new(content);
        let found: Vec<String> =
            every_synonym(&text, &words(content)).into_iter().map(|e| apply(&text, vec![e]).unwrap().text.content).collect();
        assert!(found.contains(&"An automobile drives on the street.".to_owned()), "{found:?}");
        assert!(found.contains(&"A car drives on the road.".to_owned()), "{found:?}");
        // What a draw may make is among them.
        for seed in 0..20 {
            let drawn = apply(&text, synonyms(&text, &words(content), 0.01, &mut SeedTree::new(seed).rng())).unwrap().text.content;
            assert!(drawn == content || found.contains(&drawn), "{drawn}");
        }
        assert!(every_synonym(&Text::new("rock music"), &words("rock music")).is_empty());
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            testing::check(&content, |text, words, rng| synonyms(text, words, share, rng), seed)?;
        }
    }
}
