//! What a stage is given besides its samples: models, seeds, the frozen band, what is known of the data.

mod index;

pub use index::EmbeddingIndex;

use crate::{
    error::{Error, Result},
    model::{Input, Matrix, Model, ModelSet, Outputs, Recorded},
    random::SeedTree,
    sample::{
        Candidate, Claim, Classes, Diagnosis, DifficultyBand, Digest, Lineage, Modality, ModalitySet, ParentRef, PerModality, Sample,
        SampleId, ScoreTable, TrainingHistory,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

/// Whose embedding is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The fused embedding, the input of the last layer.
    #[default]
    Fused,
    /// The embedding of the image.
    Image,
    /// The embedding of the audio.
    Audio,
    /// The embedding of the text.
    Text,
}

impl Space {
    /// The modality, `None` for the fused embedding.
    pub fn modality(self) -> Option<Modality> {
        match self {
            Self::Fused => None,
            Self::Image => Some(Modality::Image),
            Self::Audio => Some(Modality::Audio),
            Self::Text => Some(Modality::Text),
        }
    }
}

impl From<Modality> for Space {
    fn from(modality: Modality) -> Self {
        match modality {
            Modality::Image => Self::Image,
            Modality::Audio => Self::Audio,
            Modality::Text => Self::Text,
        }
    }
}

/// Forward outputs for some of the samples of a batch.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// For each sample of the batch its row in `outputs`; `None` where it was not asked (a modality is missing).
    pub of: Vec<Option<usize>>,
    /// The outputs.
    pub outputs: Outputs,
}

impl Rows {
    /// Appends the samples of `other`, which holds the same kinds of answers.
    pub fn append(&mut self, other: Self) {
        let before = self.of.iter().flatten().count();
        self.of.extend(other.of.into_iter().map(|row| row.map(|row| before + row)));
        append(&mut self.outputs, other.outputs);
    }
    /// The samples of `keep`, in that order, each at most once; of their answers the embeddings of `embeddings`, and logits and fused embedding
    /// where they are wanted.
    pub fn pick(&self, keep: &[usize], logits: bool, fused: bool, embeddings: ModalitySet) -> Self {
        let rows: Vec<usize> = keep.iter().filter_map(|&i| self.of[i]).collect();
        let take =
            |matrix: &Matrix| Matrix { columns: matrix.columns, values: rows.iter().flat_map(|&row| matrix.row(row)).copied().collect() };
        let mut places = 0..rows.len();
        let of = keep.iter().map(|&i| self.of[i].and_then(|_| places.next())).collect();
        let outputs = Outputs {
            logits: if logits { take(&self.outputs.logits) } else { Matrix::default() },
            fused: self.outputs.fused.as_ref().filter(|_| fused).map(take),
            embeddings: PerModality::from_fn(|m| self.outputs.embeddings[m].as_ref().filter(|_| embeddings.has(m)).map(take)),
        };
        Self { of, outputs }
    }
    /// Fused logits of sample `i`.
    pub fn logits(&self, i: usize) -> Option<&[f32]> {
        self.of[i].map(|row| self.outputs.logits.row(row))
    }
    /// Embedding of one modality of sample `i`.
    pub fn embedding(&self, modality: Modality, i: usize) -> Option<&[f32]> {
        Some(self.outputs.embeddings[modality].as_ref()?.row(self.of[i]?))
    }
    /// Fused embedding of sample `i`.
    pub fn fused(&self, i: usize) -> Option<&[f32]> {
        Some(self.outputs.fused.as_ref()?.row(self.of[i]?))
    }
    /// The embeddings of `space`, where these are the answers to all rows of `table`: the rows that have one, the numbers a row, and the rows side by side.
    pub fn vectors(&self, table: &ScoreTable, space: Space) -> (Vec<usize>, usize, Vec<f32>) {
        if self.of.len() != table.len() {
            return (Vec::new(), 0, Vec::new());
        }
        let of = |row: usize| match space.modality() {
            None => self.fused(row),
            Some(modality) if table.rows()[row].present.has(modality) => self.embedding(modality, row),
            Some(_) => None,
        };
        let rows: Vec<usize> = (0..table.len()).filter(|&row| of(row).is_some()).collect();
        let dim = rows.first().and_then(|&row| of(row)).map_or(0, <[f32]>::len);
        let values = rows.iter().filter_map(|&row| of(row)).flatten().copied().collect();
        (rows, dim, values)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Subject,
    Teacher,
    /// The teacher of a fold.
    Fold(usize),
    /// A recorded member of an ensemble.
    Member(usize),
}

/// Forward passes over one batch of samples, each run once however many stages ask for it.
pub struct Forwards<'a> {
    models: &'a ModelSet,
    samples: &'a [Sample],
    /// Ids by which a teacher is found: of the sample itself, or of its parent for a candidate.
    origins: Vec<SampleId>,
    inputs: OnceLock<Vec<Input>>,
    cache: Mutex<HashMap<(Who, Option<ModalitySet>), Arc<Rows>>>,
}

