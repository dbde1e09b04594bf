use super::*;
use crate::model::{Apart, Objective, Pair, measure};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};

#[derive(Module, Debug)]
pub(crate) struct Small {
    image: Linear,
    audio: Linear,
    head: Linear,
}

impl Network for Small {
    fn forward(&self, batch: TensorBatch) -> TensorOutput {
        let image: Tensor<2> = batch.image.unwrap().flatten(1, 3);
        let image = (self.image.forward(image) * batch.present.image).tanh();
        let audio = (self.audio.forward(batch.audio.unwrap()) * batch.present.audio).tanh();
        let logits = self.head.forward(Tensor::cat(vec![image.clone(), audio], 1));
        TensorOutput { logits, embeddings: PerModality { image: Some(image), audio: None, text: None } }
    }
}

pub(crate) fn trainer() -> BurnTrainer<Small> {
    let device = Device::default();
    let linear = |from, to| LinearConfig::new(from, to).init(&device);
    let format = Format {
        name: "small".into(),
        classes: Classes::from_names(["a", "b", "c"].map(String::from)),
        image: Some((4, 4, 1)),
        audio: Some((1000, 20)),
        text: None,
    };
    BurnTrainer::new(Small { image: linear(16, 5), audio: linear(20, 5), head: linear(10, 3) }, format, 0.01, &SeedTree::new(3)).unwrap()
}

pub(crate) fn input(i: usize) -> Input {
    let value = |p: usize| ((p * (i % 3 + 2)) % 7) as f32 / 7.0 + i as f32 / 400.0;
    let image = Pixels { width: 5, height: 4, channels: 3, values: (0..60).map(value).collect() };
    let audio = Waveform { sample_rate_hz: 2000, channels: 1, values: (0..50).map(value).collect() };
    let input = Input { image: Some(Arc::new(image)), audio: Some(Arc::new(audio)), ..Input::default() };
    if i % 5 == 4 { input.only(ModalitySet::one(Modality::Audio)) } else { input }
}

fn step(trainer: &mut dyn Trainable) -> StepReport {
    let inputs: Vec<Input> = (0..40).map(input).collect();
    let targets: Vec<Target> = (0..40).map(|i| Target::Class(i % 3)).collect();
    trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 40], learning_rate: 0.02 }).unwrap()
}

#[test]
fn a_module_trains_and_its_gradients_are_right() {
    let mut trainer = trainer();
    let first: f32 = step(&mut trainer).losses.iter().sum();
    for _ in 0..60 {
        step(&mut trainer);
    }
    let last: f32 = step(&mut trainer).losses.iter().sum();
    assert!(last < 0.5 * first, "{first} {last}");
    let model = trainer.freeze().unwrap();
    assert_eq!(model.spec().embeddings, ModalitySet::one(Modality::Image));
    let target = Target::Class(2);
    let own = model.gradient(&[input(0)], std::slice::from_ref(&target), Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    let (image, audio) = (own.image[0].as_ref().unwrap(), own.audio[0].as_ref().unwrap());
    let value = |input: Input| measure::cross_entropy(model.forward(&[input]).unwrap().logits.row(0), &target);
    for at in [0, 17, 44, 59] {
        let moved = |by: f32| {
            let mut changed = input(0);
            Arc::make_mut(changed.image.as_mut().unwrap()).values[at] += by;
            value(changed)
        };
        assert!(((moved(0.01) - moved(-0.01)) / 0.02 - image[at]).abs() < 2e-3, "pixel {at}");
    }
    for at in [10, 25, 40] {
        let moved = |by: f32| {
            let mut changed = input(0);
            Arc::make_mut(changed.audio.as_mut().unwrap()).values[at] += by;
            value(changed)
        };
        assert!(((moved(0.01) - moved(-0.01)) / 0.02 - audio[at]).abs() < 2e-3, "sample {at}");
    }
    let absent = model.gradient(&[input(4)], &[target], Objective::Dlr, ModalitySet::ALL).unwrap();
    assert!(absent.image[0].is_none() && absent.audio[0].is_some());
}

#[test]
fn rows_threads_and_files_agree() {
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut trainer = trainer();
            step(&mut trainer);
            trainer
        })
    };
    let (one, two) = (run(1), run(2));
    assert_eq!(Trainable::spec(&one).digest, Trainable::spec(&two).digest);
    let model = one.freeze().unwrap();
    let inputs: Vec<Input> = (0..40).map(input).collect();
    let all = model.forward(&inputs).unwrap();
    for i in [0, 4, 33, 39] {
        let alone = model.forward(&inputs[i..=i]).unwrap();
        assert_eq!(alone.logits.row(0), all.logits.row(i));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    model.save(file.path()).unwrap();
    let again = BurnModel::load(one.module.clone(), one.format.clone(), file.path()).unwrap();
    assert_eq!((again.spec(), again.forward(&inputs).unwrap().logits), (model.spec(), all.logits));
    one.save_checkpoint(file.path()).unwrap();
    let (mut other, mut fork) = (one.fresh(&SeedTree::new(4)).unwrap(), one.fork().unwrap());
    other.load_checkpoint(file.path()).unwrap();
    step(&mut *other);
    step(&mut *fork);
    assert_eq!(other.spec().digest, fork.spec().digest);
}

