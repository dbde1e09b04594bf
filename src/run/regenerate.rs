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
    record::{ModelRole, RunRecord, read_lines},
    registry::Registry,
    sample::{Candidate, Classes, Digest, Lineage, Modality, Sample, SampleId},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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
    let mut workshop = Workshop::new(&folder, &plan, &record, source.as_ref());
    let kept = if to.is_none() && !wanted.is_empty() { Some(Kept::open(&folder, &lineages)?) } else { None };
    let mut differences: Vec<(SampleId, String)> = Vec::new();
    let mut rebuilt: Vec<(Lineage, Sample)> = Vec::new();
    let step = progress.begin("regenerate", wanted.len() as u64);
    for lineage in &wanted {
        match workshop.rebuild(lineage) {
            Ok((sample, found)) => {
                let found = match (found, &kept) {
                    (None, Some(kept)) => kept.difference(&sample, lineage, workshop.classes())?,
                    (found, _) => found,
                };
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

/// What the run left: the manifest's lines, and the files that they name.
struct Kept {
    source: Box<dyn Source>,
    index: HashMap<SampleId, usize>,
    lines: HashMap<String, Map<String, Value>>,
}

const MANIFEST: &str = "generated/manifest.jsonl";

impl Kept {
    fn open(folder: &Folder, lineages: &[Lineage]) -> Result<Self> {
        let lines: Vec<Map<String, Value>> = read_lines(&folder.text(MANIFEST)?).map_err(|error| error.at("file", MANIFEST))?;
        let known: HashSet<&str> = lineages.iter().map(|lineage| lineage.child.as_str()).collect();
        let mut by_id = HashMap::new();
        for line in lines {
            let id = line.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            if !known.contains(id.as_str()) {
                return Err(Error::data(format!("a line of `{id}`, which {GENERATED}/lineage.jsonl does not name")).at("file", MANIFEST));
            }
            if by_id.insert(id.clone(), line).is_some() {
                return Err(Error::data(format!("two lines of `{id}`")).at("file", MANIFEST));
            }
        }
        let source = Manifest::new(MANIFEST).open(folder.root())?;
        let index = source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        Ok(Self { source, index, lines: by_id })
    }

    /// How the child's line and files differ from those that it would have now.
    fn difference(&self, sample: &Sample, lineage: &Lineage, classes: &Classes) -> Result<Option<String>> {
        let none = format!("{MANIFEST} has no line of it whose files are there");
        let Some(line) = self.lines.get(sample.id.as_str()) else { return Ok(Some(none)) };
        let files = match self.index.get(&sample.id).map(|i| self.source.fetch(*i)) {
            None => Some(none),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(found)) => Modality::ALL
                .into_iter()
                .find(|m| found.digest(*m) != sample.digest(*m))
                .map(|m| format!("the {m} in {GENERATED}/ is not the one that was made")),
        };
        let right = feed::fields(sample, lineage, classes)?;
        let names: BTreeSet<&String> = line.keys().filter(|name| !feed::MEDIA.contains(&name.as_str())).chain(right.keys()).collect();
        let edited = names.into_iter().filter(|name| line.get(*name) != right.get(*name));
        let mut told: Vec<String> = edited.map(|name| field(MANIFEST, name, line.get(name), right.get(name))).collect();
        // A broken line cannot be read with its files, and an edited text is told of as a field.
        if told.is_empty() {
            told.extend(files);
        }
        Ok((!told.is_empty()).then(|| told.join("; ")))
    }
}

/// That a field of a record is not what follows from the rest.
fn field(file: &str, name: &str, found: Option<&Value>, right: Option<&Value>) -> String {
    let of = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), |value| format!("`{}`", written(value)));
    format!("{file}: `{name}` is {}, and by the training data and the lineage it is {}", of(found), of(right))
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
    record: &'a RunRecord,
    source: &'a dyn Source,
    labels: LabelIndex,
    index: HashMap<SampleId, usize>,
    models: HashMap<String, Arc<dyn Model>>,
}

