//! Norm balls around a medium, cut by the bounds of its values: where an attack starts, steps and is brought back, and how its
//! result is rounded so that the written file never leaves the ball. Pure; the random numbers are handed in.
//!
//! Reference: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"; Tramèr and Boneh 2019, "Adversarial Training and
//! Robustness for Multiple Perturbations" (the sparse step in L1); Croce and Hein 2021, "Mind the box" (the projection onto an L1 ball cut by bounds).

use crate::sample::Norm;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// All points within `epsilon` of a centre and inside the bounds of the medium.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ball {
    norm: Norm,
    epsilon: f64,
    low: f32,
    high: f32,
}

/// The grid that a written file rounds to.
#[derive(Debug, Clone, Copy)]
struct Grid {
    scale: f64,
    least: f64,
    greatest: f64,
}

const EIGHT_BITS: Grid = Grid { scale: 255.0, least: 0.0, greatest: 255.0 };
const SIXTEEN_BITS: Grid = Grid { scale: 32768.0, least: -32768.0, greatest: 32767.0 };

/// How far a value may be from a level that stands for it, as a share of the scale: the last bit of a number below 1.
const FLOAT_ERROR: f64 = 1.2e-7;

/// How far a point is drawn toward the centre, one after another, when rounding alone does not bring it inside: after the first only float
/// error and centres off the grid come here.
const SHRINK: [f64; 9] = [1.0, 1.0 - 1e-6, 1.0 - 1e-4, 0.99, 0.95, 0.8, 0.5, 0.25, 0.0];

impl Ball {
    /// A ball of radius `epsilon` (finite, at least 0) in `norm`, cut to values in `low..=high`.
    pub fn new(norm: Norm, epsilon: f64, low: f32, high: f32) -> Self {
        Self { norm, epsilon, low, high }
    }
    /// Around pixels in `0..=1`.
    pub fn pixels(norm: Norm, epsilon: f64) -> Self {
        Self::new(norm, epsilon, 0.0, 1.0)
    }
    /// Around a waveform in `-1..=1`.
    pub fn waveform(norm: Norm, epsilon: f64) -> Self {
        Self::new(norm, epsilon, -1.0, 1.0)
    }
    /// The norm.
    pub fn norm(&self) -> Norm {
        self.norm
    }
    /// The radius.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// A random point: uniform in the cube for `linf`, uniform in the ball (a Gaussian direction for `l2`, a Laplacian one for `l1`, at radius
    /// `epsilon u^(1/D)`), then cut by the bounds.
    pub fn random_start<R: Rng + ?Sized>(&self, centre: &[f32], rng: &mut R) -> Vec<f32> {
        let mut point: Vec<f32> = match self.norm {
            Norm::Linf => centre.iter().map(|c| (f64::from(*c) + (2.0 * rng.random::<f64>() - 1.0) * self.epsilon) as f32).collect(),
            Norm::L2 | Norm::L1 => {
                let direction: Vec<f64> = match self.norm {
                    Norm::L2 => centre.iter().map(|_| StandardNormal.sample(rng)).collect(),
                    _ => centre.iter().map(|_| laplace(rng.random())).collect(),
                };
                let length = match self.norm {
                    Norm::L2 => direction.iter().map(|d| d * d).sum::<f64>().sqrt(),
                    _ => direction.iter().map(|d| d.abs()).sum::<f64>(),
                } + 1e-12;
                let radius = self.epsilon * rng.random::<f64>().powf(1.0 / centre.len().max(1) as f64);
                centre.iter().zip(&direction).map(|(c, d)| (f64::from(*c) + radius * d / length) as f32).collect()
            }
        };
        self.project(centre, &mut point);
        point
    }

    /// One steepest ascent step of `size`, and back into the ball: the sign of the gradient for `linf` (0 stays 0), the gradient at unit
    /// length for `l2`; for `l1` equal shares to the hundredth part of the values (at least one) that have the steepest slope and are not yet at the
    /// bound it leads to. All slices have the length of the centre.
    pub fn step(&self, centre: &[f32], point: &mut [f32], gradient: &[f32], size: f64) {
        self.ascend(point, gradient, size);
        self.project(centre, point);
    }

