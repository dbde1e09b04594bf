//! The engine with real scenes: lists, picks, partners, counts, replay.

use super::*;
use crate::{
    context::{Fetch, StageInfo},
    generate,
    model::{
        ModelSet,
        linear::{LinearModel, RawAudio, RawImage},
    },
    sample::{Diagnosis, DifficultyBand, Digest, ScoreTable, TableRow},
    transform::{
        PartnerClass, Partners,
        testing::{classes, scenes},
    },
};
use serde_json::json;
use std::sync::{Arc, OnceLock};

pub(crate) struct Shelf;
impl Fetch for Shelf {
    fn fetch(&self, id: &SampleId) -> Result<Sample> {
        scenes().iter().find(|sample| sample.id == *id).cloned().ok_or_else(|| Error::data("no such sample").at("sample", id))
    }
}

pub(crate) fn parents(samples: &[Sample]) -> Vec<Parent> {
    let row_of = |sample: &Sample| scenes().iter().position(|own| own.id == sample.id).unwrap_or(0);
    let one = |sample: &Sample| Parent {
        sample: sample.clone(),
        row: row_of(sample),
        diagnosis: Diagnosis::clear(),
        weight: 1.0,
        scores: BTreeMap::new(),
    };
    samples.iter().map(one).collect()
}

/// All scenes, each a group of its own.
pub(crate) fn table() -> &'static ScoreTable {
    static TABLE: OnceLock<ScoreTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let row = |(group, s): (usize, &Sample)| TableRow {
            id: s.id.clone(),
            class: s.label.as_ref().map(|label| label.class()),
            present: s.present(),
            group,
            fields: Arc::default(),
        };
        ScoreTable::new(scenes().iter().enumerate().map(row).collect(), classes().len()).unwrap()
    })
}

/// A linear model whose loss for class 0 rises as the picture gets darker.
pub(crate) fn model() -> ModelSet {
    let values = 80 * 56 * 3;
    let weights: Vec<f32> = (0..6 * values).map(|i| if i < values { 12.0 / values as f32 } else { 0.0 }).collect();
    let image = RawImage { width: 80, height: 56, channels: 3, weights };
    let none: Option<RawAudio> = None;
    let subject = LinearModel::from_weights(classes().clone(), vec![0.0; 6], Some(image), none).unwrap();
    ModelSet { subject: Arc::new(subject), teachers: None }
}

pub(crate) fn build(config: Value) -> Box<dyn Generator> {
    generate::table().build(&config).unwrap_or_else(|problems| panic!("{}", problems[0])).operator
}

pub(crate) fn problems(config: Value) -> Vec<String> {
    let found = generate::table().build(&config).err().unwrap_or_default();
    found.into_iter().map(|problem| problem.to_string()).collect()
}

pub(crate) fn run(operator: &dyn Generator, samples: &[Sample], band: Option<DifficultyBand>) -> Generated {
    let models = model();
    let stage = StageInfo { id: "made".into(), operator: "test", version: 1, config: Digest::of(b"") };
    let context = GenerateContext {
        models: &models,
        seeds: SeedTree::new(7).round(1).stage("made"),
        round: 1,
        stage: &stage,
        band,
        table: table(),
        diagnoses: &[],
        index: None,
        fetch: &Shelf,
        classes: classes(),
    };
    operator.generate(&parents(samples), &context).unwrap()
}

/// Made again from its written lineage.
pub(crate) fn replay(operator: &dyn Generator, candidate: &Candidate) -> Sample {
    let written = serde_json::to_string(&candidate.lineage.parameters).unwrap();
    let parents: Vec<Sample> = candidate.lineage.parents.iter().map(|parent| Shelf.fetch(&parent.id).unwrap()).collect();
    let context = ReplayContext { parents: &parents, models: None, seeds: SeedTree::at(&candidate.lineage.seed) };
    codec::settle(operator.replay(&serde_json::from_str(&written).unwrap(), &context).unwrap()).unwrap()
}

fn names(candidate: &Candidate) -> Vec<String> {
    Parameters::deserialize(&candidate.lineage.parameters).unwrap().rules.iter().map(|step| step.address.clone()).collect()
}

