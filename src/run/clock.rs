//! How long the steps of a run take.

use crate::record::TimingStep;
use std::time::Instant;

/// Times from lap to lap.
pub(super) struct Clock {
    pub began: Instant,
    last: Instant,
    pub steps: Vec<TimingStep>,
}

impl Clock {
    pub fn start() -> Self {
        let began = Instant::now();
        Self { began, last: began, steps: Vec::new() }
    }
    pub fn lap(&mut self, step: String) {
        let now = Instant::now();
        self.steps.push(TimingStep { step, seconds: (now - self.last).as_secs_f64() });
        self.last = now;
    }
}
