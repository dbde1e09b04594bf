//! One sample on its way up from one start: the rule by which it steps, and what it remembers.

use super::{AttackConfig, Method, Terrain};
use crate::{
    augment::{
        ball,
        square::{self, Plane},
    },
    model::{Gradients, Input},
    random::SeedTree,
    sample::{Modality, PerModality},
};
use std::{borrow::Cow, sync::Arc};

/// Of the way to the new point that APGD goes; the rest is the last step once more (Croce and Hein 2020, algorithm 1).
const APGD_FORWARD: f64 = 0.75;
/// The share of steps that must have risen since the last checkpoint.
const APGD_RISING: f64 = 0.75;

/// What one modality remembers.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// The running sum of gradients.
    momentum: Vec<f32>,
    /// The point before.
    before: Vec<f32>,
    /// The best point, and the gradient there.
    best: Vec<f32>,
    best_gradient: Vec<f32>,
}

/// Where APGD stands: when the step was last judged, and what was seen since.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The step size in parts of the first.
    scale: f64,
    last: f32,
    best: f32,
    rises: usize,
    checkpoint: usize,
    next: usize,
    best_at_checkpoint: f32,
    scale_at_checkpoint: f64,
}

/// One sample on its way up from one start.
pub(crate) struct Walk {
    centre: Input,
    point: Input,
    terrain: PerModality<Option<Terrain>>,
    rules: Rules,
    seeds: SeedTree,
    memory: PerModality<Memory>,
    pace: Pace,
    taken: usize,
}

/// How a walk steps: what a replay must know beside the terrain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    pub method: Method,
    pub steps: usize,
    pub random_start: bool,
    /// Whether the balls share one budget.
    pub shared: bool,
    /// Whether the objective is descended.
    pub descend: bool,
}

impl From<&AttackConfig> for Rules {
    fn from(config: &AttackConfig) -> Self {
        Self {
            method: config.method,
            steps: config.steps,
            random_start: config.random_start,
            shared: config.shared.is_some(),
            descend: config.aim.is_some(),
        }
    }
}

impl Walk {
    /// At the sample, or at the random point that `seeds` and the modality address.
    pub fn start(centre: &Input, terrain: PerModality<Option<Terrain>>, rules: Rules, seeds: &SeedTree) -> Self {
        let mut centre = centre.clone();
        if let Some(ground) = &terrain.text {
            // The whole of an embedded text is handed on, and what the walk may move is its beginning.
            let length = centre.text_shift.as_ref().map_or(0, |shift| shift.len());
            if length < ground.length {
                centre.text_shift = Some(vec![0.0; ground.length].into());
            }
        }
        let pace = Pace {
            scale: 1.0,
            last: f32::NEG_INFINITY,
            best: f32::NEG_INFINITY,
            rises: 0,
            checkpoint: 0,
            next: checkpoint(rules.steps, 0),
            best_at_checkpoint: f32::NEG_INFINITY,
            scale_at_checkpoint: 1.0,
        };
        let point = centre.clone();
        let mut walk = Self { centre, point, terrain, rules, seeds: seeds.clone(), memory: PerModality::default(), pace, taken: 0 };
        if matches!(rules.method, Method::Square { .. }) {
            walk.shift(|modality, terrain, plane, centre, point| {
                if let Some(start) = square::start(&terrain.ball(), plane, centre, &mut seeds.child(modality.name()).rng()) {
                    point.copy_from_slice(&start);
                }
            });
        } else if rules.random_start {
            walk.shift(|modality, terrain, _, centre, point| {
                point.copy_from_slice(&terrain.ball().random_start(centre, &mut seeds.child(modality.name()).rng()));
            });
        }
        walk
    }

    pub fn point(&self) -> &Input {
        &self.point
    }
    pub fn into_point(self) -> Input {
        self.point
    }
    /// Steps taken.
    pub fn taken(&self) -> usize {
        self.taken
    }
    /// Where the draws of the present step come from.
    pub fn draws(&self) -> SeedTree {
        self.seeds.child("step").variant(self.taken)
    }
    pub fn terrain(&self) -> &PerModality<Option<Terrain>> {
        &self.terrain
    }
    /// What is ascended, of an objective.
    pub fn value(&self, objective: f32) -> f32 {
        if self.rules.descend { -objective } else { objective }
    }

