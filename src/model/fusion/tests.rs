use super::*;
use crate::{
    model::{
        Apart, Balance, EmbeddedText, Input, Lesson, Objective, Pair, Pixels, Target, Trainable, TrainingBatch, Waveform, load, measure,
    },
    sample::Classes,
};
use std::sync::Arc;

pub(super) fn profile() -> DataProfile {
    DataProfile {
        classes: Classes::from_names(["a", "b", "c"].map(String::from)),
        modalities: ModalitySet::ALL,
        image: Some((10, 9, 1)),
        audio: Some((2000, 0.2)),
        text: Some(12),
    }
}

pub(super) fn small() -> Fusion {
    Fusion {
        embedding: 6,
        hidden: 8,
        image: ImageConfig { channels: vec![3, 4], decoder: 8, ..ImageConfig::default() },
        audio: AudioConfig { mels: 8, channels: vec![3], hidden: 5, decoder: 7, ..AudioConfig::default() },
        text: TextConfig { hidden: 6, characters: 4, ..TextConfig::default() },
        ..Fusion::default()
    }
}

fn input(i: usize) -> Input {
    let pixel = |p: usize| 0.1 + 0.8 * ((p * (i % 3 + 2) + i) % 17) as f32 / 16.0;
    let sample = |t: usize| ((t as f32) * 0.2 * (i % 3 + 1) as f32).sin() * 0.3 + (((t * t * 7 + i) % 1009) as f32).cos() * 0.2;
    let channels = [1, 3, 4][i % 3];
    Input {
        image: Some(Arc::new(Pixels { width: 13, height: 11, channels, values: (0..143 * channels).map(pixel).collect() })),
        audio: Some(Arc::new(Waveform {
            sample_rate_hz: [2000, 3000, 1500][i % 3],
            channels: 2,
            values: (0..600 + 40 * (i % 5)).map(sample).collect(),
        })),
        text: Some(["one dog", "two cats", "three birds é"][i % 3].into()),
        text_shift: None,
    }
}

pub(super) fn mixed(n: usize) -> Vec<Input> {
    let keep = |i: usize| match i % 7 {
        3 => ModalitySet::ALL.without(Modality::Image),
        4 => ModalitySet::one(Modality::Text),
        5 => ModalitySet::ALL.without(Modality::Audio),
        6 => ModalitySet::one(Modality::Audio),
        _ => ModalitySet::ALL,
    };
    (0..n).map(|i| input(i).only(keep(i))).collect()
}

fn targets(n: usize) -> Vec<Target> {
    (0..n).map(|i| Target::Class(i % 3)).collect()
}

pub(super) fn trained(config: &Fusion, steps: usize, n: usize) -> FusionTrainer {
    let mut trainer = config.trainer(&profile(), &SeedTree::new(5)).unwrap();
    let (inputs, targets, weights) = (mixed(n), targets(n), vec![1.0; n]);
    for _ in 0..steps {
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.01 }).unwrap();
    }
    trainer
}

fn within<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn neither_neighbours_nor_threads_change_a_bit() {
    // The sizes of the shipped configuration, at which products are large enough to run in parallel.
    let profile = DataProfile { image: Some((28, 28, 1)), audio: Some((8000, 0.6)), text: Some(40), ..profile() };
    let model = Fusion::default().trainer(&profile, &SeedTree::new(1)).unwrap().freeze().unwrap();
    let inputs = mixed(70);
    let many = within(2, || model.forward(&inputs)).unwrap();
    let one_thread = within(1, || model.forward(&inputs)).unwrap();
    assert_eq!((&many.logits, &many.embeddings, &many.fused), (&one_thread.logits, &one_thread.embeddings, &one_thread.fused));
    let slopes = within(2, || model.gradient(&inputs, &targets(70), Objective::CrossEntropy, ModalitySet::ALL)).unwrap();
    assert_eq!(slopes.logits, many.logits);
    let other = within(1, || model.gradient(&inputs, &targets(70), Objective::CrossEntropy, ModalitySet::ALL)).unwrap();
    assert_eq!((&slopes.image, &slopes.audio), (&other.image, &other.audio));
    for i in [0, 3, 4, 31, 32, 69] {
        let alone = model.forward(&inputs[i..=i]).unwrap();
        assert_eq!(alone.logits.row(0), many.logits.row(i), "row {i}");
        let own = model.gradient(&inputs[i..=i], &targets(70)[i..=i], Objective::CrossEntropy, ModalitySet::ALL).unwrap();
        assert_eq!((&own.image[0], &own.audio[0]), (&slopes.image[i], &slopes.audio[i]), "row {i}");
        assert_eq!(own.image[0].is_some(), inputs[i].image.is_some());
    }
    let nothing = model.forward(&[]).unwrap();
    assert_eq!((nothing.logits.columns, nothing.logits.rows()), (3, 0));
}

