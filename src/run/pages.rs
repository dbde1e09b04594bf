//! The report of a run's folder, with the parents' media from the source data where it is still there.

use super::folder::Folder;
use crate::{
    error::Result,
    pipeline::Plan,
    read::Source,
    record::Results,
    registry::Registry,
    report::{self, Limits, ReportInput},
    sample::{Sample, SampleId},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Writes `report.json` and `report.html` of a finished run; the path of the page.
pub(super) fn write(folder: &Folder, plan: Option<&Plan>) -> Result<PathBuf> {
    let mut input = ReportInput::read(folder.root())?;
    let results: Option<Results> = folder.read_optional(&Folder::work("results.json"))?;
    input.results = results.or(input.results);
    // Without its source data a report still stands: the page says that the parents are not at hand.
    let source = plan.and_then(|plan| plan.data.train.operator.open(&plan.data.base).ok());
    let index: HashMap<SampleId, usize> =
        source.iter().flat_map(|source| source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i))).collect();
    let fetch = |id: &SampleId| -> Option<Sample> { source.as_deref().map(|source: &dyn Source| source.fetch(*index.get(id)?).ok())? };
    report::write(folder.root(), &input, &fetch, &Limits::default())?;
    Ok(folder.path("report.html"))
}

/// Writes the report of a folder again.
pub(super) fn again(root: &Path) -> Result<PathBuf> {
    let folder = Folder::existing(root);
    let input = ReportInput::read(root)?;
    let plan = folder.base().ok().and_then(|base| Plan::from_value(&input.run.pipeline, &base, &Registry::default()).ok());
    write(&folder, plan.as_ref())
}
