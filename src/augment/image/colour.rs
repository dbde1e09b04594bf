use super::{
    bytes::{LANES, Lane, Recolour, apply_table, map_rgb},
    tone::{mean_luma, table},
};
use crate::{augment::wide::wide, sample::ImageBuffer};
use serde::{Deserialize, Serialize};

/// Weights of red, green and blue in luma (Rec. 601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Moves each colour towards (`factor` below 1) or away from its luma; 0 leaves gray, 1 changes nothing.
#[inline(always)]
fn saturate(r: &mut Lane, g: &mut Lane, b: &mut Lane, factor: f32) {
    for i in 0..LANES {
        let gray = LUMA[0] * r[i] + LUMA[1] * g[i] + LUMA[2] * b[i];
        r[i] = (gray + (r[i] - gray) * factor).max(0.0).min(255.0);
        g[i] = (gray + (g[i] - gray) * factor).max(0.0).min(255.0);
        b[i] = (gray + (b[i] - gray) * factor).max(0.0).min(255.0);
    }
}

/// Changes hue (by `turn` sixths of the circle, 0..6), saturation and value (added, of the full range) in the hexcone model (Smith 1978, "Color gamut
/// transform pairs").
#[inline(always)]
fn hexcone(r: &mut Lane, g: &mut Lane, b: &mut Lane, turn: f32, saturation: f32, value: f32) {
    for i in 0..LANES {
        let (high, low) = (r[i].max(g[i]).max(b[i]), r[i].min(g[i]).min(b[i]));
        let chroma = high - low;
        // Where nothing has a colour the hue is red's, and no chroma shows it.
        let inverse = 1.0 / chroma.max(1e-6);
        let from_red = (g[i] - b[i]) * inverse;
        let from_green = (b[i] - r[i]) * inverse + 2.0;
        let from_blue = (r[i] - g[i]) * inverse + 4.0;
        let hue = if high == r[i] {
            from_red
        } else if high == g[i] {
            from_green
        } else {
            from_blue
        };
        let full = (chroma / high.max(1e-6) + saturation).max(0.0).min(1.0);
        // A gray pixel stays gray.
        let full = if chroma == 0.0 { 0.0 } else { full };
        let light = (high + value * 255.0).max(0.0).min(255.0);
        let chroma = light * full;
        let hue = hue + turn;
        (r[i], g[i], b[i]) = (face(light, chroma, hue + 5.0), face(light, chroma, hue + 3.0), face(light, chroma, hue + 1.0));
    }
}

/// A channel of the hexcone; `k` is in -1..17.
#[inline(always)]
fn face(light: f32, chroma: f32, k: f32) -> f32 {
    let k = if k >= 6.0 { k - 6.0 } else { k };
    let k = if k >= 6.0 { k - 6.0 } else { k };
    light - chroma * k.min(4.0 - k).min(1.0).max(0.0)
}

#[derive(Clone, Copy)]
struct Saturate(f32);

impl Recolour for Saturate {
    #[inline(always)]
    fn recolour(self, r: &mut Lane, g: &mut Lane, b: &mut Lane) {
        saturate(r, g, b, self.0);
    }
}

/// [`Saturate`], and a turn of the hue.
#[derive(Clone, Copy)]
struct SaturateTurn(f32, f32);

impl Recolour for SaturateTurn {
    #[inline(always)]
    fn recolour(self, r: &mut Lane, g: &mut Lane, b: &mut Lane) {
        saturate(r, g, b, self.0);
        hexcone(r, g, b, self.1, 0.0, 0.0);
    }
}

/// Turn, saturation and value of [`hexcone`].
#[derive(Clone, Copy)]
struct Shift(f32, f32, f32);

impl Recolour for Shift {
    #[inline(always)]
    fn recolour(self, r: &mut Lane, g: &mut Lane, b: &mut Lane) {
        hexcone(r, g, b, self.0, self.1, self.2);
    }
}

wide! {
    fn jitter[const C: usize](bytes: &mut [u8], saturation: f32, turn: f32) {
        if turn == 0.0 {
            map_rgb::<C>(bytes, Saturate(saturation));
        } else {
            map_rgb::<C>(bytes, SaturateTurn(saturation, turn));
        }
    }
}

