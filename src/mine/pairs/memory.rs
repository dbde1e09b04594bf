use super::embeddings::{Embeddings, NO_CLASS};
use crate::error::{Error, Result};

/// The embeddings of earlier batches, as further references for the miners: a ring that forgets the oldest row first. Rows are remembered with their ids, so
/// that an anchor is never compared with an older embedding of its own sample.
///
/// Reference: Wang et al., Cross-Batch Memory for Embedding Learning, 2020.
#[derive(Debug, Clone)]
pub struct CrossBatchMemory {
    capacity: usize,
    rows: Embeddings,
    /// Row that is overwritten next, once the memory is full.
    oldest: usize,
}

impl CrossBatchMemory {
    /// A memory of at most `capacity` (at least 1) rows of `dim` (at least 1) numbers. Memory is taken as rows come.
    pub fn new(capacity: usize, dim: usize) -> Result<Self> {
        if capacity == 0 || u32::try_from(capacity).is_err() {
            return Err(Error::usage(format!("expected a capacity of at least 1 and below 2^32, found {capacity}")));
        }
        Ok(Self { capacity, rows: Embeddings::new(&[], dim)?, oldest: 0 })
    }

    /// Remembers the usable rows of a batch, in order. Fails where they have another length, or come without ids; the memory is unchanged then.
    pub fn push(&mut self, batch: &Embeddings) -> Result<()> {
        let dim = self.rows.dim;
        if batch.dim != dim {
            return Err(Error::usage(format!("the memory holds rows of {dim} numbers, the batch has rows of {}", batch.dim)));
        }
        if batch.ids.len() != batch.len() {
            return Err(Error::usage("the memory needs the ids of all rows (`with_ids`)"));
        }
        for row in (0..batch.len()).filter(|row| batch.usable(*row)) {
            let class = batch.classes.get(row).copied().unwrap_or(NO_CLASS);
            let group = batch.groups.get(row).copied().flatten();
            if self.rows.len() < self.capacity {
                self.rows.values.extend_from_slice(batch.row(row));
                self.rows.classes.push(class);
                self.rows.groups.push(group);
                self.rows.ids.push(batch.ids[row]);
            } else {
                let place = self.oldest;
                self.rows.values[place * dim..][..dim].copy_from_slice(batch.row(row));
                (self.rows.classes[place], self.rows.groups[place], self.rows.ids[place]) = (class, group, batch.ids[row]);
                self.oldest = (place + 1) % self.capacity;
            }
        }
        Ok(())
    }

    /// What is remembered, to compare a batch with: `Compare::between(&batch, memory.rows())`. The order of the rows is that of the ring.
    pub fn rows(&self) -> &Embeddings {
        &self.rows
    }

    /// Rows that are remembered.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets all rows, as after a jump of the weights.
    pub fn clear(&mut self) {
        self.rows.values.clear();
        self.rows.classes.clear();
        self.rows.groups.clear();
        self.rows.ids.clear();
        self.oldest = 0;
    }
}
