//! Attacks on the letters and words of a text.

use super::{Guide, Until, guide};
use crate::{
    augment::text::{self, Edit},
    error::{Error, Result},
    model::{EmbeddedText, Gradients, Input, Model, Objective, Target, measure},
    sample::{Modality, ModalitySet, Text},
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What may be done to a letter, or to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Another letter stands in its place.
    Replace,
    /// A letter is put behind it.
    Insert,
    /// It is left out.
    Delete,
    /// It changes places with the next letter.
    Swap,
    /// A word with one meaning where it stands is replaced by another of that meaning, in its form and case, its article with it.
    Synonym,
}

/// An attack on the letters and words of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct FlipConfig {
    /// What may be done.
    pub flips: Vec<Flip>,
    /// Largest share of the characters (of a longer text of its first 2,048) that is edited, `0..=1`, rounded down to whole characters; an edit of a letter counts as one, of a word as its length.
    pub max_share: f64,
    /// Texts that are carried on from edit to edit, at least 1.
    pub beam: usize,
    /// Edits of each carried text whose true objective is measured, those of the greatest foretold rise, at least 1.
    pub candidates: usize,
    /// Words that stay, in lower case, beside all spans of the text.
    pub protect: BTreeSet<String>,
    /// What is ascended.
    pub objective: Objective,
    /// When a text is done. [`Until::Reached`] is as [`Until::Misclassified`].
    pub until: Until,
}

impl Default for FlipConfig {
    fn default() -> Self {
        Self {
            flips: vec![Flip::Replace, Flip::Insert, Flip::Delete, Flip::Swap],
            max_share: 0.15,
            beam: 1,
            candidates: 8,
            protect: BTreeSet::new(),
            objective: Objective::CrossEntropy,
            until: Until::Steps,
        }
    }
}

/// What an attack made of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Flipped {
    /// Edits of the text as it was, which do not overlap, in the order they were chosen: the first few alone are a milder attack.
    pub edits: Vec<Edit>,
    /// The objective before the first edit and after each; empty where nothing was measured.
    pub losses: Vec<f32>,
    /// Cross entropy with the target after the last edit, in nats; NaN where nothing was measured.
    pub cross_entropy: f32,
    /// Whether the condition of [`Until`] was met; for [`Until::Steps`] whether the prediction at the end is wrong.
    pub solved: bool,
    /// Whether every objective and gradient was a number.
    pub finite: bool,
    /// Gradient evaluations.
    pub gradients: u64,
    /// Forward evaluations without a gradient.
    pub forwards: u64,
}

/// A text on the way.
#[derive(Debug, Clone)]
struct Line {
    edits: Vec<Edit>,
    /// Characters that are edited.
    touched: BTreeSet<usize>,
    /// Characters that count toward the limit.
    cost: usize,
    losses: Vec<f32>,
    cross_entropy: f32,
    wrong: bool,
}

/// One sample on the way.
struct Item<'a> {
    text: &'a Text,
    places: Vec<Place>,
    words: Vec<Candidate>,
    most: usize,
    lines: Vec<Line>,
    done: bool,
    flipped: Flipped,
}

/// A character that may be edited.
#[derive(Debug, Clone)]
struct Place {
    at: usize,
    start: usize,
    end: usize,
    letter: char,
    /// Whether the next character may be edited as well.
    next: Option<char>,
}

/// One edit that may be made.
#[derive(Debug, Clone)]
struct Candidate {
    edit: Edit,
    /// The characters it touches, none of which may be touched before.
    touched: Vec<usize>,
    cost: usize,
}

/// Characters of a text, from its beginning, among which edits are looked for: every one of them is tried each round, and models read the beginning.
const EDITED: usize = 2048;
/// Characters over which an edit's promised rise is summed, by models that embed place by place.
const RANKED: usize = 2 * EDITED;

/// Samples that are attacked together; it changes memory, not results.
const TOGETHER: usize = 128;

/// HotFlip: at every round the rise of the objective that each admissible edit of one letter or word promises, `(E' - E) . g` with the embedding `E` of the text
/// and the gradient `g` there, ranks the edits; of the best the true objective is measured, and the best of these are carried on, as long as it rises
/// and the limit is not reached. A character is edited once, and nothing inside a span of the text or a protected word; only the first 2,048 characters are. The other media of `inputs`
/// stay; its texts are `texts`. Nothing is drawn. Samples without a text, and texts too short for one edit, come back as they are.
///
/// # Errors
/// Slices of unequal length, numbers out of range, a target that is no class of the model, a model without a gradient of text.
///
/// Reference: Ebrahimi, Rao, Lowd and Dou 2018, "HotFlip: White-Box Adversarial Examples for Text Classification".
pub fn flip(model: &dyn Model, inputs: &[Input], texts: &[Option<&Text>], targets: &[Target], config: &FlipConfig) -> Result<Vec<Flipped>> {
    edit(model, inputs, texts, targets, None, config)
}

