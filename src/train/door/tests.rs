use super::*;
use crate::{
    random::SeedTree,
    train::memory_bank::{BankConfig, Observation},
};
use proptest::prelude::*;

fn ids(names: &[&str]) -> Vec<SampleId> {
    names.iter().map(|name| SampleId::new(*name)).collect()
}

fn rules(take: Take, keep: f64) -> BatchRules {
    BatchRules { take, keep, floor: 0.0, refresh: 1, ..BatchRules::default() }
}

fn bank(losses: &[(&str, f32)]) -> MemoryBank {
    let bank = MemoryBank::new(BankConfig::default()).unwrap();
    let own: Vec<(SampleId, f32)> = losses.iter().map(|(id, loss)| (SampleId::new(*id), *loss)).collect();
    bank.observe(0, &own.iter().map(|(id, loss)| Observation::loss(id, *loss)).collect::<Vec<_>>()).unwrap();
    bank
}

#[test]
fn the_hardest_of_the_batch_equal_ones_by_id() {
    let mut miner = BatchMiner::new(rules(Take::Batch, 0.5)).unwrap();
    let ids = ids(&["d", "c", "b", "a", "e", "f"]);
    let losses = [1.0, 3.0, 1.0, 1.0, f32::NAN, 0.5];
    let chosen = miner.choose(1, &ids, &losses, None, &mut SeedTree::new(1).rng()).unwrap();
    assert_eq!(chosen, Chosen { rows: vec![1, 3, 2], weights: vec![1.0; 3], recalled: vec![], not_finite: vec![4] });
    let passes = miner.passes();
    assert_eq!((passes, passes.saved(), passes.share_saved()), (Passes { steps: 1, forward: 6, backward: 3, recalled: 0 }, 3, 0.5));
    assert_eq!(miner.choose(2, &[], &[], None, &mut SeedTree::new(1).rng()).unwrap(), Chosen::default());
}

#[test]
fn the_bank_and_the_batch_stand_in_one_ranking() {
    let bank = bank(&[("a", 9.0), ("x", 2.5), ("y", 0.75), ("z", 8.0)]);
    let ids = ids(&["a", "b", "c", "d"]);
    let losses = [0.1, 3.0, 1.0, 0.5];
    let rng = || SeedTree::new(1).rng();
    // "a" counts by its loss of now: 8.0 of z, 3.0 of b, 2.5 of x.
    let mut both = BatchMiner::new(rules(Take::Both, 0.75)).unwrap();
    let chosen = both.choose(1, &ids, &losses, Some(&bank), &mut rng()).unwrap();
    assert_eq!((chosen.rows, chosen.recalled), (vec![1], ["z", "x"].map(SampleId::new).to_vec()));
    assert_eq!((both.passes().recalled, both.passes().saved()), (2, 1));
    // The bank alone knows "a" as the hardest, and the batch has it.
    let mut alone = BatchMiner::new(rules(Take::Bank, 0.5)).unwrap();
    let chosen = alone.choose(1, &ids, &losses, Some(&bank), &mut rng()).unwrap();
    assert_eq!((chosen.rows, chosen.recalled), (vec![0], vec![SampleId::new("z")]));
    // What is in the running keeps its place until the next pass, by its priority of now.
    let mut rare = BatchMiner::new(BatchRules { refresh: 10, pool: 2, ..rules(Take::Bank, 0.25) }).unwrap();
    let one = |miner: &mut BatchMiner, step| miner.choose(step, &ids, &losses, Some(&bank), &mut rng()).unwrap();
    assert_eq!(one(&mut rare, 1).rows, [0]);
    let known: Vec<SampleId> = ["a", "y"].map(SampleId::new).to_vec();
    for step in 2..8 {
        bank.observe(step, &[Observation::loss(&known[0], 0.0), Observation::loss(&known[1], 20.0)]).unwrap();
    }
    assert_eq!(one(&mut rare, 9).recalled, [SampleId::new("z")]);
    assert_eq!(one(&mut rare, 11).recalled, [SampleId::new("y")]);
}

#[test]
fn a_sample_that_moved_in_the_bank_is_found_and_one_that_went_is_not() {
    let all: Vec<SampleId> = (0..600).map(|i| SampleId::new(format!("s{i}"))).collect();
    let bank = MemoryBank::new(BankConfig::default()).unwrap();
    bank.observe(0, &all.iter().enumerate().map(|(i, id)| Observation::loss(id, i as f32)).collect::<Vec<_>>()).unwrap();
    let mut miner = BatchMiner::new(BatchRules { refresh: 100, pool: 600, ..rules(Take::Bank, 1.0) }).unwrap();
    let batch: Vec<SampleId> = (0..600).map(|i| SampleId::new(format!("other{i}"))).collect();
    let losses = vec![0.0; 600];
    let chosen =
        |miner: &mut BatchMiner, step| miner.choose(step, &batch, &losses, Some(&bank), &mut SeedTree::new(1).rng()).unwrap().recalled;
    assert_eq!(chosen(&mut miner, 1), all.iter().rev().cloned().collect::<Vec<_>>());
    // What goes gives its place to another of its part.
    bank.forget(all.iter().step_by(3)).unwrap();
    let left: Vec<SampleId> = (0..600).rev().filter(|i| i % 3 != 0).map(|i| all[i].clone()).collect();
    assert_eq!(chosen(&mut miner, 2), left);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |rules: BatchRules| BatchMiner::new(rules).unwrap_err().to_string();
    let usual = BatchRules::default();
    assert!(refused(BatchRules { keep: 0.0, ..usual }).contains("above 0 and at most 1"));
    assert!(refused(BatchRules { keep: f64::NAN, ..usual }).contains("NaN"));
    assert!(refused(BatchRules { floor: 1.0, ..usual }).contains("below 1"));
    assert!(refused(BatchRules { take: Take::Bank, ..usual }).contains("the bank alone"));
    assert!(refused(BatchRules { floor: 0.0, unbiased: true, ..usual }).contains("floor"));
    assert!(refused(BatchRules { pool: 0, ..usual }).contains("at least 1"));
    let mut miner = BatchMiner::new(rules(Take::Both, 0.5)).unwrap();
    let mut rng = SeedTree::new(1).rng();
    assert!(miner.choose(1, &ids(&["a"]), &[], None, &mut rng).unwrap_err().to_string().contains("as many losses"));
    assert!(miner.choose(1, &ids(&["a"]), &[1.0], None, &mut rng).unwrap_err().to_string().contains("memory bank"));
    assert!(ReplayQueue::<()>::new(0, 1).is_err());
}

