//! Turns of the hue circle.

use crate::sample::ImageBuffer;

/// Turns the hue of every pixel by `degrees` (HSV hexagon: red 0, green 120, blue 240); value, chroma and alpha stay. A gray picture has no hue and stays.
pub fn rotate_hue(image: &mut ImageBuffer, degrees: f64) {
    let channels = image.channels();
    let turn = (degrees.rem_euclid(360.0) / 60.0) as f32;
    if channels < 3 || !degrees.is_finite() || turn == 0.0 {
        return;
    }
    for pixel in image.pixels_mut().chunks_exact_mut(channels) {
        let [r, g, b, ..] = pixel else { continue };
        let (high, low) = ((*r).max(*g).max(*b), (*r).min(*g).min(*b));
        if high == low {
            continue;
        }
        let (red, green, blue, chroma) = (f32::from(*r), f32::from(*g), f32::from(*b), f32::from(high - low));
        let hue = if high == *r {
            (green - blue) / chroma
        } else if high == *g {
            (blue - red) / chroma + 2.0
        } else {
            (red - green) / chroma + 4.0
        };
        let hue = (hue + turn).rem_euclid(6.0);
        // Distance from each primary on the hexagon: full within 1, none beyond 2.
        let at = |centre: f32| {
            let apart = (hue - centre).abs();
            let share = (2.0 - apart.min(6.0 - apart)).clamp(0.0, 1.0);
            (f32::from(low) + chroma * share).round() as u8
        };
        (*r, *g, *b) = (at(0.0), at(2.0), at(4.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn primaries_turn_into_each_other() {
        let turned = |rgb: [u8; 3], degrees| {
            let mut image = ImageBuffer::new(1, 1, 3, rgb.to_vec()).unwrap();
            rotate_hue(&mut image, degrees);
            [image.pixels()[0], image.pixels()[1], image.pixels()[2]]
        };
        assert_eq!(turned([255, 0, 0], 120.0), [0, 255, 0]);
        assert_eq!(turned([255, 0, 0], -120.0), [0, 0, 255]);
        assert_eq!(turned([200, 100, 100], 60.0), [200, 200, 100]);
        assert_eq!(turned([9, 9, 9], 77.0), [9, 9, 9]);
    }

    proptest! {
        #[test]
        fn a_turn_is_undone_by_its_opposite(rgb: [u8; 3], degrees in -360.0f64..360.0) {
            let mut image = ImageBuffer::new(1, 1, 3, rgb.to_vec()).unwrap();
            rotate_hue(&mut image, degrees);
            rotate_hue(&mut image, -degrees);
            // Twice rounded to whole levels.
            prop_assert!(image.pixels().iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 1), "{:?} {rgb:?}", image.pixels());
        }
    }
}
