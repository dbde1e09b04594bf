//! The gallery: every transform at five severities on the built-in data, as one page.

use super::spec;
use crate::{
    augment::image::Corruption as Kind,
    error::{Error, Result},
    random::SeedTree,
    read::LabelIndex,
    registry::Registry,
    report::transforms::{Exhibit, Shown},
    sample::{Classes, Media, Sample, Text, TextSpan},
    transform::{Effect, PartnerClass, Partners, Plan, Scene, Site, Transform, image::corruption::Corruption},
};
use serde_json::{Value, json};
use std::path::Path;

/// Severities that are shown.
const SEVERITIES: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];
/// Samples of the built-in sets that a transform is tried on until one fires, so that a rule for few captions finds one.
const TRIED: usize = 104;
/// Keys by which configs name a folder or a file of their own.
const FILES: [&str; 2] = ["path", "folder"];

/// Draws every transform of `registry` with its documented example on a sample of the built-in data and writes the page into `out`
/// (made if needed). The same seed gives the same page. Returns the page's path.
pub fn gallery(registry: &Registry, out: &Path, seed: u64) -> Result<std::path::PathBuf> {
    let (samples, classes) = built_in(registry)?;
    let files = tempfile::tempdir().map_err(|error| Error::io(out, error))?;
    let mut exhibits = Vec::new();
    let examples = registry.transforms().into_iter().flat_map(|table| table.entries()).flat_map(|(name, entry)| {
        // One name stands for fifteen corruptions: each is shown.
        let kinds = if name == <Corruption as Effect>::NAME { kinds() } else { Vec::new() };
        let own = kinds.is_empty().then(|| (name.to_owned(), entry.example.to_owned()));
        let of_kinds = kinds.into_iter().map(|kind| (format!("{name}/{kind}"), format!("{{ kinds: [{kind}] }}")));
        own.into_iter().chain(of_kinds).map(move |(title, example)| (name, title, example, entry)).collect::<Vec<_>>()
    });
    for (name, title, example, entry) in examples {
        let config = spec::value(&example).map_err(|finding| Error::internal(format!("the example of `{name}`: {}", finding.problem)))?;
        let manual = (entry.schema)().to_value()["description"].as_str().unwrap_or_default().to_owned();
        lend_files(&config, files.path(), &samples)?;
        let mut transform: Box<dyn Transform> = registry
            .transforms()
            .ok_or_else(|| Error::internal("no transforms"))?
            .build(&json!({ name: config }))
            .map_err(|problems| {
                Error::internal(format!(
                    "the example of `{name}`: {}",
                    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                ))
            })?
            .operator;
        transform.bind_files(files.path()).map_err(|problem| Error::internal(format!("the example of `{name}`: {problem}")))?;
        let seeds = SeedTree::new(seed).child("gallery").child(&title);
        let shown = samples.iter().find_map(|sample| show(&*transform, sample, &samples, &classes, &seeds));
        exhibits.push(Exhibit {
            name: title,
            summary: manual.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
            example: format!("{name}: {example}"),
            changes: transform.changes(),
            scales: transform.scales(),
            shown,
        });
    }
    crate::report::transforms::write(out, &exhibits)
}

/// The common corruptions as a pipeline file names them.
fn kinds() -> Vec<String> {
    Kind::ALL.iter().filter_map(|kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned)).collect()
}

/// Samples in an order that begins with those that have everything: scenes with boxes and events, then digits.
fn built_in(registry: &Registry) -> Result<(Vec<Sample>, Classes)> {
    let mut entries = Vec::new();
    let mut samples = Vec::new();
    for (file, most) in [("builtin:scenes/train.jsonl", TRIED), ("builtin:digits/test.jsonl", TRIED / 4)] {
        let reader = registry
            .readers
            .build(&json!({ "manifest": { "path": file } }))
            .map_err(|_| Error::internal("the built-in data cannot be read without the reader `manifest`"))?;
        let source = reader.operator.open(Path::new("."))?;
        for (i, entry) in source.entries().iter().enumerate().take(most) {
            samples.push(source.fetch(i)?);
            entries.push(entry.clone());
        }
    }
    let labels = LabelIndex::of(&entries);
    for (sample, entry) in samples.iter_mut().zip(&entries) {
        sample.label = labels.resolve(entry)?;
    }
    for (i, content) in SAID.into_iter().enumerate() {
        let spans = content.find("Anna").map(|start| TextSpan { start, end: start + 4, tag: "PER".into() }).into_iter().collect();
        let mut sample = Sample::new(format!("said-{i}").as_str());
        sample.text = Some(Media::new(Text { content: content.into(), spans }));
        samples.push(sample);
    }
    Ok((samples, labels.classes().clone()))
}

