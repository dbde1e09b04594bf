use super::OnError;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A sample that was left out, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Id of the sample, or the line of an entry without a usable id.
    pub sample: String,
    /// Where it failed: `read`, or a stage id.
    pub at: String,
    /// The whole message.
    pub reason: String,
}

/// Counts every sample of a split: read = used + skipped + quarantined.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    split: String,
    policy: OnError,
    ceiling: f64,
    read: usize,
    skipped: usize,
    quarantined: Vec<LeftOut>,
    out: HashSet<String>,
}

impl Ledger {
    /// An empty ledger for a split. `ceiling` is the greatest share of unusable samples, `0..=1`.
    pub fn new(split: &str, policy: OnError, ceiling: f64) -> Self {
        Self { split: split.to_owned(), policy, ceiling, ..Self::default() }
    }
    /// Counts entries that were read.
    pub fn count(&mut self, entries: usize) {
        self.read += entries;
    }
    /// Leaves one sample out under the policy; an error if the policy is `fail`. The ceiling is checked by [`Ledger::check`],
    /// when all are counted.
    pub fn leave_out(&mut self, policy: Option<OnError>, sample: &str, at: &str, error: &Error) -> Result<()> {
        if !self.out.insert(sample.to_owned()) {
            return Ok(());
        }
        match policy.unwrap_or(self.policy) {
            OnError::Fail => Err(Error::policy(format!("{error} (policy on_error: fail; `skip` or `quarantine` would leave it out)"))
                .at("split", &self.split)),
            OnError::Skip => {
                self.skipped += 1;
                Ok(())
            }
            OnError::Quarantine => {
                self.quarantined.push(LeftOut { sample: sample.to_owned(), at: at.to_owned(), reason: error.to_string() });
                Ok(())
            }
        }
    }
    /// Fails if more was left out than the ceiling allows, with the first reasons.
    pub fn check(&self) -> Result<()> {
        let out = self.left_out();
        if out as f64 <= self.ceiling * self.read as f64 {
            return Ok(());
        }
        let first: Vec<_> = self.quarantined.iter().take(3).map(|one| format!("\n  {}", one.reason)).collect();
        let message =
            format!("{out} of {} samples are unusable, the ceiling is {:.1} %{}", self.read, 100.0 * self.ceiling, first.concat());
        Err(Error::policy(message).at("split", &self.split))
    }
    /// Entries read.
    pub fn read(&self) -> usize {
        self.read
    }
    /// Samples left out by `skip`.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
    /// Samples left out by `quarantine`.
    pub fn quarantined(&self) -> &[LeftOut] {
        &self.quarantined
    }
    /// All samples left out.
    pub fn left_out(&self) -> usize {
        self.skipped + self.quarantined.len()
    }
    /// Samples in use.
    pub fn used(&self) -> usize {
        self.read - self.left_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_accounted_for_and_the_ceiling_holds() {
        let mut ledger = Ledger::new("train", OnError::Quarantine, 0.25);
        ledger.count(4);
        ledger.leave_out(None, "a", "read", &Error::data("broken")).unwrap();
        assert_eq!((ledger.read(), ledger.used(), ledger.skipped(), ledger.quarantined().len()), (4, 3, 0, 1));
        ledger.check().unwrap();
        ledger.leave_out(Some(OnError::Skip), "b", "loss", &Error::data("NaN")).unwrap();
        assert_eq!(ledger.check().unwrap_err().to_string(), "split train: 2 of 4 samples are unusable, the ceiling is 25.0 %\n  broken");
        let refused = ledger.leave_out(Some(OnError::Fail), "c", "read", &Error::data("empty").at("sample", "c")).unwrap_err();
        assert_eq!(refused.kind(), crate::error::ErrorKind::Policy);
    }
}