#[test]
fn a_panic_of_the_module_is_an_error() {
    let mut trainer = trainer();
    trainer.format.audio = Some((1000, 21));
    trainer.canonical = trainer.format.canonical();
    assert!(trainer.freeze().err().unwrap().to_string().contains("the burn module panicked"));
}

/// A head behind layers that a test asks for.
#[derive(Module, Debug)]
struct Layered {
    batch: Option<BatchNorm>,
    layer: Option<LayerNorm>,
    dropout: Option<Dropout>,
    head: Linear,
}

impl Network for Layered {
    fn forward(&self, batch: TensorBatch) -> TensorOutput {
        let mut x: Tensor<2> = batch.image.unwrap().flatten(1, 3);
        if let Some(layer) = &self.layer {
            x = layer.forward(x);
        }
        if let Some(layer) = &self.batch {
            x = layer.forward(x);
        }
        if let Some(layer) = &self.dropout {
            x = layer.forward(x);
        }
        self.head.forward(x).into()
    }
    fn start(&self, path: &str, shape: &[usize], _: &SeedTree) -> Option<Vec<f32>> {
        // Says nothing of a sample at the start.
        path.starts_with("head").then(|| vec![0.0; shape.iter().product()])
    }
}

#[test]
fn modules_that_draw_or_mix_their_rows_are_refused() {
    let device = Device::default();
    let format = Format {
        name: "layered".into(),
        classes: Classes::from_names(["a", "b"].map(String::from)),
        image: Some((3, 3, 1)),
        audio: None,
        text: None,
    };
    let open = |batch: bool, layer: bool, dropout: Option<f64>| {
        let module = Layered {
            batch: batch.then(|| BatchNormConfig::new(9).init(&device)),
            layer: layer.then(|| LayerNormConfig::new(9).init(&device)),
            dropout: dropout.map(|p| DropoutConfig::new(p).init()),
            head: LinearConfig::new(9, 2).init(&device),
        };
        BurnTrainer::new(module, format.clone(), 0.01, &SeedTree::new(3)).map(drop)
    };
    for (batch, dropout) in [(true, None), (false, Some(0.5)), (false, Some(0.1)), (true, Some(0.5))] {
        let told = open(batch, false, dropout).unwrap_err().to_string();
        assert!(told.contains("differently in training and in evaluation") && told.contains("layered"), "{told}");
    }
    for (layer, dropout) in [(false, None), (true, None), (true, Some(0.0))] {
        open(false, layer, dropout).unwrap();
    }
}

