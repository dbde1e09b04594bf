use super::{Evaluations, Gradients, Input, Latent, Matrix, Model, ModelSpec, Objective, Outputs, Pixels, Target};
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

/// A model that counts what it is asked: one forward or gradient evaluation a sample, its latent space included.
pub struct Counted {
    inner: Arc<dyn Model>,
    forward: AtomicU64,
    gradient: AtomicU64,
}

impl Counted {
    /// Wraps a model with both counts at zero.
    pub fn new(inner: Arc<dyn Model>) -> Self {
        Self { inner, forward: AtomicU64::new(0), gradient: AtomicU64::new(0) }
    }
    fn count_forward(&self, samples: usize) {
        self.forward.fetch_add(samples as u64, Ordering::Relaxed);
    }
    fn space(&self) -> Result<&dyn Latent> {
        self.inner.latent().ok_or_else(|| crate::error::Error::model("the model has no latent space"))
    }
}

impl Model for Counted {
    fn spec(&self) -> &ModelSpec {
        self.inner.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        self.count_forward(inputs.len());
        self.inner.forward(inputs)
    }
    fn gradient(&self, inputs: &[Input], targets: &[Target], objective: Objective, wrt: ModalitySet) -> Result<Gradients> {
        self.gradient.fetch_add(inputs.len() as u64, Ordering::Relaxed);
        self.inner.gradient(inputs, targets, objective, wrt)
    }
    fn latent(&self) -> Option<&dyn Latent> {
        self.inner.latent().map(|_| self as &dyn Latent)
    }
    fn save(&self, path: &Path) -> Result<()> {
        self.inner.save(path)
    }
    fn evaluations(&self) -> Evaluations {
        Evaluations { forward: self.forward.load(Ordering::Relaxed), gradient: self.gradient.load(Ordering::Relaxed) }
    }
}

impl Latent for Counted {
    fn encode(&self, modality: Modality, inputs: &[Input]) -> Result<Matrix> {
        self.count_forward(inputs.len());
        self.space()?.encode(modality, inputs)
    }
    fn decode_image(&self, latents: &Matrix, like: &[Arc<Pixels>]) -> Result<Vec<Pixels>> {
        self.count_forward(latents.rows());
        self.space()?.decode_image(latents, like)
    }
    fn classify(&self, modality: Modality, latents: &Matrix, inputs: &[Input]) -> Result<Matrix> {
        self.count_forward(inputs.len());
        self.space()?.classify(modality, latents, inputs)
    }
}
