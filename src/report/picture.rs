//! Pictures computed for a page: difference images, spectrograms, thumbnails. Pure functions of the media.

use crate::sample::{AudioBuffer, ImageBuffer};
use realfft::RealFftPlanner;

/// Columns of a spectrogram.
const COLUMNS: usize = 120;
/// Rows of a spectrogram.
const ROWS: usize = 48;
/// Decibels between black and the brightest colour.
const RANGE_DB: f32 = 72.0;

/// The signed change between two images of one size, on dark ground: orange where `after` is brighter, blue where it is darker.
/// The greatest change is shown at full brightness; the second value says by how much that amplifies (1 for no more than life size).
/// `None` for images of different sizes; two equal images give a dark one.
pub(super) fn difference(before: &ImageBuffer, after: &ImageBuffer) -> Option<(ImageBuffer, f32)> {
    if (before.width(), before.height()) != (after.width(), after.height()) {
        return None;
    }
    let (old, new) = (brightness(before), brightness(after));
    let changes: Vec<f32> = old.iter().zip(&new).map(|(a, b)| b - a).collect();
    let greatest = changes.iter().fold(0.0f32, |m, c| m.max(c.abs()));
    let scale = if greatest > 0.0 { 1.0 / greatest } else { 0.0 };
    const GROUND: [f32; 3] = [24.0, 27.0, 32.0];
    let mut pixels = Vec::with_capacity(changes.len() * 3);
    for change in changes {
        let share = change * scale;
        let colour = if share >= 0.0 { [255.0, 158.0, 66.0] } else { [86.0, 168.0, 255.0] };
        pixels.extend((0..3).map(|k| (GROUND[k] + (colour[k] - GROUND[k]) * share.abs()).round() as u8));
    }
    let amplified = if greatest > 0.0 { 255.0 / greatest } else { 1.0 };
    Some((ImageBuffer::new(before.width(), before.height(), 3, pixels).ok()?, amplified))
}

/// Mean of the colour channels of each pixel, `0..=255`; a transparent pixel counts as its colours.
fn brightness(image: &ImageBuffer) -> Vec<f32> {
    let colours = image.channels().min(3);
    image
        .pixels()
        .chunks_exact(image.channels())
        .map(|p| p[..colours].iter().map(|v| f32::from(*v)).sum::<f32>() / colours as f32)
        .collect()
}

/// An image whose longer side is at most `side`, by the mean of the pixels each new one covers. Smaller images stay as they are.
pub(super) fn thumbnail(image: &ImageBuffer, side: usize) -> ImageBuffer {
    let longer = image.width().max(image.height());
    if longer <= side || side == 0 {
        return image.clone();
    }
    let fit = |n: usize| (n * side).div_ceil(longer).max(1);
    let (width, height, channels) = (fit(image.width()), fit(image.height()), image.channels());
    let mut pixels = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        let rows = span(y, height, image.height());
        for x in 0..width {
            let columns = span(x, width, image.width());
            for channel in 0..channels {
                let cells = rows.clone().flat_map(|y| columns.clone().map(move |x| (x, y)));
                let total: u64 = cells.map(|(x, y)| u64::from(image.pixel(x, y)[channel])).sum();
                let n = (rows.len() * columns.len()) as u64;
                pixels.push(((total + n / 2) / n) as u8);
            }
        }
    }
    ImageBuffer::new(width, height, channels, pixels).unwrap_or_else(|_| image.clone())
}

/// The cells of `from` that cell `i` of `to` covers, at least one.
fn span(i: usize, to: usize, from: usize) -> std::ops::Range<usize> {
    let start = (i * from / to).min(from - 1);
    start..((i + 1) * from / to).clamp(start + 1, from)
}

/// The power of a waveform over time and frequency, in decibels below a full-scale sine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spectrogram {
    /// Row by row from the highest frequency, [`COLUMNS`] each.
    decibels: Vec<f32>,
}