wide! {
    fn shift_hexcone[const C: usize](bytes: &mut [u8], turn: f32, saturation: f32, value: f32) {
        map_rgb::<C>(bytes, Shift(turn, saturation, value));
    }
}

/// Degrees as sixths of the circle in 0..6; what is not finite counts as 0.
fn sixths(degrees: f32) -> f32 {
    let turn = degrees.rem_euclid(360.0) / 60.0;
    if turn.is_finite() && turn < 6.0 { turn } else { 0.0 }
}

/// Moves every colour's distance from its luma (Rec. 601) by `factor` (at least 0): 0 leaves gray, 1 changes nothing. Gray pictures and alpha stay.
pub fn saturation(image: &mut ImageBuffer, factor: f32) {
    match image.channels() {
        3 => jitter::<3>(image.pixels_mut(), factor, 0.0),
        4 => jitter::<4>(image.pixels_mut(), factor, 0.0),
        _ => {}
    }
}

/// Goes `share` (`0..=1`) of the way to the picture's luma (Rec. 601); channels stay as many as they are.
pub fn grayscale(image: &mut ImageBuffer, share: f32) {
    if share >= 1.0 {
        match image.channels() {
            3 => to_luma::<3>(image.pixels_mut()),
            4 => to_luma::<4>(image.pixels_mut()),
            _ => {}
        }
        return;
    }
    saturation(image, 1.0 - share);
}

wide! {
    fn to_luma[const C: usize](bytes: &mut [u8]) {
        const SOME: usize = 64;
        let mut luma = [0u8; SOME];
        let pixels = bytes.as_chunks_mut::<C>().0;
        let mut from = 0;
        while from < pixels.len() {
            let count = SOME.min(pixels.len() - from);
            let pixels = &mut pixels[from..from + count];
            // 65,536ths that sum to one.
            for i in 0..count {
                let (r, g, b) = (u32::from(pixels[i][0]), u32::from(pixels[i][1 % C]), u32::from(pixels[i][2 % C]));
                let sum = r.wrapping_mul(19_595).wrapping_add(g.wrapping_mul(38_470)).wrapping_add(b.wrapping_mul(7_471));
                luma[i] = (sum.wrapping_add(32_768) >> 16) as u8;
            }
            for i in 0..count {
                pixels[i][0] = luma[i];
                pixels[i][1 % C] = luma[i];
                pixels[i][2 % C] = luma[i];
            }
            from += count;
        }
    }
}

/// Turns the hue by `hue` degrees and adds `saturation` and `value` (of the full range, `-1..=1`), in the hexcone model (HSV). Gray pictures take
/// the value alone; gray pixels stay gray; alpha stays.
pub fn hue_saturation_value(image: &mut ImageBuffer, hue: f32, saturation: f32, value: f32) {
    let turn = sixths(hue);
    match image.channels() {
        3 => shift_hexcone::<3>(image.pixels_mut(), turn, saturation, value),
        4 => shift_hexcone::<4>(image.pixels_mut(), turn, saturation, value),
        _ => apply_table(image.pixels_mut(), 1, &table(|p| p + value * 255.0)),
    }
}

/// Changes of light and colour that go together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Jitter {
    /// Factor of all values, at least 0.
    pub brightness: f32,
    /// Factor of the distance from the mean luma, at least 0.
    pub contrast: f32,
    /// Factor of the distance from each pixel's own luma, at least 0.
    pub saturation: f32,
    /// Degrees of hue.
    pub hue: f32,
}

