//! Projected gradient ascent on inputs: one loop for every norm, modality and use (generator, scorer, trainer, robust accuracy).

use super::{Gradients, Input, Model, Objective, Target, measure};
use crate::{
    augment::ball::{self, Ball},
    error::{Error, Result},
    random::SeedTree,
    sample::{Modality, ModalitySet, Norm, PerModality},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How large a perturbation may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Radius {
    /// In units of the native medium: pixels `0..=1`, waveform `-1..=1`. At least 0.
    Absolute(f64),
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
    /// Length of one step, in units of the medium; `None` for `2.5 radius / steps`.
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
    /// When the cross entropy has reached this many nats.
    Loss(f32),
}

/// An attack. The budgets are attacked together, from one backward pass; a modality without a budget stays as it is, and so does one that a
/// sample lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackConfig {
    /// Budget of the pixels.
    pub image: Option<Budget>,
    /// Budget of the waveform.
    pub audio: Option<Budget>,
    /// Gradient steps of one restart, at least 1.
    pub steps: usize,
    /// Starts at a random point of the ball instead of the sample.
    pub random_start: bool,
    /// Starts, at least 1. Kept is the first that ends the search (see [`Until`]), else the one with the largest objective.
    pub restarts: usize,
    /// What is ascended.
    pub objective: Objective,
    /// When a sample is done.
    pub until: Until,
}

impl Default for AttackConfig {
    fn default() -> Self {
        Self {
            image: Some(Budget::new(Norm::Linf, 8.0 / 255.0)),
            audio: None,
            steps: 10,
            random_start: true,
            restarts: 1,
            objective: Objective::CrossEntropy,
            until: Until::Steps,
        }
    }
}

impl AttackConfig {
    /// The modalities with a budget.
    pub fn modalities(&self) -> ModalitySet {
        let pairs = [(Modality::Image, self.image.is_some()), (Modality::Audio, self.audio.is_some())];
        pairs.into_iter().filter_map(|(modality, listed)| listed.then_some(modality)).collect()
    }

    /// The balls around one input and the step size in each; `None` where the input or the budget lacks the modality.
    pub(crate) fn terrain(&self, input: &Input) -> PerModality<Option<Terrain>> {
        let one = |budget: Option<Budget>, values: Option<&[f32]>, bounds: (f32, f32)| {
            let (budget, values) = (budget?, values?);
            let epsilon = match budget.radius {
                Radius::Absolute(epsilon) => epsilon,
                Radius::BelowSignal(decibels) => ball::length(budget.norm, values) * 10f64.powf(-decibels / 20.0),
            };
            let step_size = budget.step_size.unwrap_or(2.5 * epsilon / self.steps as f64);
            Some(Terrain { norm: budget.norm, epsilon, step_size, bounds })
        };
        PerModality {
            image: one(self.image, input.image.as_ref().map(|p| p.values.as_slice()), (0.0, 1.0)),
            audio: one(self.audio, input.audio.as_ref().map(|w| w.values.as_slice()), (-1.0, 1.0)),
            text: None,
        }
    }
}

/// The ball of one sample and modality, as a replay needs it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terrain {
    pub norm: Norm,
    pub epsilon: f64,
    pub step_size: f64,
    pub bounds: (f32, f32),
}

impl Terrain {
    pub fn ball(&self) -> Ball {
        Ball::new(self.norm, self.epsilon, self.bounds.0, self.bounds.1)
    }
}

/// What an attack made of one sample.
#[derive(Debug, Clone)]
pub struct Ascent {
    /// The perturbed input, not rounded to a file's bits. The sample itself where `finite` is false at the start.
    pub input: Input,
    /// The objective at each point of the kept restart: index 0 is the start, index `step` the kept point.
    pub losses: Vec<f32>,
    /// Cross entropy with the target at the kept point, in nats, whatever the objective; NaN where nothing was measured.
    pub cross_entropy: f32,
    /// The kept point of the kept restart: how many steps led to it.
    pub step: usize,
    /// The kept restart, from 0.
    pub restart: usize,
    /// Whether the condition of [`Until`] was met; for [`Until::Steps`] whether the prediction at the kept point is wrong.
    pub solved: bool,
    /// Whether every objective and gradient was a number. A sample with one that was not is left where it stood.
    pub finite: bool,
    /// Gradient evaluations spent on this sample, over all restarts.
    pub gradients: u64,
}

impl Ascent {
    /// The objective at the kept point; NaN only where nothing was measured.
    pub fn loss(&self) -> f32 {
        self.losses.get(self.step).copied().unwrap_or(f32::NAN)
    }
}

/// One sample on its way up from one start.
pub(crate) struct Walk {
    centre: Input,
    point: Input,
    terrain: PerModality<Option<Terrain>>,
}

