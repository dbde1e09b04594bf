use super::*;
use crate::{
    model::{DataProfile, ModelSpec, OfRow, Outputs, TextEdits, Trainable, TrainingBatch, linear::Linear},
    random::SeedTree,
    sample::{Classes, TextSpan},
};
use std::sync::Arc;

fn model() -> Arc<dyn Model> {
    let classes = Classes::from_names(["dog", "cat", "bird"].map(String::from));
    let profile = DataProfile { classes, modalities: ModalitySet::one(Modality::Text), ..DataProfile::default() };
    let mut trainer = Linear::default().trainer(&profile).unwrap();
    let texts = ["one small dog barks", "two old cats sleep", "three birds sing loudly", "a dog", "a cat", "a bird"];
    let inputs: Vec<Input> = texts.iter().map(|t| Input { text: Some((*t).into()), ..Input::default() }).collect();
    let targets: Vec<Target> = (0..6).map(|i| Target::Class(i % 3)).collect();
    for _ in 0..60 {
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 6], learning_rate: 0.05 }).unwrap();
    }
    trainer.freeze().unwrap()
}

fn one(text: &Text, class: usize, config: &FlipConfig) -> Flipped {
    flip(&*model(), &[Input::default()], &[Some(text)], &[Target::Class(class)], config).unwrap().remove(0)
}

#[test]
fn the_loss_rises_with_every_edit_within_the_share() {
    let text = Text::new("three birds sing loudly");
    for flips in [vec![Flip::Replace], vec![Flip::Insert], vec![Flip::Delete], vec![Flip::Swap], FlipConfig::default().flips] {
        let found = one(&text, 2, &FlipConfig { flips, ..FlipConfig::default() });
        // 15 % of 23 characters are 3.
        assert!((1..=3).contains(&found.edits.len()), "{found:?}");
        assert!(found.losses.len() == found.edits.len() + 1 && found.losses.windows(2).all(|pair| pair[1] > pair[0]), "{found:?}");
        let content = text::apply(&text, found.edits.clone()).unwrap().text.content;
        let logits = model().forward(&[Input { text: Some(content.into()), ..Input::default() }]).unwrap().logits;
        assert_eq!(measure::cross_entropy(logits.row(0), &Target::Class(2)), found.cross_entropy);
    }
}

#[test]
fn the_best_single_edit_is_found() {
    // The model is nearly linear in its features: the measured best of the promised ones is the best of all.
    let text = Text::new("two old cats");
    let wide = FlipConfig { candidates: 40, max_share: 0.1, ..FlipConfig::default() };
    let found = one(&text, 1, &wide);
    let model = model();
    let (places, words) = editable(&text, &wide);
    let all: Vec<Candidate> = candidates(&places, &words, &wide.flips).collect();
    let loss = |edit: &Edit| {
        let content = text::apply(&text, vec![edit.clone()]).unwrap().text.content;
        let logits = model.forward(&[Input { text: Some(content.into()), ..Input::default() }]).unwrap().logits;
        measure::cross_entropy(logits.row(0), &Target::Class(1))
    };
    let best = all.iter().map(|one| loss(&one.edit)).fold(f32::MIN, f32::max);
    assert_eq!((found.edits.len(), found.cross_entropy), (1, best));
}

#[test]
fn the_quick_way_to_edit_gives_the_same_text() {
    let text = Text::new("two old cats");
    let config = FlipConfig::default();
    let (places, words) = editable(&text, &config);
    let all: Vec<Edit> = candidates(&places, &words, &config.flips).map(|one| one.edit).collect();
    let (a, b) = (Edit { range: 0..1, replacement: "x".into() }, Edit { range: 11..12, replacement: String::new() });
    for edit in all.iter().filter(|e| e.range.start > 1 && e.range.end < 11) {
        let wanted = text::apply(&text, vec![a.clone(), b.clone(), edit.clone()]).unwrap().text.content;
        assert_eq!(spliced(&text.content, &[&a, &b], Some(edit)), wanted);
    }
}

#[test]
fn a_long_text_is_edited_at_its_beginning() {
    let text = Text::new("three birds sing loudly ".repeat(2500));
    let config = FlipConfig { flips: vec![Flip::Delete], max_share: 2.0 / EDITED as f64, ..FlipConfig::default() };
    let found = one(&text, 2, &config);
    // A share of that part, not of all.
    assert!((1..=2).contains(&found.edits.len()) && found.edits.iter().all(|edit| edit.range.end <= EDITED), "{found:?}");
    // "birds" lies across the border: its letters before it are protected as well.
    let text = Text::new(format!("{}birds sing", " ".repeat(EDITED - 2)));
    let config = FlipConfig { protect: BTreeSet::from(["birds".into()]), max_share: 0.1, ..config };
    assert!(one(&text, 2, &config).edits.is_empty());
    // Nothing changes places with a letter behind the border.
    let places = places(&Text::new("x".repeat(EDITED + 5)), &|_, _| true);
    assert_eq!((places.len(), places[EDITED - 1].next), (EDITED, None));
}

