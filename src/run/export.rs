//! The scores of a finished run as tables that other programs read without parsing JSON.

use crate::{
    codec::npy,
    error::{Error, Result},
    record::{RunRecord, ScoreLine},
};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

/// Fields of a line of the table before its scores.
const FIELDS: [&str; 8] = ["id", "label", "judgement", "reason", "suggested", "treatment", "weight", "selected"];

/// Writes the scores of the run in `folder` as `csv` (`scores.csv`: a header, one row a sample, empty where a score is absent) or `npy` (`scores.npy`: rows x
/// columns of `f64`, NaN where absent, and the names of the columns in `scores.columns.txt`), in the order of `scores.jsonl`. The names of the files written.
///
/// # Errors
/// If the folder is no finished run's, cannot be written, or the format is another.
pub fn scores(folder: &Path, format: &str) -> Result<Vec<String>> {
    let path = folder.join("run.json");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
    let run: RunRecord =
        serde_json::from_str(&text).map_err(|error| Error::data(format!("not a record of a run: {error}")).at("file", path.display()))?;
    let columns: Vec<String> = run.columns.into_iter().map(|column| column.name).collect();
    match format {
        "csv" => {
            let header = FIELDS.iter().copied().chain(columns.iter().map(String::as_str));
            whole(folder, "scores.csv", |file| {
                let mut writer = csv::Writer::from_writer(file);
                writer.write_record(header).map_err(unwritable)?;
                each(folder, |line| writer.write_record(row(&line, &columns)).map_err(unwritable))?;
                writer.flush().map_err(|error| Error::io(folder, error))
            })?;
            Ok(vec!["scores.csv".into()])
        }
        "npy" => {
            let mut values = Vec::new();
            each(folder, |line| {
                values.extend(columns.iter().map(|name| line.score(name).map_or(f64::NAN, f64::from)));
                Ok(())
            })?;
            crate::feed::write_whole(&folder.join("scores.npy"), &npy::encode_rows(columns.len(), &values))?;
            let names: String = columns.iter().map(|name| format!("{name}\n")).collect();
            crate::feed::write_whole(&folder.join("scores.columns.txt"), names.as_bytes())?;
            Ok(vec!["scores.npy".into(), "scores.columns.txt".into()])
        }
        other => Err(Error::usage(format!("expected csv or npy, found {other}"))),
    }
}

fn unwritable(error: csv::Error) -> Error {
    Error::data(format!("the table cannot be written: {error}"))
}

fn row(line: &ScoreLine, columns: &[String]) -> Vec<String> {
    let optional = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let fields = [
        line.id.to_string(),
        optional(line.label.as_deref()),
        line.judgement.name().to_owned(),
        optional(line.reasons.first().map(|reason| reason.code.name())),
        optional(line.suggested.as_deref()),
        line.treatment.name().to_owned(),
        line.weight.to_string(),
        (!line.selected.is_empty()).to_string(),
    ];
    let scores = columns.iter().map(|name| line.score(name).map_or_else(String::new, |score| score.to_string()));
    fields.into_iter().chain(scores).collect()
}

/// One line at a time: memory does not grow with their number.
fn each(folder: &Path, mut take: impl FnMut(ScoreLine) -> Result<()>) -> Result<()> {
    let path = folder.join("scores.jsonl");
    let lines = BufReader::new(File::open(&path).map_err(|error| Error::io(&path, error))?).lines();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(|error| Error::io(&path, error))?;
        let line = serde_json::from_str(&line).map_err(|error| Error::data(format!("not a line of scores: {error}")));
        line.and_then(&mut take).map_err(|error| error.at("line", number + 1).at("file", path.display()))?;
    }
    Ok(())
}

/// Under a temporary name first, then renamed.
fn whole(folder: &Path, name: &str, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let partial = folder.join(format!("{name}.partial"));
    let failed = |error| Error::io(&partial, error);
    let mut file = BufWriter::new(File::create(&partial).map_err(failed)?);
    fill(&mut file)?;
    file.flush().map_err(failed)?;
    std::fs::rename(&partial, folder.join(name)).map_err(failed)
}