/// [`flip`] on embeddings: every input has a guide of its text, which is ascended in place of the objective of `config`; the condition of [`Until`] still looks at the prediction.
///
/// # Errors
/// Those of [`flip`], guides that are not one an input or not of the text, embeddings of another length than the guides', a model without gradients of its embeddings.
///
/// Reference: Lu et al. 2023, "Set-level Guidance Attack: Boosting Adversarial Transferability of Vision-Language Pre-training Models".
pub fn flip_away(
    model: &dyn Model,
    inputs: &[Input],
    texts: &[Option<&Text>],
    targets: &[Target],
    guides: &[Guide],
    config: &FlipConfig,
) -> Result<Vec<Flipped>> {
    if guides.len() != inputs.len() || guides.iter().any(|guide| guide.modality != Modality::Text) {
        return Err(Error::usage(format!("an attack on {} embedded texts needs a guide of text for each", inputs.len())));
    }
    edit(model, inputs, texts, targets, Some(guides), config)
}

fn edit(
    model: &dyn Model,
    inputs: &[Input],
    texts: &[Option<&Text>],
    targets: &[Target],
    guides: Option<&[Guide]>,
    config: &FlipConfig,
) -> Result<Vec<Flipped>> {
    let found = (inputs.len(), texts.len(), targets.len());
    if found.0 != found.1 || found.0 != found.2 {
        let message = format!("an attack needs as many inputs as texts and targets, found {}, {} and {}", found.0, found.1, found.2);
        return Err(Error::usage(message));
    }
    if config.flips.is_empty() || config.beam == 0 || config.candidates == 0 || !(0.0..=1.0).contains(&config.max_share) {
        return Err(Error::usage(format!("expected flips, a share in 0..=1, a beam and candidates of at least 1, found {config:?}")));
    }
    let spec = model.spec();
    if !spec.gradients.has(Modality::Text) {
        let message = format!("attacks on text need its gradient; this model gives that of {}", spec.gradients);
        return Err(Error::usage(message).at("model", &spec.name));
    }
    let mut all = Vec::with_capacity(inputs.len());
    for from in (0..inputs.len()).step_by(TOGETHER) {
        let to = (from + TOGETHER).min(inputs.len());
        let guides = guides.map(|guides| &guides[from..to]);
        all.extend(flip_together(model, &inputs[from..to], &texts[from..to], &targets[from..to], guides, config)?);
    }
    Ok(all)
}

fn flip_together(
    model: &dyn Model,
    inputs: &[Input],
    texts: &[Option<&Text>],
    targets: &[Target],
    guides: Option<&[Guide]>,
    config: &FlipConfig,
) -> Result<Vec<Flipped>> {
    static NONE: Text = Text { content: String::new(), spans: Vec::new() };
    let mut items: Vec<Item<'_>> = texts.iter().map(|text| Item::begin(text.unwrap_or(&NONE), config)).collect();
    loop {
        let open: Vec<(usize, usize)> =
            (0..items.len()).filter(|&i| !items[i].done).flat_map(|i| (0..items[i].lines.len()).map(move |line| (i, line))).collect();
        if open.is_empty() {
            break;
        }
        let points: Vec<Input> = open.iter().map(|(i, line)| items[*i].input(&inputs[*i], &items[*i].lines[*line].edits)).collect();
        let goals: Vec<Target> = open.iter().map(|(i, _)| targets[*i].clone()).collect();
        let seen = match guides {
            None => model.gradient(&points, &goals, config.objective, ModalitySet::one(Modality::Text))?,
            Some(guides) => guide::away(model, &points, &open.iter().map(|(i, _)| &guides[*i]).collect::<Vec<_>>())?,
        };
        for (row, (i, line)) in open.iter().enumerate() {
            items[*i].see(*line, &seen, row, &targets[*i], config);
        }
        items.iter_mut().for_each(|item| item.settle());
        // The edits that promise most, of every text that goes on.
        let promising: Vec<Vec<Line>> = open
            .par_iter()
            .enumerate()
            .map(
                |(row, (i, line))| {
                    if items[*i].done { Ok(Vec::new()) } else { items[*i].promising(model, *line, seen.of(Modality::Text, row), config) }
                },
            )
            .collect::<Result<_>>()?;
        let mut trials: Vec<(usize, Line)> = Vec::new();
        let mut met: BTreeSet<(usize, String)> = BTreeSet::new();
        for ((i, _), lines) in open.iter().zip(promising) {
            for line in lines {
                if met.insert((*i, items[*i].content(&line.edits))) {
                    trials.push((*i, line));
                }
            }
        }
        let points: Vec<Input> = trials.iter().map(|(i, line)| items[*i].input(&inputs[*i], &line.edits)).collect();
        let outputs = if points.is_empty() { Default::default() } else { model.forward(&points)? };
        for (row, (i, mut line)) in trials.into_iter().enumerate() {
            let guided = guides.map(|guides| guides[i].of(&outputs, row)).transpose()?;
            let (row, target) = (outputs.logits.row(row), &targets[i]);
            let value = guided.unwrap_or_else(|| measure::objective(row, target, config.objective));
            items[i].flipped.forwards += 1;
            line.losses.push(value);
            (line.cross_entropy, line.wrong) = (measure::cross_entropy(row, target), measure::argmax(row) != target.class());
            if value.is_finite() { items[i].lines.push(line) } else { items[i].flipped.finite = false }
        }
        items.iter_mut().for_each(|item| item.choose(config));
    }
    Ok(items.into_iter().map(|item| item.flipped).collect())
}