fn list() -> Value {
    json!({ "augment": {
        "transforms": [
            { "one_of": [{ "gaussian_blur": { "sigma": 3 } }, { "level": {} }] },
            { "babble": { "class": "other", "voices": 2 } },
            { "add_noise": { "probability": 0.5 } },
            "gaussian_blur",
        ],
        "variants": 3,
    } })
}

#[test]
fn a_list_makes_children_with_partners_that_can_be_made_again() {
    let operator = build(list());
    let made = run(&*operator, &scenes()[..20], None);
    assert!(made.candidates.len() >= 50, "{}", made.candidates.len());
    let (mut noisy, mut babbling) = (0, 0);
    for candidate in &made.candidates {
        let steps = Parameters::deserialize(&candidate.lineage.parameters).unwrap().rules;
        noisy += usize::from(steps.iter().any(|step| step.name() == "add_noise"));
        // In the order of the list; the second of a name has an ordinal.
        let place =
            |step: &Step| ["gaussian_blur", "level", "babble", "add_noise", "gaussian_blur#2"].iter().position(|own| *own == step.address);
        assert!(steps.iter().map(place).is_sorted(), "{:?}", names(candidate));
        if let Some(step) = steps.iter().find(|step| step.name() == "babble") {
            babbling += 1;
            assert_eq!(step.partners.len(), 2);
            let parents: Vec<&SampleId> = candidate.lineage.parents[1..].iter().map(|parent| &parent.id).collect();
            assert!(step.partners.iter().all(|id| parents.contains(&id)) && step.partners[0] != step.partners[1]);
            let class = |id: &SampleId| Shelf.fetch(id).unwrap().label.unwrap().class();
            assert!(step.partners.iter().all(|id| class(id) != class(&candidate.lineage.parents[0].id)));
        }
        assert_eq!(replay(&*operator, candidate).digests(), candidate.sample.digests(), "{}", candidate.sample.id);
    }
    assert!(babbling > 30 && noisy > 10 && noisy < babbling, "{babbling} {noisy}");
    // What was drawn is counted.
    let blur = &made.transforms["gaussian_blur"];
    assert!(blur.fired as usize >= made.candidates.len() && blur.made == [0; 10], "{blur:?}");
    assert!(made.transforms.contains_key("level") && made.transforms.contains_key("add_noise"));
    let applied = operator.applied(&made.candidates[0].lineage.parameters).unwrap();
    assert!((0.1..=1.0).contains(&applied.severity) && !applied.transforms.is_empty());
}

#[test]
fn look_ups_in_a_row_are_one_pass_with_the_same_bytes() {
    let names = ["brightness", "contrast", "gamma", "gaussian_blur", "solarize", "contrast#2", "posterize"];
    let transforms: Vec<&str> = names.iter().map(|name| name.trim_end_matches("#2")).collect();
    let operator = build(json!({ "augment": { "transforms": transforms } }));
    let samples: Vec<Sample> = scenes().iter().filter(|s| s.image.is_some()).take(6).cloned().collect();
    let made = run(&*operator, &samples, None);
    assert!(made.candidates.len() >= 4, "{:?}", made.outcomes);
    for candidate in &made.candidates {
        let parameters = Parameters::deserialize(&candidate.lineage.parameters).unwrap();
        assert!(parameters.rules.len() >= 5, "{:?}", parameters.rules);
        let mut scene = Scene::of(samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap());
        for step in &parameters.rules {
            let alone = crate::transform::table().build(&json!({ step.name(): {} })).unwrap_or_else(|problems| panic!("{}", problems[0]));
            alone.operator.perform(&step.draw, parameters.severity, &mut scene, &[]).unwrap();
        }
        assert_eq!(*candidate.sample.image.as_ref().unwrap().get(), *scene.image.unwrap());
    }
}

#[test]
fn as_many_fire_as_are_picked() {
    let mut config = list();
    config["augment"]["pick"] = json!(2);
    config["augment"]["order"] = json!("shuffled");
    let made = run(&*build(config), &scenes()[..20], None);
    let mut orders = BTreeSet::new();
    for candidate in &made.candidates {
        let names = names(candidate);
        assert!((1..=2).contains(&names.len()), "{names:?}");
        orders.insert(names);
    }
    assert!(
        orders.len() > 5 && orders.iter().any(|names| !names.is_sorted()) && orders.iter().any(|names| names.is_sorted()),
        "{orders:?}"
    );
}

