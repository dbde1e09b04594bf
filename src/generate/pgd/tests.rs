use super::*;
use crate::{
    augment::ball,
    generate::fixture::World,
    model::linear::{LinearModel, RawImage},
    sample::Classes,
};
use serde_json::json;

const PIXELS: usize = 8;

fn delta() -> Vec<f32> {
    (0..PIXELS).map(|i| (i as f32 * 1.3).cos() * 3.0).collect()
}

/// Two classes; the margin of class 0 is `-delta . x + 1`, so that every attack on it has a closed form.
fn two_classes() -> LinearModel {
    let weights = vec![0.0; PIXELS].into_iter().chain(delta()).collect();
    let image = RawImage { width: PIXELS, height: 1, channels: 1, weights };
    LinearModel::from_weights(Classes::from_names(["0", "1"].map(String::from)), vec![1.0, 0.0], Some(image), None).unwrap()
}

fn grey(value: u8) -> Input {
    let mut sample = Sample::new("grey");
    sample.image = Some(Media::new(ImageBuffer::filled(PIXELS, 1, 1, value).unwrap()));
    Input::of(&sample)
}

fn seeds(n: usize) -> Vec<SeedTree> {
    (0..n).map(|i| SeedTree::new(3).sample(format!("s{i}"))).collect()
}

fn attack(norm: Norm, epsilon: f64) -> AttackConfig {
    AttackConfig { image: Some(Budget::new(norm, epsilon)), random_start: false, ..AttackConfig::default() }
}

fn one(model: &LinearModel, input: &Input, config: &AttackConfig) -> Ascent {
    ascend(model, std::slice::from_ref(input), &[Target::Class(0)], config, &seeds(1)).unwrap().remove(0)
}

fn values(input: &Input) -> &[f32] {
    &input.image.as_ref().unwrap().values
}

#[test]
fn the_known_optimum_is_found_in_both_norms() {
    let (model, input) = (two_classes(), grey(128));
    let before: f64 = delta().iter().map(|d| f64::from(*d) * 128.0 / 255.0).sum::<f64>() - 1.0;
    let dual = |norm| match norm {
        Norm::Linf => delta().iter().map(|d| f64::from(d.abs())).sum::<f64>(),
        Norm::L2 => delta().iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt(),
        Norm::L1 => delta().iter().map(|d| f64::from(d.abs())).fold(0.0, f64::max),
    };
    for norm in [Norm::Linf, Norm::L2] {
        for (random_start, steps, tolerance) in [(false, 10, 1e-4), (true, 60, 1e-2)] {
            let config = AttackConfig { random_start, steps, ..attack(norm, 0.1) };
            let found = one(&model, &input, &config);
            let best = (before + 0.1 * dual(norm)).exp().ln_1p();
            assert!((f64::from(found.cross_entropy) - best).abs() < tolerance, "{norm:?} {random_start}: {} {best}", found.cross_entropy);
            assert!(ball::distance(norm, values(&found.input), values(&input)) <= 0.1 + 1e-6);
            assert_eq!(found.gradients, steps as u64);
            if !random_start {
                assert!(found.losses.windows(2).all(|pair| pair[1] >= pair[0] - 1e-5), "{:?}", found.losses);
                assert!(found.losses[1] > found.losses[0]);
            }
        }
    }
}

#[test]
fn one_step_without_a_start_is_fgsm() {
    let (model, input) = (two_classes(), grey(100));
    let found = one(&model, &input, &AttackConfig { steps: 1, ..attack(Norm::Linf, 0.05) });
    let fgsm: Vec<f32> = delta().iter().map(|d| 100.0 / 255.0 + 0.05 * d.signum()).collect();
    assert!(ball::distance(Norm::Linf, values(&found.input), &fgsm) < 1e-6);
    assert_eq!((found.step, found.losses.len(), found.gradients), (1, 2, 1));
}

