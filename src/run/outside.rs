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
    sample::{Classes, Diagnosis, Digest, Modality, ModalitySet, Score, ScoreTable, TableRow, weighting::effective_sample_size},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
};

/// What `hardmine score` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Files of predictions.
    pub files: Vec<String>,
    /// Files of predictions of the same samples by a model that never trained on them; empty for none.
    pub teacher: Vec<String>,
    /// Files of predictions of labelled validation samples; empty for none.
    pub validation: Vec<String>,
    /// Whether the embeddings of the modalities lie in one space, so that those of a pair can be compared.
    pub one_space: bool,
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
    /// Miners as they stand in a pipeline file, such as `top_fraction: { by: loss, fraction: 0.1 }`; none for the usual band.
    pub miners: Vec<String>,
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
    let judged = wanted.out_of_fold || !wanted.teacher.is_empty();
    add(true, "score", "el2n");
    add(judged, "score", "out_of_fold");
    add(!wanted.teacher.is_empty(), "score", "reducible_loss");
    add(held.members || !wanted.teacher.is_empty(), "score", "disagreement");
    add(held.epochs, "score", "dynamics");
    add(held.subsets, "score", "inconsistency");
    add(wanted.manifest.is_some(), "score", "quality");
    add(held.fused, "score", "neighbours");
    if !wanted.validation.is_empty() {
        stages.push(json!({ "score": { "calibration": { "on": "validation" } } }));
    } else if judged {
        stages.push(json!({ "score": { "calibration": {} } }));
    }
    for modality in held.embeddings.iter() {
        let id = format!("{modality}_neighbours");
        stages.push(json!({ "score": { "neighbours": { "space": modality } }, "id": id }));
    }
    let pairs = pairs(held.embeddings);
    if wanted.one_space && pairs.is_empty() {
        let found = if held.embeddings.is_empty() { "none".to_owned() } else { format!("those of {}", held.embeddings) };
        return Err(Error::usage(format!(
            "--one-space compares embeddings of two modalities, such as image_embedding and text_embedding; found {found}"
        )));
    }
    for [a, b] in pairs.iter().filter(|_| wanted.one_space) {
        for scorer in ["embedding_mismatch", "pair_loss"] {
            stages.push(json!({ "score": { scorer: { "pair": [a, b] } }, "id": format!("{a}_{b}_{scorer}") }));
        }
    }
    if !wanted.probes.is_empty() {
        stages.push(json!({ "score": { "aum_probe": {} } }));
    }
    if judged {
        stages.push(json!({ "diagnose": { "noise_guard": {} } }));
    }
    if !wanted.probes.is_empty() {
        stages.push(json!({ "diagnose": { "aum_threshold": {} } }));
    }
    stages.push(json!({ "diagnose": { "reasons": {} } }));
    let by = if judged { "out_of_fold" } else { "loss" };
    for miner in &wanted.miners {
        let written = Spec::parse("--miner", ".", miner).map_err(|finding| Error::usage(format!("--miner: {}", finding.problem)))?;
        stages.push(json!({ "mine": pipeline::operator(written.value()) }));
    }
    if wanted.miners.is_empty() {
        stages.push(json!({ "mine": { "band": { "by": by } } }));
    }
    for format in &wanted.formats {
        let path = format!("sampler_weights.{format}");
        stages.push(json!({ "feed": { "sampler_weights": { "path": path } }, "id": format!("weights_{format}") }));
    }
    let mut predictions = json!({ "files": wanted.files, "out_of_fold": wanted.out_of_fold });
    let mut validation = json!({ "files": wanted.validation });
    if !wanted.classes.is_empty() {
        predictions["classes"] = json!(wanted.classes);
        validation["classes"] = json!(wanted.classes);
    }
    if !wanted.teacher.is_empty() {
        predictions["teacher"] = json!(wanted.teacher);
    }
    if !wanted.probes.is_empty() {
        predictions["probes"] = json!(wanted.probes);
    }
    if let Some(manifest) = &wanted.manifest {
        predictions["manifest"] = json!(manifest);
    }
    let mut data = json!({ "train": { "predictions": predictions }, "on_error": wanted.on_error });
    if !wanted.validation.is_empty() {
        data["validation"] = json!({ "predictions": validation });
    }
    if let Some(field) = &wanted.group_by {
        data["group_by"] = json!(field);
    }
    let pipeline = json!({ "version": 1, "name": "score", "data": data, "train": "none", "stages": stages });
    serde_json::to_string_pretty(&pipeline).map_err(|error| Error::internal(error.to_string()))
}

/// The pairs of these modalities, each once.
fn pairs(of: ModalitySet) -> Vec<[Modality; 2]> {
    let all: Vec<Modality> = of.iter().collect();
    all.iter().enumerate().flat_map(|(i, a)| all[i + 1..].iter().map(|b| [*a, *b])).collect()
}