impl<'a> Item<'a> {
    fn begin(text: &'a Text, config: &FlipConfig) -> Self {
        // No more than of the part in which edits are looked for.
        let most = (config.max_share * text.content.chars().take(EDITED).count() as f64 + 1e-9) as usize;
        let (places, words) = editable(text, config);
        let line = Line { edits: Vec::new(), touched: BTreeSet::new(), cost: 0, losses: Vec::new(), cross_entropy: f32::NAN, wrong: false };
        let flipped = Flipped {
            edits: Vec::new(),
            losses: Vec::new(),
            cross_entropy: f32::NAN,
            solved: false,
            finite: true,
            gradients: 0,
            forwards: 0,
        };
        let done = most == 0 || places.is_empty() && words.iter().all(|word| word.cost > most);
        Self { text, places, words, most, lines: vec![line], done, flipped }
    }

    fn content(&self, edits: &[Edit]) -> String {
        text::apply(self.text, edits.to_vec()).map_or_else(|_| self.text.content.clone(), |edited| edited.text.content)
    }

    fn input(&self, like: &Input, edits: &[Edit]) -> Input {
        Input { text: Some(self.content(edits).into()), ..like.clone() }
    }

    /// Takes note of the model's answer at a carried text.
    fn see(&mut self, line: usize, seen: &Gradients, row: usize, target: &Target, config: &FlipConfig) {
        self.flipped.gradients += 1;
        let value = seen.objective.get(row).copied().unwrap_or(f32::NAN);
        let slope = seen.of(Modality::Text, row);
        if !value.is_finite() || slope.is_none_or(|slope| slope.iter().any(|g| !g.is_finite())) {
            (self.flipped.finite, self.done) = (false, true);
            return;
        }
        let Some(line) = self.lines.get_mut(line) else { return };
        if line.losses.is_empty() {
            line.losses.push(value);
            let logits = seen.logits.row(row);
            (line.cross_entropy, line.wrong) = (measure::cross_entropy(logits, target), measure::argmax(logits) != target.class());
            self.take(0, config);
        }
    }

    /// Makes a carried text the answer, and ends where that is enough.
    fn take(&mut self, line: usize, config: &FlipConfig) {
        let Some(line) = self.lines.get(line) else { return };
        let met = match config.until {
            Until::Steps => false,
            Until::Misclassified | Until::Reached => line.wrong,
            Until::Loss(level) => line.cross_entropy >= level && !line.edits.is_empty(),
        };
        self.flipped.edits.clone_from(&line.edits);
        self.flipped.losses.clone_from(&line.losses);
        self.flipped.cross_entropy = line.cross_entropy;
        self.flipped.solved = met || (config.until == Until::Steps && line.wrong);
        self.done |= met;
    }

    /// Ends where no edit is left.
    fn settle(&mut self) {
        self.done |= self.lines.iter().all(|line| line.cost >= self.most);
    }

