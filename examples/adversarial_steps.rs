//! Adversarial training in a trainer's own loop: plain steps beside TRADES on the hardest half of each batch, and what an attack leaves of both.
//! Swap `Linear` for `Fusion`, or for your own model behind `Trainable`.
//!
//! `cargo run --release --example adversarial_steps`

use hardmine::{
    error::Result,
    generate::pgd::{AttackConfig, Budget, Until, ascend},
    mine,
    model::{Input, ModelSource, Opened, Target, Trainable, TrainingBatch, linear::Linear},
    pipeline::{Balls, Trades, TrainingObjective},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, profile},
    sample::Norm,
    train::OwnLoop,
    units::Epsilon,
};
use std::path::Path;

const BATCH: usize = 64;
const RADIUS: f64 = 8.0 / 255.0;

pub fn main() -> Result<()> {
    let seeds = SeedTree::new(7);
    let source = Manifest::new("builtin:digits/train.jsonl").open(Path::new("."))?;
    let labels = LabelIndex::of(source.entries());
    let (mut inputs, mut targets): (Vec<Input>, Vec<Target>) = Default::default();
    for row in 0..source.entries().len() {
        // Images alone: the audio would carry the answer through the attack.
        if let (Some(label), sample) = (labels.resolve(&source.entries()[row])?, source.fetch(row)?)
            && sample.image.is_some()
        {
            inputs.push(Input { image: Input::of(&sample).image, ..Input::default() });
            targets.push(label);
        }
    }
    let profile = profile(source.as_ref(), labels.classes())?;
    let balls = Balls { image: Epsilon::new(RADIUS).ok(), ..Balls::default() };
    for objective in [TrainingObjective::default(), TrainingObjective::Trades(Trades { balls, steps: 5, ..Trades::default() })] {
        let name = objective.name();
        let mut own = OwnLoop::new(objective)?;
        let Opened::Trainable(mut model) = Linear::default().open(&profile, &seeds.child("model"))? else { return Ok(()) };
        for epoch in 0..4 {
            for (at, (inputs, targets)) in inputs.chunks(BATCH).zip(targets.chunks(BATCH)).enumerate() {
                let weights = vec![1.0; inputs.len()];
                let batch = TrainingBatch { inputs, targets, weights: &weights, learning_rate: 1e-2 };
                // The hard half by the losses of now.
                let logits = model.view()?.forward(inputs)?.logits;
                let losses: Vec<f32> =
                    (0..inputs.len()).map(|i| hardmine::model::measure::cross_entropy(logits.row(i), &targets[i])).collect();
                let hard = mine::ohem_batch(&losses, 0.5).indices;
                let treated: Vec<bool> = (0..inputs.len()).map(|row| hard.contains(&row)).collect();
                own.step(model.as_mut(), &batch, Some(&treated), 1.0, &seeds.child(format!("epoch {epoch} step {at}")))?;
            }
        }
        let [clean, attacked] = right(model.as_ref(), &inputs, &targets)?;
        let spent = own.spent();
        println!("{name}: right {clean:.3}, attacked {attacked:.3}; {} presentations, {} gradients", spent.presentations, spent.gradient);
    }
    Ok(())
}

/// Shares that are right, and that stay right under ten steps.
fn right(model: &dyn Trainable, inputs: &[Input], targets: &[Target]) -> Result<[f64; 2]> {
    let attack = AttackConfig { image: Some(Budget::new(Norm::Linf, RADIUS)), until: Until::Misclassified, ..AttackConfig::default() };
    let seeds: Vec<SeedTree> = (0..inputs.len()).map(|i| SeedTree::new(1).variant(i)).collect();
    let clean = model.view()?.forward(inputs)?.logits;
    let standing = (0..inputs.len()).filter(|&i| hardmine::model::measure::argmax(clean.row(i)) == targets[i].class()).count();
    let found = ascend(model.view()?.as_ref(), inputs, targets, &attack, &seeds)?;
    let left = found.iter().filter(|ascent| !ascent.solved).count();
    Ok([standing, left].map(|n| n as f64 / inputs.len().max(1) as f64))
}
