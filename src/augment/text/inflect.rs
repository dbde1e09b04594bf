//! The forms of English words by rule: plurals, the forms of verbs, comparison, and the article that fits a word. Irregular forms come with the words
//! that have them.

use super::{Edit, Word, is_protected, match_case, words::near};
use crate::sample::Text;

fn is_vowel(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// One closed syllable with a short vowel: its last consonant is doubled before a vowel (`run`, `running`). A word with another syllable before it
/// (`visit`) keeps its consonant.
fn doubles(word: &str) -> bool {
    let letters = word.as_bytes();
    let [first @ .., vowel, last] = letters else { return false };
    let begun = match first.last() {
        // `qu` is a consonant.
        Some(b'u') => first.ends_with(b"qu"),
        Some(before) => !is_vowel(*before),
        None => return false,
    };
    let before = first.strip_suffix(b"qu").unwrap_or(first);
    is_vowel(*vowel)
        && !is_vowel(*last)
        && !matches!(last, b'w' | b'x' | b'y')
        && begun
        && !before.iter().any(|l| is_vowel(*l) || *l == b'y')
}

fn ends_in_consonant_y(word: &str) -> bool {
    matches!(word.as_bytes(), [.., before, b'y'] if !is_vowel(*before))
}

/// `dogs`, `boxes`, `cities`; also the third person of a verb.
pub(super) fn with_s(word: &str) -> String {
    if ends_in_consonant_y(word) {
        return format!("{}ies", &word[..word.len() - 1]);
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|end| word.ends_with(end));
    if hisses || matches!(word, "potato" | "tomato" | "hero" | "go" | "do" | "echo") { format!("{word}es") } else { format!("{word}s") }
}

/// `running`, `making`, `lying`.
pub(super) fn with_ing(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ie") {
        return format!("{stem}ying");
    }
    match word.strip_suffix('e') {
        Some(stem) if !["ee", "oe", "ye"].iter().any(|end| word.ends_with(end)) && word.len() > 2 => format!("{stem}ing"),
        _ if doubles(word) => format!("{word}{}ing", &word[word.len() - 1..]),
        _ => format!("{word}ing"),
    }
}

/// `jumped`, `baked`, `carried`, `stopped`.
pub(super) fn with_ed(word: &str) -> String {
    with_ending(word, "ed")
}

/// `bigger`, `larger`, `happier`.
pub(super) fn with_er(word: &str) -> String {
    with_ending(word, "er")
}

/// `biggest`, `largest`, `happiest`.
pub(super) fn with_est(word: &str) -> String {
    with_ending(word, "est")
}

fn with_ending(word: &str, ending: &str) -> String {
    if let Some(stem) = word.strip_suffix('e') {
        return format!("{stem}{ending}");
    }
    if ends_in_consonant_y(word) {
        return format!("{}i{ending}", &word[..word.len() - 1]);
    }
    if doubles(word) { format!("{word}{}{ending}", &word[word.len() - 1..]) } else { format!("{word}{ending}") }
}

/// `a` or `an`: by the sound that a word begins with. Capitals alone are spelled out (`an MRI`), digits are read (`an 8`, `an 11`, `an 18`).
pub fn article(word: &str) -> &'static str {
    const SILENT_H: [&str; 8] = ["hour", "hours", "hourly", "hourglass", "honest", "honor", "honour", "heir"];
    const LIKE_YOU: [&str; 10] = ["uni", "use", "usu", "uti", "eu", "ewe", "ufo", "ura", "ubi", "uku"];
    const LIKE_UN: [&str; 6] = ["unin", "unim", "unidentified", "unident", "unill", "unint"];
    let vowel = if word.starts_with(|c: char| c.is_ascii_digit()) {
        let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
        digits.starts_with('8') || (digits.starts_with("11") || digits.starts_with("18")) && digits.len() % 3 == 2
    } else if word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) || word.len() == 1 {
        word.starts_with(|c: char| "AEFHILMNORSX".contains(c.to_ascii_uppercase()))
    } else {
        let lower = word.to_lowercase();
        let starts = |list: &[&str]| list.iter().any(|start| lower.starts_with(start));
        if SILENT_H.contains(&lower.as_str()) || starts(&LIKE_UN) {
            true
        } else if starts(&LIKE_YOU) || lower == "one" || starts(&["once", "one-", "ones"]) {
            false
        } else {
            lower.starts_with(['a', 'e', 'i', 'o', 'u', '\u{e9}', '\u{e0}', '\u{f6}', '\u{e4}', '\u{fc}'])
        }
    };
    if vowel { "an" } else { "a" }
}