#[test]
fn spans_and_protected_words_stay() {
    let span = TextSpan { start: 0, end: 5, tag: "count".into() };
    let text = Text { content: "three birds sing loudly".into(), spans: vec![span] };
    let protect = BTreeSet::from(["birds".to_owned(), "sing".to_owned()]);
    let config = FlipConfig { max_share: 1.0, beam: 2, protect, ..FlipConfig::default() };
    let found = one(&text, 2, &config);
    assert!(!found.edits.is_empty() && found.edits.iter().all(|edit| edit.range.start >= 17), "{:?}", found.edits);
    let all = FlipConfig { protect: ["birds", "sing", "loudly"].map(String::from).into(), ..config };
    assert_eq!((one(&text, 2, &all).edits, one(&text, 2, &all).gradients), (Vec::new(), 0));
}

#[test]
fn words_give_way_to_words_of_their_meaning() {
    let text = Text::new("a small dog beside a car");
    let config = FlipConfig { flips: vec![Flip::Synonym], max_share: 0.5, candidates: 64, ..FlipConfig::default() };
    let found = one(&text, 0, &config);
    assert!(!found.edits.is_empty(), "{found:?}");
    let known: Vec<String> = text::every_synonym(&text, &text::words(&text.content)).into_iter().map(|e| e.replacement).collect();
    assert!(found.edits.iter().all(|edit| known.contains(&edit.replacement)), "{found:?}");
    // A word counts as its length: half of 24 characters, and with its article as theirs too.
    assert!(found.edits.iter().map(|edit| edit.range.len()).sum::<usize>() <= 12, "{found:?}");
    assert!(found.losses.windows(2).all(|pair| pair[1] > pair[0]), "{found:?}");
    let kept = FlipConfig { protect: ["small", "dog", "car", "beside"].map(String::from).into(), ..config.clone() };
    assert_eq!((one(&text, 0, &kept).edits, one(&text, 0, &kept).gradients), (Vec::new(), 0));
    assert!(one(&text, 0, &FlipConfig { max_share: 0.05, ..config }).edits.is_empty());
}

#[test]
fn it_ends_when_the_text_is_misread() {
    let text = Text::new("two old cats sleep");
    let config = FlipConfig { max_share: 1.0, until: Until::Misclassified, ..FlipConfig::default() };
    let (found, whole) = (one(&text, 1, &config), one(&text, 1, &FlipConfig { until: Until::Steps, ..config.clone() }));
    assert!(found.solved && found.edits.len() < whole.edits.len(), "{} {}", found.edits.len(), whole.edits.len());
    assert_eq!(whole.edits[..found.edits.len()], found.edits);
    let wide = one(&text, 1, &FlipConfig { beam: 4, max_share: 0.2, until: Until::Steps, ..config });
    assert!(wide.cross_entropy.is_finite());
    // Wrong from the beginning: solved without an edit.
    assert!(one(&text, 0, &FlipConfig { until: Until::Misclassified, ..FlipConfig::default() }).edits.is_empty());
}

#[test]
fn neighbours_and_missing_texts_change_nothing() {
    let (a, b) = (Text::new("two old cats sleep"), Text::new("three birds sing loudly"));
    let (model, config) = (model(), FlipConfig::default());
    let targets = [Target::Class(1), Target::Class(0), Target::Class(2), Target::Class(2)];
    let short = Text::new("bird");
    let all = flip(&*model, &vec![Input::default(); 4], &[Some(&a), None, Some(&b), Some(&short)], &targets, &config).unwrap();
    assert_eq!((&all[0], &all[2]), (&one(&a, 1, &config), &one(&b, 2, &config)));
    assert!(all[1].edits.is_empty() && all[3].edits.is_empty() && all[1].losses.is_empty());
    assert!(flip(&*model, &[], &[None], &[], &config).is_err());
    let none = FlipConfig { flips: Vec::new(), ..config };
    assert!(flip(&*model, &[], &[], &[], &none).is_err());
}

