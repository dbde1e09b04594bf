//! Entities that change their name: a tagged span becomes another name of the same type, and its tag stays on it.

use super::{
    Edit, Word, article,
    draw::{share_of, sites},
    is_protected,
};
use crate::sample::Text;
use rand::Rng;
use std::ops::Range;

/// Uncommon names of persons, made up.
pub const PERSONS: [&str; 16] = [
    "Ysolde Marr",
    "Tarquin Oakes",
    "Ebba Lindqvist",
    "Cosimo Vale",
    "Nerys Pugh",
    "Anselm Krug",
    "Thandeka Moyo",
    "Ilmari Salo",
    "Quilla Huaman",
    "Bartek Wrona",
    "Oisin Daly",
    "Zsofia Bako",
    "Leocadia Prat",
    "Kweku Asante",
    "Marigold Finch",
    "Jovan Ilic",
];
/// Uncommon names of places, made up.
pub const PLACES: [&str; 16] = [
    "Ostervane",
    "Lower Quill",
    "Harrowmere",
    "Belisande",
    "Tarn Ettrick",
    "Vostrova",
    "Almeria Falls",
    "Nightingale Bay",
    "Kessel Ridge",
    "Porto Cinza",
    "Umbergate",
    "Saint Ortolan",
    "Wexcombe",
    "Drumlarig",
    "Yarra Point",
    "Zelenka",
];
/// Uncommon names of organizations, made up.
pub const ORGANIZATIONS: [&str; 16] = [
    "Quarrel & Finch",
    "Northlight Assay",
    "Ombra Foods",
    "Tessellate Labs",
    "Ironwood Mutual",
    "Halcyon Freight",
    "Bluestem Press",
    "Vantor Optics",
    "Larkspur Trust",
    "Ferrous Union",
    "Ottoline Group",
    "Sable River Rail",
    "Copperleaf Bank",
    "Zenith Loom",
    "Marlowe Kilns",
    "Aster & Vane",
];

/// The built-in names for a tag in any common notation (`PER`, `B-LOC`, `Person`, `GPE`, ...); none for other tags.
pub fn names_for(tag: &str) -> &'static [&'static str] {
    let tag = tag.to_ascii_lowercase();
    match tag.strip_prefix("b-").unwrap_or(&tag) {
        "per" | "person" | "name" => &PERSONS,
        "loc" | "location" | "gpe" | "place" | "city" => &PLACES,
        "org" | "organization" | "organisation" | "company" => &ORGANIZATIONS,
        _ => &[],
    }
}

/// A share of the tagged spans takes another name, which `pool` gives for a tag; the names of one tag within a text stay different. Protected spans, spans that overlap others and spans without another name stay. An
/// article before the span is refitted where it is not part of a span.
pub fn swap_entities<'a, R: Rng + ?Sized>(
    text: &Text,
    words: &[Word],
    pool: impl Fn(&str) -> Vec<&'a str>,
    share: f64,
    rng: &mut R,
) -> Vec<Edit> {
    let overlaps = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    let mut open = Vec::new();
    for (i, span) in text.spans.iter().enumerate() {
        let range = span.start..span.end;
        let alone = text.spans.iter().enumerate().all(|(j, other)| i == j || !overlaps(&range, &(other.start..other.end)));
        let Some(name) = text.content.get(range.clone()).filter(|name| !name.is_empty() && alone && !is_protected(text, &range)) else {
            continue;
        };
        let names: Vec<&str> = pool(&span.tag).into_iter().filter(|other| *other != name && !other.is_empty()).collect();
        if !names.is_empty() {
            open.push((range, span.tag.as_str(), names));
        }
    }
    let mut edits: Vec<Edit> = Vec::new();
    let mut given: Vec<(&str, &str)> = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let (range, tag, names) = &open[site.at];
        // The next one where the drawn one is given away.
        let drawn = site.choice(names.len());
        let name = (0..names.len()).map(|by| names[(drawn + by) % names.len()]).find(|name| !given.contains(&(*tag, *name)));
        let Some(name) =
            name.filter(|name| !text.spans.iter().any(|span| span.tag == *tag && text.content.get(span.start..span.end) == Some(*name)))
        else {
            continue;
        };
        given.push((*tag, name));
        let before = words.iter().rposition(|word| word.range.end <= range.start);
        if let Some(word) =
            before.and_then(|at| words.get(at)).filter(|word| matches!(word.lower.as_str(), "a" | "an") && !word.last_of_phrase)
        {
            let first = name.split_whitespace().next().unwrap_or(name);
            let fits = article(first);
            let inside = text.spans.iter().any(|span| overlaps(&(span.start..span.end), &word.range));
            if fits != word.lower && !inside {
                let capital = text.content.get(word.range.clone()).is_some_and(|old| old.starts_with(char::is_uppercase));
                let replacement = if capital { fits.replacen('a', "A", 1) } else { fits.to_owned() };
                edits.push(Edit { range: word.range.clone(), replacement });
            }
        }
        edits.push(Edit { range: range.clone(), replacement: name.to_owned() });
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

    #[test]
    fn names_change_and_tags_stay() {
        let span = |start, end, tag: &str| TextSpan { start, end, tag: tag.into() };
        let content = "Anna met a Dane in Rome, Anna left".to_owned();
        let text = Text { spans: vec![span(0, 4, "PER"), span(11, 15, "NORP"), span(19, 23, "LOC"), span(25, 29, "protected")], content };
        let pool = |tag: &str| if tag == "NORP" { vec!["Italian"] } else { names_for(tag).to_vec() };
        let edits = swap_entities(&text, &words(&text.content), pool, 1.0, &mut SeedTree::new(1).rng());
        let edited = apply(&text, edits).unwrap().text;
        let shown: Vec<&str> = edited.spans.iter().map(|s| &edited.content[s.start..s.end]).collect();
        assert!(PERSONS.contains(&shown[0]) && PLACES.contains(&shown[2]), "{shown:?}");
        assert_eq!((shown[1], shown[3]), ("Italian", "Anna"));
        assert!(edited.content.contains("met an Italian in"), "{}", edited.content);
        assert!(names_for("B-PER").len() == 16 && names_for("MISC").is_empty());
    }

    #[test]
    fn two_entities_of_a_type_stay_two() {
        let text = Text {
            content: "Anna and Bea".into(),
            spans: vec![TextSpan { start: 0, end: 4, tag: "PER".into() }, TextSpan { start: 9, end: 12, tag: "PER".into() }],
        };
        for seed in 0..20 {
            let edits = swap_entities(&text, &words(&text.content), |_| vec!["Anna", "Cid", "Dot"], 1.0, &mut SeedTree::new(seed).rng());
            let edited = apply(&text, edits).unwrap().text;
            let shown: Vec<&str> = edited.spans.iter().map(|s| &edited.content[s.start..s.end]).collect();
            assert!(shown.len() == 2 && shown[0] != shown[1], "{shown:?}");
        }
    }

    proptest! {
        #[test]
        fn sound(content in testing::texts(), share in 0.0f64..=1.0, seed: u64) {
            testing::check(&content, |text, words, rng| swap_entities(text, words, |_| vec!["Ann Other", "It"], share, rng), seed)?;
        }
    }
}