    /// One step from a point of this value (see [`Walk::value`]) along the gradients of row `row`; `false`, and no step, if one of them is not a number.
    pub fn advance(&mut self, value: f32, gradients: &Gradients, row: usize) -> bool {
        let moving = |modality: Modality| gradients.of(modality, row).filter(|_| self.terrain[modality].is_some());
        if !Modality::ALL.into_iter().filter_map(moving).all(|g| g.iter().all(|v| v.is_finite())) {
            return false;
        }
        match self.rules.method {
            Method::Pgd | Method::Nes { .. } => self.plain(gradients, row),
            Method::Momentum { decay } => self.momentum(gradients, row, decay),
            Method::Apgd => self.apgd(value, gradients, row),
            Method::Square { share } => self.propose(value, share),
        }
        self.taken += 1;
        true
    }

    fn plain(&mut self, gradients: &Gradients, row: usize) {
        let descend = self.rules.descend;
        self.shift(|modality, terrain, plane, centre, point| {
            if let Some(own) = slope(gradients.of(modality, row), plane, descend, point.len()) {
                terrain.ball().step(centre, point, &own, terrain.step_size);
            }
        });
    }

    /// `m <- decay m + g / ||g||_1`, and a step along `m`.
    fn momentum(&mut self, gradients: &Gradients, row: usize, decay: f64) {
        let descend = self.rules.descend;
        let mut memory = std::mem::take(&mut self.memory);
        self.shift(|modality, terrain, plane, centre, point| {
            let Some(own) = slope(gradients.of(modality, row), plane, descend, point.len()) else { return };
            let sum = &mut memory[modality].momentum;
            sum.resize(point.len(), 0.0);
            let length = own.iter().map(|g| f64::from(g.abs())).sum::<f64>() + 1e-12;
            for (m, g) in sum.iter_mut().zip(own.iter()) {
                *m = (decay * f64::from(*m) + f64::from(*g) / length) as f32;
            }
            terrain.ball().step(centre, point, sum, terrain.step_size);
        });
        self.memory = memory;
    }

    fn apgd(&mut self, value: f32, gradients: &Gradients, row: usize) {
        let (descend, first) = (self.rules.descend, self.taken == 0);
        let better = value > self.pace.best;
        self.pace.rises += usize::from(!first && value > self.pace.last);
        self.pace.last = value;
        if better {
            self.pace.best = value;
        }
        let back = !first && self.judge();
        let scale = self.pace.scale;
        let mut memory = std::mem::take(&mut self.memory);
        self.shift(|modality, terrain, plane, centre, point| {
            let Some(mut own) = slope(gradients.of(modality, row), plane, descend, point.len()) else { return };
            let of = &mut memory[modality];
            if better {
                of.best = point.to_vec();
                of.best_gradient = own.to_vec();
            }
            if back {
                point.copy_from_slice(&of.best);
                own = Cow::Borrowed(&of.best_gradient);
            }
            let here = point.to_vec();
            let ball = terrain.ball();
            ball.step(centre, point, &own, scale * terrain.step_size);
            if !first {
                for ((p, x), before) in point.iter_mut().zip(&here).zip(&of.before) {
                    let (x, z, before) = (f64::from(*x), f64::from(*p), f64::from(*before));
                    *p = (x + APGD_FORWARD * (z - x) + (1.0 - APGD_FORWARD) * (x - before)) as f32;
                }
                ball.project(centre, point);
            }
            of.before = here;
        });
        self.memory = memory;
    }

    /// At a checkpoint: whether the step is halved and the walk goes on from its best point.
    fn judge(&mut self) -> bool {
        let pace = &mut self.pace;
        if self.taken < pace.next {
            return false;
        }
        let taken = self.taken - pace.checkpoint;
        let stuck = pace.scale == pace.scale_at_checkpoint && pace.best == pace.best_at_checkpoint;
        let back = (pace.rises as f64) < APGD_RISING * taken as f64 || stuck;
        (pace.scale_at_checkpoint, pace.best_at_checkpoint) = (pace.scale, pace.best);
        if back {
            pace.scale /= 2.0;
        }
        (pace.checkpoint, pace.rises) = (self.taken, 0);
        pace.next = checkpoint(self.rules.steps, self.taken);
        back
    }

    /// Keeps the best point, and goes to a proposal near it.
    fn propose(&mut self, value: f32, first: f64) {
        let better = value > self.pace.best;
        if better {
            self.pace.best = value;
        }
        let share = square::share(first, self.taken, self.rules.steps);
        let seeds = self.draws();
        let mut memory = std::mem::take(&mut self.memory);
        self.shift(|modality, terrain, plane, centre, point| {
            let of = &mut memory[modality];
            if better || of.best.is_empty() {
                of.best = point.to_vec();
            }
            let mut rng = seeds.child(modality.name()).rng();
            point.copy_from_slice(&square::propose(&terrain.ball(), plane, centre, &of.best, share, &mut rng));
        });
        self.memory = memory;
    }

