use super::*;
use crate::random::SeedTree;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Points on the unit circle at these angles, in degrees: the distance of two is `2 sin(half the angle between)`.
fn circle(degrees: &[f32], classes: &[usize]) -> Embeddings {
    let values: Vec<f32> = degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect();
    Embeddings::new(&values, 2).unwrap().with_classes(classes).unwrap()
}

fn triplet(anchor: u32, positive: u32, negative: u32) -> Triplet {
    Triplet { anchor, positive, negative }
}

fn seeds() -> SeedTree {
    SeedTree::new(3)
}

/// Rows that look random; `classes` classes in turn.
fn rows(seed: u32, count: usize, dim: usize, classes: usize) -> Embeddings {
    let value = |i: usize| {
        ((((i as u32) ^ seed.wrapping_mul(7919)).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(40503) >> 8) as f32)
            / 16_777_216.0
            - 0.5
    };
    let values: Vec<f32> = (0..count * dim).map(value).collect();
    let labels: Vec<usize> = (0..count).map(|row| row % classes).collect();
    Embeddings::new(&values, dim).unwrap().with_classes(&labels).unwrap()
}

mod against_pytorch_metric_learning {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        dim: usize,
        margin: f32,
        epsilon: f32,
        batch: Vec<f32>,
        classes: Vec<usize>,
        references: Vec<f32>,
        reference_classes: Vec<usize>,
        within: Mined,
        between: Mined,
    }

    #[derive(Deserialize)]
    struct Mined {
        batch_hard: Vec<[u32; 3]>,
        easy_hardest: Vec<[u32; 3]>,
        easy_semi_hard: Vec<[u32; 3]>,
        positives: Vec<[u32; 2]>,
        negatives: Vec<[u32; 2]>,
        triplets_all: Vec<[u32; 3]>,
        triplets_hard: Vec<[u32; 3]>,
        triplets_semihard: Vec<[u32; 3]>,
        triplets_easy: Vec<[u32; 3]>,
    }

    fn sorted(triplets: Vec<Triplet>) -> Vec<[u32; 3]> {
        triplets.into_iter().map(|t| [t.anchor, t.positive, t.negative]).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn same(compare: Compare<'_>, golden: &Golden, mined: &Mined) {
        assert_eq!(sorted(batch_hard(compare).unwrap()), mined.batch_hard);
        assert_eq!(sorted(easy_positive(compare, EasyNegative::Hardest).unwrap()), mined.easy_hardest);
        assert_eq!(sorted(easy_positive(compare, EasyNegative::SemiHard).unwrap()), mined.easy_semi_hard);
        let pairs = multi_similarity(compare, golden.epsilon).unwrap();
        assert_eq!(pairs.positives.iter().map(|(a, p)| [a, p]).collect::<Vec<_>>(), mined.positives);
        assert_eq!(pairs.negatives.iter().map(|(a, n)| [a, n]).collect::<Vec<_>>(), mined.negatives);
        for (kind, expected) in [
            (TripletKind::All, &mined.triplets_all),
            (TripletKind::Hard, &mined.triplets_hard),
            (TripletKind::SemiHard, &mined.triplets_semihard),
            (TripletKind::Easy, &mined.triplets_easy),
        ] {
            let found = margin_triplets(compare, kind, golden.margin, usize::MAX, &seeds()).unwrap();
            assert_eq!(found.fulfilled, expected.len() as u64, "{kind:?}");
            assert_eq!(&sorted(found.triplets), expected, "{kind:?}");
        }
    }

    #[test]
    fn the_same_rows_are_chosen() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pairs/pytorch_metric_learning.json");
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let batch = Embeddings::new(&golden.batch, golden.dim).unwrap().with_classes(&golden.classes).unwrap();
        let references = Embeddings::new(&golden.references, golden.dim).unwrap().with_classes(&golden.reference_classes).unwrap();
        same(Compare::within(&batch), &golden, &golden.within);
        same(Compare::between(&batch, &references).unwrap(), &golden, &golden.between);
    }
}

