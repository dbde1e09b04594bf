//! What every operator of the registry does with real media and a small trained model: nothing is drawn from outside its address, the order
//! and the number of threads do not matter, parents stay as they are, a missing modality is no accident, and a child can be made again.

use hardmine::{
    codec,
    context::{
        Answers, EmbeddingIndex, FeedContext, Fetch, Forwards, GenerateContext, Judged, KnownMedia, MineContext, Parent, ReplayContext,
        Rows, ScoreContext, StageInfo, TableContext, VerifyContext,
    },
    error::{Error, Result},
    generate::Generator,
    model::{Input, Model, ModelSet, ModelSource, Opened, Teachers, TrainingBatch, linear::Linear},
    operator::{Built, Table},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, profile},
    registry::Registry,
    run::spec,
    sample::{
        Candidate, Classes, Diagnosis, DifficultyBand, Digest, Modality, ModalitySet, PerModality, Reason, ReasonCode, Sample, SampleId,
        ScoreTable, Selection, TableRow, TrainingHistory,
    },
};
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

const SAMPLES: usize = 18;

struct World {
    models: ModelSet,
    samples: Vec<Sample>,
    history: TrainingHistory,
    table: ScoreTable,
    diagnoses: Vec<Diagnosis>,
    index: EmbeddingIndex,
    classes: Classes,
}

impl Fetch for World {
    fn fetch(&self, id: &SampleId) -> Result<Sample> {
        self.samples.iter().find(|sample| sample.id == *id).cloned().ok_or_else(|| Error::data("no such sample").at("sample", id))
    }
}

fn examples<F: ?Sized>(table: &Table<F>) -> Vec<Built<F>> {
    let build = |(name, entry): (&str, &hardmine::operator::Entry<F>)| {
        let config = spec::value(entry.example).unwrap_or_else(|finding| panic!("{name}: {}", finding.problem));
        table.build(&json!({ name: config })).unwrap_or_else(|problems| panic!("{}", problems[0]))
    };
    table.entries().map(build).collect()
}

fn linear() -> Linear {
    serde_json::from_value(json!({})).unwrap()
}

