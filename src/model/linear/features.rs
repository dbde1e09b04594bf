//! What the linear model sees of each modality, and the exact way back to the native medium.

use crate::{
    error::{Error, Result},
    model::{
        Pixels, Waveform,
        preprocess::{Canonical, check_pixels, check_waveform},
    },
};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Added to a band's power before the logarithm.
const POWER_FLOOR: f32 = 1e-6;

/// Features of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImageFeatures {
    /// Resized to `side x side` gray pixels.
    Grid { side: usize },
    /// The native values of images of exactly this shape.
    Raw { width: usize, height: usize, channels: usize },
}

/// Features of a waveform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AudioFeatures {
    /// Logarithms of the mean power in `bands` bands and `segments` equal parts of the time, at `rate_hz`.
    Bands { rate_hz: u32, bands: usize, segments: usize },
    /// The native samples of media of exactly this shape.
    Raw { channels: usize, frames: usize },
}

/// The most raw values that a saved model may read.
const MOST_RAW: usize = 1 << 28;

/// Whether a product of sizes neither overflows nor is more than any file's weights.
fn small(sizes: &[usize]) -> bool {
    sizes.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).is_some_and(|n| n <= MOST_RAW)
}

impl ImageFeatures {
    /// Whether the sizes are in range.
    pub(super) fn is_right(self) -> bool {
        match self {
            Self::Grid { side } => (1..=64).contains(&side),
            Self::Raw { width, height, channels } => small(&[width, height, channels]),
        }
    }
    pub(super) fn len(self) -> usize {
        match self {
            Self::Grid { side } => side * side,
            Self::Raw { width, height, channels } => width * height * channels,
        }
    }
    pub(super) fn canonical(self) -> Option<(usize, usize, usize)> {
        match self {
            Self::Grid { side } => Some((side, side, 1)),
            Self::Raw { .. } => None,
        }
    }
    /// The features, and the map of their gradient to the native pixels.
    pub(super) fn of(self, canonical: &Canonical, pixels: &Pixels) -> Result<(Vec<f32>, Back)> {
        match self {
            Self::Grid { .. } => {
                let map = canonical.image(pixels)?;
                Ok((map.apply(&pixels.values), Box::new(move |g| map.transpose(g))))
            }
            Self::Raw { width, height, channels } => {
                check_pixels(pixels)?;
                let found = (pixels.width, pixels.height, pixels.channels);
                if found != (width, height, channels) {
                    return Err(Error::model(format!(
                        "expected an image of {width}x{height} with {channels} channels, found {}x{} with {}",
                        found.0, found.1, found.2
                    )));
                }
                Ok((pixels.values.clone(), Box::new(|g| g.to_vec())))
            }
        }
    }
}

/// Maps the gradient of features to the gradient of the medium.
pub(super) type Back = Box<dyn Fn(&[f32]) -> Vec<f32> + Send>;

impl AudioFeatures {
    /// Whether the sizes are in range.
    pub(super) fn is_right(self) -> bool {
        match self {
            Self::Bands { rate_hz, bands, segments } => {
                (1..=384_000).contains(&rate_hz) && [bands, segments].iter().all(|n| (1..=64).contains(n))
            }
            Self::Raw { channels, frames } => small(&[channels, frames]),
        }
    }
    pub(super) fn len(self) -> usize {
        match self {
            Self::Bands { bands, segments, .. } => bands * segments,
            Self::Raw { channels, frames } => channels * frames,
        }
    }
    pub(super) fn canonical(self) -> Option<(u32, Option<usize>)> {
        match self {
            Self::Bands { rate_hz, .. } => Some((rate_hz, None)),
            Self::Raw { .. } => None,
        }
    }
    /// The features, and the map of their gradient to the native samples.
    pub(super) fn of(self, canonical: &Canonical, waveform: &Waveform) -> Result<(Vec<f32>, Back)> {
        match self {
            Self::Bands { bands, segments, .. } => {
                let map = canonical.audio(waveform)?;
                let (features, jacobian) = Bands::new(bands, segments).of(&map.apply(&waveform.values));
                Ok((features, Box::new(move |g| map.transpose(&jacobian(g)))))
            }
            Self::Raw { channels, frames } => {
                check_waveform(waveform)?;
                let found = (waveform.channels, waveform.values.len() / waveform.channels);
                if found != (channels, frames) {
                    return Err(Error::model(format!(
                        "expected {frames} frames of audio in {channels} channels, found {} in {}",
                        found.1, found.0
                    )));
                }
                Ok((waveform.values.clone(), Box::new(|g| g.to_vec())))
            }
        }
    }
}