#[test]
fn a_text_is_turned_away_from_an_embedding() {
    let (model, text, other) = (model(), Text::new("two old cats sleep"), "two old cats sleep");
    let embedding = |content: &str| {
        let seen = model.forward(&[Input { text: Some(content.into()), ..Input::default() }]).unwrap();
        seen.embeddings.text.unwrap().values
    };
    let guide = Guide { modality: Modality::Text, references: vec![embedding(other)] };
    let config = FlipConfig { max_share: 0.12, candidates: 32, ..FlipConfig::default() };
    let away = |guides: &[Guide]| flip_away(&*model, &[Input::default()], &[Some(&text)], &[Target::Class(1)], guides, &config);
    let found = away(std::slice::from_ref(&guide)).unwrap().remove(0);
    // From the text itself: the similarity begins at 1 and falls with every edit, to that of the edited text.
    assert!((found.losses[0] + 1.0).abs() < 1e-6 && found.losses.windows(2).all(|pair| pair[1] > pair[0]), "{found:?}");
    let edited = text::apply(&text, found.edits.clone()).unwrap().text.content;
    assert_eq!(guide.value(&embedding(&edited)).0, *found.losses.last().unwrap());
    assert!(!found.edits.is_empty() && found.gradients as usize == found.edits.len(), "{found:?}");
    assert!(away(&[]).is_err() && away(&[Guide { modality: Modality::Image, ..guide.clone() }]).is_err());
    assert!(away(&[Guide { references: vec![vec![1.0; 3]], ..guide }]).is_err());
}

/// A model that says nothing of edits, or counts the texts that it embeds.
struct Watched {
    model: Arc<dyn Model>,
    tells: bool,
    embedded: std::sync::atomic::AtomicUsize,
}

impl Watched {
    fn new(model: &Arc<dyn Model>, tells: bool) -> Self {
        Self { model: Arc::clone(model), tells, embedded: 0.into() }
    }
}

impl Model for Watched {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        self.model.forward(inputs)
    }
    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        self.model.logits_gradient(inputs, wrt, of)
    }
    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        self.embedded.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.model.embed_text(text)
    }
    fn text_edits<'a>(&'a self, text: &'a str, slope: &'a [f32]) -> Result<Option<Box<dyn TextEdits + 'a>>> {
        if self.tells { self.model.text_edits(text, slope) } else { Ok(None) }
    }
    fn save(&self, path: &std::path::Path) -> Result<()> {
        self.model.save(path)
    }
}

#[cfg(feature = "burn")]
fn deep() -> Arc<dyn Model> {
    use crate::model::fusion::{Fusion, TextConfig};
    let classes = Classes::from_names(["dog", "cat", "bird"].map(String::from));
    let profile = DataProfile { classes, modalities: ModalitySet::one(Modality::Text), text: Some(40), ..DataProfile::default() };
    let text = TextConfig { hidden: 6, characters: 4, ..TextConfig::default() };
    Fusion { embedding: 6, hidden: 8, text, ..Fusion::default() }.trainer(&profile, &SeedTree::new(3)).unwrap().freeze().unwrap()
}

#[test]
fn what_a_model_tells_of_edits_changes_no_choice() {
    #[cfg(feature = "burn")]
    let models = [model(), deep()];
    #[cfg(not(feature = "burn"))]
    let models = [model()];
    let long = "lorem ipsum dolor ".repeat(4);
    let texts = ["three birds sing loudly", "Two  old İcats, zwölf\tÄpfel", "a small dog beside a car", "aaaa aaaa aaaa aaaa", &long];
    let texts: Vec<Text> = texts.into_iter().map(Text::new).collect();
    let given: Vec<Option<&Text>> = texts.iter().map(Some).collect();
    let (inputs, goals) = (vec![Input::default(); given.len()], (0..given.len()).map(|i| Target::Class(i % 3)).collect::<Vec<_>>());
    let all = [Flip::Synonym, Flip::Swap, Flip::Insert, Flip::Delete, Flip::Replace].to_vec();
    let configs = [
        FlipConfig { max_share: 0.2, ..FlipConfig::default() },
        FlipConfig { flips: all, max_share: 0.3, beam: 3, candidates: 5, until: Until::Misclassified, ..FlipConfig::default() },
        FlipConfig { flips: vec![Flip::Insert, Flip::Delete], candidates: 2, objective: Objective::CarliniWagner, ..FlipConfig::default() },
    ];
    for model in models {
        for config in &configs {
            let (silent, telling) = (Watched::new(&model, false), Watched::new(&model, true));
            let wanted = flip(&silent, &inputs, &given, &goals, config).unwrap();
            assert_eq!(flip(&telling, &inputs, &given, &goals, config).unwrap(), wanted);
            assert!(wanted.iter().any(|flipped| flipped.edits.len() > 1), "{wanted:?}");
            let (few, many) = (telling.embedded.into_inner(), silent.embedded.into_inner());
            assert!(10 * few < 4 * many, "{few} of {many} texts are embedded");
        }
    }
}

