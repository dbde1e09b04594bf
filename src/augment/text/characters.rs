//! Noise in characters: slips of the keyboard, misread and look-alike characters, swapped, added and missing ones. Each edit changes one grapheme cluster
//! (two for a swap) inside a word, so that a span around the word still covers it.

use super::{
    Edit, Word,
    draw::{Site, share_of, sites},
    is_protected, match_case,
};
use crate::sample::Text;
use rand::Rng;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// The rows of a QWERTY keyboard. A key touches its neighbours in the row and the two keys that it stands between in the rows around.
const ROWS: [&[u8]; 4] = [b"1234567890", b"qwertyuiop", b"asdfghjkl", b"zxcvbnm"];

/// The keys around every ASCII letter and digit, ended by 0.
const NEIGHBOURS: [[u8; 8]; 128] = neighbours();

const fn neighbours() -> [[u8; 8]; 128] {
    let mut table = [[0; 8]; 128];
    let mut row = 0;
    while row < ROWS.len() {
        let mut column = 0;
        while column < ROWS[row].len() {
            let key = ROWS[row][column] as usize;
            let mut found = 0;
            // Each row stands about half a key to the right of the one above.
            let around: [(isize, isize); 6] = [(0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0)];
            let mut i = 0;
            while i < around.len() {
                let (r, c) = (row as isize + around[i].0, column as isize + around[i].1);
                if r >= 0 && (r as usize) < ROWS.len() && c >= 0 && (c as usize) < ROWS[r as usize].len() {
                    table[key][found] = ROWS[r as usize][c as usize];
                    found += 1;
                }
                i += 1;
            }
            column += 1;
        }
        row += 1;
    }
    table
}

/// Characters that readers of print take for one another, by shape.
const fn misread(c: char) -> &'static [&'static str] {
    match c {
        '0' => &["O", "o", "D"],
        '1' => &["l", "I", "i"],
        '2' => &["Z", "z"],
        '3' => &["B", "8"],
        '4' => &["A"],
        '5' => &["S", "s"],
        '6' => &["b", "G"],
        '7' => &["T", "/"],
        '8' => &["B", "3"],
        '9' => &["g", "q"],
        'a' => &["o", "@"],
        'b' => &["6", "h"],
        'c' => &["e", "("],
        'd' => &["cl"],
        'e' => &["c", "o"],
        'f' => &["t"],
        'g' => &["q", "9"],
        'h' => &["b", "li"],
        'i' => &["l", "1", "j"],
        'j' => &["i"],
        'k' => &["lc"],
        'l' => &["1", "I", "i"],
        'm' => &["rn", "nn"],
        'n' => &["ri", "u"],
        'o' => &["0", "c"],
        'q' => &["g", "9"],
        'r' => &["n"],
        's' => &["5"],
        't' => &["f", "+"],
        'u' => &["v", "ii"],
        'v' => &["u", "y"],
        'w' => &["vv"],
        'y' => &["v"],
        'z' => &["2"],
        'A' => &["4"],
        'B' => &["8", "3"],
        'C' => &["G", "("],
        'D' => &["O", "0"],
        'E' => &["F"],
        'F' => &["E", "P"],
        'G' => &["6", "C"],
        'H' => &["N"],
        'I' => &["l", "1"],
        'J' => &["]"],
        'K' => &["X"],
        'L' => &["I_"],
        'M' => &["N"],
        'N' => &["H"],
        'O' => &["0", "Q"],
        'P' => &["F"],
        'Q' => &["O"],
        'R' => &["K"],
        'S' => &["5"],
        'T' => &["7"],
        'U' => &["V"],
        'V' => &["U"],
        'W' => &["VV"],
        'Z' => &["2"],
        _ => &[],
    }
}

/// Letters of other scripts that are drawn like a Latin one (Unicode Technical Standard 39, confusables).
const fn lookalike(c: char) -> &'static [&'static str] {
    match c {
        'a' => &["\u{430}", "\u{251}"],
        'c' => &["\u{441}", "\u{3f2}"],
        'd' => &["\u{501}"],
        'e' => &["\u{435}"],
        'g' => &["\u{261}"],
        'h' => &["\u{4bb}"],
        'i' => &["\u{456}"],
        'j' => &["\u{458}", "\u{3f3}"],
        'l' => &["\u{4cf}"],
        'n' => &["\u{578}"],
        'o' => &["\u{43e}", "\u{3bf}"],
        'p' => &["\u{440}", "\u{3c1}"],
        'q' => &["\u{51b}"],
        's' => &["\u{455}"],
        'u' => &["\u{57d}"],
        'v' => &["\u{3bd}"],
        'w' => &["\u{51d}"],
        'x' => &["\u{445}"],
        'y' => &["\u{443}"],
        'A' => &["\u{391}", "\u{410}"],
        'B' => &["\u{392}", "\u{412}"],
        'C' => &["\u{421}"],
        'E' => &["\u{395}", "\u{415}"],
        'H' => &["\u{397}", "\u{41d}"],
        'I' => &["\u{399}", "\u{406}"],
        'J' => &["\u{408}"],
        'K' => &["\u{39a}", "\u{41a}"],
        'M' => &["\u{39c}", "\u{41c}"],
        'N' => &["\u{39d}"],
        'O' => &["\u{39f}", "\u{41e}"],
        'P' => &["\u{3a1}", "\u{420}"],
        'S' => &["\u{405}"],
        'T' => &["\u{3a4}", "\u{422}"],
        'X' => &["\u{3a7}", "\u{425}"],
        'Y' => &["\u{3a5}"],
        'Z' => &["\u{396}"],
        _ => &[],
    }
}

