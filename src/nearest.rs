//! Nearest rows by inner product: exact, blocked so that memory stays bounded, and the same with any number of threads.

pub mod ivf;

use gemm::Parallelism;
use rayon::prelude::*;

/// Queries and keys of one block of products: 256 x 512 numbers stay in a second-level cache, and copying the
/// rows into the product's own layout costs less the nearer to a square a block is. Constants, so that nothing depends on them.
const QUERIES: usize = 256;
const KEYS: usize = 512;

/// Products looked at together before one of them is compared.
const LANES: usize = 16;

/// A row that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Row among the keys.
    pub row: usize,
    /// Inner product with the query; the cosine where all rows have length 1.
    pub similarity: f32,
}

/// Scales each row of `dim` numbers to Euclidean length 1; a row of zeros, or one that is not finite, becomes zeros.
pub fn normalise(rows: &mut [f32], dim: usize) {
    for row in rows.chunks_exact_mut(dim.max(1)) {
        let length = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
        let scale = if length.is_finite() && length > 0.0 { 1.0 / length } else { 0.0 };
        row.iter_mut().for_each(|v| *v = if scale > 0.0 { (f64::from(*v) * scale) as f32 } else { 0.0 });
    }
}

/// For each query the `k` keys with the largest inner product among those that `allow(query, key)` permits, the nearest first, equal ones by row.
/// `queries` and `keys` are rows of `dim` numbers. Fewer than `k` where fewer are allowed; products that are NaN are never found.
pub fn nearest(queries: &[f32], keys: &[f32], dim: usize, k: usize, allow: impl Fn(usize, usize) -> bool + Sync) -> Vec<Vec<Neighbour>> {
    nearest_where(queries, keys, dim, k, |query, key| allow(query, key.row))
}

/// [`nearest`] where `allow(query, key)` may look at the inner product as well. It is asked only about keys that would be among the `k` found so far.
pub fn nearest_where(
    queries: &[f32],
    keys: &[f32],
    dim: usize,
    k: usize,
    allow: impl Fn(usize, Neighbour) -> bool + Sync,
) -> Vec<Vec<Neighbour>> {
    let count = queries.len() / dim.max(1);
    if k == 0 || dim == 0 || keys.len() < dim {
        return vec![Vec::new(); count];
    }
    queries
        .par_chunks(QUERIES * dim)
        .enumerate()
        .flat_map_iter(|(block, queries)| {
            let first = block * QUERIES;
            let mut products = vec![0.0f32; queries.len() / dim * KEYS];
            let mut best: Vec<Best> = vec![Best::new(k); queries.len() / dim];
            for (part, keys) in keys.chunks(KEYS * dim).enumerate() {
                let (from, width) = (part * KEYS, keys.len() / dim);
                inner_products(keys, queries, dim, &mut products);
                for (q, best) in best.iter_mut().enumerate() {
                    best.scan(&products[q * width..][..width], from, |key| allow(first + q, key));
                }
            }
            best.into_iter().map(|best| best.found)
        })
        .collect()
}

/// Writes `products[q * keys + i] = <keys_i, queries_q>` for rows of `dim` numbers, on the calling thread.
///
/// # Panics
/// If `products` is shorter than that.
pub fn inner_products(keys: &[f32], queries: &[f32], dim: usize, products: &mut [f32]) {
    let (m, n) = (keys.len() / dim, queries.len() / dim);
    assert!(products.len() >= m * n, "{} products do not fit into {}", m * n, products.len());
    // SAFETY: the strides stay inside the three slices: `m x dim` and `n x dim` rows, and `m * n` products, checked above.
    unsafe {
        gemm::gemm(
            m,
            n,
            dim,
            products.as_mut_ptr(),
            m as isize,
            1,
            false,
            keys.as_ptr(),
            1,
            dim as isize,
            queries.as_ptr(),
            dim as isize,
            1,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The best so far, the nearest first.
#[derive(Clone)]
struct Best {
    k: usize,
    found: Vec<Neighbour>,
    /// What a product must exceed.
    least: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, found: Vec::new(), least: f32::NEG_INFINITY }
    }

    fn scan(&mut self, products: &[f32], from: usize, allow: impl Fn(Neighbour) -> bool) {
        for (group, lanes) in products.chunks(LANES).enumerate() {
            // Most groups hold nothing: one comparison for all of them. NaN never wins.
            let top = lanes.iter().fold(f32::NEG_INFINITY, |top, v| if *v > top { *v } else { top });
            if top <= self.least && self.found.len() == self.k {
                continue;
            }
            for (lane, &similarity) in lanes.iter().enumerate() {
                let row = from + group * LANES + lane;
                let wanted = if self.found.len() < self.k { !similarity.is_nan() } else { similarity > self.least };
                let one = Neighbour { row, similarity };
                if wanted && allow(one) {
                    self.insert(one);
                }
            }
        }
    }

    fn insert(&mut self, one: Neighbour) {
        // Rows come in ascending order, so an equal product goes behind.
        let place = self.found.partition_point(|other| other.similarity >= one.similarity);
        self.found.truncate(self.k - 1);
        self.found.insert(place.min(self.found.len()), one);
        if self.found.len() == self.k {
            self.least = self.found[self.k - 1].similarity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_worked_example() {
        let keys = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8, 1.0, 0.0];
        let found = nearest(&[1.0, 0.0], &keys, 2, 3, |_, _| true);
        let found: Vec<(usize, f32)> = found[0].iter().map(|n| (n.row, n.similarity)).collect();
        assert_eq!(found, [(0, 1.0), (3, 1.0), (2, 0.6)]);
        assert_eq!(nearest(&[1.0, 0.0], &keys, 2, 9, |_, key| key > 0)[0].len(), 3);
        assert!(nearest(&[], &keys, 2, 3, |_, _| true).is_empty() && nearest(&[1.0, 0.0], &[], 2, 3, |_, _| true)[0].is_empty());
    }

    #[test]
    fn rows_are_scaled() {
        let mut rows = [3.0, 4.0, 0.0, 0.0, f32::NAN, 1.0];
        normalise(&mut rows, 2);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0, 0.0, 0.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_same_as_sorting_everything(seed in 0u32..1000, k in 1usize..40, n in 1usize..2500) {
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16) as f32 / 65536.0) - 0.5;
            let (dim, queries) = (5, 140);
            let keys: Vec<f32> = (0..n * dim).map(value).collect();
            let asked: Vec<f32> = (0..queries * dim).map(|i| value(i + 77)).collect();
            let found = nearest(&asked, &keys, dim, k, |q, key| q % 7 != key % 7);
            for q in [0, 1, queries - 1] {
                let product = |key: usize| (0..dim).map(|d| f64::from(asked[q * dim + d]) * f64::from(keys[key * dim + d])).sum::<f64>();
                let mut right: Vec<f64> = (0..n).filter(|key| q % 7 != key % 7).map(product).collect();
                right.sort_by(|a, b| b.total_cmp(a));
                right.truncate(k);
                prop_assert_eq!(found[q].len(), right.len());
                for (one, right) in found[q].iter().zip(right) {
                    prop_assert!((f64::from(one.similarity) - right).abs() < 1e-5 && (product(one.row) - right).abs() < 1e-5);
                }
            }
        }
    }
}