/// One windowed cosine and sine a band; bands are spread evenly below the Nyquist frequency.
struct Bands {
    window: usize,
    segments: usize,
    kernels: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Bands {
    fn new(bands: usize, segments: usize) -> Self {
        // As long as separates neighbouring bands under a Hann window.
        let window = 4 * bands;
        let hann = |i: usize| 0.5 - 0.5 * (2.0 * PI * (i as f64 + 0.5) / window as f64).cos();
        let kernel = |band: usize, f: fn(f64) -> f64| {
            let turn = PI * (band as f64 + 0.5) / bands as f64;
            (0..window).map(|i| (hann(i) * f(turn * i as f64) * (2.0 / window as f64).sqrt()) as f32).collect()
        };
        Self { window, segments, kernels: (0..bands).map(|b| (kernel(b, f64::cos), kernel(b, f64::sin))).collect() }
    }

    /// Features (segment by segment) of a mono waveform, and the product of a gradient with their Jacobian.
    fn of(self, x: &[f32]) -> (Vec<f32>, impl Fn(&[f32]) -> Vec<f32> + use<>) {
        let length = x.len();
        let mut padded = x.to_vec();
        padded.resize(length.max(self.window), 0.0);
        let hop = self.window / 2;
        let frames = (padded.len() - self.window) / hop + 1;
        let bands = self.kernels.len();
        // Products with cosine and sine of each frame and band.
        let products: Vec<(f32, f32)> = (0..frames)
            .flat_map(|f| {
                let frame = &padded[f * hop..f * hop + self.window];
                let dot = |k: &[f32]| frame.iter().zip(k).map(|(x, k)| x * k).sum::<f32>();
                self.kernels.iter().map(move |(c, s)| (dot(c), dot(s))).collect::<Vec<_>>()
            })
            .collect();
        let segments = self.segments;
        let span = move |s: usize| (s * frames / segments, ((s + 1) * frames).div_ceil(segments).max(s * frames / segments + 1));
        let mut power = vec![0.0f32; segments * bands];
        for s in 0..segments {
            let (from, to) = span(s);
            for f in from..to {
                for b in 0..bands {
                    let (c, d) = products[f * bands + b];
                    power[s * bands + b] += (c * c + d * d) / (to - from) as f32;
                }
            }
        }
        // An affine map brings -13.8 (silence) to -1 and 0 to 1.
        let scale = 2.0 / -POWER_FLOOR.ln();
        let features = power.iter().map(|p| 1.0 + scale * (p + POWER_FLOOR).ln()).collect();
        let back = move |gradient: &[f32]| {
            let mut x = vec![0.0; padded.len()];
            for s in 0..segments {
                let (from, to) = span(s);
                for f in from..to {
                    for (b, (cosine, sine)) in self.kernels.iter().enumerate() {
                        let at = s * bands + b;
                        let outer = gradient[at] * scale / (power[at] + POWER_FLOOR) * 2.0 / (to - from) as f32;
                        let (c, d) = products[f * bands + b];
                        for ((x, kc), ks) in x[f * hop..].iter_mut().zip(cosine).zip(sine) {
                            *x += outer * (c * kc + d * ks);
                        }
                    }
                }
            }
            x.truncate(length);
            x
        };
        (features, back)
    }
}

/// Counts of character trigrams (lower case, with word edges) hashed into `len` places, with Euclidean length 1.
pub(super) fn trigrams(text: &str, len: usize) -> Vec<f32> {
    let mut counts = trigram_counts(text, len);
    let length = euclidean_length(counts.iter().copied());
    if length > 0.0 {
        counts.iter_mut().for_each(|c| *c /= length);
    }
    counts
}

/// The counts alone.
pub(super) fn trigram_counts(text: &str, len: usize) -> Vec<f32> {
    let mut counts = vec![0.0f32; len];
    each_trigram(text, (false, false), len, &mut |place| counts[place] += 1.0);
    counts
}

/// Euclidean length of counts, summed in their order.
pub(super) fn euclidean_length(counts: impl Iterator<Item = f32>) -> f32 {
    counts.map(|c| c * c).sum::<f32>().sqrt()
}

/// Calls `found` with the place of every trigram, one after another. Where `cut` says so, the text goes on before its first or behind its last letter, and no edge of a word is there.
pub(super) fn each_trigram(text: &str, cut: (bool, bool), len: usize, found: &mut dyn FnMut(usize)) {
    let mut words = text.split_whitespace().peekable();
    let mut open = cut.0;
    while let Some(word) = words.next() {
        let before = (!open).then_some(' ');
        let behind = (!cut.1 || words.peek().is_some()).then_some(' ');
        let letters: Vec<char> = before.into_iter().chain(word.chars().flat_map(char::to_lowercase)).chain(behind).collect();
        for gram in letters.windows(3) {
            // FNV-1a, 64 bit.
            let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
            let hash = gram.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, c| c.encode_utf8(&mut [0; 4]).as_bytes().iter().fold(h, step));
            found((hash % len as u64) as usize);
        }
        open = false;
    }
}

