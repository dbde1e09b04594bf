use super::colour_channels;
use crate::sample::ImageBuffer;

/// Applies one table of 256 values to every colour byte.
fn tabulate(image: &ImageBuffer, f: impl Fn(f32) -> f32) -> ImageBuffer {
    let table: [u8; 256] = std::array::from_fn(|i| f(i as f32).round().clamp(0.0, 255.0) as u8);
    let channels = image.channels();
    let mut out = image.clone();
    if colour_channels(channels) == channels {
        out.pixels_mut().iter_mut().for_each(|p| *p = table[usize::from(*p)]);
    } else {
        for pixel in out.pixels_mut().chunks_exact_mut(channels) {
            pixel[..3].iter_mut().for_each(|p| *p = table[usize::from(*p)]);
        }
    }
    out
}

/// Multiplies every colour value by `factor` (at least 0), cut at white: the light of the scene.
pub fn gain(image: &ImageBuffer, factor: f32) -> ImageBuffer {
    tabulate(image, |p| p * factor)
}

/// Adds `offset` (of the full range, `-1..=1`) to every colour value, cut at black and white.
pub fn brightness(image: &ImageBuffer, offset: f32) -> ImageBuffer {
    tabulate(image, |p| p + offset * 255.0)
}

/// Scales the distance of every colour value from the image's mean luma (Rec. 601) by `factor` (at least 0); 0 leaves one gray.
pub fn contrast(image: &ImageBuffer, factor: f32) -> ImageBuffer {
    let mean = mean_luma(image) as f32;
    tabulate(image, |p| mean + (p - mean) * factor)
}

/// Mean luma, `0..=255`.
fn mean_luma(image: &ImageBuffer) -> f64 {
    let channels = image.channels();
    let total: u64 = if channels == 1 {
        image.pixels().iter().map(|p| u64::from(*p) * 1000).sum()
    } else {
        let luma = |pixel: &[u8]| 299 * u64::from(pixel[0]) + 587 * u64::from(pixel[1]) + 114 * u64::from(pixel[2]);
        image.pixels().chunks_exact(channels).map(luma).sum()
    };
    total as f64 / 1000.0 / (image.width() * image.height()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values() {
        let row = ImageBuffer::new(3, 1, 1, vec![0, 100, 200]).unwrap();
        assert_eq!(gain(&row, 0.5).pixels(), [0, 50, 100]);
        assert_eq!(gain(&row, 2.0).pixels(), [0, 200, 255]);
        assert_eq!(brightness(&row, -0.2).pixels(), [0, 49, 149]);
        assert_eq!(contrast(&row, 0.5).pixels(), [50, 100, 150]);
        assert_eq!(contrast(&row, 0.0).pixels(), [100, 100, 100]);
        assert_eq!(contrast(&row, 1.0), row);
    }

    #[test]
    fn alpha_stays() {
        let one = ImageBuffer::new(1, 1, 4, vec![10, 20, 30, 40]).unwrap();
        assert_eq!(gain(&one, 3.0).pixels(), [30, 60, 90, 40]);
    }
}
