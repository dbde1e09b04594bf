//! The input side of a model: native media to the model's canonical shape as exact linear maps, each with its transpose.
//!
//! A gradient at the canonical shape goes back to the native medium through the transpose, so that attacks work on the
//! pixels and samples that are written to files. Media that already have the canonical shape are copied unchanged.

use super::{Pixels, Waveform};
use crate::error::{Error, Result};
use std::{
    collections::HashMap,
    f64::consts::PI,
    sync::{Arc, Mutex, PoisonError},
};

/// The longest side of an image a map is made for, in pixels.
pub const MAX_SIDE: usize = 16_384;
/// Zero crossings of the resampling kernel on each side.
const CROSSINGS: f64 = 16.0;
/// How many maps a cache keeps before it starts anew.
const CACHE: usize = 512;

/// One axis of a separable resize: each output is a weighted sum of a run of inputs.
#[derive(Debug, Clone)]
struct Axis {
    runs: Vec<(usize, Vec<f32>)>,
}

impl Axis {
    /// Triangle filter, widened by the scale when shrinking (antialiased), pixel centres aligned; weights sum to 1.
    fn new(from: usize, to: usize) -> Option<Self> {
        if from == to {
            return None;
        }
        let scale = from as f64 / to as f64;
        let support = scale.max(1.0);
        let run = |i: usize| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support).floor().max(0.0) as usize;
            let end = ((centre + support).ceil() as usize).min(from).max(first + 1);
            let raw: Vec<f64> = (first..end).map(|j| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0)).collect();
            let total: f64 = raw.iter().sum();
            (first, raw.iter().map(|w| (w / total) as f32).collect())
        };
        Some(Self { runs: (0..to).map(run).collect() })
    }

    /// Along a line of `stride`-spaced values.
    fn apply(&self, input: &[f32], output: &mut [f32], from: (usize, usize), to: (usize, usize)) {
        for (i, (first, weights)) in self.runs.iter().enumerate() {
            let sum = weights.iter().enumerate().map(|(k, w)| w * input[from.0 + (first + k) * from.1]).sum();
            output[to.0 + i * to.1] = sum;
        }
    }

    /// The transpose: spreads each output's gradient over its run.
    fn transpose(&self, output: &[f32], input: &mut [f32], from: (usize, usize), to: (usize, usize)) {
        for (i, (first, weights)) in self.runs.iter().enumerate() {
            let g = output[to.0 + i * to.1];
            for (k, w) in weights.iter().enumerate() {
                input[from.0 + (first + k) * from.1] += w * g;
            }
        }
    }
}

/// A canonical image (planar, 1 or 3 channels) at the size and with the channels of `like`; an alpha channel is that of `like`.
pub(super) fn render(canonical: &[f32], shape: (usize, usize, usize), like: &Pixels) -> Result<Vec<f32>> {
    let colours = like.channels.min(3);
    let (w, h, c) = shape;
    let mut interleaved = vec![0.0; canonical.len()];
    for (channel, plane) in canonical.chunks_exact(w * h).enumerate() {
        plane.iter().enumerate().for_each(|(i, v)| interleaved[i * c + channel] = *v);
    }
    let planes = ImageMap::new(shape, (like.width, like.height, colours))?.apply(&interleaved);
    let size = like.width * like.height;
    let mut values = like.values.clone();
    for (i, pixel) in values.chunks_exact_mut(like.channels).enumerate() {
        pixel[..colours].iter_mut().enumerate().for_each(|(channel, v)| *v = planes[channel * size + i]);
    }
    Ok(values)
}

/// Native pixels (interleaved) to a canonical image (planar: channel, row, column) as one linear map.
///
/// Channels: gray to RGB is repeated; RGB to gray is the luma `0.299 R + 0.587 G + 0.114 B`; alpha is not looked at
/// (its gradient is 0), since compositing would not be linear.
#[derive(Debug, Clone)]
pub struct ImageMap {
    native: (usize, usize, usize),
    canonical: (usize, usize, usize),
    columns: Option<Axis>,
    rows: Option<Axis>,
    /// `canonical channels x native channels`.
    mix: Vec<f32>,
}

