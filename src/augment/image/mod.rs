//! Pixels: pure functions on [`ImageBuffer`](crate::sample::ImageBuffer). All of them work row by row on contiguous bytes or floats,
//! leave an alpha channel's values alone unless they move whole pixels, and accept any finite parameter.

mod blur;
mod boxes;
mod cover;
mod geometry;
mod hue;
mod noise;
mod tone;

pub use blur::gaussian_blur;
pub use boxes::{BoxMap, map_boxes, visible_share};
pub use cover::{Fill, cutout, mean_colour};
pub use geometry::{Edge, PixelRect, crop_resize, flip_horizontal, shift};
pub use hue::rotate_hue;
pub use noise::{add_field, gaussian_field};
pub use tone::{brightness, contrast, gain};

/// How many of a pixel's channels hold colour: all but alpha.
pub(crate) fn colour_channels(channels: usize) -> usize {
    if channels == 4 { 3 } else { channels }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use crate::{random::SeedTree, sample::ImageBuffer};
    use rand::Rng;

    /// An image of random bytes.
    pub(crate) fn image(width: usize, height: usize, channels: usize, seed: u64) -> ImageBuffer {
        let mut bytes = vec![0; width * height * channels];
        SeedTree::new(seed).rng().fill_bytes(&mut bytes);
        ImageBuffer::new(width, height, channels, bytes).unwrap()
    }
}