/// Grapheme clusters of the words that no protected span touches: their bytes, and the number of their word.
fn clusters(text: &Text, words: &[Word]) -> Vec<(usize, u32, usize)> {
    let mut out = Vec::with_capacity(text.content.len());
    for (i, word) in words.iter().enumerate() {
        let Some(letters) = text.content.get(word.range.clone()) else { continue };
        if is_protected(text, &word.range) {
            continue;
        }
        let start = word.range.start;
        if letters.is_ascii() {
            out.extend((start..word.range.end).map(|at| (at, 1, i)));
        } else {
            out.extend(letters.grapheme_indices(true).map(|(at, cluster)| (start + at, cluster.len() as u32, i)));
        }
    }
    out
}

fn bytes((at, len, _): (usize, u32, usize)) -> Range<usize> {
    at..at + len as usize
}

/// Replaces a share of the clusters for which `choices` knows a replacement; `replace` makes it of the old cluster and the drawn site.
fn replace<R: Rng + ?Sized>(
    text: &Text,
    words: &[Word],
    share: f64,
    rng: &mut R,
    open: impl Fn(&str) -> bool,
    with: impl Fn(&str, Site) -> String,
) -> Vec<Edit> {
    let mut found = clusters(text, words);
    found.retain(|cluster| open(&text.content[bytes(*cluster)]));
    let drawn = sites(found.len(), share_of(share, found.len()), rng);
    let edit = |site: Site| {
        let range = bytes(found[site.at]);
        let replacement = with(&text.content[range.clone()], site);
        Edit { range, replacement }
    };
    drawn.into_iter().map(edit).collect()
}

/// The only character of a cluster.
fn single(cluster: &str) -> Option<char> {
    let mut chars = cluster.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn keys(cluster: &str) -> &'static [u8] {
    let key = single(cluster).filter(char::is_ascii).map_or(0, |c| c.to_ascii_lowercase() as usize);
    let row: &[u8] = NEIGHBOURS.get(key).map_or(&[], |row| row);
    let len = row.iter().position(|key| *key == 0).unwrap_or(row.len());
    &row[..len]
}

/// A neighbouring key of a letter or digit, capital if the letter is.
fn slip(cluster: &str, site: Site) -> String {
    let keys = keys(cluster);
    let Some(key) = keys.get(site.choice(keys.len())) else { return cluster.to_owned() };
    let upper = cluster.starts_with(|c: char| c.is_ascii_uppercase());
    char::from(if upper { key.to_ascii_uppercase() } else { *key }).to_string()
}

/// A share of the letters and digits becomes a key beside them on a QWERTY keyboard; capitals stay capitals.
pub fn keyboard_typos<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    replace(text, words, share, rng, |cluster| !keys(cluster).is_empty(), slip)
}

fn from_list(list: &'static [&'static str], cluster: &str, site: Site) -> String {
    list.get(site.choice(list.len())).map_or_else(|| cluster.to_owned(), |s| (*s).to_owned())
}

/// A share of the letters and digits is misread as by optical character recognition (`l` for `1`, `rn` for `m`).
pub fn confuse_ocr<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let list = |cluster: &str| single(cluster).map_or(&[][..], misread);
    replace(text, words, share, rng, |c| !list(c).is_empty(), |c, site| from_list(list(c), c, site))
}

/// A share of the letters becomes a letter of another script that looks the same (Latin `a`, Cyrillic `\u{430}`): what a reader does not see and a
/// tokenizer does.
pub fn homoglyphs<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let list = |cluster: &str| single(cluster).map_or(&[][..], lookalike);
    replace(text, words, share, rng, |c| !list(c).is_empty(), |c, site| from_list(list(c), c, site))
}

/// Behind a share of the letters and digits another one is typed: the key itself or one beside it.
pub fn insert_characters<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let with = |cluster: &str, site: Site| {
        let keys = keys(cluster);
        let added = keys.get(site.choice(keys.len() + 1)).map_or_else(|| cluster.to_lowercase(), |key| char::from(*key).to_string());
        let added = if cluster.starts_with(char::is_uppercase) { match_case("Aa", &added) } else { added };
        format!("{cluster}{added}")
    };
    replace(text, words, share, rng, |cluster| cluster.chars().any(char::is_alphanumeric), with)
}