impl Walk {
    /// At the sample, or at the random point that `seeds` and the modality address.
    pub fn start(centre: &Input, terrain: PerModality<Option<Terrain>>, random_start: bool, seeds: &SeedTree) -> Self {
        let mut walk = Self { centre: centre.clone(), point: centre.clone(), terrain };
        if random_start {
            walk.shift(|modality, terrain, centre, point| {
                *point = terrain.ball().random_start(centre, &mut seeds.child(modality.name()).rng());
            });
        }
        walk
    }

    /// One step along the gradients of row `row`; `false`, and no step, if one of them is not a number.
    pub fn advance(&mut self, gradients: &Gradients, row: usize) -> bool {
        let of = |modality: Modality| match modality {
            Modality::Image => gradients.image.get(row)?.as_deref(),
            Modality::Audio => gradients.audio.get(row)?.as_deref(),
            Modality::Text => None,
        };
        let finite = |modality: Modality| of(modality).is_none_or(|g| g.iter().all(|v| v.is_finite()));
        if !Modality::ALL.into_iter().all(finite) {
            return false;
        }
        self.shift(|modality, terrain, centre, point| {
            if let Some(gradient) = of(modality) {
                terrain.ball().step(centre, point, gradient, terrain.step_size);
            }
        });
        true
    }

    pub fn into_point(self) -> Input {
        self.point
    }

    fn shift(&mut self, mut change: impl FnMut(Modality, &Terrain, &[f32], &mut Vec<f32>)) {
        if let (Some(terrain), Some(centre), Some(point)) = (&self.terrain.image, &self.centre.image, &mut self.point.image) {
            let point = Arc::make_mut(point);
            change(Modality::Image, terrain, &centre.values, &mut point.values);
            if centre.channels == 4 {
                // Opacity is no colour: it stays.
                for (p, c) in point.values.chunks_exact_mut(4).zip(centre.values.chunks_exact(4)) {
                    p[3] = c[3];
                }
            }
        }
        if let (Some(terrain), Some(centre), Some(point)) = (&self.terrain.audio, &self.centre.audio, &mut self.point.audio) {
            change(Modality::Audio, terrain, &centre.values, &mut Arc::make_mut(point).values);
        }
    }
}

/// Samples that walk together. Rows of a model do not depend on one another, so the number changes memory, not results.
const TOGETHER: usize = 128;

/// Projected gradient ascent on the inputs of a model, at native resolution and rate: `d <- project(d + a direction(g))`, from a random or the
/// clean start, with restarts. Samples that are done (see [`Until`]) are skipped by further steps and restarts.
///
/// `seeds` holds one node a sample; a restart draws from its `variant`, each modality from a child of that. Within a restart the point with the
/// largest objective after at least one step is kept, so that one step without a random start is exactly FGSM.
///
/// # Errors
/// Slices of unequal length, no steps or restarts, a class that the model does not have, a modality whose gradient it does not give.
///
/// Reference: Madry et al. 2018; Goodfellow et al. 2015 (FGSM).
pub fn ascend(model: &dyn Model, inputs: &[Input], targets: &[Target], config: &AttackConfig, seeds: &[SeedTree]) -> Result<Vec<Ascent>> {
    check(model, inputs, targets, config, seeds)?;
    let mut ascents = Vec::with_capacity(inputs.len());
    for from in (0..inputs.len()).step_by(TOGETHER) {
        let to = (from + TOGETHER).min(inputs.len());
        ascents.extend(ascend_together(model, &inputs[from..to], &targets[from..to], config, &seeds[from..to])?);
    }
    Ok(ascents)
}

fn check(model: &dyn Model, inputs: &[Input], targets: &[Target], config: &AttackConfig, seeds: &[SeedTree]) -> Result<()> {
    if inputs.len() != targets.len() || inputs.len() != seeds.len() {
        let found = (inputs.len(), targets.len(), seeds.len());
        return Err(Error::usage(format!(
            "an attack needs as many inputs as targets and seeds, found {}, {} and {}",
            found.0, found.1, found.2
        )));
    }
    if config.steps == 0 || config.restarts == 0 {
        let found = (config.steps, config.restarts);
        return Err(Error::usage(format!("an attack needs at least 1 step and 1 restart, found {} and {}", found.0, found.1)));
    }
    let spec = model.spec();
    if !spec.gradients.contains(config.modalities()) {
        let message = format!("attacks on {} need its input gradient; this model gives that of {}", config.modalities(), spec.gradients);
        return Err(Error::usage(message).at("model", &spec.name));
    }
    let classes = spec.classes.len();
    let known = |target: &Target| match target {
        Target::Class(class) => *class < classes,
        Target::Soft(shares) => shares.len() == classes,
    };
    if let Some(at) = targets.iter().position(|target| !known(target)) {
        return Err(Error::usage(format!("target {at} is no class of the model's {classes}: {:?}", targets[at])).at("model", &spec.name));
    }
    Ok(())
}

