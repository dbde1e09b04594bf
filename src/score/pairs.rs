//! Two modalities' embeddings against each other, over the whole split: shared by the scorers of pairs. Blocked, so that the memory is bounded
//! whatever the number of pairs; the time grows with its square.

use crate::nearest::inner_products;
use rayon::prelude::*;

/// Pairs of one block of products: 64 x 1024 numbers a thread.
const QUERIES: usize = 64;
const KEYS: usize = 1024;
/// A product that is larger by less is no better partner: two blocks may round the same product differently.
const ROUNDING: f64 = 1e-6;

/// What one row of a similarity matrix says of the pair on its diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Against {
    /// `<u_i, v_i>`.
    pub own: f64,
    /// How many other allowed `j` have `<u_i, v_j>` above it, by more than the rounding of a product (1e-6).
    pub rank: usize,
    /// Other allowed `j`.
    pub others: usize,
    /// The largest `<u_i, v_j>` of them; minus infinity where there is none.
    pub best_other: f64,
    /// `log sum_j exp(<u_i, v_j> / temperature)` over the pair itself and the others.
    pub log_sum: f64,
}

impl Against {
    /// `-log softmax_j(<u_i, v_j> / temperature)_i`, the InfoNCE loss in one direction, in nats: 0 without others.
    pub fn loss(&self, temperature: f64) -> f64 {
        (self.log_sum - self.own / temperature).max(0.0)
    }
}

/// Each row of `from` against all rows of `to`, both row-major with `dim` numbers a row and as many rows; `allow(i, j)` says whether row `j` may stand
/// against pair `i` (the pair itself always does). `temperature` is above 0.
pub fn against(from: &[f32], to: &[f32], dim: usize, temperature: f64, allow: impl Fn(usize, usize) -> bool + Sync) -> Vec<Against> {
    let dim = dim.max(1);
    from.par_chunks(QUERIES * dim)
        .enumerate()
        .flat_map_iter(|(block, queries)| {
            let first = block * QUERIES;
            let count = queries.len() / dim;
            let mut own = vec![0.0f32; count * count];
            inner_products(&to[first * dim..(first + count) * dim], queries, dim, &mut own);
            let mut found: Vec<Against> = (0..count)
                .map(|q| {
                    let own = f64::from(own[q * count + q]);
                    Against { own, rank: 0, others: 0, best_other: f64::NEG_INFINITY, log_sum: 0.0 }
                })
                .collect();
            // Log-sum-exp with a running maximum: the sum is in units of exp(top).
            let mut sums: Vec<(f64, f64)> = found.iter().map(|one| (one.own / temperature, 1.0)).collect();
            let mut products = vec![0.0f32; count * KEYS];
            for (part, keys) in to.chunks(KEYS * dim).enumerate() {
                let width = keys.len() / dim;
                inner_products(keys, queries, dim, &mut products);
                for (q, (one, (top, sum))) in found.iter_mut().zip(&mut sums).enumerate() {
                    let i = first + q;
                    for (k, product) in products[q * width..][..width].iter().enumerate() {
                        let j = part * KEYS + k;
                        if i == j || !allow(i, j) {
                            continue;
                        }
                        let product = f64::from(*product);
                        one.others += 1;
                        one.rank += usize::from(product > one.own + ROUNDING);
                        one.best_other = one.best_other.max(product);
                        let logit = product / temperature;
                        if logit > *top {
                            *sum = *sum * (*top - logit).exp() + 1.0;
                            *top = logit;
                        } else {
                            *sum += (logit - *top).exp();
                        }
                    }
                }
            }
            found.iter_mut().zip(sums).for_each(|(one, (top, sum))| one.log_sum = top + sum.ln());
            found
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest::normalise;
    use proptest::prelude::*;

    #[test]
    fn a_worked_matrix() {
        // Rows of u against v: [1, .6, 0], [0, .8, 1], [.6, 1, .8].
        let u = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
        let v = [1.0, 0.0, 0.6, 0.8, 0.0, 1.0];
        let found = against(&u, &v, 2, 0.5, |_, _| true);
        assert_eq!((found[0].rank, found[1].rank, found[2].rank), (0, 1, 1));
        assert!((found[1].own - 0.8).abs() < 1e-6 && (found[1].best_other - 1.0).abs() < 1e-6 && found[1].others == 2);
        let right = (1.0 + 1.6f64.exp() + 2f64.exp()).ln() - 1.6;
        assert!((found[1].loss(0.5) - right).abs() < 1e-6);
        let alone = against(&u, &v, 2, 0.5, |_, _| false);
        assert_eq!((alone[1].others, alone[1].loss(0.5), alone[1].best_other), (0, 0.0, f64::NEG_INFINITY));
        assert!(against(&[], &[], 2, 0.5, |_, _| true).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn blocks_give_what_the_whole_matrix_gives(seed in 0u32..1000, n in 1usize..1300, cold in any::<bool>()) {
            let dim = 3;
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16) as f32 / 65536.0) - 0.5;
            let (mut u, mut v): (Vec<f32>, Vec<f32>) = ((0..n * dim).map(value).collect(), (0..n * dim).map(|i| value(i + 999)).collect());
            normalise(&mut u, dim);
            normalise(&mut v, dim);
            // Cold: exponents up to 1000, which would overflow unshifted.
            let temperature = if cold { 0.001 } else { 0.07 };
            let allow = |i: usize, j: usize| i % 5 != j % 5;
            let found = against(&u, &v, dim, temperature, allow);
            for i in [0, n / 2, n - 1] {
                let product = |j: usize| (0..dim).map(|d| f64::from(u[i * dim + d]) * f64::from(v[j * dim + d])).sum::<f64>();
                let others: Vec<f64> = (0..n).filter(|&j| j != i && allow(i, j)).map(product).collect();
                let top = others.iter().fold(product(i), |a, b| a.max(*b)) / temperature;
                let sum: f64 = others.iter().chain([&product(i)]).map(|p| (p / temperature - top).exp()).sum();
                prop_assert_eq!(found[i].others, others.len());
                prop_assert!(others.is_empty() || (found[i].best_other - others.iter().fold(f64::MIN, |a, b| a.max(*b))).abs() < 1e-6);
                prop_assert!((found[i].log_sum - (top + sum.ln())).abs() < 1e-6 / temperature);
                let above = |margin: f64| others.iter().filter(|p| **p > product(i) + margin).count();
                prop_assert!((above(2e-6)..=above(0.0)).contains(&found[i].rank));
            }
        }
    }
}
