use super::Edge;
use crate::sample::ImageBuffer;

/// Gaussian blur with standard deviation `sigma` in pixels, cut at three of them, edges extended; 0 or less changes nothing. A sigma above
/// 64 pixels counts as 64.
pub fn gaussian_blur(image: &ImageBuffer, sigma: f32) -> ImageBuffer {
    if sigma.is_nan() || sigma <= 0.0 {
        return image.clone();
    }
    let sigma = sigma.min(64.0);
    let reach = (3.0 * sigma).ceil() as i64;
    let mut kernel: Vec<f32> = (-reach..=reach).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);

    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let stride = width * channels;
    let mut across = vec![0f32; stride * height];
    // Along x, on a row padded once: each tap is one multiply-add over the whole row.
    let mut padded = vec![0f32; stride + 2 * reach as usize * channels];
    for (target, source) in across.chunks_exact_mut(stride).zip(image.pixels().chunks_exact(stride)) {
        for (x, pixel) in padded.chunks_exact_mut(channels).enumerate() {
            let from = Edge::Extend.source(x as i64 - reach, width).unwrap_or(0);
            pixel.iter_mut().zip(&source[from * channels..]).for_each(|(p, s)| *p = f32::from(*s));
        }
        for (i, k) in kernel.iter().enumerate() {
            target.iter_mut().zip(&padded[i * channels..]).for_each(|(t, p)| *t += k * p);
        }
    }
    let mut out = image.clone();
    let mut sum = vec![0f32; stride];
    for (y, target) in out.pixels_mut().chunks_exact_mut(stride).enumerate() {
        sum.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            let from = Edge::Extend.source(y as i64 + i as i64 - reach, height).unwrap_or(0);
            sum.iter_mut().zip(&across[from * stride..(from + 1) * stride]).for_each(|(s, a)| *s += k * a);
        }
        target.iter_mut().zip(&sum).for_each(|(t, s)| *t = s.round().clamp(0.0, 255.0) as u8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;

    #[test]
    fn a_point_becomes_the_kernel() {
        let mut picture = ImageBuffer::filled(9, 9, 1, 0).unwrap();
        picture.pixel_mut(4, 4)[0] = 255;
        let blurred = gaussian_blur(&picture, 1.0);
        // 255 / (2 pi) = 40.6 at the centre, times exp(-1/2) beside it.
        assert_eq!((blurred.pixel(4, 4)[0], blurred.pixel(5, 4)[0], blurred.pixel(5, 5)[0]), (41, 25, 15));
        assert_eq!(blurred.pixel(3, 4), blurred.pixel(5, 4));
    }

    #[test]
    fn a_flat_image_stays_and_no_blur_is_the_identity() {
        let flat = ImageBuffer::filled(5, 3, 3, 77).unwrap();
        assert_eq!(gaussian_blur(&flat, 20.0), flat);
        let picture = image(5, 3, 3, 9);
        assert_eq!(gaussian_blur(&picture, 0.0), picture);
    }
}