#[test]
fn training_has_the_same_bits_on_one_thread_and_on_two() {
    let profile = DataProfile { image: Some((28, 28, 1)), audio: Some((8000, 0.6)), text: Some(40), ..profile() };
    let digest = |threads| {
        within(threads, || {
            let mut trainer = Fusion::default().trainer(&profile, &SeedTree::new(1)).unwrap();
            for _ in 0..2 {
                let (inputs, targets) = (mixed(41), targets(41));
                trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 41], learning_rate: 0.01 }).unwrap();
            }
            Trainable::spec(&trainer).digest
        })
    };
    assert_eq!(digest(1), digest(2));
}

#[test]
fn input_gradients_agree_with_finite_differences() {
    let model = trained(&small(), 20, 21).freeze().unwrap();
    for (objective, target) in
        [(Objective::CrossEntropy, Target::Soft([0.2, 0.7, 0.1].into())), (Objective::CarliniWagner, Target::Class(1))]
    {
        let value = |input: &Input| {
            let logits = model.forward(std::slice::from_ref(input)).unwrap().logits;
            f64::from(measure::objective(logits.row(0), &target, objective))
        };
        // The slope along a direction: most single pixels matter too little for single-precision differences. Of several
        // steps, one is small enough for the curvature and large enough for the rounding.
        let check = |modality: Modality, slope: &[f32], moved: &dyn Fn(f32) -> Input, direction: &[f32]| {
            let own: f64 = slope.iter().zip(direction).map(|(g, d)| f64::from(g * d)).sum();
            let difference = |step: f32| (value(&moved(step)) - value(&moved(-step))) / f64::from(2.0 * step);
            let differences = [4e-3, 1e-3, 2.5e-4, 6e-5].map(difference);
            let close = |d: &f64| (d - own).abs() < 0.02 * own.abs();
            assert!(differences.iter().any(close), "{modality} {objective:?}: {differences:?} {own}");
        };
        for i in [1, 2] {
            let own = model.gradient(&[input(i)], std::slice::from_ref(&target), objective, ModalitySet::ALL).unwrap();
            for k in 0..3 {
                // Signs of the slope, sizes of their own: the terms do not cancel.
                let along = |g: &[f32]| {
                    let size = |j: usize| ((j * (k + 3) + 1) as f32 * 0.7).sin().abs();
                    g.iter().enumerate().map(|(j, g)| g.signum() * size(j)).collect::<Vec<f32>>()
                };
                let image = own.image[0].as_ref().unwrap();
                let direction = along(image);
                let moved = |by: f32| {
                    let mut changed = input(i);
                    let pixels = Arc::make_mut(changed.image.as_mut().unwrap());
                    pixels.values.iter_mut().zip(&direction).for_each(|(v, d)| *v += by * d);
                    changed
                };
                check(Modality::Image, image, &moved, &direction);
                let audio = own.audio[0].as_ref().unwrap();
                let direction = along(audio);
                let moved = |by: f32| {
                    let mut changed = input(i);
                    let wave = Arc::make_mut(changed.audio.as_mut().unwrap());
                    wave.values.iter_mut().zip(&direction).for_each(|(v, d)| *v += by * d);
                    changed
                };
                check(Modality::Audio, audio, &moved, &direction);
                let text = own.text[0].as_ref().unwrap();
                let direction = along(text);
                let moved = |by: f32| Input { text_shift: Some(direction.iter().map(|d| by * d).collect()), ..input(i) };
                check(Modality::Text, text, &moved, &direction);
            }
        }
    }
}

