//! Catastrophic overfitting of training on single steps: watched after each epoch by an attack of several steps, and undone.

use super::super::{
    arms::Experiment,
    session::{Session, Spent},
};
use crate::{
    error::Result,
    generate::pgd::{AttackConfig, Budget, Until, ascend},
    model::{Counted, Evaluations, Input, Model, Target, Trainable},
    pipeline::FgsmRs,
    random::SeedTree,
    record::OverfittingCheck,
};
use std::sync::Arc;

/// Samples attacked together; bounds the media in memory.
const BATCH: usize = 128;

/// The last state that withstood the check.
pub(in super::super) struct Guarded {
    best: f64,
    /// Share of the radii that `best` was measured at.
    scale: f64,
    good: Box<dyn Trainable>,
}

impl Experiment<'_> {
    /// Measures the robust accuracy after an epoch, under an attack of several steps and under that of the training, both at the share `scale` of the radii that the epoch
    /// ended with. Where the first fell, or is far below the second, the last good state is back, if there is one, and the attack of training takes one step more. Where the
    /// radii have grown since the last good state was measured, it is measured anew: under a larger radius every accuracy is lower.
    ///
    /// Reference: Wong, Rice and Kolter 2020, "Fast is better than free", section 5.4, where a fall stops the training; Andriushchenko and Flammarion 2020,
    /// "Understanding and Improving Fast Adversarial Training", section 3 (right under one step and wrong under many).
    pub(in super::super) fn check_overfitting(
        &self,
        session: &mut Session,
        own: &FgsmRs,
        (epoch, scale): (usize, f64),
        seeds: &SeedTree,
    ) -> Result<Option<OverfittingCheck>> {
        let split = self.splits.validation.unwrap_or(self.splits.train);
        let labelled: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
        let n = own.check_samples.min(labelled.len());
        if n == 0 {
            return Ok(None);
        }
        let order: Vec<usize> = (0..n).map(|k| labelled[k * labelled.len() / n]).collect();
        let radii = own.balls.radii();
        let attack = |steps: usize, step: Option<f64>| {
            let budget = |radius: Option<f64>| {
                let radius = radius.map(|radius| radius * scale);
                radius.map(|radius| Budget { step_size: step.map(|step| step * radius), ..Budget::new(own.balls.norm, radius) })
            };
            let until = Until::Misclassified;
            AttackConfig { image: budget(radii.image), audio: budget(radii.audio), steps, until, ..AttackConfig::default() }
        };
        let trained = 1 + session.memory.more_steps;
        let configs = [attack(own.check_steps, None), attack(trained, Some(own.step / trained as f64))];
        let mut spent = Spent::default();
        // The share of the samples that stay right under each attack.
        let mut withstood = |model: Arc<dyn Model>, configs: &[AttackConfig]| -> Result<Vec<f64>> {
            let model = Counted::new(model);
            let mut standing = vec![0u64; configs.len()];
            split.stream(&order, BATCH, |batch| {
                let inputs: Vec<Input> = batch.iter().map(|(_, sample)| Input::of(sample)).collect();
                let targets: Vec<Target> =
                    batch.iter().filter_map(|(_, sample)| sample.label.as_ref().map(|label| Target::Class(label.class()))).collect();
                let nodes: Vec<SeedTree> = batch.iter().map(|(_, sample)| seeds.sample(&sample.id)).collect();
                for (config, standing) in configs.iter().zip(&mut standing) {
                    let found = ascend(&model, &inputs, &targets, config, &nodes)?;
                    *standing += found.iter().filter(|ascent| !ascent.solved && ascent.finite).count() as u64;
                }
                Ok(())
            })?;
            let Evaluations { forward, gradient } = model.evaluations();
            spent.add(Spent { forward, gradient, ..Spent::default() });
            Ok(standing.into_iter().map(|standing| standing as f64 / n as f64).collect())
        };
        let found = withstood(session.model.freeze()?, &configs)?;
        let (accuracy, as_trained) = (found[0], found[1]);
        if let Some(guarded) = session.guarded.as_mut().filter(|guarded| guarded.scale < scale) {
            (guarded.best, guarded.scale) = (withstood(guarded.good.freeze()?, &configs[..1])?[0], scale);
        }
        session.spent.add(spent);
        session.beside.add(spent);
        let best = session.guarded.as_ref().map_or(accuracy, |guarded| guarded.best);
        let overfitted = best - accuracy > own.fall.get() || as_trained - accuracy > own.gap.get();
        if overfitted {
            if let Some(guarded) = &session.guarded {
                session.model = guarded.good.fork()?;
            }
            session.memory.more_steps += 1;
        } else {
            session.guarded = Some(Guarded { best: best.max(accuracy), scale, good: session.model.fork()? });
        }
        Ok(Some(OverfittingCheck { epoch, n: n as u64, scale, accuracy, as_trained, best, stepped_back: overfitted }))
    }
}
