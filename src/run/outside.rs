//! Scores of predictions that were written elsewhere, without a pipeline file; and mining over a folder that is already scored.

use super::{Summary, spec::Spec};
use crate::{
    error::{Error, Result},
    feed::sampler_weights,
    operator::Built,
    pipeline::{self, OnError, PlanStage, Stages},
    random::SeedTree,
    read::predictions::peek,
    record::{self, RunRecord, ScoreLine},
    registry::Registry,
    sample::{Classes, Column, Diagnosis, Digest, Score, ScoreTable, TableRow, weighting::effective_sample_size},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What `hardmine score` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Files of predictions.
    pub files: Vec<String>,
    /// Class names in the order of the logits; empty where labels are whole numbers.
    pub classes: Vec<String>,
    /// Whether the predictions are by models that never trained on the sample.
    pub out_of_fold: bool,
    /// A manifest of the same samples.
    pub manifest: Option<String>,
    /// Probe runs with threshold samples, one file each.
    pub probes: Vec<String>,
    /// Field whose equal values keep samples together.
    pub group_by: Option<String>,
    /// Formats of the sampler weights, none of them twice: `jsonl`, `csv`, `npy`.
    pub formats: Vec<String>,
    /// What happens to a line that cannot be used.
    pub on_error: OnError,
}

/// The pipeline that scores these predictions with every signal that they allow, as text: what is kept in `run.json`, and a start for one's own.
pub fn pipeline_of(wanted: &Wanted) -> Result<String> {
    let held = peek(&wanted.files, Path::new("."))?;
    let mut stages = vec![json!({ "score": { "loss": {} } }), json!({ "score": { "uncertainty": {} } })];
    let mut add = |when: bool, family: &str, operator: &str| {
        if when {
            stages.push(json!({ family: { operator: {} } }));
        }
    };
    add(true, "score", "el2n");
    add(wanted.out_of_fold, "score", "out_of_fold");
    add(wanted.out_of_fold, "score", "calibration");
    add(held.epochs, "score", "dynamics");
    add(held.subsets, "score", "inconsistency");
    add(wanted.manifest.is_some(), "score", "quality");
    add(held.fused, "score", "neighbours");
    for modality in held.embeddings.iter() {
        let id = format!("{modality}_neighbours");
        stages.push(json!({ "score": { "neighbours": { "space": modality } }, "id": id }));
    }
    if !wanted.probes.is_empty() {
        stages.push(json!({ "score": { "aum_probe": {} } }));
    }
    if wanted.out_of_fold {
        stages.push(json!({ "diagnose": { "noise_guard": {} } }));
    }
    if !wanted.probes.is_empty() {
        stages.push(json!({ "diagnose": { "aum_threshold": {} } }));
    }
    stages.push(json!({ "diagnose": { "reasons": {} } }));
    let by = if wanted.out_of_fold { "out_of_fold" } else { "loss" };
    stages.push(json!({ "mine": { "band": { "by": by } } }));
    for format in &wanted.formats {
        let path = format!("sampler_weights.{format}");
        stages.push(json!({ "feed": { "sampler_weights": { "path": path } }, "id": format!("weights_{format}") }));
    }
    let mut predictions = json!({ "files": wanted.files, "out_of_fold": wanted.out_of_fold });
    if !wanted.classes.is_empty() {
        predictions["classes"] = json!(wanted.classes);
    }
    if !wanted.probes.is_empty() {
        predictions["probes"] = json!(wanted.probes);
    }
    if let Some(manifest) = &wanted.manifest {
        predictions["manifest"] = json!(manifest);
    }
    let mut data = json!({ "train": { "predictions": predictions }, "on_error": wanted.on_error });
    if let Some(field) = &wanted.group_by {
        data["group_by"] = json!(field);
    }
    let pipeline = json!({ "version": 1, "name": "score", "data": data, "train": "none", "stages": stages });
    serde_json::to_string_pretty(&pipeline).map_err(|error| Error::internal(error.to_string()))
}

/// What `hardmine mine` leaves.
pub struct Mined {
    /// The chosen, in the order of the data: id, score, weight, miner.
    pub selected: Vec<Value>,
    /// A weight and a loss weight for every row, in the order of the data.
    pub weights: Vec<sampler_weights::Line>,
    /// In short.
    pub summary: Summary,
}

