//! Where a caption names an object, and captions in which an object comes or goes with its words. Only captions that list their objects in plain parts
//! ("a dog on the left and a cat", "a bell rings while a car honks") can lose one; any other is refused.

use super::{
    Edit, Word, article,
    inflect::with_s,
    is_protected, match_case, number_mentions, number_words,
    phrases::{DETERMINERS, LINKING, PREPOSITIONS},
    words::joined,
};
use crate::sample::Text;
use std::ops::Range;

const PLURALS: [(&str, &str); 12] = [
    ("child", "children"),
    ("fish", "fish"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("knife", "knives"),
    ("leaf", "leaves"),
    ("man", "men"),
    ("mouse", "mice"),
    ("person", "people"),
    ("sheep", "sheep"),
    ("wolf", "wolves"),
    ("woman", "women"),
];

fn plural(noun: &str) -> String {
    PLURALS.iter().find(|row| row.0 == noun).map_or_else(|| with_s(noun), |row| row.1.to_owned())
}

/// The words of a name (`traffic_light`, `traffic light`) in lower case.
fn parts_of(name: &str) -> Vec<String> {
    name.split(|c: char| c.is_whitespace() || matches!(c, '_' | '-')).filter(|part| !part.is_empty()).map(str::to_lowercase).collect()
}

/// Every mention of an object's name, in the singular or plural, as a range of the list of words.
pub fn mentions(words: &[Word], name: &str) -> Vec<Range<usize>> {
    let mut one = parts_of(name);
    let Some(last) = one.pop() else { return Vec::new() };
    let many = plural(&last);
    let size = one.len() + 1;
    let here = |at: &usize| {
        let Some(window) = words.get(*at..at + size) else { return false };
        let head = window
            .last()
            .is_some_and(|word| word.lower == last || word.lower == many || word.lower.strip_suffix("'s") == Some(last.as_str()));
        head && window.iter().zip(&one).all(|(word, part)| word.lower == *part)
    };
    (0..words.len()).filter(here).map(|at| at..at + size).collect()
}

/// What ties a part of a caption to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    Comma,
    And,
    While,
    With,
}

/// What a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A thing: "a dog on the left".
    Thing,
    /// What a thing does: "a dog barks".
    Clause,
}

/// A part of a caption: a range of words, and its tie to the one before.
struct Part {
    words: Range<usize>,
    tie: Tie,
}

/// The parts of a caption; `None` where it is more than one sentence.
fn parts(text: &Text, words: &[Word]) -> Option<Vec<Part>> {
    let mut found = Vec::new();
    let (mut start, mut tie, mut end_before) = (0, Tie::Comma, 0);
    let tie_of = |word: &str| match word {
        "and" => Some(Tie::And),
        "while" => Some(Tie::While),
        "with" => Some(Tie::With),
        _ => None,
    };
    for (at, word) in words.iter().enumerate() {
        let between = text.content.get(end_before..word.range.start)?;
        end_before = word.range.end;
        if at > 0 && between.contains(['.', '!', '?', ';', ':', '\n', '"', '\u{201c}', '(']) {
            return None;
        }
        let comma = at > start && between.contains(',');
        if let Some(next) = tie_of(&word.lower) {
            if at > start {
                found.push(Part { words: start..at, tie });
            }
            (start, tie) = (at + 1, next);
        } else if comma {
            found.push(Part { words: start..at, tie });
            (start, tie) = (at, Tie::Comma);
        }
    }
    if start < words.len() {
        found.push(Part { words: start..words.len(), tie });
    }
    Some(found)
}

/// What a part says of the object mentioned at `head`; `None` where that is not sure.
fn kind(words: &[Word], part: &Part, head: &Range<usize>) -> Option<Kind> {
    if !DETERMINERS.contains(&words.get(part.words.start)?.lower.as_str()) || joined(words, head.start) {
        return None;
    }
    let Some(after) = words.get(head.end..part.words.end)?.first().map(|word| word.lower.as_str()) else { return Some(Kind::Thing) };
    if PREPOSITIONS.contains(&after) || after.ends_with("ing") {
        // "A dog on the left barks" says what the dog does, further away.
        let does =
            words[head.end..part.words.end].iter().any(|word| LINKING.contains(&word.lower.as_str()) || is_third_person(&word.lower));
        return if does { None } else { Some(Kind::Thing) };
    }
    if LINKING.contains(&after) || is_third_person(after) || after.ends_with("ly") {
        return Some(Kind::Clause);
    }
    None
}

/// Whether a word may be a verb in the third person.
fn is_third_person(word: &str) -> bool {
    word.len() > 3
        && word.ends_with('s')
        && !word.ends_with("ss")
        && !word.ends_with("'s")
        && !matches!(word, "this" | "its" | "across" | "towards" | "always")
}