impl<'a> Workshop<'a> {
    fn new(folder: &'a Folder, plan: &'a Plan, record: &'a RunRecord, source: &'a dyn Source) -> Self {
        let index = source.entries().iter().enumerate().map(|(i, entry)| (entry.id.clone(), i)).collect();
        let labels = LabelIndex::with(Classes::from_names(record.classes.iter().cloned()));
        Self { folder, plan, record, source, labels, index, models: HashMap::new() }
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

    /// What the lineage says of itself that does not fit together: the stage's operator, the child's id and the address of its draws, which name parent, stage and round;
    /// and the models, which the run keeps by what they are.
    fn misnamed(&self, lineage: &Lineage, operator: &str) -> Option<String> {
        let file = "generated/lineage.jsonl";
        let told = |name: &str, found: Value, right: Value| (found != right).then(|| field(file, name, Some(&found), Some(&right)));
        let parent = lineage.parents.first().map_or("", |parent| parent.id.as_str());
        let (child, of) = (lineage.child.as_str(), |word: &str| lineage.seed.steps.iter().find_map(|step| step.strip_prefix(word)));
        // What the address of the draws and the id agree on.
        let round = of("round ").and_then(|n| n.parse::<usize>().ok()).filter(|n| child.contains(&format!("~{}.r{n}.", lineage.stage)));
        let named = of("sample ").filter(|id| child.starts_with(&format!("{id}~")));
        let steps = ["arm".to_owned(), format!("round {}", lineage.round), format!("stage {}", lineage.stage), format!("sample {parent}")];
        let begun: Vec<&String> = lineage.seed.steps.iter().take(steps.len()).collect();
        let begins = format!("{parent}~{}.r{}.", lineage.stage, lineage.round);
        let numbered = child.strip_prefix(&begins).is_some_and(|rest| rest.parse::<usize>().is_ok());
        let kept = |digest: &Option<String>, role: ModelRole| {
            let name = if role == ModelRole::Teacher { "teacher" } else { "model" };
            let round = (role == ModelRole::Subject).then_some(lineage.round);
            let mut models = self.record.models.iter().filter(|model| model.role == role && model.round == round);
            let digest = digest.as_ref().filter(|digest| !models.any(|model| model.digest == **digest))?;
            Some(format!("{file}: `{name}` is `{digest}`, and run.json names no such model of round {}", lineage.round))
        };
        told("operator", json!(lineage.operator), json!(operator))
            .or_else(|| told("round", json!(lineage.round), json!(round.unwrap_or(lineage.round))))
            .or_else(|| told("parents[0].id", json!(parent), json!(named.unwrap_or(parent))))
            .or_else(|| told("seed.seed", json!(lineage.seed.seed), json!(self.record.seed)))
            .or_else(|| told("seed.steps", json!(begun), json!(steps)))
            .or_else(|| (!numbered).then(|| field(file, "child", Some(&json!(child)), Some(&json!(format!("{begins}..."))))))
            .or_else(|| kept(&lineage.model, ModelRole::Subject))
            .or_else(|| kept(&lineage.teacher, ModelRole::Teacher))
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
        if stage.info.version != lineage.version {
            let (operator, of) = (&lineage.operator, lineage.version);
            return Err(Error::data(format!("made by {operator} version {of}, of which this build has version {}", stage.info.version)));
        }
        if stage.info.config != lineage.config {
            return Err(Error::data(format!("made by {} with another config than the pipeline of the run names", lineage.operator)));
        }
        if let Some(told) = self.misnamed(lineage, stage.info.operator) {
            return Err(Error::data(told));
        }
        if let Some(verdict) = lineage.verdicts.iter().find(|verdict| !verdict.passed) {
            let (by, why) = (&verdict.verifier, &verdict.reason);
            return Err(Error::data(format!("generated/lineage.jsonl: `verdicts` is not of a child that is fed: {by} refused it ({why})")));
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
