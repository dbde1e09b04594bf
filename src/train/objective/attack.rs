//! The inner ascent of training: projected gradient steps from a start, every point of the way handed out.

use crate::{
    augment::ball::Ball,
    error::Result,
    model::{Gradients, Input, Model, Objective, Target},
    random::SeedTree,
    sample::{Modality, ModalitySet, Norm, PerModality},
};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// Where an ascent begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    /// At the sample.
    Sample,
    /// At a random point of the ball.
    Random,
    /// Beside the sample: Gaussian, with a standard deviation of this share of the radius.
    Beside(f64),
}

/// An ascent in balls around each sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    pub norm: Norm,
    /// Radius of each modality that is perturbed.
    pub radii: PerModality<Option<f64>>,
    /// Gradient steps.
    pub steps: usize,
    /// Length of a step as a share of the radius.
    pub step: f64,
    pub start: Start,
}

impl Attack {
    pub fn modalities(&self) -> ModalitySet {
        Modality::ALL.into_iter().filter(|m| self.radii[*m].is_some_and(|radius| radius > 0.0)).collect()
    }

    fn ball(&self, modality: Modality) -> Option<Ball> {
        let radius = self.radii[modality].filter(|radius| *radius > 0.0)?;
        match modality {
            Modality::Image => Some(Ball::pixels(self.norm, radius)),
            Modality::Audio => Some(Ball::waveform(self.norm, radius)),
            Modality::Text => None,
        }
    }
}

/// Samples on their way up.
pub(super) struct Climb<'a> {
    attack: Attack,
    centres: &'a [Input],
    points: Vec<Input>,
    /// What of each sample is perturbed.
    of: Vec<ModalitySet>,
}

impl<'a> Climb<'a> {
    /// Every sample at its start; `seeds` holds one node a sample. `of` limits what of each is perturbed.
    pub fn start(attack: Attack, centres: &'a [Input], of: Vec<ModalitySet>, seeds: &[SeedTree]) -> Self {
        let mut climb = Self { attack, centres, points: centres.to_vec(), of };
        for (row, node) in seeds.iter().enumerate().take(centres.len()) {
            climb.shift(row, |modality, ball, centre, point| {
                let mut rng = node.child(modality.name()).rng();
                match attack.start {
                    Start::Sample => {}
                    Start::Random => *point = ball.random_start(centre, &mut rng),
                    Start::Beside(share) => {
                        let deviation = (share * ball.epsilon()) as f32;
                        point.iter_mut().for_each(|p| {
                            let draw: f32 = StandardNormal.sample(&mut rng);
                            *p += deviation * draw;
                        });
                        ball.project(centre, point);
                    }
                }
            });
        }
        climb
    }

    pub fn points(&self) -> &[Input] {
        &self.points
    }
    pub fn into_points(self) -> Vec<Input> {
        self.points
    }

    /// One step of every sample along its row of `gradients`; one whose gradient is no number stays where it is.
    pub fn advance(&mut self, gradients: &Gradients) {
        for row in 0..self.points.len() {
            let of = |modality: Modality| match modality {
                Modality::Image => gradients.image.get(row)?.as_deref(),
                Modality::Audio => gradients.audio.get(row)?.as_deref(),
                Modality::Text => None,
            };
            if Modality::ALL.into_iter().any(|m| of(m).is_some_and(|g| g.iter().any(|v| !v.is_finite()))) {
                continue;
            }
            let step = self.attack.step;
            self.shift(row, |modality, ball, centre, point| {
                if let Some(gradient) = of(modality) {
                    ball.step(centre, point, gradient, step * ball.epsilon());
                }
            });
        }
    }

    /// All steps along the gradient of the cross entropy with `targets`, at the same weights; `each` is shown the points after every step. Returns the gradient evaluations.
    pub fn ascend(&mut self, model: &dyn Model, targets: &[Target], each: &mut dyn FnMut(&[Input])) -> Result<u64> {
        let wrt = self.attack.modalities();
        let mut spent = 0;
        for _ in 0..self.attack.steps {
            spent += self.points.len() as u64;
            let seen = model.gradient(&self.points, targets, Objective::CrossEntropy, wrt)?;
            self.advance(&seen);
            each(&self.points);
        }
        Ok(spent)
    }

    fn shift(&mut self, row: usize, mut change: impl FnMut(Modality, &Ball, &[f32], &mut Vec<f32>)) {
        let (Some(centre), Some(point), Some(of)) = (self.centres.get(row), self.points.get_mut(row), self.of.get(row)) else { return };
        let attack = self.attack;
        let ball = |modality: Modality| attack.ball(modality).filter(|_| of.has(modality));
        if let (Some(ball), Some(centre), Some(point)) = (ball(Modality::Image), &centre.image, &mut point.image) {
            let point = Arc::make_mut(point);
            change(Modality::Image, &ball, &centre.values, &mut point.values);
            if centre.channels == 4 {
                // Opacity is no colour: it stays.
                for (p, c) in point.values.chunks_exact_mut(4).zip(centre.values.chunks_exact(4)) {
                    p[3] = c[3];
                }
            }
        }
        if let (Some(ball), Some(centre), Some(point)) = (ball(Modality::Audio), &centre.audio, &mut point.audio) {
            change(Modality::Audio, &ball, &centre.values, &mut Arc::make_mut(point).values);
        }
    }
}