#[test]
fn what_has_no_probability_never_fires() {
    // Of all-modality samples everything could act; the rule that may fire seldom does, and then alone.
    let of = |name: &str, list: Value| match name {
        "synchronized" => json!({ name: { "rules": list, "variants": 4 } }),
        "augment" => json!({ name: { "transforms": list, "variants": 4 } }),
        _ => json!({ name: { "transforms": list, "draws": 3 } }),
    };
    let never = json!({ "gain": { "probability": 0 } });
    let list = json!([never, { "level": { "probability": 0.1 } }, { "polarity": { "probability": 0 } }]);
    let mut samples: Vec<Sample> = scenes().iter().filter(|s| s.present() == ModalitySet::ALL).take(8).cloned().collect();
    samples.iter_mut().for_each(|s| s.label = Some(crate::sample::Label::Class(0)));
    for name in ["augment", "synchronized", "worst_case"] {
        let made = run(&*build(of(name, list.clone())), &samples, None);
        assert!(made.candidates.len() >= 8, "{name}: {:?}", made.outcomes);
        assert!(
            made.candidates.iter().all(|candidate| names(candidate) == ["level"]),
            "{name}: {:?}",
            made.candidates[0].lineage.parameters
        );
        let field = if name == "synchronized" { "rules" } else { "transforms" };
        let told = format!("{name}.{field}: expected at least one with a probability above 0; these never fire");
        assert_eq!(problems(of(name, json!([never]))), [told]);
    }
    // Inside `one_of`, the first that acts stands in for one that cannot.
    let list = json!([{ "one_of": [{ "babble": { "voices": 16, "class": "same" } }, { "gain": { "probability": 0 } }, "level"] }]);
    let made = run(&*build(json!({ "augment": { "transforms": list, "variants": 8 } })), &samples, None);
    assert!(made.candidates.iter().any(|candidate| names(candidate) == ["level"]), "{:?}", made.outcomes);
    assert!(made.candidates.iter().all(|candidate| names(candidate) != ["gain"]));
}

#[test]
fn the_severity_is_searched_and_neighbours_in_the_batch_do_not_matter() {
    let operator = build(
        json!({ "augment": { "transforms": [{ "level": { "direction": "down", "stops": 4 } }, "gaussian_blur"], "severity_range": [0, 1] } }),
    );
    let mut samples: Vec<Sample> = scenes().iter().filter(|s| s.present() == ModalitySet::ALL).take(8).cloned().collect();
    samples.iter_mut().for_each(|s| s.label = Some(crate::sample::Label::Class(0)));
    let band = Some(DifficultyBand { low: 0.35, high: 0.6 });
    let all = run(&*operator, &samples, band);
    assert!(all.candidates.len() >= 8, "{:?}", all.outcomes);
    let alone: Vec<Candidate> = samples.iter().flat_map(|s| run(&*operator, std::slice::from_ref(s), band).candidates).collect();
    assert_eq!(alone.len(), all.candidates.len());
    for (a, b) in all.candidates.iter().zip(&alone) {
        assert_eq!((a.sample.digests(), &a.lineage.parameters), (b.sample.digests(), &b.lineage.parameters));
        let severity = operator.applied(&a.lineage.parameters).unwrap().severity;
        assert!(severity < 1.0, "{severity}");
    }
}

