//! Media into the tensors of a graph, and gradients of these tensors back to media.

use super::{
    Align, ChannelOrder, Cut, Layout, Missing, Onnx,
    engine::{Dim, Kind, Session, Value, ValueInfo},
    tokens::Tokens,
};
use crate::{
    error::{Error, Result},
    model::{
        DataProfile, Input,
        preprocess::{AudioMap, Canonical, ImageMap},
    },
    sample::Modality,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Shape and normalisation of an image input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ImageShape {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    layout: Layout,
    /// Whether the last colour comes first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bgr: bool,
    /// `v * scale + shift` a channel.
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Shape of an audio input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AudioShape {
    pub(super) rate_hz: u32,
    pub(super) length: usize,
    scale: f32,
    /// Dimensions of the graph's input.
    rank: usize,
    #[serde(default)]
    align: Align,
    #[serde(default)]
    pub(super) cut: Cut,
}

/// What one input of the graph is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Source {
    Image(ImageShape),
    Audio(AudioShape),
    Text(Tokens),
    /// 1 at tokens, 0 where the ids were filled up.
    AttentionMask(Tokens),
    TokenTypes(usize),
    /// 1 where a modality is there; dimensions of the input.
    Presence(Modality, usize),
}

impl Source {
    /// Numbers of one sample.
    pub(super) fn numbers(&self) -> usize {
        match self {
            Self::Image(s) => s.width.saturating_mul(s.height).saturating_mul(s.channels),
            Self::Audio(s) => s.length,
            Self::Text(t) | Self::AttentionMask(t) => t.length,
            Self::TokenTypes(length) => *length,
            Self::Presence(..) => 1,
        }
    }
    /// Whether its sizes are in their ranges (a file may say anything).
    pub(super) fn is_right(&self) -> bool {
        let finite = |v: &[f32]| v.iter().all(|v| v.is_finite());
        match self {
            Self::Image(s) => {
                let sides = [s.width, s.height].iter().all(|n| (1..=crate::model::preprocess::MAX_SIDE).contains(n));
                let each = s.scale.len() == s.channels && s.shift.len() == s.channels;
                sides && matches!(s.channels, 1 | 3) && each && finite(&s.scale) && finite(&s.shift)
            }
            Self::Audio(s) => {
                let sizes = (1..=384_000).contains(&s.rate_hz) && (1..=10_000_000).contains(&s.length);
                sizes && (1..=3).contains(&s.rank) && s.scale.is_finite()
            }
            Self::Text(t) | Self::AttentionMask(t) => (1..=65_536).contains(&t.length),
            Self::TokenTypes(length) => (1..=65_536).contains(length),
            Self::Presence(_, rank) => (1..=2).contains(rank),
        }
    }
}

/// One micro-batch of one graph, with the way back.
pub(super) struct Fed {
    pub(super) values: Vec<Value>,
    pub(super) images: Vec<Option<Arc<ImageMap>>>,
    pub(super) audios: Vec<Option<AudioMap>>,
}

fn known(info: &ValueInfo, axis: usize) -> Option<usize> {
    match info.shape.as_ref()?.get(axis)? {
        Dim::Fixed(n) if *n > 0 => Some(*n),
        _ => None,
    }
}

fn rank(info: &ValueInfo) -> Option<usize> {
    info.shape.as_ref().map(Vec::len)
}

impl ImageShape {
    fn new(config: &super::ImageInput, missing: &ValueInfo, profile: &DataProfile) -> Result<Self> {
        let info = missing;
        if rank(info).is_some_and(|r| r != 4) {
            return Err(Error::model(format!("an image has four dimensions, the graph's input is {info}")));
        }
        let layout = config.layout.unwrap_or_default();
        let [c, h, w] = match layout {
            Layout::Nchw => [1, 2, 3],
            Layout::Nhwc => [3, 1, 2],
        };
        let common = profile.image;
        let named = config.mean.len().max(config.std.len());
        let channels = known(info, c).or((named == 3).then_some(3)).or(common.map(|(_, _, c)| if c == 1 { 1 } else { 3 })).unwrap_or(3);
        let pick = |declared: Option<usize>, given: Option<usize>, common: Option<usize>, what: &str| match (declared, given) {
            (Some(n), Some(m)) if n != m => Err(Error::model(format!("the graph's {what} is {n} in {info}, the pipeline says {m}"))),
            (n, m) => n.or(m).or(common).ok_or_else(|| Error::model(format!("the graph leaves the {what} of {info} free; write `size`"))),
        };
        let width = pick(known(info, w), config.size.map(|s| s.0), common.map(|i| i.0), "width")?;
        let height = pick(known(info, h), config.size.map(|s| s.1), common.map(|i| i.1), "height")?;
        if !matches!(channels, 1 | 3) {
            return Err(Error::model(format!("expected an input of 1 or 3 channels in the order {layout:?}, found {info}")));
        }
        let each = |given: &[f32], default: f32| match given {
            [] => Ok(vec![default; channels]),
            [one] => Ok(vec![*one; channels]),
            all if all.len() == channels => Ok(all.to_vec()),
            all => Err(Error::model(format!("expected {channels} numbers a channel for {info}, found {all:?}"))),
        };
        let (mean, std) = (each(&config.mean, 0.0)?, each(&config.std, 1.0)?);
        let (low, high) = config.range.unwrap_or((0.0, 1.0));
        let scale = std.iter().map(|s| (high - low) / s).collect();
        let shift = mean.iter().zip(&std).map(|(m, s)| (low - m) / s).collect();
        let bgr = channels == 3 && config.channel_order == Some(ChannelOrder::Bgr);
        Ok(Self { width, height, channels, layout, bgr, scale, shift })
    }

    /// A planar canonical image as the graph's input.
    fn normalised(&self, planar: &[f32], out: &mut Vec<f32>) {
        let plane = self.width * self.height;
        let planes = || self.colours().map(|c| &planar[c * plane..(c + 1) * plane]);
        match self.layout {
            Layout::Nchw => {
                planes().zip(self.scale.iter().zip(&self.shift)).for_each(|(p, (a, b))| out.extend(p.iter().map(|v| v * a + b)))
            }
            Layout::Nhwc => (0..plane).for_each(|i| {
                out.extend(planes().zip(self.scale.iter().zip(&self.shift)).map(|(p, (a, b))| p[i] * a + b));
            }),
        }
    }

    /// The canonical colour in each of the graph's places.
    fn colours(&self) -> impl Iterator<Item = usize> {
        let (n, bgr) = (self.channels, self.bgr);
        (0..n).map(move |c| if bgr { n - 1 - c } else { c })
    }

    /// The gradient of the graph's input as that of the planar canonical image.
    pub(super) fn back(&self, g: &[f32]) -> Vec<f32> {
        let plane = self.width * self.height;
        let at = |c: usize, i: usize| match self.layout {
            Layout::Nchw => c * plane + i,
            Layout::Nhwc => i * self.channels + c,
        };
        // The order turned round is its own way back.
        self.colours().flat_map(|c| (0..plane).map(move |i| (c, i))).map(|(c, i)| g[at(c, i)] * self.scale[c]).collect()
    }
}

impl AudioShape {
    fn new(config: &super::AudioInput, info: &ValueInfo, profile: &DataProfile) -> Result<Self> {
        let rank = rank(info).unwrap_or(2);
        if !(1..=3).contains(&rank) {
            return Err(Error::model(format!("expected audio of one to three dimensions, the graph's input is {info}")));
        }
        let rate_hz = config.sample_rate_hz.unwrap_or(16_000);
        let common = profile.audio.map(|(_, seconds)| (seconds * f64::from(rate_hz)).ceil().clamp(1.0, 1e7) as usize);
        let length = match (known(info, rank - 1), config.length) {
            (Some(n), Some(m)) if n != m => {
                return Err(Error::model(format!("the graph's input is {info}, the pipeline says {m} samples")));
            }
            (n, m) => n.or(m).or(common),
        };
        let length = length.ok_or_else(|| Error::model(format!("the graph leaves the length of {info} free; write `length`")))?;
        let (scale, align) = (config.scale.unwrap_or(1.0), config.align.unwrap_or_default());
        let cut = config.cut.unwrap_or_default();
        Ok(Self { rate_hz, length, scale, rank, align, cut })
    }
    /// Zeros before a sound of `valid` samples.
    fn before(&self, valid: usize) -> usize {
        match self.align {
            Align::Start => 0,
            Align::Centre => self.length.saturating_sub(valid) / 2,
        }
    }
    /// Adds what the graph is given: canonical samples, of which `valid` are the sound's.
    fn forth(&self, samples: &[f32], valid: usize, to: &mut Vec<f32>) {
        let end = to.len() + self.length;
        to.resize(to.len() + self.before(valid), 0.0);
        to.extend(samples.iter().take(end - to.len()).map(|v| v * self.scale));
        to.resize(end, 0.0);
    }
    /// The way back of a slope.
    pub(super) fn back(&self, g: &[f32], valid: usize) -> Vec<f32> {
        let own = g.get(self.before(valid)..).unwrap_or_default();
        let mut back: Vec<f32> = own.iter().map(|g| g * self.scale).collect();
        back.resize(g.len(), 0.0);
        back
    }
}

/// What each input of `session` is given. Everything that does not fit is told at once.
pub(super) fn sources(config: &Onnx, of: &[Modality], session: &Session, profile: &DataProfile) -> Result<Vec<Source>> {
    let inputs = session.inputs();
    let has = inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut found: Vec<Option<Source>> = vec![None; inputs.len()];
    let mut give = |name: Option<&String>, what: &str, make: &dyn Fn(&ValueInfo) -> Result<Source>| {
        let at = match name {
            Some(name) => inputs.iter().position(|i| i.name == *name),
            None if inputs.len() == 1 => Some(0),
            None => return Err(Error::model(format!("write the name of the {what} input; the graph has {has}"))),
        };
        let at = at.ok_or_else(|| Error::model(format!("the graph has no input `{}` for {what}; it has {has}", name.map_or("", |n| n))))?;
        let source = make(&inputs[at])?;
        if found[at].replace(source).is_some() {
            return Err(Error::model(format!("the input `{}` is named twice", inputs[at].name)));
        }
        Ok(())
    };
    let float = |info: &ValueInfo| match Kind::from_code(info.code) {
        Ok(kind) if kind.is_float() => Ok(()),
        _ => Err(Error::model(format!("expected an input of floats, found {info}"))),
    };
    if let Some(image) = config.inputs.image.as_ref().filter(|_| of.contains(&Modality::Image)) {
        give(image.name.as_ref(), "image", &|info| float(info).and_then(|()| ImageShape::new(image, info, profile).map(Source::Image)))?;
    }
    if let Some(audio) = config.inputs.audio.as_ref().filter(|_| of.contains(&Modality::Audio)) {
        give(audio.name.as_ref(), "audio", &|info| float(info).and_then(|()| AudioShape::new(audio, info, profile).map(Source::Audio)))?;
    }
    if let Some(text) = config.inputs.text.as_ref().filter(|_| of.contains(&Modality::Text)) {
        let tokens = |info: &ValueInfo| {
            let length = known(info, 1).or(text.length).or(profile.text.map(|n| n.clamp(1, 65_536)));
            Tokens::new(text, length.ok_or_else(|| Error::model(format!("the graph leaves the length of {info} free; write `length`")))?)
        };
        let one = if inputs.len() == 1 { None } else { text.name.as_ref() };
        give(one.or(text.name.as_ref()), "text", &|info| tokens(info).map(Source::Text))?;
        if let Some(name) = &text.attention_mask {
            give(Some(name), "attention mask", &|info| tokens(info).map(Source::AttentionMask))?;
        }
        if let Some(name) = &text.token_types {
            give(Some(name), "token types", &|info| tokens(info).map(|t| Source::TokenTypes(t.length)))?;
        }
    }
    for modality in of {
        if let Some(name) = config.masks.of(*modality) {
            give(Some(name), "presence", &|info| Ok(Source::Presence(*modality, rank(info).unwrap_or(2))))?;
        }
    }
    let open: Vec<String> = inputs.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(i, _)| i.to_string()).collect();
    if !open.is_empty() {
        return Err(Error::model(format!("inputs of the graph that nothing is given to: {}", open.join(", "))));
    }
    Ok(found.into_iter().flatten().collect())
}

