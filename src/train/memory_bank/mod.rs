//! A memory of every training sample across batches and restarts: running loss and its variance, when it was last seen, what single modalities
//! lose, forgetting, margins, what the guard said. For a trainer's own loop as for the rounds of a run.
//! `examples/memory_bank.rs` shows it in a loop.

mod log;
mod memory;
mod record;
mod sampler;
#[cfg(test)]
mod tests;

pub use log::{OnDamage, Recovery};
pub use memory::{Memory, Observation};
pub use sampler::{Drawn, Priorities, ReplaySampler};

use crate::{
    error::{Error, Result},
    sample::{Judgement, SampleId, Treatment},
};
use log::Log;
use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    mem::size_of,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Parts with a lock each: a reader waits only while the writer changes a sample of the same part.
const SHARDS: usize = 64;
/// A bank that is full lets this part of it go at once.
const LET_GO: usize = 16;
/// The file is rewritten when it holds this many records for each of its samples.
const RECORDS_A_SAMPLE: u64 = 8;
/// A file of fewer records is never worth rewriting.
const SMALL: u64 = 1 << 14;

/// How a bank keeps its samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BankConfig {
    /// Decay of the running mean of the loss, at least 0 and below 1.
    pub beta: f64,
    /// Most samples, at least 1; see [`MemoryBank::bytes_a_sample`]. A new sample in a full bank makes the sixteenth part go that was longest not
    /// seen; among those of one step the one that was taken first.
    pub capacity: usize,
    /// What happens to a record that was damaged in the middle of the file.
    pub on_damage: OnDamage,
}

impl Default for BankConfig {
    fn default() -> Self {
        Self { beta: 0.9, capacity: 1_000_000, on_damage: OnDamage::Fail }
    }
}

impl BankConfig {
    fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.beta) {
            return Err(Error::usage(format!("expected a decay of at least 0 and below 1, found {}", self.beta)));
        }
        if self.capacity == 0 {
            return Err(Error::usage("expected a capacity of at least 1, found 0"));
        }
        if self.capacity > u32::MAX as usize {
            return Err(Error::usage(format!("expected a capacity of at most {}, found {}", u32::MAX, self.capacity)));
        }
        Ok(())
    }
}

/// What became of the observations of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Observations that were taken.
    pub taken: usize,
    /// Observations whose loss was not finite: nothing is known from them.
    pub not_finite: usize,
    /// Samples that were let go to make room.
    pub let_go: usize,
}

/// Where a sample was found in a bank; what stands there later may be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    shard: usize,
    slot: usize,
}

struct Slot {
    id: SampleId,
    /// Place in the order in which the samples were first taken.
    ordinal: u64,
    memory: Memory,
}

#[derive(Default)]
struct Shard {
    index: HashMap<SampleId, u32>,
    slots: Vec<Slot>,
}

struct Writer {
    log: Option<Log>,
    next: u64,
    /// Records of the batch in work.
    buffer: Vec<u8>,
}

/// The bank. One thread writes at a time; any number read meanwhile, each sample whole as it was before or after a step.
pub struct MemoryBank {
    config: BankConfig,
    shards: Box<[RwLock<Shard>]>,
    writer: Mutex<Writer>,
    len: AtomicUsize,
}

