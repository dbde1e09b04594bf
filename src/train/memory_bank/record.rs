//! The fixed-width records of the bank's file.
//!
//! A record is 112 bytes, numbers little-endian: 104 of content and the first 8 bytes of their BLAKE3. Ids are of any length, so a sample is
//! named by the first 16 bytes of its id's BLAKE3, and the id itself stands in as many name records as it needs, ahead of the first state.

use super::memory::{Memory, SUBSETS};
use crate::sample::{Judgement, SampleId, Treatment};

/// Bytes of a record.
pub(super) const WIDTH: usize = 112;
const CONTENT: usize = WIDTH - 8;
/// Where what belongs to the kind begins: behind kind, flags and key.
const BODY: usize = 24;
/// Bytes of an id in one name record.
const NAME: usize = CONTENT - BODY;

/// Name of a sample in the file.
pub(super) type Key = [u8; 16];

/// One record, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// A part of an id: how many bytes of it stand before, how many it has in all, and these.
    Name { key: Key, at: u32, of: u32, part: Vec<u8> },
    /// All that is known of a sample.
    State { key: Key, memory: Memory },
    /// The sample was let go.
    Gone { key: Key },
}

pub(super) fn key(id: &SampleId) -> Key {
    let hash = blake3::hash(id.as_str().as_bytes());
    std::array::from_fn(|i| hash.as_bytes()[i])
}

fn checksum(content: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(content);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// Appends a record of `kind` whose content `fill` completes.
fn push(out: &mut Vec<u8>, kind: u8, key: Key, fill: impl FnOnce(&mut [u8; CONTENT])) {
    let mut content = [0u8; CONTENT];
    content[0] = kind;
    content[8..BODY].copy_from_slice(&key);
    fill(&mut content);
    out.extend_from_slice(&content);
    out.extend_from_slice(&checksum(&content));
}

/// The name of a sample, in as many records as it needs.
pub(super) fn push_name(out: &mut Vec<u8>, key: Key, id: &SampleId) {
    let bytes = id.as_str().as_bytes();
    // An empty id is a record too.
    let parts = bytes.chunks(NAME).chain(bytes.is_empty().then_some(&[][..]));
    for (i, part) in parts.enumerate() {
        push(out, 1, key, |content| {
            content[1] = part.len() as u8;
            content[2..4].copy_from_slice(&u16::try_from(i).unwrap_or(u16::MAX).to_le_bytes());
            content[4..8].copy_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            content[BODY..BODY + part.len()].copy_from_slice(part);
        });
    }
}

/// The longest id that can be named.
pub(super) const LONGEST_ID: usize = NAME * u16::MAX as usize;

pub(super) fn push_gone(out: &mut Vec<u8>, key: Key) {
    push(out, 3, key, |_| {});
}

pub(super) fn push_state(out: &mut Vec<u8>, key: Key, memory: &Memory) {
    push(out, 2, key, |content| {
        content[1] = u8::from(memory.last_right) | u8::from(memory.verdict.is_some()) << 1;
        let (judgement, treatment) = memory.verdict.unwrap_or_default();
        content[2] = JUDGEMENTS.iter().position(|own| *own == judgement).unwrap_or(0) as u8
            | (TREATMENTS.iter().position(|own| *own == treatment).unwrap_or(0) as u8) << 4;
        content[3] = memory.known_subsets;
        content[4..8].copy_from_slice(&memory.count.to_le_bytes());
        let mut at = BODY;
        let mut put = |bytes: &[u8]| {
            content[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&memory.mean.to_le_bytes());
        put(&memory.variance.to_le_bytes());
        put(&memory.margin_sum.to_le_bytes());
        put(&memory.last_step.to_le_bytes());
        put(&memory.last_loss.to_le_bytes());
        memory.subsets.iter().for_each(|loss| put(&loss.to_le_bytes()));
        put(&memory.judged.to_le_bytes());
        put(&memory.forgotten.to_le_bytes());
        put(&memory.first_learned.to_le_bytes());
    });
}

const JUDGEMENTS: [Judgement; 4] = [Judgement::Valuable, Judgement::SuspectLabel, Judgement::SuspectPair, Judgement::Outlier];
const TREATMENTS: [Treatment; 5] = [Treatment::Keep, Treatment::Weight, Treatment::Relabel, Treatment::Review, Treatment::Quarantine];

/// Reads the numbers of a content one after another.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
    fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// A record of exactly [`WIDTH`] bytes; `None` where the checksum does not fit or the content says nothing.
pub(super) fn read(bytes: &[u8]) -> Option<Record> {
    let (content, sum) = bytes.split_at_checked(CONTENT)?;
    if sum != checksum(content) {
        return None;
    }
    let key: Key = content.get(8..BODY)?.try_into().ok()?;
    let mut head = Fields(content);
    let [kind, flags, third, fourth] = head.take()?;
    let count = head.u32()?;
    match kind {
        1 => {
            let at = u32::from(u16::from_le_bytes([third, fourth])) * NAME as u32;
            let part = content.get(BODY..BODY + usize::from(flags))?.to_vec();
            Some(Record::Name { key, at, of: count, part })
        }
        2 => {
            let mut body = Fields(content.get(BODY..)?);
            let (mean, variance, margin_sum) = (body.f64()?, body.f64()?, body.f64()?);
            let last_step = u64::from_le_bytes(body.take()?);
            let last_loss = body.f32()?;
            let mut subsets = [0.0; SUBSETS];
            for loss in &mut subsets {
                *loss = body.f32()?;
            }
            let verdict = (*JUDGEMENTS.get(usize::from(third & 15))?, *TREATMENTS.get(usize::from(third >> 4))?);
            let memory = Memory {
                mean,
                variance,
                margin_sum,
                last_step,
                last_loss,
                subsets,
                count,
                judged: body.u32()?,
                forgotten: body.u32()?,
                first_learned: body.u32()?,
                known_subsets: fourth,
                last_right: flags & 1 != 0,
                verdict: (flags & 2 != 0).then_some(verdict),
            };
            Some(Record::State { key, memory })
        }
        3 => Some(Record::Gone { key }),
        _ => None,
    }
}
