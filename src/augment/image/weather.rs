use super::{
    Filter,
    bytes::{apply_table, to_byte},
    colour_channels,
    lanes::{Lanes, fill_normals, fill_uniform},
    motion_blur, resize,
    tone::{luma, table},
};
use crate::{augment::wide::wide, sample::ImageBuffer};

/// A cloudy field in 0..=1 of `width` x `height` values: midpoint displacement by the diamond and square steps (Fournier, Fussell and Carpenter 1982,
/// "Computer rendering of stochastic models"), each finer step `decay` squared (at least 1) times weaker.
fn plasma(width: usize, height: usize, decay: f32, seed: u64) -> Vec<f32> {
    // Wider than this the clouds are enlarged: nobody sees the difference.
    let size = width.max(height).next_power_of_two().min(1024);
    let mask = size - 1;
    let mut map = vec![0f32; size * size];
    let mut noise = vec![0f32; size * size];
    fill_uniform(seed, &mut noise);
    let (mut step, mut strength) = (size, 1f32);
    let decay = if decay.is_nan() { 2.0 } else { decay.clamp(1.0, 16.0) };
    while step >= 2 {
        let half = step / 2;
        let mut set = |x: usize, y: usize, around: [(usize, usize); 4]| {
            let sum: f32 = around.iter().map(|(x, y)| map[(y & mask) * size + (x & mask)]).sum();
            let at = y * size + x;
            map[at] = 0.25 * sum + strength * noise[at];
        };
        for y in (half..size).step_by(step) {
            for x in (half..size).step_by(step) {
                set(x, y, [(x - half, y - half), (x + half, y - half), (x - half, y + half), (x + half, y + half)]);
            }
        }
        for y in (0..size).step_by(half) {
            let first = if y / half % 2 == 0 { half } else { 0 };
            for x in (first..size).step_by(step) {
                set(x, y, [(x + size - half, y), (x + half, y), (x, y + size - half), (x, y + half)]);
            }
        }
        step = half;
        strength /= decay * decay;
    }
    let (low, high) = map.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    let scale = 1.0 / (high - low).max(1e-6);
    let enlarge = width.max(height).div_ceil(size);
    (0..height)
        .flat_map(|y| {
            let row = &map[y / enlarge * size..];
            (0..width).map(move |x| (row[x / enlarge] - low) * scale)
        })
        .collect()
}

/// Fog (Hendrycks and Dietterich 2019): adds a cloudy field times `thickness` (at least 0, of the full range) and brings the brightest value back to where it was.
/// `decay` (1..=16) smooths: 1.4 is ragged, 2 soft. Alpha stays.
pub fn fog(image: &mut ImageBuffer, thickness: f32, decay: f32, seed: u64) {
    wide! {
        fn cloud[const C: usize](bytes: &mut [u8], field: &[f32], add: f32, scale: f32) {
            let pixels = bytes.as_chunks_mut::<C>().0;
            let count = pixels.len().min(field.len());
            let (pixels, field) = (&mut pixels[..count], &field[..count]);
            for i in 0..count {
                for c in 0..C.min(3) {
                    pixels[i][c] = to_byte((f32::from(pixels[i][c]) + add * field[i]) * scale);
                }
            }
        }
    }
    if thickness.is_nan() || thickness <= 0.0 {
        return;
    }
    let field = plasma(image.width(), image.height(), decay, seed);
    let (channels, add) = (image.channels(), thickness.min(100.0) * 255.0);
    let shown = colour_channels(channels);
    let most = image.pixels().chunks_exact(channels).flat_map(|pixel| &pixel[..shown]).max().copied().map_or(0.0, f32::from);
    let scale = most.max(1.0) / (most.max(1.0) + add);
    match channels {
        1 => cloud::<1>(image.pixels_mut(), &field, add, scale),
        3 => cloud::<3>(image.pixels_mut(), &field, add, scale),
        _ => cloud::<4>(image.pixels_mut(), &field, add, scale),
    }
}

