//! The network over blocks of samples: forward, back to the image, back to the weights.

use super::{
    convolve::{Back, Copy, Kernels, Masks, Planes, Pool, Relu, convolve, weight_slopes},
    dense::{Dense, through_relu},
    lanes::{Lanes, Plain, Task},
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// A convolution with ReLU and, if `pool`, the maximum of 2 x 2 places.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Convolution {
    /// Channels, rows, columns that go in.
    pub input: [usize; 3],
    /// Channels that come out.
    pub channels: usize,
    /// Side of the kernel: 1, 3, 5 or 7. Rows and columns stay as many, with zeros around.
    pub kernel: usize,
    pub pool: bool,
}

impl Convolution {
    /// Channels, rows, columns that come out.
    pub fn output(&self) -> [usize; 3] {
        let [_, rows, columns] = self.input;
        if self.pool { [self.channels, rows / 2, columns / 2] } else { [self.channels, rows, columns] }
    }
    fn inputs(&self) -> Planes {
        Planes::bordered(self.input, self.kernel / 2)
    }
    /// Of the sums, before ReLU.
    fn sums(&self) -> Planes {
        Planes::bordered([self.channels, self.input[1], self.input[2]], self.kernel / 2)
    }
}

/// The layers: convolutions, then matrices from the flattened planes to the logits with ReLU between them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub convolutions: Vec<Convolution>,
    /// Sizes: features, hidden layers, classes.
    pub widths: Vec<usize>,
}

/// Weights in the order that the loops read them.
#[derive(Debug)]
pub(super) struct Packed {
    convolutions: Vec<(Kernels, Kernels)>,
    dense: Vec<(Dense, Dense)>,
}

/// Weight and bias of a layer, row-major as in a file.
pub(super) type LayerWeights<'a> = (&'a [f32], &'a [f32]);

impl Packed {
    /// Of layers that have the sizes of the plan.
    pub fn new(plan: &Plan, convolutions: &[LayerWeights<'_>], dense: &[LayerWeights<'_>]) -> Self {
        let kernels = plan.convolutions.iter().zip(convolutions).map(|(layer, (weights, bias))| {
            let (inputs, outputs, kernel) = (layer.input[0], layer.channels, layer.kernel);
            (Kernels::forward(weights, bias, inputs, outputs, kernel), Kernels::backward(weights, inputs, outputs, kernel))
        });
        let matrices = plan.widths.windows(2).zip(dense).map(|(sizes, (weights, bias))| {
            (Dense::forward(weights, bias, sizes[0], sizes[1]), Dense::backward(weights, sizes[0], sizes[1]))
        });
        Self { convolutions: kernels.collect(), dense: matrices.collect() }
    }
}

/// Runs blocks of samples on the registers that this processor has.
pub(super) trait Engine: Send + Sync {
    /// Most samples of a block.
    fn lanes(&self) -> usize;
    /// The forward pass of at most [`Self::lanes`] images, each planar as the plan's first input; `None` is black.
    fn forward(&self, weights: &Packed, images: &[Option<&[f32]>]) -> Box<dyn Pass>;
}

/// A block after its forward pass.
pub(super) trait Pass: Send {
    /// Appends the values behind dense layer `layer` (0: the features; the last: the logits), a row a sample.
    fn values(&self, layer: usize, rows: &mut Vec<f32>);
    /// Takes the gradients of the logits, a row a sample, back to the sums of the first convolution and, if `image`, to the image.
    fn backward(&mut self, weights: &Packed, slopes: &[f32], image: bool);
    /// The gradient of each sample's image, planar.
    fn images(&self) -> Vec<Vec<f32>>;
    /// Appends the gradients of the values behind dense layer `layer`, a row a sample.
    fn slopes(&self, layer: usize, rows: &mut Vec<f32>);
    /// Adds the gradients of each convolution's weights and biases.
    fn convolution_slopes(&self, sums: &mut [(Vec<f32>, Vec<f32>)]);
}

/// The engine for this processor.
pub(super) fn engine(plan: &Plan) -> Arc<dyn Engine> {
    #[cfg(target_arch = "x86_64")]
    {
        use super::lanes::{Avx2, Avx512};
        if Avx512::available() {
            return Arc::new(Blocks::<Avx512>::new(plan));
        }
        if Avx2::available() {
            return Arc::new(Blocks::<Avx2>::new(plan));
        }
    }
    Arc::new(Blocks::<Plain>::new(plan))
}

/// The engine on one kind of register.
pub(super) struct Blocks<V> {
    plan: Arc<Plan>,
    /// Buffers of finished blocks, for the next ones.
    idle: Arc<Mutex<Vec<Buffers<V>>>>,
}

impl<V: Lanes> Blocks<V> {
    pub fn new(plan: &Plan) -> Self {
        Self { plan: Arc::new(plan.clone()), idle: Arc::default() }
    }
}

