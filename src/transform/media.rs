use crate::{
    augment::{
        image::{self, Tone},
        text::{self, Edit, LevelWord, Scale, Sense, SideWord, Word},
    },
    sample::{Annotations, AudioBuffer, BoundingBox, ImageBuffer, Label, Media, Modality, ModalitySet, Sample, Text},
};
use serde_json::Value;
use std::{ops::Range, sync::Arc};

/// The field of a labelled negative: a list of the modalities that do not belong to the others.
pub const MISMATCHED: &str = "mismatched";

/// A sample on the bench: its decoded media and its annotations, free to change. Buffers are shared with the sample until they are changed, so that a copy of a
/// scene costs nothing.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The picture.
    pub image: Option<Arc<ImageBuffer>>,
    /// The sound.
    pub audio: Option<Arc<AudioBuffer>>,
    /// The caption.
    pub text: Option<Arc<Text>>,
    /// Boxes, events and word times.
    pub annotations: Annotations,
    /// The label; one that claims another label than the sample's changes it here.
    pub label: Option<Label>,
    /// Modalities that do not belong to the others any more.
    pub mismatched: ModalitySet,
}

impl Scene {
    /// The scene of a sample.
    pub fn of(sample: &Sample) -> Self {
        Self {
            image: sample.image.as_ref().map(Media::shared),
            audio: sample.audio.as_ref().map(Media::shared),
            text: sample.text.as_ref().map(Media::shared),
            annotations: (*sample.annotations).clone(),
            label: sample.label.clone(),
            mismatched: ModalitySet::EMPTY,
        }
    }

    /// The media that differ from the sample's.
    pub fn changed(&self, from: &Sample) -> ModalitySet {
        let then = (from.image.as_ref().map(Media::shared), from.audio.as_ref().map(Media::shared), from.text.as_ref().map(Media::shared));
        self.differs(then.0.as_ref(), then.1.as_ref(), then.2.as_ref())
    }

    /// The media that differ from those of another scene, such as this one before a change.
    pub fn changed_since(&self, before: &Self) -> ModalitySet {
        self.differs(before.image.as_ref(), before.audio.as_ref(), before.text.as_ref())
    }

    fn differs(&self, image: Option<&Arc<ImageBuffer>>, audio: Option<&Arc<AudioBuffer>>, text: Option<&Arc<Text>>) -> ModalitySet {
        fn other<T: PartialEq>(now: Option<&Arc<T>>, then: Option<&Arc<T>>) -> bool {
            match (now, then) {
                (Some(now), Some(then)) => !Arc::ptr_eq(now, then) && now != then,
                (now, then) => now.is_some() != then.is_some(),
            }
        }
        let differs = |modality: &Modality| match modality {
            Modality::Image => other(self.image.as_ref(), image),
            Modality::Audio => other(self.audio.as_ref(), audio),
            Modality::Text => other(self.text.as_ref(), text),
        };
        Modality::ALL.into_iter().filter(differs).collect()
    }

    /// The sample with this scene's media, annotations and label; an unchanged medium keeps its file. Modalities that do not belong to the others any more are
    /// named in the field [`MISMATCHED`], and such a labelled negative has no class: it must not teach one.
    pub fn into_sample(self, from: &Sample) -> Sample {
        let changed = self.changed(from);
        let mut sample = from.clone();
        if changed.has(Modality::Image) {
            sample.image = self.image.map(Media::new);
        }
        if changed.has(Modality::Audio) {
            sample.audio = self.audio.map(Media::new);
        }
        if changed.has(Modality::Text) {
            sample.text = self.text.map(Media::new);
        }
        if self.annotations != *from.annotations {
            sample.annotations = Arc::new(self.annotations);
        }
        if !self.mismatched.is_empty() {
            let names = self.mismatched.iter().map(|modality| Value::from(modality.name())).collect();
            Arc::make_mut(&mut sample.fields).insert(MISMATCHED.into(), Value::Array(names));
        }
        sample.label = if self.mismatched.is_empty() { self.label } else { None };
        sample
    }

    /// Changes the picture in place, where there is one.
    pub fn edit_image(&mut self, edit: impl FnOnce(&mut ImageBuffer)) {
        if let Some(image) = &mut self.image {
            edit(Arc::make_mut(image));
        }
    }
    /// Looks the colours of the picture up, where there is one: in place, or copied and looked up in one pass where others still use it.
    pub fn tone(&mut self, changes: &[Tone]) {
        if let Some(picture) = &mut self.image {
            match Arc::get_mut(picture) {
                Some(own) => image::tones(own, changes),
                None => *picture = image::toned(picture, changes).into(),
            }
        }
    }
    /// Puts another picture in the place of this one, where there is one.
    pub fn map_image(&mut self, map: impl FnOnce(&ImageBuffer) -> ImageBuffer) {
        self.image = self.image.take().map(|image| Arc::new(map(&image)));
    }
    /// Changes the sound in place, where there is one.
    pub fn edit_audio(&mut self, edit: impl FnOnce(&mut AudioBuffer)) {
        if let Some(audio) = &mut self.audio {
            edit(Arc::make_mut(audio));
        }
    }
    /// Changes the sound: in place, or by one that makes a new sound where others still use it, so that nothing is copied only to be changed.
    pub fn change_audio(&mut self, edit: impl FnOnce(&mut AudioBuffer), make: impl FnOnce(&AudioBuffer) -> AudioBuffer) {
        if let Some(audio) = &mut self.audio {
            match Arc::get_mut(audio) {
                Some(own) => edit(own),
                None => *audio = make(audio).into(),
            }
        }
    }
    /// Puts another sound in the place of this one, where there is one.
    pub fn map_audio(&mut self, map: impl FnOnce(&AudioBuffer) -> AudioBuffer) {
        self.audio = self.audio.take().map(|audio| Arc::new(map(&audio)));
    }