/// Edits that take the words of an object with it when `total - left` of its `total` instances leave the scene; `staying` names the objects that stay. None where it is not mentioned.
///
/// The last instance takes its part of the caption along: "a dog on the left and a cat" becomes "a cat". Fewer instances than before change the
/// number before it: "two dogs" becomes "one dog". Errors with `object_named` where the words cannot go without others that stay, and with
/// `protected_word`.
pub fn remove_mention(
    text: &Text,
    words: &[Word],
    name: &str,
    left: usize,
    total: usize,
    staying: &[&str],
) -> Result<Vec<Edit>, &'static str> {
    const NAMED: &str = "object_named";
    let found = mentions(words, name);
    if found.is_empty() || left >= total {
        return Ok(Vec::new());
    }
    let [head] = &found[..] else { return Err(NAMED) };
    if words[head.clone()].iter().any(|word| word.quoted) {
        return Err(NAMED);
    }
    let edits = if left > 0 { fewer(text, words, name, head, left, total) } else { without(text, words, head, staying) };
    let edits = edits.ok_or(NAMED)?;
    if edits.iter().any(|edit| is_protected(text, &edit.range)) { Err("protected_word") } else { Ok(edits) }
}

fn fewer(text: &Text, words: &[Word], name: &str, head: &Range<usize>, left: usize, total: usize) -> Option<Vec<Edit>> {
    let noun = words.get(head.end.checked_sub(1)?)?;
    let last = parts_of(name).pop()?;
    if noun.lower == last && plural(&last) != last {
        // "A dog" where two were seen: one of them is still there.
        return Some(Vec::new());
    }
    let all = parts(text, words)?;
    let part = all.iter().find(|part| part.words.contains(&head.start))?;
    let numbers = number_mentions(text, words);
    let number = numbers.iter().find(|number| !number.ordinal && number.words.start >= part.words.start && number.words.end <= head.start);
    let Some(number) = number else { return (left > 1).then(Vec::new) };
    if number.value as usize != total || number.words.start != part.words.start {
        return None;
    }
    let bytes = words[number.words.start].range.start..words[number.words.end - 1].range.end;
    let old = text.content.get(bytes.clone())?;
    let new = if number.digits { left.to_string() } else { number_words(u32::try_from(left).ok()?)? };
    let mut edits = vec![Edit { range: bytes, replacement: match_case(old, &new) }];
    if left == 1 {
        // The verb of a clause would have to follow.
        if head.end < part.words.end && !PREPOSITIONS.contains(&words[head.end].lower.as_str()) && !words[head.end].lower.ends_with("ing") {
            return None;
        }
        let shown = text.content.get(noun.range.clone())?;
        edits.push(Edit { range: noun.range.clone(), replacement: match_case(shown, &last) });
    }
    Some(edits)
}

fn without(text: &Text, words: &[Word], head: &Range<usize>, staying: &[&str]) -> Option<Vec<Edit>> {
    let all = parts(text, words)?;
    let at = all.iter().position(|part| part.words.contains(&head.start) && part.words.contains(&(head.end - 1)))?;
    let kept: Vec<Range<usize>> = staying.iter().flat_map(|name| mentions(words, name)).collect();
    let part = &all[at];
    let inside = |range: &Range<usize>, part: &Part| part.words.start <= range.start && range.end <= part.words.end;
    if kept.iter().any(|range| range.start < part.words.end && part.words.start < range.end) {
        return None;
    }
    let said = kind(words, part, head)?;
    // Every other part must stand by itself: it names just one object that stays.
    let kinds: Vec<Option<Kind>> = all
        .iter()
        .map(|other| {
            let mut named = kept.iter().filter(|range| inside(range, other));
            let first = named.next()?;
            if named.next().is_some() { None } else { kind(words, other, first) }
        })
        .collect();
    let same = |i: usize| kinds.get(i).copied().flatten() == Some(said);
    let bytes = |part: &Part| words[part.words.start].range.start..words[part.words.end - 1].range.end;
    let gone = bytes(part);
    if at == 0 {
        let next = all.get(1).filter(|_| same(1))?;
        let begin = bytes(next).start;
        let mut edits = vec![Edit { range: gone.start..begin, replacement: String::new() }];
        let first = &words[next.words.start];
        let (old, shown) = (text.content.get(gone.start..)?, text.content.get(first.range.clone())?);
        if old.starts_with(char::is_uppercase) && !shown.starts_with(char::is_uppercase) {
            edits.push(Edit { range: first.range.clone(), replacement: match_case("Aa", shown) });
        }
        return Some(edits);
    }
    let before = &all[at - 1];
    let fits = match part.tie {
        // "A dog barks with a cat": the clause before stands by itself.
        Tie::With => said == Kind::Thing && kinds[at - 1].is_some(),
        Tie::While => kinds[at - 1].is_some(),
        Tie::And | Tie::Comma => same(at - 1),
    };
    // What follows "with" or a comma hangs on what goes, unless it is of the same kind.
    if !fits || at + 1 < all.len() && (!same(at + 1) || all[at + 1].tie == Tie::With) {
        return None;
    }
    let mut edits = vec![Edit { range: bytes(before).end..gone.end, replacement: String::new() }];
    if at + 1 == all.len() && part.tie == Tie::And && before.tie == Tie::Comma && at >= 2 {
        // "A cat, a dog and a car" without the car: "a cat and a dog".
        let comma = bytes(&all[at - 2]).end..bytes(before).start;
        edits.push(Edit { range: comma, replacement: " and ".to_owned() });
    }
    Some(edits)
}

