use crate::{
    augment::text::{self, Edit, Sense, SideWord, Word},
    sample::{Annotations, AudioBuffer, BoundingBox, ImageBuffer, Media, Modality, ModalitySet, Sample, Text},
};
use std::sync::Arc;

/// A sample on the bench: its decoded media and its annotations, free to change.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The picture.
    pub image: Option<ImageBuffer>,
    /// The sound.
    pub audio: Option<AudioBuffer>,
    /// The caption.
    pub text: Option<Text>,
    /// Boxes, events and word times.
    pub annotations: Annotations,
}

impl Scene {
    /// The scene of a sample.
    pub fn of(sample: &Sample) -> Self {
        Self {
            image: sample.image.as_ref().map(|media| media.get().clone()),
            audio: sample.audio.as_ref().map(|media| media.get().clone()),
            text: sample.text.as_ref().map(|media| media.get().clone()),
            annotations: (*sample.annotations).clone(),
        }
    }

    /// The media that differ from the sample's.
    pub fn changed(&self, from: &Sample) -> ModalitySet {
        let differs = |modality| match modality {
            Modality::Image => self.image.as_ref() != from.image.as_ref().map(Media::get),
            Modality::Audio => self.audio.as_ref() != from.audio.as_ref().map(Media::get),
            Modality::Text => self.text.as_ref() != from.text.as_ref().map(Media::get),
        };
        Modality::ALL.into_iter().filter(|modality| differs(*modality)).collect()
    }

    /// The sample with this scene's media; an unchanged medium keeps its file.
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
        sample
    }

    /// Words of the caption, none where it is missing.
    pub fn words(&self) -> Vec<Word> {
        self.text.as_ref().map(|text| text::words(&text.content)).unwrap_or_default()
    }

    /// Side words of the caption.
    pub fn sides(&self) -> Vec<SideWord> {
        text::side_words(&self.words())
    }

    /// Edits the caption; spans and word times follow. Refused where a protected word would change.
    pub fn edit_text(&mut self, edits: Vec<Edit>) -> Result<(), String> {
        let Some(text) = self.text.as_ref().filter(|_| !edits.is_empty()) else { return Ok(()) };
        if edits.iter().any(|edit| text::is_protected(text, &edit.range)) {
            return Err("protected_word".into());
        }
        let edited = text::apply(text, edits).map_err(|error| error.to_string())?;
        self.annotations.words = text::move_words(&self.annotations.words, &edited);
        self.text = Some(edited.text);
        Ok(())
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