impl ImageMap {
    /// From `native` to `canonical`, each `(width, height, channels)`. Native channels are 1, 3 or 4, canonical 1 or 3.
    pub fn new(native: (usize, usize, usize), canonical: (usize, usize, usize)) -> Result<Self> {
        for (what, (width, height, _)) in [("image", native), ("model image", canonical)] {
            if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
                return Err(Error::model(format!("expected an {what} with sides of 1 to {MAX_SIDE} pixels, found {width}x{height}")));
            }
        }
        let luma = [0.299, 0.587, 0.114];
        let mix = match (native.2, canonical.2) {
            (1, 1) => vec![1.0],
            (1, 3) => vec![1.0; 3],
            (3 | 4, 1) => luma.into_iter().chain((native.2 == 4).then_some(0.0)).collect(),
            (3 | 4, 3) => (0..3).flat_map(|to| (0..native.2).map(move |from| if from == to { 1.0 } else { 0.0 })).collect(),
            (found, to) => {
                return Err(Error::model(format!("cannot map an image of {found} channels to {to}; native 1, 3 or 4, model 1 or 3")));
            }
        };
        Ok(Self { native, canonical, columns: Axis::new(native.0, canonical.0), rows: Axis::new(native.1, canonical.1), mix })
    }

    /// How many canonical values there are.
    pub fn len(&self) -> usize {
        self.canonical.0 * self.canonical.1 * self.canonical.2
    }
    /// Never: an image has pixels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether nothing is computed: one channel on both sides and the same size.
    pub fn is_identity(&self) -> bool {
        self.native == self.canonical && self.native.2 == 1
    }

    /// `A x`: native values (row, column, channel) to canonical values (channel, row, column).
    pub fn apply(&self, native: &[f32]) -> Vec<f32> {
        if self.is_identity() {
            return native.to_vec();
        }
        let (w, h, c) = self.native;
        let (tw, th, tc) = self.canonical;
        let mut out = Vec::with_capacity(self.len());
        for mix in self.mix.chunks_exact(c).take(tc) {
            let plane: Vec<f32> = native.chunks_exact(c).map(|p| p.iter().zip(mix).map(|(v, m)| v * m).sum()).collect();
            let plane = match &self.columns {
                None => plane,
                Some(axis) => {
                    let mut wide = vec![0.0; tw * h];
                    (0..h).for_each(|y| axis.apply(&plane, &mut wide, (y * w, 1), (y * tw, 1)));
                    wide
                }
            };
            match &self.rows {
                None => out.extend(plane),
                Some(axis) => {
                    let mut tall = vec![0.0; tw * th];
                    (0..tw).for_each(|x| axis.apply(&plane, &mut tall, (x, tw), (x, tw)));
                    out.extend(tall);
                }
            }
        }
        out
    }

    /// `A' y`: a canonical gradient to the native one, in the layout of [`Pixels::values`].
    pub fn transpose(&self, canonical: &[f32]) -> Vec<f32> {
        if self.is_identity() {
            return canonical.to_vec();
        }
        let (w, h, c) = self.native;
        let (tw, th, _) = self.canonical;
        let mut native = vec![0.0; w * h * c];
        for (plane, mix) in canonical.chunks_exact(tw * th).zip(self.mix.chunks_exact(c)) {
            let mut wide = vec![0.0; tw * h];
            match &self.rows {
                None => wide.copy_from_slice(plane),
                Some(axis) => (0..tw).for_each(|x| axis.transpose(plane, &mut wide, (x, tw), (x, tw))),
            }
            let mut own = vec![0.0; w * h];
            match &self.columns {
                None => own.copy_from_slice(&wide),
                Some(axis) => (0..h).for_each(|y| axis.transpose(&wide, &mut own, (y * w, 1), (y * tw, 1))),
            }
            for (pixel, g) in native.chunks_exact_mut(c).zip(own) {
                pixel.iter_mut().zip(mix).for_each(|(v, m)| *v += m * g);
            }
        }
        native
    }
}

