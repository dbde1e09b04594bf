//! A small world for the tests of generators: a linear model on raw pixels and samples, twelve samples of three classes.

use crate::{
    context::{EmbeddingIndex, Fetch, GenerateContext, Parent, ReplayContext, StageInfo},
    error::{Error, Result},
    generate::{Generated, Generator},
    model::{
        Input, Model, ModelSet,
        linear::{LinearModel, RawAudio, RawImage},
        measure,
    },
    random::SeedTree,
    sample::{
        AudioBuffer, Candidate, Classes, Diagnosis, DifficultyBand, Digest, ImageBuffer, Label, Media, Modality, PerModality, Reason,
        ReasonCode, Sample, SampleId, ScoreTable, TableRow, Text,
    },
};
use std::{collections::BTreeMap, sync::Arc};

pub struct World {
    pub models: ModelSet,
    pub samples: Vec<Sample>,
    pub table: ScoreTable,
    pub diagnoses: Vec<Diagnosis>,
    pub index: EmbeddingIndex,
    pub band: Option<DifficultyBand>,
    pub classes: Classes,
    pub stage: StageInfo,
    pub seed: u64,
}

struct Shelf<'a>(&'a [Sample]);

impl Fetch for Shelf<'_> {
    fn fetch(&self, id: &SampleId) -> Result<Sample> {
        self.0.iter().find(|s| &s.id == id).cloned().ok_or_else(|| Error::data("no such sample").at("sample", id))
    }
}

fn wave(i: usize, by: f32) -> f32 {
    (i as f32 * by + by * by).sin()
}

pub fn model() -> LinearModel {
    biased([0.1, 0.0, -0.1])
}

/// The same weights with another bias.
fn biased(bias: [f32; 3]) -> LinearModel {
    let audio = RawAudio { channels: 1, frames: 32, weights: (0..96).map(|i| 8.0 * wave(i, 2.3)).collect() };
    LinearModel::from_weights(classes(), bias.to_vec(), Some(image()), Some(audio)).unwrap()
}

fn image() -> RawImage {
    RawImage { width: 4, height: 4, channels: 1, weights: (0..48).map(|i| 5.0 * wave(i, 1.7)).collect() }
}

fn classes() -> Classes {
    Classes::from_names(["0", "1", "2"].map(String::from))
}

impl World {
    pub fn new() -> Self {
        Self::of(model())
    }

    /// With a bias that makes every class about as probable on the whole, so that samples have neighbours of other classes.
    pub fn balanced() -> Self {
        let world = Self::of(biased([0.0; 3]));
        let inputs: Vec<Input> = world.samples.iter().map(Input::of).collect();
        let logits = world.models.subject.forward(&inputs).unwrap().logits;
        Self::of(biased(std::array::from_fn(|k| -(0..inputs.len()).map(|i| logits.row(i)[k]).sum::<f32>() / inputs.len() as f32)))
    }

    /// The same samples before a model that reads their pictures alone.
    pub fn of_images() -> Self {
        Self::of(LinearModel::from_weights(classes(), vec![0.1, 0.0, -0.1], Some(image()), None).unwrap())
    }

