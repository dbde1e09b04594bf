use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A word of a text (Unicode Standard Annex 29): its bytes and its lower-case form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Byte range in the text.
    pub range: Range<usize>,
    /// Lower case.
    pub lower: String,
    /// Something other than blanks stands between this word and the next one (a comma, a hyphen, the end of a sentence), or it is the last.
    pub last_of_phrase: bool,
    /// A hyphen alone joins it to the next word.
    pub hyphen_after: bool,
    /// It stands between quotation marks.
    pub quoted: bool,
}

/// All words of a text in order; punctuation and blanks are none.
pub fn words(text: &str) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::new();
    let mut quoted = false;
    let mut end_before = 0;
    for (start, cluster) in text.unicode_word_indices() {
        // A combining mark takes the blank before it into its word.
        let word = cluster.trim_start();
        let start = start + cluster.len() - word.len();
        let between = &text[end_before..start];
        if let Some(last) = out.last_mut() {
            last.hyphen_after = matches!(between, "-" | "\u{2010}" | "\u{2011}");
            last.last_of_phrase = !between.trim().is_empty() && !last.hyphen_after;
        }
        for mark in between.chars() {
            match mark {
                '"' => quoted = !quoted,
                '\u{201c}' | '\u{ab}' => quoted = true,
                '\u{201d}' | '\u{bb}' => quoted = false,
                _ => {}
            }
        }
        end_before = start + word.len();
        // The typewriter's apostrophe and the printer's are one.
        let lower = if word.is_ascii() { word.to_ascii_lowercase() } else { word.to_lowercase().replace('\u{2019}', "'") };
        out.push(Word { range: start..end_before, lower, last_of_phrase: true, hyphen_after: false, quoted });
    }
    out
}

/// The word `by` places from word `at` (back if negative) within its phrase.
pub(super) fn near(words: &[Word], at: usize, by: isize) -> Option<&str> {
    let to = at.checked_add_signed(by)?;
    let between = if by < 0 { to..at } else { at..to };
    let word = words.get(to)?;
    (!words.get(between)?.iter().any(|word| word.last_of_phrase)).then_some(word.lower.as_str())
}

/// Whether there is such a word and it stands in a list.
pub(super) fn is(word: Option<&str>, list: &[&str]) -> bool {
    word.is_some_and(|word| list.contains(&word))
}

/// Whether a hyphen joins word `at` to the one before or after it.
pub(super) fn joined(words: &[Word], at: usize) -> bool {
    words.get(at).is_some_and(|word| word.hyphen_after)
        || at.checked_sub(1).and_then(|i| words.get(i)).is_some_and(|before| before.hyphen_after)
}

/// How a word of a list is meant where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// It speaks of the scene: it must follow a change of the scene.
    Scene,
    /// It is known to mean something else ("what is left", "a bright idea"): it stays.
    Other,
    /// It may mean either: whoever would have to change it must refuse.
    Unsure,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_bytes_and_their_phrase() {
        let text = "The na\u{ef}ve dog's right-hand side, \"Turn left\"!";
        let found = words(text);
        let shown: Vec<&str> = found.iter().map(|w| &text[w.range.clone()]).collect();
        assert_eq!(shown, ["The", "na\u{ef}ve", "dog's", "right", "hand", "side", "Turn", "left"]);
        assert!(found[3].hyphen_after && !found[3].last_of_phrase);
        assert!(found[5].last_of_phrase && !found[4].last_of_phrase && found[7].last_of_phrase);
        assert!(found[6].quoted && found[7].quoted && !found[5].quoted);
        assert!(words(" ?! ").is_empty());
    }
}
