//! The gallery: parents with their neighbours, and the cards of suspects.

use super::{
    Limits, ReportInput, Source,
    media::{self, Generated},
    number::measure,
    picture::{self, Spectrogram},
    summary,
    words::{Change, Piece, difference, shortened},
};
use crate::{
    record::{ScoreLine, Shown},
    sample::{Claim, Lineage, Modality, Norm, Sample, SampleId, Verdict},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Values of drawn parameters that a card lists.
const MOST_PARAMETERS: usize = 30;

/// What the gallery shows, and the data of its cards.
pub(super) struct Gallery {
    /// The ids shown.
    pub(super) shown: Vec<Shown>,
    /// Parents that have children.
    pub(super) parents: u64,
    /// One card a parent.
    pub(super) cards: Vec<Value>,
}

/// Chooses parents so that every operator is seen (operators by name take turns, harder parents first) and draws their cards until a limit is met.
pub(super) fn gallery(input: &ReportInput, generated: &Generated, source: Source<'_>, limits: &Limits) -> Gallery {
    let lines: HashMap<&SampleId, &ScoreLine> = input.scores.iter().map(|line| (&line.id, line)).collect();
    let column = summary::mined_column(input).unwrap_or_else(|| "loss".to_owned());
    let mut families: BTreeMap<&SampleId, Vec<&Lineage>> = BTreeMap::new();
    for lineage in &input.lineage {
        if let Some(parent) = lineage.parents.first() {
            families.entry(&parent.id).or_default().push(lineage);
        }
    }
    let mut gallery = Gallery { shown: Vec::new(), parents: families.len() as u64, cards: Vec::new() };
    let mut bytes = 0;
    for parent in order(&families, &lines, &column) {
        if gallery.shown.len() >= limits.parents {
            break;
        }
        let children = pick(&families[parent], limits.children);
        let card = card(input, parent, &children, families[parent].len(), lines.get(parent).copied(), &column, generated, source);
        let size = weight(&card);
        if bytes + size > limits.bytes && !gallery.shown.is_empty() {
            break;
        }
        bytes += size;
        gallery.shown.push(Shown { parent: parent.clone(), children: children.iter().map(|child| child.child.clone()).collect() });
        gallery.cards.push(card);
    }
    gallery
}

/// The parents in the order of showing.
fn order<'a>(families: &BTreeMap<&'a SampleId, Vec<&Lineage>>, lines: &HashMap<&SampleId, &ScoreLine>, column: &str) -> Vec<&'a SampleId> {
    let operators: BTreeSet<&str> = families.values().flatten().map(|lineage| lineage.operator.as_str()).collect();
    let hardness = |id: &SampleId| lines.get(id).and_then(|line| line.score(column)).unwrap_or(f32::NEG_INFINITY);
    let variety = |id: &SampleId| families[id].iter().map(|lineage| lineage.operator.as_str()).collect::<BTreeSet<_>>().len();
    let mut ranked: Vec<&SampleId> = families.keys().copied().collect();
    ranked.sort_by(|a, b| variety(b).cmp(&variety(a)).then(hardness(b).total_cmp(&hardness(a))).then(a.cmp(b)));
    let mut chosen = Vec::with_capacity(ranked.len());
    let mut taken: BTreeSet<&SampleId> = BTreeSet::new();
    while chosen.len() < ranked.len() {
        for operator in &operators {
            let made = |id: &SampleId| families[id].iter().any(|lineage| lineage.operator == *operator);
            if let Some(next) = ranked.iter().find(|id| !taken.contains(**id) && made(id)) {
                taken.insert(next);
                chosen.push(*next);
            }
        }
    }
    chosen
}

/// Up to `most` children, operators by turns, in the order of the lineage.
fn pick<'a>(children: &[&'a Lineage], most: usize) -> Vec<&'a Lineage> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, usize)> = Vec::with_capacity(children.len());
    for (place, child) in children.iter().enumerate() {
        let turn = seen.entry(&child.operator).or_default();
        turns.push((*turn, place));
        *turn += 1;
    }
    turns.sort_unstable();
    let mut places: Vec<usize> = turns.into_iter().take(most).map(|(_, place)| place).collect();
    places.sort_unstable();
    places.into_iter().map(|place| children[place]).collect()
}