/// The tensors of one micro-batch of `size` samples; what is missing, and what fills the batch up, is as `missing` says.
pub(super) fn feed(
    sources: &[Source],
    canonical: &Canonical,
    inputs: &[Input],
    size: usize,
    missing: Missing,
    kinds: &[Kind],
) -> Result<Fed> {
    let mut fed = Fed { values: Vec::new(), images: Vec::new(), audios: Vec::new() };
    let nothing = Input::default();
    let rows = || inputs.iter().chain(std::iter::repeat(&nothing)).take(size);
    for (source, kind) in sources.iter().zip(kinds) {
        let value = match source {
            Source::Image(shape) => {
                let mut values = Vec::with_capacity(size * shape.width * shape.height * shape.channels);
                let black = vec![0.0; shape.width * shape.height * shape.channels];
                for input in rows() {
                    match &input.image {
                        Some(pixels) => {
                            let map = canonical.image(pixels).map_err(|e| e.at("modality", "image"))?;
                            shape.normalised(&map.apply(&pixels.values), &mut values);
                            fed.images.push(Some(map));
                        }
                        None => {
                            match missing {
                                Missing::Zeros => shape.normalised(&black, &mut values),
                                Missing::Mean => values.extend_from_slice(&black),
                            }
                            fed.images.push(None);
                        }
                    }
                }
                let (w, h, c) = (shape.width, shape.height, shape.channels);
                Value::floats(if shape.layout == Layout::Nchw { [size, c, h, w] } else { [size, h, w, c] }, values)?
            }
            Source::Audio(shape) => {
                let mut values = Vec::with_capacity(size * shape.length);
                for input in rows() {
                    let map = input.audio.as_ref().map(|w| canonical.audio(w).map(|map| (map.apply(&w.values), map))).transpose();
                    let (samples, map) = map.map_err(|e| e.at("modality", "audio"))?.unzip();
                    match samples {
                        Some(samples) => shape.forth(&samples, map.as_ref().map_or(0, AudioMap::valid), &mut values),
                        None => values.resize(values.len() + shape.length, 0.0),
                    }
                    fed.audios.push(map);
                }
                let dims = match shape.rank {
                    1 => vec![size * shape.length],
                    2 => vec![size, shape.length],
                    _ => vec![size, 1, shape.length],
                };
                Value::floats(dims, values)?
            }
            Source::Text(tokens) => {
                Value::ints(Kind::Int64, [size, tokens.length], rows().flat_map(|i| tokens.ids(i.text.as_deref()).0).collect())?
            }
            Source::AttentionMask(tokens) => {
                let ones = |n: usize| (0..tokens.length).map(move |i| i64::from(i < n));
                Value::ints(Kind::Int64, [size, tokens.length], rows().flat_map(|i| ones(tokens.ids(i.text.as_deref()).1)).collect())?
            }
            Source::TokenTypes(length) => Value::ints(Kind::Int64, [size, *length], vec![0; size * length])?,
            Source::Presence(modality, rank) => {
                let values = rows().map(|i| f32::from(u8::from(i.present().has(*modality)))).collect();
                Value::floats(if *rank == 1 { vec![size] } else { vec![size, 1] }, values)?
            }
        };
        fed.values.push(value.fitted(*kind)?);
    }
    Ok(fed)
}
