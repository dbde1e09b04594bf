//! Where a place of an image lies after its pixels have moved: boxes and keypoints follow.

use super::{BoxMap, geometry::Field};
use crate::sample::BoundingBox;
use std::sync::Arc;

/// A map from places in an image to places in the image made of it, in pixels from the top left corner (the centre of the first pixel is at
/// 0.5, 0.5).
#[derive(Debug, Clone, PartialEq)]
pub enum PointMap {
    /// A projective matrix, row by row: `x' = (m0 x + m1 y + m2) / (m6 x + m7 y + m8)`, the same for y with `m3, m4, m5`. Affine where the last
    /// row is 0, 0, 1.
    Projective([f64; 9]),
    /// A field of displacements, as [`super::elastic_field`] makes them.
    Field(Arc<Field>),
}

impl From<BoxMap> for PointMap {
    fn from(map: BoxMap) -> Self {
        Self::Projective([map.scale_x, 0.0, map.offset_x, 0.0, map.scale_y, map.offset_y, 0.0, 0.0, 1.0])
    }
}

/// Sides of a box are followed at this many places each.
const PLACES: usize = 8;

impl PointMap {
    /// Nothing moves.
    pub const IDENTITY: Self = Self::Projective([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// Moves by `dx` and `dy` pixels.
    pub fn shift(dx: f64, dy: f64) -> Self {
        BoxMap::shift(dx, dy).into()
    }

    /// Brings the corners of a `width` x `height` image (top left, top right, bottom right, bottom left) to the four places given; `None`
    /// where three of them lie on a line (Heckbert 1989, "Fundamentals of texture mapping and image warping", section 2.2.3).
    pub fn to_corners(width: usize, height: usize, corners: [(f64, f64); 4]) -> Option<Self> {
        let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = corners;
        let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
        let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
        let area = dx1 * dy2 - dx2 * dy1;
        let (g, h) = ((sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area);
        // From the unit square; then the image's sides.
        let unit = [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h, 1.0];
        let (w, t) = (width as f64, height as f64);
        let matrix = [unit[0] / w, unit[1] / t, unit[2], unit[3] / w, unit[4] / t, unit[5], unit[6] / w, unit[7] / t, 1.0];
        inverse(&matrix).map(|_| Self::Projective(matrix))
    }

    /// This map and then `next`; `None` where one of them is a field of displacements.
    pub fn then(&self, next: &Self) -> Option<Self> {
        let (Self::Projective(a), Self::Projective(b)) = (self, next) else { return None };
        Some(Self::Projective(product(b, a)))
    }

    /// The map back; `None` for a field of displacements or a matrix that has none.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::Projective(matrix) => inverse(matrix).map(Self::Projective),
            Self::Field(_) => None,
        }
    }

    /// Where a place comes to lie; `None` where it vanishes (behind the horizon of a projective map).
    pub fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        match self {
            Self::Projective(m) => {
                let scale = m[6] * x + m[7] * y + m[8];
                let place = ((m[0] * x + m[1] * y + m[2]) / scale, (m[3] * x + m[4] * y + m[5]) / scale);
                (scale > 0.0 && place.0.is_finite() && place.1.is_finite()).then_some(place)
            }
            Self::Field(field) => Some(field.moved(x, y)),
        }
    }

    /// The smallest box around what is to be seen of a box in a `width` x `height` image, and that part's share of its mapped area (0 where
    /// nothing is).
    pub fn map_box(&self, from: &BoundingBox, width: usize, height: usize) -> (BoundingBox, f32) {
        let (x, y) = (f64::from(from.x), f64::from(from.y));
        let (w, h) = (f64::from(from.width), f64::from(from.height));
        let gone = || (BoundingBox { x: 0.0, y: 0.0, width: 0.0, height: 0.0, label: from.label.clone() }, 0.0);
        let steps = if matches!(self, Self::Field(_)) { PLACES } else { 1 };
        let along = |i: usize| i as f64 / steps as f64;
        let outline = (0..4 * steps).map(|i| match (i / steps, along(i % steps)) {
            (0, t) => (x + w * t, y),
            (1, t) => (x + w, y + h * t),
            (2, t) => (x + w * (1.0 - t), y + h),
            (_, t) => (x, y + h * (1.0 - t)),
        });
        let Some(outline) = outline.map(|(x, y)| self.point(x, y)).collect::<Option<Vec<_>>>() else { return gone() };
        let whole = area(&outline);
        let seen = clip(outline, width as f64, height as f64);
        let share = (area(&seen) / whole).min(1.0) as f32;
        if seen.is_empty() || share.is_nan() || share <= 0.0 {
            return gone();
        }
        let reach = |pick: fn(&(f64, f64)) -> f64| {
            seen.iter().map(pick).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ((left, right), (top, bottom)) = (reach(|p| p.0), reach(|p| p.1));
        let hull = BoundingBox {
            x: left as f32,
            y: top as f32,
            width: (right - left) as f32,
            height: (bottom - top) as f32,
            label: from.label.clone(),
        };
        (hull, share)
    }

    /// Boxes that follow, those that left the picture gone, and the least visible share of all (1 where there is none).
    pub fn boxes(&self, boxes: &[BoundingBox], width: usize, height: usize) -> (Vec<BoundingBox>, f32) {
        let mut least = 1f32;
        let mut out = Vec::with_capacity(boxes.len());
        for place in boxes {
            let (hull, share) = self.map_box(place, width, height);
            least = least.min(share);
            if share > 0.0 {
                out.push(hull);
            }
        }
        (out, least)
    }
}

/// Twice the area is never asked for: the shoelace formula, without sign.
pub(super) fn area(outline: &[(f64, f64)]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    outline.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>().abs() / 2.0
}

/// The part of an outline inside the picture (Sutherland and Hodgman 1974).
pub(super) fn clip(mut outline: Vec<(f64, f64)>, width: f64, height: f64) -> Vec<(f64, f64)> {
    // Distance to each border, above 0 inside.
    let borders: [&dyn Fn((f64, f64)) -> f64; 4] = [&|p| p.0, &|p| width - p.0, &|p| p.1, &|p| height - p.1];
    for inside in borders {
        let mut kept = Vec::with_capacity(outline.len() + 4);
        for (i, &to) in outline.iter().enumerate() {
            let from = outline[(i + outline.len() - 1) % outline.len()];
            let (a, b) = (inside(from), inside(to));
            if (a < 0.0) != (b < 0.0) {
                let t = a / (a - b);
                kept.push((from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1)));
            }
            if b >= 0.0 {
                kept.push(to);
            }
        }
        outline = kept;
    }
    outline
}

