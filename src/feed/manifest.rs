use super::{Feeder, Receipt, Sink};
use crate::{
    context::FeedContext,
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    sample::{Accepted, Annotations, Classes, Diagnosis, Label, Modality, Sample, ScoreTable, Selection},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Component, Path, PathBuf},
};

/// Writes the fed samples as an ordinary manifest data set with its lineage.
///
/// Method: `PATH/manifest.jsonl` holds a line a sample (`id`, media paths, `text`, `label`, `parent`, `operator`, `round`, annotations and
/// the parent's further fields), `PATH/lineage.jsonl` what is needed to make each again. Media stand under `PATH/images` and `PATH/audio` by
/// the digest of their bytes, so that equal media are one file; an untouched medium is written as its original bytes. Both lists appear
/// when the run, or the arm, is finished.
///
/// Reference: JSON lines manifests as read by the reader of the same name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Folder, relative to the run's folder; it may not lead out of it.
    pub path: String,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { path: "fed".into() }
    }
}

impl Configure<dyn Feeder> for Manifest {
    const NAME: &'static str = "manifest";
    const EXAMPLE: &'static str = "{ path: hard }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        let inside = Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if self.path.is_empty() || !inside {
            return Err(vec![Problem::new("path", format!("expected a folder below the run's folder, found `{}`", self.path))]);
        }
        Ok(Box::new(self))
    }
}

impl Feeder for Manifest {
    fn open(&self, context: &FeedContext<'_>) -> Result<Box<dyn Sink>> {
        let folder = context.folder.join(&self.path);
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
        Ok(Box::new(Writer {
            name: self.path.clone(),
            classes: context.classes.clone(),
            lines: tempfile::NamedTempFile::new_in(&folder).map_err(|error| Error::io(&folder, error))?,
            lineages: tempfile::NamedTempFile::new_in(&folder).map_err(|error| Error::io(&folder, error))?,
            folder,
            written: HashSet::new(),
            taken: 0,
        }))
    }
}

struct Writer {
    name: String,
    folder: PathBuf,
    classes: Classes,
    lines: tempfile::NamedTempFile,
    lineages: tempfile::NamedTempFile,
    written: HashSet<String>,
    taken: usize,
}

impl Writer {
    /// Writes a medium once, whole, and returns its path relative to the folder.
    fn medium(&mut self, sample: &Sample, modality: Modality) -> Result<Option<String>> {
        let encoded = match modality {
            Modality::Image => sample.image.as_ref().map(|media| (media.encoded().cloned(), media.digest(), "images")),
            Modality::Audio => sample.audio.as_ref().map(|media| (media.encoded().cloned(), media.digest(), "audio")),
            Modality::Text => None,
        };
        let Some((encoded, digest, below)) = encoded else { return Ok(None) };
        let encoded = encoded
            .ok_or_else(|| Error::internal(format!("the {modality} of an accepted sample is not encoded")).at("sample", &sample.id))?;
        let name = format!("{below}/{}.{}", digest.short(), encoded.extension);
        if self.written.insert(name.clone()) {
            let path = self.folder.join(&name);
            let parent = path.parent().unwrap_or(&self.folder).to_owned();
            fs::create_dir_all(&parent).map_err(|error| Error::io(&parent, error))?;
            let mut file = tempfile::NamedTempFile::new_in(&parent).map_err(|error| Error::io(&parent, error))?;
            file.write_all(&encoded.bytes).map_err(|error| Error::io(&path, error))?;
            file.persist(&path).map_err(|error| Error::io(&path, error.error))?;
        }
        Ok(Some(name))
    }

    fn line(&mut self, accepted: &Accepted) -> Result<Value> {
        let (sample, lineage) = (accepted.sample(), accepted.lineage());
        let mut line = Map::new();
        line.insert("id".into(), json!(sample.id));
        for modality in [Modality::Image, Modality::Audio] {
            if let Some(path) = self.medium(sample, modality)? {
                line.insert(modality.name().into(), json!(path));
            }
        }
        if let Some(text) = sample.text.as_ref().map(|media| media.get()) {
            line.insert("text".into(), json!(text.content));
            if !text.spans.is_empty() {
                line.insert("spans".into(), json!(text.spans));
            }
        }
        if let Some(label) = &sample.label {
            line.insert("label".into(), self.label(label));
        }
        line.insert("parent".into(), json!(lineage.parents.first().map(|parent| &parent.id)));
        line.insert("operator".into(), json!(lineage.operator));
        line.insert("round".into(), json!(lineage.round));
        if *sample.annotations != Annotations::default()
            && let Ok(Value::Object(annotations)) = serde_json::to_value(sample.annotations.as_ref())
        {
            line.extend(annotations);
        }
        for (key, value) in sample.fields.iter() {
            line.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(Value::Object(line))
    }

    fn label(&self, label: &Label) -> Value {
        let name = |class: usize| self.classes.name(class).to_owned();
        match label {
            // A label that was written as a number stays one.
            Label::Class(class) => self.classes.name(*class).parse::<i64>().map_or_else(|_| json!(name(*class)), |number| json!(number)),
            Label::Soft(shares) => {
                let shares = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
                Value::Object(shares.map(|(class, share)| (name(class), json!(share))).collect())
            }
        }
    }
}

impl Sink for Writer {
    fn round(&mut self, _: &ScoreTable, _: &[Diagnosis], _: &Selection) -> Result<()> {
        Ok(())
    }

