//! Ascent of an objective on inputs: one loop for every method, norm, modality and use (generator, scorer, trainer, robust accuracy).

mod config;
mod estimate;
mod flip;
mod guide;
mod walk;
mod worst;

pub use flip::{Flip, FlipConfig, Flipped, flip, flip_away};
pub use guide::Guide;
pub use worst::{Worst, auto_attack, worst_of};

pub(crate) use config::Terrain;
pub use config::{Aim, AttackConfig, Budget, Method, Radius, Until};
pub(crate) use walk::{Rules, Walk};

use super::{Gradients, Input, Model, Objective, Target, measure};
use crate::{
    error::{Error, Result},
    random::SeedTree,
    sample::ModalitySet,
};
use std::collections::VecDeque;

/// What an attack made of one sample.
#[derive(Debug, Clone)]
pub struct Ascent {
    /// The perturbed input, not rounded to a file's bits. Where it began (the sample, or a random start) where `finite` is false and `step` 0.
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
    /// Whether the prediction was wrong at any point that was looked at, over all restarts, kept or not; the sample itself is one where it was looked at.
    pub fooled: bool,
    /// Whether every objective and gradient was a number. A sample with one that was not is left where it stood.
    pub finite: bool,
    /// Gradient evaluations spent on this sample, over all restarts.
    pub gradients: u64,
    /// Forward evaluations without a gradient spent on this sample, over all restarts.
    pub forwards: u64,
    /// The class that was aimed at.
    pub aim: Option<usize>,
}

impl Ascent {
    /// The objective at the kept point; NaN only where nothing was measured.
    pub fn loss(&self) -> f32 {
        self.losses.get(self.step).copied().unwrap_or(f32::NAN)
    }
}

/// Samples that walk together: as soon as one is done, the next takes its place. Rows of a model do not depend on one another, so the number changes
/// memory, not results.
const TOGETHER: usize = 128;
/// Last points that are measured in one forward pass.
const ENDING: usize = 32;

/// Projected gradient ascent on the inputs of a model, at native resolution and rate: `d <- project(d + a direction(g))`, from a random or the
/// clean start, with restarts. Samples that are done (see [`Until`]) are skipped by further steps and restarts.
///
/// `seeds` holds one node a sample; a restart draws from its `variant`, each modality from a child of that. Within a restart the point with the
/// largest objective after at least one step is kept (of a random start that too), so that one step without a random start is exactly FGSM.
///
/// # Errors
/// Slices of unequal length, no steps or restarts, a number out of range, a class that the model does not have, a modality whose gradient it does not give
/// and whose gradient the method needs.
///
/// Reference: Madry et al. 2018; Goodfellow et al. 2015 (FGSM); those named at [`Method`].
pub fn ascend(model: &dyn Model, inputs: &[Input], targets: &[Target], config: &AttackConfig, seeds: &[SeedTree]) -> Result<Vec<Ascent>> {
    climb(model, inputs, targets, None, config, seeds)
}

/// [`ascend`] on embeddings: every input has a guide, which is ascended in place of the objective of `config`; the condition of [`Until`] still looks at the prediction. The only budget
/// is that of the guides' modality, since an embedding depends on its own medium alone.
///
/// # Errors
/// Those of [`ascend`], a method without gradients, an aim, guides that are not one an input or not of the modality that is attacked, embeddings of another length than
/// the guides', a model without gradients of its embeddings.
///
/// Reference: Lu et al. 2023, "Set-level Guidance Attack: Boosting Adversarial Transferability of Vision-Language Pre-training Models".
pub fn ascend_away(
    model: &dyn Model,
    inputs: &[Input],
    targets: &[Target],
    guides: &[Guide],
    config: &AttackConfig,
    seeds: &[SeedTree],
) -> Result<Vec<Ascent>> {
    if guides.len() != inputs.len() {
        return Err(Error::usage(format!("an attack on embeddings needs a guide an input, found {} and {}", guides.len(), inputs.len())));
    }
    if !config.method.needs_gradients() || config.aim.is_some() {
        return Err(Error::usage("an attack on embeddings goes along their gradients, and aims at no class"));
    }
    if let Some(guide) = guides.iter().find(|guide| config.modalities() != ModalitySet::one(guide.modality)) {
        let (guided, attacked) = (guide.modality, config.modalities());
        return Err(Error::usage(format!("the embedding of {guided} is turned away by {guided} alone, found an attack on {attacked}")));
    }
    climb(model, inputs, targets, Some(guides), config, seeds)
}

