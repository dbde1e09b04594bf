use super::{BankConfig, Memory, MemoryBank, Observation, OnDamage, Priorities, Recovery, record};
use crate::{
    pipeline::Stale,
    random::SeedTree,
    sample::{Judgement, Modality, ModalitySet, SampleId, Treatment},
    units::Fraction,
};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

fn id(i: usize) -> SampleId {
    // One is longer than a name record.
    SampleId::new(if i == 3 { "long/".repeat(60) } else { format!("sample {i}") })
}

fn config(capacity: usize) -> BankConfig {
    BankConfig { capacity, ..BankConfig::default() }
}

fn open(path: &Path, config: BankConfig) -> (MemoryBank, Recovery) {
    MemoryBank::open(path, config).unwrap_or_else(|error| panic!("{error}"))
}

fn observe(bank: &MemoryBank, step: u64, losses: &[(usize, f32)]) {
    let ids: Vec<SampleId> = losses.iter().map(|(i, _)| id(*i)).collect();
    let seen: Vec<Observation> = ids.iter().zip(losses).map(|(id, (_, loss))| Observation::loss(id, *loss)).collect();
    bank.observe(step, &seen).unwrap();
}

#[test]
fn a_sample_follows_worked_values() {
    let bank = MemoryBank::new(BankConfig { beta: 0.5, ..BankConfig::default() }).unwrap();
    let a = id(0);
    let image = ModalitySet::one(Modality::Image);
    bank.observe(4, &[Observation { margin: Some(1.0), ..Observation::loss(&a, 2.0) }]).unwrap();
    bank.observe(5, &[Observation { margin: Some(-0.5), ..Observation::loss(&a, 4.0) }, Observation::loss(&a, 9.0).only(image)]).unwrap();
    bank.observe(7, &[Observation { margin: Some(0.0), ..Observation::loss(&a, 1.0) }]).unwrap();
    let found = bank.get(&a).unwrap();
    // Weights 1/4, 1/2, 1 over 7/4: (0.5 + 2 + 1) / 1.75 = 2; variance (0.25 * 0 + 0.5 * 4 + 1 * 1) / 1.75.
    assert!((found.loss().unwrap() - 2.0).abs() < 1e-12 && (found.variance().unwrap() - 3.0 / 1.75).abs() < 1e-12, "{found:?}");
    assert_eq!((found.count(), found.last_loss(), found.last_step(), found.age(10)), (3, Some(1.0), 7, 3));
    assert_eq!(
        (found.subset_loss(image), found.subset_loss(ModalitySet::ALL), found.subset_loss(ModalitySet::EMPTY)),
        (Some(9.0), None, None)
    );
    assert_eq!((found.forgetting(), found.first_learned(), found.last_right()), (Some(1), Some(1), Some(false)));
    assert!((found.aum().unwrap() - 0.5 / 3.0).abs() < 1e-9);
    // 2 + 1 * sqrt(var / 3), and unchanged by age under `rescore`.
    let rules = Priorities { max_age: 2, ..Priorities::default() };
    let hopeful = 2.0 + (3.0f64 / 1.75 / 3.0).sqrt();
    assert!((found.priority(10, &rules).unwrap() - hopeful).abs() < 1e-12);
    let decay = Priorities { stale: Stale::Decay { factor: Fraction::new(0.5).unwrap() }, ..rules };
    assert!((found.priority(11, &decay).unwrap() - 0.25 * hopeful).abs() < 1e-12);
    assert!((found.priority(9, &decay).unwrap() - hopeful).abs() < 1e-12);
    bank.judge([(&a, Judgement::SuspectLabel, Treatment::Quarantine)]).unwrap();
    assert_eq!(bank.get(&a).unwrap().priority(8, &rules), None);
    // Never right: one more than the presentations. A loss that is none is counted.
    let b = id(1);
    let told =
        bank.observe(8, &[Observation { margin: Some(-1.0), ..Observation::loss(&b, 1.0) }, Observation::loss(&b, f32::NAN)]).unwrap();
    assert_eq!((told.taken, told.not_finite, bank.get(&b).unwrap().forgetting(), bank.len()), (1, 1, Some(2), 2));
    assert_eq!((bank.get(&id(2)), bank.is_empty()), (None, false));
}