#[test]
fn batch_hard_on_a_circle() {
    // Distances of row 0: 10, 30 degrees to its class, 20, 90 to the other.
    let batch = circle(&[0.0, 10.0, -30.0, 20.0, 90.0], &[0, 0, 0, 1, 1]);
    let compare = Compare::within(&batch);
    let found = batch_hard(compare).unwrap();
    assert_eq!(found, [triplet(0, 2, 3), triplet(1, 2, 3), triplet(2, 1, 3), triplet(3, 4, 1), triplet(4, 3, 1)]);

    let distance = |degrees: f64| 2.0 * (degrees / 2.0).to_radians().sin();
    let losses = triplet_losses(compare, &found[..1], TripletLoss::Hinge { margin: 0.2 }).unwrap();
    let x = distance(30.0) - distance(20.0);
    assert!((losses.sum() - (0.2 + x)).abs() < 1e-6 && losses.active() == 1.0, "{losses:?}");
    let soft = triplet_losses(compare, &found[..1], TripletLoss::SoftMargin).unwrap();
    assert!((soft.mean() - (1.0 + x.exp()).ln()).abs() < 1e-6);
    // The fifth row's negative is farther than its positive by more than the margin.
    let easy = triplet_losses(compare, &[triplet(4, 3, 2)], TripletLoss::Hinge { margin: 0.1 }).unwrap();
    assert_eq!((easy.sum(), easy.active()), (0.0, 0.0));
    assert!(triplet_losses(compare, &[triplet(0, 9, 1)], TripletLoss::SoftMargin).is_err());
    assert!(triplet_losses(compare, &found, TripletLoss::Hinge { margin: f64::NAN }).is_err());

    let easy = easy_positive(compare, EasyNegative::SemiHard).unwrap();
    assert_eq!(easy[..2], [triplet(0, 1, 3), triplet(1, 0, 4)], "row 3 is as far from row 1 as its positive is, so that row 4 is taken");
}

#[test]
fn ties_go_to_the_lower_row() {
    let batch =
        Embeddings::new(&[1.0, 0.0, 0.0, 2.0, 0.0, 3.0, 1.0, 1.0, 2.0, 2.0], 2).unwrap().with_classes(&[0usize, 0, 0, 1, 1]).unwrap();
    assert_eq!(batch_hard(Compare::within(&batch)).unwrap()[0], triplet(0, 1, 3));
}

#[test]
fn semi_hard_takes_the_nearest_behind_the_positive() {
    // Anchor 0, positive at 20 degrees (0.347). Negatives at 10 (0.174, too near), 25 (0.433), 30, 60 degrees (1.0).
    let batch = circle(&[0.0, 20.0, 10.0, 25.0, 30.0, 60.0], &[0, 0, 1, 1, 1, 1]);
    let of_first = |margin| {
        let found = semi_hard(Compare::within(&batch), margin).unwrap();
        (found.triplets[0], found.fallbacks)
    };
    assert_eq!(of_first(0.2).0, triplet(0, 1, 3));
    // 0.433 - 0.347 is more than the margin: the farthest.
    assert_eq!(of_first(0.05).0, triplet(0, 1, 5));
    assert!(of_first(0.05).1 > of_first(0.2).1);
    assert!(semi_hard(Compare::within(&batch), -0.1).is_err());
}

#[test]
fn distance_weights_follow_the_formula() {
    // dim 8: weights d^-6 (1 - d^2 / 4)^-2.5, the nearest raised to 0.5, the farthest left out.
    let weight = |d: f64| d.powi(-6) * (1.0 - d * d / 4.0).powf(-2.5);
    let found = distance_weights(&[0.1, 0.5, 1.0, 1.41, f32::NAN], 8, DistanceWeighting::default()).unwrap();
    let sum = 2.0 * weight(0.5) + weight(1.0);
    for (found, right) in found.iter().zip([weight(0.5) / sum, weight(0.5) / sum, weight(1.0) / sum, 0.0, 0.0]) {
        assert!((found - right).abs() < 1e-6, "{found} for {right}");
    }
    assert_eq!(distance_weights(&[1.5, 1.9], 8, DistanceWeighting::default()).unwrap(), [0.0, 0.0]);
    assert_eq!(distance_weights(&[2.0], 8, DistanceWeighting { farthest: 2.0, ..DistanceWeighting::default() }).unwrap(), [0.0]);
    assert!(distance_weights(&[], 8, DistanceWeighting { nearest: 1.0, farthest: 0.9 }).is_err());
}