/// Everything that a block computes. Borders are zeros from the beginning and are never written.
struct Buffers<V> {
    inputs: Vec<Vec<V>>,
    masks: Vec<MaskRows>,
    values: Vec<Vec<V>>,
    /// Empty until the first backward pass, as all below.
    value_slopes: Vec<Vec<V>>,
    sum_slopes: Vec<Vec<V>>,
    image: Vec<V>,
    scratch: Vec<V>,
}

enum MaskRows {
    Pool(Vec<[u16; 4]>),
    Relu(Vec<u16>),
}

impl MaskRows {
    fn view(&self) -> Masks<'_> {
        match self {
            Self::Pool(masks) => Masks::Pool(masks),
            Self::Relu(masks) => Masks::Relu(masks),
        }
    }
}

fn zeros<V: Lanes>(len: usize) -> Vec<V> {
    vec![V::splat(0.0); len]
}

impl<V: Lanes> Buffers<V> {
    fn new(plan: &Plan) -> Self {
        let masks = |layer: &Convolution| {
            let len = layer.output().iter().product();
            if layer.pool { MaskRows::Pool(vec![[0; 4]; len]) } else { MaskRows::Relu(vec![0; len]) }
        };
        Self {
            inputs: plan.convolutions.iter().map(|layer| zeros(layer.inputs().len())).collect(),
            masks: plan.convolutions.iter().map(masks).collect(),
            values: plan.widths.iter().map(|width| zeros(*width)).collect(),
            value_slopes: Vec::new(),
            sum_slopes: Vec::new(),
            image: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn load(&mut self, plan: &Plan, images: &[Option<&[f32]>]) {
        let (Some(layer), Some(input)) = (plan.convolutions.first(), self.inputs.first_mut()) else { return };
        let planes = layer.inputs();
        let black = vec![0.0; planes.columns];
        for line in 0..planes.channels * planes.rows {
            let start = planes.at(line / planes.rows, line % planes.rows);
            let rows = images.iter().map(|image| image.and_then(|i| i.get(line * planes.columns..(line + 1) * planes.columns)));
            let rows: Vec<&[f32]> = rows.map(|row| row.unwrap_or(&black)).collect();
            spread(&rows, &mut input[start..start + planes.columns]);
        }
    }

    fn forward(&mut self, plan: &Plan, weights: &Packed) {
        for (i, (layer, (kernels, _))) in plan.convolutions.iter().zip(&weights.convolutions).enumerate() {
            let (before, after) = self.inputs.split_at_mut(i + 1);
            let (Some(input), Some(features)) = (before.last(), self.values.first_mut()) else { return };
            let (to, planes) = match (after.first_mut(), plan.convolutions.get(i + 1)) {
                (Some(to), Some(next)) => (to, next.inputs()),
                _ => (features, Planes::dense(layer.output())),
            };
            match &mut self.masks[i] {
                MaskRows::Pool(masks) => convolve(kernels, input, &layer.inputs(), &mut self.scratch, &mut Pool { to, planes, masks }),
                MaskRows::Relu(masks) => convolve(kernels, input, &layer.inputs(), &mut self.scratch, &mut Relu { to, planes, masks }),
            }
        }
        for (i, (dense, _)) in weights.dense.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(i + 1);
            if let (Some(input), Some(output)) = (before.last(), after.first_mut()) {
                dense.apply(input, output, i + 1 < weights.dense.len());
            }
        }
    }

    fn backward(&mut self, plan: &Plan, weights: &Packed, slopes: &[f32], image: bool) {
        if self.value_slopes.is_empty() {
            self.value_slopes = plan.widths.iter().map(|width| zeros(*width)).collect();
            self.sum_slopes = plan.convolutions.iter().map(|layer| zeros(layer.sums().len())).collect();
            self.image = zeros(plan.convolutions.first().map_or(0, |layer| layer.input.iter().product()));
        }
        if let (Some(classes), Some(to)) = (plan.widths.last(), self.value_slopes.last_mut()) {
            let rows: Vec<&[f32]> = slopes.chunks_exact(*classes).collect();
            spread(&rows, to);
        }
        for (i, (_, dense)) in weights.dense.iter().enumerate().rev() {
            let (before, after) = self.value_slopes.split_at_mut(i + 1);
            if let (Some(to), Some(from)) = (before.last_mut(), after.first()) {
                dense.apply(from, to, false);
                if i > 0 {
                    through_relu(&self.values[i], to);
                }
            }
        }
        let last = plan.convolutions.len().saturating_sub(1);
        if let (Some(layer), Some(features), Some(to)) = (plan.convolutions.last(), self.value_slopes.first(), self.sum_slopes.last_mut()) {
            let mut back = Back { to, planes: layer.sums(), masks: self.masks[last].view() };
            back.all(features, layer.output());
        }
        for (i, (layer, (_, kernels))) in plan.convolutions.iter().zip(&weights.convolutions).enumerate().rev() {
            let (before, after) = self.sum_slopes.split_at_mut(i);
            let Some(from) = after.first() else { return };
            match (before.last_mut(), i.checked_sub(1).and_then(|i| plan.convolutions.get(i).zip(self.masks.get(i)))) {
                (Some(to), Some((below, masks))) => {
                    let mut back = Back { to, planes: below.sums(), masks: masks.view() };
                    convolve(kernels, from, &layer.sums(), &mut self.scratch, &mut back);
                }
                _ if image => {
                    let mut copy = Copy { to: &mut self.image, planes: Planes::dense(layer.input) };
                    convolve(kernels, from, &layer.sums(), &mut self.scratch, &mut copy);
                }
                _ => {}
            }
        }
    }
}

/// Rows of samples to lanes; lanes without a sample are 0.
fn spread<V: Lanes>(rows: &[&[f32]], to: &mut [V]) {
    V::run(Spread { rows, to });
}

struct Spread<'a, V> {
    rows: &'a [&'a [f32]],
    to: &'a mut [V],
}

