//! Square-shaped random changes inside a norm ball: what a search that sees no gradient proposes. Pure; the random numbers are handed in.
//!
//! Reference: Andriushchenko, Croce, Flammarion and Hein 2020, "Square Attack: a query-efficient black-box adversarial attack via random search",
//! sections 3.2 to 3.4 and the schedule of its appendix.

use super::ball::Ball;
use crate::sample::Norm;
use rand::{Rng, RngExt};

/// The layout of a medium: rows from the top, channels interleaved. A waveform is one row of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// Rows, at least 1.
    pub rows: usize,
    /// Columns, at least 1.
    pub columns: usize,
    /// Interleaved channels, at least 1.
    pub channels: usize,
}

/// A rectangle of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl Window {
    /// What both cover; no places where they are apart.
    fn and(self, other: Self) -> Self {
        let (row, column) = (self.row.max(other.row), self.column.max(other.column));
        let rows = (self.row + self.rows).min(other.row + other.rows).saturating_sub(row);
        Self { row, column, rows, columns: (self.column + self.columns).min(other.column + other.columns).saturating_sub(column) }
    }
}

/// Redraws of a square that would change nothing.
const REDRAWS: usize = 10;

/// Which share of the values is changed by proposal `step` of `steps` (both from 0), beginning with `first`: halved at fixed parts of the way.
pub fn share(first: f64, step: usize, steps: usize) -> f64 {
    let part = (step as f64 / steps.max(1) as f64 * 10_000.0) as usize;
    let halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].iter().filter(|mark| part > **mark).count();
    first / f64::from(1u32 << halvings)
}

impl Plane {
    fn at(&self, row: usize, column: usize) -> usize {
        (row * self.columns + column) * self.channels
    }
    /// How many values.
    fn len(&self) -> usize {
        self.rows * self.columns * self.channels
    }
    /// A square with `share` of the places, or, where the plane is lower than that, a rectangle as long as it takes.
    fn window<R: Rng + ?Sized>(&self, share: f64, rng: &mut R) -> Window {
        let area = (share * (self.rows * self.columns) as f64).max(1.0);
        let rows = (area.sqrt().round() as usize).clamp(1, self.rows);
        let columns = if rows < self.rows { rows } else { (area / rows as f64).round() as usize }.clamp(1, self.columns);
        let from = |room: usize, rng: &mut R| rng.random_range(0..=room);
        Window { row: from(self.rows - rows, rng), column: from(self.columns - columns, rng), rows, columns }
    }
    fn places(self, window: Window) -> impl Iterator<Item = usize> {
        (window.row..window.row + window.rows)
            .flat_map(move |row| (window.column..window.column + window.columns).map(move |column| self.at(row, column)))
    }
}

fn sign<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    if rng.random_bool(0.5) { 1.0 } else { -1.0 }
}

/// Where the search begins: stripes of `+-epsilon` down the columns for `linf`; a grid of squares of bumps at full radius otherwise. `None` if
/// `centre` has not the size of the plane.
pub fn start<R: Rng + ?Sized>(ball: &Ball, plane: Plane, centre: &[f32], rng: &mut R) -> Option<Vec<f32>> {
    if centre.len() != plane.len() || centre.is_empty() {
        return None;
    }
    let mut change = vec![0.0f64; centre.len()];
    if ball.norm() == Norm::Linf {
        let signs: Vec<f64> = (0..plane.columns * plane.channels).map(|_| sign(rng)).collect();
        for (d, at) in change.iter_mut().zip(0..) {
            *d = ball.epsilon() * signs[at % signs.len()];
        }
    } else {
        let side = (plane.rows.min(plane.columns) / 5).max(1);
        let long = if plane.rows == 1 { (plane.columns / 5).max(1) } else { side };
        for row in (0..=plane.rows - side).step_by(side) {
            for column in (0..=plane.columns - long).step_by(long) {
                let window = Window { row, column, rows: side, columns: long };
                let shape = bump(side, long, rng);
                for channel in 0..plane.channels {
                    let sign = sign(rng);
                    for (at, height) in plane.places(window).zip(&shape) {
                        change[at + channel] = sign * height;
                    }
                }
            }
        }
    }
    Some(moved(ball, centre, &change))
}

