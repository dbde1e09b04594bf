//! Half the size and back by whole numbers: what the general resampling gives for a factor of two, without its tables.

// Lanes of several arrays are indexed together; see `wide`.
#![allow(clippy::needless_range_loop)]

use crate::{
    augment::wide::wide,
    error::{Error, Result},
    sample::ImageBuffer,
};

/// The means of all 2 x 2 pixels of an image with even sides, halves rounded up: [`super::Filter::Area`] by a half.
pub(super) fn halve(image: &ImageBuffer) -> Result<ImageBuffer> {
    let (width, height, channels) = (image.width() / 2, image.height() / 2, image.channels());
    let mut out = ImageBuffer::filled(width, height, channels, 0).map_err(Error::data)?;
    let stride = image.width() * channels;
    let mut means = vec![0; stride];
    let rows = image.pixels().chunks_exact(2 * stride).zip(out.pixels_mut().chunks_exact_mut(width * channels));
    for (two, target) in rows {
        let (above, below) = two.split_at(stride);
        match channels {
            1 => halve_row::<1>(above, below, &mut means, target),
            3 => halve_row::<3>(above, below, &mut means, target),
            _ => halve_row::<4>(above, below, &mut means, target),
        }
    }
    Ok(out)
}

/// The image at twice its sides, bilinear between pixel centres (nine, three, three and one sixteenths), halves rounded up; edge pixels extend outside.
pub(super) fn double(image: &ImageBuffer) -> Result<ImageBuffer> {
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let mut out = ImageBuffer::filled(2 * width, 2 * height, channels, 0).map_err(Error::data)?;
    let stride = width * channels;
    let source = image.pixels();
    // A pixel more on either side.
    let (mut sums, mut left, mut right) = (vec![0u16; stride + 2 * channels], vec![0u8; stride], vec![0u8; stride]);
    for (place, target) in out.pixels_mut().chunks_exact_mut(2 * stride).enumerate() {
        let near = place / 2;
        let far = if place % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(height - 1) };
        let (near, far) = (&source[near * stride..][..stride], &source[far * stride..][..stride]);
        match channels {
            1 => double_row::<1>(near, far, &mut sums, &mut left, &mut right, target),
            3 => double_row::<3>(near, far, &mut sums, &mut left, &mut right, target),
            _ => double_row::<4>(near, far, &mut sums, &mut left, &mut right, target),
        }
    }
    Ok(out)
}

wide! {
    fn halve_row[const C: usize](above: &[u8], below: &[u8], means: &mut [u8], target: &mut [u8]) {
        let count = above.len() - C;
        {
            // The mean with the next pixel at every place; every second is wanted.
            let (below, means) = (&below[..above.len()], &mut means[..count]);
            let (above_next, below_next) = (&above[C..], &below[C..]);
            for i in 0..count {
                let (own, next) = (u16::from(above[i]).wrapping_add(u16::from(below[i])), u16::from(above_next[i]).wrapping_add(u16::from(below_next[i])));
                means[i] = (own.wrapping_add(next).wrapping_add(2) >> 2) as u8;
            }
        }
        let places = target.len() / C;
        if C == 1 {
            for x in 0..places {
                target[x] = means[2 * x];
            }
            return;
        }
        let (pixels, pairs) = (target.as_chunks_mut::<C>().0, means[..2 * C * places - C].chunks(2 * C));
        for (pixel, pair) in pixels.iter_mut().zip(pairs) {
            pixel.copy_from_slice(&pair[..C]);
        }
    }
}

wide! {
    fn double_row[const C: usize](near: &[u8], far: &[u8], sums: &mut [u16], left: &mut [u8], right: &mut [u8], target: &mut [u8]) {
        let count = near.len();
        {
            let (far, sums) = (&far[..count], &mut sums[C..C + count]);
            for i in 0..count {
                sums[i] = u16::from(near[i]).wrapping_mul(3).wrapping_add(u16::from(far[i]));
            }
        }
        for c in 0..C {
            sums[c] = sums[C + c];
            sums[count + C + c] = sums[count + c];
        }
        {
            let (before, own, after) = (&sums[..count], &sums[C..C + count], &sums[2 * C..2 * C + count]);
            let (left, right) = (&mut left[..count], &mut right[..count]);
            for i in 0..count {
                let thrice = own[i].wrapping_mul(3).wrapping_add(8);
                left[i] = (thrice.wrapping_add(before[i]) >> 4) as u8;
                right[i] = (thrice.wrapping_add(after[i]) >> 4) as u8;
            }
        }
        let places = count / C;
        if C == 1 {
            for x in 0..places {
                target[2 * x] = left[x];
                target[2 * x + 1] = right[x];
            }
            return;
        }
        let pixels = target.as_chunks_mut::<C>().0.as_chunks_mut::<2>().0;
        for ((pair, left), right) in pixels.iter_mut().zip(left.as_chunks::<C>().0).zip(right.as_chunks::<C>().0) {
            *pair = [*left, *right];
        }
    }
}
