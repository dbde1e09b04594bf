use super::Word;
use crate::{
    error::{Error, Result},
    sample::{Text, TextSpan, WordTime},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The tag of a span that no edit may touch.
const PROTECTED: &str = "protected";

/// Replaces a byte range of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// What goes.
    pub range: Range<usize>,
    /// What comes in its place.
    pub replacement: String,
}

/// An edited text and the edits that made it, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    /// The new text with its spans moved.
    pub text: Text,
    edits: Vec<Edit>,
}

impl Edited {
    /// Where a byte range of the old text lies in the new one: it grows and shrinks with the edits inside it; `None` if nothing of it is left.
    pub fn range(&self, old: Range<usize>) -> Option<Range<usize>> {
        let start = self.place(old.start, false);
        let end = self.place(old.end, true);
        (start < end || old.is_empty() && start == end).then_some(start..end)
    }

    /// A place in the new text. A place inside an edit goes to the end of its replacement if it ends a range and to its start otherwise.
    fn place(&self, old: usize, ends: bool) -> usize {
        let mut moved = old as isize;
        for Edit { range, replacement } in &self.edits {
            if old >= range.end && !(range.is_empty() && ends && old == range.end) {
                moved += replacement.len() as isize - range.len() as isize;
            } else if old > range.start {
                let inside = old - range.start;
                moved += if ends { replacement.len() as isize - inside as isize } else { -(inside as isize) };
            }
        }
        moved.max(0) as usize
    }
}

/// Applies edits, which must not overlap, and moves the spans. Errors for an overlap, a range that is no character boundary, or an edit inside
/// a span tagged `protected`.
pub fn apply(text: &Text, mut edits: Vec<Edit>) -> Result<Edited> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    if let Some(pair) = edits.windows(2).find(|pair| pair[1].range.start < pair[0].range.end) {
        return Err(Error::data(format!("two edits of a text overlap: bytes {:?} and {:?}", pair[0].range, pair[1].range)));
    }
    for edit in &edits {
        if text.content.get(edit.range.clone()).is_none() {
            return Err(Error::data(format!("an edit of bytes {:?} does not fit a text of {} bytes", edit.range, text.content.len())));
        }
        if is_protected(text, &edit.range) {
            return Err(Error::data(format!("an edit of bytes {:?} touches a protected word", edit.range)));
        }
    }
    let mut content = String::with_capacity(text.content.len());
    let mut from = 0;
    for edit in &edits {
        content.push_str(&text.content[from..edit.range.start]);
        content.push_str(&edit.replacement);
        from = edit.range.end;
    }
    content.push_str(&text.content[from..]);
    let mut edited = Edited { text: Text { content, spans: Vec::new() }, edits };
    edited.text.spans = text
        .spans
        .iter()
        .filter_map(|span| edited.range(span.start..span.end).map(|r| TextSpan { start: r.start, end: r.end, tag: span.tag.clone() }))
        .collect();
    Ok(edited)
}

/// Whether a byte range touches a protected span.
pub(crate) fn is_protected(text: &Text, range: &Range<usize>) -> bool {
    text.spans.iter().any(|span| span.tag == PROTECTED && span.start < range.end && range.start < span.end)
}

/// Word times whose byte ranges follow an edit; those of words that are gone go too.
pub fn move_words(times: &[WordTime], edited: &Edited) -> Vec<WordTime> {
    let one = |time: &WordTime| {
        let range = edited.range(time.start..time.end)?;
        Some(WordTime { start: range.start, end: range.end, ..time.clone() })
    };
    times.iter().filter_map(one).collect()
}

/// `replacement` in the case of `original`: all capitals, a capital first letter, or as it is.
pub fn match_case(original: &str, replacement: &str) -> String {
    let mut letters = original.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    let second = letters.next();
    let all = first && second.is_some_and(char::is_uppercase) && letters.all(char::is_uppercase);
    if all {
        return replacement.to_uppercase();
    }
    let mut rest = replacement.chars();
    match rest.next() {
        Some(c) if first => c.to_uppercase().chain(rest).collect(),
        _ => replacement.to_owned(),
    }
}

/// Edits that put `mask` in the place of each of these words. Words in a protected span stay.
pub fn mask_words(text: &Text, words: &[Word], mask: &str) -> Vec<Edit> {
    let open = words.iter().filter(|word| !is_protected(text, &word.range));
    open.map(|word| Edit { range: word.range.clone(), replacement: mask.to_owned() }).collect()
}

