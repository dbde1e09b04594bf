//! The scores of a finished run as tables that other programs read without parsing JSON.

use crate::{
    codec::npy,
    error::{Error, Result},
    record::{self, RunRecord, ScoreLine},
};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::Path,
};

/// Fields of a line of the table before its scores.
const FIELDS: [&str; 8] = ["id", "label", "judgement", "reason", "suggested", "treatment", "weight", "selected"];

/// Writes the scores of the run in `folder` as `csv` (`scores.csv`: a header, one row a sample, empty where a score is absent) and `npy` (`scores.npy`: rows x
/// columns of `f64`, NaN where absent, and the names of the columns in `scores.columns.txt`), whichever are among `formats`, in the order of `scores.jsonl`, which is read once. The
/// names of the files written.
///
/// # Errors
/// If the folder is no finished run's, cannot be written, or a format is another.
pub fn scores(folder: &Path, formats: &[&str]) -> Result<Vec<String>> {
    if let Some(other) = formats.iter().find(|format| !["csv", "npy"].contains(format)) {
        return Err(Error::usage(format!("expected csv or npy, found {other}")));
    }
    let path = folder.join("run.json");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
    let run: RunRecord =
        serde_json::from_str(&text).map_err(|error| Error::data(format!("not a record of a run: {error}")).at("file", path.display()))?;
    let columns: Vec<String> = run.columns.into_iter().map(|column| column.name).collect();
    let (csv, npy) = (formats.contains(&"csv"), formats.contains(&"npy"));
    let mut values = Vec::new();
    let mut read = |writer: &mut Option<csv::Writer<&mut BufWriter<File>>>| {
        let mut row = csv::StringRecord::new();
        each(folder, |line| {
            if npy {
                values.extend(columns.iter().map(|name| line.score(name).map_or(f64::NAN, f64::from)));
            }
            let Some(writer) = writer else { return Ok(()) };
            fill(&mut row, &line, &columns);
            writer.write_record(&row).map_err(unwritable)
        })
    };
    let mut files = Vec::new();
    if csv {
        let header = FIELDS.iter().copied().chain(columns.iter().map(String::as_str));
        whole(folder, "scores.csv", |file| {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(header).map_err(unwritable)?;
            let mut writer = Some(writer);
            read(&mut writer)?;
            writer.map_or(Ok(()), |mut writer| writer.flush().map_err(|error| Error::io(folder, error)))
        })?;
        files.push("scores.csv".to_owned());
    } else if npy {
        read(&mut None)?;
    }
    if npy {
        crate::feed::write_whole(&folder.join("scores.npy"), &npy::encode_rows(columns.len(), &values))?;
        let names: String = columns.iter().map(|name| format!("{name}\n")).collect();
        crate::feed::write_whole(&folder.join("scores.columns.txt"), names.as_bytes())?;
        files.extend(["scores.npy".to_owned(), "scores.columns.txt".to_owned()]);
    }
    Ok(files)
}

fn unwritable(error: csv::Error) -> Error {
    Error::data(format!("the table cannot be written: {error}"))
}

/// One line of the table, in place of the one before.
fn fill(row: &mut csv::StringRecord, line: &ScoreLine, columns: &[String]) {
    row.clear();
    row.push_field(line.id.as_str());
    row.push_field(line.label.as_deref().unwrap_or_default());
    row.push_field(line.judgement.name());
    row.push_field(line.reasons.first().map_or("", |reason| reason.code.name()));
    row.push_field(line.suggested.as_deref().unwrap_or_default());
    row.push_field(line.treatment.name());
    row.push_field(&line.weight.to_string());
    row.push_field(if line.selected.is_empty() { "false" } else { "true" });
    for name in columns {
        row.push_field(&line.score(name).map_or_else(String::new, |score| score.to_string()));
    }
}

fn each(folder: &Path, take: impl FnMut(ScoreLine) -> Result<()>) -> Result<()> {
    let path = folder.join("scores.jsonl");
    let file = File::open(&path).map_err(|error| Error::io(&path, error))?;
    record::each_line(BufReader::with_capacity(1 << 20, file), take).map_err(|error| error.at("file", path.display()))
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