#[test]
fn a_perturbed_embedding_is_that_of_the_other_text() {
    let model = trained(&small(), 5, 9).freeze().unwrap();
    let (from, to) = (model.embed_text("two cats").unwrap(), model.embed_text("two rats!").unwrap());
    assert_eq!((from.size, from.positions, to.positions, from.values.len(), to.values.len()), (4, 8, 9, 48, 48));
    assert!(from.mean_length() > 0.0 && EmbeddedText::default().mean_length() == 0.0);
    let differs: Vec<usize> = (0..12).filter(|&i| from.values[4 * i..4 * i + 4] != to.values[4 * i..4 * i + 4]).collect();
    assert_eq!(differs, [4, 8]);
    let shift: Arc<[f32]> = to.values.iter().zip(&from.values).map(|(b, a)| b - a).collect();
    let mut inputs = mixed(9);
    inputs[1] = Input { text: Some("two cats".into()), text_shift: Some(shift), ..input(1) };
    let found = model.forward(&inputs).unwrap().logits;
    let wanted = model.forward(&[Input { text: Some("two rats!".into()), ..input(1) }]).unwrap().logits;
    assert!(found.row(1).iter().zip(wanted.row(0)).all(|(a, b)| (a - b).abs() < 1e-5), "{:?} {:?}", found.row(1), wanted.row(0));
    // A neighbour's perturbation is not one's own, and one whose text is missing has no effect.
    assert_eq!(found.row(2), model.forward(&mixed(9)[2..3]).unwrap().logits.row(0));
    let gone = Input { text: None, ..inputs[1].clone() };
    assert_eq!(
        model.forward(std::slice::from_ref(&gone)).unwrap().logits,
        model.forward(&[Input { text_shift: None, ..gone }]).unwrap().logits
    );
    let short = Input { text_shift: Some([1.0f32].into()), ..input(0) };
    assert!(model.forward(&[short]).unwrap_err().to_string().contains("expected 48 finite numbers"));
    let slopes = model.gradient(&inputs, &targets(9), Objective::CrossEntropy, ModalitySet::one(Modality::Text)).unwrap();
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!((slopes.of(Modality::Text, i).is_some(), slopes.of(Modality::Image, i)), (input.text.is_some(), None));
    }
}

#[test]
fn weight_gradients_agree_with_finite_differences() {
    let mut trainer = small().trainer(&profile(), &SeedTree::new(9)).unwrap();
    let (inputs, targets) = (mixed(7), targets(7));
    let weights = [1.0, 0.0, 2.0, 1.0, 0.5, 1.0, 1.0];
    let (slopes, total) = trainer.slopes(&inputs, &targets, &weights).unwrap();
    assert!(total.is_finite());
    let mut checked = 0;
    for (path, slope) in slopes.iter() {
        // The largest slope of each tensor.
        let at = (0..slope.values.len()).max_by(|a, b| slope.values[*a].abs().total_cmp(&slope.values[*b].abs())).unwrap();
        let mut at_offset = |by: f32| {
            trainer.nudge(path, at, by);
            let (_, total) = trainer.slopes(&inputs, &targets, &weights).unwrap();
            trainer.nudge(path, at, -by);
            f64::from(total)
        };
        let own = f64::from(slope.values[at]);
        let differences = [8e-3, 2e-3, 5e-4, 1e-4].map(|step| (at_offset(step) - at_offset(-step)) / f64::from(2.0 * step));
        assert!(differences.iter().any(|d| (d - own).abs() < 0.02 * own.abs() + 1e-4), "{path}: {differences:?} {own}");
        checked += usize::from(own.abs() > 1e-4);
    }
    assert!(checked >= 20, "only {checked} tensors have a slope");
}

#[test]
fn gradients_of_the_bound_agree_with_finite_differences() {
    // The noise of a step is fixed, so that the loss is a function of the weights.
    let mut config = small();
    (config.image.beta, config.audio.beta, config.audio.reconstruction) = (3.0, 2.0, 1.0);
    let mut trainer = config.trainer(&profile(), &SeedTree::new(9)).unwrap();
    let (inputs, targets) = (mixed(7), targets(7));
    let (slopes, _) = trainer.slopes(&inputs, &targets, &[1.0; 7]).unwrap();
    for path in ["image.variance", "audio.variance", "image.embedding", "audio.embedding", "audio.decoder0", "audio.decoder1"] {
        let slope = slopes.values(path).unwrap();
        let at = (0..slope.len()).max_by(|a, b| slope[*a].abs().total_cmp(&slope[*b].abs())).unwrap();
        let mut at_offset = |by: f32| {
            trainer.nudge(path, at, by);
            let (_, total) = trainer.slopes(&inputs, &targets, &[1.0; 7]).unwrap();
            trainer.nudge(path, at, -by);
            f64::from(total)
        };
        let own = f64::from(slope[at]);
        let differences = [8e-3, 2e-3, 5e-4, 1e-4].map(|step| (at_offset(step) - at_offset(-step)) / f64::from(2.0 * step));
        assert!(own.abs() > 1e-4, "{path} has no slope");
        assert!(differences.iter().any(|d| (d - own).abs() < 0.02 * own.abs() + 1e-4), "{path}: {differences:?} {own}");
    }
}

