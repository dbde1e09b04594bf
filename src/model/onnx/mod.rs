//! A model from an ONNX file, as any framework exports it: scored, mined and attacked white-box, with its input gradients.
//!
//! `engine/` runs the graph; `config` is what a pipeline file says of it; `feed` brings media into its tensors and gradients back; `model` answers
//! as a [`Model`](super::Model); `head` trains a small fused head on the embeddings of frozen encoders.

mod config;
pub mod engine;
mod feed;
mod head;
mod model;
mod notes;
mod part;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod pass_tests;
mod rows;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tokens;
#[cfg(test)]
mod write;

pub use config::{
    Align, AudioInput, ChannelOrder, Cut, Embeddings, Head, ImageInput, Layout, Masks, Missing, Onnx, OnnxInputs, OnnxOutputs, TextInput,
};
pub use model::OnnxModel;
pub(super) use model::from_file;