impl Spectrogram {
    /// Of the mean of the channels: Hann window of about 32 ms, each column the loudest of its frames, rows spaced like hearing (mel).
    pub(super) fn of(audio: &AudioBuffer) -> Self {
        let wave = audio.mono();
        let rate = audio.sample_rate_hz() as f32;
        let window = ((rate * 0.032) as usize).next_power_of_two().clamp(64, 4096);
        let hop = (window / 4).max(wave.len() / (4 * COLUMNS)).max(1);
        let frames = wave.len().div_ceil(hop);
        let shape: Vec<f32> = (0..window).map(|i| 0.5 - 0.5 * (std::f32::consts::TAU * (i as f32 + 0.5) / window as f32).cos()).collect();
        // A full-scale sine has the power (sum of the window / 2)^2 in its bin.
        let full = (shape.iter().sum::<f32>() / 2.0).powi(2);
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(window);
        let (mut input, mut output) = (transform.make_input_vec(), transform.make_output_vec());
        let bands = bands(rate, window);
        let mut power = vec![0.0f32; ROWS * COLUMNS];
        for frame in 0..frames {
            let start = (frame * hop) as isize - window as isize / 2;
            for (i, value) in input.iter_mut().enumerate() {
                let at = usize::try_from(start + i as isize).ok();
                *value = at.and_then(|at| wave.get(at)).copied().unwrap_or(0.0) * shape[i];
            }
            if transform.process(&mut input, &mut output).is_err() {
                continue;
            }
            let columns = if frames >= COLUMNS {
                let column = frame * COLUMNS / frames;
                column..column + 1
            } else {
                span(frame, frames, COLUMNS)
            };
            for (row, band) in bands.iter().enumerate() {
                let loudest = output[band.clone()].iter().fold(0.0f32, |m, c| m.max(c.norm_sqr()));
                for column in columns.clone() {
                    let cell = &mut power[row * COLUMNS + column];
                    *cell = cell.max(loudest / full);
                }
            }
        }
        Self { decibels: power.into_iter().map(|p| 10.0 * p.max(1e-12).log10()).collect() }
    }
    /// The loudest cell.
    pub(super) fn peak_db(&self) -> f32 {
        self.decibels.iter().fold(f32::NEG_INFINITY, |m, d| m.max(*d))
    }
    /// As a picture: from black at 72 dB below `top_db` to pale yellow at `top_db`. Give two spectrograms the same
    /// `top_db` to compare them.
    pub(super) fn picture(&self, top_db: f32) -> Option<ImageBuffer> {
        let mut pixels = Vec::with_capacity(self.decibels.len() * 3);
        for decibels in &self.decibels {
            let share = ((decibels - top_db + RANGE_DB) / RANGE_DB).clamp(0.0, 1.0);
            // 32 steps: a smooth look and a small file.
            pixels.extend(heat((share * 31.0).round() / 31.0));
        }
        ImageBuffer::new(COLUMNS, ROWS, 3, pixels).ok()
    }
}

/// The bins of the transform that each row covers, the highest frequency first; a row covers at least one.
fn bands(rate: f32, window: usize) -> Vec<std::ops::Range<usize>> {
    let mel = |hz: f32| 2595.0 * (1.0 + hz / 700.0).log10();
    let hertz = |mel: f32| 700.0 * (10f32.powf(mel / 2595.0) - 1.0);
    let bins = window / 2 + 1;
    let bin = |share: f32| (hertz(share * mel(rate / 2.0)) / rate * window as f32).floor() as usize;
    (0..ROWS)
        .rev()
        .map(|row| {
            let start = bin(row as f32 / ROWS as f32).min(bins - 1);
            start..bin((row + 1) as f32 / ROWS as f32).clamp(start + 1, bins)
        })
        .collect()
}