/// Polyphase windowed-sinc kernels from one sample rate to another (Hann window, 16 zero crossings a side, cut-off at
/// 0.95 of the lower Nyquist frequency, unit gain at 0 Hz).
#[derive(Debug, Clone)]
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// Reduced rates: output `j` lies at input position `j * down / up`.
    up: u64,
    down: u64,
    /// Taps left of the base position.
    left: i64,
    /// One kernel a phase.
    phases: Vec<Vec<f32>>,
}

impl Resampler {
    /// Rates in Hz, each 1..=384,000, and a ratio of at most 256.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        let ratio = f64::from(from_hz.max(to_hz)) / f64::from(from_hz.min(to_hz).max(1));
        if from_hz == 0 || to_hz == 0 || from_hz.max(to_hz) > 384_000 || ratio > 256.0 {
            return Err(Error::model(format!(
                "cannot resample from {from_hz} Hz to {to_hz} Hz; rates are 1..=384000 Hz and at most a factor of 256 apart"
            )));
        }
        let (mut a, mut b) = (from_hz, to_hz);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let (up, down) = (u64::from(to_hz / a), u64::from(from_hz / a));
        let cutoff = 0.95 * (f64::from(to_hz) / f64::from(from_hz)).min(1.0);
        let half = CROSSINGS / cutoff;
        let left = half.ceil() as i64;
        let phase = |p: u64| {
            let shift = p as f64 / up as f64;
            let raw: Vec<f64> = (-left..=left)
                .map(|k| {
                    let t = k as f64 - shift;
                    let x = PI * cutoff * t;
                    let sinc = if x.abs() < 1e-12 { 1.0 } else { x.sin() / x };
                    if t.abs() >= half { 0.0 } else { sinc * (0.5 + 0.5 * (PI * t / half).cos()) }
                })
                .collect();
            let total: f64 = raw.iter().sum();
            raw.into_iter().map(|v| (v / total) as f32).collect()
        };
        let phases = if up == down { Vec::new() } else { (0..up).map(phase).collect() };
        Ok(Self { from_hz, to_hz, up, down, left, phases })
    }

    /// How many outputs `frames` inputs give.
    pub fn frames(&self, frames: usize) -> usize {
        (frames as u64 * self.up).div_ceil(self.down) as usize
    }

    /// First input and kernel of output `j`.
    fn at(&self, j: usize) -> (i64, &[f32]) {
        let position = j as u64 * self.down;
        ((position / self.up) as i64 - self.left, &self.phases[(position % self.up) as usize])
    }
}

/// A native waveform to a canonical one as a linear map: mean of the channels, resampling, and a fixed length.
///
/// Shorter media are padded with zeros at the end, longer ones keep their centre ([`AudioMap::from_start`]: their beginning).
#[derive(Debug, Clone)]
pub struct AudioMap {
    channels: usize,
    frames: usize,
    resampler: Arc<Resampler>,
    /// First output that is kept.
    skip: usize,
    /// Outputs that come from the medium.
    valid: usize,
    length: usize,
}

impl AudioMap {
    /// For media of `channels` and `frames`; `length` is the canonical number of samples, `None` for as many as there are.
    pub fn new(resampler: Arc<Resampler>, channels: usize, frames: usize, length: Option<usize>) -> Result<Self> {
        if channels == 0 || frames == 0 {
            return Err(Error::model(format!("expected audio with at least one frame, found {frames} frames in {channels} channels")));
        }
        let all = resampler.frames(frames);
        let length = length.unwrap_or(all);
        Ok(Self { channels, frames, skip: all.saturating_sub(length) / 2, valid: all.min(length), length, resampler })
    }
    /// The same, but a longer medium gives its beginning in place of its centre.
    #[must_use]
    pub fn from_start(self) -> Self {
        Self { skip: 0, ..self }
    }
    /// Canonical samples, padding included.
    pub fn len(&self) -> usize {
        self.length
    }
    /// Whether the canonical length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Samples at the canonical rate that were left out before the first canonical one, because the medium is longer.
    pub fn skipped(&self) -> usize {
        self.skip
    }
    /// Canonical samples that come from the medium; the padding follows them.
    pub fn valid(&self) -> usize {
        self.valid
    }