/// What was done to a bank.
#[derive(Debug, Clone)]
enum Act {
    Observe(Vec<(usize, f32, Option<i8>, u8)>),
    Judge(usize, usize),
    Forget(usize),
    Compact,
    Reopen,
}

const TREATMENTS: [Treatment; 5] = [Treatment::Keep, Treatment::Weight, Treatment::Relabel, Treatment::Review, Treatment::Quarantine];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let seen = (0..14usize, 0f32..20.0, prop::option::of(-3i8..3), 0u8..12);
    let act = prop_oneof![
        8 => prop::collection::vec(seen, 0..6).prop_map(Act::Observe),
        1 => (0..14usize, 0..5usize).prop_map(|(i, what)| Act::Judge(i, what)),
        1 => (0..14usize).prop_map(Act::Forget),
        1 => Just(Act::Compact),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 0..60)
}

/// All that ever happened to a sample since it was taken up.
#[derive(Debug, Clone, Default)]
struct Plain {
    taken_up: usize,
    any_step: u64,
    whole: Vec<(u64, f32, Option<f32>)>,
    subsets: HashMap<ModalitySet, f32>,
    verdict: Option<(Judgement, Treatment)>,
}

impl Plain {
    fn last_step(&self) -> u64 {
        self.whole.last().map_or(self.any_step, |one| one.0)
    }
}

/// The same rules, said in the plainest way: a map of whole histories.
fn plain(acts: &[Act], capacity: usize) -> HashMap<SampleId, Plain> {
    let mut all: HashMap<SampleId, Plain> = HashMap::new();
    let mut next = 0;
    let mut room = |all: &mut HashMap<SampleId, Plain>, id: &SampleId, step: u64| {
        if !all.contains_key(id) {
            if all.len() >= capacity {
                let mut old: Vec<(u64, usize, SampleId)> =
                    all.iter().map(|(id, one)| (one.last_step(), one.taken_up, id.clone())).collect();
                old.sort();
                for (_, _, gone) in old.into_iter().take((capacity / 16).max(1)) {
                    all.remove(&gone);
                }
            }
            all.insert(id.clone(), Plain { taken_up: next, any_step: step, ..Plain::default() });
            next += 1;
        }
    };
    for (step, act) in acts.iter().enumerate() {
        match act {
            Act::Observe(seen) => {
                for (i, loss, margin, only) in seen {
                    room(&mut all, &id(*i), step as u64);
                    let one = all.get_mut(&id(*i)).unwrap();
                    one.any_step = step as u64;
                    match ModalitySet::ALL.subsets().nth(usize::from(*only)) {
                        Some(shown) => drop(one.subsets.insert(shown, *loss)),
                        None => one.whole.push((step as u64, *loss, margin.map(f32::from))),
                    }
                }
            }
            Act::Judge(i, what) => {
                room(&mut all, &id(*i), 0);
                all.get_mut(&id(*i)).unwrap().verdict = Some((Judgement::Outlier, TREATMENTS[*what]));
            }
            Act::Forget(i) => drop(all.remove(&id(*i))),
            Act::Compact | Act::Reopen => {}
        }
    }
    all
}

