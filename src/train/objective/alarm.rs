//! Catastrophic overfitting of training on single steps: watched after each epoch by an attack of several steps, and undone.

use super::super::{arms::Experiment, session::Session};
use crate::{
    error::Result,
    generate::pgd::{AttackConfig, Budget, Until, ascend},
    model::{Counted, Input, Model, Target, Trainable},
    pipeline::FgsmRs,
    random::SeedTree,
    record::OverfittingCheck,
};

/// Samples attacked together; bounds the media in memory.
const BATCH: usize = 128;

/// The last state that withstood the check.
pub(in super::super) struct Guarded {
    best: f64,
    good: Box<dyn Trainable>,
}

impl Experiment<'_> {
    /// Measures the robust accuracy after an epoch. Where it fell, the last good state is back, and the attack of training takes one step more.
    ///
    /// Reference: Wong, Rice and Kolter 2020, "Fast is better than free", section 5.4, where a fall stops the training.
    pub(in super::super) fn check_overfitting(
        &self,
        session: &mut Session,
        own: &FgsmRs,
        epoch: usize,
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
        let budget = |radius: Option<f64>| radius.map(|radius| Budget::new(own.balls.norm, radius));
        let config = AttackConfig {
            image: budget(radii.image),
            audio: budget(radii.audio),
            steps: own.check_steps,
            until: Until::Misclassified,
            ..AttackConfig::default()
        };
        let model = Counted::new(session.model.freeze()?);
        let mut standing = 0u64;
        split.stream(&order, BATCH, |batch| {
            let inputs: Vec<Input> = batch.iter().map(|(_, sample)| Input::of(sample)).collect();
            let targets: Vec<Target> =
                batch.iter().filter_map(|(_, sample)| sample.label.as_ref().map(|label| Target::Class(label.class()))).collect();
            let nodes: Vec<SeedTree> = batch.iter().map(|(_, sample)| seeds.sample(&sample.id)).collect();
            let found = ascend(&model, &inputs, &targets, &config, &nodes)?;
            standing += found.iter().filter(|ascent| !ascent.solved && ascent.finite).count() as u64;
            Ok(())
        })?;
        let spent = model.evaluations();
        session.spent.forward += spent.forward;
        session.spent.gradient += spent.gradient;
        let accuracy = standing as f64 / n as f64;
        let best = session.guarded.as_ref().map_or(accuracy, |guarded| guarded.best);
        let fell = best - accuracy > own.fall.get();
        match session.guarded.as_ref().filter(|_| fell) {
            Some(guarded) => {
                session.model = guarded.good.fork()?;
                session.memory.more_steps += 1;
            }
            None => session.guarded = Some(Guarded { best: best.max(accuracy), good: session.model.fork()? }),
        }
        Ok(Some(OverfittingCheck { epoch, n: n as u64, accuracy, best, stepped_back: fell }))
    }
}
