use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{Index, IndexMut},
};

/// A kind of medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Pixels.
    Image,
    /// A waveform.
    Audio,
    /// A caption or transcript.
    Text,
}

impl Modality {
    /// All of them, in the order of every table.
    pub const ALL: [Self; 3] = [Self::Image, Self::Audio, Self::Text];

    /// Name in files: `image`, `audio`, `text`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of modalities: a presence mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Modality>", from = "Vec<Modality>")]
pub struct ModalitySet(u8);

impl ModalitySet {
    /// No modality.
    pub const EMPTY: Self = Self(0);
    /// Image, audio and text.
    pub const ALL: Self = Self(0b111);
    /// The image alone.
    pub const IMAGE: Self = Self(0b001);
    /// The audio alone.
    pub const AUDIO: Self = Self(0b010);
    /// The text alone.
    pub const TEXT: Self = Self(0b100);

    /// The set of one.
    pub fn one(modality: Modality) -> Self {
        Self(1 << modality as u8)
    }
    /// Whether it holds `modality`.
    pub fn has(self, modality: Modality) -> bool {
        self.0 & (1 << modality as u8) != 0
    }
    /// With `modality` added.
    #[must_use]
    pub fn with(self, modality: Modality) -> Self {
        Self(self.0 | 1 << modality as u8)
    }
    /// With `modality` taken out.
    #[must_use]
    pub fn without(self, modality: Modality) -> Self {
        Self(self.0 & !(1 << modality as u8))
    }
    /// What both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// What either holds.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// How many it holds.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }
    /// Its members in the order of [`Modality::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Modality> {
        Modality::ALL.into_iter().filter(move |m| self.has(*m))
    }
    /// All non-empty subsets of it, smallest bit pattern first.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (1..=7u8).map(Self).filter(move |s| self.contains(*s))
    }
}

impl FromIterator<Modality> for ModalitySet {
    fn from_iter<I: IntoIterator<Item = Modality>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<Vec<Modality>> for ModalitySet {
    fn from(list: Vec<Modality>) -> Self {
        list.into_iter().collect()
    }
}

impl From<ModalitySet> for Vec<Modality> {
    fn from(set: ModalitySet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Display for ModalitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Modality::name).collect();
        f.write_str(if names.is_empty() { "nothing".into() } else { names.join("+") }.as_str())
    }
}

/// One value a modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PerModality<T> {
    /// Of the image.
    pub image: T,
    /// Of the audio.
    pub audio: T,
    /// Of the text.
    pub text: T,
}

impl<T> PerModality<T> {
    /// Computes each.
    pub fn from_fn(mut f: impl FnMut(Modality) -> T) -> Self {
        Self { image: f(Modality::Image), audio: f(Modality::Audio), text: f(Modality::Text) }
    }
    /// With their modalities.
    pub fn iter(&self) -> impl Iterator<Item = (Modality, &T)> {
        Modality::ALL.into_iter().map(move |m| (m, &self[m]))
    }
}

impl<T> Index<Modality> for PerModality<T> {
    type Output = T;
    fn index(&self, modality: Modality) -> &T {
        match modality {
            Modality::Image => &self.image,
            Modality::Audio => &self.audio,
            Modality::Text => &self.text,
        }
    }
}

impl<T> IndexMut<Modality> for PerModality<T> {
    fn index_mut(&mut self, modality: Modality) -> &mut T {
        match modality {
            Modality::Image => &mut self.image,
            Modality::Audio => &mut self.audio,
            Modality::Text => &mut self.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_modalities_have_seven_subsets() {
        assert_eq!(ModalitySet::ALL.subsets().count(), 7);
        let pair = ModalitySet::one(Modality::Image).with(Modality::Text);
        assert_eq!(pair.subsets().count(), 3);
        assert_eq!(pair.to_string(), "image+text");
        assert_eq!(ModalitySet::ALL.without(Modality::Audio), pair);
    }
}
