//! Captions beside nlpaug and augly: the peers' twelve sentences of 8 to 14 words. A call of either side takes a string, finds its words, draws and returns a new
//! text; ours also keeps spans and protected words. Shares are near nlpaug's defaults (a tenth of the characters in a third of the words; a third of the words).

use crate::{Case, Peer, Peers, Wanted};
use hardmine::{
    augment::text::{self, Edit, Word},
    error::{Error, Result},
    random::SeedTree,
    sample::Text,
};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

const PEERS: &[Peer] =
    &[Peer { script: "text_ops.py", library: "nlpaug", path: None }, Peer { script: "text_ops.py", library: "augly", path: None }];

/// The peers' own sentences, or others of the same length where there is no Python.
fn sentences(peers: Option<&Peers>) -> Result<Vec<String>> {
    match peers {
        Some(peers) => {
            let told = peers.output("import common\nfor s in common.SENTENCES: print(s)")?;
            Ok(String::from_utf8_lossy(&told).lines().map(str::to_owned).collect())
        }
        None => Ok(["A small grey cat sleeps on the warm roof of a car.", "Three people in red coats wait for the bus near a tall tree."]
            .map(str::to_owned)
            .to_vec()),
    }
}

type Operator = fn(&Text, &[Word], &mut ChaCha8Rng) -> Vec<Edit>;

/// The cases of text.
pub fn cases(peers: Option<&Peers>, wanted: &Wanted) -> Result<Vec<Case>> {
    let operators: [(&str, &'static [Peer], Operator); 16] = [
        ("keyboard_typos", PEERS, |t, w, r| text::keyboard_typos(t, w, 0.1, r)),
        ("ocr_errors", PEERS, |t, w, r| text::confuse_ocr(t, w, 0.1, r)),
        ("char_swap", PEERS, |t, w, r| text::swap_characters(t, w, 0.1, r)),
        ("char_delete", PEERS, |t, w, r| text::delete_characters(t, w, 0.1, r)),
        ("word_swap", PEERS, |t, w, r| text::swap_words(t, w, 0.3, r)),
        ("word_delete", PEERS, |t, w, r| text::drop_some(t, w, 0.3, r)),
        ("word_split", PEERS, |t, w, r| text::split_words(t, w, 0.3, r)),
        ("word_merge", PEERS, |t, w, r| text::merge_words(t, w, 0.3, r)),
        ("spelling_errors", PEERS, |t, w, r| text::spelling_errors(t, w, 0.3, r)),
        ("synonym_wordnet", PEERS, |t, w, r| text::synonyms(t, w, 0.3, r)),
        ("punctuation", PEERS, |t, w, r| text::add_punctuation(t, w, 0.3, r)),
        ("case", PEERS, |t, w, r| text::random_case(t, w, 0.3, r)),
        ("homoglyphs", &[], |t, w, r| text::homoglyphs(t, w, 0.1, r)),
        ("contractions", &[], |t, w, _| text::contract(t, w)),
        ("number_words", &[], |t, w, _| text::words_to_digits(t, w)),
        ("paraphrase", &[], |t, w, r| text::paraphrase(t, w, 0.5, true, r)),
    ];
    let mut cases = Vec::new();
    if !operators.iter().any(|(name, ..)| wanted.has(&format!("text/{name}"))) {
        return Ok(cases);
    }
    let sentences = sentences(peers)?;
    if sentences.is_empty() {
        return Err(Error::data("no sentences"));
    }
    for (name, peers, operator) in operators {
        let sentences = sentences.clone();
        let mut rng = SeedTree::new(7).child(name).rng();
        let run = move |call: usize| {
            let sentence = &sentences[call % sentences.len()];
            let text = Text::new(black_box(sentence.as_str()));
            let words = text::words(&text.content);
            let edits = operator(&text, &words, &mut rng);
            black_box(text::apply(&text, edits)?.text);
            Ok(())
        };
        cases.push(Case { name: format!("text/{name}"), peers, items: 1, run: Box::new(run) });
    }
    Ok(cases)
}