/// The edit that names one more object at the end of a caption: `, with a dog`. Errors with `already_named` where the caption names such an object, with
/// `caption_not_plain` for more than one sentence or no words, with `protected_word` at a protected end.
pub fn add_mention(text: &Text, words: &[Word], name: &str) -> Result<Edit, &'static str> {
    let name = parts_of(name).join(" ");
    if name.is_empty() || words.is_empty() || parts(text, words).is_none() {
        return Err("caption_not_plain");
    }
    if !mentions(words, &name).is_empty() {
        return Err("already_named");
    }
    let end = words[words.len() - 1].range.end;
    if is_protected(text, &(end..end)) {
        return Err("protected_word");
    }
    Ok(Edit { range: end..end, replacement: format!(", with {} {name}", article(&name)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use proptest::prelude::*;

    fn without(content: &str, name: &str, staying: &[&str]) -> Result<String, &'static str> {
        counted(content, name, 0, 1, staying)
    }
    fn counted(content: &str, name: &str, left: usize, total: usize, staying: &[&str]) -> Result<String, &'static str> {
        let text = Text::new(content);
        Ok(apply(&text, remove_mention(&text, &words(content), name, left, total, staying)?).unwrap().text.content)
    }

    #[test]
    fn an_object_takes_its_words_along() {
        for (content, gone, stays, left) in [
            ("A dog on the left and a red cat.", "dog", &["cat"][..], "A red cat."),
            ("a dog on the left and a red cat", "cat", &["dog"], "a dog on the left"),
            ("a bell rings while a car honks", "car", &["bell"], "a bell rings"),
            ("A bell rings while a car honks", "bell", &["car"], "A car honks"),
            ("a cat, a dog and a car", "car", &["cat", "dog"], "a cat and a dog"),
            ("a cat, a dog, and a car", "dog", &["cat", "car"], "a cat, and a car"),
            ("a cat, a dog and a car", "cat", &["dog", "car"], "a dog and a car"),
            ("a cat sits with a dog", "dog", &["cat"], "a cat sits"),
            ("a traffic light and a bus", "traffic_light", &["bus"], "a bus"),
            ("a cat", "dog", &[], "a cat"),
        ] {
            assert_eq!(without(content, gone, stays).as_deref(), Ok(left), "{content}");
        }
    }

    #[test]
    fn words_that_others_need_stay() {
        for (content, gone, stays) in [
            ("a dog chases a cat", "dog", &["cat"][..]),
            ("a dog on the left of a car", "car", &["dog"]),
            ("a cat and a dog sit", "cat", &["dog"]),
            ("a cat", "cat", &[]),
            ("a red and blue ball and a cat", "cat", &["ball"]),
            ("a dog. A cat.", "cat", &["dog"]),
            ("a sign says \"dog\" and a cat", "dog", &["cat"]),
            ("a dog and another dog and a cat", "dog", &["cat"]),
        ] {
            assert_eq!(without(content, gone, stays), Err("object_named"), "{content}");
        }
    }

    #[test]
    fn numbers_follow() {
        assert_eq!(counted("Two dogs and a cat", "dog", 1, 2, &["cat"]).as_deref(), Ok("One dog and a cat"));
        assert_eq!(counted("3 dogs on the left", "dog", 2, 3, &[]).as_deref(), Ok("2 dogs on the left"));
        assert_eq!(counted("some dogs", "dog", 2, 3, &[]).as_deref(), Ok("some dogs"));
        assert_eq!(counted("some dogs", "dog", 1, 3, &[]), Err("object_named"));
        assert_eq!(counted("two dogs run", "dog", 1, 2, &[]), Err("object_named"));
        assert_eq!(counted("five dogs", "dog", 1, 2, &[]), Err("object_named"));
    }

    #[test]
    fn a_new_object_is_named_once() {
        let of = |content: &str, name: &str| {
            let text = Text::new(content);
            Ok::<_, &str>(apply(&text, vec![add_mention(&text, &words(content), name)?]).unwrap().text.content)
        };
        assert_eq!(of("A red cat.", "owl").as_deref(), Ok("A red cat, with an owl."));
        assert_eq!(
            (of("two dogs", "dog"), of("", "dog"), of("a. b", "dog")),
            (Err("already_named"), Err("caption_not_plain"), Err("caption_not_plain"))
        );
        // What was added can go again.
        assert_eq!(without("A red cat, with an owl.", "owl", &["cat"]).as_deref(), Ok("A red cat."));
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), gone in prop::sample::select(vec!["dog", "car", "ball", "street"]), left in 0usize..2, seed: u64) {
            let remove = |text: &Text, words: &[Word]| remove_mention(text, words, gone, left, left + 1, &["dog", "man", "woman"]).unwrap_or_default();
            testing::check(&content, |text, words, _| remove(text, words), seed)?;
            let add = |text: &Text, words: &[Word]| add_mention(text, words, gone).into_iter().collect();
            testing::check(&content, |text, words, _| add(text, words), seed)?;
        }
    }
}
