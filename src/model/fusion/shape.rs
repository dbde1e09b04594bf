//! The architecture: sizes, weight shapes and starts.

use crate::{
    error::{Error, Result},
    model::{ModelSpec, parameters::Parameters, preprocess::Canonical},
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet},
};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Characters are numbered below this: 0 is padding, then ASCII in lower case, then the others hashed.
pub(super) const CHARACTERS: usize = 128;
/// Inputs of all outputs of the convolutions, a place each: what the gathers of a file may ask for.
const MOST_GATHERED: usize = 1 << 28;
/// The feature map before the dense layer is not made smaller than this.
const SMALLEST_SIDE: usize = 6;

/// One convolution over planes `[channels, rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Convolution {
    /// Channels, rows, columns that go in.
    pub input: [usize; 3],
    /// Channels that come out.
    pub channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps over rows and columns.
    pub stride: [usize; 2],
    /// Zeros around rows and columns.
    pub padding: [usize; 2],
}

impl Convolution {
    /// With the padding that keeps `size / stride` (rounded up) places.
    fn same(input: [usize; 3], channels: usize, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { input, channels, kernel, stride, padding: [kernel[0] / 2, kernel[1] / 2] }
    }
    /// Rows and columns that come out.
    pub fn places(&self) -> [usize; 2] {
        std::array::from_fn(|i| (self.input[i + 1] + 2 * self.padding[i] - self.kernel[i]) / self.stride[i] + 1)
    }
    /// Channels, rows, columns that come out.
    pub fn output(&self) -> [usize; 3] {
        let [rows, columns] = self.places();
        [self.channels, rows, columns]
    }
    /// Inputs of one output, without the bias.
    pub fn fan_in(&self) -> usize {
        self.input[0] * self.kernel[0] * self.kernel[1]
    }
}

/// The image encoder and decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ImageShape {
    /// Canonical columns, rows, channels.
    pub size: (usize, usize, usize),
    pub layers: Vec<Convolution>,
    /// Width of the decoder's inner layer.
    pub decoder: usize,
    /// Whether a code has a deviation of its own (variational autoencoder).
    #[serde(default)]
    pub variational: bool,
}

/// The audio encoder and decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AudioShape {
    pub rate_hz: u32,
    /// Canonical length in samples.
    pub length: usize,
    /// Samples a frame, which is also the length of the Fourier transform.
    pub window: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    pub mels: usize,
    pub layers: Vec<Convolution>,
    /// Width of the decoder's inner layer; 0 for no decoder.
    #[serde(default)]
    pub decoder: usize,
    /// Whether a code has a deviation of its own (variational autoencoder).
    #[serde(default)]
    pub variational: bool,
}

impl AudioShape {
    pub fn frames(&self) -> usize {
        self.frames_of(self.length)
    }
    /// Frames that lie wholly in `samples`, at least 1.
    pub fn frames_of(&self, samples: usize) -> usize {
        samples.saturating_sub(self.window) / self.hop + 1
    }
    /// The length of the time axis after the last layer that corresponds to `frames`.
    pub fn steps(&self, frames: usize) -> usize {
        self.layers.iter().fold(frames, |n, layer| n.div_ceil(layer.stride[1]))
    }
}

/// The text encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TextShape {
    /// Characters that are read; the rest is cut off.
    pub length: usize,
    /// Size of a character's embedding.
    pub characters: usize,
    pub layers: Vec<Convolution>,
}

/// The whole architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub classes: Classes,
    /// Size of each modality's embedding.
    pub embedding: usize,
    /// Width of the fused layer.
    pub hidden: usize,
    pub image: Option<ImageShape>,
    pub audio: Option<AudioShape>,
    pub text: Option<TextShape>,
}

/// Convolutions with stride 2 down to a small map: first a kernel of 5, then of 3.
pub(super) fn pyramid(mut input: [usize; 3], widths: &[usize]) -> Vec<Convolution> {
    let mut layers = Vec::with_capacity(widths.len());
    for (i, &width) in widths.iter().enumerate() {
        let side = |n: usize| [if i == 0 { 5 } else { 3 }, if n > SMALLEST_SIDE { 2 } else { 1 }];
        let ([kr, sr], [kc, sc]) = (side(input[1]), side(input[2]));
        let layer = Convolution::same(input, width, [kr, kc], [sr, sc]);
        input = layer.output();
        layers.push(layer);
    }
    layers
}

