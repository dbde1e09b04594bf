//! Keypoints and outlines that follow the pixels.

use super::{
    PixelRect, PointMap,
    map::{area, clip},
};
use crate::sample::{Annotations, Mask};

/// Sides of an outline are followed at this many places each where a map bends lines.
const PLACES: usize = 8;

/// Moves the keypoints and the outlines of `annotations` by `map` into a picture of `width` x `height`: outlines are cut at its border, keypoints outside
/// are gone, and so are outlines of which a share of at most `gone` (`0..=1`) is left. Returns the least visible share of all outlines, gone or not, and 1
/// where there is none. Boxes are not touched.
pub fn move_shapes(annotations: &mut Annotations, map: &PointMap, width: usize, height: usize, gone: f32) -> f32 {
    let (w, h) = (width as f64, height as f64);
    annotations.keypoints.retain_mut(|point| {
        let Some((x, y)) = map.point(point.x.into(), point.y.into()) else { return false };
        (point.x, point.y) = (x as f32, y as f32);
        (0.0..=w).contains(&x) && (0.0..=h).contains(&y)
    });
    let mut least = 1f32;
    annotations.masks.retain_mut(|mask| {
        let share = move_mask(mask, map, w, h);
        least = least.min(share);
        share > gone
    });
    least
}

