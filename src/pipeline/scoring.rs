use super::{PlanStage, Split, Stages};
use crate::{
    context::{Answers, EmbeddingIndex, Forwards, MineContext, Rows, ScoreContext, TableContext},
    diagnose::Findings,
    error::{Error, ErrorKind, Result},
    model::{Matrix, ModelSet},
    operator::Kept,
    progress::Progress,
    random::SeedTree,
    sample::{
        Column, Diagnoses, Diagnosis, Digest, Label, Modality, ModalitySet, PerModality, Sample, SampleId, Score, ScoreTable, Selection,
        TableRow, TrainingHistory,
    },
    score::Scorer,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Samples scored together; a constant, so that nothing depends on it.
const BATCH: usize = 128;

/// What pass 1 leaves of a round: numbers, no media.
pub struct Scored {
    /// Scores of every sample that could be scored.
    pub table: ScoreTable,
    /// Embeddings, where a stage asked for them; `train` by row of the table.
    pub index: Option<EmbeddingIndex>,
    /// Answers that scorers of the whole split asked for, by row of the table; the caller adds those on validation.
    pub answers: Answers,
    /// Samples that could not be scored: id, stage id, error.
    pub left_out: Vec<(SampleId, String, Error)>,
}

/// Figures of the whole split that a scoring stage found.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Stage id.
    pub stage: String,
    /// By name.
    pub values: BTreeMap<String, f64>,
}

/// What the score, diagnose and mine stages ask to be kept of all samples.
pub fn kept(stages: &Stages) -> Kept {
    let score = stages.score.iter().map(|stage| stage.operator.requirements().kept);
    let diagnose = stages.diagnose.iter().map(|stage| stage.operator.requirements().kept);
    let mine = stages.mine.iter().map(|stage| stage.operator.requirements().kept);
    score.chain(diagnose).chain(mine).fold(Kept::default(), Kept::or)
}

/// Name of a column in the table: prefixed by the stage's id where one was written.
pub fn column_name(stage: &PlanStage<dyn Scorer>, column: &str) -> String {
    if stage.named { format!("{}.{column}", stage.info.id) } else { column.to_owned() }
}

/// Streams the training split once through all scorers: every forward pass that several of them need runs once.
/// `skip` holds ids that earlier rounds left out.
pub fn score(
    stages: &Stages,
    train: &Split,
    models: &ModelSet,
    history: Option<&TrainingHistory>,
    seeds: &SeedTree,
    skip: &HashSet<SampleId>,
    progress: &dyn Progress,
) -> Result<Scored> {
    let order: Vec<usize> = (0..train.len()).filter(|&i| !skip.contains(&train.entry(i).id)).collect();
    let columns: Vec<(usize, Column)> =
        stages.score.iter().enumerate().flat_map(|(s, stage)| stage.operator.columns().into_iter().map(move |c| (s, c))).collect();
    let wants = Wants { index: stages.requirements().any(|r| r.embedding_index), kept: kept(stages) };
    let mut answers = Answers::default();
    let mut rows: Vec<TableRow> = Vec::with_capacity(order.len());
    let mut at: Vec<usize> = Vec::with_capacity(order.len());
    let mut values: Vec<Vec<Score>> = vec![Vec::with_capacity(order.len()); columns.len()];
    // The texts of absent scores, by column: there are few, and rows share them.
    let mut reasons: Vec<Vec<Arc<str>>> = vec![Vec::new(); columns.len()];
    let mut index = wants.index.then(EmbeddingIndex::default);
    let mut left_out = Vec::new();
    let step = progress.begin("score", order.len() as u64);
    train.stream(&order, BATCH, |batch| {
        let samples: Vec<Sample> = batch.iter().map(|(_, sample)| sample.clone()).collect();
        let scored = match score_batch(stages, &samples, models, history, seeds, wants) {
            Ok(scored) => scored,
            // A sample or a model's answer spoils the batch: find it, and keep the others. Anything else is no fault of a sample.
            Err((_, error)) if !matches!(error.kind(), ErrorKind::Data | ErrorKind::Model) => return Err(error),
            Err(_) => samples.iter().fold(ScoredBatch::default(), |mut all, sample| {
                match score_batch(stages, std::slice::from_ref(sample), models, history, seeds, wants) {
                    Ok(one) => all.append(one),
                    Err(failed) => all.rows.push(Err(failed)),
                }
                all
            }),
        };
        answers.subject.append(scored.subject);
        answers.teacher.append(scored.teacher);
        for ((i, sample), scored) in batch.iter().zip(scored.rows) {
            match scored {
                Ok(ScoredRow { mut cells, embeddings }) => {
                    at.push(*i);
                    cells.iter_mut().zip(&mut reasons).for_each(|(cell, known)| share(cell, known));
                    rows.push(TableRow {
                        id: sample.id.clone(),
                        class: sample.label.as_ref().map(|label| label.class()),
                        present: models.subject.recorded().and_then(|r| r.present(&sample.id)).unwrap_or_else(|| sample.present()),
                        group: train.group_of(*i),
                        fields: sample.fields.clone(),
                    });
                    values.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
                    if let Some(index) = &mut index {
                        index.train.push(embeddings);
                    }
                }
                Err((stage, error)) => left_out.push((sample.id.clone(), stage, error.at("sample", &sample.id))),
            }
        }
        step.advance(batch.len() as u64);
        Ok(())
    })?;
    let mut table = ScoreTable::new(rows, train.classes().len())?;
    // Captions repeat by nature; images and clips are what groups go by too.
    for modality in [Modality::Image, Modality::Audio] {
        let mut numbers: HashMap<Digest, u32> = HashMap::new();
        let mut number = |i: &usize| {
            let next = numbers.len() as u32;
            train.digests(*i)[modality].map(|digest| *numbers.entry(digest).or_insert(next))
        };
        table.set_media(modality, at.iter().map(&mut number).collect())?;
    }
    for ((s, column), scores) in columns.into_iter().zip(values) {
        table.add(Column { name: column_name(&stages.score[s], &column.name), ..column }, scores)?;
    }
    Ok(Scored { table, index, answers, left_out })
}