#[test]
fn the_negative_bound_is_the_one_of_kingma_and_welling() {
    // One sample, codes (h, s) by hand: decoder and divergence apart.
    let mut config = small();
    (config.image.beta, config.image.reconstruction, config.auxiliary) = (2.0, 1.0, 0.0);
    let profile = DataProfile { modalities: ModalitySet::one(Modality::Image), image: Some((13, 11, 1)), ..profile() };
    let loss = |beta: f32, reconstruction: f32| {
        let mut config = config.clone();
        (config.image.beta, config.image.reconstruction) = (beta, reconstruction);
        let trainer = config.trainer(&profile, &SeedTree::new(4)).unwrap();
        let (_, total) = trainer.slopes(&[input(0)], &targets(1), &[1.0]).unwrap();
        (f64::from(total), trainer)
    };
    let (two, trainer) = loss(2.0, 1.0);
    let (four, _) = loss(4.0, 1.0);
    let model = trainer.freeze().unwrap();
    let latent = model.latent().unwrap();
    let h = latent.encode(Modality::Image, &[input(0)]).unwrap();
    let sigma = latent.deviations(Modality::Image, &h).unwrap().unwrap();
    let divergence: f64 = h
        .values
        .iter()
        .zip(&sigma.values)
        .map(|(h, s)| (f64::from(*h), f64::from(*s)))
        .map(|(h, s)| 0.5 * (h * h + s * s - 2.0 * s.ln() - 1.0))
        .sum();
    assert!(((four - two) - 2.0 * divergence / 143.0).abs() < 1e-5, "{} {}", four - two, 2.0 * divergence / 143.0);
    let noise = autoencoder::noise(&SeedTree::new(4).child("noise").child("image"), 0, &[0], 6);
    let z = h.values.iter().zip(&sigma.values).zip(&noise).map(|((h, s), n)| h + s * n).collect();
    let like = [input(0).image.unwrap()];
    let decoded = latent.decode_image(&crate::model::Matrix { columns: 6, values: z }, &like).unwrap().remove(0);
    let error: f64 = decoded.values.iter().zip(&like[0].values).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / 143.0;
    let cross_entropy = f64::from(measure::cross_entropy(model.forward(&[input(0)]).unwrap().logits.row(0), &Target::Class(0)));
    assert!((two - cross_entropy - error - 2.0 * divergence / 143.0).abs() < 1e-4, "{two} {cross_entropy} {error} {divergence}");
    assert!(
        small()
            .trainer(&profile, &SeedTree::new(4))
            .unwrap()
            .freeze()
            .unwrap()
            .latent()
            .unwrap()
            .deviations(Modality::Image, &h)
            .unwrap()
            .is_none()
    );
}

#[test]
fn noise_is_addressed_by_step_and_row() {
    let seeds = SeedTree::new(1);
    let all = autoencoder::noise(&seeds, 3, &[0, 1, 2, 3], 5);
    let part = autoencoder::noise(&seeds, 3, &[2, 3], 5);
    let column = |values: &[f32], columns: usize, at: usize| values.iter().skip(at).step_by(columns).copied().collect::<Vec<_>>();
    assert_eq!(column(&all, 4, 2), column(&part, 2, 0));
    assert_ne!(column(&all, 4, 2), column(&all, 4, 3));
    assert_ne!(all, autoencoder::noise(&seeds, 4, &[0, 1, 2, 3], 5));
}

