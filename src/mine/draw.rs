//! Weighted draws: without replacement by sorted keys, with replacement by an alias table (weights that stay) or a sum tree (weights that
//! change).

use super::top::descending_f64;
use crate::error::{Error, Result};
use rand::{Rng, RngExt};

/// Draws `k` indices one after another without replacement, each with a probability proportional to `exp(log_weight)` among those that are
/// left; in ascending order. Logarithms, so that no weight underflows. `uniform(i)` is the random number in `0..1` of index `i`: it may be
/// addressed, so that the draw does not hang on the order of the indices. A weight of zero (`-inf`) or NaN is never drawn; fewer than `k`
/// where fewer have weight.
///
/// Method: the k largest keys `log w - ln(-ln u)` (Gumbel-top-k), which has the distribution of successive draws. Source: Efraimidis and
/// Spirakis, "Weighted random sampling with a reservoir", 2006; Kool, van Hoof, Welling, "Stochastic Beams and Where to Find Them", 2019.
pub fn draw_without_replacement(log_weights: &[f64], k: usize, mut uniform: impl FnMut(usize) -> f64) -> Vec<usize> {
    let key = |(i, w): (usize, &f64)| {
        let u = uniform(i).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
        (w - (-u.ln()).ln(), i)
    };
    let mut keys: Vec<(f64, usize)> = log_weights.iter().enumerate().filter(|(_, w)| **w > f64::NEG_INFINITY).map(key).collect();
    if k == 0 {
        return Vec::new();
    }
    if k < keys.len() {
        keys.select_nth_unstable_by(k - 1, |a, b| descending_f64(a.0, b.0).then(a.1.cmp(&b.1)));
        keys.truncate(k);
    }
    let mut drawn: Vec<usize> = keys.into_iter().map(|(_, i)| i).collect();
    drawn.sort_unstable();
    drawn
}

fn check(weights: &[f64]) -> Result<f64> {
    if let Some((i, weight)) = weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
        return Err(Error::usage(format!("weight {i} is {weight}; expected a finite number of at least 0")));
    }
    // From a positive zero: the empty sum of floats is a negative one.
    let total = weights.iter().fold(0.0, |sum, w| sum + w);
    if !(total.is_finite() && total > 0.0) {
        return Err(Error::usage(format!("the {} weights sum to {total}; nothing can be drawn", weights.len())));
    }
    Ok(total)
}

/// Draws with replacement in constant time from weights that stay; `O(n)` to build.
///
/// Source: Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasTable {
    /// Of each cell the share that is its own index; the rest is `alias`.
    own: Vec<f64>,
    alias: Vec<usize>,
}

impl AliasTable {
    /// A table of weights of at least 0, one of them above 0; an error names the first that is none.
    pub fn new(weights: &[f64]) -> Result<Self> {
        let total = check(weights)?;
        let n = weights.len();
        let mut own: Vec<f64> = weights.iter().map(|w| w / total * n as f64).collect();
        let mut alias: Vec<usize> = (0..n).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| own[*i] < 1.0);
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            alias[low] = high;
            own[high] -= 1.0 - own[low];
            if own[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // What rounding leaves over is a whole cell, but never of an index without weight: that one keeps to another's.
        let heaviest = (0..n).fold(0, |best, i| if weights[i] > weights[best] { i } else { best });
        for i in small.into_iter().chain(large) {
            if weights[i] > 0.0 {
                own[i] = 1.0;
            } else {
                alias[i] = heaviest;
            }
        }
        Ok(Self { own, alias })
    }

    /// An index, with a probability proportional to its weight.
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        let cell = rng.random_range(0..self.own.len() as u64) as usize;
        if rng.random::<f64>() < self.own[cell] { cell } else { self.alias[cell] }
    }

    /// The probability of each index, as the table gives it.
    pub fn probabilities(&self) -> Vec<f64> {
        let mut found = vec![0.0; self.own.len()];
        for (i, (own, alias)) in self.own.iter().zip(&self.alias).enumerate() {
            found[i] += own;
            found[*alias] += 1.0 - own;
        }
        found.iter_mut().for_each(|p| *p /= self.own.len() as f64);
        found
    }
}

