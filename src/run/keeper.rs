//! Writes down what the main arm does, round by round: feeders, rejected candidates, models, the last scores.

use super::folder::Folder;
use crate::{
    context::FeedContext,
    error::{Error, Result},
    feed::{Feeder, Sink},
    mine::band_column,
    model::{ModelSet, Teachers},
    pipeline::{Plan, Split},
    record::{BandRecord, CandidateBalance, FigureRecord, ModelRecord, ModelRole, RejectedLine, ScoreLine, SelectedIn, Yield},
    sample::{Accepted, Column, Diagnosis, Label, SampleId, Score, ScoreTable},
    train::{Observer, Round},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{BufWriter, Write},
};

/// Name of the folder with the fed samples.
pub(super) const GENERATED: &str = "generated";

pub(super) struct Keeper<'a> {
    folder: &'a Folder,
    plan: &'a Plan,
    train: &'a Split,
    sinks: Vec<(String, Box<dyn Sink>)>,
    rejected: Vec<RejectedLine>,
    selected: HashMap<SampleId, Vec<SelectedIn>>,
    children: HashMap<SampleId, Vec<SampleId>>,
    last: Option<(ScoreTable, Vec<Diagnosis>)>,
    /// What goes into run.json.
    pub yields: Vec<Yield>,
    pub bands: Vec<BandRecord>,
    pub models: Vec<ModelRecord>,
    pub columns: Vec<Column>,
    pub figures: Vec<FigureRecord>,
}

impl<'a> Keeper<'a> {
    /// Opens the feeders of the plan, and the one that always writes `generated/`.
    pub fn new(folder: &'a Folder, plan: &'a Plan, train: &'a Split, generated: Box<dyn Feeder>) -> Result<Self> {
        let context = FeedContext { folder: folder.root(), classes: train.classes() };
        let mut sinks = vec![(GENERATED.to_owned(), generated.open(&context)?)];
        for stage in &plan.stages.feed {
            sinks.push((stage.info.id.clone(), stage.operator.open(&context).map_err(|error| error.at("stage", &stage.info.id))?));
        }
        Ok(Self {
            folder,
            plan,
            train,
            sinks,
            rejected: Vec::new(),
            selected: HashMap::new(),
            children: HashMap::new(),
            last: None,
            yields: Vec::new(),
            bands: Vec::new(),
            models: Vec::new(),
            columns: Vec::new(),
            figures: Vec::new(),
        })
    }

    fn keep_model(&mut self, model: &dyn crate::model::Model, role: ModelRole, round: Option<usize>, fold: Option<usize>) -> Result<()> {
        let digest = model.spec().digest.clone();
        if model.recorded().is_some() {
            // Recorded predictions have no weights.
            self.models.push(ModelRecord { digest, role, round, fold, file: None, notes: model.notes() });
            return Ok(());
        }
        let file = format!("models/{digest}.safetensors");
        if !self.folder.path(&file).exists() {
            self.folder.write_with(&file, |path| model.save(path))?;
        }
        self.models.push(ModelRecord { digest, role, round, fold, file: Some(file), notes: model.notes() });
        Ok(())
    }

    /// Keeps the models that judged or made a child.
    fn keep_models(&mut self, models: &ModelSet, round: usize, accepted: &[Accepted]) -> Result<()> {
        let judged: BTreeSet<&String> = accepted.iter().filter_map(|one| one.lineage().teacher.as_ref()).collect();
        // Also where it made none of them: the verifiers asked it.
        if !accepted.is_empty() {
            self.keep_model(models.subject.as_ref(), ModelRole::Subject, Some(round), None)?;
        }
        for (fold, teacher) in models.teachers.iter().flat_map(|teachers: &Teachers| teachers.models.iter().enumerate()) {
            let digest = &teacher.spec().digest;
            let known = self.models.iter().any(|model| model.role == ModelRole::Teacher && model.digest == *digest);
            if judged.contains(digest) && !known {
                self.keep_model(teacher.as_ref(), ModelRole::Teacher, None, Some(fold))?;
            }
        }
        Ok(())
    }

    /// Ends the feeders and writes `scores.jsonl`, `rejected.jsonl` and the sampler's files.
    pub fn finish(&mut self, fold_of: &HashMap<SampleId, usize>) -> Result<()> {
        for (name, sink) in self.sinks.drain(..) {
            sink.finish().map_err(|error| error.at("stage", name))?;
        }
        self.folder.write("rejected.jsonl", crate::record::write_lines(&self.rejected)?.as_bytes())?;
        let Some((table, diagnoses)) = self.last.take() else {
            return Err(Error::usage(
                "the budget of minutes ended the run before its first round: nothing was mined; raise `budget.minutes`",
            ));
        };
        // Every line is made when it is written: all of them at once would be many times the table.
        let lines = Lines {
            train: self.train,
            table: &table,
            columns: table.columns().collect(),
            diagnoses: &diagnoses,
            selected: &self.selected,
            children: &self.children,
            fold_of,
        };
        self.folder.write_with("scores.jsonl", |path| {
            let file = File::create(path).map_err(|error| Error::io(path, error))?;
            let mut output = BufWriter::with_capacity(1 << 20, file);
            crate::record::write_each(table.len(), |row| lines.line(row), &mut output).map_err(|error| error.at("file", path.display()))?;
            output.flush().map_err(|error| Error::io(path, error))
        })
    }

