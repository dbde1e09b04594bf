//! The report of a run's folder.

use super::folder::Folder;
use crate::{
    error::Result,
    pipeline::Plan,
    read::LabelIndex,
    record::{Results, RunRecord},
    registry::Registry,
    report::{self, Limits, ReportInput},
    sample::{Classes, Sample, SampleId},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Writes the report of a run whose record is not on disk yet.
pub(super) fn write(root: &Path, record: &RunRecord, results: Option<Results>, source: &dyn Fn(&SampleId) -> Option<Sample>) -> Result<()> {
    let lists = ReportInput::lists(root, record.clone(), results)?;
    report::write(root, &lists, source, &Limits::default()).map(drop)
}

/// Writes the report of a finished run again. Parents are shown with their media where the source data is still there.
pub(super) fn again(root: &Path) -> Result<PathBuf> {
    let input = ReportInput::to_show(root)?;
    let folder = Folder::existing(root);
    let classes = LabelIndex::with(Classes::from_names(input.run.classes.iter().cloned()));
    let source = folder.base().ok().and_then(|base| {
        let plan = Plan::from_value(&input.run.pipeline, &base, &Registry::default()).ok()?;
        let source = plan.data.train.operator.open(&base).ok()?;
        let index: HashMap<SampleId, usize> = source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        Some((source, index))
    });
    let fetch = |id: &SampleId| {
        let (source, index) = source.as_ref()?;
        let &i = index.get(id)?;
        let mut sample = source.fetch(i).ok()?;
        sample.label = classes.resolve(&source.entries()[i]).ok()?;
        Some(sample)
    };
    report::write(root, &input, &fetch, &Limits::default())?;
    Ok(root.join("report.html"))
}