impl<'a> Forwards<'a> {
    /// For samples of the data set.
    pub fn new(models: &'a ModelSet, samples: &'a [Sample]) -> Self {
        let origins = samples.iter().map(|sample| sample.id.clone()).collect();
        Self::with_origins(models, samples, origins)
    }
    /// For samples that descend from `origins`: a teacher is the one of the origin's fold.
    pub fn with_origins(models: &'a ModelSet, samples: &'a [Sample], origins: Vec<SampleId>) -> Self {
        Self { models, samples, origins, inputs: OnceLock::new(), cache: Mutex::default() }
    }
    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        self.samples
    }
    /// The models.
    pub fn models(&self) -> &ModelSet {
        self.models
    }
    /// Which modalities sample `i` has: those of its media, or where only predictions are at hand, those they speak of.
    pub fn present(&self, i: usize) -> ModalitySet {
        let recorded = self.models.subject.recorded().and_then(|recorded| recorded.present(&self.samples[i].id));
        recorded.unwrap_or_else(|| self.samples[i].present())
    }
    /// The samples as model inputs, converted once.
    pub fn inputs(&self) -> &[Input] {
        self.inputs.get_or_init(|| self.samples.iter().map(Input::of).collect())
    }
    /// The subject on all present modalities.
    pub fn subject(&self) -> Result<Arc<Rows>> {
        self.run(Who::Subject, None)
    }
    /// The subject on exactly the modalities of `keep`; rows only for samples that have all of them.
    pub fn subject_on(&self, keep: ModalitySet) -> Result<Arc<Rows>> {
        self.run(Who::Subject, Some(keep))
    }
    /// Each sample by the teacher that never saw its group, on all present modalities; no row for a sample in no fold.
    pub fn teacher(&self) -> Result<Arc<Rows>> {
        self.run(Who::Teacher, None)
    }
    /// Several voices on all present modalities: recorded members where there are any; else the subject and every teacher (which also answers for the
    /// samples it was trained on). A recorded model without members and without a teacher of its own is one voice.
    pub fn ensemble(&self) -> Result<Vec<Arc<Rows>>> {
        match self.models.subject.recorded().map_or(0, Recorded::members) {
            0 => {
                let folds = self.models.teachers.as_ref().filter(|_| !self.one_voice()).map_or(0, |teachers| teachers.models.len());
                std::iter::once(self.subject()).chain((0..folds).map(|fold| self.run(Who::Fold(fold), None))).collect()
            }
            members => (0..members).map(|k| self.run(Who::Member(k), None)).collect(),
        }
    }
    /// Whether recorded predictions stand in for subject and teacher at once, so that comparing the two says nothing.
    pub fn one_voice(&self) -> bool {
        let own = &self.models.subject.spec().digest;
        let teachers = self.models.teachers.iter().flat_map(|teachers| &teachers.models);
        self.models.subject.recorded().is_some() && teachers.into_iter().all(|teacher| teacher.spec().digest == *own)
    }
    /// The teacher on exactly the modalities of `keep`.
    pub fn teacher_on(&self, keep: ModalitySet) -> Result<Arc<Rows>> {
        self.run(Who::Teacher, Some(keep))
    }

    fn run(&self, who: Who, keep: Option<ModalitySet>) -> Result<Arc<Rows>> {
        let cached = |cache: &Mutex<HashMap<_, Arc<Rows>>>| cache.lock().unwrap_or_else(|e| e.into_inner()).get(&(who, keep)).cloned();
        if let Some(rows) = cached(&self.cache) {
            return Ok(rows);
        }
        let wanted: Vec<usize> = (0..self.samples.len()).filter(|&i| keep.is_none_or(|keep| self.present(i).contains(keep))).collect();
        let mut rows = Rows { of: vec![None; self.samples.len()], outputs: Outputs::default() };
        let untrained = || Error::usage("no teachers were trained: add `score: { out_of_fold: {} }`");
        match who {
            Who::Subject => self.ask(self.models.subject.as_ref(), wanted, keep, &mut rows)?,
            Who::Member(k) => {
                let recorded = self.models.subject.recorded().ok_or_else(|| Error::internal("a member of no recorded ensemble"))?;
                let (answered, outputs) = recorded.answer_of_member(wanted.into_iter().map(|i| (i, &self.samples[i].id)), k);
                take_in(&mut rows, answered, outputs);
            }
            Who::Fold(fold) => {
                let teachers = self.models.teachers.as_ref().ok_or_else(untrained)?;
                let unknown = || Error::usage(format!("there are {} teachers, and none is number {fold}", teachers.models.len()));
                self.ask(teachers.models.get(fold).ok_or_else(unknown)?.as_ref(), wanted, keep, &mut rows)?;
            }
            Who::Teacher => {
                let teachers = self.models.teachers.as_ref().ok_or_else(untrained)?;
                for (fold, model) in teachers.models.iter().enumerate() {
                    let mine = wanted.iter().copied().filter(|&i| teachers.fold_of.get(&self.origins[i]) == Some(&fold)).collect();
                    self.ask(model.as_ref(), mine, keep, &mut rows)?;
                }
            }
        }
        let rows = Arc::new(rows);
        self.cache.lock().unwrap_or_else(|e| e.into_inner()).insert((who, keep), rows.clone());
        Ok(rows)
    }

    /// Adds the answers of one model for the samples `wanted`.
    fn ask(&self, model: &dyn Model, wanted: Vec<usize>, keep: Option<ModalitySet>, rows: &mut Rows) -> Result<()> {
        let (answered, outputs) = match model.recorded() {
            Some(recorded) => recorded.answer(wanted.into_iter().map(|i| (i, &self.samples[i].id)), keep),
            None if wanted.is_empty() => return Ok(()),
            None => {
                let input = |i: &usize| keep.map_or_else(|| self.inputs()[*i].clone(), |keep| self.inputs()[*i].only(keep));
                let inputs: Vec<Input> = wanted.iter().map(input).collect();
                let outputs = model.forward(&inputs)?;
                (wanted, outputs)
            }
        };
        take_in(rows, answered, outputs);
        Ok(())
    }
}

