//! Addressed randomness: every draw has an address (run seed, round, stage, sample, variant), and the address alone
//! decides it. Neither the number of threads, nor the batch size, nor the order, nor a stage inserted elsewhere changes
//! a draw.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// The address of a source of random numbers, as it is written into a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedPath {
    /// Seed of the run.
    pub seed: u64,
    /// The names below it, from the root.
    pub steps: Vec<String>,
}

/// A node in the tree of random sources. Children are derived with BLAKE3 keyed by their parent, so that siblings are
/// independent and no order is implied.
#[derive(Debug, Clone)]
pub struct SeedTree {
    key: [u8; 32],
    path: SeedPath,
}

impl SeedTree {
    /// The root for a run.
    pub fn new(seed: u64) -> Self {
        let key = blake3::derive_key("hardmine 1 seed tree", &seed.to_le_bytes());
        Self { key, path: SeedPath { seed, steps: Vec::new() } }
    }

    /// The node a lineage names.
    pub fn at(path: &SeedPath) -> Self {
        path.steps.iter().fold(Self::new(path.seed), |node, step| node.child(step))
    }

    /// The child called `name`.
    #[must_use]
    pub fn child(&self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        let key = *blake3::keyed_hash(&self.key, name.as_bytes()).as_bytes();
        let mut path = self.path.clone();
        path.steps.push(name.to_owned());
        Self { key, path }
    }

    /// The child for a round.
    #[must_use]
    pub fn round(&self, round: usize) -> Self {
        self.child(format!("round {round}"))
    }
    /// The child for a stage.
    #[must_use]
    pub fn stage(&self, id: &str) -> Self {
        self.child(format!("stage {id}"))
    }
    /// The child for a sample.
    #[must_use]
    pub fn sample(&self, id: impl AsRef<str>) -> Self {
        self.child(format!("sample {}", id.as_ref()))
    }
    /// The child for a variant (a retry, a restart, one of several neighbours).
    #[must_use]
    pub fn variant(&self, variant: usize) -> Self {
        self.child(format!("variant {variant}"))
    }

    /// The random numbers of this node; two calls give the same stream.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.key)
    }
    /// A seed for a library that wants one number.
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.key[i]))
    }
    /// Where this node is.
    pub fn path(&self) -> &SeedPath {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn the_address_alone_decides() {
        let a = SeedTree::new(7).round(1).stage("pgd").sample("x").variant(0);
        let b = SeedTree::at(a.path());
        assert_eq!(a.rng().next_u64(), b.rng().next_u64());
        assert_ne!(a.rng().next_u64(), SeedTree::new(7).round(1).stage("pgd").sample("y").variant(0).rng().next_u64());
        assert_ne!(SeedTree::new(7).number(), SeedTree::new(8).number());
        // "sample ab" + "c" and "sample a" + "bc" are different nodes.
        assert_ne!(SeedTree::new(1).child("ab").child("c").number(), SeedTree::new(1).child("a").child("bc").number());
    }
}