/// A share of the characters goes. A word keeps at least one, its first.
pub fn delete_characters<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let found = clusters(text, words);
    let open: Vec<Range<usize>> = found.windows(2).filter(|pair| pair[0].2 == pair[1].2).map(|pair| bytes(pair[1])).collect();
    let drawn = sites(open.len(), share_of(share, open.len()), rng);
    drawn.into_iter().map(|site| Edit { range: open[site.at].clone(), replacement: String::new() }).collect()
}

/// A share of the places inside words where two unlike characters meet: those two change places. No character is moved twice, so that many
/// fewer than asked for may be moved when the share is large. The case pattern stays (`Dog` becomes `Odg`).
pub fn swap_characters<R: Rng + ?Sized>(text: &Text, words: &[Word], share: f64, rng: &mut R) -> Vec<Edit> {
    let found = clusters(text, words);
    let unlike = |pair: &[(usize, u32, usize)]| {
        let (a, b) = (&text.content[bytes(pair[0])], &text.content[bytes(pair[1])]);
        pair[0].2 == pair[1].2
            && if a.is_ascii() && b.is_ascii() { !a.eq_ignore_ascii_case(b) } else { a.to_lowercase() != b.to_lowercase() }
    };
    let open: Vec<usize> = (1..found.len()).filter(|i| unlike(&found[i - 1..=*i])).collect();
    let mut moved = vec![false; found.len()];
    let mut edits = Vec::new();
    for site in sites(open.len(), share_of(share, open.len()), rng) {
        let second = open[site.at];
        if moved[second] || moved[second - 1] {
            continue;
        }
        let (a, b) = (bytes(found[second - 1]), bytes(found[second]));
        let range = a.start..b.end;
        let (first, last) = (&text.content[a], &text.content[b]);
        let capital = |s: &str| s.starts_with(char::is_uppercase);
        let replacement = if capital(first) && !capital(last) && last.chars().all(char::is_alphabetic) {
            format!("{}{}", last.to_uppercase(), first.to_lowercase())
        } else {
            format!("{last}{first}")
        };
        if replacement != text.content[range.clone()] {
            moved[second] = true;
            moved[second - 1] = true;
            edits.push(Edit { range, replacement });
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use crate::random::SeedTree;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    type Noise = fn(&Text, &[Word], f64, &mut ChaCha8Rng) -> Vec<Edit>;
    const ALL: [Noise; 6] = [keyboard_typos, confuse_ocr, homoglyphs, insert_characters, delete_characters, swap_characters];

    fn all_of(noise: Noise, content: &str, seed: u64) -> String {
        let text = Text::new(content);
        apply(&text, noise(&text, &words(content), 1.0, &mut SeedTree::new(seed).rng())).unwrap().text.content
    }

    #[test]
    fn a_key_touches_its_neighbours_and_they_touch_it() {
        let of = |key: &str| String::from_utf8(keys(key).to_vec()).unwrap();
        assert_eq!((of("s").as_str(), of("G").as_str(), of("q").as_str(), of("m").as_str()), ("adwezx", "fhtyvb", "w12a", "njk"));
        assert_eq!((of("\u{e9}"), of(" "), of("ab")), (String::new(), String::new(), String::new()));
        for key in ROWS.concat() {
            let key = char::from(key).to_string();
            assert!(keys(&key).len() >= 2);
            for other in keys(&key) {
                assert!(of(&char::from(*other).to_string()).contains(&key), "{key} and {other}");
            }
        }
    }

    #[test]
    fn what_each_slip_looks_like() {
        assert_eq!(all_of(swap_characters, "Dog 42", 1).len(), 6);
        assert!(["Odg 24", "Dgo 24"].contains(&all_of(swap_characters, "Dog 42", 1).as_str()));
        assert_eq!(all_of(swap_characters, "aa bb", 1), "aa bb");
        assert_eq!(all_of(delete_characters, "a red dog, na\u{ef}ve", 1), "a r d, n");
        assert!(all_of(confuse_ocr, "md", 1).chars().next().is_some_and(char::is_alphabetic));
        let seen = all_of(homoglyphs, "peace", 3);
        assert!(seen != "peace" && seen.chars().all(|c| !c.is_ascii()), "{seen}");
        assert_eq!(all_of(insert_characters, "ab cd", 1).len(), 9);
        // A letter that no table knows is left as it is by every table.
        assert_eq!(all_of(keyboard_typos, "\u{e9}\u{4e2d}", 1), "\u{e9}\u{4e2d}");
    }

    #[test]
    fn a_replacement_is_never_the_character_itself() {
        for code in 0..128u8 {
            let c = char::from(code);
            assert!(misread(c).iter().chain(lookalike(c)).all(|s| *s != c.to_string()), "{c}");
            assert!(lookalike(c).iter().all(|s| s.chars().count() == 1 && !s.is_ascii()), "{c}");
        }
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