impl<V: Lanes> Task for Spread<'_, V> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn run(self) {
        for at in 0..self.to.len() {
            let mut lanes = [0.0; 16];
            for lane in 0..self.rows.len().min(16) {
                lanes[lane] = self.rows[lane][at];
            }
            self.to[at] = V::read(&lanes);
        }
    }
}

/// Lanes to rows: sample after sample, `count` of them.
fn gather<V: Lanes>(from: &[V], count: usize, rows: &mut Vec<f32>) {
    let start = rows.len();
    rows.resize(start + count * from.len(), 0.0);
    V::run(Gather { from, count, rows: &mut rows[start..] });
}

struct Gather<'a, V> {
    from: &'a [V],
    count: usize,
    rows: &'a mut [f32],
}

impl<V: Lanes> Task for Gather<'_, V> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn run(self) {
        let width = self.from.len();
        for at in 0..width {
            let mut lanes = [0.0; 16];
            self.from[at].write(&mut lanes);
            for sample in 0..self.count.min(16) {
                self.rows[sample * width + at] = lanes[sample];
            }
        }
    }
}

struct Block<V> {
    plan: Arc<Plan>,
    count: usize,
    /// Taken away only by `drop`.
    buffers: Option<Buffers<V>>,
    idle: Arc<Mutex<Vec<Buffers<V>>>>,
}

impl<V: Lanes> Engine for Blocks<V> {
    fn lanes(&self) -> usize {
        V::COUNT
    }
    fn forward(&self, weights: &Packed, images: &[Option<&[f32]>]) -> Box<dyn Pass> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffers = idle.unwrap_or_else(|| Buffers::new(&self.plan));
        buffers.load(&self.plan, images);
        buffers.forward(&self.plan, weights);
        Box::new(Block { plan: self.plan.clone(), count: images.len(), buffers: Some(buffers), idle: self.idle.clone() })
    }
}

impl<V: Lanes> Pass for Block<V> {
    fn values(&self, layer: usize, rows: &mut Vec<f32>) {
        if let Some(values) = self.buffers.as_ref().and_then(|b| b.values.get(layer)) {
            gather(values, self.count, rows);
        }
    }
    fn backward(&mut self, weights: &Packed, slopes: &[f32], image: bool) {
        if let Some(buffers) = &mut self.buffers {
            buffers.backward(&self.plan, weights, slopes, image);
        }
    }
    fn images(&self) -> Vec<Vec<f32>> {
        let Some(buffers) = &self.buffers else { return Vec::new() };
        let mut rows = Vec::new();
        gather(&buffers.image, self.count, &mut rows);
        rows.chunks_exact(buffers.image.len().max(1)).map(<[f32]>::to_vec).collect()
    }
    fn slopes(&self, layer: usize, rows: &mut Vec<f32>) {
        if let Some(slopes) = self.buffers.as_ref().and_then(|b| b.value_slopes.get(layer)) {
            gather(slopes, self.count, rows);
        }
    }
    fn convolution_slopes(&self, sums: &mut [(Vec<f32>, Vec<f32>)]) {
        let Some(buffers) = &self.buffers else { return };
        let layers = self.plan.convolutions.iter().zip(buffers.inputs.iter().zip(&buffers.sum_slopes));
        for ((layer, (input, slopes)), (weights, bias)) in layers.zip(sums) {
            weight_slopes(layer.kernel, (input, &layer.inputs()), (slopes, &layer.sums()), weights, bias);
        }
    }
}

impl<V> Drop for Block<V> {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        }
    }
}
