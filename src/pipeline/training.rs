//! What the `train:` section says of the memory bank, the watchdog and the way of training.

use super::{
    BalancePlan, DropoutPlan, TrainPlan,
    build::{MOST_IN_BATCH, MOST_REPEATS, fields, from_one, operator},
};
use crate::{error::Problem, operator::read_config, units::Fraction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

/// What happens to a sample that was not seen for more than `max_age` steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stale {
    /// Its priority is multiplied by `factor^(age / max_age)`.
    Decay {
        /// Above 0 and at most 1.
        factor: Fraction,
    },
    /// A share of each draw is kept for the longest unseen.
    Rescore {
        /// Above 0 and at most 1.
        share: Fraction,
    },
}

impl Default for Stale {
    fn default() -> Self {
        Self::Rescore { share: share(0.05) }
    }
}

/// `train.memory_bank`: a memory of every sample's losses across batches, from which a share of each batch is drawn. It takes losses of samples as they are, whole or by some of their
/// modalities: not those at the points of an attack (`madry`, `fgsm_rs`, `free`, and `freelb` from a random start), which with `on: all` leaves it what the warm-up saw, nor those with
/// something in the place of a modality (`replacement`, `partial`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryBankPlan {
    /// Share of each batch that is drawn from the bank by priority, at least 0 and below 1; 0 only remembers. The uniform floor goes before it.
    pub share: Fraction,
    /// Decay of the running mean of a sample's loss, at least 0 and below 1.
    pub beta: Fraction,
    /// Exponent of the priorities, 0..=10; 0 draws uniformly.
    pub alpha: f64,
    /// First exponent of the weights that make up for drawing hard samples more often, 0..=1; it grows to 1 over the rounds.
    pub correction: Fraction,
    /// Deviations of the mean loss, over the root of the presentations, that are added to it, 0..=100.
    pub optimism: f64,
    /// Epochs without being seen after which a sample is stale; 0 for never.
    pub max_age_epochs: usize,
    /// What happens to a stale one.
    pub stale: Stale,
}

impl Default for MemoryBankPlan {
    fn default() -> Self {
        Self {
            share: share(0.25),
            beta: share(0.9),
            alpha: 0.6,
            correction: share(0.4),
            optimism: 1.0,
            max_age_epochs: 2,
            stale: Stale::default(),
        }
    }
}

impl MemoryBankPlan {
    /// Every value out of its range.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (field, found) in [("share", self.share), ("beta", self.beta)] {
            if found.get() >= 1.0 {
                problems.push(Problem::new(field, format!("expected a fraction below 1, found {}", found.get())));
            }
        }
        for (field, found, most) in [("alpha", self.alpha, 10.0), ("optimism", self.optimism, 100.0)] {
            if !(0.0..=most).contains(&found) {
                problems.push(Problem::new(field, format!("expected a number in 0..={most}, found {found}")));
            }
        }
        let (field, found) = match self.stale {
            Stale::Decay { factor } => ("stale.decay.factor", factor),
            Stale::Rescore { share } => ("stale.rescore.share", share),
        };
        if found.get() == 0.0 {
            problems.push(Problem::new(field, "expected a fraction above 0, found 0"));
        }
        problems
    }
}

/// `train.watchdog`: what is watched while training, and what is done about it. A sample whose loss is not finite is left out under `data.on_error`; broken
/// weights, a loss that jumps and predictions that collapse bring the last good state of the round back, and the rest of that round draws uniformly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogPlan {
    /// Whether anything is watched; without it a loss that is not finite ends the run.
    pub enabled: bool,
    /// Robust deviations (1.4826 times the median absolute one) of a step's mean loss above the running median that make a spike, above 0.
    pub spike: f64,
    /// Steps of the running median, 8..=100000; half of them must have been seen before anything is a spike.
    pub window: usize,
    /// Steps in a row above that limit that make a spike, 1..=100000: a single hard batch is none.
    pub patience: usize,
    /// Steps in a row with one and the same predicted class, or with outputs that hardly differ at the loss of a guess, that make a collapse. 1..=100000.
    pub collapse_steps: usize,
    /// Times that a good state is brought back in a round, at most 100000; once more, and the run ends if its weights are broken, or goes on as it is if not.
    pub rollbacks: usize,
}

impl Default for WatchdogPlan {
    fn default() -> Self {
        Self { enabled: true, spike: 10.0, window: 64, patience: 3, collapse_steps: 64, rollbacks: 3 }
    }
}

/// Greatest number of steps that a pipeline may name.
const MOST_STEPS: usize = 100_000;

impl WatchdogPlan {
    /// Every value out of its range.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(self.spike.is_finite() && self.spike > 0.0) {
            problems.push(Problem::new("spike", format!("expected a number above 0, found {}", self.spike)));
        }
        for (field, found, least) in [
            ("window", self.window, 8),
            ("patience", self.patience, 1),
            ("collapse_steps", self.collapse_steps, 1),
            ("rollbacks", self.rollbacks, 0),
        ] {
            if !(least..=MOST_STEPS).contains(&found) {
                problems.push(Problem::new(field, format!("expected {least}..={MOST_STEPS}, found {found}")));
            }
        }
        problems
    }
}