    /// `A x`: interleaved native samples to canonical ones.
    pub fn apply(&self, native: &[f32]) -> Vec<f32> {
        let mixed: Vec<f32>;
        let mono = if self.channels == 1 {
            native
        } else {
            let share = 1.0 / self.channels as f32;
            mixed = native.chunks_exact(self.channels).map(|frame| frame.iter().map(|v| v * share).sum()).collect();
            &mixed
        };
        let mut out = vec![0.0; self.length];
        if self.resampler.from_hz == self.resampler.to_hz {
            out[..self.valid].copy_from_slice(&mono[self.skip..self.skip + self.valid]);
            return out;
        }
        for (j, out) in out[..self.valid].iter_mut().enumerate() {
            let (first, kernel) = self.resampler.at(j + self.skip);
            let from = (-first).max(0) as usize;
            let start = (first + from as i64) as usize;
            let taps = kernel.get(from..).unwrap_or_default();
            *out = taps.iter().zip(mono.get(start..).unwrap_or_default()).map(|(k, v)| k * v).sum();
        }
        out
    }

    /// `A' y`: a canonical gradient to the native one, in the layout of [`Waveform::values`].
    pub fn transpose(&self, canonical: &[f32]) -> Vec<f32> {
        let mut mono = vec![0.0; self.frames];
        if self.resampler.from_hz == self.resampler.to_hz {
            mono[self.skip..self.skip + self.valid].copy_from_slice(&canonical[..self.valid]);
        } else {
            for (j, g) in canonical[..self.valid].iter().enumerate() {
                let (first, kernel) = self.resampler.at(j + self.skip);
                let from = (-first).max(0) as usize;
                let start = (first + from as i64) as usize;
                let taps = kernel.get(from..).unwrap_or_default();
                mono.get_mut(start..).unwrap_or_default().iter_mut().zip(taps).for_each(|(v, k)| *v += k * g);
            }
        }
        if self.channels == 1 {
            return mono;
        }
        let share = 1.0 / self.channels as f32;
        mono.into_iter().flat_map(|g| std::iter::repeat_n(g * share, self.channels)).collect()
    }
}

/// The canonical shapes of a model, with the maps to them kept for each native shape.
#[derive(Debug, Default)]
pub struct Canonical {
    image: Option<(usize, usize, usize)>,
    audio: Option<(u32, Option<usize>)>,
    /// Whether a longer sound gives its beginning in place of its centre.
    from_start: bool,
    images: Mutex<HashMap<(usize, usize, usize), Arc<ImageMap>>>,
    resamplers: Mutex<HashMap<u32, Arc<Resampler>>>,
}

impl Canonical {
    /// Images of `(width, height, channels)`, audio of a rate in Hz and a length in samples (`None`: as long as it is).
    pub fn new(image: Option<(usize, usize, usize)>, audio: Option<(u32, Option<usize>)>) -> Self {
        Self { image, audio, ..Self::default() }
    }

    /// The same, but a longer sound gives its beginning in place of its centre.
    #[must_use]
    pub fn from_start(self) -> Self {
        Self { from_start: true, ..self }
    }

    /// The map for these pixels; an error where the buffer contradicts its shape or the model reads no images.
    pub fn image(&self, pixels: &Pixels) -> Result<Arc<ImageMap>> {
        let canonical = self.image.ok_or_else(|| Error::model("this model reads no images"))?;
        check_pixels(pixels)?;
        let native = (pixels.width, pixels.height, pixels.channels);
        cached(&self.images, native, || ImageMap::new(native, canonical))
    }