/// One proposal from `best`: for `linf` a square where every channel is at `+epsilon` or at `-epsilon`; otherwise a square whose change is made
/// greater at the cost of another's, at full radius. The same point where `best` or `centre` have not the size of the plane.
pub fn propose<R: Rng + ?Sized>(ball: &Ball, plane: Plane, centre: &[f32], best: &[f32], share: f64, rng: &mut R) -> Vec<f32> {
    if centre.len() != plane.len() || best.len() != plane.len() || centre.is_empty() {
        return best.to_vec();
    }
    if ball.norm() != Norm::Linf {
        return propose_in_l2(ball, plane, centre, best, share, rng);
    }
    let window = plane.window(share, rng);
    let mut point = best.to_vec();
    for _ in 0..REDRAWS {
        for channel in 0..plane.channels {
            let change = (sign(rng) * ball.epsilon()) as f32;
            for at in plane.places(window) {
                point[at + channel] = centre[at + channel] + change;
            }
        }
        ball.project(centre, &mut point);
        if plane.places(window).any(|at| (0..plane.channels).any(|c| (point[at + c] - best[at + c]).abs() > 1e-7)) {
            break;
        }
    }
    point
}

fn propose_in_l2<R: Rng + ?Sized>(ball: &Ball, plane: Plane, centre: &[f32], best: &[f32], share: f64, rng: &mut R) -> Vec<f32> {
    let mut change: Vec<f64> = best.iter().zip(centre).map(|(b, c)| f64::from(*b) - f64::from(*c)).collect();
    let one = plane.window(share, rng);
    let other =
        Window { row: rng.random_range(0..=plane.rows - one.rows), column: rng.random_range(0..=plane.columns - one.columns), ..one };
    let unused = (ball.epsilon().powi(2) - change.iter().map(|d| d * d).sum::<f64>()).max(0.0);
    let shape = bump(one.rows, one.columns, rng);
    for channel in 0..plane.channels {
        let squared = |window: Window| plane.places(window).map(|at| change[at + channel].powi(2)).sum::<f64>();
        let (own, both) = (squared(one), squared(one) + squared(other) - squared(one.and(other)));
        let sign = sign(rng);
        let fresh: Vec<f64> =
            plane.places(one).zip(&shape).map(|(at, height)| sign * height + change[at + channel] / (1e-10 + own.sqrt())).collect();
        let length = fresh.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-10);
        // What the two windows held, and an equal part of what the whole did not use.
        let wanted = (both + unused / plane.channels as f64).sqrt();
        for at in plane.places(other) {
            change[at + channel] = 0.0;
        }
        for (at, d) in plane.places(one).zip(fresh) {
            change[at + channel] = d / length * wanted;
        }
    }
    moved(ball, centre, &change)
}

/// `centre` moved by `change`, at full radius where the norm is a length, then cut by ball and bounds.
fn moved(ball: &Ball, centre: &[f32], change: &[f64]) -> Vec<f32> {
    let scale = match ball.norm() {
        Norm::Linf => 1.0,
        Norm::L2 => ball.epsilon() / change.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-10),
        Norm::L1 => ball.epsilon() / change.iter().map(|d| d.abs()).sum::<f64>().max(1e-10),
    };
    let mut point: Vec<f32> = centre.iter().zip(change).map(|(c, d)| (f64::from(*c) + scale * d) as f32).collect();
    ball.project(centre, &mut point);
    point
}