    /// Changes every attacked modality, and brings the whole back into a shared budget.
    fn shift(&mut self, mut change: impl FnMut(Modality, &Terrain, Plane, &[f32], &mut [f32])) {
        let mut used = 0.0;
        for modality in Modality::ALL {
            let Some((terrain, plane, centre, point)) = sides(&self.terrain, &self.centre, &mut self.point, modality) else { continue };
            change(modality, terrain, plane, centre, point);
            if plane.channels == 4 {
                // Opacity is no colour: it stays.
                for (p, c) in point.chunks_exact_mut(4).zip(centre.chunks_exact(4)) {
                    p[3] = c[3];
                }
            }
            if self.rules.shared && terrain.epsilon > 0.0 {
                used += (ball::distance(terrain.norm, centre, point) / terrain.epsilon).powi(2);
            }
        }
        if used > 1.0 {
            let scale = 1.0 / used.sqrt();
            for modality in Modality::ALL {
                let Some((_, _, centre, point)) = sides(&self.terrain, &self.centre, &mut self.point, modality) else { continue };
                for (p, c) in point.iter_mut().zip(centre) {
                    *p = (f64::from(*c) + scale * (f64::from(*p) - f64::from(*c))) as f32;
                }
            }
        }
    }
}

/// Terrain, layout, centre and point of one attacked modality.
fn sides<'a>(
    terrain: &'a PerModality<Option<Terrain>>,
    centre: &'a Input,
    point: &'a mut Input,
    modality: Modality,
) -> Option<(&'a Terrain, Plane, &'a [f32], &'a mut [f32])> {
    let terrain = terrain[modality].as_ref()?;
    let (plane, centre, point): (Plane, &[f32], &mut [f32]) = match modality {
        Modality::Image => {
            let (centre, point) = (centre.image.as_ref()?, Arc::make_mut(point.image.as_mut()?));
            let plane = Plane { rows: centre.height, columns: centre.width, channels: centre.channels };
            (plane, &centre.values, &mut point.values)
        }
        Modality::Audio => {
            let (centre, point) = (centre.audio.as_ref()?, Arc::make_mut(point.audio.as_mut()?));
            let frames = centre.values.len() / centre.channels.max(1);
            (Plane { rows: 1, columns: frames, channels: centre.channels }, &centre.values, &mut point.values)
        }
        Modality::Text => {
            let (centre, point) = (centre.text_shift.as_ref()?, Arc::make_mut(point.text_shift.as_mut()?));
            // Padding is not text.
            let held = terrain.held.min(centre.len()).min(point.len());
            (Plane { rows: 1, columns: held, channels: 1 }, &centre[..held], &mut point[..held])
        }
    };
    (centre.len() == point.len()).then_some((terrain, plane, centre, point))
}

/// The gradient as it is climbed: against its direction where the objective is descended, and without opacity.
fn slope(gradient: Option<&[f32]>, plane: Plane, descend: bool, length: usize) -> Option<Cow<'_, [f32]>> {
    let gradient = gradient?.get(..length)?;
    if !descend && plane.channels != 4 {
        return Some(Cow::Borrowed(gradient));
    }
    let sign = if descend { -1.0 } else { 1.0 };
    let mut own: Vec<f32> = gradient.iter().map(|g| sign * g).collect();
    if plane.channels == 4 {
        own.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0.0);
    }
    Some(Cow::Owned(own))
}

/// The first checkpoint of `steps` steps after step `after`: at the shares 0.22, 0.41, 0.57, ... of the way, each stretch 0.03 shorter than the one
/// before, down to 0.06 (Croce and Hein 2020, section 3.2).
fn checkpoint(steps: usize, after: usize) -> usize {
    let (mut at, mut stretch) = (0.22f64, 0.22f64);
    if steps == 0 {
        return usize::MAX;
    }
    loop {
        let step = (at * steps as f64 - 1e-9).ceil() as usize;
        if step > after {
            return step;
        }
        stretch = (stretch - 0.03).max(0.06);
        at += stretch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_draw_nearer() {
        let (mut all, mut at) = (Vec::new(), 0);
        while at < 100 {
            at = checkpoint(100, at);
            all.push(at);
        }
        assert_eq!(all[..8], [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!((checkpoint(1, 0), checkpoint(0, 5), checkpoint(10, 3)), (1, usize::MAX, 5));
    }
}
