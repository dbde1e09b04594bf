//! Your own burn module inside hardmine: implement `Network`, wrap it, train it (adversarially as well), ask it for losses and input gradients.
//!
//! `cargo run --release --example own_burn_model` (reads the images of `assets/digits`).

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, conv::Conv2d, conv::Conv2dConfig},
    tensor::{Device, activation::relu},
};
use hardmine::{
    model::{
        Input, Model, Objective, Pixels, Target, Trainable, TrainingBatch,
        adapter::{BurnTrainer, Format, Network, TensorBatch, TensorOutput},
        measure,
    },
    pipeline::TrainingObjective,
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet},
    train::OwnLoop,
};
use std::{error::Error, path::Path, sync::Arc};

/// A small CNN, as you would write it anyway.
#[derive(Module, Debug)]
struct Cnn {
    first: Conv2d,
    second: Conv2d,
    head: Linear,
}

impl Network for Cnn {
    fn forward(&self, batch: TensorBatch) -> TensorOutput {
        // `Format` names images, so they are always there; a missing one is all zeros and `batch.present.image` says so.
        let Some(image) = batch.image else { unreachable!("the format names images") };
        let x = relu(self.first.forward(image));
        let x = relu(self.second.forward(x));
        self.head.forward(x.flatten::<2>(1, 3)).into()
    }
}

/// The first `limit` images of a manifest with their labels.
fn digits(split: &str, limit: usize) -> Result<(Vec<Input>, Vec<Target>), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits");
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(folder.join(format!("{split}.jsonl")))?.lines().take(limit) {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let (Some(image), Some(label)) = (row["image"].as_str(), row["label"].as_u64()) else { continue };
        let image = image::open(folder.join(image))?.to_luma8();
        let values = image.as_raw().iter().map(|p| f32::from(*p) / 255.0).collect();
        let pixels = Pixels { width: image.width() as usize, height: image.height() as usize, channels: 1, values };
        inputs.push(Input { image: Some(Arc::new(pixels)), ..Input::default() });
        targets.push(Target::Class(label as usize));
    }
    Ok((inputs, targets))
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::default();
    let cnn = Cnn {
        first: Conv2dConfig::new([1, 8], [5, 5]).with_stride([2, 2]).init(&device),
        second: Conv2dConfig::new([8, 16], [3, 3]).with_stride([2, 2]).init(&device),
        head: LinearConfig::new(16 * 5 * 5, 10).init(&device),
    };
    let classes = Classes::from_names((0..10).map(|digit| digit.to_string()));
    let format = Format { name: "cnn".into(), classes, image: Some((28, 28, 1)), audio: None, text: None };
    let mut trainer = BurnTrainer::new(cnn, format, 0.01, &SeedTree::new(7))?;

    let (inputs, targets) = digits("train", 600)?;
    for epoch in 1..=3 {
        let mut losses = Vec::new();
        for (inputs, targets) in inputs.chunks(32).zip(targets.chunks(32)) {
            let weights = vec![1.0; inputs.len()];
            losses.extend(trainer.step(&TrainingBatch { inputs, targets, weights: &weights, learning_rate: 3e-3 })?.losses);
        }
        println!("epoch {epoch}: mean loss {:.3}", losses.iter().sum::<f32>() / losses.len() as f32);
    }

    // Every objective of `train.objective` learns with it as well; here one round of TRADES.
    let objective: TrainingObjective = serde_json::from_str(r#"{ "trades": { "balls": { "image": 0.05 }, "steps": 3, "beta": 1.0 } }"#)?;
    let mut own = OwnLoop::new(objective)?;
    let mut losses = Vec::new();
    for (step, (inputs, targets)) in inputs.chunks(32).zip(targets.chunks(32)).enumerate() {
        let weights = vec![1.0; inputs.len()];
        let batch = TrainingBatch { inputs, targets, weights: &weights, learning_rate: 1e-3 };
        losses.extend(own.step(&mut trainer, &batch, None, 1.0, &SeedTree::new(8).variant(step))?.losses);
    }
    let mean = losses.iter().sum::<f32>() / losses.len() as f32;
    println!("TRADES: mean clean loss {mean:.3}, {} gradients of inputs", own.spent().gradient);

    // Frozen, it is a `Model`: everything that hardmine does with its own model works with yours.
    let model: Arc<dyn Model> = trainer.freeze()?;
    let (inputs, targets) = digits("val", 100)?;
    let outputs = model.forward(&inputs)?;
    let right = targets.iter().enumerate().filter(|(i, t)| measure::argmax(outputs.logits.row(*i)) == t.class()).count();
    println!("validation: {right} of {} right", targets.len());
    let slopes = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::one(Modality::Image))?;
    let hardest = (0..inputs.len()).max_by(|a, b| slopes.objective[*a].total_cmp(&slopes.objective[*b])).unwrap_or(0);
    let steepest = slopes.image[hardest].iter().flatten().fold(0.0f32, |most, g| most.max(g.abs()));
    println!("hardest: row {hardest}, loss {:.3}, steepest pixel slope {steepest:.3}", slopes.objective[hardest]);
    Ok(())
}
