#![allow(clippy::unwrap_used)]

use super::{
    convolve::{Planes, weight_slopes},
    lanes::{Lanes, Plain},
    net::{Blocks, Engine, Packed, Plan, engine},
    *,
};
use crate::{
    model::{Apart, Balance, Input, Lesson, Model, Objective, Pair, Pixels, Target, Trainable, TrainingBatch, load, measure},
    sample::Classes,
};
use proptest::prelude::*;
use rand::RngExt;
use std::sync::Arc;

fn profile() -> DataProfile {
    DataProfile {
        classes: Classes::from_names(["a", "b", "c"].map(String::from)),
        modalities: ModalitySet::one(Modality::Image),
        image: Some((11, 9, 1)),
        ..DataProfile::default()
    }
}

fn small() -> Cnn {
    Cnn { channels: vec![3, 6], convolutions: 2, kernel: 3, hidden: vec![7, 5], ..Cnn::default() }
}

fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = SeedTree::new(seed).rng();
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Pictures of several sizes; every seventh is missing.
fn inputs(n: usize) -> Vec<Input> {
    let one = |i: usize| {
        let (width, height, channels) = [(11, 9, 1), (13, 12, 3), (6, 9, 4)][i % 3];
        let values = noise(i as u64, width * height * channels).into_iter().map(|v| 0.5 + 0.5 * v).collect();
        let image = (i % 7 != 6).then(|| Arc::new(Pixels { width, height, channels, values }));
        Input { image, ..Input::default() }
    };
    (0..n).map(one).collect()
}

fn targets(n: usize) -> Vec<Target> {
    (0..n).map(|i| if i % 4 == 3 { Target::Soft([0.2, 0.5, 0.3].into()) } else { Target::Class(i % 3) }).collect()
}

fn trained(config: &Cnn, steps: usize, n: usize) -> CnnTrainer {
    let mut trainer = config.trainer(&profile(), &SeedTree::new(5)).unwrap();
    let (inputs, targets, weights) = (inputs(n), targets(n), vec![1.0; n]);
    for _ in 0..steps {
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.003 }).unwrap();
    }
    trainer
}

fn within<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn relative(found: &[f32], right: &[f32]) -> f64 {
    assert_eq!(found.len(), right.len());
    let square = |v: f64| v * v;
    let error: f64 = found.iter().zip(right).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (error / right.iter().map(|v| square(f64::from(*v))).sum::<f64>().max(1e-30)).sqrt()
}

