//! Pixels: pure functions on [`ImageBuffer`](crate::sample::ImageBuffer). All of them work row by row on contiguous bytes or floats,
//! leave an alpha channel's values alone unless they move whole pixels, and accept any finite parameter.

// `max` and `min` send NaN to the lower end and become one instruction each; lanes of several arrays are indexed together.
#![allow(clippy::manual_clamp, clippy::needless_range_loop)]

mod blur;
mod boxes;
mod bytes;
mod colour;
mod corruption;
mod cover;
mod geometry;
mod jpeg;
mod lanes;
mod map;
mod noise;
mod separable;
mod shapes;
mod tone;
mod weather;
mod webp;

pub use blur::{box_blur, defocus_blur, gaussian_blur, gaussian_blur_cut, glass_blur, motion_blur, sharpen, zoom_blur};
pub use boxes::{BoxMap, map_boxes, visible_share};
pub use colour::{Jitter, colour_jitter, grayscale, hue_saturation_value, saturation};
pub use corruption::{Corruption, corrupt, corruption_map};
pub use cover::{Fill, cutout, cutouts, grid_mask, mean_colour};
pub use geometry::{
    Affine, Edge, Field, Filter, PixelRect, Sampling, Sides, affine, crop, crop_resize, crop_resize_by, elastic, elastic_field,
    flip_horizontal, flip_horizontal_in_place, flip_vertical, flip_vertical_in_place, pad, perspective, perspective_map, resize,
    resize_down_up, rotate, shift, turn, warp,
};
pub use jpeg::jpeg;
pub use map::PointMap;
pub use noise::{add_field, gaussian_field, gaussian_noise, impulse_noise, shot_noise, speckle_noise};
pub use shapes::{covered_share, move_shapes};
pub use tone::{
    Tone, brightness, brightness_in_place, clahe, contrast, contrast_in_place, equalize, gain, gain_in_place, gamma, linear, posterize,
    solarize, toned, tones,
};
pub use weather::{Rain, Snow, fog, frost, rain, shadow, snow};
pub use webp::webp;

/// How many of a pixel's channels hold colour: all but alpha.
#[inline]
pub(crate) fn colour_channels(channels: usize) -> usize {
    if channels == 4 { 3 } else { channels }
}

#[cfg(test)]
mod golden;
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
