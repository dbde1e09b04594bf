use super::compare::Compare;
use crate::error::{Error, Result};

/// Lists of reference rows, one for each anchor, stored one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowLists {
    /// Where the list of each anchor ends; starts at 0.
    ends: Vec<usize>,
    rows: Vec<u32>,
}

impl RowLists {
    /// For `anchors` anchors, from the lists of some of them in ascending order.
    fn new(anchors: usize, lists: &[(u32, Vec<u32>)]) -> Self {
        let mut ends = Vec::with_capacity(anchors);
        let mut rows = Vec::with_capacity(lists.iter().map(|(_, list)| list.len()).sum());
        for (anchor, list) in lists {
            ends.resize(*anchor as usize, rows.len());
            rows.extend_from_slice(list);
            ends.push(rows.len());
        }
        ends.resize(anchors, rows.len());
        Self { ends, rows }
    }

    /// The rows chosen for an anchor, ascending; none beyond the last anchor.
    pub fn of(&self, anchor: usize) -> &[u32] {
        let end = self.ends.get(anchor).copied().unwrap_or(0);
        let start = if anchor == 0 || end == 0 { 0 } else { self.ends[anchor - 1] };
        &self.rows[start..end]
    }

    /// Pairs in all lists.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether all lists are empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All pairs (anchor, reference), ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.ends.len()).flat_map(|anchor| self.of(anchor).iter().map(move |row| (anchor as u32, *row)))
    }
}

/// The pairs that [`multi_similarity`] keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiSimilarity {
    /// For each anchor, rows of its class.
    pub positives: RowLists,
    /// For each anchor, rows of other classes.
    pub negatives: RowLists,
}

/// The pairs that are informative for their anchor: with cosines `s`, a negative is kept where `s_n + epsilon > min s_p`, a positive where
/// `s_p - epsilon < max s_n`. `epsilon` is finite (usual: 0.1). An anchor without positives, or without negatives, keeps no pair.
///
/// Reference: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, 2019, equations 6 and 7.
pub fn multi_similarity(compare: Compare<'_>, epsilon: f32) -> Result<MultiSimilarity> {
    if !epsilon.is_finite() {
        return Err(Error::usage(format!("expected a finite epsilon, found {epsilon}")));
    }
    let kept = compare.rows(|row| {
        let (least, greatest) = row.extremes();
        let (mut positives, mut negatives) = (vec![0u32; row.cosines.len()], vec![0u32; row.cosines.len()]);
        let (mut p, mut n) = (0, 0);
        for (reference, (cosine, class)) in row.cosines.iter().zip(row.classes).enumerate() {
            // Writes always and moves on only where the pair is kept: no branch to mispredict.
            let same = *class == row.class;
            (positives[p], negatives[n]) = (reference as u32, reference as u32);
            p += usize::from(same && cosine - epsilon < greatest);
            n += usize::from(!same && cosine + epsilon > least);
        }
        ((row.anchor, positives[..p].to_vec()), (row.anchor, negatives[..n].to_vec()))
    })?;
    let (positives, negatives): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    let anchors = compare.anchors.len();
    Ok(MultiSimilarity { positives: RowLists::new(anchors, &positives), negatives: RowLists::new(anchors, &negatives) })
}