#[test]
fn distance_weighted_draws_by_its_weights() {
    // Anchor 0 among 400 positives: negatives at distance 0.5 and 1.0 in the ratio of their weights, those at 1.9 never.
    let degrees = |distance: f32| 2.0 * (distance / 2.0).asin().to_degrees();
    let mut angles = vec![0.0; 401];
    angles.extend([degrees(0.5), degrees(1.0), degrees(1.9)]);
    let mut classes = vec![0; 401];
    classes.extend([1, 2, 3]);
    let batch = circle(&angles, &classes);
    let found = distance_weighted(Compare::within(&batch), DistanceWeighting::default(), &seeds()).unwrap();
    let of_first: Vec<u32> = found.iter().filter(|t| t.anchor == 0).map(|t| t.negative).collect();
    // dim 2: the weight is sqrt(1 - d^2 / 4), so 0.968 against 0.866.
    let near = of_first.iter().filter(|n| **n == 401).count() as f64 / of_first.len() as f64;
    assert!(of_first.len() == 400 && !of_first.contains(&403) && (near - 0.528).abs() < 0.1, "{near}");
    // Nothing within reach: any negative.
    let far = circle(&[0.0, 0.0, 179.0, 181.0], &[0, 0, 1, 1]);
    let found = distance_weighted(Compare::within(&far), DistanceWeighting::default(), &seeds()).unwrap();
    assert!(found.len() == 4 && found[..2].iter().all(|t| t.negative >= 2));
}

#[test]
fn rows_that_say_nothing_are_never_chosen() {
    let values = [1.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, f32::INFINITY, 1.0, -1.0, 0.0, 0.5, 0.1];
    let classes = [Some(0), Some(0), Some(0), Some(0), Some(1), Some(1), None, Some(1)];
    let batch = Embeddings::new(&values, 2).unwrap().with_classes(&classes).unwrap();
    assert!(batch.usable(0) && !batch.usable(1) && !batch.usable(2) && !batch.usable(5) && !batch.usable(99));
    let compare = Compare::within(&batch);
    let good = |row: u32| [0, 3, 4, 7].contains(&row);
    let all = margin_triplets(compare, TripletKind::All, 2.0, usize::MAX, &seeds()).unwrap();
    assert_eq!((all.all, all.triplets.len()), (8, 8));
    let mined = [
        batch_hard(compare).unwrap(),
        easy_positive(compare, EasyNegative::Hardest).unwrap(),
        semi_hard(compare, 0.2).unwrap().triplets,
        distance_weighted(compare, DistanceWeighting::default(), &seeds()).unwrap(),
        random_triplets(compare, 5, &seeds()).unwrap(),
        all.triplets,
    ];
    for triplets in mined {
        assert!(!triplets.is_empty() && triplets.iter().all(|t| good(t.anchor) && good(t.positive) && good(t.negative)));
    }
    assert_eq!(batch_all(compare, 0.2).unwrap().all, 8);
    let pairs = multi_similarity(compare, 0.1).unwrap();
    assert!(pairs.negatives.iter().chain(pairs.positives.iter()).all(|(a, b)| good(a) && good(b)));
    assert!(mean_distance(compare).is_some_and(f64::is_finite));
}

#[test]
fn too_little_to_mine_is_no_error() {
    let none = Embeddings::new(&[], 3).unwrap();
    let one = Embeddings::new(&[1.0, 2.0, 3.0], 3).unwrap().with_classes(&[4usize]).unwrap();
    let one_class = circle(&[0.0, 10.0, 20.0], &[7, 7, 7]);
    for batch in [&none, &one, &one_class] {
        let compare = Compare::within(batch);
        assert!(batch_hard(compare).unwrap().is_empty() && semi_hard(compare, 0.1).unwrap().triplets.is_empty());
        assert!(
            easy_positive(compare, EasyNegative::SemiHard).unwrap().is_empty() && random_triplets(compare, 3, &seeds()).unwrap().is_empty()
        );
        assert!(distance_weighted(compare, DistanceWeighting::default(), &seeds()).unwrap().is_empty());
        assert_eq!(margin_triplets(compare, TripletKind::All, 0.1, 10, &seeds()).unwrap(), MarginTriplets::default());
        let pairs = multi_similarity(compare, 0.1).unwrap();
        assert!(pairs.positives.is_empty() && pairs.negatives.is_empty() && pairs.positives.of(99).is_empty());
        assert_eq!(batch_all(compare, 0.1).unwrap().mean_active(), 0.0);
    }
    assert_eq!((mean_distance(Compare::within(&none)), mean_distance(Compare::within(&one))), (None, None));
    assert!(HardNegatives::default().find(Compare::within(&none), &seeds()).unwrap().is_empty());
    assert!(batch_hard(Compare::between(&one, &none).unwrap()).unwrap().is_empty());
}

