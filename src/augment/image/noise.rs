use super::colour_channels;
use crate::sample::ImageBuffer;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;

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
}