    /// The step alone, without the way back.
    fn ascend(&self, point: &mut [f32], gradient: &[f32], size: f64) {
        match self.norm {
            Norm::Linf => {
                for (p, g) in point.iter_mut().zip(gradient) {
                    if *g != 0.0 {
                        *p += (size as f32).copysign(*g);
                    }
                }
            }
            Norm::L2 => {
                let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt() + 1e-12;
                for (p, g) in point.iter_mut().zip(gradient) {
                    *p = (f64::from(*p) + size * f64::from(*g) / length) as f32;
                }
            }
            Norm::L1 => {
                let free = |i: &usize| match (point[*i], gradient[*i]) {
                    (p, g) if g > 0.0 => p < self.high,
                    (p, g) if g < 0.0 => p > self.low,
                    _ => false,
                };
                let mut open: Vec<usize> = (0..point.len().min(gradient.len())).filter(free).collect();
                let count = point.len().div_ceil(SPARSITY).min(open.len());
                let steeper = |a: &usize, b: &usize| gradient[*b].abs().total_cmp(&gradient[*a].abs()).then(a.cmp(b));
                if count < open.len() && count > 0 {
                    open.select_nth_unstable_by(count - 1, steeper);
                }
                for &i in &open[..count] {
                    point[i] = (f64::from(point[i]) + (size / count as f64).copysign(f64::from(gradient[i]))) as f32;
                }
            }
        }
    }

    /// Into the ball, then into the bounds; for `l1` both at once, to the nearest point of the two together. With a centre inside the bounds the
    /// second cannot leave the ball again.
    pub fn project(&self, centre: &[f32], point: &mut [f32]) {
        match self.norm {
            Norm::Linf => {
                let epsilon = self.epsilon as f32;
                for (p, c) in point.iter_mut().zip(centre) {
                    *p = p.max(c - epsilon).min(c + epsilon).max(self.low).min(self.high);
                }
            }
            Norm::L2 => {
                let length = distance(Norm::L2, centre, point);
                let scale = if length > self.epsilon { self.epsilon / length } else { 1.0 };
                for (p, c) in point.iter_mut().zip(centre) {
                    if scale < 1.0 {
                        *p = (f64::from(*c) + (f64::from(*p) - f64::from(*c)) * scale) as f32;
                    }
                    *p = p.max(self.low).min(self.high);
                }
            }
            Norm::L1 => {
                let threshold = self.threshold(centre, point);
                for (p, c) in point.iter_mut().zip(centre) {
                    if threshold > 0.0 {
                        let d = f64::from(*p) - f64::from(*c);
                        *p = (f64::from(*c) + (d.abs() - threshold).max(0.0).copysign(d)) as f32;
                    }
                    *p = p.max(self.low).min(self.high);
                }
            }
        }
    }

    /// The least `t >= 0` with `sum_i min(max(|d_i| - t, 0), room_i) <= epsilon`, where `room_i` is the way from the centre to the bound that `d_i` leads to:
    /// the nearest point of ball and bounds is every `|d_i|` less `t`, cut by its room (Croce and Hein 2021, proposition 2.1).
    fn threshold(&self, centre: &[f32], point: &[f32]) -> f64 {
        let of = |(c, p): (&f32, &f32)| {
            let d = f64::from(*p) - f64::from(*c);
            let bound = if d > 0.0 { f64::from(self.high) - f64::from(*c) } else { f64::from(*c) - f64::from(self.low) };
            (d.abs(), bound.max(0.0))
        };
        let mut excess = centre.iter().zip(point).map(of).map(|(d, room)| d.min(room)).sum::<f64>() - self.epsilon;
        if excess <= 0.0 {
            return 0.0;
        }
        // As t grows, a value begins to shrink where t passes |d| - room, and ends at |d|: between two such places the sum falls in a straight line.
        let mut falling = 0i64;
        let mut turns: Vec<(f64, i64)> = Vec::with_capacity(2 * centre.len());
        for (d, room) in centre.iter().zip(point).map(of).filter(|(d, room)| *d > 0.0 && *room > 0.0) {
            match d > room {
                true => turns.push((d - room, 1)),
                false => falling += 1,
            }
            turns.push((d, -1));
        }
        turns.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut at = 0.0;
        for (place, change) in turns {
            let fall = falling as f64 * (place - at);
            if fall >= excess {
                return at + excess / falling as f64;
            }
            excess -= fall;
            (at, falling) = (place, falling + change);
        }
        at
    }