    fn take(&mut self, accepted: &Accepted) -> Result<()> {
        let line = self.line(accepted)?;
        let lineage =
            serde_json::to_value(accepted.lineage()).map_err(|error| Error::internal(format!("a lineage cannot be written: {error}")))?;
        for (file, value) in [(&mut self.lines, line), (&mut self.lineages, lineage)] {
            writeln!(file, "{value}").map_err(|error| Error::io(&self.folder, error))?;
        }
        self.taken += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Receipt> {
        for (file, name) in [(self.lines, "manifest.jsonl"), (self.lineages, "lineage.jsonl")] {
            let path = self.folder.join(name);
            file.persist(&path).map_err(|error| Error::io(&path, error.error))?;
        }
        let files = ["manifest.jsonl", "lineage.jsonl"].map(|file| format!("{}/{file}", self.name)).to_vec();
        Ok(Receipt { taken: self.taken, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec,
        random::SeedTree,
        read::Reader,
        sample::{Candidate, Digest, Lineage, ParentRef, PerModality, Text, Verdict},
    };
    use std::collections::BTreeMap;

    pub(crate) fn accepted(id: &str, label: Label) -> Accepted {
        let mut sample = Sample::new(id);
        sample.label = Some(label);
        sample.image = Some(crate::sample::Media::new(crate::sample::ImageBuffer::filled(3, 2, 1, 7).unwrap()));
        sample.text = Some(codec::text::media(Text::new("a \"quoted\" caption")));
        sample.fields = std::sync::Arc::new([("speaker".to_owned(), json!("anna"))].into_iter().collect());
        let sample = codec::settle(sample).unwrap();
        let lineage = Lineage {
            child: id.into(),
            parents: vec![ParentRef { id: "parent".into(), digests: PerModality::default() }],
            round: 1,
            stage: "pgd".into(),
            operator: "pgd".into(),
            version: 1,
            config: Digest::of(b""),
            seed: SeedTree::new(1).path().clone(),
            parameters: json!({}),
            model: None,
            teacher: None,
            scores_before: BTreeMap::new(),
            scores_after: BTreeMap::new(),
            claims: Vec::new(),
            verdicts: Vec::new(),
            outputs: PerModality::default(),
        };
        Candidate { sample, lineage, attempt: 0 }.accept(vec![Verdict::pass("v", "fine", None, None)]).unwrap()
    }

    #[test]
    fn what_is_fed_is_read_back_by_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let classes = Classes::from_names(["3".into(), "7".into()]);
        let mut sink = Manifest { path: "hard".into() }.open(&FeedContext { folder: dir.path(), classes: &classes }).unwrap();
        sink.take(&accepted("a", Label::Class(1))).unwrap();
        sink.take(&accepted("b", Label::Soft([0.25, 0.75].into()))).unwrap();
        assert!(!dir.path().join("hard/manifest.jsonl").exists());
        assert_eq!(sink.finish().unwrap().taken, 2);
        let source = crate::read::Manifest::new("hard/manifest.jsonl").open(dir.path()).unwrap();
        assert!(source.problems().is_empty(), "{:?}", source.problems());
        assert_eq!(source.entries().len(), 2);
        let sample = source.fetch(0).unwrap();
        assert_eq!(sample.text.unwrap().get().content, "a \"quoted\" caption");
        assert_eq!(sample.image.unwrap().get().pixels(), &[7; 6]);
        assert_eq!(source.entries()[1].fields["speaker"], "anna");
        // Equal media are one file.
        assert_eq!(fs::read_dir(dir.path().join("hard/images")).unwrap().count(), 1);
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let table = Table::default();
        for path in ["../x", "/x", ""] {
            assert_eq!(Manifest { path: path.into() }.build(&table).err().unwrap()[0].path, "path");
        }
    }
}