    /// The edits of a carried text that promise most.
    fn promising(&self, model: &dyn Model, line: usize, slope: Option<&[f32]>, config: &FlipConfig) -> Result<Vec<Line>> {
        let (Some(line), Some(slope)) = (self.lines.get(line), slope) else { return Ok(Vec::new()) };
        if line.cost >= self.most {
            return Ok(Vec::new());
        }
        let rise = |text: &EmbeddedText| text.values.iter().zip(slope).map(|(e, g)| f64::from(*e) * f64::from(*g)).sum::<f64>();
        // An embedding of the text as a whole is not that of its beginning.
        let whole = model.embed_text(&self.text.content)?.positions <= 1;
        let source = if whole { &self.text.content } else { first_characters(&self.text.content, RANKED) };
        let mut sorted: Vec<&Edit> = line.edits.iter().collect();
        sorted.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let base = spliced(source, &sorted, None);
        let before = rise(&model.embed_text(&base)?);
        // Both zeros rank as one.
        let promised = |edit: &Edit| Ok::<_, Error>(rise(&model.embed_text(&spliced(source, &sorted, Some(edit)))?) - before + 0.0);
        let open = |one: &Candidate| line.cost + one.cost <= self.most && one.touched.iter().all(|at| !line.touched.contains(at));
        let all = || candidates(&self.places, &self.words, &config.flips).enumerate().filter(|(_, one)| open(one));
        // What a model tells of an edit without embedding the text again is near the truth: of the edits, those that can be among the best.
        let mut told = model.text_edits(&base, slope)?.map(|edits| {
            let of = |(number, one): (usize, Candidate)| {
                let (value, error) = edits.rise(moved(&sorted, &one.edit), &one.edit.replacement);
                (number, value, error)
            };
            possible(all().map(of).collect(), config.candidates).into_iter().peekable()
        });
        let mut ranked: Vec<(f64, usize, Candidate)> = Vec::new();
        let best_first = |ranked: &mut Vec<(f64, usize, Candidate)>| {
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            ranked.truncate(config.candidates);
        };
        for (number, one) in all() {
            let known = match &mut told {
                None => None,
                Some(told) => match told.next_if(|(possible, ..)| *possible == number) {
                    Some((_, value, error)) => (error == 0.0).then_some(value),
                    None => continue,
                },
            };
            ranked.push((known.map_or_else(|| promised(&one.edit), Ok)?, number, one));
            // The list stays short: only the best are kept.
            if ranked.len() >= 64 + 4 * config.candidates {
                best_first(&mut ranked);
            }
        }
        best_first(&mut ranked);
        let next = |(_, _, one): (f64, usize, Candidate)| {
            let mut next = line.clone();
            next.edits.push(one.edit);
            next.touched.extend(one.touched);
            next.cost += one.cost;
            next
        };
        Ok(ranked.into_iter().map(next).collect())
    }

    /// Of the measured texts the best are carried on; ends where none is better than the answer so far.
    fn choose(&mut self, config: &FlipConfig) {
        if self.done {
            return;
        }
        let longest = self.lines.iter().map(|line| line.edits.len()).max().unwrap_or(0);
        let so_far = self.flipped.losses.last().copied().unwrap_or(f32::NEG_INFINITY);
        let value = |line: &Line| line.losses.last().copied().unwrap_or(f32::NEG_INFINITY);
        self.lines.retain(|line| line.edits.len() == longest && value(line) > so_far);
        self.lines.sort_by(|a, b| value(b).total_cmp(&value(a)));
        self.lines.truncate(config.beam);
        if self.lines.is_empty() {
            self.done = true;
        } else {
            self.take(0, config);
            self.settle();
        }
    }
}

/// Of rises, each with its greatest error, those that may be among the `count` greatest, in their order.
fn possible(mut told: Vec<(usize, f64, f64)>, count: usize) -> Vec<(usize, f64, f64)> {
    // A rise that is no number says nothing.
    let least = |(_, value, error): &(usize, f64, f64)| if (value - error).is_nan() { f64::NEG_INFINITY } else { value - error };
    let mut lows: Vec<f64> = told.iter().map(least).collect();
    if count >= lows.len() {
        return told;
    }
    let limit = *lows.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1;
    told.retain(|(_, value, error)| (value + error).is_nan() || value + error >= limit);
    told
}

/// Where an edit lies in the text with other edits in order.
fn moved(edits: &[&Edit], one: &Edit) -> std::ops::Range<usize> {
    let place = |edit: &Edit| (edit.range.start, edit.range.end);
    let before = &edits[..edits.partition_point(|edit| place(edit) < place(one))];
    let (longer, shorter) = before.iter().fold((0, 0), |(a, b), edit| (a + edit.replacement.len(), b + edit.range.len()));
    one.range.start + longer - shorter..one.range.end + longer - shorter
}

