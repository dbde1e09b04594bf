//! The report of a run: `report.json` for programs and `report.html` for people, from the records and media of the run's folder.
//!
//! The page is one file without scripts, links, fonts or requests; its content security policy allows data URIs alone. Whatever comes from the data
//! (ids, captions, labels, names) is shown as text, with hidden and reordering characters spelled out. The same records
//! and media give the same bytes.

mod arms;
mod chart;
mod curve;
mod gallery;
mod media;
mod number;
mod page;
mod picture;
mod summary;
pub mod transforms;
mod words;

use crate::{
    error::{Error, Result},
    record::{RejectedLine, Report, Results, RunRecord, ScoreLine, each_line, read_lines},
    sample::{Lineage, Sample, SampleId},
};
pub(crate) use gallery::{claim_words, parameters};
pub(crate) use number::measure;
use serde::de::DeserializeOwned;
use std::{
    fs,
    io::{BufReader, Write},
    path::Path,
};
pub use words::visible;

/// Gives a sample of the source data with its media, for parents and suspects; `None` where the data set is no longer there.
pub type Source<'a> = &'a dyn Fn(&SampleId) -> Option<Sample>;

/// The records a report is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportInput {
    /// `run.json`.
    pub run: RunRecord,
    /// `scores.jsonl`.
    pub scores: Vec<ScoreLine>,
    /// `generated/lineage.jsonl`.
    pub lineage: Vec<Lineage>,
    /// `rejected.jsonl`.
    pub rejected: Vec<RejectedLine>,
    /// What the final evaluation measured; `None` where nothing was trained.
    pub results: Option<Results>,
}

impl ReportInput {
    /// Reads the records of a run's folder. `run.json` must be there; a list that is not there is empty, and results come from an earlier
    /// `report.json`.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::with_lines(dir, run(dir)?, Self::results(dir)?, |_| {})
    }

    /// As [`Self::read`], but of the scores only what a page shows: a small part of the memory.
    pub fn to_show(dir: &Path) -> Result<Self> {
        Self::lists(dir, run(dir)?, Self::results(dir)?)
    }

    /// Reads what a page shows of the lists of a run's folder, beside records that are known already.
    pub fn lists(dir: &Path, run: RunRecord, results: Option<Results>) -> Result<Self> {
        let bands: Vec<String> = run.bands.iter().map(|band| band.column.clone()).collect();
        let shown = |name: &str| summary::COLUMNS.contains(&name) || curve::shows(name) || bands.iter().any(|band| band == name);
        Self::with_lines(dir, run, results, |line| {
            line.absent = Default::default();
            // Collected anew: a map does not give back room.
            line.scores = std::mem::take(&mut line.scores).into_iter().filter(|(name, score)| score.is_some() && shown(name)).collect();
        })
    }

    /// What the final evaluation measured, by an earlier `report.json`.
    pub fn results(dir: &Path) -> Result<Option<Results>> {
        Ok(one::<Report>(&dir.join("report.json"))?.and_then(|report| report.results))
    }

    fn with_lines(dir: &Path, run: RunRecord, results: Option<Results>, thin: impl Fn(&mut ScoreLine)) -> Result<Self> {
        let path = dir.join("scores.jsonl");
        let mut scores = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => each_line(BufReader::with_capacity(1 << 20, file), |mut line| {
                thin(&mut line);
                scores.push(line);
                Ok(())
            })
            .map_err(|error| error.at("file", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path, error)),
        }
        Ok(Self {
            run,
            scores,
            lineage: list(&dir.join("generated").join("lineage.jsonl"))?,
            rejected: list(&dir.join("rejected.jsonl"))?,
            results,
        })
    }
}

fn run(dir: &Path) -> Result<RunRecord> {
    one(&dir.join("run.json"))?
        .ok_or_else(|| Error::usage("there is no run.json: this is not the folder of a run").at("folder", dir.display()))
}

fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

fn one<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::data(format!("not this record: {error}")).at("file", path.display()))
}

fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    text(path)?.map_or_else(|| Ok(Vec::new()), |text| read_lines(&text).map_err(|error| error.at("file", path.display())))
}

/// How much a page shows; the numbers always count everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Parents in the gallery.
    pub parents: usize,
    /// Children of each.
    pub children: usize,
    /// Bytes of the gallery; the cards of suspects may add a quarter of it.
    pub bytes: usize,
    /// Suspects with their media.
    pub suspects: usize,
    /// Points of the data map.
    pub points: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parents: 24, children: 6, bytes: 12 << 20, suspects: 36, points: 4000 }
    }
}

/// Writes `report.json` and `report.html` into the run's folder, each complete or not at all, and returns what the first holds.
/// Media of children are read from `generated/`, those of parents are asked of `source`.
pub fn write(dir: &Path, input: &ReportInput, source: Source<'_>, limits: &Limits) -> Result<Report> {
    let (report, page) = render(dir, input, source, limits)?;
    let mut json = serde_json::to_string_pretty(&report).map_err(|error| Error::internal(format!("report.json: {error}")))?;
    json.push('\n');
    put(dir, "report.json", json.as_bytes())?;
    put(dir, "report.html", page.as_bytes())?;
    Ok(report)
}

/// What [`write()`] writes: the report and the page.
pub fn render(dir: &Path, input: &ReportInput, source: Source<'_>, limits: &Limits) -> Result<(Report, String)> {
    let generated = media::Generated::open(dir);
    let gallery = gallery::gallery(input, &generated, source, limits);
    let report = summary::summarise(input, gallery.shown, gallery.parents);
    let suspects = gallery::suspects(input, source, limits);
    let page = page::page(input, &report, gallery.cards, suspects, limits)?;
    Ok((report, page))
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let io = |error| Error::io(&path, error);
    // Under a name that a resumed run sweeps away.
    let mut file = tempfile::Builder::new().suffix(".partial").tempfile_in(dir).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    // A temporary file is private to its owner; a report is an ordinary file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.persist(&path).map(drop).map_err(|error| io(error.error))
}

#[cfg(test)]
mod tests;