#[test]
fn wrong_shapes_are_told() {
    assert!(Embeddings::new(&[1.0; 5], 2).is_err() && Embeddings::new(&[], 0).is_err());
    let rows = Embeddings::new(&[1.0; 4], 2).unwrap();
    assert!(rows.clone().with_classes(&[1usize]).is_err() && rows.clone().with_ids(&[1]).is_err());
    assert!(rows.clone().with_groups(&[1u64, 2, 3]).is_err() && rows.clone().with_classes(&[usize::MAX, 0]).is_err());
    assert!(batch_hard(Compare::within(&rows)).is_err(), "no classes");
    assert!(multi_similarity(Compare::within(&rows), f32::NAN).is_err());
    assert!(Compare::between(&rows, &Embeddings::new(&[1.0; 3], 3).unwrap()).is_err());
}

#[test]
fn a_sample_is_not_its_own_pair() {
    // Row 1 shows the sample of row 0 again: without ids it is the hardest row's trivial positive.
    let batch = circle(&[0.0, 50.0, 10.0, 90.0], &[0, 0, 0, 1]);
    assert_eq!(batch_hard(Compare::within(&batch)).unwrap()[0], triplet(0, 1, 3));
    let named = batch.with_ids(&[5, 5, 6, 7]).unwrap();
    assert_eq!(batch_hard(Compare::within(&named)).unwrap()[0], triplet(0, 2, 3));
}

#[test]
fn the_memory_forgets_the_oldest_and_skips_the_own_id() {
    let mut memory = CrossBatchMemory::new(3, 2).unwrap();
    let batch = |degrees: &[f32], classes: &[usize], ids: &[u64]| circle(degrees, classes).with_ids(ids).unwrap();
    assert!(memory.is_empty() && batch_hard(Compare::between(&batch(&[1.0], &[0], &[1]), memory.rows()).unwrap()).unwrap().is_empty());
    memory.push(&batch(&[0.0, 90.0], &[0, 1], &[10, 11])).unwrap();
    memory.push(&batch(&[40.0, 60.0], &[0, 1], &[12, 13])).unwrap();
    assert_eq!((memory.len(), &memory.rows().ids[..], &memory.rows().classes[..]), (3, &[13, 11, 12][..], &[1, 1, 0][..]));
    // Sample 12 comes again: it is not compared with what it was.
    let again = batch(&[45.0, 0.0], &[0, 0], &[12, 14]);
    assert_eq!(batch_hard(Compare::between(&again, memory.rows()).unwrap()).unwrap(), [triplet(1, 2, 0)]);
    let before = memory.rows().clone();
    assert!(memory.push(&circle(&[1.0], &[0])).is_err() && memory.push(&Embeddings::new(&[1.0; 3], 3).unwrap()).is_err());
    assert_eq!(memory.rows(), &before);
    memory.clear();
    assert!(memory.is_empty() && CrossBatchMemory::new(0, 2).is_err() && CrossBatchMemory::new(2, 0).is_err());
}

#[test]
fn a_collapse_is_noticed_and_ends() {
    let limits = CollapseLimits { steps: 3, ..CollapseLimits::default() };
    let mut alarm = CollapseAlarm::new(0.2, limits, Remedy::default()).unwrap();
    let collapsed = |healthy| CollapseState::Collapsed { remedy: Remedy::default(), healthy };
    let seen: Vec<CollapseState> = [
        (0.2, 0.5), // the loss alone says nothing
        (0.2001, 0.01),
        (0.2, f64::NAN), // changes nothing
        (0.1999, 0.01),
        (0.15, 0.01), // a break
        (0.2, 0.01),
        (0.2, 0.01),
        (0.2, 0.01),
        (0.1, 0.3),
        (0.2, 0.01),
        (0.1, 0.3),
        (0.1, 0.3),
        (0.1, 0.3),
    ]
    .into_iter()
    .map(|(loss, distance)| alarm.observe(loss, distance))
    .collect();
    let suspicious = |steps| CollapseState::Suspicious { steps };
    let healthy = CollapseState::Healthy;
    let expected = [
        healthy,
        suspicious(1),
        suspicious(1),
        suspicious(2),
        healthy,
        suspicious(1),
        suspicious(2),
        collapsed(0),
        collapsed(1),
        collapsed(0),
        collapsed(1),
        collapsed(2),
        healthy,
    ];
    assert_eq!(seen, expected);
    assert_eq!(alarm.state(), healthy);
    assert!(CollapseAlarm::new(0.0, limits, Remedy::default()).is_err());
    assert!(CollapseAlarm::new(0.2, CollapseLimits { steps: 0, ..limits }, Remedy { random: 1.5, ..Remedy::default() }).is_err());
}