#[test]
fn latent_gradients_agree_with_finite_differences() {
    let model = trained(&small(), 20, 21).freeze().unwrap();
    let latent = model.latent().unwrap();
    let inputs: Vec<Input> = (0..35).map(input).collect();
    let codes = crate::sample::PerModality::from_fn(|m| Some(latent.encode(m, &inputs).unwrap()));
    let slopes = latent.latent_gradient(&codes, &inputs, &targets(35), Objective::CrossEntropy).unwrap();
    assert_eq!(slopes.logits, model.forward(&inputs).unwrap().logits);
    for modality in Modality::ALL {
        for row in [1, 33] {
            let slope = slopes.latents[modality].as_ref().unwrap().row(row).to_vec();
            let value = |by: f32| {
                let mut codes = codes.clone();
                let own = codes[modality].as_mut().unwrap();
                let at = row * own.columns;
                own.values[at..].iter_mut().zip(&slope).for_each(|(v, s)| *v += by * s.signum());
                f64::from(measure::cross_entropy(latent.classify(&codes, &inputs).unwrap().row(row), &targets(35)[row]))
            };
            let own: f64 = slope.iter().map(|s| f64::from(s.abs())).sum();
            let differences = [1e-2, 2e-3, 5e-4].map(|step| (value(step) - value(-step)) / f64::from(2.0 * step));
            assert!(differences.iter().any(|d| (d - own).abs() < 0.02 * own + 1e-5), "{modality} {row}: {differences:?} {own}");
        }
    }
    // A modality that the input lacks is not looked at, and has no slope.
    let blind = [input(0).only(ModalitySet::one(Modality::Text))];
    let codes = crate::sample::PerModality { image: Some(crate::model::Matrix { columns: 6, values: vec![1.0; 6] }), ..Default::default() };
    let slopes = latent.latent_gradient(&codes, &blind, &targets(1), Objective::CrossEntropy).unwrap();
    assert_eq!(slopes.logits, model.forward(&blind).unwrap().logits);
    assert!(slopes.latents.image.unwrap().values.iter().all(|v| *v == 0.0));
}

#[test]
fn it_learns_each_modality_and_its_absence() {
    let model = trained(&small(), 120, 21).freeze().unwrap();
    let inputs: Vec<Input> = (0..6).map(input).collect();
    for keep in [ModalitySet::ALL, ModalitySet::one(Modality::Text), ModalitySet::one(Modality::Audio)] {
        let subset: Vec<Input> = inputs.iter().map(|i| i.only(keep)).collect();
        let outputs = model.forward(&subset).unwrap();
        for i in 0..6 {
            assert_eq!(measure::argmax(outputs.logits.row(i)), i % 3, "{keep} row {i}");
        }
        let tokens = outputs.embeddings.image.unwrap();
        assert_eq!(tokens.row(0) == tokens.row(1), !keep.has(Modality::Image), "the token is used exactly where the image is missing");
    }
    // A sample with nothing at all still has an answer.
    assert!(model.forward(&[Input::default()]).unwrap().logits.values.iter().all(|v| v.is_finite()));
    // Silence and a black picture as well.
    let mut dull = input(0);
    Arc::make_mut(dull.image.as_mut().unwrap()).values.fill(0.0);
    Arc::make_mut(dull.audio.as_mut().unwrap()).values.fill(0.0);
    let slopes = model.gradient(&[dull], &targets(1), Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    assert!(slopes.audio[0].as_ref().unwrap().iter().chain(slopes.image[0].as_ref().unwrap()).all(|v| v.is_finite()));
}

#[test]
fn any_subset_of_modalities_makes_a_model() {
    for modalities in ModalitySet::ALL.subsets() {
        let mut trainer = small().trainer(&DataProfile { modalities, ..profile() }, &SeedTree::new(0)).unwrap();
        let inputs = mixed(7);
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets(7), weights: &[1.0; 7], learning_rate: 0.01 }).unwrap();
        let model = trainer.freeze().unwrap();
        assert_eq!(model.spec().modalities, modalities);
        let slopes = model.gradient(&inputs, &targets(7), Objective::Dlr, ModalitySet::ALL).unwrap();
        assert_eq!(slopes.image[0].is_some(), modalities.has(Modality::Image));
        assert_eq!(model.latent().unwrap().encode(Modality::Image, &inputs[..1]).is_ok(), modalities.has(Modality::Image));
    }
    assert!(small().trainer(&DataProfile { modalities: ModalitySet::EMPTY, ..profile() }, &SeedTree::new(0)).is_err());
}

