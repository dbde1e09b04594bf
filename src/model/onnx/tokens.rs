//! Text to token ids: by character, or by WordPiece.

use super::TextInput;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How text becomes ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) length: usize,
    lowercase: bool,
    /// Known characters in the order of their ids, or nothing.
    characters: Option<String>,
    /// Tokens in the order of their ids.
    vocabulary: Vec<String>,
    #[serde(skip)]
    ids: HashMap<String, i64>,
}

impl Tokens {
    pub(super) fn new(of: &TextInput, length: usize) -> Result<Self> {
        let vocabulary = match &of.vocabulary {
            Some(path) => std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?.lines().map(str::to_owned).collect(),
            None => Vec::new(),
        };
        if of.vocabulary.is_some() && !vocabulary.iter().any(|t| t == "[UNK]") {
            return Err(Error::model("expected a WordPiece vocabulary, found one without the token [UNK]"));
        }
        Ok(Self { length, lowercase: of.lowercase.unwrap_or_default(), characters: of.characters.clone(), vocabulary, ids: HashMap::new() }
            .ready())
    }

    /// Makes the look-up after reading.
    pub(super) fn ready(mut self) -> Self {
        self.ids = match &self.characters {
            Some(known) => known.chars().enumerate().map(|(i, c)| (c.to_string(), i as i64 + 1)).collect(),
            None => self.vocabulary.iter().enumerate().map(|(i, t)| (t.clone(), i as i64)).collect(),
        };
        self
    }

    /// The known characters, or the known tokens with a space after each.
    pub(super) fn known(&self) -> Vec<String> {
        match &self.characters {
            Some(known) => known.chars().map(String::from).collect(),
            None => self.vocabulary.iter().map(|t| format!("{t} ")).collect(),
        }
    }

    /// The ids of a text, `length` of them, and how many are tokens. No text is no token.
    pub(super) fn ids(&self, text: Option<&str>) -> (Vec<i64>, usize) {
        let small;
        let text = match text {
            Some(text) if self.lowercase => {
                small = text.to_lowercase();
                Some(small.as_str())
            }
            other => other,
        };
        let mut ids = match (text, &self.characters) {
            (None, _) => Vec::new(),
            (Some(text), Some(known)) => {
                let unknown = known.chars().count() as i64 + 1;
                text.chars().map(|c| self.ids.get(c.encode_utf8(&mut [0; 4]) as &str).copied().unwrap_or(unknown)).collect()
            }
            (Some(text), None) => self.pieces(text),
        };
        ids.truncate(self.length);
        let tokens = ids.len();
        let fill = if self.characters.is_some() { 0 } else { self.ids.get("[PAD]").copied().unwrap_or(0) };
        ids.resize(self.length, fill);
        (ids, tokens)
    }

    /// WordPiece (Wu et al. 2016, as in BERT): words and punctuation apart, each from the left by its longest known piece.
    fn pieces(&self, text: &str) -> Vec<i64> {
        let id = |token: &str| self.ids.get(token).copied();
        let unknown = id("[UNK]").unwrap_or(0);
        let mut body = Vec::new();
        for word in words(text) {
            let start = body.len();
            let mut rest = word.as_str();
            while !rest.is_empty() {
                let prefix = if body.len() > start { "##" } else { "" };
                let ends = rest.char_indices().map(|(i, c)| i + c.len_utf8()).rev();
                let found = ends.filter(|e| *e <= 200).find_map(|end| Some((end, id(&format!("{prefix}{}", &rest[..end]))?)));
                let Some((end, piece)) = found else {
                    body.truncate(start);
                    body.push(unknown);
                    break;
                };
                body.push(piece);
                rest = &rest[end..];
            }
            if body.len() >= self.length {
                break;
            }
        }
        let (first, last) = (id("[CLS]"), id("[SEP]"));
        body.truncate(self.length.saturating_sub(usize::from(first.is_some()) + usize::from(last.is_some())));
        first.into_iter().chain(body).chain(last).collect()
    }
}

fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open = false;
    for c in text.chars() {
        if c.is_whitespace() {
            open = false;
        } else if c.is_ascii_punctuation() || !c.is_alphanumeric() {
            out.push(c.to_string());
            open = false;
        } else {
            match out.last_mut().filter(|_| open) {
                Some(word) => word.push(c),
                None => out.push(c.to_string()),
            }
            open = true;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_the_place_in_their_list() {
        let tokens = Tokens::new(&TextInput { characters: Some("abé".into()), ..TextInput::default() }, 5).unwrap();
        assert_eq!(tokens.ids(Some("béxa")), (vec![2, 3, 4, 1, 0], 4));
        assert_eq!(tokens.ids(None), (vec![0; 5], 0));
        assert_eq!(tokens.ids(Some("aaaaaaa")).1, 5);
    }

    #[test]
    fn words_are_their_longest_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.txt");
        std::fs::write(&path, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\nrun\n!\n").unwrap();
        let text = TextInput { vocabulary: Some(path.clone()), lowercase: Some(true), ..TextInput::default() };
        let tokens = Tokens::new(&text, 9).unwrap();
        // The example of the paper's successor (Devlin et al. 2019): un ##aff ##able.
        assert_eq!(tokens.ids(Some("Unaffable run! xyz")), (vec![2, 4, 5, 6, 7, 8, 1, 3, 0], 8));
        assert_eq!(Tokens::new(&text, 3).unwrap().ids(Some("unaffable")).0, [2, 4, 3]);
        std::fs::write(&path, "a\n").unwrap();
        assert!(Tokens::new(&text, 3).is_err());
    }
}
