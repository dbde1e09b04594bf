//! What mining adds to a training step of the built-in fusion model on the built-in digits: the same steps with and without it, by turns.
//!
//!     cargo bench --bench training_step

use hardmine::{
    error::{Error, Result},
    model::{Input, ModelSource, Opened, Target, Trainable, TrainingBatch, fusion::Fusion},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, profile},
    sample::SampleId,
    train::{
        door::{BatchMiner, BatchRules, ReplayQueue, Take},
        memory_bank::{BankConfig, MemoryBank, Observation, Priorities},
    },
};
use std::{path::Path, time::Instant};

const BATCH: usize = 64;
/// Batches of a turn.
const STEPS: usize = 6;
/// Turns of each side.
const TURNS: usize = 5;
/// Samples that the bank knows besides.
const KNOWN: [usize; 2] = [1_200, 100_000];

struct Batch {
    ids: Vec<SampleId>,
    inputs: Vec<Input>,
    targets: Vec<Target>,
    weights: Vec<f32>,
}

fn main() -> Result<()> {
    let source = Manifest::new("builtin:digits/train.jsonl").open(Path::new("."))?;
    let labels = LabelIndex::of(source.entries());
    let model = Fusion::default().open(&profile(source.as_ref(), labels.classes())?, &SeedTree::new(7))?;
    let Opened::Trainable(mut model) = model else { return Err(Error::internal("the model cannot be trained")) };
    let mut batches: Vec<Batch> = Vec::new();
    for rows in (0..BATCH * STEPS).collect::<Vec<_>>().chunks(BATCH) {
        let mut batch = Batch { ids: Vec::new(), inputs: Vec::new(), targets: Vec::new(), weights: vec![1.0; rows.len()] };
        for &row in rows {
            let entry = &source.entries()[row];
            let label = labels.resolve(entry)?.ok_or_else(|| Error::data("no label").at("sample", &entry.id))?;
            batch.ids.push(entry.id.clone());
            batch.inputs.push(Input::of(&source.fetch(row)?));
            batch.targets.push(label);
        }
        batches.push(batch);
    }
    for known in KNOWN {
        turns(model.as_mut(), &batches, known)?;
    }
    Ok(())
}

/// One line: the time of a step, of what is mined beside it, and of both sides as a whole.
fn turns(model: &mut dyn Trainable, batches: &[Batch], known: usize) -> Result<()> {
    let bank = MemoryBank::new(BankConfig::default())?;
    let others: Vec<SampleId> = (0..known).map(|i| SampleId::new(format!("other-{i:07}"))).collect();
    // Losses in no order, and hardly two alike, as they are.
    let loss = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32;
    let seen: Vec<Observation> = others.iter().enumerate().map(|(i, id)| Observation::loss(id, loss(i))).collect();
    bank.observe(0, &seen)?;
    let rules = BatchRules { take: Take::Both, ..BatchRules::default() };
    let mut miner = BatchMiner::new(rules)?;
    let mut queue: ReplayQueue<()> = ReplayQueue::new(1024, 50)?;
    let mut rng = SeedTree::new(1).rng();
    let (mut plain, mut mined, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    // The choice, the bank's update, queue and draw.
    let mut parts: [Vec<f64>; 3] = Default::default();
    let mut step = 0u64;
    let trained = |model: &mut dyn Trainable, batch: &Batch| {
        let Batch { inputs, targets, weights, .. } = batch;
        model.step(&TrainingBatch { inputs, targets, weights, learning_rate: 1e-4 })
    };
    trained(model, &batches[0])?;
    for _ in 0..TURNS {
        let began = Instant::now();
        for batch in batches {
            trained(model, batch)?;
        }
        plain.push(began.elapsed().as_secs_f64() / batches.len() as f64);
        let began = Instant::now();
        let mut own = [0.0; 3];
        // An epoch begins with the priorities of now: once in as many steps as the samples of the bank fill.
        let at = Instant::now();
        let mut replay = bank.sampler(step, Priorities::default());
        begun.push(at.elapsed().as_secs_f64());
        for batch in batches {
            let report = trained(model, batch)?;
            let at = Instant::now();
            step += 1;
            let chosen = miner.choose(step, &batch.ids, &report.losses, Some(&bank), &mut rng)?;
            own[0] += at.elapsed().as_secs_f64();
            let at = Instant::now();
            let seen = batch
                .ids
                .iter()
                .enumerate()
                .map(|(i, id)| Observation::logits(id, report.losses[i], report.logits.row(i), batch.targets[i].class()));
            bank.observe(step, &seen.collect::<Vec<_>>())?;
            own[1] += at.elapsed().as_secs_f64();
            let at = Instant::now();
            chosen.rows.iter().take(8).for_each(|&row| queue.push(step, batch.ids[row].clone(), ()));
            std::hint::black_box((queue.take(step, 4), replay.draw(BATCH / 4, 0.4, &mut rng), chosen));
            own[2] += at.elapsed().as_secs_f64();
        }
        mined.push(began.elapsed().as_secs_f64() / batches.len() as f64);
        parts.iter_mut().zip(own).for_each(|(part, own)| part.push(own / batches.len() as f64));
    }
    let [plain, mined, begun] = [plain, mined, begun].map(median);
    let parts = parts.map(median);
    let beside: f64 = parts.iter().sum();
    let a_step = beside + begun / (known as f64 / BATCH as f64);
    println!(
        "bank of {known}: step of {BATCH} {:.2} ms, {STEPS} steps and an epoch's beginning with mining {:.2} ms each; mining {:.3} ms a step ({}) and {:.2} ms an epoch of {}, {:.3} % of a step in all",
        1e3 * plain,
        1e3 * mined,
        1e3 * beside,
        ["choice", "bank", "queue and draw"]
            .iter()
            .zip(parts)
            .map(|(part, s)| format!("{part} {:.3}", 1e3 * s))
            .collect::<Vec<_>>()
            .join(", "),
        1e3 * begun,
        known / BATCH,
        100.0 * a_step / plain
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
