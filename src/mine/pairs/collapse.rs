use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// When embeddings count as collapsed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollapseLimits {
    /// The mean loss is within this share of the margin, a fraction above 0 and at most 1: all distances are alike.
    pub tolerance: f64,
    /// The mean distance of a batch ([`super::mean_distance`]) is below this; above 0, at most 2.
    pub distance: f64,
    /// For this many steps without a break; at least 1. As many healthy steps end the alarm.
    pub steps: usize,
}

impl Default for CollapseLimits {
    fn default() -> Self {
        Self { tolerance: 0.01, distance: 0.05, steps: 100 }
    }
}

/// What a trainer does against a collapse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remedy {
    /// Mine semi-hard negatives instead of the hardest.
    pub semi_hard: bool,
    /// Multiply the learning rate by this; above 0, at most 1.
    pub learning_rate: f64,
    /// Share of random triplets ([`super::random_triplets`]) among those trained on, a fraction in 0..=1.
    pub random: f64,
}

impl Default for Remedy {
    fn default() -> Self {
        Self { semi_hard: true, learning_rate: 0.1, random: 0.5 }
    }
}

/// Where [`CollapseAlarm`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollapseState {
    /// Nothing to see.
    Healthy,
    /// The signs are there, for this many steps now; fewer than it takes.
    Suspicious {
        /// Steps without a break.
        steps: usize,
    },
    /// The alarm is on: train with this remedy.
    Collapsed {
        /// What to do.
        remedy: Remedy,
        /// Healthy steps without a break since; the alarm ends at as many as raised it.
        healthy: usize,
    },
}

/// Notices that a model maps everything to one point, where the triplet loss stays at the margin and hard negatives teach nothing. It is a state machine
/// with hysteresis: the signs must hold for a while to raise the alarm, and be absent as long to end it. A step whose loss or distance is not finite
/// says nothing and changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollapseAlarm {
    margin: f64,
    limits: CollapseLimits,
    remedy: Remedy,
    state: CollapseState,
}

impl CollapseAlarm {
    /// An alarm for a hinge loss with this margin (above 0). Fails for limits and remedies out of their ranges.
    pub fn new(margin: f64, limits: CollapseLimits, remedy: Remedy) -> Result<Self> {
        let fraction = |value: f64| value > 0.0 && value <= 1.0;
        let right = [
            (margin > 0.0 && margin.is_finite(), "`margin` above 0"),
            (fraction(limits.tolerance), "`tolerance` above 0, at most 1"),
            (limits.distance > 0.0 && limits.distance <= 2.0, "`distance` above 0, at most 2"),
            (limits.steps > 0, "`steps` of at least 1"),
            (fraction(remedy.learning_rate), "`learning_rate` above 0, at most 1"),
            ((0.0..=1.0).contains(&remedy.random), "`random` in 0..=1"),
        ];
        let wrong: Vec<&str> = right.iter().filter(|(right, _)| !right).map(|(_, what)| *what).collect();
        if !wrong.is_empty() {
            return Err(Error::usage(format!("expected {}; found margin {margin}, {limits:?}, {remedy:?}", wrong.join(", "))));
        }
        Ok(Self { margin, limits, remedy, state: CollapseState::Healthy })
    }

    /// Takes the mean loss and the mean distance of one training step, and says where that leads.
    pub fn observe(&mut self, loss: f64, distance: f64) -> CollapseState {
        if !(loss.is_finite() && distance.is_finite()) {
            return self.state;
        }
        let signs = (loss - self.margin).abs() < self.limits.tolerance * self.margin && distance < self.limits.distance;
        let collapsed = |healthy| CollapseState::Collapsed { remedy: self.remedy, healthy };
        let after = |before: usize| match before + 1 {
            steps if steps < self.limits.steps => CollapseState::Suspicious { steps },
            _ => collapsed(0),
        };
        self.state = match (self.state, signs) {
            (CollapseState::Healthy, true) => after(0),
            (CollapseState::Suspicious { steps }, true) => after(steps),
            (CollapseState::Collapsed { .. }, true) => collapsed(0),
            (CollapseState::Collapsed { healthy, .. }, false) if healthy + 1 < self.limits.steps => collapsed(healthy + 1),
            (_, false) => CollapseState::Healthy,
        };
        self.state
    }

    /// Where it stands.
    pub fn state(&self) -> CollapseState {
        self.state
    }
}
