use super::{Edge, Sampling, warp};
use crate::augment::image::{PointMap, lanes::fill_uniform};
use crate::{augment::wide::wide, error::Result, sample::ImageBuffer};
use std::sync::Arc;

wide! {
    /// `share` of the way from one row to another.
    fn between(above: &[f32], below: &[f32], share: f32, out: &mut [f32]) {
        let (above, below) = (&above[..out.len()], &below[..out.len()]);
        for i in 0..out.len() {
            out[i] = above[i] + share * (below[i] - above[i]);
        }
    }
}

wide! {
    /// Nodes `N` pixels apart to pixels: straight lines between them.
    fn spread[const N: usize](nodes: &[f32], out: &mut [f32]) {
        let (cells, rest) = out.as_chunks_mut::<N>();
        let (left, right) = (&nodes[..cells.len()], &nodes[1..][..cells.len()]);
        for i in 0..cells.len() {
            let slope = (right[i] - left[i]) / N as f32;
            for k in 0..N {
                cells[i][k] = left[i] + slope * k as f32;
            }
        }
        let last = cells.len();
        for k in 0..rest.len() {
            rest[k] = nodes[last] + (nodes[last + 1] - nodes[last]) / N as f32 * k as f32;
        }
    }
}

wide! {
    /// Sums of neighbours of `source`, `step` values apart, by the weights of a kernel.
    fn smooth(source: &[f32], step: usize, kernel: &[f32], out: &mut [f32]) {
        const BLOCK: usize = 32;
        for first in (0..out.len()).step_by(BLOCK) {
            let count = BLOCK.min(out.len() - first);
            let mut sums = [0f32; BLOCK];
            if count == BLOCK {
                for t in 0..kernel.len() {
                    let line = &source[first + t * step..][..BLOCK];
                    for i in 0..BLOCK {
                        sums[i] += kernel[t] * line[i];
                    }
                }
            } else {
                for t in 0..kernel.len() {
                    let line = &source[first + t * step..][..count];
                    for i in 0..count {
                        sums[i] += kernel[t] * line[i];
                    }
                }
            }
            out[first..first + count].copy_from_slice(&sums[..count]);
        }
    }
}

/// Displacements of all pixels of an image, from a grid of nodes `step` pixels apart and bilinear between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    step: usize,
    columns: usize,
    rows: usize,
    /// Node by node, row by row, in pixels.
    dx: Vec<f32>,
    dy: Vec<f32>,
}

impl Field {
    /// Where the pixels of row `y` come from: displacements along x and y, one a pixel. Nodes lie on the centres of pixels 0, `step`, ...
    pub(super) fn row(&self, y: usize, dx: &mut [f32], dy: &mut [f32], nodes_here: &mut Vec<f32>) {
        nodes_here.resize(self.columns, 0.0);
        let row = (y / self.step).min(self.rows - 2);
        let share = (y - row * self.step) as f32 / self.step as f32;
        for (nodes, out) in [(&self.dx, dx), (&self.dy, dy)] {
            let (above, below) = (&nodes[row * self.columns..], &nodes[(row + 1) * self.columns..]);
            between(above, below, share, &mut nodes_here[..self.columns]);
            // A picture wider than the field goes on with the last node.
            let (out, beyond) = out.split_at_mut(out.len().min((self.columns - 1) * self.step));
            beyond.fill(nodes_here[self.columns - 1]);
            match self.step {
                1 => spread::<1>(nodes_here, out),
                2 => spread::<2>(nodes_here, out),
                3 => spread::<3>(nodes_here, out),
                4 => spread::<4>(nodes_here, out),
                5 => spread::<5>(nodes_here, out),
                6 => spread::<6>(nodes_here, out),
                step => {
                    for (cell, pair) in out.chunks_mut(step).zip(nodes_here.windows(2)) {
                        let slope = (pair[1] - pair[0]) / step as f32;
                        cell.iter_mut().enumerate().for_each(|(k, o)| *o = pair[0] + slope * k as u32 as i32 as f32);
                    }
                }
            }
        }
    }

