//! Generated samples made again from their lineage, byte for byte, or what differs.

use super::{Summary, folder::Folder, keeper::GENERATED};
use crate::{
    codec,
    context::{FeedContext, ReplayContext},
    error::{Error, Result},
    model::{Model, ModelSet, load},
    operator::unknown,
    pipeline::{Plan, PlanStage},
    progress::Progress,
    random::SeedTree,
    read::{LabelIndex, Source},
    record::{RunRecord, read_lines},
    registry::Registry,
    sample::{Candidate, Classes, Digest, Lineage, Modality, Sample, SampleId},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// Rebuilds the children `ids` of a run, all where it is empty; compares them with what the lineage says, and writes them to `to`.
pub(super) fn regenerate(root: &Path, ids: &[SampleId], to: Option<&Path>, progress: &dyn Progress) -> Result<Summary> {
    let folder = Folder::existing(root);
    let record: RunRecord =
        folder.read_optional("run.json")?.ok_or_else(|| Error::usage(format!("{} holds no finished run (no run.json)", root.display())))?;
    let plan = Plan::from_value(&record.pipeline, &folder.base()?, &Registry::default())
        .map_err(|problems| Error::pipeline("the pipeline in run.json cannot be built by this version", problems))?;
    let lineages: Vec<Lineage> =
        read_lines(&folder.text(&format!("{GENERATED}/lineage.jsonl"))?).map_err(|error| error.at("file", "generated/lineage.jsonl"))?;
    let wanted: Vec<&Lineage> = if ids.is_empty() {
        lineages.iter().collect()
    } else {
        let find = |id: &SampleId| {
            let missing =
                || Error::usage(unknown("generated sample", id.as_str(), lineages.iter().map(|lineage| lineage.child.as_str()).take(1000)));
            lineages.iter().find(|lineage| lineage.child == *id).ok_or_else(missing)
        };
        ids.iter().map(find).collect::<Result<_>>()?
    };
    let source = plan.data.train.operator.open(&plan.data.base)?;
    let mut workshop = Workshop::new(&folder, &plan, source.as_ref(), Classes::from_names(record.classes.iter().cloned()));
    let mut differences: Vec<(SampleId, String)> = Vec::new();
    let mut rebuilt: Vec<(Lineage, Sample)> = Vec::new();
    let step = progress.begin("regenerate", wanted.len() as u64);
    for lineage in &wanted {
        match workshop.rebuild(lineage) {
            Ok((sample, found)) => {
                differences.extend(found.map(|difference| (lineage.child.clone(), difference)));
                if to.is_some() {
                    rebuilt.push(((*lineage).clone(), sample));
                }
            }
            Err(error) => differences.push((lineage.child.clone(), error.to_string())),
        }
        step.advance(1);
    }
    drop(step);
    if let Some(to) = to {
        write(to, rebuilt, workshop.classes())?;
    }
    let same = wanted.len() - differences.len();
    let mut lines = vec![format!("{same} of {} generated samples are the same byte for byte", wanted.len())];
    lines.extend(differences.iter().map(|(id, why)| format!("{id}: {why}")));
    if let Some(to) = to {
        lines.push(format!("written to {}", to.display()));
    }
    let differ: BTreeMap<&str, &str> = differences.iter().map(|(id, why)| (id.as_str(), why.as_str())).collect();
    Ok(Summary { lines, record: json!({ "asked": wanted.len(), "same": same, "different": differ }) })
}

/// Writes the rebuilt samples as an ordinary manifest data set.
fn write(to: &Path, rebuilt: Vec<(Lineage, Sample)>, classes: &Classes) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|error| Error::io(to, error))?;
    let full = to.canonicalize().map_err(|error| Error::io(to, error))?;
    let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else {
        return Err(Error::usage(format!("a data set cannot be written to {}; name a folder", to.display())));
    };
    let feeder = Registry::default().feeders.build(&json!({ "manifest": { "path": name.to_string_lossy() } }));
    let feeder = feeder.map_err(|problems| Error::internal(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let mut sink = feeder.operator.open(&FeedContext { folder: parent, classes })?;
    for (lineage, sample) in rebuilt {
        let verdicts = lineage.verdicts.clone();
        // The verdicts of the run stand: a difference in the bytes is told, not hidden behind a new judgement.
        match (Candidate { sample, lineage, attempt: 0 }).accept(verdicts) {
            Ok(accepted) => sink.take(&accepted)?,
            Err(rejection) => {
                return Err(Error::data("the lineage holds no verdicts that accept it").at("sample", &rejection.candidate.lineage.child));
            }
        }
    }
    sink.finish().map(drop)
}

/// What a rebuild needs, opened once: the source, operators by stage id, models by digest.
struct Workshop<'a> {
    folder: &'a Folder,
    plan: &'a Plan,
    source: &'a dyn Source,
    labels: LabelIndex,
    index: HashMap<SampleId, usize>,
    models: HashMap<String, Arc<dyn Model>>,
}