/// Draws with replacement from weights that change: `O(log n)` for a draw and for a change. Sums are made anew on the way up, never
/// corrected by a difference, so that no error builds up over many changes.
///
/// Source: Schaul et al., "Prioritized Experience Replay", 2016 (appendix B.2.1).
#[derive(Debug, Clone, PartialEq)]
pub struct SumTree {
    /// Node 1 is the root, the children of `i` are `2i` and `2i + 1`, the leaves are the last half.
    nodes: Vec<f64>,
    len: usize,
}

impl SumTree {
    /// `len` weights of 0.
    pub fn new(len: usize) -> Self {
        Self { nodes: vec![0.0; 2 * len.next_power_of_two()], len }
    }

    /// The tree of these weights; an error for one that is not a finite number of at least 0, or where they sum to none.
    pub fn of(weights: &[f64]) -> Result<Self> {
        check(weights)?;
        let mut tree = Self::new(weights.len());
        let leaves = tree.nodes.len() / 2;
        tree.nodes[leaves..leaves + weights.len()].copy_from_slice(weights);
        (1..leaves).rev().for_each(|node| tree.nodes[node] = tree.nodes[2 * node] + tree.nodes[2 * node + 1]);
        Ok(tree)
    }

    /// How many weights there are.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The sum of all weights.
    pub fn total(&self) -> f64 {
        self.nodes[1]
    }
    /// The weight of an index; 0 for one that does not exist.
    pub fn get(&self, index: usize) -> f64 {
        if index < self.len { self.nodes[self.nodes.len() / 2 + index] } else { 0.0 }
    }

