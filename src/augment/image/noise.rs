use super::{
    bytes::to_byte,
    colour_channels,
    lanes::{Lanes, WIDTH},
};
use crate::{augment::wide::wide, sample::ImageBuffer};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// A field of `len` independent standard normal values from the generator handed in. The generator's address alone decides it, and a
/// shorter field is the beginning of a longer one.
pub fn gaussian_field(len: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..len).map(|_| StandardNormal.sample(rng)).collect()
}

/// Adds `sigma` (of the full range, `0..=1`) times `field` to the colour values, rounded and cut at black and white. `field` has one value a
/// byte of the image in its order; a shorter field leaves the rest alone.
pub fn add_field(image: &ImageBuffer, field: &[f32], sigma: f32) -> ImageBuffer {
    let channels = image.channels();
    let scale = sigma * 255.0;
    let noisy = |p: u8, n: f32| (f32::from(p) + scale * n).round().clamp(0.0, 255.0) as u8;
    let mut out = image.clone();
    if colour_channels(channels) == channels {
        out.pixels_mut().iter_mut().zip(field).for_each(|(p, n)| *p = noisy(*p, *n));
    } else {
        for (pixel, noise) in out.pixels_mut().chunks_exact_mut(channels).zip(field.chunks(channels)) {
            pixel[..3].iter_mut().zip(noise).for_each(|(p, n)| *p = noisy(*p, *n));
        }
    }
    out
}

/// Bytes that two blocks of normal numbers serve.
const BLOCK: usize = 2 * WIDTH;

/// Adds its number to every byte of a block.
#[inline(always)]
fn add_to_block<const ALPHA: bool>(block: &mut [u8; BLOCK], lanes: &mut Lanes, still: f32, moved: f32) {
    let normals = lanes.normals();
    for half in 0..2 {
        for i in 0..WIDTH {
            let at = half * WIDTH + i;
            let value = f32::from(block[at]);
            let noisy = to_byte(value + (still + moved * value) * normals[half][i]);
            block[at] = if ALPHA && i % 4 == 3 { block[at] } else { noisy };
        }
    }
}

wide! {
    /// Adds `(still + moved p)` times a standard normal number to every colour byte `p`.
    fn add_normals[const ALPHA: bool](bytes: &mut [u8], still: f32, moved: f32, seed: u64) {
        let mut lanes = Lanes::new(seed);
        let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
        for block in blocks {
            add_to_block::<ALPHA>(block, &mut lanes, still, moved);
        }
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        add_to_block::<ALPHA>(&mut last, &mut lanes, still, moved);
        let count = rest.len();
        rest.copy_from_slice(&last[..count]);
    }
}

wide! {
    /// The same number for all colours of a pixel.
    fn add_gray_normals[const C: usize](bytes: &mut [u8], still: f32, seed: u64) {
        let mut lanes = Lanes::new(seed);
        for block in bytes.as_chunks_mut::<C>().0.chunks_mut(BLOCK) {
            let normals = lanes.normals();
            let normals = normals.as_flattened();
            let count = block.len().min(BLOCK);
            for i in 0..count {
                for c in 0..3 {
                    block[i][c] = to_byte(f32::from(block[i][c]) + still * normals[i]);
                }
            }
        }
    }
}

/// Adds normal noise of standard deviation `sigma` (of the full range, `0..=1`) that `seed` decides: a number a colour value, or with `gray` one a
/// pixel, as in a picture without colour noise. Rounded and cut at black and white; alpha stays.
pub fn gaussian_noise(image: &mut ImageBuffer, sigma: f32, gray: bool, seed: u64) {
    let still = sigma * 255.0;
    match (image.channels(), gray) {
        (3, true) => add_gray_normals::<3>(image.pixels_mut(), still, seed),
        (4, true) => add_gray_normals::<4>(image.pixels_mut(), still, seed),
        (4, false) => add_normals::<true>(image.pixels_mut(), still, 0.0, seed),
        _ => add_normals::<false>(image.pixels_mut(), still, 0.0, seed),
    }
}

/// Multiplies every colour value by 1 plus normal noise of standard deviation `sigma` (`0..=1`): speckle, as coherent light (radar, ultrasound)
/// shows it. Rounded and cut at black and white; alpha stays.
pub fn speckle_noise(image: &mut ImageBuffer, sigma: f32, seed: u64) {
    match image.channels() {
        4 => add_normals::<true>(image.pixels_mut(), 0.0, sigma, seed),
        _ => add_normals::<false>(image.pixels_mut(), 0.0, sigma, seed),
    }
}

