use super::*;
use crate::{
    augment::audio as sound,
    context::ReplayContext,
    generate::{
        Outcome,
        engine::{
            Parameters,
            tests::{build, model, problems, replay, run},
        },
    },
    model::{Target, measure},
    random::SeedTree,
    sample::{Candidate, DifficultyBand, ImageBuffer, Label, Media, ModalitySet, Sample, SampleId, Text},
    transform::{
        Plan,
        scene::{Direction, Level},
        testing::{self, content, field, scenes},
    },
};
use serde_json::json;

fn synchronized(config: Value) -> Box<dyn Generator> {
    build(json!({ "synchronized": config }))
}

#[test]
fn one_draw_changes_every_linked_modality() {
    let sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL && content(s).contains("edge on a bright day")).unwrap();
    let operator =
        synchronized(json!({ "rules": [{ "flip": {} }, { "level": { "direction": "down" } }], "severity_range": [1, 1], "variants": 1 }));
    let made = run(&*operator, std::slice::from_ref(sample), None);
    let candidate = &made.candidates[0];
    assert_eq!(Parameters::deserialize(&candidate.lineage.parameters).unwrap().rules.len(), 2, "{:?}", candidate.lineage.parameters);
    let child = &candidate.sample;
    // Words: side, loudness and light.
    let mirrored = field(sample, "mirrored").unwrap().replace("loud", "quiet").replace("bright", "dark");
    assert_eq!(content(child), mirrored);
    // Pixels: mirrored and darker.
    let (old, new) = (sample.image.as_ref().unwrap().get(), child.image.as_ref().unwrap().get());
    let last = old.width() - 1;
    for y in 0..old.height() {
        for x in 0..old.width() {
            assert!(new.pixel(last - x, y).iter().zip(old.pixel(x, y)).all(|(n, o)| n <= o));
        }
    }
    assert!(new.pixel(last, 0)[2] < old.pixel(0, 0)[2] / 2 + 20);
    // Boxes.
    let (old, new) = (&sample.annotations.boxes[0], &child.annotations.boxes[0]);
    assert_eq!((new.x, new.y, new.width), (80.0 - old.x - old.width, old.y, old.width));
    // Stereo: the loud side is the other one, and quieter.
    let side = |s: &Sample, c: usize| {
        sound::power(&s.audio.as_ref().unwrap().get().samples().iter().skip(c).step_by(2).copied().collect::<Vec<_>>())
    };
    let (before, after) = ((side(sample, 0), side(sample, 1)), (side(child, 0), side(child, 1)));
    assert_eq!(before.0 > before.1, after.1 > after.0);
    assert!(after.0.max(after.1) < before.0.max(before.1) / 10.0);
}

#[test]
fn replay_gives_the_same_bytes_without_a_model() {
    let operator = synchronized(json!({ "variants": 3 }));
    let made = run(&*operator, &scenes()[..24], None);
    assert!(made.candidates.len() >= 60, "{}", made.candidates.len());
    for candidate in &made.candidates {
        let parent = scenes().iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
        let again = replay(&*operator, candidate);
        assert_eq!(again.digests(), candidate.sample.digests(), "{}", candidate.sample.id);
        assert_eq!(again.annotations, candidate.sample.annotations);
        assert_ne!(again.digests(), parent.digests());
    }
    let broken = ReplayContext { parents: &scenes()[..1], models: None, seeds: SeedTree::new(0) };
    assert!(operator.replay(&json!({ "severity": 1.0 }), &broken).is_err());
}

#[test]
fn neither_order_nor_number_of_the_parents_changes_a_child() {
    let band = Some(DifficultyBand { low: 0.3, high: 1.0 });
    for band in [None, band] {
        let operator = synchronized(json!({}));
        let all = run(&*operator, &scenes()[..10], band);
        let turned: Vec<Sample> = scenes()[..10].iter().rev().cloned().collect();
        let mut back = run(&*operator, &turned, band);
        back.candidates.sort_by_key(|candidate| all.candidates.iter().position(|own| own.sample.id == candidate.sample.id));
        let alone: Vec<Candidate> = scenes()[..10].iter().flat_map(|s| run(&*operator, std::slice::from_ref(s), band).candidates).collect();
        for other in [&back.candidates, &alone] {
            assert_eq!(other.len(), all.candidates.len());
            for (a, b) in all.candidates.iter().zip(other) {
                assert_eq!(
                    (&a.sample.id, a.sample.digests(), &a.lineage.parameters),
                    (&b.sample.id, b.sample.digests(), &b.lineage.parameters)
                );
            }
        }
    }
}