/// Moves one outline and returns its visible share.
fn move_mask(mask: &mut Mask, map: &PointMap, width: f64, height: f64) -> f32 {
    let outline = places(mask);
    let steps = if matches!(map, PointMap::Field(_)) { PLACES } else { 1 };
    let ends = outline.iter().copied().cycle().skip(1);
    let bent = outline.iter().zip(ends).flat_map(|(from, to)| {
        (0..steps).map(move |i| {
            let t = i as f64 / steps as f64;
            (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
        })
    });
    let Some(moved) = bent.map(|(x, y)| map.point(x, y)).collect::<Option<Vec<_>>>() else { return 0.0 };
    let whole = area(&moved);
    let inside = |(x, y): &(f64, f64)| (0.0..=width).contains(x) && (0.0..=height).contains(y);
    let seen = if moved.iter().all(inside) { moved } else { clip(moved, width, height) };
    let share = (area(&seen) / whole).min(1.0) as f32;
    // Cuts are rounded.
    mask.outline = seen.into_iter().map(|(x, y)| [x.clamp(0.0, width) as f32, y.clamp(0.0, height) as f32]).collect();
    if share.is_nan() || mask.outline.len() < 3 { 0.0 } else { share }
}

fn places(mask: &Mask) -> Vec<(f64, f64)> {
    mask.outline.iter().map(|[x, y]| (f64::from(*x), f64::from(*y))).collect()
}

/// The share of a mask's area that lies in a rectangle; 0 for a mask without area.
pub fn covered_share(mask: &Mask, rect: &PixelRect) -> f64 {
    let outline = places(mask);
    let whole = area(&outline);
    let moved = outline.into_iter().map(|(x, y)| (x - rect.x, y - rect.y)).collect();
    if whole > 0.0 { area(&clip(moved, rect.width, rect.height)) / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::{Affine, BoxMap, elastic_field};
    use crate::sample::{BoundingBox, Keypoint};
    use proptest::prelude::*;

    fn shapes(points: &[(f32, f32)], outline: &[[f32; 2]]) -> Annotations {
        Annotations {
            keypoints: points.iter().map(|(x, y)| Keypoint { x: *x, y: *y, label: "nose".into() }).collect(),
            masks: vec![Mask { outline: outline.to_vec(), label: "dog".into() }],
            ..Annotations::default()
        }
    }

    #[test]
    fn worked_values() {
        let triangle = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]];
        let mut moved = shapes(&[(1.0, 2.0), (9.0, 1.0)], &triangle);
        // Half of each side, a quarter of the area.
        let share = move_shapes(&mut moved, &PointMap::shift(-5.0, 0.0), 64, 48, 0.0);
        assert!((share - 0.25).abs() < 1e-6);
        assert_eq!(moved.keypoints, shapes(&[(4.0, 1.0)], &triangle).keypoints);
        assert_eq!(area(&places(&moved.masks[0])), 12.5);
        assert_eq!(move_shapes(&mut moved, &PointMap::shift(-50.0, 0.0), 64, 48, 0.0), 0.0);
        assert!(moved.masks.is_empty() && moved.keypoints.is_empty());
        assert_eq!(move_shapes(&mut moved, &PointMap::IDENTITY, 64, 48, 0.0), 1.0);
        let mut most = shapes(&[], &triangle);
        move_shapes(&mut most, &PointMap::shift(-5.0, 0.0), 64, 48, 0.3);
        assert!(most.masks.is_empty());
        let rect = PixelRect { x: 0.0, y: 0.0, width: 5.0, height: 5.0 };
        assert!((covered_share(&shapes(&[], &triangle).masks[0], &rect) - 0.5).abs() < 1e-9);
    }

    proptest! {
        /// A mask that is a box goes where the box goes, its corners with it.
        #[test]
        fn they_go_where_boxes_go(x in 0f32..40.0, y in 0f32..30.0, w in 1f32..20.0, h in 1f32..15.0, sx in 0.3f64..2.0, dx in -20f64..20.0, flip: bool) {
            let map = BoxMap { scale_x: if flip { -sx } else { sx }, offset_x: dx + if flip { 40.0 } else { 0.0 }, scale_y: sx, offset_y: dx };
            let corners = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]];
            let mut both = shapes(&corners.map(|[x, y]| (x, y)), &corners);
            let share = move_shapes(&mut both, &map.into(), 64, 48, 1e-4);
            let (place, seen) = PointMap::from(map).map_box(&BoundingBox { x, y, width: w, height: h, label: "dog".into() }, 64, 48);
            prop_assert!((share - seen).abs() < 1e-4, "{share} {seen}");
            if seen > 1e-3 {
                let outline = &both.masks[0].outline;
                let reach = |k: usize| outline.iter().fold((f32::MAX, f32::MIN), |(a, b), p| (a.min(p[k]), b.max(p[k])));
                let ((left, right), (top, bottom)) = (reach(0), reach(1));
                for (a, b) in [(left, place.x), (right, place.x + place.width), (top, place.y), (bottom, place.y + place.height)] {
                    prop_assert!((a - b).abs() < 1e-2, "{outline:?} {place:?}");
                }
            }
            for point in &both.keypoints {
                prop_assert!((0.0..=64.0).contains(&point.x) && (0.0..=48.0).contains(&point.y));
            }
        }

        /// A map and its inverse bring shapes back that never left.
        #[test]
        fn the_way_back(angle in -40.0f64..40.0, size in 0.6f64..1.1, x in 24f32..40.0, y in 18f32..30.0) {
            let map = Affine { rotate: angle, scale: (size, size), ..Affine::default() }.map(64, 48);
            let before = shapes(&[(x, y)], &[[x, y], [x + 5.0, y], [x + 2.0, y + 4.0]]);
            let mut after = before.clone();
            prop_assert!(move_shapes(&mut after, &map, 64, 48, 0.0) > 0.999);
            move_shapes(&mut after, &map.inverse().unwrap(), 64, 48, 0.0);
            for (a, b) in after.masks[0].outline.iter().zip(&before.masks[0].outline) {
                prop_assert!((a[0] - b[0]).abs() < 1e-3 && (a[1] - b[1]).abs() < 1e-3);
            }
            prop_assert!((after.keypoints[0].x - x).abs() < 1e-3);
        }

        /// Outlines in a bent picture bend too, and stay inside.
        #[test]
        fn fields_bend_outlines(seed in 0u64..50) {
            let map = elastic_field(64, 48, 2.0, 8.0, seed);
            let mut bent = shapes(&[(30.0, 20.0)], &[[2.0, 2.0], [60.0, 2.0], [60.0, 44.0], [2.0, 44.0]]);
            let share = move_shapes(&mut bent, &map, 64, 48, 0.0);
            prop_assert!(share > 0.8);
            prop_assert!(bent.masks[0].outline.len() >= 20);
            prop_assert!(bent.masks[0].outline.iter().all(|[x, y]| (0.0..=64.0).contains(x) && (0.0..=48.0).contains(y)));
        }
    }
}