/// Replaces a `share` (`0..=1`) of the colour values, each alone, by white or black, half and half (salt and pepper). Alpha stays. A greater share of
/// the same seed changes the same values and more.
pub fn impulse_noise(image: &mut ImageBuffer, share: f32, seed: u64) {
    wide! {
        fn replace[const ALPHA: bool](bytes: &mut [u8], below: u32, seed: u64) {
            let mut lanes = Lanes::new(seed);
            for block in bytes.chunks_mut(WIDTH) {
                let words = lanes.next();
                let count = block.len().min(WIDTH);
                for i in 0..count {
                    // The lowest bit decides the colour, the others whether.
                    let hit = (words[i] >> 1) < below && !(ALPHA && i % 4 == 3);
                    let colour = if words[i] & 1 == 1 { 255 } else { 0 };
                    block[i] = if hit { colour } else { block[i] };
                }
            }
        }
    }
    let below = (f64::from(share.clamp(0.0, 1.0)) * 2_147_483_648.0) as u32;
    match image.channels() {
        4 => replace::<true>(image.pixels_mut(), below, seed),
        _ => replace::<false>(image.pixels_mut(), below, seed),
    }
}

/// Above this many photons at white their numbers count as normal.
const MANY_PHOTONS: f32 = 1000.0;

/// Entries of a guide into a distribution.
const GUIDE: usize = 256;

/// A Poisson distribution to be drawn from by inversion, as bytes.
struct Poisson {
    /// Probability of at most `first`, `first + 1`, ... photons, of 2^32.
    below: Vec<u32>,
    /// Where the search begins for each highest byte of the random number.
    guide: [u16; GUIDE],
    /// The byte of each number of photons.
    byte: Vec<u8>,
}

impl Poisson {
    fn new(mean: f64, photons: f64) -> Self {
        let last = (mean + 10.0 * mean.sqrt() + 10.0) as usize;
        let (mut sum, mut log) = (0.0, -mean);
        let (mut below, mut byte) = (Vec::with_capacity(last), Vec::with_capacity(last));
        for k in 0..=last {
            sum += log.exp();
            below.push((sum * 4_294_967_296.0).min(4_294_967_295.0) as u32);
            byte.push((k as f64 / photons * 255.0).round().clamp(0.0, 255.0) as u8);
            log += if mean > 0.0 { mean.ln() } else { f64::NEG_INFINITY } - ((k + 1) as f64).ln();
        }
        if let Some(end) = below.last_mut() {
            *end = u32::MAX;
        }
        let mut at = 0;
        let guide = std::array::from_fn(|i| {
            while below[at] < (i as u32) << 24 && at < last {
                at += 1;
            }
            at as u16
        });
        Self { below, guide, byte }
    }

    #[inline(always)]
    fn draw(&self, word: u32) -> u8 {
        let mut at = usize::from(self.guide[(word >> 24) as usize]);
        while at + 1 < self.below.len() && self.below[at] < word {
            at += 1;
        }
        self.byte[at]
    }
}

