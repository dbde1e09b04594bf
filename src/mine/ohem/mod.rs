//! Online hard example mining on what one forward pass gives: the samples of a batch, the regions of images, the pixels of a segmentation.
//! Plain functions for a trainer's own loop.

mod errors;

pub use errors::{Detection, RegionError, RegionErrors, Truth, region_errors};

use super::{top::descending, top_k};
use std::collections::BTreeMap;

/// What of a batch the gradient is taken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Indices, the largest loss first.
    pub indices: Vec<usize>,
    /// Mean loss over them; `None` where nothing is kept.
    pub mean: Option<f64>,
}

/// The `ceil(ratio * n)` largest of `n` losses and their mean. `ratio` lies in `0..=1`. NaN is neither counted nor kept; equal losses by index.
///
/// Source: Shrivastava, Gupta, Girshick, "Training Region-based Object Detectors with Online Hard Example Mining", 2016, for a plain batch.
pub fn ohem_batch(losses: &[f32], ratio: f64) -> Kept {
    let counted = losses.iter().filter(|loss| !loss.is_nan()).count();
    // A product such as 0.07 * 100 may land a hair above the whole number that is meant.
    let k = (ratio.clamp(0.0, 1.0) * counted as f64 - 1e-9).ceil() as usize;
    let indices = top_k(losses, k);
    let sum: f64 = indices.iter().map(|i| f64::from(losses[*i])).sum();
    Kept { mean: (!indices.is_empty()).then(|| sum / indices.len() as f64), indices }
}

/// A box `[left, top, right, bottom]` in any unit.
pub type Corners = [f32; 4];

/// A region of interest with its losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Which image of the batch, from 0.
    pub image: usize,
    /// Where it is.
    pub corners: Corners,
    /// Classification loss, in nats.
    pub classification: f32,
    /// Localisation loss; 0 for background.
    pub localisation: f32,
}

/// Intersection over union of two boxes, `0..=1`; 0 where either has no area.
pub fn intersection_over_union(a: &Corners, b: &Corners) -> f32 {
    let sides = |left: f32, top: f32, right: f32, bottom: f32| (right - left).max(0.0) * (bottom - top).max(0.0);
    let shared = sides(a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3]));
    let all = sides(a[0], a[1], a[2], a[3]) + sides(b[0], b[1], b[2], b[3]) - shared;
    if shared > 0.0 && all > 0.0 { shared / all } else { 0.0 }
}

/// The regions that the gradient is taken of: in each of the `images` images, the hardest by `classification + localisation` after greedy
/// non-maximum suppression with that loss as the score (a region with an overlap above `overlap` with a harder kept one goes), and of those the
/// first `floor(batch / images)`. The papers' numbers: 2 images, 128 regions, 0.7. Image by image, the hardest first, equal losses by
/// index; a region whose loss is NaN, or whose image is not among the `images`, is never kept. There is no foreground ratio.
///
/// Source: Shrivastava, Gupta, Girshick, "Training Region-based Object Detectors with Online Hard Example Mining", 2016.
pub fn ohem_regions(regions: &[Region], images: usize, batch: usize, overlap: f32) -> Vec<usize> {
    let most = batch.checked_div(images).unwrap_or(0);
    let loss = |i: usize| regions[i].classification + regions[i].localisation;
    let mut of_image: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, region) in regions.iter().enumerate() {
        if !loss(i).is_nan() && region.image < images {
            of_image.entry(region.image).or_default().push(i);
        }
    }
    let mut chosen = Vec::new();
    for mut list in of_image.into_values() {
        list.sort_by(|a, b| descending(loss(*a), loss(*b)));
        let mut kept: Vec<usize> = Vec::new();
        for i in list {
            if kept.len() == most {
                break;
            }
            if kept.iter().all(|k| intersection_over_union(&regions[*k].corners, &regions[i].corners) <= overlap) {
                kept.push(i);
            }
        }
        chosen.append(&mut kept);
    }
    chosen
}

