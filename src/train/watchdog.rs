//! Notices that training goes wrong: a loss that jumps, predictions that collapse.

use crate::{
    error::Result,
    mine::pairs::{CollapseAlarm, CollapseLimits, CollapseState, Compare, Embeddings, Remedy, mean_distance},
    model::{Matrix, Target, measure},
    pipeline::WatchdogPlan,
    record::Alarm,
};
use std::collections::VecDeque;

/// Least deviation that a loss is held against, as a share of the median and in nats: a loss that hardly varies is no reason for an alarm.
const LEAST_DEVIATION: (f64, f64) = (0.05, 1e-3);
/// Outputs of a step are alike when their mean distance, scaled to length 1, is below this.
const ALIKE: f64 = 0.05;
/// A loss within this share of `ln classes` is that of a guess.
const GUESSED: f64 = 0.05;
/// Most rows of a step whose distances are looked at.
const ROWS: usize = 128;

/// An alarm with what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trip {
    /// What was seen.
    pub alarm: Alarm,
    /// Loss of the step for a spike, steps in a row for a collapse.
    pub value: f64,
    /// What it was held against.
    pub limit: f64,
}

/// Watches the steps of a training run; for a trainer's own loop as for the rounds of a run. It sees the unweighted losses and the logits of each step.
///
/// A spike is a mean loss above `median + spike * max(1.4826 MAD, 5 % of the median)` of the last `window` steps that were none, for `patience` steps in a row
/// (median and MAD: Rousseeuw and Croux 1993). A collapse is `collapse_steps` steps in a row whose predictions are all of one class although no class has more than half
/// of the batch's labels, or whose outputs hardly differ at the loss of a guess ([`CollapseAlarm`]). A model that was never better than a guess
/// has not collapsed: it has yet to learn.
#[derive(Debug, Clone)]
pub struct Watchdog {
    plan: WatchdogPlan,
    losses: VecDeque<f64>,
    high: usize,
    one_class: usize,
    learnt: bool,
    guess: f64,
    alike: Option<CollapseAlarm>,
}

impl Watchdog {
    /// For a model with so many classes. Fails for limits out of their ranges.
    pub fn new(plan: WatchdogPlan, classes: usize) -> Result<Self> {
        if let Some(problem) = plan.problems().into_iter().next() {
            return Err(crate::error::Error::usage(problem.to_string()));
        }
        let guess = (classes as f64).ln();
        let alike = (classes > 1).then(|| Self::alarm(&plan, guess)).transpose()?;
        Ok(Self { plan, losses: VecDeque::new(), high: 0, one_class: 0, learnt: false, guess, alike })
    }

    fn alarm(plan: &WatchdogPlan, guess: f64) -> Result<CollapseAlarm> {
        let limits = CollapseLimits { tolerance: GUESSED, distance: ALIKE, steps: plan.collapse_steps };
        CollapseAlarm::new(guess, limits, Remedy::default())
    }

    /// Forgets the losses and what was suspicious, since what follows is another mix of samples or another state. That the model had learnt
    /// something stays known.
    pub fn begin(&mut self) {
        self.losses.clear();
        (self.high, self.one_class) = (0, 0);
        self.alike = self.alike.take().and_then(|_| Self::alarm(&self.plan, self.guess).ok());
    }

    /// Whether nothing is suspicious: the state of now is worth keeping.
    pub fn healthy(&self) -> bool {
        let alike = self.alike.as_ref().is_some_and(|alarm| alarm.state() != CollapseState::Healthy);
        self.high == 0 && self.one_class == 0 && !(alike && self.learnt)
    }

    /// Takes a step: unweighted losses, logits (a row a sample) and targets, as many of each. A step with a loss that is not finite is none of this
    /// watchdog's and says nothing.
    pub fn observe(&mut self, losses: &[f32], logits: &Matrix, targets: &[Target]) -> Option<Trip> {
        let mean = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64;
        if !self.plan.enabled || !mean.is_finite() {
            return None;
        }
        let collapse = self.collapse(mean, logits, targets);
        self.spike(mean).or(collapse)
    }

