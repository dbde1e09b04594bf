use crate::{
    random::SeedTree,
    sample::{Accepted, Sample, SampleId},
};
use rand::seq::index;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Accepted samples for a trainer to draw from. Bounded by samples a parent, samples in all and age; the oldest go first.
#[derive(Debug, Clone, Default)]
pub struct ReplayBuffer {
    cap_per_parent: usize,
    capacity: usize,
    max_age_rounds: Option<usize>,
    next: u64,
    kept: BTreeMap<u64, Kept>,
    of_parent: HashMap<SampleId, VecDeque<u64>>,
}

#[derive(Debug, Clone)]
struct Kept {
    sample: Sample,
    parent: SampleId,
    round: usize,
}

impl ReplayBuffer {
    /// An empty buffer; 0 means any number.
    pub fn new(cap_per_parent: usize, capacity: usize) -> Self {
        Self { cap_per_parent, capacity, ..Self::default() }
    }
    /// Lets samples go that are older than `rounds` rounds: with 1, round 3 keeps those of rounds 2 and 3.
    #[must_use]
    pub fn with_max_age(mut self, rounds: usize) -> Self {
        self.max_age_rounds = Some(rounds);
        self
    }
    /// Takes a sample that was accepted in `round`. A sample with an id that is kept already replaces the older one.
    pub fn insert(&mut self, accepted: &Accepted, round: usize) {
        let sample = accepted.sample();
        let parent = accepted.lineage().parents.first().map_or_else(|| sample.id.clone(), |parent| parent.id.clone());
        let same = self.of_parent.get(&parent).and_then(|of| of.iter().find(|at| self.kept[at].sample.id == sample.id)).copied();
        if let Some(at) = same {
            self.remove(at);
        }
        self.kept.insert(self.next, Kept { sample: sample.clone(), parent: parent.clone(), round });
        let of = self.of_parent.entry(parent).or_default();
        of.push_back(self.next);
        self.next += 1;
        if self.cap_per_parent > 0
            && of.len() > self.cap_per_parent
            && let Some(oldest) = of.front().copied()
        {
            self.remove(oldest);
        }
        if self.capacity > 0
            && self.kept.len() > self.capacity
            && let Some(oldest) = self.kept.keys().next().copied()
        {
            self.remove(oldest);
        }
    }
    /// Begins `round`: what is too old goes. Gives the number that went.
    pub fn advance(&mut self, round: usize) -> usize {
        let Some(age) = self.max_age_rounds else { return 0 };
        self.retain(|_, made| made.saturating_add(age) >= round)
    }
    /// Lets the children of those parents go that `gone` names (a parent that was found to be wrong, say). Gives the number that went.
    pub fn forget_parents(&mut self, gone: impl Fn(&SampleId) -> bool) -> usize {
        let ended: Vec<u64> = self.kept.iter().filter(|(_, one)| gone(&one.parent)).map(|(at, _)| *at).collect();
        ended.iter().for_each(|at| self.remove(*at));
        ended.len()
    }
    /// Keeps what `keep` says of a sample and the round it was made in. Gives the number that went.
    pub fn retain(&mut self, mut keep: impl FnMut(&Sample, usize) -> bool) -> usize {
        let gone: Vec<u64> = self.kept.iter().filter(|(_, one)| !keep(&one.sample, one.round)).map(|(at, _)| *at).collect();
        gone.iter().for_each(|at| self.remove(*at));
        gone.len()
    }
    fn remove(&mut self, at: u64) {
        if let Some(one) = self.kept.remove(&at)
            && let Some(of) = self.of_parent.get_mut(&one.parent)
        {
            of.retain(|own| *own != at);
            if of.is_empty() {
                self.of_parent.remove(&one.parent);
            }
        }
    }
    /// Draws `count` samples uniformly: none twice as long as there are enough, then in further passes. The content and the seeds alone
    /// decide; an empty buffer gives none.
    pub fn draw(&self, count: usize, seeds: &SeedTree) -> Vec<&Sample> {
        let kept: Vec<&Sample> = self.samples().collect();
        if kept.is_empty() {
            return Vec::new();
        }
        let mut rng = seeds.rng();
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let here = (count - drawn.len()).min(kept.len());
            drawn.extend(index::sample(&mut rng, kept.len(), here).into_iter().map(|i| kept[i]));
        }
        drawn
    }
    /// All samples, the oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.kept.values().map(|one| &one.sample)
    }
    /// How many samples of one parent are kept.
    pub fn count_of(&self, parent: &SampleId) -> usize {
        self.of_parent.get(parent).map_or(0, VecDeque::len)
    }
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::tests::accepted;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_go_first() {
        let mut buffer = ReplayBuffer::new(2, 3).with_max_age(1);
        let ids = |buffer: &ReplayBuffer| buffer.samples().map(|sample| sample.id.to_string()).collect::<Vec<_>>();
        for (child, parent, round) in [("a1", "a", 1), ("a2", "a", 1), ("a3", "a", 2)] {
            buffer.insert(&accepted(child, parent), round);
        }
        assert_eq!(ids(&buffer), ["a2", "a3"]);
        buffer.insert(&accepted("b1", "b"), 2);
        buffer.insert(&accepted("b2", "b"), 3);
        assert_eq!(ids(&buffer), ["a3", "b1", "b2"]);
        buffer.insert(&accepted("a3", "a"), 3);
        assert_eq!(ids(&buffer), ["b1", "b2", "a3"]);
        assert_eq!((buffer.advance(3), buffer.advance(4)), (0, 1));
        assert_eq!((ids(&buffer), buffer.count_of(&"b".into())), (vec!["b2".into(), "a3".into()], 1));
        assert_eq!((buffer.forget_parents(|parent| parent.as_str() == "b"), ids(&buffer)), (1, vec!["a3".into()]));
    }

    #[test]
    fn a_draw_repeats_and_takes_none_twice() {
        let mut buffer = ReplayBuffer::new(0, 0);
        for i in 0..20 {
            buffer.insert(&accepted(&format!("c{i}"), "p"), 1);
        }
        let draw = |count, seed| buffer.draw(count, &SeedTree::new(seed)).iter().map(|sample| sample.id.clone()).collect::<Vec<_>>();
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        let mut all = draw(20, 3);
        all.sort();
        all.dedup();
        assert_eq!((all.len(), draw(45, 3).len()), (20, 45));
        assert!(ReplayBuffer::new(1, 1).draw(5, &SeedTree::new(1)).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_bounds_hold(inserts in prop::collection::vec((0..30usize, 0..5usize), 0..60), cap in 0..4usize, capacity in 0..12usize) {
            let mut buffer = ReplayBuffer::new(cap, capacity);
            for (round, (child, parent)) in inserts.iter().enumerate() {
                buffer.insert(&accepted(&format!("c{child}"), &format!("p{parent}")), round);
                prop_assert!(capacity == 0 || buffer.len() <= capacity);
                let counts: Vec<usize> = (0..5).map(|parent| buffer.count_of(&format!("p{parent}").as_str().into())).collect();
                prop_assert_eq!(counts.iter().sum::<usize>(), buffer.len());
                prop_assert!(cap == 0 || counts.iter().all(|count| *count <= cap));
                prop_assert_eq!(buffer.samples().last().map(|sample| sample.id.to_string()), Some(format!("c{child}")));
            }
        }
    }
}