#[test]
fn a_lesson_moves_the_weights_as_its_value_says() {
    let mut trainer = trainer();
    step(&mut trainer);
    // 22 rows are two graphs, and the pairs reach into the second.
    let inputs: Vec<Input> = (0..22).map(input).collect();
    let targets: Vec<Target> = (0..22).map(|i| Target::Class(i % 3)).collect();
    let weights: Vec<f32> = (0..22).map(|i| i as f32 / 10.0 / 22.0).collect();
    let pairs = [Pair { weight: 1.5, apart: Apart::Kl, stop_gradient: false, confidence: 0.0 }; 9];
    let focal = |l: f64| {
        let rest = -l.exp_m1();
        (-rest * rest * l, 2.0 * l.exp() * rest * l - rest * rest)
    };
    let lessons = [
        Lesson { shape: Some(&focal), ..Lesson::default() },
        Lesson { pairs: &pairs, ..Lesson::default() },
        Lesson { shape: Some(&focal), pairs: &pairs, ..Lesson::default() },
        Lesson::default(),
    ];
    for lesson in lessons {
        let part = |from: usize, to: usize| {
            trainer.part((from, 22), &inputs[from..to], &targets[from..to], &weights[from..to], &lesson).unwrap().gradients
        };
        let mut own = part(0, 16);
        own.accumulate(&part(16, 22)).unwrap();
        for (path, at) in [("image.weight", 7), ("audio.weight", 31), ("head.weight", 4), ("head.bias", 1)] {
            let moved = |by: f32| {
                let mut changed = trainer.clone();
                let Parameter { shape, mut values } = changed.parameters.get(path).unwrap().clone();
                values[at] += by;
                changed.parameters.insert(path, shape, values);
                let logits = changed.freeze().unwrap().forward(&inputs).unwrap().logits;
                lesson.slopes(0, 22, &logits.values, 3, &targets, &weights).0
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((slope - f64::from(own.get(path).unwrap().values[at])).abs() < 1e-3, "{path} {slope}");
        }
    }
    // Gradients of the media from the same pass, and no encoder is held back.
    let model = trainer.freeze().unwrap();
    let wanted = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 22], learning_rate: 0.01 };
    let balance = crate::model::Balance { alpha: 0.5, noise: None };
    assert!(trainer.learn(&batch, &Lesson { balance: Some(&balance), ..Lesson::default() }).is_err());
    let seen = trainer.learn(&batch, &Lesson { wrt: ModalitySet::ALL, ..Lesson::default() }).unwrap().gradients.unwrap();
    assert_eq!((seen.image.len(), seen.audio.len(), seen.image[4].is_none()), (22, 22, true));
    for (row, modality) in [(0, Modality::Image), (17, Modality::Image), (4, Modality::Audio), (21, Modality::Audio)] {
        let (own, whole) = (seen.of(modality, row).unwrap(), wanted.of(modality, row).unwrap());
        assert!(own.iter().zip(whole).all(|(a, b)| (22.0 * a - b).abs() < 1e-4), "{row} {modality}");
    }
}

