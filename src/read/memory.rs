use super::{Entry, Source, WrittenLabel, manifest::entry_at};
use crate::{
    error::{Error, Result},
    sample::{Modality, Sample},
};
use std::collections::HashMap;

/// Samples that are in memory already: for library use and tests.
pub struct MemorySource {
    entries: Vec<Entry>,
    samples: Vec<Sample>,
}

impl MemorySource {
    /// Takes samples with their labels (a label inside a sample is not looked at). Ids are unique, and each sample has a modality.
    /// Media with equal digests count as shared.
    pub fn new(samples: Vec<(Sample, Option<WrittenLabel>)>) -> Result<Self> {
        let mut seen = HashMap::with_capacity(samples.len());
        let mut source = Self { entries: Vec::with_capacity(samples.len()), samples: Vec::with_capacity(samples.len()) };
        for (i, (mut sample, label)) in samples.into_iter().enumerate() {
            let line = i + 1;
            if let Some(first) = seen.insert(sample.id.clone(), line) {
                return Err(Error::data(format!("the id `{}` stands twice, as samples {first} and {line}; ids are unique", sample.id)));
            }
            if sample.present().is_empty() {
                return Err(Error::data("no modality: expected at least one of image, audio, text").at("sample", &sample.id));
            }
            let media = [Modality::Image, Modality::Audio].into_iter().filter_map(|modality| sample.digest(modality));
            let media = media.map(|digest| format!("digest:{digest}")).collect();
            let (id, present, fields) = (sample.id.clone(), sample.present(), sample.fields.clone());
            source.entries.push(Entry { id, label, present, media, fields, line });
            sample.label = None;
            source.samples.push(sample);
        }
        Ok(source)
    }
}

impl Source for MemorySource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn problems(&self) -> &[Error] {
        &[]
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        entry_at(&self.entries, &self.samples, index, self.name()).map(|(_, sample)| sample.clone())
    }
    fn name(&self) -> &str {
        "memory"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ImageBuffer, Media, Text};

    #[test]
    fn samples_are_given_back() {
        let mut a = Sample::new("a");
        a.image = Some(Media::new(ImageBuffer::filled(2, 2, 1, 7).unwrap()));
        let mut b = a.clone();
        b.id = "b".into();
        b.text = Some(Media::new(Text::new("seven")));
        let source = MemorySource::new(vec![(a.clone(), Some(WrittenLabel::Name("7".into()))), (b, None)]).unwrap();
        assert_eq!(source.entries()[0].media, source.entries()[1].media);
        assert_eq!(source.fetch(1).unwrap().text.unwrap().get().content, "seven");
        assert_eq!(source.measure(1).unwrap().text, Some(5));
        assert!(source.fetch(2).is_err());
        let twice = MemorySource::new(vec![(a.clone(), None), (a, None)]).err().unwrap();
        assert_eq!(twice.message(), "the id `a` stands twice, as samples 1 and 2; ids are unique");
        let empty = MemorySource::new(vec![(Sample::new("e"), None)]).err().unwrap();
        assert_eq!(empty.to_string(), "sample e: no modality: expected at least one of image, audio, text");
    }
}