    /// The displacement at a place.
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let side = |at: f64, nodes: usize| {
            let at = ((at - 0.5) / self.step as f64).clamp(0.0, (nodes - 1) as f64);
            let first = (at as usize).min(nodes - 2);
            (first, at - first as f64)
        };
        let ((column, fx), (row, fy)) = (side(x, self.columns), side(y, self.rows));
        let value = |nodes: &[f32]| {
            let node = |c: usize, r: usize| f64::from(nodes[r * self.columns + c]);
            let line = |r| node(column, r) * (1.0 - fx) + node(column + 1, r) * fx;
            line(row) * (1.0 - fy) + line(row + 1) * fy
        };
        (value(&self.dx), value(&self.dy))
    }

    /// Where a place of the source comes to lie: the place whose displacement leads back to it, found by fixed-point iteration.
    pub(in crate::augment::image) fn moved(&self, x: f64, y: f64) -> (f64, f64) {
        let (mut a, mut b) = (x, y);
        for _ in 0..30 {
            let (dx, dy) = self.at(a, b);
            // Half a step each: still converges where the field is steep.
            (a, b) = (0.5 * (a + x - dx), 0.5 * (b + y - dy));
        }
        (a, b)
    }
}

/// A smooth random field (Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks", section 2): noise evenly
/// spread over -1..1, smoothed by a Gaussian of `sigma` pixels, times `alpha`; then scaled so that its root mean square is `alpha` pixels, whatever
/// sigma. Seen from a third of sigma the smoothed field is a straight line, so its nodes lie that far apart. A sigma below 1 counts as 1, one above
/// 256 as 256; alpha that is not finite counts as 0.
pub fn elastic_field(width: usize, height: usize, alpha: f64, sigma: f64, seed: u64) -> PointMap {
    let sigma = if sigma.is_nan() { 1.0 } else { sigma.clamp(1.0, 256.0) };
    let step = ((sigma / 3.0) as usize).max(1);
    let (columns, rows) = (width.div_ceil(step) + 1, height.div_ceil(step) + 1);
    let narrow = sigma / step as f64;
    let alpha = if alpha.is_finite() { alpha } else { 0.0 };
    let axis = |seed: u64| {
        let reach = (3.0 * narrow).ceil() as usize;
        let (wide, high) = (columns + 2 * reach, rows + 2 * reach);
        let mut noise = vec![0f32; wide * high];
        fill_uniform(seed, &mut noise);
        let mut kernel: Vec<f64> = (0..=2 * reach).map(|i| (-0.5 * ((i as f64 - reach as f64) / narrow).powi(2)).exp()).collect();
        let total: f64 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= total);
        // Variance 1/3 of the noise, less by the kernel's sum of squares along both axes.
        let squares: f64 = kernel.iter().map(|k| k * k).sum();
        let scale = alpha / (squares * (1.0f64 / 3.0).sqrt());
        let kernel: Vec<f32> = kernel.iter().map(|k| *k as f32).collect();
        let scaled: Vec<f32> = kernel.iter().map(|k| (f64::from(*k) * scale) as f32).collect();
        let mut across = vec![0f32; columns * high];
        for (out, line) in across.chunks_exact_mut(columns).zip(noise.chunks_exact(wide)) {
            smooth(line, 1, &kernel, out);
        }
        let mut field = vec![0f32; columns * rows];
        for (y, out) in field.chunks_exact_mut(columns).enumerate() {
            smooth(&across[y * columns..], columns, &scaled, out);
        }
        field
    };
    let dx = axis(seed);
    let dy = axis(seed ^ 0x5851_F42D_4C95_7F2D);
    PointMap::Field(Arc::new(Field { step, columns, rows, dx, dy }))
}

