//! Feeding: accepted samples go back into training, or onto disk.

mod manifest;
mod replay;
mod replay_buffer;
pub mod sampler_weights;
mod write;

pub use manifest::Manifest;
pub(crate) use manifest::{MEDIA, fields};
pub use replay::Replay;
pub use replay_buffer::ReplayBuffer;
pub use sampler_weights::SamplerWeights;
pub use write::whole as write_whole;

use crate::{
    context::FeedContext,
    error::Result,
    operator::{Requirements, Table},
    sample::{Accepted, Diagnosis, ScoreTable, Selection},
};
use serde::{Deserialize, Serialize};

/// How the folder of a data set that is not whole yet begins: what a killed run leaves behind.
pub const UNFINISHED: &str = ".writing-";

/// What training has to do with what is fed; feeders that only write leave it empty.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FeedPlan {
    /// Share of each batch that is drawn from generated samples, `0..1`.
    pub replay_share: f64,
    /// Most replayed samples of one parent, 0 for any number.
    pub cap_per_parent: usize,
    /// Whether the sampler follows the selection's weights.
    pub sampler_weights: bool,
    /// How much more often a chosen sample is drawn than one that was not, at least 1.
    pub sampler_boost: f64,
    /// Largest weight of the sampler, its mean being 1.
    pub sampler_cap: f64,
    /// Most generated samples that are kept, 0 for any number; the oldest go first.
    pub capacity: usize,
}

/// What a feeder did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// Samples taken.
    pub taken: usize,
    /// Files written, relative to the feeder's folder.
    pub files: Vec<String>,
}

/// A feeder.
pub trait Feeder: Send + Sync {
    /// What it needs.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    /// What training has to do.
    fn plan(&self) -> FeedPlan {
        FeedPlan::default()
    }
    /// Begins: the returned sink lives as long as the run, or the arm.
    fn open(&self, context: &FeedContext<'_>) -> Result<Box<dyn Sink>>;
}

/// An open feeder.
pub trait Sink: Send {
    /// Tells the round's scores, diagnoses and selection, before its samples.
    fn round(&mut self, table: &ScoreTable, diagnoses: &[Diagnosis], selection: &Selection) -> Result<()>;
    /// Takes an accepted sample, with its media encoded.
    fn take(&mut self, accepted: &Accepted) -> Result<()>;
    /// Ends: everything is on disk afterwards.
    fn finish(self: Box<Self>) -> Result<Receipt>;
}

/// The shipped feeders.
pub fn table() -> Table<dyn Feeder> {
    Table::default().with::<Manifest>().with::<Replay>().with::<SamplerWeights>()
}

#[cfg(test)]
mod tests {
    use crate::{
        random::SeedTree,
        sample::{
            Accepted, Candidate, Digest, Lineage, Media, ModalitySet, ParentRef, PerModality, Sample, SampleId, ScoreTable, TableRow, Text,
            Verdict,
        },
    };
    use serde_json::Value;
    use std::{collections::BTreeMap, sync::Arc};

    /// A lineage of `pgd` in round 2.
    pub(super) fn lineage(child: &str, parent: &str) -> Lineage {
        Lineage {
            child: child.into(),
            parents: vec![ParentRef { id: parent.into(), digests: PerModality::default() }],
            round: 2,
            stage: "pgd".into(),
            operator: "pgd".into(),
            version: 1,
            config: Digest::of(b""),
            seed: SeedTree::new(1).path().clone(),
            parameters: Value::Null,
            model: None,
            teacher: None,
            scores_before: BTreeMap::new(),
            scores_after: BTreeMap::new(),
            claims: Vec::new(),
            verdicts: Vec::new(),
            outputs: PerModality::default(),
        }
    }

    /// Through the only door.
    pub(super) fn accept(sample: Sample, lineage: Lineage) -> Accepted {
        let verdict = Verdict::pass("label_kept", "label_kept", None, None);
        Candidate { sample, lineage, attempt: 0 }.accept(vec![verdict]).unwrap()
    }

    /// A child with a text.
    pub(super) fn accepted(child: &str, parent: &str) -> Accepted {
        let mut sample = Sample::new(child);
        sample.text = Some(Media::new(Text::new("t")));
        accept(sample, lineage(child, parent))
    }

    /// A table of `n` rows, `s0`, `s1`, ...
    pub(super) fn score_table(n: usize) -> ScoreTable {
        let row = |i: usize| TableRow {
            id: SampleId::new(format!("s{i}")),
            class: Some(0),
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        ScoreTable::new((0..n).map(row).collect(), 2).unwrap()
    }
}