#[test]
fn children_land_in_the_band_or_it_is_said_what_was_met() {
    let mut samples: Vec<Sample> = scenes().iter().filter(|s| s.present() == ModalitySet::ALL).take(12).cloned().collect();
    samples.iter_mut().for_each(|s| s.label = Some(Label::Class(0)));
    let level = Level { direction: Direction::Down, stops: 4.0, ..Level::default() };
    let operator = synchronized(json!({ "rules": [{ "level": level }], "severity_range": [0, 1] }));
    let models = model();
    let loss = |sample: &Sample| {
        let outputs = models.subject.forward(&[crate::model::Input::of(sample)]).unwrap();
        measure::cross_entropy(outputs.logits.row(0), &Target::Class(0))
    };
    let band = DifficultyBand { low: 0.35, high: 0.55 };
    let made = run(&*operator, &samples, Some(band));
    let fires = |s: &&Sample| matches!(testing::plan(&level, s, Some("bell"), &SeedTree::new(0)), Plan::Fires(_));
    assert!(made.candidates.len() >= samples.iter().filter(fires).count(), "{:?}", made.outcomes);
    for candidate in &made.candidates {
        assert!(band.holds(loss(&candidate.sample)), "{}", loss(&candidate.sample));
    }
    let nowhere = run(&*operator, &samples, Some(DifficultyBand { low: 8.0, high: 9.0 }));
    assert!(nowhere.candidates.is_empty());
    let not_reached = |(_, outcome): &(SampleId, Outcome)| matches!(outcome, Outcome::NotReached { least, greatest } if least <= greatest && *greatest < 8.0);
    assert!(nowhere.outcomes.iter().filter(|o| not_reached(o)).count() >= 10, "{:?}", nowhere.outcomes);
    samples[0].label = None;
    let unlabelled = run(&*operator, &samples[..1], Some(band));
    assert_eq!(unlabelled.outcomes, [(samples[0].id.clone(), Outcome::Refused("no_label".into()))]);
}

#[test]
fn digits_are_never_mirrored_and_bare_samples_are_no_op() {
    let mut sample = Sample::new("bare");
    let only_flip = synchronized(json!({ "rules": ["flip"] }));
    assert_eq!(run(&*only_flip, &[sample.clone()], None).outcomes[0].1, Outcome::NoOp);
    sample.text = Some(Media::new(Text::new("a dog")));
    let made = run(&*synchronized(json!({})), &[sample], None);
    assert!(made.candidates.iter().all(|c| c.sample.present() == ModalitySet::TEXT));
    let mut read = Sample::new("made");
    read.image = Some(Media::new(ImageBuffer::new(8, 6, 3, (0..144).collect()).unwrap()));
    read.text = Some(Media::new(Text::new("the digit on the left")));
    assert_eq!(run(&*only_flip, &[read], None).outcomes[0].1, Outcome::Refused("readable_text".into()));
}

