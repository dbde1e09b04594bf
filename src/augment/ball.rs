//! Norm balls around a medium, cut by the bounds of its values: where an attack starts, steps and is brought back, and how its
//! result is rounded so that the written file never leaves the ball. Pure; the random numbers are handed in.
//!
//! Reference: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks".

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

    /// A random point: uniform in the cube for `linf`, uniform in the ball (Gaussian direction, radius `epsilon u^(1/D)`) for `l2`, then cut by
    /// the bounds.
    pub fn random_start<R: Rng + ?Sized>(&self, centre: &[f32], rng: &mut R) -> Vec<f32> {
        let mut point: Vec<f32> = match self.norm {
            Norm::Linf => centre.iter().map(|c| (f64::from(*c) + (2.0 * rng.random::<f64>() - 1.0) * self.epsilon) as f32).collect(),
            Norm::L2 => {
                let direction: Vec<f64> = centre.iter().map(|_| StandardNormal.sample(rng)).collect();
                let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt() + 1e-12;
                let radius = self.epsilon * rng.random::<f64>().powf(1.0 / centre.len().max(1) as f64);
                centre.iter().zip(&direction).map(|(c, d)| (f64::from(*c) + radius * d / length) as f32).collect()
            }
        };
        self.project(centre, &mut point);
        point
    }

    /// One steepest ascent step of `size`, and back into the ball: the sign of the gradient for `linf` (0 stays 0), the gradient at unit
    /// length for `l2`. All slices have the length of the centre.
    pub fn step(&self, centre: &[f32], point: &mut [f32], gradient: &[f32], size: f64) {
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
        }
        self.project(centre, point);
    }

    /// Into the ball, then into the bounds. With a centre inside the bounds the second cannot leave the ball again.
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
        }
    }

    /// Rounds a point to 8 bits, every value toward its parent's: the result is inside the ball, measured by [`pixel_distance`]. `magnitude` in
    /// `0..=1` first draws the point toward the parent.
    pub fn quantise_pixels(&self, parent: &[u8], point: &[f32], magnitude: f64) -> Vec<u8> {
        let levels = |shrink: f64, snap: bool| -> Vec<u8> {
            let pairs = parent.iter().zip(point);
            pairs.map(|(c, p)| EIGHT_BITS.toward(f64::from(*c) / 255.0, f64::from(*p), shrink, snap) as u8).collect()
        };
        rounded(magnitude, levels, |levels| pixel_distance(self.norm, parent, levels) <= self.epsilon).unwrap_or_else(|| parent.to_vec())
    }

    /// Rounds a point to 16 bits (multiples of 1/32768), every value toward its parent's: the result is inside the ball, measured by
    /// [`distance`]. `magnitude` in `0..=1` first draws the point toward the parent. `None` if no point of the grid lies inside, which takes a
    /// parent of more than 16 bits or out of the bounds.
    pub fn quantise_waveform(&self, parent: &[f32], point: &[f32], magnitude: f64) -> Option<Vec<f32>> {
        let levels = |shrink: f64, snap: bool| -> Vec<f32> {
            let pairs = parent.iter().zip(point);
            pairs.map(|(c, p)| (SIXTEEN_BITS.toward(f64::from(*c), f64::from(*p), shrink, snap) / SIXTEEN_BITS.scale) as f32).collect()
        };
        rounded(magnitude, levels, |levels| distance(self.norm, parent, levels) <= self.epsilon)
    }
}

/// The first rounding that is inside: with values a float error below a level counted as on it, without, and drawn ever nearer to the parent.
fn rounded<T>(magnitude: f64, levels: impl Fn(f64, bool) -> T, inside: impl Fn(&T) -> bool) -> Option<T> {
    SHRINK.iter().flat_map(|shrink| [(*shrink, true), (*shrink, false)]).find_map(|(shrink, snap)| {
        let found = levels(shrink * magnitude, snap);
        inside(&found).then_some(found)
    })
}

impl Grid {
    /// The level of `centre + shrink * (value - centre)`, rounded toward the centre; where no level lies between the two, the level nearest to
    /// the centre.
    fn toward(self, centre: f64, value: f64, shrink: f64, snap: bool) -> f64 {
        let from = centre * self.scale;
        // A centre that stands on a level does so exactly, whatever the division did.
        let from = if (from - from.round()).abs() < 1e-9 * self.scale { from.round() } else { from };
        let mut to = from + shrink * (value * self.scale - from);
        if snap && (to - to.round()).abs() < 1.2e-7 * self.scale {
            to = to.round();
        }
        let level = if to >= from { to.floor() } else { to.ceil() };
        let passed = if to >= from { level < from } else { level > from };
        (if passed { from.round() } else { level }).clamp(self.least, self.greatest)
    }
}

/// Distance of two media of equal length: the largest absolute difference, or the Euclidean one.
pub fn distance(norm: Norm, a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    match norm {
        Norm::Linf => differences.fold(0.0, |most, d| most.max(d.abs())),
        Norm::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
    }
}

/// Distance of two 8-bit images of equal length, in units of `0..=1`; exact, since levels are whole numbers.
pub fn pixel_distance(norm: Norm, a: &[u8], b: &[u8]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)));
    match norm {
        Norm::Linf => differences.max().unwrap_or(0) as f64 / 255.0,
        Norm::L2 => (differences.map(|d| d * d).sum::<u64>() as f64).sqrt() / 255.0,
    }
}

/// Length of a medium in a norm: its peak, or its Euclidean length.
pub fn length(norm: Norm, values: &[f32]) -> f64 {
    match norm {
        Norm::Linf => values.iter().fold(0.0, |most, v| most.max(f64::from(v.abs()))),
        Norm::L2 => values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    fn norms() -> impl Strategy<Value = Norm> {
        prop_oneof![Just(Norm::Linf), Just(Norm::L2)]
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
            prop_assert!(distance(norm, &centre, &point) <= epsilon + 1e-6);
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
            let before = distance(norm, &a, &b);
            let ball = Ball::pixels(norm, epsilon);
            ball.project(&centre, &mut a);
            ball.project(&centre, &mut b);
            prop_assert!(distance(norm, &a, &b) <= before + 1e-5);
        }

        #[test]
        fn a_random_start_is_inside(norm in norms(), epsilon in 0.0..0.5f64, seed: u64, centre in prop::collection::vec(-1.0..=1f32, 1..40)) {
            let ball = Ball::waveform(norm, epsilon);
            let start = ball.random_start(&centre, &mut SeedTree::new(seed).rng());
            prop_assert_eq!(&start, &ball.random_start(&centre, &mut SeedTree::new(seed).rng()));
            prop_assert!(distance(norm, &centre, &start) <= epsilon + 1e-6);
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
            prop_assert!(pixel_distance(norm, &parent, &written) <= epsilon);
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