    /// Rounds a point to 8 bits: the result is inside the ball, measured by [`pixel_distance`], and no farther from the parent than the point. In `linf` every value is rounded toward its
    /// parent's; in `l2` and `l1`, where that would lose much of a small perturbation of many values, those are rounded away from it that lie nearest to the level there, as many as the
    /// distance of the point allows. `magnitude` in `0..=1` first draws the point toward the parent.
    pub fn quantise_pixels(&self, parent: &[u8], point: &[f32], magnitude: f64) -> Vec<u8> {
        let pairs: Vec<(f64, f64)> = parent.iter().zip(point).map(|(c, p)| (f64::from(*c) / 255.0, f64::from(*p))).collect();
        let written = |levels: &[f64]| -> Vec<u8> { levels.iter().map(|level| *level as u8).collect() };
        let inside = |levels: &Vec<u8>| pixel_distance(self.norm, parent, levels) <= self.epsilon;
        self.rounded(EIGHT_BITS, &pairs, magnitude, written, inside).unwrap_or_else(|| parent.to_vec())
    }

    /// Rounds a point to 16 bits (multiples of 1/32768) by the same rule: the result is inside the ball, measured by [`distance`]. `None` if no point of the grid lies inside, which
    /// takes a parent of more than 16 bits or out of the bounds.
    pub fn quantise_waveform(&self, parent: &[f32], point: &[f32], magnitude: f64) -> Option<Vec<f32>> {
        let pairs: Vec<(f64, f64)> = parent.iter().zip(point).map(|(c, p)| (f64::from(*c), f64::from(*p))).collect();
        let written = |levels: &[f64]| -> Vec<f32> { levels.iter().map(|level| (level / SIXTEEN_BITS.scale) as f32).collect() };
        self.rounded(SIXTEEN_BITS, &pairs, magnitude, written, |levels| distance(self.norm, parent, levels) <= self.epsilon)
    }

    /// Of centres and values the first rounding toward the centres that is inside: with values a float error below a level counted as on it, without, and drawn ever nearer to the centres.
    /// Then what of it may be rounded away from them.
    fn rounded<T>(
        &self,
        grid: Grid,
        pairs: &[(f64, f64)],
        magnitude: f64,
        written: impl Fn(&[f64]) -> T,
        inside: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let mut tries = SHRINK.iter().flat_map(|shrink| [(shrink * magnitude, true), (shrink * magnitude, false)]);
        let (shrink, levels, found) = tries.find_map(|(shrink, snap)| {
            let levels: Vec<f64> = pairs.iter().map(|(c, p)| grid.toward(*c, *p, shrink, snap)).collect();
            let found = written(&levels);
            inside(&found).then_some((shrink, levels, found))
        })?;
        let away = if self.norm == Norm::Linf { Vec::new() } else { self.away(grid, pairs, shrink, &levels) };
        let farther = |count: usize| {
            let mut levels = levels.clone();
            away[..count].iter().for_each(|(at, level)| levels[*at] = *level);
            Some(written(&levels)).filter(|found| inside(found))
        };
        // Every further value makes the distance larger, so that the last count inside is found by halving; as a rule it is all of them.
        let (mut good, mut bad, mut best) = (0, away.len() + 1, found);
        let mut next = away.len();
        while good + 1 < bad {
            match farther(next) {
                Some(found) => (good, best) = (next, found),
                None => bad = next,
            }
            next = (good + bad) / 2;
        }
        Some(best)
    }