#[test]
fn a_saved_model_answers_alike_and_a_checkpoint_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let trainer = trained(&small(), 3, 9);
    let model = trainer.freeze().unwrap();
    model.save(&path).unwrap();
    let again = load::open(&path).unwrap();
    assert_eq!(again.spec(), model.spec());
    assert_eq!(again.forward(&mixed(5)).unwrap().logits, model.forward(&mixed(5)).unwrap().logits);

    trainer.save_checkpoint(&path).unwrap();
    assert!(load::open(&path).err().unwrap().to_string().contains("found a training checkpoint"));
    let mut other = trainer.fresh(&SeedTree::new(77)).unwrap();
    assert_ne!(other.spec().digest, Trainable::spec(&trainer).digest);
    other.load_checkpoint(&path).unwrap();
    let mut fork = trainer.fork().unwrap();
    let (inputs, targets) = (mixed(9), targets(9));
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 9], learning_rate: 0.01 };
    fork.step(&batch).unwrap();
    other.step(&batch).unwrap();
    assert_eq!(fork.spec().digest, other.spec().digest);
    assert_ne!(fork.spec().digest, Trainable::spec(&trainer).digest);
    let same = trainer.fresh(&SeedTree::new(5)).unwrap().spec().digest;
    assert_eq!(same, Trainable::spec(&small().trainer(&profile(), &SeedTree::new(5)).unwrap()).digest);
}

#[test]
fn the_latent_space_is_consistent_with_the_forward_pass() {
    let model = trained(&small(), 5, 9).freeze().unwrap();
    let latent = model.latent().unwrap();
    let inputs: Vec<Input> = (0..35).map(input).collect();
    let outputs = model.forward(&inputs).unwrap();
    for modality in Modality::ALL {
        let codes = latent.encode(modality, &inputs).unwrap();
        assert_eq!(Some(&codes), outputs.embeddings[modality].as_ref());
        let mut all = crate::model::Latents::default();
        all[modality] = Some(codes);
        assert_eq!(latent.classify(&all, &inputs).unwrap(), outputs.logits);
    }
    let waves: Vec<Arc<Waveform>> = inputs.iter().filter_map(|i| i.audio.clone()).collect();
    let codes = latent.encode(Modality::Audio, &inputs).unwrap();
    let still = latent.shift_audio(&codes, &codes, &waves).unwrap();
    assert!(still.iter().zip(&waves).all(|(made, like)| *made == **like));
    let mut moved = codes.clone();
    moved.values.iter_mut().for_each(|v| *v += 0.5);
    for made in [latent.decode_audio(&codes, &waves).unwrap(), latent.shift_audio(&codes, &moved, &waves).unwrap()] {
        for (made, like) in made.iter().zip(&waves) {
            assert_eq!((made.sample_rate_hz, made.channels, made.values.len()), (like.sample_rate_hz, like.channels, like.values.len()));
            assert!(made != &**like && made.values.iter().all(|v| (-1.0..=1.0).contains(v)));
        }
    }
    assert!(latent.decode_audio(&crate::model::Matrix { columns: 3, values: vec![0.0; 3] }, &waves[..1]).is_err());
    let like: Vec<Arc<Pixels>> = inputs.iter().filter_map(|i| i.image.clone()).collect();
    let decoded = latent.decode_image(&latent.encode(Modality::Image, &inputs).unwrap(), &like).unwrap();
    for (made, like) in decoded.iter().zip(&like) {
        assert_eq!((made.width, made.height, made.channels, made.values.len()), (13, 11, like.channels, like.values.len()));
        assert!(made.values.iter().all(|v| (0.0..=1.0).contains(v)));
        if like.channels == 4 {
            assert!(made.values.iter().zip(&like.values).skip(3).step_by(4).all(|(a, b)| a == b), "alpha is kept");
        }
    }
    assert!(latent.encode(Modality::Image, &[input(0).only(ModalitySet::one(Modality::Text))]).is_err());
    assert!(latent.decode_image(&crate::model::Matrix { columns: 3, values: vec![0.0; 3] }, &like[..1]).is_err());
}