/// Most reasons of a column that are looked through for an equal one.
const SHARED_REASONS: usize = 16;

/// Makes an absent score hold the same text as an earlier one that says the same.
fn share(cell: &mut Score, known: &mut Vec<Arc<str>>) {
    if let Score::Absent(why) = cell {
        match known.iter().find(|own| *own == why) {
            Some(own) => *why = own.clone(),
            None if known.len() < SHARED_REASONS => known.push(why.clone()),
            None => {}
        }
    }
}

/// Runs the scorers that look at the whole split, in the order of the stages, and adds their columns to the table.
pub fn score_table(stages: &Stages, table: &mut ScoreTable, answers: &Answers, seeds: &SeedTree) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for stage in &stages.score {
        let id = &stage.info.id;
        let named = stage.operator.table_columns();
        if named.is_empty() {
            continue;
        }
        let context = TableContext { table, answers, seeds: seeds.stage(id) };
        let found = stage.operator.score_table(&context).map_err(|error| error.at("stage", id))?;
        if found.columns.len() != named.len() {
            return Err(Error::internal("a scorer gave other columns than it named").at("stage", id));
        }
        for (column, mut scores) in named.into_iter().zip(found.columns) {
            let mut reasons = Vec::new();
            scores.iter_mut().for_each(|cell| share(cell, &mut reasons));
            table.add(Column { name: column_name(stage, &column.name), ..column }, scores).map_err(|error| error.at("stage", id))?;
        }
        if let Some((name, value)) = found.figures.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::internal(format!("the figure `{name}` is {value}")).at("stage", id));
        }
        if !found.figures.is_empty() {
            figures.push(Figures { stage: id.clone(), values: found.figures });
        }
    }
    Ok(figures)
}