#[test]
fn wrong_configs_are_told_with_their_paths() {
    let problems = |value: Value| problems(json!({ "synchronized": value }));
    assert!(
        problems(json!({})).is_empty() && problems(json!({ "preset": "night", "rules": [{ "flip": { "when": "always" } }] })).is_empty()
    );
    let found = problems(
        json!({ "variants": 0, "severity_range": [0.5, 1.5], "rules": [{ "crop": { "share": 0.95 } }, { "noise": { "snr_db": [-40, 10], "colours": [] } }, { "crop": {} }] }),
    );
    assert_eq!(
        found,
        [
            "synchronized.variants: expected a number in 1..=64, found 0",
            "synchronized.severity_range: expected severities within 0..=1, the greatest above 0, found [0.5, 1.5]",
            "synchronized.rules[0].crop.share: expected a share above 0 and at most 0.9, found 0.95",
            "synchronized.rules[1].noise.snr_db: expected decibels in -30..=60, found [-40, 10]",
            "synchronized.rules[1].noise.colours: expected at least one of white, pink, brown",
            "synchronized.rules[2]: the rule `crop` stands here twice; write it once",
        ]
    );
    assert!(problems(json!({ "preset": "mlid" }))[0].starts_with("synchronized.preset"));
}

#[test]
fn a_written_rule_takes_the_place_of_the_presets() {
    let names = |config: Synchronized| {
        let rules = config.all_rules(&crate::transform::table()).unwrap_or_default();
        rules.iter().map(Chosen::name).collect::<Vec<_>>()
    };
    assert_eq!(names(Synchronized::default()), ["flip", "shift", "crop", "cutout", "level", "noise"]);
    let flip = json!({ "flip": { "probability": 0.5 } });
    assert_eq!(names(Synchronized { rules: vec![flip.clone()], ..Synchronized::default() }), ["flip"]);
    let night = Synchronized { preset: Some(Preset::Night), rules: vec![flip], ..Synchronized::default() };
    assert_eq!(names(night), ["level", "noise", "flip"]);
    let preset = |preset| names(Synchronized { preset: Some(preset), ..Synchronized::default() });
    assert_eq!(preset(Preset::Telephone), ["telephone", "packet_loss"]);
    assert_eq!(preset(Preset::FarAway), ["zoom", "level", "distance", "reverb"]);
    assert_eq!(preset(Preset::Crowd), ["cutout", "babble", "interrupt"]);
}

#[test]
fn a_call_and_a_scene_from_far_away_change_what_they_should() {
    let sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL).unwrap();
    for preset in ["telephone", "far_away"] {
        let config = json!({ "preset": preset, "severity_range": [0.8, 1.0] });
        assert_eq!(problems(json!({ "synchronized": config })), Vec::<String>::new());
        let made = run(&*synchronized(config), std::slice::from_ref(sample), None);
        let audio = crate::sample::Modality::Audio;
        assert!(made.candidates.iter().any(|c| c.sample.digest(audio) != sample.digest(audio)), "{preset}");
        // What is far away is small, too.
        let image = crate::sample::Modality::Image;
        assert_eq!(made.candidates.iter().any(|c| c.sample.digest(image) != sample.digest(image)), preset == "far_away");
    }
}

#[test]
fn a_lineage_of_old_is_made_again() {
    // As version 0.1.0 wrote it.
    let recorded = json!({
        "severity": 0.5,
        "rules": [{ "shift": { "x": 0.1, "y": -0.05, "edge": "extend", "audio_edge": "zero", "keep": 0.6 } }, { "level": { "gain_db": -18.0, "stops": -1.0, "swap_db": 9.0, "swap_stops": 0.7 } }],
        "skipped": [{ "rule": "flip", "why": "nothing_speaks_of_sides", "refused": false }],
    });
    let sample = scenes().iter().find(|s| s.present() == ModalitySet::ALL).unwrap();
    let context = ReplayContext { parents: std::slice::from_ref(sample), models: None, seeds: SeedTree::new(0) };
    let child = synchronized(json!({})).replay(&recorded, &context).unwrap();
    assert!(child.digest(crate::sample::Modality::Audio) != sample.digest(crate::sample::Modality::Audio));
    // The config of a written rule has kept its form, so that the lineage's digest of it holds.
    let built = crate::generate::table().build(&json!({ "synchronized": { "rules": [{ "flip": {} }] } })).unwrap();
    let old = r#"{"rules":[{"flip":{"probability":1.0,"when":"captioned_sides","readable_text":"refuse","readable_field":"readable"}}],"severity_range":[0.1,1.0],"variants":2,"search":{"tries":6}}"#;
    assert_eq!(built.config.to_string(), old);
}
