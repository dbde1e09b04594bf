//! Statements turned round: what a caption says is there is said not to be, or the other way round. Each edit makes the text false where it was true.

use super::{
    Edit, Word,
    contractions::without_not,
    draw::sites,
    inflect::article,
    is_protected, match_case,
    phrases::DETERMINERS,
    words::{is, joined, near},
};
use crate::sample::Text;
use rand::Rng;

const FORMS: [&str; 4] = ["is", "are", "was", "were"];
/// Verbs that take `not` behind them besides the forms of `be`.
const HELPERS: [&str; 8] = ["can", "could", "will", "would", "should", "must", "may", "might"];
/// Behind these a verb belongs to a part of the sentence: negated, the whole may still be true.
const RELATIVE: [&str; 10] = ["that", "which", "who", "whose", "where", "when", "what", "if", "because", "how"];

/// Every way to turn the text round, each a group of edits to be applied together.
///
/// Forms: `there is a dog` and `there is no dog`; `is barking` and `is not barking` (also `can`, `will`, ...); a contraction with `not` is resolved; `with
/// a dog` and `without a dog`. Questions, relative clauses, quoted and protected words stay.
pub fn negations(text: &Text, words: &[Word]) -> Vec<Vec<Edit>> {
    let found = (0..words.len()).filter(|at| !words[*at].quoted && !joined(words, *at)).filter_map(|at| negation(text, words, at));
    found.filter(|edits| edits.iter().all(|edit| !is_protected(text, &edit.range))).collect()
}

/// One of the [`negations`], drawn; `None` where there is none.
pub fn negate<R: Rng + ?Sized>(text: &Text, words: &[Word], rng: &mut R) -> Option<Vec<Edit>> {
    let mut all = negations(text, words);
    let site = sites(all.len(), 1, rng).into_iter().next()?;
    Some(all.swap_remove(site.at))
}

fn negation(text: &Text, words: &[Word], at: usize) -> Option<Vec<Edit>> {
    let word = words[at].lower.as_str();
    let (before, after) = (near(words, at, -1), near(words, at, 1));
    let old = |at: usize| text.content.get(words.get(at)?.range.clone());
    match word {
        "with" => {
            // "Filled with a red liquid" and "along with a dog" say something else without it.
            let plain = before.is_some_and(|before| {
                !before.ends_with("ed") && !matches!(before, "along" | "together" | "up" | "out" | "away" | "down" | "off" | "done")
            });
            let object = matches!(after, Some("a" | "an"));
            (plain && object).then(|| vec![change(words, at, old(at), "without")]).and_then(all_of)
        }
        "without" => {
            (before.is_some() && matches!(after, Some("a" | "an"))).then(|| vec![change(words, at, old(at), "with")]).and_then(all_of)
        }
        _ if FORMS.contains(&word) => be(text, words, at),
        _ if HELPERS.contains(&word) => {
            let asks = before.is_none() || within(words, at, &RELATIVE);
            if asks {
                return None;
            }
            // `cannot` is resolved below.
            if after == Some("not") { drop_not(text, words, at) } else { after.is_some().then(|| vec![behind(words, at, " not")]) }
        }
        "cannot" if before.is_some() => all_of(vec![change(words, at, old(at), "can")]),
        _ => {
            let positive = without_not(word)?;
            let fits = before.is_some()
                && after.is_some()
                && !within(words, at, &RELATIVE)
                && FORMS.iter().chain(&HELPERS).any(|form| *form == positive);
            fits.then(|| vec![change(words, at, old(at), positive)]).and_then(all_of)
        }
    }
}