/// The subject's logits on a split (validation), and the class of each of its samples.
pub fn logits(split: &Split, models: &ModelSet, progress: &dyn Progress) -> Result<(Rows, Vec<Option<usize>>)> {
    let order: Vec<usize> = (0..split.len()).collect();
    // Recorded predictions answer for their own split.
    let own = split.recorded().map(|recorded| ModelSet { subject: recorded.clone(), teachers: None });
    let models = own.as_ref().unwrap_or(models);
    let mut all = Rows::default();
    let step = progress.begin("predict validation", split.len() as u64);
    split.stream(&order, BATCH, |batch| {
        let samples: Vec<Sample> = batch.iter().map(|(_, sample)| sample.clone()).collect();
        let rows: Vec<usize> = (0..samples.len()).collect();
        all.append(Forwards::new(models, &samples).subject()?.pick(&rows, true, false, ModalitySet::EMPTY));
        step.advance(batch.len() as u64);
        Ok(())
    })?;
    Ok((all, order.iter().map(|&i| split.label(i).map(Label::class)).collect()))
}

/// Embeddings of a split (validation) by the subject.
pub fn embed(split: &Split, models: &ModelSet, progress: &dyn Progress) -> Result<Vec<PerModality<Option<std::sync::Arc<[f32]>>>>> {
    let order: Vec<usize> = (0..split.len()).collect();
    let mut all = Vec::with_capacity(split.len());
    let step = progress.begin("embed validation", split.len() as u64);
    split.stream(&order, BATCH, |batch| {
        let samples: Vec<Sample> = batch.iter().map(|(_, sample)| sample.clone()).collect();
        let forwards = Forwards::new(models, &samples);
        let rows = forwards.subject()?;
        all.extend((0..samples.len()).map(|i| embeddings(forwards.present(i), &rows, i)));
        step.advance(batch.len() as u64);
        Ok(())
    })?;
    Ok(all)
}

struct ScoredRow {
    cells: Vec<Score>,
    embeddings: PerModality<Option<std::sync::Arc<[f32]>>>,
}

fn embeddings(present: ModalitySet, rows: &crate::context::Rows, i: usize) -> PerModality<Option<std::sync::Arc<[f32]>>> {
    // The row of a missing modality is its learned token: no embedding of this sample.
    PerModality::from_fn(|m| present.has(m).then(|| rows.embedding(m, i).map(Into::into)).flatten())
}

type RowResult = Result<ScoredRow, (String, Error)>;

/// What is wanted of the forward passes besides the scores.
#[derive(Clone, Copy)]
struct Wants {
    index: bool,
    kept: Kept,
}

#[derive(Default)]
struct ScoredBatch {
    rows: Vec<RowResult>,
    /// Kept answers of the good rows.
    subject: Rows,
    teacher: Rows,
}

impl ScoredBatch {
    fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.subject.append(other.subject);
        self.teacher.append(other.teacher);
    }
}

/// Scores one batch; the inner errors are of single samples, the outer one of the batch as a whole.
fn score_batch(
    stages: &Stages,
    samples: &[Sample],
    models: &ModelSet,
    history: Option<&TrainingHistory>,
    seeds: &SeedTree,
    wants: Wants,
) -> Result<ScoredBatch, (String, Error)> {
    let forwards = Forwards::new(models, samples);
    let mut rows: Vec<RowResult> =
        samples.iter().map(|_| Ok(ScoredRow { cells: Vec::new(), embeddings: PerModality::default() })).collect();
    for stage in &stages.score {
        let id = &stage.info.id;
        let context = ScoreContext { forwards: &forwards, history, seeds: seeds.stage(id) };
        let columns = stage.operator.score(&context).map_err(|error| (id.clone(), error.at("stage", id)))?;
        let named = stage.operator.columns();
        if columns.len() != named.len() || columns.iter().any(|column| column.len() != samples.len()) {
            return Err((id.clone(), Error::internal("a scorer gave other columns or rows than it named").at("stage", id)));
        }
        for (column, scores) in named.iter().zip(columns) {
            for (row, cell) in rows.iter_mut().zip(scores) {
                match (&cell, &mut *row) {
                    (Score::Known(value), Ok(_)) if !value.is_finite() => {
                        *row = Err((id.clone(), Error::model(format!("score `{}` is {value}, not a finite number", column.name))));
                    }
                    (_, Ok(scored)) => scored.cells.push(cell),
                    (_, Err(_)) => {}
                }
            }
        }
    }
    if wants.index {
        let subject = forwards.subject().map_err(|error| ("embedding".to_owned(), error))?;
        for (i, row) in rows.iter_mut().enumerate() {
            if let Ok(row) = row {
                row.embeddings = embeddings(forwards.present(i), &subject, i);
            }
        }
    }
    keep_answers(&forwards, wants.kept, rows).map_err(|error| ("embedding".to_owned(), error))
}

