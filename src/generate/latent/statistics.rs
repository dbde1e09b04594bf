//! What the latents of a class look like: mean, spread, covariance, and how far its members lie from the others.

use super::pool;
use crate::{
    context::GenerateContext,
    error::{Error, Result},
    sample::Modality,
};
use std::{collections::BTreeMap, sync::Arc};

/// Folds of the distances that bound a class.
const FOLDS: usize = 5;
/// A class with fewer members borrows the covariance of all classes, each around its own mean.
const LEAST: usize = 20;
/// Shrinkage of a covariance: `0.9 S + 0.1 tr(S) / D I`.
const SHRINKAGE: f64 = 0.1;
/// Members whose nearest neighbours give the spacing of a class.
const SPACED: usize = 400;

/// The Gaussian of one class in one latent space.
#[derive(Debug, Clone)]
pub(super) struct ClassSpace {
    /// Mean of each dimension.
    pub mean: Vec<f64>,
    /// Standard deviation of each dimension (population).
    pub deviation: Vec<f64>,
    /// Lower Cholesky factor of the shrunk covariance, by rows.
    factor: Vec<f64>,
    /// The quantile of out-of-fold Mahalanobis distances; infinite where there are too few members to tell.
    bound: f64,
}

/// Sums over members of a class: how many, their sum, and the lower triangle of the sum of their products, all around the class's own origin.
#[derive(Debug, Clone)]
struct Sums {
    count: f64,
    sum: Vec<f64>,
    products: Vec<f64>,
}

impl Sums {
    fn new(dimensions: usize) -> Self {
        Self { count: 0.0, sum: vec![0.0; dimensions], products: vec![0.0; dimensions * dimensions] }
    }
    fn add(&mut self, x: &[f64]) {
        self.count += 1.0;
        self.sum.iter_mut().zip(x).for_each(|(s, v)| *s += v);
        for (i, (row, v)) in self.products.chunks_exact_mut(x.len()).zip(x).enumerate() {
            row[..=i].iter_mut().zip(x).for_each(|(p, w)| *p += v * w);
        }
    }
    fn accumulate(&mut self, other: &Self, sign: f64) {
        self.count += sign * other.count;
        self.sum.iter_mut().zip(&other.sum).for_each(|(s, v)| *s += sign * v);
        self.products.iter_mut().zip(&other.products).for_each(|(s, v)| *s += sign * v);
    }
    fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|s| s / self.count.max(1.0)).collect()
    }
    /// Products around the mean, the lower triangle: `count` times the covariance.
    fn scatter(&self) -> Vec<f64> {
        let mean = self.mean();
        let d = mean.len();
        (0..d * d).map(|at| self.products[at] - self.count * mean[at / d] * mean[at % d]).collect()
    }
}

/// Lower Cholesky factor of the shrunk covariance; a space without any spread gets a tiny one, so that nothing divides by 0.
fn factor(scatter: &[f64], count: f64, dimensions: usize) -> Vec<f64> {
    let d = dimensions;
    let trace = (0..d).map(|i| scatter[i * d + i].max(0.0)).sum::<f64>() / count.max(1.0);
    let ridge = SHRINKAGE * trace / d.max(1) as f64 + 1e-12;
    let mut l = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let own = (1.0 - SHRINKAGE) * scatter[i * d + j] / count.max(1.0) + if i == j { ridge } else { 0.0 };
            let known: f64 = l[i * d..i * d + j].iter().zip(&l[j * d..j * d + j]).map(|(a, b)| a * b).sum();
            l[i * d + j] = if i == j { (own - known).max(1e-15).sqrt() } else { (own - known) / l[j * d + j] };
        }
    }
    l
}

/// `L^-1 x` by forward substitution.
fn whitened(l: &[f64], x: &[f64]) -> Vec<f64> {
    let d = x.len();
    let mut y: Vec<f64> = Vec::with_capacity(d);
    for (i, v) in x.iter().enumerate() {
        let known: f64 = l[i * d..i * d + i].iter().zip(&y).map(|(a, b)| a * b).sum();
        y.push((v - known) / l[i * d + i]);
    }
    y
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The smallest value that at least the share `q` of the sorted values do not exceed; infinite where there is none.
pub(super) fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (q * values.len() as f64).ceil() as usize;
    values.get(at.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::INFINITY)
}