#[test]
fn random_triplets_are_triplets_and_repeat() {
    let batch = rows(1, 30, 4, 3);
    let found = random_triplets(Compare::within(&batch), 4, &seeds()).unwrap();
    assert_eq!(found.len(), 120);
    let right = |t: &Triplet| t.anchor != t.positive && t.anchor % 3 == t.positive % 3 && t.anchor % 3 != t.negative % 3;
    assert!(found.iter().all(right));
    assert_eq!(found, random_triplets(Compare::within(&batch), 4, &seeds()).unwrap());
    assert_ne!(found, random_triplets(Compare::within(&batch), 4, &SeedTree::new(4)).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Against the definitions, triplet by triplet in double precision; more rows than one block has.
    #[test]
    fn miners_keep_their_definitions(seed in 0u32..1000, count in 2usize..160, classes in 1usize..6, margin in 0.0f32..0.4) {
        let batch = rows(seed, count, 5, classes);
        let compare = Compare::within(&batch);
        let d = |a: u32, b: u32| compare.distance(a as usize, b as usize);
        let others = |a: u32| (0..count as u32).filter(move |b| *b != a);
        let same = |a: u32, b: u32| a as usize % classes == b as usize % classes;
        for t in batch_hard(compare).unwrap() {
            prop_assert!(same(t.anchor, t.positive) && t.anchor != t.positive && !same(t.anchor, t.negative));
            for other in others(t.anchor) {
                let (near, far) = if same(t.anchor, other) { (other, t.positive) } else { (t.negative, other) };
                prop_assert!(d(t.anchor, near) <= d(t.anchor, far) + 1e-4);
            }
        }
        let semi = semi_hard(compare, margin).unwrap();
        let mut pairs = 0;
        for a in 0..count as u32 {
            let negatives = others(a).filter(|n| !same(a, *n)).count();
            pairs += others(a).filter(|p| same(a, *p)).count() * usize::from(negatives > 0);
        }
        prop_assert_eq!(semi.triplets.len(), pairs);
        let mut sum = 0.0;
        for a in 0..count as u32 {
            for p in others(a).filter(|p| same(a, *p)) {
                sum += others(a).filter(|n| !same(a, *n)).map(|n| (f64::from(margin) + d(a, p) - d(a, n)).max(0.0)).sum::<f64>();
            }
        }
        let all = batch_all(compare, margin).unwrap();
        prop_assert!((all.sum - sum).abs() <= 1e-4 * (1.0 + all.all as f64), "{} for {sum}", all.sum);
    }

    /// A bounded choice is a part of the whole, of the stated size, spread over it, and repeats.
    #[test]
    fn bounded_triplets_are_some_of_all(seed in 0u32..100, most in 0usize..400) {
        let batch = rows(seed, 24, 4, 3);
        let mined = |most| margin_triplets(Compare::within(&batch), TripletKind::All, 0.5, most, &seeds()).unwrap();
        let (all, some) = (mined(usize::MAX), mined(most));
        prop_assert_eq!(all.triplets.len() as u64, all.fulfilled);
        prop_assert_eq!((some.fulfilled, some.triplets.len()), (all.fulfilled, most.min(all.triplets.len())));
        let places: Vec<usize> = some.triplets.iter().map(|t| all.triplets.iter().position(|other| other == t).unwrap()).collect();
        prop_assert!(places.windows(2).all(|w| w[0] < w[1]), "each once, in the order of the whole");
        prop_assert_eq!(&some, &mined(most));
    }

    /// The kinds divide the triplets of a batch.
    #[test]
    fn kinds_divide_the_triplets(seed in 0u32..100, count in 2usize..40, margin in 0.0f32..1.0) {
        let batch = rows(seed, count, 3, 3);
        let of = |kind| margin_triplets(Compare::within(&batch), kind, margin, 0, &seeds()).unwrap();
        let (all, hard, semi, easy) = (of(TripletKind::All), of(TripletKind::Hard), of(TripletKind::SemiHard), of(TripletKind::Easy));
        prop_assert_eq!(all.fulfilled, hard.fulfilled + semi.fulfilled);
        prop_assert_eq!(all.all, all.fulfilled + easy.fulfilled);
    }
}

mod hard_negatives {
    use super::*;

    fn found(guard: &HardNegatives, compare: Compare<'_>) -> Vec<Vec<usize>> {
        guard.find(compare, &seeds()).unwrap().into_iter().map(|list| list.into_iter().map(|one| one.row).collect()).collect()
    }

    fn ids(degrees: &[f32], ids: &[u64]) -> Embeddings {
        let values: Vec<f32> = degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect();
        Embeddings::new(&values, 2).unwrap().with_ids(ids).unwrap()
    }

    #[test]
    fn the_guard_on_a_circle() {
        // One image; its text lies 30 degrees away (cosine .866). Others at 10 (.985), 33 (.839), 40 (.766), 50 (.643), 60 (.5).
        let image = ids(&[0.0], &[1]);
        let texts = ids(&[10.0, 30.0, 33.0, -40.0, 50.0, -60.0], &[2, 1, 3, 4, 5, 6]);
        let across = Compare::between(&image, &texts).unwrap();
        let open = HardNegatives { count: 2, relative_margin: None, duplicate: None, ..HardNegatives::default() };
        let first = |guard: HardNegatives| found(&guard, across).swap_remove(0);
        assert_eq!(first(open.clone()), [0, 2]);
        assert_eq!(first(HardNegatives { duplicate: Some(0.98), ..open.clone() }), [0, 3], "33 degrees is 3 from the true text");
        assert_eq!(first(HardNegatives { relative_margin: Some(0.05), ..open.clone() }), [3, 4], "nothing above .823");
        assert_eq!(first(HardNegatives { absolute_margin: Some(0.15), ..open.clone() }), [4, 5], "nothing above .716");
        assert_eq!(first(HardNegatives { max_score: Some(0.9), ..open.clone() }), [2, 3]);
        assert_eq!(first(HardNegatives { range_min: 2, ..open.clone() }), [3, 4]);
        assert_eq!(first(HardNegatives { range_min: 4, ..open.clone() }), [5]);
        // A negative similarity is not moved towards 0 by the relative margin: -.5 leaves what is below -.55.
        let opposite = ids(&[120.0, 130.0, 122.0], &[1, 2, 3]);
        let guard = HardNegatives { relative_margin: Some(0.1), duplicate: None, ..open };
        assert_eq!(found(&guard, Compare::between(&image, &opposite).unwrap()), [vec![1]]);
    }

    #[test]
    fn what_belongs_together_is_no_negative() {
        let guard = HardNegatives { count: 9, relative_margin: None, duplicate: None, ..HardNegatives::default() };
        let images = ids(&[0.0, 40.0, 80.0], &[1, 2, 3])
            .with_classes(&[Some(0), Some(1), None])
            .unwrap()
            .with_groups(&[None, Some(8), Some(9)])
            .unwrap();
        let texts = ids(&[1.0, 41.0, 81.0, 2.0, 42.0], &[1, 2, 3, 1, 7]).with_classes(&[Some(0), Some(0), None, Some(2), Some(3)]).unwrap();
        let texts = texts.with_groups(&[None, None, None, Some(8), Some(9)]).unwrap();
        let across = found(&guard, Compare::between(&images, &texts).unwrap());
        // Text 3 is a second one of image 1 and in the group of image 2; two rows without class or group have none in common.
        assert_eq!(across, [vec![4, 2], vec![4, 0, 2], vec![1, 3, 0]]);
        let within = found(&guard, Compare::within(&images));
        assert_eq!(within, [vec![1, 2], vec![0, 2], vec![1, 0]]);
    }

    #[test]
    fn within_a_modality_the_row_is_its_own_pair() {
        // 10 degrees: cosine .985, above .95. Two views of one sample (70 and 100 degrees): .866 is the measure for both.
        let rows = ids(&[0.0, 10.0, 30.0, 70.0, 100.0], &[1, 2, 3, 4, 4]);
        let guard = HardNegatives { count: 1, ..HardNegatives::default() };
        assert_eq!(found(&guard, Compare::within(&rows)), [vec![2], vec![2], vec![1], vec![2], vec![2]]);
        // At 50 and 52 degrees (cosine .940 and .951 with 70) the views' pair keeps both out: the ceiling is .823.
        let rows = ids(&[50.0, 20.0, 70.0, 100.0], &[1, 2, 4, 4]);
        assert_eq!(found(&guard, Compare::within(&rows))[2], [1]);
    }

    #[test]
    fn without_a_pair_nothing_is_guarded() {
        let images = ids(&[0.0, 50.0], &[1, 2]);
        let mut texts = ids(&[5.0, 20.0, 90.0], &[9, 1, 8]);
        let across = |texts: &Embeddings, guard: &HardNegatives| found(guard, Compare::between(&images, texts).unwrap());
        let guard = HardNegatives { duplicate: None, ..HardNegatives::default() };
        assert_eq!(across(&texts, &guard), [vec![2], vec![]], "image 2 has no text");
        assert_eq!(across(&texts, &HardNegatives { relative_margin: None, ..guard.clone() })[1], [1, 2, 0]);
        texts.values[2..4].fill(f32::NAN);
        assert_eq!(across(&texts, &guard), [Vec::<usize>::new(), vec![]], "the text of image 1 is unusable");
        let unnamed = Embeddings::new(&[1.0, 0.0], 2).unwrap();
        assert!(guard.find(Compare::between(&images, &unnamed).unwrap(), &seeds()).is_err());
    }

    #[test]
    fn wrong_guards_are_told() {
        let rows = ids(&[0.0], &[1]);
        let usual = HardNegatives::default();
        for wrong in [
            HardNegatives { count: 0, ..usual.clone() },
            HardNegatives { range_max: Some(4), ..usual.clone() },
            HardNegatives { max_score: Some(f32::NAN), ..usual.clone() },
            HardNegatives { absolute_margin: Some(-0.1), ..usual.clone() },
            HardNegatives { relative_margin: Some(f32::INFINITY), ..usual.clone() },
            HardNegatives { duplicate: Some(0.0), ..usual.clone() },
        ] {
            assert!(wrong.find(Compare::within(&rows), &seeds()).is_err(), "{wrong:?}");
        }
        let vast = HardNegatives { range_min: usize::MAX, count: usize::MAX, ..usual };
        assert_eq!(found(&vast, Compare::within(&rows)), [Vec::<usize>::new()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// The definition, pair by pair in double precision, for both ways of sampling.
        #[test]
        fn the_guard_keeps_its_definition(seed in 0u32..1000, count in 1usize..6, range_min in 0usize..4, random: bool) {
            let n = 150;
            let number: Vec<u64> = (0..n as u64).collect();
            let images = rows(seed, n, 6, 4).with_ids(&number).unwrap();
            let mut mixed: Vec<f32> = rows(seed + 5, n, 6, 4).values;
            mixed.iter_mut().zip(&images.values).for_each(|(text, image)| *text += image);
            let texts = Embeddings::new(&mixed, 6).unwrap().with_ids(&number).unwrap();
            let compare = Compare::between(&images, &texts).unwrap();
            let sampling = if random { Sampling::Random } else { Sampling::Top };
            let guard = HardNegatives { count, range_min, duplicate: Some(0.9), sampling, ..HardNegatives::default() };
            let among = Compare::within(&texts);
            let all = guard.find(compare, &seeds()).unwrap();
            for (query, found) in all.iter().enumerate() {
                let pair = compare.cosine(query, query);
                let may = |key: usize| {
                    key != query && compare.cosine(query, key) <= pair - 0.05 * pair.abs() && among.cosine(key, query) < 0.9
                };
                let mut right: Vec<f64> = (0..n).filter(|key| may(*key)).map(|key| compare.cosine(query, key)).collect();
                right.sort_by(|a, b| b.total_cmp(a));
                let window = &right[range_min.min(right.len())..];
                prop_assert_eq!(found.len(), count.min(window.len()));
                prop_assert!(found.windows(2).all(|w| w[0].similarity >= w[1].similarity && w[0].row != w[1].row));
                for (place, one) in found.iter().enumerate() {
                    prop_assert!(may(one.row));
                    let last = if random { (10 * count).min(window.len()) - 1 } else { place };
                    let (high, low) = (window[if random { 0 } else { place }], window[last]);
                    prop_assert!(f64::from(one.similarity) < high + 1e-5 && f64::from(one.similarity) > low - 1e-5);
                }
            }
            prop_assert_eq!(all, guard.find(compare, &seeds()).unwrap());
        }
    }
}