/// Frost on the pane: every pixel goes towards a bluish white, by `ice` (`0..=1`) times a quarter and three quarters of a field of crystals (ridges of two
/// cloudy fields, `0..=1`). Where the corruption "frost" pastes photographs, this grows its own. Alpha stays.
pub fn frost(image: &mut ImageBuffer, ice: f32, seed: u64) {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let ice = if ice.is_nan() { 0.0 } else { ice.clamp(0.0, 1.0) };
    let veins = plasma(width, height, 1.35, seed);
    let cover = plasma(width, height, 1.7, seed ^ 0x6A09_E667_F3BC_C908);
    let shown = colour_channels(channels);
    for ((pixel, vein), cover) in image.pixels_mut().chunks_exact_mut(channels).zip(veins).zip(cover) {
        // A ridge where the first field passes its middle.
        let ridge = 1.0 - (4.0 * vein - 2.0).abs().min(1.0);
        let crystal = 0.35 * cover + 0.65 * ridge * ridge * (0.5 + 0.5 * cover);
        let share = ice * (0.25 + 0.75 * crystal);
        for (p, white) in pixel[..shown].iter_mut().zip([215.0, 232.0, 245.0]) {
            let value = f32::from(*p);
            *p = to_byte(value + share * (white - value));
        }
    }
}

/// How [`snow`] looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snow {
    /// Share of the picture's points where a flake falls, about (`0..=0.5`).
    pub density: f32,
    /// Size of a flake in pixels, at least 1.
    pub size: f32,
    /// Length of its trace in pixels.
    pub trace: f32,
    /// Degrees of the trace, counter-clockwise from the x axis.
    pub degrees: f32,
    /// How far the picture goes towards a pale gray (`0..=1`).
    pub pale: f32,
}

/// Falling snow, after Hendrycks and Dietterich 2019: the picture pales, normal noise is enlarged to flakes, cut off below the quantile that leaves `density`,
/// blurred along the trace, and added twice, once turned by half. Alpha stays.
pub fn snow(image: &mut ImageBuffer, by: &Snow, seed: u64) {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let size = if by.size.is_nan() { 1.0 } else { by.size.clamp(1.0, 64.0) };
    let side = |n: usize| ((n as f32 / size).ceil() as usize).max(1);
    let mut normals = vec![0f32; side(width) * side(height)];
    fill_normals(seed, &mut normals);
    let density = f64::from(if by.density.is_nan() { 0.0 } else { by.density.clamp(0.0, 0.5) });
    let cut = upper_quantile(density);
    let noise: Vec<u8> = normals.iter().map(|n| to_byte(128.0 + 48.0 * (f64::from(*n) - cut) as f32)).collect();
    // Sizes are those of the picture, so none of these fails.
    let Ok(small) = ImageBuffer::new(side(width), side(height), 1, noise) else { return };
    let Ok(mut flakes) = resize(&small, width, height, Filter::Bilinear) else { return };
    let bright = if density > 0.0 { table(|p| if p > 128.0 { 110.0 + 1.6 * (p - 128.0) } else { 0.0 }) } else { [0; 256] };
    apply_table(flakes.pixels_mut(), 1, &bright);
    let flakes = motion_blur(&flakes, by.trace, by.degrees);
    let gray = luma(image);
    let shown = colour_channels(channels);
    let pale = by.pale.clamp(0.0, 1.0);
    let turned = flakes.pixels().iter().rev();
    for (((pixel, flake), back), gray) in image.pixels_mut().chunks_exact_mut(channels).zip(flakes.pixels()).zip(turned).zip(gray) {
        let snow = f32::from(*flake) + f32::from(*back);
        let light = 1.5 * f32::from(gray) + 127.5;
        for p in &mut pixel[..shown] {
            let value = f32::from(*p);
            *p = to_byte(value + pale * (light.max(value) - value) + snow);
        }
    }
}

/// The number of standard deviations above which `share` (0..=0.5) of a normal distribution lies (Abramowitz and Stegun 1964, 26.2.23).
fn upper_quantile(share: f64) -> f64 {
    let t = (-2.0 * share.max(1e-9).ln()).sqrt();
    t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)))
}

/// How [`rain`] looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rain {
    /// Streaks, at most a million.
    pub count: usize,
    /// Their length in pixels, down.
    pub length: f32,
    /// Pixels that they lean to the right on the way down.
    pub slant: f32,
    /// Their opacity (`0..=1`).
    pub opacity: f32,
    /// Factor of the picture's light (`0..=1`), before the streaks.
    pub light: f32,
}

