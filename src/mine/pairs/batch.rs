use super::{
    Triplet,
    compare::{Compare, Row},
};
use crate::{error::Result, random::SeedTree};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Cosines looked at side by side: independent lanes let the compiler use vector instructions for a minimum and its maximum.
const LANES: usize = 16;

/// For each anchor its farthest row of the same class and its nearest row of another ("batch hard"). Anchors that lack one of the two are left out.
///
/// Reference: Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017. [`super::triplet_losses`] gives the loss,
/// with a margin or the soft one.
pub fn batch_hard(compare: Compare<'_>) -> Result<Vec<Triplet>> {
    let found = compare.rows(|row| {
        let (positive, negative) = row.extremes();
        Some(Triplet { anchor: row.anchor, positive: row.find(positive, true)?, negative: row.find(negative, false)? })
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Which negative goes with an easy positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EasyNegative {
    /// The nearest row of another class.
    Hardest,
    /// The nearest row of another class that is farther away than the positive; anchors without one are left out.
    SemiHard,
}

/// For each anchor its **nearest** row of the same class and a hard row of another: classes may keep several clusters. Anchors that lack one of the
/// two are left out.
///
/// Reference: Xuan, Stylianou and Pless, Improved Embeddings with Easy Positive Triplet Mining, 2020.
pub fn easy_positive(compare: Compare<'_>, negative: EasyNegative) -> Result<Vec<Triplet>> {
    let found = compare.rows(|row| {
        let nearest = row.greatest(f32::INFINITY, true);
        let below = match negative {
            EasyNegative::Hardest => f32::INFINITY,
            EasyNegative::SemiHard => nearest,
        };
        let other = row.greatest(below, false);
        Some(Triplet { anchor: row.anchor, positive: row.find(nearest, true)?, negative: row.find(other, false)? })
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// `per_anchor` random triplets for each anchor that has rows of its class and of others, drawn with replacement: what a trainer mixes in when
/// hard triplets alone make the embeddings collapse. The draws of an anchor hang on `seeds` and on its id (on its row where there are no ids).
pub fn random_triplets(compare: Compare<'_>, per_anchor: usize, seeds: &SeedTree) -> Result<Vec<Triplet>> {
    let found = compare.rows(|row| {
        let (positives, negatives): (Vec<u32>, Vec<u32>) = row.allowed().partition(|reference| row.same(*reference));
        if positives.is_empty() || negatives.is_empty() {
            return Vec::new();
        }
        let mut rng = compare.seeds(seeds, row.anchor).rng();
        let mut draw = |from: &[u32]| from[rng.random_range(0..from.len() as u64) as usize];
        (0..per_anchor).map(|_| Triplet { anchor: row.anchor, positive: draw(&positives), negative: draw(&negatives) }).collect()
    })?;
    Ok(found.into_iter().flatten().collect())
}

impl Row<'_> {
    /// Whether this reference is of the anchor's class.
    pub(super) fn same(&self, reference: u32) -> bool {
        self.classes[reference as usize] == self.class
    }

    /// The references that may be chosen.
    pub(super) fn allowed(&self) -> impl Iterator<Item = u32> {
        (0..self.cosines.len() as u32).filter(|reference| !self.cosines[*reference as usize].is_nan())
    }

    /// The least cosine with the own class and the greatest with the others; infinite (`+` and `-`) where there is none. NaN loses every comparison.
    pub(super) fn extremes(&self) -> (f32, f32) {
        let (mut least, mut greatest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (cosines, cosines_left) = self.cosines.as_chunks::<LANES>();
        let (classes, classes_left) = self.classes.as_chunks::<LANES>();
        let mut look = |cosines: &[f32], classes: &[u32]| {
            for (lane, (cosine, class)) in cosines.iter().zip(classes).enumerate() {
                let same = *class == self.class;
                let positive = if same { *cosine } else { f32::INFINITY };
                let negative = if same { f32::NEG_INFINITY } else { *cosine };
                least[lane] = if positive < least[lane] { positive } else { least[lane] };
                greatest[lane] = if negative > greatest[lane] { negative } else { greatest[lane] };
            }
        };
        cosines.iter().zip(classes).for_each(|(cosines, classes)| look(cosines, classes));
        look(cosines_left, classes_left);
        (least.into_iter().fold(f32::INFINITY, f32::min), greatest.into_iter().fold(f32::NEG_INFINITY, f32::max))
    }

    /// The greatest cosine under `below` with the own class or the others; negatively infinite where there is none.
    fn greatest(&self, below: f32, own: bool) -> f32 {
        let fits = |(cosine, class): &(&f32, &u32)| **cosine < below && (**class == self.class) == own;
        self.cosines.iter().zip(self.classes).filter(fits).fold(f32::NEG_INFINITY, |greatest, (cosine, _)| greatest.max(*cosine))
    }

    /// The first reference of the own class, or of the others, with exactly this cosine.
    pub(super) fn find(&self, cosine: f32, own: bool) -> Option<u32> {
        let mut rows = self.cosines.iter().zip(self.classes);
        rows.position(|(found, class)| *found == cosine && (*class == self.class) == own).map(|row| row as u32)
    }
}