/// Convolutions over time and frequency, then one over time that sees all frequencies.
pub(super) fn listen(mels: usize, frames: usize, widths: &[usize], last: usize) -> Vec<Convolution> {
    let mut layers = pyramid([1, mels, frames], widths);
    let input = layers.last().map_or([1, mels, frames], Convolution::output);
    layers.push(Convolution { input, channels: last, kernel: [input[1], 3], stride: [1, 1], padding: [0, 1] });
    layers
}

/// Convolutions over characters.
pub(super) fn read(characters: usize, length: usize, hidden: usize) -> Vec<Convolution> {
    let first = Convolution::same([characters, 1, length], hidden, [1, 5], [1, 1]);
    vec![first, Convolution::same(first.output(), hidden, [1, 3], [1, 2])]
}

impl Shape {
    pub fn modalities(&self) -> ModalitySet {
        [(Modality::Image, self.image.is_some()), (Modality::Audio, self.audio.is_some()), (Modality::Text, self.text.is_some())]
            .into_iter()
            .filter_map(|(modality, there)| there.then_some(modality))
            .collect()
    }
    /// Modalities with a decoder.
    pub fn decodes(&self) -> ModalitySet {
        let audio = self.audio.as_ref().is_some_and(|a| a.decoder > 0);
        [(Modality::Image, self.image.is_some()), (Modality::Audio, audio)].into_iter().filter_map(|(m, does)| does.then_some(m)).collect()
    }
    /// Modalities whose code has a deviation of its own.
    pub fn variational(&self) -> ModalitySet {
        let image = self.image.as_ref().is_some_and(|i| i.variational);
        let audio = self.audio.as_ref().is_some_and(|a| a.variational && a.decoder > 0);
        [(Modality::Image, image), (Modality::Audio, audio)].into_iter().filter_map(|(m, does)| does.then_some(m)).collect()
    }
    pub fn canonical(&self) -> Canonical {
        Canonical::new(self.image.as_ref().map(|i| i.size), self.audio.as_ref().map(|a| (a.rate_hz, Some(a.length))))
    }
    pub fn layers(&self, modality: Modality) -> &[Convolution] {
        match modality {
            Modality::Image => self.image.as_ref().map_or(&[], |i| &i.layers),
            Modality::Audio => self.audio.as_ref().map_or(&[], |a| &a.layers),
            Modality::Text => self.text.as_ref().map_or(&[], |t| &t.layers),
        }
    }
    /// Features that the last convolution leaves for the dense layer: all of them for images; mean and maximum over the
    /// time for audio and text.
    pub fn features(&self, modality: Modality) -> usize {
        let [channels, rows, columns] = self.layers(modality).last().map_or([0; 3], Convolution::output);
        if modality == Modality::Image { channels * rows * columns } else { 2 * channels * rows }
    }
    /// An error where sizes contradict each other (a file may say anything).
    pub fn check(&self) -> Result<()> {
        let most = 1 << 24;
        let (mut gathered, mut layers) = (0usize, 0);
        let mut right = !self.classes.is_empty() && !self.modalities().is_empty();
        right &= (1..=4096).contains(&self.embedding) && (1..=4096).contains(&self.hidden);
        for modality in self.modalities().iter() {
            let mut input = match (modality, &self.image, &self.audio, &self.text) {
                (Modality::Image, Some(i), ..) => {
                    let fits =
                        matches!(i.size.2, 1 | 3) && [i.size.0, i.size.1].iter().all(|n| (1..=4096).contains(n)) && i.decoder <= 4096;
                    fits.then_some([i.size.2, i.size.1, i.size.0])
                }
                (Modality::Audio, _, Some(a), _) => {
                    let fits = a.rate_hz > 0
                        && a.hop > 0
                        && (2..=8192).contains(&a.window)
                        && (1..=1024).contains(&a.mels)
                        && a.rate_hz <= 384_000
                        && a.length >= a.window
                        && a.length < most
                        && a.decoder <= 4096;
                    (fits && a.frames() <= 1 << 14).then(|| [1, a.mels, a.frames()])
                }
                (Modality::Text, .., Some(t)) => Some([t.characters, 1, t.length]).filter(|_| t.characters <= 4096 && t.length <= 65_536),
                _ => None,
            };
            for layer in self.layers(modality) {
                let sizes = [layer.channels, layer.kernel[0], layer.kernel[1], layer.stride[0], layer.stride[1]];
                right &= Some(layer.input) == input && sizes.iter().all(|n| (1..=4096).contains(n));
                right &= layer.input.iter().all(|n| (1..=most).contains(n)) && layer.padding.iter().all(|n| *n <= 4096);
                if !right || (0..2).any(|i| layer.input[i + 1] + 2 * layer.padding[i] < layer.kernel[i]) {
                    right = false;
                    break;
                }
                let [rows, columns] = layer.places();
                // Over the time of sounds and texts a mask is laid, as long as the strides alone leave it.
                right &= modality == Modality::Image || columns == layer.input[2].div_ceil(layer.stride[1]);
                gathered = gathered.saturating_add((layer.fan_in() + 1).saturating_mul(rows * columns));
                layers += 1;
                right &= layer.input.iter().product::<usize>() <= most && gathered <= MOST_GATHERED && layers <= 64;
                if !right {
                    break;
                }
                input = Some(layer.output());
            }
            right &= input.is_some();
            right &= !self.layers(modality).is_empty() && (!right || (1..=most).contains(&self.features(modality)));
        }
        if right { Ok(()) } else { Err(Error::model("the header of the model is broken: its sizes contradict each other")) }
    }
    pub fn architecture(&self) -> Value {
        serde_json::json!({ "model": "fusion", "shape": self })
    }
    pub fn spec(&self, weights: &Parameters) -> ModelSpec {
        self.spec_of(weights.digest(&self.architecture()))
    }
    pub fn spec_of(&self, digest: String) -> ModelSpec {
        let modalities = self.modalities();
        ModelSpec {
            name: "fusion".into(),
            digest,
            classes: self.classes.clone(),
            modalities,
            gradients: modalities,
            embeddings: modalities,
            embedding_gradients: modalities,
            decodes: self.decodes(),
        }
    }