/// Rain: a darker picture, and smooth streaks of pale gray (200) at places that `seed` decides; a greater count of the same seed adds streaks. Alpha stays.
pub fn rain(image: &mut ImageBuffer, by: &Rain, seed: u64) {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    apply_table(image.pixels_mut(), channels, &table(|p| p * by.light.clamp(0.0, 1.0)));
    let finite = by.length.is_finite() && by.slant.is_finite() && by.opacity.is_finite();
    if !finite || by.length <= 0.0 {
        return;
    }
    let shown = colour_channels(channels);
    let opacity = (by.opacity.clamp(0.0, 1.0) * 256.0) as i32;
    let steps = by.length.min(height as f32).ceil() as usize;
    let lean = (by.slant / by.length.max(1.0)).clamp(-16.0, 16.0);
    let mut lanes = Lanes::new(seed);
    let (mut words, mut used) = (lanes.next(), 0);
    for _ in 0..by.count.min(1_000_000) {
        if used + 2 > words.len() {
            (words, used) = (lanes.next(), 0);
        }
        // Streaks may begin above the picture and beside it.
        let spread = |word: u32, from: f32, to: f32| from + (to - from) * (word as f32 * (1.0 / 4_294_967_296.0));
        let reach = lean * steps as f32;
        let x = spread(words[used], -reach.max(0.0), width as f32 - reach.min(0.0));
        let y = spread(words[used + 1], -(steps as f32), height as f32).floor() as i64;
        used += 2;
        for i in 0..steps {
            let row = y + i as i64;
            if !(0..height as i64).contains(&row) {
                continue;
            }
            let at = x + lean * i as f32;
            let column = at.floor();
            // Fades at both ends, and is shared by two pixels.
            let fade = (2 * (i + 1).min(steps - i) as i32).min(8) * opacity / 8;
            let right = ((at - column) * 256.0) as i32;
            for (column, share) in [(column as i64, 256 - right), (column as i64 + 1, right)] {
                if (0..width as i64).contains(&column) {
                    let start = (row as usize * width + column as usize) * channels;
                    let weight = (fade * share) >> 8;
                    for p in &mut image.pixels_mut()[start..start + shown] {
                        *p = (i32::from(*p) + (((200 - i32::from(*p)) * weight) >> 8)) as u8;
                    }
                }
            }
        }
    }
}