/// The pixels that the gradient is taken of: those whose probability of the label is below `tau` (usually 0.7), and where these are fewer than
/// `min_kept`, the `min_kept` least probable, equal ones by index. NaN marks a pixel without a label: it is never kept. Indices in ascending
/// order; the same for the frames of a sequence or its segments.
///
/// Source: the bootstrapped cross entropy of Wu, Shen, van den Hengel, "High-performance Semantic Segmentation Using Very Deep Fully
/// Convolutional Networks", 2016, with a threshold.
pub fn ohem_pixels(probabilities: &[f32], tau: f32, min_kept: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..probabilities.len()).filter(|i| probabilities[*i] < tau).collect();
    if kept.len() < min_kept {
        let improbable: Vec<f32> = probabilities.iter().map(|p| -p).collect();
        kept = top_k(&improbable, min_kept);
        kept.retain(|i| !probabilities[*i].is_nan());
        kept.sort_unstable();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_of_five() {
        let kept = ohem_batch(&[0.5, 2.0, f32::NAN, 1.0, 2.0, 0.1], 0.5);
        // ceil(0.5 * 5) = 3 of the five that are numbers.
        assert_eq!((kept.indices, kept.mean), (vec![1, 4, 3], Some(5.0 / 3.0)));
        assert_eq!(ohem_batch(&[1.0; 100], 0.07).indices.len(), 7);
        assert_eq!(ohem_batch(&[], 0.5), Kept { indices: Vec::new(), mean: None });
        assert_eq!((ohem_batch(&[1.0], 0.0).mean, ohem_batch(&[1.0, 2.0], 9.0).indices.len()), (None, 2));
    }

    fn region(image: usize, corners: Corners, classification: f32, localisation: f32) -> Region {
        Region { image, corners, classification, localisation }
    }

    #[test]
    fn overlaps_are_shared() {
        // Two squares of 4 shifted by one: 2 of 6.
        assert_eq!(intersection_over_union(&[0.0, 0.0, 2.0, 2.0], &[1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
        assert_eq!(intersection_over_union(&[0.0; 4], &[0.0; 4]), 0.0);
        assert_eq!(intersection_over_union(&[2.0, 0.0, 0.0, 2.0], &[0.0, 0.0, 2.0, 2.0]), 0.0);
        assert_eq!(intersection_over_union(&[f32::NAN; 4], &[0.0, 0.0, 2.0, 2.0]), 0.0);
    }

    #[test]
    fn the_hardest_regions_of_each_image_apart_from_their_doubles() {
        let (a, a_again, far) = ([0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [50.0, 50.0, 60.0, 60.0]);
        let regions = [
            region(0, a_again, 1.0, 0.4), // 0.9 of the next, which is harder
            region(0, a, 1.0, 0.5),
            region(0, far, 0.2, 0.0),
            region(0, [50.0, 0.0, 60.0, 10.0], 0.1, 0.0),
            region(1, a, 0.3, 0.0), // the same place in another image
            region(1, far, f32::NAN, 0.0),
            region(7, far, 9.0, 0.0),
        ];
        assert_eq!(ohem_regions(&regions, 2, 4, 0.7), [1, 2, 4]);
        assert_eq!(ohem_regions(&regions, 2, 4, 0.95), [1, 0, 4]);
        assert_eq!((ohem_regions(&regions, 0, 4, 0.7), ohem_regions(&regions, 2, 1, 0.7)), (vec![], vec![]));
    }

    #[test]
    fn pixels_below_the_threshold_and_at_least_so_many() {
        let p = [0.9, 0.2, f32::NAN, 0.8, 0.6, 0.8];
        assert_eq!(ohem_pixels(&p, 0.7, 1), [1, 4]);
        assert_eq!(ohem_pixels(&p, 0.7, 3), [1, 3, 4]);
        assert_eq!(ohem_pixels(&p, 0.7, 99), [0, 1, 3, 4, 5]);
        assert!(ohem_pixels(&[], 0.7, 3).is_empty());
    }

    proptest! {
        #[test]
        fn kept_regions_do_not_overlap_and_leave_out_nothing_harder(
            list in prop::collection::vec((0usize..3, 0u8..20, 0u8..20, 1u8..9, 0u8..6), 0..40), batch in 0usize..20,
        ) {
            let make = |&(image, x, y, side, loss): &(usize, u8, u8, u8, u8)| {
                let [x, y, side] = [x, y, side].map(f32::from);
                region(image, [x, y, x + side, y + side], f32::from(loss), 0.0)
            };
            let regions: Vec<Region> = list.iter().map(make).collect();
            let kept = ohem_regions(&regions, 3, batch, 0.3);
            let overlap = |a: usize, b: usize| intersection_over_union(&regions[a].corners, &regions[b].corners) > 0.3;
            for image in 0..3 {
                let own: Vec<usize> = kept.iter().copied().filter(|i| regions[*i].image == image).collect();
                prop_assert!(own.len() <= batch / 3);
                prop_assert!(own.iter().enumerate().all(|(at, a)| own[..at].iter().all(|b| !overlap(*a, *b))));
                // What was left out is covered by a harder one, or there was no room.
                for i in (0..regions.len()).filter(|i| regions[*i].image == image && !own.contains(i)) {
                    let covered = own.iter().any(|k| overlap(*k, i) && regions[*k].classification >= regions[i].classification);
                    prop_assert!(covered || own.len() == batch / 3);
                }
            }
        }
    }
}