    /// All weights by path.
    fn entries(&self) -> Vec<(String, Entry)> {
        let mut all = Vec::new();
        let mut matrix = |path: String, outputs: usize, inputs: usize, gain: f64| all.push((path, Entry::Matrix { outputs, inputs, gain }));
        let (classes, embedding) = (self.classes.len(), self.embedding);
        for modality in self.modalities().iter() {
            for (i, layer) in self.layers(modality).iter().enumerate() {
                matrix(format!("{modality}.convolution{i}"), layer.channels, layer.fan_in(), 2.0);
            }
            matrix(format!("{modality}.embedding"), embedding, self.features(modality), 1.0);
            matrix(format!("{modality}.head"), classes, embedding, 1.0);
        }
        if let Some(image) = &self.image {
            let (w, h, c) = image.size;
            matrix("image.decoder0".into(), image.decoder, embedding, 2.0);
            matrix("image.decoder1".into(), w * h * c, image.decoder, 1.0);
        }
        if let Some(audio) = self.audio.as_ref().filter(|a| a.decoder > 0) {
            matrix("audio.decoder0".into(), audio.decoder, embedding, 2.0);
            matrix("audio.decoder1".into(), audio.mels * audio.frames(), audio.decoder, 1.0);
        }
        for modality in self.variational().iter() {
            matrix(format!("{modality}.variance"), embedding, embedding, 0.1);
        }
        matrix("fusion.hidden".into(), self.hidden, embedding * self.modalities().len(), 2.0);
        matrix("fusion.head".into(), classes, self.hidden, 1.0);
        // Neither the tokens of missing modalities nor the characters have a bias.
        for modality in self.modalities().iter() {
            all.push((format!("{modality}.missing"), Entry::Table { rows: embedding, columns: 1, deviation: 0.1 }));
        }
        if let Some(text) = &self.text {
            all.push(("text.characters".into(), Entry::Table { rows: text.characters, columns: CHARACTERS, deviation: 0.5 }));
        }
        all
    }

    /// An error unless these are the weights of this architecture, all finite; it lists all that does not fit.
    pub fn check_weights(&self, weights: &Parameters) -> Result<()> {
        let size = |(path, entry): (String, Entry)| match entry {
            Entry::Matrix { outputs, inputs, .. } => (path, vec![outputs, inputs + 1]),
            Entry::Table { rows, columns, .. } => (path, vec![rows, columns]),
        };
        weights.check_sizes(&self.entries().into_iter().map(size).collect::<Vec<_>>())
    }