/// Mines a scored folder again: `miner` is one miner as it stands in a pipeline file, such as `top_fraction: { by: loss, fraction: 0.1 }`.
/// It is told that this is the only round; what it draws hangs on the ids alone (seed 0), so that the same folder gives the same choice.
pub fn mine(folder: &Path, miner: &str, boost: f64, cap: f64) -> Result<Mined> {
    let scored = Scored::read(folder)?;
    let written = Spec::parse("--miner", ".", miner).map_err(|finding| Error::usage(format!("--miner: {}", finding.problem)))?;
    let told = |problems: Vec<crate::error::Problem>| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::usage(format!("--miner: {}", all.join("; ")))
    };
    let Built { name, version, config, operator } = Registry::default().miners.build(&pipeline::operator(written.value())).map_err(told)?;
    let needs = operator.requirements();
    for column in needs.columns.into_iter().chain(needs.evidence) {
        scored.table.require(&column)?;
    }
    let info =
        crate::context::StageInfo { id: name.to_owned(), operator: name, version, config: Digest::of(config.to_string().as_bytes()) };
    let stage = PlanStage { info, named: false, serves: None, on_error: OnError::Fail, config, operator };
    let stages = Stages { mine: vec![stage], ..Stages::default() };
    let selection = pipeline::mine(&stages, &scored.table, &scored.diagnoses, 1, 1, &SeedTree::new(0).round(1))?;
    let weights = sampler_weights::weights(&selection, &scored.diagnoses, boost, cap);
    let selected: Vec<Value> = selection
        .samples
        .iter()
        .map(|one| {
            let reasons: Vec<&str> = scored.diagnoses[one.row].reasons.iter().map(|reason| reason.code.name()).collect();
            json!({ "id": one.id, "score": one.score, "weight": one.weight, "reasons": reasons })
        })
        .collect();
    let suspects = scored.diagnoses.iter().filter(|diagnosis| diagnosis.judgement != crate::sample::Judgement::Valuable).count();
    let lines = vec![
        format!("{} of {} samples chosen by {name}; {suspects} suspects were not eligible", selected.len(), scored.table.len()),
        format!("effective sample size of the weights: {:.0}", effective_sample_size(&weights)),
    ];
    let record = json!({ "chosen": selected.len(), "rows": scored.table.len(), "suspects": suspects, "miner": written.value() });
    let weights = sampler_weights::lines(&scored.table, &selection, weights);
    Ok(Mined { selected, weights, summary: Summary { lines, record } })
}

/// The score table of a finished run, read back.
struct Scored {
    table: ScoreTable,
    diagnoses: Vec<Diagnosis>,
}

impl Scored {
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<(PathBuf, String)> {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let told = format!("no {name} in {}; expected the folder of a finished `run` or `score`", folder.display());
                    Err(Error::usage(told))
                }
                Err(error) => Err(Error::io(&path, error)),
            }
        };
        let (path, text) = read("run.json")?;
        let run: RunRecord = serde_json::from_str(&text)
            .map_err(|error| Error::data(format!("not a record of a run: {error}")).at("file", path.display()))?;
        let (path, text) = read("scores.jsonl")?;
        let lines: Vec<ScoreLine> = record::read_lines(&text).map_err(|error| error.at("file", path.display()))?;
        Self::of(run, lines)
    }

    fn of(run: RunRecord, lines: Vec<ScoreLine>) -> Result<Self> {
        let classes = Classes::from_names(run.classes);
        let no_fields: Arc<Map<String, Value>> = Arc::default();
        let mut rows = Vec::with_capacity(lines.len());
        let mut diagnoses = Vec::with_capacity(lines.len());
        for (group, line) in lines.iter().enumerate() {
            rows.push(TableRow {
                id: line.id.clone(),
                class: line.label.as_deref().and_then(|label| classes.index(label)),
                present: line.present,
                group,
                fields: no_fields.clone(),
            });
            let suggested_class = line.suggested.as_deref().and_then(|name| classes.index(name));
            diagnoses.push(Diagnosis {
                reasons: line.reasons.clone(),
                judgement: line.judgement,
                weight: line.weight,
                treatment: line.treatment,
                suggested_class,
            });
        }
        let mut table = ScoreTable::new(rows, classes.len())?;
        for column in run.columns {
            let cell = |line: &ScoreLine| match line.score(&column.name) {
                Some(value) => Score::Known(value),
                None => Score::absent(line.absent.get(&column.name).map_or("absent", String::as_str)),
            };
            let scores = lines.iter().map(cell).collect();
            table.add(Column { ..column.clone() }, scores)?;
        }
        Ok(Self { table, diagnoses })
    }
}

/// Writes what [`mine`] found into `folder` in the wanted formats; the names of the files.
pub fn write(mined: &Mined, folder: &Path, formats: &[&str]) -> Result<Vec<String>> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for format in formats {
        files.insert(format!("sampler_weights.{format}"), sampler_weights::encoded(format, &mined.weights)?);
    }
    let lines: String = mined.selected.iter().map(|line| format!("{line}\n")).collect();
    files.insert("selected.jsonl".into(), lines.into_bytes());
    for (name, bytes) in &files {
        crate::feed::write_whole(&folder.join(name), bytes)?;
    }
    Ok(files.into_keys().collect())
}