    fn spike(&mut self, mean: f64) -> Option<Trip> {
        let limit = self.limit();
        if limit.is_some_and(|limit| mean > limit) {
            self.high += 1;
        } else {
            self.high = 0;
            self.losses.push_back(mean);
            if self.losses.len() > self.plan.window {
                self.losses.pop_front();
            }
        }
        let limit = limit.filter(|_| self.high >= self.plan.patience)?;
        Some(Trip { alarm: Alarm::Spike, value: mean, limit })
    }

    /// The loss above which a step is high, once enough was seen.
    fn limit(&self) -> Option<f64> {
        if self.losses.len() < self.plan.window.div_ceil(2) {
            return None;
        }
        let mut sorted: Vec<f64> = self.losses.iter().copied().collect();
        let middle = median(&mut sorted);
        sorted.iter_mut().for_each(|loss| *loss = (*loss - middle).abs());
        let deviation = 1.4826 * median(&mut sorted);
        Some(middle + self.plan.spike * deviation.max(LEAST_DEVIATION.0 * middle).max(LEAST_DEVIATION.1))
    }

    fn collapse(&mut self, mean: f64, logits: &Matrix, targets: &[Target]) -> Option<Trip> {
        let rows = logits.rows().min(targets.len());
        if rows < 2 || logits.columns < 2 {
            return None;
        }
        let mut labels = vec![0usize; logits.columns];
        let mut predicted = vec![false; logits.columns];
        for (i, target) in targets.iter().enumerate().take(rows) {
            predicted[measure::argmax(logits.row(i))] = true;
            if let Some(count) = labels.get_mut(target.class()) {
                *count += 1;
            }
        }
        let one = predicted.iter().filter(|there| **there).count() == 1;
        let varied = labels.iter().all(|count| 2 * count <= rows);
        self.learnt |= !one && mean < (1.0 - GUESSED) * self.guess;
        if varied {
            self.one_class = if one && self.learnt { self.one_class + 1 } else { 0 };
        }
        let values = logits.values.get(..rows.min(ROWS) * logits.columns)?;
        let distance = Embeddings::new(values, logits.columns).ok().and_then(|rows| mean_distance(Compare::within(&rows)));
        let state = self.alike.as_mut().zip(distance).map(|(alarm, distance)| alarm.observe(mean, distance));
        let alike = self.learnt && matches!(state, Some(CollapseState::Collapsed { .. }));
        (alike || self.one_class >= self.plan.collapse_steps).then_some(Trip {
            alarm: Alarm::Collapse,
            value: self.one_class.max(if alike { self.plan.collapse_steps } else { 0 }) as f64,
            limit: self.plan.collapse_steps as f64,
        })
    }
}

