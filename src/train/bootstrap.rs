//! The growing set of the bootstrapping mode.

use crate::{random::SeedTree, sample::SampleId, units::Fraction};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// The samples that the rounds train on: a random part at first, joined by the hardest of what the miners choose outside it.
///
/// Source: Sung and Poggio, "Example-Based Learning for View-Based Human Face Detection", 1998, section 5.2; Felzenszwalb et al., 2010, section 4.
#[derive(Debug, Clone, PartialEq)]
pub struct GrowingSet {
    member: Vec<bool>,
    most: usize,
}

impl GrowingSet {
    /// `start` of each class, rounded up; `classes` has the class of each sample, and one without never belongs. Each growth adds at most `add` of
    /// all labelled samples, at least one.
    pub fn new(classes: &[Option<usize>], start: Fraction, add: Fraction, seeds: &SeedTree) -> Self {
        let mut of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, class) in classes.iter().enumerate() {
            if let Some(class) = class {
                of.entry(*class).or_default().push(i);
            }
        }
        let part = |fraction: Fraction, of: usize| (fraction.get() * of as f64 - 1e-9).ceil().max(0.0) as usize;
        let mut member = vec![false; classes.len()];
        let most = part(add, of.values().map(Vec::len).sum()).max(1);
        for (class, mut own) in of {
            own.shuffle(&mut seeds.child(format!("class {class}")).rng());
            let first = part(start, own.len());
            own.into_iter().take(first).for_each(|i| member[i] = true);
        }
        Self { member, most }
    }

    /// Adds the hardest of `hard` (index, score, id) outside the set: the highest scores first, equal ones by id. Returns how many came in.
    pub fn grow<'a>(&mut self, hard: impl IntoIterator<Item = (usize, f32, &'a SampleId)>) -> usize {
        let mut outside: Vec<_> = hard.into_iter().filter(|(i, ..)| self.member.get(*i) == Some(&false)).collect();
        outside.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.2.cmp(b.2)));
        outside.dedup_by_key(|one| one.0);
        outside.truncate(self.most);
        outside.iter().for_each(|(i, ..)| self.member[*i] = true);
        outside.len()
    }

    /// Whether a sample belongs to it.
    pub fn has(&self, index: usize) -> bool {
        self.member.get(index).copied().unwrap_or(false)
    }

    /// Its samples, in order.
    pub fn indices(&self) -> Vec<usize> {
        (0..self.member.len()).filter(|&i| self.member[i]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(value: f64) -> Fraction {
        Fraction::new(value).unwrap()
    }

    #[test]
    fn the_hardest_outside_come_in_first() {
        let classes = [Some(0), Some(0), Some(0), Some(0), Some(1), Some(1), None];
        let mut set = GrowingSet::new(&classes, share(0.25), share(0.3), &SeedTree::new(1));
        let first = set.indices();
        assert_eq!(first.iter().filter(|i| **i < 4).count(), 1);
        assert_eq!(first.len(), 2);
        let ids: Vec<SampleId> = (0..7).map(|i| SampleId::new(format!("s{i}"))).collect();
        let hard = |scores: [f32; 6]| scores.into_iter().enumerate().map(|(i, score)| (i, score, &ids[i])).collect::<Vec<_>>();
        // 0.3 of six labelled ones is two; those inside are passed over, equal scores go by id.
        let outside: Vec<usize> = (0..6).filter(|i| !first.contains(i)).collect();
        assert_eq!(set.grow(hard([1.0; 6])), 2);
        assert!(set.has(outside[0]) && set.has(outside[1]) && !set.has(outside[2]));
        assert_eq!((set.grow(hard([1.0; 6])), set.grow(hard([1.0; 6])), set.has(6)), (2, 0, false));
    }

    proptest! {
        /// The set only grows, by no more than its limit, and of two outside samples the harder is never left behind.
        #[test]
        fn it_grows_by_the_hardest(scores in prop::collection::vec(0.0f32..9.0, 1..60), start in 0.05f64..0.9, add in 0.01f64..0.5, seed in 0u64..9) {
            let classes: Vec<Option<usize>> = (0..scores.len()).map(|i| Some(i % 3)).collect();
            let ids: Vec<SampleId> = (0..scores.len()).map(|i| SampleId::new(format!("s{i:03}"))).collect();
            let mut set = GrowingSet::new(&classes, share(start), share(add), &SeedTree::new(seed));
            let before = set.clone();
            let came = set.grow(scores.iter().enumerate().map(|(i, score)| (i, *score, &ids[i])));
            prop_assert_eq!(set.indices().len(), before.indices().len() + came);
            prop_assert!(came <= ((add * scores.len() as f64).ceil() as usize).max(1));
            let came_in = (0..scores.len()).filter(|&i| set.has(i) && !before.has(i)).map(|i| scores[i]).fold(f32::INFINITY, f32::min);
            let stayed_out = (0..scores.len()).filter(|&i| !set.has(i)).map(|i| scores[i]).fold(f32::NEG_INFINITY, f32::max);
            prop_assert!(before.indices().iter().all(|i| set.has(*i)) && (came == 0 || stayed_out <= came_in));
        }
    }
}
