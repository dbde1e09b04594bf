//! Which of the sites of a text an operator edits. All sites are drawn into one order and the first ones are taken: with the same random numbers a
//! larger share edits everything that a smaller one does, so that a search over the share is a search over a monotone magnitude.

use super::Edit;
use rand::{Rng, RngExt};

/// A site in the order in which sites are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    /// The high half is its place in the order, the low half is free for a choice at this site.
    random: u64,
    /// Which one.
    pub at: usize,
}

impl Site {
    /// One of `0..count` (0 for none), drawn with the site.
    pub(super) fn choice(self, count: usize) -> usize {
        (((self.random & 0xffff_ffff) * count as u64) >> 32) as usize
    }
}

/// How many of `count` sites a share in `0..=1` asks for: the nearest whole number, at least one if the share is above 0. A share outside of the
/// range is cut to it, and NaN is 0.
pub fn share_of(share: f64, count: usize) -> usize {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let wanted = (share * count as f64).round() as usize;
    if share > 0.0 { wanted.max(1).min(count) } else { 0 }
}

/// The first `wanted` of `count` sites in their drawn order.
pub(super) fn sites<R: Rng + ?Sized>(count: usize, wanted: usize, rng: &mut R) -> Vec<Site> {
    if wanted == 0 {
        return Vec::new();
    }
    let mut order: Vec<Site> = (0..count).map(|at| Site { random: rng.random(), at }).collect();
    if wanted < count {
        order.select_nth_unstable(wanted - 1);
        order.truncate(wanted);
    }
    order.sort_unstable();
    order
}

/// A share of edits, drawn; the order of the edits is kept. With the same random numbers a larger share holds every smaller one.
pub fn some_edits<R: Rng + ?Sized>(edits: Vec<Edit>, share: f64, rng: &mut R) -> Vec<Edit> {
    let wanted = share_of(share, edits.len());
    let mut keep = vec![false; edits.len()];
    for site in sites(edits.len(), wanted, rng) {
        keep[site.at] = true;
    }
    edits.into_iter().zip(keep).filter_map(|(edit, keep)| keep.then_some(edit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_rounded_and_never_nothing() {
        assert_eq!([0.0, 0.01, 0.25, 0.5, 1.0, 2.0, -1.0, f64::NAN].map(|share| share_of(share, 10)), [0, 1, 3, 5, 10, 10, 0, 0]);
        assert_eq!(share_of(0.5, 0), 0);
    }

    #[test]
    fn every_site_and_every_choice_is_drawn_as_often() {
        let mut rng = SeedTree::new(1).rng();
        let (mut taken, mut chosen) = ([0u32; 8], [0u32; 4]);
        for _ in 0..8000 {
            for site in sites(8, 2, &mut rng) {
                taken[site.at] += 1;
                chosen[site.choice(4)] += 1;
            }
        }
        // 2000 and 4000 expected; five standard deviations are 194 and 274.
        assert!(taken.iter().all(|n| n.abs_diff(2000) < 200), "{taken:?}");
        assert!(chosen.iter().all(|n| n.abs_diff(4000) < 280), "{chosen:?}");
    }

    proptest! {
        #[test]
        fn larger_shares_hold_smaller_ones(seed: u64, count in 0usize..30, a in 0.0f64..1.0, b in 0.0f64..1.0) {
            let (few, many) = (share_of(a.min(b), count), share_of(a.max(b), count));
            let draw = |wanted| sites(count, wanted, &mut SeedTree::new(seed).rng());
            prop_assert_eq!(&draw(many)[..few], &draw(few)[..]);
        }
    }
}