/// What `hardmine mine` leaves.
pub struct Mined {
    /// The chosen, in the order of the data: id, score, weight, reasons, and where it has a label, whether it is a hard positive or negative and the class it is
    /// confused with.
    pub selected: Vec<Value>,
    /// A weight and a loss weight for every row, in the order of the data.
    pub weights: Vec<sampler_weights::Line>,
    /// In short.
    pub summary: Summary,
}

/// Mines a scored folder again: `miner` is one miner as it stands in a pipeline file, such as `top_fraction: { by: loss, fraction: 0.1 }`; none for the band of
/// the usual ranks, by the out-of-fold losses, or by the losses where there are none.
/// It is told that this is the only round; what it draws hangs on the ids alone (seed 0), so that the same folder gives the same choice.
pub fn mine(folder: &Path, miner: Option<&str>, boost: f64, cap: f64) -> Result<Mined> {
    let scored = Scored::read(folder)?;
    let usual = if scored.table.column("out_of_fold").is_some() { "band: {}" } else { "band: { by: loss }" };
    let miner = miner.unwrap_or(usual);
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
    if needs.kept != Default::default() {
        return Err(Error::usage(format!(
            "--miner: `{name}` looks at embeddings, which a scored folder does not hold; give it to `hardmine score` beside the files that have them"
        )));
    }
    let info =
        crate::context::StageInfo { id: name.to_owned(), operator: name, version, config: Digest::of(config.to_string().as_bytes()) };
    let stage = PlanStage { info, named: false, serves: None, in_band: true, on_error: OnError::Fail, config, operator };
    let stages = Stages { mine: vec![stage], ..Stages::default() };
    let selection =
        pipeline::mine(&stages, &scored.table, &Default::default(), &scored.diagnoses, (1, 1), &[], &SeedTree::new(0).round(1))?;
    let weights = sampler_weights::weights(&selection, &scored.diagnoses, boost, cap);
    let selected: Vec<Value> = selection
        .samples
        .iter()
        .map(|one| {
            let reasons: Vec<&str> = scored.diagnoses[one.row].reasons.iter().map(|reason| reason.code.name()).collect();
            let mut line = json!({ "id": one.id, "score": one.score, "weight": one.weight, "reasons": reasons });
            if let Some(polarity) = one.polarity {
                line["polarity"] = json!(polarity);
            }
            if let Some(class) = one.confused_with {
                line["confused_with"] = json!(scored.classes.name(class));
            }
            line
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
    classes: Classes,
    table: ScoreTable,
    diagnoses: Vec<Diagnosis>,
}

impl Scored {
    fn read(folder: &Path) -> Result<Self> {
        let unreadable = |name: &str, error: std::io::Error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                return Error::io(folder.join(name), error);
            }
            Error::usage(format!("no {name} in {}; expected the folder of a finished `run` or `score`", folder.display()))
        };
        let path = folder.join("run.json");
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable("run.json", error))?;
        let run: RunRecord = serde_json::from_str(&text)
            .map_err(|error| Error::data(format!("not a record of a run: {error}")).at("file", path.display()))?;
        let path = folder.join("scores.jsonl");
        let file = File::open(&path).map_err(|error| unreadable("scores.jsonl", error))?;
        Self::of(run, BufReader::with_capacity(1 << 20, file)).map_err(|error| error.at("file", path.display()))
    }

    /// Lines become columns as they are read: all of them at once would be many times the table.
    fn of(run: RunRecord, scores: impl BufRead) -> Result<Self> {
        let classes = Classes::from_names(run.classes);
        let no_fields: Arc<Map<String, Value>> = Arc::default();
        let (mut rows, mut diagnoses) = (Vec::new(), Vec::new());
        let mut columns: Vec<Vec<Score>> = vec![Vec::new(); run.columns.len()];
        let mut reasons: HashMap<String, Arc<str>> = HashMap::new();
        record::each_line(scores, |line: ScoreLine| {
            for (column, scores) in run.columns.iter().zip(&mut columns) {
                scores.push(match line.score(&column.name) {
                    Some(value) => Score::Known(value),
                    None => {
                        let why = line.absent.get(&column.name).map_or("absent", String::as_str);
                        Score::Absent(reasons.entry(why.to_owned()).or_insert_with(|| why.into()).clone())
                    }
                });
            }
            rows.push(TableRow {
                class: line.label.as_deref().and_then(|label| classes.index(label)),
                present: line.present,
                group: rows.len(),
                fields: no_fields.clone(),
                id: line.id,
            });
            let suggested_class = line.suggested.as_deref().and_then(|name| classes.index(name));
            diagnoses.push(Diagnosis {
                reasons: line.reasons,
                judgement: line.judgement,
                weight: line.weight,
                treatment: line.treatment,
                suggested_class,
            });
            Ok(())
        })?;
        let mut table = ScoreTable::new(rows, classes.len())?;
        for (column, scores) in run.columns.into_iter().zip(columns) {
            table.add(column, scores)?;
        }
        Ok(Self { classes, table, diagnoses })
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