/// Adds what is kept of the good rows. A row with an answer that is not finite is no good row: nothing that looks at all samples could use it.
fn keep_answers(forwards: &Forwards<'_>, kept: Kept, mut rows: Vec<RowResult>) -> Result<ScoredBatch> {
    let Kept { embeddings, fused, teacher_logits, logits } = kept;
    let of_subject = (logits || fused || !embeddings.is_empty()).then(|| forwards.subject()).transpose()?;
    let of_teacher = teacher_logits.then(|| forwards.teacher()).transpose()?;
    let (subject, teacher) = (of_subject.unwrap_or_default(), of_teacher.unwrap_or_default());
    let asked = |rows: &Rows, i: usize| rows.of.get(i).copied().flatten();
    let finite = |matrix: &Matrix, row: usize| matrix.row(row).iter().all(|v| v.is_finite());
    for (i, row) in rows.iter_mut().enumerate() {
        let good = asked(&subject, i).is_none_or(|at| {
            let of = &subject.outputs;
            let own = forwards.present(i).and(embeddings);
            (!logits || finite(&of.logits, at))
                && (!fused || of.fused.as_ref().is_none_or(|m| finite(m, at)))
                && own.iter().all(|modality| of.embeddings[modality].as_ref().is_none_or(|m| finite(m, at)))
        }) && asked(&teacher, i).is_none_or(|at| finite(&teacher.outputs.logits, at));
        if !good && row.is_ok() {
            *row = Err(("embedding".to_owned(), Error::model("an embedding or a logit is not a finite number")));
        }
    }
    let good: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].is_ok()).collect();
    let pick = |of: &Rows, logits, fused, embeddings| {
        if of.of.is_empty() { Rows { of: vec![None; good.len()], ..Rows::default() } } else { of.pick(&good, logits, fused, embeddings) }
    };
    Ok(ScoredBatch { subject: pick(&subject, logits, fused, embeddings), teacher: pick(&teacher, true, false, ModalitySet::EMPTY), rows })
}

/// Runs all diagnosers, adds their columns to the table and joins what they find; without any, every sample is clear. `each` is told of every stage by its id, the
/// columns it added and what it found alone.
pub fn diagnose(
    stages: &Stages,
    table: &mut ScoreTable,
    answers: &Answers,
    mut each: impl FnMut(&str, &[String], &Diagnoses),
) -> Result<Diagnoses> {
    let mut joined: Diagnoses = vec![Diagnosis::clear(); table.len()];
    for stage in &stages.diagnose {
        let id = &stage.info.id;
        let Findings { diagnoses, columns } = stage.operator.findings(table, answers).map_err(|error| error.at("stage", id))?;
        let mut added = Vec::with_capacity(columns.len());
        for (column, scores) in columns {
            let name = if stage.named { format!("{id}.{}", column.name) } else { column.name };
            added.push(name.clone());
            table.add(Column { name, ..column }, scores)?;
        }
        if diagnoses.len() != joined.len() {
            return Err(Error::internal("a diagnoser gave another number of rows").at("stage", id));
        }
        each(id, &added, &diagnoses);
        joined.iter_mut().zip(diagnoses).for_each(|(own, other)| own.join(other));
    }
    Ok(joined)
}

/// Runs all miners and unites what they choose. `seeds` are those of the round, which is `round` of `rounds`; `losses` are the mean training losses of the
/// epochs so far.
pub fn mine(
    stages: &Stages,
    table: &ScoreTable,
    answers: &Answers,
    diagnoses: &[Diagnosis],
    (round, rounds): (usize, usize),
    losses: &[f64],
    seeds: &SeedTree,
) -> Result<Selection> {
    let selections = stages
        .mine
        .iter()
        .map(|stage| {
            let id = &stage.info.id;
            let context = MineContext { stage: id, round, rounds, losses, answers, seeds: seeds.stage(id) };
            stage.operator.mine(table, diagnoses, &context).map_err(|error| error.at("stage", id))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Selection::unite(selections))
}
