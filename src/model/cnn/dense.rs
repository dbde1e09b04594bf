//! Fully connected layers over lanes. The loops use ranges and slices alone, as those of the convolutions do.

#![allow(clippy::needless_range_loop)]

use super::lanes::{Lanes, Task};
use rayon::prelude::*;

/// Outputs that are computed together.
const TOGETHER: usize = 8;

/// A matrix in groups of eight outputs: `[group, input, 8]`; missing outputs of the last group are 0.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    inputs: usize,
    weights: Vec<[f32; TOGETHER]>,
    bias: Vec<f32>,
}

impl Dense {
    /// From `[outputs, inputs]`.
    pub fn forward(weights: &[f32], bias: &[f32], inputs: usize, outputs: usize) -> Self {
        Self { weights: packed(outputs, inputs, |o, i| weights[o * inputs + i]), bias: bias.to_vec(), inputs }
    }
    /// The transpose of the same matrix: from gradients of the outputs to gradients of the inputs.
    pub fn backward(weights: &[f32], inputs: usize, outputs: usize) -> Self {
        let weights = packed(inputs, outputs, |o, i| weights[i * inputs + o]);
        Self { weights, bias: vec![0.0; inputs], inputs: outputs }
    }
    /// `W x + b`, cut at 0 if `relu`.
    pub fn apply<V: Lanes>(&self, input: &[V], output: &mut [V], relu: bool) {
        V::run(Apply { dense: self, input, output, relu });
    }
}

fn packed(outputs: usize, inputs: usize, of: impl Fn(usize, usize) -> f32 + Sync) -> Vec<[f32; TOGETHER]> {
    let mut all = vec![[0.0; TOGETHER]; outputs.div_ceil(TOGETHER) * inputs];
    all.par_chunks_mut(inputs.max(1)).enumerate().for_each(|(group, rows)| {
        let first = group * TOGETHER;
        let outputs = TOGETHER.min(outputs - first);
        for (i, row) in rows.iter_mut().enumerate() {
            row[..outputs].iter_mut().enumerate().for_each(|(o, weight)| *weight = of(first + o, i));
        }
    });
    all
}

struct Apply<'a, V> {
    dense: &'a Dense,
    input: &'a [V],
    output: &'a mut [V],
    relu: bool,
}

impl<V: Lanes> Task for Apply<'_, V> {
    #[inline(always)]
    fn run(self) {
        let (dense, inputs) = (self.dense, self.dense.inputs.min(self.input.len()));
        let input = &self.input[..inputs];
        let outputs = self.output.len().min(dense.bias.len());
        for group in 0..outputs.div_ceil(TOGETHER) {
            let first = group * TOGETHER;
            let count = TOGETHER.min(outputs - first);
            let mut sums = [V::splat(0.0); TOGETHER];
            for o in 0..count {
                sums[o] = V::splat(dense.bias[first + o]);
            }
            let weights = &dense.weights[group * dense.inputs..][..inputs];
            for i in 0..inputs {
                let (weights, x) = (&weights[i], input[i]);
                for o in 0..TOGETHER {
                    sums[o] = sums[o].plus_product(V::splat(weights[o]), x);
                }
            }
            for o in 0..count {
                self.output[first + o] = if self.relu { V::splat(0.0).max(sums[o]) } else { sums[o] };
            }
        }
    }
}

/// Sets gradients to 0 where ReLU cut the values.
pub(super) fn through_relu<V: Lanes>(values: &[V], slopes: &mut [V]) {
    V::run(ThroughRelu { values, slopes });
}

struct ThroughRelu<'a, V> {
    values: &'a [V],
    slopes: &'a mut [V],
}

impl<V: Lanes> Task for ThroughRelu<'_, V> {
    #[inline(always)]
    fn run(self) {
        for at in 0..self.slopes.len().min(self.values.len()) {
            self.slopes[at] = self.slopes[at].keep(self.values[at].above(V::splat(0.0)));
        }
    }
}