fn same(found: &Memory, right: &Plain, beta: f64) -> Result<(), TestCaseError> {
    let n = right.whole.len();
    let weights: Vec<f64> = (0..n).map(|i| beta.powi((n - 1 - i) as i32)).collect();
    let total: f64 = weights.iter().sum();
    let mean = right.whole.iter().zip(&weights).map(|(one, w)| w * f64::from(one.1)).sum::<f64>() / total;
    let variance = right.whole.iter().zip(&weights).map(|(one, w)| w * (f64::from(one.1) - mean).powi(2)).sum::<f64>() / total;
    prop_assert_eq!(found.count() as usize, n);
    if n > 0 {
        prop_assert!((found.loss().unwrap() - mean).abs() < 1e-9 && (found.variance().unwrap() - variance).abs() < 1e-7);
        prop_assert_eq!(found.last_loss(), right.whole.last().map(|one| one.1));
    } else {
        prop_assert_eq!((found.loss(), found.variance(), found.last_loss()), (None, None, None));
    }
    prop_assert_eq!(found.last_step(), right.last_step());
    let margins: Vec<f32> = right.whole.iter().filter_map(|one| one.2).collect();
    let rights: Vec<bool> = margins.iter().map(|margin| *margin > 0.0).collect();
    let learned = rights.iter().position(|right| *right);
    let forgotten = rights.windows(2).filter(|pair| pair[0] && !pair[1]).count();
    prop_assert_eq!(found.first_learned(), learned.map(|at| at as u32 + 1));
    let forgetting = (!margins.is_empty()).then_some(if learned.is_some() { forgotten } else { margins.len() + 1 } as u32);
    prop_assert_eq!(found.forgetting(), forgetting);
    prop_assert_eq!(found.last_right(), rights.last().copied());
    let aum = (!margins.is_empty()).then(|| margins.iter().map(|margin| f64::from(*margin)).sum::<f64>() / margins.len() as f64);
    prop_assert_eq!(found.aum().is_some(), aum.is_some());
    prop_assert!((found.aum().unwrap_or(0.0) - aum.unwrap_or(0.0)).abs() < 1e-9);
    for shown in ModalitySet::ALL.subsets() {
        prop_assert_eq!(found.subset_loss(shown), right.subsets.get(&shown).copied());
    }
    prop_assert_eq!(found.verdict(), right.verdict);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However it is compacted and opened again, the bank says what a plain map says that is made anew from all that happened.
    #[test]
    fn the_bank_is_a_plain_map_of_the_whole_log(acts in acts(), capacity in 1..16usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.bin");
        let (mut bank, _) = open(&path, config(capacity));
        let alone = MemoryBank::new(config(capacity)).unwrap();
        for (step, act) in acts.iter().enumerate() {
            for bank in [&bank, &alone] {
                match act {
                    Act::Observe(seen) => {
                        let ids: Vec<SampleId> = seen.iter().map(|one| id(one.0)).collect();
                        let seen: Vec<Observation> = seen.iter().zip(&ids).map(|((_, loss, margin, only), id)| Observation {
                            id,
                            loss: *loss,
                            margin: margin.map(f32::from),
                            only: ModalitySet::ALL.subsets().nth(usize::from(*only)),
                        }).collect();
                        prop_assert_eq!(bank.observe(step as u64, &seen).unwrap().taken, seen.len());
                    }
                    Act::Judge(i, what) => drop(bank.judge([(&id(*i), Judgement::Outlier, TREATMENTS[*what])]).unwrap()),
                    Act::Forget(i) => bank.forget([&id(*i)]).unwrap(),
                    Act::Compact => bank.compact().unwrap(),
                    Act::Reopen => {}
                }
                prop_assert!(bank.len() <= capacity);
            }
            if matches!(act, Act::Reopen) {
                drop(bank);
                let (again, recovery) = open(&path, config(capacity));
                prop_assert_eq!((recovery.torn_bytes, recovery.damaged, recovery.nameless), (0, 0, 0));
                bank = again;
            }
        }
        let right = plain(&acts, capacity);
        let found = bank.snapshot();
        prop_assert_eq!(found.len(), right.len());
        for (id, memory) in &found {
            same(memory, right.get(id).unwrap(), 0.9)?;
        }
        prop_assert_eq!(&found, &alone.snapshot());
        prop_assert_eq!(&found, &bank.fork().unwrap().snapshot());
        // Saved by either, the bytes are the same, and read back they say the same.
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        bank.save(&one).unwrap();
        alone.save(&two).unwrap();
        prop_assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        prop_assert_eq!(open(&one, config(capacity)).0.snapshot(), found);
    }
}