impl super::Shape {
    /// The names and shapes of the weights; an error where sizes are out of range or contradict each other (a file may say anything).
    pub(super) fn sizes(&self) -> Result<Vec<(String, Vec<usize>)>> {
        let grid = self.image.is_none_or(ImageFeatures::is_right);
        let right = grid && self.audio.is_none_or(AudioFeatures::is_right) && self.text.is_none_or(|n| (1..=65_536).contains(&n));
        if !right || self.classes.is_empty() {
            return Err(Error::model("the header of the model is broken: its sizes contradict each other"));
        }
        let classes = self.classes.len();
        let mut sizes = vec![("bias".to_owned(), vec![classes])];
        for modality in self.modalities().iter() {
            sizes.push((format!("{modality}.weight"), vec![classes, self.len(modality).unwrap_or(0)]));
            sizes.push((format!("{modality}.missing"), vec![classes]));
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        // 8 bands below 4 kHz: 500 Hz each; 1250 Hz is the middle of band 2.
        let tone: Vec<f32> = (0..800).map(|i| (2.0 * PI * 1250.0 * f64::from(i) / 8000.0).sin() as f32).collect();
        let (features, _) = Bands::new(8, 2).of(&tone);
        let loudest = |part: &[f32]| (0..8).max_by(|a, b| part[*a].total_cmp(&part[*b])).unwrap();
        assert_eq!((loudest(&features[..8]), loudest(&features[8..])), (2, 2));
    }

    #[test]
    fn band_gradients_agree_with_finite_differences() {
        let x: Vec<f32> = (0..90).map(|i| (i as f32 * 0.7).sin() * 0.3 + (i as f32 * 0.11).cos() * 0.2).collect();
        let weights: Vec<f32> = (0..12).map(|i| (i as f32 * 1.3).sin()).collect();
        let value = |x: &[f32]| Bands::new(4, 3).of(x).0.iter().zip(&weights).map(|(f, w)| f64::from(f * w)).sum::<f64>();
        let gradient = Bands::new(4, 3).of(&x).1(&weights);
        for i in [0, 3, 31, 60, 89] {
            let moved = |by: f32| x.iter().enumerate().map(|(j, v)| if i == j { v + by } else { *v }).collect::<Vec<_>>();
            let slope = (value(&moved(2e-4)) - value(&moved(-2e-4))) / 4e-4;
            assert!((slope - f64::from(gradient[i])).abs() < 1e-2 * slope.abs().max(1.0), "{i}: {slope} {}", gradient[i]);
        }
    }

    #[test]
    fn trigrams_are_normalised_and_tell_words_apart() {
        let (a, b) = (trigrams("Seven dots", 64), trigrams("seven  DOTS", 64));
        assert_eq!(a, b);
        assert!((a.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_ne!(a, trigrams("eight dots", 64));
        assert_eq!(trigrams("", 8), vec![0.0; 8]);
    }
}