/// The median; the mean of the middle two of an even number. 0 of none.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> WatchdogPlan {
        WatchdogPlan { window: 8, patience: 2, collapse_steps: 5, ..WatchdogPlan::default() }
    }

    /// Four samples of two classes; `apart` predicts each right, else all are predicted alike.
    fn step(dog: &mut Watchdog, loss: f32, apart: bool) -> Option<Trip> {
        let targets = [0, 1, 0, 1].map(Target::Class);
        let row = |i: usize| if apart && i % 2 == 1 { [-1.0, 1.0] } else { [1.0, -1.0] };
        dog.observe(&[loss; 4], &Matrix { columns: 2, values: (0..4).flat_map(row).collect() }, &targets)
    }

    #[test]
    fn a_spike_stands_against_the_median_and_lasts() {
        let mut dog = Watchdog::new(plan(), 2).unwrap();
        // Median 0.45, median deviation 0.1 * 1.4826: the limit is 0.45 + 10 * 0.14826 = 1.9326.
        for loss in [0.3, 0.6, 0.4, 0.5] {
            assert_eq!(step(&mut dog, loss, true), None);
        }
        assert_eq!((step(&mut dog, 1.93, true), dog.healthy()), (None, true));
        dog.begin();
        assert_eq!([0.3, 0.6, 0.4, 0.5].map(|loss| step(&mut dog, loss, true)), [None; 4]);
        assert_eq!((step(&mut dog, 1.94, true), dog.healthy()), (None, false));
        let trip = step(&mut dog, 1.95, true).unwrap();
        assert!((trip.limit - 1.9326).abs() < 1e-6 && (trip.value - 1.95).abs() < 1e-6 && trip.alarm == Alarm::Spike, "{trip:?}");
        // A single one is a hard batch, and what jumped does not move the median.
        assert_eq!((step(&mut dog, 0.5, true), step(&mut dog, 9.0, true), step(&mut dog, 0.5, true)), (None, None, None));
        // A loss that is none says nothing, and neither does a watchdog that is off.
        assert_eq!(step(&mut dog, f32::NAN, true), None);
        let mut off = Watchdog::new(WatchdogPlan { enabled: false, ..plan() }, 2).unwrap();
        assert!((0..50).all(|i| step(&mut off, i as f32 * 10.0, false).is_none()));
        assert!(Watchdog::new(WatchdogPlan { spike: 0.0, ..plan() }, 2).is_err());
    }

    #[test]
    fn a_model_that_had_learnt_may_collapse() {
        let mut dog = Watchdog::new(plan(), 2).unwrap();
        // It has yet to learn: no alarm, however long.
        assert!((0..20).all(|_| step(&mut dog, 0.69, false).is_none() && dog.healthy()));
        step(&mut dog, 0.3, true);
        dog.begin();
        assert!((0..4).all(|_| step(&mut dog, 0.3, false).is_none()));
        assert!(!dog.healthy());
        let trip = step(&mut dog, 0.3, false).unwrap();
        assert_eq!((trip.alarm, trip.value, trip.limit), (Alarm::Collapse, 5.0, 5.0));
        // One batch with both classes predicted ends it.
        step(&mut dog, 0.3, true);
        assert_eq!(step(&mut dog, 0.3, false), None);
    }

    #[test]
    fn outputs_that_hardly_differ_at_the_loss_of_a_guess_are_a_collapse() {
        let mut dog = Watchdog::new(plan(), 2).unwrap();
        step(&mut dog, 0.3, true);
        dog.begin();
        // Two classes are predicted, by a hair.
        let mut alike = || {
            let values = vec![1.0, 1.001, 1.001, 1.0, 1.0, 1.001, 1.001, 1.0];
            dog.observe(&[0.693; 4], &Matrix { columns: 2, values }, &[0, 1, 0, 1].map(Target::Class))
        };
        assert!((0..4).all(|_| alike().is_none()));
        assert_eq!(alike().map(|trip| trip.alarm), Some(Alarm::Collapse));
    }

    proptest! {
        /// Losses that stay within twice their median are no spike, whatever they do.
        #[test]
        fn what_varies_a_little_is_no_alarm(losses in prop::collection::vec(1.0f32..1.4, 0..200)) {
            let mut dog = Watchdog::new(plan(), 2).unwrap();
            for loss in losses {
                prop_assert_eq!(step(&mut dog, loss, true), None);
            }
        }

        /// A jump to many times of everything before is found at the last step of the patience.
        #[test]
        fn a_jump_is_found(losses in prop::collection::vec(0.1f32..1.0, 8..60)) {
            let mut dog = Watchdog::new(plan(), 2).unwrap();
            for loss in losses {
                step(&mut dog, loss, true);
            }
            dog.high = 0;
            prop_assert_eq!(step(&mut dog, 50.0, true), None);
            prop_assert_eq!(step(&mut dog, 50.0, true).map(|trip| trip.alarm), Some(Alarm::Spike));
        }
    }
}
