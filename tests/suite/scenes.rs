//! The scene captions of `assets/scenes` as a user reads them: through the manifest reader.

use hardmine::{
    read::{ManifestSource, Source},
    sample::Modality,
};
use std::path::Path;

#[test]
fn the_scenes_read_without_a_problem() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/scenes");
    for (split, count) in [("train", 64), ("val", 20), ("test", 20)] {
        let source = ManifestSource::open(&format!("{split}.jsonl"), &folder).unwrap();
        assert!(source.problems().is_empty(), "{:?}", source.problems());
        assert_eq!(source.entries().len(), count);
        for index in 0..count {
            let sample = source.fetch(index).unwrap();
            let image = sample.image.as_ref().map(|media| (media.get().width(), media.get().height(), media.get().channels()));
            assert!(image.is_none_or(|size| size == (80, 56, 3)), "{}", sample.id);
            assert_eq!(sample.annotations.boxes.is_empty(), image.is_none(), "{}", sample.id);
            let audio = sample.audio.as_ref().map(|media| (media.get().sample_rate_hz(), media.get().channels()));
            assert!(audio.is_none_or(|shape| shape == (8000, 2)), "{}", sample.id);
            assert_eq!(sample.annotations.events.len(), usize::from(audio.is_some()), "{}", sample.id);
            assert!(sample.present().has(Modality::Text) && sample.fields.contains_key("flip"), "{}", sample.id);
        }
    }
}
