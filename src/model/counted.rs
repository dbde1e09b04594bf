//! Counts what a model is asked, for budgets and for the arms of a comparison.

use super::{
    EmbeddedText, Evaluations, Gradients, Input, Latent, LatentGradients, Latents, Matrix, Model, ModelSpec, Objective, OfRow, Outputs,
    Pixels, Recorded, Target, TextEdits, Waveform,
};
use crate::{
    error::Result,
    sample::{Modality, ModalitySet},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Evaluations so far, in samples. Shared: clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<[AtomicU64; 2]>);

impl Counts {
    /// Samples that went forward, also through an encoder or a head alone.
    pub fn forward(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }
    /// Samples whose input gradient was taken.
    pub fn gradient(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }
    /// Adds evaluations that happened elsewhere (a training step, say).
    pub fn add(&self, forward: u64, gradient: u64) {
        self.0[0].fetch_add(forward, Ordering::Relaxed);
        self.0[1].fetch_add(gradient, Ordering::Relaxed);
    }
}

/// A model that counts its evaluations. A call that fails is counted too: its work was done.
pub struct Counted {
    model: Arc<dyn Model>,
    counts: Counts,
}

impl Counted {
    /// Counts for `model` from zero.
    pub fn new(model: Arc<dyn Model>) -> Self {
        Self::with(model, Counts::default())
    }
    /// Counts for `model` into `counts`, so that several models (teachers, rounds) count together.
    pub fn with(model: Arc<dyn Model>, counts: Counts) -> Self {
        Self { model, counts }
    }
    /// The counts, shared.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Model for Counted {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        self.counts.add(inputs.len() as u64, 0);
        self.model.forward(inputs)
    }
    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        self.counts.add(0, inputs.len() as u64);
        self.model.logits_gradient(inputs, wrt, of)
    }
    fn gradient(&self, inputs: &[Input], targets: &[Target], objective: Objective, wrt: ModalitySet) -> Result<Gradients> {
        // A model may have a way of its own.
        self.counts.add(0, inputs.len() as u64);
        self.model.gradient(inputs, targets, objective, wrt)
    }
    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        self.counts.add(0, inputs.len() as u64);
        self.model.embedding_gradient(inputs, modality, of)
    }
    fn embed_text(&self, text: &str) -> Result<EmbeddedText> {
        self.model.embed_text(text)
    }
    fn text_edits<'a>(&'a self, text: &'a str, slope: &'a [f32]) -> Result<Option<Box<dyn TextEdits + 'a>>> {
        self.model.text_edits(text, slope)
    }
    fn latent(&self) -> Option<&dyn Latent> {
        self.model.latent().map(|_| self as &dyn Latent)
    }
    fn save(&self, path: &Path) -> Result<()> {
        self.model.save(path)
    }
    fn notes(&self) -> Vec<String> {
        self.model.notes()
    }
    fn evaluations(&self) -> Evaluations {
        Evaluations { forward: self.counts.forward(), gradient: self.counts.gradient() }
    }
    fn recorded(&self) -> Option<&Recorded> {
        self.model.recorded()
    }
}

impl Counted {
    fn inner(&self) -> Result<&dyn Latent> {
        self.model.latent().ok_or_else(|| crate::error::Error::model("this model has no latent space"))
    }
}

impl Latent for Counted {
    fn encode(&self, modality: Modality, inputs: &[Input]) -> Result<Matrix> {
        self.counts.add(inputs.len() as u64, 0);
        self.inner()?.encode(modality, inputs)
    }
    fn decode_image(&self, latents: &Matrix, like: &[Arc<Pixels>]) -> Result<Vec<Pixels>> {
        self.inner()?.decode_image(latents, like)
    }
    fn decode_audio(&self, latents: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        self.inner()?.decode_audio(latents, like)
    }
    fn shift_audio(&self, before: &Matrix, after: &Matrix, like: &[Arc<Waveform>]) -> Result<Vec<Waveform>> {
        self.inner()?.shift_audio(before, after, like)
    }
    fn deviations(&self, modality: Modality, latents: &Matrix) -> Result<Option<Matrix>> {
        self.inner()?.deviations(modality, latents)
    }
    fn classify(&self, latents: &Latents, inputs: &[Input]) -> Result<Matrix> {
        self.counts.add(inputs.len() as u64, 0);
        self.inner()?.classify(latents, inputs)
    }
    fn latent_gradient(&self, latents: &Latents, inputs: &[Input], targets: &[Target], objective: Objective) -> Result<LatentGradients> {
        self.counts.add(0, inputs.len() as u64);
        self.inner()?.latent_gradient(latents, inputs, targets, objective)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::linear::{LinearModel, RawImage},
        sample::{Classes, PerModality},
    };

    #[test]
    fn samples_are_counted_and_answers_are_the_model_s() {
        let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![1.0, -1.0] };
        let classes = Classes::from_names(["a", "b"].map(String::from));
        let model = Arc::new(LinearModel::from_weights(classes, vec![0.0, 0.0], Some(image), None).unwrap());
        let input = Input { image: Some(Arc::new(Pixels { width: 1, height: 1, channels: 1, values: vec![0.5] })), ..Input::default() };
        let inputs = vec![input; 3];
        let counts = Counts::default();
        let (one, two) = (Counted::with(model.clone(), counts.clone()), Counted::with(model.clone(), counts.clone()));
        assert_eq!(one.forward(&inputs).unwrap().logits, model.forward(&inputs).unwrap().logits);
        two.gradient(&inputs[..2], &[Target::Class(0), Target::Class(1)], Objective::CrossEntropy, ModalitySet::ALL).unwrap();
        let codes = two.latent().unwrap().encode(Modality::Image, &inputs[..1]).unwrap();
        let codes = PerModality { image: Some(codes), ..PerModality::default() };
        two.latent().unwrap().classify(&codes, &inputs[..1]).unwrap();
        let slopes = two.latent().unwrap().latent_gradient(&codes, &inputs[..1], &[Target::Class(0)], Objective::CrossEntropy).unwrap();
        assert_eq!(slopes.objective.len(), 1);
        assert_eq!((counts.forward(), counts.gradient()), (5, 3));
    }
}
