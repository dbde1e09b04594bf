//! Nearest rows among many: an inverted file. Rows are sorted into cells around seeded centroids, and a query looks into the nearest cells alone.

use super::{Neighbour, inner_products, nearest, normalise};
use rand::{Rng, seq::index};
use rayon::prelude::*;

/// Rounds of Lloyd's algorithm, and rows a cell that it looks at: more moves the centroids little.
const ROUNDS: usize = 8;
const SAMPLED: usize = 64;
/// Products of one block of a cell.
const KEYS: usize = 1024;

/// An inverted file over rows of Euclidean length 1 (see [`normalise`]): each row stands in the cell of its nearest centroid (spherical k-means).
/// Approximate, and the same with any number of threads.
///
/// Reference: Sivic and Zisserman, Video Google, 2003; Jégou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, 2011 (`IVF`).
#[derive(Debug, Clone)]
pub struct InvertedFile {
    dim: usize,
    centroids: Vec<f32>,
    /// Where each cell begins among `rows`; one more than there are cells.
    starts: Vec<usize>,
    /// Original row of each stored one, by cell, ascending within it.
    rows: Vec<usize>,
    /// The stored rows in the order of `rows`.
    values: Vec<f32>,
}

impl InvertedFile {
    /// Sorts `rows` of `dim` numbers into `cells` cells (at least 1, at most as many as rows); `4 sqrt(rows)` is usual.
    pub fn build(rows: &[f32], dim: usize, cells: usize, rng: &mut impl Rng) -> Self {
        let count = rows.len().checked_div(dim).unwrap_or(0);
        let cells = cells.clamp(1, count.max(1));
        let row = |i: usize| &rows[i * dim..(i + 1) * dim];
        let mut sampled = index::sample(rng, count, (cells * SAMPLED).min(count)).into_vec();
        // The first ones are the centroids to begin with; the sum below must not depend on the order of drawing.
        let mut centroids: Vec<f32> = sampled.iter().take(cells).flat_map(|&i| row(i)).copied().collect();
        sampled.sort_unstable();
        let sample: Vec<f32> = sampled.iter().flat_map(|&i| row(i)).copied().collect();
        for _ in 0..ROUNDS {
            let mut sums = vec![0.0f64; centroids.len()];
            let mut members = vec![0usize; cells];
            for (of, cell) in sample.chunks_exact(dim.max(1)).zip(cell_of(&sample, &centroids, dim)) {
                members[cell] += 1;
                sums[cell * dim..].iter_mut().zip(of).for_each(|(sum, v)| *sum += f64::from(*v));
            }
            for (cell, _) in members.iter().enumerate().filter(|(_, members)| **members > 0) {
                // An empty cell keeps its centroid.
                for d in cell * dim..(cell + 1) * dim {
                    centroids[d] = (sums[d] / members[cell] as f64) as f32;
                }
            }
            normalise(&mut centroids, dim);
        }
        let of = cell_of(rows, &centroids, dim);
        let mut starts = vec![0; cells + 1];
        of.iter().for_each(|cell| starts[cell + 1] += 1);
        (0..cells).for_each(|cell| starts[cell + 1] += starts[cell]);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&i| (of[i], i));
        let values = order.iter().flat_map(|&i| row(i)).copied().collect();
        Self { dim, centroids, starts, rows: order, values }
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.starts.len() - 1
    }

    /// For each query (rows of length 1) up to `k` of the stored rows that `allow(query, row)` permits, the nearest first, equal ones by row, from
    /// the `probes` cells (at least 1) whose centroids are nearest to it.
    pub fn nearest(&self, queries: &[f32], k: usize, probes: usize, allow: impl Fn(usize, usize) -> bool + Sync) -> Vec<Vec<Neighbour>> {
        let dim = self.dim;
        let count = queries.len().checked_div(dim).unwrap_or(0);
        if k == 0 || self.rows.is_empty() {
            return vec![Vec::new(); count];
        }
        let probed = nearest(queries, &self.centroids, dim, probes.clamp(1, self.cells()), |_, _| true);
        // Queries of one cell share most of their probes: together they read each cell once.
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.cells()];
        for (query, cells) in probed.iter().enumerate() {
            if let Some(first) = cells.first() {
                groups[first.row].push(query);
            }
        }
        let found: Vec<(usize, Vec<Neighbour>)> = groups
            .par_iter()
            .flat_map_iter(|group| {
                let mut asks: Vec<(usize, usize)> =
                    group.iter().enumerate().flat_map(|(own, &query)| probed[query].iter().map(move |cell| (cell.row, own))).collect();
                asks.sort_unstable();
                let mut best: Vec<Vec<Neighbour>> = vec![Vec::new(); group.len()];
                let (mut gathered, mut products) = (Vec::new(), Vec::new());
                for asked in asks.chunk_by(|a, b| a.0 == b.0) {
                    let cell = asked[0].0;
                    gathered.clear();
                    asked.iter().for_each(|(_, own)| gathered.extend_from_slice(&queries[group[*own] * dim..(group[*own] + 1) * dim]));
                    let stored = self.starts[cell]..self.starts[cell + 1];
                    for from in stored.clone().step_by(KEYS) {
                        let rows = &self.rows[from..stored.end.min(from + KEYS)];
                        products.resize(rows.len() * asked.len(), 0.0);
                        inner_products(&self.values[from * dim..(from + rows.len()) * dim], &gathered, dim, &mut products);
                        for ((_, own), products) in asked.iter().zip(products.chunks_exact(rows.len())) {
                            for (&row, &similarity) in rows.iter().zip(products) {
                                let one = Neighbour { row, similarity };
                                if enters(&best[*own], one, k) && allow(group[*own], row) {
                                    insert(&mut best[*own], one, k);
                                }
                            }
                        }
                    }
                }
                group.iter().copied().zip(best)
            })
            .collect();
        let mut all = vec![Vec::new(); count];
        found.into_iter().for_each(|(query, of)| all[query] = of);
        all
    }
}