    fn of(model: LinearModel) -> Self {
        let model: Arc<dyn Model> = Arc::new(model);
        let make = |i: usize| {
            let mut sample = Sample::new(SampleId::new(format!("s{i}")));
            let pixels = (0..16).map(|p| (128.0 + 60.0 * wave(p + 16 * i, 0.9)) as u8).collect();
            sample.image = Some(Media::new(ImageBuffer::new(4, 4, 1, pixels).unwrap()));
            let samples = (0..32).map(|s| ((wave(s + 32 * i, 0.37) * 9000.0).round()) / 32768.0).collect();
            sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, samples).unwrap()));
            sample.text = Some(Media::new(Text::new(format!("sample {i}"))));
            let sample = crate::codec::settle(sample).unwrap();
            // Labelled as the model sees it: right, and more or less sure.
            let logits = model.forward(&[Input::of(&sample)]).unwrap().logits;
            Sample { label: Some(Label::Class(measure::argmax(logits.row(0)))), ..sample }
        };
        let samples: Vec<Sample> = (0..12).map(make).collect();
        let row = |(i, s): (usize, &Sample)| TableRow {
            id: s.id.clone(),
            class: s.label.as_ref().map(Label::class),
            present: s.present(),
            group: i,
            fields: Arc::default(),
        };
        let table = ScoreTable::new(samples.iter().enumerate().map(row).collect(), 3).unwrap();
        let outputs = model.forward(&samples.iter().map(Input::of).collect::<Vec<_>>()).unwrap();
        let embedding = |m: Modality, i: usize| outputs.embeddings[m].as_ref().map(|e| e.row(i).into());
        let train = (0..samples.len()).map(|i| PerModality::from_fn(|m| embedding(m, i))).collect();
        Self {
            models: ModelSet { subject: model, teachers: None },
            diagnoses: vec![Diagnosis::clear(); samples.len()],
            index: EmbeddingIndex { train, ..EmbeddingIndex::default() },
            band: Some(DifficultyBand { low: 0.8, high: 1.2 }),
            classes: classes(),
            stage: StageInfo { id: "made".into(), operator: "test", version: 1, config: Digest::of(b"") },
            seed: 7,
            samples,
            table,
        }
    }

    pub fn parent(&self, i: usize) -> Parent {
        let sample = self.samples[i].clone();
        Parent { sample, row: i, diagnosis: self.diagnoses[i].clone(), weight: 1.0, scores: BTreeMap::new() }
    }
    pub fn parents(&self) -> Vec<Parent> {
        (0..self.samples.len()).map(|i| self.parent(i)).collect()
    }
    pub fn give_reason(&mut self, i: usize, code: ReasonCode, modality: Option<Modality>) {
        self.diagnoses[i].reasons.push(Reason { code, strength: 1.0, evidence: BTreeMap::new(), modality });
    }
    pub fn generate(&self, generator: &dyn Generator, parents: &[Parent]) -> Generated {
        let context = GenerateContext {
            models: &self.models,
            seeds: SeedTree::new(self.seed).stage("made"),
            round: 1,
            stage: &self.stage,
            band: self.band,
            table: &self.table,
            diagnoses: &self.diagnoses,
            index: Some(&self.index),
            fetch: &Shelf(&self.samples),
            classes: &self.classes,
        };
        generator.generate(parents, &context).unwrap()
    }
    pub fn loss(&self, sample: &Sample) -> f32 {
        let logits = self.models.subject.forward(&[Input::of(sample)]).unwrap().logits;
        measure::cross_entropy(logits.row(0), sample.label.as_ref().unwrap())
    }
    /// Makes a candidate again from its lineage, and settles it.
    pub fn replay(&self, generator: &dyn Generator, candidate: &Candidate) -> Sample {
        let shelf = Shelf(&self.samples);
        let parents: Vec<Sample> = candidate.lineage.parents.iter().map(|parent| shelf.fetch(&parent.id).unwrap()).collect();
        let context = ReplayContext { parents: &parents, models: Some(&self.models), seeds: SeedTree::at(&candidate.lineage.seed) };
        crate::codec::settle(generator.replay(&candidate.lineage.parameters, &context).unwrap()).unwrap()
    }

    /// What every generator promises: an empty batch is fine, parents stay, the same seed gives the same bytes one by one, in another order and in a
    /// replay, and media may be missing. Gives what was made of all parents.
    pub fn keeps_the_promises(&mut self, generator: &dyn Generator) -> Generated {
        assert!(self.generate(generator, &[]).outcomes.is_empty());
        let parents = self.parents();
        let all = self.generate(generator, &parents);
        assert_eq!(all.outcomes.len(), parents.len());
        let facts = |generated: &Generated| {
            let candidate = |c: &Candidate| (c.sample.digests(), serde_json::to_string(&c.lineage).unwrap());
            let mut facts: Vec<_> = generated.candidates.iter().map(|c| (c.sample.id.clone(), candidate(c))).collect();
            facts.sort_by(|a, b| a.0.cmp(&b.0));
            facts
        };
        assert!(parents.iter().zip(&self.samples).all(|(p, s)| p.sample.digests() == s.digests()));
        let reversed: Vec<Parent> = parents.iter().rev().cloned().collect();
        assert_eq!(facts(&all), facts(&self.generate(generator, &reversed)));
        let mut single = Generated::default();
        for parent in &parents {
            let one = self.generate(generator, std::slice::from_ref(parent));
            single.candidates.extend(one.candidates);
            single.outcomes.extend(one.outcomes);
        }
        assert_eq!(facts(&all), facts(&single));
        assert_eq!(all.outcomes, single.outcomes);
        for candidate in &all.candidates {
            assert_eq!(self.replay(generator, candidate).digests(), candidate.sample.digests(), "{}", candidate.sample.id);
            assert_eq!(candidate.attempt, candidate.lineage.parents[0].id.as_str()[1..].parse::<u64>().unwrap());
            if let Some(band) = self.band {
                assert!(band.holds(self.loss(&candidate.sample)), "{} has a loss of {}", candidate.sample.id, self.loss(&candidate.sample));
            }
        }
        let mut poor = parents;
        poor[0].sample.image = None;
        poor[1].sample.audio = None;
        (poor[2].sample.image, poor[2].sample.audio) = (None, None);
        poor[3].sample.text = None;
        (poor[4].sample.image, poor[4].sample.audio, poor[4].sample.text) = (None, None, None);
        poor[5].sample.label = None;
        let of_poor = self.generate(generator, &poor);
        assert_eq!(of_poor.outcomes.len(), poor.len());
        for candidate in &of_poor.candidates {
            let parent = poor.iter().find(|p| p.sample.id == candidate.lineage.parents[0].id).unwrap();
            assert!(parent.sample.present().contains(candidate.sample.present()));
        }
        all
    }
}