#[test]
fn the_decoder_learns_to_paint() {
    let profile = DataProfile { modalities: ModalitySet::one(Modality::Image), image: Some((13, 11, 1)), ..profile() };
    let mut trainer = small().trainer(&profile, &SeedTree::new(5)).unwrap();
    let (gray, targets) = ([input(0), input(3)], targets(2));
    let like: Vec<Arc<Pixels>> = gray.iter().map(|i| i.image.clone().unwrap()).collect();
    let error = |trainer: &FusionTrainer| {
        let model = trainer.freeze().unwrap();
        let latent = model.latent().unwrap();
        let made = latent.decode_image(&latent.encode(Modality::Image, &gray).unwrap(), &like).unwrap();
        made.iter().zip(&like).flat_map(|(a, b)| a.values.iter().zip(&b.values)).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    let before = error(&trainer);
    for _ in 0..150 {
        trainer.step(&TrainingBatch { inputs: &gray, targets: &targets, weights: &[1.0; 2], learning_rate: 0.02 }).unwrap();
    }
    let after = error(&trainer);
    assert!(after < 0.5 * before, "{before} {after}");
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut trainer = trained(&small(), 1, 7);
    let before = Trainable::spec(&trainer).digest;
    let inputs = [input(0)];
    let mut fails = |input: &[Input], target: Target, weight: f32, rate: f64| {
        trainer.step(&TrainingBatch { inputs: input, targets: &[target], weights: &[weight], learning_rate: rate }).is_err()
    };
    let mut loud = input(0);
    Arc::make_mut(loud.audio.as_mut().unwrap()).values.fill(1e30);
    assert!(fails(&inputs, Target::Class(3), 1.0, 0.1));
    assert!(fails(&inputs, Target::Class(0), f32::INFINITY, 0.1));
    assert!(fails(&inputs, Target::Class(0), 1.0, f64::NAN));
    assert!(fails(&[loud], Target::Class(0), 1.0, 0.1), "the power overflows: no finite loss");
    assert!(fails(&[], Target::Class(0), 1.0, 0.1));
    assert_eq!(Trainable::spec(&trainer).digest, before);
}

#[test]
fn a_broken_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    trained(&small(), 0, 3).freeze().unwrap().save(&path).unwrap();
    let (header, weights) = crate::model::parameters::Parameters::read(&path).unwrap();
    for (pointer, value) in [
        ("/shape/embedding", 7),
        ("/shape/image/layers/0/stride/0", 0),
        ("/shape/audio/hop", 0),
        ("/shape/hidden", 0),
        // A decoder, a transform and gathers that would take more memory than there is.
        ("/shape/image/decoder", 1 << 50),
        ("/shape/image/size/0", 1 << 40),
        ("/shape/audio/decoder", 4095),
        ("/shape/audio/window", 1 << 23),
        ("/shape/audio/mels", 1 << 40),
        ("/shape/audio/length", 1 << 23),
        ("/shape/audio/rate_hz", 0),
        ("/shape/text/characters", 1 << 40),
        ("/shape/text/length", 1 << 40),
        ("/shape/image/layers/0/channels", 4096),
        ("/shape/image/layers/0/padding/0", 4096),
        ("/shape/embedding", 4096u64),
    ] {
        let mut broken = header.clone();
        *broken.pointer_mut(pointer).unwrap() = value.into();
        assert!(FusionModel::from_file(&broken, weights.clone()).is_err(), "{pointer}");
    }
    // Another time than the mask over it has.
    for modality in ["audio", "text"] {
        let mut broken = header.clone();
        let layers = broken.pointer_mut(&format!("/shape/{modality}/layers")).unwrap().as_array_mut().unwrap();
        layers.last_mut().unwrap()["padding"][1] = 0.into();
        assert!(FusionModel::from_file(&broken, weights.clone()).is_err(), "{modality}");
    }
}

#[test]
fn config_problems_name_their_field() {
    let mut config = small();
    config.image.channels = vec![3, 0];
    config.audio.seconds = Some(f64::NAN);
    config.weight_decay = 2.0;
    let problems = config.build(&Table::default()).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["image.channels[1]", "weight_decay", "audio.seconds"]);
    let shape = Fusion::default().shape(&DataProfile { image: Some((640, 480, 4)), ..profile() }).unwrap();
    assert_eq!(shape.image.unwrap().size, (64, 48, 3));
}