impl ClassSpace {
    /// `L n`.
    pub fn correlated(&self, n: &[f64]) -> Vec<f64> {
        let d = n.len();
        self.factor.chunks_exact(d.max(1)).enumerate().map(|(i, row)| row[..=i].iter().zip(n).map(|(l, n)| l * n).sum()).collect()
    }

    /// Mahalanobis distance to the class.
    #[cfg(test)]
    pub fn distance(&self, h: &[f32]) -> f64 {
        length(&whitened(&self.factor, &self.centred(h)))
    }

    fn centred(&self, h: &[f32]) -> Vec<f64> {
        h.iter().zip(&self.mean).map(|(v, m)| f64::from(*v) - m).collect()
    }

    /// The largest share `t` of the move in `0..=1` at which `h + t move` is inside the bound, or no farther out than `h` itself.
    pub fn reach(&self, h: &[f32], step: &[f32]) -> f64 {
        if !self.bound.is_finite() {
            return 1.0;
        }
        let from = whitened(&self.factor, &self.centred(h));
        let along = whitened(&self.factor, &step.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        // |from + t along|^2 = limit^2 is a quadratic in t; its larger root is where the move leaves the ball.
        let limit = self.bound.max(length(&from));
        let (a, b) = (length(&along).powi(2), from.iter().zip(&along).map(|(f, s)| f * s).sum::<f64>());
        let c = length(&from).powi(2) - limit * limit;
        if a <= 0.0 {
            return 1.0;
        }
        (((b * b - a * c).max(0.0).sqrt() - b) / a).clamp(0.0, 1.0)
    }
}

/// The classes of one latent space, by class index.
pub(super) type Spaces = BTreeMap<usize, ClassSpace>;

/// The Gaussian of each class from the embeddings of the round that the guard trusts; computed once a round.
pub(super) fn spaces(context: &GenerateContext<'_>, modality: Modality, q: f64) -> Result<Arc<Spaces>> {
    let index = context.index.ok_or_else(|| Error::usage("`latent` needs the embedding index of the round"))?;
    index.once(&format!("latent.spaces.{modality}.{q}"), || {
        let rows = context.table.rows();
        let mut members: BTreeMap<usize, Vec<(usize, Vec<f64>)>> = BTreeMap::new();
        let mut groups = Groups::default();
        // Sums depend on their order: that of the ids, not of the manifest.
        for &row in context.table.sorted() {
            let (Some(info), Some(of)) = (rows.get(row), index.train.get(row)) else { continue };
            let (Some(class), Some(h)) = (info.class, of[modality].as_deref().filter(|_| pool::trusted(context, row))) else { continue };
            members.entry(class).or_default().push((groups.fold(class, info.group), h.iter().map(|v| f64::from(*v)).collect()));
        }
        Ok(fit(&members, q))
    })
}

/// The folds of groups: those of a class take turns, so that each fold has as many as another, whatever the numbers of the groups are.
#[derive(Default)]
struct Groups(BTreeMap<usize, BTreeMap<usize, usize>>);

impl Groups {
    fn fold(&mut self, class: usize, group: usize) -> usize {
        let of = self.0.entry(class).or_default();
        let next = of.len();
        *of.entry(group).or_insert(next) % FOLDS
    }
}

/// From each class's members: fold and latent.
fn fit(members: &BTreeMap<usize, Vec<(usize, Vec<f64>)>>, q: f64) -> Spaces {
    let d = members.values().flatten().map(|(_, h)| h.len()).next().unwrap_or(0);
    let origins: BTreeMap<usize, &[f64]> = members.iter().filter_map(|(class, of)| Some((*class, of.first()?.1.as_slice()))).collect();
    // Around a member as origin, products do not cancel.
    let local = |class: usize, h: &[f64]| h.iter().zip(origins[&class]).map(|(v, o)| v - o).collect::<Vec<f64>>();
    let folds: BTreeMap<usize, Vec<Sums>> = members
        .iter()
        .map(|(class, of)| {
            let mut folds = vec![Sums::new(d); FOLDS];
            of.iter().for_each(|(fold, h)| folds[*fold].add(&local(*class, h)));
            (*class, folds)
        })
        .collect();
    let without = |class: usize, left_out: Option<usize>| {
        let mut all = Sums::new(d);
        let kept = folds[&class].iter().enumerate().filter(|(fold, _)| Some(*fold) != left_out);
        kept.for_each(|(_, sums)| all.accumulate(sums, 1.0));
        all
    };
    // The covariance within the classes, for those that have too few members.
    let within = |left_out: Option<usize>| {
        let (mut scatter, mut count) = (vec![0.0; d * d], 0.0);
        for class in folds.keys() {
            let sums = without(*class, left_out);
            scatter.iter_mut().zip(sums.scatter()).for_each(|(s, v)| *s += v);
            count += sums.count;
        }
        (scatter, count)
    };
    let few = |class: usize| members[&class].len() < LEAST;
    let pooled: Vec<Option<Vec<f64>>> = (0..=FOLDS)
        .map(|left_out| {
            members.keys().any(|class| few(*class)).then(|| {
                let (scatter, count) = within((left_out < FOLDS).then_some(left_out));
                factor(&scatter, count, d)
            })
        })
        .collect();
    let space_without = |class: usize, left_out: Option<usize>| {
        let sums = without(class, left_out);
        let own = || factor(&sums.scatter(), sums.count, d);
        let factor = pooled[left_out.unwrap_or(FOLDS)].clone().filter(|_| few(class)).unwrap_or_else(own);
        (sums, factor)
    };
    let mut of_few = Vec::new();
    let mut distances: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (class, of) in members {
        let mut own = Vec::new();
        for fold in 0..FOLDS {
            let (sums, factor) = space_without(*class, Some(fold));
            if sums.count < 1.0 {
                continue;
            }
            let mean = sums.mean();
            for (_, h) in of.iter().filter(|(of, _)| *of == fold) {
                let centred: Vec<f64> = local(*class, h).iter().zip(&mean).map(|(v, m)| v - m).collect();
                own.push(length(&whitened(&factor, &centred)));
            }
        }
        // One group alone gives no distances: such a class has the bound of those with few members.
        if few(*class) || own.is_empty() {
            of_few.extend(own);
        } else {
            distances.insert(*class, own);
        }
    }
    let bound_of_few = quantile(&mut of_few, q);
    let space = |class: &usize| {
        let (sums, factor) = space_without(*class, None);
        let (mean, scatter) = (sums.mean(), sums.scatter());
        let deviation = (0..d).map(|i| (scatter[i * d + i].max(0.0) / sums.count.max(1.0)).sqrt()).collect();
        let bound = distances.remove(class).map_or(bound_of_few, |mut own| quantile(&mut own, q));
        let mean = mean.iter().zip(origins[class]).map(|(m, o)| m + o).collect();
        (*class, ClassSpace { mean, deviation, factor, bound })
    };
    members.keys().map(space).collect()
}

/// Median Euclidean distance of a class's members to their nearest neighbour of another group, over at most 400 evenly spaced members; `None` for a class
/// without two groups.
pub(super) fn spacing(context: &GenerateContext<'_>, modality: Modality, class: usize) -> Result<Option<f64>> {
    let index = context.index.ok_or_else(|| Error::usage("`latent` needs the embedding index of the round"))?;
    let median = index.once(&format!("latent.spacing.{modality}.{class}"), || {
        let rows = context.table.rows();
        let all = context.table.sorted().iter().copied();
        let members: Vec<(usize, &[f32])> = all
            .filter(|&row| rows[row].class == Some(class) && pool::trusted(context, row))
            .filter_map(|row| Some((rows[row].group, index.train.get(row)?[modality].as_deref()?)))
            .collect();
        let stride = members.len().div_ceil(SPACED).max(1);
        let nearest = |(group, h): &(usize, &[f32])| {
            let others = members.iter().filter(|(of, _)| of != group).map(|(_, other)| pool::euclidean(h, other));
            others.min_by(f64::total_cmp)
        };
        let mut found: Vec<f64> = members.iter().step_by(stride).filter_map(nearest).collect();
        Ok((!found.is_empty()).then(|| quantile(&mut found, 0.5)))
    })?;
    Ok(*median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, StandardNormal};

    /// Members with deviations 2 and 1 and a correlation of 0.6.
    fn members(n: usize, seed: u64) -> Vec<(usize, Vec<f64>)> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut normal = move || -> f64 { StandardNormal.sample(&mut rng) };
        (0..n)
            .map(|i| {
                let (a, b) = (normal(), normal());
                (i % FOLDS, vec![5.0 + 2.0 * a, -3.0 + 0.6 * a + 0.8 * b])
            })
            .collect()
    }