#[test]
fn the_bounds_of_the_medium_hold() {
    let (model, input) = (two_classes(), grey(255));
    let found = one(&model, &input, &attack(Norm::Linf, 0.3));
    let best: Vec<f32> = delta().iter().map(|d| if *d > 0.0 { 1.0 } else { 0.7 }).collect();
    assert!(ball::distance(Norm::Linf, values(&found.input), &best) < 1e-5);
}

#[test]
fn solved_samples_cost_nothing_more() {
    let (model, input) = (two_classes(), grey(128));
    let wrong = AttackConfig { until: Until::Misclassified, restarts: 3, random_start: true, steps: 40, ..attack(Norm::Linf, 0.3) };
    let found = one(&model, &input, &wrong);
    assert!(found.solved && found.gradients < 40, "{}", found.gradients);
    let hopeless = one(&model, &input, &AttackConfig { image: Some(Budget::new(Norm::Linf, 1e-4)), ..wrong.clone() });
    assert_eq!((hopeless.solved, hopeless.gradients), (false, 120));
    let level = one(&model, &input, &AttackConfig { until: Until::Loss(0.9), steps: 40, ..attack(Norm::Linf, 0.3) });
    assert!(level.solved && level.cross_entropy >= 0.9 && level.losses[level.step - 1] < 0.9);
}

#[test]
fn restarts_never_lower_the_loss() {
    let world = World::new();
    let inputs: Vec<Input> = world.samples.iter().map(Input::of).collect();
    let targets: Vec<Target> = world.samples.iter().filter_map(|s| s.label.clone()).collect();
    let config = AttackConfig { audio: Some(Budget::new(Norm::L2, 0.02)), steps: 2, random_start: true, ..attack(Norm::Linf, 0.02) };
    let subject = world.models.subject.as_ref();
    let once = ascend(subject, &inputs, &targets, &config, &seeds(12)).unwrap();
    let often = ascend(subject, &inputs, &targets, &AttackConfig { restarts: 4, ..config.clone() }, &seeds(12)).unwrap();
    assert!(once.iter().zip(&often).all(|(a, b)| b.loss() >= a.loss()));
    assert!(once.iter().zip(&often).any(|(a, b)| b.loss() > a.loss()));
    // One by one, every sample takes the same way.
    for i in [0, 5, 11] {
        let alone = ascend(subject, &inputs[i..=i], &targets[i..=i], &config, &seeds(12)[i..=i]).unwrap();
        assert_eq!((&alone[0].input.image, &alone[0].input.audio), (&once[i].input.image, &once[i].input.audio));
        assert_eq!(alone[0].losses, once[i].losses);
    }
}

#[test]
fn a_missing_modality_is_left_alone_and_opacity_stays() {
    let world = World::new();
    let input = Input { audio: None, ..Input::of(&world.samples[0]) };
    let config = AttackConfig { audio: Some(Budget::new(Norm::Linf, 0.02)), ..AttackConfig::default() };
    let target = [world.samples[0].label.clone().unwrap()];
    let found = ascend(world.models.subject.as_ref(), &[input], &target, &config, &seeds(1)).unwrap();
    assert!(found[0].input.audio.is_none() && found[0].input.image.is_some());

    let image = RawImage { width: 2, height: 1, channels: 4, weights: (0..16).map(|i| (i as f32).sin()).collect() };
    let model = LinearModel::from_weights(Classes::from_names(["0", "1"].map(String::from)), vec![0.0, 0.0], Some(image), None).unwrap();
    let mut sample = Sample::new("rgba");
    sample.image = Some(Media::new(ImageBuffer::filled(2, 1, 4, 200).unwrap()));
    let found = one(&model, &Input::of(&sample), &AttackConfig::default());
    let moved: Vec<bool> = values(&found.input).iter().map(|v| *v != 200.0 / 255.0).collect();
    assert_eq!(moved, [true, true, true, false, true, true, true, false]);
}

