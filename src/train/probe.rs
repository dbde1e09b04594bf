//! Probe runs: models with a class more than the data, which random threshold samples are given as their label.

use super::{
    session::{Session, Spent, Uniform},
    thin::Dropout,
};
use crate::{
    error::{Error, Result},
    model::{DataProfile, Opened, Target},
    operator::ProbePlan,
    pipeline::{Plan, Split, TrainPlan},
    progress::Progress,
    random::SeedTree,
    sample::{Classes, Probe, ProbeRun, TrainingHistory},
};
use std::collections::BTreeMap;

/// Runs: the threshold samples of one are covered by the other.
const RUNS: usize = 2;

/// Trains the probe models on the split as the warm-up trains, each with threshold samples of its own, and returns the areas under the margin with what they cost.
///
/// # Errors
/// If the model cannot be opened with a class more, or the training samples are too few to choose threshold samples from.
pub(super) fn run(
    plan: &Plan,
    split: &Split,
    train: &TrainPlan,
    probe: ProbePlan,
    seeds: &SeedTree,
    progress: &dyn Progress,
) -> Result<(Probe, Spent)> {
    let classes = split.classes();
    let profile = DataProfile { classes: one_more(classes), ..split.profile().clone() };
    let epochs = probe.epochs.unwrap_or(train.warmup_epochs);
    let labelled: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
    let sets = threshold_samples(&labelled, classes.len(), |i| seeds.child("threshold").sample(&split.entry(i).id).number());
    if sets.iter().any(Vec::is_empty) {
        let told = format!("an AUM probe needs two sets of threshold samples; {} labelled samples are too few", labelled.len());
        return Err(Error::usage(told));
    }
    let mut found = Probe::default();
    let mut spent = Spent::default();
    for (number, set) in sets.iter().enumerate() {
        let own = seeds.child(format!("run {number}"));
        let model = match plan.model.operator.open_at(&plan.data.base, &profile, &own.child("init"))? {
            Opened::Trainable(model) => model,
            Opened::Frozen(_) => return Err(Error::usage("this model cannot be trained").at("model", plan.model.name)),
        };
        let outputs = model.freeze()?.spec().classes.len();
        if outputs != profile.classes.len() {
            let told =
                format!("an AUM probe needs a model with a class more than the data ({}), this one has {outputs}", profile.classes.len());
            return Err(Error::usage(told).at("model", plan.model.name));
        }
        let relabelled: BTreeMap<usize, Target> = set.iter().map(|&i| (i, Target::Class(classes.len()))).collect();
        let mut session = Session::watched(model, train.watchdog.clone())?;
        let mut history = TrainingHistory::default();
        let step = progress.begin(&format!("probe {} of {RUNS}", number + 1), (labelled.len() * epochs) as u64);
        for epoch in 0..epochs {
            // The rate stays as it is: a wrong label is learnt by heart when it falls.
            let uniform = Uniform {
                originals: &labelled,
                relabelled: &relabelled,
                batch_size: train.batch_size,
                dropout: Some(Dropout::of(&train.modality_dropout)),
                learning_rate: train.learning_rate,
            };
            let told = |error: Error| error.at("probe", number + 1);
            session
                .uniform_epoch(split, &uniform, &own.child(format!("epoch {epoch}")), Some(&mut history), step.as_ref())
                .map_err(told)?;
        }
        spent.add(session.spent);
        let areas = labelled.iter().filter_map(|i| {
            let id = &split.entry(*i).id;
            Some((id.clone(), history.rows.get(id)?.aum()?, relabelled.contains_key(i)))
        });
        found.runs.push(ProbeRun::new(areas));
    }
    Ok((found, spent))
}

/// The classes and one more behind them all.
fn one_more(classes: &Classes) -> Classes {
    // Texts stand behind numbers, and a text behind its own beginnings.
    let last = classes.names().last().map_or("", String::as_str);
    Classes::from_names(classes.names().iter().cloned().chain([format!("{last}~threshold")]))
}

/// Sets of `n / (classes + 1)` samples, at most half of them, that have none in common, by the order of `draw`.
fn threshold_samples(labelled: &[usize], classes: usize, draw: impl Fn(usize) -> u64) -> [Vec<usize>; RUNS] {
    let mut order: Vec<(u64, usize)> = labelled.iter().map(|&i| (draw(i), i)).collect();
    order.sort_unstable();
    let n = (labelled.len() / (classes + 1)).min(labelled.len() / RUNS);
    std::array::from_fn(|run| order.iter().skip(run * n).take(n).map(|(_, i)| *i).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_further_class_is_the_last() {
        for names in [vec!["0", "10", "9"], vec!["3", "a", "b~z"], vec!["~"], vec![]] {
            let classes = Classes::from_names(names.into_iter().map(String::from));
            let more = one_more(&classes);
            assert_eq!((more.len(), &more.names()[..classes.len()]), (classes.len() + 1, classes.names()));
        }
    }

    #[test]
    fn threshold_samples_are_disjoint_and_addressed() {
        let labelled: Vec<usize> = (0..110).map(|i| i * 2).collect();
        let draw = |i: usize| SeedTree::new(5).sample(i.to_string()).number();
        let [a, b] = threshold_samples(&labelled, 10, draw);
        assert_eq!((a.len(), b.len()), (10, 10));
        assert!(a.iter().all(|i| labelled.contains(i) && !b.contains(i)));
        let turned: Vec<usize> = labelled.iter().rev().copied().collect();
        assert_eq!(threshold_samples(&turned, 10, draw), [a, b]);
        assert_eq!(threshold_samples(&[7], 10, draw), [Vec::<usize>::new(), Vec::new()]);
    }
}