/// Moves the pixels by [`elastic_field`], bilinear.
pub fn elastic(image: &ImageBuffer, alpha: f64, sigma: f64, seed: u64, edge: Edge) -> Result<ImageBuffer> {
    let (width, height) = (image.width(), image.height());
    warp(image, &elastic_field(width, height, alpha, sigma, seed), width, height, edge, Sampling::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::image::tests_support::image;
    use crate::sample::BoundingBox;
    use proptest::prelude::*;

    fn field(map: &PointMap) -> &Field {
        match map {
            PointMap::Field(field) => field,
            PointMap::Projective(_) => panic!("a field was asked for"),
        }
    }

    #[test]
    fn the_field_has_the_strength_and_smoothness_asked_for() {
        for sigma in [4.0, 9.0, 20.0] {
            let map = elastic_field(400, 300, 3.0, sigma, 4);
            let (mut dx, mut dy) = (vec![0f32; 400], vec![0f32; 400]);
            let (mut square, mut product, mut count) = (0.0, 0.0, 0.0);
            let lag = sigma as usize;
            for y in 0..300 {
                field(&map).row(y, &mut dx, &mut dy, &mut Vec::new());
                for x in 0..400 - lag {
                    square += f64::from(dx[x] * dx[x] + dy[x] * dy[x]) / 2.0;
                    product += f64::from(dx[x] * dx[x + lag] + dy[x] * dy[x + lag]) / 2.0;
                    count += 1.0;
                }
            }
            let rms = f64::sqrt(square / count);
            assert!((2.2..3.8).contains(&rms), "sigma {sigma}: {rms}");
            // Noise smoothed by a Gaussian has the correlation exp(-d^2 / 4 sigma^2): 0.78 at one sigma.
            assert!((product / square - 0.78).abs() < 0.12, "sigma {sigma}: {}", product / square);
        }
    }

    #[test]
    fn a_larger_result_than_the_field_goes_on_at_its_edge() {
        let picture = image(9, 7, 3, 1);
        for sigma in [1.0, 7.0, 40.0] {
            let map = elastic_field(9, 7, 2.0, sigma, 3);
            let large = warp(&picture, &map, 60, 50, Edge::Extend, Sampling::Bilinear).unwrap();
            assert_eq!((large.width(), large.height()), (60, 50));
            let own = warp(&picture, &map, 9, 7, Edge::Extend, Sampling::Bilinear).unwrap();
            assert_eq!(large.pixels()[..27], own.pixels()[..27]);
        }
    }

    #[test]
    fn places_follow_their_pixels() {
        let map = elastic_field(64, 64, 2.0, 10.0, 9);
        let mut picture = ImageBuffer::filled(64, 64, 1, 0).unwrap();
        (0..3).for_each(|i| picture.pixel_mut(29 + i, 40)[0] = 255);
        (0..3).for_each(|i| picture.pixel_mut(29 + i, 41)[0] = 255);
        let moved = warp(&picture, &map, 64, 64, Edge::Zero, Sampling::Bilinear).unwrap();
        let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
        for (i, p) in moved.pixels().iter().enumerate() {
            sum += f64::from(*p);
            x += f64::from(*p) * ((i % 64) as f64 + 0.5);
            y += f64::from(*p) * ((i / 64) as f64 + 0.5);
        }
        let expected = map.point(30.5, 41.0).unwrap();
        assert!((x / sum - expected.0).hypot(y / sum - expected.1) < 0.4, "{} {} {expected:?}", x / sum, y / sum);
        let (hull, share) = map.map_box(&BoundingBox { x: 29.0, y: 40.0, width: 3.0, height: 2.0, label: "dot".into() }, 64, 64);
        assert!(share > 0.99 && hull.x < 32.0 && hull.x + hull.width > 29.0);
    }

    proptest! {
        #[test]
        fn any_size_and_parameter(w in 1usize..20, h in 1usize..20, c in prop::sample::select(vec![1usize, 3, 4]), alpha in -50.0f64..50.0, sigma in 0.0f64..99.0) {
            let picture = image(w, h, c, 1);
            let moved = elastic(&picture, alpha, sigma, 7, Edge::Mirror).unwrap();
            prop_assert_eq!(&moved, &elastic(&picture, alpha, sigma, 7, Edge::Mirror).unwrap());
            prop_assert_eq!(elastic(&picture, 0.0, sigma, 7, Edge::Zero).unwrap(), picture);
        }
    }
}