fn product(a: &[f64; 9], b: &[f64; 9]) -> [f64; 9] {
    std::array::from_fn(|i| (0..3).map(|k| a[i / 3 * 3 + k] * b[k * 3 + i % 3]).sum())
}

/// The inverse matrix; `None` for one that is singular or not finite.
pub(super) fn inverse(m: &[f64; 9]) -> Option<[f64; 9]> {
    let minor = |a: usize, b: usize, c: usize, d: usize| m[a] * m[d] - m[b] * m[c];
    let adjugate = [
        minor(4, 5, 7, 8),
        minor(2, 1, 8, 7),
        minor(1, 2, 4, 5),
        minor(5, 3, 8, 6),
        minor(0, 2, 6, 8),
        minor(2, 0, 5, 3),
        minor(3, 4, 6, 7),
        minor(1, 0, 7, 6),
        minor(0, 1, 3, 4),
    ];
    let determinant = m[0] * adjugate[0] + m[1] * adjugate[3] + m[2] * adjugate[6];
    let back = adjugate.map(|v| v / determinant);
    (determinant != 0.0 && back.iter().all(|v| v.is_finite())).then_some(back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(x: f32, y: f32, width: f32, height: f32) -> BoundingBox {
        BoundingBox { x, y, width, height, label: "dog".into() }
    }

    #[test]
    fn corners_come_where_they_were_asked() {
        let corners = [(1.0, 2.0), (9.0, 0.0), (12.0, 7.5), (-1.0, 6.0)];
        let map = PointMap::to_corners(10, 8, corners).unwrap();
        for ((x, y), to) in [(0.0, 0.0), (10.0, 0.0), (10.0, 8.0), (0.0, 8.0)].into_iter().zip(corners) {
            let found = map.point(x, y).unwrap();
            assert!((found.0 - to.0).abs() < 1e-9 && (found.1 - to.1).abs() < 1e-9, "{found:?} {to:?}");
        }
        assert!(PointMap::to_corners(10, 8, [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]).is_none());
        assert_eq!(PointMap::to_corners(10, 8, [(0.0, 0.0), (10.0, 0.0), (10.0, 8.0), (0.0, 8.0)]).unwrap(), PointMap::IDENTITY);
    }

    #[test]
    fn a_box_is_cut_and_its_share_told() {
        let (cut, share) = PointMap::shift(-5.0, 0.0).map_box(&place(0.0, 0.0, 10.0, 10.0), 64, 48);
        assert_eq!((cut, share), (place(0.0, 0.0, 5.0, 10.0), 0.5));
        let (boxes, least) = PointMap::shift(-50.0, 0.0).boxes(&[place(0.0, 0.0, 10.0, 10.0)], 64, 48);
        assert!(boxes.is_empty() && least == 0.0);
        assert_eq!(PointMap::IDENTITY.boxes(&[], 64, 48), (vec![], 1.0));
    }

    proptest! {
        #[test]
        fn maps_invert_and_join(m in prop::array::uniform9(-1.0f64..1.0), x in 0.0f64..9.0, y in 0.0f64..9.0) {
            // Close enough to the identity to see every point.
            let unit = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
            let scale = [0.3, 0.3, 5.0, 0.3, 0.3, 5.0, 0.01, 0.01, 0.0];
            let map = PointMap::Projective(std::array::from_fn(|i| unit[i] + scale[i] * m[i]));
            let back = map.inverse().unwrap();
            let there = map.point(x, y).unwrap();
            let (a, b) = back.point(there.0, there.1).unwrap();
            prop_assert!((a - x).abs() < 1e-6 && (b - y).abs() < 1e-6);
            let both = map.then(&PointMap::shift(2.0, -1.0)).unwrap().point(x, y).unwrap();
            prop_assert!((both.0 - there.0 - 2.0).abs() < 1e-9 && (both.1 - there.1 + 1.0).abs() < 1e-9);
        }

        #[test]
        fn agrees_with_box_maps(x in -20f32..60.0, y in -20f32..40.0, w in 1f32..30.0, h in 1f32..30.0, dx in -20f64..20.0, s in 0.3f64..2.0) {
            let map = BoxMap { scale_x: -s, offset_x: dx + 30.0, scale_y: s, offset_y: dx };
            let from = place(x, y, w, h);
            let (old, old_share) = super::super::visible_share(&map.map(&from), 64, 48);
            let (new, share) = PointMap::from(map).map_box(&from, 64, 48);
            prop_assert!((share - old_share).abs() < 1e-4);
            if share > 1e-4 {
                for (a, b) in [(old.x, new.x), (old.y, new.y), (old.width, new.width), (old.height, new.height)] {
                    prop_assert!((a - b).abs() < 1e-3, "{old:?} {new:?}");
                }
            }
        }
    }
}
