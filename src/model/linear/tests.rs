use super::*;
use crate::model::Waveform;

fn classes() -> Classes {
    Classes::from_names(["a", "b", "c"].map(String::from))
}

fn input(i: usize) -> Input {
    let pixel = |p: usize| ((p * (i + 2)) % 17) as f32 / 16.0;
    let sample = |t: usize| ((t as f32) * 0.1 * (i % 3 + 1) as f32).sin() * 0.5;
    Input {
        image: Some(Arc::new(Pixels { width: 9, height: 7, channels: 3, values: (0..189).map(pixel).collect() })),
        audio: Some(Arc::new(Waveform { sample_rate_hz: 11025, channels: 2, values: (0..600).map(sample).collect() })),
        text: Some(["one dog", "two cats", "three birds"][i % 3].into()),
        text_shift: None,
    }
}

fn profile() -> DataProfile {
    DataProfile { classes: classes(), modalities: ModalitySet::ALL, image: Some((9, 7, 3)), audio: Some((8000, 0.1)), text: Some(20) }
}

fn trained(steps: usize) -> LinearTrainer {
    let mut trainer = Linear { image_side: 5, ..Linear::default() }.trainer(&profile()).unwrap();
    let inputs: Vec<Input> = (0..9)
        .map(|i| match i {
            7 => input(i).only(ModalitySet::one(Modality::Text)),
            8 => input(i).only(ModalitySet::one(Modality::Audio)),
            _ => input(i),
        })
        .collect();
    let targets: Vec<Target> = (0..9).map(|i| Target::Class(i % 3)).collect();
    for _ in 0..steps {
        let weights = [1.0; 9];
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &targets, weights: &weights, learning_rate: 0.05 }).unwrap();
    }
    trainer
}

#[test]
fn weights_given_are_the_weights_used() {
    let image = RawImage { width: 2, height: 1, channels: 1, weights: vec![1.0, 2.0, 0.0, -1.0, 0.5, 0.5] };
    let model = LinearModel::from_weights(classes(), vec![0.1, 0.2, 0.3], Some(image), None).unwrap();
    let pixels = Input { image: Some(Arc::new(Pixels { width: 2, height: 1, channels: 1, values: vec![0.5, 1.0] })), ..Input::default() };
    assert_eq!(model.forward(std::slice::from_ref(&pixels)).unwrap().logits.values, [2.6, -0.8, 1.05]);
    let wrt = ModalitySet::ALL;
    let found = model.gradient(std::slice::from_ref(&pixels), &[Target::Class(1)], Objective::CarliniWagner, wrt).unwrap();
    // Class 0 is ahead: the slope is the difference of its row and that of class 1.
    assert_eq!(found.image[0].as_deref(), Some(&[1.0, 3.0][..]));
    assert_eq!(found.audio, [None]);
    assert!(model.forward(&[input(0)]).unwrap_err().to_string().contains("expected an image of 2x1"));
    assert!(model.gradient(&[pixels], &[Target::Class(3)], Objective::CrossEntropy, wrt).is_err());
    assert!(LinearModel::from_weights(classes(), vec![0.0; 2], None, None).is_err());
}