impl World {
    /// Made once: some digits, a linear model after some steps on them as subject and as the only teacher, and the scores of every shipped scorer.
    fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::make)
    }
    fn make() -> Self {
        let source = Manifest::new("builtin:digits/train.jsonl").open(Path::new(".")).unwrap();
        let labels = LabelIndex::of(source.entries());
        let classes = labels.classes().clone();
        // As many of each of the first three classes, so that every sample has neighbours of its class.
        let label = |i: usize| labels.resolve(&source.entries()[i]).unwrap();
        let of_class = |class: usize| (0..source.entries().len()).filter(move |i| label(*i).is_some_and(|label| label.class() == class));
        let chosen = (0..3).flat_map(|class| of_class(class).take(SAMPLES / 3).collect::<Vec<_>>());
        let samples: Vec<Sample> = chosen.map(|i| Sample { label: label(i), ..source.fetch(i).unwrap() }).collect();
        let profile = profile(source.as_ref(), &classes).unwrap();
        let seeds = SeedTree::new(7);
        let Opened::Trainable(mut trainer) = linear().open(&profile, &seeds).unwrap() else { panic!("linear is trainable") };
        let inputs: Vec<Input> = samples.iter().map(Input::of).collect();
        let targets: Vec<_> = samples.iter().map(|sample| sample.label.clone().unwrap()).collect();
        let mut history = TrainingHistory::default();
        for _ in 0..4 {
            let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; SAMPLES], learning_rate: 0.01 };
            let seen = trainer.step(&batch).unwrap();
            for (i, sample) in samples.iter().enumerate() {
                history.rows.entry(sample.id.clone()).or_default().observe(seen.logits.row(i), targets[i].class());
            }
        }
        let model: Arc<dyn Model> = trainer.freeze().unwrap();
        let fold_of = samples.iter().map(|sample| (sample.id.clone(), 0)).collect();
        let teachers = Teachers { models: vec![model.clone()], fold_of };
        let models = ModelSet { subject: model.clone(), teachers: Some(teachers) };
        let outputs = model.forward(&inputs).unwrap();
        let embedding =
            |m: Modality, i: usize| outputs.embeddings[m].as_ref().filter(|_| samples[i].present().has(m)).map(|e| e.row(i).into());
        let train = (0..SAMPLES).map(|i| PerModality::from_fn(|m| embedding(m, i))).collect();
        let table = table(&samples, &models, &history, classes.len());
        let mut diagnoses = vec![Diagnosis::clear(); SAMPLES];
        for (i, diagnosis) in diagnoses.iter_mut().enumerate() {
            let codes =
                [ReasonCode::NearBoundary, ReasonCode::SingleModalityReliance, ReasonCode::AudioDegraded, ReasonCode::ImageDegraded];
            let modality = Some(Modality::ALL[i % 3]);
            diagnosis.reasons.push(Reason { code: codes[i % 4], strength: 1.0, evidence: Default::default(), modality });
        }
        Self { models, history, table, diagnoses, index: EmbeddingIndex { train, ..EmbeddingIndex::default() }, classes, samples }
    }

    fn parents(&self) -> Vec<Parent> {
        let parent = |(row, sample): (usize, &Sample)| Parent {
            sample: sample.clone(),
            row,
            diagnosis: self.diagnoses[row].clone(),
            weight: 1.0,
            scores: Default::default(),
        };
        self.samples.iter().enumerate().map(parent).collect()
    }

    fn generate(&self, built: &Built<dyn Generator>, parents: &[Parent]) -> Result<Vec<Candidate>> {
        let stage = StageInfo { id: built.name.into(), operator: built.name, version: built.version, config: Digest::of(b"") };
        let context = GenerateContext {
            models: &self.models,
            seeds: SeedTree::new(7).round(1).stage(built.name),
            round: 1,
            stage: &stage,
            band: Some(DifficultyBand { low: 0.3, high: 2.2 }),
            table: &self.table,
            diagnoses: &self.diagnoses,
            index: Some(&self.index),
            fetch: self,
            classes: &self.classes,
        };
        built.operator.generate(parents, &context).map(|made| made.candidates)
    }
}

fn table(samples: &[Sample], models: &ModelSet, history: &TrainingHistory, classes: usize) -> ScoreTable {
    let row = |(group, sample): (usize, &Sample)| TableRow {
        id: sample.id.clone(),
        class: sample.label.as_ref().map(|label| label.class()),
        present: sample.present(),
        group,
        fields: sample.fields.clone(),
    };
    let mut table = ScoreTable::new(samples.iter().enumerate().map(row).collect(), classes).unwrap();
    let forwards = Forwards::new(models, samples);
    for built in examples(&Registry::default().scorers) {
        let context = ScoreContext { forwards: &forwards, history: Some(history), seeds: SeedTree::new(7) };
        let scores = built.operator.score(&context).unwrap_or_else(|error| panic!("{}: {error}", built.name));
        let columns = built.operator.columns();
        assert_eq!(columns.len(), scores.len(), "{}", built.name);
        columns.into_iter().zip(scores).for_each(|(column, scores)| table.add(column, scores).unwrap());
    }
    table
}

/// The same scores of samples without a label.
fn unlabelled(table: &ScoreTable) -> ScoreTable {
    let rows = table.rows().iter().map(|row| TableRow { class: None, ..row.clone() }).collect();
    let mut without = ScoreTable::new(rows, table.classes()).unwrap();
    table.columns().for_each(|(column, scores)| without.add(column.clone(), scores.to_vec()).unwrap());
    without
}