    #[test]
    fn mean_spread_and_covariance_are_those_of_the_class() {
        let space = fit(&BTreeMap::from([(0, members(20_000, 1))]), 0.99).remove(&0).unwrap();
        for (found, wanted) in space.mean.iter().chain(&space.deviation).zip([5.0, -3.0, 2.0, 1.0]) {
            assert!((found - wanted).abs() < 0.05, "{found} {wanted}");
        }
        // L L' = 0.9 S + 0.1 tr(S) / 2 I with S = [4, 1.2; 1.2, 1].
        let (x, y) = (space.correlated(&[1.0, 0.0]), space.correlated(&[0.0, 1.0]));
        for (found, wanted) in [x[0] * x[0], x[0] * x[1], x[1] * x[1] + y[1] * y[1]].iter().zip([3.85, 1.08, 1.15]) {
            assert!((found - wanted).abs() < 0.1, "{found} {wanted}");
        }
        assert!(y[0].abs() < 1e-12);
    }

    #[test]
    fn the_bound_lets_the_stated_share_of_unseen_members_in() {
        // 60 members in 24 dimensions: in-sample distances and the chi-square quantile would both be far too small.
        let draw = |n: usize, seed: u64| -> Vec<(usize, Vec<f64>)> {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            (0..n).map(|i| (i % FOLDS, (0..24).map(|_| StandardNormal.sample(&mut rng)).collect())).collect()
        };
        let space = fit(&BTreeMap::from([(3, draw(60, 2))]), 0.9).remove(&3).unwrap();
        let unseen = draw(2000, 3);
        let inside = unseen.iter().filter(|(_, h)| space.distance(&h.iter().map(|v| *v as f32).collect::<Vec<_>>()) <= space.bound).count();
        assert!((0.85..=0.99).contains(&(inside as f64 / 2000.0)), "{inside}");
    }

