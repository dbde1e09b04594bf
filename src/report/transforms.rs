//! The gallery page of transforms: one file, built like the report, without scripts or requests.

use super::{
    gallery::{claim_words, media_of, parameters},
    number::measure,
    page,
    picture::Spectrogram,
    put,
};
use crate::{
    error::{Error, Result},
    sample::{Claim, ModalitySet, Sample, SampleId},
    transform::Magnitude,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What an exhibit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One transform.
    Transform,
    /// Several that go together.
    Preset,
}

/// One transform, or a preset of several, on the page.
pub struct Exhibit {
    /// Name in a pipeline file.
    pub name: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// How it is written.
    pub example: String,
    /// Where it stands on the page.
    pub kind: Kind,
    /// The media that it may change.
    pub changes: ModalitySet,
    /// Whether the severity matters.
    pub scales: bool,
    /// What it made; `None` where it fired on no sample.
    pub shown: Option<Shown>,
}

/// A sample and what became of it.
pub struct Shown {
    /// The sample.
    pub sample: Sample,
    /// Others that went in.
    pub partners: Vec<SampleId>,
    /// What becomes of the label.
    pub claim: Claim,
    /// The drawn numbers.
    pub draw: Value,
    /// The severity, how strong that is where one number says it, and the child, or why it was refused.
    pub steps: Vec<(f64, Option<Magnitude>, std::result::Result<Sample, String>)>,
}

/// Writes `gallery.html` into the folder `out`, which is made if needed.
pub fn write(out: &Path, exhibits: &[Exhibit]) -> Result<PathBuf> {
    std::fs::create_dir_all(out).map_err(|error| Error::io(out, error))?;
    let kinds = [
        ("presets", exhibits.iter().filter(|exhibit| exhibit.kind == Kind::Preset).collect::<Vec<_>>()),
        ("several media", exhibits.iter().filter(|exhibit| exhibit.kind == Kind::Transform && exhibit.changes.len() > 1).collect()),
        ("image", of(exhibits, ModalitySet::IMAGE)),
        ("audio", of(exhibits, ModalitySet::AUDIO)),
        ("text", of(exhibits, ModalitySet::TEXT)),
    ];
    let kinds: Vec<Value> = kinds
        .into_iter()
        .filter(|(_, own)| !own.is_empty())
        .map(|(name, own)| json!({ "name": name, "exhibits": own.into_iter().map(view).collect::<Vec<_>>() }))
        .collect();
    let silent: Vec<&str> = exhibits.iter().filter(|exhibit| exhibit.shown.is_none()).map(|exhibit| exhibit.name.as_str()).collect();
    let count = exhibits.iter().filter(|exhibit| exhibit.kind == Kind::Transform).count();
    put(out, "gallery.html", page::gallery(&json!({ "kinds": kinds, "count": count, "silent": silent }))?.as_bytes())?;
    Ok(out.join("gallery.html"))
}

fn of(exhibits: &[Exhibit], changes: ModalitySet) -> Vec<&Exhibit> {
    exhibits.iter().filter(|exhibit| exhibit.kind == Kind::Transform && exhibit.changes == changes).collect()
}

fn view(exhibit: &Exhibit) -> Value {
    let shown = exhibit.shown.as_ref().map(|shown| {
        // What a transform cannot touch would only repeat itself in every column.
        let only = |sample: &Sample| sample.only(exhibit.changes);
        let original = only(&shown.sample);
        let top_db = original.audio.as_ref().map(|audio| Spectrogram::of(audio.get()).peak_db());
        let steps: Vec<Value> = shown
            .steps
            .iter()
            .map(|(severity, magnitude, made)| {
                let (media, refused) = match made {
                    Ok(child) => (media_of(Some(&only(child)), Some(&original), top_db), None),
                    Err(why) => (Value::Null, Some(why)),
                };
                let strength = magnitude.map(|found| format!("{} {}", measure(found.value), found.unit));
                json!({ "severity": severity, "strength": strength, "media": media, "refused": refused })
            })
            .collect();
        json!({
            "id": shown.sample.id.as_str(),
            "partners": shown.partners.iter().map(SampleId::as_str).collect::<Vec<_>>(),
            "claim": (shown.claim != Claim::LabelKept).then(|| claim_words(&shown.claim)),
            "parameters": parameters(&shown.draw),
            "original": media_of(Some(&original), None, top_db),
            "steps": steps,
        })
    });
    json!({
        "name": exhibit.name, "summary": exhibit.summary.replace('`', ""), "example": exhibit.example, "scales": exhibit.scales, "shown": shown,
        "image": exhibit.changes.has(crate::sample::Modality::Image), "audio": exhibit.changes.has(crate::sample::Modality::Audio),
        "text": exhibit.changes.has(crate::sample::Modality::Text),
    })
}
