//! Slopes of functions of an embedding.

use super::tests::{mixed, small, trained};
use crate::{
    model::{Input, Trainable},
    sample::Modality,
};
use std::sync::Arc;

#[test]
fn the_slope_of_an_embedding_is_right() {
    let model = trained(&small(), 6, 14).freeze().unwrap();
    // Two passes, and media that are missing.
    let inputs = mixed(36);
    // Row by row another function: `(i + 1) sum_k k e_k`.
    let of = |row: usize, e: &[f32]| {
        let share = |k: usize| ((row % 5 + 1) * k) as f32;
        (e.iter().enumerate().map(|(k, e)| share(k) * e).sum(), (0..e.len()).map(share).collect())
    };
    let moved = |input: &Input, modality: Modality, at: usize, by: f32| {
        let mut changed = input.clone();
        match modality {
            Modality::Image => Arc::make_mut(changed.image.as_mut().unwrap()).values[at] += by,
            Modality::Audio => Arc::make_mut(changed.audio.as_mut().unwrap()).values[at] += by,
            Modality::Text => {
                let mut shift = vec![0.0; model.embed_text(input.text.as_ref().unwrap()).unwrap().values.len()];
                shift[at] = by;
                changed.text_shift = Some(shift.into());
            }
        }
        changed
    };
    for (modality, absent, places) in
        [(Modality::Image, 3, [(0, 20), (35, 71)]), (Modality::Audio, 4, [(1, 300), (34, 411)]), (Modality::Text, 6, [(2, 3), (32, 5)])]
    {
        let seen = model.embedding_gradient(&inputs, modality, &of).unwrap();
        let forward = model.forward(&inputs).unwrap();
        assert_eq!((seen.objective.len(), seen.of(modality, absent)), (36, None));
        assert_eq!(seen.logits, forward.logits);
        assert_eq!(seen.objective[33], of(33, forward.embeddings[modality].as_ref().unwrap().row(33)).0);
        for (row, at) in places {
            let value = |by: f32| {
                let seen = model.forward(&[moved(&inputs[row], modality, at, by)]).unwrap();
                of(row, seen.embeddings[modality].as_ref().unwrap().row(0)).0
            };
            let (slope, own) = ((value(0.01) - value(-0.01)) / 0.02, seen.of(modality, row).unwrap()[at]);
            assert!((slope - own).abs() < 0.02 + 0.05 * slope.abs(), "{modality} {row} {at}: {slope} {own}");
        }
        // Another medium has nothing to do with it.
        assert!(Modality::ALL.into_iter().filter(|other| *other != modality).all(|other| seen.of(other, 0).is_none()));
    }
}