/// Adds outputs of the samples `answered`.
fn take_in(rows: &mut Rows, answered: Vec<usize>, outputs: Outputs) {
    if !answered.is_empty() {
        let first = rows.outputs.logits.rows();
        append(&mut rows.outputs, outputs);
        answered.into_iter().enumerate().for_each(|(row, i)| rows.of[i] = Some(first + row));
    }
}

fn append(to: &mut Outputs, from: Outputs) {
    let join = |to: &mut Matrix, from: Matrix| {
        to.columns = from.columns;
        to.values.extend(from.values);
    };
    let join_optional = |to: &mut Option<Matrix>, from: Option<Matrix>| {
        if let Some(from) = from {
            join(to.get_or_insert_default(), from);
        }
    };
    join(&mut to.logits, from.logits);
    join_optional(&mut to.fused, from.fused);
    let PerModality { image, audio, text } = from.embeddings;
    join_optional(&mut to.embeddings.image, image);
    join_optional(&mut to.embeddings.audio, audio);
    join_optional(&mut to.embeddings.text, text);
}

/// What a scorer is given: one batch.
pub struct ScoreContext<'a> {
    /// The batch and its forward passes.
    pub forwards: &'a Forwards<'a>,
    /// Training dynamics, where a warm-up collected them.
    pub history: Option<&'a TrainingHistory>,
    /// Seeds of this stage.
    pub seeds: SeedTree,
}