/// Edits that take these words out with the blanks before them (after them at the beginning). Words in a protected span stay.
pub fn drop_words(text: &Text, words: &[Word]) -> Vec<Edit> {
    let blanks = |part: &str, back: bool| {
        let trimmed = if back { part.trim_end() } else { part.trim_start() };
        part.len() - trimmed.len()
    };
    let mut edits: Vec<Edit> = Vec::new();
    // The end of what is gone from the beginning.
    let mut begun = 0;
    for word in words.iter().filter(|word| !is_protected(text, &word.range)) {
        let mut range = word.range.clone();
        let floor = edits.last().map_or(0, |edit| edit.range.end);
        range.start -= blanks(&text.content[floor..range.start], true);
        if range.start == begun {
            range.end += blanks(&text.content[range.end..], false);
            begun = range.end;
        }
        edits.push(Edit { range, replacement: String::new() });
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::words;
    use proptest::prelude::*;

    fn edit(range: Range<usize>, replacement: &str) -> Edit {
        Edit { range, replacement: replacement.into() }
    }

    #[test]
    fn spans_follow_their_words() {
        let span = |start, end, tag: &str| TextSpan { start, end, tag: tag.into() };
        let text = Text {
            content: "a dog on the left barks".into(),
            spans: vec![span(2, 5, "animal"), span(13, 17, "side"), span(18, 23, "act")],
        };
        let edited = apply(&text, vec![edit(13..17, "right"), edit(0..1, "one")]).unwrap();
        assert_eq!(edited.text.content, "one dog on the right barks");
        let shown: Vec<&str> = edited.text.spans.iter().map(|s| &edited.text.content[s.start..s.end]).collect();
        assert_eq!(shown, ["dog", "right", "barks"]);
        let gone = apply(&text, vec![edit(12..17, "")]).unwrap();
        assert_eq!(gone.text.content, "a dog on the barks");
        assert_eq!(gone.text.spans.iter().map(|s| &gone.text.content[s.start..s.end]).collect::<Vec<_>>(), ["dog", "barks"]);
        let times = [WordTime { start: 18, end: 23, start_s: 0.5, end_s: 0.9 }, WordTime { start: 13, end: 17, start_s: 0.3, end_s: 0.5 }];
        let moved = move_words(&times, &gone);
        assert_eq!((moved.len(), &gone.text.content[moved[0].start..moved[0].end]), (1, "barks"));
    }

    #[test]
    fn wrong_edits_are_refused() {
        let text = Text { content: "d\u{e9}j\u{e0} vu".into(), spans: vec![TextSpan { start: 7, end: 9, tag: "protected".into() }] };
        assert!(apply(&text, vec![edit(0..2, "x")]).unwrap_err().message().contains("does not fit"));
        assert!(apply(&text, vec![edit(0..3, "x"), edit(1..4, "y")]).unwrap_err().message().contains("overlap"));
        assert!(apply(&text, vec![edit(7..9, "x")]).unwrap_err().message().contains("protected"));
        assert!(apply(&text, vec![edit(90..91, "x")]).is_err());
    }

    #[test]
    fn case_is_kept() {
        assert_eq!(["left", "Left", "LEFT", "L"].map(|w| match_case(w, "right")), ["right", "Right", "RIGHT", "Right"]);
    }

    #[test]
    fn words_go_with_their_blanks() {
        let text =
            Text { content: "a red car, honking loudly".into(), spans: vec![TextSpan { start: 6, end: 9, tag: "protected".into() }] };
        let all = words(&text.content);
        let of = |edits| apply(&text, edits).unwrap().text.content;
        assert_eq!(of(drop_words(&text, &all[..2])), "car, honking loudly");
        assert_eq!(of(drop_words(&text, &all[1..4])), "a car, loudly");
        assert_eq!(of(mask_words(&text, &all[1..4], "_")), "a _ car, _ loudly");
    }

    proptest! {
        #[test]
        fn untouched_ranges_keep_their_text(content in "[a-z\u{e9} ]{0,30}", at in 0usize..30, len in 0usize..5, new in "[a-z]{0,6}") {
            let boundaries: Vec<usize> = content.char_indices().map(|(i, _)| i).chain([content.len()]).collect();
            let start = boundaries[at % boundaries.len()];
            let end = *boundaries.iter().find(|b| **b >= (start + len).min(content.len())).unwrap();
            let edited = apply(&Text::new(content.clone()), vec![edit(start..end, &new)]).unwrap();
            for word in words(&content) {
                let r = word.range.clone();
                if r.end <= start || r.start >= end {
                    let moved = edited.range(r.clone()).unwrap();
                    prop_assert_eq!(&edited.text.content[moved], &content[r]);
                }
            }
        }
    }
}