/// `train.mode`: which samples the rounds train on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingMode {
    /// All of them, written `whole: {}`.
    Whole {},
    /// A set that grows: a random part at first, in each round joined by samples that the miners chose outside it, the hardest first (the bootstrapping of Sung
    /// and Poggio 1998; Felzenszwalb et al. 2010, section 4). It is the mode of the arms `hardmine` and `mining_only`; the others train on everything.
    Bootstrap {
        /// Share of the training split that the warm-up and the first set have, above 0 and below 1; the same share of each class.
        start: Fraction,
        /// Most samples that a round adds, as a share of the training split, above 0.
        add: Fraction,
    },
}

impl Default for TrainingMode {
    fn default() -> Self {
        Self::Whole {}
    }
}

impl TrainingMode {
    /// Every value out of its range.
    pub fn problems(&self) -> Vec<Problem> {
        let Self::Bootstrap { start, add } = self else { return Vec::new() };
        let mut problems = Vec::new();
        if !(start.get() > 0.0 && start.get() < 1.0) {
            problems.push(Problem::new("bootstrap.start", format!("expected a fraction above 0 and below 1, found {}", start.get())));
        }
        if add.get() == 0.0 {
            problems.push(Problem::new("bootstrap.add", "the set would never grow; expected a fraction above 0, found 0"));
        }
        problems
    }
}

/// A number is the probability alone.
fn dropped(written: Option<&Value>, problems: &mut Vec<Problem>) -> DropoutPlan {
    match written {
        None | Some(Value::Object(_)) => fields(written, "train.modality_dropout", problems),
        Some(written) => match read_config::<Fraction>(written) {
            Ok(probability) => probability.into(),
            Err(found) => {
                problems.extend(found.into_iter().map(|problem| problem.under("train.modality_dropout")));
                DropoutPlan::default()
            }
        },
    }
}

/// Reads the `train:` section; `None` where nothing is trained. `answers` says that the split brings its predictions along.
pub(super) fn read(value: Option<&Value>, answers: bool, problems: &mut Vec<Problem>) -> Option<TrainPlan> {
    if answers {
        if value.is_some_and(|value| !value.is_null() && value.as_str() != Some("none")) {
            problems.push(Problem::new("train", "predictions cannot be trained; leave `train` out, or write `train: none`"));
        }
        return None;
    }
    if let Some(Value::String(text)) = value {
        if text != "none" {
            problems.push(Problem::new("train", format!("expected a map of training parameters or `none`, found `{text}`")));
        }
        return None;
    }
    // Sections of their own, each field to be told.
    let mut value = value.cloned();
    let mut part = |key: &str| value.as_mut().and_then(Value::as_object_mut).and_then(|map| map.shift_remove(key)).filter(|v| !v.is_null());
    let (bank, watchdog, dropout) = (part("memory_bank"), part("watchdog"), part("modality_dropout"));
    // An objective may be written by name alone, as a stage's operator.
    if let Some(written) = value.as_mut().and_then(|map| map.get_mut("objective")).filter(|written| written.is_string()) {
        *written = operator(written);
    }
    let mut plan: TrainPlan = fields(value.as_ref(), "train", problems);
    plan.modality_dropout = dropped(dropout.as_ref(), problems);
    plan.watchdog = fields(watchdog.as_ref(), "train.watchdog", problems);
    plan.memory_bank = bank.map(|written| fields(Some(&written), "train.memory_bank", problems));
    let bank = plan.memory_bank.iter().flat_map(MemoryBankPlan::problems).map(|problem| problem.under("train.memory_bank"));
    let watchdog = plan.watchdog.problems().into_iter().map(|problem| problem.under("train.watchdog"));
    problems.extend(plan.modality_dropout.problems().into_iter().map(|problem| problem.under("train.modality_dropout")));
    let balance = plan.balance.iter().flat_map(BalancePlan::problems);
    problems.extend(balance.map(|problem| problem.under("train.balance")));
    problems.extend(plan.objective.problems().into_iter().map(|problem| problem.under("train.objective")));
    problems.extend(bank.chain(watchdog).chain(plan.mode.problems().into_iter().map(|problem| problem.under("train.mode"))));
    for (field, found, most) in [
        ("warmup_epochs", plan.warmup_epochs, MOST_REPEATS),
        ("rounds", plan.rounds, MOST_REPEATS),
        ("epochs_per_round", plan.epochs_per_round, MOST_REPEATS),
        ("batch_size", plan.batch_size, MOST_IN_BATCH),
    ] {
        from_one(&format!("train.{field}"), found, most, problems);
    }
    if !(plan.learning_rate.is_finite() && plan.learning_rate > 0.0) {
        problems.push(Problem::new("train.learning_rate", format!("expected a step size above 0, found {}", plan.learning_rate)));
    }
    Some(plan)
}