/// Brightness, contrast, saturation and hue, in this order (the operations of torchvision's `ColorJitter`). Alpha stays.
pub fn colour_jitter(image: &mut ImageBuffer, by: &Jitter) {
    let channels = image.channels();
    if by.brightness != 1.0 {
        apply_table(image.pixels_mut(), channels, &table(|p| p * by.brightness));
    }
    if by.contrast != 1.0 {
        let mean = mean_luma(image) as f32;
        apply_table(image.pixels_mut(), channels, &table(|p| mean + (p - mean) * by.contrast));
    }
    let turn = sixths(by.hue);
    if by.saturation == 1.0 && turn == 0.0 {
        return;
    }
    match channels {
        3 => jitter::<3>(image.pixels_mut(), by.saturation, turn),
        4 => jitter::<4>(image.pixels_mut(), by.saturation, turn),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use proptest::prelude::*;

    fn one(rgb: [u8; 3], f: impl Fn(&mut ImageBuffer)) -> [u8; 3] {
        let mut picture = ImageBuffer::new(1, 1, 3, rgb.to_vec()).unwrap();
        f(&mut picture);
        picture.pixels().try_into().unwrap()
    }

    #[test]
    fn worked_values() {
        // Luma of (100, 200, 50): 29.9 + 117.4 + 5.7 = 153.
        assert_eq!(one([100, 200, 50], |i| grayscale(i, 1.0)), [153, 153, 153]);
        assert_eq!(one([100, 200, 50], |i| saturation(i, 0.5)), [126, 176, 102]);
        // A third of the circle: red becomes green, green blue.
        assert_eq!(one([255, 0, 0], |i| hue_saturation_value(i, 120.0, 0.0, 0.0)), [0, 255, 0]);
        assert_eq!(one([10, 200, 90], |i| hue_saturation_value(i, 120.0, 0.0, 0.0)), [90, 10, 200]);
        assert_eq!(one([10, 200, 90], |i| hue_saturation_value(i, -120.0, 0.0, 0.0)), [200, 90, 10]);
        assert_eq!(one([200, 100, 100], |i| hue_saturation_value(i, 60.0, 0.0, 0.0)), [200, 200, 100]);
        assert_eq!(one([255, 0, 0], |i| hue_saturation_value(i, 30.0, 0.0, 0.0)), [255, 128, 0]);
        // (200, 100, 100) has saturation 0.5; 0.25 more of value 200 leaves 50.
        assert_eq!(one([200, 100, 100], |i| hue_saturation_value(i, 0.0, 0.25, 0.0)), [200, 50, 50]);
        // 74.5 goes to the even number.
        assert_eq!(one([200, 100, 100], |i| hue_saturation_value(i, 0.0, 0.0, -0.2)), [149, 74, 74]);
        assert_eq!(one([90, 90, 90], |i| hue_saturation_value(i, 77.0, 0.9, 0.0)), [90, 90, 90]);
        let by = Jitter { brightness: 0.5, contrast: 1.0, saturation: 1.0, hue: 120.0 };
        assert_eq!(one([20, 200, 90], |i| colour_jitter(i, &by)), [45, 10, 100]);
    }

    proptest! {
        #[test]
        fn nothing_asked_nothing_done(w in 1usize..80, c in prop::sample::select(vec![1usize, 3, 4]), seed in 0u64..99) {
            let picture = image(w, 3, c, seed);
            let mut out = picture.clone();
            hue_saturation_value(&mut out, 0.0, 0.0, 0.0);
            saturation(&mut out, 1.0);
            colour_jitter(&mut out, &Jitter { brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 360.0 });
            prop_assert_eq!(&out, &picture);
        }

        #[test]
        fn a_turn_goes_back(seed in 0u64..99, degrees in -400.0f32..400.0) {
            let picture = image(40, 1, 3, seed);
            let mut out = picture.clone();
            hue_saturation_value(&mut out, degrees, 0.0, 0.0);
            hue_saturation_value(&mut out, -degrees, 0.0, 0.0);
            for (a, b) in out.pixels().iter().zip(picture.pixels()) {
                // Twice rounded to whole levels.
                prop_assert!(a.abs_diff(*b) <= 1, "{a} {b}");
            }
        }

        #[test]
        fn any_number(seed in 0u64..9, c in prop::sample::select(vec![1usize, 3, 4]), v in prop::sample::select(vec![0.0f32, -5.0, 1e30, f32::NAN, f32::INFINITY])) {
            let mut picture = image(5, 2, c, seed);
            hue_saturation_value(&mut picture, v, v, v);
            colour_jitter(&mut picture, &Jitter { brightness: v, contrast: v, saturation: v, hue: v });
            let alpha = image(5, 2, c, seed);
            prop_assert!(c < 4 || picture.pixels().iter().skip(3).step_by(4).eq(alpha.pixels().iter().skip(3).step_by(4)));
        }
    }
}