/// A bank of eight steps in a file, and what was known after each, by the length of the file.
fn eight(path: &Path) -> Vec<(usize, Vec<(SampleId, Memory)>)> {
    let (bank, _) = open(path, config(4));
    let mut states = vec![(0, Vec::new())];
    for step in 0..8u64 {
        let i = (step * 7 % 6) as usize;
        observe(&bank, step, &[(i, step as f32)]);
        states.push((fs::metadata(path).unwrap().len() as usize, bank.snapshot()));
    }
    states
}

#[test]
fn a_file_cut_anywhere_opens_as_it_was_before_the_cut_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.bin");
    let states = eight(&path);
    let whole = fs::read(&path).unwrap();
    // The last step must have made room for its sample: three kinds of record stand in the file.
    assert!(states.iter().all(|(_, kept)| kept.len() <= 4) && whole.len() > 14 * record::WIDTH);
    let torn = folder.path().join("torn.bin");
    for cut in 0..=whole.len() {
        fs::write(&torn, &whole[..cut]).unwrap();
        let (bank, recovery) = open(&torn, config(4));
        let rest = if cut < 32 { cut } else { (cut - 32) % record::WIDTH };
        assert_eq!((recovery.torn_bytes, recovery.damaged), (rest as u64, 0), "cut at {cut}");
        // A step may be several records: one that lets a sample go, those of a name, a state. A sample may be gone already.
        let (_, before) = states.iter().rev().find(|(length, _)| *length <= cut.max(32)).unwrap();
        let found = bank.snapshot();
        assert!(found.iter().all(|one| before.contains(one)), "cut at {cut}");
        assert!(found.len() + 1 >= before.len(), "cut at {cut}");
        if states.iter().any(|(length, _)| *length == cut) {
            assert_eq!(found, *before, "cut at {cut}");
        }
        // It goes on from there.
        observe(&bank, 99, &[(0, 1.5)]);
        let found = bank.snapshot();
        drop(bank);
        assert_eq!(open(&torn, config(4)).0.snapshot(), found, "cut at {cut}");
    }
}

#[test]
fn a_damaged_record_is_told_or_passed_over_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.bin");
    {
        let (bank, _) = open(&path, config(9));
        (0..6).for_each(|step| observe(&bank, step, &[(step as usize % 3, step as f32)]));
    }
    let whole = fs::read(&path).unwrap();
    // Name, state; name, state; name, state; three states.
    assert_eq!(whole.len(), 32 + 9 * record::WIDTH);
    let damaged = |record: usize, byte: usize| {
        let mut bytes = whole.clone();
        bytes[32 + record * record::WIDTH + byte] ^= 4;
        fs::write(&path, &bytes).unwrap();
    };
    let skip = BankConfig { on_damage: OnDamage::Skip, ..config(9) };
    for byte in 0..record::WIDTH {
        damaged(6, byte);
        let told = MemoryBank::open(&path, config(9)).err().unwrap().to_string();
        assert!(told.contains("record 7 of the memory bank is damaged and good ones follow"), "{told}");
        let (bank, recovery) = open(&path, skip);
        assert_eq!((recovery.damaged, recovery.nameless, recovery.torn_bytes, recovery.records), (1, 0, 0, 8));
        // The state of step 3 is lost, that of step 0 stands.
        assert_eq!((bank.get(&id(0)).unwrap().last_step(), bank.get(&id(1)).unwrap().last_step(), bank.len()), (0, 4, 3));
        drop(bank);
        // What was passed over is gone from the file.
        assert_eq!(open(&path, config(9)).1, Recovery { records: 6, ..Recovery::default() });
    }
    damaged(2, 40);
    let (bank, recovery) = open(&path, skip);
    assert_eq!((recovery.damaged, recovery.nameless, bank.len(), bank.get(&id(1))), (1, 1, 2, None));
    drop(bank);
    // At the end it is a write that was not finished.
    damaged(8, 50);
    let (bank, recovery) = open(&path, config(9));
    assert_eq!((recovery.torn_bytes, recovery.records, bank.get(&id(2)).unwrap().last_step()), (record::WIDTH as u64, 8, 2));
    drop(bank);
    for (bytes, told) in [(&b"something else entirely, and long"[..], "not a memory bank"), (&b"short"[..], "not a memory bank")] {
        fs::write(&path, bytes).unwrap();
        assert!(MemoryBank::open(&path, config(9)).err().unwrap().to_string().contains(told));
    }
    fs::write(&path, &whole).unwrap();
    let told = MemoryBank::open(&path, BankConfig { beta: 0.5, ..config(9) }).err().unwrap().to_string();
    assert!(told.contains("a memory bank with the decay 0.9, expected 0.5"), "{told}");
}

