use super::*;
use crate::{
    context::Answers,
    random::SeedTree,
    sample::{Column, DifficultyBand, Judgement, ModalitySet, SampleId, Score, TableRow},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// Ten losses with a tie, two classes in turn; row 3 has none.
const LOSSES: [Option<f32>; 10] =
    [Some(0.5), Some(2.0), Some(0.1), None, Some(1.0), Some(1.0), Some(0.2), Some(3.0), Some(0.05), Some(0.7)];

fn build(losses: &[Option<f32>], order: &[usize]) -> ScoreTable {
    let rows = order
        .iter()
        .map(|i| TableRow {
            id: SampleId::new(format!("s{i:02}")),
            class: Some(i % 2),
            present: ModalitySet::ALL,
            group: *i,
            fields: Arc::default(),
        })
        .collect();
    let mut table = ScoreTable::new(rows, 10).unwrap();
    let scores = |f: fn(f32) -> f32| order.iter().map(|i| losses[*i].map_or(Score::absent("no audio"), |v| Score::Known(f(v)))).collect();
    table.add(Column::hardness("loss", ""), scores(|v| v)).unwrap();
    table.add(Column::measure("oof_confidence", ""), scores(|v| (-v).exp())).unwrap();
    table
}

fn ten() -> ScoreTable {
    build(&LOSSES, &(0..10).collect::<Vec<_>>())
}

fn all_valuable(n: usize) -> Vec<Diagnosis> {
    vec![Diagnosis::clear(); n]
}

fn mine(written: Value, table: &ScoreTable, diagnoses: &[Diagnosis]) -> Selection {
    super::table().build(&written).map_err(|p| format!("{p:?}")).unwrap().operator.mine(table, diagnoses, &context(1, 1)).unwrap()
}

fn context(round: usize, rounds: usize) -> MineContext<'static> {
    static NOTHING: std::sync::LazyLock<Answers> = std::sync::LazyLock::new(Answers::default);
    MineContext { stage: "m", round, rounds, losses: &[], answers: &NOTHING, seeds: SeedTree::new(7).round(round).stage("m") }
}

fn ids(selection: &Selection) -> Vec<&str> {
    selection.samples.iter().map(|s| s.id.as_str()).collect()
}