/// Multiplies the colours inside a polygon (in pixels from the top left corner; even and odd crossings) by `factor` (at least 0): a shadow's hard edge,
/// or a beam of light above 1. Pixels count whose centre is inside. Alpha stays.
pub fn shadow(image: &mut ImageBuffer, corners: &[(f64, f64)], factor: f32) {
    let (width, channels) = (image.width(), image.channels());
    let table = table(|p| p * factor);
    let mut crossings: Vec<f64> = Vec::with_capacity(corners.len());
    for (y, row) in image.pixels_mut().chunks_exact_mut(width * channels).enumerate() {
        let line = y as f64 + 0.5;
        crossings.clear();
        for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            if (a.1 <= line) != (b.1 <= line) {
                crossings.push(a.0 + (line - a.1) / (b.1 - a.1) * (b.0 - a.0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.as_chunks::<2>().0 {
            let column = |x: f64| (x - 0.5).ceil().clamp(0.0, width as f64) as usize;
            let (from, to) = (column(pair[0]), column(pair[1]));
            if from < to {
                apply_table(&mut row[from * channels..to * channels], channels, &table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;

    #[test]
    fn clouds_fill_their_range_and_are_smooth() {
        let field = plasma(130, 70, 2.0, 3);
        assert_eq!(field.len(), 130 * 70);
        assert!(field.iter().all(|v| (0.0..=1.0).contains(v)));
        let rough = |decay| {
            let field = plasma(128, 128, decay, 3);
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
            square(&mut field.windows(2).map(|w| w[1] - w[0])) / square(&mut field.iter().map(|v| v - 0.5))
        };
        assert!(rough(2.0) < 0.5 * rough(1.4), "{} {}", rough(2.0), rough(1.4));
    }

    #[test]
    fn fog_keeps_the_brightest_and_lifts_the_dark() {
        let mut dark = ImageBuffer::filled(64, 64, 3, 0).unwrap();
        dark.pixel_mut(3, 3)[0] = 250;
        fog(&mut dark, 1.0, 2.0, 4);
        let most = *dark.pixels().iter().max().unwrap();
        let mean = dark.pixels().iter().map(|p| f64::from(*p)).sum::<f64>() / 12_288.0;
        assert!(most <= 250 && mean > 40.0, "{most} {mean}");
        let mut none = image(9, 9, 3, 1);
        fog(&mut none, 0.0, 2.0, 4);
        assert_eq!(none, image(9, 9, 3, 1));
    }

    #[test]
    fn snow_covers_about_its_share() {
        assert!((upper_quantile(0.025) - 1.96).abs() < 1e-3 && upper_quantile(0.5).abs() < 1e-3);
        let by = Snow { density: 0.05, size: 1.0, trace: 1.0, degrees: -90.0, pale: 0.0 };
        let mut dark = ImageBuffer::filled(200, 100, 1, 0).unwrap();
        snow(&mut dark, &by, 2);
        let white = dark.pixels().iter().filter(|p| **p > 0).count() as f64 / 20_000.0;
        // Once as it is and once turned.
        assert!((white - 0.0975).abs() < 0.02, "{white}");
        let mut same = image(30, 20, 3, 1);
        snow(&mut same, &Snow { density: 0.0, ..by }, 2);
        assert_eq!(same, image(30, 20, 3, 1));
    }

    #[test]
    fn more_rain_only_adds() {
        let by = Rain { count: 10, length: 12.0, slant: 3.0, opacity: 0.8, light: 1.0 };
        let drawn = |count| {
            let mut dark = ImageBuffer::filled(64, 48, 3, 0).unwrap();
            rain(&mut dark, &Rain { count, ..by }, 5);
            dark
        };
        let (few, many) = (drawn(10), drawn(60));
        assert!(few.pixels().iter().zip(many.pixels()).all(|(a, b)| a <= b));
        assert!(few.pixels().iter().any(|p| *p > 100) && few != many);
        let mut dimmed = ImageBuffer::filled(4, 4, 4, 100).unwrap();
        rain(&mut dimmed, &Rain { count: 0, light: 0.5, ..by }, 5);
        assert_eq!(dimmed.pixel(1, 1), [50, 50, 50, 100]);
    }

    #[test]
    fn a_shadow_has_the_form_of_its_polygon() {
        let mut picture = ImageBuffer::filled(6, 4, 1, 100).unwrap();
        shadow(&mut picture, &[(1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0)], 0.5);
        for y in 0..4 {
            for x in 0..6 {
                let inside = (1..4).contains(&x) && (1..3).contains(&y);
                assert_eq!(picture.pixel(x, y), [if inside { 50 } else { 100 }]);
            }
        }
    }

    #[test]
    fn any_size_and_parameter() {
        for (w, h, c) in [(1, 1, 1), (3, 2, 3), (11, 3, 4)] {
            for v in [0.0f32, -1.0, 0.5, 1e30, f32::NAN, f32::INFINITY] {
                let mut picture = image(w, h, c, 4);
                fog(&mut picture, v, v, 1);
                frost(&mut picture, v, 1);
                snow(&mut picture, &Snow { density: v, size: v, trace: v, degrees: v, pale: v }, 1);
                rain(&mut picture, &Rain { count: 9, length: v, slant: v, opacity: v, light: v }, 1);
                rain(&mut picture, &Rain { count: 9, length: 3.0, slant: v, opacity: 1.0, light: v }, 1);
                shadow(&mut picture, &[(f64::from(v), 0.0), (3.0, f64::from(v)), (0.0, 9.0)], v);
                shadow(&mut picture, &[], v);
                let alpha = image(w, h, c, 4);
                assert!(c < 4 || picture.pixels().iter().skip(3).step_by(4).eq(alpha.pixels().iter().skip(3).step_by(4)));
            }
        }
    }
}
