//! Inputs of a micro-batch on the host: each modality's present samples side by side, features first.

use super::shape::{Shape, characters};
use crate::{
    error::Result,
    model::{
        Input, check_shift,
        preprocess::{AudioMap, Canonical, ImageMap},
    },
    sample::{Modality, PerModality},
};
use std::sync::Arc;

/// The present samples of one modality.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// `[features, count]`; of text the perturbation of its embedding, no numbers where there is none.
    pub values: Vec<f32>,
    /// `[length, count]` character numbers, text only.
    pub characters: Vec<i64>,
    /// Samples, padding included.
    pub count: usize,
    /// For each sample of the micro-batch its column; `count` where the modality is missing.
    pub columns: Vec<i64>,
    /// Frames that are no padding, one number a sample, audio only.
    pub frames: Vec<usize>,
}

/// A micro-batch: `size` samples, padding included.
#[derive(Debug, Clone, Default)]
pub(super) struct MicroBatch {
    pub size: usize,
    /// `None` where no sample has the modality.
    pub blocks: PerModality<Option<Block>>,
    /// Maps back to native pixels, by sample.
    pub images: Vec<Option<Arc<ImageMap>>>,
    /// Maps back to native waveforms, by sample.
    pub audios: Vec<Option<AudioMap>>,
}

impl MicroBatch {
    /// Maps `inputs` to the canonical shapes. With `padded`, every block has that many samples, so that all shapes are the
    /// same whatever the inputs are.
    pub fn new(shape: &Shape, canonical: &Canonical, inputs: &[Input], padded: Option<usize>) -> Result<Self> {
        let size = padded.unwrap_or(inputs.len());
        let mut batch = Self { size, ..Self::default() };
        let mut lines: PerModality<Vec<Vec<f32>>> = PerModality::default();
        let mut texts: Vec<Vec<i64>> = Vec::new();
        let mut frames = Vec::new();
        let mut columns: PerModality<Vec<Option<usize>>> = PerModality::default();
        for input in inputs {
            let pixels = input.image.as_ref().filter(|_| shape.image.is_some());
            let map = pixels.map(|p| canonical.image(p).map(|map| (map.apply(&p.values), map))).transpose();
            let map = map.map_err(|e| e.at("modality", "image"))?;
            columns.image.push(map.is_some().then_some(lines.image.len()));
            let (values, map) = map.unzip();
            lines.image.extend(values);
            batch.images.push(map);

            let waveform = input.audio.as_ref();
            let map = waveform.zip(shape.audio.as_ref()).map(|(w, audio)| canonical.audio(w).map(|map| (audio, map.apply(&w.values), map)));
            let map = map.transpose().map_err(|e| e.at("modality", "audio"))?;
            columns.audio.push(map.is_some().then_some(lines.audio.len()));
            if let Some((audio, values, map)) = map {
                lines.audio.push(values);
                frames.push(audio.frames_of(map.valid()));
                batch.audios.push(Some(map));
            } else {
                batch.audios.push(None);
            }

            let text = shape.text.as_ref().zip(input.text.as_ref()).map(|(shape, text)| characters(text, shape.length));
            columns.text.push(text.is_some().then_some(texts.len()));
            if let Some((shape, shift)) = shape.text.as_ref().filter(|_| text.is_some()).zip(input.text_shift.as_ref()) {
                let (size, length) = (shape.characters, shape.length);
                check_shift(shift, size * length)?;
                lines.text.resize(texts.len(), Vec::new());
                // By position outside, by number of the embedding inside.
                lines.text.push((0..size * length).map(|row| shift[row % length * size + row / length]).collect());
            }
            texts.extend(text);
        }
        for modality in shape.modalities().iter() {
            let present = columns[modality].iter().flatten().count();
            if present == 0 {
                continue;
            }
            let count = padded.unwrap_or(present);
            let place = |c: Option<usize>| c.unwrap_or(count) as i64;
            let columns = (0..size).map(|i| place(columns[modality].get(i).copied().flatten())).collect();
            let mut block = Block { count, columns, ..Block::default() };
            if modality == Modality::Text {
                block.characters = side_by_side(&texts, count);
            }
            block.values = side_by_side(&lines[modality], count);
            if modality == Modality::Audio {
                block.frames = frames.clone();
                block.frames.resize(count, 1);
            }
            batch.blocks[modality] = Some(block);
        }
        Ok(batch)
    }
}

/// Lines of one length, or empty, as columns, filled up with zeros to `count` columns.
fn side_by_side<T: Copy + Default>(lines: &[Vec<T>], count: usize) -> Vec<T> {
    let length = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut values = vec![T::default(); length * count];
    for (column, line) in lines.iter().enumerate() {
        for (row, value) in line.iter().enumerate() {
            values[row * count + column] = *value;
        }
    }
    values
}

/// One column of a `[rows, columns]` matrix.
pub(super) fn column(values: &[f32], columns: usize, at: usize) -> Vec<f32> {
    values.iter().skip(at).step_by(columns).copied().collect()
}

/// `[rows, columns]` as rows of its first `keep` columns.
pub(super) fn transposed(values: &[f32], columns: usize, keep: usize) -> Vec<f32> {
    (0..keep).flat_map(|at| values.iter().skip(at).step_by(columns).copied()).collect()
}
