use super::{Edge, Sampling, warp};
use crate::augment::image::PointMap;
use crate::{error::Result, sample::ImageBuffer};
use serde::{Deserialize, Serialize};

/// An affine change about the middle of an image: scale, then shear, then rotation, then translation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Degrees, counter-clockwise.
    pub rotate: f64,
    /// Factors along x and y; above 1 things become larger. Not 0.
    pub scale: (f64, f64),
    /// Degrees that the columns lean (along x) and the rows climb (along y).
    pub shear: (f64, f64),
    /// Pixels to the right and down.
    pub translate: (f64, f64),
}

impl Default for Affine {
    fn default() -> Self {
        Self { rotate: 0.0, scale: (1.0, 1.0), shear: (0.0, 0.0), translate: (0.0, 0.0) }
    }
}

/// Sine and cosine of degrees, exact at whole quarters of a turn.
fn sin_cos(degrees: f64) -> (f64, f64) {
    let turned = degrees.rem_euclid(360.0);
    match turned {
        0.0 => (0.0, 1.0),
        90.0 => (1.0, 0.0),
        180.0 => (0.0, -1.0),
        270.0 => (-1.0, 0.0),
        _ => turned.to_radians().sin_cos(),
    }
}

impl Affine {
    /// What it does to the places of a `width` x `height` image.
    pub fn map(&self, width: usize, height: usize) -> PointMap {
        let (sin, cos) = sin_cos(self.rotate);
        let lean = |degrees: f64| if degrees == 0.0 { 0.0 } else { degrees.to_radians().tan() };
        let (kx, ky) = (lean(self.shear.0), lean(self.shear.1));
        let (sx, sy) = self.scale;
        // Rotation (y points down) times shear times scale.
        let (a, b) = ((cos + sin * ky) * sx, (cos * kx + sin) * sy);
        let (d, e) = ((cos * ky - sin) * sx, (cos - sin * kx) * sy);
        let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
        let (tx, ty) = self.translate;
        PointMap::Projective([a, b, x + tx - a * x - b * y, d, e, y + ty - d * x - e * y, 0.0, 0.0, 1.0])
    }
}

/// Rotates by `degrees` counter-clockwise about the middle, bilinear; the size stays and `edge` fills the corners. Quarter turns of a square
/// are exact. Errors for an angle that is not finite.
pub fn rotate(image: &ImageBuffer, degrees: f64, edge: Edge) -> Result<ImageBuffer> {
    affine(image, &Affine { rotate: degrees, ..Affine::default() }, edge)
}

/// Applies an affine change, bilinear; the size stays. Errors for a scale of 0 and values that are not finite.
pub fn affine(image: &ImageBuffer, by: &Affine, edge: Edge) -> Result<ImageBuffer> {
    let (width, height) = (image.width(), image.height());
    warp(image, &by.map(width, height), width, height, edge, Sampling::Bilinear)
}

/// The map that brings a quadrangle of an image (top left, top right, bottom right, bottom left) to the whole of it; `None` where three corners
/// lie on a line.
pub fn perspective_map(width: usize, height: usize, corners: [(f64, f64); 4]) -> Option<PointMap> {
    PointMap::to_corners(width, height, corners)?.inverse()
}

/// Brings a quadrangle of the image to the whole, as seen from another place, bilinear. Errors where three corners lie on a line.
pub fn perspective(image: &ImageBuffer, corners: [(f64, f64); 4], edge: Edge) -> Result<ImageBuffer> {
    let (width, height) = (image.width(), image.height());
    // A map without an inverse is refused below.
    let map = perspective_map(width, height, corners).unwrap_or(PointMap::Projective([0.0; 9]));
    warp(image, &map, width, height, edge, Sampling::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::super::{flip_vertical, turn};
    use super::*;
    use crate::augment::image::{flip_horizontal, tests_support::image};
    use proptest::prelude::*;

    #[test]
    fn worked_places() {
        let map = Affine { rotate: 90.0, ..Affine::default() }.map(10, 10);
        // Counter-clockwise: what is at the right goes to the top.
        assert_eq!(map.point(10.0, 5.0), Some((5.0, 0.0)));
        let map = Affine { scale: (2.0, 0.5), translate: (3.0, 1.0), ..Affine::default() }.map(10, 4);
        assert_eq!(map.point(6.0, 4.0), Some((10.0, 4.0)));
        let (x, y) = Affine { shear: (45.0, 0.0), ..Affine::default() }.map(10, 10).point(5.0, 7.0).unwrap();
        assert!((x - 7.0).abs() < 1e-9 && y == 7.0);
    }

    proptest! {
        #[test]
        fn nothing_asked_nothing_done(w in 1usize..12, h in 1usize..12, c in prop::sample::select(vec![1usize, 3, 4]), seed in 0u64..99) {
            let picture = image(w, h, c, seed);
            for edge in [Edge::Zero, Edge::Extend, Edge::Mirror, Edge::Wrap] {
                prop_assert_eq!(&rotate(&picture, 0.0, edge).unwrap(), &picture);
                prop_assert_eq!(&rotate(&picture, 360.0, edge).unwrap(), &picture);
                let corners = [(0.0, 0.0), (w as f64, 0.0), (w as f64, h as f64), (0.0, h as f64)];
                prop_assert_eq!(&perspective(&picture, corners, edge).unwrap(), &picture);
            }
            prop_assert_eq!(rotate(&picture, 180.0, Edge::Zero).unwrap(), flip_vertical(&flip_horizontal(&picture)));
        }

        #[test]
        fn quarter_turns_of_squares_are_exact(side in 1usize..12, quarters in -5i32..6, seed in 0u64..99) {
            let picture = image(side, side, 3, seed);
            prop_assert_eq!(rotate(&picture, 90.0 * f64::from(quarters), Edge::Zero).unwrap(), turn(&picture, quarters));
        }

        #[test]
        fn the_map_says_where_a_mark_went(angle in -40.0f64..40.0, sx in 0.8f64..1.3, kx in -10.0f64..10.0, x in 12usize..20, y in 12usize..20) {
            let mut picture = ImageBuffer::filled(32, 32, 1, 0).unwrap();
            picture.pixel_mut(x, y)[0] = 255;
            let by = Affine { rotate: angle, scale: (sx, 1.1), shear: (kx, 2.0), translate: (1.5, -0.5) };
            let moved = affine(&picture, &by, Edge::Zero).unwrap();
            let expected = by.map(32, 32).point(x as f64 + 0.5, y as f64 + 0.5).unwrap();
            prop_assert!(centre(&moved).is_some_and(|(a, b)| (a - expected.0).hypot(b - expected.1) < 0.35), "{:?} {expected:?}", centre(&moved));
        }
    }

    /// The centre of the light.
    fn centre(image: &ImageBuffer) -> Option<(f64, f64)> {
        let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
        for (i, p) in image.pixels().iter().enumerate() {
            let p = f64::from(*p);
            sum += p;
            x += p * ((i % image.width()) as f64 + 0.5);
            y += p * ((i / image.width()) as f64 + 0.5);
        }
        (sum > 0.0).then(|| (x / sum, y / sum))
    }

    #[test]
    fn bad_values_are_errors() {
        let picture = image(4, 3, 3, 1);
        assert!(rotate(&picture, f64::NAN, Edge::Zero).is_err());
        assert!(affine(&picture, &Affine { scale: (0.0, 1.0), ..Affine::default() }, Edge::Zero).is_err());
        assert!(perspective(&picture, [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], Edge::Zero).is_err());
    }
}