    #[test]
    fn folds_are_even_whatever_the_numbers_of_the_groups_are() {
        // Ten classes in turn, and groups that begin at every fifth row.
        for stride in [10, 5] {
            let mut groups = Groups::default();
            let found: Vec<usize> = (0..50).map(|i| groups.fold(3, 7 + i * stride)).collect();
            assert!((0..FOLDS).all(|fold| found.iter().filter(|of| **of == fold).count() == 10), "{found:?}");
            // A group stays in its fold, and each class has turns of its own.
            assert_eq!((groups.fold(3, 7 + stride), groups.fold(4, 7 + stride)), (1, 0));
        }
    }

    #[test]
    fn a_class_with_few_members_borrows_the_spread_of_the_others() {
        let all = BTreeMap::from([(0, members(500, 4)), (1, members(4, 5))]);
        let spaces = fit(&all, 0.99);
        assert!((spaces[&1].correlated(&[1.0, 0.0])[0] - 3.85f64.sqrt()).abs() < 0.15);
        assert!(spaces[&1].bound.is_finite());
        // Alone, one sample has no spread and nothing to be held against.
        let one = fit(&BTreeMap::from([(7, members(1, 6))]), 0.99).remove(&7).unwrap();
        assert_eq!((one.bound, one.reach(&[0.0, 0.0], &[9.0, 9.0])), (f64::INFINITY, 1.0));
        assert!(fit(&BTreeMap::new(), 0.99).is_empty());
    }

    proptest! {
        #[test]
        fn a_move_ends_inside_or_no_farther_than_it_began(from in prop::array::uniform2(-20f32..20.0), step in prop::array::uniform2(-20f32..20.0)) {
            let space = fit(&BTreeMap::from([(0, members(100, 7))]), 0.95).remove(&0).unwrap();
            let reach = space.reach(&from, &step);
            let at = |t: f64| [0, 1].map(|i| (f64::from(from[i]) + t * f64::from(step[i])) as f32);
            let limit = space.bound.max(space.distance(&from));
            prop_assert!((0.0..=1.0).contains(&reach));
            prop_assert!(space.distance(&at(reach)) <= limit * (1.0 + 1e-4), "{} {limit}", space.distance(&at(reach)));
            // No shorter than it need be.
            prop_assert!(reach == 1.0 || space.distance(&at((reach + 0.01).min(1.0))) >= limit * (1.0 - 1e-3));
        }
    }

    #[test]
    fn quantiles_are_counted_from_below() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
        for i in 0..100 {
            values.swap(i, rng.random_range(0..100));
        }
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&mut values, q)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(quantile(&mut [], 0.5), f64::INFINITY);
    }
}