/// What a scorer of the whole split is given.
pub struct TableContext<'a> {
    /// All rows, with the columns known so far.
    pub table: &'a ScoreTable,
    /// Answers of the models to all samples.
    pub answers: &'a Answers,
    /// Seeds of this stage.
    pub seeds: SeedTree,
}

/// Answers of the models to all samples at once, as far as a stage asked to keep them (`Requirements::kept`).
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The subject's, by row of the score table. What was not asked for is empty.
    pub subject: Rows,
    /// The out-of-fold teachers', by row of the score table.
    pub teacher: Rows,
    /// The subject's on the validation split, by sample.
    pub validation: Rows,
    /// Class of each validation sample, where it is labelled.
    pub validation_classes: Vec<Option<usize>>,
}

/// What a miner is told besides the numbers.
#[derive(Debug, Clone)]
pub struct MineContext<'a> {
    /// Stage id; written into [`crate::sample::Selected::by`].
    pub stage: &'a str,
    /// Round, from 1.
    pub round: usize,
    /// Rounds of the training, at least 1.
    pub rounds: usize,
    /// Mean training loss of each epoch so far, the warm-up's first; empty where nothing is trained.
    pub losses: &'a [f64],
    /// Answers of the models to all samples, as far as [`crate::operator::Requirements::kept`] asks for them.
    pub answers: &'a Answers,
    /// Seeds of this round and stage; add the sample.
    pub seeds: SeedTree,
}

impl MineContext<'_> {
    /// Share of the rounds that are over, `0..1`: 0 in the first round.
    pub fn progress(&self) -> f64 {
        self.round.saturating_sub(1) as f64 / self.rounds.max(self.round).max(1) as f64
    }
}

/// Access to samples of the training set by id.
pub trait Fetch: Sync {
    /// Reads one sample with its media.
    fn fetch(&self, id: &SampleId) -> Result<Sample>;
}

/// Which operator is at work, for lineages and verdicts.
#[derive(Debug, Clone)]
pub struct StageInfo {
    /// Stage id.
    pub id: String,
    /// Name of the operator.
    pub operator: &'static str,
    /// Its version.
    pub version: u32,
    /// Digest of its resolved config.
    pub config: Digest,
}

/// A chosen sample with what is known of it.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The sample with its media.
    pub sample: Sample,
    /// Row in the score table.
    pub row: usize,
    /// Reasons and judgement.
    pub diagnosis: Diagnosis,
    /// Weight of the selection.
    pub weight: f32,
    /// Its known scores.
    pub scores: BTreeMap<String, f32>,
}

impl Parent {
    /// The score called `name`, or else that of the first stage with an id (`stage.name`).
    pub fn score(&self, name: &str) -> Option<f32> {
        let of_stage = |own: &str| own.strip_suffix(name).is_some_and(|stage| stage.ends_with('.'));
        self.scores.get(name).or_else(|| self.scores.iter().find(|(own, _)| of_stage(own)).map(|(_, score)| score)).copied()
    }
}

/// What a generator is given.
pub struct GenerateContext<'a> {
    /// Subject and teachers.
    pub models: &'a ModelSet,
    /// Seeds of this round and stage; add the sample and the variant.
    pub seeds: SeedTree,
    /// Round, from 1.
    pub round: usize,
    /// The stage.
    pub stage: &'a StageInfo,
    /// Where neighbours should land; `None` generates without a search.
    pub band: Option<DifficultyBand>,
    /// Scores of all training samples.
    pub table: &'a ScoreTable,
    /// Diagnoses of all rows.
    pub diagnoses: &'a [Diagnosis],
    /// Embeddings of all rows, where the operator asked for them.
    pub index: Option<&'a EmbeddingIndex>,
    /// Partners are fetched here.
    pub fetch: &'a dyn Fetch,
    /// Class names.
    pub classes: &'a Classes,
}