#[allow(clippy::too_many_arguments)]
fn card(
    input: &ReportInput,
    id: &SampleId,
    children: &[&Lineage],
    of: usize,
    line: Option<&ScoreLine>,
    column: &str,
    generated: &Generated,
    source: Source<'_>,
) -> Value {
    let parent = source(id);
    let classes = &input.run.classes;
    let label = line.and_then(|line| line.label.clone()).or_else(|| parent.as_ref().and_then(|sample| media::label_of(sample, classes)));
    let spectrogram = parent.as_ref().and_then(|sample| sample.audio.as_ref()).map(|audio| Spectrogram::of(audio.get()));
    let top_db = spectrogram.as_ref().map(Spectrogram::peak_db);
    let cards: Vec<Value> = children
        .iter()
        .map(|lineage| {
            let mut card = child_card(lineage, parent.as_ref(), top_db, column, generated);
            card["label"] = json!(generated.label(&lineage.child, classes).or_else(|| label.clone()));
            card
        })
        .collect();
    json!({
        "id": id.as_str(),
        "label": label,
        "media": media_of(parent.as_ref(), None, top_db),
        "known": parent.is_some(),
        "reasons": line.map(reason_chips).unwrap_or_default(),
        "score": line.and_then(|line| line.score(column)).map(|score| format!("{} {}", column, measure(f64::from(score)))),
        "children": cards,
        "of": of,
    })
}

fn child_card(lineage: &Lineage, parent: Option<&Sample>, top_db: Option<f32>, column: &str, generated: &Generated) -> Value {
    let child = generated.sample(&lineage.child);
    let score = [column, "loss", "out_of_fold"].into_iter().find_map(|name| {
        let after = lineage.scores_after.get(name)?;
        let before = lineage.scores_before.get(name).map(|v| measure(f64::from(*v)));
        Some(json!({ "name": name, "before": before, "after": measure(f64::from(*after)) }))
    });
    json!({
        "id": lineage.child.as_str(),
        "operator": lineage.operator,
        "stage": lineage.stage,
        "round": lineage.round,
        "partners": lineage.parents.iter().skip(1).map(|parent| parent.id.as_str()).collect::<Vec<_>>(),
        "media": media_of(child.as_ref(), parent, top_db),
        "known": child.is_some(),
        "score": score,
        "parameters": parameters(&lineage.parameters),
        "claims": lineage.claims.iter().map(claim_words).collect::<Vec<_>>(),
        "verdicts": lineage.verdicts.iter().map(verdict_row).collect::<Vec<_>>(),
    })
}

/// The media of a sample for a card; with a parent, what changed against it.
pub(super) fn media_of(sample: Option<&Sample>, parent: Option<&Sample>, top_db: Option<f32>) -> Value {
    let Some(sample) = sample else { return Value::Null };
    let same = |modality: Modality| parent.is_some_and(|parent| parent.digest(modality) == sample.digest(modality));
    let had = |modality: Modality| parent.is_some_and(|parent| parent.digest(modality).is_some());
    let image = sample.image.as_ref().map(|image| {
        let before = parent.and_then(|parent| parent.image.as_ref()).filter(|_| !same(Modality::Image));
        let changed = before.and_then(|before| {
            // Compared at the size it is shown in where both are large, so that a page stays small.
            let (small, large) = (picture::thumbnail(before.get(), 256), picture::thumbnail(image.get(), 256));
            let (picture, amplified) = picture::difference(&small, &large)?;
            Some(json!({ "uri": media::picture_uri(&picture)?, "amplified": measure(f64::from((amplified * 10.0).round() / 10.0)) }))
        });
        let buffer = image.get();
        json!({
            "uri": media::image_uri(image),
            "small": buffer.width().max(buffer.height()) < 112,
            "size": format!("{} × {}", buffer.width(), buffer.height()),
            "same": same(Modality::Image),
            "difference": changed,
        })
    });
    let audio = sample.audio.as_ref().map(|audio| {
        let same = same(Modality::Audio);
        let spectrogram = (!same).then(|| Spectrogram::of(audio.get()));
        let picture = spectrogram.and_then(|s| s.picture(top_db.unwrap_or_else(|| s.peak_db()))).and_then(|p| media::picture_uri(&p));
        json!({
            "uri": if same { None } else { media::audio_uri(audio) },
            "spectrogram": picture,
            "same": same,
            "about": format!("{} s, {} Hz", measure(audio.get().seconds()), audio.get().sample_rate_hz()),
        })
    });
    let text = sample.text.as_ref().map(|text| {
        let before = parent.and_then(|parent| parent.text.as_ref()).map(|text| text.get().content.as_str());
        let after = text.get().content.as_str();
        let pieces = match before {
            Some(before) => difference(before, after),
            None => vec![Piece { change: if parent.is_some() { Change::Added } else { Change::Kept }, text: after.to_owned() }],
        };
        json!({ "pieces": shortened_pieces(pieces), "same": same(Modality::Text) })
    });
    json!({
        "image": image, "audio": audio, "text": text, "marks": marks(sample), "times": times(sample),
        "dropped_image": had(Modality::Image) && sample.image.is_none(),
        "dropped_audio": had(Modality::Audio) && sample.audio.is_none(),
        "dropped_text": had(Modality::Text) && sample.text.is_none(),
    })
}