#[test]
fn input_gradients_agree_with_finite_differences() {
    let model = trained(30).freeze().unwrap();
    let target = Target::Soft([0.2, 0.7, 0.1].into());
    let slopes = model.gradient(&[input(1)], std::slice::from_ref(&target), Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    let loss = |input: Input| f64::from(measure::cross_entropy(model.forward(&[input]).unwrap().logits.row(0), &target));
    let image = slopes.image[0].as_ref().unwrap();
    let audio = slopes.audio[0].as_ref().unwrap();
    assert_eq!((image.len(), audio.len()), (189, 600));
    for at in [0, 40, 121, 188] {
        let moved = |by: f32| {
            let mut changed = input(1);
            Arc::make_mut(changed.image.as_mut().unwrap()).values[at] += by;
            loss(changed)
        };
        let slope = (moved(0.05) - moved(-0.05)) / 0.1;
        assert!((slope - f64::from(image[at])).abs() < 1e-4 + 0.02 * slope.abs(), "pixel {at}: {slope} {}", image[at]);
    }
    for at in [1, 50, 300, 555] {
        let moved = |by: f32| {
            let mut changed = input(1);
            Arc::make_mut(changed.audio.as_mut().unwrap()).values[at] += by;
            loss(changed)
        };
        let slope = (moved(0.004) - moved(-0.004)) / 0.008;
        assert!((slope - f64::from(audio[at])).abs() < 1e-3 + 0.03 * slope.abs(), "sample {at}: {slope} {}", audio[at]);
    }
}

#[test]
fn the_slope_of_a_text_foretells_another_text() {
    let model = trained(30).freeze().unwrap();
    let wrt = ModalitySet::one(Modality::Text);
    let found = model.gradient(&[input(1)], &[Target::Class(1)], Objective::CarliniWagner, wrt).unwrap();
    let (from, to) = (model.embed_text("two cats").unwrap(), model.embed_text("two bats").unwrap());
    assert_eq!((from.size, from.positions, from.values.len()), (512, 1, 512));
    assert!((from.mean_length() - 1.0).abs() < 1e-6);
    let slope = found.of(Modality::Text, 0).unwrap();
    let foretold: f32 = slope.iter().zip(from.values.iter().zip(&to.values)).map(|(g, (a, b))| g * (b - a)).sum();
    let margin = |input: Input| -measure::margin(model.forward(&[input]).unwrap().logits.row(0), 1);
    let other = margin(Input { text: Some("two bats".into()), ..input(1) });
    // The margin loss of a linear model has no second order while its classes keep their order.
    assert!((other - margin(input(1)) - foretold).abs() < 1e-4, "{other} {foretold}");
    let shift = to.values.iter().zip(&from.values).map(|(b, a)| b - a).collect();
    assert!((margin(Input { text_shift: Some(shift), ..input(1) }) - other).abs() < 1e-5);
    assert!(model.forward(&[Input { text_shift: Some([0.0f32].into()), ..input(1) }]).is_err());
}

#[test]
fn it_learns_and_knows_missing_modalities() {
    let trainer = trained(60);
    let model = trainer.freeze().unwrap();
    let inputs: Vec<Input> = (0..6).map(input).collect();
    let outputs = model.forward(&inputs).unwrap();
    for i in 0..6 {
        assert_eq!(measure::argmax(outputs.logits.row(i)), i % 3);
    }
    let alone = model.forward(&[input(7).only(ModalitySet::one(Modality::Text))]).unwrap();
    assert_eq!(measure::argmax(alone.logits.row(0)), 1);
    assert!(alone.embeddings.image.unwrap().row(0).iter().all(|v| *v == 0.0));
    assert_eq!(model.forward(&[]).unwrap().logits.rows(), 0);
    assert_eq!(outputs.logits.row(3), model.forward(&inputs[3..4]).unwrap().logits.row(0));
}

#[test]
fn a_model_is_saved_and_a_checkpoint_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let trainer = trained(5);
    let model = trainer.freeze().unwrap();
    model.save(&path).unwrap();
    let (header, weights) = Parameters::read(&path).unwrap();
    let again = LinearModel::from_file(&header, weights).unwrap();
    assert_eq!(again.spec(), model.spec());
    assert_eq!(again.forward(&[input(0)]).unwrap().logits, model.forward(&[input(0)]).unwrap().logits);

    trainer.save_checkpoint(&path).unwrap();
    let mut other = trainer.fresh(&SeedTree::new(0)).unwrap();
    assert_ne!(other.spec().digest, trainer.spec().digest);
    other.load_checkpoint(&path).unwrap();
    let mut fork = trainer.fork().unwrap();
    let (inputs, targets) = ([input(0)], [Target::Class(0)]);
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[2.0], learning_rate: 0.1 };
    fork.step(&batch).unwrap();
    other.step(&batch).unwrap();
    assert_eq!(fork.spec().digest, other.spec().digest);
    assert_ne!(fork.spec().digest, trainer.spec().digest);
}