#[test]
fn only_rises_that_can_be_among_the_greatest_are_looked_at_again() {
    let told = vec![(0, 3.0, 0.5), (1, 2.0, 0.25), (2, 1.0, 2.0), (3, 2.25, 0.0), (4, f64::NAN, 1.0), (6, 2.0, 0.0)];
    let numbers = |count| possible(told.clone(), count).into_iter().map(|(number, ..)| number).collect::<Vec<_>>();
    // At least 2.5, 2.25 and 2 are certain: what can be more is kept.
    assert_eq!(numbers(1), [0, 2, 4]);
    assert_eq!(numbers(2), [0, 1, 2, 3, 4]);
    assert_eq!(numbers(6), [0, 1, 2, 3, 4, 6]);
}

/// Reads which letters a text has: `a` alone is worth more than `b` alone, and `b` with `c` more than all.
struct Letters(Arc<dyn Model>);

impl Letters {
    fn worth(counts: &[f32]) -> f32 {
        let has = |letter: char| counts[letter as usize - 'a' as usize] > 0.0;
        match (has('a'), has('b'), has('c')) {
            (true, ..) => 1.0 + 0.1 * counts[1],
            (false, true, true) => 3.0,
            (false, true, false) => 0.9,
            _ => 0.0,
        }
    }
    fn counts(text: &str) -> Vec<f32> {
        let mut counts = vec![0.0; 26];
        text.bytes().filter(u8::is_ascii_lowercase).for_each(|letter| counts[usize::from(letter - b'a')] += 1.0);
        counts
    }
}

impl Model for Letters {
    fn spec(&self) -> &crate::model::ModelSpec {
        self.0.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<crate::model::Outputs> {
        let mut found = self.0.forward(inputs)?;
        for (row, input) in inputs.iter().enumerate() {
            let worth = Self::worth(&Self::counts(input.text.as_deref().unwrap_or_default()));
            found.logits.values[3 * row..3 * row + 3].copy_from_slice(&[0.0, worth, -9.0]);
        }
        Ok(found)
    }
    fn logits_gradient(&self, inputs: &[Input], _: ModalitySet, of: crate::model::OfRow<'_>) -> Result<Gradients> {
        let logits = self.forward(inputs)?.logits;
        let objective = (0..inputs.len()).map(|row| of(row, logits.row(row)).0).collect();
        // What one more of each letter is worth.
        let slope = |input: &Input| {
            let counts = Self::counts(input.text.as_deref().unwrap_or_default());
            let more = |letter: usize| {
                let mut counts = counts.clone();
                counts[letter] += 1.0;
                Self::worth(&counts)
            };
            Some((0..26).map(|letter| more(letter) - Self::worth(&counts)).collect())
        };
        Ok(Gradients { objective, logits, text: inputs.iter().map(slope).collect(), ..Gradients::default() })
    }
    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        Ok(EmbeddedText { values: Self::counts(text), positions: 1, size: 26 })
    }
    fn save(&self, _: &std::path::Path) -> Result<()> {
        Err(Error::internal("not saved"))
    }
}

#[test]
fn a_wide_beam_finds_what_the_steepest_way_misses() {
    let (model, text) = (Letters(model()), Text::new("mmmm"));
    let found = |beam: usize| {
        let config = FlipConfig { flips: vec![Flip::Replace], max_share: 0.5, beam, candidates: 12, ..FlipConfig::default() };
        let found = flip(&model, &[Input::default()], &[Some(&text)], &[Target::Class(0)], &config).unwrap().remove(0);
        (found.edits.len(), found.cross_entropy)
    };
    let loss = |worth: f32| measure::cross_entropy(&[0.0, worth, -9.0], &Target::Class(0));
    assert_eq!([found(1), found(8)], [(2, loss(1.1)), (2, loss(3.0))]);
    // No two letters are worth more.
    let letters = || (b'a'..=b'z').map(char::from);
    let best = letters().flat_map(|a| letters().map(move |b| Letters::worth(&Letters::counts(&format!("{a}{b}mm"))))).fold(0.0, f32::max);
    assert_eq!(found(8).1, loss(best));
}