#[test]
fn the_top_fraction_of_ten_numbers() {
    let table = ten();
    // Nine have a loss: ceil(0.3 * 9) = 3; of the tied s04 and s05 the lower id is taken.
    let chosen = mine(json!({ "top_fraction": { "by": "loss", "fraction": 0.3 } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s01", "s04", "s07"]);
    assert!(chosen.samples.iter().all(|s| s.weight == 1.0 && s.by == ["m"]));
    // Even: 1.0 0.5 0.2 0.1 0.05 -> ceil(1.5) = 2; odd: 3.0 2.0 1.0 0.7 -> ceil(1.2) = 2.
    let chosen = mine(json!({ "top_fraction": { "fraction": 0.3, "per_class": true } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s00", "s01", "s04", "s07"]);
    let chosen = mine(json!({ "top_fraction": { "fraction": 1.0 } }), &table, &all_valuable(10));
    assert_eq!(chosen.samples.len(), 9);
}

#[test]
fn the_threshold_of_ten_numbers() {
    let table = ten();
    // p = exp(-loss) < 0.9 is loss > 0.10536.
    let chosen = mine(json!({ "threshold": { "by": "confidence", "tau": 0.9 } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s00", "s01", "s04", "s05", "s06", "s07", "s09"]);
    let chosen = mine(json!({ "threshold": { "tau": 0.9, "limit": 2 } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s01", "s07"]);
    let chosen = mine(json!({ "threshold": { "tau": 0.01 } }), &table, &all_valuable(10));
    assert!(chosen.samples.is_empty() && chosen.band.is_some());
}

#[test]
fn the_band_of_ten_numbers() {
    let table = ten();
    // Sorted: .05 .1 .2 .5 .7 1 1 2 3; ranks in eighths, the tie at 5.5/8 = 0.6875. Inside 0.6..=0.95: 1, 1, 2.
    let chosen = mine(json!({ "band": { "by": "loss", "per_class": false } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s01", "s04", "s05"]);
    // Quantiles of the nine losses at places 4.8 and 7.6: 0.7 + 0.8 * 0.3 and 2 + 0.6 * 1, the latter clamped to ln 10.
    let band = chosen.band.unwrap();
    assert!((band.low - 0.94).abs() < 1e-6 && (band.high - 10f32.ln()).abs() < 1e-6, "{band:?}");
    // Even: .05 .1 .2 .5 1 -> rank .75 is 0.5 (s00). Odd: .7 1 2 3 -> rank 2/3 is 2 (s01).
    let chosen = mine(json!({ "band": { "by": "loss" } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s00", "s01"]);
    // In turns: the hardest of each class inside the band, and of the two the harder.
    let chosen = mine(json!({ "band": { "by": "loss", "low": 0.2, "limit": 3 } }), &table, &all_valuable(10));
    assert_eq!(ids(&chosen), ["s00", "s01", "s05"]);
}

#[test]
fn suspects_are_never_chosen_and_do_not_count() {
    let table = ten();
    let mut diagnoses = all_valuable(10);
    for (row, judgement) in [(7, Judgement::SuspectLabel), (1, Judgement::SuspectPair), (9, Judgement::Outlier)] {
        diagnoses[row].judgement = judgement;
    }
    let chosen = mine(json!({ "top_fraction": { "fraction": 0.5 } }), &table, &diagnoses);
    assert_eq!(ids(&chosen), ["s00", "s04", "s05"]);
    // The band is frozen from the six that are left: .05 .1 .2 .5 1 1.
    let band = mine(json!({ "band": { "by": "loss", "low": 0.6, "high": 0.9 } }), &table, &diagnoses).band.unwrap();
    assert_eq!(band, DifficultyBand { low: 0.5, high: 1.0 });
}

#[test]
fn out_of_fold_losses_freeze_the_band_before_the_losses() {
    let mut table = ten();
    table.add(Column::hardness("second.out_of_fold", ""), (0..10).map(|i| Score::Known(0.2 * i as f32)).collect()).unwrap();
    let band = mine(json!({ "top_fraction": { "by": "second.out_of_fold" } }), &table, &[]).band.unwrap();
    assert!((band.low - 1.08).abs() < 1e-6 && (band.high - 1.71).abs() < 1e-6, "{band:?}");
    // Ranked by the subject's own losses, the band still is that of the out-of-fold ones.
    assert_eq!(mine(json!({ "top_fraction": { "by": "loss" } }), &table, &[]).band, Some(band));
    assert_eq!(super::band_column(&table, "loss"), Some("second.out_of_fold"));
    assert_eq!(super::band_column(&ten(), "entropy"), Some("loss"));
}

#[test]
fn weights_by_rank_have_mean_one() {
    let chosen = mine(json!({ "top_fraction": { "fraction": 0.5, "weights": "rank" } }), &ten(), &[]);
    let weights: Vec<(&str, f32)> = chosen.samples.iter().map(|s| (s.id.as_str(), s.weight)).collect();
    assert_eq!(weights, [("s01", 1.25), ("s04", 0.875), ("s05", 0.875), ("s07", 1.5), ("s09", 0.5)]);
}

#[test]
fn what_cannot_be_ranked_is_refused() {
    let table = ten();
    let fails =
        |written: Value| super::table().build(&written).unwrap().operator.mine(&table, &[], &context(1, 1)).unwrap_err().to_string();
    assert_eq!(
        fails(json!({ "top_fraction": { "by": "oof_confidence" } })),
        "column `oof_confidence` is a measure, larger is not harder; rank by one of: loss"
    );
    assert!(fails(json!({ "band": { "by": "lss" } })).contains("did you mean `loss`"));
    let problem = |written: Value| super::table().build(&written).err().unwrap().remove(0).to_string();
    assert_eq!(problem(json!({ "band": { "low": 0.9, "high": 0.5 } })), "band.low: expected a rank below `high` (0.5), found 0.9");
    assert!(problem(json!({ "top_fraction": { "fraction": 0.0 } })).starts_with("top_fraction.fraction: nothing would be chosen"));
    assert!(problem(json!({ "top_fraction": { "fraction": 1.5 } })).contains("expected a fraction in 0..=1, found 1.5"));
    assert!(problem(json!({ "threshold": { "limit": 0 } })).starts_with("threshold.limit: expected at least 1"));
}

#[test]
fn nothing_known_is_an_empty_selection() {
    let table = build(&[None, None], &[0, 1]);
    for name in ["top_fraction", "band", "threshold"] {
        let written = if name == "band" { json!({ "band": { "by": "loss" } }) } else { json!({ name: {} }) };
        assert_eq!(mine(written, &table, &[]), Selection::default());
    }
}

#[test]
fn weighted_draws_a_share_or_each_by_itself() {
    let table = ten();
    let harder = |chosen: &Selection| chosen.samples.iter().filter(|s| s.score >= 0.7).count();
    let (mut hard, mut all) = (0, 0);
    for round in 1..=200 {
        let operator = super::table().build(&json!({ "weighted": { "keep": 0.5 } })).unwrap().operator;
        let chosen = operator.mine(&table, &[], &context(round, 200)).unwrap();
        // floor(0.5 * 9).
        assert_eq!(chosen.samples.len(), 4);
        assert_eq!(operator.mine(&table, &[], &context(round, 200)).unwrap(), chosen);
        hard += harder(&chosen);
        all += 4;
    }
    // Five of nine are at 0.7 or above; q grows from 1/18 to 17/18, so that they are drawn far more often than five in nine.
    assert!(hard * 10 > all * 7, "{hard} of {all}");
    let chosen = mine(json!({ "weighted": { "kind": "cdf", "beta": 0.0 } }), &table, &[]);
    assert_eq!(chosen.samples.len(), 9);
    let chosen = mine(json!({ "weighted": { "kind": "cdf", "beta": 100.0 } }), &table, &[]);
    assert_eq!(ids(&chosen), ["s07"]);
}

#[test]
fn prioritized_corrects_what_it_draws() {
    let table = ten();
    let operator = |written: Value| super::table().build(&json!({ "prioritized": written })).unwrap().operator;
    let last = operator(json!({ "alpha": 1.0, "beta": 0.0, "share": 1.0, "repeat_cap": 3 })).mine(&table, &[], &context(3, 3)).unwrap();
    let mean = last.samples.iter().map(|s| s.weight).sum::<f32>() / last.samples.len() as f32;
    assert!((mean - 1.0).abs() < 1e-6 && last.samples.windows(2).all(|pair| pair[0].row < pair[1].row));
    // In the last round beta is 1: loss weight times score is the same for all, and 1 for the least score.
    let least = last.samples.iter().map(|s| s.score).fold(f32::INFINITY, f32::min);
    assert!(last.samples.iter().all(|s| (s.loss_weight * s.score / least - 1.0).abs() < 1e-4), "{last:?}");
    // In the first round of beta 0 nothing is corrected.
    let first = operator(json!({ "beta": 0.0 })).mine(&table, &[], &context(1, 3)).unwrap();
    assert!(!first.samples.is_empty() && first.samples.iter().all(|s| s.loss_weight == 1.0));
    let mut below = ten();
    below.add(Column::hardness("margin", ""), (0..10).map(|i| Score::Known(i as f32 - 5.0)).collect()).unwrap();
    let told = operator(json!({ "by": "margin" })).mine(&below, &[], &context(1, 1)).unwrap_err().to_string();
    assert!(told.contains("sample s00") && told.contains("`margin` is -5") && told.contains("kind: rank"), "{told}");
    assert!(!operator(json!({ "by": "margin", "kind": "rank" })).mine(&below, &[], &context(1, 1)).unwrap().samples.is_empty());
}

#[test]
fn the_schedule_goes_from_uniform_over_easy_to_hard() {
    let table = ten();
    let at = |written: Value, round, rounds| {
        let operator = super::table().build(&json!({ "schedule": written })).unwrap().operator;
        let chosen = operator.mine(&table, &[], &context(round, rounds)).unwrap();
        ids(&chosen).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let slide = json!({ "by": "loss", "start": 0.1, "per_class": false });
    // Sorted: .05 .1 .2 .5 .7 1 1 2 3, ranks in eighths, the tie at 0.6875.
    assert_eq!(at(slide.clone(), 1, 10).len(), 9);
    // t = 0.1, h = 0: ranks 0.2..0.7.
    assert_eq!(at(slide.clone(), 2, 10), ["s00", "s04", "s05", "s06", "s09"]);
    // t = 0.8, h = 0.875: ranks 0.55..0.91875.
    assert_eq!(at(slide.clone(), 9, 10), ["s01", "s04", "s05"]);
    assert_eq!(at(slide, 10, 10).len(), 9);
    let composer = json!({ "by": "loss", "preset": "composer" });
    assert_eq!([5, 6, 7, 8, 9, 10].map(|round| at(composer.clone(), round, 10).len()), [9, 9, 4, 9, 4, 9]);
    assert_eq!(at(json!({ "by": "loss", "start": 0.5, "limit": 2 }), 1, 10).len(), 2);
    let problems = |written: Value| -> Vec<String> {
        let found = super::table().build(&json!({ "schedule": written })).err().unwrap();
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        problems(json!({ "preset": "composer", "low_range": [0.1, 0.2], "start": 0.95, "interrupt": 1, "limit": 0 })),
        [
            "schedule.low_range: only the preset `slide` has this parameter",
            "schedule.start: expected a share below `end` (0.9), found 0.95",
            "schedule.interrupt: every round would be uniform; expected 0 or at least 2, found 1",
            "schedule.limit: expected at least 1, or no limit, found 0",
        ]
    );
    assert_eq!(problems(json!({ "keep": 0.5 })), ["schedule.keep: only the preset `composer` has this parameter"]);
    assert_eq!(
        problems(json!({ "low_range": [0.3, 0.96] })),
        ["schedule.low_range: expected ranks below `high_range` ([0.7, 0.95]), found [0.3, 0.96]"]
    );
}

#[test]
fn a_quota_caps_what_another_miner_chooses() {
    let fields = |i: usize| Arc::new(json!({ "speaker": if i < 4 { json!("anna") } else { json!(7) } }).as_object().unwrap().clone());
    let rows = (0..8).map(|i| TableRow {
        id: SampleId::new(format!("s{i}")),
        class: (i != 0).then_some(i % 2),
        present: ModalitySet::ALL,
        group: i,
        fields: if i == 7 { Arc::default() } else { fields(i) },
    });
    let mut table = ScoreTable::new(rows.collect(), 3).unwrap();
    table.add(Column::hardness("loss", ""), (0..8).map(|i| Score::Known((8 - i) as f32)).collect()).unwrap();
    let cluster = |i: usize| if i == 3 { Score::absent("none") } else { Score::Known((i / 5) as f32) };
    table.add(Column::measure("cluster", ""), (0..8).map(cluster).collect()).unwrap();
    let half = json!({ "top_fraction": { "fraction": 0.5 } });
    let capped = |written: Value, diagnoses: &[Diagnosis]| -> Vec<String> {
        let mut config = json!({ "of": half });
        config.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
        let chosen = mine(json!({ "quota": config }), &table, diagnoses);
        assert!(chosen.band.is_some() && chosen.samples.iter().all(|s| s.by == ["m"]));
        ids(&chosen).into_iter().map(str::to_owned).collect()
    };
    // Chosen are s0..s3. Speakers: anna 4 of 8 rows, 7 has 3, none 1: anna keeps floor(1 * 4 * 4/8) = 2, with cap 1.6 floor(3.2) = 3.
    assert_eq!(capped(json!({ "per": "field", "name": "speaker", "cap": 1.0 }), &[]), ["s0", "s1"]);
    assert_eq!(capped(json!({ "per": "field", "name": "speaker", "cap": 1.6 }), &[]), ["s0", "s1", "s2"]);
    // Classes: none 1 (s0), odd 4 of 8 (s1, s3 chosen), even 3 of 8: floor(4 * 3/8) = 1.
    assert_eq!(capped(json!({ "cap": 1.0 }), &[]), ["s0", "s1", "s2", "s3"]);
    // Clusters: 0 has s0 s1 s2 s4, 1 has s5 s6 s7, s3 has none and may keep one.
    assert_eq!(capped(json!({ "per": "column", "name": "cluster", "cap": 1.0 }), &[]), ["s0", "s1", "s3"]);
    // Suspects count nowhere: s0 and s1 are out, so that of six rows anna has 2; three are chosen (s2 s3 s4), anna keeps one.
    let mut diagnoses = all_valuable(8);
    diagnoses[0].judgement = Judgement::SuspectLabel;
    diagnoses[1].judgement = Judgement::Outlier;
    assert_eq!(capped(json!({ "per": "field", "name": "speaker", "cap": 1.0 }), &diagnoses), ["s2", "s4"]);
    let problems = |written: Value| -> Vec<String> {
        super::table().build(&json!({ "quota": written })).err().unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        problems(json!({ "of": { "top_fraction": { "fraction": 0.0 } }, "per": "field", "cap": 0.5 })),
        [
            "quota.cap: expected a number in 1..=1000, found 0.5",
            "quota.name: missing: which field or column",
            "quota.of.top_fraction.fraction: nothing would be chosen; expected a fraction above 0 and at most 1",
        ]
    );
    assert_eq!(problems(json!({ "of": { "band": {} }, "name": "x" })), ["quota.name: `per: class` has no name"]);
    let needs =
        super::table().build(&json!({ "quota": { "of": half, "per": "column", "name": "cluster" } })).unwrap().operator.requirements();
    assert_eq!((needs.columns, needs.evidence), (vec!["loss".to_owned()], vec!["cluster".to_owned()]));
    assert_eq!((quota(10, 1, 10, 1.1), quota(10, 1, 1000, 1.0), quota(0, 1, 2, 1.0), quota(5, 0, 0, 1.0)), (1, 1, 0, 0));
}

#[test]
fn diverse_takes_the_hardest_and_what_is_unlike_it() {
    let mut table = ten();
    // s07 (3.0) and s01 (2.0) are doubles in the space; s04 and s05 are on the other side; s09 is absent and stands at the mean.
    let place = |i: usize| match i {
        1 | 7 => Score::Known(1.0),
        4 | 5 => Score::Known(-1.0),
        9 => Score::absent("none"),
        _ => Score::Known(50.0),
    };
    table.add(Column::measure("place", ""), (0..10).map(place).collect()).unwrap();
    let of = |fraction: f64| {
        let chosen = mine(json!({ "diverse": { "space": ["place"], "pool": 0.5, "fraction": fraction } }), &table, &[]);
        ids(&chosen).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // ceil(0.5 * 9) = 5 in the pool, up to 0.7; ceil(0.2 * 9) = 2, ceil(0.3 * 9) = 3; then only doubles are left.
    assert_eq!(of(0.1), ["s07"]);
    assert_eq!(of(0.2), ["s04", "s07"]);
    assert_eq!(of(0.3), ["s04", "s07", "s09"]);
    assert_eq!(of(0.5), ["s04", "s07", "s09"]);
    let problem = |written: Value| super::table().build(&json!({ "diverse": written })).err().unwrap().remove(0).to_string();
    assert!(problem(json!({ "space": [] })).starts_with("diverse.space: expected at least one score column"));
    assert!(problem(json!({ "space": ["a", "a"] })).starts_with("diverse.space[1]: the column `a` is listed twice"));
    assert!(problem(json!({ "space": ["a"], "pool": 0.1 })).starts_with("diverse.fraction: expected at most `pool` (0.1), found 0.2"));
    assert_eq!(problem(json!({})), "diverse: missing field `space`");
}

#[test]
fn a_query_asks_for_what_has_no_label() {
    let rows = (0..6).map(|i| TableRow {
        id: SampleId::new(format!("s{i}")),
        class: (i < 3).then_some(0),
        present: ModalitySet::ALL,
        group: i,
        fields: Arc::default(),
    });
    let mut table = ScoreTable::new(rows.collect(), 2).unwrap();
    let entropies = [0.69, 0.68, 0.67, 0.1, 0.5, 0.5];
    table.add(Column::hardness("entropy", ""), entropies.map(Score::Known).to_vec()).unwrap();
    assert_eq!(ids(&mine(json!({ "query": { "count": 2 } }), &table, &[])), ["s4", "s5"]);
    assert_eq!(ids(&mine(json!({ "query": { "count": 1 } }), &table, &[])), ["s4"]);
    assert_eq!(ids(&mine(json!({ "query": {} }), &table, &[])), ["s3", "s4", "s5"]);
    let query = super::table().build(&json!({ "query": { "by": "small_margin" } })).unwrap().operator;
    assert!(query.mine(&table, &[], &context(1, 1)).unwrap_err().to_string().contains("small_margin"));
    assert!(query.mine(&ten(), &[], &context(1, 1)).unwrap_err().to_string().starts_with("every sample has a label"));
    assert!(super::table().build(&json!({ "query": { "count": 0 } })).is_err());
}

#[test]
fn a_class_that_is_hard_as_a_whole_has_a_lower_threshold() {
    // Means 0.8 and 0.4: thresholds 0.9 and 0.45.
    let classes = [Some(0), Some(1), Some(0), Some(1)];
    let found = adaptive_thresholds(&[0.7, 0.3, 0.9, 0.5], &classes, 0.9);
    assert!(found.iter().zip([0.9, 0.45, 0.9, 0.45]).all(|(found, right)| (found - right).abs() < 1e-6), "{found:?}");
    assert_eq!(adaptive_thresholds(&[0.0, 0.0], &[None, Some(1)], 0.9), [0.9, 0.9]);
    assert!(adaptive_thresholds(&[], &[], 0.9).is_empty());
    let plain = ids(&mine(json!({ "threshold": { "tau": 0.6 } }), &ten(), &[])).len();
    let fewer = mine(json!({ "threshold": { "tau": 0.6, "per_class": true } }), &ten(), &[]);
    // Odd rows have the probabilities .135 .368 .050 .497 (mean .262), even ones .607 .905 .368 .819 .951 (mean .730): 0.6 and 0.216.
    assert_eq!((plain, ids(&fewer)), (5, vec!["s01", "s04", "s07"]));
}

#[test]
fn plain_functions_on_slices() {
    assert_eq!(uncertain(&[0.95, 0.9, 0.2], 0.9), [2]);
    assert_eq!(between_ranks(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5, 0.75), [2, 3]);
    assert_eq!(rank_weights(&[7.0, 1.0, 7.0]), [1.25, 0.5, 1.25]);
}

proptest! {
    /// What a trainer calls on a slice and what a pipeline does with a table are one thing.
    #[test]
    fn the_plain_functions_and_the_operators_agree(values in prop::collection::vec(0u8..40, 2..30), share in 1usize..10, tau in 1usize..10) {
        let losses: Vec<f32> = values.iter().map(|v| f32::from(*v) / 10.0).collect();
        let some: Vec<Option<f32>> = losses.iter().copied().map(Some).collect();
        let table = build(&some, &(0..losses.len()).collect::<Vec<_>>());
        let rows = |written: Value| mine(written, &table, &[]).samples.iter().map(|s| s.row).collect::<Vec<_>>();
        let sorted = |mut rows: Vec<usize>| { rows.sort_unstable(); rows };
        let (share, tau) = (share as f64 / 10.0, tau as f64 / 10.0);
        let k = (share * losses.len() as f64 - 1e-9).ceil() as usize;
        prop_assert_eq!(rows(json!({ "top_fraction": { "fraction": share } })), sorted(top_k(&losses, k)));
        let probabilities: Vec<f32> = losses.iter().map(|loss| (-loss).exp()).collect();
        prop_assert_eq!(rows(json!({ "threshold": { "tau": tau } })), uncertain(&probabilities, tau as f32));
        let classes: Vec<Option<usize>> = (0..losses.len()).map(|i| Some(i % 2)).collect();
        let own = adaptive_thresholds(&probabilities, &classes, tau);
        let below: Vec<usize> = (0..losses.len()).filter(|&i| f64::from(probabilities[i]) < own[i]).collect();
        prop_assert_eq!(rows(json!({ "threshold": { "tau": tau, "per_class": true } })), below);
        let (low, high) = (0.25, 0.25 + 0.75 * share);
        prop_assert_eq!(rows(json!({ "band": { "by": "loss", "low": low, "high": high, "per_class": false } })), between_ranks(&losses, low as f32, high as f32));
        let weights: Vec<f32> = mine(json!({ "top_fraction": { "fraction": 1.0, "weights": "rank" } }), &table, &[]).samples.iter().map(|s| s.weight).collect();
        prop_assert_eq!(weights, rank_weights(&losses));
        let drawn = mine(json!({ "prioritized": { "share": 1.0 } }), &table, &[]);
        let probability = prioritized_probabilities(&losses, Priority::Proportional, 0.6).unwrap();
        let of_drawn: Vec<f64> = drawn.samples.iter().map(|one| probability[one.row]).collect();
        let corrections: Vec<f32> = drawn.samples.iter().map(|one| one.loss_weight).collect();
        prop_assert_eq!(corrections, importance_weights(&of_drawn, 0.4));
    }

    /// The order of the table's rows changes nothing.
    #[test]
    fn the_choice_does_not_hang_on_the_order(values in prop::collection::vec(prop::option::weighted(0.9, 0u8..8), 1..30), by in 0usize..30) {
        let losses: Vec<Option<f32>> = values.iter().map(|v| v.map(|v| f32::from(v) / 4.0)).collect();
        let order: Vec<usize> = (0..losses.len()).collect();
        let turned: Vec<usize> = order.iter().map(|i| (i * 7 + by) % losses.len()).collect();
        prop_assume!(turned.iter().collect::<std::collections::HashSet<_>>().len() == losses.len());
        for written in [
            json!({ "top_fraction": { "fraction": 0.4, "weights": "rank" } }),
            json!({ "band": { "by": "loss", "low": 0.3, "high": 0.8, "limit": 5 } }),
            json!({ "threshold": { "tau": 0.5, "limit": 4 } }),
            json!({ "weighted": { "keep": 0.4 } }),
            json!({ "threshold": { "per_class": true } }),
            json!({ "quota": { "of": { "top_fraction": { "fraction": 0.5 } }, "cap": 1.0 } }),
            json!({ "diverse": { "space": ["loss", "oof_confidence"], "pool": 0.8, "fraction": 0.4 } }),
            json!({ "weighted": { "kind": "cdf", "beta": 2.0 } }),
            json!({ "prioritized": { "share": 0.6 } }),
            json!({ "prioritized": { "kind": "rank" } }),
            json!({ "schedule": { "by": "loss", "start": 0.5, "limit": 3 } }),
            json!({ "schedule": { "by": "loss", "preset": "composer", "start": 0.0, "limit": 3 } }),
        ] {
            let sorted = |table: &ScoreTable| {
                let mut found: Vec<(String, f32)> =
                    mine(written.clone(), table, &[]).samples.iter().map(|s| (s.id.to_string(), s.weight)).collect();
                found.sort_by(|a, b| a.0.cmp(&b.0));
                found
            };
            prop_assert_eq!(sorted(&build(&losses, &order)), sorted(&build(&losses, &turned)));
        }
    }
}