#[test]
fn a_header_that_lies_is_refused_before_anything_is_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    trained(5).freeze().unwrap().save(&path).unwrap();
    let (header, weights) = Parameters::read(&path).unwrap();
    let told = |place: &str, value: serde_json::Value| {
        let mut lie = header.clone();
        *lie.pointer_mut(place).unwrap() = value;
        LinearModel::from_file(&lie, weights.clone()).unwrap_err().to_string()
    };
    let raw = |n: u64| serde_json::json!({ "raw": { "width": n, "height": n, "channels": 3 } });
    for image in [
        raw(u64::MAX),
        raw(1 << 31),
        raw(1 << 20),
        serde_json::json!({ "grid": { "side": 0 } }),
        serde_json::json!({ "grid": { "side": 65 } }),
    ] {
        assert!(told("/shape/image", image).contains("contradict each other"));
    }
    let bands = |rate: u32, bands: u64| serde_json::json!({ "bands": { "rate_hz": rate, "bands": bands, "segments": 4 } });
    for audio in [bands(16_000, u64::MAX), bands(0, 4), bands(u32::MAX, 4)] {
        assert!(told("/shape/audio", audio).contains("contradict each other"));
    }
    assert!(told("/shape/text", (1u64 << 40).into()).contains("contradict each other"));
    assert!(told("/shape/classes", serde_json::json!([])).contains("contradict each other"));
    // Sizes in range that are not those of the weights.
    assert!(
        told("/shape/image", serde_json::json!({ "raw": { "width": 1 << 12, "height": 1 << 12, "channels": 3 } }))
            .contains("should have the shape")
    );
}

#[test]
fn the_latent_is_the_grid() {
    let model = trained(5).freeze().unwrap();
    let latent = model.latent().unwrap();
    let codes = latent.encode(Modality::Image, &[input(0), input(1)]).unwrap();
    assert_eq!(codes.columns, 25);
    let like = [input(0).image.unwrap(), input(1).image.unwrap()];
    let decoded = latent.decode_image(&codes, &like).unwrap();
    assert_eq!((decoded[0].width, decoded[0].height, decoded[0].channels), (9, 7, 3));
    assert!(decoded[0].values.iter().all(|v| (0.0..=1.0).contains(v)));
    let (inputs, codes) = ([input(0), input(1)], PerModality { image: Some(codes), ..PerModality::default() });
    assert_eq!(latent.classify(&codes, &inputs).unwrap(), model.forward(&inputs).unwrap().logits);
    let slopes = latent.latent_gradient(&codes, &inputs, &[Target::Class(0), Target::Class(1)], Objective::CrossEntropy).unwrap();
    let moved = |by: f32| {
        let mut codes = codes.clone();
        codes.image.as_mut().unwrap().values[7] += by;
        f64::from(measure::cross_entropy(latent.classify(&codes, &inputs).unwrap().row(0), &Target::Class(0)))
    };
    let own = f64::from(slopes.latents.image.unwrap().values[7]);
    let difference = (moved(0.05) - moved(-0.05)) / 0.1;
    assert!(own.abs() > 1e-4 && (own - difference).abs() < 0.02 * own.abs() + 1e-5, "{own} {difference}");
    // A missing modality stays missing, whatever its latent says.
    let blind = [input(0).only(ModalitySet::one(Modality::Text)), input(1)];
    assert_eq!(latent.classify(&codes, &blind).unwrap().row(0), model.forward(&blind).unwrap().logits.row(0));
    assert!(latent.decode_audio(&crate::model::Matrix { columns: 3, values: vec![0.0; 3] }, &[]).is_err(), "bands are no waveform");
    assert!(latent.encode(Modality::Image, &[input(0).only(ModalitySet::one(Modality::Text))]).is_err());
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let mut trainer = trained(2);
    let before = trainer.spec().digest;
    let inputs = [input(0)];
    let mut step = |target: Target, weight: f32| {
        trainer.step(&TrainingBatch { inputs: &inputs, targets: &[target], weights: &[weight], learning_rate: 0.1 }).is_err()
    };
    assert!(step(Target::Class(7), 1.0) && step(Target::Class(0), f32::NAN) && step(Target::Soft([0.5].into()), 1.0));
    assert_eq!(trainer.spec().digest, before);
}

#[test]
fn config_problems_name_their_field() {
    let problems = Linear { image_side: 0, text_places: 1 << 20, ..Linear::default() }.build(&Table::default()).err().unwrap();
    assert_eq!(problems.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(), ["image_side", "text_places"]);
}