    /// The sum of all yields.
    pub fn candidates(&self) -> CandidateBalance {
        let mut all = CandidateBalance::default();
        self.yields.iter().for_each(|one| all.add(&one.balance));
        all
    }
}

/// What the lines of `scores.jsonl` are made of.
struct Lines<'a> {
    train: &'a Split,
    table: &'a ScoreTable,
    columns: Vec<(&'a Column, &'a [Score])>,
    diagnoses: &'a [Diagnosis],
    selected: &'a HashMap<SampleId, Vec<SelectedIn>>,
    children: &'a HashMap<SampleId, Vec<SampleId>>,
    fold_of: &'a HashMap<SampleId, usize>,
}

impl Lines<'_> {
    fn line(&self, row: usize) -> ScoreLine {
        let (of, diagnosis) = (&self.table.rows()[row], &self.diagnoses[row]);
        let classes = self.train.classes();
        let label = self.train.index(&of.id).and_then(|i| self.train.label(i));
        let mut scores = BTreeMap::new();
        let mut absent = BTreeMap::new();
        for (column, cells) in &self.columns {
            scores.insert(column.name.clone(), cells[row].get());
            if let Score::Absent(why) = &cells[row] {
                absent.insert(column.name.clone(), why.to_string());
            }
        }
        ScoreLine {
            id: of.id.clone(),
            label: of.class.map(|class| classes.name(class).to_owned()),
            soft: label.and_then(|label| if let Label::Soft(shares) = label { Some(shares.to_vec()) } else { None }),
            present: of.present,
            fold: self.fold_of.get(&of.id).copied(),
            scores,
            absent,
            reasons: diagnosis.reasons.clone(),
            judgement: diagnosis.judgement,
            weight: diagnosis.weight,
            treatment: diagnosis.treatment,
            suggested: diagnosis.suggested_class.map(|class| classes.name(class).to_owned()),
            selected: self.selected.get(&of.id).cloned().unwrap_or_default(),
            children: self.children.get(&of.id).cloned().unwrap_or_default(),
        }
    }
}

impl Observer for Keeper<'_> {
    fn round(&mut self, round: &Round<'_>) -> Result<()> {
        for selected in &round.selection.samples {
            let entry = SelectedIn {
                round: round.round,
                by: selected.by.clone(),
                score: selected.score,
                weight: selected.weight,
                loss_weight: (selected.loss_weight != 1.0).then_some(selected.loss_weight),
                polarity: selected.polarity,
                confused_with: selected.confused_with.map(|class| self.train.classes().name(class).to_owned()),
                positives: selected.positives.clone(),
                negatives: selected.negatives.clone(),
            };
            self.selected.entry(selected.id.clone()).or_default().push(entry);
        }
        for accepted in &round.harvest.accepted {
            if let Some(parent) = accepted.lineage().parents.first() {
                self.children.entry(parent.id.clone()).or_default().push(accepted.sample().id.clone());
            }
        }
        for (name, sink) in &mut self.sinks {
            sink.round(round.table, round.diagnoses, round.selection).map_err(|error| error.at("stage", &*name))?;
            for accepted in &round.harvest.accepted {
                sink.take(accepted).map_err(|error| error.at("stage", &*name))?;
            }
        }
        self.rejected.extend(round.harvest.rejected.iter().cloned());
        self.yields.extend(round.harvest.yields.iter().cloned());
        let column = |columns: Vec<String>| columns.first().and_then(|by| band_column(round.table, by)).map(str::to_owned);
        let column = self.plan.stages.mine.iter().find_map(|stage| column(stage.operator.requirements().columns));
        if let Some(column) = column {
            self.bands.push(BandRecord { round: round.round, column, band: round.selection.band });
        }
        self.figures.extend(round.figures.iter().map(|found| FigureRecord {
            round: round.round,
            stage: found.stage.clone(),
            values: found.values.clone(),
        }));
        self.columns = round.table.columns().map(|(column, _)| column.clone()).collect();
        self.keep_models(round.models, round.round, &round.harvest.accepted)?;
        self.last = Some((round.table.clone(), round.diagnoses.to_vec()));
        Ok(())
    }
}
