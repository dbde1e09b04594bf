//! The memory bank in a trainer's own loop: what every sample lost lately is kept in a file across batches and restarts, and a part of each
//! batch is drawn from it by priority, weighted so that the gradient stays unbiased. Any model will do that gives a loss a sample.
//!
//! `cargo run --release --example memory_bank`

use hardmine::{
    error::Result,
    mine::annealed,
    model::{Input, ModelSource, Opened, Target, Trainable, TrainingBatch, linear::Linear},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, profile},
    sample::SampleId,
    train::memory_bank::{BankConfig, MemoryBank, Observation, Priorities},
};
use std::{collections::HashMap, path::Path};

const EPOCHS: usize = 4;
const FRESH: usize = 48;
const REPLAYED: usize = 16;

pub fn main() -> Result<()> {
    let seeds = SeedTree::new(7);
    let source = Manifest::new("builtin:digits/train.jsonl").open(Path::new("."))?;
    let labels = LabelIndex::of(source.entries());
    let mut model = match Linear::default().open(&profile(source.as_ref(), labels.classes())?, &seeds.child("model"))? {
        Opened::Trainable(model) => model,
        Opened::Frozen(_) => return Ok(()),
    };
    let mut samples: Vec<(SampleId, Input, Target)> = Vec::new();
    for (row, entry) in source.entries().iter().enumerate().take(480) {
        if let Some(label) = labels.resolve(entry)? {
            samples.push((entry.id.clone(), Input::of(&source.fetch(row)?), label));
        }
    }
    let row: HashMap<SampleId, usize> = samples.iter().enumerate().map(|(i, (id, ..))| (id.clone(), i)).collect();

    let folder = tempfile::tempdir().map_err(|error| hardmine::error::Error::io(".", error))?;
    let file = folder.path().join("bank.bin");
    let mut step = 0u64;
    for epoch in 0..EPOCHS {
        // Opened anew each epoch here, as after a crash: what was known is there again.
        let (bank, _) = MemoryBank::open(&file, BankConfig::default())?;
        let rules = Priorities { max_age: 2 * (samples.len() / FRESH) as u64, ..Priorities::default() };
        let mut replay = bank.sampler(step, rules);
        let correction = annealed(0.4, epoch as f64 / (EPOCHS - 1) as f64);
        let mut rng = seeds.child(format!("epoch {epoch}")).rng();
        let mut total = 0.0;
        for fresh in (0..samples.len()).collect::<Vec<_>>().chunks(FRESH) {
            let drawn = replay.draw(REPLAYED, correction, &mut rng);
            let mut rows: Vec<(usize, f32)> = fresh.iter().map(|i| (*i, 1.0)).collect();
            rows.extend(drawn.iter().filter_map(|one| Some((*row.get(&one.id)?, one.weight))));
            let losses = train(model.as_mut(), &samples, &rows)?;
            let seen: Vec<Observation> = rows.iter().zip(&losses).map(|((i, _), loss)| Observation::loss(&samples[*i].0, *loss)).collect();
            bank.observe(step, &seen)?;
            // What was trained on has another priority now.
            for one in &drawn {
                if let Some(priority) = bank.get(&one.id).and_then(|memory| memory.priority(step, &rules)) {
                    replay.update(&one.id, priority)?;
                }
            }
            total += losses[..fresh.len()].iter().sum::<f32>();
            step += 1;
        }
        let hardest: Vec<String> = bank.hardest(3, step, &rules).iter().map(|(id, loss)| format!("{id} {loss:.2}")).collect();
        println!(
            "epoch {epoch}: loss {:.3}; {} samples in the bank, the hardest: {}",
            total / samples.len() as f32,
            bank.len(),
            hardest.join(", ")
        );
    }
    Ok(())
}

/// One step on these rows with their weights; the unweighted loss of each.
fn train(model: &mut dyn Trainable, samples: &[(SampleId, Input, Target)], rows: &[(usize, f32)]) -> Result<Vec<f32>> {
    let inputs: Vec<Input> = rows.iter().map(|(i, _)| samples[*i].1.clone()).collect();
    let targets: Vec<Target> = rows.iter().map(|(i, _)| samples[*i].2.clone()).collect();
    let weights: Vec<f32> = rows.iter().map(|(_, weight)| *weight).collect();
    let report = model.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 5e-3 })?;
    Ok(report.losses)
}