#[test]
fn a_file_has_one_writer_and_is_rewritten_when_it_has_grown_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.bin");
    let (bank, _) = open(&path, config(9));
    let told = MemoryBank::open(&path, config(9)).err().unwrap().to_string();
    assert!(told.contains("another process writes to this memory bank"), "{told}");
    fs::write(folder.path().join("bank.bin.partial"), "what a killed rewriting left").unwrap();
    for step in 0..6000 {
        observe(&bank, step, &[(0, 1.0), (1, step as f32), (2, 0.5)]);
    }
    // 18,000 states, of which the first 16,384 records were rewritten as six.
    assert!(fs::metadata(&path).unwrap().len() < 2000 * record::WIDTH as u64);
    let told = MemoryBank::open(&path, config(9)).err().unwrap().to_string();
    assert!(told.contains("another process writes"), "the lock went with the old file: {told}");
    bank.sync().unwrap();
    let before = bank.snapshot();
    drop(bank);
    // A smaller capacity lets the longest unseen go on opening.
    assert_eq!(open(&path, config(9)).0.snapshot(), before);
    assert_eq!(open(&path, config(2)).0.len(), 2);
    assert_eq!(open(&path, config(9)).0.len(), 2);
    let wrong = [BankConfig { beta: 1.0, ..config(9) }, BankConfig { beta: f64::NAN, ..config(9) }, config(0)];
    assert!(wrong.into_iter().all(|config| MemoryBank::new(config).is_err()));
}

#[test]
fn the_memory_is_what_is_stated() {
    // A million samples with ids of 40 bytes: 239 MB.
    assert_eq!(MemoryBank::bytes_a_sample(40), 239);
    let bank = MemoryBank::new(config(5000)).unwrap();
    for part in 0..12 {
        let ids: Vec<SampleId> = (0..1000).map(|i| SampleId::new(format!("{}", part * 1000 + i))).collect();
        let seen: Vec<Observation> = ids.iter().map(|id| Observation::loss(id, 1.0)).collect();
        bank.observe(part, &seen).unwrap();
        assert!(bank.len() <= 5000);
    }
    let (mut slots, mut places) = (0, 0);
    for shard in &bank.shards {
        let shard = shard.read().unwrap();
        slots += shard.slots.capacity();
        places += shard.index.capacity();
    }
    // As full as the capacity ever was: an eighth to spare, and room for four in each part.
    assert!(slots <= 5000 * 9 / 8 + 64 * 5, "{slots}");
    assert!(places <= 2 * 5000 + 64 * 8, "{places}");
    // The longest unseen went first.
    assert!(bank.get(&"11999".into()).is_some() && bank.get(&"0".into()).is_none());
}

#[test]
fn readers_see_each_sample_whole_while_one_writes() {
    let bank = MemoryBank::new(config(1000)).unwrap();
    let (samples, steps) = (200, 300u64);
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..=steps {
                observe(&bank, step, &(0..samples).map(|i| (i, step as f32)).collect::<Vec<_>>());
            }
            written.store(true, Ordering::Release);
        });
        for reader in 0..3 {
            let (bank, written) = (&bank, &written);
            scope.spawn(move || {
                let mut last = vec![0; samples];
                while !written.load(Ordering::Acquire) {
                    for (i, last) in last.iter_mut().enumerate() {
                        let Some(found) = bank.get(&id(i)) else { continue };
                        // All fields are of one step, and steps do not go back.
                        assert_eq!((found.last_loss(), u64::from(found.count())), (Some(found.last_step() as f32), found.last_step()));
                        assert!(found.last_step() >= *last);
                        *last = found.last_step();
                    }
                    let all = if reader == 0 { bank.snapshot() } else { Vec::new() };
                    assert!(all.iter().all(|(_, found)| found.last_loss() == Some(found.last_step() as f32)));
                    assert!(bank.hardest(3, steps, &Priorities::default()).len() <= 3);
                }
            });
        }
    });
    assert!((0..samples).all(|i| bank.get(&id(i)).unwrap().last_step() == steps));
}