/// The nearest centroid of each row; the first for a row that has none (all numbers are NaN).
fn cell_of(rows: &[f32], centroids: &[f32], dim: usize) -> Vec<usize> {
    nearest(rows, centroids, dim, 1, |_, _| true).into_iter().map(|found| found.first().map_or(0, |one| one.row)).collect()
}

fn before(a: Neighbour, b: Neighbour) -> bool {
    a.similarity > b.similarity || (a.similarity == b.similarity && a.row < b.row)
}

fn enters(best: &[Neighbour], one: Neighbour, k: usize) -> bool {
    if best.len() < k { !one.similarity.is_nan() } else { best.last().is_some_and(|last| before(one, *last)) }
}

fn insert(best: &mut Vec<Neighbour>, one: Neighbour, k: usize) {
    best.truncate(k - 1);
    best.insert(best.partition_point(|other| before(*other, one)), one);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
    use std::collections::HashSet;

    /// Rows around `centres` random directions, of length 1.
    fn clustered(count: usize, dim: usize, centres: usize, spread: f32, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut number = || rng.random::<f32>() - 0.5;
        let middles: Vec<f32> = (0..centres * dim).map(|_| number()).collect();
        let mut rows: Vec<f32> = (0..count * dim).map(|i| middles[(i / dim % centres) * dim + i % dim] + spread * number()).collect();
        normalise(&mut rows, dim);
        rows
    }

    #[test]
    fn the_recall_at_ten_is_high() {
        let (dim, count) = (16, 4000);
        let rows = clustered(count, dim, 40, 0.6, 3);
        let file = InvertedFile::build(&rows, dim, 126, &mut ChaCha8Rng::seed_from_u64(1));
        let queries = &rows[..400 * dim];
        let exact = nearest(queries, &rows, dim, 10, |q, key| q != key);
        let recall = |probes: usize| {
            let found = file.nearest(queries, 10, probes, |q, key| q != key);
            let hits = |(a, b): (&Vec<Neighbour>, &Vec<Neighbour>)| {
                let right: HashSet<usize> = b.iter().map(|n| n.row).collect();
                a.iter().filter(|n| right.contains(&n.row)).count()
            };
            found.iter().zip(&exact).map(hits).sum::<usize>() as f64 / 4000.0
        };
        assert!(recall(16) > 0.95, "{}", recall(16));
        assert!(recall(4) < recall(16), "{} {}", recall(4), recall(16));
    }

    #[test]
    fn the_seed_alone_decides() {
        let rows = clustered(500, 8, 9, 0.4, 5);
        let build = |seed| InvertedFile::build(&rows, 8, 20, &mut ChaCha8Rng::seed_from_u64(seed));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let found = build(7).nearest(&rows, 5, 3, |_, _| true);
        assert_eq!(alone.install(|| build(7).nearest(&rows, 5, 3, |_, _| true)), found);
        assert_ne!(build(8).centroids, build(7).centroids);
    }

    #[test]
    fn few_rows_none_and_not_a_number() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(InvertedFile::build(&[], 3, 5, &mut rng).nearest(&[1.0, 0.0, 0.0], 2, 1, |_, _| true)[0].is_empty());
        assert!(InvertedFile::build(&[], 0, 5, &mut rng).nearest(&[], 2, 1, |_, _| true).is_empty());
        let one = InvertedFile::build(&[1.0, 0.0], 2, 9, &mut rng);
        assert_eq!(one.cells(), 1);
        assert_eq!(one.nearest(&[1.0, 0.0], 2, 9, |_, _| true)[0], [Neighbour { row: 0, similarity: 1.0 }]);
        let odd = InvertedFile::build(&[f32::NAN, 0.0, 1.0, 0.0], 2, 2, &mut rng);
        let found = odd.nearest(&[1.0, 0.0, f32::NAN, 1.0], 2, 2, |_, _| true);
        assert!(found[0].iter().all(|n| n.row == 1) && found[1].is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// With every cell probed it is the exact search.
        #[test]
        fn all_probes_find_what_is_nearest(seed in 0u64..1000, count in 1usize..300, cells in 1usize..20, k in 1usize..12) {
            let rows = clustered(count, 4, 5, 0.5, seed);
            let file = InvertedFile::build(&rows, 4, cells, &mut ChaCha8Rng::seed_from_u64(seed));
            let allow = |q: usize, key: usize| q % 3 != key % 3;
            let found = file.nearest(&rows, k, cells, allow);
            let right = nearest(&rows, &rows, 4, k, allow);
            for (a, b) in found.iter().zip(&right) {
                prop_assert_eq!(a.len(), b.len());
                prop_assert!(a.iter().zip(b).all(|(a, b)| (a.similarity - b.similarity).abs() < 1e-6));
            }
        }
    }
}