fn be(text: &Text, words: &[Word], at: usize) -> Option<Vec<Edit>> {
    let (before, after) = (near(words, at, -1)?, near(words, at, 1)?);
    if within(words, at, &RELATIVE) {
        return None;
    }
    if after == "not" {
        return drop_not(text, words, at);
    }
    let many = matches!(words[at].lower.as_str(), "are" | "were");
    let old = text.content.get(words.get(at + 1)?.range.clone());
    if before != "there" {
        // "The dog is a puppy", "the car is no toy": only what is said by a verb or a quality is sure to be turned round by `not`.
        return (after != "no" && !is(Some(after), &["also", "only", "still", "there", "all", "both", "either", "neither"]))
            .then(|| vec![behind(words, at, " not")]);
    }
    match after {
        "no" => {
            let next = near(words, at, 2)?;
            let counted = if many { "some" } else { article(next) };
            all_of(vec![change(words, at + 1, old, counted)])
        }
        "a" | "an" if !many => all_of(vec![change(words, at + 1, old, "no")]),
        "some" | "several" | "many" | "two" | "three" | "four" | "five"
            if many && near(words, at, 2).is_some_and(|next| next != "of" && !DETERMINERS.contains(&next)) =>
        {
            all_of(vec![change(words, at + 1, old, "no")])
        }
        _ => None,
    }
}

/// Whether one of a list stands before word `at` in its phrase, not further than six words away.
fn within(words: &[Word], at: usize, list: &[&str]) -> bool {
    (1..=6).any(|by| is(near(words, at, -by), list))
}

fn behind(words: &[Word], at: usize, new: &str) -> Edit {
    let end = words[at].range.end;
    Edit { range: end..end, replacement: new.to_owned() }
}

fn drop_not(text: &Text, words: &[Word], at: usize) -> Option<Vec<Edit>> {
    let range = words[at].range.end..words.get(at + 1)?.range.end;
    // Only blanks between, and something is left to say.
    let blank = text.content.get(words[at].range.end..words[at + 1].range.start)?.chars().all(char::is_whitespace);
    (blank && near(words, at, 2).is_some()).then(|| vec![Edit { range, replacement: String::new() }])
}

fn change(words: &[Word], at: usize, old: Option<&str>, new: &str) -> Option<Edit> {
    let range = words.get(at)?.range.clone();
    // A single capital letter (`A dog`) begins a sentence and is no pattern of capitals.
    let replacement = match_case(old?, new);
    (Some(replacement.as_str()) != old).then_some(Edit { range, replacement })
}

fn all_of(edits: Vec<Option<Edit>>) -> Option<Vec<Edit>> {
    edits.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use proptest::prelude::*;

    fn first(content: &str) -> Option<String> {
        let text = Text::new(content);
        let edits = negations(&text, &words(content)).into_iter().next()?;
        Some(apply(&text, edits).unwrap().text.content)
    }

    #[test]
    fn there_and_back() {
        for (yes, no) in [
            ("There is a dog on the left", "There is no dog on the left"),
            ("there is an old dog", "there is no old dog"),
            ("there are some birds", "there are no birds"),
            ("the dog is barking", "the dog is not barking"),
            ("two cars are red", "two cars are not red"),
            ("a man with a hat", "a man without a hat"),
            ("it can be seen", "it can not be seen"),
        ] {
            assert_eq!(first(yes).as_deref(), Some(no));
            assert_eq!(first(no).as_deref(), Some(yes));
        }
        assert_eq!(first("the dog isn't barking").as_deref(), Some("the dog is barking"));
        assert_eq!(first("it cannot fly").as_deref(), Some("it can fly"));
        assert_eq!(first("there are two dogs").as_deref(), Some("there are no dogs"));
    }

    #[test]
    fn what_is_not_sure_stays() {
        for content in [
            "a dog that is red",
            "is there a dog",
            "filled with a liquid",
            "a dog",
            "there is",
            "yes it is",
            "see how big it is now",
            "a sign says \"it is red\"",
        ] {
            assert_eq!(first(content), None, "{content}");
        }
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), seed: u64) {
            testing::check(&content, |text, words, rng| negate(text, words, rng).unwrap_or_default(), seed)?;
        }

        #[test]
        fn a_statement_turned_twice_is_the_statement(
            start in prop::sample::select(vec!["the dog", "The two birds", "a man in a coat", "it"]),
            verb in prop::sample::select(vec!["is", "are", "was", "can", "will"]),
            end in prop::sample::select(vec!["barking", "red", "be heard", "on the left, near a car"]),
        ) {
            let content = format!("{start} {verb} {end}");
            let turned = first(&content).unwrap();
            prop_assert!(turned != content && first(&turned) == Some(content));
        }
    }
}
