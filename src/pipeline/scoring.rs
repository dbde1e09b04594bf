use super::{PlanStage, Split, Stages};
use crate::{
    context::{EmbeddingIndex, Forwards, ScoreContext},
    error::{Error, ErrorKind, Result},
    model::ModelSet,
    progress::Progress,
    random::SeedTree,
    sample::{Column, Diagnoses, Diagnosis, PerModality, Sample, SampleId, Score, ScoreTable, Selection, TableRow, TrainingHistory},
    score::Scorer,
};
use std::collections::HashSet;

/// Samples scored together; a constant, so that nothing depends on it.
const BATCH: usize = 128;

/// What pass 1 leaves of a round: numbers, no media.
pub struct Scored {
    /// Scores of every sample that could be scored.
    pub table: ScoreTable,
    /// Embeddings, where a stage asked for them; `train` by row of the table.
    pub index: Option<EmbeddingIndex>,
    /// Samples that could not be scored: id, stage id, error.
    pub left_out: Vec<(SampleId, String, Error)>,
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
    let wants_index = stages.requirements().any(|r| r.embedding_index);
    let mut rows: Vec<TableRow> = Vec::with_capacity(order.len());
    let mut values: Vec<Vec<Score>> = vec![Vec::with_capacity(order.len()); columns.len()];
    let mut index = wants_index.then(EmbeddingIndex::default);
    let mut left_out = Vec::new();
    let step = progress.begin("score", order.len() as u64);
    train.stream(&order, BATCH, |batch| {
        let samples: Vec<Sample> = batch.iter().map(|(_, sample)| sample.clone()).collect();
        let scored = match score_batch(stages, &samples, models, history, seeds, wants_index) {
            Ok(scored) => scored,
            // A sample or a model's answer spoils the batch: find it, and keep the others. Anything else is no fault of a sample.
            Err((stage, error)) if !matches!(error.kind(), ErrorKind::Data | ErrorKind::Model) => return Err(error.at("stage", stage)),
            Err(_) => samples
                .iter()
                .flat_map(|sample| {
                    let one = score_batch(stages, std::slice::from_ref(sample), models, history, seeds, wants_index);
                    one.unwrap_or_else(|failed| vec![Err(failed)])
                })
                .collect(),
        };
        for ((i, sample), scored) in batch.iter().zip(scored) {
            match scored {
                Ok(ScoredRow { cells, embeddings }) => {
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
    for ((s, column), scores) in columns.into_iter().zip(values) {
        table.add(Column { name: column_name(&stages.score[s], &column.name), ..column }, scores)?;
    }
    Ok(Scored { table, index, left_out })
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
        all.extend((0..samples.len()).map(|i| embeddings(&samples[i], &rows, i)));
        step.advance(batch.len() as u64);
        Ok(())
    })?;
    Ok(all)
}

struct ScoredRow {
    cells: Vec<Score>,
    embeddings: PerModality<Option<std::sync::Arc<[f32]>>>,
}

fn embeddings(sample: &Sample, rows: &crate::context::Rows, i: usize) -> PerModality<Option<std::sync::Arc<[f32]>>> {
    // The row of a missing modality is its learned token: no embedding of this sample.
    PerModality::from_fn(|m| sample.present().has(m).then(|| rows.embedding(m, i).map(Into::into)).flatten())
}

type RowResult = Result<ScoredRow, (String, Error)>;

/// Scores one batch; the inner errors are of single samples, the outer one of the batch as a whole.
fn score_batch(
    stages: &Stages,
    samples: &[Sample],
    models: &ModelSet,
    history: Option<&TrainingHistory>,
    seeds: &SeedTree,
    wants_index: bool,
) -> Result<Vec<RowResult>, (String, Error)> {
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
    if wants_index {
        let subject = forwards.subject().map_err(|error| ("embedding".to_owned(), error))?;
        for (i, row) in rows.iter_mut().enumerate() {
            if let Ok(row) = row {
                row.embeddings = embeddings(&samples[i], &subject, i);
            }
        }
    }
    Ok(rows)
}

/// Runs all diagnosers, adds their columns to the table and joins what they find; without any, every sample is clear.
pub fn diagnose(stages: &Stages, table: &mut ScoreTable) -> Result<Diagnoses> {
    let mut joined: Diagnoses = vec![Diagnosis::clear(); table.len()];
    for stage in &stages.diagnose {
        for (column, scores) in stage.operator.columns(table).map_err(|error| error.at("stage", &stage.info.id))? {
            let name = if stage.named { format!("{}.{}", stage.info.id, column.name) } else { column.name };
            table.add(Column { name, ..column }, scores)?;
        }
        let found = stage.operator.diagnose(table).map_err(|error| error.at("stage", &stage.info.id))?;
        if found.len() != joined.len() {
            return Err(Error::internal("a diagnoser gave another number of rows").at("stage", &stage.info.id));
        }
        joined.iter_mut().zip(found).for_each(|(own, other)| own.join(other));
    }
    Ok(joined)
}

/// Runs all miners and unites what they choose.
pub fn mine(stages: &Stages, table: &ScoreTable, diagnoses: &[Diagnosis]) -> Result<Selection> {
    let selections = stages
        .mine
        .iter()
        .map(|stage| stage.operator.mine(table, diagnoses, &stage.info.id).map_err(|error| error.at("stage", &stage.info.id)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Selection::unite(selections))
}
