use crate::sample::SampleId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened in the training of the main arm.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The rounds that trained.
    pub rounds: Vec<RoundRecord>,
    /// What the watchdog did, in the order of happening.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchdog: Vec<WatchdogRecord>,
    /// Samples in the memory bank at the end, where there is one (`memory_bank.bin`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<u64>,
    /// What the outer objective did, where it is not the cross entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveRecord>,
}

/// What the outer objective of the rounds cost and found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ObjectiveRecord {
    /// Its name.
    pub name: String,
    /// Presentations in its steps: forward and backward passes, the rows it adds included.
    pub presentations: u64,
    /// Gradient evaluations of its attacks.
    pub gradient: u64,
    /// Forward evaluations besides.
    pub forward: u64,
    /// Presentations that the attack of an adversarial objective reached; all for the others.
    pub treated: u64,
    /// Checks for catastrophic overfitting, in the order of the epochs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<OverfittingCheck>,
}

/// One check for catastrophic overfitting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OverfittingCheck {
    /// Epoch, counted as those of the arm are.
    pub epoch: usize,
    /// Samples attacked.
    pub n: u64,
    /// Share of the radii that was trained with at the epoch's end, and attacked, `0..=1`: less than 1 on the ramp.
    #[serde(default = "whole")]
    pub scale: f64,
    /// Share that stayed right under the attack of the check, `0..=1`.
    pub accuracy: f64,
    /// The same under the attack that is trained on.
    #[serde(default)]
    pub as_trained: f64,
    /// The best share of an epoch before that was kept; where the radii have grown since, that of the last good state under those of now.
    pub best: f64,
    /// Whether that was catastrophic overfitting: the last good state is back, if there was one, and the attack takes a step more.
    pub stepped_back: bool,
}

fn whole() -> f64 {
    1.0
}

impl ObjectiveRecord {
    /// In words.
    pub fn words(&self) -> String {
        let mut words = format!(
            "objective {}: {} presentations, {} treated, {} gradient and {} forward evaluations besides",
            self.name, self.presentations, self.treated, self.gradient, self.forward
        );
        if let Some(last) = self.checks.last() {
            let falls = self.checks.iter().filter(|check| check.stepped_back).count();
            words += &format!("; robust accuracy of the last check {:.3} of {}, stepped back {falls} times", last.accuracy, last.n);
        }
        words
    }
}

/// What one round trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Round, from 1.
    pub round: usize,
    /// Original samples that could be drawn.
    pub set: u64,
    /// Presentations of originals.
    pub originals: u64,
    /// Of these, drawn from the memory bank.
    pub remembered: u64,
    /// Presentations of generated samples.
    pub generated: u64,
    /// How far that is from the training split.
    pub drift: DriftRecord,
}

impl RoundRecord {
    /// In words.
    pub fn words(&self) -> String {
        let mut parts = vec![format!("{} of originals", self.originals)];
        if self.remembered > 0 {
            parts.push(format!("{} of these from the memory bank", self.remembered));
        }
        if self.generated > 0 {
            parts.push(format!("{} of generated samples", self.generated));
        }
        let mut drifts: Vec<String> = self.drift.classes.iter().map(|drift| format!("classes {:.3}", drift.total_variation)).collect();
        drifts.extend(self.drift.slices.iter().map(|(field, drift)| format!("{field} {:.3}", drift.total_variation)));
        drifts.extend(self.drift.score.iter().map(|score| format!("{} {:.3}", score.column, score.drift.total_variation)));
        let drifts = if drifts.is_empty() { String::new() } else { format!("; drift from the training split: {}", drifts.join(", ")) };
        format!("round {}, a set of {}: presentations {}{drifts}", self.round, self.set, parts.join(", "))
    }
}

/// How what was trained on differs from the split it was drawn from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DriftRecord {
    /// Of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Drift>,
    /// Of the fields that the evaluation slices by; a generated sample counts where it has the field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, Drift>,
    /// Of the tenths of the score that samples were chosen by; originals alone have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreDrift>,
}

/// How far apart two distributions are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Half the sum of absolute differences, `0..=1`: the share of presentations that would have to be others.
    pub total_variation: f64,
    /// Jensen-Shannon divergence in nats, `0..=ln 2`.
    pub jensen_shannon: f64,
}

/// Drift of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreDrift {
    /// Column.
    pub column: String,
    /// How far apart.
    pub drift: Drift,
    /// Share of the presentations in each tenth of the split, the easiest tenth first.
    pub shares: Vec<f64>,
}

/// What the watchdog saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// A loss that is not finite.
    NotFinite,
    /// A loss far above the running median.
    Spike,
    /// Predictions of one class, or outputs that hardly differ.
    Collapse,
}

/// What the watchdog did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Samples were left out.
    LeftOut,
    /// The batch was passed over.
    PassedOver,
    /// The last good state was brought back; the rest of the round draws uniformly.
    RolledBack,
    /// Nothing: the good state had been brought back as often as allowed.
    None,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchdogRecord {
    /// Round, from 1; 0 is the warm-up and the folds.
    pub round: usize,
    /// Step of the optimizer, from 1.
    pub step: u64,
    /// What was seen.
    pub alarm: Alarm,
    /// What was done.
    pub response: Response,
    /// What was measured, where it is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// The samples that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleId>,
}

impl WatchdogRecord {
    /// In words.
    pub fn words(&self) -> String {
        let alarm = match self.alarm {
            Alarm::NotFinite => "a loss was not finite",
            Alarm::Spike => "the loss jumped",
            Alarm::Collapse => "the predictions collapsed",
        };
        let response = match self.response {
            Response::LeftOut => {
                let ids: Vec<&str> = self.samples.iter().take(3).map(SampleId::as_str).collect();
                let more = if self.samples.len() > 3 { ", ..." } else { "" };
                format!("left out {}{more}", ids.join(", "))
            }
            Response::PassedOver => "passed the batch over".into(),
            Response::RolledBack => "went back to the last good state, uniform for the rest of the round".into(),
            Response::None => "went on: the good state was brought back as often as allowed".into(),
        };
        let number = match (self.value, self.limit) {
            (Some(value), Some(limit)) => format!(" ({value:.3} against {limit:.3})"),
            _ => String::new(),
        };
        format!("round {}, step {}: {alarm}{number}; {response}", self.round, self.step)
    }
}

/// What mining costs beside training: wall times of the main arm, no part of any digest.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingTime {
    /// Steps of the optimizer after the warm-up.
    pub steps: u64,
    /// Time of these steps, in seconds.
    pub step_s: f64,
    /// Time of choosing: miners, draws, the memory bank, in seconds.
    pub mining_s: f64,
    /// Time of the scoring passes and the diagnosis, in seconds.
    pub scoring_s: f64,
    /// Time of making and verifying neighbours, in seconds.
    pub generating_s: f64,
    /// Time of the watchdog, in seconds.
    pub watching_s: f64,
}

impl TrainingTime {
    /// In words, as shares of the time of the steps; `None` where nothing was trained.
    pub fn words(&self) -> Option<String> {
        if self.step_s <= 0.0 {
            return None;
        }
        let share = |seconds: f64| 100.0 * seconds / self.step_s;
        Some(format!(
            "beside {} training steps of {:.2} ms: mining {:.2} %, watchdog {:.2} %, scoring {:.0} %, generating {:.0} % of their time",
            self.steps,
            1e3 * self.step_s / self.steps.max(1) as f64,
            share(self.mining_s),
            share(self.watching_s),
            share(self.scoring_s),
            share(self.generating_s)
        ))
    }
}
