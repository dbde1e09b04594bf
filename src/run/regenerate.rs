//! Generated samples made again from their lineage, byte for byte, or what differs.

use super::{Summary, folder::Folder, keeper::GENERATED};
use crate::{
    codec,
    context::{FeedContext, ReplayContext},
    error::{Error, Result},
    feed::{self, Feeder},
    model::{Model, ModelSet},
    operator::unknown,
    pipeline::{Plan, PlanStage},
    progress::Progress,
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, Source},
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

/// Rebuilds the children `ids` of a run, all where it is empty; compares them with what the lineage says and with the files that
/// the run left, or writes them to `to`.
pub(super) fn regenerate(root: &Path, ids: &[SampleId], to: Option<&Path>, progress: &dyn Progress) -> Result<Summary> {
    let folder = Folder::existing(root);
    let record: RunRecord =
        folder.read_optional("run.json")?.ok_or_else(|| Error::usage(format!("{} holds no finished run (no run.json)", root.display())))?;
    let plan = Plan::from_value(&record.pipeline, &folder.base()?, &Registry::default())
        .map_err(|problems| Error::pipeline("the pipeline in run.json cannot be built by this version", problems))?;
    let lineages: Vec<Lineage> =
        read_lines(&folder.text(&format!("{GENERATED}/lineage.jsonl"))?).map_err(|error| error.at("file", "generated/lineage.jsonl"))?;
    if lineages.len() as u64 != record.candidates.fed {
        let told = format!("generated/lineage.jsonl holds {} lines, the run fed {} samples", lineages.len(), record.candidates.fed);
        return Err(Error::data(told).at("folder", root.display()));
    }
    if let Some(to) = to {
        check_target(root, to)?;
    }
    let wanted: Vec<&Lineage> = if ids.is_empty() {
        lineages.iter().collect()
    } else {
        let find = |id: &SampleId| {
            let missing = || {
                let told = unknown("generated sample", id.as_str(), lineages.iter().map(|lineage| lineage.child.as_str()));
                let told = told.split_once("; known: ").map_or(told.as_str(), |(told, _)| told);
                Error::usage(format!("{told}; generated/lineage.jsonl lists all {}", lineages.len()))
            };
            lineages.iter().find(|lineage| lineage.child == *id).ok_or_else(missing)
        };
        ids.iter().map(find).collect::<Result<_>>()?
    };
    let source = plan.data.train.operator.open(&plan.data.base)?;
    let mut workshop = Workshop::new(&folder, &plan, source.as_ref(), Classes::from_names(record.classes.iter().cloned()));
    let kept = if to.is_none() && !wanted.is_empty() { Some(Kept::open(&folder)?) } else { None };
    let mut differences: Vec<(SampleId, String)> = Vec::new();
    let mut rebuilt: Vec<(Lineage, Sample)> = Vec::new();
    let step = progress.begin("regenerate", wanted.len() as u64);
    for lineage in &wanted {
        match workshop.rebuild(lineage) {
            Ok((sample, found)) => {
                let found = found.or_else(|| kept.as_ref().and_then(|kept| kept.difference(&sample)));
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

/// The rebuilt samples get a folder of their own: inside the run's they would replace what they are compared with.
fn check_target(root: &Path, to: &Path) -> Result<()> {
    let inside = |path: &Path| path.canonicalize().ok().zip(root.canonicalize().ok()).is_some_and(|(path, root)| path.starts_with(root));
    if to.ancestors().find(|path| path.exists()).is_some_and(inside) {
        return Err(Error::usage(format!("--to {} lies in the folder of the run; name another one", to.display())));
    }
    Ok(())
}

/// The files that the run left, as its manifest names them.
struct Kept {
    source: Box<dyn Source>,
    index: HashMap<SampleId, usize>,
}

impl Kept {
    fn open(folder: &Folder) -> Result<Self> {
        let source = Manifest::new(format!("{GENERATED}/manifest.jsonl")).open(folder.root())?;
        let index = source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        Ok(Self { source, index })
    }

    fn difference(&self, sample: &Sample) -> Option<String> {
        let Some(&i) = self.index.get(&sample.id) else {
            return Some(format!("{GENERATED}/manifest.jsonl has no line of it whose files are there"));
        };
        match self.source.fetch(i) {
            Err(error) => Some(error.to_string()),
            Ok(found) => Modality::ALL
                .into_iter()
                .find(|m| found.digest(*m) != sample.digest(*m))
                .map(|m| format!("the {m} in {GENERATED}/ is not the one that was made")),
        }
    }
}

/// Writes the rebuilt samples as an ordinary manifest data set.
fn write(to: &Path, rebuilt: Vec<(Lineage, Sample)>, classes: &Classes) -> Result<()> {
    let name = to.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::usage(format!("--to {} does not end in the name of a folder", to.display())))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
    let feeder = feed::Manifest { path: name.to_owned() };
    let mut sink = feeder.open(&FeedContext { folder: parent, classes })?;
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
        let file = self.folder.path(&format!("models/{digest}.safetensors"));
        let model = self.plan.model.operator.reopen(&self.plan.data.base, &file)?;
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