    /// The values that are rounded away from the centre, with their levels there: those nearest to them first, as long as the whole is no farther than the point that is rounded.
    fn away(&self, grid: Grid, pairs: &[(f64, f64)], shrink: f64, near: &[f64]) -> Vec<(usize, f64)> {
        let size = |d: f64| if self.norm == Norm::L1 { d.abs() } else { d * d };
        let (mut used, mut whole) = (0.0, 0.0);
        let mut open: Vec<(u32, u64, usize, f64, f64)> = Vec::new();
        for (at, ((centre, value), near)) in pairs.iter().zip(near).enumerate() {
            let (from, to) = grid.way(*centre, *value, shrink);
            let far = (if to >= from { to.ceil() } else { to.floor() }).clamp(grid.least, grid.greatest);
            (used, whole) = (used + size(near - from), whole + size(to - from));
            let cost = size(far - from) - size(near - from);
            // What is on a level but for a float error stays there.
            if cost > 0.0 && (to - near).abs() > FLOAT_ERROR * grid.scale && (to - from).abs() > FLOAT_ERROR * grid.scale {
                // Among equals the order is spread over the medium, not from its beginning.
                let spread = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                open.push(((1024.0 * (far - to).abs()).round() as u32, spread, at, far, cost));
            }
        }
        let limit = whole.min(size(self.epsilon * grid.scale));
        open.sort_unstable_by_key(|place| (place.0, place.1));
        let fits = |(_, _, at, far, cost): (u32, u64, usize, f64, f64)| {
            let fits = used + cost <= limit;
            used += if fits { cost } else { 0.0 };
            fits.then_some((at, far))
        };
        open.into_iter().filter_map(fits).collect()
    }
}

impl Grid {
    /// The centre and `centre + shrink * (value - centre)`, in levels.
    fn way(self, centre: f64, value: f64, shrink: f64) -> (f64, f64) {
        let from = centre * self.scale;
        // A centre that stands on a level does so exactly, whatever the division did.
        let from = if (from - from.round()).abs() < 1e-9 * self.scale { from.round() } else { from };
        (from, from + shrink * (value * self.scale - from))
    }

    /// The level of `centre + shrink * (value - centre)`, rounded toward the centre; where no level lies between the two, the level nearest to
    /// the centre.
    fn toward(self, centre: f64, value: f64, shrink: f64, snap: bool) -> f64 {
        let (from, mut to) = self.way(centre, value, shrink);
        if snap && (to - to.round()).abs() < FLOAT_ERROR * self.scale {
            to = to.round();
        }
        let level = if to >= from { to.floor() } else { to.ceil() };
        let passed = if to >= from { level < from } else { level > from };
        (if passed { from.round() } else { level }).clamp(self.least, self.greatest)
    }
}

/// An L1 step moves one value of so many: the least share of Tramèr and Boneh 2019.
const SPARSITY: usize = 100;

/// A number of the Laplace distribution at the quantile `u` in `0..1`.
fn laplace(u: f64) -> f64 {
    let centred = u - 0.5;
    let size = -(1.0 - 2.0 * centred.abs()).max(f64::MIN_POSITIVE).ln();
    size.copysign(centred)
}

/// Distance of two media of equal length: the largest absolute difference, the Euclidean one, or the sum of the absolute ones.
pub fn distance(norm: Norm, a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    match norm {
        Norm::Linf => differences.fold(0.0, |most, d| most.max(d.abs())),
        Norm::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
        Norm::L1 => differences.map(f64::abs).sum(),
    }
}

/// Distance of two 8-bit images of equal length, in units of `0..=1`; exact, since levels are whole numbers.
pub fn pixel_distance(norm: Norm, a: &[u8], b: &[u8]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)));
    match norm {
        Norm::Linf => differences.max().unwrap_or(0) as f64 / 255.0,
        Norm::L2 => (differences.map(|d| d * d).sum::<u64>() as f64).sqrt() / 255.0,
        Norm::L1 => differences.sum::<u64>() as f64 / 255.0,
    }
}

