//! The k largest of many numbers, without a full sort.

use rayon::prelude::*;
use std::cmp::Ordering;

/// Values looked at to guess the threshold; a constant, so that nothing depends on it.
const SAMPLE: usize = 1 << 14;

/// Below this many values a guess saves nothing.
const SMALL: usize = 1 << 16;

/// Values of one task of the scan, and values compared with the threshold before one of them is looked at.
const BLOCK: usize = 1 << 17;
const LANES: usize = 64;

/// Larger values first, NaN last; equal ones (zeros of either sign too) are equal.
pub(super) fn descending(a: f32, b: f32) -> Ordering {
    // `false < true`: a number goes before NaN.
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// [`descending`] of doubles.
pub(super) fn descending_f64(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Indices of the `k` largest values, the largest first; among equals the lower index; NaN last of all. `k` may exceed the length.
///
/// A threshold is guessed from every n-th value, one scan keeps what reaches it, and the `k` are selected among those. Where the guess was
/// too high all values are selected from, so the answer never hangs on it. `O(n + k log k)`, and one pass over memory for small `k`.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    if k == 0 {
        return Vec::new();
    }
    let reached = guessed_threshold(values, k).map(|threshold| at_least(values, threshold)).filter(|found| found.len() >= k);
    let mut found = reached.unwrap_or_else(|| values.iter().enumerate().map(|(i, v)| (place(*v), i)).collect());
    if k < found.len() {
        found.select_nth_unstable(k - 1);
        found.truncate(k);
    }
    found.sort_unstable();
    found.into_iter().map(|(_, i)| i).collect()
}

/// The bits of a value, turned so that they stand in the order of [`descending`]: numbers are compared without fetching the value again.
fn place(value: f32) -> u32 {
    if value.is_nan() {
        return u32::MAX;
    }
    // A negative zero plus zero is zero.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 0 { !(bits | 1 << 31) } else { bits }
}

/// A value that at least `k` of the values reach, almost surely; `None` where a scan would not be shorter than selecting among all.
fn guessed_threshold(values: &[f32], k: usize) -> Option<f32> {
    if values.len() < SMALL || k > values.len() / 2 {
        return None;
    }
    let mut sample: Vec<f32> = values.iter().step_by(values.len() / SAMPLE).copied().collect();
    // Of the sample, `expected` belong to the k largest on average; five standard deviations more are safe.
    let expected = sample.len() as f64 * k as f64 / values.len() as f64;
    let place = (expected + 5.0 * expected.sqrt() + 5.0).ceil() as usize;
    if place >= sample.len() {
        return None;
    }
    let (_, threshold, _) = sample.select_nth_unstable_by(place, |a, b| descending(*a, *b));
    (!threshold.is_nan()).then_some(*threshold)
}

/// Place and index of the values that reach `threshold`, in the order of the indices.
fn at_least(values: &[f32], threshold: f32) -> Vec<(u32, usize)> {
    let scan = |(block, part): (usize, &[f32])| {
        let mut found = Vec::new();
        for (group, lanes) in part.chunks(LANES).enumerate() {
            // Most groups hold none: one question for all of them. NaN reaches nothing.
            if lanes.iter().fold(false, |any, v| any | (*v >= threshold)) {
                let first = block * BLOCK + group * LANES;
                found.extend(lanes.iter().enumerate().filter(|(_, v)| **v >= threshold).map(|(lane, v)| (place(*v), first + lane)));
            }
        }
        found
    };
    values.par_chunks(BLOCK).enumerate().map(scan).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(values: &[f32], k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..values.len()).collect();
        all.sort_by(|a, b| descending(values[*a], values[*b]));
        all.truncate(k);
        all
    }

    #[test]
    fn ties_by_index_and_nan_last() {
        assert_eq!(top_k(&[0.1, 0.9, 0.5, 0.9], 3), [1, 3, 2]);
        assert_eq!(top_k(&[f32::NAN, -1.0, f32::INFINITY, -0.0, 0.0, -f32::NAN], 9), [2, 3, 4, 1, 0, 5]);
        assert_eq!((top_k(&[0.1], 5), top_k(&[0.1], 0), top_k(&[], 3)), (vec![0], vec![], vec![]));
    }

    #[test]
    fn places_stand_in_the_order_of_the_values() {
        let falling = [f32::INFINITY, f32::MAX, 1.0, f32::MIN_POSITIVE, 1e-45, 0.0, -1e-45, -1.0, f32::MIN, f32::NEG_INFINITY, f32::NAN];
        assert!(falling.windows(2).all(|pair| place(pair[0]) < place(pair[1]) && descending(pair[0], pair[1]).is_lt()));
        assert_eq!((place(-0.0), place(-f32::NAN)), (place(0.0), place(f32::NAN)));
    }

    #[test]
    fn a_wrong_guess_changes_nothing() {
        let n = 3 * SMALL + 7;
        let step = n / SAMPLE;
        // All that the sample sees is NaN, is above everything else, or is the same.
        let hidden: Vec<f32> = (0..n).map(|i| if i % step == 0 { f32::NAN } else { (i % 1009) as f32 }).collect();
        let above: Vec<f32> = (0..n).map(|i| if i % step == 0 { 1e6 + (i % 3) as f32 } else { (i % 1009) as f32 }).collect();
        for values in [hidden, above, vec![0.5; n], vec![f32::NAN; n]] {
            for k in [1, 1000, SAMPLE + 1, n / 3, n / 2 + 1, n] {
                assert_eq!(top_k(&values, k), sorted(&values, k));
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_a_sort_cut_short(values in prop::collection::vec(prop::option::weighted(0.9, -5i8..5), 0..50), k in 0usize..60) {
            let values: Vec<f32> = values.into_iter().map(|v| v.map_or(f32::NAN, f32::from)).collect();
            prop_assert_eq!(top_k(&values, k), sorted(&values, k));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn also_when_a_threshold_is_guessed(seed in any::<u32>(), k in 1usize..3000, levels in 2u32..2_000_000) {
            let hash = |i: u32| i.wrapping_add(seed).wrapping_mul(2_654_435_761).rotate_left(15).wrapping_mul(2_246_822_519) >> 8;
            let values: Vec<f32> = (0..2 * SMALL as u32).map(|i| (hash(i) % levels) as f32).collect();
            prop_assert_eq!(top_k(&values, k), sorted(&values, k));
        }
    }
}
