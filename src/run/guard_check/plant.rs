//! Faults of which the truth is known, planted in training data while they are read. Nothing is written.

use crate::{
    error::{Error, Result},
    pipeline::Split,
    random::SeedTree,
    read::{Entry, Source, WrittenLabel},
    record::{Fault, NoiseKind},
    sample::{AudioBuffer, Classes, ImageBuffer, Media, Modality, ModalitySet, Sample, SampleId, Text},
};
use rand::{RngExt, seq::SliceRandom};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A sample that a fault may be planted in.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: SampleId,
    pub class: usize,
    pub present: ModalitySet,
}

/// How much of what is planted.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    pub kind: NoiseKind,
    /// Classes that a pair flip exchanges; the next class where none are named.
    pub flips: Vec<[usize; 2]>,
    /// The modalities that may be exchanged.
    pub exchanged: ModalitySet,
    /// Share of the candidates that get another label, `0..=0.5`.
    pub labels: f64,
    /// Share of the candidates that get a modality of a sample of another class, `0..=0.5`.
    pub pairs: f64,
    /// Share of the candidates whose media are made meaningless, `0..=0.5`.
    pub foreign: f64,
}

/// The faults, by id. No sample has two.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Faults {
    /// The class a sample is given.
    pub labels: BTreeMap<SampleId, usize>,
    /// The modality a sample is given, and whose it is. Two samples exchange it, so that every medium stays in the data as often as before.
    pub pairs: BTreeMap<SampleId, (Modality, SampleId)>,
    /// Samples of no class: what their media are made of stands in a random order.
    pub foreign: BTreeSet<SampleId>,
}

impl Candidate {
    /// Samples of a split with a label of one class, but for those known to be wrong.
    pub fn of(split: &Split, known_wrong: &BTreeSet<SampleId>) -> Vec<Self> {
        (0..split.len())
            .filter_map(|i| {
                let entry = split.entry(i);
                let sure = matches!(entry.label, Some(WrittenLabel::Name(_))) && !known_wrong.contains(&entry.id);
                sure.then(|| Some(Self { id: entry.id.clone(), class: split.label(i)?.class(), present: entry.present })).flatten()
            })
            .collect()
    }
}

impl Faults {
    /// Whether a sample was given this fault.
    pub fn has(&self, id: &SampleId, fault: Fault) -> bool {
        match fault {
            Fault::Label => self.labels.contains_key(id),
            Fault::Pair => self.pairs.contains_key(id),
            Fault::Outlier => self.foreign.contains(id),
            Fault::Any => [Fault::Label, Fault::Pair, Fault::Outlier].into_iter().any(|fault| self.has(id, fault)),
        }
    }

    /// Draws faults; every draw is addressed by the sample's id, so that the order of the candidates changes nothing.
    pub fn draw(candidates: &[Candidate], classes: usize, noise: &Noise, seeds: &SeedTree) -> Self {
        let mut faults = Self::default();
        if classes < 2 {
            return faults;
        }
        let mut order: Vec<(u64, &Candidate)> = candidates.iter().map(|one| (seeds.child("order").sample(&one.id).number(), one)).collect();
        order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
        let count = |share: f64| (share * candidates.len() as f64).round() as usize;
        let given = |one: &Candidate| match noise.kind {
            NoiseKind::PairFlip if noise.flips.is_empty() => Some((one.class + 1) % classes),
            NoiseKind::PairFlip => noise.flips.iter().find_map(|[a, b]| match one.class {
                class if class == *a => Some(*b),
                class if class == *b => Some(*a),
                _ => None,
            }),
            NoiseKind::Uniform => Some((one.class + seeds.child("label").sample(&one.id).rng().random_range(1..classes)) % classes),
        };
        let wrong = order.iter().filter_map(|(_, one)| Some((one.id.clone(), given(one)?))).take(count(noise.labels));
        faults.labels.extend(wrong);
        let rest: Vec<(u64, &Candidate)> = order.into_iter().filter(|(_, one)| !faults.labels.contains_key(&one.id)).collect();
        // They come in twos.
        let wanted = count(noise.pairs).next_multiple_of(2);
        for (at, (_, one)) in rest.iter().enumerate() {
            if faults.pairs.len() >= wanted {
                break;
            }
            let free = one.present.and(noise.exchanged);
            if faults.pairs.contains_key(&one.id) || one.present.len() < 2 {
                continue;
            }
            // The next free sample of another class with a modality in common.
            let partner = rest[at + 1..].iter().map(|(_, other)| *other).find(|other| {
                other.class != one.class
                    && other.present.len() >= 2
                    && !faults.pairs.contains_key(&other.id)
                    && !free.and(other.present).is_empty()
            });
            let Some(other) = partner else { continue };
            let common: Vec<Modality> = free.and(other.present).iter().collect();
            let modality = common[seeds.child("pair").sample(&one.id).rng().random_range(0..common.len())];
            faults.pairs.insert(one.id.clone(), (modality, other.id.clone()));
            faults.pairs.insert(other.id.clone(), (modality, one.id.clone()));
        }
        let free = rest.iter().filter(|(_, one)| !faults.pairs.contains_key(&one.id));
        let foreign = free.take(count(noise.foreign)).map(|(_, one)| one.id.clone()).collect();
        faults.foreign = foreign;
        faults
    }
}