    /// In what another architecture sees media otherwise, though its weights may fit: sizes of images, and the filters of sounds. Lengths of sounds and texts are
    /// averaged away.
    fn unlike(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |path: &str, here: usize, there: usize| {
            if here != there {
                found.push(format!("`{path}` is {there} there and {here} here"));
            }
        };
        if let (Some(here), Some(there)) = (&self.image, &other.image) {
            compare("image.size[0]", here.size.0, there.size.0);
            compare("image.size[1]", here.size.1, there.size.1);
        }
        if let (Some(here), Some(there)) = (&self.audio, &other.audio) {
            compare("audio.sample_rate_hz", here.rate_hz as usize, there.rate_hz as usize);
            compare("audio window in samples", here.window, there.window);
            compare("audio hop in samples", here.hop, there.hop);
            compare("audio.mels", here.mels, there.mels);
        }
        found
    }

    /// The weights of a file.
    pub fn read(&self, path: &Path) -> Result<Parameters> {
        let (header, weights) = Parameters::read_any(path)?;
        let classes = header.as_ref().and_then(|h| h.pointer("/shape/classes"));
        let classes = classes.and_then(|c| serde_json::from_value::<Classes>(c.clone()).ok());
        if let Some(other) = classes.filter(|other| *other != self.classes) {
            let message = format!("the model knows the classes {:?}, the data has {:?}", other.names(), self.classes.names());
            return Err(Error::model(message).at("file", path.display()));
        }
        let saved = header.as_ref().and_then(|h| serde_json::from_value::<Self>(h.pointer("/shape")?.clone()).ok());
        let unlike = saved.map(|saved| self.unlike(&saved)).unwrap_or_default();
        if !unlike.is_empty() {
            return Err(Error::model(format!("the model was made for other media: {}", unlike.join("; "))).at("file", path.display()));
        }
        self.check_weights(&weights).map_err(|e| e.at("file", path.display()))?;
        Ok(weights)
    }

    /// All weights: a matrix of `outputs x (inputs + 1)` each, the last column being the bias. He's normal start before a
    /// ReLU, Glorot's before a linear use, biases 0; each matrix from its own node of `seeds`.
    pub fn start(&self, seeds: &SeedTree) -> Result<Parameters> {
        let mut weights = Parameters::default();
        for (path, entry) in self.entries() {
            let mut rng = seeds.child(&path).rng();
            let normal = |deviation: f64| Normal::new(0.0, deviation).map_err(|e| Error::internal(e.to_string()));
            match entry {
                Entry::Matrix { outputs, inputs, gain } => {
                    let normal = normal((gain / inputs as f64).sqrt())?;
                    let row = |_| (0..inputs).map(|_| normal.sample(&mut rng) as f32).chain([0.0]).collect::<Vec<_>>();
                    let values = (0..outputs).flat_map(row).collect();
                    weights.insert(path, [outputs, inputs + 1], values);
                }
                Entry::Table { rows, columns, deviation } => {
                    let normal = normal(deviation)?;
                    let values = (0..rows * columns).map(|_| normal.sample(&mut rng) as f32).collect();
                    weights.insert(path, [rows, columns], values);
                }
            }
        }
        Ok(weights)
    }
}

/// A weight tensor: its sizes and the spread of its start.
enum Entry {
    /// With a column of biases behind the inputs; the variance is `gain / inputs`.
    Matrix {
        outputs: usize,
        inputs: usize,
        gain: f64,
    },
    Table {
        rows: usize,
        columns: usize,
        deviation: f64,
    },
}

/// Numbers of the first `length` characters; 0 after the end.
pub(super) fn characters(text: &str, length: usize) -> Vec<i64> {
    let mut numbers: Vec<i64> = text.chars().flat_map(numbers_of).take(length).collect();
    numbers.resize(length, 0);
    numbers
}

/// The numbers of one character: more than one where its lower case is more than one letter.
pub(super) fn numbers_of(letter: char) -> impl Iterator<Item = i64> {
    letter.to_lowercase().map(|c| match u32::from(c) {
        code @ 33..=126 => i64::from(code) - 31,
        // Spaces and controls are one, letters outside ASCII share the numbers above.
        0..=32 | 127 => 1,
        code => 96 + i64::from(code.wrapping_mul(0x9E37_79B1) >> 27),
    })
}
