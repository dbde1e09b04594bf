//! The loop filter (RFC 6386, section 15.3): softens what blocks leave at their edges.

use super::Plane;
use crate::augment::wide::wide;

/// Pixels across an edge, the first four before it; lanes are places along it.
type Across<const N: usize> = [[i16; N]; 8];

/// When an edge is softened, and how much.
#[derive(Debug, Clone, Copy)]
struct Limits {
    edge: i16,
    inner: i16,
    /// A step inside a side above which only the two nearest pixels move.
    steep: i16,
}

#[inline(always)]
fn signed(value: i16) -> i16 {
    value.max(-128).min(127)
}

#[inline(always)]
fn byte(value: i16) -> i16 {
    value.max(0).min(255)
}

/// Softens an edge; the edge of a macroblock moves three pixels on each side, one inside it two.
#[inline(always)]
fn soften<const N: usize, const OUTER: bool>(p: &mut Across<N>, limits: Limits) {
    for i in 0..N {
        let [p3, p2, p1, p0, q0, q1, q2, q3] = [p[0][i], p[1][i], p[2][i], p[3][i], p[4][i], p[5][i], p[6][i], p[7][i]];
        let most = (p3 - p2).abs().max((p2 - p1).abs()).max((p1 - p0).abs()).max((q1 - q0).abs()).max((q2 - q1).abs()).max((q3 - q2).abs());
        let wanted = (4 * (p0 - q0).abs() + (p1 - q1).abs() <= limits.edge) & (most <= limits.inner);
        let steep = ((p1 - p0).abs() > limits.steep) | ((q1 - q0).abs() > limits.steep);
        let ends = signed(p1 - q1);
        let by = 3 * (q0 - p0);
        // Two pixels.
        let both = by + ends;
        let (a1, a2) = (((both + 4) >> 3).max(-16).min(15), ((both + 3) >> 3).max(-16).min(15));
        let two = [p2, p1, byte(p0 + a2), byte(q0 - a1), q1, q2];
        // Six or four.
        let more = if OUTER {
            let a = signed(both);
            let (a1, a2, a3) = ((27 * a + 63) >> 7, (18 * a + 63) >> 7, (9 * a + 63) >> 7);
            [byte(p2 + a3), byte(p1 + a2), byte(p0 + a1), byte(q0 - a1), byte(q1 - a2), byte(q2 - a3)]
        } else {
            let (a1, a2) = (((by + 4) >> 3).max(-16).min(15), ((by + 3) >> 3).max(-16).min(15));
            let a3 = (a1 + 1) >> 1;
            [p2, byte(p1 + a3), byte(p0 + a2), byte(q0 - a1), byte(q1 - a3), q2]
        };
        let now = [p2, p1, p0, q0, q1, q2];
        for k in 0..6 {
            let soft = if steep { two[k] } else { more[k] };
            p[k + 1][i] = if wanted { soft } else { now[k] };
        }
    }
}

/// An edge between rows: `at` is the first pixel below it.
#[inline(always)]
fn between_rows<const N: usize, const OUTER: bool>(plane: &mut Plane, at: usize, limits: Limits) {
    let mut p: Across<N> = [[0; N]; 8];
    let first = at - 4 * plane.stride;
    for k in 0..8 {
        let row = &plane.values[first + k * plane.stride..][..N];
        for i in 0..N {
            p[k][i] = i16::from(row[i]);
        }
    }
    soften::<N, OUTER>(&mut p, limits);
    for k in 1..7 {
        let row = &mut plane.values[first + k * plane.stride..][..N];
        for i in 0..N {
            row[i] = p[k][i] as u8;
        }
    }
}

/// An edge between columns: `at` is the first pixel to its right.
#[inline(always)]
fn between_columns<const N: usize, const OUTER: bool>(plane: &mut Plane, at: usize, limits: Limits) {
    let mut p: Across<N> = [[0; N]; 8];
    for i in 0..N {
        let row = &plane.values[at - 4 + i * plane.stride..][..8];
        for k in 0..8 {
            p[k][i] = i16::from(row[k]);
        }
    }
    soften::<N, OUTER>(&mut p, limits);
    for i in 0..N {
        let row = &mut plane.values[at - 4 + i * plane.stride..][..8];
        for k in 1..7 {
            row[k] = p[k][i] as u8;
        }
    }
}

wide! {
    /// Softens a plane of macroblocks of `N` x `N` pixels, `columns` in a row, at `level` (`1..=63`). Edges inside a macroblock are softened where `inside` says so.
    pub(super) fn soften_all[const N: usize](plane: &mut Plane, columns: usize, inside: &[bool], level: i16) {
        let steep = if level >= 40 { 2 } else if level >= 15 { 1 } else { 0 };
        let inner = Limits { edge: 2 * (2 * level + level) + 1, inner: level, steep };
        let outer = Limits { edge: 2 * (2 * level + level + 4) + 1, ..inner };
        for block in 0..inside.len() {
            let (x, y) = (block % columns, block / columns);
            let at = plane.at(N * x, N * y);
            if x > 0 {
                between_columns::<N, true>(plane, at, outer);
            }
            if inside[block] {
                for k in 1..N / 4 {
                    between_columns::<N, false>(plane, at + 4 * k, inner);
                }
            }
            if y > 0 {
                between_rows::<N, true>(plane, at, outer);
            }
            if inside[block] {
                for k in 1..N / 4 {
                    between_rows::<N, false>(plane, at + 4 * k * plane.stride, inner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn across(values: [i16; 8], outer: bool, level: i16) -> [i16; 8] {
        let limits = Limits { edge: 6 * level + 1, inner: level, steep: 0 };
        let mut p: Across<1> = values.map(|v| [v]);
        if outer {
            soften::<1, true>(&mut p, limits)
        } else {
            soften::<1, false>(&mut p, limits)
        }
        p.map(|v| v[0])
    }

    #[test]
    fn worked_edges() {
        let step = [100, 100, 100, 100, 108, 108, 108, 108];
        // Outer: a = 3 * 8 - 8 = 16; 27 a, 18 a and 9 a of 128, rounded: 3, 2, 1.
        assert_eq!(across(step, true, 20), [100, 101, 102, 103, 105, 106, 107, 108]);
        // Inner: (24 + 4) / 8 = 3 and (24 + 3) / 8 = 3; half of it for the next.
        assert_eq!(across(step, false, 20), [100, 100, 102, 103, 105, 106, 108, 108]);
        // 4 * 8 + 8 is more than the limit: a real edge stays.
        assert_eq!(across(step, true, 6), step);
        // A step inside one side: only the nearest two move.
        let steep = [100, 100, 100, 104, 108, 108, 108, 108];
        let soft = across(steep, true, 20);
        assert_eq!((soft[2], soft[5]), (100, 108));
        assert_eq!((soft[3], soft[4]), (104, 107));
    }
}