impl GenerateContext<'_> {
    /// The child's id: unique in a run and the same in every run.
    pub fn child_id(&self, parent: &SampleId, variant: usize) -> SampleId {
        SampleId::new(format!("{parent}~{}.r{}.{variant}", self.stage.id, self.round))
    }

    /// A candidate with its lineage begun; the runner fills in scores, verdicts and outputs.
    pub fn candidate(&self, parent: &Parent, draft: Draft<'_>) -> Candidate {
        let Draft { mut child, partners, variant, seeds, parameters, claims, uses_model } = draft;
        child.id = self.child_id(&parent.sample.id, variant);
        let reference = |sample: &Sample| ParentRef { id: sample.id.clone(), digests: sample.digests() };
        let lineage = Lineage {
            child: child.id.clone(),
            parents: std::iter::once(&parent.sample).chain(partners.iter().copied()).map(reference).collect(),
            round: self.round,
            stage: self.stage.id.clone(),
            operator: self.stage.operator.to_owned(),
            version: self.stage.version,
            config: self.stage.config,
            seed: seeds.path().clone(),
            parameters,
            model: uses_model.then(|| self.models.subject.spec().digest.clone()),
            teacher: None,
            scores_before: parent.scores.clone(),
            scores_after: BTreeMap::new(),
            claims,
            verdicts: Vec::new(),
            outputs: PerModality::default(),
        };
        Candidate { sample: child, lineage, attempt: parent.row as u64 }
    }
}

/// What a generator hands over for a [`Candidate`].
pub struct Draft<'a> {
    /// The child; its id is set by [`GenerateContext::candidate`].
    pub child: Sample,
    /// Further parents.
    pub partners: Vec<&'a Sample>,
    /// Which variant of the attempt, unique for parent, stage and round.
    pub variant: usize,
    /// The node all draws came from.
    pub seeds: &'a SeedTree,
    /// The drawn parameters: enough for [`crate::generate::Generator::replay`].
    pub parameters: Value,
    /// What is claimed.
    pub claims: Vec<Claim>,
    /// Whether the subject model made the child, so that a replay needs it.
    pub uses_model: bool,
}

/// What a replay is given: the samples the lineage names, and the model that made the child.
pub struct ReplayContext<'a> {
    /// The parent first, then the partners.
    pub parents: &'a [Sample],
    /// The model of the lineage's `model` digest, where there was one.
    pub models: Option<&'a ModelSet>,
    /// The node of the lineage's seed path.
    pub seeds: SeedTree,
}

/// A candidate on the bench: written and read back, with its parent.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The candidate.
    pub candidate: &'a Candidate,
    /// Its first parent.
    pub parent: &'a Parent,
}

/// Digests of media that are already known, by split.
#[derive(Debug, Clone, Default)]
pub struct KnownMedia {
    /// Of validation: `(modality, digest)`.
    pub validation: HashSet<(Modality, Digest)>,
    /// Of test: exact digests only, and every hit is counted.
    pub test: HashSet<(Modality, Digest)>,
    /// Of children fed in earlier rounds and stages: digests of all media of a child together.
    pub children: HashSet<PerModality<Option<Digest>>>,
}

/// What a verifier is given.
pub struct VerifyContext<'a> {
    /// Forward passes over the written candidates, in the order of the candidates; teachers are those of the first parents.
    pub forwards: &'a Forwards<'a>,
    /// Forward passes over the parents, in the order of the candidates.
    pub parents: &'a Forwards<'a>,
    /// The round's frozen band.
    pub band: Option<DifficultyBand>,
    /// The verifier's stage id.
    pub stage: &'a str,
    /// What is known of the splits.
    pub known: &'a KnownMedia,
    /// Embeddings of train and validation, where the verifier asked for them.
    pub index: Option<&'a EmbeddingIndex>,
}

/// What a feeder is given when a run, or an arm of it, begins.
pub struct FeedContext<'a> {
    /// Folder that the feeder may write to.
    pub folder: &'a Path,
    /// Class names.
    pub classes: &'a Classes,
}
