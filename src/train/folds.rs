//! Out-of-fold models: each sample is judged by one that never trained on its group.

use super::{
    session::{Session, Spent, Uniform},
    thin::Dropout,
};
use crate::{
    error::Result,
    model::{Counted, Teachers, Trainable},
    operator::FoldPlan,
    pipeline::{Split, TrainPlan},
    progress::Progress,
    random::SeedTree,
    record::WatchdogRecord,
    sample::SampleId,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// The out-of-fold models, and what their training did.
pub struct Folds {
    /// The models, and the fold of each sample.
    pub teachers: Teachers,
    /// What they cost.
    pub spent: Spent,
    /// What the watchdog did.
    pub watchdog: Vec<WatchdogRecord>,
    /// Samples that were left out since their loss is not finite.
    pub left_out: HashSet<SampleId>,
}

/// Trains one fresh model a fold on the samples of the other folds, as the warm-up trains, and returns them with the fold of
/// each sample. Folds are by group and balanced by class.
pub fn train_teachers(
    start: &dyn Trainable,
    split: &Split,
    plan: &TrainPlan,
    folds: FoldPlan,
    seeds: &SeedTree,
    progress: &dyn Progress,
) -> Result<Folds> {
    let fold_of = split.folds(folds.folds)?;
    let epochs = folds.epochs.unwrap_or(plan.warmup_epochs);
    let mut teachers = Teachers::default();
    let mut spent = Spent::default();
    let (mut watchdog, mut left_out) = (Vec::new(), HashSet::new());
    let as_labelled = BTreeMap::new();
    for fold in 0..folds.folds {
        let own = seeds.child(format!("fold {fold}"));
        let others: Vec<usize> = (0..split.len()).filter(|&i| fold_of[i] != fold).collect();
        let mut session = Session::watched(start.fresh(&own.child("init"))?, plan.watchdog.clone())?;
        let step = progress.begin(&format!("fold {} of {}", fold + 1, folds.folds), (others.len() * epochs) as u64);
        for epoch in 0..epochs {
            let told = |error: crate::error::Error| error.at("fold", fold + 1);
            let rate = plan.learning_rate * decay(epoch as f64 / epochs as f64);
            let uniform = Uniform {
                originals: &others,
                relabelled: &as_labelled,
                batch_size: plan.batch_size,
                dropout: Some(Dropout::of(&plan.modality_dropout)),
                learning_rate: rate,
            };
            session.uniform_epoch(split, &uniform, &own.child(format!("epoch {epoch}")), None, step.as_ref()).map_err(told)?;
        }
        spent.add(session.spent);
        watchdog.append(&mut session.alarms);
        left_out.extend(session.left_out.drain());
        // What they are asked later is counted too: it is a cost of the arm that asks.
        teachers.models.push(Arc::new(Counted::new(session.model.freeze()?)));
    }
    teachers.fold_of = (0..split.len()).map(|i| (split.entry(i).id.clone(), fold_of[i])).collect();
    Ok(Folds { teachers, spent, watchdog, left_out })
}

/// Cosine decay from 1 to 0.05 as `progress` goes from 0 to 1.
pub(super) fn decay(progress: f64) -> f64 {
    0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos())
}