fn climb(
    model: &dyn Model,
    inputs: &[Input],
    targets: &[Target],
    guides: Option<&[Guide]>,
    config: &AttackConfig,
    seeds: &[SeedTree],
) -> Result<Vec<Ascent>> {
    check(model, inputs, targets, config, seeds)?;
    let aims = aims(model, inputs, targets, config)?;
    let goals: Vec<Target> = aims.iter().zip(targets).map(|(aim, target)| aim.map_or_else(|| target.clone(), Target::Class)).collect();
    let mut kept: Vec<Option<Ascent>> = vec![None; inputs.len()];
    let mut waiting: VecDeque<(usize, usize)> = (0..inputs.len()).map(|i| (i, 0)).collect();
    let (mut climbing, mut ending): (Vec<Job>, Vec<Job>) = (Vec::new(), Vec::new());
    loop {
        while climbing.len() + ending.len() < TOGETHER
            && let Some((sample, restart)) = waiting.pop_front()
        {
            climbing.push(Job::begin(model, &inputs[sample], config, sample, restart, &seeds[sample])?);
        }
        if climbing.is_empty() && ending.is_empty() {
            break;
        }
        let mut over = Vec::new();
        if climbing.is_empty() || ending.len() >= ENDING {
            let seen = observe(model, &ending, (&goals, guides), config, true)?;
            for (row, mut job) in ending.drain(..).enumerate() {
                job.see(&seen, row, config, &targets[job.sample], aims[job.sample]);
                over.push(job);
            }
        } else {
            let seen = observe(model, &climbing, (&goals, guides), config, false)?;
            let mut onward = Vec::with_capacity(climbing.len());
            for (row, mut job) in climbing.drain(..).enumerate() {
                let done = job.see(&seen, row, config, &targets[job.sample], aims[job.sample]);
                if done || !job.step(&seen, row) {
                    over.push(job);
                } else if job.walk.taken() == config.steps {
                    ending.push(job);
                } else {
                    onward.push(job);
                }
            }
            climbing = onward;
        }
        for job in over {
            let (sample, restart) = (job.sample, job.ascent.restart);
            let best = merged(kept[sample].take(), job.ascent, config.until);
            let ends = !best.finite || (best.solved && config.until != Until::Steps);
            kept[sample] = Some(best);
            if !ends && restart + 1 < config.restarts {
                waiting.push_front((sample, restart + 1));
            }
        }
    }
    let aimed = u64::from(config.aim.is_some());
    let whole = kept.into_iter().zip(aims).map(|(ascent, aim)| {
        let ascent = ascent.ok_or_else(|| Error::internal("a sample without an ascent"))?;
        Ok(Ascent { aim, forwards: ascent.forwards + aimed, ..ascent })
    });
    whole.collect()
}

/// Of two restarts the one to keep.
fn merged(kept: Option<Ascent>, found: Ascent, until: Until) -> Ascent {
    let Some(kept) = kept else { return found };
    let (gradients, forwards) = (kept.gradients + found.gradients, kept.forwards + found.forwards);
    let ends = found.solved && until != Until::Steps;
    let (finite, fooled) = (kept.finite && found.finite, kept.fooled || found.fooled);
    if ends || (found.finite && found.loss() > kept.loss()) {
        Ascent { gradients, forwards, fooled, ..found }
    } else {
        Ascent { gradients, forwards, finite, fooled, ..kept }
    }
}