/// The edit of an article before word `at` that makes it fit `new` in the word's place: `None` where none is needed. Errors where the article is
/// protected.
pub(super) fn refit_article(text: &Text, words: &[Word], at: usize, new: &str) -> Result<Option<Edit>, ()> {
    let Some(before) = near(words, at, -1).filter(|word| matches!(*word, "a" | "an")) else { return Ok(None) };
    let (fits, word) = (article(new), &words[at - 1]);
    if fits == before || word.hyphen_after {
        return Ok(None);
    }
    match text.content.get(word.range.clone()) {
        Some(old) if !is_protected(text, &word.range) => {
            // A capital `A` begins a sentence: `An`, not `AN`.
            let replacement = if old.starts_with(char::is_uppercase) { match_case("Aa", fits) } else { fits.to_owned() };
            Ok(Some(Edit { range: word.range.clone(), replacement }))
        }
        _ => Err(()),
    }
}

/// Edits that put `new` in the place of word `at`, in its case, and refit an article before it; `None` where a protected word stands in the way or
/// nothing would change.
pub fn replace_word(text: &Text, words: &[Word], at: usize, new: &str) -> Option<Vec<Edit>> {
    let word = words.get(at)?;
    let old = text.content.get(word.range.clone())?;
    let replacement = match_case(old, new);
    if is_protected(text, &word.range) || replacement == old {
        return None;
    }
    let mut edits: Vec<Edit> = refit_article(text, words, at, new).ok()?.into_iter().collect();
    edits.push(Edit { range: word.range.clone(), replacement });
    Some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, words};

    #[test]
    fn regular_forms() {
        assert_eq!(["dog", "box", "city", "day", "bush", "go"].map(with_s), ["dogs", "boxes", "cities", "days", "bushes", "goes"]);
        assert_eq!(
            ["run", "make", "lie", "see", "visit", "play", "quit", "show", "jog", "read", "open"].map(with_ing),
            ["running", "making", "lying", "seeing", "visiting", "playing", "quitting", "showing", "jogging", "reading", "opening"]
        );
        assert_eq!(["stop", "bake", "carry", "play", "look"].map(with_ed), ["stopped", "baked", "carried", "played", "looked"]);
        assert_eq!(["big", "large", "happy", "loud", "slow"].map(with_er), ["bigger", "larger", "happier", "louder", "slower"]);
        assert_eq!(["big", "tiny"].map(with_est), ["biggest", "tiniest"]);
    }

    #[test]
    fn articles_follow_the_sound() {
        for word in ["apple", "hour", "MRI", "X", "8", "11", "18", "11000", "umbrella", "unimportant", "image", "heir", "F16"] {
            assert_eq!(article(word), "an", "{word}");
        }
        for word in ["dog", "unicorn", "European", "one", "UFO", "house", "1", "12", "110", "", "hero", "university", "B"] {
            assert_eq!(article(word), "a", "{word}");
        }
    }

    #[test]
    fn an_article_is_refitted_with_the_word() {
        let of = |content: &str, at: usize, new: &str| {
            let text = Text::new(content);
            replace_word(&text, &words(content), at, new).map(|edits| apply(&text, edits).unwrap().text.content)
        };
        assert_eq!(of("A dog", 1, "animal").as_deref(), Some("An animal"));
        assert_eq!(of("an Orange cat", 1, "blue").as_deref(), Some("a Blue cat"));
        assert_eq!(of("the dog", 1, "animal").as_deref(), Some("the animal"));
        assert_eq!(of("grade a, dog", 2, "animal").as_deref(), Some("grade a, animal"));
        assert_eq!((of("a dog", 1, "dog"), of("a dog", 5, "x")), (None, None));
    }
}
