//! The decoders of the fusion model, and what their training minimises.

use super::net::{Net, Weights, matrix};
use crate::{error::Result, random::SeedTree, sample::Modality};
use burn::tensor::{Tensor, activation};
use rand_distr::{Distribution, StandardNormal};

/// Log variances of codes stay in here: deviations of 0.0067 to 7.4.
const LOG_VARIANCE: (f32, f32) = (-10.0, 4.0);

/// Codes of one modality in training.
pub(super) struct Coded {
    /// `[embedding, count]`.
    pub code: Tensor<2>,
    /// What the decoder should give, `[values, count]`.
    pub seen: Tensor<2>,
    /// Standard normal numbers in the layout of the code; `None` for a plain autoencoder.
    pub noise: Option<Vec<f32>>,
    /// Weight of the divergence.
    pub beta: f32,
}

impl Net {
    /// What embeddings `[embedding, n]` decode to: canonical pixels in `0..=1`, `[channels * rows * columns, n]`, or normalised log-mel spectrograms,
    /// `[mels * frames, n]`.
    pub fn decode(&self, weights: &Weights, modality: Modality, embedding: Tensor<2>) -> Result<Tensor<2>> {
        let inner = activation::relu(self.dense(weights, &format!("{modality}.decoder0"), embedding)?);
        let outer = self.dense(weights, &format!("{modality}.decoder1"), inner)?;
        Ok(if modality == Modality::Image { activation::sigmoid(outer) } else { outer })
    }

    /// Log variances of variational codes, `[embedding, n]`.
    pub fn log_variance(&self, weights: &Weights, modality: Modality, code: Tensor<2>) -> Result<Tensor<2>> {
        Ok(self.dense(weights, &format!("{modality}.variance"), code)?.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1))
    }

    /// The sum over samples of `shares` (`[1, count]`) times the squared error of what is decoded, plus for variational codes `beta` times the divergence
    /// `KL(N(h, e^s) || N(0, 1)) = (h^2 + e^s - s - 1) / 2`, summed over the dimensions: the negative ELBO.
    pub fn bound(&self, weights: &Weights, modality: Modality, of: Coded, shares: Tensor<2>) -> Result<Tensor<1>> {
        let Coded { code, seen, noise, beta } = of;
        let Some(noise) = noise else {
            let error = self.decode(weights, modality, code)? - seen;
            return Ok((error.clone() * error * shares).sum());
        };
        let [size, count] = code.dims();
        let s = self.log_variance(weights, modality, code.clone())?;
        let noise = matrix(noise, size, count, &self.device);
        let error = self.decode(weights, modality, code.clone() + (s.clone() * 0.5).exp() * noise)? - seen;
        let divergence = (code.clone() * code + s.clone().exp() - s - 1.0) * (0.5 * beta);
        Ok((error.clone() * error * shares.clone()).sum() + (divergence * shares).sum())
    }
}

/// Standard normal numbers `[size, rows]`, features first: each row's from its own node, so that neither parts nor threads change them.
pub(super) fn noise(seeds: &SeedTree, step: u64, rows: &[usize], size: usize) -> Vec<f32> {
    let seeds = seeds.child(step.to_string());
    let mut values = vec![0.0; size * rows.len()];
    for (at, row) in rows.iter().enumerate() {
        let mut rng = seeds.variant(*row).rng();
        values.iter_mut().skip(at).step_by(rows.len()).for_each(|v| *v = StandardNormal.sample(&mut rng));
    }
    values
}