/// Most boxes, outlines, places and times that are drawn of one sample.
const MOST_MARKS: usize = 40;

/// Boxes, outlines and places to be drawn over the picture; null where there are none.
fn marks(sample: &Sample) -> Value {
    let Some(image) = &sample.image else { return Value::Null };
    let annotations = &sample.annotations;
    let boxes: Vec<[f32; 4]> = annotations.boxes.iter().take(MOST_MARKS).map(|b| [b.x, b.y, b.width, b.height]).collect();
    let outline = |corners: &[[f32; 2]]| corners.iter().take(400).map(|[x, y]| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
    let outlines: Vec<String> = annotations.masks.iter().take(MOST_MARKS).map(|mask| outline(&mask.outline)).collect();
    let points: Vec<[f32; 2]> = annotations.keypoints.iter().take(MOST_MARKS).map(|point| [point.x, point.y]).collect();
    if boxes.is_empty() && outlines.is_empty() && points.is_empty() {
        return Value::Null;
    }
    let mut names: Vec<&str> = annotations.boxes.iter().map(|b| b.label.as_str()).collect();
    names.extend(annotations.masks.iter().map(|mask| mask.label.as_str()));
    names.extend(annotations.keypoints.iter().map(|point| point.label.as_str()));
    let (width, height) = (image.get().width(), image.get().height());
    json!({
        "width": width, "height": height, "boxes": boxes, "outlines": outlines, "points": points,
        "radius": width.max(height) as f64 / 60.0, "about": shortened(&names.join(", "), 200),
    })
}

/// Events of the sound in words; null where there are none.
fn times(sample: &Sample) -> Value {
    let events = &sample.annotations.events;
    let one = |event: &crate::sample::Event| format!("{} {} to {} s", event.label, measure(event.start_s), measure(event.end_s));
    let told: Vec<String> = events.iter().take(MOST_MARKS).map(one).collect();
    if told.is_empty() { Value::Null } else { json!(shortened(&told.join(", "), 300)) }
}

/// Long unchanged stretches of a caption are cut in their middle.
fn shortened_pieces(pieces: Vec<Piece>) -> Vec<Piece> {
    let cut = |piece: Piece| Piece { change: piece.change, text: shortened(&piece.text, 400) };
    pieces.into_iter().take(200).map(cut).collect()
}

/// The reasons of a sample as chips: code, strength, evidence.
pub(super) fn reason_chips(line: &ScoreLine) -> Vec<Value> {
    let chip = |reason: &crate::sample::Reason| {
        let evidence: Vec<String> = reason.evidence.iter().map(|(name, value)| format!("{name} {}", measure(f64::from(*value)))).collect();
        let modality = reason.modality.map(|modality| format!(" ({modality})")).unwrap_or_default();
        json!({ "name": format!("{}{modality}", reason.code), "strength": measure(f64::from(reason.strength)), "evidence": evidence })
    };
    line.reasons.iter().map(chip).collect()
}

/// Cards of the samples that the guard set aside.
pub(super) fn suspects(input: &ReportInput, source: Source<'_>, limits: &Limits) -> Vec<Value> {
    let mut bytes = 0;
    let mut cards = Vec::new();
    for line in summary::suspects(&input.scores).into_iter().take(limits.suspects) {
        let sample = source(&line.id);
        let image = sample.as_ref().and_then(|sample| sample.image.as_ref());
        let card = json!({
            "id": line.id.as_str(),
            "known": sample.is_some(),
            "judgement": judgement_words(line.judgement),
            "label": line.label,
            "suggested": line.suggested,
            "weight": measure(f64::from(line.weight)),
            "reasons": reason_chips(line),
            "image": image.and_then(media::image_uri),
            "small": image.is_none_or(|image| image.get().width().max(image.get().height()) < 112),
            "audio": sample.as_ref().and_then(|sample| sample.audio.as_ref()).and_then(media::audio_uri),
            "text": sample.as_ref().and_then(|sample| sample.text.as_ref()).map(|text| shortened(&text.get().content, 300)),
        });
        let size = weight(&card);
        if bytes + size > limits.bytes / 4 && !cards.is_empty() {
            break;
        }
        bytes += size;
        cards.push(card);
    }
    cards
}

/// The judgement in words.
pub(super) fn judgement_words(judgement: crate::sample::Judgement) -> &'static str {
    use crate::sample::Judgement::{Outlier, SuspectLabel, SuspectPair, Valuable};
    match judgement {
        Valuable => "valuable",
        SuspectLabel => "label suspect",
        SuspectPair => "pair suspect",
        Outlier => "outlier",
    }
}