#[test]
fn a_lonely_sample_has_no_partner() {
    let operator = build(json!({ "augment": { "transforms": [{ "babble": { "voices": 16, "class": "same" } }] } }));
    let wanted = Partners { count: 1, class: PartnerClass::Any, has: ModalitySet::AUDIO };
    let sample = scenes().iter().find(|s| s.present().has(crate::sample::Modality::Audio)).unwrap();
    let same = scenes().iter().filter(|s| s.audio.is_some() && s.label == sample.label).count();
    let made = run(&*operator, std::slice::from_ref(sample), None);
    if same <= 16 {
        assert_eq!(made.outcomes[0].1, Outcome::Refused("no_partner".into()));
    }
    let silent = sample.only(ModalitySet::IMAGE);
    assert_eq!(run(&*operator, &[silent], None).outcomes[0].1, Outcome::NoOp);
    // Nobody is left beside the sample, its group and those that were set aside.
    let mut rows = table().rows().to_vec();
    rows.truncate(3);
    rows[1].group = rows[0].group;
    let few = ScoreTable::new(rows, classes().len()).unwrap();
    let mut diagnoses = vec![Diagnosis::clear(); 3];
    diagnoses[2].judgement = crate::sample::Judgement::SuspectLabel;
    let (models, stage) = (model(), StageInfo { id: "m".into(), operator: "m", version: 1, config: Digest::of(b"") });
    let context = |diagnoses| GenerateContext {
        models: &models,
        seeds: SeedTree::new(1),
        round: 1,
        stage: &stage,
        band: None,
        table: &few,
        diagnoses,
        index: None,
        fetch: &Shelf,
        classes: classes(),
    };
    let parent = &parents(&scenes()[..1])[0];
    let has = scenes()[2].present().has(crate::sample::Modality::Audio);
    let drawn = |diagnoses| partners::draw(&wanted, parent, &context(diagnoses), &SeedTree::new(3)).unwrap();
    assert!(drawn(&diagnoses[..]).is_none());
    assert_eq!(drawn(&[]).is_some_and(|found| found[0].id == scenes()[2].id), has);
}

#[test]
fn wrong_lists_are_told_with_their_paths() {
    let found = problems(json!({ "augment": {
        "transforms": [{ "gaussian_blur": { "sigma": 90 } }, { "one_of": [] }, { "one_of": [{ "add_noise": { "probability": 2, "snr": 1 } }] }, { "blur": {} }],
        "pick": 9, "variants": 0,
    } }));
    let wanted = [
        "augment.variants: expected a number in 1..=64, found 0",
        "augment.pick: expected a number in 1..=4, found 9",
        "augment.transforms[0].gaussian_blur.sigma: expected pixels in 0..=64, found 90",
        "augment.transforms[1].one_of: expected a list of at least one transform",
        "augment.transforms[2].one_of[0].add_noise.probability: expected a probability in 0..=1, found 2",
    ];
    assert_eq!(found[..5], wanted);
    assert!(found[5].starts_with("augment.transforms[2].one_of[0].add_noise.snr: unknown key `snr`"), "{}", found[5]);
    assert!(found[6].starts_with("augment.transforms[3].blur: unknown operator `blur`"), "{}", found[6]);
    assert_eq!(
        problems(json!({ "augment": { "transforms": [] } })),
        ["augment.transforms: expected at least one transform, such as `- gaussian_blur: {}`"]
    );
}

#[test]
fn the_resolved_list_has_every_default() {
    let built = generate::table().build(&list()).unwrap();
    let transforms = &built.config["transforms"];
    assert_eq!(transforms[2]["add_noise"], json!({ "probability": 0.5, "snr_db": [0.0, 15.0], "colours": ["white", "pink", "brown"] }));
    assert_eq!(transforms[0]["one_of"][0]["gaussian_blur"], json!({ "probability": 1.0, "sigma": [3.0, 3.0] }));
    let again = generate::table().build(&json!({ "augment": built.config })).unwrap();
    assert_eq!(again.config, built.config);
}

#[test]
fn a_draw_of_another_version_or_stage_is_told() {
    let operator = build(json!({ "augment": { "transforms": ["gaussian_blur"] } }));
    let parent = scenes().iter().find(|s| s.image.is_some()).unwrap();
    let context = ReplayContext { parents: std::slice::from_ref(parent), models: None, seeds: SeedTree::new(0) };
    let replayed = |rule: Value| operator.replay(&json!({ "severity": 1.0, "rules": [rule] }), &context).map_err(|error| error.to_string());
    assert!(replayed(json!({ "gaussian_blur@2": { "sigma": 2.0 } })).is_ok());
    assert!(replayed(json!({ "gaussian_blur@3": { "sigma": 2.0 } })).unwrap_err().contains("drawn by version 3"));
    // Version 1 is not written.
    assert!(replayed(json!({ "gaussian_blur": { "sigma": 2.0 } })).unwrap_err().contains("drawn by version 1"));
    assert!(replayed(json!({ "flip": {} })).unwrap_err().contains("`flip` is no transform of this stage"));
    assert!(replayed(json!({ "gaussian_blur@2": { "sgima": 2.0 } })).is_err());
}
