//! Which words of a caption changed, and text made safe to look at.

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

/// Words beyond which two captions are no longer aligned word by word: the time grows with the product of their lengths.
const MOST_WORDS: usize = 600;

/// What became of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// In both.
    Kept,
    /// In the first only.
    Removed,
    /// In the second only.
    Added,
}

/// A run of neighbouring words with the same fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Piece {
    pub(super) change: Change,
    pub(super) text: String,
}

/// Aligns two texts by their words (Unicode word boundaries; a longest common subsequence). Kept and added pieces together are
/// `after`, kept and removed ones `before`, to the letter.
pub(super) fn difference(before: &str, after: &str) -> Vec<Piece> {
    let old: Vec<&str> = before.split_word_bounds().collect();
    let new: Vec<&str> = after.split_word_bounds().collect();
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut pieces = Vec::new();
    old[..start].iter().for_each(|word| push(&mut pieces, Change::Kept, word));
    align(&old[start..old.len() - end], &new[start..new.len() - end], &mut pieces);
    old[old.len() - end..].iter().for_each(|word| push(&mut pieces, Change::Kept, word));
    pieces
}

fn align(old: &[&str], new: &[&str], pieces: &mut Vec<Piece>) {
    if old.len() > MOST_WORDS || new.len() > MOST_WORDS {
        old.iter().for_each(|word| push(pieces, Change::Removed, word));
        new.iter().for_each(|word| push(pieces, Change::Added, word));
        return;
    }
    // common[i][j]: length of the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![vec![0u16; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            push(pieces, Change::Kept, old[i]);
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            push(pieces, Change::Removed, old[i]);
            i += 1;
        } else {
            push(pieces, Change::Added, new[j]);
            j += 1;
        }
    }
}

fn push(pieces: &mut Vec<Piece>, change: Change, word: &str) {
    match pieces.last_mut().filter(|piece| piece.change == change) {
        Some(piece) => piece.text.push_str(word),
        None => pieces.push(Piece { change, text: word.to_owned() }),
    }
}

/// Text whose invisible characters are spelled out: control characters and the marks that reorder what follows (bidirectional
/// overrides and isolates), so that nothing on the page is other than it looks.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            || (c.is_control() && !matches!(c, '\n' | '\t'));
        if hidden {
            shown.push_str(&format!("[U+{:04X}]", c as u32));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// [`visible`] text with the five characters of markup as entities: right between tags and between double or single quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// The first `most` characters, with an ellipsis where more follow.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut graphemes = text.graphemes(true);
    let short: String = graphemes.by_ref().take(most).collect();
    if graphemes.next().is_some() { short + "…" } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(before: &str, after: &str) -> String {
        let mark = |piece: &Piece| match piece.change {
            Change::Kept => piece.text.clone(),
            Change::Removed => format!("-{}-", piece.text),
            Change::Added => format!("+{}+", piece.text),
        };
        difference(before, after).iter().map(mark).collect()
    }

    #[test]
    fn changed_words_are_marked() {
        assert_eq!(told("a loud dog on the left", "a faint dog on the right"), "a -loud-+faint+ dog on the -left-+right+");
        assert_eq!(told("the number three", "the number [mask]"), "the number -three-+[mask]+");
        assert_eq!(told("same", "same"), "same");
        assert_eq!(told("", "new words"), "+new words+");
        assert_eq!(told("gone", ""), "-gone-");
        assert_eq!(told("one two three", "one three"), "one -two -three");
        assert_eq!(told("", ""), "");
    }

    #[test]
    fn very_long_captions_are_told_as_a_whole() {
        let long = |word: &str| vec![word; 2 * MOST_WORDS].join(" ");
        let pieces = difference(&long("a"), &long("b"));
        assert_eq!(pieces.iter().map(|p| p.change).collect::<Vec<_>>(), [Change::Removed, Change::Added]);
    }

    #[test]
    fn nothing_stays_hidden() {
        assert_eq!(visible("a\u{202e}b\u{0}c\nd"), "a[U+202E]b[U+0000]c\nd");
        assert_eq!(visible("Grüße, 数字, שלום"), "Grüße, 数字, שלום");
        assert_eq!(escaped("\"><script>'&\u{2066}"), "&quot;&gt;&lt;script&gt;&#39;&amp;[U+2066]");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shortened("e\u{301}tude", 2), "e\u{301}t…");
        assert_eq!(shortened("ab", 2), "ab");
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_off_the_difference(before in "[ab ,é]{0,30}", after in "[ab ,é]{0,30}") {
            let pieces = difference(&before, &after);
            let side = |without: Change| pieces.iter().filter(|p| p.change != without).map(|p| p.text.as_str()).collect::<String>();
            prop_assert_eq!(side(Change::Added), before);
            prop_assert_eq!(side(Change::Removed), after);
        }
    }
}
