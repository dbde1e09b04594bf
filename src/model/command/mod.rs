//! A model that is another program: it is asked over its stdin and answers on its stdout, so that a model of any framework can be scored, mined
//! and attacked without an export.
//!
//! # The protocol, version 1
//!
//! Both sides send frames: eight bytes that hold the length of what follows (little-endian), then a file in the safetensors format. Its
//! metadata has one key, `hardmine`: a JSON text. Tensors are `F32`, little-endian, row-major. hardmine asks, and every question has one answer, which repeats
//! the `id` of the question. An answer `{ "id", "error": text }` refuses: the samples are unusable, and the program goes on. What it writes to stderr is shown
//! where it fails. At the end of stdin it ends.
//!
//! | question | words | tensors | answer |
//! |---|---|---|---|
//! | `hello` | `protocol`, `classes` (in the order of the logits), `image: { width, height, channels }`, `audio: { sample_rate_hz, length }`, `text`, `gradients`, `embeddings`, `embedding_gradients`, `fused`, `micro_batch` | | words `protocol`, `gradients` and `embedding_gradients` (that it can give; none if left out), `text_shape: [positions, numbers]` where text is among them |
//! | `forward` | `present: { image: [true, ...], ... }`, `text: ["...", null, ...]`, `gradients` (a `backward` follows), `give` (names of the tensors to answer) | `image` `[n, channels, rows, columns]` of `0..=1`, `audio` `[n, samples]` of `-1..=1`, `text.shift` `[n, positions, numbers]`, which is added to the embedded text | `logits` `[n, classes]`, `embedding.image`, `embedding.audio`, `embedding.text`, `fused`, each `[n, numbers]` |
//! | `backward` | `gradients`, `of` (`logits`, or `embedding.image`, `.audio`, `.text`, which are asked of programs that gave `embedding_gradients` alone) | `slope` `[n, classes]`, `[n, numbers]`: the slope of an objective along that tensor of the `forward` before | `gradient.image`, `gradient.audio`, `gradient.text`: the slope along that input, in its shape, of those that were asked |
//! | `embed` | `text: ["..."]` | | `values` `[1, positions, numbers]`, words `positions: [how many hold text]` |
//!
//! `n` is always `micro_batch`; the last batch is filled up with missing samples. A missing modality is zeros, or `null`. The objective is
//! hardmine's own: a program gives the product of a slope with its Jacobian, and every loss and attack follows.

mod config;
mod frame;
mod model;
mod process;

pub use config::{Command, CommandAudio, CommandImage, CommandInputs, CommandText};
pub use model::CommandModel;

#[cfg(test)]
mod tests;
