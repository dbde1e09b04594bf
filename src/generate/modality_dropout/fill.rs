//! What stands in the place of a modality that was taken away, or of parts of it.

use super::Replacement;
use crate::{
    augment::absent::{self, Fill},
    model::{Input, Pixels, Waveform},
    sample::{Modality, ModalitySet},
    units::Fraction,
};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What stands in the place of what goes, and how much goes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Instead {
    /// What stands there. A text has no zero and no mean: there it is missing.
    #[serde(default)]
    pub replacement: Replacement,
    /// Share of the medium that goes (patches, time spans, words), with zeros where the replacement is `missing`; `None` for all of it.
    #[serde(default)]
    pub partial: Option<Fraction>,
}

impl Instead {
    /// Whether what goes is missing afterwards.
    pub fn leaves_nothing(self) -> bool {
        self.replacement == Replacement::Missing && self.partial.is_none()
    }
}

/// The input without the modalities of `gone`, or with what stands in their place. `other` has the media of another sample; without them, zeros stand for those.
pub fn without(input: &Input, gone: ModalitySet, instead: Instead, other: &Input, rng: &mut impl Rng) -> Input {
    let stays: ModalitySet = input.present().iter().filter(|m| !gone.has(*m)).collect();
    if instead.replacement == Replacement::Missing && instead.partial.is_none() {
        return input.only(stays);
    }
    let mut changed = input.clone();
    let parts = |n: usize, rng: &mut _| instead.partial.map_or_else(|| (0..n).collect(), |share| absent::parts(n, share.get(), rng));
    if let Some(image) = changed.image.as_mut().filter(|_| gone.has(Modality::Image)) {
        let fits = |theirs: &&Arc<Pixels>| (theirs.width, theirs.height, theirs.channels) == (image.width, image.height, image.channels);
        match &other.image {
            // A whole medium may have its own size.
            Some(theirs) if instead.replacement == Replacement::Other && instead.partial.is_none() => *image = theirs.clone(),
            theirs => {
                let theirs = theirs.as_ref().filter(fits).map(|theirs| theirs.values.as_slice());
                let gone = parts(absent::PATCHES, rng);
                let own = Arc::make_mut(image);
                absent::patches(&mut own.values, own.width, own.channels, &gone, fill(instead.replacement, theirs), rng);
            }
        }
    }
    if let Some(audio) = changed.audio.as_mut().filter(|_| gone.has(Modality::Audio)) {
        match &other.audio {
            Some(theirs) if instead.replacement == Replacement::Other && instead.partial.is_none() => *audio = theirs.clone(),
            theirs => {
                let fits = |theirs: &&Arc<Waveform>| theirs.channels == audio.channels;
                let theirs = theirs.as_ref().filter(fits).map(|theirs| theirs.values.as_slice());
                let gone = parts(absent::SPANS, rng);
                let own = Arc::make_mut(audio);
                absent::spans(&mut own.values, own.channels, &gone, fill(instead.replacement, theirs), rng);
            }
        }
    }
    if let Some(text) = changed.text.as_ref().filter(|_| gone.has(Modality::Text)) {
        let whole = instead.partial.is_none();
        let theirs = other.text.as_deref().filter(|_| instead.replacement == Replacement::Other);
        changed.text = match (instead.replacement, theirs) {
            (Replacement::Missing | Replacement::Zero | Replacement::Mean, _) | (Replacement::Other, None) if whole => None,
            (Replacement::Other, Some(theirs)) if whole => Some(theirs.into()),
            (replacement, theirs) => {
                let gone = parts(text.split_whitespace().count(), rng);
                Some(absent::words(text, &gone, replacement == Replacement::Noise, theirs, rng).into())
            }
        };
    }
    changed
}

fn fill(replacement: Replacement, other: Option<&[f32]>) -> Fill<'_> {
    match (replacement, other) {
        (Replacement::Mean, _) => Fill::Mean,
        (Replacement::Noise, _) => Fill::Noise,
        (Replacement::Other, Some(other)) => Fill::Other(other),
        (Replacement::Missing | Replacement::Zero | Replacement::Other, _) => Fill::Zero,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use serde_json::{Value, json};

    fn plan(value: Value) -> Instead {
        serde_json::from_value(value).unwrap()
    }

    fn input(level: f32) -> Input {
        Input {
            image: Some(Arc::new(Pixels { width: 7, height: 7, channels: 1, values: (0..49).map(|p| level + p as f32 / 100.0).collect() })),
            audio: Some(Arc::new(Waveform { sample_rate_hz: 1000, channels: 1, values: vec![level; 40] })),
            text: Some(if level > 0.2 { "one red cat".into() } else { "two".into() }),
            ..Input::default()
        }
    }

    #[test]
    fn every_replacement_stands_where_the_modality_was() {
        let (own, other) = (input(0.5), input(0.1));
        let gone = ModalitySet::one(Modality::Audio).with(Modality::Text);
        let of = |value: Value| without(&own, gone, plan(value), &other, &mut SeedTree::new(2).rng());
        let missing = of(json!({}));
        assert_eq!(missing.present(), ModalitySet::one(Modality::Image));
        let zero = of(json!({ "replacement": "zero" }));
        assert!(zero.text.is_none() && zero.audio.unwrap().values.iter().all(|v| *v == 0.0));
        assert!(of(json!({ "replacement": "mean" })).audio.unwrap().values.iter().all(|v| (*v - 0.5).abs() < 1e-6));
        let noise = of(json!({ "replacement": "noise" }));
        let text = noise.text.unwrap();
        assert!(text.split(' ').map(str::len).eq([3, 3, 3]) && *text != *"one red cat");
        assert_eq!(noise.image, own.image);
        let swapped = of(json!({ "replacement": "other" }));
        assert_eq!((swapped.audio, swapped.text), (other.audio.clone(), other.text.clone()));
        let part = of(json!({ "partial": 0.4 }));
        let zeros = part.audio.unwrap().values.iter().filter(|v| **v == 0.0).count();
        assert_eq!((zeros, part.text.unwrap().split(' ').count()), (16, 2));
        let patches = ModalitySet::one(Modality::Image);
        let seen = without(&own, patches, plan(json!({ "partial": 0.5, "replacement": "other" })), &other, &mut SeedTree::new(2).rng());
        let values = &seen.image.unwrap().values;
        let theirs = values.iter().zip(&other.image.as_ref().unwrap().values).filter(|(a, b)| a == b).count();
        assert_eq!(theirs, 25);
    }
}