/// A convolution, ReLU and pooling written down as they are defined, in `[channel][row][column]`.
fn plainly(layer: &net::Convolution, weights: &[f32], bias: &[f32], input: &[f64]) -> Vec<f64> {
    let ([channels, rows, columns], k) = (layer.input, layer.kernel);
    let border = k / 2;
    let sum = |o: usize, y: usize, x: usize| {
        let mut sum = f64::from(bias[o]);
        for i in 0..channels {
            for ky in 0..k {
                for kx in 0..k {
                    let (Some(row), Some(column)) = ((y + ky).checked_sub(border), (x + kx).checked_sub(border)) else { continue };
                    if row < rows && column < columns {
                        let weight = f64::from(weights[((o * channels + i) * k + ky) * k + kx]);
                        sum += weight * input[(i * rows + row) * columns + column];
                    }
                }
            }
        }
        sum.max(0.0)
    };
    let [outputs, high, wide] = layer.output();
    let side = if layer.pool { 2 } else { 1 };
    let mut out = Vec::new();
    for o in 0..outputs {
        for y in 0..high {
            for x in 0..wide {
                let window = (0..side * side).map(|at| sum(o, y * side + at / side, x * side + at % side));
                out.push(window.fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
    out
}

fn weights_of(plan: &Plan, seed: u64) -> Vec<(Vec<f32>, Vec<f32>)> {
    let convolutions = plan.convolutions.iter().map(|c| (c.channels * c.input[0] * c.kernel * c.kernel, c.channels));
    let dense = plan.widths.windows(2).map(|sizes| (sizes[0] * sizes[1], sizes[1]));
    convolutions.chain(dense).enumerate().map(|(i, (w, b))| (noise(seed + i as u64, w), noise(seed + 100 + i as u64, b))).collect()
}

fn packed(plan: &Plan, weights: &[(Vec<f32>, Vec<f32>)]) -> Packed {
    let layers: Vec<(&[f32], &[f32])> = weights.iter().map(|(w, b)| (w.as_slice(), b.as_slice())).collect();
    let (convolutions, dense) = layers.split_at(plan.convolutions.len());
    Packed::new(plan, convolutions, dense)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// All registers give what the definition gives, for sizes that fill no tile.
    #[test]
    fn features_are_those_of_the_definition(
        rows in 1usize..9, columns in 1usize..15, channels in 1usize..4, first in 1usize..7, second in 1usize..6, half in 0usize..4, count in 1usize..9, seed: u64,
    ) {
        let seed = seed >> 1;
        let one = net::Convolution { input: [channels, rows, columns], channels: first, kernel: 2 * half + 1, pool: false };
        let two = net::Convolution { input: one.output(), channels: second, kernel: 3, pool: rows > 1 && columns > 1 };
        let plan = Plan { widths: vec![two.output().iter().product(), 2], convolutions: vec![one, two] };
        let weights = weights_of(&plan, seed);
        let packed = packed(&plan, &weights);
        let size = channels * rows * columns;
        let pixels = noise(seed + 7, size * count);
        let images: Vec<Option<&[f32]>> = pixels.chunks_exact(size).map(Some).collect();
        let right: Vec<f32> = images.iter().flatten().flat_map(|image| {
            let image: Vec<f64> = image.iter().map(|v| f64::from(*v)).collect();
            let inner = plainly(&one, &weights[0].0, &weights[0].1, &image);
            plainly(&two, &weights[1].0, &weights[1].1, &inner).into_iter().map(|v| v as f32)
        }).collect();
        for engine in [engine(&plan), Arc::new(Blocks::<Plain>::new(&plan))] {
            let mut found = Vec::new();
            for images in images.chunks(engine.lanes()) {
                engine.forward(&packed, images).values(0, &mut found);
            }
            prop_assert!(relative(&found, &right) < 1e-5, "{:?} {:?}", found, right);
        }
    }
}

/// The gradients of a convolution's weights and biases on registers `V`, and by their definition in doubles.
fn slopes_of<V: Lanes>([inputs, outputs, rows, columns, kernel]: [usize; 5], seed: u64) -> [Vec<f32>; 2] {
    let (from, to) = (Planes::bordered([inputs, rows, columns], kernel / 2), Planes::bordered([outputs, rows, columns], kernel / 2));
    let fill = |planes: &Planes, seed: u64| -> (Vec<V>, Vec<f32>) {
        let (mut vectors, drawn) = (vec![V::splat(0.0); planes.len()], noise(seed, planes.channels * rows * columns * V::COUNT));
        for (place, own) in drawn.chunks_exact(V::COUNT).enumerate() {
            let mut lanes = [0.0; 16];
            lanes[..V::COUNT].copy_from_slice(own);
            let (line, column) = (place / columns, place % columns);
            vectors[planes.at(line / rows, line % rows) + column] = V::read(&lanes);
        }
        (vectors, drawn)
    };
    let ((input, cells), (slopes, sums)) = (fill(&from, seed), fill(&to, seed + 1));
    let (mut weights, mut bias) = (vec![0.0; outputs * inputs * kernel * kernel], vec![0.0; outputs]);
    weight_slopes(kernel, (&input, &from), (&slopes, &to), &mut weights, &mut bias);
    let half = kernel / 2;
    // A number of a place outside is 0.
    let of = |drawn: &[f32], channel: usize, row: usize, column: usize, lane: usize| {
        let inside = row >= half && column >= half && row - half < rows && column - half < columns;
        if inside { f64::from(drawn[((channel * rows + row - half) * columns + column - half) * V::COUNT + lane]) } else { 0.0 }
    };
    let over = |value: &dyn Fn(usize, usize, usize) -> f64| -> f32 {
        let places = (0..rows).flat_map(|row| (0..columns).flat_map(move |column| (0..V::COUNT).map(move |lane| (row, column, lane))));
        places.map(|(row, column, lane)| value(row, column, lane)).sum::<f64>() as f32
    };
    let mut right = Vec::new();
    for o in 0..outputs {
        let slope = |row: usize, column: usize, lane: usize| of(&sums, o, row + half, column + half, lane);
        for i in 0..inputs {
            for (y, x) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                right.push(over(&|row, column, lane| slope(row, column, lane) * of(&cells, i, row + y, column + x, lane)));
            }
        }
    }
    right.extend((0..outputs).map(|o| over(&|row, column, lane| of(&sums, o, row + half, column + half, lane))));
    weights.extend(bias);
    [weights, right]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// All registers give the gradients of the definition, for every kernel and for channels that fill no group.
    #[test]
    fn slopes_of_weights_are_those_of_the_definition(
        rows in 1usize..7, columns in 1usize..9, inputs in 1usize..4, outputs in 1usize..10, half in 0usize..4, seed: u32,
    ) {
        let sizes = [inputs, outputs, rows, columns, 2 * half + 1];
        let mut found = vec![slopes_of::<Plain>(sizes, seed.into())];
        #[cfg(target_arch = "x86_64")]
        {
            use super::lanes::{Avx2, Avx512};
            if Avx2::available() {
                found.push(slopes_of::<Avx2>(sizes, seed.into()));
            }
            if Avx512::available() {
                found.push(slopes_of::<Avx512>(sizes, seed.into()));
            }
        }
        for [own, right] in found {
            prop_assert!(relative(&own, &right) < 1e-5, "{sizes:?} {own:?} {right:?}");
        }
    }
}

/// The kinds of registers agree on every gradient.
#[test]
fn registers_agree() {
    let shape = small().shape(&profile()).unwrap();
    let plan = shape.plan();
    let packed = shape.pack(&shape.start(&SeedTree::new(3)).unwrap()).unwrap();
    let pixels = noise(1, 99 * 8);
    let images: Vec<Option<&[f32]>> = pixels.chunks_exact(99).map(Some).collect();
    let of = |engine: &dyn Engine| {
        let mut pass = engine.forward(&packed, &images);
        pass.backward(&packed, &noise(2, 8 * 3), true);
        let mut slopes: Vec<(Vec<f32>, Vec<f32>)> =
            weights_of(&plan, 0).iter().map(|(w, b)| (vec![0.0; w.len()], vec![0.0; b.len()])).collect();
        pass.convolution_slopes(&mut slopes[..plan.convolutions.len()]);
        (pass.images().concat(), slopes.iter().flat_map(|(w, b)| w.iter().chain(b).copied()).collect::<Vec<f32>>())
    };
    let plain = of(&Blocks::<Plain>::new(&plan));
    let check = |found: (Vec<f32>, Vec<f32>)| {
        assert!(relative(&found.0, &plain.0) < 1e-5 && relative(&found.1, &plain.1) < 1e-5);
    };
    #[cfg(target_arch = "x86_64")]
    {
        use super::lanes::{Avx2, Avx512};
        if Avx2::available() {
            check(of(&Blocks::<Avx2>::new(&plan)));
        }
        if Avx512::available() {
            check(of(&Blocks::<Avx512>::new(&plan)));
        }
    }
    check(of(&*engine(&plan)));
}

#[test]
fn neither_neighbours_nor_threads_change_a_bit() {
    let model = trained(&small(), 1, 20).freeze().unwrap();
    let (inputs, targets) = (inputs(70), targets(70));
    let all = within(2, || model.forward(&inputs)).unwrap();
    assert_eq!(all.logits, within(1, || model.forward(&inputs)).unwrap().logits);
    let image = ModalitySet::one(Modality::Image);
    let gradients = model.gradient(&inputs, &targets, Objective::CrossEntropy, image).unwrap();
    assert_eq!(gradients.logits, all.logits);
    for i in [0, 6, 17, 69] {
        let alone = model.forward(&inputs[i..=i]).unwrap();
        assert_eq!((alone.logits.row(0), alone.fused.unwrap().row(0)), (all.logits.row(i), all.fused.as_ref().unwrap().row(i)));
        let alone = model.gradient(&inputs[i..=i], &targets[i..=i], Objective::CrossEntropy, image).unwrap();
        assert_eq!(alone.image[0], gradients.image[i]);
        assert_eq!(alone.image[0].is_none(), inputs[i].image.is_none());
    }
    let train = |threads| within(threads, || trained(&small(), 3, 50).parameters().clone());
    assert_eq!(train(1), train(2));
    let empty = model.gradient(&[], &[], Objective::CrossEntropy, image).unwrap();
    assert!(empty.objective.is_empty() && model.forward(&[]).unwrap().logits.values.is_empty());
}

/// ReLU and the maximum have corners, and a difference across one says nothing: most differences agree with the slopes, not all.
fn differences(pairs: &[(f32, f32)]) {
    let largest = pairs.iter().fold(0f32, |most, (_, slope)| most.max(slope.abs()));
    let mut errors: Vec<f32> = pairs.iter().map(|(difference, slope)| (difference - slope).abs() / (largest + 1e-2)).collect();
    errors.sort_by(f32::total_cmp);
    assert!(errors[errors.len() / 2] < 5e-3 && errors[errors.len() * 3 / 4] < 3e-2, "largest slope {largest}, errors {errors:?}");
}

#[test]
fn the_gradient_of_the_image_is_that_of_finite_differences() {
    let model = trained(&small(), 30, 21).freeze().unwrap();
    let inputs = inputs(6);
    let targets = targets(6);
    let image = ModalitySet::one(Modality::Image);
    for objective in [Objective::CrossEntropy, Objective::CarliniWagner] {
        let gradients = model.gradient(&inputs, &targets, objective, image).unwrap();
        for (i, input) in inputs.iter().enumerate() {
            let Some(pixels) = &input.image else { continue };
            let slope = gradients.image[i].as_ref().unwrap();
            assert_eq!(slope.len(), pixels.values.len());
            let pair = |at: usize| {
                let value = |by: f32| {
                    let mut moved = Pixels::clone(pixels);
                    moved.values[at] += by;
                    let moved = Input { image: Some(Arc::new(moved)), ..Input::default() };
                    measure::objective(model.forward(&[moved]).unwrap().logits.row(0), &targets[i], objective)
                };
                ((value(1e-3) - value(-1e-3)) / 2e-3, slope[at])
            };
            differences(&(0..slope.len()).step_by(7).map(pair).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_gradient_of_the_weights_is_that_of_finite_differences() {
    let mut trainer = trained(&small(), 10, 21);
    let (inputs, targets) = (inputs(19), targets(19));
    let weights: Vec<f32> = (0..19).map(|i| 0.02 * (i % 4) as f32).collect();
    // With positive weights ReLU cuts nothing: its corners are the business of the images' gradient.
    let negative: Vec<(String, usize, f32)> = trainer
        .parameters()
        .iter()
        .filter(|(_, p)| p.shape.len() == 4)
        .flat_map(|(path, p)| p.values.iter().enumerate().filter(|(_, v)| **v < 0.0).map(|(at, v)| (path.to_owned(), at, *v)))
        .collect();
    negative.iter().for_each(|(path, at, v)| trainer.nudge(path, *at, -2.0 * v));
    let slopes = trainer.weight_slopes(&inputs, &targets, &weights).unwrap();
    let loss = |trainer: &CnnTrainer| -> f32 {
        let logits = trainer.freeze().unwrap().forward(&inputs).unwrap().logits;
        (0..19).map(|i| weights[i] * measure::cross_entropy(logits.row(i), &targets[i])).sum()
    };
    for kind in ["weight", "bias"] {
        let mut pairs = Vec::new();
        for (path, slope) in slopes.iter().filter(|(path, _)| path.ends_with(kind)) {
            for at in (0..slope.values.len()).step_by((slope.values.len() / 9).max(1)) {
                trainer.nudge(path, at, 1e-3);
                let up = loss(&trainer);
                trainer.nudge(path, at, -2e-3);
                let down = loss(&trainer);
                trainer.nudge(path, at, 1e-3);
                pairs.push(((up - down) / 2e-3, slope.values[at]));
            }
        }
        differences(&pairs);
    }
}

/// With a pair and a loss of its own, the weights and the images move along the slopes of the same loss.
#[test]
fn a_lesson_reaches_weights_and_images() {
    let trainer = trained(&small(), 10, 21);
    let (inputs, targets, weights) = (inputs(18), targets(18), vec![1.0; 18]);
    let pairs = [Pair { weight: 2.0, apart: Apart::Kl, stop_gradient: false, confidence: 0.0 }; 9];
    let shape = |l: f64| (-l - l * l, -1.0 - 2.0 * l);
    let lesson = Lesson { shape: Some(&shape), pairs: &pairs, wrt: ModalitySet::one(Modality::Image), ..Lesson::default() };
    let loss = |inputs: &[Input]| {
        let logits = trainer.view().unwrap().forward(inputs).unwrap().logits;
        lesson.slopes(0, 18, &logits.values, 3, &targets, &[1.0 / 18.0; 18]).0
    };
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.002 };
    let mut after = trainer.clone();
    let learnt = after.learn(&batch, &lesson).unwrap();
    let logits = after.view().unwrap().forward(&inputs).unwrap().logits;
    assert!(lesson.slopes(0, 18, &logits.values, 3, &targets, &[1.0 / 18.0; 18]).0 < loss(&inputs));
    let slopes = learnt.gradients.unwrap().image;
    let mut pairs = Vec::new();
    for (i, slope) in slopes.iter().enumerate().filter(|(i, _)| i % 2 == 1) {
        let (Some(slope), Some(pixels)) = (slope, &inputs[i].image) else { continue };
        for at in (0..slope.len()).step_by(23) {
            let value = |by: f32| {
                let mut moved = (inputs.clone(), Pixels::clone(pixels));
                moved.1.values[at] += by;
                moved.0[i].image = Some(Arc::new(moved.1));
                loss(&moved.0)
            };
            pairs.push((((value(2e-3) - value(-2e-3)) / 4e-3) as f32, slope[at]));
        }
    }
    differences(&pairs);
    let balance = Balance { alpha: 1.0, noise: None };
    assert!(after.learn(&batch, &Lesson { balance: Some(&balance), ..Lesson::default() }).is_err());
}

#[test]
fn it_learns_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let mut trainer = trained(&small(), 60, 24);
    let (inputs, targets, weights) = (inputs(24), targets(24), vec![1.0; 24]);
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.003 };
    trainer.save_checkpoint(&file).unwrap();
    let mut other = small().trainer(&profile(), &SeedTree::new(9)).unwrap();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let before = mean(&other.clone().step(&batch).unwrap().losses);
    other.load_checkpoint(&file).unwrap();
    let (one, two) = (trainer.step(&batch).unwrap(), other.step(&batch).unwrap());
    assert!(mean(&one.losses) < 0.7 * before, "{} {before}", mean(&one.losses));
    assert_eq!((one.losses, trainer.parameters()), (two.losses, other.parameters()));
    let fresh = Cnn { hidden: vec![7], ..small() }.trainer(&profile(), &SeedTree::new(9)).unwrap();
    assert!(fresh.clone().load_checkpoint(&file).is_err());
    assert_ne!(trainer.fresh(&SeedTree::new(1)).unwrap().spec(), trainer.fresh(&SeedTree::new(2)).unwrap().spec());
    let nothing = TrainingBatch { weights: &[f32::NAN; 24], ..batch };
    assert!(trainer.step(&nothing).is_err());
}

#[test]
fn files_read_back_and_state_dicts_are_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let trainer = trained(&small(), 2, 16);
    let model = trainer.freeze().unwrap();
    model.save(&path).unwrap();
    let found = load::open(&path).unwrap();
    assert_eq!(found.spec(), model.spec());
    assert_eq!(found.spec().digest, trainer.spec().digest);
    assert_eq!(found.forward(&inputs(5)).unwrap().logits, model.forward(&inputs(5)).unwrap().logits);
    let from = |config: Cnn| Cnn { weights: Some("m.safetensors".into()), ..config }.open_at(folder.path(), &profile(), &SeedTree::new(0));
    let Opened::Trainable(again) = from(small()).unwrap() else { panic!("it is trainable") };
    assert_eq!(again.spec(), trainer.spec());
    let told = from(Cnn { hidden: vec![7], ..small() }).err().unwrap().to_string();
    assert!(told.contains("unknown weight `16.bias`") || told.contains("should have the shape"), "{told}");
}

/// The names and layers of the two networks that the peers attack.
#[test]
fn layers_are_numbered_as_in_a_sequence() {
    let of = |config: Cnn, image| {
        let profile = DataProfile { image: Some(image), ..profile() };
        let trainer = config.trainer(&profile, &SeedTree::new(0)).unwrap();
        trainer.parameters().iter().map(|(path, p)| format!("{path} {:?}", p.shape)).collect::<Vec<_>>()
    };
    let found = of(Cnn::default(), (28, 28, 1));
    let right = ["0.bias [32]", "0.weight [32, 1, 3, 3]", "3.bias [64]", "3.weight [64, 32, 3, 3]", "7.bias [128]"];
    assert_eq!(found[..5], right);
    assert_eq!(found[5..], ["7.weight [128, 3136]", "9.bias [3]", "9.weight [3, 128]"]);
    let found = of(Cnn { channels: vec![16, 32, 64, 128], hidden: vec![], ..Cnn::default() }, (64, 64, 3));
    assert_eq!(found.len(), 10);
    assert!(found.contains(&"13.weight [3, 2048]".to_owned()) && found.contains(&"9.weight [128, 64, 3, 3]".to_owned()), "{found:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let config = Cnn {
        channels: vec![],
        convolutions: 5,
        kernel: 4,
        hidden: vec![0],
        size: Some([3, 300]),
        weight_decay: -1.0,
        weights: Some("".into()),
    };
    let problems: Vec<String> = config.problems().iter().map(|p| p.path.clone()).collect();
    assert_eq!(problems, ["channels", "convolutions", "hidden[0]", "size[0]", "size[1]", "kernel", "weight_decay", "weights"]);
    assert!(config.trainer(&profile(), &SeedTree::new(0)).is_err());
    let deaf = DataProfile { modalities: ModalitySet::one(Modality::Audio), ..profile() };
    assert!(small().trainer(&deaf, &SeedTree::new(0)).is_err());
    let right = small().shape(&profile()).unwrap();
    assert!(right.check().is_ok());
    let mut wrong = right.clone();
    wrong.convolutions[1].input[0] += 1;
    assert!(wrong.check().is_err());
    let mut wrong = right.clone();
    wrong.convolutions[0].kernel = 2;
    assert!(wrong.check().is_err());
    assert!(Shape { convolutions: vec![], ..right.clone() }.check().is_err());
    assert!(Shape { size: (0, 9, 1), ..right }.check().is_err());
}

/// The reference network with PyTorch's weights, its inputs and what PyTorch and torchattacks computed.
pub(in crate::model) struct PyTorch {
    pub model: Arc<dyn Model>,
    pub inputs: Vec<Input>,
    pub targets: Vec<Target>,
    bytes: Vec<u8>,
}

impl PyTorch {
    /// `None`, and a line that says so, where the files are not there.
    pub fn read() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
        let (weights, reference) = (folder.join("cnn28.safetensors"), folder.join("cnn28_reference.safetensors"));
        if !reference.exists() {
            eprintln!("skipped: ../shared/reference is not there");
            return None;
        }
        let classes = Classes::from_names((0..10).map(|digit| digit.to_string()));
        let profile = DataProfile { classes, image: Some((28, 28, 1)), ..profile() };
        let config = Cnn { weights: Some(weights), ..Cnn::default() };
        let model = config.trainer(&profile, &SeedTree::new(0)).unwrap().freeze().unwrap();
        let mut read = Self { model, inputs: Vec::new(), targets: Vec::new(), bytes: std::fs::read(reference).unwrap() };
        read.targets = read.tensor("y").chunks_exact(8).map(|b| Target::Class(usize::from(b[0]))).collect();
        let picture = |values: &[f32]| Pixels { width: 28, height: 28, channels: 1, values: values.to_vec() };
        read.inputs = read.floats("x").chunks_exact(784).map(|v| Input { image: Some(Arc::new(picture(v))), ..Input::default() }).collect();
        Some(read)
    }
    fn tensor(&self, name: &str) -> Vec<u8> {
        safetensors::SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).unwrap().data().to_vec()
    }
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.tensor(name).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

/// PyTorch's logits and gradients of the mean loss with respect to the images; its losses after PGD-10 are held against ours in `model::ascent`.
#[test]
fn pytorch_gives_the_same() {
    let Some(reference) = PyTorch::read() else { return };
    let PyTorch { model, inputs, targets, .. } = &reference;
    let found = model.gradient(inputs, targets, Objective::CrossEntropy, ModalitySet::one(Modality::Image)).unwrap();
    let logits = relative(&found.logits.values, &reference.floats("logits"));
    let share = 1.0 / inputs.len() as f32;
    let gradient: Vec<f32> = found.image.into_iter().flatten().flatten().map(|g| g * share).collect();
    let gradient = relative(&gradient, &reference.floats("grad"));
    assert!(logits < 1e-4 && gradient < 1e-4, "logits {logits:e}, gradient {gradient:e}");
}
