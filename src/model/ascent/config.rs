//! What an attack is: budgets, method, aim, and when it ends.

use crate::{
    augment::ball::{self, Ball},
    error::{Error, Result},
    model::{EmbeddedText, Input, Model, Objective},
    sample::{Modality, ModalitySet, Norm, PerModality},
};
use serde::{Deserialize, Serialize};

/// How large a perturbation may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Radius {
    /// In units of the native medium: pixels `0..=1`, waveform `-1..=1`, numbers of an embedded text. At least 0.
    Absolute(f64),
    /// As a share of the mean Euclidean length of the vectors of an embedded text; of another medium a share of its length in the norm. At least 0.
    Relative(f64),
    /// So many decibels below the medium itself, in the norm of the budget: `||x|| 10^(-dB / 20)`. For `l2` that is a signal-to-noise ratio, for
    /// `linf` a ratio of peaks.
    BelowSignal(f64),
}

/// The budget of one modality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Norm of the ball.
    pub norm: Norm,
    /// Radius of the ball.
    pub radius: Radius,
    /// Length of one step, in units of the medium; `None` for `2.5 radius / steps`, and with APGD for twice the radius (the radius in `l1`).
    pub step_size: Option<f64>,
}

impl Budget {
    /// A ball of a fixed radius with the usual step size.
    pub fn new(norm: Norm, epsilon: f64) -> Self {
        Self { norm, radius: Radius::Absolute(epsilon), step_size: None }
    }
}

/// When a sample needs no further step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Until {
    /// Never: all steps are taken and the largest objective is kept.
    #[default]
    Steps,
    /// When the prediction is wrong; a sample that is wrong before the first step is solved there.
    Misclassified,
    /// When the prediction is the class aimed at (see [`Aim`]); without an aim as [`Until::Misclassified`].
    Reached,
    /// When the cross entropy has reached this many nats.
    Loss(f32),
}

/// How a step is made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Steepest steps of a fixed size (Madry et al. 2018).
    #[default]
    Pgd,
    /// Steepest steps along a running sum of gradients, each divided by its L1 length (Dong et al. 2018, MI-FGSM).
    Momentum {
        /// What is kept of the sum at each step, at least 0; 1 in the paper.
        decay: f64,
    },
    /// Steps with momentum whose size is halved at checkpoints where the objective has stopped to rise, going on from the best point (Croce and Hein
    /// 2020, APGD).
    Apgd,
    /// Steepest steps along a gradient estimated from the model's answers at antithetic Gaussian draws around the point (Ilyas et al. 2018, NES). Costs
    /// `2 pairs + 1` forward passes a step and no gradient.
    Nes {
        /// Antithetic pairs a step, at least 1.
        pairs: usize,
    },
    /// Random search over square-shaped changes (Andriushchenko et al. 2020). Costs one forward pass a step and no gradient. In `l1` the rule of `l2`.
    Square {
        /// The share of the places that the first proposals change, above 0, at most 1; 0.8 in the paper.
        share: f64,
    },
}

impl Method {
    /// Whether the model must give gradients.
    pub fn needs_gradients(self) -> bool {
        !matches!(self, Self::Nes { .. } | Self::Square { .. })
    }
}

/// The class that a targeted attack wants: the objective with that class is descended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Of the classes other than the label the one that the model finds this probable: 1 for the most probable.
    RunnerUp(usize),
    /// The one that the model finds the least probable.
    LeastLikely,
    /// This one. A sample of this class aims at the most probable other.
    Class(usize),
}