/// Length of a medium in a norm: its peak, its Euclidean length, or the sum of its absolute values.
pub fn length(norm: Norm, values: &[f32]) -> f64 {
    match norm {
        Norm::Linf => values.iter().fold(0.0, |most, v| most.max(f64::from(v.abs()))),
        Norm::L2 => values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt(),
        Norm::L1 => values.iter().map(|v| f64::from(v.abs())).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    fn norms() -> impl Strategy<Value = Norm> {
        prop_oneof![Just(Norm::Linf), Just(Norm::L2), Just(Norm::L1)]
    }

    #[test]
    fn steps_follow_worked_values() {
        let centre = [0.5, 0.5, 0.5];
        let mut point = centre;
        Ball::pixels(Norm::Linf, 0.1).step(&centre, &mut point, &[3.0, -0.01, 0.0], 0.25);
        assert!(distance(Norm::Linf, &point, &[0.6, 0.4, 0.5]) < 1e-7);
        let mut point = [0.5, 0.5];
        Ball::pixels(Norm::L2, 1.0).step(&[0.5, 0.5], &mut point, &[3.0, 4.0], 0.1);
        assert!(distance(Norm::Linf, &point, &[0.56, 0.58]) < 1e-6);
        Ball::pixels(Norm::L2, 0.05).project(&[0.5, 0.5], &mut point);
        assert!(distance(Norm::Linf, &point, &[0.53, 0.54]) < 1e-6);
        let mut edge = [0.95];
        Ball::pixels(Norm::Linf, 0.1).step(&[0.95], &mut edge, &[1.0], 0.1);
        assert_eq!(edge, [1.0]);
    }

    #[test]
    fn l1_steps_are_sparse_and_end_at_the_nearest_point() {
        let ball = Ball::pixels(Norm::L1, 0.3);
        let mut point = [0.9, 0.6];
        ball.project(&[0.5, 0.5], &mut point);
        assert!(distance(Norm::Linf, &point, &[0.8, 0.5]) < 1e-6, "{point:?}");
        let (centre, mut point) = ([0.95, 0.5], [1.45, 0.9]);
        ball.project(&centre, &mut point);
        assert!(distance(Norm::Linf, &point, &[1.0, 0.75]) < 1e-6, "{point:?}");
        // The steepest value is at its bound: the next one moves.
        let mut point = [1.0, 0.5, 0.5];
        ball.step(&[0.95, 0.5, 0.5], &mut point, &[9.0, -2.0, 1.0], 0.2);
        assert!(distance(Norm::Linf, &point, &[1.0, 0.3, 0.5]) < 1e-6, "{point:?}");
        // Two of 150 values share a step.
        let (centre, gradient): (Vec<f32>, Vec<f32>) = (0..150).map(|i| (0.5, i as f32 * 0.1)).unzip();
        let mut point = centre.clone();
        ball.step(&centre, &mut point, &gradient, 0.2);
        let moved: Vec<usize> = (0..150).filter(|&i| (point[i] - 0.6).abs() < 1e-6).collect();
        assert_eq!((moved, point.iter().filter(|p| **p == 0.5).count()), (vec![148, 149], 148));
        let mut still = [0.5];
        ball.step(&[0.5], &mut still, &[0.0], 0.2);
        assert_eq!(still, [0.5]);
    }

    #[test]
    fn a_full_step_keeps_all_its_levels() {
        let parent = [100u8, 3, 250];
        let centre: Vec<f32> = parent.iter().map(|p| f32::from(*p) / 255.0).collect();
        let ball = Ball::pixels(Norm::Linf, 8.0 / 255.0);
        let mut point = centre.clone();
        ball.step(&centre, &mut point, &[1.0, -1.0, 1.0], 1.0);
        assert_eq!(ball.quantise_pixels(&parent, &point, 1.0), [108, 0, 255]);
        assert_eq!(ball.quantise_pixels(&parent, &point, 0.49), [103, 2, 252]);
        assert_eq!(ball.quantise_pixels(&parent, &point, 0.0), parent);
    }

    #[test]
    fn a_large_picture_keeps_its_radius() {
        // 224 x 224 in three colours: less than a level and a half a value, of which rounding toward the parent would leave half.
        let count = 224 * 224 * 3;
        let draw = |i: usize, by: f64| (i as f64 * by + 0.3).sin() * (i as f64 * 0.711 * by).cos();
        let parent: Vec<u8> = (0..count).map(|i| (128.0 + 90.0 * draw(i, 0.37)) as u8).collect();
        let centre: Vec<f32> = parent.iter().map(|p| f32::from(*p) / 255.0).collect();
        for (norm, epsilon) in [(Norm::L2, 2.0), (Norm::L2, 0.3), (Norm::L1, 200.0)] {
            let ball = Ball::pixels(norm, epsilon);
            let mut point: Vec<f32> = centre.iter().enumerate().map(|(i, c)| c + draw(i, 1.93) as f32).collect();
            ball.project(&centre, &mut point);
            for magnitude in [1.0, 0.5] {
                let left = pixel_distance(norm, &parent, &ball.quantise_pixels(&parent, &point, magnitude)) / epsilon;
                assert!((0.999 * magnitude..=magnitude + 1e-5).contains(&left) && left <= 1.0, "{norm:?} {epsilon} {magnitude}: {left}");
            }
        }
        // Equal shares of a step: what is rounded away is found all over the picture.
        let point: Vec<f32> = centre.iter().map(|c| c + 0.25 / 255.0).collect();
        let ball = Ball::pixels(Norm::L1, 0.25 / 255.0 * count as f64);
        let written = ball.quantise_pixels(&parent, &point, 1.0);
        let moved = |half: &[u8], own: &[u8]| half.iter().zip(own).filter(|(a, b)| a != b).count() as f64 / half.len() as f64;
        let halves = [moved(&written[..count / 2], &parent[..count / 2]), moved(&written[count / 2..], &parent[count / 2..])];
        assert!(halves.iter().all(|share| (share - 0.25).abs() < 0.01), "{halves:?}");
    }

    #[test]
    fn a_parent_off_the_grid_is_met_or_refused() {
        let level = 1.0 / 32768.0;
        let parent = [0.3 * level as f32];
        assert_eq!(Ball::waveform(Norm::Linf, level).quantise_waveform(&parent, &[0.9 * level as f32], 1.0), Some(vec![0.0]));
        assert_eq!(Ball::waveform(Norm::Linf, 0.2 * level).quantise_waveform(&parent, &parent, 1.0), None);
        assert_eq!(Ball::waveform(Norm::Linf, 0.1).quantise_waveform(&[1.5], &[1.4], 1.0), None);
    }

    proptest! {
        #[test]
        fn projection_is_idempotent_and_stays(norm in norms(), epsilon in 0.0..0.5f64,
                values in prop::collection::vec((0.0..=1f32, -1.0..2f32), 1..40)) {
            let (centre, mut point): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let ball = Ball::pixels(norm, epsilon);
            ball.project(&centre, &mut point);
            prop_assert!(distance(norm, &centre, &point) <= epsilon + 5e-6);
            prop_assert!(point.iter().all(|p| (0.0..=1.0).contains(p)));
            let once = point.clone();
            ball.project(&centre, &mut point);
            prop_assert!(distance(Norm::Linf, &once, &point) <= 1e-6);
        }

        #[test]
        fn projection_does_not_expand(norm in norms(), epsilon in 0.0..0.5f64,
                values in prop::collection::vec((0.0..=1f32, -1.0..2f32, -1.0..2f32), 1..40)) {
            let centre: Vec<f32> = values.iter().map(|v| v.0).collect();
            let (mut a, mut b): (Vec<f32>, Vec<f32>) = values.iter().map(|v| (v.1, v.2)).unzip();
            // The nearest point of a convex set does not expand in the Euclidean norm.
            let measured = if norm == Norm::L1 { Norm::L2 } else { norm };
            let before = distance(measured, &a, &b);
            let ball = Ball::pixels(norm, epsilon);
            ball.project(&centre, &mut a);
            ball.project(&centre, &mut b);
            prop_assert!(distance(measured, &a, &b) <= before + 1e-5);
        }

        #[test]
        fn the_nearest_point_of_an_l1_ball_and_its_bounds_is_found(epsilon in 0.0..2.0f64,
                values in prop::collection::vec((0.0..=1f32, -1.0..2f32), 1..40)) {
            let (centre, mut point): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let from = point.clone();
            Ball::pixels(Norm::L1, epsilon).project(&centre, &mut point);
            // By bisection of the one multiplier of the quadratic program.
            let at = |t: f64| -> Vec<f64> {
                let cut = |(c, p): (&f32, &f32)| {
                    let (c, d) = (f64::from(*c), f64::from(*p) - f64::from(*c));
                    (c + (d.abs() - t).max(0.0).copysign(d)).clamp(0.0, 1.0) - c
                };
                centre.iter().zip(&from).map(cut).collect()
            };
            let size = |t: f64| at(t).iter().map(|d| d.abs()).sum::<f64>();
            let (mut low, mut high) = (0.0, if size(0.0) <= epsilon { 0.0 } else { 3.0 });
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if size(middle) > epsilon { low = middle } else { high = middle }
            }
            for ((p, c), d) in point.iter().zip(&centre).zip(at(high)) {
                prop_assert!((f64::from(*p) - f64::from(*c) - d).abs() < 1e-6, "{p} {c} {d}");
            }
        }

        #[test]
        fn a_random_start_is_inside(norm in norms(), epsilon in 0.0..0.5f64, seed: u64, centre in prop::collection::vec(-1.0..=1f32, 1..40)) {
            let ball = Ball::waveform(norm, epsilon);
            let start = ball.random_start(&centre, &mut SeedTree::new(seed).rng());
            prop_assert_eq!(&start, &ball.random_start(&centre, &mut SeedTree::new(seed).rng()));
            prop_assert!(distance(norm, &centre, &start) <= epsilon + 5e-6);
            prop_assert!(start.iter().all(|p| (-1.0..=1.0).contains(p)));
        }

        #[test]
        fn rounding_never_leaves_the_ball(norm in norms(), epsilon in 0.0..0.3f64, magnitude in 0.0..=1f64,
                values in prop::collection::vec((0u8..=255, -1.0..2f32), 1..40)) {
            let ball = Ball::pixels(norm, epsilon);
            let parent: Vec<u8> = values.iter().map(|v| v.0).collect();
            let centre: Vec<f32> = parent.iter().map(|p| f32::from(*p) / 255.0).collect();
            let mut point: Vec<f32> = values.iter().map(|v| v.1).collect();
            ball.project(&centre, &mut point);
            let written = ball.quantise_pixels(&parent, &point, magnitude);
            let length = pixel_distance(norm, &parent, &written);
            prop_assert!(length <= epsilon && (norm == Norm::Linf || length <= magnitude * distance(norm, &centre, &point) + 1e-5));
            for ((p, w), c) in point.iter().zip(&written).zip(&centre) {
                let d = (p - c) * magnitude as f32 * 255.0;
                let moved = f32::from(*w) - c * 255.0;
                prop_assert!((d - moved).abs() < 1.02 && moved * d >= -1e-3, "{d} became {moved}");
            }
        }

        #[test]
        fn sixteen_bits_never_leave_the_ball(norm in norms(), epsilon in 0.0..0.01f64,
                values in prop::collection::vec((i16::MIN..=i16::MAX, -0.01..0.01f32), 1..40)) {
            let ball = Ball::waveform(norm, epsilon);
            let parent: Vec<f32> = values.iter().map(|v| f32::from(v.0) / 32768.0).collect();
            let mut point: Vec<f32> = values.iter().zip(&parent).map(|(v, c)| c + v.1).collect();
            ball.project(&parent, &mut point);
            let written = ball.quantise_waveform(&parent, &point, 1.0);
            let written = written.ok_or_else(|| TestCaseError::fail("a parent on the grid is never refused"))?;
            prop_assert!(distance(norm, &parent, &written) <= epsilon);
            prop_assert!(written.iter().all(|w| (w * 32768.0).fract() == 0.0));
        }
    }
}
