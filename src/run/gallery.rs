//! The gallery: every transform at five severities on the built-in data, as one page.

use super::spec;
use crate::{
    augment::image::Corruption as Kinds,
    error::{Error, Result},
    generate::synchronized::Preset,
    random::SeedTree,
    read::LabelIndex,
    registry::Registry,
    report::transforms::{Exhibit, Kind, Shown},
    sample::{Claim, Classes, Media, ModalitySet, Sample, Text, TextSpan},
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
        let shown = samples.iter().find_map(|sample| show(&[&*transform], sample, &samples, &classes, &seeds));
        exhibits.push(Exhibit {
            name: title,
            summary: summary(&manual),
            example: format!("{name}: {example}"),
            kind: Kind::Transform,
            changes: transform.changes(),
            scales: transform.scales(),
            shown,
        });
    }
    exhibits.extend(presets(&samples, &classes, &SeedTree::new(seed).child("gallery").child("preset")));
    crate::report::transforms::write(out, &exhibits)
}

/// The presets of `synchronized`, all rules of each together under one severity.
fn presets(samples: &[Sample], classes: &Classes, seeds: &SeedTree) -> Vec<Exhibit> {
    let manuals = schemars::schema_for!(Preset).to_value();
    let manual = |name: &str| {
        let own = manuals["oneOf"].as_array().into_iter().flatten().find(|one| one["const"] == name);
        summary(own.and_then(|own| own["description"].as_str()).unwrap_or_default())
    };
    Preset::ALL
        .into_iter()
        .map(|preset| {
            let name = serde_json::to_value(preset).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default();
            let rules = preset.rules();
            let transforms: Vec<&dyn Transform> = rules.iter().map(|rule| &*rule.transform).collect();
            let seeds = seeds.child(&name);
            // The first of those on which most rules fire.
            let mut shown: Option<Shown> = None;
            let fired = |shown: &Shown| shown.draw.as_object().map_or(0, serde_json::Map::len);
            for sample in samples {
                let Some(new) = show(&transforms, sample, samples, classes, &seeds) else { continue };
                if shown.as_ref().is_none_or(|old| fired(&new) > fired(old)) {
                    shown = Some(new);
                }
                if shown.as_ref().is_some_and(|shown| fired(shown) == transforms.len()) {
                    break;
                }
            }
            Exhibit {
                summary: manual(&name),
                example: format!("synchronized: {{ preset: {name} }}"),
                kind: Kind::Preset,
                changes: transforms.iter().fold(ModalitySet::EMPTY, |set, transform| set.or(transform.changes())),
                scales: true,
                shown,
                name,
            }
        })
        .collect()
}

/// The first paragraph of a doc comment, on one line.
fn summary(manual: &str) -> String {
    manual.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The common corruptions as a pipeline file names them.
fn kinds() -> Vec<String> {
    Kinds::ALL.iter().filter_map(|kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned)).collect()
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

/// The sample at every severity, where one of the transforms fires on it at the greatest one; several are applied in their order, those left out that do not fire on what the
/// ones before made of it.
fn show(transforms: &[&dyn Transform], sample: &Sample, all: &[Sample], classes: &Classes, seeds: &SeedTree) -> Option<Shown> {
    let class_name = sample.label.as_ref().map(|label| classes.name(label.class()));
    let mut reached = Scene::of(sample);
    let mut fired: Vec<(&dyn Transform, Value, Vec<Sample>)> = Vec::new();
    for &transform in transforms {
        if sample.present().and(transform.changes()).is_empty() {
            continue;
        }
        let Some(partners) = partners(transform.wanted_partners(), sample, all) else { continue };
        let seeds = if transforms.len() == 1 { seeds.sample(&sample.id) } else { seeds.child(transform.name()).sample(&sample.id) };
        let site = Site { sample, scene: &reached, class_name, classes, partners: &partners, seeds: &seeds };
        let Plan::Fires(draws) = transform.plan(&site, 1.0) else { continue };
        let Some(draw) = draws.into_iter().next() else { continue };
        let mut next = reached.clone();
        if transform.perform(&draw, 1.0, &mut next, &partners).is_err() {
            continue;
        }
        reached = next;
        fired.push((transform, draw, partners));
    }
    if fired.is_empty() {
        return None;
    }
    let scales = fired.iter().any(|(transform, ..)| transform.scales());
    let steps = if scales { &SEVERITIES } else { &SEVERITIES[4..] }
        .iter()
        .map(|&severity| {
            let mut scene = Scene::of(sample);
            let perform = |(transform, draw, partners): &(&dyn Transform, Value, Vec<Sample>)| {
                transform.perform(draw, severity, &mut scene, partners)
            };
            let made = fired.iter().try_for_each(perform);
            let magnitude = match fired.as_slice() {
                [(transform, draw, _)] if transforms.len() == 1 => transform.magnitude_of(draw, severity),
                _ => None,
            };
            (severity, magnitude, made.map(|()| scene.into_sample(sample)))
        })
        .collect();
    let claims = fired.iter().map(|(transform, draw, _)| transform.claim_of(draw));
    let draw = match transforms.len() {
        1 => fired[0].1.clone(),
        _ => fired.iter().map(|(transform, draw, _)| (transform.name().to_owned(), draw.clone())).collect::<serde_json::Map<_, _>>().into(),
    };
    Some(Shown {
        sample: sample.clone(),
        partners: fired.iter().flat_map(|(.., partners)| partners).map(|partner| partner.id.clone()).collect(),
        claim: claims.into_iter().find(|claim| *claim != Claim::LabelKept).unwrap_or(Claim::LabelKept),
        draw,
        steps,
    })
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
    use crate::transform::{
        audio::babble::Babble,
        decibels, range,
        scene::{Direction, Level},
        testing::tone,
    };

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
        for preset in ["mild", "street", "night", "telephone", "far_away", "crowd"] {
            assert!(html.contains(&format!("id=\"{preset}\"")), "{preset}");
        }
        assert!(html.contains(" dB SNR</span>") && html.contains(" semitones</span>"));
        assert!(html.contains("A busy street") && html.matches("<rect").count() > 50);
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

    #[test]
    fn a_rule_that_refuses_what_another_made_is_left_out() {
        let level = Level { direction: Direction::Down, gain_db: decibels(20.0), ..Level::default() };
        let babble = Babble { snr_db: range(0.0, 5.0), voices: 1, ..Babble::default() };
        let named = |id: &str| Sample {
            audio: Some(Media::new(tone(8000, 1, 400, 0.4))),
            text: Some(Media::new(Text::new("a dog on a loud street"))),
            ..Sample::new(id)
        };
        let all = [named("a"), named("b")];
        let shown = |rules: &[&dyn Transform]| show(rules, &all[0], &all, &Classes::default(), &SeedTree::new(3)).unwrap();
        let names = |shown: &Shown| shown.draw.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        // Other voices are no background of a place that is quiet by now, and every step is shown nonetheless.
        let found = shown(&[&level, &babble]);
        assert_eq!(names(&found), ["level"]);
        let steps: Vec<_> =
            found.steps.iter().map(|(.., made)| made.as_ref().map(|child| child.text.as_ref().unwrap().get().content.as_str())).collect();
        assert_eq!((steps.len(), steps[0], steps[4]), (5, Ok("a dog on a loud street"), Ok("a dog on a quiet street")));
        // The other way round both fire.
        let found = shown(&[&babble, &level]);
        assert_eq!(names(&found), ["babble", "level"]);
        assert!(found.steps.iter().all(|(.., made)| made.is_ok()));
    }
}
