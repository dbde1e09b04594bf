//! The inner ascent of training: projected gradient steps from a start, every point of the way handed out.

use crate::{
    augment::ball::Ball,
    error::Result,
    model::{Gradients, Input, Model, OfRow},
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
    /// Radius of each modality that is perturbed; of text relative to its embedding.
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

    fn ball(&self, modality: Modality, text: f64) -> Option<Ball> {
        let radius = self.radii[modality].filter(|radius| *radius > 0.0)?;
        match modality {
            Modality::Image => Some(Ball::pixels(self.norm, radius)),
            Modality::Audio => Some(Ball::waveform(self.norm, radius)),
            // Vectors have no bounds but the ball's.
            Modality::Text => Some(Ball::new(Norm::L2, radius * text, f32::MIN, f32::MAX)),
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
    /// Length of each sample's embedded text, and its numbers that are no padding; `None` where it is not perturbed.
    texts: Vec<Option<(f64, usize)>>,
}

impl<'a> Climb<'a> {
    /// Every sample at its start; `seeds` holds one node a sample. `of` limits what of each is perturbed. Errors where the model embeds no text that is to be perturbed.
    pub fn start(attack: Attack, model: &dyn Model, centres: &'a [Input], of: Vec<ModalitySet>, seeds: &[SeedTree]) -> Result<Self> {
        let mut points = centres.to_vec();
        let mut texts = Vec::with_capacity(centres.len());
        for (point, of) in points.iter_mut().zip(&of) {
            let text = point.text.as_ref().filter(|_| of.has(Modality::Text) && attack.modalities().has(Modality::Text));
            let embedded = text.map(|text| model.embed_text(text)).transpose()?;
            if let Some(embedded) = &embedded {
                point.text_shift.get_or_insert_with(|| vec![0.0; embedded.values.len()].into());
            }
            texts.push(embedded.map(|text| (text.mean_length() * (text.positions as f64).sqrt(), text.positions * text.size)));
        }
        let mut climb = Self { attack, centres, points, of, texts };
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
        Ok(climb)
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
            let of = |modality: Modality| gradients.of(modality, row);
            if Modality::ALL.into_iter().any(|m| of(m).is_some_and(|g| g.iter().any(|v| !v.is_finite()))) {
                continue;
            }
            let step = self.attack.step;
            let opacity = self.centres.get(row).and_then(|centre| centre.image.as_ref()).is_some_and(|image| image.channels == 4);
            self.shift(row, |modality, ball, centre, point| {
                let Some(gradient) = of(modality) else { return };
                let mut gradient = std::borrow::Cow::Borrowed(gradient);
                if opacity && modality == Modality::Image {
                    // What stays takes no part of the step's length.
                    gradient.to_mut().chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0.0);
                }
                ball.step(centre, point, &gradient, step * ball.epsilon());
            });
        }
    }

    /// All steps along the gradient of `of` each sample's logits, at the same weights; `each` is shown the points after every step. Returns the gradient evaluations.
    pub fn ascend(&mut self, model: &dyn Model, of: OfRow<'_>, each: &mut dyn FnMut(&[Input])) -> Result<u64> {
        let wrt = self.attack.modalities();
        let mut spent = 0;
        for _ in 0..self.attack.steps {
            spent += self.points.len() as u64;
            let seen = model.logits_gradient(&self.points, wrt, of)?;
            self.advance(&seen);
            each(&self.points);
        }
        Ok(spent)
    }

    fn shift(&mut self, row: usize, mut change: impl FnMut(Modality, &Ball, &[f32], &mut Vec<f32>)) {
        let (Some(centre), Some(point), Some(of)) = (self.centres.get(row), self.points.get_mut(row), self.of.get(row)) else { return };
        let attack = self.attack;
        let text = self.texts.get(row).copied().flatten();
        let ball = |modality: Modality| attack.ball(modality, text.map_or(0.0, |(length, _)| length)).filter(|_| of.has(modality));
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
        if let (Some(ball), Some((_, length)), Some(point)) = (ball(Modality::Text), text, &mut point.text_shift) {
            let mut values = point.to_vec();
            // What is padding stays padding, and the ball is about what was there before.
            let inside = length.min(values.len());
            let mut own = values[..inside].to_vec();
            let zero = vec![0.0; inside];
            let before = centre.text_shift.as_deref().and_then(|shift| shift.get(..inside)).unwrap_or(&zero);
            change(Modality::Text, &ball, before, &mut own);
            values[..inside].copy_from_slice(&own);
            *point = values.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::ball::distance,
        model::{
            Pixels,
            linear::{LinearModel, RawImage},
        },
        sample::Classes,
    };

    #[test]
    fn opacity_takes_no_part_of_a_step() {
        let image = RawImage { width: 2, height: 1, channels: 4, weights: vec![0.0; 16] };
        let classes = Classes::from_names(["a", "b"].map(String::from));
        let model = LinearModel::from_weights(classes, vec![0.0; 2], Some(image), None).unwrap();
        let pixels = Pixels { width: 2, height: 1, channels: 4, values: vec![0.5; 8] };
        let centres = [Input { image: Some(Arc::new(pixels)), ..Input::default() }];
        let gradients = Gradients { image: vec![Some(vec![0.1, 0.0, 0.0, 9.0, 0.0, 0.1, 0.0, -9.0])], ..Gradients::default() };
        for norm in [Norm::L2, Norm::L1] {
            let radii = PerModality { image: Some(0.1), audio: None, text: None };
            let attack = Attack { norm, radii, steps: 1, step: 1.0, start: Start::Sample };
            let mut climb = Climb::start(attack, &model, &centres, vec![ModalitySet::IMAGE], &[SeedTree::new(1)]).unwrap();
            climb.advance(&gradients);
            let found = &climb.points()[0].image.as_ref().unwrap().values;
            assert!((distance(norm, found, &[0.5; 8]) - 0.1).abs() < 1e-6, "{norm:?} {found:?}");
            assert_eq!((found[3], found[7]), (0.5, 0.5));
        }
    }
}