/// A colour scale whose brightness grows evenly: night blue, violet, red, orange, pale yellow.
fn heat(share: f32) -> [u8; 3] {
    const STOPS: [[f32; 3]; 6] =
        [[10.0, 10.0, 24.0], [54.0, 22.0, 98.0], [132.0, 34.0, 112.0], [209.0, 64.0, 74.0], [247.0, 143.0, 56.0], [252.0, 245.0, 190.0]];
    let place = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let below = (place as usize).min(STOPS.len() - 2);
    let part = place - below as f32;
    std::array::from_fn(|k| (STOPS[below][k] + (STOPS[below + 1][k] - STOPS[below][k]) * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f32, level: f32, rate: u32, frames: usize) -> AudioBuffer {
        let wave = (0..frames).map(|i| level * (std::f32::consts::TAU * hertz * i as f32 / rate as f32).sin()).collect();
        AudioBuffer::new(rate, 1, wave).unwrap()
    }

    #[test]
    fn a_difference_is_signed_and_says_its_scale() {
        let before = ImageBuffer::new(3, 1, 1, vec![100, 100, 100]).unwrap();
        let after = ImageBuffer::new(3, 1, 1, vec![100, 110, 95]).unwrap();
        let (picture, amplified) = difference(&before, &after).unwrap();
        assert_eq!(amplified, 25.5);
        assert_eq!(picture.pixel(0, 0), [24, 27, 32]);
        assert_eq!(picture.pixel(1, 0), [255, 158, 66]);
        assert_eq!(picture.pixel(2, 0), [55, 98, 144]);
        let (same, factor) = difference(&before, &before).unwrap();
        assert!(factor == 1.0 && same.pixels().chunks(3).all(|p| p == [24, 27, 32]));
        assert!(difference(&before, &ImageBuffer::filled(1, 3, 1, 0).unwrap()).is_none());
    }

    #[test]
    fn gray_and_colour_are_compared_by_brightness() {
        let gray = ImageBuffer::filled(2, 2, 1, 90).unwrap();
        let colour = ImageBuffer::new(2, 2, 4, [60, 90, 120, 7].repeat(4)).unwrap();
        assert_eq!(difference(&gray, &colour).unwrap().1, 1.0);
    }

    #[test]
    fn a_thumbnail_is_the_mean_of_what_it_covers() {
        let image = ImageBuffer::new(4, 2, 1, vec![0, 10, 20, 30, 10, 20, 30, 40]).unwrap();
        assert_eq!(thumbnail(&image, 2), ImageBuffer::new(2, 1, 1, vec![10, 30]).unwrap());
        assert_eq!(thumbnail(&image, 4), image);
        let thin = ImageBuffer::filled(1000, 1, 3, 7).unwrap();
        assert_eq!((thumbnail(&thin, 100).width(), thumbnail(&thin, 100).height()), (100, 1));
    }

    #[test]
    fn a_full_scale_sine_stands_in_its_row_at_zero_decibels() {
        let spectrogram = Spectrogram::of(&sine(1000.0, 1.0, 8000, 8000));
        assert!(spectrogram.peak_db().abs() < 0.5, "{}", spectrogram.peak_db());
        let column: Vec<f32> = (0..ROWS).map(|row| spectrogram.decibels[row * COLUMNS + COLUMNS / 2]).collect();
        let loudest = (0..ROWS).max_by(|a, b| column[*a].total_cmp(&column[*b])).unwrap();
        // 1,000 Hz is 1000 mel of the 2146 mel at 4,000 Hz: row 22 of 48 from below.
        assert_eq!(ROWS - 1 - loudest, 22);
        assert!((Spectrogram::of(&sine(1000.0, 0.1, 8000, 8000)).peak_db() + 20.0).abs() < 0.5);
    }

    #[test]
    fn any_length_gives_a_picture() {
        for frames in [1, 2, 100, 30_000] {
            for rate in [1, 8000, 192_000] {
                let spectrogram = Spectrogram::of(&sine(0.3, 0.5, rate, frames));
                let picture = spectrogram.picture(spectrogram.peak_db()).unwrap();
                assert_eq!((picture.width(), picture.height()), (COLUMNS, ROWS));
            }
        }
        let silence = Spectrogram::of(&AudioBuffer::new(8000, 2, vec![0.0; 64]).unwrap());
        assert!(silence.peak_db() <= -119.0);
    }
}