#[test]
fn weights_of_drawn_rows_make_the_sum_unbiased() {
    // 3 of 8: the hardest two, and one of the other six that weighs six. Its mean over many draws is that of the six.
    let names: Vec<SampleId> = (0..8).map(|i| SampleId::new(format!("s{i}"))).collect();
    let losses: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let mut miner = BatchMiner::new(BatchRules { keep: 0.375, floor: 0.3, unbiased: true, ..BatchRules::default() }).unwrap();
    let mut rng = SeedTree::new(3).rng();
    let turns = 4000;
    let mut sum = 0.0;
    for step in 0..turns {
        let chosen = miner.choose(step, &names, &losses, None, &mut rng).unwrap();
        assert_eq!((&chosen.rows[..2], chosen.rows.len(), chosen.weights[2]), (&[7, 6][..], 3, 6.0));
        sum += chosen.rows.iter().zip(&chosen.weights).map(|(row, weight)| f64::from(losses[*row] * weight)).sum::<f64>();
    }
    // The deviation of one draw is 6 * 1.708; of the mean of 4,000 it is 0.162.
    assert!((sum / turns as f64 - 28.0).abs() < 5.0 * 0.162, "{}", sum / turns as f64);
}

#[test]
fn a_queue_gives_the_longest_waiting_and_forgets_the_old() {
    let mut queue = ReplayQueue::new(3, 5).unwrap();
    let of = |name: &str| SampleId::new(name);
    for (step, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d")] {
        queue.push(step, of(name), step);
    }
    // "a" came in anew at 4, so that "b" was the longest waiting when "d" came.
    assert_eq!((queue.len(), queue.let_go()), (3, 1));
    assert_eq!(queue.take(9, 1), [(of("a"), 4)]);
    assert_eq!((queue.let_go(), queue.take(9, 9)), (2, vec![(of("d"), 5)]));
    queue.push(9, of("e"), 9);
    queue.forget(&HashSet::from([of("e"), of("never")]));
    assert!(queue.is_empty() && queue.take(9, 1).is_empty());
}

proptest! {
    /// Nothing left out of the hard part is harder than anything in it; rows are different; as many as asked for.
    #[test]
    fn the_hard_part_is_the_hardest(losses in prop::collection::vec(0u8..9, 1..40), keep in 0.05f64..1.0, floor in 0.0f64..0.9, seed in 0u64..9) {
        let names: Vec<SampleId> = (0..losses.len()).map(|i| SampleId::new(format!("s{:02}", (i * 7) % 40))).collect();
        let values: Vec<f32> = losses.iter().map(|l| f32::from(*l)).collect();
        let mut miner = BatchMiner::new(BatchRules { keep, floor, ..BatchRules::default() }).unwrap();
        let chosen = miner.choose(0, &names, &values, None, &mut SeedTree::new(seed).rng()).unwrap();
        let wanted = (keep * values.len() as f64 - 1e-9).ceil() as usize;
        prop_assert_eq!(chosen.rows.len(), wanted);
        let own: HashSet<usize> = chosen.rows.iter().copied().collect();
        prop_assert_eq!(own.len(), wanted);
        let drawn = if wanted == values.len() { 0 } else { (floor * wanted as f64 - 1e-9).ceil().max(0.0) as usize };
        let (hard, _) = chosen.rows.split_at(wanted - drawn);
        for row in (0..values.len()).filter(|row| !hard.contains(row)) {
            for other in hard {
                prop_assert!(values[*other] > values[row] || values[*other] == values[row] && names[*other] < names[row]);
            }
        }
    }

    /// The queue equals a plain list.
    #[test]
    fn a_queue_is_a_list(acts in prop::collection::vec((0u8..12, 0usize..3, prop::bool::ANY), 0..80), capacity in 1usize..6, max_age in 0u64..9) {
        let mut queue = ReplayQueue::new(capacity, max_age).unwrap();
        let mut list: Vec<(u64, SampleId)> = Vec::new();
        for (step, (name, count, push)) in acts.into_iter().enumerate() {
            let step = step as u64;
            let id = SampleId::new(name.to_string());
            if push {
                queue.push(step, id.clone(), ());
                list.retain(|(_, own)| *own != id);
                list.push((step, id));
                list.drain(..list.len().saturating_sub(capacity));
            } else {
                list.retain(|(since, _)| step - since <= max_age);
                let taken: Vec<SampleId> = list.drain(..count.min(list.len())).map(|(_, id)| id).collect();
                prop_assert_eq!(queue.take(step, count).into_iter().map(|(id, ())| id).collect::<Vec<_>>(), taken);
            }
            prop_assert_eq!(queue.len(), list.len());
        }
    }
}