#[test]
fn an_attack_is_checked_before_it_runs() {
    let (model, input) = (two_classes(), grey(128));
    let try_one = |targets: &[Target], config: &AttackConfig| {
        ascend(&model, std::slice::from_ref(&input), targets, config, &seeds(1)).unwrap_err().to_string()
    };
    assert!(try_one(&[], &AttackConfig::default()).contains("as many inputs"));
    assert!(try_one(&[Target::Class(2)], &AttackConfig::default()).contains("no class of the model's 2"));
    assert!(try_one(&[Target::Class(0)], &AttackConfig { steps: 0, ..AttackConfig::default() }).contains("at least 1 step"));
    let audio = AttackConfig { audio: Some(Budget::new(Norm::Linf, 0.1)), ..AttackConfig::default() };
    assert!(try_one(&[Target::Class(0)], &audio).contains("this model gives that of image"));
    assert!(ascend(&model, &[], &[], &AttackConfig::default(), &[]).unwrap().is_empty());
}

#[test]
fn a_ratio_follows_the_signal() {
    let world = World::new();
    let input = Input::of(&world.samples[0]);
    let samples = &input.audio.as_ref().unwrap().values;
    for norm in [Norm::Linf, Norm::L2] {
        let pgd = Pgd { norm, audio_snr_db: Some(Decibels::new(20.0).unwrap()), ..Pgd::default() };
        let terrain = pgd.attack(ModalitySet::ALL, Until::Steps).terrain(&input, None).audio.unwrap();
        assert!((terrain.epsilon - ball::length(norm, samples) / 10.0).abs() < 1e-9);
        assert!((terrain.step_size - terrain.epsilon / 4.0).abs() < 1e-12);
    }
}

fn claims_hold(parent: &Sample, child: &Sample, claims: &[Claim]) {
    for claim in claims {
        match claim {
            Claim::WithinBall { modality: Modality::Image, norm, epsilon } => {
                let pixels = |s: &Sample| s.image.as_ref().unwrap().get().pixels().to_vec();
                assert!(ball::pixel_distance(*norm, &pixels(parent), &pixels(child)) <= *epsilon);
            }
            Claim::WithinBall { norm, epsilon, .. } => {
                let samples = |s: &Sample| s.audio.as_ref().unwrap().get().samples().to_vec();
                assert!(ball::distance(*norm, &samples(parent), &samples(child)) <= *epsilon);
            }
            _ => {}
        }
    }
}

#[test]
fn a_sound_is_written_as_16_bits_and_measured_again() {
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let world = World { band: None, ..World::new() };
        let pgd = Pgd { modalities: vec![Modality::Audio], norm, audio_snr_db: Some(Decibels::new(20.0).unwrap()), ..Pgd::default() };
        let generated = world.generate(&pgd, &world.parents());
        assert_eq!(generated.candidates.len(), 12);
        for candidate in &generated.candidates {
            let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
            let (own, child) = (parent.audio.as_ref().unwrap().get(), candidate.sample.audio.as_ref().unwrap());
            // The file itself: 16 bits of whole numbers.
            let bytes = &child.encoded().unwrap().bytes;
            let mut reader = hound::WavReader::new(std::io::Cursor::new(&bytes[..])).unwrap();
            let format = reader.spec();
            assert_eq!((format.bits_per_sample, format.sample_format, format.sample_rate), (16, hound::SampleFormat::Int, 8000));
            let heard: Vec<f32> = reader.samples::<i16>().map(|v| f32::from(v.unwrap()) / 32768.0).collect();
            assert_eq!(heard, child.get().samples());
            // What was read back is inside the ratio, and is what the claim is held against.
            let radius = ball::length(norm, own.samples()) / 10.0;
            let moved = ball::distance(norm, own.samples(), &heard);
            assert!(moved <= radius && moved > 0.5 * radius, "{norm:?} {moved} {radius}");
            claims_hold(parent, &candidate.sample, &candidate.lineage.claims);
            assert!(
                matches!(&candidate.lineage.claims[0], Claim::WithinBall { modality: Modality::Audio, epsilon, .. } if (epsilon - radius).abs() < 1e-9)
            );
            assert!(world.loss(&candidate.sample) > world.loss(parent));
        }
    }
}