    /// The map for this waveform; an error where the buffer contradicts its shape or the model reads no audio.
    pub fn audio(&self, waveform: &Waveform) -> Result<AudioMap> {
        let (rate, length) = self.audio.ok_or_else(|| Error::model("this model reads no audio"))?;
        check_waveform(waveform)?;
        let resampler = cached(&self.resamplers, waveform.sample_rate_hz, || Resampler::new(waveform.sample_rate_hz, rate))?;
        let map = AudioMap::new(resampler, waveform.channels, waveform.values.len() / waveform.channels, length)?;
        Ok(if self.from_start { map.from_start() } else { map })
    }
}

impl Clone for Canonical {
    fn clone(&self) -> Self {
        // The maps are shared: a view of a training step's weights would build them anew otherwise.
        fn shared<K: Clone, V: Clone>(maps: &Mutex<HashMap<K, V>>) -> Mutex<HashMap<K, V>> {
            Mutex::new(maps.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
        }
        Self {
            image: self.image,
            audio: self.audio,
            from_start: self.from_start,
            images: shared(&self.images),
            resamplers: shared(&self.resamplers),
        }
    }
}

/// An error unless the buffer has the size its shape says and only finite values.
pub fn check_pixels(pixels: &Pixels) -> Result<()> {
    let wanted = pixels.width.checked_mul(pixels.height).and_then(|n| n.checked_mul(pixels.channels));
    if wanted != Some(pixels.values.len()) || pixels.values.is_empty() {
        return Err(Error::model(format!(
            "an image of {}x{} with {} channels cannot hold {} values",
            pixels.width,
            pixels.height,
            pixels.channels,
            pixels.values.len()
        )));
    }
    check_finite(&pixels.values, "pixel")
}

/// An error unless there are whole frames of finite samples.
pub fn check_waveform(waveform: &Waveform) -> Result<()> {
    if waveform.channels == 0 || waveform.values.is_empty() || !waveform.values.len().is_multiple_of(waveform.channels) {
        return Err(Error::model(format!(
            "audio has at least one whole frame, found {} samples in {} channels",
            waveform.values.len(),
            waveform.channels
        )));
    }
    check_finite(&waveform.values, "audio sample")
}

fn check_finite(values: &[f32], what: &str) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(Error::model(format!("expected finite values, found {what} {at} = {}", values[at]))),
        None => Ok(()),
    }
}