/// A text with edits in order and one more, none of which overlap.
fn spliced(content: &str, edits: &[&Edit], one: Option<&Edit>) -> String {
    let mut out = String::with_capacity(content.len() + 8);
    let place = |edit: &Edit| (edit.range.start, edit.range.end);
    let at = one.map_or(edits.len(), |one| edits.partition_point(|edit| place(edit) < place(one)));
    let mut from = 0;
    for edit in edits[..at].iter().copied().chain(one).chain(edits[at..].iter().copied()) {
        out.push_str(content.get(from..edit.range.start).unwrap_or_default());
        out.push_str(&edit.replacement);
        from = edit.range.end;
    }
    out.push_str(content.get(from..).unwrap_or_default());
    out
}

/// What of a text may be edited: its letters, and its words with the edit each.
fn editable(text: &Text, config: &FlipConfig) -> (Vec<Place>, Vec<Candidate>) {
    let length = first_characters(&text.content, EDITED).len();
    let mut words = text::words(&text.content);
    // A word that is cut there is protected, too.
    words.retain(|word| word.range.start < length);
    let kept: Vec<_> = words.iter().filter(|word| config.protect.contains(&word.lower)).map(|word| word.range.clone()).collect();
    words.retain(|word| word.range.end <= length);
    let free = |start: usize, end: usize| {
        kept.iter().all(|range| range.end <= start || end <= range.start)
            && text.spans.iter().all(|span| span.end <= start || end <= span.start)
    };
    let letters = config.flips.iter().any(|flip| *flip != Flip::Synonym);
    let places = if letters { places(text, &free) } else { Vec::new() };
    if !config.flips.contains(&Flip::Synonym) {
        return (places, Vec::new());
    }
    let starts: Vec<usize> = text.content.char_indices().map(|(start, _)| start).collect();
    let before = |at: usize| starts.partition_point(|start| *start < at);
    let edits =
        text::every_synonym(text, &words).into_iter().filter(|edit| edit.range.end <= length && free(edit.range.start, edit.range.end));
    let word = |edit: Edit| {
        let touched: Vec<usize> = (before(edit.range.start)..before(edit.range.end)).collect();
        Candidate { cost: touched.len(), touched, edit }
    };
    (places, edits.map(word).collect())
}

/// Every edit that may be made: of letters place by place, made up as they are asked for, then of words.
fn candidates<'a>(places: &'a [Place], words: &'a [Candidate], flips: &'a [Flip]) -> impl Iterator<Item = Candidate> + 'a {
    places.iter().flat_map(move |place| edits(place, flips)).chain(words.iter().cloned())
}

/// The characters that may be edited: letters outside all spans and protected words.
fn places(text: &Text, free: &dyn Fn(usize, usize) -> bool) -> Vec<Place> {
    let characters: Vec<(usize, char)> = text.content.char_indices().collect();
    let open = |at: usize| {
        let (start, letter) = *characters.get(at)?;
        (letter.is_alphabetic() && free(start, start + letter.len_utf8())).then_some((start, letter))
    };
    let place = |at: usize| {
        let (start, letter) = open(at)?;
        Some(Place {
            at,
            start,
            end: start + letter.len_utf8(),
            letter,
            next: open(at + 1).filter(|_| at + 1 < EDITED).map(|(_, next)| next),
        })
    };
    (0..characters.len().min(EDITED)).filter_map(place).collect()
}

fn first_characters(content: &str, count: usize) -> &str {
    content.char_indices().nth(count).map_or(content, |(end, _)| &content[..end])
}

/// All edits of one place.
fn edits(place: &Place, flips: &[Flip]) -> Vec<Candidate> {
    let of = |range: std::ops::Range<usize>, replacement: String, touched: Vec<usize>| Candidate {
        edit: Edit { range, replacement },
        touched,
        cost: 1,
    };
    let alike = |c: char| if place.letter.is_uppercase() { c.to_ascii_uppercase() } else { c };
    let mut all = Vec::new();
    for flip in flips {
        match flip {
            Flip::Replace => {
                let others = ('a'..='z').map(alike).filter(|c| *c != place.letter);
                all.extend(others.map(|c| of(place.start..place.end, c.to_string(), vec![place.at])));
            }
            // Only inside a word: behind its last letter a kept word may begin.
            Flip::Insert if place.next.is_some() => {
                all.extend(('a'..='z').map(alike).map(|c| of(place.end..place.end, c.to_string(), vec![place.at])));
            }
            Flip::Delete => all.push(of(place.start..place.end, String::new(), vec![place.at])),
            Flip::Swap => {
                if let Some(next) = place.next.filter(|next| *next != place.letter) {
                    let range = place.start..place.end + next.len_utf8();
                    all.push(of(range, format!("{next}{}", place.letter), vec![place.at, place.at + 1]));
                }
            }
            Flip::Insert | Flip::Synonym => {}
        }
    }
    all
}

#[cfg(test)]
mod tests;