    /// Words of the caption, none where it is missing.
    pub fn words(&self) -> Vec<Word> {
        self.text.as_ref().map(|text| text::words(&text.content)).unwrap_or_default()
    }

    /// Side words of the caption.
    pub fn sides(&self) -> Vec<SideWord> {
        text::side_words(&self.words())
    }

    /// The edit that puts a word in the place of another one, in its case.
    pub fn replace_word(&self, range: Range<usize>, by: &str) -> Option<Edit> {
        let original = self.text.as_ref()?.content.get(range.clone())?;
        Some(Edit { replacement: text::match_case(original, by), range })
    }

    /// Edits the caption; spans and word times follow. Refused where a protected word would change.
    pub fn edit_text(&mut self, edits: Vec<Edit>) -> Result<(), String> {
        let Some(text) = self.text.as_ref().filter(|_| !edits.is_empty()) else { return Ok(()) };
        if edits.iter().any(|edit| text::is_protected(text, &edit.range)) {
            return Err("protected_word".into());
        }
        let edited = text::apply(text, edits).map_err(|error| error.to_string())?;
        self.annotations.words = text::move_words(&self.annotations.words, &edited);
        self.text = Some(edited.text.into());
        Ok(())
    }

    /// Whether moving the picture keeps what the caption says of places in it: [`Scene::keeps_sides`] and [`Scene::keeps_heights`].
    pub fn keeps_places(&self, boxes: &[BoundingBox], width: usize, height: usize) -> Result<(), String> {
        self.keeps_sides(boxes, width)?;
        self.keeps_heights(boxes, height)
    }

    /// [`Scene::keeps_sides`] for what the caption says of the top and the bottom of the picture; what one thing is to another ("above", "under") no shift changes.
    pub fn keeps_heights(&self, boxes: &[BoundingBox], height: usize) -> Result<(), String> {
        let Some(image) = &self.image else { return Ok(()) };
        if !text::height_words(&self.words()).iter().any(|word| word.sense != Sense::Other && word.of_picture) {
            return Ok(());
        }
        if self.annotations.boxes.is_empty() || boxes.len() != self.annotations.boxes.len() {
            return Err("height_unknown".into());
        }
        let low = |place: &BoundingBox, height: usize| place.y + place.height / 2.0 > height as f32 / 2.0;
        let kept = self.annotations.boxes.iter().zip(boxes).all(|(old, new)| low(old, image.height()) == low(new, height));
        if kept { Ok(()) } else { Err("height_changed".into()) }
    }

    /// Whether noise at this ratio to the sound leaves true what the caption says: from 10 dB on, downward, a place that it calls quiet is not quiet any more.
    pub fn stays_quiet(&self, snr_db: f64) -> Result<(), String> {
        let quiet = |word: &LevelWord| {
            let of_place = word.of_place || word.opposite.is_none();
            word.scale == Scale::Loudness && !word.high && of_place && word.sense != Sense::Other
        };
        if snr_db <= 10.0 && text::level_words(&self.words()).iter().any(quiet) { Err("quiet_place".into()) } else { Ok(()) }
    }

    /// Whether the picture may be turned by `degrees` without its caption: up to 45 degrees the boxes tell ([`Scene::keeps_places`]), beyond that a caption that speaks of a
    /// side, of a height or of a body is refused.
    pub fn keeps_upright(&self, degrees: f64) -> Result<(), String> {
        let (words, far) = (self.words(), (degrees + 180.0).rem_euclid(360.0) - 180.0);
        if self.image.is_none() || far.abs() <= 45.0 {
            return Ok(());
        }
        let spoken = text::is_report(&words)
            || text::side_words(&words).iter().any(|word| word.sense != Sense::Other)
            || text::height_words(&words).iter().any(|word| word.sense != Sense::Other);
        if spoken { Err("orientation_lost".into()) } else { Ok(()) }
    }

    /// Whether moving the picture keeps what the caption says of sides: `Ok` where it says nothing, or where every box's middle stays on its side of the
    /// picture. Call it on the scene before the move, with the boxes and the width after it.
    pub fn keeps_sides(&self, boxes: &[BoundingBox], width: usize) -> Result<(), String> {
        let Some(image) = &self.image else { return Ok(()) };
        if self.sides().iter().all(|word| word.sense == Sense::Other) {
            return Ok(());
        }
        if self.annotations.boxes.is_empty() || boxes.len() != self.annotations.boxes.len() {
            return Err("side_unknown".into());
        }
        let right = |place: &BoundingBox, width: usize| place.x + place.width / 2.0 > width as f32 / 2.0;
        let kept = self.annotations.boxes.iter().zip(boxes).all(|(old, new)| right(old, image.width()) == right(new, width));
        if kept { Ok(()) } else { Err("side_changed".into()) }
    }
}