fn cached<K: std::hash::Hash + Eq, V>(cache: &Mutex<HashMap<K, Arc<V>>>, key: K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = cache.get(&key) {
        return Ok(found.clone());
    }
    if cache.len() >= CACHE {
        cache.clear();
    }
    let made = Arc::new(make()?);
    cache.insert(key, made.clone());
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;
    use rand::RngExt;

    fn noise(seed: u64, n: usize) -> Vec<f32> {
        let mut rng = SeedTree::new(seed).rng();
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }
    fn dot(a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn image_transpose_is_the_adjoint(w in 1usize..20, h in 1usize..20, tw in 1usize..20, th in 1usize..20, c in 0usize..3, tc in 0usize..2) {
            let (native, canonical) = ((w, h, [1, 3, 4][c]), (tw, th, [1, 3][tc]));
            let map = ImageMap::new(native, canonical).unwrap();
            let (x, y) = (noise(1, w * h * native.2), noise(2, map.len()));
            prop_assert!((dot(&map.apply(&x), &y) - dot(&x, &map.transpose(&y))).abs() < 1e-3);
        }

        #[test]
        fn audio_transpose_is_the_adjoint(from in 0usize..6, to in 0usize..3, channels in 1usize..4, frames in 1usize..400, length in 1usize..300) {
            let resampler = Arc::new(Resampler::new([8000, 11025, 16000, 22050, 44100, 8001][from], [8000, 16000, 22050][to]).unwrap());
            let map = AudioMap::new(resampler, channels, frames, Some(length)).unwrap();
            let (x, y) = (noise(3, channels * frames), noise(4, length));
            prop_assert!((dot(&map.apply(&x), &y) - dot(&x, &map.transpose(&y))).abs() < 1e-3);
        }

        #[test]
        fn a_constant_image_stays_constant(w in 1usize..30, h in 1usize..30, tw in 1usize..30, th in 1usize..30) {
            let map = ImageMap::new((w, h, 3), (tw, th, 1)).unwrap();
            prop_assert!(map.apply(&vec![0.5; w * h * 3]).iter().all(|v| (v - 0.5).abs() < 1e-5));
        }
    }

    #[test]
    fn the_canonical_shape_is_copied() {
        let map = ImageMap::new((5, 4, 1), (5, 4, 1)).unwrap();
        let x = noise(5, 20);
        assert!(map.is_identity());
        assert_eq!((map.apply(&x), map.transpose(&x)), (x.clone(), x));
        let map = AudioMap::new(Arc::new(Resampler::new(8000, 8000).unwrap()), 1, 7, Some(5)).unwrap();
        assert_eq!(map.apply(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [1.0, 2.0, 3.0, 4.0, 5.0]);
        let map = AudioMap::new(Arc::new(Resampler::new(8000, 8000).unwrap()), 2, 2, Some(3)).unwrap();
        assert_eq!((map.apply(&[1.0, 3.0, 5.0, 5.0]), map.valid()), (vec![2.0, 5.0, 0.0], 2));
    }

    #[test]
    fn halving_an_image_averages_with_a_triangle() {
        // Scale 2: the triangle has support 2 around the centre; weights at distance 0.5 and 1.5 are 0.75 and 0.25.
        let map = ImageMap::new((6, 1, 1), (3, 1, 1)).unwrap();
        let out = map.apply(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!((out[1] - 0.375).abs() < 1e-6, "{out:?}");
    }

    #[test]
    fn a_low_tone_survives_resampling() {
        let tone = |rate: f64, n: usize| (0..n).map(|i| (2.0 * PI * 440.0 * i as f64 / rate).sin() as f32).collect::<Vec<_>>();
        for (from, to) in [(44100u32, 16000u32), (8000, 16000), (22050, 8000)] {
            let map = AudioMap::new(Arc::new(Resampler::new(from, to).unwrap()), 1, from as usize / 4, None).unwrap();
            let out = map.apply(&tone(f64::from(from), from as usize / 4));
            let wanted = tone(f64::from(to), out.len());
            for i in 200..out.len() - 200 {
                assert!((out[i] - wanted[i]).abs() < 5e-3, "{from} -> {to} at {i}: {} {}", out[i], wanted[i]);
            }
        }
        // Above the new Nyquist frequency nothing is left.
        let map = AudioMap::new(Arc::new(Resampler::new(16000, 8000).unwrap()), 1, 4000, None).unwrap();
        let high: Vec<f32> = (0..4000).map(|i| (2.0 * PI * 6000.0 * i as f64 / 16000.0).sin() as f32).collect();
        assert!(map.apply(&high)[200..1800].iter().all(|v| v.abs() < 0.01));
    }

    #[test]
    fn contradictory_buffers_are_refused() {
        let canonical = Canonical::new(Some((4, 4, 1)), Some((8000, Some(100))));
        let pixels = |width, values| Pixels { width, height: 2, channels: 1, values };
        assert!(canonical.image(&pixels(3, vec![0.0; 4])).is_err());
        assert!(canonical.image(&pixels(0, vec![])).is_err());
        assert!(canonical.image(&pixels(2, vec![0.0, 0.0, f32::NAN, 0.0])).is_err());
        assert!(canonical.audio(&Waveform { sample_rate_hz: 0, channels: 1, values: vec![0.0] }).is_err());
        assert!(canonical.audio(&Waveform { sample_rate_hz: 8000, channels: 2, values: vec![0.0] }).is_err());
        assert!(Canonical::new(None, None).image(&pixels(2, vec![0.0; 4])).is_err());
    }
}