    /// Gives an index another weight: a finite number of at least 0.
    pub fn set(&mut self, index: usize, weight: f64) -> Result<()> {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::usage(format!("weight {index} is {weight}; expected a finite number of at least 0")));
        }
        if index >= self.len {
            return Err(Error::usage(format!("weight {index} of a tree of {}", self.len)));
        }
        let mut node = self.nodes.len() / 2 + index;
        self.nodes[node] = weight;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
        Ok(())
    }

    /// The index at which the running sum of the weights passes `at` (`0..total`); one that has weight. `None` where none has.
    pub fn find(&self, mut at: f64) -> Option<usize> {
        if self.total() <= 0.0 {
            return None;
        }
        let leaves = self.nodes.len() / 2;
        let mut node = 1;
        while node < leaves {
            let (left, right) = (self.nodes[2 * node], self.nodes[2 * node + 1]);
            // Rounding may carry `at` past the last weight: a side without weight is never entered.
            if right <= 0.0 || (at < left && left > 0.0) {
                node *= 2;
            } else {
                at -= left;
                node = 2 * node + 1;
            }
        }
        Some(node - leaves)
    }

    /// An index, with a probability proportional to its weight; `None` where none has weight.
    pub fn draw<R: Rng + ?Sized>(&self, rng: &mut R) -> Option<usize> {
        self.find(rng.random::<f64>() * self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    #[test]
    fn draws_without_replacement_are_successive() {
        // Weights 1, 2, 3, two draws. Pair {0, 1}: 1/6 * 2/5 + 2/6 * 1/4 = 3/20; {0, 2}: 1/6 * 3/5 + 3/6 * 1/3 = 4/15; {1, 2}: 7/12.
        let logs = [1.0f64, 2.0, 3.0].map(f64::ln);
        let mut rng = SeedTree::new(1).rng();
        let (trials, mut counts) = (60_000, [0; 3]);
        for _ in 0..trials {
            let drawn = draw_without_replacement(&logs, 2, |_| rng.random());
            counts[drawn[0] + drawn[1] - 1] += 1;
        }
        for (count, right) in counts.into_iter().zip([3.0 / 20.0, 4.0 / 15.0, 7.0 / 12.0]) {
            // Six standard deviations of a share of 60,000 trials are at most 0.013.
            assert!((f64::from(count) / f64::from(trials) - right).abs() < 0.013, "{counts:?}");
        }
    }

    #[test]
    fn what_has_no_weight_is_not_drawn() {
        assert_eq!(draw_without_replacement(&[f64::NEG_INFINITY, 0.0, f64::NAN, -800.0], 4, |_| 0.5), [1, 3]);
        assert!(draw_without_replacement(&[0.0, 0.0], 0, |_| 0.5).is_empty());
        // The ends of the unit interval are no accident.
        assert_eq!(draw_without_replacement(&[0.0; 3], 2, |i| i as f64 / 2.0), [1, 2]);
        let told = |weights: &[f64]| AliasTable::new(weights).unwrap_err().to_string();
        assert_eq!(told(&[1.0, -1.0]), "weight 1 is -1; expected a finite number of at least 0");
        assert_eq!(told(&[0.0]), "the 1 weights sum to 0; nothing can be drawn");
        assert_eq!(told(&[]), "the 0 weights sum to 0; nothing can be drawn");
        assert!(SumTree::of(&[f64::NAN]).is_err() && SumTree::new(0).find(0.0).is_none() && SumTree::new(3).find(0.0).is_none());
        let mut tree = SumTree::new(3);
        assert!(tree.set(3, 1.0).is_err() && tree.set(0, f64::INFINITY).is_err() && tree.set(2, 1.0).is_ok());
        assert_eq!((tree.find(-1.0), tree.find(99.0), tree.find(f64::NAN), tree.len(), tree.get(3)), (Some(2), Some(2), Some(2), 3, 0.0));
    }

    #[test]
    fn the_alias_table_draws_what_it_says() {
        let table = AliasTable::new(&[1.0, 0.0, 3.0]).unwrap();
        let mut rng = SeedTree::new(2).rng();
        let mut counts = [0; 3];
        (0..40_000).for_each(|_| counts[table.draw(&mut rng)] += 1);
        assert!(counts[1] == 0 && (f64::from(counts[0]) / 40_000.0 - 0.25).abs() < 0.013, "{counts:?}");
    }

    proptest! {
        #[test]
        fn the_alias_table_is_exact(weights in prop::collection::vec(prop_oneof![Just(0.0), 1e-9..1e9f64], 1..60)) {
            prop_assume!(weights.iter().any(|w| *w > 0.0));
            let total: f64 = weights.iter().sum();
            let table = AliasTable::new(&weights).unwrap();
            prop_assert!(table.own.iter().all(|own| (-1e-9..=1.0 + 1e-9).contains(own)));
            for (found, weight) in table.probabilities().into_iter().zip(&weights) {
                prop_assert!((found - weight / total).abs() < 1e-12);
            }
            for (i, (own, alias)) in table.own.iter().zip(&table.alias).enumerate() {
                prop_assert!((*own <= 0.0 || weights[i] > 0.0) && (*own >= 1.0 || weights[*alias] > 0.0));
            }
        }

        /// Whole numbers are summed exactly, so every place is known.
        #[test]
        fn the_sum_tree_finds_the_place(changes in prop::collection::vec((0usize..20, 0u8..9), 1..80), n in 1usize..20) {
            let (mut tree, mut plain) = (SumTree::new(n), vec![0.0; n]);
            for (i, weight) in changes {
                tree.set(i % n, f64::from(weight)).unwrap();
                plain[i % n] = f64::from(weight);
            }
            let owners: Vec<usize> = plain.iter().enumerate().flat_map(|(i, w)| vec![i; *w as usize]).collect();
            prop_assert_eq!(tree.total(), owners.len() as f64);
            for (at, owner) in owners.iter().enumerate() {
                prop_assert_eq!(tree.find(at as f64), Some(*owner));
                prop_assert_eq!(tree.find(at as f64 + 0.5), Some(*owner));
            }
            if !owners.is_empty() {
                prop_assert_eq!(SumTree::of(&plain).unwrap(), tree);
            }
        }
    }
}
