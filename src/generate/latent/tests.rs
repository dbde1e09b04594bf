use super::*;
use crate::{
    generate::fixture::World,
    sample::{Candidate, DifficultyBand, Judgement, Label},
};
use serde_json::json;

const KINDS: [LatentKind; 8] = [
    LatentKind::Gaussian,
    LatentKind::ClassCovariance,
    LatentKind::Interpolate,
    LatentKind::Extrapolate,
    LatentKind::Delta,
    LatentKind::Resample,
    LatentKind::Smote,
    LatentKind::Adversarial,
];

fn radius(kind: LatentKind) -> f64 {
    match kind {
        LatentKind::Interpolate | LatentKind::Smote => 1.0,
        _ => 2.0,
    }
}

fn pixels(sample: &Sample) -> Vec<f64> {
    sample.image.as_ref().unwrap().get().pixels().iter().map(|p| f64::from(*p) / 255.0).collect()
}

fn unbound(kind: LatentKind, radius: f64) -> Latent {
    Latent { kind, radius, manifold_quantile: None, ..Latent::default() }
}

fn class(sample: &Sample) -> Option<usize> {
    sample.label.as_ref().map(Label::class)
}

/// Rows of the largest class of the world.
fn members(world: &World) -> Vec<usize> {
    let of = |wanted| (0..12).filter(|&i| class(&world.samples[i]) == Some(wanted)).collect::<Vec<_>>();
    (0..3).map(of).max_by_key(Vec::len).unwrap()
}

