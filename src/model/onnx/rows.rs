//! Rows of a pass: noise to see whether they change each other.

use super::{engine::Value, feed::Source};
use crate::{
    error::{Error, Result},
    model::{Input, Pixels, Waveform},
    random::SeedTree,
};
use rand::RngExt;
use std::sync::Arc;

/// An error unless a value has one row of floats a sample.
pub(super) fn check(value: &Value, batch: usize, name: &str) -> Result<()> {
    if (value.shape.first() != Some(&batch) && batch != 1) || value.is_empty() || !value.kind.is_float() {
        let shape = &value.shape;
        return Err(Error::model(format!("expected one row of floats a sample ({batch}) in `{name}`, found the shape {shape:?}")));
    }
    Ok(())
}

/// A sample of noise for each input; the levels of neighbours differ.
pub(super) fn noise(sources: &[Source], at: usize) -> Input {
    let mut rng = SeedTree::new(0).child("rows").child(at.to_string()).rng();
    let level = [0.5f32, 1.0, 0.2][at % 3];
    let mut input = Input::default();
    for source in sources {
        match source {
            Source::Image(s) => {
                let values = (0..s.width * s.height * s.channels).map(|_| level * rng.random::<f32>()).collect();
                input.image = Some(Arc::new(Pixels { width: s.width, height: s.height, channels: s.channels, values }));
            }
            Source::Audio(s) => {
                let values = (0..s.length).map(|_| level * (2.0 * rng.random::<f32>() - 1.0)).collect();
                input.audio = Some(Arc::new(Waveform { sample_rate_hz: s.rate_hz, channels: 1, values }));
            }
            Source::Text(tokens) => {
                let known = tokens.known();
                let pick = |_| known.get(rng.random_range(0..known.len().max(1))).cloned().unwrap_or_default();
                input.text = Some((0..tokens.length - at % tokens.length.max(1)).map(pick).collect::<String>().into());
            }
            _ => {}
        }
    }
    input
}