#[test]
fn the_hardest_the_stale_and_the_draw() {
    let bank = MemoryBank::new(config(99)).unwrap();
    observe(&bank, 1, &[(0, 1.0), (1, 4.0)]);
    observe(&bank, 5, &[(2, 9.0), (4, 4.0)]);
    let plain = Priorities { alpha: 0.5, optimism: 0.0, max_age: 3, stale: Stale::Decay { factor: Fraction::new(1.0).unwrap() } };
    let hardest = bank.hardest(3, 5, &plain);
    assert_eq!(hardest, [(id(2), 9.0), (id(1), 4.0), (id(4), 4.0)]);
    assert_eq!((bank.stale(9, 5, 3), bank.stale(1, 5, 3), bank.stale(9, 5, 4)), (vec![id(0), id(1)], vec![id(0)], vec![]));
    // Roots 1, 2, 3, 2 over 8.
    let mut sampler = bank.sampler(5, plain);
    for (i, right) in [(0, 1.0 / 8.0), (1, 2.0 / 8.0), (2, 3.0 / 8.0), (4, 2.0 / 8.0), (9, 0.0)] {
        assert!((sampler.probability(&id(i)) - right).abs() < 1e-5, "{i}");
    }
    let mut rng = SeedTree::new(1).rng();
    let drawn = sampler.draw(8000, 1.0, &mut rng);
    let count = |i: usize| drawn.iter().filter(|one| one.id == id(i)).count() as f64;
    for (i, right) in [(0, 1000.0), (1, 2000.0), (2, 3000.0), (4, 2000.0)] {
        // Six standard deviations of a count are at most 263.
        assert!((count(i) - right).abs() < 263.0, "{i}: {}", count(i));
    }
    // The weights make up for the draw: 1 for the rarest, a third for the one drawn three times as often.
    let weight = |i: usize| drawn.iter().find(|one| one.id == id(i)).unwrap().weight;
    assert!((weight(0) - 1.0).abs() < 1e-6 && (weight(2) - 1.0 / 3.0).abs() < 1e-4);
    sampler.update(&id(2), 0.0).unwrap();
    sampler.update(&id(77), 1.0).unwrap();
    assert!(sampler.probability(&id(2)) < 1e-3 && sampler.update(&id(2), f64::NAN).is_err() && sampler.update(&id(2), -1.0).is_err());
    // A share of a draw goes to the stale, the oldest first, each once; a new sample stands with the hardest; one set aside is never drawn.
    bank.observe(6, &[Observation::loss(&id(6), 1.0).only(ModalitySet::ALL)]).unwrap();
    bank.judge([(&id(2), Judgement::SuspectPair, Treatment::Quarantine)]).unwrap();
    let mut sampler = bank.sampler(6, Priorities { stale: Stale::default(), ..plain });
    assert!((sampler.probability(&id(6)) - sampler.probability(&id(1))).abs() < 1e-12 && sampler.probability(&id(2)) == 0.0);
    let forced = |sampler: &mut super::ReplaySampler| -> Vec<SampleId> {
        let drawn = sampler.draw(20, 0.4, &mut SeedTree::new(2).rng());
        assert_eq!(drawn.len(), 20);
        drawn.into_iter().filter(|one| one.stale).map(|one| one.id).collect()
    };
    assert_eq!((forced(&mut sampler), forced(&mut sampler), forced(&mut sampler)), (vec![id(0)], vec![id(1)], vec![]));
    assert!(MemoryBank::new(config(9)).unwrap().sampler(0, plain).draw(5, 0.4, &mut rng).is_empty());
}