fn step(candidate: &Candidate) -> Vec<f64> {
    candidate.lineage.parameters["moves"]["image"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn all_kinds_keep_the_promises_in_one_modality_and_in_two() {
    for modalities in [vec![Modality::Image], vec![Modality::Audio], vec![Modality::Image, Modality::Audio]] {
        let mut made = 0;
        for kind in KINDS {
            for residual in [true, false] {
                let mut world = World { band: Some(DifficultyBand { low: 0.1, high: 1.5 }), ..World::balanced() };
                let config =
                    Latent { kind, residual, radius: radius(kind), variants: 2, modalities: modalities.clone(), ..Latent::default() };
                let all = world.keeps_the_promises(&config);
                made += all.candidates.len();
                for candidate in &all.candidates {
                    let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
                    let kept = |m| parent.digest(m) == candidate.sample.digest(m);
                    assert!(Modality::ALL.into_iter().all(|m| modalities.contains(&m) || kept(m)), "{kind:?}");
                    assert!(!modalities.iter().all(|m| kept(*m)));
                    assert_eq!(candidate.lineage.claims[0], Claim::LabelKept);
                    let decoded = candidate.lineage.claims.iter().filter(|c| matches!(c, Claim::Decoded { .. })).count();
                    assert_eq!(decoded, modalities.len());
                }
            }
        }
        assert!(made >= 24, "{modalities:?}: {made}");
    }
}

#[test]
fn interpolation_goes_the_stated_share_toward_a_hard_neighbour_of_the_class() {
    let mut world = World { band: None, ..World::new() };
    let rows = members(&world);
    world.give_reason(rows[2], ReasonCode::NearBoundary, None);
    world.give_reason(rows[3], ReasonCode::NearBoundary, None);
    world.diagnoses[rows[3]].judgement = Judgement::SuspectLabel;
    // Latents of the linear model are its raw pixels, so that the child is known.
    let generated = world.generate(&unbound(LatentKind::Interpolate, 0.5), &[world.parent(rows[0])]);
    let [candidate] = &generated.candidates[..] else { panic!("{:?}", generated.outcomes) };
    assert_eq!(candidate.lineage.parents[1].id, world.samples[rows[2]].id);
    let (own, partner) = (pixels(&world.samples[rows[0]]), pixels(&world.samples[rows[2]]));
    for ((child, own), partner) in pixels(&candidate.sample).iter().zip(own).zip(partner) {
        assert!((child - 0.5 * (own + partner)).abs() <= 0.51 / 255.0);
    }
}

#[test]
fn the_formulas_are_those_of_their_kinds() {
    let world = World { band: None, ..World::new() };
    let rows = members(&world);
    let mean: Vec<f64> = (0..16).map(|p| rows.iter().map(|&row| pixels(&world.samples[row])[p]).sum::<f64>() / rows.len() as f64).collect();
    let of = |id: &SampleId| pixels(world.samples.iter().find(|s| &s.id == id).unwrap());
    for kind in [LatentKind::Extrapolate, LatentKind::Delta, LatentKind::Resample] {
        let generated = world.generate(&unbound(kind, 0.5), &[world.parent(rows[0])]);
        let [candidate] = &generated.candidates[..] else { panic!("{kind:?}: {:?}", generated.outcomes) };
        let (parents, own) = (&candidate.lineage.parents, pixels(&world.samples[rows[0]]));
        let (a, b) = match kind {
            LatentKind::Extrapolate => (own, mean.clone()),
            LatentKind::Delta => (of(&parents[1].id), of(&parents[2].id)),
            _ => (of(&parents[1].id), mean.clone()),
        };
        assert_eq!(
            parents.len(),
            if kind == LatentKind::Extrapolate {
                1
            } else if kind == LatentKind::Delta {
                3
            } else {
                2
            }
        );
        for ((found, a), b) in step(candidate).iter().zip(a).zip(b) {
            assert!((found - 0.5 * (a - b)).abs() < 1e-5, "{kind:?}: {found} {a} {b}");
        }
    }
}

#[test]
fn gaussian_moves_have_the_spread_of_the_class_and_a_joint_move_one_draw() {
    let world = World { band: None, ..World::new() };
    for kind in [LatentKind::Gaussian, LatentKind::ClassCovariance] {
        let both = Latent { modalities: vec![Modality::Image, Modality::Audio], ..unbound(kind, 1.0) };
        let generated = world.generate(&both, &world.parents());
        assert_eq!(generated.candidates.len(), 12);
        // Pixels spread by about 42 levels here.
        let square = |c: &Candidate| step(c).iter().map(|d| d * d).sum::<f64>() / 16.0;
        let deviation = (generated.candidates.iter().map(square).sum::<f64>() / 12.0).sqrt() * 255.0;
        assert!((20.0..60.0).contains(&deviation), "{deviation}");
        if kind == LatentKind::Gaussian {
            // The same normal numbers: the signs of the first sixteen agree.
            let audio =
                |c: &Candidate| c.lineage.parameters["moves"]["audio"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            for candidate in &generated.candidates {
                let audio: Vec<f64> = audio(candidate);
                assert!(step(candidate).iter().zip(&audio).all(|(a, b)| a * b >= 0.0));
            }
        }
    }
}

#[test]
fn ascent_climbs_as_far_as_its_ball_lets_it() {
    let world = World { band: None, ..World::new() };
    let generated = world.generate(&unbound(LatentKind::Adversarial, 0.5), &world.parents());
    assert_eq!(generated.candidates.len(), 12);
    for candidate in &generated.candidates {
        let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
        assert!(world.loss(&candidate.sample) > world.loss(parent), "{}", parent.id);
        let of = class(parent).unwrap();
        let all: Vec<Vec<f64>> = (0..12).filter(|&i| class(&world.samples[i]) == Some(of)).map(|i| pixels(&world.samples[i])).collect();
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let near = |i: usize| (0..all.len()).filter(|j| *j != i).map(|j| distance(&all[i], &all[j])).min_by(f64::total_cmp);
        let mut spacing: Vec<f64> = (0..all.len()).filter_map(near).collect();
        spacing.sort_by(f64::total_cmp);
        let limit = 0.5 * spacing[(spacing.len().div_ceil(2)).max(1) - 1];
        let length = step(candidate).iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!(length <= limit * 1.0001 && length > 0.5 * limit, "{length} {limit}");
    }
}

#[test]
fn the_boundary_is_reached_and_not_crossed() {
    let world = World { band: None, ..World::balanced() };
    let config = Latent { toward: Toward::Boundary, ..unbound(LatentKind::Interpolate, 1.0) };
    let generated = world.generate(&config, &world.parents());
    let mut near = 0;
    for candidate in &generated.candidates {
        let parent = world.samples.iter().find(|s| s.id == candidate.lineage.parents[0].id).unwrap();
        let other = world.samples.iter().find(|s| s.id == candidate.lineage.parents[1].id).unwrap();
        assert_ne!(class(parent), class(other));
        // Rounding to 8 bits may lose a hair.
        let logits = world.models.subject.forward(&[Input::of(&candidate.sample)]).unwrap().logits;
        let own = logits.row(0)[class(parent).unwrap()];
        let best = (0..3).filter(|k| Some(*k) != class(parent)).map(|k| logits.row(0)[k]).fold(f32::NEG_INFINITY, f32::max);
        assert!(own - best > -0.15, "{} {own} {best}", parent.id);
        near += usize::from(own - best < 1.0);
    }
    assert!(generated.candidates.len() >= 8 && near >= 4, "{near}: {:?}", generated.outcomes);
}

#[test]
fn smote_serves_those_on_the_borderline_alone() {
    let world = World { band: None, ..World::balanced() };
    let outcomes = world.generate(&unbound(LatentKind::Smote, 1.0), &world.parents()).outcomes;
    let around = |i: usize| {
        let own = pixels(&world.samples[i]);
        let cosine = |j: usize| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let other = pixels(&world.samples[j]);
            dot(&own, &other) / (dot(&own, &own) * dot(&other, &other)).sqrt()
        };
        let mut others: Vec<usize> = (0..12).filter(|j| *j != i).collect();
        others.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
        others[..10].iter().filter(|j| class(&world.samples[**j]) != class(&world.samples[i])).count()
    };
    let mut made = 0;
    for (i, (_, outcome)) in outcomes.iter().enumerate() {
        made += usize::from(*outcome == Outcome::Made);
        match around(i) {
            10 => assert_eq!(*outcome, Outcome::Refused("surrounded_by_others".into())),
            foreign if foreign >= 5 => assert_eq!(*outcome, Outcome::Made, "{i}"),
            _ => assert_eq!(*outcome, Outcome::Refused("not_borderline".into())),
        }
    }
    assert!(made > 0);
}

#[test]
fn a_move_off_the_manifold_is_shrunk() {
    let world = World { band: None, ..World::new() };
    let length = |config: Latent| -> Vec<f64> {
        let generated = world.generate(&config, &world.parents());
        generated.candidates.iter().map(|c| step(c).iter().map(|v| v * v).sum::<f64>().sqrt()).collect()
    };
    let (free, bound) =
        (length(unbound(LatentKind::Gaussian, 10.0)), length(Latent { kind: LatentKind::Gaussian, radius: 10.0, ..Latent::default() }));
    assert_eq!((free.len(), bound.len()), (12, 12));
    assert!(free.iter().zip(&bound).all(|(free, bound)| *bound < 0.9 * free && *bound > 0.0), "{free:?} {bound:?}");
}

#[test]
fn nobody_to_move_toward_is_told() {
    let mut world = World::new();
    world.diagnoses.iter_mut().for_each(|d| d.judgement = Judgement::Outlier);
    let outcomes = world.generate(&unbound(LatentKind::Interpolate, 0.5), &world.parents()).outcomes;
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Refused("no_neighbour".into())), "{outcomes:?}");
    let outcomes = world.generate(&unbound(LatentKind::Gaussian, 0.5), &world.parents()).outcomes;
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Refused("no_class_to_follow".into())), "{outcomes:?}");
}

#[test]
fn wrong_fields_are_problems() {
    let table = crate::generate::table();
    let paths = |config: Value| -> Vec<String> {
        table.build(&json!({ "latent": config })).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    };
    assert!(paths(json!({})).is_empty() && paths(json!({ "kind": "gaussian", "radius": 3, "manifold_quantile": null })).is_empty());
    let wrong = json!({ "radius": 3, "modalities": ["audio", "audio"], "tries": 0, "manifold_quantile": 0.2 });
    assert_eq!(paths(wrong), ["latent.modalities", "latent.radius", "latent.manifold_quantile", "latent.tries"]);
    assert_eq!(paths(json!({ "kind": "delta", "toward": "boundary" })), ["latent.toward"]);
}