#[test]
fn every_method_keeps_the_promises_and_walks_again() {
    let shared = Pgd { shared_budget: Some(1.0), norm: Norm::L2, ..Pgd::default() };
    let aimed = Pgd { aim: Some(Wanted::RunnerUp), objective: Objective::CarliniWagner, ..Pgd::default() };
    let methods = [Steps::Fgsm, Steps::FgsmRs, Steps::Momentum, Steps::Apgd, Steps::Nes, Steps::Square];
    let of_methods = methods.map(|method| Pgd { method, steps: (method == Steps::Square).then_some(60), ..Pgd::default() });
    let sparse = Pgd { norm: Norm::L1, epsilon: Some(Epsilon::new(1.0).unwrap()), ..Pgd::default() };
    for pgd in of_methods.into_iter().chain([shared, aimed, sparse]) {
        let mut world = World { band: None, ..World::new() };
        let pgd = Pgd { epsilon: pgd.epsilon.or(Some(Epsilon::new(0.1).unwrap())), ..pgd };
        let all = world.keeps_the_promises(&pgd);
        assert_eq!(all.candidates.len(), 12, "{:?}", pgd.method);
        for candidate in &all.candidates {
            claims_hold(&world.samples[candidate.attempt as usize], &candidate.sample, &candidate.lineage.claims);
        }
        let rises = all.candidates.iter().filter(|c| world.loss(&c.sample) > world.loss(&world.samples[c.attempt as usize])).count();
        assert!(rises >= 11, "{:?} {rises}", pgd.method);
        let requirements = pgd.requirements();
        assert_eq!(requirements.new_inputs, requirements.gradients.is_empty());
    }
}

#[test]
fn a_model_without_one_of_the_modalities_walks_again_too() {
    for joint in [true, false] {
        let mut world = World { band: None, ..World::of_images() };
        let pgd = Pgd { joint, epsilon: Some(Epsilon::new(0.1).unwrap()), ..Pgd::default() };
        assert!(pgd.modalities.contains(&Modality::Audio));
        let all = world.keeps_the_promises(&pgd);
        assert_eq!(all.candidates.len(), 12);
        for candidate in &all.candidates {
            assert_eq!(candidate.lineage.seed.steps.last().map(String::as_str), Some("image"));
        }
    }
}

#[test]
fn children_land_in_the_band_inside_their_balls() {
    let mut made = 0;
    for norm in [Norm::Linf, Norm::L2] {
        for joint in [true, false] {
            let mut world = World::new();
            let pgd = Pgd {
                norm,
                joint,
                variants: 2,
                epsilon: Some(Epsilon::new(if norm == Norm::Linf { 0.1 } else { 0.3 }).unwrap()),
                ..Pgd::default()
            };
            let all = world.keeps_the_promises(&pgd);
            made += all.candidates.len();
            for candidate in &all.candidates {
                let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
                let child = &candidate.sample;
                claims_hold(parent, child, &candidate.lineage.claims);
                assert!(candidate.lineage.claims.contains(&Claim::CertifiedBudget));
                let same = |m| parent.digest(m) == child.digest(m);
                assert!(same(Modality::Text));
                assert_eq!(joint, !same(Modality::Image) && !same(Modality::Audio), "{}", child.id);
                assert_eq!(candidate.lineage.claims.len(), if joint { 3 } else { 2 });
            }
        }
    }
    assert!(made >= 12, "{made}");
}