/// Drawn parameters as `name value` pairs, nested names joined by dots, long lists cut.
pub(crate) fn parameters(value: &Value) -> Vec<[String; 2]> {
    fn walk(name: &str, value: &Value, out: &mut Vec<[String; 2]>) {
        if out.len() >= MOST_PARAMETERS {
            return;
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    walk(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, out);
                }
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                for (i, value) in list.iter().enumerate() {
                    walk(&format!("{name}[{i}]"), value, out);
                }
            }
            Value::Array(list) => {
                let shown: Vec<String> = list.iter().take(6).map(plain).collect();
                let more = if list.len() > 6 { format!(", … {} values", list.len()) } else { String::new() };
                out.push([name.to_owned(), format!("[{}{more}]", shown.join(", "))]);
            }
            Value::Null => {}
            value => out.push([name.to_owned(), plain(value)]),
        }
    }
    fn plain(value: &Value) -> String {
        match value {
            Value::String(text) => shortened(text, 120),
            Value::Number(number) => match (number.as_u64(), number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                (None, Some(float)) => measure(float),
                (None, None) => number.to_string(),
            },
            value => shortened(&value.to_string(), 120),
        }
    }
    let mut out = Vec::new();
    walk("", value, &mut out);
    out
}

/// A claim in words.
pub(crate) fn claim_words(claim: &Claim) -> String {
    match claim {
        Claim::WithinBall { modality, norm, epsilon, .. } => {
            let norm = match norm {
                Norm::Linf => "L∞",
                Norm::L2 => "L2",
                Norm::L1 => "L1",
            };
            format!("{modality} within an {norm} ball of {} around the parent's", measure(*epsilon))
        }
        Claim::LabelKept => "the label is kept".to_owned(),
        Claim::Decoded { modality, tolerance, .. } => format!("{modality} decoded from a latent, within {tolerance:.3}"),
        Claim::CertifiedBudget => "the label is kept by a stated budget".to_owned(),
        Claim::Dropped(set) => format!("dropped: {set}"),
        Claim::LabelMixed => "the label is a mix of the parents'".to_owned(),
        Claim::LabelChanged => "the label changed with the content".to_owned(),
        Claim::Mismatched(set) => format!("a labelled negative: {set} does not belong to the rest"),
    }
}

fn verdict_row(verdict: &Verdict) -> Value {
    json!({
        "passed": verdict.passed,
        "verifier": verdict.verifier,
        "reason": verdict.reason,
        "value": verdict.value.map(measure),
        "limit": verdict.limit.map(measure),
    })
}

/// The length of all texts of a card: what it adds to a page.
fn weight(card: &Value) -> usize {
    match card {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map.values().map(weight).sum(),
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_flat_and_short() {
        let value = json!({ "steps": 10, "image": { "epsilon": 0.031_372_549, "seed": null }, "mask": [1, 2, 3, 4, 5, 6, 7, 8], "moves": [{ "dx": -2 }] });
        let pairs = parameters(&value).map_pairs();
        assert_eq!(pairs, ["steps=10", "image.epsilon=0.0314", "mask=[1, 2, 3, 4, 5, 6, … 8 values]", "moves[0].dx=−2"]);
        let many: serde_json::Map<String, Value> = (0..100).map(|i| (format!("p{i}"), json!(i))).collect();
        assert_eq!(parameters(&Value::Object(many)).len(), MOST_PARAMETERS);
    }

    trait Pairs {
        fn map_pairs(self) -> Vec<String>;
    }
    impl Pairs for Vec<[String; 2]> {
        fn map_pairs(self) -> Vec<String> {
            self.into_iter().map(|[name, value]| format!("{name}={value}")).collect()
        }
    }
}
