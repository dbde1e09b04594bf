use super::embeddings::{Embeddings, NO_CLASS};
use crate::{
    error::{Error, Result},
    nearest::inner_products,
    random::SeedTree,
};
use rayon::prelude::*;
use std::collections::HashMap;

/// Cosines that are held at a time, per thread: 1 MiB stays in a second-level cache.
const HELD: usize = 1 << 18;

/// Most anchors that are compared at a time; the least is a sixteenth.
const ANCHORS: usize = 128;

/// What is compared with what: the rows of a batch among themselves, or a batch with others (a memory, another modality).
#[derive(Debug, Clone, Copy)]
pub struct Compare<'a> {
    pub(super) anchors: &'a Embeddings,
    pub(super) references: &'a Embeddings,
    /// A row is not compared with itself.
    pub(super) within: bool,
}

/// The cosines of one anchor with all references.
pub(super) struct Row<'a> {
    pub anchor: u32,
    /// The anchor's class.
    pub class: u32,
    /// NaN for what may not be chosen: the anchor itself, rows of its sample, unusable rows and rows without a class.
    pub cosines: &'a [f32],
    /// The references' classes.
    pub classes: &'a [u32],
}

impl<'a> Compare<'a> {
    /// The rows of a batch among themselves; no row with itself, nor with another row of its sample where ids are given.
    pub fn within(batch: &'a Embeddings) -> Self {
        Self { anchors: batch, references: batch, within: true }
    }

    /// The rows of a batch with those of `references`; none with a row of its own sample where both have ids. Fails where their rows have
    /// different lengths.
    pub fn between(batch: &'a Embeddings, references: &'a Embeddings) -> Result<Self> {
        if batch.dim != references.dim {
            return Err(Error::usage(format!("rows of {} numbers cannot be compared with rows of {}", batch.dim, references.dim)));
        }
        Ok(Self { anchors: batch, references, within: false })
    }

    /// Cosine of an anchor and a reference.
    pub(super) fn cosine(&self, anchor: usize, reference: usize) -> f64 {
        self.anchors.row(anchor).iter().zip(self.references.row(reference)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Euclidean distance of an anchor and a reference, from their difference: exact for rows that nearly coincide as well.
    pub(super) fn distance(&self, anchor: usize, reference: usize) -> f64 {
        let rows = self.anchors.row(anchor).iter().zip(self.references.row(reference));
        rows.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
    }

    /// Cosine of an anchor and a reference, -1..=1; NaN where one of them is unusable. Panics past the end, like a slice.
    pub fn similarity(&self, anchor: usize, reference: usize) -> f32 {
        self.cosine(anchor, reference).clamp(-1.0, 1.0) as f32
    }

    /// Euclidean distance of an anchor and a reference at length 1, 0..=2; NaN where one of them is unusable. Panics past the end, like a slice.
    pub fn length_between(&self, anchor: usize, reference: usize) -> f64 {
        self.distance(anchor, reference)
    }

    /// Where the draws of an anchor come from: its id, or its row where there are no ids.
    pub(super) fn seeds(&self, seeds: &SeedTree, anchor: u32) -> SeedTree {
        match self.anchors.ids.get(anchor as usize) {
            Some(id) => seeds.sample(id.to_string()),
            None => seeds.child(format!("row {anchor}")),
        }
    }

    /// The pairs that are one sample, by anchor.
    fn own(&self) -> Vec<(u32, u32)> {
        let mut own = Vec::new();
        if !self.anchors.ids.is_empty() && !self.references.ids.is_empty() {
            let mut rows: HashMap<u64, Vec<u32>> = HashMap::with_capacity(self.anchors.len());
            for (row, id) in self.anchors.ids.iter().enumerate() {
                rows.entry(*id).or_default().push(row as u32);
            }
            for (reference, id) in self.references.ids.iter().enumerate() {
                own.extend(rows.get(id).into_iter().flatten().map(|anchor| (*anchor, reference as u32)));
            }
        } else if self.within {
            own.extend((0..self.anchors.len() as u32).map(|row| (row, row)));
        }
        own.sort_unstable();
        own
    }

    /// Calls `look` for each usable anchor with its cosines to the references that are not its own sample, and gathers the answers by anchor.
    fn each<T: Send>(&self, skip: &[u32], look: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let (dim, count) = (self.anchors.dim, self.references.len());
        let own = self.own();
        let part = (HELD / count.max(1)).clamp(ANCHORS / 16, ANCHORS);
        self.anchors
            .values
            .par_chunks(part * dim)
            .enumerate()
            .flat_map_iter(|(number, anchors)| {
                let mut products = vec![0.0f32; anchors.len() / dim * count];
                inner_products(&self.references.values, anchors, dim, &mut products);
                let mut answers = Vec::with_capacity(anchors.len() / dim);
                for i in 0..anchors.len() / dim {
                    let anchor = number * part + i;
                    let cosines = &mut products[i * count..][..count];
                    let mine = own.partition_point(|(row, _)| (*row as usize) < anchor);
                    for (_, reference) in own[mine..].iter().take_while(|(row, _)| *row as usize == anchor) {
                        cosines[*reference as usize] = f32::NAN;
                    }
                    skip.iter().for_each(|row| cosines[*row as usize] = f32::NAN);
                    if self.anchors.usable(anchor) {
                        answers.push(look(anchor, cosines));
                    }
                }
                answers
            })
            .collect()
    }

    /// Calls `look` for each anchor that is usable and has a class, and gathers the answers by anchor. Fails where either side was given no classes.
    pub(super) fn rows<T: Send>(&self, look: impl Fn(Row<'_>) -> T + Sync) -> Result<Vec<T>> {
        for side in [self.anchors, self.references] {
            if side.classes.is_empty() && !side.is_empty() {
                return Err(Error::usage("this miner needs the classes of all rows (`with_classes`)"));
            }
        }
        let classes = &self.references.classes;
        let unlabelled: Vec<u32> = (0..classes.len()).filter(|row| classes[*row] == NO_CLASS).map(|row| row as u32).collect();
        let answers = self.each(&unlabelled, |anchor, cosines| {
            let class = self.anchors.classes[anchor];
            (class != NO_CLASS).then(|| look(Row { anchor: anchor as u32, class, cosines, classes }))
        });
        Ok(answers.into_iter().flatten().collect())
    }
}

/// Mean Euclidean distance (`0..=2`) over all compared pairs, classes aside; `None` where there is no pair. Near 0 where a model maps all
/// samples to one point.
pub fn mean_distance(compare: Compare<'_>) -> Option<f64> {
    let sums = compare.each(&[], |_, cosines| {
        let distances = cosines.iter().filter(|cosine| !cosine.is_nan()).map(|cosine| f64::from(distance(*cosine)));
        distances.fold((0.0, 0u64), |(sum, count), one| (sum + one, count + 1))
    });
    let (sum, count) = sums.into_iter().fold((0.0, 0), |(sum, count), one| (sum + one.0, count + one.1));
    (count > 0).then(|| sum / count as f64)
}

/// Euclidean distance of two rows of length 1 with this cosine. Rounding of the cosine makes it uncertain by about 0.0005 where rows coincide.
pub(super) fn distance(cosine: f32) -> f32 {
    (2.0 - 2.0 * cosine).max(0.0).sqrt()
}