/// An attack. The budgets are attacked together, from one backward pass; a modality without a budget stays as it is, and so does one that a
/// sample lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackConfig {
    /// Budget of the pixels.
    pub image: Option<Budget>,
    /// Budget of the waveform.
    pub audio: Option<Budget>,
    /// Budget of the embedded text: the perturbation is left in [`Input::text_shift`] and is no text that could be written (Zhu et al. 2020, FreeLB;
    /// Gan et al. 2020, VILLA).
    pub text: Option<Budget>,
    /// One budget for all modalities: `sum_m (||d_m|| / radius_m)^2 <= B`, kept by scaling all perturbations alike. `None` for a ball each. Above 0.
    pub shared: Option<f64>,
    /// Steps of one restart, at least 1; proposals of [`Method::Square`].
    pub steps: usize,
    /// Length of a step in radii, where the budget states none; `None` for what the method usually takes.
    pub step_radii: Option<f64>,
    /// Starts at a random point of the ball instead of the sample. [`Method::Square`] has a start of its own.
    pub random_start: bool,
    /// Starts, at least 1. Kept is the first that ends the search (see [`Until`]), else the one with the largest objective.
    pub restarts: usize,
    /// What is ascended.
    pub objective: Objective,
    /// How a step is made.
    pub method: Method,
    /// The class that is wanted; `None` to leave that of the label.
    pub aim: Option<Aim>,
    /// Sides of copies of the picture, as shares of its own, above 0 and at most 8: their gradients, brought back to its size, are added to its own at every step (Lu et al. 2023,
    /// 0.5, 0.75, 1.25 and 1.5). A copy that would be wider or higher than 16,384 pixels is that large. Each costs a gradient; methods without gradients make no copies.
    pub scales: Vec<f64>,
    /// When a sample is done.
    pub until: Until,
}

impl Default for AttackConfig {
    fn default() -> Self {
        Self {
            image: Some(Budget::new(Norm::Linf, 8.0 / 255.0)),
            audio: None,
            text: None,
            shared: None,
            steps: 10,
            step_radii: None,
            random_start: true,
            restarts: 1,
            objective: Objective::CrossEntropy,
            method: Method::Pgd,
            aim: None,
            scales: Vec::new(),
            until: Until::Steps,
        }
    }
}

impl AttackConfig {
    /// The fast gradient sign method on pixels: one step as long as the radius, from the sample itself (Goodfellow et al. 2015).
    pub fn fgsm(norm: Norm, epsilon: f64) -> Self {
        Self { image: Some(Budget::new(norm, epsilon)), steps: 1, step_radii: Some(1.0), random_start: false, ..Self::default() }
    }
    /// The fast gradient sign method on pixels from a random point of the ball, its step 1.25 times the radius (Wong et al. 2020, FGSM-RS).
    pub fn fgsm_rs(norm: Norm, epsilon: f64) -> Self {
        Self { image: Some(Budget::new(norm, epsilon)), steps: 1, step_radii: Some(1.25), random_start: true, ..Self::default() }
    }

    /// The modalities with a budget.
    pub fn modalities(&self) -> ModalitySet {
        let pairs =
            [(Modality::Image, self.image.is_some()), (Modality::Audio, self.audio.is_some()), (Modality::Text, self.text.is_some())];
        pairs.into_iter().filter_map(|(modality, listed)| listed.then_some(modality)).collect()
    }

    fn budget(&self, modality: Modality) -> Option<&Budget> {
        match modality {
            Modality::Image => self.image.as_ref(),
            Modality::Audio => self.audio.as_ref(),
            Modality::Text => self.text.as_ref(),
        }
    }