#[test]
fn an_early_stop_goes_on_where_rounding_takes_the_child_below_the_band() {
    let mut world = World::of_images();
    let mut short = 0;
    for random_start in [true, false] {
        let pgd = Pgd {
            modalities: vec![Modality::Image],
            epsilon: Some(Epsilon::new(4.0 / 255.0).unwrap()),
            random_start: Some(random_start),
            // A quarter of a level a step.
            steps: Some(40),
            ..Pgd::default()
        };
        for i in 0..world.samples.len() {
            let parent = world.parent(i);
            let seeds = [node(&SeedTree::new(world.seed).stage("made"), &parent, ModalitySet::IMAGE)];
            let (input, target) = ([Input::of(&parent.sample)], [parent.sample.label.clone().unwrap()]);
            let ascent = |until: Until| {
                let config = pgd.attack(ModalitySet::IMAGE, until);
                let found = ascend(world.models.subject.as_ref(), &input, &target, &config, &seeds).unwrap().remove(0);
                match perturbed(&parent.sample, &found.input, &config.terrain(&input[0], None), 1.0).unwrap() {
                    Made::Child(child) => (found, world.loss(&child)),
                    _ => (found, world.loss(&parent.sample)),
                }
            };
            let (from, whole) = (world.loss(&parent.sample), ascent(Until::Steps));
            for share in [0.2, 0.35, 0.5] {
                let high = from + share * (whole.0.cross_entropy - from);
                let band = DifficultyBand { low: high - 0.02, high };
                let early = ascent(Until::Loss(high));
                if !early.0.solved || early.1 >= band.low || whole.1 < high {
                    continue;
                }
                let generated = World { band: Some(band), ..World::of_images() }.generate(&pgd, std::slice::from_ref(&parent));
                short += 1;
                match &generated.outcomes[0].1 {
                    Outcome::Made => {}
                    Outcome::NotReached { greatest, .. } => assert!(*greatest > band.high, "{i} {share}: {greatest} {band:?}"),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(short >= 5, "{short}");
    world.band = Some(DifficultyBand { low: 0.9, high: 0.92 });
    world.keeps_the_promises(&Pgd { modalities: vec![Modality::Image], ..Pgd::default() });
}

#[test]
fn without_a_band_the_whole_step_and_milder_ones_are_made() {
    let world = World { band: None, ..World::new() };
    let generated = world.generate(&Pgd { variants: 3, ..Pgd::default() }, &world.parents());
    assert_eq!(generated.candidates.len(), 36);
    let magnitude = |c: &crate::sample::Candidate| c.lineage.parameters["magnitude"].as_f64().unwrap();
    assert_eq!(generated.candidates[..2].iter().map(magnitude).collect::<Vec<_>>(), [1.0, 0.7]);
    assert!(world.loss(&generated.candidates[0].sample) > world.loss(&world.samples[0]));
    let moved = |c: &crate::sample::Candidate| {
        let pixels = |s: &Sample| s.image.as_ref().unwrap().get().pixels().to_vec();
        ball::pixel_distance(Norm::Linf, &pixels(&world.samples[0]), &pixels(&c.sample))
    };
    for candidate in &generated.candidates[..3] {
        let farthest = magnitude(candidate) * 8.0;
        assert!((moved(candidate) * 255.0 - farthest.floor()).abs() < 1e-9, "{} {farthest}", moved(candidate) * 255.0);
    }
}

#[test]
fn what_cannot_be_attacked_is_told() {
    let mut world = World::new();
    (world.samples[0].image, world.samples[0].audio) = (None, None);
    world.samples[1].label = None;
    world.band = Some(DifficultyBand { low: 50.0, high: 60.0 });
    let found = world.generate(&Pgd::default(), &world.parents()).outcomes;
    assert_eq!(found[0].1, Outcome::Refused("no_image_or_audio".into()));
    assert_eq!(found[1].1, Outcome::Refused("no_label".into()));
    assert!(matches!(found[2].1, Outcome::NotReached { least, greatest } if least <= greatest && greatest < 50.0));
}

#[test]
fn another_seed_walks_another_way() {
    let (one, other) = (World::new(), World { seed: 8, ..World::new() });
    let digests = |world: &World| -> Vec<_> {
        world.generate(&Pgd::default(), &world.parents()).candidates.iter().map(|c| c.sample.digests()).collect()
    };
    assert_ne!(digests(&one), digests(&other));
}

#[test]
fn a_lineage_of_another_operator_is_refused() {
    let world = World::new();
    let parents = [world.samples[0].clone()];
    let context = ReplayContext { parents: &parents, models: Some(&world.models), seeds: SeedTree::new(1) };
    assert!(Pgd::default().replay(&json!({ "keep": ["image"] }), &context).unwrap_err().to_string().contains("not those of `pgd`"));
    let none = ReplayContext { parents: &[], models: None, seeds: SeedTree::new(1) };
    assert!(Pgd::default().replay(&json!({}), &none).is_err());
    // Nor one that no config could have made.
    let world = World::of_images();
    let made = world.generate(&Pgd { modalities: vec![Modality::Image], ..Pgd::default() }, &world.parents());
    let one = &made.candidates[0];
    let parents = [world.samples[one.attempt as usize].clone()];
    let context = ReplayContext { parents: &parents, models: Some(&world.models), seeds: SeedTree::at(&one.lineage.seed) };
    let mut parameters = one.lineage.parameters.clone();
    assert!(Pgd::default().replay(&parameters, &context).is_ok());
    for (field, value) in [("steps", json!(1001)), ("of_steps", json!(1_000_000_000u64)), ("method", json!({ "nes": { "pairs": 1001 } }))] {
        let before = std::mem::replace(&mut parameters[field], value);
        let told = Pgd::default().replay(&parameters, &context).unwrap_err().to_string();
        assert!(told.contains("is longer than one of `pgd` may be"), "{field}: {told}");
        parameters[field] = before;
    }
}

#[test]
fn every_wrong_field_is_a_problem_of_its_own() {
    let table = crate::generate::table();
    let paths = |config: Value| -> Vec<String> {
        table.build(&json!({ "pgd": config })).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    };
    assert!(paths(json!({ "epsilon": "8/255" })).is_empty());
    assert_eq!(
        paths(json!({ "steps": 0, "modalities": ["text"], "epsilon": 0.001 })),
        ["pgd.modalities", "pgd.steps", "pgd.epsilon", "pgd.epsilon"]
    );
    assert_eq!(paths(json!({ "restarts": 2, "random_start": false })), ["pgd.restarts"]);
    assert_eq!(paths(json!({ "audio_epsilon": 0.01, "audio_snr_db": 20 })), ["pgd.audio_snr_db"]);
    assert_eq!(paths(json!({ "modalities": ["image"], "audio_epsilon": 0.01 })), ["pgd.audio_epsilon"]);
    assert_eq!(paths(json!({ "method": "fgsm", "steps": 3, "random_start": true })), ["pgd.steps", "pgd.random_start"]);
    assert_eq!(paths(json!({ "method": "fgsm_rs", "random_start": false })), ["pgd.random_start"]);
    assert_eq!(paths(json!({ "decay": 0.5, "pairs": 3, "square_share": 0.5 })), ["pgd.decay", "pgd.pairs", "pgd.square_share"]);
    assert_eq!(paths(json!({ "method": "momentum", "decay": 2.0 })), ["pgd.decay"]);
    assert_eq!(paths(json!({ "method": "square", "step_size": 0.1, "steps": 20000 })), ["pgd.step_size"]);
    assert_eq!(paths(json!({ "shared_budget": 0.0 })), ["pgd.shared_budget"]);
    assert_eq!(paths(json!({ "shared_budget": 1.0, "joint": false })), ["pgd.shared_budget"]);
    assert!(paths(json!({ "method": "apgd", "aim": "least_likely", "norm": "l1", "epsilon": 12.0 })).is_empty());
}