#[test]
fn the_slope_of_an_embedding_is_right() {
    let mut trainer = trainer();
    step(&mut trainer);
    let model = trainer.freeze().unwrap();
    let inputs: Vec<Input> = (0..40).map(input).collect();
    // Row by row another function: `(i + 1) sum_k k e_k^2`.
    let of = |row: usize, e: &[f32]| {
        let share = |k: usize| (row + 1) as f32 * k as f32;
        (e.iter().enumerate().map(|(k, e)| share(k) * e * e).sum(), e.iter().enumerate().map(|(k, e)| 2.0 * share(k) * e).collect())
    };
    let seen = model.embedding_gradient(&inputs, Modality::Image, &of).unwrap();
    assert_eq!((seen.objective.len(), seen.image.len(), seen.image[4].is_none(), seen.audio[0].is_none()), (40, 40, true, true));
    assert_eq!(seen.logits, model.forward(&inputs).unwrap().logits);
    for (row, at) in [(0, 7), (3, 44), (35, 20)] {
        let value = |by: f32| {
            let mut changed = input(row);
            Arc::make_mut(changed.image.as_mut().unwrap()).values[at] += by;
            let e = model.forward(&[changed]).unwrap().embeddings.image.unwrap();
            of(row, e.row(0)).0
        };
        let slope = (value(0.01) - value(-0.01)) / 0.02;
        let own = seen.image[row].as_ref().unwrap()[at];
        assert!((slope - own).abs() < 2e-3 * (row + 1) as f32, "{row} {at}: {slope} {own}");
    }
    assert!(model.embedding_gradient(&inputs, Modality::Audio, &of).is_err());
    assert!(model.embedding_gradient(&inputs, Modality::Text, &of).is_err());
}

#[test]
fn another_loss_and_pairs_are_learnt_with_the_gradients_of_the_inputs() {
    use crate::model::{Apart, Lesson, Pair};
    // Pairs of a sample and its neighbour, a focal loss of every row (gamma 2: `-(1 - p)^2 ln p`), all in two parts of the batch.
    let inputs: Vec<Input> = (0..20).map(input).collect();
    let targets: Vec<Target> = (0..20).map(|i| Target::Class(i / 2 % 3)).collect();
    let weights: Vec<f32> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { 0.5 }).collect();
    let pairs = vec![Pair { weight: 3.0, apart: Apart::Kl, stop_gradient: false, confidence: 0.0 }; 10];
    let focal = |l: f64| {
        let p = l.exp();
        (-(1.0 - p).powi(2) * l, 2.0 * (1.0 - p) * p * l - (1.0 - p).powi(2))
    };
    let lesson = Lesson { shape: Some(&focal), pairs: &pairs, wrt: ModalitySet::ALL, ..Lesson::default() };
    let shares: Vec<f32> = weights.iter().map(|w| w / 20.0).collect();
    let value = |model: &dyn Model, inputs: &[Input]| {
        let logits = model.forward(inputs).unwrap().logits;
        lesson.slopes(0, 20, &logits.values, 3, &targets, &shares).0
    };
    let mut trainer = trainer();
    assert!(trainer.gives_gradients());
    let before = trainer.freeze().unwrap();
    let batch = |inputs| TrainingBatch { inputs, targets: &targets, weights: &weights, learning_rate: 0.02 };
    let learnt = trainer.learn(&batch(&inputs), &lesson).unwrap();
    let gradients = learnt.gradients.unwrap();
    assert_eq!((gradients.image.len(), gradients.audio.len(), learnt.report.losses.len()), (20, 20, 20));
    for (row, at) in [(0, 3), (1, 30), (17, 59)] {
        let own = gradients.image[row].as_ref().unwrap()[at];
        let moved = |by: f32| {
            let mut inputs = inputs.clone();
            Arc::make_mut(inputs[row].image.as_mut().unwrap()).values[at] += by;
            value(&*before, &inputs)
        };
        let (up, down) = (moved(0.02), moved(-0.02));
        assert!(((up - down) / 0.04 - f64::from(own)).abs() < 2e-4, "row {row}, pixel {at}: {} {own}", (up - down) / 0.04);
    }
    assert!(gradients.image[4].is_none() && gradients.audio[4].is_some());
    let first = value(&*before, &inputs);
    for _ in 0..60 {
        trainer.learn(&batch(&inputs), &lesson).unwrap();
    }
    let last = value(&*trainer.freeze().unwrap(), &inputs);
    assert!(last < 0.7 * first, "{first} {last}");
    let balance = crate::model::Balance { alpha: 1.0, noise: None };
    assert!(trainer.learn(&batch(&inputs), &Lesson { balance: Some(&balance), ..Lesson::default() }).is_err());
}
