//! What is fetched of the entries of a data set on disk.

use super::{Entry, Measured, measure, place::Place};
use crate::{
    codec,
    error::{Error, Result},
    sample::{Annotations, Modality, Sample, Text, TextSpan},
};
use std::sync::Arc;

/// The media of one entry: paths, and the text itself.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub image: Option<Box<str>>,
    pub audio: Option<Box<str>>,
    pub text: Option<Box<str>>,
    pub spans: Vec<TextSpan>,
    pub annotations: Arc<Annotations>,
}

/// Entries with their contents, one for one.
#[derive(Debug)]
pub(super) struct Contents {
    pub place: Place,
    pub entries: Vec<Entry>,
    pub contents: Vec<Content>,
}

impl Contents {
    pub(super) fn fetch(&self, index: usize) -> Result<Sample> {
        let (entry, content) = entry_at(&self.entries, &self.contents, index)?;
        let mut sample = Sample::new(entry.id.clone());
        if let Some(path) = &content.image {
            let image = self.decode(path, |bytes| {
                let image = codec::image::decode(bytes)?;
                measure::check_boxes(&content.annotations, image.get())?;
                Ok(image)
            });
            sample.image = Some(image.map_err(|error| at(error, entry, Modality::Image))?);
        }
        if let Some(path) = &content.audio {
            let audio = self.decode(path, |bytes| {
                let audio = codec::audio::decode(bytes)?;
                measure::check_times(&content.annotations, audio.get())?;
                Ok(audio)
            });
            sample.audio = Some(audio.map_err(|error| at(error, entry, Modality::Audio))?);
        }
        if let Some(text) = &content.text {
            sample.text = Some(codec::text::media(Text { content: text.to_string(), spans: content.spans.clone() }));
        }
        sample.annotations = content.annotations.clone();
        sample.fields = entry.fields.clone();
        Ok(sample)
    }

    pub(super) fn measure(&self, index: usize) -> Result<Measured> {
        let (entry, content) = entry_at(&self.entries, &self.contents, index)?;
        let image = content.image.as_deref().map(|path| self.decode(path, codec::image::size)).transpose();
        let audio = content.audio.as_deref().map(|path| self.decode(path, codec::audio::shape)).transpose();
        Ok(Measured {
            image: image.map_err(|error| at(error, entry, Modality::Image))?,
            audio: audio.map_err(|error| at(error, entry, Modality::Audio))?,
            text: content.text.as_deref().map(|text| text.chars().count()),
        })
    }

    fn decode<T>(&self, path: &str, decode: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        decode(&self.place.read(path)?).map_err(|error| error.at("file", path))
    }
}

fn at(error: Error, entry: &Entry, modality: Modality) -> Error {
    error.at("modality", modality).at("sample", &entry.id).at("line", entry.line)
}

/// Entry and content of `index`, or a broken promise of the caller.
pub(super) fn entry_at<'a, C>(entries: &'a [Entry], contents: &'a [C], index: usize) -> Result<(&'a Entry, &'a C)> {
    let found = entries.get(index).zip(contents.get(index));
    found.ok_or_else(|| Error::internal(format!("sample number {index} was asked for, and there are {}", entries.len())))
}