/// What the captions of the built-in data do not have: names, numbers, contractions, marks, phrases.
const SAID: [&str; 3] = [
    "It is a dog next to Anna, and they do not bark: 3 dogs, the 2nd one in front!",
    "There is a car on the street while a bird sings. It's loud and they don't care; twenty-three people.",
    "Two children walk quickly beside a big truck (Anna said so).",
];

/// Where an example names a folder or a file, something of the built-in data lies there: a picture and a sound.
fn lend_files(config: &Value, base: &Path, samples: &[Sample]) -> Result<()> {
    for name in FILES.iter().filter_map(|key| config.get(key)?.as_str()) {
        let path = base.join(name);
        let folder = if path.extension().is_some() { path.parent().unwrap_or(base) } else { &path };
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let put = |file: &Path, bytes: &[u8]| std::fs::write(file, bytes).map_err(|error| Error::io(file, error));
        let sound = samples.iter().rev().find_map(|sample| sample.audio.as_ref()?.encoded());
        let picture = samples.iter().rev().find_map(|sample| sample.image.as_ref()?.encoded());
        match path.extension().map(|extension| extension.to_ascii_lowercase()) {
            None => {
                put(&folder.join("sound.wav"), sound.map_or(&[][..], |encoded| &encoded.bytes))?;
                put(&folder.join("picture.png"), picture.map_or(&[][..], |encoded| &encoded.bytes))?;
            }
            Some(kind) if kind == "png" || kind == "jpg" => put(&path, picture.map_or(&[][..], |encoded| &encoded.bytes))?,
            Some(_) => put(&path, sound.map_or(&[][..], |encoded| &encoded.bytes))?,
        }
    }
    Ok(())
}

/// The sample at every severity, where the transform fires on it at the greatest one.
fn show(transform: &dyn Transform, sample: &Sample, all: &[Sample], classes: &Classes, seeds: &SeedTree) -> Option<Shown> {
    let partners = partners(transform.wanted_partners(), sample, all)?;
    let scene = Scene::of(sample);
    let class_name = sample.label.as_ref().map(|label| classes.name(label.class()));
    let site = Site { sample, scene: &scene, class_name, classes, partners: &partners, seeds: &seeds.sample(&sample.id) };
    let Plan::Fires(draws) = transform.plan(&site, 1.0) else { return None };
    let draw = draws.into_iter().next()?;
    let severities: &[f64] = if transform.scales() { &SEVERITIES } else { &SEVERITIES[4..] };
    let steps = severities
        .iter()
        .map(|&severity| {
            let mut scene = Scene::of(sample);
            let made = transform.perform(&draw, severity, &mut scene, &partners).map(|()| scene.into_sample(sample));
            (severity, made)
        })
        .collect();
    let claim = transform.claim_of(&draw);
    Some(Shown { sample: sample.clone(), partners: partners.iter().map(|partner| partner.id.clone()).collect(), claim, draw, steps })
}

/// The first samples that fit.
fn partners(wanted: Option<Partners>, sample: &Sample, all: &[Sample]) -> Option<Vec<Sample>> {
    let Some(wanted) = wanted else { return Some(Vec::new()) };
    let class = |sample: &Sample| sample.label.as_ref().map(|label| label.class());
    let fits = |other: &&Sample| {
        let right_class = match wanted.class {
            PartnerClass::Any => true,
            PartnerClass::Same => class(other) == class(sample),
            PartnerClass::Other => class(other) != class(sample),
        };
        other.id != sample.id && right_class && other.present().contains(wanted.has)
    };
    let found: Vec<Sample> = all.iter().filter(fits).take(wanted.count).cloned().collect();
    (found.len() == wanted.count).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ModalitySet;

    #[test]
    fn every_transform_is_shown_and_the_page_asks_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let page = gallery(&registry, &folder.path().join("out"), 7).unwrap();
        let html = std::fs::read_to_string(&page).unwrap();
        for (name, _) in registry.transforms().unwrap().entries() {
            let shown = html.contains(&format!("id=\"{name}\""));
            assert!(shown || name == <Corruption as Effect>::NAME, "{name}");
        }
        assert_eq!(kinds().len(), 15);
        for kind in kinds() {
            assert!(html.contains(&format!("id=\"corruption/{kind}\"")), "{kind}");
        }
        assert!(!html.contains("fires on no sample"));
        let sounding = registry.transforms().unwrap().entries().filter(|(name, entry)| {
            let config = spec::value(entry.example).unwrap();
            let built = registry.transforms().unwrap().build(&json!({ (**name): config }));
            built.is_ok_and(|built| built.operator.changes().contains(ModalitySet::AUDIO))
        });
        assert!(html.matches("<audio").count() > sounding.count());
        assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
        let again = gallery(&registry, &folder.path().join("again"), 7).unwrap();
        assert_eq!(html, std::fs::read_to_string(again).unwrap());
    }
}