/// A source whose samples are read with the faults.
pub(super) struct Planted {
    inner: Box<dyn Source>,
    entries: Vec<Entry>,
    /// By entry: the modality that another entry gives.
    given: HashMap<usize, (Modality, usize)>,
    /// The entries of no class.
    foreign: BTreeSet<usize>,
    seeds: SeedTree,
}

impl Planted {
    /// `seeds` draws the order in which meaningless media stand.
    pub fn new(inner: Box<dyn Source>, faults: &Faults, classes: &Classes, seeds: SeedTree) -> Result<Self> {
        let mut entries = inner.entries().to_vec();
        let by_id: HashMap<SampleId, usize> = entries.iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        let find =
            |id: &SampleId| by_id.get(id).copied().ok_or_else(|| Error::data("the data changed while they were read").at("sample", id));
        for (id, class) in &faults.labels {
            entries[find(id)?].label = Some(WrittenLabel::Name(classes.name(*class).to_owned()));
        }
        let mut given = HashMap::new();
        for (id, (modality, from)) in &faults.pairs {
            given.insert(find(id)?, (*modality, find(from)?));
        }
        let foreign = faults.foreign.iter().map(find).collect::<Result<_>>()?;
        Ok(Self { inner, entries, given, foreign, seeds })
    }
}

/// The same pixels, frames of sound and letters in a random order: the histogram stays, nothing of a class does.
fn meaningless(sample: &mut Sample, seeds: &SeedTree) -> Result<()> {
    let told = |what: &str, error: String| Error::internal(error).at("modality", what);
    if let Some(media) = &sample.image {
        let own = media.get();
        let mut pixels: Vec<&[u8]> = own.pixels().chunks_exact(own.channels().max(1)).collect();
        pixels.shuffle(&mut seeds.child("image").rng());
        let image = ImageBuffer::new(own.width(), own.height(), own.channels(), pixels.concat()).map_err(|e| told("image", e))?;
        sample.image = Some(Media::new(image));
    }
    if let Some(media) = &sample.audio {
        let own = media.get();
        let mut frames: Vec<&[f32]> = own.samples().chunks_exact(own.channels().max(1)).collect();
        frames.shuffle(&mut seeds.child("audio").rng());
        let audio = AudioBuffer::new(own.sample_rate_hz(), own.channels(), frames.concat()).map_err(|e| told("audio", e))?;
        sample.audio = Some(Media::new(audio));
    }
    if let Some(media) = &sample.text {
        let mut letters: Vec<char> = media.get().content.chars().collect();
        letters.shuffle(&mut seeds.child("text").rng());
        sample.text = Some(Media::new(Text::new(letters.into_iter().collect::<String>())));
    }
    Ok(())
}