/// Shot noise: each colour value becomes a number of photons drawn from a Poisson distribution, where white is `photons` on average (at least 0.5);
/// fewer photons are a darker scene taken longer. Above 1000 their number counts as normal. Alpha stays.
pub fn shot_noise(image: &mut ImageBuffer, photons: f32, seed: u64) {
    let channels = image.channels();
    let shown = colour_channels(channels);
    let photons = if photons.is_nan() { MANY_PHOTONS } else { photons.max(0.5) };
    let mut lanes = Lanes::new(seed);
    if photons > MANY_PHOTONS {
        let deviation: [f32; 256] = std::array::from_fn(|p| (p as f32 * 255.0 / photons).sqrt());
        for block in image.pixels_mut().chunks_mut(BLOCK) {
            let normals = lanes.normals();
            for (i, (p, n)) in block.iter_mut().zip(normals.as_flattened()).enumerate() {
                if channels != 4 || i % 4 != 3 {
                    *p = to_byte(f32::from(*p) + deviation[usize::from(*p)] * n);
                }
            }
        }
        return;
    }
    let mut tables: [Option<Poisson>; 256] = [const { None }; 256];
    for block in image.pixels_mut().chunks_mut(WIDTH) {
        let words = lanes.next();
        for (i, (p, word)) in block.iter_mut().zip(words).enumerate() {
            if shown == channels || i % 4 != 3 {
                let level = usize::from(*p);
                let mean = level as f64 / 255.0 * f64::from(photons);
                *p = tables[level].get_or_insert_with(|| Poisson::new(mean, f64::from(photons))).draw(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{augment::image::tests_support::image, random::SeedTree};

    #[test]
    fn the_field_is_standard_normal_and_addressed() {
        let seeds = SeedTree::new(3).child("noise");
        let field = gaussian_field(20_000, &mut seeds.rng());
        let mean = field.iter().sum::<f32>() / field.len() as f32;
        let variance = field.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / field.len() as f32;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert_eq!(gaussian_field(100, &mut seeds.rng()), field[..100]);
    }

    #[test]
    fn sigma_is_in_units_of_the_full_range() {
        let gray = ImageBuffer::filled(3, 1, 1, 100).unwrap();
        assert_eq!(add_field(&gray, &[1.0, -2.0, 100.0], 0.1).pixels(), [126, 49, 255]);
        let alpha = ImageBuffer::new(1, 1, 4, vec![1, 2, 3, 4]).unwrap();
        assert_eq!(add_field(&alpha, &[1.0; 4], 1.0).pixels(), [255, 255, 255, 4]);
    }

    /// Mean and standard deviation of the colour values of a flat picture after `f`.
    fn spread(level: u8, channels: usize, f: impl Fn(&mut ImageBuffer)) -> (f64, f64) {
        let mut flat = ImageBuffer::filled(201, 199, channels, level).unwrap();
        f(&mut flat);
        let values: Vec<f64> = flat
            .pixels()
            .chunks_exact(channels)
            .flat_map(|pixel| {
                assert!(channels < 4 || pixel[3] == level);
                pixel[..colour_channels(channels)].iter().map(|p| f64::from(*p))
            })
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
    }

    #[test]
    fn noises_have_their_moments() {
        for channels in [1, 3, 4] {
            for gray in [false, true] {
                let (mean, deviation) = spread(128, channels, |i| gaussian_noise(i, 0.1, gray, 7));
                assert!((mean - 128.0).abs() < 0.5 && (deviation - 25.5).abs() < 0.4, "{mean} {deviation}");
            }
            let (mean, deviation) = spread(100, channels, |i| speckle_noise(i, 0.2, 7));
            assert!((mean - 100.0).abs() < 0.4 && (deviation - 20.0).abs() < 0.3, "{mean} {deviation}");
            // 12 photons at 128 of 255: mean 6.02, deviation 2.45 photons of 21.25 each; white is cut far away.
            let (mean, deviation) = spread(128, channels, |i| shot_noise(i, 12.0, 7));
            assert!((mean - 128.0).abs() < 0.8 && (deviation - 51.5).abs() < 0.9, "{mean} {deviation}");
            let (mean, deviation) = spread(128, channels, |i| shot_noise(i, 2000.0, 7));
            assert!((mean - 128.0).abs() < 0.1 && (deviation - 4.04).abs() < 0.1, "{mean} {deviation}");
            let (mean, _) = spread(0, channels, |i| impulse_noise(i, 0.2, 7));
            assert!((mean - 25.5).abs() < 1.0, "{mean}");
        }
    }

    #[test]
    fn gray_noise_is_the_same_in_all_colours() {
        let mut flat = ImageBuffer::filled(30, 7, 3, 90).unwrap();
        gaussian_noise(&mut flat, 0.1, true, 1);
        assert!(flat.pixels().chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        let mut other = ImageBuffer::filled(30, 7, 3, 90).unwrap();
        gaussian_noise(&mut other, 0.1, false, 1);
        assert!(other.pixels().chunks_exact(3).any(|p| p[0] != p[1]));
    }

    #[test]
    fn more_impulses_contain_the_fewer() {
        let picture = image(40, 30, 3, 2);
        let with = |share| {
            let mut out = picture.clone();
            impulse_noise(&mut out, share, 9);
            out
        };
        let (few, many) = (with(0.1), with(0.4));
        for ((few, many), p) in few.pixels().iter().zip(many.pixels()).zip(picture.pixels()) {
            assert!(few == p || few == many);
        }
        assert_eq!(with(0.0), picture);
        assert!(with(1.0).pixels().iter().all(|p| *p == 0 || *p == 255));
    }

    #[test]
    fn any_parameter_and_size() {
        for (w, h, c) in [(1, 1, 1), (3, 2, 3), (11, 3, 4)] {
            for value in [0.0, -1.0, 1e9, f32::NAN, f32::INFINITY] {
                let mut picture = image(w, h, c, 4);
                shot_noise(&mut picture, value, 1);
                gaussian_noise(&mut picture, value, true, 1);
                gaussian_noise(&mut picture, value, false, 1);
                speckle_noise(&mut picture, value, 1);
                impulse_noise(&mut picture, value, 1);
            }
        }
    }
}