/// What tells two candidates apart.
fn signature(candidates: Vec<Candidate>) -> Vec<(String, PerModality<Option<Digest>>, String)> {
    let one = |candidate: Candidate| {
        let settled = codec::settle(candidate.sample).unwrap();
        (settled.id.to_string(), settled.digests(), candidate.lineage.parameters.to_string())
    };
    let mut all: Vec<_> = candidates.into_iter().map(one).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn scores_depend_on_the_sample_alone() {
    let world = World::get();
    let alone: Vec<ScoreTable> =
        world.samples.iter().map(|s| table(std::slice::from_ref(s), &world.models, &world.history, world.classes.len())).collect();
    for (column, scores) in world.table.columns() {
        for (row, score) in scores.iter().enumerate() {
            assert_eq!(alone[row].column(&column.name).unwrap()[0], *score, "{} of {}", column.name, world.samples[row].id);
        }
    }
    let none = table(&[], &world.models, &world.history, world.classes.len());
    assert_eq!(none.columns().count(), world.table.columns().count());
}

#[test]
fn a_missing_modality_is_scored_or_absent() {
    let world = World::get();
    for keep in ModalitySet::ALL.subsets() {
        let fewer: Vec<Sample> =
            world.samples.iter().map(|sample| sample.only(keep)).filter(|sample| !sample.present().is_empty()).collect();
        // Every number is finite: the table refuses others.
        table(&fewer, &world.models, &world.history, world.classes.len());
    }
}

#[test]
fn miners_and_diagnosers_follow_the_numbers_and_not_the_order() {
    let world = World::get();
    let registry = Registry::default();
    let mut backwards = world.samples.clone();
    backwards.reverse();
    let reversed = table(&backwards, &world.models, &world.history, world.classes.len());
    // With the columns that look at all samples at once.
    let whole = |table: &ScoreTable, answers: &Answers| {
        let mut whole = table.clone();
        for built in examples(&registry.scorers) {
            // What needs more than these answers is not there; who needs it tells so.
            let found = built.operator.score_table(&TableContext { table, answers, seeds: SeedTree::new(7) }).unwrap_or_default();
            built.operator.table_columns().into_iter().zip(found.columns).for_each(|(column, scores)| whole.add(column, scores).unwrap());
        }
        whole
    };
    let answers = |samples: &[Sample]| {
        let forwards = Forwards::new(&world.models, samples);
        let of = |rows: Result<Arc<Rows>>| Rows::clone(&rows.unwrap());
        Answers { subject: of(forwards.subject()), teacher: of(forwards.teacher()), ..Answers::default() }
    };
    let empty = table(&[], &world.models, &world.history, world.classes.len());
    let judged = vec![Diagnosis::clear(); SAMPLES];
    let (all, turned) = (answers(&world.samples), answers(&backwards));
    let context =
        |answers| MineContext { stage: "m", round: 1, rounds: 1, losses: &[], answers, seeds: SeedTree::new(7).round(1).stage("m") };
    let nothing = Answers::default();
    for built in examples(&registry.miners) {
        let ids = |selection: Selection| {
            let mut ids: Vec<_> = selection.samples.into_iter().map(|one| (one.id, one.weight.to_bits())).collect();
            ids.sort();
            ids
        };
        // What asks for labels looks at samples that have none.
        let (forward, reversed) =
            if built.name == "query" { (unlabelled(&world.table), unlabelled(&reversed)) } else { (world.table.clone(), reversed.clone()) };
        let chosen = ids(built.operator.mine(&forward, &judged, &context(&all)).unwrap());
        assert!(!chosen.is_empty(), "{} chose nothing", built.name);
        assert_eq!(ids(built.operator.mine(&reversed, &judged, &context(&turned)).unwrap()), chosen, "{}", built.name);
        // Of nothing, nothing is chosen, or it is said.
        assert!(
            built.operator.mine(&empty, &[], &context(&nothing)).map_or(true, |selection| selection.samples.is_empty()),
            "{}",
            built.name
        );
    }
    for built in examples(&registry.diagnosers) {
        let found = |table: &ScoreTable, answers: &Answers| {
            let found = built.operator.findings(&whole(table, answers), answers);
            found.unwrap_or_else(|error| panic!("{}: {error}", built.name)).diagnoses
        };
        let mut back = found(&reversed, &answers(&backwards));
        let found = found(&world.table, &answers(&world.samples));
        back.reverse();
        assert_eq!(back, found, "{}", built.name);
        let none = built.operator.findings(&empty, &Answers::default());
        assert!(none.map_or(true, |found| found.diagnoses.is_empty()), "{}", built.name);
    }
}

#[test]
fn children_depend_on_their_address_alone_and_can_be_made_again() {
    let world = World::get();
    let parents = world.parents();
    let before: Vec<_> = parents.iter().map(|parent| parent.sample.digests()).collect();
    for built in examples(&Registry::default().generators) {
        let name = built.name;
        assert!(world.generate(&built, &[]).unwrap().is_empty(), "{name} makes something of nothing");
        let made = world.generate(&built, &parents).unwrap();
        assert!(!made.is_empty(), "{name} makes nothing of {SAMPLES} samples");
        let expected = signature(made.clone());
        let mut reversed = parents.clone();
        reversed.reverse();
        assert_eq!(signature(world.generate(&built, &reversed).unwrap()), expected, "{name}: the order matters");
        let single = parents.iter().flat_map(|parent| world.generate(&built, std::slice::from_ref(parent)).unwrap()).collect();
        assert_eq!(signature(single), expected, "{name}: the batch matters");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(signature(pool.install(|| world.generate(&built, &parents).unwrap())), expected, "{name}: threads matter");
        assert_eq!(parents.iter().map(|parent| parent.sample.digests()).collect::<Vec<_>>(), before, "{name} changed a parent");
        for candidate in made {
            let lineage = &candidate.lineage;
            let named: Vec<Sample> = lineage.parents.iter().map(|parent| world.fetch(&parent.id).unwrap()).collect();
            let context = ReplayContext { parents: &named, models: Some(&world.models), seeds: SeedTree::at(&lineage.seed) };
            let again = built.operator.replay(&lineage.parameters, &context).unwrap_or_else(|error| panic!("{name}: {error}"));
            let of = |sample: Sample| {
                let sample = codec::settle(sample).unwrap();
                (sample.digests(), sample.label, sample.annotations, sample.fields)
            };
            assert_eq!(of(again), of(candidate.sample.clone()), "{name}: {} differs when replayed", lineage.child);
        }
    }
}

#[test]
fn the_order_of_the_manifest_chooses_no_partner() {
    let world = World::get();
    let samples: Vec<Sample> = world.samples.iter().rev().cloned().collect();
    let turned = World {
        models: world.models.clone(),
        history: world.history.clone(),
        table: table(&samples, &world.models, &world.history, world.classes.len()),
        diagnoses: world.diagnoses.iter().rev().cloned().collect(),
        index: EmbeddingIndex { train: world.index.train.iter().rev().cloned().collect(), ..EmbeddingIndex::default() },
        classes: world.classes.clone(),
        samples,
    };
    let registry = Registry::default();
    let drawing = [
        json!({ "augment": { "transforms": [{ "cutmix": {} }, { "babble": { "voices": 2 } }], "variants": 4 } }),
        json!({ "modality_dropout": { "aim": "random", "replacement": "other" } }),
        json!({ "latent": { "kind": "resample", "modalities": ["image"] } }),
        json!({ "latent": { "kind": "delta", "modalities": ["image"] } }),
        json!({ "latent": { "kind": "smote", "modalities": ["image"] } }),
        json!({ "latent": { "kind": "class_covariance", "modalities": ["image"] } }),
    ];
    let drawing = drawing.iter().map(|config| registry.generators.build(config).unwrap_or_else(|problems| panic!("{}", problems[0])));
    for built in examples(&registry.generators).into_iter().chain(drawing) {
        let (made, other) = (world.generate(&built, &world.parents()).unwrap(), turned.generate(&built, &turned.parents()).unwrap());
        assert!(!made.is_empty(), "{} {}", built.name, built.config);
        assert_eq!(signature(other), signature(made), "{} {}", built.name, built.config);
    }
}

#[test]
fn a_missing_modality_is_served_refused_or_left_alone() {
    let world = World::get();
    for built in examples(&Registry::default().generators) {
        for keep in ModalitySet::ALL.subsets() {
            let mut parents = world.parents();
            parents.truncate(4);
            parents.iter_mut().for_each(|parent| parent.sample = parent.sample.only(keep));
            parents.retain(|parent| !parent.sample.present().is_empty());
            for candidate in world.generate(&built, &parents).into_iter().flatten() {
                assert!(keep.contains(candidate.sample.present()), "{} invents a modality from {keep}", built.name);
                assert!(!candidate.sample.present().is_empty(), "{} leaves nothing of {keep}", built.name);
            }
        }
    }
}

#[test]
fn verifiers_judge_each_candidate_alone() {
    let world = World::get();
    let registry = Registry::default();
    let parents = world.parents();
    let mut candidates: Vec<Candidate> =
        examples(&registry.generators).iter().flat_map(|built| world.generate(built, &parents).unwrap()).collect();
    candidates.iter_mut().for_each(|candidate| candidate.sample = codec::settle(candidate.sample.clone()).unwrap());
    let known = KnownMedia::default();
    for built in examples(&registry.verifiers) {
        let judge = |candidates: &[Candidate]| {
            let parent = |candidate: &Candidate| parents.iter().find(|parent| parent.sample.id == candidate.lineage.parents[0].id).unwrap();
            let judged: Vec<Judged> = candidates.iter().map(|candidate| Judged { candidate, parent: parent(candidate) }).collect();
            let written: Vec<Sample> = candidates.iter().map(|candidate| candidate.sample.clone()).collect();
            let origins: Vec<Sample> = judged.iter().map(|judged| judged.parent.sample.clone()).collect();
            let forwards = Forwards::with_origins(&world.models, &written, origins.iter().map(|origin| origin.id.clone()).collect());
            let context = VerifyContext {
                forwards: &forwards,
                parents: &Forwards::new(&world.models, &origins),
                band: Some(DifficultyBand { low: 0.3, high: 2.2 }),
                stage: built.name,
                known: &known,
                index: Some(&world.index),
            };
            let verdicts = built.operator.verify(&judged, &context).unwrap_or_else(|error| panic!("{}: {error}", built.name));
            assert_eq!(verdicts.len(), candidates.len(), "{}", built.name);
            assert!(verdicts.iter().all(|verdict| verdict.verifier == built.name && !verdict.reason.is_empty()), "{}", built.name);
            verdicts
        };
        assert!(judge(&[]).is_empty());
        let together = judge(&candidates);
        assert!(together.iter().any(|verdict| verdict.passed), "{} passes none of {}", built.name, candidates.len());
        let first = judge(&candidates[..1]);
        assert_eq!(first[0], together[0], "{}: the neighbours in the batch matter", built.name);
    }
}

#[test]
fn feeders_end_well_without_a_sample() {
    let world = World::get();
    for built in examples(&Registry::default().feeders) {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = built.operator.open(&FeedContext { folder: folder.path(), classes: &world.classes }).unwrap();
        sink.round(&world.table, &world.diagnoses, &Selection::default()).unwrap();
        let receipt = sink.finish().unwrap();
        assert_eq!(receipt.taken, 0, "{}", built.name);
        for file in &receipt.files {
            assert!(folder.path().join(file).is_file(), "{}: {file} was promised", built.name);
        }
    }
}