impl<'a> Workshop<'a> {
    fn new(folder: &'a Folder, plan: &'a Plan, source: &'a dyn Source, classes: Classes) -> Self {
        let index = source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        Self { folder, plan, source, labels: LabelIndex::with(classes), index, models: HashMap::new() }
    }
    fn classes(&self) -> &Classes {
        self.labels.classes()
    }

    fn sample(&self, id: &SampleId) -> Result<Sample> {
        let &i = self.index.get(id).ok_or_else(|| Error::data("the parent is not in the training split any more").at("sample", id))?;
        let mut sample = self.source.fetch(i)?;
        sample.label = self.labels.resolve(&self.source.entries()[i])?;
        Ok(sample)
    }

    fn model(&mut self, digest: &str) -> Result<Arc<dyn Model>> {
        if let Some(model) = self.models.get(digest) {
            return Ok(model.clone());
        }
        let model = load::open(&self.folder.path(&format!("models/{digest}.safetensors")))?;
        if model.spec().digest != digest {
            return Err(Error::data(format!("the model's file has the digest {}", model.spec().digest)).at("model", digest));
        }
        self.models.insert(digest.to_owned(), model.clone());
        Ok(model)
    }

    /// The child, and how it differs from what the lineage says.
    fn rebuild(&mut self, lineage: &Lineage) -> Result<(Sample, Option<String>)> {
        let stage: &PlanStage<_> = self
            .plan
            .stages
            .generate
            .iter()
            .find(|stage| stage.info.id == lineage.stage)
            .ok_or_else(|| Error::data(format!("the pipeline has no generator stage `{}`", lineage.stage)))?;
        if stage.info.version != lineage.version || stage.info.config != lineage.config {
            let message = format!("made by {} version {} with another config than this build has", lineage.operator, lineage.version);
            return Err(Error::data(message));
        }
        let parents = lineage.parents.iter().map(|parent| self.sample(&parent.id)).collect::<Result<Vec<_>>>()?;
        let changed = parents.iter().zip(&lineage.parents).find(|(now, then)| now.digests() != then.digests);
        if let Some((now, _)) = changed {
            return Err(Error::data("the parent's media are not those it was made from").at("sample", &now.id));
        }
        let models = match &lineage.model {
            Some(digest) => Some(ModelSet { subject: self.model(digest)?, teachers: None }),
            None => None,
        };
        let context = ReplayContext { parents: &parents, models: models.as_ref(), seeds: SeedTree::at(&lineage.seed) };
        let mut sample = codec::settle(stage.operator.replay(&lineage.parameters, &context)?)?;
        sample.id = lineage.child.clone();
        let difference = Modality::ALL.into_iter().find(|m| sample.digest(*m) != lineage.outputs[*m]).map(|m| {
            let name = |digest: Option<Digest>| digest.map_or_else(|| "absent".to_owned(), |digest| digest.short());
            format!("the {m} differs: {} now, {} then", name(sample.digest(m)), name(lineage.outputs[m]))
        });
        Ok((sample, difference))
    }
}