/// A rectangle of length 1 whose two halves rise and fall in steps towards their centres, across or along; row by row.
fn bump<R: Rng + ?Sized>(rows: usize, columns: usize, rng: &mut R) -> Vec<f64> {
    let mut values = vec![0.0; rows * columns];
    let across = if rows == 1 || columns == 1 { rows == 1 } else { rng.random_bool(0.5) };
    let (length, width) = if across { (columns, rows) } else { (rows, columns) };
    for (from, to, sign) in [(0, length / 2, 1.0), (length / 2, length, -1.0)] {
        let centre = |size: usize| (size as f64 - 1.0) / 2.0;
        for i in from..to {
            for j in 0..width {
                // In ring r from the outside of the pyramid every smaller ring adds 1 / r^2.
                let away = (i as f64 - from as f64 - centre(to - from)).abs().max((j as f64 - centre(width)).abs());
                let rings = ((to - from).max(width) as f64 / 2.0).ceil() as usize;
                let height: f64 = (0..rings).filter(|r| away <= *r as f64 + 0.5).map(|r| 1.0 / ((r + 1) * (r + 1)) as f64).sum();
                let at = if across { j * columns + i } else { i * columns + j };
                values[at] = sign * height;
            }
        }
    }
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-10);
    values.iter_mut().for_each(|v| *v /= length);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{augment::ball, random::SeedTree};
    use proptest::prelude::*;

    #[test]
    fn the_share_is_halved_on_the_way() {
        let at = |step| share(0.8, step, 1000);
        assert_eq!((at(0), at(1), at(2), at(100), at(500), at(999)), (0.8, 0.8, 0.4, 0.05, 0.8 / 128.0, 0.8 / 512.0));
    }

    #[test]
    fn a_square_is_changed_and_nothing_else() {
        let (ball, plane) = (Ball::pixels(Norm::Linf, 0.1), Plane { rows: 10, columns: 10, channels: 3 });
        let centre = vec![0.5; 300];
        let point = propose(&ball, plane, &centre, &centre, 0.09, &mut SeedTree::new(1).rng());
        let changed: Vec<usize> = (0..100).filter(|i| point[3 * i] != 0.5).collect();
        assert_eq!(changed.len(), 9);
        assert_eq!(changed.iter().map(|i| i / 10).max().unwrap() - changed[0] / 10, 2);
        assert!(point.iter().all(|p| *p == 0.5 || (p - 0.5).abs() > 0.0999));
    }

    #[test]
    fn halves_of_a_bump_are_opposite() {
        let shape = bump(4, 4, &mut SeedTree::new(1).rng());
        assert!(shape.iter().sum::<f64>().abs() < 1e-12 && (shape.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
        let line = bump(1, 6, &mut SeedTree::new(1).rng());
        assert!(line[0] < line[1] && line[0] == line[2] && line[4] < line[3], "{line:?}");
    }

    proptest! {
        #[test]
        fn proposals_stay_inside(norm in prop_oneof![Just(Norm::Linf), Just(Norm::L2), Just(Norm::L1)], rows in 1usize..9, columns in 1usize..9,
                channels in 1usize..4, epsilon in 0.01..1.0f64, first in 0.0..=1.0f64, seed: u64) {
            let (ball, plane) = (Ball::pixels(norm, epsilon), Plane { rows, columns, channels });
            let mut rng = SeedTree::new(seed).rng();
            let centre: Vec<f32> = (0..plane.len()).map(|_| rng.random()).collect();
            let mut point = start(&ball, plane, &centre, &mut rng).unwrap();
            for step in 0..6 {
                prop_assert!(ball::distance(norm, &centre, &point) <= epsilon + 1e-5);
                prop_assert!(point.iter().all(|p| (0.0..=1.0).contains(p)));
                point = propose(&ball, plane, &centre, &point, share(first, step, 6), &mut rng);
            }
            prop_assert!(start(&ball, plane, &centre[1..], &mut rng).is_none());
        }
    }
}
