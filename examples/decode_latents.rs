//! How good the decoders of the fusion model are: an independent classifier looks at decoded media that nobody trained on, and the decoded pixels are held
//! against the mean image of training.
//!
//! `cargo run --release --example decode_latents -- ../shared/data/avdigits 6 val '{ "image": { "beta": 1 } }'`: a folder with manifests, epochs, the split to
//! decode, the config of the model. Without arguments the built-in digits, two epochs, `val` and the defaults.

use hardmine::{
    error::{Error, Result},
    model::{Input, Latent, Model, Pixels, Target, Trainable, TrainingBatch, Waveform, fusion::Fusion, measure},
    random::SeedTree,
    read::{LabelIndex, Manifest, Reader, Source, profile},
    sample::{Modality, ModalitySet},
};
use std::{path::Path, sync::Arc};

pub fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).skip_while(|argument| !argument.contains('/'));
    let folder = arguments.next().unwrap_or_else(|| "builtin:digits".into());
    let epochs: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    let split = arguments.next().unwrap_or_else(|| "val".into());
    let config = arguments.next().unwrap_or_else(|| "{}".into());
    let config: Fusion = serde_json::from_str(&config).map_err(|error| Error::usage(error.to_string()))?;
    let open = |split: &str| Manifest::new(format!("{folder}/{split}.jsonl")).open(Path::new("."));
    let (train, held_out) = (open("train")?, open(&split)?);
    let labels = LabelIndex::of(train.entries());
    let profile = profile(train.as_ref(), labels.classes())?;
    let ((inputs, targets), (seen, truth)) = (read(train.as_ref(), &labels)?, read(held_out.as_ref(), &labels)?);
    let seeds = SeedTree::new(7);
    let of = |name: &str, config: &Fusion, keep| {
        let mut model = config.trainer(&profile, &seeds.child(name))?;
        fit(&mut model, &seeds.child("order"), &inputs, &targets, keep, epochs)
    };
    let model = of("model", &config, ModalitySet::ALL)?;
    let space = model.latent().ok_or_else(|| Error::usage("the model has no latent space"))?;
    println!("accuracy of the model on {split}: {:.4}", accuracy(model.as_ref(), &seen, &truth)?);
    for modality in [Modality::Image, Modality::Audio] {
        let keep = ModalitySet::one(modality);
        let judge = of("judge", &Fusion::default(), keep)?;
        let has: Vec<usize> = (0..seen.len()).filter(|&i| seen[i].present().has(modality)).collect();
        let real: Vec<Input> = has.iter().map(|&i| seen[i].only(keep)).collect();
        let own: Vec<Target> = has.iter().map(|&i| truth[i].clone()).collect();
        let decoded = decode(space, modality, &real)?;
        let (before, after) = (accuracy(judge.as_ref(), &real, &own)?, accuracy(judge.as_ref(), &decoded, &own)?);
        println!(
            "{modality}: an independent classifier {before:.4} on {} real media, {after:.4} decoded: {:.1} %",
            real.len(),
            100.0 * after / before
        );
        if modality == Modality::Image {
            let [own, of_mean] = errors(&inputs, &real, &decoded);
            println!("squared error a pixel: {own:.5} decoded, {of_mean:.5} of the mean image");
        }
    }
    Ok(())
}

fn read(source: &dyn Source, labels: &LabelIndex) -> Result<(Vec<Input>, Vec<Target>)> {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for i in 0..source.entries().len() {
        if let Some(target) = labels.resolve(&source.entries()[i])? {
            inputs.push(Input::of(&source.fetch(i)?));
            targets.push(target);
        }
    }
    Ok((inputs, targets))
}

fn fit(
    model: &mut dyn Trainable,
    seeds: &SeedTree,
    inputs: &[Input],
    targets: &[Target],
    keep: ModalitySet,
    epochs: usize,
) -> Result<Arc<dyn Model>> {
    let mut order: Vec<usize> = (0..inputs.len()).filter(|&i| !inputs[i].only(keep).present().is_empty()).collect();
    for epoch in 0..epochs {
        order.sort_by_cached_key(|&i| seeds.round(epoch).variant(i).number());
        for rows in order.chunks(32) {
            let inputs: Vec<Input> = rows.iter().map(|&i| inputs[i].only(keep)).collect();
            let targets: Vec<Target> = rows.iter().map(|&i| targets[i].clone()).collect();
            model.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &vec![1.0; rows.len()], learning_rate: 2e-3 })?;
        }
    }
    model.freeze()
}

fn accuracy(model: &dyn Model, inputs: &[Input], targets: &[Target]) -> Result<f64> {
    let logits = model.forward(inputs)?.logits;
    let right = targets.iter().enumerate().filter(|(i, target)| measure::argmax(logits.row(*i)) == target.class()).count();
    Ok(right as f64 / targets.len().max(1) as f64)
}

fn decode(space: &dyn Latent, modality: Modality, real: &[Input]) -> Result<Vec<Input>> {
    let latents = space.encode(modality, real)?;
    if modality == Modality::Image {
        let like: Vec<Arc<Pixels>> = real.iter().filter_map(|input| input.image.clone()).collect();
        let of = |pixels| Input { image: Some(Arc::new(pixels)), ..Input::default() };
        return Ok(space.decode_image(&latents, &like)?.into_iter().map(of).collect());
    }
    let like: Vec<Arc<Waveform>> = real.iter().filter_map(|input| input.audio.clone()).collect();
    let of = |waveform| Input { audio: Some(Arc::new(waveform)), ..Input::default() };
    Ok(space.decode_audio(&latents, &like)?.into_iter().map(of).collect())
}

/// Mean squared error a pixel of the decoded images, and of the mean image of training where the sizes agree.
fn errors(train: &[Input], real: &[Input], decoded: &[Input]) -> [f64; 2] {
    let values = |input: &Input| input.image.as_ref().map(|pixels| pixels.values.clone()).unwrap_or_default();
    let size = real.first().map_or(0, |input| values(input).len());
    let all: Vec<Vec<f32>> = train.iter().map(values).filter(|v| v.len() == size && size > 0).collect();
    let mean: Vec<f32> = (0..size).map(|p| all.iter().map(|v| v[p]).sum::<f32>() / all.len().max(1) as f32).collect();
    let error = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / size.max(1) as f64;
    let own: f64 = real.iter().zip(decoded).map(|(a, b)| error(&values(a), &values(b))).sum();
    let of_mean: f64 = real.iter().map(|a| error(&values(a), &mean)).sum();
    [own, of_mean].map(|sum| sum / real.len().max(1) as f64)
}
