//! Weights from outside.

use super::{
    tests::{mixed, profile, small, trained},
    *,
};
use crate::{
    model::{Trainable, parameters::Parameters},
    sample::Classes,
};

#[test]
fn weights_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let model = trained(&small(), 4, 5).freeze().unwrap();
    model.save(&path).unwrap();
    let from = |config: Fusion, profile: DataProfile| {
        Fusion { weights: Some("m.safetensors".into()), ..config }.open_at(folder.path(), &profile, &SeedTree::new(1))
    };
    let opened = |config: Fusion, profile: DataProfile| match from(config, profile) {
        Ok(Opened::Trainable(trainer)) => trainer,
        _ => panic!("expected a trainable model"),
    };
    let trainer = opened(small(), profile());
    assert_eq!(trainer.spec(), *model.spec());
    assert_eq!(trainer.freeze().unwrap().forward(&mixed(5)).unwrap().logits, model.forward(&mixed(5)).unwrap().logits);
    // A new start is drawn.
    assert_ne!(trainer.fresh(&SeedTree::new(2)).unwrap().spec().digest, model.spec().digest);
    // The same numbers without our header, as another program writes them.
    let (_, weights) = Parameters::read(&path).unwrap();
    let raw: Vec<(String, Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, p)| (name.to_owned(), p.shape.clone(), p.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views: Vec<_> = raw
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    assert_eq!(opened(small(), profile()).spec(), *model.spec());
    // All that does not fit is told at once.
    let told = from(Fusion { hidden: 9, ..small() }, profile()).err().unwrap().to_string();
    assert!(told.contains("`fusion.hidden` should have the shape [9, 19], found [8, 19]"), "{told}");
    assert!(told.contains("`fusion.head` should have the shape [3, 10], found [3, 9]") && told.contains("m.safetensors"), "{told}");
    let told = from(small(), DataProfile { modalities: ModalitySet::ALL.without(Modality::Text), ..profile() }).err().unwrap().to_string();
    assert!(told.contains("unknown weight `text.characters`") && told.contains("unknown weight `text.head`"), "{told}");
    let mut few = weights.clone();
    few.insert("audio.head", [3, 7], vec![f32::NAN; 21]);
    few.write(&path, &serde_json::json!({})).unwrap();
    assert!(from(small(), profile()).err().unwrap().to_string().contains("expected finite weights in `audio.head`"));
    // The same shapes of all weights, but other filters.
    model.save(&path).unwrap();
    let rate = Fusion { audio: AudioConfig { sample_rate_hz: Some(4000), ..small().audio }, ..small() };
    let told = from(rate, profile()).err().unwrap().to_string();
    assert!(told.contains("made for other media") && told.contains("`audio.sample_rate_hz` is") && told.contains("4000 here"), "{told}");
    // What could not be opened again is not trained.
    let large = Fusion {
        audio: AudioConfig { mels: 256, seconds: Some(30.0), channels: vec![128, 128], ..AudioConfig::default() },
        ..Fusion::default()
    };
    let told = large.trainer(&profile(), &SeedTree::new(0)).err().unwrap().to_string();
    assert!(told.contains("can be opened again"), "{told}");
    // The classes of a saved model have their order.
    model.save(&path).unwrap();
    let turned = Classes::from_names(["a", "b", "d"].map(String::from));
    let told = from(small(), DataProfile { classes: turned, ..profile() }).err().unwrap().to_string();
    assert!(told.contains("the model knows the classes"), "{told}");
    assert!(Fusion { weights: Some("".into()), ..small() }.trainer(&profile(), &SeedTree::new(0)).is_err());
}
