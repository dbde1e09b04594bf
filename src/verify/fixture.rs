//! A bench for the tests of verifiers: one parent, a linear model that is subject and teacher, children made by hand.

use super::Verifier;
use crate::{
    context::{EmbeddingIndex, Forwards, Judged, KnownMedia, Parent, VerifyContext},
    model::{
        Model, ModelSet, Teachers,
        linear::{LinearModel, RawAudio, RawImage},
    },
    random::SeedTree,
    sample::{
        AudioBuffer, Candidate, Claim, Classes, Diagnosis, DifficultyBand, Digest, ImageBuffer, Label, Lineage, Media, PerModality, Sample,
        SampleId, Text, Verdict,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The margin of class 1 is `2 (sum of 4 pixels) + 3 (sum of 4 samples) - 4`.
pub struct Bench {
    pub models: ModelSet,
    pub parent: Parent,
    pub band: Option<DifficultyBand>,
    pub known: KnownMedia,
    pub index: EmbeddingIndex,
}

pub fn sample(id: &str, pixels: [u8; 4], samples: [f32; 4]) -> Sample {
    let mut sample = Sample::new(id);
    sample.label = Some(Label::Class(0));
    sample.image = Some(Media::new(ImageBuffer::new(2, 2, 1, pixels.to_vec()).unwrap()));
    sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, samples.to_vec()).unwrap()));
    sample.text = Some(Media::new(Text::new("a caption")));
    crate::codec::settle(sample).unwrap()
}

impl Bench {
    pub fn new() -> Self {
        let row = |w: f32| [0.0; 4].into_iter().chain([w; 4]).collect();
        let image = RawImage { width: 2, height: 2, channels: 1, weights: row(2.0) };
        let audio = RawAudio { channels: 1, frames: 4, weights: row(3.0) };
        let classes = Classes::from_names(["0", "1"].map(String::from));
        let model: Arc<dyn Model> = Arc::new(LinearModel::from_weights(classes, vec![4.0, 0.0], Some(image), Some(audio)).unwrap());
        let teachers = Teachers { models: vec![model.clone()], fold_of: HashMap::from([(SampleId::new("p"), 0)]) };
        let sample = sample("p", [51; 4], [0.0; 4]);
        let parent = Parent { sample, row: 0, diagnosis: Diagnosis::clear(), weight: 1.0, scores: BTreeMap::new() };
        let models = ModelSet { subject: model, teachers: Some(teachers) };
        Self { models, parent, band: None, known: KnownMedia::default(), index: EmbeddingIndex::default() }
    }

    /// The embeddings of a sample, as the round's index holds them: the raw media of this model.
    pub fn embeddings(sample: &Sample) -> PerModality<Option<Arc<[f32]>>> {
        let image = sample.image.as_ref().map(|m| m.get().pixels().iter().map(|p| f32::from(*p) / 255.0).collect());
        PerModality { image, audio: sample.audio.as_ref().map(|m| m.get().samples().into()), text: None }
    }

    pub fn judge(&self, verifier: &dyn Verifier, children: Vec<(Sample, Vec<Claim>)>) -> Vec<Verdict> {
        let candidates: Vec<Candidate> = children.into_iter().map(|(sample, claims)| candidate(sample, claims)).collect();
        let samples: Vec<Sample> = candidates.iter().map(|c| c.sample.clone()).collect();
        let parents: Vec<Sample> = candidates.iter().map(|_| self.parent.sample.clone()).collect();
        let origins = parents.iter().map(|p| p.id.clone()).collect();
        let context = VerifyContext {
            forwards: &Forwards::with_origins(&self.models, &samples, origins),
            parents: &Forwards::new(&self.models, &parents),
            band: self.band,
            stage: "gate",
            known: &self.known,
            index: Some(&self.index),
        };
        let judged: Vec<Judged<'_>> = candidates.iter().map(|candidate| Judged { candidate, parent: &self.parent }).collect();
        let verdicts = verifier.verify(&judged, &context).unwrap();
        assert_eq!(verdicts.len(), judged.len());
        assert!(verdicts.iter().all(|verdict| verdict.verifier == "gate"));
        verdicts
    }

    pub fn reasons(&self, verifier: &dyn Verifier, children: Vec<(Sample, Vec<Claim>)>) -> Vec<(bool, String)> {
        // Neither an empty batch nor the company of others changes a verdict.
        assert!(self.judge(verifier, Vec::new()).is_empty());
        let together = self.judge(verifier, children.clone());
        let alone = children.into_iter().map(|child| self.judge(verifier, vec![child]).remove(0));
        assert_eq!(together, alone.collect::<Vec<_>>());
        together.into_iter().map(|verdict| (verdict.passed, verdict.reason)).collect()
    }
}

fn candidate(sample: Sample, claims: Vec<Claim>) -> Candidate {
    let lineage = Lineage {
        child: sample.id.clone(),
        parents: Vec::new(),
        round: 1,
        stage: "made".into(),
        operator: "test".into(),
        version: 1,
        config: Digest::of(b""),
        seed: SeedTree::new(1).path().clone(),
        parameters: serde_json::Value::Null,
        model: None,
        teacher: None,
        scores_before: BTreeMap::new(),
        scores_after: BTreeMap::new(),
        claims,
        verdicts: Vec::new(),
        outputs: PerModality::default(),
    };
    Candidate { sample, lineage, attempt: 0 }
}

pub fn expected<const N: usize>(list: [(bool, &str); N]) -> Vec<(bool, String)> {
    list.into_iter().map(|(passed, reason)| (passed, reason.to_owned())).collect()
}