/// The class that each sample aims at.
fn aims(model: &dyn Model, inputs: &[Input], targets: &[Target], config: &AttackConfig) -> Result<Vec<Option<usize>>> {
    let Some(aim) = config.aim else { return Ok(vec![None; inputs.len()]) };
    let mut aims = Vec::with_capacity(inputs.len());
    for (inputs, targets) in inputs.chunks(TOGETHER).zip(targets.chunks(TOGETHER)) {
        let logits = model.forward(inputs)?.logits;
        for (row, target) in targets.iter().enumerate() {
            let row = logits.row(row);
            let mut order: Vec<usize> = (0..row.len()).filter(|k| *k != target.class()).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            let found = match aim {
                Aim::RunnerUp(place) => order.get(place.saturating_sub(1)).or(order.last()),
                Aim::LeastLikely => order.last(),
                Aim::Class(class) => order.iter().find(|k| **k == class).or(order.first()),
            };
            aims.push(Some(*found.ok_or_else(|| Error::usage("a targeted attack needs a second class"))?));
        }
    }
    Ok(aims)
}

fn check(model: &dyn Model, inputs: &[Input], targets: &[Target], config: &AttackConfig, seeds: &[SeedTree]) -> Result<()> {
    if inputs.len() != targets.len() || inputs.len() != seeds.len() {
        let found = (inputs.len(), targets.len(), seeds.len());
        return Err(Error::usage(format!(
            "an attack needs as many inputs as targets and seeds, found {}, {} and {}",
            found.0, found.1, found.2
        )));
    }
    config.check()?;
    let spec = model.spec();
    if config.method.needs_gradients() && !spec.gradients.contains(config.modalities()) {
        let message = format!("attacks on {} need its input gradient; this model gives that of {}", config.modalities(), spec.gradients);
        return Err(Error::usage(message).at("model", &spec.name));
    }
    let classes = spec.classes.len();
    if let Some(Aim::Class(class)) = config.aim.filter(|aim| matches!(aim, Aim::Class(class) if *class >= classes)) {
        return Err(Error::usage(format!("the aim {class} is no class of the model's {classes}")).at("model", &spec.name));
    }
    let known = |target: &Target| match target {
        Target::Class(class) => *class < classes,
        Target::Soft(shares) => shares.len() == classes,
    };
    if let Some(at) = targets.iter().position(|target| !known(target)) {
        return Err(Error::usage(format!("target {at} is no class of the model's {classes}: {:?}", targets[at])).at("model", &spec.name));
    }
    Ok(())
}

/// One restart of one sample.
struct Job {
    sample: usize,
    walk: Walk,
    ascent: Ascent,
}

impl Job {
    fn begin(model: &dyn Model, input: &Input, config: &AttackConfig, sample: usize, restart: usize, seeds: &SeedTree) -> Result<Self> {
        let walk = Walk::start(input, config.terrain_by(model, input)?, Rules::from(config), &seeds.variant(restart));
        let ascent = Ascent {
            input: walk.point().clone(),
            losses: Vec::with_capacity(config.steps + 1),
            cross_entropy: f32::NAN,
            step: 0,
            restart,
            solved: false,
            fooled: false,
            finite: true,
            gradients: 0,
            forwards: 0,
            aim: None,
        };
        Ok(Self { sample, walk, ascent })
    }

    /// Takes note of the model's answer at the present point; whether the restart ends here.
    fn see(&mut self, seen: &Gradients, row: usize, config: &AttackConfig, label: &Target, aim: Option<usize>) -> bool {
        let (ascent, step) = (&mut self.ascent, self.walk.taken());
        let last = step == config.steps;
        match config.method {
            _ if last => ascent.forwards += 1,
            Method::Nes { pairs } => ascent.forwards += 2 * pairs as u64 + 1,
            Method::Square { .. } => ascent.forwards += 1,
            _ => ascent.gradients += 1 + config.scales.len() as u64,
        }
        let value = self.walk.value(seen.objective.get(row).copied().unwrap_or(f32::NAN));
        if !value.is_finite() {
            ascent.finite = false;
            return true;
        }
        let logits = seen.logits.row(row);
        let predicted = measure::argmax(logits);
        let wrong = predicted != label.class();
        ascent.fooled |= wrong;
        let begun = config.random_start || matches!(config.method, Method::Square { .. });
        let moved = step > 0 || begun;
        let cross_entropy = measure::cross_entropy(logits, label);
        let done = match config.until {
            Until::Steps => false,
            Until::Misclassified => wrong,
            Until::Reached => aim.map_or(wrong, |aim| predicted == aim),
            Until::Loss(level) => moved && cross_entropy >= level,
        };
        // The sample itself is kept only until there is a step to keep; a start that lies elsewhere is as good as any point.
        if done || step == 0 || (step == 1 && !begun) || value > ascent.loss() {
            (ascent.input, ascent.step, ascent.cross_entropy) = (self.walk.point().clone(), step, cross_entropy);
            ascent.solved = done || (config.until == Until::Steps && wrong);
        }
        ascent.losses.push(value);
        done || last
    }