    /// Whether every radius, step and other number of it can be used; what is wrong with the first that cannot.
    pub(super) fn check(&self) -> Result<()> {
        if self.steps == 0 || self.restarts == 0 {
            let found = (self.steps, self.restarts);
            return Err(Error::usage(format!("an attack needs at least 1 step and 1 restart, found {} and {}", found.0, found.1)));
        }
        let usable = |v: f64| v.is_finite() && v >= 0.0;
        for modality in Modality::ALL {
            let Some(budget) = self.budget(modality) else { continue };
            let radius = match budget.radius {
                Radius::Absolute(v) | Radius::Relative(v) => usable(v),
                Radius::BelowSignal(v) => v.is_finite(),
            };
            if !radius || !budget.step_size.is_none_or(usable) {
                return Err(Error::usage(format!("expected a finite radius and step of at least 0 for {modality}, found {budget:?}")));
            }
        }
        if !self.step_radii.is_none_or(usable) {
            return Err(Error::usage(format!("expected a finite step of at least 0 radii, found {:?}", self.step_radii)));
        }
        if !self.shared.is_none_or(|shared| shared.is_finite() && shared > 0.0) {
            return Err(Error::usage(format!("expected a shared budget above 0, found {:?}", self.shared)));
        }
        if let Some(found) = self.scales.iter().find(|scale| !(**scale > 0.0 && **scale <= 8.0)) {
            return Err(Error::usage(format!("expected copies of more than 0 and at most 8 times the size, found {found}")));
        }
        let method = match self.method {
            Method::Pgd | Method::Apgd => true,
            Method::Momentum { decay } => usable(decay),
            Method::Nes { pairs } => pairs > 0,
            Method::Square { share } => share > 0.0 && share <= 1.0,
        };
        if !method {
            return Err(Error::usage(format!("the numbers of the method are out of range: {:?}", self.method)));
        }
        Ok(())
    }

    /// The balls around one input and the step size in each; `None` where the input or the budget lacks the modality. `text` is the embedded text,
    /// where that is attacked.
    pub(crate) fn terrain(&self, input: &Input, text: Option<&EmbeddedText>) -> PerModality<Option<Terrain>> {
        let one = |modality: Modality, values: Option<&[f32]>, bounds: (f32, f32)| {
            let (budget, values) = (self.budget(modality)?, values?);
            let own = match budget.radius {
                Radius::Absolute(epsilon) => epsilon,
                Radius::BelowSignal(decibels) => ball::length(budget.norm, values) * 10f64.powf(-decibels / 20.0),
                Radius::Relative(share) => {
                    share
                        * text
                            .filter(|_| modality == Modality::Text)
                            .map_or_else(|| ball::length(budget.norm, values), EmbeddedText::mean_length)
                }
            };
            let epsilon = own * self.shared.unwrap_or(1.0).sqrt();
            let usual = match (self.step_radii, self.method, budget.norm) {
                (Some(radii), ..) => radii * epsilon,
                (None, Method::Apgd, Norm::L1) => epsilon,
                (None, Method::Apgd, _) => 2.0 * epsilon,
                _ => 2.5 * epsilon / self.steps as f64,
            };
            let (held, length) = (values.len(), text.filter(|_| modality == Modality::Text).map_or(0, |text| text.values.len()));
            let held = if length > 0 { held } else { 0 };
            Some(Terrain { norm: budget.norm, epsilon, step_size: budget.step_size.unwrap_or(usual), bounds, held, length })
        };
        let held = text.map(|text| text.values.get(..text.positions * text.size).unwrap_or(&text.values));
        PerModality {
            image: one(Modality::Image, input.image.as_ref().map(|p| p.values.as_slice()), (0.0, 1.0)),
            audio: one(Modality::Audio, input.audio.as_ref().map(|w| w.values.as_slice()), (-1.0, 1.0)),
            text: one(Modality::Text, held, (f32::NEG_INFINITY, f32::INFINITY)),
        }
    }

    /// [`AttackConfig::terrain`] with the text embedded by the model.
    pub(super) fn terrain_by(&self, model: &dyn Model, input: &Input) -> Result<PerModality<Option<Terrain>>> {
        let text = input.text.as_ref().filter(|_| self.text.is_some()).map(|text| model.embed_text(text)).transpose()?;
        Ok(self.terrain(input, text.as_ref()))
    }
}

/// The ball of one sample and modality, as a replay needs it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terrain {
    pub norm: Norm,
    pub epsilon: f64,
    pub step_size: f64,
    pub bounds: (f32, f32),
    /// Of an embedded text: the numbers that hold text, and all of them.
    #[serde(skip)]
    pub held: usize,
    #[serde(skip)]
    pub length: usize,
}

impl Terrain {
    pub fn ball(&self) -> Ball {
        Ball::new(self.norm, self.epsilon, self.bounds.0, self.bounds.1)
    }
}
