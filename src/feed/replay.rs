use super::{FeedPlan, Feeder, Receipt, Sink};
use crate::{
    context::FeedContext,
    error::{Problem, Result},
    operator::{Configure, Table},
    sample::{Accepted, Diagnosis, ScoreTable, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Replays fed samples in training: a share of each batch is drawn from them.
///
/// Method: the buffer keeps at most `cap_per_parent` children of one parent and `capacity` in all, the newest; each round they are scored
/// again, and those that left the difficulty band retire. Every sample of the buffer is drawn before any is drawn again.
///
/// Reference: Shrivastava et al. 2016 (bootstrapped hard examples); Schaul et al. 2016 (replay).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Share of each batch, at least 0 and below 1.
    pub share: Fraction,
    /// Most children of one parent; 0 for any number.
    pub cap_per_parent: usize,
    /// Most children in all; 0 for any number. They are held in memory.
    pub capacity: usize,
}

impl Default for Replay {
    fn default() -> Self {
        Self { share: Fraction::new(0.3).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")), cap_per_parent: 8, capacity: 4096 }
    }
}

impl Configure<dyn Feeder> for Replay {
    const NAME: &'static str = "replay";
    const EXAMPLE: &'static str = "{ share: 0.3 }";

    fn build(self, _: &Table<dyn Feeder>) -> Result<Box<dyn Feeder>, Vec<Problem>> {
        if self.share.get() >= 1.0 {
            return Err(vec![Problem::new("share", "expected a share below 1, so that originals stay in every batch, found 1")]);
        }
        Ok(Box::new(self))
    }
}

impl Feeder for Replay {
    fn plan(&self) -> FeedPlan {
        FeedPlan { replay_share: self.share.get(), cap_per_parent: self.cap_per_parent, capacity: self.capacity, ..FeedPlan::default() }
    }
    fn open(&self, _: &FeedContext<'_>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Count(0)))
    }
}

/// The buffer itself belongs to training; the sink counts what it was given.
struct Count(usize);

impl Sink for Count {
    fn round(&mut self, _: &ScoreTable, _: &[Diagnosis], _: &Selection) -> Result<()> {
        Ok(())
    }
    fn take(&mut self, _: &Accepted) -> Result<()> {
        self.0 += 1;
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<Receipt> {
        Ok(Receipt { taken: self.0, files: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_batch_cannot_be_replayed() {
        let written = serde_json::json!({ "replay": { "share": 1.0 } });
        let problem = Table::<dyn Feeder>::default().with::<Replay>().build(&written).err().unwrap().remove(0);
        assert_eq!(problem.path, "replay.share");
        assert_eq!(Replay::default().plan().replay_share, 0.3);
    }
}
