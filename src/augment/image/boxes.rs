use crate::sample::BoundingBox;

/// An affine map of pixel places: `x' = x * scale_x + offset_x`, the same for y. A negative `scale_x` mirrors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxMap {
    /// Factor along x, not 0.
    pub scale_x: f64,
    /// Added along x, in pixels of the new image.
    pub offset_x: f64,
    /// Factor along y, not 0.
    pub scale_y: f64,
    /// Added along y.
    pub offset_y: f64,
}

impl BoxMap {
    /// Moves by `dx` and `dy` pixels.
    pub fn shift(dx: f64, dy: f64) -> Self {
        Self { scale_x: 1.0, offset_x: dx, scale_y: 1.0, offset_y: dy }
    }
    /// Mirrors left and right an image of this width.
    pub fn flip_horizontal(width: usize) -> Self {
        Self { scale_x: -1.0, offset_x: width as f64, scale_y: 1.0, offset_y: 0.0 }
    }
    /// Mirrors top and bottom an image of this height.
    pub fn flip_vertical(height: usize) -> Self {
        Self { scale_x: 1.0, offset_x: 0.0, scale_y: -1.0, offset_y: height as f64 }
    }
    /// What [`super::crop_resize`] does to places.
    pub fn crop(rect: super::PixelRect, width: usize, height: usize) -> Self {
        let (scale_x, scale_y) = (width as f64 / rect.width, height as f64 / rect.height);
        Self { scale_x, offset_x: -rect.x * scale_x, scale_y, offset_y: -rect.y * scale_y }
    }
    /// The map back.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self {
            scale_x: 1.0 / self.scale_x,
            offset_x: -self.offset_x / self.scale_x,
            scale_y: 1.0 / self.scale_y,
            offset_y: -self.offset_y / self.scale_y,
        }
    }
    /// Where a box comes to lie, not cut at any border.
    pub fn map(&self, from: &BoundingBox) -> BoundingBox {
        let side = |start: f32, length: f32, scale: f64, offset: f64| {
            let (a, length) = (f64::from(start) * scale + offset, f64::from(length) * scale);
            ((if length < 0.0 { a + length } else { a }) as f32, length.abs() as f32)
        };
        let (x, width) = side(from.x, from.width, self.scale_x, self.offset_x);
        let (y, height) = side(from.y, from.height, self.scale_y, self.offset_y);
        BoundingBox { x, y, width, height, label: from.label.clone() }
    }
}

/// The part of a box inside a `width` x `height` image, and that part's share of its area (0 for a box without area).
pub fn visible_share(place: &BoundingBox, width: usize, height: usize) -> (BoundingBox, f32) {
    let side = |from: f32, length: f32, limit: usize| {
        let start = from.clamp(0.0, limit as f32);
        (start, (from + length).clamp(start, limit as f32) - start)
    };
    if place.x >= 0.0 && place.y >= 0.0 && place.x + place.width <= width as f32 && place.y + place.height <= height as f32 {
        return (place.clone(), f32::from(u8::from(place.width * place.height > 0.0)));
    }
    let (x, w) = side(place.x, place.width, width);
    let (y, h) = side(place.y, place.height, height);
    let area = place.width * place.height;
    let share = if area > 0.0 { w * h / area } else { 0.0 };
    (BoundingBox { x, y, width: w, height: h, label: place.label.clone() }, share)
}

/// Boxes moved by `map` and cut at the border of a `width` x `height` image; boxes that left it are gone. The least visible share of all boxes
/// comes with them, 1 where there is none.
pub fn map_boxes(boxes: &[BoundingBox], map: BoxMap, width: usize, height: usize) -> (Vec<BoundingBox>, f32) {
    let mut least = 1f32;
    let mut out = Vec::with_capacity(boxes.len());
    for place in boxes {
        let (cut, share) = visible_share(&map.map(place), width, height);
        least = least.min(share);
        if share > 0.0 {
            out.push(cut);
        }
    }
    (out, least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(x: f32, y: f32, width: f32, height: f32) -> BoundingBox {
        BoundingBox { x, y, width, height, label: "dog".into() }
    }

    #[test]
    fn worked_values() {
        let flip = BoxMap::flip_horizontal(64);
        assert_eq!(flip.map(&place(4.0, 2.0, 10.0, 5.0)), place(50.0, 2.0, 10.0, 5.0));
        let (boxes, least) = map_boxes(&[place(0.0, 0.0, 10.0, 10.0), place(60.0, 0.0, 4.0, 4.0)], BoxMap::shift(-5.0, 0.0), 64, 48);
        assert_eq!(boxes, [place(0.0, 0.0, 5.0, 10.0), place(55.0, 0.0, 4.0, 4.0)]);
        assert_eq!(least, 0.5);
        let (boxes, least) = map_boxes(&[place(0.0, 0.0, 10.0, 10.0)], BoxMap::shift(-50.0, 0.0), 64, 48);
        assert!(boxes.is_empty() && least == 0.0);
    }

    proptest! {
        #[test]
        fn maps_invert(x in 0u32..60, y in 0u32..40, w in 1u32..30, h in 1u32..30, cx in 0u32..20, cw in 4u32..40) {
            let from = place(x as f32, y as f32, w as f32, h as f32);
            let rect = crate::augment::image::PixelRect { x: f64::from(cx), y: 1.0, width: f64::from(cw), height: 20.0 };
            for map in [BoxMap::shift(3.5, -2.0), BoxMap::flip_horizontal(64), BoxMap::crop(rect, 64, 48)] {
                let back = map.inverse().map(&map.map(&from));
                for (a, b) in [(back.x, from.x), (back.y, from.y), (back.width, from.width), (back.height, from.height)] {
                    prop_assert!((a - b).abs() < 1e-3, "{back:?} {from:?}");
                }
            }
            let flip = BoxMap::flip_horizontal(64);
            prop_assert_eq!(flip.map(&flip.map(&from)), from);
        }
    }
}