    /// One step on; `false` where a gradient is not a number.
    fn step(&mut self, seen: &Gradients, row: usize) -> bool {
        let value = self.ascent.losses.last().copied().unwrap_or(f32::NAN);
        let onward = self.walk.advance(value, seen, row);
        self.ascent.finite &= onward;
        onward
    }
}

/// What the model says of the points where the jobs stand: objective and logits, and the gradient or what the method has in its place.
fn observe(
    model: &dyn Model,
    jobs: &[Job],
    (goals, guides): (&[Target], Option<&[Guide]>),
    config: &AttackConfig,
    last: bool,
) -> Result<Gradients> {
    let walks: Vec<&Walk> = jobs.iter().map(|job| &job.walk).collect();
    let goals: Vec<Target> = jobs.iter().map(|job| goals[job.sample].clone()).collect();
    let guides: Option<Vec<&Guide>> = guides.map(|guides| jobs.iter().map(|job| &guides[job.sample]).collect());
    let asked = Asked { objective: config.objective, method: config.method, wrt: config.modalities(), scales: &config.scales };
    answers(model, &walks, &goals, guides.as_deref(), asked, last)
}

/// What is asked of a model at every point.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub objective: Objective,
    pub method: Method,
    pub wrt: ModalitySet,
    pub scales: &'a [f64],
}

fn answers(
    model: &dyn Model,
    walks: &[&Walk],
    goals: &[Target],
    guides: Option<&[&Guide]>,
    asked: Asked<'_>,
    last: bool,
) -> Result<Gradients> {
    let Asked { objective, method, wrt, scales } = asked;
    let points: Vec<Input> = walks.iter().map(|walk| walk.point().clone()).collect();
    if method.needs_gradients() && !last {
        return guide::scaled(&points, scales, |points| match guides {
            Some(guides) => guide::away(model, points, guides),
            None => model.gradient(points, goals, objective, wrt),
        });
    }
    let outputs = model.forward(&points)?;
    if let Some(guides) = guides {
        let values = guides.iter().enumerate().map(|(row, guide)| guide.of(&outputs, row)).collect::<Result<_>>()?;
        return Ok(Gradients { objective: values, logits: outputs.logits, ..Gradients::default() });
    }
    let logits = outputs.logits;
    let values = goals.iter().enumerate().map(|(row, goal)| measure::objective(logits.row(row), goal, objective)).collect();
    let mut seen = Gradients { objective: values, logits, ..Gradients::default() };
    if let (Method::Nes { pairs }, false) = (method, last) {
        estimate::slopes(model, walks, goals, objective, pairs, &mut seen)?;
    }
    Ok(seen)
}

/// The point of one recorded walk: the same start, the same number of steps.
pub(crate) fn retrace(
    model: &dyn Model,
    mut walk: Walk,
    goal: &Target,
    guide: Option<&Guide>,
    asked: Asked<'_>,
    steps: usize,
) -> Result<Input> {
    for _ in 0..steps {
        let guides = guide.as_ref().map(std::slice::from_ref);
        let seen = answers(model, &[&walk], std::slice::from_ref(goal), guides, asked, false)?;
        let value = walk.value(seen.objective.first().copied().unwrap_or(f32::NAN));
        if !value.is_finite() || !walk.advance(value, &seen, 0) {
            return Err(Error::model("a gradient is not a number, which it was when the child was made"));
        }
    }
    Ok(walk.into_point())
}

#[cfg(test)]
mod tests;