fn ascend_together(
    model: &dyn Model,
    inputs: &[Input],
    targets: &[Target],
    config: &AttackConfig,
    seeds: &[SeedTree],
) -> Result<Vec<Ascent>> {
    let nothing = |input: &Input| Ascent {
        input: input.clone(),
        losses: Vec::new(),
        cross_entropy: f32::NAN,
        step: 0,
        restart: 0,
        solved: false,
        finite: true,
        gradients: 0,
    };
    let mut kept: Vec<Ascent> = inputs.iter().map(nothing).collect();
    for restart in 0..config.restarts {
        let open: Vec<usize> = (0..inputs.len()).filter(|&i| kept[i].finite && !(kept[i].solved && config.until != Until::Steps)).collect();
        if open.is_empty() {
            break;
        }
        let found = climb(model, inputs, targets, config, seeds, restart, &open)?;
        for (i, mut ascent) in open.into_iter().zip(found) {
            ascent.gradients += kept[i].gradients;
            let first = kept[i].losses.is_empty();
            let ends = ascent.solved && config.until != Until::Steps;
            if first || ends || (ascent.finite && ascent.loss() > kept[i].loss()) {
                kept[i] = ascent;
            } else {
                kept[i].gradients = ascent.gradients;
                kept[i].finite &= ascent.finite;
            }
        }
    }
    Ok(kept)
}

/// One restart of the samples of `open`.
fn climb(
    model: &dyn Model,
    inputs: &[Input],
    targets: &[Target],
    config: &AttackConfig,
    seeds: &[SeedTree],
    restart: usize,
    open: &[usize],
) -> Result<Vec<Ascent>> {
    let mut walks: Vec<Walk> = open
        .iter()
        .map(|&i| Walk::start(&inputs[i], config.terrain(&inputs[i]), config.random_start, &seeds[i].variant(restart)))
        .collect();
    let begun = |walk: &Walk| Ascent {
        input: walk.point.clone(),
        losses: Vec::with_capacity(config.steps + 1),
        cross_entropy: f32::NAN,
        step: 0,
        restart,
        solved: false,
        finite: true,
        gradients: 0,
    };
    let mut ascents: Vec<Ascent> = walks.iter().map(begun).collect();
    let mut active: Vec<usize> = (0..open.len()).collect();
    for step in 0..=config.steps {
        if active.is_empty() {
            break;
        }
        let points: Vec<Input> = active.iter().map(|&w| walks[w].point.clone()).collect();
        let goals: Vec<Target> = active.iter().map(|&w| targets[open[w]].clone()).collect();
        let last = step == config.steps;
        let seen = if last {
            let logits = model.forward(&points)?.logits;
            let objective = (0..points.len()).map(|row| measure::objective(logits.row(row), &goals[row], config.objective)).collect();
            Gradients { objective, logits, ..Gradients::default() }
        } else {
            model.gradient(&points, &goals, config.objective, config.modalities())?
        };
        let mut onward = Vec::with_capacity(active.len());
        for (row, (&w, point)) in active.iter().zip(points).enumerate() {
            let ascent = &mut ascents[w];
            let value = seen.objective.get(row).copied().unwrap_or(f32::NAN);
            ascent.gradients += u64::from(!last);
            if !value.is_finite() {
                ascent.finite = false;
                continue;
            }
            let logits = seen.logits.row(row);
            let wrong = measure::argmax(logits) != goals[row].class();
            let moved = step > 0 || config.random_start;
            let cross_entropy = measure::cross_entropy(logits, &goals[row]);
            let done = match config.until {
                Until::Steps => false,
                Until::Misclassified => wrong,
                Until::Loss(level) => moved && cross_entropy >= level,
            };
            // The start itself is kept only until there is a step to keep.
            if done || step <= 1 || value > ascent.loss() {
                (ascent.input, ascent.step, ascent.cross_entropy) = (point, step, cross_entropy);
                ascent.solved = done || (config.until == Until::Steps && wrong);
            }
            ascent.losses.push(value);
            if done || last {
                continue;
            }
            if walks[w].advance(&seen, row) {
                onward.push(w);
            } else {
                ascent.finite = false;
            }
        }
        active = onward;
    }
    Ok(ascents)
}

/// The point of one recorded walk: the same start, the same number of steps.
pub(crate) fn retrace(
    model: &dyn Model,
    walk: Walk,
    target: &Target,
    objective: Objective,
    wrt: ModalitySet,
    steps: usize,
) -> Result<Input> {
    let mut walk = walk;
    for _ in 0..steps {
        let seen = model.gradient(std::slice::from_ref(&walk.point), std::slice::from_ref(target), objective, wrt)?;
        if !walk.advance(&seen, 0) {
            return Err(Error::model("a gradient is not a number, which it was when the child was made"));
        }
    }
    Ok(walk.into_point())
}
