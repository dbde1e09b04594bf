//! hardmine chooses what each step of a trainer's own loop learns from: a forward pass gives a loss a sample, the hardest of the batch and of the memory
//! bank are trained on with a few drawn at random, and what was hardest comes again two steps later. The backward passes saved are counted.
//!
//! `cargo run --release --example batch_selection`

use hardmine::{
    error::Result,
    model::{Input, ModelSource, Opened, Target, TrainingBatch, linear::Linear, measure},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, profile},
    sample::SampleId,
    train::{
        door::{BatchMiner, BatchRules, ReplayQueue, Take},
        memory_bank::{BankConfig, MemoryBank, Observation},
    },
};
use std::{collections::HashMap, path::Path};

const EPOCHS: usize = 4;
const FRESH: usize = 56;
const AGAIN: usize = 8;

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

    let bank = MemoryBank::new(BankConfig::default())?;
    let mut miner = BatchMiner::new(BatchRules { take: Take::Both, keep: 0.5, floor: 0.25, refresh: 8, ..BatchRules::default() })?;
    let mut queue: ReplayQueue<usize> = ReplayQueue::new(256, 20)?;
    let mut rng = seeds.child("choice").rng();
    let mut step = 0u64;
    for epoch in 0..EPOCHS {
        let mut total = 0.0;
        for fresh in (0..samples.len()).collect::<Vec<_>>().chunks(FRESH) {
            // What waits comes along; a sample that is in the batch already is not taken twice.
            let mut rows: Vec<usize> = fresh.to_vec();
            rows.extend(queue.take(step, AGAIN).into_iter().map(|(_, i)| i).filter(|i| !fresh.contains(i)));
            let ids: Vec<SampleId> = rows.iter().map(|i| samples[*i].0.clone()).collect();
            let inputs: Vec<Input> = rows.iter().map(|i| samples[*i].1.clone()).collect();
            let outputs = model.freeze()?.forward(&inputs)?;
            let losses: Vec<f32> = (0..rows.len()).map(|i| measure::cross_entropy(outputs.logits.row(i), &samples[rows[i]].2)).collect();
            total += losses[..fresh.len()].iter().sum::<f32>();

            let chosen = miner.choose(step, &ids, &losses, Some(&bank), &mut rng)?;
            bank.observe(step, &ids.iter().zip(&losses).map(|(id, loss)| Observation::loss(id, *loss)).collect::<Vec<_>>())?;
            chosen.rows.iter().take(AGAIN).for_each(|&i| queue.push(step, ids[i].clone(), rows[i]));

            let mut backward: Vec<(usize, f32)> = chosen.rows.iter().map(|&i| rows[i]).zip(chosen.weights).collect();
            backward.extend(chosen.recalled.iter().filter_map(|id| Some((*row.get(id)?, 1.0))));
            let inputs: Vec<Input> = backward.iter().map(|(i, _)| samples[*i].1.clone()).collect();
            let targets: Vec<Target> = backward.iter().map(|(i, _)| samples[*i].2.clone()).collect();
            let weights: Vec<f32> = backward.iter().map(|(_, weight)| *weight).collect();
            model.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 5e-3 })?;
            step += 1;
        }
        let passes = miner.passes();
        println!(
            "epoch {epoch}: loss {:.3}; {} of {} backward passes saved ({:.0} %), {} samples recalled from the bank",
            total / samples.len() as f32,
            passes.saved(),
            passes.forward,
            100.0 * passes.share_saved(),
            passes.recalled
        );
    }
    Ok(())
}