impl MemoryBank {
    /// An empty bank in memory alone.
    pub fn new(config: BankConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            writer: Mutex::new(Writer { log: None, next: 0, buffer: Vec::new() }),
            len: AtomicUsize::new(0),
        })
    }

    /// Opens the bank of a file, or begins one. Every step is appended to the file before the call that took it returns, so that a killed
    /// process loses at most the call it was in; [`MemoryBank::sync`] also survives a loss of power. What a writer left unfinished at the end
    /// is cut off and counted. Errors for a file of another decay, one that another process writes to, and under [`OnDamage::Fail`] for a
    /// damaged record in the middle.
    pub fn open(path: &Path, config: BankConfig) -> Result<(Self, Recovery)> {
        let bank = Self::new(config)?;
        let (log, kept, recovery) = Log::open(path, config.beta, config.on_damage)?;
        {
            let mut writer = bank.write();
            writer.log = Some(log);
            for (id, memory) in kept {
                bank.make_room(&mut writer);
                bank.put(&mut writer, &id, memory);
            }
            bank.write_down(&mut writer)?;
        }
        Ok((bank, recovery))
    }

    /// A copy in memory alone, at the state of now.
    pub fn fork(&self) -> Result<Self> {
        let copy = Self::new(self.config)?;
        let mut own = copy.write();
        let _still = self.write();
        for (id, memory) in self.in_order() {
            copy.put(&mut own, &id, memory);
        }
        drop(own);
        Ok(copy)
    }

    /// Writes all that is known into a new file, which [`MemoryBank::open`] reads. The same bank gives the same bytes.
    pub fn save(&self, path: &Path) -> Result<()> {
        let _still = self.write();
        let kept = self.in_order();
        log::write(path, self.config.beta, kept.len(), kept.iter().map(|(id, memory)| (id, memory))).map(drop)
    }

    /// Takes what a training step saw, in order. A loss that is not finite is counted and changes nothing.
    pub fn observe(&self, step: u64, seen: &[Observation<'_>]) -> Result<Taken> {
        let mut writer = self.write();
        let mut told = Taken::default();
        for one in seen {
            if !one.loss.is_finite() {
                told.not_finite += 1;
                continue;
            }
            told.let_go += self.change(&mut writer, one.id, |memory| memory.observe(step, one, self.config.beta))?;
            told.taken += 1;
        }
        self.write_down(&mut writer)?;
        Ok(told)
    }

    /// Takes what the guard said of samples. A sample that was never seen is taken up, too. Returns how many were let go to make room.
    pub fn judge<'a>(&self, said: impl IntoIterator<Item = (&'a SampleId, Judgement, Treatment)>) -> Result<usize> {
        let mut writer = self.write();
        let mut let_go = 0;
        for (id, judgement, treatment) in said {
            let_go += self.change(&mut writer, id, |memory| memory.verdict = Some((judgement, treatment)))?;
        }
        self.write_down(&mut writer)?;
        Ok(let_go)
    }

    /// Lets samples go.
    pub fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a SampleId>) -> Result<()> {
        let mut writer = self.write();
        ids.into_iter().for_each(|id| self.remove(&mut writer, id));
        self.write_down(&mut writer)
    }

    /// What is known of a sample.
    pub fn get(&self, id: &SampleId) -> Option<Memory> {
        let shard = self.shard(id).read().unwrap_or_else(PoisonError::into_inner);
        shard.index.get(id).and_then(|at| shard.slots.get(*at as usize)).map(|slot| slot.memory)
    }

    /// Every sample, by id. A copy, taken a part at a time: a sample is whole, though a step that runs meanwhile may be in it by half.
    pub fn snapshot(&self) -> Vec<(SampleId, Memory)> {
        let mut all = Vec::with_capacity(self.len());
        self.each(|slot| all.push((slot.id.clone(), slot.memory)));
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The samples with the highest priority at `step`, at most `k`: the highest first, equal ones by id.
    pub fn hardest(&self, k: usize, step: u64, rules: &Priorities) -> Vec<(SampleId, f64)> {
        self.ranked(k, step, rules).into_iter().map(|(priority, _, id)| (id, priority)).collect()
    }

    fn ranked(&self, k: usize, step: u64, rules: &Priorities) -> Vec<(f64, Place, SampleId)> {
        let mut all: Vec<(f64, Place, SampleId)> = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            for (i, slot) in shard.read().unwrap_or_else(PoisonError::into_inner).slots.iter().enumerate() {
                let place = Place { shard: at, slot: i };
                all.extend(slot.memory.priority(step, rules).map(|priority| (priority, place, slot.id.clone())));
            }
        }
        first(all, k, |a, b| b.0.total_cmp(&a.0).then_with(|| a.2.cmp(&b.2)))
    }

    /// The samples of [`MemoryBank::hardest`] with their places, in the order of these.
    pub(crate) fn hardest_places(&self, k: usize, step: u64, rules: &Priorities) -> Vec<(Place, SampleId)> {
        let mut places: Vec<(Place, SampleId)> = self.ranked(k, step, rules).into_iter().map(|(_, place, id)| (place, id)).collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        places
    }

    /// The priorities of now of samples found by [`MemoryBank::hardest_places`]: a lock for the run of a part's places, and no search but for those that moved.
    pub(crate) fn priorities(&self, places: &[(Place, SampleId)], step: u64, rules: &Priorities, mut take: impl FnMut(usize, f64)) {
        let mut begin = 0;
        for run in places.chunk_by(|a, b| a.0.shard == b.0.shard) {
            let shard = self.shards[run[0].0.shard].read().unwrap_or_else(PoisonError::into_inner);
            for (i, (place, id)) in run.iter().enumerate() {
                let there = shard.slots.get(place.slot).filter(|slot| slot.id == *id);
                let slot = there.or_else(|| shard.index.get(id).and_then(|at| shard.slots.get(*at as usize)));
                if let Some(priority) = slot.and_then(|slot| slot.memory.priority(step, rules)) {
                    take(begin + i, priority);
                }
            }
            begin += run.len();
        }
    }

    /// The samples that were not seen for more than `max_age` steps, at most `k`, the longest unseen first, equal ones by id; none that
    /// the guard set aside.
    pub fn stale(&self, k: usize, step: u64, max_age: u64) -> Vec<SampleId> {
        let mut all: Vec<(u64, SampleId)> = Vec::new();
        self.each(|slot| {
            if slot.memory.age(step) > max_age && !slot.memory.set_aside() {
                all.push((slot.memory.last_step(), slot.id.clone()));
            }
        });
        first(all, k, Ord::cmp).into_iter().map(|(_, id)| id).collect()
    }

    /// Begins a prioritized replay with the priorities of `step`: one an epoch, say.
    pub fn sampler(&self, step: u64, rules: Priorities) -> ReplaySampler {
        ReplaySampler::new(self.snapshot(), step, rules)
    }

    /// Samples in the bank.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How it keeps its samples.
    pub fn config(&self) -> BankConfig {
        self.config
    }

    /// Most bytes of memory that a sample with an id of `id_bytes` bytes takes, the spare room of the tables included.
    pub const fn bytes_a_sample(id_bytes: usize) -> usize {
        // Slots grow by an eighth. A hash table is between 7/16 and 7/8 full and has a byte beside each place. The id's text is shared.
        size_of::<Slot>() * 9 / 8 + (size_of::<(SampleId, u32)>() + 1) * 16 / 7 + 2 * size_of::<usize>() + id_bytes
    }

    /// Waits until the disk holds all that was taken; nothing to do for a bank in memory.
    pub fn sync(&self) -> Result<()> {
        self.write().log.as_ref().map_or(Ok(()), Log::sync)
    }

    /// Rewrites the file so that each sample stands in it once. It is done unasked when the file has become long.
    pub fn compact(&self) -> Result<()> {
        let mut writer = self.write();
        self.rewrite(&mut writer)
    }

    fn rewrite(&self, writer: &mut Writer) -> Result<()> {
        let Some(log) = &mut writer.log else { return Ok(()) };
        let kept = self.in_order();
        log.rewrite(self.config.beta, kept.len(), kept.iter().map(|(id, memory)| (id, memory)))
    }

    fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, id: &SampleId) -> &RwLock<Shard> {
        // Keys of its own for every process would do as well: no result hangs on the part a sample is in.
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        &self.shards[(hasher.finish() % SHARDS as u64) as usize]
    }

    fn each(&self, mut look: impl FnMut(&Slot)) {
        for shard in &self.shards {
            shard.read().unwrap_or_else(PoisonError::into_inner).slots.iter().for_each(&mut look);
        }
    }

    /// Every sample, in the order in which they were first taken.
    fn in_order(&self) -> Vec<(SampleId, Memory)> {
        let mut all = Vec::with_capacity(self.len());
        self.each(|slot| all.push((slot.ordinal, slot.id.clone(), slot.memory)));
        all.sort_unstable_by_key(|one| one.0);
        all.into_iter().map(|(_, id, memory)| (id, memory)).collect()
    }

    /// Changes what is known of a sample, which is taken up where it is new. Returns how many were let go for it.
    fn change(&self, writer: &mut Writer, id: &SampleId, change: impl Fn(&mut Memory)) -> Result<usize> {
        if id.as_str().len() > record::LONGEST_ID {
            let told = format!("an id of {} bytes; a memory bank takes ids of at most {}", id.as_str().len(), record::LONGEST_ID);
            return Err(Error::usage(told));
        }
        let known = {
            let mut shard = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
            let at = shard.index.get(id).copied();
            at.and_then(|at| shard.slots.get_mut(at as usize)).map(|slot| {
                change(&mut slot.memory);
                slot.memory
            })
        };
        let key = writer.log.is_some().then(|| record::key(id));
        let mut let_go = 0;
        let memory = match known {
            Some(memory) => memory,
            None => {
                let_go = self.make_room(writer);
                let mut memory = Memory::default();
                change(&mut memory);
                self.put(writer, id, memory);
                if let Some(key) = key {
                    record::push_name(&mut writer.buffer, key, id);
                }
                memory
            }
        };
        if let Some(key) = key {
            record::push_state(&mut writer.buffer, key, &memory);
        }
        Ok(let_go)
    }

    /// Takes up a sample that is not in the bank.
    fn put(&self, writer: &mut Writer, id: &SampleId, memory: Memory) {
        let mut shard = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
        let at = shard.slots.len() as u32;
        if shard.slots.len() == shard.slots.capacity() {
            // By an eighth and not by double: the memory of a sample is stated.
            let more = (shard.slots.len() / 8).max(4);
            shard.slots.reserve_exact(more);
        }
        shard.slots.push(Slot { id: id.clone(), ordinal: writer.next, memory });
        shard.index.insert(id.clone(), at);
        writer.next += 1;
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, writer: &mut Writer, id: &SampleId) {
        let mut shard = self.shard(id).write().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = shard.index.remove(id) else { return };
        shard.slots.swap_remove(at as usize);
        if let Some(moved) = shard.slots.get(at as usize).map(|slot| slot.id.clone()) {
            shard.index.insert(moved, at);
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        if writer.log.is_some() {
            record::push_gone(&mut writer.buffer, record::key(id));
        }
    }

    /// Lets samples go if no further one would fit; see [`BankConfig::capacity`].
    fn make_room(&self, writer: &mut Writer) -> usize {
        if self.len() < self.config.capacity {
            return 0;
        }
        let mut all: Vec<(u64, u64, SampleId)> = Vec::with_capacity(self.len());
        self.each(|slot| all.push((slot.memory.last_step(), slot.ordinal, slot.id.clone())));
        let gone = first(all, (self.config.capacity / LET_GO).max(1), |a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        gone.iter().for_each(|(_, _, id)| self.remove(writer, id));
        gone.len()
    }

    /// Appends the records of the call; a file that is mostly out of date is written anew.
    fn write_down(&self, writer: &mut Writer) -> Result<()> {
        let Writer { log: Some(log), buffer, .. } = writer else { return Ok(()) };
        let appended = log.append(buffer);
        buffer.clear();
        appended?;
        if log.records() > SMALL && log.records() > RECORDS_A_SAMPLE * self.len() as u64 {
            return self.rewrite(writer);
        }
        Ok(())
    }
}

/// The `k` first of a list in an order, in that order, without sorting the rest.
fn first<T>(mut all: Vec<T>, k: usize, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
    if k == 0 {
        return Vec::new();
    }
    if k < all.len() {
        all.select_nth_unstable_by(k - 1, &order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}