#[test]
fn gradients_of_a_lesson_agree_with_finite_differences() {
    let mut trainer = small().trainer(&profile(), &SeedTree::new(9)).unwrap();
    let (inputs, targets) = (mixed(6), targets(6));
    let weights = [1.0, 0.0, 2.0, 1.0, 0.5, 1.0];
    let pair = |apart| Pair { weight: 3.0, apart, stop_gradient: false, confidence: 0.0 };
    let pairs = [pair(Apart::Kl), pair(Apart::JensenShannon)];
    let shape = |l: f64| (0.5 * l * l, l);
    let lesson = Lesson { shape: Some(&shape), pairs: &pairs, ..Lesson::default() };
    let (slopes, total) = trainer.slopes_of(&inputs, &targets, &weights, &lesson).unwrap();
    let plain = trainer.slopes(&inputs, &targets, &weights).unwrap().1;
    assert!(total.is_finite() && (total - plain).abs() > 1e-3);
    for (path, slope) in slopes.iter() {
        let at = (0..slope.values.len()).max_by(|a, b| slope.values[*a].abs().total_cmp(&slope.values[*b].abs())).unwrap();
        let mut at_offset = |by: f32| {
            trainer.nudge(path, at, by);
            let (_, total) = trainer.slopes_of(&inputs, &targets, &weights, &lesson).unwrap();
            trainer.nudge(path, at, -by);
            f64::from(total)
        };
        let own = f64::from(slope.values[at]);
        let differences = [8e-3, 2e-3, 5e-4, 1e-4].map(|step| (at_offset(step) - at_offset(-step)) / f64::from(2.0 * step));
        assert!(differences.iter().any(|d| (d - own).abs() < 0.02 * own.abs() + 2e-4), "{path}: {differences:?} {own}");
    }
}

/// Without the losses besides the fused one, the gradient of a step's inputs is that of the frozen model, by the row's share.
#[test]
fn a_step_gives_the_gradient_of_its_inputs() {
    let mut config = Fusion { auxiliary: 0.0, ..small() };
    config.image.reconstruction = 0.0;
    config.audio.reconstruction = 0.0;
    let mut trainer = config.trainer(&profile(), &SeedTree::new(9)).unwrap();
    let (inputs, targets) = (mixed(7), targets(7));
    let frozen = trainer.freeze().unwrap();
    let right = frozen.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    let seen = trainer.view().unwrap().gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    assert_eq!((&seen.image, &seen.audio), (&right.image, &right.audio));
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[2.0; 7], learning_rate: 0.01 };
    let lesson = Lesson { wrt: ModalitySet::ALL, ..Lesson::default() };
    let found = trainer.learn(&batch, &lesson).unwrap().gradients.unwrap();
    let both = [(&found.image, &right.image), (&found.audio, &right.audio), (&found.text, &right.text)];
    for (found, right) in both.into_iter().flat_map(|(found, right)| found.iter().zip(right)) {
        assert_eq!(found.is_some(), right.is_some());
        let (Some(found), Some(right)) = (found, right) else { continue };
        let most = right.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(found.iter().zip(right).all(|(f, r)| (f - r * 2.0 / 7.0).abs() <= 1e-3 * most + 1e-9));
    }
    // And the step is the same as without.
    let mut other = config.trainer(&profile(), &SeedTree::new(9)).unwrap();
    other.step(&batch).unwrap();
    assert_eq!(other.spec().digest, trainer.spec().digest);
}

#[test]
fn a_leading_encoder_is_held_back() {
    let (inputs, targets) = (mixed(9), targets(9));
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 9], learning_rate: 0.01 };
    let after = |balance: Option<&Balance>| {
        let mut trainer = trained(&small(), 30, 21);
        trainer.learn(&batch, &Lesson { balance, ..Lesson::default() }).unwrap();
        trainer.spec().digest
    };
    let gentle = Balance { alpha: 0.0, noise: None };
    assert_eq!(after(None), after(Some(&gentle)));
    let noisy = |seed| Balance { alpha: 0.0, noise: Some(SeedTree::new(seed)) };
    let digests = [after(None), after(Some(&Balance { alpha: 0.5, noise: None })), after(Some(&noisy(1))), after(Some(&noisy(2)))];
    assert_eq!(digests.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    assert_eq!(after(Some(&noisy(1))), digests[2]);
}
