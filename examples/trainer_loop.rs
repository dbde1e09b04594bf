//! hardmine inside a trainer's own loop: on each batch mine the hard samples by their loss, attack them, and train on the result in the next
//! step. Swap `Linear` for `Fusion`, or for your own model behind `Trainable`.
//!
//! `cargo run --release --example trainer_loop`

use hardmine::{
    error::Result,
    generate::pgd::{AttackConfig, Budget, ascend},
    mine,
    model::{Input, Model, ModelSource, Opened, Target, TrainingBatch, linear::Linear, measure},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, Source, profile},
    sample::Norm,
};
use std::path::Path;

const BATCH: usize = 64;
const HARD: usize = 16;

pub fn main() -> Result<()> {
    let seeds = SeedTree::new(7);
    let source = Manifest::new("builtin:digits/train.jsonl").open(Path::new("."))?;
    let labels = LabelIndex::of(source.entries());
    let mut model = match Linear::default().open(&profile(source.as_ref(), labels.classes())?, &seeds.child("model"))? {
        Opened::Trainable(model) => model,
        Opened::Frozen(_) => return Ok(()),
    };
    // The hard samples of the last batch, attacked: they go along with the next one.
    let mut carried: (Vec<Input>, Vec<Target>) = Default::default();
    for (step, rows) in (0..source.entries().len()).collect::<Vec<_>>().chunks(BATCH).enumerate() {
        let (mut inputs, mut targets) = read(source.as_ref(), &labels, rows)?;
        let own = inputs.len();
        inputs.append(&mut carried.0);
        targets.append(&mut carried.1);
        let weights = vec![1.0; inputs.len()];
        let report = model.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 2e-3 })?;

        // Unreduced losses of this batch: the hardest of them are worth a neighbour.
        let hard = mine::top_k(&report.losses[..own], HARD);
        let parents: Vec<Input> = hard.iter().map(|&i| inputs[i].clone()).collect();
        let theirs: Vec<Target> = hard.iter().map(|&i| targets[i].clone()).collect();
        let nodes: Vec<SeedTree> =
            hard.iter().map(|&i| seeds.child(format!("step {step}")).sample(&source.entries()[rows[i]].id)).collect();
        let attack = AttackConfig { image: Some(Budget::new(Norm::Linf, 8.0 / 255.0)), audio: None, steps: 5, ..AttackConfig::default() };
        let subject = model.freeze()?;
        let ascents = ascend(subject.as_ref(), &parents, &theirs, &attack, &nodes)?;
        if step % 5 == 0 {
            let before = mean(&report.losses[..own]);
            let after = mean(&ascents.iter().map(|ascent| ascent.cross_entropy).collect::<Vec<_>>());
            println!(
                "step {step}: loss {before:.3}, attacked hard samples {after:.3}, right {:.2}",
                right(subject.as_ref(), &inputs[..own], &targets)?
            );
        }
        carried = (ascents.into_iter().map(|ascent| ascent.input).collect(), theirs);
    }
    Ok(())
}

fn read(source: &dyn Source, labels: &LabelIndex, rows: &[usize]) -> Result<(Vec<Input>, Vec<Target>)> {
    let mut batch = (Vec::new(), Vec::new());
    for &row in rows {
        if let Some(label) = labels.resolve(&source.entries()[row])? {
            batch.0.push(Input::of(&source.fetch(row)?));
            batch.1.push(label);
        }
    }
    Ok(batch)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

fn right(model: &dyn Model, inputs: &[Input], targets: &[Target]) -> Result<f32> {
    let outputs = model.forward(inputs)?;
    let hits = (0..inputs.len()).filter(|&i| measure::argmax(outputs.logits.row(i)) == targets[i].class()).count();
    Ok(hits as f32 / inputs.len().max(1) as f32)
}