impl Source for Planted {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn problems(&self) -> &[Error] {
        self.inner.problems()
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        let mut sample = self.inner.fetch(index)?;
        if let Some((modality, from)) = self.given.get(&index) {
            let other = self.inner.fetch(*from)?;
            match modality {
                Modality::Image => sample.image = other.image,
                Modality::Audio => sample.audio = other.audio,
                Modality::Text => sample.text = other.text,
            }
        }
        if self.foreign.contains(&index) {
            let seeds = self.seeds.sample(&sample.id);
            meaningless(&mut sample, &seeds)?;
        }
        Ok(sample)
    }
    fn name(&self) -> &str {
        self.inner.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::MemorySource;

    fn candidates(n: usize) -> Vec<Candidate> {
        let present = |i: usize| if i.is_multiple_of(7) { ModalitySet::one(Modality::Image) } else { ModalitySet::ALL };
        (0..n).map(|i| Candidate { id: format!("s{i:03}").as_str().into(), class: i % 5, present: present(i) }).collect()
    }

    fn noise(kind: NoiseKind) -> Noise {
        Noise { kind, flips: Vec::new(), exchanged: ModalitySet::ALL, labels: 0.1, pairs: 0.1, foreign: 0.0 }
    }

    #[test]
    fn as_many_as_asked_and_none_twice() {
        let all = candidates(200);
        let faults = Faults::draw(&all, 5, &noise(NoiseKind::Uniform), &SeedTree::new(3));
        assert_eq!((faults.labels.len(), faults.pairs.len()), (20, 20));
        assert!(faults.labels.keys().all(|id| !faults.pairs.contains_key(id)));
        let of = |id: &SampleId| all.iter().find(|one| one.id == *id).unwrap();
        assert!(faults.labels.iter().all(|(id, class)| *class != of(id).class && *class < 5));
        for (id, (modality, from)) in &faults.pairs {
            assert_eq!(faults.pairs[from], (*modality, id.clone()));
            assert!(of(id).class != of(from).class && of(id).present.has(*modality) && of(from).present.has(*modality));
            assert!(of(id).present.len() >= 2);
        }
        let flipped = Faults::draw(&all, 5, &noise(NoiseKind::PairFlip), &SeedTree::new(3));
        assert!(flipped.labels.iter().all(|(id, class)| *class == (of(id).class + 1) % 5));
        // Another seed, other samples; another order, the same.
        assert_ne!(Faults::draw(&all, 5, &noise(NoiseKind::Uniform), &SeedTree::new(4)), faults);
        let turned: Vec<Candidate> = all.iter().rev().cloned().collect();
        assert_eq!(Faults::draw(&turned, 5, &noise(NoiseKind::Uniform), &SeedTree::new(3)), faults);
    }

    #[test]
    fn named_classes_are_exchanged_and_only_the_modalities_asked_for() {
        let all = candidates(200);
        let own = Noise { flips: vec![[1, 3]], exchanged: ModalitySet::one(Modality::Audio), ..noise(NoiseKind::PairFlip) };
        let faults = Faults::draw(&all, 5, &own, &SeedTree::new(3));
        let of = |id: &SampleId| all.iter().find(|one| one.id == *id).unwrap();
        assert_eq!(faults.labels.len(), 20);
        assert!(faults.labels.iter().all(|(id, class)| matches!((of(id).class, class), (1, 3) | (3, 1))));
        assert!(faults.pairs.len() == 20 && faults.pairs.values().all(|(modality, _)| *modality == Modality::Audio));
        // No more of them are there than these classes have.
        let many = Noise { labels: 0.5, flips: vec![[0, 1]], ..own };
        assert_eq!(Faults::draw(&all, 5, &many, &SeedTree::new(3)).labels.len(), 80);
    }

    #[test]
    fn where_nothing_can_be_planted_nothing_is() {
        let alone: Vec<Candidate> =
            candidates(50).into_iter().map(|one| Candidate { present: ModalitySet::one(Modality::Text), ..one }).collect();
        assert!(Faults::draw(&alone, 5, &noise(NoiseKind::Uniform), &SeedTree::new(3)).pairs.is_empty());
        let same: Vec<Candidate> = candidates(50).into_iter().map(|one| Candidate { class: 2, ..one }).collect();
        let faults = Faults::draw(&same, 5, &noise(NoiseKind::Uniform), &SeedTree::new(3));
        assert_eq!((faults.labels.len(), faults.pairs.len()), (5, 0));
        assert_eq!(Faults::draw(&same, 1, &noise(NoiseKind::Uniform), &SeedTree::new(3)), Faults::default());
        assert_eq!(Faults::draw(&[], 5, &noise(NoiseKind::Uniform), &SeedTree::new(3)), Faults::default());
    }

    #[test]
    fn a_planted_source_reads_the_faults_and_nothing_else_changes() {
        let sample = |i: u8| {
            let mut one = Sample::new(format!("s{i}").as_str());
            one.image = Some(Media::new(ImageBuffer::filled(2, 2, 1, i).unwrap()));
            one.text = Some(Media::new(Text::new(format!("text {i}"))));
            (one, Some(WrittenLabel::Name((i % 2).to_string())))
        };
        let source = MemorySource::new((0..4).map(sample).collect()).unwrap();
        let classes = Classes::from_names(["0".to_owned(), "1".to_owned()]);
        let faults = Faults {
            labels: [("s0".into(), 1)].into(),
            pairs: [("s2".into(), (Modality::Text, "s3".into())), ("s3".into(), (Modality::Text, "s2".into()))].into(),
            foreign: BTreeSet::new(),
        };
        let planted = Planted::new(Box::new(source), &faults, &classes, SeedTree::new(1)).unwrap();
        let labels: Vec<_> = planted.entries().iter().map(|entry| entry.label.clone().unwrap()).collect();
        assert_eq!(labels, ["1", "1", "0", "1"].map(|name| WrittenLabel::Name(name.into())));
        let read: Vec<(u8, String)> = (0..4)
            .map(|i| planted.fetch(i).unwrap())
            .map(|s| (s.image.unwrap().get().pixels()[0], s.text.unwrap().get().content.to_string()))
            .collect();
        assert_eq!(read, [(0, "text 0"), (1, "text 1"), (2, "text 3"), (3, "text 2")].map(|(p, t)| (p, t.to_owned())));
    }

    #[test]
    fn a_foreign_sample_keeps_what_its_media_are_made_of_and_nothing_of_their_order() {
        let all = candidates(200);
        let faults = Faults::draw(&all, 5, &Noise { foreign: 0.05, ..noise(NoiseKind::Uniform) }, &SeedTree::new(3));
        assert_eq!((faults.labels.len(), faults.pairs.len(), faults.foreign.len()), (20, 20, 10));
        let faulty = |id: &SampleId| [Fault::Label, Fault::Pair, Fault::Outlier].into_iter().filter(|f| faults.has(id, *f)).count();
        assert!(all.iter().all(|one| faulty(&one.id) <= 1 && faults.has(&one.id, Fault::Any) == (faulty(&one.id) == 1)));

        let mut one = Sample::new("s");
        one.image = Some(Media::new(ImageBuffer::new(8, 8, 3, (0..192).collect()).unwrap()));
        one.audio = Some(Media::new(AudioBuffer::new(8000, 2, (0..200).map(|i| i as f32 / 200.0).collect()).unwrap()));
        one.text = Some(Media::new(Text::new("a grey tabby sleeps")));
        let mut own = one.clone();
        meaningless(&mut own, &SeedTree::new(2)).unwrap();
        let pixels = |s: &Sample| s.image.as_ref().unwrap().get().pixels().to_vec();
        let sound = |s: &Sample| s.audio.as_ref().unwrap().get().samples().to_vec();
        let text = |s: &Sample| s.text.as_ref().unwrap().get().content.to_string();
        assert!(pixels(&own) != pixels(&one) && sound(&own) != sound(&one) && text(&own) != text(&one));
        // Channels stay together.
        assert!(pixels(&own).chunks_exact(3).all(|p| p[1] == p[0] + 1 && p[2] == p[0] + 2));
        let mut sorted = (pixels(&own), sound(&own), text(&own).chars().collect::<Vec<_>>());
        sorted.0.sort_unstable();
        sorted.1.sort_by(f32::total_cmp);
        sorted.2.sort_unstable();
        let mut letters: Vec<char> = text(&one).chars().collect();
        letters.sort_unstable();
        assert_eq!(sorted, (pixels(&one), sound(&one), letters));
        let mut again = one.clone();
        meaningless(&mut again, &SeedTree::new(2)).unwrap();
        assert_eq!(pixels(&again), pixels(&own));
    }
}
